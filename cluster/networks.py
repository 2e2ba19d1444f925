"""From which networks a client is internal: it is then told the bus's addresses, not those announced for clients.

Valkey's `cluster-announce-client-ipv4` gives every client the same address. With 127.0.0.1 for clients on a container
host that leaves clients in other containers with an address that leads them to themselves. Which side a client stands
on shows in the address it comes from, so `cluster-internal-networks` says which addresses are inside.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class InternalNetworks:
    """Addresses in one of `inside` and none of `outside`."""

    inside: tuple[Network, ...] = ()
    outside: tuple[Network, ...] = ()

    def holds(self, peer: str) -> bool:
        """Whether a connection from the textual IP address `peer` is internal. No IP address (a Unix socket): not."""
        if not self.inside:
            return False
        try:
            address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        # A socket that listens on `::` shows IPv4 peers in this form.
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.inside) and not any(
            address in network for network in self.outside
        )


def parse_networks(text: str) -> InternalNetworks:
    """Read `10.0.0.0/8 !10.0.0.1 ...`: networks or single addresses, those with `!` taken out of the others.

    Raises ValueError with the word that is neither, such as a network with bits beyond its prefix.
    """
    inside: list[Network] = []
    outside: list[Network] = []
    for word in text.split():
        try:
            (outside if word.startswith("!") else inside).append(ipaddress.ip_network(word.removeprefix("!")))
        except ValueError:
            raise ValueError(f"Invalid network {word!r}: expected an address or a network such as 10.0.0.0/8") from None
    return InternalNetworks(tuple(inside), tuple(outside))
