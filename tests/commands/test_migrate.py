"""MIGRATE in process: the other server is the test, which looks at what was sent and answers as it likes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cluster.events import Tick
from cluster.slots import key_slot
from node.client import Client, Unusual
from node.errors import CommandError
from node.executor import Postponed
from node.gate import Deferred
from node.persistence import payload
from node.protocol import RequestParser
from node.state import COMMANDS, without_passwords
from node.transit import Failure, Shipment
from tests.cluster.machines import NOW, THIRD, B, three
from tests.commands.harness import Harness, RecordingObserver, encoded

TARGET = ("127.0.0.1", 7001)


def migrate(redis: Harness, *args: object, key: object = "k", client: Client | None = None) -> tuple[Deferred, Shipment]:
    """MIGRATE's reply to come and what it handed to the connection."""
    request = [encoded(one) for one in ("MIGRATE", *TARGET, key, 0, 500, *args)]
    reply = redis.node.executor.execute(client or redis.client, request)
    assert isinstance(reply, Deferred) and not reply.ready
    what, shipment = redis.io.asked[-1]
    assert what == "ship"
    return reply, cast(Shipment, shipment)


def sent(shipment: Shipment, selected: int = 0) -> list[list[bytes]]:
    """All requests that go to the other server."""
    return RequestParser().feed(b"".join(shipment.begin(selected)))


def finish(shipment: Shipment, *lines: str) -> None:
    """The other server answers; the last line must be what ends it."""
    done = [shipment.answered(line.encode()) for line in lines]
    assert done == [False] * (len(lines) - 1) + [True]
    shipment.done()


def told(redis: Harness) -> list[list[bytes]]:
    """What goes to replicas from here on."""
    stream: list[list[bytes]] = []
    redis.node.replication.feeding = True
    redis.node.replication.feed = lambda database, args: stream.append(list(args))  # type: ignore[method-assign]
    return stream


@pytest.fixture
def redis() -> Harness:
    return Harness()


# What travels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clustered", [False, True])
def test_the_key_goes_when_it_has_arrived(clustered: bool) -> None:
    redis = Harness(clustered=clustered)
    redis.run("SET", "k", "value", "PX", 7000)
    stream, observer = told(redis), RecordingObserver()
    redis.node.observers.append(observer)
    redis.advance(1000)
    reply, shipment = migrate(redis)
    (restore,) = sent(shipment)
    assert restore[:3] == [b"RESTORE-ASKING" if clustered else b"RESTORE", b"k", b"6000"] and len(restore) == 4
    assert payload.restore(restore[3]) == b"value"
    assert redis.run("GET", "k") == b"value" and stream == []
    finish(shipment, "+OK")
    assert reply.ready and reply.value == "OK"
    assert redis.run("EXISTS", "k") == 0
    assert stream == [[b"DEL", b"k"]] and observer.seen == [("del", b"k")]
    assert not redis.node.unusual and redis.run("MIGRATE", *TARGET, "k", 0, 500) == "NOKEY"


def test_options_credentials_and_the_database(redis: Harness) -> None:
    redis.run("MSET", "a", 1, "b", 2)
    reply, shipment = migrate(redis, "copy", "REPLACE", "auth2", "me", "keys", "KEYS", "b", "nothing", "a", key="")
    assert shipment.keys == [b"b", b"a"]
    requests = sent(shipment, selected=-1)  # The database is not known on a new connection.
    assert requests[:2] == [[b"AUTH", b"me", b"keys"], [b"SELECT", b"0"]]
    assert [(one[1], one[-1]) for one in requests[2:]] == [(b"b", b"REPLACE"), (b"a", b"REPLACE")]
    finish(shipment, "+OK", "+OK", "+OK", "+OK")
    assert reply.value == "OK" and redis.run("EXISTS", "a", "b") == 2


def test_a_big_value_is_written_in_pieces(redis: Harness) -> None:
    names = [f"member:{number}" * 5 for number in range(20_000)]
    redis.run("SADD", "k", *names)
    _, shipment = migrate(redis)
    pieces = list(shipment.begin(0))
    assert pieces.count(b"") > 3, "the loop is not given back"
    (restore,) = RequestParser().feed(b"".join(pieces))
    value: Any = payload.restore(restore[3])
    assert set(value.members()) == {name.encode() for name in names}


def test_what_expires_on_the_way_is_not_sent(redis: Harness) -> None:
    redis.run("SET", "a", "x", "PX", 10)
    redis.run("SET", "b", "x", "PX", 10)
    reply, shipment = migrate(redis, "KEYS", "a", "b", key="")
    requests = shipment.begin(0)
    assert b"RESTORE" in next(requests)
    redis.advance(20)
    rest = b"".join(requests)
    assert b"RESTORE" not in rest
    finish(shipment, "+OK")
    assert reply.value == "OK" and redis.run("EXISTS", "a", "b") == 0


# In which version -----------------------------------------------------------------------------------------------------

WRONG = "-ERR DUMP payload version or checksum are wrong"
BAD = "-ERR Bad data format"


def versions(requests: list[list[bytes]]) -> dict[bytes, int]:
    """The RDB version of each key's payload."""
    return {one[1]: payload.version_of(one[3]) for one in requests}


def again(shipment: Shipment) -> list[list[bytes]]:
    """What goes to the other server when it has answered."""
    assert shipment.wants_more and not shipment.is_complete
    return RequestParser().feed(b"".join(shipment.go_on()))


def with_fields_that_expire(redis: Harness, key: str) -> None:
    redis.run("HSET", key, "f", "v", "g", "w")
    redis.run("HPEXPIRE", key, 10**6, "FIELDS", 1, "f")


def test_what_an_older_server_can_not_read_goes_in_an_older_form(redis: Harness) -> None:
    redis.run("SET", "text", "x")
    redis.run("SADD", "k", "a", "b")
    reply, shipment = migrate(redis, "KEYS", "text", "k", key="")
    assert versions(sent(shipment)) == {b"text": 6, b"k": 11}
    assert [shipment.answered(line.encode()) for line in ("+OK", WRONG)] == [False, False]
    assert shipment.arrived == [b"text"]
    (second,) = again(shipment)
    assert versions([second])[b"k"] <= 10 and set(cast(Any, payload.restore(second[3])).members()) == {b"a", b"b"}
    finish(shipment, "+OK")
    assert reply.value == "OK" and redis.run("DBSIZE") == 0
    redis.run("SADD", "next", "a", "b")
    with_fields_that_expire(redis, "h")
    _, following = migrate(redis, "KEYS", "next", "h", key="")
    assert shipment.version == 10
    found = versions(RequestParser().feed(b"".join(following.begin(0, shipment.version))))
    assert found[b"next"] <= 10 and found[b"h"] == 80, "the deadlines must not be left out"


@pytest.mark.parametrize("known", [80, 12])
def test_fields_that_expire_go_in_the_form_that_the_target_reads(redis: Harness, known: int) -> None:
    """Valkey 9 reads its own and no other, Redis 7.4 its own."""
    with_fields_that_expire(redis, "k")
    deadlines = redis.run("HPEXPIRETIME", "k", "FIELDS", 2, "f", "g")
    reply, shipment = migrate(redis)
    requests = sent(shipment)
    assert versions(requests) == {b"k": 80}
    if known == 12:
        assert not shipment.answered(WRONG.encode())
        requests = again(shipment)
        assert versions(requests) == {b"k": 12}
    finish(shipment, "+OK")
    assert reply.value == "OK" and shipment.version == known
    assert redis.run("RESTORE", *requests[0][1:]) == "OK"
    assert redis.run("HPEXPIRETIME", "k", "FIELDS", 2, "f", "g") == deadlines


@pytest.mark.parametrize(("what", "answers", "why"), [
    ("fields", [WRONG, WRONG], "it has no fields of hashes that expire"),
    ("fields", [WRONG, BAD], "it has no fields of hashes that expire"),
    ("json", [BAD], "it has no module for values of type ReJSON-RL"),
    ("set", [WRONG, BAD], "it can not read this set"),
    ("text", [BAD], "it can not read this string"),
])
def test_what_the_target_has_no_form_for_stays(redis: Harness, what: str, answers: list[str], why: str) -> None:
    match what:
        case "fields":
            with_fields_that_expire(redis, "k")
        case "json":
            redis.run("JSON.SET", "k", "$", "{}")
        case "set":
            redis.run("SADD", "k", "a", "b")
        case _:
            redis.run("SET", "k", "x")
    reply, shipment = migrate(redis)
    sent(shipment)
    if len(answers) == 2:
        assert not shipment.answered(answers[0].encode())
        again(shipment)
    finish(shipment, answers[-1])
    assert reply.value.text == f"ERR Target instance replied with error: {answers[0][1:]} ({why})"
    assert redis.run("EXISTS", "k") == 1 and not redis.node.unusual


def test_a_connection_that_is_lost_before_the_second_form(redis: Harness) -> None:
    redis.run("SADD", "k", "a", "b")
    reply, shipment = migrate(redis)
    sent(shipment)
    assert not shipment.answered(WRONG.encode())
    shipment.failed()
    assert reply.value.text == "IOERR error or timeout reading to target instance" and redis.run("EXISTS", "k") == 1


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_an_error_of_one_key_leaves_that_key_only(redis: Harness) -> None:
    redis.run("MSET", "a", 1, "b", 2, "c", 3)
    stream = told(redis)
    reply, shipment = migrate(redis, "KEYS", "a", "b", "c", key="")
    sent(shipment)
    finish(shipment, "+OK", "-BUSYKEY Target key name already exists.", "+OK")
    assert isinstance(reply.value, CommandError)
    assert reply.value.text == "ERR Target instance replied with error: BUSYKEY Target key name already exists."
    assert redis.run("KEYS", "*") == [b"b"] and stream == [[b"DEL", b"a", b"c"]]
    assert redis.node.stats.errors == {"ERR": 1}


@pytest.mark.parametrize("lines", [["-WRONGPASS no", "+OK", "+OK"], ["+OK", "-ERR DB index is out of range", "+OK"]])
def test_a_refused_password_or_database_moves_nothing(redis: Harness, lines: list[str]) -> None:
    redis.run("SET", "k", 1)
    reply, shipment = migrate(redis, "AUTH", "x")
    sent(shipment, selected=-1)
    finish(shipment, *lines)
    (refusal,) = [line[1:] for line in lines if line[0] == "-"]
    assert reply.value.text == f"ERR Target instance replied with error: {refusal}"
    assert redis.run("GET", "k") == b"1"


def test_a_connection_that_breaks(redis: Harness) -> None:
    redis.run("MSET", "a", 1, "b", 2)
    reply, shipment = migrate(redis, "KEYS", "a", "b", key="")
    shipment.failed(Failure.CONNECTING)
    assert reply.value.text == "IOERR error or timeout connecting to the client"
    reply, shipment = migrate(redis, "KEYS", "a", "b", key="")
    next(shipment.begin(0))
    shipment.failed()
    assert reply.value.text == "IOERR error or timeout writing to target instance"
    assert redis.run("EXISTS", "a", "b") == 2
    reply, shipment = migrate(redis, "KEYS", "a", "b", key="")
    sent(shipment)
    assert not shipment.answered(b"+OK")
    shipment.failed()
    assert reply.value.text == "IOERR error or timeout reading to target instance"
    assert redis.run("KEYS", "*") == [b"b"], "what was confirmed has gone"


def test_a_node_that_became_a_replica_removes_nothing(redis: Harness) -> None:
    redis.run("SET", "k", 1)
    reply, shipment = migrate(redis)
    sent(shipment)
    redis.node.mark(Unusual.REPLICA, True)
    finish(shipment, "+OK")
    assert reply.value.text.startswith("UNBLOCKED ")
    assert redis.run("GET", "k") == b"1" and not redis.node.unusual & Unusual.IN_TRANSIT


def test_a_client_that_left_meanwhile(redis: Harness) -> None:
    other = redis.connect()
    redis.run("SET", "k", 1)
    reply, shipment = migrate(redis, client=other)
    sent(shipment)
    redis.node.forget_client(other)
    finish(shipment, "+OK")
    assert not reply.ready and redis.run("EXISTS", "k") == 0


@pytest.mark.parametrize(("request_", "text"), [
    ("a b c 0 0 KEYS d", "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"),
    ("a b c d e", "ERR value is not an integer or out of range"),
    ("a b c 0 x", "ERR value is not an integer or out of range"),
    ("a b c 0 0 FOO", "ERR syntax error"),
    ("a b c 0 0 AUTH", "ERR syntax error"),
    ("a b c 0 0 AUTH2 x", "ERR syntax error"),
])
def test_what_is_no_request(redis: Harness, request_: str, text: str) -> None:
    assert redis.error("MIGRATE", *request_.split()) == text


def test_not_in_a_transaction(redis: Harness) -> None:
    redis.run("SET", "k", 1)
    redis.run("MULTI")
    assert redis.run("MIGRATE", *TARGET, "k", 0, 500) == "QUEUED"
    (refused,) = cast(Any, redis.run("EXEC"))
    assert refused.text.startswith("ERR MIGRATE inside MULTI is not allowed")


# Who waits ------------------------------------------------------------------------------------------------------------


def attempt(redis: Harness, client: Client, line: str) -> object:
    """A reply, or `waits`."""
    try:
        return redis.node.executor.execute(client, [word.encode() for word in line.split()])
    except Postponed:
        return "waits"


@pytest.mark.parametrize("line", ["SET k 2", "DEL other k", "EXPIRE k 10", "RENAME k x", "RENAME other k", "FLUSHALL",
                                  "SWAPDB 0 1", "MIGRATE h 1 k 0 0", "GETDEL k"])
def test_who_may_change_a_key_in_transit_waits(redis: Harness, line: str) -> None:
    redis.run("MSET", "k", 1, "other", 2)
    other = redis.connect()
    reply, shipment = migrate(redis)
    requests = sent(shipment)
    assert attempt(redis, other, line) == "waits"
    assert ("resume_clients",) not in redis.io.asked
    finish(shipment, "+OK")
    assert reply.value == "OK" and payload.restore(requests[0][3]) in (1, b"1")
    assert redis.io.asked[-1] == ("resume_clients",)
    assert redis.run("EXISTS", "k") == 0
    if line == "RENAME k x":
        with pytest.raises(CommandError):
            attempt(redis, other, line)
    elif line.startswith("MIGRATE"):
        assert attempt(redis, other, line) == "NOKEY"
    else:
        assert attempt(redis, other, line) != "waits"


@pytest.mark.parametrize("line", ["GET k", "SET other 3", "STRLEN k", "RENAME other x", "MGET k other", "PING"])
def test_who_changes_no_key_in_transit_does_not_wait(redis: Harness, line: str) -> None:
    redis.run("MSET", "k", 1, "other", 2)
    _, shipment = migrate(redis)
    sent(shipment)
    assert attempt(redis, redis.connect(), line) != "waits"
    finish(shipment, "+OK")
    assert ("resume_clients",) not in redis.io.asked


def test_a_transaction_waits_as_a_whole(redis: Harness) -> None:
    redis.run("MSET", "k", 1, "other", 2)
    other = redis.connect()
    _, shipment = migrate(redis)
    sent(shipment)
    for line, reply in (("MULTI", "OK"), ("INCR other", "QUEUED"), ("INCR k", "QUEUED"), ("EXEC", "waits")):
        assert attempt(redis, other, line) == reply
    assert redis.run("GET", "other") == b"2"
    finish(shipment, "+OK")
    assert attempt(redis, other, "EXEC") == [3, 1]


def test_a_blocked_client_moves_nothing_into_a_key_in_transit(redis: Harness) -> None:
    waiting = redis.connect()
    redis.run("RPUSH", "k", "a")
    moved = redis.node.executor.execute(waiting, [b"BLMOVE", b"source", b"k", b"LEFT", b"RIGHT", b"0"])
    assert isinstance(moved, Deferred)
    _, shipment = migrate(redis)
    sent(shipment)
    redis.run("RPUSH", "source", "x")
    assert not moved.ready and redis.run("LLEN", "source") == 1
    finish(shipment, "+OK")
    assert moved.value == b"x" and redis.run("LRANGE", "k", 0, -1) == [b"x"] and redis.run("EXISTS", "source") == 0


def test_several_shipments_at_a_time(redis: Harness) -> None:
    redis.run("MSET", "a", 1, "b", 2)
    _, one = migrate(redis, key="a")
    _, other = migrate(redis, key="b", client=redis.connect())
    sent(one)
    sent(other)
    finish(other, "+OK")
    assert attempt(redis, redis.connect(), "SET a 2") == "waits"
    assert attempt(redis, redis.connect(), "SET b 2") == "OK"
    finish(one, "+OK")
    assert redis.run("KEYS", "*") == [b"b"] and not redis.node.unusual


# What is told of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("request_", "keys"), [
    (["h", "p", "k", "0", "0", "COPY"], ["k"]),
    (["h", "p", "", "0", "0", "COPY", "KEYS", "a", "b"], ["a", "b"]),
    (["h", "p", "", "0", "0", "AUTH", "keys", "KEYS", "a", "b"], ["a", "b"]),
    (["h", "p", "", "0", "0", "AUTH2", "KEYS", "a", "KEYS", "b"], ["b"]),
    (["h", "p", "x", "0", "0", "KEYS", "a"], []),
])
def test_where_the_keys_are(redis: Harness, request_: list[str], keys: list[str]) -> None:
    found = COMMANDS.resolve([b"migrate"]).keys_of([b"MIGRATE", *map(str.encode, request_)])
    assert found == [key.encode() for key in keys]


def test_passwords_are_not_shown() -> None:
    shown = without_passwords([b"MIGRATE", b"h", b"1", b"", b"0", b"0", b"AUTH2", b"me", b"pw", b"KEYS", b"auth", b"x"])
    assert shown[6:] == [b"AUTH2", b"(redacted)", b"(redacted)", b"KEYS", b"auth", b"x"]


# Who waits for a key of a slot that goes ------------------------------------------------------------------------------


def in_three() -> tuple[Harness, int, str]:
    """A node that owns a third of the slots; one of them, and a key in it."""
    cluster = three()
    cluster.step(Tick(), NOW)
    redis = Harness(cluster=cluster)
    redis.node.set_time(NOW)
    slot, key = next((key_slot(key.encode()), key) for key in map(str, range(1000)) if key_slot(key.encode()) < THIRD)
    redis.node.slots_changed()
    return redis, slot, key


@pytest.mark.parametrize("step", ["MIGRATING", "NODE"])
def test_a_blocked_client_is_sent_after_its_slot(step: str) -> None:
    redis, slot, key = in_three()
    other = redis.connect()
    waiting = redis.node.executor.execute(redis.client, [b"BLPOP", key.encode(), b"0"])
    elsewhere = next(one for one in map(str, range(1000)) if slot != key_slot(one.encode()) < THIRD)
    stays = redis.node.executor.execute(other, [b"BLPOP", elsewhere.encode(), b"0"])
    assert isinstance(waiting, Deferred) and isinstance(stays, Deferred)
    redis.node.executor.execute(redis.connect(), [b"CLUSTER", b"SETSLOT", b"%d" % slot, step.encode(), B.encode()])
    redis.node.slots_changed()
    assert waiting.value.text == f"{'ASK' if step == 'MIGRATING' else 'MOVED'} {slot} 10.0.0.11:7000"
    assert not stays.ready


def test_who_asked_for_a_slot_that_comes_goes_on_waiting() -> None:
    redis, _, _ = in_three()
    key = next(key for key in map(str, range(1000)) if THIRD <= key_slot(key.encode()) < 2 * THIRD)
    operator = redis.connect()
    order = [b"CLUSTER", b"SETSLOT", b"%d" % key_slot(key.encode()), b"IMPORTING", B.encode()]
    assert redis.node.executor.execute(operator, order) == "OK"
    redis.run("ASKING")
    waiting = redis.node.executor.execute(redis.client, [b"BLPOP", key.encode(), b"0"])
    assert isinstance(waiting, Deferred)
    redis.node.executor.execute(operator, [b"CLUSTER", b"SETSLOT", b"5", b"MIGRATING", B.encode()])
    redis.node.slots_changed()
    assert not waiting.ready
    redis.node.executor.execute(operator, [b"ASKING"])
    redis.node.executor.execute(operator, [b"RPUSH", key.encode(), b"x"])
    assert waiting.value == [key.encode(), b"x"]
