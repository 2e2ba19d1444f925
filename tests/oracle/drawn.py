"""How generated sequences are drawn: so many of this run's seed, none kept for the next run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings

from tests.oracle.oracle import EXAMPLES, SEED

Test = TypeVar("Test", bound=Callable[..., Any])


def drawn(examples: int = EXAMPLES, *, shrink: bool = True) -> Callable[[Test], Test]:
    """Stands above hypothesis's `given`. shrink: whether the shortest of those that fail is looked for."""
    limits = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: seed(SEED)(limits(test))
