"""What holds the house together: imports point down, and decisions touch no clock, dice, socket or file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from textwrap import dedent

import pytest

from tests.tidy.sources import FLOORS, floor, says_io, sources

BELOW = {"gossip": set[str](), "cluster": {"gossip"}, "node": {"gossip", "cluster"}}
OURS = {*FLOORS, "tests", "deploy", "hashslot"}

CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"}
DICE = {"random", "randrange", "randint", "choice", "choices", "shuffle", "sample", "uniform", "getrandbits", "seed"}
IO_MODULES = {"socket", "ssl", "select", "selectors", "subprocess", "threading", "asyncio", "uvloop", "secrets"}


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of every module imported anywhere in a file, for type checking only included."""
    for one in ast.walk(tree):
        if isinstance(one, ast.Import):
            yield from ((one.lineno, alias.name) for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            yield one.lineno, "." * one.level + (one.module or "")


def impurities(tree: ast.Module) -> Iterator[str]:
    """What a pure module may not do, as "line: what"."""
    for line, name in imported(tree):
        if name.partition(".")[0] in IO_MODULES:
            yield f"{line}: import {name}"
    for one in ast.walk(tree):
        if isinstance(one, ast.ImportFrom) and one.module in ("time", "random"):
            banned = CLOCKS if one.module == "time" else DICE
            yield from (f"{one.lineno}: {one.module}.{alias.name}" for alias in one.names if alias.name in banned)
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            if one.value.id == "time" and one.attr in CLOCKS:
                yield f"{one.lineno}: time.{one.attr}"
            if (
                one.value.id == "random"
                and one.attr in DICE | {"Random", "SystemRandom"}
                and _is_module(tree, "random")
            ):
                yield f"{one.lineno}: random.{one.attr}"
            if (one.value.id, one.attr) in (
                ("os", "urandom"),
                ("uuid", "uuid4"),
                ("datetime", "now"),
                ("date", "today"),
            ):
                yield f"{one.lineno}: {one.value.id}.{one.attr}"
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in ("open", "print", "input"):
            yield f"{one.lineno}: {one.func.id}()"
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in _FILE_METHODS:
            yield f"{one.lineno}: .{one.func.attr}()"


_FILE_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir", "fsync"}


def _is_module(tree: ast.Module, name: str) -> bool:
    """Whether `name` is the imported module, not an argument of that name."""
    return any(isinstance(one, ast.Import) and any(alias.name == name for alias in one.names) for one in ast.walk(tree))


@pytest.mark.parametrize("name", FLOORS)
def test_imports_point_down(name: str) -> None:
    wrong = [
        f"{source.path}:{line} imports {module}"
        for source in floor(name)
        for line, module in imported(source.tree)
        if module.startswith(".") or module.partition(".")[0] in OURS - BELOW[name] - {name}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["gossip", "cluster"])
def test_the_lower_floors_are_pure_altogether(name: str) -> None:
    wrong = [f"{source.path}:{what}" for source in floor(name) for what in impurities(source.tree)]
    assert not wrong, "\n".join(wrong)
    # What a lower floor calls I/O is left to the effects that it returns.
    assert floor(name), f"no module in {name}/"


def test_the_node_floor_is_pure_where_it_does_not_say_io() -> None:
    wrong = [
        f"{source.path}:{what}" for source in floor("node") if not source.does_io for what in impurities(source.tree)
    ]
    assert not wrong, "these need `I/O` in their module's docstring, or another way:\n" + "\n".join(wrong)


def test_hot_modules_have_no_coroutines() -> None:
    hot = [
        one for one in sources() if one.docstring and ("Hot" in one.docstring or "hot" in one.docstring.split("\n")[0])
    ]
    assert len(hot) >= 2
    wrong = [
        f"{source.path}:{one.lineno}"
        for source in hot
        for one in ast.walk(source.tree)
        if isinstance(one, ast.AsyncFunctionDef | ast.Await)
    ]
    assert not wrong, wrong


# The rules themselves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import time\nnow = time.time()", ["2: time.time"]),
        ("from time import monotonic", ["1: time.monotonic"]),
        ("import random\nrandom.choice([1])", ["2: random.choice"]),
        ("import random\nsource = random.SystemRandom()", ["2: random.SystemRandom"]),
        ("def f(random):\n    return random.randrange(3)", []),
        ("import socket", ["1: import socket"]),
        ("import asyncio.events", ["1: import asyncio.events"]),
        ("open('x')", ["1: open()"]),
        ("from pathlib import Path\nPath('x').read_text()", ["2: .read_text()"]),
        ("def f():\n    import ssl", ["2: import ssl"]),
        ("import time\ntime.struct_time", []),
    ],
)
def test_the_rules_find_what_they_are_for(text: str, found: list[str]) -> None:
    assert list(impurities(ast.parse(dedent(text)))) == found


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Sockets. I/O.", True),
        ("I/O, and hot.", True),
        ("Without I/O.", False),
        ("There is no I/O.", False),
        ("", False),
    ],
)
def test_io_is_told_from_none(said: str, expected: bool) -> None:
    assert says_io(said) is expected
