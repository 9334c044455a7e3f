"""The Lloyd step over one block: nearest centers and quantised cluster sums in one sweep."""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.assign import PackedCenters, label_strip
from daskmeans.kernels.compile import kernel
from daskmeans.kernels.quantised_sums import SUM_LANES, add_rows
from daskmeans.kernels.vector import strip_rows
from daskmeans.typing import Array

# Half of a first-level cache; the rest is for the tile of centers and the sums.
_GROUP_BYTES = 16 << 10

# What a kernel that may have to stop returns beside its result.
CLEAN, NOT_FINITE, OUT_OF_RANGE = 0, 1, 2


def sums_width(n_features: int) -> int:
    """Columns of a sums array: features, padding, sum of squares, weight."""
    return -(-(n_features + 2) // SUM_LANES) * SUM_LANES


@kernel
def _lloyd_block(
    rows,  # IN    (r, d) float32 or float64, C order
    weights,  # IN    (r,) float64, or (1,) for one weight
    packed,  # IN    PackedCenters
    shift,  # IN    (s,) float64, zero past d
    scale,  # IN    (s,) float64 powers of two
    rows_a_strip,  # IN    strip_rows(dtype of rows)
    rows_a_group,  # IN    a multiple of it
    sums,  # INOUT (k, s) int64
):
    # A group of strips is labelled and then added: its rows are still in the first-level cache, and
    # the constants of adding are set up once a group, which for few features takes as long as
    # adding a strip.
    strip = np.empty(packed.shift.size * rows_a_strip, rows.dtype)
    labels = np.empty(rows_a_group, np.int32)
    distances = np.empty(packed.transposed.shape[1], np.float64)
    strange = np.uint64(0)
    for start in range(0, rows.shape[0], rows_a_group):
        stop = min(start + rows_a_group, rows.shape[0])
        for first in range(start, stop, rows_a_strip):
            found = labels[first - start :]
            bad_row = label_strip(rows, first, packed, strip, found, distances)
            if bad_row >= 0:
                return NOT_FINITE, bad_row
        strange |= add_rows(rows, start, stop, labels, weights, shift, scale, sums)
    if strange != 0:
        return OUT_OF_RANGE, -1
    return CLEAN, -1


def _rows_a_group(rows: Array) -> int:
    strip_bytes = strip_rows(rows.dtype) * rows.shape[1] * rows.dtype.itemsize
    return strip_rows(rows.dtype) * max(1, min(32, _GROUP_BYTES // strip_bytes))


def lloyd_block(
    rows: Array, weights: Array, packed: PackedCenters, shift: Array, scale: Array, sums: Array
) -> tuple[int, int]:
    """Add each row of a block to the sums of the cluster of its nearest center.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order
    weights : ndarray of shape (r,) or (1,), float64
        One weight stands for all rows.
    packed : PackedCenters for the dtype of rows
    shift, scale : ndarrays of shape (sums_width(d),), float64
        A row x of weight w adds rint(w (x - shift) scale); see `quantised_sums.add_rows`.
    sums : ndarray of shape (k, sums_width(d)), int64; added to

    Returns
    -------
    status : int
        CLEAN; NOT_FINITE if a row has NaN or infinity; OUT_OF_RANGE if a row lies outside of the
        ranges that `scale` was made for. The sums mean nothing unless it is CLEAN.
    row : int
        The row that is not finite, else -1.
    """
    status, row = _lloyd_block(
        rows, weights, packed, shift, scale, strip_rows(rows.dtype), _rows_a_group(rows), sums
    )
    return int(status), int(row)


@kernel
def _sum_block(rows, weights, shift, scale, sums):
    labels = np.zeros(rows.shape[0], np.int32)
    strange = add_rows(rows, 0, rows.shape[0], labels, weights, shift, scale, sums)
    return OUT_OF_RANGE if strange != 0 else CLEAN


def sum_block(rows: Array, weights: Array, shift: Array, scale: Array, sums: Array) -> int:
    """Add all rows of a block to one set of sums, (1, sums_width(d)); see `lloyd_block`."""
    return int(_sum_block(rows, weights, shift, scale, sums))
