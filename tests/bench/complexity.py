"""What an operation costs on 10^3, 10^5 and 10^6 elements: its growth shows what it is in kind, beside redis-server's.

CPU microseconds of the server a request, so that neither the client nor what else the machine does is in them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from tests.bench.filling import element, encode, fill, skip, timed
from tests.bench.servers import Kind, Running, connect, started

SIZES = (1000, 100_000, 1_000_000)
_PIPELINE = 20
_BUDGET = 2_000_000
"""Of a linear operation, elements looked at in one measurement."""

Make = Callable[[int, random.Random], list[bytes]]


@dataclass(frozen=True)
class Operation:
    """One thing that is measured. linear: a request looks at all elements, so few are sent."""

    name: str
    key: str
    words: Make
    linear: bool = False


def _words(*fixed: object) -> Make:
    return lambda size, rng: [word if isinstance(word, bytes) else str(word).encode() for word in fixed]


def _member(command: str, key: str) -> Make:
    return lambda size, rng: [command.encode(), key.encode(), element(rng.randrange(size))]


def _ranks(size: int, rng: random.Random) -> list[bytes]:
    start = rng.randrange(max(1, size - 10))
    return [b"ZRANGE", b"c:zset", b"%d" % start, b"%d" % (start + 9)]


def _scores(size: int, rng: random.Random) -> list[bytes]:
    low = rng.randrange(size)
    return [b"ZCOUNT", b"c:zset", b"%d" % low, b"%d" % rng.randrange(low, size)]


_nothing = b"no such element"
OPERATIONS = [
    Operation("LPUSH", "list", _words("LPUSH", "c:list", "x")),
    Operation("RPUSH", "list", _words("RPUSH", "c:list", "x")),
    Operation("LPOP", "list", _words("LPOP", "c:list")),
    Operation("RPOP", "list", _words("RPOP", "c:list")),
    Operation("ZRANK", "zset", _member("ZRANK", "c:zset")),
    Operation("ZRANGE (10)", "zset", _ranks),
    Operation("ZCOUNT", "zset", _scores),
    Operation("XADD", "stream", _words("XADD", "c:stream", "*", "f", "x")),
    Operation("XADD MAXLEN ~", "stream", lambda size, rng: [b"XADD", b"c:stream", b"MAXLEN", b"~", b"%d" % size,
                                                            b"*", b"f", b"x"]),
    Operation("XTRIM MAXLEN =", "stream", lambda size, rng: [b"XTRIM", b"c:stream", b"MAXLEN", b"%d" % size]),
    Operation("SRANDMEMBER", "set", _words("SRANDMEMBER", "c:set")),
    Operation("HRANDFIELD", "hash", _words("HRANDFIELD", "c:hash")),
    Operation("ZRANDMEMBER", "zset", _words("ZRANDMEMBER", "c:zset")),
    Operation("SPOP", "set", _words("SPOP", "c:set")),
    Operation("LREM (none)", "list", _words("LREM", "c:list", 0, _nothing), linear=True),
    Operation("LINSERT (none)", "list", _words("LINSERT", "c:list", "BEFORE", _nothing, "x"), linear=True),
]  # fmt: skip
SCAN = "HSCAN of all, a field"
_FILLED = {"list": ("RPUSH", 1), "set": ("SADD", 1), "zset": ("ZADD", 2), "hash": ("HSET", 2), "stream": ("XADD", 1)}

Costs = dict[tuple[str, str, int], float]
"""Microseconds by operation, server and size."""


def measure(kinds: Sequence[Kind], sizes: Sequence[int], count: int, tell: Callable[[str], None]) -> Costs:
    """Microseconds of CPU a request. count: requests of each operation that is not linear."""
    costs: Costs = {}
    for size in sizes:
        for kind in kinds:
            with started(kind) as running:
                for name, (command, words) in _FILLED.items():
                    tell(f"{size:,} elements in a {name} on {kind.name}")
                    fill(running, command, f"c:{name}", size, words)
                for operation in OPERATIONS:
                    tell(f"{operation.name} on {size:,} elements, {kind.name}")
                    times = min(count, max(3, _BUDGET // size)) if operation.linear else min(count, size // 2)
                    costs[operation.name, kind.name, size] = _cost(running, operation, size, times)
                tell(f"HSCAN on {size:,} elements, {kind.name}")
                costs[SCAN, kind.name, size] = _scan(running, size)
    return costs


def _cost(running: Running, operation: Operation, size: int, times: int) -> float:
    rng = random.Random(5)
    asked = [encode(operation.words(size, rng)) for _ in range(times)]
    timed(running, asked[:1], 1)
    before = running.cpu_s()
    timed(running, asked, 1 if operation.linear else _PIPELINE)
    return (running.cpu_s() - before) / times * 1e6


def _scan(running: Running, size: int) -> float:
    """A whole HSCAN with COUNT 100: microseconds a field."""
    cursor = b"0"
    before = running.cpu_s()
    with connect(running.port, 300.0) as plain, plain.makefile("rb") as replies:
        while True:
            plain.sendall(encode([b"HSCAN", b"c:hash", cursor, b"COUNT", b"100"]))
            assert replies.readline() == b"*2\r\n"
            replies.readline()
            cursor = replies.readline().strip()
            skip(replies, running.kind.name)
            if cursor == b"0":
                return (running.cpu_s() - before) / size * 1e6


def table(costs: Costs, servers: Sequence[str], sizes: Sequence[int]) -> Table:
    """A row an operation, for each server a column a size."""
    found = Table(
        title="CPU microseconds a request, by elements", caption="linear: LREM, LINSERT; all others should hardly grow"
    )
    found.add_column("operation")
    for server in servers:
        for size in sizes:
            found.add_column(f"{server}\n{size:,}", justify="right")
    for name in [one.name for one in OPERATIONS] + [SCAN]:
        cells = [costs[name, server, size] for server in servers for size in sizes]
        found.add_row(name, *[f"{cell:,.2f}" if cell < 100 else f"{cell:,.0f}" for cell in cells])
    return found


def as_json(costs: Costs) -> list[dict[str, object]]:
    """Each measurement."""
    return [
        {"operation": name, "server": server, "elements": size, "cpu_us": cost}
        for (name, server, size), cost in costs.items()
    ]
