"""CLUSTER MIGRATION IMPORT as Redis 8.4 has it: asked of the target, which tells the source to migrate. No I/O.

A task is what the caller was promised; the job that the source then begins does the work. Both sides' jobs are shown as
tasks, in Redis's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster import migration
from cluster.migration import ENDED, Export, Import, Job, Stage
from cluster.slots import SlotRange, format_range
from gossip.ids import NodeId, random_id
from node.resp import Reply

if TYPE_CHECKING:
    from node.migration.jobs import Migrations
    from node.state import Node

_STATES = {
    Stage.CONNECTING: "connecting",
    Stage.SENDING_AUTH: "auth-reply",
    Stage.READING_AUTH: "auth-reply",
    Stage.SENDING_ESTABLISH: "wait-rdbchannel",
    Stage.READING_ESTABLISH: "wait-rdbchannel",
    Stage.WAITING_TO_SNAPSHOT: "wait-bgsave-start",
    Stage.SNAPSHOTTING: "send-bulk-and-stream",
    Stage.REPLICATING: "send-stream",
    Stage.WAITING_TO_PAUSE: "handoff-prep",
    Stage.FAILOVER_PAUSED: "handoff",
    Stage.WAITING_FOR_ACK: "syncslots-reply",
    Stage.RECEIVING_SNAPSHOT: "accumulate-buffer",
    Stage.WAITING_FOR_PAUSED: "streaming-buffer",
    Stage.FAILOVER_REQUESTED: "wait-stream-eof",
    Stage.CLEANING_UP: "failed",
    Stage.SUCCESS: "completed",
    Stage.CANCELLED: "canceled",
    Stage.FAILED: "failed",
}


@dataclass(slots=True, eq=False)
class Task:
    """What a caller of IMPORT was promised. Times are those of the jobs' clock; state: until there is a job."""

    id: str
    source: NodeId
    ranges: tuple[SlotRange, ...]
    created_ms: int
    state: str = "connecting"
    error: str = ""
    ended_ms: int = 0
    job: Import | None = None


class Tasks:
    """The tasks that were asked for here, the newest first."""

    def __init__(self, node: Node, migrations: Migrations) -> None:
        self._node = node
        self._migrations = migrations
        self._tasks: list[Task] = []

    def create(self, source: NodeId, ranges: Sequence[SlotRange]) -> str:
        """Have these slots of another node brought here. Returns the task's id."""
        migrations = self._migrations
        task = Task(random_id(self._node.random), source, tuple(ranges), migrations.clock_ms())
        self._tasks.insert(0, task)
        del self._tasks[self._node.config.cluster_slot_migration_log_max_len + 1 :]

        def done(error: str) -> None:
            if error and task.job is None and task.state == "connecting":
                self._end(task, "failed", error)

        if migrations.network is None:
            done("this node has no network")
        else:
            migrations.network.order(source, ranges, done)
        return task.id

    def begun(self, job: Import) -> None:
        """The source has begun: whose task is that?"""
        for task in self._tasks:
            if task.state == "connecting" and task.source == job.source and task.ranges == job.ranges:
                task.job, task.state = job, "running"
                return

    def ended(self, job: Job) -> None:
        """A job is over."""
        for task in self._tasks:
            if task.job is job:
                self._end(task, _STATES[job.stage], job.message)

    def _end(self, task: Task, state: str, error: str) -> None:
        task.state, task.error, task.ended_ms = state, error, self._migrations.clock_ms()

    @property
    def is_waiting(self) -> bool:
        """Whether a task has not even begun."""
        return any(task.state == "connecting" for task in self._tasks)

    def cancel(self, wanted: str | None) -> int:
        """CANCEL ID, or ALL (None). Returns how many there were to cancel."""
        migrations, count = self._migrations, 0
        ours = {id(task.job): task.id for task in self._tasks if task.job is not None}
        for task in self._tasks:
            if task.state == "connecting" and wanted in (None, task.id):
                self._end(task, "canceled", "user request")
                count += 1
        for job in list(migrations.jobs):
            if job.in_progress and wanted in (None, job.name, ours.get(id(job))):
                migrations.step(job, migration.Cancel())
                count += job.stage in ENDED or job.stage is Stage.CLEANING_UP
        return count

    def status(self, wanted: str | None) -> list[Reply]:
        """STATUS ID, or ALL (None)."""
        ours = {id(task.job): task for task in self._tasks if task.job is not None}
        found: list[Reply] = [
            self._shown(task, None) for task in self._tasks if task.job is None and wanted in (None, task.id)
        ]
        for job in self._migrations.jobs:
            task = ours.get(id(job))
            if wanted in (None, job.name, None if task is None else task.id) and not getattr(job, "tracking", False):
                found.append(self._shown(task, job))
        return found

    def _shown(self, task: Task | None, job: Job | None) -> dict[bytes, Reply]:
        migrations, cluster = self._migrations, self._node.cluster
        assert cluster is not None and (task is not None or job is not None)
        if job is None:
            assert task is not None
            source, dest, ranges = task.source, cluster.myself.id, task.ranges
            state, error, created_ms = task.state, task.error, task.created_ms
            ended_ms, pause_ms = task.ended_ms, 0
        else:
            source, dest, ranges, error = job.source, job.target, job.ranges, job.message
            created_ms = job.created_ms if task is None else task.created_ms
            ended_ms = job.updated_ms if job.stage in ENDED else 0
            taken = "takeover" if isinstance(job, Import) else "stream-eof"
            state = _STATES.get(job.stage, taken)
            pause_ms = job.paused_ms if isinstance(job, Export) and job.stage is Stage.SUCCESS else 0
        return {
            b"id": (task.id if task is not None else job.name if job is not None else "").encode(),
            b"slots": " ".join(map(format_range, ranges)).encode(),
            b"source": source.encode(),
            b"dest": dest.encode(),
            b"operation": b"migrate" if isinstance(job, Export) else b"import",
            b"state": state.encode(),
            b"last_error": error.encode(),
            b"retries": 0,
            b"create_time": migrations.shown_ms(created_ms),
            b"start_time": migrations.shown_ms(created_ms if job is None else job.created_ms),
            b"end_time": migrations.shown_ms(ended_ms) if ended_ms else 0,
            b"write_pause_ms": pause_ms,
        }
