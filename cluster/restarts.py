"""A primary that comes back with less data than its replicas have must not wipe them: one of them takes over first.

Redis's primary starts empty, serves after two seconds, and its replicas copy the emptiness. Here both ends object, each
without the other, for either may be a real server:

- The primary, when it has just been started, waits for its replicas' word, and when one has a greater offset, for that one
  to take over. It stays not ok, gives them no full sync, and says that it waits (WAITS, which only we understand). When no
  replica has taken over after a moment, it stops to answer pings, so that replicas that know only Redis's rules see it
  fail. It still listens, votes and gives in to a successor.
- The replica refuses a full sync from the very primary whose stream it has, when that is another history and shorter
  than its own, and asks for votes with the flag that needs no failed primary (as CLUSTER FAILOVER FORCE does). It also
  does so when its primary's pings tell of a smaller offset for a while during which the data link is down: a healthy
  primary's offset never goes back. It has seen that stream itself.
- A replica that was restarted with its primary has only a file, which says of which shard and how far it is. It may be
  old, so it never objects; but it asks for its primary's place when that says that it waits, with less than the file has.
  While it loads it says so (WAITS again), and the primary goes on waiting.

A primary that hears no word of such a replica's does not wait, and serves. So who asks for the place of one that is back
tells the voters (WAITS in the request, once more): it may hold a lease by their answers (`lease.py`). From its vote on each
gives it no more of them, and the one that wins serves nobody until its predecessor has told that it gives in, a round trip
in health, or a node timeout has passed: then that lease has ended.

None of this lasts: after `longest_wait_ms` the primary serves what it has and the replica takes what there is, so that a
cluster in which nobody can win does not stay down for ever. Replicas that are told never to fail over
(cluster-replica-no-failover) are not waited for, and do not object.
"""

from __future__ import annotations

from cluster.core import Core
from cluster.events import Level
from gossip.members import FAIL, NOFAILOVER, PFAIL, Member
from gossip.messages import Header, MessageFlag

_DOWN = PFAIL | FAIL

WAIT_TIMEOUTS = 4
WAIT_EXTRA_MS = 5000
SILENT_AFTER_MS = 1500
LESS_CONFIRMED_MS = 300
"""For so long a primary's pings must tell of less: what was on its way when the link broke is older."""


def longest_wait_ms(timeout_ms: int) -> int:
    """After this long the primary goes on, and its replica follows it, with what the primary has."""
    return WAIT_TIMEOUTS * timeout_ms + WAIT_EXTRA_MS


# The primary ----------------------------------------------------------------------------------------------------------


def _able(core: Core) -> list[Member]:
    """Replicas of this node that may take over."""
    return [one for one in core.myself.replicas if not one.flags & NOFAILOVER]


def _ahead(core: Core) -> Member | None:
    """A replica of this node that has more data, as far as it has told since this node started, and may take over."""
    ahead = [one for one in _able(core) if one.offset > core.offset]
    return next((one for one in ahead if not one.flags & _DOWN), ahead[0] if ahead else None)


def _loads(member: Member) -> bool:
    """Whether this replica says that it is still busy with its file, and is there."""
    return member.heard is not None and bool(member.heard.message_flags & MessageFlag.WAITS) and not member.flags & _DOWN


def waits(core: Core, now_ms: int) -> bool:
    """Whether this primary, which is not ok yet, waits for a replica that has more data."""
    comeback, myself = core.comeback, core.myself
    if comeback.over or not myself.slot_count or (comeback.since_ms is None and not core.rejoining):
        return False
    if core.loading:
        return True
    ahead = _ahead(core) if core.comparable else None
    if ahead is None:
        if comeback.since_ms is not None:
            _go_on(core, now_ms)
        return core.comparable and any(not one.answered and not one.flags & _DOWN for one in _able(core))
    if comeback.since_ms is None:
        comeback.since_ms = now_ms
        core.out.log(
            Level.WARNING,
            f"Replica {ahead.called} has more data than this node (offset {ahead.offset} > {core.offset}): "
            "waiting for it to take over",
        )
    elif _loads(ahead):
        comeback.since_ms = now_ms
    waited_ms = now_ms - comeback.since_ms
    if waited_ms > longest_wait_ms(core.settings.node_timeout_ms):
        core.out.log(Level.WARNING, "No replica with more data has taken over: going on with less")
        _go_on(core, now_ms)
        return False
    core.gossip.mute = waited_ms > SILENT_AFTER_MS and not comeback.succeeded
    return True


def hear_claim(core: Core, header: Header, now_ms: int) -> None:
    """Somebody says that this primary's slots are another's: true or not, it takes pings to find out."""
    overtaken = header.config_epoch > core.myself.config_epoch
    if core.gossip.mute and overtaken and int.from_bytes(header.slots, "little") & core.slotmap.bits(core.myself.id):
        core.comeback.succeeded = True
        core.gossip.unmute(now_ms)


def _go_on(core: Core, now_ms: int) -> None:
    core.comeback.over = True
    core.comeback.since_ms = None
    core.gossip.unmute(now_ms)


def defers_sync(core: Core, offset: int) -> bool:
    """Whether this node gives no full sync to a replica that has so many bytes of some history: it may take over."""
    comeback, myself = core.comeback, core.myself
    undecided = core.rejoining or comeback.since_ms is not None
    serves = myself.is_primary and myself.slot_count > 0
    less = core.loading or (core.comparable and offset > core.offset)
    return serves and undecided and less and not comeback.over


# The replica ----------------------------------------------------------------------------------------------------------


def _may_ask(core: Core) -> bool:
    """Whether this node has data with which it may still ask for its primary's place."""
    return not core.settings.replica_no_failover and not core.comeback.over and core.offset > 0 and not core.loading


def has_all_of(core: Core, primary: Member) -> bool:
    """Whether this node's data is that primary's stream, not given up, and could take its place."""
    return _may_ask(core) and core.comeback.synced_with == primary.id


def loaded(core: Core, shard: str) -> None:
    """This node's data comes from a file, which says of which shard it is."""
    core.comeback.loaded = core.myself.is_replica and shard == core.shard


def hear(core: Core, sender: Member, header: Header, now_ms: int) -> None:
    """Any message of this node's primary: does it have less than it had?"""
    comeback = core.comeback
    if sender is not core.myself.primary or core.data_link.connected:
        return
    waits = bool(header.message_flags & MessageFlag.WAITS)
    if comeback.loaded and comeback.asks_since_ms is not None and not waits and header.cluster_ok:
        _give_up(core)  # It has gone on.
        return
    has_less = header.primary is None and header.offset < core.offset
    if comeback.loaded and has_less and waits and _may_ask(core):
        _ask(core, sender, now_ms)
        return
    if not has_all_of(core, sender):
        return
    if not has_less:
        comeback.less_since_ms = None
    elif comeback.less_since_ms is None:
        comeback.less_since_ms = now_ms
    elif now_ms - comeback.less_since_ms >= LESS_CONFIRMED_MS:
        _ask(core, sender, now_ms)


def accepts_history(core: Core, offset: int) -> bool:
    """Whether this node may take a full sync, of another history than its own, that ends at this offset."""
    primary = core.myself.primary
    return primary is None or not has_all_of(core, primary) or offset >= core.offset


def refused(core: Core, now_ms: int) -> None:
    """This node has refused its primary's history: ask for its place."""
    primary = core.myself.primary
    if primary is not None and has_all_of(core, primary):
        _ask(core, primary, now_ms)


def _ask(core: Core, primary: Member, now_ms: int) -> None:
    """This node's primary has lost what this node still has: ask for its place."""
    comeback = core.comeback
    if comeback.asks_since_ms is not None:
        return
    comeback.asks_since_ms = now_ms
    core.out.log(
        Level.WARNING,
        f"Primary {primary.called} came back with less data than this replica has (offset {core.offset}): asking for "
        "its place",
    )


def tick(core: Core, now_ms: int) -> None:
    """Give up in time."""
    comeback = core.comeback
    if comeback.asks_since_ms is None:
        return
    if now_ms - comeback.asks_since_ms > longest_wait_ms(core.settings.node_timeout_ms):
        _give_up(core)


def _give_up(core: Core) -> None:
    core.out.log(Level.WARNING, "This replica could not take over: following its primary, which has less data")
    core.comeback.over = True
    core.comeback.asks_since_ms = core.comeback.less_since_ms = None


def won(core: Core, former: Member, now_ms: int) -> None:
    """This node has been elected in the place of a primary that is back, and may serve until it hears of it."""
    core.comeback.former = former.id
    core.comeback.serves_ms = now_ms + core.settings.node_timeout_ms


def holds_back(core: Core, now_ms: int) -> bool:
    """Whether this node, the winner, serves nobody yet: whom it has replaced may still acknowledge writes."""
    comeback = core.comeback
    if comeback.former is None:
        return False
    former = core.members.get(comeback.former)
    if now_ms > comeback.serves_ms or (former is not None and _has_given_in(core, former)):
        comeback.former = None
    return comeback.former is not None


def _has_given_in(core: Core, former: Member) -> bool:
    if former.is_replica:
        return True
    mine = core.slotmap.bits(core.myself.id)
    return former.heard is not None and not int.from_bytes(former.heard.slots, "little") & mine


def linked(core: Core) -> None:
    """The primary's stream is followed: what it has is what this node has, from now on."""
    comeback, primary = core.comeback, core.myself.primary
    if primary is not None:
        comeback.synced_with = primary.id
        comeback.loaded = False
        comeback.less_since_ms = comeback.asks_since_ms = None
        comeback.over = False
