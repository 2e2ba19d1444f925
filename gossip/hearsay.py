"""What pings tell besides their sender's own state: of third nodes, and what extensions say of the sender.

Only members are listened to. What they say of others is weighed: a failure is a report that counts towards a quorum, a
time is believed up to a little into the future, an address only of a node that cannot be reached at the one known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gossip import watch
from gossip.detector import add_report, count_reports, withdraw_report
from gossip.events import Level
from gossip.ids import Address, NodeId
from gossip.members import (
    EXTENSIONS,
    FAIL,
    MIGRATE_TO,
    NOADDR,
    NOFAILOVER,
    PFAIL,
    PRIMARY,
    REPLICA,
    Member,
    told_flags,
)
from gossip.messages import NO_EXTENSIONS, Extensions, GossipEntry, MessageFlag, Ping

if TYPE_CHECKING:
    from gossip.machine import Gossip

FUTURE_TOLERANCE_MS = 500
"""How far ahead of this node's clock a gossiped time may be."""

_DOWN = PFAIL | FAIL
_COULD_SAY_MORE = int(MessageFlag.EXTENSIONS)
_INHERITED = PRIMARY | REPLICA | PFAIL | FAIL | NOFAILOVER | MIGRATE_TO | EXTENSIONS
"""Flags of a node of which only gossip is known so far."""


def hear(gossip: Gossip, sender: Member, entries: Iterable[GossipEntry], now_ms: int) -> None:
    """Take in what a member says of third nodes."""
    find, myself, votes = gossip.members.by_id.get, gossip.myself, sender.votes
    for entry in entries:
        member = find(entry.node)
        if member is None:
            _hear_of_unknown(gossip, entry, now_ms)
            continue
        if member is myself:
            continue
        is_down = int(entry.flags) & _DOWN
        if votes and (is_down or member.reports):
            _hear_voter(gossip, sender, member, bool(is_down), now_ms)
        if is_down:
            continue
        _note_health(gossip, member, entry, now_ms)
        if member.flags & _DOWN and not entry.flags & NOADDR and entry.ip:
            address = Address(entry.ip, entry.port, entry.bus_port, entry.secondary_port)
            if address != member.address:
                gossip.move(member, address, now_ms)


def _hear_voter(gossip: Gossip, sender: Member, member: Member, is_down: bool, now_ms: int) -> None:
    """A voter's word on whether a member can be reached."""
    if is_down:
        if add_report(member, sender.id, now_ms):
            gossip.out.log(Level.VERBOSE, f"Node {sender.called} reported node {member.called} as not reachable.")
        watch.mark_failing_if_needed(gossip, member, now_ms)
    elif withdraw_report(member, sender.id):
        gossip.out.log(Level.VERBOSE, f"Node {sender.called} reported node {member.called} is back online.")


def hear_of_health(gossip: Gossip, entries: Iterable[GossipEntry], now_ms: int) -> None:
    """Take in no more than that third nodes are well."""
    find, myself = gossip.members.by_id.get, gossip.myself
    for entry in entries:
        member = find(entry.node)
        if member is not None and member is not myself and not int(entry.flags) & _DOWN:
            _note_health(gossip, member, entry, now_ms)


def _note_health(gossip: Gossip, member: Member, entry: GossipEntry, now_ms: int) -> None:
    if not member.ping_sent_ms and not (member.reports and count_reports(member, now_ms, gossip.timeout_ms)):
        pong_ms = entry.pong_received_s * 1000 - gossip.wall_ahead_ms
        if member.pong_received_ms < pong_ms <= now_ms + FUTURE_TOLERANCE_MS:
            member.pong_received_ms = pong_ms


def _hear_of_unknown(gossip: Gossip, entry: GossipEntry, now_ms: int) -> None:
    """A member whom this node trusts knows somebody: then so does this node."""
    flags = int(entry.flags)
    if flags & NOADDR or not entry.ip or not entry.bus_port or gossip.members.is_banned(entry.node, now_ms):
        return
    address = Address(entry.ip, entry.port, entry.bus_port, entry.secondary_port)
    gossip.members.add(Member(entry.node, address, told_flags(flags, _INHERITED), created_ms=now_ms))
    gossip.out.changed()


def hear_extensions(gossip: Gossip, sender: Member, message: Ping, now_ms: int) -> None:
    """Take in what a member says of itself beyond the header, and whom it has been told to forget."""
    told = message.extensions
    if told is NO_EXTENSIONS or told == NO_EXTENSIONS:
        if int(message.header.message_flags) & _COULD_SAY_MORE:
            return  # It could say more but does not know yet that this node would understand.
        told = Extensions()
    news = (told.hostname, told.human_nodename, told.client_ipv4, told.client_ipv6)
    if news != (sender.hostname, sender.human_nodename, sender.client_ipv4, sender.client_ipv6):
        sender.hostname, sender.human_nodename, sender.client_ipv4, sender.client_ipv6 = news
        gossip.out.changed(state=False)
    shard_id = told.shard_id or (sender.primary.shard_id if sender.primary is not None else None)
    if shard_id is not None and shard_id != sender.shard_id:
        sender.shard_id = shard_id
        for replica in sender.replicas:
            replica.shard_id = shard_id
        gossip.out.changed(state=False)
    for node, seconds in told.forgotten:
        _hear_of_forgotten(gossip, node, seconds, now_ms)


def _hear_of_forgotten(gossip: Gossip, node: NodeId, seconds: int, now_ms: int) -> None:
    member = gossip.members.get(node)
    if member is not None and member is not gossip.myself and member is not gossip.myself.primary:
        gossip.forget(member, now_ms + seconds * 1000)
