"""The bus as a pure state machine: links, handshakes, pings, failure detection; what headers claim is for above.

`Gossip.step(event, now_ms)` takes one event and leaves what must be done in `out`; the floor above finishes the step.
The rules are those of Redis 7.2's cluster bus. Strangers change nothing: a message whose sender is no member, or not
the member whom the link leads to, is answered at most (a PING gets its PONG), and a MEET starts a handshake.
"""

from __future__ import annotations

from typing import Any

from gossip import handshake, hearsay
from gossip.above import Above
from gossip.detector import may_clear_fail, should_fail
from gossip.events import Connect, GossipEvent, Level, LinkAccepted, LinkClosed, LinkId, LinkOpened, Received, Tick
from gossip.ids import Address, RandomSource
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
    Header,
    LightPublish,
    Message,
    MessageFlag,
    MessageType,
    Ping,
)
from gossip.outbox import Outbox
from gossip.pings import choose_gossip, own_extensions

PING_SHARE = 8
"""In a small cluster everyone is pinged so many times in a node timeout, so that silence is seen as soon as it counts."""
PING_MEMBERS = 200
"""How many members are pinged in a node timeout before the pings to each become fewer: at least two, as in Redis."""
SPREAD_MAX = 20
"""To how many voters a new suspicion is told at once."""
TICKS_PER_RANDOM_PING = 10
RANDOM_PING_CANDIDATES = 5

_DOWN = PFAIL | FAIL
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
        self.suspects = 0
        """How many members are PFAIL, as of the last tick or more."""
        self._last_link: LinkId = 0
        self._ticks = 0

    def step(self, event: GossipEvent, now_ms: int) -> None:
        """Take in one event."""
        if isinstance(event, Received):
            self._received(event, now_ms)
        elif isinstance(event, Tick):
            self._tick(now_ms)
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
        link = Link(self.new_link(), False, now_ms, member)
        self.links[link.id] = link
        member.link = link
        self.out.put(Connect(link.id, member.address.ip, member.address.bus_port))

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
        if link is None or link.member is None:
            return
        link.opened = True
        link.local_ip = event.local_ip
        member = link.member
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
        member = link.member
        if member is not None and not link.inbound and not member.ping_sent_ms:
            # A ping counts as sent when a link is lost or can not be made, else a member that can not be reached would
            # never be silent. Time runs from here.
            member.ping_sent_ms = now_ms

    # Sending ------------------------------------------------------------------------------------------------------

    def send_ping(self, link: Link, kind: MessageType, now_ms: int) -> None:
        """Send PING, PONG or MEET with gossip over a link."""
        if self.mute:
            return
        receiver = link.member
        if kind is MessageType.PING and receiver is not None and not link.inbound:
            receiver.ping_sent_ms = now_ms
        extensions = NO_EXTENSIONS
        if receiver is not None and receiver.flags & EXTENSIONS:
            extensions = own_extensions(self.members, receiver, now_ms)
        gossip = choose_gossip(self.members, receiver, self.random, self.suspects)
        self.out.send(link.id, Ping(kind, self.above.header(), gossip, extensions))

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

    # Time ---------------------------------------------------------------------------------------------------------

    def _tick(self, now_ms: int) -> None:
        self._ticks += 1
        timeout_ms = self.timeout_ms
        half_ms = timeout_ms // 2
        idle_ms = self._ping_period_ms()
        suspects = 0
        new_suspects: list[Member] = []
        overdue: list[Member] = []
        for member in self.members.everyone:
            flags = member.flags
            if flags & (MYSELF | NOADDR):
                continue
            if flags & PFAIL:
                suspects += 1
            if flags & HANDSHAKE:
                if now_ms - member.created_ms > handshake.lifetime_ms(timeout_ms):
                    overdue.append(member)
                elif member.link is None:
                    self.connect(member, now_ms)
                continue
            if member.link is None:
                self.connect(member, now_ms)
            elif member.met_ms:
                self._meet_again(member, member.link, now_ms)
            if not member.ping_sent_ms:
                if now_ms - member.pong_received_ms > idle_ms and member.link is not None:
                    self.send_ping(member.link, MessageType.PING, now_ms)
            elif now_ms - member.ping_sent_ms > half_ms and self._unanswered(member, now_ms):
                suspects += 1
                new_suspects.append(member)
        self.suspects = suspects
        for member in new_suspects:
            self._spread_suspicion(member, now_ms)
        for member in overdue:
            self.remove(member)
        if self._ticks % TICKS_PER_RANDOM_PING == 0:
            self._ping_someone(now_ms)

    def _ping_period_ms(self) -> int:
        """How long after its last answer a member is pinged again."""
        timeout_ms = self.timeout_ms
        return min(max(timeout_ms // PING_SHARE, timeout_ms * len(self.members) // PING_MEMBERS), timeout_ms // 2)

    def _spread_suspicion(self, suspect: Member, now_ms: int) -> None:
        """Tell voters of it now, and the suspect's replicas, who want to know: a quorum comes together at once.

        With PONG, which needs no answer. In a large cluster to a few only: they tell others when they agree.
        """
        told = [one for one in self.members if one.votes and not one.flags & (_DOWN | MYSELF) and one.link is not None]
        while len(told) > SPREAD_MAX:
            del told[int(self.random.random() * len(told))]
        told += [one for one in suspect.replicas if one is not self.myself]
        for member in told:
            if member.link is not None and member.link.opened:
                self.send_ping(member.link, MessageType.PONG, now_ms)

    def _unanswered(self, member: Member, now_ms: int) -> bool:
        """A ping has waited for half the timeout or longer. Returns whether the member has become PFAIL."""
        timeout_ms = self.timeout_ms
        link = member.link
        # Who sends other things and leaves the ping unanswered for long has not got it, or the answer was lost.
        is_stuck = now_ms - member.data_received_ms > timeout_ms // 2 or now_ms - member.ping_sent_ms > timeout_ms
        if link is not None and is_stuck and now_ms - link.created_ms > timeout_ms:
            self.drop_link(link)  # Perhaps it is the connection that is broken: the next tick makes another.
        silent_ms = now_ms - max(member.ping_sent_ms, member.data_received_ms)
        if silent_ms <= timeout_ms or member.flags & _DOWN:
            return False
        member.flags |= PFAIL
        self.suspects += 1
        self.out.reassess = True
        self.out.log(Level.DEBUG, f"*** NODE {member.called} possibly failing")
        self.mark_failing_if_needed(member, now_ms)
        return True

    def _meet_again(self, member: Member, link: Link, now_ms: int) -> None:
        """It was met and has answered, but does not come back: what it knows of this node was lost on the way.

        Without this (Redis has it not) such a node would be a member in the eyes of this one alone, for ever. A link
        from it that is older than a handshake can be proves that this node is its member.
        """
        lifetime_ms = handshake.lifetime_ms(self.timeout_ms)
        if member.inbound is not None:
            if now_ms - member.inbound.created_ms > 2 * lifetime_ms:
                member.met_ms = 0
        elif link.opened and now_ms - member.met_ms > lifetime_ms:
            member.met_ms = now_ms
            self.send_ping(link, MessageType.MEET, now_ms)

    def _ping_someone(self, now_ms: int) -> None:
        """Of a few random members, ping the one heard from longest ago."""
        oldest: Member | None = None
        for _ in range(RANDOM_PING_CANDIDATES):
            member = self.members.draw(self.random)
            if member.link is None or member.ping_sent_ms or member.flags & (MYSELF | HANDSHAKE):
                continue
            if oldest is None or member.pong_received_ms < oldest.pong_received_ms:
                oldest = member
        if oldest is not None and oldest.link is not None:
            self.send_ping(oldest.link, MessageType.PING, now_ms)

    # Members ------------------------------------------------------------------------------------------------------

    def remove(self, member: Member) -> None:
        """Drop a member and its links."""
        self.above.removed(member)
        self.drop_link(member.link)
        self.drop_link(member.inbound)
        self.members.remove(member)
        self.out.changed()

    def forget(self, member: Member, until_ms: int) -> None:
        """Drop a member and keep gossip from bringing it back before then."""
        self.members.ban(member.id, until_ms)
        self.remove(member)

    def mark_failing_if_needed(self, member: Member, now_ms: int) -> None:
        """Turn PFAIL into FAIL, and tell everybody, when a majority agrees."""
        if not should_fail(member, self.myself, self.above.voters(), now_ms, self.timeout_ms):
            return
        self.out.log(Level.NOTICE, f"Marking node {member.called} as failing (quorum reached).")
        self._set_failed(member, now_ms)
        self.broadcast(Fail(self.above.header(), member.id))

    def _set_failed(self, member: Member, now_ms: int) -> None:
        member.flags = member.flags & ~PFAIL | FAIL
        member.fail_since_ms = now_ms
        self.out.changed()

    def update_address(self, member: Member, link: Link, header: Header, now_ms: int) -> None:
        """Follow a member to the address that it tells, or from which it speaks, if that is new."""
        ip = header.ip or link.remote_ip
        if link is member.link or not ip:
            return
        address = Address(ip, header.port, header.bus_port, header.secondary_port)
        if address != member.address:
            where = f"{ip}:{header.port}"
            self.out.log(Level.NOTICE, f"Address updated for node {member.called}, now {where}")
            self.move(member, address, now_ms)

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
                member.data_received_ms = now_ms
                self.above.heard(member, message, link, now_ms)
            return
        header = message.header
        if header.sender == self.myself.id:
            self._heard_myself(link, message, now_ms)
            return
        if not self._is_from_its_member(link, message):
            return
        sender = self._sender(link, header)
        if sender is not None:
            if header.message_flags & _LEARNS:
                sender.flags |= EXTENSIONS
            sender.data_received_ms = now_ms
            self.above.heard_epochs(sender, header, now_ms)
        if isinstance(message, Ping):
            self._ping(link, sender, message, now_ms)
        elif sender is None:
            self.out.log(Level.DEBUG, f"Ignoring {type(message).__name__} message from unknown node {header.sender}")
        elif isinstance(message, Fail):
            self._heard_fail(sender, message, now_ms)
        else:
            self.above.heard(sender, message, link, now_ms)

    def _heard_myself(self, link: Link, message: Message, now_ms: int) -> None:
        """This node was met at one of its own addresses."""
        if not isinstance(message, Ping):
            return
        if message.type is not MessageType.PONG:
            self._learn_own_ip(link, message.type)
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

    def _sender(self, link: Link, header: Header) -> Member | None:
        """The member that sent this; an accepted link is tied to it from then on."""
        member = link.member
        if member is not None and not member.flags & HANDSHAKE:
            return member
        sender = self.members.get(header.sender)
        if sender is None or sender.flags & HANDSHAKE:
            return None
        if member is None:
            link.member = sender
            self.drop_link(sender.inbound)
            sender.inbound = link
        return sender

    def _ping(self, link: Link, sender: Member | None, message: Ping, now_ms: int) -> None:
        header = message.header
        kind = message.type
        if kind is not MessageType.PONG:
            self._learn_own_ip(link, kind)
            if sender is None and kind is MessageType.MEET:
                handshake.met_by(self, link, header, now_ms)
            self.send_ping(link, MessageType.PONG, now_ms)
        if not link.inbound and link.member is not None and link.member.flags & HANDSHAKE:
            sender = handshake.finish(self, link, sender, header, now_ms)
            if sender is not None:
                sender.data_received_ms = now_ms
                if header.message_flags & _LEARNS:
                    sender.flags |= EXTENSIONS
                self.above.heard_epochs(sender, header, now_ms)
        if sender is None:
            return
        sender.flags = sender.flags & ~ANNOUNCED | int(header.flags) & ANNOUNCED
        if kind is MessageType.PING:
            self.update_address(sender, link, header, now_ms)
        elif kind is MessageType.PONG and not link.inbound:
            self._answered(sender, now_ms)
        self.above.heard_state(sender, header, link, now_ms)
        for entry in message.gossip:
            hearsay.hear(self, sender, entry, now_ms)
        hearsay.hear_extensions(self, sender, message, now_ms)

    def _learn_own_ip(self, link: Link, kind: MessageType) -> None:
        """Peers connect to the address by which they know this node, and a MEET's is the one that was meant.

        An address that is remembered from before a restart holds until the first peer comes: containers get new ones.
        """
        mine = self.myself.address
        if not self.learns_own_ip or not link.inbound or not link.local_ip:
            return
        remembered, self.remembers_own_ip = self.remembers_own_ip, False
        if link.local_ip == mine.ip:
            return
        if kind is MessageType.MEET or not mine.ip or remembered:
            self.myself.address = Address(link.local_ip, mine.port, mine.bus_port, mine.secondary_port)
            self.out.log(Level.NOTICE, f"IP address for this node updated to {link.local_ip}")
            self.out.changed(state=False)

    def _answered(self, member: Member, now_ms: int) -> None:
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

    def _heard_fail(self, sender: Member, message: Fail, now_ms: int) -> None:
        member = self.members.get(message.node)
        if member is not None and not member.flags & (FAIL | MYSELF):
            self.out.log(Level.NOTICE, f"FAIL message received from {sender.called} about {member.called}")
            self._set_failed(member, now_ms)
