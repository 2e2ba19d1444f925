"""String commands in process: what needs a clock of our own, what replicas and observers are told, sizes and counts."""

from __future__ import annotations

import pytest

from tests.commands.harness import START_MS, Harness, RecordingObserver


@pytest.fixture
def redis() -> Harness:
    return Harness()


def events(redis: Harness) -> list[tuple[str, bytes]]:
    """A list that fills with the keyspace events from here on."""
    observer = RecordingObserver()
    redis.node.observers.append(observer)
    return observer.seen


def deadline(redis: Harness, key: bytes) -> int | None:
    return redis.node.databases[0].expires.get(key)


@pytest.mark.parametrize(
    ("request_", "lives_ms"),
    [
        (("SET", "k", "v", "EX", 2), 2000),
        (("SET", "k", "v", "PX", 20), 20),
        (("SET", "k", "v", "EXAT", START_MS // 1000 + 3), 3000),
        (("SET", "k", "v", "PXAT", START_MS + 7), 7),
        (("SETEX", "k", 2, "v"), 2000),
        (("PSETEX", "k", 20, "v"), 20),
    ],
)
def test_a_key_lives_to_the_millisecond(redis: Harness, request_: tuple[object, ...], lives_ms: int) -> None:
    redis.run(*request_)
    assert deadline(redis, b"k") == START_MS + lives_ms
    redis.advance(lives_ms - 1)
    assert redis.run("GET", "k") == b"v"
    redis.advance(1)
    assert redis.run("GET", "k") is None
    assert redis.node.databases[0].keys_of(b"k") == {}


@pytest.mark.parametrize(
    ("request_", "lives_ms"),
    [
        (("GETEX", "k", "EX", 2), 2000),
        (("GETEX", "k", "PX", 20), 20),
        (("GETEX", "k", "EXAT", START_MS // 1000 + 3), 3000),
        (("GETEX", "k", "PXAT", START_MS + 7), 7),
        (("GETEX", "k", "PERSIST"), None),
        (("GETEX", "k"), 500),
    ],
)
def test_getex_moves_the_deadline(redis: Harness, request_: tuple[object, ...], lives_ms: int | None) -> None:
    redis.run("SET", "k", "v", "PX", 500)
    assert redis.run(*request_) == b"v"
    assert deadline(redis, b"k") == (None if lives_ms is None else START_MS + lives_ms)


def test_getex_with_a_time_that_is_past_deletes(redis: Harness) -> None:
    redis.run("SET", "k", "v")
    seen = events(redis)
    assert redis.run("GETEX", "k", "PXAT", START_MS) == b"v"
    assert redis.node.databases[0].keys_of(b"k") == {}
    assert seen == [("del", b"k")]


@pytest.mark.parametrize(
    "request_",
    [
        ("APPEND", "k", "1"),
        ("SETRANGE", "k", 0, "1"),
        ("INCR", "k"),
        ("INCRBYFLOAT", "k", "1.5"),
        ("SET", "k", "2", "KEEPTTL"),
        ("SET", "k", "2", "KEEPTTL", "GET"),
    ],
)
def test_the_expiry_stays(redis: Harness, request_: tuple[object, ...]) -> None:
    redis.run("SET", "k", "1", "PX", 500)
    redis.run(*request_)
    assert deadline(redis, b"k") == START_MS + 500


@pytest.mark.parametrize("request_", [("SET", "k", "2"), ("GETSET", "k", "2"), ("MSET", "k", "2"), ("GETDEL", "k")])
def test_the_expiry_goes(redis: Harness, request_: tuple[object, ...]) -> None:
    redis.run("SET", "k", "1", "PX", 500)
    redis.run(*request_)
    redis.run("APPEND", "k", "")
    assert deadline(redis, b"k") is None


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (("SET", "k", "new", "NX"), "OK"),
        (("SET", "k", "new", "XX"), None),
        (("SET", "k", "new", "GET"), None),
        (("SETNX", "k", "new"), 1),
        (("MSETNX", "k", "new"), 1),
        (("APPEND", "k", "new"), 3),
        (("INCR", "k"), 1),
        (("INCRBYFLOAT", "k", "2"), b"2"),
        (("SETRANGE", "k", 1, "x"), 2),
        (("GETSET", "k", "new"), None),
        (("GETDEL", "k"), None),
        (("STRLEN", "k"), 0),
        (("MGET", "k"), [None]),
        (("HSET", "k", "f", "v"), 1),
        (("SET", "k", "new", "KEEPTTL"), "OK"),
    ],
)
def test_an_expired_key_is_not_there(redis: Harness, request_: tuple[object, ...], reply: object) -> None:
    redis.run("SET", "k", "100", "PX", 10)
    redis.advance(10)
    seen = events(redis)
    assert redis.run(*request_) == reply
    assert seen[0] == ("expired", b"k")
    assert deadline(redis, b"k") is None
    assert redis.node.stats.expired_keys == 1


def test_an_expired_value_of_another_type_is_no_wrong_type(redis: Harness) -> None:
    redis.run("HSET", "h", "f", "v")
    redis.node.databases[0].expires[b"h"] = START_MS + 5
    assert "WRONGTYPE" in redis.error("GET", "h")
    redis.advance(5)
    assert redis.run("INCR", "h") == 1


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (("SET", "k", "v"), [("set", b"k")]),
        (("SET", "k", "v", "EX", 5), [("set", b"k"), ("expire", b"k")]),
        (("SETEX", "k", 5, "v"), [("set", b"k"), ("expire", b"k")]),
        (("SETNX", "k", "v"), [("set", b"k")]),
        (("GETSET", "k", "v"), [("set", b"k")]),
        (("MSET", "a", 1, "b", 2), [("set", b"a"), ("set", b"b")]),
        (("MSETNX", "a", 1, "n", 2), []),
        (("APPEND", "k", "v"), [("append", b"k")]),
        (("SETRANGE", "k", 1, "v"), [("setrange", b"k")]),
        (("SETRANGE", "k", 1, ""), []),
        (("INCR", "a"), [("incrby", b"a")]),
        (("DECRBY", "a", 5), [("incrby", b"a")]),
        (("INCRBYFLOAT", "a", 5), [("incrbyfloat", b"a")]),
        (("GETDEL", "a"), [("del", b"a")]),
        (("GETEX", "a", "EX", 5), [("expire", b"a")]),
        (("GETEX", "t", "PERSIST"), [("persist", b"t")]),
        (("GETEX", "a", "PERSIST"), []),
        (("GET", "a"), []),
        (("SET", "a", "v", "NX"), []),
    ],
)
def test_observers_are_told(redis: Harness, request_: tuple[object, ...], told: list[tuple[str, bytes]]) -> None:
    redis.run("SET", "a", 10)
    redis.run("SET", "t", 10, "EX", 100)
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    changes = {"MSET": 2, "SETRANGE": len(told)}.get(str(request_[0]), min(len(told), 1))
    assert redis.node.dirty - before == changes


def test_hits_and_misses_are_counted(redis: Harness) -> None:
    redis.run("SET", "a", 1)
    stats = redis.node.stats
    redis.run("MGET", "a", "b", "a")
    redis.run("GET", "a")
    redis.run("STRLEN", "b")
    redis.run("INCR", "b")
    assert (stats.keyspace_hits, stats.keyspace_misses) == (3, 2)


def test_replies_do_not_change_with_the_value(redis: Harness) -> None:
    redis.run("APPEND", "k", "ab")
    redis.run("APPEND", "k", "c")
    replies = [redis.run("GET", "k"), redis.run("GETRANGE", "k", 0, -1), redis.run("MGET", "k")[0]]
    redis.run("APPEND", "k", "d")
    redis.run("SETRANGE", "k", 0, "X")
    assert replies == [b"abc"] * 3
    assert redis.run("GET", "k") == b"Xbcd"


def test_nothing_is_created_by_a_refused_request(redis: Harness) -> None:
    for request in (
        ("SETRANGE", "k", 1 << 29, "x"),
        ("SETRANGE", "k", 1 << 62, "x"),
        ("INCRBYFLOAT", "k", "inf"),
        ("INCRBY", "k", "x"),
        ("SET", "k", "v", "EX", 0),
        ("SETEX", "k", 0, "v"),
    ):
        assert redis.error(*request).startswith("ERR ")
    assert len(redis.node.databases[0]) == 0


def test_the_limit_of_a_string_is_a_setting(redis: Harness) -> None:
    redis = Harness(settings={"proto-max-bulk-len": "1mb"})
    assert redis.run("SETRANGE", "k", (1 << 20) - 1, "x") == 1 << 20
    assert "proto-max-bulk-len" in redis.error("APPEND", "k", "x")
    assert "proto-max-bulk-len" in redis.error("SETRANGE", "k", 1 << 20, "x")
    redis.client.is_primary = True
    redis.run("APPEND", "k", "x")
    assert redis.run("STRLEN", "k") == (1 << 20) + 1
