"""A network that loses, delays, doubles and reorders, splits and heals, as its seed says. Times are simulated ms.

Connections behave as TCP's do (in order, nothing lost) unless faults are set, which break more than any real network
would: the cores must not rest on order. Across a partition nothing arrives and nobody is told.

With `tcp` set a connection keeps TCP's promises to the end: what can not pass waits and is sent again when it can, what was
sent before a close arrives before it, and who sends to a host that knows nothing of the connection is told. Only whole
frames that are sent over several links, or again, come twice; and connections break.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

RETRANSMIT_MS = (20, 200)


@dataclass(slots=True)
class Faults:
    """Chances from 0 to 1 that a message is lost, comes twice, overtakes others; delay_ms: least and most."""

    loss: float = 0.0
    duplication: float = 0.0
    reorder: float = 0.0
    delay_ms: tuple[int, int] = (0, 3)


class Clock:
    """Things to do, in the order of their times; ties in the order of their coming."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._times: list[int] = []
        """A heap of those for which there is anything in `_due`: thousands of messages share a millisecond."""
        self._due: dict[int, deque[Callable[[], None]]] = {}

    def at(self, time_ms: int, action: Callable[[], None]) -> None:
        """Do something then, or now if that is over."""
        time_ms = max(time_ms, self.now_ms)
        due = self._due.get(time_ms)
        if due is None:
            due = self._due[time_ms] = deque()
            heapq.heappush(self._times, time_ms)
        due.append(action)

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Do something after a while."""
        self.at(self.now_ms + delay_ms, action)

    def run_until(self, time_ms: int) -> None:
        """Let time pass."""
        times = self._times
        while times and times[0] <= time_ms:
            self.now_ms = now_ms = times[0]
            due = self._due[now_ms]
            while due:
                due.popleft()()
            if self._due.get(now_ms) is due:  # Unless one of them has let time pass itself.
                heapq.heappop(times)
                del self._due[now_ms]
        self.now_ms = max(time_ms, self.now_ms)


@dataclass(slots=True, eq=False)
class End:
    """One end of a connection: whose it is, and the number of the link there."""

    host: Any
    link: int
    last_arrival_ms: int = 0
    life: int = 0
    open: bool = True
    on_its_way: deque[tuple[int, Callable[[End], None]]] | None = None
    """With `tcp`, once there was anything: what is to arrive here, and when at the earliest."""


@dataclass(slots=True, eq=False)
class Connection:
    """Two ends; b is the one that accepted."""

    a: End
    b: End
    closed: bool = False

    def other(self, end: End) -> End:
        return self.b if end is self.a else self.a


@dataclass(slots=True)
class Network:
    """Carries messages between hosts. cut: unordered pairs of host names that cannot hear each other.

    deaf: (from, to) of which nothing arrives in that direction. clogged: (from, to) -> how much later everything comes, ms.
    faultless: every message arrives once, in order, after as long as `faults` says; nobody is cut off.
    """

    clock: Clock
    random: Random
    faults: Faults = field(default_factory=Faults)
    cut: set[frozenset[str]] = field(default_factory=set)
    carried: int = 0
    tcp: bool = False
    faultless: bool = False
    deaf: set[tuple[str, str]] = field(default_factory=set)
    clogged: dict[tuple[str, str], int] = field(default_factory=dict)

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut every pair of hosts that are in different groups."""
        sides = [list(group) for group in groups]
        for index, side in enumerate(sides):
            for other in sides[index + 1 :]:
                self.cut.update(frozenset((one, another)) for one in side for another in other)

    def heal(self) -> None:
        """Everyone hears everyone, and nothing is lost any longer."""
        self.cut.clear()
        self.deaf.clear()
        self.clogged.clear()
        self.faults = Faults()

    def reaches(self, one: str, other: str) -> bool:
        """Whether messages pass from the one host to the other now."""
        return one == other or (frozenset((one, other)) not in self.cut and (one, other) not in self.deaf)

    def connects(self, one: str, other: str) -> bool:
        """Whether messages pass both ways."""
        return self.reaches(one, other) and self.reaches(other, one)

    def delay_ms(self) -> int:
        """How long the next message takes."""
        return self.random.randint(*self.faults.delay_ms)

    def carry(
        self, connection: Connection, source: End, deliver: Callable[[End], None], *, may_repeat: bool = False
    ) -> None:
        """Bring a message from one end of a connection to the other, or not. may_repeat: with `tcp`, it may come twice."""
        if self.faultless:
            target = connection.other(source)
            least_ms, most_ms = self.faults.delay_ms
            arrival_ms = self.clock.now_ms + least_ms + int(self.random.random() * (most_ms + 1 - least_ms))
            target.last_arrival_ms = arrival_ms = max(arrival_ms, target.last_arrival_ms)
            self.clock.at(arrival_ms, lambda: None if connection.closed else deliver(target))
            return
        if self.tcp:
            for _ in range(2 if may_repeat and self.random.random() < self.faults.duplication else 1):
                self.queue(connection, source, deliver)
            return
        faults, target = self.faults, connection.other(source)
        if connection.closed or not self.reaches(source.host.name, target.host.name):
            return
        for _ in range(2 if self.random.random() < faults.duplication else 1):
            if self.random.random() < faults.loss:
                continue
            arrival_ms = self.clock.now_ms + self.delay_ms()
            if self.random.random() >= faults.reorder:
                arrival_ms = max(arrival_ms, target.last_arrival_ms)
                target.last_arrival_ms = arrival_ms
            self.carried += 1
            self.clock.at(arrival_ms, lambda: None if connection.closed else deliver(target))

    def queue(self, connection: Connection, source: End, deliver: Callable[[End], None]) -> None:
        """Send something over a connection that keeps its order and loses nothing."""
        target = connection.other(source)
        slower_ms = self.clogged.get((source.host.name, target.host.name), 0)
        self.carried += 1
        if target.on_its_way is None:
            target.on_its_way = deque()
        target.on_its_way.append((self.clock.now_ms + self.delay_ms() + slower_ms, deliver))
        if len(target.on_its_way) == 1:
            self._pump(source, target)

    def _pump(self, source: End, target: End) -> None:
        """Deliver what is due, one after the other; what can not pass is tried again."""
        arriving, now_ms = target.on_its_way, self.clock.now_ms
        assert arriving is not None
        while arriving:
            ready_ms, deliver = arriving[0]
            if ready_ms > now_ms:
                self.clock.at(ready_ms, lambda: self._pump(source, target))
                return
            if not self.reaches(source.host.name, target.host.name):
                self.clock.after(self.random.randint(*RETRANSMIT_MS), lambda: self._pump(source, target))
                return
            if target.open and target.life == target.host.life:
                deliver(target)
            elif target.host.running and source.open:
                self._reset(source)
            arriving.popleft()

    def _reset(self, end: End) -> None:
        """The other side knows nothing of this connection: so is its sender told."""
        end.open = False
        self.clock.after(self.delay_ms(), lambda: end.host.disconnected(end))
