"""Nodes get to know each other, agree on who owns what, forget, move and come back."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cluster.events import ClusterError
from gossip.members import EXTENSIONS, LIGHT_HEADER, NOADDR
from gossip.messages import SLOT_COUNT
from tests.simulation.network import Faults
from tests.simulation.world import BUS_PORT, PORT, World


@pytest.mark.parametrize(("count", "seed"), [(3, 1), (3, 2), (6, 3), (20, 4), (50, 5)])
def test_a_mesh_out_of_one_meet_each(count: int, seed: int) -> None:
    world = World(seed, on_the_wire=count <= 6)
    nodes = world.created(count)
    world.run_until(lambda: world.all_know(nodes), 8000, "everyone knows everyone")
    world.run_until(world.agreed, 3000, "agreement")
    for node in nodes:
        assert sum(member.slot_count for member in node.cluster.members.values()) == SLOT_COUNT
        assert bytes(node.cluster.served).count(1) == node.cluster.myself.slot_count


def test_meeting_in_a_chain_and_both_ways_at_once() -> None:
    world = World(11)
    nodes = world.new_nodes(5)
    for one, other in pairwise(nodes):
        one.carry_out(one.cluster.operations.meet(other.ip, PORT, BUS_PORT, world.now_ms))
        other.carry_out(other.cluster.operations.meet(one.ip, PORT, BUS_PORT, world.now_ms))
    world.run_until(lambda: world.all_know(nodes), 10_000)


def test_a_meet_that_nobody_answers_is_given_up() -> None:
    world = World(12)
    (node,) = world.new_nodes(1)
    node.carry_out(node.cluster.operations.meet("10.9.9.9", PORT, BUS_PORT, world.now_ms))
    assert len(node.cluster.members) == 2
    node.carry_out(node.cluster.operations.meet("10.9.9.9", PORT, BUS_PORT, world.now_ms))
    assert len(node.cluster.members) == 2, "a second MEET while the first goes on adds nobody"
    world.run(world.timeout_ms + 300)
    assert list(node.cluster.members) == [node.id]


def test_a_node_that_meets_itself_stays_alone() -> None:
    world = World(13)
    (node,) = world.new_nodes(1)
    node.carry_out(node.cluster.operations.meet(node.ip, PORT, BUS_PORT, world.now_ms))
    world.run(5000)
    assert list(node.cluster.members) == [node.id]
    assert node.cluster.myself.address.ip == node.ip


def test_two_clusters_become_one_by_one_meet() -> None:
    world = World(14, checks_owners=False)
    left, right = world.created(3), world.new_nodes(3)
    world.meet(right)
    world.run(3000)
    left[2].carry_out(left[2].cluster.operations.meet(right[1].ip, PORT, BUS_PORT, world.now_ms))
    world.run_until(lambda: world.all_know(left + right), 10_000)


def test_a_stranger_is_answered_and_changes_nothing() -> None:
    """A node that was forgotten still pings: it is no member by that."""
    world = World(15)
    nodes = world.created(3)
    world.run_until(lambda: world.all_know(nodes) and world.agreed(), 8000)
    outcast = nodes[2]
    for node in nodes[:2]:
        node.carry_out(node.cluster.operations.forget(outcast.id, world.now_ms))
    world.run(20_000)
    assert all(outcast.id not in node.cluster.members for node in nodes[:2])
    assert outcast.cluster.members.keys() == {node.id for node in nodes}, "it has not been told"


def test_names_shards_and_abilities_travel() -> None:
    world = World(16, on_the_wire=True)
    nodes = [world.add(announce_hostname=f"h{index}.example", announce_human_nodename=f"node-{index}",
                       announce_client_ipv4=f"192.0.2.{index}") for index in range(3)]
    for node in nodes:
        node.start()
    world.meet(nodes)

    def told() -> bool:
        return world.all_know(nodes) and all(
            (seen.hostname, seen.human_nodename, seen.shard_id, seen.client_ipv4) == (
                f"h{index}.example", f"node-{index}", other.cluster.myself.shard_id, f"192.0.2.{index}")
            and seen.flags & EXTENSIONS and seen.flags & LIGHT_HEADER
            for node in nodes for index, other in enumerate(nodes) if other is not node
            for seen in [node.cluster.members[other.id]]
        )

    world.run_until(told, 10_000)


def test_forgetting_spreads_and_lasts() -> None:
    world = World(17)
    nodes = world.created(4)
    world.run_until(lambda: world.all_know(nodes) and world.agreed(), 8000)
    gone, *rest = reversed(nodes)
    gone.kill()
    rest[0].carry_out(rest[0].cluster.operations.forget(gone.id, world.now_ms))
    world.run_until(lambda: all(world.see(node, gone) == "unknown" for node in rest), 5000, "all have forgotten it")
    world.run(10_000)
    assert all(world.see(node, gone) == "unknown" for node in rest)
    again = rest[1].cluster.operations.forget(gone.id, world.now_ms)
    assert again == [], "forgotten by gossip is forgotten: Redis 7.2 says OK"
    with pytest.raises(ClusterError, match="^ERR Unknown node " + "0" * 40):
        rest[1].cluster.operations.forget("0" * 40, world.now_ms)
    gone.start()
    world.run(30_000)
    assert all(world.see(node, gone) == "unknown" for node in rest), "the blacklist holds for a minute"


def test_who_comes_back_elsewhere_is_found_again() -> None:
    world = World(18)
    nodes = world.planned(6, 1)
    world.run_until(world.agreed, 3000)
    world.run(2000)
    primary = nodes[0]
    replica = next(node for node in nodes if node.cluster.myself.primary is not None
                   and node.cluster.myself.primary.id == primary.id)
    primary.kill()
    primary.ip = "10.0.7.7"
    world.run(500)
    primary.start()
    world.run_until(lambda: all(
        node.cluster.members[primary.id].address.ip == "10.0.7.7" for node in nodes), 10_000, "the new address")
    assert replica.following == (primary.id, "10.0.7.7"), "replication has followed it"
    world.run_until(lambda: world.all_see(primary, "ok") and world.agreed(), 10_000)


def test_all_addresses_change_at_once() -> None:
    """Pods of a set that is rolled: each finds at least one that has not moved yet."""
    world = World(19)
    nodes = world.planned(5, 0)
    world.run(3000)
    for index, node in enumerate(nodes):
        node.kill()
        node.ip = f"10.0.8.{index}"
        world.run(300)
        node.start()
        world.run(6000)
    world.run_until(lambda: all(
        node.cluster.members[other.id].address.ip == other.ip for node in nodes for other in nodes
    ), 10_000)


def test_another_node_at_a_members_address_is_not_taken_for_it() -> None:
    world = World(20)
    nodes = world.created(4)
    world.run_until(lambda: world.all_know(nodes) and world.agreed(), 8000)
    gone = nodes[3]
    gone.kill()
    usurper = world.add()
    usurper.ip, gone.ip = gone.ip, "10.0.9.9"
    usurper.start()
    world.run_until(lambda: all(node.cluster.members[gone.id].flags & NOADDR for node in nodes[:3]), 5000)
    assert all(usurper.id not in node.cluster.members for node in nodes[:3])
    world.run(1000)
    gone.start()
    world.run_until(lambda: world.all_see(gone, "ok") or all(
        node.cluster.members[gone.id].address.ip == "10.0.9.9" for node in nodes[:3]), 10_000)


@pytest.mark.parametrize("seed", range(6))
def test_a_mesh_over_a_network_that_breaks_every_rule(seed: int) -> None:
    world = World(300 + seed, timeout_ms=5000)
    world.disturb(Faults(loss=0.1, duplication=0.1, reorder=0.3, delay_ms=(0, 80)))
    nodes = world.created(8)
    world.run(20_000)
    world.network.heal()
    world.run_until(lambda: {len(node.cluster.members) for node in nodes} == {8} or _meets_again(world), 40_000)
    world.run_until(world.agreed, 20_000)


def _meets_again(world: World) -> bool:
    """Handshakes have a short life: those that were lost are asked for again, as redis-cli's user would."""
    alone = [node for node in world.nodes if len(node.cluster.members) == 1]
    for node in alone:
        node.carry_out(node.cluster.operations.meet(world.nodes[0].ip, PORT, BUS_PORT, world.now_ms))
    return False
