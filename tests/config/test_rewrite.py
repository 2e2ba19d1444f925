"""CONFIG REWRITE: the same file out of the same file as redis-server 7.0 writes, and never half a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from node.config import BY_NAME, SETTINGS, Config
from node.config_file import Loader, load_command_line
from node.config_rewrite import SIGNATURE, rewrite, rewritten
from tests.servers import start

OLD_FILE = """# top comment
port 24555


slave-priority 50
save 900 1
save 300 10
# mid
appendonly no
maxmemory 100mb
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit pubsub 1mb 1mb 60
requirepass "a b"
  hz   10
timeout 0
timeout 5
list-max-ziplist-entries 3
rename-command FLUSHALL ""
lua-time-limit 100
bind 127.0.0.1
# end
"""

CHANGES: list[dict[str, str]] = [
    {},
    {"maxmemory": "3gb", "maxmemory-clients": "5%", "loglevel": "debug", "requirepass": ""},
    {"maxmemory": "3221225473", "notify-keyspace-events": "KEA", "oom-score-adj-values": "1 2 3", "appendfsync": "no"},
    {"masterauth": 'x\n"y\x01\u00e9', "repl-backlog-size": "2mb", "shutdown-on-sigint": "save now", "timeout": "0"},
    {"save": "", "latency-tracking-info-percentiles": "", "slave-priority": "100", "lua-time-limit": "5000"},
    {"client-output-buffer-limit": "normal 1kb 2mb 3 pubsub 32mb 8mb 60", "hash-max-ziplist-entries": "7"},
    {
        "proc-title-template": "{title} {port}",
        "ignore-warnings": "x",
        "maxmemory": "0",
        "save": "1 2 3 4 5 6",
        "hz": "500",
    },
    {
        "cluster-announce-ip": "1.2.3.4",
        "dir": "/",
        "latency-tracking-info-percentiles": "1.5 100",
        "key-load-delay": "-3",
    },
]


def sorted_tail(text: str) -> tuple[list[str], list[str]]:
    """The kept part in order; what was added, sorted (Redis adds in the order of a hash table), without users."""
    lines = [line for line in text.split("\n") if not line.startswith("user ")]
    at = lines.index(SIGNATURE)
    return lines[:at], sorted(line for line in lines[at + 1 :] if line)


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: ",".join(changes) or "none")
def test_the_file_is_what_redis_writes(changes: dict[str, str], tmp_path: Path) -> None:
    theirs, mine = tmp_path / "theirs.conf", tmp_path / "mine.conf"
    theirs.write_text(OLD_FILE)
    options = ["--enable-protected-configs", "yes", "--requirepass", ""]
    with start("redis", tmp_path, *options, in_place=True, file=theirs) as server:
        mine.write_text(OLD_FILE)
        config = Config(str(tmp_path))
        wanted = ["--port", str(server.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path), *options]
        load_command_line([str(mine), *wanted], config, Loader(config, known_command=lambda name: True))
        for _ in range(2):
            rest = {name: value for name, value in changes.items() if name != "requirepass"}
            if rest:
                server.client.execute_command("CONFIG", "SET", *[word for pair in rest.items() for word in pair])
            config.set_many(rest)
            server.client.execute_command("CONFIG", "REWRITE")
            rewrite(str(mine), config, ["default on nopass"])
            assert sorted_tail(mine.read_text()) == sorted_tail(theirs.read_text())


def test_every_setting_is_read_back() -> None:
    config = Config("/")
    for setting in SETTINGS:
        config.__dict__[setting.attribute] = other_value(setting.name, config)
    again = Config("/tmp")
    Loader(again).load_text(rewritten("", config).replace("replicaof", "# replicaof"))
    different = [
        setting.name
        for setting in SETTINGS
        if setting.name != "replicaof" and config.text(setting.name) != again.text(setting.name)
    ]
    assert different == []


CANDIDATES = [
    "yes", "no", "17", "77", 'odd "name"\x7f', "1.2.3.4", "::1", "1 2", "1 2 3", "x", "{port}", "/", "KEA", "always",
    "local", "swapdb", "debug", "ip", "save now", "hostname", "clients", "CN", "json", "iso8601", "relaxed", "upstart",
    "best-effort", "allkeys-lru", "allchannels", "panic", "optional", "local1", "normal 1 2 3",
]  # fmt: skip


def other_value(name: str, config: Config) -> object:
    """A value that is not the default, where one is easily found; it need not make sense."""
    setting = BY_NAME[name]
    for text in CANDIDATES:
        try:
            value = setting.parse(text.split(" ") if setting.multiple else [text], setting.default)
        except ValueError:
            continue
        if value != setting.default:
            return value
    return config.get(name)


def test_an_empty_file_gets_what_differs() -> None:
    config = Config("/")
    config.set_many({"maxclients": "77"})
    lines = rewritten("", config).split("\n")
    assert lines[0] == SIGNATURE
    assert set(lines[1:]) == {
        "maxclients 77", 'dir "/"', "save 3600 1", "save 300 100", "save 60 10000",
        "latency-tracking-info-percentiles 50 99 99.9", "",
    }  # fmt: skip


def test_user_lines_are_replaced_or_left() -> None:
    old = "user a on\nport 1\nuser b off\n"
    assert "user a on\nport 6379\nuser b off\n" in rewritten(old, Config("/"))
    assert rewritten(old, Config("/"), ["c on"]).startswith("user c on\nport 6379\n\n# Generated")


def test_a_rewrite_is_atomic_and_keeps_the_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "node.conf"
    path.write_text("# old\n")
    path.chmod(0o600)
    rewrite(str(path), Config("/"))
    assert path.read_text().startswith("# old\n\n# Generated")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()

    def broken(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    config = Config("/")
    config.set_many({"hz": "99"})
    with pytest.raises(OSError, match="disk full"):
        rewrite(str(path), config)
    assert path.read_text() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["node.conf"]


def test_a_missing_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new.conf"
    rewrite(str(path), Config("/"))
    assert path.read_text().startswith(SIGNATURE)
