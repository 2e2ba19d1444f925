"""One dataclass a bus message type: what is said, without how it is written (that is `codec.py`).

The format is Redis's cluster bus, version 1 (`cluster_legacy.h` in Redis and Valkey).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import NamedTuple

from gossip.ids import NodeId, ShardId

SLOT_COUNT = 16_384
SLOT_BITMAP_BYTES = SLOT_COUNT // 8
NO_SLOTS = bytes(SLOT_BITMAP_BYTES)


class MessageType(IntEnum):
    """The `type` field of the header."""

    PING = 0
    PONG = 1
    MEET = 2
    FAIL = 3
    PUBLISH = 4
    FAILOVER_AUTH_REQUEST = 5
    FAILOVER_AUTH_ACK = 6
    UPDATE = 7
    MFSTART = 8
    MODULE = 9
    PUBLISHSHARD = 10


class NodeFlag(IntFlag):
    """What is known of a node, as it stands in headers and gossip entries."""

    NONE = 0
    PRIMARY = 1
    REPLICA = 2
    PFAIL = 4
    FAIL = 8
    MYSELF = 16
    HANDSHAKE = 32
    NOADDR = 64
    MEET = 128
    MIGRATE_TO = 256
    NOFAILOVER = 512
    EXTENSIONS = 1024
    LIGHT_HEADER = 2048


@lru_cache(maxsize=1024)
def node_flags(value: int) -> NodeFlag:
    """These flags by name. In a large cluster that is asked a thousand times a second, mostly of the same few."""
    return NodeFlag(value)


class MessageFlag(IntFlag):
    """The first of the header's three message-flag bytes. WAITS is ours alone, others go over it: `cluster/restarts.py`."""

    NONE = 0
    PAUSED = 1
    FORCE_VOTE = 2
    EXTENSIONS = 4
    WAITS = 128


class ExtensionType(IntEnum):
    """Ping extensions. Redis and Valkey agree on 0 to 3; 4 is an internal secret to Redis 8 and 5 is Valkey's alone."""

    HOSTNAME = 0
    HUMAN_NODENAME = 1
    FORGOTTEN_NODE = 2
    SHARD_ID = 3
    CLIENT_IPV4 = 4
    CLIENT_IPV6 = 5


@dataclass(frozen=True, slots=True)
class Header:
    """What every full message says of its sender.

    offset: replication offset in bytes. slots: 2048-byte bitmap, slot n is bit n % 8 of byte n // 8; a replica sends
    its primary's, and its primary's config_epoch. ip: announced address, "" for "take it from the socket".
    cluster_ok: the cluster state as the sender sees it.
    """

    sender: NodeId
    port: int
    bus_port: int
    flags: NodeFlag
    current_epoch: int = 0
    config_epoch: int = 0
    offset: int = 0
    slots: bytes = NO_SLOTS
    primary: NodeId | None = None
    ip: str = ""
    secondary_port: int = 0
    cluster_ok: bool = True
    message_flags: MessageFlag = MessageFlag.NONE


class GossipEntry(NamedTuple):
    """What the sender of a ping tells of a third node. Times are seconds since 1970, 0 for never.

    A tuple, for there are thousands of them a second.
    """

    node: NodeId
    ping_sent_s: int
    pong_received_s: int
    ip: str
    port: int
    bus_port: int
    flags: NodeFlag
    secondary_port: int = 0


@dataclass(frozen=True, slots=True)
class Extensions:
    """Ping extensions by name; `unknown` keeps (type, data) of those that we do not speak.

    forgotten: (node, seconds for which it must stay forgotten).
    client_ipv4, client_ipv6: the addresses that clients are to be given instead of the header's (Valkey's
    `cluster-announce-client-ipv4`/`-ipv6`), for nodes whose clients come through another network than their peers.
    """

    hostname: str | None = None
    human_nodename: str | None = None
    shard_id: ShardId | None = None
    forgotten: tuple[tuple[NodeId, int], ...] = ()
    unknown: tuple[tuple[int, bytes], ...] = ()
    client_ipv4: str | None = None
    client_ipv6: str | None = None


NO_EXTENSIONS = Extensions()


@dataclass(frozen=True, slots=True)
class Ping:
    """PING, PONG or MEET, told apart by `type`: they differ in what the receiver does, not in what they say."""

    type: MessageType
    header: Header
    gossip: tuple[GossipEntry, ...] = ()
    extensions: Extensions = NO_EXTENSIONS


@dataclass(frozen=True, slots=True)
class Fail:
    """The sender has counted a majority of primaries that cannot reach `node`."""

    header: Header
    node: NodeId


@dataclass(frozen=True, slots=True)
class Publish:
    """A pub/sub message for the subscribers of every node, or with `sharded` for those of the slot's shard."""

    header: Header
    channel: bytes
    message: bytes
    sharded: bool = False


@dataclass(frozen=True, slots=True)
class LightPublish:
    """PUBLISH or PUBLISHSHARD with Valkey's 16-byte header: sent only to peers whose flags have LIGHT_HEADER."""

    channel: bytes
    message: bytes
    sharded: bool = False


@dataclass(frozen=True, slots=True)
class FailoverAuthRequest:
    """A replica asks the primaries for their vote in `header.current_epoch`."""

    header: Header


@dataclass(frozen=True, slots=True)
class FailoverAuthAck:
    """A primary's vote in `header.current_epoch`."""

    header: Header


@dataclass(frozen=True, slots=True)
class Update:
    """The receiver's claim on slots is outdated: `node` owns `slots` with the greater `config_epoch`."""

    header: Header
    config_epoch: int
    node: NodeId
    slots: bytes


@dataclass(frozen=True, slots=True)
class MfStart:
    """A replica asks its primary to pause writes for a manual failover."""

    header: Header


@dataclass(frozen=True, slots=True)
class Module:
    """A module's message. hashslot has no modules; it is decoded so that the link survives it."""

    header: Header
    module_id: int
    kind: int
    payload: bytes


Message = (
    Ping | Fail | Publish | LightPublish | FailoverAuthRequest | FailoverAuthAck | Update | MfStart | Module
)
