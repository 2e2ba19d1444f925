"""Keys from one node to another with MIGRATE, slot by slot: what every classic move and every repair is made of. I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cluster.admin.checks import shown_slots
from gossip.ids import NodeId
from node.admin.cluster import Cluster
from node.admin.link import AdminError, Link, Refusal, Word

MIGRATE_TIMEOUT_S = 60.0
_STALE_ROUNDS = 50
_STALE_PAUSE_S = 0.1


class OnConflict(Enum):
    """What happens to a key that both nodes have, with different values."""

    STOP = "stop"
    SOURCE = "source"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Transfer:
    """How keys travel. pipeline: keys a MIGRATE. timeout_s: for a node to take one MIGRATE's keys."""

    pipeline: int = 100
    timeout_s: float = MIGRATE_TIMEOUT_S
    on_conflict: OnConflict = OnConflict.STOP


class KeyMover:
    """Moves the keys of slots that are open on the source. on_keys: told of keys that have arrived."""

    def __init__(self, cluster: Cluster, transfer: Transfer, on_keys: Callable[[int], None]) -> None:
        self._cluster = cluster
        self._transfer = transfer
        self._on_keys = on_keys
        self._patient: dict[NodeId, Link] = {}

    def close(self) -> None:
        """Let go of the connections."""
        for link in self._patient.values():
            link.close()

    def _link(self, node: NodeId) -> Link:
        """A connection that waits as long as a MIGRATE may take."""
        link = self._patient.get(node)
        if link is None:
            access = self._cluster.access
            patient = replace(access, timeout_s=self._transfer.timeout_s + access.timeout_s)
            link = self._patient[node] = Link(self._cluster.picture.members[node].host, patient)
        return link

    def move(self, source: NodeId, target: NodeId, slots: Sequence[int]) -> None:
        """Return when the source holds no key of these slots any longer. AdminError when some can not be moved."""
        remaining = list(slots)
        stale = 0
        while remaining:
            listed = self._ask(source, [("CLUSTER", "GETKEYSINSLOT", slot, self._transfer.pipeline) for slot in remaining])
            keys = [reply for reply in listed if reply]
            remaining = [slot for slot, reply in zip(remaining, listed, strict=True) if reply]
            if not keys:
                return
            replies = self._link(source).ask_many([self._migrate(target, batch) for batch in keys])
            moved = 0
            for batch, reply in zip(keys, replies, strict=True):
                if isinstance(reply, Refusal):
                    moved += self._after_refusal(source, target, batch, reply)
                elif reply != b"NOKEY":
                    moved += len(batch)
            self._on_keys(moved)
            stale = 0 if moved else stale + 1
            if stale > _STALE_ROUNDS:
                name = self._cluster.picture.name(source)
                raise AdminError(f"{name} names keys of {shown_slots(remaining)} and yet has none of them to migrate")
            if stale:
                time.sleep(_STALE_PAUSE_S)  # Expired keys that are counted until they are collected.

    def _ask(self, node: NodeId, requests: Sequence[Sequence[Word]]) -> list[list[bytes]]:
        replies = self._link(node).ask_many(requests)
        for reply in replies:
            if isinstance(reply, Refusal):
                raise reply
        return replies

    def _migrate(self, target: NodeId, keys: Sequence[bytes], ) -> list[Word]:
        member = self._cluster.picture.members[target]
        access = self._cluster.access
        timeout_ms = int(self._transfer.timeout_s * 1000)
        # Where the other nodes reach it, which need not be where we do.
        words: list[Word] = ["MIGRATE", member.seen.host or member.host.name, member.seen.port, "", 0, timeout_ms]
        if self._transfer.on_conflict is OnConflict.SOURCE:
            words.append("REPLACE")
        if access.password:
            words += ["AUTH2", access.user, access.password] if access.user else ["AUTH", access.password]
        return [*words, "KEYS", *keys]

    # When a MIGRATE fails -----------------------------------------------------------------------------------------

    def _after_refusal(self, source: NodeId, target: NodeId, keys: Sequence[bytes], refusal: Refusal) -> int:
        """How many keys moved after all, one by one. AdminError when one can not be."""
        if "BUSYKEY" not in refusal.text:
            raise AdminError(self._explained(source, target, refusal.text))
        moved = 0
        for key in keys:
            reply = self._link(source).ask_many([self._migrate(target, [key])])[0]
            if isinstance(reply, Refusal):
                if "BUSYKEY" not in reply.text:
                    raise AdminError(self._explained(source, target, reply.text))
                self._resolve(source, target, key)
            moved += reply != b"NOKEY"
        return moved

    def _resolve(self, source: NodeId, target: NodeId, key: bytes) -> None:
        """Both have this key, and the target's is not simply to be replaced."""
        here, there = (self._link(node) for node in (source, target))
        ours, theirs = (link.ask_many([("ASKING",), ("DUMP", key)])[1] for link in (here, there))
        if ours != theirs and self._transfer.on_conflict is OnConflict.STOP:
            name = self._cluster.picture.name
            raise AdminError(
                f"key {key!r} has different values at {name(source)} and {name(target)}: choose with "
                f"--on-conflict source ({name(source)}) or --on-conflict target ({name(target)})"
            )
        # An open slot lets one key through after ASKING, on the node that does not own it.
        reply = here.ask_many([("ASKING",), ("DEL", key)])[1]
        if isinstance(reply, Refusal):
            raise reply

    def _explained(self, source: NodeId, target: NodeId, text: str) -> str:
        name = self._cluster.picture.name
        between = f"{name(source)} can not hand keys to {name(target)}"
        if "DUMP payload" in text or "Bad data format" in text:
            server = self._cluster.picture.members[target].server
            return f"{between}: {server} does not read what the source writes; move slots to servers as new as the source"
        if "NOAUTH" in text or "WRONGPASS" in text:
            return f"{between}: the target wants another password than the one given here"
        if "CLUSTERDOWN" in text:
            return f"{between} while the cluster is down: slots without a living owner come first"
        if "IOERR" in text:
            host = self._cluster.picture.members[target].seen.host
            return f"{between}: {text} (the source must reach {host}; --migrate-timeout may help)"
        if "unknown command" in text.lower():
            return f"{between}: it has no MIGRATE; use --method atomic"
        return f"{between}: {text}"
