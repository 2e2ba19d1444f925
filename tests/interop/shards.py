"""A cluster of real processes of any kind, three primaries with their replicas, made as an administrator would.

with Shards(folder, primaries=["hashslot", "redis", "valkey"], replicas=[("valkey", 0)], timeout_ms=1000) as cluster:
    cluster.kill(0)
    cluster.until_serves(0)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from tests.clients.up import until
from tests.servers import ServerProcess, start, start_all

BOUNDS = [(0, 5460), (5461, 10922), (10923, 16383)]


def words(client: Any, *command: Any) -> list[list[str]]:
    """A reply of lines, each in words."""
    return [line.split() for line in client.execute_command(*command).decode().splitlines()]


def key_of(shard: int, number: int = 0) -> bytes:
    """The `number`th key of a series whose slots are all that shard's."""
    first, last = BOUNDS[shard]
    tag = 0
    while not first <= key_slot(b"{%d}" % tag) <= last:
        tag += 1
    return b"{%d}:%d" % (tag, number)


class Shards:
    """nodes: primaries first, then replicas, each (kind, number of its primary)."""

    def __init__(
        self,
        folder: Path,
        *,
        primaries: Sequence[str] = ("hashslot",) * 3,
        replicas: Sequence[tuple[str, int]] = (("hashslot", 0), ("hashslot", 1), ("hashslot", 2)),
        timeout_ms: int = 2000,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout_ms), *options]
        self.options += ["--repl-diskless-sync-delay", "0"]
        self.shard_of = [*range(len(primaries)), *(shard for _, shard in replicas)]
        self.nodes: list[ServerProcess] = []
        try:
            self.nodes = start_all([*primaries, *(kind for kind, _ in replicas)], folder, *self.options)
            self._link(len(primaries))
        except BaseException:
            self.close()
            raise

    def _link(self, primaries: int) -> None:
        for at, node in enumerate(self.nodes):
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            if at < primaries:
                node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", *BOUNDS[at])
        for node in self.nodes[1:]:
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        count = len(self.nodes)
        until(lambda: all(self.knows(node, count) for node in self.nodes), "everyone known everywhere", 30)
        for at in range(primaries, count):
            primary = self.nodes[self.shard_of[at]]
            self.nodes[at].client.execute_command("CLUSTER", "REPLICATE", self.id_of(primary))
        self.until_healthy()

    @staticmethod
    def knows(node: ServerProcess, count: int) -> bool:
        lines = words(node.client, "CLUSTER", "NODES")
        return len(lines) == count and not any("handshake" in line[2] for line in lines)

    def until_healthy(self) -> None:
        """Every node says ok and no failure, replicas are in sync and have an offset."""
        for shard in range(3):
            key = key_of(shard)
            until(lambda key=key, shard=shard: self.writable(self.nodes[shard], key), "writable", 30)
        for node in self.running():
            until(lambda node=node: self._is_healthy(node), f"{node.kind} {node.port} healthy", 30)

    def _is_healthy(self, node: ServerProcess) -> bool:
        lines = words(node.client, "CLUSTER", "NODES")
        replicates = node.info()["role"] == "master" or (
            node.info()["master_link_status"] == "up" and node.info()["slave_repl_offset"] > 0
        )
        roles = sum("slave" in line[2] for line in lines)
        return replicates and roles == len(self.nodes) - 3 and not any("fail" in line[2] for line in lines)

    def running(self) -> list[ServerProcess]:
        return [node for node in self.nodes if node.process.poll() is None]

    @staticmethod
    def id_of(node: ServerProcess) -> str:
        return str(node.client.execute_command("CLUSTER", "MYID").decode())

    @staticmethod
    def direct(node: ServerProcess) -> Any:
        """A client that tries once."""
        return node.connect(retry=Retry(NoBackoff(), 0))

    @staticmethod
    def writable(node: ServerProcess, key: bytes) -> bool:
        """Whether the node takes a write of this key."""
        try:
            return bool(node.client.set(key, b"written"))
        except redis.RedisError:
            return False

    def seconds_until_writable(self, at: int, key: bytes, timeout_s: float = 30.0) -> float:
        """How long until this node takes a write of the key, from now."""
        began = time.monotonic()
        with Shards.direct(self.nodes[at]) as client:
            while time.monotonic() - began < timeout_s:
                try:
                    if client.set(key, b"written"):
                        return time.monotonic() - began
                except redis.RedisError:
                    time.sleep(0.005)
        raise AssertionError(f"{self.nodes[at].kind} is not writable after {timeout_s} s:\n{self.tails()}")

    def restart(self, at: int) -> ServerProcess:
        """Start a node again in its directory, on its port."""
        old = self.nodes[at]
        old.stop()
        self.nodes[at] = start(old.kind, self.folder, *self.options, port=old.port)
        return self.nodes[at]

    def tails(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {node.kind} {node.port}\n" + "\n".join(node.log_text().splitlines()[-12:]) for node in self.nodes
        )

    def close(self) -> None:
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
