"""RESTORE of damaged payloads whose checksum is right: an error reply or a usable value, never more memory or a crash.

HASHSLOT_FUZZ_SECONDS says for how long (40 unless set, shared by both tests), HASHSLOT_FUZZ_SEED what is drawn:

    HASHSLOT_FUZZ_SECONDS=3600 python -m pytest tests/persistence/test_restore_fuzz.py --timeout 0

In process each case is followed by reads and writes of what was restored; a failure names the payload. Then the same
payloads go to a node that runs, whose memory is watched.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from node import resp
from tests.commands.harness import Harness
from tests.oracle.wire import Wire
from tests.persistence.samples import EDGE_INTS, noise, seal, ziplist, zipmap
from tests.servers import start

SECONDS = float(os.environ.get("HASHSLOT_FUZZ_SECONDS", "40"))
SEED = int(os.environ.get("HASHSLOT_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
CASE_SECONDS_MAX = 5.0
"""Far more than any damaged payload of a few kilobytes should take on a machine that does other things too."""
GROWTH_BYTES_MAX = 300 * 1024 * 1024
"""Of the node's peak: a payload may rightly unpack to its own size many times over, but not to gigabytes."""
REFUSALS = (b"ERR Bad data format", b"ERR DUMP payload version or checksum are wrong")

_USES: dict[str, list[list[object]]] = {
    "string": [["GET", "k"], ["GETRANGE", "k", -9, -1], ["INCR", "k"], ["APPEND", "k", "x"], ["SETRANGE", "k", 3, "y"]],
    "list": [
        ["LRANGE", "k", 0, -1], ["LPUSH", "k", "a"], ["RPUSH", "k", "b"], ["LINDEX", "k", -2], ["LSET", "k", 0, "c"],
        ["LINSERT", "k", "BEFORE", "b", "d"], ["LREM", "k", 0, "c"], ["LPOP", "k", 2], ["LTRIM", "k", 0, 3],
    ],
    "set": [
        ["SMEMBERS", "k"], ["SADD", "k", 1, "a"], ["SREM", "k", 1], ["SRANDMEMBER", "k", -3], ["SSCAN", "k", 0],
        ["SUNIONSTORE", "other", "k"], ["SPOP", "k"],
    ],
    "zset": [
        ["ZRANGE", "k", 0, -1, "WITHSCORES"], ["ZADD", "k", 1, "a"], ["ZRANGE", "k", "-inf", "(5", "BYSCORE"],
        ["ZRANK", "k", "a"], ["ZUNIONSTORE", "other", 1, "k"], ["ZREM", "k", "a"], ["ZPOPMIN", "k"], ["ZPOPMAX", "k"],
    ],
    "hash": [
        ["HGETALL", "k"],
        ["HPTTL", "k", "FIELDS", 1, "a"], ["HSET", "k", "a", 1],
        ["HINCRBY", "k", "a", 1], ["HSCAN", "k", 0], ["HRANDFIELD", "k", -3],
        ["HDEL", "k", "a"],
    ],
    "stream": [
        ["XRANGE", "k", "-", "+"], ["XREVRANGE", "k", "+", "-", "COUNT", 3], ["XINFO", "STREAM", "k", "FULL"],
        ["XADD", "k", "*", "a", 1], ["XREADGROUP", "GROUP", "g", "ann", "STREAMS", "k", ">"], ["XPENDING", "k", "g"],
        ["XREADGROUP", "GROUP", "g", "ann", "STREAMS", "k", 0], ["XAUTOCLAIM", "k", "g", "bob", 0, 0],
        ["XDEL", "k", "1-1", "2-1"], ["XTRIM", "k", "MAXLEN", 1], ["XGROUP", "DESTROY", "k", "g"],
    ],
    "ReJSON-RL": [
        ["JSON.GET", "k"], ["JSON.TYPE", "k", "$"], ["JSON.OBJKEYS", "k", "$..*"], ["JSON.NUMINCRBY", "k", "$..d", 1],
        ["JSON.ARRLEN", "k", "$..a"], ["JSON.SET", "k", "$.x", "1"], ["JSON.DEL", "k", "$..b"], ["JSON.CLEAR", "k"],
    ],
    "MBbloom--": [["BF.ADD", "k", "x"], ["BF.EXISTS", "k", "y"], ["BF.INFO", "k"], ["BF.CARD", "k"]],
    "MBbloomCF": [["CF.ADD", "k", "x"], ["CF.EXISTS", "k", "y"], ["CF.INFO", "k"], ["CF.DEL", "k", "x"]],
    "CMSk-TYPE": [["CMS.INCRBY", "k", "x", 1], ["CMS.QUERY", "k", "y"], ["CMS.INFO", "k"]],
    "TopK-TYPE": [["TOPK.ADD", "k", "x"], ["TOPK.LIST", "k"], ["TOPK.INFO", "k"]],
    "TDIS-TYPE": [["TDIGEST.ADD", "k", 1], ["TDIGEST.QUANTILE", "k", 0.5], ["TDIGEST.INFO", "k"]],
}  # fmt: skip
_AFTER: list[list[object]] = [
    ["OBJECT", "ENCODING", "k"], ["MEMORY", "USAGE", "k"], ["DUMP", "k"], ["COPY", "k", "copy", "REPLACE"],
    ["SORT", "k", "ALPHA"], ["TYPE", "k"], ["DEL", "k", "copy", "other"],
]  # fmt: skip


_MODULES = [
    ("JSON.SET", "j1", "$", '{"a":[1,2.5,"text",null,true,{"b":{"c":[]}}],"d":-7}'),
    ("JSON.SET", "j2", "$", "[" * 30 + "1" + "]" * 30),
    ("BF.RESERVE", "b1", "0.01", "100"), ("BF.MADD", "b1", "a", "b", "c"), ("BF.MADD", "b2", *map(str, range(300))),
    ("CF.RESERVE", "c1", "100"), ("CF.ADD", "c1", "a"), ("CMS.INITBYDIM", "m1", "20", "4"),
    ("CMS.INCRBY", "m1", "a", "5", "b", "7"), ("TOPK.RESERVE", "t1", "3", "8", "4", "0.9"),
    ("TOPK.ADD", "t1", "a", "b", "a", "c"), ("TDIGEST.CREATE", "d1"), ("TDIGEST.ADD", "d1", "1", "2.5", "9"),
]  # fmt: skip


def _made(config: dict[str, str]) -> list[bytes]:
    """Payloads of every type as a node with these settings writes them."""
    node = Harness(settings=config)
    words = [b"a", b"12", b"-70000", b"x" * 30, b"y" * 100, b"", b"9223372036854775807", noise(70), b"z" * 5000]
    node.run("SET", "s1", "x" * 3000)
    node.run("SET", "s2", "12345")
    node.run("SET", "s3", noise(500))
    node.run("PFADD", "s4", *range(3000))
    for count in (1, 8, 200):
        some = [words[at % len(words)] + (b"%d" % at if at >= len(words) else b"") for at in range(count)]
        node.run("RPUSH", f"l{count}", *some)
        node.run("SADD", f"e{count}", *some)
        node.run("SADD", f"i{count}", *EDGE_INTS[:count])
        node.run("ZADD", f"z{count}", *[word for at, one in enumerate(some) for word in (at * 1.5 - 3, one)])
        node.run("HSET", f"h{count}", *[word for one in some for word in (one, one)])
        node.run("GEOADD", f"g{count}", *[word for at in range(count) for word in (at % 80, at % 60, f"m{at}")])
        for at in range(count):
            node.run("XADD", f"x{count}", f"{at // 3 + 1}-{at % 3 + 1}", "a", some[at], *(["b", 1] if at % 5 else []))
        node.run("XGROUP", "CREATE", f"x{count}", "g", 0)
        node.run("XGROUP", "CREATE", f"x{count}", "h", "$")
        node.run("XREADGROUP", "GROUP", "g", "ann", "COUNT", 7, "STREAMS", f"x{count}", ">")
        node.run("XDEL", f"x{count}", "1-2", "2-1")
    known = set(node.run("COMMAND", "LIST"))  # type: ignore[arg-type]
    for request in _MODULES:
        if request[0].lower().encode() in known:
            node.run(*request)
    node.run("HSET", "deadlines", "a", 1, "b", 2, "c", 3)
    node.run("HPEXPIREAT", "deadlines", 33333333333000, "FIELDS", 2, "a", "b")
    found = []
    for key in node.run("KEYS", "*"):  # type: ignore[union-attr]
        payload = node.run("DUMP", key)
        assert isinstance(payload, bytes)
        found.append(payload)
    return found


def payloads() -> list[bytes]:
    """What is damaged: all types in every encoding, those included that no server writes any more, without footers."""
    large = {
        "hash-max-listpack-entries": "2", "zset-max-listpack-entries": "2", "set-max-intset-entries": "2",
        "set-max-listpack-entries": "2", "list-max-listpack-size": "3", "stream-node-max-entries": "5",
        "rdbcompression": "no",
    }  # fmt: skip
    items = [b"a", b"12", b"-70000", b"x" * 70, b"300", b"f"]
    numbers = [b"a", b"1", b"b", b"2.5"]
    listed = ziplist(items)
    old = [b"\x0a" + _text(listed), b"\x0e\x02" + _text(listed) * 2, b"\x0d" + _text(listed)]
    old += [b"\x0c" + _text(ziplist(numbers))]
    old += [b"\x09" + _text(zipmap({b"a": b"1", b"b": b"2" * 60})), b"\x01\x02\x01a\xc0\x07", b"\x03\x01\x01a\x032.5"]
    return [one[:-10] for one in _made({}) + _made(large)] + old


def _text(data: bytes) -> bytes:
    return b"\x80" + len(data).to_bytes(4, "big") + data


_LENGTHS = [
    b"\x00", b"\x01", b"\x3f", b"\x7f\xff", b"\x80\xff\xff\xff\xff", b"\x81" + b"\xff" * 8, b"\x80\x20\x00\x00\x00",
    b"\x81\x7f" + b"\xff" * 7, b"\xc0\x05", b"\xc2\xff\xff\xff\x7f", b"\xc3\x05\x80\x20\x00\x00\x00", b"\xc4", b"\xff",
    b"\xc3\x04\x80\x1f\xff\xff\xff\x00a\xe0\xff\x00",
]  # fmt: skip
"""Lengths as RDB writes them: small, at the edges, absurd, and compressed strings that claim to become huge."""

_NUMBERS = [0, 1, 127, 128, 255, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]


def damaged(rng: random.Random, bodies: list[bytes]) -> bytes:
    """One payload of `bodies`, damaged in one or a few places, or made up; sealed."""
    if rng.random() < 0.02:
        return seal(rng.randbytes(rng.randrange(1, 60)))
    body = bytearray(rng.choice(bodies))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(min(len(body), rng.choice((8, 40, 1 << 20))))
        how = rng.randrange(9)
        if how == 0:
            body[at] = rng.randrange(256)
        elif how == 1:
            body[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            body[at : at + rng.randrange(1, 6)] = rng.choice(_LENGTHS)
        elif how == 3:
            body[at:at] = rng.choice(_LENGTHS)
        elif how == 4:
            del body[at : at + rng.choice((1, 2, 9, 1000))]
        elif how == 5:
            other = rng.choice(bodies)
            start = rng.randrange(len(other))
            body[at:at] = other[start : start + rng.randrange(1, 50)]
        elif how == 6:
            size = rng.choice((2, 4))
            body[at : at + size] = (rng.choice(_NUMBERS) & ((1 << size * 8) - 1)).to_bytes(size, "little")
        elif how == 7:
            body[0] = rng.randrange(32)
        else:
            body[at : at + 4] = body[at : at + 8]
        if not body:
            body = bytearray(b"\0")
    return seal(bytes(body), rng.choice((6, 9, 10, 11, 12, 80)))


def _uses(kind: str) -> list[list[object]]:
    return _USES.get(kind, []) + _AFTER


def _requests(rng: random.Random, bodies: list[bytes]) -> list[object]:
    options: list[object] = rng.choice(([], [], ["IDLETIME", 5], ["FREQ", 7]))
    return ["RESTORE", "k", rng.choice((0, 0, 100000)), damaged(rng, bodies), "REPLACE", *options]


def test_in_process() -> None:
    bodies = payloads()
    node = Harness()
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + SECONDS * 0.6
    while time.monotonic() < deadline:
        case = sum(seen.values())
        request = _requests(random.Random(f"{SEED} {case}"), bodies)
        story = f"HASHSLOT_FUZZ_SEED={SEED}, case {case}: {request[3]!r}"
        began = time.monotonic()
        try:
            seen[_one_case(node, request)] += 1
        except Exception as error:
            raise AssertionError(story) from error
        assert time.monotonic() - began < CASE_SECONDS_MAX, f"slow: {story}"
    print(f"HASHSLOT_FUZZ_SEED={SEED}: {sum(seen.values())} payloads: {dict(seen)}")
    assert seen["refused"] > 100 and len(seen) > 6, f"what is it that is tested? {seen}"


def _one_case(node: Harness, request: list[object]) -> str:
    """What came of it: "refused" or the type that was restored and then used."""
    reply = node.wire(*request)
    if reply != b"+OK\r\n":
        assert reply[1:].startswith(REFUSALS), reply
        return "refused"
    kind = node.run("TYPE", "k")
    name = str(kind) if not isinstance(kind, bytes) else kind.decode()
    for use in _uses(name):
        node.wire(*use)
    assert node.wire("EXISTS", "k") == b":0\r\n"
    return name


@pytest.mark.real
def test_a_node_that_runs(tmp_path: Path) -> None:
    bodies = payloads()
    rng = random.Random(f"{SEED} node")
    cases = 0
    with start("hashslot", tmp_path) as node:
        wire = Wire(node.port)
        before = _peak_bytes(node.process.pid)
        deadline = time.monotonic() + SECONDS * 0.3
        while time.monotonic() < deadline:
            sent = [_requests(rng, bodies) for _ in range(20)]
            uses = [use for restore in sent for use in (restore, *_uses(rng.choice(list(_USES))))]
            wire.socket.sendall(b"".join(resp.request([_bytes(word) for word in use]) for use in uses))
            for use in uses:
                reply = wire.read()
                assert b"internal error" not in repr(reply).encode(), f"HASHSLOT_FUZZ_SEED={SEED}: {use}: {reply}"
            cases += len(sent)
        grown = _peak_bytes(node.process.pid) - before
        wire.close()
        assert node.client.ping()
        assert "Traceback" not in node.log_text()
    print(f"HASHSLOT_FUZZ_SEED={SEED}: {cases} payloads to a node, its peak has grown by {grown >> 20} MiB")
    assert cases > 100
    assert grown < GROWTH_BYTES_MAX, f"HASHSLOT_FUZZ_SEED={SEED}: the node's peak has grown by {grown >> 20} MiB"


def _bytes(word: object) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _peak_bytes(pid: int) -> int:
    """The most memory that a process ever held, as Linux tells; elsewhere what it holds now."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        import psutil

        return int(psutil.Process(pid).memory_info().rss)
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) * 1024
