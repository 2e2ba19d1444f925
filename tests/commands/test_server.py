"""Server commands in process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.client import Unusual
from node.info import human_size
from node.resp import SILENCE
from tests.commands.harness import START_MS, Harness


@pytest.fixture
def redis() -> Harness:
    return Harness()


def fields(redis: Harness, *sections: str) -> dict[str, str]:
    text = redis.run("INFO", *sections).text.decode()
    return dict(line.split(":", 1) for line in text.splitlines() if line and not line.startswith("#"))


def test_flushing_one_database_and_all(redis: Harness) -> None:
    for number in range(3):
        redis.run("SELECT", number)
        redis.run("SET", "k", "v", "EX", 10)
    redis.run("FLUSHDB")
    assert redis.run("DBSIZE") == 0 and not redis.node.databases[2].expires
    redis.run("SELECT", 0)
    assert redis.run("DBSIZE") == 1
    redis.run("FLUSHALL")
    assert [len(database) for database in redis.node.databases[:3]] == [0, 0, 0]


def test_flushing_lazily_frees_later() -> None:
    redis = Harness(settings={"lazyfree-lazy-user-flush": "yes"})
    redis.run("MSET", "a", 1, "b", 2)
    redis.run("FLUSHALL")
    assert sum(asked[1] for asked in redis.io.asked if asked[0] == "free_later") == 2
    redis.run("SET", "a", 1)
    redis.run("FLUSHALL", "SYNC")
    assert sum(asked[1] for asked in redis.io.asked if asked[0] == "free_later") == 2


def test_flushing_is_told_even_when_nothing_was_there(redis: Harness) -> None:
    stream: list[list[bytes]] = []
    redis.node.replication.feeding = True
    redis.node.replication.feed = lambda database, args: stream.append(list(args))  # type: ignore[method-assign]
    redis.run("FLUSHALL")
    redis.run("FLUSHDB", "ASYNC")
    assert stream == [[b"FLUSHALL"], [b"FLUSHDB", b"ASYNC"]]


def test_swapdb_swaps_what_clients_see_and_when_it_expires(redis: Harness) -> None:
    redis.run("SET", "k", "zero", "PX", 10)
    redis.run("SWAPDB", 0, 1)
    assert redis.run("GET", "k") is None
    redis.run("SELECT", 1)
    assert redis.run("GET", "k") == b"zero" and redis.run("PTTL", "k") == 10
    redis.advance(10)
    assert redis.run("GET", "k") is None


def test_time_and_lastsave_are_the_nodes_clock(redis: Harness) -> None:
    redis.advance(1234)
    assert redis.run("TIME") == [b"%d" % (START_MS // 1000 + 1), b"234000"]
    assert redis.run("LASTSAVE") == START_MS // 1000


def test_info_counts(redis: Harness) -> None:
    redis.run("CONFIG", "RESETSTAT")
    redis.run("SET", "a", 1, "PX", 500)
    redis.run("SET", "b", 1)
    redis.run("GET", "a")
    redis.run("GET", "none")
    redis.node.run(redis.client, [b"INCR", b"a", b"x"])
    redis.wire("HSET", "b", "f", "v")
    redis.advance(61_000)
    redis.run("GET", "a")
    told = fields(redis, "everything")
    assert told["keyspace_hits"] == "1" and told["keyspace_misses"] == "2" and told["expired_keys"] == "1"
    assert told["db0"] == "keys=1,expires=0,avg_ttl=0"
    assert told["uptime_in_seconds"] == "61" and told["redis_mode"] == "standalone"
    assert told["errorstat_WRONGTYPE"] == "count=1" and told["errorstat_ERR"] == "count=1"
    assert re.fullmatch(r"calls=3,usec=\d+,usec_per_call=[\d.]+,rejected_calls=0,failed_calls=0", told["cmdstat_get"])
    assert told["cmdstat_incr"].endswith("rejected_calls=1,failed_calls=0")
    assert told["cmdstat_hset"].endswith("rejected_calls=0,failed_calls=1")
    assert int(told["used_memory"]) > 1_000_000 <= int(told["total_system_memory"])


def test_info_average_ttl(redis: Harness) -> None:
    redis.run("SET", "a", 1, "PX", 1000)
    redis.run("SET", "b", 1, "PX", 3000)
    assert fields(redis, "keyspace") == {"db0": "keys=2,expires=2,avg_ttl=2000"}


def test_info_takes_sections_in_any_case_and_number(redis: Harness) -> None:
    assert fields(redis, "nosuch") == {}
    assert fields(redis, "CLUSTER", "keyspace") == {"cluster_enabled": "0"}
    assert "cmdstat_info" not in fields(redis) and "cmdstat_info" in fields(redis, "all")


@pytest.mark.parametrize(("size", "shown"), [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1572864, "1.50M")])
def test_sizes_for_people(size: int, shown: str) -> None:
    assert human_size(size) == shown


def test_monitor_shows_requests_quoted_and_no_passwords(redis: Harness) -> None:
    watcher = redis.connect()
    seen: list[bytes] = []
    watcher.send = seen.append
    redis.client.address = "127.0.0.1:5000"
    assert redis.node.executor.execute(watcher, [b"MONITOR"]) == "OK"
    redis.advance(7)
    redis.run("SET", b'k"\\\n\r\t\a\b', b"\x00\xff ~")
    redis.run("AUTH", "default", "secret")
    redis.run("HELLO", 2, "AUTH", "default", "secret", "SETNAME", "x")
    redis.run("CONFIG", "GET", "port")
    head = b"+%d.007000 [0 127.0.0.1:5000] " % (START_MS // 1000)
    assert seen == [
        head + rb'"SET" "k\"\\\n\r\t\a\b" "\x00\xff ~"' + b"\r\n",
        head + b'"AUTH" "(redacted)" "(redacted)"\r\n',
        head + b'"HELLO" "2" "AUTH" "(redacted)" "(redacted)" "SETNAME" "x"\r\n',
    ]
    redis.node.forget_client(watcher)
    assert not redis.node.unusual & Unusual.MONITORED


@pytest.mark.parametrize(
    ("words", "points", "saved"),
    [
        ((), "", False),
        ((), "3600 1", True),
        (("NOSAVE",), "3600 1", False),
        (("SAVE", "NOW", "FORCE"), "", True),
    ],
)
def test_shutdown_at_once_when_no_replica_lags(
    words: tuple[str, ...], points: str, saved: bool, tmp_path: Path
) -> None:
    redis = Harness()
    redis.node.config.load("save", points.split() or [""])
    redis.node.config.load("dir", [str(tmp_path)])
    assert redis.run("SHUTDOWN", *words) is SILENCE
    assert redis.io.asked == [("shut_down", False)]
    assert (tmp_path / "dump.rdb").exists() is saved


def test_shutdown_that_can_not_save_does_not_happen(tmp_path: Path) -> None:
    redis = Harness(settings={"save": ""})
    redis.node.config.load("dir", [str(tmp_path)])
    (tmp_path / "dump.rdb").mkdir()
    assert redis.error("SHUTDOWN", "SAVE") == "ERR Errors trying to SHUTDOWN. Check logs."
    assert redis.run("SET", "k", "v") == "OK" and redis.io.asked == []
    assert redis.run("SHUTDOWN", "SAVE", "FORCE") is SILENCE
    assert redis.io.asked == [("shut_down", False)]
    assert [path.name for path in tmp_path.iterdir()] == ["dump.rdb"]


def test_shutdown_waits_for_replicas_and_can_be_aborted() -> None:
    redis = Harness(settings={"shutdown-timeout": "5", "save": ""})
    redis.node.replication.offset = 100
    redis.node.gate.acknowledge(7, 50)
    waiting = redis.run("SHUTDOWN")
    assert not waiting.ready and redis.io.asked == []
    assert redis.run("SHUTDOWN", "ABORT") == "OK"
    assert waiting.value.text == "ERR Errors trying to SHUTDOWN. Check logs."
    assert redis.error("SHUTDOWN", "ABORT") == "ERR No shutdown in progress."
    redis.io.asked.clear()
    redis.run("SHUTDOWN")
    redis.node.gate.acknowledge(7, 100)
    redis.node.closing.tick(redis.node.now_ms)
    assert redis.io.asked == [("shut_down", False)]
    redis = Harness(settings={"shutdown-timeout": "5", "save": ""})
    redis.node.replication.offset = 100
    redis.node.gate.acknowledge(7, 50)
    redis.run("SHUTDOWN")
    redis.node.closing.tick(redis.node.now_ms + 4999)
    assert redis.io.asked == []
    redis.node.closing.tick(redis.node.now_ms + 5000)
    assert redis.io.asked == [("shut_down", False)]


def test_memory_usage_grows_with_the_value(redis: Harness) -> None:
    redis.run("SET", "small", "x")
    redis.run("SET", "big", "x" * 10_000)
    redis.run("HSET", "h", *(f"field{number}" for number in range(200)))
    small, big = redis.run("MEMORY", "USAGE", "small"), redis.run("MEMORY", "USAGE", "big")
    assert 100 < small < 300 and big - small > 9_000
    assert redis.run("MEMORY", "USAGE", "h", "SAMPLES", 0) > 200 * 8
    assert redis.run("MEMORY", "USAGE", "none") is None
    stats = redis.run("MEMORY", "STATS")
    assert stats[b"keys.count"] == 3 and b"db.0" in stats


def test_lolwut_is_a_picture_and_a_version(redis: Harness) -> None:
    square = redis.run("LOLWUT", "VERSION", 5, 10, 2, 2).text.decode().splitlines()
    assert square[:5] == ["⠀⡤⠤⠤⠤⡤⠤⠤⠤⡄", "⠀⡇⠀⠀⠀⡇⠀⠀⠀⡇", "⠀⡧⠤⠤⠤⡧⠤⠤⠤⡇", "⠀⡇⠀⠀⠀⡇⠀⠀⠀⡇", "⠀⠧⠤⠤⠤⠧⠤⠤⠤⠇"]
    for arguments in ((), ("VERSION", 7), ("VERSION", 5), (12, 20), ("VERSION", 5, 0, -1, 99999)):
        text = redis.run("LOLWUT", *arguments).text.decode()
        assert "Redis ver. " in text and any("\u2801" <= dot <= "\u28ff" for dot in text)


def test_memory_usage_of_a_stream_with_deliveries() -> None:
    """A delivery and its consumer hold each other: counted once."""
    redis = Harness()
    redis.run("XADD", "x", "1-1", "a", "b")
    redis.run("XGROUP", "CREATE", "x", "g", 0)
    before = redis.run("MEMORY", "USAGE", "x")
    redis.run("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "x", ">")
    after = redis.run("MEMORY", "USAGE", "x")
    assert isinstance(before, int) and isinstance(after, int) and before < after < before + 2000
