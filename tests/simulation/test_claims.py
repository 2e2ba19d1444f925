"""Who owns a slot: claims spread, the greater epoch wins, losers follow winners, and a restart forgets nothing."""

from __future__ import annotations

from functools import reduce
from operator import or_

import pytest

from cluster.slotmap import bits_of
from gossip.ids import Address
from gossip.members import PRIMARY, Member
from gossip.messages import SLOT_COUNT
from tests.simulation.network import Faults
from tests.simulation.nodes import SimNode
from tests.simulation.world import BUS_PORT, PORT, World


def meshed(world: World, nodes: list[SimNode]) -> None:
    world.meet(nodes)
    world.run_until(lambda: world.all_know(nodes), 10_000, "everyone knows everyone")


def owner_names(world: World, node: SimNode, slot: int) -> str:
    owner = node.cluster.owner(slot)
    return next((one.name for one in world.nodes if owner is not None and one.id == owner.id), "nobody")


def test_slots_that_are_added_are_known_everywhere_and_the_cluster_is_ok() -> None:
    world = World(1)
    nodes = world.new_nodes(4)
    meshed(world, nodes)
    assert not any(node.cluster.ok for node in nodes)
    nodes[1].carry_out(nodes[1].cluster.operations.add_slots(range(SLOT_COUNT), world.now_ms))
    world.run_until(world.agreed, 3000)
    assert {owner_names(world, node, 4711) for node in nodes} == {"n1"}
    nodes[1].carry_out(nodes[1].cluster.operations.del_slots([4711], world.now_ms))
    assert not nodes[1].cluster.ok and not any(nodes[1].cluster.served), "not covered in full, so nothing is served"
    world.run(5000)
    assert {owner_names(world, node, 4711) for node in nodes} == {"nobody", "n1"}, "others keep what nobody claims"


def test_without_full_coverage_what_there_is_is_served() -> None:
    world = World(2)
    node = world.add(require_full_coverage=False)
    node.start()
    node.carry_out(node.cluster.operations.add_slots([5, 6], world.now_ms))
    world.run(200)
    assert node.cluster.ok
    assert [slot for slot, served in enumerate(node.cluster.served) if served] == [5, 6]


@pytest.mark.parametrize("seed", range(5))
def test_equal_epochs_come_apart_and_the_greatest_id_keeps_its_own(seed: int) -> None:
    world = World(100 + seed)
    nodes = world.new_nodes(5)
    for index, node in enumerate(nodes):
        slots = range(index * 3000, index * 3000 + 3000) if index < 4 else range(12000, SLOT_COUNT)
        node.carry_out(node.cluster.operations.add_slots(slots, world.now_ms))
    meshed(world, nodes)
    world.run_until(lambda: len({node.cluster.myself.config_epoch for node in nodes}) == 5, 20_000, "all epochs differ")
    world.run_until(world.agreed, 10_000)
    keeper = max(nodes, key=lambda node: node.id)
    assert keeper.cluster.myself.config_epoch == 0
    assert max(node.cluster.current_epoch for node in nodes) >= 4


def test_the_greater_epoch_wins_and_the_loser_of_some_slots_drops_their_keys() -> None:
    world = World(3, checks_owners=False)
    nodes = world.created(3)
    world.run_until(lambda: world.all_know(nodes) and world.agreed(), 8000)
    thief, victim = nodes[2], nodes[0]
    thief.carry_out(thief.cluster.operations.del_slots([7], world.now_ms))
    thief.carry_out(thief.cluster.operations.add_slots([7], world.now_ms))
    world.run_until(lambda: {owner_names(world, node, 7) for node in nodes} == {"n2"}, 3000)
    assert victim.lost_slots == {7}
    assert victim.cluster.myself.is_primary and not victim.cluster.served[7]
    world.run_until(world.agreed, 3000)


def test_the_smaller_epoch_is_told_so() -> None:
    """It claims, is answered with UPDATE and gives in."""
    world = World(4, checks_owners=False)
    nodes = world.created(3)
    world.run_until(lambda: world.all_know(nodes) and world.agreed(), 8000)
    claimant, owner = nodes[0], nodes[2]
    slot = SLOT_COUNT - 1
    claimant.carry_out(claimant.cluster.operations.del_slots([slot], world.now_ms))
    claimant.carry_out(claimant.cluster.operations.add_slots([slot], world.now_ms))
    assert owner_names(world, claimant, slot) == "n0"
    world.run_until(lambda: {owner_names(world, node, slot) for node in nodes} == {owner.name}, 3000)
    world.run_until(world.agreed, 3000)


def test_a_primary_that_loses_its_last_slot_follows_the_winner_with_its_replicas() -> None:
    world = World(5, checks_owners=False)
    nodes = world.planned(6, 1)
    world.run_until(world.agreed, 2000)
    world.run(2500)
    loser, winner = nodes[0], nodes[1]
    replica = next(node for node in nodes if node.cluster.myself.primary is not None
                   and node.cluster.myself.primary.id == loser.id)
    slots = [slot for first, last in loser.cluster.slotmap.slots_of(loser.id) for slot in range(first, last + 1)]
    winner.carry_out(winner.cluster.operations.bump_epoch(world.now_ms)[2])
    winner.carry_out(winner.cluster.operations.del_slots(slots, world.now_ms))
    winner.carry_out(winner.cluster.operations.add_slots(slots, world.now_ms))
    world.run_until(lambda: loser.cluster.myself.is_replica and replica.following[0] == winner.id, 5000)
    assert loser.following == (winner.id, winner.ip)
    world.run_until(lambda: world.agreed() and len(winner.cluster.myself.replicas) == 3, 5000)
    assert not loser.lost_slots, "its data is replaced as a whole"
    world.run(3000)
    assert len({node.cluster.members[one.id].shard_id for node in nodes for one in (loser, replica, winner)}) == 1


def test_replicas_are_known_as_such_everywhere() -> None:
    world = World(6)
    nodes = world.created(3)
    extra = world.new_nodes(3)
    world.meet([nodes[0], *extra])
    world.run_until(lambda: world.all_know(nodes + extra) and world.agreed(), 15_000)
    for primary, replica in zip(nodes, extra, strict=True):
        replica.carry_out(replica.cluster.operations.replicate(primary.id, False, world.now_ms))
        assert replica.following == (primary.id, primary.ip)
    world.run_until(lambda: all(
        len(node.cluster.members[primary.id].replicas) == 1 for node in world.nodes for primary in nodes), 5000)
    world.run_until(world.agreed, 3000)
    moved = extra[0]
    moved.carry_out(moved.cluster.operations.replicate(nodes[1].id, False, world.now_ms))
    world.run_until(lambda: all(len(node.cluster.members[nodes[1].id].replicas) == 2 for node in world.nodes), 3000)
    world.run_until(lambda: len({
        node.cluster.members[one.id].shard_id for node in world.nodes for one in (moved, extra[1], nodes[1])
    }) == 1, 5000, "one shard id")


def test_moving_a_slot_as_redis_cli_does() -> None:
    world = World(7)
    nodes = world.created(3)
    world.run_until(lambda: world.all_know(nodes) and world.agreed(), 8000)
    source, target, _ = nodes
    for node, order, other in ((target, "importing", source), (source, "migrating", target)):
        operations = node.cluster.operations
        open_slot = operations.set_slot_importing if order == "importing" else operations.set_slot_migrating
        node.carry_out(open_slot(1, other.id, world.now_ms))
    assert not source.cluster.served[1] and not target.cluster.served[1]
    world.run(2000)
    assert {owner_names(world, node, 1) for node in nodes} == {"n0"}
    before = target.cluster.myself.config_epoch
    target.carry_out(target.cluster.operations.set_slot_node(1, target.id, True, world.now_ms))
    assert target.cluster.myself.config_epoch > max(before, 3), "a new epoch for the new owner"
    source.carry_out(source.cluster.operations.set_slot_node(1, target.id, False, world.now_ms))
    world.run_until(lambda: {owner_names(world, node, 1) for node in nodes} == {"n1"}, 1000)
    world.run_until(world.agreed, 3000)
    assert target.cluster.served[1] and not source.cluster.slotmap.migrating and not target.cluster.slotmap.importing


def test_a_slot_that_is_being_imported_is_changed_by_hand_only() -> None:
    world = World(8)
    nodes = world.created(3)
    world.run_until(lambda: world.all_know(nodes) and world.agreed(), 8000)
    importer, source, other = nodes
    first, _ = source.cluster.slotmap.slots_of(source.id)[0]
    importer.carry_out(importer.cluster.operations.set_slot_importing(first, source.id, world.now_ms))
    other.carry_out(other.cluster.operations.set_slot_importing(first, source.id, world.now_ms))
    other.carry_out(other.cluster.operations.set_slot_node(first, other.id, False, world.now_ms))
    source.carry_out(source.cluster.operations.set_slot_node(first, other.id, False, world.now_ms))
    world.run(5000)
    assert owner_names(world, source, first) == other.name
    assert owner_names(world, importer, first) == source.name
    importer.carry_out(importer.cluster.operations.set_slot_stable(first, world.now_ms))
    world.run_until(lambda: owner_names(world, importer, first) == other.name, 3000)


# --- restarts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_all_nodes_restart_from_their_disks(seed: int) -> None:
    world = World(200 + seed)
    nodes = world.planned(6, 1)
    world.run_until(world.agreed, 1000)
    world.run(4000)
    before = {node.name: world.owners_seen(node) for node in nodes}
    epochs = {node.name: (node.cluster.current_epoch, node.cluster.myself.config_epoch) for node in nodes}
    for node in nodes:
        node.kill()
    world.run(3000)
    for node in nodes:
        node.following = (None, "")
        node.start()
    assert {node.name: world.owners_seen(node) for node in nodes} == before
    assert {node.name: (node.cluster.current_epoch, node.cluster.myself.config_epoch) for node in nodes} == epochs
    took_ms = world.run_until(world.agreed, 3000)
    assert took_ms <= 2500
    for node in nodes:
        primary = node.cluster.myself.primary
        assert node.following[0] == (None if primary is None else primary.id), "replication begins again"


def test_a_primary_that_comes_back_waits_until_it_could_have_been_told() -> None:
    world = World(9)
    nodes = world.planned(3, 0)
    world.run(4000)
    back = nodes[0]
    for node in nodes:
        node.kill()
    back.start()
    world.run(1500)
    assert not back.cluster.ok, "nobody has answered yet"
    nodes[1].start()
    nodes[2].start()
    world.run_until(lambda: back.cluster.ok, 1000)


def test_a_planned_cluster_needs_no_waiting() -> None:
    world = World(10)
    nodes = world.planned(6, 1)
    assert world.run_until(world.agreed, 1000) <= 200
    assert all(node.following[0] is not None for node in nodes[3:])


def test_a_node_that_slept_through_a_change_of_owners_gives_in() -> None:
    world = World(11, checks_owners=False)
    nodes = world.planned(4, 0)
    world.run(4000)
    sleeper, heir = nodes[0], nodes[1]
    sleeper.kill()
    slots = [slot for first, last in heir.cluster.slotmap.slots_of(sleeper.id) for slot in range(first, last + 1)]
    heir.carry_out(heir.cluster.operations.del_slots(slots, world.now_ms))
    heir.carry_out(heir.cluster.operations.bump_epoch(world.now_ms)[2])
    heir.carry_out(heir.cluster.operations.add_slots(slots, world.now_ms))
    world.run(3000)
    sleeper.start()
    while not sleeper.cluster.myself.is_replica:
        assert not any(sleeper.cluster.served), "it serves nothing that is not its any longer"
        world.run(20)
    assert sleeper.following == (heir.id, heir.ip)
    world.run_until(world.agreed, 8000)


def test_reset_soft_keeps_the_id_and_hard_does_not() -> None:
    world = World(12)
    nodes = world.created(3)
    world.run_until(lambda: world.all_know(nodes) and world.agreed(), 8000)
    node = nodes[0]
    before = node.id
    node.carry_out(node.cluster.operations.reset(False, False, world.now_ms))
    assert node.id == before and list(node.cluster.members) == [before] and not node.cluster.slotmap.assigned
    assert node.cluster.current_epoch >= 3
    node.highest = (0, 0)
    node.carry_out(node.cluster.operations.reset(True, False, world.now_ms))
    assert node.id != before and node.cluster.current_epoch == node.cluster.myself.config_epoch == 0
    world.run(3000)
    assert list(node.cluster.members) == [node.id], "nobody knows its new name, and it nobody"


# --- everything at once ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_after_any_trouble_everyone_agrees_again(seed: int) -> None:
    # BUMPEPOCH asks nobody: it may take an epoch in which others elect just then.
    world = World(1000 + seed, timeout_ms=1000, checks_owners=False)
    nodes = world.planned(9, 2)
    random = world.random
    for _ in range(12):
        world.disturb(Faults(loss=random.random() * 0.1, duplication=0.1, reorder=0.2, delay_ms=(0, 50)))
        victim = nodes[random.randrange(9)]
        trouble = random.randrange(4)
        if trouble == 0 and victim.running:
            victim.kill()
        elif trouble == 1 and victim.running and victim.paused_events is None:
            victim.pause()
        elif trouble == 2:
            names = [node.name for node in nodes]
            cut = 1 + random.randrange(7)
            world.network.partition(names[:cut], names[cut:])
        elif victim.running and victim.cluster.myself.is_primary:
            victim.carry_out(victim.cluster.operations.bump_epoch(world.now_ms)[2])
        world.run(random.randrange(3000))
        world.bring_back(nodes, chance=0.5)
        if random.random() < 0.4:
            world.network.cut.clear()
    world.bring_back(nodes)
    world.network.heal()
    world.run_until(lambda: world.agreed(nodes), 15_000, "agreement after healing")
    assert len({node.cluster.myself.config_epoch for node in nodes if node.cluster.myself.is_primary}) == 3
    owned = [node.cluster.slotmap.bits(node.id) for node in nodes]
    assert sum(bits.bit_count() for bits in owned) == SLOT_COUNT
    assert bits_of(range(SLOT_COUNT)) == reduce(or_, owned)


def test_a_stranger_with_a_forged_claim_changes_nothing() -> None:
    """Its MEET makes it known, as Redis has it; before that, whatever it says, no slot and no epoch moves."""
    world = World(13, checks_owners=False)
    nodes = world.planned(3, 0)
    world.run(3000)
    forger = world.new_nodes(1)[0]
    forger.carry_out(forger.cluster.operations.add_slots(range(SLOT_COUNT), world.now_ms))
    forger.carry_out(forger.cluster.operations.set_config_epoch(999, world.now_ms))
    before = [(world.owners_seen(node), node.cluster.current_epoch) for node in nodes]
    target = nodes[0]
    member = Member(target.id, Address(target.ip, PORT, BUS_PORT), PRIMARY)
    forger.cluster.gossip.members.add(member)
    world.run(5000)
    assert [(world.owners_seen(node), node.cluster.current_epoch) for node in nodes] == before
    assert all(forger.id not in node.cluster.members for node in nodes)
