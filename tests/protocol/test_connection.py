"""One client's connection on a transport and a node that do as the test says: order, waiting, errors, limits, ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.client import Client, Unusual
from node.clock import ticks_ns
from node.connection import Connection
from node.errors import CommandError
from node.executor import Executor, Postponed
from node.gate import FOREVER_NS, Deferred, Guard, ReplyGate
from node.keyspace import Database
from node.resp import SILENCE, request
from node.stats import Stats


class Transport(asyncio.Transport):
    """Keeps what was written. `unread` is what the peer has not taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.unread = 0
        self.ended: str = ""
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.ended, "written after the end"
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 6)}.get(name, default)


class Loop:
    """Calls what was put off when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, action: Callable[[], None]) -> None:
        self.soon.append(action)

    def turn(self) -> None:
        while self.soon:
            self.soon.pop(0)()


class Requests(Executor):
    """The real one as far as it goes over requests; it knows no command, so each comes to `execute`."""

    def __init__(self, node: Any) -> None:
        self._node, self._context, self._spellings = node, node.context, {}
        self._served, self._slot_mask = bytearray(1), 0
        self._replication, self._ready = node.replication, deque()

    def execute(self, client: Client, args: list[bytes]) -> Any:
        return cast(Any, self._node).execute(client, args)


class Node:
    """Runs a few commands of its own: ECHO answers its argument, LATER and BLOCK a Deferred that the test resolves,
    FAIL with an error, CRASH with a bug, QUIET with nothing, AUTH authenticates, QUIT closes; all wait while
    `paused`."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.fields_due_ms = 1 << 62
        self.dirty = 0
        self.context = SimpleNamespace(now_ms=0, dirty=0, abandon=lambda: self.ran.append("abandoned"))
        self.config = SimpleNamespace(
            proto_max_bulk_len=1 << 29, client_query_buffer_limit=1 << 20, timeout=0, tcp_keepalive=0, unixsocket="/s",
            repl_disable_tcp_nodelay=False,
        )
        self.gate = ReplyGate()
        self.replication = SimpleNamespace(feeding=False, is_behind=False, client_gone=self.gone)
        self.executor = Requests(self)
        self.ran: list[str] = []
        self.deferred: dict[str, Deferred] = {}
        self.paused = False
        self.forgotten: list[Client] = []
        self.password = False

    now_ms = property(lambda self: self.context.now_ms)

    def gone(self, client: Client) -> None:
        self.ran.append("gone")

    def set_time(self, now_ms: int) -> None:
        self.context.now_ms = now_ms

    def new_client(self) -> Client:
        client = Client(1, Database(0, False), self.now_ms)
        client.authenticated = not self.password
        return client

    def forget_client(self, client: Client) -> None:
        self.forgotten.append(client)

    def note_time(self, requests: list[list[bytes]], elapsed_ns: int) -> None:
        assert elapsed_ns >= 0

    def execute(self, client: Client, args: list[bytes]) -> Any:
        if self.paused:
            raise Postponed(args)
        name = args[0].decode().upper()
        self.ran.append(b" ".join(args).decode())
        if name in ("LATER", "BLOCK"):
            deferred = self.deferred[args[1].decode()] = Deferred(pauses=name == "BLOCK")
            return deferred
        if name == "READY":
            deferred = Deferred(pauses=True)
            deferred.resolve(args[1])
            return deferred
        return self._plain(name, client, args)

    def _plain(self, name: str, client: Client, args: list[bytes]) -> Any:
        if name == "FAIL":
            raise CommandError("WRONG something")
        if name == "CRASH":
            raise ZeroDivisionError
        if name == "STRANGE":
            return object()
        if name == "QUIET":
            return SILENCE
        if name == "AUTH":
            client.authenticated = True
        if name == "QUIT":
            client.closing = True
        if name == "RESP3":
            client.set_protocol(3)
        if name == "NOTHING":
            return None
        return args[1] if name == "ECHO" else "OK"


class Server:
    def __init__(self) -> None:
        self.node = Node()
        self.loop = Loop()
        self.connections: dict[int, Connection] = {}
        self.refuses = ""
        self.limit = SimpleNamespace(hard=0, soft=0, soft_seconds=0)
        self.guard: Guard | None = None
        self.leaving: list[Connection] = []

    def leave_after_stream(self, connection: Connection) -> None:
        self.leaving.append(connection)

    def end_turn(self) -> None:
        while self.leaving:
            self.leaving.pop().leave()

    def refusal(self, connection: Connection) -> str:
        return self.refuses

    def output_limit(self, client: Client) -> Any:
        return self.limit


class Wire:
    """A connected client."""

    def __init__(self, server: Server | None = None) -> None:
        self.server = server or Server()
        self.node = self.server.node
        self.transport = Transport()
        self.connection = Connection(cast(Any, self.server))
        self.connection.connection_made(self.transport)

    def send(self, *requests: str | bytes) -> None:
        """All in one chunk: text as a request's words, bytes as they are."""
        chunks = [
            one if isinstance(one, bytes) else request([word.encode() for word in one.split()]) for one in requests
        ]
        self.connection.data_received(b"".join(chunks))

    def take(self) -> bytes:
        """What was written since the last time."""
        written = b"".join(self.transport.writes)
        self.transport.writes.clear()
        return written

    def ended(self) -> str:
        """ "closed", "aborted", or "" for neither."""
        return self.transport.ended

    def resolve(self, name: str, value: object = "OK") -> None:
        self.node.deferred[name].resolve(value)
        self.server.loop.turn()


def bulks(words: Iterable[str]) -> bytes:
    return b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def locked() -> Wire:
    """A client that has not authenticated."""
    server = Server()
    server.node.password = True
    return Wire(server)


# One chunk in, one write out ------------------------------------------------------------------------------------------


def test_a_chunk_is_answered_in_one_write(wire: Wire) -> None:
    wire.send("ECHO a", "ECHO b", "FAIL", "ECHO c")
    assert wire.transport.writes == [b"$1\r\na\r\n$1\r\nb\r\n-WRONG something\r\n$1\r\nc\r\n"]
    assert wire.node.stats.errors == {"WRONG": 1}
    assert len(wire.node.ran) == 4


def test_half_a_request_is_not_answered(wire: Wire) -> None:
    data = request([b"ECHO", b"abc"])
    wire.send(data[:10])
    assert wire.take() == b""
    wire.send(data[10:] + data[:3])
    assert wire.take() == b"$3\r\nabc\r\n"
    wire.send(data[3:])
    assert wire.take() == b"$3\r\nabc\r\n"


class Lease:
    """A cluster that says whether clients may be served, behind a real guard."""

    def __init__(self) -> None:
        self.serves_until_ms: int | None = None
        self.answers_until_ms: int | None = None
        self.asks_at_ms: int | None = None
        self.ok = True
        self.owned = 1
        self.slotmap = SimpleNamespace(bits=lambda node: self.owned)
        self.myself = SimpleNamespace(id="me", is_primary=True)
        self.again: list[Callable[[], None]] = []
        self.guard = Guard(
            cast(Any, self), ticks_ns, lambda: self.guard.refresh(), lambda seconds, action: self.again.append(action)
        )
        self.guard.refresh()

    def end(self) -> None:
        """The node slept past its lease."""
        self.serves_until_ms = 0
        self.guard.until_ns = self.guard.answers_ns = 0

    def decide(self, owned: int) -> None:
        self.serves_until_ms, self.owned = None, owned
        self.guard.refresh()
        assert self.guard.until_ns == FOREVER_NS

    def doubt(self) -> None:
        """What was written is not covered."""
        self.answers_until_ms = 0
        self.guard.refresh()


@pytest.mark.parametrize("replaced", [False, True])
def test_replies_that_wait_for_the_stream_do_not_leave_after_a_sleep(replaced: bool) -> None:
    """SIGSTOP between a write and the end of its loop turn: what was written may be lost."""
    lease, server = Lease(), Server()
    server.guard = lease.guard
    wire = Wire(server)
    wire.node.replication.feeding = wire.node.replication.is_behind = True
    wire.send("ECHO a", "LATER x", "ECHO b")
    lease.end()
    server.end_turn()
    assert wire.take() == b"" and not wire.transport.reading
    wire.resolve("x", b"x")
    assert wire.take() == b""
    lease.decide(owned=0 if replaced else 1)
    assert wire.ended() == ("aborted" if replaced else "")
    server.end_turn()
    assert wire.take() == (b"" if replaced else bulks("axb"))
    assert wire.transport.reading is not replaced


@pytest.mark.parametrize("replaced", [False, True])
def test_replies_of_writes_that_are_not_covered_wait_in_their_order(replaced: bool) -> None:
    lease, server = Lease(), Server()
    server.guard = lease.guard
    wire, reader = Wire(server), Wire(server)
    lease.doubt()
    reader.send("ECHO r")
    assert reader.take() == bulks("r"), "reads are served, and cost nothing"
    wire.node.replication.feeding = wire.node.replication.is_behind = True
    wire.send("ECHO a", "LATER x", "ECHO b")
    server.end_turn()
    wire.send("ECHO c")
    server.end_turn()
    wire.resolve("x", b"x")
    assert wire.take() == b"" and not wire.transport.reading, "and no more is read from who waits"
    wire.connection.client.send(b">message")
    assert len(lease.again) == 1
    lease.again.pop()()
    assert wire.take() == b"" and len(lease.again) == 1, "it is looked at again and again"
    lease.answers_until_ms = None
    lease.myself.is_primary = not replaced
    lease.guard.refresh()
    server.end_turn()
    assert wire.take() == (b"" if replaced else bulks("axbc") + b">message")
    if not replaced:
        wire.connection.client.send(b">another")
        server.end_turn()
        assert wire.take() == b">another"
    assert wire.ended() == ("aborted" if replaced else "") and wire.transport.reading is not replaced
    lease.again.pop()()
    assert not lease.again


def test_a_look_may_show_that_writes_are_covered_or_the_lease_is_over() -> None:
    for ok in (True, False):
        lease, server = Lease(), Server()
        server.guard = lease.guard
        wire = Wire(server)
        lease.doubt()
        lease.answers_until_ms, lease.ok = None, ok
        wire.node.replication.feeding = wire.node.replication.is_behind = True
        wire.send("ECHO a")
        server.end_turn()
        assert wire.take() == (bulks("a") if ok else b"") and wire.ended() == ("" if ok else "aborted")
        assert not lease.again


def test_a_replica_gets_the_stream_while_writes_are_not_covered() -> None:
    lease, server = Lease(), Server()
    server.guard = lease.guard
    replica = Wire(server)
    replica.connection.client.is_replica = True
    lease.doubt()
    replica.node.replication.feeding = replica.node.replication.is_behind = True
    replica.send("ECHO a")
    replica.connection.client.send(b"stream")
    server.end_turn()
    assert replica.take() == bulks("a") + b"stream"


def test_a_silent_reply_writes_nothing(wire: Wire) -> None:
    wire.send("QUIET")
    assert wire.transport.writes == []
    wire.send("ECHO a", "QUIET", "ECHO b")
    assert wire.take() == bulks("ab")


def test_errors_are_not_written_while_replies_are_off(wire: Wire) -> None:
    wire.connection.client.mark(Unusual.REPLY_OFF, True)
    wire.send("FAIL")
    assert wire.transport.writes == []
    assert wire.node.stats.total_error_replies == 1


@pytest.mark.parametrize("name", ["CRASH", "STRANGE"])
def test_a_bug_answers_an_error_and_the_next_request_runs(wire: Wire, name: str) -> None:
    wire.send("ECHO a", name, "ECHO b")
    assert wire.take() == b"$1\r\na\r\n-ERR internal error, see the log of this node\r\n$1\r\nb\r\n"
    assert wire.node.ran[-2:] == ["abandoned", "ECHO b"]
    assert not wire.ended()


def test_protocol_may_change_within_a_chunk(wire: Wire) -> None:
    wire.send("NOTHING", "RESP3", "NOTHING")
    assert wire.take() == b"$-1\r\n+OK\r\n_\r\n"


def test_replies_leave_behind_the_stream_that_they_acknowledge(wire: Wire) -> None:
    replication = wire.node.replication
    replication.feeding = True
    wire.send("ECHO a")
    assert wire.take() == b"$1\r\na\r\n"
    replication.is_behind = True
    wire.send("ECHO a", "ECHO b")
    wire.send("ECHO c")
    wire.connection.client.send(b">message")
    assert wire.take() == b"" and wire.server.leaving == [wire.connection]
    wire.server.end_turn()
    assert wire.take() == bulks("abc") + b">message"


def test_what_stands_before_a_late_reply_leaves_behind_the_stream_too(wire: Wire) -> None:
    """SET and WAIT in one chunk."""
    wire.node.replication.feeding = wire.node.replication.is_behind = True
    wire.send("ECHO a", "BLOCK x", "ECHO b")
    assert wire.take() == b""
    wire.server.end_turn()
    assert wire.take() == b"$1\r\na\r\n"
    wire.resolve("x", b"x")
    wire.server.end_turn()
    assert wire.take() == bulks("xb")


def test_a_blocked_client_is_answered_behind_the_stream_that_its_request_has_added_to(wire: Wire) -> None:
    """BLPOP, served by another's push: its pop is in the stream of this turn."""
    wire.node.replication.feeding = True
    wire.send("BLOCK x")
    wire.node.replication.is_behind = True
    wire.node.deferred["x"].resolve(b"x")
    assert wire.take() == b"" and wire.server.leaving == [wire.connection]
    wire.server.end_turn()
    assert wire.take() == b"$1\r\nx\r\n"


@pytest.mark.parametrize("how", ["aborted", "lost"])
def test_nothing_leaves_for_a_connection_that_ended_in_the_same_turn(wire: Wire, how: str) -> None:
    wire.node.replication.feeding = wire.node.replication.is_behind = True
    wire.send("ECHO a")
    if how == "aborted":
        wire.connection.abort()
    else:
        wire.connection.connection_lost(None)
    wire.server.end_turn()
    assert wire.take() == b""


def test_a_connection_is_closed_behind_the_stream_too(wire: Wire) -> None:
    wire.node.replication.feeding = wire.node.replication.is_behind = True
    wire.send("ECHO a", "QUIT")
    assert not wire.ended()
    wire.server.end_turn()
    assert wire.take() == b"$1\r\na\r\n+OK\r\n" and wire.ended() == "closed"


def test_bytes_are_counted(wire: Wire) -> None:
    data = request([b"ECHO", b"abc"])
    wire.send(data)
    stats = wire.node.stats
    assert stats.net_input_bytes == len(data)
    assert stats.net_output_bytes == len(wire.take())


# Replies that come later ----------------------------------------------------------------------------------------------


def test_replies_keep_their_order_behind_one_that_is_late(wire: Wire) -> None:
    wire.send("ECHO a", "LATER x", "ECHO b")
    wire.send("ECHO c")
    assert wire.take() == bulks("a")
    wire.resolve("x", b"x")
    assert wire.take() == bulks("xbc")
    wire.send("ECHO d")
    assert wire.take() == bulks("d")


def test_two_late_replies_resolved_the_wrong_way_round(wire: Wire) -> None:
    wire.send("LATER x", "ECHO a", "LATER y", "ECHO b")
    wire.resolve("y", b"y")
    assert wire.take() == b""
    wire.resolve("x", b"x")
    assert wire.take() == bulks("xayb")


def test_a_blocking_request_holds_up_those_behind_it(wire: Wire) -> None:
    wire.send("ECHO a", "BLOCK x", "ECHO b")
    wire.send("ECHO c")
    assert wire.node.ran == ["ECHO a", "BLOCK x"]
    assert wire.take() == bulks("a")
    wire.resolve("x", b"x")
    assert wire.take() == bulks("xbc")
    assert len(wire.node.ran) == 4


def test_one_blocking_request_after_another(wire: Wire) -> None:
    wire.send("BLOCK x", "BLOCK y", "ECHO a")
    wire.resolve("x", b"x")
    assert wire.take() == bulks("x")
    wire.resolve("y", b"y")
    assert wire.take() == bulks("ya")


def test_a_blocking_request_behind_a_late_reply(wire: Wire) -> None:
    wire.send("LATER x", "BLOCK y", "ECHO a")
    wire.resolve("y", b"y")
    assert wire.take() == b""
    wire.resolve("x", b"x")
    assert wire.take() == bulks("xya")


def test_a_reply_that_is_ready_at_once_holds_nothing_up(wire: Wire) -> None:
    wire.send("ECHO a", "READY b", "ECHO c")
    assert wire.take() == bulks("abc")


def test_a_late_error(wire: Wire) -> None:
    wire.send("BLOCK x")
    wire.resolve("x", CommandError("UNBLOCKED client unblocked"))
    assert wire.take() == b"-UNBLOCKED client unblocked\r\n"


def test_the_second_answer_to_a_late_reply_is_not_written(wire: Wire) -> None:
    wire.send("BLOCK x")
    wire.resolve("x", b"1")
    wire.resolve("x", b"2")
    assert wire.take() == bulks("1")


def test_bytes_sent_past_the_replies_do_not_wait(wire: Wire) -> None:
    wire.send("BLOCK x")
    wire.connection.client.send(b">1\r\n+now\r\n")
    assert wire.take() == b">1\r\n+now\r\n"


def test_a_reply_that_comes_after_the_client_has_gone(wire: Wire) -> None:
    wire.send("BLOCK x", "ECHO a")
    wire.connection.connection_lost(None)
    wire.resolve("x")
    assert wire.transport.writes == []
    assert wire.node.ran == ["BLOCK x", "gone"]
    assert wire.server.connections == {}
    assert wire.node.forgotten == [wire.connection.client]


# Paused ---------------------------------------------------------------------------------------------------------------


def test_paused_requests_run_in_order_when_the_pause_is_over(wire: Wire) -> None:
    wire.node.paused = True
    wire.send("ECHO a", "ECHO b")
    wire.send("ECHO c")
    assert wire.node.ran == [] and wire.take() == b""
    wire.connection.resume()
    assert wire.node.ran == []
    wire.node.paused = False
    wire.connection.resume()
    assert wire.take() == bulks("abc")
    assert len(wire.node.ran) == 3


def test_resuming_what_was_not_paused_does_nothing(wire: Wire) -> None:
    wire.connection.resume()
    wire.send("BLOCK x", "ECHO a")
    wire.connection.resume()
    assert wire.node.ran == ["BLOCK x"]


# Bytes that are no request --------------------------------------------------------------------------------------------

_WORDS = b"-ERR Protocol error: invalid multibulk length\r\n"


def test_an_error_is_told_and_the_connection_closed(wire: Wire) -> None:
    wire.send(b"*x\r\n")
    assert wire.take() == _WORDS
    assert wire.ended() == "closed"
    assert wire.node.stats.errors == {"ERR": 1}


def test_requests_before_an_error_are_answered_and_none_after_it(wire: Wire) -> None:
    wire.send("ECHO a", b"*x\r\n", "ECHO b")
    assert wire.take() == bulks("a") + _WORDS
    assert wire.node.ran == ["ECHO a"]


def test_an_error_waits_for_the_reply_before_it(wire: Wire) -> None:
    wire.send("BLOCK x", b"*x\r\n")
    assert wire.take() == b"" and not wire.ended()
    wire.send("ECHO never")
    wire.resolve("x", b"x")
    assert wire.take() == bulks("x") + _WORDS
    assert wire.ended() == "closed"
    assert wire.node.ran == ["BLOCK x"]


def test_an_error_behind_a_late_reply_closes_when_that_is_out(wire: Wire) -> None:
    wire.send("LATER x", b"*x\r\n")
    assert not wire.ended() and not wire.transport.reading
    wire.resolve("x", b"x")
    assert wire.take() == bulks("x") + _WORDS
    assert wire.ended() == "closed"


def test_an_error_behind_paused_requests(wire: Wire) -> None:
    wire.node.paused = True
    wire.send("ECHO a", b"*x\r\n")
    assert wire.take() == b"" and not wire.ended()
    wire.node.paused = False
    wire.connection.resume()
    assert wire.take() == bulks("a") + _WORDS
    assert wire.ended() == "closed"


def test_quit_before_an_error(wire: Wire) -> None:
    wire.send("QUIT", b"*x\r\n")
    assert wire.take() == b"+OK\r\n"
    assert wire.ended() == "closed"


# Not authenticated ----------------------------------------------------------------------------------------------------


def test_requests_behind_auth_are_under_the_limits_of_who_has_authenticated() -> None:
    wire = locked()
    many = "ECHO " + " ".join("abcdefghijklmnop")
    wire.send("AUTH x", many, "ECHO b", b"*1\r\n$4\r\nQU")
    assert wire.take() == b"+OK\r\n" + bulks("ab")
    wire.send(b"IT\r\n")
    assert wire.take() == b"+OK\r\n"


def test_small_limits_without_authentication() -> None:
    wire = locked()
    wire.send("ECHO a", "ECHO " + " ".join("abcdefghijklmnop"), "ECHO b")
    assert wire.take() == bulks("a") + b"-ERR Protocol error: unauthenticated multibulk length\r\n"
    assert wire.ended() == "closed"


def test_auth_that_was_paused_lets_the_rest_of_its_chunk_run() -> None:
    wire = locked()
    wire.node.paused = True
    wire.send("AUTH x", "ECHO a", "ECHO b")
    wire.node.paused = False
    wire.connection.resume()
    assert wire.take() == b"+OK\r\n" + bulks("ab")
    wire.send("ECHO c")
    assert wire.take() == bulks("c")


# Limits and endings ---------------------------------------------------------------------------------------------------


def test_a_request_that_grows_beyond_the_query_buffer_limit(wire: Wire) -> None:
    wire.send(b"*2\r\n$4\r\nECHO\r\n$300000000\r\n")
    for _ in range(15):
        wire.send(b"x" * 65_536)
    assert not wire.ended()
    wire.send(b"x" * 65_536 * 2)
    assert wire.ended() == "aborted"
    assert wire.node.stats.query_buffer_limit_disconnections == 1


def test_requests_kept_behind_a_blocking_one_count_against_the_query_buffer_limit(wire: Wire) -> None:
    wire.send("BLOCK x")
    big = request([b"ECHO", b"v" * 65_536])
    for _ in range(15):
        wire.send(big)
    assert not wire.ended()
    wire.send(big)
    assert wire.ended() == "aborted"
    assert wire.node.stats.query_buffer_limit_disconnections == 1


def test_kept_requests_that_have_run_count_no_more(wire: Wire) -> None:
    big = request([b"ECHO", b"v" * 65_536])
    for _ in range(4):
        wire.send("BLOCK x")
        for _ in range(10):
            wire.send(big)
        wire.resolve("x")
    assert not wire.ended()


def test_unread_output_above_the_hard_limit(wire: Wire) -> None:
    wire.server.limit.hard = 1000
    wire.connection.pause_writing()
    wire.transport.unread = 1000
    wire.send("ECHO a")
    assert not wire.ended()
    wire.transport.unread = 1001
    wire.send("ECHO a", "ECHO b")
    assert wire.ended() == "aborted"
    assert wire.node.stats.output_buffer_limit_disconnections == 1


def test_unread_output_above_the_soft_limit_for_too_long(wire: Wire) -> None:
    wire.server.limit.soft, wire.server.limit.soft_seconds = 100, 10
    wire.connection.pause_writing()
    wire.transport.unread = 101
    start_ms = 1_000_000
    wire.node.set_time(start_ms)
    wire.connection.check(start_ms)
    wire.node.set_time(start_ms + 10_000)
    wire.connection.check(start_ms + 10_000)
    assert not wire.ended()
    wire.node.set_time(start_ms + 10_001)
    wire.connection.check(start_ms + 10_001)
    assert wire.ended() == "aborted"


def test_output_that_falls_below_the_soft_limit_starts_anew(wire: Wire) -> None:
    wire.server.limit.soft, wire.server.limit.soft_seconds = 100, 10
    wire.connection.pause_writing()
    for now_ms, unread in ((1_000, 101), (9_000, 99), (12_000, 101), (21_000, 101)):
        wire.transport.unread = unread
        wire.node.set_time(now_ms)
        wire.connection.check(now_ms)
    assert not wire.ended()


def test_idle_clients_are_closed_after_timeout(wire: Wire) -> None:
    wire.node.config.timeout = 10
    seen_ms = wire.connection.client.last_seen_ms
    wire.connection.check(seen_ms + 10_000)
    assert not wire.ended()
    wire.connection.check(seen_ms + 10_001)
    assert wire.ended()


@pytest.mark.parametrize("why", ["blocked", "replica", "no timeout"])
def test_who_may_be_idle(wire: Wire, why: str) -> None:
    wire.node.config.timeout = 0 if why == "no timeout" else 10
    if why == "blocked":
        wire.send("BLOCK x")
    wire.connection.client.is_replica = why == "replica"
    wire.connection.check(wire.connection.client.last_seen_ms + 10_000_000)
    assert not wire.ended()


def test_a_refused_connection_is_told_why() -> None:
    server = Server()
    server.refuses = "ERR max number of clients reached"
    wire = Wire(server)
    assert wire.take() == b"-ERR max number of clients reached\r\n"
    assert wire.ended() == "closed"
    assert server.connections == {}
    assert server.node.stats.rejected_connections == 1


def test_quit_is_answered_and_what_follows_is_not_run(wire: Wire) -> None:
    wire.send("ECHO a", "QUIT", "ECHO b")
    assert wire.take() == bulks("a") + b"+OK\r\n"
    assert wire.ended() == "closed"
    assert wire.node.ran == ["ECHO a", "QUIT"]


def test_quit_behind_a_late_reply_waits_for_it(wire: Wire) -> None:
    wire.send("LATER x", "QUIT")
    assert not wire.ended() and not wire.transport.reading
    wire.resolve("x", b"x")
    assert wire.take() == bulks("x") + b"+OK\r\n"
    assert wire.ended() == "closed"


def test_quit_behind_a_blocking_request(wire: Wire) -> None:
    wire.send("BLOCK x", "QUIT", "ECHO a")
    wire.resolve("x", b"x")
    assert wire.take() == bulks("x") + b"+OK\r\n"
    assert wire.ended() == "closed"


def test_killed_while_it_waits(wire: Wire) -> None:
    wire.send("BLOCK x", "ECHO a")
    wire.connection.client.close()
    assert wire.ended() == "aborted"
    wire.connection.connection_lost(None)
    wire.resolve("x")
    assert wire.node.ran == ["BLOCK x", "gone"]


def test_the_end_of_the_server_waits_for_nobody(wire: Wire) -> None:
    wire.send("BLOCK x")
    wire.connection.close_in_order()
    assert wire.ended() == "closed"


def test_an_error_that_names_a_byte_which_is_no_text_can_be_logged(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "hashslot"):
        wire.send(b"*1\r\n\xff\r\n")
    assert wire.take() == b"-ERR Protocol error: expected '$', got '\xff'\r\n"
    caplog.records[-1].getMessage().encode()
