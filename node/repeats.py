"""Replies of small collections that are read again and again (HGETALL, ZRANGE).

A packed collection is one `bytes` object, and another one as soon as it changes. So a reply that was made of it stays
right for as long as it is that very object: nobody has to be told of changes, and nothing has to be taken back.
"""

from __future__ import annotations

from node.resp import Kept, Reply

_PLACES = 256
_BYTES_MAX = 8192
"""What a collection may take whose reply is kept: so all of them stay below some megabytes."""


class Repeats:
    """Replies by the object that they were made of, and by what of it was asked for. Each has one place, by its address:
    where two have the same, the later one stays."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: list[tuple[bytes, object, Kept] | None] = [None] * _PLACES

    def find(self, packed: bytes, asked: object) -> Kept | None:
        """The reply, if it is kept."""
        kept = self._kept[(id(packed) >> 4) % _PLACES]
        return kept[2] if kept is not None and kept[0] is packed and kept[1] == asked else None

    def keep(self, packed: bytes, asked: object, reply: Reply) -> Kept:
        """Keep this reply, and return what to answer. The object is kept too, so that none can come to be at its address."""
        kept = Kept(reply)
        if len(packed) <= _BYTES_MAX:
            self._kept[(id(packed) >> 4) % _PLACES] = (packed, asked, kept)
        return kept
