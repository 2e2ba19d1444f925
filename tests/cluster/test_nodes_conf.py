"""nodes.conf there and back: real servers' files are read, ours are theirs, and a damaged one is refused by line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.nodes_conf import NodesConfError, format_nodes_conf, parse_nodes_conf
from cluster.slotmap import Grant
from cluster.slots import bitmap_to_ranges, ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import NodeFlag

A, B, C = NodeId("a" * 40), NodeId("b" * 40), NodeId("c" * 40)
SHARD = ShardId("5" * 40)
VARS = "vars currentEpoch 6 lastVoteEpoch 4\n"

# As redis-server 7.0.15 wrote it: no auxiliary fields, a hostname where one was announced.
REDIS_70 = """\
0ded9731f7af239ea80640684b315b7db9f9a179 127.0.0.1:22299@32299 slave e0c3e696924b266a62815252b478adee62ae51b8 0 1795253231236 1 connected
0ac21d3a0843835a9239f99ff50bd277d90b9ba7 127.0.0.1:24263@34263 master - 0 1795253231236 2 connected 5001-10000
d31907262c3dc9f6c632b9d6956d6dda3f3ae94a 127.0.0.1:28488@38488 master,fail - 1795253229422 1795253228617 3 disconnected 10001-16383
bb0a28508ea7d4fa50f26f2fecd998e3b1a4f4d6 127.0.0.1:29711@39711 master - 0 1795253230832 0 connected
740e0034c9fb9c26483a706f9e14dc287db36694 127.0.0.1:22383@32383,v2.example slave d31907262c3dc9f6c632b9d6956d6dda3f3ae94a 0 1795253230932 3 connected
e0c3e696924b266a62815252b478adee62ae51b8 127.0.0.1:30211@40211,r1.example myself,master - 0 1795253230000 1 connected 0-5000
vars currentEpoch 5 lastVoteEpoch 0
"""  # noqa: E501

# As valkey-server 9.1.2 wrote it, with auxiliary fields of its own.
VALKEY_91 = """\
740e0034c9fb9c26483a706f9e14dc287db36694 127.0.0.1:22383@32383,v2.example,availability-zone=az-1,client-tcp-port=7777,client-ipv6=::1,client-ipv4=127.0.0.9,tls-port=0,shard-id=d414cd846c6c82d6983706973320cd1ea42afca8 myself,slave d31907262c3dc9f6c632b9d6956d6dda3f3ae94a 0 0 3 connected
d31907262c3dc9f6c632b9d6956d6dda3f3ae94a 127.0.0.1:28488@38488,,client-ipv4=127.0.0.9,tls-port=0,nodename=v-one,shard-id=d414cd846c6c82d6983706973320cd1ea42afca8 master,fail - 1795253229633 1795253228828 3 disconnected 10001-16383
0ac21d3a0843835a9239f99ff50bd277d90b9ba7 127.0.0.1:24263@34263,,tls-port=0,shard-id=74aa45dc6461dd2be6f7c4ee6abfaa3f896afbdb master - 0 1795253236376 2 connected 5001-10000
vars currentEpoch 6 lastVoteEpoch 0
"""  # noqa: E501

OURS = (
    f"{A} 10.0.0.1:7000@17000,one.example,tls-port=7443,nodename=n-1,shard-id={SHARD} myself,master - 0 0 6 connected"
    f" 0-5 7 [7->-{B}] [9-<-{B}]\n"
    f"{B} ::1:7001@17001,,tls-port=0 master,fail - 5 6 2 disconnected 8-9\n"
    f"{C} 10.0.0.3:7002@17002,,tls-port=0,shard-id={SHARD} slave {A} 0 9 6 connected\n" + VARS
)


def parse(text: str) -> SavedState:
    return parse_nodes_conf(text.encode())


def nodes_of(state: SavedState) -> dict[NodeId, SavedNode]:
    return {node.id: node for node in state.nodes}


def test_our_file_is_read_and_written_to_the_letter() -> None:
    state = parse(OURS)
    assert (state.current_epoch, state.last_vote_epoch) == (6, 4)
    assert (dict(state.migrating), dict(state.importing)) == ({7: B}, {9: B})
    me, other, replica = (nodes_of(state)[node] for node in (A, B, C))
    assert me.address == Address("10.0.0.1", 7000, 17000, 7443)
    assert (me.hostname, me.human_nodename, me.shard_id) == ("one.example", "n-1", SHARD)
    assert me.flags == NodeFlag.MYSELF | NodeFlag.PRIMARY
    assert bitmap_to_ranges(me.slots) == [(0, 5), (7, 7)]
    assert other.address.ip == "::1"
    assert (other.hostname, other.human_nodename, other.shard_id) == (None, None, None)
    assert (other.ping_sent_ms, other.pong_received_ms, other.config_epoch) == (5, 6, 2)
    assert other.flags == NodeFlag.PRIMARY | NodeFlag.FAIL
    assert replica.primary == A
    assert format_nodes_conf(state).decode() == OURS


def test_the_second_port_is_named_for_what_it_is() -> None:
    state = parse(OURS)
    text = format_nodes_conf(state, tls_cluster=True).decode()
    assert text == OURS.replace("tls-port", "tcp-port")
    assert parse(text) == state


def test_a_file_of_redis_70_is_read() -> None:
    state = parse(REDIS_70)
    nodes = nodes_of(state)
    assert len(nodes) == 6
    assert (state.current_epoch, state.last_vote_epoch) == (5, 0)
    me = nodes[NodeId("e0c3e696924b266a62815252b478adee62ae51b8")]
    assert (me.hostname, me.shard_id, bitmap_to_ranges(me.slots)) == ("r1.example", None, [(0, 5000)])
    assert nodes[NodeId("0ded9731f7af239ea80640684b315b7db9f9a179")].primary == me.id


def test_a_file_of_valkey_91_is_read_with_fields_of_its_own() -> None:
    nodes = nodes_of(parse(VALKEY_91))
    me = nodes[NodeId("740e0034c9fb9c26483a706f9e14dc287db36694")]
    assert (me.hostname, me.shard_id) == ("v2.example", "d414cd846c6c82d6983706973320cd1ea42afca8")
    assert me.flags == NodeFlag.MYSELF | NodeFlag.REPLICA
    assert (me.client_ipv4, me.client_ipv6) == ("127.0.0.9", "::1")
    assert nodes[NodeId("d31907262c3dc9f6c632b9d6956d6dda3f3ae94a")].human_nodename == "v-one"


def test_nodes_in_handshake_are_neither_written_nor_read() -> None:
    state = parse(OURS)
    stranger = SavedNode(id=NodeId("d" * 40), address=Address("1.2.3.4", 1, 2), flags=NodeFlag.HANDSHAKE)
    assert format_nodes_conf(replace(state, nodes=(*state.nodes, stranger))).decode() == OURS
    assert parse(OURS.replace("vars", f"{'d' * 40} 1.2.3.4:1@2 handshake - 0 0 0 disconnected\nvars")) == state


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(" connected", " connected  ").replace("  \n", "\n").replace("  ", " "),
        lambda text: text.replace("lastVoteEpoch 4", "lastVoteEpoch 4 somethingNew 9"),
        lambda text: text.replace("tls-port=0,", "tls-port=0,zone=x,"),
    ],
)
def test_what_real_servers_would_read_the_same_is_read_the_same(change: object) -> None:
    assert callable(change)
    assert parse(change(OURS)) == parse(OURS)


def test_a_bus_port_that_is_not_written_is_the_usual_one() -> None:
    state = parse(f"{A} 10.0.0.1:7000 myself,master - 0 0 0 connected\n{VARS}")
    assert nodes_of(state)[A].address == Address("10.0.0.1", 7000, 17000)


def test_an_epoch_that_a_node_has_is_not_above_the_current_one() -> None:
    assert parse(f"{A} :1@2 myself,master - 0 0 30 connected\n{VARS}").current_epoch == 30


ids = st.integers(0, 2**160 - 1).map(lambda number: NodeId(f"{number:040x}"))
epochs = st.integers(0, 2**64 - 1)


@st.composite
def states(draw: st.DrawFn) -> SavedState:
    names = draw(st.lists(ids, min_size=1, max_size=6, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, 16383), max_size=12)))
    ranges = list(zip([0, *cuts], [*(cut - 1 for cut in cuts), 16383], strict=True))
    kept = draw(st.lists(st.booleans(), min_size=len(ranges), max_size=len(ranges)))
    roles = [True, *(draw(st.booleans()) for _ in names[1:])]
    primaries = [name for name, is_primary in zip(names, roles, strict=True) if is_primary]
    owned: dict[NodeId, list[tuple[int, int]]] = {}
    for slots, keep in zip(ranges, kept, strict=True):
        if keep:
            owned.setdefault(draw(st.sampled_from(primaries)), []).append(slots)
    nodes = []
    for index, (name, is_primary) in enumerate(zip(names, roles, strict=True)):
        flags = draw(st.sampled_from([NodeFlag.NONE, NodeFlag.FAIL, NodeFlag.PFAIL, NodeFlag.NOFAILOVER]))
        nodes.append(SavedNode(
            id=name,
            address=Address(
                draw(st.sampled_from(["", "10.1.2.3", "::1", "fe80::1%eth0"])), draw(st.integers(0, 65535)),
                draw(st.integers(0, 65535)), draw(st.integers(0, 65535)),
            ),
            flags=flags | (NodeFlag.PRIMARY if is_primary else NodeFlag.REPLICA)
            | (NodeFlag.NONE if index else NodeFlag.MYSELF),
            hostname=draw(st.none() | st.text("ab.-9", min_size=1, max_size=20)),
            human_nodename=draw(st.none() | st.text("ab_9", min_size=1, max_size=20)),
            shard_id=draw(st.none() | ids.map(ShardId)),
            primary=None if is_primary else draw(st.sampled_from(primaries)),
            client_ipv4=draw(st.none() | st.ip_addresses(v=4).map(str)),
            client_ipv6=draw(st.none() | st.ip_addresses(v=6).map(str)),
            ping_sent_ms=draw(st.integers(0, 2**41)), pong_received_ms=draw(st.integers(0, 2**41)),
            config_epoch=draw(epochs), connected=draw(st.booleans()),
            slots=ranges_to_bitmap(owned.get(name, [])),
        ))
    others = names[1:]
    opened = draw(st.dictionaries(st.integers(0, 16383), st.sampled_from(others), max_size=4)) if others else {}
    return SavedState(
        nodes=tuple(nodes), current_epoch=max(node.config_epoch for node in nodes), last_vote_epoch=draw(epochs),
        migrating={slot: node for slot, node in opened.items() if slot % 2},
        importing={slot: node for slot, node in opened.items() if not slot % 2},
        grants=tuple(draw(st.lists(st.builds(
            Grant, ids, ids, st.lists(st.sampled_from(ranges), min_size=1, max_size=3).map(tuple)), max_size=2,
        ))),
        unclaimed=ranges_to_bitmap(draw(st.lists(st.sampled_from(ranges), max_size=3))),
        taken=draw(st.dictionaries(ids, st.lists(st.sampled_from(ranges), min_size=1, max_size=3).map(ranges_to_bitmap),
                                   max_size=2)),
    )


@settings(max_examples=150, deadline=None)
@given(states())
def test_every_state_survives_its_file(state: SavedState) -> None:
    assert parse_nodes_conf(format_nodes_conf(state)) == state


# --- damage ---------------------------------------------------------------------------------------


def test_no_part_of_a_file_is_taken_for_the_whole() -> None:
    for text in (OURS, REDIS_70, VALKEY_91):
        for length in range(len(text)):
            with pytest.raises(NodesConfError):
                parse(text[:length])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_changed_byte_gives_a_state_or_a_refusal_and_nothing_else(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(OURS) - 1))
    damaged = bytearray(OURS.encode())
    damaged[at] = data.draw(st.integers(0, 255))
    try:
        state = parse_nodes_conf(bytes(damaged))
    except NodesConfError as error:
        assert error.line in range(5)
    else:
        assert parse_nodes_conf(format_nodes_conf(state)) == state


def me(fields: str = "", where: str = "1.1.1.1:1@2", flags: str = "myself,master", times: str = "0 0 1") -> str:
    return f"{A} {where} {flags} - {times} connected{fields}\n"


def other(fields: str = "", flags: str = "master", primary: str = "-") -> str:
    return f"{B} 2.2.2.2:1@2 {flags} {primary} 0 0 1 connected{fields}\n"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 0, "vars line is missing"),
        (me(), 0, "vars line is missing"),
        (VARS, 0, "no node is marked myself"),
        (other() + VARS, 0, "no node is marked myself"),
        (me() + other(flags="myself,master") + VARS, 2, "second node is marked myself, after line 1"),
        (me() + me(flags="master") + VARS, 2, "stands on line 1 already"),
        (me() + VARS + other(), 3, "vars line must be the last"),
        (me() + VARS + VARS, 3, "vars line must be the last"),
        (me() + VARS[:-1], 2, "cut short"),
        (me() + "vars currentEpoch 3\n", 2, "lacks lastVoteEpoch"),
        (me() + "vars currentEpoch 3 lastVoteEpoch\n", 2, "name without a value"),
        (me() + "vars currentEpoch 3 lastVoteEpoch x\n", 2, "lastVoteEpoch is not a number"),
        (me() + "vars currentEpoch 3 lastVoteEpoch -1\n", 2, "lastVoteEpoch is not a number"),
        (me() + f"vars currentEpoch {2**64} lastVoteEpoch 1\n", 2, "currentEpoch is not a number"),
        (me() + "vars currentEpoch 3 currentEpoch 4 lastVoteEpoch 1\n", 2, "name twice"),
        (me(" 0-16384") + VARS, 1, "not a range within 0-16383"),
        (me(" 16384") + VARS, 1, "not a range within"),
        (me(" 9-0") + VARS, 1, "not a range within"),
        (me(" x") + VARS, 1, "neither a slot nor a range"),
        (me(" -5") + VARS, 1, "neither a slot nor a range"),
        (me(" 5 3-6") + VARS, 1, "slot 5 is owned twice"),
        ("\n" + me(" 0-5") + other(" 5-6") + VARS, 3, f"slot 5 is owned twice, by {A} on line 2"),
        (me() + other(" 5", "slave", A) + VARS, 2, "a replica owns no slots"),
        (me().replace("a" * 40, "z" * 40) + VARS, 1, "id is not 40 hexadecimal"),
        (me().replace("a" * 40, "A" * 40) + VARS, 1, "id is not 40 hexadecimal"),
        (me().replace("a" * 40, "a" * 39) + VARS, 1, "id is not 40 hexadecimal"),
        (f"{A} 1.1.1.1:1@2 myself,master - 0 0 1\n" + VARS, 1, "at least 8 fields, here are 7"),
        (me(where="1.1.1.1") + VARS, 1, "is not ip:port@busport"),
        (me(where="1.1.1.1:x@2") + VARS, 1, "the port is not a number"),
        (me(where="1.1.1.1:70000@2") + VARS, 1, "the port is not a number from 0 to 65535"),
        (me(where="1.1.1.1:1@99999") + VARS, 1, "the bus port is not"),
        (me(where="1.1/1.1:1@2") + VARS, 1, "is not ip:port@busport"),
        (me(where="1.1.1.1:1@2,a_b") + VARS, 1, "not a hostname"),
        (me(where="1.1.1.1:1@2,,shard-id=abc") + VARS, 1, "shard id is not 40"),
        (me(where="1.1.1.1:1@2,,nothing") + VARS, 1, "is not name=value"),
        (me(where="1.1.1.1:1@2,,zone=a,zone=b") + VARS, 1, "zone stands twice"),
        (me(where="1.1.1.1:1@2,,client-ipv4=::1") + VARS, 1, "client-ipv4 is no IPv4 address: '::1'"),
        (me(where="1.1.1.1:1@2,,client-ipv6=x") + VARS, 1, "client-ipv6 is no IPv6 address: 'x'"),
        (me(where="1.1.1.1:1@2,,tls-port=x") + VARS, 1, "secondary port is not a number"),
        (me(where="1.1.1.1:1@2,,nodename=a'b") + VARS, 1, "not a node's name"),
        (me(flags="myself,master,weird") + VARS, 1, "unknown flag 'weird'"),
        (me(flags="myself,master,slave") + VARS, 1, "marked master and slave"),
        (me(times="x 0 1") + VARS, 1, "time of the ping is not a number"),
        (me(times="0 -1 1") + VARS, 1, "time of the pong is not a number"),
        (me(times="0 0 1.5") + VARS, 1, "config epoch is not a number"),
        (me().replace(" connected", " lost") + VARS, 1, "neither connected nor disconnected"),
        (me() + other(flags="slave", primary=C) + VARS, 2, f"primary {C} is no node of this file"),
        (me() + other(flags="slave", primary=B) + VARS, 2, "own primary"),
        (me() + other(flags="master", primary=A) + VARS, 2, "not marked slave"),
        (me() + other(flags="slave", primary="x") + VARS, 2, "primary's id is not 40"),
        (me(f" [5->-{B}]") + VARS, 1, "is no node of this file"),
        (me(f" [5-<-{A}]") + VARS, 1, "open to the node itself"),
        (me(f" [5->-{B}] [5-<-{B}]") + other() + VARS, 1, "slot 5 is open twice"),
        (me(f" [16384->-{B}]") + other() + VARS, 1, "no migrating or importing slot"),
        (me(" [5->-x]") + VARS, 1, "no migrating or importing slot"),
        (me() + other(f" [5->-{A}]") + VARS, 2, "only the node itself"),
        (me() + VARS.replace("\n", f" granted {A}:{B}\n"), 2, "not job:node:ranges"),
        (me() + VARS.replace("\n", f" granted {A}:{B}:x\n"), 2, "neither a slot nor a range"),
        (me() + VARS.replace("\n", f" granted {A}:{B}:5-4\n"), 2, "not a range within"),
        (me() + VARS.replace("\n", " granted a:b:5\n"), 2, "the job of granted slots is not 40"),
        (me() + VARS.replace("\n", " unclaimed 5-4\n"), 2, "not a range within"),
        (me() + VARS.replace("\n", " taken a:5\n"), 2, "who has given slots is not 40"),
        (me() + VARS.replace("\n", f" taken {A}\n"), 2, "neither a slot nor a range"),
        (me() + "\0" * 20 + "\n" + VARS, 2, "not printable ASCII"),
        (me(where="1.1.1.1:1@2,h\xf6st") + VARS, 1, "not printable ASCII"),
    ],
)
def test_damage_is_named_by_line_and_reason(text: str, line: int, reason: str) -> None:
    with pytest.raises(NodesConfError) as caught:
        parse(text)
    assert caught.value.line == line
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"nodes.conf line {line}: " if line else "nodes.conf: ")
