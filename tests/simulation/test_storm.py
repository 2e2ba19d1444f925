"""Storms of every kind of fault, a fixed number of seeds; and rules broken on purpose, which the storms must notice.

`python -m tests.simulation --seeds 1000` runs many more; what it has found is named below.
"""

from __future__ import annotations

import re
from contextlib import nullcontext

import pytest

from cluster.slotmap import slots_in
from tests.simulation.broken import RULES, broken
from tests.simulation.scenarios import run
from tests.simulation.storm import Storm
from tests.simulation.storm_faults import KINDS, UNFAIR, USUAL
from tests.simulation.storm_moves import SLOTS
from tests.simulation.storm_nodes import slot_of
from tests.simulation.world import World

SEEDS = range(8)
WITHIN = 25
"""In so many storms at most a broken rule is noticed."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_storm_of_everything(seed: int) -> None:
    outcome = run(seed)
    assert not outcome.error, f"{outcome.error}: {outcome.again}"
    assert not outcome.counts.lost_late and outcome.counts.acknowledged


@pytest.mark.parametrize("kind", KINDS)
def test_a_storm_of_one_kind(kind: str) -> None:
    outcome = run(500, "3x2", [kind])
    assert not outcome.error, f"{outcome.error}: {outcome.again}"
    assert outcome.counts.faults.keys() == {kind}
    assert kind in UNFAIR or not outcome.counts.lost_late
    if kind in ("slow", "stranger", "clog", "move", "reshard"):
        assert not outcome.counts.lost, "nothing that was acknowledged is in danger"


@pytest.mark.parametrize(
    ("seed", "shape", "kinds"),
    [
        pytest.param(6, "3x2", ("cut",), id="reports-add-up-against-a-primary-that-a-voter-still-answers"),
        pytest.param(22, "3x3", USUAL, id="a-primary-without-its-disk-is-never-failed"),
        pytest.param(31, "3x3", USUAL, id="nor-are-its-replicas-told-by-anybody"),
        pytest.param(301, "5x1", ("reshard",), id="a-slot-goes-back-to-a-source-whose-epoch-has-grown"),
        pytest.param(210_219, "3x2", USUAL, id="who-contests-a-primary-that-is-back-and-serves-waits-for-its-lease-to-end"),
        pytest.param(310_125, "3x2", USUAL, id="the-successor-of-a-voter-does-not-know-whom-that-has-just-answered"),
        pytest.param(300, "5x1", ("reshard", "pause"), id="an-update-tells-what-nobody-claims"),
        pytest.param(300, "5x1", ("reshard", "crash"), id="a-slot-that-nobody-claims-has-no-owner-after-a-restart"),
        pytest.param(100, "3x2", ("reshard", "cut"), id="a-successor-goes-on-importing-what-its-former-primary-has"),
        pytest.param(50_002, "3x3", ("reshard", "move"), id="who-has-taken-a-slot-and-grants-it-back-does-not-outbid"),
        pytest.param(210_244, "3x3", USUAL, id="replicas-that-noted-a-move-give-in-to-a-primary-that-died-before-it-did"),
        pytest.param(210_071, "5x1", USUAL, id="an-epoch-of-which-only-a-lost-disk-knew-is-taken-again"),
    ],
)
def test_what_storms_have_found(seed: int, shape: str, kinds: tuple[str, ...]) -> None:
    outcome = run(seed, shape, kinds)
    assert not outcome.error, f"{outcome.error}: {outcome.again}"


def test_an_old_primary_believes_in_a_successor_that_has_just_come_from_another_shard() -> None:
    """n1 migrates to n2's shard and is elected, cut off from n2: what voters tell n2 of it must be believed."""
    outcome = run(7)
    assert not outcome.error, f"{outcome.error}: {outcome.again}"


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
def test_an_epoch_of_a_lost_disk_counts_if_anybody_has_heard_of_it(heard: bool) -> None:
    """The first takes an epoch and loses its disk; that another has its slots under the same is a find, if it could know."""
    storm = Storm(1)
    World.made.remove(storm)
    storm.planned(3, 0)
    first, second, _ = storm.hosts
    storm.run_until(storm.agreed, 2000)
    slots = slots_in(first.cluster.slotmap.bits(first.id))
    value = next(value for value in range(len(SLOTS)) if slot_of(value) in slots)
    if not heard:
        storm.network.partition(["n0"], ["n1", "n2"])
    _, epoch, effects = first.cluster.operations.bump_epoch(first.now_ms)
    first.carry_out(effects)
    storm.acknowledged(first, value)
    storm.run(1000)
    assert (second.cluster.current_epoch >= epoch) == heard
    first.kill()
    first.lose_disk()

    second.carry_out(second.cluster.operations.del_slots(slots, second.now_ms))
    second.carry_out(second.cluster.operations.add_slots(slots, second.now_ms))
    second.cluster.myself.config_epoch = epoch - 1
    with pytest.raises(AssertionError, match="n1 acknowledges a write") if heard else nullcontext():
        storm.acknowledged(second, value)
    second.cluster.myself.config_epoch = epoch
    with pytest.raises(AssertionError, match=r"n1 and n0 until [0-9]+ ms have owned") if heard else nullcontext():
        storm.check(second)


def test_a_storm_is_the_same_each_time() -> None:
    one, other = run(8), run(8)
    assert one == other


@pytest.mark.parametrize("name", RULES)
def test_a_broken_rule_is_noticed(name: str) -> None:
    with broken(name) as rule:
        for seed in range(rule.first, rule.first + WITHIN):
            outcome = run(seed, rule.shape, rule.faults)
            if outcome.error:
                print(f"noticed by seed {seed}: {outcome.error}")
                assert re.search(rule.notices, outcome.error), outcome.error
                return
    pytest.fail(f"nobody has noticed in {WITHIN} storms that nodes {name}")
