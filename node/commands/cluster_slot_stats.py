"""Commands: CLUSTER SLOT-STATS (https://valkey.io/commands/cluster-slot-stats/), in the group of `cluster_slots.py`."""

from __future__ import annotations

from cluster.machine import Cluster
from cluster.slots import SlotRange
from gossip.messages import SLOT_COUNT
from node.commands import cluster_slots
from node.commands.cluster import cluster_of, subcommand
from node.context import Context
from node.errors import SYNTAX, CommandError
from node.numbers import parse_int
from node.registry import Args, Flag
from node.resp import Reply

group = cluster_slots.group
"""CLUSTER and its companions, with what is declared here."""

_BAD_SLOT = "ERR Invalid or out of range slot"
_BAD_LIMIT = f"ERR Limit has to lie in between 1 and {SLOT_COUNT} (maximum number of slots)."
_WRONG_SHAPE = "ERR unknown subcommand or wrong number of arguments for '{}'. Try CLUSTER HELP."


@subcommand(
    "CLUSTER SLOT-STATS <SLOTSRANGE start-slot end-slot | ORDERBY metric [LIMIT limit] [ASC | DESC]>",
    arity=-4,
    flags=Flag.LOADING | Flag.STALE,
    since="8.0.0",
    summary="Return an array of slot usage statistics for slots assigned to the current node.",
    complexity="O(N) where N is the total number of slots based on arguments. O(N*log(N)) with ORDERBY subcommand.",
    hints=("nondeterministic_output", "request_policy:all_shards"),
)
def slot_stats(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    how = args[2].lower()
    if how == b"slotsrange" and len(args) == 5:
        return _of_range(ctx, cluster, args)
    if how == b"orderby":
        return _ordered(ctx, cluster, args)
    raise CommandError(_WRONG_SHAPE.format(args[1][:128].decode("utf-8", "surrogateescape")))


def _own(cluster: Cluster) -> list[SlotRange]:
    """The slots of this node's shard."""
    return cluster.slotmap.slots_of(cluster.shard_head(cluster.myself).id)


def _of_range(ctx: Context, cluster: Cluster, args: Args) -> Reply:
    first, last = _slot(args[3]), _slot(args[4])
    if first > last:
        raise CommandError(f"ERR Start slot number {first} is greater than end slot number {last}")
    stats = ctx.node.slot_stats
    return [
        [slot, stats.of(slot)]
        for begin, end in _own(cluster)
        for slot in range(max(begin, first), min(end, last) + 1)
    ]


def _slot(text: bytes) -> int:
    slot = parse_int(text)
    if slot is None or not 0 <= slot < SLOT_COUNT:
        raise CommandError(_BAD_SLOT)
    return slot


def _ordered(ctx: Context, cluster: Cluster, args: Args) -> Reply:
    stats = ctx.node.slot_stats
    metric = args[3].lower()
    if metric not in stats.of(0):
        raise CommandError("ERR Unrecognized sort metric for ORDERBY.")
    limit, ascending = _options(args)
    slots = [slot for begin, end in _own(cluster) for slot in range(begin, end + 1)]
    # Sorting keeps the order of equals, which is that of the slots, in both directions.
    slots.sort(key=stats.values(metric).__getitem__, reverse=not ascending)
    return [[slot, stats.of(slot)] for slot in slots[:limit]]


def _options(args: Args) -> tuple[int, bool]:
    """LIMIT, and whether the least comes first."""
    limit: int | None = None
    ascending: bool | None = None
    at = 4
    while at < len(args):
        word = args[at].lower()
        if word == b"limit" and at + 1 < len(args):
            if limit is not None:
                raise CommandError("ERR Multiple filters of the same type are disallowed.")
            limit = parse_int(args[at + 1])
            if limit is None or not 1 <= limit <= SLOT_COUNT:
                raise CommandError(_BAD_LIMIT)
            at += 2
        elif word in (b"asc", b"desc"):
            if ascending is not None:
                raise CommandError("ERR Multiple filters of the same type are disallowed.")
            ascending = word == b"asc"
            at += 1
        else:
            raise CommandError(SYNTAX)
    return limit or SLOT_COUNT, bool(ascending)
