"""The replica's connection to its primary: connect, read, reconnect. I/O; `following.py` understands what is read."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import TYPE_CHECKING, cast

from node.connection import keep_alive

if TYPE_CHECKING:
    from node.replication.following import Following
    from node.state import Node

log = logging.getLogger("hashslot")


class ReplicaLink:
    """Keeps one primary connected until `close`. The node must already follow it (`Replication.follow`)."""

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        assert node.replication.following is not None
        self.node = node
        self.loop = loop
        self.following: Following = node.replication.following
        self._host = host
        self._port = port
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to connect."""
        self._timer = self.loop.call_later(0, self._connect)

    def close(self) -> None:
        """End the connection and any attempt to make one."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self.following.stop()

    def _connect(self) -> None:
        self._task = self.loop.create_task(self._attempt())

    async def _attempt(self) -> None:
        following = self.following
        following.connecting()
        try:
            await asyncio.wait_for(
                self.loop.create_connection(lambda: _Protocol(self), self._host, self._port),
                self.node.config.repl_timeout,
            )
        except (TimeoutError, OSError, UnicodeError) as error:  # UnicodeError: a name that none can be (`a..b`).
            log.info("Error condition on socket for SYNC: %s", error or "timeout")
            self.lost()

    def lost(self, reason: str = "") -> None:
        """The connection is down, or was never up: try again after a while."""
        if self._closed:
            return
        self.node.set_time(time.time_ns() // 1_000_000)
        self.following.lost(reason)
        self._timer = self.loop.call_later(self.following.retry_ms / 1000, self._connect)


class _Protocol(asyncio.Protocol):
    """One connection. After `_end` nothing of it reaches the node any more."""

    def __init__(self, link: ReplicaLink) -> None:
        self._link = link
        self._ended = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from it
        plain = self._transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(plain, self._link.node.config.tcp_keepalive)
        self._now()
        self._link.following.connected_to(self._transport.write, self._close)

    def _now(self) -> None:
        self._link.node.set_time(time.time_ns() // 1_000_000)

    def _close(self) -> None:
        """The node ends the connection: `Following` has noted it already."""
        if not self._ended:
            self._ended = True
            self._transport.abort()
            self._link.lost()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._now()
        if self._link.following.received(data):
            self._transport.pause_reading()
            self._link.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Apply the next slice of what has been read; read on when nothing is left."""
        if self._ended:
            return
        self._now()
        if self._link.following.apply():
            self._link.loop.call_soon(self._go_on)
        elif not self._ended and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._link.lost(str(exc) if exc else "the primary closed it")
