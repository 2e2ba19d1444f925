"""The README's six lines of redis-py, as they stand there, on six nodes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import SixNodes

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.real
def test_the_six_lines(six_nodes: SixNodes) -> None:
    found = re.search(r"<!-- example: redis-py -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None, "the README has no redis-py example"
    example = found[1].replace("7000", str(six_nodes.port))
    ran = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "Ada {'visits': '2', 'city': 'London'} ok\n"
