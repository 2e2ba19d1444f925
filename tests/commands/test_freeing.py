"""Freeing piece by piece: everything goes, in slices of the size asked for, and nothing that somebody still holds."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest

from node.config import Config
from node.freeing import LONG, Remains, takes_long
from node.types.hash import Hash
from node.types.set import Set
from node.types.zset import ZSet
from tests.commands.harness import Harness

SIZE = 20_000


class Counted(bytes):
    """Bytes that say when they are freed."""

    freed = 0

    def __del__(self) -> None:
        Counted.freed += 1


def long_hash() -> Hash:
    made = Hash({Counted(b"%d" % at): b"v%d" % at for at in range(SIZE)})
    made.random_fields(1, random.Random(1))  # with an urn beside its fields
    return made


def long_set() -> Set:
    return Set({Counted(b"%d" % at): None for at in range(SIZE)}, table=True)


def long_zset() -> ZSet:
    return ZSet.stored({Counted(b"%d" % at): float(at) for at in range(SIZE)}, Config())


@pytest.mark.parametrize("make", [long_hash, long_set, long_zset])
def test_all_of_a_value_is_freed_in_slices(make: Any) -> None:
    value = make()
    Counted.freed = 0
    remains = Remains()
    remains.add([value])
    del value
    slices = before = 0
    while remains:
        remains.free(1000)
        slices += 1
        assert Counted.freed - before <= 2 * 1000, "a slice frees about as much as it was asked to"
        before = Counted.freed
    assert before == SIZE
    assert slices >= SIZE // 1000


@pytest.mark.parametrize("make", [long_hash, long_set, long_zset])
def test_what_somebody_holds_stays_whole(make: Any) -> None:
    value = make()
    held = value.lookup()
    remains = Remains()
    remains.add([value])
    del value
    while remains:
        remains.free(1000)
    assert len(held) == SIZE
    walker = iter(held)
    assert next(walker) == b"0"


def test_a_value_that_is_held_is_not_touched() -> None:
    value = long_hash()
    remains = Remains()
    remains.add([value])
    while remains:
        remains.free(10)
    assert len(value) == SIZE
    assert value.get(b"5") == b"v5"


@pytest.mark.parametrize("clustered", [False, True])
def test_keys_of_a_database_go_with_what_they_hold(clustered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = Harness(clustered=clustered)
    remains = Remains()
    monkeypatch.setattr(redis.io, "free_later", remains.add)
    for at in range(50):
        redis.run("HSET", f"h{at}", *[word for n in range(at * 30 + 1) for word in (f"f{n}", n)])
        redis.run("RPUSH", f"l{at}", *range(at * 30 + 1))
        redis.run("XADD", f"x{at}", "*", "f", "v")
        redis.run("JSON.SET", f"j{at}", "$", '{"a": [[1, 2, {"b": []}]]}')
    redis.run("FLUSHALL", "ASYNC")
    rounds = 0
    while remains:
        remains.free(500)
        rounds += 1
    assert rounds > 50
    gc.collect()
    assert redis.run("DBSIZE") == 0


@pytest.mark.parametrize("way", ["DEL", "UNLINK", "expiry", "RENAME"])
def test_long_values_are_left_to_the_process(way: str) -> None:
    redis = Harness()
    redis.run("SADD", "s", *range(LONG + 1))
    redis.run("SADD", "few", 1, 2)
    if way == "expiry":
        redis.run("PEXPIRE", "s", 1)
        redis.advance(2)
        assert redis.run("GET", "s") is None
    elif way == "RENAME":
        redis.run("RENAME", "few", "s")
        redis.run("SADD", "few", 1, 2)
    else:
        redis.run(way, "s")
    redis.run("DEL", "few")
    assert redis.io.asked == [("free_later", LONG + 1)]


def test_what_takes_long() -> None:
    assert not takes_long(b"x" * 100_000)
    assert not takes_long(Hash({b"%d" % at: b"" for at in range(LONG)}))
    assert takes_long(Hash({b"%d" % at: b"" for at in range(LONG + 1)}))
