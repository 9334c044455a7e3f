"""Count, range and exact sums of each column, missing values left out.

x * x and w * x * x are added as the two numbers that hold them without rounding (Dekker, "A
floating-point technique for extending the available precision", 1971), to exact sums. The variance
then comes from integers: it neither cancels, as a float64 sum of squares would, nor depends on the
order of the rows, as moments that are merged in float64 (Chan, Golub and LeVeque, 1983) do.
"""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.compile import inlined, kernel
from daskmeans.kernels.exact_sum import add_exactly

# Sums of a column: of weights, then of w * x and of w * x * x, each as positive and negative terms.
N_SUMS = 5
WEIGHT, LINEAR, SQUARE = 0, 1, 3
# Above it a square overflows, or a product splits in two that do.
LARGEST = 1e150
_SPLIT = 2.0**27 + 1


@inlined
def _product(a, b):
    """Return the product and what its rounding left out."""
    product = a * b
    t = _SPLIT * a
    a_high = t - (t - a)
    a_low = a - a_high
    t = _SPLIT * b
    b_high = t - (t - b)
    b_low = b - b_high
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


@inlined
def _add_signed(sums, first, value):
    """Add to the sum of positive terms, sums[first], or to that of negative ones after it."""
    if value > 0.0:
        add_exactly(sums[first], value)
    elif value < 0.0:
        add_exactly(sums[first + 1], -value)


@kernel
def add_moments(
    rows,  # IN    (r, d) float32 or float64, C order; NaN is a missing value
    weights,  # IN    (r,) float64, or (1,) for one weight
    counts,  # INOUT (d,) int64 values that are there, those of weight 0 left out
    low,  # INOUT (d,) float64
    high,  # INOUT (d,) float64
    sums,  # INOUT (d, N_SUMS, DIGITS) int64, see `exact_sum`
):
    """Add rows to the moments of their columns; return the first with a value too large, or -1."""
    for i in range(rows.shape[0]):
        weight = weights[i if weights.size > 1 else 0]
        if weight == 0.0:
            continue
        for j in range(rows.shape[1]):
            x = np.float64(rows[i, j])
            if np.isnan(x):
                continue
            if not abs(x) < LARGEST:
                return i
            counts[j] += 1
            low[j] = min(low[j], x)
            high[j] = max(high[j], x)
            of_column = sums[j]
            square, rest = _product(x, x)
            if weights.size == 1:
                _add_signed(of_column, LINEAR, x)
                _add_signed(of_column, SQUARE, square)
                _add_signed(of_column, SQUARE, rest)
            else:
                add_exactly(of_column[WEIGHT], weight)
                for part in _product(weight, x):
                    _add_signed(of_column, LINEAR, part)
                for part in _product(weight, square):
                    _add_signed(of_column, SQUARE, part)
                for part in _product(weight, rest):
                    _add_signed(of_column, SQUARE, part)
    return -1
