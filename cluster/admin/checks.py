"""What is wrong with a cluster, seen from outside: a list of problems, each with what to do about it.

An error is what clients or the next failover will run into; a warning is what usually heals by itself, or is a choice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from cluster.admin.picture import Member, Picture
from cluster.slots import SlotRange, format_range, to_ranges
from gossip.ids import NodeId

Keys = Mapping[NodeId, Mapping[int, int]]
"""How many keys reachable primaries hold in the slots that were asked about: node -> slot -> count above 0."""

SHOWN_RANGES = 8


class Severity(Enum):
    """Whether `check` fails because of it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. kind: a word for programs. advice: what to do, "" when time will tell."""

    kind: str
    text: str
    advice: str = ""
    severity: Severity = Severity.ERROR
    slots: tuple[SlotRange, ...] = ()
    nodes: tuple[NodeId, ...] = ()


def shown_slots(slots: Iterable[int]) -> str:
    """"slot 5" or "slots 0-9, 12 (11 in all)": the first ranges and how many slots there are."""
    ranges = to_ranges(slots)
    count = sum(end - start + 1 for start, end in ranges)
    if count == 1:
        return f"slot {ranges[0][0]}"
    text = ", ".join(format_range(one) for one in ranges[:SHOWN_RANGES])
    more = ", ..." if len(ranges) > SHOWN_RANGES else ""
    return f"slots {text}{more} ({count:,} in all)" if len(ranges) > 1 else f"slots {text}"


def problems(picture: Picture, keys: Keys | None = None) -> list[Problem]:
    """Everything that is wrong, errors first.

    keys: of all slots, when the search for keys outside their owner was asked for.
    """
    found = [
        *_unreachable(picture), *_failed(picture), *_strangers(picture), *_uncovered(picture), *_claimed_twice(picture),
        *_disagreeing(picture), *_open(picture), *_down(picture), *_epochs(picture), *_replicas(picture),
        *(_strays(picture, keys) if keys is not None else ()),
    ]
    return sorted(found, key=lambda one: one.severity is not Severity.ERROR)


_IN_THE_WAY = {"uncovered", "two-owners", "disagreement", "open", "strangers", "failed", "down"}


def in_the_way(picture: Picture) -> list[Problem]:
    """What has to be put right before slots or nodes may move. A replica that is down is not."""
    return [
        one for one in problems(picture)
        if one.kind in _IN_THE_WAY or (one.kind == "unreachable" and any(picture.slots.get(node) for node in one.nodes))
    ]


def has_errors(found: Iterable[Problem]) -> bool:
    """Whether one of them is an error."""
    return any(one.severity is Severity.ERROR for one in found)


# Nodes --------------------------------------------------------------------------------------------------------------


def _unreachable(picture: Picture) -> Iterator[Problem]:
    for one in picture.members.values():
        if not one.reachable:
            owned = len(picture.slots.get(one.id, ()))
            awake = any(replica.reachable for replica in picture.replicas(one.id))
            if not picture.is_missed(one.id):
                advice = "the other nodes do not miss it: has it just died, or can it only not be asked from here?"
            elif not owned:
                advice = "start it again, or if it is gone for good: `forget`"
            elif awake:
                advice = f"it owns {owned:,} slots: a replica should take over, else CLUSTER FAILOVER TAKEOVER there"
            else:
                advice = (
                    f"it owns {owned:,} slots and has no replica that answers: start it again, or give its keys up with "
                    "`fix --fix-with-unreachable-primaries`"
                )
            yield Problem("unreachable", f"{one.name} {one.id[:8]}: {one.trouble}", advice, nodes=(one.id,))


def _failed(picture: Picture) -> Iterator[Problem]:
    for one in picture.members.values():
        flags = picture.flags(one.id) & {"fail", "fail?"}
        if flags and one.reachable:
            said = "failed" if "fail" in flags else "possibly failed"
            text = f"{one.name} answers clients, but other nodes hold it for {said}"
            advice = f"is its bus port {one.seen.bus_port} reachable for the other nodes?"
            yield Problem("failed", text, advice, nodes=(one.id,))


def _strangers(picture: Picture) -> Iterator[Problem]:
    reachable = picture.reachable
    for one in reachable:
        assert one.view is not None
        missing = [other for other in reachable if other.id not in one.view.nodes]
        if missing:
            names = ", ".join(other.name for other in missing)
            nodes = (one.id, *(other.id for other in missing))
            yield Problem("strangers", f"{one.name} does not know {names}", "`fix` makes them meet", nodes=nodes)


def _down(picture: Picture) -> Iterator[Problem]:
    down = sorted((one for one in picture.reachable if one.state == "fail"), key=lambda one: one.name)
    if down:
        names = ", ".join(one.name for one in down)
        yield Problem(
            "down", f"cluster_state:fail at {names}", "clients get CLUSTERDOWN there until what is wrong is put right",
            nodes=tuple(one.id for one in down),
        )


def _epochs(picture: Picture) -> Iterator[Problem]:
    by_epoch: dict[int, list[Member]] = defaultdict(list)
    for one in picture.reachable:
        if one.is_primary and one.seen.slots:
            by_epoch[one.seen.config_epoch].append(one)
    for epoch, members in sorted(by_epoch.items()):
        if len(members) > 1:
            names = ", ".join(one.name for one in members)
            yield Problem(
                "epochs", f"{names} have the same config epoch {epoch}", "they settle it as soon as they exchange pings",
                Severity.WARNING, nodes=tuple(one.id for one in members),
            )
    epochs = {one.current_epoch for one in picture.reachable}
    if len(epochs) > 1:
        text = f"the nodes' current epochs differ: {', '.join(map(str, sorted(epochs)))}"
        yield Problem("epochs", text, "a node that stays behind is cut off from the others' bus", Severity.WARNING)


def _replicas(picture: Picture) -> Iterator[Problem]:
    followed = {one.seen.primary for one in picture.members.values() if not one.is_primary}
    for one in picture.members.values():
        if one.is_primary:
            if followed and one.seen.slots and one.id not in followed and one.reachable:
                text, advice = f"{one.name} has no replica, other primaries have", "`add-node --replica-of`"
                yield Problem("no-replica", text, advice, Severity.WARNING, nodes=(one.id,))
            continue
        primary = picture.members.get(one.seen.primary) if one.seen.primary else None
        if primary is None:
            text = f"{one.name} is a replica of {picture.name(one.seen.primary)}"
            yield Problem("orphan", text, "CLUSTER REPLICATE another primary there, or `del-node`", nodes=(one.id,))
        elif not primary.is_primary:
            text = f"{one.name} follows {primary.name}, which is a replica itself"
            yield Problem("chained", text, "", Severity.WARNING, nodes=(one.id,))
        elif one.link == "syncing":
            text = f"{one.name} is still loading what {primary.name} has"
            yield Problem("link", text, "", Severity.WARNING, nodes=(one.id,))
        elif one.link == "down":
            text = f"{one.name} has no link to its primary {primary.name}"
            advice = "its log says why; often masterauth, or an address that it can not reach"
            yield Problem("link", text, advice, nodes=(one.id,))


# Slots --------------------------------------------------------------------------------------------------------------


def uncovered(picture: Picture) -> list[int]:
    """Slots that nobody claims."""
    return [slot for slot, owner in enumerate(picture.owners) if owner is None]


def _uncovered(picture: Picture) -> Iterator[Problem]:
    if slots := uncovered(picture):
        text = f"nobody owns {shown_slots(slots)}"
        yield Problem("uncovered", text, "`fix` gives them to those that hold their keys", slots=tuple(to_ranges(slots)))


def claimed_twice(picture: Picture) -> dict[tuple[NodeId, ...], list[int]]:
    """Slots that several reachable primaries hold for their own, by these nodes."""
    found: dict[tuple[NodeId, ...], list[int]] = defaultdict(list)
    for slot, claims in enumerate(picture.claims):
        if len(claims) > 1:
            awake = tuple(node for node in claims if picture.members[node].reachable)
            if len(awake) > 1:
                found[awake].append(slot)
    return found


def _claimed_twice(picture: Picture) -> Iterator[Problem]:
    for nodes, slots in claimed_twice(picture).items():
        names = " and ".join(picture.name(node) for node in nodes)
        text = f"{names} both hold {shown_slots(slots)} for their own"
        advice = "wait a few seconds for the greater config epoch to win; if it stays, `fix`"
        yield Problem("two-owners", text, advice, slots=tuple(to_ranges(slots)), nodes=nodes)


def disagreements(picture: Picture) -> dict[tuple[NodeId, NodeId | None, NodeId], list[int]]:
    """Slots of which a node thinks that somebody else owns them: by (node, whom it names, the owner).

    Nodes that claim the slot for themselves are not listed here.
    """
    found: dict[tuple[NodeId, NodeId | None, NodeId], list[int]] = defaultdict(list)
    owners = picture.owners
    for one in picture.reachable:
        assert one.view is not None
        said = one.view.owners()
        if said == owners:
            continue
        for slot, (theirs, owner) in enumerate(zip(said, owners, strict=True)):
            if theirs != owner and theirs != one.id and owner is not None:
                found[one.id, theirs, owner].append(slot)
    return found


def _disagreeing(picture: Picture) -> Iterator[Problem]:
    for (node, theirs, owner), slots in disagreements(picture).items():
        whom = f"{picture.name(theirs)} owns" if theirs else "nobody owns"
        text = f"{picture.name(node)} thinks that {whom} {shown_slots(slots)}, which {picture.name(owner)} has"
        advice = "gossip settles this within seconds when the bus works; if it stays, `fix`"
        yield Problem("disagreement", text, advice, slots=tuple(to_ranges(slots)), nodes=(node, owner))


def _open(picture: Picture) -> Iterator[Problem]:
    for one in picture.reachable:
        assert one.view is not None
        if not one.is_primary:
            continue
        for opened, word in ((one.view.migrating, "migrating to"), (one.view.importing, "importing from")):
            by_other: dict[NodeId, list[int]] = defaultdict(list)
            for slot, other in opened.items():
                by_other[other].append(slot)
            for other, slots in by_other.items():
                text = f"{one.name} has {shown_slots(slots)} open, {word} {picture.name(other)}"
                advice = "is somebody resharding right now? If not, `fix` completes or undoes it"
                yield Problem("open", text, advice, slots=tuple(to_ranges(slots)), nodes=(one.id, other))


def _strays(picture: Picture, keys: Keys) -> Iterator[Problem]:
    for node, counts in keys.items():
        slots = [slot for slot in counts if picture.owners[slot] not in (node, None)]
        if slots:
            count = sum(counts[slot] for slot in slots)
            text = f"{picture.name(node)} holds {count:,} keys of {shown_slots(slots)}, which others own"
            advice = "`fix --search-multiple-owners` moves them to the owner"
            yield Problem("stray-keys", text, advice, slots=tuple(to_ranges(slots)), nodes=(node,))
