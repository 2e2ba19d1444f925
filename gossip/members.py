"""The member table: every node that this one knows of, and what it knows of each.

Flags are kept as plain ints here, for they are tested for every member ten times a second. How they change:

    handshake  set when a node is met; gone with its first PONG, or the member is gone with it after the timeout
    meet       set with handshake by CLUSTER MEET; gone once the MEET is sent
    pfail      set by this node's own silence count (`detector.py`); gone with a PONG, or turned into fail
    fail       set by a quorum or a FAIL message; gone when the node answers and `detector.may_clear_fail` agrees
    noaddr     set when another node answers at the address; gone when a new address is heard
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gossip.events import LinkId
from gossip.ids import Address, NodeId, RandomSource, ShardId
from gossip.messages import GossipEntry, Header, Message, NodeFlag

PRIMARY = int(NodeFlag.PRIMARY)
REPLICA = int(NodeFlag.REPLICA)
PFAIL = int(NodeFlag.PFAIL)
FAIL = int(NodeFlag.FAIL)
MYSELF = int(NodeFlag.MYSELF)
HANDSHAKE = int(NodeFlag.HANDSHAKE)
NOADDR = int(NodeFlag.NOADDR)
MEET = int(NodeFlag.MEET)
MIGRATE_TO = int(NodeFlag.MIGRATE_TO)
NOFAILOVER = int(NodeFlag.NOFAILOVER)
EXTENSIONS = int(NodeFlag.EXTENSIONS)
LIGHT_HEADER = int(NodeFlag.LIGHT_HEADER)

ANNOUNCED = NOFAILOVER | LIGHT_HEADER
"""Flags that are as the node itself last said."""

NO_ADDRESS = Address("", 0, 0)


def told_flags(flags: int, mask: int) -> int:
    """Those flags of `mask` that another told of a node, without contradiction: of two the stronger word holds."""
    weaker = (PRIMARY if flags & REPLICA else 0) | (PFAIL if flags & FAIL else 0)
    return flags & mask & ~weaker


@dataclass(slots=True, eq=False)
class Link:
    """One bus connection. member: whom it leads to; of an accepted one unknown until a known sender speaks.

    remote_ip, local_ip: its ends as the I/O told them, "" while unknown. heard_ms: when anything came over an accepted
    one. pings: when those PINGs were sent over it that wait for their PONG, unix ms, oldest first: TCP keeps their order.
    probes: the member whose new address this one tries out. owed: how many PINGs over it were left without their PONG while
    this node was mute.
    """

    id: LinkId
    inbound: bool
    created_ms: int
    member: Member | None = None
    remote_ip: str = ""
    local_ip: str = ""
    opened: bool = False
    heard_ms: int = 0
    pings: list[int] = field(default_factory=list)
    probes: Member | None = field(default=None, repr=False)
    owed: int = 0


@dataclass(slots=True, eq=False)
class Member:
    """One node as this one knows it. Times are unix ms, 0 for never.

    link: outbound, also while it is being opened. ping_sent_ms: of the ping that is not answered yet. data_received_ms:
    any message over our own link. fail_since_ms: when FAIL was set. reports: by whom it was last called unreachable, when.
    slot_count: how many slots the floor above says it owns; who owns any has a vote. offset: replication offset, bytes.
    answered: it has sent a PONG since this process started. promoted: it was a replica before it was a primary.
    met_ms: when MEET was last sent to it, until it is sure to know this node.
    What it has proved (`proof.py`): heard is the last header that came over our own link to it, in which its current epoch
    last grew at epoch_ms; proof_ms is when the latest PING was sent that it has answered. asked_ms, ask_again: a question
    is on its way, another must follow. waiting: what must wait for its word, over which link and since when. not_at: an
    address at which it was said to be, wrongly.
    What this node has granted it: at leased_ms the last answer to a PING of its, on which it may rest a lease; before
    no_lease_until_ms, while it owns slots, it gets no other.
    """

    id: NodeId
    address: Address = NO_ADDRESS
    flags: int = 0
    created_ms: int = 0
    config_epoch: int = 0
    primary: Member | None = field(default=None, repr=False)
    replicas: list[Member] = field(default_factory=list, repr=False)
    shard_id: ShardId | None = None
    hostname: str | None = None
    human_nodename: str | None = None
    client_ipv4: str | None = None
    client_ipv6: str | None = None
    link: Link | None = field(default=None, repr=False)
    inbound: Link | None = field(default=None, repr=False)
    ping_sent_ms: int = 0
    pong_received_ms: int = 0
    data_received_ms: int = 0
    fail_since_ms: int = 0
    reports: dict[NodeId, int] = field(default_factory=dict, repr=False)
    slot_count: int = 0
    offset: int = 0
    offset_ms: int = 0
    answered: bool = False
    promoted: bool = False
    met_ms: int = 0
    heard: Header | None = field(default=None, repr=False)
    epoch_ms: int = 0
    proof_ms: int = 0
    asked_ms: int = 0
    ask_again: bool = False
    waiting: list[tuple[Message, Link, int]] = field(default_factory=list, repr=False)
    not_at: Address | None = None
    leased_ms: int = 0
    no_lease_until_ms: int = 0
    place: int = -1
    """Index in the table's list."""
    entry: GossipEntry | None = field(default=None, repr=False)
    """What was last gossiped of it: most of the time the same can be said again."""

    @property
    def is_primary(self) -> bool:
        return bool(self.flags & PRIMARY)

    @property
    def is_replica(self) -> bool:
        return bool(self.flags & REPLICA)

    @property
    def in_handshake(self) -> bool:
        return bool(self.flags & HANDSHAKE)

    @property
    def failed(self) -> bool:
        return bool(self.flags & FAIL)

    @property
    def votes(self) -> bool:
        """Whether it counts in quorums: a primary that owns slots."""
        return bool(self.flags & PRIMARY) and self.slot_count > 0

    @property
    def called(self) -> str:
        """How log lines name it: id, and the human name in brackets."""
        return f"{self.id} ({self.human_nodename or ''})"


class MemberTable:
    """All members by id, this node among them, and the blacklist of those that must not come back yet."""

    def __init__(self, myself: Member) -> None:
        self.myself = myself
        self.by_id: dict[NodeId, Member] = {}
        self.everyone: list[Member] = []
        """In no lasting order: made for drawing at random."""
        self.blacklist: dict[NodeId, int] = {}
        """Forgotten nodes -> unix ms at which gossip may bring them back."""
        self.add(myself)

    def __len__(self) -> int:
        return len(self.everyone)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.everyone)

    def get(self, node: NodeId) -> Member | None:
        """The member of this id, if it is known."""
        return self.by_id.get(node)

    def others(self) -> Iterable[Member]:
        """Everyone but this node."""
        return [member for member in self.everyone if member is not self.myself]

    def add(self, member: Member) -> None:
        """Take in a member with an id that is not in the table yet."""
        assert member.id not in self.by_id
        self.by_id[member.id] = member
        member.place = len(self.everyone)
        self.everyone.append(member)

    def remove(self, member: Member) -> None:
        """Drop a member: its replicas have no known primary then, and what it reported of others is void."""
        del self.by_id[member.id]
        last = self.everyone.pop()
        if last is not member:
            self.everyone[member.place] = last
            last.place = member.place
        self.set_primary(member, None)
        for replica in member.replicas:
            replica.primary = None
        member.replicas.clear()
        for other in self.everyone:
            other.reports.pop(member.id, None)

    def rename(self, member: Member, node: NodeId) -> None:
        """Give a member its real id."""
        del self.by_id[member.id]
        member.id = node
        self.by_id[node] = member

    def draw(self, random: RandomSource) -> Member:
        """One member at random."""
        return self.everyone[int(random.random() * len(self.everyone))]

    def set_primary(self, member: Member, primary: Member | None) -> None:
        """Note whose replica `member` is; None for nobody's (known). Flags of roles are the caller's."""
        before = member.primary
        if before is primary:
            return
        if before is not None:
            before.replicas.remove(member)
            if not before.replicas:
                before.flags &= ~MIGRATE_TO
        member.primary = primary
        if primary is not None:
            primary.replicas.append(member)
            primary.flags |= MIGRATE_TO

    # The blacklist ------------------------------------------------------------------------------------------------

    def ban(self, node: NodeId, until_ms: int) -> None:
        """Keep gossip from bringing this node back before then."""
        self.blacklist[node] = until_ms

    def is_banned(self, node: NodeId, now_ms: int) -> bool:
        """Whether the node was forgotten and must stay so for now."""
        self.expire_bans(now_ms)
        return node in self.blacklist

    def expire_bans(self, now_ms: int) -> None:
        """Drop the entries whose time is over."""
        if self.blacklist:
            over = [node for node, until_ms in self.blacklist.items() if until_ms <= now_ms]
            for node in over:
                del self.blacklist[node]
