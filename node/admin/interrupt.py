"""Ctrl-C while slots move: the first one lets the step that runs end, the second one does not wait. I/O (signals)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self


class Interrupted(Exception):
    """Somebody asked to stop, and what ran has come to an end of its own. The text says how things stand."""


class Interrupt:
    """`asked` is true from the first Ctrl-C on; the second one raises KeyboardInterrupt. tell: says so to the user."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.asked = False
        self._tell = tell
        self._before: object = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._tell("Stopping after this step; Ctrl-C again stops at once.")

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]
