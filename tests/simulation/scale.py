"""How the bus grows with the cluster: `python -m tests.simulation.scale [--nodes 6,100,300,1000] [--timeout-ms 2000]`.

For each size: what every node sends in a second of health, in messages and in bytes as the codec would write them, and how
long it takes until a killed primary is failed everywhere. One core does it all, so 1,000 nodes take some minutes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from cluster import events
from gossip.codec import encode
from gossip.messages import LightPublish, Message, Ping
from tests.simulation.nodes import SimNode
from tests.simulation.world import World

SECOND_MS = 1000


@dataclass(slots=True)
class Measure:
    """Of one cluster. messages, size: sent a node and second in health. failed_ms: from the kill until all know."""

    nodes: int
    timeout_ms: int
    messages: float = 0
    size: float = 0
    entries: float = 0
    failed_ms: int = 0
    wall_s: float = 0


class Meter:
    """Counts what the nodes of a world send. A message's size is that of the first of its kind and length."""

    def __init__(self, world: World) -> None:
        self.messages = self.size = self.entries = 0
        self._sizes: dict[tuple[type, int, bool], int] = {}
        world.watch = self.see

    def see(self, node: SimNode, cause: events.Event | None, effects: Sequence[events.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, events.Send):
                message = effect.message
                self.messages += 1
                self.size += self._size(message)
                if isinstance(message, Ping):
                    self.entries += len(message.gossip)

    def _size(self, message: Message) -> int:
        if not isinstance(message, Ping):
            return len(encode(message)) if not isinstance(message, LightPublish) else 0
        key = (type(message), len(message.gossip), message.extensions.shard_id is not None)
        size = self._sizes.get(key)
        if size is None:
            size = self._sizes[key] = len(encode(message))
        return size


def measure(
    count: int, *, timeout_ms: int = 2000, seed: int = 1, settles_ms: int | None = None, watched_ms: int | None = None
) -> Measure:
    """Let so many nodes, a third of them primaries, be well for a while and then lose one primary.

    AssertionError when that is not known everywhere within twice the timeout.
    """
    began = time.monotonic()
    result = Measure(count, timeout_ms)
    world = World(seed, timeout_ms=timeout_ms, checks_owners=False)
    nodes = world.planned(count, 2 if count >= 9 else 1)
    world.run(timeout_ms if settles_ms is None else settles_ms)
    watched_ms = watched_ms or timeout_ms
    meter = Meter(world)
    world.run(watched_ms)
    world.watch = None
    seconds = watched_ms / SECOND_MS
    result.messages = meter.messages / count / seconds
    result.size = meter.size / count / seconds
    result.entries = meter.entries / max(1, meter.messages)
    victim = nodes[0]
    victim.kill()
    result.failed_ms = world.run_until(lambda: world.all_see(victim, "fail"), 2 * timeout_ms, "a failure known everywhere")
    result.wall_s = time.monotonic() - began
    World.made.remove(world)
    return result


def _bytes(size: float) -> str:
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.2f} MB"


@click.command(help=__doc__)
@click.option("--nodes", default="6,30,100,300,1000", show_default=True)
@click.option("--timeout-ms", default=2000, show_default=True)
@click.option("--settles-ms", type=int, help="How long to wait before that, after all have connected; one timeout.")
@click.option("--watched-ms", type=int, help="For how long of health messages are counted; by default one timeout.")
def main(nodes: str, timeout_ms: int, settles_ms: int | None, watched_ms: int | None) -> None:
    gc.disable()  # Millions of objects that stay: looking through them again and again takes longer than all the rest.
    table = Table(title=f"The bus, node timeout {timeout_ms} ms")
    for head in ("nodes", "messages a node and s", "bytes a node and s", "entries a ping", "failed everywhere", "took"):
        table.add_column(head, justify="right")
    console = Console()
    for count in (int(one) for one in nodes.split(",")):
        gc.collect()
        one = measure(count, timeout_ms=timeout_ms, settles_ms=settles_ms, watched_ms=watched_ms)
        console.print(one)
        table.add_row(
            str(count), f"{one.messages:.1f}", _bytes(one.size), f"{one.entries:.0f}", f"{one.failed_ms} ms",
            f"{one.wall_s:.0f} s",
        )
    console.print(table)


if __name__ == "__main__":
    main()
