"""`hashslot cluster ...` on real processes: a cluster of our nodes, redis-server and valkey-server, changed and broken.

Every test finds the cluster sound and leaves it so, with every key where it was written or moved to.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis.cluster import RedisCluster

from cluster.admin.layout import Shard
from cluster.admin.picture import Host
from cluster.slots import key_slot
from node.admin import show
from node.admin.link import Access, Link
from node.cli import main
from tests.clients.up import until
from tests.servers import ROOT, ServerProcess, start

pytestmark = pytest.mark.real

OPTIONS = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0"]
KEYS = {f"key:{number}": str(number) for number in range(400)}
BIG_TAG = "{big}"
BIG_SLOT = key_slot(b"{big}")


def run(*words: object, status: int = 0, **how: Any) -> Result:
    """One `hashslot cluster` command in this process."""
    done = CliRunner().invoke(main, ["cluster", *map(str, words)], prog_name="hashslot", **how)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, f"{words} -> {done.exit_code}\n{done.output}"
    return done


class Mixed:
    """Four primaries of three kinds. Names: o (ours), r (redis), v and w (valkey)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kinds = {"o": "hashslot", "r": "redis", "v": "valkey", "w": "valkey"}
        self.nodes = {name: self.start(kind) for name, kind in kinds.items()}

    def start(self, kind: str, *options: str, password: str = "") -> ServerProcess:
        return start(kind, self.folder, *OPTIONS, *options, password=password)

    def __getattr__(self, name: str) -> str:
        """The address of the node of this name."""
        return address(self.nodes[name])

    def id_of(self, name: str) -> str:
        return str(self.ask(name, "CLUSTER", "MYID").decode())

    def ask(self, name: str, *words: object) -> Any:
        return self.nodes[name].client.execute_command(*words)

    def slots_of(self, name: str) -> list[int]:
        """The slots that the node claims for itself."""
        shown = json.loads(run("info", self.r, "--json").output)
        found = next(one for one in shown["nodes"] if f"{one['host']}:{one['port']}" == getattr(self, name))
        return [slot for first, last in found["slots"] for slot in range(first, last + 1)]

    def owner(self, slot: int) -> str:
        return next(name for name in self.nodes if slot in self.slots_of(name))

    def client(self) -> Any:
        return RedisCluster(host="127.0.0.1", port=self.nodes["r"].port, decode_responses=True)

    def assert_sound(self) -> None:
        """Nothing is wrong, no key lies outside its owner, and all keys have their values."""
        run("check", self.r, "--wait", 10, "--search-multiple-owners")
        with self.client() as client:
            assert {key: client.get(key) for key in KEYS} == KEYS

    def own_keys(self, name: str) -> list[str]:
        """Keys that lie on this node."""
        slots = set(self.slots_of(name))
        return [key for key in KEYS if key_slot(key.encode()) in slots]


def address(node: ServerProcess) -> str:
    return f"127.0.0.1:{node.port}"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    found = Mixed(tmp_path_factory.mktemp("admin"))
    try:
        hosts = [address(node) for node in found.nodes.values()]
        shown = run("create", *hosts, "--dry-run")
        assert "Dry run" in shown.output and "12288-16383" in shown.output
        assert b"cluster_slots_assigned:0" in found.ask("o", "CLUSTER", "INFO")
        run("create", *hosts, "--yes")
        with found.client() as client:
            for key, value in KEYS.items():
                client.set(key, value)
        yield found
    finally:
        for node in found.nodes.values():
            node.stop()


# Looking --------------------------------------------------------------------------------------------------------------


def test_a_new_cluster_is_sound(mixed: Mixed) -> None:
    shown = json.loads(run("check", mixed.o, "--json").output)
    assert shown["ok"] and not shown["problems"] and shown["slots_covered"] == 16384
    assert sum(one["keys"] for one in shown["nodes"]) == len(KEYS)
    servers = sorted(one["server"].split()[0] for one in shown["nodes"])
    assert servers == ["hashslot", "redis", "valkey", "valkey"]
    text = run("info", mixed.v).output
    assert "4 primaries own 16,384 of 16,384 slots with 400 keys" in text
    run("create", *[address(node) for node in mixed.nodes.values()], "--yes")  # to run it again changes nothing
    mixed.assert_sound()


def test_call_asks_all(mixed: Mixed) -> None:
    lines = run("call", mixed.r, "CONFIG", "GET", "cluster-node-timeout").output.splitlines()
    assert lines.count("  2) 2000") == 4
    assert run("call", "--only", "replicas", mixed.r, "PING", status=1).stderr.endswith("has no replicas\n")
    assert "(error)" in run("call", "--only", "primaries", mixed.r, "NO", "SUCH", status=1).output
    run("call", mixed.r, "--only", "primaries", "PING", status=2)
    assert run("set-timeout", mixed.r, 2500).output.count("2500 ms") == 4
    run("set-timeout", mixed.r, 2000)


def test_what_is_typed_wrong_or_can_not_be_is_one_line(mixed: Mixed) -> None:
    assert "connection refused" in run("check", "127.0.0.1:1", status=1).stderr
    assert "is not HOST:PORT" in run("check", "nonsense", status=2).stderr
    assert "no node is called 'x'" in run("reshard", mixed.r, "--to", "x", "--slots", 1, status=2).stderr
    assert "give --slots" in run("reshard", mixed.r, "--to", mixed.o, status=2).stderr
    assert "from 1 to" in run("reshard", mixed.r, "--to", mixed.o, "--slots", 16000, status=2).stderr
    assert "--weight" in run("rebalance", mixed.r, "--weight", "o", status=2).stderr
    assert "at least 3 nodes" in run("create", mixed.r, status=1).stderr
    assert "no password set" in run("check", mixed.r, "-a", "secret", status=1).stderr
    assert "leave it out" in run("check", mixed.r, status=1, env={"HASHSLOT_AUTH": "secret"}).stderr
    assert "go with --tls" in run("check", mixed.r, "--insecure", status=2).stderr
    assert "no atomic way" in run(
        "reshard", mixed.r, "--from", mixed.r, "--to", mixed.o, "--slots", 1, "--method", "atomic", "--yes", status=1
    ).stderr
    for output in (run("--help").output, run("rebalance", "--help").output):
        assert "hashslot cluster" in output


# Moving ---------------------------------------------------------------------------------------------------------------


def test_atomic_moves(mixed: Mixed) -> None:
    before = mixed.slots_of("v")
    asked = ("reshard", mixed.r, "--from", mixed.v, "--to", mixed.w, "--slots", 300, "--method", "atomic")
    assert "atomic (MIGRATESLOTS)" in run(*asked, "--dry-run").output
    assert mixed.slots_of("v") == before
    assert "Nothing was changed" in run(*asked, input="n\n", status=1).stderr
    assert "300 slots done." in run(*asked, input="y\n").output
    assert mixed.slots_of("v") == before[:-300]
    mixed.assert_sound()


@pytest.mark.parametrize(("source", "target"), [("r", "o"), ("o", "r"), ("o", "v"), ("v", "o")])
def test_classic_moves(mixed: Mixed, source: str, target: str) -> None:
    keys = mixed.own_keys(source)[:2]
    ranges = ",".join(str(key_slot(key.encode())) for key in keys)
    names = mixed.id_of(target)[:12]
    run("reshard", mixed.r, "--to", names, "--ranges", ranges, "--method", "classic", "--pipeline", 1, "--yes")
    assert set(keys) <= set(mixed.own_keys(target))
    mixed.assert_sound()


def test_rebalance_by_weights(mixed: Mixed) -> None:
    counts = {name: len(mixed.slots_of(name)) for name in mixed.nodes}
    wanted = {**counts, "r": counts["r"] - 60, "o": counts["o"] + 20, "v": counts["v"] + 40}
    weights = [word for name, count in wanted.items() for word in ("--weight", f"{getattr(mixed, name)}={count}")]
    assert "Nothing has to move" in run("rebalance", mixed.r, *weights, "--threshold", 50).output
    run("rebalance", mixed.r, *weights, "--threshold", 0, "--yes")
    assert {name: len(mixed.slots_of(name)) for name in mixed.nodes} == wanted
    mixed.assert_sound()
    assert "Nothing has to move" in run("rebalance", mixed.r, *weights, "--threshold", 0, "--yes").output


def test_a_server_that_is_too_old_for_the_data_is_told(mixed: Mixed) -> None:
    key = mixed.own_keys("v")[0]
    slot = key_slot(key.encode())
    refused = run("reshard", mixed.r, "--to", mixed.r, "--ranges", slot, "--yes", status=1)
    assert "redis 7" in refused.stderr and "No slot is left open" in refused.stderr
    mixed.assert_sound()


@pytest.fixture
def big(mixed: Mixed) -> Iterator[str]:
    """A slot with many keys, and who has it; a move of it by one key a time takes a while."""
    run("reshard", mixed.r, "--to", mixed.o, "--ranges", f"{BIG_SLOT}-{BIG_SLOT + 66}", "--yes")
    with mixed.client() as client:
        pipeline = client.pipeline()
        for number in range(1500):
            pipeline.set(f"{BIG_TAG}:{number}", number)
        pipeline.execute()
        yield "o"
        assert client.mget_nonatomic([f"{BIG_TAG}:{number}" for number in range(1500)]) == [
            str(number) for number in range(1500)
        ]
        for number in range(0, 1500, 500):
            client.delete(*[f"{BIG_TAG}:{one}" for one in range(number, number + 500)])
    mixed.assert_sound()


def moving(mixed: Mixed) -> subprocess.Popen[str]:
    """A reshard in its own process that has just begun to move the big slot."""
    words = ["reshard", mixed.r, "--to", mixed.v, "--ranges", f"{BIG_SLOT}-{BIG_SLOT + 66}", "--yes", "--pipeline", "1"]
    command = [sys.executable, "-m", "node.cli", "cluster", *words, "--method", "classic"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: 0 < mixed.ask("v", "CLUSTER", "COUNTKEYSINSLOT", BIG_SLOT) < 1500, "moving")
    assert process.poll() is None
    return process


def test_ctrl_c_ends_the_step_and_leaves_nothing_open(mixed: Mixed, big: str) -> None:
    process = moving(mixed)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "no slot is open" in output and "64 slots done" in output
    run("check", mixed.r, "--wait", 10)
    assert mixed.owner(BIG_SLOT) == "v" and mixed.owner(BIG_SLOT + 64) == big


@pytest.mark.parametrize("end", ["kill", "twice"])
def test_what_breaks_off_is_fixed(mixed: Mixed, big: str, end: str) -> None:
    process = moving(mixed)
    process.send_signal(signal.SIGKILL if end == "kill" else signal.SIGINT)
    if end == "twice":
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("stops at once" in line for line in lines)
        process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    if end == "twice":
        assert process.returncode == 1 and "hashslot cluster fix" in output, output
    found = json.loads(run("check", mixed.r, "--json", status=1).output)
    assert {one["kind"] for one in found["problems"]} == {"open"}
    assert "not sound" in run("rebalance", mixed.r, "--yes", status=1).stderr
    assert "half moved" in run("fix", mixed.r, "--dry-run").output
    run("fix", mixed.r, "--yes")
    assert mixed.owner(BIG_SLOT) == "v" and mixed.owner(BIG_SLOT + 66) == big


# Repairing ------------------------------------------------------------------------------------------------------------


def test_slots_without_an_owner_go_back_to_their_keys(mixed: Mixed) -> None:
    key = mixed.own_keys("o")[0]
    slot = key_slot(key.encode())
    for name in mixed.nodes:
        mixed.ask(name, "CLUSTER", "DELSLOTS", slot)
    found = json.loads(run("check", mixed.r, "--json", status=1).output)
    assert {"uncovered"} <= {one["kind"] for one in found["problems"]}
    run("fix", mixed.r, "--yes")
    assert mixed.owner(slot) == "o"
    mixed.assert_sound()


def stray(mixed: Mixed, key: str, value: str) -> None:
    """Leave a key on the redis-server, which does not own its slot."""
    slot = key_slot(key.encode())
    mixed.ask("r", "CLUSTER", "SETSLOT", slot, "IMPORTING", mixed.id_of(mixed.owner(slot)))
    client = mixed.nodes["r"].connect(single_connection_client=True)
    client.execute_command("ASKING")
    client.execute_command("SET", key, value)
    client.close()
    mixed.ask("r", "CLUSTER", "SETSLOT", slot, "STABLE")


def test_stray_keys_come_home(mixed: Mixed) -> None:
    key = mixed.own_keys("o")[1]
    other = f"{{{key}}}:stray"
    stray(mixed, other, "lost")
    run("check", mixed.r)
    assert "stray" in run("check", mixed.r, "--search-multiple-owners", "--json", status=1).output
    assert "Nothing to repair" in run("fix", mixed.r, "--yes").output
    run("fix", mixed.r, "--search-multiple-owners", "--yes")
    with mixed.client() as client:
        assert client.get(other) == "lost"
        client.delete(other)
    mixed.assert_sound()


def test_two_values_of_a_key_are_not_decided_by_chance(mixed: Mixed) -> None:
    key = mixed.own_keys("o")[1]
    stray(mixed, key, "other")
    refused = run("fix", mixed.r, "--search-multiple-owners", "--yes", status=1)
    assert "different values" in refused.stderr and "--on-conflict" in refused.stderr
    run("fix", mixed.r, "--search-multiple-owners", "--yes", "--on-conflict", "target")
    mixed.assert_sound()


# Members --------------------------------------------------------------------------------------------------------------


def test_nodes_come_and_go(mixed: Mixed) -> None:
    with mixed.start("hashslot", "--cluster-announce-human-nodename", "blue") as new:
        where = address(new)
        assert "without slots" in run("add-node", where, mixed.r, "--dry-run").output
        run("add-node", where, mixed.r, "--replica-of", mixed.v, "--yes")
        assert "a member of this cluster already" in run("add-node", where, mixed.r, "--yes", status=1).stderr
        new.until_in_sync()
        assert "answers" in run("forget", mixed.r, "blue", "--yes", status=1).stderr
        assert "is a replica" in run("reshard", mixed.r, "--to", "blue", "--slots", 1, "--yes", status=1).stderr
        run("del-node", mixed.r, "blue", "--yes")
        assert len(json.loads(run("info", mixed.r, "--json").output)["nodes"]) == 4
        run("add-node", where, mixed.r, "--yes")
        keys = mixed.own_keys("o")[:3]
        ranges = ",".join(str(key_slot(key.encode())) for key in keys)
        run("reshard", mixed.r, "--to", "blue", "--ranges", ranges, "--yes")
        assert "--evacuate" in run("del-node", mixed.r, "blue", "--yes", status=1).stderr
        run("del-node", mixed.r, "blue", "--evacuate", "--yes")
        mixed.assert_sound()


def test_a_node_that_loads_is_asked_again() -> None:
    """One that was just emptied follows who took its last slot, and may be loading when it is asked what became of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as client:
                for reply in (b"-LOADING Redis is loading\r\n", b"-LOADING Redis is loading\r\n", b":7\r\n"):
                    while not (asked := client.recv(4096)).endswith(b"DBSIZE\r\n"):
                        client.sendall(b"+OK\r\n" * asked.count(b"SETINFO"))
                    client.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        assert Link(Host("127.0.0.1", listening.getsockname()[1]), Access()).ask("DBSIZE") == 7
        thread.join(10)


def test_one_that_is_gone_is_forgotten(mixed: Mixed) -> None:
    with mixed.start("hashslot") as gone, mixed.start("redis") as full:
        run("add-node", address(gone), mixed.r, "--yes")
        full.client.execute_command("CLUSTER", "ADDSLOTS", 1)
        assert "owns slot 1" in run("add-node", address(full), mixed.r, "--yes", status=1).stderr
        empty = [str(slot) for slot in mixed.slots_of("o") if slot not in {key_slot(key.encode()) for key in KEYS}][:40]
        run("reshard", mixed.r, "--to", address(gone), "--ranges", ",".join(empty), "--yes")
        gone.kill()
        assert "left alone" in run("fix", mixed.r, "--yes", status=1).output
        assert "give them up" in run("forget", mixed.r, address(gone), "--yes", status=1).stderr
        until(lambda: '"fail"' in run("info", mixed.r, "--json").output, "missed by the others")
        given = run("fix", mixed.r, "--fix-with-unreachable-primaries", "--yes", status=1)
        assert "40 slots done." in given.output and "gone for good: `forget`" in given.output
        assert "`forget`" in run("check", mixed.r, status=1).output
        assert "`forget`" in run("del-node", mixed.r, address(gone), "--yes", status=1).stderr
        run("forget", mixed.r, address(gone), "--yes")
    mixed.assert_sound()


def test_a_cluster_of_one_with_a_password(mixed: Mixed) -> None:
    with mixed.start("hashslot", password="secret") as one:
        where = address(one)
        assert "-a" in run("create", where, "--allow-few", "--yes", status=1).stderr
        assert "does not take" in run("check", where, "-a", "wrong", status=1).stderr
        run("create", where, "--allow-few", "--yes", "-a", "secret")
        assert "No problem" in run("check", where, env={"REDISCLI_AUTH": "secret"}).output
        assert "PONG" in run("call", "--askpass", where, "PING", input="secret\n").output


def test_an_ipv6_address_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show.layout_table([Shard(Host("fd00::1", 7000), (0, 16383), (Host("abc", 1),))])
    assert "[fd00::1]:7000" in capsys.readouterr().out


def test_starting_a_node_does_not_read_the_admin_tools() -> None:
    code = "import sys; import node.cli, node.process; print([n for n in sys.modules if 'admin' in n or n == 'redis'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_server_that_is_no_cluster_node_is_told(mixed: Mixed) -> None:
    with start("redis", mixed.folder) as plain:
        assert "cluster-enabled" in run("check", address(plain), status=1).stderr
        assert "cluster-enabled" in run("add-node", address(plain), mixed.r, "--yes", status=1).stderr
