"""What happens to a job of an atomic slot migration, and what is to be done about it: the words of `migration.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gossip.events import Level
from gossip.ids import NodeId

CONFIRM_MS = 500
"""How long the target waits for its replicas to have everything, before it goes on without them."""


class Stage(StrEnum):
    """Where a job stands, by the names that CLUSTER GETSLOTMIGRATIONS tells."""

    CONNECTING = "connecting"
    SENDING_AUTH = "sending-auth-command"
    READING_AUTH = "reading-auth-response"
    SENDING_ESTABLISH = "sending-establish-command"
    READING_ESTABLISH = "reading-establish-response"
    WAITING_TO_SNAPSHOT = "waiting-to-snapshot"
    SNAPSHOTTING = "snapshotting"
    REPLICATING = "replicating"
    WAITING_TO_PAUSE = "waiting-to-pause"
    FAILOVER_PAUSED = "failover-paused"

    WAITING_FOR_ACK = "waiting-for-ack"
    RECEIVING_SNAPSHOT = "receiving-snapshot"
    WAITING_FOR_PAUSED = "waiting-for-paused"
    FAILOVER_REQUESTED = "failover-requested"
    CLEANING_UP = "cleaning-up"
    ON_PRIMARY = "occurring-on-primary"

    FAILOVER_GRANTED = "failover-granted"
    SUCCESS = "success"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Word(StrEnum):
    """What the sides say to each other: `CLUSTER SYNCSLOTS <word>`."""

    ACK = "ACK"
    SNAPSHOT_EOF = "SNAPSHOT-EOF"
    REQUEST_PAUSE = "REQUEST-PAUSE"
    PAUSED = "PAUSED"
    REQUEST_FAILOVER = "REQUEST-FAILOVER"
    FAILOVER_GRANTED = "FAILOVER-GRANTED"


# Events ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reached:
    """Source: the connection to the target has come so far: a stage up to READING_ESTABLISH."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Established:
    """Source: the target has agreed."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Something makes it impossible to go on. lost: the connection is gone, and with it what the other side says."""

    reason: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """The other side says a word."""

    word: Word


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """Source: all keys have left."""


@dataclass(frozen=True, slots=True)
class Drained:
    """Source: hardly anything waits to be sent, so that a pause now would be short."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Target: its replicas have everything that was there when PAUSED came (or were waited for long enough)."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Target: nothing of what came is left."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody does not want it any more."""


@dataclass(frozen=True, slots=True)
class Owners:
    """What this node believes now. owner: whose all of the slots are; None when they are not all one node's. mine: that is
    this node. is_primary: this node. other_failed: the majority calls the other side failed. other, majority: that one, and
    a majority of the primaries, have answered what was sent since the first Do.POLL, of those behind the last effect that
    makes answers old.
    failing_over: this node is being replaced by one of its replicas, as somebody has ordered."""

    owner: NodeId | None
    mine: bool = False
    is_primary: bool = True
    other_failed: bool = False
    other: bool = False
    majority: bool = False
    failing_over: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Source: the target's answer to `Ask`: whether it has taken over; None when that is still open."""

    taken: bool | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    Reached | Established | Broken | Heard | SnapshotSent | Drained | Confirmed | Cleaned | Cancel | Owners | Answer | Tick
)


# Effects --------------------------------------------------------------------------------------------------------------


class Do(StrEnum):
    """What is to be done, in the order given."""

    SNAPSHOT = "snapshot"
    """Source: begin to send the keys; from here on changes go behind them."""
    WATCH_BACKLOG = "watch backlog"
    """Source: say Drained as soon as that is so."""
    PAUSE = "pause"
    """Let no write to the slots in."""
    GRANT = "grant"
    """Source: from now on believe the target when it claims the slots. On disk before anything behind this is done."""
    POLL = "poll"
    """Ask everybody: Owners tells who has answered."""
    RESUME = "resume"
    """Let writes in again, or send them to the new owner. Source: no claim is granted any more."""
    ASK = "ask"
    """Source: ask the target, on a new connection, whether it has taken over."""
    RECLAIM = "reclaim"
    """Source: take an epoch that beats any claim of the target. Makes answers old."""
    CONFIRM = "confirm"
    """Target: say Confirmed when the replicas have everything, or after CONFIRM_MS."""
    RESERVE = "reserve"
    """Target: choose the epoch of the claim, and see that others know of greater ones. Makes answers old."""
    TAKE = "take"
    """Target: show the keys and own the slots, on disk, then tell everybody. Makes answers old."""
    CLEAN = "clean"
    """Target: remove what came, then say Cleaned."""
    UNLINK = "unlink"
    """End the connection."""
    END = "end"
    """The job is over: its `stage` and `message` tell how."""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the other side, behind everything that was sent before."""

    word: Word


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the log."""

    level: Level
    text: str


Effect = Do | Say | Log
