"""Connection commands in process."""

from __future__ import annotations

from node.client import Unusual
from tests.commands.harness import Harness


def test_a_new_client_needs_the_password_and_only_that() -> None:
    redis = Harness(settings={"requirepass": "secret"})
    assert redis.error("GET", "k") == "NOAUTH Authentication required."
    assert redis.error("AUTH", "wrong").startswith("WRONGPASS")
    assert redis.error("HELLO").startswith("NOAUTH HELLO must be called")
    assert redis.run("AUTH", "secret") == "OK"
    assert redis.run("GET", "k") is None
    assert redis.client.unusual == 0
    assert redis.error("AUTH", "default", "wrong").startswith("WRONGPASS")
    assert redis.run("GET", "k") is None


def test_hello_logs_in_names_and_switches_at_once() -> None:
    redis = Harness(settings={"requirepass": "secret"})
    reply = redis.run("HELLO", 3, "AUTH", "default", "secret", "SETNAME", "me")
    assert reply[b"proto"] == 3 and reply[b"mode"] == b"standalone" and reply[b"role"] == b"master"
    assert redis.client.resp == 3 and redis.client.name == b"me"
    assert redis.client.encode(None) == b"_\r\n"
    redis.run("HELLO", 2)
    assert redis.client.encode(None) == b"$-1\r\n"


def test_a_failed_hello_changes_nothing() -> None:
    redis = Harness(settings={"requirepass": "secret"})
    for request in (
        ("HELLO", 3, "AUTH", "default", "wrong"),
        ("HELLO", 3, "AUTH", "default", "secret", "SETNAME", "a b"),
    ):
        redis.error(*request)
        assert redis.client.resp == 2 and redis.client.name == b"" and not redis.client.authenticated


def test_taking_the_password_away_lets_waiting_clients_in() -> None:
    redis = Harness(settings={"requirepass": "secret"})
    waiting = redis.connect()
    redis.run("AUTH", "secret")
    redis.run("CONFIG", "SET", "requirepass", "")
    assert redis.node.executor.execute(waiting, [b"PING"]) == "PONG"


def test_a_new_password_does_not_log_anybody_out() -> None:
    redis = Harness()
    redis.run("CONFIG", "SET", "requirepass", "secret")
    assert redis.run("PING") == "PONG"
    assert not redis.connect().authenticated


def test_reset_is_a_new_connection_but_for_its_id() -> None:
    redis = Harness()
    client = redis.client
    redis.run("HELLO", 3, "SETNAME", "me")
    redis.run("SELECT", 5)
    redis.run("CLIENT", "NO-EVICT", "ON")
    redis.run("CLIENT", "REPLY", "OFF")
    redis.run("MONITOR")
    client.mark(Unusual.READONLY, True)
    assert redis.run("RESET") == "RESET"
    assert (client.resp, client.name, client.database.index, client.no_evict, client.unusual) == (2, b"", 0, False, 0)
    assert not redis.node.monitors and not redis.node.unusual & Unusual.MONITORED


def test_quit_closes_once_the_reply_is_out() -> None:
    redis = Harness()
    assert redis.run("QUIT", "whatever") == "OK"
    assert redis.client.closing


def test_ping_answers_subscribers_in_resp2_with_an_array() -> None:
    redis = Harness()
    redis.client.mark(Unusual.SUBSCRIBED, True)
    assert redis.run("PING") == [b"pong", b""]
    redis.client.set_protocol(3)
    assert redis.run("PING") == "PONG"
