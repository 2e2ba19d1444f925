"""Commands: HyperLogLog (https://redis.io/docs/data-types/probabilistic/hyperloglogs/)."""

from __future__ import annotations

from node.context import Context
from node.errors import WRONG_TYPE, CommandError
from node.registry import KEY_INSERT, Args, Flag, Group, KeySpec
from node.resp import OK, Reply
from node.types import hyperloglog as hll
from node.types.string import STRING_TYPES, StringValue, buffer_of

group = Group("hyperloglog")

_NOT_ONE = "WRONGTYPE Key is not a valid HyperLogLog string value."
_CORRUPTED = "INVALIDOBJ Corrupted HLL object detected"


def _checked(value: StringValue | None) -> bytes | bytearray | None:
    """A value that is a HyperLogLog; None for none. CommandError for any other."""
    if value is None:
        return None
    if type(value) not in STRING_TYPES:
        raise CommandError(WRONG_TYPE)
    if isinstance(value, int) or not hll.is_valid(value):
        raise CommandError(_NOT_ONE)
    return value


def _opened(ctx: Context, key: bytes) -> bytearray | None:
    """The HyperLogLog at `key` to change in place; None when there is none. CommandError when it is not one."""
    value = _checked(ctx.write(key))
    if value is None:
        return None
    buffer = buffer_of(value)
    if buffer is not value:
        ctx.put(key, buffer)
    return buffer


@group.command(
    "PFADD key [element [element ...]]",
    arity=-2,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KEY_INSERT,
    since="2.8.9",
    summary="Adds elements to a HyperLogLog key. Creates the key if it doesn't exist.",
    complexity="O(1) to add every element.",
)
def pfadd(ctx: Context, args: Args) -> Reply:
    key = args[1]
    buffer = _opened(ctx, key)
    updated = 0
    if buffer is None:
        buffer = hll.empty()
        ctx.set(key, buffer)
        updated = 1
    sparse_max = ctx.node.config.hll_sparse_max_bytes
    try:
        for element in args[2:]:
            updated += hll.add(buffer, element, sparse_max)
    except hll.CorruptedError:
        raise CommandError(_CORRUPTED) from None
    if not updated:
        return 0
    hll.forget_count(buffer)
    ctx.modified("pfadd", key)
    ctx.dirty += updated - 1
    return 1


@group.command(
    "PFCOUNT key [key ...]",
    arity=-2,
    flags=Flag.READONLY,
    keys=(
        KeySpec(
            "RW access",
            last=-1,
            notes="RW because it may change the internal representation of the key, and propagate to replicas",
        ),
    ),
    since="2.8.9",
    summary="Returns the approximated cardinality of the set(s) observed by the HyperLogLog key(s).",
    complexity="O(1) with a very small average constant time when called with a single key. O(N) with N being the "
    "number of keys, and much bigger constant times, when called with multiple keys.",
)
def pfcount(ctx: Context, args: Args) -> Reply:
    try:
        return _count(ctx, args[1]) if len(args) == 2 else hll.count_registers(_union(ctx, args[1:])[0])
    except hll.CorruptedError:
        raise CommandError(_CORRUPTED) from None


def _count(ctx: Context, key: bytes) -> int:
    """The cardinality of one key, noted in it: a change that is propagated, though PFCOUNT is no write."""
    if _checked(ctx.read(key)) is None:
        return 0
    buffer = _opened(ctx, key)
    assert buffer is not None
    cached = hll.cached_count(buffer)
    if cached is not None:
        return cached
    count = hll.count(buffer)
    hll.cache_count(buffer, count)
    ctx.dirty += 1
    ctx.node.watches.changed(ctx.database, "", key)  # no keyspace event, but a change for those who watch the key
    return count


def _union(ctx: Context, keys: Args) -> tuple[bytes, bool]:
    """The highest of each register in any key, and whether any of them is dense."""
    highest = bytes(hll.REGISTERS)
    dense = False
    for key in keys:
        text = _checked(ctx.read(key))
        if text is not None:
            dense = dense or not hll.is_sparse(text)
            highest = bytes(map(max, highest, hll.registers(text)))
    return highest, dense


@group.command(
    "PFMERGE destkey [sourcekey [sourcekey ...]]",
    arity=-2,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("RW access insert"), KeySpec("RO access", begin=2, last=-1)),
    since="2.8.9",
    summary="Merges one or more HyperLogLog values into a single key.",
    complexity="O(N) to merge N HyperLogLogs, but with high constant times.",
)
def pfmerge(ctx: Context, args: Args) -> Reply:
    key = args[1]
    try:
        highest, dense = _union(ctx, args[1:])
        buffer = _opened(ctx, key)
        if buffer is None:
            buffer = hll.empty()
            ctx.set(key, buffer)
        if dense:
            hll.to_dense(buffer)
        hll.write_all(buffer, highest, ctx.node.config.hll_sparse_max_bytes)
    except hll.CorruptedError:
        raise CommandError(_CORRUPTED) from None
    hll.forget_count(buffer)
    ctx.modified("pfadd", key)
    return OK


# Debugging ------------------------------------------------------------------------------------------------------------


@group.command(
    "PFDEBUG subcommand key",
    arity=3,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.ADMIN,
    keys=(KeySpec("RW access", begin=2),),
    since="2.8.9",
    summary="Internal commands for debugging HyperLogLog values.",
    complexity="N/A",
)
def pfdebug(ctx: Context, args: Args) -> Reply:
    key = args[2]
    buffer = _opened(ctx, key)
    if buffer is None:
        raise CommandError("ERR The specified key does not exist")
    word = args[1].upper()
    if word == b"ENCODING":
        return "sparse" if hll.is_sparse(buffer) else "dense"
    if word == b"DECODE":
        if not hll.is_sparse(buffer):
            raise CommandError("ERR HLL encoding is not sparse")
        return b" ".join([_shown(*run) for run in hll.opcodes(buffer)])
    if word not in (b"GETREG", b"TODENSE"):
        raise CommandError(f"ERR Unknown PFDEBUG subcommand '{args[1].decode('utf-8', 'surrogateescape')}'")
    converted = hll.is_sparse(buffer)
    if converted:
        try:
            hll.to_dense(buffer)
        except hll.CorruptedError:
            raise CommandError(_CORRUPTED) from None
        ctx.dirty += 1
    return list(hll.registers(buffer)) if word == b"GETREG" else int(converted)


def _shown(size: int, length: int, number: int) -> bytes:
    """One opcode as PFDEBUG DECODE writes it."""
    if number:
        return b"v:%d,%d" % (number, length)
    return b"Z:%d" % length if size == 2 else b"z:%d" % length


@group.command(
    "PFSELFTEST",
    arity=1,
    flags=Flag.ADMIN,
    since="2.8.9",
    summary="An internal command for testing HyperLogLog values.",
    complexity="N/A",
)
def pfselftest(ctx: Context, args: Args) -> Reply:
    """Sparse and dense ones agree on every register, and on a number that is right within six standard errors."""
    sparse, dense = hll.empty(), hll.empty()
    hll.to_dense(dense)
    for number in range(1, 1001):
        element = b"%d" % number
        hll.add(sparse, element, 1 << 20)
        hll.add(dense, element, 0)
        if number in (1, 10, 100, 1000) and abs(hll.count(dense) - number) > 6 * 0.0082 * number:
            raise CommandError(f"TESTFAILED Too big error. card:{number}")
    if hll.registers(sparse) != hll.registers(dense) or hll.count(sparse) != hll.count(dense):
        raise CommandError("TESTFAILED dense/sparse disagree")
    return OK
