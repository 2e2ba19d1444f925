"""Keys of slots that are not this node's any more: removed little by little, and not to be seen meanwhile. No I/O.

Their slots are hidden at once; then a slice of keys goes in every turn of the loop. Replicas are told with UNLINK, some keys
at a time. Should a slot come back before it is empty, the rest goes at once, before anybody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from cluster.slotmap import bits_of
from node.client import Unusual

if TYPE_CHECKING:
    from node.state import Node

_REPLICA = int(Unusual.REPLICA)
_KEYS_PER_SLICE = 512
_KEYS_PER_COMMAND = 128


class Cleaner:
    """All slots that are to be emptied."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._slots: dict[int, None] = {}
        self._afterwards: list[tuple[set[int], Callable[[], None]]] = []
        self._working = False

    def __bool__(self) -> bool:
        return bool(self._slots)

    def __contains__(self, slot: int) -> bool:
        return slot in self._slots

    @property
    def bits(self) -> int:
        """The slots, as the bits of a number."""
        return bits_of(self._slots)

    def clean(self, slots: Iterable[int], afterwards: Callable[[], None] | None = None) -> None:
        """Empty these slots; when that is done, call `afterwards`. A few keys go before this returns."""
        keys = self._node.databases[0].slots
        full = [slot for slot in slots if keys[slot]]
        self._node.databases[0].hidden.update(full)
        self._slots.update(dict.fromkeys(full))
        if afterwards is not None:
            self._afterwards.append((set(full), afterwards))
        if not self._working:
            self._work()

    def finish(self, slots: Iterable[int]) -> None:
        """Empty these slots now, if they are to be emptied at all."""
        for slot in slots:
            if slot in self._slots:
                self._empty(slot, 1 << 62)
        self._end_jobs()

    def _work(self) -> None:
        self._working = False
        if self._node.unusual & _REPLICA:
            # What happens to the data of a replica is its primary's to say, which sees to the same slots.
            self._node.databases[0].hidden.difference_update(self._slots)
            self._slots.clear()
        left = _KEYS_PER_SLICE
        while self._slots and left > 0:
            left -= self._empty(next(iter(self._slots)), left)
        self._end_jobs()
        self._node.replication.flush()
        if self._slots and not self._working:
            self._working = True
            self._node.io.call_later(1, self._work)

    def _empty(self, slot: int, count: int) -> int:
        """Remove up to so many keys of a slot. Returns how many went (and a few for the slot itself)."""
        node = self._node
        database, context = node.databases[0], node.context
        before = context.client, context.database, context.slot
        context.client = node.myself
        context.point_at(database, slot)
        gone = list(islice(context.keys, count))
        for at in range(0, len(gone), _KEYS_PER_COMMAND):
            some = gone[at : at + _KEYS_PER_COMMAND]
            for key in some:
                context.discard(key)
            node.propagate(database, [b"UNLINK", *some])
        node.watches.touch(gone)
        if not context.keys:
            del self._slots[slot]
            database.hidden.discard(slot)
        context.client = before[0]
        context.point_at(before[1], before[2])
        return len(gone) + 4

    def _end_jobs(self) -> None:
        for job in list(self._afterwards):
            if not any(slot in self._slots for slot in job[0]):
                self._afterwards.remove(job)
                job[1]()

