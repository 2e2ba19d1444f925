"""What the stream commands have in common: ids as arguments, entries in replies, groups that have to be there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.errors import CommandError
from node.registry import Args
from node.resp import EncodedArray, bulk, encoded_array, request
from node.types.stream import Stream
from node.types.stream_groups import NEVER, Consumer, ConsumerGroup, Delivery
from node.types.stream_id import ID_MAX, SEQUENCE_MASK, format_id, parse_bound, parse_id

if TYPE_CHECKING:
    from node.context import Context

REFERENCE_POLICIES = (b"KEEPREF", b"DELREF", b"ACKED")
"""What becomes of an entry's references in groups when it goes: they stay, they go too, or the entry stays with them."""

INVALID_ID = "ERR Invalid stream ID specified as stream command argument"


def stream_id(text: bytes) -> int:
    """An id as an argument, not "-" or "+"; a missing sequence number is 0. CommandError when it is none."""
    number = parse_id(text)
    if number is None:
        raise CommandError(INVALID_ID)
    return number


def loose_id(text: bytes) -> int:
    """Like `stream_id`, and "-" and "+" are the lowest and the highest."""
    number = parse_bound(text)
    if number is None:
        raise CommandError(INVALID_ID)
    return number


def range_start(text: bytes) -> int:
    """The lower end of a range, "(" before it for what comes after it. CommandError when it is none."""
    if len(text) > 1 and text[0] == 40:
        number = stream_id(text[1:])
        if number == ID_MAX:
            raise CommandError("ERR invalid start ID for the interval")
        return number + 1
    return loose_id(text)


def range_end(text: bytes) -> int:
    """The upper end of a range; an id without a sequence number means all of that millisecond."""
    exclusive = len(text) > 1 and text[0] == 40
    number = parse_id(text[1:], SEQUENCE_MASK) if exclusive else parse_bound(text, SEQUENCE_MASK)
    if number is None:
        raise CommandError(INVALID_ID)
    if exclusive and number == 0:
        raise CommandError("ERR invalid end ID for the interval")
    return number - exclusive


def shown(text: bytes) -> str:
    """A name within an error, as C prints it."""
    return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def render(number: int, items: list[bytes]) -> bytes:
    """An entry in a reply: its id, and its fields and values."""
    return encoded_array((bulk(format_id(number)), request(items)))


def entries(stream: Stream, low: int, high: int, count: int = 0, reverse: bool = False) -> EncodedArray:
    """The entries from `low` to `high`, `count` of them at most; 0 for no limit."""
    return encoded_array(stream.show(low, high, count, render, reverse))


def group_at(ctx: Context, key: bytes, name: bytes) -> tuple[Stream, ConsumerGroup] | None:
    """The stream at `key` and its group of that name, to change; None when one of them is missing."""
    if ctx.read_as(key, Stream) is None:
        return None
    stream = ctx.write_as(key, Stream)
    group = None if stream is None else stream.groups.get(name)
    return None if stream is None or group is None else (stream, group)


def no_group(key: bytes, name: bytes, where: str = "") -> CommandError:
    """The error for a missing key or group."""
    return CommandError(f"NOGROUP No such key '{shown(key)}' or consumer group '{shown(name)}'{where}")


def consumer_at(ctx: Context, key: bytes, group: ConsumerGroup, name: bytes) -> tuple[Consumer, bool]:
    """The consumer of that name, made when there is none, and whether it is new. It is seen now."""
    consumer = group.consumers.get(name)
    new = consumer is None
    if consumer is None:
        consumer = group.consumers[name] = Consumer(name, ctx.now_ms, NEVER)
        ctx.modified("xgroup-createconsumer", key)
    consumer.seen_ms = ctx.now_ms
    return consumer, new


def release_everywhere(stream: Stream, numbers: list[int]) -> dict[bytes, list[int]]:
    """Let no group have these entries pending. Returns those that were, by group."""
    released = {
        name: [number for number in numbers if group.release(number)] for name, group in stream.groups.items()
    }
    return {name: gone for name, gone in released.items() if gone}


# Telling replicas -----------------------------------------------------------------------------------------------------


def tell_delivery(ctx: Context, names: Args, group: ConsumerGroup, id_text: bytes, delivery: Delivery) -> None:
    """Tell replicas of a delivery as it is now. names: the key's and the group's."""
    ctx.propagate(
        *(b"XCLAIM", *names, delivery.consumer.name, b"0", id_text, b"TIME", b"%d" % delivery.time_ms),
        *(b"RETRYCOUNT", b"%d" % delivery.count, b"FORCE", b"JUSTID", b"LASTID", format_id(group.last_id)),
    )


def tell_group_id(ctx: Context, names: Args, group: ConsumerGroup) -> None:
    """Tell replicas how far the group has come."""
    position = b"%d" % group.entries_read
    ctx.propagate(b"XGROUP", b"SETID", *names, format_id(group.last_id), b"ENTRIESREAD", position)


def tell_deletion(ctx: Context, key: bytes, numbers: list[int]) -> None:
    """Tell replicas that these entries are gone."""
    if numbers:
        ctx.propagate(b"XDEL", key, *map(format_id, numbers))


def tell_release(ctx: Context, key: bytes, released: dict[bytes, list[int]]) -> None:
    """Tell replicas what is not pending any more, by group."""
    for name, numbers in released.items():
        ctx.propagate(b"XACK", key, name, *map(format_id, numbers))
