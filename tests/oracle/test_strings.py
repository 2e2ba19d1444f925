"""Commands for whole strings against the real servers, case by case. Each line of a table is one request."""

from __future__ import annotations

import time

import pytest

from tests.oracle.oracle import Judge, Unlike

LONG = "x" * 45

TABLES = {
    "get and set": """
        GET nothing
        SET k v
        GET k
        SET k ''
        GET k
        SET k "with \\r\\n and \\x00 and \\xff"
        GET k
        SET k 12
        GET k
        SET k -9223372036854775808
        GET k
        SET k 9223372036854775808     # one too many for an integer
        GET k
        SET k 007
        GET k
        SET k -0
        GET k
        SET k +1
        SET k 1.5
        SET k " 1"
        SET k x
        set K V
        Get K
    """,
    "encodings": f"""
        SET a 1
        SET b {"x" * 44}
        SET c {LONG}
        SET d 12345678901234567890
        SET e -1
        SET f ''
        SET g 00
        SET h 9223372036854775807
        APPEND i 12
        APPEND j short
        APPEND k {LONG}
        SET l ab
        APPEND l c
        SET m 1
        APPEND m 2
        INCR m
        SET n ab
        APPEND n ''
        SETRANGE o 0 ab
        SETRANGE o 0 ''
        SET p ab
        SETRANGE p 0 ''
        SETRANGE q 0 ''
        SET r 12
        SETRANGE r 0 9
        INCRBYFLOAT s 3
        INCRBYFLOAT s 0.5
        INCRBYFLOAT s 0.5
        INCR s
        GETSET t 5
        GETSET t abc
        MSET u 1 v {LONG} w ab
        SETEX x 100 7
        SETNX y 8
        GETEX y
    """,
    "set conditions": """
        SET k v XX
        SET k v NX
        SET k w NX
        SET k w XX
        SET k w NX NX
        SET k w XX XX
        SET k w NX XX
        SET k w XX NX
        SET k x nx
        SET k x xx
        SET k w BOGUS
        SET k w ''
        SET k w NX EX
        SET k w EX 10 NX
        SET k w XX PX 100000
    """,
    "set get": """
        SET k v GET
        SET k w GET
        SET k x GET GET
        SET k x XX GET
        SET k y GET NX
        SET n y NX GET
        SET n z GET XX KEEPTTL
        SET m y XX GET
        SET n 5 GET EX 1000
        SET n 6 GET
        HSET h f v
        SET h v GET
        SET h v NX GET
        SET h v GET EX 0
        SET h v
        GET h
    """,
    "set expiry": """
        SET k v EX 100
        SET k v EX 100 EX 200
        SET k v PX 100 PX 300000
        SET k v EX 10 PX 20
        SET k v EX 10 EXAT 20
        SET k v PXAT 99999999999999
        SET k v EXAT 99999999999
        SET k v EXAT 99999999999 PXAT 99999999999999
        SET k w KEEPTTL
        SET k w KEEPTTL EX 10
        SET k w EX 10 KEEPTTL
        SET k w KEEPTTL KEEPTTL
        SET k w PERSIST
        SET k w EX
        SET k w EX 0
        SET k w EX -1
        SET k w EX abc
        SET k w EX 1.5
        SET k w EX 9223372036854775807
        SET k w EX 9223372036854775
        SET k w EX 9223372036854776
        SET k w PX 9223372036854775807
        SET k w PX 9223372036854775800
        SET k w EXAT 9223372036854775
        SET k w PXAT 9223372036854775807
        SET k w PX 0
        SET k w PXAT 0
        SET k w EXAT -5
        SET k w EX 10 NX XX
        SET k w EX abc BOGUS
        SET k w
        SETEX k 100 v
        SETEX k 0 v
        SETEX k -1 v
        SETEX k abc v
        SETEX k 9223372036854775807 v
        PSETEX k 100000 v
        PSETEX k 0 v
        PSETEX k 9223372036854775807 v
        PSETEX k '' v
        HSET h f v
        SETEX h 100 v
        SETNX h v
        SETNX new v
        SETNX new w
    """,
    "already past": """
        SET k v EXAT 1
        EXISTS k
        GET k
        SET k v
        SET k w PXAT 1
        GET k
        SET k v
        GETEX k EXAT 1
        EXISTS k
        SET k v
        GETEX k PXAT 1000
        GET k
    """,
    "getex": """
        GETEX nothing
        GETEX nothing EX 0
        GETEX nothing EX abc
        GETEX nothing BOGUS
        SET k v
        GETEX k
        GETEX k EX 100
        GETEX k PX 100000
        GETEX k EXAT 99999999999
        GETEX k PXAT 99999999999999
        GETEX k EX 5 EX 100
        GETEX k EX 5 PX 100
        GETEX k EX
        GETEX k EX 0
        GETEX k EX -1
        GETEX k EX abc
        GETEX k PERSIST EX 10
        GETEX k EX 10 PERSIST
        GETEX k KEEPTTL
        GETEX k NX
        GETEX k GET
        GETEX k PERSIST PERSIST
        GETEX k persist
        GETEX k PX 9223372036854775807
        GETEX k EX 9223372036854775807
        HSET h f v
        GETEX h
        GETEX h EX 0
        GETEX h BOGUS
        SET n 5
        GETEX n EX 1000
    """,
    "getdel getset": """
        GETDEL nothing
        SET k 5
        GETDEL k
        GETDEL k
        HSET h f v
        GETDEL h
        GETSET h v
        GETSET k v
        GETSET k 12
        GETSET k ''
        SET t v EX 100
        GETSET t w
    """,
    "mget mset": """
        MGET nothing
        MSET a 1 b two
        MGET a b nothing a
        HSET h f v
        MGET a h b
        MSET a 1 b
        MSET a
        MSET h now a 5 a 6
        MGET h a
        MSETNX c 1 d 2
        MSETNX d 3 e 4
        EXISTS e
        MSETNX x 1 x 2
        GET x
        MSETNX a
        MSETNX a 1 b
        SET t v EX 100
        MSET t w
        MSET "" empty
        MGET ""
    """,
    "arity": """
        GET
        GET a b
        SET
        SET a
        APPEND a
        APPEND a b c
        DECR
        DECRBY a
        GETDEL
        GETEX
        GETRANGE a 1
        GETSET a
        INCR
        INCR a b
        INCRBY a
        INCRBYFLOAT a
        LCS a
        MGET
        MSET
        MSETNX
        PSETEX a 1
        SETEX a 1
        SETNX a
        SETRANGE a 1
        STRLEN
        STRLEN a b
        SUBSTR a 1
    """,
}


_CHECKED_EARLY = "Valkey 9 looks at the expiry before the key, Redis up to 7.2 after it"
UNLIKE = {
    "GETEX nothing EX 0": Unlike("valkey", _CHECKED_EARLY),
    "GETEX nothing EX abc": Unlike("valkey", _CHECKED_EARLY),
    "GETEX h EX 0": Unlike("valkey", _CHECKED_EARLY),
}


@pytest.mark.parametrize("name", TABLES)
def test_strings(judge: Judge, name: str) -> None:
    judge.check_all(TABLES[name], UNLIKE)


def test_expiry_passes(judge: Judge) -> None:
    for args in (("SET", "a", "v", "PX", 1), ("PSETEX", "b", 1, "v"), ("SET", "d", 5, "PX", 1)):
        judge.check(*args)
    judge.check("SET", "c", "v")
    judge.check("GETEX", "c", "PX", 1)
    time.sleep(0.003)
    judge.check_all(
        """
        GET a
        STRLEN b
        GETEX c PERSIST
        SET a x XX
        SET b x NX GET
        INCR d
        """
    )
