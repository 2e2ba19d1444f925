"""JSON commands in process: replies in both protocols, errors, events, what replicas are told, keys of the cluster.

No server here has JSON; the judges are the command pages and RedisJSON's published tests, from whose facts these
tables are made.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from node.resp import encode2, encode3
from tests.commands.harness import Harness
from tests.commands.test_strings import events
from tests.oracle.oracle import Told
from tests.servers import ROOT

DOC = '{"n":1,"f":2.5,"s":"ab","b":true,"z":null,"a":[1,2,3],"o":{"n":4,"a":["x"],"s":5}}'


@pytest.fixture
def redis() -> Harness:
    made = Harness(settings={"enable-debug-command": "yes"})
    made.run("JSON.SET", "d", "$", DOC)
    made.run("SET", "string", "x")
    return made


def document(redis: Harness, key: str = "d") -> Any:
    reply = redis.run("JSON.GET", key)
    return None if reply is None else json.loads(reply)


# Replies --------------------------------------------------------------------------------------------------------------

REPLIES: list[tuple[str, Any]] = [
    ("GET d $.n", b"[1]"),
    ("GET d .n", b"1"),
    ("GET d n", b"1"),
    ("GET d $..n", b"[1,4]"),
    ("GET d ..n", b"1"),
    ("GET d $.none", b"[]"),
    ("GET d $.n $..s", b'{"$.n":[1],"$..s":["ab",5]}'),
    ("GET d .n .s", b'{".n":1,".s":"ab"}'),
    ("GET d .n $.s", b'{".n":[1],"$.s":["ab"]}'),
    ("GET d $.n $[", b'{"$.n":[1]}'),
    ("GET d NOESCAPE $.n", b"[1]"),
    ("GET d INDENT > NEWLINE | SPACE _ $.o.a", b'[|>[|>>"x"|>]|]'),
    ("GET d SPACE _ o", b'{"n":_4,"a":_["x"],"s":_5}'),
    ("GET none $.n", None),
    ("MGET d none string $.n", [b"[1]", None, None]),
    ("MGET d none .n", [b"1", None]),
    ("MGET d d $.none", [b"[]", b"[]"]),
    ("MGET d .none", [None]),
    ("TYPE d $.*", [b"integer", b"number", b"string", b"boolean", b"null", b"array", b"object"]),
    ("TYPE d .f", b"number"),
    ("TYPE d", b"object"),
    ("TYPE d .none", None),
    ("TYPE d $.none", []),
    ("TYPE none $", None),
    ("STRLEN d $.*", [None, None, 2, None, None, None, None]),
    ("STRLEN d .s", 2),
    ("STRLEN none", None),
    ("ARRLEN d $..a", [3, 1]),
    ("ARRLEN d .a", 3),
    ("ARRLEN d $.n", [None]),
    ("ARRLEN none .a", None),
    ("OBJLEN d $", [7]),
    ("OBJLEN d", 7),
    ("OBJLEN d $.*", [None, None, None, None, None, None, 3]),
    ("OBJLEN d .none", None),
    ("OBJLEN none", None),
    ("OBJKEYS d $.o", [[b"n", b"a", b"s"]]),
    ("OBJKEYS d .o", [b"n", b"a", b"s"]),
    ("OBJKEYS d $.a", [None]),
    ("OBJKEYS d .none", None),
    ("OBJKEYS none .o", None),
    ("ARRINDEX d $.a 2", [1]),
    ("ARRINDEX d .a 2", 1),
    ("ARRINDEX d $.a 9", [-1]),
    ("ARRINDEX d $.a 2.0", [-1]),
    ("ARRINDEX d $.a 3 0 2", [-1]),
    ("ARRINDEX d $.a 3 0 0", [2]),
    ("ARRINDEX d $.a 3 -1", [2]),
    ("ARRINDEX d $.a 1 1", [-1]),
    ("ARRINDEX d $.a 1 -9 -1", [0]),
    ("ARRINDEX d $.a 3 9", [2]),
    ("ARRINDEX d $.a 1 0 9223372036854775807", [0]),
    ('ARRINDEX d $..a "x"', [-1, 0]),
    ("ARRINDEX d $.n 1", [None]),
    ("RESP d .a", ["[", 1, 2, 3]),
    ("RESP d $.o", [["{", b"n", 4, b"a", ["[", b"x"], b"s", 5]]),
    ("RESP d $.*", [1, 2.5, b"ab", "true", None, ["[", 1, 2, 3], ["{", b"n", 4, b"a", ["[", b"x"], b"s", 5]]),
    ("RESP none", None),
    ("NUMINCRBY d $..n 2", b"[3,6]"),
    ("NUMINCRBY d $.* 1", b"[2,3.5,null,null,null,null,null]"),
    ("NUMINCRBY d .n 1.5", b"2.5"),
    ("NUMINCRBY d ..n 1", b"5"),
    ("NUMINCRBY d $.none 1", b"[]"),
    ("NUMMULTBY d $.n 3", b"[3]"),
    ("NUMMULTBY d f 2", b"5.0"),
    ("TOGGLE d $.b", [0]),
    ("TOGGLE d .b", b"false"),
    ("TOGGLE d $.n", [None]),
    ('STRAPPEND d $.s "cé"', [5]),
    ('STRAPPEND d .s "c"', 3),
    ('STRAPPEND d $..s "c"', [3, None]),
    ('STRAPPEND d $.none "c"', []),
    ("ARRAPPEND d $.a 4 5", [5]),
    ("ARRAPPEND d .a {}", 4),
    ("ARRAPPEND d $..a 0", [4, 2]),
    ("ARRAPPEND d $.s 0", [None]),
    ("ARRINSERT d $.a 0 7 8", [5]),
    ("ARRINSERT d .a -1 7", 4),
    ("ARRINSERT d $.a 3 7", [4]),
    ("ARRPOP d $.a", [b"3"]),
    ("ARRPOP d .a", b"3"),
    ("ARRPOP d $.a 0", [b"1"]),
    ("ARRPOP d $.a -2", [b"2"]),
    ("ARRPOP d $.a 99", [b"3"]),
    ("ARRPOP d $.a -99", [b"1"]),
    ("ARRPOP d $..a", [b"3", b'"x"']),
    ("ARRPOP d $.n", [None]),
    ("ARRTRIM d $.a 1 1", [1]),
    ("ARRTRIM d .a 0 -2", 2),
    ("ARRTRIM d $.a 5 9", [0]),
    ("ARRTRIM d $.a -2 99", [2]),
    ("ARRTRIM d $.a 2 1", [0]),
    ("CLEAR d $.a", 1),
    ("CLEAR d $.*", 4),
    ("CLEAR d", 1),
    ("CLEAR d $.s", 0),
    ("DEL d $..n", 2),
    ("DEL d $.none", 0),
    ("DEL d", 1),
    ("FORGET d .a", 1),
    ("DEL none", 0),
    ("SET d $.n 5", "OK"),
    ("SET d $.new 5", "OK"),
    ("SET d $.o.new 5", "OK"),
    ("SET d $.new.deep 5", None),
    ("SET d $.n.deep 5", None),
    ("SET d $.n 5 NX", None),
    ("SET d $.new 5 XX", None),
    ("SET d $ 5 NX", None),
    ("SET none $ 5 XX", None),
    ("SET none . 5 NX", "OK"),
    ("SET d $.a[0] 5 NX", None),
    ("SET d $..none 5 XX", None),
    ("SET d $.n 5 FORMAT JSON", "OK"),
    ("SET d $.a [1.5] FPHA FP32", "OK"),
    ("MSET d $.n 2 d $.f 3 none $ {}", "OK"),
    ('MERGE d $ {"n":null}', "OK"),
    ("MERGE d $.q 5", "OK"),
    ("MERGE d $.q.r 5", None),
    ("DEBUG MEMORY none", 0),
    ("DEBUG MEMORY none $", []),
    ("DEBUG MEMORY d .n", 8),
    ("DEBUG MEMORY d $.s", [10]),
]


@pytest.mark.parametrize(("request_", "reply"), REPLIES, ids=[request for request, _ in REPLIES])
def test_replies(redis: Harness, request_: str, reply: Any) -> None:
    found = redis.run(*f"JSON.{request_}".split(" "))
    assert found == reply
    assert type(found) is type(reply)
    assert encode2(found) == encode2(reply)


RESP3: list[tuple[str, Any]] = [
    ("GET d $.n", b"[1]"),
    ("GET d .n", b"1"),
    ("GET d FORMAT STRING $.n", b"[1]"),
    ("GET d FORMAT EXPAND $.o $.none $[", [[{b"n": 4, b"a": [b"x"], b"s": 5}], [], []]),
    ("GET d FORMAT EXPAND .f", [[2.5]]),
    ("GET d FORMAT EXPAND1 $.*", [[1, 2.5, b'"ab"', True, None, b"[1,2,3]", b'{"n":4,"a":["x"],"s":5}']]),
    ("GET none FORMAT EXPAND $", None),
    ("TYPE d $.*", [[b"integer", b"number", b"string", b"boolean", b"null", b"array", b"object"]]),
    ("TYPE d .n", [b"integer"]),
    ("TYPE d $.none", [[]]),
    ("TYPE none $.n", [None]),
    ("NUMINCRBY d $..n 2", [3, 6]),
    ("NUMINCRBY d $.* 1", [2, 3.5, None, None, None, None, None]),
    ("NUMINCRBY d .n 1", [2]),
    ("NUMMULTBY d .s 1", [None]),
    ("ARRPOP d $.a", [b"3"]),
    ("ARRPOP d FORMAT STRINGS $.a", [b"3"]),
    ("ARRPOP d FORMAT EXPAND $.a", [3]),
    ("ARRPOP d FORMAT EXPAND $.o.a 0", [b"x"]),
    ("RESP d $.f", [2.5]),
    ("TOGGLE d $.b", [0]),
]


@pytest.mark.parametrize(("request_", "reply"), RESP3, ids=[request for request, _ in RESP3])
def test_replies_in_resp3(redis: Harness, request_: str, reply: Any) -> None:
    redis.run("HELLO", 3)
    found = redis.run(*f"JSON.{request_}".split(" "))
    assert found == reply
    assert encode3(found) == encode3(reply)


# Errors ---------------------------------------------------------------------------------------------------------------

_NO_KEY = "ERR could not perform this operation on a key that doesn't exist"
_ROOT = "ERR new objects must be created at the root"
_TYPE = "Existing key has wrong Redis type"

ERRORS: list[tuple[str, str]] = [
    ("GET d .none", "ERR Path '$.none' does not exist"),
    ("GET d .n .none", "ERR Path '.none' does not exist"),
    ("GET d $.a[", "ERR Error occurred on position 4, "),
    ("GET d FORMAT EXPAND $", "ERR FORMAT argument is not supported on RESP2"),
    ("GET d INDENT", "ERR wrong number of arguments for 'json.get' command"),
    ("SET none $.a 1", _ROOT),
    ("SET d $.a[9] 1", "ERR array index out of range"),
    ("SET d $..none 1", "ERR wrong static path"),
    ("SET d $.x[*] 1", "ERR wrong static path"),
    ("SET d $ {", "ERR unexpected end of data at line 1 column 2"),
    ("SET d $ 1 NX XX", "ERR syntax error"),
    ("SET d $ 1 FORMAT BSON", "ERR wrong format"),
    ("SET d $ 1 FPHA FP8", "ERR syntax error"),
    ("SET d $ 1 WHAT", "ERR syntax error"),
    ("MSET d $ 1 d", "ERR wrong number of arguments for 'json.mset' command"),
    ("MSET none $.a 1", _ROOT),
    ("MERGE none $.a 1", _ROOT),
    ("MERGE d $ 1 FORMAT", "ERR syntax error"),
    ("NUMINCRBY none $ 1", _NO_KEY),
    ("NUMINCRBY d .s 1", "ERR Path '$.s' does not exist or does not contains a number"),
    ("NUMINCRBY d $.n x", "ERR unexpected character"),
    ('NUMINCRBY d $.n "1"', "ERR bad input number"),
    ("NUMINCRBY d $.n true", "ERR bad input number"),
    ("NUMINCRBY d $.n 9223372036854775807", "ERR numeric overflow"),
    ("NUMMULTBY d $.f 1e308", "ERR result is not a number"),
    ("TOGGLE none $", _NO_KEY),
    ("TOGGLE d .n", "ERR Path '$.n' does not exist or not a bool"),
    ('STRAPPEND none "a"', _NO_KEY),
    ('STRAPPEND d "a"', "ERR Path '$' does not exist or not a string"),
    ("STRAPPEND d .s 1", "WRONGTYPE wrong type of path value - expected string but found 1"),
    ("STRLEN none $", _NO_KEY),
    ("STRLEN d .n", "WRONGTYPE wrong type of path value - expected string but found integer"),
    ("STRLEN d .none", "ERR Path '$.none' does not exist"),
    ("ARRAPPEND none $ 1", _NO_KEY),
    ("ARRAPPEND d .n 1", "ERR Path '$.n' does not exist or not an array"),
    ("ARRAPPEND d $.a", "ERR wrong number of arguments for 'json.arrappend' command"),
    ("ARRINSERT d $.a x 1", "ERR Couldn't parse as integer"),
    ("ARRINSERT d $.a 4 1", "ERR index out of bounds"),
    ("ARRINSERT d $.a -4 1", "ERR index out of bounds"),
    ("ARRLEN none $", _NO_KEY),
    ("ARRLEN d .n", "ERR Path '.n' does not exist or not an array"),
    ("ARRPOP none $", _NO_KEY),
    ("ARRPOP d", "ERR Path '$' does not exist or not an array"),
    ("ARRPOP d FORMAT EXPAND $.a", "ERR FORMAT argument is not supported on RESP2"),
    ("ARRTRIM none $ 0 0", _NO_KEY),
    ("ARRTRIM d .n 0 0", "ERR Path '$.n' does not exist or not an array"),
    ("ARRINDEX none $ 0", "ERR Path '$' does not exist"),
    ("ARRINDEX d .n 0", "WRONGTYPE wrong type of path value - expected array but found integer"),
    ("ARRINDEX d $.a 0 0 0 0", "ERR wrong number of arguments for 'json.arrindex' command"),
    ("OBJKEYS none $", _NO_KEY),
    ("OBJKEYS d .a", "ERR Path '$.a' does not exist or not an object"),
    ("OBJLEN none $", "ERR Path '$' does not exist or not an object"),
    ("OBJLEN d .a", "WRONGTYPE wrong type of path value - expected object but found array"),
    ("CLEAR none", _NO_KEY),
    ("RESP d .none", "ERR Path '$.none' does not exist"),
    ("DEBUG WHAT", "ERR unknown subcommand - try `JSON.DEBUG HELP`"),
    ("DEBUG MEMORY", "ERR wrong number of arguments for 'json.debug' command"),
    *[
        (f"{name} string {rest}".strip(), _TYPE)
        for rest, names in [
            ("$ 1", "SET MSET MERGE NUMINCRBY NUMMULTBY ARRAPPEND ARRINDEX"),
            ("", "GET DEL FORGET TYPE STRLEN ARRLEN ARRPOP OBJKEYS OBJLEN CLEAR RESP"),
            ("$ 0 0", "ARRINSERT ARRTRIM"),
            ("$", "TOGGLE FORGET TYPE"),
            ('"a"', "STRAPPEND"),
        ]
        for name in names.split()
    ],
    ("DEBUG MEMORY string", _TYPE),
]


@pytest.mark.parametrize(("request_", "text"), ERRORS, ids=[request for request, _ in ERRORS])
def test_errors(redis: Harness, request_: str, text: str) -> None:
    before, changes = document(redis), redis.node.dirty
    assert redis.error(*f"JSON.{request_}".split(" ")).startswith(text)
    assert document(redis) == before
    assert redis.node.dirty == changes


# What is changed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "request_", "result"),
    [
        ('{"a":1}', "SET $.b 2", {"a": 1, "b": 2}),
        ('{"a":1,"c":{"a":2}}', "SET $..a {}", {"a": {}, "c": {"a": {}}}),
        ('{"a":{"a":1}}', "SET $..a 5", {"a": 5}),
        ("[1,[2]]", "SET $[*] 0", [0, 0]),
        ("7", "SET $[?(@>5)] 1", 1),
        ('{"a":1}', "SET . [1]", [1]),
        ('{"a":1}', "SET b 2", {"a": 1, "b": 2}),
        ('{"a":{"b":1,"c":2}}', 'MERGE $.a {"b":null,"d":3}', {"a": {"c": 2, "d": 3}}),
        ('{"a":1}', 'MERGE $ {"a":null}', {}),
        ('[{"a":1},{"a":2}]', 'MERGE $[*] {"b":[]}', [{"a": 1, "b": []}, {"a": 2, "b": []}]),
        ('{"a":1}', 'MERGE $.c {"d":null}', {"a": 1, "c": {"d": None}}),
        ('{"a":[1,2,3,4]}', "DEL $.a[0,2]", {"a": [2, 4]}),
        ('{"a":[1,2,3,4]}', "DEL $.a[1:3]", {"a": [1, 4]}),
        ('{"a":[[1,2],[3]]}', "DEL $..[0]", {"a": [[]]}),
        ('{"a":{"a":{"a":1}},"b":{"a":2}}', "DEL $..a", {"b": {}}),
        ('{"a":1,"b":2}', "DEL $['a','a']", {"b": 2}),
        ('{"a":[1,{"b":2}],"c":3}', "DEL $..*", {}),
        ('{"a":[1,{"b":2}],"c":3,"s":"x","t":true}', "CLEAR $.*", {"a": [], "c": 0, "s": "x", "t": True}),
        ('{"a":[[1],2]}', "CLEAR $..*", {"a": []}),
        ("5.5", "CLEAR", 0),
        ('{"a":[1],"b":[2]}', "ARRAPPEND $.* [0]", {"a": [1, [0]], "b": [2, [0]]}),
        ("[1,2,3]", "ARRINSERT $ -1 8 9", [1, 2, 8, 9, 3]),
        ("[1,2,3]", "ARRTRIM $ 1 -1", [2, 3]),
        ("[[1,2],[3,4]]", "ARRPOP $[*] 0", [[2], [4]]),
        ("[1,2]", "NUMINCRBY $[0,0] 5", [11, 2]),
        ("1", "NUMMULTBY $ 2.5", 2.5),
        ("true", "TOGGLE $", False),
        ('"a"', 'STRAPPEND "b"', "ab"),
    ],
)
def test_changes(redis: Harness, start: str, request_: str, result: Any) -> None:
    redis.run("JSON.SET", "d", "$", start)
    name, *rest = request_.split(" ")
    redis.run(f"JSON.{name}", "d", *rest)
    assert document(redis) == result


def test_an_error_undoes_what_was_calculated(redis: Harness) -> None:
    redis.run("JSON.SET", "d", "$", "[1,9223372036854775807]")
    assert redis.error("JSON.NUMINCRBY", "d", "$[*]", 1) == "ERR numeric overflow"
    assert document(redis) == [1, 9223372036854775807]


def test_values_put_at_several_places_are_not_shared(redis: Harness) -> None:
    redis.run("JSON.SET", "d", "$", '{"a":0,"b":0}')
    redis.run("JSON.SET", "d", "$.*", "[]")
    redis.run("JSON.ARRAPPEND", "d", "$.a", "{}")
    redis.run("JSON.ARRAPPEND", "d", "$.*", '{"x":1}')
    redis.run("JSON.SET", "d", "$.a[1].x", "2")
    assert document(redis) == {"a": [{}, {"x": 2}], "b": [{"x": 1}]}


def test_mset_is_all_or_nothing(redis: Harness) -> None:
    for bad in (("d", "$.n", "{"), ("string", "$", "1"), ("none", "$.a", "1"), ("d", "$..none", "1"), ("d", "$[", "1")):
        redis.error("JSON.MSET", "d", "$.n", "9", "new", "$", "1", *bad)
        assert document(redis) == json.loads(DOC)
        assert redis.run("EXISTS", "new") == 0
    redis.run("JSON.MSET", "new", "$", '{"a":1}', "d", "$.n", "2", "new", "$", '{"b":1}')
    assert document(redis, "new") == {"b": 1}


def test_an_expiry_stays(redis: Harness) -> None:
    redis.run("PEXPIRE", "d", 5000)
    for request in (("JSON.SET", "d", "$", DOC), ("JSON.MSET", "d", "$", DOC), ("JSON.MERGE", "d", "$", "{}")):
        redis.run(*request)
        assert redis.run("PTTL", "d") == 5000
    redis.run("JSON.DEL", "d")
    redis.run("JSON.SET", "d", "$", "1")
    assert redis.run("PTTL", "d") == -1
    redis.run("PEXPIRE", "d", 5)
    redis.advance(6)
    assert redis.run("JSON.GET", "d") is None
    assert redis.error("JSON.SET", "d", "$.a", "1") == _ROOT


def test_depth(redis: Harness) -> None:
    for depth in (129, 1000, 1_000_000):
        assert redis.error("JSON.SET", "d", "$", "[" * depth + "]" * depth) == "ERR recursion limit exceeded"
    deep = "[" * 128 + "]" * 128
    redis.run("JSON.SET", "deep", "$", deep)
    assert redis.error("JSON.SET", "deep", "$" + "[0]" * 127, deep).startswith("ERR recursion")
    path = "$" + "[0]" * 126
    redis.run("JSON.SET", "deep", path, "[" * 100 + "]" * 100)
    for request in (
        ("JSON.ARRAPPEND", "deep", path + "[0]" * 50, deep),
        ("JSON.ARRINSERT", "deep", path + "[0]" * 50, 0, deep),
        ("JSON.MERGE", "deep", path, deep),
        ("JSON.MSET", "deep", path, deep),
    ):
        assert redis.error(*request) == "ERR recursion limit exceeded"
    assert len(redis.run("JSON.GET", "deep", "$", "$..[0]")) > 452
    assert redis.run("MEMORY", "USAGE", "deep") > 226 * 56
    assert redis.run("COPY", "deep", "other") == 1
    assert redis.run("JSON.GET", "other") == redis.run("JSON.GET", "deep")
    redis.run("JSON.RESP", "deep")


def test_a_path_does_not_multiply_without_end(redis: Harness) -> None:
    """Copies of a value, and spaces between values, are bounded: a request of a megabyte cannot ask for a terabyte."""
    redis.run("JSON.SET", "d", "$", [[] for _ in range(5000)])
    text = '"' + "x" * 200_000 + '"'
    for request in (
        ("JSON.SET", "d", "$[*]", text),
        ("JSON.MERGE", "d", "$[*]", text),
        ("JSON.MSET", "d", "$[*]", text),
        ("JSON.ARRAPPEND", "d", "$[*]", text),
        ("JSON.ARRINSERT", "d", "$[*]", 0, text),
        ("JSON.GET", "d", "INDENT", "x" * 200_000, "$"),
    ):
        assert redis.error(*request).startswith("ERR string exceeds maximum allowed size")
    assert document(redis) == [[]] * 5000


# Events and replicas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ("SET d $.n 1", "set"),
        ("MSET d $.n 1", "mset"),
        ("MERGE d $ {}", "merge"),
        ("DEL d $.n", "del"),
        ("FORGET d", "del"),
        ("CLEAR d", "clear"),
        ("NUMINCRBY d $.n 1", "numincrby"),
        ("NUMMULTBY d .n 1", "nummultby"),
        ("TOGGLE d $.b", "toggle"),
        ('STRAPPEND d $.s "x"', "strappend"),
        ("ARRAPPEND d $.a 1", "arrappend"),
        ("ARRINSERT d $.a 0 1", "arrinsert"),
        ("ARRPOP d $.a", "arrpop"),
        ("ARRTRIM d $.a 0 0", "arrtrim"),
        *[(request, "") for request in ("SET d $.n.x 1", "DEL d $.none", "CLEAR d $.s", "NUMINCRBY d $.s 1")],
        *[(request, "") for request in ('STRAPPEND d $.n "x"', "ARRAPPEND d $.n 1", "ARRPOP d $.n", "TOGGLE d $.n")],
        *[(request, "") for request in ("ARRTRIM d $.n 0 0", "MERGE d $.n.x 1", "ARRINSERT d $.n 0 1")],
        *[(request, "") for request in ("GET d", "TYPE d", "ARRINDEX d $.a 1", "OBJKEYS d", "RESP d")],
    ],
)
def test_events_and_what_replicas_are_told(redis: Harness, request_: str, told: str) -> None:
    replicas = Told(redis)
    seen = events(redis)
    request = f"JSON.{request_}".encode().split(b" ")
    assert replicas.of(*request) == ([request] if told else [])
    assert seen == ([(f"json.{told}", b"d")] if told else [])


def test_replicas_are_not_told_of_formats(redis: Harness) -> None:
    redis.run("HELLO", 3)
    told = Told(redis)
    assert told.of(b"JSON.ARRPOP", b"d", b"FORMAT", b"EXPAND", b"$.a", b"0") == [[b"JSON.ARRPOP", b"d", b"$.a", b"0"]]
    assert told.of(b"JSON.NUMINCRBY", b"d", b".s", b"1") == []


def test_notifications_are_of_the_class_of_modules(redis: Harness) -> None:
    redis.run("CONFIG", "SET", "notify-keyspace-events", "Ed")
    heard: list[tuple[str, bytes]] = []
    redis.node.notifications.changed = lambda database, event, key: heard.append((event, key))  # type: ignore[method-assign]
    redis.run("JSON.SET", "d", "$.n", 2)
    assert ("json.set", b"d") in heard


# Other commands -------------------------------------------------------------------------------------------------------


def test_generic_commands(redis: Harness) -> None:
    assert redis.run("TYPE", "d") == "ReJSON-RL"
    assert redis.run("OBJECT", "ENCODING", "d") == b"raw"
    assert redis.run("MEMORY", "USAGE", "d") > 400
    redis.run("COPY", "d", "c")
    redis.run("JSON.SET", "c", "$.a[0]", 99)
    assert document(redis)["a"][0] == 1
    payload = redis.run("DUMP", "d")
    redis.run("RESTORE", "r", 0, payload)
    assert redis.run("JSON.GET", "r") == DOC.encode()
    assert redis.run("DUMP", "r") == payload
    digests = redis.run("DEBUG", "DIGEST-VALUE", "d", "r", "c")
    assert digests[0] == digests[1] != digests[2]
    redis.run("RENAME", "r", "q")
    assert sorted(redis.run("SCAN", 0, "TYPE", "ReJSON-RL", "COUNT", 100)[1]) == [b"c", b"d", b"q"]
    assert redis.error("GET", "d").startswith("WRONGTYPE")
    assert redis.error("LPUSH", "d", "x").startswith("WRONGTYPE")
    redis.run("SET", "d", "x")
    assert redis.run("UNLINK", "d", "c", "q") == 3


def test_keys(redis: Harness) -> None:
    for request, keys in [
        ("JSON.MSET a $ 1 b $ 2", [b"a", b"b"]),
        ("JSON.MGET a b $", [b"a", b"b"]),
        ("JSON.DEBUG MEMORY a $", [b"a"]),
        ("JSON.GET a $ $.b", [b"a"]),
    ]:
        assert redis.run("COMMAND", "GETKEYS", *request.split()) == keys
    cluster = Harness(clustered=True)
    for request in ("JSON.MSET a $ 1 b $ 2", "JSON.MGET a b $"):
        assert cluster.error(*request.split()).startswith("CROSSSLOT")
    assert cluster.run("JSON.MSET", "{x}a", "$", 1, "{x}b", "$", 2) == "OK"
    assert cluster.run("JSON.MGET", "{x}a", "{x}b", "$") == [b"[1]", b"[2]"]
    assert cluster.run("JSON.DEBUG", "HELP")[0].startswith(b"MEMORY")


def test_facts(redis: Harness) -> None:
    facts = {one[0]: one for one in redis.run("COMMAND", "INFO", "JSON.SET", "JSON.MGET", "JSON.MSET")}
    assert facts[b"json.set"][1:6] == [-4, ["write", "denyoom"], 1, 1, 1]
    assert facts[b"json.mget"][3:6] == [1, -2, 1]
    assert facts[b"json.mset"][3:6] == [1, -1, 3]
    assert facts[b"json.set"][6] == ["@json", "@write", "@slow"]
    documented = redis.run("COMMAND", "DOCS", "JSON.SET")[b"json.set"]
    assert documented[b"group"] == b"module"


def test_a_node_without_documents_loads_nothing_for_them() -> None:
    script = (
        "import sys; from tests.commands.harness import Harness; node = Harness(); node.run('SET', 'a', 'b')\n"
        "libraries = {'orjson', 're2', 'node.types.json_path_syntax'}\n"
        "assert not libraries & set(sys.modules)\n"
        "node.run('JSON.SET', 'd', '$', '[\"x\"]'); node.run('JSON.GET', 'd', '$[?(@ =~ \"x\")]')\n"
        "assert libraries <= set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=60)
