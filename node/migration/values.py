"""Values as the commands that make them anew, in pieces: what a slot migration sends, like a rewritten append-only file.

Commands, since the other end may be a Valkey node, which knows them and not our RDB; and since a big value can be sent and
applied piece by piece. What no commands can make (filters, sketches), small documents and small streams, whose every detail
counts, go as RESTORE.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from node.keyspace import Value
from node.migration import documents
from node.persistence.options import SaveOptions
from node.persistence.payload import dump
from node.resp import request
from node.types.hash import Hash
from node.types.json import Json, count_up_to
from node.types.list import List
from node.types.set import Set
from node.types.stream import Stream
from node.types.stream_groups import ConsumerGroup
from node.types.stream_id import format_id
from node.types.zset import ZSet

BIG = 1024
"""Values of more elements are sent in pieces, with others served in between."""
_PIECE_ELEMENTS = 256
_PIECE_BYTES = 32 * 1024


def elements_in(value: Value) -> int:
    """How many elements a value has, as far as it can be sent in pieces (of a document, up to some); 1 for the others."""
    kind = type(value)
    if kind is Stream:
        return len(value) + sum(len(group.pending) for group in value.groups.values())
    if kind is List or kind is Set or kind is ZSet:
        return len(value)
    if kind is Hash:  # Counting the fields of a packed one takes a search; it is small.
        return len(value.store) if isinstance(value.store, dict) else 1
    return count_up_to(value.root, BIG) if kind is Json else 1


def as_commands(key: bytes, value: Value, expire_ms: int | None, options: SaveOptions) -> Iterator[bytes]:
    """The encoded requests that make the key, on a server that has none such. The value must not change until the last
    was taken. expire_ms: unix ms. TypeError for a class of values that is never saved."""
    kind = type(value)
    if kind is bytes or kind is int or kind is bytearray:
        text = b"%d" % value if kind is int else bytes(value)
        end = [] if expire_ms is None else [b"PXAT", b"%d" % expire_ms]
        yield request([b"SET", key, text, *end])
        return
    if kind is List:
        yield from _pieces(b"RPUSH", key, iter(value), 1)
    elif kind is Set:
        yield from _pieces(b"SADD", key, iter(value.store if isinstance(value.store, dict) else value.members()), 1)
    elif kind is ZSet:
        yield from _pieces(b"ZADD", key, _scored(value), 2)
    elif kind is Hash:
        yield from _hash(key, value)
    elif kind is Stream and elements_in(value) > BIG:
        yield from _stream(key, value)
    elif kind is Json and elements_in(value) > BIG:
        yield from documents.pieces(key, value.root)
    else:
        payload = dump(value, options)
        yield request([b"RESTORE", key, b"%d" % (expire_ms or 0), payload, b"REPLACE", b"ABSTTL"])
        return
    if expire_ms is not None:
        yield request([b"PEXPIREAT", key, b"%d" % expire_ms])


def _pieces(name: bytes, key: bytes, texts: Iterator[bytes], each: int) -> Iterator[bytes]:
    """One command over and over, with some elements each; `each`: how many texts make one element."""
    args: list[bytes] = [name, key]
    size = 0
    while some := list(islice(texts, each)):
        args += some
        size += sum(map(len, some))
        if len(args) >= _PIECE_ELEMENTS or size >= _PIECE_BYTES:
            yield request(args)
            args, size = [name, key], 0
    if len(args) > 2:
        yield request(args)


def _scored(value: ZSet) -> Iterator[bytes]:
    for start in range(0, len(value), _PIECE_ELEMENTS):  # In order, so that each goes to the end of what is there.
        for member, score in zip(*value.slice(start, min(start + _PIECE_ELEMENTS, len(value))), strict=True):
            yield repr(score).encode()  # Reads back the same, and is made ten times faster than Redis's digits.
            yield member


def _hash(key: bytes, value: Hash) -> Iterator[bytes]:
    store = value.store
    if isinstance(store, dict):
        yield from _pieces(b"HSET", key, (text for pair in store.items() for text in pair), 2)
    else:
        yield from _pieces(b"HSET", key, iter(value.flat()), 2)
    if value.deadlines is None:
        return
    for deadline_ms, fields in value.deadlines.by_time(_PIECE_ELEMENTS):
        yield request([b"HPEXPIREAT", key, b"%d" % deadline_ms, b"FIELDS", b"%d" % len(fields), *fields])


def _stream(key: bytes, value: Stream) -> Iterator[bytes]:
    for number, texts in value.entries():
        yield request([b"XADD", key, format_id(number), *texts])
    if not len(value):  # One that is empty is made by an entry that does not stay.
        yield request([b"XADD", key, b"MAXLEN", b"0", format_id(max(value.last_id, 1)), b"x", b"y"])
    deleted = format_id(value.max_deleted_id)
    added = b"%d" % value.entries_added
    yield request([b"XSETID", key, format_id(value.last_id), b"ENTRIESADDED", added, b"MAXDELETEDID", deleted])
    for name, group in value.groups.items():
        yield from _group(key, name, group)


def _group(key: bytes, name: bytes, group: ConsumerGroup) -> Iterator[bytes]:
    read = b"%d" % group.entries_read
    yield request([b"XGROUP", b"CREATE", key, name, format_id(group.last_id), b"ENTRIESREAD", read])
    for consumer in group.consumers.values():
        yield request([b"XGROUP", b"CREATECONSUMER", key, name, consumer.name])
        for number, delivery in consumer.pending.entries.items():
            yield request([
                b"XCLAIM", key, name, consumer.name, b"0", format_id(number), b"TIME", b"%d" % delivery.time_ms,
                b"RETRYCOUNT", b"%d" % delivery.count, b"JUSTID", b"FORCE",
            ])
