"""The decimal digits of a float as Redis 7.2 and Valkey choose them: Florian Loitsch's Grisu2.

Python's ``repr`` always finds the shortest digits that read back the same. Grisu2 finds them for all but about one
float in a thousand (952.19144 comes out as 952.1914399999999), and clients see what the server prints. The algorithm
works on 64-bit mantissas; the powers of ten that it needs are computed here, exactly, at import.

Method: "Printing Floating-Point Numbers Quickly and Accurately with Integers", PLDI 2010.
"""

from __future__ import annotations

import struct

_FIRST_POWER = -348
_POWER_STEP = 8
_LAST_POWER = 340
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -60, -32
_LOG10_OF_2 = 0.30102999566398114
_FRACTION_BITS = 52


def _power_of_ten(power: int) -> tuple[int, int]:
    """10**power as a mantissa of exactly 64 bits, rounded to nearest, and a binary exponent."""
    numerator, denominator = (10**power, 1) if power >= 0 else (1, 10**-power)
    exponent = numerator.bit_length() - denominator.bit_length() - 64
    while True:
        over, under = (numerator, denominator << exponent) if exponent >= 0 else (numerator << -exponent, denominator)
        mantissa, rest = divmod(over, under)
        if mantissa.bit_length() == 64:
            break
        exponent += 1 if mantissa.bit_length() > 64 else -1
    if 2 * rest >= under:
        mantissa += 1
    return (mantissa, exponent) if mantissa < 1 << 64 else (mantissa >> 1, exponent + 1)


_POWERS = [_power_of_ten(power) for power in range(_FIRST_POWER, _LAST_POWER + 1, _POWER_STEP)]


def _scale(exponent: int) -> tuple[int, int]:
    """Index and decimal exponent of the power that brings a number of this binary exponent into the working range."""
    index = int((int(-(exponent + 87) * _LOG10_OF_2) - _FIRST_POWER) / _POWER_STEP)
    while True:
        scaled = exponent + _POWERS[index][1] + 64
        if scaled < _LOWEST_EXPONENT:
            index += 1
        elif scaled > _HIGHEST_EXPONENT:
            index -= 1
        else:
            return index, _FIRST_POWER + index * _POWER_STEP


def _product(mantissa: int, factor: int) -> int:
    """The upper 64 bits of a product of two 64-bit mantissas, rounded."""
    return (mantissa * factor + (1 << 63)) >> 64


def double_digits(value: float) -> tuple[str, int]:
    """Digits and decimal exponent of a positive finite float: ``value`` reads back from ``digits * 10**exponent``."""
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    fraction, biased = bits & ((1 << _FRACTION_BITS) - 1), bits >> _FRACTION_BITS
    mantissa, exponent = (fraction | 1 << _FRACTION_BITS, biased - 1075) if biased else (fraction, -1074)
    upper, upper_exponent = 2 * mantissa + 1, exponent - 1
    shift = 64 - upper.bit_length()
    upper, upper_exponent = upper << shift, upper_exponent - shift
    lower, lower_exponent = (2 * mantissa - 1, exponent - 1) if fraction else (4 * mantissa - 1, exponent - 2)
    lower <<= lower_exponent - upper_exponent
    exact = mantissa << (64 - mantissa.bit_length())
    index, power = _scale(upper_exponent)
    factor, factor_exponent = _POWERS[index]
    high = _product(upper, factor) - 1
    low = _product(lower, factor) + 1
    distance = high - _product(exact, factor)
    digits, exponent = _generate(high, high - low, distance, -(upper_exponent + factor_exponent + 64))
    return "".join(map(str, digits)), exponent - power


def _generate(high: int, delta: int, distance: int, shift: int) -> tuple[list[int], int]:
    """Digits of ``high * 2**-shift`` until what is left is within ``delta`` (below it, behind the point: clients see the
    difference in one short decimal of thousands), and the exponent of the last one."""
    whole, part = high >> shift, high & ((1 << shift) - 1)
    digits: list[int] = []
    for exponent in range(9, -1, -1):
        digit, whole = divmod(whole, 10**exponent)
        if digit or digits:
            digits.append(digit)
        rest = (whole << shift) + part
        if rest <= delta:
            _approach(digits, delta, rest, 10**exponent << shift, distance)
            return digits, exponent
    exponent = 0
    while True:
        part, delta, distance, exponent = part * 10, delta * 10, distance * 10, exponent - 1
        digit, part = part >> shift, part & ((1 << shift) - 1)
        if digit or digits:
            digits.append(digit)
        if part < delta:
            _approach(digits, delta, part, 1 << shift, distance)
            return digits, exponent


def _approach(digits: list[int], delta: int, rest: int, unit: int, distance: int) -> None:
    """Lowers the last digit while that comes nearer to the exact value and stays within bounds."""
    while (
        rest < distance
        and delta - rest >= unit
        and (rest + unit < distance or distance - rest > rest + unit - distance)
    ):
        digits[-1] -= 1
        rest += unit
