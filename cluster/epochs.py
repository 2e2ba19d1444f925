"""Epochs: the cluster's logical clock. Who claims a slot with the greater config epoch is right.

None ever goes back, and a new one is on disk before anybody hears of it (the outbox sees to that).

Some are taken without asking anybody (SETSLOT, BUMPEPOCH, atomic migrations, collisions), and two nodes that take the next
one at the same time, or one that does while another is being elected, would share it: who owns a slot then is not decided
until one has heard the other, and it may be the wrong one that moves on. So each node has epochs of its own: with n members
the k-th by id takes those that leave k modulo n + 1, and elections those that leave none. They are greater than Redis's
next ones by a few, and nothing else: nobody on the bus cares by how much an epoch grows. Nodes that do not agree about who
is a member, and real servers, may still collide, and come apart by Redis's rule (`resolve_collision`).
"""

from __future__ import annotations

from cluster.core import Core
from cluster.events import Level
from gossip import proof
from gossip.members import Member
from gossip.messages import Header

EPOCH_LEAP_MAX = 2**32
"""No cluster has held so many elections since this node last heard of one: a greater leap is a forgery or a fault, and
epochs are spent for ever. Who has nothing to lose, because it serves no slot, follows all the same."""
EPOCH_MAX = 2**63 - 1
"""What Redis can still count on from: it reads and writes epochs as signed here and there."""


def hear(core: Core, sender: Member, header: Header, now_ms: int) -> None:
    """Take over what a member's message says of epochs, and its replication offset."""
    most = EPOCH_MAX
    told = max(header.current_epoch, header.config_epoch)
    if not is_credible(core, told):
        most = core.current_epoch + EPOCH_LEAP_MAX
        what = f"epoch {told} of {sender.called}, at {core.current_epoch} here"
        proof.refuse(core.gossip, what, sender.link, now_ms)
    if core.current_epoch < header.current_epoch <= most:
        core.current_epoch = header.current_epoch
        core.out.changed(state=False)
    # A replica sends its primary's config epoch, which its entry holds too, as in Redis.
    if sender.config_epoch < header.config_epoch <= most:
        sender.config_epoch = header.config_epoch
        core.out.changed(state=False)
    sender.offset = header.offset
    sender.offset_ms = now_ms


def is_credible(core: Core, epoch: int) -> bool:
    """Whether an epoch may be followed, and slots may change hands under it."""
    serves = core.shard_head(core.myself).slot_count
    return epoch <= (min(core.current_epoch + EPOCH_LEAP_MAX, EPOCH_MAX) if serves else EPOCH_MAX)


def greatest(core: Core) -> int:
    """The greatest epoch that this node knows of."""
    return max(core.current_epoch, *(member.config_epoch for member in core.members.values()))


def next_elected(core: Core) -> int:
    """The epoch for which to ask for votes."""
    stride = _stride(core)
    return core.current_epoch // stride * stride + stride


def next_own(core: Core) -> int:
    """The least epoch that this node alone may take, greater than all it knows of."""
    stride, myself = _stride(core), core.myself
    place = 1 + sum(one.id < myself.id for one in core.members.values() if not one.in_handshake)
    epoch = greatest(core) + 1
    return epoch + (place - epoch) % stride


def _stride(core: Core) -> int:
    return 1 + sum(not one.in_handshake for one in core.members.values())


def bump(core: Core) -> bool:
    """Take a new config epoch without asking anybody, unless this node's is the greatest there is already.

    Returns whether it took one.
    """
    myself = core.myself
    if myself.config_epoch and myself.config_epoch == greatest(core):
        return False
    _take_next(core)
    core.out.log(Level.NOTICE, f"New configEpoch set to {myself.config_epoch}")
    return True


def resolve_collision(core: Core, sender: Member) -> None:
    """Two primaries with one config epoch: the one with the smaller id takes a new one."""
    myself = core.myself
    if sender.config_epoch != myself.config_epoch or not sender.is_primary or not myself.is_primary:
        return
    if sender.id <= myself.id:
        return
    _take_next(core)
    core.out.log(
        Level.VERBOSE,
        f"WARNING: configEpoch collision with node {sender.called}. configEpoch set to {myself.config_epoch}",
    )


def outbid(core: Core, why: str) -> None:
    """Take a new config epoch without asking anybody."""
    _take_next(core)
    core.out.log(Level.NOTICE, f"New configEpoch set to {core.myself.config_epoch}: {why}")


def _take_next(core: Core) -> None:
    core.current_epoch = core.myself.config_epoch = next_own(core)
    core.out.changed(state=False)
