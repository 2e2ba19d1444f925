"""Top-k sketches: k, width, depth, decay, dice, fingerprints, counts, then the items on top with their counts."""

from __future__ import annotations

from collections.abc import Iterator

from node.persistence.encodings.modules import ModuleType, Part, PartReader, sliced
from node.persistence.errors import RdbError
from node.types.count_min import array_of, bytes_of
from node.types.top_k import CELLS_MAX, COUNT_MAX, K_MAX, TopK


def _parts(value: TopK) -> Iterator[Part]:
    yield from (value.k, value.width, value.depth, value.decay, value.dice)
    yield from sliced(bytes_of(value.marks))
    yield from sliced(bytes_of(value.counts))
    yield len(value.top)
    for item, count in value.top.items():
        yield item
        yield count


def _build(parts: list[Part]) -> TopK:
    reader = PartReader(parts)
    value = TopK.__new__(TopK)
    value.k = reader.integer(1, K_MAX)
    value.width, value.depth = reader.integer(1, CELLS_MAX), reader.integer(1, CELLS_MAX)
    value.decay = reader.double()
    if value.width * value.depth > CELLS_MAX or not 0 < value.decay <= 1:
        raise RdbError("a top-k sketch with impossible dimensions")
    value.dice = reader.integer(1, (1 << 64) - 1)
    size = value.width * value.depth * 4
    value.marks = array_of("I", reader.buffer(size))
    value.counts = array_of("I", reader.buffer(size))
    top: dict[bytes, int] = {}
    count = reader.integer(0, value.k)
    for _ in range(count):
        item = reader.text()
        top[item] = reader.integer(1, COUNT_MAX)
    if len(top) != count:
        raise RdbError("a top-k sketch has the same item twice")
    value.set_top(top)
    reader.end()
    return value


MODULE = ModuleType("TopK-TYPE", 512, TopK, _parts, _build)
