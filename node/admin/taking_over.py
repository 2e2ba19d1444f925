"""`hashslot cluster failover`: let a replica take its living primary's place, without a lost write or a failed one. I/O."""

from __future__ import annotations

import time

from cluster.admin.checks import shown_slots
from cluster.admin.picture import Host, Member, Picture
from gossip.ids import NodeId
from node.admin import jobs, show
from node.admin.cluster import Cluster, agreed
from node.admin.link import Access, AdminError
from node.admin.options import go_on

_ATTEMPT_S = 7.0
"""A node gives a manual failover up after 5 s, and says so in its log only."""
_ATTEMPTS = 3


def take_over(entry: Host, access: Access, node: str, *, yes: bool, dry_run: bool) -> None:
    """failover. AdminError when the node is no replica in sync, or does not succeed. A primary already is fine."""
    with Cluster(entry, access) as running:
        jobs.check_sound(running)
        member = running.picture.find(node)
        if member.is_primary:
            show.say(f"{member.name} is a primary already.")
            return
        old = _primary_in_sync(running.picture, member)
        siblings = {one.id for one in running.picture.replicas(old.id)} - {member.id}
        show.say(f"{member.name} takes the place of {old.name}: {shown_slots(running.picture.slots.get(old.id, []))}.")
        if not go_on(yes, dry_run):
            return
        for _ in range(_ATTEMPTS):
            running.ask(member.id, "CLUSTER", "FAILOVER")
            if _has_become_primary(running, member.id):
                break
        else:
            raise AdminError(f"{member.name} asked {_ATTEMPTS} times and was not elected: its log says why")
        others = {old.id, *siblings}
        running.wait(lambda picture: _followed(picture, member.id, others), f"that all others follow {member.name}")
        show.say(f"Done: {member.name} is the primary, and {old.name} its replica.")


def _primary_in_sync(picture: Picture, replica: Member) -> Member:
    primary = picture.members.get(replica.seen.primary) if replica.seen.primary else None
    if not replica.reachable:
        raise AdminError(f"{replica.name} does not answer ({replica.trouble})")
    if primary is None or not primary.reachable:
        raise AdminError(f"the primary of {replica.name} does not answer: an election is up to the nodes themselves")
    if replica.link != "up":
        raise AdminError(f"{replica.name} is not in sync with {primary.name} ({replica.link or 'unknown'}): wait for it")
    return primary


def _has_become_primary(cluster: Cluster, node: NodeId) -> bool:
    deadline = time.monotonic() + _ATTEMPT_S
    while time.monotonic() < deadline:
        if cluster.refresh().members[node].is_primary:
            return True
        time.sleep(0.05)
    return False


def _followed(picture: Picture, node: NodeId, others: set[NodeId]) -> bool:
    """Whether everyone knows the new owner, and the old one and its other replicas, where they answer, follow it."""
    in_sync = {one.id for one in picture.replicas(node) if one.link == "up"}
    return agreed(picture) and others & {one.id for one in picture.reachable} <= in_sync
