"""Commands: lists, but those that wait (https://redis.io/docs/data-types/lists/)."""

from __future__ import annotations

from node.arguments import Options, integer, integer_between, positive_integer
from node.context import Context
from node.errors import NO_SUCH_KEY, OUT_OF_RANGE, SYNTAX, CommandError, wrong_arity
from node.numbers import LONG_MAX, parse_int
from node.registry import (
    KEY_ACCESS_DELETE,
    KEY_DELETE,
    KEY_INSERT,
    KEY_UPDATE,
    Args,
    Flag,
    Group,
    KeySpec,
)
from node.resp import NULL_ARRAY, OK, Reply
from node.types.list import List

group = Group("list")

_READ = Flag.READONLY
_WRITE = Flag.WRITE | Flag.DENYOOM
_FAST_WRITE = Flag.WRITE | Flag.DENYOOM | Flag.FAST
_KEYS_MOVED = (KeySpec("RW access delete"), KeySpec("RW insert", begin=2))
KEYS_COUNTED = (KeySpec("RW access delete", begin=1, count_at=0),)
"""numkeys, then so many keys, of the first of which elements are popped."""

_PUSH_COST = (
    "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments."
)
_MANY_ELEMENTS = "Accepts multiple `element` arguments."
_ENDS = {b"LEFT": True, b"RIGHT": False}
_EVENTS_OF_POP = {True: "lpop", False: "rpop"}
_EVENTS_OF_PUSH = {True: "lpush", False: "rpush"}


def end_of(text: bytes) -> bool:
    """Whether LEFT or RIGHT means the head. CommandError for any other word."""
    head = _ENDS.get(text.upper())
    if head is None:
        raise CommandError(SYNTAX)
    return head


def key_count(args: Args, at: int) -> int:
    """The number of keys that stands at args[at], before the keys. CommandError when it is not a number above 0."""
    number = parse_int(args[at])
    if number is None or number < 1:
        raise CommandError("ERR numkeys should be greater than 0")
    return number


def _push(ctx: Context, args: Args, head: bool, make: bool = True) -> int:
    """Add args[2:] to the list at args[1], made when there is none and `make` says so. Returns its length."""
    key = args[1]
    found = ctx.write_as(key, List)
    if found is None:
        if not make:
            return 0
        found = List()
        ctx.set(key, found)
    values = args[2:]
    found.push(values, head, ctx.node.config)
    ctx.dirty += len(values)
    if ctx.observers:
        ctx.node.observe(ctx.database, _EVENTS_OF_PUSH[head], key)
    return found.count


def taken_from(ctx: Context, key: bytes, found: List, head: bool, count: int) -> None:
    """`count` elements were taken from one end of the list at `key`: tell, and remove an empty list."""
    ctx.dirty += count
    if ctx.observers:
        ctx.node.observe(ctx.database, _EVENTS_OF_POP[head], key)
    if not found.count or (found.fill is not None and len(found.blocks) == 1):
        _removed_from(ctx, key, found)


def _removed_from(ctx: Context, key: bytes, found: List) -> None:
    """Elements are gone from the list at `key`: remove it when it is empty."""
    if found.count:
        found.shrink(ctx.node.config)
        return
    ctx.discard(key)
    if ctx.observers:
        ctx.node.observe(ctx.database, "del", key)


def moved(ctx: Context, source: bytes, destination: bytes, from_head: bool, to_head: bool) -> bytes | None:
    """Move an element from one list to another or the same (LMOVE). None when there is no source."""
    taken_list = ctx.write_as(source, List)
    if taken_list is None:
        return None
    given_list = ctx.write_as(destination, List)
    limits = ctx.node.config
    value = taken_list.pop(from_head, limits)
    if given_list is None:
        given_list = List()
        ctx.set(destination, given_list)
    given_list.push([value], to_head, limits)
    if ctx.observers:
        ctx.node.observe(ctx.database, _EVENTS_OF_PUSH[to_head], destination)
    taken_from(ctx, source, taken_list, from_head, 1)
    return value


# Both ends ------------------------------------------------------------------------------------------------------------


@group.command(
    "LPUSH key element [element ...]",
    arity=-3,
    flags=_FAST_WRITE,
    keys=KEY_INSERT,
    since="1.0.0",
    summary="Prepends one or more elements to a list. Creates the key if it doesn't exist.",
    complexity=_PUSH_COST,
    history=(("2.4.0", _MANY_ELEMENTS),),
)
def lpush(ctx: Context, args: Args) -> Reply:
    return _push(ctx, args, True)


@group.command(
    "RPUSH key element [element ...]",
    arity=-3,
    flags=_FAST_WRITE,
    keys=KEY_INSERT,
    since="1.0.0",
    summary="Appends one or more elements to a list. Creates the key if it doesn't exist.",
    complexity=_PUSH_COST,
    history=(("2.4.0", _MANY_ELEMENTS),),
)
def rpush(ctx: Context, args: Args) -> Reply:
    return _push(ctx, args, False)


@group.command(
    "LPUSHX key element [element ...]",
    arity=-3,
    flags=_FAST_WRITE,
    keys=KEY_INSERT,
    since="2.2.0",
    summary="Prepends one or more elements to a list only when the list exists.",
    complexity=_PUSH_COST,
    history=(("4.0.0", _MANY_ELEMENTS),),
)
def lpushx(ctx: Context, args: Args) -> Reply:
    return _push(ctx, args, True, make=False)


@group.command(
    "RPUSHX key element [element ...]",
    arity=-3,
    flags=_FAST_WRITE,
    keys=KEY_INSERT,
    since="2.2.0",
    summary="Appends one or more elements to a list only when the list exists.",
    complexity=_PUSH_COST,
    history=(("4.0.0", _MANY_ELEMENTS),),
)
def rpushx(ctx: Context, args: Args) -> Reply:
    return _push(ctx, args, False, make=False)


@group.command(
    "LPOP key [count]",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_ACCESS_DELETE,
    since="1.0.0",
    summary="Returns and removes one or more elements from the beginning of a list. Deletes the list if the last "
    "element was popped.",
    complexity="O(N) where N is the number of elements returned",
    history=(("6.2.0", "Added the `count` argument."),),
)
def lpop(ctx: Context, args: Args) -> Reply:
    return _pop(ctx, args, True)


@group.command(
    "RPOP key [count]",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_ACCESS_DELETE,
    since="1.0.0",
    summary="Returns and removes one or more elements from the end of a list. Deletes the list if the last element was "
    "popped.",
    complexity="O(N) where N is the number of elements returned",
    history=(("6.2.0", "Added the `count` argument."),),
)
def rpop(ctx: Context, args: Args) -> Reply:
    return _pop(ctx, args, False)


def _pop(ctx: Context, args: Args, head: bool) -> Reply:
    key = args[1]
    if len(args) == 2:
        found = ctx.write_as(key, List)
        if found is None:
            return None
        value = found.pop(head, ctx.node.config)
        taken_from(ctx, key, found, head, 1)
        return value
    if len(args) > 3:
        raise wrong_arity("lpop" if head else "rpop")
    count = positive_integer(args[2])
    found = ctx.write_as(key, List)
    if found is None:
        return NULL_ARRAY
    if not count:
        return []
    values = found.pop_many(count, head, ctx.node.config)
    taken_from(ctx, key, found, head, len(values))
    return values


@group.command(
    "LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    arity=-4,
    flags=Flag.WRITE | Flag.MOVABLEKEYS,
    keys=KEYS_COUNTED,
    since="7.0.0",
    summary="Returns multiple elements from a list after removing them. Deletes the list if the last element was "
    "popped.",
    complexity="O(N+M) where N is the number of provided keys and M is the number of elements returned.",
)
def lmpop(ctx: Context, args: Args) -> Reply:
    keys, head, count = lmpop_arguments(args, 1)
    for key in keys:
        found = ctx.write_as(key, List)
        if found is not None:
            return popped_from(ctx, key, found, head, count)
    return NULL_ARRAY


def lmpop_arguments(args: Args, at: int) -> tuple[list[bytes], bool, int]:
    """Keys, whether LEFT, and COUNT of a request whose number of keys stands at args[at]. CommandError for bad ones."""
    first = at + 1
    end = first + key_count(args, at)
    if end >= len(args):
        raise CommandError(SYNTAX)
    head = end_of(args[end])
    count = 0
    options = Options(args, end + 1)
    for word in options:
        if word != b"COUNT" or count:
            raise CommandError(SYNTAX)
        count = parse_int(options.value()) or 0
        if count < 1:
            raise CommandError("ERR count should be greater than 0")
    return args[first:end], head, count or 1


def popped_from(ctx: Context, key: bytes, found: List, head: bool, count: int) -> Reply:
    """The reply of LMPOP, with elements taken from the list at `key`; told to replicas as LPOP or RPOP."""
    values = found.pop_many(count, head, ctx.node.config)
    taken_from(ctx, key, found, head, len(values))
    ctx.propagate(b"LPOP" if head else b"RPOP", key, b"%d" % len(values))
    return [key, values]


@group.command(
    "LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>",
    arity=5,
    flags=_WRITE,
    keys=_KEYS_MOVED,
    since="6.2.0",
    summary="Returns an element after popping it from one list and pushing it to another. Deletes the list if the last "
    "element was moved.",
)
def lmove(ctx: Context, args: Args) -> Reply:
    from_head = end_of(args[3])
    return moved(ctx, args[1], args[2], from_head, end_of(args[4]))


@group.command(
    "RPOPLPUSH source destination",
    arity=3,
    flags=_WRITE,
    keys=_KEYS_MOVED,
    since="1.2.0",
    summary="Returns the last element of a list after removing and pushing it to another list. Deletes the list if the "
    "last element was popped.",
    deprecated_since="6.2.0",
    replaced_by="`LMOVE` with the `RIGHT` and `LEFT` arguments",
)
def rpoplpush(ctx: Context, args: Args) -> Reply:
    return moved(ctx, args[1], args[2], False, True)


# Writing --------------------------------------------------------------------------------------------------------------


@group.command(
    "LSET key index element",
    arity=4,
    flags=_WRITE,
    keys=KEY_UPDATE,
    since="1.0.0",
    summary="Sets the value of an element in a list by its index.",
    complexity="O(N) where N is the length of the list. Setting either the first or the last element of the list is "
    "O(1).",
)
def lset(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = ctx.write_as(key, List)
    if found is None:
        raise CommandError(NO_SUCH_KEY)
    index = integer(args[2])
    found.grow(args[3:], ctx.node.config)
    if index < 0:
        index += found.count
    if not 0 <= index < found.count:
        raise CommandError(OUT_OF_RANGE)
    found.replace(index, args[3], ctx.node.config)
    ctx.modified("lset", key)
    return OK


@group.command(
    "LINSERT key <BEFORE | AFTER> pivot element",
    arity=5,
    flags=_WRITE,
    keys=KEY_INSERT,
    since="2.2.0",
    summary="Inserts an element before or after another element in a list.",
    complexity="O(N) where N is the number of elements to traverse before seeing the value pivot. This means that "
    "inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the "
    "right end (tail) is O(N).",
)
def linsert(ctx: Context, args: Args) -> Reply:
    key, place = args[1], args[2].upper()
    if place not in (b"BEFORE", b"AFTER"):
        raise CommandError(SYNTAX)
    found = ctx.write_as(key, List)
    if found is None:
        return 0
    found.grow(args[4:], ctx.node.config)
    if not found.insert(args[3], args[4], place == b"AFTER"):
        return -1
    ctx.modified("linsert", key)
    return found.count


@group.command(
    "LREM key count element",
    arity=4,
    flags=Flag.WRITE,
    keys=KEY_DELETE,
    since="1.0.0",
    summary="Removes elements from a list. Deletes the list if the last element was removed.",
    complexity="O(N+M) where N is the length of the list and M is the number of elements removed.",
)
def lrem(ctx: Context, args: Args) -> Reply:
    key = args[1]
    count = integer_between(args[2], -LONG_MAX, LONG_MAX)
    found = ctx.write_as(key, List)
    if found is None:
        return 0
    removed = found.remove(args[3], count, ctx.node.config)
    if removed:
        ctx.modified("lrem", key)
        ctx.dirty += removed - 1
        _removed_from(ctx, key, found)
    return removed


@group.command(
    "LTRIM key start stop",
    arity=4,
    flags=Flag.WRITE,
    keys=KEY_DELETE,
    since="1.0.0",
    summary="Removes elements from both ends of a list. Deletes the list if all elements were trimmed.",
    complexity="O(N) where N is the number of elements to be removed by the operation.",
)
def ltrim(ctx: Context, args: Args) -> Reply:
    key = args[1]
    start, stop = integer(args[2]), integer(args[3])
    found = ctx.write_as(key, List)
    if found is None:
        return OK
    size = found.count
    start = max(start + size, 0) if start < 0 else start
    stop = min(stop + size if stop < 0 else stop, size - 1)
    before, behind = (size, 0) if start > stop or start >= size else (start, size - 1 - stop)
    found.trim(before, behind, ctx.node.config)
    ctx.modified("ltrim", key)
    ctx.dirty += before + behind - 1
    _removed_from(ctx, key, found)
    return OK
