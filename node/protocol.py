"""Bytes to requests. Hot: every chunk of every client passes through.

hiredis parses *replies*, which requests of the form `*N $len ...` happen to be, and does it in C. So a chunk that
begins at a request's start goes to hiredis as a whole. But it knows neither our limits nor inline requests, takes what
is no request for one, and never recovers from an error. So whatever it finds odd or unfinished goes to `_Scanner`,
which has Redis's rules (`networking.c`, processMultibulkBuffer and processInlineBuffer) and keeps incomplete requests:

- hiredis raises, or an element is not a bulk string: the scanner reads the chunk from its start;
- the chunk ends within a request: the scanner gets that last part, and then the next chunk first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import hiredis

from node.errors import ProtocolError
from node.numbers import parse_int
from node.registry import Args
from node.words import split_words

ARGUMENTS_MAX = 1024 * 1024
INLINE_MAX = 64 * 1024
UNAUTHENTICATED_ARGUMENTS_MAX = 10
UNAUTHENTICATED_BULK_MAX = 16 * 1024
BULK_MAX = 512 * 1024 * 1024

_STAR = ord("*")
_DOLLAR = ord("$")
_PLUS, _EQUALS, _BRACKET, _TILDE, _GREATER, _BAR = b"+=(~>|"

_join = b"".join

# hiredis makes room for as many elements as it is told of: a line of a few bytes would cost gigabytes and seconds. No
# chunk holds 100,000 arguments, so a request that names more is not whole anyway.
_many_items = re.compile(rb"\*\d{6}").search
_many_members = re.compile(rb"~\d{6}").search
_many_pushed = re.compile(rb">\d{6}").search
_many_attributes = re.compile(rb"\|\d{6}").search

# "=", "~" and "+" alone are arguments of every other request on streams. "=" and "~" without a length are an error to
# hiredis, so what may be something else than an argument goes on behind them.
_verbatim = re.compile(rb"\r\n=[^\r]").search
_set = re.compile(rb"\r\n~[^\r]").search
_PLUS_ALONE = b"$1\r\n+\r\n"


def _new_reader() -> tuple[Callable[[bytes], None], Callable[[], Any]]:
    reader = hiredis.Reader()
    return reader.feed, reader.gets


_feed, _gets = _new_reader()
"""One reader for all connections: it never keeps anything from one chunk to the next."""

_END = b"+\r\n"
"""Fed behind a chunk: only when the chunk ended where a request ended it comes back as an empty simple string."""


_SHORT = 256
_COUNTS = [b"", *(b"*%d" % count for count in range(1, _SHORT))]
_LENGTHS = [b"$%d" % length for length in range(_SHORT)]


def _read_short(data: bytes) -> Args | None:
    """The one request that `data` is; None when it is anything else.

    A chunk that is a single short request (a client that does not pipeline) is taken apart faster by its line breaks
    than by hiredis: it is right if every second part is the length of the part behind it.
    """
    parts = data.split(b"\r\n")
    last = parts.pop()
    args = parts[2::2]
    if not last and parts[0] == _COUNTS[len(args)] and parts[1::2] == [_LENGTHS[len(arg)] for arg in args]:
        return args
    return None


def _read_whole(data: bytes) -> list[Args] | None:
    """The requests in `data`; None unless it consists of whole, well-formed requests and nothing else.

    A value may be followed by any two bytes in place of a line break, as in Redis. (Behind such a value, and only
    there, "+x" passes for an argument. Behind one that ends with "$1" an empty simple string does.)
    """
    global _feed, _gets
    if (
        _many_items(data)
        # Simple and verbatim strings and big numbers would come back as bytes, like the arguments that they are not,
        # and a set as a list, like a request. (A number is looked for much faster than a string of one byte.)
        or (_PLUS in data and data.count(b"\r\n+") != data.count(_PLUS_ALONE))
        or (_EQUALS in data and _verbatim(data))
        or (_BRACKET in data and b"\r\n(" in data)
        or (_TILDE in data and (_set(data) or _many_members(data)))
        or (_GREATER in data and _many_pushed(data))
        or (_BAR in data and _many_attributes(data))
    ):
        return None
    feed, gets = _feed, _gets
    feed(data)
    feed(_END)
    requests: list[Args] = []
    append = requests.append
    try:
        while (request := gets()).__class__ is list:
            if not request:
                break
            _join(request)  # TypeError when an argument is not a bulk string.
            append(request)
        if request == b"":
            return requests
    except (hiredis.ProtocolError, TypeError):
        pass
    _feed, _gets = _new_reader()
    return None


class RequestParser:
    """The requests in one client's bytes.

    error: set when the bytes are no request; nothing after it is read. limited: the client has not authenticated, so
    only small requests are taken, and one at a time, since the first may be AUTH. more: `feed(b"")` may give more.
    bulk_max: `proto-max-bulk-len`, in bytes.
    """

    __slots__ = ("_scanner", "bulk_max", "error", "limited", "more")

    def __init__(self, bulk_max: int = BULK_MAX, limited: bool = False) -> None:
        self.bulk_max = bulk_max
        self.limited = limited
        self.more = False
        self.error: ProtocolError | None = None
        self._scanner: _Scanner | None = None

    @property
    def pending_bytes(self) -> int:
        """How many bytes of an unfinished request are kept."""
        return 0 if self._scanner is None else self._scanner.kept_bytes

    def feed(self, data: bytes) -> list[Args]:
        """All requests that `data` completes, none of them empty. Sets `error` when what follows them is no request."""
        if self._scanner is not None or self.limited or data[0] != _STAR:
            return self._continue(data)
        if len(data) <= _SHORT and (request := _read_short(data)) is not None:
            return [request]
        requests = _read_whole(data)
        return self._split(data) if requests is None else requests

    def _split(self, data: bytes) -> list[Args]:
        """A chunk that hiredis can not take as a whole. Mostly it just ends within a request, which then begins at the
        last "*" after a line break: that is so if everything before it is whole. Otherwise the scanner reads it all."""
        start = data.rfind(b"\r\n*") + 2
        requests = _read_whole(data[:start]) if start > 1 else None
        if requests is None:
            return self._scan(_Scanner(data))
        return requests + self._scan(_Scanner(data[start:]))

    def _continue(self, data: bytes) -> list[Args]:
        """Finish what an earlier chunk began; the rest of this one can take the fast way again."""
        self.more = False
        if self.error is not None:
            return []
        scanner, self._scanner = self._scanner, None
        if scanner is None:
            return self._scan(_Scanner(data)) if data else []
        scanner.add(data)
        if self.limited:
            return self._scan(scanner)
        first = self._next(scanner)
        if first is None:
            self._keep(scanner)
            return []
        requests = [first] if first else []
        rest = scanner.rest()
        return requests + self.feed(rest) if rest else requests

    def _scan(self, scanner: _Scanner) -> list[Args]:
        requests: list[Args] = []
        self.more = False
        while (request := self._next(scanner)) is not None:
            if request:
                requests.append(request)
                if self.limited:
                    self.more = bool(scanner.kept_bytes)
                    break
        self._keep(scanner)
        return requests

    def _next(self, scanner: _Scanner) -> Args | None:
        if self.error is not None:
            return None
        try:
            return scanner.next(self.limited, self.bulk_max)
        except ProtocolError as error:
            self.error = error
            return None

    def _keep(self, scanner: _Scanner) -> None:
        if self.error is not None:
            self._scanner = _Scanner(b"")  # Something is there, so that `feed` comes to `_continue` and reads no more.
        else:
            self._scanner = scanner if scanner.kept_bytes else None


class _Scanner:
    """Redis's own reading of requests, any number of bytes at a time, one request after the other."""

    __slots__ = ("_args", "_args_bytes", "_at", "_buffer", "_bulk", "_missing")

    def __init__(self, data: bytes) -> None:
        self._buffer = bytearray(data)
        self._at = 0
        self._args: Args = []
        self._args_bytes = 0
        self._missing = 0
        """How many arguments of the request at hand are still to come."""
        self._bulk = -1
        """The length of the argument at hand, once it is known."""

    @property
    def kept_bytes(self) -> int:
        """Bytes not consumed yet and those of the arguments of an unfinished request; 0 only between requests."""
        return len(self._buffer) - self._at + self._args_bytes + self._missing

    def add(self, data: bytes) -> None:
        """More bytes have arrived."""
        if self._at > INLINE_MAX:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def rest(self) -> bytes:
        """What follows the request that `next` returned last."""
        return bytes(self._buffer[self._at :])

    def next(self, limited: bool, bulk_max: int) -> Args | None:
        """The next request, [] for an empty one, None when more bytes are needed. ProtocolError in Redis's words."""
        if not self._missing:
            if self._at == len(self._buffer):
                self._buffer.clear()
                self._at = 0
                return None
            if self._buffer[self._at] != _STAR:
                return self._inline()
            count = self._count(limited)
            if count is None or count <= 0:
                return None if count is None else []
            self._missing = count
        while self._missing:
            if not self._argument(limited, bulk_max):
                return None
        args, self._args, self._args_bytes = self._args, [], 0
        return args

    def _line(self, too_long: str) -> bytes | None:
        """The line at hand without its first byte, consumed; None when its end has not arrived yet."""
        end = self._buffer.find(b"\r", self._at)
        if end < 0 or end + 1 >= len(self._buffer):
            if len(self._buffer) - self._at > INLINE_MAX:
                raise ProtocolError(too_long)
            return None
        line = bytes(self._buffer[self._at + 1 : end])
        self._at = end + 2
        return line

    def _count(self, limited: bool) -> int | None:
        line = self._line("too big mbulk count string")
        if line is None:
            return None
        count = parse_int(line)
        if count is None or count > ARGUMENTS_MAX:
            raise ProtocolError("invalid multibulk length")
        if limited and count > UNAUTHENTICATED_ARGUMENTS_MAX:
            raise ProtocolError("unauthenticated multibulk length")
        return count

    def _argument(self, limited: bool, bulk_max: int) -> bool:
        """Read one argument; False when more bytes are needed."""
        if self._bulk < 0:
            if self._at >= len(self._buffer):
                return False
            if self._buffer[self._at] != _DOLLAR:
                found = bytes(self._buffer[self._at : self._at + 1]).decode("utf-8", "surrogateescape")
                raise ProtocolError(f"expected '$', got '{found}'")
            line = self._line("too big bulk count string")
            if line is None:
                return False
            length = parse_int(line)
            if length is None or length < 0 or length > bulk_max:
                raise ProtocolError("invalid bulk length")
            if limited and length > UNAUTHENTICATED_BULK_MAX:
                raise ProtocolError("unauthenticated bulk length")
            self._bulk = length
        end = self._at + self._bulk
        if len(self._buffer) < end + 2:
            return False
        self._args.append(bytes(memoryview(self._buffer)[self._at : end]))
        self._args_bytes += self._bulk + 1
        self._at = end + 2
        self._bulk = -1
        self._missing -= 1
        return True

    def _inline(self) -> Args | None:
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            if len(self._buffer) - self._at > INLINE_MAX:
                raise ProtocolError("too big inline request")
            return None
        line = bytes(self._buffer[self._at : end]).removesuffix(b"\r")
        self._at = end + 1
        args = split_words(line)
        if args is None:
            raise ProtocolError("unbalanced quotes in request")
        return args
