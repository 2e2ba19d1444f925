"""Commands: fields of hashes that expire, of Redis 7.4 and 8 (https://redis.io/docs/data-types/hashes/).

Fields go at the start of the loop turn in which their time has come (`Node.expire_fields`), so no command needs to look
for expired ones. Replicas are told HPEXPIREAT and HDEL. Where Valkey 9 differs (error texts, HSETEX NX), this is Redis.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.commands.common import track_fields
from node.context import Context
from node.errors import NOT_AN_INTEGER, CommandError
from node.numbers import parse_int
from node.registry import (
    KEY_ACCESS_DELETE,
    KEY_ACCESS_UPDATE,
    KEY_READ,
    KEY_UPDATE,
    Args,
    Flag,
    Group,
    Handler,
)
from node.resp import Reply
from node.types.hash import Hash

group = Group("hash")

_FAST_WRITE = Flag.WRITE | Flag.FAST
_O_N = "O(N) where N is the number of specified fields."
_LATEST_MS = (1 << 46) - 1
"""The latest deadline of a field that Redis takes, in unix ms."""
_CONDITIONS = (b"NX", b"XX", b"GT", b"LT")
_NO_FIELDS = "ERR Mandatory argument FIELDS is missing or not at the right position"
_NO_FIELDS_AT_ALL = "ERR missing FIELDS argument"
_OTHER_COUNT = "ERR The `numfields` parameter must match the number of arguments"
_SCALES = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}


# Arguments ------------------------------------------------------------------------------------------------------------


def _fields_at(args: Args, at: int, bad_count: str) -> Args:
    """The fields of `FIELDS numfields field ...`, which begins at args[at] and ends the request."""
    if args[at].upper() != b"FIELDS":
        raise CommandError(_NO_FIELDS)
    count = parse_int(args[at + 1]) if at + 1 < len(args) else None
    if count is None or count < 1:
        raise CommandError(bad_count)
    if count != len(args) - at - 2:
        raise CommandError(_OTHER_COUNT)
    return args[at + 2 :]


def _condition_and_fields(args: Args) -> tuple[bytes, Args]:
    """NX, XX, GT, LT (empty for none) and the fields of HEXPIRE and its kin: since Redis 8.4 in any order."""
    conditions: set[bytes] = set()
    fields: Args | None = None
    at, size = 3, len(args)
    while at < size:
        word = args[at].upper()
        at += 1
        if word == b"FIELDS":
            if fields is not None:
                raise CommandError("ERR FIELDS keyword specified multiple times")
            if at + 1 >= size:
                raise CommandError("ERR FIELDS requires at least numfields and one field argument")
            count = parse_int(args[at])
            if count is None or not 1 <= count < 1 << 31:
                raise CommandError("ERR Parameter `numFields` should be greater than 0")
            at += 1
            if count > size - at:
                raise CommandError("ERR wrong number of arguments")
            fields = args[at : at + count]
            at += count
        elif word in _CONDITIONS:
            conditions.add(word)
        else:
            raise CommandError(_unknown(args[at - 1]))
    if fields is None:
        raise CommandError(_NO_FIELDS_AT_ALL)
    if len(conditions) > 1:
        raise CommandError("ERR Multiple condition flags specified")
    return conditions.pop() if conditions else b"", fields


def _unknown(word: bytes) -> str:
    return f"ERR unknown argument: {word.decode('utf-8', 'surrogateescape')}"


def _deadline_ms(text: bytes, scale: int, base_ms: int, command: str) -> int:
    """A deadline in unix ms. scale: ms in a unit of `text`; base_ms: what it counts from."""
    number = parse_int(text)
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    if number < 0:
        raise CommandError("ERR invalid expire time, must be >= 0")
    if number * scale > _LATEST_MS - base_ms:
        raise CommandError(f"ERR invalid expire time in '{command}' command")
    return number * scale + base_ms


class _Options:
    """What stands before and in `FIELDS`, of HGETEX and HSETEX. condition: FNX or FXX. values: a field is two words."""

    __slots__ = ("condition", "deadline_ms", "fields", "word")

    def __init__(self, ctx: Context, args: Args, command: str, kept: bytes, *, values: bool) -> None:
        """kept: the option that may stand in place of a deadline, PERSIST or KEEPTTL."""
        self.condition = self.word = b""
        self.deadline_ms: int | None = None
        self.fields: Args | None = None
        at, size = 2, len(args)
        while at < size:
            word = args[at].upper()
            at += 1
            if word == b"FIELDS" and self.fields is None:
                at = self._take_fields(args, at, values)
            elif values and word in (b"FNX", b"FXX"):
                if self.condition:
                    raise CommandError("ERR Only one of FXX or FNX arguments can be specified")
                self.condition = word
            elif word == kept or (word in _SCALES and at < size):
                if self.word:
                    text = f"ERR Only one of EX, PX, EXAT, PXAT or {kept.decode()} arguments can be specified"
                    raise CommandError(text)
                self.word = word
                if word != kept:
                    base_ms = ctx.now_ms if len(word) == 2 else 0
                    self.deadline_ms = _deadline_ms(args[at], _SCALES[word], base_ms, command)
                    at += 1
            else:
                raise CommandError(_unknown(args[at - 1]))
        if self.fields is None:
            raise CommandError(_NO_FIELDS_AT_ALL)

    def _take_fields(self, args: Args, at: int, values: bool) -> int:
        count = parse_int(args[at]) if at < len(args) else None
        if count is None or not 1 <= count < 1 << 31:
            raise CommandError("ERR invalid number of fields")
        end = at + 1 + count * (2 if values else 1)
        if end > len(args):
            raise CommandError("ERR wrong number of arguments")
        self.fields = args[at + 1 : end]
        return end


# Changing deadlines ---------------------------------------------------------------------------------------------------


def _tell(ctx: Context, event: str, key: bytes) -> None:
    if ctx.node.observers:
        ctx.node.observe(ctx.database, event, key)


def _is_past(ctx: Context, deadline_ms: int) -> bool:
    """Whether fields with this deadline go at once. What a primary says is taken as it is."""
    return deadline_ms <= ctx.now_ms and not ctx.client.is_primary


def _expire(ctx: Context, key: bytes, found: Hash, fields: Sequence[bytes], deadline_ms: int) -> None:
    """Give fields that are there a deadline, or remove them when it is past; tell."""
    if not fields:
        return
    if _is_past(ctx, deadline_ms):
        _remove(ctx, key, found, fields)
        return
    for field in fields:
        found.expire_at(field, deadline_ms)
    track_fields(ctx, key, found)
    ctx.modified("hexpire", key)
    ctx.dirty += len(fields) - 1
    ctx.propagate(b"HPEXPIREAT", key, b"%d" % deadline_ms, b"FIELDS", b"%d" % len(fields), *fields)


def _persist(ctx: Context, key: bytes, found: Hash, fields: Sequence[bytes]) -> None:
    """Take their deadlines from fields that have one; tell."""
    if fields:
        found.persist(fields)
        ctx.modified("hpersist", key)
        ctx.dirty += len(fields) - 1
        ctx.propagate(b"HPERSIST", key, b"FIELDS", b"%d" % len(fields), *fields)


def _remove(ctx: Context, key: bytes, found: Hash, fields: Sequence[bytes]) -> None:
    """Remove fields that are there, and the key with the last; tell."""
    gone = [field for field in fields if found.remove(field)]
    if not gone:
        return
    ctx.modified("hdel", key)
    ctx.dirty += len(gone) - 1
    ctx.propagate(b"HDEL", key, *gone)
    if found.is_empty:
        ctx.discard(key)
        _tell(ctx, "del", key)


def _allows(condition: bytes, before_ms: int | None, deadline_ms: int) -> bool:
    """Whether NX, XX, GT or LT lets a deadline take the place of another (None: never)."""
    if condition == b"NX":
        return before_ms is None
    if condition == b"LT":
        return before_ms is None or deadline_ms < before_ms
    return before_ms is not None and (condition == b"XX" or deadline_ms > before_ms)


def _expire_command(ctx: Context, args: Args, scale: int, *, relative: bool) -> Reply:
    key, command = args[1], args[0].decode().lower()
    found = ctx.write_as(key, Hash)
    deadline_ms = _deadline_ms(args[2], scale, ctx.now_ms if relative else 0, command)
    condition, fields = _condition_and_fields(args)
    if found is None:
        return [-2] * len(fields)
    replies: list[int] = []
    past = _is_past(ctx, deadline_ms)
    changed: dict[bytes, None] = {}
    for field in fields:
        if field not in found or (past and field in changed):
            replies.append(-2)
        elif condition and not _allows(
            condition, deadline_ms if field in changed else found.deadline_of(field), deadline_ms
        ):
            replies.append(0)
        else:
            changed[field] = None
            replies.append(2 if past else 1)
    found.is_table(ctx.node.config)
    _expire(ctx, key, found, list(changed), deadline_ms)
    return replies


def _declare_expire(name: str, argument: str, summary: str, scale: int, *, relative: bool) -> Handler:
    @group.command(
        f"{name} key {argument} [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        arity=-6,
        flags=_FAST_WRITE,
        keys=KEY_UPDATE,
        since="7.4.0",
        summary=summary,
        complexity=_O_N,
    )
    def expire(ctx: Context, args: Args) -> Reply:
        return _expire_command(ctx, args, scale, relative=relative)

    return expire


_declare_expire(
    "HEXPIRE", "seconds", "Set expiry for hash field using relative time to expire (seconds).", 1000, relative=True
)
_declare_expire(
    "HPEXPIRE",
    "milliseconds",
    "Set expiry for hash field using relative time to expire (milliseconds).",
    1,
    relative=True,
)
_declare_expire(
    "HEXPIREAT",
    "unix-time-seconds",
    "Set expiry for hash field using an absolute Unix timestamp (seconds).",
    1000,
    relative=False,
)
_declare_expire(
    "HPEXPIREAT",
    "unix-time-milliseconds",
    "Set expiry for hash field using an absolute Unix timestamp (milliseconds).",
    1,
    relative=False,
)


@group.command(
    "HPERSIST key FIELDS numfields field [field ...]",
    arity=-5,
    flags=_FAST_WRITE,
    keys=KEY_UPDATE,
    since="7.4.0",
    summary="Removes the expiration time for each specified field.",
    complexity=_O_N,
)
def hpersist(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = ctx.write_as(key, Hash)
    fields = _fields_at(args, 2, "ERR Number of fields must be a positive integer")
    if found is None:
        return [-2] * len(fields)
    persisted: dict[bytes, None] = {}
    replies: list[int] = []
    for field in fields:
        if field not in found:
            replies.append(-2)
        elif found.deadline_of(field) is None or field in persisted:
            replies.append(-1)
        else:
            persisted[field] = None
            replies.append(1)
    _persist(ctx, key, found, list(persisted))
    return replies


# Looking at deadlines -------------------------------------------------------------------------------------------------


def _declare_look(name: str, summary: str, scale: int, *, relative: bool) -> Handler:
    @group.command(
        f"{name} key FIELDS numfields field [field ...]",
        arity=-5,
        flags=Flag.READONLY | Flag.FAST,
        keys=KEY_READ,
        hints=("nondeterministic_output",) if relative else (),
        since="7.4.0",
        summary=summary,
        complexity=_O_N,
    )
    def look(ctx: Context, args: Args) -> Reply:
        found = ctx.read_as(args[1], Hash)
        fields = _fields_at(args, 2, "ERR Number of fields must be a positive integer")
        base_ms = ctx.now_ms if relative else 0
        if found is None:
            return [-2] * len(fields)
        seen_ms = 0 if ctx.client.is_primary else ctx.now_ms  # a primary sees what has expired too
        return [-2 if found.is_expired(field, seen_ms) else _told(found, field, base_ms, scale) for field in fields]

    return look


def _told(found: Hash, field: bytes, base_ms: int, scale: int) -> int:
    """-2 for no field, -1 for no deadline, else the deadline from `base_ms` on, rounded up to whole units."""
    if field not in found:
        return -2
    deadline_ms = found.deadline_of(field)
    return -1 if deadline_ms is None else (max(deadline_ms - base_ms, 0) + scale - 1) // scale


_declare_look("HTTL", "Returns the TTL in seconds of a hash field.", 1000, relative=True)
_declare_look("HPTTL", "Returns the TTL in milliseconds of a hash field.", 1, relative=True)
_declare_look(
    "HEXPIRETIME", "Returns the expiration time of a hash field as a Unix timestamp, in seconds.", 1000, relative=False
)
_declare_look(
    "HPEXPIRETIME", "Returns the expiration time of a hash field as a Unix timestamp, in msec.", 1, relative=False
)


# Values and deadlines in one ------------------------------------------------------------------------------------------


@group.command(
    "HGETDEL key FIELDS numfields field [field ...]",
    arity=-5,
    flags=_FAST_WRITE,
    keys=KEY_ACCESS_DELETE,
    since="8.0.0",
    summary="Returns the value of a field and deletes it from the hash.",
    complexity=_O_N,
)
def hgetdel(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = ctx.write_as(key, Hash)
    fields = _fields_at(args, 2, "ERR Number of fields must be a positive integer")
    if found is None:
        return [None] * len(fields)
    found.is_table(ctx.node.config)
    replies: list[bytes | None] = []
    gone: set[bytes] = set()
    for field in fields:
        replies.append(None if field in gone else found.get(field))
        gone.add(field)
    _remove(ctx, key, found, fields)
    return replies


@group.command(
    "HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] "
    "FIELDS numfields field [field ...]",
    arity=-5,
    flags=_FAST_WRITE,
    keys=KEY_ACCESS_UPDATE,
    since="8.0.0",
    summary="Get the value of one or more fields of a given hash key, and optionally set their expiration.",
    complexity=_O_N,
)
def hgetex(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = ctx.write_as(key, Hash)
    options = _Options(ctx, args, "hgetex", b"PERSIST", values=False)
    fields = options.fields or []
    if found is None:
        return [None] * len(fields)
    replies = [found.get(field) for field in fields]
    there = [field for field in dict.fromkeys(fields) if field in found]
    if options.deadline_ms is not None:
        found.is_table(ctx.node.config)
        _expire(ctx, key, found, there, options.deadline_ms)
    elif options.word == b"PERSIST":
        _persist(ctx, key, found, [field for field in there if found.deadline_of(field) is not None])
    return replies


@group.command(
    "HSETEX key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | "
    "KEEPTTL] FIELDS numfields field value [field value ...]",
    arity=-6,
    flags=_FAST_WRITE | Flag.DENYOOM,
    keys=KEY_UPDATE,
    since="8.0.0",
    summary="Set the value of one or more fields of a given hash key, and optionally set their expiration.",
    complexity="O(N) where N is the number of fields being set.",
)
def hsetex(ctx: Context, args: Args) -> Reply:
    key = args[1]
    found = ctx.write_as(key, Hash)
    options = _Options(ctx, args, "hsetex", b"KEEPTTL", values=True)
    pairs = options.fields or []
    fields = pairs[::2]
    there = [found is not None and field in found for field in fields]
    if (options.condition == b"FNX" and any(there)) or (options.condition == b"FXX" and not all(there)):
        return 0
    if found is None:
        found = Hash({})
        ctx.set(key, found)
    found.put_all(pairs, ctx.node.config)
    ctx.modified("hset", key)
    ctx.dirty += len(fields) - 1
    ctx.propagate(b"HSET", key, *pairs)
    distinct = list(dict.fromkeys(fields))
    if options.word == b"KEEPTTL":
        for field in distinct:
            kept_ms = found.deadline_of(field)
            if kept_ms is not None:
                ctx.propagate(b"HPEXPIREAT", key, b"%d" % kept_ms, b"FIELDS", b"1", field)
    else:
        found.persist(distinct)
        if options.deadline_ms is not None:
            _expire(ctx, key, found, distinct, options.deadline_ms)
    return 1
