"""Bloom filters: the header that BF.SCANDUMP gives, then the bits of each layer."""

from __future__ import annotations

from collections.abc import Iterator

from node.persistence.encodings.modules import ModuleType, Part, PartReader, sliced
from node.persistence.errors import RdbError
from node.types.bloom import BadDump, Bloom, FilterTooLarge


def _parts(value: Bloom) -> Iterator[Part]:
    yield value.header()
    for layer in value.layers:
        yield from sliced(layer.bits)


def _build(parts: list[Part]) -> Bloom:
    reader = PartReader(parts)
    try:
        value = Bloom.from_header(reader.text(), empty=False)
    except (BadDump, FilterTooLarge):
        raise RdbError("no header of a Bloom filter") from None
    for layer in value.layers:
        layer.bits = reader.buffer(layer.size // 8)
    reader.end()
    return value


MODULE = ModuleType("MBbloom--", 512, Bloom, _parts, _build)
