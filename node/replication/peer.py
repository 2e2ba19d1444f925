"""A replica as its primary sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.client import Client
    from node.settings.special import BufferLimit


class Phase(Enum):
    """How far a replica is. The values are what INFO calls it."""

    WAITING = "wait_bgsave"
    SENDING = "send_bulk"
    ONLINE = "online"


@dataclass(slots=True)
class Announced:
    """What a client has said with REPLCONF before it asks for the data."""

    port: int = 0
    ip: str = ""
    eof: bool = False
    psync2: bool = False
    version: str | None = None
    own: bool = False
    """It is a node of our own kind."""
    setslot: bool = False
    """It notes CLUSTER SETSLOT when it comes in the stream."""
    rdb_only: bool = False
    without_keys: bool = False


def notes_setslot(version: str) -> bool:
    """Whether replicas of this version take CLUSTER SETSLOT from the stream: Valkey from 8.0 on."""
    major = version.partition(".")[0]
    return major.isdigit() and int(major) >= 8


class Peer:
    """One replica. Offsets are bytes of the stream, times unix ms, sizes bytes.

    wants: what PSYNC asked for, (replication id, offset of the first byte wanted); None for SYNC, which gets no reply
    line, sends no acknowledgements and so is never timed out. streaming: the stream goes straight to the client;
    until then it is kept in `held`.
    """

    __slots__ = (
        "acked_ms",
        "acked_offset",
        "announced",
        "client",
        "held",
        "held_bytes",
        "over_soft_since_ms",
        "phase",
        "progress_ms",
        "streaming",
        "waits_for_ack",
        "wants",
    )

    def __init__(self, client: Client, announced: Announced, wants: tuple[bytes, int] | None, now_ms: int) -> None:
        self.client = client
        self.announced = announced
        self.wants = wants
        self.phase = Phase.WAITING
        self.streaming = False
        self.waits_for_ack = False
        """The payload has no length: the stream may follow it only when the replica has seen its end."""
        self.acked_offset = 0
        self.acked_ms = now_ms
        self.progress_ms = now_ms
        """When the payload was last seen to flow."""
        self.held: list[bytes] = []
        self.held_bytes = 0
        self.over_soft_since_ms = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where others reach this replica: what it announced, or the address it comes from."""
        return self.announced.ip or self.client.ip, self.announced.port

    def lag_s(self, now_ms: int) -> int:
        """Seconds since its last acknowledgement."""
        return max(0, now_ms - self.acked_ms) // 1000

    def deliver(self, data: bytes) -> None:
        """The next bytes of the stream: sent, or kept until the payload is through."""
        if self.streaming:
            self.client.send(data)
        elif self.phase is not Phase.WAITING:
            self.held.append(data)
            self.held_bytes += len(data)

    def begin_streaming(self) -> None:
        """The payload is through: send what was kept meanwhile; the rest follows as it comes."""
        self.streaming = True
        self.waits_for_ack = False
        if self.held:
            data = b"".join(self.held)
            self.held.clear()
            self.held_bytes = 0
            self.client.send(data)

    def over_limit(self, limit: BufferLimit, now_ms: int) -> bool:
        """Whether too much of the stream is kept for it (client-output-buffer-limit replica)."""
        if limit.soft and self.held_bytes > limit.soft:
            self.over_soft_since_ms = self.over_soft_since_ms or now_ms
            if now_ms - self.over_soft_since_ms > limit.soft_seconds * 1000:
                return True
        else:
            self.over_soft_since_ms = 0
        return bool(limit.hard) and self.held_bytes > limit.hard
