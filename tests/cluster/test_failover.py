"""The rules of elections one by one: who gets a vote, which votes count, when a replica asks, what CLUSTER FAILOVER says."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cluster import elections, lease, manual_failover, restarts, roles, voting
from cluster.elections import DELAY_MS, JITTER_MS, RANK_DELAY_MS
from cluster.events import ClusterError, Effect, Level, Log, PauseWrites, Persist, Received, ResumeWrites, Send, Tick
from cluster.failover import DataLink
from cluster.machine import Cluster
from cluster.manual_failover import WORD_MS, Manner
from cluster.restarts import longest_wait_ms
from cluster.slots import slots_to_bitmap
from gossip.ids import NodeId
from gossip.members import FAIL, NOFAILOVER, PFAIL, Link, Member
from gossip.messages import (
    SLOT_COUNT,
    FailoverAuthAck,
    FailoverAuthRequest,
    Header,
    MessageFlag,
    MessageType,
    MfStart,
    NodeFlag,
    Ping,
)
from tests.cluster.machines import (
    ME,
    NO_SLOTS,
    NOW,
    SETTINGS,
    B,
    C,
    Caller,
    D,
    Peer,
    header,
    ping,
    primary,
    replica,
    saved,
    three,
)  # fmt: skip

E = NodeId("e" * 40)
T = SETTINGS.node_timeout_ms


def voter(**settings: object) -> Cluster:
    """ME, B and C own a third each; D and E replicate B, which has failed."""
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), replica(D, B), replica(E, B))
    cluster = Cluster.from_saved(state, replace(SETTINGS, **settings), Random(1), now_ms=NOW)  # type: ignore[arg-type]
    fail(cluster, B)
    for node in (D, E):
        member = cluster.members[node]
        member.data_received_ms = member.offset_ms = NOW
        member.offset = 100
    finish(cluster)
    return cluster


def candidate(**settings: object) -> Cluster:
    """ME and D replicate B, which has failed; C and A own slots too."""
    state = saved(primary(B, 2), primary(C, 3), replica(ME, B, NodeFlag.MYSELF), replica(D, B))
    cluster = Cluster.from_saved(state, replace(SETTINGS, **settings), Random(1), now_ms=NOW)  # type: ignore[arg-type]
    cluster.offset = 100
    cluster.data_link = DataLink(connected=False, heard_ms=NOW)
    for member in cluster.members.values():
        if member is not cluster.myself:
            member.link = Link(cluster.new_link(), False, NOW, member, opened=True)
            cluster.gossip.links[member.link.id] = member.link
    finish(cluster)
    return cluster


def fail(cluster: Cluster, node: NodeId, since_ms: int = NOW) -> None:
    member = cluster.members[node]
    member.flags |= FAIL
    member.fail_since_ms = since_ms
    member.leased_ms = 0


def finish(cluster: Cluster) -> list[Effect]:
    return cluster.out.finish()


def request(of: NodeId, cluster: Cluster, **fields: object) -> Header:
    """What a replica of B says of itself in its request, in the next epoch."""
    return header(of, 2, **{  # type: ignore[arg-type]
        "flags": NodeFlag.REPLICA, "primary": B, "current_epoch": cluster.current_epoch, "offset": 100,
        "slots": cluster.slotmap.bitmap(B), **fields,
    })


def ask(cluster: Cluster, of: NodeId, now_ms: int = NOW, new_epoch: bool = True, **fields: object) -> tuple[bool, str]:
    """A request for a vote: whether it was granted, and the log line. What it does to epochs, `epochs.hear` does."""
    cluster.current_epoch += new_epoch
    link = Link(cluster.new_link(), True, NOW, opened=True)
    voting.requested(cluster, cluster.members[of], request(of, cluster, **fields), link, now_ms)
    effects = finish(cluster)
    granted = [effect for effect in effects if isinstance(effect, Send) and isinstance(effect.message, FailoverAuthAck)]
    lines = [effect.text for effect in effects if isinstance(effect, Log)]
    if granted:
        assert isinstance(effects[0], Persist), "a vote is on disk before it is told"
        assert cluster.saved_state().last_vote_epoch == cluster.current_epoch
    else:
        assert not any(isinstance(effect, Persist) for effect in effects)
    return bool(granted), lines[0] if lines else ""


def test_a_vote_is_saved_before_it_is_told() -> None:
    granted, line = ask(voter(), D)
    assert granted and line == f"Failover auth granted to {D} () for epoch 4"


def test_no_vote_against_a_primary_that_may_hold_a_lease_by_this_node_s_answer() -> None:
    """Found by seed 6 of storms of partitions: reports add up to a failure that the voter itself knows nothing of."""
    cluster = voter()
    failed = cluster.members[B]
    failed.leased_ms = NOW - T + 10
    granted, line = ask(cluster, D)
    assert not granted and line.endswith(f"its master has had this node's answer {T - 10} milliseconds ago")
    assert ask(cluster, D, NOW + 20, message_flags=MessageFlag.FORCE_VOTE)[0], "who is asked for no lease"
    assert not failed.no_lease_until_ms
    assert ask(cluster, D, NOW + 20)[0]
    link = Link(cluster.new_link(), True, NOW, failed, opened=True)
    cluster.gossip.links[link.id] = failed.inbound = link

    def is_answered(now_ms: int) -> bool:
        ping = Ping(MessageType.PING, header(B, 2, slots=cluster.slotmap.bitmap(B)))
        return any(isinstance(one, Send) and one.link == link.id for one in cluster.step(Received(link.id, ping), now_ms))

    assert not is_answered(NOW + 30) and not is_answered(NOW + 19 + T), "it would believe that it still has a majority"
    assert is_answered(NOW + 20 + T) and failed.leased_ms == NOW + 20 + T


def test_a_vote_against_a_primary_that_is_back_ends_its_lease() -> None:
    """Found by seed 210219 of storms: it had not heard of its replica when it began to serve."""
    cluster = voter()
    back = cluster.members[B]
    back.flags &= ~FAIL
    back.leased_ms = NOW - 10
    assert ask(cluster, D, message_flags=MessageFlag.FORCE_VOTE | MessageFlag.WAITS)[0]
    assert back.no_lease_until_ms == NOW + T


def test_who_was_answered_before_a_restart_may_hold_a_lease_by_it() -> None:
    cluster = voter()
    again = Cluster.from_saved(cluster.saved_state(), SETTINGS, Random(2), now_ms=NOW)
    again.members[B].flags |= FAIL
    finish(again)
    assert not ask(again, D, NOW + T)[0]
    assert ask(again, D, NOW + T + 1)[0]


def test_one_vote_an_epoch_also_after_a_restart() -> None:
    cluster = voter()
    assert ask(cluster, D)[0]
    assert ask(cluster, E, new_epoch=False) == (False, f"Failover auth denied to {E} (): already voted for epoch 4")
    again = Cluster.from_saved(cluster.saved_state(), SETTINGS, Random(2), now_ms=NOW)
    fail(again, B)
    finish(again)
    assert ask(again, E, new_epoch=False) == (False, f"Failover auth denied to {E} (): already voted for epoch 4")
    assert ask(again, E)[0], "the next epoch is another matter"


def test_no_second_replica_of_a_primary_gets_a_vote_within_two_timeouts() -> None:
    cluster = voter()
    assert ask(cluster, D)[0]
    granted, line = ask(cluster, E, NOW + 10)
    assert not granted and line.endswith(f"can't vote about this master before {2 * T - 10} milliseconds")
    assert ask(cluster, D, NOW + 20)[0], "the same one may be voted for again"
    assert not ask(cluster, E, NOW + 2 * T)[0], "counted from the last vote"
    assert ask(cluster, E, NOW + 20 + 2 * T)[0]


@pytest.mark.parametrize(("fields", "why"), [
    ({"current_epoch": 3}, "reqEpoch (3) < curEpoch(4)"),
    ({"config_epoch": 1}, "slot 5461 epoch (2) > reqEpoch (1)"),
    ({"config_epoch": 1, "message_flags": MessageFlag.FORCE_VOTE}, "slot 5461 epoch (2) > reqEpoch (1)"),
])
def test_who_has_missed_something_gets_no_vote(fields: dict[str, object], why: str) -> None:
    assert ask(voter(), D, **fields) == (False, f"Failover auth denied to {D} (): {why}")


def test_a_primary_that_waits_for_its_replica_votes_for_it() -> None:
    """Found by a storm: its replica had not heard that it waits, and lacked one vote for as long as it waited."""
    cluster = three()
    cluster.rejoining = True
    member = cluster.members[D]
    member.offset, member.answered = 100, True
    slots = cluster.slotmap.bitmap(ME)
    about = {"primary": ME, "config_epoch": 1, "slots": slots}
    finish(cluster)
    assert ask(cluster, D, **about) == (False, f"Failover auth denied to {D} (): its master is up")
    cluster.step(Tick(), NOW)
    assert cluster.comeback.since_ms is not None and cluster.header().message_flags & MessageFlag.WAITS
    assert ask(cluster, D, **about)[0]


def test_pings_that_were_left_unanswered_are_answered_and_no_others() -> None:
    """A PONG too many would count as the answer to a ping that is still to come: as proof of a lease, for one."""
    cluster = three()
    finish(cluster)
    owing, other = Caller(cluster, B), Caller(cluster, C)
    said = {B: ping(header(B, 2)), C: ping(header(C, 3))}
    assert len(pongs(other.says(said[C]), other.link)) == 1
    cluster.gossip.mute = True
    assert not pongs(owing.says(said[B]) + owing.says(said[B]), owing.link)
    cluster.gossip.unmute(NOW)
    effects = finish(cluster)
    assert len(pongs(effects, owing.link)) == 2 and not pongs(effects, other.link)
    cluster.gossip.mute = True
    cluster.gossip.unmute(NOW)
    assert not pongs(finish(cluster), owing.link)


def pongs(effects: list[Effect], link: int) -> list[Effect]:
    sent = [one for one in effects if isinstance(one, Send) and one.link == link and isinstance(one.message, Ping)]
    return [one for one in sent if isinstance(one.message, Ping) and one.message.type is MessageType.PONG]


def test_a_replica_with_a_file_asks_only_while_its_primary_waits() -> None:
    cluster = candidate()
    cluster.members[B].flags &= ~FAIL
    cluster.data_loaded(cluster.shard, 100)
    peer = Peer(cluster, B)
    waiting = header(B, 2, offset=10, cluster_ok=False, message_flags=MessageFlag.WAITS)
    peer.says(ping(replace(waiting, message_flags=MessageFlag.NONE), kind=MessageType.PONG))
    assert cluster.comeback.asks_since_ms is None, "a primary that does not say so may have newer data, counted anew"
    peer.says(ping(replace(waiting, offset=100), kind=MessageType.PONG))
    assert cluster.comeback.asks_since_ms is None, "as much"
    peer.says(ping(waiting, kind=MessageType.PONG))
    assert cluster.comeback.asks_since_ms is not None and cluster.election.due_ms is not None
    peer.says(ping(replace(waiting, message_flags=MessageFlag.NONE), kind=MessageType.PONG))
    assert cluster.comeback.asks_since_ms is not None
    peer.says(ping(replace(waiting, message_flags=MessageFlag.NONE, cluster_ok=True), kind=MessageType.PONG))
    assert cluster.comeback.asks_since_ms is None, "it has gone on"
    peer.says(ping(waiting, kind=MessageType.PONG))
    assert cluster.comeback.asks_since_ms is None


def test_only_replicas_of_failed_primaries_get_votes_unless_forced() -> None:
    cluster = voter()
    assert ask(cluster, C) == (False, f"Failover auth denied to {C} (): it is a master node")
    cluster.members[B].flags &= ~FAIL
    assert ask(cluster, D) == (False, f"Failover auth denied to {D} (): its master is up")
    assert ask(cluster, D, message_flags=MessageFlag.FORCE_VOTE)[0]
    cluster.gossip.members.set_primary(cluster.members[E], None)
    assert ask(cluster, E) == (False, f"Failover auth denied to {E} (): I don't know its master")


def test_a_replica_and_a_primary_without_slots_have_no_vote() -> None:
    for own in (replica(ME, C, NodeFlag.MYSELF), primary(NodeId("1" * 40), 7, NodeFlag.MYSELF)):
        state = saved(own, primary(B, 2), primary(C, 3), replica(D, B))
        cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
        fail(cluster, B)
        finish(cluster)
        assert ask(cluster, D) == (False, "")


def test_who_has_less_than_a_live_sibling_gets_no_vote_for_a_while() -> None:
    cluster = voter()
    cluster.members[E].offset = 101
    granted, line = ask(cluster, D)
    assert not granted and line.endswith(f"replica {E} () has more data (offset 101 > 100)")
    later_ms = NOW + voting.patience_ms(T)
    cluster.members[E].data_received_ms = later_ms
    assert not ask(cluster, D, later_ms - 1)[0]
    assert ask(cluster, D, later_ms)[0], "better with less than without an owner"


@pytest.mark.parametrize("flags", [FAIL, PFAIL, NOFAILOVER])
def test_a_sibling_that_can_not_take_over_stands_in_nobodys_way(flags: int) -> None:
    cluster = voter()
    cluster.members[E].offset = 101
    cluster.members[E].flags |= flags
    assert ask(cluster, D)[0]


def test_a_sibling_that_is_silent_stands_in_nobodys_way() -> None:
    cluster = voter()
    cluster.members[E].offset = 101
    assert ask(cluster, D, NOW + T + 1)[0]


# --- the candidate ----------------------------------------------------------------------------------------------------

ELECTED = 5
"""The next epoch after 3 for elections of four nodes."""

def requests(effects: list[Effect]) -> list[FailoverAuthRequest]:
    return [one.message for one in effects if isinstance(one, Send) and isinstance(one.message, FailoverAuthRequest)]


def considered(cluster: Cluster, now_ms: int) -> list[Effect]:
    elections.consider(cluster, now_ms)
    return finish(cluster)


def due_ms(cluster: Cluster) -> int:
    assert cluster.election.due_ms is not None
    return cluster.election.due_ms - NOW


def test_who_knows_its_siblings_offsets_asks_at_once() -> None:
    cluster = candidate()
    fail(cluster, B)
    assert not requests(considered(cluster, NOW))
    assert DELAY_MS <= due_ms(cluster) < DELAY_MS + JITTER_MS
    sibling = cluster.members[D]
    sibling.offset, sibling.offset_ms = 99, NOW + 1
    effects = considered(cluster, NOW + 2)
    assert len(requests(effects)) == 3 and isinstance(effects[0], Persist), "everyone is asked, in a saved epoch"
    assert {one.header.current_epoch for one in requests(effects)} == {ELECTED}
    kinds = [type(one.message).__name__ for one in effects if isinstance(one, Send)]
    assert kinds == ["Fail"] * 3 + ["FailoverAuthRequest"] * 3, "the news goes in front"


def test_of_equals_the_smallest_id_goes_first() -> None:
    for sibling_id, first in [(NodeId("f" * 40), True), (NodeId("1" * 40), False)]:
        cluster = candidate()
        cluster.gossip.members.rename(cluster.members[D], sibling_id)
        fail(cluster, B)
        considered(cluster, NOW)
        sibling = cluster.members[sibling_id]
        sibling.offset, sibling.offset_ms = 100, NOW + 1
        assert bool(requests(considered(cluster, NOW + 2))) is first


def test_the_rank_is_looked_at_again_while_waiting() -> None:
    cluster = candidate()
    fail(cluster, B)
    considered(cluster, NOW)
    before_ms = due_ms(cluster)
    cluster.members[D].offset = 101
    lines = [one.text for one in considered(cluster, NOW + 100) if isinstance(one, Log)]
    assert lines[0] == "Replica rank updated to #1, added 1000 milliseconds of delay."
    assert due_ms(cluster) == before_ms + RANK_DELAY_MS
    assert not requests(considered(cluster, NOW + due_ms(cluster) - 1))
    assert requests(considered(cluster, NOW + due_ms(cluster)))


def test_votes_count_once_a_voter_in_their_epoch_from_those_who_have_one() -> None:
    cluster = candidate()
    fail(cluster, B)
    fail(cluster, D)
    assert requests(considered(cluster, NOW)), "no sibling is left to wait for"
    election = cluster.election

    def vote(node: NodeId, epoch: int) -> set[NodeId]:
        elections.granted(cluster, cluster.members[node], header(node, 3, current_epoch=epoch), NOW)
        return set(election.voters)

    assert vote(C, 3) == set(), "of another epoch"
    assert vote(D, ELECTED) == set(), "a replica has none"
    assert vote(C, ELECTED) == vote(C, ELECTED) == {C}
    assert cluster.myself.is_replica, "one of two is no majority"
    vote(B, ELECTED)
    assert cluster.myself.is_primary and cluster.myself.config_epoch == ELECTED
    assert cluster.slotmap.bits(B) == 0 and cluster.myself.slot_count


@pytest.mark.parametrize("late_ms", [DELAY_MS + JITTER_MS, 10 * T], ids=["late", "asleep"])
def test_who_sleeps_over_its_votes_has_not_won(late_ms: int) -> None:
    """SIGSTOP between two votes: the last one is read before the tick that would give the attempt up."""
    cluster = candidate()
    fail(cluster, B)
    fail(cluster, D)
    assert requests(considered(cluster, NOW))
    for node, at_ms in [(C, NOW + 5), (B, NOW + late_ms)]:
        elections.granted(cluster, cluster.members[node], header(node, 3, current_epoch=ELECTED), at_ms)
    assert cluster.myself.is_replica


def test_a_successors_lease_counts_from_when_it_asked() -> None:
    cluster = candidate()
    fail(cluster, B)
    fail(cluster, D)
    assert requests(cluster.set_offset(100, NOW))
    for node in (C, B):
        elections.granted(cluster, cluster.members[node], header(node, 3, current_epoch=ELECTED), NOW + 400)
    cluster.set_offset(100, NOW + 401)
    assert cluster.myself.is_primary
    assert lease.end_ms(cluster) == NOW + T


def test_a_manual_failover_that_has_ended_is_not_won() -> None:
    """Its primary lets writes in again from then on."""
    cluster = candidate()
    cluster.operations.failover(Manner.AGREED, NOW)
    end_ms = cluster.manual.end_ms
    manual_failover.hear(cluster, cluster.members[B], header(B, 2, offset=100, message_flags=MessageFlag.PAUSED))
    assert requests(cluster.set_offset(100, end_ms - 10))
    epoch = cluster.election.epoch
    for node in (C, B):
        elections.granted(cluster, cluster.members[node], header(node, 3, current_epoch=epoch), end_ms + 1)
    assert cluster.myself.is_replica


def test_a_manual_failover_waits_for_votes_that_are_late() -> None:
    """Real voters give none in a second epoch for two timeouts: who has not answered is asked again in the same one."""
    cluster = candidate()
    cluster.operations.failover(Manner.AGREED, NOW)
    manual_failover.hear(cluster, cluster.members[B], header(B, 2, offset=100, message_flags=MessageFlag.PAUSED))
    first = requests(cluster.set_offset(100, NOW))
    epoch = cluster.election.epoch
    late_ms = NOW + DELAY_MS + JITTER_MS
    assert late_ms - NOW < elections.attempt_ms(T)
    elections.granted(cluster, cluster.members[B], header(B, 3, current_epoch=epoch), late_ms)
    again = requests(considered(cluster, late_ms))
    assert first and again and cluster.election.epoch == cluster.current_epoch == epoch
    elections.granted(cluster, cluster.members[C], header(C, 3, current_epoch=epoch), late_ms + 1)
    assert cluster.myself.is_primary


def test_old_data_is_not_taken_over_with() -> None:
    cluster = candidate(replica_validity_factor=3, repl_ping_replica_period_s=1)
    fail(cluster, B)
    fail(cluster, D)
    oldest_ms = NOW - (T + 1000 + 3 * T)
    cluster.data_link = DataLink(False, oldest_ms - 1)
    lines = [one for one in considered(cluster, NOW) if isinstance(one, Log)]
    assert "validity-factor" in lines[0].text and lines[0].level is Level.NOTICE
    assert cluster.election.due_ms is None
    cluster.data_link = DataLink(False, oldest_ms + 100)
    assert requests(considered(cluster, NOW + 100))


# --- CLUSTER FAILOVER -------------------------------------------------------------------------------------------------


def test_what_is_answered_when_it_can_not_be() -> None:
    with pytest.raises(ClusterError, match=r"^ERR You should send CLUSTER FAILOVER to a replica$"):
        voter().operations.failover(Manner.FORCE, NOW)
    cluster = candidate()
    fail(cluster, B)
    down = "^ERR Master is down or failed, please use CLUSTER FAILOVER FORCE$"
    with pytest.raises(ClusterError, match=down):
        cluster.operations.failover(Manner.AGREED, NOW)
    cluster = candidate()
    cluster.gossip.drop_link(cluster.members[B].link)
    with pytest.raises(ClusterError, match=down):
        cluster.operations.failover(Manner.AGREED, NOW)
    cluster.gossip.members.set_primary(cluster.myself, None)
    with pytest.raises(ClusterError, match=r"^ERR I'm a replica but my master is unknown to me$"):
        cluster.operations.failover(Manner.TAKEOVER, NOW)


def test_a_replica_starts_at_exactly_its_paused_primarys_offset() -> None:
    cluster = candidate()
    effects = cluster.operations.failover(Manner.AGREED, NOW)
    assert [one.message for one in effects if isinstance(one, Send) and isinstance(one.message, MfStart)]
    said = header(B, 2, offset=120)
    manual_failover.hear(cluster, cluster.members[B], said)
    assert cluster.manual.primary_offset is None, "it has not paused yet"
    manual_failover.hear(cluster, cluster.members[C], replace(said, message_flags=MessageFlag.PAUSED))
    assert cluster.manual.primary_offset is None, "another primary's"
    manual_failover.hear(cluster, cluster.members[B], replace(said, message_flags=MessageFlag.PAUSED))
    for offset, starts in [(100, False), (121, False), (120, True)]:
        asked = requests(cluster.set_offset(offset, NOW))
        assert bool(asked) is starts
        assert all(one.header.message_flags & MessageFlag.FORCE_VOTE for one in asked)


def test_a_primary_pauses_for_its_own_replica_alone_and_not_for_ever() -> None:
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), replica(D, ME), replica(E, B))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    finish(cluster)
    member: Member = cluster.members[E]
    manual_failover.requested(cluster, member, NOW)
    assert not finish(cluster)
    manual_failover.requested(cluster, cluster.members[D], NOW)
    assert finish(cluster)[0] == PauseWrites(NOW + 10_000)
    assert not cluster.header().message_flags & MessageFlag.PAUSED, "not before the pause is on"
    cluster.writes_paused(77, NOW)
    assert cluster.header().message_flags & MessageFlag.PAUSED and cluster.header().offset == 77
    manual_failover.tick(cluster, NOW + 5000)
    assert ResumeWrites() not in finish(cluster)
    manual_failover.tick(cluster, NOW + 5001)
    assert ResumeWrites() in finish(cluster)
    assert not cluster.header().message_flags & MessageFlag.PAUSED


@pytest.mark.parametrize("word", ["won", "not won", "silent"])
def test_a_primary_that_slept_over_the_end_asks_before_it_lets_writes_in(word: str) -> None:
    """The only primary there is: its own vote was the majority, and no lease keeps its clients waiting."""
    everything = slots_to_bitmap(range(SLOT_COUNT))
    state = saved(replace(primary(ME, 1, NodeFlag.MYSELF), slots=everything), replica(D, ME))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    cluster.step(Tick(), NOW)
    peer = Peer(cluster, D)
    member = cluster.members[D]
    manual_failover.requested(cluster, member, NOW)
    cluster.writes_paused(100, NOW)
    slept_ms = NOW + 20_000
    effects = cluster.step(Tick(), slept_ms)
    assert ResumeWrites() not in effects and [one for one in effects if isinstance(one, PauseWrites)]
    assert member.link is not None and slept_ms in member.link.pings
    peer.now_ms = slept_ms + 5
    if word == "silent":
        assert ResumeWrites() not in cluster.step(Tick(), slept_ms + WORD_MS)
        assert ResumeWrites() in cluster.step(Tick(), slept_ms + WORD_MS + 1)
        return
    as_replica = header(D, 1, flags=NodeFlag.REPLICA, primary=ME, slots=everything)
    as_primary = header(D, 4, current_epoch=4, slots=everything)
    while member.link.pings:
        peer.says(ping(as_primary if word == "won" else as_replica, kind=MessageType.PONG))
    assert cluster.myself.is_replica is (word == "won")
    if word == "not won":
        assert ResumeWrites() in cluster.step(Tick(), slept_ms + 100)


# --- primaries that come back with less -------------------------------------------------------------------------------


def test_another_history_is_refused_only_from_the_primary_that_it_was_and_only_for_so_long() -> None:
    cluster = candidate()
    assert cluster.accepts_history(0), "it was never in sync"
    cluster.set_offset(100, NOW, DataLink(True, NOW))
    assert cluster.accepts_history(100) and not cluster.accepts_history(99)
    cluster.primary_has_less(NOW)
    for at_ms, accepts in [(NOW + longest_wait_ms(T), False), (NOW + longest_wait_ms(T) + 1, True)]:
        cluster._tick(at_ms)
        finish(cluster)
        assert cluster.accepts_history(99) is accepts
    cluster.set_offset(99, NOW, DataLink(True, NOW))
    assert not cluster.accepts_history(98), "in sync again, it counts again"
    cluster.operations.replicate(C, False, NOW)
    assert cluster.accepts_history(0), "that one's data it never had"


@pytest.mark.parametrize("gives_in", [True, False])
def test_who_wins_against_a_primary_that_is_back_serves_when_that_one_does_not(gives_in: bool) -> None:
    cluster = candidate(require_full_coverage=False)
    cluster.set_offset(100, NOW, DataLink(True, NOW))
    cluster.set_offset(100, NOW, DataLink(False, NOW))
    fail(cluster, D)
    asked = requests(cluster.primary_has_less(NOW))
    wanted = MessageFlag.FORCE_VOTE | MessageFlag.WAITS
    assert asked and all(one.header.message_flags & wanted == wanted for one in asked)
    epoch = cluster.election.epoch
    for node in (C, B):
        head = header(node, 3, current_epoch=epoch)
        elections.granted(cluster, cluster.members[node], head, NOW + 10)
    assert cluster.myself.is_primary and not cluster.ok
    cluster.step(Tick(), NOW + 100)
    assert not cluster.ok and not cluster.header().cluster_ok
    if gives_in:
        Peer(cluster, B).says(ping(header(B, 2, primary=ME, slots=cluster.slotmap.bitmap(ME)), kind=MessageType.PONG))
    else:
        assert restarts.holds_back(cluster, NOW + 10 + T) and not restarts.holds_back(cluster, NOW + 11 + T)
        cluster.out.reassess = True
        cluster.set_offset(100, NOW + 100)
    assert cluster.ok


def test_who_votes_against_itself_while_it_serves_serves_no_more() -> None:
    """For its own lease it counts as any voter does: the others alone may be no majority against a successor's."""
    cluster = three()
    cluster.lease.granted_ms = NOW
    finish(cluster)
    assert not lease.has_lapsed(cluster, NOW)
    about = {"primary": ME, "config_epoch": 1, "slots": cluster.slotmap.bitmap(ME)}
    assert ask(cluster, D, message_flags=MessageFlag.FORCE_VOTE | MessageFlag.WAITS, **about)[0]
    assert lease.has_lapsed(cluster, NOW) and cluster.out.reassess


def test_a_replica_follows_the_successor_that_its_primary_names() -> None:
    """The primary's own word is the first of a failover: the successor's claim says nothing new afterwards."""
    cluster = candidate()
    before, heir = cluster.members[B], cluster.members[D]
    roles.hear(cluster, before, header(B, 4, flags=NodeFlag.REPLICA, primary=D, slots=NO_SLOTS))
    assert heir.is_primary and heir.slot_count and before.primary is heir
    assert cluster.myself.primary is heir
    assert any("grandmaster" in one.text for one in finish(cluster) if isinstance(one, Log))
