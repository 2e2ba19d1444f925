"""The replica's handshake and payload, without data: every split, both forms, every refusal."""

from __future__ import annotations

import pytest

from node import resp
from node.persistence.rdb import RdbWriter
from node.persistence.records import Key
from node.replication import replica
from node.replication.replica import Introduction, Session

ID = "a" * 40
OTHER_ID = "b" * 40
MARK = b"m" * 40
STREAM = resp.request([b"SELECT", b"0"]) + resp.request([b"SET", b"k", b"v"])


def rdb() -> bytes:
    writer = RdbWriter()
    writer.header([(b"redis-ver", b"7.0.15")])
    writer.select(0)
    for number in range(5):
        writer.key(b"key:%d" % number, b"value", None)
    return writer.finish()


def by_length() -> bytes:
    return b"\n\n$%d\r\n%b" % (len(rdb()), rdb())


def by_mark() -> bytes:
    return b"\n$EOF:%b\r\n%b%b" % (MARK, rdb(), MARK)


def primary_says(payload: bytes) -> list[bytes]:
    """What a primary sends, in the pieces between which it waits for us."""
    return [
        b"+PONG\r\n",
        b"+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: version\r\n",
        b"\n+FULLRESYNC %b 1000\r\n" % ID.encode() + payload + STREAM,
    ]


def summary(events: list[replica.Event]) -> tuple[list[bytes], list[bytes], bytes, list[str]]:
    """Keys loaded, what was sent, bytes of the stream, names of the other events."""
    keys, sent, stream, names = [], [], b"", []
    for event in events:
        match event:
            case replica.Loaded(records):
                keys += [record.key for record in records if isinstance(record, Key)]
            case replica.Send(data):
                sent.append(data)
            case replica.Streamed(data):
                stream += data
            case _:
                names.append(type(event).__name__)
    return keys, sent, stream, names


@pytest.mark.parametrize("payload", [by_length(), by_mark()], ids=["length", "mark"])
def test_every_split_gives_the_same(payload: bytes) -> None:
    said = primary_says(payload)
    total = sum(map(len, said))
    for first in range(1, total):
        session = Session(Introduction(port=7001))
        assert session.begin() == resp.request([b"PING"])
        events: list[replica.Event] = []
        passed = 0
        for piece in said:
            cut = min(max(first - passed, 0), len(piece))
            for part in (piece[:cut], piece[cut:]):
                if part:
                    events += session.feed(part)
            passed += len(piece)
        keys, sent, stream, names = summary(events)
        assert keys == [b"key:%d" % number for number in range(5)], first
        assert stream == STREAM, first
        assert names == ["FullResync", "Complete"], first
        assert len(sent) == 2, first
        assert sent[1] == resp.request([b"PSYNC", b"?", b"-1"])


@pytest.mark.parametrize("payload", [by_length(), by_mark()], ids=["length", "mark"])
def test_byte_by_byte(payload: bytes) -> None:
    session = Session(Introduction(port=7001))
    events: list[replica.Event] = []
    for piece in primary_says(payload):
        for at in range(len(piece)):
            events += session.feed(piece[at : at + 1])
    keys, _, stream, names = summary(events)
    assert len(keys) == 5
    assert stream == STREAM
    assert names == ["FullResync", "Complete"]


def test_what_is_told_of_oneself() -> None:
    session = Session(
        Introduction(port=7001, ip="10.0.0.1", user="me", password="secret", version="7.2.0", replid=ID, offset=77)
    )
    (told,) = session.feed(b"-NOAUTH Authentication required.\r\n")
    assert isinstance(told, replica.Send)
    assert told.data == b"".join(
        resp.request([word.encode() for word in line.split()])
        for line in [
            "AUTH me secret",
            "REPLCONF listening-port 7001",
            "REPLCONF ip-address 10.0.0.1",
            "REPLCONF capa eof capa psync2 capa setslot capa hashslot",
            "REPLCONF version 7.2.0",
        ]
    )
    assert session.feed(b"+OK\r\n" * 4) == []
    assert session.feed(b"+OK\r\n") == [replica.Send(resp.request([b"PSYNC", ID.encode(), b"77"]))]
    assert session.feed(b"+CONTINUE " + OTHER_ID.encode() + b"\r\n*1\r\n") == [
        replica.Continue(OTHER_ID),
        replica.Streamed(b"*1\r\n"),
    ]


def ready(replid: str = "?", offset: int = -1) -> Session:
    session = Session(Introduction(port=7001, replid=replid, offset=offset))
    session.feed(b"+PONG\r\n")
    session.feed(b"+OK\r\n+OK\r\n+OK\r\n")
    return session


def failure(events: list[replica.Event]) -> str:
    assert isinstance(events[-1], replica.Failed), events
    return events[-1].reason


def test_a_primary_that_does_not_want() -> None:
    session = Session(Introduction(port=1, password="wrong"))
    assert "-LOADING" in failure(Session(Introduction(port=1)).feed(b"-LOADING Redis is loading\r\n"))
    session.feed(b"+PONG\r\n")
    assert "WRONGPASS" in failure(session.feed(b"-WRONGPASS invalid username-password pair\r\n"))
    assert session.feed(b"+OK\r\n") == []
    assert "NOMASTERLINK" in failure(ready().feed(b"-NOMASTERLINK Can't SYNC\r\n"))
    assert "CONTINUE" in failure(ready().feed(b"+CONTINUE\r\n"))
    session = Session(Introduction(port=1))
    session.feed(b"-NOAUTH Authentication required.\r\n")
    assert "masterauth" in failure(session.feed(b"-NOAUTH Authentication required.\r\n"))


def test_a_payload_that_is_none() -> None:
    resync = b"+FULLRESYNC %b 0\r\n" % ID.encode()
    assert "no payload" in failure(ready().feed(resync + b"-ERR no disk\r\n"))
    assert "can not be loaded" in failure(ready().feed(resync + b"$20\r\nNOTREDIS0011........"))
    damaged = bytearray(rdb())
    damaged[-12] ^= 1
    assert "can not be loaded" in failure(ready().feed(resync + b"$%d\r\n" % len(damaged) + bytes(damaged)))
    short = rdb()[:-10]
    assert "can not be loaded" in failure(ready().feed(resync + b"$%d\r\n" % len(short) + short))
    longer = rdb() + b"more"
    assert "longer" in failure(ready().feed(resync + b"$%d\r\n" % len(longer) + longer))
    wrong_mark = b"$EOF:" + MARK + b"\r\n" + rdb() + b"x" * 40
    assert "mark" in failure(ready().feed(resync + wrong_mark))


def test_a_line_without_end() -> None:
    session = Session(Introduction(port=1))
    assert "does not end" in failure(session.feed(b"+" * 70_000))


def test_an_old_primary_continues_without_an_id() -> None:
    assert ready(ID, 5).feed(b"+CONTINUE\r\n") == [replica.Continue("")]
