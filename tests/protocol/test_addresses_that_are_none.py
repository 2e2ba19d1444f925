"""Peers and administrators may name hosts whose names can not even be looked up: whoever connects there hears of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from gossip.codec import decode, encode
from gossip.ids import NodeId
from gossip.messages import Header, MessageType, NodeFlag, Ping
from node.bus import Bus
from node.replication.link import ReplicaLink

NO_NAME = "a..b"


def test_the_bus_lets_such_an_address_through() -> None:
    meet = Ping(MessageType.MEET, Header(NodeId("a" * 40), 7000, 17000, NodeFlag.PRIMARY, ip=NO_NAME))
    assert decode(encode(meet)) == meet


def test_a_bus_link_that_can_not_be_made_is_lost() -> None:
    lost: list[Any] = []

    async def connect() -> None:
        bus = SimpleNamespace(
            _cluster=SimpleNamespace(settings=SimpleNamespace(node_timeout_ms=1000)),
            _node=SimpleNamespace(config=SimpleNamespace(bind_source_addr="")),
            _loop=asyncio.get_running_loop(), _connecting={7: None}, link_lost=lost.append,
        )
        await Bus._open(cast(Any, bus), cast(Any, SimpleNamespace(id=7)), NO_NAME, 17000)
        assert not bus._connecting

    asyncio.run(connect())
    assert [link.id for link in lost] == [7]


def test_a_replicas_link_that_can_not_be_made_is_tried_again() -> None:
    lost: list[str] = []

    async def connect() -> None:
        node = SimpleNamespace(config=SimpleNamespace(repl_timeout=1))
        link = SimpleNamespace(
            following=SimpleNamespace(connecting=lambda: None), loop=asyncio.get_running_loop(), node=node,
            _host=NO_NAME, _port=1, lost=lambda: lost.append("again"),
        )
        await ReplicaLink._attempt(cast(Any, link))

    asyncio.run(connect())
    assert lost == ["again"]
