"""Commands: JSON documents as a whole and by path (https://redis.io/docs/latest/commands/?group=json)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from node.commands.json_common import (
    ACL,
    KEY_CHANGED,
    NEW_NOT_AT_ROOT,
    check_size,
    existing,
    first_of,
    matches_of,
    no_path,
    path_at,
    path_of,
    query_of,
    resp_number,
    to_read,
    to_write,
    value_of,
    values_of,
)
from node.context import Context
from node.errors import SYNTAX, CommandError, wrong_arity
from node.registry import KEY_READ, Args, Flag, Group, KeySpec
from node.resp import OK, Reply
from node.types.json import (
    DOCUMENT_DEPTH_MAX,
    TOO_DEEP,
    Json,
    copied,
    count_of,
    depth_of,
    merged,
    to_spaced_text,
    to_text,
)
from node.types.json_path import ROOT, Match, Path, PathError

group = Group("module")

_WRITE = Flag.WRITE | Flag.DENYOOM
_FORMATS_IN = (b"STRING", b"JSON")
_FLOAT_ARRAYS = (b"BF16", b"FP16", b"FP32", b"FP64")
_WRONG_REPLY_FORMAT = "ERR wrong reply format"
_NO_FORMAT_IN_RESP2 = "ERR FORMAT argument is not supported on RESP2"

Location = tuple[str | int, ...]
_ROOT_PLACE: list[tuple[Location, bool]] = [((), False)]


# Places in a document -------------------------------------------------------------------------------------------------


def _places(document: Json, path: Path, replaces: bool = True) -> list[tuple[Location, bool]]:
    """Where JSON.SET puts a value: places that are there (False) or one new member of an object (True).

    replaces: whether values that are there may be replaced. CommandError when nothing is found and the path does not
    say exactly one place.
    """
    query = query_of(path)
    if replaces:
        found = matches_of(document, path)
        if found:
            return [(match.location(), False) for match in found]
    if query.fixed is None:
        raise CommandError("ERR wrong static path")
    if not query.fixed:
        return []
    name = query.fixed[-1]
    if type(name) is int:
        if not query.matches(document.root):
            raise CommandError("ERR array index out of range")
        return []
    return [((*match.location(), name), True) for match in query.of_parent().matches(document.root)]


def _check(places: list[tuple[Location, bool]], value: Any, text: bytes) -> None:
    """CommandError when the value does not fit there: it would nest too deep, or be copied too often."""
    check_size(len(places), len(text))
    if places and max(len(place) for place, _ in places) + depth_of(value) > DOCUMENT_DEPTH_MAX:
        raise CommandError(f"ERR {TOO_DEEP}")


def _holder(document: Json, place: Location) -> Any:
    """What holds the place now, None when what led to it is gone."""
    holder = document.root
    for key in place[:-1]:
        if not _holds(holder, key):
            return None
        holder = holder[key]
    return holder


def _holds(holder: Any, key: str | int) -> bool:
    if type(holder) is dict:
        return key in holder
    return type(holder) is list and type(key) is int and key < len(holder)


def _put(document: Json, places: list[tuple[Location, bool]], value: Any, merges: bool = False) -> bool:
    """Put a copy of the value at all places. A place that an earlier one took away is passed over.

    Whether anything was put.
    """
    done = False
    for number, (place, is_new) in enumerate(places):
        own = copied(value) if number < len(places) - 1 else value
        if not place:
            document.root = merged(document.root, own) if merges else own
            done = True
            continue
        holder, key = _holder(document, place), place[-1]
        if is_new:
            if type(holder) is dict and key not in holder:
                holder[key] = own
                done = True
        elif _holds(holder, key):
            holder[key] = merged(holder[key], own) if merges else own
            done = True
    return done


# Writing --------------------------------------------------------------------------------------------------------------


@group.command(
    "JSON.SET key path value [NX | XX] [FORMAT format] [FPHA type]",
    arity=-4,
    flags=_WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="1.0.0",
    summary="Set the JSON value at path in key.",
    complexity="O(M+N) where M is the size of the original value (if it exists) and N is the size of the new value",
)
def json_set(ctx: Context, args: Args) -> Reply:
    key, path = args[1], path_of(args[2])
    condition = _set_options(args)
    document = to_write(ctx, key)
    value = value_of(args[3])
    if document is None:
        if condition == b"XX":
            return None
        if not path.is_root:
            raise CommandError(NEW_NOT_AT_ROOT)
        ctx.set(key, Json(value))
    elif path.is_root:
        if condition == b"NX":
            return None
        document.root = value
    else:
        nothing_there = condition == b"XX" and not matches_of(document, path)
        places = [] if nothing_there else _places(document, path, replaces=condition != b"NX")
        _check(places, value, args[3])
        if not _put(document, places, value):
            return None
    ctx.modified("json.set", key)
    return OK


def _set_options(args: Args) -> bytes:
    """NX, XX or "". FPHA, how Redis 8.8 keeps arrays of floats in memory, changes nothing here."""
    condition = b""
    rest = iter(args[4:])
    for word in rest:
        word = word.upper()
        if word in (b"NX", b"XX") and not condition:
            condition = word
        elif word == b"FORMAT":
            if next(rest, b"") not in _FORMATS_IN:
                raise CommandError("ERR wrong format")
        elif word != b"FPHA" or next(rest, b"").upper() not in _FLOAT_ARRAYS:
            raise CommandError(SYNTAX)
    return condition


@group.command(
    "JSON.MSET key path value [key path value ...]",
    arity=-4,
    flags=_WRITE,
    keys=(KeySpec("RW update", last=-1, step=3),),
    acl=ACL,
    since="2.6.0",
    summary="Set or update one or more JSON values according to the specified key-path-value triplets.",
    complexity="O(K*(M+N)) where k is the number of keys in the command, when path is evaluated to a single value where"
    " M is the size of the original value (if it exists) and N is the size of the new value",
)
def json_mset(ctx: Context, args: Args) -> Reply:
    if (len(args) - 1) % 3:
        raise wrong_arity("json.mset")
    tasks: list[tuple[bytes, list[tuple[Location, bool]] | None, Any]] = []
    for at in range(1, len(args), 3):
        document, path = to_write(ctx, args[at]), path_of(args[at + 1])
        places = None
        if not path.is_root:
            if document is None:
                raise CommandError(NEW_NOT_AT_ROOT)
            places = _places(document, path)
        value = value_of(args[at + 2])
        _check(places or [], value, args[at + 2])
        tasks.append((args[at], places, value))
    for key, places, value in tasks:
        document = to_write(ctx, key)
        if document is None:
            ctx.set(key, Json(value))
        elif places is None:
            document.root = value
        elif not _put(document, places, value):
            continue
        ctx.modified("json.mset", key)
    return OK


@group.command(
    "JSON.MERGE key path value",
    arity=-4,
    flags=_WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="2.6.0",
    summary="Merge a given JSON value into matching paths.",
    complexity="O(M+N) when path is evaluated to a single value where M is the size of the original value (if it"
    " exists) and N is the size of the new value",
)
def json_merge(ctx: Context, args: Args) -> Reply:
    key, path = args[1], path_of(args[2])
    if len(args) > 4 and (len(args) != 6 or args[4].upper() != b"FORMAT" or args[5] not in _FORMATS_IN):
        raise CommandError(SYNTAX)
    document = to_write(ctx, key)
    value = value_of(args[3])
    if document is None:
        if not path.is_root:
            raise CommandError(NEW_NOT_AT_ROOT)
        ctx.set(key, Json(value))
    else:
        places = _ROOT_PLACE if path.is_root else _places(document, path)
        _check(places, value, args[3])
        if not _put(document, places, value, merges=True):
            return None
    ctx.modified("json.merge", key)
    return OK


_DELETION: dict[str, Any] = {
    "arity": -2,
    "flags": Flag.WRITE,
    "keys": (KeySpec("RW delete"),),
    "acl": ACL,
    "since": "1.0.0",
    "summary": "Delete a value.",
    "complexity": "O(N) when path is evaluated to a single value where N is the size of the deleted value, O(N) when"
    " path is evaluated to multiple values, where N is the size of the key",
}


@group.command("JSON.DEL key [path]", **_DELETION)
@group.command("JSON.FORGET key [path]", **_DELETION)
def json_del(ctx: Context, args: Args) -> Reply:
    key, path = args[1], path_at(args, 2)
    document = to_write(ctx, key)
    if document is None:
        return 0
    if path.is_root:
        ctx.discard(key)
        ctx.modified("json.del", key)
        return 1
    deleted = _delete(matches_of(document, path))
    if deleted:
        ctx.modified("json.del", key)
    return deleted


def _delete(matches: list[Match]) -> int:
    """Take the values out of what they are in. How many there were: those inside of others are not counted."""
    places = {(id(match.parent.value), match.key): match for match in matches if match.parent is not None}
    leaving: dict[int, tuple[Any, set[str | int]]] = {}
    deleted = 0
    for (holder, key), match in places.items():
        above = match.parent
        while above is not None and above.parent is not None and (id(above.parent.value), above.key) not in places:
            above = above.parent
        if above is not None and above.parent is None:
            leaving.setdefault(holder, (match.parent.value, set()))[1].add(key)  # type: ignore[union-attr]
            deleted += 1
    for value, keys in leaving.values():
        if type(value) is list:
            value[:] = [part for at, part in enumerate(value) if at not in keys]
        else:
            for key in keys:
                del value[key]
    return deleted


@group.command(
    "JSON.CLEAR key [path]",
    arity=-2,
    flags=Flag.WRITE,
    keys=KEY_CHANGED,
    acl=ACL,
    since="2.0.0",
    summary="Clear container values (arrays/objects) and set numeric values to 0.",
    complexity="O(N) when path is evaluated to a single value where N is the size of the values, O(N) when path is"
    " evaluated to multiple values, where N is the size of the key",
)
def json_clear(ctx: Context, args: Args) -> Reply:
    document = existing(to_write(ctx, args[1]))
    cleared = 0
    for match in matches_of(document, path_at(args, 2)):
        value, place = match.value, match.location()
        if not value or type(value) in (bool, str):
            continue
        holder: Any = _holder(document, place) if place else None
        if place and not _holds(holder, place[-1]):
            continue  # what it was in has been cleared
        if type(value) in (dict, list):
            value.clear()
        elif place:
            holder[place[-1]] = 0
        else:
            document.root = 0
        cleared += 1
    if cleared:
        ctx.modified("json.clear", args[1])
    return cleared


# Reading --------------------------------------------------------------------------------------------------------------


class _Form:
    """How JSON.GET answers: the strings between values, and the format asked for in RESP3."""

    def __init__(self) -> None:
        self.format = b"STRING"
        self.between = {b"INDENT": b"", b"NEWLINE": b"", b"SPACE": b""}

    def text(self, value: Any) -> bytes:
        indent, newline, space = self.between.values()
        if not (indent or newline or space):
            return to_text(value)
        check_size(count_of(value), len(newline) + len(space) + len(indent) * depth_of(value))
        return to_spaced_text(value, indent, newline, space)

    def native(self, value: Any) -> Reply:
        """A value in RESP3; unless all is to be expanded, strings, arrays and objects stay JSON."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return resp_number(value)
        if self.format != b"EXPAND":
            return self.text(value)
        if kind is str:
            return value.encode()
        if kind is list:
            return [self.native(part) for part in value]
        return {name.encode(): self.native(part) for name, part in value.items()}


@group.command(
    "JSON.GET key [INDENT indent] [NEWLINE newline] [SPACE space] [FORMAT format] [path [path ...]]",
    arity=-2,
    flags=Flag.READONLY,
    keys=KEY_READ,
    acl=ACL,
    since="1.0.0",
    summary="Get JSON value at path.",
    complexity="O(N) where N is the size of the JSON",
)
def json_get(ctx: Context, args: Args) -> Reply:
    form, paths = _get_options(ctx, args)
    document = to_read(ctx, args[1])
    if document is None:
        return None
    if form.format != b"STRING":
        return [[form.native(value) for value in _lenient(document, path) or ()] for path in paths]
    legacy = all(path.legacy for path in paths)
    if len(paths) == 1:
        return form.text(first_of(document, paths[0]) if legacy else values_of(document, paths[0]))
    found = {path: _lenient(document, path) for path in paths}
    if not legacy:
        return form.text({path.original: values for path, values in found.items() if values is not None})
    missing = next((path for path, values in found.items() if values == []), None)
    if missing is not None:
        raise no_path(Path(missing.original, missing.original, legacy=True))
    return form.text({path.original: values[0] for path, values in found.items() if values})


def _lenient(document: Json, path: Path) -> list[Any] | None:
    """What a path finds that is one of several: None, not an error, when it is no path."""
    try:
        return path.query().values(document.root)
    except PathError:
        return None


def _get_options(ctx: Context, args: Args) -> tuple[_Form, list[Path]]:
    form = _Form()
    paths: list[Path] = []
    rest = iter(args[2:])
    for word in rest:
        upper = word.upper() if len(word) <= 8 else b""
        if upper in form.between or upper == b"FORMAT":
            value = next(rest, None)
            if value is None:
                raise wrong_arity("json.get")
            if upper == b"FORMAT":
                form.format = reply_format(ctx, value, (b"STRING", b"JSON", b"EXPAND1", b"EXPAND"))
            else:
                form.between[upper] = value
        elif upper != b"NOESCAPE":
            paths.append(path_of(word))
    return form, paths or [ROOT]


def reply_format(ctx: Context, word: bytes, known: Iterable[bytes]) -> bytes:
    """The format that a client of RESP3 asks for. CommandError when there is none of that name, and in RESP2."""
    if ctx.client.resp < 3:
        raise CommandError(_NO_FORMAT_IN_RESP2)
    if word not in known:
        raise CommandError(_WRONG_REPLY_FORMAT)
    return word


def native(value: Any, format: bytes) -> Reply:
    """A value as a RESP3 client gets it in EXPAND or EXPAND1."""
    form = _Form()
    form.format = format
    return form.native(value)


@group.command(
    "JSON.MGET key [key ...] path",
    arity=-3,
    flags=Flag.READONLY,
    keys=(KeySpec("RO access", last=-2),),
    acl=ACL,
    since="1.0.0",
    summary="Return the values at path from multiple key arguments.",
    complexity="O(M*N) when path is evaluated to a single value where M is the number of keys and N is the size of the"
    " value, O(N1+N2+...+Nm) when path is evaluated to multiple values where m is the number of keys and Ni is the size"
    " of the i-th key",
    hints=("request_policy:multi_shard",),
)
def json_mget(ctx: Context, args: Args) -> Reply:
    path = path_of(args[-1])
    replies: list[bytes | None] = []
    for key in args[1:-1]:
        document = ctx.read(key)
        values = _lenient(document, path) if type(document) is Json else None
        if values is None or (path.legacy and not values):
            replies.append(None)
        else:
            replies.append(to_text(values[0] if path.legacy else values))
    return replies


@group.command(
    "JSON.RESP key [path]",
    arity=-2,
    flags=Flag.READONLY,
    keys=KEY_READ,
    acl=ACL,
    since="1.0.0",
    summary="Return the JSON in key in Redis serialization protocol specification form.",
    complexity="O(N) when path is evaluated to a single value, where N is the size of the value, O(N) when path is"
    " evaluated to multiple values, where N is the size of the key",
)
def json_resp(ctx: Context, args: Args) -> Reply:
    document, path = to_read(ctx, args[1]), path_at(args, 2)
    if document is None:
        return None
    return _in_resp(first_of(document, path)) if path.legacy else [_in_resp(one) for one in values_of(document, path)]


def _in_resp(value: Any) -> Reply:
    kind = type(value)
    if value is None:
        return None
    if kind is bool:
        return "true" if value else "false"
    if kind is str:
        return value.encode()
    if kind is list:
        return ["[", *map(_in_resp, value)]
    if kind is dict:
        return ["{", *chain.from_iterable((name.encode(), _in_resp(part)) for name, part in value.items())]
    return resp_number(value)
