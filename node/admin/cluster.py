"""A running cluster: asks all its nodes at once what they see, and keeps a connection to each. I/O.

Nodes are found through each other, those too that only some of the others know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from cluster.admin.checks import claimed_twice, disagreements, uncovered
from cluster.admin.picture import Host, Member, Picture, PictureError, Seen, parse_view
from gossip.ids import NodeId
from node.admin.link import Access, AdminError, Link, Refusal, Unreachable, Word

SETTLE_TIMEOUT_S = 30.0
_POLL_S = 0.1
_AT_A_TIME = 16
_NO_CLUSTER = "it runs without cluster-enabled, so it can not be a cluster's node"


def text_of(reply: Any) -> str:
    """A status or a bulk string as text."""
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)


def fields_of(reply: Any) -> dict[str, str]:
    """`name:value` lines, as INFO and CLUSTER INFO have them."""
    pairs = (line.partition(":") for line in text_of(reply).splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


def describe(link: Link) -> Member:
    """What the node says of itself and of the others. Unreachable, also for what is no cluster node."""
    asked = [("CLUSTER", "NODES"), ("CLUSTER", "INFO"), ("INFO", "replication"), ("INFO", "server"), ("DBSIZE",)]
    asked.append(("CONFIG", "GET", "cluster-announce-human-nodename"))
    nodes, info, replication, server, size, nodename = link.ask_many(asked)
    if isinstance(nodes, Refusal):
        raise Unreachable(link.host, _NO_CLUSTER if "support disabled" in nodes.text else nodes.text)
    try:
        view = parse_view(text_of(nodes))
    except PictureError as error:
        raise Unreachable(link.host, str(error)) from None
    state, facts, version = (
        {} if isinstance(reply, Refusal) else fields_of(reply) for reply in (info, replication, server)
    )
    named = nodename if isinstance(nodename, list) and len(nodename) == 2 else [b"", b""]
    return Member(
        seen=view.nodes[view.myself], host=link.host, view=view, state=state.get("cluster_state", ""),
        current_epoch=int(state.get("cluster_current_epoch", 0)), keys=size if isinstance(size, int) else None,
        link=_link_state(facts), nodename=text_of(named[1]), server=_server(version),
        offset=int(facts.get("slave_repl_offset") or facts.get("master_repl_offset") or 0),
    )


def _link_state(facts: dict[str, str]) -> str:
    if facts.get("role") != "slave":
        return ""
    return "syncing" if facts.get("master_sync_in_progress") == "1" else facts.get("master_link_status", "")


def _server(fields: dict[str, str]) -> str:
    kind = fields.get("server_name", "redis")
    version = fields.get(f"{kind}_version") or fields.get("redis_version", "")
    return f"{kind} {version}".strip()


class Cluster:
    """The cluster that the node at `entry` is a member of. AdminError when that node does not answer."""

    def __init__(self, entry: Host, access: Access) -> None:
        self.entry = entry
        self.access = access
        self._links: dict[Host, Link] = {}
        self._answers: dict[tuple[NodeId, str], bool] = {}
        self.picture = Picture({})
        self.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link in self._links.values():
            link.close()

    # Looking ------------------------------------------------------------------------------------------------------

    def refresh(self) -> Picture:
        """Ask all nodes again."""
        first = describe(self.link_to(self.entry))
        assert first.view is not None
        members: dict[NodeId, Member] = {first.id: replace(first, seen=self._named(first.seen))}
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            while unknown := self._unknown(members):
                for member in pool.map(self._visit, unknown):
                    members[member.id] = member
        self.picture = Picture(members)
        return self.picture

    def _named(self, seen: Seen) -> Seen:
        # A node that nobody has met yet does not know its own address.
        return seen if seen.host else replace(seen, host=self.link_to(self.entry).ip())

    def _unknown(self, members: dict[NodeId, Member]) -> list[Seen]:
        best: dict[NodeId, Seen] = {}
        for member in members.values():
            for seen in member.view.nodes.values() if member.view else ():
                if seen.id in members or not seen.is_member:
                    continue
                if seen.id not in best or seen.config_epoch > best[seen.id].config_epoch:
                    best[seen.id] = seen
        return list(best.values())

    def _visit(self, seen: Seen) -> Member:
        host = Host(seen.host or seen.hostname, seen.port)
        if "noaddr" in seen.flags or not host.name or not host.port:
            return Member(seen, host, trouble="nobody knows its address")
        try:
            member = describe(self.link_to(host))
        except Unreachable as error:
            return Member(seen, host, trouble=error.reason)
        if member.id != seen.id:
            return Member(seen, host, trouble=f"another node answers there ({member.id[:8]})")
        return replace(member, seen=member.seen if member.seen.host else replace(member.seen, host=seen.host))

    def link_to(self, host: Host) -> Link:
        """The connection to this address."""
        link = self._links.get(host)
        if link is None:
            link = self._links[host] = Link(host, self.access)
        return link

    def link(self, node: NodeId) -> Link:
        """The connection to this node."""
        return self.link_to(self.picture.members[node].host)

    # Asking -------------------------------------------------------------------------------------------------------

    def ask(self, node: NodeId, *words: Word) -> Any:
        """One request to this node. Refusal, Unreachable."""
        return self.link(node).ask(*words)

    def ask_each(self, nodes: Iterable[NodeId], requests: Sequence[Sequence[Word]]) -> dict[NodeId, list[Any]]:
        """The same requests to several nodes at once; a node that does not answer has its Unreachable for each reply."""
        asked = list(nodes)

        def one(node: NodeId) -> list[Any]:
            try:
                return self.link(node).ask_many(requests)
            except Unreachable as error:
                return [error] * len(requests)

        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return dict(zip(asked, pool.map(one, asked), strict=True))

    def offers(self, node: NodeId, subcommand: str) -> bool:
        """Whether a node knows `CLUSTER subcommand`."""
        key = (node, subcommand)
        if key not in self._answers:
            try:
                reply = self.ask(node, "COMMAND", "INFO", f"cluster|{subcommand}")
                self._answers[key] = bool(reply and reply[0])
            except Refusal:
                self._answers[key] = False
        return self._answers[key]

    def count_keys(self, slots: Sequence[int]) -> dict[NodeId, dict[int, int]]:
        """How many keys each reachable primary holds in these slots; slots without any are left out. AdminError."""
        nodes = [one.id for one in self.picture.primaries if one.reachable]
        replies = self.ask_each(nodes, [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots])
        counts: dict[NodeId, dict[int, int]] = {}
        for node, counted in replies.items():
            if counted and isinstance(counted[0], AdminError):
                raise counted[0]
            counts[node] = {slot: count for slot, count in zip(slots, counted, strict=True) if count}
        return counts

    # Waiting ------------------------------------------------------------------------------------------------------

    def wait(self, holds: Callable[[Picture], bool], what: str, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Look again and again until it holds. AdminError naming `what` when it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not holds(self.refresh()):
            if time.monotonic() > deadline:
                raise AdminError(f"after {timeout_s:g} s still not {what}: see `hashslot cluster check {self.entry}`")
            time.sleep(_POLL_S)

    def wait_until_agreed(self, what: str = "agreed by all nodes who owns which slot") -> None:
        """Wait until all reachable nodes tell the same about slots and serve them. AdminError."""
        self.wait(agreed, what)

    def settle(self, timeout_s: float = 3.0) -> None:
        """Give gossip a moment to resolve what it can. No error when it can not."""
        deadline = time.monotonic() + timeout_s
        while not agreed(self.picture) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self.refresh()


def agreed(picture: Picture) -> bool:
    """Whether all reachable nodes know each other, name the same owners and hold the cluster for whole."""
    if disagreements(picture) or claimed_twice(picture):
        return False
    reachable = picture.reachable
    whole = not uncovered(picture)
    return all(
        one.view is not None
        and (one.state == "ok" or not whole)
        and all(other.id in one.view.nodes for other in reachable)
        for one in reachable
    )

