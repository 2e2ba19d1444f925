"""Pub/sub: who listens to what on this node, and handing out messages. No I/O.

Three kinds of names are listened to: channels, patterns of channels, and shard channels, which belong to a slot as keys
do. A message is encoded once for each protocol, however many clients it goes to.

Defined at https://redis.io/docs/interact/pubsub/ and in Redis's `pubsub.c`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING

from cluster.slots import key_slot
from node.client import Client, Unusual
from node.glob import Matcher, compile_glob
from node.resp import Encoded, Push, Reply, Several, encode2, encode3

if TYPE_CHECKING:
    from node.state import Node

Subscribers = dict[Client, None]
"""Clients in the order in which they came."""


class Kind(Enum):
    """What is subscribed to. The value begins the words of the protocol: psubscribe, punsubscribe, pmessage."""

    CHANNEL = b""
    PATTERN = b"p"
    SHARD = b"s"


class Subscriptions:
    """What one client listens to: names by kind, in the order in which they were subscribed to."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: dict[Kind, dict[bytes, None]] = {kind: {} for kind in Kind}

    def count(self, kind: Kind) -> int:
        """The number that replies tell: channels and patterns are counted together, shard channels apart."""
        names = self.names
        if kind is Kind.SHARD:
            return len(names[Kind.SHARD])
        return len(names[Kind.CHANNEL]) + len(names[Kind.PATTERN])

    def __bool__(self) -> bool:
        return any(self.names.values())


class PubSub:
    """All subscriptions on one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.channels: dict[bytes, Subscribers] = {}
        self.patterns: dict[bytes, Subscribers] = {}
        self.shard_channels: dict[bytes, Subscribers] = {}
        self._by_kind = {
            Kind.CHANNEL: self.channels,
            Kind.PATTERN: self.patterns,
            Kind.SHARD: self.shard_channels,
        }
        self._matchers: dict[bytes, Matcher] = {}
        """For each pattern of `patterns`, whether a channel matches it."""
        self._slots: dict[int, dict[bytes, None]] = {}
        """Shard channels that somebody listens to, by slot; only in a cluster."""
        self._held_for: Client | None = None
        self._held: list[Encoded] = []

    # What clients do ----------------------------------------------------------------------------------------------

    def subscribe(self, client: Client, kind: Kind, names: Iterable[bytes]) -> Several:
        """Let a client listen. One push message for each name."""
        if client.subscriptions is None:
            client.subscriptions = Subscriptions()
        subscriptions = client.subscriptions
        word = kind.value + b"subscribe"
        replies = Several()
        for name in names:
            if name not in subscriptions.names[kind]:
                subscriptions.names[kind][name] = None
                self._add(kind, name)[client] = None
            replies.append(Push([word, name, subscriptions.count(kind)]))
        client.mark(Unusual.SUBSCRIBED, True)
        return replies

    def unsubscribe(self, client: Client, kind: Kind, names: Iterable[bytes] = ()) -> Several:
        """Let a client listen no more to these names, or to none of this kind at all. One push message for each.

        Names that it does not listen to are answered too; with nothing to name, there is one message without a name.
        """
        subscriptions = client.subscriptions or Subscriptions()
        word = kind.value + b"unsubscribe"
        replies = Several()
        for name in list(names or subscriptions.names[kind]):
            if name in subscriptions.names[kind]:
                del subscriptions.names[kind][name]
                self._remove(kind, name, client)
            replies.append(Push([word, name, subscriptions.count(kind)]))
        if not replies:
            replies.append(Push([word, None, subscriptions.count(kind)]))
        if not subscriptions:
            self._leave(client)
        return replies

    def forget(self, client: Client) -> None:
        """End all subscriptions of a client without a word (RESET, or it is gone)."""
        if client.subscriptions is None:
            return
        for kind, names in client.subscriptions.names.items():
            for name in names:
                self._remove(kind, name, client)
        self._leave(client)

    def _leave(self, client: Client) -> None:
        client.subscriptions = None
        client.mark(Unusual.SUBSCRIBED, False)

    def _add(self, kind: Kind, name: bytes) -> Subscribers:
        """The subscribers of a name, of which there may be none yet."""
        known = self._by_kind[kind]
        subscribers = known.get(name)
        if subscribers is None:
            subscribers = known[name] = {}
            if kind is Kind.PATTERN:
                self._matchers[name] = compile_glob(name)
            elif kind is Kind.SHARD and self._node.clustered:
                self._slots.setdefault(key_slot(name), {})[name] = None
        return subscribers

    def _remove(self, kind: Kind, name: bytes, client: Client) -> None:
        known = self._by_kind[kind]
        subscribers = known[name]
        del subscribers[client]
        if subscribers:
            return
        del known[name]
        if kind is Kind.PATTERN:
            del self._matchers[name]
        elif kind is Kind.SHARD and self._node.clustered:
            slot = key_slot(name)
            del self._slots[slot][name]
            if not self._slots[slot]:
                del self._slots[slot]

    # Slots --------------------------------------------------------------------------------------------------------

    def keep_slots(self, is_ours: Callable[[int], bool]) -> None:
        """End the subscriptions to shard channels of all slots that are not this shard's any more, and say so."""
        for slot in [slot for slot in self._slots if not is_ours(slot)]:
            for name in list(self._slots[slot]):
                for client in list(self.shard_channels[name]):
                    for message in self.unsubscribe(client, Kind.SHARD, [name]):
                        self._send([client], message)

    # Messages -----------------------------------------------------------------------------------------------------

    def publish(self, channel: bytes, message: bytes, sharded: bool = False) -> int:
        """Hand a message to all clients of this node that listen. Returns how many times it was handed to one."""
        if sharded:
            subscribers = self.shard_channels.get(channel)
            return self._send(subscribers, Push([b"smessage", channel, message])) if subscribers else 0
        count = 0
        subscribers = self.channels.get(channel)
        if subscribers:
            count = self._send(subscribers, Push([b"message", channel, message]))
        if self._matchers:
            for pattern in [pattern for pattern, matches in self._matchers.items() if matches(channel)]:
                count += self._send(self.patterns.get(pattern, ()), Push([b"pmessage", pattern, channel, message]))
        return count

    def _send(self, clients: Iterable[Client], message: Push) -> int:
        in2 = in3 = b""
        count = 0
        for client in tuple(clients):
            count += 1
            if client.closing:
                continue
            if client.resp == 3:
                data = in3 = in3 or encode3(message)
            else:
                data = in2 = in2 or encode2(message)
            if client is self._held_for:
                self._held.append(Encoded(data))
            else:
                client.send(data)
        return count

    @contextmanager
    def holding(self, client: Client) -> Iterator[list[Encoded]]:
        """While a client's own request runs, collect its messages: they stand behind the reply, and not before the
        replies to what it asked earlier. Within another such block of the same client the outer one collects."""
        if self._held_for is client:
            yield []
            return
        before = self._held_for, self._held
        self._held_for, self._held = client, []
        try:
            yield self._held
        finally:
            self._held_for, self._held = before


def behind(reply: Reply, messages: list[Encoded]) -> Reply:
    """A reply with messages behind it."""
    return Several([reply, *messages]) if messages else reply
