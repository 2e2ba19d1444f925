"""Commands: sorted sets, waiting for a member (https://redis.io/docs/data-types/sorted-sets/). `blocking.py` says how."""

from __future__ import annotations

from node.arguments import timeout_ms
from node.commands.sorted_sets_common import opened, pop, popped_from, zmpop_arguments
from node.context import Context
from node.registry import Args, Flag, Group, KeySpec
from node.resp import NULL_ARRAY, Reply

group = Group("sorted-set")

_BLOCKS = Flag.WRITE | Flag.NOSCRIPT | Flag.BLOCKING | Flag.FAST
_KEYS = (KeySpec("RW access delete", last=-2),)
_COST = "O(log(N)) with N being the number of elements in the sorted set."
_DOUBLE = (("6.0.0", "`timeout` is interpreted as a double instead of an integer."),)


def _pop_or_wait(ctx: Context, args: Args, highest: bool) -> Reply:
    """BZPOPMIN and BZPOPMAX: a member of the first sorted set that has one, with its key and score."""
    wait_ms = timeout_ms(args[-1], ctx.now_ms)
    keys = args[1:-1]
    for key in keys:
        found = opened(ctx, key)
        if found is not None:
            [(member, score)] = pop(ctx, key, found, highest, 1)
            ctx.propagate(b"ZPOPMAX" if highest else b"ZPOPMIN", key)
            return [key, member, score]
    return ctx.block(args, keys, wait_ms, NULL_ARRAY)


@group.command(
    "BZPOPMIN key [key ...] timeout",
    arity=-3,
    flags=_BLOCKS,
    keys=_KEYS,
    acl=("sortedset",),
    since="5.0.0",
    summary="Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a member is "
    "available otherwise. Deletes the sorted set if the last element was popped.",
    complexity=_COST,
    history=_DOUBLE,
)
def bzpopmin(ctx: Context, args: Args) -> Reply:
    return _pop_or_wait(ctx, args, False)


@group.command(
    "BZPOPMAX key [key ...] timeout",
    arity=-3,
    flags=_BLOCKS,
    keys=_KEYS,
    acl=("sortedset",),
    since="5.0.0",
    summary="Removes and returns the member with the highest score from one or more sorted sets. Blocks until a member is "
    "available otherwise. Deletes the sorted set if the last element was popped.",
    complexity=_COST,
    history=_DOUBLE,
)
def bzpopmax(ctx: Context, args: Args) -> Reply:
    return _pop_or_wait(ctx, args, True)


@group.command(
    "BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
    arity=-5,
    flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=(KeySpec("RW access delete", begin=2, count_at=0),),
    acl=("sortedset",),
    since="7.0.0",
    summary="Removes and returns a member by score from one or more sorted sets. Blocks until a member is available "
    "otherwise. Deletes the sorted set if the last element was popped.",
    complexity="O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted "
    "set, and M being the number of elements popped.",
)
def bzmpop(ctx: Context, args: Args) -> Reply:
    wait_ms = timeout_ms(args[1], ctx.now_ms)
    keys, highest, count = zmpop_arguments(args, 2)
    for key in keys:
        found = opened(ctx, key)
        if found is not None:
            return popped_from(ctx, key, found, highest, count)
    return ctx.block(args, keys, wait_ms, NULL_ARRAY)
