"""Commands: cluster slots (https://redis.io/commands/?group=cluster): who owns them, how they change hands, their keys.

CLUSTER's own subcommands like those of `cluster.py`, in whose group they are declared.
"""

from __future__ import annotations

from itertools import islice

from cluster.events import ClusterError
from cluster.operations import SlotAction, SlotOrder
from cluster.slots import SlotError, key_slot, parse_slot, range_slots_to_assign, slots_to_assign
from gossip.messages import SLOT_COUNT
from node.commands import cluster as cluster_commands
from node.commands.cluster import ASKS, CHANGES, VARIES, carry_out, cluster_of, has_keys, integer, node_id, subcommand
from node.commands.cluster_migration import refuse_moving
from node.context import Context
from node.errors import NO_REPLICAS, CommandError, wrong_arity
from node.gate import Deferred
from node.numbers import parse_int
from node.registry import Args
from node.resp import Reply

group = cluster_commands.group
"""CLUSTER and its companions, with what is declared here."""

_REPLICAS_TIMEOUT_MS = 2000
"""How long SETSLOT waits for replicas unless told otherwise, as in Valkey."""
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
    return carry_out(ctx, lambda: change(slots, ctx.node.io.steady_ms()))


@subcommand(
    "CLUSTER FLUSHSLOTS",
    arity=2,
    flags=CHANGES,
    since="3.0.0",
    summary="Deletes all slots information from a node.",
)
def flushslots(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    return carry_out(ctx, lambda: cluster.operations.flush_slots(has_keys(ctx), ctx.node.io.steady_ms()))


# Moving ---------------------------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER SETSLOT slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE> [TIMEOUT timeout]",
    arity=-4,
    flags=CHANGES,
    since="3.0.0",
    summary="Binds a hash slot to a node.",
    history=(("8.0.0", "Added the `TIMEOUT` option."),),
)
def setslot(ctx: Context, args: Args) -> Reply:
    """Redis's order: the role is looked at first, then the slot, then the rest. As in Valkey 8, our replicas note it
    before we do: whoever takes over in the middle of a move goes on with it."""
    cluster = cluster_of(ctx)
    obeying = ctx.client.is_primary
    operations = cluster.operations
    try:
        operations.check_setslot(obeying=obeying)
        slot = parse_slot(args[2])
        refuse_moving(ctx, slot)
        order, at = _slot_order(slot, args)
        operations.check_slot_order(order, _holds(ctx, slot), obeying=obeying)
    except ClusterError as error:
        raise CommandError(str(error)) from None
    except SlotError as error:
        raise CommandError(f"ERR {error}") from None
    timeout_ms = _timeout(args, at)
    if obeying:
        return carry_out(ctx, lambda: operations.set_slot(order, _holds(ctx, slot), ctx.node.io.steady_ms(), obeying=True))
    replicas = ctx.node.replication.primary.online
    if replicas and all(peer.announced.setslot for peer in replicas):
        ctx.node.propagate(ctx.database, args[:at])
        if ctx.may_block:
            return _after_replicas(ctx, order, len(replicas), timeout_ms)
    return carry_out(ctx, lambda: operations.set_slot(order, _holds(ctx, slot), ctx.node.io.steady_ms()))


def _slot_order(slot: int, args: Args) -> tuple[SlotOrder, int]:
    """What is ordered, and where the options behind it begin."""
    try:
        action = SlotAction(args[3].lower().decode("ascii", "replace"))
    except ValueError:
        raise CommandError(_BAD_SETSLOT) from None
    if action is SlotAction.STABLE:
        order, at = SlotOrder(slot, action), 4
    elif len(args) >= 5:
        order, at = SlotOrder(slot, action, node_id(args[4])), 5
    else:
        raise CommandError(_BAD_SETSLOT)
    if (len(args) > at and args[at].lower() != b"timeout") or len(args) > at + 2:
        raise CommandError(_BAD_SETSLOT)
    return order, at


def _timeout(args: Args, at: int) -> int:
    """How long to wait for replicas, in ms; 0 for as long as it takes."""
    if len(args) == at:
        return _REPLICAS_TIMEOUT_MS
    if len(args) == at + 1:
        raise CommandError("ERR Missing timeout value")
    timeout_ms = parse_int(args[at + 1])
    if timeout_ms is None:
        raise CommandError("ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise CommandError("ERR timeout is negative")
    return timeout_ms


def _holds(ctx: Context, slot: int) -> bool:
    return bool(ctx.node.databases[0].slots[slot])


def _after_replicas(ctx: Context, order: SlotOrder, replicas: int, timeout_ms: int) -> Deferred:
    """Carry it out when all replicas have noted it, or refuse when they do not in time."""
    node = ctx.node
    offset = node.replication.offset

    def noted() -> Reply:
        still_there = len(node.replication.primary.online)
        if node.gate.replicas_at(offset) < min(replicas, still_there):
            return CommandError(NO_REPLICAS)
        cluster = cluster_of(ctx)
        try:
            return carry_out(ctx, lambda: cluster.operations.set_slot(order, _holds(ctx, order.slot), node.io.steady_ms()))
        except CommandError as error:
            return error

    deadline_ms = node.io.steady_ms() + timeout_ms if timeout_ms else None
    gated = node.gate.wait(offset, noted, replicas=replicas, deadline_ms=deadline_ms)
    node.replication.request_acks()
    # Carried out even when the client leaves meanwhile, since the replicas have noted it: so the gate must not know
    # the client's own Deferred, which it would forget then.
    reply = Deferred(pauses=True)
    gated.when_ready(lambda: reply.resolve(gated.value))
    return reply


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
