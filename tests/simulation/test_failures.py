"""Failure is seen by everyone soon, believed by a majority only, and taken back when it is over."""

from __future__ import annotations

import pytest

from cluster.health import rejoin_delay_ms
from gossip.members import PFAIL
from gossip.watch import ping_period_ms
from tests.simulation.network import Faults
from tests.simulation.nodes import SimNode
from tests.simulation.world import World

SLACK_MS = 1100
"""Ticks, gossip's way and delays, on top of what is promised in node timeouts."""


def planned(seed: int, count: int = 6, replicas: int = 1, timeout_ms: int = 2000) -> tuple[World, list[SimNode]]:
    world = World(seed, timeout_ms=timeout_ms)
    nodes = world.planned(count, replicas)
    world.run_until(world.agreed, 1000, "agreement from the plan")
    world.run(3 * timeout_ms // 2)
    return world, nodes


@pytest.mark.parametrize(("count", "seed"), [(3, 1), (6, 2), (6, 3), (12, 4), (50, 5)])
def test_a_killed_node_is_failed_everywhere_within_two_timeouts(count: int, seed: int) -> None:
    world, nodes = planned(seed, count, replicas=1 if count > 3 else 0)
    victim = nodes[seed % count]
    victim.kill()
    took_ms = world.run_until(lambda: world.all_see(victim, "fail"), 2 * world.timeout_ms + SLACK_MS)
    assert took_ms >= world.timeout_ms, "not before its time"


@pytest.mark.parametrize("seed", range(4))
def test_a_paused_node_is_failed_and_well_again_when_it_goes_on(seed: int) -> None:
    world, nodes = planned(20 + seed)
    victim = nodes[-1]
    assert victim.cluster.myself.is_replica
    victim.pause()
    world.run_until(lambda: world.all_see(victim, "fail"), 2 * world.timeout_ms + SLACK_MS)
    victim.resume()
    world.run_until(lambda: world.all_see(victim, "ok"), 3000, "a replica is well at once")


def test_a_primary_with_slots_stays_failed_for_two_timeouts() -> None:
    world, nodes = planned(30, count=5, replicas=0)
    victim, *others = nodes
    victim.kill()
    world.run_until(lambda: world.all_see(victim, "fail"), 2 * world.timeout_ms + SLACK_MS)
    failed_ms = max(node.cluster.members[victim.id].fail_since_ms for node in others)
    assert not any(node.cluster.ok for node in others), "its slots have no owner that works"
    victim.start()
    while world.now_ms < failed_ms + 2 * world.timeout_ms - 200:
        world.run(100)
        assert any(world.see(node, victim) == "fail" for node in others)
    world.run_until(lambda: world.all_see(victim, "ok") and world.agreed(), 2 * world.timeout_ms + SLACK_MS)


def test_a_minority_stops_and_starts_again_after_a_while() -> None:
    world, nodes = planned(40, count=5, replicas=0)
    few, many = nodes[:2], nodes[2:]
    world.network.partition([node.name for node in few], [node.name for node in many])
    cut_ms = world.now_ms
    world.run_until(lambda: not any(node.cluster.ok for node in few), 2 * world.timeout_ms, "the minority stops")
    for node in few:
        assert not any(node.cluster.served), "nothing is served by a node that is cut off"
    assert world.now_ms - cut_ms <= world.timeout_ms + 150, "a lease is a timeout long, and the world looks every 50 ms"
    world.run_until(lambda: all(world.see(seer, lost) == "fail" for seer in many for lost in few), 2 * world.timeout_ms)
    world.run(300)
    assert all(world.see(seer, lost) == "pfail" for seer in few for lost in many), "two of five fail nobody"
    world.network.heal()
    healed_ms = world.now_ms
    world.run_until(world.agreed, 4 * world.timeout_ms)
    assert world.now_ms - healed_ms >= rejoin_delay_ms(world.timeout_ms) - 200, "not before it could have been told"


def test_one_way_silence_is_no_failure_while_a_majority_hears() -> None:
    world, nodes = planned(50, count=5, replicas=0)
    world.network.cut.add(frozenset((nodes[0].name, nodes[1].name)))
    world.run_until(lambda: world.see(nodes[0], nodes[1]) == "pfail", 2 * world.timeout_ms)
    world.run(4 * world.timeout_ms)
    for node in nodes:
        for other in nodes:
            assert world.see(node, other) != "fail"
    assert all(node.cluster.ok for node in nodes)
    world.network.heal()
    world.run_until(lambda: all(world.all_see(node, "ok") for node in nodes), 3 * world.timeout_ms)


def test_reports_age_out() -> None:
    """Two of five call a third unreachable; cut off themselves later, their word has ended."""
    world, nodes = planned(60, count=5, replicas=0)
    accused, accusers, judge = nodes[0], nodes[1:3], nodes[3]
    for accuser in accusers:
        world.network.cut.add(frozenset((accuser.name, accused.name)))

    def reported() -> int:
        return judge.cluster.failure_reports(accused.id, world.now_ms)

    world.run_until(lambda: reported() == 2, 3 * world.timeout_ms)
    world.network.partition([one.name for one in accusers], [node.name for node in nodes if node not in accusers])
    world.run(2 * world.timeout_ms + 500)
    assert reported() == 0


def test_a_network_that_only_delays_fails_nobody() -> None:
    world, nodes = planned(70, timeout_ms=2000)
    world.disturb(Faults(loss=0.02, duplication=0.1, reorder=0.5, delay_ms=(20, 300)))
    for _ in range(100):
        world.run(200)
        assert all(world.see(node, other) != "fail" for node in nodes for other in nodes)


def test_everyone_is_heard_often_enough_and_not_more() -> None:
    """A small cluster pings each member eight times a timeout, a larger one less often, half the timeout at the least."""
    world, nodes = planned(75, count=10, replicas=0, timeout_ms=4000)
    carried = world.network.carried
    for _ in range(100):
        world.run(100)
        for node in nodes:
            ages = [world.now_ms - one.pong_received_ms for one in node.cluster.members.values() if one.id != node.id]
            assert max(ages) <= 500 + 300
    per_node_second = (world.network.carried - carried) / 10 / len(nodes)
    assert 2 * 9 <= per_node_second <= 2 * (1 + 9 * 8 / 4), "pings and pongs: one a second, and each when due"
    assert ping_period_ms(nodes[0].cluster.gossip) == 500
    nodes[0].cluster.gossip.timeout_ms = 400
    assert ping_period_ms(nodes[0].cluster.gossip) == 50


def test_a_single_primary_fails_its_replicas_alone() -> None:
    world, nodes = planned(80, count=3, replicas=2)
    nodes[2].kill()
    world.run_until(lambda: world.all_see(nodes[2], "fail"), 2 * world.timeout_ms + SLACK_MS)
    assert nodes[0].cluster.ok


def test_suspicion_is_gossiped_on_top_of_the_drawn_members() -> None:
    world, nodes = planned(90, count=30, replicas=0)
    for node in nodes[:8]:
        node.kill()
    world.run_until(lambda: all(world.all_see(node, "fail") for node in nodes[:8]), 2 * world.timeout_ms + SLACK_MS)
    assert not any(member.flags & PFAIL for node in nodes[8:] for member in node.cluster.members.values())
