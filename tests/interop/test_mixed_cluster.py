"""One cluster of redis-server 7.0, valkey-server 9.1 and our nodes: three primaries and four replicas, across kinds.

They MEET each other, agree on slots, redirect to each other, replicate across kinds, see each other fail and come back.
Real processes and real time; nothing sleeps for a fixed time, everything is polled until it holds or a deadline passes.
"""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster
from redis.crc import key_slot
from redis.retry import Retry

from tests.clients.up import until
from tests.servers import ServerProcess, start, start_all

pytestmark = pytest.mark.real

NODE_TIMEOUT_S = 1.0
OPTIONS = [
    *("--cluster-enabled", "yes"),
    *("--cluster-node-timeout", str(int(NODE_TIMEOUT_S * 1000))),
    *("--cluster-replica-no-failover", "yes"),
    *("--repl-diskless-sync-delay", "0"),
]
KINDS = ["hashslot", "valkey", "redis"]
SLOTS = {"hashslot": (0, 5460), "valkey": (5461, 10922), "redis": (10923, 16383)}
FOLLOWS = {"hashslot-of-valkey": "valkey", "hashslot-of-redis": "redis", "valkey-of-hashslot": "hashslot"}
FOLLOWS["redis-of-hashslot"] = "hashslot"


class Mixed:
    """The cluster. Names: a kind for the primary of that kind, "ours-of-theirs" for replicas."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.nodes: dict[str, ServerProcess] = {}

    def start(self, name: str, port: int = 0) -> ServerProcess:
        """Start this node, on the port and directory that it had before, if it had."""
        node = start(name.partition("-")[0], self._folder, *OPTIONS, port=port)
        node.client = plain(node)
        self.nodes[name] = node
        return node

    def start_all(self) -> None:
        """Start the seven nodes that are there from the beginning."""
        names = [*KINDS, *FOLLOWS]
        started = start_all([name.partition("-")[0] for name in names], self._folder, *OPTIONS)
        self.nodes = dict(zip(names, started, strict=True))
        for node in self.nodes.values():
            node.client = plain(node)

    def clients(self) -> dict[str, Any]:
        return {name: node.client for name, node in self.nodes.items()}

    def id_of(self, name: str) -> str:
        return self.id_at(self.nodes[name])

    @staticmethod
    def id_at(node: ServerProcess) -> str:
        return str(node.client.execute_command("CLUSTER", "MYID").decode())

    def link(self) -> None:
        """MEET in a chain, so that most nodes learn of each other by gossip; slots; then replicas."""
        names = list(self.nodes)
        for one, other in itertools.pairwise(names):
            self.nodes[one].client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[other].port)
        for name, (first, last) in SLOTS.items():
            self.nodes[name].client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        until(self.all_know_all, "that all know all", 30)
        for replica, primary in FOLLOWS.items():
            self.nodes[replica].client.execute_command("CLUSTER", "REPLICATE", self.id_of(primary))
        self.until_healthy()
        # A replica is shown to clients once it has told of an offset above 0.
        with client_of(self, "hashslot") as cluster:
            for number in range(50):
                cluster.set(f"first:{number}", number)
        until(lambda: all(self.nodes_shown(client) == 7 for client in self.clients().values()), "shown to clients")

    def nodes_shown(self, client: Any) -> int:
        """How many nodes clients learn of from CLUSTER SLOTS."""
        return sum(1 + len(entry[3]) for entry in slots_view(client))

    def all_know_all(self) -> bool:
        for client in self.clients().values():
            lines = nodes_lines(client)
            if len(lines) != len(self.nodes) or any("handshake" in words[2] for words in lines):
                return False
        return True

    def until_healthy(self, timeout_s: float = 40.0) -> None:
        """All states ok, all views equal, all replicas in sync."""
        until(self.healthy, "healthy", timeout_s)

    def healthy(self) -> bool:
        views = []
        for name, client in self.clients().items():
            state = cluster_info(client)["cluster_state"]
            assert state == "ok", f"{name} says {state}"
            views.append((name, members(client)))
        first = views[0][1]
        for name, view in views:
            assert view == first, f"{views[0][0]} sees {first}\n{name} sees {view}"
        for name in FOLLOWS:
            info = self.nodes[name].info()
            assert info["role"] == "slave" and info["master_link_status"] == "up", f"{name} is not in sync"
        return True


def nodes_lines(client: Any) -> list[list[str]]:
    """CLUSTER NODES, line by line, in words."""
    return [line.split() for line in client.execute_command("CLUSTER", "NODES").decode().splitlines()]


def cluster_info(client: Any) -> dict[str, str]:
    """The fields of CLUSTER INFO."""
    lines = client.execute_command("CLUSTER", "INFO").decode().splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def members(client: Any) -> dict[str, tuple[str, ...]]:
    """Node id -> address, flags but for `myself`, primary, config epoch and slots: what all must agree on."""
    seen = {}
    for words in nodes_lines(client):
        flags = ",".join(flag for flag in words[2].split(",") if flag not in ("myself", "nofailover"))
        seen[words[0]] = (words[1].split(",")[0], flags, words[3], words[6], *words[8:])
    return seen


def slots_view(client: Any) -> list[Any]:
    """CLUSTER SLOTS as first slot, last slot, primary, replicas in order of id."""
    view = []
    for first, last, primary, *replicas in client.execute_command("CLUSTER", "SLOTS"):
        view.append((first, last, tuple(primary[:3]), sorted(tuple(replica[:3]) for replica in replicas)))
    return sorted(view)


def shards_view(client: Any) -> list[Any]:
    """CLUSTER SHARDS as slots and the members' id, role, port and health."""
    view = []
    for shard in client.execute_command("CLUSTER", "SHARDS"):
        fields = as_dict(shard)
        nodes = [as_dict(node) for node in fields[b"nodes"]]
        facts = sorted((node[b"id"], node[b"role"], node[b"port"], node[b"health"]) for node in nodes)
        view.append((tuple(fields[b"slots"]), facts))
    return sorted(view)


def as_dict(reply: Any) -> dict[bytes, Any]:
    """A map of RESP3, or the flat array that it is in RESP2."""
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def plain(node: ServerProcess) -> Any:
    """A client of RESP2 that does not try again."""
    return node.connect(protocol=2, retry=Retry(NoBackoff(), 0))


@pytest.fixture
def mixed(all_kinds: Mixed) -> Mixed:
    return all_kinds


def client_of(mixed: Mixed, start_at: str, **options: Any) -> Any:
    nodes = [ClusterNode("127.0.0.1", mixed.nodes[start_at].port)]
    return RedisCluster(startup_nodes=nodes, **options)


# Agreeing -------------------------------------------------------------------------------------------------------------


def test_all_views_are_equal(mixed: Mixed) -> None:
    clients = mixed.clients()
    expected = members(clients["hashslot"])
    assert len(expected) == 7
    for name, (first, last) in SLOTS.items():
        assert expected[mixed.id_of(name)][4:] == (f"{first}-{last}",)
    for replica, primary in FOLLOWS.items():
        assert expected[mixed.id_of(replica)][1:3] == ("slave", mixed.id_of(primary))
    until(lambda: same({name: slots_view(client) for name, client in clients.items()}), "same CLUSTER SLOTS")
    until(lambda: same({name: shards_view(client) for name, client in clients.items()}), "same CLUSTER SHARDS")
    for client in clients.values():
        info = cluster_info(client)
        assert (info["cluster_known_nodes"], info["cluster_size"], info["cluster_slots_ok"]) == ("7", "3", "16384")
    epochs = {cluster_info(client)["cluster_current_epoch"] for client in clients.values()}
    assert len(epochs) == 1
    own_epochs = {expected[mixed.id_of(kind)][3] for kind in KINDS}
    assert len(own_epochs) == 3, "primaries' config epochs collide"


def same(views: dict[str, Any]) -> bool:
    """Whether all views are equal; AssertionError that tells which differ."""
    first_name, first = next(iter(views.items()))
    for name, view in views.items():
        assert view == first, f"{first_name}: {first}\n{name}: {view}"
    return True


def test_every_node_redirects_to_the_owner(mixed: Mixed) -> None:
    owners = {kind: mixed.nodes[kind].port for kind in KINDS}
    keys = {}
    for number in range(1000):
        key = b"key:%d" % number
        keys.setdefault(next(kind for kind, (first, last) in SLOTS.items() if first <= key_slot(key) <= last), key)
    for name, client in mixed.clients().items():
        for kind, key in keys.items():
            if name == kind:
                assert client.execute_command("GET", key) is None
                continue
            with pytest.raises(redis.exceptions.MovedError) as moved:
                client.execute_command("GET", key)
            told = moved.value
            assert (told.slot_id, told.host, told.port) == (key_slot(key), "127.0.0.1", owners[kind])


@pytest.mark.parametrize("start_at", [*KINDS, "redis-of-hashslot"])
def test_redis_py_over_all_kinds(mixed: Mixed, start_at: str) -> None:
    with client_of(mixed, start_at) as cluster:
        assert len(cluster.get_nodes()) == 7
        names = [f"{start_at}:{number}" for number in range(200)]
        with cluster.pipeline() as pipe:
            for name in names:
                pipe.set(name, name)
                pipe.hset(f"{name}:hash", mapping={"a": 1, "b": name})
            pipe.execute()
        assert [cluster.get(name) for name in names] == [name.encode() for name in names]
        found = set(cluster.scan_iter(match=f"{start_at}:*", count=500))
        assert found == {name.encode() + tail for name in names for tail in (b"", b":hash")}


# Replicating ----------------------------------------------------------------------------------------------------------


def test_replicas_of_another_kind_follow(mixed: Mixed) -> None:
    with client_of(mixed, "hashslot") as cluster, cluster.pipeline() as pipe:
        for number in range(200):
            pipe.set(f"followed:{number}", "x" * number)
            pipe.hincrby(f"followed:{number}:hash", "n", number)
            pipe.set(f"followed:{number}:short", "x", ex=1000)
        pipe.execute()
    for replica, primary in FOLLOWS.items():
        leader, follower = mixed.nodes[primary], mixed.nodes[replica]
        follower.until_caught_up(leader)
        assert follower.client.dbsize() == leader.client.dbsize() > 0
        keys = sorted(leader.client.execute_command("KEYS", "followed:*"))
        assert len(keys) > 100 and dict(read_of(follower, keys)) == dict(read_of(leader, keys))


def read_of(node: ServerProcess, keys: list[bytes]) -> Iterator[tuple[bytes, Any]]:
    """Values and deadlines of keys as this node has them, replicas included."""
    requests = [request for key in keys for request in (
        ("HGETALL" if key.endswith(b":hash") else "GET", key), ("PEXPIRETIME", key)
    )]  # fmt: skip
    with node.connect(protocol=2, single_connection_client=True) as client:
        connection = client.connection
        connection.send_packed_command(connection.pack_commands([("READONLY",), *requests]))
        replies = [connection.read_response() for _ in range(1 + len(requests))]
    yield from zip(keys, zip(replies[1::2], replies[2::2], strict=True), strict=True)


def test_reads_from_replicas_of_another_kind(mixed: Mixed) -> None:
    with client_of(mixed, "valkey", load_balancing_strategy=LoadBalancingStrategy.RANDOM_REPLICA) as cluster:
        for number in range(60):
            cluster.set(f"spread:{number}", number)
            until(lambda number=number: cluster.get(f"spread:{number}") == b"%d" % number, "replicated")


def test_replica_changes_its_primary(mixed: Mixed) -> None:
    """Ours leaves a primary of one kind for one of another, and goes back."""
    moving = mixed.nodes["hashslot-of-valkey"]
    for primary in ("redis", "hashslot", "valkey"):
        moving.client.execute_command("CLUSTER", "REPLICATE", mixed.id_of(primary))
        leader = mixed.nodes[primary]
        until(lambda leader=leader: moving.info()["master_port"] == leader.port, "following")
        moving.until_caught_up(leader)
        assert moving.client.dbsize() == leader.client.dbsize()
        until(lambda: same({name: members(client) for name, client in mixed.clients().items()}), "agreed")


# Moving one slot by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("giver", "taker"), [("hashslot", "valkey"), ("valkey", "hashslot"), ("redis", "hashslot")])
def test_slot_changes_hands(mixed: Mixed, giver: str, taker: str) -> None:
    """ASK while it moves, MOVED afterwards, in all views; and back again."""
    give, take = mixed.nodes[giver], mixed.nodes[taker]
    count = ("CLUSTER", "COUNTKEYSINSLOT")
    slot = next(one for one in range(*SLOTS[giver]) if not give.client.execute_command(*count, one))
    key = next(b"{%d}" % number for number in range(300_000) if key_slot(b"%d" % number) == slot)
    take.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", mixed.id_of(giver))
    give.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", mixed.id_of(taker))
    with pytest.raises(redis.exceptions.AskError) as asked:
        give.client.execute_command("GET", key)
    assert (asked.value.slot_id, asked.value.port) == (slot, take.port)
    with client_of(mixed, giver) as cluster:
        assert cluster.set(key, "written through ASK")
    for node in (take, give):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", mixed.id_of(taker))
    until(lambda: owner_everywhere(mixed, slot, take.port), "owned by the taker in all views")
    assert take.client.execute_command("GET", key) == b"written through ASK"
    assert take.client.execute_command("DEL", key) == 1
    take.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", mixed.id_of(giver))
    give.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", mixed.id_of(taker))
    for node in (give, take):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", mixed.id_of(giver))
    until(lambda: owner_everywhere(mixed, slot, give.port), "owned by the giver again")
    mixed.until_healthy()


def owner_everywhere(mixed: Mixed, slot: int, port: int) -> bool:
    """Whether every node says that the slot belongs to the node on this port."""
    for name, client in mixed.clients().items():
        owner = next(entry[2][1] for entry in slots_view(client) if entry[0] <= slot <= entry[1])
        assert owner == port, f"{name} says {owner}"
    return True


# Failing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victims", [*([kind] for kind in KINDS), ["hashslot-of-redis", "redis-of-hashslot"]], ids=" ".join)
def test_killed_nodes_are_seen_by_all_and_come_back(mixed: Mixed, victims: list[str]) -> None:
    dead = {name: mixed.nodes.pop(name) for name in victims}
    ids = {name: Mixed.id_at(node) for name, node in dead.items()}
    before = members(mixed.nodes["valkey-of-hashslot"].client)
    killed = time.monotonic()
    for node in dead.values():
        node.kill(signal.SIGKILL)
    survivors = mixed.clients()
    try:
        # Silence is noticed after the timeout; agreeing takes a round of gossip more.
        for name in victims:
            until(lambda name=name: all_say(survivors, ids[name], "fail"), f"{name} seen as failed", 2 * NODE_TIMEOUT_S + 8)
        took = time.monotonic() - killed
        assert took > NODE_TIMEOUT_S * 0.9, f"declared dead after {took:.1f} s, before the timeout"
        if victims[0] in KINDS:
            until(lambda: all_states(survivors) == {"fail"}, "down, for want of slots")
            assert members(survivors["hashslot-of-valkey"])[ids[victims[0]]][2] == before[ids[victims[0]]][2]
            down = next(iter(survivors.values()))
            with pytest.raises(redis.RedisError, match="cluster is down"):
                down.execute_command("GET", "x")
        else:
            assert all_states(survivors) == {"ok"}
    finally:
        for name, node in dead.items():
            mixed.start(name, node.port)
            node.client.close()
    mixed.until_healthy()
    assert {name: mixed.id_of(name) for name in victims} == ids
    with client_of(mixed, victims[0]) as cluster:
        for number in range(50):
            assert cluster.set(f"after:{number}", number)


def all_say(clients: dict[str, Any], node_id: str, flag: str) -> bool:
    """Whether all have this flag for the node."""
    for name, client in clients.items():
        flags = next(words[2] for words in nodes_lines(client) if words[0] == node_id).split(",")
        assert flag in flags, f"{name} says {flags}"
    return True


def all_states(clients: dict[str, Any]) -> set[str]:
    return {cluster_info(client)["cluster_state"] for client in clients.values()}


# Coming and going -----------------------------------------------------------------------------------------------------


def test_newcomers_are_met_and_forgotten(mixed: Mixed) -> None:
    """One of each kind, each met by one node of another kind, known to all by gossip; after FORGET on all they stay away."""
    names = {kind: f"{kind}-newcomer" for kind in KINDS}
    ids: dict[str, str] = {}
    try:
        for kind, host in zip(KINDS, [*KINDS[1:], KINDS[0]], strict=True):
            newcomer = mixed.start(names[kind])
            mixed.nodes[host].client.execute_command("CLUSTER", "MEET", "127.0.0.1", newcomer.port)
        until(mixed.all_know_all, "known to all", 30)
        ids = {name: mixed.id_of(name) for name in names.values()}
    finally:
        for name in names.values():
            mixed.nodes.pop(name).stop()
    for client in mixed.clients().values():
        for node_id in ids.values():
            client.execute_command("CLUSTER", "FORGET", node_id)
    for known_by, client in mixed.clients().items():
        assert members(client).keys().isdisjoint(ids.values()), f"{known_by} still knows one"
    mixed.until_healthy()
