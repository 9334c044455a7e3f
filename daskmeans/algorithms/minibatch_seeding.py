"""Initial centers for mini-batches: rows of a few blocks, and the best of some seedings on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from daskmeans.algorithms.assignment import measure_centers
from daskmeans.algorithms.epochs import generator_of
from daskmeans.algorithms.kmeans import Seeding, initial_centers
from daskmeans.algorithms.seeding import distinct_rows, new_seed
from daskmeans.algorithms.survey import Surveyed, ranges_chunk, survey
from daskmeans.blocks.block import Block
from daskmeans.blocks.weights import source_in_memory
from daskmeans.kernels.csr import AnyRows, joined
from daskmeans.passes.in_order import Fold
from daskmeans.passes.runner import Runner, run_here
from daskmeans.typing import Array, Weights

# Blocks of a store that the rows for seeding are drawn from, unless they are too small.
_SEEDING_BLOCKS = 4


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
    local = source_in_memory(surveyed.sample, surveyed.sample_weights, surveyed.metric)
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
    return surveyed.chosen(np.sort(chosen))


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


def draw_from_blocks(run: Runner, n_wanted: int, seed: int) -> tuple[Drawn, float]:
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
