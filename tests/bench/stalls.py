"""How long others wait while one request does something to a million elements: freeing, storing, drawing for the first
time. Beside redis-server, since some of it costs what it costs.

A second connection sends PING after PING; what counts is the longest that one of them took from the request on, until
what the request left behind for later is done too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from tests.bench.filling import encode, fill, skip
from tests.bench.servers import Kind, Running, connect, started

_KINDS = {"hash": ("HSET", 2), "set": ("SADD", 1), "zset": ("ZADD", 2), "list": ("RPUSH", 1), "stream": ("XADD", 1)}
_AFTERWARDS_S = 1.0
"""How long after the reply the PINGs go on."""


@dataclass(frozen=True)
class Step:
    """One request on a big collection of this type. before: what prepares it, unmeasured. after: done when measured."""

    name: str
    kind: str
    words: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


_COPY = "COPY {{s}}:{0} {{s}}:copy REPLACE"
_GONE = ("DEL {s}:copy",)
STEPS = [
    *(Step(f"DEL {kind}", kind, "DEL {s}:copy", (_COPY.format(kind),)) for kind in _KINDS),
    *(Step(f"UNLINK {kind}", kind, "UNLINK {s}:copy", (_COPY.format(kind),)) for kind in _KINDS),
    *(Step(f"expiry of a {kind}", kind, "PEXPIRE {s}:copy 20", (_COPY.format(kind),)) for kind in _KINDS),
    Step("SRANDMEMBER, the first", "set", "SRANDMEMBER {s}:copy", (_COPY.format("set"),), _GONE),
    Step("SPOP, the first", "set", "SPOP {s}:copy", (_COPY.format("set"),), _GONE),
    Step("HRANDFIELD, the first", "hash", "HRANDFIELD {s}:copy", (_COPY.format("hash"),), _GONE),
    Step("ZRANDMEMBER, the first", "zset", "ZRANDMEMBER {s}:copy", (_COPY.format("zset"),), _GONE),
    Step("ZRANK, the first", "zset", "ZRANK {s}:copy element:0000000", (_COPY.format("zset"),), _GONE),
    Step("COPY zset", "zset", _COPY.format("zset"), (), _GONE),
    Step("ZUNIONSTORE", "zset", "ZUNIONSTORE {s}:copy 1 {s}:zset", (), _GONE),
    Step("ZRANK after it", "zset", "ZRANK {s}:copy element:0000000", ("ZUNIONSTORE {s}:copy 1 {s}:zset",), _GONE),
    Step("SUNIONSTORE", "set", "SUNIONSTORE {s}:copy {s}:set", (), _GONE),
    Step("FLUSHALL ASYNC", "", "FLUSHALL ASYNC"),
]


@dataclass
class _Pings:
    """The PINGs of one connection, in a thread. longest_s: the longest that one of them took."""

    port: int
    longest_s: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with connect(self.port) as plain, plain.makefile("rb") as replies:
            while not self._over.is_set():
                began = time.perf_counter()
                plain.sendall(b"*1\r\n$4\r\nPING\r\n")
                replies.readline()
                self.longest_s = max(self.longest_s, time.perf_counter() - began)
                time.sleep(0.0002)

    def end(self) -> None:
        self._over.set()


Stalls = dict[tuple[str, str], tuple[float, float]]
"""Milliseconds by step and server: that the request took, and that the longest PING meanwhile did."""


def measure(kinds: Sequence[Kind], size: int, tell: Callable[[str], None]) -> Stalls:
    """Every step on collections of `size` elements. BenchError on an error reply."""
    found: Stalls = {}
    for kind in kinds:
        with started(kind) as running:
            for name, (command, words) in _KINDS.items():
                tell(f"{size:,} elements in a {name} on {kind.name}")
                fill(running, command, f"{{s}}:{name}", size, words)
            for step in STEPS:
                tell(f"{step.name} on {kind.name}")
                found[step.name, kind.name] = _stall(running, step)
    return found


def _stall(running: Running, step: Step) -> tuple[float, float]:
    with connect(running.port, 300.0) as plain, plain.makefile("rb") as replies:

        def send(words: str) -> None:
            plain.sendall(encode([word.encode() for word in words.split()]))
            skip(replies, running.kind.name)

        for words in step.before:
            send(words)
        time.sleep(0.2)
        pings = _Pings(running.port)
        thread = threading.Thread(target=pings.run)
        thread.start()
        time.sleep(0.1)
        pings.longest_s = 0.0
        began = time.perf_counter()
        send(step.words)
        took_s = time.perf_counter() - began
        time.sleep(_AFTERWARDS_S)
        pings.end()
        thread.join()
        for words in step.after:
            send(words)
        time.sleep(0.2)
        return took_s * 1000, pings.longest_s * 1000


def table(stalls: Stalls, servers: Sequence[str], size: int) -> Table:
    """A row a step, for each server what the request took and what the longest PING did."""
    found = Table(title=f"milliseconds on {size:,} elements", caption="PING: the longest that another client waited")
    found.add_column("request")
    for server in servers:
        found.add_column(f"{server}\nrequest", justify="right")
        found.add_column(f"{server}\nPING", justify="right")
    for step in STEPS:
        cells = [f"{ms:,.1f}" for server in servers for ms in stalls[step.name, server]]
        found.add_row(step.name, *cells)
    return found


def as_json(stalls: Stalls) -> list[dict[str, object]]:
    """Each measurement."""
    return [
        {"request": name, "server": server, "request_ms": took, "ping_ms": longest}
        for (name, server), (took, longest) in stalls.items()
    ]
