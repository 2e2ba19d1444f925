"""Words as a person types them, in an inline request, a configuration file or on a command line."""

from __future__ import annotations

_ESCAPES = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}
_HEX = frozenset(b"0123456789abcdefABCDEF")
_SPACES = frozenset(b" \n\r\t\v\f\0")


def split_words(line: bytes) -> list[bytes] | None:
    """Words as a person types them: bare, 'single' or "double" quoted with \\n and \\xff (sdssplitargs).

    None when a quote is not closed or something follows a closing quote without a space.
    """
    words: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _SPACES:
            at += 1
        if at >= len(line):
            return words
        word = bytearray()
        at = _word(line, at, word)
        if at < 0:
            return None
        words.append(bytes(word))


def _word(line: bytes, at: int, word: bytearray) -> int:
    """Read one word from `at` on into `word`. Returns where it ended, -1 when a quote is not closed."""
    while at < len(line) and line[at] not in _SPACES:
        char = line[at]
        if char == 0x22 or char == 0x27:
            at = _quoted(line, at + 1, char, word)
            if at < 0 or (at < len(line) and line[at] not in _SPACES):
                return -1
            return at
        word.append(char)
        at += 1
    return at


def _quoted(line: bytes, at: int, quote: int, word: bytearray) -> int:
    """Read up to the closing quote. Returns the place behind it, -1 when there is none."""
    while at < len(line):
        char = line[at]
        if char == quote:
            return at + 1
        following = line[at + 1 : at + 2]
        if char == 0x5C and quote == 0x22 and following:
            if following == b"x" and len(line) > at + 3 and line[at + 2] in _HEX and line[at + 3] in _HEX:
                word.append(int(line[at + 2 : at + 4], 16))
                at += 4
                continue
            word.append(_ESCAPES.get(following[0], following[0]))
            at += 2
        elif char == 0x5C and quote == 0x27 and following == b"'":
            word += b"'"
            at += 2
        else:
            word.append(char)
            at += 1
    return -1
