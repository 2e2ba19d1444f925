"""Settings of the data: memory, encodings, files and TLS."""

from __future__ import annotations

from node.numbers import INT_MAX, INT_MIN, LLONG_MAX, LONG_MAX, ULLONG_MAX
from node.settings import checks
from node.settings.kinds import Bool, Choice, Int, Memory, Text
from node.settings.special import Save

MB = 1 << 20


class MemorySettings:
    """Memory limit, eviction, encodings and lazy freeing."""

    maxmemory = Memory(0, high=ULLONG_MAX)
    maxmemory_policy = Choice(
        "noeviction",
        "volatile-lru volatile-lfu volatile-random volatile-ttl allkeys-lru allkeys-lfu allkeys-random noeviction",
    )
    maxmemory_samples = Int(5, low=1, high=64, kept=True)
    maxmemory_eviction_tenacity = Int(10, high=100, kept=True)
    lfu_log_factor = Int(10)
    lfu_decay_time = Int(1)
    lazyfree_lazy_eviction = Bool(False, kept=True)
    lazyfree_lazy_expire = Bool(False)
    lazyfree_lazy_server_del = Bool(False)
    lazyfree_lazy_user_del = Bool(False)
    lazyfree_lazy_user_flush = Bool(False)
    activedefrag = Bool(False, check=checks.no_defragmentation, kept=True)
    active_defrag_cycle_min = Int(1, low=1, high=99, kept=True)
    active_defrag_cycle_max = Int(25, low=1, high=99, kept=True)
    active_defrag_cycle_us = Int(500, high=100000, kept=True)
    active_defrag_threshold_lower = Int(10, high=1000, kept=True)
    active_defrag_threshold_upper = Int(100, high=1000, kept=True)
    active_defrag_ignore_bytes = Memory(100 * MB, low=1, kept=True)
    active_defrag_max_scan_fields = Int(1000, low=1, high=LONG_MAX, kept=True)
    hash_max_listpack_entries = Int(512, "hash-max-ziplist-entries", high=LONG_MAX)
    hash_max_listpack_value = Memory(64, "hash-max-ziplist-value", high=LONG_MAX)
    list_max_listpack_size = Int(-2, "list-max-ziplist-size", low=INT_MIN)
    list_compress_depth = Int(0, kept=True)
    set_max_intset_entries = Int(512, high=LONG_MAX)
    set_max_listpack_entries = Int(128, high=LONG_MAX)
    set_max_listpack_value = Int(64, high=LONG_MAX)
    zset_max_listpack_entries = Int(128, "zset-max-ziplist-entries", high=LONG_MAX)
    zset_max_listpack_value = Memory(64, "zset-max-ziplist-value", high=LONG_MAX)
    hll_sparse_max_bytes = Memory(3000, high=LONG_MAX)
    stream_node_max_bytes = Memory(4096, high=LONG_MAX)
    stream_node_max_entries = Int(100, high=LLONG_MAX)


class FileSettings:
    """Snapshots and the append-only file."""

    save = Save(((3600, 1), (300, 100), (60, 10000)))
    dbfilename = Text("dump.rdb", empty=True, protected=True, check=checks.dump_file)
    rdbcompression = Bool(True)
    rdbchecksum = Bool(True, immutable=True, kept=True)
    rdb_version_check = Choice("strict", "strict relaxed", kept=True)
    rdb_del_sync_files = Bool(False, kept=True)
    rdb_save_incremental_fsync = Bool(True, kept=True)
    rdb_key_save_delay = Int(0, low=INT_MIN, hidden=True, kept=True)
    key_load_delay = Int(0, low=INT_MIN, hidden=True, kept=True)
    loading_process_events_interval_bytes = Int(2 * MB, low=1024, high=INT_MAX, hidden=True, kept=True)
    sanitize_dump_payload = Choice("no", "no yes clients", kept=True)
    stop_writes_on_bgsave_error = Bool(True)
    appendonly = Bool(False, kept=True)
    appendfilename = Text("appendonly.aof", empty=True, immutable=True, check=checks.append_file, kept=True)
    appenddirname = Text("appendonlydir", empty=True, immutable=True, check=checks.append_directory, kept=True)
    appendfsync = Choice("everysec", "everysec always no", kept=True)
    no_appendfsync_on_rewrite = Bool(False, kept=True)
    auto_aof_rewrite_percentage = Int(100, kept=True)
    auto_aof_rewrite_min_size = Memory(64 * MB, kept=True)
    aof_load_truncated = Bool(True, kept=True)
    aof_rewrite_incremental_fsync = Bool(True, kept=True)
    aof_timestamp_enabled = Bool(False, kept=True)
    aof_use_rdb_preamble = Bool(True, kept=True)
    aof_disable_auto_gc = Bool(False, hidden=True, kept=True)


class TlsSettings:
    """TLS; kept until connections can be encrypted."""

    tls_port = Int(0, high=65535, kept=True)
    tls_cluster = Bool(False, kept=True)
    tls_replication = Bool(False, kept=True)
    tls_auth_clients = Choice("yes", "no yes optional", kept=True)
    tls_auth_clients_user = Choice("off", "CN URI off", kept=True)
    tls_auto_reload_interval = Int(0, kept=True)
    tls_prefer_server_ciphers = Bool(False, kept=True)
    tls_session_caching = Bool(True, kept=True)
    tls_session_cache_size = Int(20480, kept=True)
    tls_session_cache_timeout = Int(300, kept=True)
    tls_cert_file = Text(kept=True)
    tls_key_file = Text(kept=True)
    tls_key_file_pass = Text(sensitive=True, kept=True)
    tls_client_cert_file = Text(kept=True)
    tls_client_key_file = Text(kept=True)
    tls_client_key_file_pass = Text(sensitive=True, kept=True)
    tls_dh_params_file = Text(kept=True)
    tls_ca_cert_file = Text(kept=True)
    tls_ca_cert_dir = Text(kept=True)
    tls_protocols = Text(kept=True)
    tls_ciphers = Text(kept=True)
    tls_ciphersuites = Text(kept=True)
