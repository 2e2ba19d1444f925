"""Commands: the k most frequent items (https://redis.io/docs/data-types/probabilistic/top-k/)."""

from __future__ import annotations

from node.commands.probabilistic import changed, double_or, integer_or, to_change, to_read
from node.context import Context
from node.errors import CommandError, wrong_arity
from node.registry import KEY_INSERT, KEY_READ, KEY_UPDATE, Args, Flag, Group
from node.resp import OK, Reply
from node.types.top_k import (
    DEFAULT_DECAY,
    DEFAULT_DEPTH,
    DEFAULT_WIDTH,
    INCREMENT_MAX,
    SketchTooLarge,
    TopK,
)

group = Group("module")

_ACL = ("topk",)
_WRITE = Flag.WRITE | Flag.DENYOOM
_READ = Flag.READONLY | Flag.FAST

_MISSING = "TopK: key does not exist"
_EXISTS = "TopK: key already exists"
_TOO_LARGE = "TopK: could not create: k, width and depth ask for too much memory"
_BAD_DECAY = "TopK: invalid decay value. must be '<= 1' & '> 0'"
_BAD_INCREMENT = "TopK: increment must be an integer greater or equal to 0 and smaller or equal to 100,000"


@group.command(
    "TOPK.RESERVE key topk [width depth decay]",
    arity=-3,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="2.0.0",
    summary="Initializes a Top-K sketch with specified parameters.",
)
def topk_reserve(ctx: Context, args: Args) -> Reply:
    if len(args) not in (3, 6):
        raise wrong_arity("topk.reserve")
    key = args[1]
    if ctx.peek(key) is not None:
        raise CommandError(_EXISTS)
    k = integer_or(args[2], "TopK: invalid k", 1)
    width, depth, decay = DEFAULT_WIDTH, DEFAULT_DEPTH, DEFAULT_DECAY
    if len(args) == 6:
        width = integer_or(args[3], "TopK: invalid width", 1)
        depth = integer_or(args[4], "TopK: invalid depth", 1)
        decay = double_or(args[5], _BAD_DECAY)
        if not 0 < decay <= 1:
            raise CommandError(_BAD_DECAY)
    try:
        ctx.set(key, TopK(k, width, depth, decay))
    except SketchTooLarge:
        raise CommandError(_TOO_LARGE) from None
    changed(ctx, "topk.reserve", key)
    return OK


@group.command(
    "TOPK.ADD key item [item ...]",
    arity=-3,
    flags=_WRITE,
    keys=KEY_UPDATE,
    acl=_ACL,
    since="2.0.0",
    summary="Increases the count of one or more items by one.",
    complexity="O(n * k) where n is the number of items and k is the depth",
)
def topk_add(ctx: Context, args: Args) -> Reply:
    found = to_change(ctx, args[1], TopK, _MISSING)
    expelled = [found.add(item) for item in args[2:]]
    changed(ctx, "topk.add", args[1], len(expelled))
    return expelled


@group.command(
    "TOPK.INCRBY key item increment [item increment ...]",
    arity=-4,
    flags=_WRITE,
    keys=KEY_UPDATE,
    acl=_ACL,
    since="2.0.0",
    summary="Increases the count of one or more items by increment.",
    complexity="O(n * k * incr) where n is the number of items, k is the depth and incr is the increment",
)
def topk_incrby(ctx: Context, args: Args) -> Reply:
    if len(args) % 2:
        raise wrong_arity("topk.incrby")
    found = to_change(ctx, args[1], TopK, _MISSING)
    increments = [integer_or(text, _BAD_INCREMENT, 0, INCREMENT_MAX) for text in args[3::2]]
    pairs = zip(args[2::2], increments, strict=True)
    expelled = [found.add(item, count) if count else None for item, count in pairs]
    changed(ctx, "topk.incrby", args[1], len(expelled))
    return expelled


@group.command(
    "TOPK.QUERY key item [item ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.0.0",
    summary="Checks whether one or more items are in a sketch.",
    complexity="O(n) where n is the number of items",
)
def topk_query(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TopK, _MISSING)
    return [item in found.top for item in args[2:]]


@group.command(
    "TOPK.COUNT key item [item ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.0.0",
    summary="Returns the count for one or more items in a sketch.",
    complexity="O(n) where n is the number of items",
    deprecated_since="2.4.0",
)
def topk_count(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TopK, _MISSING)
    return [found.query(item) for item in args[2:]]


@group.command(
    "TOPK.LIST key [WITHCOUNT]",
    arity=-2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.0.0",
    summary="Returns the full list of items in a Top-K sketch.",
    complexity="O(k*log(k)) where k is the value of top-k",
)
def topk_list(ctx: Context, args: Args) -> Reply:
    if len(args) > 3:
        raise wrong_arity("topk.list")
    if len(args) == 3 and args[2].upper() != b"WITHCOUNT":
        raise CommandError("WITHCOUNT keyword expected")
    ranking = to_read(ctx, args[1], TopK, _MISSING).ranking()
    if len(args) == 2:
        return [item for item, _ in ranking]
    return [part for pair in ranking for part in pair]


@group.command(
    "TOPK.INFO key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.0.0",
    summary="Returns information about a sketch.",
)
def topk_info(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TopK, _MISSING)
    return {"k": found.k, "width": found.width, "depth": found.depth, "decay": found.decay}
