"""The reader and the writer by themselves: any split, any damage, any opcode."""

from __future__ import annotations

import os
import random
import tracemalloc

import pytest

from node.persistence import listpack
from node.persistence.crc64 import crc64
from node.persistence.errors import RdbError
from node.persistence.options import EncodingLimits, SaveOptions
from node.persistence.rdb import KeyPieces, RdbReader, RdbWriter, encode_key, standard_aux
from node.persistence.records import Aux, End, Function, Header, Key, Record, Resize, SelectDb, SlotInfo
from node.persistence.wire import encode_length, encode_string
from node.types.hash import Hash
from tests.persistence import samples
from tests.seeds import FUZZ_SEED


def plain(value: object) -> object:
    """A value in a form that compares."""
    return ("hash", value.lookup()) if isinstance(value, Hash) else value


def content(records: list[Record]) -> list[object]:
    """The records in a form that compares."""
    return [
        (r.db, r.key, plain(r.value), r.expire_ms, r.idle_s, r.freq) if isinstance(r, Key) else r for r in records
    ]


def sealed(body: bytes, version: int = 11) -> bytes:
    data = b"REDIS%04d" % version + body + b"\xff"
    return data + crc64(data).to_bytes(8, "little")


def read(data: bytes, step: int | None = None) -> list[Record]:
    reader = RdbReader()
    records: list[Record] = []
    step = step or max(len(data), 1)
    for at in range(0, len(data), step):
        records += reader.feed(data[at : at + step])
    reader.close()
    assert reader.leftover == b""
    return records


def small_file() -> bytes:
    """Every opcode and every type that is understood, in a few hundred bytes."""
    pairs = {b"a": b"1", b"bc": b"x" * 30, b"": b"-70000"}
    flat = [text for pair in pairs.items() for text in pair]
    writer = RdbWriter(SaveOptions(limits=EncodingLimits(hash_max_listpack_entries=2)))
    writer.header(standard_aux("7.2.4", 1700000000, 123456, False, (0, "ab" * 20, 5)))
    writer.raw(b"\xf7" + b"\x81" + bytes(8) + b"\x02\x01" + b"\x01\x05\x02\x06\x03abcd\x04abcdefgh\x05\x03xyz\x00")
    writer.function(b"#!lua name=f\n")
    writer.select(0)
    writer.resize(3, 1)
    writer.raw(b"\xf4\x05\x02\x01")
    writer.key(b"s", b"hello")
    writer.key(b"expires", 12, 1893456000123)
    writer.raw(b"\xfd" + (1893456000).to_bytes(4, "little") + encode_key(b"seconds", 70000, None))
    writer.raw(b"\xf8\x07" + encode_key(b"idle", b"y" * 40, None))
    writer.raw(b"\xf9\x09" + encode_key(b"freq", bytearray(b"z"), None))
    writer.key(b"table", Hash(pairs))
    writer.key(b"listpack", Hash({b"f": b"1000"}))
    writer.raw(b"\x0d\x07ziplist" + encode_string(samples.ziplist(flat), False))
    writer.raw(b"\x09\x06zipmap" + encode_string(samples.zipmap(pairs), True))
    writer.raw(b"\x04\x05empty\x00")
    writer.select(3)
    writer.key(b"s", -5)
    return writer.finish()


def test_every_record() -> None:
    records = read(small_file())
    assert records[0] == Header("REDIS", 11)
    assert records[1] == Aux(b"redis-ver", b"7.2.4")
    assert [r.name for r in records if isinstance(r, Aux)] == (
        b"redis-ver redis-bits ctime used-mem repl-stream-db repl-id repl-offset aof-base".split()
    )
    assert Function(b"#!lua name=f\n") in records
    assert Resize(3, 1) in records
    assert SlotInfo(5, 2, 1) in records
    assert [r for r in records if isinstance(r, SelectDb)] == [SelectDb(0), SelectDb(3)]
    pairs = ("hash", {b"a": b"1", b"bc": b"x" * 30, b"": b"-70000"})
    assert content([r for r in records if isinstance(r, Key)]) == [
        (0, b"s", b"hello", None, None, None),
        (0, b"expires", 12, 1893456000123, None, None),
        (0, b"seconds", 70000, 1893456000000, None, None),
        (0, b"idle", b"y" * 40, None, 7, None),
        (0, b"freq", b"z", None, None, 9),
        (0, b"table", pairs, None, None, None),
        (0, b"listpack", ("hash", {b"f": b"1000"}), None, None, None),
        (0, b"ziplist", pairs, None, None, None),
        (0, b"zipmap", pairs, None, None, None),
        (3, b"s", -5, None, None, None),
    ]
    assert records[-1] == End(checked=True)


def test_any_split_gives_the_same_records() -> None:
    data = small_file()
    whole = content(read(data))
    for cut in range(len(data) + 1):
        reader = RdbReader()
        assert content(reader.feed(data[:cut]) + reader.feed(data[cut:])) == whole
    for step in (1, 2, 3, 7):
        assert content(read(data, step)) == whole


def test_what_follows_the_end_is_left_over() -> None:
    data = small_file()
    mark = b"m" * 40
    for step in (1, 5, len(data) + 40):
        reader = RdbReader()
        for at in range(0, len(data) + 40, step):
            reader.feed((data + mark)[at : at + step])
        assert reader.finished
        assert reader.leftover == mark
        assert reader.offset == len(data)


def test_every_truncation_ends_too_early() -> None:
    data = small_file()
    for cut in range(len(data)):
        reader = RdbReader()
        reader.feed(data[:cut])
        assert not reader.finished
        with pytest.raises(RdbError, match="ends too early"):
            reader.close()


@pytest.mark.parametrize("fix_checksum", [False, True])
def test_every_changed_byte_is_an_error_or_a_value(fix_checksum: bool) -> None:
    data = small_file()
    rng = random.Random(11)
    accepted = 0
    for at in range(len(data) - (8 if fix_checksum else 0)):
        for byte in {0, 0x7F, 0x80, 0x81, 0xC3, 0xFF, data[at] ^ 1, rng.randrange(256), rng.randrange(256)} - {data[at]}:
            damaged = data[:at] + bytes((byte,)) + data[at + 1 :]
            if fix_checksum:
                damaged = damaged[:-8] + crc64(damaged[:-8]).to_bytes(8, "little")
            reader = RdbReader()
            try:
                records = reader.feed(damaged)
                reader.close()
                accepted += 1
                # Without a right checksum only an older version, or an end mark before zeros, is believed.
                assert fix_checksum or records[-1] == End(checked=False)
            except RdbError as error:
                assert error.offset is not None
                assert 0 <= error.offset <= len(damaged)
                with pytest.raises(RdbError):
                    reader.feed(b"")
    assert accepted > (100 if fix_checksum else 0)


def damage(data: bytes, rng: random.Random) -> bytes:
    """`data` with some bytes changed, put in, taken out or repeated, lengths by preference."""
    out = bytearray(data)
    lies = [b"\x81" + rng.randbytes(8), b"\x80" + rng.randbytes(4), b"\xc3"]
    lies += [b"\xfe\xff\xff\xff\xff", b"\xf0\xff\xff\xff\x7f"]
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        at = rng.randrange(len(out))
        kind = rng.randrange(5)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at:at] = rng.randbytes(rng.randrange(9))
        elif kind == 2 and len(out) > 20:
            del out[at : at + rng.randrange(9)]
        elif kind == 3:
            out[at : at + 1] = rng.choice(lies)
        else:
            start = rng.randrange(len(out))
            out[at:at] = out[start : start + rng.randrange(20)]
    return bytes(out)


def test_random_damage_under_a_right_checksum() -> None:
    """HASHSLOT_FUZZ_ROUNDS and HASHSLOT_FUZZ_SEED make it longer or repeat it."""
    print(f"HASHSLOT_FUZZ_SEED={FUZZ_SEED}")
    rng = random.Random(FUZZ_SEED)
    data = small_file()[:-9]
    tracemalloc.start()
    try:
        for _ in range(int(os.environ.get("HASHSLOT_FUZZ_ROUNDS", "1500"))):
            damaged = damage(data, rng) + b"\xff"
            damaged += crc64(damaged).to_bytes(8, "little")
            cut = rng.randrange(len(damaged))
            reader = RdbReader()
            try:
                reader.feed(damaged[:cut])
                reader.feed(damaged[cut:])
                reader.close()
            except RdbError as error:
                assert error.offset is not None
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_file_without_checksum_is_taken_and_says_so() -> None:
    data = small_file()[:-8] + bytes(8)
    assert read(data)[-1] == End(checked=False)
    assert read(b"REDIS0003\xfe\x00\x00\x01a\x01b\xff")[-1] == End(checked=False)


@pytest.mark.parametrize("magic", [b"REDIS0001", b"REDIS0010", b"REDIS0012", b"VALKEY080"])
def test_known_versions(magic: bytes) -> None:
    reader = RdbReader()
    records = reader.feed(magic + b"\xfe\x00\x00\x01a\x01b\xff" + bytes(8))
    assert reader.finished
    assert isinstance(records[2], Key)


@pytest.mark.parametrize(
    "magic",
    [b"REDIS0000", b"REDIS0013", b"VALKEY011", b"VALKEY081", b"REDISabcd", b"MEMCACHED", b"REDIS 011"],
)
def test_unknown_versions(magic: bytes) -> None:
    with pytest.raises(RdbError, match=r"RDB"):
        RdbReader().feed(magic)


@pytest.mark.parametrize(
    ("tag", "words", "offset"),
    [(6, "module", 11), (7, "module type 'AAAAAAAAA'", 15), (99, "unknown type 99", 11)],
)
def test_types_that_are_not_supported_are_named(tag: int, words: str, offset: int) -> None:
    with pytest.raises(RdbError, match=words) as info:
        read(sealed(b"\xfe\x00" + bytes((tag,)) + b"\x01k\x00"))
    assert info.value.offset == offset


def test_a_wrong_checksum_is_an_error() -> None:
    data = small_file()
    with pytest.raises(RdbError, match="checksum"):
        RdbReader().feed(data[:-1] + bytes((data[-1] ^ 1,)))


@pytest.mark.parametrize(
    "value",
    [
        b"\x04\x01k\x02\x01a\x01b\x01a\x01c",
        b"\x10\x01k" + encode_string(listpack.encode([b"a", b"b", b"a", b"c"]), False),
        b"\x10\x01k" + encode_string(listpack.encode([b"a", b"b", b"c"]), False),
        b"\x0d\x01k" + encode_string(samples.ziplist([b"1", b"b", b"1", b"c"]), False),
    ],
    ids=["table-twice", "listpack-twice", "odd", "ziplist-twice"],
)
def test_hashes_with_wrong_fields(value: bytes) -> None:
    with pytest.raises(RdbError, match="field"):
        read(sealed(value))


def test_empty_hashes_are_passed_over_with_their_expiry() -> None:
    reader = RdbReader()
    empty = b"\x10\x01k" + encode_string(listpack.encode([]), False)
    records = reader.feed(sealed(b"\xfc" + bytes(8) + empty + b"\x04\x01k\x00" + encode_key(b"k", 1, None)))
    assert reader.empty_keys == 2
    assert [r.expire_ms for r in records if isinstance(r, Key)] == [None]


@pytest.mark.parametrize(
    "claim",
    [
        b"\x00\x01k\x81\x10" + bytes(7),
        b"\x00\x81\x10" + bytes(7),
        b"\x00\x01k\xc3\x05\x81\x10" + bytes(7) + bytes(5),
        b"\x00\x01k\xc3\x05\x80\x7f\xff\xff\xff" + bytes(5),
        b"\x04\x01k\x81\x10" + bytes(7) + b"\x01a\x01b",
        b"\x10\x01k\x0b" + b"\xff\xff\xff\xff\xff\xff" + b"\xf0\xff\xff\xff\xff",
        b"\xfb\x81\x10" + bytes(7) + b"\x81\x10" + bytes(7),
    ],
)
def test_claims_take_no_memory(claim: bytes) -> None:
    tracemalloc.start()
    try:
        reader = RdbReader()
        try:
            reader.feed(b"REDIS0011" + claim)
        except RdbError:
            assert not reader.finished
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_big_hash_is_read_once_and_its_bytes_are_let_go() -> None:
    fields = {b"field:%06d" % i: b"value:%06d" % i for i in range(30000)}
    data = sealed(encode_key(b"big", Hash(fields), None))
    reader = RdbReader()
    held = 0
    records: list[Record] = []
    for at in range(0, len(data), 1000):
        records += reader.feed(data[at : at + 1000])
        held = max(held, reader._held)
    assert plain(records[1].value) == ("hash", fields) if isinstance(records[1], Key) else pytest.fail("no key")
    assert held < 1100


def test_a_big_string_is_put_together_once() -> None:
    text = samples.noise(8 << 20)
    data = sealed(encode_key(b"big", text, None))
    reader = RdbReader()
    records: list[Record] = []
    for at in range(0, len(data), 1 << 14):
        records += reader.feed(data[at : at + (1 << 14)])
    assert isinstance(records[1], Key)
    assert records[1].value == text


@pytest.mark.parametrize("value", [*samples.hashes(), b"x" * 100, 5], ids=lambda v: type(v).__name__)
def test_pieces_are_the_whole(value: object) -> None:
    pieces = list(KeyPieces(b"key", value, 1893456000123))
    assert b"".join(pieces) == encode_key(b"key", value, 1893456000123)
    assert next(KeyPieces(b"key", value, None))[:1] != b"\xfc"


def test_a_big_hash_comes_in_many_pieces() -> None:
    value = Hash({b"field:%06d" % i: b"value:%06d" % i for i in range(30000)})
    pieces = list(KeyPieces(b"key", value, None))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 40000
    assert b"".join(pieces) == encode_key(b"key", value, None)


def test_slices_of_the_writer_are_one_file() -> None:
    writer = RdbWriter(SaveOptions(version=10, compress=False))
    writer.header()
    taken = [writer.take()]
    for i in range(100):
        writer.key(b"k%d" % i, i)
        if i % 7 == 0:
            assert writer.pending
            taken.append(writer.take())
            assert not writer.pending
    data = b"".join(taken) + writer.finish()
    assert data.startswith(b"REDIS0010")
    records = read(data)
    assert [r.value for r in records if isinstance(r, Key)] == list(range(100))
    assert records[-1] == End(checked=True)


def test_a_class_without_encoding_is_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        encode_key(b"k", 1.5, None)


def test_a_module_opcode_that_is_unknown() -> None:
    with pytest.raises(RdbError, match="module opcode 9"):
        read(sealed(b"\xf7" + encode_length(77) + b"\x02\x01\x09"))


def test_an_opcode_that_is_unknown() -> None:
    with pytest.raises(RdbError, match="unknown type 242"):
        read(sealed(b"\xf2\x00"))
    with pytest.raises(RdbError, match="release candidate"):
        read(sealed(b"\xf6\x00"))
