"""How many nodes Redis's radix tree has over the first ids of a stream's nodes, which XINFO STREAM tells: kept up to date.

A key is 16 bytes. Below the last branching a key is a node of its own, and another one for its compressed rest. Two
neighbours branch where they first differ; every such place is one node, and has a compressed one above it unless it
comes right behind another branching. So all depends on neighbours, and a change at either end is O(1).
"""

from __future__ import annotations

from collections.abc import Sequence

_BITS = 128
_LAST_DEPTH = 15

Branch = tuple[int, int]
"""Depth in bytes, and the bytes above it as a number."""


def _depth(one: int | None, other: int | None) -> int:
    """How many bytes two keys have in common; -1 when one is missing."""
    return -1 if one is None or other is None else (_BITS - (one ^ other).bit_length()) // 8


def _place(key: int, depth: int) -> Branch:
    return depth, key >> _BITS - 8 * depth


class RadixNodes:
    """The number of nodes over these keys, in order. None in `change` stands for what is not there."""

    __slots__ = ("_below", "_branches", "_count")

    def __init__(self, keys: Sequence[int]) -> None:
        self._branches: dict[Branch, int] = {}
        """Where keys branch, and how many neighbours do so there."""
        self._below: dict[Branch, int] = {}
        """How many branchings come right behind this place."""
        self._count = 0
        self.change([None, None], [None, *keys, None])

    def __len__(self) -> int:
        return self._count or 1

    def change(self, before: Sequence[int | None], after: Sequence[int | None]) -> None:
        """These neighbours took the place of those; the first and the last of both are the same and do not count."""
        self._weigh(before, -1)
        self._weigh(after, 1)

    def _weigh(self, keys: Sequence[int | None], sign: int) -> None:
        for at in range(1, len(keys) - 1):
            key = keys[at]
            if key is None:
                continue
            behind = _depth(key, keys[at + 1])
            self._count += sign * (1 + (max(_depth(keys[at - 1], key), behind) < _LAST_DEPTH))
            if behind >= 0 and at < len(keys) - 2:
                self._branch(_place(key, behind), sign)

    def _branch(self, place: Branch, sign: int) -> None:
        """Two more neighbours, or two fewer, branch at this place."""
        had = self._branches.get(place, 0)
        self._branches[place] = had + sign
        if had + sign and had:
            return
        if not had + sign:
            del self._branches[place]
        depth, above = place
        parent = depth - 1, above >> 8
        self._count += sign * (1 - self._below.get(place, 0))
        if depth:
            self._count += sign * (parent not in self._branches)
            self._below[parent] = self._below.get(parent, 0) + sign
            if not self._below[parent]:
                del self._below[parent]
