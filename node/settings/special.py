"""Settings whose value is more than one word: save points, buffer limits, event classes, addresses, percentiles.

Each is a type of its own because Redis gives each its own grammar, its own errors and its own lines in the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from node.numbers import format_memory, parse_double, parse_memory, strtoll
from node.settings.kinds import Setting, SettingError, quote, to_bytes

SavePoints = tuple[tuple[int, int], ...]
MAX_BIND_ADDRESSES = 16


class Save(Setting[SavePoints]):
    """Pairs of seconds and changes. Several lines of one file add up; an empty text means none."""

    kind = "pairs of seconds and changes"
    multiple = True

    def parse(self, args: Sequence[str], current: SavePoints, loading: bool = False) -> SavePoints:
        kept = current if loading else ()
        if len(args) == 1 and not args[0]:
            return ()
        if len(args) % 2:
            raise SettingError("Invalid save parameters")
        points = []
        for seconds_text, changes_text in zip(args[::2], args[1::2], strict=True):
            seconds, changes = strtoll(seconds_text), strtoll(changes_text)
            if seconds is None or changes is None or seconds < 1 or changes < 0:
                raise SettingError("Invalid save parameters")
            points.append((seconds, changes))
        return (*kept, *points)

    def format(self, value: SavePoints) -> str:
        return " ".join(f"{seconds} {changes}" for seconds, changes in value)

    def rewrite(self, value: SavePoints) -> list[tuple[str, bool]]:
        return [(f"{seconds} {changes}", True) for seconds, changes in value] or [('""', True)]


class BufferLimit(NamedTuple):
    """Limits of one client class: bytes (hard), bytes (soft) held for seconds; 0 means no limit."""

    hard: int
    soft: int
    soft_seconds: int


class BufferLimits(NamedTuple):
    """Output buffer limits of the three client classes."""

    normal: BufferLimit
    replica: BufferLimit
    pubsub: BufferLimit


class OutputBufferLimit(Setting[BufferLimits]):
    """``class hard soft seconds``, as often as wanted; classes that are not named keep their limits."""

    kind = "class, hard limit, soft limit, seconds"
    multiple = True

    def parse(self, args: Sequence[str], current: BufferLimits, loading: bool = False) -> BufferLimits:
        if len(args) % 4:
            raise SettingError("Wrong number of arguments in buffer limit configuration.")
        limits = current
        for at in range(0, len(args), 4):
            name = args[at].lower()
            name = "replica" if name == "slave" else name
            if name not in BufferLimits._fields:
                raise SettingError("Invalid client class specified in buffer limit configuration.")
            hard, soft, seconds = parse_memory(args[at + 1]), parse_memory(args[at + 2]), strtoll(args[at + 3])
            if hard is None or soft is None or seconds is None or seconds < 0:
                raise SettingError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
            limits = limits._replace(**{name: BufferLimit(hard, soft, seconds)})
        return limits

    def format(self, value: BufferLimits) -> str:
        named = zip(("normal", "slave", "pubsub"), value, strict=True)
        return " ".join(f"{name} {limit.hard} {limit.soft} {limit.soft_seconds}" for name, limit in named)

    def rewrite(self, value: BufferLimits) -> list[tuple[str, bool]]:
        return [
            (f"{name} {format_memory(limit.hard)} {format_memory(limit.soft)} {limit.soft_seconds}", limit != default)
            for name, limit, default in zip(BufferLimits._fields, value, self.default, strict=True)
        ]


KEYSPACE_CLASSES = "g$lshzxetd"


class KeyspaceEvents(Setting[str]):
    """Event classes of notifications, kept in Redis's order (``AKE``)."""

    kind = "event classes"

    def parse_one(self, text: str) -> str:
        chosen = set(text)
        if chosen - set("AKEmn" + KEYSPACE_CLASSES):
            raise SettingError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        classes = "".join(letter for letter in KEYSPACE_CLASSES if letter in chosen or "A" in chosen)
        if len(classes) == len(KEYSPACE_CLASSES):
            classes = "A"
        return classes + "".join(letter for letter in "KEmn" if letter in chosen)

    def rewrite(self, value: str) -> list[tuple[str, bool]]:
        return [(quote(value), value != self.default)]


class Addresses(Setting[tuple[str, ...]]):
    """Addresses to listen on; a leading minus allows one to be absent. None: no TCP."""

    kind = "addresses"
    multiple = True

    def parse(self, args: Sequence[str], current: tuple[str, ...], loading: bool = False) -> tuple[str, ...]:
        if len(args) > MAX_BIND_ADDRESSES:
            raise SettingError("Too many bind addresses specified.")
        return () if len(args) == 1 and not args[0] else tuple(args)

    def format(self, value: tuple[str, ...]) -> str:
        return " ".join(value)

    def rewrite(self, value: tuple[str, ...]) -> list[tuple[str, bool]]:
        return [(self.format(value) or '""', value != self.default)]


class Primary(Setting["tuple[str, int] | None"]):
    """Host and port of the primary to replicate, or ``no one``."""

    kind = "host and port"
    multiple = True

    def parse(
        self, args: Sequence[str], current: tuple[str, int] | None, loading: bool = False
    ) -> tuple[str, int] | None:
        if len(args) != 2:
            raise SettingError("wrong number of arguments")
        if args[0].lower() == "no" and args[1].lower() == "one":
            return None
        port = strtoll(args[1])
        if port is None or not 0 <= port <= 65535:
            raise SettingError("Invalid master port")
        return args[0], port

    def format(self, value: tuple[str, int] | None) -> str:
        return f"{value[0]} {value[1]}" if value else ""

    def rewrite(self, value: tuple[str, int] | None) -> list[tuple[str, bool]]:
        return [(self.format(value), True)] if value else []


class OomScores(Setting[tuple[int, int, int]]):
    """Three scores: primary, replica, child process."""

    kind = "three integers -2000..2000"
    multiple = True

    def parse(self, args: Sequence[str], current: tuple[int, int, int], loading: bool = False) -> tuple[int, int, int]:
        if len(args) != 3:
            raise SettingError("wrong number of arguments")
        numbers = [strtoll(text) for text in args]
        good = [number for number in numbers if number is not None and -2000 <= number <= 2000]
        if len(good) != 3:
            raise SettingError("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
        return good[0], good[1], good[2]

    def format(self, value: tuple[int, int, int]) -> str:
        return " ".join(map(str, value))


class Percentiles(Setting[tuple[float, ...]]):
    """Percentiles of INFO's latency section."""

    kind = "percentiles"
    multiple = True

    def parse(self, args: Sequence[str], current: tuple[float, ...], loading: bool = False) -> tuple[float, ...]:
        if len(args) == 1 and not args[0]:
            return ()
        values = []
        for text in args:
            value = parse_double(to_bytes(text))
            if value is None or math.isnan(value):
                raise SettingError("Invalid latency-tracking-info-percentiles parameters")
            if not 0.0 <= value <= 100.0:
                raise SettingError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
            values.append(value)
        return tuple(values)

    def format(self, value: tuple[float, ...]) -> str:
        return " ".join(_trimmed(number) for number in value)

    def rewrite(self, value: tuple[float, ...]) -> list[tuple[str, bool]]:
        return [(self.format(value) or '""', True)]


def _trimmed(number: float) -> str:
    return f"{number:f}".rstrip("0").rstrip(".")


class Directory(Setting[str]):
    """The working directory, absolute; a relative one is taken from the current one and must exist."""

    kind = "directory"

    def __init__(self, default: str = "", *aliases: str, **flags: Any) -> None:
        super().__init__(default, *aliases, **flags)

    def parse(self, args: Sequence[str], current: str, loading: bool = False) -> str:
        if len(args) != 1:
            raise SettingError("wrong number of arguments")
        if not args[0]:
            raise SettingError("No such file or directory")
        path = os.path.normpath(os.path.join(current or os.getcwd(), args[0]))
        try:
            with os.scandir(path):
                pass
        except OSError as error:
            raise SettingError(error.strerror or str(error)) from None
        return path

    def rewrite(self, value: str) -> list[tuple[str, bool]]:
        return [(quote(value), True)]
