"""FAILOVER in simulated time: the role goes over at an exact offset, writes wait, and every way out leads back."""

from __future__ import annotations

import pytest

from node.client import Unusual
from node.executor import Postponed
from tests.commands.harness import Harness
from tests.replication.world import Member, World, follow, pair


def following_pair(world: World) -> tuple[Member, Member]:
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    world.until(lambda: primary.info("slave0") and f"offset={primary.info('master_repl_offset')}" in str(primary.info("slave0")))  # type: ignore[arg-type,return-value]  # noqa: E501
    return primary, replica


def is_primary(member: Member) -> bool:
    return member.info("role") == "master"


@pytest.mark.parametrize("target", [(), ("TO", "127.0.0.1", 7001)])
def test_the_role_goes_over(target: tuple[object, ...]) -> None:
    world = World()
    primary, replica = following_pair(world)
    primary.run("SET", "last", "write")
    before = primary.node.replication.id
    assert primary.run("FAILOVER", *target, "TIMEOUT", 60_000) == "OK"
    assert primary.info("master_failover_state") == "waiting-for-sync"
    with pytest.raises(Postponed):
        primary.run("SET", "too", "late")
    offset = primary.node.replication.offset
    world.until(lambda: is_primary(replica))
    world.settle()
    assert not is_primary(primary) and primary.info("master_failover_state") == "no-failover"
    assert primary.resumed == 1 and not primary.node.unusual & Unusual.PAUSED
    assert primary.error("SET", "too", "late").startswith("READONLY")
    assert replica.node.replication.second_id == before and replica.node.replication.second_offset == offset + 1
    assert replica.node.stats.sync_full == 0 and replica.node.stats.sync_partial_ok == 1
    replica.run("SET", "k", "v")
    world.settle()
    assert primary.content() == replica.content()


def test_a_replica_that_does_not_catch_up_ends_it() -> None:
    world = World()
    primary, replica = following_pair(world)
    primary.run("SET", "k", "v")
    for wire in world.wires:
        wire.deliver = lambda size: None  # type: ignore[method-assign]
    assert primary.run("FAILOVER", "TIMEOUT", 500) == "OK"
    world.advance(300)
    assert primary.info("master_failover_state") == "waiting-for-sync"
    world.advance(400)
    assert primary.info("master_failover_state") == "no-failover" and is_primary(primary) and not is_primary(replica)
    assert primary.run("SET", "k", "v2") == "OK"


def test_nothing_is_added_to_the_stream_while_it_waits() -> None:
    """Not even a PING: the replica could never be seen at exactly our offset."""
    world = World()
    primary, _ = following_pair(world)
    for wire in world.wires:
        wire.deliver = lambda size: None  # type: ignore[method-assign]
    primary.run("SET", "k", "v")
    primary.run("FAILOVER")
    offset = primary.node.replication.offset
    world.advance(30_000)
    assert primary.node.replication.offset == offset
    assert primary.run("FAILOVER", "ABORT") == "OK"
    world.advance(12_000)
    assert primary.node.replication.offset > offset


def test_a_target_that_is_no_replica_of_ours_any_more_says_so() -> None:
    """It was promoted by somebody meanwhile: it refuses, and we are the primary that we were."""
    world = World()
    primary, replica = following_pair(world)
    assert primary.run("FAILOVER", "TO", "127.0.0.1", 7001, "FORCE", "TIMEOUT", 1) == "OK"
    replica.run("REPLICAOF", "NO", "ONE")
    world.advance(3000)
    assert is_primary(primary) and is_primary(replica)
    assert primary.info("master_failover_state") == "no-failover"
    assert primary.run("SET", "k", "v") == "OK"


def test_psync_failover_is_for_a_replica_of_the_same_history() -> None:
    world = World()
    primary, replica = following_pair(world)
    assert primary.error("PSYNC", "x", 1, "FAILOVER") == "ERR PSYNC FAILOVER can't be sent to a master."
    assert replica.error("PSYNC", "x", 1, "FAILOVER") == "ERR PSYNC FAILOVER replid must match my replid."
    assert not is_primary(replica)


def test_a_cluster_has_a_failover_of_its_own() -> None:
    for words in ((), ("ABORT",), ("TO", "127.0.0.1", 1)):
        expected = "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead."
        assert Harness(clustered=True).error("FAILOVER", *words) == expected
