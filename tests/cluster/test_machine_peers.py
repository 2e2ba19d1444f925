"""The machine alone: what it makes of what peers say, and of silence."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cluster.events import (
    Deliver,
    LinkClosed,
    LinkOpened,
    Persist,
    Received,
    RoleChanged,
    Send,
    SlotsLost,
    StateChanged,
    Tick,
)
from cluster.machine import Cluster
from cluster.slots import slots_to_bitmap
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import (
    SLOT_COUNT,
    Extensions,
    Fail,
    FailoverAuthRequest,
    GossipEntry,
    Header,
    LightPublish,
    Message,
    MessageFlag,
    MessageType,
    MfStart,
    NodeFlag,
    Ping,
    Publish,
    Update,
)
from tests.cluster.machines import (
    ME,
    NOW,
    SETTINGS,
    SLOTS,
    STRANGER,
    THIRD,
    B,
    C,
    Caller,
    D,
    Peer,
    address,
    header,
    of_kind,
    ping,
    primary,
    replica,
    saved,
    three,
)

# --- what peers say -------------------------------------------------------------------------------


def test_a_known_peer_is_heard() -> None:
    cluster = three()
    effects = Peer(cluster, B).says(ping(header(B, 2, current_epoch=9, offset=123)))
    assert effects[0] == Persist(), "the epoch is saved before the answer"
    assert cluster.current_epoch == 9 and cluster.members[B].offset == 123
    (sent,) = of_kind(effects, Send)
    assert isinstance(sent, Send) and isinstance(sent.message, Ping)
    assert sent.message.type is MessageType.PONG and sent.message.header.current_epoch == 9


@pytest.mark.parametrize("message", [
    ping(header(STRANGER, 99, current_epoch=99, slots=slots_to_bitmap(range(SLOT_COUNT))),
         GossipEntry(D, 0, 0, "6.6.6.6", 1, 2, NodeFlag.FAIL), GossipEntry(NodeId("8" * 40), 0, 0, "6.6.6.6", 1, 2,
                                                                           NodeFlag.PRIMARY)),
    Fail(header(STRANGER, 99, current_epoch=99), B),
    Update(header(STRANGER, 99, current_epoch=99), 99, B, slots_to_bitmap(range(SLOT_COUNT))),
    Publish(header(STRANGER, 99, current_epoch=99), b"c", b"m"),
    LightPublish(b"c", b"m"),
    FailoverAuthRequest(header(STRANGER, 99, current_epoch=99)),
    MfStart(header(STRANGER, 99, current_epoch=99)),
], ids=lambda message: type(message).__name__)
def test_a_stranger_changes_nothing(message: Message) -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    before, epoch = cluster.saved_state(), cluster.current_epoch
    effects = Caller(cluster, STRANGER).says(message)
    assert cluster.saved_state() == before and cluster.current_epoch == epoch
    assert not of_kind(effects, Persist) and not of_kind(effects, Deliver)
    assert len(of_kind(effects, Send)) == isinstance(message, Ping), "a ping has its pong"


def test_a_peer_does_not_speak_for_another() -> None:
    cluster = three()
    peer = Caller(cluster, B)
    peer.says(ping(header(B, 2)))
    before = cluster.saved_state()
    effects = peer.says(ping(header(C, 50, current_epoch=50, slots=slots_to_bitmap(range(SLOT_COUNT)))))
    assert cluster.saved_state() == before
    assert not of_kind(effects, Send) and cluster.members[B].inbound is None, "and its link is closed"


def test_a_fail_message_is_obeyed_unless_it_is_about_oneself() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    peer = Peer(cluster, B)
    peer.says(Fail(header(B, 2), ME))
    assert not cluster.myself.failed
    effects = peer.says(Fail(header(B, 2), C))
    assert cluster.members[C].failed and StateChanged(False) in effects and effects[0] == Persist()


def test_reports_of_a_majority_of_slot_owners_make_fail() -> None:
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), primary(D, 0))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    accusation = GossipEntry(B, 0, 0, address(B).ip, 7000, 17000, NodeFlag.PRIMARY | NodeFlag.PFAIL)
    cluster.members[B].flags |= NodeFlag.PFAIL
    d, c = Peer(cluster, D), Peer(cluster, C)
    d.says(ping(header(D, 0), accusation))
    assert not cluster.members[B].failed, "who owns no slots has no vote"
    assert cluster.failure_reports(B, NOW) == 0
    c.now_ms = NOW + 1
    effects = c.says(ping(header(C, 3), accusation))
    assert cluster.members[B].failed and cluster.failure_reports(B, NOW) == 1
    assert effects[0] == Persist()


def test_gossip_of_the_future_is_believed_half_a_second() -> None:
    cluster = three()
    peer = Peer(cluster, B)
    peer.now_ms = NOW + 10_000
    for ahead_s, believed in ((12, False), (10, True)):
        entry = GossipEntry(C, 0, NOW // 1000 + ahead_s, address(C).ip, 7000, 17000, NodeFlag.PRIMARY)
        peer.says(ping(header(B, 2), entry))
        assert (cluster.members[C].pong_received_ms == NOW + ahead_s * 1000) is believed


def test_an_update_moves_slots_and_drops_keys() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    update = Update(header(B, 2), 10, C, slots_to_bitmap([3, *SLOTS[C]]))
    effects = Peer(cluster, B).says(update)
    assert of_kind(effects, SlotsLost) == [SlotsLost((3,))] and effects[0] == Persist()
    assert cluster.slotmap.owner_of(3) == C and cluster.members[C].config_epoch == 10 and not cluster.served[3]
    again = replace(update, slots=slots_to_bitmap([4]))
    assert not of_kind(Peer(cluster, B).says(again), SlotsLost), "nothing new in that epoch"


def test_an_outdated_claim_is_answered_with_an_update() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    link = cluster.members[B].link
    assert link is not None
    effects = Peer(cluster, B).says(ping(header(B, 2, slots=slots_to_bitmap([*SLOTS[B], *SLOTS[C]]))))
    (update,) = [one for one in of_kind(effects, Send) if isinstance(one, Send) and isinstance(one.message, Update)]
    assert update.link == link.id
    assert isinstance(update.message, Update) and (update.message.node, update.message.config_epoch) == (C, 3)


def test_elections_are_no_business_of_this_node_yet_but_their_epoch_is() -> None:
    cluster = three()
    peer = Peer(cluster, D)
    request = FailoverAuthRequest(header(D, 1, flags=NodeFlag.REPLICA, primary=ME, current_epoch=8))
    assert of_kind(peer.says(request), Send) == [] and cluster.current_epoch == 8 and cluster.last_vote_epoch == 0


def test_messages_are_published_to_those_who_should_have_them() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    for member in list(cluster.members.values()):
        if member.link is not None:
            cluster.step(LinkOpened(member.link.id), NOW)
    links = {node: member.link.id for node, member in cluster.members.items() if member.link is not None}
    cluster.members[B].flags |= NodeFlag.LIGHT_HEADER
    sent = {one.link: one.message for one in cluster.publish(b"c", b"m", False) if isinstance(one, Send)}
    assert sent[links[B]] == LightPublish(b"c", b"m") and isinstance(sent[links[C]], Publish)
    assert sent.keys() == set(links.values())
    (only,) = cluster.publish(b"c", b"m", True)
    assert isinstance(only, Send) and only.link == links[D], "shard channels stay in the shard"
    delivered = of_kind(Peer(cluster, B).says(Publish(header(B, 2), b"c", b"m", True)), Deliver)
    assert delivered == [Deliver(b"c", b"m", True)]


def test_the_light_header_needs_a_link_whose_member_is_known() -> None:
    cluster = three()
    peer = Caller(cluster, B)
    assert peer.says(LightPublish(b"c", b"m")) == []
    peer.says(ping(header(B, 2)))
    assert peer.says(LightPublish(b"c", b"m")) == [Deliver(b"c", b"m")]


def test_extensions_go_to_those_who_understand_them() -> None:
    cluster = three(announce_hostname="me.example", announce_client_ipv4="192.0.2.5")
    peer = Peer(cluster, B)

    def answer(head: Header) -> Extensions:
        (sent,) = of_kind(peer.says(ping(head)), Send)
        assert isinstance(sent, Send) and isinstance(sent.message, Ping)
        return sent.message.extensions

    assert answer(header(B, 2)) == Extensions()
    told = answer(header(B, 2, message_flags=MessageFlag.EXTENSIONS))
    assert (told.hostname, told.shard_id, told.client_ipv4) == ("me.example", ShardId(ME), None)
    peer.says(ping(header(B, 2, flags=NodeFlag.PRIMARY | NodeFlag.LIGHT_HEADER)))
    assert answer(header(B, 2)).client_ipv4 == "192.0.2.5", "Redis 8 has another extension of that number"
    assert answer(header(B, 2)).client_ipv4 is None, "flags are as last announced"


def test_settings_that_change_are_told_at_once() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    assert cluster.reconfigure(replace(cluster.settings, node_timeout_ms=500), NOW) == []
    effects = cluster.reconfigure(replace(cluster.settings, announce_ip="192.0.2.1", announce_port=1234), NOW)
    assert effects[0] == Persist() and len(of_kind(effects, Send)) == 3
    assert cluster.myself.address == Address("192.0.2.1", 1234, 17000)
    assert cluster.header().ip == "192.0.2.1"


def test_links_that_close_are_forgotten_and_unknown_ones_ignored() -> None:
    cluster = three()
    peer = Caller(cluster, B)
    peer.says(ping(header(B, 2)))
    assert cluster.member_of_link(peer.link) is cluster.members[B]
    peer.step(LinkClosed(peer.link))
    assert cluster.member_of_link(peer.link) is None and cluster.members[B].inbound is None
    assert peer.says(ping(header(B, 2))) == [] and peer.step(LinkClosed(999)) == [] and peer.step(LinkOpened(999)) == []


def test_messages_are_counted() -> None:
    cluster = three()
    peer = Peer(cluster, B)
    peer.says(ping(header(B, 2)))
    peer.says(Fail(header(B, 2), C))
    assert cluster.counters.received == {MessageType.PING: 1, MessageType.FAIL: 1}
    assert cluster.counters.sent == {MessageType.PING: 1, MessageType.PONG: 1}


def test_a_forgotten_node_stays_out_for_a_minute_whatever_others_say() -> None:
    cluster = three()
    peer = Peer(cluster, B)
    cluster.operations.forget(C, NOW)
    assert C not in cluster.members and cluster.slotmap.owner_of(SLOT_COUNT - 1) is None
    entry = GossipEntry(C, 0, 0, address(C).ip, 7000, 17000, NodeFlag.PRIMARY)
    for after_ms, known in ((0, False), (59_999, False), (60_000, True)):
        peer.now_ms = NOW + after_ms
        peer.says(ping(header(B, 2), entry))
        assert (C in cluster.members) is known
    cluster.operations.forget(D, NOW)
    peer.says(ping(header(B, 2), extensions=Extensions(forgotten=((C, 5), (ME, 5), (STRANGER, 5)))))
    assert C not in cluster.members and ME in cluster.members, "others' word is enough, but not about oneself"


def test_a_primary_that_was_without_a_majority_waits_before_it_serves() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    assert cluster.ok
    for node in (B, C):
        cluster.members[node].flags |= NodeFlag.PFAIL
    cluster.reconfigure(cluster.settings, NOW)
    assert not cluster.ok and not any(cluster.served)
    for node in (B, C):
        cluster.members[node].flags &= ~NodeFlag.PFAIL
    for after_ms, ok in ((100, False), (1900, False), (2000, True)):
        cluster.step(Tick(), NOW + after_ms)
        assert cluster.ok is ok


def test_reconnecting_is_no_sign_of_life() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    member = cluster.members[B]
    assert member.link is not None
    cluster.step(LinkClosed(member.link.id), NOW + 10)
    assert member.ping_sent_ms == NOW, "the ping that was sent on opening counts"
    cluster.step(Tick(), NOW + 100)
    link = member.link
    assert link is not None
    cluster.step(LinkOpened(link.id), NOW + 150)
    assert member.ping_sent_ms == NOW
    pong = ping(header(B, 2), kind=MessageType.PONG)
    cluster.step(Received(link.id, pong), NOW + 160)
    assert (member.ping_sent_ms, member.pong_received_ms) == (0, NOW + 160)


def test_silence_for_the_timeout_is_suspicious_and_other_traffic_is_not_silence() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    talker = Peer(cluster, C)
    for at_ms in range(100, 2200, 100):
        talker.now_ms = NOW + at_ms
        talker.says(Publish(header(C, 3), b"c", b"m"))
        cluster.step(Tick(), NOW + at_ms)
        assert bool(cluster.members[B].flags & NodeFlag.PFAIL) is (at_ms > 2000)
    assert not cluster.members[C].flags & NodeFlag.PFAIL


def test_a_primary_that_became_a_replica_elsewhere_owns_nothing() -> None:
    cluster = three()
    cluster.step(Tick(), NOW)
    effects = Peer(cluster, C).says(
        ping(header(C, 2, flags=NodeFlag.REPLICA, primary=B, slots=slots_to_bitmap(SLOTS[B])))
    )
    member = cluster.members[C]
    assert member.is_replica and member.primary is cluster.members[B] and member.shard_id == ShardId(B)
    assert cluster.slotmap.count(C) == 0 and member.slot_count == 0
    assert StateChanged(False) in effects and effects[0] == Persist()


def test_a_failover_that_the_old_primary_tells_first() -> None:
    """B's replica has taken over; B says so before the replica does."""
    heir = NodeId("f" * 40)
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), replica(heir, B))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    cluster.step(Tick(), NOW)
    Peer(cluster, B).says(ping(header(B, 4, flags=NodeFlag.REPLICA, primary=heir)))
    assert cluster.members[heir].is_primary and cluster.members[B].is_replica
    assert cluster.slotmap.count(heir) == THIRD and cluster.members[heir].config_epoch == 4 and cluster.ok


def test_the_last_slots_of_the_own_primary_are_followed() -> None:
    """A replica goes with the slots: to a sibling that has taken over, too."""
    state = saved(primary(B, 2), primary(C, 3), replica(ME, B, NodeFlag.MYSELF), replica(D, B))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    cluster.step(Tick(), NOW)
    effects = Peer(cluster, D).says(ping(header(D, 9, slots=slots_to_bitmap(SLOTS[B]))))
    assert of_kind(effects, RoleChanged) == [RoleChanged(D, address(D))]
    assert cluster.myself.primary is cluster.members[D] and cluster.members[D].is_primary


def test_slots_that_their_owner_claims_no_longer_go_to_whoever_does() -> None:
    """Whatever its epoch: and until then nobody is told that they are the old owner's."""
    cluster = three()
    cluster.step(Tick(), NOW)
    slot = SLOTS[C][0]
    Peer(cluster, C).says(ping(header(C, 3, slots=slots_to_bitmap(SLOTS[C][1:]))))
    assert cluster.slotmap.owner_of(slot) == C, "rather a redirect too many than an error"
    claim = ping(header(B, 2, slots=slots_to_bitmap([*SLOTS[B], slot])))
    effects = Peer(cluster, B).says(claim)
    assert cluster.slotmap.owner_of(slot) == B
    assert not [one for one in of_kind(effects, Send) if isinstance(one, Send) and isinstance(one.message, Update)]
