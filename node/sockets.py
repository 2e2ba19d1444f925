"""Listening sockets, and what to do when one can not be had. I/O."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence


class ListenError(Exception):
    """A port or socket that can not be opened; the text says which and why."""


async def open_listeners(
    loop: asyncio.AbstractEventLoop,
    hosts: Sequence[str],
    port: int,
    protocol: Callable[[], asyncio.BaseProtocol],
    backlog: int,
    name: str,
) -> list[asyncio.Server]:
    """Listen on `port` of each host of a `bind` setting; "-" before a host: do without it if there is no such address.

    ListenError when one can not be had, or none is left.
    """
    listeners = []
    for host in hosts:
        plain = host.removeprefix("-")
        try:
            listener = listening_socket(plain, port)
        except OSError as error:
            if host != plain and error.errno != errno.EADDRINUSE:
                continue
            raise ListenError(
                f"Could not create server TCP listening socket {plain}:{port} ({name}): {error.strerror}"
            ) from error
        listeners.append(await loop.create_server(protocol, sock=listener, backlog=backlog))
    if not listeners:
        raise ListenError(f"Failed listening on port {port} ({name}), aborting.")
    return listeners


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound TCP socket on `host` ("*" and "" for every IPv4 address). OSError when it can not be had."""
    plain = "0.0.0.0" if host in ("*", "") else "::" if host == "::*" else host
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((plain, port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
