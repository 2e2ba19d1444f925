"""Keys in transit: what MIGRATE has sent, or is about to send, and is not yet confirmed by the other server. No I/O.

Redis blocks while MIGRATE waits for its target; here other clients are served meanwhile. So that no write is lost between
a value that has left and the key's removal, whatever may change a key in transit waits (as under CLIENT PAUSE) until the
other server has answered or the timeout of MIGRATE has passed: then it is run, and is redirected if the key has gone.
Reads are served: until the key goes, nothing can be newer than what is here. Who changes no key in transit is not held up.

Only while something is in transit do requests take the slow way (`Unusual.IN_TRANSIT`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from node.client import Client, Unusual
from node.errors import CommandError
from node.gate import Deferred
from node.keyspace import Database
from node.persistence.encodings import version_needed
from node.persistence.encodings.modules import TAG_MODULE_2
from node.persistence.options import RDB_VERSION_FIELD_DEADLINES, SaveOptions
from node.persistence.payload import BAD_DATA, WRONG_FOOTER, dump_pieces, other_version
from node.registry import Args, Command, Flag
from node.resp import OK, Reply
from node.resp import request as encode_request
from node.transactions import RUN_AT_ONCE
from node.types import KINDS
from node.types.hash import Hash

if TYPE_CHECKING:
    from node.state import Node

NOT_A_PRIMARY = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"


class Failure(Enum):
    """What went wrong with the connection. The values are Redis's words for it."""

    CONNECTING = "IOERR error or timeout connecting to the client"
    WRITING = "IOERR error or timeout writing to target instance"
    READING = "IOERR error or timeout reading to target instance"


class _Answers(Enum):
    """What a reply of the other server can be about, beside a key."""

    AUTH = 1
    SELECT = 2


@dataclass(frozen=True, slots=True)
class Order:
    """What MIGRATE asks for. timeout_ms: how long the other server may be silent. credentials: arguments for AUTH.
    options: how values are written."""

    host: str
    port: int
    database: int
    timeout_ms: int
    options: SaveOptions
    copy: bool = False
    replace: bool = False
    credentials: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sent:
    """A payload on its way. version: the RDB version it is written in, or below. tag: the RDB type it is written as. kind:
    what TYPE calls the value. refusal: what the other server answered to it in another version, or has just answered."""

    key: bytes
    version: int
    tag: int
    kind: str
    refusal: str = ""

    @property
    def other(self) -> int:
        """Another RDB version to write the value in, 0 for none."""
        return other_version(self.tag) or 0

    @property
    def why(self) -> str:
        """What the other server seems to lack."""
        if self.tag == TAG_MODULE_2:
            return f"it has no module for values of type {self.kind}"
        if version_needed(self.tag) >= RDB_VERSION_FIELD_DEADLINES:
            return "it has no fields of hashes that expire"
        return f"it can not read this {self.kind}"


class Shipment:
    """The keys of one MIGRATE: what to send for them, and what the answers mean.

    deferred: the reply to MIGRATE. The connection (`transit_links.py`) calls `begin` for what to send, `answered` for
    each line that comes back and `failed` when it is lost.
    """

    def __init__(self, transit: Transit, order: Order, client: Client, slot: int, keys: list[bytes]) -> None:
        self.order = order
        self.client = client
        self.database: Database = client.database
        self.slot = slot
        self.keys = keys
        self.deferred = Deferred(pauses=True)
        self.attempts = 0
        self.answers = 0
        """How many lines of the other server this attempt has seen."""
        self.refusal = ""
        """The first error that the other server answered with."""
        self.version = order.options.version
        """The RDB version that the other server is known or believed to read."""
        self._transit = transit
        self._awaited: deque[_Sent | _Answers] = deque()
        self._again: list[_Sent] = []
        """Payloads that it could not read, to be written in another version."""
        self._all_sent = False
        self._arrived: list[bytes] = []
        self._astray = False
        """AUTH or SELECT was refused: whatever arrives is not where it should be."""

    def begin(self, selected: int, version: int | None = None) -> Iterator[bytes]:
        """What to send on a connection whose database is `selected` (-1: not known), in pieces. An empty piece means
        that some time has passed: others may want to be served. version: which RDB version the other side reads, None when
        that is not known yet."""
        self.attempts += 1
        self.answers = 0
        self.version = version or self.order.options.version
        self._awaited.clear()
        self._again.clear()
        self._all_sent = False
        if self.order.credentials:
            self._awaited.append(_Answers.AUTH)
            yield encode_request([b"AUTH", *self.order.credentials])
        if selected != self.order.database:
            self._awaited.append(_Answers.SELECT)
            yield encode_request([b"SELECT", b"%d" % self.order.database])
        for key in self.keys:
            yield from self._pieces(key, self.version)
        self._all_sent = True

    @property
    def wants_more(self) -> bool:
        """Whether `go_on` has something to send."""
        return bool(self._again) and self._all_sent and not self._awaited

    def go_on(self) -> Iterator[bytes]:
        """What to send, in pieces, when everything is answered and some of it in another version might be welcome."""
        again, self._again = self._again, []
        self._all_sent = False
        for sent in again:
            yield from self._pieces(sent.key, sent.other, sent.refusal)
        self._all_sent = True

    def _pieces(self, key: bytes, version: int, refusal: str = "") -> Iterator[bytes]:
        """RESTORE for one key. Its payload is collected before its length can be told: no more than one at a time.
        refusal: what the other server said to it in another version."""
        node = self._transit.node
        keys = self.database.slots[self.slot]
        deadline_ms = self.database.expires.get(key)
        if key not in keys or (deadline_ms is not None and deadline_ms < node.now_ms):
            return
        value = keys[key]
        payload: list[bytes] = []
        if type(value) is Hash and value.deadlines is not None and version < RDB_VERSION_FIELD_DEADLINES:
            version = self.order.options.version  # Not without the fields' deadlines.
        for piece in dump_pieces(value, replace(self.order.options, version=version)):
            if payload or not piece:
                yield b""
            if piece:
                payload.append(piece)
        ttl_ms = 0 if deadline_ms is None else max(1, deadline_ms - node.now_ms)
        name = b"RESTORE-ASKING" if node.clustered else b"RESTORE"
        size = sum(map(len, payload))
        head = b"*%d\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (4 + self.order.replace, len(name), name, len(key), key)
        ttl = b"%d" % ttl_ms
        self._awaited.append(_Sent(key, version, payload[0][0], KINDS[type(value)].name, refusal))
        yield head + b"$%d\r\n%b\r\n$%d\r\n" % (len(ttl), ttl, size)
        yield from payload
        yield b"\r\n$7\r\nREPLACE\r\n" if self.order.replace else b"\r\n"

    def answered(self, line: bytes) -> bool:
        """The other server's next line, without its end. Returns whether it was the last one, when all is sent."""
        self.answers += 1
        about = self._awaited.popleft() if self._awaited else None
        if line.startswith(b"-"):
            self._denied(about, line[1:].decode("utf-8", "surrogateescape"))
        elif isinstance(about, _Sent) and not self._astray:
            self._arrived.append(about.key)
            if about.refusal:
                self.version = about.version  # It will read the next ones in the same version.
        return self.is_complete

    def _denied(self, about: _Sent | _Answers | None, text: str) -> None:
        if not isinstance(about, _Sent):
            self._astray = True
        elif text.endswith((WRONG_FOOTER, BAD_DATA)):
            if about.other and not about.refusal:
                self._again.append(replace(about, refusal=text))
                return
            text = f"{about.refusal or text} ({about.why})"
        self.refusal = self.refusal or text

    @property
    def is_complete(self) -> bool:
        """Whether everything was sent and answered."""
        return self._all_sent and not self._awaited and not self._again

    @property
    def awaits_answers(self) -> bool:
        """Whether the other server owes a line."""
        return bool(self._awaited)

    def done(self) -> None:
        """Everything is answered."""
        self._transit.land(self, self._refused() if self.refusal else OK)

    def failed(self, failure: Failure | None = None) -> None:
        """The connection is lost for good. What was answered before counts. None: while writing, or reading."""
        why = failure or (Failure.READING if self._all_sent else Failure.WRITING)
        self._transit.land(self, self._refused() if self.refusal else CommandError(why.value))

    def _refused(self) -> CommandError:
        return CommandError(f"ERR Target instance replied with error: {self.refusal}")

    @property
    def arrived(self) -> list[bytes]:
        """The keys that the other server has confirmed."""
        return self._arrived


def would_change(client: Client, command: Command, args: Args, is_moving: Callable[[bytes], bool]) -> bool:
    """Whether running this request now may change a key that is being moved."""
    transaction = client.transaction
    if transaction is not None and transaction.queued is not None and command.name not in RUN_AT_ONCE:
        return False  # It is only queued.
    requests: Sequence[tuple[Command, Args]] = [(command, args)]
    if transaction is not None and transaction.queued is not None:
        requests = transaction.queued if command.name == "exec" else []
    return any(_changes(*request, is_moving) for request in requests)


def _changes(command: Command, args: Args, is_moving: Callable[[bytes], bool]) -> bool:
    if not command.flags & Flag.WRITE:
        return False
    return not command.key_at or any(map(is_moving, command.keys_of(args)))  # Without a key: FLUSHALL, SWAPDB.


class Transit:
    """All shipments of a node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.links_kept = 0
        """Connections that wait for the next MIGRATE to the same server (INFO migrate_cached_sockets)."""
        self._names: Counter[bytes] = Counter()
        """Keys in transit. Under all databases alike: to hold up too much is no harm."""
        self._shipments = 0
        self._someone_waits = False

    def send(self, order: Order, client: Client, slot: int, keys: list[bytes]) -> Deferred:
        """Let these keys, which are there, begin their journey. Returns the reply to MIGRATE."""
        shipment = Shipment(self, order, client, slot, keys)
        self._shipments += 1
        self._names.update(set(keys))
        self.node.mark(Unusual.IN_TRANSIT, True)
        self.node.io.ship(shipment)
        return shipment.deferred

    def holds(self, client: Client, command: Command, args: Args) -> bool:
        """Whether this request has to wait, since it may change a key in transit."""
        if client.is_primary or client.is_replica:
            return False
        held = would_change(client, command, args, self._names.__contains__)
        self._someone_waits |= held
        return held

    def land(self, shipment: Shipment, reply: Reply) -> None:
        """A shipment's journey is over: remove what has arrived, answer, and let those go on who had to wait."""
        node = self.node
        if node.unusual & Unusual.REPLICA:
            reply = CommandError(NOT_A_PRIMARY)  # What happens to the data is our primary's to say.
        elif not shipment.order.copy:
            self._remove(shipment)
        self._shipments -= 1
        self._names.subtract(set(shipment.keys))
        for key in shipment.keys:
            if self._names[key] <= 0:
                del self._names[key]
        if not self._shipments:
            node.mark(Unusual.IN_TRANSIT, False)
        if isinstance(reply, CommandError):
            node.stats.error(reply.code)
        if shipment.client.id in node.clients:
            shipment.deferred.resolve(reply)
        if self._someone_waits:
            self._someone_waits = False
            node.io.resume_clients()
            node.blocking.serve_all()
        node.replication.flush()

    def _remove(self, shipment: Shipment) -> None:
        node, context = self.node, self.node.context
        context.client = shipment.client
        context.point_at(shipment.database, shipment.slot)
        gone = [key for key in shipment.arrived if context.delete(key)]
        if not gone:
            return
        for key in gone:
            node.observe(shipment.database, "del", key)
        node.dirty += len(gone)
        node.propagate(shipment.database, [b"DEL", *gone])
        if node.blocking.ready:
            node.blocking.serve()
