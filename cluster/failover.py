"""What a node remembers of failovers while they go on: one small record a question, changed by the rules beside it.

`elections.py` has the replica's side of an election, `voting.py` the primary's, `manual_failover.py` CLUSTER FAILOVER,
`restarts.py` the primary that comes back with less data than its replicas, `replica_migration.py` the replica that goes
where one is missing. All of it is gone with the process; what must survive a crash (epochs, the last vote) is in Core.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from gossip.ids import NodeId


class Obstacle(Enum):
    """Why a replica has not taken over yet, in the words of Redis's log."""

    DATA_AGE = (
        "Disconnected from master for longer than allowed. Please check the 'cluster-replica-validity-factor' "
        "configuration option."
    )
    WAITING_DELAY = "Waiting the delay before I can start a new failover."
    EXPIRED = "Failover attempt expired."
    WAITING_VOTES = "Waiting for votes, but majority still not reached."


@dataclass(frozen=True, slots=True)
class DataLink:
    """How a replica stands with its primary's data, as the data's side sees it.

    connected: the stream is followed right now. heard_ms: unix ms of the last byte of it, or of the end of the
    connection; None when there never was any: then this node has no data to take over with.
    """

    connected: bool
    heard_ms: int | None


NO_LINK = DataLink(connected=False, heard_ms=None)


@dataclass(slots=True)
class Election:
    """A replica's attempts to take over from one primary. Times are unix ms.

    due_ms: when votes are asked for, None while no attempt is planned. planned_ms: when the plan was made. epoch: the
    one in which they were asked for, 0 while they were not. voters: who has granted. tries: attempts in quick
    succession so far. retry_ms: when an attempt that is not won by then is given up.
    """

    primary: NodeId | None = None
    due_ms: int | None = None
    planned_ms: int = 0
    rank: int = 0
    epoch: int = 0
    voters: set[NodeId] = field(default_factory=set)
    tries: int = 0
    retry_ms: int = 0
    expired: bool = False
    obstacle: Obstacle | None = None
    told_ms: int = 0


@dataclass(slots=True)
class ManualFailover:
    """CLUSTER FAILOVER, on both ends. end_ms: when it is given up, 0 while there is none.

    On the replica: primary_offset is where the paused primary's stream ends, once it has said so; may_start when this
    node has all of it, or must not wait. On the primary: replica is who asked; paused once no write is let in;
    word_by_ms, 0 before the end: until when that replica may say whether it has won after all.
    """

    end_ms: int = 0
    primary_offset: int | None = None
    may_start: bool = False
    replica: NodeId | None = None
    paused: bool = False
    word_by_ms: int = 0


@dataclass(slots=True)
class Comeback:
    """A primary has come back with less than its replicas have. Times are unix ms.

    On the primary: since_ms is when it began to wait for one of them; succeeded when somebody has claimed its slots in the
    meantime; over when it has waited long enough. On a replica: synced_with is whose stream its data is, as it saw itself;
    loaded, that it comes from a file which says that it is this shard's; less_since_ms when that primary was first seen to
    have less than this node; asks_since_ms when this node began to ask for its place. On who has won that: former is whom it
    has replaced, while that one may still serve, until serves_ms at most.
    """

    since_ms: int | None = None
    succeeded: bool = False
    over: bool = False
    synced_with: NodeId | None = None
    loaded: bool = False
    less_since_ms: int | None = None
    asks_since_ms: int | None = None
    former: NodeId | None = None
    serves_ms: int = 0


@dataclass(frozen=True, slots=True)
class Vote:
    """For which replica of a primary this node has voted last, and when (unix ms)."""

    candidate: NodeId
    at_ms: int
