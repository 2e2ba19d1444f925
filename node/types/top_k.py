"""The k most frequent items of a stream: HeavyKeeper (Gong et al., "HeavyKeeper: An Accurate Algorithm for Finding
Top-k Elephant Flows", 2018).

Rows of buckets hold a fingerprint and a count each. An item that meets another's fingerprint lowers its count with a
probability of decay^count, and takes the bucket over when nothing is left: frequent items stay, rare ones go. The k
items with the highest counts are kept by name. The dice are part of the value, so that a replica rolls the same.
"""

from __future__ import annotations

import math
from array import array
from heapq import heapify, heappush, heapreplace

from node.types.digests import hash_pair

DEFAULT_WIDTH = 8
DEFAULT_DEPTH = 7
DEFAULT_DECAY = 0.9
INCREMENT_MAX = 100_000
K_MAX = 1 << 24
CELLS_MAX = 1 << 25
COUNT_MAX = (1 << 32) - 1

_MASK = (1 << 64) - 1
_FIRST_DICE = 0x9E3779B97F4A7C15
_CHANCE_MIN = 1e-15
"""What is less likely than this does not happen."""


class SketchTooLarge(Exception):
    """A sketch of these dimensions would have too many buckets."""


class TopK:
    """A sketch and the items on top. SketchTooLarge."""

    __slots__ = ("counts", "decay", "depth", "dice", "heap", "k", "marks", "top", "width")

    def __init__(self, k: int, width: int, depth: int, decay: float) -> None:
        if k > K_MAX or width * depth > CELLS_MAX:
            raise SketchTooLarge
        self.k = k
        self.width = width
        self.depth = depth
        self.decay = decay
        self.marks = array("I", bytes(width * depth * 4))
        self.counts = array("I", bytes(width * depth * 4))
        """The buckets, row by row: fingerprints, and counts of which 0 means an empty bucket."""
        self.top: dict[bytes, int] = {}
        self.heap: list[tuple[int, bytes]] = []
        """Each item of `top` once, with a count that it had at some time: never more than it has now."""
        self.dice = _FIRST_DICE

    def set_top(self, top: dict[bytes, int]) -> None:
        """Replace the items on top."""
        self.top = top
        self.heap = [(count, item) for item, count in top.items()]
        heapify(self.heap)

    def _roll(self) -> float:
        """A number above 0 and at most 1 (xorshift64*, Vigna 2016)."""
        dice = self.dice
        dice ^= dice >> 12
        dice = (dice ^ dice << 25) & _MASK
        dice ^= dice >> 27
        self.dice = dice
        return ((dice * 0x2545F4914F6CDD1D & _MASK) >> 11) * 2.0**-53 + 2.0**-53

    def _places(self, item: bytes) -> tuple[int, list[int]]:
        start, step = hash_pair(item)
        width = self.width
        return start >> 32, [row * width + (start + row * step) % width for row in range(self.depth)]

    def add(self, item: bytes, count: int = 1) -> bytes | None:
        """Count an item so many times more (1 or more). Returns the item that had to leave the top for it, or None."""
        mark, places = self._places(item)
        marks, counts = self.marks, self.counts
        highest = 0
        for place in places:
            held = counts[place]
            mine = self._wear_down(place, count) if held and marks[place] != mark else held + count
            if mine:
                marks[place] = mark
                counts[place] = min(mine, COUNT_MAX)
                highest = max(highest, counts[place])
        return self._promote(item, highest) if highest else None

    def _wear_down(self, place: int, count: int) -> int:
        """Let an item met `count` times lower another's bucket. Returns the count left to it that won, 0 if it did not.

        How many meetings one step down takes is drawn at once, from the geometric distribution.
        """
        held = self.counts[place]
        while held:
            chance = self.decay**held
            if chance < _CHANCE_MIN:
                break
            meetings = 1 if chance == 1 else 1 + int(math.log(self._roll()) / math.log1p(-chance))
            if meetings > count:
                break
            count -= meetings
            held -= 1
            if not held:
                return count + 1
        self.counts[place] = held
        return 0

    def _promote(self, item: bytes, count: int) -> bytes | None:
        top, heap = self.top, self.heap
        if item in top:
            top[item] = max(top[item], count)
            return None
        if len(top) < self.k:
            top[item] = count
            heappush(heap, (count, item))
            return None
        while top[heap[0][1]] != heap[0][0]:
            least = heap[0][1]
            heapreplace(heap, (top[least], least))
        if count <= heap[0][0]:
            return None
        expelled = heapreplace(heap, (count, item))[1]
        del top[expelled]
        top[item] = count
        return expelled

    def query(self, item: bytes) -> int:
        """How often an item was counted, about, as far as the sketch knows."""
        mark, places = self._places(item)
        return max([self.counts[place] for place in places if self.marks[place] == mark], default=0)

    def ranking(self) -> list[tuple[bytes, int]]:
        """The items on top and their counts, the most frequent first."""
        return sorted(self.top.items(), key=lambda pair: (-pair[1], pair[0]))

    def copy(self) -> TopK:
        """An equal sketch that shares nothing."""
        twin = TopK.__new__(TopK)
        twin.k, twin.width, twin.depth, twin.decay, twin.dice = self.k, self.width, self.depth, self.decay, self.dice
        twin.marks, twin.counts = self.marks[:], self.counts[:]
        twin.top, twin.heap = dict(self.top), list(self.heap)
        return twin
