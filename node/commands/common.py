"""What several of the key and server commands have in common, beside `node.arguments`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node import errors
from node.errors import CommandError
from node.keyspace import Database
from node.persistence.options import RDB_VERSION_VALKEY, EncodingLimits, SaveOptions
from node.types.hash import Hash

if TYPE_CHECKING:
    from node.context import Context
    from node.state import Node


def database_at(node: Node, index: int) -> Database:
    """The database of that number; CommandError when there is none."""
    if not 0 <= index < len(node.databases):
        raise CommandError(errors.INVALID_DB)
    return node.databases[index]


def save_options(node: Node) -> SaveOptions:
    """How values are written to payloads, by the settings of this node. Fields that expire go in Valkey's form, since Redis
    has none up to the 7.2 whose commands are complete here."""
    config = node.config
    limits = EncodingLimits(config.hash_max_listpack_entries, config.hash_max_listpack_value)
    return SaveOptions(limits, compress=config.rdbcompression, version=RDB_VERSION_VALKEY)


def track_fields(ctx: Context, key: bytes, found: Hash) -> None:
    """Fields of the hash at `key` may expire earlier than before, or under another key."""
    next_ms = ctx.database.track_fields(key, found)
    if next_ms is not None and next_ms < ctx.node.fields_due_ms:
        ctx.node.fields_due_ms = next_ms


def removal_of(ctx: Context) -> bytes:
    """The command by which the removal of a key whose time has come is told."""
    return b"UNLINK" if ctx.node.config.lazyfree_lazy_expire else b"DEL"
