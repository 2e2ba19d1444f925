"""CLIENT in process: lists, filters, pauses and waiting clients."""

from __future__ import annotations

import pytest

from node.client import Client
from node.executor import Postponed
from node.resp import SILENCE, Verbatim
from tests.commands.harness import Harness


@pytest.fixture
def redis() -> Harness:
    return Harness()


def connected(redis: Harness, address: str) -> tuple[Client, list[str]]:
    """One more client, and what happened to it."""
    client = redis.connect()
    events: list[str] = []
    client.address = address
    client.local_address = "127.0.0.1:6379"
    client.close = lambda: events.append("closed")
    return client, events


def lines(reply: Verbatim) -> list[dict[str, str]]:
    return [dict(part.split("=", 1) for part in line.split(" ")) for line in reply.text.decode().splitlines()]


def test_list_tells_what_the_client_set(redis: Harness) -> None:
    redis.run("CLIENT", "SETNAME", "me")
    redis.run("CLIENT", "SETINFO", "LIB-NAME", "lib")
    redis.run("CLIENT", "SETINFO", "LIB-VER", "1.2")
    redis.run("SELECT", 3)
    redis.run("CLIENT", "NO-EVICT", "on")
    redis.run("CLIENT", "NO-TOUCH", "on")
    redis.advance(5000)
    (told,) = lines(redis.run("CLIENT", "LIST"))
    assert told["name"] == "me" and told["lib-name"] == "lib" and told["lib-ver"] == "1.2"
    assert told["db"] == "3" and told["flags"] == "eT" and told["age"] == "5" and told["cmd"] == "client|list"
    assert lines(redis.run("CLIENT", "INFO"))[0]["id"] == told["id"]


def test_list_names_the_last_command(redis: Harness) -> None:
    other, _ = connected(redis, "10.0.0.1:1000")
    for request, name in (([], "NULL"), ([b"GET", b"k"], "get"), ([b"config", b"GET"], "config|get"), ([b"x"], "NULL")):
        other.last_request = request
        assert lines(redis.run("CLIENT", "LIST", "ID", other.id))[0]["cmd"] == name


def test_list_filters(redis: Harness) -> None:
    other, _ = connected(redis, "10.0.0.1:1000")
    replica, _ = connected(redis, "10.0.0.2:1000")
    replica.is_replica = True
    assert [one["id"] for one in lines(redis.run("CLIENT", "LIST", "TYPE", "replica"))] == [str(replica.id)]
    assert [one["flags"] for one in lines(redis.run("CLIENT", "LIST", "TYPE", "slave"))] == ["S"]
    ids = lines(redis.run("CLIENT", "LIST", "ID", other.id, 999, redis.client.id))
    assert [one["id"] for one in ids] == [str(other.id), str(redis.client.id)]


@pytest.mark.parametrize(
    ("filters", "killed"),
    [
        (("ADDR", "10.0.0.1:1"), {1}),
        (("LADDR", "127.0.0.1:6379"), {1, 2}),
        (("TYPE", "normal"), {1}),
        (("TYPE", "replica"), {2}),
        (("USER", "default"), {1, 2}),
        (("USER", "default", "TYPE", "replica"), {2}),
        (("ADDR", "10.0.0.1:1", "TYPE", "replica"), set()),
        (("MAXAGE", "10"), {1}),
        (("MAXAGE", "11"), set()),
    ],
)
def test_kill_filters(redis: Harness, filters: tuple[str, ...], killed: set[int]) -> None:
    _, first = connected(redis, "10.0.0.1:1")
    redis.advance(10_000)
    redis.client.created_ms = redis.node.now_ms
    replica, second = connected(redis, "10.0.0.2:1")
    replica.is_replica = True
    assert redis.run("CLIENT", "KILL", *filters) == len(killed)
    assert {number for number, events in ((1, first), (2, second)) if events == ["closed"]} == killed
    assert not redis.client.closing


def test_kill_by_address_and_oneself(redis: Harness) -> None:
    _, events = connected(redis, "10.0.0.1:1")
    assert redis.run("CLIENT", "KILL", "10.0.0.1:1") == "OK" and events == ["closed"]
    assert redis.error("CLIENT", "KILL", "10.0.0.1:1") == "ERR No such client"
    assert redis.run("CLIENT", "KILL", "ID", redis.client.id) == 0
    assert redis.run("CLIENT", "KILL", "ID", redis.client.id, "SKIPME", "no") == 1
    assert redis.client.closing


def test_pause_holds_requests_until_unpause(redis: Harness) -> None:
    redis.run("CLIENT", "PAUSE", 1000, "WRITE")
    assert redis.run("GET", "k") is None
    with pytest.raises(Postponed):
        redis.run("SET", "k", "v")
    redis.run("CLIENT", "PAUSE", 10)
    with pytest.raises(Postponed):
        redis.run("GET", "k")
    assert redis.node.pause.until_ms == redis.node.now_ms + 1000
    redis.run("CLIENT", "UNPAUSE")
    assert redis.run("SET", "k", "v") == "OK"
    assert redis.io.asked == [("resume_clients",)]


def test_reply_modes(redis: Harness) -> None:
    client = redis.client

    def sent(*args: object) -> bytes:
        reply = redis.run(*args)
        return client.encode(reply)

    assert sent("CLIENT", "REPLY", "SKIP") == b"" and sent("ECHO", 1) == b"" and sent("ECHO", 2) == b"$1\r\n2\r\n"
    assert redis.run("CLIENT", "REPLY", "OFF") is SILENCE
    assert sent("ECHO", 1) == b"" and sent("CLIENT", "REPLY", "SKIP") == b"" and sent("ECHO", 2) == b""
    assert sent("CLIENT", "REPLY", "ON") == b"+OK\r\n" and sent("ECHO", 3) == b"$1\r\n3\r\n"


def test_unblock_ends_waiting_with_the_timeout_reply_or_an_error(redis: Harness) -> None:
    for mode, expected in (((), 0), (("TIMEOUT",), 0), (("ERROR",), "UNBLOCKED client unblocked via CLIENT UNBLOCK")):
        other, _ = connected(redis, "10.0.0.1:1")
        other.waits_for = redis.node.gate.wait(100, lambda: 0, replicas=1)
        assert redis.run("CLIENT", "UNBLOCK", other.id, *mode) == 1
        assert other.waits_for.ready
        assert getattr(other.waits_for.value, "text", other.waits_for.value) == expected
        assert redis.run("CLIENT", "UNBLOCK", other.id, "TIMEOUT") == 0
    assert redis.run("CLIENT", "UNBLOCK", redis.client.id) == 0


def test_names_keep_the_list_readable(redis: Harness) -> None:
    for name in ("a b", "a\n", "é", "\x7f"):
        assert redis.error("CLIENT", "SETNAME", name).startswith("ERR Client names cannot contain")
        assert redis.error("CLIENT", "SETINFO", "LIB-NAME", name).startswith("ERR LIB-NAME cannot contain")
    redis.run("CLIENT", "SETNAME", "me")
    redis.run("CLIENT", "SETNAME", "")
    assert redis.run("CLIENT", "GETNAME") is None


def test_tracking_is_absent(redis: Harness) -> None:
    assert redis.error("CLIENT", "TRACKING", "ON").startswith("ERR unknown subcommand 'TRACKING'")
    assert redis.run("CLIENT", "GETREDIR") == -1
    assert redis.run("CLIENT", "TRACKINGINFO") == {b"flags": {b"off"}, b"redirect": -1, b"prefixes": []}
