"""Silhouettes of rows by their clusters' means instead of by all other rows."""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.assign import sq_distances_by_definition
from daskmeans.kernels.compile import inlined, kernel


@inlined
def _silhouette(own, other):
    """Return (b - a) / max(a, b) for the distance a to the own cluster, b to the next one."""
    larger = max(own, other)
    return (other - own) / larger if larger > 0.0 else 0.0


@inlined
def _own_and_next(distances, label):
    """Return the distance to the cluster of a label, and to the nearest of the others."""
    other = np.inf
    for j in range(distances.size):
        if j != label and distances[j] < other:
            other = distances[j]
    return distances[label], other


@kernel
def simplified_silhouettes(
    rows,  # IN  (r, d) float32 or float64, C order, finite
    labels,  # IN  (r,) int32
    transposed,  # IN  (d, k) float64 centers, k > 1
    silhouettes,  # OUT (r,) float64
):
    """Compare the distance to the own center with that to the nearest of the others."""
    # One row's k running sums stay in the first-level cache.
    squares = np.empty(transposed.shape[1], np.float64)
    for i in range(rows.shape[0]):
        sq_distances_by_definition(rows, i, transposed, squares)
        own, other = _own_and_next(squares, labels[i])
        silhouettes[i] = _silhouette(np.sqrt(own), np.sqrt(other))


@kernel
def squared_silhouettes(
    rows,  # IN  (r, d) float32 or float64, C order, finite
    labels,  # IN  (r,) int32
    weights,  # IN  (r,) float64, or (1,) for one weight
    transposed,  # IN  (d, k) float64 means of the clusters, k > 1
    variances,  # IN  (k,) float64 mean squared distance of each cluster's rows to its mean
    cluster_weights,  # IN  (k,) float64
    silhouettes,  # OUT (r,) float64
):
    """Compare mean squared distances to the other rows of the cluster and to the next cluster's."""
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
        own, other = _own_and_next(squares, label)
        # The row's distance to itself, 0, is in the cluster's mean and does not count.
        silhouettes[i] = _silhouette(own * (cluster_weights[label] / rest), other)
