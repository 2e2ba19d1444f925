"""Listpacks, the compact lists inside small hashes, sets, sorted sets, lists and streams since RDB version 10.

Layout: total bytes (4, little-endian), number of entries (2, 65535 for "count them"), entries, 0xFF. An entry is its
encoding, its data and its own length, the last in a form that is read backwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from node.persistence.errors import RdbError
from node.persistence.wire import canonical_int

_HEADER = Struct("<IH")
_MANY = 0xFFFF
_LONGEST_INT = 20


def _backlen(size: int) -> bytes:
    """An entry's length as its tail. The bounds are one short of what seven bits hold, as in every implementation."""
    if size < 128:
        return bytes((size,))
    if size < 16383:
        return bytes((size >> 7, size & 127 | 128))
    if size < 2097151:
        return bytes((size >> 14, size >> 7 & 127 | 128, size & 127 | 128))
    if size < 268435455:
        return bytes((size >> 21, size >> 14 & 127 | 128, size >> 7 & 127 | 128, size & 127 | 128))
    head = (size >> 28, size >> 21 & 127 | 128)
    return bytes((*head, size >> 14 & 127 | 128, size >> 7 & 127 | 128, size & 127 | 128))


_STRING_HEADS = [bytes((0x80 | n,)) for n in range(64)]
_BACKLENS = [_backlen(n) for n in range(70)]
_SMALL_INTS = [bytes((v, 1)) for v in range(128)]
_SMALL_TEXTS = [b"%d" % v for v in range(128)]


def _int_entry(v: int) -> bytes:
    if 0 <= v <= 127:
        return _SMALL_INTS[v]
    if -4096 <= v <= 4095:
        u = v & 0x1FFF
        return bytes((0xC0 | u >> 8, u & 0xFF, 2))
    if -0x8000 <= v <= 0x7FFF:
        return b"\xf1" + v.to_bytes(2, "little", signed=True) + b"\x03"
    if -0x800000 <= v <= 0x7FFFFF:
        return b"\xf2" + v.to_bytes(3, "little", signed=True) + b"\x04"
    if -0x80000000 <= v <= 0x7FFFFFFF:
        return b"\xf3" + v.to_bytes(4, "little", signed=True) + b"\x05"
    return b"\xf4" + v.to_bytes(8, "little", signed=True) + b"\x09"


SHORT_MAX = 64
SHORT_HEADS, SHORT_TAILS = _STRING_HEADS, _BACKLENS[1 : SHORT_MAX + 1]
"""By length, what stands before and behind a text of fewer than SHORT_MAX bytes."""

int_entry = _int_entry
"""One integer of a listpack: its encoding, its data and its tail."""


def text_entry(item: bytes) -> bytes:
    """One item of a listpack, in the smallest form that Redis would give it."""
    size = len(item)
    if size <= _LONGEST_INT and (item.isdigit() or item[:1] == b"-"):
        value = canonical_int(item)
        if value is not None:
            return _int_entry(value)
    if size < 64:
        return _STRING_HEADS[size] + item + _BACKLENS[size + 1]
    if size < 4096:
        return bytes((0xE0 | size >> 8, size & 0xFF)) + item + _backlen(size + 2)
    return b"\xf0" + size.to_bytes(4, "little") + item + _backlen(size + 5)


def backlen_size(size: int) -> int:
    """How many bytes the tail of an entry of `size` bytes takes."""
    return 1 if size < 128 else len(_backlen(size))


def encode(items: Iterable[bytes]) -> bytes:
    """The listpack of `items`, in order, each in the smallest form that Redis would give it."""
    parts: list[bytes] = []
    count = 0
    for item in items:
        count += 1
        n = len(item)
        if n <= _LONGEST_INT and (item.isdigit() or item[:1] == b"-"):
            value = canonical_int(item)
            if value is not None:
                parts.append(_int_entry(value))
                continue
        if n < 64:
            parts += (_STRING_HEADS[n], item, _BACKLENS[n + 1])
        elif n < 4096:
            parts += (bytes((0xE0 | n >> 8, n & 0xFF)), item, _backlen(n + 2))
        else:
            parts += (b"\xf0" + n.to_bytes(4, "little"), item, _backlen(n + 5))
    body = b"".join(parts)
    return _HEADER.pack(len(body) + 7, min(count, _MANY)) + body + b"\xff"


def _wide_int(data: bytes, pos: int, size: int) -> bytes:
    return b"%d" % int.from_bytes(data[pos : pos + size], "little", signed=True)


def decode(data: bytes) -> list[bytes]:
    """The items of a listpack, integers as their decimal digits.

    Errors: RdbError unless every length, the count and every entry's tail are consistent and nothing follows the end.
    """
    last = len(data) - 1
    if last < 6:
        raise RdbError("listpack: too short for a header")
    total, announced = _HEADER.unpack_from(data)
    if total != last + 1 or data[last] != 0xFF:
        raise RdbError("listpack: the total length or the end mark is wrong")
    items: list[bytes] = []
    pos = 6
    while pos < last:
        head = data[pos]
        if head < 128:
            stop = pos + 1
            item = _SMALL_TEXTS[head]
        elif head < 0xC0:
            start = pos + 1
            stop = start + (head & 63)
            item = data[start:stop]
        elif head < 0xE0:
            u = (head & 31) << 8 | data[pos + 1]
            stop = pos + 2
            item = b"%d" % (u - 8192 if u > 4095 else u)
        else:
            stop, item = _decode_wide(data, pos, head)
        size = stop - pos
        if stop >= last:
            raise RdbError("listpack: an entry runs past the end")
        if size < 128:
            if data[stop] != size:
                raise RdbError("listpack: an entry's tail differs from its length")
            pos = stop + 1
        else:
            tail = _backlen(size)
            pos = stop + len(tail)
            if pos > last or data[stop:pos] != tail:
                raise RdbError("listpack: an entry's tail differs from its length")
        items.append(item)
    if announced not in (_MANY, len(items)):
        raise RdbError(f"listpack: {len(items)} entries where {announced} were announced")
    return items


def _decode_wide(data: bytes, pos: int, head: int) -> tuple[int, bytes]:
    """Where the entry at `pos` stops, and its item, for the longer forms; the stop may lie behind the data."""
    if head < 0xF0:
        start = pos + 2
        stop = start + ((head & 15) << 8 | data[pos + 1])
        return stop, data[start:stop]
    if head == 0xF0:
        start = pos + 5
        stop = start + int.from_bytes(data[pos + 1 : start], "little")
        return stop, data[start:stop]
    size = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}.get(head)
    if size is None:
        raise RdbError(f"listpack: unknown entry form 0x{head:02x}")
    return pos + 1 + size, _wide_int(data, pos + 1, size)
