"""Files that must survive a crash: written whole or not at all, and locked against a second process. I/O."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class InUse(Exception):
    """Another process holds the lock."""


def write_atomically(path: Path, data: bytes, mode: int = 0o644, *, lasting: bool = True) -> None:
    """Replace the file: after a crash at any moment it has the old or the new content. OSError when that can't be done.
    mode: its permissions. lasting: False is enough for the end of this process, and not for a loss of power.

    Temporary file beside it, fsync, rename, fsync the folder: only then the rename itself is on disk.
    """
    handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if lasting:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in this folder durable, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(path: Path) -> IO[str]:
    """Take this lock file for as long as the process lives (or the returned file is open). InUse when it is taken.

    The kernel lets go of it when the process ends, however it ends. The file itself stays: removing it would let two
    processes lock two files of the same name.
    """
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  # the lock lives as long as the file is open
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise InUse(str(path)) from error
    return file
