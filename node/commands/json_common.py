"""What the JSON commands have in common: finding documents and values in them, and the two ways to answer.

A path that begins with `$` may find many values: the reply is an array with an entry for each, null for those of the
wrong type. An older path (".a.b") means one value: the reply is that of the value, or an error. Where an older path
finds several, a command changes all of them and answers for the last.

Events have the names of RedisJSON ("json.set"); the texts of errors are those of Redis 8.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.context import Context
from node.errors import STRING_TOO_LONG, CommandError
from node.numbers import LLONG_MAX, LLONG_MIN, parse_int
from node.registry import KeySpec
from node.resp import Reply
from node.types import json_path
from node.types.json import DOCUMENT_DEPTH_MAX, TOO_DEEP, Json, JsonError, depth_of, parse, type_name
from node.types.json_path import Match, Path, PathError, Query

ACL = ("json",)
KEY_CHANGED = (KeySpec("RW access update"),)

NOT_JSON = "Existing key has wrong Redis type"
NO_DOCUMENT = "ERR could not perform this operation on a key that doesn't exist"
NEW_NOT_AT_ROOT = "ERR new objects must be created at the root"

SIZE_MAX = 512 << 20
"""How many bytes of JSON one request may put into places, or have made of spaces: a path multiplies both."""

Step = Callable[[Match], Reply]


def _document(value: object) -> Json | None:
    if value is None or type(value) is Json:
        return value
    raise CommandError(NOT_JSON)


def to_read(ctx: Context, key: bytes) -> Json | None:
    """The document at `key`; None when there is none. CommandError for a value of another type."""
    return _document(ctx.read(key))


def to_write(ctx: Context, key: bytes) -> Json | None:
    """Likewise, about to be changed in place."""
    return _document(ctx.write(key))


def existing(document: Json | None) -> Json:
    """The document, or CommandError for none."""
    if document is None:
        raise CommandError(NO_DOCUMENT)
    return document


def value_of(text: bytes) -> Any:
    """An argument that is JSON. CommandError when it is not."""
    try:
        return parse(text)
    except JsonError as error:
        raise failed(error) from None


def failed(error: JsonError | PathError) -> CommandError:
    """What a client is told of it."""
    return CommandError(f"ERR {error.text}")


def path_of(argument: bytes) -> Path:
    """An argument that is a path. CommandError when it is not UTF-8."""
    try:
        return json_path.path_of(argument)
    except PathError as error:
        raise failed(error) from None


def path_at(args: list[bytes], position: int) -> Path:
    """The path at this position, or the root where the request has none."""
    return path_of(args[position]) if len(args) > position else json_path.ROOT


def query_of(path: Path) -> Query:
    """The path compiled. CommandError when it is none."""
    try:
        return path.query()
    except PathError as error:
        raise failed(error) from None


def matches_of(document: Json, path: Path) -> list[Match]:
    """All values that the path finds. CommandError when it is no path, or visits too many values."""
    try:
        return path.query().matches(document.root)
    except PathError as error:
        raise failed(error) from None


def values_of(document: Json, path: Path) -> list[Any]:
    """Likewise, without their places."""
    return [match.value for match in matches_of(document, path)]


def first_of(document: Json, path: Path) -> Any:
    """The first value that the path finds. CommandError when it finds none."""
    found = matches_of(document, path)
    if not found:
        raise no_path(path)
    return found[0].value


def no_path(path: Path, otherwise: str = "") -> CommandError:
    """The path finds nothing; `otherwise`: or nothing of the right type."""
    return CommandError(f"ERR Path '{path.text}' does not exist{otherwise and ' or ' + otherwise}")


def wrong_type(expected: str, found: Any) -> CommandError:
    """The value found is of another type."""
    return CommandError(f"WRONGTYPE wrong type of path value - expected {expected} but found {type_name(found)}")


def index_of(argument: bytes) -> int:
    """An integer argument. CommandError when it is none."""
    number = parse_int(argument)
    if number is None:
        raise CommandError("ERR Couldn't parse as integer")
    return number


def check_depth(matches: list[Match], values: list[Any], below: int = 0) -> None:
    """CommandError when putting one of `values` at a match, or `below` levels under it, nests too deep."""
    depth = below + max(map(depth_of, values)) + max((len(match.location()) for match in matches), default=0)
    if depth > DOCUMENT_DEPTH_MAX:
        raise CommandError(f"ERR {TOO_DEEP}")


def check_size(count: int, size: int) -> None:
    """CommandError when so many texts of so many bytes, made by one small request, are more than any string may be."""
    if count * size > SIZE_MAX:
        raise CommandError(STRING_TOO_LONG)


def resp_number(value: int | float) -> int | float:
    """A number as a reply: an integer beyond 64 bits with a sign has no other form than a float."""
    return value if type(value) is float or LLONG_MIN <= value <= LLONG_MAX else float(value)


# Both ways to answer --------------------------------------------------------------------------------------------------


def selected(document: Json, path: Path, kinds: tuple[type, ...], otherwise: str) -> list[Match | None]:
    """What to work on: for `$` an entry for each match, None for one of another type; else matches of the type alone.

    CommandError when the path is an older one and there are none; `otherwise` is what the error says of the type.
    """
    found = matches_of(document, path)
    if not path.legacy:
        return [match if type(match.value) in kinds else None for match in found]
    fitting: list[Match | None] = [match for match in found if type(match.value) in kinds]
    if not fitting:
        raise no_path(path, otherwise)
    return fitting


def changed(ctx: Context, key: bytes, event: str, path: Path, targets: list[Match | None], change: Step) -> Reply:
    """Change all targets and answer for them; told as `event` when there was any."""
    replies = [None if match is None else change(match) for match in targets]
    if any(match is not None for match in targets):
        ctx.modified(event, key)
    return replies[-1] if path.legacy else replies


def present(document: Json, match: Match) -> Any:
    """The value at the place of a match now. The values above it must not have been replaced since."""
    return document.root if match.parent is None else match.parent.value[match.key]


def store(document: Json, match: Match, value: Any) -> None:
    """Replace the value at the place of a match. The values above it must not have been replaced since."""
    if match.parent is None:
        document.root = value
    else:
        match.parent.value[match.key] = value
