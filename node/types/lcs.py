"""The longest common subsequence of two strings, bit-parallel: a row of the table is one Python integer.

Row i of Redis's table grows by 0 or 1 from each column to the next; the integer holds where it does not (Hyyro's bit
vector). That makes the table N * M / 8 bytes and its filling N additions of M bits, where a plain loop in Python would
hold up the node for minutes at sizes that Redis takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Match(NamedTuple):
    """One run of equal bytes: first and last positions in either string."""

    first_start: int
    first_end: int
    second_start: int
    second_end: int

    @property
    def length(self) -> int:
        return self.first_end - self.first_start + 1


def length(first: bytes, second: bytes) -> int:
    """How long the longest common subsequence is."""
    if len(first) > len(second):
        first, second = second, first
    flat = (1 << len(second)) - 1
    for row in _rows(first, second):
        flat = row
    return len(second) - flat.bit_count()


def trace(first: bytes, second: bytes) -> tuple[bytes, list[Match]]:
    """The subsequence that Redis finds among the longest ones, and its runs from the last to the first."""
    rows = list(_rows(first, second))
    width = len(second) // 8 + 1
    found = bytearray()
    matches: list[Match] = []
    run: list[int] | None = None
    i, j = len(first), len(second)
    row = rows[i - 1].to_bytes(width, "little") if i and j else b""
    while i and j:
        if first[i - 1] == second[j - 1]:
            found.append(first[i - 1])
            i -= 1
            j -= 1
            if run is None:
                run = [i, i, j, j]
            else:
                run[0], run[2] = i, j
            moved = True
        else:
            if run is not None:
                matches.append(Match(*run))
                run = None
            # Redis goes up where the row above is longer than this row one column back: where this row grows here.
            moved = not row[(j - 1) >> 3] >> ((j - 1) & 7) & 1
            if moved:
                i -= 1
            else:
                j -= 1
        if moved and i:
            row = rows[i - 1].to_bytes(width, "little")
    if run is not None:
        matches.append(Match(*run))
    found.reverse()
    return bytes(found), matches


def _rows(first: bytes, second: bytes) -> Iterator[int]:
    """One row after each byte of `first`: bit j is 0 where the subsequence grows with byte j of `second`."""
    backwards = second[::-1]
    mask = (1 << len(second)) - 1
    places: dict[int, int] = {}
    for byte in set(first):
        digits = bytes(49 if other == byte else 48 for other in range(256))
        places[byte] = int(backwards.translate(digits) or b"0", 2)
    row = mask
    for byte in first:
        both = row & places[byte]
        row = ((row + both) | (row - both)) & mask
        yield row
