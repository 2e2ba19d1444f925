"""Keyspace notifications: what happens to keys, published as messages. No I/O.

An `Observer` (`node/context.py`) of the node, only while `notify-keyspace-events` asks for something. Every event has a
class, and the setting says which classes are told and whether by key (`__keyspace@0__:key`, the event as message) or by
event (`__keyevent@0__:event`, the key as message). The messages are for this node's subscribers alone.

Defined at https://redis.io/docs/manual/keyspace-notifications/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node.keyspace import Database
from node.settings.special import KEYSPACE_CLASSES

if TYPE_CHECKING:
    from node.state import Node

_EVENTS: Final = {
    "g": "del rename_from rename_to move_from move_to copy_to restore expire persist",
    "$": "set setrange setbit append incrby incrbyfloat pfadd",
    "l": "lpush rpush lpop rpop linsert lset lrem ltrim sortstore",
    "s": "sadd srem spop sinterstore sunionstore sdiffstore",
    "h": "hset hdel hincrby hincrbyfloat hexpire hexpired hpersist",
    "z": (
        "zadd zincr zrem zremrangebyscore zremrangebyrank zremrangebylex zpopmin zpopmax zunionstore zinterstore"
        " zdiffstore zrangestore geosearchstore georadiusstore"
    ),
    "t": (
        "xadd xdel xtrim xsetid xgroup-create xgroup-createconsumer xgroup-delconsumer xgroup-destroy xgroup-setid"
    ),
    "x": "expired",
    "e": "evicted",
    "n": "new",
    "m": "keymiss",
}
CLASS_OF: Final = {event: letter for letter, events in _EVENTS.items() for event in events.split()}
"""The letter of the setting by which each event is asked for. All others are of modules' types ("json.set")."""

_MODULES: Final = "d"


class Notifications:
    """Tells this node's subscribers what happens to its keys."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._classes: frozenset[str] = frozenset()
        self._by_key = self._by_event = False
        node.config.on_change("notify-keyspace-events", self._configure)
        self._configure(node.config.notify_keyspace_events)

    def _configure(self, value: str) -> None:
        node = self._node
        self._by_key, self._by_event = "K" in value, "E" in value
        letters = set(value.replace("A", KEYSPACE_CLASSES)) - {"K", "E"}
        self._classes = frozenset(letters if self._by_key or self._by_event else ())
        node.context.tells_new = "n" in self._classes
        node.context.tells_misses = "m" in self._classes
        if self in node.observers:
            node.observers.remove(self)
        if self._classes:
            node.observers.append(self)

    # Observer -----------------------------------------------------------------------------------------------------

    def changed(self, database: Database, event: str, key: bytes) -> None:
        """Something happened to a key."""
        pubsub = self._node.pubsub
        if CLASS_OF.get(event, _MODULES) not in self._classes or not (pubsub.channels or pubsub.patterns):
            return
        name = event.encode()
        if self._by_key:
            pubsub.publish(b"__keyspace@%d__:%b" % (database.index, key), name)
        if self._by_event:
            pubsub.publish(b"__keyevent@%d__:%b" % (database.index, name), key)

    def replaced(self, database: Database, by: Database | None) -> None:
        """FLUSHDB and SWAPDB are no events of keys. (What became of the keys is told nobody, as in Redis.)"""
        return
