"""Hashes: fields and values, both bytes, in order of insertion.

Commands read and write `fields` directly, and tell the hash what they did: `added` for fields that are new, `remove`
for those that go, `wrote` so that it knows what Redis would call its encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Protocol

from gossip.ids import RandomSource
from node.types.drawing import Drawable


class HashLimits(Protocol):
    """The settings of the same names: up to and including these a hash is a listpack."""

    @property
    def hash_max_listpack_entries(self) -> int: ...

    @property
    def hash_max_listpack_value(self) -> int: ...


class FieldDeadlines:
    """When fields of one hash expire. Times are unix ms.

    by_field: the fields that expire at all. announced_ms: the time at which the database is going to ask what is due;
    None when it has not been told to (`Database.track_fields`).
    """

    __slots__ = ("_queue", "announced_ms", "by_field")

    def __init__(self, by_field: dict[bytes, int]) -> None:
        self.by_field = by_field
        self.announced_ms: int | None = None
        self._queue = [(deadline_ms, field) for field, deadline_ms in by_field.items()]
        heapify(self._queue)

    def set(self, field: bytes, deadline_ms: int) -> None:
        """Let a field of the hash expire at this time. O(log n), amortized."""
        self.by_field[field] = deadline_ms
        heappush(self._queue, (deadline_ms, field))
        if len(self._queue) > 2 * len(self.by_field) + 64:
            self._queue = [(deadline, name) for name, deadline in self.by_field.items()]
            heapify(self._queue)

    def next_ms(self) -> int | None:
        """When the next field expires; None when none does."""
        queue, by_field = self._queue, self.by_field
        while queue and by_field.get(queue[0][1]) != queue[0][0]:
            heappop(queue)
        return queue[0][0] if queue else None

    def due(self, now_ms: int, count: int) -> list[bytes]:
        """At most `count` fields whose time has come, the earliest first. They are forgotten here."""
        found: list[bytes] = []
        while len(found) < count and (next_ms := self.next_ms()) is not None and next_ms <= now_ms:
            field = heappop(self._queue)[1]
            del self.by_field[field]
            found.append(field)
        return found


class Hash(Drawable):
    """The value of a hash key.

    deadlines: None until a field was given one. fields: never empty while the key exists. table: whether Redis would
    hold it as a hash table; it never goes back to a listpack. None for a hash as loaded, until somebody asks.
    """

    __slots__ = ("deadlines", "fields", "table")

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self._urn = None
        self.fields = fields
        self.deadlines: FieldDeadlines | None = None
        self.table: bool | None = None if fields else False

    def __len__(self) -> int:
        return len(self.fields)

    def copy(self) -> Hash:
        """An equal hash that shares nothing with this one."""
        twin = Hash(self.fields.copy())
        twin.table = self.table
        if self.deadlines is not None:
            twin.deadlines = FieldDeadlines(self.deadlines.by_field.copy())
        return twin

    # Encoding -----------------------------------------------------------------------------------------------------

    def is_table(self, limits: HashLimits) -> bool:
        """Whether OBJECT ENCODING is hashtable."""
        if self.table is None:
            fields = self.fields
            longest = limits.hash_max_listpack_value
            self.table = (
                len(fields) > limits.hash_max_listpack_entries
                or max(map(len, fields), default=0) > longest
                or max(map(len, fields.values()), default=0) > longest
            )
        return self.table

    def wrote(self, texts: Sequence[bytes], limits: HashLimits) -> None:
        """These fields and values were just written; to be called while `table` is not True.

        As in Redis 7.2 more pairs in one request than a listpack takes make a table, whether or not fields repeat.
        """
        entries_max, longest = limits.hash_max_listpack_entries, limits.hash_max_listpack_value
        if len(self.fields) > entries_max or len(texts) > entries_max * 2:
            self.table = True
            return
        for text in texts:
            if len(text) > longest:
                self.table = True
                return

    def encoding(self, limits: HashLimits) -> str:
        """What OBJECT ENCODING calls it."""
        if self.is_table(limits):
            return "hashtable"
        return "listpack" if self.deadlines is None else "listpackex"

    # Changing -----------------------------------------------------------------------------------------------------

    def remove(self, field: bytes) -> bool:
        """Remove a field; False when there is none such."""
        if field not in self.fields:
            return False
        del self.fields[field]
        if self._urn is not None:
            self.removed(field)
        if self.deadlines is not None:
            self.deadlines.by_field.pop(field, None)
        return True

    # Expiry of fields ---------------------------------------------------------------------------------------------

    def deadline_of(self, field: bytes) -> int | None:
        """When a field expires, in unix ms; None when it does not."""
        return None if self.deadlines is None else self.deadlines.by_field.get(field)

    def expire_at(self, field: bytes, deadline_ms: int) -> None:
        """Let a field that is there expire. Whoever calls this tells the database (`Database.track_fields`)."""
        if self.deadlines is None:
            self.deadlines = FieldDeadlines({})
        self.deadlines.set(field, deadline_ms)

    def persist(self, fields: Iterable[bytes]) -> None:
        """Let these fields never expire."""
        if self.deadlines is not None and self.deadlines.by_field:
            for field in fields:
                self.deadlines.by_field.pop(field, None)

    def expire_due(self, now_ms: int, count: int) -> list[bytes]:
        """Remove at most `count` fields whose time has come, and return them."""
        if self.deadlines is None:
            return []
        found = self.deadlines.due(now_ms, count)
        for field in found:
            self.remove(field)
        return found

    # Drawing ------------------------------------------------------------------------------------------------------

    def random_fields(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` fields drawn one by one, so that a field may come again. O(1) each, but for the first of many."""
        return self._draw(self.fields, count, random)

    def distinct_random_fields(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` different fields in any order; all of them, in their order, when there are no more."""
        return self._draw_distinct(self.fields, count, random)
