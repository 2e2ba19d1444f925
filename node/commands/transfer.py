"""Keys that go elsewhere: COPY and MOVE to another name or database, DUMP and RESTORE to another server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node import errors
from node.arguments import integer, small_integer
from node.commands.common import database_at, removal_of, save_options, track_fields
from node.errors import CommandError
from node.keyspace import Value
from node.persistence.errors import PayloadError
from node.persistence.payload import dump as dump_value
from node.persistence.payload import for_the_oldest
from node.persistence.payload import restore as restore_value
from node.registry import KEY_ACCESS_UPDATE, KEY_OVERWRITE, KEY_READ, Args, Flag, Group, KeySpec
from node.resp import OK, Reply
from node.types import copy_of
from node.types.hash import Hash

if TYPE_CHECKING:
    from node.context import Context

group = Group("generic")
server_group = Group("server")
"""Where Redis has RESTORE-ASKING."""

BUSY_KEY = "BUSYKEY Target key name already exists."
SAME_OBJECT = "ERR source and destination objects are the same"

_FIELDS_AT_ONCE = 256


def store(ctx: Context, key: bytes, value: Value, deadline_ms: int | None) -> None:
    """Put a value with its deadline where the context points."""
    ctx.set(key, value)
    if deadline_ms is not None:
        ctx.set_deadline(key, deadline_ms)
    if type(value) is Hash and value.deadlines is not None:
        value.deadlines.announced_ms = None
        track_fields(ctx, key, value)


@group.command(
    "MOVE key db",
    arity=3,
    flags=Flag.WRITE | Flag.FAST,
    since="1.0.0",
    summary="Moves a key to another database.",
    keys=KEY_ACCESS_UPDATE,
)
def move(ctx: Context, args: Args) -> Reply:
    node = ctx.node
    if node.clustered:
        raise CommandError("ERR MOVE is not allowed in cluster mode")
    source = ctx.database
    target = database_at(node, small_integer(args[2]))
    if target is source:
        raise CommandError(SAME_OBJECT)
    key = args[1]
    value = ctx.write(key)
    if value is None:
        return 0
    deadline_ms = ctx.deadline_ms(key)
    ctx.point_at(target, 0)
    if ctx.peek(key) is not None:
        ctx.point_at(source, 0)
        return 0
    store(ctx, key, value, deadline_ms)
    ctx.point_at(source, 0)
    ctx.discard(key)
    ctx.modified("move_from", key)
    ctx.node.observe(target, "move_to", key)
    return 1


@group.command(
    "COPY source destination [DB destination-db] [REPLACE]",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM,
    since="6.2.0",
    summary="Copies the value of a key to a new key.",
    complexity="O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
    keys=(
        KeySpec("RO access"),
        KeySpec("OW update", begin=2),
    ),
)
def copy(ctx: Context, args: Args) -> Reply:
    node, source = ctx.node, ctx.database
    target, replace = source, False
    wanted = 0
    at = 3
    while at < len(args):
        option = args[at].lower()
        if option == b"replace":
            replace = True
        elif option == b"db" and at + 1 < len(args):
            at += 1
            wanted = small_integer(args[at])
            if not node.clustered:
                target = database_at(node, wanted)
            elif not 0 <= wanted < node.config.databases:
                raise CommandError(errors.INVALID_DB)
        else:
            raise CommandError(errors.SYNTAX)
        at += 1
    if node.clustered and wanted:
        raise CommandError("ERR Copying to another database is not allowed in cluster mode")
    if target is source and args[1] == args[2]:
        raise CommandError(SAME_OBJECT)
    value = ctx.read(args[1])
    if value is None:
        return 0
    deadline_ms = ctx.deadline_ms(args[1])
    slot = ctx.slot
    ctx.point_at(target, slot)
    done = replace or ctx.peek(args[2]) is None
    if done:
        ctx.delete(args[2])
        store(ctx, args[2], copy_of(value), deadline_ms)
        ctx.modified("copy_to", args[2])
    ctx.point_at(source, slot)
    return int(done)


# Payloads -------------------------------------------------------------------------------------------------------------


@group.command(
    "DUMP key",
    arity=2,
    flags=Flag.READONLY,
    since="2.6.0",
    summary="Returns a serialized representation of the value stored at a key.",
    complexity=(
        "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of objects "
        "composing the value and M their average size. For small string values the time complexity is "
        "thus O(1)+O(1*M) where M is small, so simply O(1)."
    ),
    keys=KEY_READ,
    hints=("nondeterministic_output",),
)
def dump(ctx: Context, args: Args) -> Reply:
    value = ctx.read(args[1])
    return None if value is None else dump_value(value, save_options(ctx.node))


@group.command(
    "RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    arity=-4,
    flags=Flag.WRITE | Flag.DENYOOM,
    since="2.6.0",
    summary="Creates a key from the serialized representation of a value.",
    complexity=(
        "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N "
        "is the number of objects composing the value and M their average size. For small string values "
        "the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted "
        "set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is "
        "O(log(N))."
    ),
    keys=KEY_OVERWRITE,
    acl=(
        "dangerous",
        "keyspace",
    ),
    history=(
        ("3.0.0", "Added the `REPLACE` modifier."),
        ("5.0.0", "Added the `ABSTTL` modifier."),
        ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
    ),
)
def restore(ctx: Context, args: Args) -> Reply:
    key = args[1]
    options = _restore_options(args)
    if not options["replace"] and ctx.peek(key) is not None:
        raise CommandError(BUSY_KEY)
    ttl_ms = integer(args[2])
    if ttl_ms < 0:
        raise CommandError("ERR Invalid TTL value, must be >= 0")
    try:
        value = restore_value(args[3], ctx.node.config.proto_max_bulk_len)
    except PayloadError as error:
        raise CommandError(f"ERR {error}") from None
    replaced = options["replace"] and ctx.delete(key)
    deadline_ms = ttl_ms if options["absttl"] or not ttl_ms else ttl_ms + ctx.now_ms
    if deadline_ms and deadline_ms <= ctx.now_ms and ctx.node.may_expire():
        if replaced:
            ctx.modified("del", key)
            ctx.propagate(removal_of(ctx), key)
        return OK
    store(ctx, key, value, deadline_ms or None)
    idle, frequency = options["idletime"], options["freq"]
    if idle is not None or frequency is not None:
        ctx.node.access.restore(ctx.database, key, None if idle is None else idle * 1000, frequency)
    ctx.modified("restore", key)
    if ctx.node.propagates:
        _tell_restored(ctx, args, value, deadline_ms, absolute=options["absttl"] or not deadline_ms)
    return OK


def _tell_restored(ctx: Context, args: Args, value: Value, deadline_ms: int, *, absolute: bool) -> None:
    """Tell replicas of a restored value in a payload that each of them reads: it may have come from a newer server."""
    payload = for_the_oldest(args[3], value, save_options(ctx.node))
    if absolute:
        ctx.propagate(b"RESTORE", *args[1:3], payload, *args[4:])
    else:
        ctx.propagate(b"RESTORE", args[1], b"%d" % deadline_ms, payload, *args[4:], b"ABSTTL")
    if type(value) is Hash and value.deadlines is not None:
        for at_ms, fields in value.deadlines.by_time(_FIELDS_AT_ONCE):
            ctx.propagate(b"HPEXPIREAT", args[1], b"%d" % at_ms, b"FIELDS", b"%d" % len(fields), *fields)


def _restore_options(args: Args) -> dict[str, Any]:
    found: dict[str, Any] = {"replace": False, "absttl": False, "idletime": None, "freq": None}
    at = 4
    while at < len(args):
        option = args[at].lower().decode("latin-1")
        if option in ("replace", "absttl"):
            found[option] = True
        elif option == "idletime" and at + 1 < len(args) and found["freq"] is None:
            at += 1
            found[option] = integer(args[at])
            if found[option] < 0:
                raise CommandError("ERR Invalid IDLETIME value, must be >= 0")
        elif option == "freq" and at + 1 < len(args) and found["idletime"] is None:
            at += 1
            found[option] = integer(args[at])
            if not 0 <= found[option] <= 255:
                raise CommandError("ERR Invalid FREQ value, must be >= 0 and <= 255")
        else:
            raise CommandError(errors.SYNTAX)
        at += 1
    return found


@server_group.command(
    "RESTORE-ASKING key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    arity=-4,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.ASKING,
    since="3.0.0",
    summary="An internal command for migrating keys in a cluster.",
    complexity=(
        "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N "
        "is the number of objects composing the value and M their average size. For small string values "
        "the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted "
        "set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is "
        "O(log(N))."
    ),
    keys=KEY_OVERWRITE,
    acl=(
        "dangerous",
        "keyspace",
    ),
    history=(
        ("3.0.0", "Added the `REPLACE` modifier."),
        ("5.0.0", "Added the `ABSTTL` modifier."),
        ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
    ),
)
def restore_asking(ctx: Context, args: Args) -> Reply:
    return restore(ctx, args)
