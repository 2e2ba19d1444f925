"""When keys were last used and how often: what OBJECT IDLETIME and FREQ tell.

Noting every access would cost each request a dict store and each key some 100 bytes, so nothing is noted until
somebody wants to know: an LRU or LFU `maxmemory-policy`, the first OBJECT IDLETIME, or RESTORE with IDLETIME or FREQ.
From then on the reason `Unusual.NOTED` sends requests through the executor's slow way, which calls `note`. Keys that
were not used since then count as used when the noting began: an idle time may be told too short, never too long.

The frequency is Redis's logarithmic counter (`evict.c`: 0 to 255, starting at 5, growing with a probability that
shrinks, losing one each `lfu-decay-time` minutes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.client import Client, Unusual
from node.keyspace import Database
from node.registry import Args, Command

if TYPE_CHECKING:
    from node.state import Node

_FIRST_FREQUENCY = 5
_FREQUENCY_MAX = 255
_MS_PER_MINUTE = 60_000
_UNTOUCHING = frozenset(("ttl", "pttl", "expiretime", "pexpiretime", "dump"))
_STALE_MIN = 1024


def _touches(command: Command) -> bool:
    """Whether the command uses the values of its keys, and not only looks at what is told about them."""
    return command.name not in _UNTOUCHING and any(spec.flags not in ("RO", "not_key") for spec in command.keys)


class AccessNotes:
    """One per node. Times are unix ms. `notes` has (last use, frequency) by key, one dict a database."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.began_ms = 0
        """Since when accesses are noted; 0: they are not."""
        self._notes: dict[int, dict[bytes, tuple[int, int]]] = {}
        node.config.on_change("maxmemory-policy", self._policy_changed)
        self._policy_changed(node.config.maxmemory_policy)

    @property
    def by_frequency(self) -> bool:
        """Whether the policy is an LFU one, under which frequencies are counted and idle times are not told."""
        return self._node.config.maxmemory_policy.endswith("lfu")

    def begin(self) -> None:
        """Note accesses from now on."""
        if not self.began_ms:
            self.began_ms = self._node.now_ms
            self._node.mark(Unusual.NOTED, True)

    def note(self, client: Client, command: Command, args: Args) -> None:
        """A request is about to run: its keys count as used, where Redis has it so."""
        if command.name != "touch" and (client.no_touch or not _touches(command)):
            return
        database, now_ms = client.database, self._node.now_ms
        notes = self._notes.setdefault(database.index, {})
        for key in command.keys_of(args):
            there = key in database.keys_of(key)
            notes[key] = (now_ms, self._grown(self.frequency(database, key)) if there else _FIRST_FREQUENCY)
        if len(notes) > _STALE_MIN and len(notes) > 2 * len(database):
            self._notes[database.index] = {key: note for key, note in notes.items() if key in database.keys_of(key)}

    def idle_ms(self, database: Database, key: bytes) -> int:
        """For how long `key` was not used. Begins noting."""
        self.begin()
        last_ms, _ = self._notes.get(database.index, {}).get(key, (self.began_ms, 0))
        return max(0, self._node.now_ms - last_ms)

    def frequency(self, database: Database, key: bytes) -> int:
        """The logarithmic frequency of `key` after its decay, 0 to 255."""
        node = self._node
        last_ms, frequency = self._notes.get(database.index, {}).get(key, (self.began_ms, _FIRST_FREQUENCY))
        decay_minutes = node.config.lfu_decay_time
        if decay_minutes:
            frequency -= (node.now_ms - last_ms) // _MS_PER_MINUTE // decay_minutes
        return max(0, frequency)

    def restore(self, database: Database, key: bytes, idle_ms: int | None, frequency: int | None) -> None:
        """RESTORE with IDLETIME or FREQ: whichever of the two the policy uses is noted."""
        self.begin()
        notes = self._notes.setdefault(database.index, {})
        if self.by_frequency and frequency is not None:
            notes[key] = (self._node.now_ms, frequency)
        elif not self.by_frequency and idle_ms is not None:
            notes[key] = (self._node.now_ms - idle_ms, _FIRST_FREQUENCY)

    def swap(self, one: Database, other: Database) -> None:
        """SWAPDB: the notes go with the keys."""
        notes, first, second = self._notes, one.index, other.index
        notes[first], notes[second] = notes.get(second, {}), notes.get(first, {})

    def _grown(self, frequency: int) -> int:
        if frequency >= _FREQUENCY_MAX:
            return frequency
        base = max(0, frequency - _FIRST_FREQUENCY)
        odds = base * self._node.config.lfu_log_factor + 1
        return frequency + (self._node.random.randrange(odds) == 0)

    def _policy_changed(self, policy: str) -> None:
        if policy.endswith(("lru", "lfu")):
            self.begin()
