"""How a new cluster is laid out over running nodes: no host holds a shard alone, no host holds most primaries.

Nodes of one host are given to different shards as far as that is possible at all, and then each shard's primary is chosen
so that the busiest host has the fewest primaries: a machine that dies should take neither a whole shard nor a majority.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.admin.picture import Host
from cluster.slots import SlotRange
from cluster.topology import TopologyError
from gossip.messages import SLOT_COUNT

FEWEST_FOR_ELECTIONS = 3
"""Primaries: with fewer there is no majority left when one dies, and no replica can be elected."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One primary of the layout, its slots (both inclusive) and its replicas."""

    primary: Host
    slots: SlotRange
    replicas: tuple[Host, ...]


def layout(nodes: Sequence[Host], replicas: int, *, allow_few: bool = False) -> list[Shard]:
    """Shards over these nodes; what is left when the replicas are dealt out are further replicas.

    replicas: how many each primary gets. allow_few: less than three primaries will do. TopologyError when the nodes do
    not suffice, or one is named twice.
    """
    if replicas < 0:
        raise TopologyError("the number of replicas can not be negative")
    twice = [str(node) for node, count in Counter(nodes).items() if count > 1]
    if twice:
        raise TopologyError(f"{twice[0]} is named twice")
    primaries = len(nodes) // (replicas + 1)
    fewest = 1 if allow_few else FEWEST_FOR_ELECTIONS
    if primaries < fewest:
        why = "" if allow_few else ", of which no majority is left to elect a successor when one dies"
        hint = "" if allow_few else ", or --allow-few if that will do"
        raise TopologyError(
            f"{len(nodes)} nodes with {replicas} replicas each make {primaries} primaries{why}: "
            f"give at least {fewest * (replicas + 1)} nodes{hint}"
        )
    groups = _groups(nodes, primaries)
    chosen = _choose_primaries(groups)
    place = {node: number for number, node in enumerate(nodes)}
    shards = sorted(zip(chosen, groups, strict=True), key=lambda one: place[one[0]])
    return [
        Shard(primary, _slots(number, primaries), tuple(node for node in group if node != primary))
        for number, (primary, group) in enumerate(shards)
    ]


def _slots(number: int, count: int) -> SlotRange:
    return round(number * SLOT_COUNT / count), round((number + 1) * SLOT_COUNT / count) - 1


def _groups(nodes: Sequence[Host], count: int) -> list[list[Host]]:
    """The nodes of each shard. With the nodes of a host in a row, dealing them out in turn puts any `count` of them into
    different shards: nodes of one host meet in a shard only when the host has more nodes than there are shards."""
    hosts: dict[str, list[Host]] = {}
    for node in nodes:
        hosts.setdefault(node.name, []).append(node)
    in_a_row = [node for group in sorted(hosts.values(), key=len, reverse=True) for node in group]
    return [in_a_row[number::count] for number in range(count)]


def _choose_primaries(groups: list[list[Host]]) -> list[Host]:
    """One node of each group, so that the host with the most of them has as few as possible."""
    for most in range(1, len(groups) + 1):
        if chosen := _matching(groups, most):
            return chosen
    raise AssertionError("one host may always have all primaries")


def _matching(groups: list[list[Host]], most: int) -> list[Host] | None:
    """A node for each group with at most `most` of one host, found by augmenting paths; None when there is none."""
    taken: dict[str, list[int]] = {}
    chosen: dict[int, Host] = {}

    def place(number: int, visited: set[str]) -> bool:
        for node in groups[number]:
            if node.name in visited:
                continue
            visited.add(node.name)
            there = taken.setdefault(node.name, [])
            if len(there) < most:
                there.append(number)
                chosen[number] = node
                return True
            for other in list(there):
                if place(other, visited):
                    there.remove(other)
                    there.append(number)
                    chosen[number] = node
                    return True
        return False

    if all(place(number, set()) for number in range(len(groups))):
        return [chosen[number] for number in range(len(groups))]
    return None
