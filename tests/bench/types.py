"""redis-benchmark on every type: LPUSH RPUSH RPOP SADD SPOP ZADD ZRANGE(100) HSET HGETALL(50) XADD XADDCAP LRANGE(100)."""

from __future__ import annotations

from tests.bench.filling import fill
from tests.bench.load import COMMANDS, benchmark
from tests.bench.servers import Running

_RANDOM = "__rand_int__"

TYPES: dict[str, list[str]] = {
    "LPUSH": ["LPUSH", "bench:list", "VXK"],
    "RPUSH": ["RPUSH", "bench:list", "VXK"],
    "RPOP": ["RPOP", "bench:list"],
    "SADD": ["SADD", "bench:set", f"element:{_RANDOM}"],
    "SPOP": ["SPOP", "bench:set"],
    "ZADD": ["ZADD", "bench:zset", _RANDOM, f"element:{_RANDOM}"],
    "ZRANGE": ["ZRANGE", "bench:zset100", "0", "99"],
    "HSET": ["HSET", "bench:hash", f"element:{_RANDOM}", "VXK"],
    "HGETALL": ["HGETALL", "bench:hash50"],
    "XADD": ["XADD", "bench:stream", "*", "field", "VXK"],
    "XADDCAP": ["XADD", "bench:capped", "MAXLEN", "~", "1000", "*", "field", "VXK"],
    "LRANGE": ["LRANGE", "bench:list100", "0", "99"],
}
"""What is asked, in this order: RPOP and SPOP take what was there before them."""

SESSIONS: dict[str, list[str]] = {
    "HSETS": ["HSET", f"session:{_RANDOM}", "seen", _RANDOM],
    "HGETS": ["HGET", f"session:{_RANDOM}", "seen"],
}
"""Small hashes, many of them: only measured within our node (`layers`)."""

EVERY = {**TYPES, **COMMANDS, **SESSIONS}
"""What `layers` measures within our node."""

BARS = {1: 0.85, 16: 0.4}
"""The ratio to redis-server that is asked of us, by pipeline length."""

POPPED = {"RPOP": ("RPUSH", "bench:list", 1), "SPOP": ("SADD", "bench:set", 1)}
"""What puts in what these take: command, key, words of an element."""
_WEIGHT = {"ZRANGE": 6, "LRANGE": 6, "HGETALL": 6}
"""How many usual requests one of these is worth."""

READ = (("RPUSH", "bench:list100", 100, 1), ("ZADD", "bench:zset100", 100, 2), ("HSET", "bench:hash50", 50, 2))
"""The collections that are only read: how they are filled, key, elements, words of an element."""


def prepare(running: Running) -> None:
    """Make the collections that are only read."""
    for command, key, count, words in READ:
        fill(running, command, key, count, words)


def run_once(running: Running, command: str, pipeline: int, quick: bool) -> tuple[float, float]:
    """One run; what it takes away is put there before. See `load.benchmark`."""
    requests = (40_000 if pipeline == 1 else 160_000) // _WEIGHT.get(command, 1) // (4 if quick else 1)
    if command in POPPED:
        adding, key, words = POPPED[command]
        fill(running, adding, key, requests, words)
    return benchmark(running, command, pipeline, requests, TYPES[command])
