"""Connections to servers to which MIGRATE sends keys: opened when needed, kept for ten seconds. I/O.

A connection carries one shipment (`transit.py`) at a time; it writes what the other side takes and no more, and gives
the loop back while a big value is being written.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from node.transit import Failure, Shipment

if TYPE_CHECKING:
    from node.state import Node

KEPT_S = 10.0
KEPT_MAX = 64
_WRITE_BYTES = 256 * 1024
_TURN_S = 0.002
_LINE_MAX = 64 * 1024
_ATTEMPTS = 2

Target = tuple[str, int]
"""Host, port."""


class TransitLinks:
    """All connections of a node's MIGRATE."""

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop) -> None:
        self.node = node
        self.loop = loop
        self._idle: dict[Target, list[_Link]] = {}
        self._transit = node.transit
        self._busy: set[_Link | asyncio.Task[None]] = set()

    def carry(self, shipment: Shipment) -> None:
        """Take a shipment to its target, on a connection that is there or a new one."""
        target = (shipment.order.host, shipment.order.port)
        if idle := self._idle.get(target):
            link = idle.pop()
            self._transit.links_kept -= 1
            self._busy.add(link)
            link.carry(shipment)
            return
        task = self.loop.create_task(self._open(target, shipment))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    def close(self) -> None:
        """End all connections."""
        for one in list(self._busy):
            if isinstance(one, asyncio.Task):
                one.cancel()
            else:
                one.abort()
        for links in self._idle.values():
            for link in links:
                link.abort()

    async def _open(self, target: Target, shipment: Shipment) -> None:
        link = _Link(self, target)
        try:
            await asyncio.wait_for(
                self.loop.create_connection(lambda: link, *target), shipment.order.timeout_ms / 1000
            )
        except (TimeoutError, socket.gaierror, UnicodeError):
            self.now()
            shipment.failed(Failure.CONNECTING)
        except OSError:
            self.now()
            shipment.failed(Failure.WRITING)
        else:
            self._busy.add(link)
            link.carry(shipment)

    def now(self) -> None:
        """A new loop turn of the node begins."""
        self.node.set_time(time.time_ns() // 1_000_000)

    def keep(self, link: _Link) -> None:
        """The link has nothing to do: another shipment may use it for a while."""
        self._busy.discard(link)
        if self._transit.links_kept >= KEPT_MAX:
            link.abort()
            return
        self._transit.links_kept += 1
        self._idle.setdefault(link.target, []).append(link)

    def drop(self, link: _Link) -> None:
        """The link is closed."""
        self._busy.discard(link)
        idle = self._idle.get(link.target, [])
        if link in idle:
            idle.remove(link)
            self._transit.links_kept -= 1
        if not idle:
            self._idle.pop(link.target, None)


class _Link(asyncio.Protocol):
    """One connection. selected: its database, -1 while that is not known."""

    def __init__(self, links: TransitLinks, target: Target) -> None:
        self.target = target
        self.selected = -1
        self._version: int | None = None
        """The RDB version that the other side reads, as far as the last shipment has shown."""
        self._links = links
        self._loop = links.loop
        self._transport: asyncio.Transport | None = None
        self._shipment: Shipment | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._received = bytearray()
        self._congested = False
        self._pumping = False
        self._progress_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._transport.set_write_buffer_limits(high=_WRITE_BYTES)
        plain = transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # A shipment ---------------------------------------------------------------------------------------------------

    def carry(self, shipment: Shipment) -> None:
        """Begin to send it."""
        self._stop_timer()
        self._shipment = shipment
        self._received.clear()
        self._pieces = shipment.begin(self.selected, self._version)
        self._progress_s = self._loop.time()
        self._timer = self._loop.call_later(shipment.order.timeout_ms / 1000, self._look)
        self._pump()

    def _pump(self) -> None:
        """Write on, until the transport has enough, the turn has lasted long enough, or all is written."""
        self._pumping = False
        shipment, transport = self._shipment, self._transport
        if shipment is None or self._congested:
            return
        if transport is None or transport.is_closing():
            self._lost()
            return
        self._links.now()
        began_s = self._loop.time()
        until_s = time.perf_counter() + _TURN_S
        parts: list[bytes] = []
        size = 0
        more = True
        while more and size < _WRITE_BYTES and time.perf_counter() < until_s:
            piece = next(self._pieces, None)
            more = piece is not None
            if piece:
                parts.append(piece)
                size += len(piece)
        self._progress_s = began_s
        if parts:
            transport.write(b"".join(parts))
        if more and not self._congested:
            self._pumping = True
            self._loop.call_soon(self._pump)
        elif not more and shipment.is_complete:
            self._finish()  # All keys had expired, or every answer came early.

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        self._progress_s = self._loop.time()
        if not self._pumping:
            self._pump()

    def data_received(self, data: bytes) -> None:
        shipment = self._shipment
        if shipment is None:
            self.abort()  # Nobody has asked anything.
            return
        self._links.now()
        self._progress_s = self._loop.time()
        self._received += data
        *lines, rest = self._received.split(b"\r\n")
        self._received = bytearray(rest)
        for line in lines:
            if not shipment.awaits_answers:
                self.abort()
                return
            if shipment.answered(bytes(line)):
                self._finish()
                return
        if shipment.wants_more:
            self._pieces = shipment.go_on()
            self._pump()
        if len(rest) > _LINE_MAX:
            self.abort()

    def _finish(self) -> None:
        shipment, self._shipment = self._shipment, None
        assert shipment is not None
        self._stop_timer()
        self.selected = -1 if shipment.refusal else shipment.order.database
        self._version = shipment.version
        self._timer = self._loop.call_later(KEPT_S, self.abort)
        self._links.keep(self)
        shipment.done()

    # The end ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Has the other side been silent for too long?"""
        shipment = self._shipment
        if shipment is None:
            return
        left_s = self._progress_s + shipment.order.timeout_ms / 1000 - self._loop.time()
        if left_s > 0.0005:
            self._timer = self._loop.call_later(left_s, self._look)
            return
        self._shipment = None
        self.abort()
        self._links.now()
        shipment.failed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._stop_timer()
        self._links.drop(self)
        self._lost()

    def _lost(self) -> None:
        shipment, self._shipment = self._shipment, None
        if shipment is None:
            return
        self._links.now()
        if shipment.answers == 0 and shipment.attempts < _ATTEMPTS:
            self._links.carry(shipment)  # Nothing was done there: a kept connection may have been closed meanwhile.
        else:
            shipment.failed()

    def abort(self) -> None:
        """Close at once."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
