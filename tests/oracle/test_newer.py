"""Commands newer than Redis 7.2 beside valkey-server 9.1, which has most of them; where it is not like Redis is said."""

from __future__ import annotations

import pytest

from node.commands import strings_newer
from tests.oracle.conftest import Servers
from tests.oracle.facts import declared, told
from tests.oracle.oracle import Judge

STRINGS = """
    SET k v IFEQ x
    EXISTS k
    SET k v
    SET k w IFEQ v
    SET k x IFEQ v
    SET k x IFEQ w GET
    SET k y IFEQ w GET
    SET k y IFEQ x EX 100
    TTL k
    SET k z IFEQ y KEEPTTL
    TTL k
    SET k z IFEQ z
    TTL k
    SET k z IFEQ z NX
    SET k z NX IFEQ z
    SET k z IFEQ
    SET n 5
    SET n 6 IFEQ 5
    SET n 7 IFEQ 05
    HSET h a 1
    SET h v IFEQ x
    DELIFEQ k x
    DELIFEQ k z
    DELIFEQ k z
    DELIFEQ n 6
    DELIFEQ h a
    DELIFEQ k
    MSETEX 0 a b
    MSETEX x a b
    MSETEX -1 a b
    MSETEX 2147483648 a b
    MSETEX 2 a b
    MSETEX 1 a b c
    MSETEX 1 a b NX XX
    MSETEX 1 a b EX 0
    MSETEX 1 a b EX x
    MSETEX 1 a b EX
    MSETEX 1 a b EX 10 KEEPTTL
    MSETEX 1 a b EX 10 PX 10
    MSETEX 1 a b PERSIST
    MSETEX 1 a b GET
    MSETEX 2 a 1 b 2
    MSETEX 2 a 1 c 2 NX
    EXISTS c
    MSETEX 2 a 3 c 2 XX
    MSETEX 2 a 3 b 4 XX EX 100
    MSETEX 2 a 5 b 6 KEEPTTL
    MSETEX 2 a 5 b 6 xx px 100000
    MSETEX 2 h 7 a 8
    MSETEX 2 d 1 e 2 NX EXAT 99999999999
    MSETEX 1 f 1 PXAT 99999999999999
    MSETEX 1 d x
    MSETEX 1 a
    MSETEX
    MGET a b c d e f
"""


@pytest.fixture
def valkey(judge: Judge) -> Judge:
    if judge.kind != "valkey":
        pytest.skip("Redis 7.0 has none of these")
    return judge


def test_strings(valkey: Judge) -> None:
    valkey.check_all(STRINGS)


COMMANDS = {one.name: one for group in (strings_newer.group,) for one in group.commands}
_SAME = ("arity", "flags", "range", "categories", "keys", "group", "tips")


@pytest.mark.parametrize("name", COMMANDS)
def test_facts(servers: Servers, name: str) -> None:
    facts = told(servers.wire("valkey", 3), name)
    if facts is None:
        assert name in ("digest", "delex")
        return
    ours = declared(COMMANDS[name])
    if name == "msetex":
        facts["flags"].remove("movablekeys")  # Valkey has a function that finds the keys, we need none
    assert {fact: facts[fact] for fact in _SAME} == {fact: ours[fact] for fact in _SAME}
