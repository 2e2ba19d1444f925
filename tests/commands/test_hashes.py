"""Hash commands in process: what observers are told, drawing and scanning of big hashes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.config import Config
from node.types.hash import Hash
from tests.commands.harness import START_MS, Harness
from tests.commands.test_strings import events


@pytest.fixture
def redis() -> Harness:
    return Harness()


def filled(redis: Harness, size: int) -> Hash:
    """A hash h of fields f0 ... with their numbers as values."""
    redis.run("HSET", "h", *[text for at in range(size) for text in (f"f{at}", at)])
    found = redis.node.databases[0].keys_of(b"h")[b"h"]
    assert isinstance(found, Hash)
    return found


@pytest.mark.parametrize(
    ("request_", "told", "changes"),
    [
        (("HSET", "h", "a", 1), [("hset", b"h")], 1),
        (("HSET", "h", "a", 1, "b", 2, "c", 3), [("hset", b"h")], 3),
        (("HMSET", "h", "a", 1, "b", 2), [("hset", b"h")], 2),
        (("HSETNX", "h", "new", 1), [("hset", b"h")], 1),
        (("HSETNX", "h", "a", 1), [], 0),
        (("HINCRBY", "h", "a", 1), [("hincrby", b"h")], 1),
        (("HINCRBYFLOAT", "h", "a", 1), [("hincrbyfloat", b"h")], 1),
        (("HDEL", "h", "a"), [("hdel", b"h")], 1),
        (("HDEL", "h", "a", "b", "x"), [("hdel", b"h"), ("del", b"h")], 2),
        (("HDEL", "h", "x"), [], 0),
        (("HGETALL", "h"), [], 0),
    ],
)
def test_observers_are_told(
    redis: Harness, request_: tuple[object, ...], told: list[tuple[str, bytes]], changes: int
) -> None:
    redis.run("HSET", "h", "a", 1, "b", 2)
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    assert redis.node.dirty - before == changes


def test_an_empty_hash_takes_its_expiry_with_it(redis: Harness) -> None:
    redis.run("HSET", "h", "a", 1)
    redis.node.databases[0].expires[b"h"] = START_MS + 500
    redis.run("HSET", "h", "b", 1)
    assert redis.node.databases[0].expires[b"h"] == START_MS + 500
    redis.run("HDEL", "h", "a", "b")
    assert redis.node.databases[0].expires == {}
    assert len(redis.node.databases[0]) == 0


def test_nothing_is_created_by_a_refused_request(redis: Harness) -> None:
    for request in (("HINCRBY", "h", "a", "x"), ("HINCRBYFLOAT", "h", "a", "inf"), ("HSET", "h", "a", 1, "b")):
        assert redis.error(*request).startswith("ERR ")
    assert len(redis.node.databases[0]) == 0


def test_replies_do_not_change_with_the_hash(redis: Harness) -> None:
    redis.run("HSET", "h", "a", 1)
    replies = [redis.run(name, "h") for name in ("HGETALL", "HKEYS", "HVALS")]
    replies.append(redis.run("HSCAN", "h", 0)[1])
    redis.run("HSET", "h", "a", 2, "b", 3)
    assert replies == [{b"a": b"1"}, [b"a"], [b"1"], [b"a", b"1"]]


# Drawing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 100, 400])
@pytest.mark.parametrize("disturbed", [False, True])
def test_every_field_is_drawn_equally_often(size: int, disturbed: bool) -> None:
    redis = Harness(seed=7)
    filled(redis, size)
    if disturbed:
        redis.run("HRANDFIELD", "h", -1)
        redis.run("HDEL", "h", *[f"f{at}" for at in range(0, size, 3)])
        redis.run("HSET", "h", *[text for at in range(0, size, 6) for text in (f"f{at}", 1)])
        redis.run("HSET", "h", "new", 1)
    fields = redis.run("HKEYS", "h")
    draws = 200 * len(fields)
    drawn: Counter[bytes] = Counter(redis.run("HRANDFIELD", "h", -draws))
    assert drawn.keys() == set(fields)
    # A sum of squares over its mean of about len(fields), with 6 standard deviations to spare.
    surplus = sum((count - 200) ** 2 for count in drawn.values()) / 200
    assert surplus < len(fields) + 6 * (2 * len(fields)) ** 0.5


@pytest.mark.parametrize("size", [10, 128, 129, 1000])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1, 2])
def test_a_positive_count_draws_different_fields(redis: Harness, size: int, share: float) -> None:
    filled(redis, size)
    count = max(1, int(size * share))
    drawn = redis.run("HRANDFIELD", "h", count)
    assert len(drawn) == len(set(drawn)) == min(count, size)
    pairs = redis.run("HRANDFIELD", "h", count, "WITHVALUES")
    assert all(value == name[1:] for name, value in zip(pairs[::2], pairs[1::2], strict=True))


def test_drawing_from_a_million_fields_does_not_list_them_each_time() -> None:
    """Counted in draws, not in seconds: the list is made once and survives writes."""
    found = Hash({b"%d" % at: b"" for at in range(200_000)})
    source = random.Random(5)
    found.random_fields(1, source)
    urn = found._urn
    for at in range(1000):
        found.remove(b"%d" % at)
        assert found.put(b"new%d" % at, b"", Config())
        (drawn,) = found.random_fields(1, source)
        assert drawn in found
    assert found._urn is urn


@given(st.lists(st.tuples(st.sampled_from("ard"), st.integers(0, 200)), max_size=300), st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None)
def test_drawn_fields_are_there_whatever_was_added_and_removed(steps: list[tuple[str, int]], seed: int) -> None:
    found = Hash({b"start%d" % at: b"" for at in range(600)})
    limits = Config()
    source = random.Random(seed)
    for action, number in steps:
        field = b"%d" % number if number > 100 else b"start%d" % number
        if action == "a":
            found.put(field, b"", limits)
        elif action == "r":
            found.remove(field)
        else:
            assert found.lookup().keys() >= set(found.random_fields(3, source))
    urn = found._urn
    if urn is not None:
        assert set(urn.names) - urn.gone == found.lookup().keys()
        assert len(urn.names) == len(set(urn.names))


def test_a_count_without_end_is_refused(redis: Harness) -> None:
    filled(redis, 3)
    assert redis.error("HRANDFIELD", "h", -(1 << 40)) == "ERR value is out of range"
    assert redis.run("HRANDFIELD", "nothing", -(1 << 40)) == []
    assert redis.run("HRANDFIELD", "h", 1 << 40) == [b"f0", b"f1", b"f2"]
    redis.run("HSET", "h", "f0", "x" * (1 << 20), "f1", "x" * (1 << 20), "f2", "x" * (1 << 20))
    assert len(redis.run("HRANDFIELD", "h", -2000)) == 2000
    assert redis.error("HRANDFIELD", "h", -2000, "WITHVALUES") == "ERR value is out of range"


# Scanning -------------------------------------------------------------------------------------------------------------


def scan_all(redis: Harness, *options: object) -> list[bytes]:
    """All fields of h by HSCAN, as they come."""
    cursor, names = b"0", []
    while True:
        cursor, texts = redis.run("HSCAN", "h", cursor, *options)
        names += texts[::2]
        if cursor == b"0":
            return names


def test_a_small_hash_comes_at_once(redis: Harness) -> None:
    filled(redis, 512)
    cursor, texts = redis.run("HSCAN", "h", 0, "COUNT", 1)
    assert cursor == b"0"
    assert len(texts) == 1024


@pytest.mark.parametrize("size", [513, 1024, 1025, 5000])
def test_a_big_hash_comes_in_pages(redis: Harness, size: int) -> None:
    filled(redis, size)
    cursor, texts = redis.run("HSCAN", "h", 0)
    assert cursor != b"0"
    assert len(texts) == 20
    names = scan_all(redis, "COUNT", 100)
    assert sorted(names) == sorted(b"f%d" % at for at in range(size))
    assert redis.run("HSCAN", "h", 0, "COUNT", size, "NOVALUES")[1] == names


class CountedFields(dict[bytes, bytes]):
    """Counts how often it is walked through."""

    walks = 0

    def __iter__(self) -> Iterator[bytes]:
        self.walks += 1
        return super().__iter__()


def test_a_scan_walks_a_big_hash_once(redis: Harness) -> None:
    found = filled(redis, 5000)
    fields = found.store = CountedFields(found.lookup())
    assert len(scan_all(redis, "COUNT", 10)) == 5000
    assert fields.walks == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1999)), max_size=400), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_what_is_there_throughout_is_returned(changes: list[tuple[bool, int]], count: int) -> None:
    redis = Harness()
    filled(redis, 1500)
    kept = {b"f%d" % at for at in range(1500)} - {b"f%d" % at for adds, at in changes if not adds}
    cursor, left = b"0", list(changes)
    names: set[bytes] = set()
    while True:
        cursor, texts = redis.run("HSCAN", "h", cursor, "COUNT", count)
        names |= set(texts[::2])
        if cursor == b"0":
            break
        for adds, at in left[:30]:
            redis.run("HSET", "h", f"f{at}", at) if adds else redis.run("HDEL", "h", f"f{at}")
        del left[:30]
    assert names >= kept


def test_two_keys_are_scanned_at_once(redis: Harness) -> None:
    filled(redis, 3000)
    redis.run("HSET", "g", *[text for at in range(3000) for text in (f"g{at}", at)])
    cursors = {"h": b"0", "g": b"0"}
    names: dict[str, set[bytes]] = {"h": set(), "g": set()}
    while True:
        for key in cursors:
            cursors[key], texts = redis.run("HSCAN", key, cursors[key], "COUNT", 700, "NOVALUES")
            names[key] |= set(texts)
        if cursors == {"h": b"0", "g": b"0"}:
            break
    assert names == {key: {b"%s%d" % (prefix, at) for at in range(3000)} for key, prefix in (("h", b"f"), ("g", b"g"))}


def test_a_reply_that_was_kept_is_not_told_after_a_change(redis: Harness) -> None:
    """Every way to change a small hash or sorted set, between two equal reads."""
    redis.run("HSET", "h", "a", 1, "b", 2)
    redis.run("ZADD", "z", 1, "a", 2, "b")
    for change, fields in (
        ("HSET h a 3", {b"a": b"3", b"b": b"2"}),
        ("HSET h c 1 d 2", {b"a": b"3", b"b": b"2", b"c": b"1", b"d": b"2"}),
        ("HDEL h c d", {b"a": b"3", b"b": b"2"}),
        ("HINCRBY h a 1", {b"a": b"4", b"b": b"2"}),
        ("HINCRBYFLOAT h a 0.5", {b"a": b"4.5", b"b": b"2"}),
        ("HSETNX h e 1", {b"a": b"4.5", b"b": b"2", b"e": b"1"}),
        ("HGETDEL h FIELDS 1 e", {b"a": b"4.5", b"b": b"2"}),
        ("HSETEX h FIELDS 1 a 9", {b"a": b"9", b"b": b"2"}),
        ("HPEXPIRE h 10 FIELDS 1 a", {b"a": b"9", b"b": b"2"}),
    ):
        assert redis.run("HGETALL", "h") == redis.run("HGETALL", "h")
        redis.run(*change.split())
        assert redis.run("HGETALL", "h") == fields, change
    redis.advance(10)
    assert redis.run("HGETALL", "h") == {b"b": b"2"}
    for change, members in (
        ("ZADD z 3 a", [b"b", b"a"]),
        ("ZINCRBY z -5 a", [b"a", b"b"]),
        ("ZADD z 0 c", [b"a", b"c", b"b"]),
        ("ZREM z c", [b"a", b"b"]),
        ("ZPOPMAX z", [b"a"]),
    ):
        assert redis.run("ZRANGE", "z", 0, -1) == redis.run("ZRANGE", "z", 0, -1)
        redis.run(*change.split())
        assert redis.run("ZRANGE", "z", 0, -1) == members, change
