"""Failovers under simulation: who takes over, how soon, with which data, and that nobody votes or owns twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from cluster import voting
from cluster.elections import QUICK_TRIES, attempt_ms
from cluster.events import Tick
from cluster.machine import Cluster
from cluster.manual_failover import Manner
from cluster.replica_migration import DELAY_MS as MIGRATION_DELAY_MS
from cluster.restarts import longest_wait_ms
from cluster.voting import patience_ms
from tests.simulation.network import Faults
from tests.simulation.nodes import SimNode
from tests.simulation.world import World

T = 2000
BAR_MS = 4500 * T // 2000
WRITES = range(50)


def settled(seed: int, count: int = 6, replicas: int = 1, **settings: object) -> tuple[World, list[SimNode]]:
    """A cluster whose replicas are in sync, with 50 writes on every shard. checks_votes: in every step, see World."""
    world = World(seed, timeout_ms=T)
    world.settings = settings
    nodes = world.planned(count, replicas)
    world.run_until(world.agreed, 1000)
    world.run(3000)
    for node in nodes:
        if node.cluster.myself.is_primary:
            assert all(node.write(own_slot(node), value) for value in WRITES)
    world.run(1000)
    return world, nodes


def own_slot(node: SimNode) -> int:
    return node.cluster.slotmap.slots_of(node.id)[0][0]


def replicas_of(nodes: list[SimNode], primary: SimNode) -> list[SimNode]:
    return [node for node in nodes if node.cluster.myself.primary is not None
            and node.cluster.myself.primary.id == primary.id]


def until_owner(world: World, slot: int, among: list[SimNode], limit_ms: int) -> tuple[SimNode, int]:
    """Who of these serves the slot first, and after how long."""
    took_ms = world.run_until(lambda: any(node.running and node.cluster.served[slot] for node in among), limit_ms)
    (owner,) = [node for node in among if node.running and node.cluster.served[slot]]
    return owner, took_ms


# --- automatic ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_replica_takes_over_from_a_dead_primary_which_comes_back_as_its_replica(seed: int) -> None:
    world, nodes = settled(2000 + seed)
    victim = nodes[seed % 3]
    slot = own_slot(victim)
    (replica,) = replicas_of(nodes, victim)
    victim.kill()
    owner, took_ms = until_owner(world, slot, nodes, BAR_MS)
    assert owner is replica and owner.writes == [*WRITES]
    assert T <= took_ms <= T + 500, "as soon as its silence counts, with a tick or two for the news"
    assert owner.write(slot, 99)
    world.run_until(world.agreed, 2000)
    victim.start()
    world.run_until(lambda: victim.cluster.myself.is_replica and victim.writes == [*WRITES, 99] and world.agreed(), 8000)
    assert victim.cluster.myself.primary is victim.cluster.members[replica.id]


@pytest.mark.parametrize("seed", range(4))
def test_of_several_replicas_the_one_with_most_data_takes_over(seed: int) -> None:
    world, nodes = settled(2100 + seed, count=12, replicas=3)
    victim = nodes[0]
    slot = own_slot(victim)
    replicas = replicas_of(nodes, victim)
    best = replicas[seed % 3]
    for other in replicas:
        other.lag = 0 if other is best else 1 + seed
    for value in range(100, 120):
        assert victim.write(slot, value)
    world.run(300)
    assert len({len(one.writes) for one in replicas}) == 2
    victim.kill()
    owner, took_ms = until_owner(world, slot, nodes, BAR_MS)
    assert owner is best, "it has all of it"
    assert took_ms <= T + 500, "it has heard from its siblings, so it need not wait"
    world.run_until(lambda: len(replicas_of(nodes, best)) == 2 and world.agreed(), 4000)


def test_equal_replicas_do_not_split_the_votes() -> None:
    for seed in range(5):
        world, nodes = settled(2200 + seed, count=9, replicas=2)
        victim = nodes[0]
        slot = own_slot(victim)
        first = min(replicas_of(nodes, victim), key=lambda node: node.id)
        victim.kill()
        owner, took_ms = until_owner(world, slot, nodes, BAR_MS)
        assert owner is first and took_ms <= T + 500
        assert len({epoch for _, epoch in world.votes}) == 1, "one election was enough"
        World.made.clear()


@pytest.mark.parametrize("seed", range(4))
def test_two_primaries_that_die_together_are_both_replaced(seed: int) -> None:
    world, nodes = settled(2300 + seed, count=10)
    victims = [nodes[0], nodes[1 + seed]]
    slots = [own_slot(victim) for victim in victims]
    for victim in victims:
        victim.kill()
    for slot in slots:
        until_owner(world, slot, nodes, BAR_MS)
    world.run_until(world.agreed, 3000)


def test_without_a_majority_nobody_takes_over() -> None:
    world, nodes = settled(2400)
    replica = replicas_of(nodes, nodes[0])[0]
    world.network.partition([replica.name, nodes[1].name], [node.name for node in nodes if node not in (replica, nodes[1])])
    world.run(10 * T)
    assert replica.cluster.myself.is_replica and replica.id not in world.votes.values()
    world.network.heal()
    world.run_until(world.agreed, 8 * T)


def test_no_replica_with_old_data_and_none_that_may_not() -> None:
    """Past the validity factor; with factor 0 however old; cluster-replica-no-failover; without any data."""
    for settings, wins in [
        ({"replica_validity_factor": 2, "repl_ping_replica_period_s": 1}, False),
        ({"replica_validity_factor": 0}, True),
        ({"replica_no_failover": True}, False),
    ]:
        world, nodes = settled(2500, **settings)
        victim = nodes[0]
        replica = replicas_of(nodes, victim)[0]
        world.network.partition([replica.name], [victim.name])
        world.run(4 * T)
        assert world.see(nodes[1], victim) == "ok", "only the replica can not reach it"
        victim.kill()
        world.run(4 * T)
        assert replica.cluster.myself.is_primary is wins, settings
        World.made.clear()


def test_a_replica_that_never_had_data_does_not_take_over() -> None:
    world, nodes = settled(2550)
    victim = nodes[0]
    replica = replicas_of(nodes, victim)[0]
    replica.kill()
    world.network.partition([replica.name], [victim.name])
    replica.start()
    world.run(1000)
    victim.kill()
    world.run(8 * T)
    assert replica.cluster.myself.is_replica
    assert any("Disconnected from master for longer than allowed" in line for line in replica.logs)


# --- votes ----------------------------------------------------------------------------------------------------------


def lagging(seed: int, victim_lives: bool = False) -> tuple[World, list[SimNode], SimNode, SimNode, SimNode, int]:
    """A primary with two replicas, one of which has less; the other is not willing, and nobody knows."""
    world, nodes = settled(seed, count=9, replicas=2)
    victim = nodes[0]
    slot = own_slot(victim)
    behind, ahead = replicas_of(nodes, victim)
    behind.lag = 5
    for value in range(100, 120):
        assert victim.write(slot, value)
    world.run(1000)
    assert len(ahead.writes) == len(behind.writes) + 5
    return world, nodes, victim, behind, ahead, slot


def test_a_candidate_with_less_gets_no_vote_while_a_better_one_lives() -> None:
    """For so long as the better one may still win; then a cluster with less is better than one without an owner."""
    world, nodes, victim, behind, ahead, slot = lagging(2600)
    ahead.unwilling = True
    victim.kill()
    world.run_until(lambda: world.all_see(victim, "fail"), 2 * T)
    failed_ms = max(node.cluster.members[victim.id].fail_since_ms for node in world.running())
    owner, _ = until_owner(world, slot, nodes, patience_ms(T) + QUICK_TRIES * 1000 + 3 * attempt_ms(T))
    assert owner is behind
    assert world.now_ms - failed_ms >= patience_ms(T) - 100
    assert any("has more data" in line for node in nodes for line in node.logs)
    world.run_until(world.agreed, 4000)


def test_a_candidate_with_less_is_voted_for_at_once_when_the_better_one_has_died_too() -> None:
    world, nodes, victim, behind, ahead, slot = lagging(2610)
    ahead.kill()
    world.run(2 * T)
    victim.kill()
    owner, took_ms = until_owner(world, slot, nodes, BAR_MS)
    assert owner is behind and took_ms <= T + 500


def test_a_voter_that_crashes_remembers_its_vote() -> None:
    """Each voter is killed in the moment after its vote, and comes back: World checks that it votes once in the epoch."""
    for seed in range(4):
        world, nodes = settled(2700 + seed, count=9, replicas=2)
        victim = nodes[0]
        slot = own_slot(victim)
        voters = nodes[1:3]
        victim.kill()
        world.run_until(lambda: bool(world.votes), 3 * T)  # noqa: B023
        for voter in voters:
            voter.kill()
        world.run(500)
        for voter in voters:
            voter.start()
        until_owner(world, slot, nodes, 8 * attempt_ms(T))
        epochs = sorted({epoch for _, epoch in world.votes})
        assert all(one < other for one, other in pairwise(epochs))
        World.made.clear()


# --- everything at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_after_any_trouble_every_slot_has_one_owner_again(seed: int) -> None:
    """Crashes, pauses, partitions and loss while replicas take over; World checks votes, epochs and owners in each step."""
    world, nodes = settled(3000 + seed, count=9, replicas=2)
    random = world.random
    for _ in range(15):
        world.disturb(Faults(loss=random.random() * 0.1, duplication=0.1, reorder=0.2, delay_ms=(0, 50)))
        victim = nodes[random.randrange(9)]
        trouble = random.randrange(3)
        if trouble == 0 and victim.running:
            victim.kill()
        elif trouble == 1 and victim.running and victim.paused_events is None:
            victim.pause()
        elif trouble == 2:
            names = [node.name for node in nodes]
            random.shuffle(names)
            cut = 1 + random.randrange(7)
            world.network.partition(names[:cut], names[cut:])
        world.run(random.randrange(2 * T))
        world.bring_back(nodes, chance=0.5)
        if random.random() < 0.4:
            world.network.cut.clear()
    world.bring_back(nodes)
    world.network.heal()
    world.run_until(lambda: world.agreed(nodes), 10 * attempt_ms(T), "agreement after healing")
    assert sum(sum(node.cluster.served) for node in nodes) == 16384, "every slot is served once"


# --- manual -----------------------------------------------------------------------------------------------------------


def test_a_manual_failover_loses_no_write_and_pauses_little() -> None:
    world, nodes = settled(2800)
    primary = nodes[0]
    slot = own_slot(primary)
    replica = replicas_of(nodes, primary)[0]
    written = [*WRITES]
    replica.carry_out(replica.cluster.operations.failover(Manner.AGREED, world.now_ms))
    refused_ms = 0
    for value in range(1000, 1100):
        taken = [node for node in (primary, replica) if node.write(slot, value)]
        assert len(taken) <= 1, "never two at once"
        if taken:
            written.append(value)
        else:
            refused_ms += 20
        world.run(20)
    assert replica.cluster.myself.is_primary and replica.writes == written
    assert refused_ms <= 500
    assert any("Manual failover requested by replica" in line for line in primary.logs)
    world.run_until(lambda: primary.cluster.myself.is_replica and world.agreed(), 2000)
    assert not primary.paused_writes
    assert primary.writes == written


def test_a_manual_failover_that_does_not_end_lets_writes_in_again() -> None:
    world, nodes = settled(2810, manual_failover_timeout_ms=1500)
    primary = nodes[0]
    slot = own_slot(primary)
    replica = replicas_of(nodes, primary)[0]
    replica.lag = 3
    primary.writes += [7, 7, 7]
    replica.carry_out(replica.cluster.operations.failover(Manner.AGREED, world.now_ms))
    world.run_until(lambda: primary.paused_writes, 500)
    assert not primary.write(slot, 1)
    world.run_until(lambda: primary.write(slot, 1), 2000)
    world.run(1000)
    assert replica.cluster.myself.is_replica
    assert any("Manual failover timed out" in line for line in replica.logs)


def test_force_needs_no_living_primary_and_takeover_no_majority() -> None:
    world, nodes = settled(2820, count=7, replicas=1)
    primaries = [node for node in nodes if node.cluster.myself.is_primary]
    dead = next(node for node in primaries if replicas_of(nodes, node))
    slot, replica = own_slot(dead), replicas_of(nodes, dead)[0]
    dead.kill()
    world.run(300)
    replica.carry_out(replica.cluster.operations.failover(Manner.FORCE, world.now_ms))
    _, took_ms = until_owner(world, slot, nodes, 1000)
    assert took_ms <= 200, "nobody has called it failed yet"
    world.run(2000)
    other = next(node for node in primaries if node is not dead and replicas_of(nodes, node))
    heir, slot = replicas_of(nodes, other)[0], own_slot(other)
    for node in nodes:
        if node is not heir:
            node.kill()
    world.run(3 * T)
    heir.carry_out(heir.cluster.operations.failover(Manner.TAKEOVER, world.now_ms))
    assert heir.cluster.myself.is_primary and heir.cluster.owner(slot) is heir.cluster.myself
    for node in nodes:
        if node is not heir:
            node.start()
    world.run_until(world.agreed, 10 * T)
    assert {world.owners_seen(node) for node in nodes} == {world.owners_seen(heir)}
    assert all(node.cluster.owner(slot) is node.cluster.members[heir.id] for node in nodes)


# --- replicas where they are needed -----------------------------------------------------------------------------------


def test_a_replica_goes_to_a_primary_that_has_none_left() -> None:
    world, nodes = settled(2900, count=9, replicas=2)
    poor, rich = nodes[0], [node for node in nodes[1:] if node.cluster.myself.is_primary]
    lost = replicas_of(nodes, poor)
    goes = min((one for node in rich for one in replicas_of(nodes, node)), key=lambda node: node.id)
    for node in lost:
        node.kill()
    took_ms = world.run_until(lambda: bool(replicas_of(world.running(), poor)), 3 * T + MIGRATION_DELAY_MS)
    assert took_ms >= MIGRATION_DELAY_MS
    assert replicas_of(world.running(), poor) == [goes]
    world.run_until(lambda: goes.writes == poor.writes, 2000)
    world.run(20_000)
    assert replicas_of(world.running(), poor) == [goes], "one is enough"


@pytest.mark.parametrize("settings", [{"migration_barrier": 2}, {"allow_replica_migration": False}])
def test_no_replica_goes_when_it_must_not(settings: dict[str, object]) -> None:
    world, nodes = settled(2910, count=9, replicas=2, **settings)
    for node in replicas_of(nodes, nodes[0]):
        node.kill()
    world.run(4 * MIGRATION_DELAY_MS)
    assert not replicas_of(world.running(), nodes[0])


# --- a primary that comes back empty ----------------------------------------------------------------------------------


@pytest.mark.parametrize("away_ms", [0, 150, 900, 1900])
@pytest.mark.parametrize("plain", ["", "primary", "replica"])
def test_a_primary_that_comes_back_empty_wipes_nothing(away_ms: int, plain: str) -> None:
    """Also when one of the two is a Redis, which objects to nothing."""
    world, nodes = settled(2950 + away_ms)
    primary = nodes[0]
    slot = own_slot(primary)
    replica = replicas_of(nodes, primary)[0]
    primary.plain, replica.plain = plain == "primary", plain == "replica"
    primary.kill()
    world.run(away_ms)
    primary.start()
    world.run_until(lambda: replica.cluster.served[slot] == 1, 3 * T)
    assert replica.writes == [*WRITES]
    world.run_until(lambda: primary.writes == [*WRITES] and world.agreed(), 3 * T)
    assert primary.cluster.myself.is_replica


@pytest.mark.parametrize(("primary_ms", "replica_ms", "load_ms"), [
    (0, 0, 0), (0, 300, 0), (300, 0, 0), (0, 1900, 0), (1900, 0, 0), (0, 0, 600), (0, 1000, 20_000), (0, 0, 60_000),
])  # fmt: skip
@pytest.mark.parametrize("all_restart", [False, True])
def test_an_empty_primary_that_restarts_with_its_replica_waits_for_the_replicas_file(
    primary_ms: int, replica_ms: int, load_ms: int, all_restart: bool
) -> None:
    """In whatever order they come, and while the replica loads: what it knows is in its file."""
    world, nodes = settled(2990 + primary_ms + replica_ms)
    pairs = [(node, replicas_of(nodes, node)[0]) for node in (nodes[:3] if all_restart else nodes[:1])]
    slots = [own_slot(primary) for primary, _ in pairs]
    for primary, replica in pairs:
        primary.kill()
        replica.kill()
        replica.durable, replica.load_ms = True, load_ms
    world.run(100)
    for primary, replica in pairs:
        world.clock.after(primary_ms, primary.start)
        world.clock.after(replica_ms, replica.start)
    world.run(max(primary_ms, replica_ms))
    for (primary, replica), slot in zip(pairs, slots, strict=True):
        took_ms = world.run_until(lambda one=replica, slot=slot: one.cluster.served[slot] == 1, load_ms + 3 * T)  # type: ignore[misc]
        assert replica.writes == [*WRITES] and not primary.cluster.served[slot]
        print(f"served again after {took_ms} ms")
    world.run_until(lambda: all(one.writes == [*WRITES] for one, _ in pairs) and world.agreed(), 3 * T)
    assert all(primary.cluster.myself.is_replica for primary, _ in pairs)


def test_a_replica_with_an_old_file_takes_nothing_from_a_primary_that_has_its_data() -> None:
    """Its primary restarts beside it with all that it had, and is not asked for its place."""
    world, nodes = settled(2991)
    primary = nodes[0]
    slot, replica = own_slot(primary), replicas_of(nodes, primary)[0]
    replica.kill()
    replica.durable = primary.durable = True
    assert primary.write(slot, 77)
    primary.kill()
    for node in (primary, replica):
        node.start()
    world.run_until(lambda: primary.cluster.served[slot] == 1 and replica.writes == [*WRITES, 77], 3 * T)


@pytest.mark.parametrize("factor", [10, 0])
def test_with_an_old_file_a_replica_takes_over_only_where_it_may(factor: int) -> None:
    """cluster-replica-validity-factor counts from when the file was written, not from when it was read."""
    world, nodes = settled(2993, replica_validity_factor=factor, repl_ping_replica_period_s=1)
    primary = nodes[0]
    slot, replica = own_slot(primary), replicas_of(nodes, primary)[0]
    replica.kill()
    replica.durable = True
    world.run(60_000)
    primary.kill()
    replica.start()
    world.run(5 * T)
    assert bool(replica.cluster.served[slot]) is (factor == 0)
    if factor:
        assert any("Disconnected from master for longer than allowed" in line for line in replica.logs)


def test_a_file_of_another_shard_is_no_reason_to_ask() -> None:
    world, nodes = settled(2992)
    primary = nodes[0]
    slot, replica = own_slot(primary), replicas_of(nodes, primary)[0]
    for node in (primary, replica):
        node.kill()
    replica.durable, replica.file_shard = True, nodes[1].cluster.shard
    replica.start()
    primary.start()
    assert not replica.cluster.comeback.loaded
    world.run(1400)
    assert not primary.cluster.served[slot] and replica.cluster.comeback.asks_since_ms is None


def test_of_several_replicas_the_best_takes_the_place_of_an_empty_primary() -> None:
    world, _nodes, primary, behind, ahead, slot = lagging(2960)
    primary.kill()
    primary.start()
    owner, _ = until_owner(world, slot, [behind, ahead], 3000)
    assert owner is ahead
    behind.lag = 0
    world.run_until(lambda: primary.writes == behind.writes == ahead.writes and world.agreed(), 3 * T)


def test_where_no_replica_may_take_over_the_primary_goes_on_in_the_end() -> None:
    world, nodes = settled(2970)
    primary = nodes[0]
    slot = own_slot(primary)
    replica = replicas_of(nodes, primary)[0]
    replica.unwilling = True
    primary.kill()
    primary.start()
    took_ms = world.run_until(lambda: primary.cluster.served[slot] == 1, longest_wait_ms(T) + 2 * T)
    assert took_ms >= longest_wait_ms(T) - 500
    assert primary.write(slot, 1)
    world.run_until(lambda: replica.writes == [1] and world.agreed(), longest_wait_ms(T))


def test_a_replica_that_may_not_fail_over_is_not_waited_for() -> None:
    world, nodes = settled(2975, replica_no_failover=True)
    primary = nodes[0]
    slot = own_slot(primary)
    primary.kill()
    primary.start()
    world.run_until(lambda: primary.cluster.served[slot] == 1 and world.agreed(), 3000)
    world.run_until(lambda: not replicas_of(nodes, primary)[0].writes, 500)


def test_a_cluster_that_restarts_as_a_whole_waits_for_nobody() -> None:
    world, nodes = settled(2980)
    for node in nodes:
        node.kill()
    world.run(500)
    for node in nodes:
        node.start()
    world.run_until(lambda: all(any(node.cluster.served) for node in nodes[:3]) and world.agreed(), 3000)


# --- the checks themselves --------------------------------------------------------------------------------------------


def test_a_voter_that_votes_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    world, nodes = settled(3100)
    candidate = replicas_of(nodes, nodes[0])[0]
    nodes[0].kill()
    world.run_until(lambda: bool(world.votes), 2 * T)
    voter = next(node for node in nodes if (node.name, candidate.cluster.current_epoch) in world.votes)
    member = voter.cluster.members[candidate.id]
    link = member.inbound or member.link
    assert link is not None
    asks_again = replace(candidate.cluster.header(), current_epoch=voter.cluster.last_vote_epoch)
    voting.requested(voter.cluster, member, asks_again, link, world.now_ms)
    voter.carry_out(voter.cluster.step(Tick(), world.now_ms))
    monkeypatch.setattr(voting, "_refusal", lambda *_: "")
    member.primary = voter.cluster.members[nodes[0].id]
    voting.requested(voter.cluster, member, asks_again, link, world.now_ms)
    with pytest.raises(AssertionError, match="votes twice in epoch"):
        voter.carry_out(voter.cluster.step(Tick(), world.now_ms))


def test_a_vote_that_is_not_saved_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    saved_state = Cluster.saved_state
    monkeypatch.setattr(Cluster, "saved_state", lambda self: replace(saved_state(self), last_vote_epoch=0))
    world, nodes = settled(3110)
    nodes[0].kill()
    with pytest.raises(AssertionError, match="votes before it is saved"):
        world.run(3 * T)
