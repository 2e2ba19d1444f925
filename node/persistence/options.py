"""What a writer is told: thresholds between compact and plain encodings, compression, and the RDB version."""

from __future__ import annotations

from dataclasses import dataclass, field

RDB_VERSION = 11
"""The version of Redis 7.2, written unless a reader asks for less."""

RDB_VERSION_FIELD_DEADLINES = 12
"""The version of Redis 7.4, the first in which fields of hashes expire: for DUMP, and for replicas of our own kind."""

RDB_VERSION_OLDEST_WRITTEN = 10
"""The version of Redis 7.0, the first with listpacks."""


@dataclass(frozen=True, slots=True)
class EncodingLimits:
    """Redis's settings of the same names, with Redis 7.2's defaults. Up to and including a limit is still compact."""

    hash_max_listpack_entries: int = 512
    hash_max_listpack_value: int = 64
    """Longest field or value, in bytes."""


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """How values are written. `compress` is `rdbcompression`; `version` is the RDB version the reader understands."""

    limits: EncodingLimits = field(default_factory=EncodingLimits)
    compress: bool = True
    version: int = RDB_VERSION


DEFAULT_OPTIONS = SaveOptions()


def rdb_version_for_replica(announced: str | None) -> int:
    """The RDB version to send to a replica that said `REPLCONF version <announced>`, or nothing (None).

    Nodes of our own kind say 7.2 or later and take what Redis 7.4 writes. Valkey 8 and later say their version, and
    take no more than 11 (what is above is Redis's alone); Redis says none, and Redis 7.0 refuses version 11, so silence
    means 10. A text that is no version number counts as silence. Nothing we write to a replica differs between 10 and
    11 but the number in the header, for strings and hashes; sets and streams of version 11 have new types.
    """
    if announced is None:
        return RDB_VERSION_OLDEST_WRITTEN
    numbers = announced.split(".")
    if len(numbers) < 2 or not all(n.isascii() and n.isdigit() for n in numbers[:2]):
        return RDB_VERSION_OLDEST_WRITTEN
    major, minor = int(numbers[0]), int(numbers[1])
    if major == 7 and minor >= 2:
        return RDB_VERSION_FIELD_DEADLINES
    return RDB_VERSION if major > 7 else RDB_VERSION_OLDEST_WRITTEN
