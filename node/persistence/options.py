"""What a writer is told: thresholds between compact and plain encodings, compression, and the RDB version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

RDB_VERSION = 11
"""The version of Redis 7.2, written unless a reader asks for less."""

RDB_VERSION_FIELD_DEADLINES = 12
"""The version of Redis 7.4, the first in which fields of hashes expire: for DUMP, and for replicas of our own kind."""

RDB_VERSION_OLDEST_WRITTEN = 10
"""The version of Redis 7.0, the first with listpacks."""

RDB_VERSION_VALKEY = 80
"""The version of Valkey 9, which has a form of its own for hashes with fields that expire."""


@dataclass(frozen=True, slots=True)
class EncodingLimits:
    """Redis's settings of the same names, with Redis 7.2's defaults. Up to and including a limit is still compact."""

    hash_max_listpack_entries: int = 512
    hash_max_listpack_value: int = 64
    """Longest field or value, in bytes."""


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """How values are written. `compress` is `rdbcompression`; `version` is the RDB version that the reader understands;
    `modules`: whether it has the modules for values that are no core type."""

    limits: EncodingLimits = field(default_factory=EncodingLimits)
    compress: bool = True
    version: int = RDB_VERSION
    modules: bool = True


DEFAULT_OPTIONS = SaveOptions()


def rdb_version_for_replica(announced: str | None) -> int:
    """The RDB version to send to a replica that said `REPLCONF version <announced>`, or nothing (None).

    Nodes of our own kind say 7.2 or later and take what Redis 7.4 writes. Valkey 8 and later say their version; 8 takes
    no more than 11 (what is above is Redis's alone), 9 its own 80 as well. Redis says none, and Redis 7.0 refuses
    version 11, so silence means 10. A text that is no version number counts as silence. Nothing we write to a replica
    differs between 10 and 11 but the number in the header, for strings and hashes; sets and streams of version 11 have
    new types.
    """
    if announced is None:
        return RDB_VERSION_OLDEST_WRITTEN
    numbers = announced.split(".")
    if len(numbers) < 2 or not all(n.isascii() and n.isdigit() for n in numbers[:2]):
        return RDB_VERSION_OLDEST_WRITTEN
    major, minor = int(numbers[0]), int(numbers[1])
    if major == 7 and minor >= 2:
        return RDB_VERSION_FIELD_DEADLINES
    if major >= 9:
        return RDB_VERSION_VALKEY
    return RDB_VERSION if major > 7 else RDB_VERSION_OLDEST_WRITTEN


def expires_fields(version: int) -> bool:
    """Whether what is written in this RDB version says when fields of hashes expire."""
    return version >= RDB_VERSION_FIELD_DEADLINES


def common_rdb_version(versions: Iterable[int]) -> int:
    """The RDB version that all of these replicas read, of which each reads what `rdb_version_for_replica` said.

    Those who know fields that expire and those who do not should not be given the same: it is without deadlines then.
    """
    known = set(versions)
    lowest = min(known)
    # Nodes of our own kind read Valkey's; Valkey reads nothing else that has deadlines.
    return max(known) if expires_fields(lowest) else lowest
