"""Says by its exit status whether the node in this container is usable, for HEALTHCHECK and readiness probes.

Usable means: it answers, the cluster it belongs to is `ok`, and a replica has its primary's data. Plain sockets and
inline commands keep it at one short interpreter start; importing a client library would cost more than the node
itself when idle.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

TIMEOUT_S = 2.0


def own_port(environ: Mapping[str, str], hostname: str) -> int:
    """This container's port: HASHSLOT_PORT, else its own entry in HASHSLOT_MEMBERS, else 7000."""
    if environ.get("HASHSLOT_PORT"):
        return int(environ["HASHSLOT_PORT"])
    for word in environ.get("HASHSLOT_MEMBERS", "").replace(",", " ").split():
        host, _, port = word.rpartition(":")
        if host.split(".")[0] == hostname.split(".")[0]:
            return int(port)
    return 7000


def complaint(info: str) -> str:
    """Why the node is not usable, from the text of CLUSTER INFO and INFO replication; "" when it is."""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    if "role" not in fields:
        return "no INFO"
    if fields.get("cluster_state", "ok") != "ok":
        return f"cluster_state is {fields['cluster_state']}"
    if fields["role"] == "slave" and fields.get("master_link_status") != "up":
        return "the link to the primary is down"
    return ""


def ask(port: int, password: str) -> str:
    """The text of CLUSTER INFO and INFO replication of the node on `port`, errors included. Raises OSError."""
    commands = [["CLUSTER", "INFO"], ["INFO", "replication"], ["QUIT"]]
    if password:
        commands.insert(0, ["AUTH", password])
    request = b"".join(
        b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
        for words in commands
    )
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.sendall(request)
        chunks = []
        while chunk := connection.recv(65_536):
            chunks.append(chunk)
    return b"".join(chunks).decode(errors="replace")


def main() -> None:
    """Exit 0 when usable, 1 with one line when not."""
    port = own_port(os.environ, socket.gethostname())
    try:
        problem = complaint(ask(port, os.environ.get("HASHSLOT_PASSWORD", "")))
    except OSError as error:
        problem = f"port {port}: {error}"
    if problem:
        print(problem)
        sys.exit(1)


if __name__ == "__main__":
    main()
