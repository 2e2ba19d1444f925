"""Measures the time from kill -9 of a primary to a writable successor, on six processes. Not a test.

    python -m tests.interop.time_to_failover [ROUNDS] [KIND] [CANDIDATE]

Three primaries with a replica each, node timeout 2 s, 100 writes a batch without a pause to each primary; each round kills
the owner of the first slots, waits for the other node of its shard to take a write, starts the dead one again and waits
until it replicates. KIND is hashslot, redis or valkey. CANDIDATE: the first shard's replica is of this kind, and gives
its place back after each round, so that it is always the one to be elected, by voters of KIND.
"""

from __future__ import annotations

import contextlib
import signal
import statistics
import sys
import tempfile
import threading
from pathlib import Path

import redis

from tests.clients.up import until
from tests.interop.shards import Shards, key_of


def write_all_the_time(cluster: Shards, over: threading.Event, shard: int) -> None:
    """A writer of one shard, which goes to whichever of its nodes takes writes."""
    at = shard
    batch = [key_of(shard, number) for number in range(1000, 1100)]
    while not over.is_set():
        with contextlib.suppress(redis.RedisError, OSError), Shards.direct(cluster.nodes[at]) as client:
            while not over.is_set():
                with client.pipeline(transaction=False) as pipe:
                    for key in batch:
                        pipe.set(key, b"x" * 100)
                    pipe.execute()
        at = shard + 3 if at == shard else shard
        over.wait(0.05)


def rounds(count: int, kind: str, candidate: str) -> list[float]:
    """Seconds of each round."""
    results = []
    with tempfile.TemporaryDirectory(prefix="hashslot-failover-") as folder:
        replicas = [(candidate, 0), (kind, 1), (kind, 2)]
        with Shards(Path(folder), primaries=[kind] * 3, replicas=replicas) as cluster:
            primary, replica = 0, 3
            over = threading.Event()
            writers = [threading.Thread(target=write_all_the_time, args=(cluster, over, shard)) for shard in range(3)]
            for writer in writers:
                writer.start()
            for number in range(count):
                cluster.nodes[primary].kill(signal.SIGKILL)
                results.append(cluster.seconds_until_writable(replica, key_of(0, number)))
                print(f"{number + 1:3}  {results[-1]:.2f} s", flush=True)
                back = cluster.restart(primary)
                until(lambda node=back: node.info().get("master_link_status") == "up", "a replica again", 30)
                until(lambda: cluster._is_healthy(cluster.nodes[1]), "everyone well", 30)
                if candidate == kind:
                    primary, replica = replica, primary
                    continue
                back.client.execute_command("CLUSTER", "FAILOVER")
                until(lambda node=back: node.info()["role"] == "master", "back in its place", 20)
                until(lambda: all(cluster._is_healthy(node) for node in cluster.nodes), "everyone well", 30)
            over.set()
            for writer in writers:
                writer.join()
    return results


def main() -> None:
    given = dict(enumerate(sys.argv[1:]))
    kind = given.get(1, "hashslot")
    results = rounds(int(given.get(0, 10)), kind, given.get(2, kind))
    print(f"median {statistics.median(results):.2f} s, longest {max(results):.2f} s of {len(results)}")


if __name__ == "__main__":
    main()
