"""Slots of keys as the specification and real servers have them, and the spellings of sets of slots."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.slots import (
    SlotError,
    bitmap_to_ranges,
    bitmap_to_slots,
    expand_ranges,
    format_range,
    hash_tag,
    key_slot,
    parse_slot,
    range_slots_to_assign,
    ranges_to_bitmap,
    slots_to_assign,
    slots_to_bitmap,
    to_ranges,
)

slot_sets = st.sets(st.integers(0, 16383), max_size=200)


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 0x31C3),  # the specification's check value, already below 16384
        (b"foo", 12182),
        (b"bar", 5061),
        (b"", 0),
        (b"chan2", 14704),
        (b"b", 3300),
    ],
)
def test_slots_of_keys_as_redis_70_answers_keyslot(key: bytes, slot: int) -> None:
    assert key_slot(key) == slot


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"{}", b"{}"),
        (b"{", b"{"),
        (b"}{", b"}{"),
        (b"}{a}", b"a"),
        (b"a{b", b"a{b"),
        (b"{\0}", b"\0"),
        (b"plain", b"plain"),
    ],
)
def test_hash_tags_of_the_specification(key: bytes, tag: bytes) -> None:
    assert hash_tag(key) == tag
    assert key_slot(key) == key_slot_by_hand(tag)


def key_slot_by_hand(data: bytes) -> int:
    """CRC16 as the specification describes it, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc % 16384


@given(st.binary(max_size=40).map(lambda key: key.replace(b"{", b"")))
def test_slots_are_the_specifications_crc16(key: bytes) -> None:
    assert key_slot(key) == key_slot_by_hand(key)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("argument", "slot"), [(b"0", 0), (b"7", 7), (b"16383", 16383)])
def test_slot_arguments(argument: bytes, slot: int) -> None:
    assert parse_slot(argument) == slot


@pytest.mark.parametrize(
    "argument",
    [b"", b"x", b"-1", b"-0", b"+1", b"01", b" 1", b"1 ", b"1\n", b"1.0", b"1e3", b"16384", b"9" * 30, b"\xd9\xa1",
     b"1_0", b"0x10"],
)
def test_what_redis_70_does_not_take_as_a_slot(argument: bytes) -> None:
    with pytest.raises(SlotError, match=r"^Invalid or out of range slot$"):
        parse_slot(argument)


Parser = Callable[..., list[int]]
SLOTS: Parser = slots_to_assign
RANGES: Parser = range_slots_to_assign


# Every line was put to redis-server 7.0.15 and valkey-server 9.1.2, with slot 5 assigned and no other.
@pytest.mark.parametrize(
    ("parser", "adding", "arguments", "error"),
    [
        (SLOTS, True, b"5 5", "Slot 5 is already busy"),
        (SLOTS, True, b"6 6", "Slot 6 specified multiple times"),
        (SLOTS, True, b"5 x", "Invalid or out of range slot"),
        (SLOTS, False, b"5 5", "Slot 5 specified multiple times"),
        (SLOTS, False, b"9", "Slot 9 is already unassigned"),
        (RANGES, True, b"5 6 9 7", "Slot 5 is already busy"),
        (RANGES, True, b"9 7 a b", "start slot number 9 is greater than end slot number 7"),
        (RANGES, True, b"7 8 8 9", "Slot 8 specified multiple times"),
        (RANGES, False, b"5 5 7 7", "Slot 7 is already unassigned"),
        (RANGES, False, b"5 6 3 2", "Slot 6 is already unassigned"),
    ],
)
def test_refusals_of_assignments_in_redis_words_and_order(
    parser: Parser, adding: bool, arguments: bytes, error: str
) -> None:
    with pytest.raises(SlotError) as caught:
        parser(arguments.split(), lambda slot: slot == 5, adding=adding)
    assert str(caught.value) == error


def test_assignments_that_are_taken() -> None:
    assert slots_to_assign([b"9", b"2"], lambda slot: False, adding=True) == [9, 2]
    assert slots_to_assign([b"9", b"2"], lambda slot: True, adding=False) == [9, 2]
    assert range_slots_to_assign([b"4", b"6", b"1", b"1"], lambda slot: False, adding=True) == [4, 5, 6, 1]
    assert range_slots_to_assign([], lambda slot: False, adding=True) == []


# --- ranges and bitmaps ---------------------------------------------------------------------------


def test_ranges_are_the_fewest_that_hold_the_slots() -> None:
    assert to_ranges([]) == []
    assert to_ranges([0]) == [(0, 0)]
    assert to_ranges([5, 3, 4, 4, 9, 16383]) == [(3, 5), (9, 9), (16383, 16383)]
    assert to_ranges(range(16384)) == [(0, 16383)]
    assert [format_range(slots) for slots in ((3, 3), (3, 5))] == ["3", "3-5"]


@settings(max_examples=150, deadline=None)
@given(slot_sets)
def test_every_spelling_holds_the_same_slots(slots: set[int]) -> None:
    ranges = to_ranges(slots)
    bitmap = slots_to_bitmap(slots)
    assert expand_ranges(ranges) == sorted(slots)
    assert len(bitmap) == 2048
    assert ranges_to_bitmap(ranges) == bitmap
    assert bitmap_to_ranges(bitmap) == ranges
    assert bitmap_to_slots(bitmap) == sorted(slots)
    assert all(first[1] + 1 < second[0] for first, second in pairwise(ranges))


def test_bits_stand_where_the_bus_has_them() -> None:
    assert slots_to_bitmap([0, 7, 9, 16383])[:2] == b"\x81\x02"
    assert slots_to_bitmap([16383])[2047] == 0x80
    assert bitmap_to_ranges(b"\xff" * 2048) == [(0, 16383)]
    assert len(bitmap_to_ranges(b"\x55" * 2048)) == 8192


@pytest.mark.parametrize("slot", [-1, 16384, 2**40])
def test_bitmaps_hold_slots_only(slot: int) -> None:
    with pytest.raises(IndexError):
        slots_to_bitmap([slot])
    with pytest.raises(IndexError):
        ranges_to_bitmap([(slot, slot)])
    with pytest.raises(IndexError):
        ranges_to_bitmap([(5, 4)])
