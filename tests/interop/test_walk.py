"""The walk: six of our nodes under load are replaced one by one by valkey-server, and back, by the README's own commands.

Not one acknowledged write may be missing at the end, and redis-py's cluster client may not raise anything: what it is told
by redirects it deals with itself. Real processes and real time; nothing sleeps for a fixed time.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from redis.cluster import RedisCluster

from tests.clients.up import Up, alive, until
from tests.forked import fork
from tests.servers import ROOT, program

pytestmark = pytest.mark.real

PAGE = ROOT / "README.md"
STEP = 10
"""Between the first ports of the three generations of nodes, as on the page."""


def commands() -> str:
    """The shell lines of the page."""
    found = re.search(r"<!-- commands: outgrow -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None, f"{PAGE} has no such commands"
    return found[1]


def free_decades() -> int:
    """A port that ends in 0 with three times six free ports, and their buses, in the decades from there."""
    source = random.SystemRandom()
    while True:
        first = source.randrange(2000, 2266) * 10
        with contextlib.ExitStack() as held:
            try:
                for decade, last, bus in itertools.product(range(3), range(6), (0, 10000)):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", first + decade * STEP + last + bus))
            except OSError:
                continue
        return first


# --- load -------------------------------------------------------------------------------------------------------------


def cluster_of(port: int) -> Any:
    """A client that begins at this port."""
    return RedisCluster(host="127.0.0.1", port=port, socket_timeout=10)


def fill(cluster: Any) -> dict[str, Any]:
    """Keys of every type that all servers have, in many slots; what has to be read later on."""
    for number in range(300):
        cluster.set(f"string:{number}", f"value {number}" * (number % 20), px=10_000_000)
        cluster.rpush(f"list:{number}", *range(number + 1))
        cluster.sadd(f"set:{number}", *(range(number + 1) if number % 2 else map(str, ("a", "b", number))))
        cluster.zadd(f"zset:{number}", {f"member{one}": one / 3 for one in range(number + 1)})
        cluster.hset(f"hash:{number}", mapping={f"field{one}": one for one in range(number % 50 + 1)})
        cluster.pfadd(f"log:{number}", *range(number))
    for number in range(30):
        for one in range(1, 5):
            cluster.xadd(f"stream:{number}", {"f": one}, id=f"{one}-1")
        cluster.xgroup_create(f"stream:{number}", "group", id="0")
        cluster.xreadgroup("group", "reader", {f"stream:{number}": ">"}, count=2)
        cluster.hset(f"fields:{number}", mapping={"f": "v", "g": "w"})
        cluster.execute_command("HPEXPIRE", f"fields:{number}", 20_000_000, "FIELDS", 1, "f")
    return content(cluster)


def content(cluster: Any) -> dict[str, Any]:
    """What a client can see of those keys."""
    found: dict[str, Any] = {}
    for number in range(0, 300, 7):
        name = f"string:{number}"
        found[name] = cluster.get(name), cluster.execute_command("PEXPIRETIME", name)
        found[f"list:{number}"] = cluster.lrange(f"list:{number}", 0, -1)
        found[f"set:{number}"] = cluster.smembers(f"set:{number}")
        found[f"zset:{number}"] = cluster.zrange(f"zset:{number}", 0, -1, withscores=True)
        found[f"hash:{number}"] = cluster.hgetall(f"hash:{number}")
        found[f"log:{number}"] = cluster.pfcount(f"log:{number}")
    for number in range(30):
        name = f"stream:{number}"
        found[name] = cluster.xrange(name), cluster.xpending(name, "group")["pending"], cluster.xinfo_stream(name)["length"]
        deadlines = cluster.execute_command("HPEXPIRETIME", f"fields:{number}", "FIELDS", 2, "f", "g")
        found[f"fields:{number}"] = cluster.hgetall(f"fields:{number}"), deadlines
    return found


class Load:
    """Threads, each with a client of its own: unique values, counters, lists and readers of what has been acknowledged."""

    def __init__(self, port: int) -> None:
        self.values: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.lists: dict[str, list[bytes]] = {}
        self.reads = 0
        self.errors: list[str] = []
        self._port = port
        self._ends = threading.Event()
        work = (self._write_values, self._count, self._append, self._read)
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in work]
        for thread in self._threads:
            thread.start()

    def _run(self, work: Any) -> None:
        with cluster_of(self._port) as cluster:
            for number in itertools.count():
                if self._ends.wait(0.01):
                    return
                try:
                    work(cluster, number)
                except Exception as error:
                    self.errors.append(f"{work.__name__} {number}: {error!r}")

    def _write_values(self, cluster: Any, number: int) -> None:
        assert cluster.set(f"value:{number}", f"unique {number}", nx=True), "written before"
        self.values[f"value:{number}"] = f"unique {number}"

    def _count(self, cluster: Any, number: int) -> None:
        name = f"count:{number % 200}"
        count = cluster.incr(name)
        assert count == self.counts.get(name, 0) + 1, f"{name} is {count} behind {self.counts.get(name, 0)}"
        self.counts[name] = count

    def _append(self, cluster: Any, number: int) -> None:
        pipe = cluster.pipeline()
        for name in (f"row:{number % 50}", f"row:{(number + 25) % 50}"):
            pipe.rpush(name, number)
            self.lists.setdefault(name, []).append(b"%d" % number)
        pipe.execute()

    def _read(self, cluster: Any, number: int) -> None:
        if not self.values:
            return
        name = f"value:{random.Random(number).randrange(len(self.values))}"
        assert cluster.get(name) == self.values[name].encode(), f"{name} is lost"
        self.reads += 1

    def end(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(30)

    def assert_all_is_there(self, cluster: Any) -> None:
        """Every acknowledged write, once."""
        names = list(self.values)
        with cluster.pipeline() as pipe:
            for name in names:
                pipe.get(name)
            found = pipe.execute()
        lost = [name for name, value in zip(names, found, strict=True) if value != self.values[name].encode()]
        assert not lost, f"{len(lost)} of {len(names)} lost: {lost[:5]}"
        assert {name: int(cluster.get(name)) for name in self.counts} == self.counts
        assert {name: cluster.lrange(name, 0, -1) for name in self.lists} == self.lists


# --- the walk ---------------------------------------------------------------------------------------------------------


SCRIPT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as there:
    there.connect({path!r})
    there.sendall(json.dumps([os.getcwd(), *sys.argv[1:]]).encode() + b"\\n")
    status, output = json.loads(there.makefile().read())
sys.stdout.write(output)
sys.exit(status)
"""
"""`hashslot` as the shell finds it: it has the command run by a process that has the program loaded."""


class _Command(socketserver.StreamRequestHandler):
    """One call of the script."""

    def handle(self) -> None:
        folder, *words = json.loads(self.rfile.readline())
        with tempfile.NamedTemporaryFile() as output:
            status = fork(words, Path(output.name), Path(folder), COLUMNS="120").wait()
            self.wfile.write(json.dumps([status, output.read().decode()]).encode())


class Machine:
    """A folder with the programs that the page calls, and what they start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        (programs / "valkey-server").symlink_to(program("valkey")[0])
        script = programs / "hashslot"
        script.write_text(f"#!{sys.executable} -SE\n{SCRIPT.format(path=str(programs / 'socket'))}")
        script.chmod(0o755)
        self._commands = socketserver.ThreadingUnixStreamServer(str(programs / "socket"), _Command)
        threading.Thread(target=self._commands.serve_forever, daemon=True).start()
        self._environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "120"}

    def run(self, text: str) -> str:
        """What the shell lines print; AssertionError when one of them fails."""
        shell = shutil.which("bash")
        assert shell is not None
        done = subprocess.run([shell, "-ec", text], cwd=self.folder, env=self._environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=400)  # fmt: skip
        assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        return "\n".join(f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-8:])
                         for path in sorted(self.folder.glob("*/log")))  # fmt: skip

    def end(self) -> None:
        """The servers went into the background: they are those that run in a folder of ours."""
        self._commands.shutdown()
        self._commands.server_close()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.folder):
                    process.kill()
                    until(lambda pid=process.pid: not alive(pid), "ended")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path)
    try:
        yield found
    finally:
        found.end()


def members(port: int) -> list[str]:
    """What the members that clients are told of call themselves."""
    with cluster_of(port) as cluster:
        infos = cluster.info("server", target_nodes=RedisCluster.ALL_NODES)
        return [info.get("server_name", "redis") for info in infos.values()]


@pytest.mark.timeout(900)
def test_every_node_is_replaced_under_load_and_back(machine: Machine) -> None:
    first = free_decades()
    ours, valkeys, ours_again = (str((first + decade * STEP) // 10) for decade in range(3))
    there = commands().replace("701", valkeys).replace("700", ours)
    back = commands().replace("701", ours_again).replace("700", valkeys).replace("valkey-server", "hashslot node")
    assert there.count("valkey-server") == 1 and there.count("hashslot cluster failover") == 1
    with Up("--cluster-node-timeout", "5000", "--repl-diskless-sync-delay", "0", port=first) as up:
        with cluster_of(first) as cluster:
            expected = fill(cluster)
        load = Load(first)
        try:
            until(lambda: load.reads > 50, "under load")
            print(machine.run(there))
            until(lambda: members(first + STEP) == ["valkey"] * 6, "six of Valkey's")
            with cluster_of(first + STEP) as cluster:
                assert content(cluster) == expected
            for port in up.ports:
                with up.connect(port) as alone, pytest.raises(redis.ResponseError, match="Hash slot not served"):
                    alone.get("x")
            assert not load.errors, load.errors[:10]
            print(machine.run(back))
        finally:
            load.end()
        assert not load.errors, f"{len(load.errors)}: {load.errors[:10]}"
        assert min(len(load.values), sum(load.counts.values()), load.reads) > 1000
        until(lambda: members(first + 2 * STEP) == ["hashslot"] * 6, "six of ours")
        with cluster_of(first + 2 * STEP) as cluster:
            assert content(cluster) == expected
            load.assert_all_is_there(cluster)
        print(f"{len(load.values)} values, {sum(load.counts.values())} increments, {load.reads} reads")
