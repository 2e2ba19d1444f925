"""One connection of an administrator's tool to a node, and errors that tell in one line what to do. I/O.

redis-py speaks; it is imported only here, when the first connection is made. Its replies are taken raw, as RESP2.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.admin.picture import Host

DEFAULT_PORT = 6379
AUTH_HINT = "give the cluster's password with -a, or in HASHSLOT_AUTH or REDISCLI_AUTH"
_AT_ONCE = 1024
"""Requests on their way to one node: more would fill both sides' buffers."""
_POLL_S = 0.05

_HOST_AND_PORT = re.compile(r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<name>[^\[\]]*?)):(?P<port>[0-9]{1,5})")

Word = str | bytes | int


class AdminError(Exception):
    """Something can not be done. The text is one line: why, and what to do about it."""


class Unreachable(AdminError):
    """A node does not answer, or not as a node does. host: which."""

    def __init__(self, host: Host, reason: str) -> None:
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason


class Refusal(AdminError):
    """A node answered with an error. text: its words, with Redis's code in front where it has one of its own."""

    def __init__(self, host: Host, words: Sequence[Word], text: str) -> None:
        shown = " ".join(_shown(word) for word in words[:6])
        super().__init__(f"{host} refused {shown}: {text}")
        self.text = text


def _shown(word: Word) -> str:
    text = word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
    return text if text else '""'


def parse_host(text: str) -> Host:
    """HOST:PORT, [IPv6]:PORT, an IPv6 address and port without brackets, :PORT or PORT. ValueError for anything else."""
    whole = text.strip()
    if whole.isdecimal():
        whole = f":{whole}"
    match = _HOST_AND_PORT.fullmatch(whole)
    if not match:
        raise ValueError(f"{text!r} is not HOST:PORT")
    port = int(match["port"])
    if not 0 < port < 65_536:
        raise ValueError(f"{port} is no port")
    return Host(match["bracketed"] or match["name"] or "127.0.0.1", port)


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in. timeout_s: for a connection and for a reply. tls: redis-py's ssl_... arguments, None for plain TCP."""

    user: str = ""
    password: str = field(default="", repr=False)
    timeout_s: float = 10.0
    tls: dict[str, Any] | None = None


class Link:
    """A connection to the node at `host`, made by the first request and again after it was lost."""

    def __init__(self, host: Host, access: Access) -> None:
        self.host = host
        self._access = access
        self._connection: Any = None

    def ask(self, *words: Word) -> Any:
        """One request's reply. Refusal when it is an error, Unreachable when there is none.

        A node that loads is asked again for as long as one waits for a reply: one that was emptied a moment ago may just
        have begun to follow who took its last slot.
        """
        deadline = time.monotonic() + self._access.timeout_s
        while isinstance(reply := self.ask_many([words])[0], Refusal):
            if not reply.text.startswith("LOADING") or time.monotonic() > deadline:
                raise reply
            time.sleep(_POLL_S)
        return reply

    def ask_many(self, requests: Iterable[Sequence[Word]]) -> list[Any]:
        """The replies to many requests, sent together; an error is a Refusal in its place. Unreachable when one is lost."""
        waiting = list(requests)
        replies: list[Any] = []
        for start in range(0, len(waiting), _AT_ONCE):
            replies += self._ask(waiting[start : start + _AT_ONCE])
        return replies

    def _ask(self, requests: list[Sequence[Word]]) -> list[Any]:
        import redis

        try:
            connection = self._connected()
            connection.send_packed_command(connection.pack_commands(requests))
            return [self._reply(connection, words) for words in requests]
        except redis.AuthenticationError as error:
            self.close()
            raise Unreachable(self.host, _auth_reason(str(error))) from None
        except (redis.RedisError, OSError) as error:
            self.close()
            raise Unreachable(self.host, self._reason(error)) from None
        except BaseException:
            self.close()  # An interrupted request's reply would else be taken for the next one's.
            raise

    def _reply(self, connection: Any, words: Sequence[Word]) -> Any:
        import redis

        try:
            return connection.read_response(disconnect_on_error=False)
        except redis.AuthenticationError:
            raise
        except redis.exceptions.BusyLoadingError as error:  # To redis-py it is a matter of the connection.
            return Refusal(self.host, words, f"LOADING {error}")
        except redis.ResponseError as error:
            return Refusal(self.host, words, _with_code(error))

    def _connected(self) -> Any:
        if self._connection is None:
            from redis.backoff import NoBackoff
            from redis.connection import Connection, SSLConnection
            from redis.retry import Retry

            access = self._access
            options: dict[str, Any] = {
                "host": self.host.name, "port": self.host.port, "protocol": 2, "retry": Retry(NoBackoff(), 0),
                "socket_timeout": access.timeout_s, "socket_connect_timeout": access.timeout_s,
                "username": access.user or None, "password": access.password or None,
            }
            kind = Connection if access.tls is None else SSLConnection
            self._connection = kind(**options, **(access.tls or {}))
            self._connection.connect()
        return self._connection

    def _reason(self, error: Exception) -> str:
        import redis

        text = str(error)
        if isinstance(error, redis.TimeoutError | TimeoutError):
            return f"no answer within {self._access.timeout_s:g} s"
        if "refused" in text:
            return "connection refused: does a node run there?"
        if "certificate" in text.lower() or "SSL" in text:
            return f"TLS: {text}"
        if self._access.tls is None and ("closed by server" in text or "reset by peer" in text):
            return "the connection was closed: does this port want --tls?"
        if isinstance(error, redis.ResponseError):
            return text
        return text.rstrip(".") or type(error).__name__

    def ip(self) -> str:
        """The IP address of the node, which CLUSTER MEET wants instead of a host's name. Unreachable."""
        try:
            found = socket.getaddrinfo(self.host.name, self.host.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable(self.host, f"its address is not known: {error.strerror or error}") from None
        # IPv4 first, as the nodes bind it by default.
        found.sort(key=lambda one: one[0] != socket.AF_INET)
        return str(found[0][4][0])

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None


def _auth_reason(text: str) -> str:
    if "without any password" in text:
        return "it has no password set, but one was given (-a, HASHSLOT_AUTH or REDISCLI_AUTH): leave it out"
    if "required" in text.lower() or "NOAUTH" in text:
        return f"it wants a password: {AUTH_HINT}"
    return f"it does not take this password: {AUTH_HINT}"


def _with_code(error: Exception) -> str:
    # redis-py takes the codes that it knows off the text, and makes classes of them instead.
    import redis

    codes = {
        redis.exceptions.MovedError: "MOVED", redis.exceptions.AskError: "ASK", redis.exceptions.TryAgainError: "TRYAGAIN",
        redis.exceptions.ClusterDownError: "CLUSTERDOWN", redis.exceptions.ReadOnlyError: "READONLY",
    }
    code = codes.get(type(error), "")
    return str(error) if not code or str(error).startswith(code) else f"{code} {error}"
