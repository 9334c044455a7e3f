"""Sum float64 numbers exactly, so that the order and grouping of the terms cannot matter.

The running sum is an integer in units of 2**-1074, held as 32-bit digits in int64 (a small
superaccumulator; Neal, "Fast exact summation using small and large superaccumulators", 2015).
Adding two sums is adding their digits.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from daskmeans.kernels.compile import inlined, kernel
from daskmeans.kernels.scratch import bits_of, number_of
from daskmeans.typing import Array

DIGITS = 70  # 2**-1074 up to 2**1024, and room for carries
_MASK = np.uint64(0xFFFFFFFF)
_NOT_SIGN = np.uint64(0x7FFFFFFFFFFFFFFF)
CHUNK_TERMS = 256  # sums of so many numbers below 2**52 are below 2**60
_UNITS = 2.0**52
_ONE = 1 << 1074  # in units of a sum


@inlined
def _add_integer(digits, integer, place):
    """Add an integer below 2**60, in units of 2**place of the least one."""
    digit = np.int64(place >> np.uint64(5))
    offset = place & np.uint64(31)
    low = (integer & _MASK) << offset
    high = (integer >> np.uint64(32)) << offset
    digits[digit] += np.int64(low & _MASK)
    digits[digit + 1] += np.int64((low >> np.uint64(32)) + (high & _MASK))
    digits[digit + 2] += np.int64(high >> np.uint64(32))


@inlined
def _add_bits(digits, bits):
    # A zero may have a sign, and with it its exponent would be beyond all digits.
    exponent = (bits & _NOT_SIGN) >> np.uint64(52)
    mantissa = bits & np.uint64(0xFFFFFFFFFFFFF)
    if exponent > np.uint64(0):
        mantissa |= np.uint64(0x10000000000000)
        exponent -= np.uint64(1)
    _add_integer(digits, mantissa, exponent)


@inlined
def add_exactly(digits, value):
    """Add `value`, IN float64 >= 0 and finite, to `digits`, INOUT (DIGITS,) int64."""
    _add_bits(digits, bits_of(value))


@inlined
def add_chunk(
    digits,  # INOUT (DIGITS,) int64
    terms,  # IN    (>= n,) float64, finite and not negative
    n,  # IN    at most CHUNK_TERMS
):
    """Add some terms to a sum, as if one by one."""
    # In units of 2**-52 of a power of two above all of them terms are integers below 2**52 and
    # fractions; in units of 2**-52 of these, fractions are integers too, unless a term is smaller
    # than others by about 2**-52. Sums of both are exact, and made in vector registers: adding
    # terms to digits one by one took as long as labelling rows of 4 features.
    most = np.uint64(0)
    for i in range(n):
        most = max(most, bits_of(terms[i]) & _NOT_SIGN)
    exponent = most >> np.uint64(52)
    large = exponent >= np.uint64(52)
    wholes, parts, finer = np.int64(0), np.int64(0), np.int64(0)
    if large:
        scale = number_of((np.uint64(2097) - exponent) << np.uint64(52))
        for i in range(n):
            scaled = terms[i] * scale
            whole = np.int64(scaled)
            fraction = (scaled - np.float64(whole)) * _UNITS
            part = np.int64(fraction)
            wholes += whole
            parts += part
            # Finer than both units, or so small that scaled it vanishes.
            vanished = (scaled == 0.0) & (terms[i] != 0.0)
            finer += np.int64((fraction != np.float64(part)) | vanished)
    if large and finer == 0:
        # One after the other, for each call in the code takes time to compile.
        for _ in range(2):
            _add_integer(digits, np.uint64(wholes), exponent)
            wholes, exponent = parts, exponent - np.uint64(52)
    else:
        for i in range(n):
            _add_bits(digits, bits_of(terms[i]))


@kernel
def add_terms(
    digits,  # INOUT (DIGITS,) int64
    terms,  # IN    (r,) float64, finite and not negative
):
    """Add terms to a sum.

    A term adds less than 2**33 to a digit, so 2**29 terms fit before the digits must be carried.
    """
    for start in range(0, terms.size, CHUNK_TERMS):
        n = min(CHUNK_TERMS, terms.size - start)
        add_chunk(digits, terms[start:], n)


@kernel
def add_terms_of_each(
    digits,  # INOUT (k, DIGITS) int64, C order
    labels,  # IN    (r,) int32
    terms,  # IN    (r,) float64, finite and not negative
):
    """Add each of `terms` to the sum of its cluster, as `add_terms` does."""
    for i in range(terms.size):
        _add_bits(digits[labels[i]], bits_of(terms[i]))


def carried(digits: Array) -> Array:
    """Return the same sum with every digit below 2**32, so that 2**30 sums may be added to it."""
    result = digits.copy()
    for i in range(DIGITS - 1):
        result[i + 1] += result[i] >> 32
        result[i] &= 0xFFFFFFFF
    return result


def _in_units(digits: Array) -> int:
    # Numbers of about the same size fill a few digits only.
    return sum(int(digits[i]) << (32 * int(i)) for i in np.flatnonzero(digits))


def exact(digits: Array) -> Fraction:
    """Return the sum as it is."""
    return Fraction(_in_units(digits), _ONE)


def rounded(digits: Array) -> float:
    """Return the sum as the nearest float64 (infinity where it is too large)."""
    try:
        return _in_units(digits) / _ONE
    except OverflowError:
        return float("inf")
