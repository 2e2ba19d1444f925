"""Commands: BITFIELD and BITFIELD_RO, integers of any width at any bit of a string.

What happens when a number does not fit is defined by https://redis.io/commands/bitfield/: WRAP keeps the low bits, SAT
keeps the nearest that fits, FAIL changes nothing and replies nil.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.arguments import integer
from node.commands.bitmaps import bit_offset, opened, string_at
from node.context import Context
from node.errors import SYNTAX, CommandError
from node.numbers import LLONG_MAX, parse_int
from node.registry import KEY_READ, Args, Flag, Group, KeySpec
from node.resp import Reply

group = Group("bitmap")

_BAD_TYPE = (
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
)
_OVERFLOWS = (b"WRAP", b"SAT", b"FAIL")
_ARGUMENTS = {b"GET": 2, b"SET": 3, b"INCRBY": 3, b"OVERFLOW": 1}


@dataclass(frozen=True, slots=True)
class _Type:
    """An integer of so many bits, i8 or u63."""

    signed: bool
    bits: int

    @property
    def low(self) -> int:
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << self.bits - 1) - 1 if self.signed else (1 << self.bits) - 1

    def wrapped(self, number: int) -> int:
        """The low bits of a number that does not fit."""
        number &= (1 << self.bits) - 1
        return number - (1 << self.bits) if self.signed and number > self.high else number

    def read(self, text: bytes | bytearray, offset: int) -> int:
        """The number at bit `offset`; what is behind the end of `text` is zeros."""
        first, end = offset >> 3, (offset + self.bits + 7) >> 3
        number = int.from_bytes(text[first:end].ljust(end - first, b"\0"), "big")
        return self.wrapped(number >> (-(offset + self.bits) & 7))

    def write(self, buffer: bytearray, offset: int, number: int) -> None:
        """Put a number that fits at bit `offset` of a long enough buffer."""
        first, end = offset >> 3, (offset + self.bits + 7) >> 3
        shift = -(offset + self.bits) & 7
        mask = (1 << self.bits) - 1
        whole = int.from_bytes(buffer[first:end], "big")
        whole = whole & ~(mask << shift) | (number & mask) << shift
        buffer[first:end] = whole.to_bytes(end - first, "big")

    def fitted(self, number: int, overflow: bytes, *, too_high: bool) -> int | None:
        """What a number that does not fit becomes; None for nothing at all."""
        if overflow == b"FAIL":
            return None
        if overflow == b"SAT":
            return self.high if too_high else self.low
        return self.wrapped(number)


@dataclass(frozen=True, slots=True)
class _Operation:
    """One of GET, SET and INCRBY, with the OVERFLOW that was said last before it. amount: 0 for GET."""

    word: bytes
    type: _Type
    offset: int
    amount: int
    overflow: bytes


def _type(text: bytes) -> _Type:
    signed = text[:1] == b"i"
    bits = parse_int(text[1:])
    if text[:1] not in (b"i", b"u") or bits is None or not 1 <= bits <= (64 if signed else 63):
        raise CommandError(_BAD_TYPE)
    return _Type(signed, bits)


def _operations(ctx: Context, args: Args) -> list[_Operation]:
    """The operations behind the key. CommandError for the first that is wrong."""
    operations: list[_Operation] = []
    overflow = b"WRAP"
    at = 2
    while at < len(args):
        word = args[at].upper()
        needed = _ARGUMENTS.get(word)
        if needed is None or len(args) - at - 1 < needed:
            raise CommandError(SYNTAX)
        if word == b"OVERFLOW":
            overflow = args[at + 1].upper()
            if overflow not in _OVERFLOWS:
                raise CommandError("ERR Invalid OVERFLOW type specified")
        else:
            kind = _type(args[at + 1])
            offset = bit_offset(ctx, args[at + 2], kind.bits)
            amount = integer(args[at + 3]) if needed == 3 else 0
            operations.append(_Operation(word, kind, offset, amount, overflow))
        at += needed + 1
    return operations


def _new_number(operation: _Operation, before: int) -> int | None:
    """What the field becomes; None when it stays because its new number does not fit."""
    kind = operation.type
    if operation.word == b"SET":
        number = operation.amount
        if not kind.signed:
            # A negative number is taken for the unsigned one with the same 64 bits: too high, never too low.
            number &= (1 << 64) - 1
        # Redis computes the room above the number in 64 bits: below this there seems to be none.
        too_high = number > kind.high or (kind.bits < 64 and kind.high - number > LLONG_MAX)
    else:
        number = before + operation.amount
        too_high = number > kind.high
    if not too_high and number >= kind.low:
        return number
    return kind.fitted(number, operation.overflow, too_high=too_high)


def _apply(buffer: bytearray, operation: _Operation) -> tuple[Reply, bool]:
    """The reply to one SET or INCRBY, and whether it changed the buffer."""
    before = operation.type.read(buffer, operation.offset)
    after = _new_number(operation, before)
    if after is None:
        return None, False
    operation.type.write(buffer, operation.offset, after)
    return before if operation.word == b"SET" else after, after != before


@group.command(
    "BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | "
    "INCRBY encoding offset increment> [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] "
    "<SET encoding offset value | INCRBY encoding offset increment> ...]]",
    arity=-2,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(
        KeySpec(
            "RW access update variable_flags", notes="This command allows both access and modification of the key"
        ),
    ),
    since="3.2.0",
    summary="Performs arbitrary bitfield integer operations on strings.",
    complexity="O(1) for each subcommand specified",
)
def bitfield(ctx: Context, args: Args) -> Reply:
    operations = _operations(ctx, args)
    ends = [one.offset + one.type.bits for one in operations if one.word != b"GET"]
    if not ends:
        return _read_all(ctx, args[1], operations)
    key = args[1]
    buffer, grew = opened(ctx, key, (max(ends) + 7) >> 3)
    replies: list[Reply] = []
    changes = 0
    for operation in operations:
        if operation.word == b"GET":
            replies.append(operation.type.read(buffer, operation.offset))
            continue
        reply, changed = _apply(buffer, operation)
        replies.append(reply)
        changes += changed or (grew and reply is not None)
    if changes:
        ctx.modified("setbit", key)
        ctx.dirty += changes - 1
    return replies


@group.command(
    "BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]",
    arity=-2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KEY_READ,
    since="6.0.0",
    summary="Performs arbitrary read-only bitfield integer operations on strings.",
    complexity="O(1) for each subcommand specified",
)
def bitfield_ro(ctx: Context, args: Args) -> Reply:
    operations = _operations(ctx, args)
    if any(operation.word != b"GET" for operation in operations):
        raise CommandError("ERR BITFIELD_RO only supports the GET subcommand")
    return _read_all(ctx, args[1], operations)


def _read_all(ctx: Context, key: bytes, operations: list[_Operation]) -> Reply:
    text = string_at(ctx, key) or b""
    return [operation.type.read(text, operation.offset) for operation in operations]
