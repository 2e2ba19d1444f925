"""What CLUSTER shows, against what redis-server 7.0.15 and valkey-server 9.1.2 showed in the same situation.

The cluster is the one that was put to them: `a` (a.example) with slots 0-10 20-30 40, its replica `c` (c.example) and
`b` without a hostname with slots 11-12.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.views import (
    BusCounters,
    ClusterView,
    EndpointType,
    LinkView,
    NodeView,
    Viewer,
    client_port,
    endpoint,
    flag_names,
    info_text,
    links_list,
    nodes_text,
    replicas_lines,
    shards_list,
    slots_list,
)
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import MessageType, NodeFlag

A, B, C = NodeId("f0" * 20), NodeId("47" * 20), NodeId("38" * 20)
SHARD_A, SHARD_B = ShardId("aa" * 20), ShardId("bb" * 20)
NODE_A = NodeView(
    A, Address("127.0.0.1", 24412, 34412), NodeFlag.PRIMARY | NodeFlag.MYSELF, shard_id=SHARD_A, hostname="a.example",
    config_epoch=1, connected=True, slots=((0, 10), (20, 30), (40, 40)), offset=14,
)
NODE_B = NodeView(
    B, Address("127.0.0.1", 29270, 39270), NodeFlag.PRIMARY, shard_id=SHARD_B, pong_received_ms=1795253953461,
    config_epoch=2, connected=True, slots=((11, 12),),
)
NODE_C = NodeView(
    C, Address("127.0.0.1", 21010, 31010), NodeFlag.REPLICA, primary=A, shard_id=SHARD_A, hostname="c.example",
    pong_received_ms=1795253953260, config_epoch=1, connected=True, offset=14,
)
CLUSTER = ClusterView((NODE_C, NODE_A, NODE_B), current_epoch=3, migrating={5: B})
IP, HOSTNAME, UNKNOWN = (Viewer(kind) for kind in (EndpointType.IP, EndpointType.HOSTNAME, EndpointType.UNKNOWN))


def seen(*nodes: NodeView, **fields: object) -> ClusterView:
    return replace(CLUSTER, nodes=nodes, **fields)  # type: ignore[arg-type]


def nodes_of(shard: dict[bytes, object]) -> list[dict[bytes, object]]:
    nodes = shard[b"nodes"]
    assert isinstance(nodes, list)
    return nodes


def test_nodes() -> None:
    assert nodes_text(CLUSTER, IP).decode() == (
        f"{C} 127.0.0.1:21010@31010,c.example slave {A} 0 1795253953260 1 connected\n"
        f"{A} 127.0.0.1:24412@34412,a.example myself,master - 0 0 1 connected 0-10 20-30 40 [5->-{B}]\n"
        f"{B} 127.0.0.1:29270@39270 master - 0 1795253953461 2 connected 11-12\n"
    )


def test_a_node_that_knows_nobody_and_not_even_its_address() -> None:
    me = NodeView(A, Address("", 22808, 32808), NodeFlag.PRIMARY | NodeFlag.MYSELF, connected=True, slots=((5, 5),))
    alone = seen(me, migrating={})
    assert nodes_text(alone, IP) == f"{A} :22808@32808 myself,master - 0 0 0 connected 5\n".encode()
    assert slots_list(alone, IP) == [[5, 5, [b"", 22808, A.encode(), {}]]]
    assert slots_list(alone, HOSTNAME) == [[5, 5, [b"?", 22808, A.encode(), {b"ip": b""}]]]
    assert slots_list(alone, UNKNOWN) == [[5, 5, [None, 22808, A.encode(), {b"ip": b""}]]]
    assert shards_list(alone, IP)[0][b"slots"] == [5, 5]


def test_open_slots_are_shown_by_slot_whichever_way_they_go() -> None:
    view = seen(NODE_A, migrating={9: B, 3: B}, importing={7: C})
    assert nodes_text(view, IP).endswith(f" 40 [3->-{B}] [7-<-{C}] [9->-{B}]\n".encode())


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (NodeFlag.NONE, "noflags"),
        (NodeFlag.EXTENSIONS | NodeFlag.MIGRATE_TO, "noflags"),
        (NodeFlag.HANDSHAKE, "handshake"),
        (NodeFlag.PRIMARY | NodeFlag.MYSELF, "myself,master"),
        (NodeFlag.REPLICA | NodeFlag.PFAIL, "slave,fail?"),
        (NodeFlag.PRIMARY | NodeFlag.FAIL | NodeFlag.NOADDR, "master,fail,noaddr"),
        (NodeFlag.REPLICA | NodeFlag.NOFAILOVER | NodeFlag.LIGHT_HEADER, "slave,nofailover"),
    ],
)
def test_flag_names(flags: NodeFlag, names: str) -> None:
    assert flag_names(flags) == names


def test_replicas() -> None:
    assert replicas_lines(CLUSTER, IP, A) == [
        f"{C} 127.0.0.1:21010@31010,c.example slave {A} 0 1795253953260 1 connected".encode()
    ]
    assert replicas_lines(CLUSTER, IP, B) == []


@pytest.mark.parametrize(
    ("viewer", "a", "b", "c"),
    [
        (IP, (b"127.0.0.1", {b"hostname": b"a.example"}), (b"127.0.0.1", {}),
         (b"127.0.0.1", {b"hostname": b"c.example"})),
        (HOSTNAME, (b"a.example", {b"ip": b"127.0.0.1"}), (b"?", {b"ip": b"127.0.0.1"}),
         (b"c.example", {b"ip": b"127.0.0.1"})),
        (UNKNOWN, (None, {b"ip": b"127.0.0.1", b"hostname": b"a.example"}), (None, {b"ip": b"127.0.0.1"}),
         (None, {b"ip": b"127.0.0.1", b"hostname": b"c.example"})),
    ],
)
def test_slots(
    viewer: Viewer, a: tuple[bytes | None, object], b: tuple[bytes | None, object], c: tuple[bytes | None, object]
) -> None:
    entry_a = [a[0], 24412, A.encode(), a[1]]
    entry_b = [b[0], 29270, B.encode(), b[1]]
    entry_c = [c[0], 21010, C.encode(), c[1]]
    assert slots_list(CLUSTER, viewer) == [
        [0, 10, entry_a, entry_c], [11, 12, entry_b], [20, 30, entry_a, entry_c], [40, 40, entry_a, entry_c],
    ]


def test_slots_names_replicas_that_can_serve_and_primaries_whatever_their_health() -> None:
    def ids_of(view: ClusterView) -> list[object]:
        return [entry[2] for entry in slots_list(view, IP)[0][2:] if isinstance(entry, list)]

    assert ids_of(seen(NODE_A, NODE_C)) == [A.encode(), C.encode()]
    assert ids_of(seen(NODE_A, replace(NODE_C, offset=0))) == [A.encode()]
    assert ids_of(seen(NODE_A, replace(NODE_C, flags=NodeFlag.REPLICA | NodeFlag.FAIL))) == [A.encode()]
    assert ids_of(seen(NODE_A, replace(NODE_C, flags=NodeFlag.REPLICA | NodeFlag.PFAIL))) == [A.encode(), C.encode()]
    failed = replace(NODE_A, flags=NodeFlag.PRIMARY | NodeFlag.FAIL)
    assert ids_of(seen(failed, NODE_C)) == [A.encode(), C.encode()]


def test_shards() -> None:
    assert shards_list(CLUSTER, IP) == [
        {
            b"slots": [0, 10, 20, 30, 40, 40],
            b"nodes": [
                {b"id": A.encode(), b"port": 24412, b"ip": b"127.0.0.1", b"endpoint": b"127.0.0.1",
                 b"hostname": b"a.example", b"role": b"master", b"replication-offset": 14, b"health": b"online"},
                {b"id": C.encode(), b"port": 21010, b"ip": b"127.0.0.1", b"endpoint": b"127.0.0.1",
                 b"hostname": b"c.example", b"role": b"replica", b"replication-offset": 14, b"health": b"online"},
            ],
        },
        {
            b"slots": [11, 12],
            b"nodes": [
                {b"id": B.encode(), b"port": 29270, b"ip": b"127.0.0.1", b"endpoint": b"127.0.0.1",
                 b"role": b"master", b"replication-offset": 0, b"health": b"online"},
            ],
        },
    ]
    assert list(nodes_of(shards_list(CLUSTER, IP)[0])[0]) == [
        b"id", b"port", b"ip", b"endpoint", b"hostname", b"role", b"replication-offset", b"health"
    ], "in RESP2 the order is seen"


@pytest.mark.parametrize(
    ("viewer", "endpoints"), [(HOSTNAME, [b"a.example", b"c.example", b"?"]), (UNKNOWN, [b"", b"", b""])]
)
def test_shards_endpoints(viewer: Viewer, endpoints: list[bytes]) -> None:
    shown = [node[b"endpoint"] for shard in shards_list(CLUSTER, viewer) for node in nodes_of(shard)]
    assert shown == endpoints


def test_shards_health_and_what_is_no_member_yet() -> None:
    handshake = NodeView(NodeId("1" * 40), Address("127.0.0.1", 9, 10009), NodeFlag.HANDSHAKE)
    view = seen(replace(NODE_A, flags=NodeFlag.PRIMARY | NodeFlag.FAIL), replace(NODE_C, offset=0), handshake)
    (shard,) = shards_list(view, IP)
    assert [node[b"health"] for node in nodes_of(shard)] == [b"fail", b"loading"]
    assert b" handshake - 0 0 0 disconnected\n" in nodes_text(view, IP)


def test_shards_hold_together_without_shard_ids_and_by_the_primarys_where_a_replica_lags_behind() -> None:
    for shard_a, shard_c in ((None, None), (SHARD_A, None), (SHARD_A, ShardId("cc" * 20))):
        view = seen(replace(NODE_A, shard_id=shard_a), NODE_B, replace(NODE_C, shard_id=shard_c))
        assert [len(nodes_of(shard)) for shard in shards_list(view, IP)] == [2, 1]


def test_clients_get_the_address_and_port_of_their_kind() -> None:
    node = replace(
        NODE_A, address=Address("10.0.0.5", 7000, 17000, 7443), client_ipv4="127.0.0.1", client_ipv6="::1"
    )
    view = seen(node)
    assert endpoint(node, Viewer()) == b"127.0.0.1"
    assert endpoint(node, Viewer(ipv6=True)) == b"::1"
    assert endpoint(node, Viewer(internal=True)) == endpoint(node, Viewer(internal=True, ipv6=True)) == b"10.0.0.5"
    assert endpoint(replace(node, client_ipv6=None), Viewer(ipv6=True)) == b"10.0.0.5"
    assert (client_port(view, node, Viewer()), client_port(view, node, Viewer(tls=True))) == (7000, 7443)
    swapped = seen(node, tls_cluster=True)
    assert (client_port(swapped, node, Viewer()), client_port(swapped, node, Viewer(tls=True))) == (7443, 7000)
    assert nodes_text(view, Viewer(tls=True)).startswith(f"{A} 127.0.0.1:7443@17000,a.example ".encode())
    for cluster, ports in ((view, (7000, 7443)), (swapped, (7443, 7000))):
        shown = nodes_of(shards_list(cluster, Viewer())[0])[0]
        assert (shown[b"port"], shown[b"tls-port"], shown[b"ip"]) == (*ports, b"127.0.0.1")


def test_info_of_a_node_alone() -> None:
    me = NodeView(A, Address("", 1, 2), NodeFlag.PRIMARY | NodeFlag.MYSELF, slots=((5, 5),))
    assert info_text(seen(me, current_epoch=0), BusCounters()).decode().split("\r\n") == [
        "cluster_state:fail", "cluster_slots_assigned:1", "cluster_slots_ok:1", "cluster_slots_pfail:0",
        "cluster_slots_fail:0", "cluster_known_nodes:1", "cluster_size:1", "cluster_current_epoch:0",
        "cluster_my_epoch:0", "cluster_stats_messages_sent:0", "cluster_stats_messages_received:0",
        "total_cluster_links_buffer_limit_exceeded:0", "",
    ]


def test_info_counts_messages_by_type_and_slots_by_health() -> None:
    sent = {MessageType.MEET: 2, MessageType.PING: 14, MessageType.PONG: 16, MessageType.FAIL: 0}
    received = {MessageType.PING: 16, MessageType.PUBLISHSHARD: 1, MessageType.FAILOVER_AUTH_REQUEST: 3}
    suspected = replace(NODE_B, flags=NodeFlag.PRIMARY | NodeFlag.PFAIL)
    dead = NodeView(NodeId("1" * 40), Address("1.1.1.1", 1, 2), NodeFlag.PRIMARY | NodeFlag.FAIL, slots=((100, 109),))
    view = seen(NODE_A, suspected, dead, NODE_C, cluster_ok=True)
    assert info_text(view, BusCounters(sent, received, 7)).decode().split("\r\n") == [
        "cluster_state:ok", "cluster_slots_assigned:35", "cluster_slots_ok:23", "cluster_slots_pfail:2",
        "cluster_slots_fail:10", "cluster_known_nodes:4", "cluster_size:3", "cluster_current_epoch:3",
        "cluster_my_epoch:1", "cluster_stats_messages_ping_sent:14", "cluster_stats_messages_pong_sent:16",
        "cluster_stats_messages_meet_sent:2", "cluster_stats_messages_sent:32",
        "cluster_stats_messages_ping_received:16", "cluster_stats_messages_auth-req_received:3",
        "cluster_stats_messages_publishshard_received:1", "cluster_stats_messages_received:20",
        "total_cluster_links_buffer_limit_exceeded:7", "",
    ]


def test_links() -> None:
    shown = links_list([LinkView(B, True, 1795253948842), LinkView(C, False, 5, "rw", 48, 40)])
    assert shown[0] == {
        b"direction": b"to", b"node": B.encode(), b"create-time": 1795253948842, b"events": b"r",
        b"send-buffer-allocated": 0, b"send-buffer-used": 0,
    }
    assert list(shown[1].values()) == [b"from", C.encode(), 5, b"rw", 48, 40]
