"""A node of a stream: up to `stream-node-max-entries` entries in one listpack, kept in the bytes of that listpack.

Approximate trimming removes whole nodes, and DUMP shows them, so their borders have to be Redis's. Its layout
(`t_stream.c`): a master entry (how many entries are valid, how many deleted, how many fields, the fields, 0), then each
entry: flags, ms and sequence relative to the node's first id, fields and values (values only when the fields are the
master's), and how many elements that were. `body` is the entries, `head` the master entry without its two counters,
which change and are kept as numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from node.persistence.errors import RdbError
from node.persistence.listpack import SHORT_HEADS, SHORT_MAX, SHORT_TAILS, backlen_size, decode, int_entry, text_entry
from node.types.stream_id import MS_SHIFT, SEQUENCE_MASK

Render = Callable[[int, list[bytes]], bytes]
"""What an entry looks like to a reader: of its id, and its fields and values in turn. Never empty."""

DELETED = 1
SAME_FIELDS = 2

_INTS_MAX = 1024
_INTS = [int_entry(number) for number in range(_INTS_MAX)]
_HEADS = [b"\x02\x01\x00\x01" + entry for entry in _INTS[:128]]
"""How an entry begins that has the node's fields, and its millisecond."""
_SHORT_TAILS = [tail + b"\x04\x01" for tail in SHORT_TAILS]
"""What stands behind the only value of an entry, by the value's length."""
_NUMBERS = b":"
"""Texts behind this one are no numbers."""
_AROUND = 7
"""Bytes of a listpack beside its elements."""
_AROUND_SMALL = _AROUND + 4
"""The same with both counters, while they are small."""
_SIGN = 1 << 63


def _signed(difference: int) -> int:
    """A difference of two unsigned 64-bit numbers as C stores it in a signed one."""
    return ((difference + _SIGN) & SEQUENCE_MASK) - _SIGN


def read_int(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """The integer element at `at`, and where the next one starts. RdbError when it is a string."""
    head = data[at]
    if head < 128:
        return head, at + 2
    if 0xC0 <= head < 0xE0:
        number = (head & 31) << 8 | data[at + 1]
        return number - 8192 if number > 4095 else number, at + 3
    size = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}.get(head)
    if size is None:
        raise RdbError("stream: a number was expected")
    return int.from_bytes(data[at + 1 : at + 1 + size], "little", signed=True), at + 2 + size


def read_text(data: bytes, at: int) -> tuple[bytes, int]:
    """The element at `at` as bytes, and where the next one starts."""
    head = data[at]
    if head < 128:
        return b"%d" % head, at + 2
    if head < 0xC0:
        stop = at + 1 + (head & 63)
        return data[at + 1 : stop], stop + 1
    if 0xE0 <= head < 0xF0:
        start = at + 2
        stop = start + ((head & 15) << 8 | data[at + 1])
        return data[start:stop], stop + backlen_size(stop - at)
    if head == 0xF0:
        start = at + 5
        stop = start + int.from_bytes(data[at + 1 : start], "little")
        return data[start:stop], stop + backlen_size(stop - at)
    number, stop = read_int(data, at)
    return b"%d" % number, stop


class Node:
    """`first`: the id that the others are relative to, that of its first entry when it was made.

    fields: the master's. count, deleted: valid entries and those that are only marked. offsets: where each entry, valid
    or not, starts in `body`.
    """

    __slots__ = ("_near", "body", "count", "deleted", "fields", "first", "head", "offsets", "shown", "start")

    def __init__(self, first: int, fields: list[bytes], head: bytes = b"") -> None:
        self.first = first
        self._near = min(len(_HEADS), SEQUENCE_MASK + 1 - (first & SEQUENCE_MASK))
        """An id that is less than this beyond `first` has its millisecond, and a head in the table."""
        self.fields = fields
        self.head = head or b"%b%b\x00\x01" % (int_entry(len(fields)), b"".join(map(text_entry, fields)))
        self.count = 0
        self.deleted = 0
        self.start = 0
        """Index of the first valid entry; that of no entry when there is none."""
        self.body = bytearray()
        self.offsets = array("I")
        self.shown: list[bytes | None] | None = None
        """What readers were shown of each entry, so that a stream that many read is decoded once; b"" if deleted."""

    def __len__(self) -> int:
        """Number of entries, deleted ones included."""
        return len(self.offsets)

    def size(self) -> int:
        """Bytes of the listpack."""
        if len(self.offsets) < 128:
            return _AROUND_SMALL + len(self.head) + len(self.body)
        return _AROUND + len(self._counters()) + len(self.head) + len(self.body)

    def _counters(self) -> bytes:
        return int_entry(self.count) + int_entry(self.deleted)

    def copy(self) -> Node:
        """An equal node that shares nothing that changes with this one."""
        twin = Node(self.first, self.fields, self.head)
        twin.count, twin.deleted, twin.start = self.count, self.deleted, self.start
        twin.body, twin.offsets = self.body[:], self.offsets[:]
        return twin

    # Writing ------------------------------------------------------------------------------------------------------

    def append(self, number: int, fields: list[bytes], values: list[bytes]) -> None:
        """Add an entry behind all others."""
        body = self.body
        self.offsets.append(len(body))
        self.count += 1
        if self.shown is not None:
            self.shown.append(None)
        place = number - self.first
        if 0 <= place < self._near:
            head = _HEADS[place]
        else:
            first = self.first
            ms = (number >> MS_SHIFT) - (first >> MS_SHIFT)
            sequence = (number & SEQUENCE_MASK) - (first & SEQUENCE_MASK)
            if 0 <= ms < _INTS_MAX and 0 <= sequence < _INTS_MAX:
                head = b"\x02\x01%b%b" % (_INTS[ms], _INTS[sequence])
            else:
                head = b"\x02\x01%b%b" % (int_entry(_signed(ms)), int_entry(_signed(sequence)))
        if fields == self.fields:
            if len(values) == 1:
                value = values[0]
                size = len(value)
                if size < SHORT_MAX and value > _NUMBERS:
                    body += head
                    body += SHORT_HEADS[size]
                    body += value
                    body += _SHORT_TAILS[size]
                else:
                    body += head + text_entry(value) + b"\x04\x01"
            else:
                body += b"%b%b%b" % (head, b"".join(map(text_entry, values)), int_entry(len(values) + 3))
        else:
            parts = [b"\x00\x01", head[2:], int_entry(len(fields))]
            for field, value in zip(fields, values, strict=True):
                parts += (text_entry(field), text_entry(value))
            parts.append(int_entry(len(fields) * 2 + 4))
            body += b"".join(parts)

    def mark_deleted(self, index: int) -> None:
        """Mark a valid entry as deleted; its bytes stay until the node goes."""
        self.body[self.offsets[index]] |= DELETED
        self.count -= 1
        self.deleted += 1
        if self.shown is not None:
            self.shown[index] = b""
        if index == self.start:
            self._skip_deleted()

    def _skip_deleted(self) -> None:
        """Each mark is passed once, so that trimming entry by entry is O(1) amortized."""
        start = self.start
        while start < len(self.offsets) and self.is_deleted(start):
            start += 1
        self.start = start

    # Reading ------------------------------------------------------------------------------------------------------

    def is_deleted(self, index: int) -> bool:
        """Whether this entry is only there for its place."""
        return bool(self.body[self.offsets[index]] & DELETED)

    def id_at(self, index: int) -> int:
        """The id of an entry, deleted or not."""
        ms, at = read_int(self.body, self.offsets[index] + 2)
        sequence, _ = read_int(self.body, at)
        return self._id(ms, sequence)

    def _id(self, ms: int, sequence: int) -> int:
        first = self.first
        ms = (first >> MS_SHIFT) + ms & SEQUENCE_MASK
        return ms << MS_SHIFT | (first & SEQUENCE_MASK) + sequence & SEQUENCE_MASK

    def at_or_after(self, number: int) -> int:
        """Index of the first entry whose id is not below `number`."""
        low, high = 0, len(self.offsets)
        while low < high:
            middle = (low + high) // 2
            if self.id_at(middle) < number:
                low = middle + 1
            else:
                high = middle
        return low

    def entries(self, start: int, stop: int) -> list[tuple[int, list[bytes]]]:
        """The valid entries from index `start` to before `stop`: ids, and fields and values in turn."""
        if start >= stop:
            return []
        base = self.offsets[start]
        data = bytes(self.body[base : self.offsets[stop] if stop < len(self.offsets) else len(self.body)])
        found = []
        for index in range(start, stop):
            flags, number, items = self._entry(data, self.offsets[index] - base)
            if not flags & DELETED:
                found.append((number, items))
        return found

    def _entry(self, data: bytes, at: int) -> tuple[int, int, list[bytes]]:
        flags = data[at]
        ms, at = read_int(data, at + 2)
        sequence, at = read_int(data, at)
        items: list[bytes] = []
        if flags & SAME_FIELDS:
            for field in self.fields:
                value, at = read_text(data, at)
                items += (field, value)
        else:
            size, at = read_int(data, at)
            for _ in range(size * 2):
                item, at = read_text(data, at)
                items.append(item)
        return flags, self._id(ms, sequence), items

    def show(self, start: int, stop: int, render: Render) -> list[bytes]:
        """What `render` makes of the valid entries from index `start` to before `stop`; kept for the next time."""
        shown = self.shown
        if shown is None:
            shown = self.shown = [None] * len(self.offsets)
        if None in shown[start:stop]:
            base = self.offsets[start]
            data = bytes(self.body[base : self.offsets[stop] if stop < len(self.offsets) else len(self.body)])
            for index in range(start, stop):
                if shown[index] is None:
                    flags, number, items = self._entry(data, self.offsets[index] - base)
                    shown[index] = b"" if flags & DELETED else render(number, items)
        return [text for text in shown[start:stop] if text]

    # Listpack -----------------------------------------------------------------------------------------------------

    def listpack(self) -> bytes:
        """The node as Redis holds it."""
        elements = b"".join((self._counters(), self.head, self.body))
        every = 4 + len(self.fields) + sum(self._elements(offset) for offset in self.offsets)
        return b"%b%b%b\xff" % (
            (len(elements) + _AROUND).to_bytes(4, "little"),
            min(every, 0xFFFF).to_bytes(2, "little"),
            elements,
        )

    def _elements(self, offset: int) -> int:
        if self.body[offset] & SAME_FIELDS:
            return len(self.fields) + 4
        at = read_int(self.body, read_int(self.body, offset + 2)[1])[1]
        return read_int(self.body, at)[0] * 2 + 5

    @classmethod
    def from_listpack(cls, first: int, data: bytes) -> Node:
        """The node that a listpack holds. RdbError unless it is whole and its counters and ids are right."""
        decode(data)
        count, at = read_int(data, 6)
        deleted, at = read_int(data, at)
        head = at
        size, at = read_int(data, at)
        if count < 0 or deleted < 0 or count + deleted < 1 or size < 1:
            raise RdbError("stream: a node's counters make no sense")
        last = len(data) - 1
        fields = []
        for _ in range(size):
            if at >= last:
                raise RdbError("stream: a node ends within its fields")
            field, at = read_text(data, at)
            fields.append(field)
        end, at = _within(data, at, last)
        if end != 0:
            raise RdbError("stream: a node's fields do not end with 0")
        node = cls(first, fields, data[head:at])
        node.body = bytearray(data[at:last])
        node._index(count, deleted)
        return node

    def _index(self, count: int, deleted: int) -> None:
        """Find where the entries start. RdbError when they are not well-formed, in order and as many as announced."""
        data = bytes(self.body)
        last = len(data)
        at = 0
        before = -1
        while at < last:
            start = at
            flags, at = _within(data, at, last)
            ms, at = _within(data, at, last)
            sequence, at = _within(data, at, last)
            if not 0 <= flags <= 3 or data[start] != flags or len(self.offsets) >= count + deleted:
                raise RdbError("stream: an entry's flags make no sense")
            size, elements = len(self.fields), len(self.fields) + 3
            if not flags & SAME_FIELDS:
                size, at = _within(data, at, last)
                size, elements = size * 2, size * 2 + 4
            if size < 1:
                raise RdbError("stream: an entry without fields")
            for _ in range(size):
                if at >= last:
                    raise RdbError("stream: an entry is cut off")
                _, at = read_text(data, at)
            announced, at = _within(data, at, last)
            number = self._id(ms, sequence)
            if announced != elements or number <= before or number < self.first:
                raise RdbError("stream: an entry's length or id is wrong")
            before = number
            self.offsets.append(start)
            self.deleted += flags & DELETED
        self.count = len(self.offsets) - self.deleted
        self._skip_deleted()
        if self.count != count or self.deleted != deleted:
            raise RdbError("stream: a node's counters are wrong")


def _within(data: bytes, at: int, last: int) -> tuple[int, int]:
    if at >= last:
        raise RdbError("stream: an entry is cut off")
    return read_int(data, at)
