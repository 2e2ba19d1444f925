"""Count-min sketches: counters in rows, of which each item concerns one in each row; the least of them is its count.

It is never less than the true one, and with width w and depth d exceeds it by more than 2/w of all counts with a
probability of 2^-d (Cormode and Muthukrishnan, 2005). Counters are of 32 bits and stay at their highest number.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence

from node.types.digests import hash_pair

COUNTER_MAX = (1 << 32) - 1
"""What a counter holds at most: one that got there is no longer to be believed."""

CELLS_MAX = 1 << 25
"""How many counters a sketch may have: merging visits each of them."""

_TOTAL_MAX = (1 << 63) - 1
_MERGED_AT_ONCE = 1 << 14
"""As Python integers, counters take ten times their room."""


class SketchTooLarge(Exception):
    """A sketch of these dimensions would have too many counters."""


class SketchOverflow(Exception):
    """A counter of a merged sketch would be below zero or above its highest number."""


def dimensions(error: float, probability: float) -> tuple[int, int]:
    """Width and depth so that estimates exceed the truth by more than `error` of all counts with this probability."""
    return math.ceil(2 / error), math.ceil(math.log10(probability) / math.log10(0.5))


class CountMin:
    """A sketch. total: the sum of all that was counted. SketchTooLarge."""

    __slots__ = ("cells", "depth", "total", "width")

    def __init__(self, width: int, depth: int) -> None:
        if width * depth > CELLS_MAX:
            raise SketchTooLarge
        self.width = width
        self.depth = depth
        self.total = 0
        self.cells = array("I", bytes(width * depth * 4))
        """Row by row."""

    def _places(self, item: bytes) -> list[int]:
        start, step = hash_pair(item)
        width = self.width
        return [row * width + (start + row * step) % width for row in range(self.depth)]

    def add(self, item: bytes, count: int) -> int:
        """Count an item so many times more (0 or more). Returns how often it was counted, as `query` does."""
        cells = self.cells
        least = COUNTER_MAX
        for place in self._places(item):
            number = min(cells[place] + count, COUNTER_MAX)
            cells[place] = number
            least = min(least, number)
        self.total = min(self.total + count, _TOTAL_MAX)
        return least

    def query(self, item: bytes) -> int:
        """How often an item was counted: that often or less. COUNTER_MAX: more often than can be told."""
        cells = self.cells
        return min([cells[place] for place in self._places(item)])

    def merge(self, sources: Sequence[CountMin], weights: Sequence[int]) -> None:
        """Become the sum of sketches of the same dimensions, each times its weight. This one may be among them.

        SketchOverflow, with nothing changed.
        """
        total = sum([source.total * weight for source, weight in zip(sources, weights, strict=True)])
        if not 0 <= total <= _TOTAL_MAX:
            raise SketchOverflow
        cells = array("I")
        for start in range(0, len(self.cells), _MERGED_AT_ONCE):
            merged: list[int] = [0] * min(_MERGED_AT_ONCE, len(self.cells) - start)
            for source, weight in zip(sources, weights, strict=True):
                part = source.cells[start : start + _MERGED_AT_ONCE]
                merged = [number + other * weight for number, other in zip(merged, part, strict=True)]
            try:
                cells.extend(merged)
            except OverflowError:
                raise SketchOverflow from None
        self.cells, self.total = cells, total

    def copy(self) -> CountMin:
        """An equal sketch that shares nothing."""
        twin = CountMin.__new__(CountMin)
        twin.width, twin.depth, twin.total, twin.cells = self.width, self.depth, self.total, self.cells[:]
        return twin


def array_of(kind: str, buffer: bytes | bytearray) -> array[int]:
    """An array of integers from their bytes, little-endian."""
    found: array[int] = array(kind)
    found.frombytes(buffer)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def bytes_of(numbers: array[int]) -> bytes:
    """What `array_of` reads."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
