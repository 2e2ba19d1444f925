"""redis-py's methods for what streams learnt in Redis 8.2 and 8.4, through RedisCluster on six nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis.cluster import RedisCluster

from tests.clients.conftest import RUN, SixNodes

pytestmark = pytest.mark.real


@pytest.fixture(params=[2, 3])
def cluster(request: pytest.FixtureRequest, six_nodes: SixNodes) -> Iterator[Any]:
    client: Any
    with RedisCluster(host="127.0.0.1", port=six_nodes.port, protocol=request.param) as client:
        yield client


def test_entries_that_groups_know_of(cluster: Any, request: pytest.FixtureRequest) -> None:
    stream = f"{request.node.name}:{RUN}"
    given = [cluster.xadd(stream, {"number": number}) for number in range(6)]
    for name in ("first", "second"):
        cluster.xgroup_create(stream, name, 0)
        cluster.xreadgroup(name, "consumer", {stream: ">"})
    assert cluster.xdelex(stream, given[0], ref_policy="ACKED") == [2]
    assert cluster.xdelex(stream, given[0], "1-1", ref_policy="DELREF") == [1, -1]
    assert cluster.xackdel(stream, "first", given[1], ref_policy="ACKED") == [2]
    assert cluster.xackdel(stream, "second", given[1], ref_policy="ACKED") == [1]
    cluster.xadd(stream, {"number": 6}, maxlen=4, approximate=False, ref_policy="ACKED")
    assert cluster.xlen(stream) == 5, "nothing of the rest is acknowledged"
    assert cluster.xtrim(stream, maxlen=2, approximate=False, ref_policy="DELREF") == 3
    assert cluster.xpending(stream, "first")["pending"] == cluster.xpending(stream, "second")["pending"] == 1


def test_claiming_while_reading(cluster: Any, request: pytest.FixtureRequest) -> None:
    stream = f"{request.node.name}:{RUN}"
    old = cluster.xadd(stream, {"job": "old"})
    cluster.xgroup_create(stream, "workers", 0)
    cluster.xreadgroup("workers", "crashed", {stream: ">"})
    new = cluster.xadd(stream, {"job": "new"})
    reply = cluster.xreadgroup("workers", "other", {stream: ">"}, claim_min_idle_time=0)
    entries = reply[stream.encode()] if isinstance(reply, dict) else reply[0][1]
    if len(entries) == 1:
        [entries] = entries
    assert [entry[0] for entry in entries] == [old, new]
    assert [entry[1] for entry in entries] == [{b"job": b"old"}, {b"job": b"new"}]
    assert entries[0][3] == 1
    assert tuple(entries[1][2:]) == (0, 0)
