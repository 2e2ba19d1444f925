"""Work that is handed out: lists with a processing list, and a stream with consumers of which one crashes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.clients.up import until

pytestmark = pytest.mark.real
Name = Callable[[str], str]


def test_reliable_queue(client: Any, connect: Callable[[], Any], name: Name) -> None:
    """BLMOVE: each job is on the list of who works on it until it is done; what a crash leaves there is put back."""
    waiting, done = name("{jobs}:waiting"), name("{jobs}:done")
    crashed = name("{jobs}:of:crashed")

    def work(number: int) -> None:
        own, processing = clients[number], name("{jobs}:of:" + str(number))
        while (job := own.blmove(waiting, processing, 20, "RIGHT", "LEFT")) != "stop":
            own.rpush(done, job)
            assert own.lrem(processing, 1, job) == 1
        own.lrem(processing, 1, "stop")

    clients = [connect() for _ in range(3)]
    client.rpush(waiting, "lost:1", "lost:2")
    taken = [client.blmove(waiting, crashed, 1, "LEFT", "LEFT") for _ in range(2)]
    assert taken == ["lost:1", "lost:2"] and client.llen(waiting) == 0
    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(work, number) for number in range(3)]
        for number in range(60):
            client.lpush(waiting, f"job:{number}")
        while client.lmove(crashed, waiting, "RIGHT", "LEFT") is not None:
            pass  # the reaper
        until(lambda: client.llen(done) == 62, "all done")
        client.lpush(waiting, "stop", "stop", "stop")
        for worker in workers:
            worker.result(20)
    assert sorted(client.lrange(done, 0, -1)) == sorted([*taken, *(f"job:{number}" for number in range(60))])
    left = [name("{jobs}:of:" + str(number)) for number in range(3)]
    assert client.exists(waiting, crashed, *left) == 0


def test_waiting_workers_are_served_in_order(client: Any, connect: Callable[[], Any], name: Name) -> None:
    """Who waited first gets the first job."""
    queue = name("fifo")
    got: list[tuple[int, str]] = []
    lock = threading.Lock()

    def wait(number: int) -> None:
        found = clients[number].blpop([queue], timeout=20)
        with lock:
            got.append((number, found[1]))

    clients = [connect() for _ in range(4)]
    node = client.get_node_from_key(queue)

    def blocked() -> int:
        return int(client.info("clients", target_nodes=node)["blocked_clients"])

    before = blocked()
    with ThreadPoolExecutor(4) as pool:
        waiting = []
        for number in range(4):
            waiting.append(pool.submit(wait, number))
            until(lambda number=number: blocked() == before + number + 1, "waiting")
        client.rpush(queue, "first", "second", "third", "fourth")
        for one in waiting:
            one.result(20)
    assert sorted(got) == [(0, "first"), (1, "second"), (2, "third"), (3, "fourth")]


def test_consumer_group_with_a_crash(client: Any, connect: Callable[[], Any], name: Name) -> None:
    """What the crashed consumer had not acknowledged is claimed by another, and every entry is worked on."""
    stream, group = name("orders"), "billing"
    client.xgroup_create(stream, group, id="0", mkstream=True)
    with pytest.raises(ResponseError, match="BUSYGROUP"):
        client.xgroup_create(stream, group, id="0")
    sent = [client.xadd(stream, {"order": str(number)}) for number in range(40)]
    doomed = connect()
    [(_, entries)] = pairs(doomed.xreadgroup(group, "doomed", {stream: ">"}, count=10))
    for entry, _fields in entries[:4]:
        assert doomed.xack(stream, group, entry) == 1
    doomed.close()  # with six entries in its hands
    worked: Counter[str] = Counter(entry for entry, _ in entries[:4])

    def consume(consumer: str) -> None:
        own = connect_in_thread[consumer]
        while found := pairs(own.xreadgroup(group, consumer, {stream: ">"}, count=7)):
            for entry, fields in found[0][1]:
                assert fields.keys() == {"order"}
                worked[entry] += own.xack(stream, group, entry)

    connect_in_thread = {consumer: connect() for consumer in ("ann", "bob")}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(consume, connect_in_thread))
    summary = client.xpending(stream, group)
    assert summary["pending"] == 6 and summary["min"] == sent[4] and summary["max"] == sent[9]
    assert [(one["name"], one["pending"]) for one in summary["consumers"]] == [("doomed", 6)]
    idle_ms = 30
    until(lambda: len(client.xpending_range(stream, group, "-", "+", 10, idle=idle_ms)) == 6, "idle for long enough")
    assert client.xautoclaim(stream, group, "ann", min_idle_time=3_600_000)[1] == []
    start, claimed = "0-0", []
    while True:
        start, some = client.xautoclaim(stream, group, "ann", min_idle_time=idle_ms, start_id=start, count=4)[:2]
        claimed += some
        if start == "0-0":
            break
    assert [entry for entry, _ in claimed] == sent[4:10]
    assert [one["times_delivered"] for one in client.xpending_range(stream, group, "-", "+", 10)] == [2] * 6
    for entry, _ in claimed:
        worked[entry] += client.xack(stream, group, entry)
    assert worked == Counter(sent)
    [told] = client.xinfo_groups(stream)
    assert (told["pending"], told["lag"], told["entries-read"]) == (0, 0, 40)
    assert client.xtrim(stream, maxlen=0, approximate=False) == 40


def pairs(reply: Any) -> list[tuple[str, Any]]:
    """XREADGROUP's reply by stream, whatever the protocol: [(stream, [(id, fields), ...])]."""
    if not reply:
        return []
    if not isinstance(reply, dict):
        return [(stream, entries) for stream, entries in reply]
    nested = {stream: entries for stream, entries in reply.items() if entries and isinstance(entries[0], list)}
    return [(stream, entries[0] if stream in nested else entries) for stream, entries in reply.items()]
