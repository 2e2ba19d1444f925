"""The stream's parser: whatever the chunks, the same requests and the same bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import resp
from node.errors import ProtocolError
from node.replication.stream import StreamParser

_REQUESTS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=8)


def _all(parser: StreamParser) -> list[tuple[list[bytes], bytes]]:
    found = []
    while (one := parser.next()) is not None:
        found.append(one)
    return found


@given(requests=_REQUESTS, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_split_gives_the_same(requests: list[list[bytes]], cuts: list[int]) -> None:
    data = b"".join(map(resp.request, requests))
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    parser = StreamParser()
    found = []
    for start, end in pairwise(places):
        parser.feed(data[start:end])
        found += _all(parser)
    assert [args for args, _ in found] == requests
    assert b"".join(raw for _, raw in found) == data
    assert [raw for _, raw in found] == [resp.request(args) for args in requests]
    assert parser.waiting == 0


def test_byte_by_byte_with_empty_lines_and_inline() -> None:
    data = b"\n\r\n*1\r\n$4\r\nPING\r\nSELECT 3\r\n*0\r\n*2\r\n$3\r\nDEL\r\n$0\r\n\r\n"
    parser = StreamParser()
    found = []
    for at in range(len(data)):
        parser.feed(data[at : at + 1])
        found += _all(parser)
    assert [args for args, _ in found] == [[], [], [b"PING"], [b"SELECT", b"3"], [], [b"DEL", b""]]
    assert b"".join(raw for _, raw in found) == data


def test_a_big_value_in_small_chunks_is_joined_once() -> None:
    value = bytes(range(256)) * 40_000
    data = resp.request([b"SET", b"k", value]) + resp.request([b"PING"])
    parser = StreamParser()
    found = []
    for start in range(0, len(data), 65_536):
        parser.feed(data[start : start + 65_536])
        found += _all(parser)
    assert found == [([b"SET", b"k", value], data[:-14]), ([b"PING"], data[-14:])]


@pytest.mark.parametrize(
    "data", [b"*x\r\n", b"*1\r\n+OK\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$99999999999999\r\n", b"*1\n$1\n"]
)
def test_what_is_no_stream_is_refused(data: bytes) -> None:
    parser = StreamParser()
    parser.feed(data)
    with pytest.raises(ProtocolError):
        parser.next()


def test_a_line_without_end_is_refused() -> None:
    parser = StreamParser()
    with pytest.raises(ProtocolError):
        for _ in range(100):
            parser.feed(b"a" * 1024)
            parser.next()
