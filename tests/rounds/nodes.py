"""Six nodes, each on a host of its own: three primaries, a replica each, laid out before they start."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path
from typing import IO, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cluster.nodes_conf import format_nodes_conf
from cluster.slots import key_slot
from cluster.topology import plan, saved_state
from gossip.ids import Address
from tests.clients.up import until
from tests.closing import Closing
from tests.rounds.hosts import Hosts
from tests.servers import ROOT, program

PORT, BUS_PORT = 7000, 17000
PRIMARIES = 3
NODES = 2 * PRIMARIES
CLIENT = NODES
"""The host of those who use the cluster."""


def tag_of(shard: int) -> bytes:
    """A hash tag whose slot lies in that third of all slots."""
    return next(tag for tag in (b"%d" % number for number in range(1000)) if key_slot(tag) * PRIMARIES // 16384 == shard)


class Nodes(Closing):
    """shard n: the nodes n and n + 3. timeout_ms: cluster-node-timeout. kind: of server, "hashslot" or a real one."""

    def __init__(self, hosts: Hosts, folder: Path, timeout_ms: int, kind: str = "hashslot") -> None:
        self._program = program(kind)
        self.hosts = hosts
        self.timeout_ms = timeout_ms
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * NODES
        self._logs: list[IO[bytes] | None] = [None] * NODES
        layout = plan([Address(hosts.ip(node), PORT, BUS_PORT) for node in range(NODES)], 1, random.SystemRandom())
        for node, planned in enumerate(layout):
            own = folder / str(node)
            own.mkdir()
            (own / "nodes.conf").write_bytes(format_nodes_conf(saved_state(layout, planned.id)))
            self.start(node)
        try:
            self.until_well()
        except AssertionError as error:
            self.close()
            raise AssertionError(f"{error}\n{self.tails()}") from None

    def start(self, node: int) -> None:
        """Start a node in its folder: it keeps nodes.conf, and no data."""
        own = self._folder / str(node)
        log = self._logs[node] = (own / "log").open("ab")
        options = {
            "port": PORT, "bind": self.hosts.ip(node), "dir": own, "cluster-enabled": "yes", "save": "''",
            "cluster-node-timeout": self.timeout_ms, "protected-mode": "no", "repl-diskless-sync-delay": 0,
        }  # fmt: skip
        words = [text for name, value in options.items() for text in (f"--{name}", str(value).strip("'"))]
        self._processes[node] = self.hosts.popen(node, [*self._program, *words], log, str(ROOT))

    def signal(self, node: int, number: int) -> None:
        """Send a node a signal; one that was killed is waited for."""
        process = self._processes[node]
        assert process is not None
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(20)

    def client(self, node: int, timeout_s: float = 1.0) -> Any:
        """A client of one node, which tries once. The calling thread must be on a host that reaches it."""
        once = Retry(NoBackoff(), 0)
        return redis.Redis(
            self.hosts.ip(node), PORT, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=once
        )

    # How it goes --------------------------------------------------------------------------------------------------

    def primary_of(self, shard: int) -> int:
        """Which of the shard's two nodes has its slots now."""
        for node in (shard, shard + PRIMARIES):
            with self.client(node) as client:
                if client.info("replication")["role"] == "master":
                    return node
        raise AssertionError(f"shard {shard} has no primary\n{self.tails()}")

    def until_well(self, timeout_s: float = 40.0) -> None:
        """All say ok, all replicas follow, nobody is failed."""
        for node in range(NODES):
            until(lambda node=node: self._is_well(node), f"node {node} well", timeout_s)

    def _is_well(self, node: int) -> bool:
        with self.client(node) as client:
            replication = client.info("replication")
            assert replication["role"] == "master" or replication["master_link_status"] == "up", "no link to its primary"
            assert b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"), "cluster_state is fail"
            lines = [line.split() for line in client.execute_command("CLUSTER", "NODES").decode().splitlines()]
            assert not any("fail" in line[2] for line in lines), "somebody is failed"
            assert sum("slave" in line[2] for line in lines) == NODES - PRIMARIES, "roles"
            return True

    def tails(self) -> str:
        """The ends of all logs."""
        texts = [(self._folder / str(node) / "log").read_text(errors="replace") for node in range(NODES)]
        return "\n".join(f"--- node {node}\n" + "\n".join(text.splitlines()[-15:]) for node, text in enumerate(texts))

    def close(self) -> None:
        """End all nodes."""
        for process in self._processes:
            if process is not None:
                process.kill()
                process.wait(20)
        for log in self._logs:
            if log is not None:
                log.close()
