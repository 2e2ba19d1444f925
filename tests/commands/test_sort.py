"""SORT in process: what observers are told, weights out of range, zero bytes, the rules of a cluster."""

from __future__ import annotations

import pytest

from node.errors import CommandError
from tests.commands.harness import Harness
from tests.commands.test_strings import events


@pytest.fixture
def redis() -> Harness:
    return Harness()


def test_observers_are_told(redis: Harness) -> None:
    redis.run("RPUSH", "l", 3, 1, 2)
    seen = events(redis)
    before = redis.node.dirty
    redis.run("SORT", "l")
    assert (seen, redis.node.dirty) == ([], before)
    assert redis.run("SORT", "l", "STORE", "r") == 3
    assert (seen, redis.node.dirty) == ([("sortstore", b"r")], before + 3)
    assert redis.run("SORT", "nothing", "STORE", "r") == 0
    assert seen[1:] == [("del", b"r")]


@pytest.mark.parametrize("weight", ["1e400", "1e-310", "nan", "x", "1 "])
def test_weights_that_are_no_numbers(redis: Harness, weight: str) -> None:
    redis.run("RPUSH", "l", 1, weight)
    assert redis.error("SORT", "l") == "ERR One or more scores can't be converted into double"
    assert redis.run("SORT", "l", "ALPHA", "LIMIT", 0, 1) == [b"1"]


def test_texts_are_compared_whole(redis: Harness) -> None:
    """C's strcoll stops at a zero byte and leaves the order of such texts to chance."""
    redis.run("RPUSH", "l", b"a\0c", b"a", b"a\0b")
    assert redis.run("SORT", "l", "ALPHA") == [b"a", b"a\0b", b"a\0c"]
    assert redis.run("SORT", "l", "ALPHA", "DESC") == [b"a\0c", b"a\0b", b"a"]


def test_no_weight_comes_before_an_empty_one(redis: Harness) -> None:
    redis.run("RPUSH", "l", "a", "b", "c")
    redis.run("MSET", "w_a", "x", "w_b", "")
    assert redis.run("SORT", "l", "BY", "w_*", "ALPHA") == [b"c", b"b", b"a"]
    assert redis.run("SORT", "l", "BY", "w_*", "ALPHA", "DESC") == [b"a", b"b", b"c"]


_DENIED = (
    "ERR {} option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots."
)


@pytest.mark.parametrize(
    ("words", "denied"),
    [
        ("BY {a}w*", None),
        ("BY w*", "BY"),
        ("BY nosort", None),
        ("GET #", None),
        ("GET {a}x*", None),
        ("GET x*", "GET"),
        ("BY w_{a}*", None),
        ("BY *{a}", "BY"),
        ("BY {*}{a}", "BY"),
        ("GET a", None),
        ("GET b", "GET"),
        ("GET {a}x*->{b}", None),
        ("GET a[{a}*", "GET"),
    ],
)
def test_patterns_in_a_cluster(words: str, denied: str | None) -> None:
    """Each answer is valkey-server 9.1's."""
    redis = Harness(clustered=True)
    redis.run("RPUSH", "{a}l", 1)
    if denied is None:
        assert len(redis.run("SORT", "{a}l", *words.split())) == 1
    else:
        assert redis.error("SORT_RO", "{a}l", *words.split()) == _DENIED.format(denied)


def test_keys_in_a_cluster() -> None:
    redis = Harness(clustered=True)
    with pytest.raises(CommandError, match="CROSSSLOT"):
        redis.run("SORT", "{a}l", "STORE", "b")
    redis.run("RPUSH", "{a}l", 1, 2)
    redis.run("SET", "{a}w1", "x")
    assert redis.run("SORT", "{a}l", "GET", "{a}w*", "STORE", "{a}r") == 2
    assert redis.run("LRANGE", "{a}r", 0, -1) == [b"x", b""]
