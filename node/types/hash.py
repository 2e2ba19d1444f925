"""Hashes: fields and values, both bytes, in order of insertion.

Commands read and write `fields` directly, and tell the hash what they did: `added` for fields that are new, `remove`
for those that go, `wrote` so that it knows what Redis would call its encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gossip.ids import RandomSource

_DRAWN_FROM_A_LIST_ABOVE = 128


class HashLimits(Protocol):
    """The settings of the same names: up to and including these a hash is a listpack."""

    @property
    def hash_max_listpack_entries(self) -> int: ...

    @property
    def hash_max_listpack_value(self) -> int: ...


class _Urn:
    """The fields of a big hash, to draw from in O(1): a list of them, and those in it that are gone from the hash."""

    __slots__ = ("fields", "gone")

    def __init__(self, fields: Iterable[bytes]) -> None:
        self.fields = list(fields)
        self.gone: set[bytes] = set()

    def added(self, field: bytes) -> None:
        if field in self.gone:
            self.gone.discard(field)
        else:
            self.fields.append(field)

    def draw(self, random: RandomSource) -> bytes:
        """Each field equally likely. At most half of the list is gone, so two draws do on average."""
        fields, gone = self.fields, self.gone
        while True:
            field = fields[random.randrange(len(fields))]
            if field not in gone:
                return field


class Hash:
    """The value of a hash key.

    fields: never empty while the key exists. table: whether Redis would hold it as a hash table; it never goes back to
    a listpack. None for a hash as loaded, until somebody asks.
    """

    __slots__ = ("_urn", "fields", "table")

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self.fields = fields
        self.table: bool | None = None if fields else False
        self._urn: _Urn | None = None

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

    @property
    def is_drawn_from(self) -> bool:
        """Whether `added` wants to know of new fields."""
        return self._urn is not None

    def added(self, field: bytes) -> None:
        """This field is new in `fields`."""
        if self._urn is not None:
            self._urn.added(field)

    def remove(self, field: bytes) -> bool:
        """Remove a field; False when there is none such."""
        if field not in self.fields:
            return False
        del self.fields[field]
        urn = self._urn
        if urn is not None:
            urn.gone.add(field)
            if len(urn.gone) * 2 > len(urn.fields):
                self._urn = None
        return True

    # Drawing ------------------------------------------------------------------------------------------------------

    def random_fields(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` fields drawn one by one, so that a field may come again. O(1) each, but for the first of many."""
        if len(self.fields) <= _DRAWN_FROM_A_LIST_ABOVE:
            fields = list(self.fields)
            size = len(fields)
            randrange = random.randrange
            return [fields[randrange(size)] for _ in range(count)]
        urn = self._urn
        if urn is None:
            urn = self._urn = _Urn(self.fields)
        return [urn.draw(random) for _ in range(count)]

    def distinct_random_fields(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` different fields in any order; all of them, in their order, when there are no more."""
        size = len(self.fields)
        if count >= size:
            return list(self.fields)
        if count * 3 < size and size > _DRAWN_FROM_A_LIST_ABOVE:
            drawn: dict[bytes, None] = {}
            while len(drawn) < count:
                drawn.update(dict.fromkeys(self.random_fields(count - len(drawn), random)))
            return list(drawn)
        fields = list(self.fields)
        for at in range(count):
            other = at + random.randrange(size - at)
            fields[at], fields[other] = fields[other], fields[at]
        return fields[:count]
