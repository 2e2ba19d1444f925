"""How two nodes that do not know each other become members.

A MEETs an address: a member with a made-up id and the flags handshake and meet, to which it connects and sends MEET.
B, who does not know A, answers PONG, which tells A its real id, and makes a member in handshake of A's address, to
which it connects and sends PING, whose PONG tells B the id of A. Who does not answer in time is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossip import proof
from gossip.events import Level
from gossip.ids import Address, random_id
from gossip.members import HANDSHAKE, MEET, PRIMARY, REPLICA, Link, Member, told_flags
from gossip.messages import Header

if TYPE_CHECKING:
    from gossip.machine import Gossip

LEAST_LIFETIME_MS = 1000


def lifetime_ms(timeout_ms: int) -> int:
    """How long a handshake may take."""
    return max(timeout_ms, LEAST_LIFETIME_MS)


def is_in_progress(gossip: Gossip, ip: str, bus_port: int) -> bool:
    """Whether somebody at this address is being met already."""
    return any(
        member.flags & HANDSHAKE and member.address.ip == ip and member.address.bus_port == bus_port
        for member in gossip.members
    )


def start(gossip: Gossip, address: Address, now_ms: int, *, meeting: bool) -> Member | None:
    """Begin a handshake with whoever is there. meeting: send MEET, not just PING. None when one is going on."""
    if is_in_progress(gossip, address.ip, address.bus_port):
        return None
    flags = HANDSHAKE | MEET if meeting else HANDSHAKE
    member = Member(random_id(gossip.random), address, flags, created_ms=now_ms)
    gossip.members.add(member)
    gossip.connect(member, now_ms)
    return member


def met_by(gossip: Gossip, link: Link, header: Header, now_ms: int) -> None:
    """A stranger sent MEET: get to know it at the address it tells, or from which it came."""
    ip = header.ip or link.remote_ip
    if ip and header.bus_port:
        start(gossip, Address(ip, header.port, header.bus_port, header.secondary_port), now_ms, meeting=False)


def finish(gossip: Gossip, link: Link, sender: Member | None, header: Header, now_ms: int) -> Member | None:
    """The other end of a link to a member in handshake has told its id. Returns the member that it now is.

    None when it was known under that id: then the handshake was for nothing, except that it may have moved there.
    """
    member = link.member
    assert member is not None
    if sender is not None:
        what = f"Handshake: we already know node {sender.called}, updating the address if needed."
        gossip.out.log(Level.VERBOSE, what)
        if member.address != sender.address:
            proof.claim_address(gossip, sender, member.address, now_ms)
        gossip.remove(member)
        return None
    gossip.members.rename(member, header.sender)
    member.flags = member.flags & ~HANDSHAKE | told_flags(int(header.flags), PRIMARY | REPLICA)
    gossip.out.log(Level.DEBUG, f"Handshake with node {member.id} completed.")
    gossip.out.changed()
    return member
