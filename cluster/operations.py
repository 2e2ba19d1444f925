"""What administrators order with CLUSTER subcommands, as far as the machine decides it.

Each returns the effects and raises ClusterError with Redis's reply when it cannot be done; then nothing has changed.
Which arguments are slots, and whether they are busy, `cluster/slots.py` says before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from cluster import epochs, manual_failover, roles
from cluster.core import Core
from cluster.events import ClusterError, DataDropped, Effect, Level
from cluster.manual_failover import Manner
from cluster.slotmap import ALL_SLOTS, Grant, bits_of
from gossip import handshake
from gossip.detector import quorum
from gossip.ids import Address, NodeId, ShardId, random_id
from gossip.members import Member
from gossip.messages import MessageType

_PORT_MAX = 65_535


class SlotAction(Enum):
    """What SETSLOT does. The values are its words."""

    MIGRATING = "migrating"
    IMPORTING = "importing"
    STABLE = "stable"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class SlotOrder:
    """One CLUSTER SETSLOT. node: the id that it names, "" for STABLE."""

    slot: int
    action: SlotAction
    node: str = ""


class Operations:
    """The orders. finish: ends a step of the machine and gives its effects.

    now_ms: unix ms. has_keys: whether the node holds any key.
    """

    def __init__(self, core: Core, finish: Callable[[int], list[Effect]]) -> None:
        self._core = core
        self._finish = finish

    def _known(self, node: str, error: str = "ERR Unknown node {}") -> Member:
        member = self._core.members.get(NodeId(node))
        if member is None:
            raise ClusterError(error.format(node))
        return member

    # Members ------------------------------------------------------------------------------------------------------

    def meet(self, ip: str, port: int, bus_port: int, now_ms: int) -> list[Effect]:
        """CLUSTER MEET: begin a handshake with the node there, unless one is going on."""
        try:
            normal = str(ip_address(ip))
        except ValueError:
            normal = ""
        if not normal or not 0 < port <= _PORT_MAX or not 0 < bus_port <= _PORT_MAX:
            raise ClusterError(f"ERR Invalid node address specified: {ip}:{port}")
        handshake.start(self._core.gossip, Address(normal, port, bus_port), now_ms, meeting=True)
        return self._finish(now_ms)

    def forget(self, node: str, now_ms: int) -> list[Effect]:
        """CLUSTER FORGET: drop a member and keep it out for a while, here and through gossip everywhere."""
        core = self._core
        member = core.members.get(NodeId(node))
        if member is None:
            if core.gossip.members.is_banned(NodeId(node), now_ms):
                return []
            raise ClusterError(f"ERR Unknown node {node}")
        if member is core.myself:
            raise ClusterError("ERR I tried hard but I can't forget myself...")
        if core.myself.is_replica and core.myself.primary is member:
            raise ClusterError("ERR Can't forget my master!")
        core.gossip.forget(member, now_ms + core.settings.blacklist_ttl_s * 1000)
        return self._finish(now_ms)

    def replicate(self, node: str, has_keys: bool, now_ms: int) -> list[Effect]:
        """CLUSTER REPLICATE: become a replica of that primary."""
        core = self._core
        primary = self._known(node)
        if primary is core.myself:
            raise ClusterError("ERR Can't replicate myself")
        if primary.is_replica:
            raise ClusterError("ERR I can only replicate a master, not a replica.")
        if core.myself.is_primary and (core.myself.slot_count or has_keys):
            raise ClusterError("ERR To set a master the node must be empty and without assigned slots.")
        roles.replicate(core, primary)
        return self._finish(now_ms)

    def failover(self, manner: Manner, now_ms: int) -> list[Effect]:
        """CLUSTER FAILOVER: begin to take this node's primary's place."""
        manual_failover.order(self._core, manner, now_ms)
        return self._finish(now_ms)

    def reset(self, hard: bool, has_keys: bool, now_ms: int) -> list[Effect]:
        """CLUSTER RESET: forget everybody and every slot; hard: the own id, shard and epochs too."""
        core = self._core
        myself = core.myself
        if myself.is_primary and has_keys:
            raise ClusterError("ERR CLUSTER RESET can't be called with master nodes containing keys")
        if myself.is_replica:
            roles.become_primary(core, new_shard=True)
            core.out.put(DataDropped())
        core.slotmap.close_all()
        core.assign(ALL_SLOTS, None)
        for member in list(core.gossip.members.others()):
            core.gossip.remove(member)
        for link in list(core.gossip.links.values()):
            core.gossip.drop_link(link)
        core.rejoining = False
        if hard:
            core.current_epoch = core.last_vote_epoch = myself.config_epoch = 0
            core.gossip.members.rename(myself, random_id(core.random))
            myself.shard_id = ShardId(random_id(core.random))
            core.out.log(Level.NOTICE, f"Node hard reset, now I'm {myself.id}")
        core.out.changed()
        return self._finish(now_ms)

    # Slots --------------------------------------------------------------------------------------------------------

    def add_slots(self, slots: Iterable[int], now_ms: int) -> list[Effect]:
        """CLUSTER ADDSLOTS: own these slots, which nobody does. They are not importing any longer."""
        core = self._core
        core.assign(bits_of(slots), core.myself)
        return self._finish(now_ms)

    def del_slots(self, slots: Iterable[int], now_ms: int) -> list[Effect]:
        """CLUSTER DELSLOTS: in this node's eyes nobody owns these slots."""
        self._core.assign(bits_of(slots), None)
        return self._finish(now_ms)

    def flush_slots(self, has_keys: bool, now_ms: int) -> list[Effect]:
        """CLUSTER FLUSHSLOTS: own no slot."""
        core = self._core
        if has_keys:
            raise ClusterError("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.")
        core.assign(core.slotmap.bits(core.myself.id), None)
        return self._finish(now_ms)

    def check_setslot(self, *, obeying: bool = False) -> None:
        """What CLUSTER SETSLOT refuses before it reads its arguments. obeying: a replica does what its primary does."""
        if self._core.myself.is_replica and not obeying:
            raise ClusterError("ERR Please use SETSLOT only with masters.")

    def check_slot_order(self, order: SlotOrder, has_keys_in_slot: bool, *, obeying: bool = False) -> Member | None:
        """Whether this SETSLOT could be carried out now: ClusterError if not. Returns the node that it names."""
        self.check_setslot(obeying=obeying)
        core, slot = self._core, order.slot
        head = core.shard_head(core.myself)
        owner = core.owner(slot)
        if order.action is SlotAction.STABLE:
            return None
        if order.action is SlotAction.NODE:
            member = self._primary(self._known(order.node))
            if owner is head and member is not head and has_keys_in_slot and core.myself is head:
                raise ClusterError(
                    f"ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
                )
            return member
        if order.action is SlotAction.MIGRATING:
            if owner is not head:
                raise ClusterError(f"ERR I'm not the owner of hash slot {slot}")
            other = self._other_end(order.node)
            if other is head:  # Redis takes it, and then asks clients to ask itself.
                raise ClusterError(f"ERR I'm already the owner of hash slot {slot}")
            return other
        if owner is head:
            raise ClusterError(f"ERR I'm already the owner of hash slot {slot}")
        other = self._other_end(order.node)
        if other is head:
            raise ClusterError(f"ERR I'm not the owner of hash slot {slot}")
        return other

    def set_slot(
        self, order: SlotOrder, has_keys_in_slot: bool, now_ms: int, *, obeying: bool = False
    ) -> list[Effect]:
        """CLUSTER SETSLOT. A replica that obeys its primary notes the same, so that it can go on after a failover.

        As in Redis, marks of open slots are saved without waiting for the disk: a reshard sets four a slot. An owner that is
        new to this node does wait for it (`Core.assign`).
        """
        member = self.check_slot_order(order, has_keys_in_slot, obeying=obeying)
        slotmap = self._core.slotmap
        if member is None:
            slotmap.close(order.slot)
        elif order.action is SlotAction.NODE:
            self._give_slot(order.slot, member, has_keys_in_slot, now_ms)
        else:
            opened = slotmap.migrating if order.action is SlotAction.MIGRATING else slotmap.importing
            opened[order.slot] = member.id
        return self._slots_opened(now_ms)

    def set_slot_migrating(self, slot: int, to: str, now_ms: int) -> list[Effect]:
        """SETSLOT MIGRATING: keys of this node's slot go to another primary; clients ask there for those gone."""
        return self.set_slot(SlotOrder(slot, SlotAction.MIGRATING, to), False, now_ms)

    def set_slot_importing(self, slot: int, source: str, now_ms: int) -> list[Effect]:
        """SETSLOT IMPORTING: keys of another's slot come here and are served to those who are ASKING."""
        return self.set_slot(SlotOrder(slot, SlotAction.IMPORTING, source), False, now_ms)

    def set_slot_stable(self, slot: int, now_ms: int) -> list[Effect]:
        """SETSLOT STABLE: the slot is not on the move."""
        return self.set_slot(SlotOrder(slot, SlotAction.STABLE), False, now_ms)

    def set_slot_node(self, slot: int, node: str, has_keys_in_slot: bool, now_ms: int) -> list[Effect]:
        """SETSLOT NODE: that primary owns the slot. When it comes here and was importing, under a new epoch."""
        return self.set_slot(SlotOrder(slot, SlotAction.NODE, node), has_keys_in_slot, now_ms)

    def _give_slot(self, slot: int, member: Member, has_keys_in_slot: bool, now_ms: int) -> None:
        core = self._core
        myself = core.myself
        before = core.owner(slot)
        if not has_keys_in_slot:
            core.slotmap.migrating.pop(slot, None)
        source = core.slotmap.importing.get(slot)
        if source is None and before is not None and member is core.shard_head(myself) is not before:
            source = before.id  # A failover has made this node forget that it was importing.
        imported = member is myself and source is not None
        if member is core.shard_head(myself) and source is not None:
            core.slotmap.take(1 << slot, source, now_ms)
        core.assign(1 << slot, member)
        was_mine = before is myself and member is not myself
        if was_mine and not myself.slot_count and core.settings.allow_replica_migration:
            core.out.log(
                Level.NOTICE, f"Configuration change detected. Reconfiguring myself as a replica of {member.called}"
            )
            roles.replicate(core, member)
        if imported:
            if epochs.bump(core):
                core.out.log(Level.NOTICE, f"configEpoch updated after importing slot {slot}")
            core.gossip.broadcast_pong(now_ms)

    def _other_end(self, node: str) -> Member:
        return self._primary(self._known(node, "ERR I don't know about node {}"))

    @staticmethod
    def _primary(member: Member) -> Member:
        if member.is_replica:
            raise ClusterError("ERR Target node is not a master")
        return member

    def _slots_opened(self, now_ms: int) -> list[Effect]:
        self._core.slotmap.version += 1
        self._core.out.changed(lasting=False)
        return self._finish(now_ms)

    # Atomic migrations ----------------------------------------------------------------------------------------------

    def grant(self, grant: Grant, now_ms: int) -> list[Effect]:
        """The source's permission, which is on disk before the target hears of it: this node must not serve the slots again
        before it knows what came of it. From now on the target's claim is believed, even when it owns no other slot."""
        self._core.slotmap.grants[grant.job] = grant
        self._core.slotmap.untake(grant.bits)  # Should they have come from there, they go back now.
        self._core.out.changed(state=False)
        return self._finish(now_ms)

    def revoke(self, job: str, now_ms: int) -> list[Effect]:
        """The end of what `grant` began, whatever came of it."""
        if self._core.slotmap.grants.pop(job, None) is not None:
            self._core.out.changed(state=False)
        return self._finish(now_ms)

    def reserve_epoch(self, now_ms: int) -> tuple[int, list[Effect]]:
        """The target's preparation: an epoch above all that this node knows of, under which it will claim.

        The next one above it is told to everybody as the current epoch: once a majority has heard that, no election can end
        in the reserved epoch or below, so that a successor of the source's outbids the claim, and never the reverse.
        """
        core = self._core
        epoch = epochs.next_own(core)
        core.current_epoch = epoch + 1
        core.out.changed(state=False)
        return epoch, self._finish(now_ms)

    def take_slots(self, slots: Iterable[int], epoch: int, now_ms: int) -> list[Effect]:
        """The end of an atomic migration: own these slots, which another has given, under a reserved epoch; tell all."""
        core = self._core
        core.assign(bits_of(slots), core.myself)
        core.myself.config_epoch = max(core.myself.config_epoch, epoch)
        core.out.log(Level.NOTICE, f"configEpoch is {core.myself.config_epoch} after taking over slots")
        core.gossip.broadcast_pong(now_ms)
        return self._finish(now_ms)

    def reclaim(self, now_ms: int) -> list[Effect]:
        """An atomic migration has failed, but the target may have noted that it took over, and nobody else: take an epoch
        above what it can have taken, so that it loses the slots when it comes back."""
        core = self._core
        core.current_epoch = epochs.greatest(core) + len(core.members) + 1
        epochs.bump(core)
        core.gossip.broadcast_pong(now_ms)
        return self._finish(now_ms)

    def poll(self, now_ms: int) -> list[Effect]:
        """Ask all primaries now whether they are there: `answered` tells when a majority has said so, knowing what this node
        claims, and having said first what they know better."""
        core = self._core
        for member in core.members.values():
            link = member.link
            if member.is_primary and link is not None and link.opened:
                unanswered_ms = member.ping_sent_ms
                core.gossip.send_ping(link, MessageType.PING, now_ms)
                member.ping_sent_ms = unanswered_ms or member.ping_sent_ms
        return self._finish(now_ms)

    def answered(self, since_ms: int, node: NodeId | None = None) -> bool:
        """Whether a majority of the primaries (this node counts for itself), or this node of them, has answered a ping that
        was sent at that time (unix ms) or later."""
        core = self._core
        if node is not None:
            return node in core.members and core.members[node].proof_ms >= since_ms
        voters = [core.members[one] for one in core.slotmap.owners()]
        answers = sum(one is core.myself or one.proof_ms >= since_ms for one in voters)
        return answers >= quorum(core.slotmap.owner_count)

    @property
    def failing_over(self) -> bool:
        """Whether this primary has agreed to be replaced by one of its replicas."""
        return self._core.manual.replica is not None

    # Epochs -------------------------------------------------------------------------------------------------------

    def bump_epoch(self, now_ms: int) -> tuple[bool, int, list[Effect]]:
        """CLUSTER BUMPEPOCH: whether a new epoch was taken, the config epoch, the effects."""
        bumped = epochs.bump(self._core)
        return bumped, self._core.myself.config_epoch, self._finish(now_ms)

    def set_config_epoch(self, epoch: int, now_ms: int) -> list[Effect]:
        """CLUSTER SET-CONFIG-EPOCH: for nodes that are new and alone."""
        core = self._core
        if epoch < 0:
            raise ClusterError(f"ERR Invalid config epoch specified: {epoch}")
        if len(core.members) > 1:
            raise ClusterError(
                "ERR The user can assign a config epoch only when the node does not know any other node."
            )
        if core.myself.config_epoch:
            raise ClusterError("ERR Node config epoch is already non-zero")
        core.myself.config_epoch = epoch
        core.current_epoch = max(core.current_epoch, epoch)
        core.out.log(Level.NOTICE, f"configEpoch set to {epoch} via CLUSTER SET-CONFIG-EPOCH")
        core.out.changed()
        return self._finish(now_ms)

    def save_config(self, now_ms: int) -> list[Effect]:
        """CLUSTER SAVECONFIG."""
        self._core.out.changed(state=False)
        return self._finish(now_ms)
