"""Commands: t-digests (https://redis.io/docs/data-types/probabilistic/t-digest/)."""

from __future__ import annotations

import math

from node.arguments import Options
from node.commands.probabilistic import changed, double_or, integer_or, to_change, to_read
from node.context import Context
from node.errors import CommandError, wrong_arity
from node.registry import KEY_INSERT, KEY_READ, KEY_UPDATE, Args, Flag, Group, KeySpec
from node.resp import OK, Reply
from node.types.tdigest import DEFAULT_COMPRESSION, WEIGHT_MAX, DigestOverflow, DigestTooLarge, TDigest, View

group = Group("module")

_ACL = ("tdigest",)
_WRITE = Flag.WRITE | Flag.DENYOOM
_READ = Flag.READONLY | Flag.FAST
_LONG_MIN = -(1 << 63)
_COST_OF_MANY = "O(N), where N is the number of values specified"

_MISSING = "ERR T-Digest: key does not exist"
_EXISTS = "ERR T-Digest: key already exists"
_TOO_LARGE = "ERR T-Digest: allocation failed"
_OVERFLOW = "ERR T-Digest: overflow detected"
_WRONG_WORD = "ERR T-Digest: wrong keyword"

_EMPTY_RANK = -2
"""What RANK replies for a digest without observations."""


def _compression(text: bytes) -> int:
    number = integer_or(text, "ERR T-Digest: error parsing compression parameter", _LONG_MIN)
    if number <= 0:
        raise CommandError("ERR T-Digest: compression parameter needs to be a positive integer")
    return number


def _new(compression: int) -> TDigest:
    try:
        return TDigest(compression)
    except DigestTooLarge:
        raise CommandError(_TOO_LARGE) from None


def _view(ctx: Context, key: bytes) -> View | None:
    return to_read(ctx, key, TDigest, _MISSING).view()


@group.command(
    "TDIGEST.CREATE key [COMPRESSION compression]",
    arity=-2,
    flags=_WRITE,
    keys=KEY_INSERT,
    acl=_ACL,
    since="2.4.0",
    summary="Allocates memory and initializes a new t-digest sketch.",
)
def tdigest_create(ctx: Context, args: Args) -> Reply:
    if len(args) not in (2, 4):
        raise wrong_arity("tdigest.create")
    key = args[1]
    if ctx.write_as(key, TDigest) is not None:
        raise CommandError(_EXISTS)
    compression = DEFAULT_COMPRESSION
    if len(args) == 4:
        if args[2].upper() != b"COMPRESSION":
            raise CommandError(_WRONG_WORD)
        compression = _compression(args[3])
    ctx.set(key, _new(compression))
    changed(ctx, "tdigest.create", key)
    return OK


@group.command(
    "TDIGEST.RESET key",
    arity=2,
    flags=_WRITE,
    keys=KEY_UPDATE,
    acl=_ACL,
    since="2.4.0",
    summary="Resets a t-digest sketch: empty the sketch and re-initializes it.",
)
def tdigest_reset(ctx: Context, args: Args) -> Reply:
    to_change(ctx, args[1], TDigest, _MISSING).reset()
    changed(ctx, "tdigest.reset", args[1])
    return OK


@group.command(
    "TDIGEST.ADD key value [value ...]",
    arity=-3,
    flags=_WRITE,
    keys=KEY_UPDATE,
    acl=_ACL,
    since="2.4.0",
    summary="Adds one or more observations to a t-digest sketch.",
    complexity="O(N), where N is the number of samples to add",
)
def tdigest_add(ctx: Context, args: Args) -> Reply:
    found = to_change(ctx, args[1], TDigest, _MISSING)
    values = [double_or(text, "ERR T-Digest: error parsing val parameter") for text in args[2:]]
    if not all(map(math.isfinite, values)):
        raise CommandError("ERR T-Digest: val parameter needs to be a finite number")
    if found.total + len(values) > WEIGHT_MAX:
        raise CommandError(_OVERFLOW)
    for value in values:
        found.add(value)
    changed(ctx, "tdigest.add", args[1], len(values))
    return OK


@group.command(
    "TDIGEST.MERGE destination-key numkeys source-key [source-key ...] [COMPRESSION compression] [OVERRIDE]",
    arity=-4,
    flags=_WRITE,
    keys=(KeySpec("RW access insert"), KeySpec("RO access", begin=2, count_at=0)),
    acl=_ACL,
    since="2.4.0",
    summary="Merges multiple t-digest sketches into a single sketch.",
    complexity="O(N*K), where N is the number of centroids and K being the number of input sketches",
)
def tdigest_merge(ctx: Context, args: Args) -> Reply:
    key = args[1]
    destination = ctx.write_as(key, TDigest)
    count = integer_or(args[2], "ERR T-Digest: error parsing numkeys", _LONG_MIN)
    if count <= 0:
        raise CommandError("ERR T-Digest: numkeys needs to be a positive integer")
    if count > len(args) - 3:
        raise wrong_arity("tdigest.merge")
    compression: int | None = None
    overrides = False
    options = Options(args, 3 + count)
    for word in options:
        if word == b"OVERRIDE":
            overrides = True
        elif word != b"COMPRESSION":
            raise CommandError(_WRONG_WORD)
        elif not options.left():
            raise wrong_arity("tdigest.merge")
        else:
            compression = _compression(options.value())
    sources = [to_read(ctx, source, TDigest, _MISSING) for source in args[3 : 3 + count]]
    start = None if overrides else destination
    if compression is None:
        compression = max(one.compression for one in sources) if start is None else start.compression
    merged = _new(compression)
    try:
        for source in sources if start is None else [start, *sources]:
            merged.merge(source)
    except DigestOverflow:
        raise CommandError(_OVERFLOW) from None
    ctx.set(key, merged)
    changed(ctx, "tdigest.merge", key)
    return OK


# Asking ---------------------------------------------------------------------------------------------------------------


@group.command(
    "TDIGEST.MIN key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns the minimum observation value from a t-digest sketch.",
)
def tdigest_min(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TDigest, _MISSING)
    return found.low if found.low <= found.high else math.nan


@group.command(
    "TDIGEST.MAX key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns the maximum observation value from a t-digest sketch.",
)
def tdigest_max(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TDigest, _MISSING)
    return found.high if found.low <= found.high else math.nan


@group.command(
    "TDIGEST.QUANTILE key quantile [quantile ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns, for each input fraction, an estimation of the value (floating point) that is smaller than the "
    "given fraction of observations.",
    complexity=_COST_OF_MANY,
)
def tdigest_quantile(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TDigest, _MISSING)
    quantiles = [double_or(text, "ERR T-Digest: error parsing quantile") for text in args[2:]]
    if not all(0 <= quantile <= 1 for quantile in quantiles):
        raise CommandError("ERR T-Digest: quantile should be in [0,1]")
    view = found.view()
    if view is None:
        return [math.nan] * len(quantiles)
    return [view.value_at(quantile * view.total) for quantile in quantiles]


@group.command(
    "TDIGEST.CDF key value [value ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns, for each input value, an estimation of the floating-point fraction of (observations smaller than "
    "the given value + half the observations equal to the given value).",
    complexity=_COST_OF_MANY,
)
def tdigest_cdf(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TDigest, _MISSING)
    values = [double_or(text, "ERR T-Digest: error parsing cdf") for text in args[2:]]
    view = found.view()
    if view is None:
        return [math.nan] * len(values)
    return [view.rank(value) / view.total for value in values]


def _ranks(ctx: Context, args: Args, *, reverse: bool) -> list[int]:
    found = to_read(ctx, args[1], TDigest, _MISSING)
    values = [double_or(text, "ERR T-Digest: error parsing value") for text in args[2:]]
    view = found.view()
    if view is None:
        return [_EMPTY_RANK] * len(values)
    ranks: list[int] = []
    for value in values:
        if value < view.low:
            ranks.append(view.total if reverse else -1)
        elif value > view.high:
            ranks.append(-1 if reverse else view.total)
        elif reverse:
            ranks.append(view.total - math.floor(view.rank(value) + 0.5))
        else:
            ranks.append(math.ceil(view.rank(value) - 0.5))
    return ranks


@group.command(
    "TDIGEST.RANK key value [value ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns, for each input value, the estimated rank of the value (the number of observations in the sketch "
    "that are smaller than the value + half the number of observations that are equal to the value).",
    complexity=_COST_OF_MANY,
)
def tdigest_rank(ctx: Context, args: Args) -> Reply:
    return _ranks(ctx, args, reverse=False)


@group.command(
    "TDIGEST.REVRANK key value [value ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns, for each input value, the estimated reverse rank of the value (the number of observations in the "
    "sketch that are larger than the value + half the number of observations that are equal to the value).",
    complexity=_COST_OF_MANY,
)
def tdigest_revrank(ctx: Context, args: Args) -> Reply:
    return _ranks(ctx, args, reverse=True)


def _values(ctx: Context, args: Args, *, reverse: bool) -> list[float]:
    found = to_read(ctx, args[1], TDigest, _MISSING)
    ranks = [integer_or(text, "ERR T-Digest: error parsing rank", _LONG_MIN) for text in args[2:]]
    if min(ranks) < 0:
        raise CommandError("ERR T-Digest: rank needs to be non negative")
    view = found.view()
    if view is None:
        return [math.nan] * len(ranks)
    beyond = -math.inf if reverse else math.inf
    return [
        beyond if rank >= view.total else view.value_at(view.total - 1 - rank if reverse else rank) for rank in ranks
    ]


@group.command(
    "TDIGEST.BYRANK key rank [rank ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns, for each input rank, an estimation of the value (floating-point) with that rank.",
    complexity=_COST_OF_MANY,
)
def tdigest_byrank(ctx: Context, args: Args) -> Reply:
    return _values(ctx, args, reverse=False)


@group.command(
    "TDIGEST.BYREVRANK key reverse_rank [reverse_rank ...]",
    arity=-3,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns, for each input reverse rank, an estimation of the value (floating-point) with that reverse rank.",
    complexity=_COST_OF_MANY,
)
def tdigest_byrevrank(ctx: Context, args: Args) -> Reply:
    return _values(ctx, args, reverse=True)


@group.command(
    "TDIGEST.TRIMMED_MEAN key low_cut_quantile high_cut_quantile",
    arity=4,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns an estimation of the mean value from the sketch, excluding observation values outside the low and "
    "high cutoff quantiles.",
    complexity="O(N) where N is the number of centroids",
)
def tdigest_trimmed_mean(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TDigest, _MISSING)
    low = double_or(args[2], "ERR T-Digest: error parsing low_cut_percentile")
    high = double_or(args[3], "ERR T-Digest: error parsing high_cut_percentile")
    if not (0 <= low <= 1 and 0 <= high <= 1):
        raise CommandError("ERR T-Digest: low_cut_percentile and high_cut_percentile should be in [0,1]")
    if low >= high:
        raise CommandError("ERR T-Digest: low_cut_percentile should be lower than high_cut_percentile")
    view = found.view()
    return math.nan if view is None else view.trimmed_mean(low, high)


@group.command(
    "TDIGEST.INFO key",
    arity=2,
    flags=_READ,
    keys=KEY_READ,
    acl=_ACL,
    since="2.4.0",
    summary="Returns information and statistics about a t-digest sketch.",
)
def tdigest_info(ctx: Context, args: Args) -> Reply:
    found = to_read(ctx, args[1], TDigest, _MISSING)
    return {
        "Compression": found.compression,
        "Capacity": found.capacity,
        "Merged nodes": len(found.means),
        "Unmerged nodes": len(found.gathered),
        "Merged weight": sum(found.weights),
        "Unmerged weight": sum(found.gathered_weights),
        "Observations": found.total,
        "Total compressions": found.compressions,
        "Memory usage": found.memory,
    }
