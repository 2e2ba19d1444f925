"""The blobs inside RDB, without a server: LZF, listpacks, ziplists, zipmaps, intsets, numbers and checksums."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.persistence import intset, listpack, lzf, ziplist
from node.persistence.crc64 import crc64
from node.persistence.errors import NeedMore, RdbError
from node.persistence.options import rdb_version_for_replica
from node.persistence.wire import Cursor, canonical_int, encode_int, encode_length, encode_string
from tests.persistence import samples


def test_checksum_is_the_one_of_the_format() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(b"6789", crc64(b"12345")) == 0xE9C6D914C4B8D9CA


@pytest.mark.parametrize("text", samples.NEARLY_INTS)
def test_nearly_integers_stay_text(text: bytes) -> None:
    assert canonical_int(text) is None


@given(st.integers(-(1 << 64), 1 << 64))
def test_canonical_integers(value: int) -> None:
    expected = value if -(1 << 63) <= value < 1 << 63 else None
    assert canonical_int(b"%d" % value) == expected


@pytest.mark.parametrize("value", samples.EDGE_INTS)
def test_integers_come_back(value: int) -> None:
    assert Cursor(encode_int(value)).string_value() == value
    assert Cursor(encode_string(b"%d" % value, True)).string_value() == value
    assert Cursor(encode_string(b"%d" % value, True)).string() == b"%d" % value


@pytest.mark.parametrize("compress", [True, False])
def test_texts_come_back(compress: bool) -> None:
    for text in samples.texts():
        cursor = Cursor(encode_string(text, compress))
        assert cursor.string() == text
        assert cursor.pos == cursor.end


@pytest.mark.parametrize("n", [0, 63, 64, 16383, 16384, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
def test_lengths_come_back(n: int) -> None:
    encoded = encode_length(n)
    assert Cursor(encoded).length() == n
    for cut in range(len(encoded)):
        with pytest.raises(NeedMore) as info:
            Cursor(encoded[:cut]).length()
        assert cut < info.value.need <= len(encoded)


@pytest.mark.parametrize("claim", [b"\x81" + b"\x10" + bytes(7), b"\xc3\x03\x81\x10" + bytes(7), b"\xc3\x81\x10" + bytes(7)])
def test_a_claim_of_2_to_the_60_bytes_is_refused(claim: bytes) -> None:
    with pytest.raises(RdbError):
        Cursor(claim + bytes(20)).string()


def test_lzf_bomb_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(RdbError, match="cannot decompress"):
        Cursor(b"\xc3\x05" + encode_length(1 << 31) + bytes(5)).string()


@settings(max_examples=200)
@given(st.binary(max_size=400) | st.text("ab", max_size=400).map(str.encode))
def test_lzf_decoders_agree(text: bytes) -> None:
    packed = lzf.compress(text, max(len(text) - 4, 1)) if text else None
    if packed is not None:
        assert lzf.decompress(packed, len(text)) == text
        assert lzf.decompress_python(packed, len(text)) == text


def test_lzf_decoders_agree_on_damaged_bytes() -> None:
    if not lzf.AVAILABLE and not os.environ.get("CI"):
        pytest.skip("pip install python-lzf (needs a compiler) to compare the two decoders")
    rng = random.Random(7)
    packed = lzf.compress(b"the quick brown fox, the quick brown dog, the lazy fox" * 3, 200)
    assert packed is not None
    agreed = 0
    for _ in range(3000):
        damaged = bytearray(packed)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        length = rng.choice([162, rng.randrange(1, 400)])
        results: list[bytes | None] = []
        for decoder in (lzf.decompress, lzf.decompress_python):
            try:
                results.append(decoder(bytes(damaged), length))
            except RdbError:
                results.append(None)
        if lzf.AVAILABLE:
            assert results[0] == results[1]
        agreed += results[0] is not None
    assert agreed > 10


entries = st.lists(st.one_of(st.binary(max_size=80), st.integers(-(1 << 63), (1 << 63) - 1).map(lambda v: b"%d" % v)))


@given(entries)
def test_listpacks_and_ziplists_come_back(items: list[bytes]) -> None:
    assert listpack.decode(listpack.encode(items)) == items
    assert ziplist.decode(samples.ziplist(items)) == items


@pytest.mark.parametrize("size", [63, 64, 125, 126, 127, 128, 253, 254, 4095, 4096, 16378, 16382, 16384, 70000, 2097151])
def test_long_entries_come_back(size: int) -> None:
    items = [b"a", samples.noise(size), b"b"]
    assert listpack.decode(listpack.encode(items)) == items
    assert ziplist.decode(samples.ziplist(items)) == items


def test_a_listpack_with_more_entries_than_its_header_counts() -> None:
    items = [b"%d" % (i % 200) for i in range(70000)]
    packed = listpack.encode(items)
    assert packed[4:6] == b"\xff\xff"
    assert listpack.decode(packed) == items


def test_zipmaps() -> None:
    pairs = {b"a": b"1", b"": b"", b"long": b"v" * 300, b"n" * 254: b"x"}
    flat = [text for pair in pairs.items() for text in pair]
    assert ziplist.decode_zipmap(samples.zipmap(pairs)) == flat
    with pytest.raises(RdbError, match="number of entries"):
        ziplist.decode_zipmap(b"\x05" + samples.zipmap(pairs)[1:])


@given(st.sets(st.integers(-(1 << 63), (1 << 63) - 1)))
def test_intsets_come_back(values: set[int]) -> None:
    ordered = tuple(sorted(values))
    assert intset.decode(intset.encode(ordered)) == ordered


def test_intsets_must_ascend() -> None:
    with pytest.raises(RdbError, match="ascending"):
        intset.decode(intset.encode((1, 3, 2)))


ITEMS = [b"a", b"12", b"-300", b"70000", b"x" * 70, b"-9000000000", b"5000000", b"y" * 20, b"0"]
Decoder = Callable[[bytes], object]


@pytest.mark.parametrize(
    ("decode", "blob"),
    [
        (listpack.decode, listpack.encode(ITEMS)),
        (ziplist.decode, samples.ziplist(ITEMS)),
        (ziplist.decode_zipmap, samples.zipmap({b"a": b"12", b"bc": b"x" * 9, b"": b"q"})),
        (intset.decode, intset.encode((-7, 1, 5, 70000))),
    ],
    ids=["listpack", "ziplist", "zipmap", "intset"],
)
def test_damage_is_an_rdb_error_or_another_value(decode: Decoder, blob: bytes) -> None:
    refused = 0
    for cut in range(len(blob)):
        with pytest.raises(RdbError):
            decode(blob[:cut])
    with pytest.raises(RdbError):
        decode(blob + b"\x00")
    for at in range(len(blob)):
        for byte in range(256):
            if byte != blob[at]:
                try:
                    decode(blob[:at] + bytes((byte,)) + blob[at + 1 :])
                except RdbError:
                    refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("announced", "version"),
    [(None, 10), ("7.0.15", 10), ("7.2.0", 12), ("8.1.3", 11), ("9.1.2", 80), ("255.255.255", 80), ("x", 10), ("9", 10)],
)
def test_rdb_version_for_a_replica(announced: str | None, version: int) -> None:
    assert rdb_version_for_replica(announced) == version
