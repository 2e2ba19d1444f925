"""A syntax line ("SET key value [NX | XX] [EX seconds]") as a tree of arguments, which COMMAND DOCS describes.

The line is written as Redis's command pages write it:

    word            an argument; its name tells its type (`key`, `count`, `pattern` ...), see `_TYPES`
    WORD            a token: alone a flag of its own (pure-token), before an argument what introduces it
    [ ... ]         optional
    a | b           one of several; < ... > groups where no brackets do
    x [x ...]       one or more
    WORD x [WORD x ...]   one or more, each with its token (multiple_token)

The shapes (type, token, flags, nesting) are those of `src/commands/*.json`. Names of groups are made up here, since the
line has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

_PIECES = re.compile(r"\.\.\.|[\[\]<>|]|[^\s\[\]<>|]+")

_TYPES = {
    "key": "key",
    "newkey": "key",
    "source": "key",
    "destination": "key",
    "key1": "key",
    "keys": "key",
    "key2": "key",
    "pattern": "pattern",
    "seconds": "integer",
    "milliseconds": "integer",
    "unix-time-seconds": "unix-time",
    "unix-time-milliseconds": "unix-time",
}
_INTEGER_NAMES = (
    "count cursor db destination-db index index1 index2 ttl frequency timeout protover client-id offset start end"
    " decrement len min-match-len numkeys numreplicas numlocal slot start-slot end-slot config-epoch port"
    " cluster-bus-port version replicationid-offset samples stop rank num-matches limit ms entries-read entries-added"
    " numids num-vertices"
)
_SIGNS = {"=": "equal", "~": "approximately", "*": "auto-id", "$": "new-id"}
"""Tokens that are no words, and what they are called."""
_EMPTY = '""'
"""The empty string where something else may stand (MIGRATE)."""
_INTEGERS = frozenset(_INTEGER_NAMES.split())
_INTEGER_INCREMENTS = frozenset(("INCRBY", "HINCRBY"))


@dataclass(slots=True)
class Argument:
    """One argument, or a group of them. `token` is the word that introduces it ("" for none)."""

    name: str
    type: str
    token: str = ""
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    arguments: list[Argument] = field(default_factory=list)

    @property
    def flags(self) -> list[str]:
        """As COMMAND DOCS lists them."""
        chosen = (("optional", self.optional), ("multiple", self.multiple), ("multiple_token", self.multiple_token))
        return [name for name, holds in chosen if holds]


@lru_cache(maxsize=1024)
def parse_syntax(syntax: str, words: int = 1) -> tuple[Argument, ...]:
    """The arguments in a syntax line, without its first `words` words. ValueError when brackets do not match."""
    pieces = _PIECES.findall(syntax)[words:]
    parser = _Parser(pieces, syntax)
    return tuple(parser.sequence(frozenset()))


class _Parser:
    def __init__(self, pieces: list[str], syntax: str) -> None:
        self._pieces = pieces
        self._at = 0
        self._syntax = syntax

    def _peek(self) -> str:
        return self._pieces[self._at] if self._at < len(self._pieces) else ""

    def _take(self, expected: str) -> None:
        if self._peek() != expected:
            raise ValueError(f"{expected!r} expected at word {self._at} of {self._syntax!r}")
        self._at += 1

    def sequence(self, ends: frozenset[str]) -> list[Argument]:
        """Arguments up to one of `ends`, which is left for the caller."""
        found: list[Argument] = []
        starts: list[int] = []
        while (piece := self._peek()) and piece not in ends:
            began = self._at
            if piece == "[":
                self._at += 1
                if found and self._repeats(found, starts, began):
                    continue
                found.append(self._bracketed())
            elif piece == "<":
                self._at += 1
                found.append(self._choice(">"))
                self._take(">")
            else:
                found.append(self._word(ends))
            starts.append(began)
        return found

    def _bracketed(self) -> Argument:
        inner = self._choice("]")
        self._take("]")
        if inner.optional:
            inner = Argument(inner.name, "block", arguments=[inner])
        inner.optional = True
        return inner

    def _choice(self, end: str) -> Argument:
        ends = frozenset((end, "|"))
        branches = [self.sequence(ends)]
        while self._peek() == "|":
            self._at += 1
            branches.append(self.sequence(ends))
        parts = [_block(branch) for branch in branches]
        if len(parts) == 1:
            return parts[0]
        return Argument(_group_name(parts), "oneof", arguments=parts)

    def _word(self, ends: frozenset[str]) -> Argument:
        word = self._peek()
        self._at += 1
        if word == _EMPTY:
            return Argument("empty-string", "pure-token")
        if not _is_token(word):
            return Argument(word, self._type(word))
        following = self._peek()
        if following == "<":
            self._at += 1
            inner = self._choice(">")
            self._take(">")
        elif following and following not in ends and following not in "[]<>|" and not _is_token(following):
            inner = self._word(ends)
        else:
            return Argument(_SIGNS.get(word, word.lower()), "pure-token", token=word)
        if inner.token:
            inner = Argument(inner.name, "block", arguments=[inner])
        inner.token = word
        return inner

    def _repeats(self, found: list[Argument], starts: list[int], began: int) -> bool:
        """Whether the bracket just opened says that what is before it may come again: "key value [key value ...]".

        It is marked then; if it is several arguments, they become one block. starts: where each argument began.
        """
        depth, at = 1, self._at
        while depth:
            if at >= len(self._pieces):
                raise ValueError(f"a bracket is not closed in {self._syntax!r}")
            depth += (self._pieces[at] == "[") - (self._pieces[at] == "]")
            at += 1
        inside = self._pieces[self._at : at - 1]
        first = began - len(inside) + 1
        if not inside or inside[-1] != "..." or inside[:-1] != self._pieces[max(0, first) : began]:
            return False
        again = sum(start >= first for start in starts)
        if again > 1:
            found[-again:] = [_block(found[-again:])]
            del starts[1 - again :]
        found[-1].multiple = True
        found[-1].multiple_token = bool(found[-1].token) and inside[0] == found[-1].token
        self._at = at
        return True

    def _type(self, word: str) -> str:
        if word in ("start", "end") and self._syntax.startswith("X"):
            return "string"  # Ids of streams.
        if word == "min-idle-time" and self._syntax.startswith("XREADGROUP"):
            return "integer"  # A string elsewhere.
        if word == "increment":
            return "integer" if self._syntax.partition(" ")[0] in _INTEGER_INCREMENTS else "double"
        return _TYPES.get(word) or ("integer" if word in _INTEGERS else "string")


def _is_token(word: str) -> bool:
    return word in _SIGNS or (word.upper() == word and any(letter.isalpha() for letter in word))


def _group_name(parts: list[Argument]) -> str:
    return "-or-".join(part.name for part in parts[:2])


def _block(arguments: list[Argument]) -> Argument:
    if len(arguments) == 1:
        return arguments[0]
    if not arguments:
        raise ValueError("an empty group")
    name = "-".join(argument.name for argument in arguments[:2])
    first, *others = arguments
    if first.token and not first.optional and first.type != "pure-token" and not any(other.token for other in others):
        # "LIMIT offset count": the token introduces them all.
        token, first.token = first.token, ""
        return Argument(name, "block", token, arguments=arguments)
    return Argument(name, "block", arguments=arguments)
