"""What leaves for one export: the keys of its slots, in slices, and the changes of them behind. No I/O of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cluster import migration
from cluster.migration import Export
from node import resp
from node.migration.walk import SlotWalk
from node.persistence.options import SaveOptions
from node.registry import Args
from node.replication.foreign import Needs, needs

if TYPE_CHECKING:
    from node.migration.jobs import Migrations
    from node.state import Node

COST_PER_SLICE = 2048
"""Small strings of one slice: about a millisecond."""
CONGESTED_BYTES = 256 * 1024
"""Unsent bytes above which the walk waits."""
_CONGESTED_RETRY_MS = 1
_BACKLOG_RETRY_MS = 2


class Sender:
    """The way out to one target. unsent_bytes: what waits to leave."""

    def __init__(
        self, node: Node, migrations: Migrations, job: Export,
        write: Callable[[bytes], None], unsent: Callable[[], int], close: Callable[[], None],
    ) -> None:
        self._node = node
        self._migrations = migrations
        self._job = job
        self._write = write
        self._unsent = unsent
        self._close = close
        self._out: list[bytes] = []
        self._flushing = False
        self._walk: SlotWalk | None = None
        self._held = -1
        self._closed = False

    @property
    def unsent_bytes(self) -> int:
        return 0 if self._closed else self._unsent() + sum(map(len, self._out))

    @property
    def why_refused(self) -> str:
        """What a target that has ended the connection may not have liked; "" when nothing is known."""
        key = None if self._walk is None else self._walk.module_key
        if key is None:
            return ""
        shown = key.decode("utf-8", "backslashreplace")
        return f" It was sent values of modules' types, such as '{shown}': it must have the modules for them."

    def say(self, data: bytes) -> None:
        """Send this behind everything before it, now."""
        self._out.append(data)
        self.flush()

    def feed(self, slot: int, args: Args) -> None:
        """A key of this slot was changed: send it on, if what is sent of the slot does not contain it anyway."""
        walk = self._walk
        if walk is None or not walk.is_sent(slot):
            return
        self._out += walk.take()
        self._out.append(resp.request(args))
        if len(args) > 1 and needs(args) is Needs.MODULES:
            walk.module_key = args[1]
        if not self._flushing:
            self._flushing = True
            self._node.io.call_later(0, self.flush)

    def flush(self) -> None:
        """Hand over what has come together."""
        self._flushing = False
        if not self._out or self._closed:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._migrations.export_bytes += len(data)
        self._write(data)
        limit = self._node.config.client_output_buffer_limit.replica
        if limit.hard and self._unsent() > limit.hard:
            self._migrations.step(self._job, migration.Broken("The target does not keep up (client-output-buffer-limit)"))

    # The keys -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Send the keys, from now on in every turn of the loop a few."""
        node = self._node
        self._walk = SlotWalk(node.databases[0], self._job.slots, SaveOptions(version=11))
        self._out.append(resp.request([b"SELECT", b"0"]))
        node.io.call_later(0, self._step)

    def _step(self) -> None:
        walk = self._walk
        if walk is None or self._closed:
            return
        if self._unsent() > CONGESTED_BYTES:
            self._node.io.call_later(_CONGESTED_RETRY_MS, self._step)
            return
        try:
            walk.step(COST_PER_SLICE)
        except TypeError as error:
            self._migrations.step(self._job, migration.Broken(f"A key can not be sent: {error}"))
            return
        self._out += walk.take()
        self._hold(walk.held)
        self.flush()
        if self._closed:
            return
        if walk.finished:
            self._migrations.step(self._job, migration.SnapshotSent())
        else:
            self._node.io.call_later(0, self._step)

    def _hold(self, slot: int) -> None:
        if slot == self._held:
            return
        before, self._held = self._held, slot
        if slot >= 0:
            self._migrations.hold([slot], True)
        if before >= 0:
            self._migrations.hold([before], False)

    # The end ------------------------------------------------------------------------------------------------------

    def watch_backlog(self) -> None:
        """Say Drained when little enough waits to leave (slot-migration-max-failover-repl-bytes; -1: at once)."""
        if self._closed:
            return
        most = self._node.config.slot_migration_max_failover_repl_bytes
        self.flush()
        if most < 0 or self.unsent_bytes <= most:
            self._migrations.step(self._job, migration.Drained())
        else:
            self._node.io.call_later(_BACKLOG_RETRY_MS, self.watch_backlog)

    def close(self) -> None:
        """End everything."""
        self._closed = True
        self._hold(-1)
        if self._walk is not None:
            self._walk.close()
        self._close()
