"""redis-cli and redis-benchmark, as people type them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from redis.cluster import RedisCluster

from tests.clients.conftest import BIG, RUN, SixNodes, tool
from tests.clients.up import until
from tests.servers import free_port, start

pytestmark = pytest.mark.real


def run(*arguments: str, port: int, data: bytes = b"", status: int = 0) -> str:
    """redis-cli's output; AssertionError when it ends with another status."""
    command = [tool("redis-cli", "redis-tools"), "-p", str(port), *arguments]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    output = done.stdout.decode(errors="replace")
    assert done.returncode == status, f"{command} -> {done.returncode}\n{output}\n{done.stderr.decode()}"
    return output.rstrip("\n")


def test_cluster_mode_follows_redirects(six_nodes: SixNodes) -> None:
    for number in range(12):
        name = f"cli:{RUN}:{number}"
        assert run("-c", "SET", name, str(number), port=six_nodes.ports[number % 6]) == "OK"
        assert run("-c", "GET", name, port=six_nodes.ports[(number + 3) % 6]) == str(number)


def test_without_cluster_mode_the_redirect_is_shown(six_nodes: SixNodes) -> None:
    replies = {run("SET", f"cli:{RUN}:plain", "x", port=port).split()[0] for port in six_nodes.ports}
    assert replies == {"OK", "MOVED"}
    assert run("MGET", "a", "b", port=six_nodes.port).startswith("CROSSSLOT ")


@pytest.mark.parametrize("protocol", ["-2", "-3"])
def test_both_protocols(six_nodes: SixNodes, protocol: str) -> None:
    name = f"cli:{RUN}:hash{protocol}"
    assert run(protocol, "-c", "HSET", name, "a", "1", "b", "2", port=six_nodes.port) == "2"
    shown = run(protocol, "-c", "--no-raw", "HGETALL", name, port=six_nodes.port)
    lines = [line for line in shown.splitlines() if not line.startswith("->")]
    if protocol == "-3":
        assert lines == ['1# "a" => "1"', '2# "b" => "2"']
    else:
        assert lines == ['1) "a"', '2) "1"', '3) "b"', '4) "2"']


def test_value_from_standard_input(six_nodes: SixNodes) -> None:
    name = f"cli:{RUN}:stdin"
    assert run("-c", "-x", "SET", name, port=six_nodes.port, data=BIG) == "OK"
    assert run("-c", "STRLEN", name, port=six_nodes.port) == str(len(BIG))
    assert run("-c", "DEL", name, port=six_nodes.port) == "1"


def test_many_commands_from_standard_input(six_nodes: SixNodes) -> None:
    lines = b"".join(b'SET cli:%d "a b\\n"\nGET cli:%d\n' % (number, number) for number in range(50))
    shown = run("-c", "--no-raw", port=six_nodes.port, data=lines)
    assert shown.count("OK") == 50 and shown.count('"a b\\n"') == 50


def test_cluster_check_is_content(six_nodes: SixNodes) -> None:
    for port in six_nodes.ports:
        shown = run("--cluster", "check", f"127.0.0.1:{port}", port=port)
        assert "[OK] All nodes agree about slots configuration." in shown
        assert "[OK] All 16384 slots covered." in shown
        assert shown.count("M: ") == shown.count("S: ") == 3
        assert shown.count("1 additional replica(s)") == 3
        assert "[WARNING]" not in shown and "[ERR]" not in shown


def test_cluster_info_counts_keys(six_nodes: SixNodes) -> None:
    with RedisCluster(host="127.0.0.1", port=six_nodes.port) as cluster:
        for number in range(20):
            cluster.set(f"cli:{RUN}:info:{number}", "x")
    shown = run("--cluster", "info", f"127.0.0.1:{six_nodes.port}", port=six_nodes.port)
    counts = [int(count) for count in re.findall(r"-> (\d+) keys \| \d+ slots \| 1 slaves", shown)]
    assert len(counts) == 3 and all(counts)
    assert f"[OK] {sum(counts)} keys in 3 masters." in shown


def test_cluster_call(six_nodes: SixNodes) -> None:
    shown = run("--cluster", "call", f"127.0.0.1:{six_nodes.port}", "PING", port=six_nodes.port)
    assert shown.count("PONG") == 6
    shown = run("--cluster", "call", f"127.0.0.1:{six_nodes.port}", "DBSIZE", port=six_nodes.port)
    assert {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+): \d+", shown)} == set(six_nodes.ports)


def test_scan_of_one_node(six_nodes: SixNodes) -> None:
    with RedisCluster(host="127.0.0.1", port=six_nodes.port) as cluster:
        node = cluster.get_node_from_key(f"{{cli:{RUN}:scan}}")
        names = [f"{{cli:{RUN}:scan}}:{number}" for number in range(500)]
        cluster.mset(dict.fromkeys(names, "x"))
    shown = run("--scan", "--pattern", f"{{cli:{RUN}:scan}}:*", port=node.port)
    assert sorted(set(shown.splitlines())) == sorted(names)


def test_pipe_mode(six_nodes: SixNodes) -> None:
    tag = f"{{cli:{RUN}:pipe}}"
    with RedisCluster(host="127.0.0.1", port=six_nodes.port) as cluster:
        node = cluster.get_node_from_key(tag)
    data = b"".join(b"*2\r\n$4\r\nINCR\r\n$%d\r\n%b\r\n" % (len(tag), tag.encode()) for _ in range(5000))
    assert "errors: 0, replies: 5000" in run("--pipe", port=node.port, data=data)
    assert run("GET", tag, port=node.port) == "5000"


def test_big_keys_and_memory_keys(six_nodes: SixNodes) -> None:
    tag = f"{{cli:{RUN}:biggest}}"
    with RedisCluster(host="127.0.0.1", port=six_nodes.port) as cluster:
        node = cluster.get_node_from_key(tag)
        cluster.set(tag, b"x" * 300_000)
        cluster.hset(f"{tag}h", mapping={str(number): "y" for number in range(3000)})
    shown = run("--bigkeys", port=node.port)
    assert re.search(r'Biggest string found ."' + re.escape(tag) + '"', shown), shown
    assert re.search(r'Biggest +hash found ."' + re.escape(tag) + 'h"', shown), shown
    assert "Sampled" in run("--memkeys", port=node.port)
    assert run("UNLINK", tag, f"{tag}h", port=node.port) == "2"


def test_snapshot_over_the_wire(six_nodes: SixNodes, tmp_path: Path) -> None:
    """`--rdb` is a replica's full sync; a real server starts from the file."""
    with RedisCluster(host="127.0.0.1", port=six_nodes.port) as cluster:
        node = cluster.get_node_from_key("cli:rdb")
        cluster.flushall(target_nodes=node)  # Other tests leave JSON and filters, which no plain Valkey can load.
        cluster.set("cli:rdb", "x", ex=1000)
        cluster.hset("{cli:rdb}:hash", mapping={"a": 1})
        keys = cluster.dbsize(target_nodes=node)
    port = free_port()
    folder = tmp_path / f"valkey-{port}"
    folder.mkdir()
    run("--rdb", str(folder / "dump.rdb"), port=node.port)
    with start("valkey", tmp_path, "--rdb-version-check", "relaxed", port=port) as reader:
        assert reader.client.dbsize() == keys
        assert reader.client.get("cli:rdb") == b"x" and 900 < reader.client.ttl("cli:rdb") <= 1000
        assert reader.client.hgetall("{cli:rdb}:hash") == {b"a": b"1"}


def test_benchmark_over_the_cluster(six_nodes: SixNodes) -> None:
    command = [tool("redis-benchmark", "redis-tools"), "--cluster", "-p", str(six_nodes.port), "-q"]
    command += ["-n", "3000", "-c", "20", "-P", "8", "-r", "1000", "-t", "ping,set,get,incr,hset,mset", "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rror" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert {"SET", "GET", "INCR", "HSET"} <= set(re.findall(r'^"([A-Z]+)', done.stdout, re.MULTILINE))


def test_replica_tells_of_its_primary(six_nodes: SixNodes) -> None:
    shown = {port: run("ROLE", port=port).splitlines() for port in six_nodes.ports}
    replicas = [port for port, lines in shown.items() if lines[0] == "slave"]
    assert len(replicas) == 3
    for port in replicas:
        primary = int(shown[port][2])
        assert shown[primary][0] == "master"
        until(lambda port=port, primary=primary: offset(port) == offset(primary), "same offset")
        assert "master_link_status:up" in run("INFO", "replication", port=port)


def offset(port: int) -> int:
    """A node's replication offset."""
    found = re.search(r"master_repl_offset:(\d+)", run("INFO", "replication", port=port))
    assert found
    return int(found[1])
