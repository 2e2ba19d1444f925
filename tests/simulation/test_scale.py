"""The bus of large clusters: what is sent and how soon a failure is known, and what one node has to do for a thousand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

from cluster import events
from cluster.machine import Cluster
from cluster.settings import ClusterSettings
from cluster.topology import plan, saved_state
from gossip.codec import GOSSIP_ENTRY_BYTES, HEADER_BYTES
from gossip.ids import Address, NodeId
from gossip.members import PFAIL
from gossip.messages import GossipEntry, Header, MessageFlag, MessageType, NodeFlag, Ping
from gossip.pings import GOSSIP_MOST, gossip_entry
from gossip.watch import PING_MEMBERS, SPREAD_MAX
from tests.simulation.scale import measure

NOW = 1_700_000_000_000
T = 2000


def test_a_failure_is_known_everywhere_in_time_for_few_messages() -> None:
    one = measure(50, timeout_ms=1000, settles_ms=0, watched_ms=500)
    print(one)
    assert one.messages * one.timeout_ms / 1000 <= 2 * PING_MEMBERS, "each ping with its answer"
    assert one.entries <= 5
    assert one.size <= one.messages * (HEADER_BYTES + 5 * GOSSIP_ENTRY_BYTES + 64)
    assert one.timeout_ms <= one.killed_ms <= 2 * one.timeout_ms
    assert one.timeout_ms <= one.silent_ms <= 2 * one.timeout_ms


class Lone:
    """One primary of a planned cluster, whose peers are a script: who is not silent answers every ping, and tells of a few
    others who are not either."""

    def __init__(self, count: int) -> None:
        random = self._random = Random(7)
        layout = plan([Address(f"10.0.{at // 250}.{at % 250 + 1}", 7000, 17000) for at in range(count)], 2, random)
        saved = saved_state(layout, layout[0].id)
        settings = ClusterSettings(port=7000, bus_port=17000, node_timeout_ms=T)
        self.now_ms = NOW
        self.cluster = Cluster.from_saved(saved, settings, random, now_ms=NOW)
        self.silent: set[NodeId] = set()
        self.pings: list[Ping] = []
        """Sent in the last tick."""
        self.tick_ns: list[int] = []
        """Of CPU, for each tick."""
        bitmap = self.cluster.slotmap.bitmap
        self._headers = {
            node.id: Header(
                node.id, 7000, 17000, node.flags & ~NodeFlag.MYSELF, saved.current_epoch, node.config_epoch, 0,
                bitmap(node.primary or node.id), node.primary, message_flags=MessageFlag.EXTENSIONS,
            )
            for node in saved.nodes
        }

    def tick(self, times: int = 1) -> None:
        """Let time pass."""
        for _ in range(times):
            self.now_ms += 100
            self.pings.clear()
            began_ns = time.process_time_ns()
            effects = self.cluster.step(events.Tick(), self.now_ms)
            self.tick_ns.append(time.process_time_ns() - began_ns)
            self._carry_out(effects)

    def _carry_out(self, effects: Sequence[events.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, events.Connect):
                self._carry_out(self.cluster.step(events.LinkOpened(effect.link), self.now_ms))
            elif isinstance(effect, events.Send) and isinstance(effect.message, Ping):
                self.pings.append(effect.message)
                member = self.cluster.member_of_link(effect.link)
                if member is not None and member.id not in self.silent:
                    pong = Ping(MessageType.PONG, self._headers[member.id], self._told())
                    self._carry_out(self.cluster.step(events.Received(effect.link, pong), self.now_ms))


    def _told(self) -> tuple[GossipEntry, ...]:
        of = [node for node in self._random.sample(list(self._headers), 10) if node not in self.silent]
        members = [self.cluster.members[node] for node in of]
        return tuple([gossip_entry(one, 0)._replace(pong_received_s=self.now_ms // 1000) for one in members])


def test_the_pings_of_a_large_cluster_are_few_and_spread_over_the_timeout() -> None:
    one = Lone(400)
    one.tick()
    assert len(one.pings) >= 399, "all were connected at once"
    one.tick(2 * T // 100)
    sent = 0
    for _ in range(T // 100):
        one.tick()
        assert len(one.pings) <= 400 // 4, "but they are not due at once"
        assert all(len(ping.gossip) == GOSSIP_MOST for ping in one.pings if ping.gossip)
        sent += len(one.pings)
    assert 400 <= sent <= 1.2 * 400, "others tell of them"
    assert one.cluster.ok


def test_many_that_fall_silent_together_are_told_of_once() -> None:
    one = Lone(300)
    one.tick(5)
    primaries = [member for member in one.cluster.members.values() if member.votes and member is not one.cluster.myself]
    one.silent.update(member.id for member in primaries[1::2])
    before = 0
    while not any(member.flags & PFAIL for member in primaries):
        one.tick()
        before += 1
        assert before * 100 <= 2 * T
    while any(not member.flags & PFAIL for member in primaries[1::2]):
        one.tick()
        told = [ping for ping in one.pings if len(ping.gossip) > GOSSIP_MOST]
        assert len(told) <= 2 * 300 * 100 // T + SPREAD_MAX + 2 * len(primaries), "each voter and replica once"
        before += 1
        assert before * 100 <= 3 * T


def test_a_tick_takes_as_many_times_longer_as_there_are_members() -> None:
    """Not with their square: five times as many may take ten times as long here, and not twenty-five."""
    took = {}
    for count in (200, 1000):
        one = Lone(count)
        one.tick(T // 100)
        one.tick_ns.clear()
        one.tick(T // 100)
        took[count] = sorted(one.tick_ns)[T // 400]
    print({count: f"{ns / 1e6:.2f} ms" for count, ns in took.items()})
    assert took[1000] <= 10 * took[200]
