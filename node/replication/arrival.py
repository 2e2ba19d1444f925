"""A full sync's payload that waits in a file until it is whole, and then takes the place of the old data.

A node that has data must not hold it twice, so (as with Redis's `repl-diskless-load disabled`) what arrives is not read
but written to an unnamed file. When it is whole, the old data goes and the new is loaded in turns of a few milliseconds;
clients are answered -LOADING meanwhile. Its end no longer depends on the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from node.client import Unusual
from node.persistence.errors import RdbError
from node.persistence.rdb import RdbReader
from node.persistence.records import Aux, Key, SlotImport
from node.replication.spool import Spool

if TYPE_CHECKING:
    from node.replication.state import Replication
    from node.state import Node

BYTES_PER_SLICE = 32 * 1024


class Arrival:
    """One payload. done: called at the end with what went wrong ("" if nothing) and the stream's database."""

    def __init__(self, node: Node, replication: Replication) -> None:
        self._node = node
        self._replication = replication
        self._spool: Spool | None = Spool(node.config.dir)
        self._reader = RdbReader()
        self._position = 0
        self._database = 0
        self._done: Callable[[str, int], None] | None = None
        self.imports: list[SlotImport] = []
        """What the primary was importing: the keys are among the data, but nobody may see them yet."""

    @property
    def loading(self) -> bool:
        """Whether the old data is gone and the new is on its way in."""
        return self._done is not None

    def keep(self, data: bytes) -> None:
        """Bytes of the payload. Errors: OSError when the disk is full."""
        if self._spool is not None:
            self._spool.write(data)

    def load(self, done: Callable[[str, int], None]) -> None:
        """It is whole: from here on it is our data."""
        self._done = done
        node = self._node
        self._replication.lose_data()
        node.mark(Unusual.LOADING, True)
        node.io.call_later(0, self._turn)

    def drop(self) -> None:
        """Forget it. What of it was loaded is no data of anybody."""
        if self._spool is None:
            return
        self._spool.close()
        self._spool = None
        if self._done is not None:
            self._done = None
            self._replication.lose_data()
            self._node.mark(Unusual.LOADING, False)

    def _turn(self) -> None:
        spool, done = self._spool, self._done
        if spool is None or done is None:
            return
        error = ""
        try:
            data = spool.read(self._position, BYTES_PER_SLICE)
            self._position += len(data)
            if data:
                self._store(data)
                self._node.io.call_later(0, self._turn)
                return
            self._reader.close()
        except (RdbError, OSError) as why:
            error = str(why)
        node = self._node
        if error:
            self.drop()
        else:
            spool.close()
            self._spool = None
            node.mark(Unusual.LOADING, False)
            node.note_field_deadlines()
            node.dirty += sum(map(len, node.databases))
        done(error, self._database)

    def _store(self, data: bytes) -> None:
        databases = self._node.databases
        for record in self._reader.feed(data):
            if type(record) is Key:
                if record.db >= len(databases):
                    raise RdbError(f"it has a database {record.db}, we have {len(databases)}")
                databases[record.db].store(record.key, record.value, record.expire_ms)
            elif type(record) is SlotImport:
                self.imports.append(record)
            elif type(record) is Aux and record.name == b"repl-stream-db" and record.value.isdigit():
                self._database = int(record.value)
