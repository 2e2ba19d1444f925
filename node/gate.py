"""The reply gate: replies that wait for something, in order with those that do not.

A reply may have to wait until a replication offset is fsynced, until N replicas have acknowledged it, or until an event
(a blocking command's). Whoever waits gets a Deferred in place of its reply; the connection keeps everything behind it.
WAIT and WAITAOF are this mechanism asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.resp import Reply


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
    """Who waits for which replication offset. Offsets are bytes of the replication stream, times unix ms.

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
