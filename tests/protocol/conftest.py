"""Our node and redis-server as processes, with nothing but bytes between them and a test."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 10
PASSWORD = "secret"


@dataclass
class Peer:
    """A running server."""

    name: str
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def talk(self, *chunks: bytes) -> bytes:
        """Send chunks on a new connection; everything that comes back until the server closes it.

        TimeoutError when it stays open.
        """
        with self.connect() as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A server that closes with bytes unread resets the connection, perhaps while we still send.
            with contextlib.suppress(ConnectionError):
                for number, chunk in enumerate(chunks):
                    if number:
                        time.sleep(0.01)
                    plain.sendall(chunk)
            return self.read(plain)

    @staticmethod
    def read(plain: socket.socket) -> bytes:
        answer = bytearray()
        with contextlib.suppress(ConnectionError):
            while chunk := plain.recv(65_536):
                answer += chunk
        return bytes(answer)


@contextlib.contextmanager
def running(name: str, command: Sequence[str], *options: str) -> Iterator[Peer]:
    """A server on a free port until the block ends."""
    with tempfile.TemporaryDirectory(prefix="hashslot-protocol-") as folder:
        for _ in range(20):
            port = random.SystemRandom().randrange(20_000, 32_000)
            line = [*command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *options]
            process = subprocess.Popen(
                line, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
            )
            try:
                if _answers(process, port):
                    yield Peer(name, port)
                    return
            finally:
                process.terminate()
                process.wait(10)
    raise RuntimeError(f"{name} does not start")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as plain:
            plain.sendall(b"PING\r\n")
            if plain.recv(100)[:1] in (b"+", b"-"):
                return process.poll() is None
        time.sleep(0.02)
    return False


def _redis_server() -> list[str]:
    program = shutil.which("redis-server")
    if program is None:
        message = "redis-server is missing: apt-get install redis-server"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return [program]


OURS = [sys.executable, "-m", "node.cli", "node"]


@pytest.fixture(scope="module")
def redis70() -> Iterator[Peer]:
    with running("redis-server", _redis_server()) as peer:
        yield peer


@pytest.fixture(scope="module")
def ours() -> Iterator[Peer]:
    with running("hashslot", OURS) as peer:
        yield peer


@pytest.fixture(scope="module")
def locked_redis70() -> Iterator[Peer]:
    with running("redis-server", _redis_server(), "--requirepass", PASSWORD) as peer:
        yield peer


@pytest.fixture(scope="module")
def locked_ours() -> Iterator[Peer]:
    with running("hashslot", OURS, "--requirepass", PASSWORD) as peer:
        yield peer
