"""Clients of another language: ioredis and node-redis, each with a script in tests/clients/node."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import RUN, SixNodes, tool

pytestmark = pytest.mark.real

FOLDER = Path(__file__).parent / "node"


def run_script(script: str, *arguments: str) -> list[str]:
    """Names of the checks that held; AssertionError when the script fails or does not end."""
    program = tool("node", "nodejs")
    if not (FOLDER / "node_modules").is_dir():
        text = "npm packages are missing: (cd tests/clients/node && npm ci)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    done = subprocess.run([program, script, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=90)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{script} {arguments}\n{done.stdout}\n{done.stderr}"
    held = [line.removeprefix("ok ") for line in lines if line.startswith("ok ")]
    assert lines[-1] == f"all {len(held)} checks held"
    return held


def test_ioredis(six_nodes: SixNodes) -> None:
    held = run_script("ioredis.mjs", str(six_nodes.port), RUN)
    assert len(held) == 13
    assert {"crossslot", "scan", "big value", "auto pipelining over many slots", "reads from replicas"} <= set(held)


@pytest.mark.parametrize("resp", ["2", "3"])
def test_node_redis(six_nodes: SixNodes, resp: str) -> None:
    held = run_script("node-redis.mjs", str(six_nodes.port), RUN, resp)
    assert len(held) == 13
    assert {"crossslot", "scan", "big value", "pipeline over many slots", "knows replicas", "hello"} <= set(held)
