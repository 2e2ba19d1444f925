"""Values and commands that a real server does not know: as our replica it stays up, loses nothing and says in its log why it
gets nothing; as the target of a move it refuses, and the key stays. In process: `tests/replication/test_foreign.py`,
`tests/commands/test_migrate.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from node.replication.foreign import Needs, needs
from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real

OF_EFFECTS = {"delex", "xackdel", "xdelex", "hsetex", "hgetex", "hgetdel", "delifeq", "msetex"}
"""Newer commands that no replica is sent: it is told what they did."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ServerProcess]]:
    folder, options = tmp_path_factory.mktemp("foreign"), ("--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        yield {kind: stack.enter_context(start(kind, folder, *options)) for kind in ("hashslot", "valkey", "redis")}


def names(server: ServerProcess, *, writing: bool = False) -> set[str]:
    with server.connect(protocol=2) as client:
        client.response_callbacks.clear()
        return {one[0].decode() for one in client.execute_command("COMMAND") if b"write" in one[2] or not writing}


def test_what_each_kind_knows_is_what_we_believe(servers: dict[str, ServerProcess]) -> None:
    ours = names(servers["hashslot"], writing=True)
    for kind, known in (("valkey", Needs.NEWER), ("redis", Needs.NOTHING)):
        told = {name for name in ours if needs([name.encode()]) <= known} - OF_EFFECTS
        assert told <= names(servers[kind]), kind
        assert {name for name in ours if needs([name.encode()]) is Needs.MODULES}.isdisjoint(names(servers[kind]))


def test_replicas_get_nothing_that_they_would_lose(servers: dict[str, ServerProcess]) -> None:
    ours, valkey, old = (servers[kind] for kind in ("hashslot", "valkey", "redis"))
    ours.client.json().set("doc", "$", {"a": [1]})
    ours.client.set("plain", "x")
    for one in (valkey, old):
        one.client.replicaof("127.0.0.1", ours.port)
    why = "unable to PSYNC but should be in the future: -NOMASTERLINK a replica of this kind can not read"
    for one in (valkey, old):
        one.until(lambda one=one: why in one.log_text(), "told why")  # type: ignore[misc]
        assert one.client.ping() and one.info()["master_link_status"] == "down"
        assert f"Replica 127.0.0.1:{one.port} gets no data" in ours.log_text()
    ours.client.delete("doc")
    for one in (valkey, old):
        one.until_in_sync()
        assert one.client.keys() == [b"plain"]
    everything(ours)
    for one in (valkey, old):
        one.until_caught_up(ours)
        assert content(one, deadlines=one is valkey) == content(ours, deadlines=one is valkey)
        passed_over = [line for line in one.log_text().splitlines() if "CRITICAL" in line]
        assert all("unknown command 'HPEXPIREAT'" in line for line in passed_over) and (one is old or not passed_over)
    ours.client.execute_command("BF.ADD", "filter", "x")
    for one in (valkey, old):
        one.until(lambda one=one: one.info()["master_link_status"] == "down", "cut off")  # type: ignore[misc]
        assert one.client.ping() and one.client.get("plain") == b"x" and not one.client.exists("filter")
    ours.client.delete("filter")
    for one in (valkey, old):
        one.until_in_sync()
        one.client.replicaof("NO", "ONE")


def everything(ours: ServerProcess) -> None:
    """Newer commands, in transactions too, and values as they come from elsewhere."""
    client = ours.client
    with client.pipeline(transaction=True) as unit:
        unit.set("unit", 1)
        unit.execute_command("HSETEX", "fields", "PX", 10**7, "FIELDS", 2, "f", "1", "g", "2")
        unit.execute_command("HGETDEL", "fields", "FIELDS", 1, "g")
        unit.rpush("unit:list", "a", "b")
        unit.execute()
    client.execute_command("MSETEX", 2, "m:1", "x", "m:2", "y", "EX", 10_000)
    client.execute_command("SET", "m:1", "z", "IFEQ", "x")
    client.execute_command("DELIFEQ", "m:2", "y")
    for number in range(1, 5):
        client.xadd("stream", {"f": "v"}, id=f"{number}-1")
    client.xgroup_create("stream", "group", id="0")
    client.xreadgroup("group", "reader", {"stream": ">"}, count=2)
    client.execute_command("XDELEX", "stream", "IDS", 1, "4-1")
    client.execute_command("XACKDEL", "stream", "group", "IDS", 1, "1-1")
    client.sadd("set", "a", "b")
    for key in ("fields", "set", "stream", "unit"):
        client.execute_command("RESTORE", f"{key}:again", 0, client.dump(key))


def content(server: ServerProcess, *, deadlines: bool) -> dict[bytes, Any]:
    found: dict[bytes, Any] = {}
    client = server.client
    for key in client.keys("*"):
        match client.type(key):
            case b"string":
                found[key] = client.get(key), client.expiretime(key)
            case b"list":
                found[key] = client.lrange(key, 0, -1)
            case b"set":
                found[key] = client.smembers(key)
            case b"hash":
                times = client.execute_command("HPEXPIRETIME", key, "FIELDS", 1, "f") if deadlines else None
                found[key] = client.hgetall(key), times
            case _:
                found[key] = client.xrange(key), client.xpending(key, "group")["pending"]
    return found


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_what_migrate_can_not_take_there_stays(servers: dict[str, ServerProcess], kind: str) -> None:
    ours, target = servers["hashslot"], servers[kind]
    ours.client.flushall()
    target.client.flushall()
    ours.client.hset("fields", mapping={"f": "v", "g": "w"})
    ours.client.execute_command("HPEXPIRE", "fields", 10**7, "FIELDS", 1, "f")
    deadlines = ours.client.execute_command("HPEXPIRETIME", "fields", "FIELDS", 2, "f", "g")
    ours.client.json().set("doc", "$", {})
    ours.client.sadd("small", "a", "b")
    ours.client.set("text", "x")
    request = ("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", "text", "small", "fields", "doc")
    with pytest.raises(redis.ResponseError, match=r"it has no (module for|fields of)"):
        ours.client.execute_command(*request)
    left = {b"doc"} if kind == "valkey" else {b"doc", b"fields"}
    assert set(ours.client.keys()) == left and target.client.smembers("small") == {b"a", b"b"}
    if kind == "redis":
        with pytest.raises(redis.ResponseError, match="it has no fields of hashes that expire"):
            ours.client.execute_command("MIGRATE", "127.0.0.1", target.port, "fields", 0, 5000)
        return
    asked = ("HPEXPIRETIME", "fields", "FIELDS", 2, "f", "g")
    assert target.client.execute_command(*asked) == deadlines
    ours.client.restore("fields", 0, target.client.dump("fields"))
    target.client.restore("again", 0, ours.client.dump("fields"))
    assert ours.client.execute_command(*asked) == deadlines
    assert target.client.execute_command("HPEXPIRETIME", "again", "FIELDS", 2, "f", "g") == deadlines
