"""Our CLUSTER replies and a real server's, of the same nodes.conf: equal but for what only one of them can know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from redis.connection import Connection

from cluster.nodes_conf import format_nodes_conf
from cluster.slots import bitmap_to_ranges
from cluster.state import SavedNode, SavedState
from cluster.views import (
    BusCounters,
    ClusterView,
    EndpointType,
    NodeView,
    Viewer,
    info_text,
    nodes_text,
    replicas_lines,
    shards_list,
    slots_list,
)
from gossip.ids import Address
from tests.cluster.real_servers import ME, PRIMARY, start_on, state_with_silent_peers

pytestmark = pytest.mark.real


@dataclass
class Judge:
    """A running server and what we would show in its place."""

    name: str
    connection: Any
    view: ClusterView

    def ask(self, *words: str) -> Any:
        self.connection.send_command(*words)
        return self.connection.read_response()


def view_of(saved: SavedState, port: int) -> ClusterView:
    def look(node: SavedNode) -> NodeView:
        address = Address("127.0.0.1", port, port + 10000) if node.id == ME else node.address
        return NodeView(
            id=node.id, address=address, flags=node.flags, primary=node.primary, shard_id=node.shard_id,
            hostname=node.hostname, client_ipv4=node.client_ipv4, config_epoch=node.config_epoch,
            connected=node.id == ME, slots=tuple(bitmap_to_ranges(node.slots)),
        )

    return ClusterView(
        tuple(look(node) for node in saved.nodes), current_epoch=saved.current_epoch, migrating=saved.migrating,
        importing=saved.importing,
    )


@pytest.fixture(params=["redis", "valkey"], scope="module")
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    directory: Path = tmp_path_factory.mktemp("nodes")
    saved = state_with_silent_peers()
    if request.param == "redis":  # it reads no auxiliary fields, so it gets none
        saved = replace(saved, nodes=tuple(replace(node, client_ipv4=None) for node in saved.nodes))
        lines = format_nodes_conf(saved).decode().splitlines(keepends=True)
        text = "".join(line.replace(line.split()[1], without_aux(line.split()[1])) for line in lines)
    else:
        text = format_nodes_conf(saved).decode()
    (directory / "nodes.conf").write_text(text)
    with start_on(request.param, directory) as server:
        connection: Any = Connection(port=server.port, protocol=3)  # type: ignore[call-arg]
        connection.connect()
        yield Judge(request.param, connection, view_of(saved, server.port))
        connection.disconnect()


def without_aux(where: str) -> str:
    address, _, names = where.partition(",")
    hostname = names.partition(",")[0]
    return f"{address},{hostname}" if hostname else address


def comparable_lines(text: bytes) -> list[list[str]]:
    """The lines by node, without the times of ping and pong and the state of links, which the server sets itself."""
    fields = [line.split(" ") for line in text.decode().splitlines() if line]
    return sorted([*line[:4], line[6], *line[8:]] for line in fields)


def test_nodes_and_replicas(judge: Judge) -> None:
    ours = nodes_text(judge.view, Viewer())
    assert comparable_lines(ours) == comparable_lines(judge.ask("CLUSTER", "NODES"))
    for primary in (ME, PRIMARY):
        theirs = b"\n".join(judge.ask("CLUSTER", "REPLICAS", primary))
        assert comparable_lines(b"\n".join(replicas_lines(judge.view, Viewer(), primary))) == comparable_lines(theirs)


@pytest.mark.parametrize("kind", list(EndpointType))
def test_slots_and_shards(judge: Judge, kind: EndpointType) -> None:
    assert judge.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", kind.value) == b"OK"
    assert slots_list(judge.view, Viewer(kind)) == judge.ask("CLUSTER", "SLOTS")
    theirs = judge.ask("CLUSTER", "SHARDS")
    for shard in theirs:
        shard.pop(b"id", None)  # Valkey 9 names the shard here, Redis 7.2 does not
    ours = shards_list(judge.view, Viewer(kind))
    # Servers list shards in the order of a hash table. As text, for in RESP2 the order of the fields shows.
    assert sorted(map(repr, ours)) == sorted(map(repr, theirs))


def settled_lines(text: bytes) -> list[str]:
    """The lines that the file decides: not the counters of pings that already went out, nor what is computed a moment
    after the start, nor what Valkey alone has."""
    late = ("cluster_state:", "cluster_size:", "cluster_stats_messages_", *VALKEYS_OWN)
    return [line for line in text.decode().splitlines() if not line.startswith(late)]


def test_info(judge: Judge) -> None:
    ours = settled_lines(info_text(judge.view, BusCounters()))
    assert ours == settled_lines(judge.ask("CLUSTER", "INFO"))
    assert len(ours) == 8


VALKEYS_OWN = (
    "cluster_nodes_pfail", "cluster_nodes_fail", "cluster_voting_nodes_pfail", "cluster_voting_nodes_fail",
    "cluster_stats_bytes_", "cluster_stats_pubsub_bytes_", "cluster_stats_module_bytes_",
)
