"""The replication stream as a replica reads it: requests, and exactly which bytes each one took.

The offset that a replica reports counts the bytes of whole commands it has applied, so the parser gives out the bytes
of each, which also go to the replica's own replicas. It trusts its peer as far as a replica trusts its primary: sizes
are bounded only by what a server may send.
"""

from __future__ import annotations

from node.errors import ProtocolError
from node.registry import Args

_LINE_MAX = 64 * 1024
_ARGS_MAX = 1 << 31
_BULK_MAX = 1 << 40


class StreamParser:
    """Bytes in, `(args, those bytes)` out, one command at a time.

    Empty lines, inline commands and `*0` are requests too: `args` is then empty or what the line says; their bytes
    count like any other.
    """

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._more: list[bytes] = []
        self._held = 0
        self._need = 1

    @property
    def waiting(self) -> int:
        """Bytes that were fed and are not yet given out as part of a request."""
        return len(self._data) - self._at + self._held

    def feed(self, chunk: bytes) -> None:
        """Bytes have come."""
        self._more.append(chunk)
        self._held += len(chunk)

    def next(self) -> tuple[Args, bytes] | None:
        """The next whole request, None when more bytes are needed. ProtocolError when the bytes are no request."""
        if self._more and (self._at >= len(self._data) or self._need > len(self._data) - self._at):
            self._merge()
        if len(self._data) - self._at < self._need:
            return None
        found = self._parse()
        if found is None and self._more:
            self._merge()
            found = self._parse()
        return found

    def _merge(self) -> None:
        if len(self._data) - self._at + self._held < self._need:
            return
        self._more.insert(0, self._data[self._at :] if self._at else self._data)
        self._data = b"".join(self._more)
        self._more.clear()
        self._held = self._at = 0

    def _parse(self) -> tuple[Args, bytes] | None:
        data = self._data
        start = self._at
        end = data.find(b"\n", start)
        if end < 0:
            return self._short(start, len(data) + 1)
        if data[start] != 0x2A:
            return self._done(data[start:end].split(), end + 1)
        count = _number(data[start + 1 : end], _ARGS_MAX)
        args: Args = []
        at = end + 1
        for _ in range(count):
            end = data.find(b"\n", at)
            if end < 0:
                return self._short(at, len(data) + 1)
            if data[at] != 0x24:
                raise ProtocolError(f"expected '$', got '{chr(data[at])}'")
            size = _number(data[at + 1 : end], _BULK_MAX)
            at = end + 1 + size + 2
            if at > len(data):
                return self._short(end, at)
            args.append(data[end + 1 : at - 2])
        return self._done(args, at)

    def _short(self, line: int, need_until: int) -> tuple[Args, bytes] | None:
        """More bytes are needed, up to this position; a line that goes on for ever is no request."""
        if len(self._data) - line > _LINE_MAX and need_until == len(self._data) + 1:
            raise ProtocolError("too big count or line in the replication stream")
        self._need = need_until - self._at
        return None

    def _done(self, args: Args, end: int) -> tuple[Args, bytes]:
        raw = self._data[self._at : end]
        self._at = end
        self._need = 1
        return args, raw


def _number(text: bytes, limit: int) -> int:
    """The decimal number of a header line, which ends in CR."""
    digits = text[:-1]
    if text[-1:] != b"\r" or not digits.isdigit() or len(digits) > 13 or int(digits) > limit:
        raise ProtocolError("invalid length in the replication stream")
    return int(digits)
