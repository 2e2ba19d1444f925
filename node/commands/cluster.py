"""Commands: cluster (https://redis.io/docs/reference/cluster-spec/): who is in it, who we are, how clients see it.

What a command decides is the cluster machine's (`cluster/`); this file reads arguments and writes replies. Whatever the
machine wants done, nodes.conf on disk included, is done before the reply leaves. Slots are in `cluster_slots.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cluster import views
from cluster.events import ClusterError, Effect
from cluster.machine import Cluster
from cluster.manual_failover import Manner
from gossip.ids import BUS_PORT_OFFSET, NodeId
from node import redirection
from node.client import Unusual
from node.context import Context
from node.errors import NOT_AN_INTEGER, NOT_CLUSTERED, SYNTAX, CommandError
from node.help import container_help
from node.numbers import parse_int
from node.registry import Args, Flag, Group, Handler
from node.resp import OK, Reply, Verbatim

group = Group("cluster")

ASKS = Flag.STALE
TELLS = Flag.LOADING | Flag.STALE
CHANGES = Flag.ADMIN | Flag.STALE | Flag.NO_ASYNC_LOADING
VARIES = ("nondeterministic_output",)

_MODE_FLAGS = Flag.LOADING | Flag.STALE | Flag.FAST

group.container("CLUSTER", since="3.0.0", summary="A container for Redis Cluster commands.")


# What all CLUSTER commands share --------------------------------------------------------------------------------------


def subcommand(syntax: str, **facts: Any) -> Callable[[Handler], Handler]:
    """Declare `CLUSTER ...`; facts as for `Group.command`."""
    return group.command(syntax, of="CLUSTER", **facts)


def cluster_of(ctx: Context) -> Cluster:
    """The cluster's machine. CommandError on a standalone server."""
    cluster = ctx.node.cluster
    if cluster is None:
        raise CommandError(NOT_CLUSTERED)
    return cluster


def carry_out(ctx: Context, operation: Callable[[], Sequence[Effect]]) -> Reply:
    """Do an operation of the machine, and all that follows from it, then answer OK. CommandError when it can't be."""
    try:
        save_and_tell(ctx, operation())
    except ClusterError as error:
        raise CommandError(str(error)) from None
    return OK


def save_and_tell(ctx: Context, effects: Sequence[Effect]) -> None:
    """Carry out effects. CommandError when nodes.conf can't be written: then nobody was told what rests on it."""
    try:
        ctx.node.io.carry_out(effects)
    except OSError as error:
        raise CommandError(f"ERR error saving the cluster node config: {error.strerror}") from error


def integer(text: bytes) -> int:
    """A 64-bit number. CommandError in Redis's words for anything else."""
    number = parse_int(text)
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    return number


def node_id(text: bytes) -> NodeId:
    """A node's id as a client wrote it; whether there is such a node is for the machine to say."""
    return NodeId(text.decode("utf-8", "surrogateescape"))


def has_keys(ctx: Context) -> bool:
    """Whether this node holds any key."""
    return any(len(database) for database in ctx.node.databases)


def _wrong_shape(args: Args) -> CommandError:
    name = args[1][:128].decode("utf-8", "surrogateescape")
    return CommandError(f"ERR unknown subcommand or wrong number of arguments for '{name}'. Try CLUSTER HELP.")


# What the cluster looks like ------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER INFO",
    arity=2,
    flags=TELLS,
    since="3.0.0",
    summary="Returns information about the state of a node.",
    hints=VARIES,
)
def info(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    return Verbatim(views.info_text(cluster.view(), cluster.counters))


@subcommand(
    "CLUSTER NODES",
    arity=2,
    flags=TELLS,
    since="3.0.0",
    summary="Returns the cluster configuration for a node.",
    complexity="O(N) where N is the total number of Cluster nodes",
    hints=VARIES,
)
def nodes(ctx: Context, args: Args) -> Reply:
    view = cluster_of(ctx).view()
    return Verbatim(views.nodes_text(view, redirection.viewer_of(ctx.node, ctx.client)))


@subcommand(
    "CLUSTER SLOTS",
    arity=2,
    flags=TELLS,
    since="3.0.0",
    summary="Returns the mapping of cluster slots to nodes.",
    complexity="O(N) where N is the total number of Cluster nodes",
    hints=VARIES,
    history=(("4.0.0", "Added node IDs."), ("7.0.0", "Added additional networking metadata field.")),
    deprecated_since="7.0.0",
    replaced_by="`CLUSTER SHARDS`",
)
def slots(ctx: Context, args: Args) -> Reply:
    view = cluster_of(ctx).view()
    return views.slots_list(view, redirection.viewer_of(ctx.node, ctx.client))


@subcommand(
    "CLUSTER SHARDS",
    arity=2,
    flags=TELLS,
    since="7.0.0",
    summary="Returns the mapping of cluster slots to shards.",
    complexity="O(N) where N is the total number of cluster nodes",
    hints=VARIES,
)
def shards(ctx: Context, args: Args) -> Reply:
    view = cluster_of(ctx).view()
    return views.shards_list(view, redirection.viewer_of(ctx.node, ctx.client))


@subcommand(
    "CLUSTER LINKS",
    arity=2,
    flags=ASKS,
    since="7.0.0",
    summary="Returns a list of all TCP links to and from peer nodes.",
    complexity="O(N) where N is the total number of Cluster nodes",
    hints=VARIES,
)
def links(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    return views.links_list(ctx.node.io.link_views())


@subcommand(
    "CLUSTER REPLICAS node-id",
    arity=3,
    flags=Flag.ADMIN | Flag.STALE,
    since="5.0.0",
    summary="Lists the replica nodes of a master node.",
    complexity="O(N) where N is the number of replicas.",
    hints=VARIES,
)
def replicas(ctx: Context, args: Args) -> Reply:
    return _replicas(ctx, args)


@subcommand(
    "CLUSTER SLAVES node-id",
    arity=3,
    flags=Flag.ADMIN | Flag.STALE,
    since="3.0.0",
    summary="Lists the replica nodes of a master node.",
    complexity="O(N) where N is the number of replicas.",
    hints=VARIES,
    deprecated_since="5.0.0",
    replaced_by="`CLUSTER REPLICAS`",
)
def slaves(ctx: Context, args: Args) -> Reply:
    return _replicas(ctx, args)


def _replicas(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    asked = node_id(args[2])
    member = cluster.members.get(asked)
    if member is None:
        raise CommandError(f"ERR Unknown node {asked}")
    if member.is_replica:
        raise CommandError("ERR The specified node is not a master")
    return views.replicas_lines(cluster.view(), redirection.viewer_of(ctx.node, ctx.client), asked)


@subcommand("CLUSTER MYID", arity=2, flags=TELLS, since="3.0.0", summary="Returns the ID of a node.")
def myid(ctx: Context, args: Args) -> Reply:
    return cluster_of(ctx).myself.id.encode()


@subcommand(
    "CLUSTER MYSHARDID",
    arity=2,
    flags=TELLS,
    since="7.2.0",
    summary="Returns the shard ID of a node.",
    hints=VARIES,
)
def myshardid(ctx: Context, args: Args) -> Reply:
    return (cluster_of(ctx).myself.shard_id or "").encode()


@subcommand(
    "CLUSTER COUNT-FAILURE-REPORTS node-id",
    arity=3,
    flags=Flag.ADMIN | Flag.STALE,
    since="3.0.0",
    summary="Returns the number of active failure reports active for a node.",
    complexity="O(N) where N is the number of failure reports",
    hints=VARIES,
)
def count_failure_reports(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    asked = node_id(args[2])
    if asked not in cluster.members:
        raise CommandError(f"ERR Unknown node {asked}")
    return cluster.failure_reports(asked, ctx.node.io.steady_ms())


# Who is in it ---------------------------------------------------------------------------------------------------------


@subcommand(
    "CLUSTER MEET ip port [cluster-bus-port]",
    arity=-4,
    flags=CHANGES,
    since="3.0.0",
    summary="Forces a node to handshake with another node.",
    history=(("4.0.0", "Added the optional `cluster_bus_port` argument."),),
)
def meet(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    if len(args) > 5:
        raise _wrong_shape(args)
    port = parse_int(args[3])
    if port is None:
        raise CommandError(f"ERR Invalid TCP base port specified: {_shown(args[3])}")
    bus_port: int | None = port + BUS_PORT_OFFSET
    if len(args) == 5 and (bus_port := parse_int(args[4])) is None:
        raise CommandError(f"ERR Invalid TCP bus port specified: {_shown(args[4])}")
    assert bus_port is not None
    at = bus_port
    return carry_out(ctx, lambda: cluster.operations.meet(_shown(args[2]), port, at, ctx.node.io.steady_ms()))


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


@subcommand(
    "CLUSTER FORGET node-id",
    arity=3,
    flags=CHANGES,
    since="3.0.0",
    summary="Removes a node from the nodes table.",
)
def forget(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    return carry_out(ctx, lambda: cluster.operations.forget(node_id(args[2]), ctx.node.io.steady_ms()))


@subcommand(
    "CLUSTER REPLICATE node-id",
    arity=3,
    flags=CHANGES,
    since="3.0.0",
    summary="Configure a node as replica of a master node.",
)
def replicate(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    return carry_out(ctx, lambda: cluster.operations.replicate(node_id(args[2]), has_keys(ctx), ctx.node.io.steady_ms()))


@subcommand(
    "CLUSTER RESET [HARD | SOFT]",
    arity=-2,
    flags=Flag.ADMIN | Flag.STALE | Flag.NOSCRIPT,
    since="3.0.0",
    summary="Resets a node.",
    complexity="O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
)
def reset(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    if len(args) > 3:
        raise _wrong_shape(args)
    how = args[2].lower() if len(args) == 3 else b"soft"
    if how not in (b"hard", b"soft"):
        raise CommandError(SYNTAX)
    return carry_out(ctx, lambda: cluster.operations.reset(how == b"hard", has_keys(ctx), ctx.node.io.steady_ms()))


@subcommand(
    "CLUSTER FAILOVER [FORCE | TAKEOVER]",
    arity=-2,
    flags=CHANGES,
    since="3.0.0",
    summary="Forces a replica to perform a manual failover of its master.",
)
def failover(ctx: Context, args: Args) -> Reply:
    """OK says that it has begun; ROLE or INFO says how it ends."""
    cluster = cluster_of(ctx)
    if len(args) > 3:
        raise _wrong_shape(args)
    try:
        manner = Manner(args[2].decode("utf-8", "replace").lower()) if len(args) == 3 else Manner.AGREED
    except ValueError:
        raise CommandError(SYNTAX) from None
    if len(args) == 3 and manner is Manner.AGREED:
        raise CommandError(SYNTAX)
    return carry_out(ctx, lambda: cluster.operations.failover(manner, ctx.node.io.steady_ms()))


@subcommand(
    "CLUSTER BUMPEPOCH",
    arity=2,
    flags=CHANGES,
    since="3.0.0",
    summary="Advances the cluster config epoch.",
    hints=VARIES,
)
def bumpepoch(ctx: Context, args: Args) -> Reply:
    bumped, epoch, effects = cluster_of(ctx).operations.bump_epoch(ctx.node.io.steady_ms())
    save_and_tell(ctx, effects)
    return f"{'BUMPED' if bumped else 'STILL'} {epoch}"


@subcommand(
    "CLUSTER SET-CONFIG-EPOCH config-epoch",
    arity=3,
    flags=CHANGES,
    since="3.0.0",
    summary="Sets the configuration epoch for a new node.",
)
def set_config_epoch(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    epoch = integer(args[2])
    if epoch < 0:
        raise CommandError(f"ERR Invalid config epoch specified: {epoch}")
    return carry_out(ctx, lambda: cluster.operations.set_config_epoch(epoch, ctx.node.io.steady_ms()))


@subcommand(
    "CLUSTER SAVECONFIG",
    arity=2,
    flags=CHANGES,
    since="3.0.0",
    summary="Forces a node to save the cluster configuration to disk.",
)
def saveconfig(ctx: Context, args: Args) -> Reply:
    cluster = cluster_of(ctx)
    return carry_out(ctx, lambda: cluster.operations.save_config(ctx.node.io.steady_ms()))


# How a connection is served -------------------------------------------------------------------------------------------


@group.command(
    "ASKING",
    arity=1,
    flags=Flag.FAST,
    since="3.0.0",
    summary="Signals that a cluster client is following an -ASK redirect.",
    acl=("connection",),
)
def asking(ctx: Context, args: Args) -> Reply:
    """The next request of this client may use a slot that is just being imported."""
    cluster_of(ctx)
    ctx.client.mark(Unusual.ASKING, True)
    return OK


@group.command(
    "READONLY",
    arity=1,
    flags=_MODE_FLAGS,
    since="3.0.0",
    summary="Enables read-only queries for a connection to a Redis Cluster replica node.",
    acl=("connection",),
)
def readonly(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    ctx.client.mark(Unusual.READONLY, True)
    return OK


@group.command(
    "READWRITE",
    arity=1,
    flags=_MODE_FLAGS,
    since="3.0.0",
    summary="Enables read-write queries for a connection to a Redis Cluster replica node.",
    acl=("connection",),
)
def readwrite(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    ctx.client.mark(Unusual.READONLY, False)
    return OK


# Help -----------------------------------------------------------------------------------------------------------------

@subcommand(
    "CLUSTER HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="5.0.0",
    summary="Returns helpful text about the different subcommands.",
)
def help(ctx: Context, args: Args) -> Reply:
    cluster_of(ctx)
    return container_help(ctx, args)
