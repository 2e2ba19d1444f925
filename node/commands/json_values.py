"""Commands: numbers, strings, booleans and objects in JSON documents (https://redis.io/docs/latest/commands/?group=json)."""

from __future__ import annotations

from typing import Any

from node.commands.json_common import (
    ACL,
    KEY_CHANGED,
    changed,
    existing,
    failed,
    first_of,
    matches_of,
    no_path,
    path_at,
    path_of,
    present,
    resp_number,
    selected,
    store,
    to_read,
    to_write,
    value_of,
    values_of,
    wrong_type,
)
from node.context import Context
from node.errors import CommandError, wrong_arity
from node.registry import KEY_READ, Args, Flag, Group, KeySpec
from node.resp import Reply
from node.types.json import Json, JsonError, calculated, is_number, memory_of, to_text, type_name
from node.types.json_path import Match, Path

group = Group("module")

_EACH = (
    "O(1) when path is evaluated to a single value, O(N) when path is evaluated to multiple values, where N is the size"
    " of the key"
)
_NUMBERS = (int, float)


@group.command(
    "JSON.TYPE key [path]",
    arity=-2,
    flags=Flag.READONLY,
    keys=KEY_READ,
    acl=ACL,
    since="1.0.0",
    summary="Report the type of JSON value at path.",
    complexity=_EACH,
)
def json_type(ctx: Context, args: Args) -> Reply:
    document, path = to_read(ctx, args[1]), path_at(args, 2)
    reply: Reply = None
    if document is not None:
        names = [type_name(value).encode() for value in values_of(document, path)]
        reply = names if not path.legacy else names[0] if names else None
    return [reply] if ctx.client.resp == 3 else reply


# Numbers --------------------------------------------------------------------------------------------------------------


def _calculate(ctx: Context, args: Args, event: str, multiplies: bool) -> Reply:
    """JSON.NUMINCRBY and JSON.NUMMULTBY: all numbers that the path finds, or none when one has no result."""
    key, path = args[1], path_of(args[2])
    document = existing(to_write(ctx, key))
    in_resp3 = ctx.client.resp == 3
    if path.legacy and not in_resp3:
        targets = selected(document, path, _NUMBERS, "does not contains a number")
    else:
        every = Path(path.original, path.text, legacy=False) if path.legacy else path
        targets = selected(document, every, _NUMBERS, "")
    numbers = [match for match in targets if match is not None]
    results = iter(_calculated(document, numbers, args[3], multiplies))
    if numbers:
        ctx.modified(event, key)
    replies = [None if match is None else next(results) for match in targets]
    if in_resp3:
        return [None if number is None else resp_number(number) for number in replies]
    return to_text(replies[-1] if path.legacy else replies)


def _calculated(document: Json, numbers: list[Match], text: bytes, multiplies: bool) -> list[int | float]:
    """Replace numbers by their sums or products, and return these. On an error all are as they were."""
    if not numbers:
        return []
    operand = value_of(text)
    if not is_number(operand):
        raise CommandError("ERR bad input number")
    results = []
    try:
        for match in numbers:
            result = calculated(present(document, match), operand, multiplies)
            store(document, match, result)
            results.append(result)
    except JsonError as error:
        for match in numbers:
            store(document, match, match.value)
        raise failed(error) from None
    return results


@group.command(
    "JSON.NUMINCRBY key path value",
    arity=4,
    flags=Flag.WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="1.0.0",
    summary="Increment the number value stored at path by number.",
    complexity=_EACH,
)
def json_numincrby(ctx: Context, args: Args) -> Reply:
    return _calculate(ctx, args, "json.numincrby", multiplies=False)


@group.command(
    "JSON.NUMMULTBY key path value",
    arity=4,
    flags=Flag.WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="1.0.0",
    summary="Multiply the number value stored at path by number.",
    complexity=_EACH,
)
def json_nummultby(ctx: Context, args: Args) -> Reply:
    return _calculate(ctx, args, "json.nummultby", multiplies=True)


# Booleans -------------------------------------------------------------------------------------------------------------


@group.command(
    "JSON.TOGGLE key path",
    arity=3,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KEY_CHANGED,
    acl=ACL,
    since="2.0.0",
    summary="Toggle the boolean value stored at path.",
    complexity=_EACH,
)
def json_toggle(ctx: Context, args: Args) -> Reply:
    path = path_of(args[2])
    document = existing(to_write(ctx, args[1]))

    def toggle(match: Match) -> Reply:
        value = not present(document, match)
        store(document, match, value)
        return to_text(value) if path.legacy else int(value)

    return changed(ctx, args[1], "json.toggle", path, selected(document, path, (bool,), "not a bool"), toggle)


# Strings --------------------------------------------------------------------------------------------------------------


@group.command(
    "JSON.STRAPPEND key [path] value",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KEY_CHANGED,
    acl=ACL,
    since="1.0.0",
    summary="Append the json-string values to the string at path.",
    complexity=_EACH,
)
def json_strappend(ctx: Context, args: Args) -> Reply:
    path, text = path_at(args[:-1], 2), args[3] if len(args) > 3 else args[2]
    document = existing(to_write(ctx, args[1]))
    targets = selected(document, path, (str,), "not a string")
    addition = value_of(text) if any(targets) else ""
    if type(addition) is not str:
        shown = text.decode("utf-8", "surrogateescape")
        raise CommandError(f"WRONGTYPE wrong type of path value - expected string but found {shown}")

    def append(match: Match) -> int:
        value = present(document, match) + addition
        store(document, match, value)
        return len(value.encode())

    return changed(ctx, args[1], "json.strappend", path, targets, append)


@group.command(
    "JSON.STRLEN key [path]",
    arity=-2,
    flags=Flag.READONLY,
    keys=KEY_READ,
    acl=ACL,
    since="1.0.0",
    summary="Report the length of the JSON String at path in key.",
    complexity=_EACH,
)
def json_strlen(ctx: Context, args: Args) -> Reply:
    document, path = to_read(ctx, args[1]), path_at(args, 2)
    if not path.legacy:
        return [_length(value) if type(value) is str else None for value in values_of(existing(document), path)]
    if document is None:
        return None
    value = first_of(document, path)
    if type(value) is not str:
        raise wrong_type("string", value)
    return _length(value)


def _length(text: str) -> int:
    """In bytes of UTF-8, as RedisJSON counts."""
    return len(text) if text.isascii() else len(text.encode())


# Objects --------------------------------------------------------------------------------------------------------------


@group.command(
    "JSON.OBJKEYS key [path]",
    arity=-2,
    flags=Flag.READONLY,
    keys=KEY_READ,
    acl=ACL,
    since="1.0.0",
    summary="Return the keys in the object that's referenced by path.",
    complexity=_EACH,
)
def json_objkeys(ctx: Context, args: Args) -> Reply:
    document, path = to_read(ctx, args[1]), path_at(args, 2)
    if not path.legacy:
        return [_names(value) if type(value) is dict else None for value in values_of(existing(document), path)]
    matches = matches_of(document, path) if document is not None else []
    if not matches:
        return None
    if type(matches[0].value) is not dict:
        raise no_path(path, "not an object")
    return _names(matches[0].value)


def _names(value: dict[str, Any]) -> list[bytes]:
    return [name.encode() for name in value]


@group.command(
    "JSON.OBJLEN key [path]",
    arity=-2,
    flags=Flag.READONLY,
    keys=KEY_READ,
    acl=ACL,
    since="1.0.0",
    summary="Report the number of keys in the JSON object at path in key.",
    complexity=_EACH,
)
def json_objlen(ctx: Context, args: Args) -> Reply:
    document, path = to_read(ctx, args[1]), path_at(args, 2)
    if not path.legacy:
        if document is None:
            raise no_path(path, "not an object")
        return [len(value) if type(value) is dict else None for value in values_of(document, path)]
    matches = matches_of(document, path) if document is not None else []
    if not matches:
        return None
    if type(matches[0].value) is not dict:
        raise wrong_type("object", matches[0].value)
    return len(matches[0].value)


# Debugging ------------------------------------------------------------------------------------------------------------


def _debugged_key(args: Args) -> list[int]:
    return [2] if len(args) > 2 and args[1].upper() == b"MEMORY" else []


@group.command(
    "JSON.DEBUG <MEMORY key [path] | HELP>",
    arity=-2,
    flags=Flag.READONLY,
    keys=(KeySpec("RO", begin=2),),
    find_keys=_debugged_key,
    acl=ACL,
    since="1.0.0",
    summary="This is a container command for debugging related tasks.",
    complexity="O(N) where N is the size of the JSON",
)
def json_debug(ctx: Context, args: Args) -> Reply:
    word = args[1].upper()
    if word == b"HELP":
        return [b"MEMORY <key> [path] - reports memory usage", b"HELP                - this message"]
    if word != b"MEMORY":
        raise CommandError("ERR unknown subcommand - try `JSON.DEBUG HELP`")
    if len(args) < 3:
        raise wrong_arity("json.debug")
    document, path = to_read(ctx, args[2]), path_at(args, 3)
    if document is None:
        return 0 if path.legacy else []
    if path.legacy:
        return memory_of(first_of(document, path))
    return [memory_of(value) for value in values_of(document, path)]
