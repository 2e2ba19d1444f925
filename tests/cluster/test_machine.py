"""The machine alone: how it starts, what it answers to orders, to the letter where Redis's users read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from cluster.events import (
    ClusterError,
    Connect,
    DataDropped,
    LinkOpened,
    Persist,
    RoleChanged,
    Send,
    StateChanged,
    Tick,
)
from cluster.machine import Cluster
from cluster.slotmap import SlotMap, bits_of, slots_in
from cluster.slots import slots_to_bitmap
from gossip.ids import NodeId, ShardId
from gossip.messages import (
    SLOT_COUNT,
    MessageType,
    NodeFlag,
    Ping,
)
from tests.cluster.machines import (
    ME,
    NOW,
    SETTINGS,
    THIRD,
    B,
    C,
    D,
    address,
    of_kind,
    primary,
    replica,
    saved,
    three,
)

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
    assert cluster.myself.is_primary and cluster.myself.shard_id != ShardId(B)


def test_config_epochs_by_hand() -> None:
    cluster = Cluster(SETTINGS, Random(1), now_ms=NOW)
    assert cluster.operations.set_config_epoch(7, NOW)[0] == Persist()
    assert (cluster.current_epoch, cluster.myself.config_epoch) == (7, 7)
    with pytest.raises(ClusterError, match=r"^ERR Node config epoch is already non-zero$"):
        cluster.operations.set_config_epoch(8, NOW)
    assert cluster.operations.bump_epoch(NOW)[:2] == (False, 7), "it is the greatest already"
    bumped = three().operations.bump_epoch(NOW)
    assert bumped[:2] == (True, 6) and bumped[2][0] == Persist(), "the first of four by id: 1, 6, 11"


def test_adding_slots_ends_their_import_and_reset_ends_all() -> None:
    cluster = three()
    cluster.operations.set_slot_importing(THIRD, B, NOW)
    cluster.operations.del_slots([THIRD], NOW)
    cluster.operations.add_slots([THIRD], NOW)
    assert not cluster.slotmap.importing and cluster.slotmap.owner_of(THIRD) == ME
    cluster.operations.reset(True, False, NOW)
    assert cluster.slotmap.assigned == 0 and len(cluster.members) == 1 and cluster.myself.id != ME


def test_only_owners_wait_for_the_disk() -> None:
    """As in Redis: a loss of power may forget that a slot was open, and never who has got it."""
    cluster = three()
    give = cluster.operations
    assert give.set_slot_importing(THIRD, B, NOW)[0] == Persist(lasting=False)
    assert give.set_slot_migrating(0, B, NOW)[0] == Persist(lasting=False)
    assert give.set_slot_stable(0, NOW)[0] == Persist(lasting=False)
    assert give.set_slot_node(THIRD, ME, False, NOW)[0] == Persist(), "its own, and a new epoch"
    assert give.set_slot_node(1, B, False, NOW)[0] == Persist(), "given away"
    assert give.set_slot_node(1, B, False, NOW)[0] == Persist(lasting=False), "known already"


def test_assigning_the_last_slot_away_makes_a_replica() -> None:
    state = saved(primary(B, 2), replace(primary(ME, 1, NodeFlag.MYSELF), slots=slots_to_bitmap([9])))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    effects = cluster.operations.set_slot_node(9, B, False, NOW)
    assert of_kind(effects, RoleChanged) == [RoleChanged(B, address(B))]
    assert cluster.myself.is_replica and cluster.myself.primary is cluster.members[B]


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
