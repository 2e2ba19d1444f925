"""CONFIG: settings as `node.config` knows them, and the counters that RESETSTAT clears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node import errors
from node.config import ConfigError
from node.config_rewrite import rewrite
from node.errors import CommandError
from node.help import container_help
from node.registry import Args, Flag, Group
from node.resp import OK, Reply

if TYPE_CHECKING:
    from node.context import Context

group = Group("server")

group.container("CONFIG", since="2.0.0", summary="A container for server configuration commands.")


@group.command(
    "CONFIG GET parameter [parameter ...]",
    arity=-3,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="2.0.0",
    summary="Returns the effective values of configuration parameters.",
    complexity="O(N) when N is the number of configuration parameters provided",
    history=(("7.0.0", "Added the ability to pass multiple pattern parameters in one call"),),
    of="CONFIG",
)
def config_get(ctx: Context, args: Args) -> Reply:
    return ctx.node.config.get_matching(args[2:])


@group.command(
    "CONFIG SET parameter value [parameter value ...]",
    arity=-4,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="2.0.0",
    summary="Sets configuration parameters in-flight.",
    complexity="O(N) when N is the number of configuration parameters provided",
    hints=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
    history=(("7.0.0", "Added the ability to set multiple parameters in one call."),),
    of="CONFIG",
)
def config_set(ctx: Context, args: Args) -> Reply:
    if len(args) % 2:
        raise CommandError(errors.SYNTAX)
    try:
        ctx.node.config.set_args(args[2:], local=ctx.client.is_local)
    except ConfigError as error:
        raise CommandError(str(error)) from None
    return OK


@group.command(
    "CONFIG REWRITE",
    arity=2,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="2.8.0",
    summary="Persists the effective configuration to file.",
    hints=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
    of="CONFIG",
)
def config_rewrite(ctx: Context, args: Args) -> Reply:
    node = ctx.node
    path = node.identity.config_file or node.config.file
    if not path:
        raise CommandError("ERR The server is running without a config file")
    try:
        rewrite(path, node.config)
    except OSError as error:
        raise CommandError(f"ERR Rewriting config file: {error.strerror}") from None
    return OK


@group.command(
    "CONFIG RESETSTAT",
    arity=2,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    since="2.0.0",
    summary="Resets the server's statistics.",
    hints=(
        "request_policy:all_nodes",
        "response_policy:all_succeeded",
    ),
    of="CONFIG",
)
def config_resetstat(ctx: Context, args: Args) -> Reply:
    ctx.node.stats.reset()
    ctx.node.slot_stats.reset()
    for parent in ctx.node.commands:
        for command in (parent, *parent.subcommands.values()):
            command.calls = command.nsec = command.rejected = command.failed = 0
    return OK


@group.command(
    "CONFIG HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="5.0.0",
    summary="Returns helpful text about the different subcommands.",
    of="CONFIG",
)
def config_help(ctx: Context, args: Args) -> Reply:
    return container_help(ctx, args)
