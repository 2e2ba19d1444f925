"""Commands: consumer groups of streams, and what their consumers have pending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.arguments import integer
from node.commands.streams_common import (
    consumer_at,
    group_at,
    loose_id,
    no_group,
    range_end,
    range_start,
    shown,
    stream_id,
)
from node.errors import SYNTAX, CommandError
from node.help import container_help
from node.registry import KEY_READ, KEY_UPDATE, Args, Flag, Group, KeySpec
from node.resp import NULL_ARRAY, OK, Reply
from node.types.stream import Stream
from node.types.stream_groups import UNKNOWN, ConsumerGroup
from node.types.stream_id import format_id

if TYPE_CHECKING:
    from node.context import Context

group = Group("stream")

_NO_KEY = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option"
    " to create an empty stream automatically."
)

group.container("XGROUP", since="5.0.0", summary="A container for consumer groups commands.", acl=())


def wrong_subcommand(args: Args) -> CommandError:
    """The error for arguments that a subcommand does not take."""
    name = args[0].upper().decode("latin-1")
    return CommandError(
        f"ERR unknown subcommand or wrong number of arguments for '{shown(args[1][:128])}'. Try {name} HELP."
    )


def _options(args: Args, create: bool) -> tuple[bool, int]:
    """What stands behind the id: whether to make the stream, and how many entries the group has read."""
    make = False
    entries_read = UNKNOWN
    at = 5
    while at < len(args):
        word = args[at].upper()
        if create and word == b"MKSTREAM":
            make = True
        elif word == b"ENTRIESREAD" and at + 1 < len(args):
            at += 1
            entries_read = integer(args[at])
            if entries_read < 0 and entries_read != UNKNOWN:
                raise CommandError("ERR value for ENTRIESREAD must be positive or -1")
        else:
            raise wrong_subcommand(args)
        at += 1
    return make, entries_read


def _stream_of(ctx: Context, key: bytes) -> Stream:
    stream = ctx.write_as(key, Stream)
    if stream is None:
        raise CommandError(_NO_KEY)
    return stream


def _group_of(ctx: Context, args: Args) -> ConsumerGroup:
    """The group that a subcommand needs. CommandError when the key or the group is missing."""
    found = _stream_of(ctx, args[2]).groups.get(args[3])
    if found is None:
        raise no_such_group(args[2], args[3])
    return found


def no_such_group(key: bytes, name: bytes) -> CommandError:
    """The error for a missing group of a key that is there."""
    return CommandError(f"NOGROUP No such consumer group '{shown(name)}' for key name '{shown(key)}'")


@group.command(
    "XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
    arity=-5,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("RW insert", begin=2),),
    since="5.0.0",
    summary="Creates a consumer group.",
    history=(("7.0.0", "Added the `entries_read` named argument."),),
    of="XGROUP",
)
def xgroup_create(ctx: Context, args: Args) -> Reply:
    make, entries_read = _options(args, True)
    key = args[2]
    stream = ctx.write_as(key, Stream)
    if stream is None and not make:
        raise CommandError(_NO_KEY)
    if len(args) > 8:
        raise wrong_subcommand(args)
    newest = 0 if stream is None else stream.last_id
    last_id = newest if args[4] == b"$" else stream_id(args[4])
    if stream is None:
        stream = Stream()
        ctx.set(key, stream)
    elif args[3] in stream.groups:
        raise CommandError("BUSYGROUP Consumer Group name already exists")
    stream.groups[args[3]] = ConsumerGroup(last_id, entries_read)
    ctx.modified("xgroup-create", key)
    return OK


@group.command(
    "XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]",
    arity=-5,
    flags=Flag.WRITE,
    keys=(KeySpec("RW update", begin=2),),
    since="5.0.0",
    summary="Sets the last-delivered ID of a consumer group.",
    history=(("7.0.0", "Added the optional `entries_read` argument."),),
    of="XGROUP",
)
def xgroup_setid(ctx: Context, args: Args) -> Reply:
    _, entries_read = _options(args, False)
    found = _group_of(ctx, args)
    if len(args) not in (5, 7):
        raise wrong_subcommand(args)
    found.last_id = _stream_of(ctx, args[2]).last_id if args[4] == b"$" else loose_id(args[4])
    found.entries_read = entries_read
    ctx.modified("xgroup-setid", args[2])
    return OK


@group.command(
    "XGROUP DESTROY key group",
    arity=4,
    flags=Flag.WRITE,
    keys=(KeySpec("RW delete", begin=2),),
    since="5.0.0",
    summary="Destroys a consumer group.",
    complexity="O(N) where N is the number of entries in the group's pending entries list (PEL).",
    of="XGROUP",
)
def xgroup_destroy(ctx: Context, args: Args) -> Reply:
    if _stream_of(ctx, args[2]).groups.pop(args[3], None) is None:
        return 0
    ctx.modified("xgroup-destroy", args[2])
    return 1


@group.command(
    "XGROUP CREATECONSUMER key group consumer",
    arity=5,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("RW insert", begin=2),),
    since="6.2.0",
    summary="Creates a consumer in a consumer group.",
    of="XGROUP",
)
def xgroup_createconsumer(ctx: Context, args: Args) -> Reply:
    found = _group_of(ctx, args)
    if args[4] in found.consumers:
        return 0
    consumer_at(ctx, args[2], found, args[4])
    return 1


@group.command(
    "XGROUP DELCONSUMER key group consumer",
    arity=5,
    flags=Flag.WRITE,
    keys=(KeySpec("RW delete", begin=2),),
    since="5.0.0",
    summary="Deletes a consumer from a consumer group.",
    of="XGROUP",
)
def xgroup_delconsumer(ctx: Context, args: Args) -> Reply:
    found = _group_of(ctx, args)
    if args[4] not in found.consumers:
        return 0
    pending = found.drop_consumer(args[4])
    ctx.modified("xgroup-delconsumer", args[2])
    return pending


@group.command(
    "XGROUP HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="5.0.0",
    summary="Returns helpful text about the different subcommands.",
    of="XGROUP",
)
def xgroup_help(ctx: Context, args: Args) -> Reply:
    return container_help(ctx, args)


# Pending entries ------------------------------------------------------------------------------------------------------


@group.command(
    "XACK key group id [id ...]",
    arity=-4,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_UPDATE,
    since="5.0.0",
    summary="Returns the number of messages that were successfully acknowledged by the consumer group member of a "
    "stream.",
    complexity="O(1) for each message ID processed.",
)
def xack(ctx: Context, args: Args) -> Reply:
    found = group_at(ctx, args[1], args[2])
    if found is None:
        return 0
    numbers = [stream_id(text) for text in args[3:]]
    released = sum([found[1].release(number) for number in numbers])
    ctx.dirty += released
    return released


@group.command(
    "XPENDING key group [[IDLE min-idle-time] start end count [consumer]]",
    arity=-3,
    flags=Flag.READONLY,
    keys=KEY_READ,
    hints=("nondeterministic_output",),
    since="5.0.0",
    summary="Returns the information and entries from a stream consumer group's pending entries list.",
    complexity="O(N) with N being the number of elements returned, so asking for a small fixed number of entries per "
    "call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the "
    "command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an "
    "additional O(N) time for iterating every consumer.",
    history=(("6.2.0", "Added the `IDLE` option and exclusive range intervals."),),
)
def xpending(ctx: Context, args: Args) -> Reply:
    size = len(args)
    if size != 3 and not 6 <= size <= 9:
        raise CommandError(SYNTAX)
    at, idle_ms, low, high, count = 3, 0, 0, 0, 0
    if size > 3:
        if args[3].upper() == b"IDLE":
            idle_ms = integer(args[4])
            if size < 8:
                raise CommandError(SYNTAX)
            at = 5
        count = max(0, integer(args[at + 2]))
        low, high = range_start(args[at]), range_end(args[at + 1])
    stream = ctx.read_as(args[1], Stream)
    found = None if stream is None else stream.groups.get(args[2])
    if found is None:
        raise no_group(args[1], args[2])
    if size == 3:
        return _summary(found)
    pending = found.pending
    if at + 3 < size:
        consumer = found.consumers.get(args[at + 3])
        if consumer is None:
            return []
        pending = consumer.pending
    rows: list[Reply] = []
    if count:
        for number in pending.ids_from(low):
            if number > high:
                break
            one = pending.entries[number]
            idle = ctx.now_ms - one.time_ms
            if idle_ms and idle < idle_ms:
                continue
            rows.append([format_id(number), one.consumer.name, max(0, idle), one.count])
            if len(rows) == count:
                break
    return rows


def _summary(found: ConsumerGroup) -> Reply:
    """How many entries are pending, from which id to which, and for whom."""
    pending = found.pending
    if not len(pending):
        return [0, None, None, NULL_ARRAY]
    names = sorted(name for name, consumer in found.consumers.items() if len(consumer.pending))
    counts = [[name, b"%d" % len(found.consumers[name].pending)] for name in names]
    return [len(pending), format_id(pending.first()), format_id(pending.last()), counts]
