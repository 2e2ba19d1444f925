"""Commands: SORT and SORT_RO (https://redis.io/commands/sort/).

In a cluster a BY or GET pattern is taken only when its keys are in the slot of the key that is sorted: when the pattern
has a hash tag before the first "*", as from Redis 7.4 on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.slots import key_slot
from node.arguments import integer
from node.context import Context
from node.errors import SYNTAX, WRONG_TYPE, CommandError
from node.numbers import parse_double
from node.registry import Args, Flag, Group, KeySpec
from node.resp import Reply
from node.types.hash import Hash
from node.types.list import List
from node.types.set import Set
from node.types.string import STRING_TYPES, text_of
from node.types.zset import ZSet

group = Group("generic")

_SPACES = b" \t\n\v\f\r"
_SMALLEST_NORMAL = 2.2250738585072014e-308
_NOT_NUMBERS = "ERR One or more scores can't be converted into double"
_ARGUMENTS = {b"LIMIT": 2, b"GET": 1, b"BY": 1}


# What is asked for ----------------------------------------------------------------------------------------------------


class _Options:
    """What stands behind SORT's key. by: the pattern behind BY. plain: BY has no "*", so nothing is to be sorted."""

    __slots__ = ("alpha", "by", "count", "descending", "gets", "plain", "start", "store")

    def __init__(self, ctx: Context, args: Args, *, stores: bool) -> None:
        """CommandError for the first argument that is wrong. stores: STORE is an option (not of SORT_RO)."""
        self.by: bytes | None = None
        self.store: bytes | None = None
        self.gets: list[bytes] = []
        self.alpha = self.descending = self.plain = False
        self.start, self.count = 0, -1
        at, size = 2, len(args)
        while at < size:
            word = args[at].upper()
            left = size - at - 1
            if word == b"ASC" or word == b"DESC":
                self.descending = word == b"DESC"
            elif word == b"ALPHA":
                self.alpha = True
            elif word == b"LIMIT" and left >= 2:
                self.start, self.count = integer(args[at + 1]), integer(args[at + 2])
                at += 2
            elif word == b"STORE" and stores and left:
                at += 1
                self.store = args[at]
            elif word == b"BY" and left:
                at += 1
                self._sort_by(ctx, args[at], args[1])
            elif word == b"GET" and left:
                at += 1
                _check_pattern(ctx, args[at], args[1], "GET")
                self.gets.append(args[at])
            else:
                raise CommandError(SYNTAX)
            at += 1

    def _sort_by(self, ctx: Context, pattern: bytes, key: bytes) -> None:
        self.by = pattern
        if b"*" not in pattern.partition(b"\0")[0]:
            self.plain = True
        else:
            _check_pattern(ctx, pattern, key, "BY")

    def range(self, size: int) -> slice:
        """The part of `size` sorted elements that LIMIT leaves."""
        start = min(max(self.start, 0), size)
        return slice(start, size if self.count < 0 else min(start + self.count, size))


def _check_pattern(ctx: Context, pattern: bytes, key: bytes, option: str) -> None:
    """CommandError in a cluster when keys formed by the pattern may be in another slot than the key."""
    if not ctx.node.clustered or pattern == b"#":
        return
    slot = _pattern_slot(pattern)
    if slot is None or slot != key_slot(key):
        raise CommandError(
            f"ERR {option} option of SORT denied in Cluster mode when keys formed by the pattern may be in different "
            "slots."
        )


def _pattern_slot(pattern: bytes) -> int | None:
    """The slot of every key that a pattern can form; None when there may be several."""
    tag_at = None
    for at, byte in enumerate(pattern):
        if byte in b"*?[\\":
            return None
        if byte == 123 and tag_at is None:
            tag_at = at
        elif byte == 125 and tag_at is not None and at != tag_at + 1:
            break
    return key_slot(pattern)


# Looking up -----------------------------------------------------------------------------------------------------------


def _finder(ctx: Context, pattern: bytes) -> Callable[[bytes], bytes | None]:
    """What finds the value that a pattern names for an element: of a string, or with "->field" of a hash."""
    text = pattern.partition(b"\0")[0]
    if text == b"#":
        return lambda element: element
    star = text.find(b"*")
    if star < 0:
        return lambda element: None
    arrow = text.find(b"->", star + 1)
    field: bytes | None = None
    end = len(pattern)
    if arrow >= 0 and arrow + 2 < len(text):
        field = pattern[arrow + 2 :]
        end = arrow
    before, behind = pattern[:star], pattern[star + 1 : end]

    def find(element: bytes) -> bytes | None:
        value = ctx.read(before + element + behind)
        if field is not None:
            return value.get(field) if type(value) is Hash else None
        return text_of(value) if value is not None and type(value) in STRING_TYPES else None

    return find


def _elements(ctx: Context, value: object) -> list[bytes]:
    """The elements of a collection in their own order. CommandError for a value that is none."""
    if value is None:
        return []
    if isinstance(value, List):
        return value.elements()
    if isinstance(value, Set):
        return value.members()
    if isinstance(value, ZSet):
        value.become_skiplist()  # as Redis does: OBJECT ENCODING tells
        return list(value.ascending()[0])
    raise CommandError(WRONG_TYPE)


# Sorting --------------------------------------------------------------------------------------------------------------


def _number(text: bytes) -> float:
    """A weight, as C's `strtod` reads it up to the first zero byte. CommandError when it is none."""
    text = text.partition(b"\0")[0].lstrip(_SPACES)
    if not text:
        return 0.0
    number = parse_double(text)
    if number is None or 0 < abs(number) < _SMALLEST_NORMAL:
        raise CommandError(_NOT_NUMBERS)
    return number


def _sorted(ctx: Context, elements: list[bytes], options: _Options, by: bytes | None, *, alpha: bool) -> list[bytes]:
    """The elements in the order asked for."""
    if not alpha:
        weights = elements if by is None else list(map(_finder(ctx, by), elements))
        numbers = [0.0 if weight is None else _number(weight) for weight in weights]
        pairs = sorted(zip(numbers, elements, strict=True), reverse=options.descending)
        return [element for _, element in pairs]
    if by is None:
        return sorted(elements, reverse=options.descending)
    find = _finder(ctx, by)
    # An element without a weight comes before all that have one; the empty text is one.
    found = [find(element) for element in elements]
    keyed = sorted(
        zip(found, elements, strict=True),
        key=lambda pair: (pair[0] is not None, pair[0] or b""),
        reverse=options.descending,
    )
    return [element for _, element in keyed]


def _sort(ctx: Context, args: Args, options: _Options) -> Sequence[bytes | None]:
    """The elements, or what GET asks for each, of the part that LIMIT leaves."""
    value = ctx.read(args[1])
    elements = _elements(ctx, value)
    if options.plain and not (isinstance(value, Set) and options.store is not None):
        if options.descending and not isinstance(value, Set):
            elements.reverse()
    elif options.plain:
        # What is stored must not depend on the order that a set happens to have.
        elements = _sorted(ctx, elements, options, None, alpha=True)
    else:
        elements = _sorted(ctx, elements, options, options.by, alpha=options.alpha)
    elements = elements[options.range(len(elements))]
    if not options.gets:
        return elements
    finders = [_finder(ctx, pattern) for pattern in options.gets]
    return [find(element) for element in elements for find in finders]


def _keys(args: Args) -> list[int]:
    """The key, and the last key behind STORE."""
    stored: list[int] = []
    at = 2
    while at < len(args):
        word = args[at].upper()
        if word == b"STORE" and at + 1 < len(args):
            stored = [at + 1]
        at += 1 + _ARGUMENTS.get(word, 0)
    return [1, *stored]


_COMPLEXITY = (
    "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements."
    " When the elements are not sorted, complexity is O(N)."
)
_KEY_SORTED = KeySpec("RO access")
_KEYS_BY_PATTERN = KeySpec(
    "RO access",
    unknown=True,
    notes="For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the"
    " key we sort",
)
_KEY_STORED = KeySpec(
    "OW update",
    unknown=True,
    notes="For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the "
    "argument array",
)


@group.command(
    "SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] "
    "[STORE destination]",
    arity=-2,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(_KEY_SORTED, _KEYS_BY_PATTERN, _KEY_STORED),
    acl=("list", "set", "sortedset", "dangerous"),
    since="1.0.0",
    summary="Sorts the elements in a list, a set, or a sorted set, optionally storing the result.",
    complexity=_COMPLEXITY,
    find_keys=_keys,
)
def sort(ctx: Context, args: Args) -> Reply:
    options = _Options(ctx, args, stores=True)
    found = _sort(ctx, args, options)
    target = options.store
    if target is None:
        return list(found)
    if found:
        stored = List()
        stored.push([text or b"" for text in found], False, ctx.node.config)
        ctx.set(target, stored)
        ctx.modified("sortstore", target)
        ctx.dirty += len(found) - 1
    elif ctx.delete(target):
        ctx.modified("del", target)
    return len(found)


@group.command(
    "SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
    arity=-2,
    flags=Flag.READONLY,
    keys=(_KEY_SORTED, _KEYS_BY_PATTERN),
    acl=("list", "set", "sortedset", "dangerous"),
    since="7.0.0",
    summary="Returns the sorted elements of a list, a set, or a sorted set.",
    complexity=_COMPLEXITY,
    find_keys=lambda args: [1],
)
def sort_ro(ctx: Context, args: Args) -> Reply:
    return list(_sort(ctx, args, _Options(ctx, args, stores=False)))
