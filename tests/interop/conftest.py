"""One cluster for the tests of this folder that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.test_mixed_cluster import Mixed


@pytest.fixture(scope="package")
def all_kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    """Three primaries and four replicas of all kinds."""
    cluster = Mixed(tmp_path_factory.mktemp("mixed"))
    try:
        cluster.start_all()
        cluster.link()
        yield cluster
    finally:
        for node in cluster.nodes.values():
            node.stop()
