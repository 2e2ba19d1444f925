"""FAILOVER: a primary hands its role to one of its replicas, with nothing lost (https://redis.io/commands/failover/).

Writes wait, a replica gets to exactly our offset, then we follow it with `PSYNC ... FAILOVER`, which makes it a primary.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from node.logs import NOTICE
from node.numbers import LLONG_MAX
from node.replication.peer import Peer, Phase

if TYPE_CHECKING:
    from node.replication.state import Replication
    from node.state import Node

log = logging.getLogger("hashslot")

NONE, WAITING, IN_PROGRESS = "no-failover", "waiting-for-sync", "failover-in-progress"


class Failover:
    """How far a failover is. `state` is what INFO calls it; addresses are host and port."""

    def __init__(self, node: Node, replication: Replication) -> None:
        self._node = node
        self._replication = replication
        self.state = NONE
        self._target: tuple[str, int] | None = None
        self._deadline_ms = 0
        self._force = False

    @property
    def waiting(self) -> bool:
        """Whether a replica is to catch up: nothing may be added to the stream."""
        return self.state == WAITING

    @property
    def in_progress(self) -> bool:
        """Whether the replica is being asked to be a primary."""
        return self.state == IN_PROGRESS

    def find(self, host: str, port: int) -> Peer | None:
        """The replica at this address, as it announced it or as it connects."""
        for peer in self._replication.primary.peers.values():
            ip, announced_port = peer.address
            if announced_port == port and host.lower() in (ip.lower(), peer.client.ip.lower()):
                return peer
        return None

    def start(self, target: tuple[str, int] | None, timeout_ms: int, force: bool) -> None:
        """Begin. target: None for whichever replica is first to have everything. timeout_ms: 0 for as long as it takes;
        force: when the time is over, go without waiting any longer."""
        self._target = target
        self._deadline_ms = self._node.io.steady_ms() + timeout_ms if timeout_ms else 0
        self._force = force
        self.state = WAITING
        self._node.pause_for_failover(LLONG_MAX)
        log.log(NOTICE, "FAILOVER requested to %s.", f"{target[0]}:{target[1]}" if target else "any replica")

    def abort(self, why: str) -> None:
        """Give up: this node is a primary (again)."""
        if self.state == NONE:
            return
        log.log(NOTICE, "Aborting failover: %s", why)
        in_progress = self.state == IN_PROGRESS
        self.state = NONE
        if in_progress:
            self._replication.stop_following()
        self._node.pause_for_failover(0)

    def tick(self, now_ms: int) -> None:
        """Ten times a second: go when a replica has everything, or the time is over."""
        if self.state != WAITING:
            return
        replication = self._replication
        if self._deadline_ms and now_ms >= self._deadline_ms:
            if not self._force or self._target is None:
                self.abort("Replica never caught up before timeout")
                return
            log.log(NOTICE, "Failover to %s:%d time out exceeded, failing over.", *self._target)
            self._go(self._target)
            return
        replication.flush()
        named = [self.find(*self._target)] if self._target else list(replication.primary.peers.values())
        ready = [
            peer for peer in named if peer and peer.phase is Phase.ONLINE and peer.acked_offset == replication.offset
        ]
        if ready:
            log.log(NOTICE, "Failover target %s:%d is synced, failing over.", *ready[0].address)
            self._go(self._target or ready[0].address)

    def _go(self, target: tuple[str, int]) -> None:
        self.state = IN_PROGRESS
        self._replication.follow(*target)

    def answered(self) -> None:
        """The target is a primary now, and we are its replica: writes that waited hear so."""
        if self.state == IN_PROGRESS:
            self.state = NONE
            self._node.pause_for_failover(0)

    def rejected(self) -> None:
        """The target does not want to be a primary."""
        if self.state == IN_PROGRESS:
            self.abort("Failover target rejected psync request")
