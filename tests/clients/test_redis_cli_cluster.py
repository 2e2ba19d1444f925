"""`redis-cli --cluster` on our nodes mixed with redis-server and valkey-server, while a redis-py client reads and writes.

One cluster is created, grown, resharded, broken, mended and shrunk by redis-cli alone; the tests build on each other in this
order. At the end the client must have seen no error, and no increment may be missing.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import RedisCluster
from redis.crc import key_slot

from tests.clients.conftest import tool
from tests.clients.up import free_range, until
from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real

SETTINGS = """
port {port}
bind 127.0.0.1
dir "{folder}"
save ""
cluster-enabled yes
cluster-node-timeout 5000
repl-diskless-sync-delay 0
"""
FIRST = ["hashslot", "hashslot", "redis", "hashslot", "hashslot", "valkey"]
"""The first three become primaries. What Valkey 9 writes Redis 7.0 can not read, so nothing ever goes in that direction."""
KEYS = 600


class Load:
    """A client that increments and reads all the time, on a thread."""

    def __init__(self, port: int) -> None:
        self.done: dict[str, int] = {}
        self.errors: list[str] = []
        self._port = port
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with RedisCluster(host="127.0.0.1", port=self._port) as cluster:
            number = 0
            while not self._ends.is_set():
                number = (number + 1) % 100
                name = f"count:{number}"
                try:
                    cluster.incr(name)
                    self.done[name] = self.done.get(name, 0) + 1
                    assert cluster.get(f"key:{number}") == b"value"
                except Exception as error:
                    self.errors.append(repr(error))
                time.sleep(0.003)

    def end(self) -> None:
        self._ends.set()
        self._thread.join()


class Grown:
    """The cluster, as far as it has come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[ServerProcess] = []
        self.load: Load | None = None

    def start(self, kind: str) -> ServerProcess:
        port = free_range(1)
        own = self.folder / f"{kind}-{port}"
        own.mkdir()
        (own / "redis.conf").write_text(SETTINGS.format(port=port, folder=own))
        node = ServerProcess(kind, [str(own / "redis.conf")], port, own, "")
        self.nodes.append(node)
        return node

    def at(self, number: int) -> str:
        return f"127.0.0.1:{self.nodes[number].port}"

    def settle(self) -> None:
        """Wait until `check` finds nothing to complain about and every node is ok."""
        until(lambda: self.cli("check", self.at(0)) and all(map(is_ok, self.nodes)), "agreed", 30)

    def cli(self, *arguments: object, status: int = 0, answers: str = "") -> str:
        """What `redis-cli --cluster ...` prints; AssertionError when it ends with another status."""
        command = [tool("redis-cli", "redis-tools"), "--cluster", *map(str, arguments)]
        done = subprocess.run(command, input=answers, capture_output=True, text=True, timeout=120)
        assert done.returncode == status, f"{command} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def ask(node: ServerProcess, *words: object) -> Any:
    """A reply in RESP2, texts decoded."""
    with node.connect(protocol=2, decode_responses=True) as client:
        return client.execute_command(*words)


def is_ok(node: ServerProcess) -> bool:
    info = str(node.connect(protocol=2).execute_command("CLUSTER", "INFO"))
    assert "cluster_state:ok" in info, f"{node.kind} on {node.port}: {info}"
    return True


def id_of(node: ServerProcess) -> str:
    return str(ask(node, "CLUSTER", "MYID"))


def slots_of(node: ServerProcess) -> set[int]:
    """The slots that the node owns, as itself says."""
    (line,) = [line for line in str(raw(node, "NODES")).splitlines() if "myself" in line]
    ranges = [word.partition("-") for word in line.split()[8:] if not word.startswith("[")]
    return {slot for first, _, last in ranges for slot in range(int(first), int(last or first) + 1)}


def raw(node: ServerProcess, subcommand: str) -> str:
    """CLUSTER NODES as it comes."""
    with node.connect(protocol=2) as client:
        client.set_response_callback(f"CLUSTER {subcommand}", lambda reply, **_: reply)
        return bytes(client.execute_command("CLUSTER", subcommand)).decode()


def names_in(slot: int, count: int) -> list[str]:
    """Keys of one slot."""
    tag = next(number for number in range(1_000_000) if key_slot(b"%d" % number) == slot)
    return [f"{{{tag}}}:{number}" for number in range(count)]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    cluster = Grown(tmp_path_factory.mktemp("cli"))
    try:
        for kind in FIRST:
            cluster.start(kind)
        for node in cluster.nodes:
            node.until(lambda node=node: bool(node.client.ping()), "ready")  # type: ignore[misc]
        yield cluster
    finally:
        if cluster.load is not None:
            cluster.load.end()
        for node in cluster.nodes:
            node.stop()


def test_create(grown: Grown) -> None:
    shown = grown.cli("create", *map(grown.at, range(6)), "--cluster-replicas", 1, "--cluster-yes")
    assert "[OK] All 16384 slots covered." in shown and "[OK] All nodes agree about slots configuration." in shown
    grown.settle()
    assert [len(slots_of(node)) for node in grown.nodes] == [5461, 5462, 5461, 0, 0, 0]
    with RedisCluster(host="127.0.0.1", port=grown.nodes[0].port) as cluster:
        for number in range(KEYS):
            cluster.set(f"key:{number}", "value")
        for number in range(20):
            cluster.zadd(f"zset:{number}", {f"member:{one}": one / 3 for one in range(300)})
            cluster.set(f"short:{number}", "x", ex=1000)
    grown.load = Load(grown.nodes[0].port)


def test_info_call_and_set_timeout(grown: Grown) -> None:
    assert " keys in 3 masters." in grown.cli("info", grown.at(3))
    assert grown.cli("call", grown.at(1), "PING").count("PONG") == 6
    assert grown.cli("call", grown.at(1), "PING", "--cluster-only-replicas").count("PONG") == 3
    assert "6 OK, 0 ERR" in grown.cli("set-timeout", grown.at(0), 4000)
    for node in grown.nodes:
        assert ask(node, "CONFIG", "GET", "cluster-node-timeout")[1] == "4000"
        assert "cluster-node-timeout 4000" in (node.directory / "redis.conf").read_text()


def test_add_nodes(grown: Grown) -> None:
    """A primary of another kind, and a replica for it."""
    valkey = grown.start("valkey")
    valkey.until(lambda: bool(valkey.client.ping()), "ready")
    assert "[OK] New node added correctly." in grown.cli("add-node", grown.at(6), grown.at(0))
    until(lambda: all(id_of(valkey) in raw(node, "NODES") for node in grown.nodes[:6]), "known to all")
    grown.settle()
    replica = grown.start("hashslot")
    replica.until(lambda: bool(replica.client.ping()), "ready")
    shown = grown.cli("add-node", grown.at(7), grown.at(1), "--cluster-slave", "--cluster-master-id", id_of(valkey))
    assert "[OK] New node added correctly." in shown
    replica.until_in_sync()
    grown.settle()


def test_reshard_from_all_to_another_kind_and_back(grown: Grown) -> None:
    valkey, ours = grown.nodes[6], grown.nodes[1]
    arguments = ("reshard", grown.at(0), "--cluster-slots", 90, "--cluster-yes")
    grown.cli(*arguments, "--cluster-from", "all", "--cluster-to", id_of(valkey))
    grown.settle()
    moved = len(slots_of(valkey))  # redis-cli rounds.
    assert 87 <= moved <= 93 and ask(valkey, "DBSIZE") > 0
    grown.cli(*arguments[:2], "--cluster-slots", 30, "--cluster-yes", "--cluster-from", id_of(valkey),
              "--cluster-to", id_of(ours), "--cluster-pipeline", 3)
    grown.settle()
    assert len(slots_of(valkey)) == moved - 30
    replica = grown.nodes[7]
    replica.until(lambda: ask(replica, "DBSIZE") == ask(valkey, "DBSIZE"), "as many keys as its primary")


def test_rebalance_by_weight(grown: Grown) -> None:
    """To where 100 slots and no more have to move."""
    owned = [len(slots_of(grown.nodes[number])) for number in (0, 1, 2, 6)]
    wanted = [owned[0] - 50, owned[1], owned[2] - 50, owned[3] + 100]
    numbers = (0, 1, 2, 6)
    weights = [f"{id_of(grown.nodes[number])}={weight / 4096}" for number, weight in zip(numbers, wanted, strict=True)]
    arguments = ("rebalance", grown.at(0), "--cluster-weight", *weights, "--cluster-threshold", 0.5)
    assert "Rebalancing across 4 nodes" in grown.cli(*arguments, "--cluster-simulate")
    assert [len(slots_of(grown.nodes[number])) for number in (0, 1, 2, 6)] == owned
    grown.cli(*arguments)
    grown.settle()
    now = [len(slots_of(grown.nodes[number])) for number in (0, 1, 2, 6)]
    assert sum(now) == 16384 and all(abs(one - other) <= 4 for one, other in zip(now, wanted, strict=True)), (now, wanted)


@pytest.mark.parametrize(("source", "target"), [(0, 6), (6, 0), (1, 2), (2, 0)])
def test_fix_an_interrupted_move(grown: Grown, source: int, target: int) -> None:
    """Keys on both sides, the slot open on both: `fix` brings it to one owner with all keys."""
    one, other = grown.nodes[source], grown.nodes[target]
    slot = min(slots_of(one))
    names = names_in(slot, 8)
    for name in names:
        one.client.set(name, name)
    ask(other, "CLUSTER", "SETSLOT", slot, "IMPORTING", id_of(one))
    ask(one, "CLUSTER", "SETSLOT", slot, "MIGRATING", id_of(other))
    assert ask(one, "MIGRATE", "127.0.0.1", other.port, "", 0, 2000, "KEYS", *names[:3]) == "OK"
    assert "The following slots are open" in grown.cli("check", grown.at(2), status=1)
    grown.cli("fix", grown.at(3))
    grown.settle()
    with RedisCluster(host="127.0.0.1", port=grown.nodes[2].port) as cluster:
        assert [cluster.get(name) for name in names] == [name.encode() for name in names]
        assert cluster.delete(*names) == 8


def test_fix_half_of_an_opening(grown: Grown) -> None:
    """redis-cli was killed behind its first SETSLOT."""
    ours, valkey = grown.nodes[0], grown.nodes[6]
    slot = min(slots_of(ours))
    ask(valkey, "CLUSTER", "SETSLOT", slot, "IMPORTING", id_of(ours))
    other = min(slots_of(valkey))
    ask(ours, "CLUSTER", "SETSLOT", other, "IMPORTING", id_of(valkey))
    grown.cli("check", grown.at(2), status=1)
    grown.cli("fix", grown.at(2))
    grown.settle()
    assert slot in slots_of(ours) and other in slots_of(valkey)


def test_import_from_a_standalone_server(grown: Grown) -> None:
    with start("redis", grown.folder) as lone:
        for number in range(40):
            lone.client.hset(f"imported:{number}", mapping={"number": number})
        shown = grown.cli("import", grown.at(0), "--cluster-from", f"127.0.0.1:{lone.port}", "--cluster-replace")
        assert "[ERR]" not in shown
        assert lone.client.dbsize() == 0
    with RedisCluster(host="127.0.0.1", port=grown.nodes[0].port) as cluster:
        for number in range(40):
            assert cluster.hget(f"imported:{number}", "number") == b"%d" % number


def test_backup(grown: Grown) -> None:
    folder = grown.folder / "backup"
    folder.mkdir()
    assert "[OK] Backup created into" in grown.cli("backup", grown.at(0), folder)
    shown = json.loads((folder / "nodes.json").read_text())
    assert len(shown) == 8
    saved = sorted(folder.glob("*.rdb"))
    assert len(saved) == 4 and all(one.read_bytes()[:5] in (b"REDIS", b"VALKE") for one in saved)


def test_empty_and_remove_a_node(grown: Grown) -> None:
    valkey, replica = grown.nodes[6], grown.nodes[7]
    removed = id_of(valkey), id_of(replica)
    grown.cli("del-node", grown.at(0), removed[0], status=1)
    grown.cli("reshard", grown.at(0), "--cluster-from", removed[0], "--cluster-to", id_of(grown.nodes[0]),
              "--cluster-slots", len(slots_of(valkey)), "--cluster-yes")
    grown.settle()
    for gone in (removed[1], removed[0]):
        grown.cli("del-node", grown.at(0), gone)
    for node in (replica, valkey):
        grown.nodes.remove(node)
        node.stop()
    until(lambda: not any(gone in raw(node, "NODES") for node in grown.nodes for gone in removed), "forgotten")
    grown.settle()
    assert sum(len(slots_of(node)) for node in grown.nodes) == 16384


def test_uncovered_slots_are_given_to_somebody(grown: Grown) -> None:
    """Last but one, since the cluster is down meanwhile."""
    assert grown.load is not None
    grown.load.end()
    assert grown.load.errors == [], f"{len(grown.load.errors)} errors"
    slot = max(slots_of(grown.nodes[2]))
    if ask(grown.nodes[2], "CLUSTER", "COUNTKEYSINSLOT", slot):
        ask(grown.nodes[2], "DEL", *ask(grown.nodes[2], "CLUSTER", "GETKEYSINSLOT", slot, 100))
    grown.cli("call", grown.at(0), "CLUSTER", "DELSLOTS", slot)
    assert "Not all 16384 slots are covered" in grown.cli("check", grown.at(0), status=1)
    assert f"Covering slot {slot}" in grown.cli("fix", grown.at(0), answers="yes\n")
    grown.settle()


def test_the_client_saw_nothing_of_it(grown: Grown) -> None:
    assert grown.load is not None
    assert sum(grown.load.done.values()) > 500
    with RedisCluster(host="127.0.0.1", port=grown.nodes[0].port) as cluster:
        assert {name: int(cluster.get(name)) for name in grown.load.done} == grown.load.done
        assert {cluster.get(f"key:{number}") for number in range(KEYS)} == {b"value"}
        for number in range(20):
            assert cluster.zscore(f"zset:{number}", "member:299") == 299 / 3
            assert 0 < cluster.ttl(f"short:{number}") <= 1000
