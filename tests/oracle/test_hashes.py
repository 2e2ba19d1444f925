"""Hash commands against the real servers, case by case. Each line of a table is one request."""

from __future__ import annotations

import pytest

from node.types import encoding_of
from tests.oracle.oracle import Judge, Unlike, unordered_pairs
from tests.oracle.wire import Tree

TABLES = {
    "set and get": """
        HGET h f
        HSET h f v
        HSET h f w
        HSET h a 1 b 2 a 3
        HGET h f
        HGET h nothing
        HMGET h a nothing b a
        HMGET nothing a b
        HGETALL h
        HGETALL nothing
        HKEYS h
        HKEYS nothing
        HVALS h
        HVALS nothing
        HLEN h
        HLEN nothing
        HEXISTS h a
        HEXISTS h nothing
        HEXISTS nothing a
        HSTRLEN h f
        HSTRLEN h nothing
        HSTRLEN nothing f
        HSET h '' '' "\\x00\\xff" "\\r\\n" n -5
        HGET h ''
        HSTRLEN h n
        HMGET h '' "\\x00\\xff"
        HMSET h a x c y
        HMSET new a 1
        HSETNX h a z
        HSETNX h d 4
        HSETNX other d 4
        HGETALL h
        HSET h a 007 b -0 c 9223372036854775808 d 4294967296 e 65536 f -129
        hset h A 1
    """,
    "delete": """
        HDEL nothing a
        HSET h a 1 b 2 c 3
        HDEL h b nothing
        HKEYS h
        HSET h b 4
        HKEYS h
        HDEL h a a b
        HLEN h
        HDEL h c
        EXISTS h
        HSET t a 1
        EXPIRE t 100
        HSET t b 2
        HDEL t a b
        HSET t a 1
    """,
    "wrong type": """
        SET s v
        HSET s a 1
        HSET s a 1 b
        HMSET s a 1
        HSETNX s a 1
        HGET s a
        HMGET s a
        HGETALL s
        HKEYS s
        HVALS s
        HLEN s
        HEXISTS s a
        HSTRLEN s a
        HDEL s a
        HINCRBY s a 1
        HINCRBY s a x
        HINCRBYFLOAT s a 1
        HINCRBYFLOAT s a x
        HRANDFIELD s
        HRANDFIELD s 1
        HRANDFIELD s 0
        HRANDFIELD s x
        HRANDFIELD s 1 BOGUS
        HSCAN s 0
        HSCAN s x
        HSCAN s 0 BOGUS
        HSCAN s 0 COUNT 0
    """,
    "arity": """
        HDEL h
        HEXISTS h
        HEXISTS h a b
        HGET h
        HGETALL
        HGETALL h a
        HINCRBY h a
        HINCRBYFLOAT h a
        HKEYS
        HLEN
        HMGET h
        HMSET h a
        HMSET h a 1 b
        HRANDFIELD
        HSCAN h
        HSET h
        HSET h a
        HSET h a 1 b
        HSET h a 1 b 2 c
        HSETNX h a
        HSETNX h a 1 b
        HSTRLEN h
        HVALS
    """,
    "hincrby": """
        HINCRBY h a 5
        HINCRBY h a -7
        HINCRBY h a 0
        HINCRBY h a 9223372036854775807
        HINCRBY h a 9223372036854775807
        HINCRBY h b 9223372036854775807
        HINCRBY h b 1
        HINCRBY h c -9223372036854775808
        HINCRBY h c -1
        HINCRBY h a x
        HINCRBY h a ''
        HINCRBY h a 1.5
        HINCRBY h a 9223372036854775808
        HINCRBY new a x
        EXISTS new
        HSET h s abc e '' sp " 1" z 01 f 1.5 nz -0
        HINCRBY h s 1
        HINCRBY h e 1
        HINCRBY h sp 1
        HINCRBY h z 1
        HINCRBY h f 1
        HINCRBY h nz 1
        HGETALL h
    """,
    "hincrbyfloat": """
        HINCRBYFLOAT h a 1
        HINCRBYFLOAT h a 0.1
        HINCRBYFLOAT h a 0.2
        HINCRBYFLOAT h a 3.0e3
        HINCRBYFLOAT h a -3001.3
        HINCRBYFLOAT h b -0
        HINCRBYFLOAT huge c 1e300
        HINCRBYFLOAT h a 0x10
        HINCRBYFLOAT h a x
        HINCRBYFLOAT h a ''
        HINCRBYFLOAT h a " 1"
        HINCRBYFLOAT h a inf
        HINCRBYFLOAT h a -inf
        HINCRBYFLOAT h a nan
        HINCRBYFLOAT new a x
        HINCRBYFLOAT new a inf
        EXISTS new
        HSET h s abc e '' sp " 1" z 01 big 1e4900 i inf
        HINCRBYFLOAT h s 1
        HINCRBYFLOAT h e 1
        HINCRBYFLOAT h sp 1
        HINCRBYFLOAT h z 1
        HINCRBYFLOAT h i 1
        HINCRBY h n 9223372036854775807
        HINCRBYFLOAT h n 0.5
        HGETALL h
    """,
    "hrandfield": """
        HRANDFIELD nothing
        HRANDFIELD nothing 5
        HRANDFIELD nothing -5
        HRANDFIELD nothing 5 WITHVALUES
        HSET h a 1
        HRANDFIELD h
        HRANDFIELD h 0
        HRANDFIELD h 1
        HRANDFIELD h 5
        HRANDFIELD h -3
        HRANDFIELD h 0 WITHVALUES
        HRANDFIELD h 5 WITHVALUES
        HRANDFIELD h -3 withvalues
        HRANDFIELD h -1 WITHVALUES
        HSET h b 2 c 3
        HRANDFIELD h 3
        HRANDFIELD h 10 WITHVALUES
        HRANDFIELD h 9223372036854775807
        HRANDFIELD h x
        HRANDFIELD h 1.5
        HRANDFIELD h ''
        HRANDFIELD h -9223372036854775808
        HRANDFIELD h -9223372036854775808 WITHVALUES
        HRANDFIELD h 9223372036854775808
        HRANDFIELD h -9223372036854775807 WITHVALUES
        HRANDFIELD h 9223372036854775807 WITHVALUES
        HRANDFIELD h 4611686018427387904 WITHVALUES
        HRANDFIELD h 4611686018427387903 WITHVALUES
        HRANDFIELD h 1 BOGUS
        HRANDFIELD h 1 WITHVALUES x
        HRANDFIELD h x BOGUS
        HRANDFIELD h WITHVALUES
    """,
    "hscan": """
        HSCAN nothing 0
        HSCAN nothing 0 BOGUS
        HSCAN nothing x
        HSET h a 1 b 2 c 3 aa 4 '' 5
        HSCAN h 0
        HSCAN h 0 COUNT 1
        HSCAN h 5
        HSCAN h 18446744073709551615
        HSCAN h 18446744073709551616
        HSCAN h -1
        HSCAN h +1
        HSCAN h ''
        HSCAN h " 1"
        HSCAN h "1 "
        HSCAN h 1x
        HSCAN h x
        HSCAN h 0 MATCH a*
        HSCAN h 0 MATCH *
        HSCAN h 0 MATCH **
        HSCAN h 0 MATCH ''
        HSCAN h 0 MATCH [ab]
        HSCAN h 0 MATCH b COUNT 100
        HSCAN h 0 match b match c
        HSCAN h 0 COUNT 0
        HSCAN h 0 COUNT -1
        HSCAN h 0 COUNT x
        HSCAN h 0 COUNT
        HSCAN h 0 MATCH
        HSCAN h 0 BOGUS
        HSCAN h 0 TYPE string
        HSCAN h 0 COUNT 9223372036854775807
        HSCAN h 0 COUNT 9223372036854775808
        HSCAN h 0 MATCH a COUNT
    """,
    "encodings": """
        HSET short a "x"*64
        HSET long a "x"*65
        HSET field "x"*65 a
        HDEL long a
        HSET long a 1
        HSET shrunk a "x"*65 b 1
        HDEL shrunk a
        HSET shrunk2 a "x"*65
        HSET shrunk2 a 1
        HSETNX nx a "x"*65
        HMSET m a 1 b "x"*65
        HINCRBYFLOAT f a 1e100
        HINCRBYFLOAT f b 1
        HSET set a 1
        HSETNX set b "x"*65
        HSET int a 12345678901234567890 b 123456789012345678
    """,
}

_SCAN = "Valkey 9 reads a cursor as an integer, Redis up to 7.2 by strtoul"
UNLIKE = {
    "HSCAN h -1": Unlike("valkey", _SCAN),
    "HSCAN h ''": Unlike("valkey", _SCAN),
    'HSCAN h " 1"': Unlike("valkey", _SCAN),
}


@pytest.mark.parametrize("name", TABLES)
def test_hashes(judge: Judge, name: str) -> None:
    judge.check_all(TABLES[name], UNLIKE)


def test_listpack_ends_at_the_number_of_entries(judge: Judge) -> None:
    judge.begin(hash_max_listpack_entries="4")
    judge.check_all("HSET h a 1 b 2 c 3\nHSET h d 4\nHSET g a 1 b 2 c 3 d 4\nHSETNX g e 5\nHDEL g a b c")
    judge.check("HSET", "h", "d", 5)
    judge.check("HINCRBY", "h", "e", 5)
    judge.same_state()


def test_more_pairs_than_entries_make_a_table_at_once(judge: Judge) -> None:
    judge.begin(hash_max_listpack_entries="4")
    judge.check("HSET", "h", *"a1a2a3a4")
    judge.same_state()
    judge.check("HSET", "h", *"a1a2a3a4a5")
    if judge.kind == "valkey":  # Redis 7.0 counts the fields afterwards, 7.2 and Valkey the pairs before
        judge.same_state()
    assert encoding_of(judge.ours.client.database.keys_of(b"h")[b"h"], judge.ours.node.config) == "hashtable"


def test_listpack_ends_at_the_length_of_a_value(judge: Judge) -> None:
    judge.begin(hash_max_listpack_value="10")
    judge.check_all(
        """
        HSET h a 0123456789
        HSET g a 0123456789x
        HSET f 0123456789x a
        HINCRBY i a 1000000000
        HINCRBY j a 10000000000
        HINCRBYFLOAT k a 0.125
        HINCRBYFLOAT k a 0.0000000000005
        """
    )


def test_a_hash_stays_a_table(judge: Judge) -> None:
    pairs = [text for at in range(600) for text in (f"f{at}", at)]
    judge.check("HSET", "h", *pairs)
    judge.same_state()
    judge.check("HDEL", "h", *pairs[20::2])
    judge.check("HGETALL", "h", order=unordered_pairs)
    judge.same_state()


def _texts(tree: Tree) -> list[bytes]:
    """The texts of a reply, nested pairs flattened."""
    return [text for item in tree.value for text in (_texts(item) if item.kind == "*" else [item.value])]


@pytest.mark.parametrize("size", [3, 100, 600, 5000])
def test_hscan_returns_the_whole_hash(judge: Judge, size: int) -> None:
    judge.check("HSET", "h", *[text for at in range(size) for text in (f"field:{at}", at)])
    for options in ((), ("COUNT", 100), ("MATCH", "field:?*")):
        found: list[set[tuple[bytes, bytes]]] = []
        for side in (0, 1):
            cursor, pairs = b"0", set()
            while True:
                reply = judge.both("HSCAN", "h", cursor, *options)[side]
                cursor, texts = reply.value[0].value, _texts(reply.value[1])
                pairs |= set(zip(texts[::2], texts[1::2], strict=True))
                if cursor == b"0":
                    break
            found.append(pairs)
        assert found[0] == found[1]
        assert found[1]


@pytest.mark.parametrize("size", [3, 100, 600])
def test_hrandfield_draws_as_they_do(judge: Judge, size: int) -> None:
    judge.check("HSET", "h", *[text for at in range(size) for text in (f"f{at}", at)])
    for args in ((size,), (size + 1,), (size, "WITHVALUES"), (size + 1, "WITHVALUES")):
        order = unordered_pairs if args[1:] and judge.protocol == 2 else None
        theirs, ours = judge.both("HRANDFIELD", "h", *args)
        assert sorted(map(repr, _texts(theirs))) == sorted(map(repr, _texts(ours)))
        assert order is None or order(theirs) == order(ours)
    for count in (1, 2, size // 2, -1, -5, -2 * size):
        for extra in ((), ("WITHVALUES",)):
            theirs, ours = judge.both("HRANDFIELD", "h", count, *extra)
            assert [item.kind for item in theirs.value] == [item.kind for item in ours.value]
            fields = _texts(ours)[:: 2 if extra else 1]
            assert len(fields) == len(_texts(theirs)) // (2 if extra else 1)
            assert count < 0 or len(set(fields)) == count
            if extra:
                assert (
                    dict(zip(fields, _texts(ours)[1::2], strict=True)).items()
                    <= {b"f%d" % at: b"%d" % at for at in range(size)}.items()
                )
