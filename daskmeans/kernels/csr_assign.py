"""Nearest centers of sparse rows: the labels that `assign` defines, without a dense row.

A row's zeros add |c|^2 to its distance to center c, and each of its values a correction. Scores by
this expansion, in float32, name the nearest center of nearly all rows. The others are scored again
in float64, and where even that leaves a doubt, the centers in question are measured by the
definition, feature by feature: so a row has the label that it has as a dense one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from daskmeans.kernels.assign import label_block
from daskmeans.kernels.compile import inlined, kernel, rarely_called
from daskmeans.kernels.csr import CSRRows
from daskmeans.kernels.csr_scores import SCORE_LANES, nearest_in_lanes, sum_of_squares
from daskmeans.kernels.labelled_sums import sum_labelled
from daskmeans.kernels.lloyd import CLEAN, NOT_FINITE, OUT_OF_RANGE, lloyd_block, sum_block
from daskmeans.typing import Array, Labels

_SINGLE, _DOUBLE = 2.0**-24, 2.0**-53  # units of rounding
_SINGLE_TINY, _DOUBLE_TINY = 2.0**-126, 2.0**-1022
# Products of numbers beyond this are left to float64.
_LARGEST_SINGLE = 1e37
# Quantised numbers stay below this, see `quantised_sums.MAGIC`.
_LARGEST_NUMBER = 2.0**51


class CentersOfSparse(NamedTuple):
    """Centers in the layouts that the kernels of sparse rows read. They are not shifted."""

    table: Array  # (c * w,) float32: -centers, feature by feature; w = k rounded up to whole lanes
    places: Array  # (d,) int32, line of the table for each feature; 0 where all centers are zero
    half_norms: Array  # (w,) float32, infinity past k
    centers: Array  # (k, d) float64
    sq_norms: Array  # (k,) float64


def pack_for_sparse(centers: Array) -> CentersOfSparse:
    """Lay centers of shape (k, d), float64, out."""
    k, d = centers.shape
    width = -(-k // SCORE_LANES) * SCORE_LANES
    # Hashed features are zero for the most part, in all centers.
    in_use = np.zeros(d, bool)
    for center in centers:
        np.logical_or(in_use, center, out=in_use)
    features = np.flatnonzero(in_use)
    places = np.zeros(d, np.int32)
    places[features] = np.arange(1, len(features) + 1)
    table = np.zeros((len(features) + 1, width), np.float32)
    _fill_table(centers, features, table)
    half_norms = np.full(width, np.inf, np.float32)
    sq_norms = sq_norms_of(centers)
    # Squares of large numbers leave the range of float32.
    with np.errstate(over="ignore"):
        half_norms[:k] = sq_norms / 2
    return CentersOfSparse(table.reshape(-1), places, half_norms, centers, sq_norms)


@kernel
def _fill_table(
    centers,  # IN  (k, d) float64
    features,  # IN  (c,) int64
    table,  # OUT (c + 1, w) float32; its first line stays
):
    # Some lines at a time, which stay in the cache while the centers are gone through.
    for first in range(0, features.size, 64):
        last = min(first + 64, features.size)
        for j in range(centers.shape[0]):
            for i in range(first, last):
                table[i + 1, j] = -centers[j, features[i]]


def sq_norms_of(centers: Array) -> Array:
    """Return the squared length of each center, (k,)."""
    # One by one: all squares at once would take as much memory as the centers. Without BLAS, whose
    # threads would get into each other's way.
    with np.errstate(over="ignore"):
        return np.array([np.square(center).sum() for center in centers])


@inlined
def _rounding(count, unit):
    """Return Higham's gamma for so many operations, infinity where it is none."""
    total = count * unit
    return total / (1.0 - total) if total < 0.5 else np.inf


@inlined
def _limit(count, unit, tiny, norm, largest, d):
    """Return how far rounding can move a gap between two scores: `assign.rounding_bound`.

    Each score is the sum of `count` products and of half a squared norm; beside it stands the
    rounding of the definition itself, in float64 and over all features.
    """
    own, exact = _rounding(count + 8.0, unit), _rounding(d + 8.0, _DOUBLE)
    spread = 2.0 * norm * largest + largest * largest
    # Where numbers vanish, in the row, the centers or their products.
    vanishing = (count + d + 16.0) * tiny * (1.0 + norm + largest)
    return 1.01 * (own * spread + exact * (norm + largest) * (norm + largest) + vanishing)


@rarely_called
def sq_distance_by_definition(data, indices, start, stop, center):
    """Return the squared distance of a row to a center of shape (d,), feature by feature."""
    total = 0.0
    place = start
    for f in range(center.size):
        x = 0.0
        if place < stop and indices[place] == f:
            x = np.float64(data[place])
            place += 1
        difference = x - center[f]
        total += difference * difference
    return total


@rarely_called
def _label_again(data, indices, start, stop, centers, sq_norms, largest, norm, scores):
    """Label a row in float64, by the definition where that leaves a doubt; -1 if not finite."""
    k, d = centers.shape
    for place in range(start, stop):
        if not np.isfinite(data[place]):
            return -1
    best = np.inf
    for j in range(k):
        product = 0.0
        for place in range(start, stop):
            product += np.float64(data[place]) * centers[j, indices[place]]
        scores[j] = 0.5 * sq_norms[j] - product
        best = min(best, scores[j])
    # A squared norm is summed in any order: some more operations.
    limit = _limit(stop - start + 64.0 + np.log2(d + 1.0), _DOUBLE, _DOUBLE_TINY, norm, largest, d)
    label, n_near = -1, 0
    for j in range(k):
        if not (scores[j] - best > limit):
            n_near += 1
            label = j
    if n_near == 1:
        return label
    nearest = np.inf
    label = 0
    for j in range(k):
        if not (scores[j] - best > limit):
            distance = sq_distance_by_definition(data, indices, start, stop, centers[j])
            if distance < nearest:
                nearest, label = distance, j
    return label


@inlined
def _nearest(data, indices, start, stop, packed, largest, best, second, numbers, scores):
    """Return the label of a row, or -1 if it is not finite."""
    norm = np.sqrt(sum_of_squares(data, start, stop))
    # NaN and infinity fail this too.
    if norm * largest + largest * largest + norm < _LARGEST_SINGLE:
        nearest_in_lanes(
            data,
            indices,
            start,
            stop,
            packed.half_norms,
            packed.table,
            packed.places,
            best,
            second,
            numbers,
        )
        least, next_one, label = best[0], second[0], numbers[0]
        for lane in range(1, SCORE_LANES):
            score = best[lane]
            nearer = score < least
            loser = least if nearer else score
            least = score if nearer else least
            label = numbers[lane] if nearer else label
            next_one = min(next_one, min(loser, second[lane]))
        limit = _limit(
            np.float64(stop - start), _SINGLE, _SINGLE_TINY, norm, largest, packed.centers.shape[1]
        )
        if np.float64(next_one) - np.float64(least) > limit:
            return label
    return _label_again(
        data, indices, start, stop, packed.centers, packed.sq_norms, largest, norm, scores
    )


@kernel
def _label_sparse(data, indices, indptr, packed, labels):
    best, second = np.empty(SCORE_LANES, np.float32), np.empty(SCORE_LANES, np.float32)
    numbers = np.empty(SCORE_LANES, np.int32)
    scores = np.empty(packed.sq_norms.size)
    largest = np.sqrt(packed.sq_norms.max())
    for i in range(labels.size):
        label = _nearest(
            data,
            indices,
            indptr[i],
            indptr[i + 1],
            packed,
            largest,
            best,
            second,
            numbers,
            scores,
        )
        if label < 0:
            return i
        labels[i] = label
    return -1


@label_block.register
def _(rows: CSRRows, packed: CentersOfSparse, labels: Labels) -> int:
    return int(_label_sparse(rows.data, rows.indices, rows.indptr, packed, labels))


@inlined
def _add_row(data, indices, start, stop, weight, scale, squares, sums, to, taken_from):
    """Add a quantised row to one cluster's sums, and take it from another's unless that is -1.

    As `quantised_sums.add_rows` does with a shift of zero. Return whether it is out of range.
    """
    strange = False
    squares[:] = 0.0
    for place in range(start, stop):
        x = np.float64(data[place])
        f = indices[place]
        # In the order in which a dense row's squares are summed.
        squares[f & 7] += x * x
        scaled = np.rint(weight * x * scale[f])
        inside = abs(scaled) < _LARGEST_NUMBER
        strange |= not inside
        number = np.int64(scaled) if inside else np.int64(0)
        sums[to, f] += number
        if taken_from >= 0:
            sums[taken_from, f] -= number
    width = 8
    while width > 1:
        width //= 2
        for lane in range(width):
            squares[lane] += squares[lane + width]
    last = sums.shape[1] - 1
    for column, value in ((last - 1, squares[0]), (last, 1.0)):
        scaled = np.rint(weight * value * scale[column])
        inside = abs(scaled) < _LARGEST_NUMBER
        strange |= not inside
        number = np.int64(scaled) if inside else np.int64(0)
        sums[to, column] += number
        if taken_from >= 0:
            sums[taken_from, column] -= number
    return strange


@kernel
def _lloyd_sparse(
    data,  # IN    (m,) float32 or float64
    indices,  # IN    (m,) int32
    indptr,  # IN    (r + 1,) int64
    weights,  # IN    (r,) float64, or (1,) for one weight
    packed,  # IN    CentersOfSparse
    scale,  # IN    (s,) float64 powers of two
    sums,  # INOUT (k, s) int64
    labels,  # INOUT (r,) int32
    counted,  # IN    labels are those of the pass before, whose rows are in the sums
):
    best, second = np.empty(SCORE_LANES, np.float32), np.empty(SCORE_LANES, np.float32)
    numbers = np.empty(SCORE_LANES, np.int32)
    scores = np.empty(packed.sq_norms.size)
    squares = np.empty(8)
    largest = np.sqrt(packed.sq_norms.max())
    n_changed = 0
    strange = False
    for i in range(labels.size):
        start, stop = indptr[i], indptr[i + 1]
        label = _nearest(data, indices, start, stop, packed, largest, best, second, numbers, scores)
        if label < 0:
            return NOT_FINITE, i, n_changed
        if counted and label == labels[i]:
            continue
        weight = weights[i if weights.size > 1 else 0]
        before = labels[i] if counted else -1
        strange |= _add_row(data, indices, start, stop, weight, scale, squares, sums, label, before)
        labels[i] = label
        n_changed += 1
    return OUT_OF_RANGE if strange else CLEAN, -1, n_changed


@lloyd_block.register
def _(
    rows: CSRRows,
    weights: Array,
    packed: CentersOfSparse,
    shift: Array,
    scale: Array,
    sums: Array,
    labels: Labels,
    *,
    first: int = 0,
    counted: bool = False,
    bounds: None = None,
    bounded: bool = False,
) -> tuple[int, int, int, int]:
    """Every distance is computed: no bounds are kept for sparse rows. `shift` is zero."""
    status, row, n_changed = _lloyd_sparse(
        rows.data,
        rows.indices,
        rows.indptr,
        weights,
        packed,
        scale,
        sums,
        labels[first : first + len(rows)],
        counted,
    )
    return int(status), int(row), int(n_changed), len(rows) * len(packed.centers)


@kernel
def _sum_sparse(data, indices, indptr, labels, weights, scale, sums):
    squares = np.empty(8)
    strange = False
    for i in range(indptr.size - 1):
        strange |= _add_row(
            data,
            indices,
            indptr[i],
            indptr[i + 1],
            weights[i if weights.size > 1 else 0],
            scale,
            squares,
            sums,
            labels[i if labels.size > 1 else 0],
            -1,
        )
    return OUT_OF_RANGE if strange else CLEAN


@sum_labelled.register
def _(
    rows: CSRRows, labels: Labels, weights: Array, shift: Array, scale: Array, sums: Array
) -> int:
    return int(_sum_sparse(rows.data, rows.indices, rows.indptr, labels, weights, scale, sums))


@sum_block.register
def _(rows: CSRRows, weights: Array, shift: Array, scale: Array, sums: Array) -> int:
    return sum_labelled(rows, np.zeros(1, np.int32), weights, shift, scale, sums)
