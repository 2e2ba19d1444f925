"""Where requests are sent, in Redis's words."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cluster import claims
from cluster.events import ClusterError, Tick
from cluster.machine import Cluster
from cluster.operations import SlotAction, SlotOrder
from cluster.routing import Presence, route
from cluster.views import EndpointType, Viewer
from gossip.ids import Address, NodeId, ShardId
from gossip.members import PRIMARY, Member
from gossip.messages import NodeFlag
from tests.cluster.machines import ME, NOW, SETTINGS, THIRD, B, C, primary, replica, saved, three

IP = Viewer()
ALL, NONE, HALF, ONE_GONE = Presence(2, 0, True), Presence(0, 2, True), Presence(1, 1, True), Presence(0, 1, False)
MINE, THEIRS, MOVED = 1, THIRD, f"MOVED {THIRD} 10.0.0.11:7000"


def ok_cluster(**settings: object) -> Cluster:
    cluster = three(**settings)
    cluster.step(Tick(), NOW)
    assert cluster.ok
    return cluster


def ask(cluster: Cluster, slot: int, keys: Presence | None = None, viewer: Viewer = IP, *, writes: bool = False,
        readonly: bool = False, asking: bool = False, sharded: bool = False, moves: bool = False) -> str:
    """The reply, or `here`."""

    def presence() -> Presence:
        assert keys is not None, "nobody should look for keys"
        return keys

    redirect = route(cluster, slot, presence, viewer, writes=writes, readonly=readonly, asking=asking,
                     sharded_pubsub=sharded, moves_keys=moves)
    return "here" if redirect is None else redirect.text


def test_the_owner_serves_and_others_point_to_it() -> None:
    cluster = ok_cluster()
    assert ask(cluster, MINE) == "here"
    assert ask(cluster, THEIRS) == ask(cluster, THEIRS, writes=True, readonly=True, asking=True) == MOVED
    cluster.operations.del_slots([THEIRS], NOW)
    assert ask(cluster, THEIRS) == "CLUSTERDOWN Hash slot not served"


@pytest.mark.parametrize(("keys", "reply"), [
    (ALL, "here"),
    (NONE, "ASK 1 10.0.0.11:7000"),
    (ONE_GONE, "ASK 1 10.0.0.11:7000"),
    (HALF, "TRYAGAIN Multiple keys request during rehashing of slot"),
])
def test_a_slot_that_leaves(keys: Presence, reply: str) -> None:
    cluster = ok_cluster()
    cluster.operations.set_slot_migrating(MINE, B, NOW)
    assert ask(cluster, MINE, keys) == reply
    assert ask(cluster, MINE, moves=True) == "here"
    assert ask(cluster, MINE, sharded=True) == "here"


@pytest.mark.parametrize(("keys", "reply"), [
    (ALL, "here"),
    (ONE_GONE, "here"),
    (HALF, "TRYAGAIN Multiple keys request during rehashing of slot"),
    (NONE, "TRYAGAIN Multiple keys request during rehashing of slot"),
])
def test_a_slot_that_comes(keys: Presence, reply: str) -> None:
    cluster = ok_cluster()
    cluster.operations.set_slot_importing(THEIRS, B, NOW)
    assert ask(cluster, THEIRS, keys, asking=True) == reply
    assert ask(cluster, THEIRS, keys) == MOVED
    assert ask(cluster, THEIRS, moves=True) == "here"


def followed(**open_slots: dict[int, NodeId]) -> Cluster:
    """This node is a replica of B, which owns THEIRS and has told it of these open slots."""
    state = replace(saved(primary(B, 2), primary(C, 3), replica(ME, B, NodeFlag.MYSELF)), **open_slots)
    cluster = Cluster.from_saved(state, replace(SETTINGS, require_full_coverage=False), Random(1), now_ms=NOW)
    cluster.step(Tick(), NOW)
    return cluster


@pytest.mark.parametrize(("keys", "reply"), [(ALL, "here"), (NONE, "ASK {} 10.0.0.12:7000"), (HALF, "TRYAGAIN Mult")])
def test_a_replica_sends_its_readers_after_a_slot_that_leaves(keys: Presence, reply: str) -> None:
    cluster = followed(migrating={THEIRS: C})
    assert ask(cluster, THEIRS, keys, readonly=True).startswith(reply.format(THEIRS))
    assert ask(cluster, THEIRS, keys, writes=True, readonly=True) == ask(cluster, THEIRS, keys) == MOVED
    assert ask(cluster, THEIRS, sharded=True) == "here"


def test_a_replica_takes_nothing_in_for_its_primary() -> None:
    cluster = followed(importing={2 * THIRD: B})
    assert ask(cluster, 2 * THIRD, ALL, asking=True).startswith("MOVED ")


def test_setslot_on_a_replica_is_its_primarys_to_say() -> None:
    cluster = followed()
    order = SlotOrder(THEIRS, SlotAction.MIGRATING, C)
    with pytest.raises(ClusterError, match="Please use SETSLOT only with masters"):
        cluster.operations.set_slot(order, False, NOW)
    cluster.operations.set_slot(order, False, NOW, obeying=True)
    assert cluster.slotmap.migrating == {THEIRS: C}
    given = SlotOrder(THEIRS, SlotAction.NODE, C)
    cluster.operations.set_slot(given, True, NOW, obeying=True)  # Its keys leave with the primary's DEL.
    assert cluster.owner(THEIRS) is cluster.members[C] and not cluster.slotmap.migrating
    cluster.operations.set_slot(SlotOrder(THEIRS, SlotAction.IMPORTING, C), False, NOW, obeying=True)
    epoch = cluster.myself.config_epoch
    cluster.operations.set_slot(SlotOrder(THEIRS, SlotAction.NODE, B), False, NOW, obeying=True)
    assert cluster.owner(THEIRS) is cluster.members[B] and not cluster.slotmap.importing
    assert cluster.myself.config_epoch == epoch


@pytest.mark.parametrize("way", ["importing", "migrating"])
def test_open_slots_follow_a_failover_of_the_other_end(way: str) -> None:
    cluster = ok_cluster()
    slot = THEIRS if way == "importing" else MINE
    begin = cluster.operations.set_slot_importing if way == "importing" else cluster.operations.set_slot_migrating
    begin(slot, B, NOW)
    heir = Member(NodeId("e" * 40), Address("10.0.0.14", 7000, 17000), PRIMARY, NOW, shard_id=ShardId("7" * 40))
    cluster.members[B].shard_id = heir.shard_id
    cluster.gossip.members.add(heir)
    heir.config_epoch = 9
    claims.take_over(cluster, heir, 9, cluster.slotmap.bits(B))
    assert cluster.slotmap.owner_of(THEIRS) == heir.id
    assert getattr(cluster.slotmap, way) == {slot: heir.id}


def test_a_slot_that_comes_is_not_given_away_by_a_claim() -> None:
    cluster = ok_cluster()
    cluster.operations.set_slot_importing(THEIRS, B, NOW)
    claims.take_over(cluster, cluster.members[C], 9, cluster.slotmap.bits(B))
    assert cluster.slotmap.owner_of(THEIRS) == B and cluster.slotmap.owner_of(THEIRS + 1) == C
    assert cluster.slotmap.importing == {THEIRS: B}


def test_a_cluster_that_is_down() -> None:
    cluster = ok_cluster()
    cluster.operations.del_slots([THEIRS + 1], NOW)
    assert not cluster.ok
    assert ask(cluster, MINE) == ask(cluster, MINE, writes=True) == "CLUSTERDOWN The cluster is down"
    assert ask(cluster, MINE, sharded=True) == "here"
    cluster.reconfigure(replace(cluster.settings, allow_reads_when_down=True, allow_pubsubshard_when_down=False), NOW)
    assert ask(cluster, MINE) == "here" and ask(cluster, THEIRS) == MOVED
    assert ask(cluster, MINE, writes=True) == "CLUSTERDOWN The cluster is down and only accepts read commands"
    assert ask(cluster, MINE, sharded=True) == "CLUSTERDOWN The cluster is down"


def test_a_replica_serves_readers_of_its_primarys_slots() -> None:
    state = saved(primary(B, 2), replica(ME, B, NodeFlag.MYSELF))
    cluster = Cluster.from_saved(state, replace(SETTINGS, require_full_coverage=False), Random(1), now_ms=NOW)
    cluster.step(Tick(), NOW)
    assert ask(cluster, THEIRS) == MOVED
    assert ask(cluster, THEIRS, readonly=True) == ask(cluster, THEIRS, sharded=True) == "here"
    assert ask(cluster, THEIRS, readonly=True, writes=True) == MOVED
    assert not any(cluster.served)


def test_hosts_and_ports_are_those_that_the_client_wants() -> None:
    cluster = ok_cluster()
    other = cluster.members[B]
    other.address = Address("10.0.0.11", 7000, 17000, 7443)
    assert ask(cluster, THEIRS, viewer=Viewer(tls=True)) == f"MOVED {THIRD} 10.0.0.11:7443"
    assert ask(cluster, THEIRS, viewer=Viewer(EndpointType.HOSTNAME)) == f"MOVED {THIRD} ?:7000"
    assert ask(cluster, THEIRS, viewer=Viewer(EndpointType.UNKNOWN)) == f"MOVED {THIRD} :7000"
    other.hostname, other.client_ipv4, other.client_ipv6 = "b.example", "192.0.2.11", "2001:db8::b"
    assert ask(cluster, THEIRS, viewer=Viewer(EndpointType.HOSTNAME)) == f"MOVED {THIRD} b.example:7000"
    assert ask(cluster, THEIRS) == f"MOVED {THIRD} 192.0.2.11:7000"
    assert ask(cluster, THEIRS, viewer=Viewer(ipv6=True)) == f"MOVED {THIRD} 2001:db8::b:7000"


def test_tls_first_when_the_bus_is_tls() -> None:
    cluster = ok_cluster(tls_cluster=True, tls_port=7443)
    cluster.members[B].address = Address("10.0.0.11", 7443, 17000, 7000)
    assert ask(cluster, THEIRS) == MOVED
    assert ask(cluster, THEIRS, viewer=Viewer(tls=True)) == f"MOVED {THIRD} 10.0.0.11:7443"
