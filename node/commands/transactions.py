"""Commands: transactions (https://redis.io/docs/interact/transactions/)."""

from __future__ import annotations

from node.context import Context
from node.errors import CommandError
from node.pubsub import behind
from node.registry import Args, Flag, Group, KeySpec
from node.resp import NULL_ARRAY, OK, Reply

group = Group("transactions")

_FACTS = Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.ALLOW_BUSY
_ACL = ("transaction",)


@group.command("MULTI", arity=1, flags=_FACTS, acl=_ACL, since="1.2.0", summary="Starts a transaction.")
def multi(ctx: Context, args: Args) -> Reply:
    transaction = ctx.client.transaction
    if transaction is not None and transaction.queued is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    ctx.node.watches.begin(ctx.client)
    return OK


@group.command(
    "EXEC",
    arity=1,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.SKIP_SLOWLOG,
    acl=_ACL,
    since="1.2.0",
    summary="Executes all commands in a transaction.",
    complexity="Depends on commands in the transaction",
)
def exec_(ctx: Context, args: Args) -> Reply:
    client, node = ctx.client, ctx.node
    transaction = client.transaction
    if transaction is None or transaction.queued is None:
        raise CommandError("ERR EXEC without MULTI")
    queued, aborted, changed = transaction.queued, transaction.aborted, node.watches.has_changed(client)
    node.watches.end(client)
    if aborted:
        raise CommandError("EXECABORT Transaction discarded because of previous errors.")
    if changed:
        return NULL_ARRAY
    with node.pubsub.holding(client) as messages:
        replies = node.executor.execute_all(client, queued)
    return behind(replies, messages)


@group.command(
    "DISCARD",
    arity=1,
    flags=_FACTS,
    acl=_ACL,
    since="2.0.0",
    summary="Discards a transaction.",
    complexity="O(N), when N is the number of queued commands",
)
def discard(ctx: Context, args: Args) -> Reply:
    transaction = ctx.client.transaction
    if transaction is None or transaction.queued is None:
        raise CommandError("ERR DISCARD without MULTI")
    ctx.node.watches.end(ctx.client)
    return OK


@group.command(
    "WATCH key [key ...]",
    arity=-2,
    flags=_FACTS,
    keys=(KeySpec("RO", last=-1),),
    acl=_ACL,
    since="2.2.0",
    summary="Monitors changes to keys to determine the execution of a transaction.",
    complexity="O(1) for every key.",
)
def watch(ctx: Context, args: Args) -> Reply:
    if ctx.client.transaction is not None and ctx.client.transaction.queued is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    ctx.node.watches.watch(ctx.client, args[1:])
    return OK


@group.command(
    "UNWATCH",
    arity=1,
    flags=_FACTS,
    acl=_ACL,
    since="2.2.0",
    summary="Forgets about watched keys of a transaction.",
)
def unwatch(ctx: Context, args: Args) -> Reply:
    ctx.node.watches.unwatch(ctx.client)
    return OK
