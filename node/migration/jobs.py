"""All slot migrations of a node, in both directions: what their machines decide is done to data, clients and replicas here.

No socket: `link.py` gives an export its connection, and an import is a client that the source has made. A node that is a
replica has imports too, which say what its primary is doing, so that it hides the same slots.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from cluster import migration
from cluster.migration import ENDED, Do, Event, Export, Import, Job, Owners, Stage, Word
from cluster.slotmap import bits_of, slots_in
from cluster.slots import SlotRange
from gossip.events import Level
from gossip.ids import NodeId, random_id
from node import resp
from node.client import Client, Unusual
from node.errors import CommandError
from node.logs import NOTICE
from node.migration.cleaning import Cleaner
from node.migration.sender import Sender
from node.migration.tasks import Tasks
from node.registry import Args, Command
from node.transit import would_change

if TYPE_CHECKING:
    from node.state import Node

log = logging.getLogger("hashslot")

_LEVELS = {
    Level.DEBUG: logging.DEBUG,
    Level.VERBOSE: logging.INFO,
    Level.NOTICE: NOTICE,
    Level.WARNING: logging.WARNING,
}
_PAUSE_FACTOR = 2
"""Writes are kept out for so many times the cluster's manual failover timeout at most, before permission is given."""


def spoken(word: str) -> bytes:
    """A word as it goes over the connection."""
    return resp.request([b"CLUSTER", b"SYNCSLOTS", word.encode()])


class Network(Protocol):
    """Who makes connections. `link.Links` does; without one nothing can be reached."""

    def dial(self, job: Export) -> None:
        """Connect an export to its target: then `Migrations.linked`, or an event that says why not."""

    def adopt(self, client_id: int) -> None:
        """This client is the source of an import: let its connection not take more than its share of the loop."""

    def ask(self, job: Export) -> None:
        """Find out from the target what became of the job, and tell with the event Answer."""

    def order(self, source: NodeId, ranges: Sequence[SlotRange], done: Callable[[str], None]) -> None:
        """Tell another node to migrate slots to this one. done: with its error, or ""."""


class Migrations:
    """The jobs, the newest first. `held`: slots whose writers have to wait, and for how many reasons each."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.jobs: list[Job] = []
        self.held: dict[int, int] = {}
        self.cleaner = Cleaner(node)
        self.tasks = Tasks(node, self)
        self.network: Network | None = None
        self.clock_ms: Callable[[], int] = lambda: node.now_ms
        """A clock that only goes forwards; jobs know no other."""
        self.import_bytes = self.export_bytes = 0
        """All that went over the connections (INFO stats)."""
        self._senders: dict[Export, Sender] = {}
        self._clients: dict[int, Import] = {}
        self._seen_ms: dict[int, int] = {}
        self._someone_waits = False
        self._epochs: dict[Job, int] = {}
        """Reserved for imports."""
        self._polled_ms: dict[Job, int] = {}
        """When everybody was first asked for a job's sake since something made all earlier answers old."""

    # Asking -------------------------------------------------------------------------------------------------------

    @property
    def exporting(self) -> bool:
        """Whether changes of some slots go to another node too."""
        return bool(self._senders)

    def active(self, kind: type[Job]) -> list[Job]:
        """Jobs of one side that are not over."""
        return [job for job in self.jobs if type(job) is kind and job.stage not in ENDED]

    def involves(self, kind: type[Job], slots: Sequence[int]) -> int | None:
        """One of these slots that is on the move already; None when none is."""
        moving = {slot for job in self.active(kind) for slot in job.slots}
        return next((slot for slot in slots if slot in moving), None)

    def sender(self, job: Job) -> Sender | None:
        """What still goes out for an export."""
        return self._senders.get(job) if isinstance(job, Export) else None

    def job_of(self, client: Client) -> Import | None:
        """The import that this client is the source's end of."""
        return self._clients.get(client.id)

    def shown_ms(self, at_ms: int) -> int:
        """A job's time as unix ms."""
        return self._node.now_ms - (self.clock_ms() - at_ms)

    # Beginning ----------------------------------------------------------------------------------------------------

    def export(self, target: NodeId, ranges: Sequence[SlotRange]) -> Export:
        """Give slots, which are all this node's, to another."""
        node, cluster = self._node, self._node.cluster
        assert cluster is not None
        config = node.config
        job = Export(
            random_id(node.random), cluster.myself.id, target, ranges, self.clock_ms(),
            pause_ms=config.cluster_manual_failover_timeout * _PAUSE_FACTOR, timeout_ms=config.repl_timeout * 1000,
        )
        self._add(job)
        log.log(NOTICE, "Slot migration initiated: %s", job.called)
        if self.network is None:
            self.step(job, migration.Broken("Unable to connect to target node: this node has no network"))
        else:
            self.network.dial(job)
        return job

    def resume(self) -> None:
        """This node has just started: of what it had granted before it ended it must find out what came."""
        cluster = self._node.cluster
        for grant in () if cluster is None else cluster.slotmap.grants.values():
            assert cluster is not None
            job = Export.resumed(grant, cluster.myself.id, self.clock_ms())
            self._add(job)
            self.hold(job.slots, True)
            log.log(NOTICE, "Slot migration %s had been granted: its slots wait until its end is known.", job.called)

    def establish(self, client: Client, name: str, source: NodeId | None, ranges: Sequence[SlotRange]) -> None:
        """CLUSTER SYNCSLOTS ESTABLISH: take slots from that source. From our primary's stream: it does, so hide them."""
        node, cluster = self._node, self._node.cluster
        assert cluster is not None
        tracking = client.is_primary
        if tracking and any(job.name == name and job.stage not in ENDED for job in self.jobs):
            return  # Told again for another replica's sake (`tell_again`).
        target = cluster.shard_head(cluster.myself).id
        job = Import(
            name, source or NodeId(""), target, ranges, self.clock_ms(),
            timeout_ms=node.config.repl_timeout * 1000, tracking=tracking,
        )
        self._add(job)
        log.log(NOTICE, "New slot import job created: %s.", job.called)
        database = node.databases[0]
        if not tracking:
            self.cleaner.finish(job.slots)
            self.cleaner.clean(slot for slot in job.slots if database.slots[slot])  # What nobody owns here.
            self.cleaner.finish(job.slots)
            self._adopt(client, job)
            self.tasks.begun(job)
        database.hidden.update(job.slots)

    def _adopt(self, client: Client, job: Import) -> None:
        """From now on this client speaks for the source: it is obeyed, and gets no replies."""
        self._clients[client.id] = job
        client.is_primary = True
        client.mark(Unusual.FROM_PRIMARY, True)

        def swallow(value: resp.Reply) -> bytes:
            if isinstance(value, CommandError):
                log.warning("Slot migration %s: a command failed: %s", job.called, value.text)
                why = "Failed to process command during slot migration. Check logs for more information"
                self.step(job, migration.Broken(why))
            return b""

        client.encode = swallow
        if self.network is not None:
            self.network.adopt(client.id)

    def _add(self, job: Job) -> None:
        self.jobs.insert(0, job)
        self._trim_log()

    def _trim_log(self) -> None:
        most = self._node.config.cluster_slot_migration_log_max_len
        over = len(self.jobs) - most
        for job in reversed(self.jobs[:]):
            if over > 0 and job.stage in ENDED:
                self.jobs.remove(job)
                over -= 1

    # Events -------------------------------------------------------------------------------------------------------

    def step(self, job: Job, event: Event) -> None:
        """Feed one job an event and do what it says."""
        for effect in job.step(event, self.clock_ms()):
            self._do(job, effect)

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Somebody does not want these any more."""
        for job in jobs:
            self.step(job, migration.Cancel())

    def finished_elsewhere(self, job: Import, stage: Stage, message: str) -> None:
        """On a replica: the primary tells how its import has ended."""
        if job.tracking and job.stage not in ENDED:
            for effect in job.finished_elsewhere(stage, message, self.clock_ms()):
                self._do(job, effect)

    def tell_again(self) -> None:
        """A replica begins a full sync: what it gets has keys that nobody may see yet, so tell it of the imports."""
        node = self._node
        if node.unusual & Unusual.REPLICA:
            return
        for job in reversed(self.active(Import)):
            slots = [b"%d" % slot for one in job.ranges for slot in one]
            words = [b"SOURCE", job.source.encode(), b"NAME", job.name.encode(), b"SLOTSRANGE", *slots]
            node.propagate(node.databases[0], [b"CLUSTER", b"SYNCSLOTS", b"ESTABLISH", *words])

    def resynced(self) -> None:
        """On a replica: all data is new. What the primary is importing now it tells anew."""
        for job in self.active(Import):
            assert isinstance(job, Import)
            self.finished_elsewhere(job, Stage.FAILED, "Full resynchronization occurred")

    def said(self, client: Client, word: Word) -> None:
        """The source of an import says something."""
        job = self._clients[client.id]
        self.step(job, migration.Heard(word))

    def client_gone(self, client: Client) -> None:
        """A connection is down; it may have been a source's."""
        job = self._clients.pop(client.id, None)
        self._seen_ms.pop(client.id, None)
        if job is not None:
            why = "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more information."
            self.step(job, migration.Broken(why, lost=True))

    def flushed(self) -> None:
        """All keys are about to go."""
        for job in list(self.jobs):
            if job.in_progress:
                self.step(job, migration.Broken("Data was flushed"))

    @property
    def awaits_answers(self) -> bool:
        """Whether `owners_changed` is to be called at every word that comes over the bus."""
        return bool(self._polled_ms)

    def owners_changed(self) -> None:
        """Slots, roles or what is believed of nodes may be other than before."""
        cluster = self._node.cluster
        if cluster is None:
            return
        if self.cleaner:
            mine = cluster.slotmap.bits(cluster.myself.id) | bits_of(cluster.slotmap.importing)
            self.cleaner.finish(slots_in(mine & self.cleaner.bits))
        for job in list(self.jobs):
            if job.stage in ENDED:
                continue
            owner = self._owner(job)
            other = cluster.members.get(job.target if isinstance(job, Export) else job.source)
            failed = other is None or other.failed
            orders, since_ms = cluster.operations, self._polled_ms.get(job)
            self.step(job, Owners(
                owner, owner == cluster.myself.id, cluster.myself.is_primary, failed,
                since_ms is not None and other is not None and orders.answered(since_ms, other.id),
                since_ms is not None and orders.answered(since_ms), orders.failing_over,
            ))

    def _owner(self, job: Job) -> NodeId | None:
        cluster = self._node.cluster
        assert cluster is not None
        owner = cluster.slotmap.owner_of(job.slots[0])
        if owner is None:
            return None
        return owner if not job.bits & ~cluster.slotmap.bits(owner) else None

    def tick(self) -> None:
        """Ten times a second."""
        if not self.jobs:
            return
        now_ms = self.clock_ms()
        for client_id, job in self._clients.items():
            seen_ms = self._node.clients[client_id].last_seen_ms
            if self._seen_ms.get(client_id) != seen_ms:
                self._seen_ms[client_id] = seen_ms
                job.interaction(now_ms)
        self.owners_changed()
        for one in list(self.jobs):
            self.step(one, migration.Tick())
        self._trim_log()

    # Doing --------------------------------------------------------------------------------------------------------

    def _do(self, job: Job, effect: migration.Effect) -> None:
        if isinstance(effect, migration.Log):
            log.log(_LEVELS[effect.level], "%s", effect.text)
        elif isinstance(effect, migration.Say):
            self._say(job, effect.word)
        elif effect is Do.POLL:
            self._poll(job)
        elif isinstance(job, Export):
            self._do_export(job, effect)
        else:
            assert isinstance(job, Import)
            self._do_import(job, effect)

    def _poll(self, job: Job) -> None:
        cluster = self._node.cluster
        assert cluster is not None
        now_ms = self._node.io.steady_ms()
        self._polled_ms.setdefault(job, now_ms)
        self._node.io.carry_out(cluster.operations.poll(now_ms))

    def _say(self, job: Job, word: Word) -> None:
        if isinstance(job, Export):
            if (sender := self._senders.get(job)) is not None:
                sender.say(spoken(word))
            return
        for client_id, one in self._clients.items():
            if one is job:
                self._node.clients[client_id].send(spoken(word))

    def linked(
        self, job: Export, write: Callable[[bytes], None], unsent: Callable[[], int], close: Callable[[], None]
    ) -> None:
        """An export has its connection: how to write to it, how much waits to leave, how to end it."""
        self._senders[job] = Sender(self._node, self, job, write, unsent, close)

    def _do_export(self, job: Export, effect: Do) -> None:
        sender = self._senders.get(job)
        cluster = self._node.cluster
        assert cluster is not None
        if effect is Do.SNAPSHOT and sender is not None:
            self._node.mark(Unusual.EXPORTING, True)
            sender.begin()
        elif effect is Do.WATCH_BACKLOG and sender is not None:
            sender.watch_backlog()
        elif effect is Do.PAUSE:
            self.hold(job.slots, True)
        elif effect is Do.GRANT:
            self._node.io.carry_out(cluster.operations.grant(job.grant, self._node.io.steady_ms()))
        elif effect is Do.RESUME:
            self._node.io.carry_out(cluster.operations.revoke(job.name, self._node.io.steady_ms()))
            self.hold(job.slots, False)
        elif effect is Do.ASK and self.network is not None:
            self.network.ask(job)
        elif effect is Do.RECLAIM:
            self._polled_ms.pop(job, None)
            self._node.io.carry_out(cluster.operations.reclaim(self._node.io.steady_ms()))
        elif effect is Do.UNLINK and sender is not None:
            del self._senders[job]
            sender.close()
            self._node.mark(Unusual.EXPORTING, bool(self._senders or self.held))
        elif effect is Do.END:
            self._ended(job)

    def _do_import(self, job: Import, effect: Do) -> None:
        if effect is Do.CONFIRM:
            self._confirm(job)
        elif effect in (Do.PAUSE, Do.RESUME):
            self.hold(job.slots, effect is Do.PAUSE)
        elif effect is Do.RESERVE:
            self._reserve(job)
        elif effect is Do.TAKE:
            self._take(job)
        elif effect is Do.CLEAN:
            self._node.databases[0].hidden.update(job.slots)
            self.cleaner.clean(job.slots, lambda: self.step(job, migration.Cleaned()))
        elif effect is Do.UNLINK:
            for client_id in [client_id for client_id, one in self._clients.items() if one is job]:
                del self._clients[client_id]
                if (client := self._node.clients.get(client_id)) is not None:
                    client.close()
        elif effect is Do.END:
            if job.tracking or job.stage is not Stage.SUCCESS:
                self._show(job)
                self._tell_replicas(job, b"failed")
            self._ended(job)

    def _ended(self, job: Job) -> None:
        self._epochs.pop(job, None)
        self._polled_ms.pop(job, None)
        self.tasks.ended(job)

    def _confirm(self, job: Import) -> None:
        """Wait until the replicas have what has come, so that it outlives this node from the moment it is ours."""
        node = self._node
        node.replication.flush()
        online = len(node.gate.acknowledged)
        node.replication.request_acks()
        node.replication.flush()
        waiting = node.gate.wait(
            node.replication.offset, lambda: None, replicas=online, deadline_ms=node.io.steady_ms() + migration.CONFIRM_MS
        )
        waiting.when_ready(lambda: self.step(job, migration.Confirmed()))

    def _reserve(self, job: Import) -> None:
        cluster = self._node.cluster
        assert cluster is not None
        self._polled_ms.pop(job, None)
        self._epochs[job], effects = cluster.operations.reserve_epoch(self._node.io.steady_ms())
        self._node.io.carry_out(effects)

    def _take(self, job: Import) -> None:
        cluster = self._node.cluster
        assert cluster is not None
        self._show(job)
        self._polled_ms.pop(job, None)
        self._node.io.carry_out(cluster.operations.take_slots(job.slots, self._epochs[job], self._node.io.steady_ms()))
        self._tell_replicas(job, b"success")

    def _show(self, job: Import) -> None:
        still = {slot for one in self.active(Import) if one is not job for slot in one.slots}
        self._node.databases[0].show(slot for slot in job.slots if slot not in still and slot not in self.cleaner)
        self._node.note_field_deadlines()

    def _tell_replicas(self, job: Import, state: bytes) -> None:
        node = self._node
        if node.unusual & Unusual.REPLICA:
            return
        message = [b"MESSAGE", job.message.encode()] if job.message else []
        head = [b"CLUSTER", b"SYNCSLOTS", b"FINISH", b"STATE", state, b"NAME", job.name.encode()]
        node.propagate(node.databases[0], head + message)
        node.replication.flush()

    # Holding writes -----------------------------------------------------------------------------------------------

    def hold(self, slots: Sequence[int], on: bool) -> None:
        """Let requests that change these slots wait, or no longer."""
        held = self.held
        for slot in slots:
            count = held.get(slot, 0) + (1 if on else -1)
            if count > 0:
                held[slot] = count
            else:
                held.pop(slot, None)
        self._node.mark(Unusual.EXPORTING, bool(self._senders or held))
        if not on and self._someone_waits:
            self._someone_waits = False
            self._node.io.resume_clients()
            self._node.blocking.serve_all()

    def holds(self, client: Client, command: Command, args: Args) -> bool:
        """Whether this request has to wait: it may change a slot that is just being handed over."""
        if not self.held or client.is_primary or client.is_replica:
            return False
        slot_of = self._node.databases[0].slot_of
        held = would_change(client, command, args, lambda key: slot_of(key) in self.held)
        self._someone_waits |= held
        return held

    # The stream ---------------------------------------------------------------------------------------------------

    def feed(self, slot: int, args: Args) -> None:
        """A key of this slot was changed by this command."""
        for sender in self._senders.values():
            sender.feed(slot, args)
