"""Rows divided by their lengths, each by itself: what rows are by cosine distance."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from daskmeans.kernels.compile import kernel, rarely_called
from daskmeans.kernels.csr import AnyRows

# Sums of squares between these have kept their digits.
SMALLEST_SQUARE, LARGEST_SQUARE = 1e-280, 1e280


@rarely_called
def _divide_far_row(
    rows,  # IN  (r, d) float32 or float64, C order
    i,  # IN  number of the row
    directions,  # OUT (r, d) float32 or float64
):
    # Of a row whose squares overflow or vanish: by its largest value first, which leaves lengths
    # from 1 to the square root of d. Returns whether the row has a direction.
    largest = 0.0
    finite = True
    for f in range(rows.shape[1]):
        x = np.float64(rows[i, f])
        finite = finite and np.isfinite(x)
        largest = max(largest, abs(x))
    if not finite:
        for f in range(rows.shape[1]):
            directions[i, f] = rows[i, f]
        return True
    if largest == 0.0:
        return False
    square = 0.0
    for f in range(rows.shape[1]):
        x = np.float64(rows[i, f]) / largest
        square += x * x
    length = np.sqrt(square)
    for f in range(rows.shape[1]):
        directions[i, f] = np.float64(rows[i, f]) / largest / length
    return True


@kernel
def _divide_by_lengths(
    rows,  # IN  (r, d) float32 or float64, C order
    directions,  # OUT (r, d) float32 or float64: rows of length 1, each value rounded once more
):
    # Squares are added feature by feature in float64, so the same numbers have the same length in
    # any dtype and in any block. Four rows at a time: one sum alone would wait for each addition.
    last = rows.shape[0] - 1
    squares = np.empty(4, np.float64)
    for start in range(0, last + 1, 4):
        i1, i2, i3 = min(start + 1, last), min(start + 2, last), min(start + 3, last)
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        for f in range(rows.shape[1]):
            a0, a1 = np.float64(rows[start, f]), np.float64(rows[i1, f])
            a2, a3 = np.float64(rows[i2, f]), np.float64(rows[i3, f])
            s0 += a0 * a0
            s1 += a1 * a1
            s2 += a2 * a2
            s3 += a3 * a3
        squares[0], squares[1], squares[2], squares[3] = s0, s1, s2, s3
        for i in range(start, min(start + 4, last + 1)):
            square = squares[i - start]
            if SMALLEST_SQUARE < square < LARGEST_SQUARE:
                length = np.sqrt(square)
                for f in range(rows.shape[1]):
                    directions[i, f] = np.float64(rows[i, f]) / length
            elif not _divide_far_row(rows, i, directions):
                return i
    return -1


@singledispatch
def divide_by_lengths(rows: AnyRows, directions: AnyRows) -> int:
    """Divide rows by their lengths; return the first row of zeros, or -1.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order
        Those that are not finite stay as they are.
    directions : ndarray of shape (r, d), float32 or float64; overwritten
    """
    return int(_divide_by_lengths(rows, directions))
