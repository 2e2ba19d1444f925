"""Whoever connects and speaks in a member's name changes nothing, however much it knows; the member itself is believed."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cluster.epochs import EPOCH_LEAP_MAX
from cluster.events import Close, Connect, Deliver, Effect, Log, PauseWrites, Persist, Send, Tick
from cluster.machine import Cluster
from cluster.slots import slots_to_bitmap
from gossip.events import LinkClosed, LinkOpened, Received
from gossip.ids import Address, NodeId
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

ALL = slots_to_bitmap(range(SLOT_COUNT))
PONG = MessageType.PONG


def met() -> tuple[Cluster, dict[NodeId, Peer]]:
    """A machine to which all its members have spoken over the links that it made, and over established ones of theirs."""
    cluster = three()
    cluster.step(Tick(), NOW)
    peers = {}
    for node, told in ((B, header(B, 2)), (C, header(C, 3)), (D, as_replica())):
        peers[node] = Peer(cluster, node)
        link = cluster.members[node].link
        while link is not None and link.pings:
            peers[node].says(ping(told, kind=PONG))
        Caller(cluster, node).says(ping(told, kind=PONG))
    return cluster, peers


def as_replica(**fields: object) -> Header:
    """What D, this node's replica, says of itself."""
    told = header(D, 1, flags=NodeFlag.REPLICA, primary=ME, slots=slots_to_bitmap(SLOTS[ME]))
    return replace(told, **fields)  # type: ignore[arg-type]


def seen(cluster: Cluster) -> tuple[object, ...]:
    """All that a message could have changed."""
    facts = [
        (one.id, one.address, one.flags, one.config_epoch, one.offset, one.shard_id, one.hostname, one.slot_count,
         dict(one.reports), one.pong_received_ms, one.data_received_ms, None if one.primary is None else one.primary.id)
        for one in cluster.members.values()
    ]
    saved_state = replace(cluster.saved_state(), nodes=())
    return facts, saved_state, cluster.ok, bytes(cluster.served), cluster.votes.copy(), cluster.manual.end_ms


FORGERIES: list[Message] = [
    ping(header(B, 99, current_epoch=99, slots=ALL, offset=10**9)),
    ping(header(B, 4, current_epoch=4, slots=ALL), kind=PONG),
    ping(header(B, 2**40, current_epoch=2**40, slots=ALL), kind=MessageType.MEET),
    ping(header(B, 2, flags=NodeFlag.REPLICA, primary=C, slots=slots_to_bitmap(SLOTS[C]))),
    ping(header(B, 2), GossipEntry(C, 0, NOW // 1000 + 100, "6.6.6.6", 1, 2, NodeFlag.PRIMARY | NodeFlag.FAIL),
         GossipEntry(NodeId("8" * 40), 0, 0, "6.6.6.6", 1, 2, NodeFlag.PRIMARY),
         extensions=Extensions(hostname="evil", forgotten=((C, 60),))),
    ping(header(B, 2, ip="6.6.6.6", port=1, bus_port=2)),
    Fail(header(B, 2), C),
    Update(header(B, 2), 99, C, ALL),
    Update(header(C, 3), 4, B, ALL),
    FailoverAuthRequest(as_replica(current_epoch=2**40)),
    FailoverAuthRequest(as_replica(current_epoch=4, message_flags=MessageFlag.FORCE_VOTE)),
    FailoverAuthRequest(as_replica(current_epoch=3, message_flags=MessageFlag.FORCE_VOTE)),
    FailoverAuthAck(header(B, 99, current_epoch=99)),
    MfStart(as_replica()),
    Publish(header(B, 2), b"c", b"m"),
    LightPublish(b"c", b"m"),
]


@pytest.mark.parametrize("message", FORGERIES, ids=lambda message: type(message).__name__)
def test_a_forgery_changes_nothing_also_when_the_member_is_asked_and_answers(message: Message) -> None:
    """The forger calls from the member's own address; the member, asked, says what it always said."""
    cluster, peers = met()
    before = seen(cluster)
    sender = B if isinstance(message, LightPublish) else message.header.sender
    forger = Caller(cluster, sender)
    forger.now_ms = NOW + 3000  # The epoch that all have is old.
    for peer in peers.values():
        peer.now_ms = NOW + 3000
    effects: list[Effect] = []
    for _ in range(3):
        effects += forger.says(message)
    assert seen(cluster) == before
    assert not of_kind(effects, Persist) and not of_kind(effects, Deliver) and not of_kind(effects, PauseWrites)
    sent = [one for one in of_kind(effects, Send) if isinstance(one, Send)]
    assert all(isinstance(one.message, Ping | Update) for one in sent), "answers and questions"
    asked = [one.link for one in sent if isinstance(one.message, Ping) and one.message.type is MessageType.PING]
    assert len(asked) <= 2, "however often it says so"
    for node, told in ((B, header(B, 2)), (C, header(C, 3)), (D, as_replica())):
        if peers[node].link in asked:
            effects = peers[node].says(ping(told, kind=PONG))
            assert not of_kind(effects, Persist)
            assert not [one for one in of_kind(effects, Send) if isinstance(one, Send)
                        and isinstance(one.message, FailoverAuthAck)], "no vote"
    assert cluster.last_vote_epoch == 0 and cluster.current_epoch == 3 and cluster.ok
    assert {node: cluster.slotmap.count(node) for node in (ME, B, C)} == {
        node: len(slots) for node, slots in SLOTS.items()
    }
    assert all(not one.failed for one in cluster.members.values()) and not cluster.votes


@pytest.mark.parametrize("message", [
    Fail(header(B, 2), C), FailoverAuthRequest(as_replica(current_epoch=3)), MfStart(as_replica()),
    Publish(header(B, 2), b"c", b"m"), Update(header(STRANGER, 2), 9, C, ALL),
], ids=lambda message: type(message).__name__)
def test_what_is_refused_is_logged_once_a_second(message: Message) -> None:
    cluster, peers = met()
    assert not isinstance(message, LightPublish)
    forger = Caller(cluster, message.header.sender)
    lines: list[str] = []

    def run(effects: list[Effect]) -> None:
        lines.extend(one.text for one in effects if isinstance(one, Log) and "not believed" in one.text)

    for at_ms in (3000, 3001, 3002, 4500):
        forger.now_ms = NOW + at_ms
        run(forger.says(message))
        for node, told in ((C, header(C, 3)), (D, as_replica())):
            peers[node].now_ms = forger.now_ms
            run(peers[node].says(ping(told, kind=PONG)))
        run(cluster.step(Tick(), forger.now_ms))
    assert 1 <= len(lines) <= 2
    assert "10.0.0." in lines[0], "from where it came"


def test_news_over_an_accepted_link_are_asked_for_and_taken_from_the_member_itself() -> None:
    cluster, peers = met()
    told = header(B, 7, current_epoch=7, slots=slots_to_bitmap([3, *SLOTS[B]]))
    effects = Caller(cluster, B).says(ping(told, kind=PONG))
    (question,) = of_kind(effects, Send)
    assert isinstance(question, Send) and question.link == peers[B].link
    assert cluster.slotmap.owner_of(3) == ME
    peers[B].says(ping(told, kind=PONG))
    assert cluster.slotmap.owner_of(3) == B and cluster.current_epoch == 7
    assert of_kind(Caller(cluster, B).says(ping(told, kind=PONG)), Send) == [], "no news any more"


def test_a_vote_is_given_when_the_candidate_itself_has_taken_the_epoch() -> None:
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), replica(D, B))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    peer, caller = Peer(cluster, D), Caller(cluster, D)
    cluster.members[B].flags |= NodeFlag.FAIL
    cluster.members[B].leased_ms = 0
    old = header(D, 2, flags=NodeFlag.REPLICA, primary=B, slots=slots_to_bitmap(SLOTS[B]))
    peer.says(ping(old, kind=PONG))
    new = replace(old, current_epoch=4)
    caller.says(ping(old, kind=PONG))
    caller.says(FailoverAuthRequest(new))
    assert cluster.last_vote_epoch == 0
    peer.says(ping(old, kind=PONG))
    assert cluster.last_vote_epoch == 0, "an answer from before"
    effects = peer.says(ping(new, kind=PONG))
    assert cluster.last_vote_epoch == 4 and effects[0] == Persist()
    (vote,) = [one for one in of_kind(effects, Send) if isinstance(one, Send) and isinstance(one.message, FailoverAuthAck)]
    assert vote.link == caller.link, "over the candidate's own link, where it believes it at once"


def test_a_failure_that_others_have_counted_is_believed_of_who_is_silent_here_too() -> None:
    cluster, peers = met()
    for at_ms in (300, 700, 1400):
        cluster.step(Tick(), NOW + at_ms)
        for node, told in ((B, header(B, 2)), (D, as_replica())):
            peers[node].now_ms = NOW + at_ms
            peers[node].says(ping(told, kind=PONG))
    caller = Caller(cluster, B)
    caller.now_ms = NOW + 1400
    caller.says(Fail(header(B, 2), C))
    assert cluster.members[C].failed


def test_a_failure_that_is_heard_early_is_believed_when_no_answer_comes() -> None:
    cluster, peers = met()
    caller = Caller(cluster, B)
    caller.now_ms = NOW + 1
    caller.says(Fail(header(B, 2), C))
    for at_ms in range(100, 1001, 100):
        cluster.step(Tick(), NOW + at_ms)
        assert not cluster.members[C].failed
    cluster.step(Tick(), NOW + 1001)
    assert cluster.members[C].failed
    assert peers


def probe_of(effects: list[Effect]) -> Connect:
    (probe,) = [one for one in effects if isinstance(one, Connect)]
    return probe


def test_a_member_is_followed_to_a_new_address_when_it_answers_there_and_no_longer_here() -> None:
    cluster, peers = met()
    peers[C].step(LinkClosed(peers[C].link))
    cluster.gossip.members.by_id[C].link = None
    mover = Caller(cluster, C, ip="10.9.9.9")
    mover.now_ms = NOW + 600
    probe = probe_of(mover.says(ping(header(C, 3))))
    assert (probe.ip, probe.bus_port) == ("10.9.9.9", 17000) and cluster.members[C].address == address(C)
    cluster.step(LinkOpened(probe.link, "10.0.0.5"), NOW + 601)
    effects = cluster.step(Received(probe.link, ping(header(C, 3), kind=PONG)), NOW + 602)
    assert cluster.members[C].address == Address("10.9.9.9", 7000, 17000) and Persist() in effects


def test_a_member_that_answers_is_not_looked_for_elsewhere() -> None:
    """Even though the forger listens there and answers in its name."""
    cluster, peers = met()
    forger = Caller(cluster, C, ip="10.9.9.9")
    forger.now_ms = NOW + 100
    effects = forger.says(ping(header(C, 3)))
    assert not of_kind(effects, Connect), "the member is asked first"
    peers[C].now_ms = NOW + 101
    peers[C].says(ping(header(C, 3), kind=PONG))
    effects = cluster.step(Tick(), NOW + 200)
    assert cluster.members[C].address == address(C)
    assert any(isinstance(one, Log) and "10.9.9.9" in one.text for one in effects)
    forger.now_ms = NOW + 300
    assert len(of_kind(forger.says(ping(header(C, 3))), Send)) == 1, "and is not asked again: this is the PONG"


def test_a_member_that_announces_what_nobody_reaches_is_kept_where_it_answers() -> None:
    """cluster-announce-ip with a mistake in it, on all nodes at once: who is connected stays, and hears the correction."""
    cluster, peers = met()
    told = ping(header(C, 3, ip="10.9.9.9"), kind=PONG)
    peers[C].now_ms = NOW + 100
    for _ in range(3):
        probe = probe_of(peers[C].says(told))
        assert (probe.ip, probe.bus_port) == ("10.9.9.9", 17000)
        assert not of_kind(peers[C].says(told), Connect), "one attempt at a time"
        assert not of_kind(cluster.step(Tick(), NOW + 200), Log), "its answers at the old address are no reason to doubt it"
        cluster.step(LinkClosed(probe.link), NOW + 300)
        assert cluster.members[C].address == address(C) and cluster.members[C].link is not None
    probe = probe_of(peers[C].says(told))
    cluster.step(LinkOpened(probe.link, "10.0.0.5"), NOW + 301)
    effects = cluster.step(Received(probe.link, told), NOW + 302)
    assert cluster.members[C].address == Address("10.9.9.9", 7000, 17000) and effects[0] == Persist()
    assert len(of_kind(effects, Close)) == 2 and probe_of(effects).ip == "10.9.9.9"


def test_somebody_else_at_the_new_address_ends_the_search() -> None:
    cluster, peers = met()
    peers[C].step(LinkClosed(peers[C].link))
    mover = Caller(cluster, C, ip="10.9.9.9")
    mover.now_ms = NOW + 600
    probe = probe_of(mover.says(ping(header(C, 3))))
    cluster.step(LinkOpened(probe.link, "10.0.0.5"), NOW + 601)
    effects = cluster.step(Received(probe.link, ping(header(STRANGER, 3), kind=PONG)), NOW + 602)
    assert of_kind(effects, Close) == [Close(probe.link)] and cluster.members[C].address == address(C)
    assert not cluster.gossip.moves


def test_a_newcomer_takes_no_slots_of_an_owner_that_is_well() -> None:
    """It has come by MEET, listens and answers, and claims everything in a great epoch."""
    cluster, _ = met()
    Caller(cluster, STRANGER).says(ping(header(STRANGER, 0, slots=b"\0" * 2048), kind=MessageType.MEET))
    member = next(one for one in cluster.members.values() if one.in_handshake)
    if member.link is None:
        cluster.step(Tick(), NOW)
    assert member.link is not None
    link = member.link.id
    cluster.step(LinkOpened(link, "10.0.0.5"), NOW)
    cluster.step(Received(link, ping(header(STRANGER, 0, slots=b"\0" * 2048), kind=PONG)), NOW)
    assert STRANGER in cluster.members
    claim = ping(header(STRANGER, 50, current_epoch=50, slots=ALL), kind=PONG)
    effects = cluster.step(Received(link, claim), NOW)
    assert {node: cluster.slotmap.count(node) for node in (ME, B, C)} == {node: len(own) for node, own in SLOTS.items()}
    assert any(isinstance(one, Log) and "not believed" in one.text for one in effects)
    slot = SLOTS[ME][0]
    cluster.operations.set_slot_migrating(slot, STRANGER, NOW)
    cluster.step(Received(link, claim), NOW)
    assert cluster.slotmap.owner_of(slot) == STRANGER, "what is moved to it, it gets"


def test_epochs_do_not_leap_even_at_a_members_word() -> None:
    cluster, peers = met()
    peers[B].says(ping(header(B, 2, current_epoch=3 + EPOCH_LEAP_MAX + 1), kind=PONG))
    assert cluster.current_epoch == 3
    peers[B].says(ping(header(B, 3 + EPOCH_LEAP_MAX + 1, slots=ALL), kind=PONG))
    assert cluster.slotmap.owner_of(0) == ME and cluster.members[B].config_epoch == 2
    peers[B].says(ping(header(B, 2, current_epoch=3 + EPOCH_LEAP_MAX), kind=PONG))
    assert cluster.current_epoch == 3 + EPOCH_LEAP_MAX


def test_a_second_link_in_a_members_name_takes_nothing_from_the_first() -> None:
    cluster, _ = met()
    established = cluster.members[B].inbound
    forger = Caller(cluster, B)
    for _ in range(3):
        forger.says(ping(header(B, 2)))
    assert cluster.members[B].inbound is established and cluster.member_of_link(forger.link) is None
    forger.now_ms = NOW + 4001
    forger.says(ping(header(B, 2)))
    assert cluster.member_of_link(forger.link) is cluster.members[B], "when the first has been silent for two timeouts"
