"""Seed by clustering a sample in memory: restarts race on it, and the best one converges there.

Most of the way from seeds to converged centers can be gone on a sample: at 1,000 rows a cluster its
own centers are 0.1 to 0.5 % above those of all rows. Bradley and Fayyad, "Refining initial points
for k-means clustering", ICML 1998; the race is successive halving, Jamieson and Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
"""

from __future__ import annotations

import dask
import numpy as np

from daskmeans.algorithms.lloyd import lloyd
from daskmeans.algorithms.restarts import LloydResult
from daskmeans.algorithms.seeding import greedy_rows, new_seed
from daskmeans.algorithms.survey import Run, Surveyed, survey
from daskmeans.blocks.inputs import row_source, with_weights
from daskmeans.blocks.row_state import new_fit
from daskmeans.passes.events import unobserved
from daskmeans.passes.runner import Runner
from daskmeans.passes.schedulers import blas_on_one_thread, local_scheduler, thread_count
from daskmeans.typing import Array

# Restarts that race if the user names no number. Twice as many gained less than they cost.
N_RACERS = 8
# Iterations before the slower half of the race is dropped; twice as many for each half after it.
_FIRST_LAP = 2
_SAMPLE_TOL, _SAMPLE_MAX_ITER = 1e-4, 300


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
    starts = _starts(surveyed, n_clusters, n_starts, random_state)
    source = row_source(surveyed.sample, n_threads=thread_count())
    if surveyed.sample_weights is not None:
        source = with_weights(source, surveyed.sample_weights)
    run = Runner(source, local_scheduler())
    with unobserved():
        sample = survey(run, n_clusters, new_seed(random_state), seeding=False)
        iterations = _FIRST_LAP
        while len(starts) > 1:
            results = _iterated(run, sample, starts, iterations)
            results.sort(key=lambda result: result.history[-1].inertia)
            starts = [result.centers for result in results[: (len(results) + 1) // 2]]
            iterations *= 2
        return _iterated(run, sample, starts, _SAMPLE_MAX_ITER)[0].centers


def _starts(
    surveyed: Surveyed, n_clusters: int, n_starts: int, random_state: np.random.RandomState
) -> list[Array]:
    """Seed every restart by greedy k-means++ with random numbers of its own, some at a time."""
    seeds = random_state.randint(0, 2**32, size=n_starts, dtype=np.uint64)

    def start(seed: int) -> Array:
        chosen = greedy_rows(surveyed, n_clusters, np.random.RandomState(seed))
        return np.asarray(surveyed.sample[chosen], dtype=np.float64)

    tasks = [dask.delayed(start, pure=False)(int(seed)) for seed in seeds]
    with blas_on_one_thread():
        return list(dask.compute(*tasks, scheduler=local_scheduler()))


def _iterated(run: Run, sample: Surveyed, starts: list[Array], max_iter: int) -> list[LloydResult]:
    with new_fit() as name:
        return lloyd(run, sample, starts, name, max_iter=max_iter, tol=_SAMPLE_TOL).results
