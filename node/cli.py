"""The `hashslot` command. Heavy libraries are imported where they are used: a bare node needs none of them. I/O."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.version import HASHSLOT_VERSION, REDIS_VERSION

if TYPE_CHECKING:
    from node.launcher import Launcher

_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": ["--help"]}


class _Lazy(click.Group):
    """Knows `cluster` without importing it: a node that starts has no use for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "cluster"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "cluster":
            from node.admin.cli import cluster

            return cluster
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(HASHSLOT_VERSION, message=f"hashslot v=%(version)s redis_version={REDIS_VERSION}")
def main() -> None:
    """A Redis-compatible cluster in Python.

    \b
      hashslot up                     six nodes on 127.0.0.1:7000-7005: three primaries, a replica each
      hashslot up --nodes 1           a one-node cluster that serves all slots
      hashslot node redis.conf        one server, configured as redis-server is
      hashslot cluster --help         create, check, repair, grow and shrink running clusters

    Then point any Redis client at it: redis-cli -c -p 7000, or redis-py's RedisCluster(port=7000).
    """


@main.command(context_settings=_PASS_ON)
@click.option("--nodes", default=6, show_default=True, help="How many nodes, on consecutive ports.")
@click.option("--replicas", type=int, help="Replicas of each primary.  [default: 1 from six nodes on, else 0]")
@click.option("--port", default=7000, show_default=True, help="Port of the first node; the bus takes port + 10000.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Keep the cluster here for the next start.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--restart", is_flag=True, help="Start a node again when it dies.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[--NODE-OPTION VALUE]...")
def up(
    nodes: int, replicas: int | None, port: int, folder: Path | None, bind: str, restart: bool, options: tuple[str, ...]
) -> None:
    """Start a cluster on this machine and keep it running until Ctrl-C.

    Without --dir everything is gone when it ends. Any option of a node may follow, for all of them:

        hashslot up --cluster-node-timeout 2000 --requirepass secret --masterauth secret
    """
    from node.launcher import Launcher, LaunchError, Plan, Stopped

    if replicas is None:
        replicas = 1 if nodes >= 6 else 0
    asked = Plan(nodes, replicas, port, bind, folder and folder.absolute(), restart, list(options))
    launcher = Launcher(asked)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), launcher.ask_to_stop)
    try:
        launcher.prepare()
        launcher.start()
        from node.tables import connect_hints, nodes_table

        facts = launcher.wait_until_usable()
        nodes_table(launcher.children, facts)
        connect_hints(bind, port, launcher.folder if folder else None)
        _watch(launcher)
    except LaunchError as error:
        click.echo(f"hashslot up: {error}", err=True)
        launcher.end()
        sys.exit(2)
    except Stopped:
        pass
    launcher.end()
    click.echo("\nAll nodes have ended.")


def _watch(launcher: Launcher) -> None:
    """Tell what happens to the nodes, until none is left or somebody asks to stop."""
    while launcher.any_alive() and not launcher.stop_asked:
        for line in launcher.watch_once():
            click.echo(line)
        time.sleep(0.05)
    if not launcher.stop_asked:
        click.echo("No node is left.")


@main.command(context_settings={**_PASS_ON, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[FILE] [--option value]... [-]")
def node(arguments: tuple[str, ...]) -> None:
    """Run one server, used as redis-server is.

    \b
      hashslot node                                     standalone on 127.0.0.1:6379
      hashslot node redis.conf --port 7000              a file, and options that win over it
      hashslot node - < redis.conf                      from standard input
      hashslot node --port 7000 --cluster-enabled yes   a cluster node that knows nobody yet

    FILE has redis.conf syntax; every setting of Redis 7.2 and of Valkey 8 and 9 is known.
    `hashslot node --help-settings` lists them, and those that are accepted but have no effect here.
    """
    from node.config_file import ConfigFileError

    if arguments in (("--version",), ("-v",)):
        click.echo(f"hashslot server v={HASHSLOT_VERSION} redis_version={REDIS_VERSION}")
        return
    if arguments in (("--help",), ("-h",)):
        click.echo(click.get_current_context().get_help())
        return
    if arguments == ("--help-settings",):
        from node.settings.document import help_text

        click.echo(help_text())
        return
    from node.process import read_config, run_node

    try:
        config = read_config(arguments)
    except ConfigFileError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    sys.exit(run_node(config, arguments))


if __name__ == "__main__":
    main()
