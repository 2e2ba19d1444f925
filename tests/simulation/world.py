"""A cluster under simulation: hosts, what connects them, and what must hold after every step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import ClassVar

from cluster import events
from cluster.settings import ClusterSettings
from cluster.slotmap import slots_in
from cluster.topology import plan, saved_state
from gossip.ids import Address, NodeId
from gossip.members import FAIL, HANDSHAKE, PFAIL
from gossip.messages import SLOT_COUNT, FailoverAuthAck, LightPublish, Message
from tests.simulation.network import Clock, Connection, End, Faults, Network
from tests.simulation.nodes import SimNode

EPOCH_START_MS = 1_700_000_000_000
CONNECT_TIMEOUT_MS = 1000
PORT, BUS_PORT = 7000, 17000


class World:
    """seed: of everything random. timeout_ms: the node timeout. on_the_wire: pass every message through the codec."""

    made: ClassVar[list[World]] = []
    """Worlds of the test that is running, for its report."""

    def __init__(
        self, seed: int, *, timeout_ms: int = 2000, on_the_wire: bool = False, checks_owners: bool = True
    ) -> None:
        self.seed = seed
        self.timeout_ms = timeout_ms
        self.on_the_wire = on_the_wire
        self.checks_owners = checks_owners
        self.random = Random(seed)
        self.clock = Clock(EPOCH_START_MS)
        self.network = Network(self.clock, self.random)
        self.nodes: list[SimNode] = []
        self._found: dict[str, SimNode] = {}
        """Address -> the host that was last found there."""
        self.waiting: dict[tuple[str, int], list[Message]] = {}
        self._claims: dict[str, tuple[int, int]] = {}
        self._owned: dict[int, dict[str, int]] = {}
        """Epoch -> who has ever owned slots under it, and which."""
        self.settings: dict[str, object] = {}
        """What every host's settings differ in, in those added from now on."""
        self.votes: dict[tuple[str, int], NodeId] = {}
        """Voter and epoch -> for whom."""
        self.watch: Callable[[SimNode, events.Event | None, Sequence[events.Effect]], None] | None = None
        """Is shown every step: who, the event (None: an order), the effects."""
        self.made.append(self)

    def __str__(self) -> str:
        return f"seed {self.seed} at {self.age_ms} ms"

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms

    @property
    def age_ms(self) -> int:
        """How long the world has been."""
        return self.now_ms - EPOCH_START_MS

    # Hosts --------------------------------------------------------------------------------------------------------

    def add(self, **settings: object) -> SimNode:
        """A new host, not yet running."""
        index = len(self.nodes)
        given = ClusterSettings(port=PORT, bus_port=BUS_PORT, node_timeout_ms=self.timeout_ms)
        chosen = replace(given, **{**self.settings, **settings})  # type: ignore[arg-type]
        node = SimNode(self, f"n{index}", f"10.0.{index // 250}.{index % 250 + 1}", chosen)
        self.nodes.append(node)
        return node

    def new_nodes(self, count: int) -> list[SimNode]:
        """So many new hosts, running, that do not know each other."""
        nodes = [self.add() for _ in range(count)]
        for node in nodes:
            node.start()
        return nodes

    def planned(self, count: int, replicas: int) -> list[SimNode]:
        """A cluster that starts from its layout."""
        nodes = [self.add() for _ in range(count)]
        layout = plan([Address(node.ip, PORT, BUS_PORT) for node in nodes], replicas, self.random)
        for node, planned in zip(nodes, layout, strict=True):
            node.start(saved_state(layout, planned.id))
        return nodes

    def created(self, primaries: int) -> list[SimNode]:
        """A cluster of primaries as redis-cli creates it: slots, epochs, then one MEET each."""
        nodes = self.new_nodes(primaries)
        for index, node in enumerate(nodes):
            first, end = (round(at * SLOT_COUNT / primaries) for at in (index, index + 1))
            node.carry_out(node.cluster.operations.add_slots(range(first, end), self.now_ms))
            node.carry_out(node.cluster.operations.set_config_epoch(index + 1, self.now_ms))
        self.meet(nodes)
        return nodes

    def meet(self, nodes: Sequence[SimNode]) -> None:
        """Everyone meets the first."""
        for node in nodes[1:]:
            node.carry_out(node.cluster.operations.meet(nodes[0].ip, PORT, BUS_PORT, self.now_ms))

    def running(self) -> list[SimNode]:
        """Hosts that are up and not paused."""
        return [node for node in self.nodes if node.running and node.paused_events is None]

    def bring_back(self, nodes: Iterable[SimNode], chance: float = 1.0) -> None:
        """Start who is down and let go on who is paused, each with that probability."""
        for node in nodes:
            if node.running and node.paused_events is None:
                continue
            if chance < 1 and self.random.random() >= chance:
                continue
            if node.running:
                node.resume()
            else:
                node.start()

    # Time ---------------------------------------------------------------------------------------------------------

    def run(self, duration_ms: int) -> None:
        """Let time pass."""
        self.clock.run_until(self.now_ms + duration_ms)

    def run_until(self, holds: Callable[[], bool], limit_ms: int, what: str = "") -> int:
        """Let time pass until something holds; how long it took, ms. AssertionError when it takes too long."""
        start_ms = self.now_ms
        while not holds():
            assert self.now_ms - start_ms <= limit_ms, f"{what or holds} does not hold after {limit_ms} ms, {self}"
            self.run(50)
        return self.now_ms - start_ms

    # The network --------------------------------------------------------------------------------------------------

    def host_at(self, ip: str) -> SimNode | None:
        """The host that has this address now."""
        found = self._found.get(ip)
        if found is None or found.ip != ip:
            found = next((one for one in self.nodes if one.ip == ip), None)
            if found is not None:
                self._found[ip] = found
        return found

    def connect(self, source: SimNode, effect: events.Connect) -> None:
        """Try to make a connection; it is refused where nobody listens and gets no answer across a partition."""
        life = source.life

        def arrive() -> None:
            target = self.host_at(effect.ip) if effect.bus_port == BUS_PORT else None
            if not source.running or source.life != life or effect.link not in source.cluster.gossip.links:
                return
            if target is None or not self.network.connects(source.name, target.name):
                self.clock.after(CONNECT_TIMEOUT_MS, refuse)
            elif not target.running:
                refuse()
            else:
                self._established(source, effect.link, target)

        def refuse() -> None:
            if source.life == life:
                source.step(events.LinkClosed(effect.link))

        self.clock.after(self.network.delay_ms(), arrive)

    def _established(self, source: SimNode, link: int, target: SimNode) -> None:
        accepted = End(target, target.cluster.new_link(), life=target.life)
        connection = Connection(End(source, link, life=source.life), accepted)
        source.ends[link] = (connection, connection.a)
        target.ends[connection.b.link] = (connection, connection.b)
        target.step(events.LinkAccepted(connection.b.link, source.ip, target.ip))
        source.step(events.LinkOpened(link, source.ip))
        for message in self.waiting.pop((source.name, link), []):
            source._send(link, message)

    def close(self, connection: Connection, end: End) -> None:
        """One end is closed: the other is told, unless they are cut off."""
        other = connection.other(end)
        other_host: SimNode = other.host
        if self.network.tcp:
            if end.open:
                self.network.queue(connection, end, lambda target: target.host.disconnected(target))
                end.open = False
            return
        connection.closed = True
        if not self.network.reaches(end.host.name, other_host.name):
            return
        life = other_host.life

        def tell() -> None:
            if other_host.life == life and other_host.ends.pop(other.link, None) is not None:
                other_host.step(events.LinkClosed(other.link))

        self.clock.after(self.network.delay_ms(), tell)

    def disturb(self, faults: Faults) -> None:
        """From now on messages fare like this."""
        self.network.faults = faults

    # What must hold -----------------------------------------------------------------------------------------------

    def check_persisted(self, node: SimNode, message: Message) -> None:
        """No message leaves that tells an epoch of this node which its disk does not hold."""
        if isinstance(message, LightPublish):
            return
        saved, header = node.saved, message.header
        assert saved is not None, f"{node.name} speaks before it has saved anything, {self}"
        assert saved.current_epoch >= header.current_epoch, f"{node.name} tells an epoch before it is saved, {self}"
        if isinstance(message, FailoverAuthAck):
            assert saved.last_vote_epoch >= header.current_epoch, f"{node.name} votes before it is saved, {self}"
        if node.cluster.myself.is_primary:
            if node.saved_epoch[0] is not saved:
                (own,) = [one for one in saved.nodes if one.id == header.sender]
                node.saved_epoch = (saved, own.config_epoch)
            assert node.saved_epoch[1] >= header.config_epoch, f"{node.name} tells its epoch before it is saved, {self}"

    def check_vote(self, node: SimNode, link: int, message: Message) -> None:
        """One vote a voter and epoch, whatever has crashed meanwhile."""
        if not isinstance(message, FailoverAuthAck):
            return
        candidate = node.cluster.member_of_link(link)
        assert candidate is not None
        vote = (node.name, message.header.current_epoch)
        assert vote not in self.votes, f"{node.name} votes twice in epoch {vote[1]}, {self}"
        self.votes[vote] = candidate.id

    def check(self, node: SimNode) -> None:
        """After a node's step: epochs have not gone back, its slot table is of one piece, no slot is owned twice."""
        cluster = node.cluster
        reached = (cluster.current_epoch, cluster.myself.config_epoch)
        assert reached[0] >= node.highest[0], f"current epoch of {node.name} went back, {self}"
        assert reached[1] >= node.highest[1] or cluster.myself.is_replica, f"{node.name}'s epoch went back, {self}"
        node.highest = (max(reached[0], node.highest[0]), max(reached[1], node.highest[1]))
        myself = cluster.myself
        bits = cluster.slotmap.bits(myself.id)
        assert myself.slot_count == bits.bit_count()
        assert not (bits and myself.is_replica), f"replica {node.name} owns slots, {self}"
        claim = (bits, myself.config_epoch)
        if self.checks_owners and self._claims.get(node.name) != claim:
            self._claims[node.name] = claim
            self._check_owners(node)

    def _check_owners(self, node: SimNode) -> None:
        bits, epoch = self._claims[node.name]
        owned = self._owned.setdefault(epoch, {})
        owned[node.name] = owned.get(node.name, 0) | bits
        for name, others in owned.items():
            both = slots_in(owned[node.name] & others) if name != node.name else ()
            assert not both, f"{node.name} and {name} have owned {both[:5]} in epoch {epoch}, {self}"
        for name, (others_bits, others_epoch) in self._claims.items():
            if name != node.name and others_epoch == epoch:
                both = slots_in(bits & others_bits)
                assert not both, f"{node.name} and {name} own {both[:5]} in epoch {epoch}, {self}"

    # Asking -------------------------------------------------------------------------------------------------------

    def all_know(self, nodes: Iterable[SimNode]) -> bool:
        """Whether these nodes know exactly each other, by their real ids, with links both ways."""
        nodes = list(nodes)
        ids = {node.id for node in nodes}
        return all(
            node.cluster.members.keys() == ids
            and not any(member.flags & HANDSHAKE for member in node.cluster.members.values())
            for node in nodes
        )

    def owners_seen(self, node: SimNode) -> tuple[tuple[NodeId, bytes], ...]:
        """Who owns what, as a node sees it."""
        slotmap = node.cluster.slotmap
        return tuple(sorted((owner, slotmap.bitmap(owner)) for owner in slotmap.owners()))

    def agreed(self, nodes: Iterable[SimNode] | None = None) -> bool:
        """Whether running nodes see the same owners, roles and epochs, and the cluster as ok."""
        views = {
            (
                self.owners_seen(node),
                tuple(sorted(
                    (member.id, member.is_primary, node.cluster.shard_head(member).id, member.config_epoch)
                    for member in node.cluster.members.values() if member.is_primary
                )),
                node.cluster.ok,
            )
            for node in (self.running() if nodes is None else nodes)
        }
        return len(views) == 1 and next(iter(views))[2]

    def see(self, node: SimNode, of: SimNode) -> str:
        """How a node sees another: `ok`, `pfail`, `fail` or `unknown`."""
        member = node.cluster.members.get(of.id)
        if member is None:
            return "unknown"
        return "fail" if member.flags & FAIL else "pfail" if member.flags & PFAIL else "ok"

    def all_see(self, of: SimNode, as_what: str) -> bool:
        """Whether every running node but itself sees it so."""
        return all(self.see(node, of) == as_what for node in self.running() if node is not of)
