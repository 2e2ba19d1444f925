"""Sets: written as an intset (11), a listpack (20) or a table (2), and read from these.

What a set is written as is the form that it has; a reader of RDB version 10 (Redis 7.0) knows no listpacks in sets and
gets a table.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from node.persistence import intset, listpack
from node.persistence.encodings.base import Encoding, Pieces, Rest
from node.persistence.errors import EmptyValue, RdbError
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.set import Set

TAG_SET = 2
TAG_SET_INTSET = 11
TAG_SET_LISTPACK = 20

_VERSION_WITH_LISTPACKS = 11
_PIECE_MEMBERS = 512
_WIDTHS = {2: "h", 4: "i", 8: "q"}


class _HalfRead:
    """How many members a set has, and those that arrived."""

    __slots__ = ("count", "members")

    def __init__(self, count: int) -> None:
        self.count = count
        self.members: dict[bytes, None] = {}


def load_table(cursor: Cursor) -> Set:
    """Type 2: a count, then that many members."""
    half = cursor.progress
    if not isinstance(half, _HalfRead):
        half = cursor.progress = _HalfRead(cursor.length())
        if half.count == 0:
            raise EmptyValue("a set without members")
        cursor.commit()
    members = half.members
    string = cursor.string
    for _ in range(len(members), half.count):
        member = string()
        if member in members:
            raise RdbError("a set has the same member twice")
        members[member] = None
        cursor.mark = cursor.pos
    return Set(members, table=True, loaded=True)


def load_intset(cursor: Cursor) -> Set:
    """Type 11: an intset."""
    data = cursor.string()
    numbers = intset.decode(data)
    if not numbers:
        raise EmptyValue("a set without members")
    width = int.from_bytes(data[:4], "little")
    return Set(array(_WIDTHS[width], numbers), loaded=True)


def load_listpack(cursor: Cursor) -> Set:
    """Type 20: a listpack."""
    items = listpack.decode(cursor.string())
    if not items:
        raise EmptyValue("a set without members")
    members = dict.fromkeys(items)
    if len(members) != len(items):
        raise RdbError("a set has the same member twice")
    return Set.listpack(items, loaded=True)


def _small(value: Set, options: SaveOptions) -> tuple[bytes, bytes] | None:
    """Tag and bytes of a set that is not written as a table."""
    store = value.store
    if isinstance(store, array):
        return b"\x0b", encode_string(intset.encode(store, store.itemsize), options.compress)
    if value.table or options.version < _VERSION_WITH_LISTPACKS:
        return None
    return b"\x14", encode_string(listpack.encode(value.members()), options.compress)


def save(value: Set, options: SaveOptions) -> tuple[bytes, bytes]:
    """See `Saver`."""
    small = _small(value, options)
    if small is not None:
        return small
    members = value.members()
    compress = options.compress
    return b"\x02", encode_length(len(members)) + b"".join([encode_string(member, compress) for member in members])


def _table(rest: Rest[bytes], count: int, compress: bool) -> Iterator[bytes]:
    """A table in pieces, tag first."""
    yield b"\x02" + encode_length(count)
    while some := rest.take(_PIECE_MEMBERS):
        yield b"".join([encode_string(member, compress) for member in some])


def save_piecewise(value: Set, options: SaveOptions) -> Pieces:
    """See `PiecewiseSaver`."""
    small = _small(value, options)
    if small is not None:
        return Pieces([b"".join(small)])
    members = value.lookup()
    rest = Rest(members)
    return Pieces(_table(rest, len(members), options.compress), rest.hold)


ENCODING = Encoding(
    name="set",
    loaders={TAG_SET: load_table, TAG_SET_INTSET: load_intset, TAG_SET_LISTPACK: load_listpack},
    classes=(Set,),
    save=save,
    save_piecewise=save_piecewise,
)
