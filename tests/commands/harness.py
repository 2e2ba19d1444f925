"""Commands in process: no socket, no sleep.

    redis = Harness()
    redis.run("SET", "k", "v", "PX", 20)
    redis.advance(21)
    assert redis.run("GET", "k") is None

`Harness(clustered=True)` is a cluster of one node that owns all slots; `Harness(cluster=...)` takes another machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from cluster.events import Tick
from cluster.machine import Cluster
from cluster.settings import ClusterSettings
from cluster.views import LinkView
from gossip.messages import SLOT_COUNT
from node import resp
from node.client import Client
from node.config import Config
from node.errors import CommandError
from node.keyspace import Database
from node.state import Node
from node.transit import Shipment
from node.types.json import Json

START_MS = 1_700_000_000_000


class RecordingIO:
    """Stands for the process around the node: notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.ticks = 0
        self.clock: Callable[[], int] = lambda: START_MS

    def carry_out(self, effects: Sequence[Any]) -> None:
        self.asked += [("carry_out", effect) for effect in effects]

    def follow(self, host: str, port: int) -> None:
        self.asked.append(("follow", host, port))

    def stop_following(self) -> None:
        self.asked.append(("stop_following",))

    def free_later(self, dropped: list[Any]) -> None:
        self.asked.append(("free_later", sum(1 if isinstance(one, Json) else len(one) for one in dropped)))

    def shut_down(self, restart: bool = False, exit_status: int = 0) -> None:
        self.asked.append(("shut_down", restart))

    def resume_clients(self) -> None:
        self.asked.append(("resume_clients",))

    def ship(self, shipment: Shipment) -> None:
        self.asked.append(("ship", shipment))

    def link_views(self) -> list[LinkView]:
        return []

    def clock_ms(self) -> int:
        return 0

    def steady_ms(self) -> int:
        return self.clock()

    def ticks_ns(self) -> int:
        self.ticks += 5000
        return self.ticks

    def call_later(self, delay_ms: int, action: Callable[[], None]) -> None:
        self.asked.append(("call_later", delay_ms))


CLUSTER_SETTINGS = ClusterSettings(port=7000, bus_port=17000, announce_ip="127.0.0.1")
_BEFORE_MS = 10_000
"""A cluster that has just got its slots waits up to 5 s before it calls itself ok: it got them this long ago."""


def lone_cluster(seed: int = 1) -> Cluster:
    """The machine of a cluster of one node that owns all slots, in state ok."""
    cluster = Cluster(CLUSTER_SETTINGS, random.Random(seed), now_ms=START_MS - _BEFORE_MS)
    cluster.operations.add_slots(range(SLOT_COUNT), START_MS - _BEFORE_MS)
    cluster.step(Tick(), START_MS)
    assert cluster.ok
    return cluster


class RecordingObserver:
    """Hears of changes: append it to `node.observers`. seen: (event, key) in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []

    def changed(self, database: Database, event: str, key: bytes) -> None:
        self.seen.append((event, key))

    def replaced(self, database: Database, by: Database | None) -> None:
        self.seen.append(("replaced", b""))


def encoded(arg: object) -> bytes:
    """An argument as bytes: str as UTF-8, numbers in decimal."""
    return arg if isinstance(arg, bytes) else str(arg).encode()


def decoded(reply: resp.Reply) -> resp.Reply:
    """What a reply says that is a map in other words, or kept for the next one who asks."""
    if isinstance(reply, resp.Kept) and not isinstance(reply.value, resp.FlatMap):
        return reply.value
    reader = hiredis.Reader()
    reader.feed(resp.encode3(reply))
    return reader.gets()


class Harness:
    """One node and one client of it. `io.asked` lists what the node asked of the process around it."""

    def __init__(
        self,
        *,
        seed: int = 1,
        settings: dict[str, str] | None = None,
        clustered: bool = False,
        cluster: Cluster | None = None,
    ) -> None:
        config = Config()
        if clustered and cluster is None:
            cluster = lone_cluster(seed)
        if cluster is not None:
            config.load("cluster-enabled", ["yes"])
        for name, value in (settings or {}).items():
            config.load(name, [value])
        self.io = RecordingIO()
        self.node = Node(config, self.io, random.Random(seed), START_MS, cluster=cluster)
        self.io.clock = lambda: self.node.now_ms
        self.client = self.node.new_client()

    def run(self, *args: object) -> resp.Reply:
        """The reply as the handler's Python value; an error reply is raised as CommandError."""
        reply = self.node.executor.execute(self.client, [encoded(arg) for arg in args])
        return decoded(reply) if isinstance(reply, (resp.Kept, resp.FlatMap)) else reply

    def error(self, *args: object) -> str:
        """The text of the error that this request gives; AssertionError when it gives none."""
        try:
            reply = self.run(*args)
        except CommandError as error:
            return error.text
        raise AssertionError(f"{args} should have failed, but answered {reply!r}")

    def wire(self, *args: object, protocol: int = 2) -> bytes:
        """The reply as bytes in RESP2 or RESP3."""
        value = self.node.run(self.client, [encoded(arg) for arg in args])
        return resp.encode3(value) if protocol == 3 else resp.encode2(value)

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.node.set_time(self.node.now_ms + ms)
        self.node.blocking.tick(self.node.now_ms)

    def connect(self) -> Client:
        """One more client."""
        return self.node.new_client()
