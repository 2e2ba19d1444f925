"""Commands about the server as a whole: its data, its time, its memory, its end. INFO's sections are in `node.info`."""

from __future__ import annotations

import gc
import sys
from itertools import islice
from typing import TYPE_CHECKING

from node import errors
from node.arguments import integer
from node.client import Unusual
from node.commands.common import database_at
from node.errors import CommandError
from node.help import container_help
from node.info import STARTUP_BYTES, info, peak_bytes, resident_bytes
from node.lolwut import schotter, slot_ring
from node.numbers import INT_MAX, INT_MIN, parse_int
from node.registry import Args, Flag, Group, KeySpec
from node.resp import OK, SILENCE, Reply, Verbatim
from node.version import HASHSLOT_VERSION, REDIS_VERSION

if TYPE_CHECKING:
    from node.context import Context
    from node.state import Node

group = Group("server")

_USAGE_SAMPLES = 5
_SLOT_BYTES = 104
"""What an entry of a dict of many costs: its share of the table, and the objects that hold hash and index."""
_LITTLE_MEMORY = 5 * 1024 * 1024
_SHUTDOWN_WORDS = frozenset(("nosave", "save", "now", "force", "abort"))

# Data -----------------------------------------------------------------------------------------------------------------


@group.command(
    "DBSIZE",
    arity=1,
    flags=Flag.READONLY | Flag.FAST,
    since="1.0.0",
    summary="Returns the number of keys in the database.",
    acl=("keyspace",),
    hints=(
        "request_policy:all_shards",
        "response_policy:agg_sum",
    ),
)
def dbsize(ctx: Context, args: Args) -> Reply:
    return len(ctx.database)


@group.command(
    "FLUSHALL [ASYNC | SYNC]",
    arity=-1,
    flags=Flag.WRITE,
    since="1.0.0",
    summary="Removes all keys from all databases.",
    complexity="O(N) where N is the total number of keys in all databases",
    acl=(
        "dangerous",
        "keyspace",
    ),
    hints=(
        "request_policy:all_shards",
        "response_policy:all_succeeded",
    ),
    history=(
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ),
)
def flushall(ctx: Context, args: Args) -> Reply:
    lazily = _flushes_lazily(ctx, args)
    removed = ctx.node.flush(ctx.node.databases, lazily)
    ctx.node.saving.emptied()
    return _flushed(ctx, args, removed)


@group.command(
    "FLUSHDB [ASYNC | SYNC]",
    arity=-1,
    flags=Flag.WRITE,
    since="1.0.0",
    summary="Removes all keys from the current database.",
    complexity="O(N) where N is the number of keys in the selected database",
    acl=(
        "dangerous",
        "keyspace",
    ),
    hints=(
        "request_policy:all_shards",
        "response_policy:all_succeeded",
    ),
    history=(
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ),
)
def flushdb(ctx: Context, args: Args) -> Reply:
    lazily = _flushes_lazily(ctx, args)
    return _flushed(ctx, args, ctx.node.flush([ctx.database], lazily))


def _flushes_lazily(ctx: Context, args: Args) -> bool:
    if len(args) == 1:
        return bool(ctx.node.config.lazyfree_lazy_user_flush)
    if len(args) > 2 or args[1].lower() not in (b"async", b"sync"):
        raise CommandError(errors.SYNTAX)
    return args[1].lower() == b"async"


def _flushed(ctx: Context, args: Args, removed: int) -> Reply:
    """Told to replicas even when there was nothing here: they may have more than we know."""
    ctx.dirty += removed
    ctx.propagate(*args)
    return OK


@group.command(
    "SWAPDB index1 index2",
    arity=3,
    flags=Flag.WRITE | Flag.FAST,
    since="4.0.0",
    summary="Swaps two databases.",
    complexity="O(N) where N is the count of clients watching or blocking on keys from both databases.",
    acl=(
        "dangerous",
        "keyspace",
    ),
)
def swapdb(ctx: Context, args: Args) -> Reply:
    node = ctx.node
    if node.clustered:
        raise CommandError("ERR SWAPDB is not allowed in cluster mode")
    first, second = _index(args[1], "first"), _index(args[2], "second")
    one, other = database_at(node, first), database_at(node, second)
    if one is not other:
        for observer in ctx.node.observers:
            observer.replaced(one, other)
            observer.replaced(other, one)
        one.swap(other)
        node.access.swap(one, other)
    ctx.dirty += 1
    return OK


def _index(text: bytes, which: str) -> int:
    index = parse_int(text)
    if index is None or not INT_MIN <= index <= INT_MAX:
        raise CommandError(f"ERR invalid {which} DB index")
    return index


# Telling --------------------------------------------------------------------------------------------------------------


@group.command(
    "INFO [section [section ...]]",
    arity=-1,
    flags=Flag.LOADING | Flag.STALE,
    since="1.0.0",
    summary="Returns information and statistics about the server.",
    acl=("dangerous",),
    hints=(
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ),
    history=(("7.0.0", "Added support for taking multiple section arguments."),),
)
def info_command(ctx: Context, args: Args) -> Reply:
    asked = [section.lower().decode("latin-1") for section in args[1:]]
    return Verbatim(info(ctx.node, asked).encode("utf-8", "surrogateescape"))


@group.command(
    "TIME",
    arity=1,
    flags=Flag.LOADING | Flag.STALE | Flag.FAST,
    since="2.6.0",
    summary="Returns the server time.",
    hints=("nondeterministic_output",),
)
def time_command(ctx: Context, args: Args) -> Reply:
    seconds, ms = divmod(ctx.now_ms, 1000)
    return [b"%d" % seconds, b"%d" % (ms * 1000)]


@group.command(
    "MONITOR",
    arity=1,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="1.0.0",
    summary="Listens for all requests received by the server in real-time.",
)
def monitor(ctx: Context, args: Args) -> Reply:
    node, client = ctx.node, ctx.client
    if client.is_replica:
        return SILENCE
    client.is_monitor = True
    node.monitors[client.id] = client
    node.mark(Unusual.MONITORED, True)
    return OK


@group.command(
    "LOLWUT [VERSION version]",
    arity=-1,
    flags=Flag.READONLY | Flag.FAST,
    since="5.0.0",
    summary="Displays computer art and the server version.",
)
def lolwut(ctx: Context, args: Args) -> Reply:
    version, sizes = 0, args[1:]
    if len(args) >= 3 and args[1].lower() == b"version":
        version = integer(args[2])
        sizes = args[3:]
    numbers = [integer(size) for size in sizes[:3]]
    signature = f"Redis ver. {REDIS_VERSION} (hashslot {HASHSLOT_VERSION})\n"
    random = ctx.node.random
    if version == 5:
        columns, per_row, rows = (numbers + [66, 8, 12][len(numbers) :])[:3]
        picture = schotter(_within(columns, 1000), _within(per_row, 200), _within(rows, 200), random)
        return Verbatim(f"{picture}\nGeorg Nees - schotter, plotter on paper, 1968. {signature}".encode())
    shards, radius = (numbers + [6, 30][len(numbers) :])[:2]
    picture = slot_ring(_within(shards, 200), _within(radius, 500), random)
    return Verbatim(f"{picture}\n16384 slots, {_within(shards, 200)} shards. {signature}".encode())


def _within(number: int, most: int) -> int:
    return min(max(1, number), most)


# Memory ---------------------------------------------------------------------------------------------------------------

group.container("MEMORY", since="4.0.0", summary="A container for memory diagnostics commands.")


@group.command(
    "MEMORY DOCTOR",
    arity=2,
    since="4.0.0",
    summary="Outputs a memory problems report.",
    hints=(
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ),
    of="MEMORY",
)
def memory_doctor(ctx: Context, args: Args) -> Reply:
    grown = resident_bytes() - STARTUP_BYTES
    if grown < _LITTLE_MEMORY:
        return Verbatim(b"This node has hardly grown since it started: there is nothing to look for.\n")
    peak = peak_bytes()
    if peak > 1.5 * resident_bytes():
        return Verbatim(
            b"Peak memory: the process once used half as much again as now. What it does not return to the system"
            b" it uses again for new data.\n"
        )
    return Verbatim(b"No memory problem found.\n")


@group.command(
    "MEMORY MALLOC-STATS",
    arity=2,
    flags=Flag.LOADING,
    since="4.0.0",
    summary="Returns the allocator statistics.",
    complexity="Depends on how much memory is allocated, could be slow",
    hints=(
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ),
    of="MEMORY",
)
def memory_malloc_stats(ctx: Context, args: Args) -> Reply:
    return b"Stats not supported for the current allocator"


@group.command(
    "MEMORY PURGE",
    arity=2,
    flags=Flag.LOADING,
    since="4.0.0",
    summary="Asks the allocator to release memory.",
    complexity="Depends on how much memory is allocated, could be slow",
    hints=(
        "request_policy:all_shards",
        "response_policy:all_succeeded",
    ),
    of="MEMORY",
)
def memory_purge(ctx: Context, args: Args) -> Reply:
    gc.collect()
    return OK


@group.command(
    "MEMORY STATS",
    arity=2,
    since="4.0.0",
    summary="Returns details about memory usage.",
    hints=(
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ),
    of="MEMORY",
)
def memory_stats(ctx: Context, args: Args) -> Reply:
    return _memory_stats(ctx.node)


def _memory_stats(node: Node) -> dict[bytes, object]:
    used = resident_bytes()
    peak = max(used, peak_bytes())
    keys = sum(map(len, node.databases))
    dataset = max(0, used - STARTUP_BYTES)
    normal = sum(client.output_bytes + client.query_bytes for client in node.clients.values() if not client.is_replica)
    databases: dict[bytes, object] = {
        b"db.%d" % database.index: {
            b"overhead.hashtable.main": sum(map(sys.getsizeof, database.slots)),
            b"overhead.hashtable.expires": sys.getsizeof(database.expires),
        }
        for database in node.databases
        if len(database)
    }
    return {
        b"peak.allocated": peak,
        b"total.allocated": used,
        b"startup.allocated": STARTUP_BYTES,
        b"replication.backlog": int(str(node.replication.info().get("repl_backlog_histlen", 0))),
        b"clients.slaves": sum(client.output_bytes for client in node.clients.values() if client.is_replica),
        b"clients.normal": normal,
        b"cluster.links": 0,
        b"aof.buffer": 0,
        b"lua.caches": 0,
        b"functions.caches": 0,
        **databases,
        b"overhead.total": STARTUP_BYTES + normal,
        b"keys.count": keys,
        b"keys.bytes-per-key": dataset // keys if keys else 0,
        b"dataset.bytes": dataset,
        b"dataset.percentage": 100.0 * dataset / used if used else 0.0,
        b"peak.percentage": 100.0 * used / peak if peak else 0.0,
        b"allocator.allocated": used,
        b"allocator.active": used,
        b"allocator.resident": used,
        b"allocator-fragmentation.ratio": 1.0,
        b"allocator-fragmentation.bytes": 0,
        b"allocator-rss.ratio": 1.0,
        b"allocator-rss.bytes": 0,
        b"rss-overhead.ratio": 1.0,
        b"rss-overhead.bytes": 0,
        b"fragmentation": 1.0,
        b"fragmentation.bytes": 0,
    }


@group.command(
    "MEMORY USAGE key [SAMPLES count]",
    arity=-3,
    flags=Flag.READONLY,
    since="4.0.0",
    summary="Estimates the memory usage of a key.",
    complexity="O(N) where N is the number of samples.",
    keys=(KeySpec("RO", begin=2),),
    of="MEMORY",
)
def memory_usage(ctx: Context, args: Args) -> Reply:
    samples = _USAGE_SAMPLES
    at = 3
    while at < len(args):
        if args[at].lower() != b"samples" or at + 1 == len(args):
            raise CommandError(errors.SYNTAX)
        samples = integer(args[at + 1])
        if samples < 0:
            raise CommandError(errors.SYNTAX)
        at += 2
    value = ctx.peek(args[2])
    if value is None:
        return None
    return sys.getsizeof(args[2]) + _SLOT_BYTES + _size(value, samples or sys.maxsize, set())


def _size(value: object, samples: int, met: set[int]) -> int:
    """Bytes of an object and of what it holds, from the first `samples` elements of each of its collections.

    met: ids of objects already counted; a delivery of a stream and its consumer, for one, hold each other.
    """
    if value is None or isinstance(value, bool):
        return 0  # there is only one of each
    size = sys.getsizeof(value)
    if isinstance(value, (bytes, bytearray, int, float, str)):
        return size
    if isinstance(value, dict):
        parts: list[object] = [part for pair in islice(value.items(), samples) for part in pair]
        seen, count = min(samples, len(value)), len(value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = list(islice(value, samples))
        seen, count = len(parts), len(value)
    else:
        if id(value) in met:
            return 0
        met.add(id(value))
        names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        return size + sum(_size(getattr(value, name, None), samples, met) for name in names)
    return size + (sum(_size(part, samples, met) for part in parts) * count // seen if seen else 0)


@group.command(
    "MEMORY HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="4.0.0",
    summary="Returns helpful text about the different subcommands.",
    of="MEMORY",
)
def memory_help(ctx: Context, args: Args) -> Reply:
    return container_help(ctx, args)


# The end --------------------------------------------------------------------------------------------------------------


@group.command(
    "SHUTDOWN [[NOSAVE | SAVE] [NOW] [FORCE] | ABORT]",
    arity=-1,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.NO_MULTI | Flag.ALLOW_BUSY,
    since="1.0.0",
    summary="Synchronously saves the database(s) to disk and shuts down the server.",
    complexity=(
        "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)"
    ),
    history=(("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers."),),
)
def shutdown(ctx: Context, args: Args) -> Reply:
    words = {word.lower().decode("latin-1") for word in args[1:]}
    if words - _SHUTDOWN_WORDS or {"save", "nosave"} <= words or ("abort" in words and len(args) > 2):
        raise CommandError(errors.SYNTAX)
    if "abort" in words:
        ctx.node.closing.abort()
        return OK
    return ctx.node.closing.ask(words)
