"""One round of the faults that tell most, on six hosts of this machine. `python -m tests.rounds` runs many of all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rounds.faults import isolate, kill, stop
from tests.rounds.hosts import Hosts, missing
from tests.rounds.moves import kill_side
from tests.rounds.nodes import CLIENT, NODES, Nodes

pytestmark = pytest.mark.real

TIMEOUT_MS = 1000
SLOW_CLIENT_S = 1.0
"""How late a client on a busy machine may take note of an acknowledgement. What the node does is measured in simulation."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if why := missing():
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    folder: Path = tmp_path_factory.mktemp("rounds")
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(Hosts(NODES + 1))
        stack.enter_context(hosts.entered(CLIENT))
        yield stack.enter_context(Nodes(hosts, folder, TIMEOUT_MS))


def test_a_killed_primary_takes_no_acknowledged_write_with_it(nodes: Nodes) -> None:
    outcome = kill(nodes, 0)
    assert outcome.acknowledged > 100 and outcome.lost == 0, f"{outcome}\n{nodes.tails()}"


def test_a_stopped_primary_asks_before_it_answers_what_was_queued(nodes: Nodes) -> None:
    outcome = stop(nodes, 1)
    assert outcome.acknowledged > 100 and outcome.lost == 0, f"{outcome}\n{nodes.tails()}"


def test_an_isolated_primary_stops_within_the_node_timeout(nodes: Nodes) -> None:
    outcome = isolate(nodes, 2)
    assert outcome.acknowledged > 100, f"{outcome}\n{nodes.tails()}"
    assert outcome.written_s < TIMEOUT_MS / 1000 + SLOW_CLIENT_S, f"{outcome}\n{nodes.tails()}"
    assert outcome.lost < outcome.acknowledged / 8, f"a timeout's worth of writes is lost: {outcome}\n{nodes.tails()}"


@pytest.mark.parametrize("side", ["source", "target"])
def test_who_dies_with_the_permission_to_hand_slots_over_loses_nothing(nodes: Nodes, side: str) -> None:
    outcome = kill_side(nodes, 3, phase="failover-granted", side=side)
    assert outcome.acknowledged > 100 and outcome.lost == 0, f"{outcome}\n{nodes.tails()}"
