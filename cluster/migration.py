"""Atomic slot migration: one job as a pure state machine, on the side that gives slots away and on the side that gets them.

The protocol, its words and the names of the stages are Valkey 9's (CLUSTER SYNCSLOTS): the source sends a snapshot of the
slots and, behind it, every change of them; the target asks it to let no more writes in, takes the slots under a new config
epoch when the source agrees, and tells everybody on the bus.

**Who owns the slots when somebody dies in the middle.** Valkey's source lets writes in again when its time is over, and
warns that they may be lost. Here both sides keep to these rules, which need no common clock, only lengths of time:

- The target claims under an epoch that it has reserved: a majority of the primaries, and the source, know of a greater one
  before it asks for permission. So whoever is elected in the source's place outbids a claim of which voters do not know.
- The target takes over at most `TAKE_MS` after it has *sent* its request; a permission that comes later is refused.
- The source's permission is on disk before it leaves: a source that crashes goes on as here when it comes back
  (`Export.resumed`). It gives none while one of its replicas is to take its place, and agrees to no such thing after it.
- Having given its permission, the source lets writes in again only when it *knows* that the target has not taken over and
  never will: the target says so itself when asked (`Ask`), or the majority holds it for failed, and has had the time to tell
  of a claim that it knows. In that case the source first takes an epoch that no claim of the target can reach (`Reclaim`),
  and goes on when a majority has heard of it: should the target come back, it loses the slots.
- Before it has given its permission the source may go on at any time.
- The target, when it has taken over, lets writes in only when a majority knows of it, and the source has noticed (it ends
  the connection then) or is dead. So a target that is cut off in between has acknowledged nothing when the source takes the
  slots back, or a successor of the source's has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from cluster.events import Level
from cluster.migration_events import (
    CONFIRM_MS,
    Answer,
    Broken,
    Cancel,
    Cleaned,
    Confirmed,
    Do,
    Drained,
    Effect,
    Established,
    Event,
    Heard,
    Log,
    Owners,
    Reached,
    Say,
    SnapshotSent,
    Stage,
    Tick,
    Word,
)
from cluster.slotmap import Grant, ranges_to_bits
from cluster.slots import SlotRange, expand_ranges
from gossip.ids import NodeId

TAKE_MS = 1000
"""How long after its request the target may take over. Valkey's source keeps writes out for twice that at least."""
ACK_MS = 1000
"""Both sides tell so often that they are there."""
ASK_MS = 200
"""How often the source asks what became of a migration whose end it does not know."""


ENDED = frozenset((Stage.SUCCESS, Stage.CANCELLED, Stage.FAILED))
_HAND_OVER = frozenset((Stage.FAILOVER_PAUSED, Stage.FAILOVER_GRANTED))


class Job:
    """What both sides have. Times are ms of a clock that only goes forwards and counts a suspended machine's time.

    name: 40 hex digits. ranges: as they were given; slots, bits: the same. acked_ms: when the other side was last heard.
    paused_ms: how long writes were kept out, so far as it is known.
    """

    operation = ""

    def __init__(
        self, name: str, source: NodeId, target: NodeId, ranges: Sequence[SlotRange], stage: Stage, now_ms: int
    ) -> None:
        self.name = name
        self.source = source
        self.target = target
        self.ranges = tuple(ranges)
        self.slots = tuple(expand_ranges(ranges))
        self.bits = ranges_to_bits(ranges)
        self.stage = stage
        self.message = ""
        self.created_ms = self.updated_ms = self.acked_ms = now_ms
        self.paused_ms = 0
        self._told_ms = now_ms
        self._out: list[Effect] = []

    @property
    def ranges_text(self) -> str:
        """As GETSLOTMIGRATIONS writes them."""
        return " ".join(f"{first}-{last}" for first, last in self.ranges)

    @property
    def in_progress(self) -> bool:
        """Whether it may still succeed."""
        return self.stage not in ENDED and self.stage is not Stage.CLEANING_UP

    @property
    def called(self) -> str:
        """For the log."""
        other = f"target_node_id: {self.target}" if self.operation == "EXPORT" else f"source_node_id: {self.source}"
        return f"{{name: {self.name}, operation: {self.operation.lower()}, {other}, slots: {self.ranges_text}}}"

    def step(self, event: Event, now_ms: int) -> list[Effect]:
        """Take in one event."""
        if self.stage not in ENDED:
            self._step(event, now_ms)
        effects, self._out = self._out, []
        return effects

    def _step(self, event: Event, now_ms: int) -> None:
        raise AssertionError("a job is an export or an import")

    def _enter(self, stage: Stage, now_ms: int) -> None:
        self._log(Level.NOTICE, f"state transition: {self.stage} -> {stage}")
        self.stage = stage
        self.updated_ms = now_ms

    def _log(self, level: Level, text: str) -> None:
        self._out.append(Log(level, f"Slot migration {self.called} {text}"))

    def _finish(self, stage: Stage, message: str, now_ms: int) -> None:
        self.message = message
        self._enter(stage, now_ms)
        level = Level.WARNING if stage is Stage.FAILED else Level.NOTICE
        self._log(level, f"finished. State: {stage}, Message: {message or 'none'}")
        self._out += [Do.UNLINK, Do.END]

    def _tell_alive(self, now_ms: int) -> None:
        if now_ms - self._told_ms >= ACK_MS:
            self._told_ms = now_ms
            self._out.append(Say(Word.ACK))


class Export(Job):
    """The side of the source. pause_ms: how long writes may be kept out; timeout_ms: how long the target may be silent."""

    operation = "EXPORT"

    def __init__(
        self, name: str, source: NodeId, target: NodeId, ranges: Sequence[SlotRange], now_ms: int, *,
        pause_ms: int, timeout_ms: int,
    ) -> None:
        super().__init__(name, source, target, ranges, Stage.CONNECTING, now_ms)
        self._pause_ms = pause_ms
        self._timeout_ms = timeout_ms
        self._pause_ends_ms = 0
        self._linked = True
        self._asked_ms = 0
        self._failing_over = False
        self._polled_ms = 0
        self._reclaimed = False

    @classmethod
    def resumed(cls, grant: Grant, source: NodeId, now_ms: int) -> Export:
        """The job of a node that has ended after it gave its permission, and has come back. Writes are to be kept out."""
        job = cls(grant.job, source, grant.target, grant.ranges, now_ms, pause_ms=0, timeout_ms=0)
        job.stage = Stage.FAILOVER_GRANTED
        job.paused_ms = now_ms
        job._linked = False
        return job

    @property
    def grant(self) -> Grant:
        """What is given to the target in the end."""
        return Grant(self.name, self.target, self.ranges)

    def _step(self, event: Event, now_ms: int) -> None:
        match event:
            case Reached(stage):
                self._enter(stage, now_ms)
            case Established():
                self.acked_ms = now_ms
                self._enter(Stage.WAITING_TO_SNAPSHOT, now_ms)
                self._out += [Say(Word.ACK), Do.SNAPSHOT]
                self._enter(Stage.SNAPSHOTTING, now_ms)
            case SnapshotSent():
                self._out.append(Say(Word.SNAPSHOT_EOF))
                self._enter(Stage.REPLICATING, now_ms)
            case Heard(word):
                self._hear(word, now_ms)
            case Drained():
                if self.stage is Stage.WAITING_TO_PAUSE:
                    self._pause(now_ms)
            case Broken(reason, lost):
                self._break(reason, lost, now_ms)
            case Cancel():
                # The permission is given: it is the target's to say how this ends.
                if self.stage is not Stage.FAILOVER_GRANTED:
                    self._give_up(Stage.CANCELLED, "", now_ms)
            case Owners():
                self._look_at_owners(event, now_ms)
            case Answer(taken):
                if self.stage is Stage.FAILOVER_GRANTED and taken is False:
                    self._give_up(Stage.FAILED, "The target did not take over", now_ms)
            case Tick():
                self._tick(now_ms)

    def _hear(self, word: Word, now_ms: int) -> None:
        self.acked_ms = now_ms
        if word is Word.ACK:
            return
        if word is Word.REQUEST_PAUSE and self.stage is Stage.REPLICATING:
            self._enter(Stage.WAITING_TO_PAUSE, now_ms)
            self._out.append(Do.WATCH_BACKLOG)
        elif word is Word.REQUEST_FAILOVER and self.stage is Stage.FAILOVER_PAUSED:
            if now_ms >= self._pause_ends_ms:
                self._give_up(Stage.FAILED, "Unpaused before failover completed", now_ms)
                return
            if self._failing_over:
                self._give_up(Stage.FAILED, "This node is being replaced by one of its replicas", now_ms)
                return
            self._enter(Stage.FAILOVER_GRANTED, now_ms)
            self._asked_ms = now_ms + 2 * TAKE_MS - ASK_MS
            self._out += [Do.GRANT, Say(Word.FAILOVER_GRANTED)]
        elif self.stage is not Stage.FAILOVER_GRANTED:
            self._give_up(Stage.FAILED, "Unexpected state machine transition", now_ms)

    def _pause(self, now_ms: int) -> None:
        self._pause_ends_ms = now_ms + self._pause_ms
        self.paused_ms = now_ms
        self._out += [Do.PAUSE, Say(Word.PAUSED)]
        self._enter(Stage.FAILOVER_PAUSED, now_ms)

    def _break(self, reason: str, lost: bool, now_ms: int) -> None:
        if self.stage is not Stage.FAILOVER_GRANTED:
            self._give_up(Stage.FAILED, reason, now_ms)
        elif lost and self._linked:
            self._linked = False
            self._asked_ms = now_ms - ASK_MS // 2  # The target closes when it has taken over, and says so on the bus first.

    def _look_at_owners(self, seen: Owners, now_ms: int) -> None:
        self._failing_over = seen.failing_over
        if seen.owner == self.target:
            self._end(Stage.SUCCESS, "", now_ms)
        elif seen.owner != self.source or not seen.is_primary:
            self._give_up(Stage.FAILED, "Slots are no longer owned by myself", now_ms)
        elif self.stage is Stage.FAILOVER_GRANTED and now_ms - self.updated_ms >= 2 * TAKE_MS:
            self._consider_reclaim(seen, now_ms)

    def _consider_reclaim(self, seen: Owners, now_ms: int) -> None:
        """The target may be dead. What others know of it comes with their answers, or, from real nodes, behind them."""
        if not seen.other_failed and not self._reclaimed:
            self._polled_ms = 0
        elif self._polled_ms and seen.majority and self._reclaimed:
            self._give_up(Stage.FAILED, "The target failed before it was known to have taken over", now_ms)
        elif self._polled_ms and seen.majority and now_ms - self._polled_ms >= ASK_MS:
            self._reclaimed = True
            self._polled_ms = now_ms
            self._out += [Do.RECLAIM, Do.POLL]
        elif not self._polled_ms or (not seen.majority and now_ms - self._polled_ms >= ACK_MS):
            self._polled_ms = now_ms
            self._out.append(Do.POLL)

    def _tick(self, now_ms: int) -> None:
        if self.stage is Stage.FAILOVER_GRANTED:
            if now_ms - self._asked_ms >= ASK_MS:
                self._asked_ms = now_ms
                self._out.append(Do.ASK)
        elif self.stage is Stage.FAILOVER_PAUSED and now_ms >= self._pause_ends_ms:
            self._give_up(Stage.FAILED, "Timed out before streaming completed", now_ms)
        elif now_ms - self.acked_ms > self._timeout_ms:
            self._give_up(Stage.FAILED, "Timed out after too long with no interaction", now_ms)
        elif self.stage in (Stage.SNAPSHOTTING, Stage.REPLICATING, Stage.WAITING_TO_PAUSE, Stage.FAILOVER_PAUSED):
            self._tell_alive(now_ms)

    def _give_up(self, stage: Stage, message: str, now_ms: int) -> None:
        self._end(stage, message, now_ms)

    def _end(self, stage: Stage, message: str, now_ms: int) -> None:
        paused = self.stage in _HAND_OVER
        self.paused_ms = now_ms - self.paused_ms if paused else 0
        self._finish(stage, message, now_ms)
        if paused:
            self._out.append(Do.RESUME)


class Import(Job):
    """The side of the target. `tracking`: on a replica, of which this only says what its primary is doing."""

    operation = "IMPORT"

    def __init__(
        self, name: str, source: NodeId, target: NodeId, ranges: Sequence[SlotRange], now_ms: int, *,
        timeout_ms: int, tracking: bool = False,
    ) -> None:
        stage = Stage.ON_PRIMARY if tracking else Stage.WAITING_FOR_ACK
        super().__init__(name, source, target, ranges, stage, now_ms)
        self.tracking = tracking
        self._timeout_ms = timeout_ms
        self._requested_ms = 0
        self._paused_ms = 0
        self._polled_ms = 0
        self._replicated = False
        self._known = False
        """Whether those who have to know of the claim (reserved, or made) do."""
        self._noticed = False
        self._ends_as = Stage.FAILED

    def interaction(self, now_ms: int) -> None:
        """Something came from the source."""
        self.acked_ms = now_ms

    def finished_elsewhere(self, stage: Stage, message: str, now_ms: int) -> list[Effect]:
        """On a replica: its primary tells how it ended, and has removed what had to go."""
        self._finish(stage, message, now_ms)
        effects, self._out = self._out, []
        return effects

    def _step(self, event: Event, now_ms: int) -> None:
        match event:
            case Cleaned():
                if self.stage is Stage.CLEANING_UP:
                    self._finish(self._ends_as, self.message, now_ms)
            case Owners():
                self._look_at_owners(event, now_ms)
            case _ if self.stage is Stage.CLEANING_UP or self.tracking:
                return
            case Heard(word):
                self._hear(word, now_ms)
            case Confirmed():
                self._replicated = True
                self._may_request(now_ms)
            case Broken(lost=True) if self.stage is Stage.FAILOVER_GRANTED:
                self._noticed = True
                self._may_open(now_ms)
            case Broken() | Cancel() if self.stage is Stage.FAILOVER_GRANTED:
                return  # It is done, but for the source's notice.
            case Broken(reason):
                self.give_up(Stage.FAILED, reason, now_ms)
            case Cancel():
                self.give_up(Stage.CANCELLED, "", now_ms)
            case Tick():
                self._tick(now_ms)

    def _hear(self, word: Word, now_ms: int) -> None:
        self.acked_ms = now_ms
        stage = self.stage
        if word is Word.ACK:
            if stage is Stage.WAITING_FOR_ACK:
                self._enter(Stage.RECEIVING_SNAPSHOT, now_ms)
        elif word is Word.SNAPSHOT_EOF and stage is Stage.RECEIVING_SNAPSHOT:
            self._log(Level.NOTICE, "successfully received slot snapshot. Beginning incremental stream...")
            self._out.append(Say(Word.REQUEST_PAUSE))
            self._enter(Stage.WAITING_FOR_PAUSED, now_ms)
        elif word is Word.PAUSED and stage is Stage.WAITING_FOR_PAUSED:
            self._paused_ms = self._polled_ms = now_ms
            self._out += [Do.RESERVE, Do.POLL, Do.CONFIRM]
        elif word is Word.FAILOVER_GRANTED and stage is Stage.FAILOVER_REQUESTED:
            if now_ms - self._requested_ms > TAKE_MS:
                self.give_up(Stage.FAILED, "The permission to take over came too late", now_ms)
                return
            self._enter(Stage.FAILOVER_GRANTED, now_ms)
            self._known = False
            self._polled_ms = now_ms
            self._log(Level.NOTICE, "completed successfully. This node is now the owner of the slots")
            self._out += [Do.PAUSE, Do.TAKE, Do.POLL]
        elif stage is not Stage.FAILOVER_GRANTED:
            self.give_up(Stage.FAILED, "Unexpected state machine transition", now_ms)

    def _look_at_owners(self, seen: Owners, now_ms: int) -> None:
        if self.stage is Stage.CLEANING_UP:
            return
        if self.stage is Stage.FAILOVER_GRANTED:
            if not seen.mine:  # Nothing is to be removed: who loses slots loses their keys.
                self._over(Stage.FAILED, "The slots were taken back", now_ms)
            else:
                self._known |= seen.majority
                self._noticed |= seen.other_failed
                self._may_open(now_ms)
        elif self.tracking:
            if seen.is_primary:
                self._promoted(seen, now_ms)
        elif not seen.is_primary:
            self.tracking = True
            self._out.append(Do.UNLINK)
            self._enter(Stage.ON_PRIMARY, now_ms)
        elif seen.mine:
            self.give_up(Stage.FAILED, "Slots were unexpectedly assigned to myself during import", now_ms)
        elif seen.owner != self.source:
            self.give_up(Stage.FAILED, "Slots are no longer owned by source node", now_ms)
        elif self._paused_ms:
            self._known |= seen.majority and seen.other
            self._may_request(now_ms)

    def _may_request(self, now_ms: int) -> None:
        """The source lets no write in: ask for its permission as soon as everything is ready for it."""
        if self.stage is Stage.WAITING_FOR_PAUSED and self._replicated and self._known:
            self._requested_ms = now_ms
            self._out.append(Say(Word.REQUEST_FAILOVER))
            self._enter(Stage.FAILOVER_REQUESTED, now_ms)

    def _may_open(self, now_ms: int) -> None:
        """The slots are taken: let writes in as soon as nobody else can."""
        if self._known and self._noticed:
            self._over(Stage.SUCCESS, "", now_ms)

    def _promoted(self, seen: Owners, now_ms: int) -> None:
        """This replica takes its primary's place. What its primary had taken over is here; nothing else may stay."""
        self.tracking = False
        if seen.mine:
            self._finish(Stage.SUCCESS, "", now_ms)
        else:
            self.give_up(Stage.FAILED, "A failover occurred during slot import", now_ms)

    def _tick(self, now_ms: int) -> None:
        if self.stage is Stage.FAILOVER_REQUESTED and now_ms - self._requested_ms > TAKE_MS:
            self.give_up(Stage.FAILED, "The source did not give its permission in time", now_ms)
        elif self.stage is Stage.WAITING_FOR_PAUSED and self._paused_ms and now_ms - self._paused_ms > 2 * TAKE_MS:
            self.give_up(Stage.FAILED, "No majority of the cluster has answered in time", now_ms)
        elif self.stage is Stage.FAILOVER_GRANTED:
            if not self._known and now_ms - self._polled_ms >= ASK_MS:
                self._polled_ms = now_ms
                self._out.append(Do.POLL)
        elif now_ms - self.acked_ms > self._timeout_ms:
            self.give_up(Stage.FAILED, "Timed out after too long with no interaction", now_ms)
        elif self.stage is not Stage.WAITING_FOR_ACK:
            self._tell_alive(now_ms)

    def _over(self, stage: Stage, message: str, now_ms: int) -> None:
        self._finish(stage, message, now_ms)
        self._out.append(Do.RESUME)

    def give_up(self, stage: Stage, message: str, now_ms: int) -> None:
        """Remove what came, then be over."""
        self.message = message
        self._ends_as = stage
        self._enter(Stage.CLEANING_UP, now_ms)
        self._out += [Do.UNLINK, Do.CLEAN]


__all__ = [
    "ACK_MS", "ASK_MS", "CONFIRM_MS", "ENDED", "TAKE_MS", "Answer", "Broken", "Cancel", "Cleaned", "Confirmed", "Do",
    "Drained",
    "Effect", "Established", "Event", "Export", "Heard", "Import", "Job", "Log", "Owners", "Reached", "Say", "SnapshotSent",
    "Stage", "Tick", "Word",
]
