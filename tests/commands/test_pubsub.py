"""Pub/sub and keyspace notifications in process: who hears what, in which order, and what is left when clients go."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.slots import key_slot
from gossip.messages import SLOT_COUNT
from node.client import Client, Unusual
from node.notifications import CLASS_OF
from node.pubsub import Kind
from node.resp import Push
from node.settings.special import KEYSPACE_CLASSES
from tests.commands.harness import Harness, encoded
from tests.oracle.oracle import Told
from tests.oracle.wire import parse

ROOT = Path(__file__).parents[2]


class Ear:
    """One more client of a node, and what it was sent beside its replies."""

    def __init__(self, redis: Harness, protocol: int = 3) -> None:
        self.redis = redis
        self.client = redis.connect()
        self.client.set_protocol(protocol)
        self.sent: list[bytes] = []
        self.client.send = self.sent.append

    def run(self, *args: object) -> Any:
        return self.redis.node.run(self.client, [encoded(arg) for arg in args])

    def heard(self) -> list[list[bytes]]:
        """The messages that came since the last call, as plain lists."""
        data, at, found = b"".join(self.sent), 0, []
        self.sent.clear()
        while (one := parse(data, at)) is not None:
            tree, at = one
            found.append([item.value for item in tree.value])
        return found


@pytest.fixture
def redis() -> Harness:
    return Harness()


def test_a_message_is_encoded_once_for_each_protocol(redis: Harness) -> None:
    ears = [Ear(redis, 2 + number % 2) for number in range(10_000)]
    for ear in ears:
        ear.run("SUBSCRIBE", "news")
    assert redis.run("PUBLISH", "news", "x" * 100) == 10_000
    assert all(len(ear.sent) == 1 for ear in ears)
    assert len({id(ear.sent[0]) for ear in ears}) == 2
    assert ears[0].sent[0] == b"*" + ears[1].sent[0][1:]


def test_counts_in_replies(redis: Harness) -> None:
    replies = redis.run("SUBSCRIBE", "a", "b", "a")
    assert replies == [[b"subscribe", b"a", 1], [b"subscribe", b"b", 2], [b"subscribe", b"a", 2]]
    assert redis.run("PSUBSCRIBE", "a*") == [[b"psubscribe", b"a*", 3]]
    assert redis.run("SSUBSCRIBE", "s") == [[b"ssubscribe", b"s", 1]]
    assert redis.run("UNSUBSCRIBE") == [[b"unsubscribe", b"a", 2], [b"unsubscribe", b"b", 1]]
    assert redis.run("UNSUBSCRIBE") == [[b"unsubscribe", None, 1]]
    assert redis.run("PUNSUBSCRIBE", "x", "a*") == [[b"punsubscribe", b"x", 1], [b"punsubscribe", b"a*", 0]]
    assert redis.client.unusual & Unusual.SUBSCRIBED
    assert redis.run("SUNSUBSCRIBE") == [[b"sunsubscribe", b"s", 0]]
    assert not redis.client.unusual & Unusual.SUBSCRIBED


def test_own_messages_stand_behind_the_reply(redis: Harness) -> None:
    redis.client.set_protocol(3)
    sent: list[bytes] = []
    redis.client.send = sent.append
    redis.run("SUBSCRIBE", "a")
    message = b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"
    assert redis.wire("PUBLISH", "a", "x", protocol=3) == b":1\r\n" + message
    redis.run("MULTI")
    redis.run("PUBLISH", "a", "x")
    redis.run("PING")
    assert redis.wire("EXEC", protocol=3) == b"*2\r\n:1\r\n+PONG\r\n" + message
    assert sent == []
    Ear(redis).run("PUBLISH", "a", "x")
    assert sent == [message]


def test_an_error_does_not_swallow_own_messages() -> None:
    redis = Harness(settings={"notify-keyspace-events": "Km"})
    redis.client.set_protocol(3)
    redis.run("PSUBSCRIBE", "*")
    reply = redis.wire("INCR", "n", protocol=3)
    assert reply == b":1\r\n"
    redis.run("SET", "s", "x")
    # SORT and others miss one key before they fail at another: here GETRANGE misses, then LCS fails at a hash.
    redis.run("HSET", "h", "f", "v")
    reply = redis.wire("LCS", "none", "h", protocol=3)
    assert reply.startswith(b"-ERR The specified keys must contain string values\r\n>4\r\n$8\r\npmessage"), reply


def test_replies_off_keeps_messages(redis: Harness) -> None:
    ear = Ear(redis)
    ear.run("CLIENT", "REPLY", "OFF")
    reply = ear.run("SUBSCRIBE", "a")
    assert ear.client.encode(reply) == b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    assert ear.client.encode(ear.run("GET", "x")) == b""
    redis.run("PUBLISH", "a", "x")
    assert ear.heard() == [[b"message", b"a", b"x"]]


def test_reset_and_a_lost_connection_forget(redis: Harness) -> None:
    for end in (lambda ear: ear.run("RESET"), lambda ear: redis.node.forget_client(ear.client)):
        ear = Ear(redis)
        ear.run("SUBSCRIBE", "a", "b")
        ear.run("PSUBSCRIBE", "*")
        ear.run("SSUBSCRIBE", "s")
        assert redis.run("PUBSUB", "NUMSUB", "a", "none") == [b"a", 1, b"none", 0]
        end(ear)
        assert redis.run("PUBLISH", "a", "x") == redis.run("SPUBLISH", "s", "x") == redis.run("PUBSUB", "NUMPAT") == 0
        assert redis.run("PUBSUB", "CHANNELS") == redis.run("PUBSUB", "SHARDCHANNELS") == []
        assert ear.sent == []
        assert not ear.client.unusual & Unusual.SUBSCRIBED


def test_reset_ends_a_transaction_too(redis: Harness) -> None:
    redis.run("MULTI")
    assert redis.run("RESET") == "RESET"
    assert redis.run("GET", "x") is None


def test_clients_that_listen_are_shown(redis: Harness) -> None:
    ear = Ear(redis)
    ear.run("SUBSCRIBE", "a", "b")
    ear.run("PSUBSCRIBE", "p")
    ear.run("SSUBSCRIBE", "x", "y", "z")
    line = redis.run("CLIENT", "LIST", "TYPE", "pubsub").text.decode()
    assert line.count("\n") == 1
    for field in (f"id={ear.client.id} ", "flags=P ", "sub=2 ", "psub=1 ", "ssub=3 "):
        assert field in line, field
    info = redis.run("INFO", "stats").text.decode()
    for field in ("pubsub_channels:2", "pubsub_patterns:1", "pubsubshard_channels:3"):
        assert field in info, field


def test_client_kill_type_pubsub(redis: Harness) -> None:
    ears = [Ear(redis, 2), Ear(redis, 3)]
    closed: list[Client] = []
    for ear in ears:
        ear.run("SUBSCRIBE", "a")
        ear.client.close = lambda client=ear.client: closed.append(client)  # type: ignore[misc]
    assert redis.run("CLIENT", "KILL", "TYPE", "pubsub") == 2
    assert closed == [ear.client for ear in ears]
    assert redis.run("PUBLISH", "a", "x") == 0


def test_restricted_only_in_resp2(redis: Harness) -> None:
    redis.run("SUBSCRIBE", "a")
    allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"
    text = f"ERR Can't execute 'client|list': only {allowed} are allowed in this context"
    assert redis.error("CLIENT", "LIST") == text
    assert redis.run("PING") == [b"pong", b""]
    assert redis.run("PING", "x") == [b"pong", b"x"]
    redis.client.set_protocol(3)
    assert redis.run("PING") == "PONG"
    assert redis.run("GET", "x") is None


# Replicas, cluster ----------------------------------------------------------------------------------------------------


def test_replicas_are_told_by_a_standalone_node(redis: Harness) -> None:
    told = Told(redis)
    assert told.of(b"PUBLISH", b"a", b"x") == [[b"PUBLISH", b"a", b"x"]]
    assert told.of(b"SPUBLISH", b"a", b"x") == [[b"SPUBLISH", b"a", b"x"]]
    assert told.of(b"SUBSCRIBE", b"a") == []
    assert redis.node.dirty == 0


def test_a_replica_hands_out_what_its_primary_publishes(redis: Harness) -> None:
    ear = Ear(redis)
    ear.run("SUBSCRIBE", "a")
    redis.client.is_primary = True
    redis.client.mark(Unusual.FROM_PRIMARY, True)
    assert redis.wire("PUBLISH", "a", "x") == b""
    assert ear.heard() == [[b"message", b"a", b"x"]]


def test_in_a_cluster_the_bus_tells_others() -> None:
    redis = Harness(clustered=True)
    told = Told(redis)
    published: list[tuple[Any, ...]] = []
    assert redis.node.cluster is not None
    redis.node.cluster.publish = lambda *args: published.append(args) or ["effect"]  # type: ignore
    assert told.of(b"PUBLISH", b"a", b"x") == []
    assert told.of(b"SPUBLISH", b"a", b"x") == []
    assert published == [(b"a", b"x", False), (b"a", b"x", True)]
    assert redis.io.asked == [("carry_out", "effect")] * 2


def test_what_the_bus_delivers() -> None:
    redis = Harness(clustered=True)
    ear = Ear(redis)
    ear.run("SUBSCRIBE", "a")
    ear.run("PSUBSCRIBE", "?")
    ear.run("SSUBSCRIBE", "a")
    redis.node.deliver(b"a", b"x", sharded=False)
    redis.node.deliver(b"a", b"y", sharded=True)
    redis.node.deliver(b"none", b"y", sharded=True)
    assert ear.heard() == [[b"message", b"a", b"x"], [b"pmessage", b"?", b"a", b"x"], [b"smessage", b"a", b"y"]]


def test_shard_channels_are_routed_like_keys() -> None:
    redis = Harness(clustered=True)
    assert redis.error("SSUBSCRIBE", "a", "b").startswith("CROSSSLOT")
    assert redis.error("SUNSUBSCRIBE", "a", "b").startswith("CROSSSLOT")
    assert len(redis.run("SSUBSCRIBE", "{t}a", "{t}b")) == 2
    assert redis.run("SUNSUBSCRIBE") == [[b"sunsubscribe", b"{t}a", 1], [b"sunsubscribe", b"{t}b", 0]]
    assert len(redis.run("SUBSCRIBE", "a", "b")) == 2


def test_who_listens_is_told_when_a_slot_goes() -> None:
    redis = Harness(clustered=True)
    cluster = redis.node.cluster
    assert cluster is not None
    ears = [Ear(redis, 2), Ear(redis, 3)]
    for ear in ears:
        ear.run("SSUBSCRIBE", "{t}a", "{t}b")
        ear.run("SSUBSCRIBE", "stays")
    redis.node.slots_changed()
    assert [ear.heard() for ear in ears] == [[], []]
    cluster.operations.del_slots([key_slot(b"{t}")], redis.node.now_ms)
    redis.node.slots_changed()
    told = [[b"sunsubscribe", b"{t}a", b"2"], [b"sunsubscribe", b"{t}b", b"1"]]
    assert [ear.heard() for ear in ears] == [told, told]
    assert redis.run("PUBSUB", "SHARDCHANNELS") == [b"stays"]
    cluster.operations.del_slots([one for one in range(SLOT_COUNT) if one != key_slot(b"{t}")], redis.node.now_ms)
    redis.node.slots_changed()
    assert all(ear.heard() == [[b"sunsubscribe", b"stays", b"0"]] for ear in ears)
    assert not any(ear.client.unusual & Unusual.SUBSCRIBED for ear in ears)


# A model --------------------------------------------------------------------------------------------------------------

_NAMES = [b"a", b"b", b"ab", b"a*", b"?", b"*"]
_WHAT = st.sampled_from(["on", "off", "all off", "gone"])
_STEPS = st.tuples(_WHAT, st.integers(0, 3), st.sampled_from(Kind), st.sampled_from(_NAMES))


@settings(max_examples=150, deadline=None)
@given(st.lists(_STEPS, max_size=40))
def test_any_order_of_subscriptions(steps: list[tuple[str, int, Kind, bytes]]) -> None:
    """What is counted and delivered is what a list of (client, kind, name) says; nothing is left at the end."""
    redis = Harness(clustered=True)
    pubsub = redis.node.pubsub
    ears = [Ear(redis) for _ in range(4)]
    model: list[tuple[int, Kind, bytes]] = []
    for what, who, kind, name in steps:
        client = ears[who].client
        entry = (who, kind, name)
        if what == "on":
            model += [entry] * (entry not in model)
            pubsub.subscribe(client, kind, [name])
        elif what == "off":
            model = [one for one in model if one != entry]
            pubsub.unsubscribe(client, kind, [name])
        elif what == "all off":
            model = [one for one in model if one[:2] != (who, kind)]
            pubsub.unsubscribe(client, kind)
        else:
            model = [one for one in model if one[0] != who]
            pubsub.forget(client)
        assert bool(client.unusual & Unusual.SUBSCRIBED) == any(one[0] == who for one in model)
    plain = sum(one[1:] == (Kind.CHANNEL, b"a") for one in model)
    by_pattern = sum(one[1] is Kind.PATTERN and one[2] in (b"a", b"a*", b"?", b"*") for one in model)
    assert pubsub.publish(b"a", b"x") == plain + by_pattern
    assert pubsub.publish(b"a", b"x", sharded=True) == sum(one[1:] == (Kind.SHARD, b"a") for one in model)
    assert sum(len(ear.heard()) for ear in ears) == plain + by_pattern + sum(
        one[1:] == (Kind.SHARD, b"a") for one in model
    )
    for ear in ears:
        pubsub.forget(ear.client)
    assert (pubsub.channels, pubsub.patterns, pubsub.shard_channels) == ({}, {}, {})
    assert (pubsub._slots, pubsub._matchers) == ({}, {})


# Notifications --------------------------------------------------------------------------------------------------------


def test_nobody_pays_while_nothing_is_asked_for(redis: Harness) -> None:
    assert redis.node.observers == []
    redis.run("CONFIG", "SET", "notify-keyspace-events", "AKE")
    assert redis.node.observers == [redis.node.notifications]
    for value in ("K", "A", "KE", ""):
        redis.run("CONFIG", "SET", "notify-keyspace-events", value)
        assert redis.node.observers == [], value


def test_events_of_the_node_itself() -> None:
    """Active expiry tells, and so does the primary's stream."""
    redis = Harness(settings={"notify-keyspace-events": "KEA"})
    ear = Ear(redis)
    ear.run("PSUBSCRIBE", "__key*")
    redis.run("SET", "k", "v", "PX", 10)
    ear.heard()
    redis.advance(11)
    redis.node.sweep_expired(100)
    channels = [b"__keyspace@0__:k", b"__keyevent@0__:expired"]
    assert [message[2] for message in ear.heard()] == channels


def test_events_tell_the_database() -> None:
    redis = Harness(settings={"notify-keyspace-events": "E$"})
    ear = Ear(redis)
    ear.run("SUBSCRIBE", "__keyevent@11__:set")
    redis.run("SET", "k", "v")
    redis.run("SELECT", 11)
    redis.run("SET", "k", "v")
    assert ear.heard() == [[b"message", b"__keyevent@11__:set", b"k"]]


def _names_of_events() -> set[str]:
    """The names of events in the code: what stands first in calls of `modified`, second in those of `observe`."""
    found = set()
    for path in (ROOT / "node").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                at = {"modified": 0, "observe": 1}.get(call.func.attr)
                if at is not None and at < len(call.args):
                    constants = (one for one in ast.walk(call.args[at]) if isinstance(one, ast.Constant))
                    found |= {one.value for one in constants if isinstance(one.value, str)}
    return found


def test_every_event_has_a_class() -> None:
    names = _names_of_events()
    assert {"set", "hset", "del", "expired"} <= names
    assert {name for name in names if "." not in name} - CLASS_OF.keys() == set()
    assert set(CLASS_OF.values()) == (set(KEYSPACE_CLASSES) | {"n", "m"}) - {"d"}


def test_pushes_are_arrays_in_resp2(redis: Harness) -> None:
    ear = Ear(redis, 2)
    ear.client.push(Push([b"message", b"a", None]))
    assert ear.sent == [b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$-1\r\n"]


def test_patterns_do_not_blow_up(redis: Harness) -> None:
    source = random.Random(7)
    ear = Ear(redis)
    for _ in range(50):
        ear.run("PSUBSCRIBE", "*".join(source.choices("ab", k=20)) + "*c")
    assert redis.run("PUBLISH", "ab" * 2000, "x") == 0
