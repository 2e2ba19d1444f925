"""Members in order of score, then of bytes: what finds ranks and ranges of a big sorted set in O(log N).

Redis has a skiplist. Here the order is cut into blocks of some hundred members, each an array of scores and a list of
members side by side, so that searching and moving within a block is done by C code in a few kilobytes of memory. Which
block is told by the last entries of all; how many members stand before it by a Fenwick tree over the sizes of the
blocks, which is built when first asked for and lost when a block is split or joined, once in some hundred changes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import compress, count, islice
from operator import eq, ge, le
from typing import Any

from gossip.ids import RandomSource

LOAD = 512
"""Members in a block when it is made; it is split at twice as many and joined with a neighbour at half as many."""

_SPLIT_ABOVE = LOAD * 2
_JOIN_BELOW = LOAD // 2

Bisect = Callable[[Any, Any], int]


class Order:
    """The members of a sorted set in order. Ranks count from 0; whoever changes it knows each member's score."""

    __slots__ = ("_last_members", "_last_scores", "_members", "_scores", "_tree", "size")

    def __init__(self, scores: dict[bytes, float]) -> None:
        """O(n) for scores that come in order or, as in a file, from the highest down; else O(n log n)."""
        members, values = _in_order(scores)
        starts = range(0, len(members), LOAD) or (0,)
        self.fill([members[at : at + LOAD] for at in starts], [values[at : at + LOAD] for at in starts])

    def fill(self, members: list[list[bytes]], scores: list[array[float]]) -> None:
        """Be these blocks, of which only the only one may be empty."""
        self.size = sum(map(len, members))
        self._scores, self._members = scores, members
        self._last_scores = array("d", [block[-1] for block in scores if block])
        self._last_members = [block[-1] for block in members if block]
        self._tree: list[int] | None = None

    def copy(self) -> Order:
        """An equal order that shares nothing that changes with this one."""
        twin = Order({})
        twin.size = self.size
        twin._scores = [block[:] for block in self._scores]
        twin._members = [block[:] for block in self._members]
        twin._last_scores, twin._last_members = self._last_scores[:], self._last_members[:]
        return twin

    # Changing -----------------------------------------------------------------------------------------------------

    def add(self, score: float, member: bytes) -> None:
        """Put in a member that is not there."""
        self.size += 1
        last_scores = self._last_scores
        at = bisect_left(last_scores, score)
        if at == len(last_scores):
            if at == 0:
                self._scores, self._members = [array("d", (score,))], [[member]]
                self._last_scores, self._last_members = array("d", (score,)), [member]
                return
            at -= 1
            scores, members = self._scores[at], self._members[at]
            scores.append(score)
            members.append(member)
            last_scores[at] = score
            self._last_members[at] = member
        else:
            if last_scores[at] == score:
                at = self._among_equals(at, score, member)
            scores, members = self._scores[at], self._members[at]
            place = bisect_left(scores, score)
            size = len(scores)
            if place < size and scores[place] == score:
                place = bisect_left(members, member, place, bisect_right(scores, score, place))
            scores.insert(place, score)
            members.insert(place, member)
            if place == size:
                last_scores[at] = score
                self._last_members[at] = member
        if len(scores) > _SPLIT_ABOVE:
            self._split(at)
        elif self._tree is not None:
            self._count(at, 1)

    def remove(self, score: float, member: bytes) -> None:
        """Take out a member that is there with this score."""
        at, place = self._find(score, member)
        scores, members = self._scores[at], self._members[at]
        del scores[place], members[place]
        self.size -= 1
        size = len(scores)
        if size < _JOIN_BELOW and len(self._scores) > 1:
            self._join(at)
            return
        if self._tree is not None:
            self._count(at, -1)
        if place == size:
            if size:
                self._last_scores[at] = scores[-1]
                self._last_members[at] = members[-1]
            else:
                self._last_scores, self._last_members, self._tree = array("d"), [], None

    def remove_range(self, start: int, stop: int) -> list[bytes]:
        """Take out the members of ranks `start` up to `stop` (not included), and return them in order."""
        if start >= stop:
            return []
        first, offset = self._at_rank(start)
        last, end = self._at_rank(stop - 1)
        end += 1
        if first == last:
            gone = self._members[first][offset:end]
            del self._scores[first][offset:end], self._members[first][offset:end]
        else:
            gone = self._members[first][offset:]
            for at in range(first + 1, last):
                gone += self._members[at]
            gone += self._members[last][:end]
            del self._scores[first][offset:], self._members[first][offset:]
            del self._scores[last][:end], self._members[last][:end]
            del self._scores[first + 1 : last], self._members[first + 1 : last]
            del self._last_scores[first + 1 : last], self._last_members[first + 1 : last]
        self.size -= len(gone)
        self._tree = None
        for at in (first + 1, first) if first != last else (first,):
            self._settle(at)
        return gone

    def _settle(self, at: int) -> None:
        """Put a block in order from which many members went."""
        scores = self._scores[at]
        if scores:
            self._last_scores[at] = scores[-1]
            self._last_members[at] = self._members[at][-1]
            if len(scores) < _JOIN_BELOW and len(self._scores) > 1:
                self._join(at)
        elif len(self._scores) > 1:
            del self._scores[at], self._members[at], self._last_scores[at], self._last_members[at]
        else:
            self._last_scores, self._last_members = array("d"), []

    def _split(self, at: int) -> None:
        scores, members = self._scores[at], self._members[at]
        half = len(scores) // 2
        self._scores.insert(at + 1, scores[half:])
        self._members.insert(at + 1, members[half:])
        del scores[half:], members[half:]
        self._last_scores.insert(at, scores[-1])
        self._last_members.insert(at, members[-1])
        self._tree = None

    def _join(self, at: int) -> None:
        """Join a block with the one before it (the first with the second)."""
        at = at or 1
        scores, members = self._scores[at - 1], self._members[at - 1]
        scores += self._scores.pop(at)
        members += self._members.pop(at)
        del self._last_scores[at], self._last_members[at]
        self._last_scores[at - 1] = scores[-1]
        self._last_members[at - 1] = members[-1]
        self._tree = None
        if len(scores) > _SPLIT_ABOVE:
            self._split(at - 1)

    # Searching ----------------------------------------------------------------------------------------------------

    def rank(self, score: float, member: bytes) -> int:
        """How many members stand before this one, which is there with this score."""
        at, place = self._find(score, member)
        return self._before(at) + place

    def below(self, score: float, or_equal: bool) -> int:
        """How many members have a score below this one (or equal to it)."""
        bisect: Bisect = bisect_right if or_equal else bisect_left
        return self._below(bisect, self._last_scores, self._scores, score)

    def lexically_below(self, member: bytes, or_equal: bool) -> int:
        """How many members are below this one (or it itself) as bytes; only right while all scores are equal."""
        bisect: Bisect = bisect_right if or_equal else bisect_left
        return self._below(bisect, self._last_members, self._members, member)

    def _below(self, bisect: Bisect, lasts: Any, blocks: list[Any], bound: Any) -> int:
        at = bisect(lasts, bound)
        if at == len(lasts):
            return self.size
        return self._before(at) + bisect(blocks[at], bound)

    def members(self, start: int, stop: int) -> list[bytes]:
        """Members of the ranks `start` up to `stop` (not included), 0 <= start <= stop <= size."""
        if start >= stop:
            return []
        at, offset = self._at_rank(start)
        wanted = stop - start
        members = self._members[at][offset : offset + wanted]
        while len(members) < wanted:
            at += 1
            members += self._members[at][: wanted - len(members)]
        return members

    def slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """Like `members`, with their scores."""
        members = self.members(start, stop)
        if not members:
            return members, []
        at, offset = self._at_rank(start)
        wanted = stop - start
        scores: list[float] = self._scores[at][offset : offset + wanted].tolist()
        while len(scores) < wanted:
            at += 1
            scores += self._scores[at][: wanted - len(scores)]
        return members, scores

    def blocks(self, stop: int) -> list[tuple[list[bytes], array[float]]]:
        """Members of the ranks below `stop` and their scores in order, block by block, in lists of the caller's own."""
        found: list[tuple[list[bytes], array[float]]] = []
        for members, scores in zip(self._members, self._scores, strict=True):
            if stop <= 0:
                break
            found.append((members[:stop], scores[:stop]))
            stop -= len(members)
        return found

    def random_members(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` members drawn one by one, each equally likely, in O(1) each; it must not be empty.

        A place in any block is drawn as if all were full: since all but one are a quarter full, few draws are in vain.
        """
        blocks = self._members
        widest = _SPLIT_ABOVE if len(blocks) > 1 else len(blocks[0])
        places = len(blocks) * widest
        drawn: list[bytes] = []
        while len(drawn) < count:
            at, place = divmod(random.randrange(places), widest)
            block = blocks[at]
            if place < len(block):
                drawn.append(block[place])
        return drawn

    def _among_equals(self, at: int, score: float, member: bytes) -> int:
        """Of the blocks from `at` on, the first whose last score is `score`: the one to which `member` belongs."""
        last_scores = self._last_scores
        end = bisect_right(last_scores, score, at)
        at = bisect_left(self._last_members, member, at, end)
        return at if at < len(last_scores) else at - 1

    def _find(self, score: float, member: bytes) -> tuple[int, int]:
        """The block and the place in it of a member. KeyError when it is not there with this score."""
        at = bisect_left(self._last_scores, score)
        if at < len(self._last_scores):
            if self._last_scores[at] == score:
                at = self._among_equals(at, score, member)
            scores, members = self._scores[at], self._members[at]
            place = bisect_left(scores, score)
            if place < len(scores) and members[place] != member:
                place = bisect_left(members, member, place, bisect_right(scores, score, place))
            if place < len(scores) and members[place] == member:
                return at, place
        raise KeyError(member)

    # Counting -----------------------------------------------------------------------------------------------------

    def _built(self) -> list[int]:
        """The Fenwick tree over the sizes of the blocks."""
        tree = self._tree
        if tree is None:
            tree = list(map(len, self._scores))
            size = len(tree)
            for at in range(size):
                above = at | (at + 1)
                if above < size:
                    tree[above] += tree[at]
            self._tree = tree
        return tree

    def _count(self, at: int, change: int) -> None:
        tree = self._tree
        assert tree is not None
        size = len(tree)
        while at < size:
            tree[at] += change
            at |= at + 1

    def _before(self, at: int) -> int:
        """How many members are in the blocks before this one."""
        if at == 0:
            return 0
        tree = self._built()
        total = 0
        while at:
            total += tree[at - 1]
            at &= at - 1
        return total

    def _at_rank(self, rank: int) -> tuple[int, int]:
        """The block and the place in it of the member of this rank, which is less than `size`."""
        blocks = self._scores
        if rank < len(blocks[0]):
            return 0, rank
        from_end = self.size - rank
        if from_end <= len(blocks[-1]):
            return len(blocks) - 1, len(blocks[-1]) - from_end
        tree = self._built()
        size = len(tree)
        at = 0
        step = 1 << (size.bit_length() - 1)
        while step:
            further = at + step
            if further <= size and tree[further - 1] <= rank:
                at = further
                rank -= tree[further - 1]
            step >>= 1
        return at, rank


class Descent:
    """The order of a sorted set that is being read, made block by block as its members come: none is left for the end.

    They come from the highest down, as they stand in files. From the first block on that does not, they are put in one
    by one.
    """

    __slots__ = ("_members", "_order", "_values", "taken")

    def __init__(self) -> None:
        self.taken = 0
        """How many members it has."""
        self._members: list[list[bytes]] = []
        self._values: list[array[float]] = []
        self._order: Order | None = None

    def take(self, scores: dict[bytes, float]) -> None:
        """Take the members that came to `scores` since the last call."""
        count = len(scores) - self.taken
        if not count:
            return
        self.taken = len(scores)
        members = list(islice(reversed(scores), count))
        values = array("d", islice(reversed(scores.values()), count))
        if self._order is None and not self._goes_on(members, values, scores):
            self._order = self._made()
        if self._order is None:
            self._members.append(members)
            self._values.append(values)
        else:
            for score, member in zip(values, members, strict=True):
                self._order.add(score, member)

    def _goes_on(self, members: list[bytes], values: array[float], scores: dict[bytes, float]) -> bool:
        """Whether these are a block that stands before all others. Equal scores within it are put in order."""
        if not all(map(le, values, islice(values, 1, None))):
            return False
        _order_equals(members, values, scores.__getitem__)
        return not self._members or (values[-1], members[-1]) < (self._values[-1][0], self._members[-1][0])

    def _made(self) -> Order:
        order = Order({})
        if self._members:
            order.fill(self._members[::-1], self._values[::-1])
        return order

    def ended(self) -> Order:
        """All were taken."""
        return self._order or self._made()


def _in_order(scores: dict[bytes, float]) -> tuple[list[bytes], array[float]]:
    """Members and scores in order."""
    score_of = scores.__getitem__
    members, values = list(scores), array("d", scores.values())
    if all(map(ge, values, islice(values, 1, None))):
        members.reverse()
        values.reverse()
    elif not all(map(le, values, islice(values, 1, None))):
        members.sort(key=score_of)
        values = array("d", map(score_of, members))
    _order_equals(members, values, score_of)
    return members, values


def _order_equals(members: list[bytes], scores: array[float], score_of: Callable[[bytes], float]) -> None:
    """Put members of the same score, which are neighbours, in order: faster than to sort by both at once."""
    equal = list(compress(count(1), map(eq, scores, islice(scores, 1, None))))
    at = 0
    while at < len(equal):
        first, last = equal[at] - 1, equal[at]
        while at + 1 < len(equal) and equal[at + 1] == last + 1:
            at += 1
            last += 1
        run = sorted(members[first : last + 1])
        members[first : last + 1] = run
        scores[first : last + 1] = array("d", map(score_of, run))
        at += 1
