"""BF, CF, CMS, TOPK and TDIGEST in process: replies in both protocols, errors, events, payloads, copies, damage."""

from __future__ import annotations

import math
import random

import pytest

from node.errors import WRONG_TYPE, CommandError
from node.persistence.crc64 import crc64
from node.persistence.errors import PayloadError
from node.persistence.options import SaveOptions
from node.persistence.payload import dump, restore
from node.persistence.rdb import KeyPieces, encode_key
from tests.commands.harness import START_MS, Harness, encoded
from tests.commands.test_strings import events

Request = tuple[object, ...]

MAKERS: dict[str, list[Request]] = {
    "MBbloom--": [("BF.RESERVE", "k", 0.01, 20), ("BF.MADD", "k", *range(50))],
    "MBbloomCF": [("CF.RESERVE", "k", 16), ("CF.INSERT", "k", "ITEMS", *range(50)), ("CF.DEL", "k", 7)],
    "CMSk-TYPE": [("CMS.INITBYDIM", "k", 20, 3), ("CMS.INCRBY", "k", "a", 5, "b", 70_000)],
    "TopK-TYPE": [("TOPK.RESERVE", "k", 3, 10, 3, 0.9), ("TOPK.ADD", "k", *"aabbccddeeff")],
    "TDIS-TYPE": [("TDIGEST.CREATE", "k", "COMPRESSION", 5), ("TDIGEST.ADD", "k", *range(100))],
}
ASKING: dict[str, list[str]] = {
    "MBbloom--": ["BF.EXISTS k 7", "BF.MEXISTS k 3 99", "BF.CARD k", "BF.INFO k", "BF.SCANDUMP k 0", "BF.SCANDUMP k 1"],
    "MBbloomCF": ["CF.EXISTS k 3", "CF.MEXISTS k 3 99", "CF.COUNT k 3", "CF.INFO k", "CF.SCANDUMP k 1"],
    "CMSk-TYPE": ["CMS.QUERY k a b c", "CMS.INFO k"],
    "TopK-TYPE": ["TOPK.QUERY k a f", "TOPK.COUNT k a f", "TOPK.LIST k", "TOPK.LIST k WITHCOUNT", "TOPK.INFO k"],
    "TDIS-TYPE": [
        "TDIGEST.MIN k",
        "TDIGEST.MAX k",
        "TDIGEST.QUANTILE k 0 0.3 1",
        "TDIGEST.CDF k -1 30 100",
        "TDIGEST.RANK k 5 50",
        "TDIGEST.REVRANK k 5 50",
        "TDIGEST.BYRANK k 0 70",
        "TDIGEST.BYREVRANK k 0 70 200",
        "TDIGEST.TRIMMED_MEAN k 0.1 0.8",
        "TDIGEST.INFO k",
    ],
}
KINDS = sorted(MAKERS)


@pytest.fixture
def redis() -> Harness:
    return Harness(settings={"enable-debug-command": "yes"})


def made(redis: Harness, kind: str) -> object:
    """The value at k, of this kind, made by commands."""
    for request in MAKERS[kind]:
        redis.run(*request)
    return redis.node.databases[0].keys_of(b"k")[b"k"]


def answers(redis: Harness, kind: str, key: str) -> list[object]:
    return [redis.run(*[key if word == "k" else word for word in line.split()]) for line in ASKING[kind]]


# Every type -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_works_on_any_key_works_on_these(redis: Harness, kind: str) -> None:
    made(redis, kind)
    assert redis.run("TYPE", "k") == kind
    assert redis.run("OBJECT", "ENCODING", "k") == b"raw"
    assert redis.run("MEMORY", "USAGE", "k") > 100
    assert redis.run("COPY", "k", "copy") == 1
    assert redis.run("RESTORE", "restored", 0, redis.run("DUMP", "k")) == "OK"
    digests = redis.run("DEBUG", "DIGEST-VALUE", "k", "copy", "restored")
    assert len(set(digests)) == 1
    expected = answers(redis, kind, "k")
    assert repr(answers(redis, kind, "copy")) == repr(answers(redis, kind, "restored")) == repr(expected)
    redis.run(*MAKERS[kind][1])
    assert repr(answers(redis, kind, "copy")) == repr(expected)
    assert redis.run("SCAN", 0, "TYPE", kind)[1]
    redis.run("RENAME", "copy", "again")
    assert repr(answers(redis, kind, "again")) == repr(expected)
    assert redis.run("DEL", "k", "again", "restored") == 3


@pytest.mark.parametrize("kind", KINDS)
def test_other_types_are_refused(redis: Harness, kind: str) -> None:
    made(redis, kind)
    redis.run("SET", "string", "x")
    assert redis.error("GET", "k") == WRONG_TYPE
    lines = [*ASKING[kind], *[" ".join(map(str, request)) for request in MAKERS[kind][1:]]]
    for line in lines:
        words = ["string" if word == "k" else word for word in line.split()]
        assert redis.error(*words) == WRONG_TYPE, line
    assert redis.run("GET", "string") == b"x"


@pytest.mark.parametrize("kind", KINDS)
def test_payloads_are_equal_in_pieces_and_whole(redis: Harness, kind: str) -> None:
    value = made(redis, kind)
    for options in (SaveOptions(), SaveOptions(compress=False)):
        assert b"".join(KeyPieces(b"k", value, None, options)) == encode_key(b"k", value, None, options)
        assert dump(restore(dump(value, options)), options) == dump(value, options)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_payloads_are_refused_or_make_a_usable_value(redis: Harness, kind: str) -> None:
    seed = 5
    print("seed", seed)
    source = random.Random(seed)
    payload = dump(made(redis, kind), SaveOptions(compress=False))[:-8]
    refused = 0
    for _ in range(600):
        damaged = bytearray(payload)
        for _ in range(source.randrange(1, 3)):
            damaged[source.randrange(len(damaged) - 2)] = source.choice((0, 1, 255, source.randrange(256)))
        if source.random() < 0.3:
            at = source.randrange(1, len(damaged) - 2)
            del damaged[at : min(at + source.randrange(1, 20), len(damaged) - 2)]
        sealed = bytes(damaged) + crc64(bytes(damaged)).to_bytes(8, "little")
        try:
            value = restore(sealed)
        except PayloadError:
            refused += 1
            continue
        redis.node.databases[0].keys_of(b"k")[b"k"] = value
        if redis.run("TYPE", "k") == kind:
            answers(redis, kind, "k")
            for request in MAKERS[kind][1:]:
                redis.node.run(redis.client, [encoded(word) for word in request])
            assert redis.run("RESTORE", "k", 0, redis.run("DUMP", "k"), "REPLACE") == "OK"
    assert refused > 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_that_hears_the_requests_has_the_same_value(redis: Harness, kind: str) -> None:
    """Reads on the primary alone, and a payload in the middle of the history, make no difference."""
    made(redis, kind)
    replica = Harness()
    replica.run("RESTORE", "k", 0, redis.run("DUMP", "k"))
    source = random.Random(3)
    for _ in range(30):
        items = [source.randrange(40) for _ in range(30)]
        request: Request = {
            "MBbloom--": ("BF.MADD", "k", *items),
            "MBbloomCF": ("CF.INSERT", "k", "ITEMS", *items),
            "CMSk-TYPE": ("CMS.INCRBY", "k", *items),
            "TopK-TYPE": ("TOPK.ADD", "k", *items),
            "TDIS-TYPE": ("TDIGEST.ADD", "k", *items),
        }[kind]
        assert repr(redis.run(*request)) == repr(replica.run(*request))
        answers(redis, kind, "k")
    assert redis.run("DUMP", "k") == replica.run("DUMP", "k")


@pytest.mark.parametrize(
    ("request_", "told", "changes"),
    [
        (("BF.ADD", "new", 1), [("bf.add", b"new")], 1),
        (("BF.MADD", "new", 1, 2, 2), [("bf.add", b"new")], 2),
        (("BF.EXISTS", "new", 1), [], 0),
        (("CF.ADD", "new", 1), [("cf.add", b"new")], 1),
        (("CF.INSERTNX", "new", "ITEMS", 1, 1), [("cf.add", b"new")], 1),
        (("CMS.INITBYDIM", "new", 5, 5), [("cms.init", b"new")], 1),
        (("TOPK.RESERVE", "new", 5), [("topk.reserve", b"new")], 1),
        (("TDIGEST.CREATE", "new"), [("tdigest.create", b"new")], 1),
    ],
)
def test_observers_are_told(redis: Harness, request_: Request, told: list[tuple[str, bytes]], changes: int) -> None:
    before = redis.node.dirty
    seen = events(redis)
    redis.run(*request_)
    assert seen == told
    assert redis.node.dirty - before == changes


def test_creating_over_an_expired_key_and_keeping_the_expiry_of_one_that_is_there(redis: Harness) -> None:
    redis.run("BF.ADD", "b", 1)
    redis.run("PEXPIRE", "b", 500)
    redis.run("BF.ADD", "b", 2)
    assert redis.node.databases[0].expires[b"b"] == START_MS + 500
    redis.advance(501)
    assert redis.run("BF.MADD", "b", 1, 2) == [True, True]


ERRORS = """
BF.RESERVE k 0 10 | ERR (0 < error rate range < 1)
BF.RESERVE k 1 10 | ERR (0 < error rate range < 1)
BF.RESERVE k x 10 | ERR bad error rate
BF.RESERVE k 0.1 x | ERR bad capacity
BF.RESERVE k 0.1 0 | ERR (capacity should be larger than 0)
BF.RESERVE k 0.1 10 EXPANSION | ERR no expansion
BF.RESERVE k 0.1 10 EXPANSION -1 | ERR bad expansion
BF.RESERVE k 0.1 10 EXPANSION 2 NONSCALING | Nonscaling filters cannot expand
BF.RESERVE k 0.1 10 WHAT | ERR syntax error
BF.RESERVE k 0.1 9223372036854775807 | ERR could not create filter
BF.RESERVE b 0.1 10 | ERR item exists
BF.INSERT k NOCREATE ITEMS a | ERR not found
BF.INSERT k CAPACITY 0 ITEMS a | Bad capacity
BF.INSERT k ERROR 2 ITEMS a | Bad error rate
BF.INSERT k EXPANSION x ITEMS a | Bad expansion
BF.INSERT k WHAT ITEMS a | Unknown argument received
BF.INSERT k CAPACITY 5 | ERR wrong number of arguments for 'bf.insert' command
BF.INSERT k CAPACITY 5 ITEMS | ERR wrong number of arguments for 'bf.insert' command
BF.INSERT k CAPACITY 9223372036854775807 ITEMS a | ERR could not create filter
BF.INFO k | ERR not found
BF.INFO b WHAT | ERR Invalid information value
BF.SCANDUMP k 0 | ERR not found
BF.SCANDUMP b x | ERR Second argument must be numeric
BF.LOADCHUNK k 1 rubbish | ERR received bad data
BF.LOADCHUNK k 9 rubbish | ERR not found
BF.LOADCHUNK b 1000000 rubbish | ERR received bad data
CF.RESERVE k x | Bad capacity
CF.RESERVE k 2 | Capacity must be at least (BucketSize * 2)
CF.RESERVE k 10 BUCKETSIZE | ERR wrong number of arguments for 'cf.reserve' command
CF.RESERVE k 10 WHAT 3 | ERR syntax error
CF.RESERVE k 10 BUCKETSIZE 0 | BUCKETSIZE: value must be an integer between 1 and 255, inclusive.
CF.RESERVE k 10 MAXITERATIONS 0 | MAXITERATIONS: value must be an integer between 1 and 65535, inclusive.
CF.RESERVE k 10 EXPANSION -1 | EXPANSION: value must be an integer between 0 and 32768, inclusive.
CF.RESERVE k 9223372036854775807 | Couldn't create Cuckoo Filter
CF.RESERVE f 10 | ERR item exists
CF.INSERT k NOCREATE ITEMS a | ERR not found
CF.INSERT k CAPACITY 1 ITEMS a | Capacity must be at least (BucketSize * 2)
CF.INSERTNX k ITEMS | ERR wrong number of arguments for 'cf.insertnx' command
CF.DEL k a | Not found
CF.INFO k | ERR not found
CF.LOADCHUNK k 0 x | Invalid position
CF.LOADCHUNK k 1 x | Invalid header
CF.LOADCHUNK f 99999 x | Couldn't load chunk!
CMS.INITBYDIM s 5 5 | CMS: key already exists
CMS.INITBYDIM k 0 5 | CMS: invalid width
CMS.INITBYDIM k 5 x | CMS: invalid depth
CMS.INITBYDIM k 9223372036854775807 5 | CMS: invalid init arguments
CMS.INITBYPROB k 0 0.1 | CMS: invalid overestimation value
CMS.INITBYPROB k 0.1 1 | CMS: invalid prob value
CMS.INITBYPROB k 1e-320 0.1 | CMS: invalid init arguments
CMS.INCRBY k a 1 | CMS: key does not exist
CMS.INCRBY s a x | CMS: Cannot parse number
CMS.INCRBY s a 1 b -1 | CMS: Number cannot be negative
CMS.INCRBY s a 1 b | ERR wrong number of arguments for 'cms.incrby' command
CMS.MERGE k 1 s | CMS: key does not exist
CMS.MERGE s 0 s | CMS: Number of keys must be positive
CMS.MERGE s x s | CMS: invalid numkeys
CMS.MERGE s 2 s | CMS: wrong number of keys
CMS.MERGE s 1 s WEIGHTS | CMS: wrong number of keys/weights
CMS.MERGE s 1 s WEIGHTS x | CMS: invalid weight value
CMS.MERGE s 1 s WEIGHTS -1 | CMS: MERGE overflow
CMS.MERGE s 1 other | CMS: width/depth is not equal
CMS.MERGE s 9223372036854775807 s | CMS: wrong number of keys
TOPK.RESERVE t 5 | TopK: key already exists
TOPK.RESERVE k 0 | TopK: invalid k
TOPK.RESERVE k 5 0 1 0.9 | TopK: invalid width
TOPK.RESERVE k 5 1 0 0.9 | TopK: invalid depth
TOPK.RESERVE k 5 1 1 0 | TopK: invalid decay value. must be '<= 1' & '> 0'
TOPK.RESERVE k 5 1 | ERR wrong number of arguments for 'topk.reserve' command
TOPK.RESERVE k 5 9000000000 9 1 | TopK: could not create: k, width and depth ask for too much memory
TOPK.ADD k a | TopK: key does not exist
TOPK.INCRBY t a 100001 | TopK: increment must be an integer greater or equal to 0 and smaller or equal to 100,000
TOPK.LIST t WHAT | WITHCOUNT keyword expected
TDIGEST.CREATE d | ERR T-Digest: key already exists
TDIGEST.CREATE k WHAT 5 | ERR T-Digest: wrong keyword
TDIGEST.CREATE k COMPRESSION x | ERR T-Digest: error parsing compression parameter
TDIGEST.CREATE k COMPRESSION 0 | ERR T-Digest: compression parameter needs to be a positive integer
TDIGEST.CREATE k COMPRESSION 9223372036854775807 | ERR T-Digest: allocation failed
TDIGEST.ADD k 1 | ERR T-Digest: key does not exist
TDIGEST.ADD d 1 nan | ERR T-Digest: error parsing val parameter
TDIGEST.ADD d 1 inf | ERR T-Digest: val parameter needs to be a finite number
TDIGEST.MERGE k x d | ERR T-Digest: error parsing numkeys
TDIGEST.MERGE k 0 d | ERR T-Digest: numkeys needs to be a positive integer
TDIGEST.MERGE k 2 d | ERR wrong number of arguments for 'tdigest.merge' command
TDIGEST.MERGE k 1 k | ERR T-Digest: key does not exist
TDIGEST.MERGE k 1 d WHAT | ERR T-Digest: wrong keyword
TDIGEST.QUANTILE d x | ERR T-Digest: error parsing quantile
TDIGEST.QUANTILE d 1.1 | ERR T-Digest: quantile should be in [0,1]
TDIGEST.BYRANK d -1 | ERR T-Digest: rank needs to be non negative
TDIGEST.BYRANK d x | ERR T-Digest: error parsing rank
TDIGEST.RANK d x | ERR T-Digest: error parsing value
TDIGEST.CDF d x | ERR T-Digest: error parsing cdf
TDIGEST.TRIMMED_MEAN d x 1 | ERR T-Digest: error parsing low_cut_percentile
TDIGEST.TRIMMED_MEAN d 0 2 | ERR T-Digest: low_cut_percentile and high_cut_percentile should be in [0,1]
TDIGEST.TRIMMED_MEAN d 1 1 | ERR T-Digest: low_cut_percentile should be lower than high_cut_percentile
"""


@pytest.mark.parametrize("line", ERRORS.strip().splitlines())
def test_errors_change_nothing(redis: Harness, line: str) -> None:
    for request in (
        ("BF.ADD", "b", 1),
        ("CF.ADD", "f", 1),
        ("CMS.INITBYDIM", "s", 10, 2),
        ("CMS.INCRBY", "s", "a", 3),
        ("CMS.INITBYDIM", "other", 11, 2),
        ("TOPK.RESERVE", "t", 5),
        ("TDIGEST.CREATE", "d"),
    ):
        redis.run(*request)
    before, dirty = redis.run("DEBUG", "DIGEST"), redis.node.dirty
    request_line, _, text = line.partition(" | ")
    assert redis.error(*request_line.split()) == text
    assert (redis.run("DEBUG", "DIGEST"), redis.node.dirty) == (before, dirty)


# Type by type ---------------------------------------------------------------------------------------------------------


def test_bloom_replies(redis: Harness) -> None:
    assert redis.wire("BF.ADD", "b", "x", protocol=2) == b":1\r\n"
    assert redis.wire("BF.MADD", "b", "x", "y", protocol=3) == b"*2\r\n#f\r\n#t\r\n"
    assert redis.run("BF.INFO", "b") == {
        "Capacity": 100,
        "Size": 240,
        "Number of filters": 1,
        "Number of items inserted": 2,
        "Expansion rate": 2,
    }
    assert redis.run("BF.INFO", "b", "items") == [2]
    assert (redis.run("BF.CARD", "b"), redis.run("BF.CARD", "nothing")) == (2, 0)
    assert redis.run("BF.EXISTS", "nothing", "x") is False
    assert redis.run("BF.RESERVE", "fixed", 0.01, 2, "NONSCALING") == "OK"
    assert redis.run("BF.INFO", "fixed", "EXPANSION") == [None]
    *added, full = redis.run("BF.INSERT", "fixed", "ITEMS", 1, 2, 3, 4)
    assert added == [True, True]
    assert isinstance(full, CommandError) and full.text == "ERR non scaling filter is full"
    assert redis.error("BF.ADD", "fixed", 3) == "ERR non scaling filter is full"
    options = ("CAPACITY", 7, "ERROR", 0.5, "EXPANSION", 3, "NONSCALING")
    assert redis.run("BF.INSERT", "own", *options, "ITEMS", "a") == [True]
    assert redis.run("BF.INFO", "own", "CAPACITY") == [7]


@pytest.mark.parametrize(("prefix", "kind"), [("BF", "MBbloom--"), ("CF", "MBbloomCF")])
def test_filters_from_their_dumps(redis: Harness, prefix: str, kind: str) -> None:
    made(redis, kind)
    redis.run(f"{prefix}.ADD", "twin", "what was here is overwritten")
    number = 0
    while True:
        number, piece = redis.run(f"{prefix}.SCANDUMP", "k", number)
        if number == 0:
            break
        assert redis.run(f"{prefix}.LOADCHUNK", "twin", number, piece) == "OK"
    assert not piece
    assert redis.run("DUMP", "twin") == redis.run("DUMP", "k")


def test_cuckoo_replies(redis: Harness) -> None:
    assert redis.wire("CF.ADD", "f", "x", protocol=3) == b"#t\r\n"
    assert (redis.run("CF.ADD", "f", "x"), redis.run("CF.ADDNX", "f", "x")) == (True, False)
    assert redis.run("CF.COUNT", "f", "x") == 2
    assert redis.run("CF.INSERTNX", "f", "ITEMS", "x", "y") == [False, True]
    assert (redis.run("CF.DEL", "f", "x"), redis.run("CF.DEL", "f", "z")) == (True, False)
    assert redis.run("CF.MEXISTS", "f", "x", "y", "z") == [True, True, False]
    assert redis.run("CF.INFO", "f") == {
        "Size": 1080,
        "Number of buckets": 512,
        "Number of filters": 1,
        "Number of items inserted": 2,
        "Number of items deleted": 1,
        "Bucket size": 2,
        "Expansion rate": 1,
        "Max iterations": 20,
    }
    redis.run("CF.RESERVE", "small", 4, "EXPANSION", 0)
    replies = redis.run("CF.INSERT", "small", "ITEMS", *["same"] * 6)
    places = redis.run("CF.COUNT", "small", "same")
    assert places in (2, 4)  # the item's two buckets may be the same one
    assert replies == [True] * places + [-1] * (6 - places)
    assert redis.error("CF.ADD", "small", "same") == "Filter is full"


def test_count_min_replies(redis: Harness) -> None:
    assert redis.run("CMS.INITBYPROB", "s", 0.001, 0.01) == "OK"
    assert redis.run("CMS.INCRBY", "s", "a", 10, "b", 42, "a", 1) == [10, 42, 11]
    assert redis.run("CMS.INFO", "s") == {"width": 2000, "depth": 7, "count": 53}
    redis.run("CMS.INITBYPROB", "sum", 0.001, 0.01)
    assert redis.run("CMS.MERGE", "sum", 2, "s", "s", "WEIGHTS", 1, 3) == "OK"
    assert redis.run("CMS.QUERY", "sum", "a", "b", "c") == [44, 168, 0]
    high = redis.run("CMS.INCRBY", "s", "a", 1 << 32)[0]
    assert isinstance(high, CommandError) and high.text == "CMS: INCRBY overflow"


def test_a_t_digest_that_cannot_count_further(redis: Harness) -> None:
    redis.run("TDIGEST.CREATE", "t")
    redis.run("TDIGEST.ADD", "t", 1)
    for _ in range(62):
        redis.run("TDIGEST.MERGE", "t", 1, "t")
    assert redis.run("TDIGEST.INFO", "t")["Observations"] == 1 << 62
    assert redis.error("TDIGEST.MERGE", "t", 1, "t") == "ERR T-Digest: overflow detected"
    redis.run("COPY", "t", "half")
    redis.run("TDIGEST.CREATE", "almost")
    redis.run("TDIGEST.ADD", "almost", 1)
    for _ in range(61):
        redis.run("TDIGEST.MERGE", "almost", 1, "almost")
        redis.run("TDIGEST.ADD", "almost", 1)
    redis.run("TDIGEST.MERGE", "t", 1, "almost")
    left = (1 << 63) - 1 - redis.run("TDIGEST.INFO", "t")["Observations"]
    assert left == 0
    assert redis.error("TDIGEST.ADD", "t", 5) == "ERR T-Digest: overflow detected"
    assert redis.run("TDIGEST.QUANTILE", "t", 0.5) == [1]


def test_top_k_replies(redis: Harness) -> None:
    assert redis.run("TOPK.RESERVE", "t", 2, 50, 4, 0.9) == "OK"
    assert redis.run("TOPK.INCRBY", "t", "a", 3, "b", 2, "c", 9, "nothing", 0) == [None, None, b"b", None]
    assert redis.run("TOPK.LIST", "t", "WITHCOUNT") == [b"c", 9, b"a", 3]
    assert redis.wire("TOPK.QUERY", "t", "a", "b", protocol=3) == b"*2\r\n#t\r\n#f\r\n"
    assert redis.wire("TOPK.QUERY", "t", "a", "b") == b"*2\r\n:1\r\n:0\r\n"
    assert redis.run("TOPK.COUNT", "t", "a", "b") == [3, 2]
    assert redis.run("TOPK.INFO", "t") == {"k": 2, "width": 50, "depth": 4, "decay": 0.9}
    redis.run("TOPK.RESERVE", "usual", 5)
    assert redis.run("TOPK.INFO", "usual") == {"k": 5, "width": 8, "depth": 7, "decay": 0.9}


def test_t_digest_replies(redis: Harness) -> None:
    """The examples of the commands' pages."""
    redis.run("TDIGEST.CREATE", "t", "COMPRESSION", 1000)
    values = [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5]
    redis.run("TDIGEST.ADD", "t", *values)
    quantiles = [at / 10 for at in range(11)]
    assert redis.run("TDIGEST.QUANTILE", "t", *quantiles) == [1, 2, 3, 3, 4, 4, 4, 5, 5, 5, 5]
    assert redis.run("TDIGEST.BYRANK", "t", *range(16)) == [*values, math.inf]
    assert redis.run("TDIGEST.BYREVRANK", "t", *range(16)) == [*values[::-1], -math.inf]
    fractions = redis.run("TDIGEST.CDF", "t", *range(7))
    assert fractions == pytest.approx([0, 0.5 / 15, 2 / 15, 4.5 / 15, 8 / 15, 12.5 / 15, 1])
    redis.run("TDIGEST.CREATE", "s")
    redis.run("TDIGEST.ADD", "s", 10, 20, 30, 40, 50, 60)
    places = range(0, 80, 10)
    assert redis.run("TDIGEST.RANK", "s", *places) == [-1, 0, 1, 2, 3, 4, 5, 6]
    assert redis.run("TDIGEST.REVRANK", "s", *places) == [6, 5, 4, 3, 2, 1, 0, -1]
    redis.run("TDIGEST.RESET", "s")
    redis.run("TDIGEST.ADD", "s", 10, 10, 10, 10, 20, 20)
    assert redis.run("TDIGEST.RANK", "s", 10, 20) == [2, 5]
    assert redis.run("TDIGEST.REVRANK", "s", 10, 20) == [4, 1]
    redis.run("TDIGEST.RESET", "s")
    redis.run("TDIGEST.ADD", "s", *range(1, 11))
    assert [redis.run("TDIGEST.TRIMMED_MEAN", "s", *cut) for cut in ((0.1, 0.6), (0.3, 0.9), (0, 1))] == [4, 6.5, 5.5]
    assert redis.wire("TDIGEST.MAX", "s") == b"$2\r\n10\r\n"
    assert redis.wire("TDIGEST.MAX", "s", protocol=3) == b",10\r\n"


def test_t_digests_without_observations(redis: Harness) -> None:
    redis.run("TDIGEST.CREATE", "t")
    for line in ("MIN t", "MAX t", "QUANTILE t 0.5", "CDF t 1", "BYRANK t 0", "BYREVRANK t 0", "TRIMMED_MEAN t 0 1"):
        name, *args = line.split()
        assert b"nan" in redis.wire(f"TDIGEST.{name}", *args), line
    assert redis.run("TDIGEST.RANK", "t", 1) == redis.run("TDIGEST.REVRANK", "t", 1) == [-2]
    info = redis.run("TDIGEST.INFO", "t")
    assert (info["Compression"], info["Capacity"], info["Observations"]) == (100, 610, 0)


def test_merging_t_digests(redis: Harness) -> None:
    for key, compression, values in (("a", 50, (1, 2, 3)), ("b", 200, (10, 20)), ("c", 10, (99,))):
        redis.run("TDIGEST.CREATE", key, "COMPRESSION", compression)
        redis.run("TDIGEST.ADD", key, *values)

    def merged(*args: object) -> tuple[object, ...]:
        assert redis.run("TDIGEST.MERGE", *args) == "OK"
        info = redis.run("TDIGEST.INFO", "to")
        return info["Compression"], info["Observations"], redis.run("TDIGEST.MIN", "to"), redis.run("TDIGEST.MAX", "to")

    assert merged("to", 2, "a", "b") == (200, 5, 1, 20)
    assert merged("to", 1, "c") == (200, 6, 1, 99)
    assert merged("to", 1, "to") == (200, 12, 1, 99)
    assert merged("to", 2, "b", "c", "OVERRIDE") == (200, 3, 10, 99)
    assert merged("to", 1, "a", "COMPRESSION", 30, "OVERRIDE") == (30, 3, 1, 3)
