"""Commands: sets (https://redis.io/docs/data-types/sets/)."""

from __future__ import annotations

from node.arguments import Options, integer_between, positive_integer
from node.commands.lists import key_count
from node.commands.scanning import begun, page
from node.context import Context
from node.errors import SYNTAX, CommandError
from node.numbers import LONG_MAX, parse_int
from node.registry import (
    KEY_ACCESS_DELETE,
    KEY_DELETE,
    KEY_INSERT,
    KEY_LOOK,
    KEY_READ,
    Args,
    Flag,
    Group,
    KeySpec,
)
from node.resp import OrderedSet, Reply
from node.types.set import Set, difference, intersection, union

group = Group("set")

_READ = Flag.READONLY
_FAST_READ = Flag.READONLY | Flag.FAST
_WRITE = Flag.WRITE | Flag.DENYOOM
_FAST_WRITE = Flag.WRITE | Flag.DENYOOM | Flag.FAST
_ANY_ORDER = ("nondeterministic_output_order",)
_RANDOM = ("nondeterministic_output",)

_KEYS_READ = (KeySpec("RO access", last=-1),)
_KEYS_STORED = (KeySpec("OW update"), KeySpec("RO access", begin=2, last=-1))
_KEYS_COUNTED = (KeySpec("RO access", begin=1, count_at=0),)
_KEYS_MOVED = (KeySpec("RW access delete"), KeySpec("RW insert", begin=2))

_ALL_SETS = "O(N) where N is the total number of elements in all given sets."
_SMALLEST_SET = "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets."
_MANY_MEMBERS = "Accepts multiple `member` arguments."

_RANDOM_MEMBERS_MAX = 1 << 23
"""SRANDMEMBER with a negative count repeats members without end; a reply beyond this many would only exhaust memory."""
_REMOVED_AT_ONCE = 1024
"""SPOP of many members is told to replicas as SREMs of at most so many each."""


def _emptied(ctx: Context, key: bytes, found: Set) -> None:
    """Remove the set at `key` if nothing is left in it."""
    if not found.is_empty:
        return
    ctx.discard(key)
    if ctx.observers:
        ctx.node.observe(ctx.database, "del", key)


# One set --------------------------------------------------------------------------------------------------------------


@group.command(
    "SADD key member [member ...]",
    arity=-3,
    flags=_FAST_WRITE,
    keys=KEY_INSERT,
    since="1.0.0",
    summary="Adds one or more members to a set. Creates the key if it doesn't exist.",
    complexity="O(1) for each element added, so O(N) to add N elements when the command is called with multiple "
    "arguments.",
    history=(("2.4.0", _MANY_MEMBERS),),
)
def sadd(ctx: Context, args: Args) -> Reply:
    key = args[1]
    limits = ctx.node.config
    found = ctx.write_as(key, Set)
    if found is None:
        found = Set.of(args[2], len(args) - 2, limits)
        ctx.set(key, found)
    if len(args) == 3:
        if not found.add(args[2], limits):
            return 0
        ctx.dirty += 1
        if ctx.observers:
            ctx.node.observe(ctx.database, "sadd", key)
        return 1
    found.expect(len(args) - 2, limits)
    added = found.update(args[2:], limits)
    if added:
        ctx.modified("sadd", key)
        ctx.dirty += added - 1
    return added


@group.command(
    "SREM key member [member ...]",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_DELETE,
    since="1.0.0",
    summary="Removes one or more members from a set. Deletes the set if the last member was removed.",
    complexity="O(N) where N is the number of members to be removed.",
    history=(("2.4.0", _MANY_MEMBERS),),
)
def srem(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = ctx.write_as(key, Set)
    if found is None:
        return 0
    limits = ctx.node.config
    removed = sum([found.remove(member, limits) for member in args[2:]])
    if removed:
        ctx.modified("srem", key)
        ctx.dirty += removed - 1
        _emptied(ctx, key, found)
    return removed


@group.command(
    "SMOVE source destination member",
    arity=4,
    flags=Flag.WRITE | Flag.FAST,
    keys=_KEYS_MOVED,
    since="1.0.0",
    summary="Moves a member from one set to another.",
)
def smove(ctx: Context, args: Args) -> Reply:
    source, destination, member = args[1:]
    if ctx.write(source) is None:
        return 0
    found, target = ctx.write_as(source, Set), ctx.write_as(destination, Set)
    assert found is not None
    if found is target:
        return int(member in found)
    limits = ctx.node.config
    if not found.remove(member, limits):
        return 0
    ctx.modified("srem", source)
    _emptied(ctx, source, found)
    if target is None:
        target = Set.of(member, 1, limits)
        ctx.set(destination, target)
    if target.add(member, limits):
        ctx.modified("sadd", destination)
    return 1


@group.command(
    "SCARD key",
    arity=2,
    flags=_FAST_READ,
    keys=KEY_LOOK,
    since="1.0.0",
    summary="Returns the number of members in a set.",
)
def scard(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Set)
    return 0 if found is None else len(found)


@group.command(
    "SISMEMBER key member",
    arity=3,
    flags=_FAST_READ,
    keys=KEY_LOOK,
    since="1.0.0",
    summary="Determines whether a member belongs to a set.",
)
def sismember(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Set)
    return 0 if found is None else int(args[2] in found)


@group.command(
    "SMISMEMBER key member [member ...]",
    arity=-3,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="6.2.0",
    summary="Determines whether multiple members belong to a set.",
    complexity="O(N) where N is the number of elements being checked for membership.",
)
def smismember(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Set)
    if found is None:
        return [0] * (len(args) - 2)
    return [int(member in found) for member in args[2:]]


@group.command(
    "SMEMBERS key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    hints=_ANY_ORDER,
    since="1.0.0",
    summary="Returns all members of a set.",
    complexity="O(N) where N is the set cardinality.",
)
def smembers(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Set)
    return OrderedSet(() if found is None else found.members())


# Drawing and scanning -------------------------------------------------------------------------------------------------


@group.command(
    "SPOP key [count]",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_ACCESS_DELETE,
    hints=_RANDOM,
    since="1.0.0",
    summary="Returns one or more random members from a set after removing them. Deletes the set if the last member was "
    "popped.",
    complexity="Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
    history=(("3.2.0", "Added the `count` argument."),),
)
def spop(ctx: Context, args: Args) -> Reply:
    key = args[1]
    if len(args) > 2:
        return _spop_many(ctx, args)
    found = ctx.write_as(key, Set)
    if found is None:
        return None
    node = ctx.node
    member = found.take(node.random, node.config)
    ctx.dirty += 1
    if ctx.observers:
        node.observe(ctx.database, "spop", key)
    if node.replication.feeding or node.unusual:  # Somebody may want to hear of it.
        ctx.propagate(b"SREM", key, member)
    if len(found.store) < 2:  # Only then it can be empty, in any form.
        _emptied(ctx, key, found)
    return member


def _spop_many(ctx: Context, args: Args) -> Reply:
    if len(args) > 3:
        raise CommandError(SYNTAX)
    key = args[1]
    count = positive_integer(args[2])
    found = ctx.write_as(key, Set)
    if found is None or not count:
        return OrderedSet()
    config = ctx.node.config
    ctx.modified("spop", key)
    if count >= len(found):
        members = found.members()
        ctx.discard(key)
        if ctx.observers:
            ctx.node.observe(ctx.database, "del", key)
        ctx.propagate(b"UNLINK" if config.lazyfree_lazy_server_del else b"DEL", key)
    else:
        members = found.take_many(count, ctx.node.random, config)
        for at in range(0, count, _REMOVED_AT_ONCE):
            ctx.propagate(b"SREM", key, *members[at : at + _REMOVED_AT_ONCE])
    ctx.dirty += len(members) - 1
    return OrderedSet(members)


@group.command(
    "SRANDMEMBER key [count]",
    arity=-2,
    flags=_READ,
    keys=KEY_READ,
    hints=_RANDOM,
    since="1.0.0",
    summary="Gets one or multiple random members from a set.",
    complexity="Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
    history=(("2.6.0", "Added the optional `count` argument."),),
)
def srandmember(ctx: Context, args: Args) -> Reply:
    random = ctx.node.random
    if len(args) == 2:
        found = ctx.read_as(args[1], Set)
        return None if found is None else found.draw(1, random)[0]
    if len(args) > 3:
        raise CommandError(SYNTAX)
    count = integer_between(args[2], -LONG_MAX, LONG_MAX)
    found = ctx.read_as(args[1], Set)
    if found is None or count == 0:
        return []
    if count > 0:
        return found.draw_distinct(count, random)
    if count < -_RANDOM_MEMBERS_MAX:
        raise CommandError("ERR value is out of range")
    return found.draw(-count, random)


@group.command(
    "SSCAN key cursor [MATCH pattern] [COUNT count]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    hints=_RANDOM,
    since="2.8.0",
    summary="Iterates over members of a set.",
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to "
    "return back to 0. N is the number of elements inside the collection.",
)
def sscan(ctx: Context, args: Args) -> Reply:
    found, at = begun(ctx, args, Set)
    if found is None:
        return [b"0", []]
    big = found.encoding(ctx.node.config) == "hashtable"
    cursor, members, _ = page(ctx, args, at, found.lookup() if big else found.members())
    return [cursor, members]


# Several sets ---------------------------------------------------------------------------------------------------------


def _sets(ctx: Context, keys: list[bytes]) -> list[Set | None]:
    """The sets at these keys. CommandError when one of them is something else, even behind a key that is not there."""
    return [ctx.read_as(key, Set) for key in keys]


def _common(ctx: Context, keys: list[bytes], limit: int = 0) -> list[bytes]:
    sets = _sets(ctx, keys)
    present = [one for one in sets if one is not None]
    return intersection(present, limit) if len(present) == len(sets) else []


def _united(ctx: Context, keys: list[bytes]) -> list[bytes]:
    return union([one for one in _sets(ctx, keys) if one is not None])


def _store(ctx: Context, key: bytes, event: str, result: Set) -> int:
    """Put the result of a STORE form at `key`; an empty one removes it. Returns its size."""
    size = len(result)
    if size:
        ctx.set(key, result)
        ctx.modified(event, key)
    elif ctx.delete(key):
        ctx.modified("del", key)
    return size


@group.command(
    "SINTER key [key ...]",
    arity=-2,
    flags=_READ,
    keys=_KEYS_READ,
    hints=_ANY_ORDER,
    since="1.0.0",
    summary="Returns the intersect of multiple sets.",
    complexity=_SMALLEST_SET,
)
def sinter(ctx: Context, args: Args) -> Reply:
    return OrderedSet(_common(ctx, args[1:]))


@group.command(
    "SINTERCARD numkeys key [key ...] [LIMIT limit]",
    arity=-3,
    flags=_READ | Flag.MOVABLEKEYS,
    keys=_KEYS_COUNTED,
    since="7.0.0",
    summary="Returns the number of members of the intersect of multiple sets.",
    complexity=_SMALLEST_SET,
)
def sintercard(ctx: Context, args: Args) -> Reply:
    count = key_count(args, 1)
    if count > len(args) - 2:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    limit: int | None = 0
    options = Options(args, 2 + count)
    for word in options:
        if word != b"LIMIT":
            raise CommandError(SYNTAX)
        limit = parse_int(options.value())
        if limit is None or limit < 0:
            raise CommandError("ERR LIMIT can't be negative")
    return len(_common(ctx, args[2 : 2 + count], limit or 0))


@group.command(
    "SINTERSTORE destination key [key ...]",
    arity=-3,
    flags=_WRITE,
    keys=_KEYS_STORED,
    since="1.0.0",
    summary="Stores the intersect of multiple sets in a key.",
    complexity=_SMALLEST_SET,
)
def sinterstore(ctx: Context, args: Args) -> Reply:
    limits = ctx.node.config
    sets = [one for one in _sets(ctx, args[2:]) if one is not None]
    if len(sets) < len(args) - 2:
        return _store(ctx, args[1], "sinterstore", Set.empty(integers=True))
    members = intersection(sets)
    result = Set.empty(integers=min(sets, key=len).encoding(limits) == "intset")
    result.update(members, limits)
    if all(parse_int(member) is not None for member in members):
        result.to_intset(limits)
    return _store(ctx, args[1], "sinterstore", result)


@group.command(
    "SUNION key [key ...]",
    arity=-2,
    flags=_READ,
    keys=_KEYS_READ,
    hints=_ANY_ORDER,
    since="1.0.0",
    summary="Returns the union of multiple sets.",
    complexity=_ALL_SETS,
)
def sunion(ctx: Context, args: Args) -> Reply:
    return OrderedSet(_united(ctx, args[1:]))


@group.command(
    "SUNIONSTORE destination key [key ...]",
    arity=-3,
    flags=_WRITE,
    keys=_KEYS_STORED,
    since="1.0.0",
    summary="Stores the union of multiple sets in a key.",
    complexity=_ALL_SETS,
)
def sunionstore(ctx: Context, args: Args) -> Reply:
    result = Set.empty(integers=True)
    result.update(_united(ctx, args[2:]), ctx.node.config)
    return _store(ctx, args[1], "sunionstore", result)


@group.command(
    "SDIFF key [key ...]",
    arity=-2,
    flags=_READ,
    keys=_KEYS_READ,
    hints=_ANY_ORDER,
    since="1.0.0",
    summary="Returns the difference of multiple sets.",
    complexity=_ALL_SETS,
)
def sdiff(ctx: Context, args: Args) -> Reply:
    first, *others = _sets(ctx, args[1:])
    return OrderedSet(() if first is None else difference(first, [one for one in others if one is not None]))


@group.command(
    "SDIFFSTORE destination key [key ...]",
    arity=-3,
    flags=_WRITE,
    keys=_KEYS_STORED,
    since="1.0.0",
    summary="Stores the difference of multiple sets in a key.",
    complexity=_ALL_SETS,
)
def sdiffstore(ctx: Context, args: Args) -> Reply:
    limits = ctx.node.config
    first, *given = _sets(ctx, args[2:])
    result = Set.empty(integers=True)
    if first is not None:
        others = [one for one in given if one is not None]
        if _starts_from_all(first, others):
            result.update(first.members(), limits)
            for other in others:
                for member in other.members():
                    result.remove(member, limits)
        else:
            result.update(difference(first, others), limits)
    return _store(ctx, args[1], "sdiffstore", result)


def _starts_from_all(first: Set, others: list[Set]) -> bool:
    """Whether Redis would copy the first set and take the others away; that shows in the encoding of what is left."""
    if any(other is first for other in others):
        return False
    size = len(first)
    return size * (len(others) + 1) // 2 > size + sum(map(len, others))
