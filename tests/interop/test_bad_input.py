"""What strangers send: refused, not crashed. Afterwards the node answers, and its memory is bounded.

One node for the file (cluster mode on, a password set, a second node as a member): damage done by one test shows in the
next.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gossip.codec import decode, encode
from gossip.messages import Ping
from tests.clients.up import free_range, until
from tests.servers import ServerProcess, start

pytestmark = pytest.mark.real

PASSWORD = "correct horse"
MIB = 1024 * 1024


class Target:
    """The node under attack. `witness`: a member of its cluster that nobody attacks."""

    def __init__(self, server: ServerProcess, witness: ServerProcess) -> None:
        self.port = server.port
        self.bus_port = server.port + 10000
        self.server = server
        self.witness = witness
        self.client: Any = redis.Redis(
            port=server.port, password=PASSWORD, socket_timeout=20, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        self._process = psutil.Process(server.process.pid)

    def memory(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)

    def connect(self, timeout_s: float = 10.0, bus: bool = False) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.bus_port if bus else self.port), timeout=timeout_s)

    def log_in(self) -> socket.socket:
        """A connection that may do everything."""
        one = self.connect()
        one.sendall(request(b"AUTH", PASSWORD.encode()))
        assert one.recv(100) == b"+OK\r\n"
        return one

    def connected(self) -> int:
        return int(self.client.info("clients")["connected_clients"])

    def members(self) -> list[tuple[str, ...]]:
        """CLUSTER NODES without what changes by itself: id, address, flags, primary, slots."""
        lines = self.client.execute_command("CLUSTER", "NODES").decode().splitlines()
        return sorted((*line.split()[:4], *line.split()[7:]) for line in lines)


def request(*args: bytes) -> bytes:
    """A request as clients send it."""
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    folder = tmp_path_factory.mktemp("bad-input")
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--maxclients", "5000"]
    with (
        start("hashslot", folder, *options, password=PASSWORD, port=free_range(1)) as server,
        start("hashslot", folder, *options, password=PASSWORD, port=free_range(1)) as witness,
    ):
        attacked = Target(server, witness)
        attacked.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        attacked.client.execute_command("CLUSTER", "MEET", "127.0.0.1", witness.port)
        until(lambda: [line[2] for line in attacked.members()].count("master") == 1, "met the witness")
        until(lambda: attacked.client.set("kept", "1"), "serving")
        server.client.close()
        until(lambda: attacked.connected() == 1, "alone")
        yield attacked
        attacked.client.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def unharmed(target: Target) -> Iterator[None]:
    """Around every test: the same process, with the same cluster and data; no clients and no much larger memory."""
    members, memory = target.members(), target.memory()
    yield
    assert target.client.ping()
    assert target.client.get("kept") == b"1"
    assert target.members() == members
    assert target.server.process.poll() is None
    until(lambda: target.connected() == 1, "rid of all clients but the one that asks", 10)
    # What the allocator keeps of connections that are gone is not given back at once.
    grown = (target.memory() - memory) / MIB
    assert grown < 48, f"{grown:.0f} MiB more than before"
    log = target.server.log_text()
    assert "Traceback" not in log and "Internal error" not in log, log[-3000:]


def read_all(one: socket.socket) -> bytes:
    """Everything until the other side closes (or resets)."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := one.recv(65536):
            data += chunk
    return data


def send_until_cut(one: socket.socket, data: bytes, limit: int) -> int:
    """Send again and again until the other side closes; bytes sent, AssertionError at `limit`."""
    sent = 0
    try:
        while sent < limit:
            one.sendall(data)
            sent += len(data)
    except (ConnectionResetError, BrokenPipeError):
        return sent
    raise AssertionError(f"nobody stopped {sent} bytes")


# Before authentication ------------------------------------------------------------------------------------------------


def test_commands_before_authentication(target: Target) -> None:
    with target.connect() as one:
        one.sendall(request(b"GET", b"kept") * 3)
        expected = b"-NOAUTH Authentication required.\r\n" * 3
        assert receive(one, len(expected)) == expected


def receive(one: socket.socket, count: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < count:
        chunk = one.recv(count - len(data))
        assert chunk, f"closed after {data!r}"
        data += chunk
    return data


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"*1000\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$20000\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
        (b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
        (b"*1000000000\r\n", b"-ERR Protocol error: "),
        (b"*-5\r\n*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n:5\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b'GET "unbalanced\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
        (b"*1" + b"1" * 70_000, b"-ERR Protocol error: too big mbulk count string\r\n"),
        (b"*1\r\n$1" + b"1" * 70_000, b"-ERR Protocol error: too big bulk count string\r\n"),
    ],
)
def test_oversized_before_authentication(target: Target, data: bytes, answer: bytes) -> None:
    with target.connect() as one:
        one.sendall(data)
        assert read_all(one).startswith(answer)


def test_unauthenticated_floods(target: Target) -> None:
    """Fifty strangers send as fast as they can what they may not: none gets far, others are served meanwhile."""
    with contextlib.ExitStack() as opened:
        flood = [opened.enter_context(target.connect()) for _ in range(50)]
        for one in flood:
            one.setblocking(False)
        waiting = request(b"SET", b"stolen", b"x" * 1000) * 50
        deadline = time.monotonic() + 1.5
        sent = slowest = 0.0
        while time.monotonic() < deadline:
            for one in flood:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sent += one.send(waiting)
            began = time.monotonic()
            assert target.client.ping()
            slowest = max(slowest, time.monotonic() - began)
        assert sent > MIB
        assert slowest < 3, f"somebody who may had to wait {slowest:.1f} s"
        assert target.memory() < 400 * MIB
    assert target.client.exists("stolen") == 0


def test_wrong_passwords(target: Target) -> None:
    with target.connect() as one:
        for _ in range(200):
            one.sendall(request(b"AUTH", os.urandom(20)))
            assert one.recv(200).startswith(b"-WRONGPASS ")
        one.sendall(request(b"GET", b"kept"))
        assert one.recv(100).startswith(b"-NOAUTH ")


# Half requests, announced lengths, idle clients -----------------------------------------------------------------------


def test_half_requests_kept_open(target: Target) -> None:
    """They cost what was sent, and end with their connection."""
    whole = request(b"SET", b"half", b"v" * 100)
    with contextlib.ExitStack() as opened:
        for cut in range(1, len(whole)):
            one = opened.enter_context(target.log_in())
            one.sendall(whole[:cut])
        assert target.client.ping()
        assert target.client.exists("half") == 0
        assert target.connected() == len(whole)


def test_announced_lengths_cost_nothing(target: Target) -> None:
    before = target.memory()
    with contextlib.ExitStack() as opened:
        for _ in range(100):
            one = opened.enter_context(target.log_in())
            one.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nonly this")
            other = opened.enter_context(target.log_in())
            other.sendall(b"*1048576\r\n$3\r\nDEL\r\n")
        assert target.client.ping()
        assert (target.memory() - before) / MIB < 30
    with target.log_in() as one:
        one.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n")
        assert read_all(one) == b"-ERR Protocol error: invalid bulk length\r\n"


def test_request_that_never_ends(target: Target) -> None:
    """A client that has authenticated may send much, but no more than client-query-buffer-limit."""
    assert target.client.config_set("client-query-buffer-limit", 4 * MIB)
    try:
        with target.log_in() as one:
            one.sendall(b"*100\r\n$4\r\nMSET\r\n$500000000\r\n")
            assert send_until_cut(one, b"x" * MIB, 100 * MIB) < 40 * MIB
    finally:
        assert target.client.config_set("client-query-buffer-limit", 1024 * MIB)


def test_thousand_idle_clients(target: Target) -> None:
    before = target.memory()
    with contextlib.ExitStack() as opened:
        idle = [opened.enter_context(target.connect()) for _ in range(1000)]
        until(lambda: target.connected() == 1001, "all connected")
        assert target.client.ping()
        each = (target.memory() - before) / 1000
        assert each < 40_000, f"{each:.0f} bytes for an idle client"
        for one in (idle[0], idle[500], idle[-1]):
            one.sendall(b"PING\r\n")
            assert one.recv(100).startswith(b"-NOAUTH")


def test_ten_thousand_quick_connects(target: Target) -> None:
    received = target.client.info("stats")["total_connections_received"]
    for _ in range(10_000):
        with socket.socket() as one:
            # Reset when closed: 10,000 ports in TIME_WAIT would be missed by other tests.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.connect(("127.0.0.1", target.port))
    until(lambda: target.connected() == 1, "rid of them all")
    assert target.client.info("stats")["total_connections_received"] - received > 5000


def test_more_clients_than_allowed(target: Target) -> None:
    assert target.client.config_set("maxclients", 50)
    try:
        with contextlib.ExitStack() as opened:
            for _ in range(49):
                opened.enter_context(target.log_in())
            for _ in range(200):
                with target.connect() as refused:
                    assert read_all(refused) == b"-ERR max number of clients reached\r\n"
            assert target.client.ping()
    finally:
        assert target.client.config_set("maxclients", 5000)


# Readers that do not read ---------------------------------------------------------------------------------------------


def test_client_that_never_reads_is_cut(target: Target) -> None:
    """client-output-buffer-limit normal: what it asks for and does not take is bounded."""
    assert target.client.set("large", b"x" * MIB)
    assert target.client.config_set("client-output-buffer-limit", "normal 8388608 0 0")
    cut = target.client.info("stats")["client_output_buffer_limit_disconnections"]
    try:
        with target.log_in() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(ConnectionError):
                for _ in range(200):
                    one.sendall(request(b"GET", b"large"))
            until(lambda: target.connected() == 1, "cut")
        assert target.client.info("stats")["client_output_buffer_limit_disconnections"] == cut + 1
        assert "overcoming of output buffer limits" in target.server.log_text()
    finally:
        assert target.client.config_set("client-output-buffer-limit", "normal 0 0 0")
        assert target.client.delete("large") == 1


def test_soft_limit_needs_its_time(target: Target) -> None:
    assert target.client.set("large", b"x" * MIB)
    assert target.client.config_set("client-output-buffer-limit", "normal 0 1048576 1")
    try:
        with target.log_in() as one:
            began = time.monotonic()
            for _ in range(10):
                one.sendall(request(b"GET", b"large"))
            until(lambda: target.connected() == 1, "cut")
            assert time.monotonic() - began > 0.9
    finally:
        assert target.client.config_set("client-output-buffer-limit", "normal 0 0 0")
        assert target.client.delete("large") == 1


# Noise ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logged_in", [False, True])
def test_random_bytes_on_the_client_port(target: Target, logged_in: bool) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    source = random.Random(seed)
    pieces = [b"*", b"$", b"\r\n", b"3", b"-1", b"GET", b"kept", b" ", b'"', b"\0", b"9" * 20, b"'", b"%", b">"]
    for _ in range(300):
        noise = b"".join(
            source.choice(pieces) if source.random() < 0.8 else source.randbytes(source.randrange(50))
            for _ in range(source.randrange(1, 60))
        )
        with target.log_in() if logged_in else target.connect() as one, contextlib.suppress(ConnectionError):
            one.sendall(noise)
            one.shutdown(socket.SHUT_WR)
            read_all(one)


def ping_frame(target: Target) -> bytes:
    """A real ping of a real stranger, taken off the wire: what a node that is told to MEET us sends first."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        target.witness.client.execute_command("CLUSTER", "MEET", "127.0.0.1", 1, port)
        link, _ = listener.accept()
        with link:
            link.settimeout(10)
            head = receive(link, 8)
            return head + receive(link, struct.unpack(">I", head[4:8])[0] - 8)


def test_random_bytes_on_the_bus_port(target: Target) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    source = random.Random(seed)
    for _ in range(150):
        noise = source.randbytes(source.randrange(1, 4000))
        if source.random() < 0.5:
            noise = b"RCmb" + noise
        with target.connect(bus=True) as one, contextlib.suppress(ConnectionError):
            one.sendall(noise)
            one.shutdown(socket.SHUT_WR)
            assert read_all(one) == b""


def test_huge_frame_announced_on_the_bus_port(target: Target) -> None:
    before = target.memory()
    for length in (65_537, 1 << 20, (1 << 32) - 1, 0, 15):
        with target.connect(bus=True) as one:
            one.sendall(b"RCmb" + struct.pack(">IHHHH", length, 1, 0, 0, 0))
            assert read_all(one) == b""
    with contextlib.ExitStack() as opened:
        for _ in range(100):
            one = opened.enter_context(target.connect(bus=True))
            one.sendall(b"RCmb" + struct.pack(">IHHHH", 65_000, 1, 0, 0, 0))
        assert target.client.ping()
        assert (target.memory() - before) / MIB < 20


def test_idle_and_half_links_on_the_bus_port(target: Target) -> None:
    frame = ping_frame(target)
    with contextlib.ExitStack() as opened:
        for cut in range(0, len(frame), 50):
            one = opened.enter_context(target.connect(bus=True))
            one.sendall(frame[:cut])
        assert target.client.ping()


def test_valid_frames_of_strangers_change_nothing(target: Target) -> None:
    """A ping, pong, fail or update from a node that nobody has met: not one of them may touch the member table."""
    before, epoch = target.members(), target.client.cluster("INFO")["cluster_current_epoch"]
    frame = bytearray(ping_frame(target))
    stranger = b"%040x" % random.SystemRandom().getrandbits(160)
    frame[40:80] = stranger
    all_slots = b"\xff" * 2048
    for kind in (0, 1):
        claim = bytearray(frame)
        claim[12:14] = struct.pack(">H", kind)
        claim[24:32] = struct.pack(">Q", 1 << 40)  # config epoch
        claim[80:2128] = all_slots
        send_frames(target, bytes(claim) * 3)
    own_id = target.client.execute_command("CLUSTER", "MYID")
    header = frame[:2256]
    for kind, body in (
        (3, own_id),
        (7, struct.pack(">Q", 1 << 40) + stranger + all_slots),
        (7, struct.pack(">Q", 1 << 40) + target.witness.client.execute_command("CLUSTER", "MYID") + all_slots),
        (5, b""),
        (6, b""),
        (8, b""),
    ):
        message = bytearray(header + body)
        message[4:8] = struct.pack(">I", len(message))
        message[12:16] = struct.pack(">HH", kind, 0)
        message[2214:2216] = b"\0\0"
        message[2253] &= ~4 & 0xFF
        send_frames(target, bytes(message) * 3)
    assert target.members() == before
    assert target.client.cluster("INFO")["cluster_current_epoch"] == epoch
    assert target.client.cluster("INFO")["cluster_state"] == "ok"


def test_mutated_frames(target: Target) -> None:
    """Almost valid frames of strangers, of every type: nothing crashes, no node is added, no slot changes hands."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    source = random.Random(seed)
    frame = ping_frame(target)
    assert isinstance(decode(frame), Ping) and len(encode(decode(frame))) == len(frame)
    for _ in range(150):
        changed = bytearray(frame)
        changed[40:80] = b"%040x" % source.getrandbits(160)
        for _ in range(source.randrange(1, 6)):
            changed[source.randrange(8, len(changed))] = source.randrange(256)
        changed[12:14] = struct.pack(">H", source.choice([0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0xFFFF]))
        send_frames(target, bytes(changed), wait=False)


def send_frames(target: Target, data: bytes, wait: bool = True) -> None:
    """Give the bus these bytes on a link of their own and let it answer or close."""
    with target.connect(bus=True) as one, contextlib.suppress(ConnectionError):
        one.sendall(data)
        one.shutdown(socket.SHUT_WR)
        if wait:
            read_all(one)
