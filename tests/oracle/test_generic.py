"""Key commands against the real servers: replies, errors, the order of checks, state, and what replicas are told."""

from __future__ import annotations

import random
import time

import pytest

from node.persistence import payload
from node.types.hash import Hash
from tests.commands.harness import Harness
from tests.oracle.oracle import SEED, Judge, Stream, Told, Unlike, unordered, words
from tests.servers import ServerProcess

FAR_S = int(time.time()) + 1000
"""A deadline that no test reaches, unix seconds."""

TABLES = {
    "delete and look": """
        MSET a 1 b 2 c 3
        HSET h f v
        DEL a nothing b a
        EXISTS c c a
        TOUCH c h nothing c
        UNLINK c nothing
        TYPE h
        TYPE c
        DEL
        EXISTS
        UNLINK
        TOUCH
        TYPE
        TYPE a b
    """,
    "rename": f"""
        SET a 1
        EXPIREAT a {FAR_S}
        SET b 2
        RENAME a b
        RENAME nothing b
        RENAME nothing nothing
        RENAME b b
        RENAMENX b b
        RENAMENX nothing x
        SET c 3
        RENAMENX b c
        RENAMENX b d
        HSET h f v
        RENAME h c
        RENAME c
        RENAMENX c
    """,
    "copy": f"""
        SET a value
        EXPIREAT a {FAR_S}
        HSET h f v
        APPEND t ab
        COPY a b
        COPY a b
        COPY h b
        COPY h b REPLACE
        COPY t u
        APPEND u c
        HSET b g w
        COPY a a
        COPY nothing x
        COPY nothing x REPLACE
        COPY a c DB 0
        COPY a a DB 1
        COPY a a DB 1
        COPY a a DB 1 REPLACE
        COPY a c DB 16
        COPY a c DB -1
        COPY a c DB x
        COPY a c DB
        COPY a c WHAT
        COPY a c REPLACE REPLACE
        COPY a
    """,
    "move": f"""
        SET a value
        EXPIREAT a {FAR_S}
        MOVE a 1
        MOVE a 1
        SET a other
        MOVE a 1
        MOVE a 0
        MOVE a 16
        MOVE a -1
        MOVE a x
        MOVE nothing 1
        SELECT 1
        PEXPIRETIME a
        GET a
        MOVE a 2
        SELECT 0
    """,
    "conditions of expire": f"""
        SET k v
        EXPIREAT k {FAR_S} XX
        EXPIREAT k {FAR_S} GT
        EXPIREAT k {FAR_S} NX
        EXPIREAT k {FAR_S + 1} NX
        EXPIREAT k {FAR_S} GT
        EXPIREAT k {FAR_S + 5} GT
        EXPIREAT k {FAR_S + 5} LT
        EXPIREAT k {FAR_S + 4} LT
        EXPIREAT k {FAR_S + 6} XX
        EXPIREAT k {FAR_S + 7} XX GT
        EXPIREAT k {FAR_S + 6} XX GT
        EXPIREAT k {FAR_S + 5} XX LT
        PERSIST k
        PERSIST k
        PERSIST nothing
        EXPIREAT k {FAR_S} LT
        EXPIREAT k {FAR_S} nx
        EXPIREAT k 1 GT
        EXPIREAT k {FAR_S} NX XX
        EXPIREAT k {FAR_S} NX GT
        EXPIREAT k {FAR_S} LT NX
        EXPIREAT k {FAR_S} GT LT
        EXPIREAT k {FAR_S} WHAT
        EXPIREAT k x WHAT
        EXPIREAT k x NX XX
        EXPIREAT nothing {FAR_S}
        EXPIREAT nothing {FAR_S} WHAT
    """,
    "amounts of expire": """
        SET k v
        EXPIRE k x
        EXPIRE k 1.5
        EXPIRE k ''
        EXPIRE k 9223372036854775807
        EXPIRE k -9223372036854775808
        EXPIRE k 9223372036854775
        EXPIRE k 9223372036854776
        PEXPIRE k 9223372036854775807
        EXPIREAT k 9223372036854775807
        EXPIREAT k -9223372036854775808
        PEXPIREAT k 9223372036854775808
        PEXPIREAT k 9223372036854775807
        PEXPIRETIME k
        EXPIRE nothing 9223372036854775807
        EXPIRE k 0
        EXISTS k
        SET k v
        EXPIRE k -1
        EXISTS k
        SET k v
        EXPIREAT k 1
        EXISTS k
        SET k v
        PEXPIREAT k -5
        EXISTS k
        SET k v
        PEXPIRE k -9223372036854775808
        EXISTS k
        EXPIRE k
        PEXPIREAT
    """,
    "times": f"""
        TTL nothing
        PTTL nothing
        EXPIRETIME nothing
        PEXPIRETIME nothing
        SET k v
        TTL k
        PTTL k
        EXPIRETIME k
        PEXPIRETIME k
        PEXPIREAT k {FAR_S}499
        EXPIRETIME k
        PEXPIREAT k {FAR_S}500
        EXPIRETIME k
        PEXPIRETIME k
        TTL
        TTL a b
    """,
    "object": """
        SET n 5
        SET big 10000
        SET neg -1
        SET s short
        SET l "long "*20
        HSET h f v
        OBJECT ENCODING n
        OBJECT ENCODING s
        OBJECT ENCODING h
        OBJECT ENCODING nothing
        OBJECT REFCOUNT n
        OBJECT REFCOUNT neg
        OBJECT REFCOUNT big
        OBJECT REFCOUNT s
        OBJECT REFCOUNT h
        OBJECT REFCOUNT nothing
        OBJECT IDLETIME nothing
        OBJECT FREQ nothing
        OBJECT FREQ s
        OBJECT
        OBJECT WHAT
        OBJECT ENCODING
        OBJECT ENCODING n s
    """,
    "scan arguments": """
        SCAN x
        SCAN 1x
        SCAN 99999999999999999999
        SCAN 0 COUNT
        SCAN 0 COUNT x
        SCAN 0 COUNT 0
        SCAN 0 COUNT -1
        SCAN 0 MATCH
        SCAN 0 WHAT 1
        SCAN 0
        SET k v
        SCAN 0
        SCAN 0 MATCH *
        SCAN 0 MATCH x
        SCAN 0 TYPE string
        SCAN 0 TYPE STRING
        SCAN 0 TYPE hash
        SCAN 0 count 5 match k type string
        KEYS
        RANDOMKEY x
        RANDOMKEY
    """,
    "swapdb": """
        SET a 0
        SELECT 1
        SET a 1
        SWAPDB 0 1
        GET a
        SELECT 0
        GET a
        SWAPDB 1 1
        SWAPDB x 1
        SWAPDB 1 x
        SWAPDB 16 1
        SWAPDB 1 -1
        SWAPDB 99999999999 1
        SWAPDB 1
    """,
    "restore arguments": """
        SET busy v
        RESTORE k x payload
        RESTORE k -1 payload
        RESTORE k 0 payload
        RESTORE k 0 ''
        RESTORE k 0 payload WHAT
        RESTORE k 0 payload FREQ
        RESTORE k 0 payload FREQ x
        RESTORE k 0 payload FREQ 256
        RESTORE k 0 payload IDLETIME -1
        RESTORE k 0 payload IDLETIME 1 FREQ 1
        RESTORE busy x payload
        RESTORE busy x payload REPLACE
        RESTORE busy 0 payload REPLACE
        RESTORE k 0
        DUMP nothing
        DUMP
    """,
}

VALKEY_OTHERWISE = {
    "OBJECT REFCOUNT n": Unlike("valkey", "Valkey shares no integers"),
}


@pytest.mark.real
@pytest.mark.parametrize("name", TABLES)
def test_table(judge: Judge, name: str) -> None:
    judge.check_all(TABLES[name], VALKEY_OTHERWISE if name == "object" else None)


@pytest.mark.real
def test_keys_patterns(judge: Judge) -> None:
    for key in ("a", "ab", "abc", "b", "[x]", "a*", "é", "a\nb"):
        judge.check("SET", key, 1)
    for pattern in ("*", "a*", "?", "[ab]", "[^a]", "\\[x\\]", "a\\*", "*b*", "", "[a-b]?", "nothing"):
        judge.check("KEYS", pattern, order=unordered)


@pytest.mark.real
def test_relative_times(judge: Judge) -> None:
    for command, amount in (("EXPIRE", 100), ("PEXPIRE", 100_000)):
        judge.check("SET", "k", "v")
        judge.check(command, "k", amount)
        judge.check("TTL", "k")
        judge.check("PTTL", "k", within=1500)
        judge.check("PEXPIRETIME", "k", within=1500)


@pytest.mark.real
def test_dump_is_equal(judge: Judge) -> None:
    """But for the version in the footer: ours is the lowest that can read it."""
    for command in ("SET k value", "SET k 12", "SET k -70000", "SET k ''", "HSET h f v g 12"):
        args = words(command)
        judge.check(*args)
        theirs, _ = judge.both("DUMP", args[1])
        judge.ours.node.config.set_many({"rdbcompression": "no"})
        _, ours = judge.both("DUMP", args[1])
        assert theirs.value[:-10] == ours.value[:-10], command


@pytest.mark.real
def test_restore(judge: Judge) -> None:
    for value in (b"text", 12, Hash({b"f": b"v"})):
        data = payload.dump(value)
        judge.check("DEL", "k")
        judge.check("RESTORE", "k", 0, data)
        judge.check("RESTORE", "k", 0, data)
        judge.check("RESTORE", "k", 1000, data, "REPLACE")
        judge.check("TTL", "k")
        judge.check("RESTORE", "k", FAR_S * 1000, data, "REPLACE", "ABSTTL")
        judge.check("PEXPIRETIME", "k")
        judge.check("RESTORE", "k", 0, data, "REPLACE", "IDLETIME", 50)
        judge.check("OBJECT", "IDLETIME", "k", within=1)
        judge.check("RESTORE", "k", 0, data, "REPLACE", "FREQ", 200)
        judge.check("RESTORE", "k", 5, data, "REPLACE", "ABSTTL")
        judge.check("EXISTS", "k")
        judge.check("RESTORE", "k", 5, data, "ABSTTL")
        judge.check("EXISTS", "k")
        judge.check("RESTORE", "k", 0, data[:-1] + bytes([data[-1] ^ 1]))


TOLD = f"""
    SET k v
    EXPIREAT k {FAR_S}
    PEXPIREAT k {FAR_S}123
    PEXPIREAT k {FAR_S}124 GT
    EXPIREAT k {FAR_S + 9} gt
    EXPIREAT k 1 GT
    PERSIST k
    PERSIST k
    EXPIRE k -1
    SET k v
    PEXPIREAT k 1
    SET k v
    RENAME k l
    RENAMENX l l
    RENAMENX l m
    COPY m n
    COPY m n
    COPY m n REPLACE
    COPY m m DB 1
    MOVE n 3
    MOVE n 3
    DEL x m
    DEL x
    SET m v
    UNLINK m x
    TOUCH m
    SWAPDB 0 1
    SWAPDB 1 1
    FLUSHDB
    FLUSHDB
    FLUSHALL SYNC
    FLUSHALL ASYNC
    FLUSHDB SYNC
"""


@pytest.mark.real
def test_what_replicas_are_told(redis70: ServerProcess) -> None:
    stream = Stream(redis70)
    told = Told(Harness())
    try:
        stream.of(b"FLUSHALL")
        for line in TOLD.splitlines():
            request = words(line)
            if request:
                told.redis.node.set_time(time.time_ns() // 1_000_000)
                assert told.of(*request) == stream.of(*request), line
        for value in (b"text", Hash({b"f": b"v"})):
            data = payload.dump(value)
            for tail in (
                [b"0", data],
                [b"0", data, b"REPLACE"],
                [b"%d000" % FAR_S, data, b"REPLACE", b"ABSTTL"],
                [b"5", data, b"REPLACE", b"ABSTTL"],
                [b"5", data, b"REPLACE", b"ABSTTL"],
            ):
                request = [b"RESTORE", b"r", *tail]
                assert told.of(*request) == stream.of(*request), request
    finally:
        stream.close()


@pytest.mark.real
def test_relative_deadlines_are_told_as_absolute_ones(redis70: ServerProcess) -> None:
    stream = Stream(redis70)
    told = Told(Harness())
    data = payload.dump(b"v")
    try:
        stream.of(b"FLUSHALL")
        for request in (
            [b"SET", b"k", b"v"],
            [b"EXPIRE", b"k", b"100"],
            [b"PEXPIRE", b"k", b"200000", b"GT"],
            [b"RESTORE", b"r", b"5000", data, b"FREQ", b"3"],
        ):
            told.redis.node.set_time(time.time_ns() // 1_000_000)
            ours, theirs = told.of(*request), stream.of(*request)
            assert len(ours) == len(theirs) == 1
            assert [_no_time(arg) for arg in ours[0]] == [_no_time(arg) for arg in theirs[0]]
    finally:
        stream.close()


def _no_time(arg: bytes) -> bytes:
    return b"<unix time>" if arg.isdigit() and len(arg) == 13 else arg


# Generated ------------------------------------------------------------------------------------------------------------

_STEPS = 200


def _request(rng: random.Random) -> list[object]:
    """A key command with arguments that mostly fit, on few keys, so that they meet."""
    keys = [rng.choice("abcd") for _ in range(3)]
    deadline = rng.choice((FAR_S - 3, FAR_S, FAR_S + 3, FAR_S, 1, -7, 2**63 - 1, "x"))
    options = rng.sample(["NX", "XX", "GT", "LT", "nx", "WHAT"], rng.choice((0, 0, 0, 1, 1, 2)))
    unit = 1000 if isinstance(deadline, int) and abs(deadline) < 2**40 else 1
    choices: list[list[object]] = [
        ["SET", keys[0], rng.choice((1, "text", "x" * 50))],
        ["HSET", keys[0], "f", rng.randrange(3)],
        ["APPEND", keys[0], "y"],
        ["EXPIREAT", keys[0], deadline, *options],
        ["PEXPIREAT", keys[0], deadline * unit if isinstance(deadline, int) else deadline, *options],
        ["EXPIREAT", keys[0], deadline, *options],
        ["PERSIST", keys[0]],
        ["PEXPIRETIME", keys[0]],
        ["EXPIRETIME", keys[0]],
        ["RENAME", keys[0], keys[1]],
        ["RENAMENX", keys[0], keys[1]],
        ["COPY", keys[0], keys[1], *rng.sample(["REPLACE", "DB", 0, 1], rng.randrange(4))],
        ["COPY", keys[0], keys[1], "REPLACE", "DB", rng.randrange(3)],
        ["MOVE", keys[0], rng.randrange(3)],
        ["SWAPDB", rng.randrange(3), rng.randrange(3)],
        ["SELECT", rng.randrange(3)],
        ["DEL", *keys],
        ["UNLINK", keys[0]],
        ["EXISTS", *keys],
        ["TOUCH", *keys],
        ["TYPE", keys[0]],
        ["OBJECT", "ENCODING", keys[0]],
        ["DBSIZE"],
        ["SCAN", 0, "COUNT", 100, "TYPE", "stream"],
    ]
    return rng.choice(choices)


@pytest.mark.real
def test_generated(judge: Judge) -> None:
    print(f"HASHSLOT_ORACLE_SEED={SEED}")
    rng = random.Random(SEED)
    judge.check("SELECT", 0)
    for _ in range(_STEPS):
        request = _request(rng)
        if request[:2] == ["OBJECT", "ENCODING"] and judge.kind == "valkey":
            continue  # Valkey embeds strings by the size of key and value together.
        judge.check(*request)
    for number in range(3):
        judge.check("SELECT", number)
        judge.same_state()
    judge.check("SELECT", 0)
