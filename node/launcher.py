"""`hashslot up`: a whole cluster on this machine, from one preloaded parent. I/O.

The parent writes the topology into each node's nodes.conf, so that the nodes know each other when they start, forks one
child a node (all code is loaded by then, and memory pages stay shared), waits until the cluster is usable, prints how
to use it, and then watches. Each child ends when the parent does, however that ends: it sees a pipe close.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.nodes_conf import format_nodes_conf
from cluster.topology import PlannedNode, TopologyError, plan, saved_state
from gossip.ids import BUS_PORT_OFFSET, Address
from node.config_file import ConfigFileError
from node.files import InUse, lock, write_atomically
from node.probe import Probe
from node.process import node_command, read_config, run_node

READY_TIMEOUT_S = 30.0
END_TIMEOUT_S = 60.0
_RESTART_PAUSE_S = 1.0
_CLUSTER_FILE = "cluster.json"
_NOT_FOR_ALL = {"cluster-enabled", "cluster-config-file", "cluster-port", "daemonize", "pidfile", "unixsocket"}
_NOT_FOR_ALL |= {"replicaof", "slaveof"}
"""Node options that the launcher decides, or that no two nodes can share."""


class Stopped(Exception):
    """Somebody asked to stop while the cluster was starting."""


class LaunchError(Exception):
    """The cluster can not be started; the text is one line that tells what to do."""


@dataclass(slots=True)
class Plan:
    """What `hashslot up` was asked for. options: further node options as on a node's command line."""

    nodes: int
    replicas: int
    port: int
    bind: str
    folder: Path | None
    restart: bool
    options: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Child:
    """One node as the launcher sees it."""

    planned: PlannedNode
    folder: Path
    pid: int = 0
    process: subprocess.Popen[bytes] | None = None
    """Where a system has no fork."""
    restart_at: float = 0.0

    @property
    def name(self) -> str:
        address = self.planned.address
        host = f"[{address.ip}]" if ":" in address.ip else address.ip
        return f"{host}:{address.port}"


class Launcher:
    """Starts, watches and ends the nodes of one cluster."""

    def __init__(self, asked: Plan) -> None:
        self._asked = asked
        self._temporary = asked.folder is None
        self.folder = asked.folder or Path(tempfile.mkdtemp(prefix="hashslot-"))
        self.children: list[Child] = []
        self.stop_asked = False
        self._alive_reader, self._alive_writer = os.pipe()
        self._lock: object = None

    def ask_to_stop(self, number: int = 0, frame: object = None) -> None:
        """For signal handlers. A mark that is looked at, not an exception: one raised in a callback can get lost."""
        self.stop_asked = True

    # Preparing ----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Lay out the cluster on disk. LaunchError when it can not be had; nothing is started then."""
        asked = self._asked
        if asked.nodes < 1:
            raise LaunchError("a cluster has at least one node: --nodes 1")
        if asked.port < 1 or asked.port + asked.nodes - 1 + BUS_PORT_OFFSET > 65_535:
            last = 65_535 - BUS_PORT_OFFSET
            raise LaunchError(f"--port: nodes need ports from 1 to {last} (the bus takes port + 10000)")
        self._check_options()
        known = self._open_folder()
        try:
            planned = known or plan(self._addresses(), asked.replicas, random.SystemRandom())
        except TopologyError as error:
            raise LaunchError(str(error)) from error
        self._check_ports(planned)
        self.children = [Child(one, self.folder / str(one.address.port)) for one in planned]
        if known is None:
            self._write(planned)

    def _addresses(self) -> list[Address]:
        asked = self._asked
        ip = "127.0.0.1" if asked.bind in ("0.0.0.0", "*", "::") else asked.bind
        ports = range(asked.port, asked.port + asked.nodes)
        return [Address(ip, port, port + BUS_PORT_OFFSET) for port in ports]

    def _check_options(self) -> None:
        """Wrong node options are told before anything starts, in the words that a node would use."""
        names = {word.removeprefix("--").partition(" ")[0].lower() for word in self._asked.options if word[:2] == "--"}
        if taken := sorted(names & _NOT_FOR_ALL):
            raise LaunchError(f"--{taken[0]} can not be the same for all nodes of `hashslot up`: leave it out")
        try:
            read_config(self._asked.options)
        except ConfigFileError as error:
            raise LaunchError(str(error).strip().splitlines()[-1] + f" (in {' '.join(self._asked.options)})") from error

    def _open_folder(self) -> list[PlannedNode] | None:
        """Take the folder's lock and read the layout in it, None when it is new."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self.folder / "cluster.lock")
        except InUse:
            raise LaunchError(f"{self.folder}: another hashslot runs a cluster from this directory") from None
        except OSError as error:
            raise LaunchError(f"{self.folder}: {error.strerror}") from error
        recorded = self.folder / _CLUSTER_FILE
        if not recorded.exists():
            if strangers := [entry.name for entry in self.folder.iterdir() if entry.name != "cluster.lock"]:
                raise LaunchError(f"{self.folder} holds something else ({strangers[0]}): choose an empty directory")
            return None
        return self._read_layout(recorded)

    def _read_layout(self, recorded: Path) -> list[PlannedNode]:
        asked = self._asked
        try:
            layout = json.loads(recorded.read_text())
            before = {name: layout[name] for name in ("nodes", "replicas", "port", "bind")}
            planned = [
                PlannedNode(
                    id=one["id"],
                    address=Address(one["ip"], one["port"], one["bus_port"]),
                    shard=one["shard"],
                    slots=None,
                    primary=None,
                    config_epoch=0,
                )
                for one in layout["members"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise LaunchError(f"{recorded} is damaged ({error}): choose another --dir") from error
        wanted = {"nodes": asked.nodes, "replicas": asked.replicas, "port": asked.port, "bind": asked.bind}
        if before != wanted:
            how = " ".join(f"--{name} {value}" for name, value in before.items())
            raise LaunchError(f"{self.folder} holds another cluster: start it with {how}, or choose another --dir")
        return planned

    def _check_ports(self, planned: Sequence[PlannedNode]) -> None:
        for one in planned:
            for port in (one.address.port, one.address.bus_port):
                family = socket.AF_INET6 if ":" in one.address.ip else socket.AF_INET
                with socket.socket(family) as probe:
                    if os.name == "posix":
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        probe.bind((one.address.ip, port))
                    except OSError as error:
                        raise LaunchError(
                            f"port {port} on {one.address.ip} can not be had ({error.strerror}): "
                            "stop what uses it, or choose others with --port"
                        ) from error

    def _write(self, planned: Sequence[PlannedNode]) -> None:
        for child in self.children:
            child.folder.mkdir(exist_ok=True)
            write_atomically(child.folder / "nodes.conf", format_nodes_conf(saved_state(planned, child.planned.id)))
        asked = self._asked
        layout = {
            "nodes": asked.nodes,
            "replicas": asked.replicas,
            "port": asked.port,
            "bind": asked.bind,
            "members": [
                {
                    "id": one.id,
                    "ip": one.address.ip,
                    "port": one.address.port,
                    "bus_port": one.address.bus_port,
                    "shard": one.shard,
                }
                for one in planned
            ],
        }
        write_atomically(self.folder / _CLUSTER_FILE, json.dumps(layout, indent=2).encode() + b"\n")

    # Starting -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all nodes."""
        gc.collect()
        gc.freeze()  # The collector of a child would else write to every page it shares with the others.
        for child in self.children:
            if self.stop_asked:
                return
            self._start(child)

    def _arguments(self, child: Child) -> list[str]:
        given = {
            "port": str(child.planned.address.port),
            "bind": self._asked.bind,
            "dir": str(child.folder),
            "logfile": "node.log",
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-announce-ip": child.planned.address.ip,
        }
        if self._temporary:
            given["save"] = ""  # The folder goes with the cluster: there is nothing to keep.
        return [word for name, value in given.items() for word in (f"--{name}", value)] + self._asked.options

    def _start(self, child: Child) -> None:
        arguments = self._arguments(child)
        if not hasattr(os, "fork"):
            command, environment = node_command(arguments)
            child.process = subprocess.Popen(command, env=environment)
            child.pid = child.process.pid
            return
        sys.stdout.flush()
        # Held back until the child has its own handlers and the parent knows the child.
        held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
        pid = os.fork()
        if pid:
            child.pid = pid
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            return
        status = 1
        try:
            os.close(self._alive_writer)
            # Ctrl-C reaches the whole process group, and so does a terminal that goes: the parent ends us in order.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            status = run_node(read_config(arguments), arguments, parent_alive=self._alive_reader)
        finally:
            sys.stdout.flush()
            os._exit(status)

    def wait_until_usable(self) -> dict[str, dict[str, str]]:
        """Return when every node says `cluster_state:ok` and every replica is in sync; INFO fields by node name.

        LaunchError when a node ends, or when it takes too long; Stopped when it was asked to stop.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        password = self._password()
        addresses = {child.name: child.planned.address for child in self.children}
        waiting = {name: Probe(address.ip, address.port, password) for name, address in addresses.items()}
        facts: dict[str, dict[str, str]] = {}
        while waiting:
            if self.stop_asked:
                raise Stopped
            if ended := self._ended():
                child, status = ended[0]
                raise LaunchError(f"node {child.name} ended: {status}. {self._last_log_line(child)}")
            for name, probe in list(waiting.items()):
                seen = probe.facts()
                if seen and _usable(seen):
                    facts[name] = seen
                    probe.close()
                    del waiting[name]
            if waiting:
                if time.monotonic() > deadline:
                    late = ", ".join(waiting)
                    raise LaunchError(f"{late} not usable after {READY_TIMEOUT_S:.0f} s: see {self.folder}/*/node.log")
                time.sleep(0.01)
        return facts

    def _password(self) -> str:
        options = self._asked.options
        for at, option in enumerate(options[:-1]):
            if option == "--requirepass":
                return options[at + 1]
        return ""

    # Watching -----------------------------------------------------------------------------------------------------

    def watch_once(self) -> list[str]:
        """One look at the children: lines to tell about those that ended or were started again."""
        told = []
        for child, status in self._ended():
            told.append(f"node {child.name} (pid {child.pid}) ended: {status}. {self._last_log_line(child)}".strip())
            child.pid = 0
            if self._asked.restart:
                child.restart_at = time.monotonic() + _RESTART_PAUSE_S
        for child in self.children:
            if child.restart_at and time.monotonic() >= child.restart_at and not self.stop_asked:
                child.restart_at = 0.0
                self._start(child)
                told.append(f"node {child.name} started again (pid {child.pid})")
        return told

    def _ended(self) -> list[tuple[Child, str]]:
        ended = []
        for child in self.children:
            if child.pid and (status := _exit_code(child)) is not None:
                ended.append((child, _shown_status(status)))
        return ended

    def _last_log_line(self, child: Child) -> str:
        try:
            lines = (child.folder / "node.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return f"Its log ends: {lines[-1]}" if lines else ""

    def any_alive(self) -> bool:
        """Whether a node runs or is about to be started again."""
        return any(child.pid or child.restart_at for child in self.children)

    def end(self) -> None:
        """End all nodes in order, those that do not follow by force; remove a temporary folder."""
        self.stop_asked = True
        running = [child for child in self.children if child.pid]
        for child in running:
            _signal(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_TIMEOUT_S
        while running:
            gone = {id(child) for child, _ in self._ended()}
            running = [child for child in running if id(child) not in gone]
            if running and time.monotonic() > deadline:
                for child in running:
                    _signal(child.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
                deadline = time.monotonic() + END_TIMEOUT_S
            for child in self.children:
                if id(child) in gone:
                    child.pid = 0
            time.sleep(0.01)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def _usable(facts: dict[str, str]) -> bool:
    if facts.get("cluster_state") != "ok":
        return False
    return facts.get("role") == "master" or facts.get("master_link_status") == "up"


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _exit_code(child: Child) -> int | None:
    """The exit status of a node's process, negative for the signal that killed it; None while it runs."""
    if child.process is not None:
        return child.process.poll()
    try:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if pid else None


def _shown_status(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
