"""The nodes of a list: what they hold, what that would take as a listpack, and when one is full (`quicklist.c`).

A block is open, a list of its elements, or sealed: all of them in one bytes object, in which each takes a byte more than
it has (as an object of its own, 40). What is looked for in a sealed block is found without opening it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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


class Block:
    """Some neighbouring elements. size: their bytes as a listpack, or PLAIN.

    items: the elements of an open block, None for a sealed one; packed: those of a sealed one, as `packed_form` has them.
    """

    __slots__ = ("_count", "items", "packed", "size")

    def __init__(self, elements: Iterable[bytes] = (), size: int = 0) -> None:
        self.items: list[bytes] | None = list(elements)
        self.packed = b""
        self._count = 0
        self.size = size or LISTPACK_OVERHEAD + sum(map(entry_size, self.items))

    def __len__(self) -> int:
        items = self.items
        return self._count if items is None else len(items)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.elements())

    def elements(self) -> list[bytes]:
        """All elements, not to be changed."""
        items = self.items
        return self.packed[1:-1].split(b"\0") if items is None else items

    def opened(self) -> list[bytes]:
        """The elements of this block, open from now on, to be changed. `size` is the caller's to change with them."""
        items = self.items
        if items is None:
            items = self.items = self.elements()
            self.packed = b""
        return items

    def seal(self) -> None:
        """Take little memory, if the elements allow it."""
        items = self.items
        if items and self.size != PLAIN:
            packed = b"\0".join((b"", *items, b""))
            if packed.count(b"\0") == len(items) + 1:
                self.packed, self._count, self.items = packed, len(items), None

    def copy(self) -> Block:
        twin = Block(self.items or (), self.size)
        if self.items is None:
            twin.packed, twin._count, twin.items = self.packed, self._count, None
        return twin

    def __contains__(self, element: bytes) -> bool:
        items = self.items
        if items is not None:
            return element in items
        return b"\0" not in element and b"\0%b\0" % element in self.packed

    def part(self, start: int, stop: int) -> list[bytes]:
        """The elements from index `start` to before `stop`, in a list of the caller's own."""
        items = self.items
        if items is not None:
            return items[start:stop]
        return packed_part(self.packed, self._count, start, min(stop, self._count))

    def has_room(self, element: bytes, fill: int) -> bool:
        """Whether Redis would put one more element into this node."""
        return not exceeds(fill, self.size + len(element) + ESTIMATE, len(self) + 1)


def packed_part(packed: bytes, count: int, start: int, stop: int) -> list[bytes]:
    """The elements from index `start` to before `stop` of a packed form with `count` elements; start is before stop."""
    if stop <= count >> 1:
        return packed.split(b"\0", stop + 1)[start + 1 : stop + 1]
    return packed.rsplit(b"\0", count + 1 - start)[1 : stop - count - 1]


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


def matches(
    blocks: Sequence[Block], count: int, value: bytes, backwards: bool, looked_at: int
) -> Iterator[int]:
    """Indices of elements that are `value`, among the first (or the last) `looked_at` of the `count` in these blocks."""
    if backwards:
        base = count
        for block in reversed(blocks):
            base -= len(block)
            if value in block:
                elements = block.elements()
                for at in range(len(elements) - 1, -1, -1):
                    if count - base - at > looked_at:
                        return
                    if elements[at] == value:
                        yield base + at
            if count - base >= looked_at:
                return
        return
    base = 0
    for block in blocks:
        if value in block:
            for at, element in enumerate(block):
                if base + at >= looked_at:
                    return
                if element == value:
                    yield base + at
        base += len(block)
        if base >= looked_at:
            return
