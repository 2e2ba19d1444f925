"""Reading a request's arguments: numbers, options and cursors, with errors in Redis's words.

Every handler that takes a number or an option reads it here, so that one rule has one text. The rules are those of
`getLongLongFromObjectOrReply` and its neighbours (`object.c`) and of the commands' pages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from node.errors import NOT_A_FLOAT, NOT_AN_INTEGER, SYNTAX, CommandError
from node.glob import Matcher, compile_glob
from node.numbers import INT_MAX, INT_MIN, LLONG_MAX, LONG_MAX, ULLONG_MAX, LongDouble, parse_double, parse_float, parse_int

_MS_PER_UNIT = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}
_SPACES = b" \t\n\v\f\r"

EXPIRY_UNITS = frozenset(_MS_PER_UNIT)
"""The options that say when a key expires: EX and PX from now on, EXAT and PXAT in unix time, in seconds or ms."""


def integer(text: bytes) -> int:
    """A signed 64-bit integer. CommandError when `text` is not one."""
    number = parse_int(text)
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    return number


def integer_between(text: bytes, low: int, high: int) -> int:
    """An integer from `low` to `high`, both included; CommandError otherwise."""
    number = integer(text)
    if not low <= number <= high:
        raise CommandError(f"ERR value is out of range, value must between {low} and {high}")
    return number


def small_integer(text: bytes) -> int:
    """An integer that has to fit a C int; CommandError otherwise."""
    number = integer(text)
    if not INT_MIN <= number <= INT_MAX:
        raise CommandError(NOT_AN_INTEGER)
    return number


def positive_integer(text: bytes) -> int:
    """An integer that is not negative; CommandError otherwise."""
    number = parse_int(text)
    if number is None or number < 0:
        raise CommandError("ERR value is out of range, must be positive")
    return number


def long_double(text: bytes) -> LongDouble:
    """A floating point number as INCRBYFLOAT calculates with. CommandError when `text` is not one."""
    number = parse_float(text)
    if number is None:
        raise CommandError(NOT_A_FLOAT)
    return number


def expiry_ms(unit: bytes, amount: bytes, now_ms: int, command: str) -> int:
    """The unix time in ms that an option like EX 10 names. `command` is the lower-case name that the error tells.

    CommandError when the amount is no integer, not positive, or beyond what 64 bits of ms hold.
    """
    number = integer(amount)
    scale = _MS_PER_UNIT[unit]
    base_ms = now_ms if len(unit) == 2 else 0
    if number <= 0 or number * scale > LLONG_MAX - base_ms:
        raise CommandError(f"ERR invalid expire time in '{command}' command")
    return number * scale + base_ms


def timeout_ms(text: bytes, now_ms: int) -> int:
    """How long a blocking command may wait: seconds with a fraction, 0 for as long as it takes. CommandError otherwise."""
    seconds = parse_double(text)
    if seconds is None or math.isnan(seconds):
        raise CommandError("ERR timeout is not a float or out of range")
    if seconds < 0:
        raise CommandError("ERR timeout is negative")
    if seconds * 1000 > LLONG_MAX - now_ms:
        raise CommandError("ERR timeout is out of range")
    return math.ceil(seconds * 1000)


class Options:
    """The options behind a command's fixed arguments, one after the other.

    options = Options(args, 3)
    for word in options:            # in upper case
        if word == b"COUNT":
            count = options.integer()
        else:
            raise CommandError(SYNTAX)
    """

    __slots__ = ("_args", "_at")

    def __init__(self, args: list[bytes], first: int) -> None:
        self._args = args
        self._at = first

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        at = self._at
        if at >= len(self._args):
            raise StopIteration
        self._at = at + 1
        return self._args[at].upper()

    def value(self) -> bytes:
        """The argument behind the option just read. CommandError (syntax error) when there is none."""
        at = self._at
        if at >= len(self._args):
            raise CommandError(SYNTAX)
        self._at = at + 1
        return self._args[at]

    def left(self) -> int:
        """How many arguments come behind the option just read."""
        return len(self._args) - self._at

    def integer(self) -> int:
        """Like `value`, and an integer."""
        return integer(self.value())


def scan_cursor(text: bytes) -> int:
    """The cursor of SCAN and its kin: what C's `strtoul` reads as a whole. CommandError when it does not."""
    text = text.partition(b"\0")[0]
    if not text:
        return 0
    digits = text[1:] if text[:1] in (b"+", b"-") else text
    if text[0] in _SPACES or not digits.isdigit() or len(digits) > 4000:
        raise CommandError("ERR invalid cursor")
    number = int(digits)
    if number > ULLONG_MAX:
        raise CommandError("ERR invalid cursor")
    return -number & ULLONG_MAX if text[0] == 45 else number


def scan_count(text: bytes) -> int:
    """The amount behind COUNT. CommandError when it is no integer or less than 1."""
    count = integer(text)
    if not 1 <= count <= LONG_MAX:
        raise CommandError(SYNTAX)
    return count


def scan_pattern(text: bytes) -> Matcher | None:
    """The pattern behind MATCH; None for "*", which takes everything, the empty text included."""
    return None if text == b"*" else compile_glob(text)
