"""HyperLogLog in process: what observers and watchers are told, the error of estimates, the cost of a merge."""

from __future__ import annotations

import pytest

from node.types import hyperloglog as hll
from tests.commands.harness import Harness
from tests.commands.test_strings import events


@pytest.fixture
def redis() -> Harness:
    return Harness()


@pytest.mark.parametrize(
    ("request_", "told", "changes"),
    [
        (("PFADD", "k", "a"), [], 0),
        (("PFADD", "k", "b", "c"), [("pfadd", b"k")], 2),
        (("PFADD", "new", "b", "c"), [("pfadd", b"new")], 3),
        (("PFADD", "new"), [("pfadd", b"new")], 1),
        (("PFCOUNT", "k"), [], 1),
        (("PFCOUNT", "k", "k"), [], 0),
        (("PFMERGE", "r", "k"), [("pfadd", b"r")], 1),
        (("PFDEBUG", "TODENSE", "k"), [], 1),
    ],
)
def test_observers_are_told(
    redis: Harness, request_: tuple[object, ...], told: list[tuple[str, bytes]], changes: int
) -> None:
    redis.run("PFADD", "k", "a")
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    assert redis.node.dirty - before == changes


def test_a_count_that_is_noted_is_a_change_for_watchers(redis: Harness) -> None:
    redis.run("PFADD", "k", "a")
    redis.run("WATCH", "k")
    assert redis.run("PFCOUNT", "k") == 1
    redis.run("MULTI")
    assert redis.run("PING") == "QUEUED"
    assert redis.wire("EXEC") == b"*-1\r\n"


@pytest.mark.parametrize("number", [10, 1000, 30_000])
def test_estimates_are_within_five_standard_errors(redis: Harness, number: int) -> None:
    redis.run("PFADD", "k", *range(number))
    assert abs(redis.run("PFCOUNT", "k") - number) <= 5 * 0.0082 * number


def test_registers_survive_packing() -> None:
    numbers = bytes(at * 7 % 64 for at in range(hll.REGISTERS))
    buffer = hll.empty()
    hll.set_dense(buffer, numbers)
    assert len(buffer) == hll.DENSE_SIZE
    assert hll.registers(buffer) == numbers
    assert hll.count(buffer) == hll.count_registers(numbers)


def test_a_corrupted_value_is_refused_and_stays(redis: Harness) -> None:
    text = b"HYLL\x01\0\0\0" + bytes(7) + b"\x80\x7f\xfe"
    redis.run("SET", "k", text)
    corrupted = "INVALIDOBJ Corrupted HLL object detected"
    for request in (("PFCOUNT", "k"), ("PFCOUNT", "k", "x"), ("PFMERGE", "x", "k"), ("PFDEBUG", "TODENSE", "k")):
        assert redis.error(*request) == corrupted
    assert redis.run("GET", "k") == text
    assert redis.run("EXISTS", "x") == 0
