"""Bitmap commands against the real servers: case by case, then generated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.commands import bitfields, bitmaps
from tests.oracle.conftest import Servers
from tests.oracle.drawn import drawn
from tests.oracle.facts import declared, told
from tests.oracle.oracle import Judge, Unlike
from tests.oracle.told import compare_told

_ARGUMENTS_FIRST = "from 7.2 on arguments are looked at before the key"
_VALKEY_END = "Valkey 8 made the end of BITCOUNT's range optional"

TABLES = {
    "single bits": """
        SETBIT b 7 1
        GETBIT b 7
        GETBIT b 0
        GETBIT b 8
        GETBIT b 100000
        GETBIT nothing 3
        SETBIT b 7 1
        SETBIT b 7 0
        SETBIT b 1000 0
        STRLEN b
        SETBIT new 0 0
        SETBIT b 4294967296 1
        SETBIT b 4294967295 2
        SETBIT b 9223372036854775807 1
        SETBIT b 9223372036854775808 1
        SETBIT b -1 1
        SETBIT b x 1
        SETBIT b 01 1
        SETBIT b #1 1
        SETBIT b x x
        SETBIT b 1 2
        SETBIT b 1 -1
        SETBIT b 1 01
        SETBIT b 1 x
        GETBIT b -1
        GETBIT b x
        GETBIT b 4294967296
        GETBIT b #0
        SET n 12345
        SETBIT n 6 1
        GET n
        GETBIT n 2
        SET m 12345
        SETBIT m 2 1
        OBJECT ENCODING m
        SET e 100 EX 1000
        SETBIT e 2 0
        HSET h a 1
        SETBIT h 1 1
        SETBIT h x 1
        SETBIT h 1 x
        GETBIT h 1
        GETBIT h x
        SETBIT b 1
        GETBIT b
    """,
    "bitcount": """
        SET k foobar
        BITCOUNT k
        BITCOUNT k 0 0
        BITCOUNT k 1 1
        BITCOUNT k 1 1 BYTE
        BITCOUNT k 5 30 BIT
        BITCOUNT k 5 30 bit
        BITCOUNT k 0 -1 BIT
        BITCOUNT k -1 -1 BIT
        BITCOUNT k 7 7 BIT
        BITCOUNT k 8 8 BIT
        BITCOUNT k 8 15 BIT
        BITCOUNT k 9 14 BIT
        BITCOUNT k -8 -1 BIT
        BITCOUNT k -2 -1
        BITCOUNT k -1 -2
        BITCOUNT k 3 2
        BITCOUNT k 10 20
        BITCOUNT k -100 -50
        BITCOUNT k -100 100
        BITCOUNT k 47 47 BIT
        BITCOUNT k 48 48 BIT
        BITCOUNT k 0 9223372036854775807
        BITCOUNT k -9223372036854775808 9223372036854775807 BIT
        BITCOUNT k 0 9223372036854775808
        BITCOUNT k x 1
        BITCOUNT k 1 x
        BITCOUNT k 0 1 x
        BITCOUNT k 0 1 BIT x
        BITCOUNT nothing
        BITCOUNT nothing 0 -1
        SET n 12345
        BITCOUNT n
        BITCOUNT n 0 9 BIT
        SET '' ''
        BITCOUNT ''
        BITCOUNT '' 0 -1
        HSET h a 1
        BITCOUNT h
        BITCOUNT h 0 1
        BITCOUNT
        SET l "\\xff\\xf0\\x00"
        BITCOUNT l 0 10 BIT
        BITCOUNT l 11 13 BIT
    """,
    "bitpos": """
        SET k "\\xff\\xf0\\x00"
        BITPOS k 0
        BITPOS k 1
        BITPOS k 0 0
        BITPOS k 1 2
        BITPOS k 1 1
        BITPOS k 0 0 0
        BITPOS k 0 0 -1
        BITPOS k 0 1 1
        BITPOS k 1 7 15 BIT
        BITPOS k 1 12 15 BIT
        BITPOS k 0 7 15 BIT
        BITPOS k 0 7 11 BIT
        BITPOS k 0 7 11 BYTE
        BITPOS k 0 13 13 bit
        BITPOS k 1 13 -1 BIT
        BITPOS k 1 -1
        BITPOS k 1 -3
        BITPOS k 0 -3 -3
        BITPOS k 0 3
        BITPOS k 1 3
        BITPOS k 1 5 2
        BITPOS k 1 -100 -50
        SET o "\\xff\\xff\\xff"
        BITPOS o 0
        BITPOS o 0 0
        BITPOS o 0 1
        BITPOS o 0 0 -1
        BITPOS o 0 0 -1 BIT
        BITPOS o 0 5 6 BIT
        BITPOS o 0 3
        BITPOS o 0 100
        BITPOS o 1 2
        SET z "\\x00\\x00"
        BITPOS z 1
        BITPOS z 0
        BITPOS z 1 0 -1 BIT
        BITPOS nothing 0
        BITPOS nothing 1
        BITPOS nothing 0 5
        BITPOS nothing 1 5 9
        SET '' ''
        BITPOS '' 0
        BITPOS '' 1
        BITPOS '' 0 0
        BITPOS k 2
        BITPOS k x
        BITPOS k 1 x
        BITPOS k 1 0 x
        BITPOS k 1 0 1 x
        BITPOS k 1 0 1 BIT x
        SET n 12345
        BITPOS n 1
        BITPOS n 0 2 5 BIT
        HSET h a 1
        BITPOS h 1
        BITPOS h 2
        BITPOS h 1 0 1
        BITPOS k
    """,
    "bitop": """
        SET a "\\xff\\x0f\\xaa"
        SET b "\\x0f"
        SET c 12345
        BITOP AND r a b
        BITOP OR r a b c
        OBJECT ENCODING r
        BITOP XOR r a b c
        BITOP XOR r a a
        BITOP NOT r a
        BITOP not r c
        BITOP And r a nothing
        BITOP AND r a
        BITOP OR r a
        BITOP OR r nothing
        EXISTS r
        BITOP OR r nothing
        BITOP XOR a a b
        EXPIRE a 100
        BITOP OR a a b
        TTL a
        BITOP NOT r a b
        BITOP x r a
        BITOP NOT r
        HSET h a 1
        BITOP OR r h
        BITOP OR r a h
        BITOP NOT r h
        BITOP OR h a b
        TYPE h
        SET '' ''
        BITOP NOT r ''
        BITOP NOT nothing ''
    """,
    "bitfield": """
        BITFIELD k SET i5 100 3 GET u4 100
        BITFIELD k INCRBY i5 100 1 GET u4 0
        BITFIELD k SET u8 #1 255 GET u8 #1 GET i8 #1 GET u16 7
        BITFIELD k OVERFLOW SAT INCRBY u2 100 1 OVERFLOW FAIL INCRBY u2 102 10
        BITFIELD k OVERFLOW wrap INCRBY u2 102 1 INCRBY u2 102 1 INCRBY u2 102 1 INCRBY u2 102 1
        BITFIELD k OVERFLOW SAT SET i8 0 128 SET i8 0 -129 SET i8 0 -128 GET i8 0
        BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0
        BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775681 GET i8 0
        BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775680 GET i8 0
        BITFIELD k OVERFLOW SAT SET i8 0 9223372036854775807 GET i8 0
        BITFIELD k OVERFLOW WRAP SET i8 0 -9223372036854775807 GET i8 0
        BITFIELD k OVERFLOW FAIL SET i8 0 128 GET i8 0
        BITFIELD k OVERFLOW FAIL SET u8 0 256 SET u8 0 -1 GET u8 0
        BITFIELD k OVERFLOW SAT SET u8 0 -1 GET u8 0
        BITFIELD k OVERFLOW WRAP SET u8 0 -1 SET u8 0 257 GET u8 0
        BITFIELD k SET u63 3 9223372036854775807 INCRBY u63 3 1
        BITFIELD k SET u63 3 9223372036854775807 OVERFLOW SAT INCRBY u63 3 1 INCRBY u63 3 -9223372036854775808
        BITFIELD k SET i64 3 9223372036854775807 INCRBY i64 3 1 INCRBY i64 3 -1
        BITFIELD k OVERFLOW SAT INCRBY i64 3 -9223372036854775808 INCRBY i64 3 -9223372036854775808
        BITFIELD k OVERFLOW SAT INCRBY i64 3 9223372036854775807 INCRBY i64 3 9223372036854775807 INCRBY i64 3 1
        BITFIELD k OVERFLOW FAIL INCRBY i64 3 9223372036854775807 INCRBY i64 3 9223372036854775807 INCRBY i64 3 5
        BITFIELD k OVERFLOW SAT INCRBY u4 0 -100 INCRBY u4 0 100 INCRBY i4 0 -100 INCRBY i4 0 100
        BITFIELD k INCRBY u4 0 -100 INCRBY u4 0 100 INCRBY i4 0 -100 INCRBY i4 0 100
        BITFIELD k SET u1 1001 1 GET u1 1001 GET i1 1001 SET i1 1001 0 SET i1 1001 1
        BITFIELD k GET u8 100000 GET i64 #1000
        BITFIELD k
        BITFIELD new
        EXISTS new
        BITFIELD new GET u8 0
        EXISTS new
        BITFIELD failing OVERFLOW FAIL SET u1 100 5
        STRLEN failing
        BITFIELD k GET u64 0
        BITFIELD k GET i65 0
        BITFIELD k GET u0 0
        BITFIELD k GET i0 0
        BITFIELD k GET U8 0
        BITFIELD k GET x8 0
        BITFIELD k GET u 0
        BITFIELD k GET '' 0
        BITFIELD k GET u-1 0
        BITFIELD k GET u8 -1
        BITFIELD k GET u8 x
        BITFIELD k GET u8 #x
        BITFIELD k GET u8 #
        BITFIELD k GET u8 #-1
        BITFIELD k GET u8 4294967296
        BITFIELD k GET u8 #536870912
        BITFIELD k GET u8 4294967295
        BITFIELD k SET u8 0 x
        BITFIELD k SET u8 0
        BITFIELD k SET u8
        BITFIELD k GET u8
        BITFIELD k GET
        BITFIELD k INCRBY u8 0
        BITFIELD k INCRBY u8 0 9223372036854775808
        BITFIELD k OVERFLOW
        BITFIELD k OVERFLOW x
        BITFIELD k OVERFLOW x SET u8 0 x
        BITFIELD k BOGUS u8 0
        BITFIELD k GET u8 0 BOGUS
        BITFIELD k SET u8 0 1 GET u99 0
        SET n 12345
        BITFIELD n GET u8 0 GET u8 #4 GET u8 #5
        BITFIELD_RO n GET u8 0
        BITFIELD n INCRBY u8 #0 1
        BITFIELD n OVERFLOW FAIL
        HSET h a 1
        BITFIELD h GET u8 0
        BITFIELD h SET u8 0 1
        BITFIELD h
        BITFIELD_RO h GET u8 0
        BITFIELD_RO k GET u8 0 GET i8 #1
        BITFIELD_RO k
        BITFIELD_RO nothing GET u8 0
        BITFIELD_RO k SET u8 0 1
        BITFIELD_RO k GET u8 0 INCRBY u8 0 1
        BITFIELD_RO k OVERFLOW SAT GET u8 0
        BITFIELD
        BITFIELD_RO
    """,
}


@pytest.mark.parametrize("name", TABLES)
def test_table(judge: Judge, name: str) -> None:
    judge.check_all(TABLES[name])


def test_arguments_are_read_before_the_key(judge: Judge) -> None:
    unlike = Unlike("redis", _ARGUMENTS_FIRST, b"-ERR value is not an integer or out of range\r\n")
    judge.check("BITCOUNT", "nothing", "x", "1", unlike=unlike)
    judge.check("BITPOS", "nothing", "1", "x", unlike=unlike)
    unlike = Unlike("redis", _ARGUMENTS_FIRST, b"-ERR syntax error\r\n")
    judge.check("BITCOUNT", "nothing", "0", "1", "x", unlike=unlike)
    judge.check("SET", "k", "foobar")
    judge.check("BITCOUNT", "k", "0", unlike=Unlike("valkey", _VALKEY_END, b"-ERR syntax error\r\n"))


def test_operations_of_redis_8(judge: Judge) -> None:
    """The examples of https://redis.io/docs/data-types/bitmaps/ and what follows from their definitions."""
    ours = judge.ours
    for key, text in (("a", b"\xff\x0f\xaa"), ("b", b"\x0f\xf0"), ("c", b"\x03\x05\x0f\x80")):
        ours.run("SET", key, text)
    expected = {
        "DIFF": bytes([0xFF & ~0x0F, 0x0F & ~0xF5, 0xAA & ~0x0F, 0]),
        "DIFF1": bytes([0x0F & ~0xFF, 0xF5 & ~0x0F, 0x0F & ~0xAA, 0x80]),
        "ANDOR": bytes([0xFF & 0x0F, 0x0F & 0xF5, 0xAA & 0x0F, 0]),
        "ONE": bytes([0xF0, (0x0F ^ 0xF0) & ~0x05, 0xA5, 0x80]),
    }
    for word, text in expected.items():
        assert ours.run("BITOP", word, "r", "a", "b", "c") == 4
        assert ours.run("GET", "r") == text, word
    for word in ("DIFF", "DIFF1", "ANDOR"):
        assert ours.error("BITOP", word, "r", "a") == f"ERR BITOP {word} must be called with at least two source keys."
    assert ours.run("BITOP", "ONE", "r", "a") == 3
    judge.check("BITOP", "BOGUS", "r", "a", "b")


_keys = st.sampled_from(["a", "a", "b", "b", "c", "n"])
_bits = st.one_of(st.integers(-3, 80), st.sampled_from([1000, 8192, 2**32]))
_places = st.one_of(st.integers(-30, 30), st.integers(-(2**63), 2**63 - 1))
_types = st.tuples(st.sampled_from("iu"), st.one_of(st.integers(1, 64), st.integers(-1, 66))).map(
    lambda one: f"{one[0]}{one[1]}"
)
_offsets = st.one_of(st.integers(0, 70).map(str), st.integers(0, 9).map("#{}".format), st.just("-1"))
_amounts = st.one_of(
    st.integers(-300, 300), st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**63 - 1, -(2**63), 2**31, -1])
)
_field_operations = st.lists(
    st.one_of(
        st.tuples(st.just("GET"), _types, _offsets),
        st.tuples(st.sampled_from(["SET", "INCRBY"]), _types, _offsets, _amounts),
        st.tuples(st.just("OVERFLOW"), st.sampled_from(["WRAP", "SAT", "FAIL"])),
    ),
    min_size=1,
    max_size=6,
).map(lambda many: tuple(word for one in many for word in one))
_ranges = st.one_of(
    st.just(()), st.tuples(_places, _places), st.tuples(_places, _places, st.sampled_from(["BIT", "BYTE"]))
)
_long_pieces = st.sampled_from([b"\0", b"\xff", b"\0" * 70000, b"\xff" * 70000, b"\x10"])
_requests = st.one_of(
    st.tuples(st.just("SETBIT"), _keys, _bits, st.integers(0, 1)),
    st.tuples(st.just("GETBIT"), _keys, _bits),
    st.tuples(st.just("SET"), _keys, st.binary(max_size=20)),
    st.tuples(st.just("SET"), _keys, st.lists(_long_pieces, max_size=4).map(b"".join)),
    st.tuples(st.just("SET"), _keys, st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(("BITCOUNT",)), st.tuples(_keys), _ranges).map(lambda parts: sum(parts, ())),
    st.tuples(st.tuples(st.just("BITPOS"), _keys, st.integers(0, 1)), st.one_of(_ranges, st.tuples(_places))).map(
        lambda parts: sum(parts, ())
    ),
    st.tuples(
        st.tuples(st.just("BITOP"), st.sampled_from(["AND", "OR", "XOR"]), _keys),
        st.lists(_keys, min_size=1, max_size=4),
    ).map(lambda parts: (*parts[0], *parts[1])),
    st.tuples(st.just("BITOP"), st.just("NOT"), _keys, _keys),
    st.tuples(st.tuples(st.just("BITFIELD"), _keys), _field_operations).map(lambda parts: sum(parts, ())),
    st.tuples(st.tuples(st.just("BITFIELD"), _keys), _field_operations).map(lambda parts: sum(parts, ())),
)


def test_sequences(judge: Judge) -> None:
    @drawn()
    @given(st.lists(_requests, min_size=25, max_size=50))
    def run(sequence: list[tuple[object, ...]]) -> None:
        judge.begin()
        for request in sequence:
            judge.check(*request)
        judge.same_state()

    run()


COMMANDS = {one.name: one for group in (bitmaps.group, bitfields.group) for one in group.commands}
_NEWER = {"bitop": ("history",)}
"""Facts of ours that neither server knows yet."""


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", COMMANDS)
def test_facts(servers: Servers, kind: str, name: str) -> None:
    facts = told(servers.wire(kind, 3), name)
    assert facts is not None
    ours = declared(COMMANDS[name])
    skipped = {"summary"} if kind == "redis" else set()
    skipped.update(_NEWER.get(name, ()))
    if (kind, name) == ("valkey", "bitcount"):
        skipped.add("history")  # 8.0 made the end optional
    assert {fact: facts[fact] for fact in facts if fact not in skipped} == {
        fact: ours[fact] for fact in facts if fact not in skipped
    }


TOLD = """
    SETBIT k 7 1
    SETBIT k 7 1
    SETBIT k 90 0
    SETBIT new 0 0
    BITOP OR r k
    BITOP OR r nothing
    BITOP OR r nothing
    BITFIELD k GET u8 0
    BITFIELD k SET u8 0 5
    BITFIELD k SET u8 0 5
    BITFIELD k OVERFLOW FAIL SET u8 0 500
    BITFIELD k OVERFLOW FAIL INCRBY u8 0 5 SET u8 0 500
    BITFIELD m OVERFLOW FAIL SET u8 0 500
    BITFIELD k SET u8 1000 0
"""


def test_told_as_redis_tells(servers: Servers) -> None:
    compare_told(servers, TOLD)
