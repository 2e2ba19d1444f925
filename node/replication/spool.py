"""Where a snapshot waits whose length must be known before its first byte is sent. I/O: a temporary file."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile

_IN_MEMORY_MAX = 1 << 20


class Spool:
    """Bytes written at the end, then read from the start. Small ones stay in memory, others go to an unnamed file."""

    def __init__(self, folder: str | None = None) -> None:
        """folder: where the file is to be; None for the system's place for such, which may be its memory."""
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY_MAX, dir=folder)  # noqa: SIM115 - lives as long as the sync, see close
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append. Errors: OSError when the disk is full."""
        self._file.seek(self.size)
        self._file.write(data)
        self.size += len(data)

    def read(self, position: int, count: int) -> bytes:
        """Up to `count` bytes from `position` on; b"" at the end."""
        self._file.seek(position)
        return self._file.read(count)

    def close(self) -> None:
        """Drop the bytes."""
        self._file.close()
