"""Atomic slot migration under simulation: either side is killed, stopped or cut off at every step, while a client writes.

Real cluster machines on the simulated bus, real migration jobs on a simulated connection of their own, and data that a
node keeps across a crash (as with appendfsync always), but for what it was importing. Afterwards every slot has one owner,
who has every write that was acknowledged, and every job is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from cluster import migration
from cluster.migration import Do, Export, Import, Say, Stage
from gossip.ids import NodeId, random_id
from tests.simulation.nodes import SimNode
from tests.simulation.world import World

SLOTS = (3, 4, 5, 6)
RANGES = ((3, 6),)
RETRY_MS = 20
SETTLED_MS = 90_000


class Wire:
    """The connection between source and target: in order, nothing lost while it lives. Across a partition and to a stopped
    host what was sent arrives late, as TCP brings it."""

    def __init__(self, world: MovingWorld, one: Mover, other: Mover) -> None:
        self.world = world
        self.ends = (one, other)
        self.lives = (one.node.life, other.node.life)
        self.closed = False
        self.queues: dict[str, deque[Callable[[Mover], None]]] = {one.node.name: deque(), other.node.name: deque()}
        for end in self.ends:
            end.wires.append(self)
            world.clock.after(1, partial(self._pump, end))

    def other(self, end: Mover) -> Mover:
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def send(self, source: Mover, act: Callable[[Mover], None]) -> None:
        if not self.closed:
            self.queues[self.other(source).node.name].append(act)

    def backlog(self, source: Mover) -> int:
        return len(self.queues[self.other(source).node.name])

    def _alive(self) -> bool:
        return all(end.node.running and end.node.life == life for end, life in zip(self.ends, self.lives, strict=True))

    def _pump(self, end: Mover) -> None:
        world, other = self.world, self.other(end)
        passes = world.network.reaches(end.node.name, other.node.name) and end.node.paused_events is None
        if passes and (self.closed or not self._alive()):
            if end.node.running and end.node.life == self.lives[self.ends.index(end)]:
                end.unlinked(self)
            return
        queue = self.queues[end.node.name]
        if passes and queue:
            queue.popleft()(end)
        world.clock.after(world.network.delay_ms() if passes else RETRY_MS, lambda: self._pump(end))


class Mover:
    """One node's data and jobs."""

    export_kind: type[Export] = Export
    import_kind: type[Import] = Import

    def __init__(self, world: MovingWorld, node: SimNode) -> None:
        self.world = world
        self.node = node
        self.data: dict[int, dict[str, int]] = {slot: {} for slot in SLOTS}
        self.jobs: list[Export | Import] = []
        self.wires: list[Wire] = []
        self.wire_of: dict[str, Wire] = {}
        self.held = False
        self.streaming: Wire | None = None

    @property
    def now_ms(self) -> int:
        return self.world.now_ms

    # Life ---------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        self.node.kill()
        self.jobs, self.wires, self.wire_of, self.held, self.streaming = [], [], {}, False, None

    def restart(self) -> None:
        self.node.start()
        for slot in SLOTS:
            if self.node.cluster.owner(slot) is not self.node.cluster.myself:
                self.data[slot] = {}

    def write(self, slot: int, key: str, value: int) -> bool:
        """Whether the write was acknowledged."""
        node = self.node
        if not node.running or node.paused_events is not None or self.held or not node.cluster.served[slot]:
            return False
        self.data[slot][key] = value
        if self.streaming is not None:
            self.streaming.send(self, lambda to: to.apply(slot, {key: value}))
        return True

    def apply(self, slot: int, keys: dict[str, int]) -> None:
        if any(isinstance(job, Import) and job.in_progress for job in self.jobs):
            self.data[slot].update(keys)

    # Jobs ---------------------------------------------------------------------------------------------------------

    def begin(self, to: Mover) -> None:
        job = self.export_kind(
            random_id(self.world.random), self.node.id, to.node.id, RANGES, self.now_ms, pause_ms=10_000, timeout_ms=60_000
        )
        self.jobs.append(job)
        wire = self.wire_of[job.name] = Wire(self.world, self, to)
        wire.send(self, lambda to: to.establish(wire, job.name, self.node.id))

    def establish(self, wire: Wire, name: str, source: NodeId) -> None:
        owner = self.node.cluster.owner(SLOTS[0])
        if owner is None or owner.id != source or any(job.in_progress for job in self.jobs):
            wire.closed = True
            return
        job = self.import_kind(name, source, self.node.id, RANGES, self.now_ms, timeout_ms=60_000)
        self.jobs.append(job)
        self.wire_of[name] = wire
        wire.send(self, lambda to: to.step_named(name, migration.Established()))

    def step_named(self, name: str, event: migration.Event) -> None:
        for job in self.jobs:
            if job.name == name:
                self.step(job, event)

    def step(self, job: Export | Import, event: migration.Event) -> None:
        if isinstance(event, migration.Heard) and isinstance(job, Import):
            job.interaction(self.now_ms)
        for effect in job.step(event, self.now_ms):
            life = self.node.life
            self.world.before(self, effect)
            if not self.node.running or self.node.life != life:
                return
            self._do(job, effect)

    def unlinked(self, wire: Wire) -> None:
        for name, one in self.wire_of.items():
            if one is wire:
                self.step_named(name, migration.Broken("connection lost", lost=True))

    def look(self) -> None:
        """Slots, roles or beliefs may be other than before."""
        lost, self.node.lost_slots = self.node.lost_slots, set()
        for slot in lost:
            if slot in self.data:
                self.data[slot] = {}
        cluster = self.node.cluster
        for job in list(self.jobs):
            owners = {cluster.slotmap.owner_of(slot) for slot in SLOTS}
            owner = owners.pop() if len(owners) == 1 else None
            other = cluster.members.get(job.target if isinstance(job, Export) else job.source)
            failed = other is None or other.failed
            self.step(job, migration.Owners(owner, owner == self.node.id, cluster.myself.is_primary, failed))

    def tick(self) -> None:
        self.look()
        for job in list(self.jobs):
            self.step(job, migration.Tick())

    def _do(self, job: Export | Import, effect: migration.Effect) -> None:
        wire = self.wire_of.get(job.name)
        match effect:
            case Say(word):
                if wire is not None:
                    wire.send(self, lambda to: to.step_named(job.name, migration.Heard(word)))
            case Do.SNAPSHOT:
                assert wire is not None
                self.streaming = wire
                for slot in SLOTS:
                    keys = dict(self.data[slot])
                    wire.send(self, lambda to, slot=slot, keys=keys: to.apply(slot, keys))  # type: ignore[misc]
                self.step(job, migration.SnapshotSent())
            case Do.WATCH_BACKLOG:
                self._watch_backlog(job)
            case Do.PAUSE:
                self.held = True
            case Do.GRANT:
                self.node.cluster.operations.grant(SLOTS, job.target)
            case Do.RESUME:
                self.held = False
                self.node.cluster.operations.revoke(SLOTS)
            case Do.ASK:
                self.world.ask(self, job)
            case Do.RECLAIM:
                self.node.carry_out(self.node.cluster.operations.reclaim(self.now_ms))
            case Do.CONFIRM:
                self.world.clock.after(self.world.network.delay_ms(), lambda: self.step(job, migration.Confirmed()))
            case Do.TAKE:
                self.node.carry_out(self.node.cluster.operations.take_slots(SLOTS, self.now_ms))
            case Do.CLEAN:
                for slot in SLOTS:
                    self.data[slot] = {}
                self.step(job, migration.Cleaned())
            case Do.UNLINK:
                self.streaming = None
                if wire is not None:
                    wire.closed = True

    def _watch_backlog(self, job: Export | Import) -> None:
        wire = self.wire_of[job.name]
        if wire.backlog(self):
            self.world.clock.after(5, lambda: self._watch_backlog(job) if job in self.jobs else None)
        else:
            self.step(job, migration.Drained())

    def says(self, name: str) -> bool | None:
        """The answer to `Ask`, as `node/migration/link.py` reads it from a real node."""
        if self.node.cluster.owner(SLOTS[0]) is self.node.cluster.myself:
            return True
        for job in self.jobs:
            if job.name == name:
                return False if job.stage in (Stage.FAILED, Stage.CANCELLED, Stage.CLEANING_UP) else None
        return False


class MovingWorld(World):
    """Three primaries; slots move from the one that has them to another, while a client writes to them."""

    def __init__(self, seed: int, kind: type[Mover] = Mover) -> None:
        super().__init__(seed)
        self.movers: dict[str, Mover] = {}
        self.steps = 0
        self.at_step: tuple[int, Callable[[Mover], None]] | None = None
        self.acknowledged: dict[tuple[int, str], int] = {}
        self.written = 0
        nodes = self.planned(3, 0)
        self.movers = {node.name: kind(self, node) for node in nodes}
        self.run_until(self.agreed, 30_000)
        owner = nodes[0].cluster.owner(SLOTS[0])
        assert owner is not None
        self.source = next(mover for mover in self.movers.values() if mover.node.id == owner.id)
        self.target = next(mover for mover in self.movers.values() if mover is not self.source)
        self._writing()
        self._ticking()

    def check(self, node: SimNode) -> None:
        super().check(node)
        if mover := self.movers.get(node.name):
            mover.look()

    def _writing(self) -> None:
        slot, key = self.random.choice(SLOTS), f"k{self.random.randrange(20)}"
        self.written += 1
        for mover in self.random.sample([self.source, self.target], 2):
            if mover.write(slot, key, self.written):
                self.acknowledged[slot, key] = self.written
                break
        self.clock.after(3, self._writing)

    def _ticking(self) -> None:
        for mover in self.movers.values():
            if mover.node.running and mover.node.paused_events is None:
                mover.tick()
        self.clock.after(100, self._ticking)

    def before(self, mover: Mover, effect: migration.Effect) -> None:
        """An effect is about to be carried out: maybe that is when something happens."""
        if isinstance(effect, migration.Log):
            return
        self.steps += 1
        if self.at_step is not None and self.steps == self.at_step[0]:
            self.at_step[1](mover)

    def ask(self, asker: Mover, job: Export | Import) -> None:
        other = next(mover for mover in self.movers.values() if mover.node.id == job.target)
        life = asker.node.life

        def there() -> bool:
            return other.node.running and other.node.paused_events is None and self.network.reaches(
                asker.node.name, other.node.name
            )

        def answer() -> None:
            if there():
                said = other.says(job.name)
                self.clock.after(self.network.delay_ms(), lambda: hear(said))

        def hear(said: bool | None) -> None:
            if asker.node.running and asker.node.life == life and asker.node.paused_events is None:
                asker.step(job, migration.Answer(said))

        self.clock.after(self.network.delay_ms(), answer)

    def settle(self) -> Mover:
        """Heal everything and wait; the one owner of the slots, who has all that was acknowledged."""
        self.network.heal()
        for mover in self.movers.values():
            if not mover.node.running:
                mover.restart()
            elif mover.node.paused_events is not None:
                mover.node.resume()
        self.run_until(lambda: self.agreed() and not any(
            job.in_progress for mover in self.movers.values() for job in mover.jobs
        ), SETTLED_MS, "agreement, and the end of all jobs")
        owners = [
            mover for mover in self.movers.values()
            if all(mover.node.cluster.owner(slot) is mover.node.cluster.myself for slot in SLOTS)
        ]
        assert len(owners) == 1, f"owners: {[mover.node.name for mover in owners]}, {self}"
        (owner,) = owners
        lost = [
            (key, value, owner.data[key[0]].get(key[1])) for key, value in self.acknowledged.items()
            if owner.data[key[0]].get(key[1]) != value
        ]
        assert not lost, f"{len(lost)} acknowledged writes are not at {owner.node.name}: {lost[:3]}, {self}"
        others = [mover for mover in self.movers.values() if mover is not owner and any(mover.data.values())]
        assert not others, f"{[mover.node.name for mover in others]} still have keys, {self}"
        assert not any(mover.held for mover in self.movers.values()), f"writes are still kept out, {self}"
        return owner


def undisturbed_steps() -> int:
    world = MovingWorld(1)
    world.source.begin(world.target)
    assert world.settle() is world.target
    return world.steps


STEPS = undisturbed_steps()


@pytest.mark.parametrize("seed", range(5))
def test_slots_move_with_every_write(seed: int) -> None:
    world = MovingWorld(seed)
    world.run(300)
    world.source.begin(world.target)
    before = world.written
    assert world.settle() is world.target
    assert world.written > before
    assert [job.stage for job in world.source.jobs + world.target.jobs] == [Stage.SUCCESS, Stage.SUCCESS]


def disturb(world: MovingWorld, random: Random, what: str, victim: Mover) -> None:
    """Do something to one side, undone after a while that the seed says."""
    while_ms = random.choice([50, 400, 900, 1500, 2500, 7000, 20_000])
    other = world.source if victim is world.target else world.target
    third = next(mover for mover in world.movers.values() if mover not in (victim, other))
    if what == "kill":
        victim.kill()
        world.clock.after(while_ms, lambda: victim.restart() if not victim.node.running else None)
    elif what == "stop":
        victim.node.pause()
        world.clock.after(while_ms, lambda: victim.node.resume() if victim.node.paused_events is not None else None)
    elif what == "cut":
        world.network.cut.add(frozenset((victim.node.name, other.node.name)))
        world.clock.after(while_ms, world.network.heal)
    else:
        world.network.partition([victim.node.name], [other.node.name, third.node.name])
        world.clock.after(while_ms, world.network.heal)


@pytest.mark.parametrize("what", ["kill", "stop", "cut", "isolate"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_anything_may_happen_at_any_step(what: str, side: str) -> None:
    for step in range(1, STEPS + 1):
        seed = step * 7 + len(what)
        world = MovingWorld(seed)
        random = Random(seed)
        victim = world.source if side == "source" else world.target
        world.at_step = (step, lambda mover, w=world, r=random, v=victim: disturb(w, r, what, v))
        world.source.begin(world.target)
        world.run(random.choice([300, 3000, 9000]))
        world.settle()
        del World.made[:-1]


@pytest.mark.parametrize("seed", range(12))
def test_again_and_again_until_it_has_moved(seed: int) -> None:
    """Kills, stops and cuts at any time, slow messages, and somebody who orders the same again and again, to and fro."""
    world = MovingWorld(seed)
    random = Random(seed)
    world.network.faults.delay_ms = (0, random.choice([3, 60, 400]))
    for _ in range(4):
        movers = [world.source, world.target]
        for mover, other in (movers, movers[::-1]):
            owns = mover.node.running and mover.node.paused_events is None and mover.node.cluster.served[SLOTS[0]]
            if owns and not any(job.in_progress for job in mover.jobs):
                mover.begin(other)
        world.run(random.randrange(50, 900))
        disturb(world, random, random.choice(["kill", "stop", "cut", "isolate"]), random.choice(movers))
        world.run(random.randrange(500, 9000))
    world.settle()


# A broken rule must be caught ----------------------------------------------------------------------------------------


class HastyExport(Export):
    """Lets writes in again when its time is over, as Valkey does, whatever may have become of the target."""

    def _tick(self, now_ms: int) -> None:
        if self.stage is Stage.FAILOVER_GRANTED and now_ms - self.updated_ms > 300:
            self._give_up(Stage.FAILED, "time is over", now_ms)
        else:
            super()._tick(now_ms)


class SlowImport(Import):
    """Takes over however late the permission comes."""

    def _hear(self, word: migration.Word, now_ms: int) -> None:
        self._requested_ms = now_ms
        super()._hear(word, now_ms)

    def _tick(self, now_ms: int) -> None:
        self._requested_ms = now_ms
        super()._tick(now_ms)


class Hasty(Mover):
    export_kind = HastyExport
    import_kind = SlowImport


def test_the_simulation_sees_a_source_that_does_not_wait() -> None:
    caught = 0
    for step in range(1, STEPS + 1):
        world = MovingWorld(step, Hasty)
        world.at_step = (step, lambda mover, w=world: disturb(w, Random(0), "isolate", w.target))
        world.source.begin(world.target)
        world.run(10_000)
        try:
            world.settle()
        except AssertionError as error:
            assert "acknowledged writes are not at" in str(error)
            caught += 1
    assert caught, "a lost write was never noticed"
