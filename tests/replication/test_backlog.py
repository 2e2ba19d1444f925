"""The backlog gives exactly the bytes of the stream, whatever its size and however they came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.replication.backlog import Backlog


@given(
    size=st.integers(1, 40),
    start=st.integers(0, 100),
    chunks=st.lists(st.binary(min_size=0, max_size=60), max_size=30),
    sizes=st.lists(st.integers(1, 60), max_size=4),
)
def test_what_is_held_is_the_streams_end(size: int, start: int, chunks: list[bytes], sizes: list[int]) -> None:
    backlog = Backlog(size, start)
    stream = b""
    for number, chunk in enumerate(chunks):
        backlog.append(chunk)
        stream += chunk
        held_before = backlog.length
        if sizes and number % 7 == 6:
            backlog.resize(sizes[number // 7 % len(sizes)])
            assert backlog.length == min(held_before, backlog.size)
        assert backlog.end == start + len(stream)
        assert backlog.first == backlog.end - backlog.length + 1
        for offset in range(backlog.first, backlog.end + 2):
            assert backlog.holds(offset)
            assert backlog.since(offset) == stream[offset - start - 1 :]
        assert not backlog.holds(backlog.first - 1)
        assert not backlog.holds(backlog.end + 2)


def test_a_full_ring_holds_its_size() -> None:
    backlog = Backlog(10, 0)
    for number in range(100):
        backlog.append(b"%03d" % number)
    assert backlog.length == 10
    assert backlog.since(backlog.first) == b"6097098099"


def test_bytes_that_are_gone_are_refused() -> None:
    backlog = Backlog(4, 0)
    backlog.append(b"abcdef")
    with pytest.raises(ValueError, match="not in the backlog"):
        backlog.since(1)
