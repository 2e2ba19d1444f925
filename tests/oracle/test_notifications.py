"""Keyspace notifications: which events each command makes, and in which order, beside both real servers.

Each story begins with an empty server. After every line, what a subscriber to everything has heard must be the same.
Commands that this node does not have are left out of a story.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from node.persistence import payload
from node.persistence.options import EncodingLimits, SaveOptions
from tests.commands.harness import Harness
from tests.oracle.conftest import Servers
from tests.oracle.oracle import EXAMPLES, SEED, words
from tests.oracle.wire import Tree, Wire, parse
from tests.servers import ServerProcess

Heard = list[tuple[bytes, bytes]]
"""Channels and messages."""

MARK = b"__keymark__:"


class Listeners:
    """A subscriber to all events of a real server and one of ours."""

    def __init__(self, server: ServerProcess, events: str = "AKEnm") -> None:
        self.kind, port = server.kind, server.port
        self.wire, self._subscriber, self._marker = Wire(port), Wire(port), Wire(port)
        self.real("FLUSHALL")
        self.real("CONFIG", "SET", "notify-keyspace-events", events)
        self.real("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        self._subscriber.call(b"PSUBSCRIBE", b"__key*__:*")
        self.ours = Harness(settings={"notify-keyspace-events": events})
        self.ours.node.set_time(time.time_ns() // 1_000_000)
        self._got: list[bytes] = []
        listener = self.ours.connect()
        listener.send = self._got.append
        self.ours.node.run(listener, [b"PSUBSCRIBE", b"__key*__:*"])

    def real(self, *args: object) -> Tree:
        return self.wire.call(*[arg if isinstance(arg, bytes) else str(arg).encode() for arg in args])

    def has(self, name: bytes) -> bool:
        return self.ours.node.commands.find(name) is not None

    def after(self, request: list[bytes]) -> tuple[Heard, Heard, Tree, bytes]:
        """What the real server's subscriber and ours heard of one request, and the replies to it."""
        theirs = self.wire.call(*request)
        self._marker.call(b"PUBLISH", MARK, b"")
        heard: Heard = []
        while (message := self._subscriber.read()).value[2].value != MARK:
            heard.append((message.value[2].value, message.value[3].value))
        self._got.clear()
        self.ours.node.set_time(time.time_ns() // 1_000_000)
        ours = self.ours.wire(*request)
        data, at, here = b"".join(self._got), 0, []
        while (found := parse(data, at)) is not None:
            tree, at = found
            here.append((tree.value[2].value, tree.value[3].value))
        return heard, here, theirs, ours

    def close(self) -> None:
        self.real("CONFIG", "SET", "notify-keyspace-events", "")
        self.real("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        self.real("FLUSHALL")
        self.wire.close()
        self._subscriber.close()
        self._marker.close()


@pytest.fixture(params=["redis", "valkey"])
def listeners(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Listeners]:
    both = Listeners(servers.server(request.param))
    yield both
    both.close()


STORIES: dict[str, str] = {
    "strings": """
        SET k v
        SET k v2 EX 100
        SET k v3 KEEPTTL
        SET k v4 GET
        SET k v NX
        SET k v XX
        SET k v GET PX 100000
        SET new v GET
        SET gone v EXAT 1
        GET gone
        SETNX k v
        SETNX k2 v
        SETEX k 100 v
        PSETEX k 100000 v
        GETSET k w
        GETSET k3 w
        GETDEL k
        GETDEL k
        SET k v EX 100
        GETEX k
        GETEX k PERSIST
        GETEX k PERSIST
        GETEX k EX 100
        GETEX k PXAT 1
        GETEX k EX 10
        APPEND a x
        APPEND a y
        APPEND a ''
        SETRANGE a 1 zz
        SETRANGE a 1 ''
        SETRANGE b 0 ''
        SETRANGE b 3 x
        STRLEN a
        STRLEN none
        GETRANGE none 0 1
        SUBSTR none 0 1
        MSET m1 a m2 b m1 c
        MSETNX m1 a m3 b
        MSETNX m3 a m4 b
        MGET m1 none m2 none2
        INCR n
        INCRBY n 5
        DECR n
        DECRBY n2 3
        INCRBYFLOAT n 1.5
        INCRBYFLOAT n3 1.5
        INCR a
        LCS a none
        LCS a b
    """,
    "hashes": """
        HSET h a 1 b 2
        HSET h a 1
        HSETNX h a 1
        HSETNX h c 1
        HSETNX h2 c 1
        HMSET h a 1 d 2
        HINCRBY h a 5
        HINCRBY h3 a 5
        HINCRBYFLOAT h a 0.5
        HINCRBYFLOAT h4 a 0.5
        HINCRBY h5 a x
        HINCRBY h b 9223372036854775807
        HGET h a
        HGET none a
        HMGET none a b
        HGETALL none
        HLEN none
        HEXISTS none a
        HSTRLEN none a
        HKEYS none
        HVALS none
        HSCAN none 0
        HRANDFIELD none
        HDEL h a
        HDEL h none
        HDEL none a
        HDEL h b c d
        HDEL h2 c none
    """,
    "generic": """
        SET a 1
        SET b 2
        DEL a none b
        SET a 1
        SET b 2
        UNLINK a none b
        SET a 1
        RENAME a b
        SET a 2
        RENAME a b
        RENAME none b
        RENAME b b
        SET a 1
        RENAMENX a b
        RENAMENX b c
        COPY c d
        COPY c d
        COPY c d REPLACE
        COPY c d DB 1
        COPY none d
        COPY none d REPLACE
        MOVE a 1
        MOVE a 1
        MOVE none 1
        EXISTS none c
        TOUCH none c
        TYPE none
        TTL none
        PTTL none
        EXPIRETIME none
        OBJECT ENCODING none
        OBJECT REFCOUNT none
        OBJECT IDLETIME none
        DUMP none
        MEMORY USAGE none
        RANDOMKEY
        KEYS *
        SCAN 0
        DBSIZE
        SELECT 1
        SET x y
        SELECT 0
        SWAPDB 0 1
        GET x
        FLUSHDB
        SET x y
        FLUSHALL
        PERSIST none
    """,
    "expiry": """
        SET a 1
        EXPIRE a 100
        EXPIRE a 100 NX
        EXPIRE a 1000 XX
        EXPIRE a 100 GT
        EXPIRE a 10 LT
        PEXPIRE a 100000
        EXPIREAT a 33177117420
        PEXPIREAT a 33177117420000
        PERSIST a
        PERSIST a
        EXPIRE none 100
        PERSIST none
        EXPIRE a -1
        SET a 1
        EXPIRE a 0
        SET a 1
        EXPIREAT a 1
        SET a 1
        PEXPIREAT a 1
        SET a 1 PX 1
        WAIT_MS 4
        GET a
        GET a
        SET a 1 PX 1
        WAIT_MS 4
        SET a 2
        SET a 1 PX 1
        WAIT_MS 4
        APPEND a 2
        SET a 1 PX 1
        WAIT_MS 4
        DEL a
        HSET h f v
        PEXPIRE h 1
        WAIT_MS 4
        HSET h g v
        PEXPIRE h 1
        WAIT_MS 4
        HDEL h g
        SET a 1 PX 1
        WAIT_MS 4
        EXISTS a
        SET a 1 PX 1
        WAIT_MS 4
        TTL a
        SET a 1 PX 1
        WAIT_MS 4
        MGET a a
        SET a 1 PX 1
        WAIT_MS 4
        INCR a
        SET a 1 PX 1
        WAIT_MS 4
        SETNX a b
        SET a 1 PX 1
        WAIT_MS 4
        RENAME a b
        SET a 1 PX 1
        SET b 1
        WAIT_MS 4
        RENAME b a
        SET a 1 PX 1
        SET b 1
        WAIT_MS 4
        COPY b a
        SET a 1 PX 1
        WAIT_MS 4
        MSET a 1 b 2
        SET a 1 PX 1
        WAIT_MS 4
        MSETNX a 1 c 2
        SET a 1 PX 1
        WAIT_MS 4
        GETSET a 1
        SET a 1 PX 1
        WAIT_MS 4
        EXPIRE a 10
        SET a 1 PX 1
        WAIT_MS 4
        KEYS *
    """,
    "lists": """
        RPUSH l a
        LPUSH l b c
        RPUSHX none a
        LPUSHX none a
        LPUSHX l d
        RPUSHX l d
        LINSERT l BEFORE a x
        LINSERT l AFTER none x
        LINSERT none AFTER none x
        LSET l 0 y
        LSET l 100 y
        LSET none 0 y
        LREM l 0 d
        LREM l 0 d
        LREM none 0 d
        LTRIM l 0 2
        LTRIM l 0 100
        LTRIM none 0 1
        LRANGE none 0 1
        LLEN none
        LINDEX none 0
        LPOS none a
        LPOP l
        RPOP l
        LPOP none
        LPOP l 10
        LPOP l 0
        RPUSH l a b c d
        RPOPLPUSH l m
        RPOPLPUSH none m
        LMOVE l m LEFT RIGHT
        LMOVE l l LEFT RIGHT
        LMOVE none m LEFT RIGHT
        LMPOP 2 none l LEFT
        LMPOP 2 none l RIGHT COUNT 10
        LMPOP 2 none l RIGHT COUNT 10
        BLPOP m 1
        BRPOP m 1
        RPUSH l a b c d
        BLMOVE l m LEFT LEFT 1
        BRPOPLPUSH l m 1
        BLMPOP 1 2 none l LEFT COUNT 10
        RPUSH l a
        LREM l 0 a
        RPUSH l a
        LTRIM l 5 6
        RPUSH l a
        RPOPLPUSH l m
        RPUSH s 3 1 2
        SORT s STORE t
        SORT none STORE t
        SORT none STORE t
        SORT s
        SORT none
        SET str x
        LPUSH str a
    """,
    "sets": """
        SADD s a b c
        SADD s a
        SADD s a d
        SREM s a
        SREM s a
        SREM none a
        SREM s b c d
        SADD s a b c d e
        SADD t c d e f
        SMOVE s t a
        SMOVE s t none
        SMOVE s t c
        SMOVE none t c
        SMOVE s u b
        SMOVE u u b
        SMOVE u v b
        SPOP v
        SPOP v
        SPOP t 2
        SPOP t 0
        SPOP t 100
        SPOP t 100
        SADD t c d e f
        SINTERSTORE i s t
        SUNIONSTORE i s t
        SDIFFSTORE i s t
        SINTERSTORE i s none
        SINTERSTORE i s none
        SUNIONSTORE i none none2
        SADD i q
        SUNIONSTORE i none none2
        SDIFFSTORE i none s
        SINTER s none
        SUNION s none
        SDIFF none s
        SINTERCARD 2 none s
        SISMEMBER none a
        SMISMEMBER none a
        SMEMBERS none
        SCARD none
        SRANDMEMBER none
        SRANDMEMBER none 3
        SSCAN none 0
    """,
    "sorted sets": """
        ZADD z 1 a 2 b 3 c
        ZADD z 1 a
        ZADD z 5 a
        ZADD z NX 5 a
        ZADD none XX 5 a
        ZADD z CH 5 a 6 b
        ZADD z INCR 5 a
        ZADD z NX INCR 5 a
        ZADD z2 INCR 5 a
        ZINCRBY z 5 a
        ZINCRBY z3 5 a
        ZREM z a
        ZREM z none
        ZREM none none
        ZREM z3 a
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g
        ZREMRANGEBYRANK z 0 0
        ZREMRANGEBYSCORE z 2 2
        ZREMRANGEBYLEX z [c [c
        ZREMRANGEBYRANK z 100 100
        ZREMRANGEBYRANK none 0 0
        ZPOPMIN z
        ZPOPMAX z
        ZPOPMIN none
        ZMPOP 2 none z MIN
        ZMPOP 2 none z MIN COUNT 10
        ZMPOP 2 none z MIN COUNT 10
        ZADD z 1 a 2 b 3 c 4 d 5 e
        BZPOPMIN z 1
        BZPOPMAX z 1
        BZMPOP 1 1 z MAX COUNT 2
        ZPOPMIN z 10
        ZADD z 1 a 2 b 3 c
        ZADD y 1 a 2 b 4 d
        ZUNIONSTORE u 2 z y
        ZINTERSTORE u 2 z y
        ZDIFFSTORE u 2 z y
        ZINTERSTORE u 2 z none
        ZINTERSTORE u 2 z none
        ZRANGESTORE u z 0 1
        ZRANGESTORE u z 10 11
        ZRANGESTORE u z 10 11
        ZREMRANGEBYRANK z 0 -1
        ZREMRANGEBYSCORE y -inf +inf
        ZRANGE none 0 1
        ZRANGEBYSCORE none 0 1
        ZSCORE none a
        ZMSCORE none a
        ZRANK none a
        ZCARD none
        ZCOUNT none 0 1
        ZLEXCOUNT none - +
        ZRANDMEMBER none
        ZSCAN none 0
        ZUNION 2 none none2
        ZINTER 2 none none2
        ZINTERCARD 2 none none2
        ZDIFF 2 none none2
    """,
    "geo": """
        GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
        GEOADD g 13.361389 38.115556 Palermo
        GEOPOS none a
        GEODIST none a b
        GEOHASH none a
        GEOSEARCH none FROMLONLAT 15 37 BYRADIUS 200 km
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 1 m
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 1 m
        GEORADIUS g 15 37 200 km STORE d
        GEORADIUSBYMEMBER g Palermo 200 km STOREDIST d
        GEORADIUS g 15 37 1 m STORE d
        GEORADIUS g 15 37 1 m STORE d
    """,
    "bitmaps and hyperloglogs": """
        SETBIT b 7 1
        SETBIT b 7 1
        SETBIT b 100 0
        GETBIT none 3
        BITCOUNT none
        BITPOS none 1
        BITOP AND d b none
        BITOP OR d b none
        BITOP NOT d b
        BITOP AND d none none2
        BITOP AND d none none2
        BITFIELD b SET u8 0 5
        BITFIELD b GET u8 0
        BITFIELD none GET u8 0
        BITFIELD f INCRBY u8 0 5
        BITFIELD f SET u8 0 5 SET u8 8 5
        BITFIELD b OVERFLOW FAIL INCRBY u2 0 100
        BITFIELD_RO none GET u8 0
        PFADD p a b c
        PFADD p a
        PFADD q
        PFADD q
        PFCOUNT p
        PFCOUNT none
        PFCOUNT p none
        PFMERGE r p q
        PFMERGE r p q
    """,
    "streams": """
        XADD s 1-1 a b
        XADD s 1-2 a b
        XADD none NOMKSTREAM 1-1 a b
        XADD s MAXLEN 2 1-3 a b
        XADD s MAXLEN 2 1-4 a b
        XDEL s 1-4
        XDEL s 1-9
        XDEL none 1-9
        XTRIM s MAXLEN 1
        XTRIM s MAXLEN 1
        XTRIM none MAXLEN 1
        XGROUP CREATE s g 0
        XGROUP CREATE t g $ MKSTREAM
        XGROUP CREATECONSUMER s g c
        XGROUP CREATECONSUMER s g c
        XREADGROUP GROUP g c STREAMS s >
        XREADGROUP GROUP g d STREAMS s >
        XREADGROUP GROUP g d STREAMS s 0
        XADD s 2-1 a b
        XREADGROUP GROUP g e STREAMS s >
        XACK s g 2-1
        XPENDING s g
        XADD s 3-1 a b
        XREADGROUP GROUP g e STREAMS s >
        XCLAIM s g f 0 3-1
        XCLAIM s g f 0 9-1
        XAUTOCLAIM s g h 0 0
        XGROUP SETID s g 0
        XGROUP DELCONSUMER s g c
        XGROUP DELCONSUMER s g nobody
        XGROUP DESTROY s g
        XGROUP DESTROY s g
        XSETID s 9-1
        XLEN none
        XRANGE none - +
        XREVRANGE none + -
        XREAD STREAMS none 0
        XINFO STREAM s
        XTRIM s MAXLEN 0
        DEL s t
    """,
    "transactions": """
        SET a 1
        MULTI
        SET a 2
        SET b 3
        DEL a
        EXEC
        MULTI
        SET a 2
        DISCARD
        WATCH a
        MULTI
        INCR a
        EXEC
    """,
}

_PASSED = "Valkey 9 calls a key whose new deadline has passed expired, Redis calls it deleted, or tells of SET first"
_CONSUMERS = "Redis 7.2 makes the consumer also when there is nothing to read"
UNLIKE: dict[tuple[str, str], str] = {
    **dict.fromkeys([("valkey", f"{command} a {ms}") for command, ms in (("EXPIRE", -1), ("EXPIRE", 0))], _PASSED),
    **dict.fromkeys([("valkey", f"{command} a 1") for command in ("EXPIREAT", "PEXPIREAT")], _PASSED),
    **dict.fromkeys([("valkey", line) for line in ("SET gone v EXAT 1", "GET gone", "GETEX k PXAT 1")], _PASSED),
    **dict.fromkeys([("redis", f"XREADGROUP GROUP g d STREAMS s {start}") for start in (">", "0")], _CONSUMERS),
}
"""By server and line: where other events are told than by Redis 7.2, and why."""


@pytest.mark.parametrize("story", STORIES)
def test_events_of(listeners: Listeners, story: str) -> None:
    run = 0
    wrong = []
    for line in STORIES[story].splitlines():
        request = words(line)
        if not request:
            continue
        if request[0] == b"WAIT_MS":
            time.sleep(int(request[1]) / 1000)
        elif listeners.has(request[0]):
            theirs, ours, their_reply, our_reply = listeners.after(request)
            run += 1
            if (listeners.kind, line.strip()) in UNLIKE:
                assert theirs != ours, f"no longer so: {line}"
            elif theirs != ours:
                wrong.append(f"{line.strip()}\n  theirs: {theirs}\n  ours:   {ours}\n  {their_reply} {our_reply!r}")
    assert not wrong, "\n" + "\n".join(wrong)
    if not run:
        pytest.skip("no command of this story is here")


@pytest.mark.parametrize("events", ["", "K", "KA", "Kg$", "El", "KEx", "Em", "Kn", "KEA", "KEmn", "Ksz", "Eht", "A"])
def test_only_what_is_asked_for(servers: Servers, events: str) -> None:
    listeners = Listeners(servers.server("redis"), events)
    story = """
        SET a 1 EX 100
        GET none
        SET p 1 PX 1
        WAIT_MS 4
        GET p
        HSET h f v
        LPUSH l a
        SADD s a
        ZADD z 1 a
        XADD x 1-1 f v
        DEL a h l s z x
    """
    for line in story.splitlines():
        request = words(line)
        if request[:1] == [b"WAIT_MS"]:
            time.sleep(int(request[1]) / 1000)
        elif request:
            theirs, ours, *_ = listeners.after(request)
            assert theirs == ours, line
    listeners.close()


def test_set_while_running(listeners: Listeners) -> None:
    """CONFIG SET takes effect with the next command, on keys that were there before too."""
    for events in ("", "KEA", "Kh", "", "En"):
        told = [listeners.after([b"CONFIG", b"SET", b"notify-keyspace-events", events.encode()])]
        told += [listeners.after(words(line)) for line in ("SET k v", "HSET h f v", "DEL k h", "CONFIG GET notify*")]
        assert [one[0] for one in told] == [one[1] for one in told]


def test_restore(listeners: Listeners) -> None:
    value = payload.dump(b"value", SaveOptions(EncodingLimits(128, 64)))
    for args in (
        [b"k", b"0", value],
        [b"k", b"0", value],
        [b"k", b"0", value, b"REPLACE"],
        [b"k", b"100000", value, b"REPLACE"],
        [b"k", b"1", value, b"REPLACE", b"ABSTTL"],
        [b"k", b"1", value, b"ABSTTL"],
        [b"k", b"0", b"damaged"],
    ):
        theirs, ours, *replies = listeners.after([b"RESTORE", *args])
        assert theirs == ours, (args, replies)


_UNPREDICTABLE = (b"WAIT_MS", b"SPOP", b"MULTI", b"EXEC", b"WATCH", b"DISCARD", b"SELECT", b"SWAPDB")
"""What may come out differently by time or chance, or holds back what comes after it."""


def test_generated(listeners: Listeners) -> None:
    """The lines of all stories in any order: keys then are of other types than the commands expect, or gone."""
    lines = [words(line) for story in STORIES.values() for line in story.splitlines()]
    requests = [
        request
        for request in lines
        if request
        and request[0] not in _UNPREDICTABLE
        and not request[0].startswith((b"B", b"XAUTOCLAIM", b"XCLAIM", b"XREADGROUP"))
        and request[-1] not in (b"GT", b"LT")
        and request[-2:] not in ([b"PX", b"1"], [b"h", b"1"], [b"EXAT", b"1"])
        and (listeners.kind, b" ".join(request).decode()) not in UNLIKE
        and listeners.has(request[0])
    ]
    source = random.Random(SEED)
    for number in range(EXAMPLES):
        story = source.choices(requests, k=60)
        listeners.after([b"FLUSHALL"])
        for at, request in enumerate(story):
            theirs, ours, *replies = listeners.after(request)
            assert theirs == ours, f"seed {SEED}, sequence {number}: {story[: at + 1]}, {replies}"
