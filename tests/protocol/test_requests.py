"""Requests from bytes: whole, cut anywhere, merged, hostile. What real servers answer: `test_real_servers.py`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from node.protocol import (
    ARGUMENTS_MAX,
    INLINE_MAX,
    UNAUTHENTICATED_ARGUMENTS_MAX,
    UNAUTHENTICATED_BULK_MAX,
    RequestParser,
)
from node.resp import request
from node.words import split_words

Outcome = tuple[list[list[bytes]], str]
"""The requests that were read, and the error after them ("" for none)."""


def read(chunks: Iterable[bytes], parser: RequestParser | None = None) -> Outcome:
    """What a parser makes of these chunks, fed one after the other as a connection does."""
    parser = parser or RequestParser()
    requests: list[list[bytes]] = []
    for chunk in chunks:
        requests += parser.feed(chunk)
        if parser.error is not None:
            break
    return requests, parser.error.text if parser.error else ""


def in_two(data: bytes) -> Iterable[list[bytes]]:
    """`data` cut in two at every place."""
    return ([data[:at], data[at:]] for at in range(1, len(data)))


def by_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


WHOLE: dict[str, tuple[bytes, list[list[bytes]]]] = {
    "one": (b"*1\r\n$4\r\nPING\r\n", [[b"PING"]]),
    "pipeline": (request([b"SET", b"k", b"v"]) + request([b"GET", b"k"]), [[b"SET", b"k", b"v"], [b"GET", b"k"]]),
    "empty value": (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", [[b"ECHO", b""]]),
    "only an empty name": (b"*1\r\n$0\r\n\r\n", [[b""]]),
    "value of line breaks": (request([b"ECHO", b"\r\n\r\n"]) * 2, [[b"ECHO", b"\r\n\r\n"]] * 2),
    "a request within a value": (
        request([b"SET", b"k", request([b"DEL", b"k"])]) + request([b"GET", b"k"]),
        [[b"SET", b"k", b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"], [b"GET", b"k"]],
    ),
    "half a request within a value": (request([b"ECHO", b"x\r\n*3\r\n$3\r\nSE"]), [[b"ECHO", b"x\r\n*3\r\n$3\r\nSE"]]),
    "replies within a value": (request([b"ECHO", b"\r\n+OK\r\n:1\r\n=3\r\n"]), [[b"ECHO", b"\r\n+OK\r\n:1\r\n=3\r\n"]]),
    "sets and numbers within a value": (request([b"ECHO", b"\r\n~1\r\n(1\r\n>1"]), [[b"ECHO", b"\r\n~1\r\n(1\r\n>1"]]),
    "great counts within a value": (
        request([b"ECHO", b"*1234567~1234567>1234567"]),
        [[b"ECHO", b"*1234567~1234567>1234567"]],
    ),
    "signs as values": (
        request([b"XRANGE", b"s", b"-", b"+"]) + request([b"XTRIM", b"s", b"MAXLEN", b"~", b"=", b"+", b"+", b"(1"]),
        [[b"XRANGE", b"s", b"-", b"+"], [b"XTRIM", b"s", b"MAXLEN", b"~", b"=", b"+", b"+", b"(1"]],
    ),
    "the end mark as a value": (request([b"ECHO", b"+\r\n"]) + request([b"PING"]), [[b"ECHO", b"+\r\n"], [b"PING"]]),
    "all bytes": (request([b"ECHO", bytes(range(256))]), [[b"ECHO", bytes(range(256))]]),
    "inline": (b"PING\r\nECHO hi\r\n", [[b"PING"], [b"ECHO", b"hi"]]),
    "inline ended by a line feed only": (b"PING\nECHO hi\n", [[b"PING"], [b"ECHO", b"hi"]]),
    "inline with quotes": (b'SET "a b" \'c\\\'d\' "\\x41\\n\\t\\q"\r\n', [[b"SET", b"a b", b"c'd", b"A\n\tq"]]),
    "inline and arrays": (
        b"PING\r\n" + request([b"ECHO", b"a"]) + b"ECHO b\r\n" + request([b"PING"]),
        [[b"PING"], [b"ECHO", b"a"], [b"ECHO", b"b"], [b"PING"]],
    ),
    "empty lines": (b"\r\n\r\n" + request([b"PING"]) + b"\r\n", [[b"PING"]]),
    "spaces only": (b"   \t \r\nPING\r\n", [[b"PING"]]),
    "empty arrays": (b"*0\r\n*-1\r\n" + request([b"PING"]) + b"*0\r\n", [[b"PING"]]),
    "negative count": (b"*-10\r\n" + request([b"PING"]), [[b"PING"]]),
    "anything for a line break after a value": (b"*1\r\n$4\r\nPINGxy*1\r\n$4\r\nPING\r\n", [[b"PING"], [b"PING"]]),
    "anything after a carriage return": (b"*1\rx$4\ryPING\r\n", [[b"PING"]]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_and_cut_anywhere(name: str) -> None:
    data, expected = WHOLE[name]
    assert read([data]) == (expected, "")
    assert read(by_bytes(data)) == (expected, "")
    for chunks in in_two(data):
        assert read(chunks) == (expected, ""), chunks


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_kept_between_requests(name: str) -> None:
    data, expected = WHOLE[name]
    parser = RequestParser()
    for _ in range(3):
        assert parser.feed(data) == expected
        assert parser.pending_bytes == 0


def test_cut_in_three_everywhere() -> None:
    data = request([b"SET", b"k", b"\r\n*1\r\n$4\r\n"]) + b"ECHO 'a b'\r\n*0\r\n" + request([b"GET", b""])
    expected = ([[b"SET", b"k", b"\r\n*1\r\n$4\r\n"], [b"ECHO", b"a b"], [b"GET", b""]], "")
    for first in range(1, len(data) - 1):
        for second in range(first + 1, len(data)):
            assert read([data[:first], data[first:second], data[second:]]) == expected


BAD: dict[str, tuple[bytes, int, str]] = {
    "count is no number": (b"*a\r\n", 0, "invalid multibulk length"),
    "count is empty": (b"*\r\n", 0, "invalid multibulk length"),
    "count begins with zero": (b"*01\r\n$4\r\nPING\r\n", 0, "invalid multibulk length"),
    "count with a plus": (b"*+1\r\n$4\r\nPING\r\n", 0, "invalid multibulk length"),
    "too many arguments": (b"*%d\r\n" % (ARGUMENTS_MAX + 1), 0, "invalid multibulk length"),
    "count beyond 64 bits": (b"*99999999999999999999\r\n", 0, "invalid multibulk length"),
    "length is no number": (b"*1\r\n$x\r\n", 0, "invalid bulk length"),
    "length is negative": (b"*1\r\n$-1\r\n", 0, "invalid bulk length"),
    "length begins with zero": (b"*1\r\n$04\r\nPING\r\n", 0, "invalid bulk length"),
    "length is too great": (b"*1\r\n$536870913\r\n", 0, "invalid bulk length"),
    "integer for an argument": (b"*1\r\n:1\r\n", 0, "expected '$', got ':'"),
    "simple string for an argument": (b"*2\r\n$4\r\nECHO\r\n+hi\r\n", 0, "expected '$', got '+'"),
    "array for an argument": (b"*1\r\n*1\r\n$4\r\nPING\r\n", 0, "expected '$', got '*'"),
    "verbatim string for an argument": (b"*2\r\n$4\r\nECHO\r\n=6\r\ntxt:hi\r\n", 0, "expected '$', got '='"),
    "big number for an argument": (b"*2\r\n$4\r\nECHO\r\n(123\r\n", 0, "expected '$', got '('"),
    "null for an argument": (b"*1\r\n_\r\n", 0, "expected '$', got '_'"),
    "boolean for an argument": (b"*2\r\n$4\r\nECHO\r\n#t\r\n", 0, "expected '$', got '#'"),
    "double for an argument": (b"*2\r\n$4\r\nECHO\r\n,1.5\r\n", 0, "expected '$', got ','"),
    "empty string for an argument": (b"*2\r\n$4\r\nPING\r\n+\r\n", 0, "expected '$', got '+'"),
    "set for an argument": (b"*1\r\n~1\r\n$4\r\nPING\r\n", 0, "expected '$', got '~'"),
    "push for an argument": (b"*1\r\n>1\r\n$4\r\nPING\r\n", 0, "expected '$', got '>'"),
    "map for an argument": (b"*1\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n", 0, "expected '$', got '%'"),
    "error for an argument": (b"*1\r\n-ERR x\r\n", 0, "expected '$', got '-'"),
    "line break for an argument": (b"*1\r\n\r\n", 0, "expected '$', got '\r'"),
    "after good requests": (request([b"PING"]) * 2 + b"*x\r\n", 2, "invalid multibulk length"),
    "after a good inline one": (b"PING\r\n*1\r\n:1\r\n", 1, "expected '$', got ':'"),
    "quote not closed": (b'ECHO "a\r\n', 0, "unbalanced quotes in request"),
    "text after a quote": (b'ECHO "a"b\r\n', 0, "unbalanced quotes in request"),
    "single quote not closed": (b"ECHO 'a\r\n", 0, "unbalanced quotes in request"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_whole_and_cut_anywhere(name: str) -> None:
    data, good, words = BAD[name]
    expected = ([[b"PING"]] * good, "ERR Protocol error: " + words)
    assert read([data]) == expected
    assert read([data + request([b"SET", b"never", b"read"])]) == expected
    assert read(by_bytes(data)) == expected
    for chunks in in_two(data):
        assert read(chunks) == expected, chunks


def test_nothing_is_read_after_an_error() -> None:
    parser = RequestParser()
    assert parser.feed(b"*x\r\n") == []
    assert parser.feed(request([b"PING"])) == []
    assert parser.error is not None and parser.pending_bytes == 0


@pytest.mark.parametrize("sign", ["~", ">", "%", "|"])
def test_aggregates_of_replies_are_inline_requests_like_any_other_text(sign: str) -> None:
    data = request([b"PING"]) + sign.encode() + b"1\r\n" + request([b"PING"])
    expected = ([[b"PING"], [sign.encode() + b"1"], [b"PING"]], "")
    assert read([data]) == expected
    for chunks in in_two(data):
        assert read(chunks) == expected


@pytest.mark.parametrize(
    "head", [b"*", b"*1\r\n*", b"*1\r\n>", b"*1\r\n~", b"*1\r\n%", b"*1\r\n|", b"*1\r\n$1\r\naxy>"]
)
@pytest.mark.parametrize("count", [2_000_000_000, 2**31, 2**32 - 1, 2**40, 2**63 - 1])
def test_a_line_that_names_billions_of_elements_costs_nothing(head: bytes, count: int) -> None:
    began = time.process_time()
    for data in (head + b"%d\r\n" % count, request([b"PING"]) + head + b"%d\r\n" % count):
        parser = RequestParser()
        parser.feed(data)
        assert parser.error is not None or head.endswith(b">")
    # Room for two thousand million elements takes seconds to make and to free.
    assert time.process_time() - began < 0.5


def test_the_greatest_count_is_taken_and_kept_small() -> None:
    parser = RequestParser()
    assert parser.feed(b"*%d\r\n" % ARGUMENTS_MAX) == []
    assert parser.error is None
    arguments = b"$1\r\na\r\n" * (ARGUMENTS_MAX // 16)
    requests: list[list[bytes]] = []
    for _ in range(16):
        assert not requests
        requests = parser.feed(arguments)
    assert len(requests) == 1 and len(requests[0]) == ARGUMENTS_MAX
    assert parser.pending_bytes == 0


def test_bulk_max() -> None:
    parser = RequestParser(bulk_max=1024 * 1024)
    value = b"v" * (1024 * 1024)
    data = request([b"ECHO", value])
    assert read([data[:70_000], data[70_000:]], parser) == ([[b"ECHO", value]], "")
    assert read([b"*1\r\n$1048577\r\n"], parser) == ([], "ERR Protocol error: invalid bulk length")


def test_a_large_value_in_many_chunks() -> None:
    value = bytes(range(256)) * 8192
    data = request([b"SET", b"k", value]) + request([b"PING"])
    parser = RequestParser()
    chunks = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
    assert read(chunks, parser) == ([[b"SET", b"k", value], [b"PING"]], "")
    assert parser.pending_bytes == 0


def test_pending_bytes_grow_with_what_is_kept() -> None:
    parser = RequestParser()
    parser.feed(b"*2\r\n$4\r\nECHO\r\n$100000\r\n")
    assert 0 < parser.pending_bytes < 100
    parser.feed(b"x" * 50_000)
    assert 50_000 <= parser.pending_bytes < 50_200
    parser.feed(b"x" * 50_000 + b"\r\n")
    assert parser.pending_bytes == 0


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"*", "too big mbulk count string"),
        (b"*1\r\n$", "too big bulk count string"),
        (b"P", "too big inline request"),
    ],
)
def test_lines_without_an_end(start: bytes, words: str) -> None:
    parser = RequestParser()
    filler = b"1" * (INLINE_MAX - 1)
    parser.feed(start + filler)
    assert parser.error is None
    parser.feed(b"1" * 2)
    assert parser.error is not None and parser.error.text == f"ERR Protocol error: {words}"


# Before authentication ----------------------------------------------------------------------------------------------


def limited() -> RequestParser:
    return RequestParser(limited=True)


def test_unauthenticated_one_at_a_time() -> None:
    parser = limited()
    data = request([b"AUTH", b"x"]) + request([b"PING"]) + b"ECHO hi\r\n"
    assert parser.feed(data) == [[b"AUTH", b"x"]]
    assert parser.more
    assert parser.feed(b"") == [[b"PING"]]
    assert parser.more
    assert parser.feed(b"") == [[b"ECHO", b"hi"]]
    assert not parser.more
    assert parser.pending_bytes == 0


def test_unauthenticated_then_the_limits_are_off() -> None:
    parser = limited()
    big = request([b"ECHO", b"v" * (UNAUTHENTICATED_BULK_MAX + 1)])
    many = request([b"DEL", *[b"k"] * UNAUTHENTICATED_ARGUMENTS_MAX])
    assert parser.feed(request([b"AUTH", b"x"]) + big + many) == [[b"AUTH", b"x"]]
    parser.limited = False
    requests = parser.feed(b"")
    assert [words[0] for words in requests] == [b"ECHO", b"DEL"]
    assert not parser.more and parser.error is None


def test_unauthenticated_more_is_said_for_half_a_request_too() -> None:
    parser = limited()
    assert parser.feed(request([b"PING"]) + b"*1\r\n$4\r\nPI") == [[b"PING"]]
    assert parser.feed(b"") == []
    assert not parser.more
    assert parser.feed(b"NG\r\n") == [[b"PING"]]


def test_unauthenticated_empty_requests_are_passed_over() -> None:
    parser = limited()
    assert parser.feed(b"\r\n*0\r\n" + request([b"PING"])) == [[b"PING"]]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"*%d\r\n" % (UNAUTHENTICATED_ARGUMENTS_MAX + 1), "unauthenticated multibulk length"),
        (b"*1\r\n$%d\r\n" % (UNAUTHENTICATED_BULK_MAX + 1), "unauthenticated bulk length"),
        (b"*%d\r\n" % (ARGUMENTS_MAX + 1), "invalid multibulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
    ],
)
def test_unauthenticated_limits(data: bytes, words: str) -> None:
    for chunks in ([data], by_bytes(data)):
        assert read(chunks, limited()) == ([], f"ERR Protocol error: {words}")


def test_unauthenticated_at_the_limits() -> None:
    most = [b"v" * UNAUTHENTICATED_BULK_MAX] * UNAUTHENTICATED_ARGUMENTS_MAX
    assert read([request(most)], limited()) == ([most], "")


def test_unauthenticated_error_waits_for_its_turn() -> None:
    parser = limited()
    assert parser.feed(request([b"PING"]) + b"*x\r\n") == [[b"PING"]]
    assert parser.error is None
    assert parser.feed(b"") == []
    assert parser.error is not None


# Generated ----------------------------------------------------------------------------------------------------------

_arguments = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"\r\n", b"\r\n*1\r\n", b"*3\r\n$3\r\nSET\r\n", b"+\r\n", b"\r\n+", b"\r\n~1", b"(1\r\n", b"$-1\r\n"]
    ),
    st.binary(min_size=60, max_size=300),
)
_bare = st.text(alphabet="abcXYZ019_:{}~(=+*$>%|-", min_size=1, max_size=8).filter(lambda word: word[0] != "*")
_pieces: st.SearchStrategy[tuple[bytes, list[list[bytes]]]] = st.one_of(
    st.lists(_arguments, min_size=1, max_size=5).map(lambda words: (request(words), [words])),
    st.lists(_bare, min_size=1, max_size=4).map(
        lambda words: (" ".join(words).encode() + b"\r\n", [[word.encode() for word in words]])
    ),
    st.sampled_from([(b"\r\n", []), (b"*0\r\n", []), (b"*-1\r\n", [])]),
)


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(_pieces, min_size=1, max_size=8), cuts=st.lists(st.floats(0, 1), max_size=6))
def test_random_requests_cut_at_random(pieces: list[tuple[bytes, list[list[bytes]]]], cuts: list[float]) -> None:
    data = b"".join(piece for piece, _ in pieces)
    expected = [words for _, requests in pieces for words in requests]
    places = sorted({int(cut * len(data)) for cut in cuts} | {0, len(data)})
    chunks = [data[start:end] for start, end in pairwise(places)]
    parser = RequestParser()
    assert read(chunks, parser) == (expected, "")
    assert parser.pending_bytes == 0


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_random_bytes_mean_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    chunks = [data[start:end] for start, end in pairwise(places)]
    assert read(chunks) == read(by_bytes(data))


_BEHIND_A_BAD_LINE_BREAK = re.compile(rb"(?<!\r\n)[+=(~]")
"""Redis takes any two bytes for the line break behind a value. In such a chunk, and only there, what begins with one of
these may pass for an argument: looking for it would cost every value that holds one of these bytes."""

_SEEDS = [data for data, _ in WHOLE.values()] + [data for data, _, _ in BAD.values()]


@settings(max_examples=500, deadline=None)
@given(
    parts=st.lists(st.sampled_from(_SEEDS), min_size=1, max_size=3),
    changes=st.lists(st.tuples(st.floats(0, 1), st.sampled_from(list(b"*$+:-~>%|(=#,_\r\n 019a"))), max_size=3),
)
@example([b"*1\r\n$x\r\n"], [(0.625, ord("0"))])  # An empty last argument whose line break has not arrived yet.
def test_damaged_requests_mean_the_same_however_they_are_cut(
    parts: list[bytes], changes: list[tuple[float, int]]
) -> None:
    data = bytearray(b"".join(parts))
    for place, byte in changes:
        data[min(int(place * len(data)), len(data) - 1)] = byte
    assume(not _BEHIND_A_BAD_LINE_BREAK.search(data))
    assert read([bytes(data)]) == read(by_bytes(bytes(data)))


# Words of an inline request -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b"a  b\tc", [b"a", b"b", b"c"]),
        (b'""', [b""]),
        (b"''", [b""]),
        (b'a"b"', [b"ab"]),
        (b'"\\x00\\xff\\xZZ"', [b"\x00\xffxZZ"]),
        (b'"\\a\\b\\r\\\\"', [b"\x07\x08\r\\"]),
        (b"'\\n\\''", [b"\\n'"]),
        (b'"a', None),
        (b"'a", None),
        (b'"a"b', None),
        (b"'a'b", None),
        (b'"\\', None),
        (b"\xff\xfe", [b"\xff\xfe"]),
        (b"  \t ", []),
        (b'"a b" c', [b"a b", b"c"]),
        (b'"\\x41\\xzz\\n\\q"', [b"Axzz\nq"]),
        (b'"" x', [b"", b"x"]),
        (b"a\\b", [b"a\\b"]),
    ],
)
def test_words(line: bytes, words: list[bytes] | None) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize("sign", [b"+", b"=", b"~"])
def test_signs_alone_are_read_in_c(monkeypatch: pytest.MonkeyPatch, sign: bytes) -> None:
    """XADD MAXLEN ~ and XRANGE - + are as quick as other requests."""
    chunk = request([b"XADD", b"k" * 300, b"MAXLEN", sign, sign, b"*"]) * 2
    monkeypatch.setattr(RequestParser, "_split", None)
    assert RequestParser().feed(chunk) == [[b"XADD", b"k" * 300, b"MAXLEN", sign, sign, b"*"]] * 2
