"""Commands: strings as numbers."""

from __future__ import annotations

from node.arguments import integer, long_double
from node.context import Context
from node.errors import NOT_AN_INTEGER, OVERFLOW, WRONG_TYPE, CommandError
from node.numbers import LLONG_MAX, LLONG_MIN, ZERO, add_float, format_long_double
from node.registry import KEY_ACCESS_UPDATE, Args, Flag, Group
from node.resp import Reply
from node.types.string import STRING_TYPES, integer_of, text_of

group = Group("string")

_FLAGS = Flag.WRITE | Flag.DENYOOM | Flag.FAST


def _add(ctx: Context, key: bytes, amount: int) -> int:
    """Add to the integer at `key`, 0 when there is none. CommandError for another type, no integer, an overflow."""
    value = ctx.write(key)
    if type(value) is int:
        number = value + amount
    elif value is None:
        ctx.set(key, amount)
        ctx.modified("incrby", key)
        return amount
    else:
        if type(value) not in STRING_TYPES:
            raise CommandError(WRONG_TYPE)
        before = integer_of(value)
        if before is None:
            raise CommandError(NOT_AN_INTEGER)
        number = before + amount
    if not LLONG_MIN <= number <= LLONG_MAX:
        raise CommandError(OVERFLOW)
    ctx.put(key, number)
    ctx.modified("incrby", key)
    return number


@group.command(
    "INCR key",
    arity=2,
    flags=_FLAGS,
    keys=KEY_ACCESS_UPDATE,
    since="1.0.0",
    summary="Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
)
def incr(ctx: Context, args: Args) -> Reply:
    key = args[1]
    value = ctx.keys.get(key)
    if (
        type(value) is int
        and value < LLONG_MAX
        and not (ctx.observers or ctx.database.walkers or key in ctx.expires)
    ):  # what `_add` does, for the usual counter of which nobody wants to know
        value = ctx.keys[key] = value + 1
        ctx.dirty += 1
        return value
    return _add(ctx, key, 1)


@group.command(
    "DECR key",
    arity=2,
    flags=_FLAGS,
    keys=KEY_ACCESS_UPDATE,
    since="1.0.0",
    summary="Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
)
def decr(ctx: Context, args: Args) -> Reply:
    return _add(ctx, args[1], -1)


@group.command(
    "INCRBY key increment",
    arity=3,
    flags=_FLAGS,
    keys=KEY_ACCESS_UPDATE,
    since="1.0.0",
    summary="Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
)
def incrby(ctx: Context, args: Args) -> Reply:
    return _add(ctx, args[1], integer(args[2]))


@group.command(
    "DECRBY key decrement",
    arity=3,
    flags=_FLAGS,
    keys=KEY_ACCESS_UPDATE,
    since="1.0.0",
    summary="Decrements the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
)
def decrby(ctx: Context, args: Args) -> Reply:
    amount = integer(args[2])
    if amount == LLONG_MIN:
        raise CommandError("ERR decrement would overflow")
    return _add(ctx, args[1], -amount)


@group.command(
    "INCRBYFLOAT key increment",
    arity=3,
    flags=_FLAGS,
    keys=KEY_ACCESS_UPDATE,
    since="2.6.0",
    summary="Increments the floating point value of a key by a number. Uses 0 as initial value if the key doesn't "
    "exist.",
)
def incrbyfloat(ctx: Context, args: Args) -> Reply:
    key = args[1]
    value = ctx.write(key)
    if value is not None and type(value) not in STRING_TYPES:
        raise CommandError(WRONG_TYPE)
    before = ZERO if value is None else long_double(text_of(value))
    total = add_float(before, long_double(args[2]))
    if total is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    text = format_long_double(total)
    # Kept as bytes even where it is an integer, as Redis keeps it: OBJECT ENCODING shows the difference.
    if value is None:
        ctx.set(key, text)
    else:
        ctx.put(key, text)
    ctx.modified("incrbyfloat", key)
    ctx.propagate(b"SET", key, text, b"KEEPTTL")
    return text
