"""Live chat: what is said goes out by sharded pub/sub and stays in a stream, from which who comes late catches up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.real
Name = Callable[[str], str]
ROOMS = 6


def say(client: Any, room: str, who: str, text: str) -> str:
    """Write to the history and tell those who listen, in one transaction: stream and channel share a slot."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.xadd(f"history:{{{room}}}", {"who": who, "text": text}, maxlen=50, approximate=False)
        entry: str = pipeline.execute()[0]
    client.spublish(f"room:{{{room}}}", f"{entry} {who}: {text}")
    return entry


def heard(pubsub: Any, kind: str, count: int) -> list[dict[str, Any]]:
    """The next `count` messages of a kind; each call of the client asks one shard."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count}: {found[-3:]}"
        message = pubsub.get_sharded_message(timeout=0.01)
        if message is not None and message["type"] == kind:
            found.append(message)
    return found


def test_rooms(client: Any, connect: Callable[[], Any], name: Name) -> None:
    """Every listener hears its rooms in order and nothing else; a late one reads what it missed."""
    rooms = [name(f"room{number}") for number in range(ROOMS)]
    listeners = [connect().pubsub() for _ in range(2)]
    for listener, own in zip(listeners, (rooms, rooms[:2]), strict=True):
        for room in own:
            listener.ssubscribe(f"room:{{{room}}}")
        heard(listener, "ssubscribe", len(own))
    said = {room: [say(client, room, "ann", f"{number} in {room}") for number in range(5)] for room in rooms}
    for listener, own in zip(listeners, (rooms, rooms[:2]), strict=True):
        messages = heard(listener, "smessage", 5 * len(own))
        for room in own:
            got = [one["data"].split()[0] for one in messages if one["channel"] == f"room:{{{room}}}"]
            assert got == said[room]
    room = rooms[0]
    late = connect()
    history = late.xrange(f"history:{{{room}}}")
    assert [entry for entry, _ in history] == said[room]
    assert history[2][1] == {"who": "ann", "text": f"2 in {room}"}
    missed = late.xrange(f"history:{{{room}}}", min=f"({said[room][2]}")
    assert [entry for entry, _ in missed] == said[room][3:]
    listeners[0].sunsubscribe(f"room:{{{room}}}")
    heard(listeners[0], "sunsubscribe", 1)
    assert client.spublish(f"room:{{{room}}}", "bye") == 1
    assert [one["data"] for one in heard(listeners[1], "smessage", 1)] == ["bye"]
    for listener in listeners:
        listener.close()


def test_history_is_bounded(client: Any, name: Name) -> None:
    room = name("busy")
    said = [say(client, room, "bob", str(number)) for number in range(120)]
    key = f"history:{{{room}}}"
    assert client.xlen(key) == 50
    assert [entry for entry, _ in client.xrevrange(key, count=10)] == said[:-11:-1]
    assert client.xinfo_stream(key)["last-generated-id"] == said[-1]
