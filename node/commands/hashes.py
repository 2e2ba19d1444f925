"""Commands: hashes (https://redis.io/docs/data-types/hashes/)."""

from __future__ import annotations

from node.arguments import integer, integer_between
from node.commands.scanning import begun, page
from node.context import Context
from node.errors import NOT_A_FLOAT, OVERFLOW, SYNTAX, WRONG_TYPE, CommandError, wrong_arity
from node.numbers import (
    LLONG_MAX,
    LLONG_MIN,
    LONG_MAX,
    ZERO,
    add_float,
    format_long_double,
    parse_float,
    parse_int,
)
from node.registry import KEY_ACCESS_UPDATE, KEY_DELETE, KEY_INSERT, KEY_LOOK, KEY_READ, KEY_UPDATE, Args, Flag, Group
from node.repeats import Repeats
from node.resp import OK, FlatMap, Pairs, Reply, Texts
from node.types.hash import Hash

group = Group("hash")

_READ = Flag.READONLY
_FAST_READ = Flag.READONLY | Flag.FAST
_FAST_WRITE = Flag.WRITE | Flag.DENYOOM | Flag.FAST
_ANY_ORDER = ("nondeterministic_output_order",)
_RANDOM = ("nondeterministic_output",)

_REPEATED_MAX = 1 << 22
_REPEATED_BYTES_MAX = 1 << 30
"""HRANDFIELD with a negative count repeats fields as often as asked. Redis goes on until memory or the client's output
limit ends; a node of ours refuses to draw more fields than this, or to reply with more bytes."""


_repeats = Repeats()


def _shown(ctx: Context, key: bytes) -> Hash:
    """The hash at `key` as a command that reads all of it may see it, an empty one when there is none.

    Expired fields are there only where nobody may remove them: on a replica that has not heard of it, or while writes
    are paused. CommandError for another type.
    """
    found = ctx.read_as(key, Hash)
    if found is None:
        return Hash({})
    if found.deadlines is not None and not ctx.client.is_primary:
        return found.without_expired(ctx.now_ms)
    return found


def _value(ctx: Context, found: Hash, field: bytes) -> bytes | None:
    """The value of one field to read, None for one that has expired."""
    if found.deadlines is not None and found.is_expired(field, ctx.now_ms) and not ctx.client.is_primary:
        return None
    return found.get(field)


def _opened(ctx: Context, key: bytes) -> Hash:
    """The hash at `key` to write into, made when there is none. CommandError for another type."""
    found = ctx.write(key)
    if type(found) is Hash:
        return found
    if found is not None:
        raise CommandError(WRONG_TYPE)
    found = Hash({})
    ctx.set(key, found)
    return found


# Reading --------------------------------------------------------------------------------------------------------------


@group.command(
    "HGET key field",
    arity=3,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="2.0.0",
    summary="Returns the value of a field in a hash.",
)
def hget(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Hash)
    if found is None:
        return None
    return found.get(args[2]) if found.deadlines is None else _value(ctx, found, args[2])


@group.command(
    "HMGET key field [field ...]",
    arity=-3,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="2.0.0",
    summary="Returns the values of all fields in a hash.",
    complexity="O(N) where N is the number of fields being requested.",
)
def hmget(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Hash)
    if found is None:
        return [None] * (len(args) - 2)
    return [_value(ctx, found, field) for field in args[2:]]


@group.command(
    "HGETALL key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    hints=_ANY_ORDER,
    since="2.0.0",
    summary="Returns all fields and values in a hash.",
    complexity="O(N) where N is the size of the hash.",
)
def hgetall(ctx: Context, args: Args) -> Reply:
    found = _shown(ctx, args[1])
    store = found.store
    if isinstance(store, dict):
        return FlatMap(found.flat())
    return _repeats.find(store, None) or _repeats.keep(store, None, FlatMap(found.flat()))


@group.command(
    "HKEYS key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    hints=_ANY_ORDER,
    since="2.0.0",
    summary="Returns all fields in a hash.",
    complexity="O(N) where N is the size of the hash.",
)
def hkeys(ctx: Context, args: Args) -> Reply:
    return Texts(_shown(ctx, args[1]).names())


@group.command(
    "HVALS key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    hints=_ANY_ORDER,
    since="2.0.0",
    summary="Returns all values in a hash.",
    complexity="O(N) where N is the size of the hash.",
)
def hvals(ctx: Context, args: Args) -> Reply:
    return Texts(_shown(ctx, args[1]).values())


@group.command(
    "HLEN key",
    arity=2,
    flags=_FAST_READ,
    keys=KEY_LOOK,
    since="2.0.0",
    summary="Returns the number of fields in a hash.",
)
def hlen(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Hash)
    return 0 if found is None else len(found)


@group.command(
    "HEXISTS key field",
    arity=3,
    flags=_FAST_READ,
    keys=KEY_LOOK,
    since="2.0.0",
    summary="Determines whether a field exists in a hash.",
)
def hexists(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Hash)
    return int(found is not None and _value(ctx, found, args[2]) is not None)


@group.command(
    "HSTRLEN key field",
    arity=3,
    flags=_FAST_READ,
    keys=KEY_LOOK,
    since="3.2.0",
    summary="Returns the length of the value of a field.",
)
def hstrlen(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], Hash)
    return 0 if found is None else len(_value(ctx, found, args[2]) or b"")


# Writing --------------------------------------------------------------------------------------------------------------


@group.command(
    "HSET key field value [field value ...]",
    arity=-4,
    flags=_FAST_WRITE,
    keys=KEY_UPDATE,
    since="2.0.0",
    summary="Creates or modifies the value of a field in a hash.",
    complexity="O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called "
    "with multiple field/value pairs.",
    history=(("4.0.0", "Accepts multiple `field` and `value` arguments."),),
)
def hset(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = ctx.keys.get(key)
    if (
        len(args) == 4
        and type(found) is Hash
        and not (ctx.observers or ctx.database.walkers or key in ctx.expires)
    ):  # what `_set_all` does, for one field of a hash of which nobody wants to know
        ctx.dirty += 1
        if found.table:
            fields: dict[bytes, bytes] = found.store  # type: ignore[assignment]
            before = len(fields)
            fields[args[2]] = args[3]
            if len(fields) != before:
                found.added(args[2])
                return 1
            created = 0
        else:
            created = int(found.put(args[2], args[3], ctx.node.config))
        if found.deadlines is not None:
            found.persist((args[2],))
        return created
    if len(args) & 1:
        raise wrong_arity("hset")
    return _set_all(ctx, args)


@group.command(
    "HMSET key field value [field value ...]",
    arity=-4,
    flags=_FAST_WRITE,
    keys=KEY_UPDATE,
    since="2.0.0",
    summary="Sets the values of multiple fields.",
    complexity="O(N) where N is the number of fields being set.",
    deprecated_since="4.0.0",
    replaced_by="`HSET` with multiple field-value pairs",
)
def hmset(ctx: Context, args: Args) -> Reply:
    if len(args) & 1:
        raise wrong_arity("hmset")
    _set_all(ctx, args)
    return OK


def _set_all(ctx: Context, args: Args) -> int:
    """Set the pairs of a request. Returns how many fields are new."""
    key = args[1]
    found = _opened(ctx, key)
    if len(args) == 4:
        created = int(found.put(args[2], args[3], ctx.node.config))
    else:
        created = found.put_all(args[2:], ctx.node.config)
    if found.deadlines is not None:
        found.persist(args[2::2])
    ctx.modified("hset", key)
    ctx.dirty += len(args) // 2 - 2
    return created


@group.command(
    "HSETNX key field value",
    arity=4,
    flags=_FAST_WRITE,
    keys=KEY_INSERT,
    since="2.0.0",
    summary="Sets the value of a field in a hash only when the field doesn't exist.",
)
def hsetnx(ctx: Context, args: Args) -> Reply:
    found = _opened(ctx, args[1])
    if args[2] in found:
        return 0
    found.put(args[2], args[3], ctx.node.config)
    ctx.modified("hset", args[1])
    return 1


@group.command(
    "HDEL key field [field ...]",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_DELETE,
    since="2.0.0",
    summary="Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.",
    complexity="O(N) where N is the number of fields to be removed.",
    history=(("2.4.0", "Accepts multiple `field` arguments."),),
)
def hdel(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = ctx.write_as(key, Hash)
    if found is None:
        return 0
    found.is_table(ctx.node.config)
    removed = sum([found.remove(field) for field in args[2:]])
    if removed:
        ctx.modified("hdel", key)
        ctx.dirty += removed - 1
        if found.is_empty:
            ctx.discard(key)
            if ctx.node.observers:
                ctx.node.observe(ctx.database, "del", key)
    return removed


@group.command(
    "HINCRBY key field increment",
    arity=4,
    flags=_FAST_WRITE,
    keys=KEY_ACCESS_UPDATE,
    since="2.0.0",
    summary="Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field "
    "doesn't exist.",
)
def hincrby(ctx: Context, args: Args) -> Reply:
    key, field = args[1], args[2]
    amount = integer(args[3])
    found = _opened(ctx, key)
    text = found.get(field)
    before = 0 if text is None else parse_int(text)
    if before is None:
        raise CommandError("ERR hash value is not an integer")
    number = before + amount
    if not LLONG_MIN <= number <= LLONG_MAX:
        raise CommandError(OVERFLOW)
    found.put(field, b"%d" % number, ctx.node.config)
    ctx.modified("hincrby", key)
    return number


@group.command(
    "HINCRBYFLOAT key field increment",
    arity=4,
    flags=_FAST_WRITE,
    keys=KEY_ACCESS_UPDATE,
    since="2.6.0",
    summary="Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't "
    "exist.",
)
def hincrbyfloat(ctx: Context, args: Args) -> Reply:
    key, field = args[1], args[2]
    amount = parse_float(args[3])
    if amount is None:
        raise CommandError(NOT_A_FLOAT)
    if amount.is_infinite:
        raise CommandError("ERR value is NaN or Infinity")
    found = _opened(ctx, key)
    text = found.get(field)
    before = ZERO if text is None else parse_float(text)
    if before is None:
        raise CommandError("ERR hash value is not a float")
    total = add_float(before, amount)
    if total is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    text = format_long_double(total)
    found.put(field, text, ctx.node.config)
    ctx.modified("hincrbyfloat", key)
    ctx.propagate(b"HSET", key, field, text)
    deadline_ms = found.deadline_of(field)
    if deadline_ms is not None:
        ctx.propagate(b"HPEXPIREAT", key, b"%d" % deadline_ms, b"FIELDS", b"1", field)  # which HSET has taken away
    return text


# Drawing and scanning -------------------------------------------------------------------------------------------------


@group.command(
    "HRANDFIELD key [count [WITHVALUES]]",
    arity=-2,
    flags=_READ,
    keys=KEY_READ,
    hints=_RANDOM,
    since="6.2.0",
    summary="Returns one or more random fields from a hash.",
    complexity="O(N) where N is the number of fields returned",
)
def hrandfield(ctx: Context, args: Args) -> Reply:
    random = ctx.node.random
    if len(args) == 2:
        found = _shown(ctx, args[1])
        return None if found.is_empty else found.random_fields(1, random)[0]
    count = integer_between(args[2], -LONG_MAX, LONG_MAX)
    with_values = len(args) == 4 and args[3].upper() == b"WITHVALUES"
    if len(args) > 4 or (len(args) == 4 and not with_values):
        raise CommandError(SYNTAX)
    if with_values and abs(count) > LONG_MAX // 2:
        raise CommandError("ERR value is out of range")
    found = _shown(ctx, args[1])
    if found.is_empty or count == 0:
        return []
    if count < -_REPEATED_MAX:
        raise CommandError("ERR value is out of range")
    drawn = found.distinct_random_fields(count, random) if count > 0 else found.random_fields(-count, random)
    fields = found.lookup()
    reply = Pairs([text for field in drawn for text in (field, fields[field])]) if with_values else drawn
    if count < -len(fields) and sum(map(len, reply)) > _REPEATED_BYTES_MAX:
        raise CommandError("ERR value is out of range")
    return reply


@group.command(
    "HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    hints=_RANDOM,
    since="2.8.0",
    summary="Iterates over fields and values of a hash.",
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to "
    "return back to 0. N is the number of elements inside the collection.",
)
def hscan(ctx: Context, args: Args) -> Reply:
    found, at = begun(ctx, args, Hash)
    if found is None:
        return [b"0", []]
    fields = found.lookup()
    cursor, names, bare = page(ctx, args, at, fields if found.is_table(ctx.node.config) else list(fields))
    if found.deadlines is not None and not ctx.client.is_primary:
        names = [name for name in names if not found.is_expired(name, ctx.now_ms)]
    return [cursor, names if bare else [text for name in names for text in (name, fields[name])]]
