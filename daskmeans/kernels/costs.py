"""What rows cost to the centers of their labels, summed exactly, and how many have each label."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from daskmeans.kernels.compile import kernel
from daskmeans.kernels.csr import AnyRows
from daskmeans.kernels.exact_sum import CHUNK_TERMS, add_chunk
from daskmeans.kernels.own_distances import OWN_ROWS, own_sq_distances
from daskmeans.kernels.scratch import scratch
from daskmeans.kernels.vector import LINE_BYTES
from daskmeans.typing import Array, Labels

_APART = LINE_BYTES // 8  # numbers of a cache line


@kernel
def _add_costs(
    rows,  # IN    (r, d) float32 or float64, C order
    weights,  # IN    (r,) float64, or (1,) for one weight
    labels,  # IN    (r,) int32
    centers,  # IN    (k, d) float64
    digits,  # INOUT (DIGITS,) int64
    counts,  # INOUT (k,) int64
):
    # A chunk at a time: terms of all rows would be written to new memory, and read again, which
    # took longer than to compute them.
    terms = scratch(CHUNK_TERMS, np.float64)
    # Counts of another thread may lie beside those that were given, and two threads that write to
    # one cache line wait for each other.
    sizes = scratch(counts.size + 2 * _APART, np.int64)
    for j in range(counts.size):
        sizes[_APART + j] = 0
    n_rows = rows.shape[0]
    for start in range(0, n_rows, CHUNK_TERMS):
        stop = min(start + CHUNK_TERMS, n_rows)
        for i in range(start, stop, OWN_ROWS):
            own_sq_distances(rows, i, labels, centers, terms, i - start)
        if weights.size > 1:
            for i in range(start, stop):
                # A row without weight costs nothing, even where its distance leaves the range.
                term = terms[i - start] * weights[i]
                terms[i - start] = term if weights[i] != 0 else 0.0
        else:
            for i in range(start, stop):
                terms[i - start] *= weights[0]
        add_chunk(digits, terms, stop - start)
        for i in range(start, stop):
            sizes[_APART + labels[i]] += 1
    for j in range(counts.size):
        counts[j] += sizes[_APART + j]


@singledispatch
def add_costs(
    rows: AnyRows, weights: Array, labels: Labels, centers: Array, digits: Array, counts: Array
) -> None:
    """Add rows to an exact sum of weighted squared distances, and to the sizes of clusters.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order, finite
    weights : ndarray of shape (r,) or (1,), float64
        One weight stands for all rows.
    labels : ndarray of shape (r,), int32
    centers : ndarray of shape (k, d), float64, C order
    digits : ndarray of shape (DIGITS,), int64; added to as by `exact_sum.add_terms`
    counts : ndarray of shape (k,), int64; added to
        Rows of each cluster, whatever their weights.
    """
    _add_costs(rows, weights, labels, centers, digits, counts)
