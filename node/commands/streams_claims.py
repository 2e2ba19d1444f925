"""Commands: XCLAIM and XAUTOCLAIM, which take pending entries from one consumer for another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.commands.streams_common import (
    consumer_at,
    group_at,
    no_group,
    range_start,
    render,
    shown,
    stream_id,
    tell_delivery,
    tell_group_id,
)
from node.errors import SYNTAX, CommandError
from node.numbers import LONG_MAX, parse_int
from node.registry import KEY_UPDATE, Args, Flag, Group, KeySpec
from node.resp import Reply, bulk, encoded_array
from node.types.stream import Stream
from node.types.stream_groups import Consumer, ConsumerGroup
from node.types.stream_id import format_id, parse_id

if TYPE_CHECKING:
    from node.context import Context

group = Group("stream")

_ATTEMPTS_PER_ENTRY = 10
_ENTRY_BYTES = 16


def _number(text: bytes, what: str, command: str) -> int:
    number = parse_int(text)
    if number is None:
        raise CommandError(f"ERR Invalid {what} argument for {command}")
    return number


def _released(ctx: Context, names: Args, found: ConsumerGroup, number: int, id_text: bytes) -> bool:
    """An entry that is no longer there is not pending any more. False when it was not."""
    delivery = found.pending.get(number)
    if delivery is None:
        return False
    tell_delivery(ctx, names, found, id_text, delivery)
    found.release(number)
    ctx.dirty += 1
    return True


def _shown(stream: Stream, number: int, just_id: bool) -> bytes:
    """One claimed entry in the reply."""
    entry = None if just_id else stream.show_one(number, render)
    return bulk(format_id(number)) if entry is None else entry


@dataclass(slots=True)
class _Claim:
    """The options of XCLAIM. time_ms: when the entries count as delivered; None for now."""

    force: bool = False
    just_id: bool = False
    time_ms: int | None = None
    count: int = -1
    last_id: int = 0


def _claim_options(ctx: Context, args: Args, at: int) -> _Claim:
    found = _Claim()
    last = len(args) - 1
    while at <= last:
        word = args[at].upper()
        if word == b"FORCE":
            found.force = True
        elif word == b"JUSTID":
            found.just_id = True
        elif at < last and word in (b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID"):
            text = args[at + 1]
            if word == b"IDLE":
                found.time_ms = ctx.now_ms - _number(text, "IDLE option", "XCLAIM")
            elif word == b"TIME":
                found.time_ms = _number(text, "TIME option", "XCLAIM")
            elif word == b"RETRYCOUNT":
                found.count = _number(text, "RETRYCOUNT option", "XCLAIM")
            else:
                found.last_id = stream_id(text)
            at += 1
        else:
            raise CommandError(f"ERR Unrecognized XCLAIM option '{shown(args[at])}'")
        at += 1
    if found.time_ms is not None and not 0 <= found.time_ms <= ctx.now_ms:
        found.time_ms = None
    return found


@group.command(
    "XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count]"
    " [FORCE] [JUSTID] [LASTID lastid]",
    arity=-6,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_UPDATE,
    hints=("nondeterministic_output",),
    since="5.0.0",
    summary="Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered to a "
    "consumer group member.",
    complexity="O(log N) with N being the number of messages in the PEL of the consumer group.",
)
def xclaim(ctx: Context, args: Args) -> Reply:
    opened = group_at(ctx, args[1], args[2])
    if opened is None:
        raise no_group(args[1], args[2])
    stream, found = opened
    idle_ms = max(0, _number(args[4], "min-idle-time", "XCLAIM"))
    numbers: list[int] = []
    for text in args[5:]:
        number = parse_id(text)
        if number is None:
            break
        numbers.append(number)
    options = _claim_options(ctx, args, 5 + len(numbers))
    moved = options.last_id > found.last_id
    if moved:
        found.last_id = options.last_id
    consumer, _ = consumer_at(ctx, args[1], found, args[3])
    names = args[1:3]
    claimed: list[bytes] = []
    ctx.propagate_nothing()
    for number, id_text in zip(numbers, args[5:], strict=False):
        if number not in stream:
            if _released(ctx, names, found, number, id_text):
                moved = False
        elif _claimed(ctx, found, consumer, number, idle_ms, options):
            tell_delivery(ctx, names, found, id_text, found.pending.entries[number])
            ctx.dirty += 1
            moved = False
            claimed.append(_shown(stream, number, options.just_id))
    if moved:
        tell_group_id(ctx, names, found)
        ctx.dirty += 1
    return encoded_array(claimed)


def _claimed(
    ctx: Context, found: ConsumerGroup, consumer: Consumer, number: int, idle_ms: int, options: _Claim
) -> bool:
    """Give a pending entry to a consumer if it may have it; with FORCE it need not be pending."""
    delivery = found.pending.get(number)
    count = 1
    if delivery is not None:
        if idle_ms and ctx.now_ms - delivery.time_ms < idle_ms:
            return False
        count = delivery.count
    elif not options.force:
        return False
    if options.count >= 0:
        count = options.count
    elif not options.just_id:
        count += 1
    found.assign(number, consumer, ctx.now_ms if options.time_ms is None else options.time_ms, count)
    consumer.active_ms = ctx.now_ms
    return True


def _auto_options(args: Args) -> tuple[int, bool]:
    """COUNT and JUSTID of XAUTOCLAIM."""
    count, just_id = 100, False
    at = 6
    while at < len(args):
        word = args[at].upper()
        if word == b"COUNT" and at + 1 < len(args):
            at += 1
            number = parse_int(args[at])
            if number is None or not 1 <= number <= LONG_MAX // _ENTRY_BYTES:
                raise CommandError("ERR COUNT must be > 0")
            count = number
        elif word == b"JUSTID":
            just_id = True
        else:
            raise CommandError(SYNTAX)
        at += 1
    return count, just_id


@group.command(
    "XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]",
    arity=-6,
    flags=Flag.WRITE | Flag.FAST,
    keys=(KeySpec("RW delete"),),
    hints=("nondeterministic_output",),
    since="6.2.0",
    summary="Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to a "
    "consumer group member.",
    complexity="O(1) if COUNT is small.",
    history=(
        ("7.0.0", "Added an element to the reply array, containing deleted entries the command cleared from the PEL"),
    ),
)
def xautoclaim(ctx: Context, args: Args) -> Reply:
    idle_ms = max(0, _number(args[4], "min-idle-time", "XAUTOCLAIM"))
    start = range_start(args[5])
    count, just_id = _auto_options(args)
    opened = group_at(ctx, args[1], args[2])
    if opened is None:
        raise no_group(args[1], args[2])
    stream, found = opened
    consumer, _ = consumer_at(ctx, args[1], found, args[3])
    options = _Claim(just_id=just_id)
    names = args[1:3]
    claimed: list[bytes] = []
    gone: list[bytes] = []
    after = 0
    attempts = count * _ATTEMPTS_PER_ENTRY
    ctx.propagate_nothing()
    for number in found.pending.ids_from(start):
        if not attempts or len(claimed) + len(gone) == count:
            after = number
            break
        attempts -= 1
        id_text = format_id(number)
        if number not in stream:
            _released(ctx, names, found, number, id_text)
            gone.append(id_text)
        elif _claimed(ctx, found, consumer, number, idle_ms, options):
            tell_delivery(ctx, names, found, id_text, found.pending.entries[number])
            ctx.dirty += 1
            claimed.append(_shown(stream, number, just_id))
    return [format_id(after), encoded_array(claimed), gone]
