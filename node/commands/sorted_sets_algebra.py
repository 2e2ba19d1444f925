"""Commands: union, intersection and difference of sorted sets and sets, with weights, read or stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from node.arguments import integer
from node.commands.sorted_sets_common import KEYS_COUNTED, KEYS_STORED, read_score, store, with_scores
from node.context import Context
from node.errors import SYNTAX, WRONG_TYPE, CommandError
from node.numbers import parse_int
from node.registry import Args, Flag, Group
from node.resp import Reply
from node.types.set import Set
from node.types.zset import ZSet

group = Group("sorted-set")

_READ = Flag.READONLY | Flag.MOVABLEKEYS
_WRITE = Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS

_UNION = (
    "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements "
    "in the resulting sorted set."
)
_UNION_STORED = _UNION.replace("O(M*log(M))", "O(M log(M))")
_INTERSECTION = (
    "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets "
    "and M being the number of elements in the resulting sorted set."
)
_DIFFERENCE = (
    "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first "
    "set, and K is the size of the result set."
)
_BAD_LIMIT = "ERR LIMIT can't be negative"
_BAD_WEIGHT = "ERR weight value is not a float"

Aggregate = Callable[[float, float], float]


def _sum(one: float, other: float) -> float:
    """inf and -inf make 0, as Redis has it."""
    total = one + other
    return total if total == total else 0.0


def _min(one: float, other: float) -> float:
    return other if other < one else one


def _max(one: float, other: float) -> float:
    return other if other > one else one


_AGGREGATES: dict[bytes, Aggregate] = {b"SUM": _sum, b"MIN": _min, b"MAX": _max}


@dataclass(slots=True)
class _Request:
    """Inputs (None for a key that is not there) with their weights, and options. limit: 0 for none."""

    inputs: list[ZSet | Set | None]
    weights: list[float] = field(default_factory=list)
    aggregate: Aggregate = _sum
    scored: bool = False
    limit: int = 0

    def weighted(self) -> list[tuple[ZSet | Set | None, float]]:
        """Inputs and weights, the smallest input first: Redis adds up in this order."""
        pairs = list(zip(self.inputs, self.weights, strict=True))
        return sorted(pairs, key=lambda pair: 0 if pair[0] is None else len(pair[0]))


def _read_request(ctx: Context, args: Args, at: int, options: frozenset[bytes]) -> _Request:
    """The number of keys at args[at], keys and options. CommandError for bad ones, or for keys of other types."""
    count = integer(args[at])
    if count < 1:
        raise CommandError(f"ERR at least 1 input key is needed for '{args[0].decode().lower()}' command")
    first = at + 1
    if count > len(args) - first:
        raise CommandError(SYNTAX)
    request = _Request([_input(ctx, key) for key in args[first : first + count]], [1.0] * count)
    at = first + count
    while at < len(args):
        word = args[at].upper()
        left = len(args) - at - 1
        if word not in options:
            raise CommandError(SYNTAX)
        if word == b"WITHSCORES":
            request.scored = True
            at += 1
        elif word == b"WEIGHTS" and left >= count:
            request.weights = [read_score(text, _BAD_WEIGHT) for text in args[at + 1 : at + 1 + count]]
            at += 1 + count
        elif word == b"AGGREGATE" and left and args[at + 1].upper() in _AGGREGATES:
            request.aggregate = _AGGREGATES[args[at + 1].upper()]
            at += 2
        elif word == b"LIMIT" and left:
            limit = parse_int(args[at + 1])
            if limit is None or limit < 0:
                raise CommandError(_BAD_LIMIT)
            request.limit = limit
            at += 2
        else:
            raise CommandError(SYNTAX)
    return request


_COMBINED = frozenset((b"WEIGHTS", b"AGGREGATE", b"WITHSCORES"))
_COMBINED_STORED = frozenset((b"WEIGHTS", b"AGGREGATE"))
_COMPARED = frozenset((b"WITHSCORES",))
_COUNTED = frozenset((b"LIMIT",))
_NONE: frozenset[bytes] = frozenset()


def _input(ctx: Context, key: bytes) -> ZSet | Set | None:
    value = ctx.read(key)
    if value is None or isinstance(value, (ZSet, Set)):
        return value
    raise CommandError(WRONG_TYPE)


def _scores(value: ZSet | Set) -> dict[bytes, float]:
    """Scores by member; members of a set count 1."""
    return value.lookup() if isinstance(value, ZSet) else dict.fromkeys(value.members(), 1.0)


def _united(request: _Request) -> dict[bytes, float]:
    total: dict[bytes, float] = {}
    aggregate = request.aggregate
    for value, weight in request.weighted():
        if value is None:
            continue
        for member, score in _scores(value).items():
            score *= weight
            if score != score:
                score = 0.0
            before = total.get(member)
            total[member] = score if before is None else aggregate(before, score)
    return total


def _common(request: _Request) -> dict[bytes, float]:
    (smallest, weight), *others = request.weighted()
    if smallest is None:
        return {}
    aggregate = request.aggregate
    lookups = [(_scores(value), weight) for value, weight in others if value is not None]
    total: dict[bytes, float] = {}
    for member, score in _scores(smallest).items():
        score *= weight
        if score != score:
            score = 0.0
        for lookup, other_weight in lookups:
            other = lookup.get(member)
            if other is None:
                break
            score = aggregate(score, other * other_weight)
        else:
            total[member] = score
    return total


def _rest(request: _Request) -> dict[bytes, float]:
    first, *others = request.inputs
    if first is None or any(other is first for other in others):
        return {}
    left = _scores(first)
    for other in others:
        if other is not None:
            gone = _scores(other)
            left = {member: score for member, score in left.items() if member not in gone}
    return dict(left)


def _reply(scores: dict[bytes, float], scored: bool) -> Reply:
    """Members in order of score, with their scores if asked for."""
    entries = sorted(zip(scores.values(), scores, strict=True))
    members = [member for _, member in entries]
    return with_scores(members, [score for score, _ in entries]) if scored else members


# Union ----------------------------------------------------------------------------------------------------------------


@group.command(
    "ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
    arity=-3,
    flags=_READ,
    keys=KEYS_COUNTED,
    since="6.2.0",
    summary="Returns the union of multiple sorted sets.",
    complexity=_UNION,
)
def zunion(ctx: Context, args: Args) -> Reply:
    request = _read_request(ctx, args, 1, _COMBINED)
    return _reply(_united(request), request.scored)


@group.command(
    "ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
    arity=-4,
    flags=_WRITE,
    keys=KEYS_STORED,
    since="2.0.0",
    summary="Stores the union of multiple sorted sets in a key.",
    complexity=_UNION_STORED,
)
def zunionstore(ctx: Context, args: Args) -> Reply:
    return store(ctx, args[1], "zunionstore", _united(_read_request(ctx, args, 2, _COMBINED_STORED)))


# Intersection ---------------------------------------------------------------------------------------------------------


@group.command(
    "ZINTER numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
    arity=-3,
    flags=_READ,
    keys=KEYS_COUNTED,
    since="6.2.0",
    summary="Returns the intersect of multiple sorted sets.",
    complexity=_INTERSECTION,
)
def zinter(ctx: Context, args: Args) -> Reply:
    request = _read_request(ctx, args, 1, _COMBINED)
    return _reply(_common(request), request.scored)


@group.command(
    "ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
    arity=-4,
    flags=_WRITE,
    keys=KEYS_STORED,
    since="2.0.0",
    summary="Stores the intersect of multiple sorted sets in a key.",
    complexity=_INTERSECTION,
)
def zinterstore(ctx: Context, args: Args) -> Reply:
    return store(ctx, args[1], "zinterstore", _common(_read_request(ctx, args, 2, _COMBINED_STORED)))


@group.command(
    "ZINTERCARD numkeys key [key ...] [LIMIT limit]",
    arity=-3,
    flags=_READ,
    keys=KEYS_COUNTED,
    since="7.0.0",
    summary="Returns the number of members of the intersect of multiple sorted sets.",
    complexity="O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
)
def zintercard(ctx: Context, args: Args) -> Reply:
    request = _read_request(ctx, args, 1, _COUNTED)
    (smallest, _), *others = request.weighted()
    if smallest is None:
        return 0
    lookups = [_scores(value) for value, _ in others if value is not None]
    return _counted(_scores(smallest), lookups, request.limit)


def _counted(members: Iterable[bytes], lookups: list[dict[bytes, float]], limit: int) -> int:
    count = 0
    for member in members:
        if all(member in lookup for lookup in lookups):
            count += 1
            if count == limit:
                break
    return count


# Difference -----------------------------------------------------------------------------------------------------------


@group.command(
    "ZDIFF numkeys key [key ...] [WITHSCORES]",
    arity=-3,
    flags=_READ,
    keys=KEYS_COUNTED,
    since="6.2.0",
    summary="Returns the difference between multiple sorted sets.",
    complexity=_DIFFERENCE,
)
def zdiff(ctx: Context, args: Args) -> Reply:
    request = _read_request(ctx, args, 1, _COMPARED)
    return _reply(_rest(request), request.scored)


@group.command(
    "ZDIFFSTORE destination numkeys key [key ...]",
    arity=-4,
    flags=_WRITE,
    keys=KEYS_STORED,
    since="6.2.0",
    summary="Stores the difference of multiple sorted sets in a key.",
    complexity=_DIFFERENCE,
)
def zdiffstore(ctx: Context, args: Args) -> Reply:
    return store(ctx, args[1], "zdiffstore", _rest(_read_request(ctx, args, 2, _NONE)))
