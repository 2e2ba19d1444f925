"""The grammar of JSONPath: from a text to the steps of `node.types.json_path`. Loaded when the first path is met.

path    = "$" step*
step    = "." name | "." "*" | ".." (name | "*" | "[" choice "]") | ["."] "[" choice "]"
choice  = "*" | slice | (index | string) ("," (index | string))* | "?" filter
filter  = and ("||" and)*;  and = unary ("&&" unary)*;  unary = "!" unary | "(" filter ")" | term [operator term]
term    = ("@" | "$") step* | number | string | true | false | null | array | object

Spaces may stand between any two of these.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from node.types import json_path
from node.types.json_path import PathError, Query, Step, Term, Test

_NAME = re.compile(r"[-A-Za-z0-9_`~+#%$^/:\u0080-\U0010ffff]+")
_INTEGER = re.compile(r"-?[0-9]{1,18}(?![0-9])")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][-+]?[0-9]{1,3})?")
_OPERATOR = re.compile(r"==|!=|=~|<=|>=|<|>|(?:nin|in)(?![A-Za-z0-9])")
_WORD = re.compile(r"(true|false|null)(?![A-Za-z0-9_])")
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPED = re.compile(r"\\([\\'\"])")
_STRINGS = {'"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL), "'": re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)}

_NESTING_MAX = 64
"""How deep parentheses, filters in filters and literals may nest."""


class Parser:
    """Reads one path. Every method reads from `at` on, and raises PathError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._nesting = 0

    def path(self) -> Query:
        """The whole text as a path."""
        self._expect("$")
        steps, fixed = self._steps()
        if self.at < len(self.text):
            self._fail("a step")
        return Query(steps, fixed)

    # Reading ----------------------------------------------------------------------------------------------------------

    def _fail(self, expected: str) -> NoReturn:
        at, text = self.at, self.text
        shown = f"{text} <<<<----" if at >= len(text) else f"{text[:at]} ---->>>> {text[at:]}"
        raise PathError(f'Error occurred on position {at}, "{shown}", expected {expected}.')

    def _peek(self) -> str:
        """The next character behind spaces; "" at the end."""
        text, at = self.text, self.at
        while text[at : at + 1] == " ":
            at += 1
        self.at = at
        return text[at : at + 1]

    def _takes(self, word: str) -> bool:
        """Whether `word` comes next; it is read then."""
        self._peek()
        if not self.text.startswith(word, self.at):
            return False
        self.at += len(word)
        return True

    def _expect(self, word: str) -> None:
        if not self._takes(word):
            self._fail(f"'{word}'")

    def _read(self, pattern: re.Pattern[str], expected: str) -> str:
        self._peek()
        found = pattern.match(self.text, self.at)
        if found is None:
            self._fail(expected)
        self.at = found.end()
        return found.group()

    def _deeper(self, by: int) -> None:
        self._nesting += by
        if self._nesting > _NESTING_MAX:
            self._fail("less nesting")

    # Steps ------------------------------------------------------------------------------------------------------------

    def _steps(self) -> tuple[tuple[Step, ...], tuple[str | int, ...] | None]:
        """All steps that come next, and the keys that they are if each is one key."""
        steps: list[Step] = []
        fixed: list[str | int] | None = []
        while True:
            keys: tuple[str | int, ...] | None = None
            if self._takes(".."):
                steps.append(json_path.descend)
                fixed = None
                step, keys = self._bracket() if self._takes("[") else self._named()
            elif self._takes("."):
                step, keys = self._bracket() if self._takes("[") else self._named()
            elif self._takes("["):
                step, keys = self._bracket()
            else:
                return tuple(steps), None if fixed is None else tuple(fixed)
            steps.append(step)
            if keys is None or len(keys) > 1:
                fixed = None
            elif fixed is not None:
                fixed += keys

    def _named(self) -> tuple[Step, tuple[str | int, ...] | None]:
        if self._takes("*"):
            return json_path.everything, None
        keys = (self._read(_NAME, "a name, '*' or '['"),)
        return json_path.by_keys(keys), keys

    def _bracket(self) -> tuple[Step, tuple[str | int, ...] | None]:
        """What stands in brackets, the first of them read, and the second."""
        keys: tuple[str | int, ...] | None = None
        step: Step
        if self._takes("*"):
            step = json_path.everything
        elif self._takes("?"):
            self._deeper(1)
            step = json_path.by_test(self._filter())
            self._deeper(-1)
        elif self._peek() == ":":
            step = self._slice(None)
        else:
            first = self._key()
            if type(first) is int and self._peek() == ":":
                step = self._slice(first)
            else:
                found = [first]
                while self._takes(","):
                    found.append(self._key())
                keys = tuple(found)
                step = json_path.by_keys(keys)
        self._expect("]")
        return step, keys

    def _key(self) -> str | int:
        if self._peek() in _STRINGS:
            return self._string()
        return int(self._read(_INTEGER, "an index, a slice, a quoted name, '*' or '?'"))

    def _slice(self, start: int | None) -> Step:
        """The rest of a slice, from its first colon on."""
        self._expect(":")
        stop = None if self._peek() in (":", "]") else int(self._read(_INTEGER, "an index"))
        stride = 1
        if self._takes(":") and self._peek() != "]":
            before = self.at
            stride = int(self._read(_INTEGER, "a step above 0"))
            if stride < 1:
                self.at = before
                self._fail("a step above 0")
        return json_path.by_slice(start, stop, stride)

    # Filters ----------------------------------------------------------------------------------------------------------

    def _filter(self) -> Test:
        tests = [self._conjunction()]
        while self._takes("||"):
            tests.append(self._conjunction())
        return json_path.either(tests)

    def _conjunction(self) -> Test:
        tests = [self._unary()]
        while self._takes("&&"):
            tests.append(self._unary())
        return json_path.both(tests)

    def _unary(self) -> Test:
        self._deeper(1)
        if self._takes("!"):
            test = json_path.negated(self._unary())
        elif self._takes("("):
            test = self._filter()
            self._expect(")")
        else:
            test = self._comparison()
        self._deeper(-1)
        return test

    def _comparison(self) -> Test:
        term = self._term()
        self._peek()
        found = _OPERATOR.match(self.text, self.at)
        if found is None:
            return json_path.exists(term)
        self.at = found.end()
        return json_path.comparison(term, found.group(), self._term())

    def _term(self) -> Term:
        if self._takes("@"):
            return json_path.current(self._steps()[0])
        if self._takes("$"):
            return json_path.from_root(self._steps()[0])
        return json_path.constant(self._literal())

    def _literal(self) -> Any:
        """A JSON value, its strings in either kind of quotes."""
        start = self._peek()
        if start in _STRINGS:
            return self._string()
        if start == "[":
            return self._array()
        if start == "{":
            return self._object()
        if start.isalpha():
            return _WORDS[self._read(_WORD, "a value")]
        text = self._read(_NUMBER, "a value")
        return float(text) if set(text) & set(".eE") or len(text) > 19 else int(text)

    def _array(self) -> list[Any]:
        self._expect("[")
        self._deeper(1)
        found: list[Any] = []
        while self._peek() != "]":
            if found:
                self._expect(",")
            found.append(self._literal())
        self._expect("]")
        self._deeper(-1)
        return found

    def _object(self) -> dict[str, Any]:
        self._expect("{")
        self._deeper(1)
        found: dict[str, Any] = {}
        while self._peek() != "}":
            if found:
                self._expect(",")
            if self._peek() not in _STRINGS:
                self._fail("a quoted name")
            name = self._string()
            self._expect(":")
            found[name] = self._literal()
        self._expect("}")
        self._deeper(-1)
        return found

    def _string(self) -> str:
        """A quoted string. A backslash stands before a quote or a backslash; before anything else it is itself."""
        quoted = self._read(_STRINGS[self._peek()], "the end of a string")
        return _ESCAPED.sub(r"\1", quoted[1:-1])
