"""What members claim to own, held against what this node believes: the greater config epoch wins a slot.

Redis's `clusterUpdateSlotsConfigWith` and what surrounds it. Claims are taken from primaries alone, from their own word
or from an UPDATE over a link that is proven (`gossip/proof.py`).

A newcomer, who owns no slot yet and is of another shard than the owner, can not take slots against the will of an owner
that is well, whatever its epoch: it gets what nobody owns, what its owner has ceased to claim or is moving to it, and what
a failed owner had. Who has no slots has never been in an election, so that its epoch means nothing.
"""

from __future__ import annotations

from cluster import epochs, lease, roles
from cluster.core import Core
from cluster.events import Level, SlotsLost
from cluster.slotmap import bits_of, slots_in
from gossip import proof
from gossip.ids import NodeId
from gossip.members import FAIL, Link, Member
from gossip.messages import SLOT_BITMAP_BYTES, Header, Update

NOTED_AHEAD_MS = 2000
"""So long a primary waits at most for its other replicas to note a SETSLOT, unless the order says otherwise."""


def hear(core: Core, sender: Member, header: Header) -> None:
    """Take in a member's ping: its claims, whether it must be told of better ones, whether its epoch is ours."""
    head = sender if sender.is_primary else sender.primary
    if head is not None and _tells_other(core, head, header):
        claimed = int.from_bytes(header.slots, "little")
        if sender.is_primary and epochs.is_credible(core, header.config_epoch):
            before = 0 if sender.heard is None else int.from_bytes(sender.heard.slots, "little")
            if core.slotmap.taken and sender is core.myself.primary:
                core.slotmap.untake(before & ~claimed)  # What it had taken it has given away.
            take_over(core, sender, header.config_epoch, claimed, claimed & ~before)
        _correct(core, sender, header.config_epoch, claimed, sender.link)
    if sender.is_primary and core.myself.is_primary and header.config_epoch == core.myself.config_epoch:
        epochs.resolve_collision(core, sender)


def _tells_other(core: Core, head: Member, header: Header) -> bool:
    """Whether a header says anything else of the slots of its sender's shard than what this node believes already."""
    slotmap = core.slotmap
    disowned = slotmap.unclaimed and slotmap.unclaimed & slotmap.bits(head.id)
    return slotmap.bitmap(head.id) != header.slots or bool(disowned)


def correct(core: Core, sender: Member, header: Header, link: Link) -> None:
    """Somebody says in a member's name what that claims, over a link that the member made if it is true: answer there.

    Where the answer comes over its own link, in front of the PONG, the member can believe it, and knows better before it
    takes the PONG for a sign that all is well.
    """
    head = sender if sender.is_primary else sender.primary
    if head is not None and _tells_other(core, head, header):
        _correct(core, sender, header.config_epoch, int.from_bytes(header.slots, "little"), link)


def hear_update(core: Core, update: Update) -> None:
    """A member tells that another owns slots with a greater epoch than this node knows of."""
    member = core.members.get(update.node)
    if member is None or member.config_epoch >= update.config_epoch or not epochs.is_credible(core, update.config_epoch):
        return
    if member is core.myself:
        core.out.log(Level.NOTICE, "Discarding UPDATE message about myself.")
        return
    if member.in_handshake:
        return
    roles.set_primary_role(core, member)
    member.config_epoch = update.config_epoch
    core.out.changed()
    take_over(core, member, update.config_epoch, int.from_bytes(update.slots, "little"))


def take_over(core: Core, claimant: Member, epoch: int, claimed: int, begun: int = 0) -> None:
    """Give a primary the slots it claims and has a right to; what this node loses by that follows.

    begun: those that it claims now, in its own word, and did not in the word before.
    """
    slotmap, myself = core.slotmap, core.myself
    own_head = core.shard_head(myself)
    held = slotmap.bits(claimant.id)
    slotmap.unclaimed = slotmap.unclaimed & ~(held & claimed) | (held & ~claimed)
    contested = claimed & ~held & ~_importing_from_others(core, claimant)
    kept = contested & _taken_from(core, claimant)
    if kept:
        _insist(core, claimant, epoch, kept)
        contested &= ~kept
    given = contested & begun & _migrating_to(core, claimant)
    won = given | _winnable(core, claimant, epoch, contested & ~given)
    _follow_failover(core, claimant, won)
    lost = won & slotmap.bits(myself.id)
    from_own_head = (won & slotmap.bits(own_head.id)).bit_count()
    core.assign(won, claimant)
    if core.myself.shard_id == claimant.shard_id:
        for slot in [slot for slot in slotmap.importing if won >> slot & 1]:
            slotmap.close(slot)  # The primary whose replica this node was has been given the slot after all.
    may_follow = core.settings.allow_replica_migration or claimed.bit_count() == from_own_head
    if from_own_head and not own_head.slot_count and may_follow:
        _follow_winner(core, claimant)
    elif (
        myself.primary is not None
        and myself.primary.primary is not None
        and myself.primary.primary is not myself
    ):
        grand = myself.primary.primary
        core.out.log(
            Level.NOTICE, f"I'm a sub-replica! Reconfiguring myself as a replica of grandmaster {grand.called}"
        )
        roles.replicate(core, grand)
    elif lost:
        core.out.put(SlotsLost(tuple(slots_in(lost))))


def _importing_from_others(core: Core, claimant: Member) -> int:
    """Slots that come to this node are SETSLOT's to give, whatever is claimed; except by a successor of the node from
    which they come, on a replica, where they are its primary's, and by the primary whose replica this node was."""
    if core.myself.is_replica:
        return 0
    return bits_of(
        slot
        for slot, source in core.slotmap.importing.items()
        if claimant.shard_id is None or claimant.shard_id not in (core.members[source].shard_id, core.myself.shard_id)
    )


def _migrating_to(core: Core, claimant: Member) -> int:
    """Slots of this node, or of its primary, that were to go to the claimant: with the first word in which it claims them
    it has them, whatever its epoch. Who gives them may have taken a greater one meanwhile."""
    slotmap = core.slotmap
    bits = bits_of(slot for slot, to in slotmap.migrating.items() if to == claimant.id)
    return bits & slotmap.bits(core.shard_head(core.myself).id)


# Slots taken by SETSLOT NODE ------------------------------------------------------------------------------------------


def _taken_from(core: Core, claimant: Member) -> int:
    """Slots that came to this node, or to its primary, from the claimant's shard, which may not know it yet."""
    bits = 0
    for source, one in core.slotmap.taken.items():
        if _stands_for(core, claimant, source):
            bits |= one.bits
    return bits & ~bits_of(core.slotmap.migrating) if bits else 0


def _stands_for(core: Core, claimant: Member, source: NodeId) -> bool:
    """Whether the claimant is the source of a slot, or of its shard and so perhaps its successor. This node's own successor
    is neither, should all of them be of one shard."""
    shard = claimant.shard_id
    if claimant.id == source or shard is None:
        return claimant.id == source
    return shard == core.members[source].shard_id and shard != core.myself.shard_id


def _insist(core: Core, claimant: Member, epoch: int, kept: int) -> None:
    """The keys of these slots are here, and writes to them have been acknowledged: they are not lost to who had them before,
    whose epoch has grown for another reason."""
    if core.myself.is_primary and epoch > core.myself.config_epoch:
        slot = slots_in(kept)[0]
        epochs.outbid(core, f"{claimant.called} still claims slot {slot}, which has come here, in epoch {epoch}")
        core.gossip.broadcast_pong(core.gossip.ticked_ms)


def settle(core: Core, now_ms: int) -> None:
    """Every tick: forget from whom slots were taken once their source claims them no more, and a majority has known for a
    whole node timeout that they are here, so that no successor of the source is elected with them.

    That takes an epoch above the one in which the source gave them, too: a replica of it that did not hear so would claim
    them under that, and voters compare nothing but epochs.
    """
    slotmap, timeout_ms, myself = core.slotmap, core.settings.node_timeout_ms, core.myself
    if slotmap.taken and myself.primary is not None:
        _give_in(core, myself.primary)
    if not slotmap.taken:
        return
    known_ms = lease.end_ms(core) - timeout_ms if lease.is_needed(core) else now_ms - timeout_ms
    for node, one in list(slotmap.taken.items()):
        source = core.shard_head(core.members[node])
        heard = source.heard
        if source is myself:
            claimed = given_epoch = 0
        elif heard is None:
            continue
        else:
            claimed, given_epoch = int.from_bytes(heard.slots, "little"), heard.config_epoch
        given = one.open & ~claimed
        if given:
            one.open &= ~given
            one.given |= given
            one.since_ms = now_ms
            if myself.is_primary and given_epoch >= myself.config_epoch:
                slot = slots_in(given)[0]
                epochs.outbid(core, f"slot {slot} has come from {source.called}, which gave it in epoch {given_epoch}")
                core.gossip.broadcast_pong(now_ms)
        elif one.given and not one.given & claimed and known_ms - one.since_ms > timeout_ms:
            slotmap.untake(one.given)
            core.out.changed(state=False, lasting=False)


def _give_in(core: Core, primary: Member) -> None:
    """A replica notes a move ahead of its primary, which may never carry it out: it dies first, or another replica is too
    late. Or it gives the slot away again before this replica has heard it claim it, so that `hear` sees no claim end. Then
    this replica alone would hold the slot against who has it, for ever.

    So its primary is right that does not claim the slot in its answer to a ping from after it would have carried that out.
    If it does so later all the same (SETSLOT with a long TIMEOUT), it says so, under a new epoch.
    """
    heard, slotmap = primary.heard, core.slotmap
    if heard is None or heard.primary is not None:
        return
    claimed = int.from_bytes(heard.slots, "little")
    for one in list(slotmap.taken.values()):
        disowned = one.bits & ~claimed
        if disowned and primary.proof_ms - one.noted_ms > NOTED_AHEAD_MS + core.settings.node_timeout_ms:
            core.out.log(
                Level.NOTICE, f"{primary.called} does not claim slot {slots_in(disowned)[0]}, which this replica had noted"
            )
            slotmap.untake(disowned)
            core.out.changed(state=False, lasting=False)


def _follow_failover(core: Core, claimant: Member, won: int) -> None:
    """Slots that change hands within a shard tell of a failover: open slots have their other end there from now on."""
    slotmap = core.slotmap
    if not won or not (slotmap.migrating or slotmap.importing):
        return
    for node in slotmap.owners():
        former = core.members[node]
        if former.shard_id is not None and former.shard_id == claimant.shard_id and slotmap.bits(node) & won:
            slotmap.retarget(node, claimant.id)


def _follow_winner(core: Core, winner: Member) -> None:
    """This node's shard has no slot left: whoever won the last ones is to be followed."""
    core.out.log(
        Level.NOTICE, f"Configuration change detected. Reconfiguring myself as a replica of {winner.called}"
    )
    roles.replicate(core, winner)


def _winnable(core: Core, claimant: Member, epoch: int, contested: int) -> int:
    """Those of the contested slots that nobody owns for sure, or owners that have to give way to this claim."""
    slotmap = core.slotmap
    won = contested
    for node in slotmap.owners():
        owner = core.members[node]
        held = slotmap.claimed(node)
        if not held & won:
            continue
        if owner.config_epoch >= epoch:
            won &= ~held
        elif _is_newcomer_to(claimant, owner):
            if owner is core.myself:
                given = bits_of(slot for slot, to in slotmap.migrating.items() if to == claimant.id)
                held &= ~(given | slotmap.granted_to(claimant.id))
            if held & won:
                what = f"claim of {claimant.called}, which owns no slots, to slots of {owner.called} in epoch {epoch}"
                proof.refuse(core.gossip, what, claimant.link, core.gossip.ticked_ms)
                won &= ~held
    return won


def _is_newcomer_to(claimant: Member, owner: Member) -> bool:
    """Whether the claimant owns nothing and is no successor of this owner, which is well.

    A replica that was promoted may be one, whatever shard it was last known in: it may have come to this one (replica
    migration) without the owner's having heard of it.
    """
    if claimant.slot_count or claimant.promoted or owner.flags & FAIL:
        return False
    return claimant.shard_id is None or claimant.shard_id != owner.shard_id


def _correct(core: Core, sender: Member, epoch: int, claimed: int, link: Link | None) -> None:
    """Tell a member that claims what others own with a greater config epoch.

    All of them at once, where Redis names one a ping: who has slept past its lease asks twice, and would go on serving what
    the second or third of several successors has by now.
    """
    if link is None:
        return
    slotmap = core.slotmap
    disputed = claimed & ~slotmap.bits(sender.id)
    for node in slotmap.owners():
        owner = core.members[node]
        told = slotmap.claimed(node)
        if owner is not sender and owner.config_epoch > epoch and told & disputed:
            core.out.log(
                Level.VERBOSE,
                f"Node {sender.id} has old slots configuration, sending an UPDATE message about {node}",
            )
            # Nothing but what it claims: who is told would give up what nobody has.
            update = Update(core.header(), owner.config_epoch, node, told.to_bytes(SLOT_BITMAP_BYTES, "little"))
            core.out.send(link.id, update)
