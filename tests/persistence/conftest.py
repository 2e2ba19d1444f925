"""Real servers, started once per run: the judges of what these bytes mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ServerProcess, start


def start_real(kind: str, directory: Path, *options: str) -> ServerProcess:
    """A real server with its files in `directory`, which it loads first."""
    return start(kind, directory, "--enable-debug-command", "yes", *options, in_place=True)


@pytest.fixture(scope="session", params=["redis", "valkey"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Each kind of server in turn, empty at first and shared by all tests: use FLUSHALL."""
    with start_real(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server
