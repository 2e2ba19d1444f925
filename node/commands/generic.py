"""Key commands that work on any type: deleting, looking, listing, renaming.

Beside it: `expiry.py` (EXPIRE, TTL ...), `transfer.py` (COPY, MOVE, DUMP, RESTORE), `objects.py` (OBJECT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node import errors
from node.arguments import scan_count, scan_cursor, scan_pattern
from node.commands.transfer import store
from node.errors import CommandError
from node.glob import compile_glob
from node.registry import KEY_LOOK, Args, Flag, Group, KeySpec
from node.resp import OK, Reply
from node.types import type_name

if TYPE_CHECKING:
    from node.context import Context

group = Group("generic")

_SCAN_COUNT = 10
_RANDOM_TRIES = 100


# Removing -------------------------------------------------------------------------------------------------------------


@group.command(
    "DEL key [key ...]",
    arity=-2,
    flags=Flag.WRITE,
    since="1.0.0",
    summary="Deletes one or more keys.",
    complexity=(
        "O(N) where N is the number of keys that will be removed. When a key to remove holds a value "
        "other than a string, the individual complexity for this key is O(M) where M is the number of "
        "elements in the list, set, sorted set or hash. Removing a single key that holds a string value "
        "is O(1)."
    ),
    keys=(KeySpec("RM delete", last=-1),),
    hints=(
        "request_policy:multi_shard",
        "response_policy:agg_sum",
    ),
)
def delete(ctx: Context, args: Args) -> Reply:
    removed = 0
    for key in args[1:]:
        if ctx.delete(key):
            ctx.modified("del", key)
            removed += 1
    return removed


@group.command(
    "UNLINK key [key ...]",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    since="4.0.0",
    summary="Asynchronously deletes one or more keys.",
    complexity=(
        "O(1) for each key removed regardless of its size. Then the command does O(N) work in a "
        "different thread in order to reclaim memory, where N is the number of allocations the deleted "
        "objects where composed of."
    ),
    keys=(KeySpec("RM delete", last=-1),),
    hints=(
        "request_policy:multi_shard",
        "response_policy:agg_sum",
    ),
)
def unlink(ctx: Context, args: Args) -> Reply:
    return delete(ctx, args)


# Looking --------------------------------------------------------------------------------------------------------------


@group.command(
    "EXISTS key [key ...]",
    arity=-2,
    flags=Flag.READONLY | Flag.FAST,
    since="1.0.0",
    summary="Determines whether one or more keys exist.",
    complexity="O(N) where N is the number of keys to check.",
    keys=(KeySpec("RO", last=-1),),
    hints=(
        "request_policy:multi_shard",
        "response_policy:agg_sum",
    ),
    history=(("3.0.3", "Accepts multiple `key` arguments."),),
)
def exists(ctx: Context, args: Args) -> Reply:
    return sum(ctx.read(key) is not None for key in args[1:])


@group.command(
    "TOUCH key [key ...]",
    arity=-2,
    flags=Flag.READONLY | Flag.FAST,
    since="3.2.1",
    summary=(
        "Returns the number of existing keys out of those specified after updating the time they were last accessed."
    ),
    complexity="O(N) where N is the number of keys that will be touched.",
    keys=(KeySpec("RO", last=-1),),
    hints=(
        "request_policy:multi_shard",
        "response_policy:agg_sum",
    ),
)
def touch(ctx: Context, args: Args) -> Reply:
    return sum(ctx.read(key) is not None for key in args[1:])


@group.command(
    "TYPE key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    since="1.0.0",
    summary="Determines the type of value stored at a key.",
    keys=KEY_LOOK,
)
def type_of(ctx: Context, args: Args) -> Reply:
    value = ctx.read(args[1])
    return "none" if value is None else type_name(value)


@group.command(
    "KEYS pattern",
    arity=2,
    flags=Flag.READONLY,
    since="1.0.0",
    summary="Returns all key names that match a pattern.",
    complexity=(
        "O(N) with N being the number of keys in the database, under the assumption that the key names "
        "in the database and the given pattern have limited length."
    ),
    acl=(
        "dangerous",
        "keyspace",
    ),
    hints=(
        "request_policy:all_shards",
        "nondeterministic_output_order",
    ),
)
def keys(ctx: Context, args: Args) -> Reply:
    matches = compile_glob(args[1])
    all_of_them = args[1] == b"*"  # the empty key too, which no other pattern with a star matches
    deadlines, now_ms, all_keys = ctx.expires, ctx.now_ms, ctx.database.keys()
    return [key for key in all_keys if (all_of_them or matches(key)) and deadlines.get(key, now_ms + 1) > now_ms]


@group.command(
    "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]",
    arity=-2,
    flags=Flag.READONLY,
    since="2.8.0",
    summary="Iterates over the key names in the database.",
    complexity=(
        "O(1) for every call. O(N) for a complete iteration, including enough command calls for the "
        "cursor to return back to 0. N is the number of elements inside the collection."
    ),
    hints=(
        "nondeterministic_output",
        "request_policy:special",
        "response_policy:special",
    ),
    history=(("6.0.0", "Added the `TYPE` subcommand."),),
)
def scan(ctx: Context, args: Args) -> Reply:
    cursor = scan_cursor(args[1])
    matches, count, wanted = None, _SCAN_COUNT, None
    at = 2
    while at < len(args):
        option = args[at].lower()
        if at + 1 == len(args):
            raise CommandError(errors.SYNTAX)
        if option == b"count":
            count = scan_count(args[at + 1])
        elif option == b"match":
            matches = scan_pattern(args[at + 1])
        elif option == b"type":
            wanted = args[at + 1].lower().decode("latin-1")
        else:
            raise CommandError(errors.SYNTAX)
        at += 2
    database = ctx.database
    cursor, found = database.scan(cursor, count)
    if matches is not None:
        found = list(filter(matches, found))
    if wanted is not None:
        found = [key for key in found if type_name(database.keys_of(key)[key]).lower() == wanted]
    return [b"%d" % cursor, [key for key in found if key not in ctx.expires or _alive(ctx, key)]]


def _alive(ctx: Context, key: bytes) -> bool:
    """Whether a key that may be of any slot has not expired; it is removed when it has."""
    ctx.point_at(ctx.database, ctx.database.slot_of(key))
    return ctx.peek(key) is not None


@group.command(
    "RANDOMKEY",
    arity=1,
    flags=Flag.READONLY,
    since="1.0.0",
    summary="Returns a random key name from the database.",
    hints=(
        "request_policy:all_shards",
        "response_policy:special",
        "nondeterministic_output",
    ),
)
def random_key(ctx: Context, args: Args) -> Reply:
    key = None
    for _ in range(_RANDOM_TRIES):
        key = ctx.database.random_key(ctx.node.random)
        if key is None or _alive(ctx, key):
            return key
    return key


# Moving and copying ---------------------------------------------------------------------------------------------------


@group.command(
    "RENAME key newkey",
    arity=3,
    flags=Flag.WRITE,
    since="1.0.0",
    summary="Renames a key and overwrites the destination.",
    keys=(
        KeySpec("RW access delete"),
        KeySpec("OW update", begin=2),
    ),
)
def rename(ctx: Context, args: Args) -> Reply:
    _rename(ctx, args[1], args[2], replace=True)
    return OK


@group.command(
    "RENAMENX key newkey",
    arity=3,
    flags=Flag.WRITE | Flag.FAST,
    since="1.0.0",
    summary="Renames a key only when the target key name doesn't exist.",
    keys=(
        KeySpec("RW access delete"),
        KeySpec("OW insert", begin=2),
    ),
    history=(("3.2.0", "The command no longer returns an error when source and destination names are the same."),),
)
def rename_if_free(ctx: Context, args: Args) -> Reply:
    return int(_rename(ctx, args[1], args[2], replace=False))


def _rename(ctx: Context, source: bytes, target: bytes, replace: bool) -> bool:
    """False when the target is there and must not be replaced, or is the source itself."""
    value = ctx.write(source)
    if value is None:
        raise CommandError(errors.NO_SUCH_KEY)
    if source == target or (not replace and ctx.peek(target) is not None):
        return False
    deadline_ms = ctx.deadline_ms(source)
    ctx.discard(source)
    ctx.delete(target)
    store(ctx, target, value, deadline_ms)
    ctx.modified("rename_from", source)
    ctx.modified("rename_to", target)
    ctx.dirty -= 1
    return True
