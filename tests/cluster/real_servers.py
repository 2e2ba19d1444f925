"""Real servers that start on a nodes.conf of ours, with peers that never answer: what they know stays what we wrote."""

from __future__ import annotations

from pathlib import Path

from cluster.slotmap import Grant
from cluster.slots import ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import NodeFlag
from tests.servers import ServerProcess, start

ME, PRIMARY, REPLICA = NodeId("a" * 40), NodeId("b" * 40), NodeId("c" * 40)
SHARD, OTHER_SHARD = ShardId("5" * 40), ShardId("6" * 40)


def start_on(kind: str, directory: Path) -> ServerProcess:
    """A real server in cluster mode on the nodes.conf that lies in `directory`, if one does."""
    return start(kind, directory, "--cluster-enabled", "yes", in_place=True)


def state_with_silent_peers() -> SavedState:
    # Ports 1 to 3 answer nobody: what the server knows stays as we wrote it.
    return SavedState(
        nodes=(
            SavedNode(
                id=ME, address=Address("127.0.0.1", 1, 10001), flags=NodeFlag.MYSELF | NodeFlag.PRIMARY,
                shard_id=SHARD, config_epoch=7, connected=True, slots=ranges_to_bitmap([(0, 99), (200, 200)]),
            ),
            SavedNode(
                id=PRIMARY, address=Address("127.0.0.1", 2, 10002), flags=NodeFlag.PRIMARY, shard_id=OTHER_SHARD,
                hostname="two.example", human_nodename="two", client_ipv4="127.0.0.9", config_epoch=9,
                slots=ranges_to_bitmap([(300, 16383)]),
            ),
            SavedNode(
                id=REPLICA, address=Address("127.0.0.1", 3, 10003), flags=NodeFlag.REPLICA, shard_id=SHARD,
                primary=ME, config_epoch=7,
            ),
        ),
        current_epoch=12, last_vote_epoch=11, migrating={5: PRIMARY}, importing={300: PRIMARY},
        grants=(Grant("f" * 40, PRIMARY, ((0, 4), (7, 7))),),
    )
