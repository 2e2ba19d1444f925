"""A node that starts, and had allowed another to take slots before it ended: they wait until it knows what came of that."""

from __future__ import annotations

import pytest

from cluster.migration import TAKE_MS
from cluster.slotmap import Grant
from cluster.slots import key_slot
from gossip.ids import NodeId
from node.executor import Postponed
from tests.commands.harness import Harness, lone_cluster

NAME, GONE = "f" * 40, NodeId("b" * 40)
SLOT = key_slot(b"k")


def test_writes_to_slots_that_were_granted_wait_until_nobody_can_take_them() -> None:
    cluster = lone_cluster()
    cluster.slotmap.grants[NAME] = Grant(NAME, GONE, ((SLOT, SLOT),))
    node = Harness(cluster=cluster)
    node.node.migrations.resume()
    (job,) = node.node.migrations.jobs
    assert job.name == NAME and str(job.stage) == "failover-granted"
    with pytest.raises(Postponed):
        node.run("SET", "k", "v")
    assert node.run("SET", "elsewhere", "v") and node.run("GET", "k") is None
    node.advance(2 * TAKE_MS - 1)
    node.node.migrations.tick()
    assert str(job.stage) == "failover-granted", "the target may still be taking over"
    for _ in range(5):
        node.advance(500)
        node.node.migrations.tick()
    assert str(job.stage) == "failed" and not node.node.migrations.held
    assert not cluster.slotmap.grants and not cluster.saved_state().grants
    assert node.run("SET", "k", "v")
