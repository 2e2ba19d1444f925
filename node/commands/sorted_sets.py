"""Commands: sorted sets, member by member (https://redis.io/docs/data-types/sorted-sets/).

Ranges are in `sorted_sets_ranges`, operations on several sets in `sorted_sets_algebra`.
"""

from __future__ import annotations

from node.arguments import integer_between, positive_integer
from node.commands.scanning import begun, page
from node.commands.sorted_sets_common import (
    emptied,
    opened,
    pop,
    popped_from,
    read_score,
    with_scores,
    zmpop_arguments,
)
from node.context import Context
from node.errors import SYNTAX, CommandError, wrong_arity
from node.numbers import LONG_MAX, format_double, format_double_17g
from node.registry import (
    KEY_ACCESS_DELETE,
    KEY_ACCESS_UPDATE,
    KEY_DELETE,
    KEY_LOOK,
    KEY_READ,
    KEY_UPDATE,
    Args,
    Flag,
    Group,
    KeySpec,
)
from node.resp import NULL_ARRAY, Reply
from node.types.zset import ZSet

group = Group("sorted-set")

_READ = Flag.READONLY
_FAST_READ = Flag.READONLY | Flag.FAST
_FAST_WRITE = Flag.WRITE | Flag.DENYOOM | Flag.FAST
_RANDOM = ("nondeterministic_output",)
_SEVERAL = (("2.4.0", "Accepts multiple elements."),)

_NOT_A_SCORE = "ERR resulting score is not a number (NaN)"
_RANDOM_MEMBERS_MAX = 1 << 23
"""ZRANDMEMBER with a negative count repeats members without end; a reply beyond this would only exhaust memory."""


# Adding ---------------------------------------------------------------------------------------------------------------


class _Conditions:
    """The options of ZADD."""

    __slots__ = ("changes", "greater", "increment", "less", "new_only", "old_only")

    def __init__(self, increment: bool) -> None:
        self.new_only = self.old_only = self.greater = self.less = self.changes = False
        self.increment = increment

    def read(self, args: Args) -> int:
        """Take the options from args[2] on. Returns where scores and members begin."""
        at = 2
        while at < len(args):
            word = args[at].upper()
            if word == b"NX":
                self.new_only = True
            elif word == b"XX":
                self.old_only = True
            elif word == b"GT":
                self.greater = True
            elif word == b"LT":
                self.less = True
            elif word == b"CH":
                self.changes = True
            elif word == b"INCR":
                self.increment = True
            else:
                break
            at += 1
        return at

    def check(self, elements: int) -> None:
        """CommandError for options that exclude each other."""
        if self.new_only and self.old_only:
            raise CommandError("ERR XX and NX options at the same time are not compatible")
        if self.greater + self.less + self.new_only > 1:
            raise CommandError("ERR GT, LT, and/or NX options at the same time are not compatible")
        if self.increment and elements > 1:
            raise CommandError("ERR INCR option supports a single increment-element pair")

    def new_score(self, before: float | None, score: float) -> float | None:
        """The score that a member gets, its present one if nothing is to change; None when it is not to be touched."""
        if before is None:
            return None if self.old_only else score
        if self.new_only:
            return None
        if self.increment:
            score += before
            if score != score:
                raise CommandError(_NOT_A_SCORE)
        if (self.less and score >= before) or (self.greater and score <= before):
            return None
        return score


@group.command(
    "ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
    arity=-4,
    flags=_FAST_WRITE,
    keys=KEY_UPDATE,
    since="1.2.0",
    summary="Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist.",
    complexity="O(log(N)) for each item added, where N is the number of elements in the sorted set.",
    history=(
        *_SEVERAL,
        ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
        ("6.2.0", "Added the `GT` and `LT` options."),
    ),
)
def zadd(ctx: Context, args: Args) -> Reply:
    if len(args) != 4:
        return _add(ctx, args, increment=False)
    _, key, text, member = args
    if text.isdigit() and len(text) < _DIGITS_MAX:
        score = float(text)
    else:
        score = read_score(text, SYNTAX if text.upper() in _OPTIONS else "ERR value is not a valid float")
    found = opened(ctx, key)
    if found is None:
        found = ZSet()
        ctx.set(key, found)
    added = found.add(member, score, ctx.node.config)
    if added is None:
        return 0
    ctx.dirty += 1
    if ctx.observers:
        ctx.node.observe(ctx.database, "zadd", key)
    return 1 if added else 0


_DIGITS_MAX = 16
"""A score of fewer digits needs no closer look."""
_OPTIONS = frozenset((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"))


@group.command(
    "ZINCRBY key increment member",
    arity=4,
    flags=_FAST_WRITE,
    keys=KEY_ACCESS_UPDATE,
    since="1.2.0",
    summary="Increments the score of a member in a sorted set.",
    complexity="O(log(N)) where N is the number of elements in the sorted set.",
)
def zincrby(ctx: Context, args: Args) -> Reply:
    _, key, text, member = args
    if not text.isdigit() or len(text) >= _DIGITS_MAX:
        return _add(ctx, args, increment=True)
    found = opened(ctx, key)
    if found is None:
        found = ZSet()
        ctx.set(key, found)
    score = float(text) + (found.get(member) or 0.0)
    if found.add(member, score, ctx.node.config) is not None:
        ctx.modified("zincr", key)
    return score


def _add(ctx: Context, args: Args, increment: bool) -> Reply:
    """ZADD and ZINCRBY."""
    conditions = _Conditions(increment)
    first = conditions.read(args)
    elements, rest = divmod(len(args) - first, 2)
    if rest or not elements:
        raise CommandError(SYNTAX)
    conditions.check(elements)
    scores = [read_score(text) for text in args[first::2]]
    key = args[1]
    limits = ctx.node.config
    found = opened(ctx, key)
    if found is None:
        if conditions.old_only:
            return None if conditions.increment else 0
        found = ZSet()
        ctx.set(key, found)
    if elements > limits.zset_max_listpack_entries and not found.skiplist:
        found.become_skiplist()
    added = updated = 0
    after: float | None = None
    for score, member in zip(scores, args[first + 1 :: 2], strict=True):
        before = found.get(member)
        after = conditions.new_score(before, score)
        if after is None or after == before:
            continue
        found.put(member, before, after, limits)
        if before is None:
            added += 1
        else:
            updated += 1
    if added or updated:
        ctx.modified("zincr" if conditions.increment else "zadd", key)
        ctx.dirty += added + updated - 1
    if conditions.increment:
        return after
    return added + updated if conditions.changes else added


# Removing -------------------------------------------------------------------------------------------------------------


@group.command(
    "ZREM key member [member ...]",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_DELETE,
    since="1.2.0",
    summary="Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.",
    complexity="O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be "
    "removed.",
    history=_SEVERAL,
)
def zrem(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = opened(ctx, key)
    if found is None:
        return 0
    removed = sum([found.remove(member) for member in args[2:]])
    if removed:
        ctx.modified("zrem", key)
        ctx.dirty += removed - 1
        emptied(ctx, key, found)
    return removed


@group.command(
    "ZPOPMIN key [count]",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_ACCESS_DELETE,
    since="5.0.0",
    summary="Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if the "
    "last member was popped.",
    complexity="O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements "
    "popped.",
)
def zpopmin(ctx: Context, args: Args) -> Reply:
    return _pop(ctx, args, highest=False)


@group.command(
    "ZPOPMAX key [count]",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_ACCESS_DELETE,
    since="5.0.0",
    summary="Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if the "
    "last member was popped.",
    complexity="O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements "
    "popped.",
)
def zpopmax(ctx: Context, args: Args) -> Reply:
    return _pop(ctx, args, highest=True)


def _pop(ctx: Context, args: Args, highest: bool) -> Reply:
    if len(args) > 3:
        raise CommandError(SYNTAX)
    count = positive_integer(args[2]) if len(args) == 3 else 1
    found = opened(ctx, args[1])
    if found is None or count == 0:
        return []
    popped = pop(ctx, args[1], found, highest, count)
    if len(args) == 2:
        return list(popped[0])
    return with_scores([member for member, _ in popped], [score for _, score in popped])


@group.command(
    "ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]",
    arity=-4,
    flags=Flag.WRITE | Flag.MOVABLEKEYS,
    keys=(KeySpec("RW access delete", begin=1, count_at=0),),
    since="7.0.0",
    summary="Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. Deletes "
    "the sorted set if the last member was popped.",
    complexity="O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the "
    "sorted set, and M being the number of elements popped.",
)
def zmpop(ctx: Context, args: Args) -> Reply:
    keys, highest, count = zmpop_arguments(args, 1)
    for key in keys:
        found = opened(ctx, key)
        if found is not None:
            return popped_from(ctx, key, found, highest, count)
    return NULL_ARRAY


# Looking --------------------------------------------------------------------------------------------------------------


@group.command(
    "ZCARD key",
    arity=2,
    flags=_FAST_READ,
    keys=KEY_LOOK,
    since="1.2.0",
    summary="Returns the number of members in a sorted set.",
)
def zcard(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], ZSet)
    return 0 if found is None else len(found)


@group.command(
    "ZSCORE key member",
    arity=3,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="1.2.0",
    summary="Returns the score of a member in a sorted set.",
)
def zscore(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], ZSet)
    return None if found is None else found.get(args[2])


@group.command(
    "ZMSCORE key member [member ...]",
    arity=-3,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="6.2.0",
    summary="Returns the score of one or more members in a sorted set.",
    complexity="O(N) where N is the number of members being requested.",
)
def zmscore(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], ZSet)
    return [None if found is None else found.get(member) for member in args[2:]]


@group.command(
    "ZRANK key member [WITHSCORE]",
    arity=-3,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="2.0.0",
    summary="Returns the index of a member in a sorted set ordered by ascending scores.",
    complexity="O(log(N))",
    history=(("7.2.0", "Added the optional `WITHSCORE` argument."),),
)
def zrank(ctx: Context, args: Args) -> Reply:
    return _rank(ctx, args, "zrank", from_end=False)


@group.command(
    "ZREVRANK key member [WITHSCORE]",
    arity=-3,
    flags=_FAST_READ,
    keys=KEY_READ,
    since="2.0.0",
    summary="Returns the index of a member in a sorted set ordered by descending scores.",
    complexity="O(log(N))",
    history=(("7.2.0", "Added the optional `WITHSCORE` argument."),),
)
def zrevrank(ctx: Context, args: Args) -> Reply:
    return _rank(ctx, args, "zrevrank", from_end=True)


def _rank(ctx: Context, args: Args, name: str, from_end: bool) -> Reply:
    if len(args) > 4:
        raise wrong_arity(name)
    with_score = len(args) == 4
    if with_score and args[3].upper() != b"WITHSCORE":
        raise CommandError(SYNTAX)
    found = ctx.read_as(args[1], ZSet)
    rank = None if found is None else found.rank(args[2])
    if found is None or rank is None:
        return NULL_ARRAY if with_score else None
    if from_end:
        rank = len(found) - 1 - rank
    return [rank, found.get(args[2])] if with_score else rank


# Drawing and scanning -------------------------------------------------------------------------------------------------


@group.command(
    "ZRANDMEMBER key [count [WITHSCORES]]",
    arity=-2,
    flags=_READ,
    keys=KEY_READ,
    hints=_RANDOM,
    since="6.2.0",
    summary="Returns one or more random members from a sorted set.",
    complexity="O(N) where N is the number of members returned",
)
def zrandmember(ctx: Context, args: Args) -> Reply:
    random = ctx.node.random
    if len(args) == 2:
        found = ctx.read_as(args[1], ZSet)
        return None if found is None else found.random_members(1, random)[0]
    count = integer_between(args[2], -LONG_MAX, LONG_MAX)
    scored = len(args) == 4 and args[3].upper() == b"WITHSCORES"
    if len(args) > 4 or (len(args) == 4 and not scored):
        raise CommandError(SYNTAX)
    if scored and abs(count) > LONG_MAX // 2:
        raise CommandError("ERR value is out of range")
    found = ctx.read_as(args[1], ZSet)
    if found is None or count == 0:
        return []
    if count < -_RANDOM_MEMBERS_MAX:
        raise CommandError("ERR value is out of range")
    drawn = found.distinct_random_members(count, random) if count > 0 else found.random_members(-count, random)
    if not scored:
        return drawn
    scores = found.lookup()
    return with_scores(drawn, [scores[member] for member in drawn])


@group.command(
    "ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    hints=_RANDOM,
    since="2.8.0",
    summary="Iterates over members and scores of a sorted set.",
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to "
    "return back to 0. N is the number of elements inside the collection.",
)
def zscan(ctx: Context, args: Args) -> Reply:
    found, at = begun(ctx, args, ZSet)
    if found is None:
        return [b"0", []]
    big = found.encoding(ctx.node.config) == "skiplist"
    scores = found.lookup()
    cursor, members, bare = page(ctx, args, at, scores if big else found.members(0, len(found)))
    if bare:
        return [cursor, members]
    written = format_double_17g if big else format_double
    return [cursor, [text for member in members for text in (member, written(scores[member]))]]
