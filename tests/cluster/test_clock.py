"""The clock on the wall may be set while a node runs: nothing is counted by it, and only what is told in it is converted."""

from __future__ import annotations

import pytest

from cluster.nodes_conf import format_nodes_conf
from gossip.messages import MessageType, Ping
from gossip.pings import gossip_entry
from tests.cluster.machines import NOW, B, C, ping
from tests.cluster.test_lease import HEADERS, T, Three

HOUR_MS = 3_600_000


def running(wall_ahead_ms: int) -> Three:
    """Three primaries that have run for a while, and the wall's clock of one was set."""
    world = Three()
    for _ in range(10):
        world.tick(100)
    world.cluster.gossip.wall_ahead_ms = wall_ahead_ms
    return world


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, -1000, 0, HOUR_MS])
def test_others_are_told_the_time_of_day(ahead_ms: int) -> None:
    world = running(ahead_ms)
    member = world.cluster.members[B]
    told = gossip_entry(member, ahead_ms)
    assert told.pong_received_s == (member.pong_received_ms + ahead_ms) // 1000 and told.ping_sent_s == 0
    assert world.cluster.node_view(member).pong_received_ms == member.pong_received_ms + ahead_ms
    assert f" {member.pong_received_ms + ahead_ms} 2 connected" in format_nodes_conf(world.cluster.saved_state()).decode()
    assert world.cluster.node_view(world.cluster.myself).pong_received_ms == 0, "never"


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, 0, HOUR_MS])
def test_what_others_tell_is_read_in_the_time_of_day(ahead_ms: int) -> None:
    world = running(ahead_ms)
    member = world.cluster.members[C]
    entry = gossip_entry(member, 0)._replace(pong_received_s=(world.now_ms + ahead_ms) // 1000, ping_sent_s=0)
    member.pong_received_ms = NOW - T
    said = ping(HEADERS[B], kind=MessageType.PONG)
    world.say(B, Ping(said.type, said.header, (entry,), said.extensions))
    assert member.pong_received_ms == (world.now_ms + ahead_ms) // 1000 * 1000 - ahead_ms
    later = entry._replace(pong_received_s=entry.pong_received_s + 60)
    world.say(B, Ping(said.type, said.header, (later,), said.extensions))
    assert member.pong_received_ms <= world.now_ms, "of the future nothing is known"


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, -T, -100, 100, T // 2])
def test_a_clock_that_is_set_changes_nothing_else(ahead_ms: int) -> None:
    world = running(ahead_ms)
    for _ in range(30):
        world.tick(100)
        assert world.cluster.ok and world.now_ms < world.until_ms() <= world.now_ms + T
    assert not any("have passed at once" in text for text in world.logs)


@pytest.mark.parametrize("ahead_ms", [T, HOUR_MS])
def test_a_clock_that_leaps_past_the_lease_tells_of_a_sleep(ahead_ms: int) -> None:
    """A virtual machine was stopped with its clocks: this node verifies its slots, which its clients hardly notice."""
    world = running(ahead_ms)
    world.cluster.check_lease(world.now_ms)
    assert world.until_ms() == 0 and world.cluster.ok
    for _ in range(2):
        world.answer()
        world.now_ms += 1
        world.cluster.check_lease(world.now_ms)
    assert world.now_ms < world.until_ms() <= world.now_ms + T
    for _ in range(30):
        world.tick(100)
        assert world.now_ms < world.until_ms(), "once"


def test_a_sleep_shows_though_the_clock_was_set_back_by_as_much() -> None:
    world = running(-3 * T)
    world.now_ms += 3 * T
    world.cluster.check_lease(world.now_ms)
    assert world.until_ms() == 0
