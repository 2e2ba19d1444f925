"""Streams as values: ids, nodes, pending entries, and payloads whole, in pieces, old and damaged."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.persistence import payload
from node.persistence.encodings import LOADERS
from node.persistence.encodings.streams import save_piecewise
from node.persistence.errors import NeedMore, PayloadError, RdbError
from node.persistence.options import SaveOptions
from node.persistence.wire import Cursor, encode_length, encode_string
from node.types.stream import Stream
from node.types.stream_groups import Consumer, ConsumerGroup, Delivery, Pending
from node.types.stream_id import ID_MAX, format_id, parse_bound, parse_id
from node.types.stream_node import Node
from node.types.stream_radix import RadixNodes
from tests.oracle.streams import plain_stream
from tests.persistence import samples


@dataclass
class Limits:
    stream_node_max_entries: int = 100
    stream_node_max_bytes: int = 4096


def ms(number: int) -> int:
    return number << 64


def stream_of(count: int, limits: Limits | None = None) -> Stream:
    """Entries 1-0 ... with one field each."""
    stream = Stream()
    for number in range(1, count + 1):
        value = b"value %d" % number
        stream.append(ms(number), [b"field"], [value], 5 + len(value), limits or Limits())
    return stream


def rich_stream() -> Stream:
    """Several nodes, deleted entries, other fields, two groups with pending entries."""
    stream = stream_of(25, Limits(stream_node_max_entries=10))
    stream.append(ms(26) + 5, [b"a", b"b"], [b"-1", b"x" * 70], 80, Limits())
    for number in (3, 4, 25):
        assert stream.delete(ms(number))
    group = stream.groups[b"g"] = ConsumerGroup(ms(9), 9)
    for name, active_ms in ((b"c", 5000), (b"never", -1)):
        group.consumers[name] = Consumer(name, 6000, active_ms)
    for number in (2, 3, 9):
        group.assign(ms(number), group.consumers[b"c"], 1_700_000_000_000 + number, number)
    stream.groups[b"empty"] = ConsumerGroup(0)
    return stream


def show(number: int, items: list[bytes]) -> bytes:
    return format_id(number) + b":" + b",".join(items)


# Ids ------------------------------------------------------------------------------------------------------------------


@given(st.integers(0, ID_MAX))
def test_ids_are_read_as_they_are_written(number: int) -> None:
    assert parse_id(format_id(number)) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"5", ms(5)),
        (b"5-7", ms(5) + 7),
        (b"0005-+7", ms(5) + 7),
        (b"5-\0-", None),
        (b"5\0-", ms(5)),
        (b"-5", None),
        (b"5--5", None),
        (b"5- -5", ms(5) + (1 << 64) - 5),
        (b"18446744073709551615-18446744073709551615", ID_MAX),
        (b"18446744073709551616", None),
        (b"5-", None),
        (b"", None),
        (b"5 ", None),
        (b"1" * 128, None),
        (b"-", None),
        (b"+", None),
    ],
)
def test_ids(text: bytes, number: int | None) -> None:
    assert parse_id(text) == number


def test_bounds() -> None:
    assert parse_bound(b"-") == 0
    assert parse_bound(b"+") == ID_MAX
    assert parse_bound(b"5", 9) == ms(5) + 9


# Entries --------------------------------------------------------------------------------------------------------------


_STEPS = ["add", "add", "add", "delete", "short", "old"]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 7),
    st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(0, 40)), max_size=80),
    st.booleans(),
)
def test_a_stream_is_a_sorted_list(entries_max: int, steps: list[tuple[str, int]], whole: bool) -> None:
    """Whatever is done, reading gives what a plain list would; whole nodes go only when the list may be cut there."""
    limits = Limits(stream_node_max_entries=entries_max)
    stream = Stream()
    model: list[int] = []
    for what, number in steps:
        if what == "add":
            at = stream.last_id + 1 + number * (1 << 63)
            stream.append(at, [b"f"], [b"%d" % number], 3, limits)
            model.append(at)
        elif what == "delete" and model:
            gone = model.pop(number % len(model))
            assert stream.delete(gone)
            assert not stream.delete(gone)
            assert stream.max_deleted_id >= gone
        elif what == "short":
            removed = stream.trim_to_length(number, whole, 0)
            assert removed == max(0, len(model) - number) or whole
            del model[:removed]
            assert len(model) >= number or not removed
        elif what == "old" and model:
            lowest = model[number % len(model)]
            removed = stream.trim_before(lowest, whole, 0)
            assert removed == model.index(lowest) or whole
            del model[:removed]
            assert not model or model[0] <= lowest
        assert stream.length == len(model)
        assert stream.first_id == (model[0] if model else 0)
        assert stream.last_valid_id() == (model[-1] if model else 0)
    assert [number for number, _ in stream.entries()] == model
    for low, high, count in ((0, ID_MAX, 0), (0, ID_MAX, 3), (ms(5), ms(30), 0), (ms(5), ms(30), 2), (1, 0, 0)):
        wanted = [number for number in model if low <= number <= high]
        assert stream.ids(low, high, count) == (wanted[:count] if count else wanted)
        shown = [parse_id(text.partition(b":")[0]) for text in stream.show(low, high, count, show)]
        assert shown == (wanted[:count] if count else wanted)
        shown = [parse_id(text.partition(b":")[0]) for text in stream.show(low, high, count, show, True)]
        assert shown == (wanted[::-1][:count] if count else wanted[::-1])
    assert plain_stream(stream.copy()) == plain_stream(stream)
    assert all((number in stream) == (number in model) for number in range(0, ms(3), 1 << 62))


def test_what_was_shown_is_kept_for_two_nodes() -> None:
    stream = stream_of(1000)
    for low in range(1, 1000, 90):
        stream.show(ms(low), ms(low + 50), 0, show)
    assert sum(node.shown is not None for node in stream.nodes()) == 2
    asked: list[int] = []

    def note(number: int, items: list[bytes]) -> bytes:
        asked.append(number)
        return show(number, items)

    stream.show(ms(990), ID_MAX, 0, note)
    asked.clear()
    stream.show(ms(990), ID_MAX, 0, note)
    assert asked == []
    stream.append(ms(1001), [b"field"], [b"new"], 8, Limits())
    assert stream.show(ms(1000), ID_MAX, 0, note)[-1] == b"1001-0:field,new"
    assert asked == [ms(1001)]


def test_a_trimmed_stream_does_not_grow() -> None:
    """XADD MAXLEN for ever: places of nodes that are gone are given back."""
    stream = Stream()
    for number in range(1, 30_000):
        stream.append(ms(number), [b"f"], [b"v"], 2, Limits(stream_node_max_entries=5))
        stream.trim_to_length(50, False, 0)
    assert stream.node_count() <= 12
    assert len(stream._nodes) < 50


def test_a_sequence_below_that_of_the_first_entry() -> None:
    stream = Stream()
    for number in (ms(1) + (1 << 64) - 1, ms(2), ms(1 << 63) + 7):
        stream.append(number, [b"f"], [b"v"], 2, Limits())
    assert stream.ids(0, ID_MAX, 0) == [ms(2) - 1, ms(2), ms(1 << 63) + 7]
    assert stream.node_count() == 1


# Groups ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 200)), max_size=300))
def test_pending_is_a_sorted_dict(steps: list[tuple[bool, int]]) -> None:
    pending = Pending()
    consumer = Consumer(b"c", 0)
    model: dict[int, Delivery] = {}
    for adds, number in steps:
        if adds:
            model[number] = Delivery(consumer, number, 1)
            pending.add(number, model[number])
        elif number in model:
            del model[number]
            pending.remove(number)
        assert len(pending) == len(model)
        if model:
            assert (pending.first(), pending.last()) == (min(model), max(model))
    for start in (0, 1, 50, 199, 201):
        assert list(pending.ids_from(start)) == sorted(number for number in model if number >= start)
    assert all(pending.get(number) is one for number, one in model.items())


def test_acknowledging_in_order_is_cheap() -> None:
    pending = Pending()
    consumer = Consumer(b"c", 0)
    for number in range(10_000):
        pending.add(number, Delivery(consumer, 0, 1))
        if number >= 50:
            pending.remove(number - 50)
            assert pending.first() == number - 49
    assert len(pending._order) < 200


def test_what_was_yielded_may_be_removed() -> None:
    pending = Pending()
    for number in range(1000):
        pending.add(number, Delivery(Consumer(b"c", 0), 0, 1))
    seen = []
    for number in pending.ids_from(0):
        seen.append(number)
        pending.remove(number)
    assert seen == list(range(1000))
    assert len(pending) == 0


# Payloads -------------------------------------------------------------------------------------------------------------


STREAMS = {"empty": Stream(), "one": stream_of(1), "many": stream_of(250), "rich": rich_stream()}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_payloads(stream: Stream) -> None:
    again = payload.restore(payload.dump(stream))
    assert isinstance(again, Stream)
    assert plain_stream(again) == plain_stream(stream)
    pieces = b"".join(save_piecewise(stream, SaveOptions(compress=False)))
    assert pieces == payload.dump(stream, SaveOptions(compress=False))[:-10]


def test_the_newest_type_only_where_it_is_needed() -> None:
    stream = rich_stream()
    assert payload.dump(stream)[0] == 21
    assert payload.dump(stream, SaveOptions(version=10))[0] == 19
    assert payload.dump(stream_of(5))[0] == 19
    kept, lost = payload.restore(payload.dump(stream)), payload.restore(payload.dump(stream, SaveOptions(version=10)))
    assert isinstance(kept, Stream) and isinstance(lost, Stream)
    assert [one.active_ms for one in kept.groups[b"g"].consumers.values()] == [5000, -1]
    assert [one.active_ms for one in lost.groups[b"g"].consumers.values()] == [6000, 6000]


def old_body() -> bytes:
    """A stream as Redis 5 writes it (type 15), with one group."""
    stream = stream_of(3)
    node = stream.nodes()[0]
    parts = [b"\x0f\x01", encode_string(node.first.to_bytes(16, "big"), False), encode_string(node.listpack(), False)]
    parts += [bytes((3, 9, 5)), b"\x01\x01g", bytes((3, 0)), b"\x01", ms(3).to_bytes(16, "big")]
    parts += [(77).to_bytes(8, "little"), b"\x02", b"\x01\x01c", (88).to_bytes(8, "little"), b"\x01"]
    return b"".join([*parts, ms(3).to_bytes(16, "big")])


def test_streams_of_redis_5() -> None:
    stream = payload.restore(samples.seal(old_body()))
    assert isinstance(stream, Stream)
    assert (stream.length, stream.entries_added, stream.first_id, stream.last_id) == (3, 3, ms(1), ms(9) + 5)
    group = stream.groups[b"g"]
    assert (group.last_id, group.entries_read) == (ms(3), -1)
    assert (group.consumers[b"c"].seen_ms, group.pending.entries[ms(3)].time_ms) == (88, 77)


def test_a_payload_that_arrives_byte_by_byte() -> None:
    body = payload.dump(rich_stream(), SaveOptions(compress=False))[:-10]
    loader = LOADERS[body[0]]
    assert loader is not None
    cursor = Cursor(body, 1)
    cursor.pos = cursor.mark = 1
    value = None
    while value is None:
        try:
            value = loader(cursor)
        except NeedMore:
            cursor.end += 1
            cursor.pos = cursor.mark
    assert isinstance(value, Stream)
    assert cursor.pos == len(body)
    assert plain_stream(value) == plain_stream(rich_stream())


BODIES = {
    "rich": payload.dump(rich_stream(), SaveOptions(compress=False))[:-10],
    "packed": payload.dump(stream_of(30))[:-10],
    "old": old_body(),
}


@pytest.mark.parametrize("name", BODIES)
def test_damage_under_a_right_checksum(name: str) -> None:
    """What is taken all the same can be read, written, trimmed and deleted from."""
    body = BODIES[name]
    rng = random.Random(3)
    for cut in range(1, len(body), 3):
        with pytest.raises(PayloadError):
            payload.restore(samples.seal(body[:cut]))
    bad = 0
    for at in range(len(body)):
        for byte in {0, 0xFF, 0x81, body[at] ^ 1, *rng.choices(range(256), k=4)} - {body[at]}:
            try:
                value = payload.restore(samples.seal(body[:at] + bytes((byte,)) + body[at + 1 :], 11))
            except PayloadError:
                bad += 1
                continue
            assert isinstance(value, Stream) or at == 0
            if isinstance(value, Stream):
                use(value)
    assert bad > len(body)


def use(stream: Stream) -> None:
    """Everything that walks through a stream."""
    again = payload.restore(payload.dump(stream))
    assert isinstance(again, Stream)
    assert plain_stream(again) == plain_stream(stream)
    numbers = [number for number, _ in stream.entries()]
    assert numbers == sorted(set(numbers))
    assert len(stream.show(0, ID_MAX, 0, show, True)) == stream.length
    stream.radix_nodes()
    for number in numbers[::3]:
        assert stream.delete(number)
    stream.trim_to_length(len(numbers) // 3, False, 0)
    if stream.last_id < ID_MAX:
        stream.append(stream.last_id + 1, [b"field"], [b"v"], 6, Limits())
    stream.trim_to_length(0, False, 0)
    assert stream.length == 0


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        Node(1, [b"f"]).listpack(),
        stream_of(3).nodes()[0].listpack()[:-1] + b"\x00",
        b"\x0c\x00\x00\x00\x02\x00\x01\x01\x81a\x02\xff",
        b"\x0b\x00\x00\x00\x02\x00\x01\x01\x00\x01\xff",
    ],
)
def test_listpacks_that_are_no_nodes(damaged: bytes) -> None:
    with pytest.raises((RdbError, IndexError)) as caught:
        Node.from_listpack(1, damaged)
    assert caught.type is RdbError


def test_a_count_without_end_takes_no_memory() -> None:
    body = b"\x13\x00" + encode_length(0) + bytes(7) + encode_length((1 << 64) - 1)
    with pytest.raises(PayloadError):
        payload.restore(samples.seal(body))


# The radix tree ---------------------------------------------------------------------------------------------------------


def _counted(keys: list[int]) -> int:
    """The nodes of a radix tree over 16-byte keys, built from nothing."""

    def below(texts: list[bytes], depth: int) -> int:
        """Nodes below a branching at `depth`, and it."""
        found = 1
        for byte in sorted({text[depth] for text in texts}):
            same = [text for text in texts if text[depth] == byte]
            found += reach(same, depth + 1)
        return found

    def reach(texts: list[bytes], depth: int) -> int:
        if len(texts) == 1:
            return 1 + (depth < 16)
        end = depth
        while len({text[end] for text in texts}) == 1:
            end += 1
        return (end > depth) + below(texts, end)

    return reach([key.to_bytes(16, "big") for key in keys], 0) if keys else 1


def test_radix_nodes_are_counted_along_with_every_change() -> None:
    source = random.Random(8)
    for _ in range(300):
        parts = [0, 1, 2, 255, 256, 65536, 1 << 40, source.getrandbits(20)]
        keys = sorted({source.choice(parts) << 64 | source.choice(parts) for _ in range(source.randrange(14))})
        assert len(RadixNodes(keys)) == _counted(keys), keys


def test_xinfo_counts_radix_nodes_as_they_come_and_go() -> None:
    source = random.Random(9)
    limits = Limits(stream_node_max_entries=2)
    stream = Stream()
    given: list[int] = []
    for _ in range(1500):
        what = source.random()
        if what < 0.6:
            last = stream.last_id
            number = last + source.choice([1, 1, 300, 1 << 64, 7 << 64, 1000 << 64])
            stream.append(number, [b"f"], [b"v"], 2, limits)
            given.append(number)
        elif what < 0.9 and given:
            stream.delete(source.choice(given))
        else:
            stream.trim_to_length(stream.length * source.choice([99, 95, 50]) // 100, source.random() < 0.5, 0)
        assert stream.radix_nodes() == _counted([node.first for node in stream.nodes()])


def test_trimming_one_by_one_passes_each_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    looks = 0
    is_deleted = Node.is_deleted

    def counted(node: Node, index: int) -> bool:
        nonlocal looks
        looks += 1
        return is_deleted(node, index)

    monkeypatch.setattr(Node, "is_deleted", counted)
    for number in range(1, 5001):
        stream.append(number << 64, [b"f"], [b"v"], 2, Limits())
        stream.trim_to_length(1000, False, 0)
    assert (stream.length, stream.first_id) == (1000, 4001 << 64)
    assert looks < 3 * 5000
