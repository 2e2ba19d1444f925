"""A cluster that is laid out before its nodes start: who is a primary of which slots, who follows whom.

Nodes that start from such a layout know each other at once: nothing waits for handshakes, elections or resharding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.slots import ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.ids import Address, NodeId, RandomSource, ShardId, random_id
from gossip.messages import NO_SLOTS, SLOT_COUNT, NodeFlag


class TopologyError(Exception):
    """What was asked for is no cluster; the text says what to ask for instead."""


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """One node of the layout. slots: first and last, None for a replica. primary: None for a primary."""

    id: NodeId
    address: Address
    shard: ShardId
    slots: tuple[int, int] | None
    primary: NodeId | None
    config_epoch: int


def plan(addresses: Sequence[Address], replicas: int, random: RandomSource) -> list[PlannedNode]:
    """Lay out a cluster on these addresses: the first ones primaries, slots spread evenly, then the replicas in turn.

    replicas: how many each primary gets; what remains of the nodes are further replicas. TopologyError when there are
    too few nodes.
    """
    if replicas < 0:
        raise TopologyError("the number of replicas can not be negative")
    primaries = len(addresses) // (replicas + 1)
    if not primaries:
        raise TopologyError(
            f"{len(addresses)} nodes are too few for {replicas} replicas of each primary: "
            f"ask for at least {replicas + 1} nodes, or fewer replicas"
        )
    ids = [random_id(random) for _ in addresses]
    shards = [ShardId(random_id(random)) for _ in range(primaries)]
    planned = []
    for place, address in enumerate(addresses):
        shard = place % primaries
        is_primary = place < primaries
        first = round(shard * SLOT_COUNT / primaries)
        last = round((shard + 1) * SLOT_COUNT / primaries) - 1
        planned.append(
            PlannedNode(
                id=ids[place],
                address=address,
                shard=shards[shard],
                slots=(first, last) if is_primary else None,
                primary=None if is_primary else ids[shard],
                config_epoch=shard + 1,
            )
        )
    return planned


def saved_state(planned: Sequence[PlannedNode], myself: NodeId) -> SavedState:
    """What the nodes.conf of `myself` says of this layout."""
    nodes = tuple(_saved_node(one, myself) for one in planned)
    epoch = max(one.config_epoch for one in planned)
    return SavedState(current_epoch=epoch, last_vote_epoch=0, nodes=nodes)


def _saved_node(one: PlannedNode, myself: NodeId) -> SavedNode:
    flags = NodeFlag.PRIMARY if one.primary is None else NodeFlag.REPLICA
    if one.id == myself:
        flags |= NodeFlag.MYSELF
    return SavedNode(
        id=one.id,
        address=one.address,
        flags=flags,
        primary=one.primary,
        config_epoch=one.config_epoch,
        shard_id=one.shard,
        slots=NO_SLOTS if one.slots is None else ranges_to_bitmap([one.slots]),
    )
