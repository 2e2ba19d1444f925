"""Commands: XREAD and XREADGROUP. One that finds nothing waits (BLOCK): `serve` is what is then tried again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from node.arguments import Options
from node.commands.streams_common import (
    consumer_at,
    entries,
    no_group,
    render,
    stream_id,
    tell_delivery,
    tell_group_id,
)
from node.errors import SYNTAX, WRONG_TYPE, CommandError
from node.numbers import LLONG_MAX, parse_int
from node.registry import Args, Flag, Group, KeySpec
from node.resp import NULL_ARRAY, ByName, EncodedArray, Reply, encoded_array
from node.types.stream import Stream
from node.types.stream_groups import Consumer, ConsumerGroup
from node.types.stream_id import ID_MAX, format_id

if TYPE_CHECKING:
    from node.context import Context

group = Group("stream")

_ONLY_GROUP = "ERR The {} option is only supported by XREADGROUP. You called XREAD instead."
_NO_DOLLAR = (
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by"
    " specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
)
_NO_NEW = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."

_RETRY_MS = 10
"""A client that claims what is not idle at all looks so often for it."""

NEW = ID_MAX
"""What XREADGROUP's ">" stands for: what the group was not given yet."""


@dataclass(slots=True)
class Reading:
    """One XREAD or XREADGROUP. block_ms: None when it does not wait, 0 for as long as it takes; count: 0 for no limit.

    after: by key, entries with ids above it are wanted. args: the request with "$" made definite, to be run again.
    claim_ms: what has been pending for so long is claimed from its consumer; None when nothing is.
    """

    args: Args
    group: bytes | None = None
    consumer: bytes = b""
    count: int = 0
    block_ms: int | None = None
    claim_ms: int | None = None
    no_ack: bool = False
    keys: list[bytes] = field(default_factory=list)
    after: list[int] = field(default_factory=list)


def _timeout_ms(text: bytes, now_ms: int) -> int:
    """The amount behind BLOCK. CommandError when it is none."""
    number = parse_int(text)
    if number is None:
        raise CommandError("ERR timeout is not an integer or out of range")
    if number < 0:
        raise CommandError("ERR timeout is negative")
    if number > LLONG_MAX - now_ms:
        raise CommandError("ERR timeout is out of range")
    return number


def _idle_ms(text: bytes) -> int:
    """The amount behind CLAIM. CommandError when it is none."""
    number = parse_int(text)
    if number is None:
        raise CommandError("ERR min-idle-time is not an integer or out of range")
    if number < 0:
        raise CommandError("ERR min-idle-time must be a positive integer")
    return number


def _parse(ctx: Context, args: Args, grouped: bool) -> Reading:
    reading = Reading(args)
    first = _options(ctx, reading, args, grouped)
    if not first:
        raise CommandError(SYNTAX)
    if grouped and reading.group is None:
        raise CommandError("ERR Missing GROUP option for XREADGROUP")
    half = (len(args) - first) // 2
    reading.keys = args[first : first + half]
    for at, key in enumerate(reading.keys, first + half):
        reading.after.append(_after(ctx, reading, key, at))
    return reading


def _options(ctx: Context, reading: Reading, args: Args, grouped: bool) -> int:
    """Read what stands before the keys. Returns where the first key is, 0 when STREAMS is missing."""
    options = Options(args, 1)
    for word in options:
        left = options.left()
        if word == b"BLOCK" and left:
            reading.block_ms = _timeout_ms(options.value(), ctx.now_ms)
        elif word == b"COUNT" and left:
            reading.count = max(0, options.integer())
        elif word == b"STREAMS" and left:
            if left & 1:
                name, sign = ("xreadgroup", ">") if grouped else ("xread", "$")
                raise CommandError(
                    f"ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{sign}' must be specified."
                )
            return len(args) - left
        elif word == b"GROUP" and left >= 2:
            if not grouped:
                raise CommandError(_ONLY_GROUP.format("GROUP"))
            reading.group, reading.consumer = options.value(), options.value()
        elif word == b"CLAIM" and left:
            if not grouped:
                raise CommandError(_ONLY_GROUP.format("CLAIM"))
            reading.claim_ms = _idle_ms(options.value())
        elif word == b"NOACK":
            if not grouped:
                raise CommandError(_ONLY_GROUP.format("NOACK"))
            reading.no_ack = True
        else:
            raise CommandError(SYNTAX)
    return 0


def _stream(ctx: Context, key: bytes, grouped: bool) -> Stream | None:
    """The stream at `key`. CommandError for another type, but not when a waiting XREAD is tried again."""
    found = ctx.read(key)
    if found is None or type(found) is Stream:
        return found
    if ctx.retries and not grouped:
        return None
    raise CommandError(WRONG_TYPE)


def _after(ctx: Context, reading: Reading, key: bytes, at: int) -> int:
    """The id in the request at `at`. CommandError when it is none, or the group is missing."""
    grouped = reading.group is not None
    stream = _stream(ctx, key, grouped)
    if reading.group is not None and (stream is None or reading.group not in stream.groups):
        raise no_group(key, reading.group, " in XREADGROUP with GROUP option")
    text = reading.args[at]
    if text == b"$":
        if grouped:
            raise CommandError(_NO_DOLLAR)
        last = 0 if stream is None else stream.last_id
        reading.args = [*reading.args[:at], format_id(last), *reading.args[at + 1 :]]
        return last
    if text == b">":
        if not grouped:
            raise CommandError(_NO_NEW)
        return NEW
    return stream_id(text)


# Serving --------------------------------------------------------------------------------------------------------------


def serve(ctx: Context, reading: Reading) -> ByName | None:
    """What there is to read now: entries by key, for those streams that have some; None when none has.

    Nothing is remembered between two tries: a client that waits can be served by the same call later.
    """
    found = ByName()
    for key, after in zip(reading.keys, reading.after, strict=True):
        stream = _stream(ctx, key, reading.group is not None)
        if stream is None:
            continue
        if reading.group is not None:
            shown = _serve_group(ctx, reading, key, after)
        elif stream.length and stream.last_valid_id() > after:
            shown = entries(stream, after + 1, ID_MAX, reading.count)
        else:
            shown = None
        if shown is not None:
            found.append((key, shown))
    return found or None


def _serve_group(ctx: Context, reading: Reading, key: bytes, after: int) -> EncodedArray | list[Reply] | None:
    """One stream of an XREADGROUP: the consumer's history, or what its group was not given; None when there is none."""
    assert reading.group is not None
    stream = ctx.write_as(key, Stream)
    assert stream is not None
    group = stream.groups[reading.group]
    consumer, new = consumer_at(ctx, key, group, reading.consumer)
    names = [key, reading.group]
    if new and reading.no_ack:
        ctx.propagate(b"XGROUP", b"CREATECONSUMER", *names, consumer.name)
    if after != NEW:
        ctx.dirty += 1
        return _history(ctx, stream, group, consumer, after, reading.count)
    if reading.claim_ms is not None:
        return _claim(ctx, reading, names, stream, group, consumer)
    if not stream.length or stream.last_valid_id() <= group.last_id:
        return None
    ctx.dirty += 1
    low, count = group.last_id + 1, reading.count
    shown = stream.show(low, ID_MAX, count, render)
    _deliver(ctx, names, stream, group, consumer, stream.ids(low, ID_MAX, count), reading.no_ack)
    return encoded_array(shown)


def _claim(
    ctx: Context, reading: Reading, names: Args, stream: Stream, group: ConsumerGroup, consumer: Consumer
) -> list[Reply] | None:
    """What others have had for long enough, then what the group was not given; how long idle, and how often given."""
    assert reading.claim_ms is not None
    found: list[Reply] = []
    for number in group.longest_idle(ctx.now_ms - reading.claim_ms, reading.count, stream.__contains__):
        delivery = group.pending.entries[number]
        told = max(0, ctx.now_ms - delivery.time_ms), delivery.count
        group.assign(number, consumer, ctx.now_ms, delivery.count + 1)
        tell_delivery(ctx, names, group, format_id(number), delivery)
        found.append(_told(stream, number, *told))
    low, left = group.last_id + 1, reading.count - len(found)
    if stream.length and stream.last_valid_id() >= low and (left > 0 or not reading.count):
        numbers = stream.ids(low, ID_MAX, max(0, left))
        found += [_told(stream, number, 0, 0) for number in numbers]
        _deliver(ctx, names, stream, group, consumer, numbers, reading.no_ack)
    if not found:
        return None
    consumer.active_ms = ctx.now_ms
    ctx.dirty += 1
    return found


def _told(stream: Stream, number: int, idle_ms: int, count: int) -> EncodedArray:
    """An entry as a reply to CLAIM shows it."""
    shown = stream.show_one(number, render)
    assert shown is not None
    return EncodedArray(b"*4%b:%d\r\n:%d\r\n" % (shown[2:], idle_ms, count))


def _deliver(
    ctx: Context,
    names: Args,
    stream: Stream,
    group: ConsumerGroup,
    consumer: Consumer,
    numbers: list[int],
    no_ack: bool,
) -> None:
    """Give new entries to a consumer, and tell replicas. names: the key's and the group's."""
    consumer.active_ms = ctx.now_ms
    told = ctx.node.propagates
    for number in numbers:
        stream.advance(group, number)
        if not no_ack:
            delivery = group.assign(number, consumer, ctx.now_ms, 1)
            if told:
                tell_delivery(ctx, names, group, format_id(number), delivery)
    if told:
        tell_group_id(ctx, names, group)


def _history(
    ctx: Context, stream: Stream, group: ConsumerGroup, consumer: Consumer, after: int, count: int
) -> list[Reply]:
    """What a consumer has not acknowledged, from behind `after` on. Each counts as delivered once more."""
    found: list[Reply] = []
    for number in consumer.pending.ids_from(after + 1):
        shown = stream.show_one(number, render)
        if shown is None:
            found.append([format_id(number), NULL_ARRAY])
        else:
            group.assign(number, consumer, ctx.now_ms, consumer.pending.entries[number].count + 1)
            found.append(EncodedArray(shown))
        if len(found) == count:
            break
    return found


def _read(ctx: Context, args: Args, grouped: bool) -> Reply:
    reading = _parse(ctx, args, grouped)
    found = serve(ctx, reading)
    if grouped and ctx.effects is None and ctx.dirty:
        ctx.propagate_nothing()
    if found is not None:
        return found
    if reading.block_ms is None:
        return NULL_ARRAY
    reply = ctx.block(reading.args, reading.keys, reading.block_ms, NULL_ARRAY)
    if reading.claim_ms is not None:
        ctx.node.blocking.retry_at(ctx.client, _claimable_ms(ctx, reading, reading.claim_ms))
    return reply


def _claimable_ms(ctx: Context, reading: Reading, idle_ms: int) -> int:
    """When the first entry may have been idle for long enough, of those that are pending now or from now on."""
    times = [ctx.now_ms + max(idle_ms, _RETRY_MS)]
    for key in reading.keys:
        stream = _stream(ctx, key, True)
        if stream is not None and reading.group is not None:
            due = stream.groups[reading.group].next_idle(stream.__contains__)
            if due is not None:
                times.append(due[0] + idle_ms)
    return min(times)


@group.command(
    "XREAD [COUNT count] [BLOCK milliseconds] STREAMS <key [key ...] id [id ...]>",
    arity=-4,
    flags=Flag.READONLY | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=(KeySpec("RO access", begin=1, keyword="STREAMS", last=-1, limit=2),),
    since="5.0.0",
    summary="Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message "
    "is available otherwise.",
    complexity="For each stream mentioned: O(N) with N being the number of elements being returned, it means "
    "that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will pay O(M) time in "
    "order to serve the M clients blocked on the stream getting new data.",
)
def xread(ctx: Context, args: Args) -> Reply:
    return _read(ctx, args, False)


@group.command(
    "XREADGROUP GROUP <group consumer> [COUNT count] [BLOCK milliseconds] [CLAIM min-idle-time] [NOACK]"
    " STREAMS <key [key ...] id [id ...]>",
    arity=-7,
    flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=(KeySpec("RO access", begin=4, keyword="STREAMS", last=-1, limit=2),),
    since="5.0.0",
    summary="Returns new or historical messages from a stream for a consumer in a group. Blocks until a message is "
    "available otherwise.",
    complexity="For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. "
    "always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP "
    "blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.",
)
def xreadgroup(ctx: Context, args: Args) -> Reply:
    return _read(ctx, args, True)
