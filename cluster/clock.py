"""A clock that was set back: what this node noted lies ahead then, and all that waits for time would wait so much longer.

An hour set back would keep a replica from an election, a voter from its next vote and a primary from service for that
hour. `gossip/watch.py` sees to what the bus has noted; the lease looks after itself.
"""

from __future__ import annotations

from dataclasses import replace

from cluster import elections, manual_failover
from cluster.core import Core


def set_back(core: Core, now_ms: int) -> None:
    """Whatever was noted for later than now (unix ms) was noted now; an election is planned anew."""
    elections.reset(core)
    manual, comeback = core.manual, core.comeback
    if manual.end_ms:
        manual.end_ms = min(manual.end_ms, now_ms + core.settings.manual_failover_timeout_ms)
        manual.word_by_ms = min(manual.word_by_ms, now_ms + manual_failover.WORD_MS)
    comeback.since_ms = _not_after(comeback.since_ms, now_ms)
    comeback.less_since_ms = _not_after(comeback.less_since_ms, now_ms)
    comeback.asks_since_ms = _not_after(comeback.asks_since_ms, now_ms)
    core.minority_ms = _not_after(core.minority_ms, now_ms)
    core.started_ms = min(core.started_ms, now_ms)
    for primary, vote in core.votes.items():
        core.votes[primary] = replace(vote, at_ms=min(vote.at_ms, now_ms))
    for node, since_ms in core.orphaned.items():
        core.orphaned[node] = min(since_ms, now_ms)


def _not_after(noted_ms: int | None, now_ms: int) -> int | None:
    return None if noted_ms is None else min(noted_ms, now_ms)
