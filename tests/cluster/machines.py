"""Machines to test, and peers that talk to them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from cluster.events import (
    Effect,
    LinkAccepted,
    LinkOpened,
    Received,
)
from cluster.machine import Cluster, ClusterSettings
from cluster.slots import slots_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.events import GossipEvent
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import (
    NO_SLOTS,
    SLOT_COUNT,
    Extensions,
    GossipEntry,
    Header,
    Message,
    MessageType,
    NodeFlag,
    Ping,
)

NOW = 1_700_000_000_000
SETTINGS = ClusterSettings(port=7000, bus_port=17000, node_timeout_ms=2000)
ME, B, C, D = (NodeId(letter * 40) for letter in "5bcd")
STRANGER = NodeId("9" * 40)
THIRD = SLOT_COUNT // 3
SLOTS = {ME: range(THIRD), B: range(THIRD, 2 * THIRD), C: range(2 * THIRD, SLOT_COUNT)}


def address(node: NodeId) -> Address:
    return Address(f"10.0.0.{int(node[0], 16)}", 7000, 17000)


def saved(*nodes: SavedNode, epoch: int = 3) -> SavedState:
    return SavedState(nodes, current_epoch=epoch)


def primary(node: NodeId, epoch: int, flags: NodeFlag = NodeFlag.NONE) -> SavedNode:
    return SavedNode(
        node, address(node), NodeFlag.PRIMARY | flags, config_epoch=epoch, shard_id=ShardId(node),
        slots=slots_to_bitmap(SLOTS[node]) if node in SLOTS else NO_SLOTS,
    )


def replica(node: NodeId, of: NodeId, flags: NodeFlag = NodeFlag.NONE) -> SavedNode:
    return SavedNode(node, address(node), NodeFlag.REPLICA | flags, primary=of, shard_id=ShardId(of))


def three(**settings: object) -> Cluster:
    """ME, B and C own a third each, with the epochs 1, 2 and 3; D replicates ME."""
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), replica(D, ME))
    return Cluster.from_saved(state, replace(SETTINGS, **settings), Random(1), now_ms=NOW)  # type: ignore[arg-type]


def of_kind(effects: list[Effect], kind: type) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


def header(node: NodeId, epoch: int, **fields: object) -> Header:
    given = Header(node, 7000, 17000, NodeFlag.PRIMARY, current_epoch=3, config_epoch=epoch,
                   slots=slots_to_bitmap(SLOTS.get(node, [])))
    return replace(given, **fields)  # type: ignore[arg-type]


class Caller:
    """The other end of a link that somebody opened, who says to be `node`: nothing proves it."""

    def __init__(self, cluster: Cluster, node: NodeId, ip: str = "") -> None:
        self.cluster = cluster
        self.link = cluster.new_link()
        self.now_ms = NOW
        self.step(LinkAccepted(self.link, ip or address(node).ip, address(ME).ip))

    def step(self, event: GossipEvent) -> list[Effect]:
        return self.cluster.step(event, self.now_ms)

    def says(self, message: Message) -> list[Effect]:
        return self.step(Received(self.link, message))


class Peer(Caller):
    """A member at the other end of the link that the machine has made to it."""

    def __init__(self, cluster: Cluster, node: NodeId) -> None:
        self.cluster = cluster
        self.now_ms = NOW
        member = cluster.members[node]
        if member.link is None:
            cluster.gossip.connect(member, NOW)
            cluster.out.finish()
        assert member.link is not None
        self.link = member.link.id
        if not member.link.opened:
            self.step(LinkOpened(self.link, address(ME).ip))


def ping(head: Header, *gossip: GossipEntry, kind: MessageType = MessageType.PING,
         extensions: Extensions | None = None) -> Ping:
    return Ping(kind, head, gossip, extensions or Extensions())
