"""Cuckoo filters: fingerprints of one byte in two possible buckets each, so that items can be deleted again.

An item that finds both its buckets full drives another out into that one's other bucket, and so on (Fan et al.,
"Cuckoo Filter: Practically Better Than Bloom", 2014). When that goes on for too long, a larger layer is added. Which
fingerprint has to move follows from the filter alone, so that a replica ends up with the same bytes.
"""

from __future__ import annotations

from struct import Struct, error

from node.types.bloom import CHUNK_BYTES, BadDump, FilterFull, FilterTooLarge
from node.types.digests import VALUE_BYTES_MAX, hash_pair

DEFAULT_CAPACITY = 1024
DEFAULT_BUCKET_SIZE = 2
DEFAULT_MAX_ITERATIONS = 20
DEFAULT_EXPANSION = 1
BUCKET_SIZE_MAX = 255
MAX_ITERATIONS_MAX = 65535
EXPANSION_MAX = 32768
LAYERS_MAX = 32
"""How many layers a filter may have."""

_FILTER_BYTES = 56
"""What Redis's structures around the buckets take: part of what CF.INFO tells."""
_MIX = 0x5BD1E995
_COUNT_MAX = (1 << 63) - 1

_MAGIC = b"HSCF1"
_HEAD = Struct("<HIIQQI")
_LAYER_HEAD = Struct("<Q")


def _power_of_two(number: int) -> int:
    """The next power of two that is not below `number`."""
    return 1 << max(number - 1, 0).bit_length()


class Cuckoo:
    """A filter. Bucket size and expansion as in CF.RESERVE; expansion 0: it never grows.

    FilterTooLarge when it would take too much memory; nothing has been allocated then.
    """

    __slots__ = ("bucket_size", "deleted", "expansion", "items", "layers", "max_iterations")

    def __init__(
        self,
        capacity: int,
        bucket_size: int = DEFAULT_BUCKET_SIZE,
        max_iterations: int = DEFAULT_MAX_ITERATIONS,
        expansion: int = DEFAULT_EXPANSION,
    ) -> None:
        buckets = _power_of_two(-(-capacity // bucket_size))
        if buckets * bucket_size > VALUE_BYTES_MAX:
            raise FilterTooLarge
        self.bucket_size = bucket_size
        self.max_iterations = max_iterations
        self.expansion = _power_of_two(expansion) if expansion else 0
        self.items = 0
        self.deleted = 0
        self.layers = [bytearray(buckets * bucket_size)]
        """Each layer's buckets, one behind the other; 0 is an empty place."""

    def _buckets(self, layer: bytearray, item: bytes) -> tuple[int, int, int]:
        """The fingerprint of an item, and where its two buckets start in a layer."""
        first, second = hash_pair(item)
        mark = second % 255 + 1
        mask = len(layer) // self.bucket_size - 1
        return mark, (first & mask) * self.bucket_size, ((first ^ mark * _MIX) & mask) * self.bucket_size

    def count(self, item: bytes) -> int:
        """How often the item seems to be in here."""
        size = self.bucket_size
        total = 0
        for layer in self.layers:
            mark, one, other = self._buckets(layer, item)
            total += layer.count(mark, one, one + size)
            if other != one:
                total += layer.count(mark, other, other + size)
        return total

    def __contains__(self, item: bytes) -> bool:
        return self._place_of(item) is not None

    def _place_of(self, item: bytes) -> tuple[bytearray, int] | None:
        """Where an item seems to be: the layer and the place in it."""
        size = self.bucket_size
        for layer in reversed(self.layers):
            mark, one, other = self._buckets(layer, item)
            for start in (one, other):
                at = layer.find(mark, start, start + size)
                if at >= 0:
                    return layer, at
        return None

    def add(self, item: bytes) -> None:
        """Add an item, once more if it is in here. FilterFull, FilterTooLarge: it could not be added."""
        if not any(self._put(layer, item) for layer in reversed(self.layers)) and not self._displace(item):
            self._put(self._grow(), item)
        self.items += 1

    def delete(self, item: bytes) -> bool:
        """Delete an item once. False when it does not seem to be in here."""
        place = self._place_of(item)
        if place is None:
            return False
        layer, at = place
        layer[at] = 0
        self.items = max(self.items - 1, 0)  # a loaded header may have told fewer than there are
        self.deleted = min(self.deleted + 1, _COUNT_MAX)
        return True

    def _put(self, layer: bytearray, item: bytes) -> bool:
        mark, one, other = self._buckets(layer, item)
        for start in (one, other):
            at = layer.find(0, start, start + self.bucket_size)
            if at >= 0:
                layer[at] = mark
                return True
        return False

    def _displace(self, item: bytes) -> bool:
        """Make place in the newest layer by moving others. False when that was in vain; then all is as it was."""
        layer, size = self.layers[-1], self.bucket_size
        mask = len(layer) // size - 1
        mark, start, _ = self._buckets(layer, item)
        moves: list[tuple[int, int]] = []
        for turn in range(self.max_iterations):
            at = start + turn % size
            moves.append((at, layer[at]))
            layer[at], mark = mark, layer[at]
            start = ((start // size ^ mark * _MIX) & mask) * size
            free = layer.find(0, start, start + size)
            if free >= 0:
                layer[free] = mark
                return True
        for at, before in reversed(moves):
            layer[at] = before
        return False

    def _grow(self) -> bytearray:
        if not self.expansion:
            raise FilterFull
        size = len(self.layers[-1]) * self.expansion
        if len(self.layers) >= LAYERS_MAX or self.bytes_of_buckets + size > VALUE_BYTES_MAX:
            raise FilterTooLarge
        layer = bytearray(size)
        self.layers.append(layer)
        return layer

    @property
    def bytes_of_buckets(self) -> int:
        """What all layers take."""
        return sum(map(len, self.layers))

    @property
    def buckets(self) -> int:
        """How many buckets the first layer has."""
        return len(self.layers[0]) // self.bucket_size

    @property
    def memory(self) -> int:
        """What CF.INFO calls the size."""
        return _FILTER_BYTES + self.bytes_of_buckets

    def copy(self) -> Cuckoo:
        """An equal filter that shares nothing."""
        twin = Cuckoo.__new__(Cuckoo)
        twin.bucket_size, twin.max_iterations, twin.expansion = self.bucket_size, self.max_iterations, self.expansion
        twin.items, twin.deleted = self.items, self.deleted
        twin.layers = [layer[:] for layer in self.layers]
        return twin

    # Dumping ----------------------------------------------------------------------------------------------------------

    def header(self) -> bytes:
        """The first chunk of a dump: everything but the buckets."""
        numbers = (self.bucket_size, self.max_iterations, self.expansion, self.items, self.deleted, len(self.layers))
        sizes = b"".join([_LAYER_HEAD.pack(len(layer)) for layer in self.layers])
        return _MAGIC + _HEAD.pack(*numbers) + sizes

    @classmethod
    def from_header(cls, text: bytes) -> tuple[Cuckoo, list[int]]:
        """A filter without layers from its header, and the layers' sizes in bytes. BadDump, FilterTooLarge."""
        start = len(_MAGIC) + _HEAD.size
        try:
            bucket_size, max_iterations, expansion, items, deleted, count = _HEAD.unpack_from(text, len(_MAGIC))
            sizes = [row[0] for row in _LAYER_HEAD.iter_unpack(text[start:])]
        except error:
            raise BadDump from None
        if text[: len(_MAGIC)] != _MAGIC or not 1 <= count == len(sizes) <= LAYERS_MAX or not expansion <= EXPANSION_MAX:
            raise BadDump
        if not 1 <= bucket_size <= BUCKET_SIZE_MAX or not 1 <= max_iterations <= MAX_ITERATIONS_MAX:
            raise BadDump
        if any(not size or size % bucket_size or size // bucket_size & size // bucket_size - 1 for size in sizes):
            raise BadDump
        if sum(sizes) > VALUE_BYTES_MAX:
            raise FilterTooLarge
        if items > sum(sizes) or deleted > _COUNT_MAX or expansion & (expansion - 1):
            raise BadDump
        found = cls.__new__(cls)
        found.bucket_size, found.max_iterations, found.expansion = bucket_size, max_iterations, expansion
        found.items, found.deleted, found.layers = items, deleted, []
        return found, sizes

    def chunk(self, number: int) -> tuple[int, bytes]:
        """The chunk behind the one of this number (1 is the header's): its number and bytes; (0, b"") at the end."""
        offset = number - 1
        for layer in self.layers:
            if 0 <= offset < len(layer):
                piece = bytes(layer[offset : offset + CHUNK_BYTES])
                return number + len(piece), piece
            offset -= len(layer)
        return 0, b""

    def load_chunk(self, number: int, piece: bytes) -> None:
        """Put the bytes of a chunk where they belong. BadDump when that is nowhere."""
        offset = number - 1 - len(piece)
        for layer in self.layers:
            if offset >= 0 and piece and offset + len(piece) <= len(layer):
                layer[offset : offset + len(piece)] = piece
                return
            offset -= len(layer)
        raise BadDump
