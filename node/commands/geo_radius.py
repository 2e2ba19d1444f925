"""Commands: the searches in sorted sets that GEOSEARCH came after, GEORADIUS and its kin."""

from __future__ import annotations

from node.commands.geo import READ, UPPERCASE_UNITS, WRITE, Search, finish, member_place, place_of, radius_of
from node.context import Context
from node.errors import SYNTAX, CommandError
from node.registry import KEY_READ, Args, Group, KeySpec
from node.resp import Reply
from node.types.zset import ZSet

group = Group("geo")

_IN_CIRCLE = (
    "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center "
    "and radius and M is the number of items inside the index."
)
_ANY_ADDED = ("6.2.0", "Added the `ANY` option for `COUNT`.")


def _stored_keys(start: int) -> tuple[KeySpec, ...]:
    """One key to read, and one behind STORE or STOREDIST."""
    targets = [KeySpec("OW update", begin=start, keyword=word) for word in ("STORE", "STOREDIST")]
    return (KeySpec("RO access"), *targets)


def _radius_keys(args: Args, options_at: int) -> list[int]:
    """Positions of the keys: the first argument, and the target behind the last STORE or STOREDIST."""
    target = 0
    at = options_at
    while at < len(args):
        if args[at].upper() in (b"STORE", b"STOREDIST") and at + 1 < len(args):
            at += 1
            target = at
        at += 1
    return [1, target] if target else [1]


@group.command(
    "GEORADIUS key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] "
    "[COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
    arity=-6,
    flags=WRITE,
    keys=_stored_keys(6),
    find_keys=lambda args: _radius_keys(args, 5),
    since="3.2.0",
    summary="Queries a geospatial index for members within a distance from a coordinate, optionally stores the result.",
    complexity=_IN_CIRCLE,
    history=(_ANY_ADDED, UPPERCASE_UNITS),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
)
def georadius(ctx: Context, args: Args) -> Reply:
    return _around_place(ctx, args, may_store=True)


@group.command(
    "GEORADIUS_RO key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] "
    "[COUNT count [ANY]] [ASC | DESC]",
    arity=-6,
    flags=READ,
    keys=KEY_READ,
    since="3.2.10",
    summary="Returns members from a geospatial index that are within a distance from a coordinate.",
    complexity=_IN_CIRCLE,
    history=(_ANY_ADDED, UPPERCASE_UNITS),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` with the `BYRADIUS` argument",
)
def georadius_ro(ctx: Context, args: Args) -> Reply:
    return _around_place(ctx, args, may_store=False)


@group.command(
    "GEORADIUSBYMEMBER key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] "
    "[COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
    arity=-5,
    flags=WRITE,
    keys=_stored_keys(5),
    find_keys=lambda args: _radius_keys(args, 4),
    since="3.2.0",
    summary="Queries a geospatial index for members within a distance from a member, optionally stores the result.",
    complexity=_IN_CIRCLE,
    history=(_ANY_ADDED, UPPERCASE_UNITS),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
)
def georadiusbymember(ctx: Context, args: Args) -> Reply:
    return _around_member(ctx, args, may_store=True)


@group.command(
    "GEORADIUSBYMEMBER_RO key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] "
    "[COUNT count [ANY]] [ASC | DESC]",
    arity=-5,
    flags=READ,
    keys=KEY_READ,
    since="3.2.10",
    summary="Returns members from a geospatial index that are within a distance from a member.",
    complexity=_IN_CIRCLE,
    history=(_ANY_ADDED, UPPERCASE_UNITS),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
)
def georadiusbymember_ro(ctx: Context, args: Args) -> Reply:
    return _around_member(ctx, args, may_store=False)


def _around_place(ctx: Context, args: Args, may_store: bool) -> Reply:
    found = ctx.read_as(args[1], ZSet)
    center = place_of(args[2], args[3])
    radius, unit_m = radius_of(args[4], args[5])
    return _around(ctx, args, 6, found, Search(center, (radius,), unit_m), may_store)


def _around_member(ctx: Context, args: Args, may_store: bool) -> Reply:
    found = ctx.read_as(args[1], ZSet)
    search = Search(size=(0.0,))
    if found is not None:
        center = member_place(found, args[2])
        radius, unit_m = radius_of(args[3], args[4])
        search = Search(center, (radius,), unit_m)
    return _around(ctx, args, 5, found, search, may_store)


def _around(ctx: Context, args: Args, at: int, found: ZSet | None, search: Search, may_store: bool) -> Reply:
    while at < len(args):
        taken = search.read_common(args, at)
        if not taken and may_store and at + 1 < len(args) and args[at].upper() in (b"STORE", b"STOREDIST"):
            search.target = args[at + 1]
            search.store_distances = args[at].upper() == b"STOREDIST"
            taken = 2
        if not taken:
            raise CommandError(SYNTAX)
        at += taken
    search.check("STORE option in GEORADIUS")
    search.check_count()
    return finish(ctx, found, search, "georadiusstore")
