"""The reply gate: who is answered when, and by what."""

from __future__ import annotations

from collections.abc import Callable

from node.gate import Deferred, ReplyGate


def count(gate: ReplyGate, offset: int) -> Callable[[], int]:
    """What WAIT answers: how many replicas have reached the offset by now."""
    return lambda: gate.replicas_at(offset)


def test_a_deferred_tells_its_listener_once() -> None:
    deferred, heard = Deferred(), []
    deferred.when_ready(lambda: heard.append(deferred.value))
    assert not deferred.ready and heard == []
    deferred.resolve(1)
    deferred.resolve(2)
    assert deferred.ready and heard == [1] and deferred.value == 1


def test_a_listener_that_comes_late_is_told_at_once() -> None:
    deferred, heard = Deferred(), []
    deferred.resolve(None)
    deferred.when_ready(lambda: heard.append(deferred.value))
    assert heard == [None]


def test_what_is_reached_already_is_answered_at_once() -> None:
    gate = ReplyGate()
    gate.acknowledge(1, 100)
    answered = gate.wait(100, count(gate, 100), replicas=1)
    assert answered.ready and answered.value == 1 and answered.pauses
    assert gate.wait(5, lambda: 0).ready


def test_waits_for_as_many_replicas_as_asked() -> None:
    gate = ReplyGate()
    waiting = gate.wait(100, count(gate, 100), replicas=2)
    gate.acknowledge(1, 100)
    gate.acknowledge(1, 150)
    gate.acknowledge(2, 99)
    assert not waiting.ready
    gate.acknowledge(2, 100)
    assert waiting.ready and waiting.value == 2


def test_a_replica_that_has_gone_does_not_count() -> None:
    gate = ReplyGate()
    gate.acknowledge(1, 100)
    waiting = gate.wait(100, count(gate, 100), replicas=2)
    gate.replica_gone(1)
    gate.replica_gone(77)
    gate.acknowledge(2, 100)
    assert not waiting.ready
    assert gate.replicas_at(100) == 1


def test_the_deadline_answers_with_what_is_reached_by_then() -> None:
    gate = ReplyGate()
    waiting = gate.wait(100, count(gate, 100), replicas=3, deadline_ms=5_000)
    gate.acknowledge(1, 100)
    gate.tick(4_999)
    assert not waiting.ready
    gate.tick(5_000)
    assert waiting.ready and waiting.value == 1


def test_without_a_deadline_it_waits_for_ever() -> None:
    gate = ReplyGate()
    waiting = gate.wait(100, count(gate, 100), replicas=1)
    gate.tick(2**62)
    assert not waiting.ready


def test_each_waits_for_its_own_offset_and_the_first_is_answered_first() -> None:
    gate, order = ReplyGate(), []
    for offset in (300, 100, 200):
        waiting = gate.wait(offset, count(gate, offset), replicas=1)
        waiting.when_ready(lambda offset=offset: order.append(offset))  # type: ignore[misc]
    gate.acknowledge(1, 200)
    assert order == [100, 200]
    gate.acknowledge(1, 300)
    assert order == [100, 200, 300]


def test_fsync_and_replicas_are_both_waited_for() -> None:
    gate = ReplyGate()
    waiting = gate.wait(100, lambda: [1, gate.replicas_at(100)], replicas=1, fsynced=True)
    gate.fsynced(100)
    assert not waiting.ready
    gate.acknowledge(1, 100)
    assert waiting.ready and waiting.value == [1, 1]


def test_fsync_alone() -> None:
    gate = ReplyGate()
    waiting = gate.wait(100, lambda: "OK", fsynced=True)
    gate.acknowledge(1, 1000)
    gate.fsynced(99)
    assert not waiting.ready
    gate.fsynced(101)
    assert waiting.value == "OK"
    assert gate.wait(101, lambda: "OK", fsynced=True).ready


def test_an_abandoned_wait_is_never_answered() -> None:
    gate = ReplyGate()
    asked = []
    gone = gate.wait(100, lambda: asked.append("gone"), replicas=1, deadline_ms=10)
    stays = gate.wait(100, lambda: asked.append("stays"), replicas=1)
    gate.abandon(gone)
    gate.abandon(Deferred())
    gate.tick(1_000)
    gate.acknowledge(1, 100)
    assert asked == ["stays"] and stays.ready and not gone.ready


def test_a_wait_that_begins_while_another_is_answered() -> None:
    gate = ReplyGate()
    second: list[Deferred] = []
    first = gate.wait(100, lambda: 1, replicas=1)
    first.when_ready(lambda: second.append(gate.wait(200, lambda: 2, replicas=1)))
    gate.acknowledge(1, 100)
    assert first.ready and not second[0].ready
    gate.acknowledge(1, 200)
    assert second[0].value == 2
