"""Commands: saving the data (https://redis.io/docs/management/persistence/). `persistence/saving.py` saves."""

from __future__ import annotations

import logging

from node.context import Context
from node.errors import SYNTAX, CommandError
from node.registry import Args, Flag, Group
from node.resp import OK, Reply

log = logging.getLogger("hashslot")

group = Group("server")

_IN_PROGRESS = "ERR Background save already in progress"


@group.command(
    "SAVE",
    arity=1,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING | Flag.NO_MULTI,
    since="1.0.0",
    summary="Synchronously saves the database(s) to disk.",
    complexity="O(N) where N is the total number of keys in all databases",
)
def save(ctx: Context, args: Args) -> Reply:
    saving = ctx.node.saving
    if saving.in_progress:
        raise CommandError(_IN_PROGRESS)
    try:
        saving.save_now()
    except (OSError, TypeError) as error:
        log.warning("Error saving DB on disk: %s", error)
        raise CommandError("ERR") from error
    return OK


@group.command(
    "BGSAVE [SCHEDULE]",
    arity=-1,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING,
    since="1.0.0",
    summary="Asynchronously saves the database(s) to disk.",
    history=(("3.2.2", "Added the `SCHEDULE` option."),),
)
def bgsave(ctx: Context, args: Args) -> Reply:
    """SCHEDULE asks to wait for the end of another child process. There is none: nothing stands in the way of a save."""
    if len(args) > 1 and (len(args) > 2 or args[1].lower() != b"schedule"):
        raise CommandError(SYNTAX)
    saving = ctx.node.saving
    if saving.in_progress:
        raise CommandError(_IN_PROGRESS)
    saving.begin()
    return "Background saving started"


@group.command(
    "LASTSAVE",
    arity=1,
    flags=Flag.LOADING | Flag.STALE | Flag.FAST,
    since="1.0.0",
    summary="Returns the Unix timestamp of the last successful save to disk.",
    acl=(
        "admin",
        "dangerous",
    ),
    hints=("nondeterministic_output",),
)
def lastsave(ctx: Context, args: Args) -> Reply:
    return ctx.node.last_save_ms // 1000
