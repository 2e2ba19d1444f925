"""Random members of big collections in O(1): what SPOP, SRANDMEMBER, HRANDFIELD and their kin draw from.

A dict keeps its entries in a row but lets nobody ask for the n-th. So the first draw from a big one lists its names,
and the listing is kept up to date from then on: names that come are appended, names that go are marked, and a listing
of which half is gone is dropped. A collection that nobody draws from pays one test for a change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gossip.ids import RandomSource

_DRAWN_FROM_A_LIST_ABOVE = 128


class _Urn:
    """The names of a big collection: a list of them, and those in it that are gone from the collection.

    A place is drawn as a fraction of the list: half the time of `randrange`, and no less even for what fits in memory.
    """

    __slots__ = ("gone", "names")

    def __init__(self, names: Iterable[bytes]) -> None:
        self.names = list(names)
        self.gone: set[bytes] = set()

    def added(self, name: bytes) -> None:
        if name in self.gone:
            self.gone.discard(name)
        else:
            self.names.append(name)

    def draw(self, random: RandomSource) -> bytes:
        """Each name equally likely. At most half of the list is gone, so two draws do on average."""
        names, gone = self.names, self.gone
        while True:
            name = names[int(random.random() * len(names))]
            if name not in gone:
                return name

    def take(self, random: RandomSource) -> bytes:
        """Like `draw`, and the name is in the urn no longer: its place goes to the last one."""
        names, gone = self.names, self.gone
        while True:
            at = int(random.random() * len(names))
            name = names[at]
            names[at] = names[-1]
            del names[-1]
            if not gone or name not in gone:
                return name
            gone.discard(name)


class Drawable:
    """What a collection of names inherits to be drawn from. It says when a name came or went while `is_drawn_from`.

    The dict with the names is passed to each call, since collections change from one form to another.
    """

    __slots__ = ("_urn",)

    def __init__(self) -> None:
        self._urn: _Urn | None = None

    @property
    def is_drawn_from(self) -> bool:
        """Whether `added` and `removed` want to know of changes."""
        return self._urn is not None

    def added(self, name: bytes) -> None:
        """This name is new."""
        if self._urn is not None:
            self._urn.added(name)

    def removed(self, name: bytes) -> None:
        """This name was there and is gone."""
        urn = self._urn
        if urn is not None:
            urn.gone.add(name)
            if len(urn.gone) * 2 > len(urn.names):
                self._urn = None

    def _urn_of(self, entries: dict[bytes, Any]) -> _Urn:
        urn = self._urn
        if urn is None:
            urn = self._urn = _Urn(entries)
        return urn

    def _draw(self, entries: dict[bytes, Any], count: int, random: RandomSource) -> list[bytes]:
        """`count` names drawn one by one, so that one may come again. O(1) each, but for the first of many."""
        if len(entries) <= _DRAWN_FROM_A_LIST_ABOVE:
            names = list(entries)
            size = len(names)
            randrange = random.randrange
            return [names[randrange(size)] for _ in range(count)]
        urn = self._urn_of(entries)
        return [urn.draw(random) for _ in range(count)]

    def _draw_distinct(self, entries: dict[bytes, Any], count: int, random: RandomSource) -> list[bytes]:
        """`count` different names in any order; all of them, in their order, when there are no more."""
        size = len(entries)
        if count >= size:
            return list(entries)
        if count * 3 < size and size > _DRAWN_FROM_A_LIST_ABOVE:
            drawn: dict[bytes, None] = {}
            while len(drawn) < count:
                drawn.update(dict.fromkeys(self._draw(entries, count - len(drawn), random)))
            return list(drawn)
        names = list(entries)
        shuffle_front(names, count, random)
        return names[:count]

    def _take(self, entries: dict[bytes, Any], random: RandomSource) -> bytes:
        """Remove one name from `entries`, each equally likely, and return it."""
        if len(entries) <= _DRAWN_FROM_A_LIST_ABOVE and self._urn is None:
            names = list(entries)
            name = names[random.randrange(len(names))]
        else:
            name = (self._urn or self._urn_of(entries)).take(random)
        del entries[name]
        return name


def shuffle_front(items: list[Any], count: int, random: RandomSource) -> None:
    """Make the first `count` items a random choice of all, in random order. `count` is at most their number."""
    size = len(items)
    fraction = random.random
    for at in range(count):
        other = at + int(fraction() * (size - at))
        items[at], items[other] = items[other], items[at]
