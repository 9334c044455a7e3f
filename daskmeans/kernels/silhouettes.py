"""Silhouettes of rows by their clusters' means instead of by all other rows."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from daskmeans.kernels.compile import inlined, kernel
from daskmeans.kernels.csr import AnyRows
from daskmeans.kernels.definition import sq_distances_by_definition
from daskmeans.typing import Array, Labels


@inlined
def silhouette_of(own, other):
    """Return (b - a) / max(a, b) for the distance a to the own cluster, b to the next one."""
    larger = max(own, other)
    return (other - own) / larger if larger > 0.0 else 0.0


@inlined
def own_and_next(distances, label):
    """Return the distance to the cluster of a label, and to the nearest of the others."""
    other = np.inf
    for j in range(distances.size):
        if j != label and distances[j] < other:
            other = distances[j]
    return distances[label], other


@kernel
def _simplified_silhouettes(
    rows,  # IN  (r, d) float32 or float64, C order, finite
    labels,  # IN  (r,) int32
    transposed,  # IN  (d, k) float64 centers, k > 1
    silhouettes,  # OUT (r,) float64
):
    # One row's k running sums stay in the first-level cache.
    squares = np.empty(transposed.shape[1], np.float64)
    for i in range(rows.shape[0]):
        sq_distances_by_definition(rows, i, transposed, squares)
        own, other = own_and_next(squares, labels[i])
        silhouettes[i] = silhouette_of(np.sqrt(own), np.sqrt(other))


@kernel
def _squared_silhouettes(
    rows,  # IN  (r, d) float32 or float64, C order, finite
    labels,  # IN  (r,) int32
    weights,  # IN  (r,) float64, or (1,) for one weight
    transposed,  # IN  (d, k) float64 means of the clusters, k > 1
    variances,  # IN  (k,) float64 mean squared distance of each cluster's rows to its mean
    cluster_weights,  # IN  (k,) float64
    silhouettes,  # OUT (r,) float64
):
    # The mean squared distance of x to the rows of a cluster is |x - mean|^2 + variance: no pair of
    # rows is looked at.
    squares = np.empty(transposed.shape[1], np.float64)
    for i in range(rows.shape[0]):
        label = labels[i]
        rest = cluster_weights[label] - weights[i if weights.size > 1 else 0]
        if rest <= 0.0:
            # Alone in its cluster.
            silhouettes[i] = 0.0
            continue
        sq_distances_by_definition(rows, i, transposed, squares)
        for j in range(squares.size):
            squares[j] += variances[j]
        own, other = own_and_next(squares, label)
        # The row's distance to itself, 0, is in the cluster's mean and does not count.
        silhouettes[i] = silhouette_of(own * (cluster_weights[label] / rest), other)


@singledispatch
def simplified_silhouettes(
    rows: AnyRows, labels: Labels, transposed: Array, silhouettes: Array
) -> None:
    """Compare the distance to the own center with that to the nearest of the others.

    Parameters
    ----------
    rows : ndarray of shape (r, d), float32 or float64, C order, finite
    labels : ndarray of shape (r,), int32
    transposed : ndarray of shape (d, k), float64
        The centers, k > 1.
    silhouettes : ndarray of shape (r,), float64; overwritten
    """
    _simplified_silhouettes(rows, labels, transposed, silhouettes)


@singledispatch
def squared_silhouettes(
    rows: AnyRows,
    labels: Labels,
    weights: Array,
    transposed: Array,
    variances: Array,
    cluster_weights: Array,
    silhouettes: Array,
) -> None:
    """Compare mean squared distances to the other rows of the cluster and to the next cluster's.

    Parameters
    ----------
    rows, labels, transposed, silhouettes : see `simplified_silhouettes`
        The centers are the means of the clusters.
    weights : ndarray of shape (r,) or (1,), float64
        One weight stands for all rows.
    variances : ndarray of shape (k,), float64
        Mean squared distance of each cluster's rows to its mean.
    cluster_weights : ndarray of shape (k,), float64
    """
    _squared_silhouettes(rows, labels, weights, transposed, variances, cluster_weights, silhouettes)
