"""One node in this process, fed with chunks through its real Connection, timed layer by layer.

What the kernel and the loop cost is not in here: the transport only counts. What remains is our own code, so that a
change to it shows within seconds and without another process's noise.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import io
import pstats
import random
import time
from collections.abc import Callable
from typing import Any, cast

from gossip.messages import SLOT_COUNT
from node import resp
from node.config import Config
from node.connection import Connection
from node.protocol import RequestParser
from node.state import Node
from tests.bench import filling
from tests.bench.load import KEYS
from tests.bench.types import EVERY, POPPED, READ, SESSIONS
from tests.commands.harness import RecordingIO

CHUNKS_MIN = 200
REQUESTS_MIN = 20_000
"""Enough different keys that they are not all in the processor's cache: a server's are not either."""

TURNS_MIN = 3

SESSION = [b"seen", b"0", b"name", b"somebody", b"mail", b"somebody@example.org", b"cart", b"17", b"lang", b"en"]
"""The fields of a session, before a request comes for it."""


class _AllSlots:
    """As much of a cluster as a served request asks for: that every slot is ours."""

    def __init__(self) -> None:
        self.served = bytearray(b"\x01" * SLOT_COUNT)


class _Server:
    """As much of a server as a connection asks for."""

    def __init__(self) -> None:
        source = random.Random(1)
        now_ms = time.time_ns() // 1_000_000
        self.node = Node(Config(), RecordingIO(), source, now_ms, cluster=cast(Any, _AllSlots()))
        self.connections: dict[int, Connection] = {}
        self.loop: Any = None
        self.guard: Any = None

    def refusal(self, connection: Connection) -> str:
        return ""


class _Transport(asyncio.Transport):
    """Takes bytes and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.errors = 0

    def write(self, data: Any) -> None:
        self.written += len(data)
        if data[:1] == b"-":
            self.errors += 1

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


def chunks_of(command: str, pipeline: int, seed: int = 1) -> list[bytes]:
    """Chunks as redis-benchmark sends them, each with `pipeline` requests on random keys."""
    source = random.Random(seed)

    def request() -> bytes:
        words = [word.replace("__rand_int__", f"{source.randrange(KEYS):012d}") for word in EVERY[command]]
        return resp.request([word.encode() for word in words])

    return [b"".join(request() for _ in range(pipeline)) for _ in range(max(CHUNKS_MIN, REQUESTS_MIN // pipeline))]


def connected() -> tuple[Connection, _Transport]:
    """A connection to a fresh node with all of redis-benchmark's keys set."""
    connection, transport = Connection(cast(Any, _Server())), _Transport()
    connection.connection_made(transport)
    for start in range(0, KEYS, 1000):
        words = ([b"SET", b"key:%012d" % number, b"VXK"] for number in range(start, start + 1000))
        connection.data_received(b"".join(map(resp.request, words)))
    for read in READ:
        connection.data_received(b"".join(filling.requests(*read)))
    return connection, transport


def _set_collector() -> None:
    """The garbage collector as a server sets it (`node/process.py`); what is there now is no business of its."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _preparation(connection: Connection, command: str, requests: int) -> Callable[[], None]:
    """What has to happen before `requests` requests of this command are run."""
    chunk = b""
    if command in POPPED:
        adding, key, words = POPPED[command]
        chunk = b"".join(filling.requests(adding, key, requests, words))
    elif command in SESSIONS:
        chunk = b"".join(resp.request([b"HSET", b"session:%012d" % number, *SESSION]) for number in range(KEYS))
        connection.data_received(chunk)
        chunk = b""
    return lambda: connection.data_received(chunk) if chunk else None


def _best_ns(action: Callable[[], None], seconds: float, prepare: Callable[[], None] = lambda: None) -> float:
    """The quickest of several runs: what disturbs a run only ever makes it slower."""
    best = float("inf")
    deadline = time.perf_counter() + seconds
    turns = 0
    while turns < TURNS_MIN or time.perf_counter() < deadline:
        prepare()
        began = time.perf_counter_ns()
        action()
        best = min(best, time.perf_counter_ns() - began)
        turns += 1
    return best


def measure(command: str, pipeline: int, seconds: float = 2.0) -> dict[str, Any]:
    """ns a request of each layer; "connection" is what is left of the whole."""
    connection, transport = connected()
    chunks = chunks_of(command, pipeline)
    feed = RequestParser().feed
    requests = [feed(chunk) for chunk in chunks]
    client = connection.client
    execute, run_all = connection._node.executor.execute, connection._run
    encode = client.encode
    prepare = _preparation(connection, command, len(chunks) * pipeline)
    prepare()
    replies = [execute(client, request) for chunk in requests for request in chunk]
    flat = [request for chunk in requests for request in chunk]
    _set_collector()

    def parse() -> None:
        for chunk in chunks:
            feed(chunk)

    def run() -> None:
        for chunk in requests:
            run_all(client, iter(chunk), [])

    def write() -> None:
        for reply in replies:
            encode(reply)

    def whole() -> None:
        for chunk in chunks:
            connection.data_received(chunk)

    def nothing() -> None:
        for _ in flat:
            pass

    count = len(flat)
    share = seconds / 4
    idle = _best_ns(nothing, 0) / count
    layers = {"parse": _best_ns(parse, share) / count}
    layers["encode"] = _best_ns(write, share) / count - idle
    layers["execute"] = _best_ns(run, share, prepare) / count - layers["encode"]
    total = _best_ns(whole, share, prepare) / count
    layers["connection"] = total - sum(layers.values())
    layers["whole"] = total
    if transport.errors:
        raise AssertionError(f"{transport.errors} chunks were answered with an error")
    bytes_in = sum(map(len, chunks)) / count
    return {
        "command": command,
        "pipeline": pipeline,
        "layers": layers,
        "note": f"{bytes_in:.0f} bytes a request; quickest of several runs over {len(chunks)} chunks, no socket",
    }


def by_function(command: str, pipeline: int, limit: int = 20) -> str:
    """Functions by their own time, as cProfile sees them: it makes calls look dearer than they are."""
    connection, _ = connected()
    chunks = chunks_of(command, pipeline)
    prepare = _preparation(connection, command, len(chunks) * pipeline)
    profiler = cProfile.Profile()
    for _ in range(max(1, 20_000 // (len(chunks) * pipeline))):
        prepare()
        profiler.enable()
        for chunk in chunks:
            connection.data_received(chunk)
        profiler.disable()
    out = io.StringIO()
    pstats.Stats(profiler, stream=out).sort_stats("tottime").print_stats(limit)
    return out.getvalue()
