"""Links cut anywhere, any number of times: nothing is lost, nothing applied twice, and no full sync that was not due.

What is due is not taken from the code under test: a shadow keeps every byte of every node's stream, and a partial resync
is due exactly when the replica's stream is the beginning of its primary's, the backlog still has the rest, and the
replica has missed no more than one change of the history's id (the protocol knows two ids: the present one and the last,
good up to where the primary was when it heard of the change).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from node.client import Unusual
from node.replication.peer import Peer
from node.replication.primary import PrimarySide
from node.replication.state import Replication
from tests.replication.world import Member, World, follow


@dataclass
class Saved:
    """What a node's file holds: its stream, where that begins, where the history's id last changed, which id that was."""

    stream: list[tuple[int, int]]
    base: int
    turned: int
    history: str


class Shadow:
    """What each node's stream was, byte by byte, kept beside the code under test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.streams: dict[int, list[tuple[int, int]]] = {}
        """By port: each byte, and which write of which primary it comes from. (Two primaries may both have sent PING.)"""
        self.written: dict[tuple[str, int], tuple[int, int]] = {}
        """What primaries have written, by history and place."""
        self.parents: dict[str, str] = {}
        """From which history one grew by a promotion."""
        self.writes = 0
        self.bases: dict[int, int] = {}
        """The offset at which that stream begins."""
        self.turned: dict[int, int] = {}
        """Where each node was when its history's id last changed."""
        self.wrong: list[str] = []
        self.partial = self.full = 0

    def member(self, replication: Replication) -> Member:
        return next(one for one in self.world.members.values() if one.node.replication is replication)

    def byte_at(self, history: str, place: int) -> tuple[int, int]:
        """The byte of a history at a place: a history that began with a promotion is the older one up to there."""
        while (history, place) not in self.written:
            history = self.parents[history]
        return self.written[history, place]

    def watch(self, member: Member) -> None:
        """Note every byte of this node's stream, and judge its answers to PSYNC."""
        self.streams[member.port], self.bases[member.port] = [], 0
        self.listen(member)

    def restarted(self, member: Member, saved: Saved) -> None:
        """This node is another process, with the data of a file."""
        port, replication = member.port, member.node.replication
        self.streams[port], self.bases[port] = list(saved.stream), saved.base
        self.turned[port] = saved.turned
        if replication.following is None:
            self.parents[replication.id] = saved.history
            self.turned[port] = saved.base + len(saved.stream)
        early, replication._pending = replication._pending, []
        replication._pending_bytes = 0
        replication.offset -= sum(map(len, early))
        self.listen(member)
        for data in early:  # Keys of the file whose time had come.
            replication._append(data)

    def save(self, member: Member, file: Path) -> Saved:
        """Write a node's file, and remember what is in it."""
        member.save(file)
        port = member.port
        place = member.node.replication.place()
        return Saved(list(self.streams[port]), self.bases[port], self.turned.get(port, 0), place[1] if place else "")

    def listen(self, member: Member) -> None:
        replication, port = member.node.replication, member.port
        append, adopt = replication._append, replication.adopt

        def noted_append(data: bytes) -> None:
            place, own = self.bases[port] + len(self.streams[port]), self.streams[port]
            if replication.following is None:
                self.writes += 1
                for at, byte in enumerate(data, place):
                    self.written[replication.id, at] = byte, self.writes
            own += [self.byte_at(replication.id, at) for at in range(place, place + len(data))]
            append(data)

        def noted_adopt(replid: str, offset: int) -> None:
            following = replication.following
            assert following is not None
            base = self.bases[following.port]
            self.streams[port], self.bases[port] = self.streams[following.port][: offset - base], base
            adopt(replid, offset)

        def noted_turn(turn: Callable[..., None]) -> Callable[..., None]:
            def turned(*args: str) -> None:
                before = replication.id
                turn(*args)
                if replication.id != before:
                    if replication.following is None:
                        self.parents[replication.id] = before
                    self.turned[port] = self.bases[port] + len(self.streams[port])

            return turned

        replication.renamed = noted_turn(replication.renamed)  # type: ignore[method-assign]
        replication.stop_following = noted_turn(replication.stop_following)  # type: ignore[method-assign]
        replication._append = noted_append  # type: ignore[method-assign]
        replication.adopt = noted_adopt  # type: ignore[method-assign]
        primary = replication.primary
        primary._continue = self.judged(primary, member, primary._continue)  # type: ignore[method-assign,assignment]

    def judged(self, side: PrimarySide, member: Member, decide: Callable[[Peer], bool]) -> Callable[[Peer], bool]:
        def decided(peer: Peer) -> bool:
            asked = peer.wants
            replica = next((wire.replica.port for wire in self.world.wires if wire.client is peer.client), None)
            id_asked = asked[0].decode() if asked is not None else ""
            is_last = id_asked == side._replication.second_id
            known = is_last or id_asked == side._replication.id
            going_on = decide(peer)
            if replica is None or asked is None or asked[0] == b"?":
                return going_on
            own, theirs = self.streams[member.port], self.streams[replica]
            backlog = side._replication.backlog
            missing = len(own) - len(theirs)
            due = (
                backlog is not None
                and known
                and (not is_last or self.bases[replica] + len(theirs) <= self.turned[member.port])
                and self.bases[member.port] == self.bases[replica]
                and own[: len(theirs)] == theirs
                and missing <= backlog.length + side._replication._pending_bytes
            )
            self.partial += going_on
            self.full += not going_on
            if due != going_on:
                ids = f"{side._replication.id[:4]} {side._replication.second_id[:4]}<={side._replication.second_offset}"
                wanted = f"{asked[0][:4].decode()} from {asked[1]}"
                self.wrong.append(f"{replica} of {member.port}: due {due}, missing {missing}, wanted {wanted} of {ids}")
            return going_on

        return decided


def write(source: random.Random, member: Member, number: int) -> None:
    """One write whose being lost or applied twice shows in the data."""
    run = member.run
    kind = source.randrange(7)
    key = f"k{source.randrange(5)}"
    if kind == 0:
        run("INCR", "n:" + key)
    elif kind == 1:
        run("APPEND", "s:" + key, f"<{number}>")
    elif kind == 2:
        run("RPUSH", "l:" + key, number)
    elif kind == 3:
        run("SELECT", source.randrange(3))
    elif kind == 4:
        run("MULTI")
        for _ in range(source.randint(1, 4)):
            run("RPUSH", "m:" + key, number, "x" * source.randrange(40))
            run("INCR", "n:m")
        run("EXEC")
    elif kind == 5:
        run("SET", "e:" + key, number, "PX", source.randint(5, 2000))
    else:
        run("APPEND", "b:" + key, b"\r\n*3\r\n$3\r\n" * source.randrange(20))


def content(member: Member) -> dict[Any, Any]:
    """All data in a comparable form."""
    found: dict[Any, Any] = {}
    for database in member.node.databases:
        for keys in database.slots:
            for key, value in keys.items():
                shown = list(value) if type(value).__name__ == "List" else b"%d" % value if type(value) is int else value
                found[database.index, key] = bytes(shown) if not isinstance(shown, list) else shown
    return found


OPS = (
    "write", "write", "write", "wait", "cut", "cut later", "promote", "chain", "wait long",
    "save", "restart", "stop and start", "failover",
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(
    seed=st.integers(0, 1 << 32),
    chunk=st.sampled_from((1, 7, 64, 1 << 12)),
    mode=st.sampled_from(("swapdb", "disabled")),
    diskless=st.sampled_from(("yes", "no")),
    backlog=st.sampled_from(("16kb", "1mb")),
    plan=st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 1 << 16)), min_size=12, max_size=40),
)
def test_cuts_at_any_place(
    seed: int, chunk: int, mode: str, diskless: str, backlog: str, plan: list[tuple[str, int]]
) -> None:
    note(f"seed {seed}")
    source = random.Random(seed)
    world = World(seed, chunk)
    options = {
        "repl_diskless_load": mode, "repl_diskless_sync": diskless, "repl_backlog_size": backlog, "save": "",
        "repl_timeout": "600", "repl_ping_replica_period": "1",
    }  # fmt: skip
    members = [world.node(port, **options) for port in (7000, 7001, 7002, 7003)]
    shadow = Shadow(world)
    for member in members:
        shadow.watch(member)
    primary = members[0]
    for number in range(30):
        write(source, primary, number)
    for member in members[1:]:
        follow(member, 7000)
    files = Files(shadow)
    with TemporaryDirectory() as folder:
        files.folder = Path(folder)
        for number, (what, value) in enumerate(plan):
            primary = step(world, members, files, primary, source, what, value, 1000 + number)
    world.settle()
    for number in range(5):
        write(source, primary, 9000 + number)
    world.settle()
    expected = content(primary)
    for member in members:
        assert content(member) == expected, f"seed {seed}: {member.port}"
    assert not shadow.wrong, f"seed {seed}: {shadow.wrong}"


def turn(world: World, member: Member, port: int) -> None:
    """Follow this one, which it may do already; but not in the middle of loading, when REPLICAOF is refused."""
    world.until(lambda: not member.node.unusual & Unusual.LOADING)
    member.run("REPLICAOF", "127.0.0.1", port)


@dataclass
class Files:
    """The nodes' files, by port."""

    shadow: Shadow
    folder: Path = Path()
    saved: dict[int, Saved] = field(default_factory=dict)

    def save(self, member: Member) -> None:
        """Unless it has nothing that a file could tell the place of."""
        if not member.node.unusual & Unusual.LOADING and member.node.replication.place() is not None:
            self.saved[member.port] = self.shadow.save(member, self.folder / f"{member.port}.rdb")

    def restart(self, world: World, members: list[Member], member: Member) -> Member:
        """A node comes back with what its file holds."""
        saved = self.saved[member.port]
        file = self.folder / f"{member.port}.rdb"
        again = world.restart(member, file, lambda one: self.shadow.restarted(one, saved))
        members[members.index(member)] = again
        return again


def step(
    world: World, members: list[Member], files: Files, primary: Member, source: random.Random, what: str, value: int,
    number: int,
) -> Member:  # fmt: skip
    """Do one thing of the plan. Returns who is the primary now."""
    others = [member for member in members if member is not primary]
    chosen = others[value % len(others)]
    if what == "write":
        for _ in range(1 + value % 5):
            write(source, primary, number)
    elif what == "wait":
        world.advance(value % 20)
    elif what == "wait long":
        world.advance(value % 600)
    elif what in ("cut", "cut later"):
        for wire in list(world.wires):
            if wire.replica is chosen and what == "cut":
                wire.cut()
            elif wire.replica is chosen:
                wire.cut_after = len(wire.seen) + 1 + value % 400
    elif what == "promote":
        following = chosen.node.replication.following
        if following is None or not following.connected:
            return primary
        assert chosen.run("REPLICAOF", "NO", "ONE")
        for member in members:
            if member is not chosen:
                turn(world, member, chosen.port)
        return chosen
    elif what == "failover":
        following = chosen.node.replication.following
        if following is None or not following.connected or following.port != primary.port:
            return primary
        world.settle()
        primary.run("FAILOVER", "TO", "127.0.0.1", chosen.port)
        world.until(lambda: chosen.node.replication.following is None)
        world.until(lambda: primary.node.replication.failover.state == "no-failover")
        return chosen
    elif what == "save":
        files.save(chosen)
    elif what == "restart":  # With an older file a primary would be the shorter end of two histories.
        if chosen.port in files.saved and not chosen.node.unusual & Unusual.LOADING:
            files.restart(world, members, chosen)
    elif what == "stop and start":
        ends = primary if value % 2 else chosen
        files.save(ends)
        if ends.port in files.saved and not ends.node.unusual & Unusual.LOADING and ends.node.replication.place():
            again = files.restart(world, members, ends)
            return again if ends is primary else primary
    elif what == "chain":
        head = others[(value + 1) % len(others)]
        behind = head.node.replication.following
        if head is not chosen and behind is not None and behind.port == primary.port:
            for member in others:  # nobody may follow in a ring
                one = member.node.replication.following
                if one is not None and one.port == chosen.port:
                    return primary
            turn(world, chosen, head.port)
    return primary


@pytest.mark.parametrize("chunk", [1, 1 << 12])
def test_a_transaction_cut_in_the_middle_is_applied_once_and_whole(chunk: int) -> None:
    """Every offset of MULTI ... EXEC: what a replica has of it counts only when it has EXEC."""
    lengths = 0
    cut_at = 0
    while True:
        world = World(1, chunk)
        primary, replica = world.node(7000, save=""), world.node(7001, save="")
        shadow = Shadow(world)
        for member in (primary, replica):
            shadow.watch(member)
        primary.run("SET", "k", 1)
        follow(replica, 7000)
        world.settle()
        world.advance(3000)
        wire = world.wires[0]
        before = len(wire.seen)
        primary.run("MULTI")
        primary.run("INCR", "n")
        primary.run("RPUSH", "l", "a", "b")
        primary.run("EXEC")
        lengths = len(wire.down)
        wire.cut_after = before + 1 + cut_at
        world.until(lambda wire=wire: not wire.open or not wire.down)  # type: ignore[misc]
        seen = replica.run("GET", "n"), replica.run("LLEN", "l")
        assert seen in ((None, 0), (1, 2), (b"1", 2)), (cut_at, seen)
        world.settle()
        assert content(replica) == content(primary), cut_at
        assert not shadow.wrong and shadow.full == 0
        cut_at += 1
        if cut_at >= lengths:
            break
    assert cut_at > 80
