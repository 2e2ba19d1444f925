"""All events and effects of a node's cluster machine: the bus's own and those that reach the data.

Effects are an ordered list. Persist stands before every message that rests on what it saves.
"""

from __future__ import annotations

from dataclasses import dataclass

from gossip.events import (
    Close,
    Connect,
    GossipEffect,
    GossipEvent,
    Level,
    LinkAccepted,
    LinkClosed,
    LinkId,
    LinkOpened,
    Log,
    Persist,
    Received,
    Send,
    Tick,
)
from gossip.ids import Address, NodeId

Event = GossipEvent


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """Whom this node replicates from now on.

    primary None: nobody, it is a primary; keep the data. Otherwise follow `address` (ip "" while unknown: do nothing
    yet, another RoleChanged comes when it is known). Comes again when the same primary has another address, and
    on the first tick of a node that starts as a replica.
    """

    primary: NodeId | None
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class SlotsLost:
    """Another node owns these slots now: their keys must go. Shard-channel subscribers of them too."""

    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DataDropped:
    """CLUSTER RESET on a replica: all keys must go."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """`cluster_state` turned ok or fail."""

    ok: bool


@dataclass(frozen=True, slots=True)
class Deliver:
    """A pub/sub message from a peer, for this node's subscribers. sharded: SPUBLISH."""

    channel: bytes
    message: bytes
    sharded: bool = False


@dataclass(frozen=True, slots=True)
class PauseWrites:
    """A manual failover: let no write in until then (unix ms), then call `Cluster.writes_paused` with the offset."""

    until_ms: int


@dataclass(frozen=True, slots=True)
class ResumeWrites:
    """The manual failover is over, one way or the other: the pause ends."""


@dataclass(frozen=True, slots=True)
class AskReplicas:
    """Ask all replicas how much of the stream they have (REPLCONF GETACK), then call `Cluster.replicas_asked`; tell
    `Cluster.acknowledged` what they say."""


Effect = (
    GossipEffect | RoleChanged | SlotsLost | DataDropped | StateChanged | Deliver | PauseWrites | ResumeWrites | AskReplicas
)


class ClusterError(Exception):
    """A CLUSTER command can not be done. The text is Redis's error reply, with its code in front."""


__all__ = [
    "AskReplicas", "Close", "ClusterError", "Connect", "DataDropped", "Deliver", "Effect", "Event", "GossipEffect",
    "GossipEvent", "Level", "LinkAccepted", "LinkClosed", "LinkId", "LinkOpened", "Log", "PauseWrites", "Persist",
    "Received", "ResumeWrites", "RoleChanged", "Send", "SlotsLost", "StateChanged", "Tick",
]
