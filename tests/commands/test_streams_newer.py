"""Streams since Redis 8.2: XDELEX, XACKDEL, KEEPREF DELREF ACKED, XREADGROUP CLAIM. No server here knows them: what is
expected is what Redis's pages say and its own tests ask for."""

from __future__ import annotations

from typing import Any

import pytest

from node.commands import streams_deleting
from node.gate import Deferred
from node.resp import NULL_ARRAY
from node.types.stream import Stream
from tests.commands.harness import Harness
from tests.oracle.facts import declared, plain
from tests.oracle.streams import plain_stream
from tests.oracle.wire import parse_whole


@pytest.fixture
def redis() -> Harness:
    return Harness()


def add(redis: Harness, *ids: int) -> None:
    for number in ids:
        redis.run("XADD", "s", number, "f", f"v{number}")


def deliver(redis: Harness, *groups: str) -> None:
    """Make these groups, and give all entries to a consumer of each."""
    for name in groups:
        redis.run("XGROUP", "CREATE", "s", name, 0)
        redis.run("XREADGROUP", "GROUP", name, f"of-{name}", "STREAMS", "s", ">")


def pending(redis: Harness, name: str) -> list[bytes]:
    return [row[0] for row in redis.run("XPENDING", "s", name, "-", "+", 100)]


def ids(redis: Harness) -> list[bytes]:
    return [b"%d-0" % (number >> 64) for number, _ in stream(redis).entries()]


def stream(redis: Harness) -> Stream:
    found = redis.node.databases[0].keys_of(b"s")[b"s"]
    assert isinstance(found, Stream)
    return found


def shown(redis: Harness, *request: object) -> Any:
    """The reply as plain data."""
    return plain(parse_whole(redis.wire(*request, protocol=3)))


# XDELEX ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("XDELEX", "s"), ("XACKDEL", "s", "g")])
def test_bad_arguments(redis: Harness, command: tuple[str, ...]) -> None:
    add(redis, 1)
    deliver(redis, "g")
    for count in ("abc", 0, -5, 1 << 64):
        assert redis.error(*command, "IDS", count, "1-1") == "ERR Number of IDs must be a positive integer"
    wrong = "ERR The `numids` parameter must match the number of arguments"
    assert redis.error(*command, "IDS", 3, "1-1", "2-2") == wrong
    assert redis.error(*command, "IDS", 1, "x") == "ERR Invalid stream ID specified as stream command argument"
    for rest in (
        ("IDS", 1, "1-1", "2-2"), ("KEEPREF", "DELREF", "IDS", 1, 1), ("ACKED", "ACKED", "IDS", 1, 1),
        ("BOGUS", "IDS", 1, 1), ("IDS", 1, 1, "IDS", 1, 1), ("IDS", 1, 1, "KEEPREF", "ACKED"),
        ("KEEPREF", "ACKED", "DELREF"),
    ):  # fmt: skip
        assert redis.error(*command, *rest) == "ERR syntax error"
    redis.run("SET", "text", "v")
    assert redis.error(command[0], "text", *command[2:], "IDS", 1, 1).startswith("WRONGTYPE")
    assert redis.error(command[0], "s", "IDS").startswith("ERR wrong number of arguments")
    assert ids(redis) == [b"1-0"]


def test_without_a_stream_or_group_there_is_no_entry(redis: Harness) -> None:
    assert redis.run("XDELEX", "s", "IDS", 2, 1, 2) == [-1, -1]
    assert redis.run("XACKDEL", "s", "g", "IDS", 2, 1, 2) == [-1, -1]
    add(redis, 1)
    assert redis.run("XACKDEL", "s", "g", "IDS", 1, 1) == [-1]
    assert redis.run("EXISTS", "s") == 1


def test_xdelex_and_what_is_pending(redis: Harness) -> None:
    add(redis, 1, 2, 3, 4)
    deliver(redis, "a", "b")
    assert redis.run("XDELEX", "s", "IDS", 2, 1, 9) == [1, -1]
    assert redis.run("XDELEX", "s", "keepref", "ids", 1, 2) == [1]
    assert pending(redis, "a") == [b"1-0", b"2-0", b"3-0", b"4-0"]
    assert redis.run("XDELEX", "s", "IDS", 2, 1, 3, "DELREF") == [-1, 1], "a reference outlived its entry"
    assert pending(redis, "a") == pending(redis, "b") == [b"2-0", b"4-0"]
    assert ids(redis) == [b"4-0"]
    assert shown(redis, "XINFO", "STREAM", "s")["max-deleted-entry-id"] == "3-0"


def test_xdelex_acked_waits_for_every_group(redis: Harness) -> None:
    add(redis, 1, 2)
    deliver(redis, "a", "b")
    redis.run("XGROUP", "CREATE", "s", "late", 0)
    redis.run("XACK", "s", "a", 1, 2)
    assert redis.run("XDELEX", "s", "ACKED", "IDS", 3, 1, 2, 7) == [2, 2, -1]
    redis.run("XACK", "s", "b", 1, 2)
    assert redis.run("XDELEX", "s", "ACKED", "IDS", 1, 1) == [2], "it was not delivered to all"
    redis.run("XREADGROUP", "GROUP", "late", "c", "STREAMS", "s", ">")
    assert redis.run("XDELEX", "s", "ACKED", "IDS", 1, 1) == [2]
    redis.run("XACK", "s", "late", 1)
    assert redis.run("XDELEX", "s", "ACKED", "IDS", 2, 1, 2) == [1, 2]
    redis.run("XGROUP", "DESTROY", "s", "late")
    assert redis.run("XDELEX", "s", "ACKED", "IDS", 1, 2) == [1]


def test_groups_that_begin_later_do_not_refer_to_what_was_before(redis: Harness) -> None:
    add(redis, 1, 2, 3)
    redis.run("XGROUP", "CREATE", "s", "a", 1)
    redis.run("XGROUP", "CREATE", "s", "b", 3)
    assert redis.run("XDELEX", "s", "ACKED", "IDS", 2, 1, 2) == [1, 2]
    redis.run("XGROUP", "DESTROY", "s", "a")
    assert redis.run("XDELEX", "s", "ACKED", "IDS", 1, 2) == [1]


# XACKDEL --------------------------------------------------------------------------------------------------------------


def test_xackdel(redis: Harness) -> None:
    add(redis, 1, 2, 3, 4)
    deliver(redis, "a", "b")
    assert redis.run("XACKDEL", "s", "a", "IDS", 1, 1) == [1]
    assert pending(redis, "b") == [b"1-0", b"2-0", b"3-0", b"4-0"]
    assert redis.run("XACKDEL", "s", "b", "KEEPREF", "IDS", 1, 1) == [1], "it is acknowledged though the entry is gone"
    assert redis.run("XACKDEL", "s", "a", "DELREF", "IDS", 2, 2, 1) == [1, -1]
    assert pending(redis, "a") == pending(redis, "b") == [b"3-0", b"4-0"]
    assert redis.run("XACKDEL", "s", "b", "DELREF", "IDS", 1, 2) == [-1]
    assert redis.run("XACKDEL", "s", "a", "ACKED", "IDS", 2, 3, 4) == [2, 2]
    assert ids(redis) == [b"3-0", b"4-0"]
    assert redis.run("XACKDEL", "s", "b", "ACKED", "IDS", 2, 3, 4) == [1, 1]
    assert ids(redis) == pending(redis, "a") == pending(redis, "b") == []


# XADD and XTRIM -------------------------------------------------------------------------------------------------------


def test_trimming_spares_what_is_not_acknowledged(redis: Harness) -> None:
    add(redis, 1, 2, 3, 4, 5)
    redis.run("XGROUP", "CREATE", "s", "g", 0)
    redis.run("XADD", "s", "MAXLEN", "=", 1, "ACKED", 6, "f", "v")
    assert redis.run("XLEN", "s") == 6
    redis.run("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "s", ">")
    redis.run("XACK", "s", "g", 1)
    redis.run("XADD", "s", "MAXLEN", "=", 1, "ACKED", 7, "f", "v")
    assert ids(redis) == [b"2-0", b"3-0", b"4-0", b"5-0", b"6-0", b"7-0"]
    redis.run("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    redis.run("XACK", "s", "g", *range(2, 8))
    redis.run("XADD", "s", "ACKED", "MAXLEN", 1, "*", "f", "v")
    assert redis.run("XLEN", "s") == 1


def test_trimming_goes_on_behind_a_node_that_stays() -> None:
    redis = Harness(settings={"stream-node-max-entries": "2"})
    add(redis, 1, 2, 3, 4, 5)
    deliver(redis, "g")
    redis.run("XACK", "s", "g", 1, 2, 4)
    assert redis.run("XTRIM", "s", "MINID", "~", 6, "ACKED") == 3
    assert ids(redis) == [b"3-0", b"5-0"]
    assert redis.run("XTRIM", "s", "MAXLEN", 1, "KEEPREF") == 1
    assert pending(redis, "g") == [b"3-0", b"5-0"]


def test_trimming_takes_references_with_it() -> None:
    redis = Harness(settings={"stream-node-max-entries": "2"})
    add(redis, 1, 2, 3, 4, 5)
    deliver(redis, "g")
    assert redis.run("XTRIM", "s", "MINID", "~", 5, "DELREF") == 4
    assert pending(redis, "g") == ids(redis) == [b"5-0"]
    redis.run("XADD", "s", "DELREF", "MAXLEN", 1, 6, "f", "v")
    assert pending(redis, "g") == []
    assert ids(redis) == [b"6-0"]


@pytest.mark.parametrize("policy", ["KEEPREF", "DELREF", "ACKED"])
def test_without_groups_no_policy_has_an_effect(redis: Harness, policy: str) -> None:
    other = Harness()
    for one, words in ((redis, (policy,)), (other, ())):
        for number in range(1, 9):
            one.run("XADD", "s", *words, "MAXLEN", 5, number, "f", "v")
        assert one.run("XTRIM", "s", "MAXLEN", 3, *words) == 2
        assert one.run("XADD", "s", *words, 9, "f", "v") == b"9-0"
    assert plain_stream(stream(redis)) == plain_stream(stream(other))
    assert redis.error("XADD", "s", policy, policy, 10, "f", "v").startswith("ERR Invalid stream ID")
    assert redis.error("XTRIM", "s", "MAXLEN", 1, policy, "ACKED") == "ERR syntax error"


# XREADGROUP CLAIM -----------------------------------------------------------------------------------------------------


def claim(redis: Harness, idle: object, *words: object, consumer: str = "c2") -> Any:
    """What is read of s: id, value, idle time and count of each entry; None when nothing is."""
    reply = shown(redis, "XREADGROUP", "GROUP", "g", consumer, "CLAIM", idle, *words, "STREAMS", "s", ">")
    return None if reply is None else [(one[0], one[1][1], *one[2:]) for one in reply["s"]]


def test_claims_come_first_and_the_longest_idle_before_all(redis: Harness) -> None:
    add(redis, 1, 2, 3, 4)
    redis.run("XGROUP", "CREATE", "s", "g", 0)
    redis.run("XREADGROUP", "GROUP", "g", "c1", "COUNT", 3, "STREAMS", "s", ">")
    redis.run("XCLAIM", "s", "g", "c1", 0, 3, "IDLE", 500, "JUSTID")
    redis.advance(100)
    assert claim(redis, 101, "COUNT", 1) == [("3-0", "v3", 600, 1)]
    assert claim(redis, 100) == [("1-0", "v1", 100, 1), ("2-0", "v2", 100, 1), ("4-0", "v4", 0, 0)]
    assert claim(redis, 1) is None
    assert {row[1] for row in redis.run("XPENDING", "s", "g", "-", "+", 9)} == {b"c2"}
    redis.advance(5)
    assert claim(redis, 5, consumer="c3") == [
        ("1-0", "v1", 5, 2), ("2-0", "v2", 5, 2), ("3-0", "v3", 5, 2), ("4-0", "v4", 5, 1)
    ]  # fmt: skip
    redis.run("XACK", "s", "g", 1, 3)
    redis.run("XDEL", "s", 2)
    redis.advance(5)
    assert claim(redis, 0) == [("4-0", "v4", 5, 2)], "what is deleted can not be claimed"
    assert pending(redis, "g") == [b"2-0", b"4-0"]


def test_count_is_for_both_together(redis: Harness) -> None:
    add(redis, *range(1, 7))
    redis.run("XGROUP", "CREATE", "s", "g", 0)
    redis.run("XREADGROUP", "GROUP", "g", "c1", "COUNT", 2, "STREAMS", "s", ">")
    redis.advance(50)
    assert [one[0] for one in claim(redis, 50, "COUNT", 3)] == ["1-0", "2-0", "3-0"]
    assert [one[0] for one in claim(redis, 50, "COUNT", 2)] == ["4-0", "5-0"]


def test_no_ack_is_not_for_what_is_claimed(redis: Harness) -> None:
    add(redis, 1, 2)
    redis.run("XGROUP", "CREATE", "s", "g", 0)
    redis.run("XREADGROUP", "GROUP", "g", "c1", "COUNT", 1, "STREAMS", "s", ">")
    redis.advance(50)
    assert len(claim(redis, 50, "NOACK")) == 2
    assert pending(redis, "g") == [b"1-0"]


def test_history_knows_no_claims(redis: Harness) -> None:
    add(redis, 1)
    deliver(redis, "g")
    reply = shown(redis, "XREADGROUP", "GROUP", "g", "of-g", "CLAIM", 0, "STREAMS", "s", 0)
    assert reply == {"s": [["1-0", ["f", "v1"]]]}


def test_bad_claims(redis: Harness) -> None:
    add(redis, 1)
    deliver(redis, "g")
    head = ("XREADGROUP", "GROUP", "g", "c")
    for text in ("x", "5.5", "+10", "-0", "", "STREAMS"):
        assert redis.error(*head, "CLAIM", text, "STREAMS", "s", ">").startswith("ERR min-idle-time is not an integer")
    assert redis.error(*head, "CLAIM", -1, "STREAMS", "s", ">") == "ERR min-idle-time must be a positive integer"
    assert redis.error("XREAD", "CLAIM", 1, "STREAMS", "s", 0).startswith("ERR The CLAIM option is only supported by")
    assert redis.run(*head, "CLAIM", (1 << 63) - 1, "STREAMS", "s", ">") is NULL_ARRAY


def waiting(redis: Harness, consumer: str, idle: int, block: int) -> Deferred:
    request = ("XREADGROUP", "GROUP", "g", consumer, "BLOCK", block, "CLAIM", idle, "STREAMS", "s", ">")
    client = redis.connect()
    reply = redis.node.executor.execute(client, [str(word).encode() for word in request])
    assert isinstance(reply, Deferred)
    return reply


def test_who_waits_gets_what_becomes_idle(redis: Harness) -> None:
    add(redis, 1)
    deliver(redis, "g")
    reply = waiting(redis, "c2", 1000, 5000)
    assert ("call_later", 1001) in redis.io.asked
    redis.advance(999)
    assert not reply.ready
    redis.advance(1)
    assert reply.ready
    assert pending(redis, "g") == [b"1-0"]
    assert redis.run("XPENDING", "s", "g", "-", "+", 9)[0][1:] == [b"c2", 0, 2]


def test_of_two_that_wait_the_second_gets_what_the_first_did_not_acknowledge(redis: Harness) -> None:
    redis.run("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    first, second = waiting(redis, "c1", 100, 0), waiting(redis, "c2", 100, 0)
    redis.advance(70)
    add(redis, 1)
    assert first.ready
    for _ in range(9):
        redis.advance(10)
        assert not second.ready
    redis.advance(10)
    redis.advance(10)
    assert second.ready


def test_waiting_for_claims_ends(redis: Harness) -> None:
    add(redis, 1)
    deliver(redis, "g")
    reply = waiting(redis, "c2", 500, 100)
    redis.advance(100)
    assert reply.ready
    assert pending(redis, "g") == [b"1-0"]
    assert redis.run("XPENDING", "s", "g", "-", "+", 9)[0][1] == b"of-g"


def test_claiming_a_few_of_many_looks_at_few(redis: Harness) -> None:
    """Not at all that is pending: it takes the same steps with a thousand times as much."""
    redis.run("XGROUP", "CREATE", "s", "g", 0, "MKSTREAM")
    for number in range(1, 20_001):
        redis.run("XADD", "s", number, "f", "v")
    redis.run("XREADGROUP", "GROUP", "g", "c1", "STREAMS", "s", ">")
    redis.advance(10)
    group = stream(redis).groups[b"g"]
    looked: list[int] = []

    def there(number: int) -> bool:
        looked.append(number)
        return True

    for turn in range(1, 50):
        found = group.longest_idle(redis.node.now_ms - 10, 3, there)
        assert [number >> 64 for number in found] == [3 * turn - 2, 3 * turn - 1, 3 * turn]
        for number in found:
            group.assign(number, group.consumers[b"c1"], redis.node.now_ms, 2)
    assert len(looked) <= 49 * 4


# What is told ---------------------------------------------------------------------------------------------------------


class Told:
    """What replicas are told, and a replica that is told it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
        self.primary, self.replica = Harness(settings=settings), Harness(settings=settings)
        self.names: list[str] = []
        self.primary.node.replication.feeding = True
        monkeypatch.setattr(self.primary.node, "propagate", self._tell)

    def _tell(self, database: object, args: list[bytes]) -> None:
        self.names.append(args[0].decode().upper())
        self.replica.node.set_time(self.primary.node.now_ms)
        self.replica.run(*args)


def test_replicas_are_told_in_words_of_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis 7 and Valkey know XDEL, XACK and XCLAIM; what they are told leaves the same stream."""
    told = Told(monkeypatch, **{"stream-node-max-entries": "3"})
    redis = told.primary
    add(redis, *range(1, 21))
    for name in "gh":
        redis.run("XGROUP", "CREATE", "s", name, 0)
        redis.run("XREADGROUP", "GROUP", name, "c1", "COUNT", 15, "STREAMS", "s", ">")
    redis.advance(10)
    for request in (
        "XACK s g 1 2 3 5 7", "XACK s h 1 2 3 6 7", "XDELEX s ACKED IDS 3 1 5 7", "XDELEX s DELREF IDS 2 6 8",
        "XDELEX s KEEPREF IDS 1 9", "XACKDEL s g DELREF IDS 2 10 1", "XACKDEL s h ACKED IDS 1 11",
        "XTRIM s MINID ~ 9 ACKED", "XADD s DELREF MAXLEN ~ 8 21 f v", "XADD s ACKED MAXLEN 2 NOMKSTREAM * f v",
        "XREADGROUP GROUP g c2 CLAIM 5 COUNT 4 STREAMS s >", "XREADGROUP GROUP g c2 CLAIM 0 STREAMS s >",
        "XTRIM s MAXLEN 3 DELREF", "XADD s KEEPREF 99999999999999 f v",
    ):  # fmt: skip
        redis.run(*request.split())
        ours, theirs = plain_stream(stream(redis)), plain_stream(stream(told.replica))
        for one in (*ours["groups"].values(), *theirs["groups"].values()):
            one[3].pop(b"c2", None)  # a consumer that got nothing is not told of
        assert ours == theirs, request
    assert set(told.names) == {"XADD", "XGROUP", "XCLAIM", "XACK", "XDEL", "XTRIM"}


def test_nothing_is_told_of_what_changed_nothing(redis: Harness) -> None:
    add(redis, 1)
    deliver(redis, "g")
    before = redis.node.dirty
    redis.run("XDELEX", "s", "IDS", 1, 5)
    redis.run("XDELEX", "s", "ACKED", "IDS", 1, 1)
    redis.run("XACKDEL", "s", "g", "IDS", 1, 5)
    assert redis.node.dirty == before


# Facts ----------------------------------------------------------------------------------------------------------------


def test_facts() -> None:
    """As Redis's pages have them."""
    commands = {one.name: declared(one) for one in streams_deleting.group.commands}
    for name, arity, flags in (("xdelex", -5, ["RW", "delete"]), ("xackdel", -6, ["RW", "delete", "update"])):
        facts = commands[name]
        assert (facts["arity"], facts["since"], facts["group"]) == (arity, "8.2.0", "stream")
        assert facts["flags"] == ["fast", "write"]
        assert facts["categories"] == ["@fast", "@stream", "@write"]
        assert facts["keys"][0][0] == flags
        assert facts["range"] == (1, 1, 1)


def test_arguments(redis: Harness) -> None:
    docs = shown(redis, "COMMAND", "DOCS", "xdelex")["xdelex"]["arguments"]
    policy, block = docs[1], docs[2]
    assert [one["token"] for one in policy["arguments"]] == ["KEEPREF", "DELREF", "ACKED"]
    assert (policy["type"], policy["flags"]) == ("oneof", ["optional"])
    assert (block["type"], block["token"]) == ("block", "IDS")
    assert [(one["name"], one["type"]) for one in block["arguments"]] == [("numids", "integer"), ("id", "string")]
