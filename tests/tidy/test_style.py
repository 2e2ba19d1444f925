"""Size, docstrings, leftovers: what a reader should not have to ask for in a review."""

from __future__ import annotations

import ast
import io
import re
import tokenize

import pytest

from tests.tidy.sources import Source, sources

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

LONGER_FILES: dict[str, str] = {}
"""Modules that may be longer, each with the reason."""

LONGER_FUNCTIONS: dict[str, str] = {}
"""Functions that may be longer ("module:name"), each with the reason."""

EMPTY_BODIES: dict[str, str] = {}
"""Functions that do nothing, each with the reason."""

LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def leftovers(text: str) -> list[str]:
    """Marks of work not done, in comments and strings, and code that raises NotImplementedError or is `...`."""
    found = [
        f"{token.start[0]}: {token.string.strip()[:80]}"
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type in (tokenize.COMMENT, tokenize.STRING) and LEFTOVERS.search(token.string)
    ]
    for one in ast.walk(ast.parse(text)):
        if isinstance(one, ast.Raise) and one.exc is not None and "NotImplemented" in ast.unparse(one.exc):
            found.append(f"{one.lineno}: {ast.unparse(one)}")
    return found


def is_stub(body: list[ast.stmt]) -> bool:
    """Whether a function's body does nothing: a docstring at most, `pass` or `...`."""
    rest = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return all(isinstance(one, ast.Pass) for one in rest)


def _protocols(source: Source) -> set[ast.AST]:
    """Functions of Protocol classes, which have no bodies."""
    return {
        inner
        for one in ast.walk(source.tree)
        if isinstance(one, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in one.bases)
        for inner in ast.walk(one)
    }


def test_there_is_something_to_look_at() -> None:
    assert len(sources()) > 40


def test_files_are_short() -> None:
    long = {one.name: one.text.count("\n") for one in sources() if one.text.count("\n") > FILE_LINES_MAX}
    assert long.keys() == LONGER_FILES.keys(), f"longer than {FILE_LINES_MAX} lines: {long}"


def test_functions_are_short() -> None:
    long = {
        f"{source.name}:{one.name}": length(one)
        for source in sources()
        for one in source.functions()
        if length(one) > FUNCTION_LINES_MAX
    }
    assert long.keys() == LONGER_FUNCTIONS.keys(), f"longer than {FUNCTION_LINES_MAX} lines: {long}"


def test_every_module_says_why_it_exists() -> None:
    wrong = [one.name for one in sources() if len(one.docstring) < 10]
    assert not wrong, wrong


def test_nothing_is_left_to_do() -> None:
    wrong = [f"{source.path}:{what}" for source in sources() for what in leftovers(source.text)]
    assert not wrong, "\n".join(wrong)


def test_no_function_is_a_stub() -> None:
    empty = set()
    for source in sources():
        without = _protocols(source)
        empty |= {
            f"{source.name}:{one.name}"
            for one in source.functions()
            if one not in without and is_stub(one.body) and not _is_abstract(one)
        }
    assert empty == EMPTY_BODIES.keys()


def _is_abstract(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is not meant to have a body: abstract, an overload, or the head of a group of click commands."""
    names = [ast.unparse(one).partition("(")[0].split(".")[-1] for one in function.decorator_list]
    return not {"abstractmethod", "overload", "group"}.isdisjoint(names)


# The rules themselves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("# TODO: later\n", 1),
        ("x = 'FIXME'\n", 1),
        ("raise NotImplementedError('x')\n", 1),
        ("raise NotImplementedError\n", 1),
        ("todo = 1\n", 0),
        ("try:\n    f()\nexcept NotImplementedError:\n    g()\n", 0),
    ],
)
def test_leftovers_are_found(text: str, count: int) -> None:
    assert len(leftovers(text)) == count


@pytest.mark.parametrize(
    ("body", "stub"),
    [
        ("pass", True),
        ("...", True),
        ("'doc'", True),
        ("return None", False),
        ("'doc'\n    return 1", False),
        ("f()", False),
    ],
)
def test_stubs_are_found(body: str, stub: bool) -> None:
    function = ast.parse(f"def f():\n    {body}\n").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert is_stub(function.body) is stub
