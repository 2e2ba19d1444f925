"""What a node's cluster machine is told by configuration. Replaced as a whole when a setting changes."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.views import EndpointType


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Settings of one node; names as in the configuration without `cluster-`.

    port, tls_port: client ports that listen, 0 for none; bus_port: of the bus (never 0). announce_*: what is told to
    others instead, "" or 0 for the real one. tls_cluster: the bus runs over TLS, and the first port is the TLS one.
    blacklist_ttl_s: how long a forgotten node stays out.
    """

    port: int
    bus_port: int
    tls_port: int = 0
    tls_cluster: bool = False
    node_timeout_ms: int = 15_000
    announce_ip: str = ""
    announce_port: int = 0
    announce_tls_port: int = 0
    announce_bus_port: int = 0
    announce_hostname: str = ""
    announce_human_nodename: str = ""
    announce_client_ipv4: str = ""
    announce_client_ipv6: str = ""
    preferred_endpoint_type: EndpointType = EndpointType.IP
    require_full_coverage: bool = True
    allow_reads_when_down: bool = False
    allow_pubsubshard_when_down: bool = True
    allow_replica_migration: bool = True
    replica_no_failover: bool = False
    replica_validity_factor: int = 10
    repl_ping_replica_period_s: int = 10
    migration_barrier: int = 1
    manual_failover_timeout_ms: int = 5000
    link_sendbuf_limit: int = 0
    blacklist_ttl_s: int = 60

    @property
    def main_port(self) -> int:
        """The port that goes first in addresses, announced or real."""
        if self.tls_cluster:
            return self.announce_tls_port or self.tls_port
        return self.announce_port or self.port

    @property
    def second_port(self) -> int:
        """The other port, plain or TLS, announced or real; 0 for none."""
        if self.tls_cluster:
            return self.announce_port or self.port
        return self.announce_tls_port or self.tls_port

    @property
    def shown_bus_port(self) -> int:
        """The bus port as told to others."""
        return self.announce_bus_port or self.bus_port
