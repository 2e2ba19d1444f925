"""Cuckoo filters: the header that CF.SCANDUMP gives, then the buckets of each layer."""

from __future__ import annotations

from collections.abc import Iterator

from node.persistence.encodings.modules import ModuleType, Part, PartReader, sliced
from node.persistence.errors import RdbError
from node.types.bloom import BadDump, FilterTooLarge
from node.types.cuckoo import Cuckoo


def _parts(value: Cuckoo) -> Iterator[Part]:
    yield value.header()
    for layer in value.layers:
        yield from sliced(layer)


def _build(parts: list[Part]) -> Cuckoo:
    reader = PartReader(parts)
    try:
        value, sizes = Cuckoo.from_header(reader.text())
    except (BadDump, FilterTooLarge):
        raise RdbError("no header of a cuckoo filter") from None
    value.layers = [reader.buffer(size) for size in sizes]
    reader.end()
    return value


MODULE = ModuleType("MBbloomCF", 512, Cuckoo, _parts, _build)
