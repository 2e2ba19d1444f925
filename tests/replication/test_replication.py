"""Primary and replicas in process: data, offsets, ids, lag, WAIT."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import resp
from node.errors import MASTER_DOWN, NO_REPLICAS, READ_ONLY, CommandError
from node.replication import fullsync
from node.replication.primary import PrimarySide
from tests.replication.world import Member, Wire, World


def pair(world: World, **settings: str) -> tuple[Member, Member]:
    """A primary with some data, and a node that is about to follow it."""
    primary, replica = world.node(7000, **settings), world.node(7001)
    for number in range(50):
        primary.run("SET", f"key:{number}", f"value:{number}")
        primary.run("HSET", f"hash:{number}", "field", number)
    return primary, replica


def follow(replica: Member, port: int) -> None:
    assert replica.run("REPLICAOF", "127.0.0.1", port) == resp.OK


def test_data_and_stream_reach_the_replica() -> None:
    world = World()
    primary, replica = pair(world)
    replica.run("SET", "own", "gone after the sync")
    follow(replica, 7000)
    world.settle()
    assert replica.content() == primary.content()
    primary.run("SET", "new", "value")
    primary.run("DEL", "key:1", "key:2")
    primary.run("SELECT", 3)
    primary.run("SET", "elsewhere", 1)
    world.settle()
    assert replica.content() == primary.content()
    assert (3, b"elsewhere") in replica.content()
    assert primary.node.stats.sync_full == 1


def test_a_payload_of_known_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that does not know `$EOF:`: the stream that came meanwhile follows the payload at once."""
    monkeypatch.setattr(fullsync, "KEYS_PER_SLICE", 5)
    world = World()
    primary, _ = pair(world)
    client = primary.node.new_client()
    sent: list[bytes] = []
    client.send = sent.append
    for request in ([b"REPLCONF", b"listening-port", b"7009"], [b"REPLCONF", b"capa", b"psync2"]):
        assert primary.node.run(client, request) == resp.OK
    assert primary.node.run(client, [b"PSYNC", b"?", b"-1"]) is resp.SILENCE
    world.advance(3)
    primary.run("SET", "during", "the walk")
    world.advance(2000)
    line, _, rest = b"".join(sent).lstrip(b"\n").partition(b"\r\n")
    assert line.startswith(b"+FULLRESYNC ") and line.endswith(b" 0")
    header, _, rest = rest.lstrip(b"\n").partition(b"\r\n")
    size = int(header[1:])
    assert rest[:9] == b"REDIS0010"
    assert b"during" not in rest[:size]
    expected = resp.request([b"SELECT", b"0"]) + resp.request([b"SET", b"during", b"the walk"])
    assert rest[size:].replace(resp.request([b"PING"]), b"") == expected
    assert primary.info("slave0") == "ip=,port=7009,state=online,offset=0,lag=1"


@pytest.mark.parametrize("form", ["mark", "length"])
def test_cut_at_every_byte(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link is cut after n bytes, for every n: the replica ends equal, and syncs in full only where it must."""
    if form == "length":
        monkeypatch.setattr("node.replication.primary.PrimarySide.ask", _without_eof)
    length = payload_end = 0
    at = 0
    while at == 0 or at <= length:
        world = World(seed=at)
        primary, replica = world.node(7000), world.node(7001)
        primary.run("SET", "a", "1")
        wires: list[Wire] = []

        def cut(wire: Wire, at: int = at, wires: list[Wire] = wires) -> None:
            if not wires and at:
                wire.cut_after = at
            wires.append(wire)

        world.on_connect = cut
        follow(replica, 7000)
        for number in range(4):
            world.advance(40)
            primary.run("SET", "n", number)
            primary.run("INCR", "counter")
        world.settle()
        assert replica.content() == primary.content(), at
        assert replica.content()[0, b"counter"][0] == b"4"
        stats = primary.node.stats
        if at == 0:
            payload_end = bytes(wires[0].seen).index(b"*2\r\n$6\r\nSELECT")
            length = len(wires[0].seen)
            assert (stats.sync_full, stats.sync_partial_ok) == (1, 0)
        elif at >= payload_end:
            assert (stats.sync_full, stats.sync_partial_ok) == (1, 1), at
        else:
            assert (stats.sync_full, stats.sync_partial_ok) in ((1, 0), (2, 0)), at
        at += 1
    assert length > payload_end > 200


def _without_eof(self: object, client: object, wants: object) -> None:
    self.announced(client).eof = False  # type: ignore[attr-defined]
    _ASK(self, client, wants)  # type: ignore[arg-type]


_ASK = PrimarySide.ask


def test_a_cut_in_the_stream_costs_no_full_sync() -> None:
    resyncs = 0
    for seed in range(30):
        world = World(seed=seed, chunk=40)
        primary, replica = pair(world)
        follow(replica, 7000)
        world.settle()
        for number in range(20):
            primary.run("APPEND", "log", f"{number},")
            world.advance(world.random.randint(0, 20))
            if world.wires and number % 3 == 2:
                world.wires[0].cut()
        world.settle()
        assert replica.content() == primary.content(), seed
        assert primary.node.stats.sync_full == 1, seed
        resyncs += primary.node.stats.sync_partial_ok
    assert resyncs > 60


def test_a_backlog_that_is_too_small_means_a_full_sync() -> None:
    world = World()
    primary, replica = pair(world, repl_backlog_size="16384")
    follow(replica, 7000)
    world.settle()
    world.unreachable.add(7000)
    world.wires[0].cut()
    primary.run("SET", "big", "x" * 20_000)
    world.unreachable.clear()
    world.settle()
    assert replica.content() == primary.content()
    assert primary.node.stats.sync_full == 2
    assert primary.node.stats.sync_partial_err == 1


_WRITES = st.lists(
    st.tuples(
        st.sampled_from(["set", "px", "del", "append", "hset", "incr", "select", "flush", "wait"]),
        st.integers(0, 30),
        st.integers(0, 9),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(
    writes=_WRITES, seed=st.integers(0, 1000), chunk=st.sampled_from([7, 200, 1 << 16]), cut_after=st.integers(0, 5000)
)
def test_writes_at_any_time_end_equal(
    writes: list[tuple[str, int, int]], seed: int, chunk: int, cut_after: int
) -> None:
    world = World(seed=seed, chunk=chunk)
    primary, replica, third = world.node(7000), world.node(7001), world.node(7002)
    for number in range(30):
        primary.run("SET", f"k{number}", number)
    first_wires: list[Wire] = []

    def cut(wire: Wire) -> None:
        if not first_wires:
            wire.cut_after = cut_after
        first_wires.append(wire)

    world.on_connect = cut
    slices = fullsync.KEYS_PER_SLICE
    fullsync.KEYS_PER_SLICE = 3
    try:
        follow(replica, 7000)
        follow(third, 7000)
        for name, key, value in writes:
            write(world, primary, name, key, value)
        world.settle()
    finally:
        fullsync.KEYS_PER_SLICE = slices
    assert replica.content() == primary.content()
    assert third.content() == primary.content()
    assert replica.node.replication.offset == primary.node.replication.offset


def write(world: World, primary: Member, name: str, key: int, value: int) -> None:
    match name:
        case "set":
            primary.run("SET", f"k{key}", value)
        case "px":
            primary.run("SET", f"k{key}", value, "PX", 1 + value * 5)
        case "del":
            primary.run("DEL", f"k{key}")
        case "append":
            primary.run("APPEND", f"a{key}", value)
        case "hset":
            primary.run("HSET", f"h{key}", value, key)
        case "incr":
            primary.run("INCR", f"n{key}")
        case "select":
            primary.run("SELECT", value)
        case "flush" if value == 0:
            primary.run("FLUSHALL")
        case _:
            world.advance(value)


def test_replicas_that_ask_together_share_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []
    began = fullsync.FullSync.__init__

    def counted(self: fullsync.FullSync, walk: object, members: list[object], *rest: object) -> None:
        walks.append(len(members))
        began(self, walk, members, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fullsync.FullSync, "__init__", counted)
    world = World()
    primary, replica = pair(world)
    others = [world.node(7002), world.node(7003)]
    for one in (replica, *others):
        follow(one, 7000)
    world.settle()
    assert primary.info("connected_slaves") == 3
    assert sum(walks) == 3 and len(walks) < 3
    assert all(one.content() == primary.content() for one in others)


def test_a_replica_of_a_replica() -> None:
    world = World(chunk=50)
    primary, middle = pair(world)
    last = world.node(7002)
    follow(middle, 7000)
    world.settle()
    primary.run("SELECT", 5)
    primary.run("SET", "five", 1)
    follow(last, 7001)
    world.until(lambda: last.info("master_link_status") == "up")
    primary.run("SET", "again", 5)
    world.settle()
    assert last.content() == middle.content() == primary.content()
    assert last.node.replication.offset == primary.node.replication.offset
    assert last.node.replication.id == primary.node.replication.id
    for number in range(30):
        primary.run("APPEND", "log", number)
        world.advance(2)
        if number % 10 == 9:
            for wire in list(world.wires):
                wire.cut()
    world.settle()
    assert last.content() == middle.content() == primary.content()
    assert primary.node.stats.sync_full == 1 and middle.node.stats.sync_full == 1


def test_a_promoted_replica_keeps_the_others_without_a_full_sync() -> None:
    world = World()
    primary, replica = pair(world)
    other = world.node(7002)
    follow(replica, 7000)
    follow(other, 7000)
    world.settle()
    primary.run("SET", "last", "words")
    world.settle()
    old_id = primary.node.replication.id
    replica.run("REPLICAOF", "NO", "ONE")
    assert replica.info("master_replid2") == old_id
    assert replica.info("second_repl_offset") == replica.node.replication.offset + 1
    assert replica.info("master_replid") != old_id
    replica.run("SET", "of", "the new one")
    follow(other, 7001)
    follow(primary, 7001)
    world.settle()
    assert other.content() == replica.content() == primary.content()
    assert replica.node.stats.sync_full == 0
    assert replica.node.stats.sync_partial_ok == 2
    assert other.info("master_replid2") == old_id


def test_a_primary_that_wrote_on_alone_is_synced_in_full() -> None:
    world = World()
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    replica.run("REPLICAOF", "NO", "ONE")
    primary.run("SET", "lost", "write")
    follow(primary, 7001)
    world.settle()
    assert primary.content() == replica.content()
    assert replica.node.stats.sync_full == 1


def test_expiry_is_the_primarys() -> None:
    world = World()
    primary, replica = pair(world)
    primary.run("SET", "soon", "gone", "PX", 500)
    follow(replica, 7000)
    world.settle()
    assert replica.run("GET", "soon") == b"gone"
    world.advance(600)
    assert (0, b"soon") in replica.content()
    assert replica.run("GET", "soon") is None
    assert (0, b"soon") in replica.content()
    assert primary.run("GET", "soon") is None
    world.settle()
    assert (0, b"soon") not in replica.content()


def test_a_failed_sync_loses_nothing() -> None:
    world = World()
    primary, replica = pair(world)
    replica.run("SET", "mine", "kept")
    before = replica.content()

    def cut(wire: Wire) -> None:
        wire.cut_after = 1500
        world.unreachable.add(7000)

    world.on_connect = cut
    follow(replica, 7000)
    world.advance(500)
    assert primary.node.stats.sync_full == 1
    assert replica.content() == before


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


def test_a_replica_that_does_not_keep_up_while_it_syncs_is_cut() -> None:
    world = World(chunk=1)
    primary, replica = pair(world)
    primary.node.config.set_many({"client-output-buffer-limit": "replica 4096 0 0"})
    follow(replica, 7000)
    world.until(lambda: primary.node.stats.sync_full == 1)
    wire = world.wires[0]
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
