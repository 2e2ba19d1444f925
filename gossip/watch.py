"""What time brings about: connections, pings, suspicion. Ten times a second every member is looked at.

A node that was asleep itself (SIGSTOP, a suspended machine) knows nothing of others' silence: what they owe it counts from
its awakening.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossip import handshake, proof
from gossip.detector import should_fail
from gossip.events import Level
from gossip.ids import NodeId
from gossip.members import FAIL, HANDSHAKE, MYSELF, NOADDR, PFAIL, Link, Member
from gossip.messages import Fail, MessageType

if TYPE_CHECKING:
    from gossip.machine import Gossip

PING_SHARE = 8
"""In a small cluster everyone is pinged so many times in a node timeout, so that silence is seen as soon as it counts."""
PING_MEMBERS = 200
"""How many members are pinged in a node timeout before the pings to each become fewer."""
MANY = 100
"""From so many members on everybody hears enough of everybody from others to ask each no more than once a timeout."""
GOSSIPED_MS = 2000
"""That a member has answered others is known after this time at the latest, in nearly all cases."""
SPREAD_MAX = 20
"""To how many voters a new suspicion is told at once."""
TICK_MS = 100
TICKS_PER_RANDOM_PING = 10
RANDOM_PING_CANDIDATES = 5

_DOWN = PFAIL | FAIL


def tick(gossip: Gossip, now_ms: int) -> None:
    """Look at everybody."""
    timeout_ms = gossip.timeout_ms
    half_ms = timeout_ms // 2
    if now_ms - gossip.ticked_ms > half_ms:
        awake(gossip, now_ms)
    gossip.ticked_ms = now_ms
    idle_ms = ping_period_ms(gossip)
    suspects: dict[NodeId, Member] = {}
    new_suspects: list[Member] = []
    overdue: list[Member] = []
    for member in gossip.members.everyone:
        flags = member.flags
        if flags & MYSELF:
            continue
        if flags & PFAIL:
            suspects[member.id] = member
        if flags & NOADDR:
            # Another node answers where it was. Redis never fails such a member, and its replicas wait for ever.
            member.ping_sent_ms = member.ping_sent_ms or now_ms
            if not flags & HANDSHAKE and _unanswered(gossip, member, now_ms):
                new_suspects.append(member)
            continue
        link = member.link
        if flags & HANDSHAKE:
            if now_ms - member.created_ms > handshake.lifetime_ms(timeout_ms):
                overdue.append(member)
            elif link is None:
                gossip.connect(member, now_ms)
            continue
        if link is None:
            gossip.connect(member, now_ms)
        elif member.met_ms:
            _meet_again(gossip, member, link, now_ms)
        if not member.ping_sent_ms:
            is_due = now_ms - member.pong_received_ms > idle_ms or now_ms - member.proof_ms > timeout_ms
            if is_due and member.link is not None:
                gossip.send_ping(member.link, MessageType.PING, now_ms)
            if link is not None and len(link.pings) > 1 and now_ms - link.pings[0] > half_ms:
                gossip.drop_link(link)  # Answers are missing: what is answered can not be told any more.
        elif now_ms - member.ping_sent_ms > half_ms and _unanswered(gossip, member, now_ms):
            new_suspects.append(member)
    suspects.update((member.id, member) for member in new_suspects)
    gossip.suspects = suspects
    if new_suspects:
        _spread_suspicion(gossip, new_suspects, now_ms)
    for member in overdue:
        gossip.remove(member)
    if gossip.alleged or gossip.moves:
        proof.tick(gossip, now_ms)
    if len(gossip.members) >= MANY:
        _ping_in_turn(gossip, now_ms)
    if gossip.ticks % TICKS_PER_RANDOM_PING == 0:
        _ping_someone(gossip, now_ms)


def awake(gossip: Gossip, now_ms: int) -> None:
    """This node has slept: others' silence counts from now on, and what it has granted them may be younger than it knows."""
    gossip.ticked_ms = now_ms
    for member in gossip.members.everyone:
        if member.ping_sent_ms:
            member.ping_sent_ms = now_ms
        member.proof_ms = min(member.proof_ms, now_ms - 1)
        if member.leased_ms:
            member.leased_ms = now_ms
        if member.link is not None:
            member.link.pings = [min(sent_ms, now_ms - 1) for sent_ms in member.link.pings]


def ping_period_ms(gossip: Gossip) -> int:
    """How long after its last answer, to this node or to others who tell of it, a member is pinged again.

    Half the timeout, as in Redis, when there are many. That others have heard from a member spares most of those pings, but
    they tell it in whole seconds: where half the timeout is hardly longer, it is three quarters.
    """
    timeout_ms, count = gossip.timeout_ms, len(gossip.members)
    if count >= MANY:
        return max(timeout_ms // 2, min(timeout_ms * 3 // 4, GOSSIPED_MS))
    return max(timeout_ms // PING_SHARE, timeout_ms * count // PING_MEMBERS)


def _spread_suspicion(gossip: Gossip, suspects: list[Member], now_ms: int) -> None:
    """Tell voters of them now, and the suspects' replicas, who want to know: a quorum comes together at once.

    With PING, whose answer is their word on it. In a large cluster to a few only: they tell others when they agree. Who are
    told are told once, however many have fallen silent together.
    """
    told = [one for one in gossip.members if one.votes and not one.flags & (_DOWN | MYSELF) and one.link is not None]
    while len(told) > SPREAD_MAX:
        del told[int(gossip.random.random() * len(told))]
    replicas = [one for suspect in suspects for one in suspect.replicas if one is not gossip.myself]
    for member in dict.fromkeys(told + replicas):
        if member.link is not None and member.link.opened:
            kind = MessageType.PONG if member.ping_sent_ms else MessageType.PING
            gossip.send_ping(member.link, kind, now_ms)


def _unanswered(gossip: Gossip, member: Member, now_ms: int) -> bool:
    """A ping has waited for half the timeout or longer. Returns whether the member has become PFAIL."""
    timeout_ms = gossip.timeout_ms
    link = member.link
    # Who sends other things and leaves the ping unanswered for long has not got it, or the answer was lost.
    is_stuck = now_ms - member.data_received_ms > timeout_ms // 2 or now_ms - member.ping_sent_ms > timeout_ms
    if link is not None and is_stuck and now_ms - link.created_ms > timeout_ms:
        gossip.drop_link(link)  # Perhaps it is the connection that is broken: the next tick makes another.
    silent_ms = now_ms - max(member.ping_sent_ms, member.data_received_ms)
    if silent_ms <= timeout_ms or member.flags & _DOWN:
        return False
    member.flags |= PFAIL
    gossip.suspects[member.id] = member
    gossip.out.reassess = True
    gossip.out.log(Level.DEBUG, f"*** NODE {member.called} possibly failing")
    mark_failing_if_needed(gossip, member, now_ms)
    return True


def _meet_again(gossip: Gossip, member: Member, link: Link, now_ms: int) -> None:
    """It was met and has answered, but does not come back: what it knows of this node was lost on the way.

    Without this (Redis has it not) such a node would be a member in the eyes of this one alone, for ever. A link
    from it that is older than a handshake can be proves that this node is its member.
    """
    lifetime_ms = handshake.lifetime_ms(gossip.timeout_ms)
    if member.inbound is not None:
        if now_ms - member.inbound.created_ms > 2 * lifetime_ms:
            member.met_ms = 0
    elif link.opened and now_ms - member.met_ms > lifetime_ms:
        member.met_ms = now_ms
        gossip.send_ping(link, MessageType.MEET, now_ms)


def _ping_in_turn(gossip: Gossip, now_ms: int) -> None:
    """In a large cluster everybody has to answer once a timeout, and not much more: a few are asked every tick.

    Else a thousand members that were connected at once would all be due at once for ever after. Everybody begins with
    another member, so that each is asked by somebody all the time, and others can tell of it.
    """
    everyone, timeout_ms = gossip.members.everyone, gossip.timeout_ms
    if gossip.turn < 0:
        gossip.turn = gossip.members.draw(gossip.random).place
    due = [ticks * len(everyone) * TICK_MS // timeout_ms for ticks in (gossip.ticks - 1, gossip.ticks)]
    for _ in range(min(due[1] - due[0], len(everyone))):
        gossip.turn = (gossip.turn + 1) % len(everyone)
        member = everyone[gossip.turn]
        link = member.link
        if link is None or not link.opened or member.ping_sent_ms or member.flags & (MYSELF | HANDSHAKE | NOADDR):
            continue
        if now_ms - member.proof_ms > timeout_ms // PING_SHARE:
            gossip.send_ping(link, MessageType.PING, now_ms)


def _ping_someone(gossip: Gossip, now_ms: int) -> None:
    """Of a few random members, ping the one heard from longest ago."""
    oldest: Member | None = None
    for _ in range(RANDOM_PING_CANDIDATES):
        member = gossip.members.draw(gossip.random)
        if member.link is None or member.ping_sent_ms or member.flags & (MYSELF | HANDSHAKE):
            continue
        if oldest is None or member.pong_received_ms < oldest.pong_received_ms:
            oldest = member
    if oldest is not None and oldest.link is not None:
        gossip.send_ping(oldest.link, MessageType.PING, now_ms)


def mark_failing_if_needed(gossip: Gossip, member: Member, now_ms: int) -> None:
    """Turn PFAIL into FAIL, and tell everybody, when a majority agrees."""
    if not should_fail(member, gossip.myself, gossip.above.voters(), now_ms, gossip.timeout_ms):
        return
    gossip.out.log(Level.NOTICE, f"Marking node {member.called} as failing (quorum reached).")
    gossip.set_failed(member, now_ms)
    gossip.broadcast(Fail(gossip.above.header(), member.id))
