"""Commands newer than Redis 7.2 in process: digests, conditions, what is propagated."""

from __future__ import annotations

import pytest

from node.types.xxh3 import hex_digest
from tests.commands.harness import Harness
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
