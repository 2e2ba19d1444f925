"""Measurements as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from tests.bench.load import BARS, CLIENTS, KEYS, Key, Runs
from tests.bench.memory import Footprint

BASE = "redis-server"
OURS = "hashslot"
BUSY = 1.0
"""A load average from which on servers and redis-benchmark no longer have a processor each on a small machine."""


def _cases(results: dict[Key, Runs]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((command, pipeline) for command, pipeline, _ in results))


def ratio(results: dict[Key, Runs], command: str, pipeline: int, server: str) -> float | None:
    """Throughput as a part of redis-server's: the median over rounds of the ratio within a round."""
    base, other = results.get((command, pipeline, BASE)), results.get((command, pipeline, server))
    if base is None or other is None:
        return None
    ratios = sorted(mine / theirs for mine, theirs in zip(other.rps, base.rps, strict=True))
    middle = len(ratios) // 2
    return ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2


def _ratio_cell(value: float | None, server: str, bar: float | None) -> str:
    if value is None:
        return "-"
    if server != OURS or bar is None:
        return f"{value:.2f}"
    return f"[green]{value:.2f} >= {bar}[/]" if value >= bar else f"[red]{value:.2f} < {bar}[/]"


def speed_table(
    results: dict[Key, Runs], servers: Sequence[str], load: float, bars: Mapping[int, float] = BARS
) -> Table:
    """A row a command and pipeline length, three columns a server. load: of the machine, before we added ours."""
    table = Table(
        title="redis-benchmark on one node that owns all slots",
        caption=f"-c {CLIENTS} -r {KEYS}; medians; ratio: requests per second compared with {BASE}; "
        f"load average before: {load:.1f}{' (too busy for ratios to mean much)' * (load > BUSY)}",
    )
    table.add_column("command")
    table.add_column("-P", justify="right")
    for server in servers:
        table.add_column(f"{server}\nrequests/s", justify="right")
        table.add_column("CPU us\na request", justify="right")
        if server != BASE:
            table.add_column("ratio", justify="right")
    for command, pipeline in _cases(results):
        row = [command, str(pipeline)]
        for server in servers:
            runs = results[command, pipeline, server]
            row += [f"{runs.median_rps():,.0f}", f"{runs.median_cpu_us():.2f}"]
            if server != BASE:
                row.append(_ratio_cell(ratio(results, command, pipeline, server), server, bars.get(pipeline)))
        table.add_row(*row)
    return table


def memory_table(footprints: Sequence[Footprint]) -> Table:
    """Bytes a key."""
    keys = footprints[0].keys
    table = Table(title=f"memory of {keys:,} keys of 16 bytes with values of 32 bytes")
    for name in ("server", "empty, MiB", "full, MiB", "bytes a key"):
        table.add_column(name, justify="left" if name == "server" else "right")
    for one in footprints:
        table.add_row(one.server, f"{one.before / 2**20:.1f}", f"{one.after / 2**20:.1f}", f"{one.per_key:.0f}")
    return table


def layers_table(command: str, pipeline: int, measured: dict[str, Any]) -> Table:
    """Nanoseconds a request, by layer."""
    table = Table(title=f"{command}, {pipeline} at a time: ns a request within the node", caption=measured["note"])
    table.add_column("layer")
    table.add_column("ns a request", justify="right")
    table.add_column("share", justify="right")
    whole = measured["layers"]["whole"]
    for layer, value in measured["layers"].items():
        table.add_row(layer, f"{value:,.0f}", f"{value / whole:.0%}")
    return table


def as_json(
    results: dict[Key, Runs], footprints: Sequence[Footprint], bars: Mapping[int, float] = BARS
) -> dict[str, Any]:
    """Everything that was measured, each run included."""
    return {
        "clients": CLIENTS,
        "keys": KEYS,
        "speed": [
            {
                "command": command,
                "pipeline": pipeline,
                "server": server,
                "requests_per_second": runs.rps,
                "cpu_us_per_request": runs.cpu_us,
                "ratio": ratio(results, command, pipeline, server),
                "bar": bars.get(pipeline) if server == OURS else None,
            }
            for (command, pipeline, server), runs in results.items()
        ],
        "memory": [
            {"server": one.server, "keys": one.keys, "empty": one.before, "full": one.after, "per_key": one.per_key}
            for one in footprints
        ],
    }
