"""Where requests are sent, in Redis's words."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cluster.events import Tick
from cluster.machine import Cluster
from cluster.routing import Presence, route
from cluster.views import EndpointType, Viewer
from gossip.ids import Address
from gossip.messages import NodeFlag
from tests.cluster.machines import ME, NOW, SETTINGS, THIRD, B, primary, replica, saved, three

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
