"""What `hashslot cluster` prints: tables of nodes, problems and plans, progress bars, JSON. I/O (terminal)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cluster.admin.checks import Keys, Problem, Severity, shown_slots
from cluster.admin.layout import Shard
from cluster.admin.moves import Move
from cluster.admin.picture import Member, Picture
from cluster.admin.repairs import Repairs
from cluster.slots import format_range, to_ranges

_WIDTH = 110
"""Where the output is no terminal."""


def console(*, stderr: bool = False) -> Console:
    """Where things are printed. A pipe gets lines that are long enough for a table."""
    out = Console(stderr=stderr, highlight=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDTH)


def say(text: str) -> None:
    """A line of plain text, never wrapped or marked up."""
    console().print(text, markup=False, soft_wrap=True)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _row(table: Table, *cells: str | Text) -> None:
    """Add a row. A plain text is no markup: [fd00::1] is an address."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


# The cluster --------------------------------------------------------------------------------------------------------


def _ordered(picture: Picture) -> list[Member]:
    """Primaries with their replicas below them."""
    order: list[Member] = []
    for primary in picture.primaries:
        replicas = sorted(picture.replicas(primary.id), key=lambda one: (one.host.name, one.host.port))
        order += [primary, *replicas]
    seen = {one.id for one in order}
    return order + [one for one in picture.members.values() if one.id not in seen]


def _state(picture: Picture, one: Member) -> str:
    if not one.reachable:
        return "[red]unreachable[/]"
    flags = picture.flags(one.id) & {"fail", "fail?"}
    if flags:
        return "[red]failed[/]" if "fail" in flags else "[yellow]fail?[/]"
    if not one.is_primary and one.link != "up":
        return f"[yellow]link {one.link or 'unknown'}[/]"
    return one.state or "unknown"


def nodes_table(picture: Picture) -> None:
    """One line a node, replicas below their primary."""
    table = _table("node", "id", "role", "slots", "keys", "epoch", "server", "state", right=("slots", "keys", "epoch"))
    for one in _ordered(picture):
        role = "primary" if one.is_primary else "replica"
        slots = f"{len(picture.slots.get(one.id, ())):,}" if one.is_primary else ""
        keys = "" if one.keys is None else f"{one.keys:,}"
        name = one.name if one.is_primary else f"└ {one.name}"
        epoch = str(one.seen.config_epoch)
        _row(table, name, one.id[:8], role, slots, keys, epoch, one.server, Text.from_markup(_state(picture, one)))
    console().print(table)


def summary(picture: Picture) -> str:
    """One line about the whole."""
    owning = [one for one in picture.primaries if picture.slots.get(one.id)]
    covered = sum(len(slots) for slots in picture.slots.values())
    keys = sum(one.keys or 0 for one in owning)
    replicas = sum(not one.is_primary for one in picture.members.values())
    return (
        f"{_count(len(owning), 'primary owns', 'primaries own')} {covered:,} of 16,384 slots with "
        f"{_count(keys, 'key', 'keys')}; {_count(replicas, 'replica', 'replicas')}, "
        f"{_count(len(picture.members), 'node', 'nodes')} in all."
    )


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def problems_list(problems: Sequence[Problem]) -> None:
    """Each problem with what to do about it."""
    out = console()
    for one in problems:
        mark, colour = ("ERROR", "red") if one.severity is Severity.ERROR else ("warning", "yellow")
        out.print(f"[{colour}]{mark}[/]", end=" ")
        out.print(one.text, markup=False, soft_wrap=True)
        if one.advice:
            out.print(f"        {one.advice}", markup=False, soft_wrap=True, style="dim")


def as_json(value: Any) -> None:
    """For programs."""
    print(json.dumps(value, indent=2))


def picture_json(picture: Picture) -> dict[str, Any]:
    """The nodes as `--json` shows them."""
    return {
        "slots_covered": sum(len(slots) for slots in picture.slots.values()),
        "nodes": [
            {
                "id": one.id,
                "host": one.host.name,
                "port": one.host.port,
                "nodename": one.nodename,
                "role": "primary" if one.is_primary else "replica",
                "primary": one.seen.primary,
                "slots": [list(slots) for slots in picture.ranges(one.id)] if one.is_primary else [],
                "slot_count": len(picture.slots.get(one.id, ())) if one.is_primary else 0,
                "keys": one.keys,
                "config_epoch": one.seen.config_epoch,
                "current_epoch": one.current_epoch,
                "server": one.server,
                "reachable": one.reachable,
                "trouble": one.trouble,
                "cluster_state": one.state,
                "link": one.link,
                "offset": one.offset,
                "flags": sorted((one.seen.flags | picture.flags(one.id)) - {"myself"}),
            }
            for one in _ordered(picture)
        ],
    }


def problem_json(one: Problem) -> dict[str, Any]:
    """One problem as `--json` shows it."""
    return {
        "kind": one.kind, "severity": one.severity.value, "text": one.text, "advice": one.advice,
        "slots": [list(slots) for slots in one.slots], "nodes": list(one.nodes),
    }


# Plans --------------------------------------------------------------------------------------------------------------


def layout_table(shards: Sequence[Shard]) -> None:
    """What `create` would make."""
    table = _table("slots", "primary", "replicas")
    for shard in shards:
        _row(table, format_range(shard.slots), str(shard.primary), ", ".join(map(str, shard.replicas)))
    console().print(table)


def moves_table(picture: Picture, moves: Sequence[Move], ways: Sequence[str], keys: Keys) -> None:
    """What would move, with how many keys, and how."""
    table = _table("from", "to", "slots", "which", "keys", "how", right=("slots", "keys"))
    for move, way in zip(moves, ways, strict=True):
        count = sum(keys.get(move.source, {}).get(slot, 0) for slot in move.slots)
        _row(
            table, picture.name(move.source), picture.name(move.target), f"{len(move.slots):,}",
            ", ".join(format_range(one) for one in to_ranges(move.slots)[:6]) + (", ..." if len(move.ranges) > 6 else ""),
            f"{count:,}", way,
        )
    console().print(table)


def counts_table(picture: Picture, moves: Sequence[Move]) -> None:
    """How many slots each primary has before and after."""
    after = {node: len(slots) for node, slots in picture.slots.items()}
    for move in moves:
        after[move.source] -= len(move.slots)
        after[move.target] += len(move.slots)
    table = _table("primary", "slots now", "afterwards", right=("slots now", "afterwards"))
    for node, slots in picture.slots.items():
        _row(table, picture.name(node), f"{len(slots):,}", f"{after[node]:,}")
    console().print(table)


def repairs_table(picture: Picture, plan: Repairs) -> None:
    """What `fix` would do."""
    for meeting in plan.meetings:
        say(f"{picture.name(meeting.who)} meets {picture.name(meeting.whom)}.")
    if plan.slots:
        table = _table("what", "why", "owned by", "then by", "keys come from")
        for repair in plan.slots:
            _row(
                table, shown_slots(repair.slots), repair.why, picture.name(repair.owner), picture.name(repair.home),
                ", ".join(picture.name(node) for node in repair.movers) or "-",
            )
        console().print(table)


# Progress -----------------------------------------------------------------------------------------------------------


class Bars:
    """Progress bars for slots and keys; in a pipe, a line at the end instead. slots, keys: how many there are to move."""

    def __init__(self, slots: int, keys: int) -> None:
        self._console = console()
        self._bars = Progress(
            TextColumn("{task.description:5}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=self._console, disable=not self._console.is_terminal,
        )
        self._slots = self._bars.add_task("slots", total=slots)
        self._keys = self._bars.add_task("keys", total=keys) if keys else None
        self.slots_moved = 0
        self.keys_moved = 0

    def moved(self, slots: int, keys: int) -> None:
        """More slots, or more keys, have arrived."""
        self.slots_moved += slots
        self.keys_moved += keys
        self._bars.advance(self._slots, slots)
        if self._keys is not None:
            self._bars.advance(self._keys, keys)

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self.say(f"{self.slots_moved:,} slots done.")
