"""Nodes of a storm: they may die between any two effects of a step, their disks may be lost, their clients are served
behind the guard that real connections ask (`node/gate.py`).

The replication log holds clients' values, each of which names its slot (`slot_of`), and marks below zero where all of a
slot was dropped. A value is acknowledged as soon as it is in the primary's log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from cluster import events
from cluster.machine import Cluster
from cluster.nodes_conf import format_nodes_conf
from cluster.settings import ClusterSettings
from cluster.state import SavedState
from gossip.ids import NodeId
from node.gate import Guard, Verdict
from tests.simulation.nodes import Replies, SimNode
from tests.simulation.storm_moves import SLOTS, StormMover

if TYPE_CHECKING:
    from tests.simulation.storm import Storm


def slot_of(value: int) -> int:
    """Where a client's value belongs."""
    return SLOTS[value % len(SLOTS)]


def drop_mark(slot: int) -> int:
    """What stands in the log where everything of a slot was removed."""
    return -1 - SLOTS.index(slot)


def contents(log: Iterable[int]) -> dict[int, set[int]]:
    """Slot -> the values that are there after this log."""
    held: dict[int, set[int]] = {slot: set() for slot in SLOTS}
    for value in log:
        if value < 0:
            held[SLOTS[-1 - value]].clear()
        else:
            held[slot_of(value)].add(value)
    return held


@dataclass(slots=True)
class Doom:
    """When a node dies: after so many further effects, of which, with in_write, the last is a write of nodes.conf."""

    effects: int
    in_write: bool = False


class StormNode(SimNode):
    """rate: how many entries a replica applies a tick, None for all there are.

    disk: files beside nodes.conf, which nobody may ever read. offsets: how much it had at recent ticks.
    """

    world: Storm

    def __init__(self, world: Storm, name: str, ip: str, settings: ClusterSettings) -> None:
        self.ready = False
        super().__init__(world, name, ip, settings)
        self.rate: int | None = None
        self.doom: Doom | None = None
        self.disk: dict[str, bytes] = {}
        self.queued: list[int] = []
        self.held: list[int] = []
        self.replies = Replies(self._answer)
        self.offsets: deque[tuple[int, int]] = deque()
        self.replica_of: NodeId | None = None
        self.born_ms = 0
        self.mover = StormMover(world, self, world.movers)
        self.guard = self._new_guard()
        self.ready = True

    # Life ---------------------------------------------------------------------------------------------------------

    def _new_guard(self) -> Guard:
        life = self.life

        def check() -> None:
            if self.running and self.life == life and self.paused_events is None:
                self.check_lease()

        def look_again() -> None:
            if self.running and self.life == life:
                self.guard._look_again()

        return Guard(
            self.cluster,
            lambda: self.now_ms * 1_000_000,
            check,
            lambda seconds, _: self.world.clock.after(max(1, round(seconds * 1000)), look_again),
        )

    def start(self, saved: SavedState | None = None) -> None:
        super().start(saved)
        self.guard = self._new_guard()
        self.replica_of = None
        self.highest = (0, 0) if self.saved is None else self.highest
        self.born_ms = self.world.now_ms
        self.mover.resume()
        self.mover.drop_foreign()

    def kill(self, *, silent: bool = False) -> None:
        """silent: as when the power fails; nobody is told that connections are gone."""
        self.doom = None
        self.queued, self.held = [], []
        self.replies.values.clear()
        self.offsets.clear()
        self.world.forget_unsent(self)
        self.mover.end()
        if silent:
            self.saved = self.synced
            for _, end in self.ends.values():
                end.open = False
            self.ends.clear()
        super().kill()

    def lose_disk(self) -> None:
        """All that this host remembers is gone; it will be another node."""
        assert not self.running
        self.saved = self.synced = None
        self.writes = []
        self.highest = (0, 0)
        self.following = (None, "")
        self.cluster = Cluster(self.settings, self.random, now_ms=self.now_ms)
        self.world.forget_host(self)

    def resume(self) -> None:
        waiting, self.paused_events = self.paused_events or [], None
        queued, self.queued = self.queued, []
        clients_first = self.world.random.random() < 0.5
        if clients_first:
            self._serve(queued)
        for event in waiting:
            self.step(event)
        if not clients_first:
            self._serve(queued)

    def carry_out(self, effects: Sequence[events.Effect], cause: events.Event | None = None) -> None:
        life = self.life
        for effect in effects:
            if self.doom is not None and self.is_the_end(effect, self.doom):
                return
            self._carry_out(effect)
            if not self.running or self.life != life:
                return
        self.world.check(self)
        self.guard.refresh()

    def is_the_end(self, effect: object, doom: Doom) -> bool:
        """Whether the host dies in place of carrying out this effect (or, if it is the file's, in the middle of that)."""
        doom.effects -= 1
        is_write = isinstance(effect, events.Persist)
        if doom.effects > 0 or (doom.in_write and not is_write):
            return False
        random = self.world.random
        if is_write and random.random() < 0.5:
            self._carry_out(events.Persist())  # The new file has its name, and nothing else has happened.
        elif is_write:
            text = format_nodes_conf(self.cluster.saved_state())
            self.disk[f"nodes.conf.{len(self.disk)}.tmp"] = text[: random.randrange(len(text))]
        self.kill(silent=random.random() < 0.5)
        self.world.crashed(self)
        return True

    def _carry_out(self, effect: events.Effect) -> None:
        if isinstance(effect, events.Persist):
            self.world.check_disk(self, self.saved, self.cluster.saved_state())
        super()._carry_out(effect)

    # Data ---------------------------------------------------------------------------------------------------------

    def client_writes(self, value: int) -> bool:
        """Whether this node has taken charge of a client's write; it may acknowledge it later, or never."""
        if not self.running:
            return False
        if self.paused_events is not None:
            if not self.cluster.served[slot_of(value)]:
                return False
            self.queued.append(value)
            return True
        now_ns, guard = self.now_ms * 1_000_000, self.guard
        if now_ns >= guard.until_ns and guard.ask(self, done=False) is Verdict.WAIT:
            self.held.append(value)
            return True
        slot = slot_of(value)
        if not self.running or self.mover.held[slot] or not self.write(slot, value):
            return False
        self.mover.feed(slot, [value])
        self.world.written(self)
        self._reply(value)
        return True

    def _reply(self, value: int) -> None:
        """As a connection at the end of its loop turn (`Server._end_turn`, `Connection.leave`)."""
        now_ns, guard, life = self.now_ms * 1_000_000, self.guard, self.life
        if now_ns >= guard.asks_ns:
            self.wrote()
        verdict = Verdict.GO_ON if now_ns < guard.answers_ns else guard.ask(self.replies, done=True)
        if not self.running or self.life != life:
            return
        if verdict is Verdict.WAIT:
            self.replies.values.append(value)
        else:
            self._answer(value, verdict is Verdict.GO_ON)

    def _answer(self, value: int, kept: bool) -> None:
        if kept:
            self.world.acknowledged(self, value)
        else:
            self.world.counts.unanswered += 1

    def _serve(self, values: list[int]) -> None:
        for value in values:
            self.client_writes(value)

    def released(self, kept: bool) -> None:
        """The guard has made up its mind about the clients that wait."""
        held, self.held = self.held, []
        self._serve(held)

    def replicate(self) -> bool:
        node, ip = self.following
        primary = next((one for one in self.world.running() if one.id == node and one.ip == ip), None)
        if primary is None or not self.world.network.connects(self.name, primary.name):
            return False
        have, theirs = len(self.writes), primary.writes
        if theirs[:have] == self.writes:
            until = len(theirs) if self.rate is None else min(len(theirs), have + self.rate)
            self.writes = self.writes + theirs[have:until]
            return True
        return super().replicate()

    def hear_stream(self) -> None:
        """Its primary has written: without waiting for the next tick a replica takes it in."""
        if self.running and self.paused_events is None and self.rate is None and self.link_heard_ms is not None:
            self.replicate()

    def drop_slots(self) -> None:
        """Slots went to another node: their keys must go."""
        lost, self.lost_slots = self.lost_slots, set()
        self.writes = self.writes + [drop_mark(slot) for slot in SLOTS if slot in lost]

    def values(self, slot: int) -> list[int]:
        """What clients have written there, and is not dropped."""
        return sorted(contents(self.writes)[slot])

    def _tell_data(self) -> None:
        now_ms = self.world.now_ms
        self.offsets.append((now_ms, len(self.writes)))
        while now_ms - self.offsets[0][0] > 2 * self.world.timeout_ms:
            self.offsets.popleft()
        super()._tell_data()
        if self.running and self.mover.jobs:
            self.mover.tick()

    def had_ms_ago(self, ago_ms: int) -> int:
        """How much it had then, and has not dropped since; 0 when that is not known."""
        then = self.world.now_ms - ago_ms
        if not self.offsets or self.offsets[0][0] > then:
            return 0
        return min(count for at_ms, count in self.offsets if at_ms >= then - 150)


def new_random(seed: int, what: str) -> Random:
    """Chance of its own, so that one more draw in one place changes nothing in another."""
    return Random(f"{seed} {what}")
