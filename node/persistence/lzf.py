"""LZF, the compression inside RDB: python-lzf where it is installed, else reading only.

Without python-lzf strings are written uncompressed, which every server reads; what others compressed is still read,
by a slower decoder in Python.
"""

from __future__ import annotations

from collections.abc import Callable

from node.persistence.errors import RdbError

_BEST_RATIO = 88
"""Three compressed bytes stand for at most 264: a longer claim is a lie and is refused before memory is taken."""

Compress = Callable[[bytes, int], bytes | None]


def decompress_python(data: bytes, length: int) -> bytes:
    """Expand `data` to exactly `length` bytes. Errors: RdbError when it is damaged or of another length."""
    out = bytearray()
    pos, end = 0, len(data)
    while pos < end:
        control = data[pos]
        pos += 1
        if control < 32:
            stop = pos + control + 1
            if stop > end:
                raise RdbError("LZF: a literal run is cut short")
            out += data[pos:stop]
            pos = stop
        else:
            count = control >> 5
            if count == 7:
                if pos >= end:
                    raise RdbError("LZF: a back reference is cut short")
                count += data[pos]
                pos += 1
            if pos >= end:
                raise RdbError("LZF: a back reference is cut short")
            distance = ((control & 31) << 8 | data[pos]) + 1
            pos += 1
            count += 2
            start = len(out) - distance
            if start < 0:
                raise RdbError("LZF: a back reference points before the start")
            if distance >= count:
                out += out[start : start + count]
            else:
                piece = bytes(out[start:])
                out += (piece * (count // distance + 1))[:count]
        if len(out) > length:
            break
    if len(out) != length:
        raise RdbError("LZF: the decompressed length differs from the announced one")
    return bytes(out)


def _no_compression(data: bytes, limit: int) -> bytes | None:
    return None


try:
    import lzf as _lzf
except ImportError:
    AVAILABLE = False
    compress: Compress = _no_compression
    _decompress_native: Callable[[bytes, int], bytes | None] | None = None
else:
    AVAILABLE = True
    compress = _lzf.compress
    _decompress_native = _lzf.decompress


def decompress(data: bytes, length: int) -> bytes:
    """Expand `data` to exactly `length` bytes. Errors: RdbError when damaged, or of another length than announced.

    Memory: never more than 88 times `data`, whatever `length` claims.
    """
    if length <= 0 or length > len(data) * _BEST_RATIO:
        raise RdbError(f"LZF: {len(data)} bytes cannot decompress to {length}")
    if _decompress_native is None:
        return decompress_python(data, length)
    try:
        out = _decompress_native(data, length)
    except (ValueError, OverflowError) as error:
        raise RdbError("LZF: the compressed bytes are damaged") from error
    if out is None or len(out) != length:
        raise RdbError("LZF: damaged, or the decompressed length differs from the announced one")
    return out
