"""A whole fit: seed, iterate all restarts together, keep the best."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from daskmeans.algorithms.assignment import Assignment, CenterSet, measure
from daskmeans.algorithms.fit_state import Continued, FitState, RowsIdentity
from daskmeans.algorithms.lloyd import Converged, lloyd
from daskmeans.algorithms.refine import racers, refined_centers
from daskmeans.algorithms.restarts import IterationRecord, LloydResult
from daskmeans.algorithms.seeding import (
    distinct_rows,
    kmeans_parallel,
    kmeans_plusplus_rows,
    new_seed,
    random_rows,
)
from daskmeans.algorithms.spherical import inertia_by, unit_centers
from daskmeans.algorithms.stop_reasons import FELL_BEHIND, INTERRUPTED, StopReason
from daskmeans.algorithms.survey import Run, Surveyed, survey
from daskmeans.algorithms.watch import Watch
from daskmeans.blocks.row_state import new_fit
from daskmeans.kernels.csr import as_dense
from daskmeans.passes.events import SeedingStarted, tell
from daskmeans.typing import Array, Labels

Init: TypeAlias = str | Array | Callable[[int, np.random.RandomState], Array]

# Below, iterations over a sample are not much less work than iterations over all rows.
_LEAST_ROWS_A_SAMPLED_ROW = 4


@dataclass(frozen=True)
class Seeding:
    """How initial centers are made.

    Attributes
    ----------
    init : {"auto", "k-means++", "k-means||", "random", "refined"}, ndarray of shape (k, d), \
            or function
        A function is called with (n_clusters, random_state) and returns an ndarray.
    n_init : int or None
        Restarts; None where that depends on what "auto" comes to.
    oversampling_factor : float
    rounds : int
        Of k-means||, like the oversampling factor.
    """

    init: Init
    n_init: int | None
    oversampling_factor: float = 2.0
    rounds: int = 5

    def init_is(self, name: str) -> bool:
        return isinstance(self.init, str) and self.init == name

    @property
    def n_starts(self) -> int:
        """Restarts; it is an error to ask before "auto" was decided."""
        if self.n_init is None:
            raise ValueError("The number of restarts has not been decided yet.")
        return self.n_init


@dataclass(frozen=True)
class Fitted:
    """The best of the restarts.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
    inertia : float
    n_iter : int
    reason : StopReason
        Why it stopped, see `LloydResult`.
    history : list of IterationRecord
    labels : ndarray of shape (n,), int32, or None
    n_passes, bytes_read : int
        Of the whole fit, see `passes.runner.Runner`.
    sizes : ndarray of shape (k,), int64, or None
        Rows of each cluster, whatever their weights; None where no last pass was made.
    """

    centers: Array
    inertia: float
    n_iter: int
    reason: StopReason
    history: list[IterationRecord]
    labels: Labels | None
    n_passes: int
    bytes_read: int
    sizes: Array | None


def fit(
    run: Run,
    n_clusters: int,
    seeding: Seeding,
    *,
    max_iter: int,
    tol: float,
    rtol: float,
    max_passes: int | None,
    algorithm: str,
    random_state: np.random.RandomState,
    keep_labels: bool,
    watch: Watch,
    save: Callable[[FitState], None] | None = None,
    resumed: FitState | None = None,
) -> Fitted:
    """Fit k-means.

    Parameters
    ----------
    run : function (Pass) -> Partial
    n_clusters : int
    seeding : Seeding
    max_iter, tol, rtol, max_passes, algorithm : see `lloyd`
    random_state : RandomState
    keep_labels : bool
        Return the labels; they are gathered in this process.
    watch : Watch
        Its `save` is set here.
    save : function (FitState), optional
    resumed : FitState, optional
        Go on from there. `seeding` and `random_state` are not used then.

    Raises
    ------
    RowsError
        If the rows are not those that `resumed` was saved of.
    """
    init = seeding.init
    from_sample = isinstance(init, str) and init != "k-means||"
    # Nothing is drawn where centers are given, so that each fit from them ends with the same bits:
    # the survey's sample decides how rows are rounded.
    seed = 0 if isinstance(init, np.ndarray) else new_seed(random_state)
    if resumed is not None:
        seed, from_sample = resumed.seed, resumed.from_sample
    surveyed = survey(run, n_clusters, seed, seeding=from_sample)
    if resumed is not None:
        resumed.rows.check_same(RowsIdentity.of(run.source, surveyed))
        run = Continued(run, resumed.lloyd)
        starts = [restart.centers for restart in resumed.lloyd.restarts]
    else:
        seeding = decided(seeding, surveyed, n_clusters)
        seeded_from = distinct_rows(surveyed, n_clusters) if from_sample else surveyed
        starts = [
            initial_centers(run, seeded_from, n_clusters, seeding, random_state)
            for _ in range(1 if seeding.init_is("refined") else seeding.n_starts)
        ]
    if save is not None:
        rows = RowsIdentity.of(run.source, surveyed)
        watch = replace(watch, save=lambda state: save(FitState(rows, seed, from_sample, state)))
    with new_fit() as name:
        converged = lloyd(
            run,
            surveyed,
            starts,
            name,
            max_iter=max_iter,
            tol=tol,
            rtol=rtol,
            max_passes=max_passes,
            algorithm=algorithm,
            watch=watch,
            resumed=None if resumed is None else resumed.lloyd,
        )
        if not converged.interrupted:
            try:
                best = best_of_each(run, surveyed, converged, keep_labels=keep_labels)
                return best[n_clusters]
            except KeyboardInterrupt:
                pass
    return _left_behind(run, converged)


def _left_behind(run: Run, converged: Converged) -> Fitted:
    """Return the restart that was best when Ctrl-C came, without another pass."""

    def last_inertia(result: LloydResult) -> float:
        return result.history[-1].inertia if result.history else math.nan

    # The first one, if none has made an iteration.
    chosen = min(converged.results, key=last_inertia)
    warnings.warn(
        f"The fit was interrupted: centers are those of iteration {chosen.n_iter}, and inertia_ is "
        "what that iteration found.",
        ConvergenceWarning,
        stacklevel=4,
    )
    return Fitted(
        chosen.centers,
        last_inertia(chosen),
        chosen.n_iter,
        INTERRUPTED,
        chosen.history,
        None,
        run.n_passes,
        run.bytes_read,
        None,
    )


def best_of_each(
    run: Run, surveyed: Surveyed, converged: Converged, *, keep_labels: bool
) -> dict[int, Fitted]:
    """Measure all restarts in one pass; return the best one of each number of clusters.

    Labels are made in the same pass where no restart has a rival, else in another one.
    """
    ends = [
        (result, assignment)
        for result, assignment in zip(converged.results, converged.assignments, strict=True)
        if result.reason != FELL_BEHIND
    ]
    results = [result for result, _ in ends]
    counts = [len(result.centers) for result in results]
    alone = len(set(counts)) == len(results)
    costs = measure(
        run,
        [assignment for _, assignment in ends],
        surveyed.quantisation,
        keep_labels=keep_labels and alone,
    )
    inertias = costs.inertias()
    best: dict[int, int] = {}
    for number in np.argsort(inertias, kind="stable"):
        best.setdefault(counts[number], int(number))
    labelled, places = costs, best
    if keep_labels and not alone:
        sets = [CenterSet.make(results[number].centers, surveyed.shift) for number in best.values()]
        labelled = measure(run, [Assignment(each) for each in sets], keep_labels=True)
        places = {n_clusters: place for place, n_clusters in enumerate(best)}
    fitted = {}
    for n_clusters, number in sorted(best.items()):
        found = int(np.count_nonzero(costs.counts[number]))
        if found < n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({found}) found smaller than n_clusters "
                f"({n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=4,
            )
        chosen = results[number]
        fitted[n_clusters] = Fitted(
            chosen.centers,
            inertia_by(surveyed.metric, inertias[number]),
            chosen.n_iter,
            chosen.reason,
            chosen.history,
            labelled.all_labels(places[n_clusters]) if keep_labels else None,
            run.n_passes,
            run.bytes_read,
            costs.counts[number],
        )
    return fitted


def decided(seeding: Seeding, surveyed: Surveyed, n_clusters: int) -> Seeding:
    """Choose what is "auto": by the data alone, not by where they are."""
    init, n_init = seeding.init, seeding.n_init
    if seeding.init_is("auto"):
        sampled = surveyed.n_rows > _LEAST_ROWS_A_SAMPLED_ROW * len(surveyed.sample)
        init = "refined" if sampled else "k-means++"
    if n_init is None:
        n_init = racers(n_clusters) if isinstance(init, str) and init == "refined" else 1
    return replace(seeding, init=init, n_init=n_init)


def initial_centers(
    run: Run,
    surveyed: Surveyed,
    n_clusters: int,
    seeding: Seeding,
    random_state: np.random.RandomState,
) -> Array:
    """Make one set of initial centers, ndarray of shape (k, d), float64.

    For cosine distances they have length 1.
    """
    tell(SeedingStarted(n_clusters))
    centers = _initial_centers(run, surveyed, n_clusters, seeding, random_state)
    return unit_centers(centers) if surveyed.metric == "cosine" else centers


def _initial_centers(
    run: Run,
    surveyed: Surveyed,
    n_clusters: int,
    seeding: Seeding,
    random_state: np.random.RandomState,
) -> Array:
    init: Any = seeding.init
    if callable(init):
        init = init(n_clusters, random_state)
    if isinstance(init, np.ndarray):
        return init
    if init == "refined":
        return refined_centers(surveyed, n_clusters, seeding.n_starts, random_state)
    if init == "k-means||":
        return kmeans_parallel(
            run,
            surveyed,
            n_clusters,
            random_state,
            oversampling_factor=seeding.oversampling_factor,
            rounds=seeding.rounds,
        )
    draw = kmeans_plusplus_rows if init == "k-means++" else random_rows
    chosen = draw(surveyed, n_clusters, random_state)
    return as_dense(surveyed.sample[chosen])
