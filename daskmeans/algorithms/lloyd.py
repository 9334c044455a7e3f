"""Lloyd's iterations over passes, for several sets of initial centers at once.

Lloyd, "Least squares quantization in PCM", 1982; with scikit-learn's stopping rules, its way of
counting iterations and its relocation of empty clusters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from daskmeans.algorithms.assignment import (
    Assignment,
    CenterSet,
    assign,
    changed_rows,
)
from daskmeans.algorithms.fit_state import LloydState
from daskmeans.algorithms.in_parts import by_clusters
from daskmeans.algorithms.restarts import (
    IterationRecord,
    LloydResult,
    Restart,
    make_restarts,
    still_ahead,
)
from daskmeans.algorithms.spherical import directions_of_means, inertia_by, unit_centers
from daskmeans.algorithms.stop_reasons import (
    CENTER_SHIFT_ZERO,
    MAX_PASSES,
    RELATIVE_TOLERANCE,
    TOLERANCE,
)
from daskmeans.algorithms.survey import Quantisation, Run, Surveyed
from daskmeans.algorithms.watch import Watch
from daskmeans.blocks.block import Block
from daskmeans.kernels.csr_sums import SumsOrRows, as_sums
from daskmeans.kernels.lloyd import CLEAN, sum_block, sums_bytes
from daskmeans.kernels.means import means_of_sums, sq_distances_between
from daskmeans.partials import ClusterSums, KeyedRows
from daskmeans.passes.events import IterationEnded, IterationStarted, tell
from daskmeans.passes.plan import Pass
from daskmeans.typing import Array


@dataclass(frozen=True)
class LloydParameters:
    """What a block has to know for a Lloyd step.

    Attributes
    ----------
    assignments : tuple of Assignment
    quantisation : Quantisation
    unweighted_sums : bool
        Append sums of all rows without their weights to the result.
    """

    assignments: tuple[Assignment, ...]
    quantisation: Quantisation
    unweighted_sums: bool = False


def lloyd_chunk(block: Block, parameters: LloydParameters) -> ClusterSums:
    """Sum the rows of a block by nearest center, for each set of centers."""
    quantisation = parameters.quantisation
    assigned = [assign(block, each, quantisation) for each in parameters.assignments]
    all_sums: list[SumsOrRows] = [each.sums for each in assigned]
    if parameters.unweighted_sums:
        sums = np.zeros((1, len(quantisation.shift)), np.int64)
        one = np.ones(1)
        for _, rows, _ in block.tiles():
            if sum_block(rows, one, quantisation.shift, quantisation.scale, sums) != CLEAN:
                raise changed_rows(block)
        all_sums.append(sums)
    return ClusterSums(
        tuple(all_sums),
        tuple(each.n_changed for each in assigned),
        tuple(each.n_distances for each in assigned),
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
class Converged:
    """All restarts at their ends.

    Attributes
    ----------
    results : list of LloydResult
    assignments : list of Assignment
        For each the assignment to its final centers, which is still to be made.
    interrupted : bool
        By Ctrl-C, which a `Watch` has caught.
    """

    results: list[LloydResult]
    assignments: list[Assignment]
    interrupted: bool


def lloyd(
    run: Run,
    surveyed: Surveyed,
    initial: Sequence[Array],
    fit: str,
    *,
    max_iter: int,
    tol: float,
    rtol: float = 0.0,
    max_passes: int | None = None,
    algorithm: str = "auto",
    lap: int | None = None,
    watch: Watch | None = None,
    resumed: LloydState | None = None,
) -> Converged:
    """Iterate from each set of initial centers until it stops moving; all share every pass.

    Parameters
    ----------
    run : function (Pass) -> Partial
    surveyed : Surveyed
    initial : sequence of ndarrays of shape (k, d)
        Not all of them have to have as many centers. For cosine distances they are divided by their
        lengths.
    fit : str
        Name under which rows are remembered between passes, see `blocks.row_state.new_fit`.
    max_iter : int
    tol : float
        A run stops once the sum of the squared center shifts is at most `tol` times the mean
        variance of the features.
    rtol : float
        A run stops once an iteration lowers the inertia by less than this share of it.
    max_passes : int, optional
        No iteration is begun if fewer than two passes would be left of so many, counted from the
        runner's first one: its own, and one for the assignment to the final centers.
    algorithm : {"auto", "lloyd", "elkan"}
        Whether bounds may leave out distances: not for "lloyd". The answer is the same.
    lap : int, optional
        Iterations after which, again and again, the slower half of the restarts with as many
        clusters is dropped. None drops none.
    watch : Watch, optional
        What may end iterations, Ctrl-C included, which is not caught without it.
    resumed : LloydState, optional
        Go on from there; `initial` are its centers.

    Returns
    -------
    Converged
    """
    starts = [np.asarray(centers, dtype=np.float64) for centers in initial]
    if surveyed.metric == "cosine":
        starts = [unit_centers(centers) for centers in starts]
    results = [LloydResult(centers) for centers in starts]
    restarts = make_restarts(run, surveyed, results, fit, algorithm)
    limit = None
    if resumed is not None:
        limit = resumed.limit
        for restart, state in zip(restarts, resumed.restarts, strict=True):
            restart.restore(state)
    iterations = _iterations(
        run,
        surveyed,
        restarts,
        limit,
        max_iter=max_iter,
        tol=tol,
        rtol=rtol,
        max_passes=max_passes,
        lap=lap,
    )
    interrupted = False
    if watch is not None:
        interrupted = watch.over(iterations, run, restarts, limit)
    else:
        for _ in iterations:
            pass
    return Converged(
        results,
        [restart.assignment(surveyed) for restart in restarts],
        interrupted,
    )


def _iterations(
    run: Run,
    surveyed: Surveyed,
    restarts: list[Restart],
    limit: float | None,
    *,
    max_iter: int,
    tol: float,
    rtol: float,
    max_passes: int | None,
    lap: int | None,
) -> Iterator[float]:
    """Make an iteration of all restarts that run, and yield the center shift at which they stop."""
    running = [restart for restart in restarts if restart.running]
    racing = list(restarts)
    quantisation = surveyed.quantisation
    done = max(restart.result.n_iter for restart in restarts)
    for iteration in range(done + 1, max_iter + 1):
        if not running:
            break
        if max_passes is not None and run.n_passes > max_passes - 2:
            for restart in running:
                restart.result.reason = MAX_PASSES
            break
        tell(IterationStarted(iteration, max_iter))
        started = time.perf_counter()
        n_passes, bytes_read = run.n_passes, run.bytes_read
        assignments = tuple(restart.assignment(surveyed) for restart in running)
        # The tolerance is in units of the variance of the rows without their weights.
        unweighted_sums = limit is None and surveyed.weighted
        found = run(
            Pass(
                "kmeans-assign",
                lloyd_chunk,
                LloydParameters(assignments, quantisation, unweighted_sums),
                by_row_number=False,
                partial_bytes=sum(
                    sums_bytes(len(each.centers.centers), surveyed.n_features)
                    for each in assignments
                ),
            )
        )
        all_sums = [
            restart.assigned_sums(each) for restart, each in zip(running, found.sums, strict=False)
        ]
        if limit is None:
            all_rows = as_sums(found.sums[-1]) if unweighted_sums else all_sums[0]
            limit = tol * _mean_variance(surveyed, all_rows)
        for i, (restart, assignment) in enumerate(zip(running, assignments, strict=True)):
            result, centers, sums = restart.result, assignment.centers, all_sums[i]
            n_relocated = 0
            if max_passes is None or run.n_passes < max_passes - 1:
                sums, n_relocated = _relocate_empty(run, surveyed, centers, sums)
            means, inertia, sq_shifts = _means(surveyed, sums, centers.centers)
            new_centers, beyond_means = means, 0.0
            if surveyed.metric == "cosine":
                new_centers = directions_of_means(means, centers.centers)
                beyond_means = _beyond(surveyed, sums, means, new_centers)
                inertia += beyond_means
                sq_shifts = sq_distances_between(new_centers, centers.centers)
            shift = float(sq_shifts.sum())
            n_distances = surveyed.n_rows * len(new_centers)
            result.history.append(
                IterationRecord(
                    inertia_by(surveyed.metric, inertia),
                    shift,
                    time.perf_counter() - started,
                    n_relocated,
                    found.n_changed[i] if assignment.state or iteration == 1 else None,
                    found.n_distances[i] / n_distances,
                    run.n_passes - n_passes,
                    run.bytes_read - bytes_read,
                )
            )
            restart.move(new_centers, shift)
            if shift == 0.0:
                result.reason = CENTER_SHIFT_ZERO
            elif shift <= limit:
                result.reason = TOLERANCE
            elif rtol > 0 and not n_relocated:
                gained = _beyond(surveyed, sums, means, centers.centers) - beyond_means
                if _share(gained, inertia) < rtol:
                    result.reason = RELATIVE_TOLERANCE
        best = min(running, key=lambda each: each.result.history[-1].inertia).result.history[-1]
        if lap is not None and iteration % lap == 0:
            racing = still_ahead(racing)
        running = [restart for restart in running if restart.running]
        tell(IterationEnded(iteration, best.inertia, best.center_shift, len(running)))
        yield limit


def dequantised(surveyed: Surveyed, sums: Array) -> tuple[Array, Array, Array]:
    """Return sums of shifted rows (k, d), weights (k,) and sums of squares (k,) in float64."""
    d, scale = surveyed.n_features, surveyed.quantisation.scale
    return (
        sums[:, :d] / scale[:d],
        sums[:, -1] / scale[-1],
        sums[:, -2] / scale[-2],
    )


def _means(surveyed: Surveyed, sums: Array, old: Array) -> tuple[Array, float, Array]:
    """Return the means of the clusters, their inertia, and how far each is from its old center.

    The inertia is sum_k Q_k - |S_k|^2 / N_k. A cluster without weight, for which no row was left
    either, joins the heaviest one, as in scikit-learn: its center is never the origin.
    """
    quantisation = surveyed.quantisation
    means, squares, sq_shifts = np.empty(old.shape), np.empty(len(old)), np.empty(len(old))

    def of_clusters(first: int, last: int) -> None:
        part = slice(first, last)
        means_of_sums(
            sums[part],
            quantisation.shift,
            quantisation.inverse,
            old[part],
            means[part],
            squares[part],
            sq_shifts[part],
        )

    by_clusters(of_clusters, *old.shape)
    if np.count_nonzero(sums[:, -1]) < len(sums):
        empty = sums[:, -1] == 0
        means[empty] = means[np.argmax(sums[:, -1])]
        sq_shifts[empty] = sq_distances_between(means[empty], old[empty])
    inertia = math.ldexp(max(float(squares.sum()), 0.0), int(quantisation.weight_exponent))
    return means, inertia, sq_shifts


def _beyond(surveyed: Surveyed, sums: Array, means: Array, centers: Array) -> float:
    """Return how much more the rows of the clusters cost to centers than to their means.

    A cluster's rows are farther from any point than from their mean by the point's distance to the
    mean, all squared.
    """
    weights = sums[:, -1] / surveyed.quantisation.scale[-1]
    beyond = float(weights @ sq_distances_between(means, centers))
    return math.ldexp(beyond, int(surveyed.quantisation.weight_exponent))


def _share(gained: float, left: float) -> float:
    """Return by which share of it something was lowered, given by how much and to what."""
    return gained / (left + gained) if gained else 0.0


def _mean_variance(surveyed: Surveyed, sums: Array) -> float:
    """Return the mean over the features of the variance, from unweighted sums of all clusters."""
    totals, _, squares = dequantised(surveyed, sums.sum(axis=0, keepdims=True))
    n, d = surveyed.n_rows, surveyed.n_features
    means = totals[0][totals[0] != 0] / n
    return max(float(squares[0] / n - (means**2).sum()) / d, 0.0)


def _relocate_empty(
    run: Run, surveyed: Surveyed, centers: CenterSet, sums: Array
) -> tuple[Array, int]:
    """Give each empty cluster one of the farthest rows, taken from the row's cluster.

    scikit-learn's rule, with ties by row number. Returns the new sums, and how many clusters were
    given a row: none if every row lies on its center.
    """
    if np.count_nonzero(sums[:, -1]) == len(sums):
        return sums, 0
    empty = np.flatnonzero(sums[:, -1] == 0)
    sums = sums.copy()
    far = run(Pass("kmeans-farthest", farthest_chunk, FarthestParameters(int(empty.size), centers)))
    labels = centers.label(Block(0, None, far.rows, None))
    moved = empty[: len(labels)]
    quantisation = surveyed.quantisation
    for i, cluster in enumerate(moved):
        row = np.zeros((1, sums.shape[1]), np.int64)
        weight = np.ldexp(far.weights[i : i + 1], -surveyed.quantisation.weight_exponent)
        for _, rows, weights in Block(0, None, far.rows[i : i + 1], weight).tiles():
            sum_block(rows, weights, quantisation.shift, quantisation.scale, row)
        sums[labels[i]] -= row[0]
        sums[cluster] = row[0]
    return sums, len(moved)
