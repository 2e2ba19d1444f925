"""What a node knows of replication, without its sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossip.ids import random_id

if TYPE_CHECKING:
    from node.registry import Args
    from node.state import Node


class Replication:
    """Role, replication id, offset, replicas. Offsets are bytes of the stream."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.id: str = random_id(node.random)
        self.offset = 0
        self.feeding = False
        """Whether writes go into the stream: from the first replica on."""

    def feed(self, database: int, args: Args) -> None:
        """Append a command to the stream."""
