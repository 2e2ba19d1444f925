"""The README's code is code, and its commands exist."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator

import pytest

from tests.tidy.sources import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
SHELL = ("sh", "bash", "shell", "console")


def blocks(text: str, *languages: str) -> Iterator[str]:
    return (found[2] for found in _BLOCK.finditer(text) if found[1] in languages)


def shell_lines(text: str) -> list[str]:
    """Lines of shell blocks without prompts and comments, continued lines joined."""
    joined = "\n".join(blocks(text, *SHELL)).replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_fences_are_closed_and_say_their_language() -> None:
    fences = [line for line in README.splitlines() if line.startswith("```")]
    assert len(fences) % 2 == 0
    assert all(len(line) > 3 for line in fences[::2]), fences[::2]


@pytest.mark.parametrize("code", list(blocks(README, "python", "py")))
def test_python_parses(code: str) -> None:
    ast.parse(code)


def test_there_is_python_and_shell() -> None:
    assert list(blocks(README, "python", "py"))
    assert len(shell_lines(README)) >= 2


@pytest.mark.parametrize("line", shell_lines(README))
def test_shell_parses(line: str) -> None:
    assert shlex.split(line, comments=True)


def test_files_that_are_linked_exist() -> None:
    links = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", README) if "://" not in target]
    missing = [target for target in links if not (ROOT / target).exists()]
    assert not missing, missing


def test_extras_that_are_installed_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {name for group in re.findall(r"\.\[([\w,-]+)\]", README) for name in group.split(",")}
    assert named <= set(project["optional-dependencies"]), named
