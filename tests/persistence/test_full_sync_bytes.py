"""Full syncs over a socket, without our replication code: their RDB stream into the reader, ours into their replica."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from node.persistence.options import SaveOptions, rdb_version_for_replica
from node.persistence.rdb import RdbReader, RdbWriter, standard_aux
from node.persistence.records import Header, Key, Record
from node.types.hash import Hash
from tests.persistence.conftest import start_real
from tests.servers import ServerProcess

REPLID = "0123456789abcdef0123456789abcdef01234567"


def sync_from(server: ServerProcess, handshake: bytes, chunk: int) -> tuple[list[Record], RdbReader, bytes]:
    """Ask `server` for a full sync; the records, the reader, and the line that announced the payload."""
    port = server.client.connection_pool.connection_kwargs["port"]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        stream = link.makefile("rb")
        for step in handshake.splitlines(keepends=True):
            link.sendall(step)
            assert stream.readline() == b"+OK\r\n"
        link.sendall(b"PSYNC ? -1\r\n")  # Refused while a reply is still under way, so only now.
        assert stream.readline().startswith(b"+FULLRESYNC ")
        line = stream.readline()
        while line == b"\n":
            line = stream.readline()
        reader = RdbReader()
        records: list[Record] = []
        expected = len(line) - 7 if line.startswith(b"$EOF:") else 0
        while not reader.finished or len(reader.leftover) < expected:
            records += reader.feed(stream.read1(chunk))
        return records, reader, line.strip()


@pytest.mark.parametrize("capability", [b"eof", b"psync2"])
@pytest.mark.parametrize("announce", [b"", b"REPLCONF version 255.255.255\r\n"])
def test_their_stream_is_read(real: ServerProcess, capability: bytes, announce: bytes) -> None:
    if real.kind == "redis" and announce:
        announce = b""  # Redis 7.0 does not know the option; its stream is the same.
    client = real.client
    client.flushall()
    client.config_set("repl-diskless-sync", "yes")
    client.config_set("repl-diskless-sync-delay", 0)
    expected = {b"k%d" % i: b"v%d" % i * 20 for i in range(500)}
    client.mset(expected)
    client.hset("h", mapping={"f": "1"})
    records, reader, line = sync_from(real, announce + b"REPLCONF capa " + capability + b"\r\n", 100)
    keys = {r.key: r.value for r in records if isinstance(r, Key)}
    table = keys.pop(b"h")
    assert isinstance(table, Hash)
    assert table.lookup() == {b"f": b"1"}
    assert keys == expected
    assert isinstance(records[0], Header)
    if capability == b"eof":
        assert line.startswith(b"$EOF:")
        assert reader.leftover[:40] == line[5:]
        if real.kind == "valkey":
            assert records[0].version == (80 if announce else 11)
    else:  # Written to disk first, in the server's own version whatever the replica said.
        assert int(line[1:]) == reader.offset


def serve(listener: socket.socket, seen: list[str | None]) -> None:
    """Be a primary for one replica: answer its handshake, then send an RDB in the version it can read."""
    link, _ = listener.accept()
    with link:
        link.settimeout(10)
        stream = link.makefile("rb")
        version: str | None = None
        while header := stream.readline():
            words = []
            for _ in range(int(header[1:])):
                stream.readline()
                words.append(stream.readline().strip())
            if words[0].upper() == b"PSYNC":
                break
            if b"version" in words:
                version = words[words.index(b"version") + 1].decode()
            link.sendall(b"+PONG\r\n" if words[0].upper() == b"PING" else b"+OK\r\n")
        seen.append(version)
        writer = RdbWriter(SaveOptions(version=rdb_version_for_replica(version)))
        writer.header(standard_aux("7.2.4", 1700000000, 1 << 20, False, (0, REPLID, 0)))
        writer.select(0)
        for i in range(500):
            writer.key(b"k%d" % i, i if i % 2 else b"v" * i, 4102444800000 if i % 5 == 0 else None)
        writer.key(b"h", Hash({b"f": b"1", b"g": b"long" * 30}))
        mark = b"e" * 40
        link.sendall(b"+FULLRESYNC " + REPLID.encode() + b" 0\r\n$EOF:" + mark + b"\r\n" + writer.finish() + mark)
        stream.read(1)  # The first REPLCONF ACK: until then a replica may look for the mark at the end of what it reads.
        stream.readline()
        request = b"*3\r\n$3\r\nSET\r\n$4\r\ndone\r\n$1\r\n1\r\n"
        link.sendall(request)
        while (line := stream.readline()) and line.strip() != b"%d" % len(request):
            continue  # Until it has acknowledged that, or its end.


@pytest.mark.parametrize("name", ["redis", "valkey"])
def test_our_stream_is_taken_by_their_replica(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        seen: list[str | None] = []
        primary = threading.Thread(target=serve, args=(listener, seen), daemon=True)
        primary.start()
        server = start_real(name, tmp_path, "--replicaof", f"127.0.0.1 {listener.getsockname()[1]}")
        try:
            primary.join(10)
            assert not primary.is_alive()
            client = server.client
            assert client.get("k7") == b"7"
            assert client.get("k40") == b"v" * 40
            assert client.pexpiretime("k40") == 4102444800000
            assert client.hgetall("h") == {b"f": b"1", b"g": b"long" * 30}
            assert client.dbsize() == 502
            assert (seen[0] is None) == (name == "redis")
        finally:
            server.stop()
