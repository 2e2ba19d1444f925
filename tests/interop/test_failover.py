"""Failovers of real processes: ours among redis-server 7.0 and valkey-server 9.1, as candidates, voters and old primaries.

Real time; nothing sleeps for a fixed time, everything is polled until it holds or a deadline passes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from tests.clients.up import until
from tests.interop.shards import Shards, key_of, words

pytestmark = pytest.mark.real

TIMEOUT_MS = 1000
KEYS = 10_000


def fill(cluster: Shards, shard: int, primary: int, replicas: int = 1) -> list[bytes]:
    """10,000 keys, each acknowledged by so many replicas."""
    keys = [key_of(shard, number) for number in range(KEYS)]
    client = cluster.nodes[primary].client
    for at in range(0, KEYS, 1000):
        with client.pipeline(transaction=False) as pipe:
            for key in keys[at : at + 1000]:
                pipe.set(key, key)
            pipe.wait(replicas, 5000)
            assert pipe.execute()[-1] >= replicas, "not acknowledged"
    return keys


def missing(cluster: Shards, at: int, keys: list[bytes]) -> int:
    """How many of the keys this node, which owns their slots, does not have."""
    with cluster.nodes[at].client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.get(key)
        return sum(value != key for key, value in zip(keys, pipe.execute(), strict=True))


def role(cluster: Shards, at: int) -> str:
    return str(cluster.nodes[at].info()["role"])


# --- one cluster of all kinds -----------------------------------------------------------------------------------------

OURS_0, VALKEY_1, REDIS_2, VALKEY_OF_0, OURS_OF_1, OURS_OF_2 = range(6)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    with Shards(
        tmp_path_factory.mktemp("mixed"),
        primaries=["hashslot", "valkey", "redis"],
        replicas=[("valkey", 0), ("hashslot", 1), ("hashslot", 2)],
        timeout_ms=TIMEOUT_MS,
    ) as cluster:
        yield cluster


def fails_over(cluster: Shards, dead: int, successor: int, shard: int) -> None:
    """Kill one, see the other take its place with the votes of the rest, start the dead one: it comes back as replica."""
    cluster.nodes[dead].kill(signal.SIGKILL)
    cluster.seconds_until_writable(successor, key_of(shard, 1))
    back = cluster.restart(dead)
    until(lambda: back.info().get("master_link_status") == "up", f"{back.kind} replicates its successor", 30)
    assert back.info()["master_port"] == cluster.nodes[successor].port
    until(lambda: all(cluster._is_healthy(node) for node in cluster.nodes), "everyone well", 30)


def test_real_primaries_vote_for_our_replica(mixed: Shards) -> None:
    """Of three voters one is dead, one ours and one a redis-server: both are needed."""
    fails_over(mixed, VALKEY_1, OURS_OF_1, 1)
    granted = mixed.nodes[REDIS_2].log_text()
    assert f"Failover auth granted to {mixed.id_of(mixed.nodes[OURS_OF_1])}" in granted


def test_our_primaries_vote_for_a_real_replica(mixed: Shards) -> None:
    fails_over(mixed, OURS_0, VALKEY_OF_0, 0)
    assert f"Failover auth granted to {mixed.id_of(mixed.nodes[VALKEY_OF_0])}" in mixed.nodes[OURS_OF_1].log_text()


def manual(cluster: Shards, replica: int, shard: int, *how: str) -> None:
    client = cluster.nodes[replica].client
    assert client.execute_command("CLUSTER", "FAILOVER", *how) == b"OK"
    until(lambda: role(cluster, replica) == "master", f"{cluster.nodes[replica].kind} master", 10)
    cluster.seconds_until_writable(replica, key_of(shard, 2))
    until(lambda: all(cluster._is_healthy(node) for node in cluster.nodes), "everyone well", 30)


def test_a_manual_failover_to_ours_from_a_real_primary_and_back(mixed: Shards) -> None:
    manual(mixed, OURS_OF_2, 2)
    manual(mixed, REDIS_2, 2)
    assert "Manual failover timed out" not in mixed.nodes[OURS_OF_2].log_text() + mixed.nodes[REDIS_2].log_text()


def test_a_forced_failover_needs_only_votes_and_a_takeover_nothing(mixed: Shards) -> None:
    manual(mixed, OURS_OF_2, 2, "FORCE")
    manual(mixed, REDIS_2, 2, "TAKEOVER")
    manual(mixed, OURS_OF_2, 2, "TAKEOVER")


@pytest.mark.parametrize("command", [
    ("FAILOVER",), ("FAILOVER", "FORCE"), ("FAILOVER", "SOON"), ("FAILOVER", "agreed"),
])
def test_what_a_primary_answers_to_failover(mixed: Shards, command: tuple[str, ...]) -> None:
    answers = []
    primaries = [node for node in mixed.nodes if node.info()["role"] == "master"]
    for node in primaries:
        with pytest.raises(redis.ResponseError) as error:
            node.client.execute_command("CLUSTER", *command)
        answers.append(str(error.value).rstrip("."))
    assert len(primaries) == 3 and len(set(answers)) == 1, answers


# --- fast restarts without data ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    """Ours with one of ours, ours with one of Valkey's, Valkey's with one of ours."""
    with Shards(
        tmp_path_factory.mktemp("pairs"),
        primaries=["hashslot", "hashslot", "valkey"],
        replicas=[("hashslot", 0), ("valkey", 1), ("hashslot", 2)],
        timeout_ms=2500,
    ) as cluster:
        yield cluster


@pytest.mark.parametrize("shard", [0, 1, 2], ids=["hashslot-hashslot", "hashslot-valkey", "valkey-hashslot"])
def test_a_primary_that_restarts_empty_wipes_no_replica(pairs: Shards, shard: int) -> None:
    """10,000 acknowledged keys; the primary is killed and is back, without any of them, before anybody calls it failed."""
    heir = shard + 3
    keys = fill(pairs, shard, shard)
    pairs.nodes[shard].kill(signal.SIGKILL)
    pairs.restart(shard)
    until(lambda: role(pairs, heir) == "master", "the replica has taken over", 20)
    until(lambda: pairs.nodes[shard].info().get("master_link_status") == "up", "the old one replicates it", 20)
    assert missing(pairs, heir, keys) == 0
    pairs.nodes[shard].client.execute_command("READONLY")
    assert pairs.nodes[shard].client.dbsize() == pairs.nodes[heir].client.dbsize() >= KEYS


def test_writes_during_a_manual_failover_are_neither_lost_nor_refused(pairs: Shards) -> None:
    """A counter that is incremented all the while, wherever it lives, counts every increment that was acknowledged."""
    with ExitStack() as stack:
        client: Any = stack.enter_context(redis.cluster.RedisCluster(host="127.0.0.1", port=pairs.nodes[0].port))
        key = key_of(0, KEYS + 5)
        done = 0
        for _ in range(4):
            replica = 3 if role(pairs, 0) == "master" else 0
            pairs.nodes[replica].client.execute_command("CLUSTER", "FAILOVER")
            while role(pairs, replica) != "master":
                done += 1
                assert client.incr(key) == done
            until(lambda: pairs._is_healthy(pairs.nodes[0]) and pairs._is_healthy(pairs.nodes[3]), "well", 20)
        assert int(client.get(key)) == done
        assert words(pairs.nodes[1].client, "CLUSTER", "INFO")[0] == ["cluster_state:ok"]
