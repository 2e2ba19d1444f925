"""What the sorted set and geo commands have in common: values, scores, bounds of ranges, replies."""

from __future__ import annotations

import re
from collections.abc import Sequence

from node.arguments import Options
from node.context import Context
from node.errors import NOT_A_FLOAT, SYNTAX, CommandError
from node.numbers import parse_double, parse_int
from node.registry import Args, KeySpec
from node.resp import Scored
from node.types.zset import LexBound, LexRange, ScoreRange, ZSet

KEYS_COUNTED = (KeySpec("RO access", begin=1, count_at=0),)
KEYS_STORED = (KeySpec("OW update"), KeySpec("RO access", begin=2, count_at=0))

_PLAIN_NUMBER = b"0123456789.-"
_PLAIN_DIGITS_MAX = 32
"""A text of these bytes alone and at most so many is read the same by Python and Redis, and cannot overflow."""
_BAD_SCORE_RANGE = "ERR min or max is not a float"
_BAD_LEX_RANGE = "ERR min or max not valid string range item"
_DECIMAL = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_SPACES = b" \t\n\v\f\r"
_LOWEST, _HIGHEST = LexBound(b"", infinite=-1), LexBound(b"", infinite=1)


# Numbers --------------------------------------------------------------------------------------------------------------


def read_score(text: bytes, error: str = NOT_A_FLOAT) -> float:
    """A score or weight: any double but NaN. CommandError with this text when it is none."""
    if len(text) <= _PLAIN_DIGITS_MAX and not text.strip(_PLAIN_NUMBER):
        try:
            return float(text)
        except ValueError:
            raise CommandError(error) from None
    score = parse_double(text)
    if score is None:
        raise CommandError(error)
    return score


def score_range(low: bytes, high: bytes) -> ScoreRange:
    """The scores between two bounds such as `1.5`, `(1.5` and `-inf`. CommandError when one is no bound."""
    without_low, without_high = low[:1] == b"(", high[:1] == b"("
    return ScoreRange(
        _bound(low[1:] if without_low else low), _bound(high[1:] if without_high else high), without_low, without_high
    )


def _bound(text: bytes) -> float:
    """A bound is read more leniently than a score (C's `strtod`): empty is 0, spaces may lead, out of range is inf."""
    text = text.partition(b"\0")[0]
    if not text:
        return 0.0
    text = text.lstrip(_SPACES)
    number = parse_double(text)
    if number is not None:
        return number
    if _DECIMAL.match(text):
        return float(text)
    raise CommandError(_BAD_SCORE_RANGE)


def lex_range(low: bytes, high: bytes) -> LexRange:
    """The members between two bounds such as `[a`, `(b`, `-` and `+`. CommandError when one is no bound."""
    return LexRange(_lex_bound(low), _lex_bound(high))


def _lex_bound(text: bytes) -> LexBound:
    first = text[:1]
    if first == b"[":
        return LexBound(text[1:])
    if first == b"(":
        return LexBound(text[1:], excluded=True)
    if text == b"-":
        return _LOWEST
    if text == b"+":
        return _HIGHEST
    raise CommandError(_BAD_LEX_RANGE)


# Values ---------------------------------------------------------------------------------------------------------------


def opened(ctx: Context, key: bytes) -> ZSet | None:
    """The sorted set at `key` to change; None when there is none. CommandError for another type."""
    found = ctx.write_as(key, ZSet)
    if found is not None and found.skiplist is None:
        found.settle(ctx.node.config)
    return found


def emptied(ctx: Context, key: bytes, found: ZSet) -> None:
    """Remove the sorted set at `key` if nothing is left in it."""
    if not len(found):
        ctx.discard(key)
        if ctx.node.observers:
            ctx.node.observe(ctx.database, "del", key)


def store(ctx: Context, key: bytes, event: str, scores: dict[bytes, float]) -> int:
    """Put the result of a STORE form at `key`; an empty one removes it. Returns its size."""
    if scores:
        ctx.set(key, ZSet.stored(scores, ctx.node.config))
        ctx.modified(event, key)
    elif ctx.delete(key):
        ctx.modified("del", key)
    return len(scores)


# Replies --------------------------------------------------------------------------------------------------------------


def with_scores(members: Sequence[bytes], scores: Sequence[float]) -> Scored:
    """Members, each with its score behind it."""
    reply: list[object] = [None] * (2 * len(members))
    reply[::2] = members
    reply[1::2] = scores
    return Scored(reply)


# Popping --------------------------------------------------------------------------------------------------------------


def zmpop_arguments(args: Args, at: int) -> tuple[list[bytes], bool, int]:
    """Keys, whether MAX, and COUNT of a request whose number of keys stands at args[at]. CommandError for bad ones."""
    number = parse_int(args[at])
    if number is None or number < 1:
        raise CommandError("ERR numkeys should be greater than 0")
    end = at + 1 + number
    if end >= len(args):
        raise CommandError(SYNTAX)
    where = args[end].upper()
    if where not in (b"MIN", b"MAX"):
        raise CommandError(SYNTAX)
    count = 0
    options = Options(args, end + 1)
    for word in options:
        if word != b"COUNT" or count:
            raise CommandError(SYNTAX)
        count = parse_int(options.value()) or 0
        if count < 1:
            raise CommandError("ERR count should be greater than 0")
    return args[at + 1 : end], where == b"MAX", count or 1


def pop(ctx: Context, key: bytes, found: ZSet, highest: bool, count: int) -> list[tuple[bytes, float]]:
    """Take `count` members from an end of the sorted set at `key`, from the end inwards, and tell observers."""
    size = len(found)
    count = min(count, size)
    popped = found.remove_ranks(size - count, size) if highest else found.remove_ranks(0, count)
    if highest:
        popped.reverse()
    ctx.modified("zpopmax" if highest else "zpopmin", key)
    ctx.dirty += count - 1
    emptied(ctx, key, found)
    return popped


def popped_from(ctx: Context, key: bytes, found: ZSet, highest: bool, count: int) -> list[object]:
    """The reply of ZMPOP, with members taken from the sorted set at `key`; told to replicas as ZPOPMIN or ZPOPMAX."""
    popped = pop(ctx, key, found, highest, count)
    ctx.propagate(b"ZPOPMAX" if highest else b"ZPOPMIN", key, b"%d" % len(popped))
    return [key, [list(one) for one in popped]]
