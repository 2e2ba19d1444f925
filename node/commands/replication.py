"""Commands: replication (https://redis.io/docs/management/replication/)."""

from __future__ import annotations

import logging

from node.context import Context
from node.errors import NOT_AN_INTEGER, SYNTAX, CommandError
from node.logs import NOTICE
from node.numbers import parse_int
from node.registry import Args, Flag, Group
from node.replication import failover
from node.replication.foreign import OWN_CAPABILITY
from node.replication.peer import Phase, notes_setslot
from node.resp import OK, SILENCE, Reply

log = logging.getLogger("hashslot")

group = Group("server")

_SYNC_FLAGS = Flag.ADMIN | Flag.NO_ASYNC_LOADING | Flag.NO_MULTI | Flag.NOSCRIPT
_ROLE_FLAGS = Flag.ADMIN | Flag.NOSCRIPT | Flag.STALE | Flag.NO_ASYNC_LOADING
_ADDRESS_MAX = 255
_PORT_MAX = 65535


def _integer(text: bytes) -> int:
    number = parse_int(text)
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    return number


# Role -----------------------------------------------------------------------------------------------------------------


@group.command(
    "REPLICAOF host port",
    arity=3,
    flags=_ROLE_FLAGS,
    since="5.0.0",
    summary="Configures a server as replica of another, or promotes it to a master.",
)
def replicaof(ctx: Context, args: Args) -> Reply:
    return _replicaof(ctx, args)


@group.command(
    "SLAVEOF host port",
    arity=3,
    flags=_ROLE_FLAGS,
    since="1.0.0",
    summary="Sets a Redis server as a replica of another, or promotes it to being a master.",
    deprecated_since="5.0.0",
    replaced_by="`REPLICAOF`",
)
def slaveof(ctx: Context, args: Args) -> Reply:
    return _replicaof(ctx, args)


def _replicaof(ctx: Context, args: Args) -> Reply:
    node = ctx.node
    replication = node.replication
    if node.clustered:
        raise CommandError("ERR REPLICAOF not allowed in cluster mode.")
    if replication.failover.state != failover.NONE:
        raise CommandError("ERR REPLICAOF not allowed while failing over.")
    if args[1].lower() == b"no" and args[2].lower() == b"one":
        replication.stop_following()
        return OK
    if ctx.client.is_replica:
        raise CommandError("ERR Command is not valid when client is a replica.")
    port = parse_int(args[2])
    if port is None or not 0 <= port <= _PORT_MAX:
        raise CommandError("ERR Invalid master port")
    host = args[1].decode("utf-8", "surrogateescape")
    following = replication.following
    if following is not None and (following.host.lower(), following.port) == (host.lower(), port):
        return "OK Already connected to specified master"
    replication.follow(host, port)
    return OK


@group.command(
    "ROLE",
    arity=1,
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST,
    since="2.8.12",
    summary="Returns the replication role.",
    acl=("admin", "dangerous"),
)
def role(ctx: Context, args: Args) -> Reply:
    return ctx.node.replication.role()


# A replica asks -------------------------------------------------------------------------------------------------------


@group.command(
    "PSYNC replicationid offset",
    arity=-3,
    flags=_SYNC_FLAGS,
    since="2.8.0",
    summary="An internal command used in replication.",
)
def psync(ctx: Context, args: Args) -> Reply:
    if len(args) > 3 and args[3].lower() == b"failover" and not ctx.client.is_replica:
        _promote(ctx, args[1])
    _check_sync(ctx)
    first_missing = _integer(args[2])
    cluster = ctx.node.cluster
    if cluster is not None and args[1] != b"?" and cluster.defers_sync(first_missing - 1):
        raise CommandError("NOMASTERLINK Can't SYNC while a replica that may have more data can take over")
    ctx.node.replication.primary.ask(ctx.client, (args[1], first_missing))
    return SILENCE


@group.command("SYNC", arity=1, flags=_SYNC_FLAGS, since="1.0.0", summary="An internal command used in replication.")
def sync(ctx: Context, args: Args) -> Reply:
    _check_sync(ctx)
    ctx.node.replication.primary.ask(ctx.client, None)
    return SILENCE


def _promote(ctx: Context, replid: bytes) -> None:
    """Our primary wants us in its place, and has stopped its writes: be one, if we follow the same history."""
    replication = ctx.node.replication
    log.warning("Failover request received for replid %s.", replid.decode("latin-1"))
    if not replication.is_replica:
        raise CommandError("ERR PSYNC FAILOVER can't be sent to a master.")
    if ctx.node.clustered:
        raise CommandError("ERR FAILOVER not allowed in cluster mode.")
    if replid.lower() != replication.id.encode():
        raise CommandError("ERR PSYNC FAILOVER replid must match my replid.")
    replication.stop_following()
    log.log(NOTICE, "MASTER MODE enabled (failover request from '%s')", ctx.client.address)


def _check_sync(ctx: Context) -> None:
    """A replica that does not follow its own primary yet has nothing to give; a primary that hands over gives no more."""
    if ctx.node.replication.failover.state != failover.NONE and not ctx.client.is_replica:
        raise CommandError("NOMASTERLINK Can't SYNC while failing over")
    following = ctx.node.replication.following
    if following is not None and not following.connected:
        raise CommandError("NOMASTERLINK Can't SYNC while not connected with my master")


@group.command(
    "REPLCONF",
    arity=-1,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY,
    since="3.0.0",
    summary="An internal command for configuring the replication stream.",
)
def replconf(ctx: Context, args: Args) -> Reply:
    """Facts about a replica before PSYNC; offsets after it, which get no reply."""
    if len(args) % 2 == 0:
        raise CommandError(SYNTAX)
    for at in range(1, len(args), 2):
        option, value = args[at].lower(), args[at + 1]
        if option == b"ack":
            if ctx.client.is_replica and (offset := parse_int(value)) is not None:
                ctx.node.replication.primary.acknowledge(ctx.client, offset)
            return SILENCE
        if option == b"getack":
            if ctx.node.replication.following is not None:
                ctx.node.replication.following.acknowledge()
            return SILENCE
        _announce(ctx, option, value)
    return OK


def _announce(ctx: Context, option: bytes, value: bytes) -> None:
    """One fact. CommandError for an unknown one; an unknown capability is none of ours."""
    announced = ctx.node.replication.primary.announced(ctx.client)
    if option == b"listening-port":
        announced.port = _integer(value)
    elif option == b"ip-address":
        if len(value) > _ADDRESS_MAX:
            raise CommandError(f"ERR REPLCONF ip-address provided by replica instance is too long: {len(value)} bytes")
        announced.ip = value.decode("utf-8", "replace")
    elif option == b"capa":
        announced.eof = announced.eof or value.lower() == b"eof"
        announced.psync2 = announced.psync2 or value.lower() == b"psync2"
        announced.setslot = announced.setslot or value.lower() == b"setslot"
        announced.own = announced.own or value.lower() == OWN_CAPABILITY
    elif option == b"version":
        announced.version = value.decode("utf-8", "replace")
        announced.setslot = announced.setslot or notes_setslot(announced.version)
    elif option == b"rdb-only":
        announced.rdb_only = bool(_integer(value))
    elif option == b"rdb-filter-only":
        wanted = value.split()
        if unknown := [word for word in wanted if word.lower() != b"functions"]:
            raise CommandError(f"ERR Unsupported rdb-filter-only option: {unknown[0].decode('utf-8', 'replace')}")
        announced.without_keys = True
    elif option == b"set-cluster-node-id":
        log.debug("Replica is cluster node %s", value.decode("utf-8", "replace"))
    else:
        name = option.decode("utf-8", "surrogateescape")
        raise CommandError(f"ERR Unrecognized REPLCONF option: {name}")


# Handing over ---------------------------------------------------------------------------------------------------------


@group.command(
    "FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
    arity=-1,
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.STALE,
    since="6.2.0",
    summary="Starts a coordinated failover from a server to one of its replicas.",
)
def failover_command(ctx: Context, args: Args) -> Reply:
    replication = ctx.node.replication
    if ctx.node.clustered:
        raise CommandError("ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.")
    if len(args) == 2 and args[1].lower() == b"abort":
        if replication.failover.state == failover.NONE:
            raise CommandError("ERR No failover in progress.")
        replication.failover.abort("Failover manually aborted")
        return OK
    target, timeout_ms, force = _failover_options(args)
    if replication.failover.state != failover.NONE:
        raise CommandError("ERR FAILOVER already in progress.")
    if replication.is_replica:
        raise CommandError("ERR FAILOVER is not valid when server is a replica.")
    if not replication.primary.peers:
        raise CommandError("ERR FAILOVER requires connected replicas.")
    if force and not (timeout_ms and target):
        raise CommandError("ERR FAILOVER with force option requires both a timeout and target HOST and IP.")
    if target is not None:
        peer = replication.failover.find(*target)
        if peer is None:
            raise CommandError("ERR FAILOVER target HOST and PORT is not a replica.")
        if peer.phase is not Phase.ONLINE:
            raise CommandError("ERR FAILOVER target replica is not online.")
    replication.failover.start(target, timeout_ms, force)
    return OK


def _failover_options(args: Args) -> tuple[tuple[str, int] | None, int, bool]:
    """Target, time (ms, 0 for as long as it takes), FORCE."""
    target: tuple[str, int] | None = None
    timeout_ms, force, at = 0, False, 1
    while at < len(args):
        word = args[at].lower()
        if word == b"timeout" and at + 1 < len(args) and not timeout_ms:
            timeout_ms = _integer(args[at + 1])
            if timeout_ms <= 0:
                raise CommandError("ERR FAILOVER timeout must be greater than 0")
            at += 2
        elif word == b"to" and at + 2 < len(args) and target is None:
            target = args[at + 1].decode("utf-8", "surrogateescape"), _integer(args[at + 2])
            at += 3
        elif word == b"force" and not force:
            force = True
            at += 1
        else:
            raise CommandError(SYNTAX)
    return target, timeout_ms, force


# Waiting for replicas -------------------------------------------------------------------------------------------------

wait_group = Group("generic")


@wait_group.command(
    "WAIT numreplicas timeout",
    arity=3,
    flags=Flag.BLOCKING,
    since="3.0.0",
    summary="Blocks until the asynchronous replication of all preceding write commands sent by the connection is "
    "completed.",
    acl=("connection",),
    hints=("request_policy:all_shards", "response_policy:agg_min"),
)
def wait(ctx: Context, args: Args) -> Reply:
    """How many replicas have what this client has written, once that many have it or the time (ms, 0: any) is over."""
    node = ctx.node
    replication = node.replication
    if replication.is_replica:
        raise CommandError(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is "
            "configured to be writable (which is not the default) writes to replicas are just local and are not "
            "propagated."
        )
    wanted = _integer(args[1])
    timeout_ms = parse_int(args[2])
    if timeout_ms is None:
        raise CommandError("ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise CommandError("ERR timeout is negative")
    offset = ctx.client.write_offset
    replication.flush()
    reached = node.gate.replicas_at(offset)
    if reached >= wanted:
        return reached
    replication.request_acks()
    deadline_ms = node.io.steady_ms() + timeout_ms if timeout_ms else None
    return node.gate.wait(offset, lambda: node.gate.replicas_at(offset), replicas=wanted, deadline_ms=deadline_ms)
