"""Contact on the machine alone: what covers writes, who is asked for it and when, and when nobody need be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster import contact
from cluster.events import AskReplicas, Effect, Send
from gossip.ids import NodeId
from gossip.members import NOFAILOVER
from gossip.messages import MessageType, Ping
from tests.cluster.machines import SETTINGS, B, C, D, address, of_kind
from tests.cluster.test_lease import Three

BOUND = contact.LEAST_MS
QUESTION = 37
"""So many bytes has a GETACK."""


class Shard(Three):
    """The machine writes; its replica acknowledges when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        for _ in range(10):
            self.tick(100)
        self.offset = 1000
        self.answering: set[NodeId] = set()

    def write(self, after_ms: int = 0) -> list[Effect]:
        self.now_ms += after_ms
        self.offset += 30
        asks_ms = self.cluster.asks_at_ms
        if asks_ms is None or self.now_ms < asks_ms:
            return []
        self.cluster.stream_end = self.offset
        return self.carry_out(self.cluster.wrote(self.now_ms))

    def carry_out(self, effects: list[Effect]) -> list[Effect]:
        for _ in of_kind(effects, AskReplicas):
            self.offset += QUESTION
            self.cluster.stream_end = self.offset
            self.cluster.replicas_asked()
        return effects

    def look(self, after_ms: int = 0) -> list[Effect]:
        """What happens while replies wait."""
        self.now_ms += after_ms
        self.cluster.stream_end = self.offset
        return self.carry_out(self.cluster.check_lease(self.now_ms))

    def ack(self, node: NodeId = D, offset: int = 0, after_ms: int = 0) -> None:
        self.now_ms += after_ms
        self.cluster.stream_end = self.offset
        where = address(node)
        self.cluster.acknowledged(where.ip, where.port, offset or self.offset, self.now_ms)

    def left_ms(self) -> int | None:
        until_ms = self.cluster.answers_until_ms
        return None if until_ms is None else until_ms - self.now_ms


def asked_voters(effects: list[Effect]) -> list[Ping]:
    pings = [one.message for one in effects if isinstance(one, Send) and isinstance(one.message, Ping)]
    assert all(one.type is MessageType.PING and not one.gossip for one in pings), "as light as a ping can be"
    return pings


def test_the_first_write_asks_the_replicas_and_waits_for_nobody() -> None:
    shard = Shard()
    assert shard.left_ms() is None and shard.cluster.asks_at_ms == 0
    effects = shard.write()
    assert of_kind(effects, AskReplicas) and not asked_voters(effects)
    assert shard.left_ms() == BOUND
    shard.ack(after_ms=1)
    assert shard.left_ms() is None, "all that was written is covered"
    assert shard.cluster.asks_at_ms == 0 and not shard.cluster.awaits_replicas
    for _ in range(5):
        shard.now_ms += 100
        assert not of_kind(shard.look(), AskReplicas), "no write, no question"


def test_under_load_replicas_are_asked_twice_a_bound_and_cover_always_comes_in_time() -> None:
    shard, asked, left = Shard(), 0, BOUND
    for _ in range(1000):
        if of_kind(shard.write(after_ms=1), AskReplicas):
            asked += 1
            shard.write(after_ms=1)
            shard.ack(after_ms=1)
        left_ms = shard.left_ms()
        left = min(left, BOUND if left_ms is None else left_ms)
    assert 18 <= asked <= 22 and left > BOUND * 3 // 10
    assert not shard.cluster.contact.told


def test_an_acknowledgement_of_less_than_was_written_covers_nothing() -> None:
    shard = Shard()
    shard.write()
    shard.ack(offset=shard.offset - QUESTION - 1, after_ms=1)
    assert shard.left_ms() == BOUND - 1
    shard.ack(B)
    assert shard.left_ms() == BOUND - 1, "nor does that of somebody else"
    shard.ack(offset=shard.offset - QUESTION)
    assert shard.left_ms() is None, "the question itself need not be in it"


def test_what_is_written_after_the_question_is_not_covered_by_the_answer() -> None:
    shard = Shard()
    shard.write()
    shard.write(after_ms=5)
    shard.ack(after_ms=5)
    assert shard.left_ms() == BOUND - 10
    effects = shard.look(after_ms=BOUND // 2 - 10)
    assert of_kind(effects, AskReplicas), "the rest is asked for though nothing more is written"
    shard.ack(after_ms=1)
    assert shard.left_ms() is None


def test_all_replicas_that_could_take_over_must_answer() -> None:
    shard = Shard()
    cluster = shard.cluster
    other = cluster.members[C]
    cluster.gossip.members.set_primary(other, cluster.myself)
    shard.write()
    shard.ack(D, after_ms=1)
    assert shard.left_ms() == BOUND - 1
    shard.ack(C)
    assert shard.left_ms() is None
    other.flags |= NOFAILOVER
    shard.write(after_ms=BOUND)
    shard.ack(D, after_ms=1)
    assert shard.left_ms() is None, "but one that will not"


def test_a_replica_that_is_silent_delays_nobody_whom_a_majority_answers() -> None:
    shard = Shard()
    shard.answering = {B, C}
    pings, least, at_ms = 0, BOUND, shard.now_ms
    for _ in range(400):
        pings += len(asked_voters(shard.write(after_ms=5)))
        shard.now_ms += 1
        shard.answer()
        left_ms = shard.left_ms()
        least = min(least, BOUND if left_ms is None else left_ms)
    assert least > BOUND // 5
    assert (shard.now_ms - at_ms) / BOUND <= pings <= 2 * (shard.now_ms - at_ms) / BOUND, "one of two voters is enough"


def test_a_cover_by_a_majority_ends_the_matter_when_nothing_more_is_written() -> None:
    shard = Shard()
    shard.answering = {B, C}
    shard.write()
    assert asked_voters(shard.look(after_ms=BOUND * 7 // 10))
    shard.now_ms += 1
    shard.answer()
    assert shard.left_ms() is None


def test_an_answer_to_a_ping_from_before_the_write_covers_nothing() -> None:
    shard = Shard()
    shard.tick(300)
    shard.write(after_ms=10)
    shard.answering = {B, C}
    assert all(shard.cluster.members[node].link.pings for node in (B, C))  # type: ignore[union-attr]
    shard.answer()
    assert shard.left_ms() == BOUND


def test_who_is_cut_off_lets_replies_wait_asks_everybody_and_is_heard_of() -> None:
    shard = Shard()
    shard.write()
    assert shard.left_ms() == BOUND
    assert len(asked_voters(shard.write(after_ms=BOUND * 7 // 10))) == 1
    assert len(asked_voters(shard.look(after_ms=BOUND * 3 // 10))) == 1, "the other one too"
    assert shard.left_ms() == 0
    assert not shard.cluster.withholds
    shard.look(after_ms=BOUND)
    assert shard.cluster.withholds and shard.left_ms() == -BOUND
    shard.answering = {C}
    shard.answer()
    left_ms = shard.left_ms()
    assert left_ms is None and not shard.cluster.withholds


def test_who_has_heard_of_nobody_lately_waits_with_the_first_write() -> None:
    """Cut off while nobody wrote."""
    shard = Shard()
    for _ in range(6):
        shard.tick(100)
        assert shard.left_ms() is None
    assert asked_voters(shard.write()) == [], "they have been asked already"
    left_ms = shard.left_ms()
    assert left_ms is not None and left_ms < 0
    shard.ack(after_ms=1)
    assert shard.left_ms() is None, "its replica has it: there was no cut"
    shard.write(after_ms=1)
    left_ms = shard.left_ms()
    assert left_ms is not None and left_ms < 0
    shard.answering = {B, C}
    shard.answer()
    left_ms = shard.left_ms()
    assert left_ms is not None and left_ms < 0, "what was asked before the write says nothing of it"
    shard.tick(300)
    assert shard.left_ms() == BOUND


def test_its_lease_ends_as_ever() -> None:
    shard = Shard()
    shard.write()
    end_ms = shard.cluster.serves_until_ms
    assert end_ms is not None
    while shard.now_ms <= end_ms:
        shard.look(after_ms=5)
        assert shard.cluster.ok is (shard.now_ms <= end_ms)
    assert shard.left_ms() is None and not shard.cluster.withholds, "what comes is refused by the state of the cluster"


def test_a_way_that_takes_long_makes_the_bound_long_up_to_half_the_timeout() -> None:
    shard = Shard()
    shard.answering = {B, C}

    def answered_after(way_ms: int) -> int | None:
        shard.tick(300)
        shard.write()
        left_ms = shard.left_ms()
        shard.ack(after_ms=way_ms)
        return left_ms

    assert [answered_after(way_ms) for way_ms in (80, 1500, 900, 700, 2, 2)] == [
        BOUND, BOUND, BOUND, 3 * 80, SETTINGS.node_timeout_ms // 2, BOUND
    ], "of three the shortest one counts"


@pytest.mark.parametrize("why", ["no replica", "an unwilling replica", "two primaries", "a replica"])
def test_who_can_not_be_replaced_has_nothing_to_fear(why: str) -> None:
    shard = Shard()
    cluster = shard.cluster
    if why == "no replica":
        cluster.gossip.members.set_primary(cluster.members[D], cluster.members[B])
    elif why == "an unwilling replica":
        cluster.members[D].flags |= NOFAILOVER
    elif why == "two primaries":
        cluster.assign(cluster.slotmap.bits(C), cluster.members[B])
    else:
        cluster.assign(cluster.slotmap.bits(cluster.myself.id), cluster.members[B])
    shard.tick(100)
    assert cluster.asks_at_ms is None
    assert not of_kind(cluster.wrote(shard.now_ms), AskReplicas) and shard.left_ms() is None


@pytest.mark.parametrize("factor", [10, 0])
def test_a_replica_that_has_failed_may_be_back_as_long_as_its_data_is_young(factor: int) -> None:
    """Where this node is not heard: so a majority has to say that it is."""
    shard = Shard()
    cluster = shard.cluster
    settings = replace(cluster.settings, replica_validity_factor=factor)
    cluster.reconfigure(settings, shard.now_ms)
    failed_ms = shard.now_ms
    cluster.gossip.set_failed(cluster.members[D], failed_ms)
    young_ms = settings.node_timeout_ms * (factor + 1) + settings.repl_ping_replica_period_s * 1000
    seen = set()
    while shard.now_ms - failed_ms < young_ms + 2000:
        shard.answering = {B, C}
        for _ in range(10):
            shard.tick(100)
        assert shard.left_ms() is None
        shard.answering = set()
        is_over = factor > 0 and shard.now_ms - failed_ms > young_ms
        shard.write()
        assert (shard.left_ms() is None) is is_over
        seen.add(is_over)
    assert seen == ({False, True} if factor else {False})


def test_a_replica_that_goes_elsewhere_is_waited_for_no_longer() -> None:
    shard = Shard()
    shard.write()
    shard.cluster.gossip.members.set_primary(shard.cluster.members[D], shard.cluster.members[B])
    shard.look(after_ms=BOUND * 2)
    assert shard.left_ms() is None and not shard.cluster.awaits_replicas
