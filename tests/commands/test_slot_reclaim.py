"""A primary comes back that had granted slots to another, which is dead now: it takes them back, by a claim that beats any
of the other's, and lets writes in only when a majority knows of it. The whole way, through the node; no socket."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from cluster.events import LinkOpened, Received, Send, Tick
from cluster.machine import Cluster
from cluster.migration import Stage
from cluster.slotmap import Grant
from cluster.slots import key_slot, ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.ids import Address, NodeId, ShardId
from gossip.members import FAIL
from gossip.messages import Header, MessageType, NodeFlag, Ping
from node.executor import Postponed
from node.resp import OK
from tests.commands.harness import CLUSTER_SETTINGS, START_MS, Harness

ME, TARGET, OTHER = (NodeId(letter * 40) for letter in "abc")
RANGES = {ME: (0, 5460), TARGET: (5461, 10922), OTHER: (10923, 16383)}
JOB = "e" * 40
KEY = next(f"k{number}" for number in range(99999) if key_slot(b"k%d" % number) <= 99)
STEP_MS = 100
PARTLY = replace(CLUSTER_SETTINGS, require_full_coverage=False)


def _saved(place: int, node: NodeId) -> SavedNode:
    flags = NodeFlag.PRIMARY | (NodeFlag.MYSELF if node == ME else NodeFlag.NONE)
    return SavedNode(
        node, Address("127.0.0.1", 7000 + place, 17000 + place), flags, config_epoch=place + 1, shard_id=ShardId(node),
        slots=ranges_to_bitmap([RANGES[node]]), pong_received_ms=START_MS,
    )


class Comeback(Harness):
    """ME with what its disk has kept. OTHER answers every ping; TARGET is dead, and found failed."""

    def __init__(self) -> None:
        members = tuple(_saved(place, node) for place, node in enumerate(RANGES))
        state = SavedState(members, current_epoch=3, grants=(Grant(JOB, TARGET, ((0, 99),)),))
        self.machine = Cluster.from_saved(state, PARTLY, random.Random(1), now_ms=START_MS)
        super().__init__(cluster=self.machine)
        self.io.carry_out = self._carry_out  # type: ignore[method-assign]
        self.answers = True
        self.machine.members[TARGET].flags |= FAIL
        self.node.migrations.resume()
        self.machine.step(Tick(), START_MS)
        link = self.machine.members[OTHER].link
        assert link is not None
        self.link = link.id
        self._carry_out(self.machine.step(LinkOpened(self.link, "127.0.0.1"), START_MS))

    def _carry_out(self, effects: object) -> None:
        assert isinstance(effects, list)
        for effect in effects:
            is_ping = isinstance(effect, Send) and effect.link == self.link and isinstance(effect.message, Ping)
            if is_ping and self.answers:
                heard = effect.message.header.current_epoch
                head = Header(
                    OTHER, 7002, 17002, NodeFlag.PRIMARY, current_epoch=max(3, heard), config_epoch=3,
                    slots=ranges_to_bitmap([RANGES[OTHER]]),
                )
                self._carry_out(self.machine.step(Received(self.link, Ping(MessageType.PONG, head)), self.node.now_ms))
        self.node.migrations.owners_changed()

    def live(self, ms: int) -> None:
        """Let time pass as the bus does, tick by tick."""
        for _ in range(ms // STEP_MS):
            self.advance(STEP_MS)
            self._carry_out(self.machine.step(Tick(), self.node.now_ms))
            self.node.migrations.tick()


def test_what_was_granted_to_a_node_that_is_dead_is_taken_back_above_its_reach() -> None:
    redis = Comeback()
    (job,) = redis.node.migrations.jobs
    assert job.stage is Stage.FAILOVER_GRANTED and redis.node.migrations.held.keys() == set(range(100))
    with pytest.raises(Postponed):
        redis.run("SET", KEY, "v")
    reach = redis.machine.current_epoch + len(RANGES) + 1
    redis.answers = False
    redis.live(3000)
    assert job.stage is Stage.FAILOVER_GRANTED, "a majority may know that the target has taken over"
    assert redis.machine.myself.config_epoch == 1
    redis.answers = True
    redis.live(4000)
    assert job.stage is Stage.FAILED and not redis.machine.slotmap.grants and not redis.node.migrations.held
    assert redis.machine.myself.config_epoch > reach, "whatever the target may have taken without asking is less"
    assert redis.machine.slotmap.owner_of(0) == ME
    assert redis.machine.saved_state().grants == ()
    assert redis.run("SET", KEY, "v") == OK
