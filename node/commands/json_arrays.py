"""Commands: arrays in JSON documents (https://redis.io/docs/latest/commands/?group=json)."""

from __future__ import annotations

from typing import Any

from node.commands.json import native, reply_format
from node.commands.json_common import (
    ACL,
    KEY_CHANGED,
    changed,
    check_depth,
    check_size,
    existing,
    first_of,
    index_of,
    matches_of,
    no_path,
    path_at,
    path_of,
    selected,
    to_read,
    to_write,
    value_of,
    values_of,
    wrong_type,
)
from node.context import Context
from node.errors import CommandError, wrong_arity
from node.numbers import LLONG_MAX, parse_int
from node.registry import KEY_READ, Args, Flag, Group
from node.resp import Reply
from node.types.json import Json, copied, same, to_text
from node.types.json_path import ROOT, Match, Path

group = Group("module")

_WRITE = Flag.WRITE | Flag.DENYOOM
_NOT_AN_ARRAY = "not an array"
_OVER_SIZE_OF_ARRAY = (
    "O(N) when path is evaluated to a single value where N is the size of the array, O(N) when path is evaluated to"
    " multiple values, where N is the size of the key"
)


def _arrays(document: Json, path: Path) -> list[Match | None]:
    return selected(document, path, (list,), _NOT_AN_ARRAY)


@group.command(
    "JSON.ARRAPPEND key path value [value ...]",
    arity=-4,
    flags=_WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="1.0.0",
    summary="Append the JSON values into the array at path after the last element in it.",
    complexity="O(1) when path is evaluated to a single value, O(N) when path is evaluated to multiple values, where N"
    " is the size of the key",
)
def json_arrappend(ctx: Context, args: Args) -> Reply:
    path = path_of(args[2])
    values = [value_of(text) for text in args[3:]]
    document = existing(to_write(ctx, args[1]))
    targets = _arrays(document, path)
    arrays = [match for match in targets if match]
    check_depth(arrays, values, below=1)
    check_size(len(arrays), sum(map(len, args[3:])))

    def append(match: Match) -> int:
        match.value.extend(map(copied, values))
        return len(match.value)

    return changed(ctx, args[1], "json.arrappend", path, targets, append)


@group.command(
    "JSON.ARRINSERT key path index value [value ...]",
    arity=-5,
    flags=_WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="1.0.0",
    summary="Insert the json values into the array at path before the index (shifts to the right).",
    complexity=_OVER_SIZE_OF_ARRAY,
)
def json_arrinsert(ctx: Context, args: Args) -> Reply:
    path, index = path_of(args[2]), index_of(args[3])
    values = [value_of(text) for text in args[4:]]
    document = existing(to_write(ctx, args[1]))
    targets = _arrays(document, path)
    arrays = [match for match in targets if match]
    if any(not -len(match.value) <= index <= len(match.value) for match in arrays):
        raise CommandError("ERR index out of bounds")
    check_depth(arrays, values, below=1)
    check_size(len(arrays), sum(map(len, args[4:])))

    def insert(match: Match) -> int:
        at = index if index >= 0 else len(match.value) + index
        match.value[at:at] = map(copied, values)
        return len(match.value)

    return changed(ctx, args[1], "json.arrinsert", path, targets, insert)


@group.command(
    "JSON.ARRPOP key [FORMAT format] [path [index]]",
    arity=-2,
    flags=Flag.WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="1.0.0",
    summary="Remove and return the element at the specified index in the array at path.",
    complexity="O(N) when path is evaluated to a single value where N is the size of the array and the specified index"
    " is not the last element, O(1) when path is evaluated to a single value and the specified index is the last"
    " element, or O(N) when path is evaluated to multiple values, where N is the size of the key",
)
def json_arrpop(ctx: Context, args: Args) -> Reply:
    format, rest = b"STRINGS", args[2:]
    if len(rest) > 1 and rest[0].upper() == b"FORMAT":
        format = reply_format(ctx, rest[1], (b"STRINGS", b"EXPAND1", b"EXPAND"))
        rest = rest[2:]
    path = path_of(rest[0]) if rest else ROOT
    index = parse_int(rest[1]) if len(rest) > 1 else None
    document = existing(to_write(ctx, args[1]))
    if path.legacy and format != b"STRINGS":
        raise CommandError("ERR Legacy paths are supported only with FORMAT STRINGS")
    popped = 0

    def pop(match: Match) -> Reply:
        nonlocal popped
        array = match.value
        if not array:
            return None
        popped += 1
        value = array.pop(_start(-1 if index is None else index, len(array)))
        return to_text(value) if format == b"STRINGS" else native(value, format)

    replies = [None if match is None else pop(match) for match in _arrays(document, path)]
    if popped:
        ctx.modified("json.arrpop", args[1])
        if format != b"STRINGS":
            ctx.propagate(args[0], args[1], *rest)  # replicas are told in RESP2, where there is no FORMAT
    return replies[-1] if path.legacy else replies


def _start(index: int, count: int) -> int:
    """An index from the start of an array that is not empty: what is outside is the first or the last element."""
    return max(0, count + index) if index < 0 else min(index, count - 1)


@group.command(
    "JSON.ARRTRIM key path start stop",
    arity=5,
    flags=Flag.WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="1.0.0",
    summary="Trim an array so that it contains only the specified inclusive range of elements.",
    complexity=_OVER_SIZE_OF_ARRAY,
)
def json_arrtrim(ctx: Context, args: Args) -> Reply:
    path, start, stop = path_of(args[2]), index_of(args[3]), index_of(args[4])
    document = existing(to_write(ctx, args[1]))

    def trim(match: Match) -> int:
        array, count = match.value, len(match.value)
        if start >= count:
            array.clear()
        else:
            first, last = _start(start, count), _start(stop, count)
            array[:] = array[first : last + 1]
        return len(array)

    return changed(ctx, args[1], "json.arrtrim", path, _arrays(document, path), trim)


@group.command(
    "JSON.ARRLEN key [path]",
    arity=-2,
    flags=Flag.READONLY,
    keys=KEY_READ,
    acl=ACL,
    since="1.0.0",
    summary="Report the length of the JSON array at path in key.",
    complexity="O(1) where path is evaluated to a single value, O(N) where path is evaluated to multiple values, where"
    " N is the size of the key",
)
def json_arrlen(ctx: Context, args: Args) -> Reply:
    document, path = to_read(ctx, args[1]), path_at(args, 2)
    if path.legacy:
        if document is None:
            return None
        first = next((match.value for match in matches_of(document, path)), None)
        if type(first) is not list:
            raise no_path(Path(path.original, path.original, legacy=True), _NOT_AN_ARRAY)
        return len(first)
    return [len(value) if type(value) is list else None for value in values_of(existing(document), path)]


@group.command(
    "JSON.ARRINDEX key path value [start [stop]]",
    arity=-4,
    flags=Flag.READONLY,
    keys=KEY_READ,
    acl=ACL,
    since="1.0.0",
    summary="Search for the first occurrence of a JSON value in an array.",
    complexity=_OVER_SIZE_OF_ARRAY,
)
def json_arrindex(ctx: Context, args: Args) -> Reply:
    if len(args) > 6:
        raise wrong_arity("json.arrindex")
    path = path_of(args[2])
    start = index_of(args[4]) if len(args) > 4 else 0
    stop = index_of(args[5]) if len(args) > 5 else 0
    document = to_read(ctx, args[1])
    wanted = value_of(args[3])
    if document is None:
        raise no_path(Path(path.original, path.original, legacy=True))
    if not path.legacy:
        return [_found_at(value, wanted, start, stop) for value in values_of(document, path)]
    array = first_of(document, path)
    if type(array) is not list:
        raise wrong_type("array", array)
    return _found_at(array, wanted, start, stop)


def _found_at(array: Any, wanted: Any, start: int, stop: int) -> int | None:
    """Where the value is between start and stop, stop excluded and 0 for the end: -1 for nowhere, None for no array."""
    if type(array) is not list:
        return None
    count = len(array)
    if not count:
        return -1
    end = max(0, count + stop) if stop < 0 else min(stop or LLONG_MAX, count)
    return next((at for at in range(_start(start, count), end) if same(array[at], wanted)), -1)
