"""redis-py's pub/sub on a standalone node and on six: both protocols, patterns, handlers, sharded, keyspace events.

And a subscriber that does not read: `client-output-buffer-limit pubsub` cuts it, and nobody else notices.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import ClusterNode, RedisCluster

from node import resp
from tests.clients.conftest import RUN, SixNodes
from tests.clients.up import until
from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with start("hashslot", tmp_path_factory.mktemp("pubsub")) as one:
        yield one


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Any]:
    with server.connect(protocol=request.param, decode_responses=True) as one:
        yield one


def next_message(pubsub: Any, timeout_s: float = 10.0) -> dict[str, Any]:
    """The next message, confirmations included."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        message = pubsub.get_message(timeout=0.1)
        if message is not None:
            found: dict[str, Any] = message
            return found
    raise AssertionError(f"no message in {timeout_s:.0f} s")


def test_channels_and_patterns(client: Any) -> None:
    with client.pubsub() as pubsub:
        pubsub.subscribe("a", "b")
        pubsub.psubscribe("a*")
        confirmed = [next_message(pubsub) for _ in range(3)]
        assert [(one["type"], one["channel"], one["data"]) for one in confirmed] == [
            ("subscribe", "a", 1), ("subscribe", "b", 2), ("psubscribe", "a*", 3),
        ]
        assert client.publish("a", "x") == 2
        got = [next_message(pubsub), next_message(pubsub)]
        assert got[0] == {"type": "message", "pattern": None, "channel": "a", "data": "x"}
        assert got[1] == {"type": "pmessage", "pattern": "a*", "channel": "a", "data": "x"}
        assert client.pubsub_numsub("a", "b", "c") == [("a", 1), ("b", 1), ("c", 0)]
        assert client.pubsub_numpat() == 1
        assert sorted(client.pubsub_channels()) == ["a", "b"]
        if client.get_connection_kwargs()["protocol"] == 2:  # redis-py takes the reply of RESP3 for a message.
            pubsub.ping("alive")
            assert next_message(pubsub)["data"] == "alive"
        pubsub.unsubscribe()
        pubsub.punsubscribe()
        assert sorted(next_message(pubsub)["type"] for _ in range(3)) == ["punsubscribe", "unsubscribe", "unsubscribe"]
        assert client.publish("a", "x") == 0


def test_handlers_in_a_thread(client: Any) -> None:
    got: list[str] = []
    pubsub = client.pubsub()
    pubsub.subscribe(handled=lambda message: got.append(message["data"]))
    thread = pubsub.run_in_thread(sleep_time=0.01)
    until(lambda: client.publish("handled", "first") == 1, "subscribed")
    for number in range(1000):
        client.publish("handled", str(number))
    until(lambda: len(got) >= 1001, "handled")
    thread.stop()
    thread.join()
    pubsub.close()
    assert got == ["first", *map(str, range(1000))]


def test_keyspace_events(client: Any) -> None:
    client.config_set("notify-keyspace-events", "KEA")
    with client.pubsub() as pubsub:
        pubsub.psubscribe("__keyevent@0__:*")
        next_message(pubsub)
        client.set("event", "x", px=30)
        client.rpush("list", "a")
        client.delete("list")
        got = [next_message(pubsub) for _ in range(5)]
        assert [(one["channel"].partition(":")[2], one["data"]) for one in got] == [
            ("set", "event"), ("expire", "event"), ("rpush", "list"), ("del", "list"), ("expired", "event"),
        ]
    client.config_set("notify-keyspace-events", "")


def test_connection_lost_forgets(client: Any) -> None:
    pubsub = client.pubsub()
    pubsub.subscribe("lost")
    next_message(pubsub)
    assert client.pubsub_numsub("lost") == [("lost", 1)]
    pubsub.connection.disconnect()
    until(lambda: client.pubsub_numsub("lost") == [("lost", 0)], "forgotten")
    pubsub.close()


def test_who_listens_may_be_idle(client: Any) -> None:
    """`timeout` closes idle connections, but not those that wait for messages."""
    with client.pubsub() as pubsub, client.client() as idle:
        pubsub.subscribe("quiet")
        next_message(pubsub)
        number = idle.client_id()
        client.config_set("timeout", 1)
        until(lambda: client.client_list(client_id=[number]) == [], "closed")
        client.config_set("timeout", 0)
        assert client.publish("quiet", "still there") == 1
        assert next_message(pubsub)["data"] == "still there"


@pytest.mark.parametrize("protocol", [b"2", b"3"])
def test_who_does_not_read_is_cut(server: ServerProcess, protocol: bytes) -> None:
    """Its unread messages count against its class, also in RESP3; the one who reads misses nothing."""
    client = server.client
    client.config_set("client-output-buffer-limit", "pubsub 1mb 0 0")
    before = client.info("stats")["client_output_buffer_limit_disconnections"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as deaf, client.pubsub() as reader:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(resp.request([b"HELLO", protocol]) + resp.request([b"SUBSCRIBE", b"flood"]))
        reader.subscribe("flood")
        next_message(reader)
        until(lambda: client.pubsub_numsub("flood") == [(b"flood", 2)], "both subscribed")
        for sent in range(400):  # noqa: B007
            receivers = client.publish("flood", "x" * 65536)
            assert len(next_message(reader)["data"]) == 65536
            if receivers == 1:
                break
        assert 10 < sent < 399, "cut too early, or not at all"
    assert client.info("stats")["client_output_buffer_limit_disconnections"] == before + 1


def test_replicas_hand_out_messages(tmp_path: Path, server: ServerProcess) -> None:
    """Without a cluster, what is published on the primary reaches the subscribers of its replicas, ours or not."""
    for kind in ("hashslot", "redis"):
        with start(kind, tmp_path, "--replicaof", f"127.0.0.1 {server.port}") as replica:
            replica.until_in_sync()
            pubsub = replica.client.pubsub()
            pubsub.subscribe("to replicas")
            pubsub.ssubscribe("sharded")
            next_message(pubsub)
            next_message(pubsub)
            server.client.publish("to replicas", "x")
            server.client.spublish("sharded", "y")
            assert [next_message(pubsub)["data"] for _ in range(2)] == [b"x", b"y"], kind
            pubsub.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_six_nodes(six_nodes: SixNodes, protocol: int) -> None:
    """RedisCluster's plain pub/sub, and its sharded one that has a connection for each shard."""
    with RedisCluster(host="127.0.0.1", port=six_nodes.port, protocol=protocol) as cluster:
        nodes = [ClusterNode("127.0.0.1", port) for port in six_nodes.ports]
        plain = [cluster.pubsub(node=node) for node in nodes]
        channel = f"news:{RUN}:{protocol}"
        for pubsub in plain:
            pubsub.subscribe(channel)
            next_message(pubsub)
        cluster.publish(channel, "to all")
        assert [next_message(pubsub)["data"] for pubsub in plain] == [b"to all"] * 6
        for pubsub in plain:
            pubsub.close()
        sharded = cluster.pubsub()
        channels = [f"chat:{RUN}:{protocol}:{number}" for number in range(12)]
        for name in channels:
            sharded.ssubscribe(name)
        assert len(_sharded(sharded, "ssubscribe", len(channels))) == len(channels)
        for name in channels:
            assert cluster.spublish(name, f"in {name}") == 1
        heard = [one["data"] for one in _sharded(sharded, "smessage", len(channels))]
        assert sorted(heard) == sorted(f"in {name}".encode() for name in channels)
        sharded.close()


def _sharded(pubsub: Any, kind: str, count: int) -> list[dict[str, Any]]:
    """Up to so many messages of a kind; each call asks one of the shards."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        message = pubsub.get_sharded_message(timeout=0.01)
        if message is not None and message["type"] == kind:
            found.append(message)
    return found
