"""Nodes that replicate each other in simulated time, over pipes that deliver a few bytes at a time and can be cut.

world = World(seed=1)
primary, replica = world.node(7000), world.node(7001)
replica.run("REPLICAOF", "127.0.0.1", 7000)
world.settle()
assert replica.content() == primary.content()
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster.views import LinkView
from node import resp
from node.client import Client, Unusual
from node.config import Config
from node.errors import CommandError
from node.gate import Deferred
from node.persistence.encodings import MODULE_CLASSES
from node.persistence.loading import LoadError, Loading
from node.persistence.payload import dump
from node.protocol import RequestParser
from node.replication.following import Following
from node.state import Node
from node.transit import Shipment
from node.types.hash import Hash
from node.types.set import Set
from tests.commands.harness import START_MS, encoded

TICK_MS = 100


def plain(value: Any) -> Any:
    """A value in a form that compares by what a client sees."""
    if isinstance(value, Hash):
        return dict(value.lookup()), value.deadlines and value.deadlines.by_field
    if isinstance(value, Set):
        return set(value.members())
    if type(value) in MODULE_CLASSES:
        return dump(value)
    return b"%d" % value if isinstance(value, int) else bytes(value)


class Wire:
    """One connection of a replica to a primary. Bytes wait in `up` and `down` until the world delivers them."""

    def __init__(self, world: World, replica: Member, primary: Member) -> None:
        self.world = world
        self.replica = replica
        self.primary = primary
        self.up = bytearray()
        self.down = bytearray()
        self.seen = bytearray()
        """All bytes that have reached the replica."""
        self.cut_after: int | None = None
        """Cut when this many bytes have reached the replica."""
        self.open = True
        self.busy = False
        self.client = primary.node.new_client()
        self.client.ip = "127.0.0.1"
        self.client.send = self._send_down
        self.client.close = self.close_by_primary
        self.parser = RequestParser(limited=not self.client.authenticated)
        following = replica.node.replication.following
        assert following is not None
        self.following = following
        following.connected_to(self._send_up, self.close_by_replica)

    def _send_down(self, data: bytes) -> None:
        if self.open:
            self.down += data
            self.client.output_bytes = len(self.down)

    def _send_up(self, data: bytes) -> None:
        if self.open:
            self.up += data

    def deliver(self, size: int) -> None:
        """Move up to `size` bytes in each direction."""
        if up := bytes(self.up[:size]):
            del self.up[:size]
            self._to_primary(up)
        if self.busy:
            self.busy = self.open and self.following.apply()
            return
        if self.cut_after is not None:
            size = min(size, self.cut_after - len(self.seen))
        if self.open and (down := bytes(self.down[:size])):
            del self.down[:size]
            self.client.output_bytes = len(self.down)
            self.seen += down
            self.busy = self.following.received(down)
        if self.open and self.cut_after is not None and len(self.seen) >= self.cut_after:
            self.cut()

    def _to_primary(self, data: bytes) -> None:
        self.parser.limited = not self.client.authenticated
        requests = self.parser.feed(data)
        while requests:
            for request in requests:
                reply = self.primary.node.run(self.client, request)
                self._send_down(self.client.encode(reply))
            self.parser.limited = not self.client.authenticated
            requests = self.parser.feed(b"") if self.parser.more else []
        self.primary.node.replication.flush()

    def cut(self) -> None:
        """The network breaks: both ends hear of it, what was on its way is lost."""
        if self.open:
            self._end()
            self._tell_primary()
            self.following.lost("cut")
            self.world.reconnect(self.replica, self.following)

    def broken(self) -> None:
        """One of the processes is no more: the other end hears of it, if it is there."""
        if self.open:
            self._end()
            self._tell_primary()
            if self.replica.node.replication.following is self.following:
                self.following.lost("reset")
                self.world.reconnect(self.replica, self.following)

    def close_by_primary(self) -> None:
        """The primary closes: the replica hears of it in the next turn."""
        if self.open:
            self._end()
            self.world.later(0, self._tell_primary)
            self.world.later(0, lambda: self._tell_replica())

    def close_by_replica(self) -> None:
        """The replica closes: its side knows at once."""
        if self.open:
            self._end()
            self.following.lost()
            self.world.later(0, self._tell_primary)
            self.world.reconnect(self.replica, self.following)

    def _tell_replica(self) -> None:
        self.following.lost("closed by the primary")
        self.world.reconnect(self.replica, self.following)

    def _tell_primary(self) -> None:
        self.primary.node.replication.client_gone(self.client)
        self.primary.node.forget_client(self.client)

    def _end(self) -> None:
        self.open = False
        self.up.clear()
        self.down.clear()
        self.world.wires.remove(self)


class Member:
    """A node in the world; implements `NodeIO` for it."""

    def __init__(self, world: World, port: int, settings: dict[str, str]) -> None:
        config = Config()
        config.load("port", [str(port)])
        config.load("save", [""])
        config.set_many(settings)
        self.world = world
        self.port = port
        self.settings = settings
        self.resumed = 0
        """How often postponed requests were let go on."""
        self.node = Node(config, self, random.Random(world.random.getrandbits(32)), world.now_ms)
        self.client = self.node.new_client()

    # NodeIO

    def carry_out(self, effects: Sequence[Any]) -> None:
        raise AssertionError("no cluster here")

    def follow(self, host: str, port: int) -> None:
        following = self.node.replication.following
        assert following is not None
        self.world.later(0, lambda: self.world.connect(self, following))

    def stop_following(self) -> None:
        pass

    def free_later(self, dropped: list[Any]) -> None:
        dropped.clear()

    def shut_down(self, restart: bool = False, exit_status: int = 0) -> None:
        raise AssertionError("not asked for")

    def resume_clients(self) -> None:
        self.resumed += 1

    def link_views(self) -> list[LinkView]:
        return []

    def clock_ms(self) -> int:
        return self.world.now_ms

    def steady_ms(self) -> int:
        return self.world.now_ms

    def ticks_ns(self) -> int:
        return self.world.now_ms * 1_000_000

    def ship(self, shipment: Shipment) -> None:
        raise AssertionError("nothing is moved here")

    def call_later(self, delay_ms: int, action: Callable[[], None]) -> None:
        self.world.later(delay_ms, action)

    # For tests

    def save(self, file: Path) -> None:
        """What BGSAVE would write now."""
        walk = self.node.saving._walk()
        data = b""
        while not walk.finished:
            data += walk.step(1 << 14, 1 << 20)
        file.write_bytes(data)

    def run(self, *args: object, client: Client | None = None) -> resp.Reply:
        """One request as a chunk of its own. CommandError for an error reply."""
        reply = self.node.executor.execute(client or self.client, [encoded(arg) for arg in args])
        self.node.replication.flush()
        return reply

    def error(self, *args: object) -> str:
        """The text of the error that this request gives."""
        try:
            reply = self.run(*args)
        except CommandError as error:
            return error.text
        raise AssertionError(f"{args} should have failed, but answered {reply!r}")

    def waiting(self, *args: object) -> Deferred:
        """A request whose reply comes later."""
        reply = self.run(*args)
        assert isinstance(reply, Deferred)
        return reply

    def content(self) -> dict[tuple[int, bytes], tuple[Any, int | None]]:
        """Everything in the databases."""
        return {
            (database.index, key): (plain(value), database.expires.get(key))
            for database in self.node.databases
            for keys in database.slots
            for key, value in keys.items()
        }

    def info(self, field: str) -> str | int:
        """One field of INFO replication."""
        return self.node.replication.info()[field]


class World:
    """Clock, timers and pipes. `chunk`: how many bytes a delivery moves at most."""

    def __init__(self, seed: int = 1, chunk: int = 1 << 16) -> None:
        self.random = random.Random(seed)
        self.chunk = chunk
        self.now_ms = START_MS
        self.members: dict[int, Member] = {}
        self.wires: list[Wire] = []
        self.connections = 0
        self.unreachable: set[int] = set()
        self.on_connect: Callable[[Wire], None] = lambda wire: None
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._ticked_ms = START_MS

    def node(self, port: int, **settings: str) -> Member:
        """A new node; settings with underscores."""
        named = {name.replace("_", "-"): value for name, value in settings.items()}
        member = self.members[port] = Member(self, port, named)
        return member

    def restart(self, member: Member, file: Path, begun: Callable[[Member], None]) -> Member:
        """This node's process ends, at once for everybody; another begins in its place with the data of the file.

        begun: called when it knows how far its data is, before anybody can ask it.
        """
        following = member.node.replication.following
        for wire in [one for one in self.wires if member in (one.replica, one.primary)]:
            wire.broken()
        member.node.replication.following = None
        again = self.members[member.port] = Member(self, member.port, member.settings)
        if following is not None:
            again.node.mark(Unusual.LOADING, True)
            again.node.replication.follow(following.host, following.port)
        ended: list[LoadError | None] = []
        loading = Loading(again.node, file, ended.append)
        loading.look()
        begun(again)
        loading.begin()
        self.until(lambda: bool(ended))
        assert ended == [None]
        again.node.replication.loaded()
        return again

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (self.now_ms + delay_ms, self._count, action))

    def connect(self, replica: Member, following: Following) -> None:
        """An attempt to connect, for as long as the replica still follows that primary."""
        if replica.node.replication.following is not following:
            return
        following.connecting()
        if following.port in self.unreachable or following.port not in self.members:
            following.lost()
            self.reconnect(replica, following)
            return
        self.connections += 1
        wire = Wire(self, replica, self.members[following.port])
        self.wires.append(wire)
        self.on_connect(wire)

    def reconnect(self, replica: Member, following: Following) -> None:
        if replica.node.replication.following is following:
            self.later(following.retry_ms, lambda: self.connect(replica, following))

    def step(self) -> None:
        """One millisecond: timers that are due, a delivery on each wire, ten ticks a second."""
        self.now_ms += 1
        for member in self.members.values():
            member.node.set_time(self.now_ms)
        due = []
        while self._timers and self._timers[0][0] <= self.now_ms:
            due.append(heapq.heappop(self._timers)[2])
        for action in due:
            action()
        for wire in list(self.wires):
            if wire.open:
                wire.deliver(self.random.randint(1, self.chunk))
        if self.now_ms - self._ticked_ms >= TICK_MS:
            self._ticked_ms = self.now_ms
            for member in self.members.values():
                member.node.gate.tick(self.now_ms)
                member.node.replication.tick(self.now_ms)

    def advance(self, ms: int) -> None:
        for _ in range(ms):
            self.step()

    def until(self, holds: Callable[[], bool], limit_ms: int = 200_000) -> None:
        """Let time pass until `holds()`; AssertionError when it does not come to that."""
        for _ in range(limit_ms):
            if holds():
                return
            self.step()
        raise AssertionError("it did not come to that in time")

    def settle(self, limit_ms: int = 200_000) -> None:
        """Until every replica is connected and has applied all that its primary has."""
        self.until(self._settled, limit_ms)

    def _settled(self) -> bool:
        for member in self.members.values():
            replication = member.node.replication
            following = replication.following
            if following is None:
                continue
            primary = self.members[following.port].node.replication
            if not following.connected or (replication.id, replication.offset) != (primary.id, primary.offset):
                return False
        return True


def pair(world: World, **settings: str) -> tuple[Member, Member]:
    """A primary with some data, and a node that is about to follow it."""
    primary, replica = world.node(7000, **settings), world.node(7001)
    for number in range(50):
        primary.run("SET", f"key:{number}", f"value:{number}")
        primary.run("HSET", f"hash:{number}", "field", number)
    return primary, replica


def follow(replica: Member, port: int) -> None:
    assert replica.run("REPLICAOF", "127.0.0.1", port) == resp.OK
