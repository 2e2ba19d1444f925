"""CLUSTER and its companions on one node: replies, errors, what is saved before the reply, where requests are sent."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from cluster.events import LinkOpened, Persist, Received, RoleChanged, Tick
from cluster.machine import Cluster
from cluster.slots import key_slot, ranges_to_bitmap
from cluster.state import SavedNode, SavedState
from gossip.ids import Address, NodeId, ShardId
from gossip.messages import NO_SLOTS, Header, MessageType, NodeFlag, Ping
from node.client import Client, Unusual
from node.errors import NOT_CLUSTERED, CommandError
from node.resp import OK
from node.state import COMMANDS
from tests.commands.harness import CLUSTER_SETTINGS, START_MS, Harness, encoded

ME, OTHER, FAR = NodeId("a" * 40), NodeId("b" * 40), NodeId("c" * 40)
HALF = 8192
HERE, THERE = "foo{2}", "bar{1}"
"""Keys of the lower half of the slots, which ME owns, and of the upper one."""


def node_of(
    node: NodeId, port: int, flags: NodeFlag, slots: bytes = NO_SLOTS, primary: NodeId | None = None, epoch: int = 0
) -> SavedNode:
    return SavedNode(
        node,
        Address("127.0.0.1", port, port + 10000),
        flags,
        primary=primary,
        config_epoch=epoch,
        shard_id=ShardId((primary or node)[::-1]),
        slots=slots,
        pong_received_ms=START_MS,
    )


def machine(nodes: Sequence[SavedNode]) -> Cluster:
    """A restarted member of that cluster, long enough ago for the rejoin delay to be over, in state ok.

    The other owners of slots have answered its first ping: without them it would have no lease.
    """
    state = SavedState(tuple(nodes), current_epoch=5, last_vote_epoch=0)
    cluster = Cluster.from_saved(state, CLUSTER_SETTINGS, random.Random(1), now_ms=START_MS - 8000)
    cluster.step(Tick(), START_MS - 7900)
    for node in nodes:
        if node.slots != NO_SLOTS and not node.flags & NodeFlag.MYSELF:
            answer(cluster, node, START_MS - 7900)
    for at in range(START_MS - 7800, START_MS + 1, 100):
        cluster.step(Tick(), at)
    assert cluster.ok
    return cluster


def answer(cluster: Cluster, node: SavedNode, now_ms: int) -> None:
    """This member takes the link that was made to it, and answers the ping on it."""
    link = cluster.members[node.id].link
    assert link is not None
    cluster.step(LinkOpened(link.id, "127.0.0.1"), now_ms)
    head = Header(
        node.id, node.address.port, node.address.bus_port, node.flags, current_epoch=5, config_epoch=node.config_epoch,
        slots=node.slots,
    )
    cluster.step(Received(link.id, Ping(MessageType.PONG, head)), now_ms)


def half_owner() -> Harness:
    """ME owns the lower half of the slots, OTHER the upper one."""
    mine, theirs = ranges_to_bitmap([(0, HALF - 1)]), ranges_to_bitmap([(HALF, 16383)])
    return Harness(
        cluster=machine([
            node_of(ME, 7000, NodeFlag.MYSELF | NodeFlag.PRIMARY, mine, epoch=1),
            node_of(OTHER, 7001, NodeFlag.PRIMARY, theirs, epoch=2),
        ])
    )


def replica() -> Harness:
    """ME replicates OTHER, which owns all slots."""
    everything = ranges_to_bitmap([(0, 16383)])
    return Harness(
        cluster=machine([
            node_of(ME, 7000, NodeFlag.MYSELF | NodeFlag.REPLICA, primary=OTHER, epoch=2),
            node_of(OTHER, 7001, NodeFlag.PRIMARY, everything, epoch=2),
        ])
    )


def ask(redis: Harness, client: Client, *args: object) -> object:
    """A reply to another client; an error as its text."""
    try:
        return redis.node.executor.execute(client, [encoded(arg) for arg in args])
    except CommandError as error:
        return error.text


def saved_before_reply(redis: Harness) -> bool:
    """Whether the last request had nodes.conf written."""
    asked, redis.io.asked = redis.io.asked, []
    return any(what in (("carry_out", Persist()), ("carry_out", Persist(lasting=False))) for what in asked)


# Facts and replies ----------------------------------------------------------------------------------------------------


def test_keys_used_here_are_in_the_halves_they_are_said_to_be_in() -> None:
    assert key_slot(HERE.encode()) < HALF <= key_slot(THERE.encode())


@pytest.mark.parametrize("name", sorted(
    ["asking", "readonly", "readwrite"] + [one.name for one in COMMANDS.by_name[b"cluster"].subcommands.values()]
))
def test_standalone_has_no_cluster(name: str) -> None:
    redis = Harness()
    command = COMMANDS.named(name.encode())
    assert command is not None
    words = command.full_name.split()
    words += ["1"] * (abs(command.arity) - len(words))
    assert redis.error(*words) == NOT_CLUSTERED


def test_info_and_nodes_are_text_for_people_in_resp3() -> None:
    redis = Harness(clustered=True)
    assert redis.wire("CLUSTER", "INFO", protocol=3).startswith(b"=")
    assert b"\r\ntxt:cluster_state:ok\r\ncluster_slots_assigned:16384\r\n" in redis.wire("CLUSTER", "INFO", protocol=3)
    assert redis.wire("CLUSTER", "INFO").startswith(b"$")
    nodes = redis.run("CLUSTER", "NODES").text.decode()
    myid = redis.run("CLUSTER", "MYID").decode()
    assert nodes == f"{myid} 127.0.0.1:7000@17000 myself,master - 0 0 0 connected 0-16383\n"


def test_shapes_of_slots_shards_and_links() -> None:
    redis = Harness(clustered=True)
    me = redis.run("CLUSTER", "MYID")
    assert redis.run("CLUSTER", "SLOTS") == [[0, 16383, [b"127.0.0.1", 7000, me, {}]]]
    assert redis.wire("CLUSTER", "SLOTS").endswith(me + b"\r\n*0\r\n")
    assert redis.wire("CLUSTER", "SLOTS", protocol=3).endswith(me + b"\r\n%0\r\n")
    (shard,) = redis.run("CLUSTER", "SHARDS")
    assert shard[b"slots"] == [0, 16383]
    assert shard[b"nodes"][0][b"id"] == me
    assert redis.run("CLUSTER", "LINKS") == []
    assert len(redis.run("CLUSTER", "MYSHARDID")) == 40


def test_help_tells_of_every_subcommand() -> None:
    lines = Harness(clustered=True).run("CLUSTER", "HELP")
    assert all(type(line) is str for line in lines)
    named = {line.split()[0].lower() for line in lines if not line.startswith(" ")} - {"cluster"}
    assert named == {name.decode() for name in COMMANDS.by_name[b"cluster"].subcommands}


def test_replicas_are_listed_for_primaries_only() -> None:
    redis = replica()
    (line,) = redis.run("CLUSTER", "REPLICAS", OTHER)
    assert line.startswith(ME.encode() + b" 127.0.0.1:7000@17000 myself,slave " + OTHER.encode())
    assert redis.run("CLUSTER", "SLAVES", OTHER) == [line]
    assert redis.error("CLUSTER", "REPLICAS", ME) == "ERR The specified node is not a master"
    assert redis.error("CLUSTER", "REPLICAS", FAR) == f"ERR Unknown node {FAR}"


# Changes are on disk before the reply ---------------------------------------------------------------------------------


def test_what_changes_the_cluster_is_saved_before_the_reply() -> None:
    redis = half_owner()
    redis.io.asked.clear()
    for request in (
        ("DELSLOTS", 0, 1),
        ("DELSLOTSRANGE", 2, 4, 6, 6),
        ("ADDSLOTS", 0),
        ("ADDSLOTSRANGE", 2, 4),
        ("SETSLOT", 2, "MIGRATING", OTHER),
        ("SETSLOT", 2, "STABLE"),
        ("SETSLOT", HALF, "IMPORTING", OTHER),
        ("SETSLOT", HALF, "NODE", OTHER),
        ("SAVECONFIG",),
        ("FLUSHSLOTS",),
        ("FORGET", OTHER),
        ("RESET",),
    ):
        assert redis.run("CLUSTER", *request) == OK, request
        assert saved_before_reply(redis), request


def test_disk_full_is_told() -> None:
    redis = Harness(clustered=True)

    def refuse(effects: object) -> None:
        raise OSError(28, "No space left on device")

    redis.io.carry_out = refuse  # type: ignore[method-assign]
    assert redis.error("CLUSTER", "SAVECONFIG") == (
        "ERR error saving the cluster node config: No space left on device"
    )


def test_epochs() -> None:
    redis = half_owner()
    assert redis.run("CLUSTER", "BUMPEPOCH") == "BUMPED 7"
    assert saved_before_reply(redis)
    assert redis.run("CLUSTER", "BUMPEPOCH") == "STILL 7"
    assert redis.error("CLUSTER", "SET-CONFIG-EPOCH", 9) == (
        "ERR The user can assign a config epoch only when the node does not know any other node."
    )
    alone = Harness(clustered=True)
    assert alone.run("CLUSTER", "SET-CONFIG-EPOCH", 9) == OK
    assert saved_before_reply(alone)
    assert b"cluster_my_epoch:9\r\n" in alone.run("CLUSTER", "INFO").text


# A node that holds keys -----------------------------------------------------------------------------------------------


def test_keys_stand_in_the_way() -> None:
    redis = half_owner()
    redis.run("SET", HERE, "v")
    slot = key_slot(HERE.encode())
    assert redis.error("CLUSTER", "REPLICATE", OTHER) == (
        "ERR To set a master the node must be empty and without assigned slots."
    )
    assert redis.error("CLUSTER", "RESET") == "ERR CLUSTER RESET can't be called with master nodes containing keys"
    assert redis.error("CLUSTER", "FLUSHSLOTS") == "ERR DB must be empty to perform CLUSTER FLUSHSLOTS."
    assert redis.error("CLUSTER", "SETSLOT", slot, "NODE", OTHER) == (
        f"ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
    )
    assert redis.run("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
    assert redis.run("CLUSTER", "GETKEYSINSLOT", slot, 10) == [HERE.encode()]
    assert redis.run("CLUSTER", "GETKEYSINSLOT", slot, 0) == []


def test_replicate_an_empty_node() -> None:
    redis = half_owner()
    assert redis.error("CLUSTER", "REPLICATE", OTHER) == (
        "ERR To set a master the node must be empty and without assigned slots."
    )
    redis.run("CLUSTER", "FLUSHSLOTS")
    redis.io.asked.clear()
    assert redis.run("CLUSTER", "REPLICATE", OTHER) == OK
    followed = [effect for _, effect in redis.io.asked if isinstance(effect, RoleChanged)]
    assert [(one.primary, one.address and one.address.port) for one in followed] == [(OTHER, 7001)]
    assert redis.error("CLUSTER", "SETSLOT", 1, "STABLE") == "ERR Please use SETSLOT only with masters."


# Where requests are sent ----------------------------------------------------------------------------------------------


def test_moved_and_crossslot() -> None:
    redis = half_owner()
    there = key_slot(THERE.encode())
    assert redis.run("SET", HERE, "v") == OK
    assert redis.run("GET", HERE) == b"v"
    assert redis.error("GET", THERE) == f"MOVED {there} 127.0.0.1:7001"
    assert redis.error("SET", THERE, 1) == f"MOVED {there} 127.0.0.1:7001"
    assert redis.error("DEL", HERE, THERE) == "CROSSSLOT Keys in request don't hash to the same slot"


def test_slots_of_nobody() -> None:
    redis = half_owner()
    slot = key_slot(HERE.encode())
    redis.run("CLUSTER", "DELSLOTS", slot)
    assert redis.error("GET", HERE) == "CLUSTERDOWN Hash slot not served"
    for step in range(1, 3):
        redis.node.cluster.step(Tick(), START_MS + step * 100)  # type: ignore[union-attr]
    assert redis.error("GET", HERE) == "CLUSTERDOWN Hash slot not served"
    assert redis.error("GET", THERE) == "CLUSTERDOWN The cluster is down"


def test_migrating_slot_asks_for_what_is_gone() -> None:
    redis = half_owner()
    slot = key_slot(b"2")
    redis.run("SET", "a{2}", 1)
    redis.run("SET", "b{2}", 1, "PX", 10)
    redis.run("CLUSTER", "SETSLOT", slot, "MIGRATING", OTHER)
    assert redis.run("GET", "a{2}") == b"1"
    assert redis.run("SET", "a{2}", 2) == OK
    assert redis.error("SET", "c{2}", 2) == f"ASK {slot} 127.0.0.1:7001"
    assert redis.run("DEL", "a{2}", "b{2}") == 2
    redis.run("CLUSTER", "SETSLOT", slot, "STABLE")
    assert redis.run("SET", "c{2}", 2) == OK


def test_migrating_slot_with_some_keys_gone() -> None:
    redis = half_owner()
    slot = key_slot(b"2")
    redis.run("SET", "a{2}", 1)
    redis.run("SET", "b{2}", 1, "PX", 10)
    redis.run("CLUSTER", "SETSLOT", slot, "MIGRATING", OTHER)
    assert redis.run("EXISTS", "a{2}", "b{2}") == 2
    redis.advance(10)
    assert redis.error("EXISTS", "a{2}", "b{2}") == "TRYAGAIN Multiple keys request during rehashing of slot"
    assert redis.error("EXISTS", "b{2}", "c{2}") == f"ASK {slot} 127.0.0.1:7001"


def test_importing_slot_serves_who_asks() -> None:
    redis = half_owner()
    slot = key_slot(THERE.encode())
    redis.run("CLUSTER", "SETSLOT", slot, "IMPORTING", OTHER)
    moved = f"MOVED {slot} 127.0.0.1:7001"
    assert redis.error("SET", THERE, 1) == moved
    assert redis.run("ASKING") == OK
    assert redis.run("SET", THERE, 1) == OK
    assert redis.error("GET", THERE) == moved, "ASKING holds for one request"
    redis.run("ASKING")
    assert redis.error("EXISTS", THERE, "x{1}") == "TRYAGAIN Multiple keys request during rehashing of slot"
    redis.run("ASKING")
    other = redis.connect()
    assert ask(redis, other, "GET", THERE) == moved, "nor for other clients"
    assert redis.run("GET", THERE) == b"1"


def test_asking_does_not_open_slots_that_are_not_imported() -> None:
    redis = half_owner()
    redis.run("ASKING")
    assert redis.error("GET", THERE).startswith("MOVED ")


def test_replica_serves_reads_to_those_who_want_it() -> None:
    redis = replica()
    redis.node.databases[0].store(HERE.encode(), b"v", None)
    slot = key_slot(HERE.encode())
    moved = f"MOVED {slot} 127.0.0.1:7001"
    assert redis.error("GET", HERE) == moved
    assert redis.error("SET", HERE, 1) == moved
    assert redis.run("READONLY") == OK
    assert redis.run("GET", HERE) == b"v"
    assert redis.error("SET", HERE, 1) == moved
    assert redis.run("READWRITE") == OK
    assert redis.error("GET", HERE) == moved


def test_redirects_are_told_in_the_clients_own_terms() -> None:
    redis = half_owner()
    assert redis.node.cluster is not None
    redis.node.config.set_many({"cluster-preferred-endpoint-type": "unknown-endpoint"})
    slot = key_slot(THERE.encode())
    assert redis.error("GET", THERE) == f"MOVED {slot} :7001"
    assert redis.run("CLUSTER", "SLOTS")[0][2][0] is None


def test_clients_inside_are_given_the_addresses_of_the_bus() -> None:
    redis = half_owner()
    assert redis.node.cluster is not None
    redis.node.cluster.members[OTHER].client_ipv4 = "203.0.113.7"
    redis.node.cluster.members[OTHER].client_ipv6 = "2001:db8::7"
    redis.node.config.set_many({"cluster-internal-networks": "10.0.0.0/8 !10.0.0.1"})
    slot = key_slot(THERE.encode())
    for ip, told in (
        ("198.51.100.1", "203.0.113.7"),
        ("10.0.0.9", "127.0.0.1"),
        ("::ffff:10.0.0.9", "127.0.0.1"),
        ("10.0.0.1", "203.0.113.7"),
        ("::ffff:198.51.100.1", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::7"),
    ):
        redis.client.ip = ip
        assert redis.error("GET", THERE) == f"MOVED {slot} {told}:7001"
        assert redis.run("CLUSTER", "SLOTS")[1][2][0] == told.encode()


def test_refused_requests_are_counted() -> None:
    redis = half_owner()
    command = COMMANDS.by_name[b"get"]
    before = command.calls, command.rejected
    redis.error("GET", THERE)
    assert (command.calls, command.rejected) == (before[0], before[1] + 1)


@pytest.mark.parametrize("state", [Unusual.LOADING, Unusual.STALE | Unusual.REPLICA, Unusual.TOO_FEW_REPLICAS,
                                   Unusual.SAVE_FAILED])  # fmt: skip
@pytest.mark.parametrize("line", ["GET", "SET"])
def test_who_is_wrong_here_is_sent_on_whatever_the_state_of_this_node(state: Unusual, line: str) -> None:
    """A primary that was just replaced loads its successor's data; clients that do not know yet must hear where that is."""
    redis = half_owner()
    redis.node.mark(state, True)
    value = ["v"] if line == "SET" else []
    assert redis.error(line, THERE, *value).startswith(f"MOVED {key_slot(THERE.encode())} ")
    if state & (Unusual.LOADING | Unusual.STALE) or line == "SET":
        assert not redis.error(line, HERE, *value).startswith("MOVED")
