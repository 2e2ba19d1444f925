"""Who is a primary and who a replica of whom: as members tell, and what it means for this node itself."""

from __future__ import annotations

from cluster.core import Core
from cluster.events import Level, RoleChanged
from cluster.failover import Comeback
from gossip.ids import ShardId, random_id
from gossip.members import MIGRATE_TO, PRIMARY, REPLICA, Member
from gossip.messages import Header


def hear(core: Core, sender: Member, header: Header) -> None:
    """Take over the role that a member tells of itself."""
    if header.primary is None:
        set_primary_role(core, sender)
        return
    primary = core.members.get(header.primary)
    if not sender.is_replica:
        _became_replica(core, sender, primary, header)
    if primary is not None and primary is not sender and sender.primary is not primary:
        core.gossip.members.set_primary(sender, primary)
        if primary.shard_id is not None:
            set_shard(sender, primary.shard_id)
        core.out.changed(state=False)
    _follow_successor(core, sender)


def _follow_successor(core: Core, sender: Member) -> None:
    """This node's primary is a replica now: whom it follows is to be followed.

    This may be the first that this node hears of a failover, slots and all: the successor's own claim is no news then.
    """
    successor = sender.primary
    if core.myself.primary is not sender or successor is None or successor is core.myself:
        return
    if successor.is_primary and successor.slot_count:
        core.out.log(
            Level.NOTICE, f"I'm a sub-replica! Reconfiguring myself as a replica of grandmaster {successor.called}"
        )
        replicate(core, successor)


def _became_replica(core: Core, sender: Member, primary: Member | None, header: Header) -> None:
    same_shard = primary is not None and primary.shard_id is not None and primary.shard_id == sender.shard_id
    if primary is not None and same_shard and primary is not core.myself:
        # A failover within the shard, of which the new primary itself has not told yet.
        if sender.config_epoch > header.config_epoch:
            core.out.log(
                Level.NOTICE,
                f"Ignore stale message from {sender.called} in shard {sender.shard_id}; gossip config epoch: "
                f"{header.config_epoch}, current config epoch: {sender.config_epoch}",
            )
        else:
            moved = core.slotmap.bits(sender.id)
            core.assign(moved, primary)
            core.slotmap.unclaimed |= moved  # Until it says so itself: it may have less, or have lost some since.
            set_primary_role(core, primary)
            primary.config_epoch = max(primary.config_epoch, header.config_epoch)
            core.out.log(
                Level.NOTICE,
                f"A failover occurred in shard {sender.shard_id}; node {sender.called} lost its slots to node "
                f"{primary.called} with a config epoch of {primary.config_epoch}",
            )
    if sender.slot_count:
        core.out.log(
            Level.NOTICE,
            f"Node {sender.called} is no longer master of shard {sender.shard_id}; removed all {sender.slot_count} "
            "slot(s) it used to own",
        )
        core.assign(core.slotmap.bits(sender.id), None)
    sender.flags = sender.flags & ~(PRIMARY | MIGRATE_TO) | REPLICA
    core.out.changed()


def set_primary_role(core: Core, member: Member) -> None:
    """Note that a member is a primary."""
    if member.is_primary:
        return
    if member.primary is not None:
        core.gossip.members.set_primary(member, None)
        member.promoted = True
        if member is not core.myself:
            member.flags |= MIGRATE_TO
    member.flags = member.flags & ~REPLICA | PRIMARY
    core.out.changed()


def set_shard(member: Member, shard_id: ShardId) -> None:
    """Put a member, and its replicas with it, into a shard."""
    member.shard_id = shard_id
    for replica in member.replicas:
        replica.shard_id = shard_id


def replicate(core: Core, primary: Member) -> None:
    """Become a replica of this primary. This node must own no slot."""
    myself = core.myself
    if myself.is_primary or primary.shard_id != myself.shard_id:
        core.slotmap.close_all()  # They were this node's, or those of a primary whose successor it will not be.
    myself.flags = myself.flags & ~(PRIMARY | MIGRATE_TO) | REPLICA
    core.end_manual()
    core.comeback = Comeback()
    myself.no_lease_until_ms = 0
    core.gossip.members.set_primary(myself, primary)
    if primary.shard_id is not None:
        set_shard(myself, primary.shard_id)
    core.follow(primary)
    core.out.changed()


def become_primary(core: Core, *, new_shard: bool) -> None:
    """Stop being a replica. new_shard: of the shard too."""
    set_primary_role(core, core.myself)
    core.comeback = Comeback(over=True)
    if new_shard:
        core.myself.shard_id = ShardId(random_id(core.random))
    core.out.put(RoleChanged(None))
