"""HyperLogLog in Redis's own string format: to the byte what a real server would have in the key.

A HyperLogLog is a string: 16 bytes of header ("HYLL", an encoding, three zeros, the cached cardinality as 8 bytes of
which the highest bit says "not valid"), then 16,384 registers of 6 bits. Dense they lie one after the other, the first
in the lowest bits. Sparse they are runs, one opcode each:

    00xxxxxx             x + 1 registers of 0
    01xxxxxx xxxxxxxx    x + 1 registers of 0
    1vvvvvxx             x + 1 registers of v + 1

Where the opcodes end up depends on the order of changes, so `SparseWriter` goes through the same steps as
`hyperloglog.c` of Redis 7.2 does. The estimate is Ertl's (arXiv:1702.01284).
"""

from __future__ import annotations

import math
from binascii import a2b_base64, b2a_base64
from struct import unpack_from

REGISTERS = 16384
HEADER_SIZE = 16
DENSE_SIZE = HEADER_SIZE + REGISTERS * 6 // 8
SPARSE_VALUE_MAX = 32
"""The highest register that a sparse one can hold; the highest of all is 51."""

_MAGIC = b"HYLL"
_ENCODING = 4
_CACHE = 8
_STALE = 15
_DENSE, _SPARSE = 0, 1
_INDEX_BITS = 14
_HASH_BITS = 50
_ALPHA = 0.721347520444481703680

_SEED = 0xADC83B19
_MULTIPLIER = 0xC6A4A7935BD1E995
_MASK = (1 << 64) - 1

# Base64 takes 6 bits a time from the highest down: of the reversed bytes these are the registers from the last down.
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_LETTERS = bytes.maketrans(bytes(range(64)), _LETTERS)
_FROM_LETTERS = bytes.maketrans(_LETTERS, bytes(range(64)))


class CorruptedError(Exception):
    """The opcodes of a sparse HyperLogLog do not cover all registers."""


# Hashing --------------------------------------------------------------------------------------------------------------


def murmur_hash(text: bytes) -> int:
    """MurmurHash64A with Redis's seed."""
    size = len(text)
    number = _SEED ^ (size * _MULTIPLIER & _MASK)
    whole = size >> 3
    for word in unpack_from(f"<{whole}Q", text):
        word = word * _MULTIPLIER & _MASK
        word = (word ^ word >> 47) * _MULTIPLIER & _MASK
        number = (number ^ word) * _MULTIPLIER & _MASK
    if size & 7:
        number = (number ^ int.from_bytes(text[whole * 8 :], "little")) * _MULTIPLIER & _MASK
    number = (number ^ number >> 47) * _MULTIPLIER & _MASK
    return number ^ number >> 47


def place_of(element: bytes) -> tuple[int, int]:
    """The register that an element concerns, and the number that it has to have at least."""
    number = murmur_hash(element)
    pattern = number >> _INDEX_BITS | 1 << _HASH_BITS
    return number & REGISTERS - 1, (pattern & -pattern).bit_length()


# Whole values ---------------------------------------------------------------------------------------------------------


def empty() -> bytearray:
    """A HyperLogLog of nothing, sparse."""
    return bytearray(_MAGIC + bytes((_SPARSE, 0, 0, 0)) + bytes(8) + b"\x7f\xff")


def is_valid(text: bytes | bytearray) -> bool:
    """Whether a string may be a HyperLogLog: its header is right, and its length if it is dense."""
    if len(text) < HEADER_SIZE or text[:4] != _MAGIC or text[_ENCODING] > _SPARSE:
        return False
    return text[_ENCODING] == _SPARSE or len(text) == DENSE_SIZE


def is_sparse(text: bytes | bytearray) -> bool:
    """Whether a valid HyperLogLog is sparse."""
    return text[_ENCODING] == _SPARSE


def cached_count(text: bytes | bytearray) -> int | None:
    """The cardinality in the header; None when it is not valid."""
    return None if text[_STALE] & 0x80 else int.from_bytes(text[_CACHE:HEADER_SIZE], "little")


def cache_count(buffer: bytearray, count: int) -> None:
    """Note the cardinality in the header."""
    buffer[_CACHE:HEADER_SIZE] = count.to_bytes(8, "little")


def forget_count(buffer: bytearray) -> None:
    """The cardinality in the header is valid no longer."""
    buffer[_STALE] |= 0x80


def opcodes(text: bytes | bytearray) -> list[tuple[int, int, int]]:
    """The runs of a sparse one: bytes of the opcode, length, register (0 for zeros)."""
    runs: list[tuple[int, int, int]] = []
    at, end = HEADER_SIZE, len(text)
    while at < end:
        code = text[at]
        if code >= 0x80:
            runs.append((1, (code & 3) + 1, (code >> 2 & 31) + 1))
        elif code < 0x40:
            runs.append((1, code + 1, 0))
        else:
            # Behind the end C finds the zero that ends every string.
            low = text[at + 1] if at + 1 < end else 0
            runs.append((2, ((code & 0x3F) << 8 | low) + 1, 0))
            at += 1
        at += 1
    return runs


def registers(text: bytes | bytearray) -> bytes:
    """All registers of a valid HyperLogLog, a byte each. CorruptedError when its opcodes are wrong."""
    if not is_sparse(text):
        letters = b2a_base64(text[:HEADER_SIZE - 1 : -1], newline=False)
        return letters.translate(_FROM_LETTERS)[::-1]
    runs = opcodes(text)
    if sum([run[1] for run in runs]) != REGISTERS:
        raise CorruptedError
    return b"".join([bytes((number,)) * length for _, length, number in runs])


def to_dense(buffer: bytearray) -> None:
    """Make a sparse one dense in place. CorruptedError when its opcodes are wrong."""
    if is_sparse(buffer):
        set_dense(buffer, registers(buffer))


def set_dense(buffer: bytearray, numbers: bytes) -> None:
    """Be dense with these registers; what the header says of the cardinality stays."""
    buffer[HEADER_SIZE:] = a2b_base64(numbers[::-1].translate(_TO_LETTERS))[::-1]
    buffer[_ENCODING] = _DENSE


# Changing -------------------------------------------------------------------------------------------------------------


def add(buffer: bytearray, element: bytes, sparse_max: int) -> bool:
    """Add an element in place; True when a register changed. sparse_max: the setting hll-sparse-max-bytes.

    CorruptedError when opcodes are wrong, as far as that is noticed.
    """
    index, number = place_of(element)
    if is_sparse(buffer):
        return SparseWriter(buffer, sparse_max).raise_to(index, number)
    return _raise_dense(buffer, index, number)


def _raise_dense(buffer: bytearray, index: int, number: int) -> bool:
    at, shift = HEADER_SIZE + (index * 6 >> 3), index * 6 & 7
    word = int.from_bytes(buffer[at : at + 2], "little")
    if word >> shift & 63 >= number:
        return False
    word = word & ~(63 << shift) | number << shift
    pair = word.to_bytes(2, "little")
    buffer[at] = pair[0]
    if shift > 2:
        buffer[at + 1] = pair[1]
    return True


def write_all(buffer: bytearray, numbers: bytes, sparse_max: int) -> None:
    """Raise every register to at least its number in `numbers`, as PFMERGE does: one after the other."""
    if not is_sparse(buffer):
        set_dense(buffer, bytes(map(max, registers(buffer), numbers)))
        return
    writer = SparseWriter(buffer, sparse_max)
    for index in range(REGISTERS):
        if numbers[index]:
            if not is_sparse(buffer):
                set_dense(buffer, bytes(map(max, registers(buffer), numbers)))
                return
            writer.raise_to(index, numbers[index])


def _zeros(length: int) -> bytes:
    """The opcode of so many zeros."""
    if length <= 64:
        return bytes((length - 1,))
    return bytes((0x40 | length - 1 >> 8, length - 1 & 0xFF))


def _run(number: int, length: int) -> int:
    """The opcode of so many registers of one number."""
    return 0x80 | number - 1 << 2 | length - 1


class SparseWriter:
    """Raises registers of one sparse HyperLogLog in place.

    It remembers where it was, so that registers in ascending order cost one pass together.
    """

    def __init__(self, buffer: bytearray, sparse_max: int) -> None:
        self._buffer = buffer
        self._sparse_max = sparse_max
        self._resume = (HEADER_SIZE, 0)

    def raise_to(self, index: int, number: int) -> bool:
        """Make a register at least `number`, at or behind all that were raised before. True when it changed.

        The buffer may be dense afterwards; then this writer is done. CorruptedError when opcodes are wrong.
        """
        buffer = self._buffer
        if number > SPARSE_VALUE_MAX:
            return self._promote(index, number)
        before, before_last, at, first, code, span = self._find(index)
        size = 2 if 0x40 <= code < 0x80 else 1
        if code >= 0x80:
            held = (code >> 2 & 31) + 1
            if held >= number:
                return False
            if span == 1:
                buffer[at] = _run(number, 1)
            else:
                parts = bytearray()
                if index != first:
                    parts.append(_run(held, index - first))
                parts.append(_run(number, 1))
                if index != first + span - 1:
                    parts.append(_run(held, first + span - 1 - index))
                if not self._fits(len(parts) - size):
                    return self._promote(index, number)
                buffer[at : at + size] = parts
        elif size == 1 and span == 1:
            buffer[at] = _run(number, 1)
        else:
            parts = bytearray()
            if index != first:
                parts += _zeros(index - first)
            parts.append(_run(number, 1))
            if index != first + span - 1:
                parts += _zeros(first + span - 1 - index)
            if not self._fits(len(parts) - size):
                return self._promote(index, number)
            buffer[at : at + size] = parts
        self._resume = before_last
        self._merge(before)
        forget_count(buffer)
        return True

    def _fits(self, growth: int) -> bool:
        return growth <= 0 or len(self._buffer) + growth <= self._sparse_max

    def _promote(self, index: int, number: int) -> bool:
        to_dense(self._buffer)
        return _raise_dense(self._buffer, index, number)

    def _find(self, index: int) -> tuple[int, tuple[int, int], int, int, int, int]:
        """Where the opcode before is, where (and at which register) the one before that, and of the opcode that covers
        `index`: place, first register, first byte, length."""
        buffer = self._buffer
        end = len(buffer)
        at, first = self._resume
        before, before_last, last = HEADER_SIZE, (at, first), (at, first)
        if at != HEADER_SIZE:
            before = at
        while at < end:
            code = buffer[at]
            if code >= 0x80:
                span, size = (code & 3) + 1, 1
            elif code < 0x40:
                span, size = code + 1, 1
            else:
                span, size = ((code & 0x3F) << 8 | (buffer[at + 1] if at + 1 < end else 0)) + 1, 2
            if index < first + span:
                return before, before_last, at, first, code, span
            before_last, last = last, (at, first)
            before = at
            at += size
            first += span
        raise CorruptedError

    def _merge(self, at: int) -> None:
        """Join neighbouring runs of the same number, in the five opcodes from `at` on."""
        buffer = self._buffer
        end = len(buffer)
        steps = 5
        while at < end and steps:
            steps -= 1
            code = buffer[at]
            if code < 0x80:
                at += 2 if code >= 0x40 else 1
                continue
            if at + 1 < end:
                other = buffer[at + 1]
                length = (code & 3) + (other & 3) + 2
                if other >= 0x80 and code >> 2 == other >> 2 and length <= 4:
                    buffer[at : at + 2] = bytes((code & 0xFC | length - 1,))
                    end -= 1
                    continue
            at += 1


# Counting -------------------------------------------------------------------------------------------------------------


def count(text: bytes | bytearray) -> int:
    """The estimated cardinality of a valid HyperLogLog. CorruptedError when its opcodes are wrong."""
    if is_sparse(text):
        histogram = [0] * 64
        for _, length, number in opcodes(text):
            histogram[number] += length
        if sum(histogram) != REGISTERS:
            raise CorruptedError
        return _estimate(histogram)
    return count_registers(registers(text))


def count_registers(numbers: bytes) -> int:
    """The estimated cardinality that these registers tell."""
    return _estimate([numbers.count(number) for number in range(64)])


def _estimate(histogram: list[int]) -> int:
    """histogram: how many registers have each number."""
    size = float(REGISTERS)
    total = size * _tau((size - histogram[_HASH_BITS + 1]) / size)
    for number in range(_HASH_BITS, 0, -1):
        total += histogram[number]
        total *= 0.5
    total += size * _sigma(histogram[0] / size)
    return math.floor(_ALPHA * size * size / total + 0.5)


def _sigma(share: float) -> float:
    if share == 1.0:
        return math.inf
    weight, total = 1.0, share
    while True:
        share *= share
        before = total
        total += share * weight
        weight += weight
        if before == total:
            return total


def _tau(share: float) -> float:
    if share in (0.0, 1.0):
        return 0.0
    weight, total = 1.0, 1 - share
    while True:
        share = math.sqrt(share)
        before = total
        weight *= 0.5
        total -= (1 - share) ** 2 * weight
        if before == total:
            return total / 3
