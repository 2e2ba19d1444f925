"""The nodes of a list: what they hold, what that would take as a listpack, and when one is full (`quicklist.c`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from node.numbers import parse_int

LISTPACK_OVERHEAD = 7
PLAIN = 1 << 62
"""`Block.size` of a node that holds one element without a listpack around it."""

PACKED_MAX = 8192
ESTIMATE = 8
"""What Redis adds to an element's length when it asks whether a node has room for it."""
_SIZE_LIMITS = (4096, 8192, 16384, 32768, 65536)
_SAFE_SIZE = 8192
_NO_LIMIT = 1 << 62
_INTEGER_DIGITS_MAX = 20
ABOVE_INTEGERS = b":"


class ListLimits(Protocol):
    """The setting of the same name: a number of elements, or from -1 to -5 a size of 4 to 64 KiB."""

    @property
    def list_max_listpack_size(self) -> int: ...


def node_limits(fill: int) -> tuple[int, int]:
    """The bytes and the elements that a node may have by this setting."""
    if fill >= 0:
        return _NO_LIMIT, max(fill, 1)
    return _SIZE_LIMITS[min(-fill, len(_SIZE_LIMITS)) - 1], _NO_LIMIT


class _Room(dict[int, tuple[int, int]]):
    """By setting: the bytes and the elements beyond which nothing is added to a node."""

    def __missing__(self, fill: int) -> tuple[int, int]:
        size_max, count_max = node_limits(fill)
        room = self[fill] = min(size_max, _SAFE_SIZE) if fill >= 0 else size_max, count_max
        return room


ROOM = _Room()


def exceeds(fill: int, size: int, count: int) -> bool:
    """Whether a node of so many bytes and elements is beyond this setting."""
    size_max, count_max = ROOM[fill]
    return size > size_max or count > count_max


def entry_size(element: bytes) -> int:
    """The bytes that an element takes in a listpack."""
    size = len(element)
    if size <= _INTEGER_DIGITS_MAX and element < ABOVE_INTEGERS:
        number = parse_int(element)
        if number is not None:
            return _integer_size(number)
    if size < 64:
        return size + 2
    size += 2 if size < 4096 else 5
    if size < 128:
        return size + 1
    if size < 16383:
        return size + 2
    return size + (3 if size < 2097151 else 4 if size < 268435455 else 5)


def _integer_size(number: int) -> int:
    if 0 <= number <= 127:
        return 2
    if -4096 <= number <= 4095:
        return 3
    for size, bits in ((4, 15), (5, 23), (6, 31)):
        if -1 << bits <= number < 1 << bits:
            return size
    return 10


class Block(list[bytes]):
    """Some neighbouring elements. size: their bytes as a listpack, or PLAIN."""

    __slots__ = ("size",)

    def __init__(self, elements: Iterable[bytes] = (), size: int = 0) -> None:
        super().__init__(elements)
        self.size = size or LISTPACK_OVERHEAD + sum(map(entry_size, self))

    def copy(self) -> Block:
        return Block(self, self.size)

    def has_room(self, element: bytes, fill: int) -> bool:
        """Whether Redis would put one more element into this node."""
        return not exceeds(fill, self.size + len(element) + ESTIMATE, len(self) + 1)


def packed_form(elements: list[bytes]) -> bytes | None:
    """The packed form; None when there is none."""
    packed = b"\0".join((b"", *elements, b""))
    return packed if len(packed) <= PACKED_MAX and packed.count(b"\0") == len(elements) + 1 else None


def remove_from(block: list[bytes], value: bytes, count: int, from_tail: bool) -> int:
    """Remove up to `count` elements that are `value`, of which there is one at least. How many went."""
    if count == 1 and not from_tail:
        del block[block.index(value)]
        return 1
    places = [at for at, element in enumerate(block) if element == value]
    chosen = places[-count:] if from_tail else places[:count]
    if len(chosen) == 1:
        del block[chosen[0]]
    else:
        gone = set(chosen)
        block[:] = [element for at, element in enumerate(block) if at not in gone]
    return len(chosen)
