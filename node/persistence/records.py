"""What an RDB file holds, item by item, as the reader hands it out. Nothing here is changed once it was handed out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Header:
    """The first record: the writer's kind (`REDIS` or `VALKEY`) and RDB version."""

    magic: str
    version: int


@dataclass(slots=True)
class Aux:
    """A fact about the writer, such as `redis-ver` or `repl-id`."""

    name: bytes
    value: bytes


@dataclass(slots=True)
class SelectDb:
    """The keys that follow belong to database `db`."""

    db: int


@dataclass(slots=True)
class Resize:
    """A hint: how many keys the database has, and how many of them expire."""

    keys: int
    expires: int


@dataclass(slots=True)
class SlotInfo:
    """A hint: `keys` keys of `slot` follow, `expires` of which expire."""

    slot: int
    keys: int
    expires: int


@dataclass(slots=True)
class SlotImport:
    """The writer was importing these slots: what it has of them belongs to nobody yet. name: of the job, 40 characters."""

    name: str
    ranges: list[tuple[int, int]]


@dataclass(slots=True)
class Function:
    """A library as given to FUNCTION LOAD."""

    code: bytes


@dataclass(slots=True)
class Key:
    """A key and its value; `expire_ms` is Unix time in milliseconds, `idle_s` and `freq` are for eviction."""

    db: int
    key: bytes
    value: object
    expire_ms: int | None = None
    idle_s: int | None = None
    freq: int | None = None


@dataclass(slots=True)
class End:
    """The last record. `checked`: the file carried a checksum, and it was right."""

    checked: bool


Record = Header | Aux | SelectDb | Resize | SlotInfo | SlotImport | Function | Key | End
