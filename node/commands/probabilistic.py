"""What commands of the probabilistic types have in common. (They are a module's, even in Redis 8: group "module".)"""

from __future__ import annotations

from typing import TypeVar

from node.context import Context
from node.errors import CommandError
from node.numbers import parse_double, parse_int
from node.resp import Reply

T = TypeVar("T")

NOT_FOUND = "ERR not found"
EXISTS = "ERR item exists"


def to_read(ctx: Context, key: bytes, kind: type[T], missing: str) -> T:
    """The value at `key`. CommandError with the text `missing` when there is none, WRONGTYPE for another type."""
    found = ctx.read_as(key, kind)
    if found is None:
        raise CommandError(missing)
    return found


def to_change(ctx: Context, key: bytes, kind: type[T], missing: str) -> T:
    """Like `to_read`, for a value about to be changed in place."""
    found = ctx.write_as(key, kind)
    if found is None:
        raise CommandError(missing)
    return found


def integer_or(text: bytes, error: str, low: int, high: int = (1 << 63) - 1) -> int:
    """An integer from `low` to `high`; CommandError with the text `error` otherwise."""
    number = parse_int(text)
    if number is None or not low <= number <= high:
        raise CommandError(error)
    return number


def double_or(text: bytes, error: str) -> float:
    """A floating point number; CommandError with the text `error` otherwise."""
    number = parse_double(text)
    if number is None:
        raise CommandError(error)
    return number


def fraction_or(text: bytes, error: str) -> float:
    """A number above 0 and below 1; CommandError with the text `error` otherwise."""
    number = double_or(text, error)
    if not 0 < number < 1:
        raise CommandError(error)
    return number


def only(replies: list[Reply]) -> Reply:
    """The reply for the only item; raised when it is an error."""
    reply = replies[0]
    if isinstance(reply, CommandError):
        raise reply
    return reply


def changed(ctx: Context, event: str, key: bytes, changes: int = 1) -> None:
    """Say that `key` was changed so many times."""
    if changes:
        ctx.modified(event, key)
        ctx.dirty += changes - 1
