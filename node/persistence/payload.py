"""DUMP and RESTORE: one value as a type tag, its bytes, an RDB version (2 bytes) and a CRC-64 (8), little-endian.

A server refuses a payload whose version is above its own, so the version written is the lowest that the value's
encoding needs, not that of this program. What has a newer encoding can be written in an older one for those who know no
other (`other_version`); hashes with fields that expire have two, Redis 7.4's and Valkey 9's, of which each reads its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from node.persistence.crc64 import crc64
from node.persistence.encodings import LOADERS, PIECEWISE_SAVERS, SAVERS, version_needed
from node.persistence.encodings.modules import TAG_MODULE_2
from node.persistence.errors import NeedMore, PayloadError, RdbError
from node.persistence.options import (
    DEFAULT_OPTIONS,
    RDB_VERSION_FIELD_DEADLINES,
    RDB_VERSION_OLDEST_WRITTEN,
    RDB_VERSION_VALKEY,
    SaveOptions,
)
from node.persistence.wire import Cursor

WRONG_FOOTER = "DUMP payload version or checksum are wrong"
BAD_DATA = "Bad data format"

MAX_STRING = 512 * 1024 * 1024
"""Longest string in a payload, Redis's `proto-max-bulk-len`: what a compressed string may grow to."""

_FOOTER = 10
_NEWEST_REDIS = RDB_VERSION_FIELD_DEADLINES
_VALKEY = RDB_VERSION_VALKEY


def dump(value: object, options: SaveOptions = DEFAULT_OPTIONS) -> bytes:
    """The payload of `value`. Errors: TypeError if values of its class are never saved."""
    saver = SAVERS.get(type(value))
    if saver is None:
        raise TypeError(f"no RDB encoding for {type(value).__name__}")
    tag, body = saver(value, options)
    return _sealed(tag + body, version_needed(tag[0]))


def _sealed(body: bytes, version: int) -> bytes:
    sealed = body + version.to_bytes(2, "little")
    return sealed + crc64(sealed).to_bytes(8, "little")


def other_version(tag: int) -> int | None:
    """The RDB version in which to write a value that a server refused as type `tag`; None when there is no other."""
    if version_needed(tag) == RDB_VERSION_VALKEY:
        return RDB_VERSION_FIELD_DEADLINES
    if version_needed(tag) == RDB_VERSION_FIELD_DEADLINES:
        return RDB_VERSION_VALKEY
    return RDB_VERSION_OLDEST_WRITTEN if version_needed(tag) > RDB_VERSION_OLDEST_WRITTEN else None


def for_the_oldest(payload: bytes, value: object, options: SaveOptions = DEFAULT_OPTIONS) -> bytes:
    """A payload, of this value, as Redis 7.0 reads it: replicas of any kind do. Fields of hashes do not expire in it; values
    of modules' types stay as they are."""
    if version_of(payload) <= RDB_VERSION_OLDEST_WRITTEN or payload[0] == TAG_MODULE_2:
        return payload
    if version_needed(payload[0]) <= RDB_VERSION_OLDEST_WRITTEN:
        return _sealed(payload[:-_FOOTER], RDB_VERSION_OLDEST_WRITTEN)
    return dump(value, replace(options, version=RDB_VERSION_OLDEST_WRITTEN))


def version_of(payload: bytes) -> int:
    """The RDB version that a payload names."""
    return int.from_bytes(payload[-_FOOTER : 2 - _FOOTER], "little")


def dump_pieces(value: object, options: SaveOptions = DEFAULT_OPTIONS) -> Iterator[bytes]:
    """The payload of `value` in pieces of some tens of kilobytes, so that a big value is not written in one go between
    two commands. It must not change until the last piece was taken. Errors: TypeError as `dump`."""
    saver = PIECEWISE_SAVERS.get(type(value))
    if saver is None:
        yield dump(value, options)
        return
    crc = version = 0
    for piece in saver(value, options):
        if piece:  # The others say that some of the work is done.
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
