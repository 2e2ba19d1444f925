"""JSONPath as RedisJSON speaks it (https://redis.io/docs/latest/develop/data-types/json/path/), and its older paths.

Own code and not a library: this is a dialect. Names may hold `$ - # / :` without quotes, `=~` searches a regular
expression, a path in a filter counts only if it finds exactly one value, an index before the first element is the
first, and paths without `$` (".a.b") are another mode with other replies. And commands that write need to know where a
value lies. Regular expressions are RE2's, which like RedisJSON's take linear time whatever the pattern; `re2` is loaded
when the first filter with one runs.

A path runs step by step over all matches so far, which gives RedisJSON's order and needs no recursion: neither a long
path nor a deep document can exhaust the stack. What one path may visit is bounded by `VISITS_MAX`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from node.types.json import same

VISITS_MAX = 8_000_000
"""How many values one path may look at: `$..*..*..*` of a deep document is refused, not served for minutes."""

_KEPT_LENGTH_MAX = 1000
"""Compiled paths are kept, but not those that are long."""

_CONTAINERS = frozenset((dict, list))

NOTHING: Any = object()
"""What a term in a filter is that found no value, or several."""


class PathError(Exception):
    """A path that is none, or that leads too far."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Match:
    """A value that a path found: `key` is its name or index in the value of `parent`, which is None for the root."""

    __slots__ = ("key", "parent", "value")

    def __init__(self, value: Any, key: str | int, parent: Match | None) -> None:
        self.value = value
        self.key = key
        self.parent = parent

    def location(self) -> tuple[str | int, ...]:
        """Names and indices from the root to the value."""
        keys = []
        at = self
        while at.parent is not None:
            keys.append(at.key)
            at = at.parent
        return tuple(reversed(keys))


class Run:
    """One evaluation: the document, what may still be visited, and what paths from the root in filters found."""

    __slots__ = ("_found", "_left", "_root")

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = VISITS_MAX
        self._found: dict[int, Any] = {}

    def spend(self, visits: int) -> None:
        """Count values looked at. PathError when they are too many."""
        self._left -= visits
        if self._left < 0:
            raise PathError(f"the path visits more than {VISITS_MAX} values")

    def matches(self, steps: tuple[Step, ...], value: Any) -> list[Match]:
        """What the steps find from `value` on."""
        found = [Match(value, "", None)]
        for step in steps:
            found = step(found, self)
            self.spend(len(found) + 1)
        return found

    def only(self, steps: tuple[Step, ...], value: Any) -> Any:
        """The value if the steps find exactly one, else NOTHING."""
        found = self.matches(steps, value)
        return found[0].value if len(found) == 1 else NOTHING

    def only_from_root(self, steps: tuple[Step, ...]) -> Any:
        """Like `only` for the document, which does not change while the path runs: looked up once."""
        number = id(steps)
        if number not in self._found:
            self._found[number] = self.only(steps, self._root)
        return self._found[number]


Step = Callable[[list[Match], Run], list[Match]]
Test = Callable[[Any, Run], bool]
Term = Callable[[Any, Run], Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled path. `fixed`: the names and indices, if each step is one; None when it may find several values."""

    steps: tuple[Step, ...]
    fixed: tuple[str | int, ...] | None

    def matches(self, root: Any) -> list[Match]:
        """All values found, in order. PathError when the path leads too far."""
        return Run(root).matches(self.steps, root) if self.fixed is None else self._match(root, self.fixed)

    @staticmethod
    def _match(root: Any, keys: tuple[str | int, ...]) -> list[Match]:
        """The usual path, which says one place, without running steps."""
        match = Match(root, "", None)
        for key in keys:
            value = match.value
            if type(key) is str:
                if type(value) is not dict or key not in value:
                    return []
            else:
                if type(value) is not list:
                    return []
                key = _index(key, len(value))  # type: ignore[arg-type]
                if key >= len(value):
                    return []
            match = Match(value[key], key, match)
        return [match]

    def values(self, root: Any) -> list[Any]:
        """Likewise, without their places."""
        return [match.value for match in self.matches(root)]

    def of_parent(self) -> Query:
        """The path without its last step."""
        return Query(self.steps[:-1], None if self.fixed is None else self.fixed[:-1])


@dataclass(frozen=True, slots=True)
class Path:
    """A path as a client sent it. `text` begins with `$`; `legacy`: the client's did not, and gets other replies."""

    original: str
    text: str
    legacy: bool

    @property
    def is_root(self) -> bool:
        """Whether it is the whole document, said in the shortest way."""
        return self.text == "$"

    def query(self) -> Query:
        """The path compiled. PathError when it is none."""
        return _kept(self.text) if len(self.text) <= _KEPT_LENGTH_MAX else compile_path(self.text)


ROOT = Path(".", "$", legacy=True)
"""What a command without a path means."""


def path_of(argument: bytes) -> Path:
    """The path that a client sent. PathError when it is not UTF-8; whether it is a path, compiling it says."""
    return _kept_path(argument) if len(argument) <= _KEPT_LENGTH_MAX else _path(argument)


def _path(argument: bytes) -> Path:
    try:
        text = argument.decode()
    except UnicodeDecodeError:
        raise PathError("the path is not valid UTF-8") from None
    if text[:1] == "$" and (len(text) == 1 or text[1] in ".["):
        return Path(text, text, legacy=False)
    if text == ".":
        return ROOT
    return Path(text, f"${text}" if text.startswith(".") else f"$.{text}", legacy=True)


_kept_path = lru_cache(maxsize=256)(_path)


def compile_path(text: str) -> Query:
    """Compile a path that begins with `$`. PathError, with the place of the mistake, when it is none."""
    from node.types.json_path_syntax import Parser

    return Parser(text).path()


_kept = lru_cache(maxsize=256)(compile_path)


# Steps ----------------------------------------------------------------------------------------------------------------


def by_keys(keys: tuple[str | int, ...]) -> Step:
    """`.name`, `[2]` and `["a", "b"]`: names in objects, indices in arrays. Negative indices count from the end."""

    def step(matches: list[Match], run: Run) -> list[Match]:
        found = []
        for match in matches:
            value = match.value
            kind = type(value)
            for key in keys:
                if type(key) is str:
                    if kind is dict and key in value:
                        found.append(Match(value[key], key, match))
                elif kind is list:
                    index = _index(key, len(value))  # type: ignore[arg-type]
                    if index < len(value):
                        found.append(Match(value[index], index, match))
        return found

    return step


def _index(number: int, count: int) -> int:
    """An index from the start, at most `count`; what lies before the first element is the first."""
    return min(number, count) if number >= 0 else max(0, count + number)


def by_slice(start: int | None, stop: int | None, stride: int) -> Step:
    """`[1:3]`, `[:-1]`, `[::2]`: elements of arrays."""

    def step(matches: list[Match], run: Run) -> list[Match]:
        found = []
        for match in matches:
            value = match.value
            if type(value) is list:
                count = len(value)
                first = 0 if start is None else _index(start, count)
                last = count if stop is None else _index(stop, count)
                found += [Match(value[at], at, match) for at in range(first, last, stride)]
        return found

    return step


def _parts(match: Match) -> Iterator[Match]:
    value = match.value
    if type(value) is dict:
        for name, part in value.items():
            yield Match(part, name, match)
    elif type(value) is list:
        for at, part in enumerate(value):
            yield Match(part, at, match)


def everything(matches: list[Match], run: Run) -> list[Match]:
    """`*`: all members and elements."""
    found: list[Match] = []
    for match in matches:
        if type(match.value) in _CONTAINERS:
            run.spend(len(match.value))
            found += _parts(match)
    return found


def descend(matches: list[Match], run: Run) -> list[Match]:
    """`..`: each value and all arrays and objects below it, a container before what is in it."""
    found = []
    for match in matches:
        waiting = [match]
        while waiting:
            at = waiting.pop()
            found.append(at)
            value = at.value
            if type(value) not in _CONTAINERS:
                continue
            run.spend(len(value))
            pairs = value.items() if type(value) is dict else enumerate(value)
            below = [Match(part, key, at) for key, part in pairs if type(part) in _CONTAINERS]
            below.reverse()
            waiting += below
    return found


def by_test(test: Test) -> Step:
    """`[?(...)]`: members and elements that pass; of a value that has none, the value itself."""

    def step(matches: list[Match], run: Run) -> list[Match]:
        found = []
        for match in matches:
            if type(match.value) in _CONTAINERS:
                run.spend(len(match.value))
                found += [part for part in _parts(match) if test(part.value, run)]
            elif test(match.value, run):
                found.append(match)
        return found

    return step


# Filters --------------------------------------------------------------------------------------------------------------


def current(steps: tuple[Step, ...]) -> Term:
    """`@` and what follows it."""
    if not steps:
        return lambda value, run: value
    return lambda value, run: run.only(steps, value)


def from_root(steps: tuple[Step, ...]) -> Term:
    """`$` and what follows it, in a filter."""
    return lambda value, run: run.only_from_root(steps)


def constant(literal: Any) -> Term:
    """A value written in the filter."""
    return lambda value, run: literal


def exists(term: Term) -> Test:
    """A term alone: it found one value, whatever that is."""
    return lambda value, run: term(value, run) is not NOTHING


def both(tests: list[Test]) -> Test:
    """`&&`."""
    return tests[0] if len(tests) == 1 else lambda value, run: all(test(value, run) for test in tests)


def either(tests: list[Test]) -> Test:
    """`||`."""
    return tests[0] if len(tests) == 1 else lambda value, run: any(test(value, run) for test in tests)


def negated(test: Test) -> Test:
    """`!`."""
    return lambda value, run: not test(value, run)


def _order(one: Any, other: Any) -> int | None:
    """-1, 0 or 1 for values that can be compared: two numbers, strings or booleans, or two nulls. None for others."""
    kind, kind2 = type(one), type(other)
    if kind is not kind2 and not (kind in (int, float) and kind2 in (int, float)):
        return None
    if one is None:
        return 0
    if kind not in (int, float, str, bool):
        return None
    return 1 if one > other else -1 if one < other else 0


def equal(one: Any, other: Any) -> bool:
    """`==`: numbers by value, containers by all that is in them."""
    return _order(one, other) == 0 or (type(one) in _CONTAINERS and same(one, other))


def _found_in(one: Any, other: Any) -> bool:
    return type(other) is list and any(equal(one, part) for part in other)


@lru_cache(maxsize=128)
def _expression(pattern: str) -> Any | None:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def _fits(one: Any, other: Any) -> bool:
    """`=~`: whether a string has a part that fits. A pattern that is none fits nothing."""
    if type(one) is not str or type(other) is not str:
        return False
    expression = _expression(other)
    return expression is not None and expression.search(one) is not None


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": equal,
    "!=": lambda one, other: not equal(one, other),
    "<": lambda one, other: _order(one, other) == -1,
    "<=": lambda one, other: _order(one, other) in (-1, 0),
    ">": lambda one, other: _order(one, other) == 1,
    ">=": lambda one, other: _order(one, other) in (0, 1),
    "=~": _fits,
    "in": _found_in,
    "nin": lambda one, other: type(other) is list and not _found_in(one, other),
}
"""What stands between two terms. NOTHING is unequal to all and not to be compared."""


def comparison(one: Term, operator: str, other: Term) -> Test:
    """Two terms and what stands between them."""
    compare = OPERATORS[operator]
    return lambda value, run: compare(one(value, run), other(value, run))
