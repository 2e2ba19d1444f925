"""redis-py's json(): every method, in both protocols, on one node and on six; documents outlive a full sync."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster
from redis.commands.json.path import Path

from tests.clients.conftest import RUN, SixNodes
from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real

DOC = {"n": 1, "f": 2.5, "s": "ab", "b": True, "z": None, "a": [1, 2, 3], "o": {"n": 4, "a": ["x"]}}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with start("hashslot", tmp_path_factory.mktemp("json")) as server:
        yield server


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, node: ServerProcess) -> Iterator[Any]:
    with redis.Redis(port=node.port, protocol=request.param, decode_responses=True) as connected:
        connected.flushall()
        connected.protocol = request.param
        assert connected.json().set("d", "$", DOC) is True
        yield connected


def test_documents(client: Any, tmp_path: FilePath) -> None:
    documents = client.json()
    assert documents.get("d") == DOC
    assert documents.get("d", "$") == [DOC]
    assert documents.get("d", "$.n", "$..a") == {"$.n": [1], "$..a": [[1, 2, 3], ["x"]]}
    assert documents.get("d", Path(".s"), no_escape=True) == "ab"
    assert documents.get("none") is None
    assert documents.set("d", "$.n", 5, nx=True) is None
    assert documents.set("none", "$", 5, xx=True) is None
    assert documents.set("d", "$.new", [1.5], fpha="FP32") is True
    assert documents.mset([("d", "$.n", 9), ("e", "$", {"n": 10})]) is True
    assert documents.mget(["d", "e", "none"], "$.n") == [[9], [10], None]
    assert documents.merge("e", "$", {"n": None, "m": {"k": []}}) is True
    assert documents.get("e", "$") == [{"m": {"k": []}}]
    (tmp_path / "one.json").write_text(json.dumps({"x": "é"}))
    assert documents.set_file("file", "$", str(tmp_path / "one.json")) is True
    assert documents.get("file") == {"x": "é"}
    assert list(documents.set_path("$", str(tmp_path)).values()) == [True]
    assert documents.delete("d", "$..a") == 2
    assert documents.forget("d", "$.none") == 0
    assert documents.clear("d", "$.o") == 1
    assert documents.delete("d") == 1
    assert client.exists("d") == 0
    assert client.type("e") == "ReJSON-RL"
    with pytest.raises(redis.ResponseError, match="new objects must be created at the root"):
        documents.set("none", "$.a", 1)


def test_values(client: Any) -> None:
    documents = client.json()
    assert documents.type("d", "$.*") in (
        [["integer", "number", "string", "boolean", "null", "array", "object"]],
        ["integer", "number", "string", "boolean", "null", "array", "object"],
    )
    assert documents.type("none") in (None, [None])
    assert documents.numincrby("d", "$..n", 2) == [3, 6]
    assert documents.numincrby("d", ".n", 2) == ([5] if client.protocol == 3 else 5)
    assert documents.nummultby("d", "$.f", 2) == [5.0]
    assert documents.nummultby("d", "$.*", 2)[:3] == [10, 10.0, None]
    assert documents.strappend("d", "cd", "$.s") == [4]
    assert documents.strlen("d", "$.s") == [4]
    assert documents.strlen("d", ".s") == 4
    assert documents.toggle("d", "$.b") == [False]
    assert documents.toggle("d", "$.n") == [None]
    assert documents.objkeys("d", "$.o") == [["n", "a"]]
    assert documents.objkeys("d", ".o") == ["n", "a"]
    assert documents.objlen("d", "$") == [7]
    assert documents.objlen("d", ".o") == 2
    assert documents.resp("d", ".a") == ["[", 1, 2, 3]
    assert documents.debug("MEMORY", "d", "$.n") == [8]
    assert documents.debug("MEMORY", "d") > 100
    assert len(documents.debug("HELP")) == 2


def test_arrays(client: Any) -> None:
    documents = client.json()
    assert documents.arrappend("d", "$.a", 4, {"x": 5}) == [5]
    assert documents.arrappend("d", ".a", 6) == 6
    assert documents.arrindex("d", "$.a", {"x": 5}) == [4]
    assert documents.arrindex("d", "$.a", 1, 1, 3) == [-1]
    assert documents.arrinsert("d", "$.a", 0, "first") == [7]
    assert documents.arrlen("d", "$..a") == [7, 1]
    assert documents.arrlen("d", ".a") == 7
    assert documents.arrpop("d", "$.a") == ["6"] or documents.get("d", "$.a[-1]") == [{"x": 5}]
    assert documents.arrpop("d", ".a", 0) == "first"
    assert documents.arrtrim("d", "$.a", 1, 2) == [2]
    assert documents.get("d", "$.a") == [[2, 3]]
    with pytest.raises(redis.ResponseError, match="index out of bounds"):
        documents.arrinsert("d", "$.a", 9, 0)


def test_filters(client: Any) -> None:
    books = [{"title": f"t{number}", "price": number / 2, "tags": ["x"] * (number % 3)} for number in range(20)]
    client.json().set("books", "$", {"books": books, "limit": 3})
    assert client.json().get("books", '$.books[?(@.price < $.limit && @.title =~ "[13]$")].title') == ["t1", "t3"]
    assert client.json().get("books", "$..[?(@.tags[1])].price") == [number / 2 for number in range(20) if number % 3 == 2]


def test_pipelines_and_transactions(client: Any) -> None:
    pipeline = client.json().pipeline()
    pipeline.set("p", "$", {"a": 1})
    pipeline.numincrby("p", "$.a", 1)
    pipeline.get("p")
    assert pipeline.execute() == [True, [2], {"a": 2}]


def test_a_replica_gets_documents(node: ServerProcess, client: Any, tmp_path: FilePath) -> None:
    with start("hashslot", tmp_path) as replica:
        client.json().set("big", "$", {"list": [{"n": number, "text": "é" * 50} for number in range(5000)]})
        replica.client.replicaof("127.0.0.1", node.port)
        replica.until_in_sync()
        client.json().numincrby("big", "$.list[*].n", 1)
        client.json().delete("d", "$.a")
        replica.until_caught_up(node)
        for key in ("d", "big"):
            assert replica.client.dump(key) == node.client.dump(key)
        assert replica.client.json().get("big", "$.list[4999].n") == [5000]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_cluster(six_nodes: SixNodes, protocol: int) -> None:
    if not six_nodes.ours:
        pytest.skip("the cluster is another's")
    with RedisCluster(host="127.0.0.1", port=six_nodes.port, protocol=protocol, decode_responses=True) as cluster:
        for number in range(30):
            name = f"json:{RUN}:{protocol}:{number}"
            assert cluster.json().set(name, "$", {"n": number}) is True
            assert cluster.json().numincrby(name, "$.n", 1) == [number + 1]
            assert cluster.json().get(name) == {"n": number + 1}
        tag = f"{{json:{RUN}:{protocol}}}"
        assert cluster.json().mset([(f"{tag}{number}", "$", [number]) for number in range(5)]) is True
        assert cluster.json().mget([f"{tag}{number}" for number in range(5)], "$[0]") == [[number] for number in range(5)]
