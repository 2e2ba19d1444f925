"""Numbers against real servers: what they read, what they print, how the 80-bit sums round."""

from __future__ import annotations

import random
import struct

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from node.numbers import (
    LLONG_MAX,
    LLONG_MIN,
    add_float,
    format_double,
    format_double_17g,
    format_long_double,
    format_memory,
    parse_double,
    parse_float,
    parse_int,
    parse_memory,
    strtoll,
)
from tests.config.conftest import Client
from tests.seeds import FUZZ_SEED

ODD_TEXTS = [
    "", " 1", "1 ", "nan", "inf", "-INF", "infinity", "+inf", "1e", "e5", ".", "-", "+", "0x", "0x1p", "1_0", "1d",
    "0x.8",
    "1e99999999999999999999", "1e-99999999999999999999", "0e99999", "1" * 255, "1" * 256, "1" * 300, "\t1", "1\n",
    "1e+5",
    "0x1p+5", "--1", "1.2.3", "infin", "0x1e5", "\u0661", "1e5000", "0x1p16384", "0x1p16383", "0b1", "1e-5000", "00012",
    "0" * 250 + "1", "1\0", "1" * 4500, "0." + "0" * 4930 + "1", "1" * 5119, "1" * 5120, "1" + "0" * 5000 + "e-5000",
    "0." + "0" * 5000 + "1e5000", "1" * 4932, "1e-" + "0" * 4400 + "1", "0x" + "f" * 5000, "0x1p" + "9" * 4400, "1e308",
    "1e309", "1e-323", "1e-400", "0x1p-1080", "5.", ".5", "+.5e-3", "-0", "Nan(1)", "0x1.8p3", "0X10", "1e 5", "1E5",
]  # fmt: skip


def said(client: Client, *words: str) -> str:
    """An error's text, or ``ok``."""
    try:
        client.execute_command(*words)
    except redis.ResponseError as error:
        return str(error).removeprefix("ERR ")
    return "ok"


@pytest.mark.parametrize("text", ODD_TEXTS, ids=lambda text: repr(text)[:20])
def test_which_texts_are_floats(text: str, redis70: Client) -> None:
    redis70.delete("float", "zset")
    wide, narrow = parse_float(text.encode()), parse_double(text.encode())
    if wide is None:
        expected = "value is not a valid float"
    else:
        expected = "increment would produce NaN or Infinity" if wide.is_infinite else "ok"
    assert expected == said(redis70, "INCRBYFLOAT", "float", text)
    assert ("value is not a valid float" if narrow is None else "ok") == said(redis70, "ZADD", "zset", text, "m")


def long_double_text(rnd: random.Random) -> str:
    """A text that INCRBYFLOAT may meet."""
    kind = rnd.randrange(8)
    if kind == 0:
        return str(rnd.randrange(-(10**20), 10**20))
    if kind == 1:
        return repr(rnd.uniform(-1000, 1000))
    if kind == 2:
        return f"{rnd.uniform(-1, 1) * 10 ** rnd.randrange(-15, 15):.{rnd.randrange(25)}f}"
    if kind == 3:
        return f"{rnd.randrange(-(10**6), 10**6)}e{rnd.randrange(-30, 40)}"
    if kind == 4:
        return f"{rnd.randrange(-(10**18), 10**18)}.{rnd.randrange(10**20)}"
    if kind == 5:
        return rnd.choice(
            [
                "0",
                "-0",
                "0.0",
                "-0.0",
                "1e-4940",
                "1e-4951",
                "3e-4951",
                "1e4932",
                "1.2e4932",
                "1e400",
                "-1e4932",
                "5e-18",
                "1.5e-17",
                "2.5e-17",
            ]
        )
    if kind == 6:
        return repr(struct.unpack("d", rnd.randbytes(8))[0])
    return "0." + "".join(rnd.choice("0123456789") for _ in range(rnd.randrange(1, 40)))


def our_sum(left: str, right: str) -> str | bytes:
    """What our INCRBYFLOAT would answer."""
    one, other = parse_float(left.encode()), parse_float(right.encode())
    if one is None or other is None:
        return "value is not a valid float"
    total = add_float(one, other)
    return "increment would produce NaN or Infinity" if total is None else format_long_double(total)


def test_sums_of_long_doubles(redis70: Client) -> None:
    rnd = random.Random(FUZZ_SEED)
    for _ in range(1500):
        left, right = long_double_text(rnd), long_double_text(rnd)
        redis70.set("float", left)
        answer = said(redis70, "INCRBYFLOAT", "float", right)
        theirs = redis70.get("float") if answer == "ok" else answer
        assert our_sum(left, right) == theirs, f"HASHSLOT_FUZZ_SEED={FUZZ_SEED}: {left} + {right}"


def some_double(rnd: random.Random) -> float:
    """A float of any size and any number of digits."""
    kind = rnd.randrange(6)
    if kind == 0:
        return float(rnd.randrange(-(10 ** rnd.randrange(1, 25)), 10 ** rnd.randrange(1, 25)))
    if kind == 1:
        return rnd.uniform(-1, 1) * 10.0 ** rnd.randrange(-15, 15)
    if kind == 2:
        return float(f"{rnd.randrange(1000)}.{rnd.randrange(1000)}")
    if kind == 3:
        return float(f"{rnd.randrange(1, 1000)}e{rnd.randrange(-330, 306)}")
    if kind == 4:
        value = struct.unpack("d", rnd.randbytes(8))[0]
        return float(value) if value == value else 0.1
    words = "inf -inf 0 1e15 1e16 1e17 1e20 1e21 1e22 123456789012345678 5e-324 1e-7 1e-5"
    return float(rnd.choice(words.split()))


def test_scores_are_printed_as_the_servers_print_them(redis70: Client, valkey91: Client) -> None:
    rnd = random.Random(FUZZ_SEED)
    for _ in range(1500):
        value = some_double(rnd)
        for server, printed in ((redis70, format_double_17g(value)), (valkey91, format_double(value))):
            server.execute_command("ZADD", "z2", repr(value), "m")
            script = "return {redis.call('ZRANGE', 'z2', 0, -1, 'WITHSCORES')[2]}"
            assert server.eval(script, 0) == [printed], f"HASHSLOT_FUZZ_SEED={FUZZ_SEED}: {value!r}"


def test_digits_are_the_servers_even_where_shorter_ones_exist(valkey91: Client) -> None:
    values = [952.19144, 4.818666325738723, 0.04616966723504368, 8.961304128790565e232, 92773519163127.38, 5e-324, 4.52e-136]
    for value in values:
        valkey91.execute_command("ZADD", "z2", repr(value), "m")
        assert valkey91.eval("return {redis.call('ZRANGE', 'z2', 0, -1, 'WITHSCORES')[2]}", 0) == [format_double(value)]
    assert format_double(952.19144) == b"952.1914399999999"


def test_minus_zero_keeps_its_sign(redis70: Client, valkey91: Client) -> None:
    for server, printed in ((redis70, format_double_17g(-0.0)), (valkey91, format_double(-0.0))):
        server.execute_command("ZADD", "skiplist", "-0.0", "m" * 100)  # a small set would store the integer 0
        assert server.eval("return {redis.call('ZRANGE', 'skiplist', 0, -1, 'WITHSCORES')[2]}", 0) == [printed]


def test_which_texts_are_integers(redis70: Client) -> None:
    texts = [
        "",
        "0",
        "-0",
        "00",
        "01",
        "-1",
        "+1",
        " 1",
        "1 ",
        "-",
        "--1",
        "1.0",
        "0x1",
        "1e1",
        "-01",
        "1\0",
        "\u0661",
        "1_0",
    ]
    texts += [str(edge + delta) for edge in (LLONG_MAX, LLONG_MIN, 10**19, -(10**19), 10**30) for delta in (-1, 0, 1)]
    for text in texts:
        redis70.set("int", "0")
        expected = "ok" if parse_int(text.encode()) is not None else "value is not an integer or out of range"
        answer = said(redis70, "INCRBY", "int", text)
        assert (answer if "overflow" not in answer else "ok") == expected, text
        if expected == "ok":
            assert parse_int(text.encode()) == int(text)


@given(st.integers(-(1 << 65), 1 << 65))
def test_integers_are_read_back(value: int) -> None:
    assert parse_int(b"%d" % value) == (value if LLONG_MIN <= value <= LLONG_MAX else None)


@given(st.floats(allow_nan=False))
def test_doubles_are_read_back(value: float) -> None:
    assert parse_double(format_double(value)) == value
    assert parse_double(format_double_17g(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_a_long_double(value: float) -> None:
    wide = parse_float(value.hex().encode())
    assert (
        wide is not None
        and wide.mantissa * 2.0 ** max(wide.exponent, -1000) * 2.0 ** min(wide.exponent + 1000, 0) == value
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1k", 1000), ("1KB", 1024), ("64mb", 64 << 20), ("2G", 2 * 10**9), ("2gb", 2 << 30), ("", 0),
        ("kb", 0),
        ("5b", 5), ("-1", None), ("1t", None), (" 1", None), ("1 kb", None), ("1.5gb", None), ("5%", None),
        ("0x10", None),
        ("18446744073709551615", (1 << 64) - 1), ("18446744073709551616", None), ("1" * 128, None),
        ("17179869184gb", None),
    ],
)  # fmt: skip
def test_sizes(text: str, value: int | None) -> None:
    assert parse_memory(text) == value == parse_memory(text.encode())


@given(st.integers(0, (1 << 64) - 1))
def test_sizes_are_read_back(value: int) -> None:
    assert parse_memory(format_memory(value)) == value


@pytest.mark.parametrize(
    ("text", "base", "value"),
    [
        (" +07", 10, 7),
        ("", 10, 0),
        ("1 ", 10, None),
        ("-", 10, None),
        ("9" * 30, 10, LLONG_MAX),
        ("-" + "9" * 5000, 10, LLONG_MIN),
        ("-777", 8, -511),
        ("8", 8, None),
    ],
)
def test_strtoll(text: str, base: int, value: int | None) -> None:
    assert strtoll(text, base) == value
