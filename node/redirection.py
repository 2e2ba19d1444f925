"""Where a request is served: asks the cluster's rules with what only the node knows: its keys, and who asks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from cluster.networks import parse_networks
from cluster.routing import Presence, route
from cluster.views import EndpointType, Viewer
from node.client import Client, Unusual
from node.errors import CommandError
from node.registry import Flag

if TYPE_CHECKING:
    from node.registry import Command
    from node.state import Node

_networks = lru_cache(maxsize=8)(parse_networks)


def viewer_of(node: Node, client: Client) -> Viewer:
    """Who looks at the cluster: which ports and addresses this client is to be given."""
    config = node.config
    return Viewer(
        endpoint=EndpointType(config.cluster_preferred_endpoint_type),
        tls=client.tls,
        ipv6=":" in client.ip and not client.ip.startswith("::ffff:"),
        internal=_networks(config.cluster_internal_networks).holds(client.ip),
    )


def presence(node: Node, slot: int, keys: Sequence[bytes]) -> Presence:
    """Which of these keys are here; one whose time has come is not, whoever removes it."""
    database = node.databases[0]
    held, deadlines, now_ms = database.slots[slot], database.expires, node.now_ms
    existing = sum(1 for key in keys if key in held and deadlines.get(key, now_ms + 1) > now_ms)
    return Presence(existing, len(keys) - existing, any(key != keys[0] for key in keys))


def check(node: Node, client: Client, command: Command, keys: Sequence[bytes], slot: int, *, asking: bool) -> None:
    """Return when this request may be served here; otherwise CommandError with MOVED, ASK, TRYAGAIN or CLUSTERDOWN."""
    assert node.cluster is not None
    redirect = route(
        node.cluster,
        slot,
        lambda: presence(node, slot, keys),
        viewer_of(node, client),
        writes=bool(command.flags & Flag.WRITE),
        readonly=bool(client.unusual & Unusual.READONLY),
        asking=asking,
        sharded_pubsub=bool(command.flags & Flag.PUBSUB),
        moves_keys=command.name == "migrate",
    )
    if redirect is not None:
        raise CommandError(redirect.text)
