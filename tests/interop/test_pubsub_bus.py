"""Pub/sub across the bus of one cluster of ours, valkey-server 9.1 and redis-server 7.0: primaries and replicas.

Plain messages reach every node's subscribers once, sharded ones those of the shard; whoever listens to a shard channel
is told when its slot goes to another shard. Real processes and real time; everything is polled until it holds.
"""

from __future__ import annotations

import contextlib

import pytest
import redis
from redis.crc import key_slot

from tests.clients.up import until
from tests.interop.test_mixed_cluster import FOLLOWS, KINDS, SLOTS, Mixed, cluster_info, owner_everywhere
from tests.oracle.wire import Wire, parse
from tests.servers import ServerProcess

pytestmark = pytest.mark.real

SHARDS = {kind: [kind, *(name for name, primary in FOLLOWS.items() if primary == kind)] for kind in KINDS}
HEADER_BYTES = 2256
"""A message with a full header is longer than this."""


@pytest.fixture
def cluster(all_kinds: Mixed) -> Mixed:
    return all_kinds


class Listener:
    """One connection that listens to one channel. heard: (kind, message) in order, without the confirmation."""

    def __init__(self, node: ServerProcess, word: str, channel: bytes, protocol: int = 2) -> None:
        self._wire = Wire(node.port, protocol)
        confirmed = self._wire.call(word.encode(), channel)
        assert confirmed.kind in "*>", confirmed
        assert [item.value for item in confirmed.value] == [word.lower().encode(), channel, b"1"]
        self._wire.socket.setblocking(False)
        self._data = b""
        self.heard: list[tuple[str, bytes]] = []

    def listen(self) -> bool:
        """Take in what has come."""
        with contextlib.suppress(BlockingIOError):
            while data := self._wire.socket.recv(1 << 16):
                self._data += data
        while (found := parse(self._data)) is not None:
            tree, end = found
            self._data = self._data[end:]
            self.heard.append((tree.value[0].value.decode(), tree.value[-1].value))
        return True

    def messages(self) -> list[bytes]:
        """The messages, so far."""
        self.listen()
        return [data for _, data in self.heard]

    def close(self) -> None:
        self._wire.close()


def channel_of(shard: str) -> bytes:
    """A channel whose slot belongs to this shard."""
    first, last = SLOTS[shard]
    return next(b"channel %d" % number for number in range(10_000) if first <= key_slot(b"channel %d" % number) <= last)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("word", ["SUBSCRIBE", "PSUBSCRIBE"])
def test_plain_messages_reach_all_nodes_once(cluster: Mixed, word: str, protocol: int) -> None:
    name = b"news*" if word == "PSUBSCRIBE" else b"news"
    listeners = {node: Listener(cluster.nodes[node], word, name, protocol) for node in cluster.nodes}
    texts = [f"{round_}: {name} \0\r\n".encode() for round_ in range(3) for name in cluster.nodes]
    for text in texts:
        publisher = text.split()[1].decode()
        assert cluster.nodes[publisher].client.publish("news", text) == 1  # Receivers elsewhere are not counted.
    for node, listener in listeners.items():
        until(lambda one=listener: len(one.messages()) >= len(texts), f"heard by {node}")
        assert sorted(listener.messages()) == sorted(texts), node
        for publisher in cluster.nodes:
            own = [text for text in texts if text.split()[1].decode() == publisher]
            assert [text for text in listener.messages() if text in own] == own, f"{node} hears {publisher} in order"
        listener.close()


@pytest.mark.parametrize("shard", KINDS)
def test_sharded_messages_stay_in_the_shard(cluster: Mixed, shard: str) -> None:
    channel, members = channel_of(shard), SHARDS[shard]
    listeners = {node: Listener(cluster.nodes[node], "SSUBSCRIBE", channel) for node in members}
    plain_listener = Listener(cluster.nodes[shard], "SUBSCRIBE", channel)
    texts = [f"{round_}: {name}".encode() for round_ in range(3) for name in members]
    for text in texts:
        publisher = text.split()[1].decode()
        assert cluster.nodes[publisher].client.execute_command("SPUBLISH", channel, text) == 1
    for node, listener in listeners.items():
        until(lambda one=listener: len(one.messages()) >= len(texts), f"heard by {node}")
        assert sorted(listener.messages()) == sorted(texts), node
        listener.close()
    assert plain_listener.messages() == []
    plain_listener.close()
    for node in cluster.nodes.keys() - set(members):
        for request in (("SSUBSCRIBE", channel), ("SPUBLISH", channel, "x"), ("SUNSUBSCRIBE", channel)):
            with pytest.raises(redis.exceptions.MovedError) as moved:
                cluster.nodes[node].client.execute_command(*request)
            assert (moved.value.slot_id, moved.value.port) == (key_slot(channel), cluster.nodes[shard].port)


def test_channels_of_two_slots(cluster: Mixed) -> None:
    for node in cluster.nodes.values():
        for word in ("SSUBSCRIBE", "SUNSUBSCRIBE"):
            with pytest.raises(redis.ResponseError, match="Keys in request don't hash to the same slot"):
                node.client.execute_command(word, channel_of("hashslot"), channel_of("valkey"))


@pytest.mark.parametrize(("sender", "receiver"), [("hashslot", "valkey"), ("valkey", "hashslot")])
def test_headers_are_light(cluster: Mixed, sender: str, receiver: str) -> None:
    """Between our nodes and Valkey's a message costs what it is long, not the full header."""
    count = 200
    listener = Listener(cluster.nodes[receiver], "SUBSCRIBE", b"light")
    valkey = cluster.nodes["valkey"].client
    field = f"cluster_stats_pubsub_bytes_{'received' if receiver == 'valkey' else 'sent'}"
    before = int(cluster_info(valkey)[field])
    for number in range(count):
        cluster.nodes[sender].client.publish("light", str(number))
    until(lambda: len(listener.messages()) == count, "heard")
    spent = int(cluster_info(valkey)[field]) - before
    listener.close()
    # Valkey sends six messages for each of its own: redis-server's two nodes take full headers only.
    takes_full = sum(one.partition("-")[0] == "redis" for one in cluster.nodes)
    full = 0 if receiver == "valkey" else count * HEADER_BYTES * takes_full
    assert count * 16 <= spent - full < count * 600, spent


@pytest.mark.parametrize(("giver", "taker"), [("hashslot", "valkey"), ("valkey", "hashslot"), ("redis", "hashslot")])
def test_listeners_are_told_when_the_slot_leaves(cluster: Mixed, giver: str, taker: str) -> None:
    channel = channel_of(giver)
    slot = key_slot(channel)
    listeners = {node: Listener(cluster.nodes[node], "SSUBSCRIBE", channel) for node in SHARDS[giver]}
    for here, there in ((giver, taker), (taker, giver)):
        for node in (there, here):
            cluster.nodes[node].client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", cluster.id_of(there))
        until(lambda: owner_everywhere(cluster, slot, cluster.nodes[there].port), "owned by the other in all views")  # noqa: B023
    for node, listener in listeners.items():
        until(lambda one=listener: one.listen() and one.heard, f"told by {node}")
        assert listener.heard[0][0] == "sunsubscribe", node
        assert cluster.nodes[node].client.execute_command("PUBSUB", "SHARDNUMSUB", channel) == [channel, 0]
        listener.close()
    cluster.until_healthy()
