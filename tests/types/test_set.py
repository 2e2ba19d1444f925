"""Sets as values: members, forms, and drawing."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.types.set import Set, difference, intersection, union


@dataclass(frozen=True)
class Limits:
    set_max_intset_entries: int = 512
    set_max_listpack_entries: int = 128
    set_max_listpack_value: int = 64


DEFAULT = Limits()


def made(members: list[bytes], limits: Limits = DEFAULT) -> Set:
    value = Set.of(members[0], len(members), limits)
    value.update(members, limits)
    return value


def check(value: Set) -> set[bytes]:
    """The members. AssertionError when what the set knows of itself is not so."""
    members = value.members()
    assert len(members) == len(value) == len(set(members))
    assert value.is_empty == (not members)
    assert all(member in value for member in members)
    assert b"not in it" not in value
    assert list(value.lookup()) == members
    if isinstance(value.store, array):
        assert list(value.store) == sorted(value.store)
    assert value.table <= isinstance(value.store, dict)
    return set(members)


MEMBERS = st.one_of(
    st.integers(-20, 20).map(lambda number: b"%d" % number),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda number: b"%d" % number),
    st.sampled_from([b"", b"a", b"b", b"a\0b", b"\0", b"01", b"-0", b"+1", b"9223372036854775808", b"long" * 20]),
    st.binary(max_size=2),
)
STEPS = st.lists(
    st.tuples(st.sampled_from("aaurtm"), st.lists(MEMBERS, min_size=1, max_size=8), st.integers(0, 9)), max_size=60
)


@given(STEPS, st.sampled_from([DEFAULT, Limits(4, 4, 8), Limits(0, 5, 8), Limits(6, 0, 8)]), st.integers(0, 1 << 30))
@settings(max_examples=200, deadline=None)
def test_a_set_does_what_a_set_does(steps: list[tuple[str, list[bytes], int]], limits: Limits, seed: int) -> None:
    source = random.Random(seed)
    value = Set.empty(integers=True)
    model: set[bytes] = set()
    for action, members, count in steps:
        twin, before = value.copy(), set(model)
        if action == "a":
            assert value.add(members[0], limits) == (members[0] not in model)
            model.add(members[0])
        elif action == "u":
            value.expect(len(members), limits)
            assert value.update(members, limits) == len(set(members) - model)
            model.update(members)
        elif action == "r":
            assert value.remove(members[0], limits) == (members[0] in model)
            model.discard(members[0])
        elif action == "t" and model:
            taken = value.take(source, limits)
            model.remove(taken)
        elif action == "m" and len(model) > count:
            many = value.take_many(count, source, limits)
            assert len(set(many)) == len(many) == count
            assert set(many) <= model
            model.difference_update(many)
        assert check(value) == model
        assert check(twin) == before, "the copy changed with the original"


def width(value: Set) -> int:
    """The bytes of an integer in an intset."""
    assert isinstance(value.store, array)
    return value.store.itemsize


def test_forms() -> None:
    value = made([b"3", b"1"])
    assert (value.form, value.members()) == ("intset", [b"1", b"3"])
    assert width(value) == 2
    value.add(b"70000", DEFAULT)
    assert width(value) == 4
    value.add(b"-5000000000", DEFAULT)
    assert width(value) == 8
    value.remove(b"-5000000000", DEFAULT)
    assert width(value) == 8, "like Redis, it never gets narrower"
    value.add(b"text", DEFAULT)
    assert (value.form, value.store) == ("listpack", b"\x001\x003\x0070000\x00text\x00")
    value.add(b"a\0b", DEFAULT)
    assert (value.form, list(value.store)) == ("listpack", [b"1", b"3", b"70000", b"text", b"a\0b"])
    value.add(b"y" * 65, DEFAULT)
    assert value.form == "hashtable"
    assert made([b"%d" % at for at in range(512)]).form == "intset"
    assert made([b"%d" % at for at in range(513)]).form == "hashtable"
    assert made([b"m%d" % at for at in range(128)]).form == "listpack"
    assert made([b"m%d" % at for at in range(129)]).form == "hashtable"
    value = made([b"m"])
    value.expect(129, DEFAULT)
    assert value.form == "hashtable"


def test_what_is_in_a_packed_set() -> None:
    value = made([b"ab", b"c"])
    for other in (b"a", b"b", b"", b"ab\0c", b"\0", b"\0ab\0", b"b\0c"):
        assert other not in value
        assert not value.remove(other, DEFAULT)
    value.add(b"", DEFAULT)
    assert b"" in value
    assert value.members() == [b"ab", b"c", b""]
    assert value.remove(b"ab", DEFAULT)
    assert value.members() == [b"c", b""]
    assert value.remove(b"c", DEFAULT)
    assert value.members() == [b""]
    assert value.remove(b"", DEFAULT)
    assert value.members() == []


@pytest.mark.parametrize(
    ("loaded", "limits", "form"),
    [
        (Set(array("h", range(5)), loaded=True), DEFAULT, "intset"),
        (Set(array("h", range(5)), loaded=True), Limits(4), "hashtable"),
        (Set.listpack([b"a", b"b"], loaded=True), DEFAULT, "listpack"),
        (Set.listpack([b"a", b"b"], loaded=True), Limits(512, 1), "hashtable"),
        (Set(dict.fromkeys([b"2", b"1"]), table=True, loaded=True), DEFAULT, "intset"),
        (Set(dict.fromkeys([b"2", b"a"]), table=True, loaded=True), DEFAULT, "listpack"),
        (Set(dict.fromkeys([b"2", b"a" * 65]), table=True, loaded=True), DEFAULT, "hashtable"),
        (Set(dict.fromkeys([b"2", b"a", b"b"]), table=True, loaded=True), Limits(2), "hashtable"),
    ],
)
def test_a_loaded_set_takes_the_form_of_the_settings(loaded: Set, limits: Limits, form: str) -> None:
    members = set(loaded.members())
    assert loaded.encoding(limits) == form
    assert check(loaded) == members


FEW = st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"a", b"b", b"\0"])


@given(st.lists(st.sets(FEW), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_algebra(given_sets: list[set[bytes]]) -> None:
    sets = [made(sorted(one)) if one else Set.empty(integers=True) for one in given_sets]
    everywhere = set.intersection(*given_sets)
    assert set(intersection(sets)) == everywhere
    assert len(intersection(sets, 2)) == min(2, len(everywhere))
    assert set(union(sets)) == set.union(*given_sets)
    assert set(difference(sets[0], sets[1:])) == given_sets[0].difference(*given_sets[1:])
    assert [set(one.members()) for one in sets] == given_sets


@pytest.mark.parametrize("size", [5, 200, 1000])
def test_each_member_is_drawn_as_often(size: int) -> None:
    source = random.Random(11)
    value = made([b"m%d" % at for at in range(size)])
    for gone in range(size // 5):
        value.draw(1, source)
        value.remove(b"m%d" % gone, DEFAULT)
    rest = len(value)
    drawn = Counter(value.draw(rest * 100, source))
    assert set(drawn) == set(value.members())
    assert max(abs(times - 100) for times in drawn.values()) < 60
    distinct = Counter(member for _ in range(400) for member in value.draw_distinct(rest // 4, source))
    assert len(distinct) == rest
    assert max(abs(times - 400 * (rest // 4) / rest) for times in distinct.values()) < 60


def test_taking_everything_from_a_big_set_lists_it_once_for_each_halving_at_most() -> None:
    """Counted in listings, not in seconds: each SPOP on a big set is O(1)."""
    source = random.Random(5)
    value = made([b"m%d" % at for at in range(100_000)])
    first = value.take(source, DEFAULT)
    urn = value._urn
    assert urn is not None
    taken = {first, *(value.take(source, DEFAULT) for _ in range(60_000))}
    assert value._urn is urn
    assert len(urn.names) == len(value) == 100_000 - 60_001 and not urn.gone
    for member in value.members()[:1000]:
        value.remove(member, DEFAULT)
        taken.add(member)
    value.add(b"late", DEFAULT)
    while not value.is_empty:
        taken.add(value.take(source, DEFAULT))
    assert len(taken) == 100_001
