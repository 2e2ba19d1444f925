"""Numbers as Redis reads and writes them: the exact rules that clients can see.

Redis has several parsers with different manners (``string2ll`` is strict, ``strtold`` is lenient, memory sizes take
units) and several formatters (shortest, ``%.17g``, ``%.17Lf``). Whoever reads a number from a client or prints one
uses the functions here, so that two rooms never disagree about what an integer is.

Long doubles: INCRBYFLOAT and HINCRBYFLOAT work on the 80-bit x86 type (64 bits of mantissa). It is modelled exactly by
``LongDouble``: an integer mantissa of at most 64 bits and a power of two.
"""

from __future__ import annotations

import functools
import math
import re
from typing import NamedTuple

from node.double_digits import double_digits

LLONG_MIN = -(1 << 63)
LLONG_MAX = (1 << 63) - 1
ULLONG_MAX = (1 << 64) - 1
INT_MIN = -(1 << 31)
INT_MAX = (1 << 31) - 1
UINT_MAX = (1 << 32) - 1
LONG_MAX = LLONG_MAX

_UNITS = {
    b"": 1,
    b"b": 1,
    b"k": 1000,
    b"kb": 1 << 10,
    b"m": 1000 * 1000,
    b"mb": 1 << 20,
    b"g": 1000 * 1000 * 1000,
    b"gb": 1 << 30,
}

_MANTISSA_BITS = 64
_MAX_BINARY_EXPONENT = 16384
_MIN_SUBNORMAL_EXPONENT = -16445
_MAX_FLOAT_TEXT = 5 * 1024 - 1
_MAX_EXACT_DIGITS = 4200
_MAX_EXPONENT = 20000
_FRACTION_DIGITS = 17
_FRACTION_SCALE = 10**_FRACTION_DIGITS
_PRINTABLE = 10**4000
_EXACT_INTEGERS = float(1 << 62)

_DECIMAL_TEXT = re.compile(rb"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?\Z")
_HEX_TEXT = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?\d+))?\Z")
_INFINITY_TEXT = re.compile(rb"([+-]?)inf(?:inity)?\Z", re.IGNORECASE)


def parse_int(text: bytes) -> int | None:
    """Reads a signed 64-bit integer strictly; None when it is not one.

    Defined by Redis's ``string2ll``: an optional minus, then ``0`` alone or digits without a leading zero; no plus, no
    spaces, no ``-0``; the value must fit 64 bits.
    """
    size = len(text)
    if size < 19 and text.isdigit() and text[0] != 48:
        return int(text)
    if size == 0 or size > 20:
        return None
    digits = text[1:] if text[0] == 45 else text
    if not digits.isdigit():
        return None
    if digits[0] == 48:
        return 0 if size == 1 else None
    value = int(text)
    if -9223372036854775808 <= value <= 9223372036854775807:
        return value
    return None


def strtoll(text: str, base: int = 10) -> int | None:
    """C's ``strtoll`` where it takes the whole text, None elsewhere: spaces before, a sign and leading zeros are taken,
    the empty text is 0, numbers beyond 64 bits saturate. ``base`` is 8 or 10. Some settings are read so.
    """
    if not text:
        return 0
    body = text.lstrip(" \t\n\v\f\r")
    digits = body[1:] if body[:1] in ("+", "-") else body
    if not digits or digits.strip("0123456789"[:base]):
        return None
    if len(digits.lstrip("0")) > 22:
        return LLONG_MIN if body[0] == "-" else LLONG_MAX
    return max(LLONG_MIN, min(int(body, base), LLONG_MAX))


def parse_memory(text: bytes | str) -> int | None:
    """Reads a size such as ``100``, ``1k``, ``64mb``, ``2GB`` as a number of bytes; None when it is not one.

    Defined by Redis's ``memtoull``: digits then a unit, ``k`` is 1000 and ``kb`` is 1024, in any case. No digits count
    as zero, as Redis has it. A value above 2**64-1 is refused (Redis 7.0 saturates, later versions refuse).
    """
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    digits = len(raw) - len(raw.lstrip(b"0123456789"))
    scale = _UNITS.get(raw[digits:].lower())
    if scale is None or digits > 127:
        return None
    value = int(raw[:digits] or b"0") * scale
    return value if value <= ULLONG_MAX else None


def format_memory(value: int) -> str:
    """Writes a size with the largest binary unit that divides it (``64mb``), as CONFIG REWRITE does."""
    for unit, size in (("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def parse_double(text: bytes) -> float | None:
    """Reads a 64-bit float as Redis reads scores; None for an empty text, spaces, NaN or an overflow.

    Defined by ``string2d``: what ``strtod`` takes as a whole, with no leading space; ``inf`` in all its spellings and
    hexadecimal forms are numbers, NaN is not, a finite text out of range is not.
    """
    found = _DECIMAL_TEXT.match(text)
    if found is not None and (found.group(2) or found.group(3)):
        try:
            value = float(text)
        except ValueError:
            return None
        if math.isinf(value):
            return None
        if value == 0.0 and _significant(text):
            return None
        return value
    if (found := _INFINITY_TEXT.match(text)) is not None:
        return -math.inf if found.group(1) == b"-" else math.inf
    if (found := _HEX_TEXT.match(text)) is not None and (found.group(2) or found.group(3)):
        try:
            value = float.fromhex(text.decode("ascii"))
        except (ValueError, OverflowError):
            return None
        return None if value == 0.0 and _hex_significant(found) else value
    return None


def _significant(text: bytes) -> bool:
    return any(49 <= byte <= 57 for byte in re.split(rb"[eE]", text)[0])


def _hex_significant(found: re.Match[bytes]) -> bool:
    return bool(((found.group(2) or b"") + (found.group(3) or b"")).strip(b"0"))


def format_double(value: float) -> bytes:
    """Writes a 64-bit float as replies of Redis 7.2 and later do: (nearly) the fewest digits that read back the same.

    Defined by ``addReplyDouble``: ``inf``/``-inf``/``nan``, integers up to 2**62 in full, an exponent without padding
    (``1e+21``, ``1e-7``).
    """
    if value != value:
        return b"nan"
    if value in (math.inf, -math.inf):
        return b"inf" if value > 0 else b"-inf"
    if value == 0:
        return b"-0" if math.copysign(1.0, value) < 0 else b"0"
    if -_EXACT_INTEGERS <= value <= _EXACT_INTEGERS and value == int(value):
        return b"%d" % int(value)
    return _format_digits(value)


@functools.lru_cache(maxsize=4096)
def _format_digits(value: float) -> bytes:
    digits, exponent = double_digits(abs(value))
    stripped = digits.rstrip("0")
    exponent += len(digits) - len(stripped)
    digits = stripped
    sign = "-" if value < 0 else ""
    count = len(digits)
    scientific = count + exponent - 1
    if exponent >= 0 and abs(scientific) < count + 7:
        return (sign + digits + "0" * exponent).encode()
    if exponent < 0 and (exponent > -7 or abs(scientific) < 4):
        point = count + exponent
        if point > 0:
            return f"{sign}{digits[:point]}.{digits[point:]}".encode()
        return f"{sign}0.{'0' * -point}{digits}".encode()
    body = digits[0] + ("." + digits[1:] if count > 1 else "")
    return f"{sign}{body}e{'-' if scientific < 0 else '+'}{abs(scientific)}".encode()


def format_double_human(value: float) -> bytes:
    """Writes a 64-bit float as GEOPOS replies: as a long double, 17 digits after the point, trailing zeros removed."""
    mantissa, exponent = math.frexp(value)
    return format_long_double(LongDouble(int(mantissa * (1 << 53)), exponent - 53) if mantissa else ZERO)


def format_double_17g(value: float) -> bytes:
    """Writes a 64-bit float with C's ``%.17g``, the form of Redis up to 7.0 (and of a few replies since)."""
    if value in (math.inf, -math.inf):
        return b"inf" if value > 0 else b"-inf"
    return (f"{value:.17g}").encode()


class LongDouble(NamedTuple):
    """An exact x86 long double: ``mantissa * 2**exponent``, the mantissa of at most 64 bits, zero as (0, 0).

    An infinity has mantissa +1 or -1 and ``exponent`` equal to ``INFINITE``.
    """

    mantissa: int
    exponent: int

    @property
    def is_infinite(self) -> bool:
        """True for either infinity."""
        return self.exponent == INFINITE


INFINITE = 1 << 20
ZERO = LongDouble(0, 0)


def _round_long_double(numerator: int, denominator: int, shift: int) -> LongDouble:
    """Rounds numerator/denominator * 2**shift to the nearest long double, ties to even."""
    if numerator == 0:
        return ZERO
    sign = -1 if numerator < 0 else 1
    magnitude = abs(numerator)
    top = magnitude.bit_length() - denominator.bit_length() + shift
    exponent = max(top - _MANTISSA_BITS, _MIN_SUBNORMAL_EXPONENT)
    mantissa = _divide_even(magnitude, denominator, shift - exponent)
    if mantissa.bit_length() > _MANTISSA_BITS:
        exponent += 1
        mantissa = _divide_even(magnitude, denominator, shift - exponent)
        if mantissa.bit_length() > _MANTISSA_BITS:
            exponent += 1
            mantissa >>= 1
    if mantissa == 0:
        return ZERO
    if mantissa.bit_length() + exponent > _MAX_BINARY_EXPONENT:
        return LongDouble(sign, INFINITE)
    return LongDouble(sign * mantissa, exponent)


def _divide_even(magnitude: int, denominator: int, shift: int) -> int:
    if shift >= 0:
        magnitude <<= shift
    else:
        denominator <<= -shift
    quotient, rest = divmod(magnitude, denominator)
    twice = rest * 2
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def parse_float(text: bytes) -> LongDouble | None:
    """Reads a long double as INCRBYFLOAT does; None when Redis answers ``value is not a valid float``.

    Defined by ``string2ld``: what ``strtold`` takes as a whole, at most 5119 bytes, no leading space, no NaN, nothing
    that over- or underflows; infinities and hexadecimal forms are numbers.
    """
    if not text or len(text) > _MAX_FLOAT_TEXT:
        return None
    found = _DECIMAL_TEXT.match(text)
    if found is not None:
        whole, fraction = found.group(2), found.group(3) or b""
        if not whole and not fraction:
            return None
        significant = (whole + fraction).lstrip(b"0")
        if not significant:
            return ZERO
        exponent = _exponent(found.group(4)) - len(fraction)
        if len(significant) > _MAX_EXACT_DIGITS:
            exponent += len(significant) - _MAX_EXACT_DIGITS - 1
            significant = significant[:_MAX_EXACT_DIGITS] + b"1"
        digits = int(significant)
        if not -_MAX_EXPONENT < exponent < _MAX_EXPONENT:
            return None
        numerator, denominator = (digits * 10**exponent, 1) if exponent >= 0 else (digits, 10**-exponent)
        value = _round_long_double(-numerator if found.group(1) == b"-" else numerator, denominator, 0)
        return None if value.is_infinite or value.mantissa == 0 else value
    if (found := _INFINITY_TEXT.match(text)) is not None:
        return LongDouble(-1 if found.group(1) == b"-" else 1, INFINITE)
    return _parse_hex_float(text)


def _exponent(text: bytes | None) -> int:
    """A written exponent; one of too many digits stands for a number that is out of any range."""
    if not text:
        return 0
    digits = text.lstrip(b"+-0")
    size = 10**9 if len(digits) > 9 else int(digits or b"0")
    return -size if text.startswith(b"-") else size


def _parse_hex_float(text: bytes) -> LongDouble | None:
    found = _HEX_TEXT.match(text)
    if found is None or not (found.group(2) or found.group(3)):
        return None
    fraction = found.group(3) or b""
    digits = int((found.group(2) or b"") + fraction, 16)
    shift = _exponent(found.group(4)) - 4 * len(fraction)
    if digits == 0:
        return ZERO
    if not -4 * _MAX_EXPONENT < shift < 4 * _MAX_EXPONENT:
        return None
    value = _round_long_double(-digits if found.group(1) == b"-" else digits, 1, shift)
    return None if value.is_infinite or value.mantissa == 0 else value


def add_float(left: LongDouble, right: LongDouble) -> LongDouble | None:
    """Adds two long doubles with one rounding; None for NaN or infinity (``would produce NaN or Infinity``)."""
    if left.exponent == INFINITE or right.exponent == INFINITE:
        return None
    low = min(left.exponent, right.exponent)
    total = (left.mantissa << (left.exponent - low)) + (right.mantissa << (right.exponent - low))
    value = _round_long_double(total, 1, low)
    return None if value.is_infinite else value


def format_long_double(value: LongDouble) -> bytes:
    """Writes a long double as INCRBYFLOAT replies: 17 digits after the point, trailing zeros and a bare point removed.

    Defined by ``ld2string`` in its ``LD_STR_HUMAN`` mode; ``-0`` is written ``0``.
    """
    mantissa, exponent = value
    if exponent == INFINITE:
        return b"inf" if mantissa > 0 else b"-inf"
    magnitude = abs(mantissa)
    sign = b"-" if mantissa < 0 else b""
    if exponent >= 0:
        return sign + _decimal(magnitude << exponent)
    whole, fraction = divmod(_divide_even(magnitude * _FRACTION_SCALE, 1, exponent), _FRACTION_SCALE)
    if fraction == 0:
        return sign + b"%d" % whole if whole else b"0"
    return sign + b"%d." % whole + (b"%017d" % fraction).rstrip(b"0")


def _decimal(value: int) -> bytes:
    """An integer of up to 4933 digits in decimal; Python itself refuses to print more than 4300 digits at once."""
    if value < _PRINTABLE:
        return b"%d" % value
    high, low = divmod(value, _PRINTABLE)
    return b"%d%04000d" % (high, low)
