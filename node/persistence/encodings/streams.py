"""Streams: written as types 19 (Redis 7.0) and 21 (7.2), read from these and from 15 (5.0).

All three hold the nodes as listpacks under their first ids, then the counters, then the groups. 19 added the first id,
the highest deleted one, the number of entries ever added and the groups' entries read; 21 a consumer's active time. As
19 is read by more servers, 21 is written only where that time would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from node.persistence.encodings.base import Encoding, Loader, Pieces, Rest
from node.persistence.errors import RdbError
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.stream import Stream
from node.types.stream_groups import UNKNOWN, Consumer, ConsumerGroup
from node.types.stream_id import MS_SHIFT, SEQUENCE_MASK
from node.types.stream_node import Node

TAG_STREAM_5 = 15
TAG_STREAM_7 = 19
TAG_STREAM_7_2 = 21

_VERSION_WITH_ACTIVE_TIME = 11
_PIECE_BYTES = 32 * 1024
_ID_BYTES = 16
_NODES_AT_ONCE, _TAILS_AT_ONCE = 4, 512


# Reading --------------------------------------------------------------------------------------------------------------


class _Partial:
    """A stream half read. steps: what is still to be read; each step is whole or not at all."""

    __slots__ = ("group", "pending", "step", "stream", "tag", "togo")

    def __init__(self, tag: int) -> None:
        self.tag = tag
        self.stream = Stream()
        self.step: Callable[[_Partial, Cursor], None] | None = _read_node_count
        self.togo: list[int] = []
        """How many are left of: groups, of the group deliveries or consumers, of the consumer entries."""
        self.group = ConsumerGroup(0)
        self.pending: dict[int, tuple[int, int]] = {}
        """The group's deliveries that no consumer has claimed yet: time and count."""


def _loader(tag: int) -> Loader:
    def load(cursor: Cursor) -> Stream:
        partial = cursor.progress
        if not isinstance(partial, _Partial):
            partial = cursor.progress = _Partial(tag)
        while partial.step is not None:
            partial.step(partial, cursor)
            cursor.commit()
        return partial.stream

    return load


def _read_id(cursor: Cursor) -> int:
    ms = cursor.length()
    return ms << MS_SHIFT | cursor.length()


def _read_time(cursor: Cursor) -> int:
    return int.from_bytes(cursor.take(8), "little", signed=True)


def _read_node_count(partial: _Partial, cursor: Cursor) -> None:
    partial.togo = [cursor.length()]
    partial.step = _read_node


def _read_node(partial: _Partial, cursor: Cursor) -> None:
    if not partial.togo[0]:
        partial.step = _read_counters
        return
    key = cursor.string()
    packed = cursor.string()
    if len(key) != _ID_BYTES:
        raise RdbError("stream: a node's key is no id")
    node = Node.from_listpack(int.from_bytes(key, "big"), packed)
    stream = partial.stream
    if stream.last_mark() >= node.first:
        raise RdbError("stream: its nodes are not in order")
    stream.load_node(node)
    partial.togo[0] -= 1


def _read_counters(partial: _Partial, cursor: Cursor) -> None:
    stream = partial.stream
    stream.length = cursor.length()
    stream.last_id = _read_id(cursor)
    if stream.length != sum(node.count for node in stream.nodes()):
        raise RdbError("stream: its length is not that of its nodes")
    if partial.tag == TAG_STREAM_5:
        stream.entries_added = stream.length
        stream.first_id = stream.first_valid_id()
    else:
        stream.first_id = _read_id(cursor)
        stream.max_deleted_id = _read_id(cursor)
        stream.entries_added = cursor.length()
    partial.togo = [cursor.length()]
    partial.step = _read_group


def _read_group(partial: _Partial, cursor: Cursor) -> None:
    if not partial.togo[0]:
        partial.step = None
        return
    stream = partial.stream
    name = cursor.string()
    if name in stream.groups:
        raise RdbError("stream: two groups of one name")
    last_id = _read_id(cursor)
    if partial.tag == TAG_STREAM_5:
        entries_read = stream.position_of(last_id)
    else:
        entries_read = cursor.length()
        if entries_read > SEQUENCE_MASK >> 1:
            entries_read = UNKNOWN
    partial.togo = [partial.togo[0] - 1, cursor.length()]
    partial.group = stream.groups[name] = ConsumerGroup(last_id, entries_read)
    partial.pending = {}
    partial.step = _read_delivery


def _read_delivery(partial: _Partial, cursor: Cursor) -> None:
    if not partial.togo[1]:
        partial.togo[1] = cursor.length()
        partial.step = _read_consumer
        return
    number = int.from_bytes(cursor.take(_ID_BYTES), "big")
    time_ms = _read_time(cursor)
    count = cursor.length()
    if number in partial.pending:
        raise RdbError("stream: an entry is pending twice in one group")
    partial.pending[number] = time_ms, count
    partial.togo[1] -= 1


def _read_consumer(partial: _Partial, cursor: Cursor) -> None:
    if not partial.togo[1]:
        if partial.pending:
            raise RdbError("stream: an entry is pending for no consumer")
        partial.step = _read_group
        return
    name = cursor.string()
    if name in partial.group.consumers:
        raise RdbError("stream: two consumers of one name")
    seen_ms = _read_time(cursor)
    active_ms = _read_time(cursor) if partial.tag == TAG_STREAM_7_2 else seen_ms
    partial.togo = [partial.togo[0], partial.togo[1] - 1, cursor.length()]
    partial.group.consumers[name] = Consumer(name, seen_ms, active_ms)
    partial.step = _read_consumers_entry


def _read_consumers_entry(partial: _Partial, cursor: Cursor) -> None:
    if not partial.togo[2]:
        partial.step = _read_consumer
        return
    number = int.from_bytes(cursor.take(_ID_BYTES), "big")
    delivery = partial.pending.pop(number, None)
    if delivery is None:
        raise RdbError("stream: a consumer has an entry that its group has not, or that another has")
    group = partial.group
    group.assign(number, group.consumers[next(reversed(group.consumers))], *delivery)
    partial.togo[2] -= 1


# Writing --------------------------------------------------------------------------------------------------------------


def _encode_id(number: int) -> bytes:
    return encode_length(number >> MS_SHIFT) + encode_length(number & SEQUENCE_MASK)


def _encode_time(time_ms: int) -> bytes:
    return time_ms.to_bytes(8, "little", signed=True)


def _tag(stream: Stream, options: SaveOptions) -> int:
    if options.version < _VERSION_WITH_ACTIVE_TIME:
        return TAG_STREAM_7
    consumers = (one for group in stream.groups.values() for one in group.consumers.values())
    return TAG_STREAM_7_2 if any(one.active_ms != one.seen_ms for one in consumers) else TAG_STREAM_7


def _parts(stream: Stream, tag: int, options: SaveOptions) -> Iterator[bytes]:
    """The body in small parts."""
    nodes = stream.nodes()
    yield encode_length(len(nodes))
    for node in nodes:
        yield from _node(node, options.compress)
    yield from _tail(stream, tag, options)


def _node(node: Node, compress: bool) -> tuple[bytes, bytes]:
    return encode_string(node.first.to_bytes(_ID_BYTES, "big"), False), encode_string(node.listpack(), compress)


def _tail(stream: Stream, tag: int, options: SaveOptions) -> Iterator[bytes]:
    """What stands behind the nodes."""
    yield encode_length(stream.length) + _encode_id(stream.last_id) + _encode_id(stream.first_id)
    yield _encode_id(stream.max_deleted_id) + encode_length(stream.entries_added)
    yield encode_length(len(stream.groups))
    for name in sorted(stream.groups):
        yield from _group_parts(name, stream.groups[name], tag, options)


def _group_parts(name: bytes, group: ConsumerGroup, tag: int, options: SaveOptions) -> Iterator[bytes]:
    yield encode_string(name, options.compress) + _encode_id(group.last_id)
    yield encode_length(group.entries_read & SEQUENCE_MASK) + encode_length(len(group.pending))
    for number in group.pending.ids_from(0):
        delivery = group.pending.entries[number]
        yield number.to_bytes(_ID_BYTES, "big") + _encode_time(delivery.time_ms) + encode_length(delivery.count)
    yield encode_length(len(group.consumers))
    for consumer_name in sorted(group.consumers):
        consumer = group.consumers[consumer_name]
        yield encode_string(consumer_name, options.compress) + _encode_time(consumer.seen_ms)
        if tag == TAG_STREAM_7_2:
            yield _encode_time(consumer.active_ms)
        yield encode_length(len(consumer.pending))
        for number in consumer.pending.ids_from(0):
            yield number.to_bytes(_ID_BYTES, "big")


def save(value: Stream, options: SaveOptions) -> tuple[bytes, bytes]:
    """See `Saver`."""
    tag = _tag(value, options)
    return bytes((tag,)), b"".join(_parts(value, tag, options))


def save_piecewise(value: Stream, options: SaveOptions) -> Iterator[bytes]:
    """See `PiecewiseSaver`. To hold it, the nodes that are left are copied, which is much less work than to write them."""
    tag = _tag(value, options)
    nodes, tail = Rest(value.nodes(), Node.copy), Rest(_tail(value, tag, options))

    def hold() -> None:
        nodes.hold()
        tail.hold()

    return Pieces(_piecewise(bytes((tag,)) + encode_length(value.node_count()), nodes, tail, options.compress), hold)


def _piecewise(head: bytes, nodes: Rest[Node], tail: Rest[bytes], compress: bool) -> Iterator[bytes]:
    parts, size = [head], 0
    while some := nodes.take(_NODES_AT_ONCE):
        for node in some:
            parts += _node(node, compress)
            size += len(parts[-1])
        if size >= _PIECE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    while texts := tail.take(_TAILS_AT_ONCE):
        parts += texts
        yield b"".join(parts)
        parts = []
    if parts:
        yield b"".join(parts)


ENCODING = Encoding(
    name="stream",
    loaders={tag: _loader(tag) for tag in (TAG_STREAM_5, TAG_STREAM_7, TAG_STREAM_7_2)},
    classes=(Stream,),
    save=save,
    save_piecewise=save_piecewise,
)
