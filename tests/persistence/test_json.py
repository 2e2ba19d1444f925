"""JSON documents in DUMP and RDB files: a module's value, with the id that RedisJSON's have; damaged ones are refused."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
import redis
from hypothesis import given, settings

from node.persistence.crc64 import crc64
from node.persistence.encodings import LOADERS
from node.persistence.encodings.json import TYPE_NAME, module_id, module_name
from node.persistence.errors import NeedMore, PayloadError
from node.persistence.payload import dump, restore
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.json import DOCUMENT_DEPTH_MAX, Json, same
from tests.persistence.samples import seal
from tests.servers import start
from tests.types.test_json import VALUES


def framed(name: str, version: int, *items: bytes) -> bytes:
    return seal(b"\x07" + encode_length(module_id(name, version)) + b"".join(items), 9)


def text_item(text: bytes) -> bytes:
    return b"\x05" + encode_string(text, False)


def restored(payload: bytes) -> object:
    value = restore(payload)
    assert isinstance(value, Json)
    return value.root


def test_the_id() -> None:
    """Nine characters of six bits, and ten bits for the version: worked out by hand for the first and last."""
    number = module_id(TYPE_NAME, 3)
    assert number >> 58 == 17  # R
    assert number >> 10 & 63 == 11  # L
    assert number & 1023 == 3
    assert module_name(number) == ("ReJSON-RL", 3)
    assert dump(Json(1))[:10] == b"\x07\x81" + number.to_bytes(8, "big")


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_there_and_back(value: object) -> None:
    assert same(restored(dump(Json(value))), value)


def test_the_bytes() -> None:
    document = Json({"a": [1, 2.5, None], "b": "é"})
    assert dump(document)[10:-10] == b"\x05" + b"\x1b" + '{"a":[1,2.5,null],"b":"é"}'.encode() + b"\x00"
    assert dump(Json(5))[10:-10] == b"\x05\xc0\x05\x00"


def test_an_older_version_has_an_index_behind_it() -> None:
    assert restored(framed(TYPE_NAME, 2, text_item(b"[1]"), b"\x02\x00", b"\x00")) == [1]
    index = text_item(b"index") + text_item(b"path")
    assert restored(framed(TYPE_NAME, 2, text_item(b"[1]"), b"\x02\x01", index, b"\x00")) == [1]


@pytest.mark.parametrize(
    "payload",
    [
        framed(TYPE_NAME, 0, text_item(b"1"), b"\x00"),
        framed(TYPE_NAME, 4, text_item(b"1"), b"\x00"),
        framed("ReJSON-RX", 3, text_item(b"1"), b"\x00"),
        framed(TYPE_NAME, 3, text_item(b"{"), b"\x00"),
        framed(TYPE_NAME, 3, text_item(b""), b"\x00"),
        framed(TYPE_NAME, 3, text_item(b"[" * 1000 + b"]" * 1000), b"\x00"),
        framed(TYPE_NAME, 3, text_item(b"[" * (DOCUMENT_DEPTH_MAX + 1) + b"]" * (DOCUMENT_DEPTH_MAX + 1)), b"\x00"),
        framed(TYPE_NAME, 3, text_item(b"1")),
        framed(TYPE_NAME, 3, text_item(b"1"), b"\x05"),
        framed(TYPE_NAME, 3, text_item(b"1"), text_item(b"1"), b"\x00"),
        framed(TYPE_NAME, 3, b"\x02\x01", b"\x00"),
        framed(TYPE_NAME, 3, text_item(b"1"), b"\x00", b"\x00"),
        framed(TYPE_NAME, 3, b"\x05\x81\xff\xff\xff\xff\xff\xff\xff\xff", b"\x00"),
        framed(TYPE_NAME, 3, b"\x05\xc3\x05\x80\xff\xff\xff\xff12345", b"\x00"),
    ],
)
def test_what_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError, match="Bad data format"):
        restore(payload)


def test_damage_is_refused_or_harmless() -> None:
    """Every byte changed and every cut: an error, or a document that can be written again."""
    rng = random.Random(7)
    body = dump(Json({"list": [{"n": number, "s": "text " * 9} for number in range(20)]}))[:-10]
    for _ in range(3000):
        damaged = bytearray(body)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(1, len(damaged))] = rng.randrange(256)
        damaged = damaged[: rng.randrange(2, len(damaged) + 1)] if rng.random() < 0.2 else damaged
        try:
            value = restore(seal(bytes(damaged), 9))
        except PayloadError:
            continue
        dump(value)


def test_it_arrives_in_pieces() -> None:
    body = dump(Json({"a": "x" * 300}))[1:-10]
    load = LOADERS[7]
    assert load is not None
    for size in range(len(body)):
        with pytest.raises(NeedMore):
            load(Cursor(body, size))
    value = load(Cursor(body))
    assert isinstance(value, Json) and value.root == {"a": "x" * 300}


@pytest.mark.real
def test_a_real_server_knows_the_name_and_the_frame(tmp_path: Path) -> None:
    """It has no such module, and says by name whose value it cannot load; its checker walks through the frame."""
    payload = dump(Json({"a": [1, 2.5, None], "b": "é" * 100}))
    with start("redis", tmp_path, "--loglevel", "verbose") as real:
        with pytest.raises(redis.ResponseError, match="Bad data format"):
            real.client.restore("k", 0, payload)
        assert real.client.ping()
        real.until(lambda: "'ReJSON-RL'" in real.log_text(), "named in the log")
    checker = shutil.which("redis-check-rdb")
    if checker is None:
        pytest.skip("redis-check-rdb is missing: apt-get install redis-server")
    body = b"REDIS0010\xfe\x00" + payload[:1] + b"\x01k" + payload[1:-10] + b"\xff"
    file = tmp_path / "json.rdb"
    file.write_bytes(body + crc64(body).to_bytes(8, "little"))
    done = subprocess.run([checker, str(file)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout
    assert "RDB looks OK" in done.stdout
    assert "1 keys read" in done.stdout
