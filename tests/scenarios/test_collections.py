"""Data that is asked questions: a leaderboard, places nearby, unique visitors, feature flags."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.real
Name = Callable[[str], str]
PLAYERS = {2: 10_000, 3: 100_000}
"""By protocol, so that the two together stay short."""


def test_leaderboard(client: Any, name: Name, protocol: int) -> None:
    """Ranks, the top, the neighbours of a player, beside the same in Python."""
    board, count, source = name("board"), PLAYERS[protocol], random.Random(4)
    scores = {f"player:{number:06d}": float(source.randrange(1_000_000)) for number in range(count)}
    players = list(scores.items())
    for start in range(0, count, 5000):
        assert client.zadd(board, dict(players[start : start + 5000])) == min(5000, count - start)
    for player in source.sample(list(scores), 200):
        scores[player] += 1000.5
        assert client.zincrby(board, 1000.5, player) == scores[player]
    best = sorted(scores.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)
    assert client.zcard(board) == count
    top = client.zrange(board, 0, 9, desc=True, withscores=True)
    assert [tuple(pair) for pair in top] == best[:10]
    for rank in source.sample(range(count), 50):
        player, score = best[rank]
        assert client.zrevrank(board, player) == rank
        assert client.zrank(board, player) == count - 1 - rank
        assert client.zscore(board, player) == score
    rank = count // 2
    around = client.zrange(board, rank - 5, rank + 5, desc=True)
    assert around == [player for player, _ in best[rank - 5 : rank + 6]]
    low, high = 250_000, 260_000
    assert client.zcount(board, low, f"({high}") == sum(low <= score < high for score in scores.values())
    page = client.zrange(board, high, low, byscore=True, desc=True, offset=3, num=5)
    assert page == [player for player, score in best if low <= score <= high][3:8]
    assert client.zadd(board, {best[0][0]: 1.0}, gt=True) == 0 and client.zscore(board, best[0][0]) == best[0][1]
    assert client.zremrangebyrank(board, 0, count - 101) == count - 100
    assert client.zrange(board, 0, -1, desc=True) == [player for player, _ in best[:100]]


CITIES = {
    "Palermo": (13.361389, 38.115556), "Catania": (15.087269, 37.502669), "Roma": (12.496366, 41.902782),
    "Napoli": (14.268120, 40.851775), "Tunis": (10.181532, 36.806495), "Valletta": (14.514100, 35.898900),
}  # fmt: skip


def test_nearby(client: Any, name: Name) -> None:
    """Places within a radius and a box, nearest first, with distances; moved places are found where they are."""
    key = name("{geo}:places")
    assert client.geoadd(key, [word for city, place in CITIES.items() for word in (*place, city)]) == len(CITIES)
    assert client.geodist(key, "Palermo", "Catania", unit="km") == pytest.approx(166.2742, abs=0.001)
    found = client.geosearch(key, member="Palermo", radius=300, unit="km", sort="ASC", withdist=True)
    assert [city for city, _ in found] == ["Palermo", "Catania", "Valletta"]
    distances = [distance for _, distance in found]
    assert distances == sorted(distances) and distances[-1] <= 300
    boxed = client.geosearch(key, longitude=15, latitude=37, width=400, height=400, unit="km", sort="DESC")
    assert set(boxed) == {"Palermo", "Catania", "Valletta"}
    assert client.geosearch(key, longitude=15, latitude=37, radius=900, unit="km", sort="ASC", count=1) == ["Catania"]
    [place] = client.geopos(key, "Roma")
    assert place == pytest.approx(CITIES["Roma"], abs=1e-5)
    assert client.geohash(key, "Palermo", "Catania") == ["sqc8b49rny0", "sqdtr74hyu0"]
    near = name("{geo}:near")
    assert client.geosearchstore(near, key, member="Napoli", radius=200, unit="km", storedist=True) == 2
    assert client.zrange(near, 0, -1) == ["Napoli", "Roma"]
    client.geoadd(key, [*CITIES["Roma"], "Catania"], xx=True)
    assert set(client.geosearch(key, member="Roma", radius=1, unit="km")) == {"Roma", "Catania"}


def test_unique_visitors(client: Any, name: Name) -> None:
    """Twelve kilobytes a day whatever comes; days together count who came on several once; within 3 %."""
    source = random.Random(11)
    seen: list[set[int]] = []
    for day in range(3):
        visitors = {source.randrange(30_000) for _ in range(8000)}
        seen.append(visitors)
        ordered = sorted(visitors)
        for start in range(0, len(ordered), 1000):
            client.pfadd(name("{hll}:" + str(day)), *ordered[start : start + 1000])
    days = [name("{hll}:" + str(day)) for day in range(3)]
    for day, visitors in zip(days, seen, strict=True):
        assert client.pfcount(day) == pytest.approx(len(visitors), rel=0.03)
        assert client.strlen(day) <= 12304
        assert client.pfadd(day, *list(visitors)[:100]) == 0
    union = set().union(*seen)
    assert client.pfcount(*days) == pytest.approx(len(union), rel=0.03)
    assert client.pfmerge(name("{hll}:week"), *days)
    assert client.pfcount(name("{hll}:week")) == client.pfcount(*days)


def test_feature_flags(client: Any, name: Name) -> None:
    """A bit a user: who has a feature, how many have, who has both; small counters in a bit field."""
    source = random.Random(3)
    dark, beta = name("{flags}:dark"), name("{flags}:beta")
    has: dict[str, set[int]] = {key: set(source.sample(range(20_000), 300)) for key in (dark, beta)}
    with client.pipeline() as pipeline:
        for key, users in has.items():
            for user in users:
                pipeline.setbit(key, user, 1)
        assert set(pipeline.execute()) == {0}
    for key, users in has.items():
        assert client.bitcount(key) == len(users)
        assert client.bitpos(key, 1) == min(users)
        for user in source.sample(range(20_000), 30):
            assert client.getbit(key, user) == (user in users)
    results = {"AND": has[dark] & has[beta], "OR": has[dark] | has[beta], "XOR": has[dark] ^ has[beta]}
    for operation, users in results.items():
        client.bitop(operation, name("{flags}:result"), dark, beta)
        assert client.bitcount(name("{flags}:result")) == len(users)
    user = min(has[dark])
    assert client.setbit(dark, user, 0) == 1 and client.getbit(dark, user) == 0
    assert client.bitcount(dark, 0, 799, "BIT") == len([one for one in has[dark] - {user} if one < 800])
    field = client.bitfield(name("{flags}:tries"), default_overflow="SAT")
    assert field.incrby("u2", "#5", 2).incrby("u2", "#5", 2).get("u2", "#5").get("u2", "#4").execute() == [2, 3, 3, 0]
