"""How a cluster with broken slots is put right: for each such slot one home, and whose keys go there.

The rules, in the order in which they are tried:
- Nobody owns the slot: whoever has most of its keys gets it; without keys who had it open, else the primaries with the
  fewest slots.
- Its owner moves it to a node that expects it, and keys have arrived there: the move is completed. What the source has of
  a key is newer. As long as none has arrived the move is undone, for there may be a reason.
- Several claim it: the greatest config epoch wins, as it would by gossip, but the others' keys are moved first.
- In all other cases the owner keeps it, gets what others hold of its keys, and the open ends are closed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cluster.admin.checks import Keys, claimed_twice, disagreements, shown_slots, uncovered
from cluster.admin.moves import level
from cluster.admin.picture import Member, Picture
from gossip.ids import NodeId


@dataclass(frozen=True, slots=True)
class Repair:
    """What is done to some slots that are broken in the same way.

    home: who owns them afterwards. movers: others whose keys go there first, the owner at the head. owner: who has them
    now. opened: who has them marked as on the move. contested: that home owns them must be said louder than somebody's
    claim: it needs a new epoch.
    """

    slots: tuple[int, ...]
    home: NodeId
    movers: tuple[NodeId, ...]
    owner: NodeId | None
    opened: tuple[NodeId, ...]
    contested: bool
    why: str
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Meeting:
    """`who` is told of `whom`, whom it does not know."""

    who: NodeId
    whom: NodeId


@dataclass(slots=True)
class Repairs:
    """All that `fix` would do. refused: what it will not touch, and why."""

    meetings: list[Meeting] = field(default_factory=list)
    slots: list[Repair] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.meetings or self.slots)


def suspects(picture: Picture) -> list[int]:
    """The slots about which something is wrong, ascending: those whose keys have to be counted before a plan is made."""
    found = set(uncovered(picture)) | set(_of_unreachable(picture))
    for slots in (*claimed_twice(picture).values(), *disagreements(picture).values()):
        found.update(slots)
    for one in _usable(picture):
        assert one.view is not None
        found.update(one.view.migrating, one.view.importing)
    return sorted(found)


def _usable(picture: Picture) -> list[Member]:
    return [one for one in picture.primaries if one.reachable]


def _of_unreachable(picture: Picture) -> list[int]:
    return [slot for slot, owner in enumerate(picture.owners) if owner and not picture.members[owner].reachable]


def meetings(picture: Picture) -> list[Meeting]:
    """One for each pair of reachable nodes of which at least one does not know the other."""
    found: dict[frozenset[NodeId], Meeting] = {}
    for one in picture.reachable:
        assert one.view is not None
        for other in picture.reachable:
            if other.id not in one.view.nodes:
                found.setdefault(frozenset((one.id, other.id)), Meeting(one.id, other.id))
    return list(found.values())


def repairs(picture: Picture, keys: Keys, slots: Iterable[int], *, unreachable_too: bool = False) -> Repairs:
    """What to do about these slots: `suspects`, or all when keys of all were counted.

    unreachable_too: slots whose owner does not answer, and is missed by other nodes, are given to others, and what keys it
    had are lost with it.
    """
    planner = _Planner(picture, keys, unreachable_too)
    for slot in slots:
        planner.plan(slot)
    return Repairs(meetings(picture), planner.grouped(), planner.refusals())


class _Planner:
    def __init__(self, picture: Picture, keys: Keys, unreachable_too: bool) -> None:
        self._picture = picture
        self._usable = _usable(picture)
        self._views = {one.id: one.view for one in self._usable if one.view is not None}
        self._keys = keys
        self._unreachable_too = unreachable_too
        self._load = {one.id: len(picture.slots.get(one.id, ())) for one in self._usable}
        self._groups: dict[Repair, list[int]] = defaultdict(list)
        self._homeless: dict[NodeId | None, list[int]] = defaultdict(list)
        self._left: dict[NodeId | None, list[int]] = defaultdict(list)
        self._disagreed: set[int] = set()
        for disputed in disagreements(picture).values():
            self._disagreed.update(disputed)

    def plan(self, slot: int) -> None:
        """Decide about one slot; nothing when there is nothing wrong with it."""
        owner = self._picture.owners[slot]
        holders = [node for node in self._views if self._keys.get(node, {}).get(slot)]
        opened = tuple(node for node, view in self._views.items() if slot in view.migrating or slot in view.importing)
        claims = [node for node in self._picture.claims[slot] if node in self._views]
        if owner is not None and owner not in self._views and not self._may_take_from(owner):
            self._left[owner].append(slot)
            return
        lost = owner is None or owner not in self._views
        if owner is None or lost:
            if not self._views:
                self._left[None].append(slot)
                return
            adopted = self._adopt(slot, holders, opened)
            if adopted is None:
                self._homeless[owner].append(slot)
                return
            home, why, contested = adopted, _why_adopted(owner), True
            self._load[home] += 1
        else:
            home, why, contested = self._settle(slot, owner, opened, claims)
        movers = tuple(sorted((node for node in holders if node != home), key=lambda node: (node != owner, node)))
        if home == owner and not opened and not movers and slot not in self._disagreed and not contested:
            return
        if not why:
            why = "open" if opened else "stray keys" if movers else "nodes disagree"
        self._groups[Repair((), home, movers, owner, opened, contested, why, lost)].append(slot)

    def _may_take_from(self, owner: NodeId) -> bool:
        return self._unreachable_too and self._picture.is_missed(owner)

    def _adopt(self, slot: int, holders: list[NodeId], opened: tuple[NodeId, ...]) -> NodeId | None:
        if holders:
            return max(holders, key=lambda node: (self._keys[node][slot], node))
        importing = [node for node in opened if slot in self._views[node].importing]
        return min(importing or opened, key=lambda node: (self._load[node], node), default=None)

    def _settle(
        self, slot: int, owner: NodeId, opened: tuple[NodeId, ...], claims: list[NodeId]
    ) -> tuple[NodeId, str, bool]:
        target = self._views[owner].migrating.get(slot)
        if target in self._views and self._views[target].importing.get(slot) == owner:
            if self._keys.get(target, {}).get(slot):
                return target, "half moved", False
            return owner, "nothing moved yet", False
        contested = len(claims) > 1
        return owner, "several owners" if contested else "", contested

    def grouped(self) -> list[Repair]:
        """The decisions, slots with the same one together. Slots that nobody has keys of are dealt out in ranges."""
        load = dict(self._load)
        for owner, slots in self._homeless.items():
            counts = level(load, len(slots))
            given = 0
            for node, count in counts.items():
                more = count - load[node]
                if more:
                    why = _why_adopted(owner)
                    self._groups[Repair((), node, (), owner, (), True, why, True)] += slots[given : given + more]
                    given += more
            load = counts
        found = [replace(repair, slots=tuple(sorted(slots))) for repair, slots in self._groups.items()]
        # A cluster that is down takes no MIGRATE: first all slots get an owner, and what needs no keys moved is done.
        return sorted(found, key=lambda repair: (not repair.adopted, bool(repair.movers)))

    def refusals(self) -> list[str]:
        """A line for each node whose slots are left alone."""
        return [self._refusal(node, slots) for node, slots in self._left.items()]

    def _refusal(self, node: NodeId | None, slots: list[int]) -> str:
        if node is None:
            return f"{shown_slots(slots)}: there is no primary that could take them"
        left = f"{shown_slots(slots)} of {self._picture.name(node)} are left alone"
        if not self._picture.is_missed(node):
            why = self._picture.members[node].trouble
            return f"{left}: it can not be asked from here ({why}), but the other nodes do not miss it (yet)"
        return (
            f"{left}: it does not answer. Start it or wait for a failover; if it is gone for good, "
            "--fix-with-unreachable-primaries gives its slots to others, without its keys"
        )


def _why_adopted(owner: NodeId | None) -> str:
    return "nobody owns it" if owner is None else "owner lost"
