"""DUMP payloads by themselves: they come back, and damage never gives another error than Redis's two."""

from __future__ import annotations

import random

import pytest

from node.persistence import listpack
from node.persistence.crc64 import crc64
from node.persistence.errors import PayloadError
from node.persistence.options import EncodingLimits, SaveOptions
from node.persistence.payload import BAD_DATA, WRONG_FOOTER, dump, restore
from node.persistence.wire import encode_string
from node.types.hash import Hash
from tests.persistence import samples


@pytest.mark.parametrize("compress", [True, False])
def test_values_come_back(compress: bool) -> None:
    options = SaveOptions(compress=compress)
    for text in samples.texts():
        assert restore(dump(text, options)) == text
        assert restore(dump(bytearray(text), options)) == text
    for number in samples.EDGE_INTS:
        assert restore(dump(number, options)) == number
        assert dump(b"%d" % number, options) == dump(number, options)
    for value in samples.hashes():
        restored = restore(dump(value, options))
        assert isinstance(restored, Hash)
        assert list(restored.lookup().items()) == list(value.lookup().items())


def test_encoding_follows_the_limits() -> None:
    two = Hash({b"a": b"1", b"b": b"2"})
    tight = EncodingLimits(hash_max_listpack_entries=1)
    short = EncodingLimits(hash_max_listpack_value=0)
    assert [dump(two)[0], dump(two, SaveOptions(tight))[0], dump(two, SaveOptions(short))[0]] == [16, 4, 4]
    assert dump(Hash({b"f": b"v" * 64}))[0] == 16
    assert dump(Hash({b"f": b"v" * 65}))[0] == 4
    assert dump(Hash({b"f" * 65: b"v"}))[0] == 4


def test_version_is_the_lowest_that_reads_it() -> None:
    assert dump(b"text")[-10:-8] == b"\x06\x00"
    assert dump(Hash({b"f": b"v" * 65}))[-10:-8] == b"\x06\x00"
    assert dump(Hash({b"f": b"v"}))[-10:-8] == b"\x0a\x00"


@pytest.mark.parametrize(
    ("version", "fine"), [(1, True), (11, True), (12, True), (80, True), (13, False), (79, False), (81, False)]
)
def test_versions(version: int, fine: bool) -> None:
    sealed = samples.seal(b"\x00\x05hello", version)
    if fine:
        assert restore(sealed) == b"hello"
    else:
        with pytest.raises(PayloadError, match=WRONG_FOOTER):
            restore(sealed)


def test_footer_is_checked() -> None:
    good = dump(b"hello")
    for at in range(len(good)):
        damaged = good[:at] + bytes((good[at] ^ 0x20,)) + good[at + 1 :]
        with pytest.raises(PayloadError, match=WRONG_FOOTER):
            restore(damaged)
    for cut in range(len(good)):
        with pytest.raises(PayloadError, match=WRONG_FOOTER):
            restore(good[:cut])
    with pytest.raises(PayloadError, match=WRONG_FOOTER):
        restore(good[:-8] + bytes(8))


@pytest.mark.parametrize(
    "body",
    [
        b"\x00",
        b"\x00\x06hello",
        b"\x00\x05hello!",
        b"\x00\xc4a",
        b"\x00\x82\x00\x00\x00\x05hello",
        b"\x04\x00",
        b"\x04\x02\x01a\x01b\x01a\x01c",
        b"\x10\x07" + listpack.encode([]),
        b"\x07\x01\x01a",
        b"\xff",
        b"\xfe\x00",
        b"\x04\x81\x10" + bytes(7) + b"\x01a\x01b",
        b"\x00\xc3\x05\x81\x10" + bytes(7) + bytes(5),
    ],
)
def test_bad_data(body: bytes) -> None:
    with pytest.raises(PayloadError, match=BAD_DATA):
        restore(samples.seal(body))


def test_a_string_may_not_grow_beyond_the_limit() -> None:
    payload = dump(b"x" * 5000)
    assert restore(payload, max_string=5000) == b"x" * 5000
    with pytest.raises(PayloadError, match=BAD_DATA):
        restore(payload, max_string=4999)


BODIES = {
    "lzf": dump(b"abcabcabc" * 10),
    "int": dump(123456),
    "table": dump(Hash({b"f": b"v" * 70, b"g": b"12"})),
    "listpack": dump(Hash({b"f": b"value", b"g": b"-12345", b"h": b"q" * 64})),
    "packed-listpack": dump(Hash({b"f%d" % i: b"value" for i in range(8)})),
    "ziplist": samples.seal(b"\x0d" + encode_string(samples.ziplist([b"f", b"1", b"g", b"text", b"h", b"-300"]), False)),
    "zipmap": samples.seal(b"\x09" + encode_string(samples.zipmap({b"f": b"1", b"g": b"text"}), False)),
}


@pytest.mark.parametrize("name", BODIES)
def test_damage_under_a_right_checksum(name: str) -> None:
    body = BODIES[name][:-10]
    restore(samples.seal(body))
    for cut in range(1, len(body)):
        with pytest.raises(PayloadError, match=BAD_DATA):
            restore(samples.seal(body[:cut]))
    bad = 0
    rng = random.Random(3)
    for at in range(len(body)):
        for byte in {0, 0xFF, 0x80, 0xC3, body[at] ^ 1, *rng.choices(range(256), k=20)} - {body[at]}:
            try:
                restore(samples.seal(body[:at] + bytes((byte,)) + body[at + 1 :]))
            except PayloadError as error:
                assert str(error) == BAD_DATA
                bad += 1
    assert bad > 20


def test_the_checksum_covers_the_version() -> None:
    body = b"\x00\x05hello"
    sealed = body + b"\x0a\x00" + crc64(body).to_bytes(8, "little")
    with pytest.raises(PayloadError, match=WRONG_FOOTER):
        restore(sealed)
