"""A RedisCluster on the session's six nodes, in both protocols, and keys of a test's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.cluster import RedisCluster

from tests.clients.six_nodes import RUN, SixNodes

_numbers = itertools.count()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request: pytest.FixtureRequest) -> int:
    """The RESP version that the test's clients speak."""
    found: int = request.param
    return found


@pytest.fixture
def connect(six_nodes: SixNodes, protocol: int) -> Iterator[Callable[[], Any]]:
    """Makes one more client of the cluster, as another process of the application would have."""
    made: list[Any] = []

    def one_more() -> Any:
        made.append(RedisCluster(host="127.0.0.1", port=six_nodes.port, protocol=protocol, decode_responses=True))
        return made[-1]

    yield one_more
    for client in made:
        client.close()


@pytest.fixture
def client(connect: Callable[[], Any]) -> Any:
    """The application's client."""
    return connect()


@pytest.fixture
def name() -> Callable[[str], str]:
    """Names of keys that no other test uses; what is in braces decides the slot, as ever."""
    number = next(_numbers)
    return lambda text: f"{text}:{RUN}:{number}"


def knows(client: Any, command: str) -> bool:
    """Whether the servers have this command."""
    node = client.get_redis_connection(client.get_random_node())
    return bool(node.command_list(pattern=command.lower()))
