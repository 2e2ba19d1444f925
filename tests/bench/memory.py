"""Memory per key: what a server grows by when a million small strings are set."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.bench.load import prefill
from tests.bench.servers import BenchError, Kind, info, started

KEY = b"mem:%012d"
VALUE = b"value:%026d"
SETTLED_BYTES = 256 * 1024
SETTLE_TRIES = 20


@dataclass
class Footprint:
    """Bytes: of the process before (with an empty keyspace) and after, and per key."""

    server: str
    keys: int
    before: int
    after: int

    @property
    def per_key(self) -> float:
        return (self.after - self.before) / self.keys


def footprint(kind: Kind, keys: int) -> Footprint:
    """Start a server of this kind, set `keys` 16-byte keys with 32-byte values, and see what it has grown by."""
    assert len(KEY % 1) == 16 and len(VALUE % 1) == 32
    with started(kind) as running:
        prefill(running, 1000, b"warm:%011d", VALUE)  # buffers and code paths that belong to no key
        before = running.memory_bytes()
        prefill(running, keys, KEY, VALUE)
        after = running.memory_bytes()
        for _ in range(SETTLE_TRIES):  # a rehash may still hold the old table
            time.sleep(0.1)
            previous, after = after, running.memory_bytes()
            if abs(after - previous) < SETTLED_BYTES:
                break
        keyspace = info(running.port, "keyspace").get("db0", "")
        if f"keys={keys + 1000}," not in keyspace:
            raise BenchError(f"{kind.name}: {keys + 1000} keys were set, INFO says {keyspace!r}")
    return Footprint(kind.name, keys, before, after)
