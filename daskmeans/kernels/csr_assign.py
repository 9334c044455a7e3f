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
from daskmeans.kernels.csr_sums import MovedRows, SumsOrRows, sums_of_rows
from daskmeans.kernels.lloyd import NOT_FINITE
from daskmeans.typing import Array, Labels

_SINGLE, _DOUBLE = 2.0**-24, 2.0**-53  # units of rounding
_SINGLE_TINY, _DOUBLE_TINY = 2.0**-126, 2.0**-1022
# Products of numbers beyond this are left to float64.
_LARGEST_SINGLE = 1e37
# Lines of centers that are laid out at a time: 28 kB for 112 centers.
_LINES = 32


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
    # Hashed features are zero for the most part, in all centers: memory that lines would take which
    # are not needed is not touched.
    table = np.empty((d + 1, width), np.float32)
    places, sq_norms = np.empty(d, np.int32), np.empty(k)
    n_lines = _lay_out(centers, table, places, sq_norms)
    half_norms = np.full(width, np.inf, np.float32)
    # Squares of large numbers leave the range of float32.
    with np.errstate(over="ignore"):
        half_norms[:k] = sq_norms / 2
    return CentersOfSparse(table[:n_lines].reshape(-1), places, half_norms, centers, sq_norms)


@kernel
def _lay_out(
    centers,  # IN  (k, d) float64
    table,  # OUT (d + 1, w) float32, lines in use: the first is zero
    places,  # OUT (d,) int32
    sq_norms,  # OUT (k,) float64
):
    # Some features at a time, whose lines stay in the cache while the centers are gone through.
    # Returns the number of lines.
    k, d = centers.shape
    width = table.shape[1]
    lines = np.zeros((_LINES, width))
    squares, part = np.zeros(width), np.empty(width)
    table[0] = 0.0
    n_lines = 1
    for first in range(0, d, _LINES):
        in_part = min(_LINES, d - first)
        for j in range(k):
            for i in range(in_part):
                lines[i, j] = centers[j, first + i]
        part[:] = 0.0
        for i in range(in_part):
            line, written = lines[i], table[n_lines]
            in_use = False
            for j in range(width):
                in_use |= line[j] != 0.0
            places[first + i] = n_lines if in_use else 0
            if in_use:
                for j in range(width):
                    written[j] = -line[j]
                    part[j] += line[j] * line[j]
                n_lines += 1
        for j in range(width):
            squares[j] += part[j]
    sq_norms[:] = squares[:k]
    return n_lines


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
    # A squared norm takes more operations, see `_lay_out`.
    limit = _limit(stop - start + 64.0 + d / _LINES, _DOUBLE, _DOUBLE_TINY, norm, largest, d)
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


def lloyd_sparse(
    rows: CSRRows,
    weights: Array,
    packed: CentersOfSparse,
    scale: Array,
    labels: Labels,
    *,
    counted: bool = False,
) -> tuple[int, int, int, SumsOrRows]:
    """Label sparse rows, and sum those whose label is new: all, where they had none.

    Every distance is computed: no bounds are kept for sparse rows.

    Parameters
    ----------
    rows : CSRRows of shape (r, d)
    weights : ndarray of shape (r,) or (1,), float64
    packed : CentersOfSparse
    scale : ndarray of shape (sums_width(d),), float64
    labels : ndarray of shape (r,), int32; overwritten
    counted : bool
        `labels` are those of the pass before: rows whose label changed come to their new cluster
        and are taken from their old one.

    Returns
    -------
    status, row, n_changed : int
        As of `lloyd.lloyd_block`.
    sums : ndarray of shape (k, s), int64, or MovedRows
        They mean nothing unless the status is CLEAN.
    """
    found = np.empty_like(labels) if counted else labels
    shape = len(packed.centers), len(scale)
    row = label_block(rows, packed, found)
    if row >= 0:
        return NOT_FINITE, row, 0, MovedRows(shape)
    if counted:
        chosen = np.flatnonzero(found != labels)
        to, taken_from = found[chosen], labels[chosen]
        labels[chosen] = to
    else:
        chosen, to, taken_from = np.arange(len(rows)), labels.copy(), np.empty(0, np.int32)
    status, sums = sums_of_rows(rows, chosen, to, taken_from, weights, scale, shape[0])
    return status, -1, len(chosen), sums
