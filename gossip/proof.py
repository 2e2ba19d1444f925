"""What is believed of whom, and why: the bus has no passwords, and everybody may know every id and epoch.

A connection that somebody else made proves nothing: who connects may call itself anything, and nodes that share a host
share an address. A connection that this node made to a member's bus port has that member at its other end. So:

- What comes over a link of our own (answers to our pings, mostly) is the member's word and is taken in.
- What comes over an accepted link is a rumour. Pings are answered, and nothing else changes. When it tells of something
  new (epochs, slots, role, address, failure), the member in whose name it was told is *asked*: a PING over our own link,
  whose PONG tells the same if it is true. That costs a round trip, and only when there is news.
- Votes and requests for votes wait until the member's own PONG shows that it has reached the epoch they name, and a
  request counts only while that epoch is young: who asks for votes has just taken it.
- An UPDATE makes this node ask the owner that it names; the owner's own claim counts, not what is said of it.
- A FAIL is obeyed when its subject has left this node's own pings unanswered for half the timeout, at once or by then.
- A new address of a member is tried out: it is taken when the member answers there, and no longer at the old one unless
  it told of the new one itself. So one that announces what nobody can reach stays where it is, until it knows better.
- That third members are well spares pings, and is taken from established links (below) too: but everybody has to answer
  this node itself once a timeout, whatever others say.
- What no PONG can tell (MFSTART, published messages) is taken from the member's established link alone: the accepted one
  that was there first and has not fallen silent.

What remains open: who may listen on a port can join by MEET, or take the name of a member that is dead. Only a network
that keeps strangers out, or TLS with client certificates, helps against those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gossip import handshake, hearsay
from gossip.events import Level
from gossip.ids import Address
from gossip.members import ANNOUNCED, FAIL, MYSELF, NOADDR, PFAIL, PRIMARY, REPLICA, Link, Member
from gossip.messages import (
    Fail,
    FailoverAuthAck,
    FailoverAuthRequest,
    Header,
    LightPublish,
    Message,
    MessageFlag,
    MessageType,
    MfStart,
    Ping,
    Publish,
    Update,
)

if TYPE_CHECKING:
    from gossip.machine import Gossip

SILENT_SHARE = 2
"""Half the timeout without an answer: a FAIL from elsewhere is credible."""
MOVED_SHARE = 4
"""A quarter of the timeout without an answer at the old address: the new one, where it answers, is the right one."""
ASK_AGAIN_MS = 1000
"""A question that has found no answer by then is asked anew."""
LOG_EVERY_MS = 1000

_DOWN = PFAIL | FAIL
_PAUSED = int(MessageFlag.PAUSED)
_TOLD = int(PRIMARY | REPLICA | ANNOUNCED)


@dataclass(slots=True, eq=False)
class AddressClaim:
    """A member is said to be found elsewhere. own: by itself. link: the connection by which that is tried out."""

    address: Address
    since_ms: int
    own: bool = False
    link: Link | None = None
    answered: bool = False


@dataclass(slots=True, eq=False)
class Refusals:
    """What was refused and not logged, lest a flood of forgeries floods the log."""

    logged_ms: int = 0
    unlogged: int = 0


def refuse(gossip: Gossip, what: str, link: Link | None, now_ms: int) -> None:
    """Log that something was not believed: a line a second, with a count of what had none."""
    refusals = gossip.refusals
    if 0 <= now_ms - refusals.logged_ms < LOG_EVERY_MS:
        refusals.unlogged += 1
        return
    source = f" (from {link.remote_ip})" if link is not None and link.remote_ip else ""
    more = f"; {refusals.unlogged} more refusals were not logged" if refusals.unlogged else ""
    refusals.logged_ms, refusals.unlogged = now_ms, 0
    gossip.out.log(Level.WARNING, f"Cluster bus: not believed: {what}{source}{more}")


def silence_ms(member: Member, now_ms: int, forever_ms: int) -> int:
    """For how long a member has owed an answer, 0 when it owes none; forever_ms: what counts as never answering."""
    if member.flags & (_DOWN | NOADDR):
        return forever_ms
    if member.ping_sent_ms:
        return now_ms - max(member.ping_sent_ms, member.data_received_ms)
    link = member.link
    return now_ms - link.created_ms if link is not None and not link.opened else 0


# Asking ---------------------------------------------------------------------------------------------------------------


def ask(gossip: Gossip, member: Member, now_ms: int) -> None:
    """Let a member say over our own link what was said in its name; one question at a time.

    Without an open link there is nothing to do: the PING with which it opens asks.
    """
    link = member.link
    if link is None or not link.opened or member is gossip.myself:
        return
    if member.asked_ms and 0 <= now_ms - member.asked_ms < ASK_AGAIN_MS:
        member.ask_again = True
        return
    member.asked_ms = now_ms
    member.ask_again = False
    unanswered_ms = member.ping_sent_ms
    gossip.send_ping(link, MessageType.PING, now_ms, asks=True)
    member.ping_sent_ms = unanswered_ms or member.ping_sent_ms  # Silence counts from the first that is not answered.


def answered(gossip: Gossip, member: Member, link: Link, header: Header, now_ms: int) -> None:
    """A member's word has come over our own link, and was taken in: what waited for it is decided."""
    before = member.heard
    if before is None or header.current_epoch > before.current_epoch:
        member.epoch_ms = now_ms
    member.heard = header
    member.asked_ms = 0
    if member.waiting:
        _decide(gossip, member, header, now_ms)
    if member.ask_again:
        ask(gossip, member, now_ms)


def is_news(member: Member, header: Header) -> bool:
    """Whether a header tells of a member what it has not told itself."""
    heard = member.heard
    return header is not heard and (
        heard is None
        or header.slots != heard.slots
        or header.config_epoch != heard.config_epoch
        or header.current_epoch > heard.current_epoch
        or header.primary != heard.primary
        or (int(header.flags) ^ int(heard.flags)) & _TOLD != 0
        or (int(header.message_flags) ^ int(heard.message_flags)) & _PAUSED != 0
    )


def _decide(gossip: Gossip, member: Member, header: Header, now_ms: int) -> None:
    """Votes and requests for votes: true when the member itself has reached their epoch."""
    left: list[tuple[Message, Link, int]] = []
    waiting, member.waiting = member.waiting, left
    for message, link, since_ms in waiting:
        assert isinstance(message, FailoverAuthRequest | FailoverAuthAck)
        epoch = message.header.current_epoch
        what = f"{type(message).__name__} for epoch {epoch} in the name of {member.called}"
        if header.current_epoch < epoch:
            if now_ms - since_ms > gossip.timeout_ms:
                refuse(gossip, f"{what}, which is at {header.current_epoch}", link, now_ms)
            else:
                left.append((message, link, since_ms))
        elif isinstance(message, FailoverAuthRequest) and now_ms - member.epoch_ms > gossip.timeout_ms:
            refuse(gossip, f"{what}, which asks for none", link, now_ms)
        else:
            own = replace(header, current_epoch=epoch, message_flags=message.header.message_flags)
            gossip.above.heard(member, replace(message, header=own), link, now_ms)


# Rumours --------------------------------------------------------------------------------------------------------------


def hear(gossip: Gossip, link: Link, sender: Member | None, message: Message, now_ms: int) -> None:
    """A message over an accepted link. sender: the member in whose name it comes."""
    assert not isinstance(message, LightPublish)
    if isinstance(message, Ping):
        _hear_ping(gossip, link, sender, message, now_ms)
    elif sender is None:
        refuse(gossip, f"{type(message).__name__} of unknown node {message.header.sender}", link, now_ms)
    elif isinstance(message, Fail):
        _hear_fail(gossip, link, sender, message, now_ms)
    elif isinstance(message, Update):
        _hear_update(gossip, sender, message, now_ms)
    elif isinstance(message, FailoverAuthRequest | FailoverAuthAck):
        sender.waiting = [one for one in sender.waiting if type(one[0]) is not type(message)]
        sender.waiting.append((message, link, now_ms))
        ask(gossip, sender, now_ms)
    elif isinstance(message, MfStart | Publish):
        if link.member is sender:
            gossip.above.heard(sender, message, link, now_ms)
        else:
            what = f"{type(message).__name__} over a second link in the name of {sender.called}"
            refuse(gossip, what, link, now_ms)


def _hear_ping(gossip: Gossip, link: Link, sender: Member | None, message: Ping, now_ms: int) -> None:
    header = message.header
    if message.type is not MessageType.PONG:
        gossip.learn_own_ip(link, message.type, sender)
        if sender is None and message.type is MessageType.MEET:
            handshake.met_by(gossip, link, header, now_ms)
        elif sender is not None:
            # Before the PONG: who is told of a better claim has heard of it when it is answered.
            gossip.above.claimed(sender, header, link, now_ms)
        _answer(gossip, link, sender, now_ms)
    if sender is None:
        return
    if message.type is MessageType.PING:
        ip = header.ip or link.remote_ip
        if ip:
            address = Address(ip, header.port, header.bus_port, header.secondary_port)
            if address != sender.address:
                claim_address(gossip, sender, address, now_ms)
    if link.member is sender:
        hearsay.hear_of_health(gossip, message.gossip, now_ms)
    if is_news(sender, header) or (gossip.suspects and _accuses(gossip, sender, message)):
        ask(gossip, sender, now_ms)


def _answer(gossip: Gossip, link: Link, sender: Member | None, now_ms: int) -> None:
    """A PONG, unless it would prolong the lease of a primary that this node has just voted against."""
    if sender is not None:
        if sender.slot_count and now_ms < sender.no_lease_until_ms:
            return
        # Whoever comes from elsewhere in its name is not to keep it from being replaced.
        if link.member is sender or link.remote_ip == sender.address.ip:
            sender.leased_ms = now_ms
    gossip.send_ping(link, MessageType.PONG, now_ms)


def _accuses(gossip: Gossip, sender: Member, message: Ping) -> bool:
    """Whether a voter is said to suspect whom this node suspects too, which it has not said itself."""
    if not sender.votes:
        return False
    for entry in message.gossip:
        if int(entry.flags) & _DOWN:
            member = gossip.members.get(entry.node)
            if member is not None and member.flags & _DOWN == PFAIL and sender.id not in member.reports:
                return True
    return False


def _hear_update(gossip: Gossip, sender: Member, update: Update, now_ms: int) -> None:
    owner = gossip.members.get(update.node)
    if owner is not None and owner is not gossip.myself and owner.config_epoch < update.config_epoch:
        gossip.above.alleged(sender, update, now_ms)
        ask(gossip, owner, now_ms)


def _hear_fail(gossip: Gossip, link: Link, sender: Member, message: Fail, now_ms: int) -> None:
    member = gossip.members.get(message.node)
    if member is None or member.flags & (FAIL | MYSELF):
        return
    timeout_ms = gossip.timeout_ms
    if silence_ms(member, now_ms, timeout_ms) * SILENT_SHARE >= timeout_ms:
        gossip.heard_fail(sender, message, now_ms)
    elif member.id not in gossip.alleged:
        gossip.alleged[member.id] = (sender, message, link, now_ms)
        ask(gossip, member, now_ms)


def tick(gossip: Gossip, now_ms: int) -> None:
    """Decide what has waited for an answer, or for none."""
    for node, (sender, message, link, since_ms) in list(gossip.alleged.items()):
        member, timeout_ms = gossip.members.get(node), gossip.timeout_ms
        if member is not None and not member.failed and member.proof_ms < since_ms:
            if silence_ms(member, now_ms, timeout_ms) * SILENT_SHARE >= timeout_ms:
                gossip.heard_fail(sender, message, now_ms)
            elif now_ms - since_ms <= timeout_ms:
                continue
        elif member is not None and not member.failed:
            refuse(gossip, f"FAIL about {member.called}, which answers", link, now_ms)
        del gossip.alleged[node]
    for node in list(gossip.moves):
        _follow_up(gossip, gossip.members.get(node), gossip.moves[node], now_ms)


# Addresses ------------------------------------------------------------------------------------------------------------


def claim_address(gossip: Gossip, member: Member, address: Address, now_ms: int) -> None:
    """A member is said to be elsewhere. It is asked at the address that is known, and there."""
    if member.id in gossip.moves or not address.bus_port:
        return
    silent = silence_ms(member, now_ms, gossip.timeout_ms) > 0
    if address == member.not_at and not silent:
        return
    gossip.moves[member.id] = claim = AddressClaim(address, now_ms)
    ask(gossip, member, now_ms)
    if silent:
        _try_out(gossip, member, claim, now_ms)


def told_address(gossip: Gossip, member: Member, address: Address, now_ms: int) -> None:
    """A member says, over the link on which it answers, that it is elsewhere. That link is kept until it answers there."""
    claim = gossip.moves.get(member.id)
    if claim is not None:
        if claim.own and claim.address == address:
            return
        _end_claim(gossip, member)
    gossip.moves[member.id] = claim = AddressClaim(address, now_ms, own=True)
    _try_out(gossip, member, claim, now_ms)


def _try_out(gossip: Gossip, member: Member, claim: AddressClaim, now_ms: int) -> None:
    claim.link = gossip.open_link(claim.address, now_ms)
    claim.link.probes = member


def _end_claim(gossip: Gossip, member: Member) -> None:
    claim = gossip.moves.pop(member.id)
    gossip.drop_link(claim.link)


def _follow_up(gossip: Gossip, member: Member | None, claim: AddressClaim, now_ms: int) -> None:
    """A tick later: has the member answered where it was, or is it not there any more?"""
    if member is None:
        for node in [node for node, one in gossip.moves.items() if one is claim]:
            del gossip.moves[node]
        gossip.drop_link(claim.link)
    elif member.address == claim.address:
        _end_claim(gossip, member)
    elif member.proof_ms >= claim.since_ms and not claim.own:
        member.not_at = claim.address
        shown = f"{claim.address.ip}:{claim.address.port}"
        refuse(gossip, f"{shown} as address of {member.called}, which answers at {member.address.ip}", None, now_ms)
        _end_claim(gossip, member)
    elif now_ms - claim.since_ms > handshake.lifetime_ms(gossip.timeout_ms):
        _end_claim(gossip, member)
    elif claim.link is None:
        _try_out(gossip, member, claim, now_ms)
    elif claim.answered:
        _move_if_gone(gossip, member, claim, now_ms)


def _move_if_gone(gossip: Gossip, member: Member, claim: AddressClaim, now_ms: int) -> None:
    """It answers at the new address: it has moved there when it says so itself or is silent at the old one."""
    timeout_ms = gossip.timeout_ms
    if not claim.own and silence_ms(member, now_ms, timeout_ms) * MOVED_SHARE < timeout_ms:
        return
    _end_claim(gossip, member)
    where = f"{claim.address.ip}:{claim.address.port}"
    gossip.out.log(Level.NOTICE, f"Address updated for node {member.called}, now {where}")
    gossip.move(member, claim.address, now_ms)


def probed(gossip: Gossip, link: Link, message: Message, now_ms: int) -> None:
    """Somebody answers where a member is said to be."""
    member = link.probes
    assert member is not None
    claim = gossip.moves.get(member.id)
    if claim is None or claim.link is not link:
        gossip.drop_link(link)
    elif isinstance(message, Ping) and message.type is MessageType.PONG and message.header.sender == member.id:
        claim.answered = True
        _move_if_gone(gossip, member, claim, now_ms)
    else:
        _end_claim(gossip, member)


def probe_closed(gossip: Gossip, link: Link) -> None:
    """Nobody is there, or not any more."""
    member = link.probes
    if member is not None:
        claim = gossip.moves.get(member.id)
        if claim is not None and claim.link is link:
            del gossip.moves[member.id]
