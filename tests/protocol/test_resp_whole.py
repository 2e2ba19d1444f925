"""Replies that are encoded as a whole say the same, byte for byte, as the same values one by one."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from node.repeats import Repeats
from node.resp import FlatMap, Kept, Pairs, Scored, Texts, encode2, encode3

TEXTS = st.one_of(st.binary(max_size=6), st.sampled_from([b"", b"x" * 1023, b"x" * 1024, b"\r\n"]))
SCORES = st.one_of(
    st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, 1.0, -1.5, math.inf, -math.inf, 2.0**62, 1e21])
)


@given(st.one_of(st.lists(TEXTS, max_size=12), st.lists(st.binary(min_size=3, max_size=3), min_size=8)))
def test_texts(texts: list[bytes]) -> None:
    one_by_one = b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts)
    for encode in (encode2, encode3):
        assert encode(Texts(texts)) == encode(texts) == one_by_one


@given(st.dictionaries(TEXTS, TEXTS, max_size=12))
def test_maps(model: dict[bytes, bytes]) -> None:
    flat = FlatMap([text for pair in model.items() for text in pair])
    assert encode2(flat) == encode2(model)
    assert encode3(flat) == encode3(model)


@given(st.lists(st.tuples(TEXTS, SCORES), max_size=12))
def test_members_with_scores(entries: list[tuple[bytes, float]]) -> None:
    flat = [item for entry in entries for item in entry]
    for _ in range(2):  # made, then remembered
        assert encode2(Scored(flat)) == encode2(Pairs(flat))
        assert encode3(Scored(flat)) == encode3(Pairs(flat))


def test_scores_that_are_remembered_do_not_pile_up() -> None:
    for start in range(0, 30_000, 1000):
        flat = [item for at in range(start, start + 1000) for item in (b"m", at + 0.5)]
        assert encode2(Scored(flat)) == encode2(Pairs(flat))


def test_what_is_kept_is_encoded_once_a_protocol() -> None:
    kept = Kept(FlatMap([b"a", b"1"]))
    assert encode2(kept) == b"*2\r\n$1\r\na\r\n$1\r\n1\r\n"
    assert encode2(kept) is encode2(kept)
    assert encode3(kept) == b"%1\r\n$1\r\na\r\n$1\r\n1\r\n"
    assert encode3(kept) is encode3(kept)
    assert encode2([kept, 1]) == b"*2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n:1\r\n"


def test_a_kept_reply_is_that_of_the_very_object() -> None:
    repeats = Repeats()
    packed = bytes(bytearray(b"packed"))
    kept = repeats.keep(packed, (0, 9), Texts([b"a"]))
    assert repeats.find(packed, (0, 9)) is kept
    assert repeats.find(packed, (0, 8)) is None, "something else was asked for"
    assert repeats.find(bytes(bytearray(b"packed")), (0, 9)) is None, "an equal one is another collection"
    big = bytes(10_000)
    repeats.keep(big, None, Texts())
    assert repeats.find(big, None) is None, "too big to be kept"


def test_places_are_limited() -> None:
    repeats = Repeats()
    objects = [b"%d" % at for at in range(2000)]
    for one in objects:
        repeats.keep(one, None, Texts([one]))
    found = [(one, repeats.find(one, None)) for one in objects]
    assert sum(kept is not None for _, kept in found) <= 256
    assert all(kept is None or kept.value == [one] for one, kept in found)
