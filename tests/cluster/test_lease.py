"""The lease on the machine alone: what proves a majority, and what sleep does to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster import lease
from cluster.events import Effect, Log, Send, Tick
from cluster.health import rejoin_delay_ms
from cluster.machine import Cluster
from cluster.slots import slots_to_bitmap
from gossip.ids import NodeId
from gossip.members import FAIL
from gossip.messages import MessageType, NodeFlag, Ping, Update
from tests.cluster.machines import ME, NOW, SETTINGS, SLOTS, B, C, Caller, D, Peer, header, ping, three

T = SETTINGS.node_timeout_ms
HEADERS = {
    B: header(B, 2), C: header(C, 3),
    D: header(D, 1, flags=NodeFlag.REPLICA, primary=ME, slots=slots_to_bitmap(SLOTS[ME])),
}


class Three:
    """The machine among peers that answer at once, as far as they do."""

    def __init__(self) -> None:
        self.cluster: Cluster = three()
        self.logs: list[str] = []
        self.now_ms = NOW
        self.cluster.step(Tick(), NOW)
        self.peers = {node: Peer(self.cluster, node) for node in HEADERS}
        self.answering = set(HEADERS)
        self.tick()

    def tick(self, after_ms: int = 0) -> None:
        self.now_ms += after_ms
        effects = self.cluster.step(Tick(), self.now_ms)
        self.logs += [one.text for one in effects if isinstance(one, Log)]
        self.answer()

    def answer(self) -> list[Effect]:
        """Every ping has its pong."""
        effects: list[Effect] = []
        for node in HEADERS:
            link = self.cluster.members[node].link
            while node in self.answering and link is not None and link.pings:
                effects += self.say(node, ping(HEADERS[node], kind=MessageType.PONG))
        return effects

    def say(self, node: NodeId, message: Ping | Update) -> list[Effect]:
        self.peers[node].now_ms = self.now_ms
        return self.peers[node].says(message)

    def until_ms(self) -> int:
        until_ms = self.cluster.serves_until_ms
        assert until_ms is not None
        return until_ms


def test_the_lease_counts_from_when_the_answered_ping_was_sent() -> None:
    world = Three()
    for _ in range(20):
        world.tick(100)
    assert world.now_ms + T - 400 <= world.until_ms() <= world.now_ms + T
    world.answering = {D}
    world.tick(100)
    sent_ms = {node: world.cluster.members[node].link.pings for node in (B, C)}  # type: ignore[union-attr]
    before = lease.end_ms(world.cluster)
    for _ in range(7):
        world.tick(100)
    assert lease.end_ms(world.cluster) == before, "a replica is no voter"
    sent_ms = {node: list(world.cluster.members[node].link.pings) for node in (B, C)}  # type: ignore[union-attr]
    world.say(C, ping(HEADERS[C], kind=MessageType.PONG))
    assert lease.end_ms(world.cluster) == sent_ms[C][0] + T, "one other of three is a majority with this node"


def test_without_a_majority_it_ends_to_the_tick() -> None:
    world = Three()
    for _ in range(10):
        world.tick(100)
    end_ms = world.until_ms()
    world.answering = set()
    while world.now_ms + 100 <= end_ms:
        world.tick(100)
        assert world.cluster.ok
    assert world.now_ms < end_ms + 1 and world.until_ms() == end_ms
    world.now_ms = end_ms + 1
    world.cluster.check_lease(world.now_ms)
    assert not world.cluster.ok and world.cluster.serves_until_ms is None, "refused by the state of the cluster"


@pytest.mark.parametrize("jump_ms", [5_000, 86_400_000])
def test_a_sleep_is_verified_and_forgotten(jump_ms: int) -> None:
    world = Three()
    for _ in range(10):
        world.tick(100)
    world.now_ms += jump_ms
    world.cluster.check_lease(world.now_ms)
    assert world.until_ms() == 0 and world.cluster.ok
    world.answer()
    world.now_ms += 1
    world.cluster.check_lease(world.now_ms)
    world.answer()
    world.now_ms += 1
    world.cluster.check_lease(world.now_ms)
    assert world.now_ms < world.until_ms() <= world.now_ms + T, "never longer than a timeout"
    for _ in range(30):
        world.tick(100)
        assert world.cluster.ok and world.now_ms < world.until_ms() <= world.now_ms + T
        assert not any(one.flags & (NodeFlag.PFAIL | NodeFlag.FAIL) for one in world.cluster.members.values())


def asleep() -> Three:
    world = Three()
    for _ in range(10):
        world.tick(100)
    world.now_ms += 3 * T
    world.cluster.check_lease(world.now_ms)
    assert world.until_ms() == 0
    return world


def test_an_answer_to_a_ping_from_before_proves_nothing() -> None:
    world = Three()
    for _ in range(10):
        world.tick(100)
    world.answering = set()
    world.tick(300)
    pings = {node: list(world.cluster.members[node].link.pings) for node in (B, C)}  # type: ignore[union-attr]
    assert all(pings.values())
    world.now_ms += 3 * T
    for node in (B, C):
        world.say(node, ping(HEADERS[node], kind=MessageType.PONG))
    world.cluster.check_lease(world.now_ms)
    assert world.until_ms() == 0
    for node in (B, C):
        for _ in range(len(pings[node]) - 1):
            world.say(node, ping(HEADERS[node], kind=MessageType.PONG))
    assert not world.cluster.lease.second


def test_two_rounds_and_the_replicas_word() -> None:
    world = asleep()
    world.answering = {B, C}
    world.answer()
    world.now_ms += 1
    world.cluster.check_lease(world.now_ms)
    world.answer()
    world.now_ms += 1
    world.cluster.check_lease(world.now_ms)
    assert world.until_ms() == 0, "the replica has said nothing yet: it may be the successor"
    world.answering = {B, C, D}
    world.answer()
    assert world.until_ms() > world.now_ms


def test_the_successor_is_heard_before_anything_is_served() -> None:
    world = asleep()
    heir = header(D, 4, current_epoch=4, slots=slots_to_bitmap(SLOTS[ME]))
    for node in (B, C):
        world.say(node, ping(HEADERS[node], kind=MessageType.PONG))
    world.say(D, ping(heir, kind=MessageType.PONG))
    assert world.cluster.myself.is_replica and world.cluster.serves_until_ms is None
    assert not any(world.cluster.served)


def test_a_voter_that_knows_better_says_so_before_its_pong() -> None:
    """Over the link that the outdated primary has made: there it can believe it."""
    cluster = three()
    cluster.step(Tick(), NOW)
    claim = header(B, 2, slots=slots_to_bitmap([*SLOTS[B], *SLOTS[C]]))
    caller = Caller(cluster, B)
    sent = [one for one in caller.says(ping(claim)) if isinstance(one, Send) and one.link == caller.link]
    assert [type(one.message) for one in sent] == [Update, Ping]
    world = asleep()
    update = Update(replace(header(B, 2), current_epoch=4), 4, D, slots_to_bitmap(SLOTS[ME]))
    world.say(B, update)
    assert world.cluster.myself.is_replica and world.cluster.slotmap.count(D) == len(SLOTS[ME])


def test_whom_a_rumour_names_as_owner_must_speak() -> None:
    """A real server sends its UPDATE over its own link: no proof, but a reason to wait for the one it names."""
    world = asleep()
    world.answering = {B, C}
    world.cluster.members[D].flags |= NodeFlag.PFAIL
    rumour = Caller(world.cluster, B)
    rumour.now_ms = world.now_ms
    rumour.says(Update(header(B, 2), 4, D, slots_to_bitmap(SLOTS[ME])))
    for _ in range(3):
        world.answer()
        world.now_ms += 1
        world.cluster.check_lease(world.now_ms)
    assert world.until_ms() == 0 and world.cluster.myself.is_primary
    world.now_ms += T // 2
    world.cluster.check_lease(world.now_ms)
    assert world.until_ms() > 0, "but not for ever"


def test_renewing_asks_no_more_voters_than_the_majority_takes() -> None:
    world = Three()
    for member in world.cluster.members.values():
        member.pong_received_ms = NOW + 60_000  # As gossip tells it: the ordinary pings see no need.
    world.answering = set()
    asked: set[NodeId] = set()
    for at_ms in range(100, 700, 100):
        world.cluster.step(Tick(), NOW + at_ms)
        asked |= {node for node in (B, C) if world.cluster.members[node].link.pings}  # type: ignore[union-attr]
        if at_ms == 600:
            assert len(asked) == 1
    world.now_ms = NOW + 600
    for at_ms in range(700, 1300, 100):
        world.cluster.step(Tick(), NOW + at_ms)
    assert all(world.cluster.members[node].link.pings for node in (B, C)), "another when the first is silent"  # type: ignore[union-attr]


def test_who_slept_while_the_cluster_was_down_does_not_serve_on_the_first_answer() -> None:
    """Down for a slot without an owner, then SIGSTOP: others may have replaced this node meanwhile."""
    world = Three()
    for _ in range(60):
        world.tick(100)
    other = world.cluster.members[C]
    other.flags |= FAIL
    world.cluster.out.reassess = True
    world.tick(100)
    assert not world.cluster.ok
    world.now_ms += 60_000
    other.flags &= ~FAIL
    awake_ms = world.now_ms
    while not world.cluster.ok:
        world.tick(100)
        assert world.now_ms < awake_ms + 2 * rejoin_delay_ms(T)
    assert world.now_ms - awake_ms >= rejoin_delay_ms(T)
