"""Commands: cuckoo filters (https://redis.io/docs/data-types/probabilistic/cuckoo-filter/)."""

from __future__ import annotations

from node.arguments import Options
from node.commands.probabilistic import EXISTS, NOT_FOUND, changed, integer_or, only, to_change, to_read
from node.context import Context
from node.errors import SYNTAX, WRONG_TYPE, CommandError, wrong_arity
from node.registry import KEY_DELETE, KEY_INSERT, KEY_READ, KEY_UPDATE, Args, Flag, Group
from node.resp import OK, Reply
from node.types.bloom import BadDump, FilterFull, FilterTooLarge
from node.types.cuckoo import (
    BUCKET_SIZE_MAX,
    DEFAULT_BUCKET_SIZE,
    DEFAULT_CAPACITY,
    DEFAULT_EXPANSION,
    DEFAULT_MAX_ITERATIONS,
    EXPANSION_MAX,
    MAX_ITERATIONS_MAX,
    Cuckoo,
)

group = Group("module")

_ACL = ("cuckoo",)
_WRITE = Flag.WRITE | Flag.DENYOOM
_READ = Flag.READONLY | Flag.FAST
_COST_OF_ADDING = "O(k + i), where k is the number of sub-filters and i is maxIterations"
_COST_OF_ADDING_MANY = (
    "O(n * (k + i)), where n is the number of items, k is the number of sub-filters and i is maxIterations"
)
_COST = "O(k), where k is the number of sub-filters"
_COST_OF_MANY = "O(k * n), where k is the number of sub-filters and n is the number of items"

_NO_FILTER = "Not found"
_TOO_LARGE = "Couldn't create Cuckoo Filter"
_TOO_SMALL = "Capacity must be at least (BucketSize * 2)"
_FULL = "Filter is full"
_MOST_LAYERS = "Maximum expansions reached"


def _create(
    capacity: int,
    bucket_size: int = DEFAULT_BUCKET_SIZE,
    max_iterations: int = DEFAULT_MAX_ITERATIONS,
    expansion: int = DEFAULT_EXPANSION,
) -> Cuckoo:
    if capacity < bucket_size * 2:
        raise CommandError(_TOO_SMALL)
    try:
        return Cuckoo(capacity, bucket_size, max_iterations, expansion)
    except FilterTooLarge:
        raise CommandError(_TOO_LARGE) from None


@group.command(
    "CF.RESERVE key capacity [BUCKETSIZE bucketsize] [MAXITERATIONS maxiterations] [EXPANSION expansion]",
    arity=-3,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Creates a new cuckoo filter.",
)
def cf_reserve(ctx: Context, args: Args) -> Reply:
    if len(args) % 2 == 0:
        raise wrong_arity("cf.reserve")
    capacity = integer_or(args[2], "Bad capacity", 1)
    bucket_size, max_iterations, expansion = DEFAULT_BUCKET_SIZE, DEFAULT_MAX_ITERATIONS, DEFAULT_EXPANSION
    options = Options(args, 3)
    for word in options:
        if word == b"BUCKETSIZE":
            error = f"BUCKETSIZE: value must be an integer between 1 and {BUCKET_SIZE_MAX}, inclusive."
            bucket_size = integer_or(options.value(), error, 1, BUCKET_SIZE_MAX)
        elif word == b"MAXITERATIONS":
            error = f"MAXITERATIONS: value must be an integer between 1 and {MAX_ITERATIONS_MAX}, inclusive."
            max_iterations = integer_or(options.value(), error, 1, MAX_ITERATIONS_MAX)
        elif word == b"EXPANSION":
            error = f"EXPANSION: value must be an integer between 0 and {EXPANSION_MAX}, inclusive."
            expansion = integer_or(options.value(), error, 0, EXPANSION_MAX)
        else:
            raise CommandError(SYNTAX)
    key = args[1]
    if ctx.write_as(key, Cuckoo) is not None:
        raise CommandError(EXISTS)
    ctx.set(key, _create(capacity, bucket_size, max_iterations, expansion))
    changed(ctx, "cf.reserve", key)
    return OK


def _add_all(ctx: Context, args: Args, items: list[bytes], *, unique: bool, capacity: int | None) -> list[Reply]:
    """Add items to the filter at args[1]: True, False (for an item that is there), or the error why not, for each.

    capacity: of the filter to create if there is none; None to create none.
    """
    key = args[1]
    found = ctx.write_as(key, Cuckoo)
    is_new = found is None
    if found is None:
        if capacity is None:
            raise CommandError(NOT_FOUND)
        found = _create(capacity)
    replies: list[Reply] = []
    added = 0
    for item in items:
        if unique and item in found:
            replies.append(False)
            continue
        try:
            found.add(item)
        except (FilterFull, FilterTooLarge) as error:
            replies.append(CommandError(_FULL if isinstance(error, FilterFull) else _MOST_LAYERS))
        else:
            added += 1
            replies.append(True)
    if is_new:
        ctx.set(key, found)
    changed(ctx, "cf.add", key, max(added, int(is_new)))
    return replies


@group.command(
    "CF.ADD key item",
    arity=3,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Adds an item to a cuckoo filter.",
    complexity=_COST_OF_ADDING,
)
def cf_add(ctx: Context, args: Args) -> Reply:
    return only(_add_all(ctx, args, args[2:], unique=False, capacity=DEFAULT_CAPACITY))


@group.command(
    "CF.ADDNX key item",
    arity=3,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Adds an item to a cuckoo filter if the item did not exist previously.",
    complexity=_COST_OF_ADDING,
)
def cf_addnx(ctx: Context, args: Args) -> Reply:
    return only(_add_all(ctx, args, args[2:], unique=True, capacity=DEFAULT_CAPACITY))


def _insert(ctx: Context, args: Args, *, unique: bool) -> Reply:
    """CF.INSERT and CF.INSERTNX: an item that does not fit is replied to with -1."""
    capacity, creates = DEFAULT_CAPACITY, True
    items: list[bytes] = []
    options = Options(args, 2)
    for word in options:
        if word == b"ITEMS":
            items = args[len(args) - options.left() :]
            break
        if word == b"NOCREATE":
            creates = False
        elif word != b"CAPACITY":
            raise CommandError("Unknown argument received")
        elif not options.left():
            raise wrong_arity(args[0].decode("latin-1").lower())
        else:
            capacity = integer_or(options.value(), "Bad capacity", 1)
            if capacity < DEFAULT_BUCKET_SIZE * 2:
                raise CommandError(_TOO_SMALL)
    if not items:
        raise wrong_arity(args[0].decode("latin-1").lower())
    replies = _add_all(ctx, args, items, unique=unique, capacity=capacity if creates else None)
    return [-1 if isinstance(reply, CommandError) else reply for reply in replies]


@group.command(
    "CF.INSERT key [CAPACITY capacity] [NOCREATE] ITEMS item [item ...]",
    arity=-4,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Adds one or more items to a cuckoo filter. A filter will be created if it does not exist.",
    complexity=_COST_OF_ADDING_MANY,
)
def cf_insert(ctx: Context, args: Args) -> Reply:
    return _insert(ctx, args, unique=False)


@group.command(
    "CF.INSERTNX key [CAPACITY capacity] [NOCREATE] ITEMS item [item ...]",
    arity=-4,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Adds one or more items to a cuckoo filter if the items did not exist previously. A filter will be created "
    "if it does not exist.",
    complexity=_COST_OF_ADDING_MANY,
)
def cf_insertnx(ctx: Context, args: Args) -> Reply:
    return _insert(ctx, args, unique=True)


@group.command(
    "CF.EXISTS key item",
    arity=3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Checks whether an item exists in a cuckoo filter.",
    complexity=_COST,
)
def cf_exists(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Cuckoo)
    return found is not None and args[2] in found


@group.command(
    "CF.MEXISTS key item [item ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Checks whether one or more items exist in a cuckoo filter.",
    complexity=_COST_OF_MANY,
)
def cf_mexists(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Cuckoo)
    return [found is not None and item in found for item in args[2:]]


@group.command(
    "CF.COUNT key item",
    arity=3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Returns the number of times an item might be in a cuckoo filter.",
    complexity=_COST,
)
def cf_count(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Cuckoo)
    return 0 if found is None else found.count(args[2])


@group.command(
    "CF.DEL key item",
    arity=3,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_DELETE,
    acl=_ACL,
    since="1.0.0",
    summary="Deletes an item from a cuckoo filter.",
    complexity=_COST,
)
def cf_del(ctx: Context, args: Args) -> Reply:
    deleted = to_change(ctx, args[1], Cuckoo, _NO_FILTER).delete(args[2])
    changed(ctx, "cf.del", args[1], int(deleted))
    return deleted


@group.command(
    "CF.INFO key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Returns information about a cuckoo filter.",
)
def cf_info(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], Cuckoo, NOT_FOUND)
    return {
        "Size": found.memory,
        "Number of buckets": found.buckets,
        "Number of filters": len(found.layers),
        "Number of items inserted": found.items,
        "Number of items deleted": found.deleted,
        "Bucket size": found.bucket_size,
        "Expansion rate": found.expansion,
        "Max iterations": found.max_iterations,
    }


@group.command(
    "CF.SCANDUMP key iterator",
    arity=3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Begins an incremental save of a cuckoo filter.",
    complexity="O(n), where n is the capacity",
)
def cf_scandump(ctx: Context, args: Args) -> Reply:
    number = integer_or(args[2], "Invalid position", 0)
    found = to_read(ctx, args[1], Cuckoo, NOT_FOUND)
    if number == 0:
        return [1, found.header()]
    number, piece = found.chunk(number)
    return [number, piece or None]


@group.command(
    "CF.LOADCHUNK key iterator data",
    arity=4,
    flags=_WRITE,
    keys=KEY_UPDATE,
    acl=_ACL,
    since="1.0.0",
    summary="Restores a filter previously saved using SCANDUMP.",
    complexity="O(n), where n is the capacity",
)
def cf_loadchunk(ctx: Context, args: Args) -> Reply:
    key = args[1]
    number = integer_or(args[2], "Invalid position", 1)
    try:
        if number == 1:  # the header: what was there is overwritten
            if type(ctx.write(key)) not in (Cuckoo, type(None)):
                raise CommandError(WRONG_TYPE)
            found, sizes = Cuckoo.from_header(args[3])
            found.layers = [bytearray(size) for size in sizes]
            ctx.set(key, found)
        else:
            to_change(ctx, key, Cuckoo, NOT_FOUND).load_chunk(number, args[3])
    except BadDump:
        raise CommandError("Invalid header" if number == 1 else "Couldn't load chunk!") from None
    except FilterTooLarge:
        raise CommandError(_TOO_LARGE) from None
    changed(ctx, "cf.loadchunk", key)
    return OK
