"""A batch of rows against centers: the sums of its clusters, to the bit in any chunking."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from daskmeans.algorithms.assignment import Assignment, CenterSet, model_shift
from daskmeans.algorithms.lloyd import LloydParameters, lloyd_chunk
from daskmeans.algorithms.survey import (
    RunPass,
    SurveyParameters,
    ranges_chunk,
    ranges_quantisation,
    sample_of,
)
from daskmeans.blocks.block import Block
from daskmeans.errors import RowsError
from daskmeans.kernels.csr import AnyRows, as_dense
from daskmeans.kernels.csr_sums import as_sums
from daskmeans.partials import KeyedRows, PartialT, Ranges
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array, Weights


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
        cls, rows: AnyRows, weights: Weights | None, feature_names: tuple[str, ...] | None = None
    ) -> InHand:
        return cls(Block(0, 0, rows, weights), feature_names)

    def __call__(self, step: Pass[PartialT]) -> PartialT:
        return step.chunk(self.block, step.parameters)


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
    *,
    weighted: bool,
    feature_names: tuple[str, ...] | None = None,
    ranges: Ranges | None = None,
) -> SummedBatch:
    """Assign the rows of a batch to their nearest centers and sum them, in two walks at most.

    Parameters
    ----------
    run : function (Pass) -> Partial
    centers : ndarray of shape (k, d), float64
    weighted : bool
    feature_names : tuple of str, optional
        For error messages.
    ranges : Ranges, optional
        Of these rows, where they are known: one walk is enough then.

    Raises
    ------
    RowsError
        If there are no rows, a row is not finite, or no weight is positive.
    """
    if ranges is None:
        ranges = run(Pass("kmeans-ranges", ranges_chunk, feature_names, by_row_number=False))
    if ranges.n_rows == 0:
        raise RowsError(
            f"Found array with 0 sample(s) (shape=(0, {centers.shape[1]})) while a minimum of 1 is "
            "required: a batch needs rows."
        )
    shift = np.zeros(centers.shape[1]) if ranges.sparse else model_shift(centers)
    quantisation = ranges_quantisation(ranges, shift, weighted=weighted, names=feature_names)
    assignment = Assignment(CenterSet.make(centers, shift))
    parameters = LloydParameters((assignment,), quantisation)
    found = run(Pass("kmeans-batch", lloyd_chunk, parameters, by_row_number=False))
    sums, scale, d = as_sums(found.sums[0]), quantisation.scale, centers.shape[1]
    weights, squares = sums[:, -1] / scale[-1], sums[:, -2] / scale[-2]
    hit = sums[:, -1] > 0
    totals = sums[hit, :d] / scale[:d]
    offsets = totals / weights[hit, None]
    means = centers.copy()
    means[hit] = shift + offsets
    # Rows are farther from any point than from their mean by the point's distance to the mean, all
    # squared.
    within = float((squares[hit] - (offsets * totals).sum(axis=1)).sum())
    moved = float(weights @ ((means - centers) ** 2).sum(axis=1))
    exponent = int(quantisation.weight_exponent)
    return SummedBatch(
        ranges.n_rows,
        np.ldexp(weights, exponent),
        means,
        math.ldexp(max(within, 0.0) + moved, exponent),
    )


def draw_rows(run: RunPass, n_rows: int, seed: int) -> Array:
    """Draw rows of a batch at random, by weight and without replacement: shape (<= n_rows, d)."""
    parameters = SurveyParameters(seed, n_rows, 2**64 - 1, keep_rows=True, feature_names=None)
    drawn: KeyedRows = run(Pass("kmeans-draw", sample_of, parameters))
    chosen = np.flatnonzero(np.isfinite(drawn.keys.astype(np.float64)))[:n_rows]
    return as_dense(drawn.rows[chosen])
