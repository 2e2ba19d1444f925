"""Commands: lists, reading them (https://redis.io/docs/data-types/lists/)."""

from __future__ import annotations

from node.arguments import Options, integer, integer_between
from node.context import Context
from node.errors import SYNTAX, CommandError
from node.numbers import LONG_MAX, parse_int
from node.registry import KEY_LOOK, KEY_READ, Args, Flag, Group
from node.repeats import Repeats
from node.resp import Reply, Texts
from node.types.list import List

group = Group("list")

_READ = Flag.READONLY
_RANK_ZERO = (
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from"
    " the end of the list"
)

_repeats = Repeats()
_KEPT_MIN, _KEPT_MAX, _KEPT_BYTES_MAX = 8, 1000, 8192
"""Of how many elements, and of how many bytes together, replies of LRANGE are kept until the list changes."""


@group.command(
    "LLEN key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KEY_LOOK,
    since="1.0.0",
    summary="Returns the length of a list.",
)
def llen(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], List)
    return 0 if found is None else found.count


@group.command(
    "LINDEX key index",
    arity=3,
    flags=_READ,
    keys=KEY_READ,
    since="1.0.0",
    summary="Returns an element from a list by its index.",
    complexity="O(N) where N is the number of elements to traverse to get to the element at index. This makes asking "
    "for the first or the last element of the list O(1).",
)
def lindex(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], List)
    if found is None:
        return None
    index = integer(args[2])
    if index < 0:
        index += found.count
    return found.at(index) if 0 <= index < found.count else None


@group.command(
    "LRANGE key start stop",
    arity=4,
    flags=_READ,
    keys=KEY_READ,
    since="1.0.0",
    summary="Returns a range of elements from a list.",
    complexity="O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or "
    "TAIL) for large lists; and N is the number of elements in the specified range.",
)
def lrange(ctx: Context, args: Args) -> Reply:
    start, stop = integer(args[2]), integer(args[3])
    found = ctx.read_as(args[1], List)
    if found is None:
        return []
    size = found.count
    if start < 0:
        start = max(start + size, 0)
    stop = min(stop + size if stop < 0 else stop, size - 1)
    if not _KEPT_MIN <= stop + 1 - start <= _KEPT_MAX:
        return Texts(found.range(start, stop))
    stamp, asked = found.stamp(), (start, stop)
    kept = _repeats.find(stamp, asked)
    if kept is None:
        values = Texts(found.range(start, stop))
        if sum(map(len, values)) > _KEPT_BYTES_MAX:
            return values
        kept = _repeats.keep(stamp, asked, values)
    return kept


@group.command(
    "LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    since="6.0.6",
    summary="Returns the index of matching elements in a list.",
    complexity="O(N) where N is the number of elements in the list, for the average case. When searching for elements "
    "near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant "
    "time.",
)
def lpos(ctx: Context, args: Args) -> Reply:
    rank = 1
    count: int | None = None
    compared_max = 0
    options = Options(args, 3)
    for word in options:
        if word == b"RANK":
            rank = integer_between(options.value(), -LONG_MAX, LONG_MAX)
            if rank == 0:
                raise CommandError(_RANK_ZERO)
        elif word == b"COUNT":
            count = _not_negative(options.value(), "COUNT")
        elif word == b"MAXLEN":
            compared_max = _not_negative(options.value(), "MAXLEN")
        else:
            raise CommandError(SYNTAX)
    found = ctx.read_as(args[1], List)
    if found is None:
        return None if count is None else []
    places = found.positions(args[2], rank, 1 if count is None else count, compared_max)
    if count is None:
        return places[0] if places else None
    return places


def _not_negative(text: bytes, option: str) -> int:
    number = parse_int(text)
    if number is None or number < 0:
        raise CommandError(f"ERR {option} can't be negative")
    return number
