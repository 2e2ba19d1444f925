"""Commands: ranges of sorted sets by rank, score or bytes: read, counted, stored, removed."""

from __future__ import annotations

from typing import NamedTuple

from node.arguments import integer
from node.commands.sorted_sets_common import emptied, lex_range, opened, score_range, store, with_scores
from node.context import Context
from node.errors import SYNTAX, CommandError
from node.registry import KEY_DELETE, KEY_READ, Args, Flag, Group, KeySpec
from node.repeats import Repeats
from node.resp import Reply, Texts
from node.types.zset import ZSet

group = Group("sorted-set")

_repeats = Repeats()

_READ = Flag.READONLY
_FAST_READ = Flag.READONLY | Flag.FAST

_LOG_RETURNED = (
    "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned."
)
_LOG_BEING_RETURNED = (
    "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. "
    "If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N))."
)
_LOG_REMOVED = (
    "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the "
    "operation."
)
_LOG = "O(log(N)) with N being the number of elements in the sorted set."
_ONLY_WITH_LIMIT = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
_NO_SCORES_BY_LEX = "ERR syntax error, WITHSCORES not supported in combination with BYLEX"


class _Options(NamedTuple):
    """What stands behind the bounds. by: RANK, SCORE or LEX. limit: negative for all."""

    by: bytes
    reverse: bool
    scored: bool
    offset: int
    limit: int


_PLAIN = _Options(b"RANK", False, False, 0, -1)


def _read_options(args: Args, at: int, by: bytes | None, reverse: bool | None, stores: bool) -> _Options:
    """The options from args[at] on. by, reverse: None where an option may choose them. CommandError for bad ones."""
    if by is None and not stores and len(args) == at:
        return _PLAIN
    scored = stores
    offset, limit = 0, -1
    while at < len(args):
        word = args[at].upper()
        at += 1
        if word == b"WITHSCORES" and not stores:
            scored = True
        elif word == b"LIMIT" and at + 1 < len(args):
            offset, limit = integer(args[at]), integer(args[at + 1])
            at += 2
        elif word == b"REV" and reverse is None:
            reverse = True
        elif word == b"BYLEX" and by is None:
            by = b"LEX"
        elif word == b"BYSCORE" and by is None:
            by = b"SCORE"
        else:
            raise CommandError(SYNTAX)
    by = by or b"RANK"
    if limit != -1 and by == b"RANK":
        raise CommandError(_ONLY_WITH_LIMIT)
    if scored and by == b"LEX" and not stores:
        raise CommandError(_NO_SCORES_BY_LEX)
    return _Options(by, bool(reverse), scored, offset, limit)


def _located(ctx: Context, key: bytes, low: bytes, high: bytes, options: _Options) -> tuple[ZSet | None, int, int]:
    """The sorted set at `key`, None when there is none, and the ranks (from, up to but without) of a range in it.

    low, high: the bounds as sent; a reversed range by score or bytes is sent from its high end. CommandError for bounds
    that are none, then for a key of another type.
    """
    by, reverse, _, offset, limit = options
    if by == b"RANK":
        first, last = integer(low), integer(high)
        found = ctx.read_as(key, ZSet)
        if found is None:
            return None, 0, 0
        start, stop = _ranks(first, last, len(found))
        if reverse:
            start, stop = len(found) - stop, len(found) - start
    else:
        if reverse:
            low, high = high, low
        if by == b"SCORE":
            scores = score_range(low, high)
            found = ctx.read_as(key, ZSet)
            if found is None:
                return None, 0, 0
            start, stop = found.ranks_by_score(scores)
        else:
            texts = lex_range(low, high)
            found = ctx.read_as(key, ZSet)
            if found is None:
                return None, 0, 0
            start, stop = found.ranks_by_lex(texts)
        start, stop = _limited(start, stop, reverse, offset, limit)
    return found, start, stop


def _taken(found: ZSet, start: int, stop: int, options: _Options) -> tuple[list[bytes], list[float]]:
    """Members of these ranks in the order asked for, and their scores if asked for."""
    members, scores = found.slice(start, stop) if options.scored else (found.members(start, stop), [])
    if options.reverse:
        members.reverse()
        scores.reverse()
    return members, scores


def _ranks(first: int, last: int, size: int) -> tuple[int, int]:
    """The ranks (from, up to but without) that two indices mean, which may be negative and both count."""
    start = max(0, first + size if first < 0 else first)
    stop = min(size, (last + size if last < 0 else last) + 1)
    return (start, stop) if start < stop else (0, 0)


def _limited(start: int, stop: int, reverse: bool, offset: int, limit: int) -> tuple[int, int]:
    """What LIMIT leaves of a range of ranks; a negative offset leaves nothing."""
    if offset < 0 or offset >= stop - start:
        return 0, 0
    if reverse:
        stop -= offset
        return (start if limit < 0 else max(start, stop - limit)), stop
    start += offset
    return start, (stop if limit < 0 else min(stop, start + limit))


def _reply(ctx: Context, args: Args, by: bytes | None, reverse: bool | None) -> Reply:
    """The reply of a command that reads a range."""
    options = _read_options(args, 4, by, reverse, stores=False)
    found, start, stop = _located(ctx, args[1], args[2], args[3], options)
    if found is None:
        return []
    packed = found.packed
    asked = start, stop, options.reverse, options.scored
    kept = None if packed is None else _repeats.find(packed, asked)
    if kept is not None:
        return kept
    members, scores = _taken(found, start, stop, options)
    reply = with_scores(members, scores) if options.scored else Texts(members)
    return reply if packed is None else _repeats.keep(packed, asked, reply)


# Reading --------------------------------------------------------------------------------------------------------------


@group.command(
    "ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
    arity=-4,
    flags=_READ,
    keys=KEY_READ,
    since="1.2.0",
    summary="Returns members in a sorted set within a range of indexes.",
    complexity=_LOG_RETURNED,
    history=(("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options."),),
)
def zrange(ctx: Context, args: Args) -> Reply:
    return _reply(ctx, args, None, None)


@group.command(
    "ZREVRANGE key start stop [WITHSCORES]",
    arity=-4,
    flags=_READ,
    keys=KEY_READ,
    since="1.2.0",
    summary="Returns members in a sorted set within a range of indexes in reverse order.",
    complexity=_LOG_RETURNED,
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` argument",
)
def zrevrange(ctx: Context, args: Args) -> Reply:
    return _reply(ctx, args, b"RANK", True)


@group.command(
    "ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]",
    arity=-4,
    flags=_READ,
    keys=KEY_READ,
    since="1.0.5",
    summary="Returns members in a sorted set within a range of scores.",
    complexity=_LOG_BEING_RETURNED,
    history=(("2.0.0", "Added the `WITHSCORES` modifier."),),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `BYSCORE` argument",
)
def zrangebyscore(ctx: Context, args: Args) -> Reply:
    return _reply(ctx, args, b"SCORE", False)


@group.command(
    "ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]",
    arity=-4,
    flags=_READ,
    keys=KEY_READ,
    since="2.2.0",
    summary="Returns members in a sorted set within a range of scores in reverse order.",
    complexity=_LOG_BEING_RETURNED,
    history=(("2.1.6", "`min` and `max` can be exclusive."),),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` and `BYSCORE` arguments",
)
def zrevrangebyscore(ctx: Context, args: Args) -> Reply:
    return _reply(ctx, args, b"SCORE", True)


@group.command(
    "ZRANGEBYLEX key min max [LIMIT offset count]",
    arity=-4,
    flags=_READ,
    keys=KEY_READ,
    since="2.8.9",
    summary="Returns members in a sorted set within a lexicographical range.",
    complexity=_LOG_BEING_RETURNED,
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `BYLEX` argument",
)
def zrangebylex(ctx: Context, args: Args) -> Reply:
    return _reply(ctx, args, b"LEX", False)


@group.command(
    "ZREVRANGEBYLEX key max min [LIMIT offset count]",
    arity=-4,
    flags=_READ,
    keys=KEY_READ,
    since="2.8.9",
    summary="Returns members in a sorted set within a lexicographical range in reverse order.",
    complexity=_LOG_BEING_RETURNED,
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` and `BYLEX` arguments",
)
def zrevrangebylex(ctx: Context, args: Args) -> Reply:
    return _reply(ctx, args, b"LEX", True)


@group.command(
    "ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
    arity=-5,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("OW update"), KeySpec("RO access", begin=2)),
    since="6.2.0",
    summary="Stores a range of members from sorted set in a key.",
    complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored "
    "into the destination key.",
)
def zrangestore(ctx: Context, args: Args) -> Reply:
    options = _read_options(args, 5, None, None, stores=True)
    found, start, stop = _located(ctx, args[2], args[3], args[4], options)
    members, scores = ([], []) if found is None else _taken(found, start, stop, options)
    return store(ctx, args[1], "zrangestore", dict(zip(members, scores, strict=True)))


# Counting -------------------------------------------------------------------------------------------------------------


@group.command(
    "ZCOUNT key min max",
    arity=4,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="2.0.0",
    summary="Returns the count of members in a sorted set that have scores within a range.",
    complexity=_LOG,
)
def zcount(ctx: Context, args: Args) -> Reply:
    scores = score_range(args[2], args[3])
    found = ctx.read_as(args[1], ZSet)
    if found is None:
        return 0
    start, stop = found.ranks_by_score(scores)
    return stop - start


@group.command(
    "ZLEXCOUNT key min max",
    arity=4,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="2.8.9",
    summary="Returns the number of members in a sorted set within a lexicographical range.",
    complexity=_LOG,
)
def zlexcount(ctx: Context, args: Args) -> Reply:
    texts = lex_range(args[2], args[3])
    found = ctx.read_as(args[1], ZSet)
    if found is None:
        return 0
    start, stop = found.ranks_by_lex(texts)
    return stop - start


# Removing -------------------------------------------------------------------------------------------------------------


def _remove(ctx: Context, key: bytes, found: ZSet, ranks: tuple[int, int], event: str) -> int:
    """Remove the members of these ranks. Returns how many there were."""
    removed = len(found.remove_ranks(*ranks))
    if removed:
        ctx.modified(event, key)
        ctx.dirty += removed - 1
        emptied(ctx, key, found)
    return removed


@group.command(
    "ZREMRANGEBYRANK key start stop",
    arity=4,
    flags=Flag.WRITE,
    keys=KEY_DELETE,
    since="2.0.0",
    summary="Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were "
    "removed.",
    complexity=_LOG_REMOVED,
)
def zremrangebyrank(ctx: Context, args: Args) -> Reply:
    first, last = integer(args[2]), integer(args[3])
    found = opened(ctx, args[1])
    if found is None:
        return 0
    return _remove(ctx, args[1], found, _ranks(first, last, len(found)), "zremrangebyrank")


@group.command(
    "ZREMRANGEBYSCORE key min max",
    arity=4,
    flags=Flag.WRITE,
    keys=KEY_DELETE,
    since="1.2.0",
    summary="Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were "
    "removed.",
    complexity=_LOG_REMOVED,
)
def zremrangebyscore(ctx: Context, args: Args) -> Reply:
    scores = score_range(args[2], args[3])
    found = opened(ctx, args[1])
    if found is None:
        return 0
    return _remove(ctx, args[1], found, found.ranks_by_score(scores), "zremrangebyscore")


@group.command(
    "ZREMRANGEBYLEX key min max",
    arity=4,
    flags=Flag.WRITE,
    keys=KEY_DELETE,
    since="2.8.9",
    summary="Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members "
    "were removed.",
    complexity=_LOG_REMOVED,
)
def zremrangebylex(ctx: Context, args: Args) -> Reply:
    texts = lex_range(args[2], args[3])
    found = opened(ctx, args[1])
    if found is None:
        return 0
    return _remove(ctx, args[1], found, found.ranks_by_lex(texts), "zremrangebylex")
