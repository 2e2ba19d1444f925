"""Which slots move where: resharding a number of slots, balancing by weights, emptying a node. Pure arithmetic.

Plans move no slot twice and no slot more than needed, and are the same each time for the same cluster, so that one that
was shown is the one that is carried out, and one that was interrupted continues when it is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from cluster.slots import SlotRange, to_ranges
from gossip.ids import NodeId

Slots = Mapping[NodeId, Sequence[int]]
"""The slots of each primary, ascending; every primary is in it, those without slots too."""


class MoveError(Exception):
    """What was asked for can not be planned; the text says why and what to ask for instead."""


@dataclass(frozen=True, slots=True)
class Move:
    """These slots go from source to target. slots: ascending."""

    source: NodeId
    target: NodeId
    slots: tuple[int, ...]

    @property
    def ranges(self) -> list[SlotRange]:
        return to_ranges(self.slots)


def shares(total: int, weights: Mapping[NodeId, float], present: Mapping[NodeId, int]) -> dict[NodeId, int]:
    """`total` divided in proportion to the weights, each node's part rounded down or up.

    Who is rounded up is chosen so that the fewest must move from `present`: first those that have more than their part
    rounded down already, then those whose part is cut most. MoveError unless some weight is above 0 and none below.
    """
    exact_weights = {node: Fraction(weight) for node, weight in weights.items()}
    sum_of_weights = sum(exact_weights.values())
    if any(weight < 0 for weight in exact_weights.values()) or not sum_of_weights:
        raise MoveError("weights are 0 or more, and at least one node needs a weight above 0")
    exact = {node: total * weight / sum_of_weights for node, weight in exact_weights.items()}
    parts = {node: int(part) for node, part in exact.items()}
    cut = [node for node in exact if exact[node] != parts[node]]
    cut.sort(key=lambda node: (present.get(node, 0) <= parts[node], parts[node] - exact[node], node))
    for node in cut[: total - sum(parts.values())]:
        parts[node] += 1
    return parts


def _take(slots: Sequence[int], count: int) -> list[int]:
    """The slots that a node gives away: its last ones, so that what it keeps stays in few ranges."""
    return list(slots[len(slots) - count :])


def _hand_out(surplus: Mapping[NodeId, list[int]], wanted: Mapping[NodeId, int]) -> list[Move]:
    """Give all surplus slots to those who want some. Both sums must be equal. Greatest first: few pairs."""
    moves = []
    givers = ((list(slots), node) for node, slots in surplus.items() if slots)
    sources = sorted(givers, key=lambda one: (-len(one[0]), one[1]))
    targets = sorted(((count, node) for node, count in wanted.items() if count), key=lambda one: (-one[0], one[1]))
    remaining = {node: count for count, node in targets}
    for slots, source in sources:
        for _, target in targets:
            count = min(remaining[target], len(slots))
            if count:
                given, slots = slots[:count], slots[count:]
                remaining[target] -= count
                moves.append(Move(source, target, tuple(given)))
    return moves


def to_counts(slots: Slots, counts: Mapping[NodeId, int]) -> list[Move]:
    """The fewest moves of slots after which each node has `counts` of them (nodes not named there keep theirs).

    MoveError when the counts do not add up to the slots that these nodes have.
    """
    have = sum(len(slots[node]) for node in counts)
    if sum(counts.values()) != have:
        raise MoveError(f"{have} slots can not become {sum(counts.values())}")
    surplus = {node: _take(slots[node], max(0, len(slots[node]) - count)) for node, count in counts.items()}
    wanted = {node: max(0, count - len(slots[node])) for node, count in counts.items()}
    return _hand_out(surplus, wanted)


def rebalance(
    slots: Slots, weights: Mapping[NodeId, float], *, threshold: float = 2.0, use_empty: bool = False
) -> list[Move]:
    """Give every primary its part of the slots, in proportion to its weight: 1 unless said otherwise, 0 empties it.

    threshold: percent; as long as no node is further off its part, nothing moves. use_empty: primaries without slots get
    their part too; one that is given a weight does anyway. MoveError when no node would be left with slots.
    """
    taking_part = {node for node in slots if slots[node] or use_empty or node in weights}
    used = {node: weights.get(node, 1.0) for node in slots if node in taking_part}
    if not used:
        raise MoveError("no primary owns a slot: `fix` assigns slots that nobody owns")
    present = {node: len(slots[node]) for node in used}
    counts = shares(sum(present.values()), used, present)
    if not any(_is_off(present[node], counts[node], threshold) for node in used):
        return []
    return to_counts(slots, counts)


def _is_off(present: int, wanted: int, threshold: float) -> bool:
    if not wanted or not present:
        return present != wanted
    return abs(present - wanted) * 100 > threshold * wanted


def reshard(slots: Slots, sources: Sequence[NodeId], target: NodeId, count: int) -> list[Move]:
    """Move `count` slots from the sources, from each in proportion to what it has, to the target.

    MoveError when they have fewer, or the target is one of them.
    """
    if target in sources:
        raise MoveError("a node can not be both source and target: leave it out of --from")
    givers = {node: len(slots[node]) for node in dict.fromkeys(sources) if slots[node]}
    have = sum(givers.values())
    if count < 1 or count > have:
        raise MoveError(f"these nodes have {have} slots: give a number of slots from 1 to {have}" if have else
                        "these nodes have no slots that could move")
    # Nobody is rounded up for what it has: whoever has more gives more.
    parts = shares(count, {node: float(number) for node, number in givers.items()}, {})
    return [Move(node, target, tuple(_take(slots[node], part))) for node, part in parts.items() if part]


def reshard_exactly(slots: Slots, wanted: Iterable[int], target: NodeId) -> list[Move]:
    """Move exactly these slots to the target, from wherever they are; those that it has already stay.

    MoveError when nobody owns one of them.
    """
    asked = set(wanted)
    moves = []
    for node, owned in slots.items():
        given = tuple(slot for slot in owned if slot in asked)
        asked.difference_update(given)
        if given and node != target:
            moves.append(Move(node, target, given))
    if asked:
        raise MoveError(f"nobody owns slot {min(asked)}: `fix` assigns slots that nobody owns")
    return moves


def evacuate(slots: Slots, leaving: NodeId) -> list[Move]:
    """Give all slots of a node away, so that the others that own slots (else all others) end up as equal as they can.

    MoveError when there is no other primary.
    """
    others = [node for node in slots if node != leaving and slots[node]] or [node for node in slots if node != leaving]
    if not others:
        raise MoveError("there is no other primary that could take its slots: add one first (`add-node`)")
    counts = level({node: len(slots[node]) for node in others}, len(slots[leaving]))
    wanted = {node: counts[node] - len(slots[node]) for node in others}
    return _hand_out({leaving: list(slots[leaving])}, wanted)


def level(present: Mapping[NodeId, int], more: int) -> dict[NodeId, int]:
    """How many slots each node has after `more` were poured over them, the emptiest first, so that they differ least."""
    order = sorted(present, key=lambda node: (present[node], node))
    counts = dict(present)
    for filled in range(1, len(order) + 1):
        below = order[:filled]
        top = present[order[filled]] if filled < len(order) else None
        room = None if top is None else sum(top - counts[node] for node in below)
        if room is None or room >= more:
            total = sum(counts[node] for node in below) + more
            for place, node in enumerate(below):
                counts[node] = total // filled + (place < total % filled)
            return counts
    return counts
