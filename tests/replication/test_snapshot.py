"""The walk: an RDB of one moment, whatever the commands do between its slices."""

from __future__ import annotations

import copy
from sys import getrefcount
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.config import Config
from node.freeing import Remains
from node.keyspace import Database
from node.persistence.encodings import hashes, sets, zsets
from node.persistence.options import SaveOptions
from node.persistence.rdb import RdbReader
from node.persistence.records import End, Key
from node.replication import snapshot
from node.replication.snapshot import SnapshotWalk
from node.types.hash import FieldDeadlines, Hash
from node.types.list import List
from node.types.set import Set
from node.types.zset import ZSet

Content = dict[tuple[int, bytes], tuple[Any, int | None]]

OPTIONS = SaveOptions(version=12)
CONFIG = Config()


def loaded(data: bytes) -> Content:
    """What the RDB holds. AssertionError when it is not whole or has a key twice."""
    reader = RdbReader()
    records = reader.feed(data)
    reader.close()
    assert reader.leftover == b""
    assert isinstance(records[-1], End)
    content: Content = {}
    for record in records:
        if isinstance(record, Key):
            assert (record.db, record.key) not in content, f"{record.key!r} is there twice"
            content[record.db, record.key] = plain(record.value), record.expire_ms
    return content


def plain(value: Any) -> Any:
    if isinstance(value, Hash):
        return dict(value.lookup()), {} if value.deadlines is None else dict(value.deadlines.by_field)
    if isinstance(value, Set):
        return set(value.members())
    if isinstance(value, ZSet):
        return value.ascending()
    if isinstance(value, List):
        return value.elements()
    return b"%d" % value if isinstance(value, int) else bytes(value)


def content_of(databases: list[Database]) -> Content:
    return {
        (database.index, key): (plain(copy.deepcopy(value)), database.expires.get(key))
        for database in databases
        for keys in database.slots
        for key, value in keys.items()
    }


class Writer:
    """Does to databases what commands do, and tells the walkers as `Context` does."""

    def __init__(self, databases: list[Database]) -> None:
        self.databases = databases

    def _before(self, database: Database, key: bytes) -> None:
        for walker in database.walkers:
            walker.before_change(database, database.slot_of(key), key)

    def set(self, number: int, key: bytes, value: Any) -> None:
        database = self.databases[number]
        self._before(database, key)
        database.keys_of(key)[key] = value
        database.expires.pop(key, None)

    def extend(self, number: int, key: bytes, more: bytes) -> None:
        """Changes a value in place, as APPEND and HSET do."""
        database = self.databases[number]
        self._before(database, key)
        keys = database.keys_of(key)
        value = keys.get(key)
        if isinstance(value, bytearray):
            value += more
        elif isinstance(value, Hash):
            value.put(more, more, CONFIG)
            value.remove(b"%d" % (len(more) * 7))
            if value.deadlines is not None:
                value.expire_at(more, 1)
        elif isinstance(value, Set):
            value.add(more, CONFIG)
            value.remove(b"%d" % (len(more) * 7), CONFIG)
        elif isinstance(value, ZSet):
            value.settle(CONFIG)
            value.put(b"%d" % len(more), value.get(b"%d" % len(more)), float(more[0]), CONFIG)
            value.remove(b"%d" % (len(more) * 7))
        elif isinstance(value, List):
            value.push([more], True, CONFIG)
            value.replace(len(value) // 2, more, CONFIG)
        else:
            keys[key] = bytearray(more)

    def delete(self, number: int, key: bytes) -> None:
        database = self.databases[number]
        if key in database.keys_of(key):
            self._before(database, key)
            del database.keys_of(key)[key]
            database.expires.pop(key, None)

    def expire(self, number: int, key: bytes, at_ms: int) -> None:
        database = self.databases[number]
        if key in database.keys_of(key):
            self._before(database, key)
            database.expires[key] = at_ms

    def clear(self, number: int) -> None:
        remains = Remains()
        remains.add(self.databases[number].clear())
        remains.free(1 << 30)

    def swap(self, one: int, other: int) -> None:
        if one != other:
            self.databases[one].swap(self.databases[other])


_KEYS = st.integers(0, 40).map(lambda number: b"key:%d" % number)
_DBS = st.integers(0, 2)
_OPERATIONS = st.one_of(
    st.tuples(st.just("set"), _DBS, _KEYS, st.binary(max_size=8)),
    st.tuples(st.just("extend"), _DBS, _KEYS, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("delete"), _DBS, _KEYS),
    st.tuples(st.just("expire"), _DBS, _KEYS, st.integers(1, 10**13)),
    st.tuples(st.just("clear"), _DBS),
    st.tuples(st.just("swap"), _DBS, _DBS),
)


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few keys are many here, so that the ways of big slots are gone too."""
    monkeypatch.setattr(snapshot, "_UNIT_MAX", 4)
    monkeypatch.setattr(snapshot, "_LIST_SLICE", 3)
    monkeypatch.setattr(snapshot, "_BIG", 30)
    monkeypatch.setattr(hashes, "_PIECE_BYTES", 300)
    monkeypatch.setattr(hashes, "_PIECE_FIELDS", 4)
    monkeypatch.setattr(sets, "_PIECE_MEMBERS", 10)
    monkeypatch.setattr(zsets, "_PIECE_MEMBERS", 10)


def values() -> list[Any]:
    """One of each kind; those that have elements are big here."""
    names = [b"%d" % number for number in range(60)]
    expiring, plainly = Hash({}), Hash({})
    for made in (expiring, plainly):
        made.put_all([text for name in names for text in (name, b"v" * 70)], CONFIG)
    expiring.deadlines = FieldDeadlines({name: 10**12 + at for at, name in enumerate(names) if at % 3})
    listed, scored, table = List(), ZSet(), Set({}, table=True)
    listed.push([name * 400 for name in names], False, CONFIG)
    scored.become_skiplist()
    for at, name in enumerate(names):
        scored.put(name, None, float(at % 7), CONFIG)
    table.update(names, CONFIG)
    return [b"value", 12345, bytearray(b"changes"), plainly, expiring, listed, scored, table]


def filled(clustered: bool, sizes: list[int]) -> list[Database]:
    databases = [Database(number, clustered) for number in range(3)]
    kinds: list[Any] = []
    for database, size in zip(databases, sizes, strict=True):
        for number in range(size):
            key = b"key:%d" % number
            kinds = values() if not number % 8 else kinds
            database.store(key, kinds[number % 8], 10**12 + number if number % 3 == 0 else None)
    return databases


@settings(max_examples=150, deadline=None)
@given(
    clustered=st.booleans(),
    sizes=st.lists(st.integers(0, 40), min_size=3, max_size=3),
    turns=st.lists(st.lists(_OPERATIONS, max_size=4), max_size=40),
    keys_max=st.integers(1, 9),
    bytes_max=st.sampled_from([1, 100, 100_000]),
)
def test_the_snapshot_is_of_the_moment_it_began(
    clustered: bool, sizes: list[int], turns: list[list[tuple[Any, ...]]], keys_max: int, bytes_max: int
) -> None:
    databases = filled(clustered, sizes)
    expected = content_of(databases)
    walk = SnapshotWalk(databases, OPTIONS)
    writer = Writer(databases)
    data = b""
    for turn in turns:
        if not walk.finished:
            data += walk.step(keys_max, bytes_max)
        for name, *args in turn:
            getattr(writer, name)(*args)
    while not walk.finished:
        data += walk.step(keys_max, bytes_max)
    assert loaded(data) == expected
    assert all(not database.walkers for database in databases)


def test_two_walks_at_once_do_not_disturb_each_other() -> None:
    databases = filled(False, [40, 10, 0])
    writer = Writer(databases)
    first_expected = content_of(databases)
    first = SnapshotWalk(databases, OPTIONS)
    first_data = first.step(5, 1000)
    writer.set(0, b"key:39", b"changed")
    writer.delete(1, b"key:3")
    second_expected = content_of(databases)
    second = SnapshotWalk(databases, OPTIONS)
    second_data = second.step(5, 1000)
    writer.clear(0)
    while not first.finished:
        first_data += first.step(5, 1000)
    while not second.finished:
        second_data += second.step(5, 1000)
    assert loaded(first_data) == first_expected
    assert loaded(second_data) == second_expected


def test_a_slice_is_bounded() -> None:
    databases = filled(False, [40, 0, 0])
    walk = SnapshotWalk(databases, OPTIONS)
    sizes = []
    while not walk.finished:
        sizes.append(len(walk.step(2, 1 << 20)))
    assert len(sizes) > 20
    assert max(sizes) < 12_000


def test_closing_frees_the_databases() -> None:
    databases = filled(False, [10, 0, 0])
    walk = SnapshotWalk(databases, OPTIONS)
    walk.step(1, 1)
    walk.close()
    assert all(not database.walkers for database in databases)


def test_without_keys_only_the_frame_is_written() -> None:
    databases = filled(False, [10, 0, 0])
    walk = SnapshotWalk(databases, OPTIONS, [(b"redis-ver", b"7.2.0")], keys=False)
    assert loaded(walk.step(10, 1000)) == {}


@pytest.mark.parametrize("kind", [Hash, List, Set, ZSet])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_big_value_that_changes_is_neither_written_at_once_nor_replaced(kind: type, steps: int) -> None:
    """Before the walk is there and in the middle of it: what is left to write is noted, and the value stays itself."""
    for value in values():
        if type(value) is not kind:
            continue
        database = Database(0, False)
        database.store(b"big", value, None)
        expected = content_of([database])
        walk = SnapshotWalk([database], OPTIONS)
        data = b"".join(walk.step(1, 1) for _ in range(steps))
        writer = Writer([database])
        for more in (b"x", b"yy", b"z" * 8):
            writer.extend(0, b"big", more)
        assert database.slots[0][b"big"] is value
        assert content_of([database]) != expected
        sizes = []
        while not walk.finished:
            sizes.append(len(part := walk.step(1, 1)))
            data += part
        assert len(sizes) > 3
        assert loaded(data) == expected


def test_a_flush_copies_nothing_and_what_it_dropped_is_freed_piece_by_piece() -> None:
    databases = filled(False, [40, 30, 0])
    expected = content_of(databases)
    freed: list[Any] = []
    walk = SnapshotWalk(databases, OPTIONS, free=freed.extend)
    data = walk.step(3, 1000)
    held = [databases[0].slots[0], databases[1].slots[0]]
    writer = Writer(databases)
    writer.clear(0)
    writer.clear(1)
    writer.set(0, b"key:1", b"new")
    assert [len(keys) for keys in held] == [40, 30]
    while not walk.finished:
        assert not freed
        data += walk.step(3, 1000)
    assert loaded(data) == expected
    assert all(any(one is keys for one in freed) for keys in held)


@pytest.mark.parametrize("kind", [Hash, List, Set, ZSet])
def test_what_is_dropped_while_it_is_written_is_held_by_nobody(kind: type) -> None:
    """`Remains` frees piece by piece only what nobody else refers to."""
    value = next(one for one in values() if type(one) is kind)
    store = {Hash: "store", Set: "store", List: "blocks", ZSet: "_scores"}[kind]
    database = Database(0, False)
    database.store(b"big", value, None)
    walk = SnapshotWalk([database], OPTIONS)
    walk.step(1, 1)
    assert not walk.finished
    Writer([database]).delete(0, b"big")
    held = getattr(value, store)
    references = getrefcount(held)
    assert references == 3  # the value's, the one of `held`, and the argument
    while not walk.finished:
        walk.step(1, 1)
