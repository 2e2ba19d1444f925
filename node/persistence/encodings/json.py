"""JSON documents: a module's value (type 7) as Redis 8 writes it, with the id of "ReJSON-RL" and one string.

A module's value is its id (nine characters of 6 bits and a version of 10), then items, each behind a number that says
its kind, then a 0 (`rdb.c`, `module.c`). Version 3 of ReJSON-RL is one string, the document's text. Version 2 has a
number behind it, and two strings more where that is not 0. Version 0, of RedisJSON 1, is a tree, and is refused like
the values of other modules.
"""

from __future__ import annotations

from node.persistence.encodings.base import Encoding
from node.persistence.errors import RdbError
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.json import DOCUMENT_DEPTH_MAX, Json, JsonError, parse, to_text

TAG_MODULE_2 = 7

TYPE_NAME = "ReJSON-RL"
VERSION = 3
_VERSION_WITH_INDEX = 2

_END, _UNSIGNED, _STRING = 0, 2, 5
_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def module_id(name: str, version: int) -> int:
    """The number that stands for a module's type of nine characters, and the version of its encoding."""
    number = 0
    for character in name:
        number = number << 6 | _CHARACTERS.index(character)
    return number << 10 | version


def module_name(number: int) -> tuple[str, int]:
    """The name and version that a number stands for."""
    return "".join(_CHARACTERS[number >> shift & 63] for shift in range(58, 9, -6)), number & 1023


_HEAD = b"\x81" + module_id(TYPE_NAME, VERSION).to_bytes(8, "big") + encode_length(_STRING)


def load(cursor: Cursor) -> Json:
    """See `Loader`."""
    name, version = module_name(cursor.length())
    if name != TYPE_NAME or version not in (VERSION, _VERSION_WITH_INDEX):
        raise RdbError(f"a value of the module type {name!r}, version {version}, is not supported")
    _expect(cursor, _STRING)
    text = cursor.string()
    if version == _VERSION_WITH_INDEX:
        _expect(cursor, _UNSIGNED)
        if cursor.length():
            for _ in range(2):
                _expect(cursor, _STRING)
                cursor.string()
    _expect(cursor, _END)
    try:
        return Json(parse(text, DOCUMENT_DEPTH_MAX))
    except JsonError as error:
        raise RdbError(f"a JSON document cannot be read: {error.text}") from error


def _expect(cursor: Cursor, kind: int) -> None:
    found = cursor.length()
    if found != kind:
        raise RdbError(f"a JSON document has {found} where {kind} should say what follows")


def save(value: Json, options: SaveOptions) -> tuple[bytes, bytes]:
    """See `Saver`."""
    return b"\x07", _HEAD + encode_string(to_text(value.root), options.compress) + b"\x00"


ENCODING = Encoding(name="json", loaders={TAG_MODULE_2: load}, classes=(Json,), save=save)
