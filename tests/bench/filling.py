"""Collections of a given size, filled through a pipeline as quickly as any server takes them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from tests.bench.servers import BenchError, Running, connect

_WORDS_A_REQUEST = 400
_REQUESTS_AT_A_TIME = 50


def encode(words: Sequence[bytes]) -> bytes:
    """One request."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def element(number: int) -> bytes:
    """The name of an element: 15 bytes, in an order that is not that of the numbers."""
    return b"element:%07d" % (number * 7919 % 10_000_000)


def requests(command: str, key: str, count: int, words: int, value: bytes = b"") -> Iterator[bytes]:
    """Requests that put `count` elements into `key`. words: an element takes 1, or 2 with its score or value."""
    name, head = key.encode(), command.encode()
    if command == "XADD":
        for number in range(count):
            yield encode([head, name, b"%d-1" % (number + 1), b"field", value or element(number)])
        return
    for start in range(0, count, _WORDS_A_REQUEST):
        rest: list[bytes] = []
        for number in range(start, min(start + _WORDS_A_REQUEST, count)):
            one = element(number)
            if words == 2:
                rest += [b"%d" % number, one] if command == "ZADD" else [one, value or b"%d" % number]
            else:
                rest.append(one)
        yield encode([head, name, *rest])


def send(plain: socket.socket, replies: BinaryIO, chunk: Sequence[bytes], who: str) -> None:
    """Send requests whose replies are one line each (or a bulk string), and read the replies. BenchError on errors."""
    plain.sendall(b"".join(chunk))
    for _ in chunk:
        skip(replies, who)


def skip(replies: BinaryIO, who: str = "server") -> None:
    """Read one reply of any kind. BenchError when it is an error."""
    line = replies.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"-" or not line:
        raise BenchError(f"{who}: answered {line!r}")
    if kind == b"$" and int(rest) >= 0:
        replies.read(int(rest) + 2)
    if kind == b"*" and int(rest) > 0:
        for _ in range(int(rest)):
            skip(replies, who)


def fill(running: Running, command: str, key: str, count: int, words: int, value: bytes = b"") -> None:
    """Put `count` elements into `key`."""
    with connect(running.port) as plain, plain.makefile("rb") as replies:
        chunk: list[bytes] = []
        for request in requests(command, key, count, words, value):
            chunk.append(request)
            if len(chunk) == _REQUESTS_AT_A_TIME:
                send(plain, replies, chunk, running.kind.name)
                chunk.clear()
        send(plain, replies, chunk, running.kind.name)


def timed(running: Running, asked: Sequence[bytes], pipeline: int) -> float:
    """Seconds that these requests take, `pipeline` at a time, on one connection. BenchError on an error reply."""
    with connect(running.port, 300.0) as plain, plain.makefile("rb") as replies:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        for start in range(0, len(asked), pipeline):
            send(plain, replies, asked[start : start + pipeline], running.kind.name)
        return time.perf_counter() - began
