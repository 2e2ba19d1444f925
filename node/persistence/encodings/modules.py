"""Values of modules' types, which the probabilistic ones are, even in Redis 8. (So is JSON: see `json.py`.)

Type tag 7, then the id of the module's type (nine characters of 6 bits and a version of 10), then the value as parts,
each with its kind in front: integers, doubles and strings, and a zero at the end. Which parts make a value is the
module's own affair. The frame is Redis's (`rdb.c`, `module.c`); the parts inside are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any

from node.persistence.encodings.base import Encoding, Loader
from node.persistence.errors import RdbError
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string

TAG_MODULE_2 = 7

Part = int | float | bytes
"""Integers are those of 64 bits, with or without a sign."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_VERSION_BITS = 10

_END, _SIGNED, _UNSIGNED, _FLOAT, _DOUBLE, _STRING = range(6)
_FLOATS = Struct("<f")
_DOUBLES = Struct("<d")
_INT64_MAX = (1 << 63) - 1

_PIECE_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class ModuleType:
    """One module's type. name: its nine characters, which TYPE answers too. version: of the parts, 0 to 1023.

    parts: of a value, in order, none of them large (see `sliced`). build: a value from parts; RdbError for wrong ones.
    """

    name: str
    version: int
    value_class: type
    parts: Callable[[Any], Iterable[Part]]
    build: Callable[[list[Part]], object]

    @property
    def number(self) -> int:
        """The id that stands in front of a value."""
        number = 0
        for letter in self.name:
            number = number << 6 | _LETTERS.index(letter)
        return number << _VERSION_BITS | self.version


def sliced(buffer: bytes | bytearray | memoryview) -> Iterator[bytes]:
    """A buffer as parts of 32 KiB, so that a value of any size is written piece by piece."""
    for at in range(0, len(buffer), _PIECE_BYTES):
        yield bytes(buffer[at : at + _PIECE_BYTES])


class PartReader:
    """The parts of a value one after the other, each of the type that is asked for; RdbError when it is not."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._at = 0

    def _next(self) -> Part:
        if self._at >= len(self._parts):
            raise RdbError("a module value has too few parts")
        self._at += 1
        return self._parts[self._at - 1]

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`."""
        part = self._next()
        if not isinstance(part, int) or not low <= part <= high:
            raise RdbError(f"a part of a module value is no integer from {low} to {high}")
        return part

    def double(self) -> float:
        """A double."""
        part = self._next()
        if not isinstance(part, float):
            raise RdbError("a part of a module value is no double")
        return part

    def text(self) -> bytes:
        """A string."""
        part = self._next()
        if not isinstance(part, bytes):
            raise RdbError("a part of a module value is no string")
        return part

    def buffer(self, size: int) -> bytearray:
        """What `sliced` took apart; `size` in bytes."""
        found = bytearray()
        while len(found) < size:
            piece = self.text()
            if not piece:
                raise RdbError("a part of a module value is empty")
            found += piece
        if len(found) != size:
            raise RdbError(f"a buffer of a module value has {len(found)} bytes instead of {size}")
        return found

    def end(self) -> None:
        """RdbError when there are more parts."""
        if self._at != len(self._parts):
            raise RdbError("a module value has too many parts")


def encode_part(part: Part, compress: bool) -> bytes:
    """One part with its kind in front."""
    if isinstance(part, bytes):
        return encode_length(_STRING) + encode_string(part, compress)
    if isinstance(part, float):
        return encode_length(_DOUBLE) + _DOUBLES.pack(part)
    if part < 0:
        return encode_length(_SIGNED) + encode_length(part + (1 << 64))
    return encode_length(_UNSIGNED) + encode_length(part)


def _read_part(kind: int, cursor: Cursor) -> Part:
    if kind == _STRING:
        return cursor.string()
    if kind == _UNSIGNED:
        return cursor.length()
    if kind == _SIGNED:
        number = cursor.length()
        return number - (1 << 64) if number > _INT64_MAX else number
    if kind == _DOUBLE:
        double: float = _DOUBLES.unpack(cursor.take(8))[0]
        return double
    if kind == _FLOAT:
        single: float = _FLOATS.unpack(cursor.take(4))[0]
        return single
    raise RdbError(f"{kind} is no kind of part of a module value")


class _Reading:
    """A value half read."""

    __slots__ = ("module", "parts")

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.parts: list[Part] = []


def encoding_of_modules(modules: Iterable[ModuleType], others: Loader) -> Encoding:
    """How values of all these types are loaded and saved. There is one tag for all of them, hence one encoding.

    others: loads the values of any other module type, from its id on.
    """
    by_number = {module.number: module for module in modules}
    by_class = {module.value_class: module for module in by_number.values()}

    def load(cursor: Cursor) -> object:
        reading = cursor.progress
        if not isinstance(reading, _Reading):
            start = cursor.pos
            number = cursor.length()
            if number not in by_number:
                cursor.pos = start
                return others(cursor)
            reading = cursor.progress = _Reading(by_number[number])
            cursor.commit()
        while (kind := cursor.length()) != _END:
            reading.parts.append(_read_part(kind, cursor))
            cursor.commit()
        return reading.module.build(reading.parts)

    def pieces(value: Any, options: SaveOptions) -> Iterator[bytes]:
        module = by_class[type(value)]
        yield bytes((TAG_MODULE_2,)) + encode_length(module.number)
        gathered: list[bytes] = []
        size = 0
        for part in module.parts(value):
            encoded = encode_part(part, options.compress)
            gathered.append(encoded)
            size += len(encoded)
            if size >= _PIECE_BYTES:
                yield b"".join(gathered)
                gathered = []
                size = 0
        yield b"".join(gathered) + encode_length(_END)

    def save(value: Any, options: SaveOptions) -> tuple[bytes, bytes]:
        whole = b"".join(pieces(value, options))
        return whole[:1], whole[1:]

    return Encoding("module value", {TAG_MODULE_2: load}, tuple(by_class), save, pieces)
