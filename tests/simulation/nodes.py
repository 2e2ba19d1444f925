"""Simulated nodes: each runs a real `Cluster`, with a disk that keeps what was persisted and nothing else.

Their data is a list of writes, gone with the process unless it is durable; a replica copies its primary's at every tick, as
far as the network lets it. The length of the list is the replication offset. A host has clocks of its own: one on the wall,
which may differ from the world's and is set at times, and one that only goes forwards, from what the wall showed when the
process began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

from cluster import events
from cluster.failover import DataLink
from cluster.machine import Cluster
from cluster.nodes_conf import format_nodes_conf, parse_nodes_conf
from cluster.settings import ClusterSettings
from cluster.state import SavedState
from gossip.codec import decode, encode
from gossip.ids import NodeId
from gossip.messages import LightPublish, Message, Ping
from tests.simulation.network import Connection, End

if TYPE_CHECKING:
    from tests.simulation.world import World

TICK_MS = 100


class Replies:
    """Those that wait behind their writes until it is known that their node is not cut off (`gate.Held`)."""

    def __init__(self, answer: Callable[[int, bool], None]) -> None:
        self.values: list[int] = []
        self._answer = answer

    def released(self, kept: bool) -> None:
        values, self.values = self.values, []
        for value in values:
            self._answer(value, kept)


class SimNode:
    """One host. name: its name in tests; ip may change at a restart. saved: what is on its disk.

    durable: its data survives the process, with the name of the shard whose it is; load_ms: how long it takes to load it.
    lag: how many writes a replica stays behind. plain: as Redis, it knows nothing of primaries that come back empty.
    unwilling: a replica that calls its data too old, of which it tells nobody.
    """

    def __init__(self, world: World, name: str, ip: str, settings: ClusterSettings) -> None:
        self.world = world
        self.name = name
        self.ip = ip
        self.settings = settings
        self.random = Random(f"{world.seed} {name}")
        self.saved: SavedState | None = None
        self.synced: SavedState | None = None
        """What is left of that when the power fails."""
        self.saved_epoch: tuple[SavedState | None, int] = (None, 0)
        """The node's own config epoch in what it saved: looked for once."""
        self.running = False
        self.paused_events: list[events.Event] | None = None
        self.ends: dict[int, tuple[Connection, End]] = {}
        self.life = 0
        """Counts starts, so that what was meant for an earlier life is not done in this one."""
        self.lost_slots: set[int] = set()
        self.following: tuple[NodeId | None, str] = (None, "")
        self.delivered: list[bytes] = []
        self.logs: list[str] = []
        self.highest = (0, 0)
        self.writes: list[int] = []
        self.file_shard = ""
        self.file_ms = 0
        self.durable = False
        self.load_ms = 0
        self.loaded_ms = 0
        self.lag = 0
        self.plain = False
        self.unwilling = False
        self.link_heard_ms: int | None = None
        self.paused_writes = False
        self.wall_offset_ms = 0
        """By how much the clock on the wall differs from the world's."""
        self.clock_offset_ms = 0
        self.clock_ppm = 0
        """By so many millionths the host's clocks go too fast."""
        self.cluster = Cluster(settings, self.random, now_ms=world.now_ms)

    @property
    def id(self) -> NodeId:
        return self.cluster.myself.id

    @property
    def now_ms(self) -> int:
        """By the clock that only goes forwards."""
        now_ms = self.world.now_ms + self.clock_offset_ms
        return now_ms if not self.clock_ppm else now_ms + self.world.age_ms * self.clock_ppm // 1_000_000

    # Life ---------------------------------------------------------------------------------------------------------

    def start(self, saved: SavedState | None = None) -> None:
        """Begin, or begin again: from a given state, else from the disk, else as a new node."""
        self.clock_offset_ms = self.wall_offset_ms
        now_ms = self.now_ms
        if saved is None and self.saved is not None:
            saved = parse_nodes_conf(format_nodes_conf(self.saved))
        if saved is not None:
            self.cluster = Cluster.from_saved(saved, self.settings, self.random, now_ms=now_ms)
            self.saved = self.synced = saved
        self.running = True
        self.loaded_ms = now_ms
        self.link_heard_ms = None
        if self.durable and self.writes:
            self._load(now_ms)
        else:
            self.writes = []
        self.paused_writes = False
        self.life += 1
        self.world.clock.after(self.random.randrange(TICK_MS), self._ticking(self.life))

    def _load(self, now_ms: int) -> None:
        self.loaded_ms = now_ms + self.load_ms
        self.cluster.loading = self.load_ms > 0
        self.cluster.data_loaded(self.file_shard, len(self.writes))
        self.link_heard_ms = now_ms - (self.world.now_ms - self.file_ms)

    def kill(self) -> None:
        """End at once: peers see their connections close."""
        self.file_shard, self.file_ms = self.cluster.shard, self.world.now_ms
        self.running = False
        self.paused_events = None
        for connection, end in list(self.ends.values()):
            self.world.close(connection, end)
        self.ends.clear()

    def pause(self) -> None:
        """Stand still; what comes in waits."""
        self.paused_events = []

    def resume(self) -> None:
        """Go on, first with what has waited."""
        waiting, self.paused_events = self.paused_events or [], None
        for event in waiting:
            self.step(event)

    def _ticking(self, life: int) -> Callable[[], None]:
        def tick() -> None:
            if self.running and self.life == life:
                if self.paused_events is None:
                    self._tell_data()
                    self.step(events.Tick())
                self.world.clock.after(TICK_MS, tick)

        return tick

    # Data ---------------------------------------------------------------------------------------------------------

    def write(self, slot: int, value: int) -> bool:
        """A client's write; whether it was taken."""
        if not self.running or self.paused_events is not None or self.paused_writes or not self.cluster.served[slot]:
            return False
        self.writes.append(value)
        return True

    def wrote(self) -> None:
        """Writes were done whose replies are about to leave: the machine is told."""
        self.cluster.stream_end = len(self.writes)
        self.carry_out(self.cluster.wrote(self.now_ms))

    def check_lease(self) -> None:
        """Somebody stands before the guard."""
        self.cluster.stream_end = len(self.writes)
        self.carry_out(self.cluster.check_lease(self.now_ms))

    def _ask_replicas(self) -> None:
        """REPLCONF GETACK, in the stream: it comes behind all that was written, and the answers come as they can."""
        self.cluster.stream_end = len(self.writes)
        self.cluster.replicas_asked()
        for node in self.world.nodes:
            if node.following == (self.id, self.ip):
                self.world.clock.after(self.world.network.delay_ms(), self._question_to(node, node.life, self.life))

    def _question_to(self, replica: SimNode, its_life: int, life: int) -> Callable[[], None]:
        connects = self.world.network.connects

        def answer() -> None:
            if self.running and self.life == life and self.paused_events is None and connects(self.name, replica.name):
                self.cluster.stream_end = len(self.writes)
                effects = self.cluster.acknowledged(replica.ip, self.settings.port, len(replica.writes), self.now_ms)
                self.carry_out(effects)

        def arrive() -> None:
            if replica.running and replica.life == its_life and replica.paused_events is None and replica.replicate():
                self.world.clock.after(self.world.network.delay_ms(), answer)

        return arrive

    def replicate(self) -> bool:
        """A replica copies what its primary has; whether the link is up."""
        if self.cluster.loading:
            return False
        node, ip = self.following
        primary = self.world.host_at(ip)
        if primary is None or primary.id != node or not primary.running or primary.paused_events is not None:
            return False
        if not self.world.network.connects(self.name, primary.name):
            return False
        theirs = primary.writes
        if theirs[: len(self.writes)] == self.writes:
            self.writes = theirs[: max(len(self.writes), len(theirs) - self.lag)]
            return True
        if primary.cluster.defers_sync(len(self.writes)):
            return False
        if not self.plain and not self.cluster.accepts_history(len(theirs)):
            self.carry_out(self.cluster.primary_has_less(self.now_ms))
            return False
        self.writes = list(theirs)
        return True

    def _tell_data(self) -> None:
        """What the bus tells the machine ten times a second."""
        self.cluster.loading = self.now_ms < self.loaded_ms
        self.cluster.gossip.wall_ahead_ms = self.wall_offset_ms - self.clock_offset_ms
        if self.plain:
            self.cluster.comeback.over = True
        data_link = None
        if self.following[0] is not None:
            connected = self.replicate()
            if connected:
                self.link_heard_ms = self.now_ms
            data_link = DataLink(connected, None if self.unwilling else self.link_heard_ms)
        if self.running:
            self.carry_out(self.cluster.set_offset(len(self.writes), self.now_ms, data_link))

    def _pause_writes(self) -> None:
        self.paused_writes = True
        life = self.life

        def tell() -> None:
            if self.life == life and self.running:
                self.carry_out(self.cluster.writes_paused(len(self.writes), self.now_ms))

        self.world.clock.after(0, tell)

    # Steps --------------------------------------------------------------------------------------------------------

    def step(self, event: events.Event) -> None:
        """Feed the core one event and do what it says."""
        if not self.running:
            return
        if self.paused_events is not None:
            self.paused_events.append(event)
            return
        self.cluster.stream_end = len(self.writes)
        self.carry_out(self.cluster.step(event, self.now_ms), event)

    def carry_out(self, effects: Sequence[events.Effect], cause: events.Event | None = None) -> None:
        """Do what the core decided, in order. cause: None for an order."""
        if self.world.watch is not None:
            self.world.watch(self, cause, effects)
        for effect in effects:
            self._carry_out(effect)
        self.world.check(self)

    def disconnected(self, end: End) -> None:
        """One of this host's connections is gone."""
        found = self.ends.get(end.link)
        if found is not None and found[1] is end:
            del self.ends[end.link]
            self.step(events.LinkClosed(end.link))

    def _carry_out(self, effect: events.Effect) -> None:
        match effect:
            case events.Send():
                self._send(effect.link, effect.message)
            case events.Connect():
                self.world.connect(self, effect)
            case events.Close():
                found = self.ends.pop(effect.link, None)
                if found is not None:
                    self.world.close(*found)
            case events.Persist():
                self.saved = self.cluster.saved_state()
                self.synced = self.saved if effect.lasting else self.synced
            case events.RoleChanged():
                self.following = (effect.primary, effect.address.ip if effect.address else "")
            case events.PauseWrites():
                self._pause_writes()
            case events.AskReplicas():
                self._ask_replicas()
            case events.ResumeWrites():
                self.paused_writes = False
            case events.SlotsLost():
                self.lost_slots.update(effect.slots)
            case events.Deliver():
                self.delivered.append(effect.message)
            case events.Log():
                self.logs.append(effect.text)

    def _send(self, link: int, message: Message) -> None:
        self.world.check_persisted(self, message)
        self.world.check_vote(self, link, message)
        found = self.ends.get(link)
        if found is None:
            self.world.waiting.setdefault((self.name, link), []).append(message)
            return
        connection, end = found
        if self.world.on_the_wire and not isinstance(message, LightPublish):
            message = decode(encode(message))
        self.world.network.carry(
            connection,
            end,
            lambda target: target.host.step(events.Received(target.link, message)),
            may_repeat=not isinstance(message, Ping),
        )
