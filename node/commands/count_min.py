"""Commands: count-min sketches (https://redis.io/docs/data-types/probabilistic/count-min-sketch/)."""

from __future__ import annotations

from node.commands.probabilistic import changed, fraction_or, integer_or, to_change, to_read
from node.context import Context
from node.errors import CommandError, wrong_arity
from node.registry import KEY_INSERT, KEY_READ, KEY_UPDATE, Args, Flag, Group, KeySpec
from node.resp import OK, Reply
from node.types.count_min import COUNTER_MAX, CountMin, SketchOverflow, SketchTooLarge, dimensions

group = Group("module")

_ACL = ("cms",)
_WRITE = Flag.WRITE | Flag.DENYOOM
_READ = Flag.READONLY | Flag.FAST

_MISSING = "CMS: key does not exist"
_EXISTS = "CMS: key already exists"
_TOO_LARGE = "CMS: invalid init arguments"


def _create(ctx: Context, key: bytes, width: int, depth: int) -> Reply:
    try:
        ctx.set(key, CountMin(width, depth))
    except SketchTooLarge:
        raise CommandError(_TOO_LARGE) from None
    changed(ctx, "cms.init", key)
    return OK


@group.command(
    "CMS.INITBYDIM key width depth",
    arity=4,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="2.0.0",
    summary="Initializes a Count-Min Sketch to dimensions specified by user.",
)
def cms_initbydim(ctx: Context, args: Args) -> Reply:
    if ctx.peek(args[1]) is not None:
        raise CommandError(_EXISTS)
    width = integer_or(args[2], "CMS: invalid width", 1)
    return _create(ctx, args[1], width, integer_or(args[3], "CMS: invalid depth", 1))


@group.command(
    "CMS.INITBYPROB key error probability",
    arity=4,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="2.0.0",
    summary="Initializes a Count-Min Sketch to accommodate requested tolerances.",
)
def cms_initbyprob(ctx: Context, args: Args) -> Reply:
    if ctx.peek(args[1]) is not None:
        raise CommandError(_EXISTS)
    error = fraction_or(args[2], "CMS: invalid overestimation value")
    probability = fraction_or(args[3], "CMS: invalid prob value")
    try:
        width, depth = dimensions(error, probability)
    except OverflowError:  # an error rate so small that the width is infinite
        raise CommandError(_TOO_LARGE) from None
    return _create(ctx, args[1], width, depth)


@group.command(
    "CMS.INCRBY key item increment [item increment ...]",
    arity=-4,
    flags=_WRITE,
    keys=KEY_UPDATE,
    acl=_ACL,
    since="2.0.0",
    summary="Increases the count of one or more items by increment.",
    complexity="O(n) where n is the number of items",
)
def cms_incrby(ctx: Context, args: Args) -> Reply:
    if len(args) % 2:
        raise wrong_arity("cms.incrby")
    key = args[1]
    found = to_change(ctx, key, CountMin, _MISSING)
    increments = [integer_or(text, "CMS: Cannot parse number", -(1 << 63)) for text in args[3::2]]
    if min(increments) < 0:
        raise CommandError("CMS: Number cannot be negative")
    counts = [found.add(item, count) for item, count in zip(args[2::2], increments, strict=True)]
    changed(ctx, "cms.incrby", key, len(counts))
    return [count if count < COUNTER_MAX else CommandError("CMS: INCRBY overflow") for count in counts]


@group.command(
    "CMS.QUERY key item [item ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.0.0",
    summary="Returns the count for one or more items in a sketch.",
    complexity="O(n) where n is the number of items",
)
def cms_query(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], CountMin, _MISSING)
    return [found.query(item) for item in args[2:]]


@group.command(
    "CMS.MERGE destination numKeys source [source ...] [WEIGHTS weight [weight ...]]",
    arity=-4,
    flags=_WRITE,
    keys=(KeySpec("RW access update"), KeySpec("RO access", begin=2, count_at=0)),
    acl=_ACL,
    since="2.0.0",
    summary="Merges several sketches into one sketch.",
    complexity="O(n) where n is the number of sketches",
)
def cms_merge(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = to_change(ctx, key, CountMin, _MISSING)
    count = integer_or(args[2], "CMS: invalid numkeys", -(1 << 63))
    if count <= 0:
        raise CommandError("CMS: Number of keys must be positive")
    rest = args[3:]
    weights = [1] * min(count, len(rest))
    if b"WEIGHTS" in [word.upper() for word in rest[count : count + 1]]:
        if len(rest) != 2 * count + 1:
            raise CommandError("CMS: wrong number of keys/weights")
        weights = [integer_or(text, "CMS: invalid weight value", -(1 << 63)) for text in rest[count + 1 :]]
    elif len(rest) != count:
        raise CommandError("CMS: wrong number of keys")
    sources = [to_read(ctx, source, CountMin, _MISSING) for source in rest[:count]]
    if any((one.width, one.depth) != (found.width, found.depth) for one in sources):
        raise CommandError("CMS: width/depth is not equal")
    try:
        found.merge(sources, weights)
    except SketchOverflow:
        raise CommandError("CMS: MERGE overflow") from None
    changed(ctx, "cms.merge", key)
    return OK


@group.command(
    "CMS.INFO key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.0.0",
    summary="Returns information about a sketch.",
)
def cms_info(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], CountMin, _MISSING)
    return {"width": found.width, "depth": found.depth, "count": found.total}
