"""EXPIRE, TTL and their relatives. Deadlines are kept and propagated as absolute unix times in ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.arguments import integer
from node.commands.common import removal_of
from node.errors import CommandError
from node.numbers import LLONG_MAX, LLONG_MIN
from node.registry import KEY_READ, KEY_UPDATE, Args, Flag, Group
from node.resp import Reply

if TYPE_CHECKING:
    from node.context import Context

group = Group("generic")

_CONDITIONS = frozenset((b"NX", b"XX", b"GT", b"LT"))


@group.command(
    "EXPIRE key seconds [NX | XX | GT | LT]",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    since="1.0.0",
    summary="Sets the expiration time of a key in seconds.",
    keys=KEY_UPDATE,
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def expire(ctx: Context, args: Args) -> Reply:
    return _expire(ctx, args, "expire", 1000, relative=True)


@group.command(
    "PEXPIRE key milliseconds [NX | XX | GT | LT]",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    since="2.6.0",
    summary="Sets the expiration time of a key in milliseconds.",
    keys=KEY_UPDATE,
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def pexpire(ctx: Context, args: Args) -> Reply:
    return _expire(ctx, args, "pexpire", 1, relative=True)


@group.command(
    "EXPIREAT key unix-time-seconds [NX | XX | GT | LT]",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    since="1.2.0",
    summary="Sets the expiration time of a key to a Unix timestamp.",
    keys=KEY_UPDATE,
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def expireat(ctx: Context, args: Args) -> Reply:
    return _expire(ctx, args, "expireat", 1000, relative=False)


@group.command(
    "PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    since="2.6.0",
    summary="Sets the expiration time of a key to a Unix milliseconds timestamp.",
    keys=KEY_UPDATE,
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def pexpireat(ctx: Context, args: Args) -> Reply:
    return _expire(ctx, args, "pexpireat", 1, relative=False)


def _expire(ctx: Context, args: Args, name: str, unit_ms: int, relative: bool) -> int:
    conditions = _conditions(args)
    amount = integer(args[2])
    deadline_ms = amount * unit_ms
    invalid = not LLONG_MIN <= deadline_ms <= LLONG_MAX
    if relative:
        deadline_ms += ctx.now_ms
    if invalid or deadline_ms > LLONG_MAX:
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    key = args[1]
    if ctx.write(key) is None or not _allowed(conditions, ctx.deadline_ms(key), deadline_ms):
        return 0
    if deadline_ms <= ctx.now_ms and ctx.node.may_expire():
        ctx.discard(key)
        ctx.modified("del", key)
        ctx.propagate(removal_of(ctx), key)
        return 1
    ctx.set_deadline(key, deadline_ms)
    ctx.modified("expire", key)
    if name != "pexpireat":
        ctx.propagate(b"PEXPIREAT", key, b"%d" % deadline_ms, *args[3:])
    return 1


def _conditions(args: Args) -> frozenset[bytes]:
    """The options of a request. CommandError for an unknown one and for those that exclude each other."""
    for option in args[3:]:
        if option.upper() not in _CONDITIONS:
            raise CommandError(f"ERR Unsupported option {option.decode('utf-8', 'surrogateescape')}")
    found = frozenset(option.upper() for option in args[3:])
    if b"NX" in found and len(found) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in found and b"LT" in found:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return found


def _allowed(conditions: frozenset[bytes], current_ms: int | None, wanted_ms: int) -> bool:
    """Whether the options let this deadline replace the current one. A key without one counts as living for ever."""
    if not conditions:
        return True
    if current_ms is None:
        return not conditions & {b"XX", b"GT"}
    if b"NX" in conditions or (b"GT" in conditions and wanted_ms <= current_ms):
        return False
    return b"LT" not in conditions or wanted_ms < current_ms


@group.command(
    "PERSIST key",
    arity=2,
    flags=Flag.WRITE | Flag.FAST,
    since="2.2.0",
    summary="Removes the expiration time of a key.",
    keys=KEY_UPDATE,
)
def persist(ctx: Context, args: Args) -> Reply:
    key = args[1]
    if ctx.write(key) is None or ctx.deadline_ms(key) is None:
        return 0
    ctx.set_deadline(key, None)
    ctx.modified("persist", key)
    return 1


@group.command(
    "TTL key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    since="1.0.0",
    summary="Returns the expiration time in seconds of a key.",
    keys=KEY_READ,
    hints=("nondeterministic_output",),
    history=(("2.8.0", "Added the -2 reply."),),
)
def ttl(ctx: Context, args: Args) -> Reply:
    return _seconds(_time_left(ctx, args[1]))


@group.command(
    "PTTL key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    since="2.6.0",
    summary="Returns the expiration time in milliseconds of a key.",
    keys=KEY_READ,
    hints=("nondeterministic_output",),
    history=(("2.8.0", "Added the -2 reply."),),
)
def pttl(ctx: Context, args: Args) -> Reply:
    return _time_left(ctx, args[1])


@group.command(
    "EXPIRETIME key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    since="7.0.0",
    summary="Returns the expiration time of a key as a Unix timestamp.",
    keys=KEY_READ,
)
def expiretime(ctx: Context, args: Args) -> Reply:
    return _seconds(_deadline(ctx, args[1]))


@group.command(
    "PEXPIRETIME key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    since="7.0.0",
    summary="Returns the expiration time of a key as a Unix milliseconds timestamp.",
    keys=KEY_READ,
)
def pexpiretime(ctx: Context, args: Args) -> Reply:
    return _deadline(ctx, args[1])


def _deadline(ctx: Context, key: bytes) -> int:
    """Unix time in ms; -1 for a key without a deadline, -2 for no key."""
    if ctx.read(key) is None:
        return -2
    deadline_ms = ctx.deadline_ms(key)
    return -1 if deadline_ms is None else deadline_ms


def _time_left(ctx: Context, key: bytes) -> int:
    deadline_ms = _deadline(ctx, key)
    return deadline_ms if deadline_ms < 0 else max(0, deadline_ms - ctx.now_ms)


def _seconds(ms: int) -> int:
    return ms if ms < 0 else (ms + 500) // 1000
