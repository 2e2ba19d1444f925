"""`hashslot up` as a user sees it: what it prints, what it refuses, how it ends, what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from tests.clients.up import Up, alive, free_range, until

pytestmark = pytest.mark.real


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cluster"


def layout(cluster: Up) -> dict[str, tuple[str, ...]]:
    """Node id -> address, flags, primary and slots, as the first node says."""
    with cluster.connect(decode_responses=True) as client:
        lines = client.execute_command("CLUSTER", "NODES").splitlines()
    words = [line.split() for line in lines]
    return {word[0]: (word[1], word[2].replace("myself,", ""), word[3], *word[8:]) for word in words}


def in_sync(client: Any) -> bool:
    """Whether this replica follows its primary's stream."""
    return bool(client.info("replication").get("master_link_status") == "up")


# What it prints -------------------------------------------------------------------------------------------------------


def test_table_and_hints_then_ctrl_c(folder: Path) -> None:
    with Up(interpreter=True) as cluster:
        shown = cluster.text()
        rows = re.findall(r"127\.0\.0\.1:(\d+) +\W+ (primary|replica) +\W +([0-9-]*) *\W", shown)
        assert [int(port) for port, _, _ in rows] == cluster.ports, shown
        assert [role for _, role, _ in rows] == ["primary"] * 3 + ["replica"] * 3
        assert [slots for _, _, slots in rows] == ["0-5460", "5461-10922", "10923-16383", "", "", ""]
        assert f'RedisCluster(host="127.0.0.1", port={cluster.port})' in shown
        assert f"redis-cli -c -h 127.0.0.1 -p {cluster.port}" in shown
        assert "Nothing is kept" in shown
        assert len(cluster.node_pids) == 6
        assert all(str(pid) in shown for pid in cluster.node_pids)
        for port in cluster.ports:
            with cluster.connect(port) as client:
                assert client.cluster("INFO")["cluster_state"] == "ok"
                role = client.info("replication")
                assert role["role"] == "master" or role["master_link_status"] == "up"
        # It is usable when it says so: the next line of a user's script writes and reads.
        with RedisCluster(host="127.0.0.1", port=cluster.port) as client:
            assert client.set("x", "1") and client.get("x") == b"1"
        with cluster.connect() as client:
            temporary = Path(client.config_get("dir")["dir"]).parent
        assert temporary.is_dir()
        assert cluster.finish(signal.SIGINT) == 0
        cluster.assert_nothing_left()
        assert "All nodes have ended." in cluster.text()
        assert "Traceback" not in cluster.text()
        assert not temporary.exists(), "a temporary cluster leaves no files"


# What it refuses ------------------------------------------------------------------------------------------------------


def refused(*options: str, nodes: int = 6, port: int = 0) -> str:
    """The line that says why; asserts status 2, one line, and that nothing runs afterwards."""
    with Up(*options, nodes=nodes, port=port, wait=False) as cluster:
        status = cluster.process.wait(20)
        shown = cluster.text().strip()
        assert status == 2, f"status {status}: {shown}"
        assert len(shown.splitlines()) == 1, shown
        assert shown.startswith("hashslot up: ")
        if not port:
            cluster.assert_nothing_left()
        return shown


@pytest.mark.parametrize("offset", [2, 10_003], ids=["client port", "bus port"])
def test_port_in_use(offset: int) -> None:
    first = free_range(6)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + offset))
        taken.listen()
        shown = refused(port=first)
        assert f"port {first + offset} on 127.0.0.1" in shown and "--port" in shown


def test_too_few_nodes_for_the_replicas() -> None:
    assert "replica" in refused("--replicas", "2", nodes=2)
    assert "--nodes 1" in refused(nodes=0)


def test_ports_out_of_range() -> None:
    assert "--port" in refused(port=55_534)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--maxclients", "many"), "argument"),
        (("--no-such-option", "1"), "Bad directive"),
        (("--appendonly", "perhaps"), "yes"),
        (("--replicaof", "127.0.0.1 6379"), "leave it out"),
        (("--cluster-enabled", "no"), "leave it out"),
    ],
)
def test_wrong_node_option(options: tuple[str, ...], reason: str) -> None:
    shown = refused(*options)
    assert reason in shown and options[0] in shown


def test_directory_of_something_else(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    assert "thesis.txt" in refused("--dir", str(folder))
    assert (folder / "thesis.txt").read_text() == "mine"
    assert sorted(entry.name for entry in folder.iterdir()) == ["cluster.lock", "thesis.txt"]


def test_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused("--dir", str(tmp_path / "file" / "below"))


def test_damaged_layout(folder: Path) -> None:
    folder.mkdir()
    (folder / "cluster.json").write_text('{"nodes": 6,')
    assert "damaged" in refused("--dir", str(folder))


# How it ends ----------------------------------------------------------------------------------------------------------


def test_terminated() -> None:
    with Up(nodes=3) as cluster:
        os.kill(cluster.process.pid, signal.SIGTERM)
        assert cluster.process.wait(20) == 0
        cluster.assert_nothing_left()


def test_killed_launcher_takes_its_nodes_along() -> None:
    with Up(nodes=3) as cluster:
        os.kill(cluster.process.pid, signal.SIGKILL)
        cluster.process.wait(20)
        cluster.assert_nothing_left()


def test_stopped_while_it_starts() -> None:
    """Ctrl-C before the cluster is usable leaves nothing either."""
    with Up(wait=False) as cluster:
        cluster.node_pids = until(cluster.children, "started the first node")
        status = cluster.finish(signal.SIGINT)
        assert status in (0, 1, 130, -signal.SIGINT), cluster.text()
        cluster.assert_nothing_left()


# --dir ----------------------------------------------------------------------------------------------------------------


def test_second_start_finds_its_topology(folder: Path) -> None:
    options = ("--dir", str(folder))
    with Up(*options) as cluster:
        first, port = layout(cluster), cluster.port
        assert f"Its state is kept in {folder}" in cluster.text().replace("\n", "")
        with Up(*options, port=port, wait=False) as second:
            assert second.process.wait(20) == 2
            assert "another hashslot" in second.text() or "in use" in second.text()
        with Up(*options, wait=False) as third:  # other ports, same directory
            assert third.process.wait(20) == 2
            assert "another hashslot" in third.text()
        assert cluster.finish() == 0
        cluster.assert_nothing_left()
    assert sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) == [str(port + at) for at in range(6)]
    with Up(*options, port=port) as again:
        assert layout(again) == first
        with RedisCluster(host="127.0.0.1", port=port) as client:
            assert client.set("x", "1")
        assert again.finish() == 0
        again.assert_nothing_left()
    for options_of_another in (("--replicas", "2"), ("--replicas", "0")):
        shown = refused(*options, *options_of_another, port=port)
        assert "holds another cluster" in shown and "--replicas 1" in shown and f"--port {port}" in shown
    assert "holds another cluster" in refused(*options, nodes=7, port=port)
    assert "holds another cluster" in refused(*options)


def test_slots_moved_by_hand_are_found_again(folder: Path) -> None:
    """What the nodes have agreed on since the first start counts, not what was planned then."""
    with Up("--dir", str(folder), nodes=2) as cluster:
        port = cluster.port
        with cluster.connect(port) as giver, cluster.connect(port + 1) as taker:
            old_owner, new_owner = (one.execute_command("CLUSTER", "MYID").decode() for one in (giver, taker))
            taker.execute_command("CLUSTER", "SETSLOT", 0, "IMPORTING", old_owner)
            taker.execute_command("CLUSTER", "SETSLOT", 0, "NODE", new_owner)
            giver.execute_command("CLUSTER", "SETSLOT", 0, "NODE", new_owner)
            until(lambda: "1-8191" in str(giver.execute_command("CLUSTER", "NODES")), "rid of slot 0")
        assert cluster.finish() == 0
        cluster.assert_nothing_left()
    with Up("--dir", str(folder), nodes=2, port=port) as again, again.connect(port + 1) as taker:
        assert taker.execute_command("CLUSTER", "COUNTKEYSINSLOT", 0) == 0
        with again.connect(port) as giver, pytest.raises(redis.exceptions.MovedError):
            giver.get("{06S}")
        assert again.finish() == 0


# Kinds of cluster -----------------------------------------------------------------------------------------------------


def test_one_node_serves_everything() -> None:
    with Up(nodes=1) as cluster:
        with cluster.connect() as client:
            for number in range(100):
                assert client.set(f"key {number}", number)
            assert client.dbsize() == 100
        with RedisCluster(host="127.0.0.1", port=cluster.port) as client:
            assert client.get("key 7") == b"7"
        assert cluster.finish() == 0
        cluster.assert_nothing_left()


def test_password_and_options_for_all_nodes() -> None:
    options = "--requirepass secret --masterauth secret --cluster-node-timeout 2345 --maxclients 77 --replicas 1"
    with Up(*options.split(), nodes=4) as cluster:
        for port in cluster.ports:
            with cluster.connect(port) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.get("x")
            with cluster.connect(port, password="secret") as client:
                assert client.config_get("cluster-node-timeout") == {"cluster-node-timeout": "2345"}
                assert client.config_get("maxclients") == {"maxclients": "77"}
                info = client.info("replication")
                assert info["role"] == "master" or info["master_link_status"] == "up"
        with RedisCluster(host="127.0.0.1", port=cluster.port, password="secret") as client:
            assert client.set("x", "1") and client.get("x") == b"1"
        assert cluster.finish() == 0
        cluster.assert_nothing_left()


# Nodes that die -------------------------------------------------------------------------------------------------------


def test_dead_node_is_reported_and_the_rest_goes_on() -> None:
    with Up("--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no", nodes=3) as cluster:
        victim = cluster.ports[2]
        pid = cluster.pid_of(victim)
        os.kill(pid, signal.SIGKILL)
        until(lambda: f"node 127.0.0.1:{victim} (pid {pid}) ended: killed by SIGKILL" in cluster.text(), "told of it")
        with cluster.connect() as client:
            until(lambda: "fail" in str(layout(cluster)).replace("fail?", ""), "seen as failed")
            assert client.set("{06S}", "still here")
        assert cluster.process.poll() is None
        assert cluster.finish() == 0
        cluster.assert_nothing_left()


def test_dead_nodes_come_back_with_restart() -> None:
    """A replica, which is in sync again with what was written meanwhile, and a primary, whose replica keeps the data."""
    with Up("--restart", "--replicas", "1", "--cluster-node-timeout", "3000", nodes=4) as cluster:
        primary, replica = cluster.ports[0], cluster.ports[2]
        with cluster.connect(replica) as client:
            assert client.info("replication")["master_port"] == primary
        restart(cluster, replica)
        with cluster.connect(primary) as client:
            client.set("{06S}", "written meanwhile")
        with cluster.connect(replica) as client:
            until(lambda: in_sync(client), "replica in sync")
            assert client.dbsize() == 1
        restart(cluster, primary)
        for port in cluster.ports:
            with cluster.connect(port) as client:
                until(lambda client=client: client.cluster("INFO")["cluster_state"] == "ok", "ok again")
        with cluster.connect(replica) as client:
            until(lambda: client.info("replication")["role"] == "master", "the replica, which has the data, took over")
            assert client.get("{06S}") == b"written meanwhile"
        with cluster.connect(primary) as client:
            until(lambda: in_sync(client), "the new process in sync with it")
            assert client.dbsize() == 1
        with RedisCluster(host="127.0.0.1", port=cluster.port) as client:
            assert client.set("after", "1")
        assert cluster.finish() == 0
        cluster.assert_nothing_left()


def restart(cluster: Up, port: int) -> None:
    """Kill the node on this port and wait until the launcher has started it again."""
    pid = cluster.pid_of(port)
    os.kill(pid, signal.SIGKILL)
    told = re.compile(rf"node 127\.0\.0\.1:{port} started again \(pid (\d+)\)")
    until(lambda: told.search(cluster.text()), "started again")
    until(lambda: cluster.pid_of(port) != pid, "answering again")
    assert not alive(pid)
    cluster.node_pids = cluster.children()


def test_all_nodes_dead_ends_the_launcher() -> None:
    with Up(nodes=2) as cluster:
        for pid in cluster.node_pids:
            os.kill(pid, signal.SIGKILL)
        cluster.process.wait(20)
        assert "No node is left." in cluster.text()
        cluster.assert_nothing_left()


# Files ----------------------------------------------------------------------------------------------------------------


def test_what_a_kept_cluster_looks_like_on_disk(folder: Path) -> None:
    with Up("--dir", str(folder), nodes=2) as cluster:
        known = json.loads((folder / "cluster.json").read_text())
        assert (known["nodes"], known["replicas"], known["port"], known["bind"]) == (2, 0, cluster.port, "127.0.0.1")
        assert len({member["id"] for member in known["members"]}) == 2
        for port in cluster.ports:
            assert (folder / str(port) / "nodes.conf").is_file()
            assert "Ready to accept connections" in (folder / str(port) / "node.log").read_text()
        assert cluster.finish() == 0


@pytest.fixture(autouse=True)
def _working_directory_stays_clean() -> Iterator[None]:
    """Nothing may be written where the user happens to be."""
    before = set(os.listdir())
    yield
    new = set(os.listdir()) - before
    assert not {name for name in new if name.endswith((".conf", ".rdb", ".lock", ".log", ".json"))}
