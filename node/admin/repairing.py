"""Carries out repairs (`cluster/admin/repairs.py`): nodes meet, broken slots get one home and their keys. I/O.

Every step leaves the slot marked as open on those that still hold keys of it, so that an interrupted repair is planned
again from where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.admin.checks import shown_slots
from cluster.admin.picture import Picture
from cluster.admin.repairs import Meeting, Repair
from gossip.ids import NodeId
from node.admin.cluster import Cluster
from node.admin.interrupt import Interrupt, Interrupted
from node.admin.keys import KeyMover, OnConflict, Transfer
from node.admin.link import AdminError, Refusal, Word
from node.admin.moving import BATCH, Progress, tell_owner

_SETTLE_S = 10.0
_TAKEN_AT_ONCE = 1024
"""Slots in one ADDSLOTS: a node saves its table once for all of them."""


def introduce(cluster: Cluster, meetings: Sequence[Meeting]) -> None:
    """Make these nodes meet, and wait until they know each other. AdminError."""
    for meeting in meetings:
        meet(cluster, meeting.who, meeting.whom)

    def met(picture: Picture) -> bool:
        views = {one.id: one.view for one in picture.reachable}
        return all(
            (view := views.get(meeting.who)) is not None and meeting.whom in view.nodes for meeting in meetings
        )

    cluster.wait(met, "known to each other, after CLUSTER MEET")


def meet(cluster: Cluster, who: NodeId, whom: NodeId) -> None:
    """CLUSTER MEET at `who`, with the address that `whom` tells of itself."""
    seen = cluster.picture.members[whom].seen
    # Who has an unusual bus port has to say so; the argument is left out otherwise, for old servers.
    bus: tuple[Word, ...] = () if seen.bus_port == seen.port + 10000 else (seen.bus_port,)
    host = seen.host or cluster.link(whom).ip()
    cluster.ask(who, "CLUSTER", "MEET", host, seen.port, *bus)


class Repairer:
    """Carries out repairs of slots, one after the other."""

    def __init__(self, cluster: Cluster, transfer: Transfer, progress: Progress, interrupt: Interrupt) -> None:
        self._cluster = cluster
        self._transfer = transfer
        self._progress = progress
        self._interrupt = interrupt

    def run(self, repairs: Sequence[Repair]) -> None:
        """Return when all slots have the home that was planned. AdminError, Interrupted."""
        adopted = [repair for repair in repairs if repair.adopted]
        for repair in adopted:
            if _is_free(repair):
                self._batches(repair, self._take, _TAKEN_AT_ONCE)
                self._bump(repair)
            else:
                self._batches(repair, self._adopt)
        if adopted:
            self._cluster.refresh()
            self._cluster.settle(_SETTLE_S)  # MIGRATE is refused as long as nodes hold the cluster for down.
        for repair in filter(_is_free, adopted):
            tell_owner(self._cluster, repair.slots, repair.home, {repair.home})
        for repair in repairs:
            if repair.movers or not repair.adopted:
                self._batches(repair, self._repair)
            if not _is_free(repair):
                self._bump(repair)

    def _bump(self, repair: Repair) -> None:
        # Louder than any claim that is still on its way: a config epoch that nobody has yet.
        if repair.contested:
            self._cluster.ask(repair.home, "CLUSTER", "BUMPEPOCH")

    def _batches(self, repair: Repair, do: Callable[[Repair, Sequence[int]], None], size: int = BATCH) -> None:
        for start in range(0, len(repair.slots), size):
            if self._interrupt.asked:
                raise Interrupted("stopped between two steps; run `fix` again to go on")
            batch = repair.slots[start : start + size]
            try:
                do(repair, batch)
            except (AdminError, KeyboardInterrupt) as error:
                how = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
                left = f"Not done yet: {shown_slots(batch)} and what came after; run `fix` again"
                raise AdminError(f"{how}. {left}") from None

    def _take(self, repair: Repair, slots: Sequence[int]) -> None:
        """Give slots that nobody has, and that nobody has open, a home in one go. Gossip tells the others."""
        view = self._cluster.picture.members[repair.home].view
        assert view is not None
        owners = view.owners()
        requests: list[list[Word]] = []
        if lost := [slot for slot in slots if owners[slot] not in (None, repair.home)]:
            requests.append(["CLUSTER", "DELSLOTS", *lost])
        if foreign := [slot for slot in slots if owners[slot] != repair.home]:
            requests.append(["CLUSTER", "ADDSLOTS", *foreign])
        replies = self._cluster.link(repair.home).ask_many(requests)
        _raise_first([reply for reply in replies if isinstance(reply, Refusal)])
        self._progress.moved(len(slots), 0)

    def _adopt(self, repair: Repair, slots: Sequence[int]) -> None:
        """Give slots that nobody had, and of which others have keys or open ends, a home."""
        for mover in repair.movers:
            # Importing, it keeps its keys of slots of which it will hear that somebody else owns them.
            _, foreign = self._owned(mover, slots)
            _raise_first(self._each(mover, foreign, "IMPORTING", repair.home))
        self._settle_home(repair, slots)
        tell_owner(self._cluster, slots, repair.home, {repair.home})
        if not repair.movers:
            self._close(repair, slots)
            self._progress.moved(len(slots), 0)

    def _repair(self, repair: Repair, slots: Sequence[int]) -> None:
        self._gather_keys(repair, slots)
        self._settle_home(repair, slots)
        # NODE before STABLE: a source that is only closed would take writes again that nobody moves.
        tell_owner(self._cluster, slots, repair.home, {repair.home})
        self._close(repair, slots)
        self._progress.moved(len(slots), 0)

    def _owned(self, node: NodeId, slots: Sequence[int]) -> tuple[list[int], list[int]]:
        """Those of the slots that the node holds for its own, and the others."""
        view = self._cluster.picture.members[node].view
        assert view is not None
        owners = view.owners()
        return [slot for slot in slots if owners[slot] == node], [slot for slot in slots if owners[slot] != node]

    def _each(self, node: NodeId, slots: Sequence[int], *words: Word) -> list[Refusal]:
        replies = self._cluster.link(node).ask_many([("CLUSTER", "SETSLOT", slot, *words) for slot in slots])
        return [reply for reply in replies if isinstance(reply, Refusal)]

    def _gather_keys(self, repair: Repair, slots: Sequence[int]) -> None:
        if not repair.movers:
            return
        _, foreign = self._owned(repair.home, slots)
        _raise_first(self._each(repair.home, foreign, "IMPORTING", repair.movers[0]))
        for mover in repair.movers:
            # A slot that is open in either way lets MIGRATE read keys, whether the mover holds it for its own or not.
            own, foreign = self._owned(mover, slots)
            _raise_first(self._each(mover, own, "MIGRATING", repair.home))
            _raise_first(self._each(mover, foreign, "IMPORTING", repair.home))
            self._move(mover, repair, slots)

    def _move(self, mover: NodeId, repair: Repair, slots: Sequence[int]) -> None:
        # The owner of a slot on the move has the last word on each key that it still has: it got all writes to it.
        policy = OnConflict.SOURCE if mover == repair.owner else self._transfer.on_conflict
        transfer = Transfer(self._transfer.pipeline, self._transfer.timeout_s, policy)
        told: Callable[[int], None] = lambda count: self._progress.moved(0, count)  # noqa: E731
        keys = KeyMover(self._cluster, transfer, told)
        try:
            keys.move(mover, repair.home, slots)
        finally:
            keys.close()

    def _settle_home(self, repair: Repair, slots: Sequence[int]) -> None:
        home = repair.home
        view = self._cluster.picture.members[home].view
        assert view is not None
        # NODE at an importing home closes the slot and takes a new epoch; what is open in other ways is closed by STABLE.
        migrating = [slot for slot in slots if slot in view.migrating]
        _raise_first(self._each(home, migrating, "STABLE"))
        _raise_first(self._each(home, slots, "NODE", home))
        _raise_first(self._each(home, slots, "STABLE"))

    def _close(self, repair: Repair, slots: Sequence[int]) -> None:
        for node in sorted({*repair.opened, *repair.movers} - {repair.home}):
            # NODE leaves a node's importing mark alone when somebody else gets the slot.
            _raise_first(self._each(node, slots, "STABLE"))


def _is_free(repair: Repair) -> bool:
    """Whether slots without an owner can be had for the taking: nobody but their new home has anything of them."""
    return repair.adopted and not repair.movers and not repair.opened


def _raise_first(refusals: Sequence[Refusal]) -> None:
    if refusals:
        raise refusals[0]
