"""Big streams and documents in pieces: the bytes of a moment, however much is written before the value changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from node.keyspace import Database
from node.persistence.encodings import json as json_encoding
from node.persistence.encodings import streams
from node.persistence.options import SaveOptions
from node.persistence.payload import dump, dump_pieces, restore
from node.persistence.rdb import RdbReader
from node.persistence.records import Key
from node.replication import snapshot
from node.replication.snapshot import SnapshotWalk
from node.types import json as json_types
from tests.commands.harness import Harness

OPTIONS = SaveOptions(version=11)
DOCUMENT = {
    "numbers": [{"a": number, "b": None, "c": [1.0, "x"]} for number in range(300)],
    "names": {f"name{number}": number for number in range(300)}, "": {}, "é\"\\": [[], [[]]], "last": True,
}


def a_stream() -> tuple[Harness, Any]:
    node = Harness(settings={"stream-node-max-entries": "10"})
    for number in range(1, 300):
        node.run("XADD", "k", f"{number}-1", "f", f"value {number}")
    node.run("XDEL", "k", "17-1")
    node.run("XGROUP", "CREATE", "k", "g", "0")
    node.run("XREADGROUP", "GROUP", "g", "c", "COUNT", "40", "STREAMS", "k", ">")
    return node, node.node.databases[0].slots[0][b"k"]


def a_document() -> tuple[Harness, Any]:
    node = Harness()
    node.run("JSON.SET", "k", "$", orjson.dumps(DOCUMENT))
    return node, node.node.databases[0].slots[0][b"k"]


def loaded(data: bytes) -> Any:
    """The one value in an RDB."""
    reader = RdbReader()
    records = reader.feed(data)
    reader.close()
    (value,) = [record.value for record in records if isinstance(record, Key)]
    return value


CHANGES: dict[str, tuple[Callable[[], tuple[Harness, Any]], list[tuple[object, ...]], tuple[object, ...]]] = {
    "stream": (
        a_stream,
        [("XADD", "k", "*", "f", "new"), ("XDEL", "k", "250-1"), ("XTRIM", "k", "MAXLEN", "20"), ("XACK", "k", "g", "3-1")],
        ("XRANGE", "k", "-", "+"),
    ),
    "document": (
        a_document, [("JSON.SET", "k", "$.last", "1"), ("JSON.DEL", "k", "$.numbers"), ("JSON.SET", "k", "$", "[]")],
        ("JSON.GET", "k"),
    ),
}


@pytest.fixture(autouse=True)
def small_pieces() -> Any:
    with (
        patch.object(json_types, "_PIECE_VALUES", 7), patch.object(json_encoding, "_PLAIN_VALUES", 10),
        patch.object(json_encoding, "_HELD_BYTES", 500), patch.object(snapshot, "_BIG", 30),
        patch.object(streams, "_PIECE_BYTES", 300),
    ):
        yield


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20, 10_000])
def test_what_changes_in_the_middle_is_written_as_it_was(what: str, steps: int) -> None:
    make, changes, read = CHANGES[what]
    node, value = make()
    before, expected = dump(value, OPTIONS), node.run(*read)
    if steps > 1000:
        changes = []
    database: Database = node.node.databases[0]
    walk = SnapshotWalk([database], OPTIONS)
    data = b""
    sizes: list[int] = []
    while len(sizes) < steps and not walk.finished:
        sizes.append(len(part := walk.step(1, 1)))
        data += part
    for change in changes:
        node.run(*change)
    assert (node.run(*read) != expected) == bool(changes)
    while not walk.finished:
        sizes.append(len(part := walk.step(1, 1)))
        data += part
    assert dump(loaded(data), OPTIONS) == before
    assert len(sizes) > 10 and max(sizes) < 3000


@pytest.mark.parametrize("what", CHANGES)
def test_a_payload_in_pieces_is_the_value(what: str) -> None:
    """What MIGRATE sends; a document's text is not compressed there."""
    _, value = CHANGES[what][0]()
    assert dump(restore(b"".join(dump_pieces(value, OPTIONS))), OPTIONS) == dump(value, OPTIONS)


def test_the_text_of_a_document_in_pieces_is_its_text() -> None:
    _, value = a_document()
    pieces = list(json_types.text_pieces(value.root))
    assert b"".join(pieces) == json_types.to_text(value.root) and len(pieces) > 100
