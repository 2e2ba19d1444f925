"""Values at the edges of every encoding, and payloads of encodings that servers no longer write."""

from __future__ import annotations

import random
import struct

from node.persistence.crc64 import crc64
from node.types.hash import Hash

EDGE_INTS = sorted(
    {
        sign * (1 << bits) + delta
        for bits in (0, 6, 7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 53, 62)
        for sign in (1, -1)
        for delta in (-1, 0, 1)
    }
    | {-(1 << 63), (1 << 63) - 1}
)

NEARLY_INTS = [b"", b"-", b"-0", b"00", b"01", b"+1", b" 1", b"1 ", b"1_0", b"9223372036854775808", b"1.0", b"-01"]


def noise(length: int, seed: int = 1) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(length)


def texts() -> list[bytes]:
    """Strings that are no canonical integers, around every length at which the form changes."""
    lengths = [1, 11, 12, 19, 20, 21, 22, 63, 64, 65, 127, 128, 4095, 4096, 16382, 16383, 16384, 70000]
    plain = [b"x" * n for n in lengths] + [noise(n, n) for n in lengths]
    return [text for text in plain if not text.isdigit()] + NEARLY_INTS


def hashes() -> list[Hash]:
    """Hashes on both sides of the listpack limits, with every form of listpack entry."""
    edge = {b"f%d" % i: b"%d" % v for i, v in enumerate(EDGE_INTS)}
    return [
        Hash({b"f": b"v"}),
        Hash({b"": b""}),
        Hash(edge),
        Hash({b"%d" % v: b"%d" % i for i, v in enumerate(EDGE_INTS)}),
        Hash({b"n%d" % i: text for i, text in enumerate(NEARLY_INTS)}),
        Hash({b"a" * n: noise(n, n) for n in (1, 20, 62, 63, 64)}),
        Hash({b"long": b"v" * 65}),
        Hash({b"f%d" % i: noise(20, i) for i in range(512)}),
        Hash({b"f%d" % i: b"v%d" % i for i in range(513)}),
        Hash({b"text": noise(20000)}),
    ]


def seal(body: bytes, version: int = 10) -> bytes:
    """`body` (tag and value) as a DUMP payload with a right checksum."""
    data = body + version.to_bytes(2, "little")
    return data + crc64(data).to_bytes(8, "little")


def ziplist(items: list[bytes]) -> bytes:
    """A ziplist written by hand: strings in their three forms, integers in all of theirs."""
    body = b""
    previous = 0
    tail = 10
    for item in items:
        head = bytes((previous,)) if previous < 254 else b"\xfe" + struct.pack("<I", previous)
        entry = head + _ziplist_entry(item)
        tail = 10 + len(body)
        body += entry
        previous = len(entry)
    return struct.pack("<IIH", 11 + len(body), tail, len(items)) + body + b"\xff"


def _ziplist_entry(item: bytes) -> bytes:
    if item.lstrip(b"-").isdigit() and b"%d" % int(item) == item:
        value = int(item)
        if 0 <= value <= 12:
            return bytes((0xF1 + value,))
        for head, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
            if -(1 << size * 8 - 1) <= value < 1 << size * 8 - 1:
                return bytes((head,)) + value.to_bytes(size, "little", signed=True)
    if len(item) < 64:
        return bytes((len(item),)) + item
    if len(item) < 16384:
        return bytes((0x40 | len(item) >> 8, len(item) & 255)) + item
    return b"\x80" + len(item).to_bytes(4, "big") + item


def zipmap(pairs: dict[bytes, bytes]) -> bytes:
    """A zipmap written by hand, with three unused bytes after every second value."""

    def size(text: bytes) -> bytes:
        return bytes((len(text),)) if len(text) < 254 else b"\xfe" + struct.pack("<I", len(text))

    body = b""
    for number, (name, value) in enumerate(pairs.items()):
        unused = 3 * (number % 2)
        body += size(name) + name + size(value) + bytes((unused,)) + value + b"?" * unused
    return bytes((min(len(pairs), 254),)) + body + b"\xff"
