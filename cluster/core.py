"""What the parts of a node's cluster machine share: its state, and the few changes that keep it of one piece.

`machine.py` is the machine; `claims.py`, `epochs.py`, `roles.py`, `health.py`, `lease.py`, `contact.py` and those that
`failover.py` names hold its rules as functions of this, and `operations.py` what administrators order.
"""

from __future__ import annotations

from cluster.contact import Contact
from cluster.events import Effect, ResumeWrites, RoleChanged
from cluster.failover import NO_LINK, Comeback, DataLink, Election, ManualFailover, Vote
from cluster.lease import Lease
from cluster.settings import ClusterSettings
from cluster.slotmap import SlotMap
from gossip.ids import Address, NodeId, RandomSource
from gossip.machine import Gossip
from gossip.members import LIGHT_HEADER, MIGRATE_TO, NOFAILOVER, Member
from gossip.messages import SLOT_BITMAP_BYTES, SLOT_COUNT, Header, MessageFlag, node_flags
from gossip.outbox import Outbox


class Core:
    """One node's cluster state.

    current_epoch: the greatest epoch heard of. last_vote_epoch: the last in which this node has voted. offset: its
    replication offset, bytes, as messages tell it; stream_end: what that is at this moment, kept by the I/O. ok:
    `cluster_state`. served: one byte a slot, 1 where this node serves the slot with nothing more to ask; changed in place.
    started_ms: when this process began.
    """

    gossip: Gossip

    def __init__(self, settings: ClusterSettings, random: RandomSource, now_ms: int) -> None:
        self.settings = settings
        self.random = random
        self.out: Outbox[Effect] = Outbox()
        self.slotmap = SlotMap()
        self.current_epoch = 0
        self.last_vote_epoch = 0
        self.offset = 0
        self.stream_end = 0
        self.ok = False
        self.served = bytearray(SLOT_COUNT)
        self.started_ms = now_ms
        self.rejoining = False
        """This node was a member before it was started: what it remembers may have been overtaken."""
        self.minority_ms: int | None = None
        """When this node last saw itself without a majority."""
        self.data_link: DataLink = NO_LINK
        self.loading = False
        """The data is still being read from disk."""
        self.comparable = True
        """Whether the offset says how much data there is."""
        self.election = Election()
        self.manual = ManualFailover()
        self.comeback = Comeback()
        self.lease = Lease(granted_ms=now_ms)
        self.contact = Contact()
        self.votes: dict[NodeId, Vote] = {}
        """Failed primary -> for whom this node has voted last."""
        self.orphaned: dict[NodeId, int] = {}
        """Primaries with slots and no working replica -> since when, unix ms."""
        self._served_for: tuple[int, bool, bool, NodeId] | None = None
        self._told_for: tuple[object, ...] = ()
        self._told: Header
        """The last header, and what it was made from: most of the time the next one says the same."""

    @property
    def myself(self) -> Member:
        """This node."""
        return self.gossip.myself

    @property
    def members(self) -> dict[NodeId, Member]:
        """All known nodes by id, those in handshake by their made-up ones."""
        return self.gossip.members.by_id

    def owner(self, slot: int) -> Member | None:
        """The member that owns the slot."""
        node = self.slotmap.owner_of(slot)
        return None if node is None else self.members[node]

    def shard_head(self, member: Member) -> Member:
        """The member itself, or the primary of a replica whose primary is known."""
        return member.primary if member.is_replica and member.primary is not None else member

    # Changes ------------------------------------------------------------------------------------------------------

    def assign(self, bits: int, member: Member | None) -> None:
        """Give slots to a member, or to nobody. To be saved, and the cluster's state to be looked at."""
        if not bits:
            return
        first = member is not None and not member.slot_count
        known = member is not None and not bits & ~self.slotmap.bits(member.id)
        for node in self.slotmap.assign(bits, None if member is None else member.id):
            self.members[node].slot_count = self.slotmap.count(node)
        # A slot leaves who owns it and comes to who does not: whatever this made untrue is over.
        # A replica keeps the open slots of its primary.
        comes = member is not None and member in (self.myself, self.shard_head(self.myself))
        moved = self.slotmap.importing if comes else self.slotmap.migrating
        for slot in [slot for slot in moved if bits >> slot & 1]:
            del moved[slot]
        if self.slotmap.taken and not comes:
            self.slotmap.untake(bits)
        if first and member is not None and any(one.is_primary and one.replicas for one in self.members.values()):
            member.flags |= MIGRATE_TO  # A new primary in a cluster with replicas may be given one.
        self.out.changed(lasting=not known)

    @property
    def shard(self) -> str:
        """The name of the shard whose data this node has: it stays when the primary is another. Real nodes before 7.2 have
        none: then the primary's id."""
        head = self.shard_head(self.myself)
        return head.shard_id or head.id

    def follow(self, primary: Member) -> None:
        """Tell the data's side to replicate this primary."""
        self.out.put(RoleChanged(primary.id, primary.address))

    def end_manual(self) -> None:
        """No manual failover goes on any longer: a primary that has let no writes in lets them in again."""
        if self.manual.replica is not None:
            self.out.put(ResumeWrites())
        self.manual = ManualFailover()

    def refresh_served(self) -> None:
        """Bring `served` in line with role, state and slots."""
        key = (self.slotmap.version, self.ok, self.myself.is_primary, self.myself.id)
        if key == self._served_for:
            return
        self._served_for = key
        self.served[:] = bytes(SLOT_COUNT)
        if not self.ok or not self.myself.is_primary:
            return
        for first, last in self.slotmap.slots_of(self.myself.id):
            self.served[first : last + 1] = b"\x01" * (last - first + 1)
        for slot in self.slotmap.migrating:
            self.served[slot] = 0
        for slot in self.slotmap.importing:
            self.served[slot] = 0

    # This node's own face -----------------------------------------------------------------------------------------

    def refresh_myself(self) -> None:
        """Bring this node's own entry in line with the settings."""
        settings, myself = self.settings, self.myself
        ip = settings.announce_ip or myself.address.ip
        myself.address = Address(ip, settings.main_port, settings.shown_bus_port, settings.second_port)
        myself.hostname = settings.announce_hostname or None
        myself.human_nodename = settings.announce_human_nodename or None
        myself.client_ipv4 = settings.announce_client_ipv4 or None
        myself.client_ipv6 = settings.announce_client_ipv6 or None
        myself.flags = myself.flags & ~NOFAILOVER | LIGHT_HEADER | (NOFAILOVER if settings.replica_no_failover else 0)

    def header(self, more: MessageFlag = MessageFlag.NONE) -> Header:
        """What every message says of this node. A replica tells its primary's slots and config epoch.

        more: flags of this message alone.
        """
        if self.manual.paused:
            more |= MessageFlag.PAUSED
        if self.comeback.since_ms is not None or (self.loading and self.myself.is_replica):
            more |= MessageFlag.WAITS
        myself, slotmap = self.myself, self.slotmap
        head = self.shard_head(myself)
        address = myself.address
        primary = None if myself.primary is None else myself.primary.id
        slots = slotmap.bitmap(head.id)
        if slotmap.taken and head is not myself:
            # Its primary may have told nobody yet. Voters would refuse a candidate for the sake of who had them before.
            told = slotmap.bits(head.id) & ~slotmap.taken_bits()
            slots = told.to_bytes(SLOT_BITMAP_BYTES, "little")
        state = (
            myself.id, address, myself.flags, self.current_epoch, head.config_epoch, self.offset, slots, primary,
            self.settings.announce_ip, self.ok, int(more),
        )
        if state != self._told_for:
            self._told_for = state
            self._told = Header(
                sender=myself.id,
                port=address.port,
                bus_port=address.bus_port,
                flags=node_flags(myself.flags),
                current_epoch=self.current_epoch,
                config_epoch=head.config_epoch,
                offset=self.offset,
                slots=slots,
                primary=primary,
                ip=self.settings.announce_ip,
                secondary_port=address.secondary_port,
                cluster_ok=self.ok,
                message_flags=MessageFlag.EXTENSIONS | more,
            )
        return self._told
