"""Hashes: written as a listpack (16) or a table (4), read from these and from ziplists (13) and zipmaps (9).

With fields that expire they are written as Redis 7.4 does (24 and 25), for readers of RDB 12, or as Valkey 9 does (22), for
those of its 80. Older ones get the hash without its fields' deadlines: they could not expire them, and hear of it
when we do. Read is also 23, of Redis 7.4's candidates; their 22 was something else than Valkey's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from node.persistence import listpack, ziplist
from node.persistence.encodings.base import Encoding, Loader, Pieces, Rest
from node.persistence.errors import EmptyValue, RdbError
from node.persistence.options import RDB_VERSION_VALKEY, SaveOptions
from node.persistence.wire import INT64_MAX, Cursor, canonical_int, encode_length, encode_string
from node.types.hash import FieldDeadlines, Hash, fits_listpack

TAG_HASH = 4
TAG_HASH_ZIPMAP = 9
TAG_HASH_ZIPLIST = 13
TAG_HASH_LISTPACK = 16
TAG_HASH_VALKEY = 22
TAG_HASH_LISTPACK_EX_OLD = 23
TAG_HASH_EXPIRING = 24
TAG_HASH_LISTPACK_EX = 25

_VERSION_WITH_DEADLINES = 12
_NEVER = (1 << 64) - 1
_TIME_BYTES = 8

_PIECE_BYTES = 32 * 1024
_PIECE_FIELDS = 64


class _Table:
    """A hash table half read: how many pairs it has, and those that arrived."""

    __slots__ = ("base_ms", "count", "deadlines", "fields")

    def __init__(self, count: int, base_ms: int = 0) -> None:
        self.base_ms = base_ms
        self.deadlines = FieldDeadlines({})
        self.count = count
        self.fields: dict[bytes, bytes] = {}


def _begun(cursor: Cursor, base_bytes: int = 0) -> _Table:
    """The table that is being read. Where it begins: base_bytes of the time from which deadlines count, then a count."""
    table = cursor.progress
    if not isinstance(table, _Table):
        base_ms = int.from_bytes(cursor.take(base_bytes), "little")
        table = cursor.progress = _Table(cursor.length(), base_ms)
        if table.count == 0:
            raise EmptyValue("a hash without fields")
        cursor.commit()
    return table


def load_table(cursor: Cursor) -> Hash:
    """Type 4: a count, then that many fields and values."""
    table = _begun(cursor)
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


def _made(table: _Table) -> Hash:
    """The hash when all of it has arrived."""
    made = Hash(table.fields)
    if table.deadlines.by_field:
        made.deadlines = table.deadlines
    return made


def _deadline(cursor: Cursor) -> int:
    """A time in unix ms."""
    return int.from_bytes(cursor.take(_TIME_BYTES), "little")


def _checked_ms(deadline_ms: int) -> int:
    if deadline_ms > INT64_MAX:
        raise RdbError("a field expires beyond the end of time")
    return deadline_ms


def load_expiring_table(cursor: Cursor) -> Hash:
    """Type 24: the earliest deadline, a count, then for each field the ms from there on plus 1, 0 for none; the field;
    the value."""
    table = _begun(cursor, _TIME_BYTES)
    for _ in range(len(table.fields), table.count):
        offset_ms = cursor.length()
        name = cursor.string()
        value = cursor.string()
        _take(table, name, value, table.base_ms + offset_ms - 1 if offset_ms else None)
        cursor.commit()
    return _made(table)


def load_valkey_table(cursor: Cursor) -> Hash:
    """Type 22: a count, then for each a field, a value, and its deadline in ms, all ones for none."""
    table = _begun(cursor)
    for _ in range(len(table.fields), table.count):
        name = cursor.string()
        value = cursor.string()
        deadline_ms = _deadline(cursor)
        _take(table, name, value, None if deadline_ms == _NEVER else deadline_ms)
        cursor.commit()
    return _made(table)


def _take(table: _Table, name: bytes, value: bytes, deadline_ms: int | None) -> None:
    if name in table.fields:
        raise RdbError("a hash has the same field twice")
    if deadline_ms is not None:
        table.deadlines.set(name, _checked_ms(deadline_ms))
    table.fields[name] = value


def load_listpack_ex(cursor: Cursor) -> Hash:
    """Type 25: the earliest deadline, then a listpack of fields, values and deadlines in unix ms, 0 for none."""
    _deadline(cursor)
    return load_listpack_ex_old(cursor)


def load_listpack_ex_old(cursor: Cursor) -> Hash:
    """Type 23: the same without the earliest deadline."""
    items = listpack.decode(cursor.string())
    if not items:
        raise EmptyValue("a hash without fields")
    if len(items) % 3:
        raise RdbError("a hash has a field without a deadline")
    table = _Table(len(items) // 3)
    for name, value, text in zip(items[::3], items[1::3], items[2::3], strict=True):
        deadline_ms = canonical_int(text)
        if deadline_ms is None or deadline_ms < 0:
            raise RdbError("a field's deadline is not a time")
        _take(table, name, value, deadline_ms or None)
    return _made(table)


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


def _is_written_with_deadlines(value: Hash, options: SaveOptions) -> bool:
    deadlines = value.deadlines
    return deadlines is not None and bool(deadlines.by_field) and options.version >= _VERSION_WITH_DEADLINES


class _Rest:
    """The fields of a hash that are not written yet, their values, and the deadlines of all."""

    __slots__ = ("by_field", "count", "names", "texts")

    def __init__(self, value: Hash) -> None:
        fields = value.lookup()
        self.count = len(fields)
        self.names, self.texts = Rest(fields), Rest(fields.values())
        self.by_field: Mapping[bytes, int] = {} if value.deadlines is None else value.deadlines.by_field

    def hold(self) -> None:
        """The hash is about to change: keep what is left of it."""
        self.names.hold()
        self.texts.hold()
        self.by_field = dict(self.by_field)


def _expiring_listpack(value: Hash, by_field: Mapping[bytes, int], first_ms: int, compress: bool) -> bytes:
    """A small hash with deadlines, tag first: ordered by deadline (25)."""
    fields = value.lookup()
    ordered = sorted(fields, key=lambda field: by_field.get(field, _NEVER))
    items = (item for field in ordered for item in (field, fields[field], b"%d" % by_field.get(field, 0)))
    return b"\x19" + first_ms.to_bytes(_TIME_BYTES, "little") + encode_string(listpack.encode(items), compress)


def _table_pieces(rest: _Rest, head: bytes, entry: Callable[[bytes, bytes], Iterable[bytes]]) -> Iterator[bytes]:
    """A hash as a table. head: the tag and what comes before the count. entry: how a field with its value is written."""
    parts = [head, encode_length(rest.count)]
    size = 0
    while names := rest.names.take(_PIECE_FIELDS):
        for name, text in zip(names, rest.texts.take(_PIECE_FIELDS), strict=True):
            parts += entry(name, text)
            size += len(name) + len(text) + 8
            if size >= _PIECE_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    yield b"".join(parts)


def _expiring_pieces(rest: _Rest, first_ms: int, compress: bool) -> Iterator[bytes]:
    """A hash with deadlines as a table (24), tag first: see `load_expiring_table`."""

    def entry(name: bytes, text: bytes) -> tuple[bytes, bytes, bytes]:
        deadline_ms = rest.by_field.get(name)
        offset = encode_length(0 if deadline_ms is None else deadline_ms - first_ms + 1)
        return offset, encode_string(name, compress), encode_string(text, compress)

    return _table_pieces(rest, b"\x18" + first_ms.to_bytes(_TIME_BYTES, "little"), entry)


def _valkey_pieces(rest: _Rest, compress: bool) -> Iterator[bytes]:
    """The same as Valkey writes it (22), tag first: see `load_valkey_table`."""

    def entry(name: bytes, text: bytes) -> tuple[bytes, bytes, bytes]:
        deadline_ms = rest.by_field.get(name, _NEVER)
        return encode_string(name, compress), encode_string(text, compress), deadline_ms.to_bytes(_TIME_BYTES, "little")

    return _table_pieces(rest, b"\x16", entry)


def _plain_pieces(rest: _Rest, compress: bool) -> Iterator[bytes]:
    """A hash as a table (4), tag first."""

    def entry(name: bytes, text: bytes) -> tuple[bytes, bytes]:
        return encode_string(name, compress), encode_string(text, compress)

    return _table_pieces(rest, b"\x04", entry)


def save(value: Hash, options: SaveOptions) -> tuple[bytes, bytes]:
    """See `Saver`."""
    if _is_written_with_deadlines(value, options):
        pieces = b"".join(save_piecewise(value, options))
        return pieces[:1], pieces[1:]
    fields = value.lookup()
    if not value.table and fits_listpack(fields, options.limits):
        packed = listpack.encode(chain.from_iterable(fields.items()))
        return b"\x10", encode_string(packed, options.compress)
    compress = options.compress
    parts = [encode_length(len(fields))]
    parts += [encode_string(text, compress) for pair in fields.items() for text in pair]
    return b"\x04", b"".join(parts)


def save_piecewise(value: Hash, options: SaveOptions) -> Pieces:
    """See `PiecewiseSaver`."""
    compress = options.compress
    compact = not value.table and fits_listpack(value.lookup(), options.limits)
    deadlines = value.deadlines
    if deadlines is not None and _is_written_with_deadlines(value, options):
        first_ms = deadlines.next_ms() or 0
        if options.version != RDB_VERSION_VALKEY and compact:
            return Pieces([_expiring_listpack(value, deadlines.by_field, first_ms, compress)])
        rest = _Rest(value)
        valkey = options.version == RDB_VERSION_VALKEY
        pieces = _valkey_pieces(rest, compress) if valkey else _expiring_pieces(rest, first_ms, compress)
        return Pieces(pieces, rest.hold)
    if compact:
        return Pieces([b"".join(save(value, options))])
    rest = _Rest(value)
    return Pieces(_plain_pieces(rest, compress), rest.hold)


ENCODING = Encoding(
    name="hash",
    loaders={
        TAG_HASH: load_table,
        TAG_HASH_ZIPMAP: _packed_loader(ziplist.decode_zipmap),
        TAG_HASH_ZIPLIST: _packed_loader(ziplist.decode),
        TAG_HASH_LISTPACK: _packed_loader(listpack.decode),
        TAG_HASH_VALKEY: load_valkey_table,
        TAG_HASH_LISTPACK_EX_OLD: load_listpack_ex_old,
        TAG_HASH_EXPIRING: load_expiring_table,
        TAG_HASH_LISTPACK_EX: load_listpack_ex,
    },
    classes=(Hash,),
    save=save,
    save_piecewise=save_piecewise,
)
