"""What CLUSTER NODES, SLOTS, SHARDS, INFO, LINKS and REPLICAS show: plain values, for the node floor to write as RESP.

Clients find their way by these replies and tests compare them to the letter, so their shape is kept apart from the
machine that knows the facts: `ClusterView` is what is to be shown, `Viewer` who looks. bytes are bulk strings, lists
arrays, dicts maps (in RESP2: flat arrays), None is null. Defined on the CLUSTER command pages of Redis 7.2; what those
leave open is as redis-server 7.0 and valkey-server 9.1 answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from cluster.slots import SlotRange, format_range
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import MessageType, NodeFlag

Endpoint = list[bytes | int | dict[bytes, bytes] | None]
"""[name to connect to, port, node id, further names]."""

FLAG_NAMES: tuple[tuple[NodeFlag, str], ...] = (
    (NodeFlag.MYSELF, "myself"),
    (NodeFlag.PRIMARY, "master"),
    (NodeFlag.REPLICA, "slave"),
    (NodeFlag.PFAIL, "fail?"),
    (NodeFlag.FAIL, "fail"),
    (NodeFlag.HANDSHAKE, "handshake"),
    (NodeFlag.NOADDR, "noaddr"),
    (NodeFlag.NOFAILOVER, "nofailover"),
)
"""The flags that have a name, in the order in which Redis writes them."""

_MESSAGE_NAMES: tuple[tuple[MessageType, str], ...] = (
    (MessageType.PING, "ping"),
    (MessageType.PONG, "pong"),
    (MessageType.MEET, "meet"),
    (MessageType.FAIL, "fail"),
    (MessageType.PUBLISH, "publish"),
    (MessageType.FAILOVER_AUTH_REQUEST, "auth-req"),
    (MessageType.FAILOVER_AUTH_ACK, "auth-ack"),
    (MessageType.UPDATE, "update"),
    (MessageType.MFSTART, "mfstart"),
    (MessageType.MODULE, "module"),
    (MessageType.PUBLISHSHARD, "publishshard"),
)


class EndpointType(Enum):
    """`cluster-preferred-endpoint-type`: by what name clients are sent to nodes."""

    IP = "ip"
    HOSTNAME = "hostname"
    UNKNOWN = "unknown-endpoint"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks. tls, ipv6: how the client reached this node, for it is given ports and addresses of the same kind.

    internal: it comes from where the nodes are (`networks.py`) and is given the bus's addresses, not those announced
    for clients.
    """

    endpoint: EndpointType = EndpointType.IP
    tls: bool = False
    ipv6: bool = False
    internal: bool = False


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as this one knows it.

    config_epoch: a replica's is its primary's. ping_sent_ms: when the ping that is still unanswered was sent, 0 for
    none. connected: the link to it is up; true for the node itself. slots: ascending. offset: replication offset in
    bytes, 0 while nothing has come through, in which state a replica is not shown to clients as one to read from.
    """

    id: NodeId
    address: Address
    flags: NodeFlag
    primary: NodeId | None = None
    shard_id: ShardId | None = None
    hostname: str | None = None
    client_ipv4: str | None = None
    client_ipv6: str | None = None
    ping_sent_ms: int = 0
    pong_received_ms: int = 0
    config_epoch: int = 0
    connected: bool = False
    slots: tuple[SlotRange, ...] = ()
    offset: int = 0


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The cluster as one of its nodes, the one flagged MYSELF, knows it.

    nodes: every known node, those in handshake included; they are shown in this order. migrating, importing: this
    node's open slots and the other ends. tls_cluster: `port` of the addresses is the TLS port, and secondary_port the
    plain one.
    """

    nodes: tuple[NodeView, ...]
    cluster_ok: bool = False
    current_epoch: int = 0
    migrating: Mapping[int, NodeId] = field(default_factory=dict)
    importing: Mapping[int, NodeId] = field(default_factory=dict)
    tls_cluster: bool = False


@dataclass(frozen=True, slots=True)
class BusCounters:
    """Messages since the start by type, and links that were closed for passing `cluster-link-sendbuf-limit`."""

    sent: Mapping[MessageType, int] = field(default_factory=dict)
    received: Mapping[MessageType, int] = field(default_factory=dict)
    links_limit_exceeded: int = 0


@dataclass(frozen=True, slots=True)
class LinkView:
    """One bus connection. outgoing: this node opened it. create_time_ms: since 1970. events: `r` or `rw`, what it waits
    for. buffer sizes: bytes."""

    node: NodeId
    outgoing: bool
    create_time_ms: int
    events: str = "r"
    send_buffer_allocated: int = 0
    send_buffer_used: int = 0


# --- words that nodes.conf shares -----------------------------------------------------------------


@lru_cache(maxsize=1024)
def flag_names(flags: NodeFlag) -> str:
    """`flags` as CLUSTER NODES and nodes.conf write them: names with commas between, `noflags` if none has a name."""
    return ",".join([name for flag, name in FLAG_NAMES if flag & flags]) or "noflags"


def format_open_slots(migrating: Mapping[int, NodeId], importing: Mapping[int, NodeId]) -> list[str]:
    """`[slot->-to]` of every slot that leaves and `[slot-<-from]` of every slot that comes, ascending by slot."""
    opened = [(slot, f"[{slot}->-{node}]") for slot, node in migrating.items()]
    opened += [(slot, f"[{slot}-<-{node}]") for slot, node in importing.items()]
    return [text for _, text in sorted(opened)]


# --- one node -------------------------------------------------------------------------------------


def client_ip(node: NodeView, viewer: Viewer) -> str:
    """The address at which a client should find the node: announced for clients of its kind, else the bus's."""
    announced = None if viewer.internal else node.client_ipv6 if viewer.ipv6 else node.client_ipv4
    return announced or node.address.ip


def client_port(cluster: ClusterView, node: NodeView, viewer: Viewer) -> int:
    """The port at which a client of this kind should find the node; 0 when the node has none of that kind."""
    return node.address.port if viewer.tls == cluster.tls_cluster else node.address.secondary_port


def endpoint(node: NodeView, viewer: Viewer) -> bytes | None:
    """The host that MOVED, ASK and SLOTS name: None for `the one you are talking to` (MOVED writes it as an empty
    string), `?` when a hostname is asked for and the node has none."""
    if viewer.endpoint is EndpointType.IP:
        return client_ip(node, viewer).encode()
    if viewer.endpoint is EndpointType.HOSTNAME:
        return (node.hostname or "?").encode()
    return None


def _replica_can_serve(node: NodeView) -> bool:
    return not node.flags & NodeFlag.FAIL and node.offset != 0


def _node_line(cluster: ClusterView, node: NodeView, viewer: Viewer) -> str:
    where = f"{client_ip(node, viewer)}:{client_port(cluster, node, viewer)}@{node.address.bus_port}"
    if node.hostname:
        where += f",{node.hostname}"
    fields = [
        node.id, where, flag_names(node.flags), node.primary or "-", str(node.ping_sent_ms),
        str(node.pong_received_ms), str(node.config_epoch), "connected" if node.connected else "disconnected",
    ]
    fields += [format_range(slots) for slots in node.slots]
    if node.flags & NodeFlag.MYSELF:
        fields += format_open_slots(cluster.migrating, cluster.importing)
    return " ".join(fields)


# --- the commands ---------------------------------------------------------------------------------


def nodes_text(cluster: ClusterView, viewer: Viewer) -> bytes:
    """CLUSTER NODES: a line a node, each with its newline (in RESP3 a verbatim string)."""
    return "".join([_node_line(cluster, node, viewer) + "\n" for node in cluster.nodes]).encode()


def replicas_lines(cluster: ClusterView, viewer: Viewer, primary: NodeId) -> list[bytes]:
    """CLUSTER REPLICAS: the lines of CLUSTER NODES, without newline, of those that replicate `primary`."""
    return [_node_line(cluster, node, viewer).encode() for node in cluster.nodes if node.primary == primary]


def _endpoint_entry(cluster: ClusterView, node: NodeView, viewer: Viewer) -> Endpoint:
    metadata: dict[bytes, bytes] = {}
    if viewer.endpoint is not EndpointType.IP:
        metadata[b"ip"] = client_ip(node, viewer).encode()
    if viewer.endpoint is not EndpointType.HOSTNAME and node.hostname:
        metadata[b"hostname"] = node.hostname.encode()
    return [endpoint(node, viewer), client_port(cluster, node, viewer), node.id.encode(), metadata]


def slots_list(cluster: ClusterView, viewer: Viewer) -> list[list[int | Endpoint]]:
    """CLUSTER SLOTS: [first slot, last slot, primary, replica ...] of every assigned range, ascending.

    Replicas that are failed or have received nothing yet are left out; a failed primary is not.
    """
    entries: dict[NodeId, list[Endpoint]] = {
        node.id: [_endpoint_entry(cluster, node, viewer)] for node in cluster.nodes if node.slots
    }
    for node in cluster.nodes:
        if node.primary in entries and _replica_can_serve(node):
            entries[node.primary].append(_endpoint_entry(cluster, node, viewer))
    ranges = sorted((slots, node.id) for node in cluster.nodes for slots in node.slots)
    return [[start, end, *entries[owner]] for (start, end), owner in ranges]


def shards_list(cluster: ClusterView, viewer: Viewer) -> list[dict[bytes, object]]:
    """CLUSTER SHARDS: `slots` (first, last, first, last ...) and `nodes` of every shard, its primary first."""
    shards: dict[str, list[NodeView]] = {}
    by_id = {node.id: node for node in cluster.nodes}
    for node in cluster.nodes:
        if not node.flags & NodeFlag.HANDSHAKE:
            shards.setdefault(_shard_of(node, by_id), []).append(node)
    replies: list[dict[bytes, object]] = []
    for members in shards.values():
        members.sort(key=lambda node: bool(node.flags & NodeFlag.REPLICA))
        ranges = sorted(slots for node in members for slots in node.slots)
        replies.append({
            b"slots": [slot for slots in ranges for slot in slots],
            b"nodes": [_shard_node(cluster, node, viewer) for node in members],
        })
    return replies


def _shard_of(node: NodeView, by_id: Mapping[NodeId, NodeView]) -> str:
    """What holds a shard's nodes together: the primary's shard id, or its node id, for Redis 7.0 has no shard ids."""
    first = by_id.get(node.primary, node) if node.primary else node
    return first.shard_id or first.id


def _shard_node(cluster: ClusterView, node: NodeView, viewer: Viewer) -> dict[bytes, object]:
    replica = bool(node.flags & NodeFlag.REPLICA)
    plain, tls = node.address.port, node.address.secondary_port
    if cluster.tls_cluster:
        plain, tls = tls, plain
    shown: dict[bytes, object] = {b"id": node.id.encode()}
    if plain:
        shown[b"port"] = plain
    if tls:
        shown[b"tls-port"] = tls
    shown[b"ip"] = client_ip(node, viewer).encode()
    shown[b"endpoint"] = endpoint(node, viewer) or b""
    if node.hostname:
        shown[b"hostname"] = node.hostname.encode()
    shown[b"role"] = b"replica" if replica else b"master"
    shown[b"replication-offset"] = node.offset
    if node.flags & NodeFlag.FAIL:
        shown[b"health"] = b"fail"
    else:
        shown[b"health"] = b"loading" if replica and not node.offset else b"online"
    return shown


def info_text(cluster: ClusterView, counters: BusCounters) -> bytes:
    """CLUSTER INFO: `name:value` lines that end in CR LF (in RESP3 a verbatim string), the fields of Redis 7.2.

    Types of message of which none was sent or received have no line.
    """
    assigned = {node.id: sum(end - start + 1 for start, end in node.slots) for node in cluster.nodes}
    failed = sum(assigned[node.id] for node in cluster.nodes if node.flags & NodeFlag.FAIL)
    suspected = sum(
        assigned[node.id] for node in cluster.nodes
        if node.flags & NodeFlag.PFAIL and not node.flags & NodeFlag.FAIL
    )
    total = sum(assigned.values())
    mine = [node.config_epoch for node in cluster.nodes if node.flags & NodeFlag.MYSELF]
    lines = [
        f"cluster_state:{'ok' if cluster.cluster_ok else 'fail'}",
        f"cluster_slots_assigned:{total}",
        f"cluster_slots_ok:{total - failed - suspected}",
        f"cluster_slots_pfail:{suspected}",
        f"cluster_slots_fail:{failed}",
        f"cluster_known_nodes:{len(cluster.nodes)}",
        f"cluster_size:{sum(1 for slots in assigned.values() if slots)}",
        f"cluster_current_epoch:{cluster.current_epoch}",
        f"cluster_my_epoch:{mine[0] if mine else 0}",
        *_counter_lines("sent", counters.sent),
        *_counter_lines("received", counters.received),
        f"total_cluster_links_buffer_limit_exceeded:{counters.links_limit_exceeded}",
    ]
    return "".join([line + "\r\n" for line in lines]).encode()


def _counter_lines(direction: str, counts: Mapping[MessageType, int]) -> list[str]:
    lines = [
        f"cluster_stats_messages_{name}_{direction}:{counts[kind]}" for kind, name in _MESSAGE_NAMES if counts.get(kind)
    ]
    return [*lines, f"cluster_stats_messages_{direction}:{sum(counts.values())}"]


def links_list(links: Iterable[LinkView]) -> list[dict[bytes, bytes | int]]:
    """CLUSTER LINKS: a map a bus connection to or from a known node."""
    return [
        {
            b"direction": b"to" if link.outgoing else b"from",
            b"node": link.node.encode(),
            b"create-time": link.create_time_ms,
            b"events": link.events.encode(),
            b"send-buffer-allocated": link.send_buffer_allocated,
            b"send-buffer-used": link.send_buffer_used,
        }
        for link in links
    ]
