"""COMMAND in process: the declarations of all commands are sound, and what is told of them."""

from __future__ import annotations

import pytest

from node.registry import Command
from node.state import COMMANDS
from node.syntax import Argument, parse_syntax
from tests.commands.harness import Harness

LOOSE = {"cluster|migrateslots": -4}
"""Valkey's own arities that are below what the syntax needs: the handler tells what is missing in words of its own."""
EVERY = [one for parent in COMMANDS for one in (parent, *parent.subcommands.values())]


@pytest.mark.parametrize("command", EVERY, ids=lambda command: command.name)
def test_every_declaration_is_sound(command: Command) -> None:
    """The syntax line can be read, begins with the name and fits the arity; facts are there."""
    words = 2 if "|" in command.name else 1
    arguments = parse_syntax(command.syntax, words)
    assert command.syntax.lower().split()[:words] == command.name.split("|")
    needed = words + sum(_least(argument) for argument in arguments)
    if command.name in LOOSE:
        assert command.arity == LOOSE[command.name] and needed > abs(command.arity)
    elif not command.subcommands:
        assert needed <= abs(command.arity), command.syntax
        if command.arity > 0:
            assert needed == command.arity, command.syntax
    assert command.summary.endswith(".") and command.since and command.group and command.complexity


def _least(argument: Argument) -> int:
    """The fewest words that an argument takes."""
    if argument.optional:
        return 0
    if argument.type == "pure-token":
        return 1
    own = 1 if argument.token else 0
    if argument.type == "oneof":
        return own + min(_least(one) for one in argument.arguments)
    if argument.type == "block":
        return own + sum(_least(one) for one in argument.arguments)
    return own + 1


def test_every_command_is_listed_described_and_documented() -> None:
    redis = Harness()
    names = [command.name.encode() for command in COMMANDS]
    assert redis.run("COMMAND", "COUNT") == len(names)
    assert [told[0] for told in redis.run("COMMAND")] == names
    assert list(redis.run("COMMAND", "DOCS")) == names
    assert len(redis.run("COMMAND", "LIST")) == len(EVERY)
    for protocol in (2, 3):
        for request in (("COMMAND",), ("COMMAND", "DOCS"), ("COMMAND", "INFO")):
            assert redis.wire(*request, protocol=protocol)[:1] in b"*%"


def test_subcommands_are_told_by_full_name() -> None:
    redis = Harness()
    (told,) = redis.run("COMMAND", "INFO", "config|get")
    assert told[0] == b"config|get" and told[1] == -3
    assert list(redis.run("COMMAND", "DOCS", "client|list", "nosuch")) == [b"client|list"]


def test_list_filters() -> None:
    redis = Harness()
    assert redis.run("COMMAND", "LIST", "FILTERBY", "PATTERN", "PEXPIRE*") == [b"pexpire", b"pexpireat", b"pexpiretime"]
    assert b"get" in redis.run("COMMAND", "LIST", "FILTERBY", "ACLCAT", "read")
    assert redis.run("COMMAND", "LIST", "FILTERBY", "MODULE", "any") == []


def test_getkeys() -> None:
    redis = Harness()
    assert redis.run("COMMAND", "GETKEYS", "MSET", "a", 1, "b", 2) == [b"a", b"b"]
    assert redis.error("COMMAND", "GETKEYS", "MGET") == "ERR Invalid number of arguments specified for command"
    assert redis.run("COMMAND", "GETKEYSANDFLAGS", "SET", "a", 1, "GET") == [[b"a", ["RW", "access", "update"]]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("X key", [("key", "", "", [])]),
        ("X key [key ...]", [("key", "", "multiple", [])]),
        ("X [NX | XX]", [("oneof", "", "optional", ["pure-token", "pure-token"])]),
        ("X [MATCH pattern]", [("pattern", "MATCH", "optional", [])]),
        ("X key value [key value ...]", [("block", "", "multiple", ["key", "string"])]),
        ("X [LIMIT offset count]", [("block", "LIMIT", "optional", ["integer", "integer"])]),
        ("X [GET pattern [GET pattern ...]]", [("pattern", "GET", "optional multiple multiple_token", [])]),
        ("X <a | B count>", [("oneof", "", "", ["string", "integer"])]),
        ("X [NOW] [FORCE]", [("pure-token", "NOW", "optional", []), ("pure-token", "FORCE", "optional", [])]),
    ],
)
def test_syntax(line: str, expected: list[tuple[str, str, str, list[str]]]) -> None:
    found = [
        (one.type, one.token, " ".join(one.flags), [part.type for part in one.arguments]) for one in parse_syntax(line)
    ]
    assert found == expected


@pytest.mark.parametrize("line", ["X [key", "X <a | b", "X key [key ..."])
def test_syntax_that_is_not_closed(line: str) -> None:
    with pytest.raises(ValueError, match="X"):
        parse_syntax(line)
