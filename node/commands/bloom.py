"""Commands: Bloom filters (https://redis.io/docs/data-types/probabilistic/bloom-filter/)."""

from __future__ import annotations

from collections.abc import Callable

from node.arguments import Options
from node.commands.probabilistic import (
    EXISTS,
    NOT_FOUND,
    changed,
    double_or,
    fraction_or,
    integer_or,
    only,
    to_change,
    to_read,
)
from node.context import Context
from node.errors import SYNTAX, WRONG_TYPE, CommandError, wrong_arity
from node.registry import KEY_INSERT, KEY_READ, KEY_UPDATE, Args, Flag, Group
from node.resp import OK, Reply
from node.types.bloom import (
    DEFAULT_CAPACITY,
    DEFAULT_ERROR_RATE,
    DEFAULT_EXPANSION,
    EXPANSION_MAX,
    BadDump,
    Bloom,
    FilterFull,
    FilterTooLarge,
)

group = Group("module")

_ACL = ("bloom",)
_WRITE = Flag.WRITE | Flag.DENYOOM
_READ = Flag.READONLY | Flag.FAST
_COST = "O(k), where k is the number of hash functions used by the last sub-filter"
_COST_OF_MANY = "O(k * n), where k is the number of hash functions and n is the number of items"

_TOO_LARGE = "ERR could not create filter"
_FULL = "ERR non scaling filter is full"
_CANNOT_GROW = "ERR filter is full and may not grow further"
_BAD_DUMP = "ERR received bad data"

Creator = Callable[[], Bloom]


def _create(capacity: int, error_rate: float, expansion: int) -> Bloom:
    try:
        return Bloom(capacity, error_rate, expansion)
    except FilterTooLarge:
        raise CommandError(_TOO_LARGE) from None


def _usual() -> Bloom:
    return _create(DEFAULT_CAPACITY, DEFAULT_ERROR_RATE, DEFAULT_EXPANSION)


@group.command(
    "BF.RESERVE key error_rate capacity [EXPANSION expansion] [NONSCALING]",
    arity=-4,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Creates a new Bloom filter.",
)
def bf_reserve(ctx: Context, args: Args) -> Reply:
    if len(args) > 7:
        raise wrong_arity("bf.reserve")
    error_rate = double_or(args[2], "ERR bad error rate")
    if not 0 < error_rate < 1:
        raise CommandError("ERR (0 < error rate range < 1)")
    capacity = integer_or(args[3], "ERR bad capacity", -(1 << 63))
    if capacity <= 0:
        raise CommandError("ERR (capacity should be larger than 0)")
    expansion: int | None = None
    scales = True
    options = Options(args, 4)
    for word in options:
        if word == b"NONSCALING":
            scales = False
        elif word == b"EXPANSION":
            if not options.left():
                raise CommandError("ERR no expansion")
            expansion = integer_or(options.value(), "ERR bad expansion", 0, EXPANSION_MAX)
        else:
            raise CommandError(SYNTAX)
    if not scales and expansion:
        raise CommandError("Nonscaling filters cannot expand")
    key = args[1]
    if ctx.write_as(key, Bloom) is not None:
        raise CommandError(EXISTS)
    usual = DEFAULT_EXPANSION if expansion is None else expansion
    ctx.set(key, _create(capacity, error_rate, usual if scales else 0))
    changed(ctx, "bf.reserve", key)
    return OK


def _add_all(ctx: Context, key: bytes, items: list[bytes], create: Creator | None) -> list[Reply]:
    """Add items, up to the first that does not fit, whose reply is an error. create: None to add to no new filter."""
    found = ctx.write_as(key, Bloom)
    is_new = found is None
    if found is None:
        if create is None:
            raise CommandError(NOT_FOUND)
        found = create()
    replies: list[Reply] = []
    added = 0
    for item in items:
        try:
            fresh = found.add(item)
        except (FilterFull, FilterTooLarge) as error:
            replies.append(CommandError(_FULL if isinstance(error, FilterFull) else _CANNOT_GROW))
            break
        added += fresh
        replies.append(fresh)
    if is_new:
        ctx.set(key, found)
    changed(ctx, "bf.add", key, max(added, int(is_new)))
    return replies


@group.command(
    "BF.ADD key item",
    arity=3,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Adds an item to a Bloom filter.",
    complexity=_COST,
)
def bf_add(ctx: Context, args: Args) -> Reply:
    return only(_add_all(ctx, args[1], args[2:], _usual))


@group.command(
    "BF.MADD key item [item ...]",
    arity=-3,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Adds one or more items to a Bloom filter. A filter will be created if it does not exist.",
    complexity=_COST_OF_MANY,
)
def bf_madd(ctx: Context, args: Args) -> Reply:
    return _add_all(ctx, args[1], args[2:], _usual)


@group.command(
    "BF.INSERT key [CAPACITY capacity] [ERROR error] [EXPANSION expansion] [NOCREATE] [NONSCALING] "
    "ITEMS item [item ...]",
    arity=-4,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="1.0.0",
    summary="Adds one or more items to a Bloom filter. A filter will be created if it does not exist.",
    complexity=_COST_OF_MANY,
)
def bf_insert(ctx: Context, args: Args) -> Reply:
    capacity, error_rate, expansion = DEFAULT_CAPACITY, DEFAULT_ERROR_RATE, DEFAULT_EXPANSION
    creates = scales = True
    items: list[bytes] = []
    options = Options(args, 2)
    for word in options:
        if word == b"ITEMS":
            items = args[len(args) - options.left() :]
            break
        if word == b"NOCREATE":
            creates = False
        elif word == b"NONSCALING":
            scales = False
        elif word not in (b"CAPACITY", b"ERROR", b"EXPANSION"):
            raise CommandError("Unknown argument received")
        elif not options.left():
            raise wrong_arity("bf.insert")
        elif word == b"CAPACITY":
            capacity = integer_or(options.value(), "Bad capacity", 1)
        elif word == b"ERROR":
            error_rate = fraction_or(options.value(), "Bad error rate")
        else:
            expansion = integer_or(options.value(), "Bad expansion", 0, EXPANSION_MAX)
    if not items:
        raise wrong_arity("bf.insert")

    def create() -> Bloom:
        return _create(capacity, error_rate, expansion if scales else 0)

    return _add_all(ctx, args[1], items, create if creates else None)


@group.command(
    "BF.EXISTS key item",
    arity=3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Checks whether an item exists in a Bloom filter.",
    complexity="O(k), where k is the number of hash functions used by all sub-filters",
)
def bf_exists(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Bloom)
    return found is not None and args[2] in found


@group.command(
    "BF.MEXISTS key item [item ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Checks whether one or more items exist in a Bloom filter.",
    complexity=_COST_OF_MANY,
)
def bf_mexists(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Bloom)
    return [found is not None and item in found for item in args[2:]]


@group.command(
    "BF.CARD key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.4",
    summary="Returns the cardinality of a Bloom filter.",
)
def bf_card(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Bloom)
    return 0 if found is None else found.items


_FACTS: dict[bytes, tuple[str, Callable[[Bloom], int | None]]] = {
    b"CAPACITY": ("Capacity", lambda found: found.capacity),
    b"SIZE": ("Size", lambda found: found.memory),
    b"FILTERS": ("Number of filters", lambda found: len(found.layers)),
    b"ITEMS": ("Number of items inserted", lambda found: found.items),
    b"EXPANSION": ("Expansion rate", lambda found: found.expansion or None),
}


@group.command(
    "BF.INFO key [CAPACITY | SIZE | FILTERS | ITEMS | EXPANSION]",
    arity=-2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Returns information about a Bloom filter.",
)
def bf_info(ctx: Context, args: Args) -> Reply:
    if len(args) > 3:
        raise wrong_arity("bf.info")
    found = to_read(ctx, args[1], Bloom, NOT_FOUND)
    if len(args) == 2:
        return {name: tell(found) for name, tell in _FACTS.values()}
    fact = _FACTS.get(args[2].upper())
    if fact is None:
        raise CommandError("ERR Invalid information value")
    return [fact[1](found)]


@group.command(
    "BF.SCANDUMP key iterator",
    arity=3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="1.0.0",
    summary="Begins an incremental save of a Bloom filter.",
    complexity="O(n), where n is the capacity",
)
def bf_scandump(ctx: Context, args: Args) -> Reply:
    number = integer_or(args[2], "ERR Second argument must be numeric", 0)
    found = to_read(ctx, args[1], Bloom, NOT_FOUND)
    if number == 0:
        return [1, found.header()]
    return list(found.chunk(number))


@group.command(
    "BF.LOADCHUNK key iterator data",
    arity=4,
    flags=_WRITE,
    keys=KEY_UPDATE,
    acl=_ACL,
    since="1.0.0",
    summary="Restores a filter previously saved using SCANDUMP.",
    complexity="O(n), where n is the capacity",
)
def bf_loadchunk(ctx: Context, args: Args) -> Reply:
    key = args[1]
    number = integer_or(args[2], "ERR Second argument must be numeric", 1)
    try:
        if number == 1:  # the header: what was there is overwritten
            if type(ctx.write(key)) not in (Bloom, type(None)):
                raise CommandError(WRONG_TYPE)
            ctx.set(key, Bloom.from_header(args[3]))
        else:
            to_change(ctx, key, Bloom, NOT_FOUND).load_chunk(number, args[3])
    except BadDump:
        raise CommandError(_BAD_DUMP) from None
    except FilterTooLarge:
        raise CommandError(_TOO_LARGE) from None
    changed(ctx, "bf.loadchunk", key)
    return OK
