"""Commands: atomic slot migration, as Valkey 9 (MIGRATESLOTS and its kin) and as Redis 8.4 (CLUSTER MIGRATION) have it.

CLUSTER's own subcommands like those of `cluster.py`, in whose group they are declared. All of them drive the same jobs
(`node/migration/`). SYNCSLOTS is what nodes say to each other.
"""

from __future__ import annotations

from cluster.machine import Cluster
from cluster.migration import ENDED, Export, Import, Job, Stage, Word
from cluster.slots import SlotError, SlotRange, parse_slot
from gossip.ids import NodeId
from node.commands import cluster as cluster_commands
from node.commands.cluster import cluster_of, subcommand
from node.context import Context
from node.errors import SYNTAX, CommandError, wrong_arity
from node.numbers import parse_int
from node.registry import Args, Flag
from node.resp import OK, SILENCE, Reply

group = cluster_commands.group
"""CLUSTER and its companions, with what is declared here."""

_ID_LENGTH = 40
_ORDERS = Flag.ADMIN | Flag.STALE | Flag.NO_ASYNC_LOADING
_SPOKEN = {word.encode(): word for word in Word}


# Arguments --------------------------------------------------------------------------------------------------------------


def _slot(text: bytes) -> int:
    try:
        return parse_slot(text)
    except SlotError as error:
        raise CommandError(f"ERR {error}") from None


def _ranges(cluster: Cluster, args: Args, at: int) -> tuple[list[SlotRange], NodeId, int]:
    """The ranges that begin at `at`, whose they all are, and where the arguments go on. CommandError in Valkey's words."""
    ranges: list[SlotRange] = []
    owner: NodeId | None = None
    while at < len(args) and parse_int(args[at]) is not None:
        first = _slot(args[at])
        if at + 1 >= len(args):
            raise CommandError("ERR No end slot for final slot range")
        last = _slot(args[at + 1])
        if first > last:
            raise CommandError(f"ERR Start slot number {first} is greater than end slot number {last}.")
        for slot in range(first, last + 1):
            whose = cluster.slotmap.owner_of(slot)
            if whose is None:
                raise CommandError(f"ERR Slot {slot} has no node served.")
            if owner is not None and whose != owner:
                raise CommandError("ERR Requested slots span multiple shards")
            owner = whose
        for before in ranges:
            if first <= before[1] and last >= before[0]:
                text = f"{first}-{last} overlaps with previous range {before[0]}-{before[1]}"
                raise CommandError(f"ERR Slot range {text}.")
        ranges.append((first, last))
        at += 2
    if owner is None:
        raise CommandError("ERR No slot ranges specified")
    return ranges, owner, at


def _slots_in(ranges: list[SlotRange]) -> list[int]:
    return [slot for first, last in ranges for slot in range(first, last + 1)]


def _check_may_start(cluster: Cluster) -> None:
    if cluster.myself.is_replica:
        raise CommandError("ERR Slot migration can only be used on primary nodes.")
    if cluster.slotmap.importing:
        raise CommandError("ERR Slots are being manually imported")
    if cluster.slotmap.migrating:
        raise CommandError("ERR Slots are being manually migrated")


def refuse_moving(ctx: Context, slot: int) -> None:
    """CommandError when the slot is being migrated as a whole: SETSLOT would come in its way."""
    migrations = ctx.node.migrations
    if migrations.jobs:
        if migrations.involves(Export, [slot]) is not None:
            raise CommandError("ERR Slot export in progress.")
        if migrations.involves(Import, [slot]) is not None and not ctx.client.is_primary:
            raise CommandError("ERR Slot import in progress.")


# Valkey's ---------------------------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER MIGRATESLOTS <SLOTSRANGE start-slot end-slot [start-slot end-slot ...] NODE node-id> [...]",
    arity=-4,
    flags=_ORDERS,
    since="9.0.0",
    summary="Migrates slots, as a whole, to other nodes.",
    complexity="O(N) where N is the total number of slots between the start slot and end slot arguments.",
)
def migrateslots(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    _check_may_start(cluster)
    migrations = ctx.node.migrations
    wanted: list[tuple[NodeId, list[SlotRange]]] = []
    seen: set[int] = set()
    at = 2
    while at < len(args):
        if args[at].lower() != b"slotsrange":
            raise CommandError(SYNTAX)
        ranges, owner, at = _ranges(cluster, args, at + 1)
        if owner != cluster.myself.id:
            raise CommandError("ERR Slots are not served by this node.")
        slots = _slots_in(ranges)
        busy = migrations.involves(Export, slots)
        if busy is not None:
            raise CommandError(f"ERR I am already migrating slot {busy}.")
        if not seen.isdisjoint(slots):
            raise CommandError("ERR Slot ranges in migrations overlap")
        seen.update(slots)
        if at + 1 >= len(args) or args[at].lower() != b"node":
            raise CommandError(SYNTAX)
        wanted.append((_target(cluster, args[at + 1]), ranges))
        at += 2
    for target, ranges in wanted:
        migrations.export(target, ranges)
    return OK


def _target(cluster: Cluster, text: bytes) -> NodeId:
    name = text.decode("utf-8", "surrogateescape")
    if len(text) != _ID_LENGTH:
        raise CommandError(f"ERR Invalid node name: {name}")
    member = cluster.members.get(NodeId(name))
    if member is None:
        raise CommandError(f"ERR Unknown node name: {name}")
    if member is cluster.myself:
        raise CommandError("ERR Target node can not be this node.")
    return member.id


@subcommand(
    "CLUSTER GETSLOTMIGRATIONS",
    arity=2,
    flags=_ORDERS,
    since="9.0.0",
    summary="Returns the status of ongoing and recently finished slot migrations.",
    complexity="O(N), where N is the number of active slot import and export jobs.",
)
def getslotmigrations(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    return [_shown(ctx, job) for job in ctx.node.migrations.jobs]


def _shown(ctx: Context, job: Job) -> dict[bytes, Reply]:
    migrations = ctx.node.migrations
    sender = migrations.sender(job)
    ends: dict[bytes, Reply] = {b"target_node": job.target.encode(), b"source_node": job.source.encode()}
    return {
        b"name": job.name.encode(),
        b"operation": job.operation.encode(),
        b"slot_ranges": job.ranges_text.encode(),
        **({} if isinstance(job, Import) and not job.source else ends),
        b"create_time": migrations.shown_ms(job.created_ms) // 1000,
        b"last_update_time": migrations.shown_ms(job.updated_ms) // 1000,
        b"last_ack_time": migrations.shown_ms(job.acked_ms) // 1000,
        b"state": job.stage.encode(),
        b"message": job.message.encode(),
        b"cow_size": 0,
        b"remaining_repl_size": 0 if sender is None else sender.unsent_bytes,
    }


@subcommand(
    "CLUSTER CANCELSLOTMIGRATIONS",
    arity=2,
    flags=_ORDERS,
    since="9.0.0",
    summary="Cancels all slot migrations from this node.",
    complexity="O(N), where N is the number of active slot export jobs.",
)
def cancelslotmigrations(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    migrations = ctx.node.migrations
    exports = [job for job in migrations.active(Export) if job.in_progress]
    if not exports:
        raise CommandError("ERR No migrations ongoing")
    migrations.cancel(exports)
    return OK


# Redis's ----------------------------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER MIGRATION <IMPORT start-slot end-slot [start-slot end-slot ...] | CANCEL <ID task-id | ALL> |"
    " STATUS <ID task-id | ALL>>",
    arity=-4,
    flags=_ORDERS,
    since="8.4.0",
    summary="Start, monitor, and cancel atomic slot migration tasks.",
    complexity="O(N) where N is the total number of the slots between the start slot and end slot arguments.",
)
def migration(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    what = args[2].lower()
    if what == b"import":
        return _import(ctx, cluster, args)
    if what not in (b"status", b"cancel"):
        raise CommandError("ERR unknown argument")
    if len(args) > 5:
        raise wrong_arity("cluster|migration")
    which = args[3].lower()
    if which not in (b"id", b"all"):
        raise CommandError("ERR unknown argument")
    if len(args) != (5 if which == b"id" else 4):
        raise wrong_arity("cluster|migration")
    wanted = args[4].decode("utf-8", "surrogateescape") if which == b"id" else None
    tasks = ctx.node.migrations.tasks
    return tasks.status(wanted) if what == b"status" else tasks.cancel(wanted)


def _import(ctx: Context, cluster: Cluster, args: Args) -> Reply:
    if len(args) % 2 == 0:
        raise wrong_arity("cluster|migration")
    ranges = [(_slot(args[at]), _slot(args[at + 1])) for at in range(3, len(args), 2)]
    for first, last in ranges:
        if first > last:
            raise CommandError(f"ERR start slot number {first} is greater than end slot number {last}")
    slots = _slots_in(ranges)
    if len(set(slots)) != len(slots):
        twice = next(slot for slot in slots if slots.count(slot) > 1)
        raise CommandError(f"ERR Slot {twice} specified multiple times")
    if cluster.myself.is_replica:
        raise CommandError("ERR slot migration not allowed on replica.")
    if cluster.slotmap.importing or cluster.slotmap.migrating:
        raise CommandError("ERR all slot states must be STABLE to start a slot migration task.")
    migrations = ctx.node.migrations
    for one in ranges:
        if migrations.involves(Import, range(one[0], one[1] + 1)) is not None:
            raise CommandError(f"ERR overlapping import exists for slot range: {one[0]}-{one[1]}")
    source: NodeId | None = None
    for slot in slots:
        owner = cluster.slotmap.owner_of(slot)
        if owner is None:
            raise CommandError(f"ERR slot has no owner: {slot}")
        if source is not None and owner != source:
            raise CommandError("ERR slots belong to different source nodes")
        source = owner
    if source is None or source == cluster.myself.id:
        raise CommandError("ERR this node is already the owner of the slot range")
    if migrations.tasks.is_waiting or any(job.stage not in ENDED for job in migrations.jobs):
        raise CommandError("ERR another ASM task is already in progress")
    return migrations.tasks.create(source, ranges).encode()


# Between nodes ----------------------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER SYNCSLOTS [arg [arg ...]]",
    arity=-3,
    flags=_ORDERS,
    since="9.0.0",
    summary="An internal command used during slot migrations.",
    complexity="O(1)",
)
def syncslots(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    what = args[2].lower()
    if what == b"establish":
        return _establish(ctx, cluster, args)
    if what == b"finish":
        return _finish(ctx, args)
    migrations = ctx.node.migrations
    job = migrations.job_of(ctx.client)
    if job is None and ctx.client.is_primary:
        return SILENCE  # Our primary's affair.
    if what == b"capa":
        return SILENCE
    word = _SPOKEN.get(what.upper())
    if word is None:
        raise CommandError(SYNTAX)
    if job is None:
        raise CommandError(f"ERR CLUSTER SYNCSLOTS {word} should only be used by slot migration clients")
    migrations.said(ctx.client, word)
    return SILENCE


def _fields(args: Args, names: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """Pairs of name and value. CommandError when there is anything else, or a name twice, or an id that is none."""
    found: dict[bytes, bytes] = {}
    for at in range(0, len(args), 2):
        name = args[at].lower()
        if name not in names or name in found or at + 1 >= len(args):
            raise CommandError(SYNTAX)
        found[name] = args[at + 1]
        if name in (b"source", b"name") and len(args[at + 1]) != _ID_LENGTH:
            raise CommandError(SYNTAX)
    return found


def _establish(ctx: Context, cluster: Cluster, args: Args) -> Reply:
    obeys = ctx.client.is_primary
    if not obeys:
        _check_may_start(cluster)
    lowered = [arg.lower() for arg in args]
    begin = lowered.index(b"slotsrange") if b"slotsrange" in lowered else len(args)
    fields = _fields(args[3:begin], (b"source", b"name"))
    if begin == len(args):
        raise CommandError(SYNTAX)
    source = None
    if b"source" in fields:
        source = cluster.members.get(NodeId(fields[b"source"].decode("utf-8", "surrogateescape")))
        if source is None and not obeys:
            raise CommandError("ERR Target node does not know the source node")
        if source is cluster.myself:
            raise CommandError("ERR Source node is target node itself")
    ranges, owner, end = _ranges(cluster, args, begin + 1)
    fields |= _fields(args[end:], (b"source", b"name"))
    migrations = ctx.node.migrations
    if not obeys and migrations.involves(Import, _slots_in(ranges)) is not None:
        raise CommandError("ERR Slot is already being imported on the target by a different migration")
    if b"name" not in fields or (source is None and not obeys):
        raise CommandError(SYNTAX)
    if source is not None and source.id != owner and not obeys:
        raise CommandError("ERR Target node does not agree about current slot ownership")
    migrations.establish(ctx.client, fields[b"name"].decode(), None if source is None else source.id, ranges)
    if not obeys:
        ctx.client.send(b"+OK\r\n")
    ctx.propagate(*args)
    ctx.dirty += 1
    return SILENCE


def _finish(ctx: Context, args: Args) -> Reply:
    fields = _fields(args[3:], (b"state", b"name", b"message"))
    state = fields.get(b"state", b"").lower()
    if b"name" not in fields or b"state" not in fields:
        raise CommandError(SYNTAX)
    migrations = ctx.node.migrations
    name = fields[b"name"].decode("utf-8", "surrogateescape")
    job = next((one for one in migrations.jobs if one.name == name and isinstance(one, Import)), None)
    if not isinstance(job, Import):
        raise CommandError("ERR No such slot migration job")
    if state not in (b"success", b"failed"):
        raise CommandError(SYNTAX)
    if ctx.client.is_primary:
        stage = Stage.SUCCESS if state == b"success" else Stage.FAILED
        migrations.finished_elsewhere(job, stage, fields.get(b"message", b"").decode("utf-8", "replace"))
    return OK
