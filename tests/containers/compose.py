"""docker-compose.yml brought up by one of the compose programs, through testcontainers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import redis
from docker.models.containers import Container
from testcontainers.compose import DockerCompose

from tests.containers.engine import ROOT, Engine, wait_until

PORTS = range(7000, 7006)
HOST = "127.0.0.1"


class ComposeProgram(DockerCompose):
    """testcontainers' DockerCompose for a given program: it knows only `docker compose` and options of version 2."""

    program: list[str]

    @cached_property
    def compose_command_property(self) -> list[str]:
        return [*self.program, "-f", str(ROOT / "docker-compose.yml")]

    def down(self, *options: str) -> None:
        """Remove the containers; with `--volumes` what they kept as well."""
        self._run_command(cmd=[*self.compose_command_property, "down", *options])


@dataclass(frozen=True, slots=True)
class SixNodes:
    """The cluster of docker-compose.yml while it runs."""

    engine: Engine
    compose: ComposeProgram
    project: str

    @property
    def network(self) -> str:
        return f"{self.project}_default"

    def containers(self) -> dict[str, Container]:
        """Service name -> container, for all that exist."""
        found = self.engine.client.containers.list(
            all=True, filters={"label": [f"com.docker.compose.project={self.project}"]}
        )
        return {container.labels["com.docker.compose.service"]: container for container in found}

    def container(self, index: int) -> Container:
        return self.containers()[f"node-{index}"]

    def node(self, index: int) -> redis.Redis[str]:
        """A plain client of one node through its published port."""
        return redis.Redis(HOST, PORTS[index], decode_responses=True, socket_timeout=5)

    def members(self, seen_by: int) -> dict[int, dict[str, Any]]:
        """Port -> what node `seen_by` has of that member in CLUSTER NODES, as redis-py reads it."""
        with self.node(seen_by) as client:
            lines: dict[str, dict[str, Any]] = client.execute_command("CLUSTER NODES")
        return {int(address.rpartition(":")[2]): member for address, member in lines.items()}

    def flags(self, seen_by: int, index: int) -> set[str]:
        """The flags that node `seen_by` has for node `index`."""
        return set(self.members(seen_by)[PORTS[index]]["flags"].split(","))

    def wait_healthy(self, limit_s: float = 60.0) -> None:
        """Until the image's own health check is content in all six."""

        def healthy() -> bool:
            states = [container.attrs["State"] for container in self.containers().values()]
            return len(states) == len(PORTS) and all(
                state.get("Health", {}).get("Status") == "healthy" and state["Running"] for state in states
            )

        try:
            wait_until("six healthy containers", limit_s, healthy)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.report()}") from None

    def report(self) -> str:
        """State and last lines of every container, for a failed test."""
        parts = []
        for name, container in sorted(self.containers().items()):
            health = container.attrs["State"].get("Health", {})
            last = [check.get("Output", "").strip() for check in health.get("Log") or []][-1:]
            parts.append(f"-- {name}: {container.status} {health.get('Status')} {last}")
            parts.append(container.logs(tail=8).decode(errors="replace"))
        return "\n".join(parts)


def taken_ports() -> list[int]:
    """Those of the six ports on which something listens already."""
    taken = []
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                taken.append(port)
    return taken


@contextmanager
def six_nodes(engine: Engine, program: list[str], project: str) -> Iterator[SixNodes]:
    """Build the image, bring the six up until all are healthy, and take all of it down afterwards, volumes too."""
    if taken := taken_ports():
        raise RuntimeError(f"the compose file publishes 7000-7005, and something listens on {taken} already")
    before = dict(os.environ)
    os.environ["COMPOSE_PROJECT_NAME"] = project
    for name in ("HASHSLOT_ADDRESS", "HASHSLOT_PASSWORD"):
        os.environ.pop(name, None)
    compose = ComposeProgram(str(ROOT), build=True, wait=False)
    compose.program = program
    nodes = SixNodes(engine, compose, project)
    try:
        compose.start()
        nodes.wait_healthy()
        yield nodes
    finally:
        compose.down("--volumes")
        os.environ.clear()
        os.environ.update(before)
