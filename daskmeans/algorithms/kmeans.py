"""A whole fit: seed, iterate all restarts together, keep the best."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from daskmeans.algorithms.assignment import measure, measure_centers
from daskmeans.algorithms.lloyd import lloyd
from daskmeans.algorithms.restarts import IterationRecord, LloydResult
from daskmeans.algorithms.seeding import (
    distinct_rows,
    kmeans_parallel,
    kmeans_plusplus_rows,
    new_seed,
    random_rows,
)
from daskmeans.algorithms.survey import Run, Surveyed, survey
from daskmeans.blocks.row_state import new_fit
from daskmeans.typing import Array, Labels

Init: TypeAlias = str | Array | Callable[[int, np.random.RandomState], Array]


@dataclass(frozen=True)
class Seeding:
    """How initial centers are made.

    Attributes
    ----------
    init : {"k-means++", "k-means||", "random"}, ndarray of shape (k, d), or function
        A function is called with (n_clusters, random_state) and returns an ndarray.
    n_init : int
        Restarts.
    oversampling_factor : float
    rounds : int
        Of k-means||.
    """

    init: Init
    n_init: int
    oversampling_factor: float
    rounds: int


@dataclass(frozen=True)
class Fitted:
    """The best of the restarts.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
    inertia : float
    n_iter : int
    reason : str
        Why it stopped, see `LloydResult`.
    history : list of IterationRecord
    labels : ndarray of shape (n,), int32, or None
    """

    centers: Array
    inertia: float
    n_iter: int
    reason: str
    history: list[IterationRecord]
    labels: Labels | None


def fit(
    run: Run,
    n_clusters: int,
    seeding: Seeding,
    *,
    max_iter: int,
    tol: float,
    algorithm: str,
    random_state: np.random.RandomState,
    keep_labels: bool,
) -> Fitted:
    """Fit k-means.

    Parameters
    ----------
    run : function (Pass) -> Partial
    n_clusters : int
    seeding : Seeding
    max_iter, tol, algorithm : see `lloyd`
    random_state : RandomState
    keep_labels : bool
        Return the labels; they are gathered in this process.
    """
    init = seeding.init
    from_sample = isinstance(init, str) and init != "k-means||"
    surveyed = survey(run, n_clusters, new_seed(random_state), seeding=from_sample)
    seeded_from = distinct_rows(surveyed, n_clusters) if from_sample else surveyed
    starts = [
        initial_centers(run, seeded_from, n_clusters, seeding, random_state)
        for _ in range(seeding.n_init)
    ]
    with new_fit() as name:
        converged = lloyd(
            run, surveyed, starts, name, max_iter=max_iter, tol=tol, algorithm=algorithm
        )
        results = converged.results
        costs = measure(
            run,
            converged.assignments,
            surveyed.quantisation,
            keep_labels=keep_labels and len(results) == 1,
        )
    inertias = costs.inertias()
    best = int(np.argmin(inertias))
    chosen: LloydResult = results[best]
    labels = costs.all_labels() if keep_labels else None
    if keep_labels and len(results) > 1:
        costs_of_best = measure_centers(run, surveyed.shift, chosen.centers, keep_labels=True)
        labels = costs_of_best.all_labels()
    found = int(np.count_nonzero(costs.counts[best]))
    if found < n_clusters:
        warnings.warn(
            f"Number of distinct clusters ({found}) found smaller than n_clusters ({n_clusters}). "
            "Possibly due to duplicate points in X.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return Fitted(
        chosen.centers, inertias[best], chosen.n_iter, chosen.reason, chosen.history, labels
    )


def initial_centers(
    run: Run,
    surveyed: Surveyed,
    n_clusters: int,
    seeding: Seeding,
    random_state: np.random.RandomState,
) -> Array:
    """Make one set of initial centers, ndarray of shape (k, d), float64."""
    init: Any = seeding.init
    if callable(init):
        init = init(n_clusters, random_state)
    if isinstance(init, np.ndarray):
        return init
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
    return np.asarray(surveyed.sample[chosen], dtype=np.float64)
