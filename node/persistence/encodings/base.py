"""What a type tells the RDB codec about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor

Loader = Callable[[Cursor], object]
"""Reads one value, the tag already read. Raises RdbError, EmptyValue or NeedMore; after NeedMore it is called again at
the cursor's mark (see Cursor). A loader that may read more than one string commits as it goes, so that a collection of
any size is read once and not from its start for every chunk that arrives."""

Saver = Callable[[Any, SaveOptions], tuple[bytes, bytes]]
"""The tag, as one byte, and the value's bytes."""

PiecewiseSaver = Callable[[Any, SaveOptions], Iterator[bytes]]
"""The same bytes, tag first, in pieces of some tens of kilobytes. The value must not change until it is exhausted; if what
is returned is `Pieces`, until its `hold` was called."""

T = TypeVar("T")


class Pieces:
    """Pieces of a value's bytes. hold: the value is about to change; from here on the pieces are made without it."""

    __slots__ = ("_pieces", "hold")

    def __init__(self, pieces: Iterable[bytes], hold: Callable[[], None] = lambda: None) -> None:
        self._pieces = iter(pieces)
        self.hold = hold

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)


class Rest(Generic[T]):
    """What is left of a container while it is gone through. Nothing is copied unless it changes meanwhile.

    A list of a dict's names takes a fifth of the memory of a copy of the dict, which is what the time goes into, and gets
    shorter as it is gone through. copied: how to copy an item that may change itself.
    """

    __slots__ = ("_copied", "_held", "_items")

    def __init__(self, items: Iterable[T], copied: Callable[[T], T] | None = None) -> None:
        self._items = iter(items)
        self._copied = copied
        self._held: list[T] | None = None
        """What is left, backwards, once it is held."""

    def take(self, count: int) -> list[T]:
        """The next items; [] when there are no more."""
        held = self._held
        if held is None:
            return list(islice(self._items, count))
        some = held[-count:]
        some.reverse()
        del held[-count:]
        return some

    def hold(self) -> None:
        """The container is about to change: keep what is left of it."""
        if self._held is None:
            held = list(self._items if self._copied is None else map(self._copied, self._items))
            held.reverse()
            self._held = held


@dataclass(frozen=True, slots=True)
class Encoding:
    """One type of value: the RDB type tags that load as it, the Python classes it is in memory, and how they are saved."""

    name: str
    loaders: Mapping[int, Loader]
    classes: tuple[type, ...]
    save: Saver
    save_piecewise: PiecewiseSaver | None = None
    """For types whose values may be large; None: `save` is good enough."""
