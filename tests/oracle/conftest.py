"""The real servers, started once and emptied for each test; `judge` in both protocols with each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.oracle.oracle import SEED, Judge, start_real
from tests.oracle.wire import Wire
from tests.servers import ServerProcess


def pytest_report_header() -> str:
    return f"oracle: HASHSLOT_ORACLE_SEED={SEED}"


class Servers:
    """Real servers and connections to them, by kind, started when first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._servers: dict[str, ServerProcess] = {}
        self._wires: dict[tuple[str, int], Wire] = {}

    def server(self, kind: str) -> ServerProcess:
        if kind not in self._servers:
            self._servers[kind] = self._stack.enter_context(start_real(kind))
        return self._servers[kind]

    def wire(self, kind: str, protocol: int) -> Wire:
        if (kind, protocol) not in self._wires:
            self._wires[kind, protocol] = Wire(self.server(kind).port, protocol)
            self._stack.callback(self._wires[kind, protocol].close)
        return self._wires[kind, protocol]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The real servers of this run."""
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(params=["redis", "valkey"])
def real(request: pytest.FixtureRequest, servers: Servers) -> ServerProcess:
    """redis-server 7.0 and valkey-server 9.1 in turn."""
    return servers.server(request.param)


@pytest.fixture
def redis70(servers: Servers) -> ServerProcess:
    """redis-server 7.0."""
    return servers.server("redis")


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def judge(request: pytest.FixtureRequest, real: ServerProcess, servers: Servers) -> Iterator[Judge]:
    """Both sides are empty and have default settings; what `begin` set is put back."""
    judge = Judge(real, servers.wire(real.kind, request.param), request.param)
    yield judge
    judge.end()
