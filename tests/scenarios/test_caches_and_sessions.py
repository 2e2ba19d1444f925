"""Values that go away by themselves: a cache, sessions, a rate limit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import DataError, ResponseError

from tests.clients.up import until
from tests.scenarios.conftest import knows

pytestmark = pytest.mark.real
Name = Callable[[str], str]


def test_cache_with_ttl(client: Any, name: Name) -> None:
    """What is asked for is computed once, served from the cache while it lasts, and computed again afterwards."""
    computed: list[int] = []

    def product(number: int, ttl_ms: int) -> dict[str, int]:
        key = name(f"cache:{number}")
        if (cached := client.get(key)) is not None:
            found: dict[str, int] = json.loads(cached)
            return found
        computed.append(number)
        value = {"id": number, "price": number * 7}
        client.set(key, json.dumps(value), px=ttl_ms)
        return value

    for _ in range(3):
        assert [product(number, 60_000)["price"] for number in range(40)] == [number * 7 for number in range(40)]
    assert computed == list(range(40))
    assert 0 < client.pttl(name("cache:3")) <= 60_000
    product(99, ttl_ms=40)
    until(lambda: client.get(name("cache:99")) is None, "expired")
    assert client.ttl(name("cache:99")) == -2
    assert product(99, ttl_ms=60_000) == {"id": 99, "price": 693} and computed[-2:] == [99, 99]


def test_cache_across_slots(client: Any, name: Name) -> None:
    """Many keys at once, invalidation of one group by its tag, and a reader that keeps what it reads alive."""
    keys = [name(f"page:{number}") for number in range(100)]
    client.mset_nonatomic({key: f"<p>{key}" for key in keys})
    assert client.mget_nonatomic(keys) == [f"<p>{key}" for key in keys]
    tagged = [name("{shop}:" + str(number)) for number in range(10)]
    for key in tagged:
        client.set(key, "x", ex=100)
        client.sadd(name("{shop}:all"), key)
    assert client.unlink(*client.smembers(name("{shop}:all"))) == 10
    assert client.exists(*tagged) == 0
    assert client.set(keys[0], "new", keepttl=True) and client.ttl(keys[0]) == -1
    assert client.getex(keys[0], ex=500) == "new" and 0 < client.ttl(keys[0]) <= 500
    assert client.set(keys[0], "other", nx=True) is None
    assert client.set(keys[0], "newer", get=True) == "new" and client.ttl(keys[0]) == -1
    with pytest.raises(DataError):
        client.set(keys[0], "x", ex=1, px=1)


def test_sessions(client: Any, name: Name) -> None:
    """A hash a session: read and written field by field, kept alive by use, gone when it is not used."""
    key = name("session:4711")
    client.hset(key, mapping={"user": "ann", "csrf": "t0ken", "views": 0})
    client.expire(key, 600)
    for view in range(1, 6):
        assert client.hincrby(key, "views", view) == sum(range(view + 1))
        assert client.expire(key, 600 + 240 * view, gt=True)
    assert not client.expire(key, 60, gt=True)
    assert client.hgetall(key) == {"user": "ann", "csrf": "t0ken", "views": "15"}
    assert client.hmget(key, "user", "nothing") == ["ann", None]
    assert 600 < client.ttl(key) <= 1800
    client.hdel(key, "csrf")
    assert client.hexists(key, "csrf") in (0, False)
    with client.pipeline() as pipeline:  # a login elsewhere: all sessions of many users at once, whatever their slots
        for number in range(50):
            pipeline.hset(name(f"session:{number}"), mapping={"user": f"user{number}", "at": number})
            pipeline.expire(name(f"session:{number}"), 600)
        assert len(pipeline.execute()) == 100
    assert client.hget(name("session:33"), "user") == "user33"
    client.pexpire(key, 30)
    until(lambda: client.hgetall(key) == {}, "logged out")
    assert client.exists(key) == 0
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        client.incr(name("session:7"))


def test_fields_that_expire(client: Any, name: Name) -> None:
    """Where the server can, one-time secrets of a session leave before the session does."""
    key = name("session:otp")
    client.hset(key, mapping={"user": "ann", "otp": "123456"})
    if not knows(client, "HPEXPIRE"):
        with pytest.raises(ResponseError, match="unknown command"):
            client.execute_command("HPEXPIRE", key, 30, "FIELDS", 1, "otp")
        return
    assert client.hpexpire(key, 30, "otp") == [1]
    until(lambda: client.hget(key, "otp") is None, "expired")
    assert client.hgetall(key) == {"user": "ann"} and client.httl(key, "user") == [-1]


def test_fixed_window_limit(client: Any, name: Name) -> None:
    """INCR and EXPIRE: ten requests a window; the next window starts from nothing."""
    key = name("limit:10.0.0.1")

    def allowed(window_ms: int) -> bool:
        count = client.incr(key)
        if count == 1:
            client.pexpire(key, window_ms)
        return bool(count <= 10)

    assert [allowed(60_000) for _ in range(15)] == [True] * 10 + [False] * 5
    assert 0 < client.pttl(key) <= 60_000
    client.pexpire(key, 20)
    until(lambda: client.get(key) is None, "a new window")
    assert allowed(60_000)


def test_sliding_window_limit(client: Any, name: Name) -> None:
    """A sorted set of the times of requests; the clock is the test's, so the window slides as it says."""
    key = name("sliding:ann")
    limit, window_ms = 5, 1000

    def allowed(now_ms: int) -> bool:
        with client.pipeline(transaction=True) as pipeline:
            pipeline.zremrangebyscore(key, "-inf", f"({now_ms - window_ms}")
            pipeline.zadd(key, {f"{now_ms}:{time.perf_counter_ns()}": now_ms})
            pipeline.zcard(key)
            pipeline.pexpire(key, 600_000)
            count = pipeline.execute()[2]
        return bool(count <= limit)

    start_ms = 1_700_000_000_000
    assert [allowed(start_ms + 10 * step) for step in range(7)] == [True] * 5 + [False] * 2
    assert not allowed(start_ms + 1000)  # what was refused counts too
    assert allowed(start_ms + 2001)
    assert client.zcard(key) == 1
