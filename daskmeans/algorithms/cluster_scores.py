"""The formulas of metrics that come from the means and spreads of clusters."""

from __future__ import annotations

import numpy as np

from daskmeans.algorithms.judging import Judged
from daskmeans.typing import Array


def davies_bouldin(judged: Judged) -> float:
    """Return the Davies-Bouldin index as scikit-learn defines it; lower is better."""
    means = judged.summed.means
    if means is None or not judged.defined:
        return np.nan
    spreads = judged.distances / means.weights
    # Row by row: all pairs at once would need k * k * d numbers.
    gaps = np.array(
        [np.sqrt(((means.offsets - offset) ** 2).sum(axis=1)) for offset in means.offsets]
    )
    if np.allclose(spreads, 0) or np.allclose(gaps, 0):
        return 0.0
    gaps[gaps == 0] = np.inf
    worst = ((spreads[:, None] + spreads) / gaps).max(axis=1)
    return float(worst.mean())


def calinski_harabasz(judged: Judged) -> float:
    """Return the variance ratio as scikit-learn defines it; higher is better."""
    means = judged.summed.means
    if means is None or not judged.defined:
        return np.nan
    total = means.weights.sum()
    middle = (means.weights[:, None] * means.offsets).sum(axis=0) / total
    between = (means.weights * ((means.offsets - middle) ** 2).sum(axis=1)).sum()
    within = judged.squares.sum()
    if within == 0:
        return 1.0
    m = len(means.weights)
    return float(between * (total - m) / (within * (m - 1)))


def sizes(judged: Judged) -> Array:
    """Return the weight of each cluster, of shape (k,): its rows, where none were given."""
    return judged.summed.weights


def spreads(judged: Judged) -> Array:
    """Return the root mean squared distance of each cluster's rows to their mean, (k,); NaN for
    clusters without rows.
    """
    summed = judged.summed
    found = np.full(len(summed.counts), np.nan)
    if summed.means is not None:
        found[summed.counts > 0] = np.sqrt(judged.squares / summed.means.weights)
    return found
