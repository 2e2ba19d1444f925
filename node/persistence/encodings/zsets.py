"""Sorted sets: written as a listpack (17) or a skiplist (5), read from these, ziplists (12) and the oldest form (3).

A listpack holds members and scores in order, scores as integers or texts; a skiplist is written from its highest score
down, as Redis does, which makes loading it there cheap.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from struct import Struct

from node.numbers import format_double, parse_double
from node.persistence import listpack, ziplist
from node.persistence.encodings.base import Encoding, Loader, Pieces
from node.persistence.errors import EmptyValue, RdbError
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.order import LOAD, Descent
from node.types.zset import ORDERED_ABOVE, ZSet

TAG_ZSET = 3
TAG_ZSET_BINARY = 5
TAG_ZSET_ZIPLIST = 12
TAG_ZSET_LISTPACK = 17

_DOUBLE = Struct("<d")
_NAN, _INFINITY, _NEGATIVE_INFINITY = 253, 254, 255
_PIECE_MEMBERS = 512


class _HalfRead:
    """How many members a sorted set has, those that arrived, and of a big one their order."""

    __slots__ = ("count", "order", "scores")

    def __init__(self, count: int) -> None:
        self.count = count
        self.scores: dict[bytes, float] = {}
        self.order = Descent() if count > ORDERED_ABOVE else None


def _binary_score(cursor: Cursor) -> float:
    score: float = _DOUBLE.unpack(cursor.take(8))[0]
    return score


def _text_score(cursor: Cursor) -> float:
    """A length and as many characters; three lengths stand for what has no digits."""
    size = cursor.byte()
    if size == _INFINITY:
        return float("inf")
    if size == _NEGATIVE_INFINITY:
        return float("-inf")
    score = None if size == _NAN else parse_double(cursor.take(size))
    if score is None:
        raise RdbError("a sorted set has a score that is no number")
    return score


def _member_loader(read_score: Callable[[Cursor], float]) -> Loader:
    """Types 3 and 5: a count, then that many members with their scores."""

    def load(cursor: Cursor) -> ZSet:
        half = cursor.progress
        if not isinstance(half, _HalfRead):
            half = cursor.progress = _HalfRead(cursor.length())
            if half.count == 0:
                raise EmptyValue("a sorted set without members")
            cursor.commit()
        scores, order = half.scores, half.order
        while (start := len(scores)) < half.count:
            if order is None:
                stop = half.count
            else:
                if start - order.taken >= LOAD:
                    order.take(scores)
                stop = min(half.count, order.taken + LOAD)
            _read_members(cursor, scores, stop, read_score)
        if order is None:
            return ZSet.loaded(scores, listpack=False)
        order.take(scores)
        return ZSet.loaded(scores, listpack=False, order=order.ended())

    return load


def _read_members(
    cursor: Cursor, scores: dict[bytes, float], stop: int, read_score: Callable[[Cursor], float]
) -> None:
    """Read members and their scores until there are `stop` of them."""
    string = cursor.string
    for _ in range(len(scores), stop):
        member = string()
        score = read_score(cursor)
        if member in scores:
            raise RdbError("a sorted set has the same member twice")
        if score != score:
            raise RdbError("a sorted set has a score that is no number")
        scores[member] = score
        cursor.mark = cursor.pos


def _packed_loader(decode: Callable[[bytes], list[bytes]]) -> Loader:
    """Types 12 and 17: members and scores in turn."""

    def load(cursor: Cursor) -> ZSet:
        items = decode(cursor.string())
        if not items:
            raise EmptyValue("a sorted set without members")
        if len(items) & 1:
            raise RdbError("a sorted set has a member without a score")
        scores: dict[bytes, float] = {}
        for member, text in zip(items[::2], items[1::2], strict=True):
            score = parse_double(text)
            if score is None:
                raise RdbError("a sorted set has a score that is no number")
            scores[member] = score
        if len(scores) * 2 != len(items):
            raise RdbError("a sorted set has the same member twice")
        return ZSet.loaded(scores, listpack=True)

    return load


def _packed(value: ZSet, options: SaveOptions) -> bytes:
    members, scores = value.ascending()
    items = chain.from_iterable(zip(members, map(format_double, scores), strict=True))
    return encode_string(listpack.encode(items), options.compress)


class _Rest:
    """The members of a skiplist that are not written yet, from the highest down."""

    __slots__ = ("_held", "_value", "count")

    def __init__(self, value: ZSet) -> None:
        self.count = len(value)
        self._value = value
        self._held: list[tuple[list[bytes], array[float]]] | None = None

    def take(self) -> tuple[list[bytes], Sequence[float]]:
        """The next ones, with their scores, ascending; none when there are no more."""
        if self._held is not None:
            return self._held.pop() if self._held else ([], ())
        stop = self.count
        self.count = start = max(0, stop - _PIECE_MEMBERS)
        return self._value.slice(start, stop)

    def hold(self) -> None:
        """The value is about to change: keep what is left of it."""
        if self._held is None:
            self._held = self._value.blocks(self.count)
            self._value = ZSet()  # What is dropped is freed piece by piece only if nobody else refers to it.


def _pieces(rest: _Rest, options: SaveOptions) -> Iterator[bytes]:
    """A skiplist in pieces, tag first."""
    compress = options.compress
    pack = _DOUBLE.pack
    yield b"\x05" + encode_length(rest.count)
    while (some := rest.take())[0]:
        entries = zip(reversed(some[0]), reversed(some[1]), strict=True)
        yield b"".join([encode_string(member, compress) + pack(score) for member, score in entries])


def save(value: ZSet, options: SaveOptions) -> tuple[bytes, bytes]:
    """See `Saver`."""
    if value.is_compact:
        return b"\x11", _packed(value, options)
    pieces = b"".join(_pieces(_Rest(value), options))
    return pieces[:1], pieces[1:]


def save_piecewise(value: ZSet, options: SaveOptions) -> Pieces:
    """See `PiecewiseSaver`."""
    if value.is_compact:
        return Pieces([b"\x11" + _packed(value, options)])
    rest = _Rest(value)
    return Pieces(_pieces(rest, options), rest.hold)


ENCODING = Encoding(
    name="sorted set",
    loaders={
        TAG_ZSET: _member_loader(_text_score),
        TAG_ZSET_BINARY: _member_loader(_binary_score),
        TAG_ZSET_ZIPLIST: _packed_loader(ziplist.decode),
        TAG_ZSET_LISTPACK: _packed_loader(listpack.decode),
    },
    classes=(ZSet,),
    save=save,
    save_piecewise=save_piecewise,
)
