"""The bus port takes bytes from anybody: whatever they are, the codec answers with a message or with CodecError."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.codec import MAX_FRAME_BYTES, MAX_PING_BYTES, CodecError, decode, encode, frame_length
from gossip.ids import NodeId
from gossip.messages import (
    Extensions,
    GossipEntry,
    Header,
    LightPublish,
    Message,
    MessageFlag,
    MessageType,
    Module,
    NodeFlag,
    Ping,
    Publish,
)

REAL = {path.stem: bytes.fromhex(path.read_text()) for path in (Path(__file__).parent / "frames").glob("*.hex")}
ME, OTHER = NodeId("ab" * 20), NodeId("cd" * 20)
HEADER = Header(ME, 7000, 17000, NodeFlag.PRIMARY)
PING = encode(Ping(MessageType.PING, HEADER, (GossipEntry(OTHER, 1, 2, "10.0.0.1", 1, 2, NodeFlag.NONE),)))
NAMED = encode(
    Ping(MessageType.PING, HEADER, (), Extensions("host", "name", None, ((OTHER, 60),), ((9, b"12345678"),)))
)
COUNTS = st.integers(0, 65535)
SAMPLES = REAL | {"module": encode(Module(HEADER, 1, 2, b"data")), "named": NAMED}


def decode_or_refuse(frame: bytes) -> Message | None:
    try:
        return decode(frame)
    except CodecError as error:
        assert str(error), "a refusal says why"
        return None


def with_length(frame: bytes) -> bytes:
    """The frame with its total length corrected, as a peer that means harm would send it."""
    return frame[:4] + struct.pack(">I", len(frame)) + frame[8:]


def patched(frame: bytes, at: int, data: bytes) -> bytes:
    return frame[:at] + data + frame[at + len(data) :]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_truncation_is_refused_whether_or_not_it_owns_up(name: str) -> None:
    frame = SAMPLES[name]
    for length in range(len(frame)):
        with pytest.raises(CodecError):
            decode(frame[:length])
        if length >= 8:
            with pytest.raises(CodecError):
                decode(with_length(frame[:length]))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_trailing_data_is_refused_whether_or_not_it_is_owned_up_to(name: str) -> None:
    for trailing in (b"\0", bytes(8), b"RCmb", bytes(104)):
        with pytest.raises(CodecError):
            decode(SAMPLES[name] + trailing)
        with pytest.raises(CodecError):
            decode(with_length(SAMPLES[name] + trailing))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_mutating_any_byte_gives_a_message_that_can_be_sent_again_or_a_refusal(name: str) -> None:
    frame = SAMPLES[name]
    decoded = 0
    for at in range(len(frame)):
        for flip in (0x01, 0x80, 0xFF):
            message = decode_or_refuse(frame[:at] + bytes((frame[at] ^ flip,)) + frame[at + 1 :])
            if message is not None:
                decoded += 1
                # the slot bitmaps are most of the bytes: encoding a sample of them is enough
                if not 80 < at < 2128 and at <= 2304:
                    assert decode(encode(message)) == message
    assert decoded, "some bytes are free (ports, slots, text), so some mutations must survive"


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([*range(12), 0x8004, 0x800A, 0x8000]), COUNTS, COUNTS)
def test_random_bodies_are_decoded_or_refused(body: bytes, kind: int, count: int, extensions: int) -> None:
    frame = patched(PING[:2256], 12, struct.pack(">HH", kind, count & 3))
    frame = patched(frame, 2214, struct.pack(">H", extensions & 7))
    frame = patched(frame, 2253, bytes((MessageFlag.EXTENSIONS,)))
    decode_or_refuse(with_length(frame + body))
    decode_or_refuse(with_length(frame[:16] + body))
    decode_or_refuse(body)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "shorter than any header"),
        (patched(PING, 0, b"HTTP"), "signature"),
        (patched(PING, 9, b"\2"), "version 2"),
        (patched(PING, 12, b"\0\x0b"), "type 11"),
        (patched(PING, 14, b"\xff\xff"), "65535 gossip entries"),
        (patched(PING, 14, b"\0\0"), "ask for 2256"),
        (patched(PING, 12, b"\0\5"), "ask for 2256"),
        (patched(PING, 40, b"Z"), "node id"),
        (patched(PING, 40, bytes(40)), "node id"),
        (patched(PING, 2128, b"Z"), "node id"),
        (patched(PING, 2168, b"1" * 46), "not terminated"),
        (patched(PING, 2168, b"1\n2"), "characters"),
        (patched(PING, 2256, b"Z"), "node id"),
        (patched(NAMED, 2214, b"\xff\xff"), "65535 extensions"),
        (patched(NAMED, 2214, b"\0\x05"), "behind the end"),
        (patched(NAMED, 2256, b"\0\0\0\x09"), "multiple of 8"),
        (patched(NAMED, 2256, b"\0\0\0\0"), "multiple of 8"),
        (patched(NAMED, 2256, b"\xff\xff\xff\xf8"), "reaches behind"),
        (patched(NAMED, 2264, b"a\n"), "characters"),
        (patched(NAMED, 2264, b"aaaaaaaa"), "not terminated"),
        (patched(NAMED, 2261, b"\3"), "shard id takes"),
        (patched(NAMED, 2261, b"\2"), "forgotten node takes"),
    ],
)
def test_refusals_say_which_rule_was_broken(frame: bytes, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        decode(frame)


def test_publish_lengths_that_overflow_are_refused() -> None:
    for sample, at in ((encode(Publish(HEADER, b"c", b"m")), 2256), (encode(LightPublish(b"c", b"m")), 16)):
        for channel, message in ((0xFFFFFFFF, 3), (0xFFFFFFFF, 0xFFFFFFFF), (2, 1), (0, 1), (3, 0)):
            with pytest.raises(CodecError, match="ask for"):
                decode(patched(sample, at, struct.pack(">II", channel, message)))


def test_a_light_header_is_for_publish_alone() -> None:
    for kind in (0, 3, 9, 11):
        with pytest.raises(CodecError, match="light header"):
            decode(patched(encode(LightPublish(b"c", b"m")), 12, struct.pack(">H", 0x8000 | kind)))


# --- cutting frames from a stream ---


@pytest.mark.parametrize("name", ["valkey91_light_publish", "redis70_fail"])
def test_the_length_is_told_from_eight_bytes_on_and_never_guessed(name: str) -> None:
    frame = REAL[name]
    for have in range(len(frame) + 1):
        expected = None if have < 8 else len(frame)
        for kind in (bytes, bytearray, memoryview):
            assert frame_length(kind(frame[:have])) == expected
    assert frame_length(frame + b"RCmb") == len(frame)


@pytest.mark.parametrize("start", [b"G", b"GET ", b"RCmB", b"RCx", b"\x16\x03\x01", b"*1\r\n$4\r\nPING\r\n"])
def test_what_is_no_bus_message_is_told_at_the_first_wrong_byte(start: bytes) -> None:
    with pytest.raises(CodecError, match="signature"):
        frame_length(start)


@pytest.mark.parametrize(
    ("length", "kind", "refused"),
    [
        (15, None, True),
        (16, None, False),
        (0, None, True),
        (MAX_FRAME_BYTES, None, False),
        (MAX_FRAME_BYTES + 1, None, True),
        (0xFFFFFFFF, None, True),
        (2255, MessageType.PING, True),
        (2256, MessageType.PING, False),
        (MAX_PING_BYTES, MessageType.PING, False),
        (MAX_PING_BYTES + 1, MessageType.PING, True),
        (MAX_PING_BYTES + 1, MessageType.PUBLISH, False),
        (MAX_PING_BYTES + 1, 0x8004, False),
        (MAX_PING_BYTES + 1, 0x8000, True),
        (24, 0x8004, False),
    ],
)
def test_lengths_are_bounded_before_anything_is_kept(length: int, kind: int | None, refused: bool) -> None:
    start = b"RCmb" + struct.pack(">I", length)
    if kind is not None:
        start += struct.pack(">HHH", 1, 0, kind)
    if refused:
        with pytest.raises(CodecError, match="total length"):
            frame_length(start)
    else:
        assert frame_length(start) == length


def test_the_reader_may_set_a_smaller_limit_for_strangers() -> None:
    assert frame_length(PING, limit=len(PING)) == len(PING)
    with pytest.raises(CodecError, match="above the limit"):
        frame_length(PING, limit=len(PING) - 1)
