"""What `hashslot up` prints: the nodes of the cluster and how to connect to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from node.launcher import Child


def nodes_table(children: Sequence[Child], facts: dict[str, dict[str, str]]) -> None:
    """One line a node. facts: fields of CLUSTER INFO and INFO replication by node name."""
    table = Table(title=None, header_style="bold")
    for column in ("node", "role", "slots", "follows", "pid", "id"):
        table.add_column(column)
    for child in children:
        seen = facts[child.name]
        role = "primary" if seen["role"] == "master" else "replica"
        follows = "" if role == "primary" else f"{seen['master_host']}:{seen['master_port']}"
        table.add_row(child.name, role, seen.get("slots", ""), follows, str(child.pid), child.planned.id[:8])
    Console().print(table)


def connect_hints(bind: str, port: int, folder: Path | None) -> None:
    """How to use the cluster from Python and from the shell."""
    host = "127.0.0.1" if bind in ("0.0.0.0", "*", "::") else bind
    console = Console()
    console.print(f'The cluster is ready. redis-py:  RedisCluster(host="{host}", port={port})', highlight=False)
    console.print(f"                       shell:     redis-cli -c -h {host} -p {port}", highlight=False)
    kept = f"Its state is kept in {folder}." if folder else "Nothing is kept: give --dir to keep it."
    console.print(kept, highlight=False)
    console.print("Ctrl-C ends all nodes.", highlight=False)
