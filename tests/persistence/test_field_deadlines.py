"""Deadlines of hash fields in RDB: which version has them, who reads it, and that they come back from each."""

from __future__ import annotations

import pytest

from node.persistence.errors import RdbError
from node.persistence.options import SaveOptions, common_rdb_version
from node.persistence.rdb import KeyPieces, RdbReader, RdbWriter
from node.persistence.records import Key, SlotImport
from node.persistence.wire import encode_length, encode_string
from node.types.hash import FieldDeadlines, Hash


@pytest.mark.parametrize(
    ("versions", "common"),
    [([12], 12), ([12, 80], 80), ([80], 80), ([10, 11], 10), ([11], 11), ([11, 80], 11), ([10, 12], 10)],
)
def test_rdb_version_for_several_replicas(versions: list[int], common: int) -> None:
    assert common_rdb_version(versions) == common


@pytest.mark.parametrize("fields", [1, 3, 5000])
def test_deadlines_of_fields_in_each_version(fields: int) -> None:
    """Whole and in pieces; versions before 12 have none."""
    names = [b"field%d" % number for number in range(fields)]
    value = Hash({name: b"value" * (at % 9) for at, name in enumerate(names)})
    value.deadlines = FieldDeadlines({name: 4102444800000 + at for at, name in enumerate(names) if at % 2 == 0})
    expected = dict(value.deadlines.by_field)
    for version in (10, 11, 12, 80):
        writer = RdbWriter(SaveOptions(version=version))
        writer.header()
        writer.select(0)
        writer.key(b"whole", value)
        for piece in KeyPieces(b"pieces", value, None, writer.options):
            writer.raw(piece)
        blob = writer.finish()
        assert blob.startswith(b"VALKEY080" if version == 80 else b"REDIS00%d" % version)
        reader = RdbReader()
        read = [record.value for record in reader.feed(blob) if isinstance(record, Key)]
        reader.close()
        assert len(read) == 2
        for one in read:
            assert isinstance(one, Hash) and dict(one.lookup()) == dict(value.lookup())
            found = {} if one.deadlines is None else dict(one.deadlines.by_field)
            assert found == (expected if version >= 12 else {})


def test_slots_that_valkey_was_importing() -> None:
    """Opcode 0xF3: a name of 40 characters, a count, and so many first and last slots; whole or byte by byte."""
    head, name = b"VALKEY080", b"n" * 40
    blob = head + b"\xf3" + encode_string(name, False) + encode_length(2)
    blob += b"".join(encode_length(slot) for slot in (0, 99, 16000, 16383)) + b"\xfe\x00\xff" + bytes(8)
    for size in (1, len(blob)):
        reader = RdbReader()
        records = [record for at in range(0, len(blob), size) for record in reader.feed(blob[at : at + size])]
        reader.close()
        found = [one for one in records if isinstance(one, SlotImport)]
        assert found == [SlotImport(name.decode(), [(0, 99), (16000, 16383)])]


NAME = b"n" * 40


@pytest.mark.parametrize("damage", [(b"n", 1, 0, 1), (NAME, 1, 5, 4), (NAME, 1, 0, 16384), (NAME, 16385, 0, 1)])
def test_imports_that_cannot_be(damage: tuple[bytes, int, int, int]) -> None:
    name, *numbers = damage
    with pytest.raises(RdbError, match="import of slots"):
        RdbReader().feed(b"VALKEY080\xf3" + encode_string(name, False) + b"".join(map(encode_length, numbers)))
