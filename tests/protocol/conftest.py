"""Our node and redis-server as processes, with nothing but bytes between them and a test."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.servers import start

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
def running(kind: str, password: str = "") -> Iterator[Peer]:
    """A server until the block ends."""
    with start(kind, password=password) as server:
        yield Peer(kind, server.port)


@pytest.fixture(scope="module")
def redis70() -> Iterator[Peer]:
    with running("redis") as peer:
        yield peer


@pytest.fixture(scope="module")
def ours() -> Iterator[Peer]:
    with running("hashslot") as peer:
        yield peer


@pytest.fixture(scope="module")
def locked_redis70() -> Iterator[Peer]:
    with running("redis", PASSWORD) as peer:
        yield peer


@pytest.fixture(scope="module")
def locked_ours() -> Iterator[Peer]:
    with running("hashslot", PASSWORD) as peer:
        yield peer
