"""MULTI and WATCH: what a client has queued, and whether what it watches has changed. No I/O.

Defined at https://redis.io/docs/interact/transactions/ and in Redis's `multi.c`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from node.client import Client, Unusual
from node.keyspace import Database
from node.registry import Args, Command, Flag

if TYPE_CHECKING:
    from node.state import Node

RUN_AT_ONCE = frozenset(("exec", "discard", "multi", "watch", "quit", "reset"))
"""What a client in MULTI does not queue. (MULTI and WATCH answer with an error then.)"""

WatchedKey = tuple[int, bytes]
"""Number of the database, key."""


class Transaction:
    """One client's MULTI and WATCH.

    queued: None outside of MULTI. aborted: a request could not be queued, so EXEC will refuse. touched: a watched key was
    changed. watched: the keys, and whether each had expired already when it was watched.
    """

    __slots__ = ("aborted", "queued", "touched", "watched")

    def __init__(self) -> None:
        self.queued: list[tuple[Command, Args]] | None = None
        self.aborted = False
        self.touched = False
        self.watched: dict[WatchedKey, bool] = {}

    def queue(self, command: Command, args: Args) -> str:
        """Keep a request for EXEC. Returns the reply to it."""
        assert self.queued is not None
        self.queued.append((command, args))
        return "QUEUED"

    @property
    def writes(self) -> bool:
        """Whether anything queued may change data."""
        return any(command.flags & (Flag.WRITE | Flag.MAY_REPLICATE) for command, _ in self.queued or ())


class Watches:
    """Who watches which key. An `Observer` of the node only while somebody does, so that nobody else pays for it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._clients: dict[WatchedKey, set[Client]] = {}

    # What clients do ----------------------------------------------------------------------------------------------

    def watch(self, client: Client, keys: Iterable[bytes]) -> None:
        """WATCH: from now on a change of one of these keys fails the client's next EXEC."""
        transaction = client.transaction = client.transaction or Transaction()
        for key in keys:
            watched = (client.database.index, key)
            if watched in transaction.watched:
                continue
            transaction.watched[watched] = self._is_expired(client.database, key)
            self._clients.setdefault(watched, set()).add(client)
        if self not in self._node.observers:
            self._node.observers.append(self)

    def unwatch(self, client: Client) -> None:
        """Forget everything that the client watches (UNWATCH, EXEC, DISCARD, the client is gone)."""
        transaction = client.transaction
        if transaction is None:
            return
        for watched in transaction.watched:
            clients = self._clients[watched]
            clients.discard(client)
            if not clients:
                del self._clients[watched]
        transaction.watched.clear()
        transaction.touched = False
        if not self._clients and self in self._node.observers:
            self._node.observers.remove(self)

    def begin(self, client: Client) -> None:
        """MULTI."""
        transaction = client.transaction = client.transaction or Transaction()
        transaction.queued = []
        client.mark(Unusual.QUEUEING, True)

    def end(self, client: Client) -> None:
        """The transaction is over, in whatever way: the client is as it was before MULTI and WATCH."""
        self.unwatch(client)
        client.transaction = None
        client.mark(Unusual.QUEUEING, False)

    def has_changed(self, client: Client) -> bool:
        """Whether a key that the client watches is not what it was: changed, or expired since."""
        transaction = client.transaction
        if transaction is None:
            return False
        return transaction.touched or any(
            not was_expired and self._is_expired(self._node.databases[index], key)
            for (index, key), was_expired in transaction.watched.items()
        )

    def _is_expired(self, database: Database, key: bytes) -> bool:
        return database.expires.get(key, self._node.now_ms + 1) <= self._node.now_ms

    def touch(self, keys: Iterable[bytes]) -> None:
        """These keys of database 0 have left this node: who watches one of them may have missed what came of it."""
        if self._clients:
            for key in keys:
                for client in self._clients.get((0, key), ()):
                    if client.transaction is not None:
                        client.transaction.touched = True

    # Observer -----------------------------------------------------------------------------------------------------

    def changed(self, database: Database, event: str, key: bytes) -> None:
        """A key was changed. One that had expired when it was watched and is now removed did not change."""
        for client in self._clients.get((database.index, key), ()):
            transaction = client.transaction
            if transaction is None:
                continue
            if transaction.watched[database.index, key] and key not in database.keys_of(key):
                transaction.watched[database.index, key] = False
            else:
                transaction.touched = True

    def replaced(self, database: Database, by: Database | None) -> None:
        """All keys of a database give way to those of another, or to none."""
        for (index, key), clients in self._clients.items():
            if index != database.index:
                continue
            was_there = key in database.keys_of(key) and not self._is_expired(database, key)
            will_be_there = by is not None and key in by.keys_of(key)
            for client in clients:
                if client.transaction is not None and (was_there or will_be_there):
                    client.transaction.touched = True
