"""What generated cases are drawn from: another seed in each run, which is printed, or the one that is asked for."""

from __future__ import annotations

import os
import random


def seed(variable: str) -> int:
    """The seed in this environment variable; a new one where it is not set."""
    return int(os.environ.get(variable) or random.SystemRandom().randrange(1 << 32))


FUZZ_SEED = seed("HASHSLOT_FUZZ_SEED")
