"""redis-benchmark on one server at a time: requests per second, CPU per request, and that no reply was an error."""

from __future__ import annotations

import csv
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.bench.servers import BenchError, Running, connect

KEYS = 100_000
CLIENTS = 50
RUN_TIMEOUT_S = 300

_RANDOM = "__rand_int__"

COMMANDS: dict[str, list[str]] = {
    "GET": ["GET", f"key:{_RANDOM}"],
    "SET": ["SET", f"key:{_RANDOM}", "VXK"],
    "INCR": ["INCR", f"counter:{_RANDOM}"],
    "HSET": ["HSET", "myhash", f"element:{_RANDOM}", "VXK"],
    "MSET": ["MSET", *[word for _ in range(10) for word in (f"{{t}}:{_RANDOM}", "VXK")]],
}
"""What is asked. MSET's ten keys have one hash tag: without, a cluster refuses them (CROSSSLOT)."""

_WEIGHT = {"MSET": 4}
"""How many usual requests one of these is worth, so that no run takes much longer than another."""

BARS = {1: 0.9, 16: 0.5}
"""The ratio to redis-server that is asked of us, by pipeline length."""


@dataclass
class Runs:
    """All runs of one command and pipeline length on one server."""

    rps: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def median_rps(self) -> float:
        return statistics.median(self.rps)

    def median_cpu_us(self) -> float:
        return statistics.median(self.cpu_us)


Key = tuple[str, int, str]
"""Command, pipeline length, server."""


def prefill(running: Running, keys: int = KEYS, key: bytes = b"key:%012d", value: bytes = b"VXK") -> None:
    """Set all keys that redis-benchmark will draw from. A `value` with a %d in it differs for each key."""
    with connect(running.port) as plain, plain.makefile("rb") as replies:
        for start in range(0, keys, 1000):
            count = min(1000, keys - start)
            chunk = bytearray()
            for number in range(start, start + count):
                name = key % number
                text = value % number if b"%" in value else value
                chunk += b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(text), text)
            plain.sendall(chunk)
            for _ in range(count):
                if (line := replies.readline()) != b"+OK\r\n":
                    raise BenchError(f"{running.kind.name}: SET answered {line!r}")


def benchmark(
    running: Running, command: str, pipeline: int, requests: int, words: Sequence[str] = ()
) -> tuple[float, float]:
    """One run: requests per second and the server's CPU microseconds per request. BenchError on an error reply.

    words: the request, when it is not the one that `COMMANDS` has under this name.
    """
    program = shutil.which("redis-benchmark")
    if program is None:
        raise BenchError("redis-benchmark is missing: apt-get install redis-tools")
    line = [program, "-h", "127.0.0.1", "-p", str(running.port), "-c", str(CLIENTS), "-r", str(KEYS)]
    line += ["-n", str(requests), "-P", str(pipeline), "--csv", *(words or COMMANDS[command])]
    errors = running.error_replies()
    cpu_s = running.cpu_s()
    done = subprocess.run(line, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    cpu_s = running.cpu_s() - cpu_s
    said = done.stdout + done.stderr
    if done.returncode or "Error" in said:
        raise BenchError(f"{running.kind.name}: redis-benchmark {command} -P {pipeline} failed: {said[-500:]}")
    # redis-benchmark does not stop at every kind of error reply; the server has counted them.
    if running.error_replies() != errors:
        raise BenchError(f"{running.kind.name}: {command} -P {pipeline} had error replies")
    rows = list(csv.DictReader(row for row in done.stdout.splitlines() if row.startswith('"')))
    return float(rows[-1]["rps"]), cpu_s / requests * 1e6


def run_once(running: Running, command: str, pipeline: int, quick: bool) -> tuple[float, float]:
    """One run of about a second of a fast server's time, a third of that when quick. See `benchmark`."""
    plain = {1: 60_000}.get(pipeline, 400_000 if pipeline < 50 else 800_000)
    return benchmark(running, command, pipeline, plain // _WEIGHT.get(command, 1) // (3 if quick else 1))


def rounds(
    servers: Sequence[Running],
    commands: Sequence[str],
    pipelines: Sequence[int],
    count: int,
    tell: Callable[[str], None],
    prepare: Callable[[Running], None],
    run: Callable[[Running, str, int], tuple[float, float]],
) -> dict[Key, Runs]:
    """`count` runs of everything, the servers in turn within each: what else the machine does hits all alike.

    prepare: fills a server before the first run. run: of one command and pipeline length on a server, see `benchmark`.
    """
    results: dict[Key, Runs] = {}
    for running in servers:
        prepare(running)
    for turn in range(count):
        for command, pipeline, running in _turns(servers, commands, pipelines, turn):
            tell(f"round {turn + 1}/{count}: {command} -P {pipeline} on {running.kind.name}")
            rps, cpu_us = run(running, command, pipeline)
            runs = results.setdefault((command, pipeline, running.kind.name), Runs())
            runs.rps.append(rps)
            runs.cpu_us.append(cpu_us)
    return results


def _turns(
    servers: Sequence[Running], commands: Sequence[str], pipelines: Sequence[int], turn: int
) -> Iterator[tuple[str, int, Running]]:
    """In each round another server goes first."""
    first = turn % len(servers)
    for command in commands:
        for pipeline in pipelines:
            for running in [*servers[first:], *servers[:first]]:
                yield command, pipeline, running
