"""Sorted sets: members with a score each, found by member in O(1) and by rank, score or bytes in O(log N).

A small one, which Redis would hold as a listpack, is packed: the scores of 8 bytes each, then the members in the same
order with a zero byte before, between and behind them, all in one bytes object (Python objects for each would take six
times that). Looking for a member is one search at the speed of C. A listpack that has a member with a zero byte, and
whatever is bigger, is a dict that finds scores and an `Order` that knows ranks.

The order of a small dict is made when somebody first asks for it. Beyond `ORDERED_ABOVE` it is there always: a set that
grew has it in time, one that was loaded or stored whole gets it then, where Redis too pays for it. So no request pays for
what another one put in.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from struct import Struct
from typing import NamedTuple, Protocol

from gossip.ids import RandomSource
from node.types.order import Order

ORDERED_ABOVE = 1024
_DRAWN_FROM_A_LIST_UP_TO = 128
_PACKED_MEMBERS_MAX = 256
_PACKED_BYTES_MAX = 16 * 1024
_SCORE_BYTES = 8
_EMPTY_PACK = b"\0"

_score_at = Struct("=d").unpack_from


class ZSetLimits(Protocol):
    """The settings of the same names: up to and including these a sorted set is a listpack."""

    @property
    def zset_max_listpack_entries(self) -> int: ...

    @property
    def zset_max_listpack_value(self) -> int: ...


class ScoreRange(NamedTuple):
    """Scores between two bounds, each with or without the bound itself."""

    low: float
    high: float
    without_low: bool = False
    without_high: bool = False


class LexBound(NamedTuple):
    """One end of a range of members. infinite: -1 stands for "-", before all members, 1 for "+", behind all."""

    member: bytes
    excluded: bool = False
    infinite: int = 0


class LexRange(NamedTuple):
    """Members between two bounds by their bytes; meant for sets whose scores are all equal."""

    low: LexBound
    high: LexBound

    @property
    def is_empty(self) -> bool:
        """Whether no member can be in it, whatever the set."""
        low, high = self.low, self.high
        if low.infinite or high.infinite:
            return low.infinite > high.infinite or low.infinite == high.infinite
        return low.member > high.member or (low.member == high.member and (low.excluded or high.excluded))

    def reaches(self, member: bytes) -> bool:
        """Whether `member` is not before the low end."""
        low = self.low
        if low.infinite:
            return low.infinite < 0
        return member > low.member or (member == low.member and not low.excluded)

    def holds(self, member: bytes) -> bool:
        """Whether `member` is not behind the high end."""
        high = self.high
        if high.infinite:
            return high.infinite > 0
        return member < high.member or (member == high.member and not high.excluded)


class ZSet:
    """The value of a sorted set key; never empty while the key exists.

    skiplist: whether Redis would hold it as a skiplist; it never goes back to a listpack. None for one as loaded, until
    `settle` puts it in the form that the settings ask for, which has to happen before it is changed.
    """

    __slots__ = ("_count", "_order", "_packed", "_scores", "skiplist")

    def __init__(self) -> None:
        self._packed: bytes | None = _EMPTY_PACK
        self._count = 0
        """Of a packed one, how many members it has."""
        self._scores: dict[bytes, float] = _NO_SCORES
        self._order: Order | None = None
        self.skiplist: bool | None = False

    @classmethod
    def loaded(cls, scores: dict[bytes, float], *, listpack: bool, order: Order | None = None) -> ZSet:
        """A sorted set as it comes from a file; what it becomes is to be decided. It keeps the dict, and the order."""
        made = cls()
        made._order = order
        if listpack:
            made._hold(scores)
        else:
            made._unpack(scores)
        made.skiplist = None
        return made

    @classmethod
    def stored(cls, scores: dict[bytes, float], limits: ZSetLimits) -> ZSet:
        """A sorted set that a command made whole (ZUNIONSTORE). It keeps the dict."""
        made = cls()
        made.skiplist = not fits_listpack(scores, limits)
        made._hold(scores)
        return made

    def _hold(self, scores: dict[bytes, float]) -> None:
        """Be these members: packed, unless it is a skiplist or cannot be."""
        if not self.skiplist and len(scores) <= _PACKED_MEMBERS_MAX:
            entries = sorted(zip(scores.values(), scores, strict=True))
            if self._pack([member for _, member in entries], array("d", [score for score, _ in entries])):
                return
        if not self.skiplist:
            _lose_negative_zeros(scores)
            self._order = None
        self._unpack(scores)

    def _unpack(self, scores: dict[bytes, float]) -> None:
        """Be a dict of these members."""
        self._packed, self._scores = None, scores
        if len(scores) > ORDERED_ABOVE and self._order is None:
            self._order = Order(scores)

    def __len__(self) -> int:
        return self._count if self._packed is not None else len(self._scores)

    def copy(self) -> ZSet:
        """An equal sorted set that shares nothing that changes with this one."""
        twin = ZSet()
        twin._packed, twin._count, twin.skiplist = self._packed, self._count, self.skiplist
        if self._packed is None:
            twin._scores = self._scores.copy()
            if self._order is not None:
                twin._order = self._order.copy()
        return twin

    @property
    def packed(self) -> bytes | None:
        """All that it is, while it is packed: another object as soon as it changes."""
        return self._packed

    # Encoding -----------------------------------------------------------------------------------------------------

    def settle(self, limits: ZSetLimits) -> None:
        """Bring a sorted set as loaded into the form that Redis would have given it while loading."""
        if self.skiplist is not None:
            return
        if self._packed is None:
            self.skiplist = not fits_listpack(self._scores, limits)
            if not self.skiplist:
                self._hold(self._scores)
        elif self._count > limits.zset_max_listpack_entries:
            self.become_skiplist()
        else:
            self.skiplist = False

    def become_skiplist(self) -> None:
        """More is about to come than a listpack takes."""
        if self._packed is not None:
            self._unpack(self.lookup())
        self.skiplist = True

    @property
    def is_compact(self) -> bool:
        """Whether it is written as a listpack, settled or not."""
        return not self.skiplist if self.skiplist is not None else self._packed is not None

    def encoding(self, limits: ZSetLimits) -> str:
        """What OBJECT ENCODING calls it."""
        self.settle(limits)
        return "skiplist" if self.skiplist else "listpack"

    # The packed form ----------------------------------------------------------------------------------------------

    def _pack(self, members: list[bytes], scores: array[float]) -> bool:
        """Be a packed listpack of these members, which are in order. False when there is no packed form."""
        count = len(members)
        names = b"\0".join((b"", *members, b""))
        if count > _PACKED_MEMBERS_MAX or len(names) > _PACKED_BYTES_MAX or names.count(b"\0") != count + 1:
            return False
        if 0.0 in scores:
            scores = array("d", [score or 0.0 for score in scores])
        self._packed = scores.tobytes() + names
        self._count = count
        self._scores, self._order = _NO_SCORES, None
        return True

    def _unpacked(self, packed: bytes) -> tuple[list[bytes], array[float]]:
        """Members and scores in order."""
        size = self._count * _SCORE_BYTES
        scores = array("d")
        scores.frombytes(packed[:size])
        return (packed[size + 1 : -1].split(b"\0") if size else []), scores

    def _packed_members(self, packed: bytes) -> list[bytes]:
        """Members in order."""
        count = self._count
        return packed[count * _SCORE_BYTES + 1 : -1].split(b"\0") if count else []

    def _repack(self, members: list[bytes], scores: array[float]) -> None:
        """Be these members, which are in order; they were packed before, so they can be."""
        self._packed = scores.tobytes() + b"\0".join((b"", *members, b""))
        self._count = len(members)

    def _put_packed(self, packed: bytes, member: bytes, before: float | None, score: float) -> None:
        """Set a member's score, or add it."""
        count = self._count
        size = count * _SCORE_BYTES
        scores = array("d")
        scores.frombytes(packed[:size])
        names = packed[size:]
        if before is not None:
            at = names.index(b"\0%b\0" % member)
            del scores[names.count(b"\0", 0, at)]
            names = names[:at] + names[at + len(member) + 1 :]
            count -= 1
        place = bisect_left(scores, score)
        if place == count:
            names = b"%b%b\0" % (names, member)
        else:
            if place * 2 < count:
                rest = names.split(b"\0", place + 1)[-1]
            else:
                rest = names[len(names.rsplit(b"\0", count - place + 1)[0]) + 1 :]
            if scores[place] == score:
                for other in rest[:-1].split(b"\0"):
                    if place == count or scores[place] != score or other > member:
                        break
                    place += 1
                    rest = rest[len(other) + 1 :]
            names = b"%b%b\0%b" % (names[: len(names) - len(rest)], member, rest)
        scores.insert(place, score or 0.0)  # A listpack holds it as an integer, so -0 is lost.
        self._packed = scores.tobytes() + names
        self._count = count + 1

    # Changing -----------------------------------------------------------------------------------------------------

    def add(self, member: bytes, score: float, limits: ZSetLimits) -> bool | None:
        """Set a member's score. Whether it is new; None when nothing changed. It must have settled."""
        if self._packed is not None or not self.skiplist:
            before = self.get(member)
            if before == score:
                return None
            self.put(member, before, score, limits)
            return before is None
        scores, order = self._scores, self._order
        before = scores.get(member)
        if before == score:
            return None
        scores[member] = score
        if order is None:
            if len(scores) > ORDERED_ABOVE:
                self._order = Order(scores)
        else:
            if before is not None:
                order.remove(before, member)
            order.add(score, member)
        return before is None

    def put(self, member: bytes, before: float | None, score: float, limits: ZSetLimits) -> None:
        """Set a member's score. before: what `get` says it is now. It must have settled."""
        if not self.skiplist:
            if before is None and (
                len(self) >= limits.zset_max_listpack_entries or len(member) > limits.zset_max_listpack_value
            ):
                self.become_skiplist()
            else:
                packed = self._packed
                if packed is not None:
                    if (
                        b"\0" not in member
                        and self._count < _PACKED_MEMBERS_MAX
                        and len(packed) + len(member) < _PACKED_BYTES_MAX
                    ):
                        self._put_packed(packed, member, before, score)
                        return
                    self._unpack(self.lookup())
                score = score or 0.0
        scores = self._scores
        scores[member] = score
        order = self._order
        if order is None:
            if len(scores) > ORDERED_ABOVE:
                self._order = Order(scores)
            return
        if before is not None:
            order.remove(before, member)
        order.add(score, member)

    def remove(self, member: bytes) -> bool:
        """Remove a member; False when there is none such."""
        packed = self._packed
        if packed is not None:
            rank = self._packed_rank(packed, member)
            if rank is None:
                return False
            members, scores = self._unpacked(packed)
            del members[rank], scores[rank]
            self._repack(members, scores)
            return True
        score = self._scores.pop(member, None)
        if score is None:
            return False
        if self._order is not None:
            self._order.remove(score, member)
        return True

    def remove_ranks(self, start: int, stop: int) -> list[tuple[bytes, float]]:
        """Remove the members of ranks `start` up to `stop` (not included). Returns them with their scores, in order."""
        if start >= stop:
            return []
        packed = self._packed
        if packed is not None:
            members, scores = self._unpacked(packed)
            gone = list(zip(members[start:stop], scores[start:stop], strict=True))
            del members[start:stop], scores[start:stop]
            self._repack(members, scores)
            return gone
        take = self._scores.pop
        return [(member, take(member)) for member in self._ordered().remove_range(start, stop)]

    # Searching ----------------------------------------------------------------------------------------------------

    def get(self, member: bytes) -> float | None:
        """The score of a member; None when it is not there."""
        packed = self._packed
        if packed is None:
            return self._scores.get(member)
        rank = self._packed_rank(packed, member)
        if rank is None:
            return None
        score: float = _score_at(packed, rank * _SCORE_BYTES)[0]
        return score

    def _packed_rank(self, packed: bytes, member: bytes) -> int | None:
        start = self._count * _SCORE_BYTES
        at = packed.find(b"\0%b\0" % member, start)
        if at < 0 or b"\0" in member or not self._count:
            return None
        return packed.count(b"\0", start, at)

    def rank(self, member: bytes) -> int | None:
        """How many members stand before this one; None when it is not there."""
        packed = self._packed
        if packed is not None:
            return self._packed_rank(packed, member)
        score = self._scores.get(member)
        return None if score is None else self._ordered().rank(score, member)

    def _ordered(self) -> Order:
        """The members in order, of one that is not packed; kept up to date from now on."""
        order = self._order
        if order is None:
            order = self._order = Order(self._scores)
        return order

    def members(self, start: int, stop: int) -> list[bytes]:
        """Members of the ranks `start` up to `stop` (not included), 0 <= start <= stop <= size."""
        packed = self._packed
        if packed is None:
            return self._ordered().members(start, stop)
        return self._packed_members(packed)[start:stop]

    def slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """Like `members`, with their scores."""
        packed = self._packed
        if packed is None:
            return self._ordered().slice(start, stop)
        members, scores = self._unpacked(packed)
        return members[start:stop], scores[start:stop].tolist()

    def blocks(self, stop: int) -> list[tuple[list[bytes], array[float]]]:
        """Members of the ranks below `stop` with their scores, in order, in lists of some hundred each."""
        packed = self._packed
        if packed is None:
            return self._ordered().blocks(stop)
        members, scores = self._unpacked(packed)
        return [(members[:stop], scores[:stop])]

    def ascending(self) -> tuple[list[bytes], list[float]]:
        """All members in order, and their scores."""
        return self.slice(0, len(self))

    def lookup(self) -> dict[bytes, float]:
        """Scores by member, in no order. Not to be changed."""
        packed = self._packed
        return self._scores if packed is None else dict(zip(*self._unpacked(packed), strict=True))

    def ranks_by_score(self, wanted: ScoreRange) -> tuple[int, int]:
        """The ranks (from, up to but without) of the members with these scores; equal ones when there are none."""
        low, high, without_low, without_high = wanted
        if low > high or (low == high and (without_low or without_high)):
            return 0, 0
        packed = self._packed
        if packed is None:
            order = self._ordered()
            start, stop = order.below(low, without_low), order.below(high, not without_high)
        else:
            scores = array("d")
            scores.frombytes(packed[: self._count * _SCORE_BYTES])
            start = (bisect_right if without_low else bisect_left)(scores, low)
            stop = (bisect_left if without_high else bisect_right)(scores, high)
        return start, max(start, stop)

    def ranks_by_lex(self, wanted: LexRange) -> tuple[int, int]:
        """The same by the bytes of members.

        With unequal scores nothing is promised; a listpack is then walked as Redis does, from the first that is not
        before the low end to the first that is behind the high end.
        """
        if wanted.is_empty:
            return 0, 0
        if not self.skiplist:
            return _walked(self.members(0, len(self)), wanted)
        order = self._ordered()
        low, high = wanted
        start = 0 if low.infinite else order.lexically_below(low.member, low.excluded)
        stop = order.size if high.infinite else order.lexically_below(high.member, not high.excluded)
        return start, max(start, stop)

    # Drawing ------------------------------------------------------------------------------------------------------

    def random_members(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` members drawn one by one, so that a member may come again. O(1) each once there is an order."""
        size = len(self)
        packed = self._packed
        if packed is not None:
            members = self._packed_members(packed)
        elif size > _DRAWN_FROM_A_LIST_UP_TO:
            return self._ordered().random_members(count, random)
        else:
            members = list(self._scores)
        return [members[random.randrange(size)] for _ in range(count)]

    def distinct_random_members(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` different members in any order; all of them, from the highest down, when there are no more."""
        size = len(self)
        if count >= size:
            return self.members(0, size)[::-1]
        if count * 3 < size and size > _DRAWN_FROM_A_LIST_UP_TO:
            drawn: dict[bytes, None] = {}
            while len(drawn) < count:
                drawn.update(dict.fromkeys(self.random_members(count - len(drawn), random)))
            return list(drawn)
        members = list(self.lookup())
        for at in range(count):
            other = at + random.randrange(size - at)
            members[at], members[other] = members[other], members[at]
        return members[:count]


_NO_SCORES: dict[bytes, float] = {}
"""What a packed one has in place of a dict; nobody writes into it."""


def _lose_negative_zeros(scores: dict[bytes, float]) -> None:
    """A listpack holds integers as such, so -0 becomes 0 in it."""
    for member, score in scores.items():
        if score == 0.0:
            scores[member] = 0.0


def fits_listpack(scores: dict[bytes, float], limits: ZSetLimits) -> bool:
    """Whether Redis would hold a sorted set of these members as a listpack."""
    if len(scores) > limits.zset_max_listpack_entries:
        return False
    return max(map(len, scores), default=0) <= limits.zset_max_listpack_value


def _walked(members: list[bytes], wanted: LexRange) -> tuple[int, int]:
    """Where a walk through members in order finds a range by bytes (Redis's `zzlFirstInLexRange` and what follows)."""
    if not members or not wanted.reaches(members[-1]) or not wanted.holds(members[0]):
        return 0, 0
    start = next((at for at, member in enumerate(members) if wanted.reaches(member)), len(members))
    stop = start
    while stop < len(members) and wanted.holds(members[stop]):
        stop += 1
    return start, stop
