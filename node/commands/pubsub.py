"""Commands: pub/sub (https://redis.io/docs/interact/pubsub/)."""

from __future__ import annotations

from node.context import Context
from node.errors import CommandError
from node.glob import compile_glob
from node.help import container_help
from node.pubsub import Kind, Subscribers
from node.registry import Args, Flag, Group, KeySpec
from node.resp import Reply

group = Group("pubsub")

_LISTENING = Flag.PUBSUB | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE
_TELLING = Flag.PUBSUB | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.MAY_REPLICATE
_ASKING = Flag.PUBSUB | Flag.LOADING | Flag.STALE

_SHARD_CHANNELS = (KeySpec("not_key", last=-1),)
"""Shard channels belong to slots and are routed as keys are."""


# Listening ------------------------------------------------------------------------------------------------------------


@group.command(
    "SUBSCRIBE channel [channel ...]",
    arity=-2,
    flags=_LISTENING,
    since="2.0.0",
    summary="Listens for messages published to channels.",
    complexity="O(N) where N is the number of channels to subscribe to.",
)
def subscribe(ctx: Context, args: Args) -> Reply:
    return ctx.node.pubsub.subscribe(ctx.client, Kind.CHANNEL, args[1:])


@group.command(
    "UNSUBSCRIBE [channel [channel ...]]",
    arity=-1,
    flags=_LISTENING,
    since="2.0.0",
    summary="Stops listening to messages posted to channels.",
    complexity="O(N) where N is the number of channels to unsubscribe.",
)
def unsubscribe(ctx: Context, args: Args) -> Reply:
    return ctx.node.pubsub.unsubscribe(ctx.client, Kind.CHANNEL, args[1:])


@group.command(
    "PSUBSCRIBE pattern [pattern ...]",
    arity=-2,
    flags=_LISTENING,
    since="2.0.0",
    summary="Listens for messages published to channels that match one or more patterns.",
    complexity="O(N) where N is the number of patterns to subscribe to.",
)
def psubscribe(ctx: Context, args: Args) -> Reply:
    return ctx.node.pubsub.subscribe(ctx.client, Kind.PATTERN, args[1:])


@group.command(
    "PUNSUBSCRIBE [pattern [pattern ...]]",
    arity=-1,
    flags=_LISTENING,
    since="2.0.0",
    summary="Stops listening to messages published to channels that match one or more patterns.",
    complexity="O(N) where N is the number of patterns to unsubscribe.",
)
def punsubscribe(ctx: Context, args: Args) -> Reply:
    return ctx.node.pubsub.unsubscribe(ctx.client, Kind.PATTERN, args[1:])


@group.command(
    "SSUBSCRIBE shardchannel [shardchannel ...]",
    arity=-2,
    flags=_LISTENING,
    keys=_SHARD_CHANNELS,
    since="7.0.0",
    summary="Listens for messages published to shard channels.",
    complexity="O(N) where N is the number of shard channels to subscribe to.",
)
def ssubscribe(ctx: Context, args: Args) -> Reply:
    return ctx.node.pubsub.subscribe(ctx.client, Kind.SHARD, args[1:])


@group.command(
    "SUNSUBSCRIBE [shardchannel [shardchannel ...]]",
    arity=-1,
    flags=_LISTENING,
    keys=_SHARD_CHANNELS,
    since="7.0.0",
    summary="Stops listening to messages posted to shard channels.",
    complexity="O(N) where N is the number of shard channels to unsubscribe.",
)
def sunsubscribe(ctx: Context, args: Args) -> Reply:
    return ctx.node.pubsub.unsubscribe(ctx.client, Kind.SHARD, args[1:])


# Telling --------------------------------------------------------------------------------------------------------------


def _publish(ctx: Context, args: Args, sharded: bool) -> int:
    """Hand the message out here, and to whoever else has listeners: the bus's nodes in a cluster, else the replicas."""
    node = ctx.node
    receivers = node.pubsub.publish(args[1], args[2], sharded)
    if node.cluster is not None:
        node.io.carry_out(node.cluster.publish(args[1], args[2], sharded))
    else:
        ctx.propagate(*args)
    return receivers


@group.command(
    "PUBLISH channel message",
    arity=3,
    flags=_TELLING,
    since="2.0.0",
    summary="Posts a message to a channel.",
    complexity=(
        "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of"
        " subscribed patterns (by any client)."
    ),
)
def publish(ctx: Context, args: Args) -> Reply:
    return _publish(ctx, args, sharded=False)


@group.command(
    "SPUBLISH shardchannel message",
    arity=3,
    flags=_TELLING,
    keys=(KeySpec("not_key"),),
    since="7.0.0",
    summary="Posts a message to a shard channel.",
    complexity="O(N) where N is the number of clients subscribed to the receiving shard channel.",
)
def spublish(ctx: Context, args: Args) -> Reply:
    return _publish(ctx, args, sharded=True)


# Looking --------------------------------------------------------------------------------------------------------------

group.container("PUBSUB", since="2.8.0", summary="A container for Pub/Sub commands.")


def _matching(known: dict[bytes, Subscribers], args: Args) -> list[bytes]:
    """The names, of those that somebody listens to, that match the pattern of a request, or all."""
    if len(args) == 2:
        return list(known)
    if len(args) > 3:
        raise CommandError(
            f"ERR unknown subcommand or wrong number of arguments for '{args[1].decode('utf-8', 'surrogateescape')}'."
            " Try PUBSUB HELP."
        )
    matches = compile_glob(args[2])
    return [name for name in known if matches(name)]


def _counts(known: dict[bytes, Subscribers], names: list[bytes]) -> list[bytes | int]:
    """Each name with the number of its subscribers behind it."""
    return [item for name in names for item in (name, len(known.get(name, ())))]


@group.command(
    "PUBSUB CHANNELS [pattern]",
    arity=-2,
    flags=_ASKING,
    since="2.8.0",
    summary="Returns the active channels.",
    complexity=(
        "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively short"
        " channels and patterns)"
    ),
    of="PUBSUB",
)
def pubsub_channels(ctx: Context, args: Args) -> Reply:
    return _matching(ctx.node.pubsub.channels, args)


@group.command(
    "PUBSUB NUMPAT",
    arity=2,
    flags=_ASKING,
    since="2.8.0",
    summary="Returns a count of unique pattern subscriptions.",
    of="PUBSUB",
)
def pubsub_numpat(ctx: Context, args: Args) -> Reply:
    return len(ctx.node.pubsub.patterns)


@group.command(
    "PUBSUB NUMSUB [channel [channel ...]]",
    arity=-2,
    flags=_ASKING,
    since="2.8.0",
    summary="Returns a count of subscribers to channels.",
    complexity="O(N) for the NUMSUB subcommand, where N is the number of requested channels",
    of="PUBSUB",
)
def pubsub_numsub(ctx: Context, args: Args) -> Reply:
    return _counts(ctx.node.pubsub.channels, args[2:])


@group.command(
    "PUBSUB SHARDCHANNELS [pattern]",
    arity=-2,
    flags=_ASKING,
    since="7.0.0",
    summary="Returns the active shard channels.",
    complexity=(
        "O(N) where N is the number of active shard channels, and assuming constant time pattern matching (relatively"
        " short shard channels)."
    ),
    of="PUBSUB",
)
def pubsub_shardchannels(ctx: Context, args: Args) -> Reply:
    return _matching(ctx.node.pubsub.shard_channels, args)


@group.command(
    "PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]",
    arity=-2,
    flags=_ASKING,
    since="7.0.0",
    summary="Returns the count of subscribers of shard channels.",
    complexity="O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
    of="PUBSUB",
)
def pubsub_shardnumsub(ctx: Context, args: Args) -> Reply:
    return _counts(ctx.node.pubsub.shard_channels, args[2:])


@group.command(
    "PUBSUB HELP",
    arity=2,
    flags=Flag.LOADING | Flag.STALE,
    since="6.2.0",
    summary="Returns helpful text about the different subcommands.",
    of="PUBSUB",
)
def pubsub_help(ctx: Context, args: Args) -> Reply:
    return container_help(ctx, args)
