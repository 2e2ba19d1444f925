"""Reply bytes to trees that can be compared: a reply keeps its RESP type, so that `:1` is not `$1`."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from node import resp


class Tree(NamedTuple):
    """One reply. kind: its first byte on the wire, "_" for all nulls of RESP3; value: what it holds.

    Arrays, sets and pushes hold lists of trees, maps lists of pairs of trees, null bulk strings and null arrays None.
    """

    kind: str
    value: Any

    def __repr__(self) -> str:
        if self.kind in "*~>":
            return f"{self.kind}{self.value!r}"
        return f"{self.kind}{self.value!r}" if self.kind != "%" else f"%{dict(self.value)!r}"


_AGGREGATES = "*~>"


def parse(data: bytes, at: int = 0) -> tuple[Tree, int] | None:
    """The reply at `at` and where it ends; None when it is not whole."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, line, at = chr(data[at]), data[at + 1 : end], end + 2
    if kind in "+-(,:#_":
        return Tree(kind, line), at
    size = int(line)
    if size < 0:
        return Tree(kind, None), at
    if kind in "$=":
        return (Tree(kind, data[at : at + size]), at + size + 2) if len(data) >= at + size + 2 else None
    if kind not in "*~>%|":
        raise ValueError(f"no RESP: {data[at - 20 : at + 20]!r}")
    items: list[Tree] = []
    for _ in range(size * 2 if kind in "%|" else size):
        found = parse(data, at)
        if found is None:
            return None
        item, at = found
        items.append(item)
    if kind in _AGGREGATES:
        return Tree(kind, items), at
    return Tree(kind, list(zip(items[::2], items[1::2], strict=True))), at


def parse_whole(data: bytes) -> Tree:
    """The one reply in `data`. AssertionError when there is more or less."""
    found = parse(data)
    assert found is not None and found[1] == len(data), f"not one whole reply: {data!r}"
    return found[0]


def unordered(tree: Tree) -> Tree:
    """With the members of the outermost array or set sorted, and of maps by key."""
    if tree.value is None or tree.kind not in "*~%":
        return tree
    return Tree(tree.kind, sorted(tree.value, key=repr))


def unordered_pairs(tree: Tree) -> Tree:
    """Like `unordered`, for arrays whose neighbours belong together (a hash in RESP2)."""
    if tree.kind != "*" or not tree.value or any(item.kind == "*" for item in tree.value):
        return unordered(tree)
    pairs = sorted(zip(tree.value[::2], tree.value[1::2], strict=True), key=repr)
    return Tree("*", [item for pair in pairs for item in pair])


class Wire:
    """One connection that speaks in bytes. `call` waits for the reply."""

    def __init__(self, port: int, protocol: int = 2) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        if protocol == 3:
            self.call(b"HELLO", b"3")

    def call(self, *args: bytes) -> Tree:
        """The reply to one request."""
        self.socket.sendall(resp.request(args))
        return self.read()

    def read(self) -> Tree:
        """The next reply."""
        while (found := parse(self._data)) is None:
            self._more()
        self._data = self._data[found[1] :]
        return found[0]

    def read_line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._data.find(b"\r\n")) < 0:
            self._more()
        line, self._data = self._data[:end], self._data[end + 2 :]
        return line

    def read_bytes(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._data) < size:
            self._more()
        data, self._data = self._data[:size], self._data[size:]
        return data

    def _more(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._data += data

    def close(self) -> None:
        self.socket.close()
