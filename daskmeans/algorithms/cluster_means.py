"""The means of clusters, and what rows cost to the model's centers, for clusterings in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from daskmeans.algorithms.assignment import changed_rows
from daskmeans.algorithms.labelled import Clustering, add_simplified, directions_of, mean_of
from daskmeans.algorithms.survey import Quantisation, Run
from daskmeans.blocks.block import Block
from daskmeans.kernels.distances import sq_distances_to_own
from daskmeans.kernels.exact_sum import DIGITS, add_terms, add_terms_of_each, rounded
from daskmeans.kernels.labelled_sums import sum_labelled
from daskmeans.kernels.lloyd import CLEAN
from daskmeans.partials import MetricSums
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array, Labels


@dataclass(frozen=True)
class MeansParameters:
    """What a block has to know for the first pass."""

    clusterings: tuple[Clustering, ...]
    quantisation: Quantisation | None
    directions: Quantisation | None
    to_centers: bool


def means_chunk(block: Block, parameters: MeansParameters) -> MetricSums:
    """Yield for each clustering counts and two sums of rows; weights, inertia and silhouettes."""
    integers: list[Array] = []
    digits: list[Array] = []
    for clustering in parameters.clusterings:
        rows, labels = clustering.apart(block)
        k = clustering.n_clusters
        if block.weights is None:
            counts, weights = np.bincount(labels, minlength=k), np.zeros((0, DIGITS), np.int64)
        else:
            counts = np.bincount(labels[block.weights > 0], minlength=k)
            weights = np.zeros((k, DIGITS), np.int64)
            add_terms_of_each(weights, labels, block.weights)
        integers += [
            counts,
            _sums(rows, labels, k, parameters.quantisation, normalise=False),
            _sums(rows, labels, k, parameters.directions, normalise=True),
        ]
        cost, silhouettes = np.zeros((1, DIGITS), np.int64), np.zeros((2, DIGITS), np.int64)
        if parameters.to_centers and clustering.centers is not None:
            transposed = np.ascontiguousarray(clustering.centers.centers.T)
            for part, tile, tile_weights in rows.tiles():
                own = labels[part]
                terms = sq_distances_to_own(tile, own, clustering.centers.centers)
                add_terms(cost[0], terms * tile_weights)
                if k > 1:
                    add_simplified(silhouettes, tile, own, tile_weights, transposed)
        digits += [weights, cost, silhouettes]
    return MetricSums(tuple(integers), tuple(digits))


def _sums(
    rows: Block, labels: Labels, k: int, quantisation: Quantisation | None, *, normalise: bool
) -> Array:
    """Return quantised sums of the rows, or of their directions, by label."""
    if quantisation is None:
        return np.zeros((0, 0), np.int64)
    sums = np.zeros((k, len(quantisation.shift)), np.int64)
    for part, tile, weights in rows.tiles():
        added = directions_of(rows, part.start, tile) if normalise else tile
        weights = np.ldexp(weights, -quantisation.weight_exponent)
        shift, scale = quantisation.shift, quantisation.scale
        if sum_labelled(added, labels[part], weights, shift, scale, sums) != CLEAN:
            raise changed_rows(rows)
    return sums


@dataclass(frozen=True)
class Means:
    """The clusters that have rows, by their means.

    Attributes
    ----------
    position : ndarray of shape (k,), int32
        Of each cluster among those that have rows.
    shift : ndarray of shape (d,), float64
    offsets : ndarray of shape (m, d), float64
        Means less the shift, which keeps their digits.
    variances : ndarray of shape (m,), float64
        Mean squared distance of each cluster's rows to its mean.
    weights : ndarray of shape (m,), float64
    """

    position: Array
    shift: Array
    offsets: Array
    variances: Array
    weights: Array

    @property
    def centers(self) -> Array:
        """The means, of shape (m, d)."""
        centers: Array = self.shift + self.offsets
        return centers


@dataclass(frozen=True)
class Summed:
    """What the pass tells of one clustering.

    Attributes
    ----------
    counts : ndarray of shape (k,), int64
        Rows of each cluster, without those of weight 0.
    weights : ndarray of shape (k,), float64
    inertia, to_centers : float
        Cost, and mean simplified silhouette, to the model's centers; NaN where not asked for.
    means, directions : Means or None
        Of the rows, and of the rows divided by their lengths.
    """

    counts: Array
    weights: Array
    inertia: float
    to_centers: float
    means: Means | None
    directions: Means | None


def sum_clusters(
    run: Run,
    clusterings: Sequence[Clustering],
    *,
    rows: Quantisation | None,
    directions: Quantisation | None,
    to_centers: bool,
) -> list[Summed]:
    """Sum the rows of each cluster of each clustering, in one pass.

    Parameters
    ----------
    run : function (Pass) -> Partial
    clusterings : sequence of Clustering
    rows, directions : Quantisation or None
        Of the rows, and of the rows divided by their lengths, where means of them are wanted.
    to_centers : bool
        Measure rows to the model's centers.
    """
    parameters = MeansParameters(tuple(clusterings), rows, directions, to_centers)
    sums = run(Pass("kmeans-metric-means", means_chunk, parameters, by_row_number=False))
    found = []
    for i, clustering in enumerate(clusterings):
        counts, of_rows, of_directions = sums.integers[3 * i : 3 * i + 3]
        weight_digits, cost, silhouettes = sums.digits[3 * i : 3 * i + 3]
        weights = counts.astype(np.float64)
        if run.source.weights is not None:
            weights = np.array([rounded(each) for each in weight_digits])
        d = run.source.n_features - (clustering.centers is None)
        several = to_centers and clustering.n_clusters > 1
        found.append(
            Summed(
                counts,
                weights,
                rounded(cost[0]) if to_centers else np.nan,
                mean_of(silhouettes, weights.sum()) if several else np.nan,
                _means(of_rows, rows, counts, weights, d),
                _means(of_directions, directions, counts, weights, d),
            )
        )
    return found


def _means(
    sums: Array, quantisation: Quantisation | None, counts: Array, weights: Array, d: int
) -> Means | None:
    """Return the means of the clusters that have rows, from their quantised sums."""
    if quantisation is None:
        return None
    full = counts > 0
    scale, sums = quantisation.scale, sums[full]
    quantised_weights = sums[:, -1] / scale[-1]
    offsets = sums[:, :d] / scale[:d] / quantised_weights[:, None]
    variances = sums[:, -2] / scale[-2] / quantised_weights - (offsets**2).sum(axis=1)
    position = np.zeros(len(counts), np.int32)
    position[full] = np.arange(full.sum())
    return Means(
        position, quantisation.shift[:d], offsets, np.maximum(variances, 0.0), weights[full]
    )
