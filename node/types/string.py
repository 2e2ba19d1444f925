"""Strings: `bytes`, `int` when that is the canonical decimal form of 64 bits, `bytearray` once changed in place.

The three are the encodings of Redis in other words (embstr and raw, int, raw), and OBJECT ENCODING answers so.
"""

from __future__ import annotations

from node.numbers import parse_int

StringValue = bytes | int | bytearray

STRING_TYPES = frozenset((bytes, int, bytearray))
"""`type(value) in STRING_TYPES`: whether the value of a key is a string."""

_EMBEDDED_MAX = 44
_INTEGER_DIGITS_MAX = 20
ABOVE_DIGITS = b":"
"""A text that is greater begins with no digit and no minus sign: the quickest way to see that it is no number."""


def compact(text: bytes) -> bytes | int:
    """A string as it is stored when it is set whole."""
    if len(text) <= _INTEGER_DIGITS_MAX and text < ABOVE_DIGITS:
        number = parse_int(text)
        return text if number is None else number
    return text


def text_of(value: StringValue) -> bytes:
    """The string's bytes, never shared with a value that changes in place."""
    return b"%d" % value if type(value) is int else bytes(value)


def buffer_of(value: StringValue) -> bytearray:
    """The string to change in place: itself if it is one already."""
    if type(value) is bytearray:
        return value
    return bytearray(text_of(value))


def size_of(value: StringValue) -> int:
    """The string's length in bytes."""
    return len(str(value)) if type(value) is int else len(value)  # type: ignore[arg-type]


def integer_of(value: StringValue) -> int | None:
    """The string as a signed 64-bit integer; None when it is not the canonical form of one."""
    if type(value) is int:
        return value
    return parse_int(bytes(value)) if len(value) <= _INTEGER_DIGITS_MAX else None  # type: ignore[arg-type]


def encoding(value: StringValue) -> str:
    """What OBJECT ENCODING calls it."""
    if type(value) is int:
        return "int"
    return "embstr" if type(value) is bytes and len(value) <= _EMBEDDED_MAX else "raw"


def copy(value: StringValue) -> StringValue:
    """An equal string that does not change with this one."""
    return bytearray(value) if type(value) is bytearray else value
