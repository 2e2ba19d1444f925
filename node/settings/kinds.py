"""The types a setting can have: how its text is read, checked, printed and written back to a file.

A setting is a descriptor that only reads (no ``__set__``): the value lies in the instance's ``__dict__`` under the same
name, so that ``config.maxclients`` costs a plain attribute access, is typed, and cannot be assigned by accident.

Words of the errors follow Redis 7 (``argument must be 'yes' or 'no'``); clients and tests match them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, overload

from node.numbers import INT_MAX, LLONG_MAX, ULLONG_MAX, format_memory, parse_int, parse_memory, strtoll

T = TypeVar("T")


class SettingError(ValueError):
    """A value that a setting refuses; its text is Redis's reason."""


def to_bytes(text: str) -> bytes:
    """Configuration text as bytes; bytes that are no UTF-8 travel as surrogate escapes."""
    return text.encode("utf-8", "surrogateescape")


def to_text(raw: bytes) -> str:
    """Bytes as configuration text, the inverse of ``to_bytes``."""
    return raw.decode("utf-8", "surrogateescape")


_QUOTED = {92: "\\\\", 34: '\\"', 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}


def quote(text: str) -> str:
    """The text in double quotes with escapes, so that a configuration line reads it back (``sdscatrepr``)."""
    parts = (_QUOTED.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in to_bytes(text))
    return f'"{"".join(parts)}"'


class Setting(Generic[T]):
    """One declared setting. ``T`` is the type of its value.

    ``aliases``: other names that mean the same. ``immutable``: only a file or the command line can set it.
    ``protected``: CONFIG SET needs ``enable-protected-configs``. ``hidden``: CONFIG GET shows it only by its exact
    name. ``sensitive``: its value stays out of logs. ``kept``: accepted and shown but without effect in hashslot.
    """

    kind = "text"
    multiple = False

    def __init__(
        self,
        default: T,
        *aliases: str,
        name: str = "",
        immutable: bool = False,
        protected: bool = False,
        hidden: bool = False,
        sensitive: bool = False,
        kept: bool = False,
        check: Callable[[T], str | None] | None = None,
    ) -> None:
        self.default = default
        self.aliases = aliases
        self.name = name
        self.attribute = ""
        self.immutable = immutable
        self.protected = protected
        self.hidden = hidden
        self.sensitive = sensitive
        self.kept = kept
        self.check = check

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute = attribute
        self.name = self.name or attribute.replace("_", "-")

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Setting[T] | T:
        return self if instance is None else self.default

    def parse(self, args: Sequence[str], current: T, loading: bool = False) -> T:
        """The value that ``args`` mean, given the current one; raises SettingError with Redis's reason.

        ``loading``: the line comes from a file that already set this setting once, for those that add up.
        """
        if len(args) != 1:
            raise SettingError("wrong number of arguments")
        value = self.parse_one(args[0])
        if self.check is not None and (reason := self.check(value)) is not None:
            raise SettingError(reason)
        return value

    def parse_one(self, text: str) -> T:
        """The value that one text means; raises SettingError. Types of several words override ``parse`` instead."""
        raise SettingError("wrong number of arguments")

    def format(self, value: T) -> str:
        """The value as CONFIG GET prints it."""
        return str(value)

    def rewrite(self, value: T) -> list[tuple[str, bool]]:
        """The lines (behind the name) that CONFIG REWRITE writes; False where the line only states a default.

        No line at all removes the setting from the file.
        """
        return [(self.format(value), value != self.default)]

    def describe(self) -> str:
        """The type in words, for the documentation."""
        return self.kind


AnySetting = Setting[Any]


class Bool(Setting[bool]):
    """``yes`` or ``no``."""

    kind = "yes or no"

    def parse_one(self, text: str) -> bool:
        lowered = text.lower()
        if lowered not in ("yes", "no"):
            raise SettingError("argument must be 'yes' or 'no'")
        return lowered == "yes"

    def format(self, value: bool) -> str:
        return "yes" if value else "no"


class Int(Setting[int]):
    """An integer within bounds (inclusive); ``clamp`` narrows what is accepted silently, as Redis does with hz."""

    kind = "integer"
    parse_reason = "argument couldn't be parsed into an integer"

    def __init__(
        self,
        default: int,
        *aliases: str,
        low: int = 0,
        high: int = INT_MAX,
        clamp: tuple[int, int] | None = None,
        **flags: Any,
    ) -> None:
        super().__init__(default, *aliases, **flags)
        self.low = low
        self.high = high
        self.clamp = clamp

    def read(self, text: str) -> int | None:
        """The number in the text, None if there is none."""
        return parse_int(to_bytes(text))

    def bound(self, value: int) -> str:
        """A bound as the error prints it."""
        return str(value)

    def parse_one(self, text: str) -> int:
        value = self.read(text)
        if value is None:
            raise SettingError(self.parse_reason)
        self.check_bounds(value)
        if self.clamp is not None:
            value = min(max(value, self.clamp[0]), self.clamp[1])
        return value

    def check_bounds(self, value: int) -> None:
        """Raises SettingError for a number out of bounds."""
        if not self.low <= value <= self.high:
            raise SettingError(f"argument must be between {self.bound(self.low)} and {self.bound(self.high)} inclusive")

    def describe(self) -> str:
        return f"{self.kind} {self.bound(self.low)}..{self.bound(self.high)}"


class Octal(Int):
    """File permissions, written in octal."""

    kind = "octal"
    parse_reason = "argument couldn't be parsed as an octal number"

    def read(self, text: str) -> int | None:
        return strtoll(text, 8)

    def bound(self, value: int) -> str:
        return f"{value:o}"

    def format(self, value: int) -> str:
        return f"{value:o}"


class Memory(Int):
    """A size in bytes, with units (``100mb``)."""

    kind = "size"
    parse_reason = "argument must be a memory value"

    def __init__(self, default: int, *aliases: str, low: int = 0, high: int = LLONG_MAX, **flags: Any) -> None:
        super().__init__(default, *aliases, low=low, high=high, **flags)

    def read(self, text: str) -> int | None:
        return parse_memory(text)

    def rewrite(self, value: int) -> list[tuple[str, bool]]:
        return [(format_memory(value), value != self.default)]

    def describe(self) -> str:
        high = "" if self.high in (LLONG_MAX, ULLONG_MAX) else str(self.high)
        return f"{self.kind} {self.low}..{high}"


class SignedMemory(Memory):
    """A size of which -1 has a meaning of its own."""

    def read(self, text: str) -> int | None:
        if text.startswith("-"):
            return parse_int(to_bytes(text))
        return parse_memory(text)


class MemoryOrPercent(Memory):
    """A size, or a share of maxmemory (``5%``), kept as a negative number (-5)."""

    kind = "size or percent"
    parse_reason = "argument must be a memory or percent value"

    def parse_one(self, text: str) -> int:
        if text.endswith("%"):
            share = parse_int(to_bytes(text[:-1]))
            if share is None or share < 0:
                raise SettingError(self.parse_reason)
            if share > -self.low:
                raise SettingError(f"percentage argument must be less or equal to {-self.low}")
            return -share
        return super().parse_one(text)

    def format(self, value: int) -> str:
        return f"{-value}%" if value < 0 else str(value)

    def rewrite(self, value: int) -> list[tuple[str, bool]]:
        return [(f"{-value}%" if value < 0 else format_memory(value), value != self.default)]


class Choice(Setting[str]):
    """One word of a list, in any case. ``also``: words of later servers, accepted but not listed in the error."""

    kind = "one of"

    def __init__(self, default: str, choices: str, *aliases: str, also: str = "", **flags: Any) -> None:
        super().__init__(default, *aliases, **flags)
        self.choices = choices.split()
        self.also = also.split()

    def word(self, text: str) -> str:
        """The word as declared; raises SettingError when it is none of them."""
        lowered = text.lower()
        for choice in (*self.choices, *self.also):
            if choice.lower() == lowered:
                return choice
        raise SettingError(f"argument(s) must be one of the following: {', '.join(self.choices)}")

    def parse_one(self, text: str) -> str:
        return self.word(text)

    def describe(self) -> str:
        return f"{self.kind} {', '.join((*self.choices, *self.also))}"


class Flags(Choice):
    """Several words of a list; the first word means none of the others."""

    kind = "some of"
    multiple = True

    def parse(self, args: Sequence[str], current: str, loading: bool = False) -> str:
        words = {self.word(text) for text in args or ("",)}
        value = " ".join(word for word in (*self.choices[1:], *self.also) if word in words) or self.choices[0]
        if self.check is not None and (reason := self.check(value)) is not None:
            raise SettingError(reason)
        return value


class Text(Setting[str]):
    """Any text. ``empty``: an empty text is a value of its own; otherwise it means unset and leaves the file."""

    def __init__(self, default: str = "", *aliases: str, empty: bool = False, **flags: Any) -> None:
        super().__init__(default, *aliases, **flags)
        self.empty = empty

    def parse_one(self, text: str) -> str:
        return text

    def rewrite(self, value: str) -> list[tuple[str, bool]]:
        if not value and not self.empty:
            return []
        return [(quote(value), value != self.default)]
