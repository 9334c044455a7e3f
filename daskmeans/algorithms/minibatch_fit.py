"""A fit by mini-batches: initial centers from a few rows, then epochs until one of the rules."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.sparsefuncs import mean_variance_axis

from daskmeans.algorithms.assignment import measure_centers
from daskmeans.algorithms.epochs import (
    MAX_ITER,
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
from daskmeans.algorithms.kmeans import Seeding, initial_centers
from daskmeans.algorithms.minibatch import MiniBatchState, Rules, StepRecord
from daskmeans.algorithms.seeding import distinct_rows, new_seed
from daskmeans.algorithms.survey import Surveyed, ranges_chunk, survey
from daskmeans.algorithms.watch import INTERRUPTED
from daskmeans.blocks.block import Block
from daskmeans.blocks.inputs import row_source, with_weights
from daskmeans.blocks.source import Key
from daskmeans.kernels.csr import AnyRows, CSRRows, joined
from daskmeans.passes.events import IterationStarted, tell
from daskmeans.passes.in_order import Fold
from daskmeans.passes.plan import Pass
from daskmeans.passes.runner import Runner, run_here
from daskmeans.passes.tally import Tally
from daskmeans.typing import Array, Weights

# Blocks of a store that the rows for seeding are drawn from, unless they are too small.
_SEEDING_BLOCKS = 4

_BATCHES = "kmeans-batches"


@dataclass(frozen=True)
class MiniBatchFitted:
    """The end of a fit.

    Attributes
    ----------
    state : MiniBatchState
    n_iter : int
        Epochs that were begun.
    reason : str
    history : list of StepRecord
    total_weight : float
        Of all rows; an estimate where it is known of some blocks only.
    """

    state: MiniBatchState
    n_iter: int
    reason: str
    history: list[StepRecord]
    total_weight: float


def seeded(
    run: Runner,
    n_clusters: int,
    seeding: Callable[[AnyRows], Seeding],
    random_state: np.random.RandomState,
    n_rows: int,
) -> Array:
    """Make initial centers from a few rows: the best of `n_init`, by what these rows cost.

    Parameters
    ----------
    run : Runner
    n_clusters : int
    seeding : function (rows) -> Seeding
        Given the rows that initial centers are made from.
    random_state : RandomState
    n_rows : int
        How many rows to take; drawn by their numbers, so that no chunking shows.

    Raises
    ------
    RowsError
        If there are fewer rows than clusters, or rows that k-means cannot take.
    """
    seed = new_seed(random_state)
    surveyed = survey(run, n_clusters, seed)
    surveyed = distinct_rows(_few(surveyed, n_rows, seed), n_clusters)
    how = seeding(surveyed.sample)
    tries = [
        initial_centers(run, surveyed, n_clusters, how, random_state) for _ in range(how.n_starts)
    ]
    if len(tries) == 1:
        return tries[0].copy()
    local = row_source(surveyed.sample).measured_by(surveyed.metric)
    if surveyed.sample_weights is not None:
        local = with_weights(local, surveyed.sample_weights)
    costs = [
        measure_centers(run_here(local), surveyed.shift, centers, keep_labels=False).inertias()[0]
        for centers in tries
    ]
    return tries[int(np.argmin(costs))]


def _few(surveyed: Surveyed, n_rows: int, seed: int) -> Surveyed:
    """Return the survey with a sample of at most so many rows."""
    if len(surveyed.sample) <= n_rows:
        return surveyed
    chosen = generator_of(seed, 3).choice(len(surveyed.sample), n_rows, replace=False)
    chosen = np.sort(chosen)
    weights = surveyed.sample_weights
    return replace(
        surveyed,
        sample=surveyed.sample[chosen],
        sample_numbers=surveyed.sample_numbers[chosen],
        sample_weights=None if weights is None else weights[chosen],
        first_drawn=0,
    )


@dataclass(frozen=True)
class Drawing:
    """What a block has to know to give rows for seeding."""

    n_rows: int
    seed: int
    feature_names: tuple[str, ...] | None


@dataclass(frozen=True)
class Drawn:
    """Rows for seeding, and of what they were drawn.

    Attributes
    ----------
    rows : ndarray or CSRRows of shape (m, d)
    weights : ndarray of shape (m,), float64, or None
    n_rows : int
        Rows of the blocks that they were drawn from.
    """

    rows: AnyRows
    weights: Weights | None
    n_rows: int


def drawn_from(block: Block, drawing: Drawing) -> Drawn:
    """Draw rows of one block at random; all of them if they are few."""
    if len(block):
        ranges_chunk(block, drawing.feature_names)
    count = min(drawing.n_rows, len(block))
    chosen = generator_of(drawing.seed, 2, block.number).choice(len(block), count, replace=False)
    weights = None if block.weights is None else block.weights[chosen]
    return Drawn(block.rows[chosen], weights, len(block))


def together(drawn: Drawn | None, more: Drawn) -> Drawn:
    """Join what was drawn from two blocks."""
    if drawn is None:
        return more
    weights = None
    if drawn.weights is not None and more.weights is not None:
        weights = np.concatenate((drawn.weights, more.weights))
    return Drawn(joined((drawn.rows, more.rows)), weights, drawn.n_rows + more.n_rows)


def _rows_for_seeding(run: Runner, n_wanted: int, seed: int) -> tuple[Drawn, float]:
    """Draw rows from a few blocks; return them and the number of all rows, or an estimate of it."""
    source = run.source
    n_blocks = source.n_blocks
    # As the first epoch has them, so that these blocks come first there.
    order = [int(number) for number in generator_of(seed, 0, 0).permutation(n_blocks)]
    drawing = Drawing(-(-n_wanted // min(_SEEDING_BLOCKS, n_blocks)), seed, source.feature_names)
    fold: Fold[Drawn | None] = Fold("kmeans-seed", drawn_from, together)
    drawn: Drawn | None = None
    n_used = 0
    while n_used < n_blocks and (drawn is None or len(drawn.rows) < n_wanted):
        some = order[n_used : n_used + _SEEDING_BLOCKS]
        *_, drawn = run.fold(fold, [(number, drawing) for number in some], drawn, keep=True)
        n_used += len(some)
    assert drawn is not None
    n_rows = float(source.n_rows) if source.sizes is not None else drawn.n_rows * n_blocks / n_used
    return drawn, n_rows


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
        drawn, n_rows = _rows_for_seeding(run, init_size, seed)
        total_weight = n_rows
        if drawn.weights is not None:
            total_weight *= float(drawn.weights.mean())
    sample = row_source(drawn.rows, feature_names=source.feature_names)
    sample = sample.measured_by(source.metric)
    if drawn.weights is not None:
        sample = with_weights(sample, drawn.weights)
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
