"""One full sync: one walk over the data, sent to all replicas that waited for it.

Replicas that know the `$EOF:` form get the bytes as the walk makes them, so that nothing is kept. The others must be
told a length first: for them the bytes go into a spool, and out of it when the walk is over.
"""

from __future__ import annotations

from collections.abc import Callable

from node.replication.peer import Peer, Phase
from node.replication.snapshot import SnapshotWalk
from node.replication.spool import Spool

KEYS_PER_SLICE = 512
BYTES_PER_SLICE = 24 * 1024
CONGESTED_BYTES = 64 * 1024
"""Unsent bytes of a replica above which the walk waits for it."""


class FullSync:
    """The payload's way to its replicas. `step` until it returns False.

    offset: where the stream was when the walk began. sent: called with each replica that has got all of its payload.
    diskless: whether the `$EOF:` form is used at all (repl-diskless-sync). folder: where a payload waits otherwise.
    """

    def __init__(
        self,
        walk: SnapshotWalk,
        members: list[Peer],
        mark: bytes,
        offset: int,
        sent: Callable[[Peer], None],
        *,
        diskless: bool = True,
        folder: str | None = None,
    ) -> None:
        self.offset = offset
        self._walk = walk
        self._mark = mark
        self._sent = sent
        self._direct = [peer for peer in members if diskless and peer.announced.eof]
        self._spooled = [peer for peer in members if peer not in self._direct]
        self._spool = Spool(folder) if self._spooled else None
        self._position = 0
        for peer in self._direct:
            peer.client.send(b"$EOF:%b\r\n" % mark)

    @property
    def members(self) -> list[Peer]:
        """Replicas whose payload is not through."""
        return self._direct + self._spooled

    def silent(self) -> list[Peer]:
        """Replicas that have got no byte of the payload yet: newlines tell them that we are alive."""
        return [] if self._walk.finished else self._spooled

    def drop(self, peer: Peer) -> None:
        """This replica is gone."""
        if peer in self._direct:
            self._direct.remove(peer)
        if peer in self._spooled:
            self._spooled.remove(peer)

    def congested(self) -> list[Peer]:
        """Replicas whose connection has to drain before more is sent."""
        receiving = self._spooled if self._walk.finished else self._direct
        return [peer for peer in receiving if peer.client.output_bytes > CONGESTED_BYTES]

    def step(self, now_ms: int) -> bool:
        """Make and send one more slice, unless a replica has to drain first. False when all is through (or gone)."""
        if not self._direct and not self._spooled:
            self.close()
            return False
        congested = self.congested()
        for peer in self.members:
            if peer not in congested:
                peer.progress_ms = now_ms
        if congested:
            return True
        if not self._walk.finished:
            self._make(self._walk.step(KEYS_PER_SLICE, BYTES_PER_SLICE))
            return True
        return self._send_spooled()

    def close(self) -> None:
        """Give up: the data is free of the walk, the spool is dropped."""
        self._walk.close()
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _make(self, data: bytes) -> None:
        if self._spool is not None and self._spooled:
            self._spool.write(data)
        ended = self._walk.finished
        for peer in self._direct:
            peer.client.send(data + self._mark if ended else data)
        if not ended:
            return
        direct, self._direct = self._direct, []
        for peer in direct:
            peer.waits_for_ack = True
            self._sent(peer)
        if self._spool is not None:
            for peer in self._spooled:
                peer.phase = Phase.SENDING
                peer.client.send(b"$%d\r\n" % self._spool.size)

    def _send_spooled(self) -> bool:
        assert self._spool is not None
        data = self._spool.read(self._position, BYTES_PER_SLICE)
        self._position += len(data)
        if data:
            for peer in self._spooled:
                peer.client.send(data)
            return True
        spooled, self._spooled = self._spooled, []
        for peer in spooled:
            self._sent(peer)
        self.close()
        return False
