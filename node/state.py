"""Everything one node knows, without a socket, file or clock of its own.

The server (`server.py`) gives it time and carries out what it asks for through `NodeIO`; tests give it a clock that they
turn themselves and look at what it asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from cluster.machine import Cluster
from cluster.views import LinkView
from gossip.ids import RandomSource, random_id
from node import redirection, resp
from node.access import AccessNotes
from node.blocking import Blocking
from node.client import Client, Unusual
from node.closing import Closing
from node.commands import GROUPS, migrate
from node.config import Config
from node.context import Context, Observer
from node.errors import CommandError
from node.executor import Executor
from node.gate import ReplyGate
from node.keyspace import Database, ExpirySweep
from node.migration.jobs import Migrations
from node.notifications import Notifications
from node.numbers import LLONG_MAX
from node.persistence.loading import Loading
from node.persistence.saving import Saving
from node.pubsub import PubSub
from node.registry import Args, Command, CommandTable, Flag
from node.replication.state import Replication
from node.slot_stats import SlotStats
from node.stats import Stats
from node.transactions import Watches
from node.transit import Shipment, Transit

_EXPORTING = int(Unusual.EXPORTING)

FIELDS_PER_TURN = 10_000
"""How many fields of hashes one loop turn expires: some ten milliseconds."""

COMMANDS = CommandTable(GROUPS)
"""Every command there is; its counters are the process's, which runs one node."""


def without_passwords(args: Args) -> Args:
    """A request as others may see it: what AUTH and HELLO AUTH say is "(redacted)"."""
    name = args[0].lower()
    if name == b"auth":
        return [args[0]] + [b"(redacted)"] * (len(args) - 1)
    if name == b"hello" and len(args) > 4:
        shown = list(args)
        for at in range(2, len(args) - 2):
            if args[at].lower() == b"auth":
                shown[at + 1 : at + 3] = [b"(redacted)"] * 2
                break
        return shown
    if name == b"migrate":
        return migrate.without_passwords(args)
    return args


class NodeIO(Protocol):
    """What a node asks of the process around it."""

    def carry_out(self, effects: Sequence[Any]) -> None:
        """Carry out, in order, what the cluster's machine decided (`cluster.events`)."""

    def follow(self, host: str, port: int) -> None:
        """Be a replica of the server at this address from now on: connect, sync, follow."""

    def stop_following(self) -> None:
        """End the link to the primary, if there is one."""

    def free_later(self, dropped: list[Any]) -> None:
        """Free these dicts of keys, or values, little by little, without holding the loop."""

    def shut_down(self, restart: bool = False, exit_status: int = 0) -> None:
        """End the process in order, once the replies of this loop turn are out."""

    def resume_clients(self) -> None:
        """Postponed requests may run now."""

    def ship(self, shipment: Shipment) -> None:
        """Take the keys of a MIGRATE to another server."""

    def link_views(self) -> list[LinkView]:
        """The bus links to known nodes, for CLUSTER LINKS."""

    def clock_ms(self) -> int:
        """Unix time in ms, now."""

    def steady_ms(self) -> int:
        """As unix time in ms, of a clock that only goes forwards: by it the cluster and replication count."""

    def ticks_ns(self) -> int:
        """Nanoseconds of a clock that only goes on, to measure how long something takes."""

    def call_later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Run `action` after a while, on the loop."""


@dataclass(slots=True)
class Pause:
    """CLIENT PAUSE: until when, and whether only writes wait; a manual failover's own pause of writes; and whether they wait
    since those before are not covered (`cluster/contact.py`).

    Times are unix ms, the failover's those of `NodeIO.steady_ms`; 0 while there is no such pause. None ends another.
    """

    until_ms: int = 0
    only_writes: bool = False
    failover_until_ms: int = 0
    uncovered: bool = False

    @property
    def is_on(self) -> bool:
        """Whether anything waits."""
        return self.until_ms > 0 or self.failover_until_ms > 0 or self.uncovered

    def drop_expired(self, now_ms: int, steady_ms: int) -> bool:
        """Forget what is over; whether anything was."""
        over = False
        if self.until_ms and now_ms >= self.until_ms:
            self.until_ms, over = 0, True
        if self.failover_until_ms and steady_ms >= self.failover_until_ms:
            self.failover_until_ms, over = 0, True
        return over

    def postpones(self, client: Client, command: Command) -> bool:
        """Whether this request has to wait. The primary's stream and replicas are never held up."""
        if client.is_primary or client.is_replica:
            return False
        if command.name in ("client|pause", "client|unpause", "replconf", "psync"):
            return False
        return (self.until_ms > 0 and not self.only_writes) or bool(command.flags & (Flag.WRITE | Flag.MAY_REPLICATE))


@dataclass(slots=True)
class DebugSwitches:
    """What DEBUG can turn: `active_expire` (SET-ACTIVE-EXPIRE), bus packets to drop (DROP-CLUSTER-PACKET-FILTER)."""

    active_expire: bool = True
    drop_packet_filter: int = -1
    close_link_on_drop: bool = False
    quicklist_packed_threshold: int = 1 << 30


@dataclass(slots=True)
class Identity:
    """What a process is, fixed at its start."""

    run_id: str
    pid: int = 0
    executable: str = ""
    config_file: str = ""
    arguments: list[str] = field(default_factory=list)


class Node:
    """One server. Handlers reach it as `ctx.node`.

    cluster: None for a standalone server. unusual: the sum of `Unusual` reasons that hold for every client.
    """

    def __init__(
        self,
        config: Config,
        io: NodeIO,
        random: RandomSource,
        now_ms: int,
        *,
        cluster: Cluster | None = None,
        identity: Identity | None = None,
    ) -> None:
        self.config = config
        self.io = io
        self.random = random
        self.cluster = cluster
        self.clustered = cluster is not None
        self.identity = identity or Identity(run_id=random_id(random))
        self.started_ms = now_ms
        self.commands = COMMANDS
        self.stats = Stats()
        self.gate = ReplyGate()
        self.pause = Pause()
        self.debug = DebugSwitches()
        self.databases = [
            Database(index, self.clustered) for index in range(1 if self.clustered else config.databases)
        ]
        self.sweeps = [ExpirySweep() for _ in self.databases]
        self.clients: dict[int, Client] = {}
        self.monitors: dict[int, Client] = {}
        self.observers: list[Observer] = []
        self._unit: list[tuple[int, Args]] | None = None
        self.watches = Watches(self)
        self.blocking = Blocking(self)
        self.transit = Transit(self)
        self.pubsub = PubSub(self)
        self._slots_known: tuple[int, str] = (-1, "")
        self.next_client_id = 1
        self.unusual = 0
        self.dirty = 0
        """Changes since the last save (INFO rdb_changes_since_last_save)."""
        self.last_save_ms = now_ms
        self.closing = Closing(self)
        self.saving = Saving(self)
        self.loading: Loading | None = None
        """The data is being loaded from disk: `Unusual.LOADING`."""
        self.replication = Replication(self)
        self.myself = Client(0, self.databases[0], now_ms)
        """Stands for the node itself where it acts on its own: active expiry, DEBUG."""
        self.context = Context(self, self.myself, self.databases[0])
        self.context.now_ms = now_ms
        self.fields_due_ms = LLONG_MAX
        """When there may next be an expired field in a hash, in unix ms: nobody looks before that."""
        self.notifications = Notifications(self)
        self.access = AccessNotes(self)
        self.slot_stats = SlotStats(self)
        self.migrations = Migrations(self)
        self.executor = Executor(self)
        config.on_change("requirepass", self._password_changed)

    # Time ---------------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Unix time in ms of this loop turn."""
        return self.context.now_ms

    def set_time(self, now_ms: int) -> None:
        """A new loop turn begins."""
        self.context.now_ms = now_ms
        if now_ms >= self.fields_due_ms:
            self.expire_fields()

    def time_out_clients(self) -> None:
        """Somebody's time to wait may be over."""
        self.blocking.tick(self.io.clock_ms())

    # Clients ------------------------------------------------------------------------------------------------------

    def new_client(self) -> Client:
        """A client that has just connected, registered under the next id."""
        client = Client(self.next_client_id, self.databases[0], self.now_ms)
        self.next_client_id += 1
        if self.config.requirepass:
            client.authenticated = False
            client.mark(Unusual.UNAUTHENTICATED, True)
        self.clients[client.id] = client
        return client

    def forget_client(self, client: Client) -> None:
        """The connection is gone."""
        self.clients.pop(client.id, None)
        self.watches.end(client)
        self.blocking.forget(client)
        self.pubsub.forget(client)
        self.stop_monitoring(client)
        self.gate.replica_gone(client.id)
        self.migrations.client_gone(client)

    def _password_changed(self, password: str) -> None:
        """Without a password nobody has to log in any more; a new one concerns only who connects from now on."""
        if not password:
            for client in self.clients.values():
                client.authenticated = True
                client.mark(Unusual.UNAUTHENTICATED, False)

    def stop_monitoring(self, client: Client) -> None:
        """This client shall not see requests any more (RESET, or it is gone)."""
        client.is_monitor = False
        self.monitors.pop(client.id, None)
        self.mark(Unusual.MONITORED, bool(self.monitors))

    def mark(self, why: Unusual, holds: bool) -> None:
        """Set or clear one reason for every client to take the slow way."""
        self.unusual = self.unusual | int(why) if holds else self.unusual & ~int(why)

    def run(self, client: Client, args: Args) -> resp.Reply:
        """Execute one request outside of a connection's chunk: errors come as CommandError values, not raised."""
        try:
            return self.executor.execute(client, args)
        except CommandError as error:
            self.stats.error(error.code)
            return error

    def note_time(self, requests: Sequence[Args], elapsed_ns: int) -> None:
        """These requests took so long together: INFO commandstats shows it by command."""
        if requests:
            share_ns = elapsed_ns // len(requests)
            for request in requests:
                command = self.commands.spellings.get(request[0])
                if command is not None:
                    command.nsec += share_ns

    def monitor(self, client: Client, args: Args) -> None:
        """Show a request to those who sent MONITOR."""
        seconds, ms = divmod(self.now_ms, 1000)
        shown = b" ".join(resp.quoted(arg) for arg in without_passwords(args))
        address = f"unix:{self.config.unixsocket}" if client.unix else client.address
        line = b"%d.%06d [%d %b] %b" % (seconds, ms * 1000, client.database.index, address.encode(), shown)
        for watcher in self.monitors.values():
            watcher.send(b"+%b\r\n" % line)

    # Pausing ------------------------------------------------------------------------------------------------------

    def pause_clients(self, until_ms: int, only_writes: bool) -> None:
        """CLIENT PAUSE: a longer or stricter pause that is already on stays."""
        pause = self.pause
        if pause.until_ms > self.now_ms:
            until_ms = max(until_ms, pause.until_ms)
            only_writes = only_writes and pause.only_writes
        self.pause.until_ms, self.pause.only_writes = until_ms, only_writes
        self.mark(Unusual.PAUSED, True)

    def unpause_clients(self) -> None:
        """CLIENT UNPAUSE, or the time is over."""
        self.pause.until_ms = 0
        self._resume()

    def pause_for_failover(self, until_ms: int) -> None:
        """Until then no write comes in, whatever CLIENT says, and the replication stream stands still; 0 ends it."""
        self.pause.failover_until_ms = until_ms
        if until_ms:
            self.mark(Unusual.PAUSED, True)
        else:
            self._resume()

    def pause_while_uncovered(self, uncovered: bool) -> None:
        """Let no write in while those before wait for their cover: whoever waits here may still be told that nothing was
        done."""
        self.pause.uncovered = uncovered
        if uncovered:
            self.mark(Unusual.PAUSED, True)
        else:
            self._resume()

    def end_pauses(self) -> None:
        """End what is over by now."""
        if self.pause.drop_expired(self.now_ms, self.io.steady_ms()):
            self._resume()

    def _resume(self) -> None:
        self.mark(Unusual.PAUSED, self.pause.is_on)
        self.io.resume_clients()

    # Data ---------------------------------------------------------------------------------------------------------

    def route(
        self, client: Client, command: Command, keys: Sequence[bytes], slot: int, *, asking: bool
    ) -> None:
        """Return when a request for a slot that is not simply served may be served here all the same.

        CommandError otherwise: MOVED, ASK, TRYAGAIN or CLUSTERDOWN.
        """
        redirection.check(self, client, command, keys, slot, asking=asking)

    def may_expire(self) -> bool:
        """Whether this node decides itself that keys are gone: not on a replica, nor while writes are paused."""
        return not self.unusual & (Unusual.REPLICA | Unusual.PAUSED | Unusual.LOADING) and not self.migrations.held

    @property
    def propagates(self) -> bool:
        """Whether anybody wants to hear of changes: replicas, files."""
        return self.replication.feeding or self.unusual & _EXPORTING != 0

    def propagate(self, database: Database, args: Args) -> None:
        """Append a command to the replication stream, and to those of slots that are on their way elsewhere."""
        if self.migrations.exporting:
            self.migrations.feed(self.context.slot, args)
        if self._unit is not None:
            self._unit.append((database.index, args))
        elif self.replication.feeding:
            self.replication.feed(database.index, args)

    @contextmanager
    def one_unit(self) -> Iterator[None]:
        """What is propagated meanwhile takes effect as a whole elsewhere too: several commands go between MULTI and EXEC."""
        if self._unit is not None or not self.replication.feeding:
            yield
            return
        unit = self._unit = []
        try:
            yield
        finally:
            self._unit = None
            self.replication.feed_unit(unit)

    def observe(self, database: Database, event: str, key: bytes) -> None:
        """Tell observers of a change."""
        for observer in self.observers:
            observer.changed(database, event, key)

    def expire_fields(self) -> None:
        """Remove the fields of hashes whose time has come, at the start of a loop turn: so nobody ever sees them.

        Not on a replica, whose primary says HDEL, and at most so many in a turn; the others go in the next ones.
        """
        if not self.may_expire():
            return
        context, left = self.context, FIELDS_PER_TURN
        context.client = self.myself
        for database in self.databases:
            while left > 0 and (found := database.next_expiring(self.now_ms)) is not None:
                key, value = found
                context.point_at(database, database.slot_of(key))
                if context.write(key) is None:
                    continue
                gone = value.expire_due(self.now_ms, left)
                left -= len(gone)
                if gone:
                    self.propagate(database, [b"HDEL", key, *gone])
                    self.observe(database, "hexpired", key)
                if not value.is_empty:
                    database.track_fields(key, value)
                else:
                    context.discard(key)
                    self.observe(database, "del", key)
        self.note_field_deadlines()

    def note_field_deadlines(self) -> None:
        """Databases were loaded, or fields removed: find out when there may next be an expired field."""
        due = [database.fields_due_ms for database in self.databases]
        self.fields_due_ms = min((ms for ms in due if ms is not None), default=LLONG_MAX)

    def sweep_expired(self, visits_max: int) -> int:
        """Active expiry: look at the next keys that have a deadline. Returns how many were removed."""
        removed = 0
        self.note_field_deadlines()
        if not self.may_expire() or not self.debug.active_expire:
            return 0
        context = self.context
        context.client = self.myself
        for database, sweep in zip(self.databases, self.sweeps, strict=True):
            if not database.expires:
                continue
            for key in sweep.expired(database, self.now_ms, visits_max):
                slot = database.slot_of(key)
                if slot not in database.hidden:
                    context.point_at(database, slot)
                    context.expire(key)
                    removed += 1
        return removed

    def drop_slots(self, slots: Sequence[int]) -> None:
        """Remove all keys of slots that another node owns now, little by little; nobody sees them any more."""
        self.migrations.cleaner.clean(slots)

    def deliver(self, channel: bytes, message: bytes, sharded: bool) -> None:
        """A peer's pub/sub message: for the subscribers of this node."""
        self.pubsub.publish(channel, message, sharded)

    def slots_changed(self) -> None:
        """Slots may have other owners now: who listens to shard channels of those that left this shard is told so, who
        waits for a key there is sent after it, and what was counted of them is forgotten."""
        cluster = self.cluster
        if cluster is None:
            return
        head = cluster.shard_head(cluster.myself)
        known = (cluster.slotmap.version, head.id)
        if known == self._slots_known:
            if self.migrations.awaits_answers:
                self.migrations.owners_changed()
            return
        self._slots_known = known
        if self.pubsub.shard_channels:
            self.pubsub.keep_slots(lambda slot: cluster.owner(slot) is head)
        self.slot_stats.keep(cluster.slotmap.bits(head.id))
        self.blocking.slots_changed()
        self.migrations.owners_changed()

    def flush(self, databases: Sequence[Database], lazily: bool) -> int:
        """Drop all keys of these databases. Returns how many there were."""
        count = 0
        for database in databases:
            count += len(database)
            for observer in self.observers:
                observer.replaced(database, None)
            self.migrations.flushed()
            dropped = database.clear()
            if lazily:
                self.io.free_later(dropped)
        context = self.context
        context.point_at(context.database, context.slot)  # so that it no longer holds what was dropped
        return count
