"""Settings of sockets, clients, processes, logs and commands."""

from __future__ import annotations

from node.numbers import LLONG_MAX, LONG_MAX, UINT_MAX
from node.settings import checks
from node.settings.kinds import Bool, Choice, Flags, Int, Memory, MemoryOrPercent, Octal, Text
from node.settings.special import (
    Addresses,
    BufferLimit,
    BufferLimits,
    Directory,
    KeyspaceEvents,
    OomScores,
    OutputBufferLimit,
    Percentiles,
)

MB = 1 << 20
_SHUTDOWN = "default save nosave now force"


class NetworkSettings:
    """Listening, connections and what one client may use."""

    port = Int(6379, high=65535)
    bind = Addresses(("127.0.0.1", "-::1"))
    bind_source_addr = Text()
    protected_mode = Bool(True)
    unixsocket = Text(immutable=True)
    unixsocketperm = Octal(0, high=0o777, immutable=True)
    unixsocketgroup = Text(immutable=True, kept=True)
    tcp_backlog = Int(511, immutable=True)
    tcp_keepalive = Int(300)
    timeout = Int(0)
    maxclients = Int(10000, low=1, high=UINT_MAX)
    requirepass = Text(sensitive=True)
    socket_mark_id = Int(0, high=UINT_MAX, immutable=True, kept=True)
    mptcp = Bool(False, immutable=True, kept=True)
    max_new_connections_per_cycle = Int(10, low=1, high=1000, kept=True)
    max_new_tls_connections_per_cycle = Int(1, low=1, high=1000, kept=True)
    proto_max_bulk_len = Memory(512 * MB, low=MB)
    client_query_buffer_limit = Memory(1024 * MB, low=MB)
    client_output_buffer_limit = OutputBufferLimit(
        BufferLimits(BufferLimit(0, 0, 0), BufferLimit(256 * MB, 64 * MB, 60), BufferLimit(32 * MB, 8 * MB, 60))
    )
    maxmemory_clients = MemoryOrPercent(0, low=-100, kept=True)
    tracking_table_max_keys = Int(1000000, high=LONG_MAX, kept=True)
    io_threads = Int(1, low=1, high=128, immutable=True, kept=True)
    io_threads_do_reads = Bool(False, immutable=True, kept=True)
    io_threads_always_active = Bool(False, hidden=True, kept=True)
    events_per_io_thread = Int(2, hidden=True, kept=True)
    prefetch_batch_max_size = Int(16, high=128, kept=True)
    min_io_threads_avoid_copy_reply = Int(7, hidden=True, kept=True)
    min_string_size_avoid_copy_reply = Int(16384, hidden=True, kept=True)
    min_string_size_avoid_copy_reply_threaded = Int(65536, hidden=True, kept=True)
    rdma_bind = Text(check=checks.no_rdma, kept=True)
    rdma_port = Int(0, high=65535, check=checks.no_rdma_port, kept=True)
    rdma_rx_size = Int(MB, low=64 << 10, high=16 * MB, immutable=True, kept=True)
    rdma_completion_vector = Int(-1, low=-1, high=1024, immutable=True, kept=True)
    availability_zone = Text(kept=True)


class ProcessSettings:
    """The process: files, logs, signals, titles and what the operating system grants."""

    dir = Directory(protected=True)
    daemonize = Bool(False, immutable=True)
    pidfile = Text(immutable=True)
    logfile = Text(empty=True, immutable=True)
    loglevel = Choice("notice", "debug verbose notice warning nothing")
    log_format = Choice("legacy", "legacy logfmt json", kept=True)
    log_timestamp_format = Choice("legacy", "legacy iso8601 milliseconds", kept=True)
    hide_user_data_from_log = Bool(True, kept=True)
    syslog_enabled = Bool(False, immutable=True, kept=True)
    syslog_ident = Text("redis", empty=True, immutable=True, kept=True)
    syslog_facility = Choice(
        "local0", "user local0 local1 local2 local3 local4 local5 local6 local7", immutable=True, kept=True
    )
    supervised = Choice("no", "upstart systemd auto no", immutable=True, kept=True)
    always_show_logo = Bool(False, immutable=True, kept=True)
    set_proc_title = Bool(True, immutable=True, kept=True)
    proc_title_template = Text(
        "{title} {listen-addr} {server-mode}", empty=True, check=checks.title_template, kept=True
    )
    shutdown_timeout = Int(10)
    shutdown_on_sigint = Flags("default", _SHUTDOWN, also="safe failover", check=checks.shutdown_words)
    shutdown_on_sigterm = Flags("default", _SHUTDOWN, also="safe failover", check=checks.shutdown_words)
    crash_log_enabled = Bool(True, kept=True)
    crash_memcheck_enabled = Bool(True, kept=True)
    use_exit_on_panic = Bool(False, hidden=True, kept=True)
    watchdog_period = Int(0, hidden=True, kept=True)
    enable_debug_assert = Bool(False, immutable=True, hidden=True, kept=True)
    debug_context = Text(hidden=True, kept=True)
    disable_thp = Bool(True, immutable=True, kept=True)
    oom_score_adj = Choice("no", "no yes relative absolute", kept=True)
    oom_score_adj_values = OomScores((0, 200, 800), kept=True)
    server_cpulist = Text("", "server-cpulist", name="server_cpulist", immutable=True, kept=True)
    bio_cpulist = Text("", "bio-cpulist", name="bio_cpulist", immutable=True, kept=True)
    aof_rewrite_cpulist = Text("", "aof-rewrite-cpulist", name="aof_rewrite_cpulist", immutable=True, kept=True)
    bgsave_cpulist = Text("", "bgsave-cpulist", name="bgsave_cpulist", immutable=True, kept=True)
    ignore_warnings = Text(empty=True, kept=True)
    jemalloc_bg_thread = Bool(True, kept=True)
    hash_seed = Text(immutable=True, sensitive=True, kept=True)


class CommandSettings:
    """Commands: what is allowed, what is measured and what is told."""

    databases = Int(16, low=1, immutable=True)
    enable_protected_configs = Choice("no", "no yes local", immutable=True)
    enable_debug_command = Choice("no", "no yes local", immutable=True)
    enable_module_command = Choice("no", "no yes local", immutable=True, kept=True)
    notify_keyspace_events = KeyspaceEvents("")
    hz = Int(10, clamp=(1, 500))
    dynamic_hz = Bool(True, kept=True)
    activerehashing = Bool(True, kept=True)
    active_expire_effort = Int(1, low=1, high=10, kept=True)
    busy_reply_threshold = Int(5000, "lua-time-limit", high=LONG_MAX, kept=True)
    lua_enable_deprecated_api = Bool(False, immutable=True, hidden=True, kept=True)
    lua_enable_insecure_api = Bool(False, protected=True, hidden=True, kept=True)
    locale_collate = Text(empty=True, check=checks.c_locale, kept=True)
    extended_redis_compatibility = Bool(False, kept=True)
    import_mode = Bool(False, kept=True)
    aclfile = Text(empty=True, immutable=True, kept=True)
    acl_pubsub_default = Choice("resetchannels", "allchannels resetchannels", kept=True)
    acllog_max_len = Int(128, high=LONG_MAX, kept=True)
    slowlog_log_slower_than = Int(10000, "commandlog-execution-slower-than", low=-1, high=LLONG_MAX, kept=True)
    slowlog_max_len = Int(128, "commandlog-slow-execution-max-len", high=LONG_MAX, kept=True)
    commandlog_request_larger_than = Int(MB, low=-1, high=LLONG_MAX, kept=True)
    commandlog_large_request_max_len = Int(128, high=LONG_MAX, kept=True)
    commandlog_reply_larger_than = Int(MB, low=-1, high=LLONG_MAX, kept=True)
    commandlog_large_reply_max_len = Int(128, high=LONG_MAX, kept=True)
    latency_monitor_threshold = Int(0, high=LLONG_MAX, kept=True)
    latency_tracking = Bool(True, kept=True)
    latency_tracking_info_percentiles = Percentiles((50.0, 99.0, 99.9), kept=True)
    propagation_error_behavior = Choice("ignore", "ignore panic panic-on-replicas", kept=True)
