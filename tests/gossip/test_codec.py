"""The bus codec against what real servers sent, and against itself: what is encoded is decoded to the same.

The frames in `frames/` were taken from redis-server 7.0.15 and valkey-server 9.1.2 talking to a fake member on
127.0.0.1; the name tells which server and what. Hostile bytes are the business of `test_codec_hostile.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.codec import HEADER_BYTES, LIGHT_HEADER_BYTES, CodecError, decode, encode, frame_length
from gossip.ids import NodeId, ShardId
from gossip.messages import (
    Extensions,
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
    NodeFlag,
    Ping,
    Publish,
    Update,
)

FRAMES = {path.stem: bytes.fromhex(path.read_text()) for path in (Path(__file__).parent / "frames").glob("*.hex")}

ids = st.integers(0, 2**160 - 1).map(lambda n: NodeId(f"{n:040x}"))
u16, u32, u64 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
ips = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.just(""), st.just("node-1.example"))
node_flags = u16.map(NodeFlag)
bitmaps = st.binary(min_size=2048, max_size=2048)
headers = st.builds(
    Header, sender=ids, port=u16, bus_port=u16, flags=node_flags, current_epoch=u64, config_epoch=u64, offset=u64,
    slots=bitmaps, primary=st.none() | ids.filter(lambda node: node != "0" * 40), ip=ips, secondary_port=u16,
    cluster_ok=st.booleans(), message_flags=st.integers(0, 255).map(lambda n: MessageFlag(n) | MessageFlag.EXTENSIONS),
)
gossip = st.builds(
    GossipEntry, node=ids, ping_sent_s=u32, pong_received_s=u32, ip=ips, port=u16, bus_port=u16, flags=node_flags,
    secondary_port=u16,
)
hostnames = st.none() | st.text("abcXYZ019.-", min_size=1, max_size=255)
nodenames = st.none() | st.text("abcXYZ019.-_/#!", min_size=1, max_size=255)
aligned = st.binary(max_size=5).map(lambda data: data * 8)
extensions = st.builds(
    Extensions, hostname=hostnames, human_nodename=nodenames, shard_id=st.none() | ids.map(ShardId),
    forgotten=st.lists(st.tuples(ids, u64), max_size=3).map(tuple),
    unknown=st.lists(st.tuples(st.integers(4, 65535), aligned), max_size=3).map(tuple),
    client_ipv4=st.none() | st.ip_addresses(v=4).map(str), client_ipv6=st.none() | st.ip_addresses(v=6).map(str),
)
messages = st.one_of(
    st.builds(
        Ping, type=st.sampled_from([MessageType.PING, MessageType.PONG, MessageType.MEET]), header=headers,
        gossip=st.lists(gossip, max_size=5).map(tuple), extensions=extensions,
    ),
    st.builds(Fail, header=headers, node=ids),
    st.builds(Publish, header=headers, channel=st.binary(), message=st.binary(), sharded=st.booleans()),
    st.builds(LightPublish, channel=st.binary(), message=st.binary(), sharded=st.booleans()),
    st.builds(FailoverAuthRequest, header=headers),
    st.builds(FailoverAuthAck, header=headers),
    st.builds(Update, header=headers, config_epoch=u64, node=ids, slots=bitmaps),
    st.builds(MfStart, header=headers),
    st.builds(Module, header=headers, module_id=u64, kind=st.integers(0, 255), payload=st.binary()),
)

ME = NodeId("0123456789abcdef" * 2 + "01234567")
OTHER = NodeId("f" * 40)


def header(**fields: object) -> Header:
    base = {"sender": ME, "port": 7000, "bus_port": 17000, "flags": NodeFlag.PRIMARY | NodeFlag.MYSELF}
    return Header(**(base | fields))  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(messages)
def test_what_is_encoded_is_decoded_to_the_same(message: Message) -> None:
    frame = encode(message)
    assert frame_length(frame) == len(frame)
    assert decode(frame) == message


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_a_real_frame_is_encoded_again_to_the_same_bytes(name: str) -> None:
    frame = FRAMES[name]
    assert frame_length(frame[:8]) == len(frame)
    assert encode(decode(frame)) == frame


def test_there_is_a_real_frame_of_every_kind_that_servers_send_unasked() -> None:
    kinds = {type(decode(frame)) for frame in FRAMES.values()}
    assert kinds == {Ping, Fail, Publish, LightPublish, FailoverAuthRequest, FailoverAuthAck, Update, MfStart}


def test_what_redis_70_says_in_a_ping() -> None:
    ping = decode(FRAMES["redis70_ping_hostname"])
    assert isinstance(ping, Ping)
    assert ping.type is MessageType.PING
    assert ping.header.slots == ((1 << 5001) - 1).to_bytes(2048, "little")
    assert ping.header.bus_port == ping.header.port + 10000
    assert ping.header.ip == "", "without cluster-announce-ip the receiver takes the address from the socket"
    assert ping.extensions == Extensions(hostname="r1.example")
    assert ping.header.message_flags == MessageFlag.EXTENSIONS
    assert all(entry.ip == "127.0.0.1" and entry.bus_port == entry.port + 10000 for entry in ping.gossip)
    assert len(ping.gossip) == 3


def test_what_valkey_91_says_in_pings() -> None:
    names = decode(FRAMES["valkey91_pong_names"])
    assert isinstance(names, Ping)
    assert (names.extensions.hostname, names.extensions.human_nodename) == ("node-v1.example", "v-one")
    assert names.extensions.shard_id is not None
    assert NodeFlag.LIGHT_HEADER in names.header.flags
    own = decode(FRAMES["valkey91_ping_own_extensions"])
    assert isinstance(own, Ping)
    assert (own.extensions.client_ipv4, own.extensions.client_ipv6) == ("127.0.0.9", "::1")
    assert own.extensions.unknown == ((6, b"\x1e\x61" + bytes(6)), (8, b"az-1" + bytes(4))), "client port, zone"
    forgotten = decode(FRAMES["valkey91_ping_forgotten"])
    assert isinstance(forgotten, Ping)
    assert [ttl_s for _, ttl_s in forgotten.extensions.forgotten] == [52]


def test_a_ping_with_extensions_carries_the_flag_though_the_header_lacked_it() -> None:
    ping = Ping(MessageType.PONG, header(), extensions=Extensions(hostname="a"))
    decoded = decode(encode(ping))
    assert isinstance(decoded, Ping)
    assert decoded.header.message_flags == MessageFlag.EXTENSIONS
    assert decoded.extensions == ping.extensions


def test_an_extension_count_without_the_flag_counts_nothing() -> None:
    frame = bytearray(encode(Ping(MessageType.PING, header())))
    frame[2215] = 3
    ping = decode(bytes(frame))
    assert isinstance(ping, Ping)
    assert ping.extensions == Extensions()


@pytest.mark.parametrize("data", [b"s3cret!!" * 5, b"1.2.3.4\0" * 2, b"1.2.3.4\0" + bytes(8), b"::1" + bytes(5), b""])
def test_type_4_that_is_no_address_is_another_servers_business(data: bytes) -> None:
    ping = Ping(MessageType.PING, header(message_flags=MessageFlag.EXTENSIONS), (), Extensions(unknown=((4, data),)))
    assert decode(encode(ping)) == ping


def test_unknown_node_flags_are_kept() -> None:
    message = decode(encode(Fail(header(flags=NodeFlag(0x3000)), OTHER)))
    assert isinstance(message, Fail)
    assert int(message.header.flags) == 0x3000


@pytest.mark.parametrize(
    ("message", "length"),
    [
        (Ping(MessageType.PING, header()), HEADER_BYTES),
        (Ping(MessageType.PING, header(), (GossipEntry(OTHER, 1, 2, "::1", 1, 2, NodeFlag.NONE),) * 3), 2256 + 312),
        (Ping(MessageType.PING, header(), (), Extensions(hostname="1234567")), 2256 + 16),
        (Ping(MessageType.PING, header(), (), Extensions(hostname="12345678")), 2256 + 24),
        (Ping(MessageType.PING, header(), (), Extensions(shard_id=ShardId(ME), forgotten=((OTHER, 9),))), 2256 + 104),
        (Fail(header(), OTHER), 2256 + 40),
        (Update(header(), 1, OTHER, bytes(2048)), 2256 + 2096),
        (Publish(header(), b"c", b"mm"), 2256 + 11),
        (LightPublish(b"c", b"mm"), LIGHT_HEADER_BYTES + 11),
        (Module(header(), 1, 2, b"abc"), 2256 + 16),
        (MfStart(header()), 2256),
    ],
)
def test_lengths_are_those_of_the_format(message: Message, length: int) -> None:
    assert len(encode(message)) == length


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Fail(header(), NodeId("x" * 40)), "not a node id"),
        (Fail(header(sender=NodeId("ab")), OTHER), "not a node id"),
        (Fail(header(port=70000), OTHER), "does not fit"),
        (Fail(header(offset=-1), OTHER), "does not fit"),
        (Fail(header(slots=b"\0"), OTHER), "bitmap of 1 bytes"),
        (Fail(header(ip="1" * 46), OTHER), "as an address"),
        (Fail(header(ip="a b"), OTHER), "as an address"),
        (Update(header(), 1, OTHER, bytes(2049)), "bitmap of 2049 bytes"),
        (Ping(MessageType.FAIL, header()), "a ping of type"),
        (Ping(MessageType.PING, header(), (), Extensions(hostname="a_b")), "as a name"),
        (Ping(MessageType.PING, header(), (), Extensions(human_nodename="a b")), "as a name"),
        (Ping(MessageType.PING, header(), (), Extensions(forgotten=((OTHER, 1),) * 4097)), "4097 extensions"),
        (Ping(MessageType.PING, header(), (), Extensions(client_ipv4="::1")), "no IPv4 address"),
        (Ping(MessageType.PING, header(), (), Extensions(client_ipv6="fe80::1%eth0")), "no IPv6 address"),
    ],
)
def test_what_has_no_bytes_is_refused_with_the_reason(message: Message, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        encode(message)
