"""Lloyd's iterations over passes, for several sets of initial centers at once.

Lloyd, "Least squares quantization in PCM", 1982; with scikit-learn's stopping rules, its way of
counting iterations and its relocation of empty clusters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from daskmeans.algorithms.assignment import CenterSet
from daskmeans.algorithms.survey import Run, Surveyed
from daskmeans.blocks.block import Block, not_finite
from daskmeans.errors import RowsError
from daskmeans.kernels.lloyd import CLEAN, NOT_FINITE, lloyd_block, sum_block
from daskmeans.partials import ClusterSums, KeyedRows
from daskmeans.passes.events import IterationEnded, tell
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array


@dataclass(frozen=True)
class LloydParameters:
    """What a block has to know for a Lloyd step.

    Attributes
    ----------
    center_sets : tuple of CenterSet
    shift, scale : ndarrays of shape (s,), float64
        See `kernels.quantised_sums.add_rows`.
    unweighted_sums : bool
        Append sums of all rows without their weights to the result.
    weight_exponent : int
        Weights are divided by 2 to this power, which leaves none above 1.
    """

    center_sets: tuple[CenterSet, ...]
    shift: Array
    scale: Array
    unweighted_sums: bool
    weight_exponent: int


def lloyd_chunk(block: Block, parameters: LloydParameters) -> ClusterSums:
    """Sum the rows of a block by nearest center, for each set of centers."""
    width = len(parameters.shift)
    all_sums = []
    for centers in parameters.center_sets:
        sums = np.zeros((len(centers.centers), width), np.int64)
        for part, rows, weights in block.tiles():
            weights = np.ldexp(weights, -parameters.weight_exponent)
            status, row = lloyd_block(
                rows, weights, centers.packed_for(rows), parameters.shift, parameters.scale, sums
            )
            if status == NOT_FINITE:
                raise not_finite(block, part.start + row)
            if status != CLEAN:
                raise _changed(block)
        all_sums.append(sums)
    if parameters.unweighted_sums:
        sums = np.zeros((1, width), np.int64)
        one = np.ones(1)
        for _, rows, _ in block.tiles():
            if sum_block(rows, one, parameters.shift, parameters.scale, sums) != CLEAN:
                raise _changed(block)
        all_sums.append(sums)
    return ClusterSums(tuple(all_sums))


def _changed(block: Block) -> RowsError:
    return RowsError(
        f"Block {block.number} of X holds values outside of the range that the first pass found: "
        "the data changed while they were being clustered. Every read has to give the same rows."
    )


@dataclass(frozen=True)
class FarthestParameters:
    """What a block has to know to find its farthest rows: how many, from which centers."""

    n_farthest: int
    centers: CenterSet


def farthest_chunk(block: Block, parameters: FarthestParameters) -> KeyedRows:
    """Find the rows of a block that are farthest from their nearest centers; weight 0 never is."""
    _, sq_distances = parameters.centers.label_and_measure(block)
    weights = block.row_weights()
    chosen = np.flatnonzero((sq_distances > 0) & (weights > 0))
    return KeyedRows.smallest(
        parameters.n_farthest,
        -sq_distances[chosen],
        block.first_row + chosen,
        block.rows[chosen],
        weights[chosen],
    )


@dataclass(frozen=True)
class IterationRecord:
    """One Lloyd iteration.

    Attributes
    ----------
    inertia : float
        Weighted sum of squared distances of the rows to the new centers of their clusters.
    center_shift : float
        Sum over the clusters of the squared distance between old and new center.
    seconds : float
    n_relocated : int
        Empty clusters moved to far rows.
    """

    inertia: float
    center_shift: float
    seconds: float
    n_relocated: int


@dataclass
class LloydResult:
    """Where one set of initial centers led.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
    n_iter : int
    reason : str
        Why it stopped: "center shift zero", "tolerance" or "max_iter".
    history : list of IterationRecord
    """

    centers: Array
    n_iter: int = 0
    reason: str = "max_iter"
    history: list[IterationRecord] = field(default_factory=list)


def lloyd(
    run: Run, surveyed: Surveyed, initial: Sequence[Array], *, max_iter: int, tol: float
) -> list[LloydResult]:
    """Iterate from each set of initial centers until it stops moving; all share every pass.

    Parameters
    ----------
    run : function (Pass) -> Partial
    surveyed : Surveyed
    initial : sequence of ndarrays of shape (k, d)
    max_iter : int
    tol : float
        A run stops once the sum of the squared center shifts is at most `tol` times the mean
        variance of the features.

    Returns
    -------
    list of LloydResult
    """
    results = [LloydResult(np.asarray(centers, dtype=np.float64)) for centers in initial]
    running = list(results)
    limit: float | None = None
    for iteration in range(1, max_iter + 1):
        started = time.perf_counter()
        sets = tuple(
            CenterSet.make(result.centers, surveyed.shift, run.source.dtype) for result in running
        )
        # The tolerance is in units of the variance of the rows without their weights.
        unweighted_sums = limit is None and surveyed.weighted
        found = run(
            Pass(
                "kmeans-assign",
                lloyd_chunk,
                LloydParameters(
                    sets,
                    surveyed.quantised_shift,
                    surveyed.scale,
                    unweighted_sums,
                    surveyed.weight_exponent,
                ),
            )
        ).sums
        if limit is None:
            limit = tol * _mean_variance(surveyed, found[-1] if unweighted_sums else found[0])
        for result, centers, sums in zip(running, sets, found, strict=False):
            n_relocated = _relocate_empty(run, surveyed, centers, sums)
            new_centers, inertia = _means(surveyed, sums)
            shift = float(((new_centers - centers.centers) ** 2).sum())
            seconds = time.perf_counter() - started
            result.history.append(IterationRecord(inertia, shift, seconds, n_relocated))
            result.centers, result.n_iter = new_centers, iteration
            if shift == 0.0:
                result.reason = "center shift zero"
            elif shift <= limit:
                result.reason = "tolerance"
        best = min(running, key=lambda result: result.history[-1].inertia).history[-1]
        running = [result for result in running if result.reason == "max_iter"]
        tell(IterationEnded(iteration, best.inertia, best.center_shift, len(running)))
        if not running:
            break
    return results


def _dequantised(surveyed: Surveyed, sums: Array) -> tuple[Array, Array, Array]:
    """Return sums of shifted rows (k, d), weights (k,) and sums of squares (k,) in float64."""
    d, scale = surveyed.n_features, surveyed.scale
    return (
        sums[:, :d] / scale[:d],
        sums[:, -1] / scale[-1],
        sums[:, -2] / scale[-2],
    )


def _means(surveyed: Surveyed, sums: Array) -> tuple[Array, float]:
    """Return the new centers and their inertia, sum_k Q_k - |S_k|^2 / N_k.

    A cluster without weight, for which no row was left either, joins the heaviest one, as in
    scikit-learn: its center is never the origin.
    """
    totals, weights, squares = _dequantised(surveyed, sums)
    full = sums[:, -1] > 0
    means = np.zeros_like(totals)
    means[full] = totals[full] / weights[full, None]
    inertia = float((squares - (means**2).sum(axis=1) * weights).sum())
    means[~full] = means[np.argmax(sums[:, -1])]
    return surveyed.shift + means, float(np.ldexp(max(inertia, 0.0), surveyed.weight_exponent))


def _mean_variance(surveyed: Surveyed, sums: Array) -> float:
    """Return the mean over the features of the variance, from unweighted sums of all clusters."""
    totals, _, squares = _dequantised(surveyed, sums.sum(axis=0, keepdims=True))
    n, d = surveyed.n_rows, surveyed.n_features
    return max(float(squares[0] / n - ((totals[0] / n) ** 2).sum()) / d, 0.0)


def _relocate_empty(run: Run, surveyed: Surveyed, centers: CenterSet, sums: Array) -> int:
    """Give each empty cluster one of the farthest rows, taken from the row's cluster; in place.

    scikit-learn's rule, with ties by row number. Returns how many clusters were given a row: none
    if every row lies on its center.
    """
    empty = np.flatnonzero(sums[:, -1] == 0)
    if not empty.size:
        return 0
    far = run(Pass("kmeans-farthest", farthest_chunk, FarthestParameters(int(empty.size), centers)))
    labels = centers.label(Block(0, None, far.rows, None))
    moved = empty[: len(labels)]
    for i, cluster in enumerate(moved):
        row = np.zeros((1, sums.shape[1]), np.int64)
        weight = np.ldexp(far.weights[i : i + 1], -surveyed.weight_exponent)
        for _, rows, weights in Block(0, None, far.rows[i : i + 1], weight).tiles():
            sum_block(rows, weights, surveyed.quantised_shift, surveyed.scale, row)
        sums[labels[i]] -= row[0]
        sums[cluster] = row[0]
    return len(moved)
