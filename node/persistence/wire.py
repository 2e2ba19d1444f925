"""The atoms of RDB: lengths, integers and strings, read from a cursor and written as bytes.

Reading never takes memory on the word of a length: what has not arrived yet raises NeedMore, and whoever feeds the
cursor decides whether to wait or to refuse. Writing is on the path of every full sync, hence the tables.
"""

from __future__ import annotations

from struct import Struct

from node.persistence import lzf
from node.persistence.errors import NeedMore, RdbError

MAX_STRING = 1 << 32
"""Longest string believed unless the cursor is told otherwise: a damaged length must not have us wait for ever."""

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

_LZF_MIN_LENGTH = 21
"""Shorter strings are never compressed, by any server."""

_I16 = Struct("<h")
_I32 = Struct("<i")
_BIG_U16 = Struct(">H")
_BIG_U32 = Struct(">BI")
_BIG_U64 = Struct(">BQ")
_SHORT = [bytes((n,)) for n in range(64)]
_INT8 = {v: bytes((0xC0, v & 0xFF)) for v in range(-128, 128)}

_ENC_INT8, _ENC_INT16, _ENC_INT32, _ENC_LZF = 0xC0, 0xC1, 0xC2, 0xC3


def canonical_int(text: bytes) -> int | None:
    """The signed 64-bit integer whose only decimal form is `text`, or None: no sign +, leading zero, space or -0."""
    if text.isdigit():
        if (text[0] == 48 and len(text) > 1) or len(text) > 19:
            return None
        value = int(text)
        return value if value <= INT64_MAX else None
    if text[:1] == b"-" and 1 < len(text) <= 20:
        digits = text[1:]
        if digits.isdigit() and digits[0] != 48:
            value = -int(digits)
            return value if value >= INT64_MIN else None
    return None


def encode_length(n: int) -> bytes:
    """`n` (0 to 2^64 - 1) in the shortest of RDB's four forms."""
    if n < 64:
        return _SHORT[n]
    if n < 16384:
        return _BIG_U16.pack(0x4000 | n)
    if n <= 0xFFFFFFFF:
        return _BIG_U32.pack(0x80, n)
    return _BIG_U64.pack(0x81, n)


def encode_int(value: int) -> bytes:
    """A 64-bit integer as an RDB string: one of the integer forms up to 32 bits, else its decimal digits."""
    if -128 <= value <= 127:
        return _INT8[value]
    if -32768 <= value <= 32767:
        return b"\xc1" + _I16.pack(value)
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return b"\xc2" + _I32.pack(value)
    text = b"%d" % value
    return _SHORT[len(text)] + text


def encode_string(text: bytes, compress: bool) -> bytes:
    """`text` as Redis writes it: an integer form if it is one, LZF if `compress` and it saves space, else plain."""
    n = len(text)
    if n < _LZF_MIN_LENGTH:
        if n <= 11 and (text.isdigit() or text[:1] == b"-"):
            value = canonical_int(text)
            if value is not None and -0x80000000 <= value <= 0x7FFFFFFF:
                return encode_int(value)
        return _SHORT[n] + text
    if compress:
        packed = lzf.compress(text, n - 4)
        if packed is not None:
            return b"\xc3" + encode_length(len(packed)) + encode_length(n) + packed
    if n < 64:
        return _SHORT[n] + text
    return encode_length(n) + text


class Cursor:
    """A position in `data`, which holds bytes up to `end`.

    `commit` marks the position as reached for good. A loader of a big collection commits after each element and keeps
    what it has in `progress`; when NeedMore interrupts it, it is called again with the same `progress` at the mark.
    """

    __slots__ = ("data", "end", "mark", "max_string", "pos", "progress")

    def __init__(self, data: bytes, end: int | None = None, max_string: int = MAX_STRING) -> None:
        self.data = data
        self.pos = 0
        self.mark = 0
        self.end = len(data) if end is None else end
        self.max_string = max_string
        self.progress: object = None

    def commit(self) -> None:
        """What lies before this position will not be asked for again."""
        self.mark = self.pos

    def byte(self) -> int:
        """The next byte."""
        pos = self.pos
        if pos >= self.end:
            raise NeedMore(pos + 1)
        self.pos = pos + 1
        return self.data[pos]

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        pos = self.pos
        stop = pos + count
        if stop > self.end:
            raise NeedMore(stop)
        self.pos = stop
        return self.data[pos:stop]

    def length(self) -> int:
        """A length, 0 to 2^64 - 1. Errors: RdbError if the bytes say a special string form instead."""
        first = self.byte()
        return first if first < 64 else self._long_length(first)

    def _long_length(self, first: int) -> int:
        if first < 128:
            return (first & 63) << 8 | self.byte()
        if first == 0x80:
            return int.from_bytes(self.take(4), "big")
        if first == 0x81:
            return int.from_bytes(self.take(8), "big")
        raise RdbError(f"0x{first:02x} is no length")

    def string(self) -> bytes:
        """A string in any of its forms, as bytes."""
        pos = self.pos
        if pos >= self.end:
            raise NeedMore(pos + 1)
        first = self.data[pos]
        if first < 64:
            start = pos + 1
            stop = start + first
        elif first >= 0xC0:
            self.pos = pos + 1
            return self._lzf() if first == _ENC_LZF else b"%d" % self._int(first)
        else:
            self.pos = pos + 1
            length = self._long_length(first)
            if length > self.max_string:
                raise RdbError(f"a string of {length} bytes is longer than the limit of {self.max_string}")
            start = self.pos
            stop = start + length
        if stop > self.end:
            raise NeedMore(stop)
        self.pos = stop
        return self.data[start:stop]

    def string_value(self) -> bytes | int:
        """A string as it lies in memory: an int if it is the canonical form of a 64-bit integer, else bytes."""
        pos = self.pos
        if pos < self.end and _ENC_INT8 <= self.data[pos] <= _ENC_INT32:
            self.pos = pos + 1
            return self._int(self.data[pos])
        text = self.string()
        if len(text) <= 20:
            value = canonical_int(text)
            if value is not None:
                return value
        return text

    def _int(self, form: int) -> int:
        if form == _ENC_INT8:
            value = self.byte()
            return value - 256 if value > 127 else value
        if form == _ENC_INT16:
            return int.from_bytes(self.take(2), "little", signed=True)
        if form == _ENC_INT32:
            return int.from_bytes(self.take(4), "little", signed=True)
        raise RdbError(f"unknown string form 0x{form:02x}")

    def _lzf(self) -> bytes:
        packed_length = self.length()
        length = self.length()
        if max(packed_length, length) > self.max_string:
            raise RdbError(f"a compressed string of {length} bytes is longer than the limit of {self.max_string}")
        return lzf.decompress(self.take(packed_length), length)
