"""Freeing what nobody needs any more, piece by piece: a million elements freed at once would stall the loop.

What is taken apart is whatever hangs on a dropped value, container by container, as long as nobody else holds it (a
snapshot that is being written, a reply that waits): that is what its reference count says, and such a container is simply
let go. So this knows nothing about types, and a new one needs nothing.
"""

from __future__ import annotations

import gc
from array import array
from collections import deque
from collections.abc import Iterable
from sys import getrefcount
from typing import Any

from node.types import elements_of
from node.types.json import Json

LONG = 1000
"""Values of more elements than these are worth freeing piece by piece."""

_ATOMS = frozenset((bytes, int, float, str, bool, type(None), bytearray, array, type))
_EXCLUSIVE = 2
"""The count of references to what only the one variable here refers to: that, and the argument of `getrefcount`."""


def takes_long(value: Any) -> bool:
    """Whether freeing the value of a key takes long enough to do it piece by piece. O(1)."""
    kind = type(value)
    return kind not in _ATOMS and (kind is Json or elements_of(value) > LONG)


class Remains:
    """What was dropped and is not freed yet. Nobody may use any more what is added."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._left)

    def add(self, dropped: Iterable[Any]) -> None:
        """Take these over."""
        self._left.extend(dropped)

    def free(self, pieces: int) -> None:
        """Free about so many elements."""
        left = self._left
        while left and pieces > 0:
            value = left.pop()
            pieces -= 1
            if getrefcount(value) > _EXCLUSIVE:
                continue
            if isinstance(value, (dict, list, deque)):
                if value:
                    left.append(value)  # once more, when what comes behind it here is done
                    pieces -= _take_some(value, left, pieces)
            else:
                left += [held for held in gc.get_referents(value) if type(held) not in _ATOMS]


def _take_some(value: dict[Any, Any] | list[Any] | deque[Any], left: list[Any], pieces: int) -> int:
    """Take about so many elements out of a container, those that hold others to `left`. Returns how many."""
    count = min(len(value), max(pieces, 1))
    if isinstance(value, list):
        taken = value[-count:]
        del value[-count:]
    elif isinstance(value, dict):
        taken = [value.popitem()[1] for _ in range(count)]
    else:
        taken = [value.pop() for _ in range(count)]
    left += [held for held in taken if type(held) not in _ATOMS]
    return count
