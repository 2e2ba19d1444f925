"""Primary and replicas in process: data, offsets, ids, cuts, chains, promotion."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import resp
from node.executor import Postponed
from node.replication import fullsync
from node.replication.primary import PrimarySide
from tests.replication.world import Member, Wire, World, follow, pair


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


def test_who_writes_a_lot_waits_for_the_end_of_the_turn_too() -> None:
    """The stream is handed on when much of it has come together; replies still leave behind all of it."""
    world = World()
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    replication = primary.node.replication
    assert not replication.is_behind
    primary.node.run(primary.client, [b"SET", b"big", b"x" * (1 << 20)])
    assert replication.is_behind
    sent = primary.node.stats.net_repl_output_bytes
    replication.flush()
    assert not replication.is_behind and primary.node.stats.net_repl_output_bytes == sent, "there is no more of it"
    world.settle()
    assert replica.content() == primary.content()


def test_what_replicas_have_is_told_to_whoever_asks_them() -> None:
    world = World()
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    replication = primary.node.replication
    told: list[tuple[tuple[str, int], int]] = []
    replication.acknowledged = lambda peer: told.append((peer.address, peer.acked_offset))
    primary.run("SET", "key", "value")
    offset = replication.offset
    replication.request_acks()
    replication.flush()
    world.advance(20)
    assert [address[1] for address, _ in told] == [7001] and told[0][1] >= offset
    primary.node.closing.ended = True
    replication.request_acks()
    offset = replication.offset
    replication.flush()
    assert replication.offset == offset, "a node that ends has saved where its stream ends"


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
            seen = bytes(wires[0].seen)
            payload_end = min(at for word in (b"*1\r\n$4\r\nPING", b"*2\r\n$6\r\nSELECT") if (at := seen.find(word)) > 0)
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


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For how many replicas each full sync was begun, as they come."""
    walks: list[int] = []
    began = fullsync.FullSync.__init__

    def counted(self: fullsync.FullSync, walk: object, members: list[object], *rest: object, **more: object) -> None:
        walks.append(len(members))
        began(self, walk, members, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(fullsync.FullSync, "__init__", counted)
    return walks


def test_replicas_that_ask_together_share_one_walk(walks: list[int]) -> None:
    world = World()
    primary, replica = pair(world)
    others = [world.node(7002), world.node(7003)]
    for one in (replica, *others):
        follow(one, 7000)
    world.settle()
    assert primary.info("connected_slaves") == 3
    assert sum(walks) == 3 and len(walks) < 3
    assert all(one.content() == primary.content() for one in others)


@pytest.mark.parametrize(("diskless", "enough", "walked", "waits"), [
    ("yes", "0", [3], True), ("yes", "3", [3], False), ("yes", "2", [2, 1], True), ("no", "0", [1, 1, 1], False),
])  # fmt: skip
def test_the_first_waits_for_others_as_long_as_it_is_told(
    walks: list[int], diskless: str, enough: str, walked: list[int], waits: bool
) -> None:
    world = World()
    primary, replica = pair(world, repl_diskless_sync=diskless, repl_diskless_sync_delay="5",
                            repl_diskless_sync_max_replicas=enough)
    began_ms = world.now_ms
    for one in (replica, world.node(7002), world.node(7003)):
        follow(one, 7000)
        world.advance(1200)
    assert primary.info("connected_slaves") == 3
    assert ("wait_bgsave" in str(primary.info("slave2"))) is waits
    world.settle()
    assert walks == walked
    assert (world.now_ms - began_ms > 5000) is waits
    for wire in list(world.wires):
        wire.cut()
    cut_ms = world.now_ms
    world.settle()
    assert world.now_ms - cut_ms < 1000, "who needs no full sync waits for nobody"


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


def test_who_was_replaced_has_not_a_byte_more_than_its_successor() -> None:
    """Somebody wanted the replicas' offsets while the stream stood still for a manual failover: that wish ends with it."""
    world = World()
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    primary.node.pause_for_failover(world.now_ms + 5000)
    primary.node.replication.request_acks()
    primary.node.replication.flush()
    end = primary.node.replication.offset
    world.settle()
    assert replica.node.replication.offset == end
    replica.node.replication.stop_following()
    primary.node.pause_for_failover(0)
    follow(primary, 7001)
    world.settle()
    assert primary.node.replication.offset == replica.node.replication.offset
    assert (replica.node.stats.sync_partial_ok, replica.node.stats.sync_full) == (1, 0)


def test_while_writes_are_not_covered_no_more_are_done_and_reads_are() -> None:
    world = World()
    primary, _ = pair(world)
    primary.node.pause_while_uncovered(True)
    with pytest.raises(Postponed):
        primary.run("SET", "key", "value")
    assert primary.run("GET", "key:1") == b"value:1"
    primary.run("CLIENT", "UNPAUSE")
    with pytest.raises(Postponed):
        primary.run("SET", "key", "value")
    primary.node.pause_clients(world.now_ms + 1000, only_writes=True)
    primary.node.pause_while_uncovered(False)
    with pytest.raises(Postponed):
        primary.run("SET", "key", "value")
    resumed = primary.resumed
    primary.node.unpause_clients()
    assert primary.run("SET", "key", "value") == resp.OK and primary.resumed > resumed
