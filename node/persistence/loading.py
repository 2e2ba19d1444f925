"""A node's RDB file, read when it starts. I/O: reads the file, and a clock for how long a turn lasts.

The node listens from the start and answers -LOADING; loading takes its turns of a few milliseconds between requests. A
file that can not be read to its end stops the start: the log says where it is damaged, and nothing is written over it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from node.client import Unusual
from node.logs import NOTICE
from node.persistence.errors import RdbError
from node.persistence.rdb import RdbReader
from node.persistence.records import Aux, Header, Key, Record, Resize, SelectDb, SlotImport, SlotInfo
from node.persistence.saving import SHARD

if TYPE_CHECKING:
    from node.state import Node

log = logging.getLogger("hashslot")

CHUNK_BYTES = 32 * 1024
_TURN_NS = 3_000_000
_FACTS = (Header, Aux, Resize, SelectDb, SlotImport, SlotInfo)


class LoadError(Exception):
    """The data can not be loaded; the text names file, offset and reason."""


class Loading:
    """Puts a file's keys into a node's databases, turn by turn.

    done: called once, with the error or None, when there is nothing more to do.
    """

    def __init__(self, node: Node, path: Path, done: Callable[[LoadError | None], None]) -> None:
        self._node = node
        self._path = path
        self._done = done
        self._file: BinaryIO | None = None
        self._error: LoadError | None = None
        self._reader = RdbReader()
        self._started = False
        self._place: dict[bytes, bytes] = {}
        self._is_replica = False
        self.began_ms = node.now_ms
        self.size = 0
        """Of the file, in bytes."""
        self.read = 0
        self.keys = 0
        self.expired = 0

    def look(self) -> None:
        """Open the file, and read of it how far the data is: a cluster must know that before it is asked."""
        try:
            self._file = open(self._path, "rb")  # noqa: SIM115 - open for as long as loading lasts
            self.size = self._path.stat().st_size
        except FileNotFoundError:
            return
        except OSError as error:
            self._error = LoadError(f"Fatal error: can't open the RDB file {self._path} for reading: {error.strerror}")
            return
        node = self._node
        node.loading = self
        node.mark(Unusual.LOADING, True)
        self._is_replica = node.replication.is_replica or (node.cluster is not None and node.cluster.myself.is_replica)
        log.log(NOTICE, "Loading RDB from %s, %d bytes", self._path, self.size)
        try:
            self._read_chunk()
        except (RdbError, OSError, LoadError) as error:
            self._error = self._failure(error)

    def begin(self) -> None:
        """Load the rest. When there is nothing to load, `done` is called before this returns. To be called after `look`."""
        if self._error is not None or self._file is None:
            self._end(self._error)
        else:
            self._node.io.call_later(0, self._turn)

    def info(self, now_ms: int) -> dict[str, object]:
        """The fields of INFO persistence that there are only while loading."""
        elapsed_s = max(0, now_ms - self.began_ms) / 1000
        share = self.read / self.size if self.size else 0.0
        return {
            "loading_start_time": self.began_ms // 1000,
            "loading_total_bytes": self.size,
            "loading_rdb_used_mem": 0,
            "loading_loaded_bytes": self.read,
            "loading_loaded_perc": f"{100 * share:.2f}",
            "loading_eta_seconds": int(elapsed_s * (1 - share) / share) if share else 1,
        }

    def _turn(self) -> None:
        """Load for a few milliseconds."""
        if self._file is None:
            return
        began_ns = time.perf_counter_ns()
        try:
            while time.perf_counter_ns() - began_ns < _TURN_NS:
                if not self._read_chunk():
                    self._reader.close()
                    self._finish()
                    return
        except (RdbError, OSError, LoadError) as error:
            self._end(self._failure(error))
            return
        self._node.io.call_later(0, self._turn)

    def _read_chunk(self) -> bool:
        """Take in a piece of the file; False at its end."""
        assert self._file is not None
        chunk = self._file.read(CHUNK_BYTES)
        self.read += len(chunk)
        self._store(self._reader.feed(chunk))
        return bool(chunk)

    def _store(self, records: list[Record]) -> None:
        databases = self._node.databases
        for record in records:
            if type(record) is not Key:
                if type(record) is Aux:
                    self._place[record.name] = record.value
                elif not self._started and type(record) not in _FACTS:
                    self._restore_history()
                continue
            if not self._started:
                self._restore_history()
            if record.db >= len(databases):
                raise LoadError(f"it has a database {record.db}, this node has {len(databases)} (databases)")
            database = databases[record.db]
            if record.expire_ms is not None and record.expire_ms <= self._node.now_ms and not self._is_replica:
                self.expired += 1
                if self._node.replication.feeding:
                    self._node.replication.feed(record.db, [b"DEL", record.key])
                continue
            keys = database.keys_of(record.key)
            if record.key in keys:
                raise LoadError(f"it has the key {record.key[:128]!r} twice")
            database.store(record.key, record.value, record.expire_ms)
            self.keys += 1

    def _restore_history(self) -> None:
        """Before the first key: which point of which replication history this is."""
        self._started = True
        replid = self._place.get(b"repl-id", b"")
        offset = self._place.get(b"repl-offset", b"")
        database = self._place.get(b"repl-stream-db", b"0")
        node = self._node
        replication = node.replication
        if len(replid) == 40 and replid.isalnum() and offset.isdigit():
            number = int(database) if database.isdigit() else 0
            written = self._place.get(b"ctime", b"")
            age_ms = max(0, node.now_ms - int(written) * 1000) if written.isdigit() else 0
            replication.resume(replid.decode(), int(offset), number, age_ms, as_replica=self._is_replica)
            if node.cluster is not None and SHARD in self._place:
                node.cluster.data_loaded(self._place[SHARD].decode("latin-1"), int(offset))
        elif offset.isdigit():
            replication.offset = int(offset)

    def _finish(self) -> None:
        if self._reader.empty_keys:
            log.log(NOTICE, "%d empty keys of the RDB file were passed over", self._reader.empty_keys)
        node = self._node
        node.note_field_deadlines()
        node.saving.loaded_keys, node.saving.loaded_expired = self.keys, self.expired
        node.replication.counted = not self.keys or self._place.get(b"repl-offset", b"").isdigit()
        node.replication.flush()
        elapsed_s = (node.io.clock_ms() - self.began_ms) / 1000
        log.log(NOTICE, "Done loading RDB, keys loaded: %d, keys expired: %d.", self.keys, self.expired)
        log.log(NOTICE, "DB loaded from disk: %.3f seconds", elapsed_s)
        self._end(None)

    def _failure(self, error: Exception) -> LoadError:
        if isinstance(error, RdbError):
            where = f"at offset {error.offset}: " if error.offset is not None else ""
            reason = error.reason
        else:
            where = f"at offset {self._reader.offset}: "
            reason = str(error)
        text = f"The RDB file {self._path} can not be loaded, {where}{reason}. It is left as it is; move it away to start"
        return LoadError(text + " without it.")

    def _end(self, error: LoadError | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if error is None:
            self._node.mark(Unusual.LOADING, False)
            self._node.loading = None
        self._done(error)
