"""Messages in members' names from this very host, without credentials, by somebody who knows every id and epoch: refused.

And the primary that was asleep (SIGSTOP) while its replica took over: what clients had sent meanwhile is not acknowledged.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis.crc import key_slot

from cluster.slots import slots_to_bitmap
from gossip.codec import encode
from gossip.ids import NodeId
from gossip.messages import (
    SLOT_COUNT,
    Fail,
    FailoverAuthAck,
    FailoverAuthRequest,
    Header,
    Message,
    MessageFlag,
    MessageType,
    MfStart,
    NodeFlag,
    Ping,
    Publish,
    Update,
)
from tests.clients.up import Up, until

pytestmark = pytest.mark.real

EVERYTHING = slots_to_bitmap(range(SLOT_COUNT))
GIANT = 1 << 40


TIMEOUT_MS = 2000


@pytest.fixture(scope="module")
def six() -> Iterator[Up]:
    up = Up()
    try:
        for port in up.ports:
            with up.connect(port, protocol=2) as client:
                client.config_set("cluster-node-timeout", TIMEOUT_MS)
        until(lambda: all("cluster_state:ok" in info(up, port) for port in up.ports), "all ok")
        yield up
    finally:
        up.close()


def info(up: Up, port: int) -> str:
    with up.connect(port, protocol=2) as client:
        return str(client.execute_command("CLUSTER", "INFO"))


def nodes_lines(client: Any) -> list[list[str]]:
    """CLUSTER NODES in words."""
    return [line.split() for line in client.execute_command("CLUSTER", "NODES").decode().splitlines()]


def view(up: Up, port: int) -> list[tuple[str, ...]]:
    """What a node believes of everybody: id, address, flags, primary, config epoch, slots; and the current epoch."""
    with up.connect(port, protocol=2) as client:
        lines = nodes_lines(client)
        epoch = str(client.cluster("INFO")["cluster_current_epoch"])
    return [*sorted((*words[:4], words[6], *words[8:]) for words in lines), (epoch,)]


def forgeries(members: dict[str, NodeId], epoch: int) -> dict[str, Message]:
    """members: `primary`, `replica` (its), `victim` (another primary)."""
    primary, replica, victim = members["primary"], members["replica"], members["victim"]
    giant = Header(primary, 1, 2, NodeFlag.PRIMARY, GIANT, GIANT, 1 << 40, EVERYTHING)
    small = replace(giant, current_epoch=epoch + 1, config_epoch=epoch + 1)
    as_replica = replace(small, sender=replica, flags=NodeFlag.REPLICA, primary=primary)
    return {
        "update": Update(giant, GIANT, primary, EVERYTHING),
        "update with the next epoch": Update(small, epoch + 1, primary, EVERYTHING),
        "ping": Ping(MessageType.PING, giant),
        "pong": Ping(MessageType.PONG, small),
        "meet": Ping(MessageType.MEET, replace(small, ip="6.6.6.6")),
        "fail": Fail(small, victim),
        "request": FailoverAuthRequest(replace(as_replica, current_epoch=GIANT)),
        "forced request": FailoverAuthRequest(replace(as_replica, message_flags=MessageFlag.FORCE_VOTE)),
        "request of the present": FailoverAuthRequest(
            replace(as_replica, current_epoch=epoch, message_flags=MessageFlag.FORCE_VOTE)
        ),
        "vote": FailoverAuthAck(small),
        "manual failover": MfStart(replace(as_replica, current_epoch=epoch)),
        "publish": Publish(small, b"channel", b"forged"),
        "replica of another": Ping(MessageType.PING, replace(small, flags=NodeFlag.REPLICA, primary=victim)),
    }


def test_forged_messages_change_nothing(six: Up) -> None:
    before = {port: view(six, port) for port in six.ports}
    nodes = {words[0]: words for words in before[six.port][:-1]}
    mine = next(node for node, words in nodes.items() if "myself" in words[2])
    primary = next(node for node, words in nodes.items() if "master" in words[2] and node != mine)
    members = {"primary": NodeId(primary), "victim": NodeId(mine)}
    members["replica"] = NodeId(next(node for node, words in nodes.items() if words[3] == primary))
    with six.connect() as subscriber:
        heard = subscriber.pubsub(ignore_subscribe_messages=True)
        heard.subscribe("channel")
        heard.get_message(timeout=5)
        for name, message in forgeries(members, 6).items():
            for port in six.ports:
                with socket.create_connection(("127.0.0.1", port + 10000), timeout=5) as link:
                    link.sendall(encode(message) * 3)
                    link.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(ConnectionError):
                        while link.recv(65536):
                            pass
            for port in six.ports:
                assert view(six, port) == before[port], name
        assert heard.get_message(timeout=0.05) is None
    time.sleep(0.5)  # Whatever a forgery has set in motion has had its time: five ticks and many pings.
    for port in six.ports:
        assert view(six, port) == before[port]
        assert "cluster_state:ok" in info(six, port)


def keys_of(count: int, first: int, last: int) -> list[bytes]:
    """So many keys of these slots."""
    keys = (b"paused:%d" % number for number in itertools.count())
    return list(itertools.islice((key for key in keys if first <= key_slot(key) <= last), count))


def sets(keys: list[bytes]) -> bytes:
    """A SET of each, as a client sends them in one pipeline."""
    return b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$1\r\n1\r\n" % (len(key), key) for key in keys)


def test_what_came_while_a_primary_slept_is_not_acknowledged_and_lost(six: Up) -> None:
    """5,000 writes wait in the sockets of a stopped primary while its replica takes over."""
    with six.connect(protocol=2) as client:
        nodes = nodes_lines(client)
    own = next(words for words in nodes if "myself" in words[2])
    heir = next(words for words in nodes if words[3] == own[0])
    heir_port = int(heir[1].split("@")[0].rsplit(":", 1)[1])
    first, last = (int(bound) for bound in own[8].split("-"))
    keys = keys_of(5000, first, last)
    pid = six.pid_of(six.port)
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(socket.create_connection(("127.0.0.1", six.port))) for _ in range(5)]
        for one in clients:
            one.sendall(b"*1\r\n$4\r\nPING\r\n")
            assert one.recv(100) == b"+PONG\r\n"
        os.kill(pid, signal.SIGSTOP)
        try:
            for index, one in enumerate(clients):
                one.sendall(sets(keys[index * 1000 : (index + 1) * 1000]))
            until(lambda: role(six, heir_port) == "master", "taken over", 40)
            until(lambda: serves(six, heir_port, keys[0]), "the heir serves", 20)
        finally:
            os.kill(pid, signal.SIGCONT)
        acknowledged = 0
        for one in clients:
            acknowledged += replies(one, 1000).count(b"+OK\r\n")
    until(lambda: role(six, six.port) == "slave", "the sleeper follows", 20)
    with six.connect(heir_port) as client:
        kept = sum(client.exists(key) for key in keys)
    print(f"acknowledged {acknowledged}, kept {kept}")
    assert acknowledged <= kept, f"{acknowledged - kept} acknowledged writes are lost"
    assert acknowledged == 0, "the heir had taken over long before"


def replies(one: socket.socket, count: int) -> bytes:
    """So many lines, or what there is when the other end closes."""
    one.settimeout(20)
    data = b""
    with contextlib.suppress(ConnectionError):
        while data.count(b"\r\n") < count:
            chunk = one.recv(65536)
            if not chunk:
                break
            data += chunk
    return data


def role(up: Up, port: int) -> Any:
    with up.connect(port, protocol=2) as client:
        return client.info("replication")["role"]


def serves(up: Up, port: int, key: bytes) -> bool:
    with up.connect(port, protocol=2) as client:
        client.execute_command("GET", key)
    return True
