"""The heads of rows, which `heads` compares: coordinates along axes, and the length left."""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.compile import kernel, summed_in_any_order
from daskmeans.kernels.head_scores import row_products
from daskmeans.kernels.row_scores import ROWS_AT_ONCE
from daskmeans.typing import Array

# Rows that are projected, or searched, together stay in the second-level cache.
ROWS_A_CHUNK = 64


@summed_in_any_order
def shift_row(row, shift, shifted):
    """Write `row - shift`; return the sum of its squares."""
    total = shifted.dtype.type(0)
    for f in range(row.size):
        y = shifted.dtype.type(row[f]) - shift[f]
        shifted[f] = y
        total += y * y
    return total


@kernel
def _project(
    rows,  # IN  (r, d) float32 or float64, C order
    shift,  # IN  (d,) float64
    axes,  # IN  ((d + 1) * p,) float64, see `row_products`
    heads,  # OUT (r, p + 1) float32
):
    n_rows, d = rows.shape
    p = heads.shape[1] - 1
    shifted = np.empty((ROWS_A_CHUNK, d), np.float64)
    products = np.empty((ROWS_A_CHUNK + ROWS_AT_ONCE, p), np.float64)
    sq_norms = np.empty(ROWS_A_CHUNK, np.float64)
    chosen = np.arange(ROWS_A_CHUNK).astype(np.int32)
    for start in range(0, n_rows, ROWS_A_CHUNK):
        count = min(ROWS_A_CHUNK, n_rows - start)
        for i in range(count):
            sq_norms[i] = shift_row(rows[start + i], shift, shifted[i])
        row_products(shifted, chosen, count, axes, p, products)
        for i in range(count):
            sq_tail = sq_norms[i]
            for j in range(p):
                product = products[i, j]
                heads[start + i, j] = product
                sq_tail -= product * product
            heads[start + i, p] = np.sqrt(max(sq_tail, 0.0))


def project(rows: Array, shift: Array, axes: Array, heads: Array) -> None:
    """Write the heads of rows.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order
    shift : ndarray of shape (d,), float64
    axes : ndarray of shape ((d + 1) * p,), float64
        A line of p zeros, then one for each feature. p is a multiple of 16.
    heads : ndarray of shape (r, p + 1), float32; overwritten
    """
    _project(rows, shift, axes, heads)
