"""Seed by clustering a sample in memory: restarts race on it, and the best one converges there.

Most of the way from seeds to converged centers can be gone on a sample: at 1,000 rows a cluster its
own centers are 0.1 to 0.5 % above those of all rows. Bradley and Fayyad, "Refining initial points
for k-means clustering", ICML 1998; the race is successive halving, Jamieson and Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from daskmeans.algorithms.lloyd import lloyd
from daskmeans.algorithms.restarts import LloydResult
from daskmeans.algorithms.seeding import MOST_GREEDY, greedy_rows, new_seed
from daskmeans.algorithms.survey import Surveyed, survey
from daskmeans.blocks.row_state import new_fit
from daskmeans.blocks.weights import source_in_memory
from daskmeans.kernels.csr import CSRRows, as_dense
from daskmeans.passes.events import unobserved
from daskmeans.passes.runner import Runner
from daskmeans.passes.schedulers import (
    blas_on_one_thread,
    local_scheduler,
    thread_count,
    thread_pool,
)
from daskmeans.typing import Array

# Each restart seeds from a part of the sample of its own: the race then goes over more of it.
_SEEDED_FROM_A_CLUSTER, _SEEDED_FROM_AT_LEAST = 100, 2_000
# Iterations of a lap of the race, after which the slower half is dropped and the rows doubled.
_LAP = 10
# Restarts of which a lap takes all rows of the sample.
_STARTS_OF_ALL_ROWS = 4
# Rows a cluster without which a lap would tell chance from nothing.
_LEAST_ROWS_A_CLUSTER = 50
_SAMPLE_TOL, _SAMPLE_MAX_ITER = 1e-4, 300
# Of many clusters some center moves for a long time, while full passes are to follow: iterations
# over the sample end once they gain less.
_SAMPLE_RTOL_OF_MANY = 1e-3


def racers(n_clusters: int) -> int:
    """Return how many restarts race if the user names no number.

    The more clusters, the less one start differs from another, and the more each costs.
    """
    if n_clusters > MOST_GREEDY:
        return 1
    return max(4, min(16, 1600 // n_clusters))


def refined_centers(
    surveyed: Surveyed, n_clusters: int, n_starts: int, random_state: np.random.RandomState
) -> Array:
    """Return the centers, of shape (k, d), of the best of some restarts on the sample.

    Parameters
    ----------
    surveyed : Surveyed
        Its sample is clustered, with the weights that its rows stand for.
    n_clusters : int
    n_starts : int
    random_state : RandomState
    """
    surveyed = _with_weight(surveyed, n_clusters)
    starts = _starts(surveyed, n_clusters, n_starts, random_state)
    seed = new_seed(random_state)
    most = len(surveyed.sample) // (_LEAST_ROWS_A_CLUSTER * n_clusters)
    with unobserved():
        while len(starts) > 1:
            # Laps are about the same work: half of the restarts on twice the rows.
            every = max(1, min(most, len(starts) // _STARTS_OF_ALL_ROWS))
            results = _iterated(surveyed, every, seed, starts, _LAP)
            results.sort(key=lambda result: result.history[-1].inertia)
            starts = [result.centers for result in results[: (len(results) + 1) // 2]]
        return _iterated(surveyed, 1, seed, starts, _SAMPLE_MAX_ITER)[0].centers


def _with_weight(surveyed: Surveyed, n_clusters: int) -> Surveyed:
    """Leave out rows without weight: a part of the sample could consist of them."""
    weights = surveyed.sample_weights
    if weights is None or np.count_nonzero(weights) < n_clusters:
        return surveyed
    return surveyed.chosen(np.flatnonzero(weights))


def _starts(
    surveyed: Surveyed, n_clusters: int, n_starts: int, random_state: np.random.RandomState
) -> list[Array]:
    """Seed every restart by greedy k-means++ with random numbers of its own, some at a time."""
    seeds = random_state.randint(0, 2**32, size=n_starts, dtype=np.uint64)

    m = len(surveyed.sample)
    n_seeded_from = max(_SEEDED_FROM_A_CLUSTER * n_clusters, _SEEDED_FROM_AT_LEAST)

    def start(seed: int) -> Array:
        drawing = np.random.RandomState(seed)
        part = surveyed
        if n_seeded_from < m:
            drawn = np.sort(drawing.choice(m, n_seeded_from, replace=False))
            part = surveyed.chosen(drawn)
            part = replace(part, sample=part.sample.astype(np.float64))
        chosen = greedy_rows(part, n_clusters, drawing)
        return as_dense(part.sample[chosen])

    with blas_on_one_thread():
        return list(thread_pool(thread_count()).map(start, map(int, seeds)))


def _iterated(
    surveyed: Surveyed, every: int, seed: int, starts: list[Array], max_iter: int
) -> list[LloydResult]:
    """Iterate from some starts over every so many-th row of the sample."""
    rows = surveyed.sample[::every]
    if not isinstance(rows, CSRRows):
        rows = np.ascontiguousarray(rows)
    weights = surveyed.sample_weights
    source = source_in_memory(
        rows,
        None if weights is None else weights[::every],
        surveyed.metric,
        n_threads=thread_count(),
    )
    run = Runner(source, local_scheduler(), own_threads=True)
    part = survey(run, len(starts[0]), seed, seeding=False)
    rtol = _SAMPLE_RTOL_OF_MANY if len(starts[0]) > MOST_GREEDY else 0.0
    with new_fit() as name:
        return lloyd(run, part, starts, name, max_iter=max_iter, tol=_SAMPLE_TOL, rtol=rtol).results
