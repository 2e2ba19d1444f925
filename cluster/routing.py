"""Where a request belongs: here, to another node, or nowhere for now. Asked for slots that are not simply `served`.

The order of the questions is that of Redis 7.2's `getNodeByQuery`; the texts are its error replies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from cluster.machine import Cluster
from cluster.views import ClusterView, Viewer, client_port, endpoint
from gossip.members import Member


class Kind(Enum):
    """Why a request is not served here; the first word of the reply."""

    MOVED = "MOVED"
    ASK = "ASK"
    TRYAGAIN = "TRYAGAIN"
    CLUSTERDOWN = "CLUSTERDOWN"


@dataclass(frozen=True, slots=True)
class Redirect:
    """The request is not served here. text: the whole error reply, without its leading `-`."""

    kind: Kind
    text: str


class Presence(NamedTuple):
    """Which of a request's keys are here. several: it names more than one key, not just one repeatedly."""

    existing: int
    missing: int
    several: bool


UNBOUND = Redirect(Kind.CLUSTERDOWN, "CLUSTERDOWN Hash slot not served")
DOWN = Redirect(Kind.CLUSTERDOWN, "CLUSTERDOWN The cluster is down")
DOWN_FOR_WRITES = Redirect(Kind.CLUSTERDOWN, "CLUSTERDOWN The cluster is down and only accepts read commands")
UNSTABLE = Redirect(Kind.TRYAGAIN, "TRYAGAIN Multiple keys request during rehashing of slot")
CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot"


def route(
    cluster: Cluster,
    slot: int,
    presence: Callable[[], Presence],
    viewer: Viewer,
    *,
    writes: bool,
    readonly: bool = False,
    asking: bool = False,
    sharded_pubsub: bool = False,
    moves_keys: bool = False,
) -> Redirect | None:
    """None: serve it here. Otherwise what to answer.

    presence: asked at most once, only while the slot is on the move. writes: the command or the transaction can
    write. readonly: the client has said READONLY. asking: it has said ASKING, or the command does. sharded_pubsub:
    SSUBSCRIBE, SPUBLISH ... moves_keys: MIGRATE, which works on open slots in any case.
    """
    owner = cluster.owner(slot)
    if owner is None:
        return UNBOUND
    myself = cluster.myself
    reads_here = (readonly and not writes) or sharded_pubsub
    serves = owner is myself or (reads_here and myself.is_replica and myself.primary is owner)
    migrating = serves and slot in cluster.slotmap.migrating
    importing = not migrating and myself.is_primary and slot in cluster.slotmap.importing
    down = None if cluster.ok else _while_down(cluster, writes, sharded_pubsub)
    if down is not None:
        return down
    if (migrating or importing) and moves_keys:
        return None
    if (migrating or importing) and not sharded_pubsub:
        keys = presence()
        if migrating and keys.missing:
            return UNSTABLE if keys.existing else _to(cluster, Kind.ASK, slot, _target(cluster, slot), viewer)
        if importing and asking:
            return UNSTABLE if keys.several and keys.missing else None
    if serves:
        return None
    return _to(cluster, Kind.MOVED, slot, owner, viewer)


def _while_down(cluster: Cluster, writes: bool, sharded_pubsub: bool) -> Redirect | None:
    settings = cluster.settings
    if sharded_pubsub:
        return None if settings.allow_pubsubshard_when_down else DOWN
    if not settings.allow_reads_when_down:
        return DOWN
    return DOWN_FOR_WRITES if writes else None


def _target(cluster: Cluster, slot: int) -> Member:
    return cluster.members[cluster.slotmap.migrating[slot]]


def _to(cluster: Cluster, kind: Kind, slot: int, member: Member, viewer: Viewer) -> Redirect:
    node = cluster.node_view(member)
    host = (endpoint(node, viewer) or b"").decode()
    port = client_port(ClusterView((), tls_cluster=cluster.settings.tls_cluster), node, viewer)
    return Redirect(kind, f"{kind.value} {slot} {host}:{port}")
