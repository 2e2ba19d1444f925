"""The versions that a node tells of itself."""

HASHSLOT_VERSION = "0.1.0"

REDIS_VERSION = "7.2.0"
"""The Redis version whose commands are complete here, each with all its options (INFO redis_version)."""
