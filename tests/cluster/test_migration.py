"""The machine of one atomic slot migration: every stage of both sides, what each may be answered with, and all the ends."""

from __future__ import annotations

from random import Random

import pytest

from cluster import manual_failover, migration
from cluster.events import Persist
from cluster.machine import Cluster
from cluster.migration import (
    ACK_MS,
    ASK_MS,
    TAKE_MS,
    Broken,
    Cancel,
    Do,
    Effect,
    Event,
    Export,
    Heard,
    Import,
    Job,
    Log,
    Owners,
    Say,
    Stage,
    Tick,
    Word,
)
from cluster.slotmap import Grant
from cluster.slots import slots_to_bitmap
from gossip.ids import NodeId
from gossip.messages import MessageType, NodeFlag
from tests.cluster.machines import ME, NOW, SETTINGS, SLOTS, B, C, D, Peer, header, ping, primary, replica, saved

NAME, SOURCE, TARGET, OTHER = "f" * 40, NodeId("a" * 40), NodeId("b" * 40), NodeId("c" * 40)
START = 1000
PAUSE_MS, TIMEOUT_MS = 10_000, 60_000


def an_export() -> Export:
    return Export(NAME, SOURCE, TARGET, [(5, 7), (1, 1)], START, pause_ms=PAUSE_MS, timeout_ms=TIMEOUT_MS)


def an_import(*, tracking: bool = False) -> Import:
    return Import(NAME, SOURCE, TARGET, [(5, 7)], START, timeout_ms=TIMEOUT_MS, tracking=tracking)


def step(job: Job, event: Event, at_ms: int = START) -> list[Effect]:
    """The effects but for the log."""
    return [effect for effect in job.step(event, at_ms) if not isinstance(effect, Log)]


def heard(job: Job, word: Word, at_ms: int = START) -> list[Effect]:
    return step(job, Heard(word), at_ms)


def export_at(stage: Stage) -> Export:
    """An export that has come so far on the straight way."""
    job = an_export()
    ways: list[Event] = [
        migration.Reached(Stage.SENDING_ESTABLISH), migration.Reached(Stage.READING_ESTABLISH), migration.Established(),
        migration.SnapshotSent(), Heard(Word.REQUEST_PAUSE), migration.Drained(), Heard(Word.REQUEST_FAILOVER),
    ]
    for event in ways:
        if job.stage is stage:
            break
        step(job, event)
    assert job.stage is stage
    return job


def import_at(stage: Stage) -> Import:
    job = an_import()
    ways: list[Event] = [
        Heard(Word.ACK), Heard(Word.SNAPSHOT_EOF), Heard(Word.PAUSED), migration.Confirmed(),
        Owners(SOURCE, other=True, majority=True), Heard(Word.FAILOVER_GRANTED),
    ]
    for event in ways:
        if job.stage is stage:
            break
        step(job, event)
    assert job.stage is stage
    return job


# The straight way -------------------------------------------------------------------------------------------------------


def test_an_export_from_its_beginning_to_its_end() -> None:
    job = an_export()
    assert (job.slots, job.ranges_text, job.in_progress) == ((5, 6, 7, 1), "5-7 1-1", True)
    assert step(job, migration.Reached(Stage.READING_ESTABLISH)) == []
    assert step(job, migration.Established()) == [Say(Word.ACK), Do.SNAPSHOT]
    assert job.stage is Stage.SNAPSHOTTING
    assert step(job, migration.SnapshotSent()) == [Say(Word.SNAPSHOT_EOF)]
    assert heard(job, Word.REQUEST_PAUSE) == [Do.WATCH_BACKLOG]
    assert step(job, migration.Drained()) == [Do.PAUSE, Say(Word.PAUSED)]
    assert heard(job, Word.REQUEST_FAILOVER, START + 3) == [Do.GRANT, Say(Word.FAILOVER_GRANTED)]
    assert step(job, Owners(TARGET), START + 7) == [Do.UNLINK, Do.END, Do.RESUME]
    assert (job.stage, job.paused_ms, job.in_progress) == (Stage.SUCCESS, 7, False)


def test_an_import_from_its_beginning_to_its_end() -> None:
    job = an_import()
    assert heard(job, Word.ACK) == []
    assert heard(job, Word.SNAPSHOT_EOF) == [Say(Word.REQUEST_PAUSE)]
    assert heard(job, Word.PAUSED) == [Do.RESERVE, Do.POLL, Do.CONFIRM]
    assert step(job, migration.Confirmed()) == []
    assert step(job, Owners(SOURCE, other=True)) == step(job, Owners(SOURCE, majority=True)) == []
    assert step(job, Owners(SOURCE, other=True, majority=True)) == [Say(Word.REQUEST_FAILOVER)]
    assert heard(job, Word.FAILOVER_GRANTED) == [Do.PAUSE, Do.TAKE, Do.POLL], "no write before all know"
    assert step(job, Owners(TARGET, mine=True)) == []
    assert step(job, Broken("", lost=True)) == []
    assert step(job, Owners(TARGET, mine=True, majority=True)) == [Do.UNLINK, Do.END, Do.RESUME]
    assert job.stage is Stage.SUCCESS


def test_a_target_without_a_majority_does_not_ask_for_permission() -> None:
    job = import_at(Stage.WAITING_FOR_PAUSED)
    heard(job, Word.PAUSED)
    step(job, migration.Confirmed())
    assert step(job, Tick(), START + 2 * TAKE_MS) == [Say(Word.ACK)]
    assert step(job, Tick(), START + 2 * TAKE_MS + 1) == [Do.UNLINK, Do.CLEAN]
    assert job.message == "No majority of the cluster has answered in time"


def test_a_source_that_is_being_replaced_gives_no_permission() -> None:
    job = export_at(Stage.FAILOVER_PAUSED)
    assert step(job, Owners(SOURCE, mine=True, failing_over=True)) == []
    assert heard(job, Word.REQUEST_FAILOVER) == [Do.UNLINK, Do.END, Do.RESUME]


def test_a_source_that_comes_back_asks_what_became_of_its_permission() -> None:
    job = Export.resumed(Grant(NAME, TARGET, ((5, 7),)), SOURCE, START)
    assert job.stage is Stage.FAILOVER_GRANTED and job.grant == Grant(NAME, TARGET, ((5, 7),))
    assert step(job, Tick(), START + ASK_MS) == [Do.ASK]
    assert step(job, Owners(SOURCE, mine=True, other_failed=True), START + 2 * TAKE_MS - 1) == []
    assert step(job, migration.Answer(False), START + 2 * TAKE_MS) == [Do.UNLINK, Do.END, Do.RESUME]


def test_what_is_over_stays_over() -> None:
    for job in (an_export(), an_import()):
        step(job, Broken("why"))
        step(job, migration.Cleaned())
        assert job.stage is Stage.FAILED and job.message == "why"
        assert [step(job, event) for event in (Tick(), Cancel(), Heard(Word.ACK), Owners(TARGET))] == [[]] * 4


# The permission ---------------------------------------------------------------------------------------------------------


def test_a_permission_that_comes_late_is_not_used() -> None:
    job = import_at(Stage.FAILOVER_REQUESTED)
    assert heard(job, Word.FAILOVER_GRANTED, START + TAKE_MS + 1) == [Do.UNLINK, Do.CLEAN]
    job = import_at(Stage.FAILOVER_REQUESTED)
    assert Do.TAKE in heard(job, Word.FAILOVER_GRANTED, START + TAKE_MS)
    job = import_at(Stage.FAILOVER_REQUESTED)
    assert step(job, Tick(), START + TAKE_MS + 1) == [Do.UNLINK, Do.CLEAN]
    assert heard(job, Word.FAILOVER_GRANTED, START + TAKE_MS + 1) == []


def test_before_its_permission_the_source_may_go_on() -> None:
    job = export_at(Stage.FAILOVER_PAUSED)
    assert step(job, Tick(), START + PAUSE_MS - 1) == [Say(Word.ACK)]
    assert step(job, Tick(), START + PAUSE_MS) == [Do.UNLINK, Do.END, Do.RESUME]
    assert job.message == "Timed out before streaming completed"
    job = export_at(Stage.FAILOVER_PAUSED)
    assert heard(job, Word.REQUEST_FAILOVER, START + PAUSE_MS) == [Do.UNLINK, Do.END, Do.RESUME]
    assert job.message == "Unpaused before failover completed"


def test_after_its_permission_the_source_waits_until_it_knows() -> None:
    job = export_at(Stage.FAILOVER_GRANTED)
    for event in (Cancel(), Broken("Data was flushed"), Heard(Word.PAUSED), migration.Answer(None), migration.Answer(True)):
        assert Do.RESUME not in step(job, event), event
    assert Do.RESUME not in step(job, Tick(), START + 10 * PAUSE_MS)
    assert job.stage is Stage.FAILOVER_GRANTED
    assert step(job, migration.Answer(False)) == [Do.UNLINK, Do.END, Do.RESUME]
    assert job.message == "The target did not take over"


def test_it_asks_when_the_connection_is_lost_and_when_it_takes_long() -> None:
    job = export_at(Stage.FAILOVER_GRANTED)
    assert step(job, Tick(), START + 100) == []
    assert step(job, Broken("", lost=True), START + 100) == []
    assert step(job, Tick(), START + 100 + ASK_MS) == [Do.ASK]
    assert step(job, Tick(), START + 101 + ASK_MS) == []
    assert step(job, Tick(), START + 100 + 2 * ASK_MS) == [Do.ASK]
    job = export_at(Stage.FAILOVER_GRANTED)
    assert step(job, Tick(), START + 2 * TAKE_MS - 1) == []
    assert step(job, Tick(), START + 2 * TAKE_MS) == [Do.ASK]


def test_a_failed_target_is_outrun_by_a_new_epoch() -> None:
    job = export_at(Stage.FAILOVER_GRANTED)
    early = START + 2 * TAKE_MS - 1
    assert step(job, Owners(SOURCE, mine=True, other_failed=True), early) == []
    dead, heard_of = Owners(SOURCE, mine=True, other_failed=True), Owners(SOURCE, True, True, True, majority=True)
    assert step(job, dead, early + 1) == [Do.POLL], "a majority may know that it has taken over"
    assert step(job, heard_of, early + ASK_MS) == step(job, dead, early + 1 + ASK_MS) == []
    assert step(job, heard_of, early + 1 + ASK_MS) == [Do.RECLAIM, Do.POLL]
    assert step(job, dead, early + 2 + ASK_MS) == []
    assert step(job, heard_of, early + 3 + ASK_MS) == [Do.UNLINK, Do.END, Do.RESUME], "the epoch is known before the writes"


def test_the_target_lets_writes_in_when_the_source_is_dead_or_when_the_slots_are_gone() -> None:
    job = import_at(Stage.FAILOVER_GRANTED)
    for event in (Cancel(), Broken("Data was flushed"), Heard(Word.ACK), Owners(TARGET, mine=True, other_failed=True)):
        assert step(job, event, START + TIMEOUT_MS * 2) == [], event
    assert step(job, Tick(), START + TIMEOUT_MS * 2) == [Do.POLL]
    assert step(job, Owners(TARGET, mine=True, majority=True)) == [Do.UNLINK, Do.END, Do.RESUME]
    job = import_at(Stage.FAILOVER_GRANTED)
    assert step(job, Owners(SOURCE)) == [Do.UNLINK, Do.END, Do.RESUME]
    assert job.stage is Stage.FAILED


# Ends -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [Stage.CONNECTING, Stage.SNAPSHOTTING, Stage.REPLICATING, Stage.FAILOVER_PAUSED])
@pytest.mark.parametrize(
    ("event", "end"),
    [
        (Cancel(), Stage.CANCELLED),
        (Broken("Data was flushed"), Stage.FAILED),
        (Broken("lost", lost=True), Stage.FAILED),
        (Owners(OTHER), Stage.FAILED),
        (Owners(None), Stage.FAILED),
        (Owners(SOURCE, is_primary=False), Stage.FAILED),
    ],
)
def test_whatever_ends_an_export_before_the_permission(stage: Stage, event: Event, end: Stage) -> None:
    job = export_at(stage)
    effects = step(job, event)
    assert job.stage is end
    assert effects == [Do.UNLINK, Do.END] + ([Do.RESUME] if stage is Stage.FAILOVER_PAUSED else [])


@pytest.mark.parametrize("stage", [Stage.WAITING_FOR_ACK, Stage.RECEIVING_SNAPSHOT, Stage.WAITING_FOR_PAUSED])
@pytest.mark.parametrize(
    ("event", "end"),
    [
        (Cancel(), Stage.CANCELLED),
        (Broken("lost", lost=True), Stage.FAILED),
        (Owners(OTHER), Stage.FAILED),
        (Owners(TARGET, mine=True), Stage.FAILED),
        (Heard(Word.FAILOVER_GRANTED), Stage.FAILED),
    ],
)
def test_whatever_ends_an_import_removes_its_keys_first(stage: Stage, event: Event, end: Stage) -> None:
    job = import_at(stage)
    assert step(job, event) == [Do.UNLINK, Do.CLEAN]
    assert job.stage is Stage.CLEANING_UP and not job.in_progress
    assert step(job, Broken("again")) == []
    assert step(job, migration.Cleaned()) == [Do.UNLINK, Do.END]
    assert job.stage is end


@pytest.mark.parametrize("stage", [Stage.SNAPSHOTTING, Stage.WAITING_TO_PAUSE])
def test_words_out_of_turn_end_an_export(stage: Stage) -> None:
    job = export_at(stage)
    assert heard(job, Word.REQUEST_FAILOVER) == [Do.UNLINK, Do.END]
    assert job.message == "Unexpected state machine transition"


def test_silence_ends_both_and_signs_of_life_prevent_it() -> None:
    out, into = export_at(Stage.REPLICATING), import_at(Stage.WAITING_FOR_PAUSED)
    for at_ms in range(START, START + 2 * TIMEOUT_MS, ACK_MS):
        assert step(out, Tick(), at_ms) == step(into, Tick(), at_ms) == ([Say(Word.ACK)] if at_ms > START else [])
        heard(out, Word.ACK, at_ms)
        heard(into, Word.ACK, at_ms)
    late = START + 2 * TIMEOUT_MS + TIMEOUT_MS
    assert Do.END in step(out, Tick(), late) and Do.CLEAN in step(into, Tick(), late)
    assert out.message == into.message == "Timed out after too long with no interaction"


# Replicas ---------------------------------------------------------------------------------------------------------------


def test_a_replica_only_notes_what_its_primary_does() -> None:
    job = an_import(tracking=True)
    assert job.stage is Stage.ON_PRIMARY
    for event in (Tick(), Cancel(), Broken("x"), Owners(SOURCE, is_primary=False), Heard(Word.PAUSED)):
        assert step(job, event, START + 2 * TIMEOUT_MS) == []
    ends = [effect for effect in job.finished_elsewhere(Stage.SUCCESS, "", START) if not isinstance(effect, Log)]
    assert ends == [Do.UNLINK, Do.END] and not job.in_progress


def test_a_replica_that_is_promoted_keeps_what_its_primary_had_taken_over_and_nothing_else() -> None:
    job = an_import(tracking=True)
    assert step(job, Owners(SOURCE)) == [Do.UNLINK, Do.CLEAN]
    job = an_import(tracking=True)
    assert step(job, Owners(OTHER, mine=True)) == [Do.UNLINK, Do.END]
    assert job.stage is Stage.SUCCESS


def test_a_target_that_becomes_a_replica_leaves_it_to_its_primary() -> None:
    job = import_at(Stage.RECEIVING_SNAPSHOT)
    assert step(job, Owners(SOURCE, is_primary=False)) == [Do.UNLINK]
    assert job.stage is Stage.ON_PRIMARY and job.tracking
    assert step(job, Broken("lost", lost=True)) == []


def test_the_log_names_the_job_and_every_transition() -> None:
    lines = [effect.text for effect in export_at(Stage.SNAPSHOTTING).step(Cancel(), START) if isinstance(effect, Log)]
    called = f"{{name: {NAME}, operation: export, target_node_id: {TARGET}, slots: 5-7 1-1}}"
    assert lines == [
        f"Slot migration {called} state transition: snapshotting -> cancelled",
        f"Slot migration {called} finished. State: cancelled, Message: none",
    ]


# On the bus -------------------------------------------------------------------------------------------------------------


def test_a_target_that_owns_nothing_yet_is_believed_from_the_permission_on() -> None:
    """Claims of newcomers to slots of an owner that is well are not believed else."""
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), primary(D, 0))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    newcomer = Peer(cluster, D)
    first, second = SLOTS[ME][:2]

    def owners_after_claim() -> tuple[NodeId | None, NodeId | None]:
        head = header(D, 9, current_epoch=9, slots=slots_to_bitmap([first, second]))
        newcomer.says(ping(head, kind=MessageType.PONG))
        return cluster.slotmap.owner_of(first), cluster.slotmap.owner_of(second)

    assert owners_after_claim() == (ME, ME)
    cluster.operations.grant(Grant(NAME, B, ((first, first),)), NOW)
    assert owners_after_claim() == (ME, ME), "that was another's"
    effects = cluster.operations.grant(Grant(NAME, D, ((first, first),)), NOW)
    assert effects == [Persist()] and cluster.saved_state().grants == (Grant(NAME, D, ((first, first),)),)
    assert cluster.operations.revoke(NAME, NOW) == [Persist()] and cluster.operations.revoke(NAME, NOW) == []
    assert owners_after_claim() == (ME, ME)
    cluster.operations.grant(Grant(NAME, D, ((second, second),)), NOW)
    assert owners_after_claim() == (ME, D)


def test_a_majority_that_has_heard_of_a_reserved_epoch_lets_nobody_win_in_it() -> None:
    cluster = Cluster.from_saved(
        saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3)), SETTINGS, Random(1), now_ms=NOW
    )
    assert cluster.current_epoch == 3
    epoch, effects = cluster.operations.reserve_epoch(NOW)
    assert (epoch, cluster.current_epoch, effects[0]) == (5, 6, Persist()), "the next of its own: 1, 5, 9"
    cluster.operations.take_slots([SLOTS[B][0]], epoch, NOW)
    assert (cluster.myself.config_epoch, cluster.current_epoch) == (5, 6)


def test_who_has_granted_slots_lets_no_replica_take_its_place() -> None:
    state = saved(primary(ME, 1, NodeFlag.MYSELF), primary(B, 2), primary(C, 3), replica(D, ME))
    cluster = Cluster.from_saved(state, SETTINGS, Random(1), now_ms=NOW)
    cluster.operations.grant(Grant(NAME, B, ((SLOTS[ME][0], SLOTS[ME][0]),)), NOW)
    manual_failover.requested(cluster, cluster.members[D], NOW)
    assert not cluster.operations.failing_over
    cluster.operations.revoke(NAME, NOW)
    manual_failover.requested(cluster, cluster.members[D], NOW)
    assert cluster.operations.failing_over
