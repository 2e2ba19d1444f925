"""Real servers start on a nodes.conf that we wrote, and we on what they make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.nodes_conf import format_nodes_conf, parse_nodes_conf
from cluster.slots import bitmap_to_ranges
from cluster.state import SavedState
from gossip.messages import NodeFlag
from tests.cluster.real_servers import ME, PRIMARY, REPLICA, start_on, state_with_silent_peers
from tests.servers import ServerProcess

pytestmark = pytest.mark.real


def ask(server: ServerProcess, command: str) -> str:
    """The reply to a command, as text; an error reply is raised."""
    reply: bytes | bool = server.client.execute_command(*command.split())
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def check_same_cluster(back: SavedState, *, with_shards: bool) -> None:
    before, after = ({node.id: node for node in saved.nodes} for saved in (state_with_silent_peers(), back))
    assert after.keys() == before.keys()
    assert (back.current_epoch, back.last_vote_epoch) == (12, 11)
    assert (dict(back.migrating), dict(back.importing)) == ({5: PRIMARY}, {300: PRIMARY})
    for name, node in after.items():
        was = before[name]
        assert node.flags & ~NodeFlag.PFAIL == was.flags
        assert (node.primary, node.config_epoch, node.slots) == (was.primary, was.config_epoch, was.slots)
        if name != ME:
            assert node.address == was.address
        if with_shards:
            assert (node.shard_id, node.hostname, node.human_nodename) == (
                was.shard_id, was.hostname, was.human_nodename
            )
            assert node.client_ipv4 == was.client_ipv4


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_a_real_server_starts_on_our_file_and_we_read_what_it_writes(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "nodes.conf"
    file.write_bytes(format_nodes_conf(state_with_silent_peers()))
    with start_on(kind, tmp_path) as server:
        assert ask(server, "CLUSTER MYID").strip() == ME
        shown = {line.split()[0]: line.split() for line in ask(server, "CLUSTER NODES").splitlines() if line}
        assert shown[ME][8:] == ["0-99", "200", f"[5->-{PRIMARY}]", f"[300-<-{PRIMARY}]"]
        assert shown[PRIMARY][8:] == ["300-16383"]
        assert shown[REPLICA][2:4] == ["slave", ME]
        ask(server, "CLUSTER SAVECONFIG")
        written = file.read_bytes()
    if kind == "valkey":
        check_same_cluster(parse_nodes_conf(written), with_shards=True)
    else:
        # 7.0 knows no auxiliary fields: it takes all behind the comma for a hostname, until gossip corrects it.
        assert b"@10002,two.example,client-ipv4=127.0.0.9,tls-port=0,nodename=two,shard-id=" in written
        check_same_cluster(parse_nodes_conf(written), with_shards=False)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_a_file_that_a_real_server_began_is_read_written_by_us_and_taken_back(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "nodes.conf"
    with start_on(kind, tmp_path) as server:
        node = ask(server, "CLUSTER MYID").strip()
        ask(server, "CLUSTER ADDSLOTSRANGE 0 5 16383 16383")
        ask(server, "CLUSTER SET-CONFIG-EPOCH 3")
        ask(server, "CLUSTER SAVECONFIG")
    saved = parse_nodes_conf(file.read_bytes())
    (me,) = saved.nodes
    assert (me.id, me.flags, me.config_epoch) == (node, NodeFlag.MYSELF | NodeFlag.PRIMARY, 3)
    assert bitmap_to_ranges(me.slots) == [(0, 5), (16383, 16383)]
    assert me.address.ip == "", "a node learns its own address from others"
    file.write_bytes(format_nodes_conf(saved))
    with start_on(kind, tmp_path) as server:
        assert ask(server, "CLUSTER MYID").strip() == node
        fields = ask(server, "CLUSTER NODES").split()
    assert fields[2:] == ["myself,master", "-", "0", "0", "3", "connected", "0-5", "16383"]
