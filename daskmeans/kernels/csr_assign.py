"""Nearest centers of sparse rows: the labels that `assign` defines, without a dense row.

A row's zeros add |c|^2 to its distance to center c, and each of its values a correction. Scores by
this expansion, in float32, name the nearest center of nearly all rows. The others are scored again
in float64, and where even that leaves a doubt, the centers in question are measured by the
definition, feature by feature: so a row has the label that it has as a dense one.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import cached_property
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
# Numbers of centers that a thread lays out at a time.
_NUMBERS_A_PART = 1 << 16


class CentersOfSparse(NamedTuple):
    """Centers in the layouts that the kernels of sparse rows read. They are not shifted."""

    # -centers, feature by feature; w = k rounded up to whole lanes. Lines without a place may hold
    # anything.
    table: Array  # ((d + 1) * w,) float32
    places: Array  # (d,) int32, line of the table for each feature; 0 where all centers are zero
    half_norms: Array  # (w,) float32, infinity past k
    centers: Array  # (k, d) float64
    sq_norms: Array  # (k,) float64


class LayoutForSparse:
    """Centers that are being laid out, by all threads that ask for them.

    Parameters
    ----------
    centers : ndarray of shape (k, d), float64
    """

    def __init__(self, centers: Array) -> None:
        k, d = centers.shape
        width = -(-k // SCORE_LANES) * SCORE_LANES
        step = _LINES * max(1, _NUMBERS_A_PART // (k * _LINES))
        self._centers = centers
        # Hashed features are zero for the most part, in all centers: memory for lines that are not
        # needed is not touched.
        self._table = np.empty((d + 1, width), np.float32)
        self._places = np.empty(d, np.int32)
        self._parts = [(start, min(start + step, d)) for start in range(0, d, step)]
        self._squares = np.empty((len(self._parts), width))
        self._todo = deque(range(len(self._parts)))
        self._n_left = len(self._parts)
        self._change = threading.Condition()
        self._table[0] = 0.0

    def finished(self) -> CentersOfSparse:
        """Lay out what no other thread does, and return the whole once it is there."""
        while True:
            with self._change:
                while not self._todo and self._n_left:
                    self._change.wait()
                if not self._n_left:
                    return self._whole
                number = self._todo.popleft()
            start, stop = self._parts[number]
            done = False
            try:
                _lay_out(
                    self._centers, start, stop, self._table, self._places, self._squares[number]
                )
                done = True
            finally:
                with self._change:
                    if done:
                        self._n_left -= 1
                    else:
                        self._todo.append(number)
                    self._change.notify_all()

    @cached_property
    def _whole(self) -> CentersOfSparse:
        k = len(self._centers)
        sq_norms = self._squares[:, :k].sum(axis=0)
        half_norms = np.full(self._table.shape[1], np.inf, np.float32)
        # Squares of large numbers leave the range of float32.
        with np.errstate(over="ignore"):
            half_norms[:k] = sq_norms / 2
        table = self._table.reshape(-1)
        return CentersOfSparse(table, self._places, half_norms, self._centers, sq_norms)


def pack_for_sparse(centers: Array) -> CentersOfSparse:
    """Lay centers of shape (k, d), float64, out."""
    return LayoutForSparse(centers).finished()


@kernel
def _lay_out(
    centers,  # IN  (k, d) float64
    start,  # IN  first feature
    stop,  # IN  one past the last
    table,  # OUT (d + 1, w) float32, lines in use from start + 1 on
    places,  # OUT (d,) int32
    squares,  # OUT (w,) float64, the part of these features in the squared norms
):
    # Some features at a time, whose lines stay in the cache while the centers are gone through.
    k = centers.shape[0]
    width = table.shape[1]
    lines = np.zeros((_LINES, width))
    part = np.empty(width)
    squares[:] = 0.0
    at = start + 1
    for first in range(start, stop, _LINES):
        in_part = min(_LINES, stop - first)
        for j in range(k):
            for i in range(in_part):
                lines[i, j] = centers[j, first + i]
        part[:] = 0.0
        for i in range(in_part):
            # A line that is zero is written over by the next one.
            in_use = False
            for j in range(width):
                center = lines[i, j]
                in_use |= center != 0.0
                table[at, j] = -center
                part[j] += center * center
            places[first + i] = at if in_use else 0
            at += in_use
        for j in range(width):
            squares[j] += part[j]


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
    count = stop - start + 2.0 * _LINES + 2.0 * d / _LINES
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
