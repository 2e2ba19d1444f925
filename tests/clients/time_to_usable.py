"""Measures ten runs of `hashslot up`: time until six nodes are usable, and their memory. Not a test.

    python -m tests.clients.time_to_usable [RUNS]

Seconds from the start of the interpreter until all six nodes answer `cluster_state:ok` and all replicas are in sync, as
asked by another process; memory as proportional set size (a page shared by n processes counts 1/n for each).
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from node.probe import Probe
from tests.clients.up import Up, free_range

_BAR_S = 1.0


def usable(facts: dict[str, str]) -> bool:
    """Whether this node is as `hashslot up` promises."""
    in_sync = facts.get("role") == "master" or facts.get("master_link_status") == "up"
    return facts.get("cluster_state") == "ok" and in_sync


def proportional_memory_kib(pids: list[int]) -> int:
    """Sum of the processes' proportional set sizes, in KiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def measure() -> tuple[float, float, int, int]:
    """Of one launch: seconds until usable, seconds until it says so, KiB of the six nodes, KiB with the launcher."""
    port = free_range(6)
    began = time.monotonic()
    with Up(port=port, wait=False, interpreter=True) as cluster:
        waiting = {one: Probe("127.0.0.1", one) for one in cluster.ports}
        while waiting:
            for one, probe in list(waiting.items()):
                if usable(probe.facts()):
                    probe.close()
                    del waiting[one]
            time.sleep(0.002)
            if cluster.process.poll() is not None:
                raise SystemExit(cluster.text())
        usable_s = time.monotonic() - began
        cluster.wait_until_ready()
        told_s = time.monotonic() - began
        nodes_kib = proportional_memory_kib(cluster.node_pids)
        all_kib = proportional_memory_kib([cluster.process.pid, *cluster.node_pids])
        cluster.finish()
        cluster.assert_nothing_left()
    return usable_s, told_s, nodes_kib, all_kib


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print("run   usable   told so   memory of six   with launcher")
    results = []
    for run in range(1, runs + 1):
        results.append(measure())
        usable_s, told_s, nodes_kib, all_kib = results[-1]
        print(f"{run:3}  {usable_s:5.2f} s  {told_s:6.2f} s  {nodes_kib / 1024:10.1f} MiB  {all_kib / 1024:10.1f} MiB")
    usable_s, told_s, nodes_kib, all_kib = (statistics.median(column) for column in zip(*results, strict=True))
    print(f"median {usable_s:.2f} s  {told_s:6.2f} s  {nodes_kib / 1024:10.1f} MiB  {all_kib / 1024:10.1f} MiB")
    print(f"bar: usable in under {_BAR_S:.1f} s: {'held' if usable_s < _BAR_S else 'MISSED'}")


if __name__ == "__main__":
    main()
