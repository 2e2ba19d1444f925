"""A million small keys move from one node to another while clients write and read: ours, and redis-server's by redis-cli.

    python -m tests.bench.migration [--keys N] [--ours-only]

Three primaries of a kind on this machine. A writer counts up keys in the slots that move, a reader gets keys whose values
are known, both through redis-py's cluster client in processes of their own; an error that a client sees is counted, and so
is every key that is not what it has to be afterwards. A third process sends PING to both nodes and tells the longest wait:
how long a node's loop stood still (and, on a busy machine, how long a process did not run; the same is measured before).
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.cluster import RedisCluster
from redis.crc import key_slot

from tests.clients.up import free_range, until
from tests.servers import ServerProcess, start

SLOTS = (0, 2730)
RANGES = ((0, 5460), (5461, 10922), (10923, 16383))
COUNTERS = 200
TIMEOUT_S = 600


@dataclass
class Result:
    """What one move took. Stalls: the longest PING to source and target, ms; idle: before the move."""

    kind: str
    keys: int
    seconds: float
    errors: int
    wrong: int
    writes: int
    reads: int
    stall_ms: list[float]
    idle_stall_ms: list[float]


def keys_in(count: int) -> list[bytes]:
    """The first so many names whose slots move."""
    names: list[bytes] = []
    number = 0
    while len(names) < count:
        name = b"key:%d" % number
        number += 1
        if SLOTS[0] <= key_slot(name) <= SLOTS[1]:
            names.append(name)
    return names


def value_of(name: bytes) -> bytes:
    return b"value of " + name[4:]


@contextlib.contextmanager
def cluster(kind: str) -> Iterator[list[ServerProcess]]:
    """Three primaries that know each other."""
    folder = tempfile.mkdtemp(prefix="hashslot-migration-")
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--appendonly", "no"]
    nodes: list[ServerProcess] = []
    try:
        for _ in RANGES:
            nodes.append(start(kind, folder, *options, port=free_range(1)))
        for number, (node, (first, last)) in enumerate(zip(nodes, RANGES, strict=True)):
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            nodes[0].client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)

        def ready() -> bool:
            infos = [node.client.execute_command("CLUSTER", "INFO") for node in nodes]
            return all(b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info for info in infos)

        until(ready, "a cluster")
        yield nodes
    finally:
        for node in nodes:
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)


def by_slot(names: Sequence[bytes]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for name in names:
        found.setdefault(key_slot(name), []).append(name)
    return found


def fill(node: ServerProcess, slots: dict[int, list[bytes]]) -> None:
    pipe = node.client.pipeline(transaction=False)
    for number, names in enumerate(slots.values()):
        pipe.mset({name: value_of(name) for name in names})
        if number % 50 == 49:
            pipe.execute()
    pipe.execute()


def wrong_keys(client: Any, slots: dict[int, list[bytes]]) -> int:
    """How many are not there, or are not what they were."""
    wrong = 0
    for names in slots.values():
        found = client.mget(names)
        wrong += sum(value != value_of(name) for name, value in zip(names, found, strict=True))
    return wrong


# Load -----------------------------------------------------------------------------------------------------------------


def write(port: int, stop: Any, out: Any) -> None:
    """Count up; what was acknowledged last is what must be there."""
    client: Any = RedisCluster(host="127.0.0.1", port=port)
    names = [b"counter:%d" % number for number in range(100_000)]
    names = [name for name in names if SLOTS[0] <= key_slot(name) <= SLOTS[1]][:COUNTERS]
    acknowledged = dict.fromkeys(names, 0)
    errors, count, source = [], 0, random.Random(1)
    while not stop.is_set():
        name = source.choice(names)
        try:
            acknowledged[name] = client.incr(name)
            count += 1
        except redis.RedisError as error:
            errors.append(repr(error)[:120])
    out.put(("write", count, errors, acknowledged))


def read(port: int, names: list[bytes], stop: Any, out: Any) -> None:
    client: Any = RedisCluster(host="127.0.0.1", port=port)
    errors, count, source = [], 0, random.Random(2)
    while not stop.is_set():
        name = source.choice(names)
        try:
            if client.get(name) != value_of(name):
                errors.append(f"{name!r} is wrong")
            count += 1
        except redis.RedisError as error:
            errors.append(repr(error)[:120])
    out.put(("read", count, errors, {}))


def probe(ports: list[int], stop: Any, began: Any, out: Any) -> None:
    """The longest wait for a PING, before and since `began`."""
    clients = [redis.Redis(port=port) for port in ports]
    longest = [[0.0] * len(ports), [0.0] * len(ports)]
    while not stop.is_set():
        for place, client in enumerate(clients):
            sent = time.perf_counter()
            client.ping()
            phase = longest[int(began.is_set())]
            phase[place] = max(phase[place], time.perf_counter() - sent)
        time.sleep(0.0005)
    during, idle = ([round(one * 1000, 1) for one in phase] for phase in longest[::-1])
    out.put(("probe", during, [], {"idle": idle}))


# The moves ------------------------------------------------------------------------------------------------------------


def migrate(nodes: list[ServerProcess]) -> None:
    """CLUSTER MIGRATESLOTS, until both sides say that it is done."""
    source, target = nodes[0].client, nodes[1].client
    to = target.execute_command("CLUSTER", "MYID").decode()
    assert source.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *SLOTS, "NODE", to) == b"OK"

    def done() -> bool:
        states = []
        for client in (source, target):
            jobs = client.execute_command("CLUSTER", "GETSLOTMIGRATIONS")
            if not jobs:
                return False
            (job,) = jobs
            fields = job if isinstance(job, dict) else dict(zip(job[::2], job[1::2], strict=True))
            assert fields[b"state"] not in (b"failed", b"cancelled"), fields
            states.append(fields[b"state"])
        return states == [b"success", b"success"]

    until(done, "migrated", TIMEOUT_S)


def reshard(nodes: list[ServerProcess]) -> None:
    """redis-cli --cluster reshard, with its defaults."""
    ids = [node.client.execute_command("CLUSTER", "MYID").decode() for node in nodes]
    cli = shutil.which("redis-cli")
    assert cli is not None, "redis-cli is missing: apt-get install redis-tools"
    words = ["--cluster-from", ids[0], "--cluster-to", ids[1], "--cluster-slots", str(SLOTS[1] + 1), "--cluster-yes"]
    run = subprocess.run(
        [cli, "--cluster", "reshard", f"127.0.0.1:{nodes[0].port}", *words], capture_output=True, text=True,
        timeout=TIMEOUT_S,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]


def measure(kind: str, count: int) -> Result:
    """Fill, load, move, compare."""
    names = keys_in(count)
    slots = by_slot(names)
    context = multiprocessing.get_context("spawn")
    with cluster(kind) as nodes:
        fill(nodes[0], slots)
        stop, began, out = context.Event(), context.Event(), context.Queue()
        port = nodes[2].port
        some = random.Random(3).sample(names, min(5000, count))
        workers = [
            context.Process(target=write, args=(port, stop, out), daemon=True),
            context.Process(target=read, args=(port, some, stop, out), daemon=True),
            context.Process(target=probe, args=([nodes[0].port, nodes[1].port], stop, began, out), daemon=True),
        ]
        for worker in workers:
            worker.start()
        until(lambda: nodes[0].client.dbsize() > count, "a loaded node")
        time.sleep(3)
        began.set()
        at = time.perf_counter()
        (migrate if kind == "hashslot" else reshard)(nodes)
        seconds = time.perf_counter() - at
        time.sleep(0.5)
        stop.set()
        told = {name: rest for name, *rest in (out.get(timeout=30) for _ in workers)}
        for worker in workers:
            worker.join(30)
        acknowledged = told["write"][2]
        target = nodes[1].client
        wrong = wrong_keys(target, slots)
        wrong += sum(int(target.get(name) or 0) != value for name, value in acknowledged.items())
        until(lambda: nodes[0].client.dbsize() == 0, "the source is empty", 60)
        for error in (told["write"][1] + told["read"][1])[:5]:
            print("  ", error)
        return Result(
            kind, count, seconds, len(told["write"][1]) + len(told["read"][1]), wrong, told["write"][0], told["read"][0],
            told["probe"][0], told["probe"][2]["idle"],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--ours-only", action="store_true")
    options = parser.parse_args()
    results = [measure(kind, options.keys) for kind in (["hashslot"] if options.ours_only else ["hashslot", "redis"])]
    for one in results:
        print(
            f"{one.kind:9} {one.keys:9,} keys in {one.seconds:6.2f} s; client errors {one.errors}, wrong keys {one.wrong}; "
            f"meanwhile {one.writes:,} writes, {one.reads:,} reads; "
            f"longest PING to source and target {one.stall_ms} ms (before {one.idle_stall_ms})"
        )
    if len(results) == 2:
        print(f"redis-cli reshard takes {results[1].seconds / results[0].seconds:.1f} times as long")


if __name__ == "__main__":
    main()
