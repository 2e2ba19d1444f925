"""Plans of the admin tools: nothing moves twice or needlessly, everybody ends with its part; checks and repairs."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.admin import moves
from cluster.admin.checks import Severity, has_errors, in_the_way, problems, shown_slots
from cluster.admin.layout import layout
from cluster.admin.picture import Host, Member, Picture, PictureError, Seen, UnknownName, View, parse_view
from cluster.admin.repairs import Meeting, meetings, repairs, suspects
from cluster.slots import to_ranges
from cluster.topology import TopologyError
from gossip.ids import NodeId
from gossip.messages import SLOT_COUNT

NAMES = [NodeId(character * 40) for character in "abcdef012"]
A, B, C, D = NAMES[:4]


# Moves ----------------------------------------------------------------------------------------------------------------


@st.composite
def ownerships(draw: st.DrawFn, least: int = 1) -> dict[NodeId, list[int]]:
    """Some nodes with all slots between them, a few of them without any."""
    nodes = NAMES[: draw(st.integers(least, len(NAMES)))]
    cuts = sorted(draw(st.lists(st.integers(0, SLOT_COUNT), min_size=len(nodes) - 1, max_size=len(nodes) - 1)))
    edges = [0, *cuts, SLOT_COUNT]
    return {node: list(range(edges[place], edges[place + 1])) for place, node in enumerate(nodes)}


def carried_out(slots: dict[NodeId, list[int]], plan: list[moves.Move]) -> dict[NodeId, list[int]]:
    """The slots afterwards. AssertionError when a slot is moved that its source does not have (any longer)."""
    after = {node: set(owned) for node, owned in slots.items()}
    moved: set[int] = set()
    for move in plan:
        assert move.source != move.target and move.slots
        assert not moved.intersection(move.slots), "moved twice"
        assert after[move.source].issuperset(move.slots)
        moved.update(move.slots)
        after[move.source].difference_update(move.slots)
        after[move.target].update(move.slots)
    return {node: sorted(owned) for node, owned in after.items()}


WEIGHTS = st.one_of(st.just(1.0), st.just(0.0), st.integers(1, 5).map(float), st.floats(0.01, 10))


@settings(max_examples=60, deadline=None)
@given(ownerships(), st.dictionaries(st.sampled_from(NAMES), WEIGHTS), st.booleans())
def test_rebalance_gives_everybody_its_part(
    slots: dict[NodeId, list[int]], weights: dict[NodeId, float], use_empty: bool
) -> None:
    weights = {node: weight for node, weight in weights.items() if node in slots}
    taking_part = {node: weights.get(node, 1.0) for node in slots if slots[node] or use_empty or node in weights}
    if not sum(taking_part.values()):
        with pytest.raises(moves.MoveError):
            moves.rebalance(slots, weights, threshold=0, use_empty=use_empty)
        return
    plan = moves.rebalance(slots, weights, threshold=0, use_empty=use_empty)
    after = carried_out(slots, plan)
    for node, weight in taking_part.items():
        exact = SLOT_COUNT * weight / sum(taking_part.values())
        assert abs(len(after[node]) - exact) < 1.0001, (node, len(after[node]), exact)
    assert all(not after[node] for node in slots if node not in taking_part)
    assert not moves.rebalance(after, weights, threshold=0, use_empty=use_empty), "a second time there is nothing to do"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), min_size=1, max_size=5))
def test_rebalance_moves_as_few_as_possible(nodes: list[tuple[int, int]]) -> None:
    present = {NAMES[place]: count for place, (count, _) in enumerate(nodes)}
    weights = {NAMES[place]: float(weight) for place, (_, weight) in enumerate(nodes)}
    total = sum(present.values())
    counts = moves.shares(total, weights, present)
    assert sum(counts.values()) == total
    moved = sum(max(0, present[node] - counts[node]) for node in present)
    floors = {node: int(total * weight / sum(weights.values())) for node, weight in weights.items()}
    every_way = itertools.product(*[(floors[node], floors[node] + 1) for node in present])
    exact = {node: total * weight / sum(weights.values()) for node, weight in weights.items()}
    ways = [
        way for way in every_way
        if sum(way) == total and all(abs(part - exact[node]) < 1 for node, part in zip(present, way, strict=True))
    ]
    assert moved == min(sum(max(0, present[node] - part) for node, part in zip(present, way, strict=True)) for way in ways)


def test_rebalance_leaves_small_differences_alone() -> None:
    slots = {A: list(range(8100)), B: list(range(8100, SLOT_COUNT))}
    assert not moves.rebalance(slots, {}, threshold=2)
    assert len(moves.rebalance(slots, {}, threshold=1)[0].slots) == 92
    assert moves.rebalance(slots, {A: 0}, threshold=50) == [moves.Move(A, B, tuple(range(8100)))]


def test_empty_primaries_take_part_when_asked_for() -> None:
    slots = {A: list(range(SLOT_COUNT)), B: []}
    assert not moves.rebalance(slots, {})
    assert [len(move.slots) for move in moves.rebalance(slots, {}, use_empty=True)] == [8192]
    assert [len(move.slots) for move in moves.rebalance(slots, {B: 3})] == [12288]


@settings(max_examples=60, deadline=None)
@given(ownerships(2), st.integers(1, SLOT_COUNT), st.data())
def test_reshard_takes_from_each_in_proportion(slots: dict[NodeId, list[int]], count: int, data: st.DataObject) -> None:
    target = data.draw(st.sampled_from(sorted(slots)))
    sources = [node for node in slots if node != target]
    have = sum(len(slots[node]) for node in sources)
    if count > have:
        with pytest.raises(moves.MoveError):
            moves.reshard(slots, sources, target, count)
        return
    plan = moves.reshard(slots, sources, target, count)
    after = carried_out(slots, plan)
    assert len(after[target]) - len(slots[target]) == count
    for node in sources:
        assert abs(len(slots[node]) - len(after[node]) - count * len(slots[node]) / have) < 1
    assert all(len(move.ranges) == 1 for move in plan), "what was in one piece moves in one piece"


def test_reshard_of_named_slots_and_refusals() -> None:
    slots = {A: [0, 1, 2], B: [5]}
    assert moves.reshard_exactly(slots, [1, 2, 5], B) == [moves.Move(A, B, (1, 2))]
    with pytest.raises(moves.MoveError, match="nobody owns slot 9"):
        moves.reshard_exactly(slots, [9], B)
    with pytest.raises(moves.MoveError, match="both source and target"):
        moves.reshard(slots, [A], A, 1)
    with pytest.raises(moves.MoveError, match="from 1 to 3"):
        moves.reshard(slots, [A], B, 4)
    with pytest.raises(moves.MoveError, match="no slots"):
        moves.reshard({A: [], B: [1]}, [A], B, 1)


@settings(max_examples=60, deadline=None)
@given(ownerships(2), st.data())
def test_evacuation_levels_the_others(slots: dict[NodeId, list[int]], data: st.DataObject) -> None:
    leaving = data.draw(st.sampled_from(sorted(slots)))
    after = carried_out(slots, moves.evacuate(slots, leaving))
    assert not after[leaving]
    took = {node: len(after[node]) for node in slots if len(after[node]) > len(slots[node])}
    if took:
        assert max(took.values()) - min(took.values()) <= 1
        takers = [node for node in slots if node != leaving and slots[node]] or [node for node in slots if node != leaving]
        assert max(took.values()) <= min(len(after[node]) for node in takers) + 1, "who has most gets nothing more"


def test_the_last_primary_can_not_be_emptied() -> None:
    with pytest.raises(moves.MoveError, match="no other primary"):
        moves.evacuate({A: [1]}, A)


# Layouts --------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 3))
def test_layout_keeps_shards_off_single_hosts(per_host: list[int], replicas: int) -> None:
    nodes = [Host(f"10.0.0.{host}", 7000 + n) for host, count in enumerate(per_host) for n in range(count)]
    count = len(nodes) // (replicas + 1)
    if count < 3:
        with pytest.raises(TopologyError):
            layout(nodes, replicas)
        return
    shards = layout(nodes, replicas)
    groups = [[shard.primary, *shard.replicas] for shard in shards]
    assert Counter(node for group in groups for node in group) == Counter(nodes)
    assert all(len(group) > replicas for group in groups)
    assert [slot for shard in shards for slot in range(shard.slots[0], shard.slots[1] + 1)] == list(range(SLOT_COUNT))
    met = sum(sum(n - 1 for n in Counter(node.name for node in group).values()) for group in groups)
    assert met == sum(max(0, nodes_there - count) for nodes_there in per_host), "more than the hosts' sizes force"
    primaries = Counter(shard.primary.name for shard in shards)
    fair = -(-count // len(per_host))
    if min(per_host) >= fair and len(set(per_host)) == 1:
        assert max(primaries.values()) == fair


def test_layout_on_one_host_takes_the_first_ones_as_primaries() -> None:
    nodes = [Host("127.0.0.1", port) for port in range(7000, 7006)]
    assert [shard.primary.port for shard in layout(nodes, 1)] == [7000, 7001, 7002]


def test_layout_refuses_what_is_no_cluster() -> None:
    one = Host("h", 1)
    with pytest.raises(TopologyError, match="named twice"):
        layout([one, one, one], 0)
    with pytest.raises(TopologyError, match="at least 6 nodes"):
        layout([Host("h", port) for port in range(5)], 1)
    assert len(layout([one], 0, allow_few=True)) == 1


# Pictures -------------------------------------------------------------------------------------------------------------

LINES = f"""{A} 127.0.0.1:7000@17000,alpha,shard-id=x myself,master - 0 0 3 connected 0-8191 9000 [5->-{B}] [9001-<-{B}]
{B} ::1:7001@17001 master,fail? - 1 2 4 disconnected 8192-8999 9001-16383
{C} :0@0 slave,noaddr {A} 0 0 3 disconnected
{D} 127.0.0.1:7003@17003 handshake - 0 0 0 connected
"""


def test_a_view_is_read() -> None:
    view = parse_view(LINES)
    assert view.myself == A and view.migrating == {5: B} and view.importing == {9001: B}
    assert view.nodes[A].hostname == "alpha" and view.nodes[A].slots == ((0, 8191), (9000, 9000))
    assert (view.nodes[B].host, view.nodes[B].port, view.nodes[B].connected) == ("::1", 7001, False)
    assert view.nodes[C].primary == A and not view.nodes[D].is_member
    assert view.owners()[9000] == A and view.owners()[9001] == B


@pytest.mark.parametrize("text", ["", "x", f"{A} a:b@c master - 0 0 1 connected", f"{B} h:1@2 master - 0 0 1 connected"])
def test_what_is_no_view_is_refused(text: str) -> None:
    with pytest.raises(PictureError):
        parse_view(text)


class Made:
    """A made-up cluster: nodes that agree, until a test makes them differ. slots: by node; epochs: place + 1."""

    def __init__(self, slots: dict[NodeId, list[int]], replicas: dict[NodeId, NodeId] | None = None) -> None:
        self.slots = slots
        self.replicas = replicas or {}
        self.views: dict[NodeId, dict[NodeId, list[int]]] = {}
        self.opened: dict[NodeId, tuple[dict[int, NodeId], dict[int, NodeId]]] = {}
        self.dead: set[NodeId] = set()
        self.mute: set[NodeId] = set()
        self.blind: set[tuple[NodeId, NodeId]] = set()
        self.link = "up"

    def picture(self) -> Picture:
        everybody = [*self.slots, *self.replicas]
        members = {}
        for node in everybody:
            seen = self._seen(node, self.views.get(node, self.slots).get(node, []))
            migrating, importing = self.opened.get(node, ({}, {}))
            known = {
                other: self._seen(other, self.views.get(node, self.slots).get(other, []))
                for other in everybody if (node, other) not in self.blind
            }
            host = Host("127.0.0.1", seen.port)
            view = None if node in self.dead | self.mute else View(node, known, migrating, importing)
            link = self.link if node in self.replicas else ""
            trouble = "gone" if view is None else ""
            members[node] = Member(seen, host, view, trouble, "ok", 9, 0, link, nodename=f"n{node[0]}")
        return Picture(members)

    def _seen(self, node: NodeId, slots: list[int]) -> Seen:
        place = NAMES.index(node)
        primary = self.replicas.get(node)
        flags = frozenset({"slave" if primary else "master", *(["fail"] if node in self.dead else [])})
        return Seen(node, "127.0.0.1", 7000 + place, 17000 + place, flags, primary, place + 1, slots=tuple(to_ranges(slots)))


def sound() -> Made:
    third = SLOT_COUNT // 3
    return Made({A: list(range(third)), B: list(range(third, 2 * third)), C: list(range(2 * third, SLOT_COUNT))})


def kinds(made: Made) -> set[str]:
    return {one.kind for one in problems(made.picture())}


def test_names_of_nodes() -> None:
    picture = sound().picture()
    for name in (A, "aaaa", "127.0.0.1:7000", "localhost:7000", "na"):
        assert picture.find(name).id == A
    for name in ("", "aaa", "zzzz", "127.0.0.1:7009"):
        with pytest.raises(UnknownName, match="there are"):
            picture.find(name)
    doubles = [Member(Seen(NodeId("abcd" + end * 36), "h", 1, 2, frozenset({"master"})), Host("h", 1)) for end in "01"]
    with pytest.raises(UnknownName, match="fits several"):
        Picture({one.id: one for one in doubles}).find("abcd")


# Checks ---------------------------------------------------------------------------------------------------------------


def test_a_sound_cluster_has_no_problems() -> None:
    assert problems(sound().picture()) == []
    assert not suspects(sound().picture()) and not meetings(sound().picture())


def test_each_problem_is_found() -> None:
    made = sound()
    made.slots[A].remove(7)
    assert kinds(made) == {"uncovered"}
    made = sound()
    made.views[B] = {**made.slots, A: made.slots[A][1:], C: [0, *made.slots[C]]}
    assert kinds(made) == {"disagreement"}
    made = sound()
    made.views[B] = {**made.slots, A: made.slots[A][1:], B: [0, *made.slots[B]]}
    assert kinds(made) == {"two-owners", "disagreement"}
    made = sound()
    made.opened[A] = ({3: B}, {})
    made.opened[B] = ({}, {3: A})
    found = problems(made.picture())
    assert {one.kind for one in found} == {"open"} and [one.slots for one in found] == [((3, 3),), ((3, 3),)]
    made = sound()
    made.dead.add(B)
    assert kinds(made) == {"unreachable"} and in_the_way(made.picture())
    made = sound()
    made.blind.add((A, B))
    assert "strangers" in kinds(made) and meetings(made.picture()) == [Meeting(A, B)]


def test_replicas_are_looked_at() -> None:
    made = sound()
    made.replicas = {D: A}
    assert {(one.kind, one.severity) for one in problems(made.picture())} == {("no-replica", Severity.WARNING)}
    made.link = "down"
    found = problems(made.picture())
    assert has_errors(found) and found[0].kind == "link" and not in_the_way(made.picture())
    made.link = "syncing"
    assert not has_errors(problems(made.picture()))
    made.link, made.replicas = "up", {D: NAMES[5]}
    assert "orphan" in kinds(made)


def test_keys_outside_their_owner_are_found() -> None:
    found = problems(sound().picture(), {A: {0: 5, 16000: 2}, C: {16000: 3}})
    assert [(one.kind, one.nodes, one.slots) for one in found] == [("stray-keys", (A,), ((16000, 16000),))]


def test_slots_in_words() -> None:
    assert shown_slots([5]) == "slot 5" and shown_slots(range(10)) == "slots 0-9"
    assert shown_slots([*range(10), 12]) == "slots 0-9, 12 (11 in all)"
    assert shown_slots(range(0, 40, 2)).endswith(", ... (20 in all)")


# Repairs --------------------------------------------------------------------------------------------------------------


def plan_of(made: Made, keys: dict[NodeId, dict[int, int]] | None = None, **how: bool) -> dict[int, tuple[object, ...]]:
    """By slot: home, movers, why."""
    picture = made.picture()
    plan = repairs(picture, keys or {}, suspects(picture), **how)
    return {slot: (one.home, one.movers, one.why) for one in plan.slots for slot in one.slots}


def test_slots_without_owner_go_to_their_keys_and_the_rest_is_spread() -> None:
    made = sound()
    lost = made.slots[A][-300:]
    made.slots[A] = made.slots[A][:-300]
    plan = plan_of(made, {B: {lost[0]: 2, lost[1]: 1}, C: {lost[0]: 1}})
    assert plan[lost[0]] == (B, (C,), "nobody owns it") and plan[lost[1]] == (B, (), "nobody owns it")
    assert len(plan) == 300
    assert Counter(home for home, _, _ in plan.values())[A] >= 298, "the emptiest takes what has no keys"


def test_a_broken_move_is_completed_once_keys_have_arrived() -> None:
    made = sound()
    made.opened = {A: ({1: B, 2: B, 3: B}, {}), B: ({}, {1: A, 2: A})}
    plan = plan_of(made, {A: {1: 4, 2: 4, 3: 4}, B: {1: 1}})
    assert plan == {1: (B, (A,), "half moved"), 2: (A, (), "nothing moved yet"), 3: (A, (), "open")}


def test_a_target_that_has_taken_over_already_keeps_the_slot() -> None:
    # NODE was said to the target, which has a new epoch, and the tool died before it told the source.
    made = sound()
    made.views[C] = {**made.slots, A: made.slots[A][1:], C: [0, *made.slots[C]]}
    made.opened = {A: ({0: C}, {})}
    assert plan_of(made, {A: {0: 3}, C: {0: 9}})[0] == (C, (A,), "several owners")


def test_an_importing_node_gives_back_what_it_has() -> None:
    made = sound()
    made.opened = {B: ({}, {1: A}), C: ({}, {1: A})}
    assert plan_of(made, {A: {1: 1}, B: {1: 2}}) == {1: (A, (B,), "open")}


def test_stray_keys_come_home() -> None:
    picture = sound().picture()
    plan = repairs(picture, {A: {16000: 2, 0: 1}, B: {}, C: {}}, range(SLOT_COUNT))
    assert [(one.slots, one.home, one.movers) for one in plan.slots] == [((16000,), C, (A,))]


def test_slots_of_who_does_not_answer_need_a_word() -> None:
    made = sound()
    made.dead.add(B)
    picture = made.picture()
    plan = repairs(picture, {}, suspects(picture))
    assert not plan and len(plan.refused) == 1 and "--fix-with-unreachable-primaries" in plan.refused[0]
    taken = plan_of(made, unreachable_too=True)
    assert sorted(taken) == made.slots[B]
    homes = Counter(home for home, _, _ in taken.values())
    assert set(homes) == {A, C} and abs(homes[A] - homes[C]) <= 2


def test_who_is_well_in_the_others_eyes_loses_no_slot() -> None:
    """It wants another password, say, or a firewall stands between it and the tool."""
    made = sound()
    made.mute.add(B)
    picture = made.picture()
    plan = repairs(picture, {}, suspects(picture), unreachable_too=True)
    assert not plan and len(plan.refused) == 1 and "(gone), but the other nodes do not miss it" in plan.refused[0]
    (found,) = problems(picture)
    assert found.kind == "unreachable" and "do not miss it" in found.advice


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_repair_names_every_broken_slot_once_and_loses_no_key(data: st.DataObject) -> None:
    made = sound()
    some = data.draw(st.lists(st.integers(0, SLOT_COUNT - 1), min_size=1, max_size=8, unique=True))
    nodes = st.sampled_from([A, B, C])
    keys: dict[NodeId, dict[int, int]] = {A: {}, B: {}, C: {}}
    for slot in some:
        if data.draw(st.booleans()):
            for owned in made.slots.values():
                if slot in owned:
                    owned.remove(slot)
        for node in data.draw(st.lists(nodes, unique=True)):
            keys[node][slot] = data.draw(st.integers(1, 5))
        one, other = data.draw(st.permutations([A, B, C]))[:2]
        kind = data.draw(st.sampled_from(["both", "migrating", "importing", "none"]))
        for node in (A, B, C):
            made.opened.setdefault(node, ({}, {}))
        if kind in ("both", "migrating"):
            made.opened[one][0][slot] = other
        if kind in ("both", "importing"):
            made.opened[other][1][slot] = one
    picture = made.picture()
    plan = repairs(picture, keys, range(SLOT_COUNT))
    named = [slot for repair in plan.slots for slot in repair.slots]
    assert len(named) == len(set(named))
    assert set(named) >= set(suspects(picture))
    homes = {slot: repair for repair in plan.slots for slot in repair.slots}
    for node, counts in keys.items():
        for slot in counts:
            repair = homes.get(slot)
            home = repair.home if repair else picture.owners[slot]
            assert node == home or (repair is not None and node in repair.movers), "its keys would be left behind"
    for repair in plan.slots:
        assert repair.home not in repair.movers
        assert repair.owner not in repair.movers[1:], "the owner's keys go first"
