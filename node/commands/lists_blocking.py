"""Commands: lists, waiting for an element (https://redis.io/docs/data-types/lists/). `blocking.py` says how they wait."""

from __future__ import annotations

from node.arguments import timeout_ms
from node.commands.lists import end_of, lmpop_arguments, moved, popped_from, taken_from
from node.context import Context
from node.registry import Args, Flag, Group, KeySpec
from node.resp import NULL_ARRAY, Reply
from node.types.list import List

group = Group("list")

_BLOCKS = Flag.WRITE | Flag.NOSCRIPT | Flag.BLOCKING
_KEYS = (KeySpec("RW access delete", last=-2),)
_KEYS_MOVED = (KeySpec("RW access delete"), KeySpec("RW insert", begin=2))
_KEYS_COUNTED = (KeySpec("RW access delete", begin=2, count_at=0),)
_DOUBLE = (("6.0.0", "`timeout` is interpreted as a double instead of an integer."),)


def _pop_or_wait(ctx: Context, args: Args, head: bool) -> Reply:
    """BLPOP and BRPOP: an element of the first list that has one, with its key."""
    wait_ms = timeout_ms(args[-1], ctx.now_ms)
    keys = args[1:-1]
    for key in keys:
        found = ctx.write_as(key, List)
        if found is not None:
            value = found.pop(head, ctx.node.config)
            taken_from(ctx, key, found, head, 1)
            ctx.propagate(b"LPOP" if head else b"RPOP", key)
            return [key, value]
    return ctx.block(args, keys, wait_ms, NULL_ARRAY)


@group.command(
    "BLPOP key [key ...] timeout",
    arity=-3,
    flags=_BLOCKS,
    keys=_KEYS,
    since="2.0.0",
    summary="Removes and returns the first element in a list. Blocks until an element is available otherwise. Deletes "
    "the list if the last element was popped.",
    complexity="O(N) where N is the number of provided keys.",
    history=_DOUBLE,
)
def blpop(ctx: Context, args: Args) -> Reply:
    return _pop_or_wait(ctx, args, True)


@group.command(
    "BRPOP key [key ...] timeout",
    arity=-3,
    flags=_BLOCKS,
    keys=_KEYS,
    since="2.0.0",
    summary="Removes and returns the last element in a list. Blocks until an element is available otherwise. Deletes the "
    "list if the last element was popped.",
    complexity="O(N) where N is the number of provided keys.",
    history=_DOUBLE,
)
def brpop(ctx: Context, args: Args) -> Reply:
    return _pop_or_wait(ctx, args, False)


@group.command(
    "BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
    arity=6,
    flags=_BLOCKS | Flag.DENYOOM,
    keys=_KEYS_MOVED,
    since="6.2.0",
    summary="Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available "
    "otherwise. Deletes the list if the last element was moved.",
)
def blmove(ctx: Context, args: Args) -> Reply:
    from_head, to_head = end_of(args[3]), end_of(args[4])
    wait_ms = timeout_ms(args[5], ctx.now_ms)
    value = moved(ctx, args[1], args[2], from_head, to_head)
    if value is None:
        return ctx.block(args, args[1:2], wait_ms, None)
    ctx.propagate(b"LMOVE", *args[1:5])
    return value


@group.command(
    "BRPOPLPUSH source destination timeout",
    arity=4,
    flags=_BLOCKS | Flag.DENYOOM,
    keys=_KEYS_MOVED,
    since="2.2.0",
    summary="Pops an element from a list, pushes it to another list and returns it. Block until an element is available "
    "otherwise. Deletes the list if the last element was popped.",
    history=_DOUBLE,
    deprecated_since="6.2.0",
    replaced_by="`BLMOVE` with the `RIGHT` and `LEFT` arguments",
)
def brpoplpush(ctx: Context, args: Args) -> Reply:
    wait_ms = timeout_ms(args[3], ctx.now_ms)
    value = moved(ctx, args[1], args[2], False, True)
    if value is None:
        return ctx.block(args, args[1:2], wait_ms, None)
    ctx.propagate(b"RPOPLPUSH", *args[1:3])
    return value


@group.command(
    "BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    arity=-5,
    flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=_KEYS_COUNTED,
    since="7.0.0",
    summary="Pops the first element from one of multiple lists. Blocks until an element is available otherwise. Deletes "
    "the list if the last element was popped.",
    complexity="O(N+M) where N is the number of provided keys and M is the number of elements returned.",
)
def blmpop(ctx: Context, args: Args) -> Reply:
    wait_ms = timeout_ms(args[1], ctx.now_ms)
    keys, head, count = lmpop_arguments(args, 2)
    for key in keys:
        found = ctx.write_as(key, List)
        if found is not None:
            return popped_from(ctx, key, found, head, count)
    return ctx.block(args, keys, wait_ms, NULL_ARRAY)
