"""Generated sequences of JSON commands: whatever is sent, a node answers, and replicas and payloads hold the same."""

from __future__ import annotations

import random

import pytest

from node.errors import CommandError
from node.resp import encode2, encode3
from tests.commands.harness import Harness
from tests.oracle.oracle import Told

_STEPS = 400
_SEED = 20261121

_PATHS = [
    *("$", ".", "$.a", "$.b", ".a", "b", "$.a.b", "$..a", "$..*", "$.*", "$[0]", "$.a[0]", "$.a[-1]", "$..[0]"),
    *("$.a[1:]", "$..b[::2]", "$['a','b']", "$[?(@.a)]", "$..[?(@>1)]", "$..[?(@.a == $.a)]", '$..[?(@ =~ "x")]'),
    *("$.a['b c']", "$[", "$.a..", "nope", "$.c.d.e", "\u00fc", "..a", "$.a[99]"),
]
_VALUES = [
    *("1", "-5", "2.5", "0", "true", "false", "null", '"x"', '"\u00e9"', "[]", "{}", "[1,2,3]", "[[1],[2,[3]]]"),
    *('{"a":1,"b":[1,"x",null]}', '{"a":{"b":{"a":2}}}', '{"b c":true}', '{"a":null}', "9223372036854775807"),
    *("18446744073709551615", "1e308", "{", "", "nan", "[[[[[[[[1]]]]]]]]"),
]
_RICH = b'{"a":[1,2.5,"x",{"a":3,"b":[4,5,6]},[7]],"b":{"a":true,"b":"xy","c":{"d":{}}},"c":8,"b c":[false,null]}'
_SHAPES = {
    "SET": "kpv", "GET": "kpp", "MERGE": "kpv", "DEL": "kp", "FORGET": "kp", "TYPE": "kp", "CLEAR": "kp",
    "NUMINCRBY": "kpv", "NUMMULTBY": "kpv", "STRAPPEND": "kpv", "STRLEN": "kp", "ARRAPPEND": "kpvv",
    "ARRINDEX": "kpvii", "ARRINSERT": "kpiv", "ARRLEN": "kp", "ARRPOP": "kpi", "ARRTRIM": "kpii", "OBJKEYS": "kp",
    "OBJLEN": "kp", "TOGGLE": "kp", "RESP": "kp", "MSET": "kpvkpv", "MGET": "kkp",
}  # fmt: skip
_WEIGHTS = [6 if name in ("SET", "MERGE", "MSET", "ARRAPPEND") else 2 for name in _SHAPES]


def generated(rng: random.Random) -> list[bytes]:
    name = rng.choices(list(_SHAPES), _WEIGHTS)[0]
    parts = {
        "k": lambda: rng.choice(("j", "k", "string", "none")) if rng.random() < 0.2 else "j",
        "p": lambda: rng.choice(_PATHS),
        "v": lambda: rng.choice(_VALUES),
        "i": lambda: rng.choice(("0", "1", "-1", "2", "-99", "99", "9223372036854775807", "-9223372036854775808", "x")),
    }
    args = [parts[part]() for part in _SHAPES[name]]
    if rng.random() < 0.05:
        args = args[: rng.randrange(len(args) + 1)]
    if name == "SET" and rng.random() < 0.2:
        args.append(rng.choice(("NX", "XX", "FORMAT", "what")))
    return [f"JSON.{name}".encode(), *(arg.encode() for arg in args)]


@pytest.mark.parametrize("number", range(10))
def test_replicas_and_payloads_hold_the_same(number: int) -> None:
    rng = random.Random(_SEED + number)
    print(f"seed {_SEED + number}")
    primary, replica = Harness(settings={"enable-debug-command": "yes"}), Harness(seed=2)
    primary.run("SET", "string", "x")
    replica.run("SET", "string", "x")
    primary.run("HELLO", 2 + number % 2)
    told = Told(primary)
    written = 0
    for step in range(_STEPS):
        request = generated(rng) if step % 8 else [b"JSON.SET", b"j", b"$", _RICH]
        before = primary.run("DEBUG", "DIGEST-VALUE", "j", "k")
        commands = told.of(*request)
        written += bool(commands)
        if not commands:
            assert primary.run("DEBUG", "DIGEST-VALUE", "j", "k") == before, request
        for command in commands:
            if command[0] not in (b"MULTI", b"EXEC"):
                replica.run(*command)
        for key in ("j", "k", "none"):
            payload = primary.run("DUMP", key)
            assert payload == replica.run("DUMP", key), (step, request)
        if step % 20 == 0 and (payload := primary.run("DUMP", "j")) is not None:
            replica.run("RESTORE", "copy", 0, payload, "REPLACE")
            assert replica.run("JSON.GET", "copy") == primary.run("JSON.GET", "j")
    assert written > _STEPS // 10


def test_every_answer_can_be_sent() -> None:
    rng = random.Random(_SEED)
    redis = Harness()
    redis.run("HELLO", 3)
    answers = 0
    for step in range(2000):
        try:
            reply = redis.run(*(generated(rng) if step % 8 else [b"JSON.SET", b"j", b"$", _RICH]))
        except CommandError as error:
            assert error.text
            continue
        encode2(reply)
        encode3(reply)
        answers += 1
    assert answers > 800
