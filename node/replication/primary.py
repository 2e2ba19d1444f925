"""The primary's side: who replicates us, who needs which bytes, who is late.

A replica asks with PSYNC and is answered in the next loop turn, so that those who ask at the same moment share one walk,
and who comes while one is under way gets the next. Redis waits five seconds for more of them unless told otherwise, since a
fork is dear; a walk is not, so here `repl-diskless-sync-delay` is 0 as long as nobody sets it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gossip.ids import random_id
from node.client import Unusual
from node.logs import NOTICE
from node.persistence.errors import Unreadable
from node.persistence.options import (
    EncodingLimits,
    SaveOptions,
    common_rdb_version,
    expires_fields,
    rdb_version_for_replica,
)
from node.persistence.rdb import standard_aux
from node.replication import foreign
from node.replication.foreign import Needs
from node.replication.fullsync import FullSync
from node.replication.peer import Announced, Peer, Phase
from node.replication.snapshot import SnapshotWalk

if TYPE_CHECKING:
    from node.client import Client
    from node.registry import Args
    from node.replication.state import Replication
    from node.settings.special import BufferLimit
    from node.state import Node

log = logging.getLogger("hashslot")

_CONGESTED_RETRY_MS = 1
_LOOK_AGAIN_MS = 1000
_LINGER_MS = 1000
"""How long one who asked for the payload only may take to close the connection; output sizes are fresh by then."""


def version_for(peer: Peer) -> int:
    """The newest RDB version that this replica reads and we write."""
    return rdb_version_for_replica(peer.announced.version)


class PrimarySide:
    """All replicas of this node, by the id of their client."""

    def __init__(self, node: Node, replication: Replication) -> None:
        self._node = node
        self._replication = replication
        self.peers: dict[int, Peer] = {}
        self.last_seen_ms = node.io.steady_ms()
        """When the last replica was here: the backlog goes `repl-backlog-ttl` after that."""
        self._announced: dict[int, Announced] = {}
        self._syncs: list[FullSync] = []
        self._needed: dict[Needs, int] = {}
        """Up to which byte the stream has what only those can follow who know as much."""
        self._unreadable = foreign.Unreadable()
        self._refused: dict[tuple[str, int], str] = {}
        """What was said last to replicas that were refused: they ask every second."""
        self._serving = False
        self._stepping = False

    # Requests -----------------------------------------------------------------------------------------------------

    def announced(self, client: Client) -> Announced:
        """What this client has said of itself with REPLCONF, to be added to."""
        return self._announced.setdefault(client.id, Announced())

    def ask(self, client: Client, wants: tuple[bytes, int] | None) -> None:
        """PSYNC or SYNC. The answer comes in the next loop turn."""
        if client.id in self.peers:
            return
        client.is_replica = True
        client.send_at_once()
        peer = Peer(client, self.announced(client), wants, self._node.io.steady_ms())
        self.peers[client.id] = peer
        self.refresh()
        self._serve_soon()

    def acknowledge(self, client: Client, offset: int) -> None:
        """REPLCONF ACK."""
        peer = self.peers.get(client.id)
        if peer is None:
            return
        peer.acked_ms = self._node.io.steady_ms()
        peer.acked_offset = max(peer.acked_offset, offset)
        if peer.waits_for_ack:
            self._replication.flush()
            peer.begin_streaming()
        if peer.phase is Phase.ONLINE:
            self._node.gate.acknowledge(client.id, peer.acked_offset)
            self._replication.acknowledged(peer)
            if self._node.unusual & Unusual.TOO_FEW_REPLICAS:
                self.refresh()

    def client_gone(self, client: Client) -> None:
        """The connection is down."""
        self._announced.pop(client.id, None)
        peer = self.peers.pop(client.id, None)
        if peer is None:
            return
        for sync in self._syncs:
            sync.drop(peer)
        self.last_seen_ms = self._node.io.steady_ms()
        self._node.gate.replica_gone(client.id)
        self.refresh()

    def disconnect_all(self) -> None:
        """What we have is no longer what our replicas follow: they must ask again."""
        for peer in list(self.peers.values()):
            peer.client.close()
            self.client_gone(peer.client)

    # The stream ---------------------------------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """The stream went on with these bytes."""
        for peer in self.peers.values():
            peer.deliver(data)
        self._node.stats.net_repl_output_bytes += len(data) * len(self.peers)
        if self._syncs:
            self._check_held()

    # Replicas of other kinds --------------------------------------------------------------------------------------

    def knows(self, peer: Peer) -> Needs:
        """What this replica can follow."""
        return foreign.known_by(peer.announced, self._node.config.foreign_replicas_have_modules)

    @property
    def all_know_field_times(self) -> bool:
        """Whether no replica drops a transaction that tells when fields of a hash expire."""
        return all(self.knows(peer) >= Needs.NEWER for peer in self.peers.values())

    def comes(self, need: Needs, args: Args, database: int, end: int) -> None:
        """What needs this much comes in the stream, up to the byte `end`: those who know less must not see it."""
        self._needed[need] = end
        if need is Needs.MODULES and len(args) > 1:
            self._unreadable.note(database, args[1])
        for peer in list(self.peers.values()):
            if peer.phase is not Phase.WAITING and self.knows(peer) < need:
                self._cut(peer, f"it does not know {args[0].decode('utf-8', 'backslashreplace')}, so it would lose data")

    def begins_anew(self) -> None:
        """The stream is another's, with offsets of its own."""
        self._needed.clear()

    def _misses(self, peer: Peer, offset: int) -> bool:
        """Whether the stream from this byte on has what the replica does not know."""
        known = self.knows(peer)
        return any(need > known and offset <= end for need, end in self._needed.items())

    def _refuse(self, peer: Peer, why: str) -> None:
        """Give it nothing now; with this word it tries again, and writes why into its log."""
        text = f"a replica of this kind can not read values of modules' types, and there is {why}"
        if self._refused.get(peer.address) != why:
            self._refused[peer.address] = why
            log.warning(
                "Replica %s:%d gets no data: %s. Delete or move such keys, or let the replica follow another primary. "
                "Set foreign-replicas-have-modules if it has the modules.", *peer.address, text
            )  # fmt: skip
        peer.client.send(f"-NOMASTERLINK {text}\r\n".encode())
        peer.client.is_replica = False
        del self.peers[peer.client.id]
        self._node.gate.replica_gone(peer.client.id)
        self.refresh()

    @property
    def output_limit(self) -> BufferLimit:
        """client-output-buffer-limit for replicas. Never less than the backlog, all of which may be what one has missed: it
        would be disconnected for it, again and again."""
        limit, least = self._node.config.client_output_buffer_limit.replica, self._node.config.repl_backlog_size
        return limit._replace(hard=max(limit.hard, least)) if limit.hard else limit

    def _check_held(self) -> None:
        limit = self.output_limit
        now_ms = self._node.io.steady_ms()
        for peer in list(self.peers.values()):
            if peer.held and peer.over_limit(limit, now_ms):
                self._node.stats.output_buffer_limit_disconnections += 1
                self._cut(peer, "it does not keep up with the stream while it syncs (client-output-buffer-limit)")

    def _cut(self, peer: Peer, why: str) -> None:
        log.warning("Disconnecting replica %s:%d: %s", *peer.address, why)
        peer.client.close()
        self.client_gone(peer.client)

    # Syncing ------------------------------------------------------------------------------------------------------

    def _serve_soon(self) -> None:
        if not self._serving:
            self._serving = True
            self._node.io.call_later(0, self._serve)

    def _serve(self) -> None:
        """Answer those who wait: from the backlog where it has what they miss, with a full sync otherwise."""
        self._serving = False
        self._replication.flush()
        waiting = [peer for peer in self.peers.values() if peer.phase is Phase.WAITING]
        walking = bool(self._syncs)
        full = [peer for peer in waiting if not self._continue(peer) and not walking]
        full = [peer for peer in full if peer.client.id in self.peers and peer.phase is Phase.WAITING]
        if full and not self._waits_for_more(full):
            with_keys = [peer for peer in full if not peer.announced.without_keys]
            alike: dict[tuple[Needs, bool], list[Peer]] = {}  # Who knows more must not lose it for one who does not.
            for peer in with_keys:
                alike.setdefault((self.knows(peer), expires_fields(version_for(peer))), []).append(peer)
            for members in alike.values():
                self._begin(members, keys=True)
            self._begin([peer for peer in full if peer.announced.without_keys], keys=False)

    def _waits_for_more(self, asking: list[Peer]) -> bool:
        """Whether others may still come to share the walk (repl-diskless-sync-delay). Then this is looked at again."""
        config = self._node.config
        enough = config.repl_diskless_sync_max_replicas
        if not config.repl_diskless_sync or (enough and len(asking) >= enough):
            return False
        waited_ms = self._node.io.steady_ms() - min(peer.progress_ms for peer in asking)
        left_ms = config.repl_diskless_sync_delay * 1000 - waited_ms
        if left_ms > 0:
            self._node.io.call_later(min(left_ms, _LOOK_AGAIN_MS), self._serve_soon)
        return left_ms > 0

    def _continue(self, peer: Peer) -> bool:
        """Partial resync, where it is possible: the rest of the stream from the backlog. Decided once per PSYNC."""
        if peer.wants is None or peer.wants[0] == b"?":
            return False
        replid, offset = peer.wants
        peer.wants = (b"?", -1)
        missed = self._replication.missed(replid, offset)
        if missed is None or self._misses(peer, offset):
            self._node.stats.sync_partial_err += 1
            return False
        self._node.stats.sync_partial_ok += 1
        self._put_online(peer)
        peer.streaming = True
        known = b" " + self._replication.id.encode() if peer.announced.psync2 else b""
        peer.client.send(b"+CONTINUE%b\r\n%b" % (known, missed))
        log.log(NOTICE, "Partial resynchronization with replica %s:%d: %d bytes.", *peer.address, len(missed))
        return True

    def _begin(self, members: list[Peer], keys: bool) -> None:
        """Start a full sync for these replicas."""
        node, replication = self._node, self._replication
        modules = not keys or any(self.knows(peer) is Needs.MODULES for peer in members)
        if not modules and (why := self._unreadable.still_there(node.databases)):
            for peer in members:
                self._refuse(peer, why)
            return
        if not members:
            return
        replication.open_backlog()
        offset = replication.offset
        options = self._options(members, modules)
        walk = SnapshotWalk(node.databases, options, self._aux(), keys=keys, free=node.io.free_later)
        for peer in members:
            node.stats.sync_full += 1
            peer.phase = Phase.SENDING
            peer.progress_ms = node.io.steady_ms()
            if peer.wants is not None:
                peer.client.send(b"+FULLRESYNC %b %d\r\n" % (replication.id.encode(), offset))
            log.log(NOTICE, "Full resync with replica %s:%d from offset %d.", *peer.address, offset)
        mark = random_id(node.random).encode()
        diskless, folder = node.config.repl_diskless_sync, node.config.dir
        self._syncs.append(
            FullSync(walk, members, mark, offset, self._payload_sent, diskless=diskless, folder=folder)
        )
        replication.stream_restarts()
        node.migrations.tell_again()
        if not self._stepping:
            self._stepping = True
            node.io.call_later(0, self._step)

    def _options(self, members: list[Peer], modules: bool) -> SaveOptions:
        """How to write for all of them: in a version that everyone reads. modules: whether everyone has them."""
        config = self._node.config
        version = common_rdb_version(map(version_for, members))
        limits = EncodingLimits(
            hash_max_listpack_entries=config.hash_max_listpack_entries,
            hash_max_listpack_value=config.hash_max_listpack_value,
        )
        return SaveOptions(limits=limits, compress=config.rdbcompression, version=version, modules=modules)

    def _aux(self) -> list[tuple[bytes, bytes | int]]:
        replication = self._replication
        place = (replication.stream_database, replication.id, replication.offset)
        return standard_aux(replication.server_version, self._node.now_ms // 1000, 0, False, place)

    def _step(self) -> None:
        """One slice of the syncs that are under way, and the next one in the next loop turn."""
        congested = False
        for sync in list(self._syncs):
            try:
                going_on = sync.step(self._node.io.steady_ms())
            except (OSError, TypeError, Unreadable) as error:
                log.warning("Full sync failed: %s", error)
                if isinstance(error, Unreadable):
                    self._unreadable.note(error.database, error.key)
                for peer in sync.members:
                    self._cut(peer, "its full sync failed")
                sync.close()
                going_on = False
            if not going_on:
                self._syncs.remove(sync)
            congested = congested or bool(sync.congested())
        if self._syncs:
            self._node.io.call_later(_CONGESTED_RETRY_MS if congested else 0, self._step)
            return
        self._stepping = False
        if any(peer.phase is Phase.WAITING for peer in self.peers.values()):
            self._serve_soon()

    def _payload_sent(self, peer: Peer) -> None:
        """All of the payload is on its way."""
        self._put_online(peer)
        self._refused.pop(peer.address, None)
        if peer.announced.rdb_only:
            peer.held.clear()
            peer.held_bytes = 0
            self._node.io.call_later(_LINGER_MS, lambda: self._let_go(peer))
        elif peer.wants is None or not peer.waits_for_ack:
            peer.begin_streaming()

    def _put_online(self, peer: Peer) -> None:
        """It counts as a replica from now on, with what it has acknowledged so far."""
        peer.phase = Phase.ONLINE
        peer.acked_ms = self._node.io.steady_ms()
        self._node.gate.acknowledge(peer.client.id, peer.acked_offset)
        self.refresh()
        self._replication.begin()

    def _let_go(self, peer: Peer) -> None:
        """End the connection of one who wanted the payload only, when it has read it. repl-timeout sees to the rest."""
        if peer.client.id not in self.peers:
            return
        if peer.client.output_bytes:
            self._node.io.call_later(_LINGER_MS, lambda: self._let_go(peer))
        else:
            peer.client.close()
            self.client_gone(peer.client)

    def abort_syncs(self) -> None:
        """The data is about to be replaced as a whole."""
        for sync in self._syncs:
            for peer in sync.members:
                self._cut(peer, "our own data is replaced")
            sync.close()
        self._syncs.clear()

    # Time ---------------------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Once a second: signs of life to those who wait, an end to those who are silent."""
        for peer in self.peers.values():
            if peer.phase is Phase.WAITING:
                peer.client.send(b"\n")
        for sync in self._syncs:
            for peer in sync.silent():
                peer.client.send(b"\n")
        timeout_ms = self._node.config.repl_timeout * 1000
        for peer in list(self.peers.values()):
            since_ms = now_ms - (peer.progress_ms if peer.phase is Phase.SENDING else peer.acked_ms)
            if peer.phase is not Phase.WAITING and peer.wants is not None and since_ms > timeout_ms:
                self._cut(peer, "it was silent for longer than repl-timeout")
        self._check_held()
        self.refresh()

    def good(self, now_ms: int) -> int:
        """How many replicas count for min-replicas-to-write."""
        lag_max_s = self._node.config.min_replicas_max_lag
        online = [peer for peer in self.peers.values() if peer.phase is Phase.ONLINE]
        return sum(peer.lag_s(now_ms) <= lag_max_s for peer in online)

    @property
    def online(self) -> list[Peer]:
        """Those who follow the stream."""
        return [peer for peer in self.peers.values() if peer.phase is Phase.ONLINE]

    def refresh(self) -> None:
        """Recompute what depends on how many replicas are well."""
        config = self._node.config
        needed = config.min_replicas_to_write
        too_few = (
            bool(needed and config.min_replicas_max_lag)
            and not self._replication.is_replica
            and self.good(self._node.io.steady_ms()) < needed
        )
        self._node.mark(Unusual.TOO_FEW_REPLICAS, too_few)
