"""Commands as declared: each fact that COMMAND tells is there, and a handler that does something is behind it."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator

import pytest

from node.commands import GROUPS
from node.registry import Command, Flag, Group
from tests.tidy.sources import floor
from tests.tidy.test_style import is_stub

REDIS_GROUPS = {
    *("generic", "string", "list", "set", "sorted-set", "hash", "pubsub", "transactions", "connection", "server"),
    *("scripting", "hyperloglog", "cluster", "sentinel", "geo", "stream", "bitmap", "module"),
}
VERSION = re.compile(r"\d+\.\d+\.\d+")


def commands() -> Iterator[Command]:
    for group in GROUPS:
        for command in group.commands:
            yield command
            yield from command.subcommands.values()


ALL = list(commands())


def test_every_file_of_commands_is_in_the_list() -> None:
    declaring = {
        source.name
        for source in floor("node")
        if source.name.startswith("node.commands.")
        for one in source.tree.body
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call) and ast.unparse(one.value.func) == "Group"
    }
    owners = {command.handler.__module__ for command in ALL}
    assert declaring <= owners, f"no command of these is in node.commands.GROUPS: {sorted(declaring - owners)}"
    assert all(isinstance(group, Group) and group.commands for group in GROUPS)


@pytest.mark.parametrize("command", ALL, ids=[one.name for one in ALL])
def test_the_facts_are_there(command: Command) -> None:
    assert command.group in REDIS_GROUPS
    assert VERSION.fullmatch(command.since)
    assert command.complexity.startswith(("O(", "Depends", "Unspecified", "N/A")) or "O(" in command.complexity
    assert command.summary.endswith("."), command.summary
    assert command.summary[0].isupper() or command.summary[0].isdigit()
    words = command.name.upper().split("|")
    assert command.syntax.split()[: len(words)] == words
    assert command.arity != 0
    assert abs(command.arity) >= len(words)
    for version, change in command.history:
        assert VERSION.fullmatch(version) and change
    assert bool(command.deprecated_since) >= bool(command.replaced_by)


@pytest.mark.parametrize("command", ALL, ids=[one.name for one in ALL])
def test_flags_and_keys_agree(command: Command) -> None:
    assert not (command.flags & Flag.WRITE and command.flags & Flag.READONLY)
    for spec in command.keys:
        assert spec.flags.split()[0] in ("RO", "RW", "OW", "RM", "not_key"), spec.flags
        if spec.flags.startswith(("RW", "OW", "RM")) and "variable_flags" not in spec.flags:
            # PFCOUNT reads, but keeps what it counted in the value.
            assert command.flags & Flag.WRITE or command.name == "pfcount", f"{spec.flags} without WRITE"
    if command.flags & Flag.DENYOOM:
        assert command.flags & Flag.WRITE


@pytest.mark.parametrize("command", ALL, ids=[one.name for one in ALL])
def test_the_handler_does_something(command: Command) -> None:
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(command.handler)))
    parsed = ast.parse(source[source.find("def ") :])
    function = parsed.body[0]
    assert isinstance(function, ast.FunctionDef)
    assert not is_stub(function.body)


def test_names_are_declared_once() -> None:
    names = [command.name for command in ALL]
    assert len(names) == len(set(names))
