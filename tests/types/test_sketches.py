"""Count-min, top-k and t-digest: what they promise of their errors, against exact counts."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.types import count_min, tdigest, top_k
from node.types.count_min import COUNTER_MAX, CountMin, SketchOverflow, dimensions
from node.types.tdigest import DigestOverflow, DigestTooLarge, TDigest
from node.types.top_k import TopK


def zipf(seed: int, count: int, kinds: int) -> list[bytes]:
    """Items of which few are frequent."""
    print("seed", seed)
    source = random.Random(seed)
    weights = [1 / (at + 1) for at in range(kinds)]
    return [b"item:%d" % at for at in source.choices(range(kinds), weights, k=count)]


# Count-min ------------------------------------------------------------------------------------------------------------


def test_count_min_never_tells_too_little_and_rarely_too_much() -> None:
    items = zipf(3, 20_000, 3000)
    exact = Counter(items)
    error, probability = 0.005, 0.01
    found = CountMin(*dimensions(error, probability))
    for item, count in exact.items():
        found.add(item, count)
    assert found.total == len(items)
    excess = [found.query(item) - count for item, count in exact.items()]
    assert min(excess) >= 0
    assert sum(one > error * len(items) for one in excess) / len(excess) <= probability


def test_dimensions() -> None:
    assert dimensions(0.001, 0.01) == (2000, 7)
    assert dimensions(0.01, 0.5) == (200, 1)


def test_counters_stay_at_their_highest() -> None:
    found = CountMin(10, 2)
    assert found.add(b"a", COUNTER_MAX - 1) == COUNTER_MAX - 1
    assert found.add(b"a", 5) == COUNTER_MAX
    assert found.query(b"a") == COUNTER_MAX
    assert found.total == COUNTER_MAX + 4


def test_merging_adds_up() -> None:
    one, other, into = CountMin(50, 3), CountMin(50, 3), CountMin(50, 3)
    one.add(b"a", 5)
    other.add(b"a", 7)
    other.add(b"b", 2)
    into.add(b"old", 9)
    into.merge([one, other], [1, 2])
    assert (into.query(b"a"), into.query(b"b"), into.query(b"old"), into.total) == (19, 4, 0, 23)
    into.merge([into, one], [2, -1])
    assert (into.query(b"a"), into.total) == (33, 41)
    before = into.cells[:]
    for weight in (-1, 1 << 40):
        with pytest.raises(SketchOverflow):
            into.merge([one], [weight])
    assert into.cells == before


def test_absurd_sketches_are_refused() -> None:
    for width, depth in ((1 << 40, 1), (1 << 20, 1 << 20), (1, 1 << 62)):
        with pytest.raises(count_min.SketchTooLarge):
            CountMin(width, depth)
        with pytest.raises(top_k.SketchTooLarge):
            TopK(10, width, depth, 0.9)
    with pytest.raises(top_k.SketchTooLarge):
        TopK(1 << 40, 8, 7, 0.9)
    with pytest.raises(DigestTooLarge):
        TDigest(1 << 40)


# Top-k ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_heavy_hitters_are_found(seed: int) -> None:
    items = zipf(seed, 30_000, 5000)
    exact = Counter(items)
    found = TopK(20, 400, 5, 0.9)
    for item in items:
        found.add(item)
    truly = {item for item, _ in exact.most_common(20)}
    assert len(truly & set(found.top)) >= 17
    assert [item for item, _ in found.ranking()[:5]] == [item for item, _ in exact.most_common(5)]
    assert all(0.95 * exact[item] <= count <= exact[item] * 1.01 for item, count in found.ranking()[:5])
    assert sorted(found.top) == sorted(item for _, item in found.heap)


def test_who_leaves_the_top_is_told() -> None:
    found = TopK(2, 100, 4, 0.9)
    assert [found.add(item) for item in (b"a", b"b", b"a")] == [None, None, None]
    assert found.add(b"c", 5) == b"b"
    assert found.ranking() == [(b"c", 5), (b"a", 2)]
    assert found.query(b"b") == 1
    assert found.query(b"nobody") == 0


@pytest.mark.parametrize("decay", [1.0, 0.9, 1e-9, 1 - 2**-53])
def test_increments_at_once_are_as_good_as_one_by_one(decay: float) -> None:
    """In one bucket, the newcomer wins against a small count and loses against a great one (unless decay is 1)."""
    found = TopK(5, 1, 1, decay)
    found.add(b"first", 3)
    found.add(b"second", 100_000)
    if decay > 0.5:
        assert found.query(b"first") == 0
        assert 0 < found.query(b"second") <= 100_000 - 2
    else:
        assert found.query(b"second") == 0
        assert 0 < found.query(b"first") <= 3


def test_copies_and_their_originals_roll_the_same_dice() -> None:
    items = zipf(9, 6000, 800)
    found = TopK(10, 20, 3, 0.9)
    for item in items[:3000]:
        found.add(item)
    twin = found.copy()
    twin.set_top(dict(found.top))
    assert [found.add(item) for item in items[3000:]] == [twin.add(item) for item in items[3000:]]
    assert (found.ranking(), found.counts, found.dice) == (twin.ranking(), twin.counts, twin.dice)


# T-digest -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["uniform", "normal", "skewed", "sorted", "few"])
def test_quantiles_are_near(shape: str) -> None:
    seed = 7
    print("seed", seed)
    source = random.Random(seed)
    draw = {
        "uniform": source.random,
        "normal": lambda: source.gauss(0, 1),
        "skewed": lambda: source.expovariate(1) ** 3,
        "sorted": source.random,
        "few": lambda: float(source.randrange(5)),
    }[shape]
    values = [draw() for _ in range(20_000)]
    if shape == "sorted":
        values.sort()
    found = TDigest(100)
    for value in values:
        found.add(value)
    values.sort()
    view = found.view()
    assert view is not None and view.total == len(values)
    assert len(view.means) <= 110
    assert (view.value_at(0), view.value_at(view.total)) == (values[0], values[-1])
    for quantile in (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999):
        allowed = 0.0005 + 4 * math.sqrt(quantile * (1 - quantile)) / 100
        value = view.value_at(quantile * view.total)
        if shape != "few":
            low, high = bisect_left(values, value) / len(values), bisect_right(values, value) / len(values)
            assert low - allowed <= quantile <= high + allowed
        truth = (bisect_left(values, value) + bisect_right(values, value)) / 2 / len(values)
        assert abs(view.rank(value) / view.total - truth) <= allowed + (0.02 if shape == "few" else 0)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60))
def test_small_digests_are_exact(values: list[float]) -> None:
    found = TDigest(1000)
    for value in values:
        found.add(value)
    view = found.view()
    assert view is not None
    values.sort()
    assert [view.value_at(at) for at in range(len(values))] == values
    assert [view.rank(value) for value in values] == [
        (bisect_left(values, value) + bisect_right(values, value)) / 2 for value in values
    ]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=300),
    st.lists(st.floats(0, 1), min_size=1, max_size=10),
)
def test_answers_are_in_order_and_within_bounds(values: list[float], quantiles: list[float]) -> None:
    found = TDigest(5)
    for value in values:
        found.add(value)
    view = found.view()
    assert view is not None
    quantiles.sort()
    answers = [view.value_at(quantile * view.total) for quantile in quantiles]
    span = max(abs(found.low), abs(found.high)) * 1e-12
    assert all(found.low - span <= answer <= found.high + span for answer in answers)
    assert all(one <= other + span for one, other in pairwise(answers))
    assert all(0 <= view.rank(value) <= view.total for value in values)


def test_merged_digests_know_what_both_knew() -> None:
    source = random.Random(11)
    one, other = TDigest(200), TDigest(50)
    values = [source.gauss(0, 10) for _ in range(10_000)]
    for at, value in enumerate(values):
        (one if at % 3 else other).add(value)
    one.merge(other)
    values.sort()
    view = one.view()
    assert view is not None and view.total == len(values)
    assert (one.low, one.high) == (values[0], values[-1])
    for quantile in (0.01, 0.5, 0.99):
        rank = bisect_left(values, view.value_at(quantile * view.total)) / len(values)
        assert abs(rank - quantile) < 0.02


def test_more_observations_than_can_be_counted() -> None:
    found = TDigest(10)
    found.add(1.0, tdigest.WEIGHT_MAX - 1)
    other = found.copy()
    with pytest.raises(DigestOverflow):
        found.merge(other)
    assert found.total == tdigest.WEIGHT_MAX - 1


def test_reading_changes_nothing() -> None:
    found = TDigest(20)
    for at in range(500):
        found.add(at % 77)
    state = (found.means[:], found.gathered[:], found.compressions)
    assert found.view() is found.view()
    assert (found.means, found.gathered, found.compressions) == state
    twin = found.copy()
    for one in (found, twin):
        for at in range(500):
            one.add(at / 3)
    assert (found.means, found.weights, found.gathered) == (twin.means, twin.weights, twin.gathered)
