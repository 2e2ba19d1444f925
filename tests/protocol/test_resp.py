"""Values as RESP2 and RESP3: each kind, nested, and read back by hiredis, which knows the protocol from elsewhere."""

from __future__ import annotations

import math
from typing import Any

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import resp
from node.errors import CommandError
from node.resp import (
    NULL_ARRAY,
    SILENCE,
    Attributed,
    BigNumber,
    Pairs,
    Push,
    Verbatim,
    encode2,
    encode3,
)

KINDS: dict[str, tuple[Any, bytes, bytes]] = {
    "bulk string": (b"abc", b"$3\r\nabc\r\n", b"$3\r\nabc\r\n"),
    "empty bulk string": (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
    "bulk string of line breaks": (b"\r\n", b"$2\r\n\r\n\r\n", b"$2\r\n\r\n\r\n"),
    "bytearray": (bytearray(b"abc"), b"$3\r\nabc\r\n", b"$3\r\nabc\r\n"),
    "status": ("OK", b"+OK\r\n", b"+OK\r\n"),
    "unusual status": (
        "Background saving started",
        b"+Background saving started\r\n",
        b"+Background saving started\r\n",
    ),
    "status not in ASCII": ("sm\u00f8rrebr\u00f8d", b"+sm\xc3\xb8rrebr\xc3\xb8d\r\n", b"+sm\xc3\xb8rrebr\xc3\xb8d\r\n"),
    "integer": (7, b":7\r\n", b":7\r\n"),
    "last prepared integer": (1023, b":1023\r\n", b":1023\r\n"),
    "first other integer": (1024, b":1024\r\n", b":1024\r\n"),
    "negative integer": (-1, b":-1\r\n", b":-1\r\n"),
    "greatest integer": (2**63 - 1, b":9223372036854775807\r\n", b":9223372036854775807\r\n"),
    "double": (3.25, b"$4\r\n3.25\r\n", b",3.25\r\n"),
    "whole double": (3.0, b"$1\r\n3\r\n", b",3\r\n"),
    "infinity": (math.inf, b"$3\r\ninf\r\n", b",inf\r\n"),
    "minus infinity": (-math.inf, b"$4\r\n-inf\r\n", b",-inf\r\n"),
    "not a number": (math.nan, b"$3\r\nnan\r\n", b",nan\r\n"),
    "true": (True, b":1\r\n", b"#t\r\n"),
    "false": (False, b":0\r\n", b"#f\r\n"),
    "null": (None, b"$-1\r\n", b"_\r\n"),
    "null array": (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
    "array": ([1, b"a", None], b"*3\r\n:1\r\n$1\r\na\r\n$-1\r\n", b"*3\r\n:1\r\n$1\r\na\r\n_\r\n"),
    "empty array": ([], b"*0\r\n", b"*0\r\n"),
    "tuple": ((1, 2), b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:1\r\n:2\r\n"),
    "pairs": (
        Pairs([b"a", 1.5, b"b", 2.0]),
        b"*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$1\r\n2\r\n",
        b"*2\r\n*2\r\n$1\r\na\r\n,1.5\r\n*2\r\n$1\r\nb\r\n,2\r\n",
    ),
    "no pairs": (Pairs(), b"*0\r\n", b"*0\r\n"),
    "map": ({b"a": 1, "b": None}, b"*4\r\n$1\r\na\r\n:1\r\n+b\r\n$-1\r\n", b"%2\r\n$1\r\na\r\n:1\r\n+b\r\n_\r\n"),
    "empty map": ({}, b"*0\r\n", b"%0\r\n"),
    "set": ({b"a"}, b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
    "frozen set": (frozenset([1]), b"*1\r\n:1\r\n", b"~1\r\n:1\r\n"),
    "verbatim": (Verbatim(b"hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
    "verbatim markdown": (Verbatim(b"*hi*", b"mkd"), b"$4\r\n*hi*\r\n", b"=8\r\nmkd:*hi*\r\n"),
    "big number": (BigNumber(2**80), b"$25\r\n1208925819614629174706176\r\n", b"(1208925819614629174706176\r\n"),
    "attributes": (Attributed({b"ttl": 5}, b"v"), b"$1\r\nv\r\n", b"|1\r\n$3\r\nttl\r\n:5\r\n$1\r\nv\r\n"),
    "push": (Push([b"message", b"x"]), b"*2\r\n$7\r\nmessage\r\n$1\r\nx\r\n", b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n"),
    "error": (CommandError("ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
    "error of several lines": (CommandError("ERR a\r\nb\nc"), b"-ERR a  b c\r\n", b"-ERR a  b c\r\n"),
    "error with bytes that are no text": (CommandError("ERR \udcff"), b"-ERR \xff\r\n", b"-ERR \xff\r\n"),
    "silence": (SILENCE, b"", b""),
    "nested": (
        [{b"k": [True, {1.5}]}, Pairs([b"x", [None]])],
        b"*2\r\n*2\r\n$1\r\nk\r\n*2\r\n:1\r\n*1\r\n$3\r\n1.5\r\n*2\r\n$1\r\nx\r\n*1\r\n$-1\r\n",
        b"*2\r\n%1\r\n$1\r\nk\r\n*2\r\n#t\r\n~1\r\n,1.5\r\n*1\r\n*2\r\n$1\r\nx\r\n*1\r\n_\r\n",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind(name: str) -> None:
    value, two, three = KINDS[name]
    assert encode2(value) == two
    assert encode3(value) == three


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("wrap", [list, tuple, Pairs, Push, "map", "attributes"])
def test_each_kind_within_another(name: str, wrap: Any) -> None:
    value, two, three = KINDS[name]
    if wrap == "map":
        outer: Any = {b"k": value}
        expected = b"*2\r\n$1\r\nk\r\n" + two, b"%1\r\n$1\r\nk\r\n" + three
    elif wrap == "attributes":
        outer = Attributed({b"k": value}, 1)
        expected = b":1\r\n", b"|1\r\n$1\r\nk\r\n" + three + b":1\r\n"
    else:
        outer = wrap([b"k", value])
        head = {list: b"*2\r\n", tuple: b"*2\r\n", Pairs: b"*1\r\n*2\r\n", Push: b">2\r\n"}[wrap]
        expected = b"*2\r\n$1\r\nk\r\n" + two, head + b"$1\r\nk\r\n" + three
    assert (encode2(outer), encode3(outer)) == expected


@pytest.mark.parametrize("value", [object(), 1j, range(3), memoryview(b"a")])
@pytest.mark.parametrize("encode", [encode2, encode3])
def test_what_is_no_reply_is_refused(value: object, encode: resp.Encoder) -> None:
    with pytest.raises(KeyError):
        encode(value)
    with pytest.raises(KeyError):
        encode([b"a", value])


def test_request() -> None:
    assert resp.request([b"SET", b"k", b""]) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"
    assert resp.request(iter([b"PING"])) == b"*1\r\n$4\r\nPING\r\n"


def test_what_is_changed_in_place_is_a_bulk_string() -> None:
    assert encode2(bytearray(b"ab")) == resp.bulk(b"ab") == b"$2\r\nab\r\n"


# Read back ------------------------------------------------------------------------------------------------------------

_text = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=30),
    _text,
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.binary(max_size=5), inner, max_size=4)),
    max_leaves=12,
)


def _as_read(value: Any, protocol: int) -> Any:
    """What hiredis should make of the encoded value."""
    if isinstance(value, str):
        return value.encode()
    if protocol == 2 and isinstance(value, bool):
        return int(value)
    if protocol == 2 and isinstance(value, float):
        return ("double", value)
    if isinstance(value, list):
        return [_as_read(item, protocol) for item in value]
    if isinstance(value, dict):
        if protocol == 3:
            return {key: _as_read(item, 3) for key, item in value.items()}
        return [part for key, item in value.items() for part in (key, _as_read(item, 2))]
    return value


def _same(read: Any, expected: Any) -> bool:
    if isinstance(expected, tuple):
        return bool(float(read) == expected[1])
    if isinstance(expected, list):
        return isinstance(read, list) and len(read) == len(expected) and all(map(_same, read, expected))
    if isinstance(expected, dict):
        return read.keys() == expected.keys() and all(_same(read[key], item) for key, item in expected.items())
    return type(read) is type(expected) and bool(read == expected)


@settings(max_examples=200, deadline=None)
@given(value=_values)
def test_another_reader_reads_what_was_written(value: Any) -> None:
    for protocol, encode in ((2, encode2), (3, encode3)):
        reader = hiredis.Reader()
        reader.feed(encode(value))
        read = reader.gets()
        assert _same(read, _as_read(value, protocol)), (protocol, read)
        assert not reader.has_data()


@pytest.mark.parametrize("kind", [list, tuple, resp.OrderedSet, set, Pairs])
@pytest.mark.parametrize(
    "odd", [b"", b"x" * 1023, b"x" * 1024, 5, None, "OK", [b"a", b"b"], resp.encoded_array([b"$1\r\na\r\n"])]
)
def test_many_bulk_strings_look_as_few_do(kind: Any, odd: Any) -> None:
    """Long arrays of short bulk strings are encoded another way than one value after the other."""
    if kind is set and isinstance(odd, list):
        odd = b"a"
    values = [b"%d" % number * (number % 9) for number in range(15)]
    whole = kind([*values, odd])
    flat = [*whole]
    assert encode2(whole) == b"*%d\r\n" % len(flat) + b"".join(map(encode2, flat))
    if kind is not Pairs:
        mark = b"~" if kind in (set, resp.OrderedSet) else b"*"
        assert encode3(whole) == mark + b"%d\r\n" % len(flat) + b"".join(map(encode3, flat))
