"""Ziplists and zipmaps, what small collections were before listpacks: read, never written.

A ziplist: total bytes (4), offset of the last entry (4), count (2, 65535 for "count them"), all little-endian; entries;
0xFF. An entry: length of the one before, encoding, data. A zipmap (hashes before Redis 2.6): count, pairs, 0xFF.
"""

from __future__ import annotations

from struct import Struct

from node.persistence.errors import RdbError

_HEADER = Struct("<IIH")
_MANY = 0xFFFF
_INT_SIZES = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def decode(data: bytes) -> list[bytes]:
    """The items of a ziplist, integers as their decimal digits.

    Errors: RdbError unless all lengths, back lengths, the count and the offset of the last entry are consistent.
    """
    last = len(data) - 1
    if last < _HEADER.size:
        raise RdbError("ziplist: too short for a header")
    total, tail, announced = _HEADER.unpack_from(data)
    if total != last + 1 or data[last] != 0xFF:
        raise RdbError("ziplist: the total length or the end mark is wrong")
    items: list[bytes] = []
    pos = last_entry = _HEADER.size
    previous = 0
    while pos < last:
        last_entry = pos
        before = data[pos]
        pos += 1
        if before == 0xFE:
            before = int.from_bytes(data[pos : pos + 4], "little")
            pos += 4
        if before != previous or pos >= last:
            raise RdbError("ziplist: an entry disagrees about the length of the one before")
        start, stop, item = _entry(data, pos)
        if start > last or stop > last:
            raise RdbError("ziplist: an entry runs past the end")
        items.append(data[start:stop] if item is None else item)
        pos = stop
        previous = pos - last_entry
    if tail != last_entry:
        raise RdbError("ziplist: the offset of the last entry is wrong")
    if announced not in (_MANY, len(items)):
        raise RdbError(f"ziplist: {len(items)} entries where {announced} were announced")
    return items


def _entry(data: bytes, pos: int) -> tuple[int, int, bytes | None]:
    """Start and stop of the entry's data and, for an integer, its digits. The stop may lie behind the data."""
    head = data[pos]
    if head < 0x40:
        return pos + 1, pos + 1 + head, None
    if head < 0x80:
        return pos + 2, pos + 2 + ((head & 63) << 8 | data[pos + 1]), None
    if head < 0xC0:
        return pos + 5, pos + 5 + int.from_bytes(data[pos + 1 : pos + 5], "big"), None
    if 0xF1 <= head <= 0xFD:
        return pos + 1, pos + 1, b"%d" % (head - 0xF1)
    size = _INT_SIZES.get(head)
    if size is None:
        raise RdbError(f"ziplist: unknown entry form 0x{head:02x}")
    stop = pos + 1 + size
    return pos + 1, stop, b"%d" % int.from_bytes(data[pos + 1 : stop], "little", signed=True)


def decode_zipmap(data: bytes) -> list[bytes]:
    """Fields and values of a zipmap in turn. Errors: RdbError when a length or the count is wrong."""
    last = len(data) - 1
    if last < 1 or data[last] != 0xFF:
        raise RdbError("zipmap: too short, or the end mark is missing")
    items: list[bytes] = []
    pos = 1
    while pos < last:
        size = data[pos]
        pos += 1
        if size == 0xFE:
            size = int.from_bytes(data[pos : pos + 4], "little")
            pos += 4
        elif size == 0xFF:
            raise RdbError("zipmap: the end mark comes early")
        unused = 0
        if len(items) & 1:
            if pos >= last:
                raise RdbError("zipmap: an entry runs past the end")
            unused = data[pos]
            pos += 1
        stop = pos + size
        if stop + unused > last:
            raise RdbError("zipmap: an entry runs past the end")
        items.append(data[pos:stop])
        pos = stop + unused
    if len(items) & 1 or (data[0] < 0xFE and data[0] != len(items) // 2):
        raise RdbError("zipmap: the number of entries is wrong")
    return items
