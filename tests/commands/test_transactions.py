"""MULTI, EXEC, DISCARD, WATCH in process: what queues, what aborts, what a watch sees, what replicas are told."""

from __future__ import annotations

import pytest

from node.errors import CommandError
from node.resp import NULL_ARRAY
from tests.commands.harness import Harness, encoded


@pytest.fixture
def redis() -> Harness:
    return Harness()


def elsewhere(redis: Harness, *args: object) -> None:
    """A request of another client."""
    reply = redis.node.run(redis.connect(), [encoded(arg) for arg in args])
    assert not isinstance(reply, CommandError), reply


def test_queued_and_executed(redis: Harness) -> None:
    assert redis.run("MULTI") == "OK"
    assert redis.run("SET", "k", 1) == "QUEUED"
    assert redis.run("INCR", "k") == "QUEUED"
    assert redis.run("EXEC") == ["OK", 2]
    assert redis.run("GET", "k") == b"2"


def test_an_error_while_executing_stops_nothing(redis: Harness) -> None:
    redis.run("MULTI")
    redis.run("SET", "k", "x")
    redis.run("INCR", "k")
    redis.run("STRLEN", "k")
    replies = redis.run("EXEC")
    assert replies[0] == "OK"
    assert isinstance(replies[1], CommandError)
    assert replies[2] == 1


@pytest.mark.parametrize("bad", [("NOSUCH",), ("SET", "k"), ("CLIENT", "NOSUCH")])
def test_an_error_while_queueing_aborts(redis: Harness, bad: tuple[object, ...]) -> None:
    redis.run("MULTI")
    redis.error(*bad)
    redis.run("SET", "k", 1)
    assert redis.error("EXEC") == "EXECABORT Transaction discarded because of previous errors."
    assert redis.run("EXISTS", "k") == 0
    assert redis.error("EXEC") == "ERR EXEC without MULTI"


def test_what_is_not_allowed(redis: Harness) -> None:
    assert redis.error("EXEC") == "ERR EXEC without MULTI"
    assert redis.error("DISCARD") == "ERR DISCARD without MULTI"
    redis.run("MULTI")
    assert redis.error("MULTI") == "ERR MULTI calls can not be nested"
    assert redis.error("WATCH", "k") == "ERR WATCH inside MULTI is not allowed"
    assert redis.run("PING") == "QUEUED"
    assert redis.run("DISCARD") == "OK"
    assert redis.run("PING") == "PONG"


@pytest.mark.parametrize(
    "change",
    [
        ("SET", "k", 2),
        ("DEL", "k"),
        ("APPEND", "k", "x"),
        ("EXPIRE", "k", 100),
        ("RENAME", "k", "other"),
        ("RENAME", "source", "k"),
        ("FLUSHDB",),
        ("FLUSHALL",),
        ("SWAPDB", 0, 1),
    ],
)
def test_a_watch_sees(redis: Harness, change: tuple[object, ...]) -> None:
    redis.run("SET", "k", 1)
    redis.run("SET", "source", 1)
    redis.run("WATCH", "k")
    elsewhere(redis, *change)
    redis.run("MULTI")
    redis.run("SET", "done", 1)
    assert redis.run("EXEC") is NULL_ARRAY
    assert redis.run("EXISTS", "done") == 0
    assert redis.node.observers == []


@pytest.mark.parametrize("harmless", [("SET", "other", 1), ("GET", "k"), ("DEL", "nothing"), ("EXPIRE", "nothing", 1)])
def test_a_watch_does_not_mind(redis: Harness, harmless: tuple[object, ...]) -> None:
    redis.run("SET", "k", 1)
    redis.run("WATCH", "k")
    elsewhere(redis, *harmless)
    redis.run("MULTI")
    redis.run("GET", "k")
    assert redis.run("EXEC") == [b"1"]


def test_a_watched_key_that_expires_has_changed(redis: Harness) -> None:
    redis.run("SET", "k", 1, "PX", 20)
    redis.run("WATCH", "k")
    redis.advance(21)
    redis.run("MULTI")
    redis.run("PING")
    assert redis.run("EXEC") is NULL_ARRAY


def test_a_key_that_had_expired_already_has_not(redis: Harness) -> None:
    redis.run("SET", "k", 1, "PX", 20)
    redis.advance(21)
    redis.run("WATCH", "k")
    redis.run("GET", "k")
    redis.run("MULTI")
    redis.run("PING")
    assert redis.run("EXEC") == ["PONG"]


def test_unwatch_and_discard_forget(redis: Harness) -> None:
    for forget in (("UNWATCH",), ("MULTI", "DISCARD")):
        redis.run("WATCH", "k")
        elsewhere(redis, "SET", "k", 1)
        for name in forget:
            redis.run(name)
        redis.run("MULTI")
        redis.run("PING")
        assert redis.run("EXEC") == ["PONG"]


def test_one_slot_a_transaction() -> None:
    redis = Harness(clustered=True)
    redis.run("MULTI")
    redis.run("SET", "{a}1", 1)
    redis.run("SET", "{a}2", 1)
    assert redis.run("EXEC") == ["OK", "OK"]
    redis.run("MULTI")
    redis.run("SET", "a", 1)
    redis.run("SET", "b", 1)
    assert redis.error("EXEC") == "CROSSSLOT Keys in request don't hash to the same slot"
    assert redis.run("EXISTS", "a") == 0
