"""Nodes that come and go: add one that is empty, take one out in order, make all forget one that is gone. I/O."""

from __future__ import annotations

from contextlib import suppress

from cluster.admin.checks import shown_slots
from cluster.admin.picture import Host, Member, Picture
from gossip.ids import NodeId
from node.admin.cluster import Cluster, describe
from node.admin.link import AdminError, Refusal

EMPTY_TIMEOUT_S = 5.0


def check_free(cluster: Cluster, node: Host) -> Member:
    """The node at this address, which may join: it is alone and empty. AdminError, also when it is a member already."""
    member = describe(cluster.link_to(node))
    assert member.view is not None
    if member.id in cluster.picture.members:
        raise AdminError(f"{node} is a member of this cluster already ({member.id[:8]})")
    others = [seen for seen in member.view.nodes.values() if seen.id != member.id and seen.is_member]
    if others:
        raise AdminError(
            f"{node} is a member of another cluster (it knows {others[0].host}:{others[0].port}): `del-node` it there first"
        )
    if member.seen.slots:
        raise AdminError(f"{node} owns {shown_slots_of(member)} on its own: CLUSTER RESET it if it is free")
    if member.keys:
        raise AdminError(f"{node} holds {member.keys:,} keys: FLUSHALL it if they are of no use, or choose another node")
    return member


def shown_slots_of(member: Member) -> str:
    """The slots that a node says it owns, in short."""
    return shown_slots(slot for start, end in member.seen.slots for slot in range(start, end + 1))


def choose_primary(picture: Picture, besides: NodeId | None = None) -> Member:
    """The primary that needs a replica most: it owns slots and has the fewest. AdminError when none is there."""
    candidates = [one for one in picture.primaries if one.reachable and one.seen.slots and one.id != besides]
    if not candidates:
        raise AdminError("no primary that answers owns slots: there is nobody to be a replica of")
    return min(candidates, key=lambda one: (len(picture.replicas(one.id)), one.host.name, one.host.port))


def next_primary(picture: Picture, leaving: Member) -> Member:
    """Whom the replicas of a node that leaves follow: its own primary if it has become a replica itself. AdminError."""
    primary = picture.members.get(leaving.seen.primary) if leaving.seen.primary else None
    return primary if primary is not None and primary.reachable else choose_primary(picture, besides=leaving.id)


def add(cluster: Cluster, member: Member, primary: Member | None) -> None:
    """Let the node join, as a replica of `primary` if there is one. Returns when all know it. AdminError."""
    link = cluster.link_to(member.host)
    _copy_functions(cluster, member)
    helper = next(one for one in cluster.picture.primaries if one.reachable)
    seen = helper.seen
    bus = () if seen.bus_port == seen.port + 10000 else (seen.bus_port,)
    link.ask("CLUSTER", "MEET", seen.host or cluster.link(helper.id).ip(), seen.port, *bus)
    cluster.wait(lambda picture: _known_to_all(picture, member.id), f"aware of {member.host}")
    if primary is not None:
        follow(cluster, member.id, primary)


def follow(cluster: Cluster, node: NodeId, primary: Member) -> None:
    """Make the node a replica and wait until it is in sync. AdminError."""
    cluster.ask(node, "CLUSTER", "REPLICATE", primary.id)
    name = cluster.picture.name(node)
    cluster.wait(
        lambda picture: picture.members[node].link == "up" and picture.members[node].seen.primary == primary.id,
        f"that {name} is in sync with {primary.name}",
    )


def _known_to_all(picture: Picture, node: NodeId) -> bool:
    member = picture.members.get(node)
    return member is not None and member.reachable and all(
        one.view is not None and node in one.view.nodes for one in picture.reachable
    )


def _copy_functions(cluster: Cluster, member: Member) -> None:
    """Functions are each node's own: a new one gets those that the others have."""
    helper = next((one for one in cluster.picture.primaries if one.reachable), None)
    if helper is None:
        raise AdminError("no primary of the cluster answers")
    try:
        dump = cluster.ask(helper.id, "FUNCTION", "DUMP")
        cluster.link_to(member.host).ask("FUNCTION", "RESTORE", dump)
    except Refusal as refusal:
        if "nknown" in refusal.text or "already exists" in refusal.text:
            return  # Servers without functions, and a run before this one that was interrupted.
        raise AdminError(f"functions can not be copied to {member.host}: {refusal.text}") from None


def check_leaving(cluster: Cluster, member: Member, *, evacuate: bool) -> None:
    """AdminError unless this node can be taken out."""
    picture = cluster.picture
    if not member.reachable:
        raise AdminError(f"{member.name} does not answer ({member.trouble}): `forget` makes the others forget it")
    if len(picture.reachable) == 1:
        raise AdminError(f"{member.name} is the only node that answers: there is no cluster to take it out of")
    owned = len(picture.slots.get(member.id, ())) if member.is_primary else 0
    if owned and not evacuate:
        raise AdminError(f"{member.name} owns {owned:,} slots: --evacuate moves them to the other primaries first")


def remove(cluster: Cluster, member: Member) -> list[str]:
    """Take the node, which owns nothing, out of the cluster and reset it. Lines about what else was done. AdminError."""
    told = []
    if keys := _keys_of_others(cluster, member):
        raise AdminError(
            f"{member.name} holds {keys:,} keys of slots that others own: `fix --search-multiple-owners` brings them home"
        )
    for replica in cluster.picture.replicas(member.id):
        if replica.reachable:
            primary = next_primary(cluster.picture, member)
            follow(cluster, replica.id, primary)
            told.append(f"{replica.name} follows {primary.name} now.")
    forget(cluster, member.id)
    cluster.ask(member.id, "CLUSTER", "RESET", "HARD")
    told.append(f"{member.name} is out and reset: it knows nobody, under a new id.")
    return told


def _keys_of_others(cluster: Cluster, member: Member) -> int:
    """How many keys a primary without slots keeps. One that has just been emptied still removes them for a moment, or is
    about to become a replica of who took its last slot: then they are that one's."""

    def holds(picture: Picture) -> int:
        now = picture.members[member.id]
        return (now.keys or 0) if now.is_primary else 0

    if holds(cluster.refresh()):
        with suppress(AdminError):
            cluster.wait(lambda picture: not holds(picture), f"{member.name} is empty", EMPTY_TIMEOUT_S)
    return holds(cluster.picture)


def check_forgettable(cluster: Cluster, member: Member) -> None:
    """AdminError unless it is gone and nothing hangs on it."""
    picture = cluster.picture
    if member.reachable:
        raise AdminError(f"{member.name} answers: `del-node` takes it out in order; forgotten it would come back by itself")
    owned = picture.slots.get(member.id, [])
    if owned:
        raise AdminError(
            f"{member.name} still owns {shown_slots(owned)}: wait until a replica has taken over, or give them up with "
            "`fix --fix-with-unreachable-primaries`"
        )
    following = [one.name for one in picture.replicas(member.id) if one.reachable]
    if following:
        raise AdminError(f"{', '.join(following)} still follows it: wait for a failover, or make it follow another primary")


def forget(cluster: Cluster, node: NodeId) -> None:
    """Make all others that answer forget this node, at once: gossip brings it back where only some do. AdminError."""
    others = [one.id for one in cluster.picture.reachable if one.id != node]
    replies = cluster.ask_each(others, [("CLUSTER", "FORGET", node)])
    failed = [reply for (reply,) in replies.values() if isinstance(reply, AdminError) and not _unknown(reply)]
    if failed:
        raise AdminError(f"{failed[0]}; the others have forgotten it, but only for a minute: try again")


def _unknown(error: AdminError) -> bool:
    return isinstance(error, Refusal) and "unknown node" in error.text.lower()

