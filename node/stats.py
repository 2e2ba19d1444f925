"""What a node counts while it runs; INFO and CONFIG RESETSTAT are the readers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields

_SAMPLES = 16


class Rate:
    """An instantaneous per-second rate: the mean over the last 16 samples, as in Redis."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque([0.0] * _SAMPLES, maxlen=_SAMPLES)
        self._last_value = 0
        self._last_ms = 0

    def sample(self, value: int, now_ms: int) -> None:
        """Note that the counter stands at `value` now."""
        elapsed_ms = now_ms - self._last_ms
        if self._last_ms and elapsed_ms > 0:
            self._samples.append(max(0, value - self._last_value) * 1000 / elapsed_ms)
        self._last_value = value
        self._last_ms = now_ms

    @property
    def per_second(self) -> float:
        return sum(self._samples) / _SAMPLES


@dataclass(slots=True)
class Stats:
    """Counters since the start or the last CONFIG RESETSTAT."""

    connections_received: int = 0
    net_input_bytes: int = 0
    net_output_bytes: int = 0
    net_repl_input_bytes: int = 0
    net_repl_output_bytes: int = 0
    rejected_connections: int = 0
    sync_full: int = 0
    sync_partial_ok: int = 0
    sync_partial_err: int = 0
    expired_keys: int = 0
    expired_time_cap_reached: int = 0
    keyspace_hits: int = 0
    keyspace_misses: int = 0
    query_buffer_limit_disconnections: int = 0
    output_buffer_limit_disconnections: int = 0
    unexpected_error_replies: int = 0
    total_error_replies: int = 0
    total_reads_processed: int = 0
    total_writes_processed: int = 0
    active_expire_cycle_usec: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Error replies by their code."""
    ops: Rate = field(default_factory=Rate)
    input_rate: Rate = field(default_factory=Rate)
    output_rate: Rate = field(default_factory=Rate)

    def error(self, code: str) -> None:
        """Count an error reply. Codes are few, but a client could invent them: the dict is bounded."""
        self.total_error_replies += 1
        if code in self.errors or len(self.errors) < 128:
            self.errors[code] = self.errors.get(code, 0) + 1

    def sample(self, commands_processed: int, now_ms: int) -> None:
        """Feed the per-second rates: every 100 ms."""
        self.ops.sample(commands_processed, now_ms)
        self.input_rate.sample(self.net_input_bytes, now_ms)
        self.output_rate.sample(self.net_output_bytes, now_ms)

    def reset(self) -> None:
        """CONFIG RESETSTAT."""
        fresh = Stats()
        for one in fields(self):
            setattr(self, one.name, getattr(fresh, one.name))
