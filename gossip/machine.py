"""The bus as a pure state machine: links, handshakes, pings, failure detection; what headers claim is for above.

`Gossip.step(event, now_ms)` takes one event and leaves what must be done in `out`; the floor above finishes the step.
The rules are those of Redis 7.2's cluster bus. Strangers change nothing: a message whose sender is no member, or not
the member whom the link leads to, is answered at most (a PING gets its PONG), and a MEET starts a handshake. Only what
comes over a link that this node has made is a member's word; what comes over accepted ones goes through `proof.py`.
"""

from __future__ import annotations

from typing import Any

from gossip import handshake, hearsay, proof, watch
from gossip.above import Above
from gossip.detector import may_clear_fail
from gossip.events import Connect, GossipEvent, Level, LinkAccepted, LinkClosed, LinkId, LinkOpened, Received, Tick
from gossip.ids import Address, NodeId, RandomSource
from gossip.members import (
    ANNOUNCED,
    EXTENSIONS,
    FAIL,
    HANDSHAKE,
    MEET,
    MYSELF,
    NO_ADDRESS,
    NOADDR,
    PFAIL,
    REPLICA,
    Link,
    Member,
    MemberTable,
)
from gossip.messages import (
    NO_EXTENSIONS,
    Fail,
    GossipEntry,
    Header,
    LightPublish,
    Message,
    MessageFlag,
    MessageType,
    Ping,
)
from gossip.outbox import Outbox
from gossip.pings import choose_gossip, own_extensions

LINK_SILENT_TIMEOUTS = 2
"""A member's accepted link that has been silent for so many node timeouts gives way to another."""
_LEARNS = int(MessageFlag.EXTENSIONS)


class Gossip:
    """One node's end of the bus.

    timeout_ms: cluster-node-timeout. learns_own_ip: none is announced by configuration, so peers' connections tell it.
    """

    def __init__(
        self,
        myself: Member,
        random: RandomSource,
        above: Above,
        out: Outbox[Any],
        *,
        timeout_ms: int,
        learns_own_ip: bool,
    ) -> None:
        self.myself = myself
        self.members = MemberTable(myself)
        self.random = random
        self.above = above
        self.out = out
        self.timeout_ms = timeout_ms
        self.learns_own_ip = learns_own_ip
        self.links: dict[LinkId, Link] = {}
        self.remembers_own_ip = False
        """The own address is from before this process: peers may know better."""
        self.had_contact = False
        """Some member has answered, now or before a restart, and that is on disk."""
        self.mute = False
        """Say nothing of this node's own accord and answer no ping: others shall see it fail."""
        self.suspects: dict[NodeId, Member] = {}
        """All members that are PFAIL, and some that were at the last tick."""
        self.refusals = proof.Refusals()
        self.alleged: dict[NodeId, tuple[Member, Fail, Link, int]] = {}
        """Members of whom a FAIL has told, which this node can not confirm yet: who told, what, over which link, when."""
        self.moves: dict[NodeId, proof.AddressClaim] = {}
        """Members that are said to have moved."""
        self._last_link: LinkId = 0
        self.wall_ahead_ms = 0
        """By how much the time of day, in which pings tell of others, is ahead of the clock that all here counts by."""
        self.turn = -1
        """Whose turn it was last to be pinged, in a large cluster: a place in the table."""
        self.ticks = 0
        self.ticked_ms = 0
        """When the last tick was."""

    def step(self, event: GossipEvent, now_ms: int) -> None:
        """Take in one event."""
        if isinstance(event, Received):
            self._received(event, now_ms)
        elif isinstance(event, Tick):
            self.ticks += 1
            watch.tick(self, now_ms)
        elif isinstance(event, LinkOpened):
            self._opened(event, now_ms)
        elif isinstance(event, LinkAccepted):
            self.links[event.link] = Link(
                event.link, True, now_ms, remote_ip=event.remote_ip, local_ip=event.local_ip, opened=True
            )
        elif isinstance(event, LinkClosed):
            self._closed(event, now_ms)

    # Links --------------------------------------------------------------------------------------------------------

    def new_link(self) -> LinkId:
        """A number for a connection."""
        self._last_link += 1
        return self._last_link

    def connect(self, member: Member, now_ms: int) -> None:
        """Ask for a connection to a member that has an address."""
        link = self.open_link(member.address, now_ms)
        link.member = member
        member.link = link
        member.asked_ms = 0

    def open_link(self, address: Address, now_ms: int) -> Link:
        """Ask for a connection to a bus port."""
        link = Link(self.new_link(), False, now_ms)
        self.links[link.id] = link
        self.out.put(Connect(link.id, address.ip, address.bus_port))
        return link

    def drop_link(self, link: Link | None) -> None:
        """Close a link, if it is one."""
        if link is not None and self.links.pop(link.id, None) is not None:
            self._unlink(link)
            self.out.close(link.id)

    @staticmethod
    def _unlink(link: Link) -> None:
        member = link.member
        if member is not None:
            if member.link is link:
                member.link = None
            if member.inbound is link:
                member.inbound = None

    def _opened(self, event: LinkOpened, now_ms: int) -> None:
        link = self.links.get(event.link)
        if link is None or link.inbound:
            return
        link.opened = True
        link.local_ip = event.local_ip
        member = link.member
        if member is None:
            if link.probes is not None:
                self.send_ping(link, MessageType.PING, now_ms)
            return
        # A ping of an earlier link that was never answered keeps its time: reconnecting is no sign of life.
        unanswered_ms = member.ping_sent_ms
        self.send_ping(link, MessageType.MEET if member.flags & MEET else MessageType.PING, now_ms)
        member.ping_sent_ms = unanswered_ms or now_ms
        if member.flags & MEET:
            member.met_ms = now_ms
            member.flags &= ~MEET

    def _closed(self, event: LinkClosed, now_ms: int) -> None:
        link = self.links.pop(event.link, None)
        if link is None:
            return
        self._unlink(link)
        if link.probes is not None:
            proof.probe_closed(self, link)
        member = link.member
        if member is not None and not link.inbound and not member.ping_sent_ms:
            # A ping counts as sent when a link is lost or can not be made, else a member that can not be reached would
            # never be silent. Time runs from here.
            member.ping_sent_ms = now_ms

    # Sending ------------------------------------------------------------------------------------------------------

    def send_ping(self, link: Link, kind: MessageType, now_ms: int, *, gossips: bool = True, asks: bool = False) -> None:
        """Send PING, PONG or MEET over a link, with gossip unless there is no need for it. asks: also when mute."""
        if self.mute and not asks:
            link.owed += link.inbound and kind is MessageType.PONG
            return
        receiver = link.member
        if not link.inbound and kind is not MessageType.PONG:
            link.pings.append(now_ms)
            if kind is MessageType.PING and receiver is not None:
                receiver.ping_sent_ms = now_ms
        extensions = NO_EXTENSIONS
        if receiver is not None and receiver.flags & EXTENSIONS:
            extensions = own_extensions(self.members, receiver, now_ms)
        gossip: tuple[GossipEntry, ...] = ()
        if gossips:
            gossip = choose_gossip(self.members, receiver, self.random, self.suspects.values(), self.wall_ahead_ms)
        self.out.send(link.id, Ping(kind, self.above.header(), gossip, extensions))

    def unmute(self, now_ms: int) -> None:
        """Speak again. The pings that were left unanswered are answered now: real servers send no other until then."""
        if self.mute:
            self.mute = False
            for link in self.links.values():
                for _ in range(link.owed):  # No more of them: each would count as the answer to a ping to come.
                    self.send_ping(link, MessageType.PONG, now_ms)
                link.owed = 0

    def broadcast(self, message: Message) -> None:
        """Send a message to every member to whom there is a link."""
        for member in self.members:
            if member.link is not None and not member.flags & HANDSHAKE:
                self.out.send(member.link.id, message)

    def broadcast_pong(self, now_ms: int) -> None:
        """Tell every linked member now what the next pings would."""
        for member in self.members:
            if member.link is not None and not member.flags & HANDSHAKE:
                self.send_ping(member.link, MessageType.PONG, now_ms)

    # Members ------------------------------------------------------------------------------------------------------

    def remove(self, member: Member) -> None:
        """Drop a member and its links."""
        self.above.removed(member)
        self.drop_link(member.link)
        self.drop_link(member.inbound)
        self.members.remove(member)
        self.suspects.pop(member.id, None)
        self.out.changed()

    def forget(self, member: Member, until_ms: int) -> None:
        """Drop a member and keep gossip from bringing it back before then."""
        self.members.ban(member.id, until_ms)
        self.remove(member)

    def set_failed(self, member: Member, now_ms: int) -> None:
        """Note that a majority has failed a member."""
        member.flags = member.flags & ~PFAIL | FAIL
        member.fail_since_ms = now_ms
        self.out.changed()

    def update_address(self, member: Member, header: Header, now_ms: int) -> None:
        """Follow a member to the address that it tells itself, if that is new."""
        address = Address(header.ip or member.address.ip, header.port, header.bus_port, header.secondary_port)
        if address == member.address or not address.bus_port:
            return
        if (address.ip, address.bus_port) == (member.address.ip, member.address.bus_port):
            self.out.log(Level.NOTICE, f"Address updated for node {member.called}, now {address.ip}:{address.port}")
            member.address = address  # The bus is where it was: the link stays.
            self.out.changed()
            self.above.address_changed(member)
        else:
            proof.told_address(self, member, address, now_ms)

    def move(self, member: Member, address: Address, now_ms: int) -> None:
        """A member is to be reached at another address: connect there."""
        member.address = address
        member.flags &= ~NOADDR
        self.drop_link(member.link)
        self.connect(member, now_ms)
        self.out.changed()
        self.above.address_changed(member)

    # Receiving ----------------------------------------------------------------------------------------------------

    def _received(self, event: Received, now_ms: int) -> None:
        link = self.links.get(event.link)
        if link is None:
            return
        message = event.message
        self.out.count_received(message)
        if isinstance(message, LightPublish):
            member = link.member
            if member is not None and not member.flags & HANDSHAKE:
                link.heard_ms = now_ms
                self.above.heard(member, message, link, now_ms)
            return
        header = message.header
        if header.sender == self.myself.id:
            self._heard_myself(link, message, now_ms)
        elif link.probes is not None:
            proof.probed(self, link, message, now_ms)
        elif self._is_from_its_member(link, message):
            sender = self._sender(link, header, now_ms)
            if link.inbound:
                proof.hear(self, link, sender, message, now_ms)
            else:
                self._heard_word(link, sender, message, now_ms)

    def _heard_word(self, link: Link, sender: Member | None, message: Message, now_ms: int) -> None:
        """A message over a link that this node made: it is from whoever has the address. sender: None in handshake."""
        assert not isinstance(message, LightPublish)
        header = message.header
        if sender is not None:
            self._take_in(sender, header, now_ms)
        if isinstance(message, Ping):
            if message.type is MessageType.PONG and link.pings:
                sent_ms = link.pings.pop(0)
                if link.member is not None:
                    link.member.proof_ms = max(link.member.proof_ms, sent_ms)
            self._ping(link, sender, message, now_ms)
        elif sender is None:
            self.out.log(Level.DEBUG, f"Ignoring {type(message).__name__} message from unknown node {header.sender}")
        elif isinstance(message, Fail):
            self.heard_fail(sender, message, now_ms)
        else:
            self.above.heard(sender, message, link, now_ms)

    def _take_in(self, sender: Member, header: Header, now_ms: int) -> None:
        if int(header.message_flags) & _LEARNS:
            sender.flags |= EXTENSIONS
        sender.data_received_ms = now_ms
        self.above.heard_epochs(sender, header, now_ms)

    def _heard_myself(self, link: Link, message: Message, now_ms: int) -> None:
        """This node was met at one of its own addresses."""
        if not isinstance(message, Ping):
            return
        if message.type is not MessageType.PONG:
            self.learn_own_ip(link, message.type, None)
            self.send_ping(link, MessageType.PONG, now_ms)
        elif link.member is not None and link.member.flags & HANDSHAKE:
            self.remove(link.member)

    def _is_from_its_member(self, link: Link, message: Message) -> bool:
        """Whether the message's sender can be who it says. A link that speaks for another than its member is closed."""
        member = link.member
        if isinstance(message, LightPublish) or member is None or member.flags & HANDSHAKE:
            return True
        if message.header.sender == member.id:
            return True
        self.out.log(
            Level.NOTICE, f"Message of node {message.header.sender} over the link of node {member.called}: link closed"
        )
        if not link.inbound and isinstance(message, Ping):
            # Somebody else lives at the address now: where the member is, others may tell.
            member.flags |= NOADDR
            member.address = NO_ADDRESS
            self.out.changed(state=False)
        self.drop_link(link)
        return False

    def _sender(self, link: Link, header: Header, now_ms: int) -> Member | None:
        """The member in whose name this comes. Of the accepted links that claim to be a member's, the first is its
        established one, unless that has fallen silent."""
        member = link.member
        if member is not None and not member.flags & HANDSHAKE:
            link.heard_ms = now_ms
            return member
        sender = self.members.get(header.sender)
        if sender is None or sender.flags & HANDSHAKE:
            return None
        if member is None and link.inbound:
            link.heard_ms = now_ms
            other = sender.inbound
            if other is None or now_ms - other.heard_ms > LINK_SILENT_TIMEOUTS * self.timeout_ms:
                self.drop_link(other)
                link.member = sender
                sender.inbound = link
        return sender

    def _ping(self, link: Link, sender: Member | None, message: Ping, now_ms: int) -> None:
        """A ping over a link that this node made."""
        header = message.header
        kind = message.type
        if kind is not MessageType.PONG:
            self.send_ping(link, MessageType.PONG, now_ms)
        if link.member is not None and link.member.flags & HANDSHAKE:
            sender = handshake.finish(self, link, sender, header, now_ms)
            if sender is not None:
                self._take_in(sender, header, now_ms)
        if sender is None:
            return
        sender.flags = sender.flags & ~ANNOUNCED | int(header.flags) & ANNOUNCED
        if kind is MessageType.PONG:
            self._answered(sender, link, now_ms)
        self.above.heard_state(sender, header, link, now_ms)
        hearsay.hear(self, sender, message.gossip, now_ms)
        hearsay.hear_extensions(self, sender, message, now_ms)
        proof.answered(self, sender, link, header, now_ms)
        self.update_address(sender, header, now_ms)

    def learn_own_ip(self, link: Link, kind: MessageType, sender: Member | None) -> None:
        """Peers connect to the address by which they know this node, and a MEET's is the one that was meant.

        An address that is remembered from before a restart holds until the first peer comes: containers get new ones.
        Who is no member, or speaks from elsewhere than that, is believed while there is nothing better alone.
        """
        mine = self.myself.address
        if not self.learns_own_ip or not link.inbound or not link.local_ip:
            return
        if mine.ip and not mine.ip.startswith("127.") and (sender is None or link.remote_ip != sender.address.ip):
            return
        remembered, self.remembers_own_ip = self.remembers_own_ip, False
        if kind is MessageType.MEET or not mine.ip or remembered:
            self._set_own_ip(link.local_ip)

    def _set_own_ip(self, ip: str) -> None:
        mine = self.myself.address
        if ip != mine.ip:
            self.myself.address = Address(ip, mine.port, mine.bus_port, mine.secondary_port)
            self.out.log(Level.NOTICE, f"IP address for this node updated to {ip}")
            self.out.changed(state=False)

    def _answered(self, member: Member, link: Link, now_ms: int) -> None:
        if self.remembers_own_ip and self.learns_own_ip and link.local_ip:
            self.remembers_own_ip = False
            self._set_own_ip(link.local_ip)
        if not self.had_contact:
            self.had_contact = True
            self.out.changed(state=False)  # A restart must know of it: from then on it has something to rejoin.
        member.pong_received_ms = now_ms
        member.ping_sent_ms = 0
        member.answered = True
        if member.flags & PFAIL:
            member.flags &= ~PFAIL
            self.out.changed()
        elif member.flags & FAIL and may_clear_fail(member, now_ms, self.timeout_ms):
            if member.flags & REPLICA or not member.slot_count:
                kind = "replica" if member.flags & REPLICA else "master without slots"
                why = f"{kind} is reachable again."
            else:
                why = "is reachable again and nobody is serving its slots after some time."
            self.out.log(Level.NOTICE, f"Clear FAIL state for node {member.called}: {why}")
            member.flags &= ~FAIL
            self.out.changed()

    def heard_fail(self, sender: Member, message: Fail, now_ms: int) -> None:
        """A member has counted a majority that can not reach another."""
        member = self.members.get(message.node)
        if member is not None and not member.flags & (FAIL | MYSELF):
            self.out.log(Level.NOTICE, f"FAIL message received from {sender.called} about {member.called}")
            self.set_failed(member, now_ms)
