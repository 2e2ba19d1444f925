"""The walk: an RDB of one moment, whatever the commands do between its slices."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.config import Config
from node.keyspace import Database
from node.persistence.options import SaveOptions
from node.persistence.rdb import RdbReader
from node.persistence.records import End, Key
from node.replication import snapshot
from node.replication.snapshot import SnapshotWalk
from node.types.hash import Hash

Content = dict[tuple[int, bytes], tuple[Any, int | None]]

OPTIONS = SaveOptions()


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
        return dict(value.lookup())
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
            value.put(more, more, Config())
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
        for keys in self.databases[number].clear():
            keys.clear()

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


def filled(clustered: bool, sizes: list[int]) -> list[Database]:
    databases = [Database(number, clustered) for number in range(3)]
    for database, size in zip(databases, sizes, strict=True):
        for number in range(size):
            key = b"key:%d" % number
            kinds: list[Any] = [b"value", 12345, bytearray(b"changes"), Hash({b"%d" % n: b"v" * 50 for n in range(60)})]
            database.store(key, kinds[number % 4], 10**12 + number if number % 3 == 0 else None)
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
    assert max(sizes) < 8000


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
