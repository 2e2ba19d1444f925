"""Hosts that move slots: real migration jobs, on a simulated connection between two hosts, with whatever data they keep.

What the data is, its subclasses say: a dict (`test_migration.py`), the replication log of a storm (`storm_moves.py`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cluster import migration
from cluster.migration import ENDED, Do, Export, Import, Say, Stage
from cluster.slots import SlotRange
from gossip.ids import NodeId
from tests.simulation.nodes import SimNode
from tests.simulation.world import World

RETRY_MS = 20
TICK_MS = 100


class Wire:
    """The connection between source and target: in order, nothing lost while it lives. Across a partition and to a stopped
    host what was sent arrives late, as TCP brings it."""

    def __init__(self, world: World, one: Mover, other: Mover) -> None:
        self.world = world
        self.ends = (one, other)
        self.lives = (one.node.life, other.node.life)
        self.closed = False
        self.queues: dict[str, deque[Callable[[Mover], None]]] = {one.node.name: deque(), other.node.name: deque()}
        for end in self.ends:
            world.clock.after(1, partial(self._pump, end))

    def other(self, end: Mover) -> Mover:
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def send(self, source: Mover, act: Callable[[Any], None]) -> None:
        """Have something done at the other end. act: is given the other host."""
        if not self.closed:
            self.queues[self.other(source).node.name].append(act)

    def backlog(self, source: Mover) -> int:
        """How much waits to leave."""
        return len(self.queues[self.other(source).node.name])

    def _alive(self) -> bool:
        return all(end.node.running and end.node.life == life for end, life in zip(self.ends, self.lives, strict=True))

    def _pump(self, end: Mover) -> None:
        world, other = self.world, self.other(end)
        passes = world.network.connects(end.node.name, other.node.name) and end.node.paused_events is None
        if passes and (self.closed or not self._alive()):
            if end.node.running and end.node.life == self.lives[self.ends.index(end)]:
                end.unlinked(self)
            return
        queue = self.queues[end.node.name]
        if passes and queue:
            queue.popleft()(end)
        world.clock.after(max(1, world.network.delay_ms()) if passes else RETRY_MS, lambda: self._pump(end))


class Mover:
    """One host's jobs. others: all hosts' by name. held: slots whose writes are kept out."""

    export_kind: type[Export] = Export
    import_kind: type[Import] = Import

    def __init__(self, world: World, node: SimNode, others: dict[str, Mover]) -> None:
        self.world = world
        self.node = node
        self.others = others
        self.jobs: list[Export | Import] = []
        self.wire_of: dict[str, Wire] = {}
        self.held: Counter[int] = Counter()
        self._streaming: dict[str, Wire] = {}
        self._epochs: dict[str, int] = {}
        self._polled_ms: dict[str, int] = {}
        others[node.name] = self

    # Data, as the subclass has it ---------------------------------------------------------------------------------

    def keys_of(self, slot: int) -> Any:
        """All that a slot holds now, to be given to `put` elsewhere."""
        raise NotImplementedError

    def put(self, slot: int, keys: Any) -> None:
        """Add what a source sends."""
        raise NotImplementedError

    def drop(self, slots: Sequence[int]) -> None:
        """Remove all keys of these slots."""
        raise NotImplementedError

    def is_replicated(self) -> bool:
        """Whether the replicas have all that is here."""
        return True

    def before(self, effect: migration.Effect) -> bool:
        """An effect of a job is about to be carried out; whether the host still lives."""
        return True

    # Life ---------------------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self.node.running and self.node.paused_events is None

    def end(self) -> None:
        """The process is gone."""
        self.jobs, self.wire_of, self._streaming = [], {}, {}
        self.held.clear()
        self._polled_ms.clear()

    def resume(self) -> None:
        """The process has just started: `node/migration/jobs.py`'s `resume`."""
        for grant in self.node.cluster.slotmap.grants.values():
            job = self.export_kind.resumed(grant, self.node.id, self.world.now_ms)
            self.jobs.append(job)
            self.held.update(job.slots)

    def feed(self, slot: int, keys: Any) -> None:
        """A client has written this."""
        for name, wire in self._streaming.items():
            if any(job.name == name and job.bits >> slot & 1 for job in self.jobs):
                wire.send(self, lambda to, name=name: to.apply(name, slot, keys))  # type: ignore[misc]

    def apply(self, name: str, slot: int, keys: Any) -> None:
        """A source sends this."""
        if any(job.name == name and isinstance(job, Import) and job.in_progress for job in self.jobs):
            self.put(slot, keys)

    # Jobs ---------------------------------------------------------------------------------------------------------

    def busy(self, slot: int) -> bool:
        """Whether the slot is on the move."""
        return any(job.stage not in ENDED and job.bits >> slot & 1 for job in self.jobs)

    def begin(self, to: Mover, ranges: Sequence[SlotRange], name: str) -> Export:
        """CLUSTER MIGRATESLOTS."""
        job = self.export_kind(
            name, self.node.id, to.node.id, ranges, self.world.now_ms, pause_ms=10_000, timeout_ms=60_000
        )
        self.jobs.append(job)
        wire = self.wire_of[job.name] = Wire(self.world, self, to)
        wire.send(self, lambda other: other.establish(wire, name, self.node.id, ranges))
        return job

    def establish(self, wire: Wire, name: str, source: NodeId, ranges: Sequence[SlotRange]) -> None:
        """CLUSTER SYNCSLOTS ESTABLISH."""
        job = self.import_kind(name, source, self.node.id, ranges, self.world.now_ms, timeout_ms=60_000)
        cluster = self.node.cluster
        owns = not job.bits & ~cluster.slotmap.bits(source)
        opened = cluster.slotmap.importing or cluster.slotmap.migrating
        if not owns or opened or not cluster.myself.is_primary or any(self.busy(slot) for slot in job.slots):
            wire.closed = True
            return
        self.drop(job.slots)
        self.jobs.append(job)
        self.wire_of[name] = wire
        wire.send(self, lambda other: other.step_named(name, migration.Established()))

    def step_named(self, name: str, event: migration.Event) -> None:
        for job in self.jobs[:]:
            if job.name == name:
                self.step(job, event)

    def step(self, job: Export | Import, event: migration.Event) -> None:
        """Feed a job an event and do what it says."""
        if job not in self.jobs:
            return
        if isinstance(event, migration.Heard) and isinstance(job, Import):
            job.interaction(self.world.now_ms)
        life = self.node.life
        for effect in job.step(event, self.world.now_ms):
            if not self.before(effect) or not self.node.running or self.node.life != life:
                return
            self._do(job, effect)
            if not self.node.running or self.node.life != life:
                return

    def unlinked(self, wire: Wire) -> None:
        for name, one in list(self.wire_of.items()):
            if one is wire:
                self.step_named(name, migration.Broken("connection lost", lost=True))

    def look(self) -> None:
        """Slots, roles or beliefs may be other than before."""
        cluster = self.node.cluster
        orders = cluster.operations
        for job in self.jobs[:]:
            if job.stage in ENDED:
                continue
            owner = cluster.slotmap.owner_of(job.slots[0])
            if owner is not None and job.bits & ~cluster.slotmap.bits(owner):
                owner = None
            other = cluster.members.get(job.target if isinstance(job, Export) else job.source)
            failed, since_ms = other is None or other.failed, self._polled_ms.get(job.name)
            self.step(job, migration.Owners(
                owner, owner == self.node.id, cluster.myself.is_primary, failed,
                since_ms is not None and other is not None and orders.answered(since_ms, other.id),
                since_ms is not None and orders.answered(since_ms), orders.failing_over,
            ))

    def tick(self) -> None:
        """Ten times a second."""
        self.look()
        for job in self.jobs[:]:
            self.step(job, migration.Tick())

    def _order(self, effects: Any) -> None:
        self.node.carry_out(effects)

    def _do(self, job: Export | Import, effect: migration.Effect) -> None:
        wire = self.wire_of.get(job.name)
        orders, now_ms = self.node.cluster.operations, self.node.now_ms
        match effect:
            case Say(word):
                if wire is not None:
                    wire.send(self, lambda to: to.step_named(job.name, migration.Heard(word)))
            case Do.SNAPSHOT:
                self._send_snapshot(job)
            case Do.WATCH_BACKLOG:
                self._watch_backlog(job)
            case Do.PAUSE:
                self.held.update(job.slots)
            case Do.RESUME:
                if isinstance(job, Export):
                    self._order(orders.revoke(job.name, now_ms))
                self.held.subtract(job.slots)
            case Do.GRANT:
                assert isinstance(job, Export)
                self._order(orders.grant(job.grant, now_ms))
            case Do.ASK:
                self._ask(job)
            case Do.RECLAIM:
                self._polled_ms.pop(job.name, None)
                self._order(orders.reclaim(now_ms))
            case Do.POLL:
                self._polled_ms.setdefault(job.name, now_ms)
                self._order(orders.poll(now_ms))
            case Do.RESERVE:
                self._polled_ms.pop(job.name, None)
                self._epochs[job.name], effects = orders.reserve_epoch(now_ms)
                self._order(effects)
            case Do.CONFIRM:
                self._confirm(job, now_ms, self.node.life)
            case Do.TAKE:
                self._polled_ms.pop(job.name, None)
                self._order(orders.take_slots(job.slots, self._epochs[job.name], now_ms))
            case Do.CLEAN:
                self.drop(job.slots)
                self.step(job, migration.Cleaned())
            case Do.UNLINK:
                self._streaming.pop(job.name, None)
                if wire is not None:
                    wire.closed = True
            case Do.END:
                self._polled_ms.pop(job.name, None)

    def _send_snapshot(self, job: Export | Import) -> None:
        wire = self.wire_of[job.name]
        self._streaming[job.name] = wire
        for slot in job.slots:
            keys = self.keys_of(slot)
            if keys:
                wire.send(self, lambda to, slot=slot, keys=keys: to.apply(job.name, slot, keys))  # type: ignore[misc]
        self.step(job, migration.SnapshotSent())

    def _watch_backlog(self, job: Export | Import) -> None:
        wire = self.wire_of.get(job.name)
        if job not in self.jobs or wire is None:
            return
        if wire.backlog(self):
            self.world.clock.after(5, lambda: self._watch_backlog(job))
        else:
            self.step(job, migration.Drained())

    def _confirm(self, job: Export | Import, since_ms: int, life: int) -> None:
        if not self.node.running or self.node.life != life:
            return
        if self.is_replicated() or self.node.now_ms - since_ms >= migration.CONFIRM_MS:
            self.step(job, migration.Confirmed())
        else:
            self.world.clock.after(10, lambda: self._confirm(job, since_ms, life))

    # Questions ----------------------------------------------------------------------------------------------------

    def says(self, job: Export | Import) -> bool | None:
        """The answer to `Ask`, as `node/migration/link.py` reads it from a real node."""
        if self.node.cluster.owner(job.slots[0]) is self.node.cluster.myself:
            return True
        for one in self.jobs:
            if one.name == job.name:
                return False if one.stage in (Stage.FAILED, Stage.CANCELLED, Stage.CLEANING_UP) else None
        return False

    def _ask(self, job: Export | Import) -> None:
        world, life = self.world, self.node.life

        def answer() -> None:
            other = next((one for one in self.others.values() if one.node.id == job.target), None)
            if other is not None and other.is_up and world.network.connects(self.node.name, other.node.name):
                said = other.says(job)
                world.clock.after(world.network.delay_ms(), lambda: hear(said))

        def hear(said: bool | None) -> None:
            if self.is_up and self.node.life == life:
                self.step(job, migration.Answer(said))

        world.clock.after(world.network.delay_ms(), answer)
