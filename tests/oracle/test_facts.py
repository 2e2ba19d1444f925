"""What we declare of each string and hash command is what redis-server 7.0 and valkey-server 9.1 say of it."""

from __future__ import annotations

from typing import Any

import pytest

from node.commands import hashes, strings, strings_numbers, strings_parts
from node.registry import Command
from tests.oracle.conftest import Servers
from tests.oracle.facts import declared, told
from tests.oracle.wire import Tree

GROUPS = (strings.group, strings_parts.group, strings_numbers.group, hashes.group)
COMMANDS = {command.name: command for group in GROUPS for command in group.commands}

_REWORDED = "Redis 7.2 says it in other words than 7.0"
UNLIKE: dict[tuple[str, str, str], str] = {
    ("redis", "*", "summary"): _REWORDED,
    ("redis", "msetnx", "tips"): "7.2 took back that MSETNX can be split",
    ("redis", "setnx", "deprecated"): "deprecated in the documents of 7.2",
    ("redis", "setex", "deprecated"): "deprecated in the documents of 7.2",
    ("redis", "psetex", "deprecated"): "deprecated in the documents of 7.2",
    ("valkey", "*", "deprecated"): "Valkey deprecates none of these",
    ("valkey", "set", "history"): "Valkey 8.1 added IFEQ",
    ("redis", "set", "history"): "Redis 8.4 added IFEQ, IFNE, IFDEQ, IFDNE",
    ("valkey", "append", "complexity"): "Valkey does not call itself Redis",
}
"""By server, command and fact: why ours differs."""


def _differences(kind: str, command: Command, facts: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    ours = declared(command)
    return {
        fact: (theirs, ours[fact])
        for fact, theirs in facts.items()
        if theirs != ours[fact] and not {(kind, command.name, fact), (kind, "*", fact)} & UNLIKE.keys()
    }


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", COMMANDS)
def test_command(servers: Servers, kind: str, name: str) -> None:
    facts = told(servers.wire(kind, 3), name)
    assert facts is not None
    assert _differences(kind, COMMANDS[name], facts) == {}


def test_no_exception_is_idle(servers: Servers) -> None:
    for (kind, name, fact), reason in UNLIKE.items():
        names = COMMANDS if name == "*" else [name]
        facts = {one: told(servers.wire(kind, 3), one) or {} for one in names}
        assert any(facts[one].get(fact) != declared(COMMANDS[one])[fact] for one in names), f"{kind} {name}: {reason}"


@pytest.mark.parametrize("group", ["string", "hash"])
def test_every_command_of_the_group_is_there(servers: Servers, group: str) -> None:
    """COMMAND DOCS of redis-server 7.0 lists no command of the group that we lack."""
    every = servers.wire("redis", 3).call(b"COMMAND", b"DOCS")
    names = [name.value.decode() for name, facts in every.value if _group(facts) == group]
    assert names
    assert [name for name in names if name not in COMMANDS] == []


def _group(facts: Tree) -> str:
    group: bytes = next(value.value for name, value in facts.value if name.value == b"group")
    return group.decode()
