"""CLIENT: clients as seen by themselves and by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from node import errors
from node.arguments import integer
from node.client import Client, Unusual
from node.commands.connection import checked_name
from node.errors import CommandError
from node.help import container_help
from node.numbers import parse_int
from node.pubsub import Kind, Subscriptions
from node.registry import Args, CommandTable, Flag, Group
from node.resp import OK, SILENCE, Reply, Verbatim

if TYPE_CHECKING:
    from node.context import Context
    from node.state import Node

group = Group("connection")

Filter = Callable[[Client], bool]

_TYPES = ("normal", "master", "replica", "pubsub")
_NO_SUBSCRIPTIONS = Subscriptions()
_UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK"


def describe(client: Client, now_ms: int, table: CommandTable) -> str:
    """One line of CLIENT LIST, with the fields and the order of Redis 7.2."""
    names = (client.subscriptions or _NO_SUBSCRIPTIONS).names
    used = client.query_bytes + client.arg_bytes + client.output_bytes
    parts = {
        "id": client.id,
        "addr": client.address,
        "laddr": client.local_address,
        "fd": client.fd,
        "name": client.name.decode("latin-1"),
        "age": (now_ms - client.created_ms) // 1000,
        "idle": (now_ms - client.last_seen_ms) // 1000,
        "flags": _flags(client),
        "db": client.database.index,
        "sub": len(names[Kind.CHANNEL]),
        "psub": len(names[Kind.PATTERN]),
        "ssub": len(names[Kind.SHARD]),
        "multi": -1,
        "qbuf": client.query_bytes,
        "qbuf-free": 0,
        "argv-mem": client.arg_bytes,
        "multi-mem": 0,
        "rbs": 0,
        "rbp": 0,
        "obl": client.output_bytes,
        "oll": 0,
        "omem": 0,
        "tot-mem": used,
        "events": "r" if not client.output_bytes else "rw",
        "cmd": _command_of(client, table),
        "user": client.user,
        "redir": -1,
        "resp": client.resp,
        "lib-name": client.lib_name.decode("latin-1"),
        "lib-ver": client.lib_version.decode("latin-1"),
    }
    return " ".join(f"{name}={value}" for name, value in parts.items())


def _command_of(client: Client, table: CommandTable) -> str:
    """The name of the client's last command, "NULL" when there was none."""
    try:
        return table.resolve(client.last_request).name if client.last_request else "NULL"
    except CommandError:
        return "NULL"


def _flags(client: Client) -> str:
    chosen = (
        ("O", client.is_monitor),
        ("S", client.is_replica and not client.is_monitor),
        ("M", client.is_primary),
        ("P", bool(client.unusual & Unusual.SUBSCRIBED)),
        ("b", client.waits_for is not None),
        ("c", client.closing),
        ("r", bool(client.unusual & Unusual.READONLY)),
        ("U", client.unix),
        ("e", client.no_evict),
        ("T", client.no_touch),
    )
    return "".join(letter for letter, holds in chosen if holds) or "N"


def kind_of(client: Client) -> str:
    """The client's type, as TYPE filters have it."""
    if client.is_primary:
        return "master"
    if client.is_replica and not client.is_monitor:
        return "replica"
    return "pubsub" if client.unusual & Unusual.SUBSCRIBED else "normal"


def _kind(text: bytes) -> str:
    kind = text.lower().decode("utf-8", "surrogateescape")
    kind = {"slave": "replica", "primary": "master"}.get(kind, kind)
    if kind not in _TYPES:
        raise CommandError(f"ERR Unknown client type '{text.decode('utf-8', 'surrogateescape')}'")
    return kind


def _switch(text: bytes, first: bytes = b"on", second: bytes = b"off") -> bool:
    if text.lower() not in (first, second):
        raise CommandError(errors.SYNTAX)
    return text.lower() == first


group.container("CLIENT", since="2.4.0", summary="A container for client connection commands.", acl=())

# About the client itself ----------------------------------------------------------------------------------------------


@group.command(
    "CLIENT ID",
    arity=2,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="5.0.0",
    summary="Returns the unique client ID of the connection.",
    of="CLIENT",
)
def client_id(ctx: Context, args: Args) -> Reply:
    return ctx.client.id


@group.command(
    "CLIENT GETNAME",
    arity=2,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="2.6.9",
    summary="Returns the name of the connection.",
    of="CLIENT",
)
def client_getname(ctx: Context, args: Args) -> Reply:
    return ctx.client.name or None


@group.command(
    "CLIENT SETNAME connection-name",
    arity=3,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="2.6.9",
    summary="Sets the connection name.",
    hints=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
    of="CLIENT",
)
def client_setname(ctx: Context, args: Args) -> Reply:
    ctx.client.name = checked_name(args[2])
    return OK


@group.command(
    "CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>",
    arity=4,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="7.2.0",
    summary="Sets information specific to the client or connection.",
    hints=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
    of="CLIENT",
)
def client_setinfo(ctx: Context, args: Args) -> Reply:
    option = args[2].lower()
    if option not in (b"lib-name", b"lib-ver"):
        shown = args[2].decode("utf-8", "surrogateescape")
        raise CommandError(f"ERR Unrecognized option '{shown}'")
    name = args[2].decode()
    value = checked_name(args[3], f"ERR {name} cannot contain spaces, newlines or special characters.")
    if option == b"lib-name":
        ctx.client.lib_name = value
    else:
        ctx.client.lib_version = value
    return OK


@group.command(
    "CLIENT INFO",
    arity=2,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="6.2.0",
    summary="Returns information about the connection.",
    hints=("nondeterministic_output",),
    of="CLIENT",
)
def client_info(ctx: Context, args: Args) -> Reply:
    ctx.client.last_request = args[:2]
    return Verbatim(_text([ctx.client], ctx))


def _text(clients: list[Client], ctx: Context) -> bytes:
    table = ctx.node.commands
    return "".join(describe(client, ctx.now_ms, table) + "\n" for client in clients).encode("utf-8", "surrogateescape")


@group.command(
    "CLIENT GETREDIR",
    arity=2,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="6.0.0",
    summary="Returns the client ID to which the connection's tracking notifications are redirected.",
    of="CLIENT",
)
def client_getredir(ctx: Context, args: Args) -> Reply:
    return -1


@group.command(
    "CLIENT TRACKINGINFO",
    arity=2,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="6.2.0",
    summary="Returns information about server-assisted client-side caching for the connection.",
    of="CLIENT",
)
def client_trackinginfo(ctx: Context, args: Args) -> Reply:
    return {b"flags": {b"off"}, b"redirect": -1, b"prefixes": []}


@group.command(
    "CLIENT NO-EVICT <ON | OFF>",
    arity=3,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="7.0.0",
    summary="Sets the client eviction mode of the connection.",
    of="CLIENT",
)
def client_no_evict(ctx: Context, args: Args) -> Reply:
    ctx.client.no_evict = _switch(args[2])
    return OK


@group.command(
    "CLIENT NO-TOUCH <ON | OFF>",
    arity=3,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="7.2.0",
    summary="Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
    of="CLIENT",
)
def client_no_touch(ctx: Context, args: Args) -> Reply:
    ctx.client.no_touch = _switch(args[2])
    return OK


@group.command(
    "CLIENT REPLY <ON | OFF | SKIP>",
    arity=3,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="3.2.0",
    summary="Instructs the server whether to reply to commands.",
    of="CLIENT",
)
def client_reply(ctx: Context, args: Args) -> Reply:
    mode = args[2].lower().decode("latin-1")
    if mode not in ("on", "off", "skip"):
        raise CommandError(errors.SYNTAX)
    ctx.client.set_replies(mode)
    return OK if mode == "on" else SILENCE


# About others ---------------------------------------------------------------------------------------------------------


@group.command(
    "CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
    arity=-2,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="2.4.0",
    summary="Lists open connections.",
    complexity="O(N) where N is the number of client connections",
    hints=("nondeterministic_output",),
    history=(
        ("2.8.12", "Added unique client `id` field."),
        ("5.0.0", "Added optional `TYPE` filter."),
        ("6.0.0", "Added `user` field."),
        ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."),
        ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
        ("7.0.3", "Added `ssub` field."),
    ),
    of="CLIENT",
)
def client_list(ctx: Context, args: Args) -> Reply:
    node = ctx.node
    ctx.client.last_request = args[:2]
    chosen = list(node.clients.values())
    if len(args) == 4 and args[2].lower() == b"type":
        kind = _kind(args[3])
        chosen = [client for client in chosen if kind_of(client) == kind]
    elif len(args) > 3 and args[2].lower() == b"id":
        wanted = [parse_int(text) for text in args[3:]]
        if None in wanted:
            raise CommandError("ERR Invalid client ID")
        chosen = [node.clients[number] for number in wanted if number is not None and number in node.clients]
    elif len(args) != 2:
        raise CommandError(errors.SYNTAX)
    return Verbatim(_text(chosen, ctx))


@group.command(
    (
        "CLIENT KILL <ip:port | [ID client-id] [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] [USER"
        " username] [ADDR ip:port] [LADDR ip:port] [SKIPME <YES | NO>]>"
    ),
    arity=-3,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="2.4.0",
    summary="Terminates open connections.",
    complexity="O(N) where N is the number of client connections",
    history=(
        ("2.8.12", "Added new filter format."),
        ("2.8.12", "`ID` option."),
        ("3.2.0", "Added `master` type in for `TYPE` option."),
        ("5.0.0", "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility."),
        ("6.2.0", "`LADDR` option."),
    ),
    of="CLIENT",
)
def client_kill(ctx: Context, args: Args) -> Reply:
    if len(args) == 3:
        address = args[2].decode("utf-8", "surrogateescape")
        victims = [client for client in ctx.node.clients.values() if client.address == address]
        if not victims:
            raise CommandError(errors.CLIENT_GONE)
        _kill(ctx, victims)
        return OK
    filters, spares_me = _kill_filters(ctx.node, args)
    victims = [client for client in ctx.node.clients.values() if all(holds(client) for holds in filters)]
    if spares_me:
        victims = [client for client in victims if client is not ctx.client]
    _kill(ctx, victims)
    return len(victims)


def _kill(ctx: Context, victims: list[Client]) -> None:
    """Close these connections; the caller's own only after its reply is out."""
    for client in victims:
        if client is ctx.client:
            client.closing = True
        else:
            ctx.node.clients.pop(client.id, None)
            ctx.node.pubsub.forget(client)
            client.close()


def _kill_filters(node: Node, args: Args) -> tuple[list[Filter], bool]:
    """The conditions of a CLIENT KILL, and whether the caller is spared."""
    if len(args) % 2:
        raise CommandError(errors.SYNTAX)
    filters: list[Filter] = []
    spares_me = True
    for option, value in zip(args[2::2], args[3::2], strict=True):
        if option.lower() == b"skipme":
            spares_me = _switch(value, b"yes", b"no")
        else:
            filters.append(_filter(node, option.lower(), value))
    return filters, spares_me


def _filter(node: Node, name: bytes, value: bytes) -> Filter:
    text = value.decode("utf-8", "surrogateescape")
    if name == b"id":
        number = parse_int(value)
        if number is None or number < 1:
            raise CommandError("ERR client-id should be greater than 0")
        return lambda client: client.id == number
    if name == b"maxage":
        born_ms = node.now_ms - _max_age(value) * 1000
        return lambda client: client.created_ms <= born_ms
    if name == b"type":
        kind = _kind(value)
        return lambda client: kind_of(client) == kind
    if name == b"addr":
        return lambda client: client.address == text
    if name == b"laddr":
        return lambda client: client.local_address == text
    if name == b"user":
        if text != "default":
            raise CommandError(f"ERR No such user '{text}'")
        return lambda client: client.user == text
    raise CommandError(errors.SYNTAX)


def _max_age(value: bytes) -> int:
    age = parse_int(value)
    if age is None:
        raise CommandError("ERR maxage is not an integer or out of range")
    if age <= 0:
        raise CommandError("ERR maxage should be greater than 0")
    return age


# What stops and goes on -----------------------------------------------------------------------------------------------


@group.command(
    "CLIENT PAUSE timeout [WRITE | ALL]",
    arity=-3,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="3.0.0",
    summary="Suspends commands processing.",
    history=(("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option."),),
    of="CLIENT",
)
def client_pause(ctx: Context, args: Args) -> Reply:
    only_writes = False
    if len(args) > 3:
        if args[3].lower() not in (b"write", b"all"):
            raise CommandError("ERR CLIENT PAUSE mode must be WRITE or ALL")
        only_writes = args[3].lower() == b"write"
    timeout_ms = parse_int(args[2])
    if timeout_ms is None:
        raise CommandError("ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise CommandError("ERR timeout is negative")
    ctx.node.pause_clients(ctx.now_ms + timeout_ms, only_writes)
    return OK


@group.command(
    "CLIENT UNPAUSE",
    arity=2,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="6.2.0",
    summary="Resumes processing commands from paused clients.",
    complexity="O(N) Where N is the number of paused clients",
    of="CLIENT",
)
def client_unpause(ctx: Context, args: Args) -> Reply:
    ctx.node.unpause_clients()
    return OK


@group.command(
    "CLIENT UNBLOCK client-id [TIMEOUT | ERROR]",
    arity=-3,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="5.0.0",
    summary="Unblocks a client blocked by a blocking command from a different connection.",
    complexity="O(log N) where N is the number of client connections",
    of="CLIENT",
)
def client_unblock(ctx: Context, args: Args) -> Reply:
    with_error = False
    if len(args) > 4:
        raise CommandError("ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.")
    if len(args) == 4:
        if args[3].lower() not in (b"timeout", b"error"):
            raise CommandError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        with_error = args[3].lower() == b"error"
    client = ctx.node.clients.get(integer(args[2]))
    if client is None:
        return 0
    blocking = ctx.node.blocking
    if blocking.unblock(client, CommandError(_UNBLOCKED)) if with_error else blocking.time_out(client):
        return 1
    waiting = client.waits_for
    if waiting is None:
        return 0
    if with_error:
        ctx.node.gate.abandon(waiting)
        waiting.resolve(CommandError(_UNBLOCKED))
        return 1
    return int(ctx.node.gate.time_out(waiting))


@group.command(
    "CLIENT HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="5.0.0",
    summary="Returns helpful text about the different subcommands.",
    of="CLIENT",
)
def client_help(ctx: Context, args: Args) -> Reply:
    return container_help(ctx, args)
