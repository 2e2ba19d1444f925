"""What each slot costs: CLUSTER SLOT-STATS, as Valkey counts it (`cluster_slot_stats.c`). No I/O.

Counted only with `cluster-slot-stats-enabled`, when `Unusual.SLOT_STATS` sends every request through the executor's slow
way, which calls `add`: otherwise nobody pays. The number of keys needs no counting.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gossip.messages import SLOT_COUNT
from node.client import Unusual
from node.registry import Args

if TYPE_CHECKING:
    from node.state import Node

_NS_PER_USEC = 1000


def request_bytes(args: Args) -> int:
    """How many bytes a request is as an array of bulk strings."""
    size = len(b"*%d\r\n" % len(args))
    for arg in args:
        size += len(b"$%d\r\n" % len(arg)) + len(arg) + 2
    return size


class SlotStats:
    """One per node. Times are microseconds, sizes bytes, since the slot came to this node or CONFIG RESETSTAT."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.reset()
        node.config.on_change("cluster-slot-stats-enabled", self._switch)
        self._switch(node.config.cluster_slot_stats_enabled)

    @property
    def enabled(self) -> bool:
        """Whether requests are counted."""
        return self._node.clustered and self._node.config.cluster_slot_stats_enabled

    def reset(self) -> None:
        """Begin at zero."""
        nothing = bytes(8 * SLOT_COUNT) if self._node.clustered else b""
        self._cpu_ns = array("Q", nothing)
        self._bytes_in = array("Q", nothing)
        self._bytes_out = array("Q", nothing)

    def add(self, slot: int, elapsed_ns: int, bytes_in: int, bytes_out: int) -> None:
        """A request on this slot was served."""
        self._cpu_ns[slot] += elapsed_ns
        self._bytes_in[slot] += bytes_in
        self._bytes_out[slot] += bytes_out

    def keep(self, slots: int) -> None:
        """Slots whose bit is not set belong to another node now: they begin at zero when they come back."""
        if not self.enabled:
            return
        for slot in range(SLOT_COUNT):
            if self._bytes_in[slot] and not slots >> slot & 1:
                self._cpu_ns[slot] = self._bytes_in[slot] = self._bytes_out[slot] = 0

    def of(self, slot: int) -> dict[bytes, int]:
        """All that is known of a slot, by metric."""
        found = {b"key-count": len(self._node.databases[0].slots[slot])}
        if self.enabled:
            found[b"cpu-usec"] = self._cpu_ns[slot] // _NS_PER_USEC
            found[b"network-bytes-in"] = self._bytes_in[slot]
            found[b"network-bytes-out"] = self._bytes_out[slot]
        return found

    def values(self, metric: bytes) -> Sequence[int]:
        """One metric of all slots, in a unit that is good for comparing."""
        if metric == b"key-count":
            return list(map(len, self._node.databases[0].slots))
        if metric == b"cpu-usec":
            return [ns // _NS_PER_USEC for ns in self._cpu_ns]
        return self._bytes_in if metric == b"network-bytes-in" else self._bytes_out

    def _switch(self, enabled: bool) -> str | None:
        self._node.mark(Unusual.SLOT_STATS, enabled and self._node.clustered)
        return None
