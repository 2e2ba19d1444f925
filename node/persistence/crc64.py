"""The checksum at the end of RDB files and DUMP payloads: CRC-64 "Jones", reflected, initial value 0.

`crc64(b"123456789")` is 0xe9c6d914c4b8d9ca. `crc64(data, previous)` goes on from an earlier result.
"""

from __future__ import annotations

from typing import Protocol, cast

import crcmod

_POLYNOMIAL = 0x1AD93D23594C935A9


class Crc64(Protocol):
    """`data` is hashed after what gave `crc`; the result is an unsigned 64-bit integer."""

    def __call__(self, data: bytes, crc: int = 0, /) -> int: ...


crc64: Crc64 = cast(Crc64, crcmod.mkCrcFun(_POLYNOMIAL, initCrc=0, rev=True, xorOut=0))
