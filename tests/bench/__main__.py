"""`python -m tests.bench`: our node, redis-server and valkey-server in turn; `python -m tests.bench profile GET -P 16`.

`--types` compares commands of every type, `complexity` the cost of operations on few and very many elements, and
`elements` the memory of an element, `stalls` how long others wait for requests on big collections.

Only ratios from one run mean anything: nothing is pinned, and the machine does other things besides.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType

from tests.bench import complexity as costs
from tests.bench import elements as sizes
from tests.bench import load, report, types
from tests.bench import stalls as waits
from tests.bench.memory import Footprint, footprint
from tests.bench.servers import REPOSITORY, BenchError, Kind, hashslot_node, redis_server, started, valkey_server

MEMORY_KEYS = 1_000_000
QUICK_MEMORY_KEYS = 200_000
WIDTH_OF_FILES = 120


def _words(text: str, known: list[str] | None = None) -> list[str]:
    words = [word.strip().upper() for word in text.split(",") if word.strip()]
    if known is not None and (wrong := [word for word in words if word not in known]):
        raise click.BadParameter(f"{', '.join(wrong)}: not among {', '.join(known)}")
    return words


def _kinds(names: str, checkout: Path) -> list[Kind]:
    makers: dict[str, Callable[[], Kind]] = {
        "REDIS": redis_server,
        "VALKEY": valkey_server,
        "HASHSLOT": lambda: hashslot_node(checkout),
    }
    return [makers[name]() for name in _words(names, list(makers))]


@contextlib.contextmanager
def _measuring(what: str = "") -> Iterator[Callable[[str], None]]:
    """While it is measured a line on stderr says what, changed by what this yields. A BenchError ends the program."""
    try:
        with Console(stderr=True).status(what) as status:
            yield status.update
    except BenchError as error:
        click.echo(f"tests.bench: {error}", err=True)
        sys.exit(2)


def _tell(as_json: bool, data: object, *tables: RenderableType) -> None:
    """Print what was found: as JSON or as tables, which in a file have a width of their own."""
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
    for table in tables:
        console.print(table)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON in place of tables.")


def _servers_option(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--servers", default=default, show_default=True, help="Which servers.")


@click.group(invoke_without_command=True)
@click.option("--quick", is_flag=True, help="One short round and fewer keys: for a first look.")
@click.option("--types", "by_type", is_flag=True, help="Commands of every type in place of the usual ones.")
@click.option("--only", default="", help=f"Which commands.  [{','.join(load.COMMANDS)}]")
@click.option("--pipeline", default="", help="How many requests are sent at a time.  [1,16,100; with --types 1,16]")
@click.option("--rounds", "count", type=click.IntRange(1), help="How often all is run; medians count.  [3; 1 if quick]")
@_servers_option("redis,valkey,hashslot")
@click.option("--no-memory", is_flag=True, help="Leave out memory per key.")
@_json_option
@click.option(
    "--checkout", type=click.Path(path_type=Path, file_okay=False), default=REPOSITORY, help="Measure another checkout."
)
@click.pass_context
def main(
    context: click.Context,
    quick: bool,
    by_type: bool,
    only: str,
    pipeline: str,
    count: int | None,
    servers: str,
    no_memory: bool,
    as_json: bool,
    checkout: Path,
) -> None:
    """Compare our node with redis-server and valkey-server: throughput, CPU per request, memory per key."""
    if context.invoked_subcommand is not None:
        return
    known, bars = (types.TYPES, types.BARS) if by_type else (load.COMMANDS, load.BARS)
    only, pipeline = only or ",".join(known), pipeline or ("1,16" if by_type else "1,16,100")
    if any(not word.isdigit() or not int(word) for word in _words(pipeline)):
        raise click.BadParameter("--pipeline takes numbers from 1 on, separated by commas")
    prepare, run_once = (types.prepare, types.run_once) if by_type else (load.prefill, load.run_once)
    commands, pipelines = _words(only, list(known)), [int(word) for word in _words(pipeline)]
    load_before = os.getloadavg()[0]
    with _measuring("starting servers") as tell:
        kinds = _kinds(servers, checkout.absolute())
        with contextlib.ExitStack() as stack:
            running = [stack.enter_context(started(kind)) for kind in kinds]
            run = partial(run_once, quick=quick)
            results = load.rounds(running, commands, pipelines, count or (1 if quick else 3), tell, prepare, run)
        footprints: list[Footprint] = []
        if not no_memory and not by_type:
            keys = QUICK_MEMORY_KEYS if quick else MEMORY_KEYS
            tell(f"memory of {keys:,} keys")
            footprints = [footprint(kind, keys) for kind in kinds]
    tables = [report.speed_table(results, [kind.name for kind in kinds], load_before, bars)]
    if footprints:
        tables.append(report.memory_table(footprints))
    _tell(as_json, report.as_json(results, footprints, bars), *tables)


@main.command()
@click.argument("command", type=click.Choice(list(types.EVERY), case_sensitive=False), default="GET")
@click.option("-P", "--pipeline", type=click.IntRange(1), default=16, show_default=True, help="Requests in a chunk.")
@click.option("--seconds", default=2.0, show_default=True, help="About how long to measure.")
@click.option("--functions", is_flag=True, help="Also list functions by their own time (cProfile).")
@_json_option
def profile(command: str, pipeline: int, seconds: float, functions: bool, as_json: bool) -> None:
    """Where a request's nanoseconds go within our node: parse, execute, encode, and the connection around them."""
    from tests.bench import layers  # imports the node, which the comparison starts as a process

    measured: dict[str, Any] = layers.measure(command.upper(), pipeline, seconds)
    _tell(as_json, measured, report.layers_table(command.upper(), pipeline, measured))
    if functions:
        click.echo(layers.by_function(command.upper(), pipeline))


@main.command()
@click.option("--sizes", "listed", default="1000,100000,1000000", show_default=True, help="How many elements.")
@click.option("--requests", "count", type=click.IntRange(20), default=4000, show_default=True, help="Of each operation.")
@_servers_option("redis,hashslot")
@_json_option
def complexity(listed: str, count: int, servers: str, as_json: bool) -> None:
    """What operations cost on few, many and very many elements."""
    numbers = [int(word) for word in _words(listed)]
    with _measuring() as tell:
        kinds = _kinds(servers, REPOSITORY)
        found = costs.measure(kinds, numbers, count, tell)
    _tell(as_json, costs.as_json(found), costs.table(found, [kind.name for kind in kinds], numbers))


@main.command()
@click.option("--elements", "count", type=click.IntRange(10_000), default=500_000, show_default=True, help="In all.")
@_servers_option("redis,hashslot")
@_json_option
def elements(count: int, servers: str, as_json: bool) -> None:
    """Memory of an element of small and large collections."""
    with _measuring() as tell:
        taken = sizes.measure(_kinds(servers, REPOSITORY), count, tell)
    _tell(as_json, sizes.as_json(taken), sizes.table(taken, report.BASE))


@main.command()
@click.option("--elements", "size", type=click.IntRange(1000), default=1_000_000, show_default=True, help="Of each key.")
@_servers_option("redis,hashslot")
@_json_option
def stalls(size: int, servers: str, as_json: bool) -> None:
    """How long others wait while big collections are freed, stored and first drawn from."""
    with _measuring() as tell:
        kinds = _kinds(servers, REPOSITORY)
        found = waits.measure(kinds, size, tell)
    _tell(as_json, waits.as_json(found), waits.table(found, [kind.name for kind in kinds], size))


if __name__ == "__main__":
    main()
