"""A walk over the keys of some slots, in slices, that gives the commands which make them elsewhere.

Slots are walked in order. A change of a slot that has been passed is sent behind what was sent of it; a change of a slot
that is still ahead is not sent at all, since the walk will find its outcome. In the one slot in between, a key that is
ahead is sent before it changes (`Walker.before_change`), and then the change is.

A big value goes in pieces. While that lasts, writes to its slot have to wait (`held`): were it changed in between, the rest
would have to go at once, and everybody would wait for that. The big values of a unit go first, one right behind the other,
so that none of them is ahead when the slot is open again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from node.keyspace import Database, Keys
from node.migration.values import BIG, as_commands, elements_in
from node.persistence.encodings import MODULE_CLASSES
from node.persistence.options import SaveOptions
from node.replication.snapshot import _Cursor

_BATCH = 128
"""Strings that one MSET makes."""
_COLLECTION_COST = 4
"""What a small collection costs, in strings."""
_PIECE_COST, _PIECE_BYTES_PER_COST = 8, 12
"""And a piece of a big value: so much, and one for so many bytes."""


class SlotWalk:
    """Call `step` until `finished`. held: the slot whose writers have to wait just now, -1 for none."""

    def __init__(self, database: Database, slots: Sequence[int], options: SaveOptions) -> None:
        self.finished = False
        self.held = -1
        self.module_key: bytes | None = None
        """One whose value only a target with the module for it can take."""
        self._database = database
        self._options = options
        wanted = set(slots)
        nothing: Keys = {}
        self._wanted = bytearray(len(database.slots))
        for slot in wanted:
            self._wanted[slot] = 1
        self._cursor = _Cursor(database)
        self._cursor.slots = [keys if slot in wanted else nothing for slot, keys in enumerate(database.slots)]
        self._cursor.done = False
        self._out: list[bytes] = []
        self._pieces: Iterator[bytes] | None = None
        self._big: list[bytes] = []
        database.walkers.append(self)

    def is_sent(self, slot: int) -> bool:
        """Whether a change of this slot has to be sent on, since the walk will not come by again."""
        return bool(self._wanted[slot]) and (self.finished or slot <= self._cursor.slot)

    # Walker ---------------------------------------------------------------------------------------------------------

    def before_change(self, database: Database, slot: int, key: bytes) -> None:
        """`Walker.before_change`: send a key of the current slot that is ahead before it is another."""
        cursor = self._cursor
        if slot != cursor.slot or self.finished or not cursor.claim(slot, key):
            return
        value = cursor.slots[slot].get(key)
        if value is not None:
            self._out += as_commands(key, value, cursor.expires.get(key), self._options)

    def before_flush(self, database: Database) -> None:
        """`Walker.before_flush`: the migration ends with that."""
        self.close()

    def before_swap(self, one: Database, other: Database) -> None:
        """`Walker.before_swap`: so does it here; a node of a cluster has one database, which only a full sync swaps."""
        self.close()

    # Walking --------------------------------------------------------------------------------------------------------

    def take(self) -> list[bytes]:
        """The commands since the last call."""
        out, self._out = self._out, []
        return out

    def step(self, cost_max: int) -> None:
        """Go on for about as much as so many small strings cost."""
        cursor, budget = self._cursor, cost_max
        while budget > 0 and not self.finished:
            if self._pieces is not None:
                budget -= self._write_piece(self._pieces)
            elif self._big:
                self._begin_big(self._big.pop())
            elif cursor.left:
                budget -= self._write_some(min(budget, 1024))
            else:
                budget -= cursor.advance()
                if cursor.done:
                    self.close()
                elif cursor.left:
                    keys = cursor.slots[cursor.slot]
                    self._big = [key for key in cursor.left if elements_in(keys[key]) > BIG]
        self.held = cursor.slot if self._pieces is not None or self._big else -1

    def _begin_big(self, key: bytes) -> None:
        cursor = self._cursor
        if key not in cursor.left:
            return
        del cursor.left[key]
        value = cursor.slots[cursor.slot][key]
        if type(value) in MODULE_CLASSES:
            self.module_key = key
        self._pieces = as_commands(key, value, cursor.expires.get(key), self._options)

    def _write_piece(self, pieces: Iterator[bytes]) -> int:
        piece = next(pieces, None)
        if piece is None:
            self._pieces = None
            return 1
        self._out.append(piece)
        return _PIECE_COST + len(piece) // _PIECE_BYTES_PER_COST

    def _write_some(self, count: int) -> int:
        """Send keys of the current unit, strings that do not expire many at a time. Returns the cost."""
        cursor = self._cursor
        keys, left, expires = cursor.slots[cursor.slot], cursor.left, cursor.expires
        plain: list[bytes] = []
        cost = 0
        for key in list(islice(left, count)):
            if cost >= count:
                break
            del left[key]
            value = keys[key]
            kind = type(value)
            if kind is bytes and (not expires or key not in expires):
                plain.append(b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value))
                cost += 1 + (len(value) >> 8)
            elif kind is int and (not expires or key not in expires):
                text = b"%d" % value
                plain.append(b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(text), text))
                cost += 1
            else:
                if kind in MODULE_CLASSES:
                    self.module_key = key
                self._out += as_commands(key, value, expires.get(key), self._options)
                cost += _COLLECTION_COST + elements_in(value)
        for at in range(0, len(plain), _BATCH):
            some = plain[at : at + _BATCH]
            self._out.append(b"*%d\r\n$4\r\nMSET\r\n%b" % (2 * len(some) + 1, b"".join(some)))
        return max(cost, 1)

    def close(self) -> None:
        """End: keys are changed freely again."""
        self.finished = True
        self.held = -1
        self._pieces, self._big = None, []
        if self in self._database.walkers:
            self._database.walkers.remove(self)
