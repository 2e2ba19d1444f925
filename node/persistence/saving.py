"""When and how a node's data is saved to its RDB file: SAVE, BGSAVE and the save points. Without a fork.

A save in the background is a walk over the data (`replication/snapshot.py`) that takes its turns between requests, and
writes each key as it was when the save began. What the file says of the replication history (`repl-id`, `repl-offset`)
is that moment's too, so that whoever starts from it goes on exactly there. A cluster's node adds of which shard that is
(`SHARD`), for a replica that is restarted together with its primary (`cluster/restarts.py`); others pass over it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from node.client import Unusual
from node.logs import NOTICE
from node.persistence.options import (
    RDB_VERSION,
    RDB_VERSION_FIELD_DEADLINES,
    EncodingLimits,
    SaveOptions,
)
from node.persistence.rdb import standard_aux
from node.persistence.snapshot_file import SnapshotFile
from node.replication.snapshot import SnapshotWalk

if TYPE_CHECKING:
    from node.state import Node

log = logging.getLogger("hashslot")

KEYS_PER_SLICE = 512
BYTES_PER_SLICE = 24 * 1024
_KEYS_AT_ONCE = 1 << 14
_BYTES_AT_ONCE = 1 << 20
_DISK_POLL_MS = 2
SHARD = b"hashslot-shard"
_RETRY_MS = 5000
"""After a save that failed, the save points wait so long before they try again."""


@dataclass(slots=True, eq=False)
class _Save:
    """One save in the background. walk, file: None until its first turn."""

    began_ms: int
    dirty: int = 0
    walk: SnapshotWalk | None = None
    file: SnapshotFile | None = None


class Saving:
    """Saves one node's data. Times are unix ms. What the fields of INFO persistence say is here."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.last_ok = True
        self.last_duration_s = -1
        self.saves = 0
        """How many were begun."""
        self.allowed = True
        """Whether the file may be replaced: not while it is being loaded, nor after it could not be."""
        self.loaded_keys = 0
        self.loaded_expired = 0
        """Of the file that the data came from: keys that were loaded, and keys whose time had come."""
        self._save: _Save | None = None
        self._tried_ms = 0
        for name in ("stop-writes-on-bgsave-error", "save"):
            node.config.on_change(name, self._settings_changed)

    @property
    def path(self) -> Path:
        """Where the file is, or would be."""
        return Path(self._node.config.dir) / self._node.config.dbfilename

    @property
    def in_progress(self) -> bool:
        """Whether a save in the background is under way."""
        return self._save is not None

    @property
    def wanted(self) -> bool:
        """Whether this node is to keep its data on disk by itself: it has save points."""
        return bool(self._node.config.save) and bool(self._node.config.dbfilename)

    def progress(self, now_ms: int) -> tuple[int, int, int]:
        """Of the save under way: seconds since it began (-1 for none), keys written, keys in all."""
        save = self._save
        if save is None:
            return -1, 0, 0
        walk = save.walk
        return (now_ms - save.began_ms) // 1000, walk.written if walk else 0, walk.total if walk else 0

    # Saving -------------------------------------------------------------------------------------------------------

    def save_now(self) -> None:
        """Save while everybody waits. OSError when it fails; the file is then what it was before."""
        self.stop()
        node = self._node
        began_ms = node.now_ms
        self.saves += 1
        try:
            file = SnapshotFile(self.path)
        except OSError:
            self._ended(False, began_ms)
            raise
        walk = self._walk()
        try:
            while not walk.finished:
                file.write(walk.step(_KEYS_AT_ONCE, _BYTES_AT_ONCE))
            file.finish()
        except BaseException:
            walk.close()
            file.drop()
            self._ended(False, began_ms)
            raise
        node.dirty = 0
        log.log(NOTICE, "DB saved on disk")
        self._ended(True, began_ms)

    def begin(self) -> None:
        """Save in the background, from the next loop turn on. One that is under way begins anew."""
        self.stop()
        save = self._save = _Save(self._node.now_ms)
        self.saves += 1
        self._tried_ms = self._node.now_ms
        log.log(NOTICE, "Background saving started")
        self._node.io.call_later(0, lambda: self._step(save))

    def stop(self) -> None:
        """Give up the save under way. What is on disk stays."""
        save, self._save = self._save, None
        if save is None:
            return
        self._drop(save)
        log.log(NOTICE, "Background saving given up")

    def _drop(self, save: _Save) -> None:
        if save.walk is not None:
            save.walk.close()
        if save.file is not None:
            save.file.drop()

    def _step(self, save: _Save) -> None:
        if save is not self._save:
            return
        try:
            delay_ms = self._advance(save)
        except (OSError, TypeError) as error:
            self._save = None
            self._drop(save)
            log.warning("Background saving error: %s", error)
            self._ended(False, save.began_ms)
            return
        if delay_ms is not None:
            self._node.io.call_later(delay_ms, lambda: self._step(save))
            return
        self._save = None
        self._node.dirty = max(0, self._node.dirty - save.dirty)
        log.log(NOTICE, "Background saving terminated with success")
        self._ended(True, save.began_ms)

    def _advance(self, save: _Save) -> int | None:
        """One slice. How many ms until the next; None when all is on disk."""
        if save.file is None:
            save.file = SnapshotFile(self.path)
        if save.walk is None:
            save.walk = self._walk()
            save.dirty = self._node.dirty
        if not save.walk.finished:
            save.file.write(save.walk.step(KEYS_PER_SLICE, BYTES_PER_SLICE))
            if save.walk.finished:
                save.file.finish_soon()
            return 0
        return None if save.file.finished() else _DISK_POLL_MS

    def _walk(self) -> SnapshotWalk:
        node = self._node
        replication = node.replication
        replication.flush()
        place = replication.place()
        aux = standard_aux(replication.server_version, node.now_ms // 1000, 0, False, place)
        if place is None and replication.offset and replication.counted:
            aux.append((b"repl-offset", replication.offset))  # No history, but what comes after is counted on from there.
        if node.cluster is not None and replication.offset:
            aux.append((SHARD, node.cluster.shard.encode()))
        return SnapshotWalk(node.databases, self._options(), aux, free=node.io.free_later)

    def _options(self) -> SaveOptions:
        """As Redis 7.2 writes; as Redis 7.4 when fields of hashes expire, which an older form can not say."""
        config = self._node.config
        expiring = any(database.fields_due_ms is not None for database in self._node.databases)
        return SaveOptions(
            limits=EncodingLimits(config.hash_max_listpack_entries, config.hash_max_listpack_value),
            compress=config.rdbcompression,
            version=RDB_VERSION_FIELD_DEADLINES if expiring else RDB_VERSION,
        )

    def _ended(self, ok: bool, began_ms: int) -> None:
        node = self._node
        self.last_ok = ok
        self.last_duration_s = (node.now_ms - began_ms) // 1000
        self._tried_ms = node.now_ms
        if ok:
            node.last_save_ms = node.now_ms
        self.refresh()

    # Save points --------------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Ten times a second: begin a save when a save point asks for it."""
        node = self._node
        if self._save is not None or not self.allowed or not self.wanted:
            return
        if not self.last_ok and now_ms - self._tried_ms <= _RETRY_MS:
            return
        since_ms = now_ms - node.last_save_ms
        for seconds, changes in node.config.save:
            if node.dirty >= changes and since_ms > seconds * 1000:
                log.log(NOTICE, "%d changes in %d seconds. Saving...", changes, seconds)
                self.begin()
                return

    def emptied(self) -> None:
        """All data was dropped on purpose (FLUSHALL): the file must not bring it back, as in Redis."""
        if self.allowed and (self.wanted or self._save is not None):
            self.begin()

    def _settings_changed(self, value: object) -> str | None:
        self.refresh()
        return None

    def refresh(self) -> None:
        """Recompute whether writes are refused because the last save failed (stop-writes-on-bgsave-error)."""
        config = self._node.config
        failed = config.stop_writes_on_bgsave_error and bool(config.save) and not self.last_ok
        self._node.mark(Unusual.SAVE_FAILED, failed)
