"""`cluster_state`: whether this node believes in a cluster that may be used.

Not while slots have no working owner (with full coverage required), nor without a majority of the primaries that own
slots: for a primary, one that has answered it within the node timeout (`lease.py`). A primary that comes back, from a
restart or from a minority, waits: others may have replaced it meanwhile, and must have the time to say so before it takes
writes again.
"""

from __future__ import annotations

from cluster import lease, restarts
from cluster.core import Core
from cluster.events import Level, StateChanged
from gossip.detector import quorum
from gossip.members import FAIL, HANDSHAKE, MYSELF, NOADDR, PFAIL
from gossip.messages import SLOT_COUNT

REJOIN_DELAY_MIN_MS = 500
REJOIN_DELAY_MAX_MS = 5000
BOOT_DELAY_MS = 2000


def rejoin_delay_ms(timeout_ms: int) -> int:
    """How long a primary waits after it was without a majority."""
    return min(max(timeout_ms, REJOIN_DELAY_MIN_MS), REJOIN_DELAY_MAX_MS)


def _waits_after_boot(core: Core, now_ms: int) -> bool:
    """Redis waits two seconds. A node that has never heard of anybody has nothing to rejoin and need not wait.

    Nor need one that has no replica, as soon as everyone has answered: there is nobody left to object. A replica may be
    about to take over while it answers.
    """
    if not core.rejoining:
        return False
    if now_ms - core.started_ms < BOOT_DELAY_MS:
        others = [one for one in core.gossip.members if not one.flags & (MYSELF | HANDSHAKE | NOADDR)]
        if core.myself.replicas or not all(member.answered for member in others):
            return True
    core.rejoining = False
    return False


def reassess(core: Core, now_ms: int) -> None:
    """Compute the state anew, and let it be known when it has changed."""
    is_primary = core.myself.is_primary
    if is_primary and not core.ok and (restarts.waits(core, now_ms) or _waits_after_boot(core, now_ms)):
        return
    size = reachable = 0
    covered = core.slotmap.assigned == SLOT_COUNT
    for node in core.slotmap.owners():
        flags = core.members[node].flags
        size += 1
        if flags & FAIL:
            covered = False
        if not flags & (FAIL | PFAIL):
            reachable += 1
    ok = covered or not core.settings.require_full_coverage
    if reachable < quorum(size):
        ok = False
        if size:
            core.minority_ms = now_ms
    if is_primary and lease.has_lapsed(core, now_ms):
        ok = False
        if core.ok or core.minority_ms is not None:
            core.minority_ms = now_ms
    if is_primary and restarts.holds_back(core, now_ms):
        ok = False
    if ok == core.ok:
        return
    waited = core.minority_ms is None or now_ms - core.minority_ms >= rejoin_delay_ms(core.settings.node_timeout_ms)
    if ok and is_primary and not waited:
        return
    core.ok = ok
    core.out.log(Level.NOTICE if ok else Level.WARNING, f"Cluster state changed: {'ok' if ok else 'fail'}")
    core.out.put(StateChanged(ok))
