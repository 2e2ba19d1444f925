"""`hashslot node` used as redis-server is: configuration, exit status, signals, files, limits of connections.

Where redis-server is installed, what both must do alike runs on it too: it is the judge of these tests.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.clients.up import alive, until
from tests.closing import Closing
from tests.servers import ROOT, free_port, program, start

pytestmark = pytest.mark.real

READY = "Ready to accept connections"


class Run(Closing):
    """One start of a server in a directory of its own."""

    def __init__(self, kind: str, folder: Path, *arguments: str, text: str | None = None) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}.txt"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._output.open("wb") as output:
            self.began = time.monotonic()
            self.process = subprocess.Popen(
                [*program(kind), *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        assert self.process.stdin is not None
        if text is not None:
            self.process.stdin.write(text.encode())
        self.process.stdin.close()

    def text(self) -> str:
        """Everything printed so far."""
        return self._output.read_text(errors="replace")

    def ready(self) -> Self:
        """Wait until it says that it is."""
        until(lambda: READY in self.text() or self.process.poll() is not None, f"ready: {self.text()}")
        assert self.process.poll() is None, self.text()
        return self

    def status(self, timeout_s: float = 20.0) -> int:
        """The exit status, when it has ended."""
        return self.process.wait(timeout_s)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.status()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(params=["hashslot", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    program(request.param)
    return str(request.param)


def client_of(port: int, **options: Any) -> Any:
    return redis.Redis(port=port, socket_timeout=20, retry=Retry(NoBackoff(), 0), **options)


# Configuration --------------------------------------------------------------------------------------------------------


def test_file_include_and_options_in_their_order(kind: str, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "more.conf").write_text("maxclients 111\ntimeout 7\n")
    (tmp_path / "redis.conf").write_text(
        f'# comment\nport 1\nbind 127.0.0.1\nsave ""\ninclude {tmp_path}/more.conf\n'
        "tcp-keepalive 42\nrequirepass \"with \\\"quotes\\\" \\x41\"\nmaxclients 222\n"
    )
    with Run(kind, tmp_path, "redis.conf", "--port", str(port), "--timeout", "9").ready(), client_of(
        port, password='with "quotes" A'
    ) as client:
        found = client.config_get("*")
        assert {name: found[name] for name in ("port", "maxclients", "timeout", "tcp-keepalive")} == {
            "port": str(port),
            "maxclients": "222",
            "timeout": "9",
            "tcp-keepalive": "42",
        }
        assert client.info("server")["config_file"] == str(tmp_path / "redis.conf")


def test_standard_input(kind: str, tmp_path: Path) -> None:
    port = free_port()
    with Run(kind, tmp_path, "-", text=f"port {port}\nbind 127.0.0.1\nsave ''\nmaxclients 99\n").ready():
        assert client_of(port).config_get("maxclients") == {"maxclients": "99"}


@pytest.mark.parametrize(
    ("lines", "number", "reason"),
    [
        ("port 1\nno-such-setting 1", 2, "Bad directive or wrong number of arguments"),
        ("# c\n\nmaxclients many", 3, "argument couldn't be parsed into an integer"),
        ("appendonly perhaps", 1, "argument must be 'yes' or 'no'"),
        ('dir "unbalanced', 1, "Unbalanced quotes in configuration line"),
        ("port 99999", 1, "argument must be between 0 and 65535 inclusive"),
    ],
)
def test_wrong_line_is_named(kind: str, tmp_path: Path, lines: str, number: int, reason: str) -> None:
    (tmp_path / "redis.conf").write_text(lines + "\n")
    with Run(kind, tmp_path, "redis.conf") as run:
        assert run.status() == 1
        shown = run.text()
        assert "*** FATAL CONFIG FILE ERROR (Redis" in shown
        assert f"Reading the configuration file, at line {number}\n>>> '{lines.splitlines()[-1]}'\n{reason}" in shown
        assert "Traceback" not in shown


def test_wrong_option_and_missing_file(kind: str, tmp_path: Path) -> None:
    with Run(kind, tmp_path, "--port", "many") as run:
        assert run.status() == 1
        assert ">>> 'port \"many\"'" in run.text()
    with Run(kind, tmp_path, "/nowhere/redis.conf") as run:
        assert run.status() == 1
        assert "can't open config file '/nowhere/redis.conf': No such file or directory" in run.text()


def test_the_log_level_can_be_set_while_it_runs(kind: str, tmp_path: Path) -> None:
    with start(kind, tmp_path) as server:
        for level, lines in (("warning", 0), ("notice", 1)):
            server.client.config_set("loglevel", level)
            before = server.log_text().count("DB saved on disk")
            server.client.save()
            assert server.log_text().count("DB saved on disk") - before == lines


def test_config_rewrite_then_restart(kind: str, tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "redis.conf"
    path.write_text(f"# mine\nport {port}\nbind 127.0.0.1\nsave \"\"\nmaxclients 111\n")
    with Run(kind, tmp_path, "redis.conf").ready() as run, client_of(port) as client:
        assert client.config_set("maxclients", 123) and client.config_set("timeout", 55)
        assert client.config_rewrite()
        text = path.read_text()
        assert text.startswith("# mine\n") and "maxclients 123" in text and "timeout 55" in text
        assert run.end() == 0
    with Run(kind, tmp_path, "redis.conf").ready(), client_of(port) as client:
        assert client.config_get("maxclients", "timeout") == {"maxclients": "123", "timeout": "55"}


def test_version(tmp_path: Path) -> None:
    for option in ("--version", "-v"):
        with Run("hashslot", tmp_path, option) as run:
            assert run.status() == 0
            assert re.match(r"hashslot server v=\d+\.\d+\.\d+ redis_version=7\.\d+\.\d+", run.text())


# Start and end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_in_order(kind: str, tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with Run(kind, tmp_path, "--port", str(port), "--save", "").ready() as run, socket.create_connection(
        ("127.0.0.1", port)
    ) as client:
        client.sendall(b"SET x 1\r\n")
        assert client.recv(100) == b"+OK\r\n"
        assert run.end(number) == 0
        assert client.recv(100) == b""
        assert "bye bye" in run.text()


def test_shutdown_command(kind: str, tmp_path: Path) -> None:
    port = free_port()
    with Run(kind, tmp_path, "--port", str(port), "--save", "").ready() as run:
        client_of(port).shutdown(nosave=True)
        assert run.status() == 0


def test_start_takes_so_long(tmp_path: Path, record_property: Any) -> None:
    """A bare node's start is reported; a bound that a busy machine can not break is held."""
    times = []
    for _ in range(3):
        port = free_port()
        with Run("hashslot", tmp_path, "--port", str(port)).ready() as run:
            times.append(time.monotonic() - run.began)
            assert run.end() == 0
    record_property("start_s", round(min(times), 3))
    print(f"a bare node was ready after {min(times):.3f} s (best of three)")
    assert min(times) < 5


def test_daemon(kind: str, tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "there"
    folder.mkdir()
    pidfile, logfile = folder / "node.pid", folder / "node.log"
    # All names are relative to `dir`, which itself is to where it was started.
    options = ["--daemonize", "yes", "--pidfile", pidfile.name, "--logfile", logfile.name, "--dir", folder.name]
    with Run(kind, tmp_path, "--port", str(port), "--save", "", *options) as run:
        assert run.status() == 0
        until(lambda: logfile.exists() and READY in logfile.read_text(), "ready")
        pid = int(pidfile.read_text())
        try:
            assert client_of(port).info("server")["process_id"] == pid
            assert os.getsid(pid) != os.getsid(0)
            os.kill(pid, signal.SIGTERM)
            until(lambda: not alive(pid), "ended")
            assert not pidfile.exists()
            assert "bye bye" in logfile.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_port_in_use(kind: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Run(kind, tmp_path, "--port", str(port), "--bind", "127.0.0.1") as run:
            assert run.status() == 1
            assert f"Could not create server TCP listening socket 127.0.0.1:{port}" in run.text()
            assert "Address already in use" in run.text() and "Traceback" not in run.text()


def test_bus_port_in_use(kind: str, tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 10000))
        taken.listen()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes"]
        with Run(kind, tmp_path, *options) as run:
            assert run.status() == 1
            assert f"127.0.0.1:{port + 10000}" in run.text() and "Traceback" not in run.text()


def test_port_too_high_for_a_cluster(kind: str, tmp_path: Path) -> None:
    with Run(kind, tmp_path, "--port", "65000", "--cluster-enabled", "yes") as run:
        assert run.status() == 1
        assert "port number too high" in run.text()


def test_directory_that_is_not_there(kind: str, tmp_path: Path) -> None:
    with Run(kind, tmp_path, "--dir", "/nowhere/at/all") as run:
        assert run.status() == 1
        assert "No such file or directory" in run.text() and "Traceback" not in run.text()


def test_log_file_that_can_not_be_opened(kind: str, tmp_path: Path) -> None:
    with Run(kind, tmp_path, "--logfile", "/nowhere/at/all.log") as run:
        assert run.status() == 1
        assert "open" in run.text() and "log" in run.text() and "Traceback" not in run.text()


# A directory in use, a nodes.conf that is damaged ---------------------------------------------------------------------


def test_second_node_on_the_same_directory(kind: str, tmp_path: Path) -> None:
    options = ["--cluster-enabled", "yes", "--save", "", "--dir", str(tmp_path)]
    with Run(kind, tmp_path, "--port", str(free_port()), *options).ready() as first:
        before = (tmp_path / "nodes.conf").read_text()
        with Run(kind, tmp_path, "--port", str(free_port()), *options) as second:
            assert second.status() == 1
            assert "already used by a different" in second.text()
        assert (tmp_path / "nodes.conf").read_text() == before
        first.process.kill()  # The lock goes with the process, however it ends.
        first.status()
        with Run(kind, tmp_path, "--port", str(free_port()), *options).ready() as third:
            assert third.end() == 0


def test_damaged_nodes_conf(tmp_path: Path) -> None:
    """Refused, with the line and the reason; the file stays as it is."""
    port = free_port()
    options = ["--port", str(port), "--cluster-enabled", "yes"]
    with Run("hashslot", tmp_path, *options).ready() as run:
        run.end()
    path = tmp_path / "nodes.conf"
    whole = path.read_text()
    assert whole.splitlines()[-1].startswith("vars currentEpoch")
    for damaged, line in [
        ("nonsense\n" + whole, "line 1"),
        (whole.replace("myself,master", "myself,mister"), "line 1"),
        (whole.replace("connected", "connected 0-99999"), "line 1"),
        (whole.replace(" 0 connected", " x connected"), "line 1"),
        (whole[: len(whole) // 2], "line"),
        (whole.splitlines()[0] + "\n", "line"),
    ]:
        assert damaged != whole
        path.write_text(damaged)
        with Run("hashslot", tmp_path, *options) as run:
            assert run.status() == 1, run.text()
            assert "corrupted cluster config file" in run.text() and str(path) in run.text()
            assert line in run.text() and "Traceback" not in run.text(), run.text()
        assert path.read_text() == damaged
    path.write_text(whole)
    with Run("hashslot", tmp_path, *options).ready() as run:
        assert client_of(port).execute_command("CLUSTER", "MYID").decode() == whole.split()[0]


# Connections ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(kind: str, tmp_path: Path) -> Iterator[tuple[Run, int]]:
    port = free_port()
    with Run(kind, tmp_path, "--port", str(port), "--bind", "127.0.0.1", "--save", "").ready() as run:
        yield run, port


def test_unix_socket(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    path.write_text("left behind by a crash")
    options = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--save", ""]
    with Run(kind, tmp_path, *options) as run:
        until(lambda: stat.S_ISSOCK(path.stat().st_mode), "a socket")
        with redis.Redis(unix_socket_path=str(path)) as client:
            until(client.ping, "answering")
            assert client.set("x", "1") and client.get("x") == b"1"
            assert client.client_info()["addr"] == f"{path}:0"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert run.end() == 0
        assert not path.exists()


def test_maxclients(running: tuple[Run, int]) -> None:
    _, port = running
    with client_of(port) as first:
        assert first.config_set("maxclients", 3)
        with contextlib.ExitStack() as opened:
            kept = [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(2)]
            for one in kept:
                one.sendall(b"PING\r\n")
                assert one.recv(100) == b"+PONG\r\n"
            with socket.create_connection(("127.0.0.1", port)) as refused:
                assert refused.makefile("rb").read() == b"-ERR max number of clients reached\r\n"
        assert first.info("stats")["rejected_connections"] == 1
        until(lambda: first.info("clients")["connected_clients"] == 1, "rid of the two")
        with client_of(port) as again:
            assert again.ping()


def test_idle_clients_are_closed(running: tuple[Run, int]) -> None:
    _, port = running
    with client_of(port) as busy, socket.create_connection(("127.0.0.1", port)) as idle:
        assert busy.config_set("timeout", 1)
        began = time.monotonic()
        idle.settimeout(0.2)
        while True:
            assert busy.ping(), "a client that is busy stays"
            try:
                assert idle.recv(1) == b""
                break
            except TimeoutError:
                assert time.monotonic() - began < 10
        assert time.monotonic() - began > 0.9


def test_keep_alive_is_asked_of_the_kernel(running: tuple[Run, int]) -> None:
    """The kernel shows the timer of a connection on which keep-alive is set."""
    run, port = running
    with client_of(port) as client:
        assert client.config_get("tcp-keepalive") == {"tcp-keepalive": "300"}
        with socket.create_connection(("127.0.0.1", port)) as one:
            own = one.getsockname()[1]
            one.sendall(b"PING\r\n")
            assert one.recv(100) == b"+PONG\r\n"
            assert timer_of(run.process.pid, port, own) == "02", "02 is the keep-alive timer"
        assert client.config_set("tcp-keepalive", 0)
        with socket.create_connection(("127.0.0.1", port)) as one:
            own = one.getsockname()[1]
            one.sendall(b"PING\r\n")
            assert one.recv(100) == b"+PONG\r\n"
            until(lambda: timer_of(run.process.pid, port, own) == "00", "no timer")


def timer_of(pid: int, local: int, remote: int) -> str:
    """The `tr` column of /proc/net/tcp for one connection."""
    assert psutil.pid_exists(pid)
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if (int(words[1].split(":")[1], 16), int(words[2].split(":")[1], 16)) == (local, remote):
            return words[5].split(":")[0]
    raise AssertionError("no such connection")


def test_sixteen_databases(running: tuple[Run, int]) -> None:
    _, port = running
    for database in (0, 15):
        with client_of(port, db=database) as client:
            assert client.set("x", database)
    with client_of(port) as client:
        assert client.get("x") == b"0"
        assert {"db0", "db15"} == set(client.info("keyspace"))
        with pytest.raises(redis.ResponseError, match="DB index is out of range"):
            client.execute_command("SELECT", 16)
        with pytest.raises(redis.ResponseError, match="cluster support disabled"):
            client.execute_command("CLUSTER", "INFO")
