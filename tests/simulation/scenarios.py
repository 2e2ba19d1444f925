"""From a seed to a storm: the cluster, the faults and their times; the same seed gives the same storm, step by step."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.storm import Counts, Storm
from tests.simulation.storm_faults import KINDS, UNFAIR, USUAL
from tests.simulation.storm_nodes import new_random
from tests.simulation.world import World

SHAPES = {"3x2": (6, 1), "3x3": (9, 2), "5x1": (5, 0)}
"""Primaries x copies -> nodes, replicas of each primary."""
SETTLE_MS = 4000
LASTS_MS = (20_000, 90_000)
GAPS_MS = (50, 300, 1000, 2000, 4000, 8000)


@dataclass(slots=True)
class Outcome:
    """How a storm has ended. error: what did not hold, "" when all did."""

    seed: int
    shape: str
    kinds: tuple[str, ...]
    counts: Counts
    simulated_ms: int
    error: str = ""

    @property
    def again(self) -> str:
        """The command that runs this storm alone."""
        kinds = "" if self.kinds == USUAL else f" --faults {','.join(self.kinds)}"
        return f"python -m tests.simulation --from {self.seed} --seeds 1 --shape {self.shape}{kinds}"


def shape_of(seed: int) -> str:
    """The shape that a seed has unless another is asked for."""
    return list(SHAPES)[seed % len(SHAPES)]


def run(seed: int, shape: str = "", kinds: Sequence[str] = USUAL) -> Outcome:
    """Run a storm to its end, or until something does not hold."""
    shape = shape or shape_of(seed)
    random = new_random(seed, "faults")
    storm = Storm(seed, lenient=bool(UNFAIR & set(kinds)))
    World.made.remove(storm)
    if random.random() < 0.5:
        storm.settings = {"require_full_coverage": False}
    outcome = Outcome(seed, shape, tuple(kinds), storm.counts, 0)
    try:
        storm.planned(*SHAPES[shape])
        storm.run_until(storm.agreed, 2000, "agreement from the plan")
        storm.run(SETTLE_MS)
        storm.begin_writing()
        storm.run(1000)
        # A storm of few kinds is a storm, too; one of all kinds shows what they do to each other.
        chosen = sorted(random.sample(list(kinds), random.randrange(1, len(kinds) + 1)))
        busy = random.choice(GAPS_MS[1:])
        ends_ms = storm.now_ms + random.randrange(*LASTS_MS)
        while storm.now_ms < ends_ms:
            kind = random.choice(chosen)
            storm.counts.faults[kind] = storm.counts.faults.get(kind, 0) + 1
            KINDS[kind](storm, random)
            storm.run(random.choice([gap for gap in GAPS_MS if gap <= busy]))
        storm.settle()
    except AssertionError as error:
        outcome.error = str(error).split("\n")[0] or repr(error)
    except Exception as error:  # What a core raises is a find, too.
        raised_at = traceback.extract_tb(error.__traceback__)[-1]
        outcome.error = f"{error!r} in {raised_at.filename}:{raised_at.lineno}, seed {seed}"
    outcome.simulated_ms = storm.age_ms
    return outcome
