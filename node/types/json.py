"""JSON documents: Python's own values, parsed and written by orjson, which is loaded when the first document is met.

Numbers keep their kind: 3 is an integer and 3.0 is not. Integers have 64 bits, signed or not; what is beyond that is a
float, as in RedisJSON. A text may nest 128 deep, which is RedisJSON's limit
(https://redis.io/docs/latest/develop/data-types/json/), and a document that grows by insertion `DOCUMENT_DEPTH_MAX`,
which is what orjson still writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

from node.numbers import LLONG_MAX, LLONG_MIN

TEXT_DEPTH_MAX = 128
"""How deep arrays and objects may nest in a text that a client sends."""

DOCUMENT_DEPTH_MAX = 240
"""How deep a document may get. orjson writes 254 levels; a reply may put two more around a document."""

TOO_DEEP = "recursion limit exceeded"

_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_CONTAINERS = frozenset((dict, list))
_PIECE_VALUES = 256
_SHALLOW_MAX = 64

_WORD = 8
"""Bytes of a pointer, in which RedisJSON's containers are counted."""
_SMALL_LOW, _SMALL_HIGH = -128, 383
_MEDIUM_MAX = 1 << 23


class JsonError(Exception):
    """A text that is no JSON, or a value that cannot be what was asked: what RedisJSON says, without a code."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Json:
    """One document: `root` is None, bool, int, float, str, list or dict of them, with str as names."""

    __slots__ = ("root",)

    def __init__(self, root: Any) -> None:
        self.root = root

    def encoding(self, limits: object) -> str:
        """What OBJECT ENCODING calls it: that of every module's type."""
        return "raw"

    def copy(self) -> Json:
        """An equal document that shares nothing that changes with this one."""
        return Json(copied(self.root))

    def parts(self) -> int:
        """How many values there are in it, containers included."""
        return count_of(self.root)


@cache
def _orjson() -> ModuleType:
    import orjson

    return orjson


def parse(text: bytes, depth_max: int = TEXT_DEPTH_MAX) -> Any:
    """The value that a text says. JsonError when it is no JSON, not UTF-8, or nests deeper than `depth_max`."""
    orjson = _orjson()
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("depth limit"):
            raise JsonError(TOO_DEEP) from None
        raise JsonError(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    if text.count(b"[") + text.count(b"{") > depth_max and depth_of(value) > depth_max:
        raise JsonError(TOO_DEEP)
    return value


def to_text(value: Any) -> bytes:
    """The value in JSON without spaces."""
    text: bytes = _orjson().dumps(value)
    return text


def to_spaced_text(value: Any, indent: bytes, newline: bytes, space: bytes) -> bytes:
    """The value in JSON with these strings before each element, behind each line, and behind each colon."""
    return _spaced(value, newline, indent, space)


def _spaced(value: Any, start: bytes, indent: bytes, space: bytes) -> bytes:
    """`start`: what begins a line at the level of this value."""
    kind = type(value)
    if kind not in _CONTAINERS or not value:
        return to_text(value)
    inner = start + indent
    if kind is list:
        return b"[%b%b]" % (b",".join([inner + _spaced(one, inner, indent, space) for one in value]), start)
    members = [
        b"%b%b:%b%b" % (inner, to_text(name), space, _spaced(one, inner, indent, space)) for name, one in value.items()
    ]
    return b"{%b%b}" % (b",".join(members), start)


def type_name(value: Any) -> str:
    """What JSON.TYPE calls it: null, boolean, integer, number, string, array or object."""
    return _NAMES[type(value)]


def parts_of(container: Any) -> Any:
    """The values in an array or object."""
    return container.values() if type(container) is dict else container


def depth_of(value: Any) -> int:
    """How deep arrays and objects nest: 0 for anything else."""
    depth = 0
    level = [value] if type(value) in _CONTAINERS else []
    while level:
        depth += 1
        level = [part for one in level for part in parts_of(one) if type(part) in _CONTAINERS]
    return depth


def count_of(value: Any) -> int:
    """How many values there are in a value, itself included."""
    count, level = 1, [value]
    while level:
        level = [part for one in level if type(one) in _CONTAINERS for part in parts_of(one)]
        count += len(level)
    return count


def count_up_to(value: Any, most: int) -> int:
    """How many values there are in a value; more than `most` for one that has more, or nests deep. O(most)."""
    level, count = [value], 1
    for _ in range(_SHALLOW_MAX):
        level = [one for one in level if type(one) in _CONTAINERS]
        count += sum(map(len, level))
        if not level or count > most:
            return count
        level = [part for one in level for part in parts_of(one)]
    return most + 1


def text_pieces(value: Any) -> Iterator[bytes]:
    """The text of `to_text` in pieces, each of them quickly made. The value must not change until the last was taken."""
    if count_up_to(value, _PIECE_VALUES) <= _PIECE_VALUES:
        yield to_text(value)
        return
    is_object = type(value) is dict
    comma = b"{" if is_object else b"["
    for some, big in _in_pieces(value):
        if some:
            yield comma + to_text(some)[1:-1]
            comma = b","
        for name, part in big:
            yield comma + (to_text(name) + b":" if is_object else b"")
            yield from text_pieces(part)
            comma = b","
    yield b"}" if is_object else b"]"


def _in_pieces(value: Any) -> Iterator[tuple[Any, list[tuple[Any, Any]]]]:
    """The parts of a container in order, in containers of some small ones, each followed by a big one or none."""
    is_object = type(value) is dict
    some: Any = {} if is_object else []
    size = 0
    for name, part in value.items() if is_object else enumerate(value):
        count = count_up_to(part, _PIECE_VALUES) if type(part) in _CONTAINERS else 1
        if count > _PIECE_VALUES:
            yield some, [(name, part)]
            some, size = type(some)(), 0
            continue
        if is_object:
            some[name] = part
        else:
            some.append(part)
        size += count
        if size >= _PIECE_VALUES:
            yield some, []
            some, size = type(some)(), 0
    yield some, []


def copied(value: Any) -> Any:
    """An equal value that shares nothing that changes with this one."""
    return _orjson().loads(to_text(value)) if type(value) in _CONTAINERS else value


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal. 3 and 3.0 are not, and neither are 1 and true."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is list:
        return len(one) == len(other) and all(map(same, one, other))
    if kind is dict:
        return len(one) == len(other) and all(name in other and same(part, other[name]) for name, part in one.items())
    return bool(one == other)


def merged(value: Any, patch: Any) -> Any:
    """What a merge patch (RFC 7396) makes of a value. Both may be changed and live on in the result."""
    if type(patch) is not dict:
        return patch
    if type(value) is not dict:
        value = {}
    for name, part in patch.items():
        if part is None:
            value.pop(name, None)
        else:
            value[name] = merged(value.get(name), part)
    return value


def is_number(value: Any) -> bool:
    """Whether it is an integer or a float, and no boolean."""
    return type(value) is int or type(value) is float


def calculated(value: int | float, operand: int | float, multiplies: bool) -> int | float:
    """The sum or product of two numbers: an integer if both are integers of 64 bits with a sign, else a float.

    JsonError when an integer does not fit 64 bits, or when the float is no finite number.
    """
    result: int | float
    if type(value) is type(operand) is int and LLONG_MIN <= value <= LLONG_MAX and LLONG_MIN <= operand <= LLONG_MAX:
        result = value * operand if multiplies else value + operand
        if not LLONG_MIN <= result <= LLONG_MAX:
            raise JsonError("numeric overflow")
        return result
    result = float(value) * float(operand) if multiplies else float(value) + float(operand)
    if not math.isfinite(result):
        raise JsonError("result is not a number")
    return result


def memory_of(value: Any) -> int:
    """What JSON.DEBUG MEMORY reports: the bytes that RedisJSON would hold the value in, without room to grow."""
    total, level = 0, [value]
    while level:
        total += sum(map(_own_memory, level))
        level = [part for one in level if type(one) in _CONTAINERS for part in parts_of(one)]
    return total


def _own_memory(value: Any) -> int:
    kind = type(value)
    if kind is str:
        return _WORD + len(value.encode())
    if kind is float:
        return 3 * _WORD
    if kind is int:
        if _SMALL_LOW <= value <= _SMALL_HIGH:
            return _WORD
        return _WORD + 4 if -_MEDIUM_MAX < value < _MEDIUM_MAX else 3 * _WORD
    if kind is list and value:
        return _WORD * (len(value) + 3)
    if kind is dict and value:
        return _WORD * (3 * len(value) + 3) + sum(len(name.encode()) for name in value)
    return _WORD
