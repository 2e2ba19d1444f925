"""A primary acknowledges nothing that will be lost: not when it is cut off, not when it has slept.

The clients here stand behind the very guard that connections ask (`node/gate.py`), with the world's clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cluster import events
from node.gate import Guard, Verdict
from tests.simulation.network import Faults
from tests.simulation.nodes import SimNode
from tests.simulation.test_failover import own_slot, replicas_of
from tests.simulation.world import World

T = 2000
BAR_MS = 100


class Client:
    """Writes numbers to a slot of one node, which may be paused. acked: what was acknowledged, and when."""

    def __init__(self, world: World, node: SimNode) -> None:
        self.world, self.node, self.slot = world, node, own_slot(node)
        self.acked: list[tuple[int, int]] = []
        self.refused: list[int] = []
        self.queued: list[int] = []
        self.held: list[int] = []
        self.guard = Guard(
            node.cluster,
            lambda: world.now_ms * 1_000_000,
            lambda: node.carry_out(node.cluster.check_lease(world.now_ms)),
            lambda seconds, action: world.clock.after(round(seconds * 1000), action),
        )
        carry_out = node.carry_out

        def and_refresh(effects: Sequence[events.Effect], cause: events.Event | None = None) -> None:
            carry_out(effects, cause)
            self.guard.refresh()

        node.carry_out = and_refresh  # type: ignore[method-assign]

    def write(self, value: int) -> None:
        if self.node.paused_events is not None:
            self.queued.append(value)
            return
        now_ns = self.world.now_ms * 1_000_000
        guard = self.guard
        if now_ns >= guard.until_ns and guard.ask(self, done=False) is Verdict.WAIT:
            self.held.append(value)
        elif self.node.write(self.slot, value):
            self.acked.append((self.world.now_ms, value))
        else:
            self.refused.append(value)

    def released(self, kept: bool) -> None:
        held, self.held = self.held, []
        for value in held:
            self.write(value)

    def write_on(self, duration_ms: int, first: int = 1000) -> None:
        """A write every 5 ms."""
        for index in range(duration_ms // 5):
            self.world.clock.after(index * 5, lambda value=first + index: self.write(value))

    def wake(self, *, clients_first: bool) -> None:
        """Let the node go on; what has waited in its sockets comes in some order."""
        waiting, self.node.paused_events = self.node.paused_events or [], None
        queued, self.queued = self.queued, []
        if clients_first:
            for value in queued:
                self.write(value)
        for event in waiting:
            self.node.step(event)
        if not clients_first:
            for value in queued:
                self.write(value)


def settled(seed: int, count: int = 6, replicas: int = 1, **settings: object) -> tuple[World, list[SimNode], Client]:
    world = World(seed, timeout_ms=T)
    world.settings = settings
    nodes = world.planned(count, replicas)
    world.run_until(world.agreed, 1000)
    world.run(3000)
    client = Client(world, nodes[0])
    world.run(200)
    return world, nodes, client


def lost(client: Client, nodes: list[SimNode]) -> list[int]:
    """Acknowledged values that the owner of the slot has not."""
    (owner,) = [node for node in nodes if node.running and node.cluster.served[client.slot]]
    return [value for _, value in client.acked if value not in owner.writes]


@pytest.mark.parametrize("seed", range(8))
def test_a_primary_that_is_cut_off_acknowledges_nothing_later_than_the_timeout(seed: int) -> None:
    world, nodes, client = settled(5000 + seed)
    primary, others = nodes[0], nodes[1:]
    world.network.partition([primary.name], [node.name for node in others])
    cut_ms = world.now_ms
    client.write_on(6000)
    world.run_until(lambda: any(node.cluster.served[client.slot] for node in others), 2 * T)
    taken_ms = world.now_ms - cut_ms
    world.run(6000)
    last_ms = max(at_ms for at_ms, _ in client.acked) - cut_ms
    print(f"last acknowledged {last_ms} ms after the cut, successor after {taken_ms} ms, "
          f"{len(client.acked)} acknowledged and lost")
    assert T / 2 <= last_ms <= T + BAR_MS
    assert last_ms <= taken_ms, "never two that acknowledge"
    assert client.refused and not client.held, "and says that the cluster is down"
    world.network.heal()
    world.run_until(world.agreed, 4 * T)
    assert primary.cluster.myself.is_replica


@pytest.mark.parametrize("clients_first", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_primary_that_slept_past_its_failover_acknowledges_nothing(seed: int, clients_first: bool) -> None:
    world, nodes, client = settled(5100 + seed)
    primary, (heir,) = nodes[0], replicas_of(nodes, nodes[0])
    client.write(1)
    world.run(500)
    primary.pause()
    world.run_until(lambda: heir.cluster.served[client.slot] == 1, 3 * T)
    world.run(100 * seed)
    for value in range(5000):
        client.write(value + 10)
    client.wake(clients_first=clients_first)
    assert len(client.held) == 5000 or primary.cluster.myself.is_replica
    world.run(1000)
    assert [value for _, value in client.acked] == [1] and not client.held and len(client.refused) == 5000
    assert primary.cluster.myself.is_replica
    assert lost(client, nodes) == []


@pytest.mark.parametrize("pause_ms", [300, 1500, 2500, 9000])
@pytest.mark.parametrize("seed", range(2))
def test_a_primary_that_slept_and_was_not_replaced_goes_on(seed: int, pause_ms: int) -> None:
    """Its clients wait a few round trips, no more: nobody is told that the cluster is down."""
    world, nodes, client = settled(5200 + seed, replica_no_failover=True)
    primary = nodes[0]
    primary.pause()
    for value in range(100):
        client.write(value)
    world.run(pause_ms)
    woke_ms = world.now_ms
    client.wake(clients_first=True)
    world.run(1000)
    assert [value for _, value in client.acked] == list(range(100)) and not client.refused
    waited_ms = client.acked[-1][0] - woke_ms
    print(f"slept {pause_ms} ms, answered after {waited_ms} ms")
    assert waited_ms <= 100
    assert (waited_ms == 0) is (pause_ms < T)
    assert primary.cluster.ok


def test_who_slept_and_is_alone_afterwards_is_down_after_the_timeout() -> None:
    world, nodes, client = settled(5300)
    primary = nodes[0]
    primary.pause()
    world.run(500)
    world.network.partition([primary.name], [node.name for node in nodes[1:]])
    world.run(T)
    client.write(7)
    client.wake(clients_first=True)
    world.run(T - 200)
    assert client.held == [7]
    world.run(500)
    assert client.refused == [7] and not client.held and not client.acked and not primary.cluster.ok


def test_sleepers_confirm_each_other() -> None:
    """Two of three primaries slept while the third is gone: they verify with each other, and go on."""
    world, nodes, client = settled(5400, count=3, replicas=0)
    first, second, third = nodes
    third.kill()
    world.run(100)
    first.pause()
    second.pause()
    world.run(3 * T)
    client.write(5)
    second.resume()
    client.wake(clients_first=True)
    world.run(300)
    assert first.cluster.lease.verifying_ms == second.cluster.lease.verifying_ms == 0
    assert [value for _, value in client.acked] == [5]


@pytest.mark.parametrize(("count", "replicas", "timeout_ms"), [(3, 0, 2000), (6, 1, 500), (6, 1, 15_000), (30, 1, 2000)])
def test_a_lease_never_comes_near_its_end_in_health(count: int, replicas: int, timeout_ms: int) -> None:
    world = World(5500 + count, timeout_ms=timeout_ms)
    nodes = world.planned(count, replicas)
    world.run_until(world.agreed, 1000)
    world.disturb(Faults(delay_ms=(0, 20)))
    world.run(timeout_ms)
    primaries = [node.cluster for node in nodes if node.cluster.myself.is_primary]
    least_ms = timeout_ms
    for _ in range(100):
        world.run(50)
        for cluster in primaries:
            assert cluster.ok
            until_ms = cluster.serves_until_ms
            assert until_ms is not None
            least_ms = min(least_ms, until_ms - world.now_ms)
    print(f"{count} nodes, timeout {timeout_ms} ms: never less than {least_ms} ms left")
    assert least_ms >= timeout_ms / 4


def test_one_primary_needs_no_lease() -> None:
    world = World(5600, timeout_ms=T)
    nodes = world.planned(3, 2)
    world.run_until(world.agreed, 1000)
    client = Client(world, nodes[0])
    world.network.partition([nodes[0].name], [node.name for node in nodes[1:]])
    client.write_on(3 * T)
    world.run(3 * T)
    assert not client.refused and nodes[0].cluster.serves_until_ms is None
