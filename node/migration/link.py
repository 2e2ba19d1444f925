"""Connections of slot migrations: to the target of an export, and short ones that ask or order. I/O.

What is read and written is Valkey's protocol; `cluster/migration.py` decides what it means.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import hiredis

from cluster import migration
from cluster.migration import Export, Stage, Word
from cluster.slots import SlotRange
from gossip.ids import NodeId
from node import resp
from node.clock import steady_ms
from node.connection import Connection, keep_alive
from node.migration.jobs import Migrations

if TYPE_CHECKING:
    from node.state import Node

log = logging.getLogger("hashslot")

_ASK_TIMEOUT_S = 2.0
_WRITE_HIGH_BYTES = 1 << 20
_RECEIVE_BYTES = 32 * 1024
"""What the system keeps of an import (it doubles this): so much at most is applied at once."""


class Links:
    """Implements `jobs.Network`."""

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop, connections: dict[int, Connection]) -> None:
        """connections: those of clients, by the client's id."""
        self._node = node
        self._loop = loop
        self._connections = connections
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[str] = set()
        self._migrations: Migrations = node.migrations
        self._migrations.network = self
        self._migrations.clock_ms = steady_ms

    def close(self) -> None:
        """End all attempts."""
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _address(self, node_id: NodeId) -> tuple[str, int]:
        cluster = self._node.cluster
        member = None if cluster is None else cluster.members.get(node_id)
        if member is None or not member.address.ip:
            raise OSError("target node not found")
        return member.address.ip, member.address.port

    def credentials(self) -> list[bytes]:
        """The AUTH to send to other nodes, as a replica does; [] for none."""
        config = self._node.config
        if not config.masterauth:
            return []
        user = [config.masteruser.encode()] if config.masteruser else []
        return [b"AUTH", *user, config.masterauth.encode()]

    # Exports ------------------------------------------------------------------------------------------------------

    def dial(self, job: Export) -> None:
        self._start(self._dial(job))

    async def _dial(self, job: Export) -> None:
        try:
            host, port = self._address(job.target)
            log.info("Connecting slot migration %s (ip: %s, port %d)", job.called, host, port)
            await asyncio.wait_for(
                self._loop.create_connection(lambda: _ExportLink(self._node, self, job), host, port),
                self._node.config.repl_timeout,
            )
        except (OSError, TimeoutError, UnicodeError) as error:
            self._now()
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or "timeout"
            self._migrations.step(job, migration.Broken(f"Unable to connect to target node: {why}"))

    def _now(self) -> None:
        self._node.set_time(time.time_ns() // 1_000_000)

    # Imports ------------------------------------------------------------------------------------------------------

    def adopt(self, client_id: int) -> None:
        connection = self._connections.get(client_id)
        if connection is not None:
            transport = connection.transport
            plain = transport.get_extra_info("socket")
            if plain is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            transport.set_protocol(_ImportLink(connection, self._loop, self._migrations))

    # Questions and orders -----------------------------------------------------------------------------------------

    def ask(self, job: Export) -> None:
        if job.name not in self._asking:
            self._asking.add(job.name)
            self._start(self._ask(job))

    async def _ask(self, job: Export) -> None:
        taken: bool | None = None
        try:
            requests = [[b"CLUSTER", b"GETSLOTMIGRATIONS"], [b"CLUSTER", b"MYID"], [b"CLUSTER", b"NODES"]]
            jobs, own, nodes = await self._exchange(job.target, requests)
            if own == job.target.encode():
                taken = _taken(job, jobs, nodes)
        except (OSError, TimeoutError, ValueError, hiredis.HiredisError) as error:
            log.debug("Asking about slot migration %s: %s", job.called, error)
        finally:
            self._asking.discard(job.name)
        self._now()
        self._migrations.step(job, migration.Answer(taken))

    def order(self, source: NodeId, ranges: Sequence[SlotRange], done: Callable[[str], None]) -> None:
        self._start(self._order(source, ranges, done))

    async def _order(self, source: NodeId, ranges: Sequence[SlotRange], done: Callable[[str], None]) -> None:
        cluster = self._node.cluster
        assert cluster is not None
        words = [b"%d" % slot for one in ranges for slot in one]
        request = [b"CLUSTER", b"MIGRATESLOTS", b"SLOTSRANGE", *words, b"NODE", cluster.myself.id.encode()]
        error = ""
        try:
            (reply,) = await self._exchange(source, [request])
            error = "" if reply == b"OK" else str(reply)
        except (OSError, TimeoutError, UnicodeError, hiredis.HiredisError) as failure:
            error = f"the source can not be reached: {failure or 'timeout'}"
        done(error)

    async def _exchange(self, node_id: NodeId, requests: list[list[bytes]]) -> list[Any]:
        """Send requests to another node and return its replies; errors among them are exceptions as values."""
        host, port = self._address(node_id)
        auth = self.credentials()
        sent = [auth, *requests] if auth else requests
        replies: list[Any] = []
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"".join(map(resp.request, sent)))
                parser = hiredis.Reader()
                while len(replies) < len(sent):
                    data = await reader.read(65536)
                    if not data:
                        raise OSError("the connection was closed")
                    parser.feed(data)
                    while (reply := parser.gets()) is not False:
                        replies.append(reply)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
        return replies[len(sent) - len(requests) :]


def _taken(job: Export, jobs: Any, nodes: bytes) -> bool | None:
    """What the target's replies say: whether the slots are its, whether they never will be through this job, or neither."""
    (line,) = [words for text in nodes.decode().splitlines() if "myself" in (words := text.split())[2]]
    first = job.slots[0]
    for text in line[8:]:
        low, _, high = text.partition("-")
        if low.isdigit() and int(low) <= first <= int(high or low):
            return True
    for flat in jobs:
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if fields.get(b"name") == job.name.encode():
            stage = fields.get(b"state", b"").decode()
            return False if stage in (Stage.FAILED, Stage.CANCELLED, Stage.CLEANING_UP) else None
    return False


class _ImportLink(asyncio.Protocol):
    """A source's connection: like any client's, but after each read the others have their turn. Without that a source that
    sends as fast as it is read would be all that the loop sees: libuv reads 32 times in a row while there is more."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop, migrations: Migrations) -> None:
        self._connection = connection
        self._loop = loop
        self._migrations = migrations

    def data_received(self, data: bytes) -> None:
        transport = self._connection.transport
        transport.pause_reading()
        self._migrations.import_bytes += len(data)
        self._connection.data_received(data)
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        transport = self._connection.transport
        if not transport.is_closing():
            transport.resume_reading()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)


class _ExportLink(asyncio.Protocol):
    """The connection to the target: first replies come in, then what the target says."""

    def __init__(self, node: Node, links: Links, job: Export) -> None:
        self._node = node
        self._links = links
        self._job = job
        self._migrations: Migrations = node.migrations
        self._parser = hiredis.Reader()
        self._transport: asyncio.Transport
        self._awaited = 0
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from it
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        plain = self._transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(plain, self._node.config.tcp_keepalive)
        if not self._job.in_progress:
            self._close()
            return
        self._migrations.linked(
            self._job, self._transport.write, self._transport.get_write_buffer_size, self._close
        )
        if auth := self._links.credentials():
            self._step(migration.Reached(Stage.SENDING_AUTH))
            self._transport.write(resp.request(auth))
            self._step(migration.Reached(Stage.READING_AUTH))
        else:
            self._establish()

    def _establish(self) -> None:
        job = self._job
        self._step(migration.Reached(Stage.SENDING_ESTABLISH))
        slots = [b"%d" % slot for one in job.ranges for slot in one]
        words = [b"SOURCE", job.source.encode(), b"NAME", job.name.encode(), b"SLOTSRANGE", *slots]
        self._transport.write(resp.request([b"CLUSTER", b"SYNCSLOTS", b"ESTABLISH", *words]))
        self._step(migration.Reached(Stage.READING_ESTABLISH))

    def _step(self, event: migration.Event) -> None:
        self._migrations.step(self._job, event)

    def _close(self) -> None:
        """The job has no more use for it."""
        if not self._closed:
            self._closed = True
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._node.set_time(time.time_ns() // 1_000_000)
        self._parser.feed(data)
        try:
            while not self._closed and (reply := self._parser.gets()) is not False:
                self._received(reply)
        except hiredis.ProtocolError as error:
            self._step(migration.Broken(f"The target's answer can not be read: {error}"))

    def _received(self, reply: Any) -> None:
        stage = self._job.stage
        if isinstance(reply, list) and len(reply) == 3 and [one.upper() for one in reply[:2]] == [b"CLUSTER", b"SYNCSLOTS"]:
            with suppress(ValueError):
                self._step(migration.Heard(Word(reply[2].upper().decode())))
        elif stage is Stage.READING_AUTH:
            if isinstance(reply, Exception):
                self._step(migration.Broken(f"Failed to AUTH to target node: -{reply}"))
            else:
                self._establish()
        elif stage is Stage.READING_ESTABLISH:
            if isinstance(reply, Exception):
                self._step(migration.Broken(f"Received error during handshake to target: -{reply}"))
            else:
                self._step(migration.Established())
        elif isinstance(reply, Exception):
            self._step(migration.Broken(f"The target answered with an error: -{reply}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed:
            self._closed = True
            self._node.set_time(time.time_ns() // 1_000_000)
            why = "Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node for more information."
            sender = self._migrations.sender(self._job)
            self._step(migration.Broken(why + ("" if sender is None else sender.why_refused), lost=True))
