"""Clients that live on an event loop: redis-py's asyncio cluster, coredis (anyio) and valkey-glide (a core in Rust)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis
from redis.asyncio.cluster import RedisCluster

from tests.clients.conftest import BIG, RUN, SixNodes, library

pytestmark = pytest.mark.real

async def eventually(look: Callable[[], Awaitable[Any]], wanted: Any, timeout_s: float = 10.0) -> None:
    """Wait until `look` answers what is wanted."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while (seen := await look()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"{seen!r} is not {wanted!r}"
        await asyncio.sleep(0.01)


# redis-py -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("in_c", [True, False], ids=["hiredis", "python"])
def test_redis_py(six_nodes: SixNodes, protocol: int, in_c: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not in_c:
        parse_in_python(monkeypatch, protocol)
    asyncio.run(use_redis_py(six_nodes.port, protocol, f"aio:{RUN}:{protocol}:{in_c}"))


def parse_in_python(monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    """Let connections parse replies in Python although hiredis is installed."""
    from redis._parsers import _AsyncHiredisParser, _AsyncRESP2Parser, _AsyncRESP3Parser
    from redis.asyncio.connection import AbstractConnection

    original = AbstractConnection.set_parser
    plain = _AsyncRESP3Parser if protocol == 3 else _AsyncRESP2Parser

    def set_parser(self: Any, parser: Any) -> None:
        original(self, plain if parser is _AsyncHiredisParser else parser)

    monkeypatch.setattr(AbstractConnection, "set_parser", set_parser)


async def use_redis_py(port: int, protocol: int, prefix: str) -> None:
    async with RedisCluster(host="127.0.0.1", port=port, protocol=protocol) as cluster:
        names = [f"{prefix}:{number}" for number in range(200)]
        assert await asyncio.gather(*(cluster.set(name, name) for name in names)) == [True] * 200
        values = await asyncio.gather(*(cluster.get(name) for name in names))
        assert values == [name.encode() for name in names]
        assert {name async for name in cluster.scan_iter(match=f"{prefix}:*")} == set(values)
        async with cluster.pipeline() as pipe:
            for name in names:
                pipe.strlen(name)
                pipe.hset(f"{name}:hash", mapping={"a": 1, "b": name})
                pipe.hgetall(f"{name}:hash")
            replies = await pipe.execute()
        assert replies[0::3] == [len(name) for name in names]
        assert replies[2::3] == [{b"a": b"1", b"b": name.encode()} for name in names]
        assert await cluster.mset({f"{{{prefix}}}:a": 1, f"{{{prefix}}}:b": 2})
        assert await cluster.mget(f"{{{prefix}}}:a", f"{{{prefix}}}:b") == [b"1", b"2"]
        node = cluster.get_node_from_key(names[0])
        with pytest.raises(redis.ResponseError, match="hash to the same slot"):
            await cluster.execute_command("MGET", *names, target_nodes=node)
        await cluster.set(names[0], "short", px=50)
        await eventually(lambda: cluster.get(names[0]), None)
        await cluster.set(names[1], BIG)
        assert await cluster.get(names[1]) == BIG
        await cluster.delete(names[1])
        binary = b"\r\n\0\xff" + prefix.encode()
        assert await cluster.set(binary, binary) and await cluster.get(binary) == binary


def test_redis_py_reads_from_replicas(six_nodes: SixNodes) -> None:
    from redis.cluster import LoadBalancingStrategy

    async def use() -> None:
        strategy = LoadBalancingStrategy.RANDOM_REPLICA
        async with RedisCluster(
            host="127.0.0.1", port=six_nodes.port, decode_responses=True, load_balancing_strategy=strategy
        ) as cluster:
            for number in range(50):
                name = f"aio:{RUN}:replica:{number}"
                await cluster.set(name, "here")
                await eventually(lambda name=name: cluster.get(name), "here")

    asyncio.run(use())


# coredis --------------------------------------------------------------------------------------------------------------


def test_coredis(six_nodes: SixNodes) -> None:
    coredis = library("coredis", "coredis")

    async def use() -> None:
        async with coredis.RedisCluster("127.0.0.1", six_nodes.port) as cluster:
            names = [f"coredis:{RUN}:{number}" for number in range(100)]
            for name in names:
                assert await cluster.set(name, name)
            assert [await cluster.get(name) for name in names] == [name.encode() for name in names]
            found = {name async for name in cluster.scan_iter(match=f"coredis:{RUN}:*")}
            assert found == {name.encode() for name in names}
            assert await cluster.hset(f"coredis:{RUN}:h", {"a": 1, b"\0": b"\xff"}) == 2
            assert await cluster.hgetall(f"coredis:{RUN}:h") == {b"a": b"1", b"\0": b"\xff"}
            tag = f"{{coredis:{RUN}}}"
            assert await cluster.mset({f"{tag}a": 1, f"{tag}b": 2})
            assert await cluster.mget([f"{tag}a", f"{tag}b", f"{tag}c"]) == (b"1", b"2", None)
            with pytest.raises(coredis.exceptions.RedisError):
                await cluster.rename(names[0], names[1])
            async with cluster.pipeline(transaction=False) as pipe:
                futures = [pipe.incr(f"{name}:n") for name in names]
            assert [await future for future in futures] == [1] * 100
            await cluster.set(names[0], BIG)
            assert await cluster.get(names[0]) == BIG
            assert await cluster.delete([names[0]]) == 1
            assert await cluster.expire(names[1], 100) and 90 < await cluster.ttl(names[1]) <= 100
            assert await cluster.set(names[2], "short", px=40)
            await eventually(lambda: cluster.get(names[2]), None)

    asyncio.run(use())


def test_coredis_reads_from_replicas_as_text(six_nodes: SixNodes) -> None:
    coredis = library("coredis", "coredis")

    async def use() -> None:
        async with coredis.RedisCluster(
            "127.0.0.1", six_nodes.port, decode_responses=True, read_from_replicas=True
        ) as cluster:
            for number in range(30):
                name = f"coredis:{RUN}:replica:{number}"
                await cluster.set(name, "hère")
                await eventually(lambda name=name: cluster.get(name), "hère")

    asyncio.run(use())


# valkey-glide ---------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def glide_client(six_nodes: SixNodes, resp: int = 3, **options: Any) -> AsyncIterator[Any]:
    glide = library("glide", "valkey-glide")
    configuration = glide.GlideClusterClientConfiguration(
        [glide.NodeAddress("127.0.0.1", six_nodes.port)],
        protocol=glide.ProtocolVersion.RESP3 if resp == 3 else glide.ProtocolVersion.RESP2,
        request_timeout=10_000,
        **options,
    )
    client = await glide.GlideClusterClient.create(configuration)
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("resp", [2, 3])
def test_glide(six_nodes: SixNodes, resp: int) -> None:
    glide = library("glide", "valkey-glide")
    prefix = f"glide:{RUN}:{resp}"

    async def use() -> None:
        async with glide_client(six_nodes, resp) as client:
            names = [f"{prefix}:{number}" for number in range(100)]
            assert await client.mset(dict.fromkeys(names, "same")) == "OK"  # split by slot by the client
            assert await client.mget([*names, f"{prefix}:none"]) == [b"same"] * 100 + [None]
            assert await client.exists(names) == 100
            for name in names:
                await client.set(name, name)
            assert await scan_with_glide(glide, client, f"{prefix}:*") == {name.encode() for name in names}
            batch = glide.ClusterBatch(is_atomic=False)
            for name in names:
                batch.incr(f"{name}:n")
                batch.get(name)
            replies = await client.exec(batch, raise_on_error=True)
            assert replies[0::2] == [1] * 100
            assert replies[1::2] == [name.encode() for name in names]
            assert await client.hset(f"{prefix}:h", {"a": "1", b"\0\r\n": b"\xff"}) == 2
            assert await client.hgetall(f"{prefix}:h") == {b"a": b"1", b"\0\r\n": b"\xff"}
            await client.set(names[0], BIG)
            assert await client.get(names[0]) == BIG
            assert await client.delete(names) == 100
            expiry = glide.ExpirySet(glide.ExpiryType.MILLSEC, 50)
            assert await client.set(names[0], "short", expiry=expiry) == "OK"
            assert 0 < await client.pttl(names[0]) <= 50
            await eventually(lambda: client.get(names[0]), None)
            with pytest.raises(glide.RequestError, match="slot"):
                await client.custom_command(["COPY", names[0], names[1]])
            sizes = await client.custom_command(["DBSIZE"])
            assert isinstance(sizes, int) and sizes >= 100
            info = await client.info([glide.InfoSection.SERVER], glide.AllNodes())
            assert len(info) == 6

    asyncio.run(use())


async def scan_with_glide(glide: Any, client: Any, pattern: str) -> set[bytes]:
    """The cluster scan, which glide's core drives by slots."""
    found: set[bytes] = set()
    cursor = glide.ClusterScanCursor()
    while not cursor.is_finished():
        cursor, names = await client.scan(cursor, match=pattern, count=100)
        found.update(names)
    return found


def test_glide_reads_from_replicas(six_nodes: SixNodes) -> None:
    glide = library("glide", "valkey-glide")

    async def use() -> None:
        async with glide_client(six_nodes, read_from=glide.ReadFrom.PREFER_REPLICA) as client:
            for number in range(30):
                name = f"glide:{RUN}:replica:{number}"
                await client.set(name, "here")
                await eventually(lambda name=name: client.get(name), b"here")

    asyncio.run(use())
