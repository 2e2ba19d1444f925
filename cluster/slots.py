"""Key -> slot, and the three ways of writing sets of slots: arguments of commands, ranges, bitmaps.

Slots are where everything a cluster decides meets, so how they are computed and spelled stands in one place.
Defined in Redis's cluster specification ("Key distribution model", "Hash tags") and on the CLUSTER command pages.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Callable, Iterable, Iterator, Sequence

from gossip.messages import SLOT_BITMAP_BYTES, SLOT_COUNT

SlotRange = tuple[int, int]
"""First and last slot, both inclusive."""

_DECIMAL = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_BINARY_DIGITS = f"0{SLOT_COUNT}b"


class SlotError(ValueError):
    """A command's slot arguments are wrong. The text is Redis's reply, without the leading `ERR `."""


# --- keys -----------------------------------------------------------------------------------------


def hash_tag(key: bytes) -> bytes:
    """The part of `key` that decides its slot: between the first `{` and the first `}` after it unless that is
    empty, else the whole key."""
    opening = key.find(b"{")
    if opening >= 0:
        closing = key.find(b"}", opening + 1)
        if closing > opening + 1:
            return key[opening + 1 : closing]
    return key


def key_slot(key: bytes) -> int:
    """The slot of `key`, 0..16383: CRC16 (XMODEM) of its hash tag modulo 16384."""
    if 123 in key:  # "{" as a number: seven times faster than looking for b"{"
        key = hash_tag(key)
    return crc_hqx(key, 0) & 0x3FFF  # SLOT_COUNT - 1, written out: a global costs a look-up a key


# --- arguments ------------------------------------------------------------------------------------


def parse_slot(argument: bytes) -> int:
    """The slot that a command argument names. Raises SlotError unless it is a plain decimal number in 0..16383."""
    if _DECIMAL.fullmatch(argument):
        slot = int(argument)
        if 0 <= slot < SLOT_COUNT:
            return slot
    raise SlotError("Invalid or out of range slot")


def parse_slots(arguments: Iterable[bytes]) -> list[int]:
    """The slots that arguments name, in the order given and with repetitions.

    Raises SlotError at the first argument that is no slot.
    """
    return [parse_slot(argument) for argument in arguments]


def parse_ranges(arguments: Sequence[bytes]) -> Iterator[SlotRange]:
    """The ranges of `start end start end ...`, one by one; the caller checked that the count is even.

    Raises SlotError on reaching a pair that is no range.
    """
    for index in range(0, len(arguments), 2):
        start, end = parse_slot(arguments[index]), parse_slot(arguments[index + 1])
        if start > end:
            raise SlotError(f"start slot number {start} is greater than end slot number {end}")
        yield start, end


def slots_to_assign(arguments: Sequence[bytes], is_assigned: Callable[[int], bool], *, adding: bool) -> list[int]:
    """The slots of ADDSLOTS (adding) or DELSLOTS, in the order given, each once.

    is_assigned: whether a slot has an owner in the receiver's eyes. Raises SlotError in Redis's words and order:
    every argument must be a slot before any is held against its present state.
    """
    return _checked(parse_slots(arguments), is_assigned, adding)


def range_slots_to_assign(arguments: Sequence[bytes], is_assigned: Callable[[int], bool], *, adding: bool) -> list[int]:
    """The slots of ADDSLOTSRANGE (adding) or DELSLOTSRANGE, in the order given, each once.

    As `slots_to_assign`, but Redis checks each range against the present state before it reads the next.
    """
    return _checked(
        (slot for start, end in parse_ranges(arguments) for slot in range(start, end + 1)), is_assigned, adding
    )


def _checked(slots: Iterable[int], is_assigned: Callable[[int], bool], adding: bool) -> list[int]:
    seen: dict[int, None] = {}
    for slot in slots:
        if is_assigned(slot) is adding:
            raise SlotError(f"Slot {slot} is already {'busy' if adding else 'unassigned'}")
        if slot in seen:
            raise SlotError(f"Slot {slot} specified multiple times")
        seen[slot] = None
    return list(seen)


# --- ranges ---------------------------------------------------------------------------------------


def to_ranges(slots: Iterable[int]) -> list[SlotRange]:
    """The fewest ranges that hold exactly `slots`, ascending. Order and repetitions of the input do not matter."""
    ranges: list[SlotRange] = []
    start = last = -2
    for slot in sorted(slots):
        if slot > last + 1:
            if last >= 0:
                ranges.append((start, last))
            start = slot
        last = slot
    if last >= 0:
        ranges.append((start, last))
    return ranges


def expand_ranges(ranges: Iterable[SlotRange]) -> list[int]:
    """Every slot of `ranges`, in their order; overlapping ranges repeat slots."""
    return [slot for start, end in ranges for slot in range(start, end + 1)]


def format_range(slots: SlotRange) -> str:
    """`5` or `5-9`, as CLUSTER NODES and nodes.conf write it."""
    start, end = slots
    return str(start) if start == end else f"{start}-{end}"


# --- bitmaps --------------------------------------------------------------------------------------
# 2048 bytes as on the bus: slot n is bit n % 8 of byte n // 8, which makes the bitmap a little-endian integer.


def _digits(bitmap: bytes) -> str:
    """One '0' or '1' a slot, slot 0 first."""
    return format(int.from_bytes(bitmap, "little"), _BINARY_DIGITS)[::-1]


def bitmap_to_slots(bitmap: bytes) -> list[int]:
    """The slots whose bits are set, ascending."""
    return expand_ranges(bitmap_to_ranges(bitmap))


def bitmap_to_ranges(bitmap: bytes) -> list[SlotRange]:
    """The set bits as the fewest ranges, ascending."""
    if not any(bitmap):
        return []
    digits = _digits(bitmap) + "0"
    ranges = []
    start = digits.find("1")
    while start >= 0:
        end = digits.find("0", start)  # twenty times faster than a regular expression over long runs
        ranges.append((start, end - 1))
        start = digits.find("1", end)
    return ranges


def slots_to_bitmap(slots: Iterable[int]) -> bytes:
    """The bitmap of 2048 bytes in which exactly `slots` are set. Raises IndexError for a number that is no slot."""
    bitmap = bytearray(SLOT_BITMAP_BYTES)
    for slot in slots:
        if slot < 0:
            raise IndexError(f"{slot} is no slot")
        bitmap[slot >> 3] |= 1 << (slot & 7)
    return bytes(bitmap)


def ranges_to_bitmap(ranges: Iterable[SlotRange]) -> bytes:
    """The bitmap of 2048 bytes in which exactly the slots of `ranges` are set.

    Raises IndexError for a range that reaches outside 0..16383.
    """
    bits = 0
    for start, end in ranges:
        if not 0 <= start <= end < SLOT_COUNT:
            raise IndexError(f"{start}-{end} is no range of slots")
        bits |= ((1 << (end - start + 1)) - 1) << start
    return bits.to_bytes(SLOT_BITMAP_BYTES, "little")
