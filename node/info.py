"""INFO: what a node tells of itself, section by section, with the names and the order of Redis 7.2.

Fields whose subject does not exist here (scripts, modules, defragmentation) are told as a server that has none.
Asks the system about this process: I/O.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from node.version import HASHSLOT_VERSION, REDIS_VERSION

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from node.state import Node

Fields = dict[str, object]
_TTL_SAMPLES = 32
_SECONDS_PER_DAY = 86400


def human_size(size: int) -> str:
    """Bytes with two digits behind the point and a unit: "1.50M" (`bytesToHuman`)."""
    if size < 1024:
        return f"{size}B"
    amount = float(size)
    for unit in "KMGTP":
        amount /= 1024
        if amount < 1024 or unit == "P":
            break
    return f"{amount:.2f}{unit}"


def resident_bytes() -> int:
    """Memory that this process has in RAM; its peak where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory this process ever had in RAM; 0 where the system does not tell."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


STARTUP_BYTES = resident_bytes()
"""What the process had in RAM before it held any data."""


def total_memory_bytes() -> int:
    """The machine's memory; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _server(node: Node) -> Fields:
    identity, config = node.identity, node.config
    uptime_s = (node.now_ms - node.started_ms) // 1000
    system = platform.uname()
    return {
        "redis_version": REDIS_VERSION,
        "server_name": "hashslot",
        "hashslot_version": HASHSLOT_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0",
        "redis_mode": "cluster" if node.clustered else "standalone",
        "os": f"{system.system} {system.release} {system.machine}",
        "arch_bits": 64 if sys.maxsize > 1 << 32 else 32,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "asyncio",
        "atomicvar_api": "none",
        "gcc_version": "0.0.0",
        "python_version": platform.python_version(),
        "process_id": identity.pid or os.getpid(),
        "process_supervised": "no",
        "run_id": identity.run_id,
        "tcp_port": config.port,
        "server_time_usec": node.now_ms * 1000,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s // _SECONDS_PER_DAY,
        "hz": config.hz,
        "configured_hz": config.hz,
        "lru_clock": node.now_ms // 1000 & (1 << 24) - 1,
        "executable": identity.executable,
        "config_file": identity.config_file,
        "io_threads_active": 0,
    }


def _clients(node: Node) -> Fields:
    clients = [client for client in node.clients.values() if not client.is_replica or client.is_monitor]
    return {
        "connected_clients": len(clients),
        "cluster_connections": len(node.io.link_views()) if node.clustered else 0,
        "maxclients": node.config.maxclients,
        "client_recent_max_input_buffer": max((client.query_bytes for client in clients), default=0),
        "client_recent_max_output_buffer": max((client.output_bytes for client in clients), default=0),
        "blocked_clients": sum(client.waits_for is not None for client in clients),
        "tracking_clients": 0,
        "clients_in_timeout_table": node.blocking.timeouts_count,
        "total_blocking_keys": node.blocking.keys_count,
        "total_blocking_keys_on_nokey": 0,
    }


def _memory(node: Node) -> Fields:
    used = resident_bytes()
    peak = max(peak_bytes(), used)
    total, config = total_memory_bytes(), node.config
    buffered = sum(client.output_bytes + client.query_bytes for client in node.clients.values())
    backlog = int(str(node.replication.info().get("repl_backlog_histlen", 0)))
    return {
        "used_memory": used,
        "used_memory_human": human_size(used),
        "used_memory_rss": used,
        "used_memory_rss_human": human_size(used),
        "used_memory_peak": peak,
        "used_memory_peak_human": human_size(peak),
        "used_memory_peak_perc": f"{100 * used / peak if peak else 0:.2f}%",
        "used_memory_overhead": STARTUP_BYTES,
        "used_memory_startup": STARTUP_BYTES,
        "used_memory_dataset": max(0, used - STARTUP_BYTES),
        "used_memory_dataset_perc": f"{100 * max(0, used - STARTUP_BYTES) / used if used else 0:.2f}%",
        "allocator_allocated": used,
        "allocator_active": used,
        "allocator_resident": used,
        "total_system_memory": total,
        "total_system_memory_human": human_size(total),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": "0B",
        "used_memory_scripts_eval": 0,
        "number_of_cached_scripts": 0,
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": 0,
        "used_memory_vm_total_human": "0B",
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": "0B",
        "maxmemory": config.maxmemory,
        "maxmemory_human": human_size(config.maxmemory),
        "maxmemory_policy": config.maxmemory_policy,
        "allocator_frag_ratio": "1.00",
        "allocator_frag_bytes": 0,
        "allocator_rss_ratio": "1.00",
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": "1.00",
        "rss_overhead_bytes": 0,
        "mem_fragmentation_ratio": "1.00",
        "mem_fragmentation_bytes": 0,
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": backlog,
        "mem_total_replication_buffers": backlog,
        "mem_clients_slaves": sum(client.output_bytes for client in node.clients.values() if client.is_replica),
        "mem_clients_normal": buffered,
        "mem_cluster_links": 0,
        "mem_aof_buffer": 0,
        "mem_allocator": "libc",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": 0,
        "lazyfreed_objects": 0,
    }


def _persistence(node: Node) -> Fields:
    saving, loading = node.saving, node.loading
    since_s, written, total = saving.progress(node.now_ms)
    return {
        "loading": int(loading is not None),
        "async_loading": 0,
        "current_cow_peak": 0,
        "current_cow_size": 0,
        "current_cow_size_age": 0,
        "current_fork_perc": f"{100 * written / total if total else 0:.2f}",
        "current_save_keys_processed": written,
        "current_save_keys_total": total,
        "rdb_changes_since_last_save": node.dirty,
        "rdb_bgsave_in_progress": int(saving.in_progress),
        "rdb_last_save_time": node.last_save_ms // 1000,
        "rdb_last_bgsave_status": "ok" if saving.last_ok else "err",
        "rdb_last_bgsave_time_sec": saving.last_duration_s,
        "rdb_current_bgsave_time_sec": since_s,
        "rdb_saves": saving.saves,
        "rdb_last_cow_size": 0,
        "rdb_last_load_keys_expired": saving.loaded_expired,
        "rdb_last_load_keys_loaded": saving.loaded_keys,
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_rewrites": 0,
        "aof_rewrites_consecutive_failures": 0,
        "aof_last_write_status": "ok",
        "aof_last_cow_size": 0,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
        **(loading.info(node.now_ms) if loading is not None else {}),
    }


def _migrated(node: Node) -> Fields:
    """What Valkey 9 tells of slots that moved, once some have."""
    migrations = node.migrations
    if not migrations.jobs:
        return {}
    return {
        "total_net_cluster_slot_import_bytes": migrations.import_bytes,
        "total_net_cluster_slot_export_bytes": migrations.export_bytes,
    }


def _stats(node: Node) -> Fields:
    stats = node.stats
    zeros_after_expiry = ("evicted_keys", "evicted_clients", "total_eviction_exceeded_time")
    return {
        "total_connections_received": stats.connections_received,
        "total_commands_processed": node.commands.calls(),
        "instantaneous_ops_per_sec": int(stats.ops.per_second),
        "total_net_input_bytes": stats.net_input_bytes,
        "total_net_output_bytes": stats.net_output_bytes,
        "total_net_repl_input_bytes": stats.net_repl_input_bytes,
        "total_net_repl_output_bytes": stats.net_repl_output_bytes,
        **_migrated(node),
        "instantaneous_input_kbps": f"{stats.input_rate.per_second / 1024:.2f}",
        "instantaneous_output_kbps": f"{stats.output_rate.per_second / 1024:.2f}",
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": stats.rejected_connections,
        "sync_full": stats.sync_full,
        "sync_partial_ok": stats.sync_partial_ok,
        "sync_partial_err": stats.sync_partial_err,
        "expired_keys": stats.expired_keys,
        "expired_stale_perc": "0.00",
        "expired_time_cap_reached_count": stats.expired_time_cap_reached,
        "expire_cycle_cpu_milliseconds": stats.active_expire_cycle_usec // 1000,
        **dict.fromkeys(zeros_after_expiry, 0),
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": stats.keyspace_hits,
        "keyspace_misses": stats.keyspace_misses,
        "pubsub_channels": len(node.pubsub.channels),
        "pubsub_patterns": len(node.pubsub.patterns),
        "pubsubshard_channels": len(node.pubsub.shard_channels),
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": node.transit.links_kept,
        "slave_expires_tracked_keys": 0,
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": stats.unexpected_error_replies,
        "total_error_replies": stats.total_error_replies,
        "dump_payload_sanitizations": 0,
        "total_reads_processed": stats.total_reads_processed,
        "total_writes_processed": stats.total_writes_processed,
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "client_query_buffer_limit_disconnections": stats.query_buffer_limit_disconnections,
        "client_output_buffer_limit_disconnections": stats.output_buffer_limit_disconnections,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
        "acl_access_denied_auth": 0,
        "acl_access_denied_cmd": 0,
        "acl_access_denied_key": 0,
        "acl_access_denied_channel": 0,
    }


def _replication(node: Node) -> Fields:
    return dict(node.replication.info())


def _cpu(node: Node) -> Fields:
    if resource is None:
        times = os.times()
        return {"used_cpu_sys": f"{times.system:.6f}", "used_cpu_user": f"{times.user:.6f}"}
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    thread = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
    return {
        "used_cpu_sys": f"{own.ru_stime:.6f}",
        "used_cpu_user": f"{own.ru_utime:.6f}",
        "used_cpu_sys_children": f"{children.ru_stime:.6f}",
        "used_cpu_user_children": f"{children.ru_utime:.6f}",
        "used_cpu_sys_main_thread": f"{thread.ru_stime:.6f}",
        "used_cpu_user_main_thread": f"{thread.ru_utime:.6f}",
    }


def _modules(node: Node) -> Fields:
    return {}


def _commandstats(node: Node) -> Fields:
    found: Fields = {}
    for parent in node.commands:
        for command in (parent, *parent.subcommands.values()):
            if not (command.calls or command.rejected or command.failed):
                continue
            usec = command.nsec // 1000
            found[f"cmdstat_{command.name}"] = (
                f"calls={command.calls},usec={usec},usec_per_call={usec / max(1, command.calls):.2f},"
                f"rejected_calls={command.rejected},failed_calls={command.failed}"
            )
    return found


def _errorstats(node: Node) -> Fields:
    return {f"errorstat_{code}": f"count={count}" for code, count in sorted(node.stats.errors.items())}


def _cluster(node: Node) -> Fields:
    return {"cluster_enabled": int(node.clustered)}


def _keyspace(node: Node) -> Fields:
    found: Fields = {}
    for database in node.databases:
        if not len(database):
            continue
        deadlines = list(islice(database.expires.values(), _TTL_SAMPLES))
        left_ms = sum(max(0, deadline - node.now_ms) for deadline in deadlines)
        average_ms = left_ms // len(deadlines) if deadlines else 0
        found[f"db{database.index}"] = f"keys={len(database)},expires={len(database.expires)},avg_ttl={average_ms}"
    return found


SECTIONS: dict[str, tuple[str, Callable[[Node], Fields]]] = {
    "server": ("Server", _server),
    "clients": ("Clients", _clients),
    "memory": ("Memory", _memory),
    "persistence": ("Persistence", _persistence),
    "stats": ("Stats", _stats),
    "replication": ("Replication", _replication),
    "cpu": ("CPU", _cpu),
    "modules": ("Modules", _modules),
    "commandstats": ("Commandstats", _commandstats),
    "errorstats": ("Errorstats", _errorstats),
    "cluster": ("Cluster", _cluster),
    "keyspace": ("Keyspace", _keyspace),
}
"""The sections in their order, by the name that INFO takes: title and fields."""

_NOT_BY_DEFAULT = frozenset(("commandstats",))


def info(node: Node, asked: Iterable[str] = ()) -> str:
    """The text of INFO. `asked`: section names in lower case, "all", "everything", "default"; others add nothing."""
    names = set(asked) or {"default"}
    if names & {"all", "everything"}:
        names |= set(SECTIONS)
    if "default" in names:
        names |= set(SECTIONS) - _NOT_BY_DEFAULT
    parts = []
    for name, (title, fields) in SECTIONS.items():
        if name in names:
            lines = [f"# {title}", *(f"{field}:{value}" for field, value in fields(node).items())]
            parts.append("".join(line + "\r\n" for line in lines))
    return "\r\n".join(parts)
