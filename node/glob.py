"""Glob patterns as KEYS, SCAN, PSUBSCRIBE and CONFIG GET take them, by Redis's ``stringmatchlen`` rules.

A pattern is compiled once to a function and kept, because SCAN and PSUBSCRIBE use one pattern many times. Every token
but ``*`` takes exactly one byte, so the text between two stars may be matched as early as it fits and never tried
again: that is what an atomic group says, and it is why a pattern like ``a*a*a*b`` takes no exponential time.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

Matcher = Callable[[bytes], bool]

_SPECIAL = frozenset(b"*?[\\")
_STAR, _QUESTION, _OPEN, _CLOSE, _BACKSLASH, _CARET, _DASH = b"*?[]\\^-"


def match(pattern: bytes, text: bytes, nocase: bool = False) -> bool:
    """True when ``text`` matches the glob ``pattern`` as a whole; ASCII case is ignored if ``nocase``."""
    return compile_glob(pattern, nocase)(text)


@functools.lru_cache(maxsize=512)
def compile_glob(pattern: bytes, nocase: bool = False) -> Matcher:
    """A function that says whether a text matches ``pattern``; kept for the 512 patterns used last.

    Rules (Redis's): ``*`` any bytes, ``?`` one byte, ``[abc]``, ``[a-z]`` (in either order), ``[^...]``, ``\\x`` the
    byte x; a bracket that is never closed ends with the pattern; a backslash that ends the pattern is itself; the empty
    text is matched by the empty pattern only, not by stars (KEYS and SCAN take everything for exactly ``*``, a step
    before they match).
    """
    if not pattern.strip(b"*"):
        return bool if pattern else _is_empty
    segments = _parse(pattern, nocase)
    if not nocase and not any(byte in _SPECIAL for byte in pattern):
        return pattern.__eq__
    if not nocase and pattern.endswith(b"*") and not any(byte in _SPECIAL for byte in pattern[:-1]):
        prefix = pattern[:-1]
        return lambda text: text.startswith(prefix)
    first, *rest = segments
    source = b"".join(first)
    for segment in rest[:-1]:
        if segment:
            source += b"(?>.*?" + b"".join(segment) + b")"
    if rest:
        source += b".*" + b"".join(rest[-1])
    compiled = re.compile(source, re.DOTALL).fullmatch
    return lambda text: compiled(text) is not None


def _is_empty(text: bytes) -> bool:
    return not text


def _parse(pattern: bytes, nocase: bool) -> list[list[bytes]]:
    """The pattern cut at its stars; every part is a list of expressions that take one byte each."""
    segments: list[list[bytes]] = [[]]
    at, size = 0, len(pattern)
    while at < size:
        byte = pattern[at]
        if byte == _STAR:
            segments.append([])
            at += 1
        elif byte == _QUESTION:
            segments[-1].append(b".")
            at += 1
        elif byte == _OPEN:
            token, at = _bracket(pattern, at + 1, nocase)
            segments[-1].append(token)
        else:
            if byte == _BACKSLASH and at + 1 < size:
                at += 1
            segments[-1].append(_literal(pattern[at], nocase))
            at += 1
    return segments


def _bracket(pattern: bytes, at: int, nocase: bool) -> tuple[bytes, int]:
    """One bracket expression, read from behind its opening; returns it and where the pattern goes on."""
    size = len(pattern)
    negated = at < size and pattern[at] == _CARET
    if negated:
        at += 1
    members: set[int] = set()
    while at < size:
        byte = pattern[at]
        if byte == _BACKSLASH and at + 1 < size:
            at += 1
            members.add(pattern[at])
        elif byte == _CLOSE:
            at += 1
            break
        elif at + 2 < size and pattern[at + 1] == _DASH:
            low, high = sorted((_signed(byte, nocase), _signed(pattern[at + 2], nocase)))
            members.update(other for other in range(256) if low <= _signed(other, nocase) <= high)
            at += 2
        else:
            folded = _fold(byte, nocase)
            members.update(other for other in range(256) if _fold(other, nocase) == folded)
        at += 1
    return _class(members, negated), at


def _fold(byte: int, nocase: bool) -> int:
    return byte + 32 if nocase and 65 <= byte <= 90 else byte


def _signed(byte: int, nocase: bool) -> int:
    """The byte as the ends of a range compare: a signed char, so that ``\xff`` comes before ``a``."""
    return byte - 256 if byte > 127 else _fold(byte, nocase)


def _literal(byte: int, nocase: bool) -> bytes:
    if nocase and bytes((byte,)).isalpha():
        return _class({byte, byte ^ 32}, False)
    return re.escape(bytes((byte,)))


def _class(members: set[int], negated: bool) -> bytes:
    chosen = set(range(256)) - members if negated else members
    if not chosen:
        return b"(?!)"
    if len(chosen) == 256:
        return b"."
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(chosen)) + b"]"
