"""List commands against the real servers: case by case, then generated. Each line of a table is one request."""

from __future__ import annotations

import random

import pytest

from node.commands import lists, lists_reading
from node.registry import Command
from tests.oracle.conftest import Servers
from tests.oracle.facts import arguments_declared, arguments_told, declared, told
from tests.oracle.oracle import EXAMPLES, SEED, Judge, Unlike
from tests.oracle.told import compare_told

TABLES = {
    "push and pop": """
        LPUSH l a
        LPUSH l b c d
        RPUSH l e f
        LRANGE l 0 -1
        LLEN l
        LLEN nothing
        LPOP l
        RPOP l
        LPOP nothing
        RPOP nothing
        LPOP nothing 3
        LPOP nothing 0
        RPOP l 2
        LPOP l 0
        LPOP l 100
        EXISTS l
        LPUSHX l a
        RPUSHX l a
        EXISTS l
        RPUSH l x
        LPUSHX l y z
        RPUSHX l u v
        LRANGE l 0 -1
        LPOP l 1
        RPOP l 1
        LPOP l -1
        LPOP l x
        LPOP l 9223372036854775808
        LPOP l 9223372036854775807
        EXISTS l
        RPUSH l 1 2 3
        RPOP l 10
        RPUSH l '' "\\x00" "a\\x00b" "\\r\\n" -5 007 9223372036854775807 -9223372036854775808 9223372036854775808
        LRANGE l 0 -1
        RPOP l
        LPOP l
        LPOP l
        LPOP l
        RPOP l
        EXPIRE l 100
        LPUSH l a
        rpush l B
    """,
    "wrong type": """
        SET s v
        LPUSH s a
        RPUSH s a
        LPUSHX s a
        RPUSHX s a
        LPOP s
        RPOP s
        LPOP s 1
        LPOP s 0
        LPOP s x
        LLEN s
        LINDEX s 0
        LINDEX s x
        LINSERT s BEFORE a b
        LINSERT s WHERE a b
        LRANGE s 0 -1
        LRANGE s x -1
        LREM s 0 a
        LREM s x a
        LSET s 0 a
        LSET s x a
        LTRIM s 0 1
        LTRIM s 0 x
        LPOS s a
        LPOS s a RANK 0
        RPUSH l a
        LMOVE s l LEFT LEFT
        LMOVE l s LEFT LEFT
        LMOVE s l LEFT MIDDLE
        LMOVE nothing s LEFT LEFT
        RPOPLPUSH s l
        RPOPLPUSH l s
        RPOPLPUSH nothing s
        LMPOP 1 s LEFT
        LMPOP 2 nothing s LEFT
        LMPOP 2 l s LEFT
        GET l
        HGET l f
        STRLEN nothing
    """,
    "arity": """
        LPUSH l
        RPUSH l
        LPUSHX l
        RPUSHX l
        LPOP
        RPOP
        LPOP l 1 2
        RPOP l 1 2
        RPOP l x 2
        LLEN
        LLEN a b
        LINDEX l
        LINSERT l BEFORE a
        LRANGE l 0
        LREM l 0
        LSET l 0
        LTRIM l 0
        LPOS l
        LMOVE a b LEFT
        LMOVE a b LEFT LEFT LEFT
        RPOPLPUSH a
        LMPOP 1 l
        LMPOP 1
    """,
    "index and range": """
        RPUSH l a b c d e f
        LINDEX l 0
        LINDEX l 5
        LINDEX l 6
        LINDEX l -1
        LINDEX l -6
        LINDEX l -7
        LINDEX l x
        LINDEX l 1.5
        LINDEX nothing x
        LINDEX nothing 0
        LINDEX l 9223372036854775807
        LINDEX l -9223372036854775808
        LINDEX l 9223372036854775808
        LRANGE l 0 0
        LRANGE l 1 3
        LRANGE l -3 -1
        LRANGE l -100 100
        LRANGE l 5 5
        LRANGE l 6 7
        LRANGE l 3 2
        LRANGE l -1 -3
        LRANGE l 0 -7
        LRANGE l 0 -100
        LRANGE l x 1
        LRANGE l 1 x
        LRANGE nothing x 1
        LRANGE nothing 0 -1
        LRANGE l -9223372036854775808 9223372036854775807
    """,
    "set, insert, remove, trim": """
        LSET nothing 0 a
        LSET nothing x a
        RPUSH l a b c b a
        LSET l 0 z
        LSET l -1 y
        LSET l 5 q
        LSET l -6 q
        LSET l x q
        LSET l 2 ''
        LRANGE l 0 -1
        LINSERT l BEFORE b 1
        LINSERT l AFTER b 2
        LINSERT l before z first
        LINSERT l AFTER y last
        LINSERT l AFTER nothing x
        LINSERT l MIDDLE b x
        LINSERT nothing BEFORE b x
        LINSERT nothing MIDDLE b x
        LRANGE l 0 -1
        LREM l 1 b
        LREM l -1 b
        LREM l 0 nothing
        LREM nothing 0 a
        LREM nothing x a
        LREM l x a
        LREM l -9223372036854775808 a
        LRANGE l 0 -1
        RPUSH r a b a c a d a
        LREM r 2 a
        LRANGE r 0 -1
        RPUSH r a a
        LREM r -2 a
        LRANGE r 0 -1
        LREM r 0 a
        LRANGE r 0 -1
        LREM r 9223372036854775807 b
        LREM r 0 c
        LREM r 0 d
        EXISTS r
        RPUSH t 0 1 2 3 4 5 6 7 8 9
        LTRIM t 1 -2
        LRANGE t 0 -1
        LTRIM t 0 -1
        LTRIM t -3 100
        LRANGE t 0 -1
        LTRIM t 2 1
        EXISTS t
        LTRIM nothing 0 1
        LTRIM nothing 0 x
        LTRIM nothing x 1
        RPUSH t a b
        LTRIM t 5 10
        EXISTS t
        RPUSH t a b
        LTRIM t 0 -100
        EXISTS t
    """,
    "lpos": """
        RPUSH l a b c 1 2 3 c c
        LPOS l a
        LPOS l c
        LPOS l c RANK 1
        LPOS l c RANK 2
        LPOS l c RANK 4
        LPOS l c RANK -1
        LPOS l c RANK -2
        LPOS l c RANK -4
        LPOS l c COUNT 2
        LPOS l c COUNT 0
        LPOS l c COUNT 1
        LPOS l c COUNT 0 RANK 2
        LPOS l c COUNT 0 RANK -2
        LPOS l c COUNT 2 RANK -1
        LPOS l x
        LPOS l x COUNT 0
        LPOS l x COUNT 3
        LPOS l c COUNT 0 MAXLEN 3
        LPOS l c COUNT 0 MAXLEN 2
        LPOS l c COUNT 0 MAXLEN 0
        LPOS l c MAXLEN 2
        LPOS l c MAXLEN 3
        LPOS l a MAXLEN 7 RANK -1
        LPOS l a MAXLEN 8 RANK -1
        LPOS l c MAXLEN 2 RANK -1 COUNT 0
        LPOS l c MAXLEN 9223372036854775807 COUNT 9223372036854775807
        LPOS l c RANK 0
        LPOS l c RANK x
        LPOS l c RANK -9223372036854775808
        LPOS l c RANK 9223372036854775807
        LPOS l c RANK -9223372036854775807
        LPOS l c COUNT -1
        LPOS l c COUNT x
        LPOS l c MAXLEN -1
        LPOS l c MAXLEN x
        LPOS l c RANK
        LPOS l c COUNT
        LPOS l c WHAT 1
        LPOS l c count 1 rank 2 maxlen 100
        LPOS l c COUNT 1 COUNT 2
        LPOS nothing a
        LPOS nothing a COUNT 0
        LPOS nothing a RANK 0
        LPOS nothing a WHAT
        LPOS l 1
        LPOS l 01
    """,
    "move": """
        RPUSH a 1 2 3 4 5
        LMOVE a b LEFT LEFT
        LMOVE a b LEFT RIGHT
        LMOVE a b RIGHT LEFT
        LMOVE a b RIGHT RIGHT
        LRANGE a 0 -1
        LRANGE b 0 -1
        LMOVE a b left right
        EXISTS a
        LMOVE a b LEFT RIGHT
        LMOVE b b LEFT RIGHT
        LRANGE b 0 -1
        LMOVE b b RIGHT LEFT
        LMOVE b b LEFT LEFT
        LRANGE b 0 -1
        LMOVE a b UP LEFT
        LMOVE a b LEFT UP
        RPOPLPUSH b c
        RPOPLPUSH b b
        RPOPLPUSH nothing c
        LRANGE b 0 -1
        LRANGE c 0 -1
        RPOPLPUSH c c
        LRANGE c 0 -1
        EXPIRE c 100
        RPOPLPUSH c d
        TTL d
    """,
    "lmpop": """
        LMPOP 1 nothing LEFT
        LMPOP 2 nothing other RIGHT COUNT 5
        RPUSH l a b c d e f
        RPUSH m 1 2
        LMPOP 1 l LEFT
        LMPOP 2 nothing l RIGHT
        LMPOP 2 l m LEFT COUNT 2
        LMPOP 2 m l RIGHT COUNT 10
        EXISTS m
        LMPOP 2 m l right count 1
        LMPOP 1 l LEFT COUNT 0
        LMPOP 1 l LEFT COUNT -1
        LMPOP 1 l LEFT COUNT x
        LMPOP 1 l LEFT COUNT
        LMPOP 1 l LEFT COUNT 1 COUNT 2
        LMPOP 1 l LEFT COUNT 1 x
        LMPOP 1 l LEFT WHAT 1
        LMPOP 1 l MIDDLE
        LMPOP 0 l LEFT
        LMPOP -1 l LEFT
        LMPOP x l LEFT
        LMPOP 2 l LEFT
        LMPOP 3 l LEFT
        LMPOP 9223372036854775807 l LEFT
        LMPOP 9223372036854775808 l LEFT
        LMPOP 1 l LEFT COUNT 9223372036854775807
        EXISTS l
    """,
    "other commands": """
        RPUSH l a b c
        TYPE l
        COPY l m
        RPUSH m d
        LRANGE l 0 -1
        RENAME m n
        LRANGE n 0 -1
        PERSIST l
        OBJECT REFCOUNT l
        SCAN 0 TYPE list COUNT 100 MATCH l
        SET l v
        DEL n
    """,
}

_LONGEST = "Redis 7.0 does not refuse the number that has no opposite; 7.2 does"
UNLIKE = {
    line: Unlike("redis", _LONGEST)
    for line in ("LREM l -9223372036854775808 a", "LPOS l c RANK -9223372036854775808")
}

SIZES = (1, 62, 63, 64, 65, 125, 126, 127, 1000, 4093, 4094, 4095, 4096, 8100)


@pytest.mark.parametrize("name", TABLES)
def test_lists(judge: Judge, name: str) -> None:
    judge.check_all(TABLES[name], UNLIKE)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_of_elements(judge: Judge, size: int) -> None:
    for at in range(12):
        judge.check("RPUSH" if at % 2 else "LPUSH", "l", "x" * size)
        judge.check("RPUSH", "n", "y" * size, at, -at * 1000, at << 20, at << 40)
        judge.same_state()


@pytest.mark.parametrize("fill", [-5, -1, 0, 1, 4, 128])
def test_where_listpacks_end_and_come_back(judge: Judge, fill: int) -> None:
    judge.begin(list_max_listpack_size=str(fill))
    rng = random.Random(f"{SEED} {fill}")
    for _ in range(60):
        judge.check("RPUSH", "l", *rng.choices(("a", "b" * 60, "c" * 700, 12, 100000), k=rng.randrange(1, 9)))
    judge.same_state()
    while judge.check("EXISTS", "l").value == b"1":
        judge.check(rng.choice(("LPOP", "RPOP")), "l", rng.randrange(1, 30))
        judge.same_state()


def _request(rng: random.Random) -> list[object]:
    """A request on a few lists; elements of all sizes, so that nodes fill, split and merge."""

    def element() -> object:
        numbers = rng.randrange(-5, 300), rng.randrange(1 << 40)
        return rng.choice(("a", "b", "b" * 50, "c" * 300, "d" * 1500, *numbers, "z\0"))

    def index() -> int:
        return rng.randrange(-30, 30)

    rank = rng.choice((1, 2, -1, -2, 0))
    key, other = rng.choice("klm"), rng.choice("klm")
    ends = ("LEFT", "RIGHT", "left", "x") if rng.random() < 0.1 else ("LEFT", "RIGHT")
    many = [element() for _ in range(rng.choice((1, 1, 2, 9, 40)))]
    choices: list[list[object]] = [
        [rng.choice(("LPUSH", "RPUSH", "LPUSHX", "RPUSHX")), key, *many],
        [rng.choice(("LPUSH", "RPUSH")), key, *many],
        [rng.choice(("LPOP", "RPOP")), key],
        [rng.choice(("LPOP", "RPOP")), key, rng.choice((0, 1, 3, 20, -1, "x"))],
        ["LINSERT", key, rng.choice(("BEFORE", "AFTER")), element(), element()],
        ["LINSERT", key, rng.choice(("BEFORE", "AFTER")), rng.choice("ab"), element()],
        ["LSET", key, index(), element()],
        ["LREM", key, rng.choice((0, 1, -1, 2, -3)), element()],
        ["LTRIM", key, rng.randrange(-60, 5), rng.randrange(-5, 60)],
        ["LMOVE", key, other, rng.choice(ends), rng.choice(ends)],
        ["RPOPLPUSH", key, other],
        ["LMPOP", 2, key, other, rng.choice(ends), "COUNT", rng.choice((1, 2, 10, 0))],
        ["LRANGE", key, index(), index()],
        ["LINDEX", key, index()],
        ["LPOS", key, element(), "RANK", rank, "COUNT", rng.randrange(4), "MAXLEN", rng.randrange(40)],
        ["LLEN", key],
        ["COPY", key, other, "REPLACE"],
        ["OBJECT", "ENCODING", "nothing"],
    ]
    return rng.choice(choices)


@pytest.mark.parametrize("fill", [-2, -1, 16])
def test_generated(judge: Judge, fill: int) -> None:
    """200 steps and more on the same three lists, the state compared again and again."""
    for example in range(max(1, EXAMPLES // 20)):
        judge.begin(list_max_listpack_size=str(fill))
        rng = random.Random(f"{SEED} {fill} {example}")
        for step in range(300):
            judge.check(*_request(rng))
            if step % 10 == 9:
                judge.same_state()


TOLD = """
    RPUSH l a b c d e f
    LPUSHX nothing a
    LPUSHX l z y
    LPOP l
    LPOP l 2
    LPOP l 0
    RPOP nothing
    RPOP l
    LMPOP 2 nothing l RIGHT COUNT 2
    LMPOP 1 nothing LEFT
    LMPOP 1 l LEFT COUNT 50
    RPUSH l a b c d e f
    LMOVE l m LEFT RIGHT
    LMOVE nothing m LEFT RIGHT
    RPOPLPUSH l l
    LREM l 0 nothing
    LREM l 1 b
    LSET l 0 x
    LINSERT l BEFORE x y
    LINSERT l BEFORE nothing y
    LTRIM l 0 -1
    LTRIM l 1 -1
    LTRIM l 5 1
    LTRIM l 0 1
"""


def test_what_replicas_are_told(servers: Servers) -> None:
    compare_told(servers, TOLD)


@pytest.mark.parametrize("size", [100, 400])
def test_memory_of_a_small_list(judge: Judge, size: int) -> None:
    """At most twice what the real server says."""
    judge.check("RPUSH", "l", *[f"element-{at:08d}" for at in range(size)])
    theirs, ours = judge.both("MEMORY", "USAGE", "l", "SAMPLES", 0)
    assert int(ours.value) < 2.0 * int(theirs.value)


_GROUPS = (lists.group, lists_reading.group)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("command", [one for group in _GROUPS for one in group.commands], ids=lambda command: command.name)
def test_facts(servers: Servers, kind: str, command: Command) -> None:
    theirs = told(servers.wire(kind, 3), command.name)
    ours = declared(command)
    assert theirs is not None
    if kind == "valkey":  # 7.0 has other names for some
        assert arguments_declared(command.name) == arguments_told(servers.wire(kind, 3), command.name)
    for fact in theirs:
        if (kind, fact) not in (("redis", "summary"), ("valkey", "deprecated")):  # new words in 7.2, not in Valkey
            assert ours[fact] == theirs[fact], fact
