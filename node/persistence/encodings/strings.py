"""Strings: type 0, whether they are bytes, an integer or changed in place."""

from __future__ import annotations

from node.persistence.encodings.base import Encoding
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_int, encode_string

TAG_STRING = 0


def load(cursor: Cursor) -> bytes | int:
    """The string as the keyspace holds it: an int where it is a canonical 64-bit integer, else bytes."""
    return cursor.string_value()


def save(value: bytes | int | bytearray, options: SaveOptions) -> tuple[bytes, bytes]:
    """See `Saver`."""
    if isinstance(value, int):
        return b"\x00", encode_int(value)
    return b"\x00", encode_string(bytes(value), options.compress)


ENCODING = Encoding(name="string", loaders={TAG_STRING: load}, classes=(bytes, int, bytearray), save=save)
