"""Fit several numbers of clusters in the same passes over the rows.

All numbers and all restarts of each share one survey, every iteration, and the last pass, so a
sweep makes about as many passes as its slowest fit does alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from daskmeans.algorithms.kmeans import Fitted, Seeding, best_of_each, decided, initial_centers
from daskmeans.algorithms.lloyd import lloyd
from daskmeans.algorithms.seeding import distinct_rows, new_seed
from daskmeans.algorithms.survey import Run, SharedSurvey
from daskmeans.blocks.row_state import new_fit
from daskmeans.errors import RowsError
from daskmeans.typing import Array

# Iterations after which the slower half of the restarts for a number of clusters is dropped.
_LAP = 5


def fit_each(
    run: Run,
    counts: Sequence[int],
    seeding: Seeding,
    *,
    drop_restarts: bool,
    max_iter: int,
    tol: float,
    rtol: float,
    max_passes: int | None,
    algorithm: str,
    random_state: int,
    keep_labels: bool,
) -> dict[int, Fitted]:
    """Fit k-means for each number of clusters.

    Parameters
    ----------
    run : function (Pass) -> Partial
    counts : sequence of int
        Numbers of clusters, ascending.
    seeding : Seeding
        By rows of the sample.
    drop_restarts : bool
        Drop the slower half of the restarts for a number of clusters time and again: those of
        "refined" while they race on the sample, others in the passes.
    max_iter, tol, rtol, max_passes, algorithm : see `lloyd`
    random_state : int
        Seeds every number of clusters as it would a fit of that number alone.
    keep_labels : bool

    Raises
    ------
    ValueError
        As `survey`; if all rows are equal.
    """
    survey_seed = new_seed(np.random.RandomState(random_state))
    shared = SharedSurvey.make(run, counts[-1], survey_seed)
    if shared.rows_are_equal and counts[-1] > 1:
        raise RowsError(
            "All rows of X are equal, so there is one cluster whatever the number asked for: "
            "check that X holds the columns that you mean."
        )
    starts: list[Array] = []
    for n_clusters in counts:
        surveyed = shared.for_clusters(n_clusters)
        how = decided(seeding, surveyed, n_clusters)
        drawing = np.random.RandomState(random_state)
        sample = distinct_rows(surveyed, n_clusters)
        # Restarts of "refined" race on the sample, and the winner alone goes on to the passes.
        n_starts = how.n_starts
        if how.init_is("refined"):
            n_racing, n_starts = (n_starts, 1) if drop_restarts else (1, n_starts)
            how = replace(how, n_init=n_racing)
        starts += [initial_centers(run, sample, n_clusters, how, drawing) for _ in range(n_starts)]
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
            lap=_LAP if drop_restarts else None,
        )
        return best_of_each(run, surveyed, converged, keep_labels=keep_labels)
