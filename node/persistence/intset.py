"""Intsets, the sorted arrays of integers inside small sets: width in bytes (4), count (4), values, all little-endian."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from struct import Struct, unpack_from

from node.persistence.errors import RdbError

_HEADER = Struct("<II")
_FORMATS = {2: "h", 4: "i", 8: "q"}


def decode(data: bytes) -> tuple[int, ...]:
    """The integers, ascending. Errors: RdbError when width, count or order are wrong."""
    if len(data) < _HEADER.size:
        raise RdbError("intset: too short for a header")
    width, count = _HEADER.unpack_from(data)
    code = _FORMATS.get(width)
    if code is None or len(data) != _HEADER.size + width * count:
        raise RdbError("intset: the width or the count is wrong")
    values: tuple[int, ...] = unpack_from(f"<{count}{code}", data, _HEADER.size)
    if any(a >= b for a, b in pairwise(values)):
        raise RdbError("intset: the integers are not ascending")
    return values


def encode(values: Sequence[int], width: int = 2) -> bytes:
    """The intset of `values`, which must be ascending 64-bit integers, in the narrowest width that holds them all.

    width: at least so many bytes (2, 4 or 8) each; an intset that held bigger integers keeps the width that they took.
    """
    if values:
        low, high = values[0], values[-1]
        if low < -0x80000000 or high > 0x7FFFFFFF:
            width = 8
        elif low < -0x8000 or high > 0x7FFF:
            width = max(width, 4)
    return _HEADER.pack(width, len(values)) + Struct(f"<{len(values)}{_FORMATS[width]}").pack(*values)
