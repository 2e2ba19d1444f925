"""DUMP and RESTORE: one value as a type tag, its bytes, an RDB version (2 bytes) and a CRC-64 (8), little-endian.

A server refuses a payload whose version is above its own, so the version written is the lowest that the value's
encoding needs, not that of this program: our payloads are welcome on Redis 7.0 as on Valkey 9.
"""

from __future__ import annotations

from collections.abc import Iterator

from node.persistence.crc64 import crc64
from node.persistence.encodings import LOADERS, PIECEWISE_SAVERS, SAVERS, version_needed
from node.persistence.errors import NeedMore, PayloadError, RdbError
from node.persistence.options import DEFAULT_OPTIONS, SaveOptions
from node.persistence.wire import Cursor

WRONG_FOOTER = "DUMP payload version or checksum are wrong"
BAD_DATA = "Bad data format"

MAX_STRING = 512 * 1024 * 1024
"""Longest string in a payload, Redis's `proto-max-bulk-len`: what a compressed string may grow to."""

_FOOTER = 10
_NEWEST_REDIS = 12
_VALKEY = 80


def dump(value: object, options: SaveOptions = DEFAULT_OPTIONS) -> bytes:
    """The payload of `value`. Errors: TypeError if values of its class are never saved."""
    saver = SAVERS.get(type(value))
    if saver is None:
        raise TypeError(f"no RDB encoding for {type(value).__name__}")
    tag, body = saver(value, options)
    sealed = tag + body + version_needed(tag[0]).to_bytes(2, "little")
    return sealed + crc64(sealed).to_bytes(8, "little")


def dump_pieces(value: object, options: SaveOptions = DEFAULT_OPTIONS) -> Iterator[bytes]:
    """The payload of `value` in pieces of some tens of kilobytes, so that a big value is not written in one go between
    two commands. It must not change until the last piece was taken. Errors: TypeError as `dump`."""
    saver = PIECEWISE_SAVERS.get(type(value))
    if saver is None:
        yield dump(value, options)
        return
    crc = version = 0
    for piece in saver(value, options):
        version = version or version_needed(piece[0])
        crc = crc64(piece, crc)
        yield piece
    footer = version.to_bytes(2, "little")
    yield footer + crc64(footer, crc).to_bytes(8, "little")


def restore(payload: bytes, max_string: int = MAX_STRING) -> object:
    """The value in `payload`.

    Errors: PayloadError with Redis's two texts. Versions up to 12 and Valkey's 80 are taken: an encoding that is too
    new is noticed by its type. Unlike Redis, which reads on into the footer and ignores what follows the value, a
    payload must be used up exactly.
    """
    end = len(payload) - _FOOTER
    if end < 1:
        raise PayloadError(WRONG_FOOTER)
    version = int.from_bytes(payload[end : end + 2], "little")
    if version > _NEWEST_REDIS and version != _VALKEY:
        raise PayloadError(WRONG_FOOTER)
    if crc64(payload[: end + 2]) != int.from_bytes(payload[end + 2 :], "little"):
        raise PayloadError(WRONG_FOOTER)
    loader = LOADERS[payload[0]]
    if loader is None:
        raise PayloadError(BAD_DATA)
    cursor = Cursor(payload, end, max_string)
    cursor.pos = 1
    try:
        value = loader(cursor)
    except (RdbError, NeedMore) as error:
        raise PayloadError(BAD_DATA) from error
    if cursor.pos != end:
        raise PayloadError(BAD_DATA)
    return value
