"""What HSCAN, SSCAN and ZSCAN have in common: options, and one page of a big collection or all of a small one."""

from __future__ import annotations

from typing import Any, NamedTuple

from node.arguments import Options, scan_count, scan_cursor, scan_pattern
from node.context import Context, T
from node.errors import SYNTAX, CommandError
from node.registry import Args

_COUNT = 10
"""How many names come when nobody says COUNT."""
_BARE = {b"NOVALUES": "HSCAN", b"NOSCORES": "ZSCAN"}
"""Options that ask for names alone, and whose they are."""


class Page(NamedTuple):
    """Names of a collection. cursor: where to go on, 0 at the end. bare: whether they were asked for alone."""

    cursor: bytes
    names: list[bytes]
    bare: bool


def begun(ctx: Context, args: Args, kind: type[T]) -> tuple[T | None, int]:
    """The collection that a request scans, None when there is none, and its cursor. CommandError for bad ones."""
    cursor = scan_cursor(args[2])
    return ctx.read_as(args[1], kind), cursor


def page(ctx: Context, args: Args, cursor: int, source: dict[bytes, Any] | list[bytes]) -> Page:
    """The names that a request asks for. source: a list comes as a whole, a dict in pages; it is not changed."""
    matches, count, bare = None, _COUNT, False
    options = Options(args, 3)
    for word in options:
        if word == b"COUNT":
            count = scan_count(options.value())
        elif word == b"MATCH":
            matches = scan_pattern(options.value())
        elif word in _BARE:
            if args[0].upper() != _BARE[word].encode():
                raise CommandError(f"ERR {word.decode()} option can only be used in {_BARE[word]}")
            bare = True
        else:
            raise CommandError(SYNTAX)
    if isinstance(source, dict):
        cursor, names = ctx.database.scan_value(args[1], source, cursor, count)
    else:
        cursor, names = 0, source
    if matches is not None:
        names = [name for name in names if matches(name)]
    return Page(b"%d" % cursor, names, bare)
