"""Commands that wait for a key: BLPOP and its kin. Who waits, in which order, and when they are tried again. No I/O.

A blocking command is written as if it did not block: it looks, and when there is nothing it says so with

    return ctx.block(keys, timeout_ms, reply_at_timeout)

Its client then waits. When one of the keys changes, the command is simply run again, in the order in which the clients
came; it either finds something now or says the same again, and its client goes on waiting. Inside MULTI nobody may wait:
there `ctx.block` is the timeout at once. (Redis 7.2 works in the same way: `blocked.c`.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.slots import key_slot
from node.client import Client, Unusual
from node.errors import CommandError
from node.gate import Deferred
from node.keyspace import Database
from node.registry import Args, Command, Flag
from node.resp import Reply

if TYPE_CHECKING:
    from node.state import Node

UNBLOCKED_BY_ROLE = (
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)

NOT_YET: Final = object()
"""What `ctx.block` gives to a command that was run again and still found nothing."""

WaitedKey = tuple[int, bytes]
"""Number of the database, key."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One client that waits. args: the request to run again."""

    client: Client
    command: Command
    args: Args
    keys: tuple[WaitedKey, ...]
    deferred: Deferred
    deadline_ms: int | None
    timeout_reply: Reply
    retry_ms: int | None = None
    """When to try again even if nothing has changed."""


class Blocking:
    """Who waits for which key. An `Observer` of the node only while somebody does."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._by_key: dict[WaitedKey, dict[Client, Waiter]] = {}
        self._by_client: dict[Client, Waiter] = {}
        self.ready: deque[WaitedKey] = deque()
        """Keys that somebody waits for and that have changed since `serve`."""

    @property
    def keys_count(self) -> int:
        """How many keys are waited for (INFO total_blocking_keys)."""
        return len(self._by_key)

    @property
    def timeouts_count(self) -> int:
        """How many clients wait with a timeout (INFO clients_in_timeout_table)."""
        return sum(waiter.deadline_ms is not None for waiter in self._by_client.values())

    # Waiting ------------------------------------------------------------------------------------------------------

    def wait(
        self, client: Client, request: tuple[Command, Args], keys: Sequence[bytes], timeout_ms: int, at_timeout: Reply
    ) -> Deferred:
        """Let a client wait until one of the keys gives it something. timeout_ms: 0 for as long as it takes."""
        command, args = request
        now_ms = self._node.now_ms
        waiter = Waiter(
            client=client,
            command=command,
            args=args,
            keys=tuple(dict.fromkeys((client.database.index, key) for key in keys)),
            deferred=Deferred(pauses=True),
            deadline_ms=now_ms + timeout_ms if timeout_ms else None,
            timeout_reply=at_timeout,
        )
        self._by_client[client] = waiter
        for key in waiter.keys:
            self._by_key.setdefault(key, {})[client] = waiter
        if self not in self._node.observers:
            self._node.observers.append(self)
        if timeout_ms:
            self._node.io.call_later(timeout_ms + 1, self._node.time_out_clients)  # Clocks count whole ms.
        return waiter.deferred

    def retry_at(self, client: Client, time_ms: int) -> None:
        """There may be something for this client at this time although nothing changes until then, if it still waits."""
        waiter = self._by_client.get(client)
        if waiter is None or (waiter.retry_ms is not None and waiter.retry_ms <= time_ms):
            return
        waiter.retry_ms = time_ms
        self._node.io.call_later(max(0, time_ms - self._node.now_ms) + 1, self._node.time_out_clients)

    def unblock(self, client: Client, reply: Reply) -> bool:
        """Answer a client that waits here. False when it does not."""
        waiter = self._by_client.get(client)
        if waiter is None:
            return False
        self.forget(client)
        waiter.deferred.resolve(reply)
        return True

    def time_out(self, client: Client) -> bool:
        """Answer as at the timeout (CLIENT UNBLOCK). False when the client does not wait here."""
        waiter = self._by_client.get(client)
        return waiter is not None and self.unblock(client, waiter.timeout_reply)

    def forget(self, client: Client) -> None:
        """The client waits no longer."""
        waiter = self._by_client.pop(client, None)
        if waiter is None:
            return
        for key in waiter.keys:
            waiting = self._by_key[key]
            del waiting[client]
            if not waiting:
                del self._by_key[key]
        if not self._by_client and self in self._node.observers:
            self._node.observers.remove(self)

    def tick(self, now_ms: int) -> None:
        """Answer those whose time is up, and try those again that asked for it."""
        for waiter in list(self._by_client.values()):
            if waiter.deadline_ms is not None and waiter.deadline_ms <= now_ms:
                self.unblock(waiter.client, waiter.timeout_reply)
            elif waiter.retry_ms is not None and waiter.retry_ms <= now_ms:
                waiter.retry_ms = None
                self._try(waiter)

    def recheck(self) -> None:
        """The node's role, or the slots it serves, have changed: nobody goes on waiting for what comes elsewhere."""
        for waiter in list(self._by_client.values()):
            if waiter.command.flags & Flag.WRITE and self._node.unusual & Unusual.REPLICA:
                self.unblock(waiter.client, CommandError(UNBLOCKED_BY_ROLE))
                continue
            try:
                self._node.executor.point(waiter.client, waiter.command, waiter.args, waiter.client.unusual)
            except CommandError as error:
                self.unblock(waiter.client, error)

    def slots_changed(self) -> None:
        """Slots have other owners, or are on the move: whose keys are elsewhere is sent there (MOVED, ASK). What comes to
        this node is waited for by those who were ASKING, and goes on to be."""
        cluster = self._node.cluster
        for waiter in list(self._by_client.values()):
            if cluster is None or key_slot(waiter.keys[0][1]) in cluster.slotmap.importing:
                continue
            try:
                self._node.executor.point(waiter.client, waiter.command, waiter.args, waiter.client.unusual)
            except CommandError as error:
                if error.code in ("MOVED", "ASK"):
                    self.unblock(waiter.client, error)

    # Observer -----------------------------------------------------------------------------------------------------

    def changed(self, database: Database, event: str, key: bytes) -> None:
        """A key was changed: whoever waits for it is tried when the command that did it is done."""
        changed = (database.index, key)
        if changed in self._by_key:
            self.ready.append(changed)

    def replaced(self, database: Database, by: Database | None) -> None:
        """SWAPDB: what is waited for may be in the database that comes."""
        if by is not None:
            self.ready.extend(one for one in self._by_key if one[0] == database.index and one[1] in by.keys_of(one[1]))

    # Serving ------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Run again what waits for the keys that have changed, first come first served."""
        while self.ready:
            key = self.ready.popleft()
            for waiter in list(self._by_key.get(key, {}).values()):
                if self._by_client.get(waiter.client) is waiter:
                    self._try(waiter)

    def serve_all(self) -> None:
        """Run again whatever waits: something may have been held up that was not for want of a key."""
        self.ready.extend(self._by_key)
        self.serve()

    def _try(self, waiter: Waiter) -> None:
        try:
            reply = self._node.executor.run_again(waiter.client, waiter.command, waiter.args)
        except CommandError as error:
            reply = error
        if reply is not NOT_YET:
            self.unblock(waiter.client, reply)
