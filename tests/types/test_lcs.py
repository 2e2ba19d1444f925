"""The longest common subsequence, against the plain table that defines it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from node.types import lcs

short = st.binary(max_size=40) | st.text("ab", max_size=60).map(str.encode)


def table(first: bytes, second: bytes) -> list[list[int]]:
    """Length of the longest common subsequence of each pair of prefixes."""
    rows = [[0] * (len(second) + 1)]
    for one in first:
        above, row = rows[-1], [0]
        for column, other in enumerate(second):
            row.append(above[column] + 1 if one == other else max(above[column + 1], row[column]))
        rows.append(row)
    return rows


def walked(first: bytes, second: bytes) -> bytes:
    """The subsequence that Redis documents: from the end, up where that is longer, else to the left."""
    rows = table(first, second)
    i, j, found = len(first), len(second), bytearray()
    while i and j:
        if first[i - 1] == second[j - 1]:
            found.append(first[i - 1])
            i, j = i - 1, j - 1
        elif rows[i - 1][j] > rows[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return bytes(reversed(found))


@given(short, short)
@example(b"", b"")
@example(b"a", b"")
@example(b"ohmytext", b"mynewtext")
@settings(max_examples=200, deadline=None)
def test_as_the_table_has_it(first: bytes, second: bytes) -> None:
    expected = walked(first, second)
    common, matches = lcs.trace(first, second)
    assert common == expected
    assert lcs.length(first, second) == len(expected) == table(first, second)[-1][-1]
    runs = [first[match.first_start : match.first_end + 1] for match in matches]
    assert runs == [second[match.second_start : match.second_end + 1] for match in matches]
    assert b"".join(reversed(runs)) == expected
    assert [match.length for match in matches] == list(map(len, runs))


@pytest.mark.parametrize("size", [63, 64, 65, 1000])
def test_equal_strings_are_one_run(size: int) -> None:
    text = bytes(at % 251 for at in range(size))
    common, matches = lcs.trace(text, text)
    assert common == text
    assert matches == [(0, size - 1, 0, size - 1)]


def test_as_large_as_redis_takes() -> None:
    """11,000 by 11,000 is what fits Redis's 512 MB table; ours takes 15 MB and well under a second."""
    first, second = b"ab" * 5500, b"ba" * 5500
    assert lcs.length(first, second) == 10999
    assert len(lcs.trace(first, second)[0]) == 10999
