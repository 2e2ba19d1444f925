"""What the client tests share; the six nodes that they run against are in `six_nodes`."""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any

import pytest

from tests.clients.six_nodes import RUN, SixNodes, show_replicas

__all__ = ["BIG", "RUN", "SixNodes", "library", "show_replicas", "tool"]

BIG = bytes(range(256)) * 40960
"""10 MiB with every byte value in it."""


def _missing(text: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def library(name: str, package: str) -> Any:
    """A client library; missing, it fails the test in CI and skips it elsewhere."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _missing(f"{name} is missing: pip install {package}")


def tool(name: str, package: str) -> str:
    """The path of a program; missing, it fails the test in CI and skips it elsewhere."""
    found = shutil.which(name)
    if found is None:
        _missing(f"{name} is missing: apt-get install {package}")
        raise AssertionError
    return found
