"""A failing simulation names its seed: run it again with that and it fails again."""

from __future__ import annotations

import pytest

from tests.simulation.world import World


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Print the worlds that a failed test had made."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        report.sections.append(("simulation", "\n".join(str(world) for world in World.made)))
    if report.when == "teardown":
        World.made.clear()
