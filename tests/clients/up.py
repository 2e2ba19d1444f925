"""`hashslot up` as a user's shell runs it: its own process group, output in a file, ended by a signal.

with Up() as cluster:
    RedisCluster(host="127.0.0.1", port=cluster.port)
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.closing import Closing
from tests.forked import Forked, fork
from tests.servers import ROOT

COMMAND = [sys.executable, "-m", "node.cli"]
READY = "Ctrl-C ends all nodes."
"""The last line that `hashslot up` prints when the cluster is usable."""


def until(holds: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """Wait for something that will be so soon and return it; AssertionError when it is not, with the last reason."""
    deadline = time.monotonic() + timeout_s
    reason = ""
    while time.monotonic() < deadline:
        try:
            if found := holds():
                return found
        except (redis.RedisError, OSError, AssertionError) as error:
            reason = f": {error!r}"
        time.sleep(0.02)
    raise AssertionError(f"not {what} in {timeout_s:.0f} s{reason}")


def free_range(count: int) -> int:
    """First of `count` consecutive ports that are free, with those 10000 above them (the bus) free as well."""
    source = random.SystemRandom()
    while True:
        first = source.randrange(20000, 22700 - count)
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        return first


def listens(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and is not yet waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Up(Closing):
    """One run of `hashslot up`. `node_pids`: the nodes that were running when it became ready.

    interpreter: start it as a shell does, in place of forking it from a process that has imported the program.
    """

    def __init__(
        self, *options: str, nodes: int = 6, port: int = 0, wait: bool = True, interpreter: bool = False
    ) -> None:
        self.nodes = nodes
        self.port = port or free_range(nodes)
        handle, name = tempfile.mkstemp(prefix="hashslot-up-", suffix=".txt")
        self._output = Path(name)
        os.close(handle)
        command = ["up", "--port", str(self.port), "--nodes", str(nodes), *options]
        environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
        self.process: subprocess.Popen[bytes] | Forked
        if interpreter:
            with self._output.open("wb") as output:
                self.process = subprocess.Popen(
                    [*COMMAND, *command], cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                    stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
        else:
            self.process = fork(command, self._output, **environment)
        self.node_pids: list[int] = []
        if wait:
            self.wait_until_ready()

    @property
    def ports(self) -> list[int]:
        """Client ports of all nodes."""
        return list(range(self.port, self.port + self.nodes))

    def text(self) -> str:
        """Everything printed so far, both streams."""
        return self._output.read_text(errors="replace")

    def wait_until_ready(self, timeout_s: float = 40.0) -> None:
        """Return when it has said that it is usable; AssertionError with its output when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while READY not in self.text():
            status = self.process.poll()
            if status is not None or time.monotonic() > deadline:
                text = self.text()
                self.close()
                raise AssertionError(f"hashslot up is not ready (status {status}):\n{text}")
            time.sleep(0.01)
        self.node_pids = self.children()

    def children(self) -> list[int]:
        """The nodes' process ids as the system sees them now."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child.pid for child in found if alive(child.pid)]

    def connect(self, port: int = 0, **options: Any) -> Any:
        """A plain client of one node, the first unless told otherwise."""
        options.setdefault("retry", Retry(NoBackoff(), 0))
        return redis.Redis(port=port or self.port, socket_timeout=20, **options)

    def pid_of(self, port: int, **options: Any) -> int:
        """Process id of the node on this port, as it says itself."""
        with self.connect(port, **options) as client:
            return int(client.info("server")["process_id"])

    def finish(self, number: signal.Signals = signal.SIGINT, timeout_s: float = 20.0) -> int:
        """Send the signal to the whole process group, as Ctrl-C does, and return the exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        return self.process.wait(timeout_s)

    def assert_nothing_left(self, timeout_s: float = 10.0) -> None:
        """No node runs and no port is taken any more."""
        until(lambda: not [pid for pid in self.node_pids if alive(pid)], "rid of all nodes", timeout_s)
        assert not self.children()
        taken = [port for port in self.ports if listens(port) or listens(port + 10000)]
        assert not taken, f"somebody still listens on {taken}"

    def close(self) -> None:
        """End everything, whatever state it is in."""
        pids = {*self.node_pids, *self.children()}
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.finish(timeout_s=15)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pid in pids:
            if alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._output.unlink(missing_ok=True)
