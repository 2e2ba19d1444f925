"""Settings of the cluster and of replication."""

from __future__ import annotations

from node.numbers import LLONG_MAX, LLONG_MIN, LONG_MAX, ULLONG_MAX
from node.settings import checks
from node.settings.kinds import Bool, Choice, Int, Memory, SignedMemory, Text
from node.settings.special import Primary

MB = 1 << 20


class ClusterSettings:
    """The cluster: who we say we are, when a node counts as failed, when we serve."""

    cluster_enabled = Bool(False, immutable=True)
    cluster_config_file = Text("nodes.conf", empty=True, immutable=True)
    cluster_config_save_behavior = Choice("sync", "sync best-effort", kept=True)
    cluster_node_timeout = Int(15000, high=LLONG_MAX)
    cluster_port = Int(0, high=65535, immutable=True)
    cluster_announce_ip = Text(check=checks.announced_ip)
    cluster_announce_port = Int(0, high=65535)
    cluster_announce_tls_port = Int(0, high=65535)
    cluster_announce_bus_port = Int(0, high=65535)
    cluster_announce_hostname = Text(check=checks.host_name)
    cluster_announce_human_nodename = Text(check=checks.node_name)
    cluster_announce_client_ipv4 = Text(check=checks.ipv4)
    cluster_announce_client_ipv6 = Text(check=checks.ipv6)
    cluster_announce_client_port = Int(0, high=65535, kept=True)
    cluster_announce_client_tls_port = Int(0, high=65535, kept=True)
    cluster_internal_networks = Text(check=checks.networks)
    cluster_preferred_endpoint_type = Choice("ip", "ip hostname unknown-endpoint")
    cluster_require_full_coverage = Bool(True)
    cluster_allow_reads_when_down = Bool(False)
    cluster_allow_pubsubshard_when_down = Bool(True)
    cluster_allow_replica_migration = Bool(True)
    cluster_migration_barrier = Int(1)
    cluster_replica_validity_factor = Int(10, "cluster-slave-validity-factor")
    cluster_replica_no_failover = Bool(False, "cluster-slave-no-failover")
    cluster_link_sendbuf_limit = Memory(0, high=ULLONG_MAX)
    cluster_blacklist_ttl = Int(60, low=LLONG_MIN, high=LLONG_MAX)
    cluster_manual_failover_timeout = Int(5000, low=1)
    cluster_databases = Int(1, low=1, immutable=True, kept=True)
    cluster_slot_stats_enabled = Bool(False)
    cluster_slot_migration_log_max_len = Int(1000, high=LONG_MAX)
    cluster_ping_interval = Int(0, high=LLONG_MAX, hidden=True, kept=True)
    cluster_message_gossip_perc = Int(10, low=1, high=100, hidden=True, kept=True)
    slot_migration_max_failover_repl_bytes = SignedMemory(0, low=-1)


class ReplicationSettings:
    """Primary and replica."""

    replicaof = Primary(None, "slaveof", immutable=True)
    masterauth = Text("", "primaryauth", sensitive=True)
    masteruser = Text("", "primaryuser", sensitive=True)
    replica_serve_stale_data = Bool(True, "slave-serve-stale-data")
    replica_read_only = Bool(True, "slave-read-only")
    replica_priority = Int(100, "slave-priority")
    replica_announced = Bool(True)
    replica_announce_ip = Text("", "slave-announce-ip")
    replica_announce_port = Int(0, "slave-announce-port", high=65535)
    replica_ignore_maxmemory = Bool(True, "slave-ignore-maxmemory", kept=True)
    replica_ignore_disk_write_errors = Bool(False, kept=True)
    replica_lazy_flush = Bool(False, "slave-lazy-flush", kept=True)
    repl_timeout = Int(60, low=1)
    repl_ping_replica_period = Int(10, "repl-ping-slave-period", low=1)
    repl_backlog_size = Memory(MB, low=1, clamp=(16384, LLONG_MAX))
    repl_backlog_ttl = Int(3600, high=LONG_MAX)
    repl_disable_tcp_nodelay = Bool(False)
    repl_diskless_sync = Bool(True)
    repl_diskless_sync_delay = Int(0)
    repl_diskless_sync_max_replicas = Int(0)
    repl_diskless_load = Choice("disabled", "disabled on-empty-db swapdb", also="flush-before-load")
    foreign_replicas_have_modules = Bool(False)
    repl_mptcp = Bool(False, immutable=True, kept=True)
    dual_channel_replication_enabled = Bool(False, kept=True)
    min_replicas_to_write = Int(0, "min-slaves-to-write")
    min_replicas_max_lag = Int(10, "min-slaves-max-lag")
