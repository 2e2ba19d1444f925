"""Commands newer than Redis 7.2 beside valkey-server 9.1, which has most of them."""

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


FIELDS = """
    HSET h a 1 b 2 c 3
    HEXPIRE h 100 FIELDS 2 a x
    HEXPIRE h 50 GT FIELDS 2 a b
    HEXPIRE h 50 LT FIELDS 2 a b
    HEXPIRE h 70 NX FIELDS 3 a b c
    HEXPIRE h 70 XX FIELDS 3 a b x
    HEXPIRE nothing 10 FIELDS 2 a b
    HPEXPIREAT h 9999999999999 FIELDS 1 a
    HPEXPIRETIME h FIELDS 2 a x
    HPEXPIREAT h 9999999999000 FIELDS 1 a
    HEXPIRETIME h FIELDS 1 a
    HEXPIREAT h 9999999999 FIELDS 1 c
    HPEXPIRETIME h FIELDS 1 c
    HTTL nothing FIELDS 2 a b
    HTTL h FIELDS 1 x
    HPTTL nothing FIELDS 1 a
    HPERSIST h FIELDS 3 a x a
    HPERSIST nothing FIELDS 1 a
    HTTL h FIELDS 1 a
    HGETEX h FIELDS 2 a x
    HGETEX nothing FIELDS 2 a x
    HGETEX h PXAT 9999999999999 FIELDS 2 a b
    HPEXPIRETIME h FIELDS 2 a b
    HGETEX h PERSIST FIELDS 2 a x
    HPEXPIRETIME h FIELDS 2 a b
    HINCRBY h b 1
    HINCRBYFLOAT h b 1.5
    HPEXPIRETIME h FIELDS 1 b
    HSET h b 5
    HPEXPIRETIME h FIELDS 1 b
    HSETEX h PXAT 9999999999999 FIELDS 2 d 4 e 5
    HPEXPIRETIME h FIELDS 2 d e
    HSETEX h KEEPTTL FIELDS 1 d 6
    HPEXPIRETIME h FIELDS 1 d
    HSETEX h FIELDS 1 d 7
    HPEXPIRETIME h FIELDS 1 d
    HSETEX h FNX FIELDS 2 d 7 f 8
    HSETEX h FXX FIELDS 2 d 7 f 8
    HSETEX h FXX FIELDS 2 d 8 e 8
    HSETEX new FXX FIELDS 1 d 8
    HSETEX new FNX FIELDS 1 d 8
    HEXISTS h f
    HGETDEL h FIELDS 2 d x
    HGETDEL nothing FIELDS 1 x
    HGETDEL new FIELDS 1 d
    EXISTS new
    HEXPIREAT h 1 FIELDS 2 a b
    HMGET h a b c d e
    HGETEX h PXAT 1 FIELDS 1 c
    HKEYS h
    HEXPIRE h 0 FIELDS 1 e
    EXISTS h
    HSETEX h EX x FIELDS 1 a 1
    HEXPIRE h x FIELDS 1 a
    SET s v
    HTTL s FIELDS 1 a
    HGETDEL s FIELDS 1 a
    HPERSIST s FIELDS 1 a
    HTTL h
    HEXPIRE h 10 FIELDS 1
    HSETEX h FIELDS 1 a
    HGETEX h FIELDS
"""


def test_fields(valkey: Judge) -> None:
    for line in FIELDS.splitlines():
        if line.strip():
            valkey.check(*line.split(), within=2)


def test_valkeys_payload_is_read(valkey: Judge) -> None:
    """Valkey's own encoding of a hash with deadlines, which has a number that Redis once used for something else."""
    for request in (("HSET", "h", "a", 1, "b", 2), ("HPEXPIREAT", "h", 9999999999999, "FIELDS", 1, "b")):
        valkey.check(*request)
    theirs, _ = valkey.both("DUMP", "h")
    assert theirs.value[0] == 22
    ours = valkey.ours
    assert ours.run("RESTORE", "copy", 0, theirs.value) == "OK"
    assert ours.run("HGETALL", "copy") == {b"a": b"1", b"b": b"2"}
    assert ours.run("HPEXPIRETIME", "copy", "FIELDS", 2, "a", "b") == [-1, 9999999999999]


def test_a_digest_knows_nothing_of_deadlines(valkey: Judge) -> None:
    """As in Valkey; Redis 7.4 and later mix in that a field has one."""
    valkey.ours.node.config.load("enable-debug-command", ["yes"])
    valkey.check("HSET", "h", "a", 1, "b", 2)
    before = valkey.check("DEBUG", "DIGEST-VALUE", "h")
    valkey.check("HEXPIRE", "h", 1000, "FIELDS", 1, "a")
    assert valkey.check("DEBUG", "DIGEST-VALUE", "h") == before
