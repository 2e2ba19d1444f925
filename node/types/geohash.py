"""Places on earth as 52-bit numbers, and which of them lie within a shape: pure arithmetic, bit for bit that of Redis.

A place is a cell of a grid of 2^26 by 2^26 over -180..180 degrees of longitude and -85.05..85.05 of latitude (what Web
Mercator shows); its number interleaves the bits of column and row, so that what shares a prefix is near. As scores of
a sorted set such numbers make every cell of a coarser grid a range of scores. `geohash.c`, `geohash_helper.c` and
`geo.c` of Redis 7.2 define which cells a search visits and in which order, and with it the order of its results.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

LONGITUDE_MAX = 180.0
LATITUDE_MAX = 85.05112878
STEP_MAX = 26
"""Bits of a column or row in the finest grid."""

_EARTH_RADIUS_M = 6372797.560856
_MERCATOR_MAX_M = 20037726.37
_RADIANS = math.pi / 180.0
_ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"
_TEXT_LENGTH = 11
_WORD = (1 << 64) - 1
_OUT_OF_RANGE = 1 << 63
"""What a C program on x86 makes of a double that is no 64-bit integer."""


class Place(NamedTuple):
    """Degrees, east and north positive."""

    longitude: float
    latitude: float


class Cell(NamedTuple):
    """A cell of the grid of 2^step columns and rows; `bits` interleaves them, the row in the even bits."""

    bits: int
    step: int


class _Area(NamedTuple):
    """The edges of a cell, in degrees."""

    west: float
    east: float
    south: float
    north: float


# Numbers and places ---------------------------------------------------------------------------------------------------


def _spread(value: int) -> int:
    """The 32 bits of a number with a zero before each."""
    value = (value | value << 16) & 0x0000FFFF0000FFFF
    value = (value | value << 8) & 0x00FF00FF00FF00FF
    value = (value | value << 4) & 0x0F0F0F0F0F0F0F0F
    value = (value | value << 2) & 0x3333333333333333
    return (value | value << 1) & 0x5555555555555555


def _gathered(value: int) -> int:
    """Every second bit of 64, from the lowest on: the inverse of `_spread`."""
    value &= 0x5555555555555555
    value = (value | value >> 1) & 0x3333333333333333
    value = (value | value >> 2) & 0x0F0F0F0F0F0F0F0F
    value = (value | value >> 4) & 0x00FF00FF00FF00FF
    value = (value | value >> 8) & 0x0000FFFF0000FFFF
    return (value | value >> 16) & 0x00000000FFFFFFFF


def _column_and_row(bits: int) -> tuple[int, int]:
    return _gathered(bits >> 1), _gathered(bits)


def _cell(longitude: float, latitude: float, step: int, latitude_max: float = LATITUDE_MAX) -> Cell:
    cells = 1 << step
    column = int((longitude + LONGITUDE_MAX) / (2 * LONGITUDE_MAX) * cells)
    row = int((latitude + latitude_max) / (2 * latitude_max) * cells)
    return Cell(_spread(row & 0xFFFFFFFF) | _spread(column & 0xFFFFFFFF) << 1, step)


def _area(cell: Cell) -> _Area:
    column, row = _column_and_row(cell.bits)
    cells = float(1 << cell.step)
    width, height = 2 * LONGITUDE_MAX, 2 * LATITUDE_MAX
    return _Area(
        -LONGITUDE_MAX + column / cells * width,
        -LONGITUDE_MAX + (column + 1) / cells * width,
        -LATITUDE_MAX + row / cells * height,
        -LATITUDE_MAX + (row + 1) / cells * height,
    )


def is_on_the_map(place: Place) -> bool:
    """Whether a place can be stored."""
    return abs(place.longitude) <= LONGITUDE_MAX and abs(place.latitude) <= LATITUDE_MAX


def encode(place: Place) -> int:
    """The 52-bit number of a place, its score."""
    return _cell(place.longitude, place.latitude, STEP_MAX).bits


def _bits_of(score: float) -> int:
    """A score as the bits of a cell; scores that GEOADD did not make are read as C reads them."""
    if not -_OUT_OF_RANGE <= score < 2 * _OUT_OF_RANGE:
        return _OUT_OF_RANGE
    return int(score) & _WORD


def decode(score: float) -> Place:
    """The middle of the cell that a score stands for."""
    area = _area(Cell(_bits_of(score), STEP_MAX))
    longitude = (area.west + area.east) / 2
    latitude = (area.south + area.north) / 2
    return Place(max(-LONGITUDE_MAX, min(longitude, LONGITUDE_MAX)), max(-LATITUDE_MAX, min(latitude, LATITUDE_MAX)))


def to_text(score: float) -> bytes:
    """The 11 letters of GEOHASH, which everybody's geohash has: over all latitudes, and its last letter is always 0."""
    place = decode(score)
    bits = _cell(place.longitude, place.latitude, STEP_MAX, 90.0).bits
    letters = [_ALPHABET[bits >> (52 - 5 * (at + 1)) & 31] for at in range(_TEXT_LENGTH - 1)]
    return "".join([*letters, "0"]).encode()


# Distances ------------------------------------------------------------------------------------------------------------


def _north_south_m(one: float, other: float) -> float:
    return _EARTH_RADIUS_M * abs(other * _RADIANS - one * _RADIANS)


def distance_m(one: Place, other: Place) -> float:
    """Metres between two places on a sphere (haversine)."""
    across = math.sin((other.longitude * _RADIANS - one.longitude * _RADIANS) / 2)
    if across == 0.0:
        return _north_south_m(one.latitude, other.latitude)
    south, north = one.latitude * _RADIANS, other.latitude * _RADIANS
    along = math.sin((north - south) / 2)
    share = along * along + math.cos(south) * math.cos(north) * across * across
    return 2.0 * _EARTH_RADIUS_M * math.asin(math.sqrt(min(share, 1.0)))


# Shapes ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Circle:
    """All places within `radius` units of the center; unit_m: metres in a unit."""

    center: Place
    radius: float
    unit_m: float

    @property
    def half_size_m(self) -> tuple[float, float]:
        """Half of width and height."""
        return self.radius * self.unit_m, self.radius * self.unit_m

    @property
    def reach_m(self) -> float:
        """How far from the center it goes."""
        return self.radius * self.unit_m

    def distance_m(self, place: Place) -> float | None:
        """Metres from the center; None for a place outside."""
        distance = distance_m(self.center, place)
        return distance if distance <= self.radius * self.unit_m else None


@dataclass(frozen=True, slots=True)
class Box:
    """All places at most half of `width` units to the side of the center and half of `height` above or below it."""

    center: Place
    width: float
    height: float
    unit_m: float

    @property
    def half_size_m(self) -> tuple[float, float]:
        """Half of width and height."""
        return self.unit_m * (self.width / 2), self.unit_m * (self.height / 2)

    @property
    def reach_m(self) -> float:
        """How far from the center it goes: to its corners."""
        half_width, half_height = self.width / 2, self.height / 2
        return math.sqrt(half_width * half_width + half_height * half_height) * self.unit_m

    def distance_m(self, place: Place) -> float | None:
        """Metres from the center; None for a place outside."""
        center = self.center
        if _north_south_m(place.latitude, center.latitude) > self.height * self.unit_m / 2:
            return None
        beside = Place(center.longitude, place.latitude)
        if distance_m(place, beside) > self.width * self.unit_m / 2:
            return None
        return distance_m(center, place)


@dataclass(frozen=True, slots=True)
class Polygon:
    """All places within the lines that join these vertices, the last one with the first; the lines are straight on a map
    of degrees, and none crosses the date line."""

    vertices: tuple[Place, ...]
    center: Place

    @staticmethod
    def around(vertices: tuple[Place, ...]) -> Polygon:
        """A polygon, whose center is that of its vertices on the sphere."""
        x = y = z = 0.0
        for longitude, latitude in vertices:
            east, north = longitude * _RADIANS, latitude * _RADIANS
            x += math.cos(north) * math.cos(east)
            y += math.cos(north) * math.sin(east)
            z += math.sin(north)
        middle = Place(math.atan2(y, x) / _RADIANS, math.atan2(z, math.sqrt(x * x + y * y)) / _RADIANS)
        return Polygon(vertices, middle)

    @property
    def area(self) -> _Area:
        """The edges of the rectangle around it."""
        longitudes, latitudes = zip(*self.vertices, strict=True)
        return _Area(min(longitudes), max(longitudes), min(latitudes), max(latitudes))

    @property
    def reach_m(self) -> float:
        """How far from the center it goes: to the farthest corner of the rectangle around it."""
        area = self.area
        corners = [Place(x, y) for x in (area.west, area.east) for y in (area.south, area.north)]
        return max(distance_m(self.center, corner) for corner in corners)

    def distance_m(self, place: Place) -> float | None:
        """Metres from the center; None for a place outside. O(number of vertices)."""
        longitude, latitude = place
        inside = False
        before = self.vertices[-1]
        for vertex in self.vertices:
            # A line to the east leaves the polygon as often as it enters it, and once more from within.
            if (vertex.latitude > latitude) != (before.latitude > latitude):
                share = (before.longitude - vertex.longitude) * (latitude - vertex.latitude)
                if longitude < share / (before.latitude - vertex.latitude) + vertex.longitude:
                    inside = not inside
            before = vertex
        return distance_m(self.center, place) if inside else None


Shape = Circle | Box | Polygon


def _bounds(shape: Shape) -> _Area:
    """A rectangle in degrees around a shape: wider than at its center, where it is farther from the equator."""
    if isinstance(shape, Polygon):
        return shape.area
    longitude, latitude = shape.center
    width, height = shape.half_size_m
    up = height / _EARTH_RADIUS_M / _RADIANS
    edge = latitude - up if latitude < 0 else latitude + up
    narrowing = math.cos(edge * _RADIANS) if math.isfinite(edge) else math.nan
    aside = width / _EARTH_RADIUS_M / narrowing / _RADIANS
    return _Area(longitude - aside, longitude + aside, latitude - up, latitude + up)


def _step_for(reach_m: float, latitude: float) -> int:
    """How fine a grid may be so that nine of its cells hold the shape."""
    if reach_m == 0:
        return STEP_MAX
    step = 1
    while reach_m < _MERCATOR_MAX_M:
        reach_m *= 2
        step += 1
    step -= 2
    if abs(latitude) > 66:
        step -= 2 if abs(latitude) > 80 else 1
    return max(1, min(step, STEP_MAX))


def _neighbour(cell: Cell, east: int, north: int) -> Cell:
    column, row = _column_and_row(cell.bits)
    mask = (1 << cell.step) - 1
    # On the very edge of the map a cell lies outside of the grid, and comes back only in the direction of a step.
    if east:
        column = column + east & mask
    if north:
        row = row + north & mask
    return Cell(_spread(row) | _spread(column) << 1, cell.step)


_AROUND = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""East and north of the middle cell, in the order in which cells are visited."""


def _reaches(cell: Cell, bounds: _Area) -> bool:
    """Whether the cells around this one reach the bounds in each direction (NaN, no bound, is reached)."""
    return not (
        _area(_neighbour(cell, 0, 1)).north < bounds.north
        or _area(_neighbour(cell, 0, -1)).south > bounds.south
        or _area(_neighbour(cell, 1, 0)).east < bounds.east
        or _area(_neighbour(cell, -1, 0)).west > bounds.west
    )


def ranges(shape: Shape) -> Iterator[tuple[int, int]]:
    """The scores (from, up to but without) among which all places of a shape are, in the order of the search."""
    longitude, latitude = shape.center
    bounds = _bounds(shape)
    middle = _cell(longitude, latitude, _step_for(shape.reach_m, latitude))
    if middle.step > 1 and not _reaches(middle, bounds):
        middle = _cell(longitude, latitude, middle.step - 1)
    excluded: set[tuple[int, int]] = set()
    if middle.step >= 2:
        area = _area(middle)
        if area.south < bounds.south:
            excluded.update(((0, -1), (-1, -1), (1, -1)))
        if area.north > bounds.north:
            excluded.update(((0, 1), (1, 1), (-1, 1)))
        if area.west < bounds.west:
            excluded.update(((-1, 0), (-1, -1), (-1, 1)))
        if area.east > bounds.east:
            excluded.update(((1, 0), (1, -1), (1, 1)))
    previous = -1
    for east, north in _AROUND:
        if (east, north) in excluded:
            continue
        cell = _neighbour(middle, east, north)
        if cell.bits == previous:
            continue  # A coarse grid has fewer than nine cells.
        previous = cell.bits
        shift = 2 * (STEP_MAX - cell.step)
        yield cell.bits << shift, cell.bits + 1 << shift
