"""Bytes <-> messages: the only place that knows how Redis's cluster bus writes what `messages.py` says.

The bus is the one port that takes bytes from whoever connects, so every length is checked before it is used, every
text is checked before it can reach nodes.conf, and whatever arrives ends as a message or as `CodecError`.
The format is Redis's, version 1 (`cluster_legacy.h` in Redis and Valkey); `shared/INTEROP.md` has the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from struct import Struct
from struct import error as StructError

from gossip.ids import ID_LENGTH, NodeId, ShardId, is_id
from gossip.messages import (
    NO_EXTENSIONS,
    SLOT_BITMAP_BYTES,
    Extensions,
    ExtensionType,
    Fail,
    FailoverAuthAck,
    FailoverAuthRequest,
    GossipEntry,
    Header,
    LightPublish,
    Message,
    MessageFlag,
    MessageType,
    MfStart,
    Module,
    Ping,
    Publish,
    Update,
    node_flags,
)

SIGNATURE = b"RCmb"
VERSION = 1
LIGHT = 0x8000
"""Set in the type field of messages with the 16-byte header."""

HEADER_BYTES = 2256
LIGHT_HEADER_BYTES = 16
GOSSIP_ENTRY_BYTES = 104
MAX_EXTENSIONS = 4096
"""A node forgets nodes one at a time and for a minute each: more extensions than this in one ping is no honest peer."""
MAX_PING_BYTES = HEADER_BYTES + 0xFFFF * GOSSIP_ENTRY_BYTES + MAX_EXTENSIONS * 64
MAX_FRAME_BYTES = 512 * 1024 * 1024 + 1024 * 1024
"""The greatest frame taken: a PUBLISH whose message is as long as `proto-max-bulk-len` allows by default."""

_HEADER = Struct(">4sIHHHHQQQ40s2048s40s46sH30xHHHBB2x")
_LIGHT_HEADER = Struct(">4sIH2xH2x")
_LENGTH = Struct(">4sI")
_TYPE = Struct(">12xH")
_GOSSIP = Struct(">40sII46sHHHH2x")
_EXTENSION = Struct(">IH2x")
_FORGOTTEN = Struct(">40sQ")
_UPDATE = Struct(">Q40s2048s")
_PUBLISH = Struct(">II")
_MODULE = Struct(">QIB")

_NO_ID = bytes(ID_LENGTH)
_IP_FIELD_BYTES = 46
_MAX_NAME_BYTES = 255
_PUBLISH_TYPES = (MessageType.PUBLISH, MessageType.PUBLISHSHARD)
_BULK_TYPES = frozenset((*_PUBLISH_TYPES, MessageType.MODULE))
_PINGS = {int(kind): kind for kind in (MessageType.PING, MessageType.PONG, MessageType.MEET)}
_HAS_EXTENSIONS = int(MessageFlag.EXTENSIONS)
_USUAL_BYTES = 1024
"""Extensions that are shorter than this, as those of every node are most of the time, are remembered."""

# What may stand in an address or a name goes into nodes.conf unquoted, where space, comma, '=' and newline separate.
_IP = re.compile(r"[0-9A-Za-z.:_%\-]*")
_HOSTNAME = re.compile(r"[0-9A-Za-z.\-]*")
_NODENAME = re.compile(r"[!-~]*")
_NODENAME_BANNED = frozenset(",=\"'\\")


class CodecError(ValueError):
    """These bytes are no message, or this message has no bytes. The text says which rule was broken."""


@lru_cache(maxsize=4096)
def _id_from(raw: bytes) -> NodeId:
    text = raw.decode("latin-1")
    if not is_id(text):
        raise CodecError("a node id is not 40 lower-case hexadecimal characters")
    return NodeId(text)


@lru_cache(maxsize=4096)
def _id_to(text: str) -> bytes:
    if not is_id(text):
        raise CodecError(f"{text!r} is not a node id")
    return text.encode("ascii")


@lru_cache(maxsize=4096)
def _ip_from(raw: bytes) -> str:
    text, end, _ = raw.partition(b"\0")
    if not end:
        raise CodecError("an address is not terminated")
    ip = text.decode("latin-1")
    if not _IP.fullmatch(ip):
        raise CodecError("an address has characters that no address has")
    return ip


@lru_cache(maxsize=4096)
def _ip_to(ip: str) -> bytes:
    if not is_ip(ip):
        raise CodecError(f"{ip!r} cannot be sent as an address")
    return ip.encode("ascii")


@lru_cache(maxsize=256)
def _message_flags(value: int) -> MessageFlag:
    return MessageFlag(value)


def is_ip(text: str) -> bool:
    """Whether `text` may stand where addresses do: "" (not known yet), or what an IP address or short name is made of,
    at most 45 characters. Redis lets `cluster-announce-ip` be a name, so this does not ask for a true address."""
    return len(text) < _IP_FIELD_BYTES and _IP.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def is_ip_of(text: str, version: int) -> bool:
    """Whether `text` is an IPv4 (version 4) or IPv6 (version 6, without a scope) address."""
    try:
        return ip_address(text).version == version and is_ip(text) and "%" not in text
    except ValueError:
        return False


def is_hostname(text: str) -> bool:
    """Whether `text` may be announced as a hostname: at most 255 letters, digits, dots and hyphens."""
    return len(text) <= _MAX_NAME_BYTES and _HOSTNAME.fullmatch(text) is not None


def is_human_nodename(text: str) -> bool:
    """Whether `text` may be announced as a node's name: at most 255 printable ASCII characters, none that
    separates or quotes in nodes.conf."""
    return len(text) <= _MAX_NAME_BYTES and _NODENAME.fullmatch(text) is not None and not _NODENAME_BANNED & set(text)


def frame_length(buffer: bytes | bytearray | memoryview, limit: int = MAX_FRAME_BYTES) -> int | None:
    """The length in bytes of the frame that `buffer` begins with, or None while it is too short to tell.

    8 bytes are enough to tell; with 14 the length is held against the type as well, so feed it again as the frame
    grows (or once, from 14 bytes on). limit: the greatest length accepted, smaller for peers not yet known.
    Raises CodecError as soon as the bytes cannot become a frame: wrong signature, length out of bounds.
    """
    have = len(buffer)
    if have < _LENGTH.size:
        if not SIGNATURE.startswith(bytes(buffer[:4])):
            raise CodecError("wrong signature")
        return None
    signature, length = _LENGTH.unpack_from(buffer)
    if signature != SIGNATURE:
        raise CodecError("wrong signature")
    if length < LIGHT_HEADER_BYTES:
        raise CodecError(f"total length {length} is shorter than any header")
    if length > limit:
        raise CodecError(f"total length {length} is above the limit of {limit}")
    if have >= _TYPE.size:
        (kind,) = _TYPE.unpack_from(buffer)
        if not kind & LIGHT and length < HEADER_BYTES:
            raise CodecError(f"total length {length} is shorter than the header")
        if (kind & ~LIGHT) not in _BULK_TYPES and length > MAX_PING_BYTES:
            raise CodecError(f"total length {length} is too long for message type {kind}")
    return int(length)


def decode(frame: bytes) -> Message:
    """The message that exactly the bytes of `frame` are.

    Raises CodecError, and nothing else, when they are none: wrong signature, version or type, a total length that is
    not the frame's or not what type and counts ask for, ids and addresses that are none.
    """
    have = len(frame)
    if have < LIGHT_HEADER_BYTES:
        raise CodecError("shorter than any header")
    signature, length, version, kind = _LIGHT_HEADER.unpack_from(frame)
    if signature != SIGNATURE:
        raise CodecError("wrong signature")
    if length != have:
        raise CodecError(f"total length {length} in a frame of {have} bytes")
    if version != VERSION:
        raise CodecError(f"bus version {version} instead of {VERSION}")
    if kind & LIGHT:
        return _decode_light(frame, kind & ~LIGHT)
    body = _BODIES.get(kind)
    if body is None:
        raise CodecError(f"unknown message type {kind}")
    if have < HEADER_BYTES:
        raise CodecError(f"{have} bytes are shorter than the header")
    (_, _, _, port, _, count, current_epoch, config_epoch, offset, sender, slots, primary, ip, extensions,
     secondary_port, bus_port, flags, state, message_flags) = _HEADER.unpack_from(frame)
    header = Header(
        _id_from(sender), port, bus_port, node_flags(flags), current_epoch, config_epoch, offset, slots,
        None if primary == _NO_ID else _id_from(primary), _ip_from(ip), secondary_port, state == 0,
        _message_flags(message_flags),
    )
    return body(header, frame, kind, count, extensions)


def _decode_ping(header: Header, frame: bytes, kind: int, count: int, extensions: int) -> Message:
    gossip_end = HEADER_BYTES + count * GOSSIP_ENTRY_BYTES
    if gossip_end > len(frame):
        raise CodecError(f"{count} gossip entries do not fit into {len(frame)} bytes")
    gossip = tuple([
        GossipEntry(_id_from(node), ping_s, pong_s, _ip_from(ip), port, bus_port, node_flags(flags), secondary)
        for node, ping_s, pong_s, ip, port, bus_port, flags, secondary
        in _GOSSIP.iter_unpack(memoryview(frame)[HEADER_BYTES:gossip_end])
    ])
    # A peer that does not set the flag may have anything in the count: Redis does not look at it then either.
    if int(header.message_flags) & _HAS_EXTENSIONS and extensions:
        if extensions > MAX_EXTENSIONS:
            raise CodecError(f"{extensions} extensions in one message")
        raw = frame[gossip_end:]
        told = _usual_extensions(raw, extensions) if len(raw) <= _USUAL_BYTES else _decode_extensions(raw, extensions)
        return Ping(_PINGS[kind], header, gossip, told)
    _expect_length(frame, gossip_end)
    return Ping(_PINGS[kind], header, gossip)


@lru_cache(maxsize=2048)
def _usual_extensions(raw: bytes, count: int) -> Extensions:
    """Of the same node the same ones come with every ping."""
    return _decode_extensions(raw, count)


def _decode_extensions(frame: bytes, count: int) -> Extensions:
    """What the end of a frame, behind the gossip, says."""
    at = 0
    hostname: str | None = None
    human_nodename: str | None = None
    shard_id: ShardId | None = None
    client_ipv4: str | None = None
    client_ipv6: str | None = None
    forgotten: list[tuple[NodeId, int]] = []
    unknown: list[tuple[int, bytes]] = []
    for _ in range(count):
        if at + _EXTENSION.size > len(frame):
            raise CodecError("an extension begins behind the end of the message")
        length, kind = _EXTENSION.unpack_from(frame, at)
        if length < _EXTENSION.size or length % 8:
            raise CodecError(f"extension length {length} is not a multiple of 8")
        if at + length > len(frame):
            raise CodecError(f"extension of {length} bytes reaches behind the end of the message")
        data = frame[at + _EXTENSION.size : at + length]
        at += length
        if kind == ExtensionType.HOSTNAME:
            hostname = _name_from(data, is_hostname)
        elif kind == ExtensionType.HUMAN_NODENAME:
            human_nodename = _name_from(data, is_human_nodename)
        elif kind == ExtensionType.FORGOTTEN_NODE:
            if len(data) != _FORGOTTEN.size:
                raise CodecError(f"a forgotten node takes {_FORGOTTEN.size} bytes, not {len(data)}")
            node, ttl_s = _FORGOTTEN.unpack(data)
            forgotten.append((_id_from(node), ttl_s))
        elif kind == ExtensionType.SHARD_ID:
            if len(data) != ID_LENGTH:
                raise CodecError(f"a shard id takes {ID_LENGTH} bytes, not {len(data)}")
            shard_id = ShardId(_id_from(data))
        elif kind == ExtensionType.CLIENT_IPV4 and (ip := _client_ip_from(data, 4)):
            client_ipv4 = ip
        elif kind == ExtensionType.CLIENT_IPV6 and (ip := _client_ip_from(data, 6)):
            client_ipv6 = ip
        else:
            unknown.append((kind, data))
    _expect_length(frame, at)
    return Extensions(hostname, human_nodename, shard_id, tuple(forgotten), tuple(unknown), client_ipv4, client_ipv6)


def _name_from(data: bytes, allowed: Callable[[str], bool]) -> str | None:
    raw, end, _ = data.partition(b"\0")
    if not end:
        raise CodecError("a name extension is not terminated")
    name = raw.decode("latin-1")
    if not allowed(name):
        raise CodecError("a name extension has characters that no name may have")
    return name or None


@lru_cache(maxsize=1024)
def _client_ip_from(data: bytes, version: int) -> str | None:
    """The address, or None when `data` is not exactly how one is written: then it is another server's extension."""
    text = data.rstrip(b"\0").decode("latin-1")
    return text if is_ip_of(text, version) and _padded(text.encode("ascii") + b"\0") == data else None


def _decode_fail(header: Header, frame: bytes, kind: int, count: int, extensions: int) -> Message:
    _expect_length(frame, HEADER_BYTES + ID_LENGTH)
    return Fail(header, _id_from(frame[HEADER_BYTES:]))


def _decode_publish(header: Header, frame: bytes, kind: int, count: int, extensions: int) -> Message:
    channel, message = _publish_from(frame, HEADER_BYTES)
    return Publish(header, channel, message, kind == MessageType.PUBLISHSHARD)


def _decode_auth_request(header: Header, frame: bytes, kind: int, count: int, extensions: int) -> Message:
    _expect_length(frame, HEADER_BYTES)
    return FailoverAuthRequest(header)


def _decode_auth_ack(header: Header, frame: bytes, kind: int, count: int, extensions: int) -> Message:
    _expect_length(frame, HEADER_BYTES)
    return FailoverAuthAck(header)


def _decode_mfstart(header: Header, frame: bytes, kind: int, count: int, extensions: int) -> Message:
    _expect_length(frame, HEADER_BYTES)
    return MfStart(header)


def _decode_update(header: Header, frame: bytes, kind: int, count: int, extensions: int) -> Message:
    _expect_length(frame, HEADER_BYTES + _UPDATE.size)
    config_epoch, node, slots = _UPDATE.unpack_from(frame, HEADER_BYTES)
    return Update(header, config_epoch, _id_from(node), slots)


def _decode_module(header: Header, frame: bytes, kind: int, count: int, extensions: int) -> Message:
    payload_at = HEADER_BYTES + _MODULE.size
    if len(frame) < payload_at:
        raise CodecError("a module message without its length")
    module_id, length, module_kind = _MODULE.unpack_from(frame, HEADER_BYTES)
    _expect_length(frame, payload_at + length)
    return Module(header, module_id, module_kind, frame[payload_at:])


def _decode_light(frame: bytes, kind: int) -> Message:
    if kind not in _PUBLISH_TYPES:
        raise CodecError(f"message type {kind} with a light header")
    channel, message = _publish_from(frame, LIGHT_HEADER_BYTES)
    return LightPublish(channel, message, kind == MessageType.PUBLISHSHARD)


def _publish_from(frame: bytes, at: int) -> tuple[bytes, bytes]:
    bulk_at = at + _PUBLISH.size
    if len(frame) < bulk_at:
        raise CodecError("a published message without its lengths")
    channel_length, message_length = _PUBLISH.unpack_from(frame, at)
    _expect_length(frame, bulk_at + channel_length + message_length)
    message_at = bulk_at + channel_length
    return frame[bulk_at:message_at], frame[message_at:]


def _expect_length(frame: bytes, expected: int) -> None:
    if len(frame) != expected:
        raise CodecError(f"{len(frame)} bytes where type and counts ask for {expected}")


_BODIES: dict[int, Callable[[Header, bytes, int, int, int], Message]] = {
    MessageType.PING: _decode_ping,
    MessageType.PONG: _decode_ping,
    MessageType.MEET: _decode_ping,
    MessageType.FAIL: _decode_fail,
    MessageType.PUBLISH: _decode_publish,
    MessageType.FAILOVER_AUTH_REQUEST: _decode_auth_request,
    MessageType.FAILOVER_AUTH_ACK: _decode_auth_ack,
    MessageType.UPDATE: _decode_update,
    MessageType.MFSTART: _decode_mfstart,
    MessageType.MODULE: _decode_module,
    MessageType.PUBLISHSHARD: _decode_publish,
}


def encode(message: Message) -> bytes:
    """The frame that says `message`.

    A ping with extensions gets the header's extensions flag whether or not `message_flags` has it.
    Raises CodecError when a field does not fit: a number too great, an id or name that is none, a bitmap of the wrong
    length.
    """
    try:
        if isinstance(message, Ping):
            return _encode_ping(message)
        return _encode_other(message)
    except StructError as error:
        raise CodecError(f"a field does not fit: {error}") from None


def _encode_ping(message: Ping) -> bytes:
    if message.type > MessageType.MEET:
        raise CodecError(f"a ping of type {message.type}")
    pack = _GOSSIP.pack
    entries = [
        pack(
            _id_to(entry.node), entry.ping_sent_s, entry.pong_received_s, _ip_to(entry.ip), entry.port, entry.bus_port,
            entry.flags, entry.secondary_port,
        )
        for entry in message.gossip
    ]
    extensions, count = (b"", 0) if message.extensions is NO_EXTENSIONS else _encode_extensions(message.extensions)
    entries.append(extensions)
    return _encode_full(message.header, message.type, b"".join(entries), len(message.gossip), count)


@lru_cache(maxsize=16)
def _encode_extensions(extensions: Extensions) -> tuple[bytes, int]:
    """The bytes, and how many extensions they are."""
    # The order is Valkey's, which has its own extensions (here: unknown) between the names and the rest.
    parts: list[bytes] = []
    if extensions.hostname:
        parts.append(_encode_name(ExtensionType.HOSTNAME, extensions.hostname, is_hostname))
    if extensions.human_nodename:
        parts.append(_encode_name(ExtensionType.HUMAN_NODENAME, extensions.human_nodename, is_human_nodename))
    if extensions.client_ipv4:
        parts.append(_encode_client_ip(ExtensionType.CLIENT_IPV4, extensions.client_ipv4, 4))
    if extensions.client_ipv6:
        parts.append(_encode_client_ip(ExtensionType.CLIENT_IPV6, extensions.client_ipv6, 6))
    parts += [_encode_extension(kind, data) for kind, data in extensions.unknown]
    parts += [
        _encode_extension(ExtensionType.FORGOTTEN_NODE, _FORGOTTEN.pack(_id_to(node), ttl_s))
        for node, ttl_s in extensions.forgotten
    ]
    if extensions.shard_id is not None:
        parts.append(_encode_extension(ExtensionType.SHARD_ID, _id_to(extensions.shard_id)))
    if len(parts) > MAX_EXTENSIONS:
        raise CodecError(f"{len(parts)} extensions in one message")
    return b"".join(parts), len(parts)


def _encode_name(kind: ExtensionType, name: str, allowed: Callable[[str], bool]) -> bytes:
    if not allowed(name):
        raise CodecError(f"{name!r} cannot be announced as a name")
    return _encode_extension(kind, name.encode("ascii") + b"\0")


def _encode_client_ip(kind: ExtensionType, ip: str, version: int) -> bytes:
    if not is_ip_of(ip, version):
        raise CodecError(f"{ip!r} is no IPv{version} address")
    return _encode_extension(kind, ip.encode("ascii") + b"\0")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _encode_extension(kind: int, data: bytes) -> bytes:
    data = _padded(data)
    return _EXTENSION.pack(_EXTENSION.size + len(data), kind) + data


def _encode_other(message: Message) -> bytes:
    if isinstance(message, LightPublish):
        return _encode_light(message)
    if isinstance(message, Publish):
        kind = MessageType.PUBLISHSHARD if message.sharded else MessageType.PUBLISH
        lengths = _PUBLISH.pack(len(message.channel), len(message.message))
        return _encode_full(message.header, kind, lengths + message.channel + message.message)
    if isinstance(message, Fail):
        return _encode_full(message.header, MessageType.FAIL, _id_to(message.node))
    if isinstance(message, FailoverAuthRequest):
        return _encode_full(message.header, MessageType.FAILOVER_AUTH_REQUEST, b"")
    if isinstance(message, FailoverAuthAck):
        return _encode_full(message.header, MessageType.FAILOVER_AUTH_ACK, b"")
    if isinstance(message, MfStart):
        return _encode_full(message.header, MessageType.MFSTART, b"")
    if isinstance(message, Update):
        _check_slots(message.slots)
        body = _UPDATE.pack(message.config_epoch, _id_to(message.node), message.slots)
        return _encode_full(message.header, MessageType.UPDATE, body)
    if isinstance(message, Module):
        body = _MODULE.pack(message.module_id, len(message.payload), message.kind) + message.payload
        return _encode_full(message.header, MessageType.MODULE, body)
    raise CodecError(f"{type(message).__name__} is no bus message")


def _encode_light(message: LightPublish) -> bytes:
    kind = MessageType.PUBLISHSHARD if message.sharded else MessageType.PUBLISH
    body = _PUBLISH.pack(len(message.channel), len(message.message)) + message.channel + message.message
    return _LIGHT_HEADER.pack(SIGNATURE, LIGHT_HEADER_BYTES + len(body), VERSION, kind | LIGHT) + body


def _check_slots(slots: bytes) -> None:
    if len(slots) != SLOT_BITMAP_BYTES:
        raise CodecError(f"a slot bitmap of {len(slots)} bytes")


def _encode_full(header: Header, kind: MessageType, body: bytes, count: int = 0, extensions: int = 0) -> bytes:
    _check_slots(header.slots)
    message_flags = int(header.message_flags)
    if extensions:
        message_flags |= _HAS_EXTENSIONS
    return _HEADER.pack(
        SIGNATURE, HEADER_BYTES + len(body), VERSION, header.port, kind, count, header.current_epoch,
        header.config_epoch, header.offset, _id_to(header.sender), header.slots,
        _NO_ID if header.primary is None else _id_to(header.primary), _ip_to(header.ip), extensions,
        header.secondary_port, header.bus_port, header.flags, 0 if header.cluster_ok else 1, message_flags,
    ) + body
