"""Commands: strings, newer than Redis 7.2: DIGEST, DELEX and MSETEX of Redis 8.4, DELIFEQ of Valkey 9.

Replicas are told of them in words that any server knows (SET, DEL).
"""

from __future__ import annotations

from node.arguments import EXPIRY_UNITS, expiry_ms
from node.commands.strings import COMPARISONS, compares, store
from node.context import Context
from node.errors import SYNTAX, WRONG_TYPE, CommandError, wrong_arity
from node.numbers import INT_MAX, parse_int
from node.registry import KEY_DELETE, KEY_READ, Args, Flag, Group, KeySpec
from node.resp import Reply
from node.types.string import STRING_TYPES, text_of
from node.types.xxh3 import hex_digest

group = Group("string")


@group.command(
    "DIGEST key",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KEY_READ,
    since="8.4.0",
    summary="Returns the XXH3 hash of a string value.",
    complexity="O(N) where N is the length of the string value.",
)
def digest(ctx: Context, args: Args) -> Reply:
    value = ctx.read(args[1])
    if value is None:
        return None
    if type(value) not in STRING_TYPES:
        raise CommandError(WRONG_TYPE)
    return hex_digest(text_of(value))


def _removed(ctx: Context, key: bytes) -> int:
    """Delete a key that is there, and say so."""
    ctx.discard(key)
    ctx.modified("del", key)
    ctx.propagate(b"UNLINK" if ctx.node.config.lazyfree_lazy_user_del else b"DEL", key)
    return 1


@group.command(
    "DELEX key [IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest]",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KEY_DELETE,
    since="8.4.0",
    summary="Conditionally removes the specified key based on value or digest comparison.",
    complexity="O(1) for IFEQ/IFNE, O(N) for IFDEQ/IFDNE where N is the length of the string value.",
)
def delex(ctx: Context, args: Args) -> Reply:
    if len(args) not in (2, 4):
        raise wrong_arity("delex")
    key = args[1]
    value = ctx.peek(key)
    if value is None:
        return 0
    if len(args) == 2:
        return _removed(ctx, key)
    if type(value) not in STRING_TYPES:
        raise CommandError("ERR Key should be of string type if conditions are specified")
    comparison = args[2].upper()
    if comparison not in COMPARISONS:
        raise CommandError("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
    return _removed(ctx, key) if compares(ctx, key, comparison, args[3]) else 0


@group.command(
    "DELIFEQ key value",
    arity=3,
    flags=Flag.WRITE | Flag.FAST,
    keys=(KeySpec("RM delete"),),
    since="9.0.0",
    summary="Delete key if value matches string.",
)
def delifeq(ctx: Context, args: Args) -> Reply:
    return _removed(ctx, args[1]) if compares(ctx, args[1], b"IFEQ", args[2]) else 0


@group.command(
    "MSETEX numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | "
    "PXAT unix-time-milliseconds | KEEPTTL]",
    arity=-4,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("OW update", count_at=0, step=2),),
    hints=("request_policy:multi_shard", "response_policy:all_succeeded"),
    since="8.4.0",
    summary="Atomically sets multiple string keys with a shared expiration in a single operation. Supports flexible "
    "argument parsing where condition and expiration flags can appear in any order.",
    complexity="O(N) where N is the number of keys to set.",
)
def msetex(ctx: Context, args: Args) -> Reply:
    count = parse_int(args[1])
    if count is None or not 0 < count <= INT_MAX:
        raise CommandError("ERR invalid numkeys value or out of range")
    first = 2 + count * 2
    if first > len(args):
        raise CommandError(SYNTAX)
    condition, keep_ttl, deadline_ms = _options(ctx, args, first)
    keys, texts = args[2:first:2], args[3:first:2]
    if condition and any((ctx.peek(key) is None) != (condition == b"NX") for key in keys):
        return 0
    tail = [b"PXAT", b"%d" % deadline_ms] if deadline_ms is not None else [b"KEEPTTL"] if keep_ttl else []
    for key, text in zip(keys, texts, strict=True):
        store(ctx, key, text, deadline_ms, keep_ttl=keep_ttl)
        ctx.propagate(b"SET", key, text, *tail)
    return 1


def _options(ctx: Context, args: Args, first: int) -> tuple[bytes, bool, int | None]:
    """NX or XX, whether KEEPTTL was said, when the keys expire (unix time in ms). CommandError for anything else."""
    condition, unit, amount = b"", b"", b""
    at = first
    while at < len(args):
        word = args[at].upper()
        at += 1
        if word in (b"NX", b"XX"):
            if condition and condition != word:
                raise CommandError(SYNTAX)
            condition = word
        elif word == b"KEEPTTL" and unit in (b"", word):
            unit = word
        elif word in EXPIRY_UNITS and at < len(args) and unit in (b"", word):
            unit, amount = word, args[at]
            at += 1
        else:
            raise CommandError(SYNTAX)
    if unit == b"KEEPTTL":
        return condition, True, None
    return condition, False, expiry_ms(unit, amount, ctx.now_ms, "msetex") if unit else None
