"""Writes down what nodes hear and do, for people to read: a line an event, under it a line an effect.

A link is called by the two it joins: `A>B` is the one that A opened to B. Times are ms since the story began. A ping's
epochs are current/config; its gossip names the members it tells of, with `?` for suspected and `!` for failed.
"""

from __future__ import annotations

from collections.abc import Sequence

from cluster import events
from cluster.slots import bitmap_to_ranges, format_range
from gossip.ids import NodeId
from gossip.messages import Fail, LightPublish, Message, NodeFlag, Ping, Publish, Update
from gossip.outbox import type_of
from tests.simulation.nodes import SimNode
from tests.simulation.world import EPOCH_START_MS, World


class Transcript:
    """Watches a world. quiet: leave out pings and attempts to connect, for stories in which they are the weather."""

    def __init__(self, world: World, names: Sequence[str], *, quiet: bool = False) -> None:
        self.lines: list[str] = []
        self.muted = False
        self._world = world
        self._quiet = quiet
        self._names = dict(zip([node.name for node in world.nodes], names, strict=True))
        self._by_ip = {node.ip: self._names[node.name] for node in world.nodes}
        self._links: dict[tuple[str, int], str] = {}
        world.watch = self._watch

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def say(self, text: str) -> None:
        """A line of the storyteller's."""
        self.lines.append(f"{self._world.now_ms - EPOCH_START_MS:6}  -- {text}")

    def _watch(self, node: SimNode, cause: events.Event | None, effects: Sequence[events.Effect]) -> None:
        done = [line for effect in effects if (line := self._effect(node, effect))]
        heard = self._event(node, cause)
        if self.muted or (not done and (self._quiet or cause is None or isinstance(cause, events.Tick))):
            return
        self.lines.append(f"{node.world.now_ms - EPOCH_START_MS:6}  {self._names[node.name]}  {heard or 'a message'}")
        self.lines += [" " * 15 + line for line in done]

    def _event(self, node: SimNode, event: events.Event | None) -> str:
        match event:
            case None:
                return "is ordered"
            case events.Tick():
                return "tick"
            case events.LinkOpened():
                return f"{self._link(node, event.link)} is open"
            case events.LinkAccepted():
                self._links[node.name, event.link] = f"{self._by_ip[event.remote_ip]}>{self._names[node.name]}"
                return self._links[node.name, event.link] + " is accepted"
            case events.LinkClosed():
                return f"{self._link(node, event.link)} is closed"
            case events.Received():
                return f"{self._link(node, event.link)}: {self._message(event.message)}"
        raise AssertionError(event)

    def _effect(self, node: SimNode, effect: events.Effect) -> str:
        match effect:
            case events.Connect():
                link = f"{self._names[node.name]}>{self._by_ip[effect.ip]}"
                self._links[node.name, effect.link] = link
                return "" if self._quiet else f"connect {link}"
            case events.Send():
                message = self._message(effect.message)
                return "" if self._quiet and message.startswith("P") else f"{self._link(node, effect.link)}: {message}"
            case events.Close():
                return f"close {self._link(node, effect.link)}"
            case events.Persist():
                return "save"
            case events.Log():
                return f"log: {self._named(effect.text)}"
            case events.StateChanged():
                return f"the cluster is {'ok' if effect.ok else 'down'}"
        return type(effect).__name__

    def _link(self, node: SimNode, link: int) -> str:
        return self._links[node.name, link]

    def _named(self, text: str) -> str:
        for node in self._world.nodes:
            text = text.replace(f"{node.id} ()", self._names[node.name]).replace(node.id, self._names[node.name])
        return text

    def _who(self, node_id: NodeId, flags: NodeFlag) -> str:
        mark = "!" if flags & NodeFlag.FAIL else "?" if flags & NodeFlag.PFAIL else ""
        return self._named(node_id) + mark

    def _message(self, message: Message) -> str:
        kind = type_of(message).name
        if isinstance(message, LightPublish | Publish):
            return kind
        header = message.header
        text = f"{kind} from {self._named(header.sender)}, epochs {header.current_epoch}/{header.config_epoch}"
        if isinstance(message, Fail):
            return f"{text}, about {self._named(message.node)}"
        if isinstance(message, Update):
            return f"{text}, about {self._named(message.node)}"
        if isinstance(message, Ping):
            slots = ",".join(format_range(one) for one in bitmap_to_ranges(header.slots))
            text += f", slots {slots}" if slots else ""
            told = " ".join(sorted(self._who(entry.node, entry.flags) for entry in message.gossip))
            text += f", gossip: {told}" if told else ""
        return text
