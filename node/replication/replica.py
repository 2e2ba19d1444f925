"""The replica's half of the handshake and of the payload: bytes in, events out. No socket, no clock, no data.

    session = Session(...)
    transport.write(session.begin())
    for event in session.feed(chunk): ...

The steps are those of Redis's `syncWithMaster`: PING, AUTH, REPLCONF (what we are), PSYNC, then the payload in one of
its two forms, `$<length>` or `$EOF:<mark>` (https://redis.io/docs/management/replication/), and the stream behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from node import resp
from node.persistence.errors import RdbError
from node.persistence.rdb import RdbReader
from node.persistence.records import Record
from node.replication.foreign import OWN_CAPABILITY

_LINE_MAX = 64 * 1024
_MARK_SIZE = 40


class Step(Enum):
    """What is awaited."""

    PING = "ping"
    AUTH = "auth"
    REPLCONF = "replconf"
    PSYNC = "psync"
    HEADER = "header"
    PAYLOAD = "payload"
    STREAM = "stream"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a replica tells of itself, and what it wants.

    replid, offset: the history it has and the first byte it misses; "?" and -1 when it has none.
    """

    port: int
    ip: str = ""
    user: str = ""
    password: str = ""
    version: str = ""
    replid: str = "?"
    offset: int = -1
    failover: bool = False
    """The primary is a replica of ours still, and is to be a primary from now on (FAILOVER)."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes to the primary."""

    data: bytes


@dataclass(frozen=True, slots=True)
class FullResync:
    """The primary gives everything: a payload follows, the data at `offset` of the history `replid`."""

    replid: str
    offset: int


@dataclass(frozen=True, slots=True)
class Continue:
    """The primary gives what is missing. `replid` is its history's id now; "" when it did not say."""

    replid: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """Some of the payload. `size`: of the whole, 0 when unknown; `read`: bytes so far."""

    records: list[Record]
    read: int
    size: int


@dataclass(frozen=True, slots=True)
class Received:
    """Some of the payload, as it is. `size`: of the whole, 0 when unknown; `read`: bytes so far."""

    data: bytes
    read: int
    size: int


@dataclass(frozen=True, slots=True)
class Complete:
    """The payload is whole; if it was read on the way, its checksum is right."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """Bytes of the stream."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing more can come of this connection: close it, try again later."""

    reason: str
    refused: bool = False
    """The primary does not want to sync us, and said so."""


Event = Send | FullResync | Continue | Loaded | Received | Complete | Streamed | Failed


@dataclass(slots=True)
class _Payload:
    """Where we are in the payload. length: -1 in the form with a mark."""

    length: int = -1
    mark: bytes = b""
    read: int = 0
    tail: bytes = b""
    """In the form with a mark, when it is passed on as it is: the last bytes, which may be the mark."""
    reader: RdbReader = field(default_factory=RdbReader)


class Session:
    """One connection to a primary, from its first byte to its last.

    as_it_is: the payload is not to be read on the way, but given out as `Received`.
    """

    def __init__(self, introduction: Introduction, *, as_it_is: bool = False) -> None:
        self.step = Step.PING
        self._as_it_is = as_it_is
        self._me = introduction
        self._buffer = b""
        self._awaited: list[str] = []
        self._payload = _Payload()

    def begin(self) -> bytes:
        """What to send as soon as the connection is up."""
        return resp.request([b"PING"])

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes mean. After `Failed` nothing more does."""
        events: list[Event] = []
        if self.step is Step.STREAM:
            return [Streamed(data)]
        self._buffer += data
        while self._buffer and self._take(events):
            pass
        return events

    def _take(self, events: list[Event]) -> bool:
        """Go one step on; False when that takes more bytes."""
        if self.step is Step.FAILED:
            return False
        if self.step is Step.STREAM:
            events.append(Streamed(self._buffer))
            self._buffer = b""
        elif self.step is Step.PAYLOAD:
            chunk, self._buffer = self._buffer, b""
            self._take_payload(chunk, events)
        else:
            return self._take_line(events)
        return True

    def _fail(self, reason: str, events: list[Event]) -> None:
        self.step = Step.FAILED
        events.append(Failed(reason))

    # Lines --------------------------------------------------------------------------------------------------------

    def _take_line(self, events: list[Event]) -> bool:
        """Handle one line; False when it is not whole. Empty lines are signs of life."""
        line, found, rest = self._buffer.partition(b"\n")
        if not found:
            if len(line) > _LINE_MAX:
                self._fail("a line that does not end", events)
            return False
        self._buffer = rest
        text = line.removesuffix(b"\r").decode("utf-8", "replace")
        if text:
            self._answered(text, events)
        return True

    def _answered(self, text: str, events: list[Event]) -> None:
        if self.step is Step.PING:
            self._ponged(text, events)
        elif self.step in (Step.AUTH, Step.REPLCONF):
            self._configured(text, events)
        elif self.step is Step.PSYNC:
            self._psync_answered(text, events)
        else:
            self._header(text, events)

    def _ponged(self, text: str, events: list[Event]) -> None:
        """A primary that wants a password answers PING with an error: that one is alive too."""
        if not text.startswith(("+", "-NOAUTH", "-NOPERM", "-ERR operation not permitted")):
            self._fail(f"Error reply to PING from master: '{text}'", events)
            return
        requests: list[list[bytes]] = []
        me = self._me
        if me.password:
            user = [me.user.encode()] if me.user else []
            requests.append([b"AUTH", *user, me.password.encode("utf-8", "surrogateescape")])
            self._awaited.append("AUTH")
        requests.append([b"REPLCONF", b"listening-port", b"%d" % me.port])
        if me.ip:
            requests.append([b"REPLCONF", b"ip-address", me.ip.encode()])
        capabilities = (b"eof", b"psync2", b"setslot", OWN_CAPABILITY)
        requests.append([b"REPLCONF", *(word for one in capabilities for word in (b"capa", one))])
        requests.append([b"REPLCONF", b"version", me.version.encode()])
        self._awaited += ["REPLCONF"] * (len(requests) - len(self._awaited))
        self.step = Step.REPLCONF
        events.append(Send(b"".join(map(resp.request, requests))))

    def _configured(self, text: str, events: list[Event]) -> None:
        """A wrong password ends it; what a primary does not know of REPLCONF is no harm, as in Redis."""
        awaited = self._awaited.pop(0)
        if awaited == "AUTH" and text.startswith("-"):
            self._fail(f"Unable to AUTH to MASTER: {text}", events)
            return
        if text.startswith("-NOAUTH"):
            self._fail(f"the primary wants a password (masterauth): {text}", events)
            return
        if not self._awaited:
            self.step = Step.PSYNC
            me = self._me
            failover = [b"FAILOVER"] if me.failover else []
            events.append(Send(resp.request([b"PSYNC", me.replid.encode(), b"%d" % me.offset, *failover])))

    def _psync_answered(self, text: str, events: list[Event]) -> None:
        words = text.split()
        if words[0] == "+FULLRESYNC" and len(words) >= 3 and len(words[1]) == 40 and words[2].isdigit():
            self.step = Step.HEADER
            events.append(FullResync(words[1], int(words[2])))
        elif words[0] == "+CONTINUE" and self._me.replid != "?":
            self.step = Step.STREAM
            events.append(Continue(words[1] if len(words) > 1 and len(words[1]) == 40 else ""))
        else:
            self.step = Step.FAILED
            events.append(Failed(f"the primary can not sync us now: {text}", refused=True))

    # Payload ------------------------------------------------------------------------------------------------------

    def _header(self, text: str, events: list[Event]) -> None:
        payload = self._payload
        if text.startswith("$EOF:") and len(text) == 5 + _MARK_SIZE:
            payload.mark = text[5:].encode()
        elif text.startswith("$") and text[1:].isdigit():
            payload.length = int(text[1:])
        else:
            self._fail(f"the primary sent no payload: {text}", events)
            return
        self.step = Step.PAYLOAD

    def _take_payload(self, chunk: bytes, events: list[Event]) -> None:
        payload = self._payload
        reader = payload.reader
        if payload.length >= 0:
            missing = payload.length - payload.read
            chunk, self._buffer = chunk[:missing], chunk[missing:]
        payload.read += len(chunk)
        if self._as_it_is:
            self._pass_on(chunk, events)
            return
        try:
            records = reader.feed(chunk)
            if payload.length >= 0 and payload.read == payload.length:
                reader.close()
        except RdbError as error:
            self._fail(f"the payload can not be loaded: {error}", events)
            return
        if records:
            events.append(Loaded(records, payload.read, max(payload.length, 0)))
        if payload.length >= 0:
            self._end_by_length(events)
        elif reader.finished and len(reader.leftover) >= _MARK_SIZE:
            self._end_by_mark(events)

    def _pass_on(self, chunk: bytes, events: list[Event]) -> None:
        """Give out bytes of the payload. A mark is known by standing where nothing follows it: the stream waits for us."""
        payload = self._payload
        if payload.length >= 0:
            events.append(Received(chunk, payload.read, payload.length))
            ended = payload.read == payload.length
        else:
            chunk = payload.tail + chunk
            ended = chunk.endswith(payload.mark)
            payload.tail = chunk[-_MARK_SIZE:]
            events.append(Received(chunk[:-_MARK_SIZE], payload.read - len(payload.tail), 0))
        if ended:
            self._ended(events)

    def _end_by_length(self, events: list[Event]) -> None:
        payload = self._payload
        if payload.reader.leftover:
            self._fail("the payload is longer than its RDB", events)
        elif payload.read == payload.length:
            self._ended(events)

    def _end_by_mark(self, events: list[Event]) -> None:
        payload = self._payload
        found = payload.reader.leftover
        if found[:_MARK_SIZE] != payload.mark:
            self._fail("the payload does not end with its mark", events)
            return
        self._buffer = found[_MARK_SIZE:]
        self._ended(events)

    def _ended(self, events: list[Event]) -> None:
        self._payload = _Payload()
        self.step = Step.STREAM
        events.append(Complete())
