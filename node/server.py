"""One node as a running process: its listeners, its timers, and what the node asks of the world. I/O.

The node (`state.py`) decides; this module gives it time, connections and a bus, and carries out what it asks for.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster.machine import Cluster
from cluster.views import LinkView
from gossip.ids import RandomSource
from node.bus import Bus
from node.client import Client, Unusual
from node.clock import EPOCH_NS, steady_ms, ticks_ns
from node.config import BY_NAME, Config
from node.connection import Connection
from node.errors import CommandError
from node.freeing import Remains
from node.gate import Guard
from node.logs import NOTICE
from node.migration.link import Links
from node.persistence.loading import LoadError, Loading
from node.persistence.snapshot_file import remove_leftovers
from node.replication.link import ReplicaLink
from node.settings.special import BufferLimit
from node.sockets import ListenError, open_listeners
from node.state import Identity, Node
from node.transit import Shipment
from node.transit_links import TransitLinks

log = logging.getLogger("hashslot")

CRON_S = 0.1
_FREE_SLICE = 4000
_SWEEP_VISITS = 2_000
_SWEEP_BUDGET_NS = 2_000_000

_PROTECTED = (
    "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the "
    "default user. In this mode connections are only accepted from the loopback interface. If you want to connect from "
    "external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending "
    "the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host "
    "the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG "
    "REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the "
    "Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If "
    "you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an "
    "authentication password for the default user. NOTE: You only need to do one of the above things in order for the "
    "server to start accepting connections from the outside."
)


class Server:
    """Runs a node on an event loop. Implements `state.NodeIO`."""

    def __init__(
        self,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        random: RandomSource,
        *,
        cluster: Cluster | None = None,
        identity: Identity | None = None,
        nodes_conf: Path | None = None,
    ) -> None:
        self.loop = loop
        self.config = config
        self.connections: dict[int, Connection] = {}
        self.node = Node(config, self, random, _now_ms(), cluster=cluster, identity=identity)
        self.bus: Bus | None = None
        self.guard: Guard | None = None
        if cluster is not None:
            self.guard = Guard(cluster, ticks_ns, self._check_lease, loop.call_later, EPOCH_NS)
            self.bus = Bus(self.node, loop, nodes_conf or Path("nodes.conf"), self.guard)
        self._transit_links = TransitLinks(self.node, loop)
        self._migration_links = Links(self.node, loop, self.connections)
        self.restart = False
        self.exit_status = 0
        self.load_error = ""
        """Why the data could not be loaded; "" when that did not happen."""
        self._listeners: list[asyncio.Server] = []
        self._leaving: list[Connection] = []
        self._link: ReplicaLink | None = None
        self._to_free = Remains()
        self._stopped = asyncio.Event()
        config.on_change("maxclients", self._raise_file_limit)

    # Start and end ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open all listeners and timers. ListenError when a port is taken."""
        config = self.config
        self.node.mark(Unusual.LOADING, True)
        self.node.migrations.resume()
        if config.port:
            self._listeners += await open_listeners(
                self.loop, config.bind, config.port, lambda: Connection(self), config.tcp_backlog, "TCP"
            )
        if config.unixsocket:
            await self._listen_unix(config.unixsocket, config.unixsocketperm)
        if config.replicaof is not None:
            self.node.replication.follow(*config.replicaof)
        remove_leftovers(Path(config.dir))
        self.node.saving.allowed = False
        loading = Loading(self.node, self.node.saving.path, self._loaded)
        loading.look()
        if self.bus is not None:
            await self.bus.start()
        self.loop.call_later(CRON_S, self._cron)
        loading.begin()

    def _loaded(self, error: LoadError | None) -> None:
        """The data is there, or can not be had: then the node ends, and nothing on disk is touched."""
        if error is not None:
            log.critical("%s", error)
            self.load_error = str(error)
            self.shut_down(exit_status=1)
            return
        self.node.saving.allowed = True
        self._drop_foreign_slots()
        self.node.replication.loaded()
        gc.freeze()  # What was loaded is no garbage: the collector need not walk it.
        log.log(NOTICE, "Ready to accept connections tcp")

    def _drop_foreign_slots(self) -> None:
        """Keys of slots that another node owns by now are not ours any more (as Valkey does; a replica asks its primary)."""
        cluster = self.node.cluster
        if cluster is None or cluster.myself.is_replica:
            return
        keys = self.node.databases[0].slots
        foreign = [slot for slot, held in enumerate(keys) if held and cluster.owner(slot) not in (None, cluster.myself)]
        if foreign:
            log.warning("Keys of %d slots that other nodes own were found in the RDB file: they are dropped.", len(foreign))
            self.node.drop_slots(foreign)

    async def _listen_unix(self, path: str, permissions: int) -> None:
        Path(path).unlink(missing_ok=True)
        try:
            listener = await self.loop.create_unix_server(lambda: Connection(self, unix=True), path)
        except OSError as error:
            raise ListenError(f"Failed opening Unix socket: bind: {error.strerror}") from error
        if permissions:
            os.chmod(path, permissions)
        self._listeners.append(listener)

    def heed(self, signals: Sequence[str]) -> None:
        """Shut down in order at these signals, where the system has them. To be called before `start`, which says that
        the node is ready: from then on somebody may end it."""
        for name in signals:
            if hasattr(signal, name):
                self._on_signal(getattr(signal, name))

    async def run(self) -> None:
        """Serve until shut down."""
        await self._stopped.wait()
        await self._end()

    def _on_signal(self, number: signal.Signals) -> None:
        def heard() -> None:
            log.warning("Received %s scheduling shutdown...", number.name)
            self.end_in_order(f"shutdown-on-{number.name.lower()}")

        try:
            self.loop.add_signal_handler(number, heard)
        except (NotImplementedError, RuntimeError):  # Windows has no signals on the loop
            signal.signal(number, lambda *_: self.loop.call_soon_threadsafe(heard))

    def end_in_order(self, setting: str = "shutdown-on-sigterm") -> None:
        """End as SHUTDOWN does, with the words of this setting; at once when that was asked for before."""
        closing = self.node.closing
        words = set(self.config.get(setting).split()) if setting in BY_NAME else set()
        try:
            closing.ask({*words, "now"} if closing.waits else words)
        except CommandError as error:
            log.warning("%s", error.text)

    async def _end(self) -> None:
        log.warning("User requested shutdown...")
        for listener in self._listeners:
            listener.close()
        if self._link is not None:
            self._link.close()
        self._transit_links.close()
        self._migration_links.close()
        if self.bus is not None:
            self.bus.close()
        for connection in list(self.connections.values()):
            connection.close_in_order()
        await asyncio.sleep(0)
        if self.config.unixsocket:
            Path(self.config.unixsocket).unlink(missing_ok=True)
        log.warning("Redis is now ready to exit, bye bye...")

    # What the node asks for: NodeIO -------------------------------------------------------------------------------

    def _check_lease(self) -> None:
        """A request has come outside of the guard's window, or replies wait."""
        if self.bus is not None:
            self.bus.check_lease()

    def carry_out(self, effects: Sequence[Any]) -> None:
        if self.bus is not None:
            self.bus.carry_out(effects)

    def follow(self, host: str, port: int) -> None:
        self.stop_following()
        self._link = ReplicaLink(self.node, self.loop, host, port)
        self._link.start()

    def stop_following(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def free_later(self, dropped: list[Any]) -> None:
        if not self._to_free:
            self.loop.call_soon(self._free_some)
        self._to_free.add(dropped)

    def _free_some(self) -> None:
        """Free one slice of what nobody needs any more, and come back for the next."""
        self._to_free.free(_FREE_SLICE)
        if self._to_free:
            self.loop.call_later(0.001, self._free_some)

    def shut_down(self, restart: bool = False, exit_status: int = 0) -> None:
        self.restart = restart
        self.exit_status = exit_status
        self._stopped.set()

    def resume_clients(self) -> None:
        for connection in list(self.connections.values()):
            self.loop.call_soon(connection.resume)

    def ship(self, shipment: Shipment) -> None:
        self._transit_links.carry(shipment)

    def link_views(self) -> list[LinkView]:
        return [] if self.bus is None else self.bus.link_views()

    def clock_ms(self) -> int:
        now_ms = _now_ms()
        self.node.set_time(now_ms)
        return now_ms

    def steady_ms(self) -> int:
        return steady_ms()

    def ticks_ns(self) -> int:
        return time.perf_counter_ns()

    def call_later(self, delay_ms: int, action: Callable[[], None]) -> None:
        self.loop.call_later(delay_ms / 1000, action)

    # Connections --------------------------------------------------------------------------------------------------

    def refusal(self, connection: Connection) -> str:
        """Why this connection can not be served, as an error reply; "" when it can."""
        if len(self.connections) >= self.config.maxclients:
            return "ERR max number of clients reached"
        client = connection.client
        if self.config.protected_mode and not self.config.requirepass and not client.unix and not _is_local(client.ip):
            return _PROTECTED
        return ""

    def output_limit(self, client: Client) -> BufferLimit:
        """client-output-buffer-limit for this client's class."""
        limits = self.config.client_output_buffer_limit
        if client.is_replica:
            return self.node.replication.primary.output_limit
        return limits.pubsub if client.unusual & Unusual.SUBSCRIBED else limits.normal

    def _raise_file_limit(self, clients_max: int) -> str | None:
        raise_file_limit(clients_max)
        return None

    # Timers -------------------------------------------------------------------------------------------------------

    def _cron(self) -> None:
        began = time.monotonic()
        try:
            self._turn()
        except Exception:
            log.exception("Internal error in the node's timer")
        self.loop.call_later(max(0.0, CRON_S - (time.monotonic() - began)), self._cron)

    def _turn(self) -> None:
        """Ten times a second: everything that time alone brings about."""
        node = self.node
        now_ms = _now_ms()
        node.set_time(now_ms)
        if node.unusual & Unusual.PAUSED:
            node.end_pauses()
        self._sweep()
        node.gate.tick(steady_ms())
        node.blocking.tick(now_ms)
        node.replication.tick(steady_ms())
        node.migrations.tick()
        node.saving.tick(now_ms)
        node.closing.tick(steady_ms())
        node.stats.sample(node.commands.calls(), now_ms)
        for connection in list(self.connections.values()):
            connection.check(now_ms)
        if self.bus is not None:
            self.bus.tick()
        node.replication.flush()

    def leave_after_stream(self, connection: Connection) -> None:
        """Let this connection's replies leave at the end of the loop turn, behind the replication stream."""
        if not self._leaving:
            self.loop.call_soon(self._end_turn)
        self._leaving.append(connection)

    def _end_turn(self) -> None:
        guard = self.guard
        if guard is not None and self.bus is not None and ticks_ns() >= guard.asks_ns:
            self.bus.wrote()
        self.node.replication.flush()
        leaving, self._leaving = self._leaving, []
        for connection in leaving:
            connection.leave()

    def _sweep(self) -> None:
        """Active expiry within a budget: goes on while it finds much to remove."""
        began_ns = time.perf_counter_ns()
        while self.node.sweep_expired(_SWEEP_VISITS) > _SWEEP_VISITS // 4:
            if time.perf_counter_ns() - began_ns > _SWEEP_BUDGET_NS:
                self.node.stats.expired_time_cap_reached += 1
                break
        self.node.stats.active_expire_cycle_usec += (time.perf_counter_ns() - began_ns) // 1000


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it exists, else the standard one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def raise_file_limit(clients_max: int) -> None:
    """Ask for enough file descriptors for `maxclients`, as far as the system allows."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients_max + 64
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _is_local(ip: str) -> bool:
    return ip.startswith("127.") or ip in ("::1", "")

