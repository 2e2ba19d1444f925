"""The time that passes, which the time of day does not tell: that one is set, by people and by NTP. I/O: clocks.

The cluster's machine, the lease and replication count by this clock: it only goes forwards, and counts the time in which
the machine was suspended where the system can tell. It reads as unix time does, and is right as of the start of the
process; how far the clock on the wall has been set since then is `wall_ahead_ms`. Expiry and whatever is shown or told
as a time of day go by the wall.
"""

from __future__ import annotations

import time
from functools import partial


def _suspend_aware() -> int | None:
    """The clock that goes on while the machine is suspended: Linux has one of its own, macOS's CLOCK_MONOTONIC does."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        clock = getattr(time, name, None)
        if clock is not None:
            try:
                time.clock_gettime_ns(clock)
            except OSError:  # Named by the C library, unknown to the kernel (or to what stands in for one).
                continue
            return int(clock)
    return None


_CLOCK = _suspend_aware()
ticks_ns = time.monotonic_ns if _CLOCK is None else partial(time.clock_gettime_ns, _CLOCK)
"""Nanoseconds since some moment before the process began. Called for every chunk of requests, so nothing is added."""
EPOCH_NS = time.time_ns() - ticks_ns()
"""What `ticks_ns` lacks to be unix time as the wall showed it when this module was loaded."""


def steady_ms() -> int:
    """Unix ms as of the start of the process, counted on."""
    return (ticks_ns() + EPOCH_NS) // 1_000_000


def wall_ahead_ms() -> int:
    """By how many ms the clock on the wall has been set forwards since the start; below zero: backwards."""
    return time.time_ns() // 1_000_000 - steady_ms()
