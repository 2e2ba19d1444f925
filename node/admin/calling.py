"""`hashslot cluster call` and `set-timeout`: one command to all nodes at once, and their replies readable. I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from cluster.admin.picture import Host, Member
from node.admin import show
from node.admin.cluster import Cluster, text_of
from node.admin.link import Access, AdminError


def call_all(entry: Host, access: Access, words: Sequence[str], only: str | None) -> bool:
    """Send the command to all nodes (only: "primaries" or "replicas") and print each reply. Whether all took it."""
    with Cluster(entry, access) as running:
        asked = [one for one in running.picture.members.values() if only is None or one.is_primary == (only == "primaries")]
        if not asked:
            raise AdminError(f"the cluster has no {only}")
        replies = running.ask_each([one.id for one in asked], [words])
        good = True
        for one in sorted(asked, key=lambda one: (one.host.name, one.host.port)):
            reply = replies[one.id][0]
            good = good and not isinstance(reply, AdminError)
            _print(one, reply)
    return good


def _print(member: Member, reply: Any) -> None:
    lines = list(shown(reply))
    if len(lines) == 1:
        click.echo(f"{member.name}: {lines[0]}")
        return
    click.echo(f"{member.name}:")
    for line in lines:
        click.echo(f"  {line}")


def shown(reply: Any) -> Iterator[str]:
    """The lines of a reply, nested arrays indented."""
    if isinstance(reply, AdminError):
        yield f"(error) {getattr(reply, 'text', '') or getattr(reply, 'reason', '') or reply}"
    elif reply is None:
        yield "(nil)"
    elif isinstance(reply, list | tuple):
        if not reply:
            yield "(empty)"
        for number, item in enumerate(reply, 1):
            mark = f"{number}) "
            for place, line in enumerate(shown(item)):
                yield (mark if place == 0 else " " * len(mark)) + line
    else:
        yield from text_of(reply).splitlines() or [""]


def set_node_timeout(entry: Host, access: Access, milliseconds: int) -> bool:
    """CONFIG SET cluster-node-timeout everywhere, and CONFIG REWRITE. Whether all took it."""
    with Cluster(entry, access) as running:
        members = list(running.picture.members.values())
        replies = running.ask_each(
            [one.id for one in members],
            [("CONFIG", "SET", "cluster-node-timeout", milliseconds), ("CONFIG", "REWRITE")],
        )
        good = True
        for one in members:
            done, kept = replies[one.id]
            if isinstance(done, AdminError):
                good = False
                show.say(f"{one.name}: {next(shown(done))}")
            else:
                where = " (not in a file: it has none, so a restart forgets it)" if isinstance(kept, AdminError) else ""
                show.say(f"{one.name}: {milliseconds} ms{where}")
    return good
