"""k-means by its definitions, slowly: what the package is compared with. NumPy and Python only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def sq_distances(rows, centers):
    """Squared distance of each row to each center, float64, summed feature by feature: (n, k)."""
    rows, centers = np.asarray(rows, np.float64), np.asarray(centers, np.float64)
    total = np.zeros((len(rows), len(centers)))
    for f in range(rows.shape[1]):
        total += (rows[:, f, None] - centers[None, :, f]) ** 2
    return total


def labels(rows, centers):
    """Index of the nearest center of each row; the lowest on a tie, as argmin has it."""
    return np.argmin(sq_distances(rows, centers), axis=1).astype(np.int32)


def inertia(rows, centers, weights=None):
    """Weighted sum of the squared distances to the nearest centers, rounded once."""
    nearest = sq_distances(rows, centers).min(axis=1)
    if weights is not None:
        nearest = nearest * np.asarray(weights, np.float64)
    return math.fsum(nearest)


@dataclass
class Fit:
    """What `lloyd` returns."""

    centers: np.ndarray
    labels: np.ndarray
    inertia: float
    n_iter: int


def lloyd(rows, initial, weights=None, *, max_iter=300, tol=1e-4):
    """Lloyd's iterations with scikit-learn's stopping rules and its relocation of empty clusters.

    Of equally far rows the first ones are taken, where scikit-learn leaves the choice open; an
    empty cluster that gets no row goes to the largest cluster's center, as there.
    """
    rows = np.asarray(rows, np.float64)
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    centers = np.array(initial, np.float64)
    limit = tol * rows.var(axis=0).mean()
    before = None
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        found = labels(rows, centers)
        new_centers = _means(rows, weights, centers, found)
        shift = ((new_centers - centers) ** 2).sum()
        centers = new_centers
        if (before is not None and np.array_equal(found, before)) or shift <= limit:
            break
        before = found
    return Fit(centers, labels(rows, centers), inertia(rows, centers, weights), n_iter)


def _means(rows, weights, centers, found):
    k = len(centers)
    cluster = found.copy()
    total = np.bincount(found, weights, minlength=k)
    empty = np.flatnonzero(total == 0)
    nearest = sq_distances(rows, centers)[np.arange(len(rows)), found]
    if empty.size and nearest.max() > 0:
        farthest = np.argsort(-nearest, kind="stable")
        farthest = [i for i in farthest if weights[i] > 0 and nearest[i] > 0]
        for to, i in zip(empty, farthest, strict=False):
            cluster[i] = to
    total = np.array([math.fsum(weights[cluster == j]) for j in range(k)])
    means = np.empty_like(centers)
    for j in np.flatnonzero(total > 0):
        mine = cluster == j
        for f in range(rows.shape[1]):
            means[j, f] = math.fsum(weights[mine] * rows[mine, f]) / total[j]
    means[total == 0] = means[np.argmax(total)]
    return means


def directions(rows):
    """Rows divided by their lengths, in float64."""
    rows = np.asarray(rows, np.float64)
    return np.array([row / math.hypot(*row) for row in rows]).reshape(rows.shape)


def spherical_lloyd(rows, initial, weights=None, *, max_iter=300, tol=1e-4):
    """Lloyd's iterations by cosine distances; centers are directions of summed directions.

    No cluster may lose all of its rows.
    """
    rows, centers = directions(rows), directions(initial)
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    limit = tol * rows.var(axis=0).mean()
    costs = []
    while len(costs) < max_iter:
        found = np.argmax(rows @ centers.T, axis=1)
        sums = [
            [math.fsum(weights[found == j] * column[found == j]) for column in rows.T]
            for j in range(len(centers))
        ]
        new_centers = directions(sums)
        shift = ((new_centers - centers) ** 2).sum()
        centers = new_centers
        costs.append(math.fsum(weights * (1 - (rows * centers[found]).sum(axis=1))))
        if shift <= limit:
            break
    cosines = rows @ centers.T
    cost = math.fsum(weights * (1 - cosines.max(axis=1)))
    return Fit(centers, np.argmax(cosines, axis=1), cost, len(costs)), costs


def quantised_sums(rows, weights, found, n_clusters, shift, scale):
    """Cluster sums of quantised rows in Python integers; see `kernels.quantised_sums.add_rows`."""
    n, d = rows.shape
    width = len(scale)
    weights = np.broadcast_to(np.asarray(weights, np.float64), (n,))
    sums = [[0] * width for _ in range(n_clusters)]
    for i in range(n):
        y = np.zeros(width)
        y[:d] = rows[i].astype(np.float64) - shift[:d]
        terms = weights[i] * y
        terms[-2] = weights[i] * _sq_norm(y)
        terms[-1] = weights[i]
        # Powers of two scale exactly, so each number is rounded once, half to even.
        for f, value in enumerate(terms * scale):
            sums[found[i]][f] += int(np.rint(value))
    return sums


def _sq_norm(y):
    """Sum of squares in the kernel's order: eight running sums, then halved three times."""
    squares = np.zeros(8)
    for start in range(0, len(y), 8):
        squares += y[start : start + 8] * y[start : start + 8]
    while len(squares) > 1:
        squares = squares[: len(squares) // 2] + squares[len(squares) // 2 :]
    return squares[0]


def philox4x32(counter, key):
    """The ten rounds of Philox4x32 on Python integers; counter (4,), key (2,)."""
    mask = 0xFFFFFFFF
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & mask, (p0 >> 32) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c
