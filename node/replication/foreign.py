"""What replicas of other kinds can follow, and what must not be sent to them. Pure.

A stream is the same bytes for everybody, and a real server passes over a command that it does not know: it logs that, and
its data is another's from then on. A transaction with such a command in it is dropped whole. So whoever lacks what a
command takes is disconnected before it comes, and must begin anew with a full sync, which in turn does not begin while
there are values that the replica can not read. It stays what it was, and tries again until they are gone.

Fields of hashes that expire are the exception: a replica that does not know them gets the hash without, and hears when they
go, so its data is right as long as it is a replica. What tells their times is left out by it, alone; therefore it must stand
outside of transactions where such a replica follows (`units`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from node.persistence.encodings import MODULE_CLASSES
from node.persistence.encodings.modules import TAG_MODULE_2
from node.persistence.options import expires_fields, rdb_version_for_replica
from node.registry import Args
from node.types import KINDS

if TYPE_CHECKING:
    from node.keyspace import Database
    from node.replication.peer import Announced

OWN_CAPABILITY = b"hashslot"
"""What a replica of our own kind says with REPLCONF capa; real primaries pass over capabilities that they do not know."""


class Needs(IntEnum):
    """What a replica must know to follow a command; who knows one of these knows those before."""

    NOTHING = 0
    """Every server has it."""
    FIELD_TIMES = 1
    """Fields that expire. Who does not know them leaves the command out, without harm if it stands alone."""
    NEWER = 2
    """What Redis 7.0 does not have, and Valkey 9 has."""
    MODULES = 3
    """Values of modules' types: JSON, filters, sketches."""


_NEWER = frozenset({b"hsetex", b"hgetex", b"hgetdel", b"delifeq", b"msetex"})
"""Only a primary of another kind sends these: ours tells of their effects."""
_FIELD_TIMES = frozenset({b"hexpire", b"hexpireat", b"hpexpire", b"hpexpireat", b"hpersist"})

_BY_NAME = {**dict.fromkeys(_NEWER, Needs.NEWER), **dict.fromkeys(_FIELD_TIMES, Needs.FIELD_TIMES)}
_RESTORES = frozenset({b"restore", b"restore-asking"})
_MODULE_2 = bytes((TAG_MODULE_2,))

Unit = Sequence[tuple[int, Args]]
"""Commands that take effect together, each with the number of its database."""


def needs(args: Args) -> Needs:
    """What a replica must know to follow this command of the stream."""
    need = _by_name(args[0])
    if need is None:
        return Needs.MODULES if len(args) > 3 and args[3][:1] == _MODULE_2 else Needs.NOTHING
    return need


@lru_cache(maxsize=1024)  # Every write asks.
def _by_name(name: bytes) -> Needs | None:
    """None: it depends on the payload."""
    name = name.lower()
    if b"." in name:  # Every module's commands have one, and nothing else has.
        return Needs.MODULES
    return None if name in _RESTORES else _BY_NAME.get(name, Needs.NOTHING)


def hardest(commands: Sequence[Args]) -> tuple[Needs, Args]:
    """What a replica must know to follow these, which take effect together, and for the sake of which of them: it drops all
    of a transaction when there is one that it does not know."""
    found = max(commands, key=needs)
    need = needs(found)
    return (Needs.NEWER if need is Needs.FIELD_TIMES and len(commands) > 1 else need), found


def units(unit: Unit) -> Iterator[Unit]:
    """The same in parts, of which each that tells of fields' times is one command."""
    part: list[tuple[int, Args]] = []
    for one in unit:
        if needs(one[1]) is not Needs.FIELD_TIMES:
            part.append(one)
            continue
        if part:
            yield part
            part = []
        yield [one]
    if part:
        yield part


def known_by(announced: Announced, foreign_have_modules: bool) -> Needs:
    """What a replica knows, by what it has said of itself.

    foreign_have_modules: the setting `foreign-replicas-have-modules`. One that told no port, or wants the payload alone,
    is a tool that takes the data as it is.
    """
    if announced.own or announced.rdb_only or not announced.port or foreign_have_modules:
        return Needs.MODULES
    return Needs.NEWER if expires_fields(rdb_version_for_replica(announced.version)) else Needs.NOTHING


class Unreadable:
    """The value that was last found in the way of replicas without modules."""

    def __init__(self) -> None:
        self._found: tuple[int, bytes] | None = None

    def note(self, database: int, key: bytes) -> None:
        """There is, or will be in a moment, such a value."""
        self._found = database, key

    def still_there(self, databases: Sequence[Database]) -> str:
        """What is in the way, in words; "" when nothing is that we know of."""
        if self._found is None:
            return ""
        number, key = self._found
        database = databases[number]
        value = database.slots[database.slot_of(key)].get(key)
        if type(value) in MODULE_CLASSES:
            return f"{KINDS[type(value)].name} at '{key.decode('utf-8', 'backslashreplace')}'"
        self._found = None
        return ""
