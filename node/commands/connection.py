"""Connection commands: who the client is, which protocol it speaks, which database it uses; CLIENT: `client.py`."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from node import errors
from node.arguments import small_integer
from node.client import Client, Unusual
from node.commands.common import database_at
from node.errors import CommandError, wrong_arity
from node.numbers import parse_int
from node.registry import Args, Flag, Group
from node.resp import OK, Reply
from node.version import REDIS_VERSION

if TYPE_CHECKING:
    from node.context import Context
    from node.state import Node

group = Group("connection")

NO_PASSWORD_SET = (
    "ERR AUTH <password> called without any password configured for the default user."
    " Are you sure your configuration is correct?"
)
HELLO_FIRST = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass>"
    " option can be used to authenticate the client and select the RESP protocol version at the same time"
)
BAD_NAME = "ERR Client names cannot contain spaces, newlines or special characters."
_DEFAULT_USER = b"default"


def authenticate(node: Node, client: Client, user: bytes, password: bytes) -> None:
    """Log the client in, or CommandError WRONGPASS. Without `requirepass` every password is right."""
    required = node.config.requirepass.encode("utf-8", "surrogateescape")
    if user != _DEFAULT_USER or (required and not hmac.compare_digest(required, password)):
        raise CommandError(errors.WRONG_PASS)
    client.authenticated = True
    client.mark(Unusual.UNAUTHENTICATED, False)


def checked_name(name: bytes, error: str = BAD_NAME) -> bytes:
    """A name without spaces and unprintable bytes, so that CLIENT LIST can be read. CommandError otherwise."""
    if not all(33 <= byte <= 126 for byte in name):
        raise CommandError(error)
    return name


@group.command(
    "AUTH [username] password",
    arity=-2,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.NO_AUTH | Flag.ALLOW_BUSY,
    since="1.0.0",
    summary="Authenticates the connection.",
    complexity="O(N) where N is the number of passwords defined for the user",
    history=(("6.0.0", "Added ACL style (username and password)."),),
)
def auth(ctx: Context, args: Args) -> Reply:
    if len(args) > 3:
        raise CommandError(errors.SYNTAX)
    if len(args) == 2 and not ctx.node.config.requirepass:
        raise CommandError(NO_PASSWORD_SET)
    authenticate(ctx.node, ctx.client, args[1] if len(args) == 3 else _DEFAULT_USER, args[-1])
    return OK


@group.command(
    "HELLO [protover [AUTH username password] [SETNAME clientname]]",
    arity=-1,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.NO_AUTH | Flag.ALLOW_BUSY,
    since="6.0.0",
    summary="Handshakes with the server.",
    history=(
        (
            "6.2.0",
            "`protover` made optional; when called without arguments the command reports the current connection's"
            " context.",
        ),
    ),
)
def hello(ctx: Context, args: Args) -> Reply:
    node, client = ctx.node, ctx.client
    version = _protocol_version(args)
    login, name = _hello_options(args)
    if login is not None:
        authenticate(node, client, *login)
    if not client.authenticated:
        raise CommandError(HELLO_FIRST)
    if name is not None:
        client.name = name
    if version:
        client.set_protocol(version)
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": client.resp,
        b"id": client.id,
        b"mode": b"cluster" if node.clustered else b"standalone",
        b"role": b"replica" if node.unusual & Unusual.REPLICA else b"master",
        b"modules": [],
    }


def _protocol_version(args: Args) -> int:
    """The protocol asked for, 0 for none."""
    if len(args) < 2:
        return 0
    version = parse_int(args[1])
    if version is None:
        raise CommandError("ERR Protocol version is not an integer or out of range")
    if version not in (2, 3):
        raise CommandError("NOPROTO unsupported protocol version")
    return version


def _hello_options(args: Args) -> tuple[tuple[bytes, bytes] | None, bytes | None]:
    """User and password, and the name to set."""
    login, name = None, None
    at = 2
    while at < len(args):
        option, more = args[at].lower(), len(args) - 1 - at
        if option == b"auth" and more >= 2:
            login = (args[at + 1], args[at + 2])
            at += 3
        elif option == b"setname" and more:
            name = checked_name(args[at + 1])
            at += 2
        else:
            shown = args[at].decode("utf-8", "surrogateescape")
            raise CommandError(f"ERR Syntax error in HELLO option '{shown}'")
    return login, name


@group.command(
    "ECHO message",
    arity=2,
    flags=Flag.LOADING | Flag.STALE | Flag.FAST,
    since="1.0.0",
    summary="Returns the given string.",
)
def echo(ctx: Context, args: Args) -> Reply:
    return args[1]


@group.command(
    "PING [message]",
    arity=-1,
    flags=Flag.FAST,
    since="1.0.0",
    summary="Returns the server's liveliness response.",
    hints=(
        "request_policy:all_shards",
        "response_policy:all_succeeded",
    ),
)
def ping(ctx: Context, args: Args) -> Reply:
    if len(args) > 2:
        raise wrong_arity("ping")
    if ctx.client.resp == 2 and ctx.client.unusual & Unusual.SUBSCRIBED:
        return [b"pong", args[1] if len(args) == 2 else b""]
    return "PONG" if len(args) == 1 else args[1]


@group.command(
    "QUIT",
    arity=-1,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.NO_AUTH | Flag.ALLOW_BUSY,
    since="1.0.0",
    summary="Closes the connection.",
)
def quit_client(ctx: Context, args: Args) -> Reply:
    ctx.client.closing = True
    return OK


@group.command(
    "RESET",
    arity=1,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.NO_AUTH | Flag.ALLOW_BUSY,
    since="6.2.0",
    summary="Resets the connection.",
)
def reset(ctx: Context, args: Args) -> Reply:
    node, client = ctx.node, ctx.client
    node.stop_monitoring(client)
    node.watches.end(client)
    node.pubsub.forget(client)
    client.database = node.databases[0]
    client.set_protocol(2)
    client.name = b""
    client.no_touch = client.no_evict = False
    client.set_replies("on")
    client.mark(Unusual.ASKING, False)
    client.mark(Unusual.READONLY, False)
    client.authenticated = not node.config.requirepass
    client.mark(Unusual.UNAUTHENTICATED, not client.authenticated)
    return "RESET"


@group.command(
    "SELECT index",
    arity=2,
    flags=Flag.LOADING | Flag.STALE | Flag.FAST | Flag.ALLOW_BUSY,
    since="1.0.0",
    summary="Changes the selected database.",
)
def select(ctx: Context, args: Args) -> Reply:
    index = small_integer(args[1])
    if ctx.node.clustered and index:
        raise CommandError("ERR SELECT is not allowed in cluster mode")
    ctx.client.database = database_at(ctx.node, index)
    return OK
