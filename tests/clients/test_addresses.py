"""By what addresses nodes are found: those that are announced, those that clients are given, and new ones after a restart.

What redis-py, ioredis and redis-cli make of each kind of endpoint is written down here as tests, on our nodes; the same was
seen on valkey-server 9.1. Nodes live on 127.0.0.x: on Linux all of these are this machine.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster
from redis.crc import key_slot

from tests.clients.conftest import RUN, tool
from tests.clients.test_nodejs import run_script
from tests.clients.up import free_range, until
from tests.servers import ServerProcess

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine"),
]

SLOTS = [(0, 5460), (5461, 10922), (10923, 16383)]


class Place:
    """A node that can be started again on another address, with its nodes.conf."""

    def __init__(self, folder: Path, kind: str, ip: str) -> None:
        self.kind = kind
        self.ip = ip
        self.port = free_range(1)
        self.folder = folder / f"{kind}-{self.port}"
        self.folder.mkdir()
        self.process: ServerProcess | None = None

    def start(self, *options: str) -> None:
        words = [
            "--port", str(self.port), "--bind", self.ip, "--bind-source-addr", self.ip, "--save", "",
            "--dir", str(self.folder), "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *options,
        ]  # fmt: skip
        self.process = ServerProcess(self.kind, words, self.port, self.folder, "")
        self.process.client.close()
        self.process.client = redis.Redis(host=self.ip, port=self.port, protocol=2, socket_timeout=20)
        self.process.until(lambda: bool(self.ask("PING")), "ready")

    def ask(self, *words: object) -> Any:
        """A reply as it comes, in RESP2."""
        assert self.process is not None
        client = self.process.client
        client.response_callbacks.clear()
        return client.execute_command(*words)

    def nodes(self) -> dict[str, list[str]]:
        """CLUSTER NODES: words by id."""
        lines = self.ask("CLUSTER", "NODES").decode().splitlines()
        return {line.split()[0]: line.split() for line in lines}

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
            self.process = None


class Places:
    """Three primaries that know each other."""

    def __init__(self, folder: Path, kinds: list[str], ips: list[str], *options: str) -> None:
        self.all = [Place(folder, kind, ip) for kind, ip in zip(kinds, ips, strict=True)]
        try:
            for place in self.all:
                place.start(*options)
            self.link()
        except BaseException:
            self.stop()
            raise

    def link(self) -> None:
        first = self.all[0]
        for place, (begin, end) in zip(self.all, SLOTS, strict=True):
            place.ask("CLUSTER", "ADDSLOTSRANGE", begin, end)
            if place is not first:
                place.ask("CLUSTER", "MEET", first.ip, first.port)
        until(self.usable, "usable", 30)

    def usable(self) -> bool:
        for place in self.all:
            info = place.ask("CLUSTER", "INFO").decode()
            assert "cluster_state:ok" in info and "cluster_known_nodes:3" in info, f"{place.ip}: {info}"
        return True

    def all_know(self, ips: list[str]) -> bool:
        """Whether every node knows every node by its address of now."""
        for place in self.all:
            nodes = place.nodes().values()
            # Valkey shows its own former address until it is met at another, and tells nobody.
            lines = [words for words in nodes if place.kind == "hashslot" or "myself" not in words[2]]
            seen = {words[1].partition("@")[0] for words in lines}
            wanted = {f"{ip}:{other.port}" for ip, other in zip(ips, self.all, strict=True)}
            assert seen <= wanted and len(seen) == len(lines), f"{place.ip} knows {seen}"
        return self.usable()

    def move(self, place: Place, ip: str) -> None:
        place.stop()
        place.ip = ip
        place.start()

    def stop(self) -> None:
        for place in self.all:
            place.stop()


def on_all(places: Places, *words: object) -> None:
    for place in places.all:
        place.ask(*words)


def cli(*arguments: object) -> str:
    """redis-cli's output, without the line breaks around it."""
    command = [tool("redis-cli", "redis-tools"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()


def key_of(index: int) -> str:
    """A key of the node with that number."""
    begin, end = SLOTS[index]
    return next(key for key in map(str, range(1000)) if begin <= key_slot(key.encode()) <= end)


# What clients are told ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Three of ours that listen on 127.0.0.1 and ::1; the last on ::1 alone would be another test."""
    places = Places(tmp_path_factory.mktemp("local"), ["hashslot"] * 3, ["127.0.0.1"] * 3)
    yield places
    places.stop()


@pytest.fixture
def told(local: Places, request: pytest.FixtureRequest) -> Iterator[Places]:
    """The three with these settings; afterwards without."""
    settings: dict[str, str] = request.param
    before = {name: local.all[0].ask("CONFIG", "GET", name)[1] for name in settings}
    for name, value in settings.items():
        on_all(local, "CONFIG", "SET", name, value)
    announced = [value for name, value in settings.items() if "announce" in name]
    if announced:  # The others hear of it by gossip.
        until(lambda: all(shown(place, announced[0]) >= 3 for place in local.all), "told")
    yield local
    for name, value in before.items():
        on_all(local, "CONFIG", "SET", name, value)
    if announced and announced[0] != "127.0.0.1":
        until(lambda: not any(shown(place, announced[0]) for place in local.all), "told otherwise")


def shown(place: Place, text: str) -> int:
    """How often CLUSTER SLOTS says this."""
    return str(place.ask("CLUSTER", "SLOTS")).count(text)


def by_redis_py(places: Places) -> list[str]:
    """The hosts that it knows, after it has written to all nodes."""
    with RedisCluster(host="127.0.0.1", port=places.all[0].port, decode_responses=True) as cluster:
        for index in range(3):
            cluster.set(f"{{{key_of(index)}}}:{RUN}", index)
            assert cluster.get(f"{{{key_of(index)}}}:{RUN}") == str(index)
        return sorted({str(node.host) for node in cluster.get_nodes()})


def by_redis_cli(places: Places) -> list[str]:
    """What it answers to a write on each of the three nodes, told to the first."""
    return [cli("-c", "-h", "127.0.0.1", "-p", places.all[0].port, "SET", key_of(index), "x") for index in range(3)]


def by_ioredis(places: Places) -> list[str]:
    return run_script("address.mjs", "127.0.0.1", str(places.all[0].port), RUN)


IP, HOSTNAME, UNKNOWN = ({"cluster-preferred-endpoint-type": kind} for kind in ("ip", "hostname", "unknown-endpoint"))
REFUSED = ["failed: None of startup nodes is available"]


@pytest.mark.parametrize("told", [IP], indirect=True)
def test_addresses(told: Places) -> None:
    assert by_redis_py(told) == by_ioredis(told) == ["127.0.0.1"]
    assert by_redis_cli(told) == ["OK"] * 3


@pytest.mark.parametrize("told", [HOSTNAME | {"cluster-announce-hostname": "localhost"}], indirect=True)
def test_host_names(told: Places) -> None:
    entry = told.all[0].ask("CLUSTER", "SLOTS")[1]
    assert entry[2][0] == b"localhost" and entry[2][3] == [b"ip", b"127.0.0.1"]
    assert by_redis_py(told) == ["127.0.0.1"], "redis-py takes localhost for 127.0.0.1"
    assert by_ioredis(told) == ["localhost"]
    assert by_redis_cli(told) == ["OK"] * 3


@pytest.mark.parametrize("told", [HOSTNAME], indirect=True)
def test_host_names_that_nobody_announced(told: Places) -> None:
    """`?` is meant to be no name. Nobody connects to it."""
    assert told.all[0].ask("CLUSTER", "SLOTS")[1][2][0] == b"?"
    with pytest.raises(redis.exceptions.RedisClusterException, match=r"Redis Cluster cannot be connected"):
        by_redis_py(told)
    assert by_ioredis(told) == REFUSED
    assert by_redis_cli(told) == ["OK", "", ""]


@pytest.mark.parametrize("told", [UNKNOWN], indirect=True)
def test_unknown_endpoints(told: Places) -> None:
    """No host: "the one where you asked". redis-py understands it; ioredis and redis-cli 7.0 do not."""
    assert told.all[0].ask("CLUSTER", "SLOTS")[1][2][0] is None
    with pytest.raises(redis.ResponseError, match=rf"^{key_slot(key_of(1).encode())} :{told.all[1].port}$"):
        told.all[0].ask("SET", key_of(1), "x")
    assert by_redis_py(told) == ["None"]
    assert by_ioredis(told) == REFUSED
    assert by_redis_cli(told) == ["OK", "", ""]


@pytest.mark.parametrize("told", [{"cluster-announce-client-ipv4": "127.0.0.7"}], indirect=True)
def test_an_address_for_clients(told: Places) -> None:
    assert [entry[2][0] for entry in told.all[0].ask("CLUSTER", "SLOTS")] == [b"127.0.0.7"] * 3
    with pytest.raises(redis.ResponseError, match=rf" 127\.0\.0\.7:{told.all[1].port}$"):
        told.all[0].ask("SET", key_of(1), "x")
    assert all(words[7] == "connected" for words in told.all[0].nodes().values())
    assert told.usable(), "the bus keeps its own addresses"


def test_as_valkey_shows_announced_addresses(tmp_path: Path) -> None:
    """One node of each kind with the same settings tells the same of itself."""
    settings = {
        "cluster-announce-ip": "192.0.2.7", "cluster-announce-port": "7777", "cluster-announce-bus-port": "7878",
        "cluster-announce-hostname": "a.example", "cluster-announce-human-nodename": "Anna",
        "cluster-announce-client-ipv4": "198.51.100.9", "cluster-announce-client-ipv6": "2001:db8::9",
    }  # fmt: skip
    told: dict[str, list[Any]] = {}
    for kind in ("hashslot", "valkey"):
        place = Place(tmp_path, kind, "127.0.0.1")
        place.start()
        try:
            place.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            views = told[kind] = []
            own = place.ask("CLUSTER", "MYID")
            for name, value in settings.items():
                place.ask("CONFIG", "SET", name, value)
                for kind_of_endpoint in ("ip", "hostname", "unknown-endpoint"):
                    place.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", kind_of_endpoint)
                    views.append((name, kind_of_endpoint, plain(place, own)))
            for value in ("a" * 46, "a b", "a,b", "a@b"):  # What would make a nodes.conf that nobody can read.
                with pytest.raises(redis.ResponseError, match="cluster-announce-ip") as refused:
                    place.ask("CONFIG", "SET", "cluster-announce-ip", value)
                views.append(str(refused.value))
        finally:
            place.stop()
    for ours, theirs in zip(told["hashslot"], told["valkey"], strict=True):
        assert ours == theirs


def plain(place: Place, own: bytes) -> list[Any]:
    """SLOTS, the address in NODES and the fields of SHARDS that tell where a node is, without what is each node's own."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(one) for one in value]
        if value == place.port:
            return "port"
        if isinstance(value, bytes):
            for part, name in ((own, b"ID"), (b"%d" % (place.port + 10000), b"bus"), (b"%d" % place.port, b"port")):
                value = value.replace(part, name)
        return value

    (line,) = place.nodes().values()
    where = line[1].split(",")
    ((_, found),) = [place.ask("CLUSTER", "SHARDS")[0][2:4]]
    node = dict(zip(found[0][::2], found[0][1::2], strict=True))
    fields = {name: node.get(name) for name in (b"port", b"ip", b"endpoint", b"hostname")}
    slots = place.ask("CLUSTER", "SLOTS")
    pairs = slots[0][2][3]
    slots[0][2][3] = sorted(zip(pairs[::2], pairs[1::2], strict=True))
    return cleaned([slots, where[0].encode(), where[1:2], [list(pair) for pair in fields.items()]])


def test_ipv6(tmp_path: Path) -> None:
    """Nodes that have nothing but ::1: clients are led from one to the other."""
    places = Places(tmp_path, ["hashslot", "valkey", "hashslot"], ["::1"] * 3)
    try:
        assert places.all_know(["::1"] * 3)
        with pytest.raises(redis.ResponseError, match=rf" ::1:{places.all[1].port}$"):
            places.all[0].ask("SET", key_of(1), "x")
        with RedisCluster(host="::1", port=places.all[0].port) as cluster:
            for index in range(3):
                assert cluster.set(key_of(index), "x")
        for index in range(3):
            assert cli("-c", "-h", "::1", "-p", places.all[0].port, "SET", key_of(index), "x") == "OK"
    finally:
        places.stop()


# New addresses --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    ips = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
    places = Places(tmp_path_factory.mktemp("moving"), ["hashslot", "valkey", "hashslot"], ips)
    yield places
    places.stop()


def test_one_node_comes_back_elsewhere(moving: Places) -> None:
    """Its nodes.conf tells it where the others are; they follow it."""
    for number, (index, ip) in enumerate([(2, "127.0.0.23"), (1, "127.0.0.22"), (0, "127.0.0.21")]):
        moving.move(moving.all[index], ip)
        ips = [place.ip for place in moving.all]
        assert len({*ips} - {"127.0.0.11", "127.0.0.12", "127.0.0.13"}) == number + 1
        until(lambda ips=ips: moving.all_know(ips), f"known by {ips}", 30)


def test_all_come_back_elsewhere(moving: Places) -> None:
    """Nobody knows where anybody is: it takes one CLUSTER MEET a node, told to any of them; gossip does the rest."""
    for place in moving.all:
        place.stop()
    for place, ip in zip(moving.all, ("127.0.0.31", "127.0.0.32", "127.0.0.33"), strict=True):
        place.ip = ip
        place.start()
    first = moving.all[0]
    for place in moving.all[1:]:
        first.ask("CLUSTER", "MEET", place.ip, place.port)
    until(lambda: moving.all_know([place.ip for place in moving.all]), "all found again", 40)
    with RedisCluster(host=first.ip, port=first.port) as cluster:
        for index in range(3):
            assert cluster.set(key_of(index), "x")



