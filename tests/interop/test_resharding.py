"""MIGRATE and SETSLOT between real processes of all kinds: every type travels, texts are Redis's, a slow target holds nobody
up, replicas know of slots on the move, and what a failover in the middle leaves is mended by `redis-cli --cluster fix`."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from tests.clients.conftest import tool
from tests.clients.up import until
from tests.servers import ServerProcess, start, start_all

pytestmark = pytest.mark.real

PASSWORD = "secret"
CLUSTERED = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0")


def ask(node: ServerProcess, *words: object) -> Any:
    """The reply as it comes in RESP2; an error's text."""
    with node.connect(protocol=2) as client:
        client.response_callbacks.clear()
        try:
            return client.execute_command(*words)
        except redis.ResponseError as error:
            return f"{getattr(error, 'status_code', '')}{error}"


# One server to another ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ServerProcess]]:
    folder = tmp_path_factory.mktemp("lone")
    found: dict[str, ServerProcess] = {}
    try:
        for kind in ("hashslot", "redis", "valkey"):
            found[kind] = start(kind, folder)
        found["locked"] = start("valkey", folder, password=PASSWORD)
        yield found
    finally:
        for server in found.values():
            server.stop()


VALUES = (
    "SET number 12345", "SET text some-text PX 100000", "APPEND grown abc", "HSET hash a 1 b two", "RPUSH list a 1 {long}",
    "SADD ints 1 2 3", "SADD words a b {long}", "ZADD zset 1.5 a 2 b", "XADD stream 5-1 f v", "PFADD hll a b c",
    "SETBIT bits 1000 1", "GEOADD geo 13.36 38.11 Palermo", "SET empty ''",
)  # fmt: skip
READS = {
    "string": ["GET"], "hash": ["HGETALL"], "list": ["LRANGE", 0, -1], "set": ["SMEMBERS"],
    "zset": ["ZRANGE", 0, -1, "WITHSCORES"], "stream": ["XRANGE", "-", "+"],
}  # fmt: skip


def fill(server: ServerProcess) -> list[bytes]:
    for line in VALUES:
        ask(server, *["x" * 5000 if word == "{long}" else word.strip("'") for word in line.split()])
    return sorted(ask(server, "KEYS", "*"))


def content(server: ServerProcess) -> dict[bytes, Any]:
    """What readers see: type, value, whether it expires."""
    seen = {}
    for key in ask(server, "KEYS", "*"):
        kind = ask(server, "TYPE", key).decode()
        command, *rest = READS[kind]
        value = ask(server, command, key, *rest)
        seen[key] = (kind, sorted(value) if kind in ("set", "hash") else value, ask(server, "TTL", key) > 0)
    return seen


# What valkey 9 writes, Redis 7.0 does not read: nothing can go there from what has been on a valkey.
@pytest.mark.parametrize("way", [["hashslot", "redis", "hashslot", "valkey", "hashslot"]])
def test_every_type_travels(servers: dict[str, ServerProcess], way: list[str]) -> None:
    for kind in set(way):
        ask(servers[kind], "FLUSHALL")
    keys = fill(servers[way[0]])
    expected = content(servers[way[0]])
    assert len(keys) == len(VALUES) == len(expected)
    for source, target in itertools.pairwise(way):
        request = ("MIGRATE", "127.0.0.1", servers[target].port, "", 0, 5000, "KEYS", *keys)
        assert ask(servers[source], *request) == b"OK"
        assert ask(servers[source], "DBSIZE") == 0
        assert content(servers[target]) == expected, f"{source} to {target}"


def test_replies_as_redis_gives_them(servers: dict[str, ServerProcess]) -> None:
    """The same requests to redis-server and to ours, with the same two targets."""
    requests = [
        ("there", "MIGRATE 127.0.0.1 PORT there 0 1000"),
        ("copied", "MIGRATE 127.0.0.1 PORT copied 0 1000 COPY"),
        ("copied", "MIGRATE 127.0.0.1 PORT copied 0 1000 COPY"),
        ("copied", "MIGRATE 127.0.0.1 PORT copied 0 1000 COPY REPLACE"),
        ("copied other", "MIGRATE 127.0.0.1 PORT '' 0 1000 KEYS copied other"),
        ("copied", "MIGRATE 127.0.0.1 PORT copied 9 1000"),
        ("x", "MIGRATE 127.0.0.1 PORT x 99 1000"), ("x", "MIGRATE 127.0.0.1 PORT x -1 1000"),
        ("x", "MIGRATE 127.0.0.1 PORT x 0 1000 AUTH wrong"), ("x", "MIGRATE 127.0.0.1 PORT x 0 1000 AUTH2 me wrong"),
        ("x", "MIGRATE 127.0.0.1 LOCKED x 0 1000"), ("x", "MIGRATE 127.0.0.1 LOCKED x 0 1000 AUTH wrong"),
        ("x", f"MIGRATE 127.0.0.1 LOCKED x 0 1000 AUTH {PASSWORD}"),
        ("x", f"MIGRATE 127.0.0.1 LOCKED x 0 1000 AUTH2 default {PASSWORD} REPLACE"),
        ("", "MIGRATE 127.0.0.1 PORT nothing 0 1000"), ("", "MIGRATE 127.0.0.1 PORT '' 0 1000 KEYS a b"),
        ("x", "MIGRATE 127.0.0.1 1 x 0 300"), ("x", "MIGRATE 127.0.0.1 abc x 0 300"),
        ("x", "MIGRATE no-such-host.invalid 1 x 0 300"), ("x", "MIGRATE 127.0.0.1 PORT x 0 1000 KEYS y"),
        ("x", "MIGRATE 127.0.0.1 PORT x 0 1000 nonsense"), ("x", "MIGRATE 127.0.0.1 PORT x y 1000"),
        ("x", "MIGRATE 127.0.0.1 PORT x 0 z"), ("x", "MIGRATE 127.0.0.1 PORT x 0 1000 AUTH"), ("x", "MIGRATE a b c"),
    ]  # fmt: skip
    told: dict[str, list[Any]] = {}
    for kind in ("redis", "hashslot"):
        target = servers["valkey"]
        ask(target, "FLUSHALL")
        ask(servers["locked"], "FLUSHALL")
        told[kind] = []
        for keys, line in requests:
            ask(servers[kind], "FLUSHALL")
            for key in keys.split():
                ask(servers[kind], "SET", key, "value")
            ports = {"PORT": target.port, "LOCKED": servers["locked"].port, "''": ""}
            words = [ports.get(word, word) for word in line.split()]
            left = ask(servers[kind], *words), sorted(ask(servers[kind], "KEYS", "*"))
            told[kind].append((line, left))
    for theirs, ours in zip(told["redis"], told["hashslot"], strict=True):
        assert theirs == ours


def test_connections_are_kept_for_a_while(servers: dict[str, ServerProcess]) -> None:
    ours, target = servers["hashslot"], servers["redis"]
    ask(target, "FLUSHALL")

    def connections() -> int:
        return int(target.info("stats")["total_connections_received"])

    ask(ours, "MSET", *[word for number in range(20) for word in (f"k{number}", "v")])
    assert ask(ours, "MIGRATE", "127.0.0.1", target.port, "k0", 0, 1000) == b"OK"
    with target.connect() as client:
        before = int(client.info("stats")["total_connections_received"])
        for number in range(1, 20):
            assert ask(ours, "MIGRATE", "127.0.0.1", target.port, f"k{number}", 0, 1000) == b"OK"
        assert int(client.info("stats")["total_connections_received"]) == before
        client.client_kill_filter(skipme=True, _type="normal")
    ask(ours, "SET", "again", "v")
    assert ask(ours, "MIGRATE", "127.0.0.1", target.port, "again", 0, 1000) == b"OK", "a dead connection is not the target's"
    assert connections() > before


def test_a_silent_target_holds_nobody_up(servers: dict[str, ServerProcess]) -> None:
    """It takes what it is sent and never answers: others are served, but for who would change the key."""
    ours = servers["hashslot"]
    ask(ours, "FLUSHALL")
    ask(ours, "MSET", "travels", "old", "stays", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        replies: dict[str, Any] = {}
        port = silent.getsockname()[1]
        began_s = time.monotonic()
        migrate = ("MIGRATE", "127.0.0.1", port, "travels", 0, 1200)
        asked = [
            threading.Thread(target=lambda: replies.update(migrate=ask(ours, *migrate))),
            threading.Thread(target=lambda: replies.update(write=ask(ours, "APPEND", "travels", "-new"))),
        ]
        asked[0].start()
        until(lambda: b"travels" in ask(ours, "KEYS", "*") and silent.accept(), "asked")
        asked[1].start()
        worst_s = 0.0
        while time.monotonic() - began_s < 1.0:
            turn_s = time.monotonic()
            assert ask(ours, "INCR", "stays") > 1 and ask(ours, "GET", "travels") == b"old"
            worst_s = max(worst_s, time.monotonic() - turn_s)
        assert not replies, "somebody was answered too early"
        for thread in asked:
            thread.join(20)
    assert replies["migrate"] == "IOERR error or timeout reading to target instance" or "IOERR" in str(replies["migrate"])
    assert replies["write"] == len("old-new") and ask(ours, "GET", "travels") == b"old-new"
    assert worst_s < 0.5


# In a cluster ---------------------------------------------------------------------------------------------------------


class Shards:
    """Two shards: `giver` with a replica of ours and one of Valkey's, `taker` with one of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: dict[str, ServerProcess] = {}
        kinds = {"giver": "hashslot", "taker": "hashslot", "third": "hashslot", "heir": "hashslot", "guest": "valkey",
                 "taken": "hashslot"}  # fmt: skip
        try:
            self.nodes = dict(zip(kinds, start_all(list(kinds.values()), folder, *CLUSTERED), strict=True))
            self.link()
        except BaseException:
            self.stop()
            raise

    def link(self) -> None:
        first = self.nodes["giver"]
        for node in list(self.nodes.values())[1:]:
            ask(node, "CLUSTER", "MEET", "127.0.0.1", first.port)
        for name, begin, end in (("giver", 0, 9000), ("taker", 9001, 12000), ("third", 12001, 16383)):
            ask(self.nodes[name], "CLUSTER", "ADDSLOTSRANGE", begin, end)
        count = len(self.nodes)
        until(lambda: all(len(self.view(name)) == count for name in self.nodes), "all know all", 30)
        for replica, primary in (("heir", "giver"), ("guest", "giver"), ("taken", "taker")):
            until(lambda r=replica, p=primary: ask(self.nodes[r], "CLUSTER", "REPLICATE", self.id(p)) == b"OK", "replica")
        for replica in ("heir", "guest", "taken"):
            self.nodes[replica].until_in_sync()
        until(self.agreed, "agreed", 30)

    def id(self, name: str) -> str:
        return str(ask(self.nodes[name], "CLUSTER", "MYID").decode())

    def view(self, name: str) -> list[str]:
        return [line for line in ask(self.nodes[name], "CLUSTER", "NODES").decode().splitlines() if "handshake" not in line]

    def opened(self, name: str) -> list[str]:
        """What a node says of open slots."""
        return [word for line in self.view(name) if "myself" in line for word in line.split()[8:] if word[0] == "["]

    def agreed(self) -> bool:
        for name, node in self.nodes.items():
            info = ask(node, "CLUSTER", "INFO").decode()
            assert "cluster_state:ok" in info, name
        self.cli("check")
        return True

    def cli(self, what: str) -> str:
        command = [tool("redis-cli", "redis-tools"), "--cluster", what, f"127.0.0.1:{self.nodes['third'].port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    found = Shards(tmp_path_factory.mktemp("shards"))
    yield found
    found.stop()


def test_replicas_note_open_slots(shards: Shards) -> None:
    giver, taker = shards.nodes["giver"], shards.nodes["taker"]
    assert ask(taker, "CLUSTER", "SETSLOT", 7, "IMPORTING", shards.id("giver")) == b"OK"
    assert ask(giver, "CLUSTER", "SETSLOT", 7, "MIGRATING", shards.id("taker")) == b"OK"
    leaves, comes = [f"[7->-{shards.id('taker')}]"], [f"[7-<-{shards.id('giver')}]"]
    assert [shards.opened(name) for name in ("giver", "heir", "guest")] == [leaves] * 3
    assert [shards.opened(name) for name in ("taker", "taken")] == [comes] * 2
    for node in (taker, giver):
        assert ask(node, "CLUSTER", "SETSLOT", 7, "NODE", shards.id("taker"), "TIMEOUT", 3000) == b"OK"
    assert not any(shards.opened(name) for name in shards.nodes)
    assert ask(giver, "CLUSTER", "SETSLOT", 7, "IMPORTING", shards.id("taker")) == b"OK"
    assert shards.opened("guest") == [f"[7-<-{shards.id('taker')}]"]
    assert ask(giver, "CLUSTER", "SETSLOT", 7, "STABLE") == b"OK"
    assert not any(shards.opened(name) for name in shards.nodes)
    until(shards.agreed, "agreed")


def test_a_replica_that_does_not_answer(shards: Shards) -> None:
    """Nothing is changed then, as in Valkey 8."""
    heir, taker = shards.nodes["heir"], shards.id("taker")
    heir.process.send_signal(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        refused = ask(shards.nodes["giver"], "CLUSTER", "SETSLOT", 8, "MIGRATING", taker, "TIMEOUT", 300)
        assert "Not enough good replicas to write" in str(refused)
        assert 0.25 < time.monotonic() - began_s < 2 and not shards.opened("giver")
    finally:
        heir.process.send_signal(signal.SIGCONT)
    until(lambda: ask(shards.nodes["giver"], "CLUSTER", "SETSLOT", 8, "STABLE") == b"OK", "noted")
    until(lambda: not shards.opened("heir"), "closed")


def test_readers_of_a_replica_are_asked_on(shards: Shards) -> None:
    giver, taker, heir = (shards.nodes[name] for name in ("giver", "taker", "heir"))
    slot = ask(giver, "CLUSTER", "KEYSLOT", "{b}")
    assert slot < 9000
    ask(giver, "SET", "{b}here", "x")
    ask(taker, "CLUSTER", "SETSLOT", slot, "IMPORTING", shards.id("giver"))
    ask(giver, "CLUSTER", "SETSLOT", slot, "MIGRATING", shards.id("taker"))
    heir.until_caught_up(giver)
    with heir.connect(protocol=2, single_connection_client=True) as client:
        client.execute_command("READONLY")
        assert client.get("{b}here") == b"x"
        with pytest.raises(redis.exceptions.AskError):
            client.get("{b}gone")
    for node in (giver, taker):
        ask(node, "CLUSTER", "SETSLOT", slot, "STABLE")
    ask(giver, "DEL", "{b}here")


def test_a_failover_in_the_middle_of_a_move(shards: Shards) -> None:
    """The giver dies when half of the keys have gone: its heir goes on giving, and `fix` finds every key."""
    giver, taker, heir = (shards.nodes[name] for name in ("giver", "taker", "heir"))
    slot = ask(giver, "CLUSTER", "KEYSLOT", "{b}")
    keys = [f"{{b}}{number}" for number in range(40)]
    for key in keys:
        ask(giver, "SET", key, key)
    ask(taker, "CLUSTER", "SETSLOT", slot, "IMPORTING", shards.id("giver"))
    ask(giver, "CLUSTER", "SETSLOT", slot, "MIGRATING", shards.id("taker"))
    assert ask(giver, "MIGRATE", "127.0.0.1", taker.port, "", 0, 2000, "KEYS", *keys[:20]) == b"OK"
    for name in ("heir", "guest"):
        shards.nodes[name].until_caught_up(giver)
    giver.kill()
    assert ask(heir, "CLUSTER", "FAILOVER", "TAKEOVER") == b"OK"
    until(lambda: shards.opened("heir") == [f"[{slot}->-{shards.id('taker')}]"], "the heir goes on")
    until(lambda: shards.opened("taker") == [f"[{slot}-<-{shards.id('heir')}]"], "the taker takes from the heir", 30)
    # redis-cli mends nothing while a primary is away: the giver comes back, as a replica.
    giver.stop()
    shards.nodes["giver"] = start("hashslot", shards.folder, *CLUSTERED, port=giver.port)
    until(lambda: shards.nodes["giver"].info()["role"] == "slave", "a replica", 30)
    until(lambda: shards.cli("fix") and shards.agreed(), "mended", 40)
    assert not any(shards.opened(name) for name in ("heir", "taker"))
    cluster: Any = RedisCluster(host="127.0.0.1", port=heir.port)
    with cluster:
        assert [cluster.get(key) for key in keys] == [key.encode() for key in keys]
