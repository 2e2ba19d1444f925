"""XXH3 with 64 bits, seed 0: the digest of a string (DIGEST, SET IFDEQ, DELEX IFDEQ).

Defined by https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md. In plain Python it costs some 40 ns a byte.
"""

from __future__ import annotations

from struct import iter_unpack, unpack, unpack_from

_MASK = (1 << 64) - 1
_LOW = (1 << 32) - 1
_PRIME32_1, _PRIME32_2, _PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_PRIME64_1, _PRIME64_2, _PRIME64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_PRIME64_4, _PRIME64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MX1, _MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8"
    "fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb17"
    "0ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_STRIPE = 64
_STRIPES_IN_BLOCK = (len(_SECRET) - _STRIPE) // 8
_KEYS = [unpack_from("<8Q", _SECRET, 8 * at) for at in range(_STRIPES_IN_BLOCK)]
_SCRAMBLE = unpack_from("<8Q", _SECRET, len(_SECRET) - _STRIPE)


def _word(text: bytes, at: int) -> int:
    return int.from_bytes(text[at : at + 8], "little")


def _folded(left: int, right: int) -> int:
    """Both halves of a 128-bit product, joined."""
    product = left * right
    return (product ^ product >> 64) & _MASK


def _avalanche(number: int) -> int:
    number = (number ^ number >> 37) * _MX1 & _MASK
    return number ^ number >> 32


def _avalanche64(number: int) -> int:
    number = (number ^ number >> 33) * _PRIME64_2 & _MASK
    number = (number ^ number >> 29) * _PRIME64_3 & _MASK
    return number ^ number >> 32


def digest(text: bytes) -> int:
    """The hash of `text`, 0 to 2^64 - 1."""
    size = len(text)
    if size <= 16:
        return _short(text, size)
    if size <= 128:
        return _medium(text, size)
    if size <= 240:
        return _longer(text, size)
    return _long(text, size)


def hex_digest(text: bytes) -> bytes:
    """The same as DIGEST replies it: 16 hexadecimal digits."""
    return b"%016x" % digest(text)


def _short(text: bytes, size: int) -> int:
    if size > 8:
        low = _word(_SECRET, 24) ^ _word(_SECRET, 32)
        high = _word(_SECRET, 40) ^ _word(_SECRET, 48)
        first, last = _word(text, 0) ^ low, _word(text, size - 8) ^ high
        swapped = int.from_bytes(first.to_bytes(8, "little"), "big")
        return _avalanche(size + swapped + last + _folded(first, last) & _MASK)
    if size >= 4:
        flip = _word(_SECRET, 8) ^ _word(_SECRET, 16)
        first, last = int.from_bytes(text[:4], "little"), int.from_bytes(text[-4:], "little")
        number = (last + (first << 32)) ^ flip
        number ^= (number << 49 | number >> 15) & _MASK ^ (number << 24 | number >> 40) & _MASK
        number = number * _MX2 & _MASK
        number ^= (number >> 35) + size
        number = number * _MX2 & _MASK
        return number ^ number >> 28
    if size:
        combined = text[0] << 16 | text[size >> 1] << 24 | text[-1] | size << 8
        flip = int.from_bytes(_SECRET[:4], "little") ^ int.from_bytes(_SECRET[4:8], "little")
        return _avalanche64(combined ^ flip)
    return _avalanche64(_word(_SECRET, 56) ^ _word(_SECRET, 64))


def _mixed(text: bytes, at: int, secret_at: int) -> int:
    """Sixteen bytes of text with as many of the secret."""
    return _folded(_word(text, at) ^ _word(_SECRET, secret_at), _word(text, at + 8) ^ _word(_SECRET, secret_at + 8))


def _medium(text: bytes, size: int) -> int:
    total = size * _PRIME64_1
    for step in reversed(range((size - 1) // 32 + 1)):
        total += _mixed(text, 16 * step, 32 * step) + _mixed(text, size - 16 * (step + 1), 32 * step + 16)
    return _avalanche(total & _MASK)


def _longer(text: bytes, size: int) -> int:
    total = size * _PRIME64_1
    for step in range(8):
        total += _mixed(text, 16 * step, 16 * step)
    total = _avalanche(total & _MASK)
    for step in range(8, size // 16):
        total += _mixed(text, 16 * step, 16 * (step - 8) + 3)
    total += _mixed(text, size - 16, 136 - 17)
    return _avalanche(total & _MASK)


def _accumulate(lanes: list[int], words: tuple[int, ...], keys: tuple[int, ...]) -> None:
    """One stripe of 64 bytes."""
    for at in range(8):
        word = words[at]
        keyed = word ^ keys[at]
        lanes[at ^ 1] += word
        lanes[at] += (keyed & _LOW) * (keyed >> 32)


def _long(text: bytes, size: int) -> int:
    lanes = [_PRIME32_3, _PRIME64_1, _PRIME64_2, _PRIME64_3, _PRIME64_4, _PRIME32_2, _PRIME64_5, _PRIME32_1]
    stripes = (size - 1) // _STRIPE
    for number, words in enumerate(iter_unpack("<8Q", memoryview(text)[: stripes * _STRIPE])):
        place = number % _STRIPES_IN_BLOCK
        _accumulate(lanes, words, _KEYS[place])
        if place == _STRIPES_IN_BLOCK - 1:
            for at in range(8):
                lane = lanes[at] & _MASK
                lanes[at] = (lane ^ lane >> 47 ^ _SCRAMBLE[at]) * _PRIME32_1 & _MASK
    _accumulate(lanes, unpack("<8Q", text[-_STRIPE:]), unpack_from("<8Q", _SECRET, len(_SECRET) - _STRIPE - 7))
    total = size * _PRIME64_1
    for at in range(0, 8, 2):
        left, right = _word(_SECRET, 11 + 8 * at), _word(_SECRET, 19 + 8 * at)
        total += _folded(lanes[at] & _MASK ^ left, lanes[at + 1] & _MASK ^ right)
    return _avalanche(total & _MASK)
