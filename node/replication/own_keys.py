"""Keys to which clients of a writable replica have given a deadline: the replica has to remove them itself.

Of all others the primary says when they are gone (replica-read-only; Redis does the same since 4.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.client import Unusual
from node.keyspace import Database

if TYPE_CHECKING:
    from node.state import Node

_VISITS = 1000
"""Keys looked at ten times a second."""


class OwnKeys:
    """Those of one node. An observer of its changes, as long as it is a replica that takes writes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._keys: dict[tuple[int, bytes], None] = {}
        self._listens = False
        node.config.on_change("replica-read-only", self._read_only_changed)

    def __len__(self) -> int:
        return len(self._keys)

    def refresh(self) -> None:
        """The node's role, or the setting, may be another."""
        self._listen(self._node.replication.is_replica and not self._node.config.replica_read_only)

    def _read_only_changed(self, value: bool) -> str | None:
        self._listen(self._node.replication.is_replica and not value)
        return None

    def _listen(self, wanted: bool) -> None:
        if wanted == self._listens:
            return
        self._listens = wanted
        if wanted:
            self._node.observers.append(self)
        else:
            self._node.observers.remove(self)
        if not self._node.replication.is_replica:
            self._keys.clear()  # A primary removes whatever has a deadline.

    # Observer -----------------------------------------------------------------------------------------------------

    def changed(self, database: Database, event: str, key: bytes) -> None:
        """What a client did here makes a key with a deadline ours, what the primary did makes it the primary's."""
        if key in database.expires and not self._node.context.client.is_primary:
            self._keys[database.index, key] = None
        else:
            self._keys.pop((database.index, key), None)

    def replaced(self, database: Database, by: Database | None) -> None:
        """All keys of a database go."""
        self._keys = {(number, key): None for number, key in self._keys if number != database.index}

    # Time ---------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Remove those whose time has come, and look at so many at most."""
        node = self._node
        if not self._keys or node.unusual & Unusual.LOADING:
            return
        context = node.context
        context.client = node.myself
        for number, key in [one for one, _ in zip(self._keys, range(_VISITS), strict=False)]:
            del self._keys[number, key]
            database = node.databases[number]
            deadline_ms = database.expires.get(key)
            if deadline_ms is None:
                continue
            if deadline_ms > node.now_ms:
                self._keys[number, key] = None  # At the end: others are looked at first.
                continue
            context.point_at(database, database.slot_of(key))
            context.expire(key)
