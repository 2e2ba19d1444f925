"""Sorted sets as values: every operation beside a plain sorted list, in both forms, at every size of block."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.types import order as order_module
from node.types.order import Descent, Order
from node.types.zset import LexBound, LexRange, ScoreRange, ZSet


@dataclass
class Limits:
    zset_max_listpack_entries: int = 128
    zset_max_listpack_value: int = 64


INFINITY = float("inf")
scores = st.one_of(st.integers(-5, 5).map(float), st.sampled_from([0.5, -0.0, INFINITY, -INFINITY, 1e300]))
members = st.one_of(st.integers(0, 60).map(lambda number: b"m%d" % number), st.sampled_from([b"", b"\0", b"a\0b"]))


def build(entries: dict[bytes, float], limits: Limits) -> ZSet:
    made = ZSet()
    for member, score in entries.items():
        made.put(member, made.get(member), score, limits)
    return made


def in_order(model: dict[bytes, float]) -> list[tuple[float, bytes]]:
    return sorted((score, member) for member, score in model.items())


def check_equal(value: ZSet, model: dict[bytes, float]) -> None:
    expected = in_order(model)
    found, their_scores = value.ascending()
    assert list(zip(their_scores, found, strict=True)) == expected
    assert value.members(0, len(value)) == found
    assert value.lookup() == model
    assert len(value) == len(model)
    for rank, (score, member) in enumerate(expected):
        assert value.rank(member) == rank
        assert value.get(member) == score


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), members, scores),
        st.tuples(st.just("put"), members, scores),
        st.tuples(st.just("remove"), members, st.none()),
        st.tuples(st.just("ranks"), st.integers(0, 70), st.integers(0, 12)),
        st.tuples(st.just("look"), scores, scores),
        st.tuples(st.just("lex"), members, members),
    ),
    max_size=120,
)


@pytest.mark.parametrize("entries_max", [128, 5, 0])
@pytest.mark.parametrize("load", [2, 512])
@given(sequence=steps, ask_first=st.booleans())
@settings(max_examples=60, deadline=None)
def test_as_a_sorted_list(
    entries_max: int, load: int, sequence: list[tuple[str, object, object]], ask_first: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_module, "LOAD", load)
        patch.setattr(order_module, "_SPLIT_ABOVE", load * 2)
        patch.setattr(order_module, "_JOIN_BELOW", load // 2)
        limits = Limits(zset_max_listpack_entries=entries_max)
        value = ZSet()
        model: dict[bytes, float] = {}
        for action, one, other in sequence:
            if ask_first and model:
                value.rank(next(iter(model)))
            _step(value, model, action, one, other, limits)
        check_equal(value, model)
        check_equal(value.copy(), model)


def _step(value: ZSet, model: dict[bytes, float], action: str, one: object, other: object, limits: Limits) -> None:
    expected = in_order(model)
    if action == "put":
        assert isinstance(one, bytes) and isinstance(other, float)
        value.put(one, value.get(one), other, limits)
        model[one] = other
    elif action == "remove":
        assert isinstance(one, bytes)
        assert value.remove(one) == (model.pop(one, None) is not None)
    elif action == "ranks":
        assert isinstance(one, int) and isinstance(other, int)
        start, stop = min(one, len(model)), min(one + other, len(model))
        assert value.remove_ranks(start, stop) == [(member, score) for score, member in expected[start:stop]]
        for _, member in expected[start:stop]:
            del model[member]
    elif action == "look":
        assert isinstance(one, float) and isinstance(other, float)
        for without_low, without_high in ((False, False), (True, False), (False, True), (True, True)):
            start, stop = value.ranks_by_score(ScoreRange(one, other, without_low, without_high))
            wanted = [
                (score, member)
                for score, member in expected
                if (one < score or (one == score and not without_low))
                and (score < other or (score == other and not without_high))
            ]
            assert expected[start:stop] == wanted
    else:
        assert isinstance(one, bytes) and isinstance(other, bytes)
        start, stop = value.ranks_by_lex(LexRange(LexBound(one), LexBound(other, excluded=True)))
        assert 0 <= start <= stop <= len(model)


@given(
    st.sets(members, max_size=80),
    members,
    members,
    st.booleans(),
    st.booleans(),
    st.sampled_from([-1, 0, 0, 1]),
    st.sampled_from([-1, 0, 0, 1]),
    st.sampled_from([128, 0]),
)
@settings(max_examples=200, deadline=None)
def test_ranges_by_bytes(
    names: set[bytes],
    low: bytes,
    high: bytes,
    without_low: bool,
    without_high: bool,
    low_end: int,
    high_end: int,
    entries_max: int,
) -> None:
    value = build(dict.fromkeys(names, 1.0), Limits(zset_max_listpack_entries=entries_max))
    wanted = LexRange(LexBound(low, without_low, low_end), LexBound(high, without_high, high_end))
    start, stop = value.ranks_by_lex(wanted)
    assert value.members(start, stop) == sorted(one for one in names if wanted.reaches(one) and wanted.holds(one))


def test_the_forms_of_a_small_set() -> None:
    limits = Limits(zset_max_listpack_entries=3, zset_max_listpack_value=4)
    value = build({b"a": 1.0, b"b": -0.0}, limits)
    assert value.encoding(limits) == "listpack"
    assert str(value.get(b"b")) == "0.0"
    value.put(b"\0", None, 2.0, limits)
    assert value.encoding(limits) == "listpack"
    assert value.members(0, 3) == [b"b", b"a", b"\0"]
    value.put(b"d", None, -0.0, limits)
    assert value.encoding(limits) == "skiplist"
    assert str(value.get(b"d")) == "-0.0"
    for member in (b"a", b"b", b"\0"):
        assert value.remove(member)
    assert value.encoding(limits) == "skiplist"
    assert build({b"12345": 1.0}, limits).encoding(limits) == "skiplist"


def test_a_member_that_is_part_of_another_is_not_found() -> None:
    value = build({b"abc": 1.0, b"": 2.0, b"b": 3.0}, Limits())
    assert [value.get(one) for one in (b"a", b"bc", b"ab", b"b", b"", b"abc")] == [None, None, None, 3.0, 2.0, 1.0]
    assert value.get(b"abc\0b") is None
    assert value.get(b"\0") is None
    assert ZSet().get(b"") is None
    # The bytes of scores may look like members.
    numbers = build({b"x": 2.0**-1074 * 256, b"y": 3.5e-310}, Limits())
    assert numbers.get(b"") is None and numbers.get(b"x") == 2.0**-1074 * 256


def test_settling_after_loading() -> None:
    small, large = dict.fromkeys([b"a", b"b"], 1.0), {b"%d" % at: float(at) for at in range(200)}
    assert ZSet.loaded(small.copy(), listpack=True).encoding(Limits()) == "listpack"
    assert ZSet.loaded(small.copy(), listpack=False).encoding(Limits()) == "listpack"
    assert ZSet.loaded(small.copy(), listpack=True).encoding(Limits(zset_max_listpack_entries=1)) == "skiplist"
    assert ZSet.loaded({b"long": 1.0}, listpack=False).encoding(Limits(zset_max_listpack_value=3)) == "skiplist"
    assert ZSet.loaded(large.copy(), listpack=True).encoding(Limits()) == "skiplist"
    for listpack in (True, False):
        value = ZSet.loaded(large.copy(), listpack=listpack)
        value.settle(Limits())
        check_equal(value, large)


def filled(size: int) -> ZSet:
    value = build({b"m%d" % at: float(at * 7919 % 1009) for at in range(size)}, Limits())
    value.rank(b"m0")
    return value


@pytest.mark.parametrize("size", [5, 100, 129, 3000])
def test_every_member_is_drawn_equally_often(size: int) -> None:
    value = filled(size)
    for at in range(0, size, 4):
        value.remove(b"m%d" % at)
    left = value.lookup()
    drawn = Counter(value.random_members(100 * len(left), random.Random(5)))
    assert drawn.keys() <= left.keys()
    # A sum of squares over its mean of about the number of members, with 6 standard deviations to spare.
    surplus = sum((drawn[member] - 100) ** 2 for member in left) / 100
    assert surplus < len(left) + 6 * (2 * len(left)) ** 0.5


@pytest.mark.parametrize("size", [10, 129, 2000])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1, 2])
def test_a_positive_count_draws_different_members(size: int, share: float) -> None:
    value = filled(size)
    count = max(1, int(size * share))
    drawn = value.distinct_random_members(count, random.Random(3))
    assert len(drawn) == len(set(drawn)) == min(count, size)
    assert set(drawn) <= value.lookup().keys()


def test_drawing_touches_no_more_when_there_are_more() -> None:
    """Counted in numbers drawn, not in seconds: a place in a block is found in a few tries whatever the size."""

    class Counting(random.Random):
        asked = 0

        def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
            self.asked += 1
            return super().randrange(start, stop, step)

    tries = []
    for size in (2000, 100_000):
        source = Counting(1)
        Order({b"%d" % at: float(at) for at in range(size)}).random_members(1000, source)
        tries.append(source.asked)
    assert max(tries) < 3500


def test_ordering_is_not_done_again() -> None:
    """A set that grew member by member keeps its order: ranks of a big one do not sort it."""
    value = filled(5000)
    kept = value._order
    value.put(b"new", None, 3.0, Limits())
    assert value.rank(b"new") is not None
    assert value._order is kept
    value = build({b"m%d" % at: float(at) for at in range(2000)}, Limits())
    assert value._order is not None


@pytest.mark.parametrize("arrangement", ["ascending", "descending", "shuffled", "equal", "equal from above"])
def test_one_that_comes_whole_has_its_order(arrangement: str) -> None:
    """So the first who asks for a rank does not pay for what another one put in."""
    names = [b"%05d" % at for at in range(3000)]
    entries = [(name, float(at // 3)) for at, name in enumerate(names)]
    if arrangement == "descending":
        entries.reverse()
    elif arrangement == "shuffled":
        random.Random(4).shuffle(entries)
    elif arrangement.startswith("equal"):
        entries = [(name, 1.0) for name in (names if arrangement == "equal" else names[::-1])]
    for made in (ZSet.stored(dict(entries), Limits()), ZSet.loaded(dict(entries), listpack=False)):
        assert made._order is not None
        twin = made.copy()
        assert twin._order is not None
        assert made.remove(b"00007")
        assert made.ascending()[0] == [name for name in names if name != b"00007"]
        assert [twin.rank(name) for name in names] == list(range(3000))
        assert twin.ascending() == (names, [score for _, score in sorted(entries)])


@settings(max_examples=200, deadline=None)
@given(
    entries=st.dictionaries(st.integers(0, 99).map(lambda number: b"%d" % number), scores, max_size=60),
    arrangement=st.sampled_from(["ascending", "descending", "as it is"]),
    disturbed=st.booleans(),
    piece=st.integers(1, 9),
)
def test_an_order_made_piece_by_piece(
    entries: dict[bytes, float], arrangement: str, disturbed: bool, piece: int
) -> None:
    """Whatever order members come in, it ends as the order of all; what comes from above is not put in singly."""
    listed = list(entries.items()) if arrangement == "as it is" else [
        (member, score) for score, member in sorted(in_order(entries), reverse=arrangement == "descending")
    ]
    if disturbed:
        listed = listed[::2] + listed[1::2]
    descent, arrived = Descent(), dict[bytes, float]()
    for at, (member, score) in enumerate(listed):
        arrived[member] = score
        if at % piece == 0:
            descent.take(arrived)
    descent.take(arrived)
    singly = descent._order is not None
    assert not (singly and arrangement == "descending" and not disturbed)
    order = descent.ended()
    expected = in_order(entries)
    assert order.slice(0, order.size) == ([member for _, member in expected], [score for score, _ in expected])
    for rank, (score, member) in enumerate(expected):
        assert order.rank(score, member) == rank
    for score, member in expected[::2]:
        order.remove(score, member)
    assert order.members(0, order.size) == [member for _, member in expected[1::2]]
    for score, member in expected[::2]:
        order.add(score, member)
    assert order.members(0, order.size) == [member for _, member in expected]
