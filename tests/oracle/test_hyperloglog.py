"""HyperLogLog against the real servers: the bytes in the key, not only the counts, must be theirs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.commands import hyperloglog
from node.types import hyperloglog as hll
from tests.oracle.conftest import Servers
from tests.oracle.drawn import drawn
from tests.oracle.facts import declared, told
from tests.oracle.oracle import SEED, Judge
from tests.oracle.told import compare_told

TABLES = {
    "few elements": """
        PFADD k a b c
        GET k
        PFADD k a
        PFADD k
        GET k
        PFCOUNT k
        GET k
        PFADD k d
        GET k
        PFCOUNT k
        PFADD new
        GET new
        PFADD new
        PFCOUNT new
        GET new
        PFCOUNT nothing
        PFCOUNT nothing k new
        OBJECT ENCODING k
        PFDEBUG DECODE k
        PFDEBUG ENCODING k
        PFDEBUG encoding k
        PFDEBUG TODENSE k
        PFDEBUG ENCODING k
        PFDEBUG TODENSE k
        PFDEBUG DECODE k
        PFCOUNT k
        GET k
        PFDEBUG GETREG new
        PFDEBUG BOGUS k
        PFDEBUG ENCODING nothing
        PFDEBUG BOGUS nothing
        PFADD k ''
        PFADD k 1234567 12345678 123456789 "\\xff\\x00\\xfe"
        GET k
        EXPIRE k 100
        PFADD k more
        STRLEN k
        PFADD
        PFCOUNT
        PFMERGE
        PFDEBUG ENCODING
        PFSELFTEST
        PFSELFTEST x
    """,
    "merge": """
        PFADD a 1 2 3 4 5
        PFADD b 4 5 6 7 8
        PFMERGE c a b
        GET c
        PFCOUNT c
        PFCOUNT a b
        PFMERGE c
        GET c
        PFMERGE c nothing
        PFMERGE new
        GET new
        PFMERGE other nothing
        GET other
        PFDEBUG TODENSE b
        PFMERGE d a b
        PFDEBUG ENCODING d
        GET d
        PFMERGE a b
        GET a
        PFMERGE b a c
        GET b
    """,
    "no HyperLogLog": """
        SET s foo
        SET n 12345
        SET long 12345678901234567890
        HSET h a 1
        SET m HYLLxxxxxxxxxxxxxxxxx
        SET e "HYLL\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x7f\\xff"
        SET d "HYLL\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x7f\\xff"
        SET c "HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x7f\\xff\\x00"
        SET short "HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x00"
        SET bare "HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80"
        SET cached "HYLL\\x01\\x00\\x00\\x00\\x05\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
        SET over "HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x7f\\xfd\\x83"
        PFADD s a
        PFADD n a
        PFADD long a
        PFADD h a
        PFADD m a
        PFADD e a
        PFADD d a
        PFADD short a b c d e f g h i j
        PFADD bare a
        PFCOUNT s
        PFCOUNT n
        PFCOUNT h
        PFCOUNT m
        PFCOUNT e
        PFCOUNT d
        PFCOUNT c
        PFCOUNT short
        PFCOUNT bare
        PFCOUNT cached
        PFCOUNT over
        PFCOUNT c nothing
        PFCOUNT over nothing
        PFCOUNT nothing s
        PFMERGE r c
        PFMERGE r s
        PFMERGE c
        PFMERGE h
        PFDEBUG ENCODING s
        PFDEBUG ENCODING h
        PFDEBUG TODENSE c
        PFDEBUG TODENSE over
        PFDEBUG GETREG c
        PFDEBUG DECODE c
        EXISTS r
        GET c
    """,
}


@pytest.mark.parametrize("name", TABLES)
def test_table(judge: Judge, name: str) -> None:
    judge.check_all(TABLES[name])


@pytest.mark.parametrize("sparse_max", ["3000", "300", "0", "16000"])
def test_growing(judge: Judge, sparse_max: str) -> None:
    """From nothing to dense, in steps of several sizes, with every setting; the bytes are compared at each step."""
    judge.begin(hll_sparse_max_bytes=sparse_max)
    source = random.Random(SEED)
    for step in range(60):
        elements = [source.randbytes(source.randrange(20)) for _ in range(source.choice((1, 3, 50)))]
        judge.check("PFADD", f"k{step % 3}", *elements)
        judge.check("GET", f"k{step % 3}")
        if step % 7 == 0:
            judge.check("PFCOUNT", f"k{step % 3}")
        if step % 11 == 0:
            judge.check("PFMERGE", "all", "k0", "k1", "k2")
            judge.check("GET", "all")
            judge.check("PFCOUNT", "k0", "k1", "k2")
            judge.check("PFMERGE", f"{step}", f"k{source.randrange(3)}")
            judge.check("GET", f"{step}")
    judge.same_state()


def test_many(judge: Judge) -> None:
    """Counts of big ones, dense, where every register counts."""
    for step in range(12):
        judge.check("PFADD", "k", *[f"{step}:{at}" for at in range(2000)])
        judge.check("PFCOUNT", "k")
        judge.check("PFCOUNT", "k", "nothing")
    judge.check("PFDEBUG", "GETREG", "k")
    judge.same_state()


def test_high_registers(judge: Judge) -> None:
    """Registers that no sparse one can hold, and the highest of all, which no hash of ours reaches in time."""
    for height in (31, 32, 33, 50, 51, 63):
        numbers = bytearray(16384)
        numbers[7] = height
        numbers[16383] = 5
        text = hll.empty()
        hll.set_dense(text, bytes(numbers))
        hll.forget_count(text)
        judge.check("SET", "high", bytes(text))
        judge.check("PFCOUNT", "high")
        judge.check("PFCOUNT", "high", "nothing")
        judge.check("PFMERGE", "sparse", "nothing")
        judge.check("PFMERGE", "sparse", "high")
        judge.check("GET", "sparse")
        judge.check("DEL", "sparse")


_runs = st.one_of(
    st.integers(0, 63).map(lambda length: bytes((length,))),
    st.integers(0, 16383).map(lambda length: bytes((0x40 | length >> 8, length & 255))),
    st.integers(0x80, 0xFF).map(lambda code: bytes((code,))),
)


def _covering(runs: list[bytes]) -> bytes:
    """The runs, made to cover all registers with zeros behind, if they do not cover more."""
    text = b"HYLL\x01\0\0\0" + bytes(7) + b"\x80" + b"".join(runs)
    missing = hll.REGISTERS - sum(length for _, length, _ in hll.opcodes(text))
    return text + (bytes((0x40 | missing - 1 >> 8, missing - 1 & 255)) if missing > 0 else b"")


_damaged = st.lists(_runs, max_size=30).map(lambda runs: b"HYLL\x01\0\0\0" + bytes(7) + b"\x80" + b"".join(runs))
_value_runs = st.integers(0x80, 0xFF).map(lambda code: bytes((code,)))
_whole = st.lists(st.one_of(_runs, _value_runs), max_size=60).map(_covering)
_keys = st.sampled_from(["a", "b", "c"])
_elements = st.lists(st.binary(max_size=12), max_size=30)
_requests = st.one_of(
    st.tuples(st.tuples(st.just("PFADD"), _keys), _elements).map(lambda parts: (*parts[0], *parts[1])),
    st.tuples(st.tuples(st.just("PFADD"), _keys), _elements).map(lambda parts: (*parts[0], *parts[1])),
    st.tuples(st.just("PFCOUNT"), _keys),
    st.tuples(st.just("PFCOUNT"), _keys, _keys),
    st.tuples(st.just("PFMERGE"), _keys, _keys, _keys),
    st.tuples(st.just("GET"), _keys),
    st.tuples(st.just("SET"), _keys, _whole),
    st.tuples(st.just("PFDEBUG"), st.sampled_from(["DECODE", "ENCODING"]), _keys),
)


def test_sequences(judge: Judge) -> None:
    @drawn()
    @given(st.sampled_from(["3000", "60"]), st.lists(_requests, min_size=15, max_size=30))
    def run(sparse_max: str, sequence: list[tuple[object, ...]]) -> None:
        judge.begin(hll_sparse_max_bytes=sparse_max)
        for request in sequence:
            judge.check(*request)
        judge.same_state()

    run()


@settings(max_examples=200, deadline=None, database=None)
@given(_damaged, st.lists(st.binary(max_size=8), max_size=20))
def test_damage_is_an_error_or_an_answer(text: bytes, elements: list[bytes]) -> None:
    """Without the real servers: older ones are known to read beyond the end of such strings."""
    buffer = bytearray(text)
    for element in elements:
        try:
            hll.add(buffer, element, 3000)
        except hll.CorruptedError:
            break
    for look in (hll.count, hll.registers):
        try:
            look(buffer)
        except hll.CorruptedError:
            continue
    assert len(buffer) <= max(len(text), 3000, hll.DENSE_SIZE)


COMMANDS = {command.name: command for command in hyperloglog.group.commands}


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", COMMANDS)
def test_facts(servers: Servers, kind: str, name: str) -> None:
    facts = told(servers.wire(kind, 3), name)
    assert facts is not None
    ours = declared(COMMANDS[name])
    if kind == "redis":
        facts["summary"] = ours["summary"]  # Redis 7.2 says it in other words than 7.0
    assert facts == {fact: ours[fact] for fact in facts}


TOLD = """
    PFADD k a b
    PFADD k a
    PFCOUNT k
    PFCOUNT k
    PFCOUNT k nothing
    PFMERGE r k
    PFMERGE r k
    PFDEBUG ENCODING k
    PFDEBUG TODENSE k
    PFDEBUG TODENSE k
    PFDEBUG GETREG r
    PFDEBUG GETREG r
    PFADD new
"""


def test_told_as_redis_tells(servers: Servers) -> None:
    compare_told(servers, TOLD)
