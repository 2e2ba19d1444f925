"""A clock that was set back by an hour: nothing waits for that hour."""

from __future__ import annotations

from cluster import manual_failover
from cluster.events import Tick
from cluster.failover import DataLink
from cluster.manual_failover import Manner
from gossip.messages import MessageFlag
from tests.cluster.machines import NOW, B, D, Peer, header
from tests.cluster.test_failover import E, T, ask, candidate, fail, finish, requests, voter
from tests.cluster.test_lease import Three

HOUR_MS = 3_600_000
BACK = NOW - HOUR_MS


def test_a_replica_that_waits_for_its_turn_asks_all_the_same() -> None:
    cluster = candidate()
    fail(cluster, B)
    cluster.step(Tick(), NOW)
    assert cluster.election.due_ms is not None and not cluster.election.epoch
    cluster.data_link = DataLink(connected=False, heard_ms=NOW)
    asked = [one for tick in range(30) for one in requests(cluster.step(Tick(), BACK + 100 * tick))]
    assert asked, "votes are asked for within three seconds"


def test_a_voter_votes_for_a_sibling_two_timeouts_later() -> None:
    cluster = voter()
    cluster.members[B].leased_ms = 0
    cluster.step(Tick(), NOW)
    assert ask(cluster, D)[0]
    cluster.step(Tick(), BACK)
    assert not ask(cluster, E, BACK + 100)[0]
    finish(cluster)
    cluster.members[B].leased_ms = 0
    assert ask(cluster, E, BACK + 2 * T, current_epoch=cluster.current_epoch + 1)[0]


def test_a_primary_that_was_in_a_minority_serves_again() -> None:
    world = Three()
    for _ in range(10):
        world.tick(100)
    assert world.cluster.ok
    world.answering = set()
    for _ in range(30):
        world.tick(100)
    assert not world.cluster.ok
    world.answering = {*world.peers}
    world.tick(100)
    world.peers = {node: Peer(world.cluster, node) for node in world.peers}
    world.tick(100)
    world.tick(100)
    assert not world.cluster.ok, "it waits to hear whether it has been replaced"
    world.now_ms -= HOUR_MS
    for _ in range(60):
        world.tick(100)
    assert world.cluster.ok, "the delay after a minority is seconds"


def test_a_manual_failover_ends() -> None:
    cluster = candidate()
    cluster.step(Tick(), NOW)
    cluster.operations.failover(Manner.AGREED, NOW)
    timeout_ms = cluster.settings.manual_failover_timeout_ms
    manual_failover.hear(cluster, cluster.members[B], header(B, 2, offset=999, message_flags=MessageFlag.PAUSED))
    cluster.step(Tick(), BACK)
    cluster.step(Tick(), BACK + timeout_ms + 1)
    assert not cluster.manual.end_ms


def test_what_others_reported_does_not_outlive_its_time() -> None:
    world = Three()
    member = world.cluster.members[B]
    member.reports[D] = world.now_ms
    world.tick(-HOUR_MS)
    assert world.cluster.failure_reports(B, world.now_ms + 2 * T + 1) == 0
    assert not member.failed
