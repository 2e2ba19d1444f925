"""Commands newer than Redis 7.2 in process: digests, conditions, what is propagated."""

from __future__ import annotations

import random

import pytest

from node.persistence.crc64 import crc64
from node.persistence.errors import PayloadError
from node.persistence.options import SaveOptions
from node.persistence.payload import dump, restore
from node.persistence.rdb import RdbReader, RdbWriter
from node.persistence.records import Key
from node.types.hash import Hash
from node.types.xxh3 import hex_digest
from tests.commands.harness import START_MS, Harness
from tests.commands.test_strings import events
from tests.oracle.oracle import Told

_TEXT = bytes((at * 7 + at // 256 * 13 + 3) % 256 for at in range(5000))
_VECTORS = [
    (0, "2d06800538d394c2"),
    (1, "13e608bc156defed"),
    (2, "1c9074b93943b86c"),
    (3, "a9088dda485b481c"),
    (4, "6d9253b16c8b1ed3"),
    (5, "998620e10e3a4b37"),
    (8, "60539db630471163"),
    (9, "feff668361d723a8"),
    (16, "b8c859b0f030b585"),
    (17, "714a04408e79b80f"),
    (32, "19ff4ee1d6ba1a55"),
    (33, "3e44983ad21679c8"),
    (64, "287eb1fa9e4be2c1"),
    (65, "829218de4d798646"),
    (128, "67425a03650261bf"),
    (129, "c664bf3311c6abc4"),
    (160, "d70dea8de694b883"),
    (240, "64556dc6b462a6cf"),
    (241, "8beadd3a8874fe17"),
    (256, "3c38817f6d79c0da"),
    (257, "86edf6e0be1fe465"),
    (512, "0e5b5e129265c2c7"),
    (1024, "a6f1a01606138456"),
    (1025, "ecd2bad8e8ceb864"),
    (1088, "c7d84b42188f514f"),
    (1089, "2390eecebe90a2bb"),
    (2048, "d9591a7a867bbf03"),
    (2049, "45189093da197612"),
    (3333, "3d56d2c13063501c"),
    (5000, "242c1cf3b0a36594"),
]
"""Sizes, and what the reference implementation makes of so many bytes of _TEXT."""


@pytest.fixture
def redis() -> Harness:
    return Harness()


# Strings --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "expected"), _VECTORS)
def test_digests(size: int, expected: str) -> None:
    assert hex_digest(_TEXT[:size]) == expected.encode()


def test_digest(redis: Harness) -> None:
    redis.run("SET", "k", "Hello world")
    assert redis.run("DIGEST", "k") == b"b6acb9d84a38ff74"  # the example of https://redis.io/commands/digest
    assert redis.run("DIGEST", "nothing") is None
    redis.run("HSET", "h", "a", 1)
    assert redis.error("DIGEST", "h").startswith("WRONGTYPE")


@pytest.mark.parametrize(
    ("condition", "match", "holds", "holds_for_none"),
    [
        ("IFEQ", "v", True, False),
        ("IFEQ", "w", False, False),
        ("IFNE", "v", False, True),
        ("IFNE", "w", True, True),
        ("IFDEQ", "digest", True, False),
        ("IFDEQ", "0" * 16, False, False),
        ("IFDNE", "digest", False, True),
        ("IFDNE", "0" * 16, True, True),
    ],
)
def test_conditions(redis: Harness, condition: str, match: str, holds: bool, holds_for_none: bool) -> None:
    redis.run("SET", "k", "v")
    match = redis.run("DIGEST", "k").decode().upper() if match == "digest" else match
    assert redis.run("SET", "nothing", "new", condition, match) == ("OK" if holds_for_none else None)
    assert redis.run("EXISTS", "nothing") == int(holds_for_none)
    assert redis.run("DELEX", "none at all", condition, match) == 0
    assert redis.run("DELEX", "k", condition, match) == int(holds)
    redis.run("SET", "k", "v")
    assert redis.run("SET", "k", "new", condition, match, "GET") == b"v"
    assert redis.run("GET", "k") == (b"new" if holds else b"v")


def test_errors_of_conditions(redis: Harness) -> None:
    redis.run("SET", "k", "v")
    redis.run("HSET", "h", "a", 1)
    assert redis.error("SET", "k", "v", "IFDEQ", "12") == "ERR The digest must be exactly 16 hexadecimal characters"
    assert redis.error("DELEX", "k", "IFDNE", "12") == "ERR The digest must be exactly 16 hexadecimal characters"
    assert redis.error("DELEX", "k", "BOGUS", "12") == "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"
    assert redis.error("DELEX", "k", "IFEQ") == "ERR wrong number of arguments for 'delex' command"
    assert redis.error("DELEX", "h", "IFEQ", "x") == "ERR Key should be of string type if conditions are specified"
    assert redis.error("SET", "h", "v", "IFNE", "x").startswith("WRONGTYPE")
    assert redis.error("SET", "k", "v", "IFNE", "x", "XX") == "ERR syntax error"
    assert redis.run("DELEX", "h") == 1


def test_replicas_are_told_of_strings_in_old_words(redis: Harness) -> None:
    told = Told(redis)
    redis.run("SET", "k", "v")
    assert told.of(b"SET", b"k", b"w", b"IFEQ", b"v") == [[b"SET", b"k", b"w"]]
    assert told.of(b"SET", b"k", b"w", b"IFEQ", b"x") == []
    assert told.of(b"SET", b"k", b"w", b"IFNE", b"x", b"KEEPTTL", b"GET") == [[b"SET", b"k", b"w", b"KEEPTTL"]]
    at = b"99999999999999"
    assert told.of(b"SET", b"k", b"x", b"IFEQ", b"w", b"PXAT", at) == [[b"SET", b"k", b"x", b"PXAT", at]]
    sets = [[b"SET", b"a", b"1", b"PXAT", at], [b"SET", b"b", b"2", b"PXAT", at]]
    assert [one for one in told.of(b"MSETEX", b"2", b"a", b"1", b"b", b"2", b"PXAT", at) if len(one) > 1] == sets
    assert told.of(b"DELEX", b"k", b"IFEQ", b"x") == [[b"DEL", b"k"]]
    assert told.of(b"DELIFEQ", b"a", b"1") == [[b"DEL", b"a"]]
    seen = events(redis)
    redis.run("MSETEX", 2, "a", 1, "b", 2, "EX", 10)
    assert seen == [("set", b"a"), ("expire", b"a"), ("set", b"b"), ("expire", b"b")]


# Fields of hashes that expire -----------------------------------------------------------------------------------------


@pytest.fixture
def hash_(redis: Harness) -> Harness:
    """A hash h of a, b and c."""
    redis.run("HSET", "h", "a", 1, "b", 2, "c", 3)
    return redis


def test_fields_go_when_their_time_has_come(hash_: Harness) -> None:
    assert hash_.run("HPEXPIRE", "h", 50, "FIELDS", 2, "a", "x") == [1, -2]
    assert hash_.run("HPEXPIRE", "h", 80, "FIELDS", 1, "b") == [1]
    hash_.advance(49)
    assert hash_.run("HPTTL", "h", "FIELDS", 3, "a", "b", "c") == [1, 31, -1]
    told = Told(hash_)
    hash_.advance(1)
    assert hash_.run("HGETALL", "h") == {b"b": b"2", b"c": b"3"}
    hash_.advance(1000)
    assert hash_.run("HLEN", "h") == 1
    assert told.of(b"PING") == []
    hash_.run("HPEXPIRE", "h", 5, "FIELDS", 1, "c")
    hash_.advance(5)
    assert hash_.run("EXISTS", "h") == 0


def test_expiry_is_told(hash_: Harness) -> None:
    told = Told(hash_)
    start = hash_.node.now_ms
    deadline = b"%d" % (start + 20)
    expected = [[b"HPEXPIREAT", b"h", deadline, b"FIELDS", b"2", b"a", b"b"]]
    assert told.of(b"HPEXPIRE", b"h", b"20", b"FIELDS", b"2", b"a", b"b") == expected
    seen = events(hash_)
    gone: list[list[bytes]] = []
    hash_.node.replication.feed = lambda database, args: gone.append(list(args))  # type: ignore[method-assign]
    hash_.advance(20)
    assert gone == [[b"HDEL", b"h", b"a", b"b"]]
    assert seen == [("hexpired", b"h")]


@pytest.mark.parametrize("into", ["RENAME h other", "COPY h other", "MOVE h 1", "SWAPDB 0 1", "RESTORE"])
def test_deadlines_go_with_the_hash(hash_: Harness, into: str) -> None:
    hash_.run("HPEXPIRE", "h", 50, "FIELDS", 1, "a")
    if into == "RESTORE":
        payload = hash_.run("DUMP", "h")
        hash_.run("DEL", "h")
        hash_.run("RESTORE", "other", 0, payload)
    else:
        hash_.run(*into.split())
    name = "other" if "other" in into or into == "RESTORE" else "h"
    if name == "h":
        hash_.run("SELECT", 1)
    assert hash_.run("HPTTL", name, "FIELDS", 2, "a", "b") == [50, -1]
    hash_.advance(50)
    assert hash_.run("HKEYS", name) == [b"b", b"c"]
    if into.startswith("COPY"):
        assert hash_.run("HKEYS", "h") == [b"b", b"c"]


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        ("HSET h a 5", -1),
        ("HSET h a 5 b 6", -1),
        ("HMSET h a 5", -1),
        ("HINCRBY h a 5", 100),
        ("HINCRBYFLOAT h a 5", 100),
        ("HSETNX h a 5", 100),
        ("HSETEX h FIELDS 1 a 5", -1),
        ("HSETEX h KEEPTTL FIELDS 1 a 5", 100),
        ("HSETEX h PX 70 FIELDS 1 a 5", 70),
        ("HGETEX h FIELDS 1 a", 100),
        ("HGETEX h PX 60 FIELDS 1 a", 60),
        ("HGETEX h PERSIST FIELDS 1 a", -1),
        ("HPERSIST h FIELDS 1 a", -1),
        ("HPEXPIRE h 50 LT FIELDS 1 a", 50),
        ("HPEXPIRE h 50 GT FIELDS 1 a", 100),
        ("HPEXPIRE h 50 NX FIELDS 1 a", 100),
        ("HPEXPIRE h 50 XX FIELDS 1 a", 50),
        ("HPEXPIRE h 0 FIELDS 1 a", -2),
        ("HGETDEL h FIELDS 1 a", -2),
        ("HDEL h a", -2),
    ],
)
@pytest.mark.parametrize("entries_max", ["512", "1"])
def test_what_becomes_of_a_deadline(request_: str, left: int, entries_max: str) -> None:
    redis = Harness(settings={"hash-max-listpack-entries": entries_max})
    redis.run("HSET", "h", "a", 1, "b", 2)
    redis.run("HPEXPIRE", "h", 100, "FIELDS", 1, "a")
    told: list[list[bytes]] = []
    redis.node.replication.feeding = True
    redis.node.replication.feed = lambda database, args: told.append(list(args))  # type: ignore[method-assign]
    redis.run(*request_.split())
    assert redis.run("HPTTL", "h", "FIELDS", 1, "a") == [left]
    replica = Harness(settings={"hash-max-listpack-entries": entries_max})
    replica.run("HSET", "h", "a", 1, "b", 2)
    replica.run("HPEXPIRE", "h", 100, "FIELDS", 1, "a")
    for command in told:
        replica.run(*command)
    assert replica.run("HPTTL", "h", "FIELDS", 1, "a") == [left]
    assert replica.run("HGETALL", "h") == redis.run("HGETALL", "h")


def test_a_field_that_is_set_again_does_not_expire(hash_: Harness) -> None:
    hash_.run("HPEXPIRE", "h", 50, "FIELDS", 2, "a", "b")
    hash_.run("HSET", "h", "a", 9)
    hash_.run("HDEL", "h", "b")
    hash_.run("HSET", "h", "b", 9)
    hash_.advance(1000)
    assert hash_.run("HLEN", "h") == 3


def test_so_many_fields_a_turn(redis: Harness) -> None:
    fields = [f"f{at}" for at in range(25_000)]
    redis.run("HSET", "h", *[text for field in fields for text in (field, "v")])
    redis.run("HPEXPIRE", "h", 10, "FIELDS", len(fields), *fields)
    left = []
    redis.advance(10)
    for _ in range(3):
        left.append(redis.run("HLEN", "h"))
        redis.advance(0)
    assert left == [15_000, 5_000, 0]


@pytest.mark.parametrize("entries_max", ["512", "1"])
def test_payloads(entries_max: str) -> None:
    redis = Harness(settings={"hash-max-listpack-entries": entries_max})
    redis.run("HSET", "h", "a", 1, "b", "x" * 30, "c", 3)
    redis.run("HPEXPIREAT", "h", 1_800_000_000_000, "FIELDS", 1, "b")
    redis.run("HPEXPIREAT", "h", 1_700_000_009_999, "FIELDS", 1, "c")
    payload = redis.run("DUMP", "h")
    assert payload[0] == 22, "Valkey's form: Redis has none up to 7.2"
    assert payload[-10:-8] == bytes([80, 0])
    redis.run("RESTORE", "copy", 0, payload)
    assert redis.run("HPEXPIRETIME", "copy", "FIELDS", 3, "a", "b", "c") == [-1, 1_800_000_000_000, 1_700_000_009_999]
    assert redis.run("OBJECT", "ENCODING", "copy") == (b"listpackex" if entries_max == "512" else b"hashtable")
    redis.run("HPERSIST", "h", "FIELDS", 2, "b", "c")
    assert redis.run("DUMP", "h")[0] in (4, 16)


_H_MISSING = "ERR Mandatory argument FIELDS is missing or not at the right position"
_H_ONE = "ERR Only one of EX, PX, EXAT, PXAT or {} arguments can be specified"
_H_COUNT = "ERR The `numfields` parameter must match the number of arguments"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ("HEXPIRE h 10 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 10 FIELDS x a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 10 FIELDS 2 a", "ERR wrong number of arguments"),
        ("HEXPIRE h 10 FIELDS 1 a b", "ERR unknown argument: b"),
        ("HEXPIRE h 10 FIELD 1 a", "ERR unknown argument: FIELD"),
        ("HEXPIRE h 10 NX XX FIELDS 1 a", "ERR Multiple condition flags specified"),
        ("HEXPIRE h 10 NX FIELDS 1 a LT", "ERR Multiple condition flags specified"),
        ("HEXPIRE h 10 NX XX GT LT", "ERR missing FIELDS argument"),
        ("HEXPIRE h 10 NX FIELDS 1", "ERR FIELDS requires at least numfields and one field argument"),
        ("HEXPIRE h 10 FIELDS 1 a FIELDS 1 b", "ERR FIELDS keyword specified multiple times"),
        ("HEXPIRE h 10 FIELDS 4294967297 a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h x FIELDS 1 a", "ERR value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 1 a", "ERR invalid expire time, must be >= 0"),
        ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
        ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "ERR invalid expire time in 'hpexpireat' command"),
        ("HTTL h FIELDS 0 a", "ERR Number of fields must be a positive integer"),
        ("HTTL h FIELDS 2 a", _H_COUNT),
        ("HPERSIST h BOGUS 1 a", _H_MISSING),
        ("HGETDEL h FIELDS 2 a", _H_COUNT),
        ("HGETEX h EX 10 PERSIST FIELDS 1 a", _H_ONE.format("PERSIST")),
        ("HSETEX h EX 10 KEEPTTL FIELDS 1 a 1", _H_ONE.format("KEEPTTL")),
        ("HSETEX h FNX FXX FIELDS 1 a 1", "ERR Only one of FXX or FNX arguments can be specified"),
        ("HGETEX h FIELDS 0 a", "ERR invalid number of fields"),
        ("HGETEX h FIELDS 2 a", "ERR wrong number of arguments"),
        ("HGETEX h BOGUS 1 a", "ERR unknown argument: BOGUS"),
        ("HTTL s FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HEXPIRE s 10 FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ],
)
def test_errors_of_field_commands(hash_: Harness, request_: str, text: str) -> None:
    hash_.run("SET", "s", "v")
    assert hash_.error(*request_.split()) == text


def test_replica_keeps_fields_until_the_primary_says(hash_: Harness) -> None:
    """A copy of a hash on a replica is not expired by its own clock, but nobody sees what has expired."""
    hash_.run("HPEXPIRE", "h", 50, "FIELDS", 1, "a")
    hash_.run("REPLICAOF", "127.0.0.1", 1)
    hash_.advance(1000)
    assert hash_.run("HLEN", "h") == 3, "which is what Redis counts there too"
    for request, reply in {
        "HGET h a": None,
        "HMGET h a b": [None, b"2"],
        "HGETALL h": {b"b": b"2", b"c": b"3"},
        "HKEYS h": [b"b", b"c"],
        "HVALS h": [b"2", b"3"],
        "HEXISTS h a": 0,
        "HSTRLEN h a": 0,
        "HSCAN h 0": [b"0", [b"b", b"2", b"c", b"3"]],
        "HPTTL h FIELDS 2 a b": [-2, -1],
        "HEXPIRETIME h FIELDS 1 a": [-2],
    }.items():
        assert hash_.run(*request.split()) == reply, request
    assert set(hash_.run("HRANDFIELD", "h", -50)) == {b"b", b"c"}
    assert sorted(hash_.run("HRANDFIELD", "h", 5)) == [b"b", b"c"]
    hash_.run("REPLICAOF", "NO", "ONE")
    hash_.advance(1)
    assert hash_.run("HLEN", "h") == 2


# Deadlines on the way to replicas -------------------------------------------------------------------------------------


def _with_deadlines(count: int) -> Hash:
    made = Hash({b"f%d" % at: b"v" * (at % 90) for at in range(count)})
    for at in range(0, count, 3):
        made.expire_at(b"f%d" % at, START_MS + at * 1000)
    return made


@pytest.mark.parametrize("count", [4, 3000])
@pytest.mark.parametrize("version", [10, 11, 12])
def test_deadlines_in_a_full_sync(count: int, version: int) -> None:
    """Whoever reads RDB 12 gets them; the others get the fields, in an encoding that they know."""
    sent = _with_deadlines(count)
    writer = RdbWriter(SaveOptions(version=version))
    writer.header([])
    writer.select(0)
    writer.key(b"h", sent)
    data = writer.finish()
    reader = RdbReader()
    records = [record for at in range(0, len(data), 7) for record in reader.feed(data[at : at + 7])]
    got = next(record for record in records if isinstance(record, Key)).value
    assert isinstance(got, Hash)
    assert got.lookup() == sent.lookup()
    expected = sent.deadlines.by_field if version == 12 and sent.deadlines is not None else None
    assert (None if got.deadlines is None else got.deadlines.by_field) == expected


def test_a_loaded_hash_expires(redis: Harness) -> None:
    redis.node.databases[0].store(b"h", _with_deadlines(4), None)
    redis.node.sweep_expired(10)
    redis.advance(0)
    assert redis.run("HLEN", "h") == 3
    redis.advance(3000)
    assert redis.run("HLEN", "h") == 2


@pytest.mark.parametrize("count", [4, 200])
def test_damaged_payloads_with_deadlines_are_refused_or_read(count: int) -> None:
    body = dump(_with_deadlines(count), SaveOptions(version=12, compress=False))[:-8]
    source = random.Random(7)
    refused = 0
    for _ in range(400):
        damaged = bytearray(body)
        for _ in range(source.randrange(1, 3)):
            damaged[source.randrange(len(body) - 2)] = source.randrange(256)
        try:
            restore(bytes(damaged) + crc64(bytes(damaged)).to_bytes(8, "little"))
        except PayloadError:
            refused += 1
    assert refused > 20
