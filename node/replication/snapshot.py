"""A snapshot without fork: a walk over all keys in short slices, which sees each key as it was when the walk began.

A forked child would copy every page that holds a reference count, so the walk shares the loop with the commands
instead: before a command changes a key that the walk has not reached, that key is written out first (`Walker` in
`keyspace.py`), or of a big one it is noted what there is still to write (`KeyPieces.hold`). The result is an RDB of one
moment, with its keys in an order that depends on what happened meanwhile. A full sync uses it; a file written in the
background can use it in the same way.

What has been reached is known without a note per key: slots before the current one are done. A slot with many keys is
dealt into buckets by the hash of the key first, and only the keys of the current bucket are listed one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from node.keyspace import Database, Keys, Value
from node.persistence.encodings import MODULE_CLASSES
from node.persistence.errors import Unreadable
from node.persistence.options import SaveOptions
from node.persistence.rdb import KeyPieces, RdbWriter, encode_key
from node.types.hash import Hash
from node.types.json import Json, count_up_to
from node.types.list import List
from node.types.set import Set
from node.types.stream import Stream
from node.types.zset import ZSet

_UNIT_MAX = 1024
"""Keys listed one by one at a time. Bigger slots are dealt into buckets of about this size."""
_DEAL_PER_KEY = 8
"""Dealing a key into its bucket costs about an eighth of writing it."""
_BIG = 4096
_ALL = 1 << 62
_EMPTY_PIECE_COST = 256
"""Pieces are empty while a value is prepared to be written; each takes about half a millisecond."""
_LIST_SLICE = 1 << 15
"""Keys of a big slot that are listed at a time: some tenths of a millisecond."""


def _is_big(value: Value) -> bool:
    """Whether to write `value` takes so long that, when it is about to change, rather what it holds is noted."""
    kind = type(value)
    if kind is Json:
        return count_up_to(value.root, _BIG) > _BIG
    return kind in (Hash, List, Set, ZSet, Stream) and len(value) >= _BIG


class _Listing:
    """The keys of one big dict, listed slice by slice while it changes.

    A dict keeps insertion order: what was there when the listing began keeps its order, deletions move it towards the
    start, what is new comes behind it. So after `changes` deletions at most, the first key that is not listed yet is at
    most that many places further in front than it was; and likewise seen from the end. Some keys are listed twice. To
    reach a place in a dict takes a walk from one of its ends: the first half is listed from the start, the other from the
    end, and while nothing changes one iterator goes on.
    """

    __slots__ = ("_back", "_front", "_in_front", "_iterator", "changes", "found")

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self.changes = 0
        """How many keys may have been removed since the last slice."""
        self._front = 0
        self._back = 0
        self._in_front = True
        self._iterator: Iterator[bytes] | None = None

    def take(self, keys: Keys) -> bool:
        """List some more. False when all were listed."""
        changes, self.changes = self.changes, 0
        if changes:
            self._iterator = None
            self._front = max(0, self._front - changes)
            self._back = max(0, self._back - changes)
        size = len(keys)
        if self._front + self._back >= size:
            return False
        in_front = self._in_front
        count = _LIST_SLICE + 2 * changes
        if self._iterator is None:
            place = self._front if in_front else self._back
            self._iterator = islice(keys if in_front else reversed(keys), place, None)
        before = len(self.found)
        try:
            self.found += islice(self._iterator, count)
        except RuntimeError:  # DEBUG POPULATE adds keys behind everybody's back: go on behind what was found
            self._iterator = None
        listed = len(self.found) - before
        if in_front:
            self._front += listed
            if self._front >= size // 2:
                self._in_front = False
                self._iterator = None
        else:
            self._back += listed
        return self._front + self._back < size


class _Cursor:
    """Where the walk stands in one database. `number` is its name in the RDB, whatever SWAPDB makes of it."""

    __slots__ = (
        "bucket",
        "buckets",
        "detached",
        "done",
        "early",
        "expires",
        "left",
        "listed",
        "listing",
        "mask",
        "number",
        "slot",
        "slots",
    )

    def __init__(self, database: Database) -> None:
        self.number = database.index
        self.slots: list[Keys] = database.slots
        self.expires = database.expires
        self.detached = False
        """The database has lost all its keys since: what it had is held by nobody else, and does not change."""
        self.done = not any(database.slots)
        self.slot = -1
        self.left: dict[bytes, None] = {}
        self.listing: _Listing | None = None
        """Keys of the current slot that are still to be dealt into buckets."""
        self.listed = False
        self.buckets: list[list[bytes]] = []
        self.bucket = 0
        self.mask = 0
        self.early: dict[int, set[bytes]] = {}
        """By slot: keys ahead of the walk that need no more writing: written before a change, or new."""

    def ahead(self, slot: int, key: bytes) -> bool:
        """Whether the walk has still to write `key`, were it there from the start."""
        if self.done or slot != self.slot:
            return not self.done and slot > self.slot
        if self.listing is not None:
            return True
        bucket = hash(key) & self.mask
        return bucket > self.bucket or (bucket == self.bucket and key in self.left)

    def claim(self, slot: int, key: bytes) -> bool:
        """Whether `key` is the caller's to write now. The walk will leave it out from then on."""
        if not self.ahead(slot, key):
            return False
        early = self.early.setdefault(slot, set())
        if key in early:
            return False
        early.add(key)
        if slot == self.slot:
            self.left.pop(key, None)
        return True

    def advance(self) -> int:
        """List the next keys to write in `left`. Returns the cost in keys; at the end `done` is set."""
        if self.listing is not None:
            return self._deal()
        self.bucket += 1
        if self.bucket <= self.mask:
            self._list(self.buckets[self.bucket])
            self.buckets[self.bucket] = []
            return 1
        self.early.pop(self.slot, None)
        self.buckets = []
        self.mask = self.bucket = 0
        slot = next((at for at in range(self.slot + 1, len(self.slots)) if self.slots[at]), -1)
        if slot < 0:
            self.done = True
            self.early.clear()
            return 1
        for at in range(self.slot + 1, slot):
            self.early.pop(at, None)
        self.slot = slot
        keys = self.slots[slot]
        if len(keys) <= _UNIT_MAX:
            self._list(keys)
            return 1
        self.listing = _Listing()
        self.listed = False
        self.mask = (1 << (len(keys) // _UNIT_MAX).bit_length()) - 1
        self.buckets = [[] for _ in range(self.mask + 1)]
        return 1

    def _deal(self) -> int:
        assert self.listing is not None
        if not self.listed:
            self.listed = not self.listing.take(self.slots[self.slot])
            return _UNIT_MAX
        buckets, mask, found = self.buckets, self.mask, self.listing.found
        some = found[-_UNIT_MAX:]
        del found[-_UNIT_MAX:]
        for key in some:
            buckets[hash(key) & mask].append(key)
        if not found:
            self.listing = None
            self.bucket = -1
        return len(some) // _DEAL_PER_KEY + 1

    def _list(self, keys: Iterable[bytes]) -> None:
        self.left = dict.fromkeys(keys)
        if early := self.early.get(self.slot):
            for key in early.intersection(self.left):
                del self.left[key]

    def release(self) -> list[dict[bytes, Any]]:
        """The dicts that are nobody's but the cursor's, after a flush. It holds them no longer."""
        held = [self.expires, *self.slots] if self.detached else []
        self.slots, self.expires, self.done = [], {}, True
        return held


class SnapshotWalk:
    """One walk over `databases`. Call `step` until `finished`; what it returns, put together, is the RDB.

    keys=False leaves the data out: an RDB with a header and an end. free: takes dicts that a flush left to the walk, at its
    end, to free them piece by piece. Errors of `step`: Unreadable for the first value of a module's type, when the options
    say that the reader has no modules; a value of a class that has no RDB encoding is a TypeError from the writer.
    """

    def __init__(
        self,
        databases: Sequence[Database],
        options: SaveOptions,
        aux: Iterable[tuple[bytes, bytes | int]] = (),
        *,
        keys: bool = True,
        free: Callable[[list[Any]], None] | None = None,
    ) -> None:
        self.finished = False
        self.written = 0
        """Keys so far, and `total` in all, as far as was known when the walk began."""
        self.total = sum(map(len, databases)) if keys else 0
        self._writer = RdbWriter(options)
        self._writer.header(aux)
        self._options = options
        self._free = free
        self._selected = -1
        self._pieces: KeyPieces | None = None
        """The value that is being written in pieces: whatever else is to be written has to wait for its end."""
        self._pieces_of: tuple[_Cursor, bytes] | None = None
        self._held: list[tuple[int, bytes]] = []
        self._unreadable: Unreadable | None = None
        self._kept: deque[tuple[int, KeyPieces]] = deque()
        """Big values that were about to change, as they were."""
        self._databases = list(databases) if keys else []
        self._cursors = [_Cursor(database) for database in self._databases]
        self._order = [cursor for cursor in self._cursors if not cursor.done]
        self._live: dict[int, _Cursor | None] = {
            database.index: cursor for database, cursor in zip(self._databases, self._cursors, strict=True)
        }
        self._sizes = {database.index: (len(database), len(database.expires)) for database in self._databases}
        for database in self._databases:
            database.walkers.append(self)

    # What the keyspace tells --------------------------------------------------------------------------------------

    def before_change(self, database: Database, slot: int, key: bytes) -> None:
        """`Walker.before_change`."""
        cursor = self._live[database.index]
        if cursor is None or cursor.done:
            return
        if cursor.listing is not None and slot == cursor.slot:
            cursor.listing.changes += 1
        keys = cursor.slots[slot]
        if self._pieces_of is not None and self._pieces_of == (cursor, key):
            if self._pieces is not None and self._pieces.hold():
                self._pieces_of = None
            else:
                self._write_pieces(_ALL)
            return
        if not cursor.claim(slot, key):
            return
        value = keys.get(key)
        if value is None or self._unreadable is not None:
            return
        if not self._options.modules and type(value) in MODULE_CLASSES:
            self._unreadable = Unreadable(cursor.number, key)  # Whoever changes it has nothing to do with that.
            return
        if _is_big(value):
            pieces = KeyPieces(key, value, cursor.expires.get(key), self._options)
            pieces.hold()
            self.written += 1
            self._kept.append((cursor.number, pieces))
            return
        data = encode_key(key, value, cursor.expires.get(key), self._options)
        self.written += 1
        if self._pieces is None:
            self._emit(cursor.number, data)
        else:
            self._held.append((cursor.number, data))

    def before_flush(self, database: Database) -> None:
        """`Walker.before_flush`: the walk goes on over what the database was; what it becomes is not ours."""
        cursor = self._live[database.index]
        if cursor is not None and not cursor.done:
            cursor.detached = True
        self._live[database.index] = None

    def before_swap(self, one: Database, other: Database) -> None:
        """`Walker.before_swap`: each cursor follows the keys, which keep their database's number in the RDB."""
        live = self._live
        live[one.index], live[other.index] = live[other.index], live[one.index]

    # Walking ------------------------------------------------------------------------------------------------------

    def step(self, keys_max: int, bytes_max: int) -> bytes:
        """The next bytes of the RDB: about this many keys or bytes, and all that had to be written early."""
        if self._unreadable is not None:
            raise self._unreadable
        budget = keys_max
        writer = self._writer
        while budget > 0 and writer.pending < bytes_max and not self.finished:
            if self._pieces is not None:
                budget -= self._write_pieces(bytes_max)
            elif self._kept:
                number, self._pieces = self._kept.popleft()
                self._select(number)
            elif not self._order:
                self.close()
                return writer.finish()
            elif (cursor := self._order[0]).done:
                del self._order[0]
            elif cursor.left:
                budget -= self._write_keys(cursor, min(budget, 64), bytes_max)
            else:
                budget -= cursor.advance()
        return writer.take()

    def close(self) -> None:
        """End the walk: commands change keys freely again."""
        self.finished = True
        for database in self._databases:
            if self in database.walkers:
                database.walkers.remove(self)
        dropped = [held for cursor in self._cursors for held in cursor.release()]
        if dropped and self._free is not None:
            self._free(dropped)
        self._databases = []
        self._live = {}
        self._order = self._cursors = []

    def _write_keys(self, cursor: _Cursor, count: int, bytes_max: int) -> int:
        """Write keys of the current unit until something big turns up. Returns how many."""
        keys = cursor.slots[cursor.slot]
        left = cursor.left
        self._select(cursor.number)
        written = 0
        for key in list(islice(left, count)):
            del left[key]
            written += 1
            self.written += 1
            value = keys[key]
            expire_ms = cursor.expires.get(key)
            if type(value) in (bytes, int, bytearray):
                self._writer.key(key, value, expire_ms)
            else:
                if not self._options.modules and type(value) in MODULE_CLASSES:
                    raise Unreadable(cursor.number, key)
                self._pieces = KeyPieces(key, value, expire_ms, self._options)
                self._pieces_of = (cursor, key)
                self._write_pieces(bytes_max)
            if self._pieces is not None or self._writer.pending >= bytes_max:
                break
        return written

    def _write_pieces(self, bytes_max: int) -> int:
        """Go on with the value that is written in pieces, and at its end with what had to wait for it. The cost in keys."""
        assert self._pieces is not None
        for piece in self._pieces:
            if not piece and bytes_max < _ALL:
                return _EMPTY_PIECE_COST
            self._writer.raw(piece)
            if self._writer.pending >= bytes_max:
                return 1
        self._pieces = self._pieces_of = None
        held, self._held = self._held, []
        for number, data in held:
            self._emit(number, data)
        return 1

    def _emit(self, number: int, data: bytes) -> None:
        self._select(number)
        self._writer.raw(data)

    def _select(self, number: int) -> None:
        if number == self._selected:
            return
        self._selected = number
        self._writer.select(number)
        if sizes := self._sizes.pop(number, None):
            self._writer.resize(*sizes)
