"""The cluster bus's sockets: cuts frames, feeds events to the cluster's machine, carries out what it decides. I/O."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cluster import events
from cluster.failover import DataLink
from cluster.machine import Cluster
from cluster.nodes_conf import format_nodes_conf
from cluster.settings import ClusterSettings
from cluster.views import EndpointType, LinkView
from gossip.codec import CodecError, decode, encode, frame_length
from gossip.ids import BUS_PORT_OFFSET
from gossip.messages import Message
from node.client import Unusual
from node.clock import steady_ms, wall_ahead_ms
from node.config import Config
from node.files import write_atomically
from node.gate import Guard
from node.logs import NOTICE
from node.replication.peer import Peer
from node.sockets import open_listeners

if TYPE_CHECKING:
    from node.state import Node

log = logging.getLogger("hashslot")

_STRANGER_FRAME_MAX = 64 * 1024
"""Until a link is known to belong to a member, no frame on it may be longer: a ping of a large cluster is shorter."""
_SYNC_AFTER_MS = 1000
"""For so long nodes.conf may hold what a loss of power would undo: where slots stand that are on the move."""
_LEVELS = {
    events.Level.DEBUG: logging.DEBUG,
    events.Level.VERBOSE: logging.INFO,
    events.Level.NOTICE: NOTICE,
    events.Level.WARNING: logging.WARNING,
}


def cluster_settings(config: Config) -> ClusterSettings:
    """What the cluster's machine needs to know of the configuration."""
    port = config.port or config.tls_port
    return ClusterSettings(
        port=config.port,
        bus_port=config.cluster_port or port + BUS_PORT_OFFSET,
        tls_port=config.tls_port,
        tls_cluster=config.tls_cluster,
        node_timeout_ms=config.cluster_node_timeout,
        announce_ip=config.cluster_announce_ip,
        announce_port=config.cluster_announce_port,
        announce_tls_port=config.cluster_announce_tls_port,
        announce_bus_port=config.cluster_announce_bus_port,
        announce_hostname=config.cluster_announce_hostname,
        announce_human_nodename=config.cluster_announce_human_nodename,
        announce_client_ipv4=config.cluster_announce_client_ipv4,
        announce_client_ipv6=config.cluster_announce_client_ipv6,
        preferred_endpoint_type=EndpointType(config.cluster_preferred_endpoint_type),
        require_full_coverage=config.cluster_require_full_coverage,
        allow_reads_when_down=config.cluster_allow_reads_when_down,
        allow_pubsubshard_when_down=config.cluster_allow_pubsubshard_when_down,
        allow_replica_migration=config.cluster_allow_replica_migration,
        replica_no_failover=config.cluster_replica_no_failover,
        link_sendbuf_limit=config.cluster_link_sendbuf_limit,
        blacklist_ttl_s=config.cluster_blacklist_ttl,
        replica_validity_factor=config.cluster_replica_validity_factor,
        repl_ping_replica_period_s=config.repl_ping_replica_period,
        migration_barrier=config.cluster_migration_barrier,
        manual_failover_timeout_ms=config.cluster_manual_failover_timeout,
    )


class _Link(asyncio.Protocol):
    """One bus connection, in either direction."""

    def __init__(self, bus: Bus, link: int, outgoing: bool) -> None:
        self.id = link
        self.outgoing = outgoing
        self.created_ms = time.time_ns() // 1_000_000
        self.transport: asyncio.Transport | None = None
        self._bus = bus
        self._buffer = bytearray()
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        peer = transport.get_extra_info("peername") or ("",)
        own = transport.get_extra_info("sockname") or ("",)
        if self.outgoing:
            self._bus.step(events.LinkOpened(self.id, own[0]))
        else:
            self._bus.step(events.LinkAccepted(self.id, peer[0], own[0]))
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._bus.link_lost(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        try:
            while (length := frame_length(buffer, self._bus.frame_limit(self.id))) is not None:
                if len(buffer) < length:
                    return
                frame = bytes(memoryview(buffer)[:length])
                del buffer[:length]
                self._bus.received(self, decode(frame))
                if self.transport is None:
                    return
        except CodecError as error:
            peer = self.transport.get_extra_info("peername") if self.transport else None
            log.log(NOTICE, "Closing bus link %s: %s", peer[0] if peer else "", error)
            self.abort()

    def write(self, data: bytes) -> None:
        """Send, or keep until the link is open."""
        if self.transport is None:
            self._waiting.append(data)
        else:
            self.transport.write(data)

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size() if self.transport else sum(map(len, self._waiting))

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Bus:
    """All bus links of one node."""

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop, nodes_conf: Path, guard: Guard) -> None:
        assert node.cluster is not None
        self._node = node
        self._cluster: Cluster = node.cluster
        self._loop = loop
        self._nodes_conf = nodes_conf.absolute()
        self._guard = guard
        self._links: dict[int, _Link] = {}
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._listeners: list[asyncio.Server] = []
        self._encoded: tuple[Message, bytes] | None = None
        self._unsynced_ms: int | None = None
        """Since when nodes.conf holds something that need not be on disk yet."""
        self._failed: OSError | None = None
        """What could not be saved: until the loop has ended, nothing more is said."""
        self._handlers: dict[type, Callable[..., None]] = {
            events.Send: self._send,
            events.Connect: self._connect,
            events.Close: self._close,
            events.Persist: self._persist,
            events.Log: self._log,
            events.RoleChanged: self._role_changed,
            events.SlotsLost: self._slots_lost,
            events.DataDropped: self._data_dropped,
            events.StateChanged: lambda effect: None,  # Logged already, and `served` tells the rest.
            events.Deliver: self._deliver,
            events.PauseWrites: self._pause_writes,
            events.ResumeWrites: lambda effect: node.pause_for_failover(0),
            events.AskReplicas: self._ask_replicas,
        }
        node.replication.accepts_history = self._accepts_history
        node.replication.acknowledged = self._acknowledged
        # From that moment on the data is this primary's: it may die before the next tick and come back without it.
        node.replication.followed = lambda: self._cluster.data_followed()
        for name in _FOLLOWED_SETTINGS:
            node.config.on_change(name, self._reconfigure)

    async def start(self) -> None:
        """Listen on the bus port. ListenError when it is taken."""
        config = self._node.config
        hosts = config.bind
        port = self._cluster.settings.bus_port
        self._listeners = await open_listeners(self._loop, hosts, port, self._accept, config.tcp_backlog, "cluster bus")
        self._persist(events.Persist())
        self.tick()

    def close(self) -> None:
        """End all links and listeners."""
        for listener in self._listeners:
            listener.close()
        for task in self._connecting.values():
            task.cancel()
        for link in list(self._links.values()):
            link.abort()

    def tick(self) -> None:
        """Ten times a second."""
        if self._failed is not None:
            return
        self._cluster.gossip.wall_ahead_ms = wall_ahead_ms()
        self._tell_data()
        if self._unsynced_ms is not None and steady_ms() - self._unsynced_ms >= _SYNC_AFTER_MS:
            with suppress(OSError):
                self.carry_out([events.Persist()])
        limit = self._cluster.settings.link_sendbuf_limit
        if limit:
            for link in list(self._links.values()):
                if link.unsent_bytes > limit:
                    log.warning("Freeing outbound cluster link: its unsent bytes exceed cluster-link-sendbuf-limit")
                    self._cluster.links_limit_exceeded += 1
                    link.abort()
        self.step(events.Tick())

    def _tell_data(self) -> None:
        """Tell the machine how the data is: offset, link to the primary, whether it can be compared at all."""
        node, cluster = self._node, self._cluster
        offset = node.replication.offset
        cluster.loading = bool(node.unusual & Unusual.LOADING)
        cluster.comparable = node.replication.counted
        following = node.replication.following
        data_link = None if following is None else DataLink(following.connected, following.heard_ms)
        self.carry_out(cluster.set_offset(offset, steady_ms(), data_link))

    def step(self, event: events.Event) -> None:
        """Feed one event to the machine and carry out what it decides."""
        if self._cluster.offset:  # That there is data at all, `set_offset` tells.
            self._cluster.offset = self._node.replication.offset
        self._cluster.stream_end = self._node.replication.offset
        with suppress(OSError):  # carry_out has logged it and is ending the node.
            self.carry_out(self._cluster.step(event, steady_ms()))

    def check_lease(self) -> None:
        """A client's request has come outside of the guard's window, or replies wait."""
        self._cluster.stream_end = self._node.replication.offset
        with suppress(OSError):
            self.carry_out(self._cluster.check_lease(steady_ms()))

    def wrote(self) -> None:
        """Writes were done, and it is time for the machine to hear of it; their replies leave behind this."""
        self._cluster.stream_end = self._node.replication.offset
        with suppress(OSError):
            self.carry_out(self._cluster.wrote(steady_ms()))

    def carry_out(self, effects: Sequence[events.Effect]) -> None:
        """Carry out effects in their order.

        OSError when nodes.conf can not be written. Nothing behind it happens then, and the node ends, as Redis does:
        all that it would say from here on rests on what it could not remember.
        """
        if self._failed is not None:
            raise self._failed
        try:
            for effect in effects:
                self._handlers[type(effect)](effect)
            self._node.slots_changed()
            self._guard.refresh()
            if self._cluster.withholds is not self._node.pause.uncovered:
                self._node.pause_while_uncovered(self._cluster.withholds)
        except OSError as error:
            log.critical("Fatal: can't update cluster config file %s: %s", self._nodes_conf, error.strerror)
            self._node.io.shut_down(exit_status=1)
            self._failed = error
            raise

    # Links --------------------------------------------------------------------------------------------------------

    def _accept(self) -> _Link:
        link = _Link(self, self._cluster.new_link(), outgoing=False)
        self._links[link.id] = link
        return link

    def link_lost(self, link: _Link) -> None:
        """The connection is gone."""
        if self._links.pop(link.id, None) is not None:
            self.step(events.LinkClosed(link.id))

    def frame_limit(self, link: int) -> int:
        """How long a frame on this link may be, in bytes."""
        known = self._cluster.member_of_link(link) is not None
        return self._node.config.proto_max_bulk_len * 2 if known else _STRANGER_FRAME_MAX

    def received(self, link: _Link, message: Message) -> None:
        """A whole message has come in."""
        debug = self._node.debug
        kind = getattr(message, "type", None)
        if debug.drop_packet_filter >= 0 and kind is not None and int(kind) == debug.drop_packet_filter:
            if debug.close_link_on_drop:
                link.abort()
            return
        self.step(events.Received(link.id, message))

    def _connect(self, effect: events.Connect) -> None:
        link = _Link(self, effect.link, outgoing=True)
        self._links[link.id] = link
        self._connecting[link.id] = self._loop.create_task(self._open(link, effect.ip, effect.bus_port))

    async def _open(self, link: _Link, ip: str, port: int) -> None:
        timeout_s = max(1.0, self._cluster.settings.node_timeout_ms / 1000)
        source = self._node.config.bind_source_addr
        local = (source, 0) if source else None
        try:
            await asyncio.wait_for(self._loop.create_connection(lambda: link, ip, port, local_addr=local), timeout_s)
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a name that none can be (`a..b`).
            log.debug("Unable to connect to cluster node [%s]:%d -> %s", ip, port, error)
            self.link_lost(link)
        else:
            if link.id not in self._links:
                link.abort()
        finally:
            self._connecting.pop(link.id, None)

    def _send(self, effect: events.Send) -> None:
        link = self._links.get(effect.link)
        if link is None:
            return
        message = effect.message
        if self._encoded is None or self._encoded[0] is not message:
            self._encoded = (message, encode(message))  # A broadcast is encoded once.
        link.write(self._encoded[1])

    def _close(self, effect: events.Close) -> None:
        link = self._links.pop(effect.link, None)
        if link is not None:
            # What was sent just before may still leave.
            if link.transport is not None:
                link.transport.close()
            task = self._connecting.pop(effect.link, None)
            if task is not None:
                task.cancel()

    def link_views(self) -> list[LinkView]:
        """For CLUSTER LINKS: the links whose node is known."""
        views = []
        for link in self._links.values():
            member = self._cluster.member_of_link(link.id)
            if member is None or link.transport is None:
                continue
            unsent = link.unsent_bytes
            views.append(LinkView(member.id, link.outgoing, link.created_ms, "rw" if unsent else "r", unsent, unsent))
        return views

    # Other effects ------------------------------------------------------------------------------------------------

    def _persist(self, effect: events.Persist) -> None:
        write_atomically(self._nodes_conf, format_nodes_conf(self._cluster.saved_state()), lasting=effect.lasting)
        self._unsynced_ms = None if effect.lasting else self._unsynced_ms or steady_ms()

    def _log(self, effect: events.Log) -> None:
        log.log(_LEVELS[effect.level], "%s", effect.text)

    def _role_changed(self, effect: events.RoleChanged) -> None:
        replication = self._node.replication
        if effect.primary is None:
            replication.stop_following()
        elif effect.address is not None and effect.address.ip:
            replication.follow(effect.address.ip, effect.address.port)
        self._node.blocking.recheck()

    def _slots_lost(self, effect: events.SlotsLost) -> None:
        self._node.drop_slots(effect.slots)
        self._node.blocking.recheck()

    def _data_dropped(self, effect: events.DataDropped) -> None:
        self._node.flush(self._node.databases, lazily=False)

    def _pause_writes(self, effect: events.PauseWrites) -> None:
        self._node.pause_for_failover(effect.until_ms)
        # In the same turn, but when the effects behind this one are carried out: they were decided before.
        self._loop.call_soon(self._writes_are_paused)

    def _writes_are_paused(self) -> None:
        with suppress(OSError):
            self.carry_out(self._cluster.writes_paused(self._node.replication.offset, steady_ms()))

    def _ask_replicas(self, effect: events.AskReplicas) -> None:
        replication = self._node.replication
        replication.request_acks()
        replication.flush()
        self._cluster.stream_end = replication.offset
        self._cluster.replicas_asked()

    def _acknowledged(self, replica: Peer) -> None:
        """A replica has told how much of the stream it has."""
        if self._cluster.awaits_replicas:
            self._cluster.stream_end = self._node.replication.offset
            with suppress(OSError):
                self.carry_out(self._cluster.acknowledged(*replica.address, replica.acked_offset, steady_ms()))

    def _accepts_history(self, offset: int) -> bool:
        """Whether our replica side may take a full sync. If not, it asks for its primary's place, once it is let go."""
        self._cluster.offset = self._node.replication.offset
        if self._cluster.accepts_history(offset):
            return True
        self._loop.call_soon(self._ask_for_place)
        return False

    def _ask_for_place(self) -> None:
        with suppress(OSError):
            self.carry_out(self._cluster.primary_has_less(steady_ms()))

    def _deliver(self, effect: events.Deliver) -> None:
        self._node.deliver(effect.channel, effect.message, effect.sharded)

    def _reconfigure(self, value: object) -> str | None:
        # The new value is in the configuration only after all listeners have agreed.
        self._loop.call_soon(
            lambda: self.carry_out(self._cluster.reconfigure(cluster_settings(self._node.config), steady_ms()))
        )
        return None


_FOLLOWED_SETTINGS = (
    "cluster-node-timeout",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-announce-tls-port",
    "cluster-announce-bus-port",
    "cluster-announce-hostname",
    "cluster-announce-human-nodename",
    "cluster-announce-client-ipv4",
    "cluster-announce-client-ipv6",
    "cluster-preferred-endpoint-type",
    "cluster-require-full-coverage",
    "cluster-allow-reads-when-down",
    "cluster-allow-pubsubshard-when-down",
    "cluster-allow-replica-migration",
    "cluster-replica-no-failover",
    "cluster-link-sendbuf-limit",
    "cluster-blacklist-ttl",
    "cluster-replica-validity-factor",
    "repl-ping-replica-period",
    "cluster-migration-barrier",
    "cluster-manual-failover-timeout",
)
