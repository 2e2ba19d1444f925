"""What a ping says: the sender's own header, a few members drawn at random, everyone it suspects, and extensions.

Redis's `clusterSendPing`: a tenth of the members but at least three, and on top all that are PFAIL, so that news of a
failure needs no luck to travel. Beyond a hundred members it is ten and no longer a tenth: everybody exchanges pings with
everybody, so that in a node timeout each member is mentioned to each other as often as in a cluster of a hundred, and what
a node sends grows with the members and not with their square.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from gossip.ids import RandomSource, ShardId
from gossip.members import HANDSHAKE, LIGHT_HEADER, MYSELF, NOADDR, PFAIL, Member, MemberTable
from gossip.messages import Extensions, GossipEntry, node_flags

GOSSIP_LEAST = 3
GOSSIP_SHARE = 10
"""One in so many members goes into a ping."""
GOSSIP_MOST = 10

_UNSPOKEN = HANDSHAKE | NOADDR


def gossip_entry(member: Member, wall_ahead_ms: int) -> GossipEntry:
    """What is told of a third node, in the time of day."""
    address, told = member.address, member.entry
    ping_ms, pong_ms = member.ping_sent_ms, member.pong_received_ms
    ping_s = (ping_ms + wall_ahead_ms) // 1000 if ping_ms else 0
    pong_s = (pong_ms + wall_ahead_ms) // 1000 if pong_ms else 0
    if (
        told is not None
        and told.pong_received_s == pong_s
        and told.ping_sent_s == ping_s
        and told.flags == member.flags
        and told.ip == address.ip
        and told.bus_port == address.bus_port
        and told.port == address.port
        and told.secondary_port == address.secondary_port
        and told.node == member.id
    ):
        return told
    member.entry = entry = GossipEntry(
        node=member.id,
        ping_sent_s=ping_s,
        pong_received_s=pong_s,
        ip=address.ip,
        port=address.port,
        bus_port=address.bus_port,
        flags=node_flags(member.flags),
        secondary_port=address.secondary_port,
    )
    return entry


def choose_gossip(
    members: MemberTable,
    receiver: Member | None,
    random: RandomSource,
    suspects: Iterable[Member],
    wall_ahead_ms: int,
) -> tuple[GossipEntry, ...]:
    """The gossip section of a ping to `receiver` (None: not known yet). suspects: who may be PFAIL.

    wall_ahead_ms: by how much the time of day is ahead of the members' times.
    """
    count = len(members)
    wanted = min(max(count // GOSSIP_SHARE, GOSSIP_LEAST), GOSSIP_MOST, count - 2)
    choose = _neighbours if count > GOSSIP_MOST * GOSSIP_SHARE else _drawn
    chosen = choose(members, receiver, random, wanted) if wanted > 0 else []
    chosen += [one for one in suspects if one.flags & (PFAIL | HANDSHAKE) == PFAIL and one is not receiver]
    return tuple([gossip_entry(member, wall_ahead_ms) for member in chosen])


def _drawn(members: MemberTable, receiver: Member | None, random: RandomSource, wanted: int) -> list[Member]:
    """At most so many, each by itself."""
    everyone, count, draw = members.everyone, len(members), random.random
    available = count - 2
    chosen: list[Member] = []
    places = {members.myself.place}
    if receiver is not None:
        places.add(receiver.place)
    tries = wanted * 3
    while available > 0 and len(chosen) < wanted and tries > 0:
        tries -= 1
        member = everyone[int(draw() * count)]
        flags = member.flags
        if member.place in places or flags & PFAIL:
            continue
        available -= 1
        if not flags & _UNSPOKEN and (member.link is not None or member.slot_count):
            chosen.append(member)
            places.add(member.place)
    return chosen


def _neighbours(members: MemberTable, receiver: Member | None, random: RandomSource, wanted: int) -> list[Member]:
    """At most so many that stand together in the table, where nobody stands for a reason: as random, and cheaper."""
    everyone, width = members.everyone, wanted + 2
    first = int(random.random() * len(everyone))
    some = everyone[first : first + width]
    if len(some) < width:
        some += everyone[: width - len(some)]
    unfit = _UNSPOKEN | MYSELF | PFAIL
    return [
        one
        for one in some
        if not one.flags & unfit and one is not receiver and (one.link is not None or one.slot_count)
    ][:wanted]


def own_extensions(members: MemberTable, receiver: Member, now_ms: int) -> Extensions:
    """What this node says of itself besides the header, to a receiver that understands extensions.

    Clients' addresses go to those alone that also take light headers: extension 4 means another thing to Redis 8, which
    reads more bytes than an address has.
    """
    myself = members.myself
    takes_addresses = receiver.flags & LIGHT_HEADER
    usual = _usual_extensions(
        myself.hostname,
        myself.human_nodename,
        myself.shard_id,
        myself.client_ipv4 if takes_addresses else None,
        myself.client_ipv6 if takes_addresses else None,
    )
    if members.blacklist:
        members.expire_bans(now_ms)
        forgotten = tuple((node, -(-(until - now_ms) // 1000)) for node, until in members.blacklist.items())
        return replace(usual, forgotten=forgotten)
    return usual


@lru_cache(maxsize=1024)
def _usual_extensions(
    hostname: str | None, human_nodename: str | None, shard_id: ShardId | None, ipv4: str | None, ipv6: str | None
) -> Extensions:
    """The same for most pings, and made once, so that they are written once too."""
    return Extensions(hostname, human_nodename, shard_id, client_ipv4=ipv4, client_ipv6=ipv6)
