"""redis-benchmark on every type: LPUSH RPOP SADD SPOP ZADD ZRANGE(100) HSET HGETALL(50) XADD LRANGE(100)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.filling import fill
from tests.bench.load import Key, Runs, benchmark
from tests.bench.servers import Running

_RANDOM = "__rand_int__"

TYPES: dict[str, list[str]] = {
    "LPUSH": ["LPUSH", "bench:list", "VXK"],
    "RPOP": ["RPOP", "bench:list"],
    "SADD": ["SADD", "bench:set", f"element:{_RANDOM}"],
    "SPOP": ["SPOP", "bench:set"],
    "ZADD": ["ZADD", "bench:zset", _RANDOM, f"element:{_RANDOM}"],
    "ZRANGE": ["ZRANGE", "bench:zset100", "0", "99"],
    "HSET": ["HSET", "bench:hash", f"element:{_RANDOM}", "VXK"],
    "HGETALL": ["HGETALL", "bench:hash50"],
    "XADD": ["XADD", "bench:stream", "*", "field", "VXK"],
    "LRANGE": ["LRANGE", "bench:list100", "0", "99"],
}
"""What is asked, in this order: RPOP and SPOP take what was there before them."""

BARS = {1: 0.85, 16: 0.4}
"""The ratio to redis-server that is asked of us, by pipeline length."""

_POPPED = {"RPOP": ("RPUSH", "bench:list", 1), "SPOP": ("SADD", "bench:set", 1)}
_WEIGHT = {"ZRANGE": 6, "LRANGE": 6, "HGETALL": 6}
"""How many usual requests one of these is worth."""


def prepare(running: Running) -> None:
    """The collections that are only read."""
    fill(running, "RPUSH", "bench:list100", 100, 1)
    fill(running, "ZADD", "bench:zset100", 100, 2)
    fill(running, "HSET", "bench:hash50", 50, 2)


def rounds(
    servers: Sequence[Running],
    commands: Sequence[str],
    pipelines: Sequence[int],
    count: int,
    quick: bool,
    tell: Callable[[str], None],
) -> dict[Key, Runs]:
    """`count` runs of everything, the servers in turn within each. BenchError on an error reply."""
    results: dict[Key, Runs] = {}
    for running in servers:
        prepare(running)
    for turn in range(count):
        first = turn % len(servers)
        for command in commands:
            for pipeline in pipelines:
                for running in [*servers[first:], *servers[:first]]:
                    tell(f"round {turn + 1}/{count}: {command} -P {pipeline} on {running.kind.name}")
                    runs = results.setdefault((command, pipeline, running.kind.name), Runs())
                    rps, cpu_us = _run(running, command, pipeline, quick)
                    runs.rps.append(rps)
                    runs.cpu_us.append(cpu_us)
    return results


def _run(running: Running, command: str, pipeline: int, quick: bool) -> tuple[float, float]:
    requests = (40_000 if pipeline == 1 else 160_000) // _WEIGHT.get(command, 1) // (4 if quick else 1)
    if command in _POPPED:
        adding, key, words = _POPPED[command]
        fill(running, adding, key, requests, words)
    return benchmark(running, command, pipeline, requests, TYPES[command])

