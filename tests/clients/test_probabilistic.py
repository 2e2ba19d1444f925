"""redis-py's bf(), cf(), cms(), topk() and tdigest() on a node of ours, and what its replica gets by full sync and after.

And a reply to each in both protocols, parsed as redis-py parses those of Redis 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with start("hashslot", tmp_path_factory.mktemp("probabilistic")) as one:
        yield one


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Any]:
    with server.connect(protocol=request.param, decode_responses=True) as one:
        one.flushall()
        yield one


def facts(info: Any, *names: str) -> list[Any]:
    """Some facts of an INFO reply, by the names on the wire: redis-py makes an object of it, in RESP3 a dict."""
    attributes = {
        "Capacity": "capacity",
        "Number of items inserted": "insertedNum",
        "Number of items deleted": "deletedNum",
        "Number of filters": "filterNum",
        "Expansion rate": "expansionRate",
        "Bucket size": "bucketSize",
        "Max iterations": "maxIteration",
        "Compression": "compression",
        "Merged weight": "merged_weight",
        "Unmerged weight": "unmerged_weight",
    }
    return [info[name] if isinstance(info, dict) else info[attributes.get(name, name)] for name in names]


def copied(filters: Any, key: str, twin: str) -> None:
    """Copy a filter with SCANDUMP and LOADCHUNK."""
    number = 0
    while True:
        number, piece = filters.scandump(key, number)
        if number == 0:
            return
        filters.loadchunk(twin, number, piece)


def test_bf(client: Any, server: ServerProcess) -> None:
    bf = client.bf()
    assert bf.create("b", 0.01, 1000, expansion=4)
    assert bf.add("b", "a") == 1
    assert bf.madd("b", "a", "b") == [0, 1]
    assert bf.insert("new", ["x", "y"], capacity=10, error=0.1) == [1, 1]
    assert (bf.exists("b", "a"), bf.mexists("b", "a", "z")) == (1, [1, 0])
    names = ("Capacity", "Number of items inserted", "Number of filters", "Expansion rate")
    assert facts(bf.info("b"), *names) == [1000, 2, 1, 4]
    assert bf.card("b") == 2
    copied(server.client.bf(), "b", "twin")
    assert bf.mexists("twin", "a", "b", "z") == [1, 1, 0]


def test_cf(client: Any, server: ServerProcess) -> None:
    cf = client.cf()
    assert cf.create("f", 1000, expansion=2, bucket_size=4, max_iterations=30)
    assert (cf.add("f", "a"), cf.addnx("f", "a"), cf.addnx("f", "b")) == (1, 0, 1)
    assert cf.insert("f", ["c", "c"]) == [1, 1]
    assert cf.insertnx("f", ["c", "d"]) == [0, 1]
    assert (cf.exists("f", "c"), cf.mexists("f", "c", "z"), cf.count("f", "c")) == (1, [1, 0], 2)
    assert (cf.delete("f", "a"), cf.delete("f", "z")) == (1, 0)
    names = ("Number of items inserted", "Number of items deleted", "Bucket size", "Max iterations")
    assert facts(cf.info("f"), *names) == [4, 1, 4, 30]
    copied(server.client.cf(), "f", "twin")
    assert cf.mexists("twin", "b", "c", "d", "z") == [1, 1, 1, 0]


def test_cms(client: Any) -> None:
    cms = client.cms()
    assert cms.initbydim("s", 1000, 5) and cms.initbydim("other", 1000, 5) and cms.initbyprob("p", 0.01, 0.01)
    assert cms.incrby("s", ["a", "b"], [5, 10]) == [5, 10]
    assert cms.query("s", "a", "b", "c") == [5, 10, 0]
    assert cms.merge("other", 1, ["s"], [3])
    assert cms.query("other", "a") == [15]
    assert facts(cms.info("other"), "width", "depth", "count") == [1000, 5, 45]


def test_topk(client: Any) -> None:
    topk = client.topk()
    assert topk.reserve("t", 2, 50, 4, 0.9)
    assert topk.add("t", "a", "b", "a") == [None, None, None]
    assert topk.incrby("t", ["c"], [9]) == ["b"]
    assert topk.query("t", "a", "b") == [1, 0]
    assert topk.list("t") == ["c", "a"]
    assert topk.list("t", withcount=True) == ["c", 9, "a", 2]
    assert [float(one) for one in facts(topk.info("t"), "k", "width", "depth", "decay")] == [2, 50, 4, 0.9]


def test_tdigest(client: Any) -> None:
    td = client.tdigest()
    assert td.create("d", 100)
    td.add("d", list(range(1, 100)))
    assert (td.min("d"), td.max("d")) == (1, 99)
    assert [float(one) for one in td.quantile("d", 0, 0.5, 1)] == [1, 50, 99]
    assert [float(one) for one in td.cdf("d", 0, 100)] == [0, 1]
    assert (td.rank("d", 10), td.revrank("d", 10)) == ([9], [89])
    assert [float(one) for one in td.byrank("d", 0, 500)] == [1, float("inf")]
    assert [float(one) for one in td.byrevrank("d", 0)] == [99]
    assert td.trimmed_mean("d", 0.1, 0.9) == pytest.approx(50, abs=0.6)
    td.create("to", 50)
    td.merge("to", 1, "d", compression=200, override=True)
    assert facts(td.info("to"), "Compression", "Capacity") == [200, 1210]
    td.reset("d")
    assert facts(td.info("d"), "Merged weight", "Unmerged weight") == [0, 0]


def test_a_replica_has_the_same_bytes(server: ServerProcess, tmp_path: Path) -> None:
    primary = server.client
    primary.flushall()

    def write(first: int) -> None:
        items = range(first, first + 300)
        primary.bf().madd("b", *items)
        primary.cf().insert("f", items, capacity=100)
        primary.cms().incrby("s", items, items)
        primary.topk().add("t", *[at % 30 for at in items])
        primary.tdigest().add("d", items)

    primary.cms().initbydim("s", 200_000, 2)
    primary.topk().reserve("t", 5, 8, 3, 0.9)
    primary.tdigest().create("d", 20)
    write(0)
    with start("hashslot", tmp_path) as replica:
        replica.client.replicaof("127.0.0.1", server.port)
        replica.until_in_sync()
        write(300)
        primary.tdigest().quantile("d", 0.5)
        replica.until_caught_up(server)
        keys = ["b", "d", "f", "s", "t"]
        assert sorted(key.decode() for key in replica.client.scan_iter()) == keys
        assert [replica.client.type(key) for key in keys] == [
            b"MBbloom--",
            b"TDIS-TYPE",
            b"MBbloomCF",
            b"CMSk-TYPE",
            b"TopK-TYPE",
        ]
        for key in keys:
            assert replica.client.dump(key) == primary.dump(key), key
