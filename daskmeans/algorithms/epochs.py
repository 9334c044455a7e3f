"""Mini-batch k-means over rows that can be read again: epochs of batches, and when they end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from daskmeans.algorithms.batches import InHand
from daskmeans.algorithms.minibatch import MiniBatchState, Rules, StepRecord, step
from daskmeans.algorithms.stop_reasons import NO_IMPROVEMENT, TOLERANCE, StopReason
from daskmeans.algorithms.survey import ranges_chunk
from daskmeans.blocks.block import Block
from daskmeans.kernels.csr import AnyRows, joined
from daskmeans.partials import Ranges
from daskmeans.typing import Weights


@dataclass(frozen=True)
class Stopping:
    """When the steps of a fit end, by scikit-learn's rules.

    Attributes
    ----------
    max_iter : int
        Epochs.
    limit : float
        Steps end once the sum of squared center shifts of one is at most this; 0 for never.
    max_no_improvement : int or None
        Steps in a row without a new lowest smoothed inertia.
    """

    max_iter: int
    limit: float
    max_no_improvement: int | None


@dataclass(frozen=True)
class Epochs:
    """What stays the same during a fit.

    Attributes
    ----------
    batch_size : int
    rules : Rules
    stopping : Stopping
    seed : int
        64 bits that key the order of blocks and rows.
    total_weight : float or None
        Of all rows; None where their number is unknown.
    feature_names : tuple of str, or None
    """

    batch_size: int
    rules: Rules
    stopping: Stopping
    seed: int
    total_weight: float | None
    feature_names: tuple[str, ...] | None


@dataclass(frozen=True)
class FitProgress:
    """A fit between two blocks.

    Attributes
    ----------
    model : MiniBatchState
    lowest : float
        Smallest smoothed inertia so far.
    n_without : int
        Steps since then.
    reason : StopReason or None
        Why steps have ended; None while they go on.
    rows, weights : arrays, or None
        Rows that wait for the batch to be full.
    records : tuple of StepRecord
        Of the steps of the last block.
    """

    model: MiniBatchState
    lowest: float = math.inf
    n_without: int = 0
    reason: StopReason | None = None
    rows: AnyRows | None = None
    weights: Weights | None = None
    records: tuple[StepRecord, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Portion:
    """Rows in the order in which they are used.

    Attributes
    ----------
    rows : ndarray or CSRRows of shape (r, d)
    weights : ndarray of shape (r,), float64, or None
    ends_epoch : bool
        A batch that is not full is used after them.
    epochs : Epochs
    ranges : Ranges, optional
        Of the rows, where they are known.
    """

    rows: AnyRows
    weights: Weights | None
    ends_epoch: bool
    epochs: Epochs
    ranges: Ranges | None = None


@dataclass(frozen=True)
class Shuffling:
    """What a block has to know to be shuffled: where in the order it stands."""

    epochs: Epochs
    epoch: int
    ends_epoch: bool


def generator_of(seed: int, *purpose: int) -> np.random.Generator:
    """Return random numbers that a seed and a purpose determine, wherever they are drawn."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *purpose])))


def shuffled(block: Block, shuffling: Shuffling) -> Portion:
    """Check the rows of a block and bring them into a random order of their own.

    Raises
    ------
    RowsError
        If a row is not finite.
    """
    epochs = shuffling.epochs
    # Before they are shuffled, an error can tell where a row is.
    ranges = ranges_chunk(block, epochs.feature_names) if len(block) else None
    rows, weights = block.rows, block.weights
    # Where all go into one batch, their order cannot show.
    if len(block) and epochs.batch_size % len(block):
        generator = generator_of(epochs.seed, 1, shuffling.epoch, block.number)
        order = generator.permutation(len(block))
        rows, weights = rows[order], None if weights is None else weights[order]
    return Portion(rows, weights, shuffling.ends_epoch, epochs, ranges)


def block_order(epochs: Epochs, n_blocks: int) -> Iterator[tuple[int, Shuffling]]:
    """Yield the blocks of each epoch in a random order, with what they have to know."""
    for epoch in range(epochs.stopping.max_iter):
        order = generator_of(epochs.seed, 0, epoch).permutation(n_blocks)
        for place, number in enumerate(order):
            yield int(number), Shuffling(epochs, epoch, place == n_blocks - 1)


def portions_of(epochs: Epochs, rows: AnyRows, weights: Weights | None) -> Iterator[Portion]:
    """Yield rows that are in memory, epoch by epoch in a random order, a batch at a time."""
    n_rows, size = len(rows), epochs.batch_size
    for epoch in range(epochs.stopping.max_iter):
        order = generator_of(epochs.seed, 1, epoch).permutation(n_rows)
        for start in range(0, n_rows, size):
            chosen = order[start : start + size]
            yield Portion(
                rows[chosen],
                None if weights is None else weights[chosen],
                start + size >= n_rows,
                epochs,
            )


def use(progress: FitProgress, portion: Portion) -> FitProgress:
    """Make the steps that a portion is enough for, until the fit ends."""
    if progress.reason is not None:
        return replace(progress, records=())
    rows, weights = portion.rows, portion.weights
    if progress.rows is not None:
        rows = joined((progress.rows, rows))
        if weights is not None and progress.weights is not None:
            weights = np.concatenate((progress.weights, weights))
    size = portion.epochs.batch_size
    stop = len(rows) if portion.ends_epoch else len(rows) - len(rows) % size
    records: list[StepRecord] = []
    for start in range(0, stop, size):
        part = slice(start, min(start + size, stop))
        batch_weights = None if weights is None else weights[part]
        if batch_weights is not None and not batch_weights.any():
            continue
        alone = rows is portion.rows and stop - start == len(rows)
        ranges = portion.ranges if alone else None
        progress, record = _stepped(progress, rows[part], batch_weights, portion.epochs, ranges)
        records.append(record)
        if progress.reason is not None:
            break
    left = slice(stop, None)
    waiting = stop < len(rows)
    return replace(
        progress,
        # A copy lets go of the block.
        rows=rows[left].copy() if waiting else None,
        weights=weights[left].copy() if waiting and weights is not None else None,
        records=tuple(records),
    )


def _stepped(
    progress: FitProgress,
    rows: AnyRows,
    weights: Weights | None,
    epochs: Epochs,
    ranges: Ranges | None,
) -> tuple[FitProgress, StepRecord]:
    model, record = step(
        progress.model,
        InHand.of(rows, weights, epochs.feature_names),
        epochs.rules,
        weighted=weights is not None,
        total_weight=epochs.total_weight,
        feature_names=epochs.feature_names,
        ranges=ranges,
    )
    progress = replace(progress, model=model)
    # The first step measures the initial centers.
    return (progress if model.n_steps == 1 else _judged(progress, record, epochs)), record


def _judged(progress: FitProgress, record: StepRecord, epochs: Epochs) -> FitProgress:
    """End the fit where scikit-learn would."""
    stopping = epochs.stopping
    if stopping.limit > 0 and record.center_shift <= stopping.limit:
        return replace(progress, reason=TOLERANCE)
    if record.smoothed_inertia < progress.lowest:
        return replace(progress, lowest=record.smoothed_inertia, n_without=0)
    n_without = progress.n_without + 1
    patience = stopping.max_no_improvement
    ended = patience is not None and n_without >= patience
    return replace(progress, n_without=n_without, reason=NO_IMPROVEMENT if ended else None)
