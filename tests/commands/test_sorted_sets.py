"""Sorted set commands in process: what observers and replicas are told, payloads, scanning, cluster slots."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.persistence import listpack
from node.persistence.encodings import LOADERS, zsets
from node.persistence.errors import NeedMore, PayloadError
from node.persistence.options import SaveOptions
from node.persistence.payload import dump, restore
from node.persistence.wire import Cursor, encode_string
from node.types.zset import ZSet
from tests.commands.harness import START_MS, Harness
from tests.commands.test_strings import events
from tests.persistence import samples


@pytest.fixture
def redis() -> Harness:
    return Harness()


@pytest.mark.parametrize(
    ("request_", "told", "changes"),
    [
        (("ZADD", "z", 9, "new"), [("zadd", b"z")], 1),
        (("ZADD", "z", 1, "a"), [], 0),
        (("ZADD", "z", 9, "a", 9, "new", 2, "b"), [("zadd", b"z")], 2),
        (("ZADD", "z", "XX", 9, "new"), [], 0),
        (("ZADD", "z", "INCR", 9, "a"), [("zincr", b"z")], 1),
        (("ZINCRBY", "z", 0, "a"), [], 0),
        (("ZINCRBY", "z", 1, "a"), [("zincr", b"z")], 1),
        (("ZREM", "z", "a", "x"), [("zrem", b"z")], 1),
        (("ZREM", "z", "a", "b", "c"), [("zrem", b"z"), ("del", b"z")], 3),
        (("ZREM", "z", "x"), [], 0),
        (("ZREMRANGEBYRANK", "z", 0, 1), [("zremrangebyrank", b"z")], 2),
        (("ZREMRANGEBYSCORE", "z", 0, 9), [("zremrangebyscore", b"z"), ("del", b"z")], 3),
        (("ZREMRANGEBYLEX", "z", "[a", "[a"), [("zremrangebylex", b"z")], 1),
        (("ZPOPMIN", "z"), [("zpopmin", b"z")], 1),
        (("ZPOPMAX", "z", 2), [("zpopmax", b"z")], 2),
        (("ZPOPMAX", "z", 9), [("zpopmax", b"z"), ("del", b"z")], 3),
        (("ZMPOP", 1, "z", "MIN", "COUNT", 2), [("zpopmin", b"z")], 2),
        (("ZUNIONSTORE", "d", 1, "z"), [("zunionstore", b"d")], 1),
        (("ZINTERSTORE", "z", 2, "z", "nothing"), [("del", b"z")], 1),
        (("ZDIFFSTORE", "d", 2, "z", "z"), [], 0),
        (("ZRANGESTORE", "d", "z", 0, 1), [("zrangestore", b"d")], 1),
        (("ZRANGE", "z", 0, -1), [], 0),
        (("GEOADD", "z", 1, 1, "p", 2, 2, "q"), [("zadd", b"z")], 2),
        (("GEOSEARCHSTORE", "d", "z", "FROMLONLAT", 0, 0, "BYRADIUS", 1, "m"), [], 0),
        (("GEOSEARCHSTORE", "d", "z", "FROMMEMBER", "a", "BYRADIUS", 1, "m"), [("geosearchstore", b"d")], 3),
        (("GEORADIUSBYMEMBER", "z", "a", 1, "m", "STORE", "d"), [("georadiusstore", b"d")], 3),
    ],
)
def test_observers_are_told(
    redis: Harness, request_: tuple[object, ...], told: list[tuple[str, bytes]], changes: int
) -> None:
    redis.run("ZADD", "z", 1, "a", 2, "b", 3, "c")
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    assert redis.node.dirty - before == changes


def test_an_empty_sorted_set_takes_its_expiry_with_it(redis: Harness) -> None:
    redis.run("ZADD", "z", 1, "a")
    redis.node.databases[0].expires[b"z"] = START_MS + 500
    redis.run("ZPOPMIN", "z")
    assert redis.node.databases[0].expires == {}
    assert len(redis.node.databases[0]) == 0


@pytest.mark.parametrize(
    "request_",
    [
        ("ZADD", "z", "x", "a"),
        ("ZADD", "z", 1, "a", "x", "b"),
        ("ZADD", "z", "NX", "XX", 1, "a"),
        ("ZINCRBY", "z", "nan", "a"),
        ("GEOADD", "z", 1, 1, "a", 200, 1, "b"),
        ("ZUNIONSTORE", "z", 1, "a", "BOGUS"),
        ("GEOSEARCHSTORE", "z", "a", "FROMMEMBER", "x", "BYRADIUS", -1, "m"),
    ],
)
def test_nothing_is_created_by_a_refused_request(redis: Harness, request_: tuple[object, ...]) -> None:
    assert redis.error(*request_).startswith("ERR ")
    assert len(redis.node.databases[0]) == 0


def test_a_sum_that_is_no_number_changes_nothing(redis: Harness) -> None:
    redis.run("ZADD", "z", "inf", "a")
    assert redis.error("ZINCRBY", "z", "-inf", "a") == "ERR resulting score is not a number (NaN)"
    assert redis.run("ZSCORE", "z", "a") == float("inf")


def test_a_count_without_end_is_refused(redis: Harness) -> None:
    redis.run("ZADD", "z", 1, "a")
    assert redis.error("ZRANDMEMBER", "z", -(1 << 40)) == "ERR value is out of range"
    assert redis.run("ZRANDMEMBER", "nothing", -(1 << 40)) == []


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        (("ZUNIONSTORE", "d", 2, "a", "b", "WEIGHTS", 1, 2), [b"d", b"a", b"b"]),
        (("ZINTER", 2, "a", "b", "WITHSCORES"), [b"a", b"b"]),
        (("ZMPOP", 1, "a", "MIN"), [b"a"]),
        (("ZRANGESTORE", "d", "a", 0, -1), [b"d", b"a"]),
        (("GEOSEARCHSTORE", "d", "a", "FROMMEMBER", "x", "BYRADIUS", 1, "m"), [b"d", b"a"]),
        (("GEORADIUS", "a", 1, 1, 1, "m", "STORE", "d"), [b"a", b"d"]),
        (("GEORADIUS", "a", 1, 1, 1, "m", "STORE", "d", "STOREDIST", "e"), [b"a", b"e"]),
        (("GEORADIUSBYMEMBER", "a", "STORE", 1, "m", "ASC"), [b"a"]),
        (("GEORADIUS", "a", 1, 1, 1, "m"), [b"a"]),
    ],
)
def test_keys(redis: Harness, request_: tuple[object, ...], keys: list[bytes]) -> None:
    assert redis.run("COMMAND", "GETKEYS", *request_) == keys


def test_keys_of_several_slots_are_refused() -> None:
    redis = Harness(clustered=True)
    for request in (
        ("ZUNIONSTORE", "{a}d", 2, "{a}x", "{b}y"),
        ("ZINTERCARD", 2, "{a}x", "{b}y"),
        ("ZRANGESTORE", "{a}d", "{b}x", 0, -1),
        ("GEORADIUS", "{a}x", 1, 1, 1, "m", "STORE", "{b}d"),
    ):
        assert redis.error(*request).startswith("CROSSSLOT")
    assert redis.run("ZADD", "{a}x", 1, "m") == 1
    assert redis.run("ZUNIONSTORE", "{a}d", 2, "{a}x", "{a}y") == 1


def test_sets_and_sorted_sets_together(redis: Harness) -> None:
    redis.run("SADD", "ints", 1, 2, 3)
    redis.run("SADD", "texts", "a", "1")
    redis.run("ZADD", "z", 5, "1", 7, "b")
    assert redis.run("ZUNION", 3, "ints", "texts", "z", "WITHSCORES") == [
        *(b"2", 1.0, b"3", 1.0, b"a", 1.0, b"1", 7.0, b"b", 7.0)
    ]


# Payloads -------------------------------------------------------------------------------------------------------------


def zset(size: int) -> ZSet:
    return ZSet.loaded({b"member:%d" % at: at / 4 for at in range(size)}, listpack=size <= 128)


@pytest.mark.parametrize("size", [1, 128, 129, 2000])
def test_payloads_come_back(size: int) -> None:
    value = zset(size)
    restored = restore(dump(value))
    assert isinstance(restored, ZSet)
    assert restored.ascending() == value.ascending()
    assert dump(value)[0] == (17 if size <= 128 else 5)


@pytest.mark.parametrize("size", [1, 128, 129, 511, 512, 513, 2000])
def test_payloads_in_pieces(size: int) -> None:
    value = zset(size)
    assert b"".join(zsets.save_piecewise(value, SaveOptions())) == b"".join(zsets.save(value, SaveOptions()))


@pytest.mark.parametrize("name", ["text", "binary"])
def test_what_arrives_byte_by_byte_is_read_once(name: str) -> None:
    body = OLD[name]
    load = LOADERS[body[0]]
    assert load is not None
    cursor = Cursor(body, 1)
    for end in range(1, len(body) + 1):
        cursor.end = end
        cursor.pos = cursor.mark = max(cursor.mark, 1)
        try:
            value = load(cursor)
        except NeedMore:
            continue
        assert end == len(body)
        assert isinstance(value, ZSet)
        assert len(value) == body[1]


OLD = {
    "text": b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff",
    "binary": b"\x05\x02\x01a" + struct.pack("<d", -2.5) + b"\x01b" + struct.pack("<d", float("inf")),
    "ziplist": b"\x0c" + encode_string(samples.ziplist([b"a", b"1", b"b", b"2.5", b"c", b"inf"]), False),
    "listpack": b"\x11" + encode_string(listpack.encode([b"a", b"1", b"b", b"2.5", b"ccc", b"-70000"]), False),
}


def test_old_encodings_are_read() -> None:
    infinity = float("inf")
    expected = {
        "text": {b"a": 1.5, b"b": infinity, b"c": -infinity},
        "binary": {b"a": -2.5, b"b": infinity},
        "ziplist": {b"a": 1.0, b"b": 2.5, b"c": infinity},
        "listpack": {b"a": 1.0, b"b": 2.5, b"ccc": -70000.0},
    }
    for name, body in OLD.items():
        value = restore(samples.seal(body))
        assert isinstance(value, ZSet)
        assert value.lookup() == expected[name]


@pytest.mark.parametrize(
    "body",
    [
        b"\x05\x00",
        b"\x05\x02\x01a" + bytes(8) + b"\x01a" + bytes(8),
        b"\x05\x01\x01a" + struct.pack("<d", float("nan")),
        b"\x05\x01\x01a" + bytes(7),
        b"\x05\x81\x10" + bytes(7) + b"\x01a" + bytes(8),
        b"\x03\x01\x01a\xfd",
        b"\x03\x01\x01a\x03abc",
        b"\x03\x01\x01a\x03nan",
        b"\x11" + encode_string(listpack.encode([]), False),
        b"\x11" + encode_string(listpack.encode([b"a"]), False),
        b"\x11" + encode_string(listpack.encode([b"a", b"1", b"a", b"2"]), False),
        b"\x11" + encode_string(listpack.encode([b"a", b"x"]), False),
        b"\x11" + encode_string(listpack.encode([b"a", b"nan"]), False),
    ],
)
def test_bad_payloads_are_refused(redis: Harness, body: bytes) -> None:
    assert redis.error("RESTORE", "k", 0, samples.seal(body)) == "ERR Bad data format"


@pytest.mark.parametrize("name", OLD)
def test_damage_under_a_right_checksum(redis: Harness, name: str) -> None:
    """Whatever is taken can be worked with."""
    source = random.Random(7)
    taken = 0
    for _ in range(1500):
        body = bytearray(OLD[name])
        for _ in range(source.randrange(1, 3)):
            body[source.randrange(1, len(body))] = source.randrange(256)
        try:
            value = restore(samples.seal(bytes(body)))
        except PayloadError:
            continue
        assert isinstance(value, ZSet)
        taken += 1
        redis.run("RESTORE", "k", 0, samples.seal(bytes(body)), "REPLACE")
        redis.run("ZADD", "k", 1, "new")
        members = redis.run("ZRANGE", "k", 0, -1)
        assert [redis.run("ZRANK", "k", member) for member in members] == list(range(len(members)))
        redis.run("ZPOPMAX", "k", 2)
        dump(value)
    assert taken > 20


def test_copy_and_rename(redis: Harness) -> None:
    redis.run("ZADD", "z", *[text for at in range(300) for text in (at, f"m{at}")])
    redis.run("COPY", "z", "twin")
    redis.run("ZREM", "z", "m5")
    redis.run("RENAME", "z", "other")
    assert redis.run("ZCARD", "twin") == 300
    assert redis.run("ZRANK", "other", "m6") == 5
    assert redis.run("TYPE", "twin") == "zset"
    assert redis.run("OBJECT", "ENCODING", "twin") == b"skiplist"


# Scanning -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1999)), max_size=400), st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_what_is_there_throughout_is_returned(changes: list[tuple[bool, int]], count: int) -> None:
    redis = Harness()
    redis.run("ZADD", "z", *[text for at in range(1500) for text in (at, f"m{at}")])
    kept = {b"m%d" % at for at in range(1500)} - {b"m%d" % at for adds, at in changes if not adds}
    cursor, left = b"0", list(changes)
    names: set[bytes] = set()
    while True:
        cursor, texts = redis.run("ZSCAN", "z", cursor, "COUNT", count)
        names |= set(texts[::2])
        if cursor == b"0":
            break
        for adds, at in left[:30]:
            redis.run("ZADD", "z", -at, f"m{at}") if adds else redis.run("ZREM", "z", f"m{at}")
        del left[:30]
    assert names >= kept


def test_scanning_without_scores(redis: Harness) -> None:
    redis.run("ZADD", "z", 1, "a", 2, "b")
    assert redis.run("ZSCAN", "z", 0, "NOSCORES") == [b"0", [b"a", b"b"]]
