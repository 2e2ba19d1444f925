"""What the node knows of one client, without its socket.

The connection (or a test) owns a Client and gives it a way to send; commands see and change only this.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from typing import TYPE_CHECKING

from node import resp

if TYPE_CHECKING:
    from node.gate import Deferred
    from node.keyspace import Database
    from node.pubsub import Subscriptions
    from node.transactions import Transaction


class Unusual(IntFlag):
    """Why a request of this client, or of any client of this node, must take the slow way through the executor.

    The sum over client and node is recomputed when a state changes, not per request; zero is the usual case.
    """

    NONE = 0
    UNAUTHENTICATED = 1
    ASKING = 2
    READONLY = 4
    REPLY_OFF = 8
    FROM_PRIMARY = 16
    LOADING = 32
    REPLICA = 64
    PAUSED = 128
    MONITORED = 256
    STALE = 512
    QUEUEING = 1024
    SUBSCRIBED = 2048
    TRACKED = 4096
    OUT_OF_MEMORY = 8192
    TOO_FEW_REPLICAS = 16384
    NOTED = 32768
    IN_TRANSIT = 65536
    SAVE_FAILED = 131072
    SLOT_STATS = 262144
    EXPORTING = 524288


class Client:
    """One connected client. Times are unix ms; sizes are bytes."""

    __slots__ = (
        "address",
        "arg_bytes",
        "authenticated",
        "close",
        "closing",
        "commands",
        "created_ms",
        "database",
        "encode",
        "fd",
        "id",
        "ip",
        "is_monitor",
        "is_primary",
        "is_replica",
        "last_request",
        "last_seen_ms",
        "lib_name",
        "lib_version",
        "local_address",
        "name",
        "no_evict",
        "no_touch",
        "output_bytes",
        "output_limit_since_ms",
        "query_bytes",
        "reply_skip",
        "resp",
        "send",
        "send_at_once",
        "subscriptions",
        "tls",
        "transaction",
        "unix",
        "unusual",
        "user",
        "waits_for",
        "write_offset",
    )

    def __init__(self, client_id: int, database: Database, now_ms: int) -> None:
        self.id = client_id
        self.database = database
        self.created_ms = now_ms
        self.last_seen_ms = now_ms
        self.address = ""
        self.local_address = ""
        self.ip = ""
        """The peer's bare IP, "" for a unix socket: which address of a node it is told may depend on it."""
        self.fd = -1
        self.unix = False
        self.tls = False
        self.name = b""
        self.lib_name = b""
        self.lib_version = b""
        self.user = "default"
        self.authenticated = True
        self.resp = 2
        self.encode = resp.encode2
        self.unusual: int = 0
        """Sum of `Unusual`: an int, since IntFlag arithmetic is slow and this is tested per request."""
        self.reply_skip = 0
        """CLIENT REPLY SKIP: how many replies are still to be left out, the one to SKIP itself included."""
        self.no_evict = False
        self.no_touch = False
        self.is_primary = False
        """The link from our primary, whose commands are obeyed without question."""
        self.is_replica = False
        self.is_monitor = False
        self.waits_for: Deferred | None = None
        """The reply without which no further request of this client is run (blocking commands)."""
        self.transaction: Transaction | None = None
        """Since MULTI or WATCH."""
        self.subscriptions: Subscriptions | None = None
        """While it listens to channels: `Unusual.SUBSCRIBED` then."""
        self.closing = False
        """Close once what has been written is out."""
        self.last_request: list[bytes] = []
        """The first two words of the last request: which command it was."""
        self.commands = 0
        self.query_bytes = 0
        self.arg_bytes = 0
        self.output_bytes = 0
        self.output_limit_since_ms = 0
        self.write_offset = 0
        """Where the replication stream stood after this client's last write: what WAIT waits for."""
        self.send: Callable[[bytes], None] = _nowhere
        """Hand encoded bytes to whoever owns the connection, outside of a reply (push messages, streams)."""
        self.send_at_once: Callable[[], None] = _nothing
        """Let nothing that is handed to `send` from now on wait for the end of the loop turn (streams to replicas)."""
        self.close: Callable[[], None] = _nothing
        """End the connection at once."""

    @property
    def is_local(self) -> bool:
        """Whether the client is on this machine: a unix socket or a loopback address."""
        return self.unix or self.ip == "::1" or self.ip.startswith("127.") or self.ip.startswith("::ffff:127.")

    def set_protocol(self, version: int) -> None:
        """2 or 3 (HELLO)."""
        self.resp = version
        self._choose_encoder()

    def set_replies(self, mode: str) -> None:
        """CLIENT REPLY: "on", "off", or "skip" for leaving out the next reply (and the one to SKIP itself)."""
        self.mark(Unusual.REPLY_OFF, mode == "off" or (mode == "skip" and bool(self.unusual & Unusual.REPLY_OFF)))
        self.reply_skip = 2 if mode == "skip" and not self.unusual & Unusual.REPLY_OFF else 0
        self._choose_encoder()

    def _choose_encoder(self) -> None:
        plain = resp.encode3 if self.resp == 3 else resp.encode2
        self.encode = self._encode_nothing if self.reply_skip else plain

    def encoded(self, value: resp.Reply) -> resp.Encoded:
        """A reply as the bytes that this client gets."""
        return resp.Encoded((resp.encode3 if self.resp == 3 else resp.encode2)(value))

    def _encode_nothing(self, value: resp.Reply) -> bytes:
        """Stands in for the encoder while replies are left out: that costs nothing when none are."""
        self.reply_skip -= 1
        if not self.reply_skip:
            self._choose_encoder()
        messages = resp.only_messages(value)
        return resp.encode3(messages) if self.resp == 3 else resp.encode2(messages)

    def mark(self, why: Unusual, holds: bool) -> None:
        """Set or clear one reason for the slow way."""
        self.unusual = self.unusual | int(why) if holds else self.unusual & ~int(why)

    def push(self, message: resp.Push) -> None:
        """Send an out-of-band message."""
        self.send(resp.encode3(message) if self.resp == 3 else resp.encode2(message))


def _nowhere(data: bytes) -> None:
    return None


def _nothing() -> None:
    return None
