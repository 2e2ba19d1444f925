"""What a type tells the RDB codec about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor

Loader = Callable[[Cursor], object]
"""Reads one value, the tag already read. Raises RdbError, EmptyValue or NeedMore; after NeedMore it is called again at
the cursor's mark (see Cursor). A loader that may read more than one string commits as it goes, so that a collection of
any size is read once and not from its start for every chunk that arrives."""

Saver = Callable[[Any, SaveOptions], tuple[bytes, bytes]]
"""The tag, as one byte, and the value's bytes."""

PiecewiseSaver = Callable[[Any, SaveOptions], Iterator[bytes]]
"""The same bytes, tag first, in pieces of some tens of kilobytes. The value must not change until it is exhausted."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One type of value: the RDB type tags that load as it, the Python classes it is in memory, and how they are saved."""

    name: str
    loaders: Mapping[int, Loader]
    classes: tuple[type, ...]
    save: Saver
    save_piecewise: PiecewiseSaver | None = None
    """For types whose values may be large; None: `save` is good enough."""
