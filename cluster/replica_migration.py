"""A replica of a primary that has several goes to one that has none left (cluster-migration-barrier).

Redis's `clusterHandleSlaveMigration`: of the primaries with the most working replicas, the replica with the smallest id
goes, once the other has been alone for five seconds.
"""

from __future__ import annotations

from cluster import roles
from cluster.core import Core
from cluster.events import Level
from gossip.members import FAIL, MIGRATE_TO, PFAIL, Member

DELAY_MS = 5000


def _working(primary: Member) -> int:
    """How many of its replicas have not failed."""
    return sum(not one.failed for one in primary.replicas)


def consider(core: Core, now_ms: int) -> None:
    """Ten times a second, on every replica."""
    mine = core.myself.primary
    if mine is None or not core.ok or not core.settings.allow_replica_migration:
        core.orphaned.clear()
        return
    primaries = [one for one in core.members.values() if one.is_primary and not one.failed]
    orphans = [one for one in primaries if one.flags & MIGRATE_TO and one.slot_count and not _working(one)]
    ids = {one.id for one in orphans}
    for node in [node for node in core.orphaned if node not in ids]:
        del core.orphaned[node]
    for node in ids:
        core.orphaned.setdefault(node, now_ms)
    if not orphans or mine.failed or _working(mine) <= core.settings.migration_barrier:
        return
    most = max(_working(one) for one in primaries)
    donors = [one for one in primaries if _working(one) == most]
    ready = [one for one in orphans if now_ms - core.orphaned[one.id] > DELAY_MS and not one.flags & PFAIL]
    if most < 2 or mine not in donors or not ready:
        return
    candidates = [one for donor in donors for one in donor.replicas if not one.flags & FAIL]
    if min(candidates, key=lambda one: one.id) is core.myself:
        target = min(ready, key=lambda one: one.id)
        core.out.log(Level.NOTICE, f"Migrating to orphaned master {target.id}")
        core.orphaned.clear()
        roles.replicate(core, target)
