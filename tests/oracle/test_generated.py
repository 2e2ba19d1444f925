"""Generated sequences of string and hash commands over a few keys: replies and, at the end, states must be equal.

40 sequences a server and protocol unless HASHSLOT_ORACLE_EXAMPLES says otherwise; the seed is in pytest's header, and
HASHSLOT_ORACLE_SEED replays it.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.drawn import drawn
from tests.oracle.oracle import Judge, unordered, unordered_pairs

STEPS_MAX = 60

string_keys = st.sampled_from(["a", "a", "a", "a", "a", "b", "b", "b", "", "h"])
hash_keys = st.sampled_from(["h", "h", "h", "h", "h", "g", "g", "g", "a"])
"""Mostly of the right type, and few, so that commands meet what others left."""
fields = st.sampled_from(["f1", "f2", "f3", "1", "", "field:4", "x" * 65])
integers = st.one_of(
    st.integers(-20, 20),
    st.sampled_from([1, -1, 2**63 - 1, -(2**63)]),
    st.sampled_from([2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**62, 2**31, 2**32, 10**18, -1, 0]),
    st.integers(-(2**64), 2**64),
).map(str)
floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.floats(-1000, 1000).map(lambda value: f"{value:.3f}"),
    st.sampled_from(["1e17", "1e-17", "0.1", "-0.0", "3.0e3", "1e4000", "inf", "-inf", "nan", "0x1p3", ".5", "5."]),
)
texts = st.one_of(
    integers,
    floats,
    st.sampled_from(["", "", "12", "-5", "9223372036854775807", "-9223372036854775808"]),
    st.sampled_from(["", "v", "0012", " 1", "1 ", "+1", "-0", "abc", "x" * 44, "x" * 45, "x" * 64, "\0", "9" * 20]),
    st.text(st.characters(max_codepoint=255), max_size=30),
)
offsets = st.one_of(
    st.integers(-6, 6), st.integers(-30, 60), st.sampled_from([2**29, 2**29 - 1, 2**63 - 1, -(2**63), 2**63])
).map(str)
far_seconds = st.sampled_from(["100", "5000", "0", "-1", "x", "9223372036854775807", ""])
far_ms = st.sampled_from(["100000", "5000000", "0", "-1", "x", "9223372036854775807", "1.5"])
seconds_at = st.sampled_from(["99999999999", "0", "x", "9223372036854775807"])
ms_at = st.sampled_from(["99999999999999", "0", "x", "9223372036854775807"])
expiries = st.one_of(
    st.tuples(st.sampled_from(["EX", "ex"]), far_seconds),
    st.tuples(st.just("PX"), far_ms),
    st.tuples(st.just("EXAT"), seconds_at),
    st.tuples(st.just("PXAT"), ms_at),
)
set_options = st.lists(
    st.one_of(st.sampled_from([("NX",), ("XX",), ("GET",), ("get",), ("KEEPTTL",)]), expiries, st.just(("PERSIST",))),
    max_size=3,
).map(lambda options: tuple(word for option in options for word in option))
getex_options = st.lists(st.one_of(st.just(("PERSIST",)), expiries, st.just(("KEEPTTL",))), max_size=2).map(
    lambda options: tuple(word for option in options for word in option)
)
lcs_options = st.lists(
    st.sampled_from([("LEN",), ("IDX",), ("IDX",), ("WITHMATCHLEN",), ("MINMATCHLEN", "2"), ("MINMATCHLEN", "x")]),
    max_size=3,
).map(lambda options: tuple(word for option in options for word in option))
key_texts = st.lists(st.tuples(string_keys, texts), min_size=1, max_size=3)
field_texts = st.lists(st.tuples(fields, texts), min_size=1, max_size=4)


def _command(name: str, *parts: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Requests of one command; a tuple among its parts is spliced in."""

    def join(values: Sequence[object]) -> tuple[object, ...]:
        spliced: list[object] = [name]
        for value in values:
            spliced += value if isinstance(value, tuple) else [value]
        return tuple(spliced)

    return st.tuples(*parts).map(join)


_several_keys = st.lists(string_keys, min_size=1, max_size=4).map(tuple)
_several_fields = st.lists(fields, min_size=1, max_size=4).map(tuple)
_key_texts = key_texts.map(lambda pairs: tuple(text for pair in pairs for text in pair))
_field_texts = field_texts.map(lambda pairs: tuple(text for pair in pairs for text in pair))

STRINGS = [
    _command("GET", string_keys),
    _command("SET", string_keys, texts, set_options),
    _command("SET", string_keys, texts),
    _command("SETEX", string_keys, far_seconds, texts),
    _command("PSETEX", string_keys, far_ms, texts),
    _command("SETNX", string_keys, texts),
    _command("GETSET", string_keys, texts),
    _command("GETDEL", string_keys),
    _command("GETEX", string_keys, getex_options),
    _command("MGET", _several_keys),
    _command("MSET", _key_texts),
    _command("MSETNX", _key_texts),
    _command("APPEND", string_keys, texts),
    _command("STRLEN", string_keys),
    _command("GETRANGE", string_keys, offsets, offsets),
    _command("SUBSTR", string_keys, offsets, offsets),
    _command("SETRANGE", string_keys, offsets.filter(lambda offset: not 100 < int(offset) < 2**29), texts),
    _command("LCS", string_keys, string_keys, lcs_options),
    _command("INCR", string_keys),
    _command("DECR", string_keys),
    _command("INCRBY", string_keys, integers),
    _command("DECRBY", string_keys, integers),
    _command("INCRBYFLOAT", string_keys, floats),
]
HASHES = [
    _command("HSET", hash_keys, _field_texts),
    _command("HSET", hash_keys, fields, texts),
    _command("HMSET", hash_keys, _field_texts),
    _command("HSETNX", hash_keys, fields, texts),
    _command("HGET", hash_keys, fields),
    _command("HMGET", hash_keys, _several_fields),
    _command("HGETALL", hash_keys),
    _command("HKEYS", hash_keys),
    _command("HVALS", hash_keys),
    _command("HLEN", hash_keys),
    _command("HEXISTS", hash_keys, fields),
    _command("HSTRLEN", hash_keys, fields),
    _command("HDEL", hash_keys, _several_fields),
    _command("HINCRBY", hash_keys, fields, integers),
    _command("HINCRBYFLOAT", hash_keys, fields, floats),
]
IN_NO_ORDER = {"HGETALL": unordered_pairs, "HKEYS": unordered, "HVALS": unordered}

_REFUSED = frozenset(("0", "-1", "x", "", "1.5", "9223372036854775807"))


def _has_one_answer(request: tuple[object, ...]) -> bool:
    """GETEX with a bad expiry has none: Valkey 9 looks at it before it looks at the key, Redis up to 7.2 after."""
    return request[0] != "GETEX" or not _REFUSED.intersection(map(str, request[2:]))


longest = st.sampled_from(["64", "64", "4", "20"])
"""Where a listpack ends, so that hashes cross it often."""

requests = st.one_of([*STRINGS, *HASHES]).filter(_has_one_answer)


def test_sequences(judge: Judge) -> None:
    @drawn()
    @given(longest, st.lists(requests, min_size=STEPS_MAX // 2, max_size=STEPS_MAX))
    def run(longest: str, sequence: list[tuple[object, ...]]) -> None:
        judge.begin(hash_max_listpack_value=longest)
        for request in sequence:
            judge.check(*request, order=IN_NO_ORDER.get(str(request[0])))
        judge.same_state()

    run()
