"""CLUSTER judged by real servers: the same requests to a fresh node of theirs and of ours, and COMMAND INFO's facts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
from redis._parsers.base import BaseParser
from redis.connection import Connection

from cluster.events import Tick
from cluster.machine import Cluster
from cluster.nodes_conf import format_nodes_conf
from cluster.settings import ClusterSettings
from cluster.slots import ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import NodeFlag
from node import resp
from node.state import COMMANDS
from tests.commands.harness import START_MS, Harness
from tests.servers import ServerProcess, free_port, start

NOBODY = "0" * 40

REQUESTS = """
ADDSLOTS 16384 | ADDSLOTS a | ADDSLOTS -1 | ADDSLOTS 1 1 | DELSLOTS 1 | ADDSLOTSRANGE 1 2 3 | ADDSLOTSRANGE 3 1
ADDSLOTSRANGE 1 3 3 4 | ADDSLOTSRANGE 1 | DELSLOTSRANGE 1 2 | BUMPEPOCH | BUMPEPOCH
COUNT-FAILURE-REPORTS x | COUNT-FAILURE-REPORTS ME | COUNTKEYSINSLOT a | COUNTKEYSINSLOT -1 | COUNTKEYSINSLOT 16384
COUNTKEYSINSLOT 01 | COUNTKEYSINSLOT 5 | GETKEYSINSLOT 1 -1 | GETKEYSINSLOT 1 x | GETKEYSINSLOT 16384 1
GETKEYSINSLOT -1 1 | GETKEYSINSLOT 99999999999999999999 1 | GETKEYSINSLOT 1 1 | GETKEYSINSLOT 1
FORGET ME | FORGET NOBODY | FORGET x | FLUSHSLOTS x | FLUSHSLOTS
MEET a b | MEET a 1 | MEET 127.0.0.1 1 x | MEET 127.0.0.1 0 | MEET 127.0.0.1 60000 | MEET 127.0.0.1 70000
MEET 127.0.0.1 6000 70000 | MEET 127.0.0.1 6000 70000 1 | MEET localhost 7000 | MEET 127.0.0.1 6000 0
MEET 127.0.0.1 -6000 | MEET 127.0.0.1
REPLICAS x | REPLICAS ME | SLAVES NOBODY | REPLICATE x | REPLICATE ME | RESET foo | RESET soft x
SET-CONFIG-EPOCH x | SET-CONFIG-EPOCH -1 | SET-CONFIG-EPOCH 5
SETSLOT 1 | SETSLOT 1 foo | SETSLOT 1 stable | SETSLOT x stable | SETSLOT 1 migrating | SETSLOT 1 migrating ME
SETSLOT 1 migrating NOBODY | SETSLOT 1 importing | SETSLOT 1 importing NOBODY | SETSLOT 1 node NOBODY
SETSLOT 1 node | SETSLOT 1 foo ME | SETSLOT 16384 node ME
ADDSLOTS 1 | ADDSLOTS 2 1 | ADDSLOTSRANGE 2 3 1 1 | SETSLOT 1 migrating NOBODY | SETSLOT 1 migrating x
SETSLOT 1 importing ME | SETSLOT 1 node ME | SETSLOT 1 node ME | SET-CONFIG-EPOCH 9
SLOTS | NODES | DELSLOTSRANGE 1 1 1 1 | DELSLOTS 1 1 | DELSLOTS 1 | SETSLOT 7 node ME | NODES | INFO | FLUSHSLOTS
SAVECONFIG | SAVECONFIG x | KEYSLOT a | KEYSLOT {a}b | KEYSLOT {}b | KEYSLOT | LINKS | SLOTS | foo | INFO x
RESET | RESET hard | BUMPEPOCH | SHARDS
"""
"""Subcommands of CLUSTER, in this order."""

VALKEY_SAYS_OTHERWISE = {
    "MEET a b", "MEET 127.0.0.1 1 x", "MEET 127.0.0.1 0", "MEET 127.0.0.1 60000", "MEET 127.0.0.1 70000",
    "MEET 127.0.0.1 6000 70000", "MEET 127.0.0.1 6000 0", "MEET 127.0.0.1 -6000",
    "INFO", "SHARDS",
}
"""Other words for bad ports; more fields in INFO and SHARDS."""


@pytest.fixture(scope="module", params=["redis", "valkey"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    kind: str = request.param
    with start(kind, tmp_path_factory.mktemp(kind), "--cluster-enabled", "yes") as server:
        yield server


def requests(text: str) -> list[str]:
    """Lines of requests with bars between."""
    return [one.strip() for line in text.strip().splitlines() for one in line.split("|")]


class Theirs:
    """A real server's replies in one protocol, as plain values."""

    def __init__(self, server: ServerProcess, protocol: int) -> None:
        connection: Any = Connection
        self._connection = connection(port=server.port, protocol=protocol, socket_timeout=10)

    def ask(self, *words: str) -> Any:
        self._connection.send_command(*words)
        try:
            return self._connection.read_response(disable_decoding=True)
        except Exception as error:  # redis-py has a class a code and takes the code off
            return type(error).__name__, str(error)


def from_ours(redis: Harness, protocol: int, *words: str) -> Any:
    """The same from the node in process, by way of its bytes and redis-py's own reading of errors."""
    reader = hiredis.Reader(replyError=lambda text: _error(text))
    reader.feed(redis.wire(*words, protocol=protocol))
    return reader.gets()


def _error(text: str) -> Any:
    parser: Any = BaseParser
    error = parser.parse_error(text)
    return _Told((type(error).__name__, str(error)))


class _Told(Exception):
    """hiredis wants an exception where we want a pair."""

    def __init__(self, pair: tuple[str, str]) -> None:
        super().__init__(*pair)
        self.pair = pair


def plain(value: Any, me: str) -> Any:
    """A reply without what is each node's own."""
    if isinstance(value, _Told):
        return plain(value.pair, me)
    if isinstance(value, (list, tuple)):
        return [plain(one, me) for one in value]
    if isinstance(value, dict):
        return {plain(key, me): plain(one, me) for key, one in value.items()}
    if isinstance(value, bytes):
        return plain(value.decode(), me)
    return value.replace(me, "ME") if isinstance(value, str) else value


@pytest.mark.parametrize("protocol", [2, 3])
def test_replies_of_a_fresh_node(real: ServerProcess, protocol: int, tmp_path: Path) -> None:
    theirs = Theirs(real, protocol)
    theirs.ask("CLUSTER", "RESET", "HARD")
    settings = ClusterSettings(port=real.port, bus_port=real.port + 10000)
    redis = Harness(cluster=Cluster(settings, random.Random(protocol), now_ms=START_MS))
    for request in requests(REQUESTS):
        their_id = theirs.ask("CLUSTER", "MYID").decode()
        our_id = redis.run("CLUSTER", "MYID").decode()
        words = ["CLUSTER", *request.split()]
        expected = theirs.ask(*[{"ME": their_id, "NOBODY": NOBODY}.get(word, word) for word in words])
        got = from_ours(redis, protocol, *[{"ME": our_id, "NOBODY": NOBODY}.get(word, word) for word in words])
        if real.kind == "valkey" and request in VALKEY_SAYS_OTHERWISE:
            continue
        if request in ("RESET", "RESET hard"):
            assert resp.OK.encode() in (expected, got) and expected == got
            continue
        assert plain(got, our_id) == plain(expected, their_id), request


ME, OTHER = "a" * 40, "b" * 40
"""OTHER never answers: what is known of it stays as it was written."""

ROUTED = """
SET foo{2} v | GET foo{2} | GET bar{1} | SET bar{1} v | MGET foo{2} bar{1} | MSET a{2} 1 b{2} 2 | DEL c{2} a{2} | PING
CLUSTER SETSLOT 5649 MIGRATING OTHER | GET foo{2} | SET foo{2} w | GET a{2} | MGET foo{2} b{2} | MGET foo{2} a{2}
MGET a{2} c{2} | MGET a{2} a{2} | SET a{2} 1 | DEL foo{2} a{2} | ASKING | SET a{2} 1 | READONLY | GET a{2} | READWRITE
EXISTS foo{2} foo{2} | DBSIZE | CLUSTER SETSLOT 5649 NODE OTHER | CLUSTER COUNTKEYSINSLOT 5649
CLUSTER SETSLOT 5649 STABLE | SET a{2} 1 | GET a{2}
SET bar{1} v | CLUSTER SETSLOT 9842 IMPORTING OTHER | GET bar{1} | ASKING | SET bar{1} v | GET bar{1} | ASKING
GET bar{1} | ASKING | MGET bar{1} x{1} | ASKING | MSET x{1} 1 y{1} 2 | ASKING | MGET bar{1} bar{1} | ASKING | GET z{1}
READONLY | GET bar{1} | READWRITE | ASKING | PING | GET bar{1} | ASKING | MGET bar{1} foo{2} | GET bar{1}
CLUSTER GETKEYSINSLOT 9842 5 | CLUSTER SETSLOT 9842 NODE ME | GET bar{1} | CLUSTER SETSLOT 9842 NODE OTHER
CLUSTER DELSLOTS 9842 | GET bar{1} | SET bar{1} 1
"""
"""Requests to a node that owns the slots below 8192: 5649 is that of "2", 9842 that of "1"."""


def two_nodes() -> SavedState:
    def one(node: str, port: int, flags: NodeFlag, first: int, last: int, epoch: int) -> SavedNode:
        address = Address("127.0.0.1", port, port + 10000)
        slots = ranges_to_bitmap([(first, last)])
        return SavedNode(NodeId(node), address, flags, config_epoch=epoch, shard_id=ShardId(node[::-1]), slots=slots)

    return SavedState(
        (one(ME, 1, NodeFlag.MYSELF | NodeFlag.PRIMARY, 0, 8191, 1), one(OTHER, 2, NodeFlag.PRIMARY, 8192, 16383, 2)),
        current_epoch=2,
    )


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_requests_are_sent_where_real_servers_send_them(kind: str, tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / f"{kind}-{port}"
    folder.mkdir()
    (folder / "nodes.conf").write_bytes(format_nodes_conf(two_nodes()))
    settings = ClusterSettings(port=port, bus_port=port + 10000, node_timeout_ms=60_000)
    cluster = Cluster.from_saved(two_nodes(), settings, random.Random(1), now_ms=START_MS - 8000)
    for at in (START_MS - 7000, START_MS):
        cluster.step(Tick(), at)
    redis = Harness(cluster=cluster)
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "60000")
    with start(kind, tmp_path, *options, port=port) as server:
        theirs = Theirs(server, 2)
        server.until(lambda: b"cluster_state:ok" in theirs.ask("CLUSTER", "INFO"), "a usable cluster")
        for number, request in enumerate(requests(ROUTED)):
            words = [{"ME": ME, "OTHER": OTHER}.get(word, word) for word in request.split()]
            assert plain(from_ours(redis, 2, *words), ME) == plain(theirs.ask(*words), ME), (number, request)


LATER_FLAGS = {"info", "myid", "nodes", "shards", "slots"}
"""Served while loading since Redis 7.2.2 and in Valkey."""


NEWER = {b"myshardid", b"slot-stats", b"migrateslots", b"getslotmigrations", b"cancelslotmigrations", b"syncslots"}
"""Of Redis 7.2, of Valkey 8 and of Valkey 9: redis-server 7.0 has none of them."""
REDIS_8 = b"migration"
"""Of Redis 8.4: neither of the servers here has it."""


def test_facts_of_every_subcommand(real: ServerProcess) -> None:
    theirs = Theirs(real, 2)
    (container,) = theirs.ask("COMMAND", "INFO", "cluster")
    told = {one[0].decode().partition("|")[2]: one for one in container[9]}
    declared = COMMANDS.by_name[b"cluster"]
    for name, command in declared.subcommands.items():
        fact = told.get(name.decode())
        if fact is None:
            assert name == REDIS_8 or (real.kind == "redis" and name in NEWER), name
            continue
        flags = {one.name.lower() for one in command.flags}  # type: ignore[union-attr]
        if real.kind == "redis" and name.decode() in LATER_FLAGS:
            flags.discard("loading")
        if (real.kind, name) != ("valkey", b"replicate"):  # It has REPLICATE NO ONE.
            assert command.arity == fact[1], name
        assert flags == {one.decode() for one in fact[2]}, name
        assert list(fact[3:6]) == [0, 0, 0] and not command.keys, name
        assert set(command.categories()) == {one.decode() for one in fact[6]}, name
        assert list(command.hints) == [one.decode() for one in fact[7]], name
    left_out = set(told) - {name.decode() for name in declared.subcommands}
    assert left_out - {
        "failover", "slot-stats", "flushslot", "migrateslots", "cancelslotmigrations", "getslotmigrations", "syncslots"
    } == set()
    assert (container[1], container[6]) == (declared.arity, [b"@slow"])


def test_facts_of_connection_modes(real: ServerProcess) -> None:
    theirs = Theirs(real, 2)
    for name in ("asking", "readonly", "readwrite"):
        (fact,) = theirs.ask("COMMAND", "INFO", name)
        command = COMMANDS.by_name[name.encode()]
        flags = {one.name.lower() for one in command.flags}  # type: ignore[union-attr]
        assert (command.arity, flags) == (fact[1], {one.decode() for one in fact[2]})
        assert set(command.categories()) == {one.decode() for one in fact[6]}
        assert theirs.ask(name) == b"OK"
