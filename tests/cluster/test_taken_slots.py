"""Slots that change hands by SETSLOT while epochs grow for other reasons: nobody loses one to who had it before."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cluster import claims, epochs
from cluster.events import Log, Persist, Send, SlotsLost
from cluster.machine import Cluster
from cluster.nodes_conf import format_nodes_conf, parse_nodes_conf
from cluster.operations import SlotAction, SlotOrder
from cluster.slotmap import Grant
from cluster.slots import bitmap_to_slots, slots_to_bitmap
from gossip.events import Tick
from gossip.ids import NodeId, ShardId
from gossip.messages import MessageType, NodeFlag, Update
from tests.cluster.machines import ME, NOW, SETTINGS, SLOTS, B, C, D, Peer, header, ping, primary, replica, saved

MINE, THEIRS = SLOTS[ME][0], SLOTS[B][0]
T = SETTINGS.node_timeout_ms


def cluster_of_four() -> Cluster:
    """ME, B and C own a third each, with the epochs 1, 2 and 3; D replicates B."""
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), replica(D, B))
    return Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)


def says(
    peer: Peer, node: NodeId, epoch: int, *, gets: int | None = None, gives: int | None = None, **fields: object
) -> list[object]:
    """The member's word: its slots with one more or one less."""
    slots = sorted({*SLOTS.get(node, ()), *(() if gets is None else (gets,))} - {gives})
    head = header(node, epoch, **{"current_epoch": max(epoch, 3), "slots": slots_to_bitmap(slots), **fields})
    return list(peer.says(ping(head, kind=MessageType.PONG)))


# The source -------------------------------------------------------------------------------------------------------------


def test_the_source_gives_a_migrating_slot_with_the_targets_first_claim_whatever_the_epochs() -> None:
    cluster = cluster_of_four()
    target = Peer(cluster, B)
    says(target, B, 2)
    cluster.operations.set_slot_migrating(MINE, B, NOW)
    cluster.myself.config_epoch = cluster.current_epoch = 9
    lost = [one for one in says(target, B, 2, gets=MINE) if isinstance(one, SlotsLost)]
    assert lost == [SlotsLost((MINE,))]
    assert cluster.slotmap.owner_of(MINE) == B and not cluster.slotmap.migrating


def test_nobody_else_and_no_old_claim_gets_it() -> None:
    cluster = cluster_of_four()
    target, other = Peer(cluster, B), Peer(cluster, C)
    cluster.myself.config_epoch = cluster.current_epoch = 9
    says(target, B, 2, gets=MINE)
    cluster.operations.set_slot_migrating(MINE, B, NOW)
    says(target, B, 2, gets=MINE)
    assert cluster.slotmap.owner_of(MINE) == ME, "it said so before it was asked to take the slot: that may be old"
    says(other, C, 3, gets=MINE)
    assert cluster.slotmap.owner_of(MINE) == ME
    says(target, B, 2)
    says(target, B, 2, gets=MINE)
    assert cluster.slotmap.owner_of(MINE) == B


def test_a_replica_of_the_source_sees_it_the_same_way() -> None:
    state = saved(primary(B, 9), primary(C, 3), replica(ME, B, NodeFlag.MYSELF), epoch=9)
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    target = Peer(cluster, C)
    says(target, C, 3)
    cluster.operations.set_slot(SlotOrder(THEIRS, SlotAction.MIGRATING, C), True, NOW, obeying=True)
    says(target, C, 3, gets=THEIRS)
    assert cluster.slotmap.owner_of(THEIRS) == C, "it will not claim the slot when it is elected"


# The target -------------------------------------------------------------------------------------------------------------


def took() -> Cluster:
    """ME has just taken a slot of B's."""
    cluster = cluster_of_four()
    for node, epoch in ((B, 2), (C, 3)):
        says(Peer(cluster, node), node, epoch)
    cluster.operations.set_slot_importing(THEIRS, B, NOW)
    cluster.operations.set_slot_node(THEIRS, ME, True, NOW)
    assert cluster.slotmap.owner_of(THEIRS) == ME and cluster.myself.config_epoch > 3
    return cluster


@pytest.mark.parametrize("by_update", [False, True], ids=["its-word", "an-update"])
def test_a_source_with_a_greater_epoch_does_not_get_the_slot_back(by_update: bool) -> None:
    cluster = took()
    if by_update:
        update = Update(header(C, 3, current_epoch=50), 50, B, slots_to_bitmap(SLOTS[B]))
        effects = list(Peer(cluster, C).says(update))
    else:
        effects = says(Peer(cluster, B), B, 50)
    assert cluster.slotmap.owner_of(THEIRS) == ME and not [one for one in effects if isinstance(one, SlotsLost)]
    assert cluster.myself.config_epoch > 50, "it outbids the source, which gives in"
    assert any(isinstance(one, Log) and "still claims slot" in one.text for one in effects)


def test_nor_does_a_successor_of_the_source() -> None:
    cluster = took()
    says(Peer(cluster, D), D, 50, slots=slots_to_bitmap(SLOTS[B]))
    assert cluster.slotmap.owner_of(THEIRS) == ME and cluster.slotmap.owner_of(THEIRS + 1) == D
    assert cluster.myself.config_epoch > 50


def test_a_successor_of_its_own_gets_it_with_the_others() -> None:
    """Also when source and target are of one shard, as after a failover of which the old primary has kept a slot."""
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), replica(D, ME))
    state = replace(state, nodes=tuple(replace(one, shard_id=ShardId(ME)) if one.id == B else one for one in state.nodes))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    cluster.operations.set_slot_importing(THEIRS, B, NOW)
    cluster.operations.set_slot_node(THEIRS, ME, True, NOW)
    says(Peer(cluster, B), B, 40)
    assert cluster.slotmap.owner_of(THEIRS) == ME
    says(Peer(cluster, D), D, 50, slots=slots_to_bitmap([*SLOTS[ME], THEIRS]))
    assert cluster.slotmap.owner_of(THEIRS) == D and cluster.myself.is_replica and not cluster.slotmap.taken


def test_anybody_else_gets_it_with_a_greater_epoch() -> None:
    cluster = took()
    says(Peer(cluster, C), C, 50, gets=THEIRS)
    assert cluster.slotmap.owner_of(THEIRS) == C and not cluster.slotmap.taken


def test_a_slot_on_its_way_back_is_not_kept_from_its_source() -> None:
    cluster = took()
    says(Peer(cluster, B), B, 2, gives=THEIRS)
    cluster.operations.set_slot_migrating(THEIRS, B, NOW)
    says(Peer(cluster, B), B, 2)
    assert cluster.slotmap.owner_of(THEIRS) == B


def test_a_target_that_has_forgotten_its_import_takes_the_slot_all_the_same() -> None:
    """A failover on the way ends what was open: without a new epoch the claim would lose to the source's."""
    cluster = cluster_of_four()
    cluster.operations.set_slot_node(THEIRS, ME, True, NOW)
    assert cluster.myself.config_epoch > 3 and cluster.slotmap.taken_bits() == 1 << THEIRS


def test_nor_is_one_that_is_granted_to_it() -> None:
    """As a whole it goes back by an atomic migration."""
    cluster = took()
    says(Peer(cluster, B), B, 2, gives=THEIRS)
    cluster.operations.grant(Grant("e" * 40, B, ((THEIRS, THEIRS),)), NOW)
    says(Peer(cluster, B), B, 50)
    assert cluster.slotmap.owner_of(THEIRS) == B and cluster.myself.config_epoch < 50


def test_a_replica_forgets_what_its_primary_has_given_away_again() -> None:
    state = saved(primary(B, 2), primary(C, 3), replica(ME, B, NodeFlag.MYSELF))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    slot = SLOTS[C][0]
    head, source = Peer(cluster, B), Peer(cluster, C)
    says(head, B, 2)
    for action, node in ((SlotAction.IMPORTING, C), (SlotAction.NODE, B)):
        cluster.operations.set_slot(SlotOrder(slot, action, node), True, NOW, obeying=True)
    says(head, B, 2)
    assert cluster.slotmap.taken_bits() == 1 << slot, "its primary does it when its replicas have noted it"
    says(head, B, 4, gets=slot)
    says(source, C, 3, gives=slot)
    says(head, B, 4)
    says(source, C, 9)
    assert cluster.slotmap.owner_of(slot) == C and not cluster.slotmap.taken


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("claimed", [False, True], ids=["which-never-claims-it", "which-claims-it"])
def test_a_replica_gives_in_to_its_primary(claimed: bool, restarted: bool) -> None:
    """It notes a move ahead of its primary, which may die before it does so itself: the source goes on with the slot."""
    state = saved(primary(B, 2), primary(C, 3), replica(ME, B, NodeFlag.MYSELF))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    slot = SLOTS[C][0]
    for action, node in ((SlotAction.IMPORTING, C), (SlotAction.NODE, B)):
        cluster.operations.set_slot(SlotOrder(slot, action, node), True, NOW, obeying=True)
    if restarted:
        text = format_nodes_conf(cluster.saved_state())
        cluster = Cluster.from_saved(parse_nodes_conf(text), SETTINGS, Random(1), now_ms=NOW)
    head, source = Peer(cluster, B), Peer(cluster, C)
    link = cluster.gossip.links[head.link]
    patience_ms = claims.NOTED_AHEAD_MS + T
    for age_ms in (patience_ms, patience_ms + 1):
        head.now_ms = source.now_ms = NOW + age_ms
        cluster.gossip.send_ping(link, MessageType.PING, head.now_ms)
        assert cluster.slotmap.taken_bits() == 1 << slot, "it may be about to"
        while link.pings:
            says(head, B, 4 if claimed else 2, gets=slot if claimed else None)
        cluster.step(Tick(), head.now_ms)
        says(source, C, 3)
    assert cluster.slotmap.owner_of(slot) == (B if claimed else C)
    assert cluster.slotmap.taken_bits() == (1 << slot if claimed else 0)


def test_it_is_remembered_across_a_restart_until_a_majority_has_known_for_long() -> None:
    cluster = took()
    again = Cluster.from_saved(
        parse_nodes_conf(format_nodes_conf(cluster.saved_state())), SETTINGS, Random(1), now_ms=NOW
    )
    assert again.slotmap.taken_bits() == 1 << THEIRS and not again.slotmap.importing
    source, other = Peer(again, B), Peer(again, C)
    says(source, B, 2)
    source.now_ms = other.now_ms = NOW + 3 * T
    again.step(Tick(), NOW + 3 * T)
    assert again.slotmap.taken, "nobody has answered"
    for peer, node, epoch in ((source, B, 2), (other, C, 3)):
        again.gossip.send_ping(again.gossip.links[peer.link], MessageType.PING, NOW + 3 * T)
        says(peer, node, epoch)
        says(peer, node, epoch)
    again.step(Tick(), NOW + 3 * T + 100)
    assert again.slotmap.taken, "its source still claims it"
    says(source, B, 2, gives=THEIRS)
    again.step(Tick(), NOW + 3 * T + 200)
    source.now_ms = other.now_ms = NOW + 5 * T
    for peer, node, epoch in ((source, B, 2), (other, C, 3)):
        again.gossip.send_ping(again.gossip.links[peer.link], MessageType.PING, NOW + 5 * T)
        for _ in range(6):
            says(peer, node, epoch, gives=THEIRS if node == B else None)
    assert again.slotmap.taken
    again.step(Tick(), NOW + 5 * T + 100)
    assert not again.slotmap.taken


def test_it_is_not_forgotten_under_a_smaller_epoch_than_its_source_has() -> None:
    """The source has given the slot all the same; a replica of it that did not hear so would be elected with it."""
    cluster = took()
    says(Peer(cluster, B), B, 50, gives=THEIRS)
    assert cluster.myself.config_epoch < 50
    effects = cluster.step(Tick(), NOW + 100)
    assert cluster.myself.config_epoch > 50 and effects[0] == Persist()
    mine = cluster.myself.config_epoch
    says(Peer(cluster, B), B, mine + 50, gives=THEIRS)
    cluster.step(Tick(), NOW + 200)
    assert cluster.myself.config_epoch == mine, "what epochs the source takes from then on is no matter"
    assert cluster.slotmap.taken[B].since_ms == NOW + 100, "a majority has to know of that"


def test_a_replica_that_asks_for_votes_leaves_out_what_its_primary_has_just_taken() -> None:
    """Voters may think it another's, under a greater epoch than they know of its primary's; once elected it claims it."""
    state = saved(primary(B, 2), primary(C, 3), replica(ME, B, NodeFlag.MYSELF))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    slot = SLOTS[C][0]
    for action, node in ((SlotAction.IMPORTING, C), (SlotAction.NODE, B)):
        cluster.operations.set_slot(SlotOrder(slot, action, node), True, NOW, obeying=True)
    assert cluster.slotmap.owner_of(slot) == B
    assert slot not in bitmap_to_slots(cluster.header().slots) and SLOTS[B][0] in bitmap_to_slots(cluster.header().slots)


def test_who_follows_a_primary_of_another_shard_forgets_what_its_former_one_had_open() -> None:
    state = saved(primary(B, 2), primary(C, 3), replica(ME, B, NodeFlag.MYSELF))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    for slot, action, node in (
        (SLOTS[B][0], SlotAction.MIGRATING, C),
        (SLOTS[C][0], SlotAction.IMPORTING, C),
        (SLOTS[C][1], SlotAction.IMPORTING, C),
        (SLOTS[C][1], SlotAction.NODE, B),
    ):
        cluster.operations.set_slot(SlotOrder(slot, action, node), True, NOW, obeying=True)
    slotmap = cluster.slotmap
    assert slotmap.migrating and slotmap.importing and slotmap.taken
    cluster.operations.replicate(C, False, NOW)
    assert not (slotmap.migrating or slotmap.importing or slotmap.taken)


# Others -----------------------------------------------------------------------------------------------------------------


def test_an_update_tells_nothing_that_its_owner_has_ceased_to_claim() -> None:
    """B has failed over to D, of which this node has not heard, and comes back with one slot that it was given since.

    Whoever is told that B has all of them in its new epoch, D first of all, gives up what nobody has then.
    """
    cluster = cluster_of_four()
    given = SLOTS[C][0]
    says(Peer(cluster, C), C, 3, gives=given)
    says(Peer(cluster, B), B, 9, slots=slots_to_bitmap([given]))
    assert cluster.slotmap.owner_of(THEIRS) == B, "there is nobody else yet"
    effects = says(Peer(cluster, C), C, 3)
    told = [one.message for one in effects if isinstance(one, Send) and isinstance(one.message, Update)]
    assert [(one.node, one.config_epoch, list(bitmap_to_slots(one.slots))) for one in told] == [(B, 9, [given])]
    again = Cluster.from_saved(
        parse_nodes_conf(format_nodes_conf(cluster.saved_state())), SETTINGS, Random(1), now_ms=NOW
    )
    assert again.slotmap.claimed(B) == 1 << given and again.slotmap.owner_of(THEIRS) == B, "nor after a restart"


def test_slots_that_are_claimed_again_are_told_again() -> None:
    cluster = cluster_of_four()
    says(Peer(cluster, B), B, 2, gives=THEIRS)
    assert not cluster.slotmap.claimed(B) >> THEIRS & 1
    says(Peer(cluster, B), B, 2)
    assert cluster.slotmap.claimed(B) >> THEIRS & 1


def test_what_a_failover_is_thought_to_have_moved_is_anybodys_until_the_new_primary_says_so() -> None:
    """B says that it is D's replica: D may have failed over long ago, and have lost or given away some of the slots."""
    cluster = cluster_of_four()
    shard = ShardId(B)
    cluster.members[D].shard_id = cluster.members[B].shard_id = shard
    as_replica = replace(header(B, 2), flags=NodeFlag.REPLICA, primary=D)
    Peer(cluster, B).says(ping(as_replica, kind=MessageType.PONG))
    assert cluster.slotmap.owner_of(THEIRS) == D and not cluster.slotmap.claimed(D)
    says(Peer(cluster, C), C, 1, gets=THEIRS)
    assert cluster.slotmap.owner_of(THEIRS) == C
    says(Peer(cluster, D), D, 2, slots=slots_to_bitmap(SLOTS[B][1:]))
    assert cluster.slotmap.owner_of(THEIRS) == C and cluster.slotmap.claimed(D) >> (THEIRS + 1) & 1


# Epochs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [3, 4, 5, 6, 7, 8, 1000])
def test_no_two_members_and_no_election_take_the_same_epoch(known: int) -> None:
    states = [
        saved(*(primary(node, 1, NodeFlag.MYSELF if node == own else NodeFlag.NONE) for node in (ME, B, C, D)), epoch=known)
        for own in (ME, B, C, D)
    ]
    clusters = [
        Cluster.from_saved(
            replace(state, nodes=tuple(replace(one, slots=header(one.id, 1).slots) for one in state.nodes)),
            SETTINGS, Random(1), now_ms=NOW,
        )
        for state in states
    ]
    taken = [epochs.next_own(cluster) for cluster in clusters] + [epochs.next_elected(clusters[0])]
    assert len(set(taken)) == len(clusters) + 1 and len({epochs.next_elected(cluster) for cluster in clusters}) == 1
    assert set(taken) == set(range(known + 1, known + 6)), "and none is left out"


def test_a_lone_node_counts_as_redis_does() -> None:
    cluster = Cluster(SETTINGS, Random(1), now_ms=NOW)
    assert cluster.operations.bump_epoch(NOW)[:2] == (True, 1)
