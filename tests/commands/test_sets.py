"""Set commands in process: what observers and replicas are told, expiry, scans, keys that must be in one slot."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.commands.sets import _RANDOM_MEMBERS_MAX
from tests.commands.harness import START_MS, Harness
from tests.commands.test_strings import events
from tests.oracle.oracle import Told


@pytest.fixture
def redis() -> Harness:
    return Harness()


@pytest.mark.parametrize(
    ("request_", "told", "changes"),
    [
        (("SADD", "s", "x"), [("sadd", b"s")], 1),
        (("SADD", "s", "a"), [], 0),
        (("SADD", "s", "a", "x", "y"), [("sadd", b"s")], 2),
        (("SREM", "s", "a", "b", "x"), [("srem", b"s")], 2),
        (("SREM", "s", "x"), [], 0),
        (("SREM", "s", "a", "b", "c"), [("srem", b"s"), ("del", b"s")], 3),
        (("SMOVE", "s", "t", "a"), [("srem", b"s"), ("sadd", b"t")], 2),
        (("SMOVE", "one", "s", "a"), [("srem", b"one"), ("del", b"one")], 1),
        (("SMOVE", "s", "t", "x"), [], 0),
        (("SMOVE", "s", "s", "a"), [], 0),
        (("SPOP", "s"), [("spop", b"s")], 1),
        (("SPOP", "one"), [("spop", b"one"), ("del", b"one")], 1),
        (("SPOP", "s", 2), [("spop", b"s")], 2),
        (("SPOP", "s", 3), [("spop", b"s"), ("del", b"s")], 3),
        (("SPOP", "s", 0), [], 0),
        (("SINTERSTORE", "d", "s", "one"), [("sinterstore", b"d")], 1),
        (("SINTERSTORE", "one", "s", "nothing"), [("del", b"one")], 1),
        (("SINTERSTORE", "d", "s", "nothing"), [], 0),
        (("SUNIONSTORE", "d", "s", "one"), [("sunionstore", b"d")], 1),
        (("SDIFFSTORE", "s", "s", "one"), [("sdiffstore", b"s")], 1),
        (("SDIFFSTORE", "s", "s", "s"), [("del", b"s")], 1),
        (("SMEMBERS", "s"), [], 0),
    ],
)
def test_observers_are_told(
    redis: Harness, request_: tuple[object, ...], told: list[tuple[str, bytes]], changes: int
) -> None:
    redis.run("SADD", "s", "a", "b", "c")
    redis.run("SADD", "one", "a")
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    assert redis.node.dirty - before == changes


def test_spop_is_told_as_what_it_did(redis: Harness) -> None:
    told = Told(redis)
    told.of(b"SADD", b"s", *[b"%d" % at for at in range(3000)])
    (removal,) = told.of(b"SPOP", b"s")
    assert removal[:2] == [b"SREM", b"s"]
    assert redis.run("SISMEMBER", "s", removal[2]) == 0
    many = told.of(b"SPOP", b"s", b"2500")
    assert [len(one) for one in many if one[0] == b"SREM"] == [1026, 1026, 454]
    assert told.of(b"SPOP", b"s", b"1000") == [[b"DEL", b"s"]]
    redis.node.config.set_many({"lazyfree-lazy-server-del": "yes"})
    told.of(b"SADD", b"s", b"a")
    assert told.of(b"SPOP", b"s", b"1") == [[b"UNLINK", b"s"]]


def test_a_replica_that_is_told_has_the_same_set(redis: Harness) -> None:
    replica = Harness(seed=2)
    told = Told(redis)
    rng = random.Random(8)
    for _ in range(300):
        members = [rng.choice((b"%d", b"m%d")) % rng.randrange(300) for _ in range(9)]
        for request in ([b"SADD", b"s", *members], [b"SPOP", b"s"], [b"SPOP", b"s", b"%d" % rng.randrange(9)]):
            for command in told.of(*request):
                if command[0] not in (b"MULTI", b"EXEC"):
                    replica.run(*command)
        assert set(replica.run("SMEMBERS", "s")) == set(redis.run("SMEMBERS", "s"))
    assert redis.run("SCARD", "s") > 100


def test_an_empty_set_takes_its_expiry_with_it(redis: Harness) -> None:
    for request in (("SPOP", "s"), ("SPOP", "s", 1), ("SREM", "s", "a"), ("SMOVE", "s", "t", "a")):
        redis.run("SADD", "s", "a")
        redis.node.databases[0].expires[b"s"] = START_MS + 500
        redis.run(*request)
        assert redis.run("EXISTS", "s") == 0
        redis.run("SADD", "s", "b")
        assert redis.run("PTTL", "s") == -1
        redis.run("DEL", "s", "t")


def test_an_expired_destination_is_none(redis: Harness) -> None:
    redis.run("SADD", "s", "a", "b")
    redis.run("SADD", "t", "x")
    redis.run("PEXPIRE", "t", 10)
    redis.advance(11)
    redis.run("SMOVE", "s", "t", "a")
    assert redis.run("SMEMBERS", "t") == [b"a"]
    assert redis.run("PTTL", "t") == -1


def test_keys(redis: Harness) -> None:
    redis = Harness(clustered=True)
    assert redis.run("COMMAND", "GETKEYS", "SINTERCARD", 2, "a", "b", "LIMIT", 3) == [b"a", b"b"]
    assert redis.run("COMMAND", "GETKEYS", "SUNIONSTORE", "d", "a", "b") == [b"d", b"a", b"b"]
    for request in ("SINTERCARD 2 a b", "SUNIONSTORE a b", "SINTER a b", "SMOVE a b 1"):
        assert redis.error(*request.split()).startswith("CROSSSLOT")
    redis.run("SADD", "{x}a", 1, 2)
    assert redis.run("SUNIONSTORE", "{x}d", "{x}a", "{x}nothing") == 2


def test_counts_without_end_are_refused(redis: Harness) -> None:
    redis.run("SADD", "s", "a")
    for count in (-_RANDOM_MEMBERS_MAX - 1, -(1 << 62)):
        assert redis.error("SRANDMEMBER", "s", count) == "ERR value is out of range"
    assert redis.run("SRANDMEMBER", "nothing", -(1 << 62)) == []


@given(st.lists(st.tuples(st.sampled_from("ard"), st.integers(0, 400)), max_size=200), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_scan_returns_what_is_there_throughout(steps: list[tuple[str, int]], count: int) -> None:
    redis = Harness()
    always = {b"always%d" % at for at in range(1100)}
    redis.run("SADD", "s", *always)
    cursor, found = b"0", set()
    pending = list(steps)
    while True:
        cursor, page = redis.run("SSCAN", "s", cursor, "COUNT", count)
        found.update(page)
        if cursor == b"0":
            break
        for action, number in pending[:5]:
            if action == "a":
                redis.run("SADD", "s", f"other{number}")
            elif action == "r":
                redis.run("SREM", "s", f"other{number}")
            else:
                redis.run("SRANDMEMBER", "s", 2)
        del pending[:5]
    assert always <= found


def test_a_scan_of_many_is_not_quadratic(redis: Harness) -> None:
    """Counted in members that the pages hold, and in listings made: one."""
    redis.run("SADD", "s", *[f"m{at}" for at in range(50_000)])
    cursor, seen, calls = b"0", 0, 0
    while True:
        cursor, page = redis.run("SSCAN", "s", cursor, "COUNT", 100)
        seen += len(page)
        calls += 1
        if cursor == b"0":
            break
    assert (seen, calls) == (50_000, 500)


def test_copies_are_apart(redis: Harness) -> None:
    for members in (range(5), [f"m{at}" for at in range(5)], [f"m{at}" for at in range(500)]):
        redis.run("DEL", "s")
        redis.run("SADD", "s", *members)
        redis.run("COPY", "s", "t", "REPLACE")
        redis.run("SPOP", "t", 3)
        redis.run("SADD", "s", "new")
        assert redis.run("SCARD", "s") == len(members) + 1
        assert redis.run("SCARD", "t") == len(members) - 3
        assert redis.run("SISMEMBER", "t", "new") == 0


def test_the_random_source_decides(redis: Harness) -> None:
    draws = []
    for _ in range(2):
        twin = Harness(seed=77)
        twin.run("SADD", "s", *range(1000))
        draws.append([twin.run("SPOP", "s"), twin.run("SPOP", "s", 5), twin.run("SRANDMEMBER", "s", -5)])
    assert draws[0] == draws[1]
