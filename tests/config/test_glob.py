"""Globs against KEYS of redis-server 7.0 (it has no DEBUG STRINGMATCH-LEN) and against a plain reading of the rules."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from node.glob import compile_glob, match
from tests.config.conftest import Client

ALPHABET = b"ab-]^[\\*?Z"
PATTERNS = st.lists(st.sampled_from([bytes((byte,)) for byte in b"ab-]^[\\*?Zz\x00\xff"]), max_size=9).map(b"".join)
TEXTS = sorted({bytes(letters) for size in range(4) for letters in itertools.product(b"abZ-]^[\\*?\xff", repeat=size)})


@pytest.fixture(scope="module")
def keys(redis70: Client) -> Client:
    """The real server with every short text as a key."""
    redis70.flushall()
    redis70.mset(dict.fromkeys(TEXTS, b""))
    return redis70


def matched(keys: Client, pattern: bytes) -> list[bytes]:
    """The keys that match; KEYS itself treats ``*`` as everything, where the matcher wants one byte at least."""
    return sorted(text for text in keys.keys(pattern) if pattern != b"*" or text)


@pytest.mark.parametrize(
    "pattern",
    [
        b"", b"*", b"**", b"[", b"[^", b"[^]", b"[]", b"[]a", b"[]a]", b"?", b"*a", b"a*", b"[a", b"[^a", b"[a-",
        b"[a-]",
        b"[a-b", b"[b-a]", b"[a-]]", b"[\\", b"[\\]", b"[\\]]", b"[a\\-b]", b"\\", b"\\\\", b"a\\", b"\\*", b"*\\",
        b"[--b]",
        b"[^^]", b"[a^]", b"*[", b"*[^", b"[*]", b"[?]", b"[[]", b"[^-]", b"[-a]", b"[a-b-Z]", b"[Z-a]", b"?*?", b"*?*",
        b"[\\a-b]", b"[a-\\b]", b"[a-\\]]", b"*]", b"]", b"^a", b"-", b"[\\^a]", b"*[]", b"?[", b"[a]*[^b]", b"\\[a]",
    ],
)  # fmt: skip
def test_odd_patterns(pattern: bytes, keys: Client) -> None:
    assert sorted(text for text in TEXTS if match(pattern, text)) == matched(keys, pattern)


@settings(deadline=None, max_examples=300)
@given(pattern=PATTERNS)
@example(pattern=b"*a*b*")
def test_generated_patterns(pattern: bytes, keys: Client) -> None:
    compiled = compile_glob(pattern)
    assert sorted(text for text in TEXTS if compiled(text)) == matched(keys, pattern)


def plain(pattern: bytes, text: bytes) -> bool:
    """The rules of ``*``, ``?`` and letters in the plainest way; the empty text is apart (see ``compile_glob``)."""
    if not pattern:
        return not text
    if pattern[:1] == b"*":
        return any(plain(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[:1] in (b"?", text[:1]) and plain(pattern[1:], text[1:])


@settings(deadline=None, max_examples=500)
@given(
    st.lists(st.sampled_from([b"a", b"b", b"*", b"?"]), max_size=8).map(b"".join),
    st.lists(st.sampled_from([b"a", b"b", b"\n"]), max_size=12).map(b"".join),
)
def test_stars_find_every_way(pattern: bytes, text: bytes) -> None:
    assert match(pattern, text) == (plain(pattern, text) if text else not pattern)


@settings(deadline=None, max_examples=200)
@given(PATTERNS.filter(lambda pattern: b"[" not in pattern and b"\\" not in pattern), st.binary(max_size=6))
def test_case_is_ignored_on_both_sides(pattern: bytes, text: bytes) -> None:
    assert match(pattern, text, True) == match(pattern.lower(), text.lower())


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (b"[a-c]", b"B", True),
        (b"[A-C]", b"b", True),
        (b"[^A]", b"a", False),
        (b"\\A", b"a", True),
        (b"[\\A]", b"a", False),
    ],
)
def test_case_in_brackets(pattern: bytes, text: bytes, expected: bool) -> None:
    assert match(pattern, text, True) is expected


def test_many_stars_take_no_exponential_time() -> None:
    started = time.perf_counter()
    assert not match(b"a*" * 200 + b"b", b"a" * 5000)
    assert match(b"*a" * 200, b"a" * 5000)
    assert time.perf_counter() - started < 2.0
