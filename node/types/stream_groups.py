"""Consumer groups of a stream: who was given which entry, and which of them are not acknowledged yet."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

NEVER = -1
"""A consumer's `active_ms` before it was given anything."""
UNKNOWN = -1
"""A group's `entries_read` when it cannot be told."""

_CHUNK = 128


class Delivery:
    """One entry that waits for an acknowledgement: whose it is, when it was delivered (unix ms), how many times."""

    __slots__ = ("consumer", "count", "time_ms")

    def __init__(self, consumer: Consumer, time_ms: int, count: int) -> None:
        self.consumer = consumer
        self.time_ms = time_ms
        self.count = count


class Pending:
    """Deliveries by entry id, in order of ids. Adding at the end, finding and removing are O(1), seeking is O(log N).

    The sorted ids keep those that were removed until they are half of all.
    """

    __slots__ = ("_order", "_start", "entries")

    def __init__(self) -> None:
        self.entries: dict[int, Delivery] = {}
        self._order: list[int] = []
        self._start = 0
        """Ids before this place were removed."""

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, number: int) -> Delivery | None:
        """The delivery of this entry, if it is pending."""
        return self.entries.get(number)

    def add(self, number: int, delivery: Delivery) -> None:
        """Enter a delivery, in place of one of the same entry."""
        order = self._order
        if not order or number > order[-1]:
            order.append(number)
        elif number not in self.entries:
            at = bisect_left(order, number)
            if order[at] != number:
                order.insert(at, number)
            self._start = min(self._start, at)
        self.entries[number] = delivery

    def remove(self, number: int) -> None:
        """Remove a delivery that is there."""
        del self.entries[number]
        order, entries = self._order, self.entries
        start = self._start
        if order[start] == number:
            while start < len(order) and order[start] not in entries:
                start += 1
            self._start = start
        if len(order) > 32 and len(order) > 2 * len(entries):
            self._order = [one for one in order if one in entries]
            self._start = 0

    def ids_from(self, start: int) -> Iterator[int]:
        """The ids from `start` on, in order. Those that were yielded may be removed meanwhile."""
        while True:
            order, entries = self._order, self.entries
            at = bisect_left(order, start, self._start)
            chunk = order[at : at + _CHUNK]
            for number in chunk:
                if number in entries:
                    yield number
            if len(chunk) < _CHUNK:
                return
            start = chunk[-1] + 1

    def first(self) -> int:
        """The lowest id. StopIteration when there is none."""
        return next(self.ids_from(0))

    def last(self) -> int:
        """The highest id. IndexError when there is none."""
        order, entries = self._order, self.entries
        while order[-1] not in entries:
            order.pop()
        return order[-1]


class Consumer:
    """One consumer of a group. seen_ms: when it last asked; active_ms: when it last was given something, or NEVER."""

    __slots__ = ("active_ms", "name", "pending", "seen_ms")

    def __init__(self, name: bytes, seen_ms: int, active_ms: int = NEVER) -> None:
        self.name = name
        self.seen_ms = seen_ms
        self.active_ms = active_ms
        self.pending = Pending()


class ConsumerGroup:
    """One group. last_id: up to where it was delivered; entries_read: how many entries that is, or UNKNOWN."""

    __slots__ = ("_by_time", "consumers", "entries_read", "last_id", "pending")

    def __init__(self, last_id: int, entries_read: int = UNKNOWN) -> None:
        self.last_id = last_id
        self.entries_read = entries_read
        self.pending = Pending()
        self.consumers: dict[bytes, Consumer] = {}
        self._by_time: list[tuple[int, int]] | None = None
        """A heap of the deliveries' times and ids, outdated ones among them; None until somebody claims by time."""

    def copy(self) -> ConsumerGroup:
        """An equal group that shares nothing with this one."""
        twin = ConsumerGroup(self.last_id, self.entries_read)
        for name, consumer in self.consumers.items():
            twin.consumers[name] = Consumer(name, consumer.seen_ms, consumer.active_ms)
        for number in self.pending.ids_from(0):
            delivery = self.pending.entries[number]
            twin.assign(number, twin.consumers[delivery.consumer.name], delivery.time_ms, delivery.count)
        return twin

    def assign(self, number: int, consumer: Consumer, time_ms: int, count: int) -> Delivery:
        """Give an entry to a consumer, taking it from the one that has it."""
        delivery = self.pending.get(number)
        if delivery is None:
            delivery = Delivery(consumer, time_ms, count)
            self.pending.add(number, delivery)
            consumer.pending.add(number, delivery)
            if self._by_time is not None:
                heappush(self._by_time, (time_ms, number))
            return delivery
        if delivery.consumer is not consumer:
            delivery.consumer.pending.remove(number)
            delivery.consumer = consumer
            consumer.pending.add(number, delivery)
        delivery.time_ms = time_ms
        delivery.count = count
        if self._by_time is not None:
            heappush(self._by_time, (time_ms, number))
        return delivery

    def longest_idle(self, latest_ms: int, count: int, there: Callable[[int], bool]) -> list[int]:
        """The pending entries that were delivered at `latest_ms` or before, the longest ago first; 0 for no limit.

        there: whether an entry is still in the stream; others do not count. O(log N) each, but for the first time.
        They are to be assigned anew: the next time they are not found under the time that they had.
        """
        found: list[int] = []
        while (due := self.next_idle(there)) is not None and due[0] <= latest_ms and (not count or len(found) < count):
            assert self._by_time is not None
            _, number = heappop(self._by_time)
            if not found or found[-1] != number:  # one that was assigned twice within a millisecond
                found.append(number)
        return found

    def next_idle(self, there: Callable[[int], bool]) -> tuple[int, int] | None:
        """Time of delivery and id of the entry that has been idle for the longest; None when none is pending."""
        by_time = self._by_time
        if by_time is None or len(by_time) > 2 * len(self.pending) + _CHUNK:
            by_time = self._by_time = [(one.time_ms, number) for number, one in self.pending.entries.items()]
            heapify(by_time)
        while by_time:
            time_ms, number = by_time[0]
            delivery = self.pending.get(number)
            if delivery is not None and delivery.time_ms == time_ms and there(number):
                return by_time[0]
            heappop(by_time)
        return None

    def release(self, number: int) -> bool:
        """The entry is not pending any more. False when it was not."""
        delivery = self.pending.get(number)
        if delivery is None:
            return False
        self.pending.remove(number)
        delivery.consumer.pending.remove(number)
        return True

    def drop_consumer(self, name: bytes) -> int:
        """Remove a consumer with what it has pending. Returns how many entries that were."""
        consumer = self.consumers.pop(name, None)
        if consumer is None:
            return 0
        for number in consumer.pending.entries:
            self.pending.remove(number)
        return len(consumer.pending)

    def __len__(self) -> int:
        return len(self.pending)
