"""`hashslot cluster fix`: looks, plans, shows, asks, repairs, and looks again. I/O."""

from __future__ import annotations

from typing import NoReturn

from cluster.admin.checks import has_errors, problems
from cluster.admin.picture import Host, Picture
from cluster.admin.repairs import Repairs, meetings, repairs, suspects
from gossip.messages import SLOT_COUNT
from node.admin import show
from node.admin.cluster import Cluster
from node.admin.interrupt import Interrupt
from node.admin.keys import OnConflict, Transfer
from node.admin.link import Access, AdminError
from node.admin.options import go_on
from node.admin.repairing import Repairer, introduce

_SETTLE_S = 15.0


def fix_cluster(
    entry: Host, access: Access, *, yes: bool, dry_run: bool, strays: bool, unreachable: bool, on_conflict: str,
    pipeline: int, migrate_timeout: float,
) -> None:
    """Put right what is wrong with slots, and with nodes that do not know each other. AdminError when something remains."""
    transfer = Transfer(pipeline, migrate_timeout, OnConflict(on_conflict))
    with Cluster(entry, access) as running:
        running.settle()  # What gossip is about to settle needs no repair.
        plan = _plan(running, strays, unreachable)
        for line in plan.refused:
            show.say(line)
        if not plan:
            _nothing_to_do(running, plan)
            return
        show.repairs_table(running.picture, plan)
        if not go_on(yes, dry_run, "Repair this?"):
            return
        if plan.meetings:
            introduce(running, plan.meetings)
            running.settle(_SETTLE_S)
            plan = _plan(running, strays, unreachable)  # Nodes that have met may agree by now.
        slots = sum(len(repair.slots) for repair in plan.slots)
        with Interrupt(show.say) as interrupt, show.Bars(slots, 0) as bars:
            Repairer(running, transfer, bars, interrupt).run(plan.slots)
        running.refresh()
        running.settle(_SETTLE_S)
        found = problems(running.picture, running.count_keys(range(SLOT_COUNT)) if strays else None)
        if has_errors(found):
            show.problems_list(found)
            raise AdminError("done what could be done; the problems above remain")
        show.say("Repaired: every slot has one owner, and all nodes agree." if _whole(running.picture) else "Repaired.")


def _plan(running: Cluster, strays: bool, unreachable: bool) -> Repairs:
    slots = list(range(SLOT_COUNT)) if strays else suspects(running.picture)
    if not slots:
        return Repairs(meetings(running.picture))
    return repairs(running.picture, running.count_keys(slots), slots, unreachable_too=unreachable)


def _whole(picture: Picture) -> bool:
    return all(picture.owners)


def _nothing_to_do(running: Cluster, plan: Repairs) -> None:
    found = problems(running.picture)
    if has_errors(found):
        show.problems_list(found)
        _remains(plan)
    show.say("Nothing to repair.")


def _remains(plan: Repairs) -> NoReturn:
    why = "what is wrong is left alone, see above" if plan.refused else "what is wrong is nothing that `fix` can put right"
    raise AdminError(why)
