"""What the types say of their values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import Config
from node.persistence.options import EncodingLimits
from node.types import copy_of, elements_of, encoding_of, string, type_name
from node.types.hash import Hash

LIMITS = EncodingLimits()


@pytest.mark.parametrize(
    ("value", "name", "encoding"),
    [
        (5, "string", "int"),
        (b"5", "string", "embstr"),
        (b"", "string", "embstr"),
        (b"x" * 44, "string", "embstr"),
        (b"x" * 45, "string", "raw"),
        (bytearray(b"x"), "string", "raw"),
        (Hash({b"a": b"1"}), "hash", "listpack"),
        (Hash({b"a": b"x" * 64}), "hash", "listpack"),
        (Hash({b"a": b"x" * 65}), "hash", "hashtable"),
        (Hash({b"x" * 65: b"a"}), "hash", "hashtable"),
        (Hash({b"%d" % at: b"" for at in range(512)}), "hash", "listpack"),
        (Hash({b"%d" % at: b"" for at in range(513)}), "hash", "hashtable"),
    ],
)
def test_names_and_encodings(value: object, name: str, encoding: str) -> None:
    assert type_name(value) == name
    assert encoding_of(value, LIMITS) == encoding
    assert encoding_of(value, Config()) == encoding
    twin = copy_of(value)
    assert type_name(twin) == name
    assert encoding_of(twin, LIMITS) == encoding


def test_copies_part_ways() -> None:
    buffer, found = bytearray(b"a"), Hash({b"a": b"1"})
    buffer_twin, found_twin = copy_of(buffer), copy_of(found)
    buffer += b"b"
    found.put(b"b", b"2", Config())
    assert buffer_twin == b"a"
    assert found_twin.lookup() == {b"a": b"1"}
    assert elements_of(found) == 2


def test_a_hash_stays_a_table_when_it_shrinks() -> None:
    found = Hash({b"long": b"x" * 65, b"a": b"1"})
    assert found.encoding(LIMITS) == "hashtable"
    found.remove(b"long")
    assert found.encoding(LIMITS) == "hashtable"
    assert copy_of(found).encoding(LIMITS) == "hashtable"


@given(st.one_of(st.binary(max_size=25), st.integers(-(2**65), 2**65).map(lambda number: b"%d" % number)))
def test_compact_keeps_every_byte(text: bytes) -> None:
    value = string.compact(text)
    assert string.text_of(value) == text
    assert string.size_of(value) == len(text)
    assert bytes(string.buffer_of(value)) == text
    assert string.integer_of(value) == string.integer_of(text) == (value if isinstance(value, int) else None)
