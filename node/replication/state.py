"""What a node knows of replication, without its sockets: role, ids, offset, the stream, and who follows whom.

The stream is made here when this node is a primary (`feed`), and passed on as it came when it is a replica (`forward`).
Its bytes go to the backlog and to the replicas in batches, one a loop turn (`flush`), encoded once for all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gossip.ids import random_id
from node import resp
from node.client import Unusual
from node.logs import NOTICE
from node.replication.backlog import Backlog
from node.replication.failover import Failover
from node.replication.following import Following
from node.replication.foreign import Needs, Unit, hardest, needs, units
from node.replication.own_keys import OwnKeys
from node.replication.peer import Peer
from node.replication.primary import PrimarySide
from node.version import REDIS_VERSION

if TYPE_CHECKING:
    from node.client import Client
    from node.registry import Args
    from node.state import Node

log = logging.getLogger("hashslot")

NO_ID = "0" * 40
_BATCH_BYTES = 256 * 1024
_GETACK = resp.request([b"REPLCONF", b"GETACK", b"*"])
_PING = resp.request([b"PING"])
_TICK_MS = 1000


class Replication:
    """Role, replication id, offset, replicas. Offsets are bytes of the stream since it began.

    The server calls `flush()` at the end of each chunk of requests while `feeding`, `tick(now_ms)` ten times a second
    and `client_gone(client)` when a connection ends.
    """

    server_version = REDIS_VERSION
    """What we tell our primary and write into payloads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.id: str = random_id(node.random)
        self.second_id = NO_ID
        """The id this stream had before this node became a primary; good for offsets up to `second_offset`."""
        self.second_offset = -1
        self.offset = 0
        self.feeding = False
        """Whether writes go into the stream: on a primary, from the first replica on."""
        self.backlog: Backlog | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._selected = -1
        self._acks_wanted = False
        self.counted = True
        """Whether the offset says how much data there is: not when it was loaded from a file that says nothing of it."""
        self._loaded_database = 0
        self._loaded_age_ms = 0
        self._ticked_ms = node.io.steady_ms()
        self._pinged_ms = node.io.steady_ms()
        self.primary = PrimarySide(node, self)
        """Our replicas."""
        self.failover = Failover(node, self)
        self.own_keys = OwnKeys(node)
        self.following: Following | None = None
        """Our primary; None when this node is one itself."""
        self.followed: Callable[[], None] = lambda: None
        """Called when our primary's stream begins to be followed. A cluster wants to know at once."""
        self.acknowledged: Callable[[Peer], None] = lambda peer: None
        """Called when a replica that follows the stream has said how much of it it has. A cluster may want to know."""
        self.accepts_history: Callable[[int], bool] = lambda offset: True
        """Whether our data may be replaced by another history's, which ends at this offset. A cluster may object."""
        node.config.on_change("repl-backlog-size", self._resize_backlog)
        for name in ("min-replicas-to-write", "min-replicas-max-lag"):
            node.config.on_change(name, self._limits_changed)
        node.config.on_change("replica-serve-stale-data", self._limits_changed)

    # The stream ---------------------------------------------------------------------------------------------------

    def feed(self, database: int, args: Args) -> None:
        """Append a command, which changed this database, to the stream. Only while `feeding`."""
        if database != self._selected:
            self._selected = database
            self._append(resp.request([b"SELECT", b"%d" % database]))
        data = resp.request(args)
        if (need := needs(args)) is not Needs.NOTHING and need is not Needs.FIELD_TIMES:
            self._comes(need, args, database, len(data))
        self._append(data)
        self._node.context.client.write_offset = self.offset

    def feed_unit(self, unit: Unit) -> None:
        """Append commands that take effect together. Only while `feeding`."""
        if len(unit) < 2:
            for database, args in unit:
                self.feed(database, args)
            return
        need, command = hardest([args for _, args in unit])
        if need is Needs.NEWER and not self.primary.all_know_field_times:
            for part in units(unit):
                self._feed_together(part)
            return
        self._feed_together(unit)
        if need is Needs.NEWER:
            self._comes(need, command, unit[0][0], 0)

    def _comes(self, need: Needs, args: Args, database: int, size: int) -> None:
        """Who can not follow what comes in the next `size` bytes gets what is before, and no more."""
        if self._pending:
            self._hand_over()
        self.primary.comes(need, args, database, self.offset + size)

    def _feed_together(self, unit: Unit) -> None:
        if len(unit) > 1:
            self.feed(unit[0][0], [b"MULTI"])
        for database, args in unit:
            self.feed(database, args)
        if len(unit) > 1:
            self.feed(unit[-1][0], [b"EXEC"])

    def _append(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.offset += len(data)
        if self._pending_bytes > _BATCH_BYTES:
            self._hand_over()
            self._pending.append(b"")  # Whatever acknowledges it has still to wait for the end of the turn.

    def _hand_over(self) -> None:
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        if not data:
            return
        assert self.backlog is not None, "the stream has bytes before it has begun"
        self.backlog.append(data)
        self.primary.deliver(data)

    @property
    def is_behind(self) -> bool:
        """Whether `flush` has anything to do."""
        return bool(self._pending) or self._acks_wanted

    def flush(self) -> None:
        """Hand to the backlog and the replicas what this loop turn has added."""
        if self._acks_wanted and not self._stands_still:
            self._acks_wanted = False
            if self.feeding:
                self._append(_GETACK)
        if self._pending:
            self._hand_over()

    def begin(self) -> None:
        """A replica is in sync. A stream in which nothing has come yet begins with a PING: a replica at offset 0 is not
        shown to a cluster's clients, since it may have no data."""
        if self.feeding and not self.offset and self.following is None:
            self._append(_PING)

    def forward(self, data: bytes, commands: Sequence[Args] = ()) -> None:
        """On a replica: the primary's stream went on with these bytes, which were applied. `flush` hands them on.

        commands: what the bytes say; those of a transaction together.
        """
        if commands:
            need, command = hardest(commands)
            if need > Needs.FIELD_TIMES:
                self._comes(need, command, self.stream_database, len(data))
        self._append(data)

    def request_acks(self) -> None:
        """Ask all replicas for their offset (WAIT), once for all who ask in this loop turn."""
        self._acks_wanted = self.feeding and bool(self.primary.peers)

    def stream_restarts(self) -> None:
        """A full sync begins here: its replica knows of no SELECT before."""
        self._selected = -1

    @property
    def stream_database(self) -> int:
        """The database that the next command of the stream is for, as far as the stream has said so."""
        following = self.following
        if following is not None:
            return (following.client or following).database.index
        return max(self._selected, 0)

    # On disk ------------------------------------------------------------------------------------------------------

    def place(self) -> tuple[int, str, int] | None:
        """For a file: which point of which history our data is, as (database of the stream, id, offset).

        None when that means nothing: a primary that no replica has followed, a replica that has not synced yet.
        """
        if self.backlog is None:
            return None
        return self.stream_database, self.id, self.offset

    def resume(self, replid: str, offset: int, database: int, age_ms: int, *, as_replica: bool) -> None:
        """Our data, loaded from a file that was written so long ago, is this point of that history.

        A replica takes it up there: it asks its primary for what comes next. A primary begins a history of its own that
        grew out of that one, as after a promotion: replicas that have exactly this much, or less, go on with us. One
        that has more does not: what it has and we lack would stay.
        """
        self.offset = offset
        self.backlog = Backlog(self._node.config.repl_backlog_size, offset)
        self._selected = -1
        if as_replica:
            self.id = replid
            self.second_id, self.second_offset = NO_ID, -1
            self._loaded_database, self._loaded_age_ms = database, age_ms
        else:
            self.id = random_id(self._node.random)
            self.second_id, self.second_offset = replid, offset + 1
            self.feeding = True
        self.primary.last_seen_ms = self._node.io.steady_ms()

    def loaded(self) -> None:
        """Loading is over, or there was nothing to load: a replica may ask its primary now."""
        following = self.following
        if following is None:
            if self.backlog is not None and not self.feeding:
                self.feeding = True
            return
        if self.backlog is not None:
            databases = self._node.databases
            number = self._loaded_database
            following.take_up(databases[number if number < len(databases) else 0], self._loaded_age_ms)
        self._node.io.follow(following.host, following.port)

    def missed(self, replid: bytes, offset: int) -> bytes | None:
        """The stream from byte `offset` on, for one who followed the history `replid`; None when we can not give it."""
        known = replid == self.id.encode() or (replid == self.second_id.encode() and offset <= self.second_offset)
        if not known or self.backlog is None or not self.backlog.holds(offset):
            return None
        return self.backlog.since(offset)

    # The backlog --------------------------------------------------------------------------------------------------

    def open_backlog(self) -> None:
        """From now on the stream is kept. On a primary it begins here: what an offset meant before means nothing."""
        if self.backlog is not None:
            return
        if self.following is None:
            self.id = random_id(self._node.random)
            self.second_id, self.second_offset = NO_ID, -1
        self.backlog = Backlog(self._node.config.repl_backlog_size, self.offset)
        self._selected = -1
        self.feeding = self.following is None

    def close_backlog(self) -> None:
        """Nobody has followed us for a long time. Writes are no longer counted, so the history ends: a new id."""
        self.backlog = None
        self.feeding = False
        self._pending.clear()
        self._pending_bytes = 0
        self.id = random_id(self._node.random)
        self.second_id, self.second_offset = NO_ID, -1

    def _resize_backlog(self, size: int) -> str | None:
        if self.backlog is not None:
            self.backlog.resize(size)
        return None

    # Roles --------------------------------------------------------------------------------------------------------

    @property
    def is_replica(self) -> bool:
        """Whether this node follows a primary, whatever the state of the link."""
        return self.following is not None

    def follow(self, host: str, port: int) -> None:
        """Be a replica of the server at this address. Our data stays until the sync with it is complete.

        Nothing happens when that is what this node does already.
        """
        node = self._node
        self._acks_wanted = False  # One byte more than the successor took over with, and it gives us all data anew.
        self.flush()
        before = self.following
        if before is not None and (before.host, before.port) == (host, port):
            return
        if before is not None:
            before.stop()
            database = before.database
        else:
            database = node.databases[max(self._selected, 0)]
        self.feeding = False
        self.following = Following(node, self, host, port, database)
        node.mark(Unusual.REPLICA, True)
        self.refresh()
        if not node.clustered:  # in a cluster nodes.conf knows it, and the configuration file must not
            node.config.load("replicaof", [host, str(port)])
        if not node.unusual & Unusual.LOADING:
            node.io.follow(host, port)
        node.blocking.recheck()
        log.log(NOTICE, "REPLICAOF %s:%d enabled", host, port)

    def stop_following(self) -> None:
        """Be a primary. Replicas that followed the same stream may go on with us: the old id stays valid up to here."""
        following = self.following
        if following is None:
            return
        node = self._node
        following.stop()
        self.following = None
        node.io.stop_following()
        self.second_id, self.second_offset = self.id, self.offset + 1
        self.id = random_id(node.random)
        self._selected = -1
        self.feeding = self.backlog is not None
        self.primary.disconnect_all()
        self.primary.last_seen_ms = node.io.steady_ms()
        node.mark(Unusual.REPLICA, False)
        self.refresh()
        node.config.load("replicaof", ["no", "one"])
        log.log(NOTICE, "MASTER MODE enabled")

    def adopt(self, replid: str, offset: int) -> None:
        """A full sync is complete: our data is this point of that history. Our own replicas have to begin anew."""
        self._node.migrations.resynced()
        self.flush()
        self.primary.abort_syncs()
        self.primary.disconnect_all()
        self.id, self.offset, self.counted = replid, offset, True
        self.primary.begins_anew()
        self.second_id, self.second_offset = NO_ID, -1
        self.backlog = Backlog(self._node.config.repl_backlog_size, offset)

    def lose_data(self) -> None:
        """All our data goes, before what comes in its place is there. Until then it is no point of any history."""
        node = self._node
        self.flush()
        self.primary.abort_syncs()
        self.primary.disconnect_all()
        self.backlog = None
        for database in node.databases:
            for observer in node.observers:
                observer.replaced(database, None)
            node.io.free_later([database.expires, *database.clear()])

    def renamed(self, replid: str) -> None:
        """Our primary goes on with the history we have under another id (+CONTINUE): our replicas have to be told."""
        if replid == self.id:
            return
        self.second_id, self.second_offset = self.id, self.offset + 1
        self.id = replid
        self.primary.disconnect_all()

    def change_id(self) -> None:
        """A new id, and no memory of the old one (DEBUG CHANGE-REPL-ID)."""
        self.id = random_id(self._node.random)
        self.second_id, self.second_offset = NO_ID, -1

    def refresh(self) -> None:
        """Recompute what clients may do from the state of the link."""
        stale = self.following is not None and not self.following.connected
        self._node.mark(Unusual.STALE, stale and not self._node.config.replica_serve_stale_data)
        self.own_keys.refresh()
        self.primary.refresh()

    def _limits_changed(self, value: object) -> str | None:
        self.refresh()
        return None

    # Time, connections --------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Ten times a second, or as often as wanted: what has to be done once a second is done once a second."""
        self.flush()
        self.failover.tick(now_ms)
        self.own_keys.tick()
        if self.following is not None:
            self.following.nudge()
        if now_ms - self._ticked_ms < _TICK_MS and now_ms >= self._ticked_ms:
            return
        self._ticked_ms = now_ms
        config = self._node.config
        if self.following is not None:
            self.following.tick(now_ms)
        period_ms = config.repl_ping_replica_period * 1000
        if now_ms - self._pinged_ms >= period_ms and self._may_ping():
            self._pinged_ms = now_ms
            self._append(_PING)
            self.flush()
        self.primary.tick(now_ms)
        idle_ms = now_ms - self.primary.last_seen_ms
        ttl_ms = config.repl_backlog_ttl * 1000
        if self.feeding and not self.primary.peers and ttl_ms and idle_ms > ttl_ms:
            log.log(
                NOTICE,
                "Replication backlog freed after %d seconds without connected replicas.",
                config.repl_backlog_ttl,
            )
            self.close_backlog()

    @property
    def _stands_still(self) -> bool:
        """A manual failover waits for the replica to have all of the stream, or this node ends and has saved it."""
        return bool(self._node.pause.failover_until_ms) or self._node.closing.ended

    def _may_ping(self) -> bool:
        return self.feeding and bool(self.primary.peers) and not self._stands_still

    def client_gone(self, client: Client) -> None:
        """A connection is down."""
        self.primary.client_gone(client)

    # Telling ------------------------------------------------------------------------------------------------------

    def info(self) -> dict[str, str | int]:
        """The fields of INFO replication, in Redis 7.2's order."""
        node = self._node
        now_ms = node.io.steady_ms()
        fields: dict[str, str | int] = {"role": "slave" if self.following else "master"}
        if self.following is not None:
            fields |= self.following.info(now_ms)
        peers = self.primary.peers
        fields["connected_slaves"] = len(peers)
        if node.config.min_replicas_to_write and node.config.min_replicas_max_lag:
            fields["min_slaves_good_slaves"] = self.primary.good(now_ms)
        for number, peer in enumerate(peers.values()):
            ip, port = peer.address
            lag_s = peer.lag_s(now_ms) if peer.phase.value == "online" else 0
            facts = f"state={peer.phase.value},offset={peer.acked_offset},lag={lag_s}"
            fields[f"slave{number}"] = f"ip={ip},port={port},{facts}"
        backlog = self.backlog
        fields |= {
            "master_failover_state": self.failover.state,
            "master_replid": self.id,
            "master_replid2": self.second_id,
            "master_repl_offset": self.offset,
            "second_repl_offset": self.second_offset,
            "repl_backlog_active": int(backlog is not None),
            "repl_backlog_size": node.config.repl_backlog_size,
            "repl_backlog_first_byte_offset": backlog.first if backlog else 0,
            "repl_backlog_histlen": backlog.length + self._pending_bytes if backlog else 0,
        }
        return fields

    def role(self) -> list[resp.Reply]:
        """The reply to ROLE."""
        if self.following is not None:
            return self.following.role()
        online = [peer for peer in self.primary.peers.values() if peer.phase.value == "online"]
        replicas = [[*(str(part).encode() for part in peer.address), b"%d" % peer.acked_offset] for peer in online]
        return [b"master", self.offset, replicas]
