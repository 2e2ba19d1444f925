"""Replicas of other kinds: nothing reaches them that they would lose. The real one is a client that keeps what it gets."""

from __future__ import annotations

from typing import Any

import pytest

from node import resp
from node.persistence.rdb import RdbReader
from node.persistence.records import Key
from node.protocol import RequestParser
from node.replication import foreign, fullsync
from node.replication.foreign import Needs
from node.replication.peer import Announced
from node.state import COMMANDS
from tests.replication.world import Member, World, follow, pair

VALKEY, REDIS_7_0 = "9.1.0", ""
FIELDS = ("FIELDS", 1, "f")


class Guest:
    """A connection as Valkey's or Redis's replica makes it. heard: all bytes since the last `ask`."""

    def __init__(self, primary: Member, version: str, *more: str) -> None:
        self.primary = primary
        self.client = primary.node.new_client()
        self.heard = b""
        self.closed = False
        self.client.send = self._hear
        self.client.close = self._end
        lines = ["REPLCONF listening-port 7009", "REPLCONF capa eof capa psync2", *more]
        for line in [*lines, f"REPLCONF version {version}"] if version else lines:
            assert primary.node.run(self.client, [word.encode() for word in line.split()]) == resp.OK

    def _hear(self, data: bytes) -> None:
        self.heard += data

    def _end(self) -> None:
        self.closed = True
        self.primary.node.forget_client(self.client)

    def ask(self, world: World, replid: bytes = b"?", offset: int = -1) -> bytes:
        """PSYNC; the first line of the answer."""
        self.heard = b""
        assert self.primary.node.run(self.client, [b"PSYNC", replid, b"%d" % offset]) is resp.SILENCE
        world.advance(2000)
        return self.heard.lstrip(b"\n").partition(b"\r\n")[0]

    def follow(self, world: World) -> dict[bytes, Any]:
        """Full sync and acknowledgement; the keys of the payload. What comes then is the stream."""
        assert self.ask(world).startswith(b"+FULLRESYNC ")
        payload = self.heard.partition(b"$EOF:")[2]
        records = RdbReader().feed(payload[42:])
        assert self.primary.node.run(self.client, [b"REPLCONF", b"ACK", b"0"]) is resp.SILENCE
        world.advance(10)
        self.heard = b""
        return {record.key: record.value for record in records if isinstance(record, Key)}

    def stream(self) -> list[list[bytes]]:
        """The commands since, without what is no data."""
        heard = RequestParser().feed(self.heard) if self.heard else []
        return [args for args in heard if args[0] not in (b"PING", b"SELECT")]


@pytest.fixture
def world() -> World:
    return World()


def two(world: World) -> tuple[Member, Member]:
    """A primary and a replica of ours, in sync."""
    primary, replica = pair(world)
    follow(replica, 7000)
    world.settle()
    return primary, replica


def place(primary: Member) -> tuple[bytes, int]:
    """What a replica that has everything asks for."""
    replication = primary.node.replication
    replication.flush()
    return replication.id.encode(), replication.offset + 1


# Values of modules' types ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [VALKEY, REDIS_7_0])
@pytest.mark.parametrize("make", ["JSON.SET m $ {}", "BF.ADD m x", "CF.ADD m x", "CMS.INITBYDIM m 10 2", "TOPK.RESERVE m 3",
                                  "TDIGEST.CREATE m"])  # fmt: skip
def test_no_payload_while_there_is_what_it_can_not_read(world: World, make: str, version: str) -> None:
    primary, replica = pair(world)
    primary.run(*make.split())  # Before there is a stream: nobody has noted it.
    follow(replica, 7000)
    world.settle()
    first = Guest(primary, version)
    assert first.ask(world).startswith(b"+FULLRESYNC ") and first.closed, "found on the way"
    for _ in range(2):
        again = Guest(primary, version)
        answer = again.ask(world)
        assert answer.startswith(b"-NOMASTERLINK a replica of this kind can not read") and b" at 'm'" in answer
        assert again.heard.count(b"\r\n") == 1 and not again.closed, "known now: nothing is sent"
        assert primary.info("connected_slaves") == 1
    assert replica.content() == primary.content()
    primary.run("DEL", "m")
    assert Guest(primary, version).follow(world).keys() == {key for _, key in primary.content()}


def test_it_is_cut_off_before_the_command_that_it_does_not_know(world: World) -> None:
    primary, replica = two(world)
    guest = Guest(primary, VALKEY)
    guest.follow(world)
    primary.run("SET", "before", 1)
    world.advance(10)
    where = place(primary)
    primary.run("JSON.SET", "doc", "$", "[1]")
    primary.run("SET", "after", 1)
    world.settle()
    assert guest.closed and guest.stream() == [[b"SET", b"before", b"1"]]
    assert replica.content() == primary.content()
    late = Guest(primary, VALKEY)
    assert late.ask(world, *where).startswith(b"-NOMASTERLINK "), "no partial resync past it"
    primary.run("DEL", "doc")
    late = Guest(primary, VALKEY)
    assert late.ask(world, *where).startswith(b"+FULLRESYNC ")
    now = Guest(primary, VALKEY)
    assert now.ask(world, *place(primary)).startswith(b"+CONTINUE"), "behind it the stream is for everybody again"


def test_a_restored_module_value_cuts_it_off_too(world: World) -> None:
    primary, replica = two(world)
    primary.run("JSON.SET", "doc", "$", "[1]")
    payload = primary.run("DUMP", "doc")
    primary.run("DEL", "doc")
    guest = Guest(primary, VALKEY)
    guest.follow(world)
    primary.run("restore", "again", 0, payload)
    world.settle()
    assert guest.closed and guest.stream() == [] and replica.content() == primary.content()


@pytest.mark.parametrize("write", ["JSON.NUMINCRBY doc:99 $ 1", "DEL doc:99", "FLUSHALL"])
def test_a_value_that_is_in_the_way_changes_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch, write: str) -> None:
    """Whoever changes it gets his reply; the replica does not get half of it."""
    monkeypatch.setattr(fullsync, "KEYS_PER_SLICE", 1)
    primary = world.node(7000)
    for number in range(100):
        primary.run("SET", f"plain:{number}", number)
    primary.run("JSON.SET", "doc:99", "$", "1")
    guest = Guest(primary, VALKEY)
    assert primary.node.run(guest.client, [b"PSYNC", b"?", b"-1"]) is resp.SILENCE
    world.advance(3)
    primary.run(*write.split())
    world.advance(3000)
    assert guest.closed and primary.info("connected_slaves") == 0
    primary.run("FLUSHALL")
    Guest(primary, VALKEY).follow(world)


def test_who_can_read_them_gets_them(world: World) -> None:
    primary, _ = two(world)
    primary.run("JSON.SET", "doc", "$", "{}")
    own = Guest(primary, VALKEY, "REPLCONF capa hashslot")
    assert b"doc" in own.follow(world)
    tool = Guest(primary, REDIS_7_0, "REPLCONF rdb-only 1")
    assert tool.ask(world).startswith(b"+FULLRESYNC ") and b"ReJSON" not in tool.heard and b"doc" in tool.heard
    primary.node.config.set_many({"foreign-replicas-have-modules": "yes"})
    guest = Guest(primary, VALKEY)
    assert b"doc" in guest.follow(world)
    primary.run("JSON.SET", "doc", "$", "[]")
    world.advance(10)
    assert guest.stream() == [[b"JSON.SET", b"doc", b"$", b"[]"]] and not guest.closed


def test_a_replica_of_ours_hands_on_no_more_than_its_own_replicas_know(world: World) -> None:
    primary, replica = two(world)
    guest = Guest(replica, VALKEY)
    guest.follow(world)
    primary.run("SET", "before", 1)
    primary.run("MULTI")
    primary.run("SET", "with", 1)
    primary.run("JSON.SET", "doc", "$", "1")
    primary.run("EXEC")
    world.settle()
    assert guest.closed and guest.stream() == [[b"SET", b"before", b"1"]]
    assert Guest(replica, VALKEY).ask(world).startswith(b"-NOMASTERLINK ")


# Fields that expire ---------------------------------------------------------------------------------------------------


def transaction(primary: Member) -> None:
    primary.run("MULTI")
    primary.run("SET", "x", 1)
    primary.run("HSETEX", "h", "PX", 10**6, "FIELDS", 1, "f", "v")
    primary.run("SET", "y", 2)
    primary.run("EXEC")


def test_times_of_fields_stand_alone_where_a_transaction_would_be_dropped(world: World) -> None:
    primary, replica = two(world)
    old, new = Guest(primary, REDIS_7_0), Guest(primary, VALKEY)
    for one in (old, new):
        one.follow(world)
    transaction(primary)
    primary.run("HSETEX", "h", "PX", 10**6, "FIELDS", 1, "g", "v")
    world.settle()
    names = [args[0] for args in old.stream()]
    first, second = [b"MULTI", b"SET", b"HSET", b"EXEC", b"HPEXPIREAT", b"SET"], [b"HSET", b"HPEXPIREAT"]
    assert names == first + second and old.stream() == new.stream()
    assert not old.closed and replica.content() == primary.content()


def test_a_stream_that_was_not_made_for_it_is_not_continued(world: World) -> None:
    primary, replica = two(world)
    where = place(primary)
    transaction(primary)
    world.settle()
    assert replica.content() == primary.content()
    assert Guest(primary, VALKEY).ask(world, *where).startswith(b"+CONTINUE")
    old = Guest(primary, REDIS_7_0)
    assert old.ask(world, *where).startswith(b"+FULLRESYNC ")
    assert Guest(primary, REDIS_7_0).ask(world, *place(primary)).startswith(b"+CONTINUE")


def test_who_asks_together_with_a_tool_loses_no_times(world: World) -> None:
    primary, _ = two(world)
    primary.run("HSET", "h", "f", "v")
    primary.run("HPEXPIRE", "h", 10**6, *FIELDS)
    own, tool = Guest(primary, VALKEY, "REPLCONF capa hashslot"), Guest(primary, REDIS_7_0, "REPLCONF rdb-only 1")
    assert primary.node.run(tool.client, [b"PSYNC", b"?", b"-1"]) is resp.SILENCE
    assert own.follow(world)[b"h"].deadlines is not None


def test_restored_values_are_told_in_a_form_that_every_replica_reads(world: World) -> None:
    source = World().node(7100)
    source.run("HSET", "h", "f", "v", "g", "w")
    source.run("HPEXPIRE", "h", 10**6, *FIELDS)
    source.run("SADD", "s", "a", "b")
    source.run("SET", "t", "text")
    primary, replica = two(world)
    guest = Guest(primary, REDIS_7_0)
    guest.follow(world)
    for key, options in (("h", []), ("s", ["REPLACE"]), ("t", ["ABSTTL"])):
        primary.run("RESTORE", key, 10**13 if options == ["ABSTTL"] else 5000, source.run("DUMP", key), *options)
    world.settle()
    assert replica.content() == primary.content()
    restores = [args for args in guest.stream() if args[0] == b"RESTORE"]
    assert [args[1] for args in restores] == [b"h", b"s", b"t"] and all(args[-1] == b"ABSTTL" for args in restores)
    assert all(int.from_bytes(args[3][-10:-8], "little") <= 10 for args in restores)
    assert [args[0] for args in guest.stream()] == [b"RESTORE", b"HPEXPIREAT", b"RESTORE", b"RESTORE"]


# What is what ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "need"), [
    ("SET k v", Needs.NOTHING), ("json.set k $ 1", Needs.MODULES), ("HPEXPIREAT k 1 FIELDS 1 f", Needs.FIELD_TIMES),
    ("hsetex k FIELDS 1 f v", Needs.NEWER), ("Restore-Asking k 0 \7x", Needs.MODULES), ("RESTORE k 0 x", Needs.NOTHING),
    ("RESTORE k", Needs.NOTHING),
])  # fmt: skip
def test_what_a_command_takes(line: str, need: Needs) -> None:
    args = [word.encode() for word in line.split(" ")]
    assert foreign.needs(args) is need
    both = Needs.NEWER if need is Needs.FIELD_TIMES else need
    assert foreign.hardest([[b"SET", b"a", b"b"], args]) == (both, args if need else [b"SET", b"a", b"b"])


def test_every_module_command_is_known_as_one() -> None:
    dotted = {command.name for command in COMMANDS if "." in command.name}
    assert {name.partition(".")[0] for name in dotted} == {"json", "bf", "cf", "cms", "topk", "tdigest"}


@pytest.mark.parametrize(("announced", "known"), [
    (Announced(port=1), Needs.NOTHING), (Announced(port=1, version="8.1.0"), Needs.NOTHING),
    (Announced(port=1, version="9.1.0"), Needs.NEWER), (Announced(port=1, own=True), Needs.MODULES),
    (Announced(), Needs.MODULES), (Announced(port=1, rdb_only=True), Needs.MODULES),
])  # fmt: skip
def test_what_a_replica_knows(announced: Announced, known: Needs) -> None:
    assert foreign.known_by(announced, False) is known
    assert foreign.known_by(announced, True) is Needs.MODULES
