"""Memory of an element of small and of large collections of each type, key and all, beside redis-server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from tests.bench.filling import encode, requests, send
from tests.bench.servers import Kind, Running, connect, started

KINDS = {"list": ("RPUSH", 1), "set": ("SADD", 1), "zset": ("ZADD", 2), "hash": ("HSET", 2), "stream": ("XADD", 1)}
SMALL = 50
"""Elements of a small collection: within the listpack limits of every type."""
BAR = 2.0
"""What small collections may take, compared with redis-server."""


@dataclass(frozen=True)
class Taken:
    """Bytes an element, of a server that held so many elements in collections of `size`."""

    server: str
    kind: str
    size: int
    per_element: float


def measure(kinds: Sequence[Kind], elements: int, tell: Callable[[str], None]) -> list[Taken]:
    """Each server, type and size in a process of its own, filled with about `elements` elements."""
    found = []
    for name in KINDS:
        for size in (SMALL, elements):
            for kind in kinds:
                tell(f"{name} of {size:,} on {kind.name}")
                with started(kind) as running:
                    _fill(running, name, size, 4)  # buffers and code paths that belong to no element
                    before = running.memory_bytes()
                    _fill(running, name, size, elements // size)
                    grown = running.memory_bytes() - before
                found.append(Taken(kind.name, name, size, grown / (elements // size * size)))
    return found


def _fill(running: Running, name: str, size: int, collections: int) -> None:
    command, words = KINDS[name]
    size = min(size, 1000) if collections == 4 and size > SMALL else size
    with connect(running.port) as plain, plain.makefile("rb") as replies:
        waiting: list[bytes] = []
        for number in range(collections):
            waiting += requests(command, f"{name}:{collections}:{number}", size, words)
            while len(waiting) >= 200:
                send(plain, replies, waiting[:200], running.kind.name)
                del waiting[:200]
        send(plain, replies, [*waiting, encode([b"PING"])], running.kind.name)


def table(taken: Sequence[Taken], base: str) -> Table:
    """A row a type and size, a column a server, and what each takes compared with `base`."""
    servers = list(dict.fromkeys(one.server for one in taken))
    found = Table(title="bytes an element, names of 15 bytes", caption=f"small: {SMALL} elements; its bar: {BAR}x")
    for heading in ("type", "elements"):
        found.add_column(heading, justify="left" if heading == "type" else "right")
    for server in servers:
        found.add_column(server, justify="right")
        if server != base:
            found.add_column("ratio", justify="right")
    for kind, size in dict.fromkeys((one.kind, one.size) for one in taken):
        by_server = {one.server: one.per_element for one in taken if (one.kind, one.size) == (kind, size)}
        row = [kind, f"{size:,}"]
        for server in servers:
            row.append(f"{by_server[server]:.1f}")
            if server != base:
                row.append(_ratio(by_server[server], by_server.get(base), size))
        found.add_row(*row)
    return found


def _ratio(mine: float, theirs: float | None, size: int) -> str:
    if not theirs:
        return "-"
    value = mine / theirs
    if size != SMALL:
        return f"{value:.2f}"
    return f"[green]{value:.2f} <= {BAR}[/]" if value <= BAR else f"[red]{value:.2f} > {BAR}[/]"


def as_json(taken: Sequence[Taken]) -> list[dict[str, object]]:
    """Each measurement."""
    return [
        {"server": one.server, "type": one.kind, "elements": one.size, "bytes": one.per_element} for one in taken
    ]
