"""What of "every combination" no other test has: redis-server's own failovers with ours, replicas of one kind beside a slot
migration between two others, hash fields that expire through every way between nodes.

The rest of the matrix: `test_mixed_cluster` (meet, replicate, slots by hand), `test_failover` and `test_walk` (failovers
with Valkey), `test_migration`, `tests/clients/test_redis_cli_cluster` and `test_admin` (moving slots), `test_pubsub_bus`.
What cannot be: a redis-server 7.0 as replica of valkey-server 9, whose RDB version it does not read.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import RedisCluster

from tests.bench.migration import by_slot, fill, keys_in
from tests.clients.test_admin import run
from tests.clients.up import until
from tests.interop.shards import Shards, key_of
from tests.interop.test_failover import fails_over, manual, missing
from tests.interop.test_failover import fill as fill_shard
from tests.interop.test_migration import TAG, trio
from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real

REDIS_0, OURS_1, VALKEY_2, OURS_OF_0, REDIS_OF_1, OURS_OF_2 = range(6)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    with Shards(
        tmp_path_factory.mktemp("matrix"),
        primaries=["redis", "hashslot", "valkey"],
        replicas=[("hashslot", 0), ("redis", 1), ("hashslot", 2)],
        timeout_ms=1000,
    ) as cluster:
        yield cluster


# Failing over ---------------------------------------------------------------------------------------------------------


def test_a_redis_server_dies_and_ours_takes_over_and_the_other_way(shards: Shards) -> None:
    """The voters are ours and Valkey's: both are needed."""
    fails_over(shards, REDIS_0, OURS_OF_0, 0)
    granted = f"Failover auth granted to {shards.id_of(shards.nodes[OURS_OF_0])}"
    assert all(granted in shards.nodes[voter].log_text() for voter in (OURS_1, VALKEY_2))
    fails_over(shards, OURS_OF_0, REDIS_0, 0)
    granted = f"Failover auth granted to {shards.id_of(shards.nodes[REDIS_0])}"
    assert all(granted in shards.nodes[voter].log_text() for voter in (OURS_1, VALKEY_2))


@pytest.mark.parametrize("how", [(), ("FORCE",), ("TAKEOVER",)], ids=["agreed", "force", "takeover"])
def test_valkey_hands_over_to_ours_and_back(shards: Shards, how: tuple[str, ...]) -> None:
    manual(shards, OURS_OF_2, 2, *how)
    manual(shards, VALKEY_2, 2, *how)


def test_valkey_takes_over_from_a_redis_server_by_our_votes(tmp_path: Path) -> None:
    """No way back: redis-server 7.0 does not read what Valkey writes, and stays a replica without a link."""
    primaries = ["redis", "hashslot", "hashslot"]
    with Shards(tmp_path, primaries=primaries, replicas=[("valkey", 0)], timeout_ms=1000) as cluster:
        keys = fill_shard(cluster, 0, 0)
        cluster.nodes[0].kill(signal.SIGKILL)
        cluster.seconds_until_writable(3, key_of(0, 1))
        granted = f"Failover auth granted to {cluster.id_of(cluster.nodes[3])}"
        assert all(granted in cluster.nodes[voter].log_text() for voter in (1, 2))
        assert missing(cluster, 3, keys[2:]) == 0


# Moving slots, with replicas of other kinds on both ends --------------------------------------------------------------


def owned_by(cluster: Any, at: int, key: bytes) -> bool:
    """Whether the client finds the key's slot there, and everybody agrees."""
    cluster.nodes_manager.initialize()
    node = cluster.get_node_from_key(key)
    assert node is not None and node.port == at, f"{node} has it"
    return True


def test_slots_move_atomically_between_shards_with_replicas_of_other_kinds(shards: Shards) -> None:
    """Ours with a redis-server, which knows nothing of such a thing, to Valkey with one of ours; then back."""
    ours, valkey = shards.nodes[OURS_1], shards.nodes[VALKEY_2]
    key = key_of(1)
    slot = int(ours.client.execute_command("CLUSTER", "KEYSLOT", key))
    names = [b"%b:%d" % (key, number) for number in range(300)]
    client: Any = RedisCluster(host="127.0.0.1", port=ours.port)
    with client as cluster:
        for name in names:
            cluster.set(name, name, ex=1000)
        cluster.hset(key + b"hash", mapping={"f": "v", "g": "w"})
        ours.client.execute_command("HPEXPIRE", key + b"hash", 10**7, "FIELDS", 1, "f")
        deadlines = ours.client.execute_command("HPEXPIRETIME", key + b"hash", "FIELDS", 2, "f", "g")
        for source, target, followers in ((ours, valkey, (OURS_OF_2,)), (valkey, ours, (REDIS_OF_1,))):
            gone = (REDIS_OF_1,) if source is ours else (OURS_OF_2,)
            words = ("SLOTSRANGE", slot, slot, "NODE", shards.id_of(target))
            assert source.client.execute_command("CLUSTER", "MIGRATESLOTS", *words) == b"OK"
            until(lambda target=target: owned_by(cluster, target.port, key), "moved")  # type: ignore[misc]
            assert [cluster.get(name) for name in names] == names
            assert target.client.execute_command("HPEXPIRETIME", key + b"hash", "FIELDS", 2, "f", "g") == deadlines
            all_of_it = target.client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot)
            assert all_of_it > 300
            for at, count in (*((one, all_of_it) for one in followers), *((one, 0) for one in gone)):
                asked = shards.nodes[at].client
                there = lambda asked=asked: asked.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot)  # noqa: E731
                kind = shards.nodes[at].kind
                until(lambda there=there, count=count: there() == count, f"{count} in {kind}")  # type: ignore[misc]
        assert cluster.delete(*names, key + b"hash") == 301
    until(lambda: all(shards._is_healthy(node) for node in shards.nodes), "everyone well", 30)


def test_a_replica_of_valkey_that_comes_in_the_middle_of_an_import(tmp_path: Path) -> None:
    """Valkey tells it in the payload what it imports: ours hides those keys until they are its primary's."""
    with trio(tmp_path, "hashslot", "valkey", "hashslot") as cluster:
        source, target, third = cluster.nodes
        (newcomer,) = cluster.add_nodes("hashslot")
        slots = by_slot(keys_in(30_000))
        fill(source, slots)
        target.client.config_set("repl-diskless-sync-delay", 0)
        for node in cluster.nodes:
            node.client.config_set("cluster-node-timeout", 15_000)
        cluster.migrate(0, 1)
        until(lambda: cluster.jobs(1) and cluster.jobs(1)[0][b"state"] == b"receiving-snapshot", "begun")
        source.process.send_signal(signal.SIGSTOP)
        try:
            newcomer.client.execute_command("CLUSTER", "REPLICATE", cluster.id_of(1))
            newcomer.until_in_sync()
            (job,) = cluster.jobs(3)
            assert (job[b"slot_ranges"], job[b"name"]) == (b"0-2730", cluster.jobs(1)[0][b"name"])
            assert newcomer.client.dbsize() == 0 and newcomer.client.keys("*") == []
        finally:
            source.process.send_signal(signal.SIGCONT)
        cluster.until_state(0, b"success")
        until(lambda: newcomer.client.dbsize() == 30_000, "seen")
        assert third.client.ping() and not target.client.exists(TAG + b"no")


# Fields of hashes that expire -----------------------------------------------------------------------------------------


def fields(server: ServerProcess) -> Any:
    return server.client.execute_command("HPEXPIRETIME", "hash", "FIELDS", 3, "f", "g", "h")


def test_field_deadlines_reach_all_replicas_that_know_them(tmp_path: Path) -> None:
    """Three replicas ask at the same time; redis-server 7.0 knows no such thing, but the others must not miss theirs."""
    options = ("--repl-diskless-sync-delay", "0")
    with (
        start("hashslot", tmp_path, *options) as ours,
        start("valkey", tmp_path, *options) as valkey,
        start("redis", tmp_path) as old,
        start("hashslot", tmp_path) as last,
    ):
        ours.client.hset("hash", mapping={"f": "v", "g": "w", "h": "x"})
        ours.client.execute_command("HPEXPIRE", "hash", 10**7, "FIELDS", 2, "f", "g")
        for primary, replicas in ((ours, (valkey, old, last)), (valkey, (last,))):
            for one in replicas:
                one.client.replicaof("127.0.0.1", primary.port)
            for one in replicas:
                one.until(lambda one=one: one.client.hlen("hash") == 3, "synced")  # type: ignore[misc]
                one.until_in_sync()
            expected = fields(primary)
            assert min(expected[:2]) > 0 and expected[2] == -1
            assert all(fields(one) == expected for one in replicas if one is not old)
            for one in replicas:
                one.client.replicaof("NO", "ONE")
            last.client.flushall()
            valkey.client.replicaof("NO", "ONE")


def test_field_deadlines_go_with_migrate(tmp_path: Path) -> None:
    """From Valkey to ours and back. (To Redis 7.0, which has none: `test_foreign`.)"""
    with start("valkey", tmp_path) as one, start("hashslot", tmp_path) as other:
        one.client.hset("hash", mapping={"f": "v", "g": "w", "h": "x"})
        one.client.execute_command("HPEXPIRE", "hash", 10**7, "FIELDS", 2, "f", "g")
        expected = fields(one)
        for source, target in ((one, other), (other, one)):
            assert source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "hash", 0, 5000) == b"OK"
            assert fields(target) == expected and not source.client.exists("hash")


def test_the_failover_command(shards: Shards) -> None:
    """It tells what it would do, does it, and finds nothing to do for a primary."""
    valkey, ours = (f"127.0.0.1:{shards.nodes[at].port}" for at in (VALKEY_2, OURS_OF_2))
    assert f"{ours} takes the place of {valkey}" in run("failover", valkey, ours, "--dry-run").output
    assert shards.nodes[OURS_OF_2].info()["role"] == "slave"
    for taker in (ours, valkey):
        assert f"Done: {taker} is the primary" in run("failover", valkey, taker, "--yes").output
        assert "is a primary already" in run("failover", ours, taker, "--yes").output
