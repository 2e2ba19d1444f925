"""Stories that a person can read and review: whoever changes what nodes say to each other changes these files.

HASHSLOT_WRITE_TRANSCRIPTS=1 writes them anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gossip.messages import SLOT_COUNT
from tests.gossip.transcript import Transcript
from tests.simulation.network import Faults
from tests.simulation.world import BUS_PORT, PORT, World

FOLDER = Path(__file__).parent / "transcripts"


def _world(seed: int) -> World:
    world = World(seed)
    world.disturb(Faults(delay_ms=(1, 1)))
    return world


def handshake() -> Transcript:
    """A meets B, neither knows anybody else."""
    world = _world(1)
    nodes = world.new_nodes(2)
    story = Transcript(world, "AB")
    story.say("A and B are alone; A is told to meet B")
    nodes[0].carry_out(nodes[0].cluster.operations.meet(nodes[1].ip, PORT, BUS_PORT, world.now_ms))
    world.run_until(lambda: world.all_know(nodes), 2000)
    story.say("both know each other")
    return story


def introduction() -> Transcript:
    """A knows B; C meets B; A and C come to know each other by gossip."""
    world = _world(2)
    a, b, c = nodes = world.new_nodes(3)
    story = Transcript(world, "ABC")
    story.muted = True
    world.meet([b, a])
    world.run(1500)
    story.muted = False
    story.say("A and B know each other; C is told to meet B")
    c.carry_out(c.cluster.operations.meet(b.ip, PORT, BUS_PORT, world.now_ms))
    world.run_until(lambda: world.all_know(nodes), 4000)
    story.say("everyone knows everyone")
    return story


def nobody_there() -> Transcript:
    """A meets a host that is down."""
    world = _world(3)
    a = world.add()
    world.add()
    a.start()
    story = Transcript(world, "AB")
    story.say("B is down; A is told to meet it")
    a.carry_out(a.cluster.operations.meet(world.nodes[1].ip, PORT, BUS_PORT, world.now_ms))
    world.run(400)
    story.say("and so on, until the handshake has lived for the node timeout")
    story.muted = True
    world.run(1500)
    story.muted = False
    world.run(400)
    assert len(a.cluster.members) == 1
    story.say("A is alone again")
    return story


def collision() -> Transcript:
    """Two primaries of one config epoch meet."""
    world = _world(4)
    nodes = world.new_nodes(2)
    nodes[0].carry_out(nodes[0].cluster.operations.add_slots(range(8192), world.now_ms))
    nodes[1].carry_out(nodes[1].cluster.operations.add_slots(range(8192, SLOT_COUNT), world.now_ms))
    story = Transcript(world, "AB")
    story.say(f"A and B have the config epoch 0; {'A' if nodes[0].id < nodes[1].id else 'B'} has the smaller id")
    nodes[0].carry_out(nodes[0].cluster.operations.meet(nodes[1].ip, PORT, BUS_PORT, world.now_ms))
    world.run_until(world.agreed, 3000)
    story.say("they have different ones")
    return story


def failure() -> Transcript:
    """One of four primaries dies and comes back. Pings and attempts to connect are left out."""
    world = _world(5)
    nodes = world.planned(4, 0)
    story = Transcript(world, "ABCD", quiet=True)
    story.muted = True
    world.run(3000)
    story.muted = False
    story.say("A, B, C and D own a quarter of the slots each; the node timeout is 2000 ms; D dies")
    nodes[3].kill()
    world.run_until(lambda: world.all_see(nodes[3], "fail"), 6000)
    story.say("everyone calls D failed")
    story.muted = True
    world.run(2000)
    story.muted = False
    story.say("two seconds later D comes back, under the same address")
    nodes[3].start()
    world.run_until(lambda: world.all_see(nodes[3], "ok") and world.agreed(), 8000)
    story.say("all is well")
    return story


@pytest.mark.parametrize("story", [handshake, introduction, nobody_there, collision, failure])
def test_the_story_is_told_as_before(story: Callable[[], Transcript]) -> None:
    path = FOLDER / f"{story.__name__}.txt"
    told = f"{story.__doc__}\n\n{story().text()}"
    if os.environ.get("HASHSLOT_WRITE_TRANSCRIPTS"):
        path.write_text(told)
    assert told == path.read_text()
