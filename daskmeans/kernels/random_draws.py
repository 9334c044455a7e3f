"""Draws that belong to rows: functions of (seed, purpose, row), whatever block holds the row.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a
128-bit counter into 128 random bits; the counter is made of the global row number and the purpose.
"""

from __future__ import annotations

import math

import numpy as np

from daskmeans.kernels.compile import inlined, kernel

_U32 = np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@inlined
def philox(seed, purpose, row):
    """Return 64 random bits for a row. `seed`, `purpose` and `row` are uint64."""
    c0, c1 = row & _U32, row >> np.uint64(32)
    c2, c3 = purpose & _U32, purpose >> np.uint64(32)
    k0, k1 = seed & _U32, seed >> np.uint64(32)
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ k0,
            p1 & _U32,
            (p0 >> np.uint64(32)) ^ c3 ^ k1,
            p0 & _U32,
        )
        k0, k1 = (k0 + _W0) & _U32, (k1 + _W1) & _U32
    return (c1 << np.uint64(32)) | c0


@inlined
def minus_log_uniform(bits):
    """Return -ln(u) > 0 for u in (0, 1) made of the upper 52 of 64 random bits.

    Written out, for a library's logarithm may differ in the last bit between its scalar and its
    vector form. With u = 2^e m, sqrt(1/2) < m < sqrt(2) and s = (m - 1) / (m + 1):
    ln m = 2 (s + s^3/3 + s^5/5 + ...), |s| < 0.1716, truncated below 1e-17.
    """
    mantissa = (bits >> np.uint64(12)) * np.uint64(2) + np.uint64(1)  # odd, below 2**53
    u, exponent = math.frexp(np.float64(mantissa))
    if u < 0.7071067811865476:
        u *= 2.0
        exponent -= 1
    s = (u - 1.0) / (u + 1.0)
    z = s * s
    series = 0.0
    for i in range(23, 0, -2):
        series = series * z + 1.0 / i
    return -((exponent - 53) * 0.6931471805599453 + 2.0 * s * series)


@kernel
def uniform_keys(
    seed,  # IN  uint64
    purpose,  # IN  uint64
    first_row,  # IN  uint64, global number of the block's first row
    keys,  # OUT (r,) uint64
):
    """Fill `keys` with 64 random bits a row; the m rows with the smallest are a uniform sample."""
    for i in range(keys.size):
        keys[i] = philox(seed, purpose, first_row + np.uint64(i))


@kernel
def exponential_keys(
    seed,  # IN  uint64
    purpose,  # IN  uint64
    first_row,  # IN  uint64, global number of the block's first row
    rates,  # IN  (r,) float64 >= 0
    keys,  # OUT (r,) float64
):
    """Fill `keys` with exponential clocks: -ln(u) / rate, infinity where the rate is 0.

    The m rows with the smallest keys are a weighted sample without replacement (Efraimidis and
    Spirakis, 2006).
    """
    for i in range(keys.size):
        if rates[i] > 0.0:
            bits = philox(seed, purpose, first_row + np.uint64(i))
            keys[i] = minus_log_uniform(bits) / rates[i]
        else:
            keys[i] = np.inf
