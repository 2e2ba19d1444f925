"""Requests of every type over a few keys, drawn at random: what `test_sequences` sends to both sides.

A template is a request in which {name} stands for what `_WORDS` draws: one word or several. Keys are mostly of the type
that the command wants and sometimes of any other; now and then an argument is spoilt, doubled or left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Request = list[object]

_KEYS = {
    "str": "s t b", "hll": "p q", "list": "l m", "set": "e f", "zset": "z y", "geo": "g", "hash": "h i",
    "stream": "x w",
}  # fmt: skip
_ALL_KEYS = " ".join(_KEYS.values()).split()
_SPOILT = ("x", "", "-1", "1.5", "0", "9223372036854775807", "9223372036854775808", "nan", "(", "3 ", "LIMIT", "GET")
"""None makes a server allocate much: offsets and counts are refused or small."""

_TEMPLATES: dict[str, str] = {
    "str": """
        SET {str} {text} {setopt}|SET {str} {text}|SETNX {str} {text}|GET {str}|GETSET {str} {text}|GETDEL {str}
        APPEND {str} {text}|STRLEN {str}|GETRANGE {str} {rank} {rank}|SETRANGE {str} {small} {text}|INCR {str}
        INCRBY {str} {int}|DECRBY {str} {int}|INCRBYFLOAT {str} {score}|MGET {str} {str} {any}|MSET {str} {text} {str} 7
        MSETNX {str} {text} {str} 1|LCS {str} {str} {lcs}|GETEX {str} {getexopt}|SUBSTR {str} {rank} {rank}|DECR {str}
        SETBIT {str} {small} {bit}|GETBIT {str} {small}|BITCOUNT {str} {rank} {rank} {unit}|BITCOUNT {str}
        BITPOS {str} {bit} {rank} {rank} {unit}|BITPOS {str} {bit}|BITOP {bitop} {str} {str} {str}|BITOP NOT {str} {str}
        BITFIELD {str} {bitfield} {bitfield}|BITFIELD_RO {str} GET u8 {small} GET i5 #2|SETEX {str} 1000 {text}
    """,
    "hll": """
        PFADD {hll} {member} {member}|PFADD {hll} {member}|PFCOUNT {hll}|PFCOUNT {hll} {hll}|PFMERGE {hll} {hll} {hll}
        PFADD {hll}|STRLEN {hll}|PFDEBUG ENCODING {hll}
    """,
    "list": """
        LPUSH {list} {text} {text}|RPUSH {list} {text}|RPUSH {list} {text} {text} {text}|LPUSHX {list} {text}
        RPUSHX {list} {text}|LPOP {list}|RPOP {list} {count}|LLEN {list}|LRANGE {list} {rank} {rank}
        LINDEX {list} {rank}|LSET {list} {rank} {text}|LINSERT {list} {side} {text} {text}|LREM {list} {rank} {text}
        LTRIM {list} {rank} {rank}|LPOS {list} {text} {lposopt}|LMOVE {list} {list} {end} {end}|RPOPLPUSH {list} {list}
        LMPOP 2 {list} {list} {end} COUNT {count}|LMPOP 1 {list} {end}|SORT {list} ALPHA {sortopt}|SORT {list} {sortopt}
        SORT {list} ALPHA STORE {list}|SORT_RO {list} ALPHA|SORT {list} BY w_* GET # GET k_* ALPHA
    """,
    "set": """
        SADD {set} {member} {member}|SADD {set} {int} {int}|SADD {set} {int}|SREM {set} {member} {int}|SCARD {set}
        SISMEMBER {set} {member}|SMISMEMBER {set} {int} {member}|SMEMBERS {set}|SMOVE {set} {set} {int}
        SINTER {set} {set}|SUNION {set} {set}|SDIFF {set} {set}|SINTERSTORE {set} {set} {set}|SDIFFSTORE {set} {set}
        SUNIONSTORE {set} {set} {set}|SINTERCARD 2 {set} {set} LIMIT {count}|SPOP {set} 1000|SRANDMEMBER {set} 1000
        SPOP {set} 0|SSCAN {set} 0 COUNT 1000|SORT {set} ALPHA|SORT {set} ALPHA DESC STORE {list}
    """,
    "zset": """
        ZADD {zset} {score} {member} {score} {member}|ZADD {zset} {zaddopt} {score} {member}|ZADD {zset} 1 {member}
        ZADD {zset} {zaddopt} {zaddopt} {score} {member}|ZINCRBY {zset} {score} {member}|ZREM {zset} {member} {member}
        ZCARD {zset}|ZSCORE {zset} {member}|ZMSCORE {zset} {member} {member}|ZRANK {zset} {member}
        ZREVRANK {zset} {member}|ZCOUNT {zset} {bound} {bound}|ZLEXCOUNT {zset} {lex} {lex}
        ZRANGE {zset} {rank} {rank} {withscores}|ZRANGE {zset} {bound} {bound} BYSCORE {rev} {limit} {withscores}
        ZRANGE {zset} {lex} {lex} BYLEX {rev} {limit}|ZREVRANGE {zset} {rank} {rank} {withscores}
        ZRANGEBYSCORE {zset} {bound} {bound} {withscores} {limit}|ZREVRANGEBYSCORE {zset} {bound} {bound} {limit}
        ZRANGEBYLEX {zset} {lex} {lex} {limit}|ZREVRANGEBYLEX {zset} {lex} {lex}|ZRANGESTORE {zset} {zset} {rank} {rank}
        ZRANGESTORE {zset} {zset} {bound} {bound} BYSCORE {limit}|ZREMRANGEBYRANK {zset} {rank} {rank}
        ZREMRANGEBYSCORE {zset} {bound} {bound}|ZREMRANGEBYLEX {zset} {lex} {lex}|ZPOPMIN {zset} {count}|ZPOPMAX {zset}
        ZMPOP 2 {zset} {zset} {minmax} COUNT {count}|ZUNION 2 {zset} {zset} {weights} {aggregate} {withscores}
        ZINTER 2 {zset} {zset} {weights} {aggregate} WITHSCORES|ZDIFF 2 {zset} {zset} WITHSCORES|ZSCAN {zset} 0 COUNT 999
        ZUNIONSTORE {zset} 2 {zset} {zset} {weights} {aggregate}|ZINTERSTORE {zset} 2 {zset} {set} {aggregate}
        ZDIFFSTORE {zset} 2 {zset} {zset}|ZINTERCARD 2 {zset} {zset} LIMIT {count}|ZRANDMEMBER {zset} 0
        SORT {zset} BY nosort|SORT {zset} ALPHA DESC LIMIT 0 3
    """,
    "geo": """
        GEOADD {geo} {lon} {lat} {member}|GEOADD {geo} CH {lon} {lat} {member} {lon} {lat} {member}
        GEOADD {geo} {zaddopt} {lon} {lat} {member}|GEOPOS {geo} {member} {member}|GEODIST {geo} {member} {member} {metre}
        GEOHASH {geo} {member} {member}|GEOSEARCH {geo} FROMLONLAT {lon} {lat} BYRADIUS {far} km ASC {geoopt}
        GEOSEARCH {geo} FROMMEMBER {member} BYBOX {far} {far} km DESC {geoopt}|ZRANGE {geo} 0 -1 WITHSCORES
        GEOSEARCHSTORE {geo} {geo} FROMLONLAT {lon} {lat} BYRADIUS {far} km {storedist}|ZREM {geo} {member}
        GEORADIUS {geo} {lon} {lat} {far} km ASC {geoopt}|GEORADIUSBYMEMBER_RO {geo} {member} {far} km ASC
    """,
    "hash": """
        HSET {hash} {member} {text}|HSET {hash} {member} {text} {member} {text}|HSETNX {hash} {member} {text}
        HMSET {hash} {member} {text}|HGET {hash} {member}|HMGET {hash} {member} {member}|HGETALL {hash}|HKEYS {hash}
        HVALS {hash}|HLEN {hash}|HEXISTS {hash} {member}|HSTRLEN {hash} {member}|HDEL {hash} {member} {member}
        HINCRBY {hash} {member} {int}|HINCRBYFLOAT {hash} {member} {score}|HSCAN {hash} 0 COUNT 1000
        HRANDFIELD {hash} 1000|HRANDFIELD {hash} 1000 WITHVALUES|HSET {hash} {int} {int}
    """,
    "stream": """
        XADD {stream} {id} a {text}|XADD {stream} {id} {member} {text} {member} 1|XADD {stream} NOMKSTREAM {id} a 1
        XADD {stream} MAXLEN {approx} {count} {id} a 1|XADD {stream} MINID {approx} {id} {id} a 1|XLEN {stream}
        XADD {stream} {auto} f {text}|XRANGE {stream} {from} {to} {xcount}|XREVRANGE {stream} {to} {from} {xcount}
        XDEL {stream} {id} {id}|XTRIM {stream} MAXLEN {approx} {count}|XTRIM {stream} MINID {approx} {id}
        XSETID {stream} {id}|XSETID {stream} {id} ENTRIESADDED {small} MAXDELETEDID {id}|XINFO STREAM {stream} FULL
        XREAD COUNT 3 STREAMS {stream} {id}|XREAD STREAMS {stream} {stream} {id} 0|XREAD STREAMS {stream} $
        XGROUP CREATE {stream} {group} {from0} {mkstream}|XGROUP CREATE {stream} {group} $
        XGROUP SETID {stream} {group} {from0}|XGROUP DESTROY {stream} {group}|XGROUP CREATECONSUMER {stream} {group} {who}
        XGROUP DELCONSUMER {stream} {group} {who}|XREADGROUP GROUP {group} {who} {xcount} {noack} STREAMS {stream} >
        XREADGROUP GROUP {group} {who} STREAMS {stream} {id}|XACK {stream} {group} {id} {id}|XPENDING {stream} {group}
        XREADGROUP GROUP {group} {who} STREAMS {stream} >|XADD {stream} {auto} f {text}|XADD {stream} {id} a {text}
        XPENDING {stream} {group} IDLE 0 - + 9|XPENDING {stream} {group} - + 9 {who}|XINFO STREAM {stream}
        XCLAIM {stream} {group} {who} 0 {id} {id} {claimopt}|XCLAIM {stream} {group} {who} 0 {id} JUSTID
        XAUTOCLAIM {stream} {group} {who} 0 {from0} COUNT {count}|XAUTOCLAIM {stream} {group} {who} 0 0 JUSTID
        XINFO GROUPS {stream}|XINFO CONSUMERS {stream} {group}
    """,
    "any": """
        DEL {any}|DEL {any}|UNLINK {any} {any}|EXISTS {any} {any}|TYPE {any}|RENAME {any} {any}|RENAMENX {any} {any}
        COPY {any} {any} {replace}|COPY {any} {any}|EXPIRE {any} {seconds} {expopt}|PEXPIRE {any} 7000000 {expopt}
        EXPIREAT {any} 99999999999|PERSIST {any}|TTL {any}|PTTL {any}|EXPIRETIME {any}|OBJECT ENCODING {any}|DBSIZE
        TOUCH {any} {any}|KEYS [s-z]|KEYS ?|EXISTS {any}|SORT {any} ALPHA|CARRY {any} {any}
    """,
}  # fmt: skip
"""CARRY stands for RESTORE under the second key of what DUMP of the real server's first one gave."""

_NEWER = """
    HEXPIREAT {hash} {at} {expopt} FIELDS 2 {member} {member}|HPEXPIREAT {hash} {at_ms} FIELDS 1 {member}
    HEXPIREAT {hash} 33333333333 FIELDS 1 {member}|HEXPIRETIME {hash} FIELDS 2 {member} {member}
    HPEXPIRETIME {hash} FIELDS 1 {member}|HPERSIST {hash} FIELDS 2 {member} {member}|HGETDEL {hash} FIELDS 1 {member}
    HSETEX {hash} {setexopt} FIELDS 2 {member} {text} {member} 1|HGETEX {hash} {hgetexopt} FIELDS 1 {member}
    HSET {hash} {member} {text} {member} {text}|HDEL {hash} {member}|HGETALL {hash}|HLEN {hash}
    HINCRBY {hash} {member} 1|SET {str} {text} IFEQ {text}|SET {str} 1 IFEQ a GET|DELIFEQ {str} {text}
    MSETEX 2 {str} 1 {str} {text} {msetexopt}
"""
"""Since 8.0; Valkey has them too."""

_IN_MULTI = """
    BLPOP {list} {list} 0|BRPOP {list} 0.1|BLMOVE {list} {list} {end} {end} 0|BRPOPLPUSH {list} {list} 0
    BLMPOP 0 2 {list} {list} {end} COUNT {count}|BZPOPMIN {zset} {zset} 0|BZPOPMAX {zset} 0
    BZMPOP 0 1 {zset} {minmax} COUNT {count}|XREAD BLOCK 0 STREAMS {stream} $
    XREADGROUP GROUP {group} {who} BLOCK 0 STREAMS {stream} >
"""


def _split(table: str) -> list[str]:
    return [one.strip() for line in table.splitlines() for one in line.split("|") if one.strip()]


_BY_TYPE = {kind: _split(table) for kind, table in _TEMPLATES.items()}
_BLOCKING = _split(_IN_MULTI)
_BY_TYPE_NEWER = {**_BY_TYPE, "newer": _split(_NEWER)}

BLOCKING = frozenset(one.split()[0] for one in _BLOCKING if one[0] == "B")
"""Commands that wait for a key to be filled."""

_DRAWN_AT_RANDOM = ("SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER")

Draw = Callable[[random.Random], str]


def _one_of(text: str) -> Draw:
    """Choices are separated by "/": each is some words, or none."""
    choices = text.split("/")
    return lambda rng: rng.choice(choices)


def _id(rng: random.Random) -> str:
    return f"{rng.randrange(1, 14)}-{rng.randrange(3)}" if rng.random() < 0.8 else rng.choice(("0", "7", "0-0", "99-1"))


def _rank(rng: random.Random) -> str:
    return str(rng.randrange(-6, 9))


def _bound(rng: random.Random) -> str:
    return rng.choice(("", "", "(")) + rng.choice((str(rng.randrange(-5, 9)), "-inf", "+inf", "2.5"))


_TEXTS = ("", "a", "b", "abc", "12", "-7", "3.5", "0012", "x" * 44, "x" * 45, "y" * 70, "\0\xff", "9223372036854775807")
_MEMBERS = ("m1", "m2", "m3", "m4", "m5", "", "5", "17", "\0", "z" * 65)

_WORDS: dict[str, Draw] = {
    "int": lambda rng: str(rng.choice((rng.randrange(-9, 30), rng.randrange(-9, 30), 40000, 1 << 40, -(1 << 62)))),
    "small": lambda rng: str(rng.choice((rng.randrange(40), rng.randrange(600)))),
    "rank": _rank, "id": _id, "bound": _bound, "seconds": _one_of("1000/5000/-1/0"), "far": _one_of("1/100/900/5000"),
    "auto": lambda rng: f"{rng.randrange(1, 20)}-*", "bit": _one_of("0/1"), "unit": _one_of("/BYTE/BIT"),
    "count": _one_of("0/1/2/3/7/100"), "side": _one_of("BEFORE/AFTER"), "end": _one_of("LEFT/RIGHT"),
    "score": lambda rng: str(rng.choice((rng.randrange(-5, 9), rng.randrange(-5, 9), 2.5, "inf", "-inf", 1e20, -0.1))),
    "lex": _one_of("-/+/[m1/[m3/(m2/(m4/[/(z"), "withscores": _one_of("//WITHSCORES"), "rev": _one_of("//REV"),
    "limit": _one_of("///LIMIT 0 3/LIMIT 1 2/LIMIT 2 -1"), "weights": _one_of("//WEIGHTS 2 -1/WEIGHTS 0.5 inf"),
    "aggregate": _one_of("//AGGREGATE MIN/AGGREGATE MAX/AGGREGATE SUM"), "minmax": _one_of("MIN/MAX"),
    "zaddopt": _one_of("NX/XX/GT/LT/CH/INCR/XX CH/GT CH"), "lon": _one_of("13.36/15.08/-122.4/0/2.35/179.9"),
    "lat": _one_of("38.11/37.5/37.77/0/48.85/-85"), "metre": _one_of("/m/km/ft/mi"), "storedist": _one_of("/STOREDIST"),
    "geoopt": _one_of("/WITHDIST/WITHCOORD WITHDIST/WITHHASH/COUNT 2/COUNT 1 WITHDIST"),
    "setopt": _one_of("/NX/XX/GET/KEEPTTL/EX 1000/PX 5000000/PXAT 99999999999999/XX KEEPTTL/EX 1000 XX"),
    "getexopt": _one_of("/PERSIST/EX 1000/PXAT 99999999999999"), "lcs": _one_of("/LEN/IDX/IDX WITHMATCHLEN"),
    "bitop": _one_of("AND/OR/XOR"), "lposopt": _one_of("/RANK -1/RANK 2 COUNT 0/COUNT 2 MAXLEN 3/RANK -2 MAXLEN 5"),
    "bitfield": _one_of("SET u8 0 300/OVERFLOW SAT INCRBY i5 3 40/OVERFLOW FAIL INCRBY u2 #7 3/GET i64 1/SET i13 #3 -9"),
    "sortopt": _one_of("/DESC/LIMIT 1 2/DESC LIMIT 0 3"), "approx": _one_of("/=/~"), "from": _one_of("-/3/(4-1/0/+"),
    "to": _one_of("+/9/(8-0/-"), "xcount": _one_of("//COUNT 2/COUNT 1"), "from0": _one_of("0/$/5/0/0"),
    "mkstream": _one_of("MKSTREAM/MKSTREAM/"), "group": _one_of("g1/g1/g1/g2"), "who": _one_of("ann/bob"),
    "noack": _one_of("///NOACK"), "claimopt": _one_of("/FORCE/RETRYCOUNT 4/FORCE LASTID 4-0"),
    "msetexopt": _one_of("/NX/XX/EXAT 99999999999/KEEPTTL"),
    "hgetexopt": _one_of("/PERSIST/EXAT 44444444444"), "at_ms": _one_of("33333333333000/44444444444000/1"),
    "at": _one_of("33333333333/44444444444/1"), "setexopt": _one_of("//EXAT 33333333333/FNX/FXX/KEEPTTL"),
    "replace": _one_of("REPLACE/"), "expopt": _one_of("//NX/XX/GT/LT"),
}  # fmt: skip


def _draw(rng: random.Random, name: str) -> list[object]:
    if name in _KEYS:
        return [rng.choice(_KEYS[name].split() if rng.random() < 0.94 else _ALL_KEYS)]
    if name == "any":
        return [rng.choice(_ALL_KEYS)]
    if name == "text":
        return [rng.choice(_TEXTS).encode("latin-1")]
    if name == "member":
        return [rng.choice(_MEMBERS).encode("latin-1")]
    return list(_WORDS[name](rng).split())


def _short(word: object) -> object:
    return word[:9] if isinstance(word, bytes) else word


def _filled(rng: random.Random, template: str, spoil: float) -> Request:
    request: Request = []
    for word in template.split():
        request += _draw(rng, word[1:-1]) if word[0] == "{" else [word]
    if request[0] in ("ZADD", "GEOADD") and "XX" in request:
        request = list(map(_short, request))  # a long member that XX keeps out makes Valkey leave the listpack
    if rng.random() < spoil:
        at = rng.randrange(1, len(request)) if len(request) > 1 else 0
        kind = rng.randrange(4)
        if at == 0 or kind == 0:
            request.append(rng.choice(_SPOILT))
        elif request[0] in _DRAWN_AT_RANDOM:
            return request  # with another count the reply would be chance
        elif kind == 1:
            del request[at]
        else:
            request[at] = rng.choice(_SPOILT)
    return request


def sequence(rng: random.Random, steps: int, newer: bool) -> list[Request]:
    """So many requests, some of them within MULTI and EXEC. Types take turns in being touched more often.

    newer: with commands that came after Redis 7.2.
    """
    templates = _BY_TYPE_NEWER if newer else _BY_TYPE
    kinds = list(templates)
    found: list[Request] = []
    while len(found) < steps:
        favourite = rng.choice(kinds)
        for _ in range(rng.randrange(5, 30)):
            kind = favourite if rng.random() < 0.6 else rng.choice(kinds)
            found.append(_filled(rng, rng.choice(templates[kind]), spoil=0.05))
        if rng.random() < 0.5:
            found.append(["MULTI"])
            for _ in range(rng.randrange(1, 5)):
                found.append(_filled(rng, rng.choice(_BLOCKING + templates[favourite]), spoil=0.01))
            found.append([rng.choice(("EXEC", "EXEC", "EXEC", "DISCARD"))])
    return found
