"""`hashslot cluster add-node`, `del-node` and `forget`: show what would happen, ask, do it, say what comes next. I/O."""

from __future__ import annotations

from typing import Any

from cluster.admin.moves import evacuate as evacuation
from cluster.admin.picture import Host
from node.admin import jobs, membership, show
from node.admin.cluster import Cluster
from node.admin.link import Access
from node.admin.options import go_on


def join(
    new: Host, entry: Host, access: Access, *, replica_of: str | None, replica: bool, yes: bool, dry_run: bool
) -> None:
    """add-node. AdminError when the node is not free or the cluster is not sound."""
    with Cluster(entry, access) as running:
        jobs.check_sound(running)
        primary = None
        if replica_of:
            primary = jobs.primary_of(running.picture, replica_of)
        elif replica:
            primary = membership.choose_primary(running.picture)
        member = membership.check_free(running, new)
        role = f"as a replica of {primary.name}" if primary else "as a primary without slots"
        show.say(f"{new} ({member.server}) joins the cluster {role}.")
        if not go_on(yes, dry_run):
            return
        membership.add(running, member, primary)
        show.say(f"Done: all {len(running.picture.reachable)} nodes know {new}.")
        if not primary:
            show.say(f"To give it slots: hashslot cluster rebalance {entry} --use-empty-primaries")


def leave(entry: Host, access: Access, node: str, *, evacuate: bool, yes: bool, dry_run: bool, **how: Any) -> None:
    """del-node. AdminError when it owns slots and is not to be emptied, or can not be."""
    with Cluster(entry, access) as running:
        member = running.picture.find(node)
        membership.check_leaving(running, member, evacuate=evacuate)
        owned = member.is_primary and running.picture.slots.get(member.id)
        if owned:
            jobs.check_sound(running)
        for one in running.picture.replicas(member.id):
            primary = membership.next_primary(running.picture, member)
            show.say(f"{one.name}, its replica, follows {primary.name} then, unless that has more replicas by then.")
        show.say(f"{member.name} {member.id[:8]} leaves the cluster and is reset.")
        if owned:
            moves = evacuation(running.picture.slots, member.id)
            if not jobs.carry_out(running, moves, jobs.moving_of(
                how["method"], how["pipeline"], how["migrate_timeout"], how["replace"]
            ), yes=yes, dry_run=dry_run):
                return
            # Real servers that are emptied may have become a replica of who took their last slot.
            member = running.picture.members[member.id]
        elif not go_on(yes, dry_run):
            return
        for line in membership.remove(running, member):
            show.say(line)


def forget_node(entry: Host, access: Access, node: str, *, yes: bool, dry_run: bool) -> None:
    """forget. AdminError when it is not gone, or something hangs on it."""
    with Cluster(entry, access) as running:
        member = running.picture.find(node)
        membership.check_forgettable(running, member)
        others = len(running.picture.reachable)
        show.say(f"{member.name} {member.id[:8]} ({member.trouble}) is forgotten by {others} nodes.")
        if go_on(yes, dry_run):
            membership.forget(running, member.id)
            show.say("Done. It stays out as long as it does not come back within a minute, or for good once reset.")
