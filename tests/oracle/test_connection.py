"""Connection and CLIENT commands against the real servers: replies, errors and the order of checks."""

from __future__ import annotations

import re

import pytest

from node import resp
from node.client import Unusual
from node.errors import CommandError
from tests.commands.harness import Harness
from tests.oracle.oracle import Judge, Unlike, start_real
from tests.oracle.wire import Wire, parse_whole

TABLES = {
    "small ones": """
        PING
        PING hello
        PING a b
        ECHO hello
        ECHO
        ECHO a b
        SELECT 3
        SELECT 16
        SELECT -1
        SELECT x
        SELECT 0
        SELECT
        QUIT_NOT
        AUTH
        AUTH secret
        AUTH default anything
        AUTH nobody anything
        AUTH a b c
    """,
    "hello": """
        HELLO 1
        HELLO 4
        HELLO x
        HELLO 2 AUTH
        HELLO 2 AUTH a
        HELLO 2 AUTH nobody b
        HELLO 2 WHAT
        HELLO 2 SETNAME
        HELLO 2 SETNAME "with space"
        HELLO 2 SETNAME "with space" WHAT
        HELLO 2 WHAT SETNAME "with space"
    """,
    "client about itself": """
        CLIENT SETNAME me
        CLIENT GETNAME
        CLIENT SETNAME "a b"
        CLIENT SETNAME "a\\nb"
        CLIENT GETNAME
        CLIENT SETNAME ''
        CLIENT GETNAME
        CLIENT GETREDIR
        CLIENT TRACKINGINFO
        CLIENT NO-EVICT on
        CLIENT NO-EVICT off
        CLIENT NO-EVICT x
        CLIENT NO-EVICT
        CLIENT REPLY x
        CLIENT REPLY on
        CLIENT WHAT
        CLIENT
        CLIENT ID x
    """,
    "client about others": """
        CLIENT KILL 1.2.3.4:5
        CLIENT KILL ID x
        CLIENT KILL ID 0
        CLIENT KILL ID -1
        CLIENT KILL ID 999999
        CLIENT KILL WHAT x
        CLIENT KILL TYPE x
        CLIENT KILL TYPE pubsub
        CLIENT KILL USER nobody
        CLIENT KILL SKIPME x
        CLIENT KILL ADDR 1.2.3.4:5
        CLIENT KILL LADDR 1.2.3.4:5 TYPE normal
        CLIENT KILL ID
        CLIENT LIST TYPE x
        CLIENT LIST TYPE
        CLIENT LIST WHAT
        CLIENT LIST ID
        CLIENT LIST ID x
        CLIENT PAUSE x
        CLIENT PAUSE -1
        CLIENT PAUSE 1 WHAT
        CLIENT PAUSE 0 WRITE
        CLIENT UNPAUSE
        CLIENT UNBLOCK x
        CLIENT UNBLOCK 999999
        CLIENT UNBLOCK 999999 TIMEOUT
        CLIENT UNBLOCK 999999 WHAT
    """,
}


@pytest.mark.real
@pytest.mark.parametrize("name", TABLES)
def test_table(judge: Judge, name: str) -> None:
    several = Unlike("valkey", "Valkey takes several ids, and says less about a wrong one")
    unlike = {"CLIENT KILL ID x": several, "CLIENT LIST ID x": several}
    judge.check_all(TABLES[name], unlike)


@pytest.mark.real
def test_new_in_redis_72(judge: Judge) -> None:
    if judge.kind == "redis":
        pytest.skip("redis-server 7.0 has none of these")
    judge.check_all("""
        CLIENT SETINFO LIB-NAME lib
        CLIENT SETINFO lib-ver 1.2
        CLIENT SETINFO LIB-NAME "a b"
        CLIENT SETINFO WHAT x
        CLIENT SETINFO LIB-NAME
        CLIENT NO-TOUCH on
        CLIENT NO-TOUCH off
        CLIENT NO-TOUCH x
        CLIENT KILL MAXAGE x
        CLIENT KILL ID 999999 MAXAGE x
        CLIENT KILL ID 999999 MAXAGE 0
        CLIENT KILL ID 999999 MAXAGE 5
    """)


@pytest.mark.real
def test_hello_map(judge: Judge) -> None:
    """The same fields in the same order, and in the protocol that is spoken from now on."""
    for version in (3, 2, judge.protocol):
        theirs = judge._real(b"HELLO", b"%d" % version)
        judge.ours.wire("HELLO", version)
        ours = parse_whole(judge.ours.client.encode(judge.ours.run("HELLO", version)))
        assert theirs.kind == ours.kind
        assert _names(theirs) == _names(ours) == [b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"]


def _names(tree: object) -> list[bytes]:
    value = tree.value  # type: ignore[attr-defined]
    items = [pair[0] for pair in value] if tree.kind == "%" else value[::2]  # type: ignore[attr-defined]
    return [item.value for item in items]


@pytest.mark.real
def test_client_list_fields(judge: Judge) -> None:
    """Redis 7.2 has two fields more than 7.0 at the end; Valkey has put others in between."""
    theirs, ours = judge.both("CLIENT", "LIST")
    assert theirs.kind == ours.kind
    wanted = re.findall(rb"(\S+?)=", theirs.value.split(b"\n")[0])
    found = re.findall(rb"(\S+?)=", ours.value.split(b"\n")[0])
    added = {b"capa", b"watch", b"tot-net-in", b"tot-net-out", b"tot-cmds"}
    expected = [name for name in wanted if name not in added]
    if judge.kind == "redis":
        expected += [b"lib-name", b"lib-ver"]
    assert found == expected


@pytest.mark.real
@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_passwords(kind: str) -> None:
    """What a client may do before and after it has given the password."""
    requests = [
        ("PING",),
        ("GET", "k"),
        ("SET", "k"),
        ("nosuch",),
        ("CLIENT", "LIST"),
        ("HELLO",),
        ("HELLO", "3"),
        ("HELLO", "2", "AUTH", "default", "wrong"),
        ("AUTH", "wrong"),
        ("AUTH", "default", "wrong"),
        ("AUTH", "nobody", "secret"),
        ("RESET",),
        ("PING",),
        ("AUTH", "secret"),
        ("PING",),
        ("RESET",),
        ("PING",),
        ("AUTH", "default", "secret"),
        ("AUTH", "wrong"),
        ("PING",),
        ("CONFIG", "SET", "requirepass", ""),
        ("RESET",),
        ("PING",),
        ("AUTH", "secret"),
    ]
    ours = Harness(settings={"requirepass": "secret"})
    with start_real(kind) as server:
        first = Wire(server.port)
        first.call(b"CONFIG", b"SET", b"requirepass", b"secret")
        theirs = Wire(server.port)
        for request in requests:
            if kind == "valkey" and request in (("SET", "k"), ("nosuch",)):
                continue  # Valkey asks for the password before it looks at the request.
            real = theirs.call(*(word.encode() for word in request))
            reply = _reply(ours, request)
            mine = parse_whole(ours.client.encode(reply))
            if kind == "redis" and request[0] == "HELLO" and b"must be called" in real.value:
                real = real._replace(value=real.value.replace(b"HELLO AUTH", b"HELLO <proto> AUTH"))  # as of 7.2
            assert mine == real, request
        theirs.close()
        first.close()


def _reply(ours: Harness, request: tuple[str, ...]) -> resp.Reply:
    return ours.node.run(ours.client, [word.encode() for word in request])


@pytest.mark.real
@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_reply_off_and_skip(kind: str) -> None:
    """Which of these requests are answered."""
    requests = [
        "ECHO 1",
        "CLIENT REPLY SKIP",
        "ECHO 2",
        "ECHO 3",
        "CLIENT REPLY OFF",
        "ECHO 4",
        "CLIENT REPLY SKIP",
        "nosuch",
        "CLIENT REPLY ON",
        "ECHO 5",
        "CLIENT REPLY SKIP",
        "CLIENT REPLY SKIP",
        "ECHO 6",
        "ECHO 7",
        "CLIENT REPLY SKIP",
        "nosuch",
        "ECHO 8",
        "CLIENT REPLY OFF",
        "RESET",
        "ECHO 9",
    ]
    ours = Harness()
    mine = b""
    for line in requests:
        reply = _reply(ours, tuple(line.split()))
        if not (isinstance(reply, CommandError) and ours.client.unusual & Unusual.REPLY_OFF):
            mine += ours.client.encode(reply)
    with start_real(kind) as server:
        wire = Wire(server.port)
        wire.socket.sendall("".join(line + "\r\n" for line in requests).encode())
        theirs = b""
        while not theirs.endswith(b"$1\r\n9\r\n"):
            theirs += wire.socket.recv(4096)
        wire.close()
    assert mine == theirs
