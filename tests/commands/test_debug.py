"""DEBUG in process."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.commands import debug
from node.resp import Push, encode3
from tests.commands.harness import Harness

REFUSED = "ERR DEBUG command not allowed."


@pytest.fixture
def redis() -> Harness:
    return Harness(settings={"enable-debug-command": "yes"})


def test_who_may() -> None:
    assert Harness().error("DEBUG", "JMAP").startswith(REFUSED)
    local = Harness(settings={"enable-debug-command": "local"})
    local.client.ip = "10.1.1.1"
    assert local.error("DEBUG", "JMAP").startswith(REFUSED)
    local.client.ip = "127.0.0.1"
    assert local.run("DEBUG", "JMAP") == "OK"
    local.client.ip = ""
    assert local.error("DEBUG", "JMAP").startswith(REFUSED)
    local.client.unix = True
    assert local.run("DEBUG", "JMAP") == "OK"


def test_digest_does_not_depend_on_order_but_on_all_else(redis: Harness) -> None:
    redis.run("HSET", "h", "a", 1, "b", 2)
    redis.run("SET", "k", 12)
    first = redis.run("DEBUG", "DIGEST")
    redis.run("DEL", "h", "k")
    redis.run("SET", "k", "12")
    redis.run("HSET", "h", "b", 2, "a", 1)
    assert redis.run("DEBUG", "DIGEST") == first
    redis.run("EXPIRE", "k", 10)
    assert redis.run("DEBUG", "DIGEST") != first
    redis.run("PERSIST", "k")
    redis.run("MOVE", "k", 1)
    assert redis.run("DEBUG", "DIGEST") != first


def test_populate_leaves_what_is_there_and_tells_nobody(redis: Harness) -> None:
    redis.run("SET", "key:1", "mine")
    assert redis.run("DEBUG", "POPULATE", 3) == "OK"
    assert redis.run("MGET", "key:0", "key:1", "key:2") == [b"value:0", b"mine", b"value:2"]
    redis.run("DEBUG", "POPULATE", 1, "p", 3)
    assert redis.run("GET", "p:0") == b"val"


def test_protocol_push_comes_before_its_reply(redis: Harness) -> None:
    sent: list[bytes] = []
    redis.client.send = sent.append
    assert redis.error("DEBUG", "PROTOCOL", "push") == "ERR RESP2 is not supported by this command"
    redis.client.set_protocol(3)
    assert redis.run("DEBUG", "PROTOCOL", "push") == b"Some real reply following the push reply"
    assert sent == [encode3(Push([b"server-cpu-usage", 42]))]
    assert redis.wire("DEBUG", "PROTOCOL", "attrib", protocol=3).startswith(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n")


def test_active_expiry_can_be_switched_off(redis: Harness) -> None:
    redis.run("SET", "k", "v", "PX", 1)
    redis.advance(5)
    redis.run("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    assert redis.node.sweep_expired(10) == 0
    redis.run("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    assert redis.node.sweep_expired(10) == 1


def test_what_is_only_noted(redis: Harness) -> None:
    redis.run("DEBUG", "DROP-CLUSTER-PACKET-FILTER", 3)
    redis.run("DEBUG", "CLOSE-CLUSTER-LINK-ON-PACKET-DROP", 1)
    redis.run("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "1kb")
    switches = redis.node.debug
    assert (switches.drop_packet_filter, switches.close_link_on_drop) == (3, True)
    assert switches.quicklist_packed_threshold == 1024
    before = redis.node.replication.id
    redis.run("DEBUG", "CHANGE-REPL-ID")
    assert redis.node.replication.id != before


def test_replicate_tells_replicas_what_did_not_happen(redis: Harness) -> None:
    stream: list[list[bytes]] = []
    redis.node.replication.feeding = True
    redis.node.replication.feed = lambda database, args: stream.append(list(args))  # type: ignore[method-assign]
    redis.run("DEBUG", "REPLICATE", "SET", "a", "b")
    assert stream == [[b"SET", b"a", b"b"]] and redis.run("GET", "a") is None


def test_stringmatch(redis: Harness) -> None:
    assert redis.run("DEBUG", "STRINGMATCH-LEN", "a*c", "abbc") == 1
    assert redis.run("DEBUG", "STRINGMATCH-LEN", "a*c", "abb") == 0


def test_sleep_holds_the_process_for_this_long(redis: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(debug.time, "sleep", slept.append)
    for text in ("0.25", "3", "-1", "x", "1e-3s"):
        assert redis.run("DEBUG", "SLEEP", text) == "OK"
    assert slept == [0.25, 3.0, 0.0, 0, 0.001]


def test_panic_ends_the_process(redis: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(debug.os, "abort", lambda: ended.append("abort"))
    redis.run("DEBUG", "PANIC")
    assert ended == ["abort"]


def test_restart_writes_the_settings_first(redis: Harness, tmp_path: Path) -> None:
    path = tmp_path / "redis.conf"
    redis.node.identity.config_file = str(path)
    redis.run("CONFIG", "SET", "hz", "44")
    assert redis.run("DEBUG", "RESTART", 20) == "OK"
    assert "hz 44" in path.read_text()
    assert redis.io.asked == [("call_later", 20)]


def test_listpack_prints_and_object_tells(redis: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    redis.run("HSET", "h", "f", "v")
    assert redis.run("DEBUG", "LISTPACK", "h") == "Listpack structure printed on stdout"
    assert capsys.readouterr().out.startswith('"h": ')
    redis.run("SET", "k", 12)
    assert redis.error("DEBUG", "LISTPACK", "k") == "ERR Not a listpack encoded object."
    assert " encoding:int serializedlength:2 " in redis.run("DEBUG", "OBJECT", "k")


def test_help_names_every_subcommand(redis: Harness) -> None:
    lines = redis.run("DEBUG", "HELP")
    for name in debug._ACTIONS:
        assert any(line.split(" ")[0] == name.decode() for line in lines), name
    assert redis.error("DEBUG", "SLEEP").startswith("ERR unknown subcommand or wrong number of arguments for 'SLEEP'.")
