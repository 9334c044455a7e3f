"""A fit by mini-batches: initial centers from a few rows, then epochs until a rule ends them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.sparsefuncs import mean_variance_axis

from daskmeans.algorithms.epochs import (
    Epochs,
    FitProgress,
    Portion,
    Stopping,
    block_order,
    generator_of,
    portions_of,
    shuffled,
    use,
)
from daskmeans.algorithms.kmeans import Seeding
from daskmeans.algorithms.minibatch import MiniBatchState, Rules, StepRecord
from daskmeans.algorithms.minibatch_seeding import Drawn, draw_from_blocks, seeded
from daskmeans.algorithms.seeding import new_seed
from daskmeans.algorithms.stop_reasons import INTERRUPTED, MAX_ITER, StopReason
from daskmeans.algorithms.survey import ranges_chunk
from daskmeans.blocks.source import Key
from daskmeans.blocks.weights import source_in_memory
from daskmeans.kernels.csr import AnyRows, CSRRows
from daskmeans.passes.events import IterationStarted, StepEnded, tell
from daskmeans.passes.in_order import Fold
from daskmeans.passes.plan import Pass
from daskmeans.passes.runner import Runner, run_here
from daskmeans.passes.tally import Tally
from daskmeans.typing import Weights

_BATCHES = "kmeans-batches"


@dataclass(frozen=True)
class MiniBatchFitted:
    """The end of a fit.

    Attributes
    ----------
    state : MiniBatchState
    n_iter : int
        Epochs that were begun.
    reason : StopReason
    history : list of StepRecord
    total_weight : float
        Of all rows; an estimate where it is known of some blocks only.
    """

    state: MiniBatchState
    n_iter: int
    reason: StopReason
    history: list[StepRecord]
    total_weight: float


def fit_minibatches(
    run: Runner,
    n_clusters: int,
    seeding: Callable[[AnyRows], Seeding],
    *,
    batch_size: int,
    init_size: int,
    rules: Rules,
    max_iter: int,
    tol: float,
    max_no_improvement: int | None,
    random_state: np.random.RandomState,
    see: Callable[[StepRecord], None],
) -> MiniBatchFitted:
    """Fit by mini-batches.

    Parameters
    ----------
    run : Runner
        Rows in memory are used from this thread in an order that no block shows in; blocks of
        others are read in a random order, and their rows used in a random order.
    n_clusters : int
    seeding : function (rows) -> Seeding
        Given the rows that initial centers are made from.
    batch_size : int
        Rows of a step; the last one of an epoch may have fewer.
    init_size : int
        Rows for seeding.
    rules : Rules
    max_iter, tol, max_no_improvement : see `Stopping`; `tol` is in units of the mean variance
    random_state : RandomState
    see : function (StepRecord)
        Called after each step.
    """
    source = run.source
    seed = new_seed(random_state)
    if source.in_memory:
        run(Pass("kmeans-ranges", ranges_chunk, source.feature_names, by_row_number=False))
        rows = source.whole_array()
        weights = _whole_weights(run)
        n_rows = float(len(rows))
        count = min(init_size, len(rows))
        chosen = np.sort(generator_of(seed, 2).choice(len(rows), count, replace=False))
        drawn = Drawn(rows[chosen], None if weights is None else weights[chosen], len(rows))
        total_weight = n_rows if weights is None else float(math.fsum(weights))
    else:
        drawn, n_rows = draw_from_blocks(run, init_size, seed)
        total_weight = n_rows
        if drawn.weights is not None:
            total_weight *= float(drawn.weights.mean())
    sample = source_in_memory(
        drawn.rows, drawn.weights, source.metric, feature_names=source.feature_names
    )
    centers = seeded(run_here(sample), n_clusters, seeding, random_state, len(drawn.rows))
    limit = 0.0 if tol == 0 else tol * _mean_variance(drawn)
    epochs = Epochs(
        batch_size,
        rules,
        Stopping(max_iter, limit, max_no_improvement),
        seed,
        total_weight,
        source.feature_names,
    )
    progress = FitProgress(MiniBatchState.begin(centers, seed))
    history: list[StepRecord] = []
    if source.in_memory:
        states = _through(portions_of(epochs, rows, weights), progress, rows, batch_size)
    else:
        states = run.fold(
            Fold(_BATCHES, shuffled, use), block_order(epochs, source.n_blocks), progress
        )
    a_epoch = -(-len(rows) // batch_size) if source.in_memory else source.n_blocks
    n_used = 0
    try:
        tell(IterationStarted(1, max_iter))
        for progress in states:
            n_used += 1
            for record in progress.records:
                see(record)
                tell(StepEnded(record.step, record.smoothed_inertia, record.center_shift))
            history.extend(progress.records)
            if progress.reason is not None:
                break
            if n_used % a_epoch == 0 and n_used < max_iter * a_epoch:
                tell(IterationStarted(n_used // a_epoch + 1, max_iter))
        else:
            progress = replace(progress, reason=MAX_ITER)
    except KeyboardInterrupt:
        warnings.warn(
            f"The fit was interrupted: centers are those of step {progress.model.n_steps}.",
            ConvergenceWarning,
            stacklevel=4,
        )
        progress = replace(progress, reason=INTERRUPTED)
    assert progress.reason is not None
    return MiniBatchFitted(
        progress.model, -(-n_used // a_epoch), progress.reason, history, total_weight
    )


def _through(
    portions: Iterator[Portion], progress: FitProgress, rows: AnyRows, batch_size: int
) -> Iterator[FitProgress]:
    """Yield the fit after each batch of rows in memory, and tell how far an epoch is."""
    n_rows, n_bytes = len(rows), rows.nbytes
    sizes = [min(batch_size, n_rows - start) for start in range(0, n_rows, batch_size)]
    for number, portion in enumerate(portions):
        if number % len(sizes) == 0:
            tally = Tally.of_parts(_BATCHES, len(sizes), sizes, n_bytes)
        progress = use(progress, portion)
        if tally is not None:
            tally((number % len(sizes),))
            if (number + 1) % len(sizes) == 0:
                tally.finish()
        yield progress


def _whole_weights(run: Runner) -> Weights | None:
    """Return the weights of rows in memory as one array."""
    if run.source.weights is None:
        return None
    parts = [part.read() for part in run.source.weights if not isinstance(part, Key)]
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float64)


def _mean_variance(drawn: Drawn) -> float:
    if isinstance(drawn.rows, CSRRows):
        sparse = drawn.rows.astype(np.float64).to_scipy()
        return float(mean_variance_axis(sparse, axis=0, weights=drawn.weights)[1].mean())
    rows = drawn.rows.astype(np.float64)
    mean = np.average(rows, axis=0, weights=drawn.weights)
    variances = np.average((rows - mean) ** 2, axis=0, weights=drawn.weights)
    return float(variances.mean())
