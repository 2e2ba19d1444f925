"""Who owns which slot, as this node sees it, and which of its slots are on the move.

The table answers by slot (every redirect asks) and by owner (every ping tells and compares): a list for the first, and
one big integer an owner for the second, in which slot n is bit n, as in the bus's bitmap read little-endian. So claims
of thousands of slots are compared and moved in a few operations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cluster.slots import SlotRange, bitmap_to_ranges, bitmap_to_slots
from gossip.ids import NodeId
from gossip.messages import NO_SLOTS, SLOT_BITMAP_BYTES, SLOT_COUNT

ALL_SLOTS = (1 << SLOT_COUNT) - 1
FEW = 32
"""Up to so many bits are found faster one by one."""


def bits_of(slots: Iterable[int]) -> int:
    """The integer in which exactly these slots' bits are set."""
    bits = 0
    for slot in slots:
        bits |= 1 << slot
    return bits


def ranges_to_bits(ranges: Iterable[SlotRange]) -> int:
    """The integer in which exactly these ranges' bits are set."""
    bits = 0
    for first, last in ranges:
        bits |= ((1 << (last - first + 1)) - 1) << first
    return bits


def slots_in(bits: int) -> list[int]:
    """The slots whose bits are set, ascending."""
    if bits.bit_count() > FEW:
        return bitmap_to_slots(bits.to_bytes(SLOT_BITMAP_BYTES, "little"))
    slots = []
    while bits:
        slot = bits.bit_length() - 1
        slots.append(slot)
        bits ^= 1 << slot
    slots.reverse()
    return slots


@dataclass(frozen=True, slots=True)
class Grant:
    """This node has allowed another to take slots, at the end of an atomic migration, and does not know what came of it.
    job: the migration's name, 40 hex digits."""

    job: str
    target: NodeId
    ranges: tuple[SlotRange, ...]

    @property
    def bits(self) -> int:
        """The slots."""
        return ranges_to_bits(self.ranges)


@dataclass(slots=True)
class Taken:
    """Slots that this node has from another by SETSLOT NODE, with their keys, as integers.

    open: of which that one has not been heard to have given them. given: the others. since_ms: when the last became one.
    noted_ms: when the last of all came.
    """

    open: int = 0
    given: int = 0
    since_ms: int = 0
    noted_ms: int = 0

    @property
    def bits(self) -> int:
        """All of them."""
        return self.open | self.given


class SlotMap:
    """One owner at most for each slot, and this node's open slots.

    migrating: slots that this node owns -> where they go. importing: slots it does not own -> where they come from. On
    a replica both are its primary's, as far as that has told.
    grants: by the migration's name, which of this node's slots another may claim now.
    taken: by their source, slots that came by SETSLOT NODE, until it is sure that it does not claim them any more.
    unclaimed: bits of slots whose owner was heard no longer to claim them; they stay its until somebody does.
    version: grows with every change.
    """

    def __init__(self) -> None:
        self._owner: list[NodeId | None] = [None] * SLOT_COUNT
        self._bits: dict[NodeId, int] = {}
        self._bitmaps: dict[NodeId, bytes] = {}
        self._ranges: dict[NodeId, list[SlotRange]] = {}
        self.migrating: dict[int, NodeId] = {}
        self.importing: dict[int, NodeId] = {}
        self.grants: dict[str, Grant] = {}
        self.taken: dict[NodeId, Taken] = {}
        self.unclaimed = 0
        self.assigned = 0
        self.version = 0

    # Asking -------------------------------------------------------------------------------------------------------

    def owner_of(self, slot: int) -> NodeId | None:
        """The slot's owner."""
        return self._owner[slot]

    def owners(self) -> list[NodeId]:
        """All that own at least one slot."""
        return list(self._bits)

    @property
    def owner_count(self) -> int:
        """How many nodes own slots: the cluster's size, by which majorities are counted."""
        return len(self._bits)

    def bits(self, node: NodeId) -> int:
        """The node's slots as an integer."""
        return self._bits.get(node, 0)

    def count(self, node: NodeId) -> int:
        """How many slots the node owns."""
        return self._bits.get(node, 0).bit_count()

    def granted_to(self, node: NodeId) -> int:
        """The slots that the node may claim now, as an integer."""
        bits = 0
        for grant in self.grants.values():
            if grant.target == node:
                bits |= grant.bits
        return bits

    def bitmap(self, node: NodeId) -> bytes:
        """The node's slots as the bus writes them."""
        bits = self._bits.get(node)
        if bits is None:
            return NO_SLOTS
        bitmap = self._bitmaps.get(node)
        if bitmap is None:
            bitmap = self._bitmaps[node] = bits.to_bytes(SLOT_BITMAP_BYTES, "little")
        return bitmap

    def claimed(self, node: NodeId) -> int:
        """Those of its slots of which the node has not said that it does not own them."""
        return self._bits.get(node, 0) & ~self.unclaimed

    def taken_bits(self) -> int:
        """All slots that came by SETSLOT NODE of late."""
        bits = 0
        for one in self.taken.values():
            bits |= one.bits
        return bits

    def slots_of(self, node: NodeId) -> list[SlotRange]:
        """The node's slots as the fewest ranges, ascending."""
        ranges = self._ranges.get(node)
        if ranges is None:
            ranges = self._ranges[node] = bitmap_to_ranges(self.bitmap(node))
        return ranges

    # Changing -----------------------------------------------------------------------------------------------------

    def assign(self, bits: int, node: NodeId | None) -> set[NodeId]:
        """Make `node` the owner of these slots; None: nobody. Returns all whose slots may differ now."""
        owners = self._owner
        before: set[NodeId | None] = set()
        for slot in slots_in(bits):
            before.add(owners[slot])
            owners[slot] = node
        touched = {owner for owner in before if owner is not None and owner != node}
        for owner in touched:
            self.assigned -= (self._bits[owner] & bits).bit_count()
            self._set_bits(owner, self._bits[owner] & ~bits)
        if node is not None and bits:
            touched.add(node)
            self.assigned += (bits & ~self._bits.get(node, 0)).bit_count()
            self._set_bits(node, self._bits.get(node, 0) | bits)
        self.unclaimed &= ~bits
        self.version += 1
        return touched

    def take(self, bits: int, source: NodeId, now_ms: int) -> None:
        """These slots came by SETSLOT NODE."""
        one = self.taken.setdefault(source, Taken())
        one.open |= bits
        one.noted_ms = now_ms

    def untake(self, bits: int) -> None:
        """These slots are somebody else's, or surely this node's."""
        for source, one in list(self.taken.items()):
            one.open &= ~bits
            one.given &= ~bits
            if not one.bits:
                del self.taken[source]

    def close(self, slot: int) -> None:
        """The slot is no longer on the move."""
        self.migrating.pop(slot, None)
        self.importing.pop(slot, None)
        self.version += 1

    def close_all(self) -> None:
        """No slot is on the move any longer."""
        self.taken.clear()
        self.migrating.clear()
        self.importing.clear()
        self.version += 1

    def close_with(self, node: NodeId) -> None:
        """Slots on the move to or from this node are not any longer: it is gone."""
        self.taken.pop(node, None)
        for opened in (self.migrating, self.importing):
            for slot in [slot for slot, other in opened.items() if other == node]:
                del opened[slot]
        self.version += 1

    def retarget(self, former: NodeId, now: NodeId) -> None:
        """One end of open slots failed over to another node of its shard: they are on the move to or from that one."""
        for opened in (self.migrating, self.importing):
            for slot in [slot for slot, other in opened.items() if other == former]:
                opened[slot] = now
        self.version += 1

    def _set_bits(self, node: NodeId, bits: int) -> None:
        self._bitmaps.pop(node, None)
        self._ranges.pop(node, None)
        if bits:
            self._bits[node] = bits
        else:
            self._bits.pop(node, None)
