"""The last bytes of the replication stream, so that a replica whose link broke gets only what it missed."""

from __future__ import annotations


class Backlog:
    """A ring of the newest `size` bytes of the stream.

    Offsets count the stream's bytes from 1, as PSYNC does: a replica that has processed `n` bytes asks for `n + 1`.
    """

    def __init__(self, size: int, offset: int) -> None:
        """size: bytes kept, at least 1. offset: how many bytes the stream has had before the first one kept."""
        self._ring = bytearray(size)
        self._at = 0
        self.end = offset
        """Offset of the newest byte."""
        self.length = 0
        """How many bytes are there to give."""

    @property
    def size(self) -> int:
        """How many bytes it can keep."""
        return len(self._ring)

    @property
    def first(self) -> int:
        """Offset of the oldest byte kept; one more than `end` when there is none."""
        return self.end - self.length + 1

    def append(self, data: bytes) -> None:
        """The stream went on with these bytes."""
        ring = self._ring
        size = len(ring)
        self.end += len(data)
        self.length = min(size, self.length + len(data))
        if len(data) >= size:
            ring[:] = data[-size:]
            self._at = 0
            return
        room = size - self._at
        if len(data) <= room:
            ring[self._at : self._at + len(data)] = data
            self._at = (self._at + len(data)) % size
        else:
            ring[self._at :] = data[:room]
            self._at = len(data) - room
            ring[: self._at] = data[room:]

    def holds(self, offset: int) -> bool:
        """Whether everything from byte `offset` on is here. The byte that comes next counts as held."""
        return self.first <= offset <= self.end + 1

    def since(self, offset: int) -> bytes:
        """All bytes from byte `offset` on. `holds(offset)` must be true."""
        count = self.end + 1 - offset
        if not 0 <= count <= self.length:
            raise ValueError(f"bytes from {offset} on are not in the backlog")
        start = self._at - count
        if start >= 0:
            return bytes(self._ring[start : self._at])
        return bytes(self._ring[start:] + self._ring[: self._at])

    def resize(self, size: int) -> None:
        """Keep another number of bytes from now on (CONFIG SET repl-backlog-size); the newest stay."""
        if size == len(self._ring):
            return
        kept = min(self.length, size)
        data = self.since(self.end + 1 - kept)
        self._ring = bytearray(size)
        self._ring[:kept] = data
        self._at = kept % size
        self.length = kept
