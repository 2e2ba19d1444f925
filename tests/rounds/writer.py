"""A client that writes without a pause, remembers each acknowledgement, and checks every one of them afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise

import redis

from tests.rounds.nodes import Nodes

_CHECK_BATCH = 5000


class Writer(threading.Thread):
    """Writes keys of one shard, each once, from a host, to whichever of some nodes takes them.

    prefix: begins each key. acknowledged: when each key's OK came (monotonic s). unknown: how many writes got neither OK
    nor an error that says that nothing was done.
    """

    def __init__(self, nodes: Nodes, host: int, targets: Sequence[int], prefix: bytes) -> None:
        super().__init__(daemon=True)
        self._nodes = nodes
        self._host = host
        self._targets = list(targets)
        self._prefix = prefix
        self._over = threading.Event()
        self.acknowledged: dict[bytes, float] = {}
        self.unknown = 0

    def run(self) -> None:
        with self._nodes.hosts.entered(self._host):
            number = turn = 0
            while not self._over.is_set():
                with self._nodes.client(self._targets[turn % len(self._targets)], timeout_s=0.5) as client:
                    try:
                        while not self._over.is_set():
                            number += 1
                            key = b"%b:%d" % (self._prefix, number)
                            if client.set(key, number):
                                self.acknowledged[key] = time.monotonic()
                    except redis.ResponseError:
                        pass  # MOVED, CLUSTERDOWN and the like: nothing was done. The next node may take it.
                    except (redis.ConnectionError, redis.TimeoutError):
                        self.unknown += 1
                turn += 1
                self._over.wait(0.01)

    def finish(self) -> None:
        """Stop writing."""
        self._over.set()
        self.join(20)

    def longest_gap_s(self) -> float:
        """The longest time without an acknowledgement."""
        times = sorted(self.acknowledged.values())
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def last_after(self, moment: float) -> float:
        """How long after a moment the last acknowledgement came, s; 0 when none came after it."""
        return max(0.0, max(self.acknowledged.values(), default=0.0) - moment)

    def lost(self, node: int) -> list[bytes]:
        """The acknowledged keys that the node, by now the owner of their slots, does not have."""
        keys = list(self.acknowledged)
        lost = []
        with self._nodes.client(node, timeout_s=20) as client:
            for start in range(0, len(keys), _CHECK_BATCH):
                batch = keys[start : start + _CHECK_BATCH]
                lost += [key for key, value in zip(batch, client.mget(batch), strict=True) if value is None]
        return lost
