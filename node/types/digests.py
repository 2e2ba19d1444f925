"""The hash under the probabilistic types. It must be the same on every node, since filters are replicated as bits."""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct

_PAIR = Struct("<QQ")

VALUE_BYTES_MAX = 512 * 1024 * 1024
"""No probabilistic value may take more: as much as the longest string."""


def hash_pair(item: bytes) -> tuple[int, int]:
    """Two independent numbers of 64 bits; the second is odd, so that its multiples reach every place of a power of two.

    BLAKE2b, because it is the fastest good hash that Python has in C: nobody can choose items that collide.
    """
    first, second = _PAIR.unpack(blake2b(item, digest_size=16).digest())
    return first, second | 1
