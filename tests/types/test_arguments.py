"""Numbers, options and cursors as requests carry them."""

from __future__ import annotations

import pytest

from node import arguments
from node.errors import CommandError


@pytest.mark.parametrize("text", [b"", b"x", b"1.0", b"01", b"+1", b" 1", b"-0", b"9223372036854775808"])
def test_no_integers(text: bytes) -> None:
    with pytest.raises(CommandError, match="not an integer or out of range"):
        arguments.integer(text)


def test_ranges() -> None:
    assert arguments.integer_between(b"-5", -5, 5) == -5
    with pytest.raises(CommandError, match="ERR value is out of range, value must between -5 and 5"):
        arguments.integer_between(b"6", -5, 5)
    assert arguments.positive_integer(b"0") == 0
    with pytest.raises(CommandError, match="must be positive"):
        arguments.positive_integer(b"-1")


@pytest.mark.parametrize(
    ("text", "cursor"),
    [(b"0", 0), (b"", 0), (b"007", 7), (b"+5", 5), (b"-1", 2**64 - 1), (b"18446744073709551615", 2**64 - 1)],
)
def test_cursors(text: bytes, cursor: int) -> None:
    assert arguments.scan_cursor(text) == cursor


@pytest.mark.parametrize("text", [b" 1", b"1 ", b"x", b"1x", b"--1", b"18446744073709551616", b"9" * 5000])
def test_no_cursors(text: bytes) -> None:
    with pytest.raises(CommandError, match="ERR invalid cursor"):
        arguments.scan_cursor(text)


@pytest.mark.parametrize(
    ("unit", "amount", "at_ms"),
    [(b"EX", b"2", 3000), (b"PX", b"2", 1002), (b"EXAT", b"2", 2000), (b"PXAT", b"2", 2)],
)
def test_deadlines(unit: bytes, amount: bytes, at_ms: int) -> None:
    assert arguments.expiry_ms(unit, amount, 1000, "set") == at_ms


@pytest.mark.parametrize(
    ("unit", "amount"),
    [(b"EX", b"0"), (b"PX", b"-1"), (b"EX", b"9223372036854775"), (b"PX", b"9223372036854774808"), (b"EXAT", b"-1")],
)
def test_no_deadlines(unit: bytes, amount: bytes) -> None:
    with pytest.raises(CommandError, match="ERR invalid expire time in 'set' command"):
        arguments.expiry_ms(unit, amount, 1000, "set")


def test_options() -> None:
    options = arguments.Options([b"CMD", b"key", b"count", b"5", b"Flag", b"count"], 2)
    assert next(options) == b"COUNT"
    assert options.integer() == 5
    assert next(options) == b"FLAG"
    assert next(options) == b"COUNT"
    with pytest.raises(CommandError, match="syntax error"):
        options.value()
    assert list(options) == []
