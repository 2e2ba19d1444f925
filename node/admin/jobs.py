"""What the commands have in common once a plan is made: show it, ask, move slots with progress, wait for agreement. I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cluster.admin.checks import in_the_way
from cluster.admin.moves import Move, MoveError
from cluster.admin.picture import Member, Picture
from cluster.slots import SlotError, parse_slot
from gossip.messages import SLOT_COUNT
from node.admin import show
from node.admin.cluster import Cluster
from node.admin.interrupt import Interrupt
from node.admin.keys import OnConflict, Transfer
from node.admin.link import AdminError
from node.admin.moving import Mover, Moving, way_of
from node.admin.options import go_on


def moving_of(method: str, pipeline: int, migrate_timeout: float, replace: bool) -> Moving:
    """How slots are moved, as it was asked for on the command line."""
    conflict = OnConflict.SOURCE if replace else OnConflict.STOP
    return Moving(method, Transfer(pipeline, migrate_timeout, conflict))


def check_sound(cluster: Cluster) -> None:
    """AdminError unless slots may move: nothing must be wrong before. What gossip can settle gets a moment to."""
    cluster.settle()
    found = in_the_way(cluster.picture)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        next_step = f"`hashslot cluster check {cluster.entry}` says what to do, `fix` does what can be done"
        raise AdminError(f"the cluster is not sound: {found[0].text}{more}. {next_step}")


def primary_of(picture: Picture, name: str) -> Member:
    """The primary of this name. AdminError when it is a replica."""
    member = picture.find(name)
    if not member.is_primary:
        primary = picture.name(member.seen.primary)
        raise AdminError(f"{member.name} is a replica and owns no slots; its primary is {primary}")
    return member


def carry_out(cluster: Cluster, moves: Sequence[Move], moving: Moving, *, yes: bool, dry_run: bool) -> bool:
    """Show the moves, ask, move, wait until all agree. Whether it was done. AdminError, Interrupted."""
    keys = cluster.count_keys([slot for move in moves for slot in move.slots])
    count = sum(keys.get(move.source, {}).get(slot, 0) for move in moves for slot in move.slots)
    slots = sum(len(move.slots) for move in moves)
    ways = [way_of(cluster, move, moving.method) for move in moves]
    show.moves_table(cluster.picture, moves, ways, keys)
    show.counts_table(cluster.picture, moves)
    if not go_on(yes, dry_run, f"Move {slots:,} slots with {count:,} keys?"):
        return False
    with Interrupt(show.say) as interrupt, show.Bars(slots, count) as bars:
        mover = Mover(cluster, moving, bars, interrupt)
        try:
            mover.run(moves)
        finally:
            mover.close()
    cluster.wait_until_agreed()
    return True



def parse_slots(text: str) -> list[int]:
    """The slots of "0-99,200". MoveError when it is no such list."""
    slots: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        try:
            start, end = parse_slot(first.encode()), parse_slot((last or first).encode())
        except SlotError:
            raise MoveError(f"{part!r} is no slot or range of slots between 0 and {SLOT_COUNT - 1}") from None
        slots += range(start, end + 1)
    return slots


def parse_weights(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Names and weights of NODE=W words. MoveError for what is none."""
    weights = []
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or not math.isfinite(weight) or weight < 0:
            raise MoveError(f"--weight {text}: give NODE=W with W a number that is 0 or more")
        weights.append((name, weight))
    return weights
