"""Commands for parts of strings and for strings as numbers against the real servers, case by case."""

from __future__ import annotations

import pytest

from tests.oracle.oracle import Judge

TABLES = {
    "append strlen": """
        STRLEN nothing
        APPEND k ''
        EXISTS k
        STRLEN k
        APPEND k abc
        APPEND k "\\x00\\xff"
        GET k
        STRLEN k
        SET n 10
        STRLEN n
        APPEND n 5
        GET n
        SET n -9223372036854775808
        STRLEN n
        SET t v EX 100
        APPEND t w
        HSET h f v
        APPEND h x
        STRLEN h
    """,
    "getrange": """
        SET k "This is a string"
        GETRANGE k 0 3
        GETRANGE k -3 -1
        GETRANGE k 0 -1
        GETRANGE k 10 100
        GETRANGE k 100 200
        GETRANGE k 5 4
        GETRANGE k -1 -5
        GETRANGE k -100 -90
        GETRANGE k -100 3
        GETRANGE k 3 -100
        GETRANGE k -16 -16
        GETRANGE k 9223372036854775807 9223372036854775807
        GETRANGE k -9223372036854775808 9223372036854775807
        GETRANGE k -9223372036854775808 -9223372036854775808
        GETRANGE k 0 9223372036854775808
        GETRANGE k a 1
        GETRANGE k 0 1.5
        GETRANGE nothing 0 -1
        GETRANGE nothing a b
        SUBSTR k 0 3
        SUBSTR k -4 -1
        SUBSTR k x 1
        SET n 12345
        GETRANGE n 1 2
        GETRANGE n -2 -1
        SET e ''
        GETRANGE e 0 -1
        APPEND k ing
        GETRANGE k -5 -1
        HSET h f v
        GETRANGE h 0 1
        GETRANGE h x 1
        SUBSTR h 0 1
    """,
    "setrange": """
        SETRANGE k 0 ''
        EXISTS k
        SETRANGE k 5 hello
        GET k
        SETRANGE k 0 HE
        SETRANGE k 9 long
        GET k
        SETRANGE k -1 x
        SETRANGE k a x
        SETRANGE k 536870912 x
        SETRANGE k 536870911 ''
        SETRANGE k 9223372036854775807 x
        SETRANGE k 9223372036854775808 x
        SETRANGE nothing 536870912 x
        SETRANGE nothing 536870912 ''
        SETRANGE k 4294967296 x
        SET n 12345
        SETRANGE n 1 00
        GET n
        INCR n
        HSET h f v
        SETRANGE h 0 x
        SETRANGE h 0 ''
        SETRANGE h -1 x
        SETRANGE h 536870912 x
        SET t v EX 100
        SETRANGE t 3 x
    """,
    "incr": """
        INCR n
        INCR n
        DECR n
        INCRBY n 100
        INCRBY n -200
        DECRBY n 5
        DECRBY n -5
        GET n
        INCRBY n 9223372036854775807
        INCRBY n 9223372036854775807
        SET n 9223372036854775807
        INCR n
        INCRBY n 1
        DECRBY n -1
        DECR n
        SET n -9223372036854775808
        DECR n
        INCRBY n -1
        DECRBY n 1
        DECRBY n -9223372036854775808
        INCRBY n -9223372036854775808
        INCRBY n 9223372036854775808
        INCRBY n 1.0
        INCRBY n ''
        INCRBY n " 1"
        INCRBY n +1
        INCRBY n 01
        INCRBY n -0
        INCRBY n 0
        SET s abc
        INCR s
        INCRBY s abc
        SET s " 11"
        INCR s
        SET s "11 "
        INCR s
        SET s 011
        INCR s
        SET s ''
        INCR s
        APPEND raw 1
        APPEND raw 2
        INCR raw
        APPEND raw2 9223372036854775807
        APPEND raw2 0
        INCR raw2
        HSET h f v
        INCR h
        DECRBY h x
        DECRBY h 5
        SET t 5 EX 100
        INCR t
        SET neg -1
        INCR neg
    """,
    "incrbyfloat": """
        INCRBYFLOAT k 1
        INCRBYFLOAT k 0.1
        INCRBYFLOAT k 0.2
        INCRBYFLOAT k -1.3
        INCRBYFLOAT k 3.0e3
        INCRBYFLOAT k 1e-20
        SET k 1
        INCRBYFLOAT k 0.000000000000000001
        SET k 3.0e3
        INCRBYFLOAT k 200
        SET k 10.50
        INCRBYFLOAT k 0.1
        INCRBYFLOAT k -5
        INCRBYFLOAT k 5.0e3
        SET k 0
        INCRBYFLOAT k -0
        INCRBYFLOAT k -1.5
        INCRBYFLOAT k 1.5
        INCRBYFLOAT k 1e300
        SET k 17179869184
        INCRBYFLOAT k 1.5
        SET k 9223372036854775807
        INCRBYFLOAT k 1
        INCRBYFLOAT k 0.5
        INCRBYFLOAT k abc
        INCRBYFLOAT k ''
        INCRBYFLOAT k " 1"
        INCRBYFLOAT k "1 "
        INCRBYFLOAT k inf
        INCRBYFLOAT k -inf
        INCRBYFLOAT k nan
        INCRBYFLOAT k 0x10
        INCRBYFLOAT k 1e4932
        INCRBYFLOAT k 1e5000
        SET s abc
        INCRBYFLOAT s 1
        INCRBYFLOAT s abc
        SET s " 1"
        INCRBYFLOAT s 1
        SET s "1 "
        INCRBYFLOAT s 1
        SET s inf
        INCRBYFLOAT s 1
        HSET h f v
        INCRBYFLOAT h 1
        INCRBYFLOAT h abc
        SET t 1 EX 100
        INCRBYFLOAT t 1.5
        APPEND r 1
        APPEND r .5
        INCRBYFLOAT r 1
    """,
    "lcs": """
        MSET a ohmytext b mynewtext
        LCS a b
        LCS a b LEN
        LCS a b IDX
        LCS a b IDX MINMATCHLEN 4
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
        LCS a b IDX WITHMATCHLEN
        LCS a b WITHMATCHLEN
        LCS a b MINMATCHLEN 3
        LCS a b LEN MINMATCHLEN 3 WITHMATCHLEN
        LCS a b IDX MINMATCHLEN -5
        LCS a b idx minmatchlen 0 withmatchlen
        LCS a b IDX LEN
        LCS a b LEN IDX BOGUS
        LCS a b MINMATCHLEN
        LCS a b MINMATCHLEN x
        LCS a b BOGUS
        LCS a nothing
        LCS a nothing LEN
        LCS nothing b IDX
        LCS nothing nothing
        LCS a a
        LCS a a IDX WITHMATCHLEN
        SET n 12345
        SET m 345
        LCS n m
        LCS n m IDX
        SET e ''
        LCS e a IDX
        LCS e e
        HSET h f v
        LCS h a
        LCS a h BOGUS
        MSET x "\\x00\\xff\\x00" y "\\xff\\x00\\x00"
        LCS x y
        LCS x y IDX WITHMATCHLEN
    """,
}


@pytest.mark.parametrize("name", TABLES)
def test_strings(judge: Judge, name: str) -> None:
    judge.check_all(TABLES[name])


def test_small_bulk_limit(judge: Judge) -> None:
    judge.begin(proto_max_bulk_len="1mb")
    judge.check_all(
        """
        SETRANGE k 1048575 x
        SETRANGE k 1048576 x
        APPEND k x
        APPEND k ''
        SETRANGE n 1048576 x
        APPEND n 12
        MSET a "x"*511 b "x"*511
        LCS a b LEN
        MSET a "x"*512 b "x"*512
        LCS a b LEN
        """
    )
