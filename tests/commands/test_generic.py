"""Key commands in process, with time turned by hand."""

from __future__ import annotations

import pytest

from node.client import Unusual
from node.persistence import payload
from node.types.hash import Hash
from tests.commands.harness import START_MS, Harness


@pytest.fixture
def redis() -> Harness:
    return Harness()


def told(redis: Harness) -> list[list[bytes]]:
    """What goes to replicas from here on."""
    stream: list[list[bytes]] = []
    redis.node.replication.feeding = True
    redis.node.replication.feed = lambda database, args: stream.append(list(args))  # type: ignore[method-assign]
    return stream


def test_a_key_is_gone_at_its_deadline_and_replicas_hear_it_once(redis: Harness) -> None:
    redis.run("SET", "k", "v")
    redis.run("PEXPIRE", "k", 20)
    stream = told(redis)
    redis.advance(19)
    assert redis.run("EXISTS", "k") == 1
    assert redis.run("PTTL", "k") == 1
    redis.advance(1)
    assert redis.run("EXISTS", "k") == 0
    assert redis.run("TTL", "k") == -2
    assert stream == [[b"DEL", b"k"]]


def test_an_expired_key_counts_as_absent_for_every_command(redis: Harness) -> None:
    commands = (
        ("DEL", "k"),
        ("UNLINK", "k"),
        ("PERSIST", "k"),
        ("EXPIRE", "k", 10),
        ("COPY", "k", "x"),
        ("MOVE", "k", 1),
        ("TOUCH", "k"),
    )
    for command in commands:
        redis.run("SET", "k", "v", "PX", 5)
        redis.advance(5)
        assert redis.run(*command) == 0, command
    redis.run("SET", "k", "v", "PX", 5)
    redis.advance(5)
    assert redis.error("RENAME", "k", "x") == "ERR no such key"
    redis.run("SET", "k", "v", "PX", 5)
    redis.advance(5)
    assert redis.run("KEYS", "*") == [] and redis.run("RANDOMKEY") is None
    redis.run("SET", "k", "v", "PX", 5)
    redis.advance(5)
    assert redis.run("SCAN", 0) == [b"0", []]
    assert redis.run("DBSIZE") == 0


def test_an_expired_target_is_free_for_renamenx_copy_move_and_restore(redis: Harness) -> None:
    redis.run("SET", "gone", "v", "PX", 5)
    redis.run("SELECT", 1)
    redis.run("SET", "a", "v", "PX", 5)
    redis.run("SELECT", 0)
    redis.advance(5)
    redis.run("SET", "a", 1)
    assert redis.run("RENAMENX", "a", "gone") == 1
    redis.run("SET", "a", "1")
    assert redis.run("MOVE", "a", 1) == 1
    redis.run("SET", "k", "v", "PX", 5)
    redis.advance(5)
    assert redis.run("RESTORE", "k", 0, payload.dump(b"new")) == "OK"
    assert redis.run("GET", "k") == b"new"


def test_on_a_replica_time_only_hides(redis: Harness) -> None:
    redis.run("SET", "k", "v", "PX", 5)
    redis.node.mark(Unusual.REPLICA, True)
    stream = told(redis)
    redis.advance(5)
    assert redis.run("EXISTS", "k") == 0 and redis.run("KEYS", "*") == []
    assert len(redis.node.databases[0]) == 1
    assert stream == []


@pytest.mark.parametrize("command", ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"])
def test_deadlines_are_told_as_unix_ms(redis: Harness, command: str) -> None:
    redis.run("SET", "k", "v")
    stream = told(redis)
    amount = {"EXPIRE": 7, "PEXPIRE": 7000, "EXPIREAT": START_MS // 1000 + 7, "PEXPIREAT": START_MS + 7000}[command]
    assert redis.run(command, "k", amount) == 1
    assert redis.run("PEXPIRETIME", "k") == START_MS + 7000
    assert stream == [[b"PEXPIREAT", b"k", b"%d" % (START_MS + 7000)]]


def test_lazy_expiry_is_told_as_unlink() -> None:
    redis = Harness(settings={"lazyfree-lazy-expire": "yes"})
    redis.run("SET", "k", "v")
    stream = told(redis)
    redis.run("EXPIRE", "k", 0)
    assert stream == [[b"UNLINK", b"k"]]


def test_copies_share_nothing(redis: Harness) -> None:
    redis.run("HSET", "h", "f", "v")
    redis.run("APPEND", "s", "text")
    redis.run("COPY", "h", "h2")
    redis.run("COPY", "s", "s2", "DB", 3)
    redis.run("HSET", "h2", "f", "changed")
    redis.run("SELECT", 3)
    redis.run("APPEND", "s2", " and more")
    redis.run("SELECT", 0)
    assert redis.run("HGET", "h", "f") == b"v"
    assert redis.run("GET", "s") == b"text"


def test_in_a_cluster_there_is_one_database() -> None:
    redis = Harness(clustered=True)
    redis.run("SET", "{a}1", "v")
    assert redis.error("SELECT", 1) == "ERR SELECT is not allowed in cluster mode"
    assert redis.run("SELECT", 0) == "OK"
    assert redis.error("SWAPDB", "x", "y") == "ERR SWAPDB is not allowed in cluster mode"
    assert redis.error("MOVE", "{a}1", "x") == "ERR MOVE is not allowed in cluster mode"
    for target in ("{a}1", "{a}2"):
        expected = "ERR Copying to another database is not allowed in cluster mode"
        assert redis.error("COPY", "{a}1", target, "DB", 1) == expected
    assert redis.error("COPY", "{a}1", "{a}2", "DB", 99) == "ERR DB index is out of range"
    assert redis.run("COPY", "{a}1", "{a}2", "DB", 0) == 1
    assert redis.error("RENAME", "{a}1", "b").startswith("CROSSSLOT")


def test_in_a_cluster_keys_of_all_slots_are_listed() -> None:
    redis = Harness(clustered=True)
    names = {b"k%d" % number for number in range(50)}
    for name in names:
        redis.run("SET", name, 1)
    assert set(redis.run("KEYS", "*")) == names
    assert redis.run("DBSIZE") == 50
    assert redis.run("RANDOMKEY") in names
    cursor, seen = b"0", set()
    while True:
        cursor, page = redis.run("SCAN", cursor, "COUNT", 7)
        seen |= set(page)
        if cursor == b"0":
            break
    assert seen == names
    assert redis.run("FLUSHALL") == "OK" and redis.run("DBSIZE") == 0


def test_in_a_cluster_expired_keys_of_other_slots_are_not_listed() -> None:
    redis = Harness(clustered=True)
    for number in range(10):
        redis.run("SET", f"k{number}", 1, "PX", 5)
    redis.advance(5)
    assert redis.run("SCAN", 0, "COUNT", 100) == [b"0", []]
    assert redis.run("RANDOMKEY") is None and redis.run("DBSIZE") == 0


def test_scan_returns_each_key_that_stays(redis: Harness) -> None:
    for number in range(3000):
        redis.run("SET", f"k{number}", 1)
    cursor, seen, turns = b"0", set(), 0
    while True:
        cursor, page = redis.run("SCAN", cursor, "COUNT", 100)
        seen |= set(page)
        redis.run("DEL", f"k{3 * turns + 1}")
        redis.run("SET", f"new{turns}", 1)
        turns += 1
        if cursor == b"0":
            break
    stayed = {b"k%d" % number for number in range(3000)} - {b"k%d" % (3 * turn + 1) for turn in range(turns)}
    assert stayed <= seen


def test_scan_by_type_and_pattern(redis: Harness) -> None:
    redis.run("MSET", "a1", 1, "a2", 2, "b1", 3)
    redis.run("HSET", "a3", "f", "v")
    assert redis.run("SCAN", 0, "TYPE", "hash") == [b"0", [b"a3"]]
    assert sorted(redis.run("SCAN", 0, "MATCH", "a*", "TYPE", "string")[1]) == [b"a1", b"a2"]


def test_idle_time_is_noted_once_somebody_asks(redis: Harness) -> None:
    redis.run("SET", "k", "v")
    assert not redis.node.unusual & Unusual.NOTED
    assert redis.run("OBJECT", "IDLETIME", "k") == 0
    redis.advance(5000)
    assert redis.run("OBJECT", "IDLETIME", "k") == 5
    for looks_only in (("TTL", "k"), ("TYPE", "k"), ("EXISTS", "k"), ("OBJECT", "ENCODING", "k")):
        redis.run(*looks_only)
    assert redis.run("OBJECT", "IDLETIME", "k") == 5
    redis.run("GET", "k")
    assert redis.run("OBJECT", "IDLETIME", "k") == 0
    redis.advance(3000)
    redis.run("CLIENT", "NO-TOUCH", "ON")
    redis.run("GET", "k")
    assert redis.run("OBJECT", "IDLETIME", "k") == 3
    redis.run("TOUCH", "k")
    assert redis.run("OBJECT", "IDLETIME", "k") == 0


def test_idle_times_go_with_the_keys_of_a_swapped_database() -> None:
    redis = Harness(settings={"maxmemory-policy": "allkeys-lru"})
    redis.run("SET", "k", "v")
    redis.advance(4000)
    redis.run("SWAPDB", 0, 1)
    redis.run("SET", "k", "other")
    assert redis.run("OBJECT", "IDLETIME", "k") == 0
    redis.run("SELECT", 1)
    assert redis.run("OBJECT", "IDLETIME", "k") == 4


def test_restore_with_idle_time_and_frequency() -> None:
    redis = Harness(settings={"maxmemory-policy": "allkeys-lru"})
    redis.run("RESTORE", "k", 0, payload.dump(b"v"), "IDLETIME", 100)
    assert redis.run("OBJECT", "IDLETIME", "k") == 100
    redis.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    redis.run("RESTORE", "f", 0, payload.dump(b"v"), "FREQ", 100)
    assert redis.run("OBJECT", "FREQ", "f") == 100
    assert "An LFU maxmemory policy is selected" in redis.error("OBJECT", "IDLETIME", "f")


def test_frequency_grows_with_use_and_decays_with_time() -> None:
    redis = Harness(settings={"maxmemory-policy": "allkeys-lfu"})
    redis.run("SET", "k", "v")
    assert redis.run("OBJECT", "FREQ", "k") == 5
    for _ in range(300):
        redis.run("GET", "k")
    grown = redis.run("OBJECT", "FREQ", "k")
    assert 5 < grown < 40
    redis.advance(3 * 60_000)
    assert redis.run("OBJECT", "FREQ", "k") == grown - 3


def test_small_integers_are_not_shared_where_each_key_has_its_access_time() -> None:
    assert Harness().run("OBJECT", "REFCOUNT", "none") is None
    redis = Harness(settings={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"})
    redis.run("SET", "k", 5)
    assert redis.run("OBJECT", "REFCOUNT", "k") == 1


def test_dump_and_restore_of_every_type(redis: Harness) -> None:
    for value in (b"text", 12, bytearray(b"changed in place"), Hash({b"f": b"v", b"g": b"w"})):
        redis.node.databases[0].store(b"k", value, None)
        data = redis.run("DUMP", "k")
        redis.run("RESTORE", "copy", 0, data, "REPLACE")
        assert redis.run("DUMP", "copy") == data


def test_help_frames_what_the_declarations_say(redis: Harness) -> None:
    lines = redis.run("OBJECT", "HELP")
    assert lines[0] == "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert "ENCODING key" in lines and lines[-2:] == ["HELP", "    Prints this help."]


def test_keys_with_a_star_lists_the_empty_key() -> None:
    redis = Harness()
    redis.run("MSET", "", 1, "a", 1)
    assert sorted(redis.run("KEYS", "*")) == [b"", b"a"]  # type: ignore[arg-type, type-var]
    assert redis.run("KEYS", "**") == [b"a"]
