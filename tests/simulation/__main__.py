"""Many storms: `python -m tests.simulation --seeds N --from S [--faults crash,cut] [--shape 3x3] [--by-kind]`.

Each seed is one storm. What fails is printed with the command that runs it alone; the table at the end says what happened,
and how many acknowledged writes were lost. With --by-kind every kind of fault has its storms for itself.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation import broken
from tests.simulation.scenarios import SHAPES, Outcome, run
from tests.simulation.storm_faults import KINDS, USUAL

TABLE_WIDTH = 200
"""Columns, where the output is no terminal."""


@dataclass(slots=True)
class Sums:
    """What some storms have come to."""

    storms: int = 0
    failed: int = 0
    simulated_ms: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    lost: int = 0
    late: int = 0
    promotions: int = 0
    rivals: int = 0
    votes: int = 0
    crashes: int = 0
    torn: int = 0
    moves: int = 0
    migrated: int = 0
    forgeries: int = 0
    slowest_heal_ms: int = 0
    failures: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        counts = outcome.counts
        self.storms += 1
        self.simulated_ms += outcome.simulated_ms
        self.acknowledged += counts.acknowledged
        self.unanswered += counts.unanswered
        self.lost += counts.lost
        self.late += counts.lost_late
        self.promotions += counts.promotions
        self.rivals += counts.with_rivals
        self.votes += counts.votes
        self.crashes += counts.crashes
        self.torn += counts.torn
        self.moves += counts.moves
        self.migrated += counts.migrated
        self.forgeries += counts.forgeries
        self.slowest_heal_ms = max(self.slowest_heal_ms, counts.healed_ms)
        if outcome.error:
            self.failed += 1
            self.failures.append(outcome)


def _table(sums: dict[str, Sums]) -> Table:
    table = Table(title="Storms")
    heads = (
        "faults", "storms", "failed", "simulated", "acked", "unknown", "lost", "late", "crashes", "torn", "promoted",
        "compared", "votes", "moved", "migrated", "forged", "slowest heal",
    )
    for head in heads:
        table.add_column(head, justify="left" if head == "faults" else "right")
    for name, one in sums.items():
        table.add_row(
            name, str(one.storms), str(one.failed), f"{one.simulated_ms / 60_000:.1f} min", str(one.acknowledged),
            str(one.unanswered), str(one.lost), str(one.late), str(one.crashes), str(one.torn), str(one.promotions),
            str(one.rivals), str(one.votes), str(one.moves), str(one.migrated), str(one.forgeries),
            f"{one.slowest_heal_ms / 1000:.1f} s",
        )
    return table


@click.command(help=__doc__)
@click.option("--seeds", default=100, show_default=True, help="How many storms (with --by-kind: of each kind).")
@click.option("--from", "first", default=0, show_default=True, help="The first seed.")
@click.option("--faults", default="", help=f"Only these kinds, by commas; all are {', '.join(KINDS)}.")
@click.option("--shape", type=click.Choice(list(SHAPES)), help="Primaries x copies; by default each seed has its own.")
@click.option("--by-kind", is_flag=True, help="Each kind of fault by itself.")
@click.option("--break", "rule", type=click.Choice(list(broken.RULES)), help="With this rule broken, which must fail.")
@click.option("--minutes", type=float, help="Stop after so long.")
def main(
    seeds: int, first: int, faults: str, shape: str | None, by_kind: bool, rule: str | None, minutes: float | None
) -> None:
    kinds = tuple(faults.split(",")) if faults else USUAL
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise click.BadParameter(f"unknown: {', '.join(sorted(unknown))}", param_hint="--faults")
    series = {kind: (kind,) for kind in kinds} if by_kind else {faults or "all": kinds}
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    sums = {name: Sums() for name in series}
    ends = time.monotonic() + minutes * 60 if minutes else None
    bars = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )
    with broken.broken(rule) if rule else nullcontext(), Progress(*bars, console=console) as progress:
        task = progress.add_task("storms", total=seeds * len(series))
        for name, chosen in series.items():
            for seed in range(first, first + seeds):
                if ends is not None and time.monotonic() > ends:
                    break
                outcome = run(seed, shape or "", chosen)
                sums[name].add(outcome)
                if outcome.error:
                    progress.console.print(f"[red]seed {seed}[/] {outcome.error}\n  {outcome.again}", highlight=False)
                failed = sum(one.failed for one in sums.values())
                progress.update(task, advance=1, description=f"storms, seed {seed}, {failed} failed")
    console.print(_table(sums))
    sys.exit(any(one.failed for one in sums.values()))


if __name__ == "__main__":
    main()
