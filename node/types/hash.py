"""Hashes: fields and values, both bytes, in order of insertion, kept in one of two forms.

A small one, which Redis would hold as a listpack, is packed: one `bytes` with a mark before each field, another before
each value, and the first once more behind all. That is as small as in Redis (Python objects for each text would take
five times that), and looking for a field is one search at the speed of C. The marks are bytes that UTF-8 never has;
in texts that have them all the same they are escaped. Whatever is bigger is a dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Protocol, TypeAlias

from gossip.ids import RandomSource
from node.types.drawing import Drawable, shuffle_front

_FIELD, _VALUE, _ESCAPE = b"\xc1", b"\xc0", b"\xff"
_FIELD_BYTE = ord(_FIELD)  # Faster to look for than bytes are.
_ESCAPED = ((_ESCAPE, b"\xff\3"), (_FIELD, b"\xff\2"), (_VALUE, b"\xff\1"))
_EMPTY_PACK = _FIELD
_PACKED_FIELDS_MAX = 512
_PACKED_BYTES_MAX = 32 * 1024
_PUT_SINGLY_UP_TO = 8
"""So many pairs of one request are put into a packed hash one by one; for more it is packed anew."""

Store: TypeAlias = "bytes | dict[bytes, bytes]"


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

    def by_time(self, count: int) -> Iterator[tuple[int, list[bytes]]]:
        """Each deadline with the fields that have it, at most `count` at a time."""
        fields_at: dict[int, list[bytes]] = {}
        for field, deadline_ms in self.by_field.items():
            fields_at.setdefault(deadline_ms, []).append(field)
        for deadline_ms, fields in fields_at.items():
            for at in range(0, len(fields), count):
                yield deadline_ms, fields[at : at + count]

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

    store: see above; never empty while the key exists. deadlines: None until a field was given one. table: whether
    Redis would hold it as a hash table, so that `store` is a dict; it never goes back to a listpack. None for a hash as
    loaded, until somebody asks.
    """

    __slots__ = ("deadlines", "store", "table")

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        """A hash of these fields, as it comes from a file. It keeps the dict."""
        self._urn = None
        self.deadlines: FieldDeadlines | None = None
        self.table: bool | None = None if fields else False
        self.store: Store = _packed(fields) if fields else _EMPTY_PACK

    def __len__(self) -> int:
        store = self.store
        return store.count(_VALUE) if isinstance(store, bytes) else len(store)

    def __contains__(self, field: bytes) -> bool:
        store = self.store
        if isinstance(store, dict):
            return field in store
        return store.rfind(b"\xc1%b\xc0" % (field if field.isascii() else _escaped(field))) >= 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, without counting."""
        store = self.store
        return len(store) == 1 if isinstance(store, bytes) else not store

    def copy(self) -> Hash:
        """An equal hash that shares nothing that changes with this one."""
        twin = Hash({})
        store = self.store
        twin.store = store.copy() if isinstance(store, dict) else store
        twin.table = self.table
        if self.deadlines is not None:
            twin.deadlines = FieldDeadlines(self.deadlines.by_field.copy())
        return twin

    # Reading ------------------------------------------------------------------------------------------------------

    def get(self, field: bytes) -> bytes | None:
        """The value of a field; None when there is none such."""
        store = self.store
        if isinstance(store, dict):
            return store.get(field)
        mark = b"\xc1%b\xc0" % (field if field.isascii() else _escaped(field))
        at = store.rfind(mark)
        if at < 0:
            return None
        at += len(mark)
        text: bytes = store[at : store.index(_FIELD_BYTE, at)]
        return text if text.isascii() else _unescaped(text)

    def flat(self) -> list[bytes]:
        """Fields and values in turn."""
        store = self.store
        if isinstance(store, bytes):
            texts = store.replace(_VALUE, _FIELD).split(_FIELD)[1:-1]
            return texts if _ESCAPE not in store else [_unescaped(text) for text in texts]
        texts = [b""] * (2 * len(store))
        texts[::2] = store
        texts[1::2] = store.values()
        return texts

    def names(self) -> list[bytes]:
        """All fields."""
        store = self.store
        return list(store) if isinstance(store, dict) else self.flat()[::2]

    def values(self) -> list[bytes]:
        """All values, in the order of their fields."""
        store = self.store
        return list(store.values()) if isinstance(store, dict) else self.flat()[1::2]

    def lookup(self) -> dict[bytes, bytes]:
        """Values by field. Not to be changed."""
        store = self.store
        if isinstance(store, dict):
            return store
        texts = self.flat()
        return dict(zip(texts[::2], texts[1::2], strict=True))

    # Encoding -----------------------------------------------------------------------------------------------------

    def is_table(self, limits: HashLimits) -> bool:
        """Whether OBJECT ENCODING is hashtable. A hash as loaded takes the form for it."""
        if self.table is None:
            self.table = not fits_listpack(self.lookup(), limits)
            if self.table:
                self._unpack()
        return self.table

    def encoding(self, limits: HashLimits) -> str:
        """What OBJECT ENCODING calls it."""
        if self.is_table(limits):
            return "hashtable"
        return "listpack" if self.deadlines is None else "listpackex"

    def _unpack(self) -> dict[bytes, bytes]:
        """Be a dict from now on."""
        store = self.store = self.lookup()
        return store

    # Changing -----------------------------------------------------------------------------------------------------

    def put(self, field: bytes, text: bytes, limits: HashLimits) -> bool:
        """Set one field. True when it is new."""
        store = self.store
        longest = limits.hash_max_listpack_value
        if isinstance(store, bytes):
            if self.table is False and len(field) <= longest and len(text) <= longest:
                return self._put_packed(store, field, text, limits)
            if self.is_table(limits) or len(field) > longest or len(text) > longest:
                self.table = True
                store = self._unpack()
            else:
                return self.put(field, text, limits)
        before = len(store)
        store[field] = text
        size = len(store)
        if not self.table:
            self.is_table(limits)
            self.table = self.table or max(len(field), len(text)) > longest or size > limits.hash_max_listpack_entries
        if size == before:
            return False
        if self._urn is not None:
            self.added(field)
        return True

    def _put_packed(self, store: bytes, field: bytes, text: bytes, limits: HashLimits) -> bool:
        mark = b"\xc1%b\xc0" % (field if field.isascii() else _escaped(field))
        kept = text if text.isascii() else _escaped(text)
        at = store.rfind(mark)
        if at < 0:
            store = b"%b%b%b\xc1" % (store[:-1], mark, kept)
        else:
            start = at + len(mark)
            store = store[:start] + kept + store[store.index(_FIELD_BYTE, start) :]
        self.store = store
        entries_max = limits.hash_max_listpack_entries
        if len(store) > 2 * min(entries_max, _PACKED_FIELDS_MAX):  # so many may be in there: two marks are one
            size = store.count(_VALUE)
            self.table = size > entries_max
            if self.table or size > _PACKED_FIELDS_MAX or len(store) > _PACKED_BYTES_MAX:
                self._unpack()
        return at < 0

    def put_all(self, texts: Sequence[bytes], limits: HashLimits) -> int:
        """Set the fields of one request, fields and values in turn. Returns how many are new.

        As in Redis 7.2 more pairs in one request than a listpack takes make a table, whether or not fields repeat.
        """
        self.is_table(limits)
        count = len(texts) // 2
        if not self.table and (
            count > limits.hash_max_listpack_entries or max(map(len, texts), default=0) > limits.hash_max_listpack_value
        ):
            self.table = True
            self._unpack()
        if self._urn is not None or (count <= _PUT_SINGLY_UP_TO and not self.table):
            return sum([self.put(texts[at], texts[at + 1], limits) for at in range(0, len(texts), 2)])
        fields = self.lookup()
        before = len(fields)
        fields.update(zip(texts[::2], texts[1::2], strict=True))
        if not self.table:
            self.table = len(fields) > limits.hash_max_listpack_entries
            self.store = fields if self.table else _packed(fields)
        return len(fields) - before

    def remove(self, field: bytes) -> bool:
        """Remove a field; False when there is none such."""
        store = self.store
        if isinstance(store, dict):
            if field not in store:
                return False
            del store[field]
            if self._urn is not None:
                self.removed(field)
        else:
            mark = b"\xc1%b\xc0" % (field if field.isascii() else _escaped(field))
            at = store.rfind(mark)
            if at < 0:
                return False
            self.store = store[:at] + store[store.index(_FIELD, at + 1) :]
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

    def is_expired(self, field: bytes, now_ms: int) -> bool:
        """Whether a field's time has come."""
        deadline_ms = self.deadline_of(field)
        return deadline_ms is not None and deadline_ms <= now_ms

    def without_expired(self, now_ms: int) -> Hash:
        """What is to be seen of it: itself, or a copy when the time of a field has come."""
        next_ms = None if self.deadlines is None else self.deadlines.next_ms()
        if next_ms is None or next_ms > now_ms:
            return self
        twin = self.copy()
        twin.expire_due(now_ms, len(twin))
        return twin

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
        store = self.store
        if isinstance(store, dict):
            return self._draw(store, count, random)
        names = self.names()
        size = len(names)
        return [names[random.randrange(size)] for _ in range(count)]

    def distinct_random_fields(self, count: int, random: RandomSource) -> list[bytes]:
        """`count` different fields in any order; all of them, in their order, when there are no more."""
        store = self.store
        if isinstance(store, dict):
            return self._draw_distinct(store, count, random)
        names = self.names()
        if count < len(names):
            shuffle_front(names, count, random)
        return names[:count]


def _escaped(text: bytes) -> bytes:
    """A text as it stands in a packed hash."""
    for plain, escape in _ESCAPED:
        text = text.replace(plain, escape)
    return text


def _unescaped(text: bytes) -> bytes:
    """The opposite."""
    if _ESCAPE in text:
        for plain, escape in reversed(_ESCAPED):
            text = text.replace(escape, plain)
    return text


def _packed(fields: dict[bytes, bytes]) -> Store:
    """The packed form; the dict itself when that would be too big."""
    if len(fields) > _PACKED_FIELDS_MAX:
        return fields
    texts = [b"%b\xc0%b" % pair for pair in fields.items()]
    packed = b"\xc1".join((b"", *texts, b""))
    if len(packed) > _PACKED_BYTES_MAX:
        return fields
    if packed.count(_FIELD) == packed.count(_VALUE) + 1 == len(fields) + 1 and _ESCAPE not in packed:
        return packed
    texts = [b"%b\xc0%b" % (_escaped(field), _escaped(text)) for field, text in fields.items()]
    return b"\xc1".join((b"", *texts, b""))


def fits_listpack(fields: dict[bytes, bytes], limits: HashLimits) -> bool:
    """Whether Redis would hold a hash of these fields as a listpack."""
    if len(fields) > limits.hash_max_listpack_entries:
        return False
    longest = limits.hash_max_listpack_value
    return max(map(len, fields), default=0) <= longest and max(map(len, fields.values()), default=0) <= longest
