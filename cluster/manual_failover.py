"""CLUSTER FAILOVER: a replica takes its living primary's place without a lost write, or by force.

The replica says MFSTART; the primary lets no write in any more and tells where its stream ends, in a message with the
PAUSED flag; the replica takes part in an election, whose votes need no failed primary, when it has exactly that much.
FORCE leaves the primary out of it, TAKEOVER the vote too. Redis's `clusterHandleManualFailover` and its surroundings.
"""

from __future__ import annotations

from enum import Enum

from cluster import elections, epochs
from cluster.core import Core
from cluster.events import ClusterError, Level, PauseWrites
from cluster.failover import ManualFailover
from gossip import proof
from gossip.members import Member
from gossip.messages import Header, MessageFlag, MessageType, MfStart

PAUSE_FACTOR = 2
"""The pause lasts so many times the failover's timeout: a primary must not go on while its replica may still win."""
WORD_MS = 1000
"""For so long past the end, or past its awakening, a primary waits for its replica's word before it lets writes in."""


class Manner(Enum):
    """How much is asked before a replica takes over."""

    AGREED = "agreed"
    FORCE = "force"
    TAKEOVER = "takeover"


def order(core: Core, manner: Manner, now_ms: int) -> None:
    """CLUSTER FAILOVER on a replica. ClusterError in Redis's words when it can not be."""
    primary = core.myself.primary
    if core.myself.is_primary:
        raise ClusterError("ERR You should send CLUSTER FAILOVER to a replica")
    if primary is None:
        raise ClusterError("ERR I'm a replica but my master is unknown to me")
    link = primary.link
    if manner is Manner.AGREED and (primary.failed or link is None or not link.opened):
        raise ClusterError("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")
    elections.reset(core)
    core.manual = ManualFailover(end_ms=now_ms + core.settings.manual_failover_timeout_ms)
    if manner is Manner.TAKEOVER:
        core.out.log(Level.NOTICE, "Taking over the master (user request).")
        epochs.bump(core)
        elections.take_over(core, primary, now_ms)
    elif manner is Manner.FORCE:
        core.out.log(Level.NOTICE, "Forced failover user request accepted.")
        core.manual.may_start = True
    else:
        core.out.log(Level.NOTICE, "Manual failover user request accepted.")
        assert link is not None
        core.out.send(link.id, MfStart(core.header()))
        if primary.inbound is not None:  # Over its own link the primary knows that it is no forgery.
            core.out.send(primary.inbound.id, MfStart(core.header()))


def requested(core: Core, replica: Member, now_ms: int) -> None:
    """MFSTART on a primary: let no write in; when that is so, `paused` goes on."""
    if replica.primary is not core.myself or core.myself.is_replica:
        return
    if core.slotmap.grants:  # A successor would know nothing of them, and claim what another is just taking.
        core.out.log(Level.WARNING, f"Manual failover to {replica.called} refused: slots are being handed over.")
        return
    core.end_manual()
    timeout_ms = core.settings.manual_failover_timeout_ms
    core.manual = ManualFailover(end_ms=now_ms + timeout_ms, replica=replica.id)
    core.out.put(PauseWrites(now_ms + PAUSE_FACTOR * timeout_ms))
    core.out.log(Level.NOTICE, f"Manual failover requested by replica {replica.called}.")


def paused(core: Core, now_ms: int) -> None:
    """No write comes in any longer, and `core.offset` is where the stream ends: say so."""
    if core.manual.replica is not None:
        core.manual.paused = True
        _tell_replica(core, now_ms)


def _tell_replica(core: Core, now_ms: int) -> None:
    replica = None if core.manual.replica is None else core.members.get(core.manual.replica)
    if replica is not None and replica.link is not None:
        core.gossip.send_ping(replica.link, MessageType.PONG, now_ms)


def hear(core: Core, sender: Member, header: Header) -> None:
    """Any message: a primary that has paused says where its stream ends."""
    manual = core.manual
    if not header.message_flags & MessageFlag.PAUSED or not manual.end_ms or manual.primary_offset is not None:
        return
    if sender is core.myself.primary and core.myself.is_replica:
        manual.primary_offset = header.offset
        core.out.log(
            Level.NOTICE, f"Received replication offset for paused master manual failover: {header.offset}"
        )


def tick(core: Core, now_ms: int) -> None:
    """Give up in time; on the primary, repeat what was said."""
    manual = core.manual
    if not manual.end_ms:
        return
    if now_ms > manual.end_ms:
        if manual.paused and _awaits_word(core, now_ms):
            return
        core.out.log(Level.WARNING, "Manual failover timed out.")
        core.end_manual()
    elif manual.paused:
        _tell_replica(core, now_ms)


def _awaits_word(core: Core, now_ms: int) -> bool:
    """Whether the replica has still to say, after the end, that it has not won: a primary that slept would not know.

    Its own end came first, so that it can not win any more once it has answered.
    """
    manual = core.manual
    replica = None if manual.replica is None else core.members.get(manual.replica)
    if replica is None or replica.failed or replica.link is None or replica.proof_ms > manual.end_ms:
        return False
    if not manual.word_by_ms:
        manual.word_by_ms = now_ms + WORD_MS
        core.out.put(PauseWrites(now_ms + PAUSE_FACTOR * WORD_MS))
    proof.ask(core.gossip, replica, now_ms)
    return now_ms <= manual.word_by_ms


def check_offset(core: Core) -> None:
    """Start once this replica has all of the paused primary's stream, no less and no more."""
    manual = core.manual
    if manual.end_ms and not manual.may_start and manual.primary_offset == core.offset:
        manual.may_start = True
        core.out.log(Level.NOTICE, "All master replication stream processed, manual failover can start.")
