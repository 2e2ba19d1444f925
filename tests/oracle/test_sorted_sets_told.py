"""What is said of sorted set and geo commands: facts by both servers, effects by the stream of redis-server 7.0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from node.commands import geo, geo_radius, introspection, sorted_sets, sorted_sets_algebra, sorted_sets_ranges
from node.registry import Command
from tests.commands.harness import Harness
from tests.oracle.conftest import Servers
from tests.oracle.facts import declared, told
from tests.oracle.oracle import Stream, Told, words

GROUPS = (sorted_sets.group, sorted_sets_ranges.group, sorted_sets_algebra.group, geo.group, geo_radius.group)
COMMANDS = {command.name: command for group in GROUPS for command in group.commands}

_WORDS = "Redis 7.2 says it in other words"
_POLYGONS = "Valkey 9.0 added BYPOLYGON"
_WITHSCORE = "WITHSCORE came with 7.2"
_VARIABLE = "Valkey marks the keys that STORE may name"
_UNITS = "7.0 forgets to tell of the units here"
UNLIKE: dict[tuple[str, str, str], str] = {
    ("redis", "*", "summary"): _WORDS,
    ("redis", "zrandmember", "complexity"): _WORDS,
    ("redis", "zrank", "arity"): _WITHSCORE,
    ("redis", "zrank", "history"): _WITHSCORE,
    ("redis", "zrevrank", "arity"): _WITHSCORE,
    ("redis", "zrevrank", "history"): _WITHSCORE,
    ("valkey", "zscan", "history"): "NOSCORES is of Valkey 8.0 and of Redis 7.4",
    ("valkey", "*", "deprecated"): "Valkey deprecates none of these",
    ("redis", "geodist", "complexity"): _WORDS,
    ("redis", "geohash", "complexity"): _WORDS,
    ("redis", "geopos", "complexity"): _WORDS,
    ("valkey", "geosearch", "summary"): _POLYGONS,
    ("valkey", "geosearch", "history"): _POLYGONS,
    ("valkey", "geosearchstore", "summary"): _POLYGONS,
    ("valkey", "geosearchstore", "history"): _POLYGONS,
    ("valkey", "georadius", "keys"): _VARIABLE,
    ("valkey", "georadiusbymember", "keys"): _VARIABLE,
    ("redis", "georadius_ro", "history"): _UNITS,
    ("redis", "georadiusbymember", "history"): _UNITS,
    ("redis", "georadiusbymember_ro", "history"): _UNITS,
}
"""By server, command and fact: why ours differs."""


def _declared(command: Command) -> dict[str, Any]:
    return declared(command) | {"range": introspection.key_range(command)}


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", COMMANDS)
def test_command(servers: Servers, kind: str, name: str) -> None:
    facts = told(servers.wire(kind, 3), name)
    assert facts is not None
    ours = _declared(COMMANDS[name])
    for fact, theirs in facts.items():
        if {(kind, name, fact), (kind, "*", fact)} & UNLIKE.keys():
            continue
        assert theirs == ours[fact], fact


def test_no_exception_is_idle(servers: Servers) -> None:
    for (kind, name, fact), reason in UNLIKE.items():
        names = COMMANDS if name == "*" else [name]
        facts = {one: told(servers.wire(kind, 3), one) or {} for one in names}
        assert any(facts[one].get(fact) != _declared(COMMANDS[one])[fact] for one in names), f"{kind} {name}: {reason}"


@pytest.mark.parametrize("group", ["sorted-set", "geo"])
def test_every_command_of_the_group_is_there(servers: Servers, group: str) -> None:
    """COMMAND DOCS of redis-server 7.0 lists no command of the group that we lack, but the blocking ones."""
    every = servers.wire("redis", 3).call(b"COMMAND", b"DOCS")
    names = [
        name.value.decode()
        for name, facts in every.value
        if any(fact.value == b"group" and value.value.decode() == group for fact, value in facts.value)
    ]
    assert len(names) > 5
    assert [name for name in names if name not in COMMANDS and not name.startswith("bz")] == []


TABLES = {
    "sorted sets": """
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f
        ZADD z 1 a
        ZADD z NX 1 a 9 g
        ZADD z INCR 1 a
        ZADD z XX INCR 1 nothing
        ZINCRBY z 1 a
        ZINCRBY z 0 a
        ZREM z nothing
        ZREM z a nothing
        ZPOPMIN z
        ZPOPMAX z 2
        ZPOPMIN z 0
        ZPOPMIN nothing
        ZMPOP 2 nothing z MIN COUNT 2
        ZMPOP 1 z MAX COUNT 99
        ZMPOP 1 z MAX
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f
        ZREMRANGEBYRANK z 0 0
        ZREMRANGEBYRANK z 50 60
        ZREMRANGEBYSCORE z 2 2
        ZREMRANGEBYSCORE z 50 60
        ZADD y 1 a 1 b
        ZREMRANGEBYLEX y [a [a
        ZREMRANGEBYLEX y [x [y
        ZUNIONSTORE d 2 z y
        ZINTERSTORE d 2 z nothing
        ZINTERSTORE d 2 z nothing
        ZDIFFSTORE d 2 z y
        ZRANGESTORE d z 0 1
        ZRANGESTORE d z 50 60
        ZRANGESTORE d z 50 60
        ZRANGE z 0 -1
        ZRANDMEMBER z 2
    """,
    "geo": """
        GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
        GEOADD g 13.361389 38.115556 Palermo
        GEOADD g NX CH 1 1 Palermo 2 2 New
        geoadd g xx 1 1 Palermo
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST
        GEOSEARCHSTORE d g FROMLONLAT 100 37 BYRADIUS 200 km
        GEOSEARCHSTORE d g FROMLONLAT 100 37 BYRADIUS 200 km
        GEORADIUS g 15 37 200 km
        GEORADIUS g 15 37 200 km STORE d
        GEORADIUSBYMEMBER g Palermo 200 km STOREDIST d
        GEORADIUS nothing 15 37 200 km STORE d
        GEORADIUS nothing 15 37 200 km STORE d
    """,
}


@pytest.fixture(scope="module")
def stream(servers: Servers) -> Iterator[Stream]:
    stream = Stream(servers.server("redis"))
    yield stream
    stream.close()


@pytest.mark.parametrize("name", TABLES)
def test_told_as_redis_tells(stream: Stream, name: str) -> None:
    stream.of(b"FLUSHALL")
    ours = Told(Harness())
    for line in TABLES[name].splitlines():
        request = words(line)
        if request:
            assert ours.of(*request) == stream.of(*request), line
