"""What happens to a node's part of the cluster bus, and what the bus's I/O must do about it.

Events go into `step`, effects come out, to be carried out in order. A Persist that fails must stop those behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gossip.messages import Message

LinkId = int
"""One bus connection, in or out. Numbers come from the machine's `new_link()` alone and are never used again."""


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; due every 100 ms."""


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """The connection asked for by Connect stands. local_ip: this node's end of it."""

    link: LinkId
    local_ip: str = ""


@dataclass(frozen=True, slots=True)
class LinkAccepted:
    """A peer has connected. remote_ip, local_ip: the two ends as text."""

    link: LinkId
    remote_ip: str
    local_ip: str = ""


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The connection ended or could not be made. Not needed for links that the machine closed, and harmless there."""

    link: LinkId


@dataclass(frozen=True, slots=True)
class Received:
    """One whole message came in over `link`."""

    link: LinkId
    message: Message


GossipEvent = Tick | LinkOpened | LinkAccepted | LinkClosed | Received


# --- effects --------------------------------------------------------------------------------------


class Level(Enum):
    """How loud a log line is, in the words of `loglevel`."""

    DEBUG = "debug"
    VERBOSE = "verbose"
    NOTICE = "notice"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection to a bus port; answer with LinkOpened or LinkClosed."""

    link: LinkId
    ip: str
    bus_port: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message over a link. What is sent before LinkOpened waits for it. Unknown links are ignored."""

    link: LinkId
    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """Close a link, without LinkClosed. What was sent before may be lost."""

    link: LinkId


@dataclass(frozen=True, slots=True)
class Persist:
    """nodes.conf must hold the machine's `saved_state()` before the effects behind this one.

    lasting: also if the host loses power the moment after. Otherwise it is enough that it is there when this process ends,
    however it ends; it becomes lasting soon after.
    """

    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the server's log."""

    level: Level
    text: str


GossipEffect = Connect | Send | Close | Persist | Log
