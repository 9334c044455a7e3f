"""Nearest center of each row, decided the same way whatever tile, block or processor does it.

The label of row x is *defined* as argmin_j sum_f (x_f - c_jf)^2, evaluated in float64 feature by
feature, the lowest j on a tie. The register tile scores rows in their own precision; a row whose
best and second-best scores lie within the rounding bound is decided again by the definition, among
the groups of centers that the bound leaves.
"""

from __future__ import annotations

import math
from functools import cache, singledispatch
from typing import Any, NamedTuple

import numpy as np

from daskmeans.kernels.compile import kernel
from daskmeans.kernels.csr import AnyRows
from daskmeans.kernels.definition import decide_again
from daskmeans.kernels.prefetching import strips_ahead
from daskmeans.kernels.scratch import scratch
from daskmeans.kernels.strip import NARROW, PART_FEATURES, nearest_in_strip
from daskmeans.kernels.transposed import transpose_narrow, transpose_strip
from daskmeans.kernels.vector import GROUP_CENTERS, TILE_CENTERS, lanes, strip_rows
from daskmeans.typing import Array

# Where nobody asks for groups they are of at least so many multiplications: to keep the best score
# of each then takes less than 1 % of scoring.
_GROUP_WORK = 4096


class PackedCenters(NamedTuple):
    """Centers in the layouts that the kernels read, made once a pass and block dtype.

    With groups asked for, `lanes` and `shifted` are filled; with an order of the centers, which is
    one that keeps near ones together, `positions` are.
    """

    tiles: Array  # (t * (d + 1) * TILE_CENTERS,) dtype of rows: half norms, then -centers, per tile
    numbers: Array  # (t * TILE_CENTERS,) int32, number of each packed center
    n_tiles: int  # t = ceil(k / TILE_CENTERS)
    tiles_a_group: int
    n_groups: int  # g = ceil(t / tiles_a_group)
    shift: Array  # (dp,) dtype of rows, zero past d; dp = d rounded up to whole registers
    bound: Array  # (6,) dtype of rows: `rounding_bound` of sums in parts, as of `nearest_in_strip`
    row_bound: Array  # (6,) dtype of rows: `rounding_bound` of sums in any order
    transposed: Array  # (d, k) float64, the centers themselves
    lanes: Array  # (g * (d + 1) * width,) dtype of rows: half norms, then -centers, per group
    shifted: Array  # (k, d) dtype of rows
    positions: Array  # (k,) int32, place of each center in the packed order


def _roundings_in_parts(d: int) -> int:
    """Most roundings that a product of one of d features passes in a sum of sums of parts."""
    return min(d, PART_FEATURES) + max(-(-d // PART_FEATURES) - 1, 0)


def _gamma(n_roundings: int, unit: float) -> float:
    return n_roundings * unit / (1 - n_roundings * unit)


@cache
def _of_dtype(d: int, n_roundings: int, dtype: np.dtype[Any]) -> tuple[float, float, float, float]:
    """Return what `rounding_bound` takes from its other arguments than the centers.

    Both gammas, what underflow can amount to, and the largest length whose square may be halved.
    """
    info = np.finfo(dtype)
    return (
        _gamma(n_roundings + 8, float(info.eps) / 2),
        _gamma(d + 8, 2.0**-53),
        (d + 8) * float(info.tiny),
        math.sqrt(float(info.max)) / 2,
    )


def rounding_bound(largest: float, d: int, n_roundings: int, dtype: np.dtype[Any]) -> Array:
    """Coefficients b of the bound b0 + b1 |y| + b2 |y|^2 on how much rounding moves a score gap.

    A score of shifted row y against shifted center c is off by at most
    gamma (|y| |c| + |c|^2 / 2) with gamma = m u / (1 - m u), m = n_roundings + 8: the fused
    operations and sums that a product passes, and the roundings of y, of c, of |c|^2 / 2 and of the
    gap (Higham, "Accuracy and stability of numerical algorithms", sections 3.1 and 4.2). The
    definition in float64 is off by at most gamma64 (|y| + |c|)^2 with m = d + 8. Two scores make a
    gap; 1 % more covers the rounding of the bound, and the smallest normal number covers underflow.
    Where half of a squared norm may leave the range of the dtype, so may parts of a sum whose whole
    does not: the bound is infinite there.

    A fourth coefficient, times |y|^2, covers the rounding of |y|^2 and of its sum with a score:
    together they bound a squared distance. The last two are `largest`, the largest |c| that the
    bound is for, and the part of b0 that stays where a bound is for smaller ones.
    """
    own, exact, vanishing, in_range = _of_dtype(d, n_roundings, dtype)
    constant = own * largest**2 + exact * largest**2 + vanishing
    # Below, |c|^2 / 2 + |y| |c| does not overflow unless |y|^2 does.
    if largest > in_range:
        constant = math.inf
    linear = 2 * own * largest + 2 * exact * largest
    return np.array(
        [1.01 * constant, 1.01 * linear, 1.01 * exact, 2.02 * own, largest, 1.02 * vanishing],
        dtype=dtype,
    )


def pack_centers(
    centers: Array,
    shift: Array,
    dtype: np.dtype[Any],
    order: Array | None = None,
    width: int = 0,
) -> PackedCenters:
    """Lay centers out for rows of `dtype`.

    Parameters
    ----------
    centers : ndarray of shape (k, d), float64
    shift : ndarray of shape (d,), float64
        Subtracted from rows and centers before they are multiplied. Its values must be exact in
        `dtype`.
    dtype : float32 or float64
    order : ndarray of shape (k,), int32, optional
        Numbers of the centers so that each `width` consecutive ones are a group.
    width : int
        Centers in a group, a multiple of GROUP_CENTERS. 0 means that groups are of no interest.
    """
    k, d = centers.shape
    n_tiles = -(-k // TILE_CENTERS)
    tiles_a_group = (width or _least_width(d)) // TILE_CENTERS
    shifted = centers - shift
    numbers = np.arange(n_tiles * TILE_CENTERS, dtype=np.int32)
    numbers[k:] = 0
    if order is not None:
        numbers[:k] = order
    ordered = shifted if order is None else shifted[order]
    padded_shift = np.zeros(-(-d // lanes(dtype)) * lanes(dtype), dtype=dtype)
    padded_shift[:d] = shift
    positions = np.zeros(0 if order is None else k, dtype=np.int32)
    if order is not None:
        positions[order] = np.arange(k)
    # Squares of large numbers leave the range of float32.
    with np.errstate(over="ignore"):
        sq_norms = (ordered**2).sum(axis=1)
        largest = math.sqrt(sq_norms.max())
        in_parts = _roundings_in_parts(d)
        bound = rounding_bound(largest, d, in_parts, dtype)
        return PackedCenters(
            _feature_major(ordered, sq_norms, TILE_CENTERS, dtype),
            numbers,
            n_tiles,
            tiles_a_group,
            -(-n_tiles // tiles_a_group),
            padded_shift,
            bound,
            # A sum of few features is one part.
            bound if in_parts == d else rounding_bound(largest, d, d, dtype),
            np.ascontiguousarray(centers.T),
            _feature_major(ordered, sq_norms, width, dtype) if width else np.zeros(0, dtype),
            shifted.astype(dtype) if width else np.zeros((0, d), dtype),
            positions,
        )


def _least_width(d: int) -> int:
    """Return how many centers are a group where nobody asks for groups."""
    return GROUP_CENTERS * -(-_GROUP_WORK // (GROUP_CENTERS * d))


def _feature_major(shifted: Array, sq_norms: Array, width: int, dtype: np.dtype[Any]) -> Array:
    """Return for each `width` centers their half norms and then their negated features, flat."""
    k, d = shifted.shape
    n_parts = -(-k // width)
    # Centers that pad the last part score infinity and are never the nearest.
    lines = np.zeros((n_parts * width, d + 1), dtype=dtype)
    lines[:k, 0] = sq_norms / 2
    lines[k:, 0] = np.inf
    lines[:k, 1:] = -shifted
    return lines.reshape(n_parts, width, d + 1).swapaxes(1, 2).ravel()


@kernel
def _label_block(rows, packed, rows_a_strip, labels):
    # Taken out of the loop: numba counts references to what is taken out of a tuple inside of it.
    tiles, numbers, shift, bound = packed.tiles, packed.numbers, packed.shift, packed.bound
    n_tiles, tiles_a_group = packed.n_tiles, packed.tiles_a_group
    strip = scratch(shift.size * rows_a_strip, rows.dtype)
    scores = scratch((1 + 2 * packed.n_groups) * rows_a_strip, rows.dtype)
    distances = scratch(packed.transposed.shape[1] + GROUP_CENTERS, np.float64)
    chosen = scratch(rows_a_strip, np.int64)
    ahead = scratch(rows_a_strip, np.int64)
    n_rows, d = rows.shape
    rows_ahead = rows_a_strip * strips_ahead(rows_a_strip * d * rows.itemsize)
    # The last strip begins earlier if it has to, and a strip of fewer rows repeats its last row.
    last = max(0, n_rows - rows_a_strip)
    narrow = d <= NARROW and n_rows >= rows_a_strip
    found = labels if n_rows >= rows_a_strip else scratch(rows_a_strip, np.int32)
    for place in range(0, n_rows, rows_a_strip):
        start = min(place, last)
        if narrow:
            transpose_narrow(rows, start, shift, strip, scores)
        else:
            for i in range(rows_a_strip):
                chosen[i] = min(start + i, n_rows - 1)
                ahead[i] = start + rows_ahead + i
            transpose_strip(rows, chosen, shift, strip, scores)
        doubtful = nearest_in_strip(
            strip,
            tiles,
            numbers,
            d,
            n_tiles,
            tiles_a_group,
            bound,
            found,
            start,
            scores,
            rows,
            ahead,
        )
        if doubtful != 0:
            for i in range(rows_a_strip):
                chosen[i] = min(start + i, n_rows - 1)
            count = min(rows_a_strip, n_rows)
            bad_row = decide_again(
                rows, chosen, count, doubtful, scores, packed, distances, found, start
            )
            if bad_row >= 0:
                return bad_row
    if n_rows < rows_a_strip:
        for i in range(n_rows):
            labels[i] = found[i]
    return -1


@singledispatch
def label_block(rows: AnyRows, packed: PackedCenters, labels: Array) -> int:
    """Write the label of each row of a block; return the first row that is not finite, or -1.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order
    packed : PackedCenters for the dtype of rows
    labels : ndarray of shape (r,), int32; overwritten
    """
    return int(_label_block(rows, packed, strip_rows(rows.dtype), labels))
