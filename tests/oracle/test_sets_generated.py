"""Sets against the real servers: generated sequences, what replicas are told, memory, and what COMMAND says."""

from __future__ import annotations

import random

import pytest

from node.commands import sets
from node.registry import Command
from tests.commands.harness import Harness
from tests.oracle.conftest import Servers
from tests.oracle.facts import arguments_declared, arguments_told, declared, told
from tests.oracle.oracle import EXAMPLES, SEED, Judge, Stream, Told
from tests.oracle.test_sets import ORDERS
from tests.oracle.told import compare_told


def _request(rng: random.Random) -> list[object]:
    def member() -> object:
        number = rng.choice((rng.randrange(30), rng.randrange(30), rng.randrange(-(1 << 40), 1 << 40)))
        return rng.choice((number, number, rng.choice("abcdefgh"), "z\0", "long" * rng.randrange(3, 20)))

    keys = rng.sample("abcd", 3)
    members = [member() for _ in range(rng.choice((1, 1, 2, 8)))]
    if rng.random() < 0.6:
        members = [one for one in members if isinstance(one, int)] or [rng.randrange(40)]
    some = keys[: rng.randrange(1, 4)]
    choices: list[list[object]] = [
        ["SADD", keys[0], *members],
        ["SADD", keys[1], *members],
        ["SREM", keys[0], *members],
        ["SMOVE", keys[0], keys[1], members[0]],
        ["SISMEMBER", keys[0], members[0]],
        ["SMISMEMBER", keys[0], *members],
        ["SMEMBERS", keys[0]],
        ["SCARD", keys[0]],
        [rng.choice(("SINTER", "SUNION", "SDIFF")), *some],
        [rng.choice(("SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE")), rng.choice("abcd"), *some],
        ["SINTERCARD", len(some), *some, "LIMIT", rng.randrange(4)],
        ["SPOP", keys[0], rng.choice((0, 1000, -1))],
        ["SRANDMEMBER", keys[0], rng.choice((0, 1000, "x"))],
        ["SSCAN", keys[0], 0, "COUNT", 1000],
        ["COPY", keys[0], keys[1], "REPLACE"],
    ]
    return rng.choice(choices[: -5 if rng.random() < 0.8 else None])


@pytest.mark.parametrize("limits", [(512, 128, 64), (10, 6, 12), (20, 20, 64), (20, 0, 64), (0, 8, 8)])
def test_generated(judge: Judge, limits: tuple[int, int, int]) -> None:
    """200 steps and more on the same four sets, the state compared again and again.

    The limits are such that the order in which a union is built, which no two servers share, does not show.
    """
    names = ("set_max_intset_entries", "set_max_listpack_entries", "set_max_listpack_value")
    for example in range(max(1, EXAMPLES // 20)):
        known = names if judge.kind == "valkey" else names[:1]
        judge.begin(**{name: str(limit) for name, limit in zip(known, limits, strict=False)})
        rng = random.Random(f"{SEED} {limits} {example}")
        for step in range(250):
            request = _request(rng)
            judge.check(*request, order=ORDERS.get(str(request[0])))
            if step % 10 == 9 and judge.kind == "valkey":
                judge.same_state()


TOLD = """
    SADD s a b c
    SADD s a
    SADD s a d
    SREM s x
    SREM s a x
    SMOVE s t b
    SMOVE s t nothing
    SMOVE s s c
    SINTERSTORE i s nothing
    SINTERSTORE i s s
    SINTERSTORE i nothing
    SINTERSTORE i nothing
    SUNIONSTORE u s t
    SDIFFSTORE v s t
    SDIFFSTORE v s s
    SPOP nothing
    SPOP nothing 3
    SPOP s 0
    DEL s
    SADD s one
    SPOP s
    SADD s one two
    SPOP s 2
    SADD s one two
    SPOP s 5
"""


def test_what_replicas_are_told(servers: Servers) -> None:
    compare_told(servers, TOLD)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("count", [1, 4, 7, 1030, 2900])
def test_replicas_are_told_what_was_popped(servers: Servers, kind: str, count: int) -> None:
    """Redis 7.0 tells an SREM for each member, later versions one for up to 1024 of them."""
    stream = Stream(servers.server(kind))
    ours = Told(Harness())
    members = [b"m%d" % at for at in range(3000 if count > 10 else 8)]
    try:
        for side in (stream, ours):
            side.of(b"FLUSHALL")
            side.of(b"SADD", b"s", *members)
            told_of = side.of(b"SPOP", b"s", b"%d" % count)
            if side is ours and len(told_of) > 1:
                assert [told_of.pop(0), told_of.pop()] == [[b"MULTI"], [b"EXEC"]]
            assert {tuple(command[:2]) for command in told_of} == {(b"SREM", b"s")}
            popped = [member for command in told_of for member in command[2:]]
            assert len(popped) == len(set(popped)) == count
            if side is ours or kind == "valkey":
                assert [len(command) - 2 for command in told_of] == [
                    min(1024, count - at) for at in range(0, count, 1024)
                ]
    finally:
        stream.close()


@pytest.mark.parametrize(("prefix", "size"), [("", 500), ("member-", 100)])
def test_memory_of_a_small_set(judge: Judge, prefix: str, size: int) -> None:
    """At most twice what the real server says."""
    judge.check("SADD", "s", *[f"{prefix}{at}" for at in range(size)])
    theirs, ours = judge.both("MEMORY", "USAGE", "s", "SAMPLES", 0)
    assert int(ours.value) < 2.0 * int(theirs.value)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("command", sets.group.commands, ids=lambda command: command.name)
def test_facts(servers: Servers, kind: str, command: Command) -> None:
    theirs = told(servers.wire(kind, 3), command.name)
    ours = declared(command)
    assert theirs is not None
    if kind == "valkey":  # 7.0 has other names for some
        assert arguments_declared(command.name) == arguments_told(servers.wire(kind, 3), command.name)
    for fact in theirs:
        if (kind, fact) == ("redis", "summary"):  # other words in 7.2
            continue
        if (kind, command.name, fact) == ("redis", "sinterstore", "keys"):  # RW by mistake, OW since 7.2
            continue
        assert ours[fact] == theirs[fact], fact
