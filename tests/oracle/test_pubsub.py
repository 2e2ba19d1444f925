"""Pub/sub over sockets: several clients say the same to a real server and to ours, and each must hear the same.

A story is a table. `A2: SUBSCRIBE a | PING` lets the client A, who speaks RESP2, send two requests in one chunk; after
each line everything that came to any client is compared. Clients come into being where they are first named.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from node import resp
from node.commands import pubsub
from node.registry import Command
from tests.oracle.conftest import Servers
from tests.oracle.facts import declared, told
from tests.oracle.oracle import words
from tests.oracle.wire import Tree, Wire
from tests.servers import ServerProcess, start

STORIES = {
    "channels": """
        A2: SUBSCRIBE a b a
        B3: SUBSCRIBE a c
        P2: PUBLISH a hello | PUBLISH b "" | PUBLISH none x
        A2: SUBSCRIBE d
        A2: UNSUBSCRIBE a none
        P2: PUBLISH a again
        A2: UNSUBSCRIBE b | UNSUBSCRIBE d | UNSUBSCRIBE
        A2: UNSUBSCRIBE a | PUNSUBSCRIBE | PUNSUBSCRIBE x | SUNSUBSCRIBE | SUNSUBSCRIBE x
        B3: UNSUBSCRIBE c | UNSUBSCRIBE | PUNSUBSCRIBE | SUNSUBSCRIBE
        P2: PUBLISH a nobody
        A2: SUBSCRIBE
        A2: PUBLISH a
        A2: PUBLISH a b c
        A2: SPUBLISH a
        A2: PUBSUB
        A2: "PUBSUB" nonsense
    """,
    "patterns": """
        A2: PSUBSCRIBE n* n*
        B3: PSUBSCRIBE news.? n[ae]ws*
        C2: SUBSCRIBE news.a | PSUBSCRIBE *
        P2: PUBLISH news.a x | PUBLISH news.ab x | PUBLISH nows x | PUBLISH "" x | PUBLISH n "\\x00\\r\\n"
        P2: PUBSUB NUMPAT | PUBSUB CHANNELS | PUBSUB NUMSUB n* news.a
        A2: PUNSUBSCRIBE
        C2: PUNSUBSCRIBE none | PUNSUBSCRIBE * | UNSUBSCRIBE
        P2: PUBLISH news.a x | PUBSUB NUMPAT
    """,
    "shard channels": """
        A2: SSUBSCRIBE a b
        B3: SSUBSCRIBE a
        C2: SUBSCRIBE a
        P2: SPUBLISH a hello | SPUBLISH none x | PUBLISH a plain
        P2: PUBSUB SHARDCHANNELS a* | PUBSUB SHARDCHANNELS x | PUBSUB SHARDNUMSUB | PUBSUB SHARDNUMSUB a b none
        A2: SUBSCRIBE a | SUNSUBSCRIBE a | GET x | SUNSUBSCRIBE | UNSUBSCRIBE | GET x
    """,
    "looking": """
        A2: SUBSCRIBE a
        B2: SUBSCRIBE a | PSUBSCRIBE p
        P2: PUBSUB CHANNELS | PUBSUB CHANNELS a | PUBSUB CHANNELS b | PUBSUB CHANNELS a b
        P2: PUBSUB NUMSUB | PUBSUB NUMSUB a p x | PUBSUB NUMPAT | PUBSUB NUMPAT x
        P3: PUBSUB NUMSUB a x | pubsub channels a?
        P2: PUBSUB SHARDCHANNELS a b | PUBSUB SHARDNUMSUB a
    """,
    "restricted": """
        A2: SUBSCRIBE a
        A2: GET x | CLIENT LIST | PUBLISH a b | MULTI | HELLO 3 | AUTH x | SELECT 1 | SET a | nonsense | CLIENT nonsense
        A2: PING | PING text | PING a b | ECHO x
        A2: UNSUBSCRIBE | GET x | PING
        A2: PSUBSCRIBE p | GET x | PUNSUBSCRIBE | GET x
        A2: SSUBSCRIBE s | GET x | SUNSUBSCRIBE | GET x
        A2: SUBSCRIBE a | RESET | GET x
        P2: PUBLISH a nobody | PUBSUB NUMSUB a
        B3: SUBSCRIBE a | GET x | PING | PING text | CLIENT GETNAME
        B3: HELLO 2 | GET x | PING
        B2: RESET | PING
        P2: PUBLISH a nobody
    """,
    "to oneself": """
        A3: SUBSCRIBE a | PUBLISH a 1 | GET x | PUBLISH a 2 | PUBLISH a 3 | UNSUBSCRIBE a | PUBLISH a 4
        A3: PSUBSCRIBE * | SUBSCRIBE b | PUBLISH b 1 | SUBSCRIBE c
        A3: SET x y | INCR x | PUBLISH b 2 | GET x
    """,
    "transactions": """
        A2: MULTI | SUBSCRIBE a | EXEC
        A2: GET x | UNSUBSCRIBE
        A2: MULTI | SUBSCRIBE a b | GET x | UNSUBSCRIBE b a | EXEC
        A3: MULTI | SUBSCRIBE a b | GET x | EXEC
        A3: GET x | MULTI | UNSUBSCRIBE a b | PING | EXEC
        P2: MULTI | PUBLISH a x | PUBSUB NUMSUB a | EXEC
        B2: SUBSCRIBE a
        P2: MULTI | PUBLISH a x | PUBLISH a y | DISCARD | MULTI | PUBLISH a z | EXEC
    """,
    "transaction to oneself": """
        A3: MULTI | SUBSCRIBE a | PUBLISH a x | PUBLISH a y | GET x | EXEC | PING
        A3: MULTI | PUBLISH a x | GET x | EXEC | GET x
        A2: MULTI | SUBSCRIBE a | PUBLISH a x | UNSUBSCRIBE | EXEC | PING
    """,
    "replies off": """
        A2: CLIENT REPLY OFF | SUBSCRIBE a | PING | GET x | UNSUBSCRIBE | PING | CLIENT REPLY ON
        A2: CLIENT REPLY OFF | SUBSCRIBE a | RESET | PING
        P2: PUBLISH a x
        B3: CLIENT REPLY OFF | SUBSCRIBE a | GET x | PUBLISH a y | CLIENT REPLY ON
        C3: CLIENT REPLY SKIP | SUBSCRIBE a | GET x | CLIENT REPLY SKIP | GET x | GET x
    """,
}
_MESSAGE_FIRST = "Redis 7.0 sends a client's own message before its reply, 7.2 behind it"
UNLIKE = {
    ("redis", "A3: SUBSCRIBE a | PUBLISH a 1 | GET x | PUBLISH a 2 | PUBLISH a 3 | UNSUBSCRIBE a | PUBLISH a 4"):
        _MESSAGE_FIRST,
    ("redis", "A3: PSUBSCRIBE * | SUBSCRIBE b | PUBLISH b 1 | SUBSCRIBE c"): _MESSAGE_FIRST,
    ("redis", "A3: SET x y | INCR x | PUBLISH b 2 | GET x"): _MESSAGE_FIRST,
    ("redis", "A3: MULTI | SUBSCRIBE a | PUBLISH a x | PUBLISH a y | GET x | EXEC | PING"): _MESSAGE_FIRST,
    ("redis", "A3: MULTI | PUBLISH a x | GET x | EXEC | GET x"): _MESSAGE_FIRST,
    ("redis", "A2: MULTI | SUBSCRIBE a | PUBLISH a x | UNSUBSCRIBE | EXEC | PING"): _MESSAGE_FIRST,
}
"""By server and line: what is not as in Redis 7.2."""


class Room:
    """The clients of one server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clients: dict[str, Wire] = {}
        self._marks = 0
        self._wire = Wire(port)
        self._wire.call(b"FLUSHALL")

    def say(self, name: str, chunk: bytes) -> dict[str, list[Tree]]:
        """Send bytes as a client; what every client has received then."""
        if name not in self._clients:
            self._clients[name] = Wire(self._port, int(name[1]))
        self._clients[name].socket.sendall(chunk)
        first = self._heard(name)
        return {name: first} | {other: self._heard(other) for other in self._clients if other != name}

    def _heard(self, name: str) -> list[Tree]:
        """Everything up to the reply to a PING that says what no other message does."""
        client = self._clients[name]
        self._marks += 1
        mark = b"mark %d" % self._marks
        client.socket.sendall(resp.request([b"PING", mark]))
        heard: list[Tree] = []
        while not _ends_with(tree := client.read(), mark):
            is_greeting = tree.kind == "*" and bool(tree.value) and tree.value[0].value == b"server"
            heard.append(Tree("HELLO", None) if is_greeting else tree)
        return _without_order_of_patterns(heard)

    def close(self) -> None:
        for client in (*self._clients.values(), self._wire):
            client.close()


def _without_order_of_patterns(heard: list[Tree]) -> list[Tree]:
    """The same message for several patterns comes in no order."""
    groups = groupby(heard, lambda tree: _is_pmessage(tree) and (tree.value[2], tree.value[3]))
    return [tree for key, group in groups for tree in (sorted(group) if key else group)]


def _is_pmessage(tree: Tree) -> bool:
    return tree.kind in "*>" and bool(tree.value) and tree.value[0].value == b"pmessage"


def _ends_with(tree: Tree, mark: bytes) -> bool:
    return tree.value == mark or (tree.kind == "*" and bool(tree.value) and tree.value[-1].value == mark)


@pytest.fixture(scope="module")
def ours() -> Iterator[ServerProcess]:
    with start("hashslot") as server:
        yield server


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("story", STORIES)
def test_story(servers: Servers, ours: ServerProcess, story: str, kind: str) -> None:
    real, here = Room(servers.server(kind).port), Room(ours.port)
    wrong = []
    for line in filter(None, map(str.strip, STORIES[story].splitlines())):
        name, _, requests = line.partition(": ")
        chunk = b"".join(resp.request(words(one)) for one in requests.split(" | "))
        theirs, us = real.say(name, chunk), here.say(name, chunk)
        if (kind, line) in UNLIKE:
            assert theirs != us, f"no longer so: {line}"
        elif theirs != us:
            wrong.append(f"{line}\n  theirs: {theirs}\n  ours:   {us}")
    real.close()
    here.close()
    assert not wrong, "\n" + "\n".join(wrong)


# What COMMAND says ----------------------------------------------------------------------------------------------------

COMMANDS = {
    one.name: one for command in pubsub.group.commands for one in (command, *command.subcommands.values())
}
_REWORDED = frozenset({"summary", "complexity"})
"""Redis 7.2 says these in other words than 7.0."""


def _facts(command: Command) -> dict[str, Any]:
    facts = declared(command)
    return facts | {"flags": [flag for flag in facts["flags"] if flag != "may_replicate"]}  # COMMAND does not tell it.


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", COMMANDS)
def test_facts(servers: Servers, kind: str, name: str) -> None:
    facts = told(servers.wire(kind, 3), name)
    if facts is None:
        parent = name.partition("|")[0]
        facts = told(servers.wire(kind, 3), parent)
    assert facts is not None
    ours = _facts(COMMANDS[name])
    without = _REWORDED if kind == "redis" else frozenset()
    assert {fact: value for fact, value in facts.items() if fact not in without} == {
        fact: value for fact, value in ours.items() if fact not in without
    }


def test_getkeys_finds_no_keys(servers: Servers, ours: ServerProcess) -> None:
    wire = Wire(ours.port)
    for request in ([b"SPUBLISH", b"a", b"b"], [b"SSUBSCRIBE", b"a"], [b"PUBLISH", b"a", b"b"]):
        for word in (b"GETKEYS", b"GETKEYSANDFLAGS"):
            asked = b"COMMAND", word, *request
            assert servers.wire("redis", 2).call(*asked) == wire.call(*asked)
    wire.close()
