"""One node's part of the cluster as a pure state machine: `Cluster.step(event, now_ms)` gives what must be done.

It composes gossip's machine (links, members, failure detection) with the rules of this floor: roles, claims to slots,
epochs, the cluster's state. It knows no socket, file or clock; `node/bus.py` carries its effects out.
"""

from __future__ import annotations

from cluster import (
    claims,
    contact,
    elections,
    epochs,
    health,
    lease,
    manual_failover,
    replica_migration,
    restarts,
    roles,
    voting,
)
from cluster.core import Core
from cluster.events import Deliver, Effect, Event, Tick
from cluster.failover import DataLink
from cluster.operations import Operations
from cluster.settings import ClusterSettings
from cluster.state import SavedNode, SavedState
from cluster.views import BusCounters, ClusterView, NodeView
from gossip.detector import count_reports
from gossip.events import LinkId
from gossip.ids import NodeId, RandomSource, ShardId, random_id
from gossip.machine import Gossip
from gossip.members import FAIL, HANDSHAKE, LIGHT_HEADER, MYSELF, PRIMARY, Link, Member
from gossip.messages import (
    SLOT_BITMAP_BYTES,
    FailoverAuthAck,
    FailoverAuthRequest,
    Header,
    LightPublish,
    Message,
    MfStart,
    NodeFlag,
    Publish,
    Update,
    node_flags,
)


class Cluster(Core):
    """The machine. Times are unix ms of a clock that only goes forwards, whatever is done to the one on the wall
    (`gossip.wall_ahead_ms`, kept by the I/O); it may be a simulated one.

    Every method that returns effects has ended a step: carry them out, in order, before the next.
    operations: what CLUSTER subcommands order. links_limit_exceeded: kept by the I/O.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        random: RandomSource,
        *,
        now_ms: int,
        node_id: NodeId | None = None,
        shard_id: ShardId | None = None,
    ) -> None:
        """A node that knows nobody but itself."""
        super().__init__(settings, random, now_ms)
        myself = Member(
            node_id or random_id(random),
            flags=MYSELF | PRIMARY,
            created_ms=now_ms,
            shard_id=shard_id or ShardId(random_id(random)),
        )
        self.gossip = Gossip(
            myself,
            random,
            self,
            self.out,
            timeout_ms=settings.node_timeout_ms,
            learns_own_ip=not settings.announce_ip,
        )
        self.refresh_myself()
        self.operations = Operations(self, self._finish)
        self.links_limit_exceeded = 0
        self._tells_role = False
        self.out.changed(state=False)

    @classmethod
    def from_saved(
        cls, saved: SavedState, settings: ClusterSettings, random: RandomSource, *, now_ms: int
    ) -> Cluster:
        """The node that left this behind. Exactly one of the saved nodes must be flagged MYSELF."""
        (own,) = [node for node in saved.nodes if node.flags & NodeFlag.MYSELF]
        cluster = cls(settings, random, now_ms=now_ms, node_id=own.id, shard_id=own.shard_id)
        cluster._restore(saved, own, now_ms)
        return cluster

    def _restore(self, saved: SavedState, own: SavedNode, now_ms: int) -> None:
        self.myself.address = own.address
        self.refresh_myself()
        for node in saved.nodes:
            if not node.flags & NodeFlag.HANDSHAKE:
                self._restore_node(node, now_ms)
        for node in saved.nodes:
            if node.primary is not None and node.id in self.members:
                self.gossip.members.set_primary(self.members[node.id], self.members.get(node.primary))
        head = self.shard_head(self.myself)
        if own.shard_id is None and head.shard_id is not None:
            self.myself.shard_id = head.shard_id
        self.slotmap.migrating.update(saved.migrating)
        self.slotmap.importing.update(saved.importing)
        for source, slots in saved.taken.items():
            bits = int.from_bytes(slots, "little") & self.slotmap.bits(head.id)
            if bits and source in self.members:
                self.slotmap.take(bits, source, now_ms)
        self.slotmap.unclaimed = int.from_bytes(saved.unclaimed, "little")
        self.slotmap.grants.update((grant.job, grant) for grant in saved.grants)
        self.current_epoch = saved.current_epoch
        self.current_epoch = epochs.greatest(self)
        self.last_vote_epoch = saved.last_vote_epoch
        self.rejoining = self.gossip.had_contact = any(node.pong_received_ms for node in saved.nodes)
        if self.rejoining:
            self.lease.granted_ms = 0  # Others may have replaced this node: a majority must answer first.
        self._tells_role = self.myself.is_replica
        self.gossip.remembers_own_ip = True
        self.out.persist = self.out.lasting = False
        self.out.reassess = True

    def _restore_node(self, node: SavedNode, now_ms: int) -> None:
        flags = int(node.flags)
        if node.flags & NodeFlag.MYSELF:
            member = self.myself
            member.flags = flags & ~FAIL
            self.refresh_myself()
        else:
            member = Member(
                node.id,
                node.address,
                flags,
                now_ms,
                shard_id=node.shard_id,
                hostname=node.hostname,
                human_nodename=node.human_nodename,
                client_ipv4=node.client_ipv4,
                client_ipv6=node.client_ipv6,
                # Times of another run of the clock say only that there was something.
                ping_sent_ms=now_ms if node.ping_sent_ms else 0,
                pong_received_ms=now_ms if node.pong_received_ms else 0,
                fail_since_ms=now_ms if flags & FAIL else 0,
                leased_ms=now_ms,  # Perhaps this node has answered it just before it ended.
            )
            self.gossip.members.add(member)
        member.config_epoch = node.config_epoch
        self.assign(int.from_bytes(node.slots, "little"), member)

    # Steps --------------------------------------------------------------------------------------------------------

    def step(self, event: Event, now_ms: int) -> list[Effect]:
        """Take in one event of the bus."""
        is_tick = isinstance(event, Tick)
        if is_tick and self._tells_role:
            self._tells_role = False
            if self.myself.primary is not None:
                self.follow(self.myself.primary)
        self.gossip.step(event, now_ms)
        if is_tick:
            self._tick(now_ms)
        return self._finish(now_ms)

    def _tick(self, now_ms: int) -> None:
        manual_failover.tick(self, now_ms)
        restarts.tick(self, now_ms)
        lease.look(self, now_ms)
        contact.ask(self, now_ms)
        claims.settle(self, now_ms)
        if self.myself.is_replica:
            replica_migration.consider(self, now_ms)
        if not self.ok:
            self.out.reassess = True

    def _finish(self, now_ms: int) -> list[Effect]:
        lease.progress(self, now_ms)
        contact.progress(self, now_ms)
        if self.out.reassess:
            self.out.reassess = False
            health.reassess(self, now_ms)
        if self.myself.is_replica:
            self.gossip.unmute(now_ms)
            manual_failover.check_offset(self)
            elections.consider(self, now_ms)
        self.refresh_served()
        return self.out.finish()

    def check_lease(self, now_ms: int) -> list[Effect]:
        """Something has come from a client past `serves_until_ms`, or before the last tick, or waits to leave past
        `answers_until_ms`: find out what that means."""
        lease.look(self, now_ms)
        contact.ask(self, now_ms)
        return self._finish(now_ms)

    @property
    def serves_until_ms(self) -> int | None:
        """Until when (unix ms) what clients send may be executed; None: without end, 0: not now."""
        return lease.serves_until_ms(self)

    def wrote(self, now_ms: int) -> list[Effect]:
        """Clients' writes were done, up to `stream_end`; to be called before their replies leave, when it is time
        (`asks_at_ms`)."""
        contact.wrote(self, now_ms)
        return self._finish(now_ms)

    def replicas_asked(self) -> None:
        """AskReplicas is carried out: the stream ends at `stream_end`, with the question."""
        self.contact.end = self.stream_end

    @property
    def awaits_replicas(self) -> bool:
        """Whether `acknowledged` is of any interest."""
        return self.contact.target is not None

    def acknowledged(self, ip: str, port: int, offset: int, now_ms: int) -> list[Effect]:
        """The replica at this address has the stream up to an offset, bytes."""
        contact.acknowledged(self, ip, port, offset, now_ms)
        return self._finish(now_ms)

    @property
    def answers_until_ms(self) -> int | None:
        """Until when (unix ms) replies of writes may leave; None: as long as clients are served."""
        return contact.answers_until_ms(self)

    @property
    def withholds(self) -> bool:
        """Whether replies have waited for so long that no more writes should be done meanwhile."""
        return self.ok and self.contact.told

    @property
    def asks_at_ms(self) -> int | None:
        """From when on (unix ms) `wrote` must be called; None: not, as things are."""
        return contact.asks_at_ms(self)

    def new_link(self) -> LinkId:
        """The number for a connection that was accepted; LinkAccepted carries it."""
        return self.gossip.new_link()

    def reconfigure(self, settings: ClusterSettings, now_ms: int) -> list[Effect]:
        """Go on with other settings. What others know of this node is told to them at once when it has changed."""
        myself = self.myself
        before = (myself.address, myself.hostname, myself.human_nodename, myself.client_ipv4, myself.client_ipv6)
        if self.settings.announce_ip and not settings.announce_ip:
            myself.address = type(myself.address)("", 0, 0)  # Peers will tell it by the address to which they connect.
        self.settings = settings
        self.gossip.timeout_ms = settings.node_timeout_ms
        self.gossip.learns_own_ip = not settings.announce_ip
        self.refresh_myself()
        if before != (
            myself.address, myself.hostname, myself.human_nodename, myself.client_ipv4, myself.client_ipv6
        ):
            self.out.changed(state=False)
            self.gossip.broadcast_pong(now_ms)
        self.out.reassess = True
        return self._finish(now_ms)

    def set_offset(self, offset: int, now_ms: int, data_link: DataLink | None = None) -> list[Effect]:
        """The replication offset that messages carry from now on, bytes, and how a replica's link to the data is.

        Clients are not shown a replica at offset 0, which may have nothing yet: that it has data is told at once.
        """
        has_data_now = self.myself.is_replica and not self.offset and bool(offset)
        self.offset = offset
        if data_link is not None:
            self.data_link = data_link
            if data_link.connected:
                restarts.linked(self)
        if has_data_now:
            self.gossip.broadcast_pong(now_ms)
        return self._finish(now_ms)

    def writes_paused(self, offset: int, now_ms: int) -> list[Effect]:
        """PauseWrites is carried out: no write will come, and the stream ends at this offset."""
        self.offset = offset
        manual_failover.paused(self, now_ms)
        return self._finish(now_ms)

    def data_loaded(self, shard: str, offset: int) -> None:
        """The data that is being loaded is this shard's stream up to there, as its file says."""
        self.offset = offset
        restarts.loaded(self, shard)

    def data_followed(self) -> None:
        """A replica has begun to follow its primary's stream: what that has is what this node has."""
        restarts.linked(self)

    def accepts_history(self, offset: int) -> bool:
        """Whether a replica may replace its data by another history of its primary's that ends at this offset."""
        return restarts.accepts_history(self, offset)

    def primary_has_less(self, now_ms: int) -> list[Effect]:
        """A history was refused: this replica asks for its primary's place."""
        restarts.refused(self, now_ms)
        return self._finish(now_ms)

    def defers_sync(self, offset: int) -> bool:
        """Whether a replica that has data up to this offset must not be given a full sync yet."""
        return restarts.defers_sync(self, offset)

    def publish(self, channel: bytes, message: bytes, sharded: bool) -> list[Effect]:
        """Tell the other nodes, or with `sharded` those of this shard, of a PUBLISH done here."""
        head = self.shard_head(self.myself)
        receivers = [head, *head.replicas] if sharded else self.gossip.members.everyone
        full: Publish | None = None
        light = LightPublish(channel, message, sharded)
        for member in receivers:
            if member.link is None or member.flags & (HANDSHAKE | MYSELF):
                continue
            # A light header names no sender: the link must have carried a full one before.
            if member.flags & LIGHT_HEADER and member.link.opened:
                self.out.send(member.link.id, light)
            else:
                full = full or Publish(self.header(), channel, message, sharded)
                self.out.send(member.link.id, full)
        return self.out.finish()

    # What gossip asks of the floor above ------------------------------------------------------------------------

    def voters(self) -> int:
        """How many primaries own slots."""
        return self.slotmap.owner_count

    def heard_epochs(self, sender: Member, header: Header, now_ms: int) -> None:
        """Any message of a known node came."""
        epochs.hear(self, sender, header, now_ms)
        manual_failover.hear(self, sender, header)
        restarts.hear(self, sender, header, now_ms)

    def heard_state(self, sender: Member, header: Header, link: Link, now_ms: int) -> None:
        """A ping, pong or meet of a known node came."""
        roles.hear(self, sender, header)
        claims.hear(self, sender, header)

    def claimed(self, sender: Member, header: Header, link: Link, now_ms: int) -> None:
        """Somebody speaks in a member's name."""
        restarts.hear_claim(self, header, now_ms)
        claims.correct(self, sender, header, link)

    def alleged(self, sender: Member, update: Update, now_ms: int) -> None:
        """Somebody says that another owns slots; that one is being asked."""
        lease.contested(self, update, now_ms)

    def heard(self, sender: Member, message: Message, link: Link, now_ms: int) -> None:
        """Any other message came. Those of modules change nothing."""
        if isinstance(message, Update):
            claims.hear_update(self, message)
        elif isinstance(message, FailoverAuthRequest):
            voting.requested(self, sender, message.header, link, now_ms)
        elif isinstance(message, FailoverAuthAck):
            elections.granted(self, sender, message.header, now_ms)
        elif isinstance(message, MfStart):
            manual_failover.requested(self, sender, now_ms)
        elif isinstance(message, Publish | LightPublish):
            self.out.put(Deliver(message.channel, message.message, message.sharded))

    def address_changed(self, member: Member) -> None:
        """A member moved: replication follows its primary."""
        if self.myself.primary is member:
            self.follow(member)

    def removed(self, member: Member) -> None:
        """A member leaves: nobody owns its slots, and none is on the move to or from it."""
        self.assign(self.slotmap.bits(member.id), None)
        self.slotmap.close_with(member.id)
        self.votes.pop(member.id, None)

    # Showing ------------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Primaries that own slots."""
        return self.slotmap.owner_count

    @property
    def counters(self) -> BusCounters:
        """Messages by type."""
        return BusCounters(self.out.sent, self.out.received, self.links_limit_exceeded)

    def member_of_link(self, link: LinkId) -> Member | None:
        """To whom a link leads, as far as it is known."""
        found = self.gossip.links.get(link)
        return None if found is None else found.member

    def failure_reports(self, node: NodeId, now_ms: int) -> int:
        """How many others call the member unreachable. KeyError when it is unknown."""
        return count_reports(self.members[node], now_ms, self.settings.node_timeout_ms)

    def _time_of_day(self, noted_ms: int) -> int:
        return noted_ms + self.gossip.wall_ahead_ms if noted_ms else 0

    def node_view(self, member: Member) -> NodeView:
        """One member, to be shown."""
        is_self = member is self.myself
        return NodeView(
            id=member.id,
            address=member.address,
            flags=node_flags(member.flags),
            primary=None if member.primary is None else member.primary.id,
            shard_id=member.shard_id,
            hostname=member.hostname,
            client_ipv4=member.client_ipv4,
            client_ipv6=member.client_ipv6,
            ping_sent_ms=self._time_of_day(member.ping_sent_ms),
            pong_received_ms=self._time_of_day(member.pong_received_ms),
            config_epoch=self.shard_head(member).config_epoch,
            connected=is_self or member.link is not None,
            slots=tuple(self.slotmap.slots_of(member.id)),
            offset=self.offset if is_self else member.offset,
        )

    def view(self) -> ClusterView:
        """Everything that CLUSTER commands show, as of now."""
        return ClusterView(
            nodes=tuple([self.node_view(member) for member in self.members.values()]),
            cluster_ok=self.ok,
            current_epoch=self.current_epoch,
            migrating=dict(self.slotmap.migrating),
            importing=dict(self.slotmap.importing),
            tls_cluster=self.settings.tls_cluster,
        )

    def saved_state(self) -> SavedState:
        """What nodes.conf must hold as of now."""
        return SavedState(
            nodes=tuple([self._saved_node(one) for one in self.members.values() if not one.flags & HANDSHAKE]),
            current_epoch=self.current_epoch,
            last_vote_epoch=self.last_vote_epoch,
            migrating=dict(self.slotmap.migrating),
            importing=dict(self.slotmap.importing),
            taken={
                source: one.bits.to_bytes(SLOT_BITMAP_BYTES, "little") for source, one in self.slotmap.taken.items()
            },
            grants=tuple(self.slotmap.grants.values()),
            unclaimed=self.slotmap.unclaimed.to_bytes(SLOT_BITMAP_BYTES, "little"),
        )

    def _saved_node(self, member: Member) -> SavedNode:
        return SavedNode(
            id=member.id,
            address=member.address,
            flags=node_flags(member.flags),
            primary=None if member.primary is None else member.primary.id,
            config_epoch=member.config_epoch,
            shard_id=member.shard_id,
            slots=self.slotmap.bitmap(member.id),
            hostname=member.hostname,
            human_nodename=member.human_nodename,
            client_ipv4=member.client_ipv4,
            client_ipv6=member.client_ipv6,
            ping_sent_ms=self._time_of_day(member.ping_sent_ms),
            pong_received_ms=self._time_of_day(member.pong_received_ms),
            connected=member is self.myself or member.link is not None,
        )


__all__ = ["Cluster", "ClusterSettings"]
