"""From a configuration to a running node: the steps of a start, in order, and what goes wrong in each. I/O.

Used as redis-server is: log lines, exit status 1 for what can not start, daemonize, pidfile, lock and nodes.conf.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cluster.machine import Cluster
from cluster.nodes_conf import NodesConfError, parse_nodes_conf
from gossip.ids import BUS_PORT_OFFSET, random_id
from node import logs
from node.bus import cluster_settings
from node.clock import steady_ms
from node.config import Config
from node.config_file import Loader, load_command_line
from node.files import InUse, lock
from node.logs import NOTICE
from node.server import Server, new_event_loop, raise_file_limit
from node.sockets import ListenError
from node.state import COMMANDS, Identity
from node.version import HASHSLOT_VERSION, REDIS_VERSION

log = logging.getLogger("hashslot")


class StartError(Exception):
    """The node can not start; the text is for the log and for whoever started it."""


def read_config(arguments: Sequence[str]) -> Config:
    """What a command line (`[FILE] [--option value ...]`) asks for. ConfigFileError when it is wrong."""
    config = Config()
    loader = Loader(config, REDIS_VERSION, lambda name: COMMANDS.named(name.encode()) is not None)
    load_command_line(arguments, config, loader)
    return config


def run_node(config: Config, arguments: Sequence[str] = (), parent_alive: int | None = None) -> int:
    """Run one node until it is told to end. Returns the exit status.

    arguments: how it was started, so that DEBUG RESTART can start it again. parent_alive: a pipe's reading end; the
    node ends when its writing end, which the launcher holds, is closed.
    """
    if config.daemonize:
        _daemonize()
    server: Server | None = None

    def role() -> str:
        return "S" if server and server.node.replication.following else "M"

    try:
        _enter(config.dir)  # Before the log: as in Redis, its name is relative to `dir`, wherever the two were set.
    except StartError as error:
        print(f"hashslot: {error}", file=sys.stderr)
        return 1
    try:
        logs.set_up(config.logfile, config.loglevel, role)
        config.on_change("loglevel", logs.set_level)
    except OSError as error:
        print(f"Can't open the log file: {error.strerror}", file=sys.stderr)
        return 1
    try:
        server, _held = _prepare(config, arguments)
    except (StartError, OSError) as error:
        log.warning("%s", error)
        print(f"hashslot: {error}", file=sys.stderr)
        return 1
    try:
        server.loop.run_until_complete(_serve(server, parent_alive))
    except (ListenError, OSError) as error:
        log.warning("%s", error)
        print(f"hashslot: {error}", file=sys.stderr)
        return 1
    finally:
        if pidfile := _pidfile(config):
            Path(pidfile).unlink(missing_ok=True)
        server.loop.close()
    if server.load_error and config.logfile:
        print(f"hashslot: {server.load_error}", file=sys.stderr)
    if server.restart:
        _restart(arguments)
    return server.exit_status


def _restart(arguments: Sequence[str]) -> None:
    """Become a new process of the same node (DEBUG RESTART). Its locks and sockets end with this one."""
    command, environment = node_command(arguments)
    os.execve(command[0], command, environment)


def node_command(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a new process that runs a node, installed or in a checkout."""
    floors = str(Path(__file__).resolve().parent.parent)
    return [sys.executable, "-m", "node.cli", "node", *arguments], {**os.environ, "PYTHONPATH": floors}


def _enter(folder: str) -> None:
    """Make the working directory of it that all relative names start from. StartError."""
    if folder:
        try:
            os.chdir(folder)
        except OSError as error:
            raise StartError(f"Can't chdir to '{folder}': {error.strerror}") from error


def _prepare(config: Config, arguments: Sequence[str]) -> tuple[Server, IO[str] | None]:
    """Everything up to opening sockets. StartError with the reason."""
    if pidfile := _pidfile(config):
        Path(pidfile).write_text(f"{os.getpid()}\n")
    log.log(NOTICE, "oO0OoO0OoO0Oo hashslot is starting oO0OoO0OoO0Oo")
    log.log(NOTICE, "hashslot version=%s, redis commands=%s, pid=%d", HASHSLOT_VERSION, REDIS_VERSION, os.getpid())
    raise_file_limit(config.maxclients)
    source = random.SystemRandom()
    seeded = random.Random(source.getrandbits(128))
    identity = Identity(
        run_id=random_id(source),
        pid=os.getpid(),
        executable=sys.executable,
        config_file=config.file,
        arguments=list(arguments),
    )
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    if not config.cluster_enabled:
        return Server(config, loop, seeded, identity=identity), None
    if not config.cluster_port and config.port + BUS_PORT_OFFSET > 65_535:
        raise StartError(
            "Redis port number too high for cluster mode: port + 10000 must be below 65536. Set cluster-port."
        )
    path = Path(config.cluster_config_file)
    held = _lock(path)
    cluster = _load_cluster(config, path, seeded)
    return Server(config, loop, seeded, cluster=cluster, identity=identity, nodes_conf=path), held


def _lock(path: Path) -> IO[str]:
    try:
        return lock(path.with_name(path.name + ".lock"))
    except InUse:
        raise StartError(
            f"Sorry, the cluster configuration file {path.absolute()} is already used by a different node. Please make "
            "sure that different nodes use different directories (dir) or cluster configuration files."
        ) from None


def _load_cluster(config: Config, path: Path, source: random.Random) -> Cluster:
    """The cluster as nodes.conf remembers it, or a new one of this node alone."""
    now_ms = steady_ms()
    settings = cluster_settings(config)
    data = path.read_bytes() if path.exists() else b""
    if not data:
        cluster = Cluster(settings, source, now_ms=now_ms)
        log.log(NOTICE, "No cluster configuration found, I'm %s", cluster.myself.id)
        return cluster
    try:
        state = parse_nodes_conf(data)
    except NodesConfError as error:
        raise StartError(f"Unrecoverable error: corrupted cluster config file {path.absolute()}: {error}") from error
    cluster = Cluster.from_saved(state, settings, source, now_ms=now_ms)
    log.log(NOTICE, "Node configuration loaded, I'm %s", cluster.myself.id)
    return cluster


async def _serve(server: Server, parent_alive: int | None) -> None:
    server.heed(("SIGTERM",) if parent_alive is not None else ("SIGTERM", "SIGINT"))
    await server.start()
    # Requests make no cycles, so the collector has little to find but all data to walk: let it look seldom, and not at
    # what is there from the start.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if parent_alive is not None:
        server.loop.add_reader(parent_alive, _parent_gone, server, parent_alive)
    await server.run()


def _parent_gone(server: Server, parent_alive: int) -> None:
    """The launcher is no more: end in order, once."""
    server.loop.remove_reader(parent_alive)
    server.end_in_order()


def _pidfile(config: Config) -> str:
    """Where to write the process id: as set, or Redis's usual place for a daemon; "" for nowhere."""
    return config.pidfile or ("/var/run/redis.pid" if config.daemonize else "")


def _daemonize() -> None:
    """Go on in the background: fork, new session, standard streams to nowhere."""
    if not hasattr(os, "fork"):
        raise StartError("daemonize needs a system with fork")
    sys.stdout.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)

