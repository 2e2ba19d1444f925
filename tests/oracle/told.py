"""What replicas are told, request by request: ours beside redis-server 7.0's. For the test files of single types."""

from __future__ import annotations

import time

from tests.commands.harness import Harness
from tests.oracle.conftest import Servers
from tests.oracle.oracle import Stream, Told, words

_SLACK_MS = 1500
_UNIT = (b"MULTI", b"EXEC")
"""Around several commands; `Stream` leaves them out as well."""


def _same(theirs: bytes, ours: bytes) -> bool:
    """Equal, or two deadlines of nearly the same time."""
    if theirs == ours:
        return True
    both_numbers = theirs.isdigit() and ours.isdigit() and len(theirs) == len(ours) == 13
    return both_numbers and abs(int(theirs) - int(ours)) <= _SLACK_MS


def compare_told(servers: Servers, table: str, kind: str = "redis") -> None:
    """Each line of a table (see `Judge.check_all`) is told to replicas in the same words."""
    stream = Stream(servers.server(kind))
    try:
        stream.of(b"FLUSHALL")
        redis = Harness()
        told = Told(redis)
        for line in table.splitlines():
            request = words(line)
            if request:
                redis.node.set_time(time.time_ns() // 1_000_000)
                theirs = stream.of(*request)
                ours = [command for command in told.of(*request) if command[0] not in _UNIT]
                story = f"{line.strip()}\ntheirs: {theirs}\nours:   {ours}"
                assert len(theirs) == len(ours), story
                for one, other in zip(theirs, ours, strict=True):
                    assert len(one) == len(other) and all(map(_same, one, other)), story
        stream.of(b"FLUSHALL")
    finally:
        stream.close()
