"""A cluster in a storm: clients that write all the time, and what must hold after every step whatever happens.

On top of what `World` checks (one owner a slot and epoch, one vote a voter and epoch, nothing told before it is saved,
epochs that never go back):

- What is on disk never goes back: epochs, the last vote.
- Who is elected has the votes of a majority, really sent in that epoch.
- No replica is promoted over a better one. Precisely: within `patience_ms` of the first node's finding that the primary has
  failed, while another replica of that primary had, one node timeout ago and ever since, more data than the winner has now;
  was up, willing and untouched by any fault for that timeout; and the voters were untouched for that long, too.
- A write is acknowledged by one node at a time: never while another serves the slot under a greater epoch, never under a
  smaller epoch than an earlier acknowledgement of the slot.
- No epoch is ever taken from a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cluster.manual_failover import Manner
from cluster.settings import ClusterSettings
from cluster.slotmap import ALL_SLOTS, bits_of
from cluster.state import SavedState
from cluster.voting import patience_ms
from gossip.detector import quorum
from gossip.ids import NodeId
from gossip.members import HANDSHAKE, NOFAILOVER
from gossip.messages import NodeFlag
from tests.simulation.moving import Mover
from tests.simulation.nodes import SimNode
from tests.simulation.storm_moves import SLOTS
from tests.simulation.storm_nodes import StormNode, contents, new_random, slot_of
from tests.simulation.world import BUS_PORT, PORT, World

FORGED_EPOCH = 10_000_000
WRITE_EVERY_MS = 25
AGREED_WITHIN_MS = 30_000
"""After healing. The longest of all waits is that of a primary that has come back empty, 4 timeouts and 5 s."""
MOVED_WITHIN_MS = 90_000
"""Who has lost its other end without a word waits for it for a minute."""
CALM_MS = 3000


@dataclass(slots=True)
class Counts:
    """What has happened in a storm. healed_ms: from the end of all faults to agreement."""

    acknowledged: int = 0
    unanswered: int = 0
    """Done by nodes that could not tell what would become of it, and so ended the connection."""
    lost: int = 0
    lost_late: int = 0
    """Acknowledged when the write's slot was already served by a successor; the lease makes it impossible."""
    promotions: int = 0
    with_rivals: int = 0
    """Promotions for which another replica of the primary was fit to be compared."""
    votes: int = 0
    crashes: int = 0
    torn: int = 0
    moves: int = 0
    migrated: int = 0
    """How often slots were taken over as a whole."""
    forgeries: int = 0
    healed_ms: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class Storm(World):
    """lenient: faults that no network has are among those that come: what rests on order is not checked."""

    def __init__(self, seed: int, *, timeout_ms: int = 2000, lenient: bool = False, checks_owners: bool = True) -> None:
        super().__init__(seed, timeout_ms=timeout_ms, checks_owners=checks_owners)
        self.network.tcp = True
        self.lenient = lenient
        self.counts = Counts()
        self.hosts: list[StormNode] = []
        self.movers: dict[str, Mover] = {}
        self.troubles: dict[str, int] = {}
        self.calm_since_ms: dict[str, int] = {}
        self.pending: list[Callable[[], None]] = []
        self.replaced: list[tuple[StormNode, NodeId]] = []
        """Hosts that lost their disks, and who they were."""
        self.acks: list[tuple[int, str, int]] = []
        self.late: set[int] = set()
        self.moved: set[int] = set()
        """Slots that administrators have moved, or begun to, by SETSLOT."""
        self._ack_epochs: dict[int, int] = {}
        self._clients = new_random(seed, "clients")
        self._written = 0
        self.over = False

    def add(self, **settings: object) -> StormNode:
        index = len(self.nodes)
        chosen = ClusterSettings(
            port=PORT, bus_port=BUS_PORT, node_timeout_ms=self.timeout_ms, **{**self.settings, **settings}  # type: ignore[arg-type]
        )
        node = StormNode(self, f"n{index}", f"10.0.0.{index + 1}", chosen)
        self.nodes.append(node)
        self.hosts.append(node)
        self.calm_since_ms[node.name] = self.now_ms
        self.troubles[node.name] = 0
        return node

    def forget_host(self, host: StormNode) -> None:
        """This host is another node from now on. What the one that it was did still counts: its votes, and the epochs under
        which it owned slots and acknowledged writes, so far as the disk of anybody who is left holds them.

        Epochs above those, whose news were still on their way, went with its own disk. They are nobody's: who takes the next
        one can not know that it was taken before, and nobody claims anything under it any longer.
        """
        self._claims.pop(host.name, None)
        former = f"{host.name} until {self.age_ms} ms"
        self.votes = {(former if name == host.name else name, at): one for (name, at), one in self.votes.items()}
        known = max((one.saved.current_epoch for one in self.hosts if one.saved is not None), default=0)
        self._owned = {
            epoch: {former if name == host.name else name: bits for name, bits in owned.items()}
            for epoch, owned in self._owned.items() if epoch <= known
        }
        self._ack_epochs = {slot: min(epoch, known) for slot, epoch in self._ack_epochs.items()}

    def forget_unsent(self, host: StormNode) -> None:
        """What was to be sent over connections that are not made yet never will be."""
        for key in [key for key in self.waiting if key[0] == host.name]:
            del self.waiting[key]

    # Faults -------------------------------------------------------------------------------------------------------

    def for_a_while(self, hosts: Iterable[StormNode], duration_ms: int, undo: Callable[[], None]) -> None:
        """Something is wrong with these hosts until it is undone, then or at the storm's end."""
        names = [host.name for host in hosts]
        for name in names:
            self.troubles[name] += 1

        def end() -> None:
            if end in self.pending:
                self.pending.remove(end)
                undo()
                for name in names:
                    self.troubles[name] -= 1
                    self.calm_since_ms[name] = self.now_ms

        self.pending.append(end)
        self.clock.after(duration_ms, end)

    def is_calm(self, name: str, for_ms: int) -> bool:
        """Whether no fault has touched this host for so long."""
        return not self.troubles[name] and self.now_ms - self.calm_since_ms[name] >= for_ms

    def crashed(self, node: StormNode) -> None:
        """A doomed node has died in the middle of a step."""
        self.counts.crashes += 1
        self.counts.torn += bool(node.disk)
        self.for_a_while([node], self.random.choice([50, 500, 2500, 9000]), lambda: self.restart(node))

    def restart(self, node: StormNode) -> None:
        """Start a node that is down."""
        if not node.running:
            node.start()

    # Clients ------------------------------------------------------------------------------------------------------

    def begin_writing(self) -> None:
        """A write every so often, to whoever takes it; clients reach every host at any time."""
        if self.over:
            return
        self._written += 1
        hosts = self.hosts[:]
        self._clients.shuffle(hosts)
        value = self._written * len(SLOTS) + self._clients.randrange(len(SLOTS))
        for host in hosts:
            if host.client_writes(value):
                break
        self.clock.after(WRITE_EVERY_MS, self.begin_writing)

    def acknowledged(self, node: StormNode, value: int) -> None:
        """A client has been told that its write is done."""
        slot, epoch = slot_of(value), node.cluster.myself.config_epoch
        self.acks.append((self.now_ms, node.name, value))
        self.counts.acknowledged += 1
        successors = [
            other.name for other in self.hosts
            if other is not node and other.running and other.cluster.served[slot]
            and other.cluster.myself.config_epoch > epoch
        ]
        # A reply that waited may leave after its slot, with what was written: then that is there.
        kept = any(value in other.writes for other in self.hosts if other.name in successors)
        # SETSLOT NODE is obeyed by a target that can not know whether its source, or a successor that was cut off from that,
        # has heard of the move: until it hears of the claim it serves the slot, too.
        if slot not in self.moved and not kept and (successors or epoch < self._ack_epochs.get(slot, 0)):
            self.late.add(value)
            assert self.lenient, (
                f"{node.name} acknowledges a write to slot {slot} in epoch {epoch}, {successors or 'somebody'} has served "
                f"it in a greater one, {self}"
            )
        self._ack_epochs[slot] = max(epoch, self._ack_epochs.get(slot, 0))

    def written(self, node: StormNode) -> None:
        """A client's write was done: it is in the stream."""
        for other in self.hosts:
            if other.following[0] == node.id:
                self.clock.after(self.network.delay_ms(), other.hear_stream)

    # Checks -------------------------------------------------------------------------------------------------------

    def check_disk(self, node: StormNode, before: SavedState | None, after: SavedState) -> None:
        """nodes.conf is about to be replaced."""
        if before is None:
            return
        assert after.current_epoch >= before.current_epoch, f"{node.name}'s epoch on disk goes back, {self}"
        assert after.last_vote_epoch >= before.last_vote_epoch, f"{node.name}'s vote on disk goes back, {self}"
        for one, other in ((before, after),):
            (then,) = [entry for entry in one.nodes if entry.flags & NodeFlag.MYSELF]
            (now,) = [entry for entry in other.nodes if entry.flags & NodeFlag.MYSELF]
            went_back = now.config_epoch < then.config_epoch and now.primary is None
            assert not went_back, f"{node.name}'s config epoch on disk goes back, {self}"

    def check(self, node: SimNode) -> None:
        super().check(node)
        assert isinstance(node, StormNode)
        cluster = node.cluster
        if node.lost_slots:
            node.drop_slots()
        if node.mover.jobs:
            node.mover.look()
        assert cluster.current_epoch < FORGED_EPOCH, f"{node.name} believes a stranger's epoch, {self}"
        myself = cluster.myself
        former, node.replica_of = node.replica_of, None if myself.primary is None else myself.primary.id
        if former is not None and myself.is_primary and myself.slot_count:
            self._check_promotion(node, former)
            node.mover.drop_foreign()

    def _check_promotion(self, winner: StormNode, former: NodeId) -> None:
        self.counts.promotions += 1
        cluster, timeout_ms = winner.cluster, self.timeout_ms
        epoch = cluster.myself.config_epoch
        voters = [name for (name, at), candidate in self.votes.items() if at == epoch and candidate == winner.id]
        needed = quorum(cluster.slotmap.owner_count)
        assert len(voters) >= needed, f"{winner.name} is elected in epoch {epoch} with {voters} of {needed} votes, {self}"
        failures = [
            self.now_ms - (host.now_ms - host.cluster.members[former].fail_since_ms)
            for host in self.running() if former in host.cluster.members and host.cluster.members[former].failed
        ]
        in_patience = failures and self.now_ms - min(failures) < patience_ms(timeout_ms)
        calm = all(name in self.troubles and self.is_calm(name, CALM_MS) for name in voters)
        if self.lenient or not in_patience or not calm:
            return
        for rival in self.hosts:
            if rival is winner or not self._is_fit(rival, former):
                continue
            self.counts.with_rivals += 1
            had = rival.had_ms_ago(timeout_ms)
            assert had <= len(winner.writes), (
                f"{winner.name} with {len(winner.writes)} is promoted over {rival.name}, which has had {had} for long, "
                f"{self}"
            )

    def _is_fit(self, rival: StormNode, former: NodeId) -> bool:
        """Whether it could take over from this primary as well as anybody."""
        if not rival.running or rival.paused_events is not None or not self.is_calm(rival.name, CALM_MS):
            return False
        myself = rival.cluster.myself
        is_replica = myself.primary is not None and myself.primary.id == former
        willing = not myself.flags & NOFAILOVER and rival.link_heard_ms is not None and not rival.unwilling
        return is_replica and willing and self.now_ms - rival.born_ms >= CALM_MS

    # The end ------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """All faults end, administrators repair what is theirs to repair; then everyone agrees, and every slot is owned."""
        for end in self.pending[:]:
            end()
        self.network.heal()
        for host in self.hosts:
            host.doom = None
            host.rate = None
            if host.paused_events is not None:
                host.resume()
        for host in self.hosts:
            self.restart(host)
        healed_ms = self.now_ms
        if self.replaced:
            self.run(AGREED_WITHIN_MS // 2)
            self._replace_members()
        self.run_until(self._agreed_but_for_open_slots, AGREED_WITHIN_MS, "agreement after healing")
        self.counts.healed_ms = self.now_ms - healed_ms
        self.run_until(lambda: not any(host.mover.moves for host in self.hosts), MOVED_WITHIN_MS, "the end of all moves")
        self._close_slots()
        self.run_until(lambda: self.agreed(self.hosts), AGREED_WITHIN_MS, "agreement after repair")
        self.over = True
        self.run(3000)
        # A connection that was tried before the end of the faults may have made a node fail another since, for a while.
        self.run_until(lambda: self.agreed(self.hosts), AGREED_WITHIN_MS, "agreement that lasts")
        self.run_until(lambda: not self._stragglers(), AGREED_WITHIN_MS, "replicas with their primaries' data")
        self.check_end()

    def _agreed_but_for_open_slots(self) -> bool:
        """Whose a slot is that a node is importing it learns from SETSLOT alone; until then it may be wrong."""
        opened = bits_of(slot for host in self.hosts for slot in host.cluster.slotmap.importing)
        views = {
            tuple(sorted(
                (node, left) for node in host.cluster.slotmap.owners() if (left := host.cluster.slotmap.bits(node) & ~opened)
            ))
            for host in self.hosts
        }
        return len(views) == 1 and all(host.cluster.ok for host in self.hosts)

    def _stragglers(self) -> list[str]:
        """Replicas that have not exactly what their primaries have."""
        names = []
        for host in self.hosts:
            primary = next((one for one in self.hosts if one.id == host.following[0]), None)
            if primary is not None and primary.writes != host.writes:
                names.append(host.name)
        return names

    def _replace_members(self) -> None:
        """Hosts without a past join, and stand in for who they were; as redis-cli would have it."""
        gone = {former for _, former in self.replaced}
        newcomers = [host for host in dict.fromkeys(host for host, _ in self.replaced) if host.id not in gone]
        old = [host for host in self.hosts if host not in newcomers] or newcomers[:1]
        for host in self.hosts:
            mine = host.cluster.myself.primary
            if mine is not None and mine.id in gone:  # It has no data with which to take over, or nobody is left to vote.
                heads = {one.id for one in host.cluster.members.values() if one.is_primary and one.slot_count} - gone
                if heads:
                    host.carry_out(host.cluster.operations.replicate(min(heads), True, host.now_ms))
                else:
                    host.replica_of = None  # Nobody has elected it.
                    host.carry_out(host.cluster.operations.failover(Manner.TAKEOVER, host.now_ms))
                    self.run(1000)
            for former in sorted(gone):
                member = host.cluster.members.get(former)
                if member is not None and host.cluster.myself.primary is not member:
                    host.carry_out(host.cluster.operations.forget(former, host.now_ms))
        for host in newcomers:
            if host is not old[0]:
                host.carry_out(host.cluster.operations.meet(old[0].ip, PORT, BUS_PORT, host.now_ms))
        self.run_until(lambda: self._all_joined(), AGREED_WITHIN_MS, "acquaintance with newcomers")
        for host in newcomers:
            self._employ(host)
            self.run(1000)

    def _all_joined(self) -> bool:
        ids = {host.id for host in self.hosts}
        return all(
            ids <= host.cluster.members.keys()
            and not any(one.flags & HANDSHAKE for one in host.cluster.members.values())
            for host in self.hosts
        )

    def _employ(self, host: StormNode) -> None:
        """Give a newcomer the slots that nobody owns, else the primary that has fewest replicas.

        One that was in the middle of a reshard when it lost its disk may have lost that slot by now, and follow who won it:
        slots that nobody owns are for primaries.
        """
        if host.cluster.myself.is_replica:
            host = next(one for one in self.hosts if one.id == host.following[0])
        cluster = host.cluster
        owned = 0
        for other in self.hosts:
            owned |= other.cluster.slotmap.bits(other.id)
        free = ALL_SLOTS & ~owned
        if free:
            slots = [slot for slot in range(free.bit_length()) if free >> slot & 1 and cluster.owner(slot) is None]
            host.carry_out(cluster.operations.add_slots(slots, host.now_ms))
            host.carry_out(cluster.operations.bump_epoch(host.now_ms)[2])
        elif cluster.myself.is_primary and not cluster.myself.slot_count:
            heads = [one for one in cluster.members.values() if one.is_primary and one.slot_count]
            fewest = min(heads, key=lambda one: (len(one.replicas), one.id))
            host.carry_out(cluster.operations.replicate(fewest.id, False, host.now_ms))

    def _close_slots(self) -> None:
        """redis-cli --cluster fix: keys of open slots go to the owner, then the slots are closed."""
        for host in self.hosts:
            slotmap = host.cluster.slotmap
            for slot in [*slotmap.importing, *slotmap.migrating]:
                owner = self.owner_of(slot)
                if host.cluster.myself.is_primary and host is not owner:
                    self.move_keys(slot, host, owner)
                if host.cluster.myself.is_primary:
                    host.carry_out(host.cluster.operations.set_slot_stable(slot, host.now_ms))

    def move_keys(self, slot: int, source: StormNode, target: StormNode) -> None:
        """MIGRATE of all keys of a slot."""
        there = contents(target.writes)[slot]
        moved = sorted(contents(source.writes)[slot] - there)
        target.writes = target.writes + moved
        source.lost_slots.add(slot)
        source.drop_slots()

    def owner_of(self, slot: int) -> StormNode:
        """Who owns the slot, in its own eyes."""
        owners = [host for host in self.hosts if host.cluster.slotmap.bits(host.id) >> slot & 1]
        assert len(owners) == 1, f"slot {slot} has owners {[host.name for host in owners]}, {self}"
        return owners[0]

    def check_end(self) -> None:
        """Every slot has its owner, which serves it; replicas have what their primaries have; count what is lost."""
        assert self.agreed(self.hosts), f"agreement did not last, {self}"
        bits = 0
        for host in self.hosts:
            own = host.cluster.slotmap.bits(host.id)
            assert not bits & own, f"slots of {host.name} are owned twice, {self}"
            bits |= own
            assert not own or host.cluster.ok, f"{host.name} is not ok, {self}"
        assert bits == ALL_SLOTS, f"slots without an owner, {self}"
        assert not self._stragglers(), f"{self._stragglers()} have not their primaries' data, {self}"
        held = {slot: contents(self.owner_of(slot).writes)[slot] for slot in SLOTS}
        lost = [value for _, _, value in self.acks if value not in held[slot_of(value)]]
        self.counts.lost = len(lost)
        self.counts.lost_late = len(self.late & set(lost))
        self.counts.votes = len(self.votes)
