"""Who may do what when: a lock with a token and a timeout, and transactions that notice the others."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.exceptions import RedisClusterException, RedisError, ResponseError, WatchError

from tests.clients.up import until
from tests.scenarios.conftest import knows

pytestmark = pytest.mark.real
Name = Callable[[str], str]
WORKERS = 4


def release_by_watching(client: Any, key: str, token: str) -> bool:
    """Delete the lock if it is still ours, without a script and without DELEX."""
    with client.pipeline(transaction=True) as pipeline:
        try:
            pipeline.watch(key)
            if pipeline.get(key) != token:
                return False
            pipeline.multi()
            pipeline.delete(key)
            return bool(pipeline.execute()[0])
        except WatchError:
            return False


def release_by_value(client: Any, key: str, token: str) -> bool:
    """The same in one command of Redis 8.4."""
    return bool(client.execute_command("DELEX", key, "IFEQ", token))


Release = Callable[[Any, str, str], bool]


def _releases(client: Any) -> list[Release]:
    return [release_by_watching, *([release_by_value] if knows(client, "DELEX") else [])]


def test_lock_excludes(client: Any, connect: Callable[[], Any], name: Name) -> None:
    """Several workers read, add one and write back under the lock: nothing is lost."""
    clients = [connect() for _ in range(WORKERS)]
    for turn, release in enumerate(_releases(client)):
        lock, counter = name(f"lock:{turn}"), name(f"counter:{turn}")
        client.set(counter, 0)

        def work(own: Any, lock: str = lock, counter: str = counter, release: Release = release) -> None:
            for _ in range(10):
                token = secrets.token_hex(8)
                until(lambda token=token: own.set(lock, token, nx=True, px=30_000), "locked")
                own.set(counter, int(own.get(counter)) + 1)
                assert release(own, lock, token)

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, clients))
        assert client.get(counter) == str(10 * WORKERS)
        assert client.exists(lock) == 0


def test_lock_that_ran_out_is_not_released_by_its_old_owner(client: Any, name: Name) -> None:
    for turn, release in enumerate(_releases(client)):
        key = name(f"lock:{turn}")
        assert client.set(key, "first", nx=True, px=20)
        until(lambda key=key: client.set(key, "second", nx=True, px=60_000), "taken over")
        assert not release(client, key, "first")
        assert client.get(key) == "second"
        assert release(client, key, "second") and not release(client, key, "second")


def test_library_lock_needs_scripts_or_works(client: Any, name: Name) -> None:
    """redis-py's own Lock releases with a Lua script: on servers without EVAL it says so, and the lock stays."""
    key = name("library lock")
    lock = client.lock(key, timeout=60)
    assert lock.acquire(blocking=False)
    if knows(client, "EVALSHA"):
        lock.release()
        assert client.exists(key) == 0
    else:
        with pytest.raises(RedisError):
            lock.release()
        assert client.exists(key) == 1


def test_transfer_between_accounts(client: Any, connect: Callable[[], Any], name: Name) -> None:
    """Optimistic transactions on one slot: whoever was overtaken tries again, and no money is made or lost."""
    accounts = [name("{bank}:" + owner) for owner in ("ann", "bob", "cem")]
    client.mset(dict.fromkeys(accounts, 100))
    lost: list[int] = []

    def transfer(own: Any, source: str, target: str, amount: int) -> None:
        while True:
            with own.pipeline(transaction=True) as pipeline:
                try:
                    pipeline.watch(source, target)
                    if int(pipeline.get(source)) < amount:
                        return
                    pipeline.multi()
                    pipeline.decrby(source, amount)
                    pipeline.incrby(target, amount)
                    pipeline.execute()
                    return
                except WatchError:
                    lost.append(1)

    def work(number: int) -> None:
        own = clients[number]
        for step in range(15):
            transfer(own, accounts[(number + step) % 3], accounts[(number + step + 1) % 3], 1 + step % 5)

    clients = [connect() for _ in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    balances = [int(text) for text in client.mget(accounts)]
    assert sum(balances) == 300 and min(balances) >= 0


def test_watch_sees_every_kind_of_change(client: Any, connect: Callable[[], Any], name: Name) -> None:
    key, other = name("{w}:key"), name("{w}:other")
    rival = connect()
    changes: list[Callable[[], Any]] = [
        lambda: rival.set(key, "new"),
        lambda: rival.delete(key),
        lambda: rival.rename(other, key),
        lambda: rival.expire(key, 1000),
        lambda: rival.append(key, "x"),
    ]
    for change in changes:
        client.mset({key: "value", other: "other"})
        with client.pipeline(transaction=True) as pipeline:
            pipeline.watch(key)
            pipeline.get(key)
            change()
            pipeline.multi()
            pipeline.set(key, "mine")
            with pytest.raises(WatchError):
                pipeline.execute()
        assert client.get(key) != "mine"


def test_transactions_stay_in_one_slot(client: Any, name: Name) -> None:
    with client.pipeline(transaction=True) as pipeline, pytest.raises((RedisClusterException, ResponseError)):
        pipeline.set(name("{a}"), 1)
        pipeline.set(name("{b}"), 1)
        pipeline.execute()
    assert client.get(name("{a}")) is None
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set(name("{a}:list"), "no list")
        pipeline.lpush(name("{a}:list"), "x")
        pipeline.set(name("{a}:after"), "still done")
        replies = pipeline.execute(raise_on_error=False)
    assert replies[0] in (True, "OK") and isinstance(replies[1], ResponseError) and "WRONGTYPE" in str(replies[1])
    assert client.get(name("{a}:after")) == "still done"
