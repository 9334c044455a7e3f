"""Sum float64 numbers exactly, so that the order and grouping of the terms cannot matter.

The running sum is an integer in units of 2**-1074, held as 32-bit digits in int64 (a small
superaccumulator; Neal, "Fast exact summation using small and large superaccumulators", 2015).
Adding two sums is adding their digits.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from daskmeans.kernels.compile import inlined, kernel
from daskmeans.typing import Array

DIGITS = 70  # 2**-1074 up to 2**1024, and room for carries
_MASK = np.uint64(0xFFFFFFFF)


@inlined
def _add_bits(digits, bits):
    exponent = bits >> np.uint64(52)
    mantissa = bits & np.uint64(0xFFFFFFFFFFFFF)
    if exponent > np.uint64(0):
        mantissa |= np.uint64(0x10000000000000)
        exponent -= np.uint64(1)
    digit = np.int64(exponent >> np.uint64(5))
    offset = exponent & np.uint64(31)
    low = (mantissa & _MASK) << offset
    high = (mantissa >> np.uint64(32)) << offset
    digits[digit] += np.int64(low & _MASK)
    digits[digit + 1] += np.int64((low >> np.uint64(32)) + (high & _MASK))
    digits[digit + 2] += np.int64(high >> np.uint64(32))


@inlined
def add_exactly(digits, value):
    """Add `value`, IN float64 >= 0 and finite, to `digits`, INOUT (DIGITS,) int64."""
    _add_bits(digits, np.float64(value).view(np.uint64))


@kernel
def add_terms(
    digits,  # INOUT (DIGITS,) int64
    terms,  # IN    (r,) float64, finite and not negative
):
    """Add terms to a sum.

    A term adds less than 2**33 to a digit, so 2**29 terms fit before the digits must be carried.
    """
    # Terms of about the same size meet in the same digits, where each waits for the one before:
    # every other one goes to digits of its own.
    others = np.zeros(DIGITS, np.int64)
    bits = terms.view(np.uint64)
    even = bits.size - bits.size % 2
    for i in range(0, even, 2):
        _add_bits(digits, bits[i])
        _add_bits(others, bits[i + 1])
    for i in range(even, bits.size):
        _add_bits(digits, bits[i])
    for i in range(DIGITS):
        digits[i] += others[i]


@kernel
def add_terms_of_each(
    digits,  # INOUT (k, DIGITS) int64, C order
    labels,  # IN    (r,) int32
    terms,  # IN    (r,) float64, finite and not negative
):
    """Add each of `terms` to the sum of its cluster, as `add_terms` does."""
    for i in range(terms.size):
        _add_bits(digits[labels[i]], terms.view(np.uint64)[i])


def carried(digits: Array) -> Array:
    """Return the same sum with every digit below 2**32, so that 2**30 sums may be added to it."""
    result = digits.copy()
    for i in range(DIGITS - 1):
        result[i + 1] += result[i] >> 32
        result[i] &= 0xFFFFFFFF
    return result


def exact(digits: Array) -> Fraction:
    """Return the sum as it is."""
    # Numbers of about the same size fill a few digits only.
    total = sum(int(digits[i]) << (32 * int(i)) for i in np.flatnonzero(digits))
    return Fraction(total, 1 << 1074)


def rounded(digits: Array) -> float:
    """Return the sum as the nearest float64 (infinity where it is too large)."""
    try:
        return float(exact(digits))
    except OverflowError:
        return float("inf")
