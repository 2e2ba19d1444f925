"""Bloom filters that grow: layers of bits, each larger and stricter than the one before.

A layer for n items with error rate e has -n * ln(e) / ln(2)^2 bits, and ln(2) * bits / n of them belong to an item
(Bloom, 1970). The layers' rates halve from one to the next, the first being half of what was asked for, so that all
together they err no more often than that (Almeida et al., "Scalable Bloom Filters", 2007). An item's bits lie at
distances that grow (Dillinger and Manolios' enhanced double hashing): at equal ones, two items could share all of them.
"""

from __future__ import annotations

import math
import sys
from struct import Struct, error

from node.types.digests import VALUE_BYTES_MAX, hash_pair

DEFAULT_ERROR_RATE = 0.01
DEFAULT_CAPACITY = 100
DEFAULT_EXPANSION = 2
EXPANSION_MAX = 32768
ERROR_RATE_MAX = 0.25
"""What asks for more gets this."""

CHUNK_BYTES = 16 * 1024 * 1024
"""The most that one chunk of a dump holds."""

_TIGHTENING = 0.5
_FILTER_BYTES, _LAYER_BYTES = 32, 64
"""What Redis's structures around the bits take: part of what BF.INFO tells."""
_HASHES_MAX = 1100
_LAYERS_MAX = 4096

_MAGIC = b"HSBF1"
_HEAD = Struct("<QII")
_LAYER_HEAD = Struct("<QQdQI")


class FilterFull(Exception):
    """Nothing more fits and the filter may not grow."""


class FilterTooLarge(Exception):
    """The filter, or the layer that it needs, would be larger than any value may be."""


class BadDump(Exception):
    """A chunk that no dump of a filter has."""


class Layer:
    """One filter of fixed size. count: items added to it. size: in bits."""

    __slots__ = ("bits", "capacity", "count", "error_rate", "hashes", "size")

    def __init__(self, capacity: int, error_rate: float) -> None:
        self.capacity = capacity
        self.error_rate = error_rate
        bits_per_item = -math.log(error_rate) / math.log(2) ** 2
        if capacity * bits_per_item > VALUE_BYTES_MAX * 8:
            raise FilterTooLarge
        self.hashes = math.ceil(math.log(2) * bits_per_item)
        self.size = max(-(-int(capacity * bits_per_item) // 64) * 64, 64)
        self.bits = bytearray(self.size // 8)
        self.count = 0

    def has(self, start: int, step: int) -> bool:
        """Whether an item with this pair of hashes seems to be in here."""
        bits, size = self.bits, self.size
        for turn in range(self.hashes):
            place = start % size
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
            start += step
            step += turn
        return True

    def add(self, start: int, step: int) -> None:
        """Add an item that is not in here."""
        bits, size = self.bits, self.size
        for turn in range(self.hashes):
            place = start % size
            bits[place >> 3] |= 1 << (place & 7)
            start += step
            step += turn
        self.count += 1

    def is_plausible(self) -> bool:
        """Whether the numbers, which came from outside, are those of a filter."""
        return 0 < self.capacity <= VALUE_BYTES_MAX * 8 and 0 < self.error_rate < 1 and self.count <= self.capacity

    def copy(self) -> Layer:
        """An equal one that shares nothing."""
        twin = Layer.__new__(Layer)
        twin.capacity, twin.error_rate, twin.count = self.capacity, self.error_rate, self.count
        twin.hashes, twin.size, twin.bits = self.hashes, self.size, self.bits[:]
        return twin


class Bloom:
    """A filter. expansion: how much larger the next layer is; 0 for a filter that never grows.

    FilterTooLarge when it would take too much memory; nothing has been allocated then.
    """

    __slots__ = ("expansion", "layers")

    def __init__(self, capacity: int, error_rate: float, expansion: int = DEFAULT_EXPANSION) -> None:
        error_rate = min(error_rate, ERROR_RATE_MAX)
        if expansion:
            error_rate *= _TIGHTENING
        self.expansion = expansion
        self.layers = [Layer(capacity, max(error_rate, sys.float_info.min))]

    def __contains__(self, item: bytes) -> bool:
        start, step = hash_pair(item)
        return any(layer.has(start, step) for layer in reversed(self.layers))

    def add(self, item: bytes) -> bool:
        """Add an item; False when it seems to be in here already. FilterFull, FilterTooLarge: it could not be added."""
        start, step = hash_pair(item)
        for layer in reversed(self.layers):
            if layer.has(start, step):
                return False
        newest = self.layers[-1]
        if newest.count >= newest.capacity:
            newest = self._grow()
        newest.add(start, step)
        return True

    def _grow(self) -> Layer:
        if not self.expansion:
            raise FilterFull
        newest = self.layers[-1]
        if len(self.layers) >= _LAYERS_MAX:
            raise FilterTooLarge
        capacity = newest.capacity * self.expansion
        error_rate = max(newest.error_rate * _TIGHTENING, sys.float_info.min)
        if self.bytes_of_bits + capacity * -math.log(error_rate) / math.log(2) ** 2 / 8 > VALUE_BYTES_MAX:
            raise FilterTooLarge
        layer = Layer(capacity, error_rate)
        self.layers.append(layer)
        return layer

    @property
    def items(self) -> int:
        """How many items were added that seemed new."""
        return sum([layer.count for layer in self.layers])

    @property
    def capacity(self) -> int:
        """How many items fit without growing further."""
        return sum([layer.capacity for layer in self.layers])

    @property
    def bytes_of_bits(self) -> int:
        """What all layers take."""
        return sum([len(layer.bits) for layer in self.layers])

    @property
    def memory(self) -> int:
        """What BF.INFO calls the size."""
        return _FILTER_BYTES + len(self.layers) * _LAYER_BYTES + self.bytes_of_bits

    def copy(self) -> Bloom:
        """An equal filter that shares nothing."""
        twin = Bloom.__new__(Bloom)
        twin.expansion = self.expansion
        twin.layers = [layer.copy() for layer in self.layers]
        return twin

    # Dumping ----------------------------------------------------------------------------------------------------------

    def header(self) -> bytes:
        """The first chunk of a dump: everything but the bits."""
        parts = [_MAGIC, _HEAD.pack(self.expansion, len(self.layers), 0)]
        parts += [
            _LAYER_HEAD.pack(layer.capacity, layer.count, layer.error_rate, layer.size, layer.hashes)
            for layer in self.layers
        ]
        return b"".join(parts)

    @classmethod
    def from_header(cls, text: bytes, *, empty: bool = True) -> Bloom:
        """A filter from its header, all bits zero, or with no bits when `empty` is False. BadDump, FilterTooLarge."""
        start = len(_MAGIC) + _HEAD.size
        try:
            expansion, count, _ = _HEAD.unpack_from(text, len(_MAGIC))
            rows = list(_LAYER_HEAD.iter_unpack(text[start:]))
        except error:
            raise BadDump from None
        if text[: len(_MAGIC)] != _MAGIC or not 1 <= count == len(rows) <= _LAYERS_MAX or expansion > EXPANSION_MAX:
            raise BadDump
        if sum([row[3] for row in rows]) > VALUE_BYTES_MAX * 8:
            raise FilterTooLarge
        found = cls.__new__(cls)
        found.expansion = expansion
        found.layers = [layer_of(*row) for row in rows]
        if empty:
            for layer in found.layers:
                layer.bits = bytearray(layer.size // 8)
        return found

    def chunk(self, number: int) -> tuple[int, bytes]:
        """The chunk behind the one of this number (1 is the header's): its number and bytes; (0, b"") at the end."""
        offset = number - 1
        start = 0
        for layer in self.layers:
            if 0 <= offset - start < len(layer.bits):
                piece = bytes(layer.bits[offset - start : offset - start + CHUNK_BYTES])
                return number + len(piece), piece
            start += len(layer.bits)
        return 0, b""

    def load_chunk(self, number: int, piece: bytes) -> None:
        """Put the bits of a chunk where they belong. BadDump when that is nowhere."""
        offset = number - 1 - len(piece)
        for layer in self.layers:
            if 0 <= offset < len(layer.bits) and piece and offset + len(piece) <= len(layer.bits):
                layer.bits[offset : offset + len(piece)] = piece
                return
            offset -= len(layer.bits)
        raise BadDump


def layer_of(capacity: int, count: int, error_rate: float, size: int, hashes: int) -> Layer:
    """A layer without bits, from numbers that came from outside. BadDump when they are not those of a layer."""
    layer = Layer.__new__(Layer)
    layer.capacity, layer.count, layer.error_rate = capacity, count, error_rate
    layer.size, layer.hashes = size, hashes
    if not layer.is_plausible() or not 64 <= size <= VALUE_BYTES_MAX * 8 or size % 64 or not 1 <= hashes <= _HASHES_MAX:
        raise BadDump
    layer.bits = bytearray()
    return layer
