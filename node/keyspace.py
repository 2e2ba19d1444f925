"""The data of one database: one dict a slot, and one index of what expires when.

A standalone node has one slot, so that every handler works on the same shape: the dict of the request's slot holds all
keys that the request may name. Counting, listing, migrating and flushing a slot need no second index.

Values are what `types/` defines: a string is `bytes`, `int` (when that is its canonical decimal form) or `bytearray`
(changed in place); everything else is an instance of its own class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import Any, Protocol

from cluster.slots import key_slot
from gossip.ids import RandomSource
from gossip.messages import SLOT_COUNT
from node.scan import Listings
from node.types.hash import Hash

Value = Any
"""`bytes | int | bytearray` or an instance of a class of `types/`."""

Keys = dict[bytes, Value]

_SLOT_BITS = 14


class Walker(Protocol):
    """A walk over the whole database (a snapshot) that must see each key as it was when the walk began."""

    def before_change(self, database: Database, slot: int, key: bytes) -> None:
        """Called before `key` is changed, created or removed: write it out now unless the walk has passed it."""

    def before_flush(self, database: Database) -> None:
        """Called before all keys go: write out everything that the walk has not reached."""

    def before_swap(self, one: Database, other: Database) -> None:
        """Called once before two databases exchange their contents, one of which is walked."""


class Database:
    """One numbered database.

    slots: one dict of keys a slot. expires: unix time in ms for the keys that have one.
    """

    __slots__ = ("_due_fields", "_due_hidden", "_listings", "clustered", "expires", "hidden", "index", "slots", "walkers")

    def __init__(self, index: int, clustered: bool) -> None:
        self.index = index
        self.clustered = clustered
        self.slots: list[Keys] = self._empty()
        self.expires: dict[bytes, int] = {}
        self.walkers: list[Walker] = []
        self.hidden: set[int] = set()
        """Slots whose keys nobody may see or count: they are just arriving from another node, or have left for one."""
        self._listings = Listings()
        self._due_fields: list[tuple[int, bytes]] = []
        """A heap of (unix time in ms, key): when to look for expired fields in which hash."""
        self._due_hidden: list[bytes] = []
        """Hashes of hidden slots that were due: nobody expires anything there."""

    def _empty(self) -> list[Keys]:
        return [{} for _ in range(SLOT_COUNT if self.clustered else 1)]

    def __len__(self) -> int:
        """Number of keys, those that have expired and were not looked at since included."""
        return sum(map(len, self.slots)) - sum([len(self.slots[slot]) for slot in self.hidden])

    def shown(self, slot: int) -> Keys:
        """The keys of a slot, as far as they may be seen."""
        return {} if slot in self.hidden else self.slots[slot]

    def slot_of(self, key: bytes) -> int:
        """The index into `slots` where `key` lives."""
        return key_slot(key) if self.clustered else 0

    def keys_of(self, key: bytes) -> Keys:
        """The dict in which `key` lives."""
        return self.slots[self.slot_of(key)]

    def keys(self) -> Iterator[bytes]:
        """All keys. The database must not change meanwhile."""
        for slot, keys in enumerate(self.slots):
            if slot not in self.hidden:
                yield from keys

    def store(self, key: bytes, value: Value, expire_at_ms: int | None) -> None:
        """Put a key as it is: for loading, where nobody watches and nothing is propagated."""
        self.keys_of(key)[key] = value
        if expire_at_ms is None:
            self.expires.pop(key, None)
        else:
            self.expires[key] = expire_at_ms
        if type(value) is Hash and value.deadlines is not None:
            self.track_fields(key, value)

    def show(self, slots: Iterable[int]) -> None:
        """The keys of these slots may be seen from now on."""
        self.hidden.difference_update(slots)
        due, self._due_hidden = self._due_hidden, []
        for key in due:
            value = self.keys_of(key).get(key)
            if type(value) is Hash:
                self.track_fields(key, value)

    # Fields of hashes that expire -----------------------------------------------------------------------------------

    def track_fields(self, key: bytes, value: Hash) -> int | None:
        """Remember when the next field of the hash at `key` expires. Returns that time (unix ms), None for never."""
        deadlines = value.deadlines
        next_ms = None if deadlines is None else deadlines.next_ms()
        if deadlines is None or next_ms is None:
            return None
        if deadlines.announced_ms is None or next_ms < deadlines.announced_ms:
            deadlines.announced_ms = next_ms
            heappush(self._due_fields, (next_ms, key))
        return next_ms

    @property
    def fields_due_ms(self) -> int | None:
        """When there may next be an expired field, in unix ms; None for never."""
        return self._due_fields[0][0] if self._due_fields else None

    def next_expiring(self, now_ms: int) -> tuple[bytes, Hash] | None:
        """A hash that is said to have an expired field by now; each is said once, until it is tracked again."""
        queue = self._due_fields
        while queue and queue[0][0] <= now_ms:
            when_ms, key = heappop(queue)
            value = self.keys_of(key).get(key)
            if type(value) is Hash and value.deadlines is not None and value.deadlines.announced_ms == when_ms:
                value.deadlines.announced_ms = None
                if self.hidden and self.slot_of(key) in self.hidden:
                    self._due_hidden.append(key)
                    continue
                return key, value
        return None

    def clear(self) -> list[dict[bytes, Any]]:
        """Drop everything. Returns the dicts that held it, so that the caller decides when to pay for freeing them."""
        for walker in self.walkers:
            walker.before_flush(self)
        dropped: list[dict[bytes, Any]] = [self.expires, *self.slots]
        self.slots = self._empty()
        self.expires = {}
        self._due_fields = []
        self._due_hidden = []
        self._listings.clear()
        return dropped

    def swap(self, other: Database) -> None:
        """Exchange the contents of two databases (SWAPDB); clients keep their numbers."""
        for walker in self.walkers + [one for one in other.walkers if one not in self.walkers]:
            walker.before_swap(self, other)
        self.slots, other.slots = other.slots, self.slots
        self.expires, other.expires = other.expires, self.expires
        self._due_fields, other._due_fields = other._due_fields, self._due_fields
        self.hidden, other.hidden = other.hidden, self.hidden
        self._listings.clear()
        other._listings.clear()

    def random_key(self, random: RandomSource) -> bytes | None:
        """A key, each equally likely; None when there is none. O(number of slots), in a big slot a walk at C speed."""
        total = len(self)
        if not total:
            return None
        place = random.randrange(total)
        for slot, keys in enumerate(self.slots):
            if slot in self.hidden:
                continue
            if place < len(keys):
                return next(islice(keys, place, None))
            place -= len(keys)
        raise AssertionError("the counts of the slots do not add up")

    def scan(self, cursor: int, count: int, only_slot: int | None = None) -> tuple[int, list[bytes]]:
        """About `count` keys from `cursor` on and the next cursor, 0 at the end; `scan.py` tells what is guaranteed.

        A cursor is position * 16384 + slot: slots upwards, within a slot positions downwards, 0 for all of it.
        """
        slot = cursor & (SLOT_COUNT - 1)
        position = cursor >> _SLOT_BITS
        if only_slot is not None:
            slot = only_slot
        last = len(self.slots) - 1 if only_slot is None else only_slot
        found: list[bytes] = []
        while slot <= last:
            if (keys := self.slots[slot]) and slot not in self.hidden:
                position, page = self._listings.page(slot, keys, position, count - len(found))
                found += page
                if position:
                    return position << _SLOT_BITS | slot, found
            position = 0
            slot += 1
            if len(found) >= count and slot <= last:
                return slot, found
        return 0, found

    def scan_value(self, key: bytes, entries: dict[bytes, Any], position: int, count: int) -> tuple[int, list[bytes]]:
        """The next `count` names in the value at `key` and the next position, 0 at the end (HSCAN and its kin)."""
        return self._listings.page(key, entries, position, count)


class ExpirySweep:
    """Active expiry: visits keys that have a deadline in rounds, so that what nobody reads goes away too.

    A listing of the keys with a deadline is taken once a round, and each call visits the next few of it.
    """

    def __init__(self) -> None:
        self._pending: list[bytes] = []

    def expired(self, database: Database, now_ms: int, visits_max: int) -> list[bytes]:
        """Keys found to be past their deadline among the next `visits_max` that have one."""
        if not self._pending:
            self._pending = list(database.expires)
        batch = self._pending[-visits_max:]
        del self._pending[-visits_max:]
        deadlines = database.expires
        return [key for key in batch if deadlines.get(key, now_ms + 1) <= now_ms]

