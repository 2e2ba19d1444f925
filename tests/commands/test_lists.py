"""List commands in process: what observers and replicas are told, expiry, keys that must be in one slot."""

from __future__ import annotations

import pytest

from node.types.list import List
from tests.commands.harness import START_MS, Harness
from tests.commands.test_strings import events
from tests.oracle.oracle import Told


@pytest.fixture
def redis() -> Harness:
    return Harness()


@pytest.mark.parametrize(
    ("request_", "told", "changes"),
    [
        (("LPUSH", "l", "x"), [("lpush", b"l")], 1),
        (("RPUSH", "l", "x", "y", "z"), [("rpush", b"l")], 3),
        (("LPUSHX", "l", "x"), [("lpush", b"l")], 1),
        (("RPUSHX", "nothing", "x"), [], 0),
        (("LPOP", "l"), [("lpop", b"l")], 1),
        (("RPOP", "l", 2), [("rpop", b"l")], 2),
        (("RPOP", "l", 0), [], 0),
        (("LPOP", "l", 9), [("lpop", b"l"), ("del", b"l")], 3),
        (("LMPOP", 1, "l", "RIGHT", "COUNT", 3), [("rpop", b"l"), ("del", b"l")], 3),
        (("LMPOP", 1, "nothing", "RIGHT"), [], 0),
        (("LMOVE", "l", "m", "LEFT", "RIGHT"), [("rpush", b"m"), ("lpop", b"l")], 1),
        (("RPOPLPUSH", "l", "l"), [("lpush", b"l"), ("rpop", b"l")], 1),
        (("LMOVE", "one", "m", "RIGHT", "LEFT"), [("lpush", b"m"), ("rpop", b"one"), ("del", b"one")], 1),
        (("LMOVE", "one", "one", "RIGHT", "LEFT"), [("lpush", b"one"), ("rpop", b"one")], 1),
        (("LSET", "l", 0, "x"), [("lset", b"l")], 1),
        (("LINSERT", "l", "BEFORE", "a", "x"), [("linsert", b"l")], 1),
        (("LINSERT", "l", "BEFORE", "nothing", "x"), [], 0),
        (("LREM", "l", 0, "a"), [("lrem", b"l")], 2),
        (("LREM", "l", 0, "x"), [], 0),
        (("LREM", "one", 0, "1"), [("lrem", b"one"), ("del", b"one")], 1),
        (("LTRIM", "l", 1, 1), [("ltrim", b"l")], 2),
        (("LTRIM", "l", 0, -1), [("ltrim", b"l")], 0),
        (("LTRIM", "l", 5, 1), [("ltrim", b"l"), ("del", b"l")], 3),
        (("LRANGE", "l", 0, -1), [], 0),
    ],
)
def test_observers_are_told(
    redis: Harness, request_: tuple[object, ...], told: list[tuple[str, bytes]], changes: int
) -> None:
    redis.run("RPUSH", "l", "a", "b", "a")
    redis.run("RPUSH", "one", 1)
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    assert redis.node.dirty - before == changes


def test_nothing_trimmed_is_not_told_to_replicas(redis: Harness) -> None:
    told = Told(redis)
    told.of(b"RPUSH", b"l", b"a", b"b")
    assert told.of(b"LTRIM", b"l", b"0", b"-1") == []
    assert told.of(b"LTRIM", b"l", b"0", b"0") == [[b"LTRIM", b"l", b"0", b"0"]]


def test_an_empty_list_takes_its_expiry_with_it(redis: Harness) -> None:
    for request in (("LPOP", "l"), ("LTRIM", "l", 1, 0), ("LREM", "l", 0, "a"), ("LMOVE", "l", "m", "LEFT", "LEFT")):
        redis.run("RPUSH", "l", "a")
        redis.node.databases[0].expires[b"l"] = START_MS + 500
        redis.run(*request)
        assert redis.run("EXISTS", "l") == 0
        redis.run("RPUSH", "l", "b")
        assert redis.run("PTTL", "l") == -1
        redis.run("DEL", "l", "m")


def test_rotating_a_list_keeps_its_expiry(redis: Harness) -> None:
    redis.run("RPUSH", "l", "a")
    redis.run("PEXPIRE", "l", 500)
    assert redis.run("RPOPLPUSH", "l", "l") == b"a"
    assert redis.run("PTTL", "l") == 500


def test_an_expired_list_is_none(redis: Harness) -> None:
    redis.run("RPUSH", "l", "a")
    redis.run("PEXPIRE", "l", 10)
    redis.advance(11)
    assert redis.run("LPUSHX", "l", "b") == 0
    assert redis.run("RPUSH", "l", "b") == 1
    assert redis.run("LRANGE", "l", 0, -1) == [b"b"]


def test_a_wrong_destination_leaves_the_source(redis: Harness) -> None:
    redis.run("RPUSH", "l", "a")
    redis.run("SET", "s", "v")
    assert redis.error("LMOVE", "l", "s", "LEFT", "LEFT").startswith("WRONGTYPE")
    assert redis.run("LRANGE", "l", 0, -1) == [b"a"]


def test_keys_of_lmpop() -> None:
    redis = Harness(clustered=True)
    assert redis.run("COMMAND", "GETKEYS", "LMPOP", 2, "a", "b", "LEFT") == [b"a", b"b"]
    assert redis.run("COMMAND", "GETKEYS", "LMOVE", "a", "b", "LEFT", "LEFT") == [b"a", b"b"]
    assert redis.error("LMPOP", 2, "a", "b", "LEFT").startswith("CROSSSLOT")
    assert redis.error("RPOPLPUSH", "a", "b").startswith("CROSSSLOT")
    assert redis.error("LMPOP", 0, "a", "LEFT") == "ERR numkeys should be greater than 0"
    redis.run("RPUSH", "{x}b", 1, 2)
    assert redis.run("LMPOP", 2, "{x}a", "{x}b", "RIGHT") == [b"{x}b", [b"2"]]


def test_a_million_elements_are_pushed_moved_and_popped_at_the_ends(redis: Harness) -> None:
    for start in range(0, 1_000_000, 50_000):
        redis.run("RPUSH", "l", *range(start, start + 50_000))
    found = redis.node.databases[0].keys_of(b"l")[b"l"]
    assert isinstance(found, List)
    blocks = len(found.blocks)
    assert redis.run("LINDEX", "l", 777_777) == b"777777"
    assert redis.run("LRANGE", "l", 500_000, 500_002) == [b"500000", b"500001", b"500002"]
    for at in range(1000):
        assert redis.run("LPOP", "l") == b"%d" % at
        assert redis.run("RPOPLPUSH", "l", "l") == b"%d" % (999_999 - at)
        redis.run("RPUSH", "l", at)
        redis.run("LPOP", "l")
        redis.run("RPOP", "l")
    assert abs(len(found.blocks) - blocks) <= 4
    assert redis.run("LLEN", "l") == 1_000_000 - 2000


def test_copies_are_apart(redis: Harness) -> None:
    for size in (3, 3000):
        redis.run("DEL", "l")
        redis.run("RPUSH", "l", *range(size))
        redis.run("COPY", "l", "m", "REPLACE")
        redis.run("LSET", "m", 1, "changed")
        redis.run("LPOP", "m", size // 2)
        redis.run("LINSERT", "l", "AFTER", 0, "new")
        assert redis.run("LRANGE", "l", 0, 2) == [b"0", b"new", b"1"]
        assert redis.run("LLEN", "m") == size - size // 2
        redis.run("RENAME", "l", "n")
        assert redis.run("LLEN", "n") == size + 1
