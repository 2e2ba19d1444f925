"""CLUSTER SLOT-STATS: what is counted, in process and beside valkey-server 9.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.slots import key_slot
from node.client import Unusual
from node.errors import CommandError
from tests.clients.up import until
from tests.commands.harness import Harness
from tests.servers import start

ENABLED = {"cluster-slot-stats-enabled": "yes"}

REQUESTS = """
SLOTSRANGE | SLOTSRANGE 1 | SLOTSRANGE 1 x | SLOTSRANGE x 1 | SLOTSRANGE 3 1 | SLOTSRANGE 0 16384 | SLOTSRANGE -1 5
SLOTSRANGE 1 2 3 | foo | foo 1 | foo 1 2 | ORDERBY | ORDERBY foo | ORDERBY key-count LIMIT | ORDERBY key-count LIMIT 0
ORDERBY key-count LIMIT -1 | ORDERBY key-count LIMIT x | ORDERBY key-count LIMIT 16385 | ORDERBY memory-bytes LIMIT 1
ORDERBY network-bytes-in DESC ASC LIMIT 1 | ORDERBY network-bytes-in LIMIT 1 LIMIT 2 | ORDERBY network-bytes-in foo
ORDERBY key-count LIMIT 1 foo | slotsrange 12538 12540 | ORDERBY key-count LIMIT 5 | ORDERBY KEY-COUNT limit 3 asc
ORDERBY network-bytes-in LIMIT 4 | ORDERBY network-bytes-out LIMIT 4 | ORDERBY network-bytes-in ASC LIMIT 2
"""
"""What stands behind CLUSTER SLOT-STATS."""

LOAD = """
SET a 1 | GET a | SET foo bar | HSET h f v g w | HGETALL h | INCR h | APPEND foo xyz | MGET {a}1 {a}2 | DEL {a}1 | PING
LRANGE nothing 0 -1 | set A.b.c 12 EX 100 | TTL A.b.c | GETRANGE foo 0 1
"""


def lines(text: str) -> list[list[str]]:
    return [one.split() for line in text.strip().splitlines() for one in line.split("|")]


def facts(redis: Harness, slot: int) -> dict[bytes, int]:
    ((told, found),) = redis.run("CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot)
    assert told == slot
    return dict(found)


@pytest.fixture
def redis() -> Harness:
    return Harness(clustered=True, settings=ENABLED)


def test_what_a_request_costs_its_slot(redis: Harness) -> None:
    slot = key_slot(b"k")
    redis.run("SET", "k", "value")
    assert facts(redis, slot) == {
        b"key-count": 1,
        b"cpu-usec": 5,
        b"network-bytes-in": len(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n"),
        b"network-bytes-out": len(b"+OK\r\n"),
    }
    assert redis.wire("GET", "k") == b"$5\r\nvalue\r\n"
    assert redis.wire("INCR", "k").startswith(b"-ERR ")
    assert facts(redis, slot)[b"cpu-usec"] == 15
    assert set(facts(redis, slot + 1).values()) == {0}


def test_a_transaction_counts_by_its_parts(redis: Harness) -> None:
    for request in ("MULTI", "SET k value", "GET k"):
        redis.run(*request.split())
    assert redis.wire("EXEC") == b"*2\r\n+OK\r\n$5\r\nvalue\r\n"
    assert facts(redis, key_slot(b"k"))[b"network-bytes-out"] == len(b"+OK\r\n$5\r\nvalue\r\n")


def test_off_costs_nothing_and_shows_only_keys() -> None:
    redis = Harness(clustered=True)
    redis.run("SET", "k", "value")
    assert not redis.node.unusual and facts(redis, key_slot(b"k")) == {b"key-count": 1}
    assert redis.io.ticks == 0, "nobody should have measured"
    assert redis.error("CLUSTER", "SLOT-STATS", "ORDERBY", "cpu-usec") == "ERR Unrecognized sort metric for ORDERBY."
    redis.run("CONFIG", "SET", "cluster-slot-stats-enabled", "yes")
    assert redis.node.unusual == Unusual.SLOT_STATS
    redis.run("GET", "k")
    assert facts(redis, key_slot(b"k"))[b"cpu-usec"] == 5
    redis.run("CONFIG", "SET", "cluster-slot-stats-enabled", "no")
    assert not redis.node.unusual


def test_a_standalone_server_has_no_slots() -> None:
    redis = Harness(settings=ENABLED)
    assert not redis.node.unusual
    assert redis.error("CLUSTER", "SLOT-STATS", "ORDERBY", "key-count") == "ERR This instance has cluster support disabled"


def test_begins_at_zero_again(redis: Harness) -> None:
    slot, other = key_slot(b"a"), key_slot(b"b")
    redis.run("GET", "a")
    redis.run("GET", "b")
    cluster = redis.node.cluster
    assert cluster is not None
    cluster.operations.del_slots([slot], redis.node.now_ms)
    redis.node.slots_changed()
    assert redis.run("CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot) == []
    cluster.operations.add_slots([slot], redis.node.now_ms)
    assert facts(redis, slot)[b"network-bytes-in"] == 0 and facts(redis, other)[b"network-bytes-in"] > 0
    redis.run("CONFIG", "RESETSTAT")
    assert facts(redis, other)[b"network-bytes-in"] == 0


@pytest.mark.real
def test_beside_valkey(tmp_path: Path) -> None:
    redis = Harness(clustered=True, settings=ENABLED)
    options = ("--cluster-enabled", "yes", "--cluster-slot-stats-enabled", "yes", "--cluster-node-timeout", "1000")
    with start("valkey", tmp_path, *options) as real, real.connect(protocol=2) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: client.set("ready", 1), "writable")
        client.delete("ready")
        client.config_resetstat()
        for request in lines(LOAD):
            try:
                client.execute_command(*request)
            except Exception as error:
                assert "not an integer" in str(error) or "WRONGTYPE" in str(error), error
            redis.wire(*request)
        for request in lines(REQUESTS):
            theirs, ours = from_real(client, request), from_ours(redis, request)
            assert theirs == ours, request


def from_real(client: Any, request: list[str]) -> Any:
    try:
        return without_time(client.execute_command("CLUSTER SLOT-STATS", *request))
    except Exception as error:
        return str(error).removeprefix("ERR ")


def from_ours(redis: Harness, request: list[str]) -> Any:
    try:
        reply: Any = redis.run("CLUSTER", "SLOT-STATS", *request)
    except CommandError as error:
        return error.text.removeprefix("ERR ")
    return without_time([[slot, [word for pair in found.items() for word in pair]] for slot, found in reply])


def without_time(reply: Any) -> Any:
    """How long it took is each server's own."""
    plain = []
    for slot, found in reply:
        metrics = dict(zip(found[::2], found[1::2], strict=True))
        assert metrics.pop(b"cpu-usec") >= 0
        plain.append((slot, metrics))
    return plain
