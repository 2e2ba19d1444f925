"""What a handler gets: the keyspace as its request sees it, and the ways to say what it changed.

One Context serves all requests, one after the other: the executor points it at the client, the database and the slot
before each call. A handler that changes data does so in this order:

    value = ctx.write(key)          # the value to change in place, or None (or ctx.set/ctx.put/ctx.delete)
    ...                             # change it
    ctx.modified("append", key)     # count it, tell observers; the request is then propagated as it was sent
    ctx.propagate(b"SET", ...)      # only where the effect must be told in other words
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from node.blocking import NOT_YET
from node.errors import WRONG_TYPE, CommandError
from node.freeing import takes_long
from node.keyspace import Database, Keys, Value
from node.registry import Args
from node.resp import Reply

if TYPE_CHECKING:
    from node.client import Client
    from node.state import Node

T = TypeVar("T")


class Observer(Protocol):
    """Who wants to hear of changes: WATCH, keyspace notifications."""

    def changed(self, database: Database, event: str, key: bytes) -> None:
        """A key was changed; `event` is the name of its keyspace notification."""

    def replaced(self, database: Database, by: Database | None) -> None:
        """All keys of a database are about to give way to those of another, or to none."""


class Context:
    """The request being served. `now_ms` is unix time, the same for all requests of one loop turn."""

    __slots__ = (
        "client", "database", "dirty", "effects", "expires", "keys", "may_block", "node", "now_ms", "observers",
        "retries", "slot", "stats", "tells_misses", "tells_new",
    )  # fmt: skip

    def __init__(self, node: Node, client: Client, database: Database) -> None:
        self.node = node
        self.client = client
        self.database = database
        self.slot = 0
        self.keys: Keys = database.slots[0]
        """All keys of the request's slot: in a cluster every key that the request may name is in here."""
        self.expires = database.expires
        self.now_ms = 0
        self.dirty = 0
        """How many changes this request made so far."""
        self.effects: list[list[bytes]] | None = None
        """What to propagate in place of the request, None for the request as sent."""
        self.observers = node.observers
        self.stats = node.stats
        self.may_block = True
        """Whether the client may wait: not inside MULTI."""
        self.retries = False
        """Whether the request is that of a client that waits, run again."""
        self.tells_new = self.tells_misses = False
        """Whether keyspace notifications ask for new keys, and for keys that were not found."""

    def point_at(self, database: Database, slot: int) -> None:
        """Serve from this database and slot from here on."""
        self.database = database
        self.expires = database.expires
        self.slot = slot
        self.keys = database.slots[slot]

    # Looking up ---------------------------------------------------------------------------------------------------

    def read(self, key: bytes) -> Value | None:
        """The value at `key` for a command that reads, counted as a hit or miss; None when there is none."""
        value = self.keys.get(key)
        if value is not None and not (key in self.expires and self._expired(key)):
            self.stats.keyspace_hits += 1
            return value
        self.stats.keyspace_misses += 1
        if self.tells_misses:
            self.node.notifications.changed(self.database, "keymiss", key)
        return None

    def inspect(self, key: bytes) -> Value | None:
        """`read` for who wants to know about the value (OBJECT): a miss is counted, but is no event."""
        tells, self.tells_misses = self.tells_misses, False
        value = self.read(key)
        self.tells_misses = tells
        return value

    def peek(self, key: bytes) -> Value | None:
        """The value at `key` without counting a hit or miss: for writes that need to know what is there."""
        value = self.keys.get(key)
        if value is not None and key in self.expires and self._expired(key):
            return None
        return value

    def write(self, key: bytes) -> Value | None:
        """The value at `key`, about to be changed in place; None when there is none."""
        if self.database.walkers:
            self._before_change(key)
        value = self.keys.get(key)
        if value is not None and key in self.expires and self._expired(key):
            return None
        return value

    def read_as(self, key: bytes, kind: type[T]) -> T | None:
        """`read`, or WRONGTYPE when the value is not of this class."""
        value = self.keys.get(key)
        if type(value) is kind and key not in self.expires:  # what `read` does, for the usual value
            self.stats.keyspace_hits += 1
            return value
        value = self.read(key)
        if value is None or type(value) is kind:
            return value
        raise CommandError(WRONG_TYPE)

    def write_as(self, key: bytes, kind: type[T]) -> T | None:
        """`write`, or WRONGTYPE when the value is not of this class."""
        value = self.keys.get(key)
        if type(value) is kind and key not in self.expires and not self.database.walkers:  # likewise
            return value
        value = self.write(key)
        if value is None or type(value) is kind:
            return value
        raise CommandError(WRONG_TYPE)

    def deadline_ms(self, key: bytes) -> int | None:
        """Unix time in ms at which `key` expires; None when it does not."""
        return self.expires.get(key)

    def _expired(self, key: bytes) -> bool:
        """Whether the deadline of `key` has passed. It is removed then, where that is ours to decide.

        On a replica expiry is the primary's: the key is hidden from readers, but stays until the primary says DEL, and
        what the primary sends is applied as if there were no clock.
        """
        if self.expires[key] > self.now_ms:
            return False
        if self.client.is_primary:
            return False
        if self.node.may_expire():
            self.expire(key)
        return True

    # Changing -----------------------------------------------------------------------------------------------------

    def set(self, key: bytes, value: Value) -> None:
        """Store a value; an expiry that the key had is gone. If it had passed, that is told first, as Redis does."""
        if self.database.walkers:
            self._before_change(key)
        if key in self.expires:
            self._expired(key)
            self.expires.pop(key, None)
        if self.tells_new:
            self._tell_new(key)
        self.keys[key] = value

    def put(self, key: bytes, value: Value) -> None:
        """Store a value; the key keeps its expiry."""
        if self.database.walkers:
            self._before_change(key)
        if self.tells_new:
            self._tell_new(key)
        self.keys[key] = value

    def delete(self, key: bytes) -> bool:
        """Remove a key and its expiry. False when it was not there (or had expired)."""
        if self.peek(key) is None:
            return False
        self.discard(key)
        return True

    def discard(self, key: bytes) -> None:
        """Remove a key that is there, expired or not, without telling anybody. A big value is freed in pieces."""
        if self.database.walkers:
            self._before_change(key)
        value = self.keys.pop(key)
        if type(value) is not bytes and takes_long(value):
            self.node.io.free_later([value])
        self.expires.pop(key, None)

    def set_deadline(self, key: bytes, deadline_ms: int | None) -> None:
        """Let an existing key expire at this unix time in ms, or with None never."""
        if self.database.walkers:
            self._before_change(key)
        if deadline_ms is None:
            self.expires.pop(key, None)
        else:
            self.expires[key] = deadline_ms

    def expire(self, key: bytes) -> None:
        """Remove a key whose time has come, and tell replicas and observers."""
        node = self.node
        self.discard(key)
        node.stats.expired_keys += 1
        removal = b"UNLINK" if node.config.lazyfree_lazy_expire else b"DEL"
        node.propagate(self.database, [removal, key])
        node.observe(self.database, "expired", key)

    def _before_change(self, key: bytes) -> None:
        for walker in self.database.walkers:
            walker.before_change(self.database, self.slot, key)

    # Waiting ------------------------------------------------------------------------------------------------------

    def block(self, args: Args, keys: Sequence[bytes], timeout_ms: int, at_timeout: Reply) -> Reply:
        """There is nothing for this request yet: let its client wait until one of `keys` changes. `blocking.py` says how.

        args: the request to run again then. timeout_ms: 0 for as long as it takes. Return what this returns.
        """
        if self.retries:
            return NOT_YET
        if not self.may_block:
            return at_timeout
        command = self.node.commands.resolve(args)
        return self.node.blocking.wait(self.client, (command, args), keys, timeout_ms, at_timeout)

    # Telling ------------------------------------------------------------------------------------------------------

    def modified(self, event: str, key: bytes) -> None:
        """Say that `key` was changed. `event` is the name of its keyspace notification."""
        self.dirty += 1
        if self.observers:
            self.node.observe(self.database, event, key)

    def _tell_new(self, key: bytes) -> None:
        if key not in self.keys:
            self.node.notifications.changed(self.database, "new", key)

    def propagate(self, *args: bytes) -> None:
        """Tell replicas and files this in place of the request as it was sent. Several calls add up, in order."""
        if self.effects is None:
            self.effects = []
        self.effects.append(list(args))

    def abandon(self) -> None:
        """The request broke off: what it noted so far concerns nobody."""
        self.dirty = 0
        self.effects = None

    def propagate_nothing(self) -> None:
        """The request changed something that concerns only this node."""
        self.effects = []
