"""What replicas are told: our words are those that redis-server 7.0 says to a replica of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.commands.harness import Harness
from tests.oracle.oracle import Stream, Told, words
from tests.servers import ServerProcess

TABLES = {
    "set": """
        SET k v
        SET k v NX
        SET k v nx get
        SET n v nx Get
        SET k w XX GET
        SET k w GET EX 100
        SET k w EX 100
        SET k w PX 100000 XX
        SET k w EXAT 99999999999
        set k w pxat 99999999999999
        SET k w pxat 99999999999999 GET
        SET k w KEEPTTL
        SET k w keepttl get
        SET k 5 GET
        SET z v PX 100000 NX
        SETNX k v
        SETNX y v
        SETEX k 100 v
        PSETEX k 100000 v
        GETSET k w
        GETSET q w
        MSET a 1 b 2
        MSETNX a 1 b 2
        MSETNX c 1 d 2
    """,
    "get": """
        SET k v
        GETEX k
        GETEX k PERSIST
        GETEX k EX 100
        GETEX k PX 100000
        GETEX k EXAT 99999999999
        GETEX k PXAT 99999999999999
        GETEX k PERSIST
        GETEX k EXAT 1
        GETEX k EX 10
        SET k v
        GETEX k PXAT 1
        SET k v
        GETDEL k
        GETDEL k
    """,
    "past": """
        SET k v PXAT 1
        GET k
        SET k v EXAT 1
        EXISTS k
        SET k v PXAT 1
        SET k w
        SET k v PXAT 1
        APPEND k w
        SET k v PXAT 1
        SETNX k w
        SET k v PXAT 1
        INCR k
        SET k v PXAT 1
        SET k w KEEPTTL
    """,
    "parts and numbers": """
        APPEND k v
        APPEND k ''
        SETRANGE k 3 x
        SETRANGE k 3 ''
        SETRANGE j 3 ''
        INCR n
        INCRBY n 5
        DECR n
        DECRBY n 5
        INCRBY n x
        INCRBYFLOAT n 1.5
        INCRBYFLOAT n 0.5
        incrbyfloat m 3
    """,
    "hashes": """
        HSET h a 1 b 2
        HSET h a 1
        HMSET h a 1
        HSETNX h a 1
        HSETNX h c 1
        HINCRBY h a 5
        HINCRBYFLOAT h a 1.5
        HINCRBYFLOAT h d 3
        HDEL h x
        HDEL h a x
        HDEL h b c d
        HGETALL h
    """,
}

_SLACK_MS = 1500


@pytest.fixture(scope="module")
def stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    server: ServerProcess = request.getfixturevalue("servers").server("redis")
    stream = Stream(server)
    yield stream
    stream.close()


def _same(theirs: bytes, ours: bytes) -> bool:
    """Equal, or two deadlines of nearly the same time."""
    if theirs == ours:
        return True
    both_numbers = theirs.isdigit() and ours.isdigit() and len(theirs) == len(ours) == 13
    return both_numbers and abs(int(theirs) - int(ours)) <= _SLACK_MS


@pytest.mark.parametrize("name", TABLES)
def test_told_as_redis_tells(stream: Stream, name: str) -> None:
    stream.of(b"FLUSHALL")
    redis = Harness()
    told = Told(redis)
    for line in TABLES[name].splitlines():
        request = words(line)
        if not request:
            continue
        redis.node.set_time(time.time_ns() // 1_000_000)
        theirs, ours = stream.of(*request), told.of(*request)
        assert len(theirs) == len(ours), f"{line.strip()}\ntheirs: {theirs}\nours:   {ours}"
        for one, other in zip(theirs, ours, strict=True):
            equal = len(one) == len(other) and all(map(_same, one, other))
            assert equal, f"{line.strip()}\ntheirs: {theirs}\nours:   {ours}"
