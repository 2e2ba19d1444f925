"""The names by which nodes know each other. Everything above is said in these terms, so they come first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType, Protocol

NodeId = NewType("NodeId", str)
"""40 lower-case hexadecimal characters, drawn at random when a node first starts, kept in its nodes.conf."""

ShardId = NewType("ShardId", str)
"""40 lower-case hexadecimal characters shared by a primary and its replicas."""

ID_LENGTH = 40
BUS_PORT_OFFSET = 10_000
"""The bus listens on client port + 10000 unless `cluster-port` is set."""

_HEX = frozenset("0123456789abcdef")


class RandomSource(Protocol):
    """The part of `random.Random` that the pure floors use: always passed in, so that a run replays from its seed."""

    def getrandbits(self, k: int, /) -> int: ...
    def random(self) -> float: ...
    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int: ...


def random_id(random: RandomSource) -> NodeId:
    """Draw a new node id: 160 random bits as 40 hex characters."""
    return NodeId(f"{random.getrandbits(160):040x}")


def is_id(text: str) -> bool:
    """Whether `text` has the form of a node or shard id."""
    return len(text) == ID_LENGTH and _HEX.issuperset(text)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node can be reached.

    ip: textual IPv4 or IPv6, "" while unknown. port: clients' port (plain text unless tls-cluster), bus_port: the
    cluster bus. secondary_port: the TLS port when `port` is plain and the reverse, 0 when there is none.
    """

    ip: str
    port: int
    bus_port: int
    secondary_port: int = 0
