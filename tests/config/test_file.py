"""Configuration files and command lines: the same words and the same error blocks as redis-server 7.0."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.config import Config
from node.config_file import ConfigFileError, FatalConfigError, Loader, load_command_line, words_of
from node.settings.kinds import quote, to_bytes, to_text
from tests.servers import program

COMMANDS = frozenset(("get", "set", "flushall", "config"))

#: A line that no server takes: it ends a good file, so that the real server never starts.
END = "zzz-no-such-setting"


def loader(config: Config) -> Loader:
    """Ours, with the version of the server that we compare with."""
    return Loader(config, "7.0.15", lambda name: name in COMMANDS)


def our_error(args: list[str], stdin: bytes = b"", directory: str = "") -> str:
    """What we print for a command line that must fail."""
    config = Config(directory)
    with pytest.raises(ConfigFileError) as raised:
        load_command_line(args, config, loader(config), io.BytesIO(stdin))
    return str(raised.value)


def their_error(args: list[str], stdin: bytes = b"", directory: str = "") -> str:
    """What redis-server prints for it (the block, or the text of its one log line)."""
    done = subprocess.run(
        [*program("redis"), *args], input=stdin, capture_output=True, timeout=20, cwd=directory or None, check=False
    )
    assert done.returncode == 1
    if b"*** FATAL" in done.stderr:
        return to_text(done.stderr).rstrip("\n")
    last = to_text(done.stdout).rstrip("\n").split("\n")[-1]
    return last.partition(" # ")[2]


BAD_LINES = [
    "foo bar", "port", "port 1 2", "maxclients abc", "appendonly maybe", "save 1", "include", "rename-command foo bar",
    "rename-command get", "rename-command GET GET2 X", "user", "loadmodule", 'dir "x', "dir /nonexistent", "dir ''",
    "client-output-buffer-limit foo 1 2 3", "client-output-buffer-limit normal 0 0", "slaveof a", "slaveof a b",
    "slaveof a 70000", "requirepass a b", "bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "port 70000", "hz -1",
    "cluster-config-file 'a b' c", "enable-debug-command maybe", "sentinel monitor x", "oom-score-adj-values 1 2",
    "proc-title-template {foo}", "dbfilename a/b", "cluster-announce-hostname a_b", "tcp-backlog x",
    "latency-tracking-info-percentiles 1 101", 'requirepass "abc', 'requirepass "abc"d', "requirepass 'abc",
    "syslog-facility foo", "databases 0", "unixsocketperm 888", "unixsocketperm 7777", "maxmemory-clients 101%",
    "maxmemory 1t", "PORT abc", "  hz   abc  ", "\thz\tabc", "hz abc # comment", "hz 10 # comment", "save", "save x y",
    "save 'a b'", "save \"1 2 3\"", "notify-keyspace-events", "notify-keyspace-events q", "bind", "appendfilename a/b",
    "appendfilename ''", "appenddirname ''", "appenddirname a/b", "list-max-ziplist-entries", "io-threads 129", "''",
    "shutdown-on-sigint save nosave", "shutdown-on-sigint 'save nosave'", "oom-score-adj-values '1 2'", "logfile a b",
    "aclfile", "list-max-ziplist-value 1 2", "lua-replicate-commands yes no", "\\x41 b", '"\\x41\\n" b', "include a b",
    "socket-mark-id -1", "socket-mark-id 4294967296", "client-output-buffer-limit", "latency-tracking-info-percentiles",
    "active-defrag-ignore-bytes 0", "activedefrag yes", "unixsocketperm -1", "unixsocketperm 9", "unixsocketperm ''",
]  # fmt: skip


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_refused_in_the_same_words(line: str, tmp_path: Path) -> None:
    path = tmp_path / "node.conf"
    path.write_bytes(b"# comment\n\n" + to_bytes(line) + b"\n" + END.encode() + b"\n")
    assert our_error([str(path)]) == their_error([str(path)])


GOOD_LINES = [
    "list-max-ziplist-entries 3", "lua-replicate-commands yes", "slaveof no one", "replicaof a 1", "save ''", 'save ""',
    "save 1 2\nsave 3 4", "save 900 1 300 10", "save '1 2 3 4'", "CLUSTER-ENABLED yes", "bind 127.0.0.1 ::1", "bind ''",
    "bind '127.0.0.1 ::1'", "requirepass ' a\\'b'", 'requirepass "\\x00\\n\\q"', "rename-command GET ''",
    "client-output-buffer-limit normal 0 0 0 pubsub 1 2 3", "unixsocketperm 777", "hz 0", "hz 1000",
    "syslog-enabled no",
    "notify-keyspace-events ''", "notify-keyspace-events \"Ex\"", "shutdown-on-sigint save now", "dir .", "dir /",
    "latency-tracking-info-percentiles ''", "latency-tracking-info-percentiles 1 2", "include nonexist*.conf", "\r\n\t",
    "oom-score-adj-values '1 2 3'", "maxmemory 1.", "maxmemory-clients 5%", "logfile ''", "key-load-delay -5",
    "aclfile ''",
]  # fmt: skip


@pytest.mark.parametrize("line", GOOD_LINES)
def test_a_good_line_is_taken(line: str, tmp_path: Path) -> None:
    path = tmp_path / "node.conf"
    path.write_bytes(to_bytes(line) + b"\n" + END.encode() + b"\n")
    assert our_error([str(path)], directory=str(tmp_path)) == their_error([str(path)], directory=str(tmp_path))


COMMAND_LINES = [
    ["--port", "abc"], ["--port"], ["--port", "--bind", "1"], ["--port abc"], ["--save", "--port", "abc"],
    ["--port", "1", "--save", "--zzz"], ["FILE", "--foo", 'a"b', "c"], ["--appendonly", "--"], ["--port", "1", "x"],
    ["--cluster-enabled", "yes", "--replicaof", "a", "1"], ["-"], ["FILE", "--hz", "5", "-"],
    ["--port", "3", "-", "--hz"],
    ["--client-output-buffer-limit", "normal 0 0", "0", "--port", "abc"], ["/nonexist.conf"],
    ["--include", "/nonexist.conf"],
    ["--include /nonex*.conf", "--port", "abc"], ["--save", "", "--port", "x"], ["--hz", "1\n2"],
    ["--maxclients", "\u00e9"],
    ["--port 1", "--hz 2", "--zzz"], ["--port 1", "2"], ["--SAVE", "--port", "q"], ["--save", "1", "2", "--save", "x"],
    ["--", "x"], ["--port", "7000", "--cluster-enabled", "yes", "--bad"], ["--'a b'", "--port", "x"], ["FILE", "x"],
    ["--requirepass", "--x", "--port", "x"], ["--save", "--port 1", "--hz", "x"],
]  # fmt: skip


@pytest.mark.parametrize("args", COMMAND_LINES, ids=" ".join)
def test_command_lines_are_joined_as_redis_joins_them(args: list[str], tmp_path: Path) -> None:
    path = tmp_path / "node.conf"
    path.write_text("# one\nhz 20")
    args = [str(path) if arg == "FILE" else arg for arg in args]
    stdin = b"\nmaxclients x\n"
    assert our_error(args, stdin, str(tmp_path)) == their_error(args, stdin, str(tmp_path))


def test_options_come_after_the_file_and_win(tmp_path: Path) -> None:
    path = tmp_path / "node.conf"
    path.write_text(
        "port 7001\nsave 60 1\nmaxmemory 1gb\nuser bob on +@all\nrename-command GET ''\nloadmodule a.so b\n"
    )
    config = Config()
    load_command_line([str(path), "--port", "7002", "--save", "30", "2", "--cluster-enabled", "yes"], config)
    assert (config.port, config.save, config.maxmemory, config.cluster_enabled) == (
        7002,
        ((60, 1), (30, 2)),
        1 << 30,
        True,
    )
    assert config.user_lines == [("bob", "on", "+@all")]
    assert config.renamed_commands == [("get", "")]
    assert config.module_lines == [("a.so", "b")]
    assert config.file == str(path)


def test_includes_are_relative_to_the_directory_and_take_globs(tmp_path: Path) -> None:
    for name, text in (("b.conf", "hz 22\n"), ("a.conf", "hz 11\ntimeout 3\n"), ("one", "port 5\n")):
        (tmp_path / name).write_text(text)
    config = Config(str(tmp_path))
    Loader(config).load_text("include *.conf\ninclude one\n")
    assert (config.hz, config.timeout, config.port) == (22, 3, 5)
    with pytest.raises(FatalConfigError, match="No such file or directory"):
        Loader(config).load_text("include two\n")


def test_an_include_that_leads_back_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("include b\n")
    (tmp_path / "b").write_text("include a\n")
    with pytest.raises(ConfigFileError, match="leads back to itself"):
        Loader(Config(str(tmp_path))).load_text("include a\n")


def test_an_error_in_an_included_file_names_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\n\nport x\n")
    (tmp_path / "node.conf").write_text("include a\n")
    args = [str(tmp_path / "node.conf")]
    assert our_error(args, directory=str(tmp_path)) == their_error(args, directory=str(tmp_path))


def test_standard_input(tmp_path: Path) -> None:
    config = Config(str(tmp_path))
    load_command_line(["-"], config, stdin=io.BytesIO(b"port 1\nhz 3"))
    assert (config.port, config.hz, config.file) == (1, 3, "")
    config = Config(str(tmp_path))
    load_command_line(["--timeout", "4", "-"], config, stdin=io.BytesIO(b"port 1\n"))
    assert (config.port, config.timeout) == (1, 4)


def test_a_zero_byte_ends_a_line() -> None:
    assert words_of("a\0b") == ["a"]
    assert words_of('"a\0b"') is None


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=5))
def test_quoting_is_read_back(words: list[bytes]) -> None:
    texts = [to_text(word) for word in words]
    assert words_of(" ".join(map(quote, texts))) == texts


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    config = Config(os.sep)
    try:
        Loader(config).load_text(to_text(raw))
    except ConfigFileError as error:
        assert "FATAL CONFIG FILE ERROR" in str(error)
