"""Hashes: fields and values, both bytes, in order of insertion.

Commands read and write `fields` directly, and tell the hash what they did: `added` for fields that are new, `remove`
for those that go, `wrote` so that it knows what Redis would call its encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gossip.ids import RandomSource
from node.types.drawing import Drawable


class HashLimits(Protocol):
    """The settings of the same names: up to and including these a hash is a listpack."""

    @property
    def hash_max_listpack_entries(self) -> int: ...

    @property
    def hash_max_listpack_value(self) -> int: ...


class Hash(Drawable):
    """The value of a hash key.

    fields: never empty while the key exists. table: whether Redis would hold it as a hash table; it never goes back to
    a listpack. None for a hash as loaded, until somebody asks.
    """

    __slots__ = ("fields", "table")

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self._urn = None
        self.fields = fields
        self.table: bool | None = None if fields else False

    def __len__(self) -> int:
        return len(self.fields)

    def copy(self) -> Hash:
        """An equal hash that shares nothing with this one."""
        twin = Hash(self.fields.copy())
        twin.table = self.table
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
        return "hashtable" if self.is_table(limits) else "listpack"

    # Changing -----------------------------------------------------------------------------------------------------

    def remove(self, field: bytes) -> bool:
        """Remove a field; False when there is none such."""
        if field not in self.fields:
            return False
        del self.fields[field]
        if self._urn is not None:
            self.removed(field)
        return True

    # Drawing ------------------------------------------------------------------------------------------------------

    def random_fields(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` fields drawn one by one, so that a field may come again. O(1) each, but for the first of many."""
        return self._draw(self.fields, count, random)

    def distinct_random_fields(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` different fields in any order; all of them, in their order, when there are no more."""
        return self._draw_distinct(self.fields, count, random)
