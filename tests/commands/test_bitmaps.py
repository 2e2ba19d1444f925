"""Bitmap commands in process: what observers are told, the newer operations, bounds, long strings."""

from __future__ import annotations

import pytest

from tests.commands.harness import Harness
from tests.commands.test_strings import events


@pytest.fixture
def redis() -> Harness:
    return Harness()


@pytest.mark.parametrize(
    ("request_", "told", "changes"),
    [
        (("SETBIT", "k", 1, 1), [("setbit", b"k")], 1),
        (("SETBIT", "k", 7, 1), [], 0),
        (("SETBIT", "k", 1000, 0), [("setbit", b"k")], 1),
        (("SETBIT", "new", 0, 0), [("setbit", b"new")], 1),
        (("BITOP", "NOT", "r", "k"), [("set", b"r")], 1),
        (("BITOP", "AND", "k", "x", "y"), [("del", b"k")], 1),
        (("BITOP", "AND", "z", "x", "y"), [], 0),
        (("BITFIELD", "k", "GET", "u8", 0), [], 0),
        (("BITFIELD", "k", "SET", "u8", 0, 1), [], 0),
        (("BITFIELD", "k", "SET", "u8", 0, 2, "INCRBY", "u8", 0, 1), [("setbit", b"k")], 2),
        (("BITFIELD", "k", "SET", "u8", 80, 0), [("setbit", b"k")], 1),
        (("BITFIELD", "k", "OVERFLOW", "FAIL", "SET", "u8", 0, 256), [], 0),
        (("GETBIT", "k", 7), [], 0),
    ],
)
def test_observers_are_told(
    redis: Harness, request_: tuple[object, ...], told: list[tuple[str, bytes]], changes: int
) -> None:
    redis.run("SETBIT", "k", 7, 1)
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    assert redis.node.dirty - before == changes


def test_long_strings_are_looked_at_in_chunks(redis: Harness) -> None:
    redis.run("SETBIT", "k", 3_000_001, 1)
    redis.run("SETBIT", "k", 2_999_999, 1)
    assert redis.run("BITCOUNT", "k") == 2
    assert redis.run("BITPOS", "k", 1) == 2_999_999
    assert redis.run("BITPOS", "k", 1, 3_000_000, -1, "BIT") == 3_000_001
    assert redis.run("BITCOUNT", "k", 3_000_000, 3_000_001, "BIT") == 1
    assert redis.run("BITOP", "NOT", "not", "k") == 375_001
    assert redis.run("BITCOUNT", "not") == 375_001 * 8 - 2
    assert redis.run("BITPOS", "not", 0) == 2_999_999
    assert redis.run("BITOP", "XOR", "all", "k", "not") == 375_001
    assert redis.run("BITPOS", "all", 0) == 375_001 * 8
    assert redis.run("BITPOS", "all", 0, 0, -1) == -1


def test_the_longest_string_bounds_offsets() -> None:
    redis = Harness(settings={"proto-max-bulk-len": "1mb"})
    assert redis.run("SETBIT", "k", (1 << 23) - 1, 1) == 0
    refused = "ERR bit offset is not an integer or out of range"
    assert redis.error("SETBIT", "k", 1 << 23, 1) == refused
    assert redis.error("GETBIT", "k", 1 << 23) == refused
    assert redis.error("BITFIELD", "k", "GET", "u8", 1 << 23) == refused
    assert redis.error("BITFIELD", "k", "SET", "u8", "#9223372036854775807", 1) == refused
    assert redis.run("BITFIELD", "k", "SET", "i64", (1 << 23) - 1, -1) == [-1 << 63]
    assert redis.run("STRLEN", "k") == (1 << 20) + 8


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("DIFF", 0b1000), ("DIFF1", 0b0001), ("ANDOR", 0b0110), ("ONE", 0b1001)],
)
def test_operations_of_redis_8(redis: Harness, operation: str, expected: int) -> None:
    for key, bits in (("x", 0b1110), ("y", 0b0110), ("z", 0b0011)):
        redis.run("SET", key, bytes([bits]))
    redis.run("BITOP", operation, "r", "x", "y", "z")
    assert redis.run("GET", "r") == bytes([expected])


@pytest.mark.parametrize("operation", ["DIFF", "DIFF1", "ANDOR"])
def test_operations_on_two_strings_need_two(redis: Harness, operation: str) -> None:
    text = f"ERR BITOP {operation} must be called with at least two source keys."
    assert redis.error("BITOP", operation.lower(), "r", "a") == text
