"""The HELP subcommand of every container, from its declarations: the syntax and summary of each subcommand."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from node.registry import Args, Command
from node.resp import Reply

if TYPE_CHECKING:
    from node.context import Context

_WIDTH = 74


def help_lines(command: Command) -> list[str]:
    """What HELP of a container shows, framed by the first and the last two lines that every Redis HELP has."""
    name = command.name.upper()
    lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for subcommand in command.subcommands.values():
        if not subcommand.name.endswith("|help"):
            lines.append(subcommand.syntax.partition(" ")[2])
            lines += ["    " + line for line in wrap(subcommand.summary, _WIDTH)]
    return [*lines, "HELP", "    Prints this help."]


def container_help(ctx: Context, args: Args) -> Reply:
    """The handler of "X HELP" for any container X."""
    command = ctx.node.commands.find(args[0])
    assert command is not None
    return help_lines(command)
