"""OBJECT: how a value is kept, and when it was used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.errors import CommandError
from node.help import container_help
from node.keyspace import Value
from node.numbers import INT_MAX
from node.registry import Args, Flag, Group, KeySpec
from node.resp import Reply
from node.types import encoding_of

if TYPE_CHECKING:
    from node.context import Context

group = Group("generic")

NO_FREQUENCY = (
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching"
    " between policies at runtime LRU and LFU data will take some time to adjust."
)
NO_IDLE_TIME = (
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching"
    " between policies at runtime LRU and LFU data will take some time to adjust."
)
SHARED_REFERENCES = INT_MAX
_SHARED_BELOW = 10_000

group.container("OBJECT", since="2.2.3", summary="A container for object introspection commands.", acl=())


@group.command(
    "OBJECT ENCODING key",
    arity=3,
    flags=Flag.READONLY,
    since="2.2.3",
    summary="Returns the internal encoding of an object.",
    keys=(KeySpec("RO", begin=2),),
    hints=("nondeterministic_output",),
    of="OBJECT",
)
def object_encoding(ctx: Context, args: Args) -> Reply:
    value = ctx.inspect(args[2])
    return None if value is None else encoding_of(value, ctx.node.config).encode()


@group.command(
    "OBJECT FREQ key",
    arity=3,
    flags=Flag.READONLY,
    since="4.0.0",
    summary="Returns the logarithmic access frequency counter of an object.",
    keys=(KeySpec("RO", begin=2),),
    hints=("nondeterministic_output",),
    of="OBJECT",
)
def object_frequency(ctx: Context, args: Args) -> Reply:
    if ctx.inspect(args[2]) is None:
        return None
    access = ctx.node.access
    if not access.by_frequency:
        raise CommandError(NO_FREQUENCY)
    return access.frequency(ctx.database, args[2])


@group.command(
    "OBJECT IDLETIME key",
    arity=3,
    flags=Flag.READONLY,
    since="2.2.3",
    summary="Returns the time since the last access to an object.",
    keys=(KeySpec("RO", begin=2),),
    hints=("nondeterministic_output",),
    of="OBJECT",
)
def object_idle_time(ctx: Context, args: Args) -> Reply:
    if ctx.inspect(args[2]) is None:
        return None
    access = ctx.node.access
    if access.by_frequency:
        raise CommandError(NO_IDLE_TIME)
    return access.idle_ms(ctx.database, args[2]) // 1000


@group.command(
    "OBJECT REFCOUNT key",
    arity=3,
    flags=Flag.READONLY,
    since="2.2.3",
    summary="Returns the reference count of a value of a key.",
    keys=(KeySpec("RO", begin=2),),
    hints=("nondeterministic_output",),
    of="OBJECT",
)
def object_references(ctx: Context, args: Args) -> Reply:
    value = ctx.inspect(args[2])
    return None if value is None else references(ctx, value)


def references(ctx: Context, value: Value) -> int:
    """Redis shares small integers, unless it has to keep an access time for each key."""
    config = ctx.node.config
    shares = not config.maxmemory or not config.maxmemory_policy.endswith(("lru", "lfu"))
    return SHARED_REFERENCES if shares and type(value) is int and 0 <= value < _SHARED_BELOW else 1


@group.command(
    "OBJECT HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="6.2.0",
    summary="Returns helpful text about the different subcommands.",
    of="OBJECT",
)
def object_help(ctx: Context, args: Args) -> Reply:
    return container_help(ctx, args)
