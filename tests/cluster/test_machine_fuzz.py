"""Whatever peers say, in whatever order: the machine does not fall over, and its tables stay of one piece."""

from __future__ import annotations

from random import Random

import pytest

from cluster.events import ClusterError, Connect, LinkAccepted, LinkClosed, LinkOpened, Persist, Received, Send, Tick
from cluster.machine import Cluster
from cluster.nodes_conf import format_nodes_conf, parse_nodes_conf
from cluster.slotmap import bits_of
from cluster.slots import slots_to_bitmap
from gossip.ids import NodeId, ShardId
from gossip.members import FAIL, HANDSHAKE, PFAIL, PRIMARY, REPLICA
from gossip.messages import (
    SLOT_COUNT,
    Extensions,
    Fail,
    FailoverAuthAck,
    FailoverAuthRequest,
    GossipEntry,
    Header,
    LightPublish,
    Message,
    MessageFlag,
    MessageType,
    MfStart,
    Module,
    NodeFlag,
    Ping,
    Publish,
    Update,
)
from tests.cluster.machines import ME, NOW, B, C, D, three

POOL = [ME, B, C, D, *(NodeId(digit * 40) for digit in "16789af")]
IPS = ["10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.99", "", "::1"]


class Chaos:
    """Draws messages and orders that no honest peer would send, beside those that one would."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.cluster = three(require_full_coverage=bool(seed % 2))
        self.now_ms = NOW
        self.links: list[int] = []

    def _node(self) -> NodeId:
        return self.random.choice(POOL)

    def _flags(self) -> NodeFlag:
        return NodeFlag(self.random.choice((1, 2, 1, 2, 3, 0, self.random.randrange(4096))))

    def _slots(self) -> bytes:
        first = self.random.randrange(SLOT_COUNT)
        return slots_to_bitmap(range(first, min(SLOT_COUNT, first + self.random.choice((0, 1, 100, 6000)))))

    def _header(self) -> Header:
        random = self.random
        return Header(
            self._node(), random.randrange(3), random.choice((0, 17000)), self._flags(), random.randrange(12),
            random.choice((random.randrange(12), 2**64 - 1)), random.randrange(100), self._slots(),
            random.choice((None, self._node())), random.choice(IPS), 0, True,
            MessageFlag(random.choice((0, 4))),
        )

    def _entry(self) -> GossipEntry:
        random = self.random
        return GossipEntry(self._node(), 0, self.now_ms // 1000 + random.randrange(-5, 5), random.choice(IPS),
                           random.randrange(3), random.choice((0, 17000)), self._flags())

    def _message(self) -> Message:
        random, header = self.random, self._header()
        kind = random.randrange(14)
        if kind < 6:
            forgotten = ((self._node(), random.randrange(60)),) if random.random() < 0.05 else ()
            told = Extensions("h.example", None, ShardId(self._node()), forgotten) if random.random() < 0.3 else None
            gossip = tuple(self._entry() for _ in range(random.randrange(4)))
            return Ping(random.choice(list(MessageType)[:3]), header, gossip, told or Extensions())
        return (
            Fail(header, self._node()),
            Publish(header, b"c", b"m", random.random() < 0.5),
            LightPublish(b"c", b"m"),
            FailoverAuthRequest(header),
            FailoverAuthAck(header),
            Update(header, random.randrange(20), self._node(), self._slots()),
            MfStart(header),
            Module(header, 1, 2, b"x"),
        )[kind - 6]

    def act(self) -> list[object]:
        """One random event or order; its effects."""
        random, cluster = self.random, self.cluster
        self.now_ms += random.choice((0, 1, 50, 100, 900))
        kind = random.randrange(20)
        if kind < 4:
            return list(cluster.step(Tick(), self.now_ms))
        if kind == 4 or not self.links:
            self.links.append(cluster.new_link())
            return list(cluster.step(LinkAccepted(self.links[-1], random.choice(IPS), "10.0.0.5"), self.now_ms))
        if kind == 5:
            return list(cluster.step(LinkClosed(random.choice(self.links)), self.now_ms))
        if kind == 6:
            return list(cluster.step(LinkOpened(random.choice(self.links), "10.0.0.5"), self.now_ms))
        if kind == 7:
            return self._order()
        return list(cluster.step(Received(random.choice(self.links[-6:]), self._message()), self.now_ms))

    def _order(self) -> list[object]:
        random, orders, now_ms = self.random, self.cluster.operations, self.now_ms
        slot, node = random.choice((0, 1, 6000, 16383)), self._node()
        choices = (
            lambda: orders.meet(random.choice(IPS), 7000, 17000, now_ms),
            lambda: orders.forget(node, now_ms),
            lambda: orders.replicate(node, False, now_ms),
            lambda: orders.reset(random.random() < 0.3, False, now_ms),
            lambda: orders.add_slots([slot], now_ms) if self.cluster.owner(slot) is None else [],
            lambda: orders.del_slots([slot], now_ms),
            lambda: orders.set_slot_migrating(slot, node, now_ms),
            lambda: orders.set_slot_importing(slot, node, now_ms),
            lambda: orders.set_slot_node(slot, node, False, now_ms),
            lambda: orders.bump_epoch(now_ms)[2],
        )
        # A reset ends the story so far: rare.
        pick = random.randrange(len(choices))
        if pick == 3 and random.random() < 0.9:
            return []
        try:
            return list(choices[pick]())
        except ClusterError:
            return []


def check(cluster: Cluster) -> None:
    """What must hold of one machine's tables."""
    table, members = cluster.slotmap, cluster.members
    assert members[cluster.myself.id] is cluster.myself
    assert sorted(member.id for member in cluster.gossip.members.everyone) == sorted(members)
    together = 0
    for owner in table.owners():
        assert not together & table.bits(owner), "a slot with two owners"
        together |= table.bits(owner)
        assert members[owner].slot_count == table.count(owner) > 0
    assert table.assigned == together.bit_count()
    assert {*table.migrating.values(), *table.importing.values()} <= members.keys()
    for place, member in enumerate(cluster.gossip.members.everyone):
        assert member.place == place
        assert member.flags & (PFAIL | FAIL) != PFAIL | FAIL
        assert member.primary is None or member in member.primary.replicas
        assert all(replica.primary is member for replica in member.replicas)
        assert member.slot_count == table.count(member.id)
        for link in (member.link, member.inbound):
            assert link is None or (cluster.gossip.links[link.id] is link and link.member is member)
    myself = cluster.myself
    assert bool(myself.flags & PRIMARY) != bool(myself.flags & REPLICA)
    assert not myself.flags & (PFAIL | FAIL | HANDSHAKE)
    assert myself.is_primary or not myself.slot_count
    served = bits_of(slot for slot, one in enumerate(cluster.served) if one)
    mine = table.bits(myself.id) & ~bits_of(table.migrating) & ~bits_of(table.importing)
    assert served == (mine if cluster.ok and myself.is_primary else 0)


@pytest.mark.parametrize("seed", range(25))
def test_any_message_in_any_order(seed: int) -> None:
    chaos = Chaos(seed)
    for step in range(400):
        epoch, own = chaos.cluster.current_epoch, chaos.cluster.myself.id
        effects = chaos.act()
        chaos.links += [effect.link for effect in effects if isinstance(effect, Connect)]
        assert Persist() not in effects[1:], "whatever is to be saved is saved first"
        if step % 20 == 0:
            check(chaos.cluster)
        if chaos.cluster.myself.id == own:
            assert chaos.cluster.current_epoch >= epoch
        if chaos.cluster.current_epoch > epoch and any(isinstance(effect, Send) for effect in effects):
            assert effects[0] == Persist()
    check(chaos.cluster)
    state = chaos.cluster.saved_state()
    assert parse_nodes_conf(format_nodes_conf(state)).current_epoch >= state.current_epoch
