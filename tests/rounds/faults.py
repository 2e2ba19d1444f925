"""One round each: something happens to a primary under load, the cluster gets over it, every acknowledgement is checked."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node import resp
from tests.clients.up import until
from tests.rounds.nodes import CLIENT, NODES, PORT, PRIMARIES, Nodes, tag_of
from tests.rounds.writer import Writer

WARM_S = 0.7
QUEUED = 5000
"""Writes that lie unread at a stopped primary when it goes on."""
DELAY_MS = 300


@dataclass
class Outcome:
    """What a round came to. unavailable_s: the longest time in which the shard took no write. lost: acknowledged writes
    that are gone; written_s: how long after the fault began the cut-off side acknowledged the last one."""

    acknowledged: int
    unknown: int
    lost: int
    unavailable_s: float
    written_s: float = 0.0
    note: str = ""


def _writers(nodes: Nodes, number: int) -> list[Writer]:
    """One for each shard, on the users' side."""
    writers = [
        Writer(nodes, CLIENT, (shard, shard + PRIMARIES), b"{%b}:%d:main" % (tag_of(shard), number))
        for shard in range(PRIMARIES)
    ]
    for writer in writers:
        writer.start()
    time.sleep(WARM_S)
    return writers


def _outcome(nodes: Nodes, writers: list[Writer], hit: int) -> Outcome:
    """Let all writers end and check what they were told. hit: the shard to which it happened, by its number."""
    for writer in writers:
        writer.finish()
    nodes.until_well()
    owners = [nodes.primary_of(shard) for shard in range(PRIMARIES)]
    lost = 0
    for place, writer in enumerate(writers):
        lost += len(writer.lost(owners[place if place < PRIMARIES else hit]))
    for owner in owners:
        with nodes.client(owner, 20) as client:
            client.flushall()
    return Outcome(
        sum(len(writer.acknowledged) for writer in writers),
        sum(writer.unknown for writer in writers),
        lost,
        writers[hit].longest_gap_s(),
    )


def _other(node: int) -> int:
    return (node + PRIMARIES) % NODES


def _until_taken_over(nodes: Nodes, node: int) -> None:
    """The other node of the shard has the slots."""
    def is_primary() -> bool:
        with nodes.client(_other(node)) as client:
            return bool(client.info("replication")["role"] == "master")

    until(is_primary, f"node {_other(node)} primary", 30)


def kill(nodes: Nodes, number: int) -> Outcome:
    """kill -9 of a primary; it comes back empty once it was replaced."""
    shard = number % PRIMARIES
    node = nodes.primary_of(shard)
    writers = _writers(nodes, number)
    nodes.signal(node, signal.SIGKILL)
    _until_taken_over(nodes, node)
    nodes.start(node)
    time.sleep(WARM_S)
    return _outcome(nodes, writers, shard)


def restart(nodes: Nodes, number: int) -> Outcome:
    """kill -9 of a primary, which comes back empty at once, before anybody has noticed."""
    shard = number % PRIMARIES
    node = nodes.primary_of(shard)
    writers = _writers(nodes, number)
    nodes.signal(node, signal.SIGKILL)
    nodes.start(node)
    _until_taken_over(nodes, node)
    time.sleep(WARM_S)
    return _outcome(nodes, writers, shard)


def stop(nodes: Nodes, number: int) -> Outcome:
    """SIGSTOP of a primary until it was replaced, with writes queued at it, then SIGCONT."""
    shard = number % PRIMARIES
    node = nodes.primary_of(shard)
    writers = _writers(nodes, number)
    keys = [b"{%b}:%d:queued:%d" % (tag_of(shard), number, at) for at in range(QUEUED)]
    with socket.create_connection((nodes.hosts.ip(node), PORT), 5) as queue:
        queue.sendall(resp.request([b"PING"]))
        assert queue.recv(100) == b"+PONG\r\n"
        nodes.signal(node, signal.SIGSTOP)
        queue.sendall(b"".join(resp.request([b"SET", key, b"queued"]) for key in keys))
        _until_taken_over(nodes, node)
        nodes.signal(node, signal.SIGCONT)
        replies = b""
        queue.settimeout(20)
        while replies.count(b"\r\n") < QUEUED and (chunk := queue.recv(1 << 20)):
            replies += chunk
    lines = replies.split(b"\r\n")
    granted = [key for key, line in zip(keys, lines, strict=False) if line == b"+OK"]
    time.sleep(WARM_S)
    for writer in writers:
        writer.finish()
    nodes.until_well()
    with nodes.client(nodes.primary_of(shard), 20) as client:
        queued_lost = sum(value is None for value in client.mget(granted)) if granted else 0
    outcome = _outcome(nodes, writers, shard)
    outcome.acknowledged += len(granted)
    outcome.lost += queued_lost
    outcome.note = f"{len(granted)} of {QUEUED} queued writes acknowledged"
    return outcome


def _cut_off(nodes: Nodes, number: int, companions: Sequence[int] = ()) -> Outcome:
    """A primary is cut off together with companions, while a client on the last one's host (its own if it is alone) writes
    to it."""
    shard = number % PRIMARIES
    node = nodes.primary_of(shard)
    side = [node, *companions]
    writers = _writers(nodes, number)
    near = Writer(nodes, side[-1], (node,), b"{%b}:%d:near" % (tag_of(shard), number))
    near.start()
    time.sleep(WARM_S)
    began = time.monotonic()
    nodes.hosts.split(side)
    _until_taken_over(nodes, node)
    time.sleep(nodes.timeout_ms / 1000 + 0.5)
    near.finish()
    nodes.hosts.join()
    outcome = _outcome(nodes, [*writers, near], shard)
    outcome.written_s = near.last_after(began)
    outcome.note = f"{sum(at > began for at in near.acknowledged.values())} writes acknowledged after the cut"
    return outcome


def isolate(nodes: Nodes, number: int) -> Outcome:
    """A primary is cut off from everybody but clients on its own host, who go on writing to it."""
    return _cut_off(nodes, number)


def halve(nodes: Nodes, number: int) -> Outcome:
    """A primary and another's replica are cut off together: a minority, with clients on its side."""
    return _cut_off(nodes, number, [_other(nodes.primary_of((number + 1) % PRIMARIES))])


def delay(nodes: Nodes, number: int) -> Outcome:
    """Everything that a primary sends comes late for a while: nobody may be replaced for that."""
    shard = number % PRIMARIES
    node = nodes.primary_of(shard)
    writers = _writers(nodes, number)
    how = nodes.hosts.slow(node, delay_ms=DELAY_MS)
    time.sleep(2 * nodes.timeout_ms / 1000)
    nodes.hosts.quick(node)
    time.sleep(WARM_S)
    outcome = _outcome(nodes, writers, shard)
    moved = nodes.primary_of(shard) != node
    outcome.note = f"by {how}" + (", replaced" if moved else "")
    return outcome


FAULTS: dict[str, Callable[[Nodes, int], Outcome]] = {
    "kill": kill, "restart": restart, "stop": stop, "isolate": isolate, "halve": halve, "delay": delay,
}  # fmt: skip
