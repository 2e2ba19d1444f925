"""A primary acknowledges nothing that will be lost: not when it is cut off, not when it has slept.

The clients here stand behind the very guard that connections ask (`node/gate.py`), with the world's clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cluster import contact, events
from gossip.messages import MessageType
from node.gate import Guard, Verdict
from tests.simulation.network import Faults
from tests.simulation.nodes import Replies, SimNode
from tests.simulation.test_failover import own_slot, replicas_of
from tests.simulation.world import World

T = 2000
BAR_MS = 100


class Client:
    """Writes numbers to a slot of one node, which may be paused. acked: what was acknowledged, and when.

    waited_ms: the longest that a reply waited behind its write. unknown: writes that were done and never answered.
    """

    def __init__(self, world: World, node: SimNode) -> None:
        self.world, self.node, self.slot = world, node, own_slot(node)
        self.acked: list[tuple[int, int]] = []
        self.refused: list[int] = []
        self.queued: list[int] = []
        self.held: list[int] = []
        self.replies = Replies(self.answer)
        self.unknown: list[int] = []
        self.waited_ms = 0
        self.written: dict[int, int] = {}
        self.guard = Guard(
            node.cluster,
            lambda: world.now_ms * 1_000_000,
            node.check_lease,
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
        now_ns, guard = self.world.now_ms * 1_000_000, self.guard
        if now_ns >= guard.until_ns and guard.ask(self, done=False) is Verdict.WAIT:
            self.held.append(value)
        elif self.node.write(self.slot, value):
            self._reply(value)
        else:
            self.refused.append(value)

    def _reply(self, value: int) -> None:
        """As a connection at the end of its loop turn (`Server._end_turn`, `Connection.leave`)."""
        now_ns, guard = self.world.now_ms * 1_000_000, self.guard
        self.written[value] = self.world.now_ms
        if now_ns >= guard.asks_ns:
            self.node.wrote()
        verdict = Verdict.GO_ON if now_ns < guard.answers_ns else guard.ask(self.replies, done=True)
        if verdict is Verdict.WAIT:
            self.replies.values.append(value)
        else:
            self.answer(value, verdict is Verdict.GO_ON)

    def answer(self, value: int, kept: bool) -> None:
        """The reply leaves, or the connection ends."""
        if kept:
            self.waited_ms = max(self.waited_ms, self.world.now_ms - self.written[value])
            self.acked.append((self.world.now_ms, value))
        else:
            self.unknown.append(value)

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
def test_a_primary_that_is_cut_off_loses_what_it_acknowledged_in_a_tenth_of_a_second(seed: int) -> None:
    world, nodes, client = settled(5000 + seed)
    primary, others = nodes[0], nodes[1:]
    client.write_on(6000 + 60 * seed)
    world.run(60 * seed)
    world.network.partition([primary.name], [node.name for node in others])
    cut_ms = world.now_ms
    world.run_until(lambda: any(node.cluster.served[client.slot] for node in others), 2 * T)
    taken_ms = world.now_ms - cut_ms
    world.run(6000)
    last_ms = max(at_ms for at_ms, _ in client.acked) - cut_ms
    done_ms = max(client.written.values()) - cut_ms
    print(f"last acknowledged {last_ms} ms after the cut, last done after {done_ms} ms, successor after {taken_ms} ms, "
          f"{len(lost(client, nodes))} acknowledged and lost")
    assert last_ms <= contact.LEAST_MS and len(lost(client, nodes)) <= contact.LEAST_MS / 5
    assert T / 2 <= done_ms <= T + BAR_MS and done_ms <= taken_ms, "never two that take writes"
    assert client.unknown and not client.replies.values, "who waits for a reply learns that there is none"
    assert client.refused and not client.held, "and who comes later that the cluster is down"
    world.network.heal()
    world.run_until(world.agreed, 4 * T)
    assert primary.cluster.myself.is_replica


def test_nor_does_a_replica_that_is_cut_off_with_it_cover_anything() -> None:
    """While the other one, on the voters' side, is about to take over."""
    world, nodes, client = settled(5010, count=9, replicas=2)
    primary, (companion, _) = nodes[0], replicas_of(nodes, nodes[0])
    client.write_on(3000)
    world.run(1000)
    world.network.partition(
        [primary.name, companion.name], [node.name for node in nodes if node not in (primary, companion)]
    )
    cut_ms = world.now_ms
    world.run(3 * T)
    assert max(at_ms for at_ms, _ in client.acked) - cut_ms <= contact.LEAST_MS
    assert client.unknown and len(lost(client, nodes)) <= contact.LEAST_MS / 5


def test_a_partition_that_ends_early_costs_nothing_but_time() -> None:
    world, nodes, client = settled(5020)
    client.write_on(3000)
    world.run(500)
    world.network.partition([nodes[0].name], [node.name for node in nodes[1:]])
    world.run(800)
    assert client.replies.values
    world.network.heal()
    world.run(3000)
    assert len(client.acked) == 600 and not client.unknown and not client.refused and lost(client, nodes) == []
    assert 600 <= client.waited_ms <= 1200


@pytest.mark.parametrize("what", ["nothing", "a stopped replica", "a dead replica", "a replica that lags", "a dead voter"])
def test_nobody_waits_where_nobody_is_cut_off(what: str) -> None:
    """As long as some of them answer, writers do not feel who asks whom."""
    world, nodes, client = settled(5030)
    world.disturb(Faults(delay_ms=(0, 5)))
    (replica,) = replicas_of(nodes, nodes[0])
    client.write_on(6000)
    world.run(1000)
    if what == "a stopped replica":
        replica.pause()
    elif what == "a dead replica":
        replica.kill()
    elif what == "a replica that lags":
        replica.lag = 50
    elif what == "a dead voter":
        next(node for node in nodes[1:] if node.cluster.myself.is_primary).kill()
    world.run(6000)
    print(f"the longest wait: {client.waited_ms} ms")
    assert client.waited_ms == 0 and not client.unknown
    assert len(client.acked) == 1200 or what == "a dead voter", "whose slots nobody serves for a while"


def test_in_health_voters_are_not_asked_more_for_writers_sake() -> None:
    pings = []
    for writes in (False, True):
        world, nodes, client = settled(5040)
        if writes:
            client.write_on(5000)
        world.run(1000)
        before = dict(nodes[0].cluster.counters.sent)
        world.run(4000)
        pings.append(nodes[0].cluster.counters.sent[MessageType.PING] - before[MessageType.PING])
    print(f"pings in 4 s: {pings}")
    assert abs(pings[1] - pings[0]) <= pings[0] * 0.15


def test_a_long_way_to_everybody_makes_nobody_wait_for_it_again_and_again() -> None:
    world, _, client = settled(5050)
    world.disturb(Faults(delay_ms=(100, 120)))
    client.write_on(5000)
    world.run(6000)
    waits = sorted(at_ms - client.written[value] for at_ms, value in client.acked)
    assert len(waits) == 1000 and not client.unknown
    assert waits[-1] <= 2 * 240 and waits[800] == 0, "at first, until it is known how long the way is"


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
