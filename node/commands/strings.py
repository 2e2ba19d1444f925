"""Commands: strings as wholes (https://redis.io/docs/data-types/strings/). Their parts are in strings_parts.py."""

from __future__ import annotations

from node.arguments import EXPIRY_UNITS, expiry_ms
from node.client import Unusual
from node.context import Context
from node.errors import SYNTAX, WRONG_TYPE, CommandError, wrong_arity
from node.registry import KEY_ACCESS_DELETE, KEY_ACCESS_UPDATE, KEY_OVERWRITE, KEY_READ, Args, Flag, Group, KeySpec
from node.resp import OK, Reply
from node.types.string import ABOVE_DIGITS, STRING_TYPES, StringValue, compact, text_of
from node.types.xxh3 import hex_digest

group = Group("string")

_WRITE = Flag.WRITE | Flag.DENYOOM
_FAST_WRITE = _WRITE | Flag.FAST

_KEY_SET = (KeySpec("RW access update variable_flags", notes="RW and ACCESS due to the optional `GET` argument"),)
_KEY_GETEX = (KeySpec("RW access update", notes="RW and UPDATE because it changes the TTL"),)
_KEY_NEW = (KeySpec("OW insert"),)

_REPLICA = int(Unusual.REPLICA)
_DIGEST_SIZE = 16


def _found(ctx: Context, key: bytes) -> bytes | None:
    """The string at `key` as a reply, counted as a read. CommandError when it is of another type."""
    value = ctx.read(key)
    if value is None or type(value) is bytes:
        return value
    if type(value) in STRING_TYPES:
        return text_of(value)
    raise CommandError(WRONG_TYPE)


def _tell(ctx: Context, event: str, key: bytes) -> None:
    """One more keyspace event of a change that is already counted."""
    if ctx.node.observers:
        ctx.node.observe(ctx.database, event, key)


# Reading --------------------------------------------------------------------------------------------------------------


@group.command(
    "GET key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KEY_READ,
    since="1.0.0",
    summary="Returns the string value of a key.",
)
def get(ctx: Context, args: Args) -> Reply:
    value = ctx.keys.get(args[1])
    if type(value) is bytes and args[1] not in ctx.expires:  # what `read` does, for the usual string
        ctx.stats.keyspace_hits += 1
        return value
    value = ctx.read(args[1])
    if value is None or type(value) is bytes:
        return value
    if type(value) in STRING_TYPES:
        return text_of(value)
    raise CommandError(WRONG_TYPE)


@group.command(
    "MGET key [key ...]",
    arity=-2,
    flags=Flag.READONLY | Flag.FAST,
    keys=(KeySpec("RO access", last=-1),),
    hints=("request_policy:multi_shard",),
    since="1.0.0",
    summary="Atomically returns the string values of one or more keys.",
    complexity="O(N) where N is the number of keys to retrieve.",
)
def mget(ctx: Context, args: Args) -> Reply:
    reply: list[bytes | None] = []
    for key in args[1:]:
        value: StringValue | None = ctx.read(key)
        if type(value) is bytes:
            reply.append(value)
        else:
            reply.append(text_of(value) if value is not None and type(value) in STRING_TYPES else None)
    return reply


# Setting --------------------------------------------------------------------------------------------------------------


class _SetOptions:
    """What stands behind SET's and GETEX's fixed arguments. match: what stands behind IFEQ and its kin."""

    __slots__ = ("amount", "condition", "get", "keep_ttl", "match", "persist", "unit")

    def __init__(self, args: Args, first: int, words: frozenset[bytes]) -> None:
        """CommandError (syntax error) for a word that is not in `words`, or that does not go with another."""
        unit = amount = condition = match = b""
        get = keep_ttl = persist = False
        at, size = first, len(args)
        while at < size:
            word = args[at].upper()
            at += 1
            if word not in words:
                raise CommandError(SYNTAX)
            if word in EXPIRY_UNITS:
                if at == size or keep_ttl or persist or (unit and unit != word):
                    raise CommandError(SYNTAX)
                unit, amount = word, args[at]
                at += 1
            elif word == b"GET":
                get = True
            elif word in COMPARISONS:
                if at == size or condition:
                    raise CommandError(SYNTAX)
                condition, match = word, args[at]
                at += 1
            elif word == b"NX" or word == b"XX":
                if condition and condition != word:
                    raise CommandError(SYNTAX)
                condition = word
            else:
                if unit:
                    raise CommandError(SYNTAX)
                keep_ttl = keep_ttl or word == b"KEEPTTL"
                persist = persist or word == b"PERSIST"
        self.unit, self.amount, self.condition = unit, amount, condition
        self.get, self.keep_ttl, self.persist, self.match = get, keep_ttl, persist, match


COMPARISONS = frozenset((b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"))
"""Conditions on the string that is there: equal or not, or its digest."""

_SET_WORDS = EXPIRY_UNITS | COMPARISONS | {b"NX", b"XX", b"GET", b"KEEPTTL"}
_GETEX_WORDS = EXPIRY_UNITS | {b"PERSIST"}


def compares(ctx: Context, key: bytes, comparison: bytes, match: bytes) -> bool:
    """Whether the string at `key` is as one of COMPARISONS says; none at all is not equal to anything.

    CommandError for a key of another type, and for a digest that is none.
    """
    value = ctx.peek(key)
    if value is not None and type(value) not in STRING_TYPES:
        raise CommandError(WRONG_TYPE)
    if comparison in (b"IFEQ", b"IFNE"):
        equal = value is not None and text_of(value) == match
    else:
        if len(match) != _DIGEST_SIZE:
            raise CommandError("ERR The digest must be exactly 16 hexadecimal characters")
        equal = value is not None and hex_digest(text_of(value)) == match.lower()
    return equal == (comparison in (b"IFEQ", b"IFDEQ"))


@group.command(
    "SET key value [NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest] [GET] "
    "[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
    arity=-3,
    flags=_WRITE,
    keys=_KEY_SET,
    since="1.0.0",
    summary="Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
    history=(
        ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
        ("6.0.0", "Added the `KEEPTTL` option."),
        ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
        ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
        ("8.4.0", "Added the `IFEQ`, `IFNE`, `IFDEQ` and `IFDNE` options."),
    ),
)
def set_(ctx: Context, args: Args) -> Reply:
    if len(args) > 3:
        return _set_with_options(ctx, args)
    key = args[1]
    value: StringValue = args[2] if args[2] > ABOVE_DIGITS else compact(args[2])
    if ctx.observers or ctx.database.walkers or key in ctx.expires:
        ctx.set(key, value)
        ctx.modified("set", key)
    else:  # Nobody wants to know.
        ctx.keys[key] = value
        ctx.dirty += 1
    return OK


def _set_with_options(ctx: Context, args: Args) -> Reply:
    options = _SetOptions(args, 3, _SET_WORDS)
    key = args[1]
    deadline_ms = expiry_ms(options.unit, options.amount, ctx.now_ms, "set") if options.unit else None
    reply: Reply = _found(ctx, key) if options.get else OK
    compared = options.condition in COMPARISONS
    if compared:
        holds = compares(ctx, key, options.condition, options.match)
    else:
        holds = not options.condition or (ctx.peek(key) is None) == (options.condition == b"NX")
    if not holds:
        return reply if options.get else None
    store(ctx, key, args[2], deadline_ms, keep_ttl=options.keep_ttl)
    if deadline_ms is not None:
        ctx.propagate(b"SET", key, args[2], b"PXAT", b"%d" % deadline_ms)
    elif compared:
        # Replicas may be too old for the condition, and need not look again.
        ctx.propagate(b"SET", key, args[2], *([b"KEEPTTL"] if options.keep_ttl else []))
    elif options.get:
        ctx.propagate(*args[:3], *(arg for arg in args[3:] if arg.upper() != b"GET"))
    return reply


def store(ctx: Context, key: bytes, text: bytes, deadline_ms: int | None, *, keep_ttl: bool = False) -> None:
    """Set a string, its expiry, and say so."""
    if keep_ttl:
        ctx.write(key)
        ctx.put(key, compact(text))
    else:
        ctx.set(key, compact(text))
    ctx.modified("set", key)
    if deadline_ms is not None:
        ctx.set_deadline(key, deadline_ms)
        _tell(ctx, "expire", key)


@group.command(
    "SETNX key value",
    arity=3,
    flags=_FAST_WRITE,
    keys=_KEY_NEW,
    since="1.0.0",
    summary="Sets the string value of a key only when the key doesn't exist.",
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `NX` argument",
)
def setnx(ctx: Context, args: Args) -> Reply:
    if ctx.peek(args[1]) is not None:
        return 0
    store(ctx, args[1], args[2], None)
    return 1


def _set_until(ctx: Context, args: Args, unit: bytes, command: str) -> Reply:
    deadline_ms = expiry_ms(unit, args[2], ctx.now_ms, command)
    store(ctx, args[1], args[3], deadline_ms)
    ctx.propagate(b"SET", args[1], args[3], b"PXAT", b"%d" % deadline_ms)
    return OK


@group.command(
    "SETEX key seconds value",
    arity=4,
    flags=_WRITE,
    keys=KEY_OVERWRITE,
    since="2.0.0",
    summary="Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `EX` argument",
)
def setex(ctx: Context, args: Args) -> Reply:
    return _set_until(ctx, args, b"EX", "setex")


@group.command(
    "PSETEX key milliseconds value",
    arity=4,
    flags=_WRITE,
    keys=KEY_OVERWRITE,
    since="2.6.0",
    summary="Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't "
    "exist.",
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `PX` argument",
)
def psetex(ctx: Context, args: Args) -> Reply:
    return _set_until(ctx, args, b"PX", "psetex")


@group.command(
    "MSET key value [key value ...]",
    arity=-3,
    flags=_WRITE,
    keys=(KeySpec("OW update", last=-1, step=2),),
    hints=("request_policy:multi_shard", "response_policy:all_succeeded"),
    since="1.0.1",
    summary="Atomically creates or modifies the string values of one or more keys.",
    complexity="O(N) where N is the number of keys to set.",
)
def mset(ctx: Context, args: Args) -> Reply:
    if not len(args) & 1:
        raise wrong_arity("mset")
    _set_all(ctx, args)
    return OK


def _set_all(ctx: Context, args: Args) -> None:
    if ctx.observers or ctx.database.walkers or ctx.expires:
        for key, text in zip(args[1::2], args[2::2], strict=True):
            ctx.set(key, compact(text))
            ctx.modified("set", key)
    else:  # Nobody wants to know.
        keys = ctx.keys
        for key, text in zip(args[1::2], args[2::2], strict=True):
            keys[key] = text if text > ABOVE_DIGITS else compact(text)
        ctx.dirty += len(args) // 2


@group.command(
    "MSETNX key value [key value ...]",
    arity=-3,
    flags=_WRITE,
    keys=(KeySpec("OW insert", last=-1, step=2),),
    since="1.0.1",
    summary="Atomically modifies the string values of one or more keys only when all keys don't exist.",
    complexity="O(N) where N is the number of keys to set.",
)
def msetnx(ctx: Context, args: Args) -> Reply:
    if not len(args) & 1:
        raise wrong_arity("msetnx")
    if any(ctx.peek(key) is not None for key in args[1::2]):
        return 0
    _set_all(ctx, args)
    return 1


# Reading and changing in one ------------------------------------------------------------------------------------------


@group.command(
    "GETSET key value",
    arity=3,
    flags=_FAST_WRITE,
    keys=KEY_ACCESS_UPDATE,
    since="1.0.0",
    summary="Returns the previous string value of a key after setting it to a new value.",
    deprecated_since="6.2.0",
    replaced_by="`SET` with the `!GET` argument",
)
def getset(ctx: Context, args: Args) -> Reply:
    before = _found(ctx, args[1])
    store(ctx, args[1], args[2], None)
    ctx.propagate(b"SET", args[1], args[2])
    return before


@group.command(
    "GETDEL key",
    arity=2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_ACCESS_DELETE,
    since="6.2.0",
    summary="Returns the string value of a key after deleting the key.",
)
def getdel(ctx: Context, args: Args) -> Reply:
    key = args[1]
    value = _found(ctx, key)
    if value is not None:
        ctx.discard(key)
        ctx.modified("del", key)
        ctx.propagate(b"UNLINK" if ctx.node.config.lazyfree_lazy_user_del else b"DEL", key)
    return value


@group.command(
    "GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=_KEY_GETEX,
    since="6.2.0",
    summary="Returns the string value of a key after setting its expiration time.",
)
def getex(ctx: Context, args: Args) -> Reply:
    options = _SetOptions(args, 2, _GETEX_WORDS)
    key = args[1]
    value = _found(ctx, key)
    if value is None:
        return None
    if options.unit:
        deadline_ms = expiry_ms(options.unit, options.amount, ctx.now_ms, "getex")
        if deadline_ms <= ctx.now_ms and not ctx.node.unusual & _REPLICA:
            ctx.discard(key)
            ctx.modified("del", key)
            ctx.propagate(b"UNLINK" if ctx.node.config.lazyfree_lazy_expire else b"DEL", key)
        else:
            ctx.set_deadline(key, deadline_ms)
            ctx.modified("expire", key)
            ctx.propagate(b"PEXPIREAT", key, b"%d" % deadline_ms)
    elif options.persist and ctx.deadline_ms(key) is not None:
        ctx.set_deadline(key, None)
        ctx.modified("persist", key)
        ctx.propagate(b"PERSIST", key)
    return value
