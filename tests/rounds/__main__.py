"""Faults on real processes, each on a host of its own, with every acknowledged write checked afterwards.

    python -m tests.rounds                          20 rounds of each fault, about 20 minutes
    python -m tests.rounds --fault stop --rounds 3  kill, restart, stop, isolate, halve, delay, move
    python -m tests.rounds --fault isolate --kind hashslot --kind valkey    the same on other nodes, to compare
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

from tests.rounds.faults import FAULTS, Outcome
from tests.rounds.hosts import Hosts, missing
from tests.rounds.moves import kill_side
from tests.rounds.nodes import CLIENT, NODES, Nodes

KINDS = ("hashslot", "valkey", "redis")
ROUNDS = {**FAULTS, "move": kill_side}


def run(fault: str, rounds: int, timeout_ms: int, kind: str) -> list[Outcome]:
    """So many rounds on one cluster."""
    outcomes = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hashslot-rounds-"))
        hosts = stack.enter_context(Hosts(NODES + 1))
        stack.enter_context(hosts.entered(CLIENT))
        with Nodes(hosts, Path(folder), timeout_ms, kind) as nodes:
            for number in range(rounds):
                try:
                    outcome = ROUNDS[fault](nodes, number)
                except BaseException:
                    print(nodes.tails(), file=sys.stderr)
                    raise
                outcomes.append(outcome)
                print(
                    f"{kind} {fault:8} {number + 1:3}  {outcome.acknowledged:7,} acknowledged  {outcome.lost:5} lost  "
                    f"{outcome.unknown:3} unknown  no write for {outcome.unavailable_s:.2f} s"
                    + (f"  cut-off side wrote for {outcome.written_s:.2f} s" if outcome.written_s else "")
                    + (f"  ({outcome.note})" if outcome.note else ""),
                    flush=True,
                )
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", choices=sorted(ROUNDS), action="append", help="which; all of them by default")
    parser.add_argument("--kind", choices=KINDS, action="append", help="which servers; ours by default")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--node-timeout", type=int, default=2000, help="cluster-node-timeout in ms")
    asked = parser.parse_args()
    if why := missing():
        sys.exit(why)
    for fault in asked.fault or ROUNDS:
        for kind in asked.kind or KINDS[:1]:
            print(f"{kind} {fault}: {_sum(run(fault, asked.rounds, asked.node_timeout, kind))}", flush=True)


def _sum(outcomes: list[Outcome]) -> str:
    gaps = [outcome.unavailable_s for outcome in outcomes]
    lost = [outcome.lost for outcome in outcomes]
    wrote = max(outcome.written_s for outcome in outcomes)
    return (
        f"{sum(one.acknowledged for one in outcomes):,} acknowledged, {sum(lost)} lost in {len(outcomes)} rounds "
        f"({min(lost)} to {max(lost)} a round); no write for {statistics.median(gaps):.2f} s (median), {max(gaps):.2f} s "
        f"(longest)" + (f"; the cut-off side wrote for {wrote:.2f} s at most" if wrote else "")
    )


if __name__ == "__main__":
    main()
