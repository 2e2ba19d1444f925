"""The same bytes to redis-server 7.0 and to our node as a process: the same answer, and closed or open alike."""

from __future__ import annotations

import time

import pytest

from node.resp import request
from tests.protocol.conftest import PASSWORD, Peer
from tests.protocol.test_requests import BAD, WHOLE

pytestmark = pytest.mark.real

QUIT = request([b"QUIT"])
PING = request([b"PING"])
AUTH = request([b"AUTH", PASSWORD.encode()])

ELSEWHERE = {"too many arguments"}
"""redis-server 7.0 lets who has authenticated name 2**31 - 1 arguments; we refuse more than 1,048,576."""

ERRORS: dict[str, bytes] = {
    **{name: data for name, (data, _, _) in BAD.items() if name not in ELSEWHERE},
    "nothing but a sign": b"*1\r\n$\r\n",
    "an argument that begins with a letter": b"*1\r\nPING\r\n",
    "a byte above ASCII for an argument": b"*1\r\n\xff\r\n",
    "spaces in a count": b"* 1\r\n$4\r\nPING\r\n",
    "spaces behind a count": b"*1 \r\n$4\r\nPING\r\n",
    "spaces in a length": b"*1\r\n$ 4\r\nPING\r\n",
    "minus zero": b"*-0\r\n",
    "length beyond 64 bits": b"*1\r\n$99999999999999999999\r\n",
    "count just beyond 32 bits": b"*4294967297\r\n",
    "inline without an end": b"A" * 70_000,
    "count without an end": b"*" + b"1" * 70_000,
    "length without an end": b"*1\r\n$" + b"1" * 70_000,
    "after a transaction of inline requests": b"PING\r\nECHO hi\r\n*1\r\n+PING\r\n",
}

FINE: dict[str, bytes] = {
    **{name: data for name, (data, _) in WHOLE.items()},
    "unknown command": b"NOPE a b\r\n",
    "unknown command in an array": request([b"no\r\npe", b"a\nb"]),
    "unknown command with a long name": request([b"x" * 200, b"y" * 200, b"z"]),
    "unknown command with bytes": request([b"\xff\x00", b"\xfe"]),
    "unknown subcommand": request([b"CLIENT", b"no\r\npe"]),
    "wrong number of arguments": b"ECHO\r\nECHO a b\r\nCLIENT\r\n",
    "names in any case": b"pInG\r\nEcHo Hi\r\n",
    "an empty name": b"*1\r\n$0\r\n\r\n" + PING,
    "quoted empty words": b"ECHO \"\"\r\nECHO ''\r\n",
    "a HTTP request's first line": b"GET / HTTP/1.1\r\n",
    "value longer than its length": b"*2\r\n$4\r\nECHO\r\n$1\r\nabcdef\r\n",
    "bytes above ASCII in an inline request": b"ECHO \xff\xfe\r\n",
    "a thousand requests": PING * 1000,
    "a value of a megabyte": request([b"ECHO", b"v" * (1 << 20)]),
    "RESP3": request([b"CLIENT", b"SETNAME", b"x"]) + request([b"CLIENT", b"GETNAME"]),
    "reply types for requests": b"~1\r\n>1\r\n%1\r\n(1\r\n+OK\r\n:1\r\n$4\r\n",
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str, ours: Peer, redis70: Peer) -> None:
    data = ERRORS[name]
    answer = ours.talk(data)
    assert answer == redis70.talk(data)
    assert answer.endswith(b"\r\n") and b"-ERR Protocol error: " in answer


@pytest.mark.parametrize("name", FINE)
def test_requests(name: str, ours: Peer, redis70: Peer) -> None:
    data = FINE[name] + QUIT
    answer = ours.talk(data)
    assert answer == redis70.talk(data)
    assert answer.endswith(b"+OK\r\n")


@pytest.mark.parametrize("name", ["pipeline", "inline and arrays", "a request within a value", "all bytes"])
def test_requests_that_come_byte_by_byte(name: str, ours: Peer, redis70: Peer) -> None:
    data = FINE[name] + QUIT
    step = max(1, len(data) // 20)
    chunks = [data[at : at + step] for at in range(0, len(data), step)]
    assert ours.talk(*chunks) == redis70.talk(data)


LOCKED: dict[str, bytes] = {
    "ten arguments": request([b"DEL", *[b"k"] * 9]) + QUIT,
    "eleven arguments": request([b"DEL", *[b"k"] * 10]),
    "a value at the limit": request([b"ECHO", b"v" * 16_384]) + QUIT,
    "a value above the limit": b"*2\r\n$4\r\nECHO\r\n$16385\r\n",
    "requests and then too many arguments": PING + PING + request([b"DEL", *[b"k"] * 10]),
    "auth and then what only others may send": AUTH + request([b"DEL", *[b"k"] * 20]) + QUIT,
    "auth and then a great value": AUTH + request([b"ECHO", b"v" * 20_000]) + PING + QUIT,
    "the wrong password and then too many arguments": request([b"AUTH", b"no"]) + request([b"DEL", *[b"k"] * 10]),
    "inline": b"PING\r\nAUTH " + PASSWORD.encode() + b"\r\nPING\r\nQUIT\r\n",
    "auth and then an error": AUTH + PING + b"*x\r\n",
    "no password": PING + request([b"GET", b"k"]) + request([b"NOPE"]) + request([b"ECHO"]) + QUIT,
}


@pytest.mark.parametrize("name", LOCKED)
def test_without_authentication(name: str, locked_ours: Peer, locked_redis70: Peer) -> None:
    assert locked_ours.talk(LOCKED[name]) == locked_redis70.talk(LOCKED[name])


def test_a_paused_client_is_answered_in_order_after_the_pause(ours: Peer, redis70: Peer) -> None:
    data = request([b"CLIENT", b"PAUSE", b"150", b"ALL"]) + PING + request([b"ECHO", b"a"]) + b"*x\r\n"
    answers = []
    for peer in (ours, redis70):
        began = time.monotonic()
        answers.append(peer.talk(data))
        assert time.monotonic() - began > 0.1, peer.name
    assert answers[0] == answers[1]
    assert answers[0].endswith(b"-ERR Protocol error: invalid multibulk length\r\n")


def test_many_half_requests_do_no_harm(ours: Peer) -> None:
    halves = [ours.connect() for _ in range(200)]
    for number, plain in enumerate(halves):
        plain.sendall(PING[: number % (len(PING) - 1) + 1])
    assert ours.talk(PING + QUIT) == b"+PONG\r\n+OK\r\n"
    for plain in halves:
        plain.close()
    assert ours.talk(PING + QUIT) == b"+PONG\r\n+OK\r\n"
