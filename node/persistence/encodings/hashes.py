"""Hashes: written as a listpack (16) or a table (4), read from these and from ziplists (13) and zipmaps (9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from node.persistence import listpack, ziplist
from node.persistence.encodings.base import Encoding, Loader
from node.persistence.errors import EmptyValue, RdbError
from node.persistence.options import EncodingLimits, SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.hash import Hash

TAG_HASH = 4
TAG_HASH_ZIPMAP = 9
TAG_HASH_ZIPLIST = 13
TAG_HASH_LISTPACK = 16

_PIECE_BYTES = 32 * 1024


def fits_listpack(fields: dict[bytes, bytes], limits: EncodingLimits) -> bool:
    """Whether Redis would hold this hash as a listpack."""
    if not fields:
        return True
    if len(fields) > limits.hash_max_listpack_entries:
        return False
    longest = limits.hash_max_listpack_value
    return max(map(len, fields)) <= longest and max(map(len, fields.values())) <= longest


class _Table:
    """A hash table half read: how many pairs it has, and those that arrived."""

    __slots__ = ("count", "fields")

    def __init__(self, count: int) -> None:
        self.count = count
        self.fields: dict[bytes, bytes] = {}


def load_table(cursor: Cursor) -> Hash:
    """Type 4: a count, then that many fields and values."""
    table = cursor.progress
    if not isinstance(table, _Table):
        table = cursor.progress = _Table(cursor.length())
        if table.count == 0:
            raise EmptyValue("a hash without fields")
        cursor.commit()
    fields = table.fields
    string = cursor.string
    for _ in range(len(fields), table.count):
        name = string()
        value = string()
        if name in fields:
            raise RdbError("a hash has the same field twice")
        fields[name] = value
        cursor.mark = cursor.pos
    return Hash(fields)


def _packed_loader(decode: Callable[[bytes], list[bytes]]) -> Loader:
    def load(cursor: Cursor) -> Hash:
        items = decode(cursor.string())
        if not items:
            raise EmptyValue("a hash without fields")
        if len(items) & 1:
            raise RdbError("a hash has a field without a value")
        fields = dict(zip(items[::2], items[1::2], strict=True))
        if len(fields) * 2 != len(items):
            raise RdbError("a hash has the same field twice")
        return Hash(fields)

    return load


def save(value: Hash, options: SaveOptions) -> tuple[bytes, bytes]:
    """See `Saver`."""
    fields = value.fields
    if not value.table and fits_listpack(fields, options.limits):
        packed = listpack.encode(chain.from_iterable(fields.items()))
        return b"\x10", encode_string(packed, options.compress)
    compress = options.compress
    parts = [encode_length(len(fields))]
    parts += [encode_string(text, compress) for pair in fields.items() for text in pair]
    return b"\x04", b"".join(parts)


def save_piecewise(value: Hash, options: SaveOptions) -> Iterator[bytes]:
    """See `PiecewiseSaver`."""
    fields = value.fields
    if not value.table and fits_listpack(fields, options.limits):
        yield b"".join(save(value, options))
        return
    compress = options.compress
    parts = [b"\x04", encode_length(len(fields))]
    size = 0
    for name, text in fields.items():
        head, tail = encode_string(name, compress), encode_string(text, compress)
        parts += (head, tail)
        size += len(head) + len(tail)
        if size >= _PIECE_BYTES:
            yield b"".join(parts)
            parts = []
            size = 0
    if parts:
        yield b"".join(parts)


ENCODING = Encoding(
    name="hash",
    loaders={
        TAG_HASH: load_table,
        TAG_HASH_ZIPMAP: _packed_loader(ziplist.decode_zipmap),
        TAG_HASH_ZIPLIST: _packed_loader(ziplist.decode),
        TAG_HASH_LISTPACK: _packed_loader(listpack.decode),
    },
    classes=(Hash,),
    save=save,
    save_piecewise=save_piecewise,
)
