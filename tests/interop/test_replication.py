"""Replication with real servers, both ways: ours of a real primary, a real replica of ours. Real processes and time."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from node.persistence.rdb import RdbReader
from node.persistence.records import Key
from tests.servers import ServerProcess, program, start

pytestmark = pytest.mark.real

REAL = ["redis", "valkey"]
PAIRS = [(one, other) for one, other in itertools.product([*REAL, "hashslot"], repeat=2) if "hashslot" in (one, other)]


def names(pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{replica}-of-{primary}" for primary, replica in pairs]


@pytest.fixture(params=PAIRS, ids=names(PAIRS))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """A primary and a server that will follow it, one of them ours at least."""
    primary_kind, replica_kind = request.param
    with (
        start(primary_kind, tmp_path, "--repl-diskless-sync-delay", "0") as primary,
        start(replica_kind, tmp_path) as replica,
    ):
        yield primary, replica


def fill(client: Any, keys: int = 2000) -> None:
    """Strings of every encoding, hashes small and big, deadlines, several databases."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(keys):
            pipe.set(f"string:{number}", f"value {number} " + "x" * (number % 200))
            pipe.set(f"int:{number}", number * 1_000_003)
        for number in range(100):
            pipe.append(f"grown:{number}", b"\x00\xff\r\n" * number)
            pipe.hset(f"hash:{number}", mapping={f"field{at}": f"v{at}" for at in range(1 + number)})
            pipe.set(f"soon:{number}", "gone later", px=10**7 + number)
        pipe.hset("bighash", mapping={f"field{at}": "v" * 70 for at in range(3000)})
        pipe.execute_command("SELECT", 3)
        pipe.set("elsewhere", "three")
        pipe.execute_command("SELECT", 0)
        pipe.execute()


def content(server: ServerProcess) -> dict[tuple[int, bytes], tuple[Any, Any]]:
    """What a client can see in the databases 0 and 3: values and deadlines."""
    found: dict[tuple[int, bytes], tuple[Any, Any]] = {}
    for number in (0, 3):
        client = server.connect(db=number)
        keys = sorted(set(client.scan_iter(count=1000)))
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                if b"hash" in key:
                    pipe.hgetall(key)
                else:
                    pipe.get(key)
                pipe.pexpiretime(key)
            replies = pipe.execute()
        client.close()
        for at, key in enumerate(keys):
            found[number, key] = replies[2 * at], replies[2 * at + 1]
    return found


def follow(replica: ServerProcess, primary: ServerProcess) -> None:
    replica.client.replicaof("127.0.0.1", primary.port)


def test_full_sync_and_stream(pair: tuple[ServerProcess, ServerProcess]) -> None:
    primary, replica = pair
    fill(primary.client)
    replica.client.set("own", "gone")
    follow(replica, primary)
    replica.until_in_sync()
    replica.until_caught_up(primary)
    before = content(primary)
    assert len(before) > 4000
    assert content(replica) == before
    with primary.client.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.incr(f"counter:{number % 10}")
            pipe.append("log", f"{number},")
            pipe.hset("hash:1", f"new{number}", number)
        pipe.delete("string:1", "string:2")
        pipe.set("timed", 1, ex=1000)
        pipe.execute()
    assert primary.client.wait(1, 5000) == 1
    replica.until_caught_up(primary)
    assert content(replica) == content(primary)
    assert primary.info()["connected_slaves"] == 1
    assert primary.info()["slave0"]["state"] == "online"
    assert primary.info()["slave0"]["port"] == replica.port
    assert replica.info()["master_replid"] == primary.info()["master_replid"]
    with pytest.raises(redis.ReadOnlyError):
        replica.client.set("k", "v")


def test_writes_during_the_sync(pair: tuple[ServerProcess, ServerProcess]) -> None:
    primary, replica = pair
    fill(primary.client, 20_000)
    follow(replica, primary)
    source = random.Random(5)
    deadline = time.monotonic() + 30
    rounds = 0
    while replica.info().get("master_link_status") != "up" or rounds < 20:
        assert time.monotonic() < deadline, replica.log_text()[-2000:]
        with primary.client.pipeline(transaction=False) as pipe:
            for _ in range(50):
                number = source.randrange(20_000)
                pipe.set(f"string:{number}", source.random())
                pipe.delete(f"int:{source.randrange(20_000)}")
                pipe.hset(f"hash:{number % 100}", "during", number)
                pipe.append(f"grown:{number % 100}", "more")
                pipe.hset("bighash", f"field{number % 3000}", "changed")
            pipe.execute()
        rounds += 1
    replica.until_caught_up(primary)
    assert content(replica) == content(primary)


def test_a_lost_link_is_taken_up_again(pair: tuple[ServerProcess, ServerProcess]) -> None:
    """CLIENT KILL of the replica's connection: a partial resync, no second full one."""
    primary, replica = pair
    fill(primary.client, 100)
    follow(replica, primary)
    replica.until_in_sync()
    replica.until_caught_up(primary)
    for number in range(3):
        partial = primary.info("stats")["sync_partial_ok"]
        primary.client.set("before", number)
        assert primary.client.execute_command("CLIENT", "KILL", "TYPE", "replica") == 1
        primary.client.set("after", number)
        primary.until(lambda seen=partial: primary.info("stats")["sync_partial_ok"] > seen, "resynced")  # type: ignore[misc]
        replica.until_caught_up(primary)
        assert replica.client.get("after") == b"%d" % number
    assert primary.info("stats")["sync_full"] == 1
    assert content(replica) == content(primary)


def test_promotion_and_return(pair: tuple[ServerProcess, ServerProcess]) -> None:
    """The replica becomes primary and the old primary its replica: both go on without a full sync."""
    primary, replica = pair
    fill(primary.client, 100)
    follow(replica, primary)
    replica.until_in_sync()
    replica.until_caught_up(primary)
    old_id = primary.info()["master_replid"]
    assert primary.client.execute_command("CLIENT", "PAUSE", 2000, "WRITE")
    replica.until_caught_up(primary)
    replica.client.replicaof("NO", "ONE")
    assert replica.info()["role"] == "master"
    assert replica.info()["master_replid2"] == old_id
    replica.client.set("promoted", "yes")
    follow(primary, replica)
    primary.until_in_sync()
    primary.until_caught_up(replica)
    assert content(primary) == content(replica)
    assert replica.info("stats")["sync_full"] == 0, replica.log_text()
    assert replica.info("stats")["sync_partial_ok"] == 1
    assert primary.client.role()[0] in (b"slave", "slave")


def test_expiry_is_the_primarys(pair: tuple[ServerProcess, ServerProcess]) -> None:
    primary, replica = pair
    follow(replica, primary)
    replica.until_in_sync()
    primary.client.set("k", "v")
    assert primary.client.wait(1, 5000) == 1
    primary.client.set("short", "life", px=400)
    replica.until(lambda: replica.client.get("short") == b"life", "written")
    replica.until(lambda: replica.client.get("short") is None, "expired")
    replica.until(lambda: replica.client.dbsize() == 1, "removed")
    assert primary.client.dbsize() == 1


@pytest.mark.parametrize("kinds", PAIRS, ids=names(PAIRS))
def test_passwords_and_old_forms(kinds: tuple[str, str], tmp_path: Path) -> None:
    """requirepass and masterauth; the payload with a length (`repl-diskless-sync no`)."""
    primary_kind, replica_kind = kinds
    with start(primary_kind, tmp_path, "--repl-diskless-sync", "no", password="secret") as primary:
        fill(primary.client, 100)
        with start(replica_kind, tmp_path, password="secret") as replica:
            follow(replica, primary)
            replica.until_in_sync()
            replica.until_caught_up(primary)
            assert content(replica) == content(primary)
            replica.client.config_set("masterauth", "wrong")
            primary.client.execute_command("CLIENT", "KILL", "TYPE", "replica")
            replica.until(lambda: replica.info()["master_link_status"] == "down", "refused")
            replica.client.config_set("masterauth", "secret")
            replica.until_in_sync()


CHAINS = [("hashslot", "redis", "hashslot"), ("redis", "hashslot", "redis"), ("valkey", "hashslot", "valkey"),
          ("hashslot", "hashslot", "valkey")]  # fmt: skip


@pytest.mark.parametrize("kinds", CHAINS, ids=["-".join(chain) for chain in CHAINS])
def test_a_chain(kinds: tuple[str, str, str], tmp_path: Path) -> None:
    """A replica of a replica, with our node at each place."""
    options = ("--repl-diskless-sync-delay", "0")
    with (
        start(kinds[0], tmp_path, *options) as first,
        start(kinds[1], tmp_path, *options) as middle,
        start(kinds[2], tmp_path) as last,
    ):
        fill(first.client, 500)
        follow(middle, first)
        middle.until_in_sync()
        first.connect(db=3).set("elsewhere", "again")
        follow(last, middle)
        last.until_in_sync()
        first.connect(db=3).append("elsewhere", "!")
        first.client.set("plain", 1)
        middle.until_caught_up(first)
        last.until_caught_up(middle)
        assert content(last) == content(middle) == content(first)
        assert last.info()["master_replid"] == first.info()["master_replid"]
        assert last.info()["slave_repl_offset"] == middle.info()["slave_repl_offset"]
        assert first.client.wait(1, 3000) == 1


@pytest.mark.parametrize("kind", REAL)
def test_fields_of_info_and_role(kind: str, tmp_path: Path) -> None:
    """INFO replication has the same fields in the same order, ROLE the same shape."""
    shown: dict[str, list[Any]] = {}
    for name in (kind, "hashslot"):
        with start(name, tmp_path, "--repl-diskless-sync-delay", "0") as primary, start(name, tmp_path) as replica:
            alone = primary.client.role()
            follow(replica, primary)
            replica.until_in_sync()
            primary.client.set("k", "v")
            assert primary.client.wait(1, 5000) == 1
            replica.until_caught_up(primary)
            texts = [one.client.execute_command("INFO", "replication") for one in (primary, replica)]
            fields = [list(text) for text in texts]
            roles = [primary.client.role(), replica.client.role()]
            shapes = [[type(part).__name__ for part in role] for role in (alone, *roles)]
            slave = primary.info()["slave0"]
            shown[name] = [fields, shapes, len(roles[0][2][0]), sorted(slave), roles[1][3]]
    ours, real = shown["hashslot"], shown[kind]
    newer = {"replicas_waiting_psync", "replicas_repl_buffer_size", "replicas_repl_buffer_peak", "type"}
    for our_fields, real_fields in zip(ours[0], real[0], strict=True):
        assert our_fields == [field for field in real_fields if field not in newer]
    assert ours[1:3] == real[1:3]
    assert set(ours[3]) == set(real[3]) - newer
    assert ours[4] == real[4]


@pytest.mark.parametrize("arguments", [("127.0.0.1", "99999"), ("127.0.0.1", "x"), ("a", "-1")])
def test_errors_of_replicaof(arguments: tuple[str, str], tmp_path: Path) -> None:
    texts = []
    for kind in ("redis", "hashslot"):
        with start(kind, tmp_path) as server, pytest.raises(redis.ResponseError) as raised:
            server.client.execute_command("REPLICAOF", *arguments)
        texts.append(str(raised.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("kind", REAL)
def test_the_primary_dies_and_comes_back(kind: str, tmp_path: Path) -> None:
    """Our replica keeps its data while its primary is away, and follows the new process of it."""
    primary = start(kind, tmp_path, "--repl-diskless-sync-delay", "0")
    with start("hashslot", tmp_path) as replica:
        try:
            primary.client.set("k", "old")
            follow(replica, primary)
            replica.until_in_sync()
            primary.kill(signal.SIGKILL)
            replica.until(lambda: replica.info()["master_link_status"] == "down", "noticed")
            assert replica.client.get("k") == b"old"
            port = primary.port
            primary.stop()
            primary = start(kind, tmp_path, "--repl-diskless-sync-delay", "0", port=port)
            primary.client.set("k", "new")
            replica.until(lambda: replica.client.get("k") == b"new", "following again")
        finally:
            primary.stop()


def test_redis_cli_takes_an_rdb(tmp_path: Path) -> None:
    """`redis-cli --rdb`: a replica that wants the payload only."""
    program("redis")
    cli = shutil.which("redis-cli")
    assert cli is not None, "redis-server without redis-cli: apt-get install redis-tools"
    with start("hashslot", tmp_path) as server:
        fill(server.client, 100)
        target = tmp_path / "dump.rdb"
        ended = subprocess.run(
            [cli, "-p", str(server.port), "--rdb", str(target)], capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        reader = RdbReader()
        keys = [record for record in reader.feed(target.read_bytes()) if isinstance(record, Key)]
        reader.close()
        assert len(keys) == sum(server.connect(db=number).dbsize() for number in (0, 3))
        server.until(lambda: server.info()["connected_slaves"] == 0, "rid of it")


@pytest.mark.parametrize("kinds", PAIRS, ids=names(PAIRS))
def test_cluster_replicate(kinds: tuple[str, str], tmp_path: Path) -> None:
    """CLUSTER MEET and REPLICATE, then data and stream: no SELECT but 0, reads on the replica after READONLY."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--repl-diskless-sync-delay", "0")
    with start(kinds[0], tmp_path, *options) as primary, start(kinds[1], tmp_path, *options) as replica:
        primary.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        replica.client.execute_command("CLUSTER", "MEET", "127.0.0.1", primary.port)
        replica.until(lambda: _owned(replica), "met")
        primary.until(lambda: _cluster_ok(primary), "ok")
        for number in range(500):
            primary.client.set(f"key:{number}", number)
        primary.client.set("short", "life", px=100_000)
        myid = primary.client.execute_command("CLUSTER", "MYID")
        replica.client.execute_command("CLUSTER", "REPLICATE", myid)
        replica.until_in_sync()
        for number in range(500):
            primary.client.append(f"key:{number}", "+")
        primary.client.delete("key:0", "key:0")
        replica.until_caught_up(primary)
        with replica.connect(single_connection_client=True) as reader:
            reader.execute_command("READONLY")
            assert [reader.get(f"key:{number}") for number in range(1, 500)] == [b"%d+" % n for n in range(1, 500)]
            assert reader.pexpiretime("short") == primary.client.pexpiretime("short")
            assert reader.dbsize() == 500
        with pytest.raises(redis.exceptions.MovedError):
            replica.client.set("key:1", "not here")
        assert primary.client.wait(1, 5000) == 1


def _cluster_ok(server: ServerProcess) -> bool:
    """Redis and ours answer CLUSTER INFO alike; redis-py makes a dict of some of it."""
    told = server.client.execute_command("CLUSTER", "INFO")
    return "cluster_state:ok" in str(told) or (isinstance(told, dict) and told.get("cluster_state") == "ok")


def _owned(server: ServerProcess) -> bool:
    """Whether this node knows that somebody owns all slots."""
    told = server.client.execute_command("CLUSTER", "INFO")
    return "cluster_slots_ok:16384" in str(told) or (isinstance(told, dict) and told.get("cluster_slots_ok") == "16384")
