"""Asks a node how it is, over its client port, without a client library: what the launcher waits with. I/O."""

from __future__ import annotations

import socket

from node import resp


class Probe:
    """One connection to a node that may not listen yet."""

    def __init__(self, host: str, port: int, password: str = "") -> None:
        self._address = (host, port)
        self._password = password
        self._socket: socket.socket | None = None

    def facts(self) -> dict[str, str]:
        """The fields of CLUSTER INFO and INFO replication, and `slots`; {} when the node does not answer (yet)."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=1.0)
                if self._password:
                    self._ask([b"AUTH", self._password.encode()])
            text = self._ask([b"CLUSTER", b"INFO"]) + self._ask([b"INFO", b"replication"])
            nodes = self._ask([b"CLUSTER", b"NODES"])
        except OSError:
            self.close()
            return {}
        pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
        facts = {name: value for name, _, value in pairs}
        own_line = next((line.split() for line in nodes.splitlines() if "myself" in line), [])
        return {**facts, "slots": " ".join(own_line[8:])}

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, args: list[bytes]) -> str:
        """One request; its reply must be a status, an error or a bulk string."""
        assert self._socket is not None
        self._socket.sendall(resp.request(args))
        stream = self._socket.makefile("rb")
        first = stream.readline()
        if not first:
            raise ConnectionResetError("the node closed the connection")
        if first[:1] != b"$":
            return first.decode(errors="replace")
        return stream.read(int(first[1:]) + 2).decode(errors="replace")
