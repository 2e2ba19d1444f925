"""Lists and sets as bytes: every encoding that ever was, damage under a right checksum, real servers both ways."""

from __future__ import annotations

import random
from array import array
from struct import pack
from typing import Any

import pytest

from node.persistence import intset, listpack
from node.persistence.errors import PayloadError
from node.persistence.options import SaveOptions
from node.persistence.payload import BAD_DATA, dump, restore
from node.persistence.rdb import RdbReader, RdbWriter, standard_aux
from node.persistence.records import Key
from node.persistence.wire import encode_length, encode_string
from node.types.blocks import PLAIN, Block
from node.types.list import List
from node.types.set import Set
from tests.commands.harness import Harness
from tests.persistence import samples
from tests.servers import ServerProcess

LIMITS = Harness().node.config


def a_list(elements: list[bytes]) -> List:
    made = List()
    made.push(elements, False, LIMITS)
    return made


def a_set(members: list[bytes]) -> Set:
    made = Set.of(members[0], len(members), LIMITS)
    made.update(members, LIMITS)
    return made


EDGES = [b"%d" % number for number in samples.EDGE_INTS]
SHORT = [text for text in samples.texts() if len(text) <= 64]
LISTS: list[Any] = [
    a_list([b""]),
    a_list(EDGES),
    a_list(samples.texts()),
    a_list([b"a\0b", b"\0"]),
    a_list([b"%d" % at for at in range(20_000)]),
    a_list([samples.noise(300, at) for at in range(100)]),
]
SETS: list[Any] = [
    a_set([b""]),
    a_set([b"1"]),
    a_set([b"-32768", b"32767"]),
    a_set([b"70000", b"1"]),
    a_set(EDGES),
    a_set(SHORT[:100]),
    a_set([b"a\0b", b"\0", b"5"]),
    a_set([b"member%d" % at for at in range(1000)]),
    a_set([samples.noise(300, at) for at in range(20)]),
    a_set([b"%d" % at for at in range(2000)]),
]


def plain(value: Any) -> Any:
    return value.elements() if isinstance(value, List) else set(value.members())


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("version", [10, 11])
def test_values_come_back(compress: bool, version: int) -> None:
    options = SaveOptions(compress=compress, version=version)
    for value in [*LISTS, *SETS]:
        restored: Any = restore(dump(value, options))
        assert type(restored) is type(value)
        assert plain(restored) == plain(value)
        assert restored.encoding(LIMITS) == value.encoding(LIMITS)
        assert dump(restored, SaveOptions(compress=compress)) == dump(value, SaveOptions(compress=compress))


def test_types_and_versions() -> None:
    assert [(dump(value)[0], dump(value)[-10]) for value in (LISTS[0], LISTS[4])] == [(18, 10), (18, 10)]
    assert [(dump(value)[0], dump(value)[-10]) for value in (SETS[1], SETS[0], SETS[7])] == [(11, 6), (20, 11), (2, 6)]
    old = SaveOptions(version=10)
    assert [dump(value, old)[0] for value in (SETS[1], SETS[0], SETS[7])] == [11, 2, 2]
    wide = a_set([b"1", b"70000"])
    wide.remove(b"70000", LIMITS)
    assert dump(wide)[1:-10] == encode_string(pack("<IIi", 4, 1, 1), False)


def _ziplists(*nodes: list[bytes]) -> bytes:
    return encode_length(len(nodes)) + b"".join(encode_string(samples.ziplist(node), False) for node in nodes)


def _listpack(*items: bytes) -> bytes:
    return encode_string(listpack.encode(items), False)


TEXTS = [b"a", b"-300", b"", b"t" * 70, b"12", b"9999999999"]
OLD: dict[str, tuple[bytes, Any]] = {
    "list": (b"\x01\x03\x01a\xc0\x05\x01a", [b"a", b"5", b"a"]),
    "list of a ziplist": (b"\x0a" + encode_string(samples.ziplist(TEXTS), True), TEXTS),
    "quicklist of ziplists": (b"\x0e" + _ziplists(TEXTS, [], [b"x"]), [*TEXTS, b"x"]),
    "quicklist": (b"\x12\x03\x02" + _listpack(*TEXTS) + b"\x01\x01p\x02" + _listpack(b"z"), [*TEXTS, b"p", b"z"]),
    "set": (b"\x02\x03\x01a\xc0\x05\x01b", {b"a", b"5", b"b"}),
    "set of integers": (b"\x02\x02\xc0\x05\xc0\x06", {b"5", b"6"}),
    "intset": (b"\x0b" + encode_string(intset.encode((-5, 1, 70000)), False), {b"-5", b"1", b"70000"}),
    "intset of 64 bits": (b"\x0b" + encode_string(intset.encode((1, 2), 8), False), {b"1", b"2"}),
}
NEW: dict[str, tuple[bytes, Any]] = {"set of a listpack": (b"\x14" + _listpack(b"a", b"5", b""), {b"a", b"5", b""})}


@pytest.mark.parametrize("name", [*OLD, *NEW])
def test_every_encoding_is_read(name: str) -> None:
    body, expected = (OLD | NEW)[name]
    assert plain(restore(samples.seal(body))) == expected


@pytest.mark.parametrize("name", [*OLD, *NEW])
def test_every_encoding_means_the_same_to_them(real: ServerProcess, name: str) -> None:
    body, expected = (OLD | NEW)[name]
    if real.kind == "redis" and name in NEW:
        pytest.skip("Redis 7.0 has no listpacks in sets")
    client = real.client
    client.flushall()
    client.restore(b"k", 0, samples.seal(body, 11 if name in NEW else 10))
    theirs = client.lrange(b"k", 0, -1) if client.type(b"k") == b"list" else client.smembers(b"k")
    assert theirs == expected
    if real.kind == "valkey":
        assert restored_encoding(body) == client.object("encoding", b"k").decode()


def restored_encoding(body: bytes) -> str:
    value: Any = restore(samples.seal(body))
    encoding: str = value.encoding(LIMITS)
    return encoding


@pytest.mark.parametrize(
    "body",
    [
        b"\x01\x00",
        b"\x01\x02\x01a",
        b"\x02\x00",
        b"\x02\x02\x01a\x01a",
        b"\x0a" + encode_string(samples.ziplist([]), False),
        b"\x0e\x01" + encode_string(samples.ziplist([]), False),
        b"\x12\x00",
        b"\x12\x01\x02" + _listpack(),
        b"\x12\x01\x03" + _listpack(b"a"),
        b"\x12\x01\x00\x01a",
        b"\x12\x02\x02" + _listpack(b"a"),
        b"\x12\x81\x10" + bytes(7) + b"\x02" + _listpack(b"a"),
        b"\x02\x81\x10" + bytes(7) + b"\x01a",
        b"\x0b" + encode_string(intset.encode(()), False),
        b"\x0b" + encode_string(pack("<IIhh", 2, 2, 5, 5), False),
        b"\x0b" + encode_string(pack("<IIhh", 2, 3, 5, 6), False),
        b"\x0b" + encode_string(pack("<IIhh", 3, 2, 5, 6), False),
        b"\x14" + _listpack(),
        b"\x14" + _listpack(b"a", b"b", b"a"),
        b"\x14" + _listpack(b"5", b"5"),
    ],
)
def test_bad_data(body: bytes) -> None:
    with pytest.raises(PayloadError, match=BAD_DATA):
        restore(samples.seal(body))


@pytest.mark.parametrize("name", [*OLD, *NEW])
def test_damage_under_a_right_checksum(name: str) -> None:
    """Whatever a damaged payload holds, it is refused or is a list or set like any other."""
    body = (OLD | NEW)[name][0]
    bad = 0
    rng = random.Random(3)
    for cut in range(1, len(body)):
        with pytest.raises(PayloadError, match=BAD_DATA):
            restore(samples.seal(body[:cut]))
    for at in range(1, len(body)):
        for byte in {0, 0xFF, 0x80, 0xC3, body[at] ^ 1, *rng.choices(range(256), k=12)} - {body[at]}:
            try:
                value: Any = restore(samples.seal(body[:at] + bytes((byte,)) + body[at + 1 :]))
            except PayloadError as error:
                assert str(error) == BAD_DATA
                bad += 1
            else:
                value.encoding(LIMITS)
                assert len(value) == len(plain(value)) > 0
                assert plain(restore(dump(value))) == plain(value)
    assert bad > 10


def put(client: Any, key: bytes, value: Any) -> None:
    """The same value there, made by commands."""
    client.delete(key)
    if isinstance(value, List):
        client.rpush(key, *value.elements())
    else:
        client.sadd(key, *value.members())


def test_dump_there_and_here(real: ServerProcess) -> None:
    client = real.client
    client.config_set("rdbcompression", "no")
    plain_options = SaveOptions(compress=False)
    same = 0
    for value in [*LISTS, *SETS]:
        put(client, b"k", value)
        theirs = client.dump(b"k")
        assert plain(restore(theirs)) == plain(value)
        digest = client.execute_command("DEBUG", "DIGEST-VALUE", "k")
        assert our_digest(value) == digest[0].decode()
        options = plain_options if real.kind == "valkey" else SaveOptions(compress=False, version=10)
        ours = dump(value, options)
        same += ours[:-10] == theirs[:-10]
        client.restore(b"k", 0, ours, replace=True)
        assert client.execute_command("DEBUG", "DIGEST-VALUE", "k") == digest
        if real.kind == "valkey":
            assert client.object("encoding", b"k").decode() == value.encoding(LIMITS)
    client.config_set("rdbcompression", "yes")
    assert same >= (10 if real.kind == "valkey" else 7)


def our_digest(value: Any) -> str:
    redis = Harness(settings={"enable-debug-command": "yes"})
    redis.node.databases[0].store(b"k", value, None)
    digest: str = redis.run("DEBUG", "DIGEST-VALUE", "k")[0]
    return digest


@pytest.mark.parametrize("step", [1, 777, 1 << 20])
def test_a_file_that_arrives_in_pieces(step: int) -> None:
    writer = RdbWriter(SaveOptions())
    writer.header(standard_aux("7.2.4", 1700000000, 1 << 20, False, (0, "0123456789" * 4, 1234)))
    writer.select(0)
    values = [one for one in [*LISTS, *SETS] if step > 1 or len(one) < 200]
    for number, value in enumerate(values):
        writer.key(b"%d" % number, value, None)
    data = writer.finish()
    reader = RdbReader()
    keys = [
        record
        for at in range(0, len(data), step)
        for record in reader.feed(data[at : at + step])
        if isinstance(record, Key)
    ]
    assert [plain(record.value) for record in keys] == [plain(value) for value in values]


def test_a_full_sync_has_them_as_they_were() -> None:
    """A command changes each of them while the walk is under way; the walk has them as they were when it began."""
    from node.replication.snapshot import SnapshotWalk

    redis = Harness()
    expected: dict[bytes, Any] = {}
    for number in range(60):
        name = b"k%d" % number
        if number % 2:
            redis.run("RPUSH", name, *range(number * 40))
        else:
            redis.run("SADD", name, *(f"m{at}" if number % 4 else at for at in range(number * 30 + 1)))
        value: Any = redis.node.databases[0].keys_of(name)[name]
        expected[name] = plain(value)
    walk = SnapshotWalk(redis.node.databases, SaveOptions())
    data = b""
    number = 59
    while not walk.finished:
        data += walk.step(1, 2000)
        key = f"k{number % 60}"
        redis.run(*(("LPUSH", key, "late") if number % 2 else ("SADD", key, "late")))
        redis.run(*(("LREM", key, 0, 3) if number % 2 else ("SPOP", key)))
        number -= 1
    reader = RdbReader()
    keys = {record.key: plain(record.value) for record in reader.feed(data) if isinstance(record, Key)}
    assert keys == expected


def test_plain_nodes_stay_plain() -> None:
    value = List.from_nodes([Block([b"p"], PLAIN), Block([b"q"])])
    assert value.encoding(LIMITS) == "quicklist"
    assert dump(value)[:6] == b"\x12\x02\x01\x01p\x02"
    assert isinstance(a_set([b"5"]).store, array)
