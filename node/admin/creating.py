"""Makes a cluster of running nodes that have none: plan, check that they are free, MEET, slots, replicas. I/O.

Safe to interrupt and to run again with the same nodes: what is done already is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from cluster.admin.layout import Shard, layout
from cluster.admin.picture import Host, Member, Picture
from cluster.slots import expand_ranges
from cluster.topology import TopologyError
from gossip.ids import NodeId
from node.admin.cluster import Cluster, agreed, describe
from node.admin.link import Access, AdminError, Link, Refusal, Unreachable


class Creation:
    """A cluster to be. shards: its layout. AdminError when the nodes do not suffice or are not free."""

    def __init__(self, nodes: Sequence[Host], replicas: int, access: Access, *, allow_few: bool = False) -> None:
        try:
            self.shards: list[Shard] = layout(nodes, replicas, allow_few=allow_few)
        except TopologyError as error:
            raise AdminError(str(error)) from None
        self._nodes = list(nodes)
        self._links = {node: Link(node, access) for node in nodes}
        self._access = access
        self._members = self._look()
        self._check()

    def close(self) -> None:
        """Let go of the connections."""
        for link in self._links.values():
            link.close()

    def _look(self) -> dict[Host, Member]:
        def look(node: Host) -> Member | Unreachable:
            try:
                return describe(self._links[node])
            except Unreachable as error:
                return error

        with ThreadPoolExecutor(16) as pool:
            found = dict(zip(self._nodes, pool.map(look, self._nodes), strict=True))
        silent = [str(one) for one in found.values() if isinstance(one, Unreachable)]
        if silent:
            raise AdminError("; ".join(silent))
        return {node: one for node, one in found.items() if isinstance(one, Member)}

    def _check(self) -> None:
        """Every node must be free: it knows nobody but the others named here, and holds nothing but what is planned."""
        ids = {member.id: node for node, member in self._members.items()}
        if len(ids) < len(self._members):
            twice = next(node for node, member in self._members.items() if ids[member.id] != node)
            raise AdminError(f"{twice} and {ids[self._members[twice].id]} are the same node: name each once")
        planned = {shard.primary: set(expand_ranges([shard.slots])) for shard in self.shards}
        for node, member in self._members.items():
            assert member.view is not None
            others = [seen for seen in member.view.nodes.values() if seen.is_member and seen.id not in ids]
            if others:
                raise AdminError(
                    f"{node} is a member of a cluster already (it knows {others[0].host}:{others[0].port}): "
                    "`del-node` it there, or choose another"
                )
            holds = set(expand_ranges(member.seen.slots)) if member.is_primary else set()
            if holds - planned.get(node, set()):
                raise AdminError(f"{node} owns other slots than this plan gives it: CLUSTER RESET it if it is free")
            if member.keys and not holds and member.is_primary:
                raise AdminError(f"{node} holds {member.keys:,} keys: FLUSHALL it if they are of no use, or choose another")

    def run(self) -> Picture:
        """Carry it out; the cluster is usable when this returns. AdminError."""
        for epoch, shard in enumerate(self.shards, 1):
            # Different epochs from the start, so that nodes have no collision to resolve. Refused when it has one already.
            self._links[shard.primary].ask_many([("CLUSTER", "SET-CONFIG-EPOCH", epoch)])
        first = self._nodes[0]
        for node in self._nodes[1:]:
            seen = self._members[node].seen
            bus = () if seen.bus_port == seen.port + 10000 else (seen.bus_port,)
            self._links[first].ask("CLUSTER", "MEET", self._links[node].ip(), node.port, *bus)
        with Cluster(first, self._access) as cluster:
            count = len(self._nodes)
            cluster.wait(
                lambda picture: len(picture.reachable) == count
                and all(one.view and sum(seen.is_member for seen in one.view.nodes.values()) == count
                        for one in picture.reachable),
                "known to each other (are their bus ports, normally port + 10000, reachable for each other?)",
            )
            for shard in self.shards:
                self._assign(shard)
            cluster.wait_until_agreed("agreed on the slots")
            for shard in self.shards:
                for replica in shard.replicas:
                    self._follow(replica, self._members[shard.primary].id)
            cluster.wait(lambda picture: agreed(picture) and self._follows(picture), "in sync with their primaries")
            return cluster.picture

    def _assign(self, shard: Shard) -> None:
        held = set(expand_ranges(self._members[shard.primary].seen.slots))
        missing = [slot for slot in expand_ranges([shard.slots]) if slot not in held]
        if missing:
            self._links[shard.primary].ask("CLUSTER", "ADDSLOTS", *missing)

    def _follow(self, replica: Host, primary: NodeId) -> None:
        if self._members[replica].seen.primary != primary:
            try:
                self._links[replica].ask("CLUSTER", "REPLICATE", primary)
            except Refusal as error:
                raise AdminError(f"{error}; run `create` again with the same nodes to go on") from None

    def _follows(self, picture: Picture) -> bool:
        replicas = sum(len(shard.replicas) for shard in self.shards)
        # Also in the others' eyes: who asks any node for the replicas should be told of all.
        return sum(one.link == "up" for one in picture.reachable) == replicas and all(
            one.view is not None and sum(not seen.is_primary for seen in one.view.nodes.values()) == replicas
            for one in picture.reachable
        )
