"""Commands: MIGRATE (https://redis.io/commands/migrate/).

Unlike in Redis other clients are served while the keys travel; `node/transit.py` tells who has to wait. So MIGRATE can not
be part of a transaction, all of which is one moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from node.arguments import integer
from node.commands.common import save_options
from node.context import Context
from node.errors import SYNTAX, CommandError
from node.registry import Args, Flag, Group, KeySpec
from node.resp import Reply
from node.transit import Order

group = Group("generic")

NO_KEY = "NOKEY"
KEY_AND_KEYS = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
IN_TRANSACTION = "ERR MIGRATE inside MULTI is not allowed: others are served while its keys travel"

_FIRST_OPTION = 6
_ARGUMENTS_OF = {b"auth": 1, b"auth2": 2}
_DEFAULT_TIMEOUT_MS = 1000
_LEADING_NUMBER = re.compile(rb"\s*([+-]?\d+)")


def find_keys(args: Args) -> list[int]:
    """Where the keys stand: after KEYS, which is no option's argument, or the third argument. With both: nowhere, and
    MIGRATE will say so."""
    for at, word in _options(args):
        if word == b"keys":
            return [] if args[3] else list(range(at + 1, len(args)))
    return [3]


def _options(args: Args) -> Iterator[tuple[int, bytes]]:
    """The options behind the timeout: place and word, in lower case. KEYS is the last."""
    at = _FIRST_OPTION
    while at < len(args):
        word = args[at].lower()
        yield at, word
        if word == b"keys":
            return
        at += 1 + _ARGUMENTS_OF.get(word, 0)


@group.command(
    "MIGRATE host port <key | \"\"> destination-db timeout [COPY] [REPLACE] [AUTH auth | AUTH2 username password] "
    "[KEYS keys [keys ...]]",
    arity=-6,
    flags=Flag.WRITE,
    since="2.6.0",
    summary="Atomically transfers a key from one Redis instance to another.",
    complexity=(
        "This command actually executes a DUMP+DEL in the source instance, and a RESTORE in the target instance. See "
        "the pages of these commands for time complexity. Also an O(N) data transfer between the two instances is "
        "performed."
    ),
    keys=(KeySpec("RW access delete", begin=3), KeySpec("RW access delete", begin=-2, keyword="KEYS", last=-1,
                                                        incomplete=True)),
    acl=("keyspace", "dangerous"),
    hints=("nondeterministic_output",),
    history=(
        ("3.0.0", "Added the `COPY` and `REPLACE` options."),
        ("3.0.6", "Added the `KEYS` option."),
        ("4.0.7", "Added the `AUTH` option."),
        ("6.0.0", "Added the `AUTH2` option."),
    ),
    find_keys=find_keys,
)
def migrate(ctx: Context, args: Args) -> Reply:
    copy = replace = False
    credentials: tuple[bytes, ...] = ()
    for at, word in _options(args):
        if word == b"copy":
            copy = True
        elif word == b"replace":
            replace = True
        elif word in _ARGUMENTS_OF:
            credentials = tuple(args[at + 1 : at + 1 + _ARGUMENTS_OF[word]])
            if len(credentials) < _ARGUMENTS_OF[word]:
                raise CommandError(SYNTAX)
        elif word != b"keys":
            raise CommandError(SYNTAX)
        elif args[3]:
            raise CommandError(KEY_AND_KEYS)
    timeout_ms, database = integer(args[5]), integer(args[4])
    if not ctx.may_block:
        raise CommandError(IN_TRANSACTION)
    keys = [key for key in (args[at] for at in find_keys(args)) if ctx.read(key) is not None]
    if not keys:
        return NO_KEY
    order = Order(
        host=args[1].decode("utf-8", "surrogateescape"),
        port=_port(args[2]),
        database=database,
        timeout_ms=timeout_ms if timeout_ms > 0 else _DEFAULT_TIMEOUT_MS,
        options=save_options(ctx.node),
        copy=copy,
        replace=replace,
        credentials=credentials,
    )
    return ctx.node.transit.send(order, ctx.client, ctx.slot, keys)


def without_passwords(args: Args) -> Args:
    """The request as others may see it."""
    shown = list(args)
    for at, word in _options(args):
        for secret in range(at + 1, min(at + 1 + _ARGUMENTS_OF.get(word, 0), len(args))):
            shown[secret] = b"(redacted)"
    return shown


def _port(text: bytes) -> int:
    """As C's `atoi` and a 16-bit port read it: nonsense is port 0, where nobody answers."""
    found = _LEADING_NUMBER.match(text)
    return int(found[1]) & 0xFFFF if found else 0
