"""Whether a primary that owns slots grants a replica its vote. The vote is on disk before it is told.

Redis's rules (`clusterSendFailoverAuthIfNeeded`), and five of our own inside them:

- A primary whose PING this node has answered less than a node timeout ago may hold a lease by that (`lease.py`): nobody gets
  a vote against it until then, though others find it failed, and from the vote on it gets no other answer for a timeout.
  Reports of failure live for two timeouts, and of those who told them some may have heard from it since. Who has its
  vote from a predecessor counts as having answered everybody when it took over, as that one may have.
- A candidate gets no vote while this node knows of another live replica of the same primary that has more of its data.
  That replica will ask itself, so the refusal ends `patience_ms` after the failure: should it never win, a cluster with
  less is better than one without an owner.
- A candidate that has had this node's vote may have it again in a later epoch at once. Redis lets two node timeouts
  pass, so that a winner can tell of its win first; there is nothing to wait for when the winner itself asks again.
- Who asks for the place of a primary that is back with less data does not wait for that: the vote ends the lease all the
  same, and the winner waits (`restarts.py`).
- A primary that waits for one of its replicas to take over (`restarts.py`) votes for it, though it has not failed.
"""

from __future__ import annotations

from cluster.core import Core
from cluster.events import Level
from cluster.failover import Vote
from cluster.slotmap import slots_in
from gossip.members import FAIL, NOFAILOVER, PFAIL, Link, Member
from gossip.messages import FailoverAuthAck, Header, MessageFlag

VOTE_TIMEOUTS = 2
"""A primary's replicas get no second vote within so many node timeouts."""
PATIENCE_TIMEOUTS = 2
PATIENCE_LEAST_MS = 3000


def patience_ms(timeout_ms: int) -> int:
    """How long after a primary's failure a replica with less data is refused for the sake of one with more."""
    return max(PATIENCE_TIMEOUTS * timeout_ms, PATIENCE_LEAST_MS)


def requested(core: Core, candidate: Member, header: Header, link: Link, now_ms: int) -> None:
    """FAILOVER_AUTH_REQUEST: vote, or log why not."""
    if not core.myself.votes:
        return
    why = _refusal(core, candidate, header, now_ms)
    if why:
        core.out.log(Level.WARNING, f"Failover auth denied to {candidate.called}: {why}")
        return
    primary = candidate.primary
    assert primary is not None, "a candidate without a primary was not refused"
    core.votes[primary.id] = Vote(candidate.id, now_ms)
    if not header.message_flags & MessageFlag.FORCE_VOTE or header.message_flags & MessageFlag.WAITS:
        primary.no_lease_until_ms = now_ms + core.settings.node_timeout_ms
        core.out.reassess = core.out.reassess or primary is core.myself
    core.last_vote_epoch = core.current_epoch
    core.out.changed(state=False)
    core.out.log(Level.NOTICE, f"Failover auth granted to {candidate.called} for epoch {core.current_epoch}")
    # Over the candidate's own link, where it can believe a vote at once, if that is known to be the one it came by.
    own = link if candidate.inbound is link else candidate.link
    answer_on = own if own is not None and own.opened else link
    core.out.send(answer_on.id, FailoverAuthAck(core.header()))


def _refusal(core: Core, candidate: Member, header: Header, now_ms: int) -> str:
    """Why this candidate gets no vote now; "" when it does."""
    forced = bool(header.message_flags & MessageFlag.FORCE_VOTE)
    if header.current_epoch < core.current_epoch:
        return f"reqEpoch ({header.current_epoch}) < curEpoch({core.current_epoch})"
    if core.last_vote_epoch >= core.current_epoch:
        return f"already voted for epoch {core.current_epoch}"
    primary = candidate.primary
    if candidate.is_primary:
        return "it is a master node"
    if primary is None:
        return "I don't know its master"
    if not primary.failed and not forced and not (primary is core.myself and core.comeback.since_ms is not None):
        return "its master is up"
    leased_ms = now_ms - primary.leased_ms
    if not forced and leased_ms <= core.settings.node_timeout_ms:
        return f"its master has had this node's answer {leased_ms} milliseconds ago"
    last = core.votes.get(primary.id)
    if last is not None and last.candidate != candidate.id:
        left_ms = last.at_ms + VOTE_TIMEOUTS * core.settings.node_timeout_ms - now_ms
        if left_ms > 0:
            return f"can't vote about this master before {left_ms} milliseconds"
    outdated = _outdated_claim(core, header)
    if outdated:
        return outdated
    return "" if forced else _better_candidate(core, candidate, primary, header.offset, now_ms)


def _outdated_claim(core: Core, header: Header) -> str:
    """A candidate that claims slots under a config epoch that another owner has overtaken does not know of it yet."""
    claimed = int.from_bytes(header.slots, "little")
    for node in core.slotmap.owners():
        epoch = core.members[node].config_epoch
        if epoch > header.config_epoch and core.slotmap.claimed(node) & claimed:
            slot = slots_in(core.slotmap.claimed(node) & claimed)[0]
            return f"slot {slot} epoch ({epoch}) > reqEpoch ({header.config_epoch})"
    return ""


def _better_candidate(core: Core, candidate: Member, primary: Member, offset: int, now_ms: int) -> str:
    timeout_ms = core.settings.node_timeout_ms
    if now_ms - primary.fail_since_ms >= patience_ms(timeout_ms):
        return ""
    for other in primary.replicas:
        lives = not other.flags & (FAIL | PFAIL | NOFAILOVER) and now_ms - other.data_received_ms <= timeout_ms
        if other is not candidate and lives and other.offset > offset:
            return f"replica {other.called} has more data (offset {other.offset} > {offset})"
    return ""
