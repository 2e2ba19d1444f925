"""Stream commands in process: ids by the clock, waiting readers, what observers and replicas are told."""

from __future__ import annotations

import random

import pytest

from node.errors import CommandError
from node.resp import NULL_ARRAY, encode2
from node.types.stream import Stream
from tests.commands.harness import START_MS, Harness, encoded
from tests.commands.test_blocking import Caller
from tests.commands.test_strings import events
from tests.oracle.oracle import Told
from tests.oracle.streams import plain_stream


@pytest.fixture
def redis() -> Harness:
    return Harness()


def stream_at(redis: Harness, key: str = "s") -> Stream:
    found = redis.node.databases[0].keys_of(key.encode())[key.encode()]
    assert isinstance(found, Stream)
    return found


def entry(number: str, *items: str) -> bytes:
    """An entry as it is in replies."""
    return encode2([number.encode(), [item.encode() for item in items]])


# Ids ------------------------------------------------------------------------------------------------------------------


def test_ids_follow_the_clock_and_never_go_back(redis: Harness) -> None:
    assert redis.run("XADD", "s", "*", "a", 1) == b"%d-0" % START_MS
    assert redis.run("XADD", "s", "*", "a", 1) == b"%d-1" % START_MS
    redis.advance(5)
    assert redis.run("XADD", "s", "*", "a", 1) == b"%d-0" % (START_MS + 5)
    redis.advance(-100)
    assert redis.run("XADD", "s", "*", "a", 1) == b"%d-1" % (START_MS + 5)
    assert redis.run("XADD", "s", f"{START_MS + 5}-*", "a", 1) == b"%d-2" % (START_MS + 5)
    assert redis.run("XADD", "s", f"{START_MS + 6}-18446744073709551615", "a", 1)
    assert redis.run("XADD", "s", "*", "a", 1) == b"%d-0" % (START_MS + 7)


# Observers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "told", "changes"),
    [
        (("XADD", "s", "9", "a", 1), [("xadd", b"s")], 1),
        (("XADD", "s", "MAXLEN", 2, "9", "a", 1), [("xadd", b"s"), ("xtrim", b"s")], 1),
        (("XADD", "s", "MAXLEN", 20, "9", "a", 1), [("xadd", b"s")], 1),
        (("XADD", "no", "NOMKSTREAM", "9", "a", 1), [], 0),
        (("XDEL", "s", 1, 2, 7), [("xdel", b"s")], 2),
        (("XDEL", "s", 7), [], 0),
        (("XTRIM", "s", "MAXLEN", 1), [("xtrim", b"s")], 3),
        (("XTRIM", "s", "MAXLEN", 9), [], 0),
        (("XSETID", "s", 9), [("xsetid", b"s")], 1),
        (("XGROUP", "CREATE", "s", "h", 0), [("xgroup-create", b"s")], 1),
        (("XGROUP", "CREATE", "n", "h", 0, "MKSTREAM"), [("xgroup-create", b"n")], 1),
        (("XGROUP", "SETID", "s", "g", 0), [("xgroup-setid", b"s")], 1),
        (("XGROUP", "DESTROY", "s", "g"), [("xgroup-destroy", b"s")], 1),
        (("XGROUP", "DESTROY", "s", "h"), [], 0),
        (("XGROUP", "CREATECONSUMER", "s", "g", "new"), [("xgroup-createconsumer", b"s")], 1),
        (("XGROUP", "CREATECONSUMER", "s", "g", "c"), [], 0),
        (("XGROUP", "DELCONSUMER", "s", "g", "c"), [("xgroup-delconsumer", b"s")], 1),
        (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"), [], 1),
        (("XREADGROUP", "GROUP", "g", "new", "STREAMS", "s", ">"), [("xgroup-createconsumer", b"s")], 2),
        (("XACK", "s", "g", 1, 7), [], 1),
        (("XCLAIM", "s", "g", "c", 0, 1), [], 1),
        (("XAUTOCLAIM", "s", "g", "new", 0, 0), [("xgroup-createconsumer", b"s")], 2),
        (("XREAD", "STREAMS", "s", 0), [], 0),
    ],
)
def test_observers_are_told(
    redis: Harness, request_: tuple[object, ...], told: list[tuple[str, bytes]], changes: int
) -> None:
    for number in (1, 2, 3, 4):
        redis.run("XADD", "s", number, "a", number)
    redis.run("XGROUP", "CREATE", "s", "g", 0)
    redis.run("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "s", ">")
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    assert redis.node.dirty - before == changes


# Waiting --------------------------------------------------------------------------------------------------------------


def test_a_reader_waits_for_what_comes(redis: Harness) -> None:
    redis.run("XADD", "s", 1, "a", 1)
    first, second = (Caller(redis).wait("XREAD", "BLOCK", 0, "STREAMS", "s", "t", "$", 0) for _ in range(2))
    redis.run("XADD", "s", 2, "a", 2)
    assert first.value == second.value == [(b"s", encode2([[b"2-0", [b"a", b"2"]]]))]


def test_the_end_is_where_it_was_when_the_reader_came(redis: Harness) -> None:
    waiting = Caller(redis).wait("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    redis.run("MULTI")
    redis.run("XADD", "s", 1, "a", 1)
    redis.run("XADD", "s", 2, "a", 2)
    redis.run("EXEC")
    assert waiting.value == [(b"s", encode2([[b"1-0", [b"a", b"1"]], [b"2-0", [b"a", b"2"]]]))]


def test_the_time_is_up(redis: Harness) -> None:
    waiting = Caller(redis).wait("XREAD", "BLOCK", 100, "STREAMS", "s", 0)
    redis.advance(99)
    assert not waiting.ready
    redis.advance(1)
    assert waiting.value is NULL_ARRAY


def test_nobody_waits_in_a_transaction_or_without_block(redis: Harness) -> None:
    redis.run("MULTI")
    redis.run("XREAD", "BLOCK", 0, "STREAMS", "s", 0)
    assert redis.run("EXEC") == [NULL_ARRAY]
    assert redis.run("XREAD", "STREAMS", "s", 0) is NULL_ARRAY


def test_each_entry_goes_to_one_waiting_consumer(redis: Harness) -> None:
    redis.run("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    request = ("XREADGROUP", "GROUP", "g")
    first = Caller(redis).wait(*request, "c", "COUNT", 1, "BLOCK", 0, "STREAMS", "s", ">")
    second = Caller(redis).wait(*request, "d", "COUNT", 1, "BLOCK", 0, "STREAMS", "s", ">")
    redis.run("XADD", "s", 1, "a", 1)
    assert first.value == [(b"s", encode2([[b"1-0", [b"a", b"1"]]]))]
    assert not second.ready
    redis.run("XADD", "s", 2, "a", 2)
    assert second.value == [(b"s", encode2([[b"2-0", [b"a", b"2"]]]))]
    pending = redis.run("XPENDING", "s", "g", "-", "+", 10)
    assert [(row[0], row[1]) for row in pending] == [(b"1-0", b"c"), (b"2-0", b"d")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("XGROUP", "DESTROY", "s", "g"), "NOGROUP"),
        (("DEL", "s"), "NOGROUP"),
        (("SET", "s", "v"), "WRONGTYPE"),
    ],
)
def test_a_consumer_whose_group_is_gone(redis: Harness, change: tuple[str, ...], code: str) -> None:
    redis.run("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    waiting = Caller(redis).wait("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">")
    redis.run(*change)
    assert isinstance(waiting.value, CommandError)
    assert waiting.value.code == code


def test_a_reader_does_not_mind_what_else_happens_to_the_key(redis: Harness) -> None:
    waiting = Caller(redis).wait("XREAD", "BLOCK", 0, "STREAMS", "s", 0)
    redis.run("SET", "s", "v")
    redis.run("DEL", "s")
    redis.run("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    assert not waiting.ready
    redis.run("XADD", "other", 1, "a", 1)
    redis.run("RENAME", "other", "s")
    assert waiting.value == [(b"s", encode2([[b"1-0", [b"a", b"1"]]]))]


def test_the_history_never_waits(redis: Harness) -> None:
    redis.run("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    assert Caller(redis).run("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", 0) == [(b"s", [])]


# Replicas -------------------------------------------------------------------------------------------------------------


def _request(rng: random.Random) -> list[object]:
    consumer, number = rng.choice("cde"), rng.randrange(1, 40)
    return list(
        rng.choice(
            [
                ("XADD", "s", "*", "a", number),
                ("XADD", "s", "*", "a", number),
                ("XADD", "s", "MAXLEN", "~", number, "*", "b", number),
                ("XADD", "s", "MINID", "~", START_MS + number, "LIMIT", 5, "*", "b", number),
                ("XTRIM", "s", "MAXLEN", "~", number),
                ("XTRIM", "s", "MAXLEN", number),
                ("XDEL", "s", START_MS + number),
                ("XREADGROUP", "GROUP", "g", consumer, "COUNT", 3, "STREAMS", "s", ">"),
                ("XREADGROUP", "GROUP", "g", consumer, "NOACK", "COUNT", 2, "STREAMS", "s", ">"),
                ("XACK", "s", "g", START_MS + number),
                ("XCLAIM", "s", "g", consumer, 0, START_MS + number, START_MS + 1, "FORCE"),
                ("XAUTOCLAIM", "s", "g", consumer, 0, START_MS + number, "COUNT", 2),
                ("XGROUP", "SETID", "s", "g", START_MS + number),
                ("XGROUP", "DELCONSUMER", "s", "g", consumer),
            ]
        )
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_replica_has_the_same(seed: int) -> None:
    """Whatever happened, running what replicas are told gives the same stream, node for node."""
    rng = random.Random(seed)
    settings = {"stream-node-max-entries": "4"}
    primary, replica = Harness(settings=settings), Harness(settings=settings)
    replica.client.is_primary = True
    told = Told(primary)
    requests: list[list[object]] = [["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"]]
    requests += [_request(rng) for _ in range(300)]
    for request in requests:
        primary.advance(rng.choice((0, 0, 1)))
        replica.node.set_time(primary.node.now_ms)
        for command in told.of(*map(encoded, request)):
            replica.wire(*command)
    ours, theirs = plain_stream(stream_at(primary)), plain_stream(stream_at(replica))
    for plain in (ours, theirs):
        last_id, entries_read, pending, consumers = plain["groups"][b"g"]
        plain["groups"] = last_id, entries_read, pending, {name: ids for name, ids in consumers.items() if ids}
    assert ours == theirs


# Bounds ---------------------------------------------------------------------------------------------------------------


def test_huge_counts(redis: Harness) -> None:
    redis.run("XADD", "s", 1, "a", 1)
    redis.run("XGROUP", "CREATE", "s", "g", 0)
    most = 9223372036854775807
    assert redis.run("XRANGE", "s", "-", "+", "COUNT", most) == encode2([[b"1-0", [b"a", b"1"]]])
    assert redis.run("XREADGROUP", "GROUP", "g", "c", "COUNT", most, "STREAMS", "s", ">")
    assert redis.run("XPENDING", "s", "g", "-", "+", most)
    assert redis.run("XAUTOCLAIM", "s", "g", "d", 0, 0, "COUNT", most // 16)[1] == encode2([[b"1-0", [b"a", b"1"]]])
    assert redis.run("XINFO", "STREAM", "s", "FULL", "COUNT", most)[b"length"] == 1


def test_autoclaim_looks_at_ten_entries_for_one(redis: Harness) -> None:
    for number in range(1, 31):
        redis.run("XADD", "s", number, "a", 1)
    redis.run("XGROUP", "CREATE", "s", "g", 0)
    redis.run("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    assert redis.run("XAUTOCLAIM", "s", "g", "d", 1000, 0, "COUNT", 2) == [b"21-0", b"*0\r\n", []]


def test_one_entry_of_a_big_node_is_read_alone(redis: Harness) -> None:
    """Reading one entry does not decode its node: what is not asked for is not shown."""
    for number in range(1, 101):
        redis.run("XADD", "s", number, "a", number)
    assert redis.run("XRANGE", "s", 50, 50) == encode2([[b"50-0", [b"a", b"50"]]])
    shown = stream_at(redis).nodes()[0].shown
    assert shown is not None
    assert [text for text in shown if text is not None] == [entry("50-0", "a", "50")]
