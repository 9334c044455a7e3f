"""Nearest centers of sparse rows: the labels that `assign` defines, without a dense row.

A row's zeros add |c|^2 to its distance to center c, and each of its values a correction. Scores by
this expansion, in float32, name the nearest center of nearly all rows. The others are scored again
in float64, and where even that leaves a doubt, the centers in question are measured by the
definition, feature by feature: so a row has the label that it has as a dense one.
"""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.assign import label_block
from daskmeans.kernels.compile import inlined, kernel, rarely_called
from daskmeans.kernels.csr import CSRRows
from daskmeans.kernels.csr_layout import LINES, CentersOfSparse
from daskmeans.kernels.csr_scores import nearest_in_lanes, sum_of_squares
from daskmeans.kernels.csr_sums import MovedRows, SumsOrRows, sums_of_rows
from daskmeans.kernels.lloyd import NOT_FINITE
from daskmeans.typing import Array, Labels

_SINGLE, _DOUBLE = 2.0**-24, 2.0**-53  # units of rounding
_SINGLE_TINY, _DOUBLE_TINY = 2.0**-126, 2.0**-1022
# Products of numbers beyond this are left to float64.
_LARGEST_SINGLE = 1e37


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
def _label_again(data, indices, start, stop, centers, sq_norms, largest, scores):
    """Label a row in float64, by the definition where that leaves a doubt; -1 if not finite."""
    k, d = centers.shape
    for place in range(start, stop):
        if not np.isfinite(data[place]):
            return -1
    norm = np.sqrt(sum_of_squares(data, start, stop))
    best = np.inf
    for j in range(k):
        product = 0.0
        for place in range(start, stop):
            product += np.float64(data[place]) * centers[j, indices[place]]
        scores[j] = 0.5 * sq_norms[j] - product
        best = min(best, scores[j])
    # A squared norm takes more operations: in a part of the lines, over these parts in a part of
    # the features, and over those.
    count = stop - start + 2.0 * LINES + 2.0 * d / LINES
    limit = _limit(count, _DOUBLE, _DOUBLE_TINY, norm, largest, d)
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


@kernel
def _label_sparse(
    data,  # IN  (m,) float32 or float64
    indices,  # IN  (m,) int32
    indptr,  # IN  (r + 1,) int64
    packed,  # IN  CentersOfSparse
    labels,  # OUT (r,) int32
):
    # Returns the first row that is not finite, or -1. Nothing in the first loop takes an array from
    # a tuple or hands it to a function: each time its references are counted, which together took
    # as long as labelling the row.
    half_norms, table, places = packed.half_norms, packed.table, packed.places
    d = packed.centers.shape[1]
    largest = np.sqrt(packed.sq_norms.max())
    best, second = np.empty(1, np.float32), np.empty(1, np.float32)
    doubtful = np.empty(labels.size, np.int64)
    n_doubtful = 0
    for i in range(labels.size):
        start, stop = indptr[i], indptr[i + 1]
        norm = np.sqrt(sum_of_squares(data, start, stop))
        sure = False
        # NaN and infinity fail this too.
        if norm * largest + largest * largest + norm < _LARGEST_SINGLE:
            labels[i] = nearest_in_lanes(
                data, indices, start, stop, half_norms, table, places, best, second
            )
            limit = _limit(np.float64(stop - start), _SINGLE, _SINGLE_TINY, norm, largest, d)
            sure = np.float64(second[0]) - np.float64(best[0]) > limit
        doubtful[n_doubtful] = i
        n_doubtful += not sure
    scores = np.empty(packed.sq_norms.size)
    for n in range(n_doubtful):
        i = doubtful[n]
        label = _label_again(
            data,
            indices,
            indptr[i],
            indptr[i + 1],
            packed.centers,
            packed.sq_norms,
            largest,
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
    row = int(_label_sparse(rows.data, rows.indices, rows.indptr, packed, found))
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
