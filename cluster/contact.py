"""Whether a primary is in touch with those who could replace it: else it must not go on acknowledging writes for long.

The lease (`lease.py`) sees to it that no two acknowledge at a time. It does not see to it that what was acknowledged lasts:
a primary that is cut off from everybody goes on to the end of its lease, and a node timeout's worth of acknowledged writes
is gone when it comes back. Redis's and Valkey's go on as long, or longer.

So the writes that nothing has *covered* yet may reach back no further than `bound_ms`. When they do, the replies of
writes are withheld, though the writes are done, until either there is cover, or the lease ends and the connections are
closed: nobody can say then what has become of these writes. When that takes long, no more writes are done: who comes later
may still be told that nothing was. Whoever is cut off loses what it has acknowledged in the last `bound_ms`, not in the last
node timeout. Two things cover what was written before a moment, either will do:

- Every replica that could take over has acknowledged the stream up to that moment (REPLCONF GETACK asks for it, as WAIT
  does): what it has can not be lost. All of them, for of two replicas the one may be cut off together with this node.
- A majority of the primaries with slots has answered pings sent after that moment (gossip's own count too): nobody has
  been elected against it, and as far as one can know the stream went out as the pings did. So a replica that is dead,
  stopped, busy with a full sync, or known by another address than it speaks from delays nobody. It proves nothing about
  what replicas have: a node that loses its replicas' links and then dies loses writes as any asynchronous primary does.

The first uncovered write asks the replicas at once, in the packet that carries it; under load they are asked twice a
bound. When they are late the voters are asked, as few as a majority takes, then all. In health a cover comes a round trip
after the question, long before the bound, so nobody ever waits; a client that writes once in a while does not either,
since it is the age of its uncovered writes that counts and not that of the last word from others. No write: no question.
Only where gossip's pings, too, have found no answer lately has the first write to wait for its cover.

There is nothing to fear, and so nothing to cover, where nobody could be elected: no willing replica whose data is young
enough (one that has failed may be back where this node is not heard), or so few voters that the others are no majority
without this one (two primaries).

Where the way to others and back takes long, the bound is three such ways, or every writer would wait for all of them (the
shortest of the last three ways counts: the end of a short outage makes an answer of each kind seem to have been slow). In
large clusters it grows with the number of voters to be asked, so that they get no more than 500 pings a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster import lease
from cluster.events import AskReplicas, Level
from gossip import watch
from gossip.detector import quorum
from gossip.ids import NodeId
from gossip.members import HANDSHAKE, NOFAILOVER, Member
from gossip.messages import MessageType

if TYPE_CHECKING:
    from cluster.core import Core

LEAST_MS = 100
TIMEOUT_SHARE = 20
MOST_MS = 250
PER_VOTER_MS = 2
ROUND_TRIPS = 3
SILENCE_MS = 300
"""So much longer than it takes them to come round nobody has answered gossip's pings."""
PATIENCE_SHARE = 8
"""A voter that has not answered for an eighth of the bound is not waited for: another is asked."""


@dataclass(slots=True)
class Contact:
    """Times are unix ms, offsets bytes of the replication stream.

    needed: whether this node could be replaced while it is cut off, as of the last event. since_ms: when the oldest write
    was acknowledged that is not covered; None when all are. The last question to the replicas: asked_ms; target, the offset
    that each must have, None when all had it; end, where the stream ended behind the question; acked, who has it. The last
    question to voters: voters_ms, voters_end. ways_ms: how long the last three answers took. told: the log says that
    replies wait.
    """

    needed: bool = False
    since_ms: int | None = None
    asked_ms: int = 0
    target: int | None = None
    end: int = 0
    acked: set[NodeId] = field(default_factory=set)
    voters_ms: int = 0
    voters_end: int = 0
    ways_ms: tuple[int, int, int] = (0, 0, 0)
    told: bool = False


def heirs(core: Core, now_ms: int) -> list[Member]:
    """The replicas that could be elected in this node's place (`elections.is_recent` says which do not try)."""
    settings, out = core.settings, HANDSHAKE | NOFAILOVER
    young_ms = settings.node_timeout_ms * (settings.replica_validity_factor + 1) + settings.repl_ping_replica_period_s * 1000
    return [
        one for one in core.myself.replicas
        if not one.flags & out
        and not (one.failed and settings.replica_validity_factor and now_ms - one.fail_since_ms > young_ms)
    ]


def is_needed(core: Core, now_ms: int) -> bool:
    """Whether this node could be replaced while it is cut off."""
    owners = core.slotmap.owner_count
    return lease.is_needed(core) and owners > quorum(owners) and bool(heirs(core, now_ms))


def bound_ms(core: Core) -> int:
    """How far back acknowledged writes may reach that are not covered."""
    return max(_least_ms(core), min(ROUND_TRIPS * min(core.contact.ways_ms), core.settings.node_timeout_ms // 2))


def _least_ms(core: Core) -> int:
    wanted_ms = min(max(core.settings.node_timeout_ms // TIMEOUT_SHARE, LEAST_MS), MOST_MS)
    return max(wanted_ms, PER_VOTER_MS * (quorum(core.slotmap.owner_count) - 1))


def answers_until_ms(core: Core) -> int | None:
    """Until when replies of writes may leave; None: as long as the lease lasts."""
    since_ms = core.contact.since_ms
    return None if since_ms is None or not core.ok else since_ms + bound_ms(core)


def asks_at_ms(core: Core) -> int | None:
    """When `wrote` must be called, if there are writes then; None: never, as things are."""
    contact = core.contact
    if contact.since_ms is None:
        return 0 if core.ok and contact.needed else None
    voters_ms = max(contact.since_ms + _doubt_ms(core), contact.voters_ms + bound_ms(core) // PATIENCE_SHARE)
    return voters_ms if contact.target is not None else min(voters_ms, contact.asked_ms + _least_ms(core) // 2)


def _doubt_ms(core: Core) -> int:
    """When writes have been without cover for so long, voters are asked."""
    return bound_ms(core) * 7 // 10


# Events ---------------------------------------------------------------------------------------------------------------


def wrote(core: Core, now_ms: int) -> None:
    """Writes were done, and their replies are about to leave."""
    if core.contact.since_ms is None and is_needed(core, now_ms):
        heard_ms = lease.end_ms(core) - core.settings.node_timeout_ms
        is_silent = now_ms - heard_ms > watch.ping_period_ms(core.gossip) + SILENCE_MS
        core.contact.since_ms = heard_ms if is_silent else now_ms
    ask(core, now_ms)


def ask(core: Core, now_ms: int) -> None:
    """Ask for cover whom it is time to ask. Also at every tick, and while replies wait."""
    contact = core.contact
    if contact.since_ms is None:
        return
    if contact.target is None and now_ms - contact.asked_ms >= _least_ms(core) // 2:
        contact.target = contact.end = core.stream_end
        contact.asked_ms = now_ms
        contact.acked.clear()
        core.out.put(AskReplicas())
    _hear_majority(core, now_ms)
    if contact.since_ms is None:
        return
    age_ms = now_ms - contact.since_ms
    if age_ms >= _doubt_ms(core):
        _ask_voters(core, now_ms, everyone=age_ms >= bound_ms(core))
    if age_ms >= 2 * bound_ms(core) and core.ok and not contact.told:
        contact.told = True
        core.out.log(Level.WARNING, f"No word from replicas nor a majority for {age_ms} ms: replies to writes wait.")


def _ask_voters(core: Core, now_ms: int, *, everyone: bool) -> None:
    """Ping as many voters as the majority takes, of those with the latest proof, or all."""
    contact = core.contact
    wanted = core.slotmap.owner_count if everyone else quorum(core.slotmap.owner_count) - 1
    patience_ms = bound_ms(core) // PATIENCE_SHARE
    for voter in sorted(lease.voters(core), key=lambda one: -one.proof_ms):
        link = voter.link
        if wanted <= 0:
            return
        if link is None or not link.opened:
            continue
        if link.pings:
            wanted -= now_ms - link.pings[0] <= patience_ms
            continue
        unanswered_ms = voter.ping_sent_ms
        core.gossip.send_ping(link, MessageType.PING, now_ms, gossips=False)
        voter.ping_sent_ms = unanswered_ms or voter.ping_sent_ms
        contact.voters_ms, contact.voters_end = now_ms, core.stream_end
        wanted -= 1


def acknowledged(core: Core, ip: str, port: int, offset: int, now_ms: int) -> None:
    """The replica at this address has the stream up to an offset."""
    contact = core.contact
    if contact.target is None or offset < contact.target:
        return
    waited = heirs(core, now_ms)
    contact.acked.update(one.id for one in waited if one.address.port == port and one.address.ip == ip)
    if waited and all(one.id in contact.acked for one in waited):
        contact.target = None
        contact.ways_ms = (*contact.ways_ms[1:], now_ms - contact.asked_ms)
        _covered(core, contact.asked_ms, now_ms, more=core.stream_end > contact.end)


def progress(core: Core, now_ms: int) -> None:
    """After every event: has a majority answered, is there still anything to fear?"""
    contact = core.contact
    contact.needed = is_needed(core, now_ms)
    if not contact.needed:
        contact.since_ms = contact.target = None
        contact.told = False
    _hear_majority(core, now_ms)


def _hear_majority(core: Core, now_ms: int) -> None:
    """A majority may have answered. In a large cluster that is dear to find out: not while replicas answer in time."""
    contact = core.contact
    if contact.since_ms is None or now_ms - contact.since_ms < _doubt_ms(core):
        return
    proved_ms = lease.proved_ms(core)
    if proved_ms <= contact.since_ms:
        return
    asked = proved_ms == contact.voters_ms
    if asked:
        contact.ways_ms = (*contact.ways_ms[1:], now_ms - proved_ms)
    _covered(core, proved_ms, now_ms, more=not asked or core.stream_end > contact.voters_end)


def _covered(core: Core, until_ms: int, now_ms: int, *, more: bool) -> None:
    """Whatever was written before then is covered. more: there may have been writes since."""
    contact = core.contact
    if contact.since_ms is None or until_ms < contact.since_ms:
        return
    if contact.told:
        contact.told = False
        core.out.log(Level.NOTICE, f"Writes are covered again after {now_ms - contact.since_ms} ms.")
    contact.since_ms = until_ms if more else None
