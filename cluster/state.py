"""What a node remembers of its cluster across restarts: the content of nodes.conf, without its text.

The machine gives and takes these; `nodes_conf.py` writes and reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.slotmap import Grant
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import NO_SLOTS, NodeFlag


@dataclass(frozen=True, slots=True)
class SavedNode:
    """One node of the file.

    primary: None for a primary. ping_sent_ms: when the ping was sent that is still unanswered, 0 for none.
    pong_received_ms: unix ms, 0 for never. connected: whether the link to it was up. slots: bitmap of 2048 bytes, slot
    n is bit n % 8 of byte n // 8.
    """

    id: NodeId
    address: Address
    flags: NodeFlag
    primary: NodeId | None = None
    config_epoch: int = 0
    shard_id: ShardId | None = None
    slots: bytes = NO_SLOTS
    hostname: str | None = None
    human_nodename: str | None = None
    client_ipv4: str | None = None
    client_ipv6: str | None = None
    ping_sent_ms: int = 0
    pong_received_ms: int = 0
    connected: bool = False


@dataclass(frozen=True, slots=True)
class SavedState:
    """The whole file. Exactly one node has the flag MYSELF.

    migrating, importing: this node's open slots and the node at the other end. grants: what it has allowed others to take.
    unclaimed: slots that their owner was heard no longer to claim, as the bus writes slots. taken: from whom slots came by
    SETSLOT of late, and which.
    """

    nodes: tuple[SavedNode, ...]
    current_epoch: int = 0
    last_vote_epoch: int = 0
    migrating: Mapping[int, NodeId] = field(default_factory=dict)
    importing: Mapping[int, NodeId] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    unclaimed: bytes = NO_SLOTS
    taken: Mapping[NodeId, bytes] = field(default_factory=dict)
