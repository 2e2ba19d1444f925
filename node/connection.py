"""One client's connection: a chunk of bytes in, one write out. I/O, and hot.

Requests run in the order in which they arrived. Their replies leave in that order too, also when one of them has to
wait (`gate.Deferred`) or must be run later (`Postponed`): what is behind it is kept until then.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from time import time_ns
from typing import TYPE_CHECKING, cast

from node import resp
from node.client import Unusual
from node.clock import ticks_ns
from node.errors import CommandError
from node.executor import Postponed
from node.gate import Deferred, Verdict
from node.protocol import RequestParser
from node.registry import Args

if TYPE_CHECKING:
    from node.server import Server

log = logging.getLogger("hashslot")

_SUBSCRIBED = int(Unusual.SUBSCRIBED)
_CONGESTED_BYTES = 64 * 1024

_LONG_NS = 200_000
_SAMPLED = 7 << 8
"""INFO commandstats tells how long commands took. A clock read for each would cost every one of them: so one short chunk
in eight, picked by bits of the clock, counts eight times, and long ones are counted always."""


class Connection(asyncio.Protocol):
    """Owned by the event loop; `client` is what the node knows of it."""

    __slots__ = (
        "_congested",
        "_guard",
        "_held",
        "_kept_bytes",
        "_kept_requests",
        "_late",
        "_node",
        "_parser",
        "_run",
        "_server",
        "_stopped",
        "_transport",
        "_waits_for",
        "client",
    )

    def __init__(self, server: Server, unix: bool = False) -> None:
        node = server.node
        self._server = server
        self._node = node
        self._run = node.executor.run
        self._held: deque[bytes | Deferred] = deque()
        """Replies behind one that is not there yet."""
        self._kept_requests: deque[Args] = deque()
        """Requests behind one that is paused or blocks."""
        self._kept_bytes = 0
        """About what they take."""
        self._waits_for: Deferred | None = None
        self._guard = server.guard
        self._stopped = False
        """Replies are held that must not leave until this node knows that it has not been replaced, nor is cut off."""
        self._late: list[bytes] | None = None
        """What leaves at the end of the loop turn; None when nothing has to wait for that."""
        self._congested = False
        self._transport: asyncio.Transport
        node.set_time(time_ns() // 1_000_000)
        self.client = node.new_client()
        self.client.unix = unix
        self.client.send = self._send
        self.client.send_at_once = self._send_at_once
        self.client.close = self.abort
        self._parser = RequestParser(node.config.proto_max_bulk_len, not self.client.authenticated)

    @property
    def transport(self) -> asyncio.Transport:
        """The connection itself, for who takes it over."""
        return self._transport

    # From the event loop ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        transport.set_write_buffer_limits(high=_CONGESTED_BYTES)
        self._note_addresses(transport)
        self._node.stats.connections_received += 1
        if refusal := self._server.refusal(self):
            self._node.stats.rejected_connections += 1
            self._node.forget_client(self.client)
            transport.write(b"-%b\r\n" % refusal.encode())
            transport.close()
            return
        self._server.connections[self.client.id] = self

    def _note_addresses(self, transport: asyncio.Transport) -> None:
        client = self.client
        plain = transport.get_extra_info("socket")
        if plain is not None:
            client.fd = plain.fileno()
        if client.unix:
            client.address = client.local_address = f"{self._node.config.unixsocket}:0"
            return
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        client.ip = peer[0] if peer else ""
        client.address = _shown(peer)
        client.local_address = _shown(own)
        if plain is not None:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(plain, self._node.config.tcp_keepalive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.pop(self.client.id, None)
        if self._waits_for is not None:
            self._node.gate.abandon(self._waits_for)
        if self._guard is not None:
            self._guard.forget(self)
        self._node.replication.client_gone(self.client)
        self._node.forget_client(self.client)
        self.client.send = _dropped
        self._kept_requests.clear()
        self._held.clear()
        if self._late:
            self._late.clear()

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        self.client.output_limit_since_ms = 0
        self.client.output_bytes = self._transport.get_write_buffer_size()

    def data_received(self, data: bytes) -> None:
        began_ns = ticks_ns()
        node = self._node
        node.context.now_ms = self.client.last_seen_ms = time_ns() // 1_000_000
        if node.context.now_ms >= node.fields_due_ms:
            node.expire_fields()
        stats = node.stats
        stats.net_input_bytes += len(data)
        stats.total_reads_processed += 1
        parser = self._parser
        requests = parser.feed(data)
        if parser.error is not None or parser.limited or self._kept_requests or self._waits_for is not None:
            self._serve_carefully(requests)
        elif requests:
            self._serve(requests, began_ns)
        else:
            self._check_query()

    # Requests -----------------------------------------------------------------------------------------------------

    def _serve(self, requests: list[Args], began_ns: int) -> None:
        """Run requests and write their replies in one go. began_ns: since when they have been worked on."""
        client, guard = self.client, self._guard
        if guard is not None and began_ns > guard.until_ns and self._must_wait(requests):
            return
        out: list[bytes] = []
        waiting = iter(requests)
        try:
            while (deferred := self._run(client, waiting, out)) is not None:
                self._defer(deferred, out)
                if self._waits_for is not None:
                    requests = self._keep(requests, list(waiting))
                    break
        except Postponed as postponed:
            requests = self._keep(requests, [postponed.request, *waiting])
        if requests:
            client.last_request = requests[-1][:2]
        node = self._node
        ended_ns = ticks_ns()
        elapsed_ns = ended_ns - began_ns
        if elapsed_ns > _LONG_NS:
            node.note_time(requests, elapsed_ns)
        elif not began_ns & _SAMPLED:
            node.note_time(requests, elapsed_ns * 8)
        if node.replication.feeding and node.replication.is_behind:
            self._wait_for_stream()
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            if guard is not None and ended_ns >= guard.until_ns and self._must_not_leave(data):
                pass
            elif self._held:
                self._held.append(data)
            elif data:
                self._send(data)
        if client.closing:
            self._finish()

    def _serve_carefully(self, requests: list[Args]) -> None:
        """As `_serve`, for a client that is not authenticated, waits for something, or has sent what is no request."""
        parser = self._parser
        if self._is_held_up():
            self._kept_requests.extend(requests)
            self._kept_bytes += sum(len(arg) for request in requests for arg in request)
            self._check_query()
            return
        while requests:
            self._serve(requests, ticks_ns())
            if self.client.closing or self._is_held_up():
                return  # `resume` comes back to what is behind.
            parser.limited = not self.client.authenticated
            requests = parser.feed(b"") if parser.more else []
        if parser.error is not None:
            self._node.stats.error("ERR")
            log.info("Protocol error (%a) from client: %s", str(parser.error), self.client.address)
            self._write(self.client.encode(CommandError(parser.error.text)))
            self._finish()

    # While this node may have been replaced -------------------------------------------------------------------------

    def _must_wait(self, requests: list[Args]) -> bool:
        """The lease is over: keep the requests, and read no more of them, if it is not known what that means."""
        guard = self._guard
        assert guard is not None
        if self.client.is_replica or guard.ask(self, done=False) is not Verdict.WAIT:
            return False
        self._kept_requests.extend(requests)
        self._kept_bytes += sum(len(arg) for request in requests for arg in request)
        self._transport.pause_reading()
        return True

    def _must_not_leave(self, data: bytes, *, first: bool = False) -> bool:
        """The lease ended while requests were run, or writes are not covered: keep their replies, or end the connection
        without them. first: they stand before all that is held."""
        guard = self._guard
        assert guard is not None
        verdict = Verdict.GO_ON if self.client.is_replica else guard.ask(self, done=True)
        if verdict is Verdict.WAIT:
            if first:
                self._held.appendleft(data)
            else:
                self._held.append(data)
            self._stopped = True
            self.client.send = self._held.append  # Push messages, too, come in their order.
            self._transport.pause_reading()
        elif verdict is Verdict.DROP:
            self.abort()
        return verdict is not Verdict.GO_ON

    def released(self, kept: bool) -> None:
        """It is known whether this node has been replaced, or is cut off (`gate.Held`)."""
        stopped, self._stopped = self._stopped, False
        self.client.send = self._send
        if stopped and not kept:
            log.warning("Closing client %s: what it wrote may be lost", self.client.address)
            self.abort()
            return
        if stopped:
            self._release()
        if not self.client.closing:
            self._transport.resume_reading()
            self._server.loop.call_soon(self.resume)

    def _keep(self, requests: list[Args], left: list[Args]) -> list[Args]:
        """Keep the requests that can not be run yet. Returns those that were."""
        self._kept_requests.extend(left)
        return requests[: len(requests) - len(left)]

    def _is_held_up(self) -> bool:
        """Whether an earlier request has to be finished before the next one may run."""
        return bool(self._kept_requests) or self._waits_for is not None

    def _check_query(self) -> None:
        """client-query-buffer-limit: cut the client that sends more than it may before it can be served."""
        if self._parser.pending_bytes + self._kept_bytes > self._node.config.client_query_buffer_limit:
            self._node.stats.query_buffer_limit_disconnections += 1
            log.warning("Closing client that reached max query buffer length: %s", self.client.address)
            self.abort()

    def resume(self) -> None:
        """What this connection's requests waited for has come (or CLIENT PAUSE is over): run those that were kept, then
        what is still in the parser."""
        if self._waits_for is not None or self.client.closing or self._stopped:
            return
        requests = list(self._kept_requests)
        self._kept_requests.clear()
        self._kept_bytes = 0
        parser = self._parser
        self._serve_carefully(requests or (parser.feed(b"") if parser.more else []))

    # Replies ------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._held:
            self._held.append(data)
            return
        self._send(data)

    def _send(self, data: bytes) -> None:
        """Hand bytes to the transport, past any reply that waits: for streams and push messages, and for `_write`."""
        if self._late is not None:
            self._late.append(data)
            return
        stats = self._node.stats
        stats.net_output_bytes += len(data)
        stats.total_writes_processed += 1
        self._transport.write(data)
        if self._congested:
            self._check_output()

    def _send_at_once(self) -> None:
        """uvloop keeps what is written until the end of the loop turn; with no room to keep it, it goes out at once."""
        self._transport.set_write_buffer_limits(high=0)

    def _wait_for_stream(self) -> None:
        """Let what is sent from here on leave at the end of the loop turn, behind the stream that it acknowledges.

        A node that stops in between has then told nobody what it alone knows."""
        if self._late is None:
            self._late = []
            self._server.leave_after_stream(self)

    def leave(self) -> None:
        """The stream has been sent."""
        late, self._late = self._late, None
        if late:
            data, guard, now_ns = b"".join(late), self._guard, ticks_ns()
            # The node may be cut off, or have slept since these replies were let go (SIGSTOP in the middle of a turn).
            doubtful = guard is not None and now_ns >= guard.answers_ns
            if doubtful and self._must_not_leave(data, first=True):
                return
            self._send(data)
        if self.client.closing and not self._held:
            self._transport.close()

    def _defer(self, deferred: Deferred, out: list[bytes]) -> None:
        """Keep the place of a reply that comes later, behind those that are ready."""
        if out:
            if self._node.replication.feeding and self._node.replication.is_behind:
                self._wait_for_stream()
            data, guard, now_ns = b"".join(out), self._guard, ticks_ns()
            if guard is None or now_ns < guard.until_ns or not self._must_not_leave(data):
                self._write(data)
            out.clear()
        self._held.append(deferred)
        if deferred.pauses:
            self._waits_for = self.client.waits_for = deferred
        deferred.when_ready(self._release)

    def _release(self) -> None:
        """Write what is ready, up to the next reply that is not."""
        held = self._held
        if self._stopped:
            return
        if self._node.replication.feeding and self._node.replication.is_behind:
            self._wait_for_stream()  # A blocked client was served by what another has just written.
        while held:
            first = held[0]
            if isinstance(first, Deferred):
                if not first.ready:
                    return
                if self._waits_for is first:
                    self._waits_for = self.client.waits_for = None
                first = self.client.encode(first.value)
            held.popleft()
            if first:
                self._send(first)
        if self.client.closing:
            self._finish()
        elif self._kept_requests or self._parser.more or self._parser.error is not None:
            self._server.loop.call_soon(self.resume)

    def _check_output(self) -> None:
        """client-output-buffer-limit: cut the client whose unread output is above the hard limit, or long above the
        soft one."""
        client = self.client
        size = self._transport.get_write_buffer_size()
        client.output_bytes = size
        limit = self._server.output_limit(client)
        over_soft = bool(limit.soft) and size > limit.soft
        if not over_soft:
            client.output_limit_since_ms = 0
        elif not client.output_limit_since_ms:
            client.output_limit_since_ms = self._node.now_ms
        too_long = over_soft and self._node.now_ms - client.output_limit_since_ms > limit.soft_seconds * 1000
        if (limit.hard and size > limit.hard) or too_long:
            self._node.stats.output_buffer_limit_disconnections += 1
            log.warning("Client %s scheduled to be closed ASAP for overcoming of output buffer limits.", client.address)
            self.abort()

    def check(self, now_ms: int) -> None:
        """Ten times a second: sizes for CLIENT LIST, output limits, idle time."""
        client = self.client
        client.query_bytes = self._parser.pending_bytes
        client.output_bytes = self._transport.get_write_buffer_size()
        if self._congested:
            self._check_output()
        if client.is_replica:
            self._choose_delay()
        timeout_s = self._node.config.timeout
        idle_ms = now_ms - client.last_seen_ms
        may_be_idle = client.is_replica or client.unusual & _SUBSCRIBED or self._waits_for is not None
        if timeout_s and idle_ms > timeout_s * 1000 and not may_be_idle:
            log.info("Closing idle client")
            self.abort()

    def _choose_delay(self) -> None:
        """repl-disable-tcp-nodelay: whether the kernel may wait for more before it sends a replica something little."""
        plain = self._transport.get_extra_info("socket")
        wanted = 0 if self._node.config.repl_disable_tcp_nodelay else 1
        if plain is None or self.client.unix:
            return
        if bool(plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) != bool(wanted):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, wanted)

    # Ending -------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Close when everything that was written is out; nothing more is read."""
        self.client.closing = True
        if self._held or self._late is not None:
            self._transport.pause_reading()  # `_release` or `leave` closes, when the last reply is out.
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; unsent output is dropped."""
        self.client.closing = True
        if self._late:
            self._late.clear()
        self._congested = False
        self._transport.abort()

    def close_in_order(self) -> None:
        """The server ends: let what was written out first."""
        self.client.closing = True
        if self._late is not None:
            self.leave()
        self._transport.close()


def _shown(address: tuple[str, int] | None) -> str:
    if not address:
        return ""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def keep_alive(plain: socket.socket, interval_s: int) -> None:
    """Let the kernel probe a silent peer after `interval_s` (tcp-keepalive); 0 leaves it to wait for ever."""
    if not interval_s:
        return
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", interval_s), ("TCP_KEEPINTVL", max(1, interval_s // 3)), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _dropped(data: bytes) -> None:
    return None


__all__ = ["Connection", "keep_alive", "resp"]
