"""DEBUG: what tests need and nobody else, so it must be allowed by `enable-debug-command`.

What names something that does not exist here (quicklists, heap maps) answers as a server that has nothing to do.
DEBUG SLEEP and PANIC are I/O.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from node import errors
from node.arguments import integer
from node.commands.common import save_options
from node.commands.objects import references
from node.config_rewrite import rewrite
from node.errors import CommandError
from node.glob import match
from node.keyspace import Database, Value
from node.numbers import ULLONG_MAX, format_double, parse_int, parse_memory
from node.persistence.encodings import SAVERS
from node.persistence.options import SaveOptions
from node.persistence.payload import dump
from node.registry import Args, Flag, Group
from node.resp import OK, Attributed, BigNumber, OrderedSet, Push, Reply, Verbatim, quoted
from node.types import encoding_of, type_name
from node.types.hash import Hash
from node.types.list import List
from node.types.set import Set
from node.types.stream import Stream
from node.types.zset import ZSet

if TYPE_CHECKING:
    from node.context import Context
    from node.state import Node

group = Group("server")

NOT_ALLOWED = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a'
    " local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)
_WRONG_TYPE_NAME = (
    "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map"
    "|attrib|push|verbatim|true|false"
)
_LEADING_FLOAT = re.compile(rb"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BYTES_AROUND_BODY = 11
"""Of a payload: the type before the body, version and checksum behind it."""
_PACKED_MAX = 4 << 30


# DIGEST ---------------------------------------------------------------------------------------------------------------

_EMPTY = bytes(20)
_TYPE_NUMBERS = {"string": 0, "list": 1, "set": 2, "zset": 3, "hash": 4, "stream": 6}
_MODULE = 5


def _mixed(digest: bytes, data: bytes) -> bytes:
    """Mix in data so that order counts."""
    return hashlib.sha1(_added(digest, data)).digest()


def _added(digest: bytes, data: bytes) -> bytes:
    """Mix in data so that order does not count."""
    return _xor(digest, hashlib.sha1(data).digest())


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(20, "big")


def value_digest(value: Value, expires: bool, digest: bytes = _EMPTY) -> bytes:
    """The digest of a value (DEBUG DIGEST-VALUE), going on from `digest`: equal on servers that hold equal data."""
    digest = _mixed(digest, _TYPE_NUMBERS.get(type_name(value), _MODULE).to_bytes(4, "big"))
    if isinstance(value, Hash):
        for field, text in value.lookup().items():
            digest = _added(digest, _mixed(_mixed(_EMPTY, field), text))
    elif isinstance(value, List):
        for element in value:
            digest = _mixed(digest, element)
    elif isinstance(value, Stream):
        for number, items in value.entries():
            digest = _mixed(digest, b"%d.%d" % (number >> 64, number & ULLONG_MAX))
            for item in items:
                digest = _mixed(digest, item)
    elif isinstance(value, ZSet):
        for member, score in value.lookup().items():
            digest = _added(digest, _mixed(_mixed(_EMPTY, member), format_double(score)))
    elif type_name(value) not in _TYPE_NUMBERS:  # another module's: what is saved of it
        digest = _mixed(digest, SAVERS[type(value)](value, SaveOptions(compress=False))[1])
    elif isinstance(value, Set):
        for member in value.members():
            digest = _added(digest, member)
    else:
        digest = _mixed(digest, b"%d" % value if isinstance(value, int) else bytes(value))
    return _added(digest, b"!!expire!!") if expires else digest


def dataset_digest(databases: list[Database]) -> bytes:
    """The digest of all data (DEBUG DIGEST), zeros when there is none."""
    total = _EMPTY
    for database in databases:
        if not len(database):
            continue
        total = _mixed(total, database.index.to_bytes(4, "big"))
        for keys in database.slots:
            for key, value in keys.items():
                total = _added(total, value_digest(value, key in database.expires, _mixed(_EMPTY, key)))
    return total


# Subcommands ----------------------------------------------------------------------------------------------------------


def _digest(ctx: Context, args: Args) -> Reply:
    return dataset_digest(ctx.node.databases).hex()


def _digest_value(ctx: Context, args: Args) -> Reply:
    digests = []
    for key in args[2:]:
        value = ctx.database.keys_of(key).get(key)
        digests.append((_EMPTY if value is None else value_digest(value, key in ctx.expires)).hex())
    return digests


def _sleep(ctx: Context, args: Args) -> Reply:
    found = _LEADING_FLOAT.match(args[2])
    time.sleep(max(0.0, float(found.group())) if found else 0)
    return OK


def _value(ctx: Context, key: bytes) -> Value:
    value = ctx.database.keys_of(key).get(key)
    if value is None:
        raise CommandError(errors.NO_SUCH_KEY)
    return value


def _object(ctx: Context, args: Args) -> Reply:
    value = _value(ctx, args[2])
    access = ctx.node.access
    idle_s = 0 if access.by_frequency else access.idle_ms(ctx.database, args[2]) // 1000
    body_size = len(dump(value, save_options(ctx.node))) - _BYTES_AROUND_BODY
    last_used = (ctx.now_ms // 1000 - idle_s) & (1 << 24) - 1
    return (
        f"Value at:{id(value):#x} refcount:{references(ctx, value)} encoding:{encoding_of(value, ctx.node.config)}"
        f" serializedlength:{body_size} lru:{last_used} lru_seconds_idle:{idle_s}"
    )


def _listpack(ctx: Context, args: Args) -> Reply:
    value = _value(ctx, args[2])
    if encoding_of(value, ctx.node.config) != "listpack":
        raise CommandError("ERR Not a listpack encoded object.")
    body = dump(value, save_options(ctx.node))
    print(f"{quoted(args[2]).decode()}: {len(body)} bytes {quoted(body).decode()}", flush=True)
    return "Listpack structure printed on stdout"


def _positive(text: bytes) -> int:
    number = parse_int(text)
    if number is None or number < 0:
        raise CommandError("ERR value is out of range, must be positive")
    return number


def _populate(ctx: Context, args: Args) -> Reply:
    count = _positive(args[2])
    prefix = args[3] if len(args) > 3 else b"key"
    size = _positive(args[4]) if len(args) > 4 else 0
    database = ctx.database
    for number in range(count):
        key, value = b"%b:%d" % (prefix, number), b"value:%d" % number
        keys = database.keys_of(key)
        if key not in keys:
            keys[key] = value if not size else value[:size].ljust(size, b"\0")
    return OK


_PROTOCOL: dict[bytes, Callable[[], Reply]] = {
    b"string": lambda: b"Hello World",
    b"integer": lambda: 12345,
    b"double": lambda: 3.141,
    b"null": lambda: None,
    b"array": lambda: [0, 1, 2],
    b"set": lambda: OrderedSet((0, 1, 2)),
    b"map": lambda: {0: False, 1: True, 2: False},
    b"verbatim": lambda: Verbatim(b"This is a verbatim\nstring"),
    b"true": lambda: True,
    b"false": lambda: False,
    b"bignum": lambda: BigNumber(1234567999999999999999999999999999999),
    b"attrib": lambda: Attributed({b"key-popularity": [b"key:123", 90]}, b"Some real reply following the attribute"),
}


def _protocol(ctx: Context, args: Args) -> Reply:
    kind = args[2].lower()
    if kind == b"push":
        if ctx.client.resp < 3:
            raise CommandError("ERR RESP2 is not supported by this command")
        ctx.client.push(Push([b"server-cpu-usage", 42]))
        return b"Some real reply following the push reply"
    reply = _PROTOCOL.get(kind)
    if reply is None:
        raise CommandError(_WRONG_TYPE_NAME)
    return reply()


def _set_active_expire(ctx: Context, args: Args) -> Reply:
    ctx.node.debug.active_expire = _as_c_int(args[2]) != 0
    return OK


def _stringmatch(ctx: Context, args: Args) -> Reply:
    return int(match(args[2], args[3]))


def _quicklist_threshold(ctx: Context, args: Args) -> Reply:
    size = parse_memory(args[2])
    if size is None or size > _PACKED_MAX:
        raise CommandError("ERR argument must be a memory value bigger than 1 and smaller than 4gb")
    ctx.node.debug.quicklist_packed_threshold = size or 1 << 30
    return OK


def _nothing_to_do(ctx: Context, args: Args) -> Reply:
    return OK


def _change_repl_id(ctx: Context, args: Args) -> Reply:
    ctx.node.replication.change_id()
    return OK


def _replicate(ctx: Context, args: Args) -> Reply:
    ctx.propagate(*args[2:])
    return OK


def _drop_filter(ctx: Context, args: Args) -> Reply:
    ctx.node.debug.drop_packet_filter = integer(args[2])
    return OK


def _close_on_drop(ctx: Context, args: Args) -> Reply:
    ctx.node.debug.close_link_on_drop = _as_c_int(args[2]) != 0
    return OK


def _as_c_int(text: bytes) -> int:
    """What C's `atoi` makes of it: the digits that it begins with."""
    found = re.match(rb"\s*[+-]?\d+", text)
    return int(found.group()) if found else 0


def _restart(ctx: Context, args: Args) -> Reply:
    delay_ms = integer(args[2]) if len(args) > 2 else 0
    node = ctx.node
    path = node.identity.config_file or node.config.file
    if path:
        try:
            rewrite(path, node.config)
        except OSError:
            raise CommandError("ERR failed to restart the server. Check server logs.") from None
    node.io.call_later(max(0, delay_ms), lambda: _shut_down_to_restart(node))
    return OK


def _shut_down_to_restart(node: Node) -> None:
    node.closing.restart()


def _panic(ctx: Context, args: Args) -> Reply:
    os.abort()


def _error(ctx: Context, args: Args) -> Reply:
    raise CommandError(args[2].decode("utf-8", "surrogateescape").replace("\r", " ").replace("\n", " "))


Action = Callable[["Context", Args], Reply]

_ACTIONS: dict[bytes, tuple[int, int, Action, str, str]] = {
    b"CHANGE-REPL-ID": (
        2,
        2,
        _change_repl_id,
        "",
        "Give the replication history a new id, so that replicas sync anew.",
    ),
    b"CLOSE-CLUSTER-LINK-ON-PACKET-DROP": (3, 3, _close_on_drop, "<0|1>", "Close a bus link whose packet is dropped."),
    b"DIGEST": (2, 2, _digest, "", "A hex digest of all data, equal on servers with equal data."),
    b"DIGEST-VALUE": (2, 1 << 30, _digest_value, "<key> [<key> ...]", "A hex digest of each of these values."),
    b"DROP-CLUSTER-PACKET-FILTER": (3, 3, _drop_filter, "<packet-type>", "Drop bus packets of this type; -1 for none."),
    b"ERROR": (3, 3, _error, "<string>", "Reply with this error."),
    b"JMAP": (2, 1 << 30, _nothing_to_do, "", "Accepted; there is no such heap here."),
    b"LISTPACK": (3, 3, _listpack, "<key>", "Print the serialized form of a small hash to standard output."),
    b"OBJECT": (3, 4, _object, "<key>", "How a value is kept, and its size when dumped."),
    b"PANIC": (2, 2, _panic, "", "Kill this process on the spot."),
    b"POPULATE": (3, 5, _populate, "<count> [<prefix>] [<size>]", "Create strings; replicas are not told."),
    b"PROTOCOL": (3, 3, _protocol, "<type>", "Reply with a value of this type."),
    b"QUICKLIST-PACKED-THRESHOLD": (3, 3, _quicklist_threshold, "<size>", "Accepted; there are no quicklists here."),
    b"REPLICATE": (3, 1 << 30, _replicate, "<command> [<arg> ...]", "Send this to replicas without running it here."),
    b"RESTART": (2, 3, _restart, "[<milliseconds>]", "Write the settings to the file and start again."),
    b"SET-ACTIVE-EXPIRE": (3, 3, _set_active_expire, "<0|1>", "Whether keys expire that nobody reads."),
    b"SLEEP": (3, 3, _sleep, "<seconds>", "Hold the whole server. Decimals allowed."),
    b"STRINGMATCH-LEN": (4, 4, _stringmatch, "<pattern> <string>", "Whether a glob pattern matches a string."),
}
"""By name: fewest and most arguments (counted from the command's name), what to do, syntax, and the line in HELP."""


def _help() -> list[str]:
    lines = ["DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for name, (_, _, _, syntax, summary) in _ACTIONS.items():
        lines += [f"{name.decode()} {syntax}".rstrip(), f"    {summary}"]
    return [*lines, "HELP", "    Prints this help."]


def _allowed(ctx: Context) -> bool:
    setting = ctx.node.config.enable_debug_command
    return setting == "yes" or (setting == "local" and ctx.client.is_local)


@group.command(
    "DEBUG",
    arity=-2,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="1.0.0",
    summary="A container for debugging commands.",
    complexity="Depends on subcommand.",
)
def debug(ctx: Context, args: Args) -> Reply:
    if not _allowed(ctx):
        raise CommandError(NOT_ALLOWED)
    name = args[1].upper()
    if name == b"HELP" and len(args) == 2:
        return _help()
    known = _ACTIONS.get(name)
    if known is None or not known[0] <= len(args) <= known[1]:
        shown = args[1][:128].decode("utf-8", "surrogateescape")
        raise CommandError(f"ERR unknown subcommand or wrong number of arguments for '{shown}'. Try DEBUG HELP.")
    return known[2](ctx, args)
