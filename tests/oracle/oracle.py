"""The judge: the same commands go to a real server and to our node in process, and what comes back must be equal.

    def test_append(judge):
        judge.check("APPEND", "k", "1")
        judge.check("OBJECT", "ENCODING", "k")
        judge.same_state()

A `Judge` compares in one protocol with one server; the fixture `judge` makes four of each test: RESP2 and RESP3, with
redis-server 7.0 and with valkey-server 9.1. Our reference is Redis 7.2: where one of the two is not like it, the test
says so with `Unlike`, which also fails once that is no longer true.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from node import resp
from node.persistence import payload
from node.persistence.options import EncodingLimits, SaveOptions
from node.types import encoding_of, type_name
from node.types.hash import Hash
from node.types.list import List
from node.types.set import Set
from node.types.stream import Stream as StreamValue
from node.types.string import STRING_TYPES, text_of
from node.types.zset import ZSet
from tests.commands.harness import Harness, encoded
from tests.oracle.streams import plain_stream, same_bytes
from tests.oracle.wire import Tree, Wire, parse_whole, unordered, unordered_pairs
from tests.seeds import seed
from tests.servers import ServerProcess, start

EXAMPLES = int(os.environ.get("HASHSLOT_ORACLE_EXAMPLES", "40"))
"""Generated sequences a test and server; set the variable for longer runs."""

SEED = seed("HASHSLOT_ORACLE_SEED")
"""What generated sequences are drawn from; printed by pytest, set the variable to have the same ones again."""

TOLERANCE_MS = 1500
_FOOTER = 10


@dataclass(frozen=True)
class Unlike:
    """On this server ("redis" 7.0 or "valkey" 9.1) the reply is not Redis 7.2's, for this reason.

    ours: the reply that Redis 7.2 gives, as bytes of RESP2, where the other server does not show it.
    """

    server: str
    reason: str
    ours: bytes | None = None


class Judge:
    """Compares our node with one real server in one protocol. Begins with both empty."""

    def __init__(self, server: ServerProcess, wire: Wire, protocol: int) -> None:
        self.server = server
        self.kind = server.kind
        self.protocol = protocol
        self._wire = wire
        self.history: list[str] = []
        self._before: dict[bytes, bytes] = {}
        self.begin()

    def begin(self, **settings: str) -> None:
        """Empty both sides and set these settings, underscores for dashes, on both; others are as at the start."""
        self.settings = {name.replace("_", "-"): value for name, value in settings.items()}
        self.end()
        for name, value in self.settings.items():
            told = self._real(b"CONFIG", b"GET", encoded(name)).value
            self._before[encoded(name)] = (told[0][1] if self.protocol == 3 else told[1]).value
            assert self._real(b"CONFIG", b"SET", encoded(name), encoded(value)).kind == "+", f"{name} {value}"
        self.ours = Harness(settings=self.settings)
        self.history.clear()

    def end(self) -> None:
        """Leave the real server as it was found: empty, with the settings it had."""
        self._real(b"FLUSHALL")
        for name, value in self._before.items():
            self._real(b"CONFIG", b"SET", name, value)
        self._before.clear()

    def _real(self, *args: bytes) -> Tree:
        return self._wire.call(*args)

    # Replies ------------------------------------------------------------------------------------------------------

    def both(self, *args: object) -> tuple[Tree, Tree]:
        """Their reply and ours, not compared."""
        request = [encoded(arg) for arg in args]
        self.history.append(_shown(request))
        theirs = self._real(*request)
        self.ours.node.set_time(time.time_ns() // 1_000_000)
        ours = parse_whole(self.ours.wire(*request, protocol=self.protocol))
        return theirs, ours

    def check(
        self,
        *args: object,
        unlike: Unlike | None = None,
        order: Callable[[Tree], Tree] | None = None,
        within: int = 0,
    ) -> Tree:
        """Our reply, which must be theirs.

        order: `unordered` or `unordered_pairs` for replies in no order. within: integers may differ by so much (time).
        """
        theirs, ours = self.both(*args)
        if unlike is not None and unlike.server == self.kind:
            assert theirs != ours, f"no longer so: {unlike.reason}{self._story(theirs, ours)}"
            if unlike.ours is not None:
                assert parse_whole(unlike.ours) == ours, f"not as Redis 7.2{self._story(theirs, ours)}"
            return ours
        if order is not None:
            theirs, ours = order(theirs), order(ours)
        if within and theirs.kind == ours.kind == ":":
            assert abs(int(theirs.value) - int(ours.value)) <= within, self._story(theirs, ours)
        else:
            assert theirs == ours, self._story(theirs, ours)
        return ours

    def check_all(self, table: str, unlike: dict[str, Unlike] | None = None) -> None:
        r"""`check` each line of a table, then `same_state`.

        Arguments are separated by spaces; "..." in quotes may hold spaces and \xNN, \r, \n; '' is the empty string;
        what follows # is a comment. `unlike`: by line, as it stands in the table.
        """
        for line in table.splitlines():
            request = words(line)
            if request:
                self.check(*request, unlike=(unlike or {}).get(line.partition(" #")[0].strip()))
        self.same_state()

    def _story(self, theirs: object, ours: object) -> str:
        earlier = "\n  ".join(self.history[-30:])
        return f"\nRESP{self.protocol}, {self.kind}, after\n  {earlier}\ntheirs: {theirs!r}\nours:   {ours!r}"

    # State --------------------------------------------------------------------------------------------------------

    def same_state(self, keys: Iterable[object] | None = None) -> None:
        """Type, expiry, encoding and content of these keys (of all) are equal; contents as DUMP gives them too."""
        node = self.ours.node
        database = self.ours.client.database
        context = node.context
        context.client, context.database = self.ours.client, database
        if keys is None:
            theirs = sorted(item.value for item in self._real(b"KEYS", b"*").value)
            gone = {key for key, deadline_ms in database.expires.items() if deadline_ms <= node.now_ms}
            ours = sorted(set(database.keys()) - gone)
            assert theirs == ours, self._story(theirs, ours)
            names = ours
        else:
            names = [encoded(key) for key in keys]
        for name in names:
            value = database.keys_of(name).get(name)
            real, here = self._real_state(name), self._our_state(name, value)
            if self.kind == "valkey" and b"raw" in (real[1], here[1]):
                # Valkey embeds strings by the size of key and value together: only Redis judges embstr and raw.
                real, here = (real[0], _embedded(real[1]), real[2]), (here[0], _embedded(here[1]), here[2])
            if self.kind == "redis" and here[1] != real[1]:
                here = (here[0], _IN_REDIS_7_0.get(here[:2], here[1]), here[2])
            assert real[:2] == here[:2], self._story((name, *real[:2]), (name, *here[:2]))
            assert (real[2] is None) == (here[2] is None), self._story((name, real[2]), (name, here[2]))
            assert abs((real[2] or 0) - (here[2] or 0)) <= TOLERANCE_MS, self._story(real[2], here[2])
            if value is not None:
                self._same_content(name, value)

    def _real_state(self, name: bytes) -> tuple[bytes, bytes | None, int | None]:
        encoding = self._real(b"OBJECT", b"ENCODING", name)
        deadline = int(self._real(b"PEXPIRETIME", name).value)
        kind: bytes = self._real(b"TYPE", name).value
        return kind, encoding.value if encoding.kind == "$" else None, None if deadline < 0 else deadline

    def _our_state(self, name: bytes, value: Any) -> tuple[bytes, bytes | None, int | None]:
        if value is None:
            return b"none", None, None
        node = self.ours.node
        deadline = self.ours.client.database.expires.get(name)
        return type_name(value).encode(), encoding_of(value, node.config).encode(), deadline

    def _same_content(self, name: bytes, value: Any) -> None:
        theirs: bytes = self._real(b"DUMP", name).value
        restored = payload.restore(theirs)
        assert plain(restored) == plain(value), self._story(plain(restored), plain(value))
        if isinstance(value, StreamValue):
            assert same_bytes(theirs, value, self.kind), self._story(theirs, payload.dump(value))
            return
        config = self.ours.node.config
        limits = EncodingLimits(config.hash_max_listpack_entries, config.hash_max_listpack_value)
        ours = payload.dump(value, SaveOptions(limits, compress=False))
        if isinstance(value, (List, Set, ZSet)) and not self._has_same_bytes(value, theirs, ours):
            return
        if (isinstance(value, Hash) and value.is_table(config)) or (isinstance(value, Set) and value.form != "intset"):
            theirs, ours = theirs[:1], ours[:1]  # in no order, so no two servers agree on more than the type
            assert theirs == ours, self._story((name, theirs), (name, ours))
            return
        assert theirs[:-_FOOTER] == ours[:-_FOOTER], self._story((name, theirs), (name, ours))


    def _has_same_bytes(self, value: List | Set | ZSet, theirs: bytes, ours: bytes) -> bool:
        """Whether this server writes such a value as Redis 7.2 does."""
        if isinstance(value, ZSet):
            whole = all(abs(score) < 1e15 and score.is_integer() for score in value.lookup().values())
            return self.kind == "valkey" or not value.is_compact or whole  # 7.0 writes 0.1 with 17 digits
        if isinstance(value, Set):
            return self.kind == "valkey" or value.form != "listpack"
        if self.kind == "valkey":
            return max(map(len, value)) <= _PLAIN_NODES_ABOVE
        return theirs[1] == ours[1] == 1


_IN_REDIS_7_0: dict[tuple[bytes, bytes | None], bytes] = {
    (b"list", b"listpack"): b"quicklist",
    (b"set", b"listpack"): b"hashtable",
}
"""Encodings of 7.2 that 7.0 does not have yet."""
_PLAIN_NODES_ABOVE = 4000
"""Valkey, unlike Redis 7.2, puts elements that would fill a node into one without a listpack."""


def _embedded(encoding: bytes | None) -> bytes | None:
    return b"embstr" if encoding == b"raw" else encoding


def plain(value: Any) -> Any:
    """A value of the keyspace as plain Python data that can be compared."""
    if type(value) in STRING_TYPES:
        return text_of(value)
    if isinstance(value, Hash):
        return value.lookup()
    if isinstance(value, StreamValue):
        return plain_stream(value)
    if isinstance(value, List):
        return list(value)
    if isinstance(value, Set):
        return set(value.members())
    if isinstance(value, ZSet):
        return value.lookup()
    raise TypeError(f"how is a {type(value).__name__} compared?")


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def words(line: str) -> list[bytes]:
    r"""The arguments in one line of a table (see `Judge.check_all`); `"a\x00b"*3` repeats what is in the quotes."""
    found: list[bytes] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
        elif line[at] == "#":
            break
        elif line[at] in "\"'":
            text, at = _quoted(line, at)
            times = ""
            if line[at : at + 1] == "*":
                end = next((i for i in range(at + 1, len(line)) if not line[i].isdigit()), len(line))
                times, at = line[at + 1 : end], end
            found.append(text.encode("latin-1") * int(times or 1))
        else:
            end = next((i for i in range(at, len(line)) if line[i].isspace()), len(line))
            found.append(line[at:end].encode("latin-1"))
            at = end
    return found


def _quoted(line: str, at: int) -> tuple[str, int]:
    quote = line[at]
    text = ""
    at += 1
    while line[at] != quote:
        if line[at] != "\\":
            text += line[at]
            at += 1
        elif line[at + 1] == "x":
            text += chr(int(line[at + 2 : at + 4], 16))
            at += 4
        else:
            text += _ESCAPES.get(line[at + 1], line[at + 1])
            at += 2
    return text, at + 1


def _shown(request: Sequence[bytes]) -> str:
    return " ".join(repr(arg)[1:] if len(arg) < 100 else f"{arg[:20]!r}...({len(arg)} bytes)" for arg in request)


def start_real(kind: str) -> ServerProcess:
    """A real server as the oracle wants it: contents uncompressed, DEBUG allowed."""
    return start(kind, None, "--enable-debug-command", "yes", "--rdbcompression", "no", "--loglevel", "warning")


class Stream:
    """What a real primary tells its replicas: connects as one and listens."""

    def __init__(self, server: ServerProcess) -> None:
        self._commands = Wire(server.port)
        self._commands.call(b"CONFIG", b"SET", b"repl-diskless-sync", b"no")
        self._link = Wire(server.port)
        self._link.socket.sendall(resp.request([b"PSYNC", b"?", b"-1"]))
        assert self._link.read_line().startswith(b"+FULLRESYNC")
        # Bare newlines keep the link alive while the snapshot is written: none, one or many stand before its length.
        while not (line := self._link.read_line().lstrip(b"\n")):
            pass
        assert line.startswith(b"$"), line
        self._link.read_bytes(int(line[1:]))
        self._marks = 0

    def of(self, *args: bytes) -> list[list[bytes]]:
        """The commands by which one request is told to replicas."""
        self._commands.call(*args)
        self._marks += 1
        mark = [b"PUBLISH", b"mark", b"%d" % self._marks]
        self._commands.call(*mark)
        told: list[list[bytes]] = []
        while True:
            command = [item.value for item in self._link.read().value]
            if command == mark:
                return told
            if command[0] not in (b"SELECT", b"PING", b"MULTI", b"EXEC"):
                told.append(command)

    def close(self) -> None:
        self._commands.close()
        self._link.close()


class Told:
    """What our node would tell its replicas."""

    def __init__(self, redis: Harness) -> None:
        self.redis = redis
        self._told: list[list[bytes]] = []
        replication = redis.node.replication
        replication.feeding = True
        replication.feed = lambda database, args: self._told.append(list(args))  # type: ignore[method-assign]

    def of(self, *args: bytes) -> list[list[bytes]]:
        """The commands by which one request is told to replicas."""
        self._told.clear()
        self.redis.wire(*args)
        return list(self._told)


__all__ = [
    "EXAMPLES",
    "SEED",
    "Judge",
    "Stream",
    "Told",
    "Unlike",
    "start_real",
    "unordered",
    "unordered_pairs",
    "words",
]
