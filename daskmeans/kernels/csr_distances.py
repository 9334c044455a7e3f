"""Distances of sparse rows in float64, and the ranges of their columns.

A squared distance is |c|^2 plus x (x - 2 c) over the values x of the row. What is small beside
|x|^2 + |c|^2 has lost digits in this sum, and is summed anew from the differences, feature by
feature: a row on its center lies exactly on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from daskmeans.kernels.compile import inlined, kernel, rarely_called
from daskmeans.kernels.costs import add_costs
from daskmeans.kernels.csr import CSRRows
from daskmeans.kernels.csr_assign import sq_distance_by_definition
from daskmeans.kernels.directions import LARGEST_SQUARE, SMALLEST_SQUARE, divide_by_lengths
from daskmeans.kernels.distances import distances_to_centers, sq_distances_to_own
from daskmeans.kernels.exact_sum import add_terms
from daskmeans.kernels.means import sq_norms_of
from daskmeans.kernels.ranges import column_ranges
from daskmeans.kernels.silhouettes import (
    own_and_next,
    silhouette_of,
    simplified_silhouettes,
    squared_silhouettes,
)
from daskmeans.typing import Array, Labels

# Share of |x|^2 + |c|^2 below which a squared distance is summed from the differences.
_CANCELLED = 2.0**-12


@kernel
def _sparse_to_own(data, indices, indptr, labels, centers, sq_norms, sq_distances):
    for i in range(labels.size):
        start, stop = indptr[i], indptr[i + 1]
        j = labels[i]
        # Neumaier's sum: the error does not grow with the number of values.
        total, lost, sq_norm = sq_norms[j], 0.0, 0.0
        for place in range(start, stop):
            x = np.float64(data[place])
            term = x * (x - 2.0 * centers[j, indices[place]])
            sq_norm += x * x
            summed = total + term
            if abs(total) >= abs(term):
                lost += (total - summed) + term
            else:
                lost += (term - summed) + total
            total = summed
        total += lost
        if not (total > _CANCELLED * (sq_norm + sq_norms[j])):
            total = sq_distance_by_definition(data, indices, start, stop, centers[j])
        sq_distances[i] = total


@sq_distances_to_own.register
def _(rows: CSRRows, labels: Labels, centers: Array) -> Array:
    sq_distances = np.empty(len(rows))
    _sparse_to_own(
        rows.data, rows.indices, rows.indptr, labels, centers, sq_norms_of(centers), sq_distances
    )
    return sq_distances


@add_costs.register
def _(
    rows: CSRRows, weights: Array, labels: Labels, centers: Array, digits: Array, counts: Array
) -> None:
    # A row without weight costs nothing, even where its distance leaves the range.
    distances = np.where(weights == 0, 0.0, sq_distances_to_own(rows, labels, centers))
    add_terms(digits, weights * distances)
    counts += np.bincount(labels, minlength=len(counts))


@inlined
def _to_all(data, indices, start, stop, transposed, sq_norms, distances):
    """Write the squared distance of a row to each center; return whether the row is finite."""
    k = transposed.shape[1]
    sq_norm = 0.0
    for j in range(k):
        distances[j] = sq_norms[j]
    for place in range(start, stop):
        x = np.float64(data[place])
        f = indices[place]
        sq_norm += x * x
        for j in range(k):
            distances[j] += x * (x - 2.0 * transposed[f, j])
    for j in range(k):
        if not (distances[j] > _CANCELLED * (sq_norm + sq_norms[j])):
            distances[j] = sq_distance_by_definition(data, indices, start, stop, transposed[:, j])
    return np.isfinite(sq_norm)


@inlined
def _norms(transposed):
    d, k = transposed.shape
    sq_norms = np.zeros(k)
    for f in range(d):
        for j in range(k):
            sq_norms[j] += transposed[f, j] * transposed[f, j]
    return sq_norms


@kernel
def _sparse_to_centers(data, indices, indptr, transposed, distances):
    squares = np.empty(transposed.shape[1])
    sq_norms = _norms(transposed)
    for i in range(distances.shape[0]):
        if not _to_all(data, indices, indptr[i], indptr[i + 1], transposed, sq_norms, squares):
            return i
        for j in range(squares.size):
            distances[i, j] = np.sqrt(squares[j])
    return -1


@distances_to_centers.register
def _(rows: CSRRows, transposed: Array, distances: Array) -> int:
    return int(_sparse_to_centers(rows.data, rows.indices, rows.indptr, transposed, distances))


@kernel
def _simplified(data, indices, indptr, labels, transposed, silhouettes):
    squares = np.empty(transposed.shape[1])
    sq_norms = _norms(transposed)
    for i in range(labels.size):
        _to_all(data, indices, indptr[i], indptr[i + 1], transposed, sq_norms, squares)
        own, other = own_and_next(squares, labels[i])
        silhouettes[i] = silhouette_of(np.sqrt(own), np.sqrt(other))


@simplified_silhouettes.register
def _(rows: CSRRows, labels: Labels, transposed: Array, silhouettes: Array) -> None:
    _simplified(rows.data, rows.indices, rows.indptr, labels, transposed, silhouettes)


@kernel
def _squared(
    data, indices, indptr, labels, weights, transposed, variances, cluster_weights, silhouettes
):
    squares = np.empty(transposed.shape[1])
    sq_norms = _norms(transposed)
    for i in range(labels.size):
        label = labels[i]
        rest = cluster_weights[label] - weights[i if weights.size > 1 else 0]
        if rest <= 0.0:
            # Alone in its cluster.
            silhouettes[i] = 0.0
            continue
        _to_all(data, indices, indptr[i], indptr[i + 1], transposed, sq_norms, squares)
        for j in range(squares.size):
            squares[j] += variances[j]
        own, other = own_and_next(squares, label)
        # The row's distance to itself, 0, is in the cluster's mean and does not count.
        silhouettes[i] = silhouette_of(own * (cluster_weights[label] / rest), other)


@squared_silhouettes.register
def _(
    rows: CSRRows,
    labels: Labels,
    weights: Array,
    transposed: Array,
    variances: Array,
    cluster_weights: Array,
    silhouettes: Array,
) -> None:
    _squared(
        rows.data,
        rows.indices,
        rows.indptr,
        labels,
        weights,
        transposed,
        variances,
        cluster_weights,
        silhouettes,
    )


@kernel
def _fold_sparse(data, indices, indptr, low, high, counts):
    for i in range(indptr.size - 1):
        for place in range(indptr[i], indptr[i + 1]):
            x = np.float64(data[place])
            if not np.isfinite(x):
                return i
            f = indices[place]
            counts[f] += 1
            low[f] = min(low[f], x)
            high[f] = max(high[f], x)
    return -1


@column_ranges.register
def _(rows: CSRRows) -> tuple[Any, Any, int]:
    d = rows.n_features
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    counts = np.zeros(d, np.int64)
    bad_row = int(_fold_sparse(rows.data, rows.indices, rows.indptr, low, high, counts))
    # Where a row stores nothing it is zero.
    some = counts < len(rows)
    low[some], high[some] = np.minimum(low[some], 0.0), np.maximum(high[some], 0.0)
    return low, high, bad_row


@rarely_called
def _divide_far_row(
    data,  # IN  (m,) float32 or float64
    start,  # IN  where the values of the row begin
    stop,  # IN  where they end
    divided,  # OUT (>= at + stop - start,) float32 or float64
    at,  # IN  where to write the first of them
):
    # As that of `directions`: by the largest value first. Returns whether the row has a direction.
    largest = 0.0
    finite = True
    for place in range(start, stop):
        x = np.float64(data[place])
        finite = finite and np.isfinite(x)
        largest = max(largest, abs(x))
    if not finite:
        for place in range(start, stop):
            divided[at + place - start] = data[place]
        return True
    if largest == 0.0:
        return False
    square = 0.0
    for place in range(start, stop):
        x = np.float64(data[place]) / largest
        square += x * x
    length = np.sqrt(square)
    for place in range(start, stop):
        divided[at + place - start] = np.float64(data[place]) / largest / length
    return True


@kernel
def _divide_sparse(
    data,  # IN  (m,) float32 or float64
    indptr,  # IN  (r + 1,) int64
    divided,  # OUT (>= at + values of the rows,) float32 or float64
    at,  # IN  where to write the first value of the first row
):
    # Zeros add nothing to a sum of squares, so a row has the length that it has as a dense one.
    for i in range(indptr.size - 1):
        start, stop = indptr[i], indptr[i + 1]
        square = 0.0
        for place in range(start, stop):
            x = np.float64(data[place])
            square += x * x
        first = at + start - indptr[0]
        if SMALLEST_SQUARE < square < LARGEST_SQUARE:
            length = np.sqrt(square)
            for place in range(start, stop):
                divided[first + place - start] = np.float64(data[place]) / length
        elif not _divide_far_row(data, start, stop, divided, first):
            return i
    return -1


@divide_by_lengths.register
def _(rows: CSRRows, directions: CSRRows) -> int:
    return int(_divide_sparse(rows.data, rows.indptr, directions.data, directions.indptr[0]))
