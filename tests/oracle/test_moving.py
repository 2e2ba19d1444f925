"""What moves keys and slots, beside redis-server 7.0 and valkey-server 9.1: facts, arguments and where the keys are.

What MIGRATE answers is compared in tests/interop/test_resharding.py, what SLOT-STATS tells in tests/commands.
"""

from __future__ import annotations

import pytest

from node.state import COMMANDS
from tests.oracle.conftest import Servers
from tests.oracle.facts import arguments_declared, arguments_told, declared, told
from tests.oracle.oracle import Judge

UNLIKE = {
    ("redis", "migrate", "summary"): "7.2 says it in other words",
    ("redis", "cluster|setslot", "history"): "TIMEOUT came with Valkey 8",
    ("redis", "cluster|setslot", "summary"): "7.2 says it in other words",
    ("redis", "restore-asking", "summary"): "7.2 says it in other words",
    ("valkey", "restore-asking", "complexity"): "Valkey does not call itself Redis",
    ("redis", "restore-asking", "complexity"): "7.0 spells it otherwise",
    ("valkey", "migrate", "complexity"): "Valkey does not call itself Redis",
    ("valkey", "migrate", "summary"): "Valkey does not call itself Redis",
}
"""By server, command and fact: why ours may differ."""


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", ["migrate", "cluster|setslot", "cluster|slot-stats", "restore-asking"])
def test_facts(servers: Servers, kind: str, name: str) -> None:
    facts = told(servers.wire(kind, 3), name)
    if (kind, name) == ("redis", "cluster|slot-stats"):
        assert facts is None
        return
    assert facts is not None
    command = COMMANDS.named(name.encode())
    assert command is not None
    ours = declared(command)
    differences = {fact: (theirs, ours[fact]) for fact, theirs in facts.items() if theirs != ours[fact]}
    assert {fact: both for fact, both in differences.items() if (kind, name, fact) not in UNLIKE} == {}


def test_arguments(servers: Servers) -> None:
    assert arguments_declared("migrate") == arguments_told(servers.wire("valkey", 3), "migrate")


@pytest.mark.parametrize("request_", [
    "h p k 0 0", "h p k 0 0 COPY REPLACE", "h p '' 0 0 KEYS a b", "h p '' 0 0 COPY keys a", "h p '' 0 0 AUTH keys KEYS a b",
    "h p '' 0 0 AUTH2 KEYS a KEYS b", "h p x 0 0 KEYS a", "h p '' 0 0", "h p '' 0 0 AUTH", "h p k 0",
])
def test_where_the_keys_are(judge: Judge, request_: str) -> None:
    words = [word.strip("'") for word in request_.split()]
    judge.check("COMMAND", "GETKEYS", "MIGRATE", *words)
    judge.check("COMMAND", "GETKEYSANDFLAGS", "MIGRATE", *words)
