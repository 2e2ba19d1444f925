"""Commands: places in sorted sets (https://redis.io/docs/data-types/geospatial/). `types/geohash` computes."""

from __future__ import annotations

from dataclasses import dataclass

from node.commands.sorted_sets import zadd
from node.commands.sorted_sets_common import read_score, store
from node.context import Context
from node.errors import SYNTAX, CommandError
from node.numbers import parse_double, parse_int
from node.registry import KEY_READ, KEY_UPDATE, Args, Flag, Group, KeySpec
from node.resp import NULL_ARRAY, HumanDouble, Reply
from node.types import geohash
from node.types.geohash import Box, Circle, Place, Polygon, Shape
from node.types.zset import ScoreRange, ZSet

group = Group("geo")

READ = Flag.READONLY
WRITE = Flag.WRITE | Flag.DENYOOM

_UNITS_M = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}
_BAD_UNIT = "ERR unsupported unit provided. please use M, KM, FT, MI"
_NO_SUCH_MEMBER = "ERR could not decode requested zset member"
_IN_SHAPE = (
    "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as "
    "the filter and M is the number of items inside the shape"
)
_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1
UPPERCASE_UNITS = ("7.0.0", "Added support for uppercase unit names.")


# Reading arguments ----------------------------------------------------------------------------------------------------


def _unit_m(text: bytes) -> float:
    unit = _UNITS_M.get(text.upper())
    if unit is None:
        raise CommandError(_BAD_UNIT)
    return unit


def place_of(longitude: bytes, latitude: bytes) -> Place:
    place = Place(read_score(longitude), read_score(latitude))
    if not geohash.is_on_the_map(place):
        raise CommandError(f"ERR invalid longitude,latitude pair {place.longitude:f},{place.latitude:f}")
    return place


def _size(text: bytes, name: str) -> float:
    number = parse_double(text)
    if number is None:
        raise CommandError(f"ERR need numeric {name}")
    return number


def radius_of(amount: bytes, unit: bytes) -> tuple[float, float]:
    radius = _size(amount, "radius")
    if radius < 0:
        raise CommandError("ERR radius cannot be negative")
    return radius, _unit_m(unit)


def _polygon(args: Args, at: int) -> Polygon:
    """The polygon whose number of vertices is args[at]. CommandError when it has too few of them."""
    count = parse_int(args[at])
    if count is None or not _INT_MIN <= count <= _INT_MAX:
        raise CommandError("ERR invalid number of vertices")
    if count < 3 or 2 * count > len(args) - at - 1:
        raise CommandError("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices")
    return Polygon.around(tuple(place_of(args[one], args[one + 1]) for one in range(at + 1, at + 1 + 2 * count, 2)))


# One place ------------------------------------------------------------------------------------------------------------


@group.command(
    "GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
    arity=-5,
    flags=WRITE,
    keys=KEY_UPDATE,
    since="3.2.0",
    summary="Adds one or more members to a geospatial index. The key is created if it doesn't exist.",
    complexity="O(log(N)) for each item added, where N is the number of elements in the sorted set.",
    history=(("6.2.0", "Added the `CH`, `NX` and `XX` options."),),
)
def geoadd(ctx: Context, args: Args) -> Reply:
    """Becomes ZADD, which is also what replicas are told."""
    first = 2
    words: list[bytes] = []
    while first < len(args) and (word := args[first].upper()) in (b"NX", b"XX", b"CH"):
        words.append(word)
        first += 1
    if (len(args) - first) % 3 or (b"NX" in words and b"XX" in words):
        raise CommandError(SYNTAX)
    request = [b"zadd", *args[1:first]]
    for at in range(first, len(args), 3):
        score = geohash.encode(place_of(args[at], args[at + 1]))
        request += (b"%d" % score, args[at + 2])
    if len(request) == first:
        raise CommandError(SYNTAX)
    added = zadd(ctx, request)
    if ctx.dirty:
        ctx.propagate(*request)
    return added


@group.command(
    "GEODIST key member1 member2 [M | KM | FT | MI]",
    arity=-4,
    flags=READ,
    keys=KEY_READ,
    since="3.2.0",
    summary="Returns the distance between two members of a geospatial index.",
    complexity="O(1)",
)
def geodist(ctx: Context, args: Args) -> Reply:
    if len(args) > 5:
        raise CommandError(SYNTAX)
    unit_m = _unit_m(args[4]) if len(args) == 5 else 1.0
    found = ctx.read_as(args[1], ZSet)
    if found is None:
        return None
    one, other = found.get(args[2]), found.get(args[3])
    if one is None or other is None:
        return None
    return _written(geohash.distance_m(geohash.decode(one), geohash.decode(other)) / unit_m)


def _written(distance: float) -> bytes:
    return b"%.4f" % distance


@group.command(
    "GEOHASH key [member [member ...]]",
    arity=-2,
    flags=READ,
    keys=KEY_READ,
    since="3.2.0",
    summary="Returns members from a geospatial index as geohash strings.",
    complexity="O(1) for each member requested.",
)
def geohash_texts(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], ZSet)
    scores = [None if found is None else found.get(member) for member in args[2:]]
    return [None if score is None else geohash.to_text(score) for score in scores]


@group.command(
    "GEOPOS key [member [member ...]]",
    arity=-2,
    flags=READ,
    keys=KEY_READ,
    since="3.2.0",
    summary="Returns the longitude and latitude of members from a geospatial index.",
    complexity="O(1) for each member requested.",
)
def geopos(ctx: Context, args: Args) -> Reply:
    found = ctx.read_as(args[1], ZSet)
    scores = [None if found is None else found.get(member) for member in args[2:]]
    return [NULL_ARRAY if score is None else _coordinates(geohash.decode(score)) for score in scores]


def _coordinates(place: Place) -> list[HumanDouble]:
    return [HumanDouble(place.longitude), HumanDouble(place.latitude)]


# Searching ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Search:
    """What a search asks for. count: 0 for all. unit_m: of the distances that are told or stored."""

    center: Place | None = None
    size: tuple[float, ...] = ()
    unit_m: float = 1.0
    with_distance: bool = False
    with_hash: bool = False
    with_place: bool = False
    any_found: bool = False
    sort: bytes = b""
    count: int = 0
    target: bytes | None = None
    store_distances: bool = False
    from_member: bool = False
    from_place: bool = False
    polygon: Polygon | None = None

    @property
    def shape(self) -> Shape:
        """The polygon, or a circle for one size, a box for two."""
        if self.polygon is not None:
            return self.polygon
        assert self.center is not None
        if len(self.size) == 1:
            return Circle(self.center, self.size[0], self.unit_m)
        width, height = self.size
        return Box(self.center, width, height, self.unit_m)

    def read_common(self, args: Args, at: int) -> int:
        """Take an option that all searches have. Returns how many arguments it was, 0 for another one."""
        word = args[at].upper()
        if word == b"WITHDIST":
            self.with_distance = True
        elif word == b"WITHHASH":
            self.with_hash = True
        elif word == b"WITHCOORD":
            self.with_place = True
        elif word == b"ANY":
            self.any_found = True
        elif word in (b"ASC", b"DESC"):
            self.sort = word
        elif word == b"COUNT" and at + 1 < len(args):
            number = parse_int(args[at + 1])
            if number is None:
                raise CommandError("ERR value is not an integer or out of range")
            if number <= 0:
                raise CommandError("ERR COUNT must be > 0")
            self.count = number
            return 2
        else:
            return 0
        return 1

    def read_shape(self, args: Args, at: int, found: ZSet | None) -> int:
        """Take an option of GEOSEARCH that says where to search; like `read_common`."""
        word = args[at].upper()
        left = len(args) - at - 1
        if word == b"BYPOLYGON" and left >= 2 and not (self.from_member or self.from_place or self.size):
            self.polygon = _polygon(args, at + 1)
            return 2 + 2 * len(self.polygon.vertices)
        if self.polygon is not None:
            return 0
        if word == b"FROMMEMBER" and left >= 1 and not self.from_place:
            self.from_member = True
            if found is not None:
                self.center = member_place(found, args[at + 1])
            return 2
        if word == b"FROMLONLAT" and left >= 2 and not self.from_member:
            self.from_place = True
            self.center = place_of(args[at + 1], args[at + 2])
            return 3
        if word == b"BYRADIUS" and left >= 2 and len(self.size) != 2:
            radius, self.unit_m = radius_of(args[at + 1], args[at + 2])
            self.size = (radius,)
            return 3
        if word == b"BYBOX" and left >= 3 and len(self.size) != 1:
            width, height = _size(args[at + 1], "width"), _size(args[at + 2], "height")
            if width < 0 or height < 0:
                raise CommandError("ERR height or width cannot be negative")
            self.unit_m = _unit_m(args[at + 3])
            self.size = (width, height)
            return 4
        return 0

    def check(self, name: str) -> None:
        """CommandError for options that exclude each other. `name`: who stores, in the words of the error."""
        if self.target is not None and (self.with_distance or self.with_hash or self.with_place):
            raise CommandError(f"ERR {name} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")

    def check_count(self) -> None:
        """CommandError for ANY without COUNT; COUNT without ANY means the nearest ones."""
        if self.any_found and not self.count:
            raise CommandError("ERR the ANY argument requires COUNT argument")
        if self.count and not self.sort and not self.any_found:
            self.sort = b"ASC"


def member_place(found: ZSet, member: bytes) -> Place:
    score = found.get(member)
    if score is None:
        raise CommandError(_NO_SUCH_MEMBER)
    return geohash.decode(score)


_Hit = tuple[float, bytes, float, Place]
"""Metres from the center, member, score, place."""


def _hits(found: ZSet, search: Search) -> list[_Hit]:
    """The members within the shape, sorted and cut as asked for."""
    shape = search.shape
    enough = search.count if search.any_found else 0
    hits: list[_Hit] = []
    for low, high in geohash.ranges(shape):
        start, stop = found.ranks_by_score(ScoreRange(float(low), float(high), without_high=True))
        for member, score in zip(*found.slice(start, stop), strict=True):
            place = geohash.decode(score)
            distance = shape.distance_m(place)
            if distance is not None:
                hits.append((distance, member, score, place))
                if len(hits) == enough:
                    break
        if enough and len(hits) >= enough:
            break
    if search.sort:
        hits.sort(key=_distance_of, reverse=search.sort == b"DESC")
    return hits[: search.count] if search.count else hits


def _distance_of(hit: _Hit) -> float:
    return hit[0]


def finish(ctx: Context, found: ZSet | None, search: Search, event: str) -> Reply:
    """Run a search: the reply, or the number of members stored."""
    hits = [] if found is None else _hits(found, search)
    if search.target is not None:
        unit_m = search.unit_m
        scores = {hit[1]: hit[0] / unit_m if search.store_distances else hit[2] for hit in hits}
        stored = store(ctx, search.target, event, scores)
        if stored:
            ctx.dirty += stored - 1
        return stored
    if not (search.with_distance or search.with_hash or search.with_place):
        return [member for _, member, _, _ in hits]
    reply = []
    for distance, member, score, place in hits:
        one: list[object] = [member]
        if search.with_distance:
            one.append(_written(distance / search.unit_m))
        if search.with_hash:
            one.append(int(score))
        if search.with_place:
            one.append(_coordinates(place))
        reply.append(one)
    return reply


@group.command(
    "GEOSEARCH key [FROMMEMBER member | FROMLONLAT longitude latitude] "
    "<BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>"
    " | BYPOLYGON num-vertices <longitude latitude [longitude latitude ...]>> "
    "[ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
    arity=-7,
    flags=READ,
    keys=KEY_READ,
    since="6.2.0",
    summary="Queries a geospatial index for members inside an area of a box or a circle.",
    complexity=_IN_SHAPE,
    history=(UPPERCASE_UNITS,),
)
def geosearch(ctx: Context, args: Args) -> Reply:
    return _search(ctx, args, 1, Search())


@group.command(
    "GEOSEARCHSTORE destination source [FROMMEMBER member | FROMLONLAT longitude latitude] "
    "<BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>"
    " | BYPOLYGON num-vertices <longitude latitude [longitude latitude ...]>> "
    "[ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
    arity=-8,
    flags=WRITE,
    keys=(KeySpec("OW update"), KeySpec("RO access", begin=2)),
    since="6.2.0",
    summary="Queries a geospatial index for members inside an area of a box or a circle, optionally stores the result.",
    complexity=_IN_SHAPE,
    history=(UPPERCASE_UNITS,),
)
def geosearchstore(ctx: Context, args: Args) -> Reply:
    return _search(ctx, args, 2, Search(target=args[1]))


def _search(ctx: Context, args: Args, key_at: int, search: Search) -> Reply:
    found = ctx.read_as(args[key_at], ZSet)
    at = key_at + 1
    while at < len(args):
        taken = search.read_common(args, at) or search.read_shape(args, at, found)
        if not taken and search.target is not None and args[at].upper() == b"STOREDIST":
            search.store_distances = True
            taken = 1
        if not taken:
            raise CommandError(SYNTAX)
        at += taken
    search.check("GEOSEARCHSTORE")
    name = args[0].decode()
    if not (search.from_member or search.from_place or search.polygon):
        raise CommandError(f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}")
    if not (search.size or search.polygon):
        raise CommandError(f"ERR exactly one of BYRADIUS and BYBOX can be specified for {name}")
    search.check_count()
    return finish(ctx, found, search, "geosearchstore")
