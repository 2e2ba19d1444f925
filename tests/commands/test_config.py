"""CONFIG in process."""

from __future__ import annotations

from pathlib import Path

from tests.commands.harness import Harness


def test_get_takes_names_and_patterns_together() -> None:
    redis = Harness()
    reply = redis.run("CONFIG", "GET", "port", "maxmemory-*", "nosuch")
    assert reply[b"port"] == b"6379" and b"maxmemory-policy" in reply and b"maxmemory" not in reply


def test_set_is_all_or_nothing() -> None:
    redis = Harness()
    assert redis.error("CONFIG", "SET", "maxmemory", "1mb", "hz", "x").startswith("ERR CONFIG SET failed")
    assert redis.run("CONFIG", "GET", "maxmemory") == {b"maxmemory": b"0"}
    assert redis.error("CONFIG", "SET", "maxmemory", "1mb", "hz") == "ERR syntax error"
    assert redis.run("CONFIG", "SET", "maxmemory", "1mb", "hz", "20") == "OK"
    assert redis.run("CONFIG", "GET", "maxmemory") == {b"maxmemory": b"1048576"}


def test_protected_settings_are_for_local_clients_where_that_is_allowed() -> None:
    redis = Harness(settings={"enable-protected-configs": "local"})
    redis.client.ip = "10.0.0.1"
    assert "protected config" in redis.error("CONFIG", "SET", "dir", "/tmp")
    for ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        redis.client.ip = ip
        assert redis.run("CONFIG", "SET", "dir", "/tmp") == "OK"


def test_rewrite(tmp_path: Path) -> None:
    redis = Harness()
    assert redis.error("CONFIG", "REWRITE") == "ERR The server is running without a config file"
    path = tmp_path / "redis.conf"
    path.write_text("# mine\nhz 10\n")
    redis.node.identity.config_file = str(path)
    redis.run("CONFIG", "SET", "hz", "33")
    assert redis.run("CONFIG", "REWRITE") == "OK"
    assert path.read_text().startswith("# mine\nhz 33\n")
    redis.node.identity.config_file = str(tmp_path / "none" / "redis.conf")
    assert redis.error("CONFIG", "REWRITE").startswith("ERR Rewriting config file: ")


def test_resetstat_clears_counters_of_commands_and_errors() -> None:
    redis = Harness()
    redis.run("GET", "k")
    redis.wire("nosuch")
    redis.run("CONFIG", "RESETSTAT")
    text = redis.run("INFO", "commandstats", "errorstats", "stats").text.decode()
    assert "cmdstat_get" not in text and "errorstat_" not in text and "keyspace_misses:0" in text
