"""Commands: XINFO, what is known of a stream, its groups and their consumers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from node.arguments import integer
from node.commands.streams_common import entries, render
from node.commands.streams_groups import no_such_group, wrong_subcommand
from node.errors import NO_SUCH_KEY, CommandError
from node.help import container_help
from node.registry import Args, Flag, Group, KeySpec
from node.resp import EncodedArray, Reply
from node.types.stream import Stream
from node.types.stream_groups import NEVER, UNKNOWN, Consumer, ConsumerGroup, Pending
from node.types.stream_id import ID_MAX, format_id

if TYPE_CHECKING:
    from node.context import Context

group = Group("stream")

_KEY = (KeySpec("RO access", begin=2),)
_ENTRIES_SHOWN = 10

group.container("XINFO", since="5.0.0", summary="A container for stream introspection commands.", acl=())


def _stream_of(ctx: Context, key: bytes) -> Stream:
    stream = ctx.read_as(key, Stream)
    if stream is None:
        raise CommandError(NO_SUCH_KEY)
    return stream


@group.command(
    "XINFO CONSUMERS key group",
    arity=4,
    flags=Flag.READONLY,
    keys=_KEY,
    hints=("nondeterministic_output",),
    since="5.0.0",
    summary="Returns a list of the consumers in a consumer group.",
    history=(("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`."),),
    of="XINFO",
)
def xinfo_consumers(ctx: Context, args: Args) -> Reply:
    found = _stream_of(ctx, args[2]).groups.get(args[3])
    if found is None:
        raise no_such_group(args[2], args[3])
    return [_consumer(found.consumers[name], ctx.now_ms) for name in sorted(found.consumers)]


def _consumer(consumer: Consumer, now_ms: int) -> dict[bytes, Any]:
    active_ms = consumer.active_ms
    return {
        b"name": consumer.name,
        b"pending": len(consumer.pending),
        b"idle": max(0, now_ms - consumer.seen_ms),
        b"inactive": active_ms if active_ms == NEVER else max(0, now_ms - active_ms),
    }


@group.command(
    "XINFO GROUPS key",
    arity=3,
    flags=Flag.READONLY,
    keys=_KEY,
    since="5.0.0",
    summary="Returns a list of the consumer groups of a stream.",
    history=(("7.0.0", "Added the `entries-read` and `lag` fields"),),
    of="XINFO",
)
def xinfo_groups(ctx: Context, args: Args) -> Reply:
    stream = _stream_of(ctx, args[2])
    return [
        {
            b"name": name,
            b"consumers": len(found.consumers),
            b"pending": len(found.pending),
            b"last-delivered-id": format_id(found.last_id),
            b"entries-read": _entries_read(found),
            b"lag": stream.lag(found),
        }
        for name, found in sorted(stream.groups.items())
    ]


def _entries_read(found: ConsumerGroup) -> int | None:
    return None if found.entries_read == UNKNOWN else found.entries_read


@group.command(
    "XINFO STREAM key [FULL [COUNT count]]",
    arity=-3,
    flags=Flag.READONLY,
    keys=_KEY,
    since="5.0.0",
    summary="Returns information about a stream.",
    history=(
        ("6.0.0", "Added the `FULL` modifier."),
        (
            "7.0.0",
            "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` "
            "fields",
        ),
        ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`."),
    ),
    of="XINFO",
)
def xinfo_stream(ctx: Context, args: Args) -> Reply:
    stream = _stream_of(ctx, args[2])
    if len(args) == 3:
        return {
            **_counters(stream),
            b"groups": len(stream.groups),
            b"first-entry": _edge(stream, False),
            b"last-entry": _edge(stream, True),
        }
    if len(args) not in (4, 6) or args[3].upper() != b"FULL":
        raise wrong_subcommand(args)
    count = _ENTRIES_SHOWN
    if len(args) == 6:
        if args[4].upper() != b"COUNT":
            raise wrong_subcommand(args)
        count = integer(args[5])
        if count < 0:
            count = _ENTRIES_SHOWN
    groups = [_full_group(stream, name, found, count) for name, found in sorted(stream.groups.items())]
    return {**_counters(stream), b"entries": entries(stream, 0, ID_MAX, count), b"groups": groups}


def _counters(stream: Stream) -> dict[bytes, Any]:
    return {
        b"length": stream.length,
        b"radix-tree-keys": stream.node_count(),
        b"radix-tree-nodes": stream.radix_nodes(),
        b"last-generated-id": format_id(stream.last_id),
        b"max-deleted-entry-id": format_id(stream.max_deleted_id),
        b"entries-added": stream.entries_added,
        b"recorded-first-entry-id": format_id(stream.first_id),
    }


def _edge(stream: Stream, last: bool) -> EncodedArray | None:
    """The first or the last entry, if there is one."""
    shown = stream.show(0, ID_MAX, 1, render, last)
    return EncodedArray(shown[0]) if shown else None


def _full_group(stream: Stream, name: bytes, found: ConsumerGroup, count: int) -> dict[bytes, Any]:
    return {
        b"name": name,
        b"last-delivered-id": format_id(found.last_id),
        b"entries-read": _entries_read(found),
        b"lag": stream.lag(found),
        b"pel-count": len(found.pending),
        b"pending": _deliveries(found.pending, count, True),
        b"consumers": [_full_consumer(found.consumers[one], count) for one in sorted(found.consumers)],
    }


def _full_consumer(consumer: Consumer, count: int) -> dict[bytes, Any]:
    return {
        b"name": consumer.name,
        b"seen-time": consumer.seen_ms,
        b"active-time": consumer.active_ms,
        b"pel-count": len(consumer.pending),
        b"pending": _deliveries(consumer.pending, count, False),
    }


def _deliveries(pending: Pending, count: int, with_consumer: bool) -> list[Reply]:
    rows: list[Reply] = []
    for number in islice(pending.ids_from(0), count or None):
        one = pending.entries[number]
        whose = [one.consumer.name] if with_consumer else []
        rows.append([format_id(number), *whose, one.time_ms, one.count])
    return rows


@group.command(
    "XINFO HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="5.0.0",
    summary="Returns helpful text about the different subcommands.",
    of="XINFO",
)
def xinfo_help(ctx: Context, args: Args) -> Reply:
    return container_help(ctx, args)
