"""Restarts with data on disk, ours and real servers in each place: histories go on where they can, and only there."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.interop.test_replication import content, fill, follow
from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real

SAVING = ("--save", "3600 1", "--repl-diskless-sync-delay", "0")


def again(server: ServerProcess, directory: Path, *options: str, kind: str = "") -> ServerProcess:
    """The same server, or one of another kind with its file, at the same port."""
    server.stop()
    own = directory / f"{kind or server.kind}-{server.port}"
    own.mkdir(exist_ok=True)
    if kind:
        shutil.copy(server.directory / "dump.rdb", own / "dump.rdb")
    started = start(kind or server.kind, directory, *SAVING, *options, port=server.port)
    started.until(lambda: started.client.info("persistence")["loading"] == 0, "loaded")
    return started


def counts(server: ServerProcess) -> tuple[int, int]:
    stats = server.info("stats")
    return stats["sync_full"], stats["sync_partial_ok"]


@pytest.mark.parametrize("kinds", [("hashslot", "hashslot"), ("redis", "hashslot"), ("valkey", "hashslot")])
def test_a_replica_that_restarts_goes_on(kinds: tuple[str, str], tmp_path: Path) -> None:
    with start(kinds[0], tmp_path, *SAVING) as primary:
        replica = start(kinds[1], tmp_path, *SAVING)
        try:
            fill(primary.client, 300)
            follow(replica, primary)
            replica.until_in_sync()
            primary.connect(db=3).set("elsewhere", "before")
            replica.until_caught_up(primary)
            replica.kill(signal.SIGTERM)
            primary.connect(db=3).append("elsewhere", " and after")
            primary.client.incr("counter")
            replica = again(replica, tmp_path, "--replicaof", f"127.0.0.1 {primary.port}")
            replica.until_in_sync()
            replica.until_caught_up(primary)
            assert counts(primary) == (1, 1), replica.log_text()
            assert content(replica) == content(primary)
            assert replica.connect(db=3).get("elsewhere") == b"before and after"
        finally:
            replica.stop()


@pytest.mark.parametrize("kinds", [("hashslot", "hashslot"), ("hashslot", "redis"), ("hashslot", "valkey")])
def test_a_primary_that_restarts_in_order_is_followed_on(kinds: tuple[str, str], tmp_path: Path) -> None:
    primary = start(kinds[0], tmp_path, *SAVING)
    with start(kinds[1], tmp_path, *SAVING) as replica:
        try:
            fill(primary.client, 300)
            follow(replica, primary)
            replica.until_in_sync()
            replica.until_caught_up(primary)
            primary.client.set("last", "words")
            primary.kill(signal.SIGTERM)
            primary = again(primary, tmp_path)
            replica.until_in_sync()
            primary.client.set("first", "words")
            replica.until_caught_up(primary)
            assert counts(primary) == (0, 1), primary.log_text()
            assert replica.client.mget("last", "first") == [b"words", b"words"]
            assert content(replica) == content(primary)
        finally:
            primary.stop()


@pytest.mark.parametrize("kind", ["hashslot", "redis"])
def test_a_primary_that_comes_back_with_old_data_serves_no_partial_resync(kind: str, tmp_path: Path) -> None:
    """Its file is older than what its replica has: going on from there would leave the two apart."""
    primary = start("hashslot", tmp_path, *SAVING)
    with start(kind, tmp_path, *SAVING) as replica:
        try:
            fill(primary.client, 100)
            follow(replica, primary)
            replica.until_in_sync()
            primary.client.set("saved", "yes")
            assert primary.client.save()
            primary.client.set("not saved", "gone")
            primary.client.delete("saved")
            assert primary.client.wait(1, 5000) == 1
            primary.kill(signal.SIGKILL)
            primary = again(primary, tmp_path)
            replica.until_in_sync()
            replica.until_caught_up(primary)
            assert counts(primary)[0] == 1 and counts(primary)[1] == 0
            assert content(replica) == content(primary)
            assert replica.client.mget("saved", "not saved") == [b"yes", None]
        finally:
            primary.stop()


@pytest.mark.parametrize(("kind", "back"), [("redis", "hashslot"), ("valkey", "hashslot"), ("hashslot", "valkey")])
def test_a_replicas_file_is_taken_over_by_another_kind_of_server(kind: str, back: str, tmp_path: Path) -> None:
    """The data and the place in the history: the other server goes on from it by a partial resync."""
    with start("valkey" if kind == "valkey" else "redis" if kind == "redis" else "hashslot", tmp_path, *SAVING) as primary:
        replica = start(kind, tmp_path, *SAVING)
        try:
            fill(primary.client, 300)
            follow(replica, primary)
            replica.until_in_sync()
            replica.until_caught_up(primary)
            replica.kill(signal.SIGTERM)
            primary.client.set("meanwhile", "written")
            replica = again(replica, tmp_path, "--replicaof", f"127.0.0.1 {primary.port}", kind=back)
            replica.until_in_sync()
            replica.until_caught_up(primary)
            assert counts(primary) == (1, 1), replica.log_text()
            assert content(replica) == content(primary)
        finally:
            replica.stop()


def test_loading_is_answered_and_told(tmp_path: Path) -> None:
    with start("hashslot", tmp_path, *SAVING) as server:
        with server.client.pipeline(transaction=False) as pipe:
            for number in range(150_000):
                pipe.set(f"key:{number}", f"value {number}")
            pipe.set("gone", 1, px=1)
            pipe.execute()
        server.kill(signal.SIGTERM)
        port = server.port
        seen: set[bytes] = set()
        server.stop()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ServerProcess, "until", lambda *args: None)
            again_here = start("hashslot", tmp_path, *SAVING, port=port)
        with again_here as server:
            told = _asked_at_once(port, seen)
            assert b"-LOADING Redis is loading the dataset in memory" in seen, seen
            assert b"loading:1" in told and b"loading_total_bytes:" in told and b"loading_loaded_perc:" in told
            server.until(lambda: server.client.info("persistence")["loading"] == 0, "loaded")
            assert server.client.dbsize() == 150_000
            facts = server.info("persistence")
            assert facts["rdb_last_load_keys_loaded"] == 150_000 and facts["rdb_last_load_keys_expired"] <= 1


def _asked_at_once(port: int, seen: set[bytes]) -> bytes:
    """Ask from the moment it listens. Returns the INFO it gave while loading."""
    for _ in range(100_000):
        try:
            connection = socket.create_connection(("127.0.0.1", port), 10)
        except OSError:
            continue
        with connection:
            connection.sendall(b"GET key:1\r\n")
            seen.add(connection.recv(1000).strip())
            connection.sendall(b"INFO persistence\r\n")
            told = connection.recv(1 << 16)
            return told
    raise AssertionError("it does not listen")


@pytest.mark.parametrize("damage", ["cut", "bit", "foreign"])
def test_a_damaged_file_stops_the_start_and_is_left_alone(damage: str, tmp_path: Path) -> None:
    with start("hashslot", tmp_path, *SAVING) as server:
        fill(server.client, 200)
        server.kill(signal.SIGTERM)
        port, file = server.port, server.directory / "dump.rdb"
    data = bytearray(file.read_bytes())
    if damage == "cut":
        del data[-200:]
    elif damage == "bit":
        data[-3] ^= 1
    else:
        data[:5] = b"RODIS"
    file.write_bytes(data)
    with pytest.raises((AssertionError, RuntimeError)) as raised:
        start("hashslot", tmp_path, *SAVING, port=port)
    assert str(file) in str(raised.value) and "at offset" in str(raised.value)
    assert file.read_bytes() == data
    assert sorted(path.suffix for path in file.parent.iterdir()) == [".log", ".rdb"]


def test_a_cluster_keeps_its_data(tmp_path: Path) -> None:
    """A primary and its replica, both ended in order and started again: data, roles and history are still there."""
    options: tuple[Any, ...] = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
    primary, replica = start("hashslot", tmp_path, *SAVING, *options), start("hashslot", tmp_path, *SAVING, *options)
    try:
        primary.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        replica.client.execute_command("CLUSTER", "MEET", "127.0.0.1", primary.port)
        myid = primary.client.execute_command("CLUSTER", "MYID")
        replica.until(lambda: myid in replica.client.execute_command("CLUSTER", "NODES").__repr__().encode(), "met")
        primary.until(lambda: "cluster_state:ok" in str(primary.client.execute_command("CLUSTER", "INFO")) or
                      primary.client.execute_command("CLUSTER", "INFO").get("cluster_state") == "ok", "ok")  # fmt: skip
        for number in range(500):
            primary.client.set(f"key:{number}", number)
        replica.client.execute_command("CLUSTER", "REPLICATE", myid)
        replica.until_in_sync()
        replica.until_caught_up(primary)
        replica.kill(signal.SIGTERM)
        primary.client.set("key:1", "meanwhile")
        replica = again(replica, tmp_path, *options)
        replica.until_in_sync()
        replica.until_caught_up(primary)
        assert counts(primary) == (1, 1), replica.log_text()
        assert replica.client.dbsize() == 500
    finally:
        primary.stop()
        replica.stop()


def test_a_primary_that_restarts_empty_waits_for_its_replica_that_has_a_file(tmp_path: Path) -> None:
    """Both are killed, only the replica has a data file: it takes its primary's place, and the primary its data."""
    options: tuple[Any, ...] = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
    primary, replica = start("hashslot", tmp_path, "--save", "", *options), start("hashslot", tmp_path, *SAVING, *options)
    try:
        primary.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        replica.client.execute_command("CLUSTER", "MEET", "127.0.0.1", primary.port)
        myid = primary.client.execute_command("CLUSTER", "MYID")
        replica.until(lambda: myid.decode() in str(replica.client.execute_command("CLUSTER", "NODES")), "met")
        primary.until(lambda: primary.client.set("counter", 1), "ok")
        replica.client.execute_command("CLUSTER", "REPLICATE", myid)
        replica.until_in_sync()
        for number in range(500):
            primary.client.set(f"key:{number}", number)
        replica.until_caught_up(primary)
        assert replica.client.save()
        for server in (primary, replica):
            server.kill(signal.SIGKILL)
        primary = again(primary, tmp_path, *options, "--save", "")
        time.sleep(2.5)  # Longer than Redis's primary waits before it serves, and takes its replicas' data from them.
        with pytest.raises(redis.exceptions.ClusterDownError):
            primary.client.set("too", "early")
        replica = again(replica, tmp_path, *options)
        replica.until(lambda: replica.client.role()[0] == b"master", "the primary now")
        replica.until(lambda: b"cluster_state:ok" in replica.client.execute_command("CLUSTER", "INFO"), "serving")
        assert replica.client.set("counter", 2)  # Its predecessor has given in: a round trip after the election.
        primary.until_in_sync()
        primary.until_caught_up(replica)
        assert primary.client.dbsize() == replica.client.dbsize() == 501, primary.log_text()
    finally:
        primary.stop()
        replica.stop()
