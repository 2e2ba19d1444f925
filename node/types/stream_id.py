"""Stream ids: a time in ms and a sequence number, here one integer, ms * 2^64 + sequence, so that order is order.

Defined at https://redis.io/docs/data-types/streams/#entry-ids; what is odd about their parsing is Redis's `string2ull`.
"""

from __future__ import annotations

import re

from node.numbers import ULLONG_MAX, parse_int

MS_SHIFT = 64
SEQUENCE_MASK = ULLONG_MAX
ID_MAX = (1 << 128) - 1

_TEXT_MAX = 127
_LENIENT = re.compile(rb"[ \t\n\v\f\r]*([+-]?)(\d+)\Z")


def format_id(number: int) -> bytes:
    """An id as clients see it: "1526919030474-55"."""
    return b"%d-%d" % (number >> MS_SHIFT, number & SEQUENCE_MASK)


def _unsigned(text: bytes) -> int | None:
    """An unsigned 64-bit number: what C's `strtoull` takes as a whole, but no canonical negative number."""
    if text.isdigit() and len(text) < 20:
        return int(text)
    strict = parse_int(text)
    if strict is not None and strict < 0:
        return None
    found = _LENIENT.match(text)
    if found is None:
        return None
    number = int(found.group(2))
    if number > ULLONG_MAX:
        return None
    return -number & ULLONG_MAX if found.group(1) == b"-" else number


def parse_id(text: bytes, missing_sequence: int = 0) -> int | None:
    """The id in `text`, which may leave out the sequence number; None when it is none."""
    if len(text) > _TEXT_MAX:
        return None
    first, dash, second = text.partition(b"\0")[0].partition(b"-")
    ms = _unsigned(first)
    sequence = _unsigned(second) if dash else missing_sequence
    if ms is None or sequence is None:
        return None
    return ms << MS_SHIFT | sequence


def parse_bound(text: bytes, missing_sequence: int = 0) -> int | None:
    """Like `parse_id`, and "-" is the lowest and "+" the highest id."""
    if text == b"-":
        return 0
    if text == b"+":
        return ID_MAX
    return parse_id(text, missing_sequence)
