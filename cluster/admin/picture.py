"""A cluster as its own nodes describe it, gathered from outside: what every plan of the admin tools is made from.

Nodes may contradict each other, which is exactly what the tools look for. So a `Picture` keeps what each node said
(`View`, one CLUSTER NODES reply) and answers by the rule by which nodes settle it among themselves: of several that claim
a slot, the one with the greatest config epoch has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cluster.slots import SlotRange, expand_ranges, to_ranges
from gossip.ids import BUS_PORT_OFFSET, NodeId, is_id
from gossip.messages import SLOT_COUNT

_OPEN_SLOT = re.compile(r"\[([0-9]{1,5})-([<>])-([0-9a-f]{40})\]", re.ASCII)
_LEAST_FIELDS = 8
_FEWEST_ID_CHARACTERS = 4
"""Fewer characters of an id are taken for a mistake: a port or a name."""


class PictureError(Exception):
    """A node's reply is no description of a cluster; the text says what is wrong with it."""


class UnknownName(Exception):
    """No node, or more than one, goes by the name that was given; the text lists those there are."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One node as another (or itself) describes it: a line of CLUSTER NODES. flags: in Redis's words, "master", "fail?"."""

    id: NodeId
    host: str
    port: int
    bus_port: int
    flags: frozenset[str]
    primary: NodeId | None = None
    config_epoch: int = 0
    connected: bool = True
    slots: tuple[SlotRange, ...] = ()
    hostname: str = ""

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags

    @property
    def is_member(self) -> bool:
        """Whether it is known by its lasting id: one in handshake is not yet."""
        return "handshake" not in self.flags


@dataclass(frozen=True, slots=True)
class View:
    """What one node says of the cluster. migrating, importing: its open slots and their other ends."""

    myself: NodeId
    nodes: Mapping[NodeId, Seen]
    migrating: Mapping[int, NodeId] = field(default_factory=dict)
    importing: Mapping[int, NodeId] = field(default_factory=dict)

    def owners(self) -> list[NodeId | None]:
        """The owner of each slot in this node's eyes."""
        owners: list[NodeId | None] = [None] * SLOT_COUNT
        for node in self.nodes.values():
            for start, end in node.slots:
                owners[start : end + 1] = [node.id] * (end - start + 1)
        return owners


def parse_view(text: str) -> View:
    """A CLUSTER NODES reply of Redis 4 or later, of Valkey or of ours. PictureError when it is none."""
    nodes: dict[NodeId, Seen] = {}
    opened: dict[str, dict[int, NodeId]] = {">": {}, "<": {}}
    myself: NodeId | None = None
    for line in text.splitlines():
        fields = line.split()
        if not fields:
            continue
        if len(fields) < _LEAST_FIELDS or not is_id(fields[0]):
            raise PictureError(f"{line[:80]!r} is no line of CLUSTER NODES")
        seen = _parse_line(fields)
        nodes[seen.id] = seen
        if "myself" in seen.flags:
            myself = seen.id
            for word in fields[_LEAST_FIELDS:]:
                if match := _OPEN_SLOT.fullmatch(word):
                    opened[match[2]][int(match[1])] = NodeId(match[3])
    if myself is None:
        raise PictureError("CLUSTER NODES names no node as myself")
    return View(myself, nodes, migrating=opened[">"], importing=opened["<"])


def _parse_line(fields: list[str]) -> Seen:
    where, *names = fields[1].split(",")
    client, _, bus = where.partition("@")
    host, _, port_text = client.rpartition(":")
    try:
        port = int(port_text)
        ranges = [_parse_range(word) for word in fields[_LEAST_FIELDS:] if not word.startswith("[")]
        bus_port, epoch = int(bus) if bus else port + BUS_PORT_OFFSET, int(fields[6])
    except ValueError:
        raise PictureError(f"{' '.join(fields)[:80]!r} is no line of CLUSTER NODES") from None
    return Seen(
        id=NodeId(fields[0]), host=host, port=port, bus_port=bus_port, flags=frozenset(fields[2].split(",")),
        primary=NodeId(fields[3]) if is_id(fields[3]) else None, config_epoch=epoch, connected=fields[7] == "connected",
        slots=tuple(ranges), hostname=names[0] if names and "=" not in names[0] else "",
    )


def _parse_range(word: str) -> SlotRange:
    first, _, last = word.partition("-")
    start, end = int(first), int(last or first)
    if not 0 <= start <= end < SLOT_COUNT:
        raise ValueError(word)
    return start, end


@dataclass(frozen=True, slots=True)
class Host:
    """Where clients reach a node."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the cluster and what it said when asked.

    view: None when it could not be asked, and `trouble` says why. seen: as it describes itself, else as others do.
    keys: how many it holds, None when unknown. link: of a replica, to its primary: "up", "down" or "". offset: replication
    offset in bytes. server: name and version, "valkey 9.1.2".
    """

    seen: Seen
    host: Host
    view: View | None = None
    trouble: str = ""
    state: str = ""
    current_epoch: int = 0
    keys: int | None = None
    link: str = ""
    offset: int = 0
    nodename: str = ""
    server: str = ""

    @property
    def id(self) -> NodeId:
        return self.seen.id

    @property
    def is_primary(self) -> bool:
        return self.seen.is_primary

    @property
    def reachable(self) -> bool:
        return self.view is not None

    @property
    def name(self) -> str:
        """What people call it: its human nodename and address."""
        return f"{self.nodename} ({self.host})" if self.nodename else str(self.host)


@dataclass(frozen=True)
class Picture:
    """All nodes that anybody knows, by id; the one that was asked first comes first."""

    members: Mapping[NodeId, Member]

    def name(self, node: NodeId | None) -> str:
        """How to call this node in a message."""
        if node is None:
            return "nobody"
        member = self.members.get(node)
        return member.name if member else f"{node[:8]} (in nobody's list)"

    @cached_property
    def reachable(self) -> list[Member]:
        return [one for one in self.members.values() if one.reachable]

    @cached_property
    def primaries(self) -> list[Member]:
        """All primaries that are not failed, with and without slots, by address."""
        found = [one for one in self.members.values() if one.is_primary and "fail" not in self.flags(one.id)]
        return sorted(found, key=lambda one: (one.host.name, one.host.port))

    def flags(self, node: NodeId) -> set[str]:
        """What others say of a node: the flags that any reachable node but itself gives it."""
        views = [one.view for one in self.reachable if one.view and one.id != node]
        return {flag for view in views if node in view.nodes for flag in view.nodes[node].flags}

    def is_missed(self, node: NodeId) -> bool:
        """Whether another node misses it too. Else it may well serve, and only who asked here can not get at it."""
        return not self.flags(node).isdisjoint({"fail", "fail?", "noaddr"})

    def replicas(self, primary: NodeId) -> list[Member]:
        return [one for one in self.members.values() if not one.is_primary and one.seen.primary == primary]

    @cached_property
    def claims(self) -> list[list[NodeId]]:
        """Who claims each slot: reachable primaries for themselves, the others as somebody reachable describes them."""
        claims: list[list[NodeId]] = [[] for _ in range(SLOT_COUNT)]
        for member in self.members.values():
            if member.is_primary:
                for slot in expand_ranges(member.seen.slots):
                    claims[slot].append(member.id)
        return claims

    @cached_property
    def owners(self) -> list[NodeId | None]:
        """The owner of each slot: of those that claim it, the one with the greatest config epoch (then the least id)."""
        return [min(claim, key=self._rank) if claim else None for claim in self.claims]

    def _rank(self, node: NodeId) -> tuple[int, NodeId]:
        # In a collision of epochs the node with the lesser id takes a new, greater one.
        return -self.members[node].seen.config_epoch, node

    @cached_property
    def slots(self) -> dict[NodeId, list[int]]:
        """The slots of every primary that is not failed or that owns some, ascending."""
        slots: dict[NodeId, list[int]] = {one.id: [] for one in self.primaries}
        for slot, owner in enumerate(self.owners):
            if owner is not None:
                slots.setdefault(owner, []).append(slot)
        return slots

    def ranges(self, node: NodeId) -> list[SlotRange]:
        """The slots of a node as the fewest ranges."""
        return to_ranges(self.slots.get(node, []))

    def find(self, name: str) -> Member:
        """The node of this name: an id or a prefix that only one id has, HOST:PORT, or a human nodename.

        UnknownName when it fits none or several.
        """
        everybody = self.members.values()
        text = name.strip()
        exact = [
            one for one in everybody
            if text in (one.id, str(one.host), one.nodename, f"{one.seen.host}:{one.seen.port}")
            or (one.seen.hostname and text in (one.seen.hostname, f"{one.seen.hostname}:{one.seen.port}"))
            or (text.startswith("localhost:") and str(one.host) == text.replace("localhost", "127.0.0.1", 1))
        ]
        found = exact if text else []
        if not found and len(text) >= _FEWEST_ID_CHARACTERS:
            found = [one for one in everybody if one.id.startswith(text.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownName(f"{name!r} fits several nodes: {_list(found)}; give more of the id, or HOST:PORT")
        raise UnknownName(f"no node is called {name!r}; there are: {_list(everybody)}")


def _list(members: Iterable[Member]) -> str:
    return ", ".join(f"{one.name} {one.id[:8]}" for one in members)
