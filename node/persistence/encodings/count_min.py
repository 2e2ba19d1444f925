"""Count-min sketches: width, depth, total, then the counters row by row, 4 bytes each."""

from __future__ import annotations

from collections.abc import Iterator

from node.persistence.encodings.modules import ModuleType, Part, PartReader, sliced
from node.persistence.errors import RdbError
from node.types.count_min import CELLS_MAX, CountMin, array_of, bytes_of


def _parts(value: CountMin) -> Iterator[Part]:
    yield value.width
    yield value.depth
    yield value.total
    yield from sliced(bytes_of(value.cells))


def _build(parts: list[Part]) -> CountMin:
    reader = PartReader(parts)
    width, depth = reader.integer(1, CELLS_MAX), reader.integer(1, CELLS_MAX)
    if width * depth > CELLS_MAX:
        raise RdbError("a count-min sketch with too many counters")
    value = CountMin.__new__(CountMin)
    value.width, value.depth = width, depth
    value.total = reader.integer(0, (1 << 63) - 1)
    value.cells = array_of("I", reader.buffer(width * depth * 4))
    reader.end()
    return value


MODULE = ModuleType("CMSk-TYPE", 512, CountMin, _parts, _build)
