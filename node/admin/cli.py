"""`hashslot cluster ...`: what is typed. Each command looks at the cluster, shows its plan, asks, and carries it out. I/O.

Everything heavy is imported inside the commands: `hashslot --help` reads this module.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from node.admin.options import CLUSTER, PLAN_OPTIONS, add_options, command, go_on, to_hosts

if TYPE_CHECKING:
    from cluster.admin.picture import Host
    from node.admin.link import Access


@click.group("cluster")
def cluster() -> None:
    """Create, check, repair, grow, shrink and balance a running cluster.

    CLUSTER is HOST:PORT of any of its nodes, of hashslot, Redis or Valkey. Nodes are named by id, by the first characters
    of it, by HOST:PORT or by their human nodename. What would be done is shown first and asked for: --yes goes on without
    asking, --dry-run only shows. Ctrl-C stops between two steps; every command can be run again to go on.

    \b
      hashslot cluster check 127.0.0.1:7000
      hashslot cluster add-node 127.0.0.1:7006 127.0.0.1:7000
      hashslot cluster rebalance 127.0.0.1:7000 --use-empty-primaries

    Exit status: 0 done, 1 refused, failed or (check) problems found, 2 typed wrong, 130 interrupted.
    """


# Looking --------------------------------------------------------------------------------------------------------------

_STRAYS = click.option(
    "--search-multiple-owners", "strays", is_flag=True, help="Look in all slots for keys that lie outside their owner."
)


@command(cluster, "info")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@CLUSTER
def info(access: Access, entry: Host, as_json: bool) -> None:
    """Show the nodes: roles, slots, keys, versions.

    \b
      hashslot cluster info 127.0.0.1:7000
      hashslot cluster info 127.0.0.1:7000 --json | jq '.nodes[] | select(.role == "primary") | .keys'
    """
    from node.admin import show
    from node.admin.cluster import Cluster

    with Cluster(entry, access) as running:
        if as_json:
            show.as_json(show.picture_json(running.picture))
            return
        show.nodes_table(running.picture)
        show.say(show.summary(running.picture))


@command(cluster, "check")
@_STRAYS
@click.option("--wait", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Let nodes agree for so long first.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@CLUSTER
def check(access: Access, entry: Host, strays: bool, wait: float, as_json: bool) -> None:
    """Tell what is wrong; exit status 1 if something is.

    All nodes are asked: whether every slot has one owner and all agree who, slots left open by a reshard, nodes that are
    down or do not know each other, replicas without a link, epochs.

    \b
      hashslot cluster check 127.0.0.1:7000
      hashslot cluster check 127.0.0.1:7000 --search-multiple-owners --json
    """
    from cluster.admin.checks import has_errors, problems
    from gossip.messages import SLOT_COUNT
    from node.admin import show
    from node.admin.cluster import Cluster

    with Cluster(entry, access) as running:
        running.settle(wait)
        found = problems(running.picture, running.count_keys(range(SLOT_COUNT)) if strays else None)
        if as_json:
            wrong = [show.problem_json(one) for one in found]
            show.as_json({"ok": not has_errors(found), "problems": wrong, **show.picture_json(running.picture)})
        else:
            show.nodes_table(running.picture)
            show.say(show.summary(running.picture))
            show.problems_list(found)
            if not found:
                show.say("No problem found.")
    if has_errors(found):
        sys.exit(1)


# Moving slots ---------------------------------------------------------------------------------------------------------

_CONFLICT = ("stop", "source", "target")
_MOVE_OPTIONS = add_options(
    click.option(
        "--method", type=click.Choice(("auto", "atomic", "classic")), default="auto", show_default=True,
        help="atomic: the nodes move slots as a whole (CLUSTER MIGRATESLOTS). classic: SETSLOT and MIGRATE, key by key.",
    ),
    click.option(
        "--pipeline", type=click.IntRange(1), default=100, show_default=True, help="Keys in a MIGRATE (classic)."
    ),
    click.option(
        "--migrate-timeout", type=click.FloatRange(0.1), default=60.0, show_default=True,
        help="Seconds for the target to take a MIGRATE (classic).",
    ),
    click.option("--replace", is_flag=True, help="Overwrite keys that the target has already (classic)."),
)


def _move(
    access: Access, entry: Host, plan: Any, *, yes: bool, dry_run: bool, **how: Any
) -> None:
    """Plan moves in a sound cluster and carry them out. plan: from the cluster's picture to moves."""
    from node.admin import jobs, show
    from node.admin.cluster import Cluster

    moving = jobs.moving_of(how["method"], how["pipeline"], how["migrate_timeout"], how["replace"])
    with Cluster(entry, access) as running:
        jobs.check_sound(running)
        moves = plan(running.picture)
        if not moves:
            show.say("Nothing has to move.")
        elif jobs.carry_out(running, moves, moving, yes=yes, dry_run=dry_run):
            show.say("Done: all nodes agree.")


@command(cluster, "reshard")
@click.option("--from", "sources", multiple=True, metavar="NODE", help="Takes slots from it; repeatable. [default: all]")
@click.option("--to", "target", required=True, metavar="NODE", help="Gives them to it.")
@click.option("--slots", type=click.IntRange(1), help="How many, in proportion to what the sources have.")
@click.option("--ranges", metavar="0-99,200", help="Exactly these instead.")
@PLAN_OPTIONS
@_MOVE_OPTIONS
@CLUSTER
def reshard(
    access: Access, entry: Host, sources: tuple[str, ...], target: str, slots: int | None, ranges: str | None, **how: Any
) -> None:
    """Move slots to a node, from some or all others.

    \b
      hashslot cluster reshard 127.0.0.1:7000 --to 127.0.0.1:7006 --slots 1000
      hashslot cluster reshard 127.0.0.1:7000 --from 3f2a --from 91c0 --to blue --slots 500 --dry-run
      hashslot cluster reshard 127.0.0.1:7000 --to 127.0.0.1:7001 --ranges 0-99,5000
    """
    from cluster.admin import moves
    from cluster.admin.picture import Picture
    from node.admin.jobs import parse_slots, primary_of

    if (slots is None) == (ranges is None) or (ranges is not None and sources):
        raise click.UsageError("give --slots (with --from or without), or --ranges")
    exactly = parse_slots(ranges) if ranges is not None else []

    def plan(picture: Picture) -> list[moves.Move]:
        to = primary_of(picture, target).id
        if slots is None:
            return moves.reshard_exactly(picture.slots, exactly, to)
        named = [name for text in sources for name in text.split(",") if name and name != "all"]
        givers = [primary_of(picture, name).id for name in named] or [node for node in picture.slots if node != to]
        return moves.reshard(picture.slots, givers, to, slots)

    _move(access, entry, plan, **how)


@command(cluster, "rebalance")
@click.option(
    "--weight", "weights", multiple=True, metavar="NODE=W", help="Its part in proportion, else 1; 0 empties it. Repeatable."
)
@click.option(
    "--threshold", type=click.FloatRange(0), default=2.0, show_default=True, help="Percent off that are left alone."
)
@click.option(
    "--use-empty-primaries", "--use-empty-masters", "use_empty", is_flag=True, help="Primaries without slots get some too."
)
@PLAN_OPTIONS
@_MOVE_OPTIONS
@CLUSTER
def rebalance(
    access: Access, entry: Host, weights: tuple[str, ...], threshold: float, use_empty: bool, **how: Any
) -> None:
    """Spread the slots evenly, or by weights.

    As few slots as possible move, none twice.

    \b
      hashslot cluster rebalance 127.0.0.1:7000
      hashslot cluster rebalance 127.0.0.1:7000 --use-empty-primaries --dry-run
      hashslot cluster rebalance 127.0.0.1:7000 --weight 127.0.0.1:7001=2 --weight 3f2a=0
    """
    from cluster.admin import moves
    from cluster.admin.picture import Picture
    from node.admin.jobs import parse_weights, primary_of

    asked = parse_weights(weights)

    def plan(picture: Picture) -> list[moves.Move]:
        by_id = {primary_of(picture, name).id: weight for name, weight in asked}
        return moves.rebalance(picture.slots, by_id, threshold=threshold, use_empty=use_empty)

    _move(access, entry, plan, **how)


# Repairing ------------------------------------------------------------------------------------------------------------


@command(cluster, "fix")
@_STRAYS
@click.option(
    "--fix-with-unreachable-primaries", "--fix-with-unreachable-masters", "unreachable", is_flag=True,
    help="Give slots of primaries that do not answer to others. What keys they have is lost!",
)
@click.option(
    "--on-conflict", type=click.Choice(_CONFLICT), default="stop", show_default=True,
    help="Which of two different values of a stray key stays: the stray's (source), its owner's (target).",
)
@click.option("--pipeline", type=click.IntRange(1), default=100, show_default=True, help="Keys in a MIGRATE.")
@click.option(
    "--migrate-timeout", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds for a MIGRATE."
)
@PLAN_OPTIONS
@CLUSTER
def fix(access: Access, entry: Host, yes: bool, dry_run: bool, **how: Any) -> None:
    """Put right what `check` finds wrong with slots.

    Slots without an owner go to whoever holds their keys; moves that broke off are completed; keys outside their owner are
    brought home; nodes that do not know each other meet. Nothing is deleted, unless --on-conflict says which value loses.

    \b
      hashslot cluster fix 127.0.0.1:7000 --dry-run
      hashslot cluster fix 127.0.0.1:7000 --search-multiple-owners --on-conflict target
    """
    from node.admin.fixing import fix_cluster

    fix_cluster(entry, access, yes=yes, dry_run=dry_run, **how)


# Members --------------------------------------------------------------------------------------------------------------


@command(cluster, "create")
@click.option("--replicas", type=click.IntRange(0), default=0, show_default=True, help="Replicas of each primary.")
@click.option("--allow-few", is_flag=True, help="Less than three primaries will do: nobody can be elected then.")
@PLAN_OPTIONS
@click.argument("nodes", nargs=-1, required=True, metavar="HOST:PORT...", callback=to_hosts)
def create(access: Access, nodes: tuple[Host, ...], replicas: int, allow_few: bool, yes: bool, dry_run: bool) -> None:
    """Make a cluster of running, empty nodes.

    They were started with `cluster-enabled yes` and know nobody. Less than three primaries need --allow-few.
    Nodes of one host become different shards as far as that is possible, and primaries are spread over the hosts.

    \b
      hashslot cluster create 10.0.0.1:7000 10.0.0.2:7000 10.0.0.3:7000
      hashslot cluster create --replicas 1 127.0.0.1:7000 127.0.0.1:7001 ... 127.0.0.1:7005 --yes
    """
    from node.admin import show
    from node.admin.creating import Creation

    creation = Creation(nodes, replicas, access, allow_few=allow_few)
    try:
        show.layout_table(creation.shards)
        if go_on(yes, dry_run, f"Make a cluster of these {len(nodes)} nodes?"):
            picture = creation.run()
            show.nodes_table(picture)
            show.say(show.summary(picture))
    finally:
        creation.close()


@command(cluster, "add-node")
@click.option("--replica-of", metavar="NODE", help="Make it a replica of this primary.")
@click.option("--replica", is_flag=True, help="Make it a replica of the primary that has the fewest.")
@PLAN_OPTIONS
@click.argument("new", metavar="HOST:PORT", callback=to_hosts)
@CLUSTER
def add_node(
    access: Access, new: Host, entry: Host, replica_of: str | None, replica: bool, yes: bool, dry_run: bool
) -> None:
    """Let an empty node join, as primary or replica.

    \b
      hashslot cluster add-node 127.0.0.1:7006 127.0.0.1:7000
      hashslot cluster add-node 127.0.0.1:7007 127.0.0.1:7000 --replica-of 127.0.0.1:7006
    """
    from node.admin.leaving_and_joining import join

    if replica and replica_of:
        raise click.UsageError("--replica chooses the primary, --replica-of names it: give one of them")
    join(new, entry, access, replica_of=replica_of, replica=replica, yes=yes, dry_run=dry_run)


@command(cluster, "del-node")
@click.option("--evacuate", is_flag=True, help="Move its slots to the other primaries first.")
@PLAN_OPTIONS
@_MOVE_OPTIONS
@CLUSTER
@click.argument("node")
def del_node(access: Access, entry: Host, node: str, evacuate: bool, **how: Any) -> None:
    """Take a node out of the cluster and reset it. Its replicas follow other primaries.

    \b
      hashslot cluster del-node 127.0.0.1:7000 127.0.0.1:7006 --evacuate
    """
    from node.admin.leaving_and_joining import leave

    leave(entry, access, node, evacuate=evacuate, **how)


@command(cluster, "forget")
@PLAN_OPTIONS
@CLUSTER
@click.argument("node")
def forget(access: Access, entry: Host, node: str, yes: bool, dry_run: bool) -> None:
    """Make all nodes forget one that is gone for good.

    \b
      hashslot cluster forget 127.0.0.1:7000 3f2a91c0
    """
    from node.admin.leaving_and_joining import forget_node

    forget_node(entry, access, node, yes=yes, dry_run=dry_run)


@command(cluster, "failover")
@PLAN_OPTIONS
@CLUSTER
@click.argument("node")
def failover(access: Access, entry: Host, node: str, yes: bool, dry_run: bool) -> None:
    """Let a replica take its primary's place, which becomes its replica. No write is lost or refused.

    \b
      hashslot cluster failover 127.0.0.1:7000 127.0.0.1:7003
    """
    from node.admin.taking_over import take_over

    take_over(entry, access, node, yes=yes, dry_run=dry_run)


# All nodes at once ----------------------------------------------------------------------------------------------------


@command(cluster, "call", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--only", type=click.Choice(("primaries", "replicas")), help="Not on the others.")
@CLUSTER
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGUMENT]...")
def call(access: Access, entry: Host, only: str | None, words: tuple[str, ...]) -> None:
    """Run a command on all nodes.

    Options go before CLUSTER. Exit status 1 when a node refuses or does not answer.

    \b
      hashslot cluster call 127.0.0.1:7000 CONFIG GET maxmemory
      hashslot cluster call --only replicas 127.0.0.1:7000 INFO replication
    """
    from node.admin.calling import call_all

    if words[0].startswith("-"):
        raise click.UsageError("options of `call` go before CLUSTER: what follows it is the command")
    if not call_all(entry, access, words, only):
        sys.exit(1)


@command(cluster, "set-timeout")
@CLUSTER
@click.argument("milliseconds", type=click.IntRange(100))
def set_timeout(access: Access, entry: Host, milliseconds: int) -> None:
    """Set cluster-node-timeout on all nodes.

    In their configuration files too, where they have one.

    \b
      hashslot cluster set-timeout 127.0.0.1:7000 5000
    """
    from node.admin.calling import set_node_timeout

    if not set_node_timeout(entry, access, milliseconds):
        sys.exit(1)
