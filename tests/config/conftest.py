"""Real servers to compare with: redis-server 7.0 for configuration, valkey-server 9.1 for how newer ones print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest

from tests.servers import start

Client: TypeAlias = Any  # redis-py's own types say too little about replies


@pytest.fixture(scope="session")
def redis70(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a fresh redis-server 7.0."""
    with start("redis", tmp_path_factory.mktemp("redis"), "--enable-protected-configs", "yes") as server:
        yield server.client


@pytest.fixture(scope="session")
def valkey91(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a fresh valkey-server 9.1."""
    with start("valkey", tmp_path_factory.mktemp("valkey")) as server:
        yield server.client
