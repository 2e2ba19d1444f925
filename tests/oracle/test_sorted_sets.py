"""Sorted set commands against the real servers, member by member: each line of a table is one request."""

from __future__ import annotations

import pytest

from tests.oracle.oracle import Judge, Unlike, unordered
from tests.oracle.scores import check, check_all
from tests.oracle.wire import Tree

TABLES = {
    "zadd": """
        ZADD z 1 a
        ZADD z 1 a
        ZADD z 2 a
        ZADD z 3 b 4 c 1 d 3 aa
        ZADD z 3 b 5 b 6 b
        ZRANGE z 0 -1 WITHSCORES
        ZADD z NX 9 a 9 e
        ZADD z XX 8 a 8 nothing
        ZADD z CH 7 a 7 f
        ZADD z XX CH 6 a 6 nothing
        ZADD z GT 5 a 100 b
        ZADD z LT 200 b 1 f
        ZADD z GT CH 7 a 1 new
        ZADD z LT CH 7 a 1 new2
        ZADD z GT XX CH 70 a 1 nothing
        ZADD z INCR 5 a
        ZADD z INCR 5 fresh
        ZADD z NX INCR 5 a
        ZADD z XX INCR 5 nothing
        ZADD z GT INCR -5 a
        ZADD z LT INCR 5 a
        ZADD z LT INCR -5 a
        ZADD z gt incr 5 a
        ZADD z nx ch 1 q
        ZADD z INCR 0 a
        ZADD z CH CH 3 a
        ZRANGE z 0 -1 WITHSCORES
        ZADD z 1.5 dec -2.25 neg 1e3 exp .5 point 5. dot
        ZADD z inf pinf -inf ninf +inf pinf2 Infinity i2 -INFINITY i3
        ZRANGE z 0 -1 WITHSCORES
        ZADD z NX XX 1 a
        ZADD z NX GT 1 a
        ZADD z NX LT 1 a
        ZADD z GT LT 1 a
        ZADD z INCR 1 a 2 b
        ZADD z INCR
        ZADD z NX 1
        ZADD z CH x
        ZADD z CH NX GT
        ZADD z NX 1 a 2
        ZADD z 1 a 2
        ZADD z x a
        ZADD z 1 a x b
        ZADD z NX a
        ZADD z '' a
        ZADD z " 1" a
        ZADD z "1 " a
        ZADD z 1_0 a
        ZADD z nan a
        ZADD z -nan a
        ZADD z 1e400 a
        ZADD z 1e-400 a
        ZADD z 1x a
        ZADD z -- a
        ZADD z 1-1 a
        ZADD z . a
        ZADD z - a
        ZADD z INCR nan a
        ZADD z INCR inf pinf
        ZADD z INCR -inf pinf
        ZADD nothing XX 1 a
        ZADD nothing XX INCR 1 a
        EXISTS nothing
        ZADD new x a
        EXISTS new
        ZADD '' 1 ''
        ZADD bin 1 "\\x00" 1 "\\xff" 1 "a\\x00b" 1 a 0 "\\x00\\x00"
        ZRANGE bin 0 -1
        ZADD bin 2 "\\x00"
        ZREM bin "a\\x00b"
        ZRANGE bin 0 -1 WITHSCORES
        zadd z 1 lower
    """,
    "texts that C reads": """
        ZADD z 0x10 hex
        ZADD z 0x1p-3 fraction
        ZADD z +7 plus
        ZADD z +inf more
        ZINCRBY z +1 a
        ZRANGE z 0 -1 WITHSCORES
    """,
    "zero": """
        ZADD z -0 a
        ZSCORE z a
        ZADD z 0 a
        ZADD z 1 b
        ZADD z -0.0 b
        ZRANGE z 0 -1 WITHSCORES
        ZADD big -0 "y"*65
        ZSCORE big "y"*65
        ZADD big -0 a
        ZSCORE big a
        ZADD big CH 0 a
        ZINCRBY big 0 a
        ZADD big -1 c
        ZINCRBY big 1 c
        ZRANGE big 0 -1 WITHSCORES
        ZUNIONSTORE u 1 big
        ZUNIONSTORE v 1 z WEIGHTS -1
        ZRANGE v 0 -1 WITHSCORES
        ZRANGESTORE r big 0 0
        ZRANGE r 0 -1 WITHSCORES
    """,
    "big numbers": """
        ZADD z 9007199254740993 a 4611686018427387904 b 9223372036854775807 c 1e20 d 1e21 e 123456789012345678901 f
        ZADD z -9007199254740993 g 1e15 h 1e16 i 1e17 j 1e18 k 9e18 l 9e19 m 4611686018427387905 n
        ZRANGE z 0 -1 WITHSCORES
        ZMSCORE z a b c d e f g h i j k l m n
        ZADD s 1e20 "x"*70 9007199254740993 b 9e18 c 4611686018427387904 d 4611686018427387903 e
        ZRANGE s 0 -1 WITHSCORES
        ZADD f 3.0517578125e-05 a 1.5e300 b 1e-300 c 0.0001220703125 d 1e-7 e 0.125 f 123456.0625 g
        ZRANGE f 0 -1 WITHSCORES
    """,
    "zincrby": """
        ZINCRBY z 1 a
        ZINCRBY z 1.5 a
        ZINCRBY z -10 a
        ZINCRBY z 0 a
        ZINCRBY z inf i
        ZINCRBY z inf i
        ZINCRBY z -inf i
        ZINCRBY z x a
        ZINCRBY z nan a
        ZINCRBY z '' a
        ZINCRBY z NX a
        ZINCRBY z INCR a
        ZINCRBY new x a
        EXISTS new
        ZINCRBY z 1e308 h
        ZINCRBY z 1e308 h
        ZSCORE z a
    """,
    "look": """
        ZADD z 1 a 2 b 2 c 3 d
        ZCARD z
        ZCARD nothing
        ZSCORE z a
        ZSCORE z x
        ZSCORE nothing x
        ZMSCORE z a x d
        ZMSCORE nothing a b
        ZRANK z a
        ZRANK z d
        ZRANK z x
        ZRANK nothing a
        ZREVRANK z a
        ZREVRANK z d
        ZREVRANK z x
        ZREVRANK nothing a
        ZRANK z a WITHSCORE
        ZREVRANK z c withscore
        ZRANK z x WITHSCORE
        ZREVRANK nothing x WITHSCORE
        ZRANK z a BOGUS
        ZRANK z a b c
        ZRANK z ''
        ZSCORE z ''
    """,
    "zrem": """
        ZADD z 1 a 2 b 3 c 4 d
        ZREM z a
        ZREM z a
        ZREM z x b y b
        ZREM nothing a
        ZRANGE z 0 -1
        ZREM z ''
        ZREM z c d
        EXISTS z
        ZADD t 1 a
        EXPIRE t 100
        ZADD t 2 b
        ZREM t a b
        ZADD t 1 a
    """,
    "zpop": """
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h
        ZPOPMIN z
        ZPOPMAX z
        ZPOPMIN z 2
        ZPOPMAX z 2
        ZPOPMIN z 0
        ZPOPMAX z -1
        ZPOPMIN z x
        ZPOPMIN z ''
        ZPOPMIN z 1 2
        ZPOPMIN z 9223372036854775807
        EXISTS z
        ZPOPMIN z
        ZPOPMAX z 5
        ZPOPMIN z x
        ZADD one 1.5 a
        ZPOPMAX one 1
        EXISTS one
    """,
    "zmpop": """
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f
        ZADD y 1 q 2 r
        ZMPOP 1 z MIN
        ZMPOP 1 z MAX
        ZMPOP 2 nothing z MIN COUNT 2
        ZMPOP 3 nothing y z max count 5
        ZMPOP 2 y z MAX COUNT 9223372036854775807
        ZMPOP 2 y z MIN
        EXISTS y z
        ZMPOP 0 z MIN
        ZMPOP -1 z MIN
        ZMPOP x z MIN
        ZMPOP 2 z MIN
        ZMPOP 1 z MID
        ZMPOP 1 z MIN COUNT
        ZMPOP 1 z MIN COUNT 0
        ZMPOP 1 z MIN COUNT -1
        ZMPOP 1 z MIN COUNT x
        ZMPOP 1 z MIN COUNT 1 COUNT 1
        ZMPOP 1 z MIN BOGUS 1
        ZMPOP 1 z
        ZMPOP 99999999999999999999 z MIN
        ZMPOP 9223372036854775807 z MIN
        SET s v
        ZMPOP 2 nothing s MIN
        ZMPOP 2 s z MIN
    """,
    "wrong type": """
        SET s v
        ZADD s 1 a
        ZADD s x a
        ZADD s XX 1 a
        ZCARD s
        ZCOUNT s 1 2
        ZCOUNT s x 2
        ZINCRBY s 1 a
        ZLEXCOUNT s - +
        ZMPOP 1 s MIN
        ZMSCORE s a
        ZPOPMAX s
        ZPOPMIN s 0
        ZPOPMIN s x
        ZRANDMEMBER s
        ZRANDMEMBER s 1
        ZRANDMEMBER s 0
        ZRANDMEMBER s x
        ZRANDMEMBER s 1 BOGUS
        ZRANGE s 0 1
        ZRANGE s x 1
        ZRANGEBYLEX s - +
        ZRANGEBYSCORE s 1 2
        ZRANK s a
        ZRANK s a BOGUS
        ZREM s a
        ZREMRANGEBYLEX s - +
        ZREMRANGEBYRANK s 0 1
        ZREMRANGEBYRANK s x 1
        ZREMRANGEBYSCORE s 0 1
        ZREVRANGE s 0 1
        ZREVRANK s a
        ZSCAN s 0
        ZSCAN s x
        ZSCORE s a
        ZADD z 1 a
        GET z
        HGET z a
        LPUSH z a
        SADD z a
    """,
    "arity": """
        ZADD z
        ZADD z 1
        ZCARD
        ZCARD a b
        ZCOUNT z 1
        ZDIFF 1
        ZDIFFSTORE d 1
        ZINCRBY z 1
        ZINTER 1
        ZINTERCARD 1
        ZINTERSTORE d 1
        ZLEXCOUNT z -
        ZMPOP 1 z
        ZMSCORE z
        ZPOPMAX
        ZPOPMIN
        ZRANDMEMBER
        ZRANGE z 0
        ZRANGEBYLEX z -
        ZRANGEBYSCORE z 1
        ZRANGESTORE d z 0
        ZRANK z
        ZREM z
        ZREMRANGEBYLEX z -
        ZREMRANGEBYRANK z 0
        ZREMRANGEBYSCORE z 0
        ZREVRANGE z 0
        ZREVRANGEBYLEX z +
        ZREVRANGEBYSCORE z 1
        ZREVRANK z
        ZSCAN z
        ZSCORE z
        ZSCORE z a b
        ZUNION 1
        ZUNIONSTORE d 1
    """,
    "zrandmember": """
        ZRANDMEMBER nothing
        ZRANDMEMBER nothing 5
        ZRANDMEMBER nothing -5
        ZRANDMEMBER nothing 5 WITHSCORES
        ZADD z 1 a
        ZRANDMEMBER z
        ZRANDMEMBER z 0
        ZRANDMEMBER z 1
        ZRANDMEMBER z -3
        ZRANDMEMBER z 0 WITHSCORES
        ZRANDMEMBER z -3 withscores
        ZADD z 2 b 3 c
        ZRANDMEMBER z 3
        ZRANDMEMBER z 10 WITHSCORES
        ZRANDMEMBER z 9223372036854775807
        ZRANDMEMBER z x
        ZRANDMEMBER z ''
        ZRANDMEMBER z -9223372036854775808
        ZRANDMEMBER z -9223372036854775808 WITHSCORES
        ZRANDMEMBER z 9223372036854775808
        ZRANDMEMBER z -9223372036854775807 WITHSCORES
        ZRANDMEMBER z 4611686018427387904 WITHSCORES
        ZRANDMEMBER z 4611686018427387903 WITHSCORES
        ZRANDMEMBER z 1 BOGUS
        ZRANDMEMBER z 1 WITHSCORES x
        ZRANDMEMBER z x BOGUS
    """,
    "zscan": """
        ZSCAN nothing 0
        ZSCAN nothing 0 BOGUS
        ZSCAN nothing x
        ZADD z 1 a 2.5 b 3 c 4 aa 5 '' inf i 1e20 big
        ZSCAN z 0
        ZSCAN z 0 COUNT 1
        ZSCAN z 5
        ZSCAN z x
        ZSCAN z 0 MATCH a*
        ZSCAN z 0 MATCH *
        ZSCAN z 0 MATCH ''
        ZSCAN z 0 COUNT 0
        ZSCAN z 0 COUNT x
        ZSCAN z 0 COUNT
        ZSCAN z 0 BOGUS
        ZADD one 0.5 "x"*65
        ZSCAN one 0
        ZADD t 0.1 "x"*65
        ZSCAN t 0
        ZADD u 1e20 "x"*65
        ZSCAN u 0
        ZADD v -1.5e300 "x"*65
        ZSCAN v 0
        ZADD w 123456789 "x"*65
        ZSCAN w 0
    """,
    "encodings": """
        ZADD short 1 "x"*64
        ZADD long 1 "x"*65
        ZREM long "x"*65
        ZADD long 1 a
        ZADD shrunk 1 "x"*65 2 b
        ZREM shrunk "x"*65
        ZADD second 1 a 2 "x"*65
        ZINCRBY incr 1 "x"*65
        ZUNIONSTORE u 1 shrunk
        ZUNIONSTORE w 1 long
        ZRANGESTORE r shrunk 0 -1
        ZADD ints 127 127 128 128 -1 -1 4095 4095 -4097 -4097 65536 65536 1.5 1.5 9007199254740993 9007199254740993
        ZADD pop 1 "x"*65 2 a
        ZPOPMIN pop
        COPY shrunk copied
        RENAME copied renamed
        ZRANGE renamed 0 -1
    """,
}

_NEWER = "WITHSCORE is of 7.2"
UNLIKE = {
    line: Unlike("redis", _NEWER)
    for line in (
        "ZRANK z a WITHSCORE",
        "ZREVRANK z c withscore",
        "ZRANK z x WITHSCORE",
        "ZREVRANK nothing x WITHSCORE",
        "ZRANK z a BOGUS",
        "ZRANK s a BOGUS",
    )
}


@pytest.mark.parametrize("name", TABLES)
def test_sorted_sets(judge: Judge, name: str) -> None:
    if name == "texts that C reads" and judge.kind == "valkey":
        pytest.skip("Valkey 9 reads doubles in a way of its own")
    check_all(judge, TABLES[name], UNLIKE)


@pytest.mark.parametrize("name", ["zpop", "look", "zrem", "zincrby"])
def test_skiplists_answer_alike(judge: Judge, name: str) -> None:
    judge.begin(zset_max_listpack_entries="0")
    check_all(judge, TABLES[name], UNLIKE)


def test_listpack_ends_at_the_number_of_entries(judge: Judge) -> None:
    judge.begin(zset_max_listpack_entries="4")
    table = """
        ZADD z 1 a 2 b 3 c
        ZADD z 4 d
        ZADD y 1 a 2 b 3 c 4 d
        ZADD y 5 a
        ZINCRBY y 5 e
        ZREM y a b c
        ZUNIONSTORE u 1 y
        ZUNIONSTORE v 2 y z
        ZUNIONSTORE w 2 z nothing
        ZRANGESTORE r v 0 3
        ZRANGESTORE q v 0 -1
        ZADD i XX 1 a
        ZADD h 1 a
        ZADD h NX 1 a 2 a 3 a 4 a
        GEOADD g 1 1 a 2 2 b 3 3 c 4 4 d
        GEOADD g 5 5 e
        GEOSEARCHSTORE gs g FROMLONLAT 1 1 BYRADIUS 10000 km
    """
    check_all(judge, table, {})
    if judge.kind == "valkey":  # 7.0 counts the members afterwards, 7.2 and Valkey the pairs before
        check_all(judge, "ZADD k 1 a 2 a 3 a 4 a 5 a\nZADD h XX 1 a 2 a 3 a 4 a 5 a", {})


def test_listpack_ends_at_the_length_of_a_member(judge: Judge) -> None:
    judge.begin(zset_max_listpack_value="5")
    table = """
        ZADD z 1 abcde
        ZADD z 1 abcdef
        ZADD y 1 abcdef
        ZADD x 1 a 2 abcdef
        ZREM x abcdef
        ZUNIONSTORE u 1 x
        ZUNIONSTORE v 1 y
        ZINCRBY i 123456.5 a
    """
    check_all(judge, table, {})


@pytest.mark.parametrize("size", [127, 128, 129, 700, 3000])
def test_sizes(judge: Judge, size: int) -> None:
    """Around the limit of listpacks, and with several blocks: every kind of range, then shrinking again."""
    pairs = [text for at in range(size) for text in ((at * 37 % 101) / 4, f"m{at * 7919 % size}")]
    judge.check("ZADD", "z", *pairs)
    judge.same_state()
    for request in (
        ("ZRANGE", "z", 0, -1, "WITHSCORES"),
        ("ZRANGE", "z", size // 3, size // 3 + 40),
        ("ZRANGE", "z", 10, size - 10, "REV"),
        ("ZRANGEBYSCORE", "z", 5, "(12.5", "WITHSCORES"),
        ("ZREVRANGEBYSCORE", "z", "(20", 3.25, "LIMIT", 5, 50),
        ("ZCOUNT", "z", "(5", 21),
        ("ZRANK", "z", "m5"),
        ("ZREVRANK", "z", "m77"),
        ("ZREMRANGEBYSCORE", "z", 3, "(4"),
        ("ZRANK", "z", "m5"),
        ("ZREMRANGEBYRANK", "z", 7, size // 2),
        ("ZRANGE", "z", 0, -1, "WITHSCORES"),
        ("ZPOPMIN", "z", 13),
        ("ZPOPMAX", "z", 11),
        ("ZRANGE", "z", 0, -1),
        ("ZREM", "z", *[f"m{at}" for at in range(0, size, 3)]),
        ("ZRANGE", "z", 0, -1, "WITHSCORES"),
        ("ZCARD", "z"),
        ("DEBUG", "DIGEST-VALUE", "z"),
    ):
        judge.ours.node.config.load("enable-debug-command", ["yes"])
        check(judge, *request)
    judge.same_state()


def test_digests(judge: Judge) -> None:
    judge.begin(zset_max_listpack_entries="3")
    judge.ours.node.config.load("enable-debug-command", ["yes"])
    judge.check("ZADD", "small", 1, "a", "inf", "b", "-2.5", "c")
    judge.check("ZADD", "big", 1, "a", "-inf", "b", "-2.5", "c", 100, "d", 123456.75, "e")
    judge.check("DEBUG", "DIGEST-VALUE", "small", "big")
    judge.check("PEXPIREAT", "small", 99999999999999)
    judge.check("DEBUG", "DIGEST-VALUE", "small", "big")
    judge.check("DEBUG", "DIGEST")
    if judge.kind == "valkey":
        judge.check("ZADD", "digits", 0.1, "a", 1e300, "b", 123456789012345680, "c", 1e21, "d", 952.19144, "e")
        judge.check("DEBUG", "DIGEST-VALUE", "digits")


@pytest.mark.parametrize("size", [3, 100, 600, 5000])
def test_zscan_returns_the_whole_set(judge: Judge, size: int) -> None:
    judge.check("ZADD", "z", *[text for at in range(size) for text in (at / 8, f"member:{at}")])
    for options in ((), ("COUNT", 100), ("MATCH", "member:?*")):
        found: list[set[tuple[bytes, bytes]]] = []
        for side in (0, 1):
            cursor, pairs = b"0", set()
            while True:
                reply = judge.both("ZSCAN", "z", cursor, *options)[side]
                cursor = reply.value[0].value
                texts = [item.value for item in reply.value[1].value]
                pairs |= set(zip(texts[::2], texts[1::2], strict=True))
                if cursor == b"0":
                    break
            found.append(pairs)
        assert found[0] == found[1]
        assert len(found[1]) == size


@pytest.mark.parametrize("size", [3, 100, 600])
def test_zrandmember_draws_as_they_do(judge: Judge, size: int) -> None:
    judge.check("ZADD", "z", *[text for at in range(size) for text in (at, f"m{at}")])
    for args in ((size,), (size + 1,), (size, "WITHSCORES"), (size + 1, "WITHSCORES")):
        judge.check("ZRANDMEMBER", "z", *args, order=unordered)
    for count in (1, 2, size // 2, -1, -5, -2 * size):
        for extra in ((), ("WITHSCORES",)):
            theirs, ours = judge.both("ZRANDMEMBER", "z", count, *extra)
            assert [item.kind for item in theirs.value] == [item.kind for item in ours.value]
            if extra and judge.protocol == 3:
                drawn = [pair.value[0].value for pair in ours.value]
                assert all(pair.value[1] == Tree(",", pair.value[0].value[1:]) for pair in ours.value)
            else:
                drawn = [item.value for item in ours.value][:: 2 if extra else 1]
            assert len(drawn) == abs(count)
            assert count < 0 or len(set(drawn)) == count


@pytest.mark.parametrize("size", [1, 5, 128, 129, 1500])
def test_payloads_are_taken_there(judge: Judge, size: int) -> None:
    """Our DUMP restored by the real server: the same data in the same encoding."""
    judge.ours.node.config.load("enable-debug-command", ["yes"])
    judge.check("ZADD", "z", *[text for at in range(size) for text in (at / 4 - 50, f"member:{at}")])
    judge.check("ZADD", "ends", "inf", "a", "-inf", "b", 1, "x" * (1 + size % 70))
    for name in (b"z", b"ends"):
        ours = judge.ours.run("DUMP", name)
        assert isinstance(ours, bytes)
        there = [b"RESTORE", b"copy:" + name, b"0", ours]
        assert judge._real(*there) == Tree("+", b"OK")
        assert judge._real(b"DEBUG", b"DIGEST-VALUE", name) == judge._real(b"DEBUG", b"DIGEST-VALUE", b"copy:" + name)
        assert judge._real(b"OBJECT", b"ENCODING", name) == judge._real(b"OBJECT", b"ENCODING", b"copy:" + name)
        theirs = judge._real(b"DUMP", b"copy:" + name).value
        assert judge.ours.run("RESTORE", b"copy:" + name, 0, theirs) == "OK"
    judge.same_state()
