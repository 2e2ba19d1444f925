"""Six nodes for all client tests of a session, started by the real launcher and ended as a user ends them.

HASHSLOT_TEST_PORT=7000 runs the same tests against a cluster that runs already: a real one is the judge of the tests.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
import redis.cluster

from tests.clients.up import Up, until

RUN = secrets.token_hex(4)
"""In every key, so that a second run on the same cluster does not meet the first one's."""


@dataclass(frozen=True)
class SixNodes:
    """Where the cluster is. ours: whether it is hashslot's."""

    port: int
    ours: bool

    @property
    def ports(self) -> list[int]:
        return list(range(self.port, self.port + 6))


@pytest.fixture(scope="session")
def six_nodes() -> Iterator[SixNodes]:
    """Three primaries, a replica each, usable. Afterwards Ctrl-C must leave nothing running."""
    if port := os.environ.get("HASHSLOT_TEST_PORT"):
        yield SixNodes(int(port), ours=False)
        return
    with Up() as cluster:
        show_replicas(cluster.ports)
        yield SixNodes(cluster.port, ours=True)
        died = [pid for pid in cluster.node_pids if pid not in cluster.children()]
        assert not died, f"nodes died under the clients: {cluster.text()}"
        assert cluster.finish() == 0, cluster.text()
        cluster.assert_nothing_left()


def show_replicas(ports: list[int]) -> None:
    """Wait until clients are told of the replicas: as in Redis, only those whose offset is known and above 0."""
    with redis.cluster.RedisCluster(host="127.0.0.1", port=ports[0]) as cluster:
        for number in range(50):
            cluster.set(f"first:{number}", number)
    for port in ports:
        with redis.Redis(port=port, protocol=2) as client:
            until(lambda client=client: _nodes_shown(client) == len(ports), "replicas shown to clients")


def _nodes_shown(client: Any) -> int:
    return sum(len(entry) - 2 for entry in client.execute_command("CLUSTER", "SLOTS"))
