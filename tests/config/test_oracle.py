"""Every setting against redis-server 7.0: the same values, the same errors, the same printing."""

from __future__ import annotations

import pytest
import redis

from node.config import BY_NAME, SETTINGS, Config, ConfigError
from node.numbers import INT_MAX, LLONG_MAX, UINT_MAX
from node.settings.kinds import Choice, Flags, Int, Memory, Text
from tests.config.conftest import Client

#: Names whose setting touches the real process or our connection to it.
TOUCHES_PROCESS = {"port", "bind", "tls-port", "oom-score-adj", "requirepass", "watchdog-period", "appendonly", "dir"}

#: Defaults that differ from 7.0's on purpose (or because the fixture sets them).
OTHER_DEFAULTS = {"bind", "port", "dir", "save", "enable-protected-configs", "repl-diskless-sync-delay"}

COMMON = [
    "",
    "yes",
    "no",
    "YES",
    "maybe",
    "0",
    "1",
    "-1",
    "+1",
    " 1",
    "1 ",
    "01",
    "-0",
    "7",
    "1e3",
    "0x10",
    "1.5",
    "\u00e9",
]
NUMBERS = [
    str(edge + delta)
    for edge in (64, 99, 100, 500, 1000, 65535, 1 << 20, INT_MAX, UINT_MAX, LLONG_MAX, -INT_MAX - 1, -LLONG_MAX - 1)
    for delta in (-1, 0, 1)
] + ["18446744073709551615", "-18446744073709551616", "99999999999999999999999"]
SIZES = ["b", "kb", "5b", "5k", "5kb", "5M", "5Mb", "2g", "2GB", "5t", "-5kb", "5%", "100%", "101%", "-5%", "%", "1 kb"]
SPECIAL = {
    "save": ["1 2", "1 2 3", "1 2 3 4", "0 1", "1 -1", "1  2", "a b", "+1 2", "007 8", '""', "1 2 ", "900 1 900 1"],
    "client-output-buffer-limit": [
        "normal 1mb 1k 60",
        "replica 1 2 3",
        "SLAVE 4 5 6 pubsub 7 8 9",
        "master 0 0 0",
        "normal 0 0",
        "normal 0 0 x",
        "normal -1 0 0",
        "normal 0 0 -1",
        "normal 0 0 0 foo 1 1 1",
        "normal  0 0 0",
        "normal 0 0 1kb",
    ],
    "oom-score-adj-values": ["1 2 3", "1 2", "1 2 3 4", "1 2 x", "-2000 0 2000", "-2001 0 0", "0 0 2001", "3 2 1"],
    "latency-tracking-info-percentiles": [
        "50",
        "50 99.999",
        "101",
        "-1",
        "0 100",
        "a",
        "50 nan",
        "inf",
        "1e1",
        "0x10",
        "99.99999999",
        "1.50",
        "50  60",
    ],
    "notify-keyspace-events": [
        "K",
        "KEA",
        "AKE",
        "g$lshzxet",
        "g$lshzxetd",
        "Ad",
        "dm",
        "tK",
        "Em",
        "kea",
        "KKK",
        "K E",
    ],
    "shutdown-on-sigint": [
        "save",
        "save nosave",
        "default save",
        "now force",
        "FORCE NOW",
        "save  now",
        "nosave save now",
    ],
    "proc-title-template": ["{title}", "{x}", "{", "}", "{title} {port}", "a{title}b", "{{title}}", "{unixsocket}"],
    "cluster-announce-hostname": ["a.b-c", "a_b", "a" * 255, "a" * 256, "a b"],
    "dbfilename": ["x.rdb", "a/b", "/x", "."],
    "repl-diskless-load": ["flush"],
}
#: What differs on purpose, and why.
WIDER = {
    "loglevel": "7.2 adds nothing",
    "maxmemory-samples": "7.2 bounds it by 64",
    "cluster-announce-ip": "Valkey 9 takes what the bus and nodes.conf can hold and nothing else",
}


def values_for(name: str) -> list[str]:
    """Values worth trying on a setting."""
    setting = BY_NAME[name]
    values = COMMON + SPECIAL.get(name, [])
    if isinstance(setting, Int):
        values = values + NUMBERS + [str(setting.low - 1), str(setting.low), str(setting.high), str(setting.high + 1)]
    if isinstance(setting, Memory):
        values = values + SIZES
    if isinstance(setting, Choice):
        values = values + setting.choices + [word.upper() for word in setting.choices]
        if isinstance(setting, Flags):
            values = values + [f"{one} {other}" for one in setting.choices for other in setting.choices]
    return values


def outcome(server: Client, name: str, value: str) -> str:
    """What the real server says to CONFIG SET, then to CONFIG GET."""
    try:
        answer = server.execute_command("CONFIG", "SET", name, value)
        said = "OK" if answer in (b"OK", True) else str(answer)
    except redis.ResponseError as error:
        said = str(error)
    shown = server.execute_command("CONFIG", "GET", name)
    raw = next(iter(shown.values())) if isinstance(shown, dict) else shown[1]
    return f"{said.removeprefix('ERR ')} -> {raw.decode('utf-8', 'surrogateescape') if isinstance(raw, bytes) else raw}"


def ours(config: Config, name: str, value: str) -> str:
    """What we say to the same."""
    try:
        config.set_many({name: value})
        said = "OK"
    except ConfigError as error:
        said = str(error)
    return f"{said.removeprefix('ERR ')} -> {config.text(name)}"


def skipped(name: str, value: str) -> bool:
    """Values that would hurt the real server, or where newer servers are meant."""
    setting = BY_NAME[name]
    if name in WIDER and value.lower() in ("nothing", "", *COMMON, *NUMBERS):
        return True
    if isinstance(setting, Choice) and name in WIDER:
        return False
    digits = value.lstrip("+-").rstrip("%kKmMgGbB")
    if isinstance(setting, Memory) and digits.isdigit() and int(digits) > 1 << 63:
        return True
    if name == "maxmemory-clients" and (
        value in ("7", "b") or (setting.kind and value[:1].isdigit() and value[-1:] != "%")
    ):
        return True
    return name == "maxclients" and value.isdigit() and int(value) > 5000 and int(value) <= UINT_MAX


@pytest.fixture(scope="module")
def names(redis70: Client) -> list[str]:
    shown = redis70.execute_command("CONFIG", "GET", "*")
    return sorted(name.decode() if isinstance(name, bytes) else name for name in shown)


def test_every_name_of_the_real_servers_is_known(names: list[str], valkey91: Client) -> None:
    newer = [
        name.decode() if isinstance(name, bytes) else name for name in valkey91.execute_command("CONFIG", "GET", "*")
    ]
    assert len(names) > 180 and len(newer) > 220
    assert [name for name in (*names, *newer) if name not in BY_NAME] == []


def test_defaults_are_printed_as_redis_prints_them(names: list[str], redis70: Client) -> None:
    config = Config()
    shown = redis70.execute_command("CONFIG", "GET", "*")
    theirs = {key.decode(): value.decode() for key, value in shown.items()}
    different = {
        name: (theirs[name], config.text(name))
        for name in names
        if BY_NAME[name].name not in OTHER_DEFAULTS and theirs[name] != config.text(name)
    }
    assert different == {}


#: Where 9.1 differs from 7.2 on purpose; we follow 7.2 (or the build does not have it).
VALKEY_ONLY_TOUCHES = {"rdma-bind", "hash-seed", "slot-migration-max-failover-repl-bytes", "import-mode"}


def test_settings_of_valkey_take_and_refuse_what_valkey_does(names: list[str], valkey91: Client) -> None:
    config = Config()
    shown = valkey91.execute_command("CONFIG", "GET", "*")
    newer = {key.decode(): value.decode() for key, value in shown.items() if key.decode() not in names}
    assert len(newer) > 40
    assert {name: text for name, text in newer.items() if config.text(name) != text} == {}
    different = []
    for name in newer:
        if name in VALKEY_ONLY_TOUCHES or name.startswith("tls-") or BY_NAME[name].immutable:
            continue
        for value in values_for(name):
            theirs, mine = outcome(valkey91, name, value), ours(config, name, value)
            if theirs != mine:
                different.append((name, value, theirs, mine))
        valkey91.execute_command("CONFIG", "SET", name, newer[name])
    assert different == [], "\n" + "\n".join(map(str, different))


def test_every_setting_takes_and_refuses_what_redis_does(names: list[str], redis70: Client) -> None:
    config = Config()
    config.load("enable-protected-configs", ["yes"])
    tried = 0
    different = []
    for name in names:
        if BY_NAME[name].name in TOUCHES_PROCESS or name.startswith("tls-"):
            continue
        before = redis70.execute_command("CONFIG", "GET", name)
        start_value = next(iter(before.values())).decode()
        if not BY_NAME[name].immutable:
            config.set_many({name: start_value})
        for value in values_for(name):
            if skipped(name, value):
                continue
            tried += 1
            theirs, mine = outcome(redis70, name, value), ours(config, name, value)
            if BY_NAME[name].immutable:
                theirs, mine = theirs.partition(" -> ")[0], mine.partition(" -> ")[0]
            if theirs != mine:
                different.append((name, value, theirs, mine))
        if not BY_NAME[name].immutable:
            redis70.execute_command("CONFIG", "SET", name, start_value)
    assert different == [], "\n" + "\n".join(map(str, different))
    assert tried > 5000


@pytest.mark.parametrize(
    "args",
    [
        ["slave-priority", "abc"], ["MAXCLIENTS", "abc"], ["Slave-Priority", "abc"], ["FOO", "1"],
        ["timeout", "1", "timeout", "2"], ["timeout", "1", "TIMEOUT", "2"],
        ["slave-priority", "1", "replica-priority", "2"],
        ["foo", "1", "maxclients", "abc"], ["maxclients", "abc", "foo", "1"], ["port", "abc", "databases", "3"],
        ["databases", "3", "bar", "4"], ["databases", "3", "databases", "4"], ["timeout", "5", "hz", "x"],
        ["hz", "x", "timeout", "x"], ["DATABASES", "3"], ["timeout", "9", "lfu-decay-time", "3"], ["slaveof", "a 1"],
        ["timeout", "1", "timeout", "2", "foo", "3"], ["aclfile", "x", "timeout", "1", "timeout", "1"],
        ["lua-time-limit", "x"], ["TIMEOUT", "3", "Hash-Max-Ziplist-Entries", "-4"],
    ],
)  # fmt: skip
def test_several_at_once(args: list[str], redis70: Client) -> None:
    config = Config()
    for name in ("timeout", "hz", "lfu-decay-time", "replica-priority"):
        redis70.execute_command("CONFIG", "SET", name, config.text(name))
    try:
        theirs = redis70.execute_command("CONFIG", "SET", *args) and "OK"
    except redis.ResponseError as error:
        theirs = f"ERR {str(error).removeprefix('ERR ')}"
    try:
        config.set_args([arg.encode() for arg in args])
        mine = "OK"
    except ConfigError as error:
        mine = str(error)
    assert mine == theirs
    for name in ("timeout", "hz", "lfu-decay-time", "replica-priority"):
        assert outcome(redis70, name, "").rpartition("-> ")[2] == config.text(name)


@pytest.mark.parametrize(
    "patterns",
    [
        ["maxclients"], ["MAXCLIENTS"], ["maxclients", "MAXCLIENTS", "maxclient[s]"], ["*clients*", "maxc*"], ["MAXC*"],
        ["hash-max-*"], ["slave*"], ["key-load-delay"], ["key-load-dela?"], ["nothing-such"], ["*max-*-[ev]*"],
        ["repl*-p*y"], ["\\*"], ["a\\bc"], ["maxclient\\s"], ["maxclient\\s*"], ["[^a-y]*"], ["slaveof", "replicaof"],
    ],
)  # fmt: skip
def test_config_get(patterns: list[str], redis70: Client, names: list[str]) -> None:
    shown = redis70.execute_command("CONFIG", "GET", *patterns)
    theirs = {key.decode() for key in shown}
    mine = {key.decode() for key in Config().get_matching([pattern.encode() for pattern in patterns])}
    assert mine - {name for name in BY_NAME if name not in names and name not in patterns} == theirs


def test_text_settings_take_any_bytes(redis70: Client) -> None:
    raw = b"\xff\x00 a\xc3\xa9"
    config = Config()
    config.set_args([b"masterauth", raw])
    redis70.execute_command("CONFIG", "SET", "masteruser", b"\xff a\xc3\xa9")
    assert config.get_matching([b"masterauth"]) == {b"masterauth": raw}
    assert isinstance(Config.masterauth, Text)
    assert redis70.execute_command("CONFIG", "GET", "masteruser") == {b"masteruser": b"\xff a\xc3\xa9"}


def test_names_are_unique() -> None:
    every = [name for setting in SETTINGS for name in (setting.name, *setting.aliases)]
    assert len(every) == len(set(every)) == len(BY_NAME)
