"""Slots that move as a whole in a storm: the jobs of its hosts, and the administrators who order and cancel them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from cluster import migration
from cluster.migration import ENDED, Do, Export
from cluster.slotmap import slots_in
from cluster.slots import SlotRange, expand_ranges
from gossip.ids import random_id
from gossip.messages import SLOT_COUNT
from tests.simulation.moving import Mover

if TYPE_CHECKING:
    from tests.simulation.storm import Storm
    from tests.simulation.storm_nodes import StormNode

SLOTS = tuple(range(500, SLOT_COUNT, 1024))
"""To which clients write."""
CANCELS = 0.15
EVERYTHING = 0.1
"""How often all slots of the source are to move."""


class StormMover(Mover):
    """The jobs of a host whose data is its replication log."""

    node: StormNode
    world: Storm

    def keys_of(self, slot: int) -> list[int]:
        return self.node.values(slot) if slot in SLOTS else []

    def put(self, slot: int, keys: list[int]) -> None:
        self.node.writes = self.node.writes + keys

    def drop(self, slots: Sequence[int]) -> None:
        self.node.lost_slots.update(slot for slot in slots if slot in SLOTS and self.node.values(slot))
        self.node.drop_slots()

    def is_replicated(self) -> bool:
        node = self.node
        return all(
            len(other.writes) >= len(node.writes) for other in self.world.hosts
            if other.following[0] == node.id and other.running and self.world.network.connects(node.name, other.name)
        )

    def before(self, effect: migration.Effect) -> bool:
        node = self.node
        if effect is Do.TAKE:
            self.world.counts.migrated += 1
        return isinstance(effect, migration.Log) or node.doom is None or not node.is_the_end(effect, node.doom)

    @property
    def moves(self) -> bool:
        """Whether a job is still this host's to bring to an end."""
        return any(job.stage not in ENDED and not getattr(job, "tracking", False) for job in self.jobs)

    def drop_foreign(self) -> None:
        """This host has just become a primary, or has started as one: keys of slots that are not its own must go."""
        cluster = self.node.cluster
        if cluster.myself.is_primary:
            own = cluster.slotmap.bits(cluster.myself.id)
            self.drop([slot for slot in SLOTS if not own >> slot & 1 and slot not in cluster.slotmap.importing])


def _ranges(host: StormNode, random: Random) -> list[SlotRange]:
    """Some slots of a host, among them such to which clients write; [] when it has none."""
    cluster = host.cluster
    own = cluster.slotmap.bits(cluster.myself.id)
    if random.random() < EVERYTHING:
        return list(cluster.slotmap.slots_of(cluster.myself.id))
    written = [slot for slot in SLOTS if own >> slot & 1]
    ranges = []
    for slot in random.sample(written, min(len(written), random.randrange(1, 4))):
        low, high = max(0, slot - random.randrange(300)), min(SLOT_COUNT - 1, slot + random.randrange(300))
        inside = slots_in(own >> low << low & (1 << high + 1) - 1)
        if len(inside) == high - low + 1:
            ranges.append((low, high))
        else:
            ranges.append((slot, slot))
    return ranges


def move(storm: Storm, random: Random) -> None:
    """CLUSTER MIGRATESLOTS: slots go to another primary as a whole; now and then CANCELSLOTMIGRATIONS."""
    up = [host for host in storm.hosts if host.running and host.paused_events is None]
    if random.random() < CANCELS:
        for host in up:
            for job in host.mover.jobs[:]:
                if isinstance(job, Export) and job.in_progress:
                    host.mover.step(job, migration.Cancel())
        return
    sources = [host for host in up if host.cluster.myself.is_primary and host.cluster.ok and host.cluster.myself.slot_count]
    if not sources:
        return
    source = random.choice(sources)
    others = [host for host in up if host is not source and host.id in source.cluster.members]
    targets = [host for host in others if source.cluster.members[host.id].is_primary]
    slotmap = source.cluster.slotmap
    if not targets or slotmap.importing or slotmap.migrating:
        return
    ranges = _ranges(source, random)
    if ranges and not any(source.mover.busy(slot) for slot in expand_ranges(ranges)):
        source.mover.begin(random.choice(targets).mover, ranges, random_id(random))
