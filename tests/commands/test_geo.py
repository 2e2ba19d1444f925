"""Geo in process: searches beside an honest look at every place, distances, replies in both protocols."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.types import geohash
from node.types.geohash import Box, Circle, Place
from tests.commands.harness import Harness

places = st.builds(Place, st.floats(-180, 180), st.floats(-85, 85))


@given(places)
@settings(max_examples=300, deadline=None)
def test_a_place_comes_back(place: Place) -> None:
    place = Place(place.longitude * 0.999, place.latitude)
    score = geohash.encode(place)
    assert 0 <= score < 1 << 52
    back = geohash.decode(float(score))
    assert abs(back.longitude - place.longitude) < 360 / (1 << 26)
    assert abs(back.latitude - place.latitude) < 180 / (1 << 26)
    assert geohash.encode(back) == score


@given(places, places)
@settings(max_examples=200, deadline=None)
def test_distances(one: Place, other: Place) -> None:
    there, back = geohash.distance_m(one, other), geohash.distance_m(other, one)
    assert math.isclose(there, back, rel_tol=1e-9, abs_tol=1e-6)
    assert 0 <= there <= math.pi * 6372797.560856 * 1.000001


def test_known_places() -> None:
    palermo, catania = Place(13.361389, 38.115556), Place(15.087269, 37.502669)
    assert geohash.encode(palermo) == 3479099956230698
    assert geohash.to_text(3479099956230698.0) == b"sqc8b49rny0"
    assert 166_000 < geohash.distance_m(palermo, catania) < 167_000


@given(st.lists(places, min_size=1, max_size=40), places, st.floats(0, 4000), st.floats(0, 4000), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_search_misses_nothing(
    all_places: list[Place], center: Place, width_km: float, height_km: float, box: bool
) -> None:
    """Every place within the shape is in one of the ranges, away from the date line and the poles."""
    center = Place(center.longitude / 2, center.latitude * 0.6)
    shape = Box(center, width_km, height_km, 1000.0) if box else Circle(center, width_km / 2, 1000.0)
    ranges = list(geohash.ranges(shape))
    for place in all_places:
        score = geohash.encode(Place(place.longitude / 2, place.latitude * 0.6))
        within = shape.distance_m(geohash.decode(float(score))) is not None
        assert not within or any(low <= score < high for low, high in ranges)


def test_ranges_do_not_overlap() -> None:
    source = random.Random(1)
    for _ in range(500):
        center = Place(source.uniform(-180, 180), source.uniform(-85, 85))
        ranges = sorted(geohash.ranges(Circle(center, 10 ** source.uniform(0, 4.5), 1000.0)))
        assert 1 <= len(ranges) <= 9
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ranges))


@pytest.mark.parametrize("score", [-1.0, 2.0**52, 2.0**63, 2.0**64, 1e300, float("inf"), float("-inf"), 0.5])
def test_scores_that_are_no_places_do_no_harm(score: float) -> None:
    redis = Harness()
    redis.run("ZADD", "z", score, "odd", 3479099956230698, "Palermo")
    for request in (
        ("GEOPOS", "z", "odd"),
        ("GEOHASH", "z", "odd"),
        ("GEODIST", "z", "odd", "Palermo"),
        ("GEOSEARCH", "z", "FROMMEMBER", "odd", "BYRADIUS", 1e6, "km", "WITHDIST", "WITHCOORD"),
        ("GEOSEARCH", "z", "FROMMEMBER", "Palermo", "BYBOX", 1e6, 1e6, "km", "WITHDIST", "WITHCOORD"),
    ):
        assert redis.run(*request)


def test_coordinates_in_both_protocols() -> None:
    redis = Harness()
    redis.run("GEOADD", "g", 13.361389, 38.115556, "Palermo")
    pair = b"$20\r\n13.36138933897018433\r\n$20\r\n38.11555639549629859\r\n"
    assert redis.wire("GEOPOS", "g", "Palermo", "x") == b"*2\r\n*2\r\n" + pair + b"*-1\r\n"
    assert redis.wire("GEOPOS", "g", "Palermo", "x", protocol=3) == (
        b"*2\r\n*2\r\n,13.36138933897018433\r\n,38.11555639549629859\r\n_\r\n"
    )


def test_replicas_are_told_zadd() -> None:
    redis = Harness()
    told: list[list[bytes]] = []
    replication = redis.node.replication
    replication.feeding = True
    replication.feed = lambda database, args: told.append(list(args))  # type: ignore[method-assign]
    redis.run("GEOADD", "g", "NX", 13.361389, 38.115556, "Palermo")
    redis.run("GEOADD", "g", "NX", 1, 1, "Palermo")
    assert told == [[b"zadd", b"g", b"NX", b"3479099956230698", b"Palermo"]]
