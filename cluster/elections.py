"""How a replica takes over from a failed primary: when it may, when it asks for votes, what it does when it has won.

Redis's election (`clusterHandleSlaveFailover`), with its messages and its safety, and faster where that costs nothing:

- Redis waits 500 to 1000 ms so that the news of the failure is everywhere before votes are asked for, and 1000 ms more
  for each replica that has more data. Here the FAIL goes over each link right in front of the request, so there is no
  news to wait for; and a replica that has heard from all its live siblings since the failure, and is ahead of them (of
  equals: has the smallest id), knows its rank and asks at once. Everybody else waits as in Redis.
- Primaries that fail together have replicas that would ask in one epoch and split the votes: they take turns, in the
  order of their primaries' ids.
- An attempt that does not succeed is repeated within a second, a few times; Redis lets four node timeouts pass.
"""

from __future__ import annotations

from cluster import epochs, health, restarts, roles
from cluster.core import Core
from cluster.events import Level
from cluster.failover import Election, Obstacle
from gossip.detector import quorum
from gossip.members import FAIL, HANDSHAKE, NOFAILOVER, PFAIL, Member
from gossip.messages import Fail, FailoverAuthRequest, Header, MessageFlag, MessageType

DELAY_MS = 500
JITTER_MS = 500
RANK_DELAY_MS = 1000
TURN_MS = 250
"""Between the replicas of primaries that have failed together."""
QUICK_TRIES = 4
_ATTEMPT_TIMEOUTS = 2
_ATTEMPT_LEAST_MS = 2000
_TELL_AGAIN_MS = 10_000


def attempt_ms(timeout_ms: int) -> int:
    """How long votes count from when they were asked for, in an attempt that is not repeated quickly."""
    return max(_ATTEMPT_TIMEOUTS * timeout_ms, _ATTEMPT_LEAST_MS)


def consider(core: Core, now_ms: int) -> None:
    """A replica's next step towards its primary's place, if there is a reason and it is time."""
    election, myself, manual = core.election, core.myself, core.manual
    primary = myself.primary
    if primary is None or not myself.is_replica or not primary.slot_count:
        reset(core)
        return
    asked = manual.end_ms > 0 and manual.may_start
    if not (primary.failed or asked or core.comeback.asks_since_ms is not None):
        reset(core)
        return
    if election.primary != primary.id:
        core.election = election = Election(primary.id)
    if core.settings.replica_no_failover and not asked:
        return
    wanted = asked or (core.comeback.loaded and core.comeback.asks_since_ms is not None)
    if not wanted and not is_recent(core, now_ms):
        _tell(core, Obstacle.DATA_AGE, now_ms)
        return
    if election.due_ms is None:
        _plan(core, primary, asked, now_ms)
    if election.epoch:
        _await_votes(core, now_ms)
    else:
        _await_turn(core, primary, asked, now_ms)


def reset(core: Core) -> None:
    """There is no reason for an election any longer."""
    if core.election.primary is not None:
        core.election = Election()


def is_recent(core: Core, now_ms: int) -> bool:
    """Whether this replica's data is young enough to be served (cluster-replica-validity-factor; 0: always)."""
    settings = core.settings
    if not settings.replica_validity_factor:
        return True
    if core.data_link.heard_ms is None:
        return False
    age_ms = now_ms - core.data_link.heard_ms
    if age_ms > settings.node_timeout_ms:
        age_ms -= settings.node_timeout_ms
    longest_ms = settings.node_timeout_ms * settings.replica_validity_factor
    return age_ms <= settings.repl_ping_replica_period_s * 1000 + longest_ms


# Waiting for the turn -------------------------------------------------------------------------------------------------


def _siblings(core: Core, primary: Member) -> list[Member]:
    """The other replicas of the primary that may take over."""
    out = NOFAILOVER | FAIL | HANDSHAKE
    return [one for one in primary.replicas if one is not core.myself and not one.flags & out]


def _rank(core: Core, primary: Member) -> int:
    """How many replicas have more of the primary's data."""
    return sum(one.offset > core.offset for one in _siblings(core, primary))


def _turn(core: Core, primary: Member) -> int:
    """How many other primaries with slots have failed whose replicas go before those of this one."""
    owners = [core.members[node] for node in core.slotmap.owners()]
    return sum(one.failed and one.id < primary.id for one in owners)


def _plan(core: Core, primary: Member, asked: bool, now_ms: int) -> None:
    """Decide when to ask for votes, and exchange offsets with the siblings meanwhile."""
    election = core.election
    election.planned_ms = now_ms
    election.epoch = 0
    election.voters.clear()
    election.rank = 0 if asked else _rank(core, primary)
    delay_ms = 0
    if not asked:
        delay_ms = DELAY_MS + int(core.random.random() * JITTER_MS) + election.rank * RANK_DELAY_MS
        delay_ms += _turn(core, primary) * TURN_MS
    if _knows_it_goes_first(core, primary, now_ms):
        delay_ms = 0
    election.due_ms = now_ms + delay_ms
    core.out.log(
        Level.NOTICE,
        f"Start of election delayed for {delay_ms} milliseconds (rank #{election.rank}, offset {core.offset}).",
    )
    for sibling in _siblings(core, primary):
        if sibling.link is not None and sibling.link.opened:
            # PING where none is on its way: the answer tells the sibling's offset, as this tells it ours.
            kind = MessageType.PONG if sibling.ping_sent_ms else MessageType.PING
            core.gossip.send_ping(sibling.link, kind, now_ms)


def _knows_it_goes_first(core: Core, primary: Member, now_ms: int) -> bool:
    """Whether no sibling has, or may have, more data: then there is nobody to wait for."""
    election, myself = core.election, core.myself
    for one in _siblings(core, primary):
        if one.flags & PFAIL:
            continue
        if one.offset_ms < election.planned_ms or (-one.offset, one.id) < (-core.offset, myself.id):
            return False
    return now_ms - election.planned_ms >= _turn(core, primary) * TURN_MS


def _await_turn(core: Core, primary: Member, asked: bool, now_ms: int) -> None:
    election = core.election
    assert election.due_ms is not None
    if not asked:
        rank = _rank(core, primary)
        if rank > election.rank:
            added_ms = (rank - election.rank) * RANK_DELAY_MS
            election.due_ms += added_ms
            election.rank = rank
            core.out.log(
                Level.NOTICE, f"Replica rank updated to #{rank}, added {added_ms} milliseconds of delay."
            )
        if now_ms < election.due_ms and _knows_it_goes_first(core, primary, now_ms):
            election.due_ms = now_ms
    if now_ms < election.due_ms:
        _tell(core, Obstacle.WAITING_DELAY, now_ms)
        return
    _ask(core, primary, now_ms)


def _ask(core: Core, primary: Member, now_ms: int) -> None:
    """Ask everybody for votes, in a new epoch."""
    election = core.election
    core.current_epoch = election.epoch = epochs.next_elected(core)
    election.due_ms = now_ms
    election.voters.clear()
    election.expired = False
    election.tries += 1
    if election.tries <= QUICK_TRIES:
        election.retry_ms = _soon(core, now_ms)
    else:
        # Real voters refuse a second vote for two timeouts. After that long a rest all of them are free to vote again.
        election.tries = 0
        election.retry_ms = now_ms + 2 * attempt_ms(core.settings.node_timeout_ms)
    core.out.changed(state=False)
    core.out.log(Level.NOTICE, f"Starting a failover election for epoch {election.epoch}.")
    if primary.failed:
        core.gossip.broadcast(Fail(core.header(), primary.id))
    _request(core)


def _soon(core: Core, now_ms: int) -> int:
    return now_ms + DELAY_MS + int(core.random.random() * JITTER_MS)


def _request(core: Core) -> None:
    flags = MessageFlag.NONE
    if core.manual.end_ms > 0:
        flags = MessageFlag.FORCE_VOTE
    elif core.comeback.asks_since_ms is not None:
        flags = MessageFlag.FORCE_VOTE | MessageFlag.WAITS
    core.gossip.broadcast(FailoverAuthRequest(core.header(flags)))


# Votes ----------------------------------------------------------------------------------------------------------------


def _await_votes(core: Core, now_ms: int) -> None:
    election = core.election
    assert election.due_ms is not None
    late = now_ms - election.due_ms > attempt_ms(core.settings.node_timeout_ms)
    if now_ms >= election.retry_ms:
        if core.manual.end_ms and election.epoch == core.current_epoch and not late:
            # Nobody competes, and a real voter gives no second vote for two timeouts: its first may be on its way still.
            election.retry_ms = _soon(core, now_ms)
            _request(core)
        else:
            election.due_ms = None
            election.epoch = 0
    elif late:
        election.expired = True
        _tell(core, Obstacle.EXPIRED, now_ms)
    else:
        _tell(core, Obstacle.WAITING_VOTES, now_ms)


def granted(core: Core, voter: Member, header: Header, now_ms: int) -> None:
    """FAILOVER_AUTH_ACK: a vote, which counts once a voter and in its own epoch only."""
    election, primary = core.election, core.myself.primary
    if not election.epoch or header.current_epoch != election.epoch or not voter.votes:
        return
    if primary is None or primary.id != election.primary or not _still_counts(core, now_ms):
        return
    election.voters.add(voter.id)
    if len(election.voters) < quorum(core.slotmap.owner_count):
        return
    core.out.log(Level.NOTICE, "Failover election won: I'm the new master.")
    if core.myself.config_epoch < election.epoch:
        core.myself.config_epoch = election.epoch
        core.out.log(Level.NOTICE, f"configEpoch set to {election.epoch} after successful failover")
    core.rejoining = False  # A majority has just agreed with this node: there is nothing to wait for.
    core.minority_ms = None
    # Since then nobody else is elected; whoever reads late what the votes say must not count from now.
    core.lease.granted_ms = max(core.lease.granted_ms, election.due_ms or 0)
    core.lease.needed = True
    take_over(core, primary, now_ms)


def _still_counts(core: Core, now_ms: int) -> bool:
    """Whether votes are not too late, which this node may have slept over (SIGSTOP): it sees them before its next tick.

    Others may have been elected meanwhile, and a primary that paused for a manual failover lets writes in again.
    """
    election, manual = core.election, core.manual
    if election.expired or now_ms < election.planned_ms:
        return False
    if now_ms > manual.end_ms if manual.end_ms else now_ms >= election.retry_ms:
        return False
    return now_ms - (election.due_ms or 0) <= attempt_ms(core.settings.node_timeout_ms)


def take_over(core: Core, primary: Member, now_ms: int) -> None:
    """Be the primary of these slots from now on, and tell everybody. The new config epoch is set already."""
    bits = core.slotmap.bits(primary.id)
    contests = core.comeback.asks_since_ms is not None and not core.manual.end_ms
    roles.become_primary(core, new_shard=False)
    core.assign(bits, core.myself)
    for member in core.members.values():
        member.leased_ms = now_ms  # Its predecessor in this vote may just have answered it.
    if contests:
        restarts.won(core, primary, now_ms)
    core.election = Election()
    core.end_manual()
    health.reassess(core, now_ms)
    core.gossip.broadcast_pong(now_ms)


def _tell(core: Core, obstacle: Obstacle, now_ms: int) -> None:
    """Log why this node has not taken over, when the reason is new, and again now and then."""
    election = core.election
    if obstacle is election.obstacle and now_ms - election.told_ms < _TELL_AGAIN_MS:
        return
    election.obstacle, election.told_ms = obstacle, now_ms
    core.out.log(Level.NOTICE, f"Currently unable to failover: {obstacle.value}")
