"""Hashes in both forms: the same as a dict, whatever bytes the texts have, and as big as Redis would make them."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.config import Config
from node.types.hash import Hash

TEXTS = st.one_of(
    st.binary(max_size=4),
    st.lists(st.sampled_from([0xC0, 0xC1, 0xFF, 0, 1, 2, 3, 97]), max_size=5).map(bytes),
    st.sampled_from([b"x" * 64, b"x" * 65]),
)
STEPS = st.lists(st.tuples(st.sampled_from("pppprrad"), st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12)))


def limited(entries: int = 512, value: int = 64) -> Config:
    """The settings with these thresholds."""
    config = Config()
    config.load("hash-max-listpack-entries", [str(entries)])
    config.load("hash-max-listpack-value", [str(value)])
    return config


@given(STEPS, st.sampled_from([3, 20, 512]))
@settings(max_examples=150, deadline=None)
def test_a_hash_is_a_dict(steps: list[tuple[str, list[tuple[bytes, bytes]]]], entries: int) -> None:
    limits = limited(entries)
    found, model, table = Hash({}), dict[bytes, bytes](), False
    for action, pairs in steps:
        if action == "p":
            for field, text in pairs:
                assert found.put(field, text, limits) == (field not in model)
                model[field] = text
                table = table or len(model) > entries or max(len(field), len(text)) > 64
        elif action == "a":
            texts = [text for pair in pairs for text in pair]
            assert found.put_all(texts, limits) == len(dict(pairs).keys() - model.keys())
            model.update(pairs)
            table = table or max(len(model), len(pairs)) > entries or max(map(len, texts)) > 64
        elif action == "d":
            found = found.copy()
        else:
            for field, _ in pairs:
                assert found.remove(field) == (model.pop(field, None) is not None)
        assert len(found) == len(model)
        assert found.is_empty == (not model)
        assert found.names() == list(model)
        assert found.values() == list(model.values())
        assert found.lookup() == model
        for field, _ in pairs:
            assert found.get(field) == model.get(field)
            assert (field in found) == (field in model)
        if model:
            assert found.encoding(limits) == ("hashtable" if table else "listpack")
            assert isinstance(found.store, dict) == table


@given(st.dictionaries(TEXTS, TEXTS, max_size=20), st.sampled_from([3, 20]))
@settings(max_examples=60, deadline=None)
def test_a_hash_as_loaded_takes_the_form_of_the_settings(model: dict[bytes, bytes], entries: int) -> None:
    limits = limited(entries)
    found = Hash(dict(model))
    assert found.flat() == [text for pair in model.items() for text in pair]
    table = len(model) > entries or any(len(text) > 64 for pair in model.items() for text in pair)
    assert found.is_table(limits) == table
    assert isinstance(found.store, dict) == table
    assert found.lookup() == model


def test_a_value_that_looks_like_a_field_is_none() -> None:
    found = Hash({b"a": b"b", b"b": b"a\xc1b\xc0c", b"c\xc1": b"\xff\3"})
    assert [found.get(field) for field in (b"a", b"b", b"c", b"c\xc1", b"\xff\3")] == [
        b"b", b"a\xc1b\xc0c", None, b"\xff\3", None
    ]  # fmt: skip


def test_a_setting_beyond_the_packed_form_keeps_the_encoding() -> None:
    limits = limited(entries=2000)
    found = Hash({})
    for at in range(1500):
        found.put(b"%d" % at, b"", limits)
    assert found.encoding(limits) == "listpack"
    assert isinstance(found.store, dict)
    assert len(found) == 1500


@pytest.mark.parametrize("size", [10, 100])
def test_a_small_hash_is_one_object(size: int) -> None:
    """Two bytes of its own for a field, beside what every hash takes."""
    limits = Config()
    found = Hash({})
    for at in range(size):
        found.put(b"field:%03d" % at, b"value:%03d" % at, limits)
    assert isinstance(found.store, bytes)
    assert sys.getsizeof(found.store) <= size * 20 + 40
    assert sys.getsizeof(found) <= 64
    assert sorted(found.distinct_random_fields(size, random.Random(1))) == found.names()
    assert set(found.random_fields(5, random.Random(1))) <= set(found.names())
