"""Cursors over dicts: the guarantee of SCAN without state.

What is there from the first call to the last is returned at least once. A dict keeps insertion order and a deletion
moves later entries down, so positions are walked *downwards*: a cursor is the number of entries still to come, and what
has not been returned is never jumped over; at worst an entry comes twice.

Reaching a position in a dict costs a walk from its start, which would make a scan of a big dict quadratic. So the
order of a big dict is listed when a scan begins and kept while somebody scans. A cursor stays good with any *later*
order (what is still to come can only have moved down), never with an earlier one: hence every scan that begins makes a
new listing, and a listing that was dropped is simply made again.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

_LISTED_ABOVE = 1024
_LISTINGS_MAX = 4


class Listings:
    """The listings of the dicts that are being scanned, each under a name of the owner's choice."""

    __slots__ = ("_listings",)

    def __init__(self) -> None:
        self._listings: dict[object, list[bytes]] = {}

    def clear(self) -> None:
        """Forget all listings: the dicts were replaced."""
        self._listings.clear()

    def page(self, name: object, entries: dict[bytes, Any], position: int, count: int) -> tuple[int, list[bytes]]:
        """The next `count` keys of `entries`, and the position to go on from: 0 when all were returned.

        position: what the last call returned, 0 to begin. Fewer keys may come, since some may be gone by now.
        """
        size = len(entries)
        if size <= _LISTED_ABOVE:
            self._listings.pop(name, None)
            end = min(position or size, size)
            first = max(0, end - count)
            return first, list(islice(reversed(entries), size - end, size - first))
        listing = self._listings.get(name)
        if not position or listing is None:
            listing = self._list(name, entries)
        end = min(position or len(listing), len(listing))
        first = max(0, end - count)
        if first == 0:
            self._listings.pop(name, None)
        return first, [key for key in reversed(listing[first:end]) if key in entries]

    def _list(self, name: object, entries: dict[bytes, Any]) -> list[bytes]:
        self._listings.pop(name, None)
        if len(self._listings) >= _LISTINGS_MAX:
            self._listings.pop(next(iter(self._listings)))
        listing = self._listings[name] = list(entries)
        return listing
