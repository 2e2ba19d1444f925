"""Lists as values: contents, the sizes of their nodes, and that no operation walks further than it must."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.persistence import listpack
from node.types.blocks import LISTPACK_OVERHEAD, PLAIN, Block, entry_size, exceeds
from node.types.list import List
from tests.persistence.samples import EDGE_INTS, texts


@dataclass(frozen=True)
class Limits:
    list_max_listpack_size: int = -2


DEFAULT = Limits()


def check(value: List) -> list[bytes]:
    """The elements. AssertionError when what the list knows of itself is not so."""
    elements = value.elements()
    assert len(elements) == len(value) == value.count
    assert list(value) == elements
    if value.packed is not None:
        assert value.fill is None
        assert value.blocks == []
    elif value.fill is not None:
        assert all(map(len, value.blocks))
        for block in value.blocks:
            assert block.size == LISTPACK_OVERHEAD + sum(map(entry_size, block))
    if value.fill is None:
        assert value.size == LISTPACK_OVERHEAD + sum(map(entry_size, elements))
    for at in range(0, len(elements), max(1, len(elements) // 7)):
        assert value.at(at) == elements[at]
    return elements


def made(elements: list[bytes], limits: Limits = DEFAULT) -> List:
    value = List()
    value.push(elements, False, limits)
    return value


def test_entry_sizes_are_those_of_listpacks() -> None:
    long = [b"y" * size for size in (125, 126, 16378, 16379, 16381, 16382, 2097140, 2097150)]
    for text in [*texts(), *long, *(b"%d" % number for number in EDGE_INTS)]:
        assert entry_size(text) == len(listpack.encode([text])) - LISTPACK_OVERHEAD, text[:30]


@pytest.mark.parametrize(
    ("fill", "size", "count", "too_much"),
    [
        (-1, 4096, 9999, False),
        (-1, 4097, 1, True),
        (-5, 65536, 1, False),
        (-5, 65537, 1, True),
        (-99, 65536, 1, False),
        (3, 8192, 3, False),
        (3, 8193, 1, True),
        (3, 10, 4, True),
        (0, 10, 1, False),
        (0, 10, 2, True),
    ],
)
def test_limits(fill: int, size: int, count: int, too_much: bool) -> None:
    assert exceeds(fill, size, count) is too_much


ELEMENTS = st.one_of(
    st.sampled_from([b"a", b"b", b"", b"0", b"-7", b"300", b"x" * 60, b"y" * 300, b"a\0b"]), st.binary(max_size=4)
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "pop", "pop_many", "trim", "insert", "replace", "remove", "range", "lpos"]),
        st.booleans(),
        st.integers(0, 40),
        st.lists(ELEMENTS, min_size=1, max_size=12),
    ),
    max_size=60,
)


def apply(value: List, model: list[bytes], step: tuple[str, bool, int, list[bytes]], limits: Limits) -> list[bytes]:
    """Do one step to both; the elements that the list ought to have then."""
    action, head, number, texts_ = step
    text, size = texts_[0], len(model)
    if action == "push":
        value.push(texts_, head, limits)
        return [*texts_[::-1], *model] if head else [*model, *texts_]
    if not model:
        return model
    if action == "pop":
        assert value.pop(head, limits) == model[0 if head else -1]
        value.shrink(limits)
        return model[1:] if head else model[:-1]
    if action == "pop_many":
        taken = model[:number] if head else model[::-1][:number]
        assert value.pop_many(number, head, limits) == taken
        return model[number:] if head else model[: max(0, size - number)]
    if action == "trim":
        before = min(number, size)
        behind = min(len(texts_), size - before)
        value.trim(before, behind, limits)
        return model[before : size - behind]
    if action == "insert":
        value.grow([text], limits)
        found = value.insert(model[number % size], text, head)
        assert found
        at = model.index(model[number % size]) + head
        return [*model[:at], text, *model[at:]]
    if action == "replace":
        value.grow([text], limits)
        value.replace(number % size, text, limits)
        return [*model[: number % size], text, *model[number % size + 1 :]]
    if action == "remove":
        return removed(value, model, (number % 4) * (1 if head else -1), text, limits)
    if action == "range":
        assert value.range(number % size, size - 1) == model[number % size :]
        return model
    places = [at for at, element in enumerate(model) if element == text]
    assert value.positions(text, 1, 0, 0) == places
    assert value.positions(text, -1, 2, 0) == places[::-1][:2]
    assert value.positions(text, 1, 0, number or 1) == [at for at in places if at < (number or 1)]
    return model


def removed(value: List, model: list[bytes], count: int, text: bytes, limits: Limits) -> list[bytes]:
    places = [at for at, element in enumerate(model) if element == text]
    places = places[count:] if count < 0 else places[: count or None]
    assert value.remove(text, count, limits) == len(places)
    return [element for at, element in enumerate(model) if at not in places]


@given(STEPS, st.sampled_from([-1, -2, 0, 1, 3, 8]))
@settings(max_examples=150, deadline=None)
def test_a_list_does_what_a_list_does(steps: list[tuple[str, bool, int, list[bytes]]], fill: int) -> None:
    limits = Limits(fill)
    value = List()
    model: list[bytes] = []
    for step in steps:
        twin = value.copy()
        before = list(model)
        model = apply(value, model, step, limits)
        assert check(value) == model
        assert check(twin) == before, "the copy changed with the original"


def test_a_list_of_many_nodes() -> None:
    rng = random.Random(3)
    model = [b"%d" % rng.randrange(1 << 40) for _ in range(30_000)]
    value = made(model)
    assert len(value.blocks) > 20
    assert check(value) == model
    for _ in range(300):
        step = rng.choice(["insert", "replace", "pop", "push", "range", "trim"])
        model = apply(value, model, (step, rng.random() < 0.5, rng.randrange(30_000), [b"new", b"er"]), DEFAULT)
        if len(model) < 10_000:
            break
    assert check(value) == model


def test_places_are_listed_once_and_not_for_each_look() -> None:
    value = made([b"%09d" % at for at in range(200_000)])
    assert value.at(100_000) == b"%09d" % 100_000
    ends = value._ends
    assert ends is not None and len(ends) == len(value.blocks) < 400
    for at in range(1000, 199_000, 997):
        assert value.range(at, at + 2) == [b"%09d" % (at + more) for more in range(3)]
    assert value._ends is ends


def test_pushing_and_popping_touches_the_end_block_only() -> None:
    value = made([b"%09d" % at for at in range(100_000)])
    inner = value.blocks[1:-1]
    for at in range(500):
        value.push([b"%09d" % at], at % 2 == 0, DEFAULT)
        value.pop(at % 3 == 0, DEFAULT)
    assert all(any(block is one for one in value.blocks) for block in inner[2:-2])
    assert max(map(len, value.blocks)) < 1000


def test_small_lists_are_packed() -> None:
    value = made([b"a", b"b"])
    assert value.packed == b"\0a\0b\0"
    value.push([b"with\0zero"], True, DEFAULT)
    assert value.packed is None
    assert check(value) == [b"with\0zero", b"a", b"b"]
    assert value.encoding(DEFAULT) == "listpack"
    wide = Limits(-3)
    value = made([b"x" * 100] * 120, wide)
    assert value.packed is None
    assert value.encoding(wide) == "listpack"
    assert check(value) == [b"x" * 100] * 120
    value = made([b"x" * 100] * 50)
    assert value.encoding(DEFAULT) == "listpack"
    value.push([b"x" * 100] * 50, False, DEFAULT)
    assert value.encoding(DEFAULT) == "quicklist"
    value.pop_many(80, True, DEFAULT)
    assert value.encoding(DEFAULT) == "listpack"
    assert value.packed is not None


def test_a_loaded_list_takes_the_form_of_the_settings() -> None:
    nodes = [Block([b"%d" % at for at in range(10)])]
    assert List.from_nodes(nodes).encoding(DEFAULT) == "listpack"
    assert List.from_nodes([Block(nodes[0])]).encoding(Limits(5)) == "quicklist"
    two = List.from_nodes([Block([b"a"]), Block([b"b"])])
    assert two.encoding(DEFAULT) == "quicklist"
    assert two.elements() == [b"a", b"b"]
    plain = List.from_nodes([Block([b"a"], PLAIN)])
    assert plain.encoding(DEFAULT) == "quicklist"
    plain.push([b"b"], False, DEFAULT)
    assert [list(block) for block in plain.blocks] == [[b"a"], [b"b"]]
    plain.replace(0, b"c", DEFAULT)
    assert plain.elements() == [b"c", b"b"]
    assert plain.pop(True, DEFAULT) == b"c"


def test_blocks_away_from_the_ends_are_sealed() -> None:
    value = made([b"%09d" % at for at in range(100_000)])
    inner = value.blocks[2:-2]
    assert len(inner) > 100
    assert all(block.items is None for block in inner)
    assert sum(len(block.packed) for block in inner) < 1.01 * sum(10 * len(block) for block in inner)
    for at in (50_000, 50_001, 70_000, 30_000):
        value.replace(at, b"x%08d" % at, DEFAULT)
        assert value.at(at) == b"x%08d" % at
        assert sum(block.items is not None for block in value.blocks[2:-2]) == 1
    assert value.insert(b"%09d" % 20_000, b"y", True)
    assert value.remove(b"x%08d" % 70_000, 0, DEFAULT) == 1
    assert sum(block.items is not None for block in value.blocks[3:-3]) <= 1
    assert value.positions(b"y", 1, 1, 0) == value.positions(b"y", -1, 1, 0) == [20_001]
    twin = value.copy()
    assert check(twin) == check(value)
    assert all(one.packed is other.packed for one, other in zip(twin.blocks, value.blocks, strict=True))
    loaded = List.from_nodes([Block(block) for block in value.blocks])
    assert all(block.items is None for block in loaded.blocks[2:-2])
    assert check(loaded) == check(value)


def test_blocks_with_zero_bytes_stay_open() -> None:
    model = [b"%06d\0" % at if at % 1000 == 0 else b"%07d" % at for at in range(20_000)]
    value = made(model)
    assert check(value) == model
    assert any(block.items is not None for block in value.blocks[2:-2])
    assert value.positions(b"%06d\0" % 7000, 1, 0, 0) == [7000]
    assert value.remove(b"%06d\0" % 7000, 0, DEFAULT) == 1
    assert value.remove(b"1\0", 0, DEFAULT) == 0
    assert check(value) == model[:7000] + model[7001:]


def test_a_full_block_is_not_sealed_and_opened_with_each_push_and_pop() -> None:
    value = made([b"%09d" % at for at in range(20_000)])
    while len(value.blocks[-1]) > 1:
        value.pop(False, DEFAULT)
    states = [block.items is None for block in value.blocks]
    for _ in range(10):
        value.pop(False, DEFAULT)
        value.push([b"%09d" % 5], False, DEFAULT)
    assert [block.items is None for block in value.blocks] == states


def test_the_stamp_is_the_same_until_something_changes() -> None:
    changes: list[Callable[[List], object]] = [
        lambda value: value.push([b"x"], True, DEFAULT),
        lambda value: value.pop(False, DEFAULT),
        lambda value: value.trim(1, 1, DEFAULT),
        lambda value: value.replace(1, b"y", DEFAULT),
        lambda value: value.insert(b"y", b"z", False),
        lambda value: value.remove(b"z", 1, DEFAULT),
        lambda value: value.pop_many(2, True, DEFAULT),
    ]
    for size in (10, 5000):
        value = made([b"%09d" % at for at in range(size)])
        for change in changes:
            before = value.stamp()
            value.at(3)
            value.range(0, 5)
            assert value.stamp() is before
            change(value)
            assert value.stamp() is not before
