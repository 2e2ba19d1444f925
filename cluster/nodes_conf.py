"""The text of nodes.conf <-> what a node must remember of its cluster.

The file is Redis's (7.0 without the auxiliary fields, 7.2 and Valkey 9 with them), so that a directory may pass from a
real server to ours and back. A node that starts with half of its memory can lose a slot or vote twice in an epoch:
a file that is not whole is refused with the line and the reason, more strictly than real servers do. Writing it
atomically is the I/O's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from cluster.slotmap import Grant
from cluster.slots import SlotRange, bitmap_to_ranges, format_range, ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from cluster.views import FLAG_NAMES, flag_names, format_open_slots
from gossip.codec import is_hostname, is_human_nodename, is_ip, is_ip_of
from gossip.ids import BUS_PORT_OFFSET, Address, NodeId, ShardId, is_id
from gossip.messages import NO_SLOTS, SLOT_COUNT, NodeFlag

_FLAGS_BY_NAME = {name: flag for flag, name in FLAG_NAMES} | {"noflags": NodeFlag.NONE}
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_SLOTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_OPEN_SLOT = re.compile(r"\[([0-9]{1,5})-([<>])-([0-9a-f]{40})\]", re.ASCII)
_GRANTS = "granted"
_TAKEN = "taken"
_UNCLAIMED = "unclaimed"
_EPOCH_MAX = 2**64 - 1
_TIME_MS_MAX = 2**63 - 1
_LEAST_FIELDS = 8


class NodesConfError(ValueError):
    """nodes.conf cannot be taken. line: counted from 1, or 0 when what is wrong is missing from the file as a whole."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"nodes.conf line {line}: {reason}" if line else f"nodes.conf: {reason}")
        self.line = line
        self.reason = reason


class _Fault(ValueError):
    """What is wrong with a line, before it is known which."""


# --- writing --------------------------------------------------------------------------------------


def format_nodes_conf(state: SavedState, *, tls_cluster: bool = False) -> bytes:
    """The whole file. Nodes in handshake are left out: they have no lasting id yet.

    tls_cluster: the ports of the addresses are TLS ports and the secondary ones plain, not the reverse.
    """
    port_name = "tcp-port" if tls_cluster else "tls-port"
    lines = [_format_node(state, node, port_name) for node in state.nodes if not node.flags & NodeFlag.HANDSHAKE]
    lines.append(f"vars currentEpoch {state.current_epoch} lastVoteEpoch {state.last_vote_epoch}{_own_vars(state)}\n")
    return "\n".join(lines).encode("ascii")


def _own_vars(state: SavedState) -> str:
    # Variables of our own: real servers skip those they do not know.
    texts = [f"{one.job}:{one.target}:{_ranges(one.ranges)}" for one in state.grants]
    grants = f" {_GRANTS} {';'.join(texts)}" if texts else ""
    unclaimed = bitmap_to_ranges(state.unclaimed)
    texts = [f"{source}:{_ranges(bitmap_to_ranges(slots))}" for source, slots in state.taken.items()]
    taken = f" {_TAKEN} {';'.join(texts)}" if texts else ""
    return grants + taken + (f" {_UNCLAIMED} {_ranges(unclaimed)}" if unclaimed else "")


def _ranges(ranges: Iterable[SlotRange]) -> str:
    return ",".join(map(format_range, ranges))


def _format_node(state: SavedState, node: SavedNode, port_name: str) -> str:
    fields = [
        node.id, _format_long_address(node, port_name), flag_names(node.flags), node.primary or "-",
        str(node.ping_sent_ms), str(node.pong_received_ms), str(node.config_epoch),
        "connected" if node.connected else "disconnected",
    ]
    if slots := _slots_text(node.slots):
        fields.append(slots)
    if node.flags & NodeFlag.MYSELF:
        fields += format_open_slots(state.migrating, state.importing)
    return " ".join(fields)


@lru_cache(maxsize=1024)
def _slots_text(slots: bytes) -> str:
    """In a large cluster the file is written for one member's sake, and all others own what they did."""
    return " ".join([format_range(one) for one in bitmap_to_ranges(slots)])


def _format_long_address(node: SavedNode, port_name: str) -> str:
    # Redis writes the comma of an absent hostname too when auxiliary fields follow, and takes these in any order.
    where = f"{node.address.ip}:{node.address.port}@{node.address.bus_port}"
    fields = [where, node.hostname or ""]
    # Only Valkey 8.1 and later know these two; others refuse the file, so they are written where they are used.
    if node.client_ipv6:
        fields.append(f"client-ipv6={node.client_ipv6}")
    if node.client_ipv4:
        fields.append(f"client-ipv4={node.client_ipv4}")
    fields.append(f"{port_name}={node.address.secondary_port}")
    if node.human_nodename:
        fields.append(f"nodename={node.human_nodename}")
    if node.shard_id:
        fields.append(f"shard-id={node.shard_id}")
    return ",".join(fields)


# --- reading --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """What was read so far, and where it stood."""

    nodes: dict[NodeId, SavedNode] = field(default_factory=dict)
    lines: dict[NodeId, int] = field(default_factory=dict)
    owner: dict[int, NodeId] = field(default_factory=dict)
    myself: NodeId | None = None
    migrating: dict[int, NodeId] = field(default_factory=dict)
    importing: dict[int, NodeId] = field(default_factory=dict)
    vars: tuple[int, int] | None = None
    grants: tuple[Grant, ...] = ()
    unclaimed: bytes = NO_SLOTS
    taken: dict[NodeId, bytes] = field(default_factory=dict)


def parse_nodes_conf(data: bytes) -> SavedState:
    """What the file says, all of it.

    An empty file is the I/O's to recognise: real servers leave one behind that died before the first write, and take
    it for none. Raises NodesConfError, naming the line, for anything that is not as `format_nodes_conf`, redis-server
    or valkey-server write it, and for files that contradict themselves: two owners of a slot, two `myself`, a
    primary or a migration's other end that is no node of the file.
    """
    reading = _Reading()
    for number, line in _lines(data):
        if reading.vars is not None:
            raise NodesConfError(number, "the vars line must be the last")
        fields = line.split()
        try:
            if fields[0] == "vars":
                _parse_vars(reading, fields[1:])
            else:
                _parse_node(reading, number, fields)
        except _Fault as fault:
            raise NodesConfError(number, str(fault)) from None
    if reading.vars is None:
        raise NodesConfError(0, "the vars line is missing, so the end of the file is")
    if reading.myself is None:
        raise NodesConfError(0, "no node is marked myself")
    _check_references(reading)
    # As Redis does it: an epoch that somebody has proves that the cluster has come that far.
    current_epoch = max(reading.vars[0], *(node.config_epoch for node in reading.nodes.values()))
    return SavedState(
        nodes=tuple(reading.nodes.values()), current_epoch=current_epoch, last_vote_epoch=reading.vars[1],
        migrating=reading.migrating, importing=reading.importing, grants=reading.grants,
        unclaimed=reading.unclaimed, taken=reading.taken,
    )


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """The numbered lines that are not blank. The last one must end, for one that was cut may still look whole."""
    lines = data.split(b"\n")
    for number, raw in enumerate(lines, 1):
        line = raw.removesuffix(b"\r")
        if any(byte < 0x20 or byte > 0x7E for byte in line):
            raise NodesConfError(number, "has bytes that are not printable ASCII")
        if number == len(lines) and line:
            raise NodesConfError(number, "is cut short: it does not end in a newline")
        text = line.decode("ascii").strip()
        if text:
            yield number, text


def _parse_vars(reading: _Reading, fields: list[str]) -> None:
    if len(fields) % 2:
        raise _Fault("the vars line has a name without a value")
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    if 2 * len(values) != len(fields):
        raise _Fault("the vars line has a name twice")
    epochs: list[int] = []
    for name in ("currentEpoch", "lastVoteEpoch"):
        if name not in values:
            raise _Fault(f"the vars line lacks {name}")
        epochs.append(_parse_number(values[name], name, _EPOCH_MAX))
    reading.vars = epochs[0], epochs[1]
    if _GRANTS in values:
        reading.grants = tuple(map(_parse_grant, values[_GRANTS].split(";")))
    for text in values[_TAKEN].split(";") if _TAKEN in values else ():
        source, _, ranges = text.partition(":")
        slots = ranges_to_bitmap(map(_parse_range, ranges.split(",")))
        reading.taken[NodeId(_parse_id(source, "who has given slots"))] = slots
    if _UNCLAIMED in values:
        reading.unclaimed = ranges_to_bitmap(map(_parse_range, values[_UNCLAIMED].split(",")))


def _parse_grant(text: str) -> Grant:
    parts = text.split(":")
    if len(parts) != 3:
        raise _Fault(f"granted slots are not job:node:ranges: {text!r}")
    job = _parse_id(parts[0], "the job of granted slots")
    return Grant(job, _parse_id(parts[1], "who may take granted slots"), tuple(map(_parse_range, parts[2].split(","))))


def _parse_range(text: str) -> SlotRange:
    match = _SLOTS.fullmatch(text)
    if not match:
        raise _Fault(f"{text!r} is neither a slot nor a range of slots")
    start, end = int(match[1]), int(match[2] or match[1])
    if not 0 <= start <= end < SLOT_COUNT:
        raise _Fault(f"{text!r} is not a range within 0-{SLOT_COUNT - 1}")
    return start, end


def _parse_node(reading: _Reading, line: int, fields: list[str]) -> None:
    if len(fields) < _LEAST_FIELDS:
        raise _Fault(f"a node has at least {_LEAST_FIELDS} fields, here are {len(fields)}")
    name, where, flag_text, primary_text, ping, pong, epoch, link = fields[:_LEAST_FIELDS]
    node = _parse_id(name, "the node's id")
    if node in reading.nodes:
        raise _Fault(f"node {node} stands on line {reading.lines[node]} already")
    flags = _parse_flags(flag_text)
    if flags & NodeFlag.HANDSHAKE:
        return  # Its id is made up and dies with the process that drew it; servers do not write these lines.
    if flags & NodeFlag.MYSELF:
        if reading.myself is not None:
            raise _Fault(f"a second node is marked myself, after line {reading.lines[reading.myself]}")
        reading.myself = node
    primary = None if primary_text == "-" else _parse_id(primary_text, "the primary's id")
    if primary is not None and not flags & NodeFlag.REPLICA:
        raise _Fault("has a primary but is not marked slave")
    if primary == node:
        raise _Fault("a node cannot be its own primary")
    if link not in ("connected", "disconnected"):
        raise _Fault(f"link state {link!r} is neither connected nor disconnected")
    address, hostname, aux = _parse_where(where)
    reading.lines[node] = line
    slots = _parse_slots(reading, node, flags, fields[_LEAST_FIELDS:])
    reading.nodes[node] = SavedNode(
        id=node,
        address=address,
        flags=flags,
        hostname=hostname,
        human_nodename=aux.get("nodename") or None,
        shard_id=ShardId(_parse_id(aux["shard-id"], "the shard id")) if "shard-id" in aux else None,
        client_ipv4=_parse_client_ip(aux, "client-ipv4", 4),
        client_ipv6=_parse_client_ip(aux, "client-ipv6", 6),
        primary=primary,
        ping_sent_ms=_parse_number(ping, "the time of the ping", _TIME_MS_MAX),
        pong_received_ms=_parse_number(pong, "the time of the pong", _TIME_MS_MAX),
        config_epoch=_parse_number(epoch, "the config epoch", _EPOCH_MAX),
        connected=link == "connected",
        slots=ranges_to_bitmap(slots),
    )


def _parse_id(text: str, what: str) -> NodeId:
    if not is_id(text):
        raise _Fault(f"{what} is not 40 hexadecimal characters: {text!r}")
    return NodeId(text)


def _parse_number(text: str, what: str, greatest: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > greatest:
        raise _Fault(f"{what} is not a number from 0 to {greatest}: {text!r}")
    return int(text)


def _parse_flags(text: str) -> NodeFlag:
    flags = NodeFlag.NONE
    for name in text.split(","):
        if name not in _FLAGS_BY_NAME:
            raise _Fault(f"unknown flag {name!r}")
        flags |= _FLAGS_BY_NAME[name]
    if flags & NodeFlag.PRIMARY and flags & NodeFlag.REPLICA:
        raise _Fault("is marked master and slave")
    return flags


def _parse_where(text: str) -> tuple[Address, str | None, dict[str, str]]:
    """`ip:port@busport[,hostname[,name=value]...]`; before Redis 4 there was no `@busport`."""
    where, *names = text.split(",")
    client, at, bus_text = where.partition("@")
    ip, colon, port_text = client.rpartition(":")  # from the right: an IPv6 address has colons of its own
    if not colon or not is_ip(ip):
        raise _Fault(f"address {where!r} is not ip:port@busport")
    port = _parse_number(port_text, "the port", 65535)
    bus_port = _parse_number(bus_text, "the bus port", 65535) if at else port + BUS_PORT_OFFSET
    hostname = names[0] if names else ""
    if not is_hostname(hostname):
        raise _Fault(f"{hostname!r} is not a hostname")
    aux: dict[str, str] = {}
    for part in names[1:]:
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise _Fault(f"auxiliary field {part!r} is not name=value")
        if name in aux:
            raise _Fault(f"auxiliary field {name} stands twice")
        aux[name] = value
    if not is_human_nodename(aux.get("nodename", "")):
        raise _Fault(f"{aux['nodename']!r} is not a node's name")
    # Which of the two is written depends on the writer's tls-cluster: it is the port that is not the first one.
    secondary = _parse_number(aux.get("tls-port", aux.get("tcp-port", "0")), "the secondary port", 65535)
    return Address(ip, port, bus_port, secondary), hostname or None, aux


def _parse_client_ip(aux: Mapping[str, str], name: str, version: int) -> str | None:
    ip = aux.get(name)
    if ip and not is_ip_of(ip, version):
        raise _Fault(f"{name} is no IPv{version} address: {ip!r}")
    return ip or None


def _parse_slots(reading: _Reading, node: NodeId, flags: NodeFlag, fields: Iterable[str]) -> list[SlotRange]:
    ranges: list[SlotRange] = []
    for text in fields:
        if text.startswith("["):
            _parse_open_slot(reading, flags, text)
            continue
        start, end = _parse_range(text)
        if flags & NodeFlag.REPLICA:
            raise _Fault(f"a replica owns no slots, here {text}")
        for slot in range(start, end + 1):
            if slot in reading.owner:
                owner = reading.owner[slot]
                raise _Fault(f"slot {slot} is owned twice, by {owner} on line {reading.lines[owner]} too")
            reading.owner[slot] = node
        ranges.append((start, end))
    return ranges


def _parse_open_slot(reading: _Reading, flags: NodeFlag, text: str) -> None:
    match = _OPEN_SLOT.fullmatch(text)
    if not match or int(match[1]) >= SLOT_COUNT:
        raise _Fault(f"{text!r} is no migrating or importing slot")
    if not flags & NodeFlag.MYSELF:
        raise _Fault(f"only the node itself knows of open slots, here {text}")
    slot = int(match[1])
    if slot in reading.migrating or slot in reading.importing:
        raise _Fault(f"slot {slot} is open twice")
    (reading.migrating if match[2] == ">" else reading.importing)[slot] = NodeId(match[3])


def _check_references(reading: _Reading) -> None:
    for node in reading.nodes.values():
        if node.primary is not None and node.primary not in reading.nodes:
            raise NodesConfError(reading.lines[node.id], f"primary {node.primary} is no node of this file")
    assert reading.myself is not None
    for opened in (reading.migrating, reading.importing):
        for slot, node_id in opened.items():
            if node_id not in reading.nodes:
                reason = f"slot {slot} is open to {node_id}, which is no node of this file"
                raise NodesConfError(reading.lines[reading.myself], reason)
            if node_id == reading.myself:
                raise NodesConfError(reading.lines[reading.myself], f"slot {slot} is open to the node itself")
