"""What can go wrong in a storm: each kind begins something that ends by itself, or with the storm."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from cluster.events import ClusterError, LinkAccepted, LinkClosed, Received
from cluster.manual_failover import Manner
from cluster.operations import SlotAction, SlotOrder
from gossip.messages import (
    Fail,
    FailoverAuthAck,
    FailoverAuthRequest,
    Message,
    MessageFlag,
    MessageType,
    MfStart,
    Ping,
    Update,
)
from tests.simulation.network import Faults
from tests.simulation.storm import FORGED_EPOCH, Storm
from tests.simulation.storm_moves import SLOTS, move
from tests.simulation.storm_nodes import Doom, StormNode, contents

Fault = Callable[[Storm, Random], None]
WHILE_MS = (100, 400, 900, 1500, 2200, 3000, 5000, 9000, 15_000)


def _up(storm: Storm) -> list[StormNode]:
    return [host for host in storm.hosts if host.running and host.paused_events is None]


def _some_up(storm: Storm, random: Random) -> StormNode | None:
    """A host that is up; more often than not a primary."""
    up = _up(storm)
    primaries = [host for host in up if host.cluster.myself.is_primary]
    among = primaries if primaries and random.random() < 0.6 else up
    return random.choice(among) if among else None


def _two(storm: Storm, random: Random) -> tuple[StormNode, StormNode]:
    one, other = random.sample(storm.hosts, 2)
    return one, other


# Hosts ----------------------------------------------------------------------------------------------------------------


def _crash(storm: Storm, random: Random, *, durable: bool) -> None:
    host = _some_up(storm, random)
    if host is not None:
        host.durable = durable
        host.doom = Doom(random.randrange(1, 40))


def crash(storm: Storm, random: Random) -> None:
    """A process dies between any two effects; its data is gone, its nodes.conf is not."""
    _crash(storm, random, durable=False)


def durable(storm: Storm, random: Random) -> None:
    """The same with data that is on disk (appendfsync always)."""
    _crash(storm, random, durable=True)


def torn(storm: Storm, random: Random) -> None:
    """Hosts die in the middle of their next write of nodes.conf; somebody else's death makes them write."""
    victim = _some_up(storm, random)
    if victim is None:
        return
    for host in _up(storm):
        if host is not victim and random.random() < 0.4:
            host.doom = Doom(1, in_write=True)
    victim.kill(silent=random.random() < 0.5)
    storm.crashed(victim)


def blank(storm: Storm, random: Random) -> None:
    """A host loses its disk with all that it knew: nobody of that name will ever come back."""
    if len(storm.replaced) >= 2:
        return
    host = _some_up(storm, random)
    if host is None:
        return
    host.kill(silent=random.random() < 0.5)
    storm.counts.crashes += 1
    storm.replaced.append((host, host.id))
    host.lose_disk()
    storm.for_a_while([host], random.choice(WHILE_MS), lambda: storm.restart(host))


def pause(storm: Storm, random: Random) -> None:
    """SIGSTOP, a suspended machine, a long pause of anything; clients' requests wait in the sockets."""
    host = _some_up(storm, random)
    if host is None:
        return
    host.pause()
    life = host.life

    def undo() -> None:
        if host.running and host.life == life and host.paused_events is not None:
            host.resume()

    storm.for_a_while([host], random.choice(WHILE_MS), undo)


def clock(storm: Storm, random: Random) -> None:
    """The clock on the wall is set, or a host's clocks go too fast or too slow by a little."""
    host = random.choice(storm.hosts)
    if random.random() < 0.3:
        before_ms = host.now_ms
        host.clock_ppm = random.choice([-300, -50, 0, 50, 300])
        gained_ms = before_ms - host.now_ms  # What it has gained so far stays.
        host.clock_offset_ms += gained_ms
        host.wall_offset_ms += gained_ms
    else:
        host.wall_offset_ms += random.choice([-1, 1]) * random.choice([20, 90, 300, 900, 1000, 2500, 10_000, 3_600_000])
    storm.for_a_while([host], 1, lambda: None)


def slow(storm: Storm, random: Random) -> None:
    """A replica takes its primary's stream in slowly."""
    host = random.choice(storm.hosts)
    host.rate = random.choice([0, 1, 2])

    def undo() -> None:
        host.rate = None

    storm.for_a_while([], random.choice(WHILE_MS), undo)


# The network ----------------------------------------------------------------------------------------------------------


def cut(storm: Storm, random: Random) -> None:
    """Hosts are split into two or three groups."""
    hosts = storm.hosts[:]
    random.shuffle(hosts)
    first = random.randrange(1, len(hosts))
    second = random.randrange(first, len(hosts))
    groups = [hosts[:first], hosts[first:second], hosts[second:]]
    before = set(storm.network.cut)
    storm.network.partition(*[[host.name for host in group] for group in groups])
    new = storm.network.cut - before
    storm.for_a_while(hosts, random.choice(WHILE_MS), lambda: storm.network.cut.difference_update(new))


def oneway(storm: Storm, random: Random) -> None:
    """Nothing of what some hosts send arrives at some others."""
    speakers = random.sample(storm.hosts, random.randrange(1, len(storm.hosts)))
    listeners = [host for host in random.sample(storm.hosts, random.randrange(1, len(storm.hosts))) if host not in speakers]
    new = {(one.name, other.name) for one in speakers for other in listeners} - storm.network.deaf
    storm.network.deaf |= new
    storm.for_a_while(
        [*speakers, *listeners], random.choice(WHILE_MS), lambda: storm.network.deaf.difference_update(new)
    )


def clog(storm: Storm, random: Random) -> None:
    """Some links, each way by itself, are slow: what is sent over them comes late, in order."""
    hosts = set()
    new: dict[tuple[str, str], int] = {}
    for _ in range(random.randrange(1, 2 * len(storm.hosts))):
        one, other = _two(storm, random)
        hosts |= {one, other}
        new[one.name, other.name] = random.choice([50, 300, 900, 1900, 4000])
    storm.network.clogged.update(new)

    def undo() -> None:
        for link in new:
            storm.network.clogged.pop(link, None)

    storm.for_a_while(sorted(hosts, key=lambda host: host.name), random.choice(WHILE_MS), undo)


def noise(storm: Storm, random: Random) -> None:
    """Every message takes its own time, so that links overtake each other; frames that may come twice do; links break."""
    faults = Faults(duplication=0.3, delay_ms=(0, random.choice([20, 100, 300])))
    storm.disturb(faults)
    for host in _up(storm):
        for connection, end in list(host.ends.values()):
            if random.random() < 0.1:
                storm.close(connection, end)
                host.disconnected(end)

    def undo() -> None:
        if storm.network.faults is faults:
            storm.disturb(Faults())

    storm.for_a_while(storm.hosts, random.choice(WHILE_MS), undo)


def lossy(storm: Storm, random: Random) -> None:
    """What no TCP does: single messages are lost, come twice, overtake each other."""
    storm.network.tcp = False
    storm.disturb(Faults(loss=random.random() * 0.1, duplication=0.1, reorder=0.2, delay_ms=(0, 50)))
    storm.for_a_while(storm.hosts, random.choice(WHILE_MS), lambda: storm.disturb(Faults()))


def stranger(storm: Storm, random: Random) -> None:
    """Somebody connects, calls itself a member and tells of epochs, slots, failures and votes that are none."""
    up = _up(storm)
    if not up:
        return
    target = random.choice(up)
    members = [one for one in target.cluster.members.values() if one is not target.cluster.myself]
    if not members:
        return
    name = random.choice(members)
    told = next((host for host in storm.hosts if host.id == name.id), target).cluster.header()
    header = type(told)(
        sender=name.id, port=told.port, bus_port=told.bus_port, flags=told.flags, current_epoch=FORGED_EPOCH,
        config_epoch=FORGED_EPOCH, offset=told.offset, slots=b"\xff" * 2048, ip="",
        primary=told.primary, message_flags=MessageFlag.EXTENSIONS | MessageFlag.FORCE_VOTE,
    )
    live = random.choice(members).id
    forged: list[Message] = [
        Ping(MessageType.PING, header), Ping(MessageType.PONG, header), Fail(header, live), FailoverAuthAck(header),
        Update(header, FORGED_EPOCH, live, b"\xff" * 2048), FailoverAuthRequest(header), MfStart(header),
    ]
    random.shuffle(forged)
    link = target.cluster.new_link()
    target.step(LinkAccepted(link, name.address.ip, target.ip))
    for message in forged[: random.randrange(1, 8)]:
        target.step(Received(link, message))
    target.step(LinkClosed(link))
    storm.waiting.clear()
    storm.counts.forgeries += 1
    storm.for_a_while([target], 1, lambda: None)


# Administrators -------------------------------------------------------------------------------------------------------


def failover(storm: Storm, random: Random) -> None:
    """CLUSTER FAILOVER on a replica."""
    replicas = [host for host in _up(storm) if host.cluster.myself.is_replica]
    if replicas:
        host = random.choice(replicas)
        try:
            host.carry_out(host.cluster.operations.failover(Manner.AGREED, host.now_ms))
        except ClusterError:
            return


def reshard(storm: Storm, random: Random) -> None:
    """A slot moves as redis-cli moves it, with pauses between the orders in which anything may happen.

    redis-cli leaves slots alone that are open already. As a real node does, each that is given an order has its replicas
    note it first (`node/commands/cluster_slots.py`).
    """
    primaries = [host for host in _up(storm) if host.cluster.myself.is_primary and host.cluster.myself.slot_count]
    if len(primaries) < 2:
        return
    source, target = random.sample(primaries, 2)
    opened = {slot for host in _up(storm) for slot in (*host.cluster.slotmap.migrating, *host.cluster.slotmap.importing)}
    slots = [slot for slot in SLOTS if source.cluster.served[slot] and slot not in opened]
    if not slots:
        return
    slot = random.choice(slots)
    storm.moved.add(slot)

    def order(host: StormNode, what: Callable[[], None]) -> bool:
        if not host.running or host.paused_events is not None or not host.cluster.myself.is_primary:
            return False
        if host.mover.busy(slot):
            return False
        life = host.life
        try:
            what()
        except (ClusterError, KeyError):
            return False
        return host.running and host.life == life

    def set_slot(host: StormNode, action: SlotAction, other: StormNode) -> None:
        what = SlotOrder(slot, action, other.id)
        host.cluster.operations.check_slot_order(what, bool(contents(host.writes)[slot]))
        for replica in _up(storm):
            if replica.following[0] == host.id and replica.cluster.myself.is_replica and replica.replicate():
                replica.carry_out(replica.cluster.operations.set_slot(what, True, replica.now_ms, obeying=True))
        host.carry_out(host.cluster.operations.set_slot(what, bool(contents(host.writes)[slot]), host.now_ms))

    def move() -> None:
        cluster = source.cluster
        if source.running and cluster.owner(slot) is cluster.myself and slot in cluster.slotmap.migrating:
            storm.move_keys(slot, source, target)
            storm.counts.moves += 1
        else:
            raise ClusterError("ERR not the source any more")

    orders: list[tuple[StormNode, Callable[[], None]]] = [
        (target, lambda: set_slot(target, SlotAction.IMPORTING, source)),
        (source, lambda: set_slot(source, SlotAction.MIGRATING, target)),
        (target, move),
        (target, lambda: set_slot(target, SlotAction.NODE, target)),
        (source, lambda: set_slot(source, SlotAction.NODE, target)),
    ]

    def go_on(step: int) -> None:
        if step < len(orders) and not storm.over and order(*orders[step]):
            storm.clock.after(random.choice([1, 20, 300, 1500]), lambda: go_on(step + 1))

    go_on(0)


KINDS: dict[str, Fault] = {
    one.__name__: one
    for one in (
        crash, durable, torn, blank, pause, clock, slow, cut, oneway, clog, noise, stranger, failover, reshard, move,
        lossy,
    )
}
UNFAIR = frozenset(("lossy",))
"""Beyond what the rules promise to stand: not among those that come unasked, and less is checked."""
USUAL = tuple(kind for kind in KINDS if kind not in UNFAIR)
