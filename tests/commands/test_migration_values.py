"""What a slot migration sends of a value makes the same value elsewhere, and a big one comes in pieces that are small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import hiredis
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from node.migration import documents, values
from node.persistence.options import SaveOptions
from tests.commands.harness import Harness

OPTIONS = SaveOptions(version=11)
COUNT = 3000
PIECE_BYTES = 40_000


def value_of(node: Harness, key: bytes = b"k") -> Any:
    return node.node.databases[0].slots[0][key]


def made_elsewhere(value: Any) -> tuple[Harness, list[bytes]]:
    """A node that has carried out what is sent of a value, and what was sent."""
    there = Harness()
    sent = list(values.as_commands(b"k", value, None, OPTIONS))
    reader = hiredis.Reader()
    for piece in sent:
        reader.feed(piece)
        assert there.wire(*reader.gets())[:1] != b"-", piece
    return there, sent


def fill(kind: str) -> Harness:
    node = Harness()
    for number in range(COUNT):
        match kind:
            case "list":
                node.run("RPUSH", "k", f"element:{number}")
            case "set":
                node.run("SADD", "k", f"element:{number}")
            case "zset":
                node.run("ZADD", "k", number * 7919 % COUNT / 3, f"element:{number}")
            case "hash":
                node.run("HSET", "k", f"field:{number}", number)
            case "stream":
                node.run("XADD", "k", f"{number + 1}-1", "f", number)
    return node


READ = {
    "list": ("LRANGE", "k", 0, -1), "set": ("SMEMBERS", "k"), "zset": ("ZRANGE", "k", 0, -1, "WITHSCORES"),
    "hash": ("HGETALL", "k"), "stream": ("XRANGE", "k", "-", "+"),
}


@pytest.mark.parametrize("kind", READ)
def test_a_big_value_goes_in_small_pieces(kind: str) -> None:
    node = fill(kind)
    there, sent = made_elsewhere(value_of(node))
    assert there.run(*READ[kind]) == node.run(*READ[kind])
    assert len(sent) > 10 and max(map(len, sent)) < PIECE_BYTES


texts = st.text(st.sampled_from("ab\"\\'.[]$null é\n\0"), max_size=6)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=9) | st.dictionaries(texts, inner, max_size=9)


@settings(max_examples=150, deadline=None)
@given(st.recursive(scalars, containers, max_leaves=60))
@example({"a": {"b": [None, {"c": None}], "null": 1}, "": [[[]], {}]})
def test_a_document_is_the_same_elsewhere(root: Any) -> None:
    """However small the pieces are."""
    node = Harness()
    node.run("JSON.SET", "k", "$", orjson.dumps(root))
    with patch.object(documents, "_PIECE_VALUES", 3), patch.object(values, "BIG", 2):
        there, _ = made_elsewhere(value_of(node))
    assert there.run("JSON.GET", "k") == node.run("JSON.GET", "k")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def big_documents() -> Iterator[tuple[str, Any]]:
    yield "object", {f"field{number}": number for number in range(COUNT)}
    yield "array", [{"a": number, "b": None} for number in range(COUNT)]
    yield "object in an array", [1, {f"field{number}": [number] * 3 for number in range(COUNT)}, 2]


@pytest.mark.parametrize(("what", "root"), list(big_documents()))
def test_a_big_document_goes_in_small_pieces(what: str, root: Any) -> None:
    node = Harness()
    node.run("JSON.SET", "k", "$", orjson.dumps(root))
    there, sent = made_elsewhere(value_of(node))
    assert there.run("JSON.GET", "k") == node.run("JSON.GET", "k"), what
    assert len(sent) > 10 and max(map(len, sent)) < PIECE_BYTES


def test_a_document_that_is_deeper_than_a_text_may_be() -> None:
    node = Harness()
    node.run("JSON.SET", "k", "$", orjson.dumps(nested(100)))
    node.run("JSON.ARRAPPEND", "k", "$" + "[0]" * 99, orjson.dumps(nested(100)))
    there, _ = made_elsewhere(value_of(node))
    assert there.run("JSON.GET", "k") == node.run("JSON.GET", "k")


def test_small_values_are_one_request() -> None:
    node = Harness()
    node.run("JSON.SET", "k", "$", '{"a": [1, 2, {"b": null}]}')
    there, sent = made_elsewhere(value_of(node))
    assert len(sent) == 1 and there.run("JSON.GET", "k") == node.run("JSON.GET", "k")
