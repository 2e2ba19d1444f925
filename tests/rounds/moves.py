"""The round in which slots are being handed over, as a whole and under load, when one of the two sides is killed.

Round after round another side dies in another phase. The phases follow each other within milliseconds, so the moment is hit
by watching what the source says, and a random delay behind it; the note tells what was seen last.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.slots import key_slot
from tests.clients.up import until
from tests.rounds.faults import WARM_S, Outcome
from tests.rounds.nodes import CLIENT, PRIMARIES, Nodes, tag_of
from tests.rounds.writer import Writer

PHASES = ("snapshotting", "replicating", "failover-paused", "failover-granted", "success")
"""What the source calls them. The last: the target has claimed the slots, and has perhaps not let writes in."""
_ORDER = (
    "connecting", "sending-establish-command", "reading-establish-response", "waiting-to-snapshot", "snapshotting",
    "replicating", "waiting-to-pause", "failover-paused", "failover-granted", "success",
)
FILLED = 15_000
"""Keys that are there already, so that there is a snapshot to be sent."""
DELAY_MAX_S = 0.004
_ENDED = (b"success", b"failed", b"cancelled")


def kill_side(nodes: Nodes, number: int, *, phase: str = "", side: str = "") -> Outcome:
    """A primary that gives slots away, or the one that gets them, is killed in one of the phases; it comes back empty."""
    phase = phase or PHASES[number // 2 % len(PHASES)]
    side = side or ("source", "target")[number % 2]
    shard, other = number % PRIMARIES, (number + 1) % PRIMARIES
    chance = random.Random(number)
    source, target = nodes.primary_of(shard), nodes.primary_of(other)
    tag = tag_of(shard)
    _fill(nodes, source, tag)
    with _writing(nodes, number, shard, other) as writers:
        _order(nodes, source, target, key_slot(tag))
        seen = _watch(nodes, source, phase)
        time.sleep(chance.random() * DELAY_MAX_S)
        victim = source if side == "source" else target
        nodes.signal(victim, signal.SIGKILL)
        time.sleep(nodes.timeout_ms / 1000)
        until(lambda: _is_replaced(nodes, shard if side == "source" else other, victim), f"{victim} replaced", 30)
        nodes.start(victim)
        time.sleep(WARM_S)
    return _checked(nodes, writers, shard, other, f"{side} killed, seen last: {seen}")


def _fill(nodes: Nodes, source: int, tag: bytes) -> None:
    with nodes.client(source, 20) as client:
        for start in range(0, FILLED, 1000):
            client.mset({b"{%b}:filled:%d" % (tag, at): at for at in range(start, start + 1000)})
        assert client.wait(1, 5000) == 1


@contextmanager
def _writing(nodes: Nodes, number: int, shard: int, other: int) -> Iterator[list[Writer]]:
    """A writer for each shard, that for the one whose slots move first; it goes wherever they may be."""
    places = [(shard, other), *((one, one) for one in range(PRIMARIES) if one != shard)]
    writers = [
        Writer(
            nodes, CLIENT, sorted({node for place in both for node in (place, place + PRIMARIES)}),
            b"{%b}:%d:moving" % (tag_of(both[0]), number),
        )
        for both in places
    ]
    for writer in writers:
        writer.start()
    try:
        time.sleep(WARM_S)
        yield writers
    finally:
        for writer in writers:
            writer.finish()


def _order(nodes: Nodes, source: int, target: int, slot: int) -> None:
    with nodes.client(target) as there, nodes.client(source) as here:
        node_id = there.execute_command("CLUSTER", "MYID").decode()
        here.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", node_id)


def _states(client: Any) -> list[bytes]:
    jobs = client.execute_command("CLUSTER", "GETSLOTMIGRATIONS")
    told = [job if isinstance(job, dict) else dict(zip(job[::2], job[1::2], strict=True)) for job in jobs]
    return [job[b"state"] for job in told]


def _watch(nodes: Nodes, source: int, phase: str) -> str:
    """Until the source has come so far, or the job has ended. Returns what it said then."""
    with nodes.client(source, 5) as client:
        while True:
            state = _states(client)[0].decode()
            if state not in _ORDER or _ORDER.index(state) >= _ORDER.index(phase):
                return state


def _is_replaced(nodes: Nodes, shard: int, victim: int) -> bool:
    heir = (victim + PRIMARIES) % (2 * PRIMARIES)
    with nodes.client(heir) as client:
        return bool(client.info("replication")["role"] == "master")


def _owners(nodes: Nodes, shard: int, other: int, slot: int) -> dict[int, str]:
    """Who owns a slot in the eyes of each of the two shards' nodes; "" for those who know of no owner, or several."""
    owners = {}
    for node in (shard, other, shard + PRIMARIES, other + PRIMARIES):
        with nodes.client(node) as client:
            slots = client.execute_command("CLUSTER", "SLOTS")
        found = [entry[2][2].decode() for entry in slots if entry[0] <= slot <= entry[1]]
        owners[node] = found[0] if len(found) == 1 else ""
    return owners


def _owner(nodes: Nodes, shard: int, other: int, slot: int) -> int | None:
    """The one node that all say owns the slot, when nobody's job goes on any longer."""
    for node in (shard, other, shard + PRIMARIES, other + PRIMARIES):
        with nodes.client(node) as client:
            if any(state not in (*_ENDED, b"occurring-on-primary") for state in _states(client)):
                return None
    owners = set(_owners(nodes, shard, other, slot).values())
    if len(owners) != 1 or "" in owners:
        return None
    for node in (shard, other, shard + PRIMARIES, other + PRIMARIES):
        with nodes.client(node) as client:
            if client.execute_command("CLUSTER", "MYID").decode() in owners:
                return node
    return None


def _checked(nodes: Nodes, writers: list[Writer], shard: int, other: int, note: str) -> Outcome:
    """Every acknowledged write is at the one owner, and nowhere else; then the slot goes back to its shard."""
    slot, tag = key_slot(tag_of(shard)), tag_of(shard)
    nodes.until_well()
    found: list[int] = []

    def settled() -> bool:
        owner = _owner(nodes, shard, other, slot)
        found[:] = [] if owner is None else [owner]
        return bool(found)

    until(settled, "one owner of the slot", 90)
    owner = found[0]
    lost = len(writers[0].lost(owner))
    with nodes.client(owner, 20) as client:
        keys = [b"{%b}:filled:%d" % (tag, at) for at in range(FILLED)]
        lost += sum(value is None for start in range(0, FILLED, 5000) for value in client.mget(keys[start : start + 5000]))
    lost += sum(
        len(writer.lost(nodes.primary_of(place)))
        for writer, place in zip(writers[1:], [one for one in range(PRIMARIES) if one != shard], strict=True)
    )
    home = nodes.primary_of(shard)
    for place in range(PRIMARIES):
        with nodes.client(nodes.primary_of(place), 20) as client:
            client.flushall()
    if owner != home:
        _order(nodes, owner, home, slot)
        until(lambda: _owner(nodes, shard, other, slot) == home, "the slot at home again", 30)
    return Outcome(
        sum(len(writer.acknowledged) for writer in writers), sum(writer.unknown for writer in writers), lost,
        writers[0].longest_gap_s(), note=f"{note}; the slot {'stayed' if owner == home else 'moved'}",
    )
