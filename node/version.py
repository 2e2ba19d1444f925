"""The versions that a node tells of itself."""

HASHSLOT_VERSION = "0.1.0"

REDIS_VERSION = "7.2.0"
"""The Redis version whose commands are complete here, each with all its options (INFO redis_version)."""

REPLICA_VERSION = "9.1.0"
"""The Valkey version whose data a replica of ours understands (`REPLCONF version`). To one that says less, Valkey 9 cannot
write hashes with fields that expire, and its full sync fails; Redis does not heed it."""
