"""A batch of rows against centers: the sums of its clusters, to the bit in any chunking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmeans.algorithms.assignment import Assignment, CenterSet, assign, model_shift
from daskmeans.algorithms.survey import (
    Quantisation,
    RunPass,
    SurveyParameters,
    ranges_chunk,
    ranges_quantisation,
    sample_of,
)
from daskmeans.blocks.block import Block
from daskmeans.errors import RowsError
from daskmeans.kernels.distances import add_terms
from daskmeans.kernels.exact_sum import rounded
from daskmeans.partials import BatchSums, KeyedRows, PartialT, no_cost
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array, Rows, Weights


@dataclass(frozen=True)
class InHand:
    """Runs passes over a batch that is one array, in this thread.

    Attributes
    ----------
    block : Block
    feature_names : tuple of str, or None
    """

    block: Block
    feature_names: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls, rows: Rows, weights: Weights | None, feature_names: tuple[str, ...] | None = None
    ) -> InHand:
        return cls(Block(0, 0, rows, weights), feature_names)

    def __call__(self, step: Pass[PartialT]) -> PartialT:
        return step.chunk(self.block, step.parameters)


@dataclass(frozen=True)
class BatchParameters:
    """What a block has to know to sum its rows: the centers, and how rows become integers."""

    centers: CenterSet
    quantisation: Quantisation


def batch_chunk(block: Block, parameters: BatchParameters) -> BatchSums:
    """Sum the rows of a block by nearest center, and what they cost."""
    centers = parameters.centers
    assigned = assign(block, Assignment(centers), parameters.quantisation)
    terms = centers.measure(block, assigned.labels)
    if block.weights is not None:
        terms *= block.weights
    cost = no_cost()
    add_terms(cost, terms)
    return BatchSums(assigned.sums, cost)


@dataclass(frozen=True)
class SummedBatch:
    """A batch as an update of centers sees it.

    Attributes
    ----------
    n_rows : int
    weights : ndarray of shape (k,), float64
        Summed weight of each center's rows.
    means : ndarray of shape (k, d), float64
        Their means; the center itself where there are no rows.
    inertia : float
        Weighted sum of squared distances to the centers as they were.
    """

    n_rows: int
    weights: Array
    means: Array
    inertia: float

    @property
    def weight(self) -> float:
        return float(self.weights.sum())


def sum_batch(
    run: RunPass,
    centers: Array,
    dtype: np.dtype[Any],
    *,
    weighted: bool,
    feature_names: tuple[str, ...] | None = None,
) -> SummedBatch:
    """Assign the rows of a batch to their nearest centers and sum them, in two walks over it.

    Parameters
    ----------
    run : function (Pass) -> Partial
    centers : ndarray of shape (k, d), float64
    dtype : numpy dtype
        Of the rows.
    weighted : bool
    feature_names : tuple of str, optional
        For error messages.

    Raises
    ------
    RowsError
        If there are no rows, a row is not finite, or no weight is positive.
    """
    ranges = run(Pass("kmeans-ranges", ranges_chunk, feature_names, by_row_number=False))
    if ranges.n_rows == 0:
        raise RowsError(
            f"Found array with 0 sample(s) (shape=(0, {centers.shape[1]})) while a minimum of 1 is "
            "required: a batch needs rows."
        )
    shift = model_shift(centers)
    quantisation = ranges_quantisation(ranges, shift, weighted=weighted, names=feature_names)
    parameters = BatchParameters(CenterSet.make(centers, shift, dtype), quantisation)
    found = run(Pass("kmeans-batch", batch_chunk, parameters, by_row_number=False))
    d = centers.shape[1]
    sums = found.sums / quantisation.scale.clip(min=np.finfo(np.float64).tiny)
    weights = sums[:, -1]
    hit = weights > 0
    means = centers.copy()
    means[hit] = shift + sums[hit, :d] / weights[hit, None]
    return SummedBatch(
        ranges.n_rows,
        np.ldexp(weights, quantisation.weight_exponent),
        means,
        rounded(found.cost),
    )


def draw_rows(run: RunPass, n_rows: int, seed: int) -> Array:
    """Draw rows of a batch at random, by weight and without replacement: shape (<= n_rows, d)."""
    parameters = SurveyParameters(seed, n_rows, 2**64 - 1, keep_rows=True, feature_names=None)
    drawn: KeyedRows = run(Pass("kmeans-draw", sample_of, parameters))
    chosen = np.flatnonzero(np.isfinite(drawn.keys.astype(np.float64)))[:n_rows]
    return np.asarray(drawn.rows[chosen], dtype=np.float64)
