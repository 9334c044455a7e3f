"""Distances in float64, straight from the differences: of rows to all centers, and to their own."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from daskmeans.kernels.compile import kernel
from daskmeans.kernels.csr import AnyRows
from daskmeans.kernels.definition import sq_distances_by_definition
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
    # Four rows at a time: each is summed feature by feature, as the definition of labels says, and
    # one sum alone would wait for each addition.
    last = rows.shape[0] - 1
    for i0 in range(0, last + 1, 4):
        i1, i2, i3 = min(i0 + 1, last), min(i0 + 2, last), min(i0 + 3, last)
        j0, j1, j2, j3 = labels[i0], labels[i1], labels[i2], labels[i3]
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        for f in range(rows.shape[1]):
            a0 = np.float64(rows[i0, f]) - centers[j0, f]
            a1 = np.float64(rows[i1, f]) - centers[j1, f]
            a2 = np.float64(rows[i2, f]) - centers[j2, f]
            a3 = np.float64(rows[i3, f]) - centers[j3, f]
            s0 += a0 * a0
            s1 += a1 * a1
            s2 += a2 * a2
            s3 += a3 * a3
        sq_distances[i0], sq_distances[i1] = s0, s1
        sq_distances[i2], sq_distances[i3] = s2, s3


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
