"""An RDB file on its way to disk: whole under its name, or not there at all. I/O: files, and a thread that waits for them.

Written beside its place under a name of this process, forced to disk, renamed, and the folder forced too: after a crash
at any moment the name holds the old content or the new. Forcing hundreds of megabytes to disk takes a while, so a save
in the background lets a thread wait for it.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

from node.files import sync_folder

_TEMPORARY = re.compile(r"temp-(\d+)\.rdb")


class SnapshotFile:
    """One attempt to write a file. Every method: OSError when the system refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f"temp-{os.getpid()}.rdb")
        self._file = open(self._temporary, "wb", buffering=0)  # noqa: SIM115 - open for as long as the save lasts
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def write(self, data: bytes) -> None:
        """Append."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def finish(self) -> None:
        """Force it to disk and give it its name. Returns when that has happened."""
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self._path)
        sync_folder(self._path.parent)

    def finish_soon(self) -> None:
        """`finish`, by a thread: `finished` tells how far it is."""
        self._thread = threading.Thread(target=self._finish_noting_errors, name="save")
        self._thread.start()

    def _finish_noting_errors(self) -> None:
        try:
            self.finish()
        except OSError as error:
            self._error = error

    def finished(self) -> bool:
        """Whether what `finish_soon` began is done. OSError when it failed."""
        if self._thread is None or self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def drop(self) -> None:
        """Give up. What a thread is just forcing to disk is waited for: then it is there, or it is not."""
        if self._thread is not None:
            self._thread.join()
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that are no more have left half written in this folder."""
    for path in folder.glob("temp-*.rdb"):
        found = _TEMPORARY.fullmatch(path.name)
        if found is not None and not _runs(int(found.group(1))):
            path.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    """Whether a process other than this one has that id."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
