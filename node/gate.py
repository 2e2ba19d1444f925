"""The reply gate: replies that wait for something, in order with those that do not.

A reply may have to wait until N replicas have acknowledged an offset, or until an event (a blocking command's). Whoever
waits gets a Deferred in place of its reply; the connection keeps everything behind it. WAIT is this mechanism asked for by
name.

The `Guard` stands before and behind the requests of a cluster's node: outside of its lease (`cluster/lease.py`) nothing
is run, and nothing that was run is acknowledged, until it is known whether this node has been replaced. Replies of writes
wait also while nobody is heard who could replace it (`cluster/contact.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from node.resp import Reply

if TYPE_CHECKING:
    from cluster.machine import Cluster


class Deferred:
    """A reply that comes later. `pauses`: the client's further requests wait for it too (blocking commands)."""

    __slots__ = ("_listener", "pauses", "ready", "value")

    def __init__(self, pauses: bool = False) -> None:
        self.pauses = pauses
        self.ready = False
        self.value: Reply = None
        self._listener: Callable[[], None] | None = None

    def resolve(self, value: Reply) -> None:
        """Give the reply. A second call changes nothing: a timeout may race with the event."""
        if self.ready:
            return
        self.ready = True
        self.value = value
        if self._listener is not None:
            self._listener()

    def when_ready(self, listener: Callable[[], None]) -> None:
        """Call `listener` once, as soon as the reply is there."""
        self._listener = listener
        if self.ready:
            listener()


@dataclass(slots=True, eq=False)
class _Waiting:
    deferred: Deferred
    offset: int
    replicas: int
    fsynced: bool
    deadline_ms: int | None
    reply: Callable[[], Reply]


class ReplyGate:
    """Who waits for which replication offset. Offsets are bytes of the replication stream, times `NodeIO.steady_ms`.

    `acknowledged` holds the last offset that each replica has confirmed, under the replica's client id.
    """

    def __init__(self) -> None:
        self.acknowledged: dict[int, int] = {}
        self.fsynced_offset = 0
        self._waiting: list[_Waiting] = []

    def replicas_at(self, offset: int) -> int:
        """How many replicas have confirmed `offset`."""
        return sum(reached >= offset for reached in self.acknowledged.values())

    def wait(
        self,
        offset: int,
        reply: Callable[[], Reply],
        *,
        replicas: int = 0,
        fsynced: bool = False,
        deadline_ms: int | None = None,
    ) -> Deferred:
        """A Deferred that becomes `reply()` once `replicas` have `offset` (and it is fsynced), or at the deadline."""
        waiting = _Waiting(Deferred(pauses=True), offset, replicas, fsynced, deadline_ms, reply)
        if self._reached(waiting):
            waiting.deferred.resolve(reply())
        else:
            self._waiting.append(waiting)
        return waiting.deferred

    def acknowledge(self, replica: int, offset: int) -> None:
        """A replica has confirmed everything up to `offset`."""
        self.acknowledged[replica] = offset
        self._release()

    def replica_gone(self, replica: int) -> None:
        """The link to this replica is down: what it confirmed does not count any more."""
        self.acknowledged.pop(replica, None)

    def fsynced(self, offset: int) -> None:
        """Everything up to `offset` is on disk."""
        self.fsynced_offset = offset
        self._release()

    def time_out(self, deferred: Deferred) -> bool:
        """Answer as if the deadline had passed now (CLIENT UNBLOCK). False when nobody waits for it here."""
        found = [waiting for waiting in self._waiting if waiting.deferred is deferred]
        self._answer(found)
        return bool(found)

    def abandon(self, deferred: Deferred) -> None:
        """The client is gone."""
        self._waiting = [waiting for waiting in self._waiting if waiting.deferred is not deferred]

    def tick(self, now_ms: int) -> None:
        """Answer those whose deadline has passed."""
        late = [one for one in self._waiting if one.deadline_ms is not None and one.deadline_ms <= now_ms]
        self._answer(late)

    def _reached(self, waiting: _Waiting) -> bool:
        on_disk = not waiting.fsynced or self.fsynced_offset >= waiting.offset
        return on_disk and self.replicas_at(waiting.offset) >= waiting.replicas

    def _release(self) -> None:
        if self._waiting:
            self._answer([waiting for waiting in self._waiting if self._reached(waiting)])

    def _answer(self, answered: list[_Waiting]) -> None:
        if not answered:
            return
        gone = set(map(id, answered))
        self._waiting = [waiting for waiting in self._waiting if id(waiting) not in gone]
        for waiting in answered:
            waiting.deferred.resolve(waiting.reply())


# The lease ------------------------------------------------------------------------------------------------------------

FOREVER_NS = 1 << 63
LOOK_AGAIN_S = 0.005


class Verdict(Enum):
    """What to do with what comes outside of the guard's window."""

    GO_ON = "go on"
    WAIT = "wait"
    DROP = "drop"


class Held(Protocol):
    """A client's connection that waits."""

    def released(self, kept: bool) -> None:
        """Go on. kept: this node owns all that it owned when the wait began; else replies that wait must not leave."""


class Guard:
    """Whether this node may serve now: until the end of the lease, in ns of a clock that only goes forwards.

    A request compares the time of its loop turn with `until_ns`, and the time when it is done before the replies leave.
    Only past it the rest of this class is asked. clock_ns: that clock; epoch_ns: what it lacks to be the machine's, which
    reads as unix time. check: lets the cluster's machine look at its lease, which ends in a `refresh`. later: calls back
    after so many seconds.

    answers_ns: until when the replies of writes may leave, at most the end of the lease. asks_ns: writes after that have
    to be told to the cluster's machine before their replies leave.
    """

    __slots__ = (
        "_check", "_clock_ns", "_cluster", "_epoch_ns", "_held", "_later", "_looks", "_owned", "_uncovered", "answers_ns",
        "asks_ns", "until_ns",
    )  # fmt: skip

    def __init__(
        self,
        cluster: Cluster,
        clock_ns: Callable[[], int],
        check: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
        epoch_ns: int = 0,
    ) -> None:
        self.until_ns = FOREVER_NS
        self.answers_ns = FOREVER_NS
        self.asks_ns = FOREVER_NS
        self._cluster = cluster
        self._clock_ns = clock_ns
        self._check = check
        self._later = later
        self._epoch_ns = epoch_ns
        self._held: dict[Held, None] = {}
        """Who waits for the lease."""
        self._uncovered: dict[Held, None] = {}
        """Who waits for its writes to be covered."""
        self._owned = 0
        self._looks = False

    def refresh(self) -> None:
        """After every step of the cluster's machine."""
        self.until_ns = self._ns(self._cluster.serves_until_ms)
        self.answers_ns = min(self.until_ns, self._ns(self._cluster.answers_until_ms))
        self.asks_ns = self._ns(self._cluster.asks_at_ms)
        if self._held and self._clock_ns() < self.until_ns:
            held, self._held = self._held, {}
            self._release(held, self._kept())
        if self._uncovered and self._clock_ns() < self.answers_ns:
            held, self._uncovered = self._uncovered, {}
            self._release(held, self._in_office())

    def _ns(self, time_ms: int | None) -> int:
        return FOREVER_NS if time_ms is None else time_ms * 1_000_000 - self._epoch_ns

    def ask(self, held: Held, *, done: bool) -> Verdict:
        """The time is past `until_ns`, or `answers_ns`. done: the requests have been run already, replies are to leave.

        WAIT is followed by `released`, some time.
        """
        if done and self._clock_ns() < self.until_ns:
            return self._ask_for_cover(held)
        if not self._held:
            self._owned = self._own_bits()
            self._check()
            if self._clock_ns() < self.until_ns:
                # Down for want of a majority: what comes is told so, but what was run past the lease may be lost.
                return Verdict.DROP if done and not self._kept() else Verdict.GO_ON
        self._held[held] = None
        self._look_later()
        return Verdict.WAIT

    def _ask_for_cover(self, held: Held) -> Verdict:
        """The lease lasts, but replies of writes may not leave."""
        if not self._uncovered:
            self._check()
            if self._clock_ns() < self.answers_ns:
                return Verdict.GO_ON if self._in_office() else Verdict.DROP
        self._uncovered[held] = None
        self._look_later()
        return Verdict.WAIT

    def forget(self, held: Held) -> None:
        """The connection is gone."""
        self._held.pop(held, None)
        self._uncovered.pop(held, None)

    def _look_later(self) -> None:
        if not self._looks:
            self._looks = True
            self._later(LOOK_AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._looks = False
        if self._held or self._uncovered:
            self._check()
        if self._held or self._uncovered:
            self._look_later()

    def _own_bits(self) -> int:
        return self._cluster.slotmap.bits(self._cluster.myself.id)

    def _in_office(self) -> bool:
        return self._cluster.ok and self._cluster.myself.is_primary

    def _kept(self) -> bool:
        return self._in_office() and not self._owned & ~self._own_bits()

    def _release(self, held: dict[Held, None], kept: bool) -> None:
        for one in held:
            self.forget(one)
            one.released(kept)
