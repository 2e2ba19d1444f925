"""Collects the effects of one step, and sees to their order: nothing is told before it is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from gossip.events import Close, GossipEffect, Level, LinkId, Log, Persist, Send
from gossip.messages import (
    Fail,
    FailoverAuthAck,
    FailoverAuthRequest,
    LightPublish,
    Message,
    MessageType,
    MfStart,
    Module,
    Ping,
    Publish,
    Update,
)

_TYPES: dict[type, MessageType] = {
    Fail: MessageType.FAIL,
    FailoverAuthRequest: MessageType.FAILOVER_AUTH_REQUEST,
    FailoverAuthAck: MessageType.FAILOVER_AUTH_ACK,
    Update: MessageType.UPDATE,
    MfStart: MessageType.MFSTART,
    Module: MessageType.MODULE,
}

MoreT = TypeVar("MoreT")


def type_of(message: Message) -> MessageType:
    """The type under which a message is counted."""
    if isinstance(message, Ping):
        return message.type
    if isinstance(message, Publish | LightPublish):
        return MessageType.PUBLISHSHARD if message.sharded else MessageType.PUBLISH
    return _TYPES[type(message)]


class Outbox(Generic[MoreT]):
    """The effects of the step that is going on. MoreT: what the floor above adds to the kinds of effects.

    persist: something changed that nodes.conf holds. lasting: it must survive a loss of power. reassess: something changed
    on which the cluster's state depends.
    """

    def __init__(self) -> None:
        self.effects: list[GossipEffect | MoreT] = []
        self.persist = False
        self.lasting = False
        self.reassess = False
        self.sent: dict[MessageType, int] = {}
        self.received: dict[MessageType, int] = {}

    def put(self, effect: GossipEffect | MoreT) -> None:
        """Add an effect."""
        self.effects.append(effect)

    def send(self, link: LinkId, message: Message) -> None:
        """Add a Send and count it."""
        kind = type_of(message)
        self.sent[kind] = self.sent.get(kind, 0) + 1
        self.effects.append(Send(link, message))

    def close(self, link: LinkId) -> None:
        """Add a Close."""
        self.effects.append(Close(link))

    def log(self, level: Level, text: str) -> None:
        """Add a line for the log."""
        self.effects.append(Log(level, text))

    def changed(self, *, state: bool = True, lasting: bool = True) -> None:
        """Something changed that must be saved and, unless `state` is False, may change the cluster's state.

        lasting: what others may come to rely on is lost when the host loses power before it is on disk.
        """
        self.persist = True
        self.lasting = self.lasting or lasting
        if state:
            self.reassess = True

    def count_received(self, message: Message) -> None:
        """Count a message that came in."""
        kind = type_of(message)
        self.received[kind] = self.received.get(kind, 0) + 1

    def finish(self) -> list[GossipEffect | MoreT]:
        """The step's effects. One Persist stands first, so that no message of the step leaves before it."""
        effects: Sequence[GossipEffect | MoreT] = self.effects
        result = [Persist(self.lasting), *effects] if self.persist else list(effects)
        self.effects.clear()
        self.persist = self.lasting = False
        return result
