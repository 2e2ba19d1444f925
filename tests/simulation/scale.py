"""How the bus grows with the cluster: `python -m tests.simulation.scale [--nodes 6,100,300,1000] [--timeout-ms 2000]`.

For each size: what every node sends in a second of health, in messages and in bytes as the codec writes them; what that
costs a node's loop; and how long it takes until a primary is failed everywhere, one that was killed (its connections close)
and one that falls silent (they stay). The machines are the real ones, from their first connection on; the network delivers
everything, after up to 3 ms. One core does it all: 1,000 nodes take ten minutes and 6 GB with
`--settles-ms 100 --watched-ms 500 --no-silent`, more without.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from cluster import events
from gossip.codec import decode, encode
from gossip.messages import Message, Ping
from tests.simulation.network import Faults
from tests.simulation.nodes import TICK_MS, SimNode
from tests.simulation.world import World

SECOND_MS = 1000
SAMPLES = 10
"""So many nodes are looked at closely: what their messages weigh, and what their loops do."""


@dataclass(slots=True)
class Measure:
    """Of one cluster. messages, size, cpu_ms: sent, and spent, a node and second in health. tick_ms: of CPU, the longest.

    killed_ms, silent_ms: from then until all know. wall_s, run_cpu_s: of the whole.
    """

    nodes: int
    timeout_ms: int
    messages: float = 0
    size: float = 0
    entries: float = 0
    cpu_ms: float = 0
    tick_ms: float = 0
    killed_ms: int = 0
    silent_ms: int = 0
    wall_s: float = 0
    run_cpu_s: float = 0


class Meter:
    """One node's bus as `node/bus.py` has it, without sockets: frames are decoded, taken in and answered, on the clock."""

    def __init__(self, node: SimNode) -> None:
        self.messages = self.size = self.entries = self.cpu_ns = self.tick_ns = 0
        self._node = node
        self._step = node.step
        self._encoded: tuple[Message, bytes] | None = None
        node.step = self.step  # type: ignore[method-assign]

    def stop(self) -> None:
        self._node.step = self._step  # type: ignore[method-assign]

    def step(self, event: events.Event) -> None:
        """Instead of the node's own."""
        node = self._node
        if not node.running or node.paused_events is not None:
            return self._step(event)
        frame = encode(event.message) if isinstance(event, events.Received) else None
        now_ms = node.now_ms
        began_ns = time.process_time_ns()
        if isinstance(event, events.Received) and frame is not None:
            event = events.Received(event.link, decode(frame))
        effects = node.cluster.step(event, now_ms)
        for effect in effects:
            if isinstance(effect, events.Send):
                self._encode(effect.message)
        spent_ns = time.process_time_ns() - began_ns
        self.cpu_ns += spent_ns
        if isinstance(event, events.Tick):
            self.tick_ns = max(self.tick_ns, spent_ns)
        node.carry_out(effects, event)

    def _encode(self, message: Message) -> None:
        if self._encoded is None or self._encoded[0] is not message:
            self._encoded = (message, encode(message))
        self.messages += 1
        self.size += len(self._encoded[1])
        self.entries += len(message.gossip) if isinstance(message, Ping) else 0


def cluster(count: int, *, timeout_ms: int, seed: int) -> tuple[World, list[SimNode]]:
    """A cluster of so many nodes, a third of them primaries, all connected, on a network without faults.

    They connect one after the other, each to all at once: who is connected to by a node that it knows asks it nothing then,
    which halves what a thousand nodes have to say to each other.
    """
    world = World(seed, timeout_ms=timeout_ms, checks_owners=False)
    world.network.faultless = True
    usual, world.network.faults = world.network.faults, Faults(delay_ms=(0, 0))
    nodes = world.planned(count, 2 if count >= 9 else 1)
    for node in nodes:
        node.step(events.Tick())
        world.run(0)
    world.network.faults = usual
    world.run(4 * TICK_MS)
    some = nodes[:: max(1, count // SAMPLES)]
    assert world.agreed(some), "the cluster is not of one mind"
    assert all(link.opened for node in some for link in node.cluster.gossip.links.values())
    assert all(len(node.cluster.gossip.links) == 2 * count - 2 for node in some), "somebody is not connected"
    return world, nodes


def measure(
    count: int,
    *,
    timeout_ms: int = 2000,
    seed: int = 1,
    settles_ms: int | None = None,
    watched_ms: int | None = None,
    silent: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> Measure:
    """Let so many nodes be well for a while, then lose a primary, then (silent) another. tell: hears how it goes.

    AssertionError when that is not known everywhere within twice the timeout.
    """
    began, began_cpu = time.monotonic(), time.process_time()
    result = Measure(count, timeout_ms)
    world, nodes = cluster(count, timeout_ms=timeout_ms, seed=seed)
    tell(f"{count} nodes are connected after {time.monotonic() - began:.0f} s, CPU {time.process_time() - began_cpu:.0f} s")
    world.run(timeout_ms if settles_ms is None else settles_ms)
    watched_ms = watched_ms or timeout_ms
    meters = [Meter(node) for node in nodes[:: max(1, count // SAMPLES)]]
    before = sent(nodes)
    world.run(watched_ms)
    seconds = watched_ms / SECOND_MS
    result.messages = (sent(nodes) - before) / count / seconds
    for meter in meters:
        meter.stop()
    seen = max(1, sum(meter.messages for meter in meters))
    result.size = result.messages * sum(meter.size for meter in meters) / seen
    result.entries = sum(meter.entries for meter in meters) / seen
    result.cpu_ms = sum(meter.cpu_ns for meter in meters) / len(meters) / seconds / 1e6
    result.tick_ms = max(meter.tick_ns for meter in meters) / 1e6
    tell(f"in health: {result}")
    nodes[0].kill()
    result.killed_ms = world.run_until(lambda: world.all_see(nodes[0], "fail"), 2 * timeout_ms, "a death known everywhere")
    tell(f"killed: {result.killed_ms} ms, CPU {time.process_time() - began_cpu:.0f} s")
    if silent and count >= 9:
        nodes[1].pause()
        result.silent_ms = world.run_until(lambda: world.all_see(nodes[1], "fail"), 2 * timeout_ms, "silence seen by all")
    result.wall_s = time.monotonic() - began
    result.run_cpu_s = time.process_time() - began_cpu
    World.made.remove(world)
    return result


def sent(nodes: Sequence[SimNode]) -> int:
    """How many messages these nodes have sent."""
    return sum(sum(node.cluster.out.sent.values()) for node in nodes)


def _bytes(size: float) -> str:
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.2f} MB"


@click.command(help=__doc__)
@click.option("--nodes", default="6,30,100,300,1000", show_default=True)
@click.option("--timeout-ms", default=2000, show_default=True)
@click.option("--settles-ms", type=int, help="How long to wait before that, after all have connected; one timeout.")
@click.option("--watched-ms", type=int, help="For how long of health messages are counted; by default one timeout.")
@click.option("--silent/--no-silent", default=True, show_default=True, help="Also let one fall silent.")
@click.option("--seed", default=1, show_default=True)
def main(
    nodes: str, timeout_ms: int, settles_ms: int | None, watched_ms: int | None, silent: bool, seed: int
) -> None:
    gc.disable()  # Millions of objects that stay: looking through them again and again takes longer than all the rest.
    table = Table(title=f"The bus, node timeout {timeout_ms} ms")
    for head in (
        "nodes", "messages a node and s", "bytes a node and s", "entries a message", "CPU a node and s", "longest tick",
        "killed: failed everywhere", "silent: failed everywhere", "took",
    ):
        table.add_column(head, justify="right")
    console = Console()
    for count in (int(one) for one in nodes.split(",")):
        gc.collect()
        one = measure(
            count, timeout_ms=timeout_ms, settles_ms=settles_ms, watched_ms=watched_ms, seed=seed, silent=silent,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        )
        table.add_row(
            str(count), f"{one.messages:.1f}", _bytes(one.size), f"{one.entries:.1f}", f"{one.cpu_ms:.1f} ms",
            f"{one.tick_ms:.1f} ms", f"{one.killed_ms} ms", f"{one.silent_ms} ms" if one.silent_ms else "",
            f"{one.wall_s:.0f} s, CPU {one.run_cpu_s:.0f} s",
        )
    console.print(table)


if __name__ == "__main__":
    main()
