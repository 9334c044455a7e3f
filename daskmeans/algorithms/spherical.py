"""Cosine distances: centers of length 1 among rows of length 1.

Half of the squared distance between two points of length 1 is their cosine distance, 1 less the
cosine of the angle between them. So all passes stay as they are, and what is left is to bring each
mean back to length 1, which makes it the center of least cost, and to halve what rows cost. Dhillon
and Modha, "Concept decompositions for large sparse text data using clustering", Machine Learning
42, 2001; as in Spark's `CosineDistanceMeasure`.
"""

from __future__ import annotations

import numpy as np

from daskmeans.kernels.directions import divide_by_lengths
from daskmeans.typing import Array, Metric

# A mean of rows of length 1 that is shorter is what float32 rows leave of a sum that is zero.
_SHORTEST = 1e-7


def unit_centers(centers: Array) -> Array:
    """Return centers, of shape (k, d), divided by their lengths, in float64.

    Raises
    ------
    ValueError
        If one is zero.
    """
    directions = np.empty(centers.shape)
    zero = divide_by_lengths(np.ascontiguousarray(centers, dtype=np.float64), directions)
    if zero >= 0:
        raise ValueError(
            f"All values of initial center {zero} are zero: it has no direction, and cosine "
            "distances to it are not defined."
        )
    return directions


def directions_of_means(means: Array, before: Array) -> Array:
    """Return the directions of means of rows; where rows cancel out, the center that was there.

    To rows that cancel out all centers of length 1 are equally far on average.

    Parameters
    ----------
    means : ndarray of shape (k, d), float64
    before : ndarray of shape (k, d), float64
        Centers of length 1.
    """
    cancelled = (means**2).sum(axis=1) < _SHORTEST**2
    directions = unit_centers(np.where(cancelled[:, None], before, means))
    directions[cancelled] = before[cancelled]
    return directions


def inertia_by(metric: Metric, sq_distances: float) -> float:
    """Return the inertia, given the weighted sum of squared distances of rows to their centers."""
    return sq_distances / 2 if metric == "cosine" else sq_distances
