"""FAILOVER beside redis-server 7.0: the same words, and the role handed over in both directions with nothing lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.interop.test_replication import content, fill, follow
from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real

OPTIONS = ("--repl-diskless-sync-delay", "0", "--repl-backlog-size", "10mb")
PAIRS = [("hashslot", "hashslot"), ("hashslot", "redis"), ("redis", "hashslot"), ("hashslot", "valkey"),
         ("valkey", "hashslot")]  # fmt: skip


def told(client: Any, *args: Any) -> str:
    """The reply or the error."""
    try:
        reply = client.execute_command(*args)
    except redis.ResponseError as error:
        return f"-{error}"
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def state(server: ServerProcess) -> str:
    return str(server.info()["master_failover_state"])


class Writer(threading.Thread):
    """Counts one key up as fast as it can, and remembers what was acknowledged. A refusal is no acknowledgement."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self.server, self.acknowledged, self.ended, self.refused = server, 0, threading.Event(), ""

    def run(self) -> None:
        client = self.server.connect()
        while not self.ended.is_set():
            try:
                self.acknowledged = client.incr("count")
            except redis.RedisError as error:
                self.refused = str(error)
                return


@pytest.mark.parametrize("kinds", PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def test_the_role_goes_over_and_nothing_is_lost(kinds: tuple[str, str], tmp_path: Path) -> None:
    with start(kinds[0], tmp_path, *OPTIONS) as primary, start(kinds[1], tmp_path, *OPTIONS) as replica:
        fill(primary.client, 200)
        follow(replica, primary)
        replica.until_in_sync()
        replica.until_caught_up(primary)
        assert state(primary) == "no-failover"
        writer = Writer(primary)
        writer.start()
        try:
            primary.until(lambda: writer.acknowledged > 100, "written to")
            assert told(primary.client, "FAILOVER", "TO", "127.0.0.1", replica.port, "TIMEOUT", 10_000) in ("OK", "True")
            replica.until(lambda: replica.info()["role"] == "master", "primary")
            primary.until_in_sync()
            writer.join(10)
        finally:
            writer.ended.set()
        assert not writer.is_alive()
        assert "read only" in writer.refused
        assert int(replica.client.get("count")) == writer.acknowledged
        assert state(primary) == state(replica) == "no-failover"
        assert replica.info("stats")["sync_full"] == 0 and replica.info("stats")["sync_partial_ok"] == 1
        replica.client.set("after", "the failover")
        primary.until_caught_up(replica)
        assert content(primary) == content(replica)


def dialogue(server: ServerProcess, replica: ServerProcess) -> list[str]:
    """What FAILOVER says before, during and after."""
    client = server.client
    said = [
        told(client, "FAILOVER", *words)
        for words in (
            (), ("ABORT",), ("TIMEOUT", 0), ("TIMEOUT", "x"), ("TO", "a"), ("TO", "a", "b"), ("TO", "a", 1), ("FORCE",),
            ("WHAT",), ("ABORT", "FORCE"), ("TIMEOUT", 5, "TIMEOUT", 6), ("TO", "a", 1, "FORCE"),
        )
    ]  # fmt: skip
    said += [told(client, "PSYNC", "?", -1, "FAILOVER"), told(client, "PSYNC", "x", "y", "FAILOVER")]
    follow(replica, server)
    replica.until_in_sync()
    replica.until_caught_up(server)
    said.append(told(replica.client, "FAILOVER"))
    said.append(told(replica.client, "PSYNC", "0" * 40, 1, "FAILOVER"))
    said += [
        told(client, "FAILOVER", *words)
        for words in (("TO", "127.0.0.1", 1), ("FORCE",), ("TO", "127.0.0.1", replica.port, "FORCE"))
    ]
    replica.kill(19)  # SIGSTOP: it can not catch up
    try:
        client.set("k", "only here")
        said += [told(client, "FAILOVER", "TIMEOUT", 60_000), state(server)]
        said += [told(client, "FAILOVER"), told(client, "REPLICAOF", "127.0.0.1", 1), told(client, "GET", "k")]
        said += [told(client, "FAILOVER", "ABORT"), state(server), told(client, "SET", "k", "v")]
        said += [told(client, "FAILOVER", "TIMEOUT", 300)]
        server.until(lambda: state(server) == "no-failover", "given up")
        said += [told(client, "SET", "k", "v"), str(server.info()["role"])]
    finally:
        replica.kill(18)
    return said


def test_the_words_are_redis_own(tmp_path: Path) -> None:
    said = []
    for kind in ("redis", "hashslot"):
        with start(kind, tmp_path, *OPTIONS) as server, start(kind, tmp_path, *OPTIONS) as replica:
            said.append([line.replace("True", "OK") for line in dialogue(server, replica)])
    assert said[1] == said[0]
    assert "waiting-for-sync" in said[0]


@pytest.mark.parametrize("kind", ["redis", "hashslot"])
def test_force_goes_without_the_rest_and_abort_comes_back(kind: str, tmp_path: Path) -> None:
    """The target is stopped: after the time is over we follow it, it does not answer, and ABORT makes us primary again."""
    with start("hashslot", tmp_path, *OPTIONS) as primary, start(kind, tmp_path, *OPTIONS) as replica:
        follow(replica, primary)
        replica.until_in_sync()
        replica.until_caught_up(primary)
        replica.kill(19)
        try:
            primary.client.set("k", "v")
            assert told(primary.client, "FAILOVER", "TO", "127.0.0.1", replica.port, "FORCE", "TIMEOUT", 300) == "OK"
            primary.until(lambda: state(primary) == "failover-in-progress", "on its way")
            assert primary.info()["role"] == "slave"
            assert told(primary.client, "FAILOVER", "ABORT") == "OK"
            assert primary.info()["role"] == "master" and state(primary) == "no-failover"
            primary.client.set("k", "v2")
        finally:
            replica.kill(18)
        replica.until(lambda: replica.info()["role"] in ("slave", "master"), "awake")
