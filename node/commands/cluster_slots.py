"""Commands: cluster slots (https://redis.io/commands/?group=cluster): who owns them, how they change hands, their keys.

CLUSTER's own subcommands like those of `cluster.py`, in whose group they are declared.
"""

from __future__ import annotations

from itertools import islice

from cluster.events import ClusterError
from cluster.machine import Cluster
from cluster.slots import SlotError, key_slot, parse_slot, range_slots_to_assign, slots_to_assign
from gossip.messages import SLOT_COUNT
from node.commands import cluster as cluster_commands
from node.commands.cluster import ASKS, CHANGES, VARIES, carry_out, cluster_of, has_keys, integer, node_id, subcommand
from node.context import Context
from node.errors import CommandError, wrong_arity
from node.registry import Args
from node.resp import Reply

group = cluster_commands.group
"""CLUSTER and its companions, with what is declared here."""

_BAD_SETSLOT = "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"


# Assigning ------------------------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER ADDSLOTS slot [slot ...]",
    arity=-3,
    flags=CHANGES,
    since="3.0.0",
    summary="Assigns new hash slots to a node.",
    complexity="O(N) where N is the total number of hash slot arguments",
)
def addslots(ctx: Context, args: Args) -> Reply:
    return _assign(ctx, args, adding=True)


@subcommand(
    "CLUSTER DELSLOTS slot [slot ...]",
    arity=-3,
    flags=CHANGES,
    since="3.0.0",
    summary="Sets hash slots as unbound for a node.",
    complexity="O(N) where N is the total number of hash slot arguments",
)
def delslots(ctx: Context, args: Args) -> Reply:
    return _assign(ctx, args, adding=False)


@subcommand(
    "CLUSTER ADDSLOTSRANGE start-slot end-slot [start-slot end-slot ...]",
    arity=-4,
    flags=CHANGES,
    since="7.0.0",
    summary="Assigns new hash slot ranges to a node.",
    complexity="O(N) where N is the total number of the slots between the start slot and end slot arguments.",
)
def addslotsrange(ctx: Context, args: Args) -> Reply:
    return _assign(ctx, args, adding=True, ranges=True)


@subcommand(
    "CLUSTER DELSLOTSRANGE start-slot end-slot [start-slot end-slot ...]",
    arity=-4,
    flags=CHANGES,
    since="7.0.0",
    summary="Sets hash slot ranges as unbound for a node.",
    complexity="O(N) where N is the total number of the slots between the start slot and end slot arguments.",
)
def delslotsrange(ctx: Context, args: Args) -> Reply:
    return _assign(ctx, args, adding=False, ranges=True)


def _assign(ctx: Context, args: Args, *, adding: bool, ranges: bool = False) -> Reply:
    cluster = cluster_of(ctx)
    if ranges and len(args) % 2:
        raise wrong_arity("cluster|" + args[1].lower().decode())
    read = range_slots_to_assign if ranges else slots_to_assign
    try:
        slots = read(args[2:], lambda slot: cluster.slotmap.owner_of(slot) is not None, adding=adding)
    except SlotError as error:
        raise CommandError(f"ERR {error}") from None
    operations = cluster.operations
    change = operations.add_slots if adding else operations.del_slots
    return carry_out(ctx, lambda: change(slots, ctx.now_ms))


@subcommand(
    "CLUSTER FLUSHSLOTS",
    arity=2,
    flags=CHANGES,
    since="3.0.0",
    summary="Deletes all slots information from a node.",
)
def flushslots(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    return carry_out(ctx, lambda: cluster.operations.flush_slots(has_keys(ctx), ctx.now_ms))


# Moving ---------------------------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER SETSLOT slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
    arity=-4,
    flags=CHANGES,
    since="3.0.0",
    summary="Binds a hash slot to a node.",
)
def setslot(ctx: Context, args: Args) -> Reply:
    """Redis's order: the role is looked at first, then the slot, then the rest."""
    cluster = cluster_of(ctx)
    try:
        cluster.operations.check_setslot()
        slot = parse_slot(args[2])
    except ClusterError as error:
        raise CommandError(str(error)) from None
    except SlotError as error:
        raise CommandError(f"ERR {error}") from None
    action = args[3].lower()
    if action == b"stable" and len(args) == 4:
        return carry_out(ctx, lambda: cluster.operations.set_slot_stable(slot, ctx.now_ms))
    if len(args) != 5:
        raise CommandError(_BAD_SETSLOT)
    return _set_slot_to(ctx, cluster, slot, action, args[4])


def _set_slot_to(ctx: Context, cluster: Cluster, slot: int, action: bytes, whom: bytes) -> Reply:
    operations = cluster.operations
    node = node_id(whom)
    if action == b"migrating":
        return carry_out(ctx, lambda: operations.set_slot_migrating(slot, node, ctx.now_ms))
    if action == b"importing":
        return carry_out(ctx, lambda: operations.set_slot_importing(slot, node, ctx.now_ms))
    if action == b"node":
        held = bool(ctx.node.databases[0].slots[slot])
        return carry_out(ctx, lambda: operations.set_slot_node(slot, node, held, ctx.now_ms))
    raise CommandError(_BAD_SETSLOT)


# Keys -----------------------------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER KEYSLOT key",
    arity=3,
    flags=ASKS,
    since="3.0.0",
    summary="Returns the hash slot for a key.",
    complexity="O(N) where N is the number of bytes in the key",
)
def keyslot(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    return key_slot(args[2])


@subcommand(
    "CLUSTER COUNTKEYSINSLOT slot",
    arity=3,
    flags=ASKS,
    since="3.0.0",
    summary="Returns the number of keys in a hash slot.",
)
def countkeysinslot(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    slot = integer(args[2])
    if not 0 <= slot < SLOT_COUNT:
        raise CommandError("ERR Invalid slot")
    return len(ctx.node.databases[0].slots[slot])


@subcommand(
    "CLUSTER GETKEYSINSLOT slot count",
    arity=4,
    flags=ASKS,
    since="3.0.0",
    summary="Returns the key names in a hash slot.",
    complexity="O(N) where N is the number of requested keys",
    hints=VARIES,
)
def getkeysinslot(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    slot, count = integer(args[2]), integer(args[3])
    if not 0 <= slot < SLOT_COUNT or count < 0:
        raise CommandError("ERR Invalid slot or number of keys")
    return list(islice(ctx.node.databases[0].slots[slot], count))
