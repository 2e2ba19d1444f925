"""The machine alone: what it answers to single events and orders, to the letter where Redis's users read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from cluster.events import (
    ClusterError,
    Connect,
    DataDropped,
    Deliver,
    Effect,
    LinkAccepted,
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
from cluster.machine import Cluster, ClusterSettings
from cluster.slotmap import SlotMap, bits_of, slots_in
from cluster.slots import slots_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.events import GossipEvent
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import (
    NO_SLOTS,
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

NOW = 1_700_000_000_000
SETTINGS = ClusterSettings(port=7000, bus_port=17000, node_timeout_ms=2000)
ME, B, C, D = (NodeId(letter * 40) for letter in "5bcd")
SHARD = ShardId("e" * 40)
THIRD = SLOT_COUNT // 3
SLOTS = {ME: range(THIRD), B: range(THIRD, 2 * THIRD), C: range(2 * THIRD, SLOT_COUNT)}


def address(node: NodeId) -> Address:
    return Address(f"10.0.0.{int(node[0], 16)}", 7000, 17000)


def saved(*nodes: SavedNode, epoch: int = 3) -> SavedState:
    return SavedState(nodes, current_epoch=epoch)


def primary(node: NodeId, epoch: int, flags: NodeFlag = NodeFlag.NONE) -> SavedNode:
    return SavedNode(
        node, address(node), NodeFlag.PRIMARY | flags, config_epoch=epoch, shard_id=ShardId(node),
        slots=slots_to_bitmap(SLOTS[node]) if node in SLOTS else NO_SLOTS,
    )


def replica(node: NodeId, of: NodeId, flags: NodeFlag = NodeFlag.NONE) -> SavedNode:
    return SavedNode(node, address(node), NodeFlag.REPLICA | flags, primary=of, shard_id=ShardId(of))


def three(**settings: object) -> Cluster:
    """ME, B and C own a third each, with the epochs 1, 2 and 3; D replicates ME."""
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), replica(D, ME))
    return Cluster.from_saved(state, replace(SETTINGS, **settings), Random(1), now_ms=NOW)  # type: ignore[arg-type]


def of_kind(effects: list[Effect], kind: type) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


def header(node: NodeId, epoch: int, **fields: object) -> Header:
    given = Header(node, 7000, 17000, NodeFlag.PRIMARY, current_epoch=3, config_epoch=epoch,
                   slots=slots_to_bitmap(SLOTS.get(node, [])))
    return replace(given, **fields)  # type: ignore[arg-type]


class Peer:
    """The other end of a link that `node` opened."""

    def __init__(self, cluster: Cluster, node: NodeId) -> None:
        self.cluster = cluster
        self.link = cluster.new_link()
        self.now_ms = NOW
        self.step(LinkAccepted(self.link, address(node).ip, address(ME).ip))

    def step(self, event: GossipEvent) -> list[Effect]:
        return self.cluster.step(event, self.now_ms)

    def says(self, message: Message) -> list[Effect]:
        return self.step(Received(self.link, message))


def ping(head: Header, *gossip: GossipEntry, kind: MessageType = MessageType.PING,
         extensions: Extensions | None = None) -> Ping:
    return Ping(kind, head, gossip, extensions or Extensions())


# --- starting -------------------------------------------------------------------------------------


def test_a_new_node_is_saved_before_it_speaks() -> None:
    cluster = Cluster(SETTINGS, Random(1), now_ms=NOW)
    effects = cluster.operations.meet("10.0.0.9", 7000, 17000, NOW)
    assert effects == [Persist(), Connect(1, "10.0.0.9", 17000)]
    (sent,) = of_kind(cluster.step(LinkOpened(1), NOW), Send)
    assert isinstance(sent, Send) and isinstance(sent.message, Ping) and sent.message.type is MessageType.MEET


def test_what_is_saved_is_what_was_restored() -> None:
    state = replace(three().saved_state(), migrating={5: B}, importing={6000: B}, last_vote_epoch=2)
    again = Cluster.from_saved(state, SETTINGS, Random(2), now_ms=NOW).saved_state()
    assert again == state


def test_a_replica_follows_its_primary_on_the_first_tick_alone() -> None:
    state = saved(primary(B, 2), replica(ME, B, NodeFlag.MYSELF))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    assert of_kind(cluster.step(Tick(), NOW), RoleChanged) == [RoleChanged(B, address(B))]
    assert not of_kind(cluster.step(Tick(), NOW + 100), RoleChanged)


def test_the_table_of_served_slots_is_changed_in_place() -> None:
    cluster = three()
    served = cluster.served
    assert not any(served)
    effects = cluster.step(Tick(), NOW)
    assert StateChanged(True) in effects
    assert served is cluster.served and served.count(1) == THIRD and served[0] and not served[THIRD]
    cluster.operations.set_slot_migrating(7, B, NOW)
    assert not served[7]
    cluster.operations.set_slot_stable(7, NOW)
    assert served[7]


# --- orders ---------------------------------------------------------------------------------------

Order = Callable[[Cluster], object]

REFUSED: list[tuple[str, Order]] = [
    ("ERR Invalid node address specified: nowhere:7000", lambda c: c.operations.meet("nowhere", 7000, 17000, NOW)),
    ("ERR Invalid node address specified: 10.0.0.1:0", lambda c: c.operations.meet("10.0.0.1", 0, 17000, NOW)),
    ("ERR Invalid node address specified: 10.0.0.1:7000", lambda c: c.operations.meet("10.0.0.1", 7000, 65536, NOW)),
    (f"ERR Unknown node {'0' * 40}", lambda c: c.operations.forget("0" * 40, NOW)),
    ("ERR I tried hard but I can't forget myself...", lambda c: c.operations.forget(ME, NOW)),
    ("ERR Unknown node x", lambda c: c.operations.replicate("x", False, NOW)),
    ("ERR Can't replicate myself", lambda c: c.operations.replicate(ME, False, NOW)),
    ("ERR I can only replicate a master, not a replica.", lambda c: c.operations.replicate(D, False, NOW)),
    ("ERR To set a master the node must be empty and without assigned slots.",
     lambda c: c.operations.replicate(B, False, NOW)),
    ("ERR CLUSTER RESET can't be called with master nodes containing keys",
     lambda c: c.operations.reset(False, True, NOW)),
    ("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.", lambda c: c.operations.flush_slots(True, NOW)),
    (f"ERR I'm not the owner of hash slot {THIRD}", lambda c: c.operations.set_slot_migrating(THIRD, B, NOW)),
    ("ERR I'm already the owner of hash slot 5", lambda c: c.operations.set_slot_importing(5, B, NOW)),
    ("ERR I don't know about node x", lambda c: c.operations.set_slot_migrating(5, "x", NOW)),
    ("ERR Target node is not a master", lambda c: c.operations.set_slot_migrating(5, D, NOW)),
    ("ERR Unknown node x", lambda c: c.operations.set_slot_node(5, "x", False, NOW)),
    ("ERR Target node is not a master", lambda c: c.operations.set_slot_node(5, D, False, NOW)),
    ("ERR Can't assign hashslot 5 to a different node while I still hold keys for this hash slot.",
     lambda c: c.operations.set_slot_node(5, B, True, NOW)),
    ("ERR Invalid config epoch specified: -1", lambda c: c.operations.set_config_epoch(-1, NOW)),
    ("ERR The user can assign a config epoch only when the node does not know any other node.",
     lambda c: c.operations.set_config_epoch(5, NOW)),
]


@pytest.mark.parametrize(("error", "order"), REFUSED, ids=[error for error, _ in REFUSED])
def test_an_order_that_is_refused_changes_nothing(error: str, order: Order) -> None:
    cluster = three()
    before = cluster.saved_state()
    with pytest.raises(ClusterError) as caught:
        order(cluster)
    assert str(caught.value) == error
    assert cluster.saved_state() == before


def test_what_a_replica_may_not() -> None:
    state = saved(primary(B, 2), replica(ME, B, NodeFlag.MYSELF))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    with pytest.raises(ClusterError, match=r"^ERR Please use SETSLOT only with masters\.$"):
        cluster.operations.set_slot_stable(1, NOW)
    with pytest.raises(ClusterError, match=r"^ERR Can't forget my master!$"):
        cluster.operations.forget(B, NOW)
    effects = cluster.operations.reset(False, True, NOW)
    assert effects[0] == Persist() and RoleChanged(None) in effects and DataDropped() in effects
    assert cluster.myself.is_primary and cluster.myself.shard_id != B


def test_config_epochs_by_hand() -> None:
    cluster = Cluster(SETTINGS, Random(1), now_ms=NOW)
    assert cluster.operations.set_config_epoch(7, NOW)[0] == Persist()
    assert (cluster.current_epoch, cluster.myself.config_epoch) == (7, 7)
    with pytest.raises(ClusterError, match=r"^ERR Node config epoch is already non-zero$"):
        cluster.operations.set_config_epoch(8, NOW)
    assert cluster.operations.bump_epoch(NOW)[:2] == (False, 7), "it is the greatest already"
    bumped = three().operations.bump_epoch(NOW)
    assert bumped[:2] == (True, 4) and bumped[2][0] == Persist()


def test_adding_slots_ends_their_import_and_reset_ends_all() -> None:
    cluster = three()
    cluster.operations.set_slot_importing(THIRD, B, NOW)
    cluster.operations.del_slots([THIRD], NOW)
    cluster.operations.add_slots([THIRD], NOW)
    assert not cluster.slotmap.importing and cluster.slotmap.owner_of(THIRD) == ME
    cluster.operations.reset(True, False, NOW)
    assert cluster.slotmap.assigned == 0 and len(cluster.members) == 1 and cluster.myself.id != ME


def test_assigning_the_last_slot_away_makes_a_replica() -> None:
    state = saved(primary(B, 2), replace(primary(ME, 1, NodeFlag.MYSELF), slots=slots_to_bitmap([9])))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    effects = cluster.operations.set_slot_node(9, B, False, NOW)
    assert of_kind(effects, RoleChanged) == [RoleChanged(B, address(B))]
    assert cluster.myself.is_replica and cluster.myself.primary is cluster.members[B]


# --- what peers say -------------------------------------------------------------------------------


def test_a_known_peer_is_heard() -> None:
    cluster = three()
    effects = Peer(cluster, B).says(ping(header(B, 2, current_epoch=9, offset=123)))
    assert effects[0] == Persist(), "the epoch is saved before the answer"
    assert cluster.current_epoch == 9 and cluster.members[B].offset == 123
    (sent,) = of_kind(effects, Send)
    assert isinstance(sent, Send) and isinstance(sent.message, Ping)
    assert sent.message.type is MessageType.PONG and sent.message.header.current_epoch == 9


STRANGER = NodeId("9" * 40)


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
    effects = Peer(cluster, STRANGER).says(message)
    assert cluster.saved_state() == before and cluster.current_epoch == epoch
    assert not of_kind(effects, Persist) and not of_kind(effects, Deliver)
    assert len(of_kind(effects, Send)) == isinstance(message, Ping), "a ping has its pong"


def test_a_peer_does_not_speak_for_another() -> None:
    cluster = three()
    peer = Peer(cluster, B)
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
    peer = Peer(cluster, B)
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
    peer = Peer(cluster, B)
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
    assert cluster.counters.sent == {MessageType.PONG: 1}


# --- the table ------------------------------------------------------------------------------------


def test_bits_and_slots() -> None:
    for slots in ([], [0], [SLOT_COUNT - 1], [1, 5, 9], list(range(100, 300)), list(range(SLOT_COUNT))):
        assert slots_in(bits_of(slots)) == slots


def test_the_table_against_a_plain_one() -> None:
    random = Random(7)
    table, plain = SlotMap(), dict[int, NodeId]()
    nodes = [ME, B, C, None]
    for _ in range(300):
        first = random.randrange(SLOT_COUNT)
        slots = range(first, min(SLOT_COUNT, first + random.choice((1, 3, 40, 2000))))
        node = random.choice(nodes)
        table.assign(bits_of(slots), node)
        for slot in slots:
            plain.pop(slot, None)
            if node is not None:
                plain[slot] = node
    assert {slot: owner for slot in range(SLOT_COUNT) if (owner := table.owner_of(slot)) is not None} == plain
    assert table.assigned == len(plain)
    for owner in (ME, B, C):
        owned = sorted(slot for slot, one in plain.items() if one == owner)
        assert table.bitmap(owner) == slots_to_bitmap(owned) and table.count(owner) == len(owned)
        assert [slot for start, end in table.slots_of(owner) for slot in range(start, end + 1)] == owned
