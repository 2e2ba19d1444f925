"""Carries out moves of slots, atomically where both nodes can, else with SETSLOT and MIGRATE as redis-cli does. I/O.

A move may end anywhere, by Ctrl-C or by a node that dies, and leaves at most one batch of slots open, which `fix` completes.
Atomic moves leave nothing behind: the nodes themselves undo them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cluster.admin.checks import shown_slots
from cluster.admin.moves import Move
from cluster.admin.picture import parse_view
from gossip.ids import NodeId
from node.admin.cluster import Cluster, text_of
from node.admin.interrupt import Interrupt, Interrupted
from node.admin.keys import KeyMover, Transfer
from node.admin.link import AdminError, Refusal, Word

BATCH = 64
"""Slots that a classic move has open at a time: few enough to finish after Ctrl-C, enough to be done in few round trips."""

METHODS = ("auto", "atomic", "classic")
BY_SOURCE, BY_TARGET, CLASSIC = "atomic (MIGRATESLOTS)", "atomic (MIGRATION IMPORT)", "classic"
"""The ways there are: Valkey 9's, Redis 8.4's, and the one that every server knows."""

_POLL_S = 0.05
_TAKE_OVER_TIMEOUT_S = 20.0
_STALL_S = 30.0


class Progress(Protocol):
    """Whom a move tells how far it is."""

    def moved(self, slots: int, keys: int) -> None:
        """More slots, or more keys, have arrived."""

    def say(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True, slots=True)
class Moving:
    """How slots are moved. method: one of METHODS."""

    method: str = "auto"
    transfer: Transfer = field(default_factory=Transfer)


class _Watch:
    """Notices that an atomic move gets nowhere: nothing that its node tells of it has changed for a while."""

    def __init__(self) -> None:
        self._last: object = None
        self._since = time.monotonic()

    def stalled(self, told: object) -> bool:
        if told != self._last:
            self._last, self._since = told, time.monotonic()
        return time.monotonic() - self._since > _STALL_S


class _NotAtomic(Exception):
    """The nodes could not agree on an atomic move; nothing has changed."""


def way_of(cluster: Cluster, move: Move, method: str) -> str:
    """The way that this move will go: BY_SOURCE, BY_TARGET or CLASSIC. AdminError when there is none by this method."""
    if method == "classic":
        return CLASSIC
    for way, subcommand in ((BY_SOURCE, "migrateslots"), (BY_TARGET, "migration")):
        if all(cluster.offers(node, subcommand) for node in (move.source, move.target)):
            return way
    if method == "atomic":
        source, target = (cluster.picture.members[node] for node in (move.source, move.target))
        raise AdminError(
            f"{source.name} ({source.server}) and {target.name} ({target.server}) have no atomic way in common: "
            "use --method classic"
        )
    return CLASSIC


class Mover:
    """Carries out moves in a cluster, one after the other. interrupt: looked at between steps."""

    def __init__(self, cluster: Cluster, moving: Moving, progress: Progress, interrupt: Interrupt) -> None:
        self._cluster = cluster
        self._moving = moving
        self._progress = progress
        self._interrupt = interrupt
        self._keys = KeyMover(cluster, moving.transfer, lambda count: progress.moved(0, count))
        self._no_longer_atomic: set[tuple[NodeId, NodeId]] = set()

    def close(self) -> None:
        """Let go of the connections that were made for moving."""
        self._keys.close()

    def run(self, moves: Sequence[Move]) -> None:
        """Return when all slots are where they should be. AdminError, Interrupted."""
        for move in moves:
            self._stop_if_asked()
            way = way_of(self._cluster, move, self._moving.method)
            if way == CLASSIC or (move.source, move.target) in self._no_longer_atomic:
                self._classic(move)
                continue
            try:
                (self._by_source if way == BY_SOURCE else self._by_target)(move)
            except _NotAtomic as error:
                if self._moving.method == "atomic":
                    raise AdminError(f"{error}; nothing has changed by that. `--method classic` moves key by key") from None
                self._progress.say(f"{error}; going on the classic way")
                self._no_longer_atomic.add((move.source, move.target))
                self._classic(move)

    def _stop_if_asked(self) -> None:
        if self._interrupt.asked:
            raise Interrupted("stopped between two steps: no slot is open; run the same command again to go on")

    # Classic ------------------------------------------------------------------------------------------------------

    def _classic(self, move: Move) -> None:
        for start in range(0, len(move.slots), BATCH):
            self._stop_if_asked()
            batch = move.slots[start : start + BATCH]
            try:
                self._open(move, batch)
                self._keys.move(move.source, move.target, batch)
                self._hand_over(move, batch)
            except (AdminError, KeyboardInterrupt) as error:
                how = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
                left = self._undo(move, batch)
                if not left:
                    raise AdminError(f"{how}. No slot is left open") from None
                next_step = f"`hashslot cluster fix {self._cluster.entry}` completes it"
                raise AdminError(f"{how}. Left open, at most: {shown_slots(left)}; {next_step}") from None
            self._progress.moved(len(batch), 0)
        tell_owner(self._cluster, move.slots, move.target, {move.source, move.target})

    def _open(self, move: Move, slots: Sequence[int]) -> None:
        # The target first: a source that sends clients there with ASK must not send them to a node that refuses them.
        self._setslot(move.target, slots, "IMPORTING", move.source)
        self._setslot(move.source, slots, "MIGRATING", move.target)

    def _setslot(self, node: NodeId, slots: Sequence[int], *words: Word) -> None:
        for reply in self._cluster.link(node).ask_many([("CLUSTER", "SETSLOT", slot, *words) for slot in slots]):
            if isinstance(reply, Refusal):
                raise reply

    def _hand_over(self, move: Move, slots: Sequence[int]) -> None:
        # The target first: from its new epoch on the slots are its own, whoever dies next.
        self._setslot(move.target, slots, "NODE", move.target)
        try:
            self._setslot(move.source, slots, "NODE", move.target)
        except Refusal as refusal:
            # Who gives its last slot away may become a replica of who got it, as soon as gossip tells.
            if "only with masters" not in refusal.text:
                raise

    def _undo(self, move: Move, slots: Sequence[int]) -> list[int]:
        """Close those slots again of which nothing has arrived at the target. Those that may still be open."""
        counting = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots]
        target = self._cluster.link(move.target)
        try:
            empty = [slot for slot, count in zip(slots, target.ask_many(counting), strict=True) if count == 0]
            self._setslot(move.source, empty, "STABLE")
            # A client that the source sent to the target may have written there before that.
            filled = [slot for slot, count in zip(slots, target.ask_many(counting), strict=True) if count != 0]
            self._setslot(move.source, [slot for slot in filled if slot in empty], "MIGRATING", move.target)
            self._setslot(move.target, [slot for slot in empty if slot not in filled], "STABLE")
        except AdminError:
            return list(slots)
        return filled

    # Atomic, Valkey's way -----------------------------------------------------------------------------------------

    def _by_source(self, move: Move) -> None:
        """The source is asked to move the slots (Valkey 9)."""
        before = {job["name"] for job in self._jobs(move.source)}
        ends = [end for slots in move.ranges for end in slots]
        try:
            self._cluster.ask(move.source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ends, "NODE", move.target)
        except Refusal as refusal:
            raise _NotAtomic(str(refusal)) from None
        watch = _Watch()
        for _ in self._ticks(move.source, "CANCELSLOTMIGRATIONS"):
            mine = [
                job for job in self._jobs(move.source) if job["name"] not in before and job.get("target_node") == move.target
            ]
            state = mine[0].get("state", "") if mine else ""
            if state in ("failed", "cancelled", "canceled"):
                raise _NotAtomic(self._why(move, state, mine[0].get("message", "")))
            if state == "success":
                break
            if watch.stalled(mine):
                self._cluster.ask(move.source, "CLUSTER", "CANCELSLOTMIGRATIONS")
                raise _NotAtomic(self._why(move, f"stood still for {_STALL_S:g} s in state {state or 'unknown'!r}", ""))
        self._taken_over(move)

    def _jobs(self, node: NodeId) -> list[dict[str, str]]:
        return [_flat(job) for job in self._cluster.ask(node, "CLUSTER", "GETSLOTMIGRATIONS")]

    # Atomic, Redis's way ------------------------------------------------------------------------------------------

    def _by_target(self, move: Move) -> None:
        """The target is asked to import the slots (Redis 8.4)."""
        ends = [end for slots in move.ranges for end in slots]
        try:
            task = text_of(self._cluster.ask(move.target, "CLUSTER", "MIGRATION", "IMPORT", *ends))
        except Refusal as refusal:
            raise _NotAtomic(str(refusal)) from None
        watch = _Watch()
        for _ in self._ticks(move.target, "MIGRATION", "CANCEL", "ID", task):
            found = self._cluster.ask(move.target, "CLUSTER", "MIGRATION", "STATUS", "ID", task)
            status = _flat(found[0]) if found else {}
            state = status.get("state", "")
            if state in ("failed", "canceled", "cancelled"):
                raise _NotAtomic(self._why(move, state, status.get("last_error", "")))
            if state == "completed":
                break
            if watch.stalled(status):
                self._cluster.ask(move.target, "CLUSTER", "MIGRATION", "CANCEL", "ID", task)
                raise _NotAtomic(self._why(move, f"stood still for {_STALL_S:g} s in state {state or 'unknown'!r}", ""))
        self._taken_over(move)

    def _why(self, move: Move, state: str, message: str) -> str:
        name = self._cluster.picture.name
        because = f": {message}" if message else ""
        return f"the atomic move from {name(move.source)} to {name(move.target)} {state}{because}"

    def _ticks(self, node: NodeId, *cancel: Word) -> Iterator[None]:
        """Until the caller leaves the loop; cancels on Ctrl-C."""
        while True:
            try:
                yield None
                time.sleep(_POLL_S)
                if self._interrupt.asked:
                    raise KeyboardInterrupt
            except KeyboardInterrupt:
                try:
                    self._cluster.ask(node, "CLUSTER", *cancel)
                except AdminError as error:
                    raise AdminError(f"interrupted, and the move could not be cancelled: {error}") from None
                raise Interrupted("cancelled: the slots of this step stay where they were; run it again to go on") from None

    def _taken_over(self, move: Move) -> None:
        """Wait until both ends say that the target has the slots."""
        deadline = time.monotonic() + _TAKE_OVER_TIMEOUT_S
        wanted = set(move.slots)
        for node in (move.target, move.source):
            while True:
                owners = self._owners(node)
                if all(owners[slot] == move.target for slot in wanted):
                    break
                if time.monotonic() > deadline:
                    name = self._cluster.picture.name
                    raise AdminError(
                        f"{name(node)} still does not say that {name(move.target)} has {shown_slots(wanted)}: "
                        f"see `hashslot cluster check {self._cluster.entry}`"
                    )
                time.sleep(_POLL_S)
        self._progress.moved(len(move.slots), 0)

    def _owners(self, node: NodeId) -> list[NodeId | None]:
        return parse_view(text_of(self._cluster.ask(node, "CLUSTER", "NODES"))).owners()


def tell_owner(cluster: Cluster, slots: Sequence[int], owner: NodeId, informed: set[NodeId]) -> None:
    """Tell those other primaries who owns these slots that have not heard of it by gossip. Who does not answer will."""
    others = [one.id for one in cluster.picture.primaries if one.reachable and one.id not in informed]
    for node, (reply,) in cluster.ask_each(others, [("CLUSTER", "NODES")]).items():
        if not isinstance(reply, AdminError):
            owners = parse_view(text_of(reply)).owners()
            requests = [("CLUSTER", "SETSLOT", slot, "NODE", owner) for slot in slots if owners[slot] != owner]
            cluster.ask_each([node], requests)


def _flat(fields: Any) -> dict[str, str]:
    """A map as RESP2 writes it."""
    if isinstance(fields, dict):
        return {text_of(name): text_of(value) for name, value in fields.items()}
    return {text_of(name): text_of(value) for name, value in zip(fields[::2], fields[1::2], strict=True)}
