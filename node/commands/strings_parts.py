"""Commands: parts of strings, their length, and what two have in common."""

from __future__ import annotations

from node.arguments import Options, integer
from node.context import Context
from node.errors import STRING_TOO_LONG, SYNTAX, WRONG_TYPE, CommandError
from node.registry import KEY_INSERT, KEY_LOOK, KEY_READ, Args, Flag, Group, KeySpec
from node.resp import Reply
from node.types import lcs as subsequence
from node.types.string import STRING_TYPES, StringValue, buffer_of, compact, size_of, text_of

group = Group("string")

_WRITE = Flag.WRITE | Flag.DENYOOM

_RANGE_COMPLEXITY = (
    "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned "
    "length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for "
    "small strings."
)


def _read(ctx: Context, key: bytes) -> StringValue | None:
    value: StringValue | None = ctx.read(key)
    if value is None or type(value) in STRING_TYPES:
        return value
    raise CommandError(WRONG_TYPE)


def _write(ctx: Context, key: bytes) -> StringValue | None:
    value: StringValue | None = ctx.write(key)
    if value is None or type(value) in STRING_TYPES:
        return value
    raise CommandError(WRONG_TYPE)


def _check_size(ctx: Context, size: int) -> None:
    """CommandError when a string would grow beyond proto-max-bulk-len; what our primary sends is never refused."""
    if size > ctx.node.config.proto_max_bulk_len and not ctx.client.is_primary:
        raise CommandError(STRING_TOO_LONG)


@group.command(
    "STRLEN key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KEY_LOOK,
    since="2.2.0",
    summary="Returns the length of a string value.",
)
def strlen(ctx: Context, args: Args) -> Reply:
    value = _read(ctx, args[1])
    return 0 if value is None else size_of(value)


@group.command(
    "APPEND key value",
    arity=3,
    flags=_WRITE | Flag.FAST,
    keys=KEY_INSERT,
    since="2.0.0",
    summary="Appends a string to the value of a key. Creates the key if it doesn't exist.",
    complexity="O(1). The amortized time complexity is O(1) assuming the appended value is small and the already "
    "present value is of any size, since the dynamic string library used by Redis will double the free space available "
    "on every reallocation.",
)
def append(ctx: Context, args: Args) -> Reply:
    key, text = args[1], args[2]
    value = _write(ctx, key)
    if value is None:
        ctx.set(key, compact(text))
        size = len(text)
    else:
        size = size_of(value) + len(text)
        _check_size(ctx, size)
        buffer = buffer_of(value)
        buffer += text
        if buffer is not value:
            ctx.put(key, buffer)
    ctx.modified("append", key)
    return size


@group.command(
    "SETRANGE key offset value",
    arity=4,
    flags=_WRITE,
    keys=(KeySpec("RW update"),),
    since="2.2.0",
    summary="Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
    complexity="O(1), not counting the time taken to copy the new string in place. Usually, this string is very small "
    "so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the value argument.",
)
def setrange(ctx: Context, args: Args) -> Reply:
    key, text = args[1], args[3]
    offset = integer(args[2])
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    value = _write(ctx, key)
    if not text:
        return 0 if value is None else size_of(value)
    end = offset + len(text)
    _check_size(ctx, end)
    buffer = bytearray() if value is None else buffer_of(value)
    if offset > len(buffer):
        buffer.extend(bytes(offset - len(buffer)))
    buffer[offset:end] = text
    if value is None:
        ctx.set(key, buffer)
    elif buffer is not value:
        ctx.put(key, buffer)
    ctx.modified("setrange", key)
    return len(buffer)


def _range(ctx: Context, args: Args) -> Reply:
    start, end = integer(args[2]), integer(args[3])
    value = _read(ctx, args[1])
    if value is None or (start < 0 and end < 0 and start > end):
        return b""
    text = b"%d" % value if type(value) is int else value
    assert not isinstance(text, int)
    size = len(text)
    start = max(start + size, 0) if start < 0 else start
    end = max(end + size, 0) if end < 0 else end
    return bytes(text[start : end + 1])


@group.command(
    "GETRANGE key start end",
    arity=4,
    flags=Flag.READONLY,
    keys=KEY_READ,
    since="2.4.0",
    summary="Returns a substring of the string stored at a key.",
    complexity=_RANGE_COMPLEXITY,
)
def getrange(ctx: Context, args: Args) -> Reply:
    return _range(ctx, args)


@group.command(
    "SUBSTR key start end",
    arity=4,
    flags=Flag.READONLY,
    keys=KEY_READ,
    since="1.0.0",
    summary="Returns a substring from a string value.",
    complexity=_RANGE_COMPLEXITY,
    deprecated_since="2.0.0",
    replaced_by="`GETRANGE`",
)
def substr(ctx: Context, args: Args) -> Reply:
    return _range(ctx, args)


# What two strings have in common --------------------------------------------------------------------------------------


class _LcsOptions:
    __slots__ = ("idx", "len", "min_match_len", "with_match_len")

    def __init__(self, args: Args) -> None:
        self.idx = self.len = self.with_match_len = False
        self.min_match_len = 0
        options = Options(args, 3)
        for word in options:
            if word == b"IDX":
                self.idx = True
            elif word == b"LEN":
                self.len = True
            elif word == b"WITHMATCHLEN":
                self.with_match_len = True
            elif word == b"MINMATCHLEN":
                self.min_match_len = max(options.integer(), 0)
            else:
                raise CommandError(SYNTAX)
        if self.idx and self.len:
            raise CommandError("ERR If you want both the length and indexes, please just use IDX.")


@group.command(
    "LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    arity=-3,
    flags=Flag.READONLY,
    keys=(KeySpec("RO access", last=1),),
    since="7.0.0",
    summary="Finds the longest common substring.",
    complexity="O(N*M) where N and M are the lengths of s1 and s2, respectively",
)
def lcs(ctx: Context, args: Args) -> Reply:
    values = [ctx.read(key) for key in args[1:3]]
    if any(value is not None and type(value) not in STRING_TYPES for value in values):
        raise CommandError("ERR The specified keys must contain string values")
    options = _LcsOptions(args)
    first, second = (b"" if value is None else text_of(value) for value in values)
    if 4 * (len(first) + 1) * (len(second) + 1) > ctx.node.config.proto_max_bulk_len:
        raise CommandError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    if options.len:
        return subsequence.length(first, second)
    common, matches = subsequence.trace(first, second)
    if not options.idx:
        return common
    return {
        b"matches": [
            _shown_match(match, options.with_match_len) for match in matches if match.length >= options.min_match_len
        ],
        b"len": len(common),
    }


def _shown_match(match: subsequence.Match, with_length: bool) -> list[Reply]:
    shown: list[Reply] = [[match.first_start, match.first_end], [match.second_start, match.second_end]]
    return [*shown, match.length] if with_length else shown
