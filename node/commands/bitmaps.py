"""Commands: strings as rows of bits (https://redis.io/docs/data-types/bitmaps/). Fields of bits are in bitfields.py.

Bit 0 is the highest bit of the first byte. Beyond its end a string is zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import and_, or_, xor

from node.arguments import integer
from node.context import Context
from node.errors import SYNTAX, WRONG_TYPE, CommandError
from node.numbers import parse_int
from node.registry import KEY_ACCESS_UPDATE, KEY_READ, Args, Flag, Group, KeySpec
from node.resp import Reply
from node.types.string import STRING_TYPES, StringValue, buffer_of

group = Group("bitmap")

BAD_OFFSET = "ERR bit offset is not an integer or out of range"
_BAD_BIT = "ERR bit is not an integer or out of range"

_CHUNK = 1 << 16
"""Bytes looked at in one go, so that looking at a long string takes no second one of its size."""
_ZEROS = bytes(_CHUNK)
_ONES = b"\xff" * _CHUNK
_ALL = (1 << 8 * _CHUNK) - 1


# Strings --------------------------------------------------------------------------------------------------------------


def string_at(ctx: Context, key: bytes) -> bytes | bytearray | None:
    """The string at `key` to look into; None when there is none. CommandError for another type."""
    value: StringValue | None = ctx.read(key)
    if value is None:
        return None
    if type(value) not in STRING_TYPES:
        raise CommandError(WRONG_TYPE)
    return b"%d" % value if isinstance(value, int) else value


def opened(ctx: Context, key: bytes, size: int) -> tuple[bytearray, bool]:
    """The string at `key` to change in place, made if there is none, with at least `size` bytes; and whether it grew.

    CommandError for another type.
    """
    value: StringValue | None = ctx.write(key)
    if value is not None and type(value) not in STRING_TYPES:
        raise CommandError(WRONG_TYPE)
    buffer = bytearray() if value is None else buffer_of(value)
    missing = size - len(buffer)
    if missing > 0:
        buffer.extend(bytes(missing))
    if value is None:
        ctx.set(key, buffer)
    elif buffer is not value:
        ctx.put(key, buffer)
    return buffer, missing > 0


def bit_offset(ctx: Context, text: bytes, bits: int = 0) -> int:
    """A bit's place. With `bits` given, "#3" is the place of the fourth field of so many bits.

    CommandError when it is none, or beyond the longest string; what our primary sends is never refused for its length.
    """
    numbered = bits > 0 and text[:1] == b"#"
    number = parse_int(text[1:] if numbered else text)
    if number is None or number < 0:
        raise CommandError(BAD_OFFSET)
    if numbered:
        number *= bits
    if number >> 3 >= ctx.node.config.proto_max_bulk_len and not ctx.client.is_primary:
        raise CommandError(BAD_OFFSET)
    return number


# Single bits ----------------------------------------------------------------------------------------------------------


@group.command(
    "SETBIT key offset value",
    arity=4,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KEY_ACCESS_UPDATE,
    since="2.2.0",
    summary="Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
)
def setbit(ctx: Context, args: Args) -> Reply:
    key = args[1]
    offset = bit_offset(ctx, args[2])
    if args[3] not in (b"0", b"1"):
        raise CommandError(_BAD_BIT)
    at, mask = offset >> 3, 128 >> (offset & 7)
    buffer, grew = opened(ctx, key, at + 1)
    before = buffer[at]
    after = before | mask if args[3] == b"1" else before & ~mask
    if grew or after != before:
        buffer[at] = after
        ctx.modified("setbit", key)
    return int(before & mask != 0)


@group.command(
    "GETBIT key offset",
    arity=3,
    flags=Flag.READONLY | Flag.FAST,
    keys=KEY_READ,
    since="2.2.0",
    summary="Returns a bit value by offset.",
)
def getbit(ctx: Context, args: Args) -> Reply:
    offset = bit_offset(ctx, args[2])
    text = string_at(ctx, args[1])
    at = offset >> 3
    return text[at] >> (7 - (offset & 7)) & 1 if text is not None and at < len(text) else 0


# Counting and finding -------------------------------------------------------------------------------------------------


class _Range:
    """The part of a string that `start end [BYTE | BIT]` names: bits from `first` up to but not including `end`."""

    __slots__ = ("end", "first")

    def __init__(self, start: int, stop: int, size: int, *, in_bits: bool) -> None:
        """start, stop: as given, both included, negative from the end. size: of the string in bytes."""
        total = size * 8 if in_bits else size
        start = max(start + total, 0) if start < 0 else start
        stop = max(stop + total, 0) if stop < 0 else stop
        stop = min(stop, total - 1)
        scale = 1 if in_bits else 8
        self.first = start * scale
        self.end = (stop + 1) * scale


def _in_bits(args: Args, at: int) -> bool:
    """Whether a range is in bits, as the word args[at] says. CommandError for another word."""
    if at >= len(args):
        return False
    unit = args[at].upper()
    if unit not in (b"BIT", b"BYTE"):
        raise CommandError(SYNTAX)
    return unit == b"BIT"


def _ones(text: bytes | bytearray, first: int, end: int) -> int:
    """How many bits are set from bit `first` up to bit `end`."""
    low, high = first >> 3, (end + 7) >> 3
    with memoryview(text) as view:
        count = sum(
            int.from_bytes(view[at : min(at + _CHUNK, high)], "little").bit_count() for at in range(low, high, _CHUNK)
        )
    count -= (text[low] >> (8 - (first & 7))).bit_count() if first & 7 else 0
    count -= (text[high - 1] & (1 << (-end & 7)) - 1).bit_count()
    return count


@group.command(
    "BITCOUNT key [start end [BYTE | BIT]]",
    arity=-2,
    flags=Flag.READONLY,
    keys=KEY_READ,
    since="2.6.0",
    summary="Counts the number of set bits (population counting) in a string.",
    complexity="O(N)",
    history=(("7.0.0", "Added the `BYTE|BIT` option."),),
)
def bitcount(ctx: Context, args: Args) -> Reply:
    if len(args) == 3 or len(args) > 5:
        raise CommandError(SYNTAX)
    start, stop = (integer(args[2]), integer(args[3])) if len(args) > 2 else (0, -1)
    in_bits = _in_bits(args, 4)
    text = string_at(ctx, args[1])
    if not text or (start < 0 and stop < 0 and start > stop):
        return 0
    part = _Range(start, stop, len(text), in_bits=in_bits)
    return _ones(text, part.first, part.end) if part.first < part.end else 0


def _first(text: bytes | bytearray, bit: int, first: int, end: int) -> int | None:
    """The place of the first bit that is `bit`, from bit `first` up to bit `end`; None when there is none."""
    other = _ZEROS if bit else _ONES
    size = len(other)
    high = (end + 7) >> 3
    at = first >> 3
    skipped = first & 7
    while at < high:
        chunk = bytes(text[at : min(at + size, high)])
        if skipped or chunk != other[: len(chunk)]:
            bits = len(chunk) * 8
            number = int.from_bytes(chunk, "big")
            if not bit:
                number ^= (1 << bits) - 1
            number &= (1 << (bits - skipped)) - 1
            if number:
                place = at * 8 + bits - number.bit_length()
                return place if place < end else None
        skipped = 0
        at += size
    return None


@group.command(
    "BITPOS key bit [start [end [BYTE | BIT]]]",
    arity=-3,
    flags=Flag.READONLY,
    keys=KEY_READ,
    since="2.8.7",
    summary="Finds the first set (1) or clear (0) bit in a string.",
    complexity="O(N)",
    history=(("7.0.0", "Added the `BYTE|BIT` option."),),
)
def bitpos(ctx: Context, args: Args) -> Reply:
    bit = integer(args[2])
    if bit not in (0, 1):
        raise CommandError("ERR The bit argument must be 1 or 0.")
    if len(args) > 6:
        raise CommandError(SYNTAX)
    start = integer(args[3]) if len(args) > 3 else 0
    in_bits = _in_bits(args, 5)
    stop = integer(args[4]) if len(args) > 4 else -1
    text = string_at(ctx, args[1])
    if text is None:
        return -1 if bit else 0
    part = _Range(start, stop, len(text), in_bits=in_bits)
    if part.first >= part.end:
        return -1
    place = _first(text, bit, part.first, part.end)
    if place is None:
        # Without an end the zeros behind the string count too.
        return part.end if not bit and len(args) < 5 else -1
    return place


# Whole strings --------------------------------------------------------------------------------------------------------


def _only_one(numbers: Sequence[int]) -> int:
    """The bits that are set in exactly one of the numbers."""
    once = more = 0
    for number in numbers:
        more |= once & number
        once |= number
    return once & ~more


def _inverted(numbers: Sequence[int]) -> int:
    """The bits of one chunk that are not set in the only number."""
    return numbers[0] ^ _ALL


_OPERATIONS: dict[bytes, Callable[[Sequence[int]], int]] = {
    b"AND": lambda numbers: reduce(and_, numbers),
    b"OR": lambda numbers: reduce(or_, numbers),
    b"XOR": lambda numbers: reduce(xor, numbers),
    b"DIFF": lambda numbers: numbers[0] & ~reduce(or_, numbers[1:]),
    b"DIFF1": lambda numbers: reduce(or_, numbers[1:]) & ~numbers[0],
    b"ANDOR": lambda numbers: numbers[0] & reduce(or_, numbers[1:]),
    b"ONE": _only_one,
}
_NEED_TWO = (b"DIFF", b"DIFF1", b"ANDOR")


def _combined(
    texts: Sequence[bytes | bytearray], size: int, operation: Callable[[Sequence[int]], int]
) -> bytearray:
    """What an operation makes of these strings, the longest of which has `size` bytes."""
    made = bytearray()
    for at in range(0, size, _CHUNK):
        chunk = operation([int.from_bytes(text[at : at + _CHUNK], "little") for text in texts])
        made += chunk.to_bytes(_CHUNK, "little")[: size - at]
    return made


@group.command(
    "BITOP <AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]",
    arity=-4,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("OW update", begin=2), KeySpec("RO access", begin=3, last=-1)),
    since="2.6.0",
    summary="Performs bitwise operations on multiple strings, and stores the result.",
    complexity="O(N)",
    history=(("8.2.0", "Added the `DIFF`, `DIFF1`, `ANDOR`, and `ONE` operations."),),
)
def bitop(ctx: Context, args: Args) -> Reply:
    word, target, keys = args[1].upper(), args[2], args[3:]
    operation = _OPERATIONS.get(word)
    if operation is None and word != b"NOT":
        raise CommandError(SYNTAX)
    if word == b"NOT" and len(keys) != 1:
        raise CommandError("ERR BITOP NOT must be called with a single source key.")
    if word in _NEED_TWO and len(keys) < 2:
        raise CommandError(f"ERR BITOP {word.decode()} must be called with at least two source keys.")
    texts = [string_at(ctx, key) or b"" for key in keys]
    size = max(map(len, texts))
    if not size:
        if ctx.delete(target):
            ctx.modified("del", target)
        return 0
    ctx.set(target, _combined(texts, size, operation or _inverted))
    ctx.modified("set", target)
    return size
