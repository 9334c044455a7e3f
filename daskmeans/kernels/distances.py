"""Distances in float64, straight from the differences: of rows to all centers, and to their own."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from daskmeans.kernels.compile import kernel
from daskmeans.kernels.csr import AnyRows
from daskmeans.kernels.definition import sq_distances_by_definition
from daskmeans.kernels.own_distances import OWN_ROWS, own_sq_distances
from daskmeans.typing import Array


@kernel
def _distances_to_centers(
    rows,  # IN  (r, d) float32 or float64, C order
    transposed,  # IN  (d, k) float64 centers
    distances,  # OUT (r, k) float32 or float64, not squared
):
    # One row's k running sums stay in the first-level cache.
    k = transposed.shape[1]
    squares = np.empty(k, np.float64)
    for i in range(rows.shape[0]):
        if not sq_distances_by_definition(rows, i, transposed, squares):
            return i
        for j in range(k):
            distances[i, j] = np.sqrt(squares[j])
    return -1


@singledispatch
def distances_to_centers(rows: AnyRows, transposed: Array, distances: Array) -> int:
    """Write the distance of each row to each center; return the first row not finite, or -1.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order
    transposed : ndarray of shape (d, k), float64
        The centers.
    distances : ndarray of shape (r, k), float32 or float64; overwritten
        Not squared.
    """
    return int(_distances_to_centers(rows, transposed, distances))


@kernel
def _sq_distances_to_own(
    rows,  # IN  (r, d) float32 or float64, C order
    labels,  # IN  (r,) int32
    centers,  # IN  (k, d) float64
    sq_distances,  # OUT (r,) float64
):
    n_rows = rows.shape[0]
    whole = n_rows - n_rows % OWN_ROWS
    for start in range(0, whole, OWN_ROWS):
        own_sq_distances(rows, start, labels, centers, sq_distances, start)
    if whole < n_rows:
        rest = np.empty(OWN_ROWS)
        own_sq_distances(rows, whole, labels, centers, rest, 0)
        for i in range(whole, n_rows):
            sq_distances[i] = rest[i - whole]


@singledispatch
def sq_distances_to_own(rows: AnyRows, labels: Array, centers: Array) -> Array:
    """Return the squared distance of each row to the center of its label.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order
    labels : ndarray of shape (r,), int32
    centers : ndarray of shape (k, d), float64, C order

    Returns
    -------
    ndarray of shape (r,), float64
    """
    sq_distances = np.empty(len(rows))
    _sq_distances_to_own(rows, labels, centers, sq_distances)
    return sq_distances
