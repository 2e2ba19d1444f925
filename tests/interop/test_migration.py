"""Atomic slot migration on real processes: our nodes among themselves, and with valkey-server 9.1 by its own protocol.

What moved must be there with every type, every TTL and every write that was acknowledged meanwhile; what did not must not be
seen anywhere. Real processes and real time; everything is polled until it holds.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster
from redis.crc import key_slot

from tests.bench.migration import by_slot, fill, keys_in, wrong_keys
from tests.clients.up import until
from tests.servers import ServerProcess, start_all

pytestmark = pytest.mark.real

RANGES = ((0, 5460), (5461, 10922), (10923, 16383))
MOVED = (0, 2730)
TAG = next(b"{t%d}" % number for number in range(1000) if key_slot(b"{t%d}" % number) <= MOVED[1])


class Trio:
    """Three primaries, of these kinds, and replicas that follow some of them."""

    def __init__(self, folder: Path, kinds: list[str]) -> None:
        self._folder = folder
        # Replicas stay where the test puts them; real primaries begin a sync at once.
        self._options = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "3000"),
            *("--repl-diskless-sync-delay", "0", "--cluster-allow-replica-migration", "no"),
        )
        self.nodes = start_all(kinds, folder, *self._options)
        for number, (node, (first, last)) in enumerate(zip(self.nodes, RANGES, strict=True)):
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        self._meet(self.nodes[1:])

    def _meet(self, newcomers: list[ServerProcess]) -> None:
        for node in newcomers:
            self.nodes[0].client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        until(self._linked, "that all know all")

    def _linked(self) -> bool:
        infos = [node.client.execute_command("CLUSTER", "INFO") for node in self.nodes]
        known = b"cluster_known_nodes:%d" % len(self.nodes)
        return all(b"cluster_state:ok" in info and known in info for info in infos)

    def add_nodes(self, *kinds: str) -> list[ServerProcess]:
        newcomers = start_all(kinds, self._folder, *self._options)
        self.nodes += newcomers
        self._meet(newcomers)
        return newcomers

    def id_of(self, number: int) -> str:
        return str(self.nodes[number].client.execute_command("CLUSTER", "MYID").decode())

    def owns_first(self, number: int) -> bool:
        """Whether the slots that move are this node's, in its own eyes."""
        try:
            self.nodes[number].client.exists(TAG)
        except redis.ResponseError:
            return False
        return True

    def migrate(self, source: int, target: int, *slots: int) -> None:
        words = ("SLOTSRANGE", *(slots or MOVED), "NODE", self.id_of(target))
        assert self.nodes[source].client.execute_command("CLUSTER", "MIGRATESLOTS", *words) == b"OK"

    def begin_at(self, owner: int) -> None:
        """No keys anywhere, and the slots that move are this node's, of the first two."""
        if not self.owns_first(owner):
            self.migrate(1 - owner, owner)
            self.until_state(1 - owner, b"success")
        for node in self.nodes:
            node.client.flushall()

    def jobs(self, number: int) -> list[dict[bytes, Any]]:
        jobs = self.nodes[number].client.execute_command("CLUSTER", "GETSLOTMIGRATIONS")
        return [job if isinstance(job, dict) else dict(zip(job[::2], job[1::2], strict=True)) for job in jobs]

    def until_state(self, number: int, *states: bytes, timeout_s: float = 30.0) -> dict[bytes, Any]:
        def newest() -> dict[bytes, Any] | None:
            jobs = self.jobs(number)
            assert jobs, "no job"
            assert jobs[0][b"state"] in states, jobs[0]
            return jobs[0]

        found: dict[bytes, Any] = until(newest, f"{states} at {number}", timeout_s)
        return found

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


@contextlib.contextmanager
def trio(folder: Path, *kinds: str) -> Iterator[Trio]:
    cluster = Trio(folder, list(kinds))
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    """Three of our nodes, for the tests that end no process."""
    with trio(tmp_path_factory.mktemp("migration"), "hashslot", "hashslot", "hashslot") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    """One of ours, one of Valkey's, one of ours."""
    with trio(tmp_path_factory.mktemp("mixed"), "hashslot", "valkey", "hashslot") as cluster:
        yield cluster


@pytest.fixture
def ours(shared: Trio) -> Iterator[Trio]:
    """The same, with the slots where they were in the beginning and without a key."""
    yield shared
    shared.begin_at(0)


QUESTIONS = [
    "", "SLOTSRANGE", "FOO 1 2", "SLOTSRANGE {a}", "SLOTSRANGE {a} {b}", "SLOTSRANGE x 2 NODE {other}",
    "SLOTSRANGE {b} {a} NODE {other}", "SLOTSRANGE {a} 20000 NODE {other}", "SLOTSRANGE {last} {behind} NODE {other}",
    "SLOTSRANGE {theirs} {theirs} NODE {other}", "SLOTSRANGE {a} {a} NODE {own}", "SLOTSRANGE {a} {a} NODE x",
    "SLOTSRANGE {a} {a} NODE " + "x" * 40, "SLOTSRANGE {a} {a} FOO {other}", "SLOTSRANGE {a} {a} {a} {b} NODE {other}",
    "SLOTSRANGE {a} {a} NODE {other} SLOTSRANGE {a} {a} NODE {other}", "SLOTSRANGE {a} {b} {c} NODE {other}",
]
_NAME = "NAME " + "a" * 40
SPOKEN = [
    "", "FOO", "PAUSED", "ACK", "SNAPSHOT-EOF", "REQUEST-PAUSE", "ESTABLISH", "ESTABLISH NAME x SLOTSRANGE {a} {a}",
    "FINISH", f"FINISH STATE success {_NAME}", f"ESTABLISH SOURCE {{own}} {_NAME} SLOTSRANGE {{theirs}} {{theirs}}",
    f"ESTABLISH SOURCE {{other}} {_NAME} SLOTSRANGE {{a}} {{a}}", "ESTABLISH SOURCE {other} SLOTSRANGE {theirs} {theirs}",
    f"ESTABLISH SOURCE {'b' * 40} {_NAME} SLOTSRANGE {{theirs}} {{theirs}}",
]


def test_errors_are_valkeys(mixed: Trio) -> None:
    """Before there was any job, since the lists are compared too."""
    ids = [mixed.id_of(number) for number in range(3)]

    def told(number: int, *words: str) -> str:
        first, last = RANGES[number]
        names = {"own": ids[number], "other": ids[1 - number], "theirs": str(RANGES[1 - number][0])}
        names |= {"a": str(first + 1), "b": str(first + 2), "c": str(first + 3)}
        names |= {"last": str(last), "behind": str(last + 1)}
        asked = [one.format(**names) for one in words]
        try:
            reply = repr(mixed.nodes[number].client.execute_command("CLUSTER", *asked))
        except redis.ResponseError as error:
            reply = str(error)
        return re.sub(r"\b\d+\b", lambda found: str(int(found[0]) - first), reply)

    asked = [("MIGRATESLOTS", *one.split()) for one in QUESTIONS] + [("SYNCSLOTS", *one.split()) for one in SPOKEN]
    for words in [*asked, ("CANCELSLOTMIGRATIONS",), ("GETSLOTMIGRATIONS",), ("GETSLOTMIGRATIONS", "x")]:
        ours, theirs = told(0, *words), told(1, *words)
        assert ours == theirs, words


def one_of_each(client: Any) -> dict[bytes, Any]:
    """A key of every type under the tag, with and without a TTL. Returns what has to be found again."""
    client.set(TAG + b"string", "text", px=1_000_000)
    client.set(TAG + b"number", 12)
    client.rpush(TAG + b"list", *range(700))
    client.sadd(TAG + b"ints", *range(20))
    client.sadd(TAG + b"set", "a", "b", "c" * 100)
    client.zadd(TAG + b"zset", {"a": 1.5, "b": -2, "c": float("inf"), "d": 0.1})
    client.hset(TAG + b"hash", mapping={"f": "v", "g": "w", "h": "x"})
    client.execute_command("HPEXPIRE", TAG + b"hash", 2_000_000, "FIELDS", 2, "f", "g")
    client.pexpire(TAG + b"zset", 3_000_000)
    for number in range(1, 5):
        client.xadd(TAG + b"stream", {"f": number}, id=f"{number}-1")
    client.xdel(TAG + b"stream", "4-1")
    client.xgroup_create(TAG + b"stream", "group", id="0")
    client.xreadgroup("group", "consumer", {TAG + b"stream": ">"}, count=2)
    client.pfadd(TAG + b"log", *range(100))
    return described(client)


def described(client: Any) -> dict[bytes, Any]:
    stream = TAG + b"stream"
    deadlines = {
        key: client.execute_command("PEXPIRETIME", TAG + key) for key in (b"string", b"number", b"list", b"zset", b"hash")
    }
    return {
        b"deadlines": deadlines,
        b"strings": client.mget(TAG + b"string", TAG + b"number", TAG + b"log"),
        b"list": client.lrange(TAG + b"list", 0, -1),
        b"sets": (client.smembers(TAG + b"ints"), client.smembers(TAG + b"set")),
        b"zset": client.zrange(TAG + b"zset", 0, -1, withscores=True),
        b"hash": client.hgetall(TAG + b"hash"),
        b"fields": client.execute_command("HPEXPIRETIME", TAG + b"hash", "FIELDS", 3, "f", "g", "h"),
        b"stream": client.xrange(stream),
        b"pending": client.xpending_range(stream, "group", "-", "+", 10)[0]["message_id"],
        b"info": {name: client.xinfo_stream(stream)[name] for name in ("last-generated-id", "entries-added", "length")},
    }


@pytest.mark.parametrize(("cluster", "source", "target"), [("ours", 0, 1), ("mixed", 0, 1), ("mixed", 1, 0)],
                         ids=["hashslot-hashslot", "hashslot-valkey", "valkey-hashslot"])  # fmt: skip
def test_slots_move_with_everything_in_them_under_load(
    cluster: str, source: int, target: int, request: pytest.FixtureRequest
) -> None:
    nodes: Trio = request.getfixturevalue(cluster)
    nodes.begin_at(source)
    move_under_load(nodes, source, target, 20_000 if cluster == "ours" else 3000)


def move_under_load(cluster: Trio, source: int, target: int, count_of_keys: int) -> None:
    """With keys of every type, and a writer."""
    first, second = cluster.nodes[source], cluster.nodes[target]
    slots = by_slot(keys_in(count_of_keys))
    fill(first, slots)
    expected = one_of_each(first.client)
    count = first.client.dbsize()
    stop = threading.Event()
    errors: list[str] = []
    acknowledged: dict[bytes, int] = {}
    writer: Any = RedisCluster(host="127.0.0.1", port=cluster.nodes[2].port)

    def write() -> None:
        while not stop.is_set():
            for number in range(50):
                key = TAG + b"counter%d" % number
                try:
                    acknowledged[key] = writer.incr(key)
                except redis.RedisError as error:
                    errors.append(repr(error))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        until(lambda: len(acknowledged) == 50, "load")
        cluster.migrate(source, target)
        cluster.until_state(target, b"success")
        job = cluster.until_state(source, b"success")
        behind = acknowledged[TAG + b"counter0"]
        until(lambda: acknowledged[TAG + b"counter0"] > behind, "writes to the new owner")
    finally:
        stop.set()
        thread.join(20)
    assert not errors, errors[:5]
    assert job[b"slot_ranges"] == b"0-2730" and job[b"operation"] == b"EXPORT" and job[b"message"] == b""
    assert wrong_keys(second.client, slots) == 0
    assert described(second.client) == expected
    assert {key: int(second.client.get(key)) for key in acknowledged} == acknowledged
    assert second.client.dbsize() == count + len(acknowledged)
    until(lambda: first.client.dbsize() == 0, "empty")
    with pytest.raises(redis.ResponseError, match=r"MOVED|\d+ 127.0.0.1:"):
        first.client.get(TAG + b"string")


def test_big_keys_and_what_is_not_yet_there(ours: Trio) -> None:
    """Keys of 100,000 elements go in pieces; until it is owned, nobody sees it at the target. Then cancel, then again."""
    first, second = ours.nodes[:2]
    pipe = first.client.pipeline(transaction=False)
    for at in range(0, 100_000, 5000):
        pipe.hset(TAG + b"big", mapping={f"field{number}": number for number in range(at, at + 5000)})
        pipe.zadd(TAG + b"scores", {f"member{number}": number for number in range(at, at + 5000)})
    pipe.execute()
    ours.migrate(0, 1)
    until(lambda: ours.jobs(1) and ours.jobs(1)[0][b"state"] == b"receiving-snapshot", "begun")
    seen = {second.client.dbsize(), len(second.client.keys("*")), len(second.client.scan(0)[1])}
    assert seen == {0} and second.client.randomkey() is None
    with pytest.raises(redis.ResponseError, match="Slot export in progress"):
        first.client.execute_command("CLUSTER", "SETSLOT", MOVED[0], "MIGRATING", ours.id_of(1))
    assert first.client.execute_command("CLUSTER", "CANCELSLOTMIGRATIONS") == b"OK"
    ours.until_state(0, b"cancelled")
    ours.until_state(1, b"failed")
    assert second.client.dbsize() == 0 and first.client.hlen(TAG + b"big") == 100_000
    first.client.hset(TAG + b"big", "one", "more")
    ours.migrate(0, 1)
    ours.until_state(0, b"success")
    assert second.client.hlen(TAG + b"big") == 100_001
    assert second.client.zscore(TAG + b"scores", "member99999") == 99999
    assert second.client.zcard(TAG + b"scores") == 100_000


def test_flushall_ends_a_migration(ours: Trio) -> None:
    fill(ours.nodes[0], by_slot(keys_in(40_000)))
    ours.migrate(0, 1)
    until(lambda: ours.jobs(0)[0][b"state"] == b"snapshotting", "snapshotting")
    ours.nodes[0].client.flushall()
    assert ours.until_state(0, b"failed")[b"message"] == b"Data was flushed"
    ours.until_state(1, b"failed")
    assert ours.nodes[0].client.dbsize() == ours.nodes[1].client.dbsize() == 0


def test_import_as_redis_does(ours: Trio) -> None:
    first, second = ours.nodes[:2]
    slots = by_slot(keys_in(2000))
    fill(first, slots)
    task = second.client.execute_command("CLUSTER", "MIGRATION", "IMPORT", *MOVED)
    assert len(task) == 40

    def status() -> dict[bytes, Any]:
        (found,) = second.client.execute_command("CLUSTER", "MIGRATION", "STATUS", "ID", task)
        return found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))

    until(lambda: status()[b"state"] == b"completed", "completed")
    told = status()
    assert (told[b"id"], told[b"slots"], told[b"operation"], told[b"last_error"]) == (task, b"0-2730", b"import", b"")
    assert wrong_keys(second.client, slots) == 0
    assert second.client.execute_command("CLUSTER", "MIGRATION", "CANCEL", "ALL") == 0


def test_either_side_dies_in_the_middle(tmp_path: Path) -> None:
    with trio(tmp_path, "hashslot", "hashslot", "hashslot") as cluster:
        first, second, third = cluster.nodes
        first.client.config_set("cluster-require-full-coverage", "no")  # One will be missing for as long as this takes.
        slots = by_slot(keys_in(40_000))
        fill(first, slots)
        cluster.migrate(0, 1)
        until(lambda: cluster.jobs(0)[0][b"state"] == b"snapshotting", "snapshotting")
        second.kill()
        cluster.until_state(0, b"failed")
        assert wrong_keys(first.client, slots) == 0
        assert first.client.set(next(iter(slots.values()))[0], "new")
        cluster.migrate(0, 2)
        until(lambda: cluster.jobs(0)[0][b"state"] == b"snapshotting", "snapshotting")
        first.kill()
        until(lambda: cluster.jobs(2)[0][b"state"] == b"failed", "cleaned up")
        assert b"Connection lost to source" in cluster.jobs(2)[0][b"message"]
        assert third.client.dbsize() == 0


def test_replicas_follow_both_sides(tmp_path: Path) -> None:
    """The target's replicas, ours and Valkey's, get what moves, one with a full sync meanwhile; the source's lose it."""
    names = keys_in(4000)
    with trio(tmp_path, "hashslot", "hashslot", "hashslot") as cluster:
        leaving, *replicas = cluster.add_nodes("hashslot", "hashslot", "valkey", "hashslot")
        *early, late = replicas
        for replica, primary in ((leaving, 0), *((one, 1) for one in early)):
            replica.client.execute_command("CLUSTER", "REPLICATE", cluster.id_of(primary))
        for replica in (leaving, *early):
            replica.until_in_sync()
        slots = by_slot(names)
        fill(cluster.nodes[0], slots)
        until(lambda: leaving.client.dbsize() == len(names), "in the replica of the source")
        target = cluster.id_of(1)
        cluster.migrate(0, 1)
        late.client.execute_command("CLUSTER", "REPLICATE", target)
        cluster.until_state(0, b"success")
        for replica in replicas:
            until(lambda replica=replica: replica.client.dbsize() == len(names), "in a replica")  # type: ignore[misc]
            with replica.connect(single_connection_client=True) as reader:
                reader.execute_command("READONLY")
                until(lambda reader=reader: wrong_keys(reader, slots) == 0, "readable there")  # type: ignore[misc]
        until(lambda: leaving.client.dbsize() == 0, "gone from the replica of the source")


def test_what_valkey_has_no_module_for_stays(mixed: Trio) -> None:
    """In what is there when the move begins, and in what is written meanwhile. Nothing is lost, and the reason is told."""
    mixed.begin_at(0)
    ours, valkey = mixed.nodes[:2]
    slots = by_slot(keys_in(5000))
    fill(ours, slots)
    ours.client.json().set(TAG + b"doc", "$", {})
    mixed.migrate(0, 1)
    why = b"It was sent values of modules' types, such as '%bdoc': it must have the modules for them." % TAG
    assert mixed.until_state(0, b"failed")[b"message"].endswith(why)
    assert ours.client.delete(TAG + b"doc") == 1
    first, count = min(slots), 0
    early = next(b"{%d}doc" % number for number in range(300_000) if key_slot(b"%d" % number) == first)
    mixed.migrate(0, 1)
    while mixed.jobs(0)[0][b"state"] not in (b"failed", b"success"):
        with contextlib.suppress(redis.ResponseError):
            ours.client.json().set(early, "$", count)
            count += 1
    assert mixed.until_state(0, b"failed")[b"message"].endswith(why.replace(TAG + b"doc", early))
    assert count and ours.client.json().get(early) == count - 1
    assert wrong_keys(ours.client, slots) == 0 and valkey.client.dbsize() == 0
    assert ours.client.delete(early) == 1
    mixed.migrate(0, 1)
    mixed.until_state(0, b"success")
    assert wrong_keys(valkey.client, slots) == 0
