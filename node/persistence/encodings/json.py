"""JSON documents: a module's value (type 7) as Redis 8 writes it, with the id of "ReJSON-RL" and one string.

A module's value is its id (nine characters of 6 bits and a version of 10), then items, each behind a number that says
its kind, then a 0 (`rdb.c`, `module.c`). Version 3 of ReJSON-RL is one string, the document's text. Version 2 has a
number behind it, and two strings more where that is not 0. Version 0, of RedisJSON 1, is a tree, and is refused like
the values of other modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from node.persistence.encodings.base import Encoding, Pieces
from node.persistence.errors import RdbError
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.json import DOCUMENT_DEPTH_MAX, Json, JsonError, count_up_to, parse, text_pieces, to_text

TAG_MODULE_2 = 7

TYPE_NAME = "ReJSON-RL"
VERSION = 3
_VERSION_WITH_INDEX = 2

_PLAIN_VALUES = 2048
"""A document of more values is written in pieces."""
_TEXTS_AT_ONCE, _TEXTS_PER_PIECE = 8, 4
_HELD_BYTES = 8 * 1024
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


def save_piecewise(value: Json, options: SaveOptions) -> Iterator[bytes]:
    """See `PiecewiseSaver`. What is big is not compressed: its length stands before it, and compressing takes longer than
    making the text. Pieces are empty until that is made."""
    if count_up_to(value.root, _PLAIN_VALUES) <= _PLAIN_VALUES:
        return Pieces([b"".join(save(value, options))])
    text = _Text(value.root)
    return Pieces(_pieces(text), text.hold)


class _Text:
    """The text of a document while it is made. Once it is held, the rest is what it lacks of the text made in one go, which
    takes a tenth of the time and makes others wait for it."""

    __slots__ = ("_held", "_left", "_root", "_size")

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = text_pieces(root)
        self._size = 0
        self._held = False

    def take(self, count: int) -> list[bytes]:
        """The next pieces; [] when there are no more."""
        some = list(islice(self._left, count))
        self._size += sum(map(len, some))
        return some

    def hold(self) -> None:
        """The document is about to change."""
        if not self._held:
            self._held = True
            text = to_text(self._root)
            self._left = (text[at : at + _HELD_BYTES] for at in range(self._size, len(text), _HELD_BYTES))
            self._root = None


def _pieces(texts: _Text) -> Iterator[bytes]:
    made: list[bytes] = []
    while some := texts.take(_TEXTS_AT_ONCE):
        made += some
        yield b""
    yield b"\x07" + _HEAD + encode_length(sum(map(len, made)))
    made.reverse()
    while made:
        some = made[-_TEXTS_PER_PIECE:]
        del made[-_TEXTS_PER_PIECE:]
        some.reverse()
        yield b"".join(some)
    yield b"\x00"


ENCODING = Encoding(
    name="json", loaders={TAG_MODULE_2: load}, classes=(Json,), save=save, save_piecewise=save_piecewise
)
