"""Streams: entries in order of their ids, in nodes as Redis cuts them, and the consumer groups that read them.

Both ends are O(1) amortized, seeking an id is O(log N). An entry that is deleted stays in its node as a mark; the node
goes when its last valid entry does. `length`, `entries_added`, `max_deleted_id` and the two edges are what XINFO shows
and what a group's lag is calculated from.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Protocol

from node.types.stream_groups import UNKNOWN, ConsumerGroup
from node.types.stream_id import ID_MAX, MS_SHIFT, format_id
from node.types.stream_node import Node, Render
from node.types.stream_radix import RadixNodes

NODE_BYTES_MAX = 1 << 30
"""Redis's bound of a node, and of the fields and values of one entry together."""

_SEQUENCES_MAX = 1024
_SEQUENCES = [b"%d" % number for number in range(_SEQUENCES_MAX)]
"""Sticking two texts together is faster than formatting two numbers of which one is beyond 64 bits."""
_NO_STAMP = (-1, 0, b"")

_COUNTERS_MAX = 40
"""More than a node's listpack takes beside its head and body."""

_first = attrgetter("first")
_GONE = Node(0, [])
_WARM_MAX = 2


class StreamLimits(Protocol):
    """The settings of the same names; 0 is no limit."""

    @property
    def stream_node_max_entries(self) -> int: ...

    @property
    def stream_node_max_bytes(self) -> int: ...


def _bytes_max(setting: int) -> int:
    return setting if 0 < setting <= NODE_BYTES_MAX else NODE_BYTES_MAX


class Stream:
    """The value of a stream key; it may be empty.

    last_id: the highest id ever given or set. first_id: that of the first entry, 0 when there is none.
    """

    __slots__ = (
        "_nodes",
        "_radix",
        "_stamp",
        "_start",
        "_warm",
        "entries_added",
        "first_id",
        "groups",
        "last_id",
        "length",
        "max_deleted_id",
    )

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._start = 0
        """Nodes before this place are gone."""
        self._radix: RadixNodes | None = None
        """None until somebody asks."""
        self._stamp = _NO_STAMP
        """The millisecond in which ids were given last, its first id, and how the texts of its ids begin."""
        self._warm: list[Node] = []
        """Nodes that keep what readers were shown."""
        self.length = 0
        self.last_id = 0
        self.first_id = 0
        self.max_deleted_id = 0
        self.entries_added = 0
        self.groups: dict[bytes, ConsumerGroup] = {}

    def __len__(self) -> int:
        return self.length

    def copy(self) -> Stream:
        """An equal stream that shares nothing that changes with this one."""
        twin = Stream()
        twin._nodes = [node.copy() for node in self.nodes()]
        twin.length, twin.last_id, twin.first_id = self.length, self.last_id, self.first_id
        twin.max_deleted_id, twin.entries_added = self.max_deleted_id, self.entries_added
        twin.groups = {name: group.copy() for name, group in self.groups.items()}
        return twin

    def encoding(self, limits: StreamLimits) -> str:
        """What OBJECT ENCODING calls it."""
        return "stream"

    def parts(self) -> int:
        """What freeing it takes apart."""
        return len(self._nodes) + sum(len(group) for group in self.groups.values())

    # Nodes --------------------------------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """The nodes in order."""
        return self._nodes[self._start :]

    def node_count(self) -> int:
        """How many nodes there are."""
        return len(self._nodes) - self._start

    def load_node(self, node: Node) -> None:
        """Add a node behind all others, without counting its entries."""
        self._radix = None
        self._nodes.append(node)

    def _remove_front(self, count: int) -> None:
        start = self._start
        if self._radix is not None:
            firsts = self._firsts(start - 1, start + count + 2)
            self._radix.change(firsts, [None, *firsts[-2:]])
        self._nodes[start : start + count] = [_GONE] * count
        self._start = start = start + count
        if start * 2 >= len(self._nodes):
            del self._nodes[:start]
            self._start = 0

    def _remove_node(self, at: int) -> None:
        if at == self._start:
            self._remove_front(1)
            return
        if self._radix is not None:
            firsts = self._firsts(at - 2, at + 3)
            self._radix.change(firsts, [*firsts[:2], *firsts[3:]])
        del self._nodes[at]

    def _firsts(self, begin: int, end: int) -> list[int | None]:
        """The first ids of the nodes at these places; None where there is none."""
        nodes = self._nodes
        return [nodes[at].first if self._start <= at < len(nodes) else None for at in range(begin, end)]

    def radix_nodes(self) -> int:
        """How many nodes Redis's radix tree has over the listpacks' 16-byte keys. O(1) but for the first time."""
        if self._radix is None:
            self._radix = RadixNodes([node.first for node in self.nodes()])
        return len(self._radix)

    # Adding -------------------------------------------------------------------------------------------------------

    def next_id(self, now_ms: int) -> tuple[int, bytes]:
        """The id that XADD * gives at this time, also as text. Not to be asked once last_id is the highest id."""
        ms, first, text = self._stamp
        number = self.last_id + 1
        if ms != now_ms:
            first = now_ms << MS_SHIFT
            if first < number:
                return number, format_id(number)
            text = b"%d-" % now_ms
            self._stamp = now_ms, first, text
            number = first
        sequence = number - first
        if sequence < 0:  # XSETID went back
            number, sequence = first, 0
        return number, text + _SEQUENCES[sequence] if sequence < _SEQUENCES_MAX else format_id(number)

    def append(self, number: int, fields: list[bytes], values: list[bytes], size: int, limits: StreamLimits) -> None:
        """Add an entry. Its id must be above last_id; size: bytes of fields and values, at most NODE_BYTES_MAX."""
        nodes = self._nodes
        if nodes:
            node = nodes[-1]
            most = limits.stream_node_max_entries
            if (most and len(node.offsets) >= most) or (
                len(node.body) + len(node.head) + size + _COUNTERS_MAX >= limits.stream_node_max_bytes
                and node.size() + size >= _bytes_max(limits.stream_node_max_bytes)
            ):
                node = self._begin(Node(number, node.fields, node.head) if node.fields == fields else Node(number, fields))
        else:
            node = self._begin(Node(number, fields))
        node.append(number, fields, values)
        self.entries_added += 1
        self.last_id = number
        self.length = length = self.length + 1
        if length == 1:
            self.first_id = number

    def _begin(self, node: Node) -> Node:
        self._nodes.append(node)
        if self._radix is not None:
            firsts = self._firsts(len(self._nodes) - 3, len(self._nodes) + 1)
            self._radix.change([*firsts[:2], None], firsts)
        return node

    # Removing -----------------------------------------------------------------------------------------------------

    def _find(self, number: int) -> tuple[int, int] | None:
        """Where a valid entry is: its node's place and its index there."""
        at = bisect_right(self._nodes, number, self._start, key=_first) - 1
        if at < self._start:
            return None
        node = self._nodes[at]
        index = node.at_or_after(number)
        if index == len(node) or node.id_at(index) != number or node.is_deleted(index):
            return None
        return at, index

    def delete(self, number: int) -> bool:
        """Remove an entry (XDEL). False when there is none with this id."""
        found = self._find(number)
        if found is None:
            return False
        at, index = found
        node = self._nodes[at]
        if node.count == 1:
            self._remove_node(at)
        else:
            node.mark_deleted(index)
        self.length -= 1
        self.max_deleted_id = max(self.max_deleted_id, number)
        if number == self.first_id:
            self.first_id = self.first_valid_id()
        return True

    def is_within(self, most: int, whole_nodes: bool) -> bool:
        """Whether trimming to this length would find nothing to remove: the usual answer, in O(1)."""
        length = self.length
        return length <= most or (whole_nodes and length - self._nodes[self._start].count < most)

    def trim_to_length(self, most: int, whole_nodes: bool, limit: int) -> int:
        """Remove the oldest entries until `most` are left. Returns how many went.

        whole_nodes: only as many whole nodes as that takes. limit: at most so many entries; 0 for no limit.
        """
        removed = nodes = 0
        if self.is_within(most, whole_nodes):
            return 0
        for node in self._from_front():
            if self.length - removed <= most or (limit and removed + node.count > limit):
                break
            if self.length - removed - node.count < most:
                if not whole_nodes:
                    removed += self._mark_first(node, self.length - removed - most)
                break
            removed += node.count
            nodes += 1
        return self._trimmed(nodes, removed)

    def trim_before(self, lowest: int, whole_nodes: bool, limit: int) -> int:
        """Remove the entries whose ids are below `lowest`; the rest is as in `trim_to_length`."""
        removed = nodes = 0
        for node in self._from_front():
            if limit and removed + node.count > limit:
                break
            if node.id_at(-1) >= lowest:
                if not whole_nodes:
                    stop = node.at_or_after(lowest)
                    removed += self._mark_first(node, sum(not node.is_deleted(at) for at in range(stop)))
                break
            removed += node.count
            nodes += 1
        return self._trimmed(nodes, removed)

    def doomed(
        self, most: int | None, lowest: int, whole_nodes: bool, limit: int, keep: Callable[[int], bool]
    ) -> list[int]:
        """The ids of the entries that trimming would remove if it looked at each, and passed over those to keep.

        most: how many entries may be left; None to take what is below `lowest`. The rest is as in `trim_to_length`.
        """
        found: list[int] = []
        for node in self._from_front():
            left = self.length - len(found)
            if (most is not None and left <= most) or (limit and len(found) + node.count > limit):
                break
            whole = node.id_at(-1) < lowest if most is None else left - node.count >= most
            if whole_nodes and not whole:
                break
            for index in range(len(node)):
                if node.is_deleted(index):
                    continue
                number = node.id_at(index)
                if number >= lowest if most is None else self.length - len(found) <= most:
                    return found
                if not keep(number):
                    found.append(number)
        return found

    def is_referenced(self, number: int) -> bool:
        """Whether a group was not given this entry yet, or has it pending. O(number of groups)."""
        return any(number > group.last_id or number in group.pending.entries for group in self.groups.values())

    def _from_front(self) -> Iterator[Node]:
        for at in range(self._start, len(self._nodes)):
            yield self._nodes[at]

    @staticmethod
    def _mark_first(node: Node, count: int) -> int:
        """Mark the first `count` valid entries of a node as deleted."""
        for _ in range(count):
            node.mark_deleted(node.start)
        return count

    def _trimmed(self, nodes: int, removed: int) -> int:
        if nodes:
            self._remove_front(nodes)
        if removed:
            self.length -= removed
            self.first_id = self.first_valid_id()
        return removed

    def first_valid_id(self) -> int:
        """The id of the first valid entry, 0 when there is none."""
        for node in self._from_front():
            if node.count:
                return node.id_at(node.start)
        return 0

    def oldest_mark(self) -> int:
        """The id of the first entry, deleted or not; the highest id there is when there is none."""
        node = next(self._from_front(), None)
        return ID_MAX if node is None else node.id_at(0)

    def last_mark(self) -> int:
        """The id of the last entry, deleted or not; -1 when there is none."""
        return self._nodes[-1].id_at(-1) if self._nodes else -1

    # Reading ------------------------------------------------------------------------------------------------------

    def last_valid_id(self) -> int:
        """The id of the last entry, 0 when there is none."""
        for place in range(len(self._nodes) - 1, self._start - 1, -1):
            node = self._nodes[place]
            if node.count:
                return node.id_at(next(at for at in range(len(node) - 1, -1, -1) if not node.is_deleted(at)))
        return 0

    def __contains__(self, number: int) -> bool:
        return self._find(number) is not None

    def spans(self, low: int, high: int, reverse: bool = False) -> Iterator[tuple[Node, int, int]]:
        """Nodes, and from and to before which index their entries have ids from `low` to `high`, both included."""
        nodes = self._nodes
        begin = max(bisect_right(nodes, low, self._start, key=_first) - 1, self._start)
        end = bisect_right(nodes, high, begin, key=_first)
        places = range(end - 1, begin - 1, -1) if reverse else range(begin, end)
        for place in places:
            node = nodes[place]
            start = node.at_or_after(low) if place == begin else 0
            stop = len(node) if place < end - 1 or node.id_at(-1) <= high else node.at_or_after(high + 1)
            if start < stop:
                yield node, start, stop

    def show(self, low: int, high: int, count: int, render: Render, reverse: bool = False) -> list[bytes]:
        """What `render` makes of the entries from `low` to `high`, `count` of them at most; 0 for no limit."""
        found: list[bytes] = []
        for node, start, stop in self.spans(low, high, reverse):
            if node.shown is None:
                self._warm_up(node)
            while start < stop:
                some = stop - start if not count else min(count - len(found), stop - start)
                if reverse:
                    found += node.show(stop - some, stop, render)[::-1]
                    stop -= some
                else:
                    found += node.show(start, start + some, render)
                    start += some
                if count and len(found) >= count:
                    return found
        return found

    def _warm_up(self, node: Node) -> None:
        """This node keeps what it shows from now on, the one before last does not any more."""
        self._warm.append(node)
        if len(self._warm) > _WARM_MAX:
            self._warm.pop(0).shown = None

    def show_one(self, number: int, render: Render) -> bytes | None:
        """What `render` makes of the entry with this id; None when there is none."""
        found = self.show(number, number, 1, render)
        return found[0] if found else None

    def ids(self, low: int, high: int, count: int) -> list[int]:
        """The ids of the entries that `show` shows."""
        found: list[int] = []
        for node, start, stop in self.spans(low, high):
            for index in range(start, stop):
                if not node.deleted or not node.is_deleted(index):
                    found.append(node.id_at(index))
                    if len(found) == count:
                        return found
        return found

    def entries(self) -> Iterator[tuple[int, list[bytes]]]:
        """All entries: id, and fields and values in turn."""
        for node in self.nodes():
            yield from node.entries(0, len(node))

    # Progress of groups -------------------------------------------------------------------------------------------

    def has_marks_from(self, start: int) -> bool:
        """Whether a gap among the entries lies behind `start`, so that what follows can not be counted."""
        deleted = self.max_deleted_id
        return bool(self.length and deleted and start <= deleted)

    def position_of(self, number: int) -> int:
        """How many entries were added up to this id, or UNKNOWN."""
        if not self.entries_added:
            return 0
        if number == self.last_id or (not self.length and number < self.last_id):
            return self.entries_added
        if number > self.last_id or 0 < number < self.max_deleted_id:
            return UNKNOWN
        if not self.max_deleted_id or self.max_deleted_id < self.first_id:
            if number < self.first_id:
                return self.entries_added - self.length
            if number == self.first_id:
                return self.entries_added - self.length + 1
        return UNKNOWN

    def advance(self, group: ConsumerGroup, number: int) -> None:
        """A group was given the entry with this id, which is above the last that it was given."""
        if group.entries_read != UNKNOWN and group.last_id >= self.first_id and not self.has_marks_from(group.last_id):
            group.entries_read += 1
        elif self.entries_added:
            group.entries_read = self.position_of(number)
        group.last_id = number

    def lag(self, group: ConsumerGroup) -> int | None:
        """How many entries the group was not given yet; None when that can not be told."""
        if not self.entries_added:
            return 0
        if group.entries_read != UNKNOWN and not self.has_marks_from(group.last_id):
            return self.entries_added - group.entries_read
        position = self.position_of(group.last_id)
        return None if position == UNKNOWN else self.entries_added - position
