"""JSON documents as values: what is parsed, how it is written, equality, merging, arithmetic."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.types.json import (
    TEXT_DEPTH_MAX,
    Json,
    JsonError,
    calculated,
    copied,
    depth_of,
    memory_of,
    merged,
    parse,
    same,
    to_spaced_text,
    to_text,
    type_name,
)

_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"3", 3),
        (b"3.0", 3.0),
        (b"1e2", 100.0),
        (b"-0.0", -0.0),
        (b"9223372036854775808", 1 << 63),
        (b"18446744073709551615", (1 << 64) - 1),
        (b"18446744073709551616", 18446744073709551616.0),
        (b"-9223372036854775809", -9223372036854775809.0),
        (b' {"a":1, "a":2} ', {"a": 2}),
        (b'"\\u00e9\\n"', "é\n"),
    ],
)
def test_parsing(text: bytes, value: Any) -> None:
    found = parse(text)
    assert same(found, value)
    assert math.copysign(1, found) == math.copysign(1, value) if isinstance(value, float) else True


@pytest.mark.parametrize(
    "text",
    [b"", b"[1,]", b"nul", b"NaN", b"Infinity", b"1e400", b"01", b'"\\ud800"', b'"\xff"', b"{1:2}", b"'a'", b"[" * 100_000],
)
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(JsonError):
        parse(text)


def test_depth() -> None:
    assert depth_of(parse(nested(TEXT_DEPTH_MAX))) == TEXT_DEPTH_MAX
    for depth in (TEXT_DEPTH_MAX + 1, 1000, 1024, 1025, 5_000_000):
        with pytest.raises(JsonError, match="recursion limit exceeded"):
            parse(nested(depth))
    flat = parse(b"[" + b"[],{}," * 1000 + b"1]")
    assert depth_of(flat) == 2
    assert [depth_of(one) for one in (1, "a", [], {}, [1, [2]], {"a": {"b": [0]}})] == [0, 0, 1, 1, 2, 3]


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_again(value: Any) -> None:
    text = to_text(value)
    assert same(parse(text), value)
    assert json.loads(text) == value
    for between in ((b"  ", b"\n", b" "), (b"", b"", b" "), (b"\t", b"", b"")):
        assert same(parse(to_spaced_text(value, *between)), value)
    assert same(copied(value), value)
    assert Json(value).parts() >= 1
    assert memory_of(value) >= 8


def test_spaces_are_where_redisjson_puts_them() -> None:
    value = {"a": [1, {"b": None}], "c": [], "d": {}}
    assert to_spaced_text(value, b"_", b"n", b"s") == b'{n_"a":s[n__1,n__{n___"b":snulln__}n_],n_"c":s[],n_"d":s{}n}'


def test_a_copy_shares_nothing() -> None:
    document = Json({"a": [1, 2]})
    other = document.copy()
    other.root["a"].append(3)
    assert document.root == {"a": [1, 2]}
    assert document.parts() == 4
    assert document.encoding(None) == "raw"


def test_equality_knows_types() -> None:
    assert not same(1, 1.0)
    assert not same(1, True)
    assert not same([0], [False])
    assert not same({"a": 1}, {"a": 1, "b": 2})
    assert not same({"a": 1}, {"b": 1})
    assert same({"a": [1, {}], "b": None}, {"b": None, "a": [1, {}]})
    assert [type_name(one) for one in (None, True, 1, 1.5, "", [], {})] == [
        *("null", "boolean", "integer", "number", "string", "array", "object")
    ]


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        (["a", "b"], ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches(value: Any, patch: Any, result: Any) -> None:
    """The cases of RFC 7396, appendix A."""
    assert same(merged(value, patch), result)


def test_arithmetic() -> None:
    assert same(calculated(1, 2, False), 3)
    assert same(calculated(1, 2.0, False), 3.0)
    assert same(calculated(3.5, 2, True), 7.0)
    assert same(calculated((1 << 64) - 1, 1, False), float(1 << 64))
    for operands in (((1 << 63) - 1, 1, False), (1 << 62, 2, True), (-(1 << 63), -1, False)):
        with pytest.raises(JsonError, match="overflow"):
            calculated(*operands)
    with pytest.raises(JsonError, match="not a number"):
        calculated(1e308, 10, True)
