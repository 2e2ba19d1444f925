"""What clients and operators see of replication: refusals, WAIT, lag, ROLE, INFO, REPLICAOF."""

from __future__ import annotations

import pytest

from node import resp
from node.errors import MASTER_DOWN, NO_REPLICAS, READ_ONLY, CommandError
from node.replication import fullsync
from tests.replication.world import World, follow, pair


def test_writes_are_refused_on_a_replica() -> None:
    world = World()
    _, replica = pair(world)
    follow(replica, 7000)
    assert replica.error("SET", "k", "v") == READ_ONLY
    replica.node.config.set_many({"replica-read-only": "no"})
    assert replica.run("SET", "k", "v") == resp.OK
    replica.run("REPLICAOF", "NO", "ONE")
    assert replica.run("SET", "k", "v") == resp.OK


def test_stale_data_may_be_refused() -> None:
    world = World()
    world.unreachable.add(7000)
    _, replica = pair(world)
    follow(replica, 7000)
    assert replica.run("GET", "k") is None
    replica.node.config.set_many({"replica-serve-stale-data": "no"})
    assert replica.error("GET", "k") == MASTER_DOWN
    assert replica.run("ROLE")[0] == b"slave"
    world.unreachable.clear()
    world.settle()
    assert replica.run("GET", "key:1") == b"value:1"
    replica.run("REPLICAOF", "NO", "ONE")
    assert replica.run("GET", "key:1") == b"value:1"


def test_wait_counts_acknowledgements() -> None:
    world = World()
    primary, replica = pair(world)
    assert primary.run("WAIT", 0, 0) == 0
    follow(replica, 7000)
    world.settle()
    world.advance(1200)
    primary.run("SET", "k", "v")
    waits = primary.waiting("WAIT", 1, 5000)
    begun_ms = world.now_ms
    world.until(lambda: waits.ready)
    assert waits.value == 1
    assert world.now_ms - begun_ms < 50
    assert primary.run("WAIT", 1, 0) == 1
    primary.run("SET", "k", "w")
    waits = primary.waiting("WAIT", 2, 300)
    world.advance(450)
    assert waits.ready and waits.value == 1
    assert "cannot be used with replica" in replica.error("WAIT", 0, 0)
    assert primary.error("WAIT", 1, -1) == "ERR timeout is negative"
    assert primary.error("WAIT", 1, "x") == "ERR timeout is not an integer or out of range"


def test_wait_is_for_the_clients_own_writes() -> None:
    world = World()
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    reader = primary.node.new_client()
    primary.run("SET", "k", "v")
    assert primary.run("WAIT", 1, 0, client=reader) == 1


def test_getack_is_answered_without_its_own_bytes() -> None:
    world = World()
    _, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    following = replica.node.replication.following
    assert following is not None and following.client is not None
    sent: list[bytes] = []
    following._send = sent.append
    offset = replica.node.replication.offset
    getack = resp.request([b"REPLCONF", b"GETACK", b"*"])
    following.received(resp.request([b"PING"]) + getack + resp.request([b"PING"]))
    assert sent == [resp.request([b"REPLCONF", b"ACK", b"%d" % (offset + 14)])]
    assert replica.node.replication.offset == offset + 14 + len(getack) + 14


def test_too_few_replicas_refuse_writes() -> None:
    world = World()
    primary, replica = pair(world)
    primary.node.config.set_many({"min-replicas-to-write": "1", "min-replicas-max-lag": "3"})
    assert primary.error("SET", "k", "v") == NO_REPLICAS
    follow(replica, 7000)
    world.settle()
    assert primary.run("SET", "k", "v") == resp.OK
    assert primary.info("min_slaves_good_slaves") == 1
    world.unreachable.add(7000)
    world.wires[0].cut()
    assert primary.error("SET", "k", "v") == NO_REPLICAS
    primary.node.config.set_many({"min-replicas-to-write": "0"})
    assert primary.run("SET", "k", "v") == resp.OK


def test_a_silent_replica_is_cut() -> None:
    world = World()
    primary, replica = pair(world, repl_timeout="5")
    follow(replica, 7000)
    world.settle()
    wire = world.wires[0]
    wire._to_primary = lambda data: None  # type: ignore[method-assign]
    world.advance(5500)
    assert primary.info("connected_slaves") == 1
    world.advance(1500)
    assert not wire.open


def test_a_silent_primary_is_left() -> None:
    world = World()
    _, replica = pair(world, repl_ping_replica_period="3600")
    replica.node.config.set_many({"repl-timeout": "5"})
    follow(replica, 7000)
    world.settle()
    world.advance(7500)
    assert world.connections == 2


def test_the_primary_pings_and_the_replica_acknowledges() -> None:
    world = World()
    primary, replica = pair(world, repl_ping_replica_period="2")
    follow(replica, 7000)
    world.settle()
    offset = primary.node.replication.offset
    world.advance(10_000)
    assert primary.node.replication.offset - offset in (4 * 14, 5 * 14)
    world.advance(1100)
    acked = str(primary.info("slave0")).split("offset=")[1].split(",")[0]
    assert int(acked) >= primary.node.replication.offset - 14
    assert str(primary.info("slave0")).endswith(("lag=0", "lag=1"))
    assert int(replica.info("master_last_io_seconds_ago")) <= 2


def test_the_backlog_goes_when_nobody_follows_for_long() -> None:
    world = World()
    primary, replica = pair(world, repl_backlog_ttl="3")
    follow(replica, 7000)
    world.settle()
    replid = primary.node.replication.id
    replica.run("REPLICAOF", "NO", "ONE")
    world.advance(2000)
    assert primary.info("repl_backlog_active") == 1
    world.advance(3000)
    assert primary.info("repl_backlog_active") == 0
    assert primary.info("master_replid") != replid
    assert not primary.node.replication.feeding
    follow(replica, 7000)
    world.settle()
    assert replica.content() == primary.content()
    assert primary.node.stats.sync_full == 2


def test_a_writable_replica_removes_what_its_own_clients_let_expire() -> None:
    """The primary knows nothing of those; of its own keys it says itself when they are gone."""
    world = World()
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    replica.run("CONFIG", "SET", "replica-read-only", "no")
    primary.run("SET", "theirs", 1, "PX", 500)
    replica.run("SET", "own", 1, "PX", 500)
    replica.run("SET", "taken back", 1, "PX", 500)
    replica.run("PERSIST", "taken back")
    replica.run("SELECT", 1)
    replica.run("HSET", "other", "field", 1)
    replica.run("PEXPIRE", "other", 5000)
    world.settle()
    primary.run("SET", "given", 1)
    replica.run("PEXPIRE", "given", 700)
    primary.run("SET", "given", 2, "PX", 100_000)
    world.settle()
    primary.node.debug.active_expire = False
    world.advance(1000)
    names = {key for _, key in replica.content()}
    assert b"own" not in names and {b"theirs", b"taken back", b"other", b"given"} <= names
    assert len(replica.node.replication.own_keys) == 1 and replica.node.stats.expired_keys == 1
    world.advance(5000)
    assert b"other" not in {key for _, key in replica.content()}
    assert replica.info("slave_repl_offset") == primary.info("master_repl_offset")
    replica.run("SET", "last", 1, "PX", 500)
    replica.run("REPLICAOF", "NO", "ONE")
    assert len(replica.node.replication.own_keys) == 0 and not replica.node.observers


def test_a_replica_that_does_not_keep_up_while_it_syncs_is_cut() -> None:
    world = World(chunk=1)
    primary, replica = pair(world, repl_backlog_size="16kb")
    primary.node.config.set_many({"client-output-buffer-limit": "replica 4096 0 0"})
    follow(replica, 7000)
    world.until(lambda: primary.node.stats.sync_full == 1)
    wire = world.wires[0]
    for _ in range(10):
        primary.run("SET", "big", "x" * 1000)
    assert wire.open, "a replica may miss as much as the backlog holds"
    for _ in range(10):
        primary.run("SET", "big", "x" * 1000)
    assert not wire.open
    assert primary.node.stats.output_buffer_limit_disconnections == 1


def test_the_walk_waits_for_a_slow_replica() -> None:
    world = World(chunk=100)
    primary, replica = world.node(7000), world.node(7001)
    for number in range(400):
        primary.run("SET", f"key:{number}", "x" * 2000)
    follow(replica, 7000)
    most = 0
    for _ in range(3000):
        world.step()
        most = max([most, *(len(wire.down) for wire in world.wires)])
    assert most < 4 * fullsync.BYTES_PER_SLICE
    world.chunk = 1 << 16
    world.settle()
    assert replica.content() == primary.content()


def test_a_password() -> None:
    world = World()
    primary, replica = pair(world)
    primary.node.config.set_many({"requirepass": "secret"})
    follow(replica, 7000)
    world.advance(500)
    assert replica.info("master_link_status") == "down"
    replica.node.config.set_many({"masterauth": "secret"})
    world.settle()
    assert replica.content() == primary.content()


def test_sub_replicas_of_a_node_that_is_not_in_sync_are_refused() -> None:
    world = World()
    world.unreachable.add(7000)
    _, replica = pair(world)
    follow(replica, 7000)
    assert replica.error("PSYNC", "?", -1) == "NOMASTERLINK Can't SYNC while not connected with my master"


def test_role_and_info() -> None:
    world = World()
    primary, replica = pair(world)
    assert primary.run("ROLE") == [b"master", 0, []]
    world.unreachable.add(7000)
    follow(replica, 7000)
    assert replica.run("ROLE") == [b"slave", b"127.0.0.1", 7000, b"connect", -1]
    assert replica.info("master_link_down_since_seconds") == -1
    world.unreachable.clear()
    world.settle()
    world.advance(1500)
    offset = primary.node.replication.offset
    assert primary.run("ROLE") == [b"master", offset, [[b"127.0.0.1", b"7001", b"%d" % offset]]]
    assert replica.run("ROLE") == [b"slave", b"127.0.0.1", 7000, b"connected", offset]
    assert list(replica.node.replication.info()) == [
        "role", "master_host", "master_port", "master_link_status", "master_last_io_seconds_ago",
        "master_sync_in_progress", "slave_read_repl_offset", "slave_repl_offset", "slave_priority", "slave_read_only",
        "replica_announced", "connected_slaves", "master_failover_state", "master_replid", "master_replid2",
        "master_repl_offset", "second_repl_offset", "repl_backlog_active", "repl_backlog_size",
        "repl_backlog_first_byte_offset", "repl_backlog_histlen",
    ]  # fmt: skip


def test_replicaof_says_what_is_wrong() -> None:
    world = World()
    primary, replica = pair(world)
    assert replica.error("REPLICAOF", "127.0.0.1", "99999") == "ERR Invalid master port"
    assert replica.run("REPLICAOF", "no", "one") == resp.OK
    follow(replica, 7000)
    assert replica.run("SLAVEOF", "127.0.0.1", 7000) == "OK Already connected to specified master"
    world.settle()
    wire = world.wires[0]
    with pytest.raises(CommandError, match="not valid when client is a replica"):
        primary.run("REPLICAOF", "127.0.0.1", 7005, client=wire.client)
    assert replica.node.config.text("replicaof") == "127.0.0.1 7000"


def test_replconf_says_what_is_wrong() -> None:
    world = World()
    primary, _ = pair(world)
    assert primary.error("REPLCONF", "listening-port") == "ERR syntax error"
    assert primary.error("REPLCONF", "listening-port", "x") == "ERR value is not an integer or out of range"
    assert primary.error("REPLCONF", "wings", "yes") == "ERR Unrecognized REPLCONF option: wings"
    assert primary.error("REPLCONF", "rdb-filter-only", "keys") == "ERR Unsupported rdb-filter-only option: keys"
    assert primary.error("REPLCONF", "ip-address", "x" * 300).startswith("ERR REPLCONF ip-address")
    assert primary.run("REPLCONF") == resp.OK
    assert primary.run("REPLCONF", "capa", "eof", "capa", "wings") == resp.OK
    assert primary.run("REPLCONF", "ack", 5) is resp.SILENCE


def test_a_fault_while_applying_does_not_shift_the_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    execute = replica.node.executor.execute

    def faulty(client: object, args: list[bytes]) -> object:
        if args[0] == b"SET" and args[1] == b"bad":
            raise ZeroDivisionError
        return execute(client, args)  # type: ignore[arg-type]

    monkeypatch.setattr(replica.node.executor, "execute", faulty)
    primary.run("SET", "bad", 1)
    primary.run("SET", "good", 1)
    world.settle()
    assert (0, b"bad") not in replica.content()
    assert (0, b"good") in replica.content()
    assert world.connections == 1
    assert primary.node.stats.sync_full == 1


def test_following_the_same_primary_again_changes_nothing() -> None:
    world = World()
    _, replica = pair(world)
    replica.node.replication.follow("127.0.0.1", 7000)
    world.settle()
    replica.node.replication.follow("127.0.0.1", 7000)
    world.advance(100)
    assert world.connections == 1
    assert replica.info("master_link_status") == "up"


def test_a_replica_that_turns_to_another_primary_takes_its_data() -> None:
    world = World()
    _, replica = pair(world)
    other = world.node(7005)
    other.run("SET", "of", "the other")
    follow(replica, 7000)
    world.settle()
    follow(replica, 7005)
    world.settle()
    assert replica.content() == other.content()
