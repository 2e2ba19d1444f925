"""Bloom and cuckoo filters: no false negatives, false positives as rare as promised, growth, dumps, bounds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.types.bloom import BadDump, Bloom, FilterFull, FilterTooLarge
from node.types.cuckoo import LAYERS_MAX, Cuckoo

STRANGERS = [b"stranger:%d" % at for at in range(20_000)]


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_a_full_bloom_filter_errs_as_often_as_it_may(rate: float) -> None:
    found = Bloom(5000, rate, 0)
    items = [b"item:%d" % at for at in range(6000)]
    taken = []
    with pytest.raises(FilterFull):
        for item in items:
            found.add(item)
            taken.append(item)
    assert found.items == 5000
    assert all(item in found for item in taken)
    wrong = sum(item in found for item in STRANGERS) / len(STRANGERS)
    assert rate / 3 < wrong < rate * 1.5 or wrong * len(STRANGERS) < 50 * rate * 1000


def test_a_bloom_filter_that_grew_errs_no_more_often() -> None:
    found = Bloom(100, 0.01, 2)
    items = [b"item:%d" % at for at in range(5000)]
    fresh = sum(map(found.add, items))
    assert len(found.layers) == 6
    assert found.capacity == 100 * (2**6 - 1)
    assert found.items == fresh >= 4900
    assert all(item in found for item in items)
    assert sum(item in found for item in STRANGERS) / len(STRANGERS) < 0.012
    assert not found.add(items[0])
    assert found.items == fresh


@pytest.mark.parametrize(("capacity", "rate"), [(1 << 62, 0.01), (1 << 40, 0.5), (10**9, 1e-9)])
def test_absurd_bloom_filters_are_refused(capacity: int, rate: float) -> None:
    with pytest.raises(FilterTooLarge):
        Bloom(capacity, rate)


def test_a_bloom_filter_stops_growing_before_it_is_absurd() -> None:
    found = Bloom(1, 0.01, 32768)
    found.layers[0].capacity = found.layers[0].count = 1 << 40
    with pytest.raises(FilterTooLarge):
        found.add(b"one more")
    assert len(found.layers) == 1


@pytest.mark.parametrize("rate", [5e-324, 1e-300])
def test_rates_next_to_zero_are_rates(rate: float) -> None:
    found = Bloom(2, rate)
    assert found.add(b"a") and found.add(b"b") and found.add(b"c")
    assert b"c" in found and b"d" not in found


def chunks_of(found: Bloom | Cuckoo) -> list[tuple[int, bytes]]:
    chunks = [(1, found.header())]
    while True:
        number, piece = found.chunk(chunks[-1][0])
        if not number:
            return chunks
        chunks.append((number, piece))


def test_a_bloom_filter_from_its_dump() -> None:
    found = Bloom(50, 0.02)
    for item in STRANGERS[:400]:
        found.add(item)
    (_, header), *rest = chunks_of(found)
    twin = Bloom.from_header(header)
    for number, piece in rest:
        twin.load_chunk(number, piece)
    assert len(rest) == len(found.layers) > 2
    assert [layer.bits for layer in twin.layers] == [layer.bits for layer in found.layers]
    assert (twin.items, twin.capacity, twin.expansion) == (found.items, found.capacity, found.expansion)
    for number, piece in ((1, b"x"), (rest[0][0], rest[0][1] + b"x"), (rest[-1][0] + 1, b"xx"), (2, b"")):
        with pytest.raises(BadDump):
            twin.load_chunk(number, piece)


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.integers(0, 80))
def test_damaged_headers_make_no_monsters(at: int, byte: int, cut: int) -> None:
    for kind in (Bloom, Cuckoo):
        header = bytearray(kind(100, 0.01).header() if kind is Bloom else Cuckoo(100).header())
        header[at % len(header)] = byte
        damaged = bytes(header[: max(len(header) - cut, 0)] if cut % 3 == 0 else header)
        try:
            if kind is Bloom:
                Bloom.from_header(damaged, empty=False)
            else:
                sizes = Cuckoo.from_header(damaged)[1]
                assert sum(sizes) <= 512 * 1024 * 1024
        except (BadDump, FilterTooLarge):
            continue


def test_a_cuckoo_filter_errs_as_rarely_as_its_fingerprints_allow() -> None:
    found = Cuckoo(8192)
    items = [b"item:%d" % at for at in range(6500)]
    for item in items:
        found.add(item)
    assert all(item in found for item in items)
    wrong = sum(item in found for item in STRANGERS) / len(STRANGERS)
    assert 0.002 < wrong < 0.03 * len(found.layers)


@pytest.mark.parametrize("bucket_size", [1, 2, 4, 7])
def test_cuckoo_filters_against_a_model(bucket_size: int) -> None:
    """Items that are in here are found as often as they were added, or more often; what is deleted is gone."""
    seed = 20 + bucket_size
    print("seed", seed)
    source = random.Random(seed)
    found = Cuckoo(64, bucket_size, expansion=2)
    model: dict[bytes, int] = {}
    for _ in range(3000):
        item = b"%d" % source.randrange(300)
        if source.random() < 0.6:
            found.add(item)
            model[item] = model.get(item, 0) + 1
        elif model.get(item):
            assert found.delete(item)
            model[item] -= 1
        assert found.items == sum(model.values())
        assert found.count(item) >= model.get(item, 0)
    assert all(found.count(item) >= count for item, count in model.items())
    for item, count in model.items():
        for _ in range(count):
            assert found.delete(item)
    assert found.items == 0
    assert not any(any(layer) for layer in found.layers)


def test_a_cuckoo_filter_without_expansion_is_full_and_unharmed() -> None:
    found = Cuckoo(16, expansion=0)
    taken = []
    with pytest.raises(FilterFull):
        for at in range(100):
            before = bytes(found.layers[0])
            found.add(b"%d" % at)
            taken.append(b"%d" % at)
    assert bytes(found.layers[0]) == before
    assert len(taken) == found.items > 8
    assert all(item in found for item in taken)


def test_a_cuckoo_filter_has_so_many_layers_at_most() -> None:
    found = Cuckoo(4)
    with pytest.raises(FilterTooLarge):
        for _ in range(1000):
            found.add(b"same")
    assert len(found.layers) == LAYERS_MAX
    with pytest.raises(FilterTooLarge):
        Cuckoo(1 << 40)


def test_a_cuckoo_filter_from_its_dump() -> None:
    found = Cuckoo(64)
    for item in STRANGERS[:300]:
        found.add(item)
    found.delete(STRANGERS[0])
    (_, header), *rest = chunks_of(found)
    twin, sizes = Cuckoo.from_header(header)
    twin.layers = [bytearray(size) for size in sizes]
    for number, piece in rest:
        twin.load_chunk(number, piece)
    assert twin.layers == found.layers and len(rest) > 2
    assert (twin.items, twin.deleted, twin.expansion) == (299, 1, 1)
    for number, piece in ((1, b"x"), (rest[0][0], rest[0][1] + b"x"), (rest[-1][0] + 1, b"xx")):
        with pytest.raises(BadDump):
            twin.load_chunk(number, piece)


def test_copies_part_ways() -> None:
    bloom, cuckoo = Bloom(100, 0.01), Cuckoo(100)
    bloom.add(b"a")
    cuckoo.add(b"a")
    bloom_twin, cuckoo_twin = bloom.copy(), cuckoo.copy()
    bloom.add(b"b")
    cuckoo.add(b"b")
    assert b"a" in bloom_twin and b"b" not in bloom_twin and bloom_twin.items == 1
    assert b"a" in cuckoo_twin and b"b" not in cuckoo_twin and cuckoo_twin.items == 1
