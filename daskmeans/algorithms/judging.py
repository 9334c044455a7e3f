"""The sums that metrics of clusterings are made of, for many clusterings in the same passes.

The first pass sums the rows of each cluster and measures them to the model's centers, the second
measures them to the means that came out of the first. A row's terms depend on the row alone and are
summed exactly or as integers, so no chunking shows in a metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from daskmeans.algorithms.cluster_means import Means, Summed, sum_clusters
from daskmeans.algorithms.labelled import (
    Clustering,
    add_signed,
    add_simplified,
    directions_of,
    mean_of,
)
from daskmeans.algorithms.survey import Quantisation, Run, Surveyed, quantising_scale
from daskmeans.blocks.block import Block
from daskmeans.kernels.csr import AnyRows
from daskmeans.kernels.distances import sq_distances_to_own
from daskmeans.kernels.exact_sum import DIGITS, add_terms_of_each, rounded
from daskmeans.kernels.lloyd import sums_width
from daskmeans.kernels.silhouettes import squared_silhouettes
from daskmeans.partials import MetricSums
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array, Labels


@dataclass(frozen=True)
class Wanted:
    """Which sums are wanted: each costs time, and only `to_centers` comes without a second pass."""

    to_centers: bool = False
    spreads: bool = False
    simplified: bool = False
    squared: bool = False
    cosine: bool = False

    @property
    def means_of_rows(self) -> bool:
        return self.spreads or self.simplified or self.squared


@dataclass(frozen=True)
class Judged:
    """What the passes tell of one clustering.

    Attributes
    ----------
    summed : Summed
    distances, squares : ndarrays of shape (m,), float64
        Sums of the distances, and of the squared distances, of each cluster's rows to its mean.
    simplified, squared, cosine : float
        Mean silhouettes; NaN where there are not from 2 clusters to one fewer than rows.
    """

    summed: Summed
    distances: Array = field(default_factory=lambda: np.empty(0))
    squares: Array = field(default_factory=lambda: np.empty(0))
    simplified: float = np.nan
    squared: float = np.nan
    cosine: float = np.nan

    @property
    def defined(self) -> bool:
        """Whether there are from 2 clusters to one fewer than rows."""
        counts = self.summed.counts
        return bool(1 < (counts > 0).sum() < counts.sum())


@dataclass(frozen=True)
class SpreadParameters:
    """What a block has to know for the second pass; silhouettes only where they are defined."""

    clusterings: tuple[Clustering, ...]
    means: tuple[Means | None, ...]
    directions: tuple[Means | None, ...]
    defined: tuple[bool, ...]
    wanted: Wanted


def spread_chunk(block: Block, parameters: SpreadParameters) -> MetricSums:
    """Yield for each clustering distances and squares by cluster, and three sums of silhouettes."""
    digits: list[Array] = []
    wanted = parameters.wanted
    for clustering, means, directions, defined in zip(
        parameters.clusterings,
        parameters.means,
        parameters.directions,
        parameters.defined,
        strict=True,
    ):
        rows, labels = clustering.apart(block)
        m = 0 if means is None else len(means.centers)
        distances, squares = (np.zeros((m, DIGITS), np.int64) for _ in range(2))
        simplified, squared, cosine = (np.zeros((2, DIGITS), np.int64) for _ in range(3))
        for part, tile, weights in rows.tiles():
            if means is not None:
                # Clusters without rows come up only with rows of weight 0, which add nothing.
                own = means.position[labels[part]]
                if wanted.spreads:
                    terms = sq_distances_to_own(tile, own, means.centers)
                    add_terms_of_each(squares, own, terms * weights)
                    add_terms_of_each(distances, own, np.sqrt(terms) * weights)
                if wanted.simplified and defined:
                    transposed = np.ascontiguousarray(means.centers.T)
                    add_simplified(simplified, tile, own, weights, transposed)
                if wanted.squared and defined:
                    _add_squared(squared, tile, own, weights, means)
            if directions is not None and defined:
                own = directions.position[labels[part]]
                _add_squared(
                    cosine, directions_of(rows, part.start, tile), own, weights, directions
                )
        digits += [distances, squares, simplified, squared, cosine]
    return MetricSums((), tuple(digits))


def _add_squared(
    digits: Array, tile: AnyRows, labels: Labels, weights: Array, means: Means
) -> None:
    silhouettes = np.empty(len(tile))
    transposed = np.ascontiguousarray(means.centers.T)
    squared_silhouettes(
        tile,
        labels,
        weights,
        transposed,
        means.variances,
        means.weights,
        silhouettes,
    )
    add_signed(digits, silhouettes * weights)


def judge(
    run: Run, clusterings: Sequence[Clustering], wanted: Wanted, surveyed: Surveyed | None
) -> list[Judged]:
    """Return what the wanted sums tell of each clustering, in at most two passes.

    Parameters
    ----------
    run : function (Pass) -> Partial
    clusterings : sequence of Clustering
    wanted : Wanted
    surveyed : Surveyed or None
        Of the rows without labels. Needed for all that takes means.
    """
    rows = directions = None
    if surveyed is not None and wanted.means_of_rows:
        rows = surveyed.quantisation
    if surveyed is not None and wanted.cosine:
        directions = _of_directions(surveyed)
    summed = sum_clusters(
        run, clusterings, rows=rows, directions=directions, to_centers=wanted.to_centers
    )
    found = [Judged(each) for each in summed]
    if rows is None and directions is None:
        return found
    parameters = SpreadParameters(
        tuple(clusterings),
        tuple(each.means for each in summed),
        tuple(each.directions for each in summed),
        tuple(each.defined for each in found),
        wanted,
    )
    sums = run(Pass("kmeans-metric-spreads", spread_chunk, parameters, by_row_number=False))
    for i, judged in enumerate(found):
        distances, squares, *signed = sums.digits[5 * i : 5 * i + 5]
        total = judged.summed.weights.sum()
        silhouettes = [mean_of(each, total) if judged.defined else np.nan for each in signed]
        found[i] = Judged(
            judged.summed,
            np.array([rounded(each) for each in distances]),
            np.array([rounded(each) for each in squares]),
            *silhouettes,
        )
    return found


def _of_directions(surveyed: Surveyed) -> Quantisation:
    """Return the quantisation of rows of length 1."""
    d = surveyed.n_features
    scale = quantising_scale(np.ones(d), surveyed.n_rows)
    return Quantisation(np.zeros(sums_width(d)), scale, surveyed.quantisation.weight_exponent)
