"""Commands: streams without groups, apart from XREAD and XDEL (https://redis.io/docs/data-types/streams/)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from node.arguments import Options, integer
from node.commands.streams_common import (
    REFERENCE_POLICIES,
    entries,
    range_end,
    range_start,
    release_everywhere,
    stream_id,
    tell_deletion,
    tell_release,
)
from node.errors import NO_SUCH_KEY, SYNTAX, CommandError, wrong_arity
from node.numbers import parse_int
from node.registry import KEY_DELETE, KEY_LOOK, KEY_READ, KEY_UPDATE, Args, Flag, Group, KeySpec
from node.resp import NULL_ARRAY, OK, Reply
from node.types.stream import NODE_BYTES_MAX, Stream
from node.types.stream_id import ID_MAX, MS_SHIFT, SEQUENCE_MASK, format_id, parse_id

if TYPE_CHECKING:
    from node.context import Context

group = Group("stream")

_UNPREDICTABLE = ("nondeterministic_output",)
_TWO_STRATEGIES = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
_NODES_PER_TRIM = 100
_ENTRIES_PER_TRIM = (10_000, 1_000_000)
"""How many entries an approximate trim removes at most: when nodes have no limit, and in any case."""


@dataclass(slots=True)
class _Options:
    """The options of XADD and XTRIM. at: where what follows them stands; for XADD that is the id.

    policy: KEEPREF, DELREF or ACKED: what becomes of entries that groups know of. removed: the ids of those that went by
    ACKED, which takes them from among others; released: by group, those that it has no longer pending, by DELREF.
    """

    at: int = 2
    number: int | None = None
    """The id that was given; None for "*"."""
    any_sequence: bool = False
    """ "1234-*" was given."""
    make: bool = True
    strategy: bytes = b""
    threshold: int = 0
    threshold_at: int = 0
    whole_nodes: bool = False
    limit: int | None = None
    policy: bytes = b""
    removed: list[int] | None = None
    released: dict[bytes, list[int]] = field(default_factory=dict)

    def trim(self, ctx: Context, stream: Stream) -> int:
        """Trim as asked for. Returns how many entries went."""
        if self.strategy == b"MAXLEN":
            if stream.is_within(self.threshold, self.whole_nodes):
                return 0
        elif stream.first_id >= self.threshold:
            return 0
        limit = self.limit
        if ctx.client.is_primary or not self.whole_nodes:
            limit = 0
        elif limit is None:
            usual, most = _ENTRIES_PER_TRIM
            limit = min(_NODES_PER_TRIM * ctx.node.config.stream_node_max_entries or usual, most)
        if stream.groups and self.policy in (b"DELREF", b"ACKED"):
            return self._trim_with_references(stream, limit)
        if self.strategy == b"MAXLEN":
            return stream.trim_to_length(self.threshold, self.whole_nodes, limit)
        return stream.trim_before(self.threshold, self.whole_nodes, limit)

    def _trim_with_references(self, stream: Stream, limit: int) -> int:
        """Trim with a look at what groups have pending."""
        acked = self.policy == b"ACKED"
        by_length = self.strategy == b"MAXLEN"
        most, lowest = (self.threshold, 0) if by_length else (None, self.threshold)
        doomed = stream.doomed(most, lowest, self.whole_nodes, limit, stream.is_referenced if acked else _kept_by_none)
        if acked:
            self.removed = doomed
            return sum([stream.delete(number) for number in doomed])
        self.released = release_everywhere(stream, doomed)
        return stream.trim_to_length(stream.length - len(doomed), False, 0)

    def exactly(self, args: Args, stream: Stream) -> Args:
        """The request in words that trim a replica's stream to what this one was trimmed to."""
        if not self.whole_nodes:
            return args
        at = self.threshold_at
        return [*args[: at - 1], b"=", self._reached(stream), *args[at + 1 :]]

    def _reached(self, stream: Stream) -> bytes:
        return b"%d" % stream.length if self.strategy == b"MAXLEN" else format_id(stream.oldest_mark())

    def tell(self, ctx: Context, args: Args, stream: Stream, entry: Args) -> None:
        """Tell replicas what this request did, in words that every replica knows. entry: of XADD, the id and behind."""
        if not self.policy:
            ctx.propagate(*self.exactly([*args[: len(args) - len(entry)], *entry], stream))
            return
        threshold = self._reached(stream) if self.whole_nodes else args[self.threshold_at]
        trims = [self.strategy, b"=", threshold] if self.strategy and self.removed is None else []
        if entry or trims:
            ctx.propagate(args[0], args[1], *trims, *entry)
        tell_deletion(ctx, args[1], self.removed or [])
        tell_release(ctx, args[1], self.released)


def _kept_by_none(number: int) -> bool:
    return False


def _options(ctx: Context, args: Args, adding: bool) -> _Options:
    found = _Options()
    at, last = 2, len(args) - 1
    while at <= last:
        word = args[at].upper()
        if adding and word == b"*":
            break
        if word in (b"MAXLEN", b"MINID") and at < last:
            at = _strategy(found, args, at, word)
        elif word == b"LIMIT" and at < last:
            at += 1
            found.limit = integer(args[at])
            if found.limit < 0:
                raise CommandError("ERR The LIMIT argument must be >= 0.")
        elif adding and word == b"NOMKSTREAM":
            found.make = False
        elif word in REFERENCE_POLICIES and not found.policy:
            found.policy = word
        elif adding:
            text = args[at]
            found.any_sequence = text.endswith(b"-*")
            found.number = stream_id(text[:-2] if found.any_sequence else text)
            if found.any_sequence and parse_id(text[:-1] + b"0") is None:
                raise CommandError("ERR Invalid stream ID specified as stream command argument")
            break
        else:
            raise CommandError(SYNTAX)
        at += 1
    found.at = at
    if found.limit and not found.strategy:
        raise CommandError("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
    if not adding and not found.strategy:
        raise CommandError("ERR syntax error, XTRIM must be called with a trimming strategy")
    if found.limit is not None and not found.whole_nodes and not ctx.client.is_primary:
        raise CommandError("ERR syntax error, LIMIT cannot be used without the special ~ option")
    return found


@lru_cache(maxsize=256)
def _usual_options(word: bytes, sign: bytes, threshold: bytes) -> _Options | None:
    """The options that capped streams are written with, MAXLEN ~ 1000 *, not to be changed; None for others."""
    word = word.upper()
    number = parse_int(threshold) if word == b"MAXLEN" else parse_id(threshold) if word == b"MINID" else None
    if number is None or number < 0 or sign not in (b"~", b"="):
        return None
    return _Options(at=5, strategy=word, threshold=number, threshold_at=4, whole_nodes=sign == b"~")


def _strategy(found: _Options, args: Args, at: int, word: bytes) -> int:
    """Read MAXLEN or MINID at `at`. Returns where its threshold stands."""
    if found.strategy:
        raise CommandError(_TWO_STRATEGIES)
    at += 1
    found.whole_nodes = False
    if args[at] in (b"~", b"=") and at < len(args) - 1:
        found.whole_nodes = args[at] == b"~"
        at += 1
    if word == b"MAXLEN":
        found.threshold = integer(args[at])
        if found.threshold < 0:
            raise CommandError("ERR The MAXLEN argument must be >= 0.")
    else:
        found.threshold = stream_id(args[at])
    found.strategy = word
    found.threshold_at = at
    return at


# Writing --------------------------------------------------------------------------------------------------------------


@group.command(
    "XADD key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]]"
    " <* | id> field value [field value ...]",
    arity=-5,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(KeySpec("RW update", notes="UPDATE instead of INSERT because of the optional trimming feature"),),
    hints=_UNPREDICTABLE,
    since="5.0.0",
    summary="Appends a new message to a stream. Creates the key if it doesn't exist.",
    complexity="O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
    history=(
        ("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."),
        ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
    ),
)
def xadd(ctx: Context, args: Args) -> Reply:
    key = args[1]
    options, at = None, 2
    if args[2] != b"*":
        if len(args) <= 5 or args[5] != b"*" or (options := _usual_options(args[2], args[3], args[4])) is None:
            options = _options(ctx, args, True)
        at = options.at
    size = len(args) - at
    if size == 3:  # One field is the usual case, and slices cost.
        field, value = args[-2], args[-1]
        fields, values = [field], [value]
        size = len(field) + len(value)
    elif size < 3 or not size & 1:
        raise wrong_arity("xadd")
    else:
        fields, values = args[at + 1 :: 2], args[at + 2 :: 2]
        size = sum(map(len, fields)) + sum(map(len, values))
    if options is not None and options.number == 0 and not options.any_sequence:
        raise CommandError("ERR The ID specified in XADD must be greater than 0-0")
    stream = found = ctx.write_as(key, Stream)
    if stream is None:
        if options is not None and not options.make:
            return None
        stream = Stream()
    if size > NODE_BYTES_MAX:
        raise CommandError("ERR Elements are too large to be stored")
    if (options is None or options.number is None) and stream.last_id < ID_MAX:
        number, text = stream.next_id(ctx.now_ms)
    else:
        number = _checked_id(stream, options)
        text = format_id(number)
    if found is None:
        ctx.set(key, stream)
    node = ctx.node
    stream.append(number, fields, values, size, node.config)
    ctx.dirty += 1
    if ctx.observers:
        node.observe(ctx.database, "xadd", key)
    if options is not None and options.strategy and options.trim(ctx, stream) and ctx.observers:
        node.observe(ctx.database, "xtrim", key)
    if node.replication.feeding or node.unusual:  # Somebody may want to hear of it.
        if options is None:
            ctx.propagate(args[0], key, text, *args[3:])
        else:
            definite = options.number is not None and not options.any_sequence
            options.tell(ctx, args, stream, [args[at] if definite else text, *args[at + 1 :]])
    return text


def _checked_id(stream: Stream, options: _Options | None) -> int:
    """The id that the new entry gets. CommandError when it can not have one."""
    last = stream.last_id
    if last == ID_MAX:
        raise CommandError("ERR The stream has exhausted the last possible ID, unable to add more items")
    assert options is not None and options.number is not None
    number = options.number
    if options.any_sequence and last >> MS_SHIFT == number >> MS_SHIFT and last & SEQUENCE_MASK != SEQUENCE_MASK:
        number = last + 1
    if number <= last:
        raise CommandError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    return number


@group.command(
    "XTRIM key < <MAXLEN | MINID> [= | ~] threshold [LIMIT count] > [KEEPREF | DELREF | ACKED]",
    arity=-4,
    flags=Flag.WRITE,
    keys=KEY_DELETE,
    hints=_UNPREDICTABLE,
    since="5.0.0",
    summary="Deletes messages from the beginning of a stream.",
    complexity="O(N), with N being the number of evicted entries. Constant times are very small however, since entries "
    "are organized in macro nodes containing multiple entries that can be released with a single deallocation.",
    history=(("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option."),),
)
def xtrim(ctx: Context, args: Args) -> Reply:
    options = _options(ctx, args, False)
    stream = ctx.write_as(args[1], Stream)
    if stream is None:
        return 0
    removed = options.trim(ctx, stream)
    if removed:
        ctx.modified("xtrim", args[1])
        ctx.dirty += removed - 1
        options.tell(ctx, args, stream, [])
    return removed


@group.command(
    "XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KEY_UPDATE,
    since="5.0.0",
    summary="An internal command for replicating stream values.",
    history=(("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments."),),
)
def xsetid(ctx: Context, args: Args) -> Reply:
    number = stream_id(args[2])
    added: int | None = None
    max_deleted = 0
    options = Options(args, 3)
    for word in options:
        if word == b"ENTRIESADDED":
            added = options.integer()
            if added < 0:
                raise CommandError("ERR entries_added must be positive")
        elif word == b"MAXDELETEDID":
            max_deleted = stream_id(options.value())
            if number < max_deleted:
                raise CommandError("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
        else:
            raise CommandError(SYNTAX)
    stream = ctx.write_as(args[1], Stream)
    if stream is None:
        raise CommandError(NO_SUCH_KEY)
    if number < stream.max_deleted_id:
        raise CommandError("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
    if stream.length and number < stream.last_valid_id():
        raise CommandError("ERR The ID specified in XSETID is smaller than the target stream top item")
    if stream.length and added is not None and stream.length > added:
        raise CommandError("ERR The entries_added specified in XSETID is smaller than the target stream length")
    stream.last_id = number
    if added is not None:
        stream.entries_added = added
    if max_deleted:
        stream.max_deleted_id = max_deleted
    ctx.modified("xsetid", args[1])
    return OK


# Reading --------------------------------------------------------------------------------------------------------------


@group.command(
    "XLEN key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KEY_LOOK,
    since="5.0.0",
    summary="Returns the number of messages in a stream.",
)
def xlen(ctx: Context, args: Args) -> Reply:
    stream = ctx.read_as(args[1], Stream)
    return 0 if stream is None else stream.length


def _range(ctx: Context, args: Args, start: bytes, end: bytes, reverse: bool) -> Reply:
    low, high = range_start(start), range_end(end)
    count: int | None = None
    options = Options(args, 4)
    for word in options:
        if word != b"COUNT":
            raise CommandError(SYNTAX)
        count = max(0, options.integer())
    stream = ctx.read_as(args[1], Stream)
    if stream is None:
        return []
    if count == 0:
        return NULL_ARRAY
    return entries(stream, low, high, count or 0, reverse)


@group.command(
    "XRANGE key start end [COUNT count]",
    arity=-4,
    flags=Flag.READONLY,
    keys=KEY_READ,
    since="5.0.0",
    summary="Returns the messages from a stream within a range of IDs.",
    complexity="O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the "
    "first 10 elements with COUNT), you can consider it O(1).",
    history=(("6.2.0", "Added exclusive ranges."),),
)
def xrange(ctx: Context, args: Args) -> Reply:
    return _range(ctx, args, args[2], args[3], False)


@group.command(
    "XREVRANGE key end start [COUNT count]",
    arity=-4,
    flags=Flag.READONLY,
    keys=KEY_READ,
    since="5.0.0",
    summary="Returns the messages from a stream within a range of IDs in reverse order.",
    complexity="O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first "
    "10 elements with COUNT), you can consider it O(1).",
    history=(("6.2.0", "Added exclusive ranges."),),
)
def xrevrange(ctx: Context, args: Args) -> Reply:
    return _range(ctx, args, args[3], args[2], True)
