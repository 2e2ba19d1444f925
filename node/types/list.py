"""Lists: elements are bytes, in blocks that are the nodes of Redis's quicklist, or packed while they are few.

A list that Redis would hold as one listpack is packed: a zero byte, then each element with a zero byte behind it, in
one bytes object (a Python object for each element would take three times that). A list with a zero byte in an element,
or above some kilobytes, is one block. Everything longer is a list of blocks: both ends change in O(1), a place in the
middle is found by bisection over the blocks, and what is inserted or removed there moves one block. Blocks that are not
near an end are sealed, all but the one that was changed last.

Where blocks begin and end, and when a list is a listpack or a quicklist, follows `quicklist.c` and `t_list.c` of Redis
7.2, so that OBJECT ENCODING is the same and the bytes of DUMP are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, chain, islice

from node.types.blocks import (
    ABOVE_INTEGERS,
    ESTIMATE,
    LISTPACK_OVERHEAD,
    PACKED_MAX,
    PLAIN,
    ROOM,
    Block,
    ListLimits,
    entry_size,
    exceeds,
    matches,
    node_limits,
    packed_form,
    packed_part,
    remove_from,
)

_EMPTY_PACK = b"\0"
OPEN = 2
"""How many blocks stay open at either end: so none is sealed and opened again by pushing and popping around its edge."""


class List:
    """The value of a list key; never empty while the key exists.

    fill: None for a listpack; for a quicklist the setting when it was made, which its nodes go by. packed: the elements
    of a small listpack; None when they are in `blocks`. size: of a listpack, its bytes. loaded: it comes from a file
    and is to be put in the form that the settings ask for before it changes.
    """

    __slots__ = ("_changed", "_ends", "_stamp", "blocks", "count", "fill", "loaded", "packed", "size")

    def __init__(self) -> None:
        self.packed: bytes | None = _EMPTY_PACK
        self.blocks: list[Block] = _NO_BLOCKS
        self.count = 0
        self.size = LISTPACK_OVERHEAD
        self.fill: int | None = None
        self.loaded = False
        self._ends: list[int] | None = None
        self._changed: Block | None = None
        """The block away from the ends that was opened last."""
        self._stamp: bytes | None = None

    @staticmethod
    def from_nodes(nodes: list[Block], *, stays_quicklist: bool = False) -> List:
        """A list as loaded from a file: its nodes, none of them empty. One node is a listpack, where that may be."""
        made = List()
        made.count = sum(map(len, nodes))
        made.loaded = True
        made.packed = None
        made.blocks = nodes
        for node in nodes[OPEN:-OPEN]:
            node.seal()
        if len(nodes) == 1 and nodes[0].size != PLAIN and not stays_quicklist:
            made._become_listpack()
        else:
            made.fill = -2
        return made

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.elements()) if self.packed is not None else chain.from_iterable(self.blocks)

    def stamp(self) -> bytes:
        """An object that is the same for as long as the elements are."""
        if self.packed is not None:
            return self.packed
        if self._stamp is None:
            self._stamp = b"%d" % id(self)
        return self._stamp

    def elements(self) -> list[bytes]:
        """All elements from head to tail, in a list of the caller's own."""
        packed = self.packed
        if packed is None:
            return list(chain.from_iterable(self.blocks))
        return packed[1:-1].split(b"\0") if self.count else []

    def nodes(self) -> list[Block]:
        """The nodes that Redis would have. Not to be changed."""
        return [Block(self.elements(), self.size)] if self.packed is not None else self.blocks

    def copy(self) -> List:
        """An equal list that shares nothing with this one."""
        twin = List()
        twin.packed, twin.count, twin.size = self.packed, self.count, self.size
        twin.fill, twin.loaded = self.fill, self.loaded
        if self.packed is None:
            twin.blocks = [block.copy() for block in self.blocks]
        return twin

    # Encoding -----------------------------------------------------------------------------------------------------

    def encoding(self, limits: ListLimits) -> str:
        """What OBJECT ENCODING calls it."""
        if self.loaded:
            self.settle(limits)
        return "listpack" if self.fill is None else "quicklist"

    def settle(self, limits: ListLimits) -> None:
        """Bring a list as loaded into the form that Redis would have given it while loading."""
        self.loaded = False
        fill = limits.list_max_listpack_size
        if self.fill is not None:
            self.fill = fill
        elif exceeds(fill, self.size, self.count):
            self._become_quicklist(fill)

    def grow(self, values: list[bytes], limits: ListLimits) -> None:
        """These values are about to be added: become a quicklist first when a listpack would not hold them."""
        if self.loaded:
            self.settle(limits)
        if self.fill is None:
            fill = limits.list_max_listpack_size
            if exceeds(fill, self.size + sum(map(len, values)), self.count + len(values)):
                self._become_quicklist(fill)

    def _become_quicklist(self, fill: int) -> None:
        if self.packed is not None:
            self.blocks = [Block(self.elements(), self.size)] if self.count else []
            self.packed = self._stamp = None
        else:
            self.blocks[0].size = self.size
        self.fill = fill

    def _become_listpack(self) -> None:
        block = self.blocks[0]
        self.fill = None
        self.size = block.size
        self.packed = packed_form(block.opened())
        self._ends = self._changed = self._stamp = None
        if self.packed is not None:
            self.blocks = _NO_BLOCKS

    def shrink(self, limits: ListLimits) -> None:
        """Something was removed: become a listpack when one node is left, of half the size that a listpack may have."""
        if self.fill is None or len(self.blocks) != 1:
            return
        size_max, count_max = node_limits(limits.list_max_listpack_size)
        if self.blocks[0].size <= size_max // 2 and self.count <= count_max // 2:
            self._become_listpack()

    def _edited(self) -> list[bytes]:
        """The elements of a listpack, to be changed and given to `_keep`."""
        return self.elements() if self.packed is not None else self.blocks[0].opened()

    def _keep(self, elements: list[bytes], grown: int) -> None:
        """Be a listpack of these elements, which take so many bytes more than the list did."""
        self.count = len(elements)
        self.size += grown
        self._stamp = None
        if self.packed is not None:
            self.packed = packed_form(elements)
            if self.packed is None:
                self.blocks = [Block(elements, self.size)]

    # Both ends ----------------------------------------------------------------------------------------------------

    def push(self, values: list[bytes], head: bool, limits: ListLimits) -> None:
        """Add values one after the other at the head or the tail. O(1) each."""
        if self.fill is None or self.loaded:
            self.grow(values, limits)
            if self.fill is None:
                self._push_small(values, head)
                return
        self._ends = self._stamp = None
        self.count += len(values)
        size_max, count_max = ROOM[self.fill]
        blocks = self.blocks
        block = blocks[0 if head else -1] if blocks else self._begin(head)
        items = block.items or block.opened()
        for value in values:
            size = len(value)
            if items and (block.size + size + ESTIMATE > size_max or len(items) >= count_max):
                block = self._begin(head)
                items = block.opened()
            if head:
                items[:0] = (value,)  # half the time of `insert`
            else:
                items.append(value)
            # the usual text, for which a call would cost more than all the rest
            block.size += size + 2 if size < 64 and value >= ABOVE_INTEGERS else entry_size(value)

    def _begin(self, head: bool) -> Block:
        """A new block at an end; one that is no longer near it is sealed."""
        block = Block(size=LISTPACK_OVERHEAD)
        blocks = self.blocks
        blocks.insert(0 if head else len(blocks), block)
        if len(blocks) > 2 * OPEN:
            blocks[OPEN if head else -1 - OPEN].seal()
        return block

    def _open_at(self, at: int) -> list[bytes]:
        """The elements of a block, to be changed; the one that was opened before it is sealed."""
        block = self.blocks[at]
        before = self._changed
        if before is not block and OPEN <= at < len(self.blocks) - OPEN:
            if before is not None:
                before.seal()
            self._changed = block
        return block.opened()

    def _push_small(self, values: list[bytes], head: bool) -> None:
        packed = self.packed
        self.count += len(values)
        self.size += entry_size(values[0]) if len(values) == 1 else sum(map(entry_size, values))
        if packed is None:
            self._stamp = None
            block = self.blocks[0].opened()
            if head:
                block[:0] = values[::-1]
            else:
                block += values
            return
        for at, value in enumerate(values):
            if b"\0" in value or len(packed) + len(value) >= PACKED_MAX:
                done = packed[1:-1].split(b"\0") if len(packed) > 1 else []
                rest = values[at:]
                self.packed = None
                self.blocks = [Block(rest[::-1] + done if head else done + rest, self.size)]
                return
            packed = b"\0%b%b" % (value, packed) if head else b"%b%b\0" % (packed, value)
        self.packed = packed

    def pop(self, head: bool, limits: ListLimits) -> bytes:
        """Remove and return the first or the last element; `shrink` is the caller's to ask for afterwards. O(1)."""
        if self.loaded:
            self.settle(limits)
        packed = self.packed
        self.count -= 1
        if packed is not None:
            if head:
                at = packed.index(0, 1)
                value = packed[1:at]
                self.packed = packed[at:]
            else:
                at = packed.rindex(0, 0, -1)
                value = packed[at + 1 : -1]
                self.packed = packed[: at + 1]
            self.size -= entry_size(value)
            return value
        at = 0 if head else -1
        block = self.blocks[at]
        items = block.items or block.opened()
        value = items.pop(at)
        self._stamp = None
        size = len(value)
        size = size + 2 if size < 64 and value >= ABOVE_INTEGERS else entry_size(value)
        if self.fill is None:
            self.size -= size
            return value
        self._ends = None
        if items:
            block.size -= size
        else:
            del self.blocks[at]
        return value

    def pop_many(self, count: int, head: bool, limits: ListLimits) -> list[bytes]:
        """Remove up to `count` elements at one end. Returns them in the order in which they left."""
        if self.loaded:
            self.settle(limits)
        count = min(count, self.count)
        taken = self.range(0, count - 1) if head else self.range(self.count - count, self.count - 1)[::-1]
        self._cut(count, head)
        self.shrink(limits)
        return taken

    def trim(self, before: int, behind: int, limits: ListLimits) -> None:
        """Remove so many elements at the head and so many at the tail; not more than there are."""
        if self.loaded:
            self.settle(limits)
        self._cut(before, True)
        self._cut(behind, False)
        self.shrink(limits)

    def _cut(self, count: int, head: bool) -> None:
        """Remove `count` elements at one end."""
        if not count:
            return
        if self.fill is None:
            elements = self._edited()
            part = slice(0, count) if head else slice(len(elements) - count, None)
            shrunk = sum(map(entry_size, elements[part]))
            del elements[part]
            self._keep(elements, -shrunk)
            return
        self._ends = self._stamp = None
        self.count -= count
        blocks = self.blocks
        whole = 0
        while count and len(blocks[whole if head else -1 - whole]) <= count:
            count -= len(blocks[whole if head else -1 - whole])
            whole += 1
            if whole == len(blocks):
                break
        del blocks[slice(0, whole) if head else slice(len(blocks) - whole, None)]
        if count:
            block = blocks[0 if head else -1]
            items = block.opened()
            part = slice(0, count) if head else slice(len(items) - count, None)
            block.size -= sum(map(entry_size, items[part]))
            del items[part]

    # Anywhere -----------------------------------------------------------------------------------------------------

    def _locate(self, index: int) -> tuple[int, int]:
        """The block of the element at `index` (0 to count - 1), and its place in it."""
        blocks = self.blocks
        if index < len(blocks[0]):
            return 0, index
        from_end = self.count - index
        if from_end <= len(blocks[-1]):
            return len(blocks) - 1, len(blocks[-1]) - from_end
        ends = self._ends
        if ends is None:
            ends = self._ends = list(accumulate(map(len, blocks)))
        at = bisect_right(ends, index)
        return at, index - ends[at - 1]

    def at(self, index: int) -> bytes:
        """The element at `index`, 0 to count - 1."""
        if self.packed is not None:
            return self.range(index, index)[0]
        at, offset = self._locate(index)
        block = self.blocks[at]
        return block.part(offset, offset + 1)[0] if block.items is None else block.items[offset]

    def range(self, start: int, stop: int) -> list[bytes]:
        """The elements from `start` to `stop`, both included and in 0 to count - 1; [] when stop is before start."""
        if stop < start:
            return []
        packed = self.packed
        if packed is not None:
            return packed_part(packed, self.count, start, stop + 1)
        at, offset = self._locate(start)
        blocks = self.blocks
        wanted = stop + 1 - start
        found = blocks[at].part(offset, offset + wanted)
        while len(found) < wanted:
            at += 1
            block = blocks[at]
            missing = wanted - len(found)
            found += block.elements() if len(block) <= missing else block.part(0, missing)
        return found

    def replace(self, index: int, value: bytes, limits: ListLimits) -> None:
        """Put `value` in place of the element at `index`, 0 to count - 1. `grow` was asked before."""
        if self.fill is None:
            elements = self._edited()
            grown = entry_size(value) - entry_size(elements[index])
            elements[index] = value
            self._keep(elements, grown)
            return
        self._stamp = None
        at, offset = self._locate(index)
        block = self.blocks[at]
        if block.size == PLAIN:
            self.blocks[at] = Block([value])
        else:
            items = self._open_at(at)
            block.size += entry_size(value) - entry_size(items[offset])
            items[offset] = value
        self.shrink(limits)

    def insert(self, pivot: bytes, value: bytes, after: bool) -> bool:
        """Put `value` beside the first `pivot`; False when there is none. `grow` was asked before. O(N)."""
        if self.fill is None:
            elements = self._edited()
            if pivot not in elements:
                return False
            elements.insert(elements.index(pivot) + after, value)
            self._keep(elements, entry_size(value))
            return True
        for at, block in enumerate(self.blocks):
            if pivot in block:
                self.count += 1
                self._ends = self._stamp = None
                self._insert_at(at, self._open_at(at).index(pivot), value, after)
                return True
        return False

    def _insert_at(self, at: int, offset: int, value: bytes, after: bool) -> None:
        """Insert beside a place in a block: `_quicklistInsert`."""
        blocks = self.blocks
        block = blocks[at]
        items = block.opened()
        fill = self.fill
        assert fill is not None
        size = entry_size(value)
        if block.has_room(value, fill):
            items.insert(offset + after, value)
            block.size += size
            return
        at_edge = offset == (len(block) - 1 if after else 0)
        beside = at + 1 if after else at - 1
        if at_edge and 0 <= beside < len(blocks) and blocks[beside].has_room(value, fill):
            self._open_at(beside).insert(0 if after else len(blocks[beside]), value)
            blocks[beside].size += size
        elif at_edge:
            blocks.insert(at + after, Block([value]))
        else:
            part = slice(offset + 1, None) if after else slice(0, offset)
            moved = items[part]
            del items[part]
            made = Block([value, *moved] if after else [*moved, value])
            block.size -= made.size - size - LISTPACK_OVERHEAD
            blocks.insert(at + after, made)
            self._merge_around(at if after else at + 1)

    def _merge_around(self, center: int) -> None:
        """Merge neighbours that fit one node, in the order of `_quicklistMergeNodes`."""
        if center >= 2 and self._merge(center - 2):
            center -= 1
        self._merge(center + 1)
        if center >= 1 and self._merge(center - 1):
            center -= 1
        self._merge(center)

    def _merge(self, at: int) -> bool:
        """Merge the blocks at `at` and behind it, if they are there and fit one node."""
        blocks = self.blocks
        assert self.fill is not None
        if at + 1 >= len(blocks):
            return False
        one, other = blocks[at], blocks[at + 1]
        size = one.size + other.size - LISTPACK_OVERHEAD
        if PLAIN in (one.size, other.size) or exceeds(self.fill, size, len(one) + len(other)):
            return False
        self._open_at(at).extend(other.elements())
        one.size = size
        del blocks[at + 1]
        return True

    def remove(self, value: bytes, count: int, limits: ListLimits) -> int:
        """Remove elements that are `value`: `count` from the head, -count from the tail, all for 0. How many went."""
        if self.loaded:
            self.settle(limits)
        left = abs(count) or self.count
        size = entry_size(value)
        gone = 0
        if self.fill is None:
            elements = self._edited()
            if value in elements:
                gone = remove_from(elements, value, left, count < 0)
                self._keep(elements, -gone * size)
            return gone
        places = range(len(self.blocks) - 1, -1, -1) if count < 0 else range(len(self.blocks))
        for at in places:
            block = self.blocks[at]
            if value in block:
                removed = remove_from(self._open_at(at), value, left - gone, count < 0)
                block.size -= removed * size
                gone += removed
                if gone == left:
                    break
        if gone:
            self.blocks[:] = [block for block in self.blocks if len(block)]
            self.count -= gone
            self._ends = self._stamp = None
            self.shrink(limits)
        return gone

    def positions(self, value: bytes, rank: int, count: int, compared_max: int) -> list[int]:
        """Indices of elements that are `value` (LPOS).

        rank: 1 for the first match and those behind it, -1 for the last and those before it, never 0. count: so many
        matches, 0 for all. compared_max: look at so many elements only, 0 for all.
        """
        skipped = abs(rank) - 1
        limit = skipped + count if count else self.count
        looked_at = min(compared_max or self.count, self.count)
        found = list(islice(matches(self.nodes(), self.count, value, rank < 0, looked_at), limit))
        return found[skipped:]


_NO_BLOCKS: list[Block] = []
"""What `blocks` is while a list is packed: never changed."""
