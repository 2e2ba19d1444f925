"""What a hashslot container runs: makes one member of a cluster out of the container's name and a shared list.

Containers learn their addresses only when they start, and get new ones at every start, so nobody can write a nodes.conf
beforehand. This script is the step between: it waits until the names of all members resolve, writes the nodes.conf that
this member starts from (the first time) or puts the present addresses into the one it has (later), and then becomes
`hashslot node` by exec, so that the node is process 1 and gets the engine's SIGTERM itself.

Every member computes the same topology from the same list: the layout is `hashslot up`'s, drawn from the cluster's name
instead of chance. So no container leads, no one-shot job joins anything, and the cluster is whole as soon as its nodes
run.

Without HASHSLOT_MEMBERS the container's command goes to `hashslot` as it is (`node FILE`, `cluster check ...`), and
without a command it is `hashslot up`: a whole cluster in one container. deploy/README.md lists the environment
variables and says why addresses are told the way they are.
"""

from __future__ import annotations

import concurrent.futures
import ipaddress
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    from hashslot.__main__ import floors

    sys.path.insert(0, str(floors()))

from cluster.nodes_conf import format_nodes_conf
from cluster.topology import PlannedNode, TopologyError, plan, saved_state
from gossip.ids import BUS_PORT_OFFSET, Address
from node.files import write_atomically

FIRST_START_WAIT_S = 60.0
"""The first nodes.conf needs every address: wait for the slowest container of the six."""
RESTART_WAIT_S = 5.0
"""Later a member may be gone for good; then its last known address stays and gossip heals what it can."""
WHOLE_CLUSTER = ("up", "--bind", "0.0.0.0", "--protected-mode", "no")
"""What a container does that is told nothing."""
LOOPBACK = ("127.0.0.0/8", "::1/128")


class RecipeError(Exception):
    """The environment does not describe a cluster that this container belongs to. The text is for the user."""


@dataclass(frozen=True, slots=True)
class Member:
    """One place in HASHSLOT_MEMBERS: a name that resolves on the containers' network, and its port in and outside."""

    index: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the topology. Equal for every member, except for `me`."""

    cluster: str
    members: tuple[Member, ...]
    replicas: int
    me: Member
    client_ip: str
    """The IPv4 address that clients from outside the containers' network are told, "" for the node's own."""


def parse_members(text: str) -> tuple[Member, ...]:
    """Read `host:port host:port ...` (spaces or commas). Raises RecipeError for anything else."""
    members = []
    for index, word in enumerate(text.replace(",", " ").split()):
        host, _, port = word.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536 - BUS_PORT_OFFSET:
            raise RecipeError(f"HASHSLOT_MEMBERS: {word!r} is not host:port, or its port is above 55535")
        members.append(Member(index, host, int(port)))
    if len({member.host for member in members}) != len(members):
        raise RecipeError("HASHSLOT_MEMBERS: a host is named twice")
    return tuple(members)


def read_recipe(environ: Mapping[str, str], hostname: str) -> Recipe:
    """Read the recipe from the container's environment and host name. Raises RecipeError with the reason."""
    members = parse_members(environ["HASHSLOT_MEMBERS"])
    replicas_text = environ.get("HASHSLOT_REPLICAS") or "1"
    if not replicas_text.isdigit():
        raise RecipeError(f"HASHSLOT_REPLICAS: {replicas_text!r} is not a number")
    replicas = int(replicas_text)
    mine = [member for member in members if member.host.split(".")[0] == hostname.split(".")[0]]
    if len(mine) != 1:
        raise RecipeError(f"this container's host name {hostname!r} is not one of HASHSLOT_MEMBERS: set `hostname:`")
    client_ip = environ.get("HASHSLOT_ADDRESS", "")
    if client_ip:
        try:
            address = ipaddress.IPv4Address(client_ip)
        except ValueError:
            raise RecipeError(f"HASHSLOT_ADDRESS: {client_ip!r} is not an IPv4 address") from None
        if address.is_unspecified:
            raise RecipeError("HASHSLOT_ADDRESS: clients cannot connect to 0.0.0.0; give this machine's address")
    return Recipe(environ.get("HASHSLOT_CLUSTER") or "hashslot", members, replicas, mine[0], client_ip)


def layout(recipe: Recipe, addresses: Mapping[str, str]) -> list[PlannedNode]:
    """The topology in the order of the members, the same wherever it is computed. Raises RecipeError.

    addresses: host name -> IP address; who is missing there gets an empty one.
    """
    places = [Address(addresses.get(one.host, ""), one.port, one.port + BUS_PORT_OFFSET) for one in recipe.members]
    try:
        return plan(places, recipe.replicas, random.Random(recipe.cluster))
    except TopologyError as error:
        raise RecipeError(str(error)) from None


def first_nodes_conf(recipe: Recipe, addresses: Mapping[str, str]) -> str:
    """The nodes.conf that `recipe.me` starts from: everybody known, slots given out, one config epoch a primary."""
    planned = layout(recipe, addresses)
    state = saved_state(planned, planned[recipe.me.index].id)
    # Known from the first moment, so that no early client from outside is told the bus's address.
    nodes = tuple(replace(node, client_ipv4=recipe.client_ip or None) for node in state.nodes)
    return format_nodes_conf(replace(state, nodes=nodes)).decode("ascii")


def refreshed_nodes_conf(text: str, recipe: Recipe, addresses: Mapping[str, str]) -> str:
    """`text` with the present addresses of the members in it.

    Touches nothing but the IP of lines whose node id is a member's: what was added, moved, or reset by hand since the
    first start stays, and so does damage, which the node itself reports with the line.
    """
    planned = layout(recipe, addresses)
    host_of: dict[str, str] = {one.id: member.host for one, member in zip(planned, recipe.members, strict=True)}
    lines = []
    for line in text.split("\n"):
        name, space, rest = line.partition(" ")
        ip = addresses.get(host_of.get(name, ""))
        if ip is not None:
            address, *others = rest.split(" ")
            _, at, ports = address.rpartition(":")
            if at:
                line = name + space + " ".join([f"{ip}:{ports}", *others])
        lines.append(line)
    return "\n".join(lines)


def internal_networks(routes: str) -> list[str]:
    """The networks from which containers reach this one, as `cluster-internal-networks` takes them.

    routes: the text of /proc/net/route. Connections through a published port come from the network's gateway (the
    engine's proxy or its masquerading) or from a foreign address, so gateways are taken out with `!`. Loopback is
    inside: whoever connects there runs in this container (`docker compose exec`).
    """
    networks: list[ipaddress.IPv4Network] = []
    gateways: set[ipaddress.IPv4Address] = set()
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        destination, gateway, mask = (
            ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(fields[at]), "little")) for at in (1, 2, 7)
        )
        if int(gateway):
            gateways.add(gateway)
        elif int(mask):
            network = ipaddress.IPv4Network(f"{destination}/{mask}")
            networks.append(network)
            if network.prefixlen < 31:
                gateways.add(network.network_address + 1)  # the engine's choice for a network without a default route
    return [*LOOPBACK, *map(str, networks), *(f"!{gateway}" for gateway in sorted(gateways))]


def lookup(host: str) -> str | None:
    """The IPv4 address of `host`, or None while it has none."""
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return None
    return str(found[0][4][0])


def resolve(
    hosts: Sequence[str],
    wait_s: float,
    find: Callable[[str], str | None] = lookup,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Host name -> address for all `hosts` that get one within `wait_s` seconds. Asks for all of them at once."""
    found: dict[str, str] = {}
    deadline = clock() + wait_s
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        while True:
            missing = [host for host in hosts if host not in found]
            for host, address in zip(missing, pool.map(find, missing), strict=True):
                if address is not None:
                    found[host] = address
            if len(found) == len(hosts) or clock() >= deadline:
                return found
            sleep(0.05)


def prepare(recipe: Recipe, directory: Path) -> str:
    """Bring `directory`/nodes.conf up to date and give this member's own address. Raises RecipeError."""
    path = directory / "nodes.conf"
    hosts = [member.host for member in recipe.members]
    known = path.exists() and path.stat().st_size > 0
    addresses = resolve(hosts, RESTART_WAIT_S if known else FIRST_START_WAIT_S)
    missing = [host for host in hosts if host not in addresses]
    if recipe.me.host in missing or (missing and not known):
        raise RecipeError(f"no address for {' '.join(missing)}: the first start needs all members on one network")
    if known:
        before = path.read_text(errors="surrogateescape")
        after = refreshed_nodes_conf(before, recipe, addresses)
        if after != before:
            write_atomically(path, after.encode(errors="surrogateescape"))
    else:
        write_atomically(path, first_nodes_conf(recipe, addresses).encode())
    return addresses[recipe.me.host]


def node_arguments(recipe: Recipe, directory: Path, own_ip: str, routes: str, password: str) -> list[str]:
    """The options of `hashslot node` for this member. What the container's command adds comes after them, and wins."""
    options = {
        "dir": str(directory),
        "port": str(recipe.me.port),
        "bind": "0.0.0.0",
        # The published ports are the boundary here: the compose file opens them on the host's loopback only.
        "protected-mode": "no",
        "cluster-enabled": "yes",
        "cluster-config-file": "nodes.conf",
        "cluster-announce-ip": own_ip,
        "cluster-announce-human-nodename": recipe.me.host,
    }
    if recipe.client_ip:
        options["cluster-announce-client-ipv4"] = recipe.client_ip
        options["cluster-internal-networks"] = " ".join(internal_networks(routes))
    if password:
        options |= {"requirepass": password, "masterauth": password}
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Become `hashslot`. Returns only by an exception: SystemExit(2) with one line when the recipe is wrong."""
    if not environ.get("HASHSLOT_MEMBERS"):
        command = ["hashslot", *(arguments or WHOLE_CLUSTER)]
    elif arguments and not arguments[0].startswith("-"):
        command = ["hashslot", *arguments]  # an operator's one-off command in the same environment
    else:
        # The engine passes unknown names on to outside resolvers: do not wait ten seconds for each of those.
        os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")
        directory = Path(environ.get("HASHSLOT_DIR") or "/data")
        try:
            recipe = read_recipe(environ, socket.gethostname())
            own_ip = prepare(recipe, directory)
        except (RecipeError, OSError) as error:
            print(f"hashslot: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        routes = Path("/proc/net/route").read_text()
        password = environ.get("HASHSLOT_PASSWORD", "")
        command = ["hashslot", "node", *node_arguments(recipe, directory, own_ip, routes, password), *arguments]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
