"""redis-py's RedisCluster, and valkey-py's: both protocols, parser in C and in Python, bytes and text."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis._parsers import _HiredisParser, _RESP2Parser, _RESP3Parser
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster
from redis.retry import Retry

from tests.clients.conftest import BIG, RUN, SixNodes, library
from tests.clients.up import until

pytestmark = pytest.mark.real


MODES = {"resp2-hiredis": (2, True), "resp3-hiredis": (3, True), "resp2-python": (2, False), "resp3-python": (3, False)}


@pytest.fixture(params=MODES)
def cluster(request: pytest.FixtureRequest, six_nodes: SixNodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    protocol, in_c = MODES[request.param]
    if not in_c:
        parse_in_python(monkeypatch, _RESP3Parser if protocol == 3 else _RESP2Parser)
    with RedisCluster(host="127.0.0.1", port=six_nodes.port, protocol=protocol) as client:
        client.test_name = request.param
        yield client


def parse_in_python(monkeypatch: pytest.MonkeyPatch, plain: type) -> None:
    """Let connections parse replies in Python although hiredis is installed."""
    original = redis.Connection.set_parser

    def set_parser(self: Any, parser: Any) -> None:
        original(self, plain if parser is _HiredisParser else parser)

    monkeypatch.setattr(redis.connection.AbstractConnection, "set_parser", set_parser)


def keys_of(cluster: Any, what: str, count: int) -> list[str]:
    """Keys all over the cluster that no other test has."""
    return [f"redis-py:{RUN}:{cluster.test_name}:{what}:{number}" for number in range(count)]


def test_topology(cluster: Any, six_nodes: SixNodes) -> None:
    assert sorted(node.port for node in cluster.get_nodes()) == six_nodes.ports
    assert len(cluster.get_primaries()) == len(cluster.get_replicas()) == 3
    assert cluster.cluster_info(target_nodes=RedisCluster.RANDOM)["cluster_state"] == "ok"
    shards = cluster.execute_command("CLUSTER SHARDS", target_nodes=RedisCluster.RANDOM)
    assert len(shards) == 3
    for node in cluster.get_nodes():
        assert len(cluster.execute_command("CLUSTER NODES", target_nodes=node)) == 6


def test_strings(cluster: Any) -> None:
    names = keys_of(cluster, "string", 50)
    for number, name in enumerate(names):
        assert cluster.set(name, f"value {number}") is True
    assert [cluster.get(name) for name in names] == [b"value %d" % number for number in range(50)]
    assert len({cluster.get_node_from_key(name).port for name in names}) == 3, "keys must lie on all primaries"
    assert cluster.append(names[0], "!") == 8
    assert cluster.incrby(f"{names[1]}:n", 41) == 41
    assert cluster.incrbyfloat(f"{names[1]}:n", 0.5) == 41.5
    assert cluster.set(names[0], "other", nx=True) is None
    assert cluster.getset(names[0], "new") == b"value 0!"
    assert cluster.delete(names[0]) == 1
    assert cluster.get(names[0]) is None


def test_hashes(cluster: Any) -> None:
    (name,) = keys_of(cluster, "hash", 1)
    cluster.delete(name)
    assert cluster.hset(name, mapping={"visits": 1, "city": "London"}) == 2
    assert cluster.hgetall(name) == {b"visits": b"1", b"city": b"London"}
    assert cluster.hincrby(name, "visits", 5) == 6
    assert cluster.hmget(name, "visits", "none") == [b"6", None]
    assert dict(cluster.hscan_iter(name)) == {b"visits": b"6", b"city": b"London"}
    assert cluster.hdel(name, "visits", "none") == 1
    assert cluster.hrandfield(name) == b"city"


def test_expiry(cluster: Any) -> None:
    (name,) = keys_of(cluster, "expiry", 1)
    cluster.set(name, "short", px=60)
    assert 0 < cluster.pttl(name) <= 60
    until(lambda: cluster.get(name) is None, "expired", 5)
    cluster.set(name, "long", ex=3600)
    assert 3590 < cluster.ttl(name) <= 3600
    assert cluster.persist(name) == 1
    assert cluster.ttl(name) == -1


def test_several_keys_of_one_slot(cluster: Any) -> None:
    tag = "{" + keys_of(cluster, "tag", 1)[0] + "}"
    assert cluster.mset({f"{tag}:a": 1, f"{tag}:b": 2}) is True
    assert cluster.mget(f"{tag}:a", f"{tag}:b", f"{tag}:c") == [b"1", b"2", None]
    assert cluster.exists(f"{tag}:a", f"{tag}:b") == 2
    assert cluster.delete(f"{tag}:a", f"{tag}:b") == 2


def test_keys_of_several_slots(cluster: Any) -> None:
    first, second = keys_of(cluster, "crossslot", 2)
    node = cluster.get_redis_connection(cluster.get_node_from_key(first))
    with pytest.raises(redis.ResponseError, match="hash to the same slot"):
        node.execute_command("MGET", first, second)
    assert cluster.mset_nonatomic({first: "1", second: "2"})
    assert cluster.mget_nonatomic([first, second]) == [b"1", b"2"]


def test_scan_over_the_cluster(cluster: Any) -> None:
    names = keys_of(cluster, "scan", 300)
    for name in names:
        cluster.set(name, "x")
    pattern = f"redis-py:{RUN}:{cluster.test_name}:scan:*"
    found = list(cluster.scan_iter(match=pattern, count=100))
    assert {name.decode() for name in found} == set(names)
    assert len(cluster.keys(pattern, target_nodes=RedisCluster.PRIMARIES)) == 300


def test_binary_keys_and_values(cluster: Any) -> None:
    name = bytes(range(256)) + cluster.test_name.encode()
    assert cluster.set(name, b"\r\n\0$-1\r\n")
    assert cluster.get(name) == b"\r\n\0$-1\r\n"
    assert cluster.set(b"", b"empty key") and cluster.get(b"") == b"empty key"
    assert cluster.hset(b"h" + name, b"\0\r\n", b"") == 1
    assert cluster.hgetall(b"h" + name) == {b"\0\r\n": b""}
    assert cluster.delete(b"h" + name) == 1


def test_big_values(cluster: Any) -> None:
    (name,) = keys_of(cluster, "big", 1)
    assert cluster.set(name, BIG)
    assert cluster.strlen(name) == len(BIG)
    assert cluster.get(name) == BIG
    assert cluster.getrange(name, -3, -1) == b"\xfd\xfe\xff"
    assert cluster.delete(name) == 1


def test_pipeline_over_many_slots(cluster: Any) -> None:
    names = keys_of(cluster, "pipeline", 500)
    with cluster.pipeline() as pipe:
        for number, name in enumerate(names):
            pipe.set(name, number)
            pipe.get(name)
        pipe.incr(names[0])
        replies = pipe.execute()
    assert replies[1::2][:500] == [b"%d" % number for number in range(500)]
    assert replies[-1] == 1
    with cluster.pipeline() as pipe:
        pipe.set(names[0], "text").incr(names[0]).get(names[0])
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and replies[2] == b"text"
    assert "not an integer" in str(replies[1])


def test_replies_as_text(six_nodes: SixNodes) -> None:
    for protocol in (2, 3):
        with RedisCluster(host="127.0.0.1", port=six_nodes.port, decode_responses=True, protocol=protocol) as cluster:
            cluster.set("redis-py:text", "Zürich ☃")
            assert cluster.get("redis-py:text") == "Zürich ☃"
            cluster.hset("redis-py:text:hash", "größe", "5")
            assert cluster.hgetall("redis-py:text:hash") == {"größe": "5"}
            assert cluster.cluster_keyslot("redis-py:text") == cluster.keyslot("redis-py:text")


def test_reads_from_replicas(six_nodes: SixNodes) -> None:
    strategy = LoadBalancingStrategy.ROUND_ROBIN_REPLICAS
    with RedisCluster(host="127.0.0.1", port=six_nodes.port, load_balancing_strategy=strategy) as cluster:
        names = [f"redis-py:{RUN}:replica:{number}" for number in range(60)]
        for name in names:
            cluster.set(name, name)
        before = reads_served(cluster)
        for name in names:
            until(lambda name=name: cluster.get(name) == name.encode(), "replicated")
        after = reads_served(cluster)
        grown = [port for port in after if after[port] > before[port]]
        replicas = {node.port for node in cluster.get_replicas()}
        assert replicas <= set(grown), f"reads were served by {grown}, replicas are {replicas}"


def reads_served(cluster: Any) -> dict[int, int]:
    """How often each node has run GET."""
    return {
        node.port: cluster.info("commandstats", target_nodes=node).get("cmdstat_get", {}).get("calls", 0)
        for node in cluster.get_nodes()
    }


def test_replica_redirects_unless_readonly(six_nodes: SixNodes) -> None:
    with RedisCluster(host="127.0.0.1", port=six_nodes.port) as cluster:
        cluster.set("redis-py:readonly", "1")
        slot = cluster.keyslot("redis-py:readonly")
        primary, replica = cluster.nodes_manager.slots_cache[slot][:2]
    with redis.Redis(port=replica.port) as one:
        with pytest.raises(redis.exceptions.MovedError) as moved:
            one.get("redis-py:readonly")
        assert (moved.value.slot_id, moved.value.port) == (slot, primary.port)
        pool = one.connection_pool
        connection = pool.get_connection()
        connection.send_command("READONLY")
        assert connection.read_response() in (b"OK", "OK")
        connection.send_command("GET", "redis-py:readonly")
        assert connection.read_response() == b"1"
        connection.send_command("SET", "redis-py:readonly", "2")
        with pytest.raises(redis.exceptions.MovedError):
            connection.read_response()
        pool.release(connection)


def test_hello(six_nodes: SixNodes) -> None:
    with redis.Redis(port=six_nodes.port, protocol=3) as one:
        hello = one.execute_command("HELLO", "3", "SETNAME", "tester")
        assert {b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"} <= set(hello)
        assert hello[b"proto"] == 3
        assert hello[b"mode"] == b"cluster"
        assert one.client_getname() in ("tester", b"tester")
        with pytest.raises(redis.ResponseError, match="NOPROTO"):
            one.execute_command("HELLO", "4")


def test_wrong_start_nodes_are_survived(six_nodes: SixNodes) -> None:
    """One of the addresses given answers, the others do not: the client finds all nodes through it."""
    nodes = [ClusterNode("127.0.0.1", 1), ClusterNode("127.0.0.1", six_nodes.ports[-1])]
    with RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 3)) as cluster:
        assert cluster.set("redis-py:start", "1")


def test_client_that_knows_an_old_map_is_redirected(six_nodes: SixNodes) -> None:
    with RedisCluster(host="127.0.0.1", port=six_nodes.port) as cluster:
        slot = cluster.keyslot("redis-py:old map")
        cache = cluster.nodes_manager.slots_cache
        right = cache[slot]
        wrong = next(nodes for nodes in cache.values() if nodes[0].port != right[0].port)
        cache[slot] = wrong
        assert cluster.set("redis-py:old map", "found")
        assert cluster.get("redis-py:old map") == b"found"


def test_valkey_py(six_nodes: SixNodes) -> None:
    valkey = library("valkey", "valkey")
    client = valkey.ValkeyCluster(host="127.0.0.1", port=six_nodes.port, decode_responses=True)
    with contextlib.closing(client) as cluster:
        names = [f"valkey-py:{RUN}:{number}" for number in range(100)]
        with cluster.pipeline() as pipe:
            for name in names:
                pipe.set(name, name)
            assert pipe.execute() == [True] * 100
        assert [cluster.get(name) for name in names] == names
        assert set(cluster.scan_iter(match=f"valkey-py:{RUN}:*")) == set(names)
        assert cluster.hset("valkey-py:hash", mapping={"a": "1"}) in (0, 1)
        with pytest.raises(valkey.ResponseError, match="hash to the same slot"):
            node = cluster.get_valkey_connection(cluster.get_default_node())
            node.execute_command("MGET", *names)
