"""Blocking commands in process: who is served, when, and what replicas hear of it."""

from __future__ import annotations

import pytest

from node.client import Client
from node.errors import CommandError
from node.gate import Deferred
from node.resp import NULL_ARRAY, Reply
from tests.commands.harness import Harness, encoded


@pytest.fixture
def redis() -> Harness:
    return Harness()


class Caller:
    """One more client, whose replies may come later."""

    def __init__(self, redis: Harness) -> None:
        self._redis = redis
        self.client: Client = redis.connect()

    def run(self, *args: object) -> Reply:
        """The reply, or a Deferred."""
        return self._redis.node.run(self.client, [encoded(arg) for arg in args])

    def wait(self, *args: object) -> Deferred:
        """A request that has to wait."""
        reply = self.run(*args)
        assert isinstance(reply, Deferred), f"{args} should have waited, but answered {reply!r}"
        assert not reply.ready
        return reply


def test_an_element_that_is_there_is_taken_at_once(redis: Harness) -> None:
    redis.run("RPUSH", "b", 1, 2)
    assert Caller(redis).run("BLPOP", "a", "b", 0) == [b"b", b"1"]
    assert Caller(redis).run("BRPOP", "a", "b", 0) == [b"b", b"2"]


def test_who_came_first_is_served_first(redis: Harness) -> None:
    first, second = Caller(redis).wait("BLPOP", "k", 0), Caller(redis).wait("BRPOP", "k", 0)
    redis.run("RPUSH", "k", "a", "b", "c")
    assert first.value == [b"k", b"a"]
    assert second.value == [b"k", b"c"]
    assert redis.run("LRANGE", "k", 0, -1) == [b"b"]
    assert redis.node.observers == []


def test_one_element_serves_one_client(redis: Harness) -> None:
    first, second = Caller(redis).wait("BLPOP", "k", 0), Caller(redis).wait("BLPOP", "k", 0)
    assert redis.run("LPUSH", "k", "a") == 1
    assert first.ready
    assert not second.ready
    redis.run("LPUSH", "k", "b")
    assert second.value == [b"k", b"b"]


def test_many_keys_at_once(redis: Harness) -> None:
    waiting = Caller(redis).wait("BLPOP", "a", "b", "a", 0)
    redis.run("LPUSH", "b", "x")
    assert waiting.value == [b"b", b"x"]
    redis.run("LPUSH", "a", "y")
    assert redis.run("LLEN", "a") == 1


def test_a_chain_of_moves_is_followed(redis: Harness) -> None:
    mover = Caller(redis).wait("BLMOVE", "a", "b", "LEFT", "RIGHT", 0)
    last = Caller(redis).wait("BLMPOP", 0, 1, "b", "LEFT", "COUNT", 5)
    redis.run("RPUSH", "a", "x")
    assert mover.value == b"x"
    assert last.value == [b"b", [b"x"]]
    assert redis.run("EXISTS", "a", "b") == 0


def test_the_time_is_up_to_the_millisecond(redis: Harness) -> None:
    popping = Caller(redis).wait("BLPOP", "k", "0.1")
    moving = Caller(redis).wait("BLMOVE", "k", "d", "LEFT", "LEFT", "0.1005")
    redis.advance(99)
    assert not popping.ready
    redis.advance(1)
    assert popping.value is NULL_ARRAY
    assert not moving.ready
    redis.advance(1)
    assert moving.ready
    assert moving.value is None


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        ("x", "ERR timeout is not a float or out of range"),
        ("nan", "ERR timeout is not a float or out of range"),
        ("-1", "ERR timeout is negative"),
        ("1e300", "ERR timeout is out of range"),
    ],
)
def test_bad_times(redis: Harness, seconds: str, error: str) -> None:
    assert redis.error("BLPOP", "k", seconds) == error


def test_another_type_is_not_what_is_waited_for(redis: Harness) -> None:
    waiting = Caller(redis).wait("BLPOP", "k", 0)
    redis.run("SET", "k", "text")
    assert isinstance(waiting.value, CommandError)
    assert waiting.value.code == "WRONGTYPE"


@pytest.mark.parametrize(
    "making", [("RENAME", "other", "k"), ("COPY", "other", "k"), ("LMOVE", "other", "k", "LEFT", "LEFT")]
)
def test_a_key_that_comes_from_another(redis: Harness, making: tuple[object, ...]) -> None:
    redis.run("RPUSH", "other", "x")
    waiting = Caller(redis).wait("BLPOP", "k", 0)
    redis.run(*making)
    assert waiting.value == [b"k", b"x"]


def test_a_key_that_is_restored(redis: Harness) -> None:
    redis.run("RPUSH", "other", "x")
    payload = redis.run("DUMP", "other")
    waiting = Caller(redis).wait("BLPOP", "k", 0)
    redis.run("RESTORE", "k", 0, payload)
    assert waiting.value == [b"k", b"x"]


def test_a_database_that_is_swapped_in(redis: Harness) -> None:
    redis.run("SELECT", 1)
    redis.run("RPUSH", "k", "x")
    waiting = Caller(redis).wait("BLPOP", "k", 0)
    redis.run("SWAPDB", 0, 1)
    assert waiting.value == [b"k", b"x"]


def test_in_a_transaction_nobody_waits(redis: Harness) -> None:
    redis.run("MULTI")
    redis.run("BLPOP", "k", 0)
    redis.run("BLMOVE", "k", "d", "LEFT", "LEFT", 0)
    assert redis.run("EXEC") == [NULL_ARRAY, None]


def test_a_transaction_serves_when_it_is_over(redis: Harness) -> None:
    waiting = Caller(redis).wait("BLPOP", "k", 0)
    redis.run("MULTI")
    redis.run("RPUSH", "k", "a")
    redis.run("DEL", "k")
    redis.run("RPUSH", "k", "b")
    redis.run("EXEC")
    assert waiting.value == [b"k", b"b"]


def test_unblocked_by_another_client(redis: Harness) -> None:
    caller = Caller(redis)
    waiting = caller.wait("BLPOP", "k", 0)
    assert redis.run("CLIENT", "UNBLOCK", caller.client.id) == 1
    assert waiting.value is NULL_ARRAY
    waiting = caller.wait("BLPOP", "k", 0)
    assert redis.run("CLIENT", "UNBLOCK", caller.client.id, "ERROR") == 1
    assert isinstance(waiting.value, CommandError)
    assert waiting.value.text == "UNBLOCKED client unblocked via CLIENT UNBLOCK"
    redis.run("LPUSH", "k", "x")
    assert redis.run("LLEN", "k") == 1


def test_a_client_that_is_gone_takes_nothing(redis: Harness) -> None:
    caller = Caller(redis)
    caller.wait("BLPOP", "k", 0)
    redis.node.forget_client(caller.client)
    redis.run("LPUSH", "k", "x")
    assert redis.run("LLEN", "k") == 1


def test_a_node_that_becomes_a_replica_lets_writers_go(redis: Harness) -> None:
    waiting = Caller(redis).wait("BLPOP", "k", 0)
    redis.run("REPLICAOF", "127.0.0.1", 1)
    assert isinstance(waiting.value, CommandError)
    assert waiting.value.text == (
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
    )


def test_a_slot_that_moves_away_takes_its_clients_along() -> None:
    redis = Harness(clustered=True)
    waiting = Caller(redis).wait("BLPOP", "k", 0)
    cluster = redis.node.cluster
    assert cluster is not None
    redis.run("CLUSTER", "DELSLOTS", redis.run("CLUSTER", "KEYSLOT", "k"))
    redis.node.blocking.recheck()
    assert isinstance(waiting.value, CommandError)
    assert waiting.value.code == "CLUSTERDOWN"


def test_sorted_sets_wait_too(redis: Harness) -> None:
    lowest = Caller(redis).wait("BZPOPMIN", "a", "z", 0)
    highest = Caller(redis).wait("BZPOPMAX", "z", 0)
    several = Caller(redis).wait("BZMPOP", 0, 1, "z", "MIN", "COUNT", 5)
    redis.run("ZADD", "z", 1, "one", 2, "two", 3, "three", 4, "four")
    assert lowest.value == [b"z", b"one", 1.0]
    assert highest.value == [b"z", b"four", 4.0]
    assert several.value == [b"z", [[b"two", 2.0], [b"three", 3.0]]]
    assert redis.run("EXISTS", "z") == 0


def test_streams_wait_too(redis: Harness) -> None:
    reading = Caller(redis).wait("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    redis.run("XADD", "s", "1-1", "f", "v")
    assert redis.node.run(redis.client, [b"XLEN", b"s"]) == 1
    assert reading.ready
    redis.run("XGROUP", "CREATE", "s", "g", "$")
    grouped = Caller(redis).wait("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">")
    redis.run("XADD", "s", "2-1", "f", "v")
    assert grouped.ready
    assert redis.run("XPENDING", "s", "g")[0] == 1
