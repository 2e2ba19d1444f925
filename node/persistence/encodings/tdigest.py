"""T-digests: compression, how often it was compressed, least and greatest, then the joined centroids and those that
wait, each as a count, the means (8 bytes each) and the weights (8 bytes each)."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator

from node.persistence.encodings.modules import ModuleType, Part, PartReader, sliced
from node.persistence.errors import RdbError
from node.types.count_min import array_of, bytes_of
from node.types.tdigest import COMPRESSION_MAX, WEIGHT_MAX, TDigest


def _parts(value: TDigest) -> Iterator[Part]:
    yield from (value.compression, value.compressions, value.low, value.high)
    for means, weights in ((value.means, value.weights), (value.gathered, value.gathered_weights)):
        yield len(means)
        yield from sliced(_little_endian(means).tobytes())
        yield from sliced(bytes_of(weights))


def _little_endian(numbers: array[float]) -> array[float]:
    """The same doubles, their bytes as they stand in a payload. (It is its own inverse.)"""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers


def _read(reader: PartReader, room: int) -> tuple[array[float], array[int]]:
    count = reader.integer(0, room)
    means: array[float] = array("d")
    means.frombytes(reader.buffer(count * 8))
    means = _little_endian(means)
    weights = array_of("q", reader.buffer(count * 8))
    if not all(map(math.isfinite, means)) or (weights and min(weights) < 1):
        raise RdbError("a t-digest has impossible centroids")
    return means, weights


def _build(parts: list[Part]) -> TDigest:
    reader = PartReader(parts)
    value = TDigest(reader.integer(1, COMPRESSION_MAX))
    value.compressions = reader.integer(0, (1 << 63) - 1)
    value.low, value.high = reader.double(), reader.double()
    value.means, value.weights = _read(reader, value.capacity)
    value.gathered, value.gathered_weights = _read(reader, value.capacity - len(value.means))
    reader.end()
    value.total = sum(value.weights) + sum(value.gathered_weights)
    everything = [*value.means, *value.gathered]
    if list(value.means) != sorted(value.means) or value.total > WEIGHT_MAX:
        raise RdbError("the centroids of a t-digest are out of order, or too heavy")
    if everything and not (-math.inf < value.low <= min(everything) and max(everything) <= value.high < math.inf):
        raise RdbError("the centroids of a t-digest are outside its bounds")
    if not everything and (value.low, value.high) != (math.inf, -math.inf):
        raise RdbError("an empty t-digest has bounds")
    return value


MODULE = ModuleType("TDIS-TYPE", 512, TDigest, _parts, _build)
