"""Until when a primary may acknowledge writes: a lease that a majority of primaries renews by answering its pings.

Who is cut off from the majority is replaced, at the earliest one node timeout after the last of its pings that a majority
has answered; so that is when it stops. Redis's primary stops when its own suspicions add up, up to another timeout later,
and acknowledges writes meanwhile that nobody will ever see again.

A proof is the time at which a ping was *sent* that a slot-owning primary has answered over our own link; this node counts
for itself. The lease ends one node timeout after the latest time for which a majority has such proof. Voters are pinged
often enough that it never comes near its end while they answer, and no more of them than the majority takes.

Whoever slept past its lease (SIGSTOP, a suspended machine) may have been replaced meanwhile, and the news may still be on
its way. (A virtual machine that was stopped may have had its clock stopped too: then the time of day leaps forwards.) It
serves nobody until it is *verified*: a majority has answered two rounds of pings sent after the awakening, its own replicas
one (a successor is among them), and whom an UPDATE named as owner of its slots has spoken. In the first round others learn
that this node still claims its slots, and those who know better say so before or beside their PONG; the second gives what
was said beside it the time to arrive. When that takes longer than the node timeout, the cluster is down for this node, as
for any minority.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.events import Level
from gossip import watch
from gossip.detector import quorum
from gossip.ids import NodeId
from gossip.members import FAIL, PFAIL, Member
from gossip.messages import MessageType, Update

if TYPE_CHECKING:
    from cluster.core import Core

RENEW_SHARE = 4
"""A voter's proof older than a quarter of the timeout is renewed."""
PATIENCE_SHARE = 8
"""A voter that has not answered for an eighth of the timeout is not waited for: another is asked."""
REPLICA_SHARE = 4
"""For a quarter of the timeout a node that has slept waits for its replicas' word."""
CONTEST_SHARE = 2
SLEEP_MS = 300
"""So long between two ticks is no delay any more."""


@dataclass(slots=True)
class Lease:
    """Times are unix ms, 0 for never.

    granted_ms: a majority is known to have been there then, by other means than pings. until_ms: the end as of the last
    look, None while none is needed. needed: whether one was when the last event ended, None before the first. seen_ms,
    wall_ahead_ms: of the last look, when it was and what gossip's was. verifying_ms: since when this node verifies, 0 when
    it does not; round_ms: when the round of pings began that is going on; second: it is the second. contested: who was
    named as owner of this node's slots -> when.
    """

    granted_ms: int = 0
    until_ms: int | None = None
    needed: bool | None = None
    seen_ms: int = 0
    wall_ahead_ms: int = 0
    verifying_ms: int = 0
    round_ms: int = 0
    second: bool = False
    contested: dict[NodeId, int] = field(default_factory=dict)


def is_needed(core: Core) -> bool:
    """Whether others could replace this node without it: it owns slots, and is no majority by itself."""
    myself = core.myself
    return myself.is_primary and myself.slot_count > 0 and quorum(core.slotmap.owner_count) > 1


def end_ms(core: Core) -> int:
    """When the lease ends, as far as it is proved now."""
    return max(proved_ms(core), core.lease.granted_ms) + core.settings.node_timeout_ms


def proved_ms(core: Core) -> int:
    """The latest time for which a majority has proof; 0 for never. Not asked of a node that is a majority by itself."""
    proofs = sorted((one.proof_ms for one in voters(core)), reverse=True)
    others_needed = quorum(core.slotmap.owner_count) - 1
    return proofs[others_needed - 1] if len(proofs) >= others_needed else 0


def has_lapsed(core: Core, now_ms: int) -> bool:
    """Whether this node must not acknowledge anything, and is not about to find out."""
    if now_ms < core.myself.no_lease_until_ms:
        return True  # It has voted for its successor, and counts for itself no more than another voter would.
    return not core.lease.verifying_ms and is_needed(core) and now_ms > end_ms(core)


def serves_until_ms(core: Core) -> int | None:
    """Until when what clients send may be executed; None: without end (what is not served says so by itself)."""
    if not core.ok or not is_needed(core):
        return None
    if core.lease.verifying_ms:
        return 0
    return core.lease.until_ms if core.lease.until_ms is not None else end_ms(core)


def voters(core: Core) -> list[Member]:
    """The other primaries that own slots."""
    own = core.myself.id
    return [core.members[node] for node in core.slotmap.owners() if node != own]


def look(core: Core, now_ms: int) -> None:
    """Every tick, and when a client's request comes past the end: has this node slept, is the lease to be renewed?"""
    lease = core.lease
    gap_ms = now_ms - lease.seen_ms if lease.seen_ms else 0
    leap_ms = max(0, core.gossip.wall_ahead_ms - lease.wall_ahead_ms) if lease.seen_ms else 0
    lease.seen_ms, lease.wall_ahead_ms = now_ms, core.gossip.wall_ahead_ms
    if not is_needed(core):
        _end_verifying(lease)
        lease.until_ms = None
        return
    slept_ms = gap_ms + leap_ms
    overslept = slept_ms > SLEEP_MS and lease.until_ms is not None and now_ms + leap_ms > lease.until_ms
    if core.ok and not lease.verifying_ms and overslept:
        _begin(core, slept_ms, now_ms)
    elif not lease.verifying_ms:
        if overslept and not core.rejoining:
            core.minority_ms = now_ms  # It serves nobody anyhow, and is not to begin on the first answer.
        _renew(core, now_ms)
        lease.until_ms = end_ms(core)
        if core.ok and now_ms > lease.until_ms:
            core.out.reassess = True
    progress(core, now_ms)


def _renew(core: Core, now_ms: int) -> None:
    """Ping as many voters as the majority takes, of those with the latest proof."""
    timeout_ms = core.settings.node_timeout_ms
    renew_ms = min(max(timeout_ms // RENEW_SHARE, watch.ping_period_ms(core.gossip)), timeout_ms // 2)
    wanted = quorum(core.slotmap.owner_count) - 1
    for voter in sorted(voters(core), key=_latest_first):
        link = voter.link
        if wanted == 0:
            return
        if now_ms - voter.proof_ms <= renew_ms:
            wanted -= 1
        elif link is not None and link.opened:
            if not link.pings:
                core.gossip.send_ping(link, MessageType.PING, now_ms, gossips=False)
                wanted -= 1
            elif now_ms - link.pings[0] <= timeout_ms // PATIENCE_SHARE:
                wanted -= 1


def _latest_first(member: Member) -> int:
    return -member.proof_ms


# After sleep ----------------------------------------------------------------------------------------------------------


def _begin(core: Core, slept_ms: int, now_ms: int) -> None:
    lease = core.lease
    watch.awake(core.gossip, now_ms)
    lease.granted_ms = min(lease.granted_ms, now_ms - 1)
    lease.verifying_ms = now_ms
    lease.second = False
    lease.contested.clear()
    core.out.log(
        Level.WARNING,
        f"{slept_ms} ms have passed at once: clients wait until a majority has confirmed this node's slots.",
    )
    _ask_all(core, now_ms)


def _ask_all(core: Core, now_ms: int) -> None:
    core.lease.round_ms = now_ms
    for member in [*voters(core), *core.myself.replicas]:
        if member.link is not None and member.link.opened:
            unanswered_ms = member.ping_sent_ms
            core.gossip.send_ping(member.link, MessageType.PING, now_ms)
            member.ping_sent_ms = unanswered_ms or member.ping_sent_ms


def contested(core: Core, update: Update, now_ms: int) -> None:
    """Somebody says that another owns slots: while this node verifies that its own are its own, that one must speak."""
    mine = core.slotmap.bits(core.myself.id)
    if core.lease.verifying_ms and int.from_bytes(update.slots, "little") & mine:
        core.lease.contested[update.node] = now_ms


def progress(core: Core, now_ms: int) -> None:
    """After every event: has a lease come to be needed; while verifying, is it done, or hopeless?"""
    lease = core.lease
    needed = is_needed(core)
    if needed and lease.needed is False:
        lease.granted_ms = max(lease.granted_ms, now_ms)  # Whoever gave it slots has just been there.
    lease.needed = needed
    if not lease.verifying_ms:
        return
    if not needed:
        _end_verifying(lease)
        lease.until_ms = None
        return
    timeout_ms = core.settings.node_timeout_ms
    answers = sum(voter.proof_ms >= lease.round_ms for voter in voters(core))
    if answers >= quorum(core.slotmap.owner_count) - 1:
        if not lease.second:
            if now_ms > lease.round_ms:  # Else proofs of the first round would count as such of the second.
                lease.second = True
                _ask_all(core, now_ms)
        elif not _waits_for_word(core, now_ms):
            core.out.log(Level.NOTICE, f"A majority has confirmed this node after {now_ms - lease.verifying_ms} ms.")
            _end_verifying(lease)
            lease.until_ms = end_ms(core)
            return
    if now_ms - lease.verifying_ms > timeout_ms:
        core.out.log(Level.WARNING, "No majority has confirmed this node's slots.")
        _end_verifying(lease)
        lease.until_ms = lease.granted_ms = 0
        core.out.reassess = True


def _waits_for_word(core: Core, now_ms: int) -> bool:
    """Whether a replica, or who was named as owner of this node's slots, has still to speak."""
    lease, timeout_ms = core.lease, core.settings.node_timeout_ms
    if now_ms - lease.verifying_ms <= timeout_ms // REPLICA_SHARE:
        for replica in core.myself.replicas:
            if replica.proof_ms < lease.verifying_ms and not replica.flags & (FAIL | PFAIL):
                return True
    for node, since_ms in lease.contested.items():
        member = core.members.get(node)
        if member is not None and member.proof_ms < since_ms and now_ms - since_ms <= timeout_ms // CONTEST_SHARE:
            return True
    return False


def _end_verifying(lease: Lease) -> None:
    lease.verifying_ms = lease.round_ms = 0
    lease.second = False
    lease.contested.clear()
